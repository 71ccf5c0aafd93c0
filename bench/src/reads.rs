//! Reads beside writes: who is asked, how fresh the answer must be, and whether it is.
//!
//! A key's values are those that this run has put; nobody else may put any. **Invariant:** an answer is right only if it shows a value that was
//! put to its key, from an entry that is not older than the newest one that was acked before the read was sent.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use waterpark_client::{ReadOptions, Token};
use waterpark_wire::request::ReadLevel;

use crate::recorder::{Recorder, histogram};
use crate::report::quantiles;
use crate::workload::{Workload, mix};

/// Wrong answers that are described; the rest is counted.
const DESCRIBED_MAX: usize = 8;

/// How reads are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// Any member that has what this client was acked last in the group: each in turn.
    Session,
    /// The writer, once enough members have confirmed that it still is.
    Linearizable,
}

impl Level {
    /// As the command line names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Session => "session",
            Level::Linearizable => "linearizable",
        }
    }
}

/// What is known of the keys that are read.
pub struct Reads {
    level: Level,
    /// Members of each group.
    members: BTreeMap<u32, Vec<u16>>,
    /// Of each group, what was acked last.
    tokens: BTreeMap<u32, Token>,
    /// Of each actor, the seq of the newest entry that was acked; 0 for none.
    newest: Vec<u64>,
    /// By serial, what a read that is under way has to see.
    floors: HashMap<u64, u64>,
}

/// What became of reads.
#[derive(Debug)]
pub struct ReadTally {
    /// Reads that were sent.
    pub sent: u64,
    /// Answered, and rightly.
    pub right: u64,
    /// Without an answer.
    pub failed: u64,
    /// Answers from before a write that was acked before the read was sent.
    pub stale: u64,
    /// Answers that were never put to the key.
    pub wrong: u64,
    /// From the planned instant to the answer, in µs; in a closed loop from the send.
    pub response_us: Histogram<u64>,
    /// From the send to the answer, in µs.
    pub service_us: Histogram<u64>,
    /// Both in full.
    pub recorder: Recorder,
    /// Some of what was stale or wrong, in words.
    pub said: Vec<String>,
}

impl ReadTally {
    pub(crate) fn new(time: Duration) -> ReadTally {
        ReadTally {
            sent: 0,
            right: 0,
            failed: 0,
            stale: 0,
            wrong: 0,
            response_us: histogram(),
            service_us: histogram(),
            recorder: Recorder::new(time),
            said: Vec::new(),
        }
    }

    /// Adds up what was recorded.
    pub(crate) fn sum_up(&mut self) {
        (self.response_us, self.service_us) = self.recorder.sums();
    }

    /// What became of the reads of another generator.
    pub(crate) fn add(&mut self, other: ReadTally) {
        self.sent += other.sent;
        self.right += other.right;
        self.failed += other.failed;
        self.stale += other.stale;
        self.wrong += other.wrong;
        self.recorder.add(&other.recorder);
        for said in other.said {
            self.say(|| said);
        }
    }

    /// Whether no answer was stale or wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stale == 0 && self.wrong == 0
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "reads": { "sent": self.sent, "right": self.right, "failed": self.failed, "stale": self.stale, "wrong": self.wrong, "findings": self.said },
            "read_us": quantiles(&self.response_us), "read_service_us": quantiles(&self.service_us),
        })
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        if self.said.len() < DESCRIBED_MAX {
            self.said.push(text());
        }
    }
}

impl Reads {
    /// Of actors that nothing was put to yet.
    ///
    /// # Panics
    /// If there are more actors than memory has places.
    #[must_use]
    pub fn new(level: Level, members: BTreeMap<u32, Vec<u16>>, actors: u64) -> Reads {
        Reads {
            level,
            members,
            tokens: BTreeMap::new(),
            newest: vec![0; usize::try_from(actors).expect("actors are counted in memory")],
            floors: HashMap::new(),
        }
    }

    fn newest(&mut self, actor: u64) -> &mut u64 {
        &mut self.newest[usize::try_from(actor).expect("actors are counted in memory")]
    }

    /// How a read is asked that is sent now; its tag is for the sender to choose.
    pub(crate) fn ask(&mut self, serial: u64, actor: u64, group: u32, timeout_ms: u32) -> ReadOptions {
        let floor = *self.newest(actor);
        self.floors.insert(serial, floor);
        let options = ReadOptions {
            timeout_ms,
            ..ReadOptions::default()
        };
        match self.level {
            Level::Linearizable => options,
            Level::Session => ReadOptions {
                level: ReadLevel::Session,
                token: self.tokens.get(&group).copied(),
                at: self.members.get(&group).and_then(|members| {
                    let turn = mix(serial) % members.len().max(1) as u64;
                    members.get(usize::try_from(turn).expect("members are few")).copied()
                }),
                ..options
            },
        }
    }

    /// The client has no room for it: it was not sent.
    pub(crate) fn take_back(&mut self, serial: u64) {
        self.floors.remove(&serial);
    }

    /// A write was acked.
    pub(crate) fn acked(&mut self, actor: u64, token: Token) {
        let newest = self.newest(actor);
        *newest = token.seq.max(*newest);
        let last = self.tokens.entry(token.group).or_insert(token);
        if last.seq < token.seq {
            *last = token;
        }
    }

    /// A read has an answer; whether it is right.
    pub(crate) fn answered(&mut self, work: &Workload, serial: u64, body: &[u8], tally: &mut ReadTally) -> bool {
        let floor = self.floors.remove(&serial).unwrap_or(0);
        let actor = work.actor(serial);
        match judge(work, actor, floor, body) {
            Judged::Right => tally.right += 1,
            Judged::Stale { version } => {
                tally.stale += 1;
                tally.say(|| {
                    format!("read {serial} of actor {actor} shows the entry of seq {version}, and that of seq {floor} was acked before")
                });
                return false;
            }
            Judged::Wrong => {
                tally.wrong += 1;
                let shown: String = String::from_utf8_lossy(body).chars().take(80).collect();
                tally.say(|| format!("read {serial} of actor {actor} shows what was never put there: {shown:?}"));
                return false;
            }
        }
        true
    }

    /// A read has ended without an answer.
    pub(crate) fn failed(&mut self, serial: u64, tally: &mut ReadTally) {
        self.floors.remove(&serial);
        tally.failed += 1;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Right,
    Stale { version: u64 },
    Wrong,
}

/// What an answer is: a register as its kind shows it.
fn judge(work: &Workload, actor: u64, floor: u64, body: &[u8]) -> Judged {
    let shown: Option<Value> = serde_json::from_slice(body).ok();
    let Some((version, value)) = shown.as_ref().and_then(|shown| {
        let version = shown["version"].as_u64()?;
        Some((version, shown["value"].as_str().unwrap_or_default()))
    }) else {
        return Judged::Wrong;
    };
    if version < floor {
        return Judged::Stale { version };
    }
    if version == 0 {
        return if value.is_empty() { Judged::Right } else { Judged::Wrong };
    }
    let (mut scratch, message) = (Vec::new(), [b"put ", value.as_bytes()].concat());
    match work.serial(&message, &mut scratch) {
        Ok(Some(put)) if !work.is_read(put) && work.actor(put) == actor => Judged::Right,
        // Values of other runs may have been there before this one's first.
        Ok(None) if floor == 0 => Judged::Right,
        _ => Judged::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Kind;

    const WORK: Workload = Workload {
        kind: Kind::Kv { reads: 50 },
        actors: 100,
        message_bytes: 64,
        seed: 9,
        warm: 100,
        prefix: "",
        skew: None,
    };

    fn shown(version: u64, put: u64) -> Vec<u8> {
        let mut message = Vec::new();
        WORK.write(put, &mut message);
        let value = std::str::from_utf8(&message).unwrap().strip_prefix("put ").unwrap();
        json!({ "version": version, "value": value }).to_string().into_bytes()
    }

    #[test]
    fn an_answer_is_right_if_it_shows_what_was_put_there_and_nothing_older_than_was_acked() {
        // The first message of actor 7 is that with its number.
        assert_eq!(judge(&WORK, 7, 30, &shown(30, 7)), Judged::Right);
        assert_eq!(judge(&WORK, 7, 30, &shown(31, 7)), Judged::Right);
        assert_eq!(judge(&WORK, 7, 30, &shown(29, 7)), Judged::Stale { version: 29 });
        assert_eq!(judge(&WORK, 8, 30, &shown(30, 7)), Judged::Wrong, "of another key");
        let read = (100..).find(|serial| WORK.is_read(*serial)).unwrap();
        assert_eq!(
            judge(&WORK, WORK.actor(read), 0, &shown(30, read)),
            Judged::Wrong,
            "a read puts nothing"
        );
        let blank = br#"{"version":0,"value":""}"#;
        assert_eq!(judge(&WORK, 7, 0, blank), Judged::Right);
        assert_eq!(judge(&WORK, 7, 1, blank), Judged::Stale { version: 0 });
        let mut other = shown(30, 7);
        *other.iter_mut().rev().nth(5).unwrap() ^= 1;
        assert_eq!(judge(&WORK, 7, 30, &other), Judged::Wrong, "a byte is another");
        for body in [&b""[..], b"{}", b"[1]", br#"{"version":31,"value_hex":"ff"}"#] {
            assert_eq!(judge(&WORK, 7, 30, body), Judged::Wrong);
        }
    }

    #[test]
    fn a_read_has_to_see_what_was_acked_before_it_was_sent_and_no_more() {
        let members = BTreeMap::from([(3, vec![1, 2, 4])]);
        let mut reads = Reads::new(Level::Session, members, 100);
        let mut tally = ReadTally::new(Duration::from_secs(1));
        let token = |seq| Token {
            lineage: 1,
            group: 3,
            view: 2,
            seq,
        };
        let read = (100..).find(|serial| WORK.is_read(*serial)).unwrap();
        let actor = WORK.actor(read);
        reads.acked(actor, token(10));
        // Another actor's write moves the session of the group on, and this actor not.
        reads.acked((actor + 1) % 100, token(20));
        let asked = reads.ask(read, actor, 3, 5);
        assert_eq!((asked.token, asked.level), (Some(token(20)), ReadLevel::Session));
        assert!(asked.at.is_some_and(|node| [1, 2, 4].contains(&node)), "{asked:?}");
        reads.acked(actor, token(30));
        assert!(reads.answered(&WORK, read, &shown(10, actor), &mut tally));
        reads.ask(read, actor, 3, 5);
        assert!(!reads.answered(&WORK, read, &shown(29, actor), &mut tally));
        assert_eq!((tally.right, tally.stale, tally.wrong, tally.said.len()), (1, 1, 0, 1));
        assert!(!tally.is_clean() && reads.floors.is_empty());
        // All members are asked.
        let asked: std::collections::BTreeSet<_> = (0..100).map(|serial| reads.ask(serial, 1, 3, 5).at).collect();
        assert_eq!(asked.len(), 3);
    }
}
