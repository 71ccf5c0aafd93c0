//! What clients saw of each actor, against the order in which its requests took effect: linearizability of what was acked.
//!
//! The order of the log is the witness: replies must be those of a plain model that runs the requests in that order, and whoever was
//! answered before another asked must stand before it. It shares no code with the handlers. **Invariant:** what was not acked is held to
//! no reply, and still takes its effect in the model.

use std::collections::{BTreeMap, BTreeSet};

use waterpark_core::behaviour::{Answer, Behaviour, Event, Retention, Verdict};
use waterpark_ring::Key;
use waterpark_wire::reply::Outcome;

use crate::behaviour::{BREAKS, FRAGILE};
use crate::client::RequestId;
use crate::ledger::Violation;
use crate::retention::RULED;

/// A request as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The actor.
    pub key: Key,
    /// What was asked.
    pub message: Vec<u8>,
    /// When it was asked first, virtual ns.
    pub asked_ns: u64,
    /// When its reply came, and what it said.
    pub answered: Option<(u64, Outcome, Vec<u8>)>,
}

/// All requests of a run.
#[derive(Debug, Default)]
pub struct History {
    operations: BTreeMap<RequestId, Operation>,
}

impl History {
    /// A client asks something new.
    pub fn on_ask(&mut self, id: RequestId, key: Key, message: Vec<u8>, asked_ns: u64) {
        let operation = Operation {
            key,
            message,
            asked_ns,
            answered: None,
        };
        self.operations.insert(id, operation);
    }

    /// A reply of a committed entry came; only the first says when the client knew.
    pub fn on_answer(&mut self, id: RequestId, at_ns: u64, outcome: Outcome, reply: &[u8]) {
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.answered.get_or_insert((at_ns, outcome, reply.to_vec()));
        }
    }

    /// What a request was answered with went with its lost group: what it is answered with later counts.
    pub fn forget(&mut self, id: RequestId) {
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.answered = None;
        }
    }

    /// What a request was answered with, if it was.
    #[must_use]
    pub fn answered(&self, id: RequestId) -> Option<(u64, Outcome, &[u8])> {
        let (at_ns, outcome, reply) = self.operations.get(&id)?.answered.as_ref()?;
        Some((*at_ns, *outcome, reply))
    }

    /// What was asked under a number.
    #[must_use]
    pub fn message(&self, id: RequestId) -> Option<&[u8]> {
        self.operations.get(&id).map(|operation| operation.message.as_slice())
    }

    /// Judges the requests of one group: `effects` are those that took effect, by ascending seq.
    #[must_use]
    pub fn judge(&self, effects: &[(u64, RequestId)]) -> Vec<Violation> {
        let mut actors: BTreeMap<&[u8], (Model, u64)> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (seq, id) in effects {
            let Some(operation) = self.operations.get(id) else {
                wrong.push(Violation::NeverAsked(*id, *seq));
                continue;
            };
            let key = operation.key.as_ref();
            let (model, last_asked_ns) = actors
                .entry(operation.key.bytes())
                .or_insert_with(|| (Model::of(key.kind()), 0));
            let due = model.run(*seq, &operation.message);
            if let Some((answered_ns, outcome, reply)) = &operation.answered {
                // What a failed handler says of itself is nobody's promise.
                let same = *outcome == due.0 && (*outcome == Outcome::Trapped || *reply == due.1);
                // Whoever stands before it was asked after it had been answered.
                if !same || answered_ns < last_asked_ns {
                    wrong.push(Violation::NotLinearizable(*id, *seq));
                }
            }
            *last_asked_ns = (*last_asked_ns).max(operation.asked_ns);
        }
        wrong
    }
}

impl History {
    /// Judges the requests of one group to actors of any kinds, whose handlers are the model themselves: each is asked anew, in the order of
    /// the log. `effects` are the seq, the group time in ms and the request of each that took effect.
    #[must_use]
    pub fn judge_by<B: Behaviour>(&self, kinds: &B, effects: &[(u64, u64, RequestId)]) -> Vec<Violation> {
        let mut actors: BTreeMap<&[u8], (B::State, u64)> = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut answer = Answer::default();
        for (seq, time_ms, id) in effects {
            let Some(operation) = self.operations.get(id) else {
                wrong.push(Violation::NeverAsked(*id, *seq));
                continue;
            };
            let Some(kind) = kinds.kind(operation.key.as_ref().kind()) else {
                wrong.push(Violation::NotReproduced(*id, *seq));
                continue;
            };
            let (state, last_asked_ns) = actors.entry(operation.key.bytes()).or_default();
            answer.clear();
            kinds.execute(kind, state, &operation.message, &mut answer);
            if answer.verdict == Verdict::Trapped {
                answer.leave_nothing();
            }
            let outcome = match answer.verdict {
                Verdict::Done | Verdict::Known => Outcome::Done,
                Verdict::Refused => Outcome::Refused,
                Verdict::Trapped => Outcome::Trapped,
            };
            match answer.event {
                Event::None => {}
                Event::Message => kinds.apply(kind, state, &operation.message, *seq, *time_ms),
                Event::Bytes => kinds.apply(kind, state, &answer.event_bytes, *seq, *time_ms),
            }
            if let Some((answered_ns, said, reply)) = &operation.answered {
                if (*said, reply) != (outcome, &answer.reply) {
                    wrong.push(Violation::NotReproduced(*id, *seq));
                }
                // Whoever stands before it was asked after it had been answered.
                if answered_ns < last_asked_ns {
                    wrong.push(Violation::NotLinearizable(*id, *seq));
                }
            }
            *last_asked_ns = (*last_asked_ns).max(operation.asked_ns);
        }
        wrong
    }
}

/// The plainest thing that answers as an actor of a kind must.
#[derive(Debug)]
enum Model {
    Keeps,
    Register(u64, Vec<u8>),
    Pool(BTreeSet<u64>),
    Fragile,
}

impl Model {
    fn of(kind: &[u8]) -> Model {
        let is_ruled = |(name, _): &(&str, Retention)| name.as_bytes() == kind;
        match kind {
            b"register" => Model::Register(0, Vec::new()),
            b"pool" => Model::Pool(BTreeSet::new()),
            kind if kind == FRAGILE.as_bytes() => Model::Fragile,
            kind => {
                assert!(
                    kind == b"record" || RULED.iter().any(is_ruled),
                    "a kind without a model"
                );
                Model::Keeps
            }
        }
    }

    /// The outcome and the reply of one request.
    fn run(&mut self, seq: u64, message: &[u8]) -> (Outcome, Vec<u8>) {
        let text = String::from_utf8_lossy(message).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        let done = (Outcome::Done, Vec::new());
        let refused = |text: &str| (Outcome::Refused, text.as_bytes().to_vec());
        match (self, words.as_slice()) {
            (Model::Keeps, _) => done,
            (Model::Fragile, _) if message == BREAKS => (Outcome::Trapped, Vec::new()),
            (Model::Fragile, _) => done,
            (Model::Register(version, value), ["get"]) => {
                let mut reply = format!("{version} ").into_bytes();
                reply.extend_from_slice(value);
                (Outcome::Done, reply)
            }
            (Model::Register(version, _), ["cas", wanted, _]) if wanted.parse() != Ok(*version) => {
                refused(&format!("version is {version}"))
            }
            (Model::Register(version, value), ["cas", _, new] | ["put", new]) => {
                (*version, *value) = (seq, new.as_bytes().to_vec());
                done
            }
            (Model::Pool(things), ["take"]) => match things.pop_first() {
                Some(thing) => (Outcome::Done, thing.to_string().into_bytes()),
                None => refused("the pool is empty"),
            },
            (Model::Pool(things), ["give", thing]) => {
                let thing = thing.parse().expect("clients give numbers");
                if things.insert(thing) {
                    done
                } else {
                    refused("it is in the pool already")
                }
            }
            (model, words) => unreachable!("no client asks {model:?} for {words:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_ring::GroupId;

    fn id(number: u32) -> RequestId {
        RequestId {
            client: 1,
            group: GroupId(3),
            number,
        }
    }

    /// Requests to one actor, numbered from 1, each with when it was asked and answered and with what.
    fn history(kind: &str, rows: &[(&str, u64, u64, Outcome, &str)]) -> History {
        let key = Key::new(kind, &[("id", b"7")]).unwrap();
        let mut history = History::default();
        for (number, (message, asked_ns, answered_ns, outcome, reply)) in (1..).zip(rows) {
            history.on_ask(id(number), key.clone(), message.as_bytes().to_vec(), *asked_ns);
            if *answered_ns > 0 {
                history.on_answer(id(number), *answered_ns, *outcome, reply.as_bytes());
            }
        }
        history
    }

    #[test]
    fn a_history_in_the_order_of_its_log_is_right() {
        let rows = [
            ("put red", 1, 5, Outcome::Done, ""),
            ("get", 2, 9, Outcome::Done, "1 red"),
            ("cas 4 blue", 2, 9, Outcome::Refused, "version is 1"),
            ("cas 1 blue", 6, 0, Outcome::Done, ""),
            ("get", 10, 11, Outcome::Done, "4 blue"),
        ];
        let effects: Vec<_> = (1..=5).map(|at| (u64::from(at), id(at))).collect();
        assert_eq!(history("register", &rows).judge(&effects), []);
    }

    #[test]
    fn a_forged_reply_is_found_by_the_handler_itself() {
        let rows = [
            ("put red", 1, 2, Outcome::Done, ""),
            ("get", 3, 4, Outcome::Done, "1 red"),
            ("cas 4 blue", 5, 6, Outcome::Refused, "version is 1"),
        ];
        let kinds = crate::retention::kinds();
        let effects = [(1, 0, id(1)), (2, 0, id(2)), (3, 0, id(3))];
        assert_eq!(history("register", &rows).judge_by(&kinds, &effects), []);
        let mut forged = rows;
        forged[1].4 = "1 blue";
        let wrong = history("register", &forged).judge_by(&kinds, &effects);
        assert_eq!(wrong, [Violation::NotReproduced(id(2), 2)]);
        // The order of the log against the clock.
        let rows = [
            ("put red", 1, 2, Outcome::Done, ""),
            ("put red", 3, 4, Outcome::Done, ""),
        ];
        let effects = [(1, 0, id(2)), (2, 0, id(1))];
        let wrong = history("register", &rows).judge_by(&kinds, &effects);
        assert_eq!(wrong, [Violation::NotLinearizable(id(1), 2)]);
    }

    #[test]
    fn a_forged_stale_read_is_found() {
        let rows = [
            ("put red", 1, 2, Outcome::Done, ""),
            ("put blue", 3, 4, Outcome::Done, ""),
            ("get", 5, 6, Outcome::Done, "1 red"),
        ];
        let effects = [(1, id(1)), (2, id(2)), (3, id(3))];
        let wrong = history("register", &rows).judge(&effects);
        assert_eq!(wrong, [Violation::NotLinearizable(id(3), 3)]);
    }

    #[test]
    fn a_forged_thing_that_two_took_is_found_and_so_is_one_that_nobody_gave() {
        let rows = [
            ("give 4", 1, 2, Outcome::Done, ""),
            ("take", 3, 9, Outcome::Done, "4"),
            ("take", 3, 9, Outcome::Done, "4"),
        ];
        let effects = [(1, id(1)), (2, id(2)), (3, id(3))];
        let wrong = history("pool", &rows).judge(&effects);
        assert_eq!(wrong, [Violation::NotLinearizable(id(3), 3)]);
    }

    #[test]
    fn a_forged_order_against_the_clock_is_found_even_if_all_replies_fit() {
        let rows = [
            ("put red", 1, 2, Outcome::Done, ""),
            ("put red", 3, 4, Outcome::Done, ""),
        ];
        let effects = [(1, id(2)), (2, id(1))];
        let wrong = history("register", &rows).judge(&effects);
        assert_eq!(wrong, [Violation::NotLinearizable(id(1), 2)]);
    }

    #[test]
    fn a_forged_effect_of_what_nobody_asked_is_found() {
        let wrong = history("register", &[]).judge(&[(1, id(8))]);
        assert_eq!(wrong, [Violation::NeverAsked(id(8), 1)]);
    }
}
