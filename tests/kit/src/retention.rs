//! The kinds of simulated clusters, one for each rule, and what their logs must have lost: reckoned in the plainest way from the sweeps
//! that stand in a log.
//!
//! It knows no chunks, portions or ticks. **Invariant:** a log is judged by its own entries alone.

use std::collections::BTreeMap;

use waterpark_core::behaviour::Retention;
use waterpark_handlers::{Handler, Kinds};
use waterpark_ring::KeyRef;
use waterpark_wire::run::{DROPPED, EntryView, SWEEP, TICK, VOID};
use waterpark_wire::sweep::{SweepRule, SweepView, left_length, write_left};

use crate::behaviour::SimKinds;

/// Kinds that keep less than everything, with what they keep.
pub const RULED: [(&str, Retention); 3] = [
    ("recent", Retention::Last(3)),
    ("fresh", Retention::For(1_500)),
    ("trace", Retention::None),
];

/// The built-in kinds, which keep everything, one that fails, and one record for each other rule.
#[must_use]
pub fn kinds() -> SimKinds {
    let mut kinds = Kinds::built_in();
    for (name, retention) in RULED {
        kinds.add(name, Handler::Record, retention);
    }
    SimKinds::new(kinds)
}

/// An entry with its seq and its group time in ms.
pub type Row<'a> = (u64, u64, EntryView<'a>);

/// What is wrong with one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Its message is there, and a committed sweep drops it.
    Kept(u64),
    /// Its message is gone, and no sweep drops it or its kind forbids it.
    Dropped(u64),
}

/// Compares what one member's log lost with what its sweeps up to `commit` say. `rows` are all its entries from the first; `rule` says what a
/// kind keeps.
#[must_use]
pub fn check(rows: &[Row<'_>], commit: u64, rule: impl Fn(&[u8]) -> Retention) -> Vec<Wrong> {
    let mut kinds: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (_, _, entry) in rows {
        if let Some(key) = entry.key.and_then(|key| KeyRef::new_checked(key).ok()) {
            kinds.insert(entry.header.actor.get(), key.kind().to_vec());
        }
    }
    let messages: Vec<&Row<'_>> = rows
        .iter()
        .filter(|row| row.2.header.flags.get() & (TICK | VOID) == 0)
        .collect();
    let kind = |row: &Row<'_>| kinds.get(&row.2.header.actor.get()).map(Vec::as_slice);
    // Whether each message must be gone, and whether it may be.
    let mut gone = vec![(false, false); messages.len()];
    for (seq, time_ms, entry) in rows {
        let Ok(sweep) = SweepView::new_checked(entry.message) else {
            continue;
        };
        if entry.header.flags.get() & SWEEP == 0 {
            continue;
        }
        for (named, rule) in sweep.rules() {
            let mut newer: BTreeMap<u32, u32> = BTreeMap::new();
            for (row, (must, may)) in messages.iter().zip(&mut gone).rev() {
                if row.0 > sweep.upto || kind(row) != Some(named) {
                    continue;
                }
                let newer = newer.entry(row.2.header.actor.get()).or_default();
                let drops = match rule {
                    SweepRule::None => true,
                    SweepRule::Last(count) => *newer >= count,
                    SweepRule::For(ms) => row.1 + ms < *time_ms,
                };
                *newer += 1;
                *may |= drops;
                *must |= drops && *seq <= commit;
            }
        }
    }
    let mut newer: BTreeMap<u32, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (row, (must, may)) in messages.iter().zip(gone).rev() {
        let newer = newer.entry(row.2.header.actor.get()).or_default();
        let forbidden = match kind(row).map_or(Retention::All, &rule) {
            Retention::All => true,
            Retention::Last(count) => *newer < count,
            Retention::For(_) | Retention::None => false,
        };
        *newer += 1;
        match row.2.header.flags.get() & DROPPED != 0 {
            true if !may || forbidden => wrong.push(Wrong::Dropped(row.0)),
            false if must => wrong.push(Wrong::Kept(row.0)),
            _ => {}
        }
    }
    wrong
}

/// Whether two members hold the same entry, where one may have swept what the other has not yet.
#[must_use]
pub fn same_entry(one: &[u8], other: &[u8]) -> bool {
    let read = |bytes| EntryView::new_checked(bytes).ok().map(|(entry, _)| entry);
    let (Some(first), Some(second)) = (read(one), read(other)) else {
        return false;
    };
    let is_dropped = |entry: &EntryView<'_>| entry.header.flags.get() & DROPPED != 0;
    if is_dropped(&first) == is_dropped(&second) {
        return one == other;
    }
    let left = |entry: &EntryView<'_>| {
        let mut bytes = vec![0; left_length(entry)];
        write_left(entry, &mut bytes);
        bytes
    };
    left(&first) == left(&second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_ring::Key;
    use waterpark_wire::run::{EntryHeader, EntryParts};
    use waterpark_wire::sweep::push_sweep;

    fn entry(actor: u32, flags: u16, message: &[u8], kind: Option<&str>) -> Vec<u8> {
        let key = kind.map(|kind| Key::new(kind, &[("id", b"7")]).unwrap());
        let parts = EntryParts {
            header: EntryHeader {
                actor: actor.into(),
                flags: flags.into(),
                ..EntryHeader::default()
            },
            message,
            key: key.as_ref().map(|key| key.as_ref().bytes()),
            ..EntryParts::default()
        };
        let mut bytes = vec![0; parts.length()];
        parts.write(&mut bytes);
        bytes
    }

    fn dropped(bytes: &[u8]) -> Vec<u8> {
        let (entry, _) = EntryView::new_checked(bytes).unwrap();
        let mut left = vec![0; left_length(&entry)];
        write_left(&entry, &mut left);
        left
    }

    /// A log of one actor of a kind with `count` messages a second apart, then a sweep by that rule, a second later.
    fn log(kind: &str, count: u64, rule: SweepRule) -> Vec<Vec<u8>> {
        let mut log: Vec<_> = (0..count)
            .map(|at| entry(0, 0, b"message", (at == 0).then_some(kind)))
            .collect();
        let mut sweep = Vec::new();
        push_sweep(&mut sweep, count, &[(kind.as_bytes(), rule)]);
        log.push(entry(u32::MAX, TICK | SWEEP, &sweep, None));
        log
    }

    fn judge(log: &[Vec<u8>], commit: u64) -> Vec<Wrong> {
        let rows: Vec<_> = (1u64..)
            .zip(log)
            .map(|(seq, bytes)| (seq, seq * 1_000, EntryView::new_checked(bytes).unwrap().0))
            .collect();
        check(&rows, commit, |name| kinds().rule(name))
    }

    #[test]
    fn a_log_that_lost_what_its_sweep_says_is_right_and_one_that_kept_it_is_not() {
        let mut log = log("recent", 5, SweepRule::Last(3));
        assert_eq!(judge(&log, 6), [Wrong::Kept(2), Wrong::Kept(1)]);
        assert_eq!(judge(&log, 5), [], "the sweep is not committed yet");
        log[0] = dropped(&log[0]);
        log[1] = dropped(&log[1]);
        assert_eq!(judge(&log, 6), []);
    }

    #[test]
    fn a_message_that_no_sweep_drops_is_found_missing() {
        let mut recent = log("recent", 5, SweepRule::Last(3));
        recent[0] = dropped(&recent[0]);
        recent[1] = dropped(&recent[1]);
        recent[2] = dropped(&recent[2]);
        assert_eq!(judge(&recent, 6), [Wrong::Dropped(3)]);
        let mut fresh = log("fresh", 4, SweepRule::For(1_500));
        fresh[..3].iter_mut().for_each(|bytes| *bytes = dropped(bytes));
        assert_eq!(
            judge(&fresh, 5),
            [],
            "two, three and four seconds are older than one and a half"
        );
        fresh[3] = dropped(&fresh[3]);
        assert_eq!(judge(&fresh, 5), [Wrong::Dropped(4)]);
    }

    #[test]
    fn a_kind_that_keeps_everything_may_lose_nothing_whatever_a_sweep_says() {
        let mut log = log("record", 2, SweepRule::None);
        log[0] = dropped(&log[0]);
        assert_eq!(judge(&log, 0), [Wrong::Dropped(1)]);
    }

    #[test]
    fn a_swept_entry_is_the_same_as_the_whole_one_and_no_other() {
        let whole = entry(0, 0, b"message", Some("trace"));
        let other = entry(1, 0, b"message", Some("trace"));
        assert!(same_entry(&whole, &dropped(&whole)) && same_entry(&whole, &whole));
        assert!(!same_entry(&whole, &dropped(&other)) && !same_entry(&whole, &other));
        assert!(!same_entry(&whole, b"no entry"));
    }
}
