// Ballots: an actor that counts votes, one for each voter. What it shows are the votes by choice.

use std::collections::BTreeMap;

use waterpark_testing::{Answer, Behaviour, Event, KindId, Retention, StateReader, StateWriter, Verdict};

/// The one kind that there is: `ballots`.
#[derive(Debug)]
pub(crate) struct Ballots;

/// Who voted, and for what.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    by_voter: BTreeMap<String, String>,
}

/// A message is `vote NAME CHOICE`.
fn vote_of(message: &[u8]) -> Option<(&str, &str)> {
    let rest = std::str::from_utf8(message).ok()?.strip_prefix("vote ")?;
    rest.split_once(' ').filter(|(_, choice)| !choice.contains(' '))
}

impl Behaviour for Ballots {
    type State = Votes;

    fn kind(&self, name: &[u8]) -> Option<KindId> {
        (name == b"ballots").then_some(KindId(0))
    }

    fn name(&self, _kind: KindId) -> &[u8] {
        b"ballots"
    }

    fn retention(&self, _kind: KindId) -> Retention {
        Retention::All
    }

    /// The writer decides: this is where a vote is refused.
    fn execute(&self, _kind: KindId, votes: &Votes, message: &[u8], answer: &mut Answer) {
        let Some((voter, _)) = vote_of(message) else {
            answer.verdict = Verdict::Refused;
            return answer.reply_with(b"write: vote NAME CHOICE");
        };
        if votes.by_voter.contains_key(voter) {
            answer.verdict = Verdict::Refused;
            return answer.reply_with(b"has voted already");
        }
        answer.event = Event::Message;
        answer.reply_with((votes.by_voter.len() + 1).to_string().as_bytes());
    }

    /// Every member does what was decided.
    fn apply(&self, _kind: KindId, votes: &mut Votes, event: &[u8], _seq: u64, _time_ms: u64) {
        if let Some((voter, choice)) = vote_of(event) {
            votes.by_voter.insert(voter.to_owned(), choice.to_owned());
        }
    }

    fn show(&self, _kind: KindId, votes: &Votes, out: &mut Vec<u8>) {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for choice in votes.by_voter.values() {
            *counts.entry(choice).or_default() += 1;
        }
        let counts: Vec<String> = counts
            .iter()
            .map(|(choice, count)| format!("{choice:?}:{count}"))
            .collect();
        out.extend_from_slice(format!("{{{}}}", counts.join(",")).as_bytes());
    }

    fn save(&self, _kind: KindId, votes: &Votes, out: &mut Vec<u8>) {
        let mut to = StateWriter(out);
        to.number(votes.by_voter.len() as u64);
        for (voter, choice) in &votes.by_voter {
            to.bytes(voter.as_bytes());
            to.bytes(choice.as_bytes());
        }
    }

    fn load(&self, _kind: KindId, bytes: &[u8]) -> Option<Votes> {
        let mut from = StateReader(bytes);
        let count = from.number()?;
        let mut votes = Votes::default();
        for _ in 0..count {
            let voter = String::from_utf8(from.bytes()?.to_vec()).ok()?;
            let choice = String::from_utf8(from.bytes()?.to_vec()).ok()?;
            votes.by_voter.insert(voter, choice);
        }
        from.is_empty().then_some(votes)
    }
}
