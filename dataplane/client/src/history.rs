//! The body of a history's answer: entries of one actor, newest first.

use waterpark_wire::FrameError;
use waterpark_wire::run::EntryView;

/// One entry of an actor.
#[derive(Clone, Copy, Debug)]
pub struct HistoryEntry<'a> {
    /// Its seq.
    pub seq: u64,
    /// Group time, ms since the epoch.
    pub time_ms: u64,
    /// The entry as it lies in the log.
    pub entry: EntryView<'a>,
}

/// Reads the body of a history's answer. Ends behind the first malformed entry.
pub fn history_entries(body: &[u8]) -> impl Iterator<Item = Result<HistoryEntry<'_>, FrameError>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = next_entry(rest);
        rest = next.as_ref().map_or(&[], |(_, tail)| tail);
        Some(next.map(|(entry, _)| entry))
    })
}

fn next_entry(bytes: &[u8]) -> Result<(HistoryEntry<'_>, &[u8]), FrameError> {
    let (seq, rest) = bytes.split_first_chunk::<8>().ok_or(FrameError::Entry)?;
    let (time_ms, rest) = rest.split_first_chunk::<8>().ok_or(FrameError::Entry)?;
    let (entry, rest) = EntryView::new_checked(rest)?;
    let entry = HistoryEntry {
        seq: u64::from_le_bytes(*seq),
        time_ms: u64::from_le_bytes(*time_ms),
        entry,
    };
    Ok((entry, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_wire::run::EntryParts;

    #[test]
    fn entries_come_in_their_order_and_a_torn_one_is_an_error() {
        let mut body = Vec::new();
        for (seq, message) in [(9u64, b"nine".as_slice()), (4, b"four")] {
            body.extend_from_slice(&seq.to_le_bytes());
            body.extend_from_slice(&(seq * 1000).to_le_bytes());
            let parts = EntryParts {
                message,
                ..EntryParts::default()
            };
            let start = body.len();
            body.resize(start + parts.length(), 0);
            parts.write(&mut body[start..]);
        }
        let read: Vec<_> = history_entries(&body).map(Result::unwrap).collect();
        let seen: Vec<_> = read.iter().map(|e| (e.seq, e.time_ms, e.entry.message)).collect();
        assert_eq!(seen, [(9, 9_000, b"nine".as_slice()), (4, 4_000, b"four")]);
        let torn: Vec<_> = history_entries(&body[..body.len() - 1]).collect();
        assert_eq!(torn.len(), 2);
        assert_eq!(torn[1].as_ref().err(), Some(&FrameError::Entry));
    }
}
