//! `pool`: numbered things. Messages are `give N` (puts the thing N in), and `take` (answers with the lowest one), which is refused when
//! the pool is empty.

use std::collections::BTreeSet;

use waterpark_core::behaviour::{Answer, Event};
use waterpark_core::state_bytes::{StateReader, StateWriter};

use crate::refuse;

/// Things that a pool holds at most.
const THINGS_MAX: usize = 65_536;

/// A pool's things.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Pool {
    things: BTreeSet<u64>,
}

pub(crate) fn execute(pool: Option<&Pool>, message: &[u8], answer: &mut Answer) {
    let blank = Pool::default();
    let pool = pool.unwrap_or(&blank);
    let text = std::str::from_utf8(message).unwrap_or_default();
    if text == "take" {
        let Some(thing) = pool.things.first() else {
            return refuse(answer, "the pool is empty");
        };
        answer.event = Event::Bytes;
        answer.event_bytes.extend_from_slice(format!("take {thing}").as_bytes());
        return answer.reply_with(thing.to_string().as_bytes());
    }
    let Some(thing) = text.strip_prefix("give ").and_then(|thing| thing.parse::<u64>().ok()) else {
        return refuse(answer, "pool takes: give NUMBER, take");
    };
    if pool.things.contains(&thing) {
        return refuse(answer, "it is in the pool already");
    }
    if pool.things.len() >= THINGS_MAX {
        return refuse(answer, "the pool is full");
    }
    answer.event = Event::Message;
}

impl Pool {
    /// Bytes of the things, about: a tree's nodes are three quarters full on average.
    pub(crate) fn beside_bytes(&self) -> usize {
        self.things.len() * size_of::<u64>() * 4 / 3
    }

    pub(crate) fn save(&self, to: &mut StateWriter<'_>) {
        to.number(self.things.len() as u64);
        self.things.iter().for_each(|thing| to.number(*thing));
    }

    pub(crate) fn load(from: &mut StateReader<'_>) -> Option<Pool> {
        let things: u64 = from.number().filter(|things| *things <= THINGS_MAX as u64)?;
        let things = (0..things).map(|_| from.number()).collect::<Option<_>>()?;
        Some(Pool { things })
    }

    pub(crate) fn apply(&mut self, event: &[u8]) {
        let text = std::str::from_utf8(event).unwrap_or_default();
        let Some((verb, thing)) = text.split_once(' ') else {
            return;
        };
        let Ok(thing) = thing.parse() else { return };
        if verb == "take" {
            self.things.remove(&thing);
        } else {
            self.things.insert(thing);
        }
    }

    /// How many things there are: a number, so there is nothing to escape.
    pub(crate) fn show(&self) -> String {
        format!("{{\"things\":{}}}", self.things.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_core::behaviour::Verdict;

    #[test]
    fn a_thing_is_taken_once_and_an_empty_pool_refuses() {
        let mut pool = Pool::default();
        let mut verdicts = Vec::new();
        for message in ["take", "give 4", "give 2", "give 2", "take", "take", "take", "throw 3"] {
            let mut answer = Answer::default();
            execute(Some(&pool), message.as_bytes(), &mut answer);
            match answer.event {
                Event::None => {}
                Event::Message => pool.apply(message.as_bytes()),
                Event::Bytes => pool.apply(&answer.event_bytes),
            }
            verdicts.push((answer.verdict, String::from_utf8(answer.reply).unwrap()));
        }
        use Verdict::{Done, Refused};
        let expected: Vec<(Verdict, &str)> = vec![
            (Refused, "the pool is empty"),
            (Done, ""),
            (Done, ""),
            (Refused, "it is in the pool already"),
            (Done, "2"),
            (Done, "4"),
            (Refused, "the pool is empty"),
            (Refused, "pool takes: give NUMBER, take"),
        ];
        let verdicts: Vec<_> = verdicts
            .iter()
            .map(|(verdict, reply)| (*verdict, reply.as_str()))
            .collect();
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn a_pool_is_shown_as_json() {
        let mut pool = Pool::default();
        pool.apply(b"give 4");
        pool.apply(b"give \xff\"");
        let shown: serde_json::Value = serde_json::from_str(&pool.show()).unwrap();
        assert_eq!(shown, serde_json::json!({ "things": 1 }));
    }
}
