//! `record`: keeps each message. Its projection is how many there are and when the last one came.

use waterpark_core::behaviour::{Answer, Event};
use waterpark_core::state_bytes::{StateReader, StateWriter};

/// A record's projection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Record {
    messages: u64,
    last_ms: u64,
}

/// Every message is taken as it is.
pub(crate) fn execute(answer: &mut Answer) {
    answer.event = Event::Message;
}

impl Record {
    pub(crate) fn apply(&mut self, time_ms: u64) {
        self.messages += 1;
        self.last_ms = time_ms;
    }

    pub(crate) fn save(&self, to: &mut StateWriter<'_>) {
        to.number(self.messages);
        to.number(self.last_ms);
    }

    pub(crate) fn load(from: &mut StateReader<'_>) -> Option<Record> {
        Some(Record {
            messages: from.number()?,
            last_ms: from.number()?,
        })
    }

    pub(crate) fn show(&self) -> String {
        format!("{{\"messages\":{},\"last_ms\":{}}}", self.messages, self.last_ms)
    }
}
