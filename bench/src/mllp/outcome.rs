//! What became of messages: counts, times, and which of them have to be found at the end.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Reasons that are kept by name; further ones are counted together.
const REASONS_MAX: usize = 16;

/// Counts and times. `sent` = `acked` + `refused` + `unknown` + those that have not ended.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// Messages handed to a connection.
    pub sent: u64,
    /// Answered `AA`.
    pub acked: u64,
    /// Refused for good, or at the last attempt.
    pub refused: u64,
    /// Never answered.
    pub unknown: u64,
    /// In an open loop: handed to a connection more than 1 ms after their planned instant, or never.
    pub late: u64,
    /// Attempts beyond the first.
    pub resends: u64,
    /// What refusals said, with how often.
    pub reasons: BTreeMap<String, u64>,
    /// Microseconds to the ack, of messages that entered in the data centre of their writer.
    pub home_us: Histogram<u64>,
    /// The same of each pair of data centres: where the message entered, where its writer stands.
    pub us_by_pair: BTreeMap<(String, String), Histogram<u64>>,
    /// The same of all others.
    pub away_us: Histogram<u64>,
}

/// From a microsecond to ten minutes.
fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, digits).expect("bounds are in order")
}

impl Default for Outcomes {
    fn default() -> Outcomes {
        Outcomes {
            sent: 0,
            acked: 0,
            refused: 0,
            unknown: 0,
            late: 0,
            resends: 0,
            reasons: BTreeMap::new(),
            home_us: histogram(3),
            us_by_pair: BTreeMap::new(),
            away_us: histogram(3),
        }
    }
}

impl Outcomes {
    /// Messages that have not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.sent - self.acked - self.refused - self.unknown
    }

    /// Microseconds to the ack, of all messages.
    #[must_use]
    pub fn all_us(&self) -> Histogram<u64> {
        let mut all = self.home_us.clone();
        all.add(&self.away_us).expect("both have the same bounds");
        all
    }

    pub(super) fn acked(&mut self, response: Duration, entry: &str, home: &str) {
        self.acked += 1;
        let us = u64::try_from(response.as_micros()).unwrap_or(u64::MAX);
        let histograms = [&mut self.home_us, &mut self.away_us];
        histograms[usize::from(entry != home)].saturating_record(us);
        let pair = (entry.to_owned(), home.to_owned());
        // There are many: less finely.
        let histogram = self.us_by_pair.entry(pair).or_insert_with(|| histogram(2));
        histogram.saturating_record(us);
    }

    pub(super) fn refuse(&mut self, text: &[u8]) {
        self.refused += 1;
        let text = String::from_utf8_lossy(text).into_owned();
        let name = if self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&text) {
            text
        } else {
            "other reasons".to_owned()
        };
        *self.reasons.entry(name).or_default() += 1;
    }
}

/// Every message that was sent, by the hash of its bytes, and how often it was acked. Equal bytes are one message: the cluster stores them once.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub(super) acked: HashMap<u64, u64>,
}

impl Ledger {
    pub(super) fn sent(&mut self, digest: u64) {
        self.acked.entry(digest).or_default();
    }

    pub(super) fn acked(&mut self, digest: u64) {
        *self.acked.entry(digest).or_default() += 1;
    }

    /// Bytes set aside for it: 17 for each message that there is room for, an eighth of it empty at least and more than half at most.
    #[must_use]
    pub fn book_bytes(&self) -> usize {
        // What a table of this library keeps beside each place is a byte, and seven of eight places can be taken.
        let places = self.acked.capacity() / 7 * 8;
        places * (size_of::<(u64, u64)>() + 1)
    }

    /// How many different messages were acked.
    #[must_use]
    pub fn to_find(&self) -> usize {
        self.acked.values().filter(|acks| **acks > 0).count()
    }
}
