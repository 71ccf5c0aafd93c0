//! The newest decided entries, for nodes that are a little behind. Whoever is further behind is given the state that entries add up to.
//!
//! It does not know what entries say. **Invariant:** its entries follow each other without a hole up to the last one.

use std::collections::VecDeque;

use super::Decided;

/// Bytes of entries that are kept. The newest one is kept, however long it is.
pub const TAIL_BYTES_MAX: usize = 4 << 20;

/// What an entry takes beside its bytes, about: so that a million empty ones are not kept for nothing.
const ROW_BYTES: usize = 64;

/// Decided entries up to the last one.
#[derive(Clone, Debug)]
pub struct Tail {
    first: u64,
    entries: VecDeque<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// Of the entries from a position on.
    #[must_use]
    pub fn new(first: u64, bytes_max: usize) -> Tail {
        Tail {
            first,
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// The next entry.
    ///
    /// # Panics
    /// If it is not the next one: a bug in this process.
    pub fn push(&mut self, decided: &Decided) {
        assert_eq!(decided.position, self.first + self.entries.len() as u64);
        self.bytes += decided.entry.len() + ROW_BYTES;
        self.entries.push_back(decided.entry.clone());
        while self.bytes > self.bytes_max
            && self.entries.len() > 1
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.len() + ROW_BYTES;
            self.first += 1;
        }
    }

    /// Entries from a position on: at least one if there is one, then as many as fit. `None` if the first of them is no longer here.
    #[must_use]
    pub fn from(&self, position: u64, bytes_max: usize) -> Option<Vec<Decided>> {
        let from = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let mut bytes = 0;
        let mut found = Vec::new();
        for (entry, position) in self.entries.iter().skip(from).zip(position..) {
            bytes += entry.len();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            let entry = entry.clone();
            found.push(Decided { position, entry });
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(entries: u64, bytes: usize, bytes_max: usize) -> Tail {
        let mut tail = Tail::new(5, bytes_max);
        for position in 5..5 + entries {
            let entry = vec![0; bytes];
            tail.push(&Decided { position, entry });
        }
        tail
    }

    fn portion(tail: &Tail, position: u64, bytes: usize) -> Option<Vec<u64>> {
        let found = tail.from(position, bytes)?;
        Some(found.into_iter().map(|found| found.position).collect())
    }

    #[test]
    fn a_portion_has_one_entry_at_least() {
        let tail = tail(3, 100, 1_000);
        assert_eq!(portion(&tail, 5, 0), Some(vec![5]));
        assert_eq!(portion(&tail, 5, 200), Some(vec![5, 6]));
        assert_eq!(portion(&tail, 6, 999), Some(vec![6, 7]));
        assert_eq!(portion(&tail, 8, 999), Some(vec![]));
        assert_eq!(portion(&tail, u64::MAX, 999), Some(vec![]));
        assert_eq!(portion(&tail, 4, 999), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest_is_always_there() {
        let tail_of = |entries, bytes| tail(entries, bytes, 1_000);
        let small = tail_of(500, 36);
        assert_eq!(portion(&small, 495, 999), Some((495..505).collect()));
        assert_eq!(portion(&small, 494, 999), None);
        let large = tail_of(3, 5_000);
        assert_eq!(portion(&large, 7, 0), Some(vec![7]));
        assert_eq!(portion(&large, 6, 0), None);
    }
}
