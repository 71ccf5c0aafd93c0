//! The ledger: what was acked, and what must therefore hold. It believes the bytes that it reads from members, never a counter.

use std::collections::BTreeMap;

use waterpark_core::controller::End;
use waterpark_core::ids::{Member, NodeId};
use waterpark_core::topology_log::consensus::VoterId;
use waterpark_ring::GroupId;
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::ReadLevel;
use waterpark_wire::run::EntryView;

use crate::client::RequestId;
use crate::lineages::Lineages;

/// A committed entry by its token; the lineage follows from the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The group.
    pub group: GroupId,
    /// The view.
    pub view: u64,
    /// The seq.
    pub seq: u64,
}

/// What a run broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An ack came while fewer members held the entry than its quorum.
    AckedTooEarly(Token, usize),
    /// The members that held an acked entry were all in one data centre.
    OneDataCentre(Token),
    /// Two requests were acked with one token.
    TokenTwice(Token, RequestId, RequestId),
    /// One request was acked with two tokens.
    AckedTwice(RequestId, Token, Token),
    /// One request got two different replies.
    RepliesDiffer(RequestId),
    /// A member that lived through the run does not hold an acked entry.
    Lost(Token, String),
    /// An acked entry went with its lost group, and a process held it that had to be heard when the group was opened again.
    Forgotten(Token, Member),
    /// A member holds an entry that its group's lineage did not begin with, and that is older.
    Mixed(Token),
    /// A session read was answered by a lineage that does not have what its token names.
    SilentlyLost(Token),
    /// What a session's token names was said to be lost, and is there.
    NotLost(Token),
    /// A group was opened again that had lost no more than it can bear, or a request was told that it is lost, and the topology log never said so.
    NeverLost(GroupId),
    /// The entry at a token is not the request that was acked with it.
    Changed(Token, RequestId),
    /// A member kept a message that its log says to drop.
    NotSwept(GroupId, u64),
    /// A member dropped a message that its log does not say to drop, or that its kind keeps.
    SweptTooMuch(GroupId, u64),
    /// Two members hold different entries at one seq.
    Diverged(GroupId, u64),
    /// One request took effect twice.
    TookEffectTwice(RequestId, u64, u64),
    /// A request took effect of which its sender was told that no copy had or would.
    RefusedYetTookEffect(RequestId, Outcome, u64),
    /// A refusal of one copy was definite, though that copy said that it was not the only one.
    DefiniteInDoubt(RequestId, Outcome),
    /// A group that can serve does not.
    Stuck(GroupId),
    /// A read was computed from less than its level, or its own reply, promises: the seq that it should have reached.
    StaleRead(ReadLevel, Token, u64),
    /// A read showed another state than the entries up to its token make.
    ReadWrong(Token),
    /// A read was computed up to an entry that is not the group's.
    ReadOfNothing(Token),
    /// A request took effect before what was read before it was sent.
    WriteBehindRead(RequestId, Token, u64),
    /// A group that can serve does not answer reads of a level.
    ReadStuck(GroupId, ReadLevel),
    /// A request had no answer long after faults had stopped; what it was refused with last.
    NeverEnded(RequestId, Option<Outcome>),
    /// Replies to an actor's requests, or their order, fit no order in which they could have run.
    NotLinearizable(RequestId, u64),
    /// A reply is not what its kind makes of the requests before it in the log: its handler is not a function of state and message alone.
    NotReproduced(RequestId, u64),
    /// A request took effect that nobody asked for.
    NeverAsked(RequestId, u64),
    /// A view was opened twice.
    OpenedTwice(GroupId, u64),
    /// A view was opened by another than its Config's first member.
    OpenedByAnother(GroupId, u64),
    /// A member opened a view that it did not know to be active.
    OpenedUndecided(GroupId, u64),
    /// A group changed its view so many times since all had settled, twice of them in too short a time.
    Restless(GroupId, u64),
    /// A member took a promise or a commit back, or its log was of a view that it had not promised.
    WentBack(GroupId),
    /// Members at which the same entries took effect were in different states.
    StatesDiffer(GroupId, u64),
    /// So much of something that is bounded was more than its bound.
    OverBound(&'static str, u64),
    /// The entry of a message whose handler failed has an event or a reply.
    LeftByFailed(Token),
    /// A member found its log contradicted.
    Quarantined(GroupId),
    /// A member that took itself out of service was a member for long after.
    NotReplaced(GroupId),
    /// Two nodes learned different entries for one position of the topology log.
    TwoEntries(u64),
    /// A node was given a state that is not what the entries up to this position add up to.
    OtherState(u64),
    /// Two files were begun for one voter.
    BornTwice(VoterId),
    /// The controller of a process that had no rival wanted it to end.
    Ended(Member, End),
    /// A node that was let in is not there, or holds nothing, long after faults had stopped.
    NeverJoined(NodeId),
    /// An assertion of a member failed.
    Asserted(String),
}

impl Violation {
    /// Whether nothing is wrong but that something was not done, or not in time.
    #[must_use]
    pub fn is_of_liveness(&self) -> bool {
        matches!(
            self,
            Violation::Stuck(_)
                | Violation::NeverEnded(..)
                | Violation::Restless(..)
                | Violation::ReadStuck(..)
                | Violation::NeverJoined(_)
        )
    }
}

/// What was acked.
#[derive(Debug, Default)]
pub struct Ledger {
    acked: BTreeMap<Token, RequestId>,
    tokens: BTreeMap<RequestId, (Token, Outcome, Vec<u8>)>,
    refused: BTreeMap<RequestId, Outcome>,
    /// Lost groups that were opened again.
    pub lineages: Lineages,
    /// What was broken so far.
    pub violations: Vec<Violation>,
}

impl Ledger {
    /// A reply of a committed entry came.
    pub fn on_ack(&mut self, id: RequestId, token: Token, outcome: Outcome, reply: &[u8]) {
        if let Some(other) = self.acked.insert(token, id)
            && other != id
        {
            self.violations.push(Violation::TokenTwice(token, other, id));
        }
        if let Some((other, ..)) = self.tokens.get(&id)
            && self.is_done_again(*other, token)
        {
            // The ack of what is gone may come late.
            if token.view > other.view {
                self.tokens.insert(id, (token, outcome, reply.to_vec()));
            }
            return;
        }
        let reply = (token, outcome, reply.to_vec());
        if let Some(other) = self.tokens.insert(id, reply.clone()) {
            if other.0 != token {
                self.violations.push(Violation::AckedTwice(id, other.0, token));
            } else if other != reply {
                self.violations.push(Violation::RepliesDiffer(id));
            }
        }
    }

    /// Whether of two tokens of one request the older is in no log of the newer one's lineage: with a lost group its rows of lanes may be gone.
    fn is_done_again(&self, one: Token, other: Token) -> bool {
        let (older, newer) = if one.view < other.view {
            (one, other)
        } else {
            (other, one)
        };
        self.lineages.is_gone_in(older, self.lineages.point(newer).lineage)
    }

    /// The token under which a request stands.
    #[must_use]
    pub fn token_of(&self, id: RequestId) -> Option<Token> {
        self.tokens.get(&id).map(|(token, ..)| *token)
    }

    /// A request was refused for certain, and its sender made and makes no other copy.
    pub fn on_refused(&mut self, id: RequestId, outcome: Outcome) {
        self.refused.insert(id, outcome);
    }

    /// A handler that failed leaves an entry, and nothing in it but the message.
    #[must_use]
    pub fn judge_failed(token: Token, entry: &EntryView<'_>) -> Option<Violation> {
        let failed = entry.header.outcome == Outcome::Trapped as u8;
        let left = entry.event.is_some() || !entry.reply.is_empty();
        (failed && left).then_some(Violation::LeftByFailed(token))
    }

    /// What a request was refused with for certain, if it was.
    #[must_use]
    pub fn refused(&self, id: RequestId) -> Option<Outcome> {
        self.refused.get(&id).copied()
    }

    /// What is broken by a request having its entry at a seq.
    #[must_use]
    pub fn judge_effect(&self, id: RequestId, seq: u64) -> Option<Violation> {
        let outcome = self.refused.get(&id)?;
        Some(Violation::RefusedYetTookEffect(id, *outcome, seq))
    }

    /// A refusal came for a copy of a request that said that it was not the only one, and carries no doubt.
    pub fn on_definite_refusal_of_a_copy(&mut self, id: RequestId, outcome: Outcome) {
        // These two promise nothing anyway.
        if !matches!(outcome, Outcome::Old | Outcome::Unknown) {
            self.violations.push(Violation::DefiniteInDoubt(id, outcome));
        }
    }

    /// Everything acked, with the outcome that its sender was told.
    pub fn acked(&self) -> impl Iterator<Item = (Token, RequestId, Outcome)> + '_ {
        let outcome = |id: &RequestId| self.tokens[id].1;
        self.acked.iter().map(move |(token, id)| (*token, *id, outcome(id)))
    }

    /// The tokens of a group's acked entries, those that went with the group among them.
    pub fn tokens_of(&self, group: GroupId) -> impl Iterator<Item = (Token, RequestId)> + '_ {
        let from = |group: GroupId| Token { group, view: 0, seq: 0 };
        let next = from(GroupId(group.0 + 1));
        self.acked.range(from(group)..next).map(|(token, id)| (*token, *id))
    }

    /// How many requests were acked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether nothing was acked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_core::config::Config;
    use waterpark_core::ids::{Incarnation, Lineage, View};
    use waterpark_wire::run::{EntryHeader, EntryParts};

    const fn id(number: u32) -> RequestId {
        RequestId {
            client: 1,
            group: GroupId(3),
            number,
        }
    }

    const fn token(seq: u64) -> Token {
        Token {
            group: GroupId(3),
            view: 1,
            seq,
        }
    }

    #[test]
    fn tokens_are_listed_by_their_group() {
        let mut ledger = Ledger::default();
        for group in [2, 3, 4] {
            let token = Token {
                group: GroupId(group),
                ..token(1)
            };
            ledger.on_ack(id(group), token, Outcome::Done, b"");
        }
        assert_eq!(ledger.tokens_of(GroupId(3)).collect::<Vec<_>>(), [(token(1), id(3))]);
    }

    #[test]
    fn a_forged_second_request_under_one_token_is_found() {
        let mut ledger = Ledger::default();
        ledger.on_ack(id(1), token(1), Outcome::Done, b"");
        ledger.on_ack(id(1), token(1), Outcome::Done, b"");
        assert!(ledger.violations.is_empty());
        ledger.on_ack(id(2), token(1), Outcome::Done, b"");
        assert_eq!(ledger.violations, [Violation::TokenTwice(token(1), id(1), id(2))]);
    }

    #[test]
    fn a_forged_effect_of_what_was_refused_for_certain_is_found() {
        let mut ledger = Ledger::default();
        ledger.on_refused(id(1), Outcome::Busy);
        assert_eq!(ledger.judge_effect(id(2), 1), None);
        let wrong = Violation::RefusedYetTookEffect(id(1), Outcome::Busy, 2);
        assert_eq!(ledger.judge_effect(id(1), 2), Some(wrong));
    }

    #[test]
    fn a_forged_definite_refusal_of_a_copy_is_found_where_it_promises_something() {
        let mut ledger = Ledger::default();
        ledger.on_definite_refusal_of_a_copy(id(1), Outcome::Old);
        ledger.on_definite_refusal_of_a_copy(id(1), Outcome::Unknown);
        assert!(ledger.violations.is_empty());
        ledger.on_definite_refusal_of_a_copy(id(1), Outcome::NoQuorum);
        assert_eq!(
            ledger.violations,
            [Violation::DefiniteInDoubt(id(1), Outcome::NoQuorum)]
        );
    }

    #[test]
    fn forged_leavings_of_a_handler_that_failed_are_found() {
        let token = Token {
            group: GroupId(1),
            view: 1,
            seq: 2,
        };
        let judge = |outcome: Outcome, event: Option<&[u8]>, reply: &[u8]| {
            let parts = EntryParts {
                header: EntryHeader {
                    outcome: outcome as u8,
                    ..EntryHeader::default()
                },
                event,
                reply,
                ..EntryParts::default()
            };
            let mut bytes = vec![0; parts.length()];
            parts.write(&mut bytes);
            let (entry, _) = EntryView::new_checked(&bytes).unwrap();
            Ledger::judge_failed(token, &entry)
        };
        let left = Some(Violation::LeftByFailed(token));
        assert_eq!(judge(Outcome::Trapped, None, b""), None);
        assert_eq!(judge(Outcome::Trapped, Some(b"half"), b""), left);
        assert_eq!(judge(Outcome::Trapped, None, b"half"), left);
        assert_eq!(judge(Outcome::Done, Some(b"all"), b"all"), None);
    }

    #[test]
    fn a_forged_second_effect_and_a_changed_reply_are_found() {
        let mut ledger = Ledger::default();
        ledger.on_ack(id(1), token(1), Outcome::Done, b"4");
        ledger.on_ack(id(1), token(1), Outcome::Done, b"5");
        ledger.on_ack(id(1), token(2), Outcome::Done, b"5");
        let expected = [
            Violation::RepliesDiffer(id(1)),
            Violation::AckedTwice(id(1), token(1), token(2)),
        ];
        assert_eq!(ledger.violations, expected);
    }

    #[test]
    fn a_request_is_done_again_only_where_its_group_lost_it() {
        let member = Member {
            node: NodeId(1),
            incarnation: Incarnation(1),
        };
        let before = Config::new(GroupId(3), View(1), Lineage(0), &[member]);
        let newer = Token { view: 9, ..token(2) };
        let reopened = || {
            let mut ledger = Ledger::default();
            ledger
                .lineages
                .on_reopened(GroupId(3), 9, vec![1], before.clone(), |_| true);
            ledger
        };
        // Number 2 was at seq 2, and went with the group. Whichever ack comes last, it stands where it is.
        for order in [[token(2), newer], [newer, token(2)]] {
            let mut ledger = reopened();
            for token in order {
                ledger.on_ack(id(2), token, Outcome::Done, b"");
            }
            assert_eq!((&ledger.violations[..], ledger.token_of(id(2))), (&[][..], Some(newer)));
        }
        // Number 1 was at seq 1, which was kept.
        let mut ledger = reopened();
        ledger.on_ack(id(1), token(1), Outcome::Done, b"");
        ledger.on_ack(id(1), newer, Outcome::Done, b"");
        assert_eq!(ledger.violations, [Violation::AckedTwice(id(1), token(1), newer)]);
        // And twice in what is gone is twice all the same.
        let mut ledger = reopened();
        ledger.on_ack(id(3), token(2), Outcome::Done, b"");
        ledger.on_ack(id(3), token(3), Outcome::Done, b"");
        assert_eq!(ledger.violations, [Violation::AckedTwice(id(3), token(2), token(3))]);
    }
}
