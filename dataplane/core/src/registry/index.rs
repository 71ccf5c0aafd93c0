//! Finds actors' numbers by the hash of their keys: many small tables, of which one at a time grows or is split in two.
//!
//! One large table costs most when it grows: half of it is empty afterwards, the old one lies about, and everybody waits until all of it
//! has moved. So the tables are split one after the other, in the order of linear hashing (Litwin 1980): no step moves more than two
//! thousand rows, however many there are, and each table is little larger than what it holds. It stores no key and knows none: of a hash it
//! keeps 32 bits, and who asks says whether a number with the same ones is meant.
//!
//! **Invariant:** lines fill from their first place on, nothing is ever taken out, and every table has an empty place; so a search ends
//! with the first line that is not full.

use super::NO_ACTOR;
use crate::memory::Memory;

/// Places in one line.
const LINE_PLACES: usize = 8;
/// When tables hold more than this on average the next one is split.
const MEAN_PLACES: usize = 1_024;

/// Below this a table doubles.
const DOUBLING_LINES: usize = 16;

/// One cache line of places. Hashes and numbers stand apart, so that all hashes are compared at once.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line {
    tags: [u32; LINE_PLACES],
    /// [`NO_ACTOR`] where nothing stands.
    numbers: [u32; LINE_PLACES],
}

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    const EMPTY: Line = Line {
        tags: [0; LINE_PLACES],
        numbers: [NO_ACTOR; LINE_PLACES],
    };

    /// The places whose tag is this one, as bits.
    #[inline]
    fn places(&self, tag: u32) -> u32 {
        let bits = self.tags.iter().enumerate();
        bits.fold(0, |bits, (at, other)| bits | u32::from(*other == tag) << at)
    }

    fn is_full(&self) -> bool {
        self.numbers[LINE_PLACES - 1] != NO_ACTOR
    }
}

/// A few hundred lines at the most, with at most seven of eight places in use.
#[derive(Debug)]
struct Table {
    lines: Box<[Line]>,
    count: usize,
}

impl Table {
    /// Empty, with room for `count` rows and an eighth more.
    fn with_room(count: usize) -> Table {
        let mut lines = 1;
        while room(lines) < count + count / 8 + 1 {
            lines = larger(lines);
        }
        Table {
            lines: vec![Line::EMPTY; lines].into(),
            count: 0,
        }
    }

    /// The line that a tag belongs to by its high bits; the low ones chose the table.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        let scaled = u64::from(tag) * self.lines.len() as u64;
        usize::try_from(scaled >> 32).expect("below the number of lines")
    }

    #[inline]
    fn after(&self, line: usize) -> usize {
        if line + 1 == self.lines.len() { 0 } else { line + 1 }
    }

    /// Adds a row where there is room.
    fn put(&mut self, tag: u32, number: u32) {
        let mut at = self.home(tag);
        while self.lines[at].is_full() {
            at = self.after(at);
        }
        let line = &mut self.lines[at];
        // Counted, not looked for: no branch to guess wrong.
        let free = line.numbers.iter().filter(|number| **number != NO_ACTOR).count();
        (line.tags[free], line.numbers[free]) = (tag, number);
        self.count += 1;
    }

    fn rows(&self) -> impl Iterator<Item = (u32, u32)> {
        let line = |line: &Line| {
            let places = line.tags.into_iter().zip(line.numbers);
            places.take_while(|(_, number)| *number != NO_ACTOR)
        };
        self.lines.iter().flat_map(line)
    }

    /// Sees to it that one more row finds room.
    fn make_room(&mut self) {
        if self.count < room(self.lines.len()) {
            return;
        }
        let mut grown = Table::with_room(self.count);
        for (tag, number) in self.rows() {
            grown.put(tag, number);
        }
        *self = grown;
    }
}

/// Rows that so many lines may hold.
fn room(lines: usize) -> usize {
    lines * (LINE_PLACES - 1)
}

/// The next size: twice as much while that is little, then a quarter of a power of two more, as allocators cut their memory.
fn larger(lines: usize) -> usize {
    if lines < DOUBLING_LINES {
        2 * lines
    } else {
        lines + (1 << lines.ilog2()) / 4
    }
}

/// The numbers of one group's actors.
#[derive(Debug, Default)]
pub(super) struct Index {
    tables: Vec<Table>,
    count: usize,
}

impl Index {
    /// Bytes set aside for all tables.
    pub(super) fn table_bytes(&self) -> usize {
        let lines: usize = self.tables.iter().map(|table| table.lines.len()).sum();
        lines * size_of::<Line>() + self.tables.capacity() * size_of::<Table>()
    }

    /// The first number that was added under this hash for which `is_meant` says so. A hash that was never added finds nothing, or what was
    /// added under one that looks like it: `is_meant` decides.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_meant: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag_of(hash);
        let table = self.tables.get(self.table_of(tag))?;
        let mut at = table.home(tag);
        loop {
            let line = &table.lines[at];
            let mut places = line.places(tag);
            while places != 0 {
                let number = line.numbers[places.trailing_zeros() as usize % LINE_PLACES];
                // An empty place looks like the tag 0.
                if number != NO_ACTOR && is_meant(number) {
                    return Some(number);
                }
                places &= places - 1;
            }
            if !line.is_full() {
                return None;
            }
            at = table.after(at);
        }
    }

    /// Asks for the line in which a hash is looked for first.
    #[inline]
    pub(super) fn ask<M: Memory>(&self, hash: u64) {
        let tag = tag_of(hash);
        if let Some(table) = self.tables.get(self.table_of(tag)) {
            M::ask_ahead(&table.lines[table.home(tag)]);
        }
    }

    /// Adds a number under a hash.
    ///
    /// # Panics
    /// If it is [`NO_ACTOR`], which marks an empty place: a bug in this process.
    pub(super) fn add(&mut self, hash: u64, number: u32) {
        assert_ne!(number, NO_ACTOR, "no actor has this number");
        if self.count >= self.tables.len() * MEAN_PLACES {
            self.split();
        }
        let tag = tag_of(hash);
        let at = self.table_of(tag);
        let table = &mut self.tables[at];
        table.make_room();
        table.put(tag, number);
        self.count += 1;
    }

    /// The table of a tag: as many of its low bits as there are tables, one bit less where that table is not split off yet.
    #[inline]
    fn table_of(&self, tag: u32) -> usize {
        let mask = self.tables.len().next_power_of_two() - 1;
        let at = tag as usize & mask;
        if at < self.tables.len() { at } else { at & (mask >> 1) }
    }

    /// Makes one table more: the next one in turn is split by the next bit.
    fn split(&mut self) {
        let tables = self.tables.len();
        if tables == 0 {
            return self.tables.push(Table::with_room(0));
        }
        let bit = 1 << tables.ilog2();
        let old = &mut self.tables[tables - bit];
        let moves = |tag: u32| tag as usize & bit != 0;
        let moved = old.rows().filter(|(tag, _)| moves(*tag)).count();
        let mut stays = Table::with_room(old.count - moved);
        let mut goes = Table::with_room(moved);
        for (tag, number) in old.rows() {
            let table = if moves(tag) { &mut goes } else { &mut stays };
            table.put(tag, number);
        }
        *old = stays;
        self.tables.push(goes);
    }
}

/// What is kept of a hash. All keys of a group share bits of it, so all others take part in each bit.
#[inline]
fn tag_of(hash: u64) -> u32 {
    let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    u32::try_from(mixed >> 32).expect("32 bits are left")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of the keys of one group: some bits are the same in all of them.
    fn hash(number: u32) -> u64 {
        let spread = (u64::from(number) + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (spread ^ spread >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93) << 7 | 5
    }

    fn filled(count: u32) -> Index {
        let mut index = Index::default();
        (0..count).for_each(|number| index.add(hash(number), number));
        index
    }

    #[test]
    fn every_number_is_found_under_its_hash_while_tables_grow_and_split() {
        let mut index = Index::default();
        for number in 0..20_000 {
            assert_eq!(index.find(hash(number), |other| other == number), None);
            index.add(hash(number), number);
            // Those that were added before are looked for at many sizes, not at each.
            if number % 997 == 0 {
                for earlier in 0..=number {
                    assert_eq!(index.find(hash(earlier), |other| other == earlier), Some(earlier));
                }
            }
        }
        assert_eq!(index.tables.iter().map(|table| table.count).sum::<usize>(), 20_000);
    }

    #[test]
    fn numbers_under_one_hash_are_told_apart_by_who_asks() {
        let mut index = filled(3_000);
        (3_000..3_040).for_each(|number| index.add(hash(17), number));
        let mut offered = Vec::new();
        let found = index.find(hash(17), |number| {
            offered.push(number);
            false
        });
        assert_eq!(found, None);
        offered.sort_unstable();
        assert_eq!(offered, [17].into_iter().chain(3_000..3_040).collect::<Vec<u32>>());
        assert_eq!(index.find(hash(17), |number| number == 3_039), Some(3_039));
    }

    #[test]
    fn the_tag_of_an_empty_place_finds_no_empty_place() {
        let mut index = Index::default();
        assert_eq!(index.find(0, |_| true), None, "nothing is there at all");
        index.add(hash(1), 1);
        assert_eq!(tag_of(0), 0);
        assert_eq!(index.find(0, |_| true), None);
        index.add(0, 7);
        assert_eq!(index.find(0, |_| true), Some(7));
    }

    #[test]
    fn each_table_keeps_an_empty_place_and_few_of_them() {
        for count in [1, 100, 1_000, 2_000, 3_000, 7_812, 50_000, 65_536] {
            let index = filled(count);
            let tables = &index.tables;
            assert!(tables.iter().all(|table| table.count <= room(table.lines.len())));
            let lines: usize = tables.iter().map(|table| table.lines.len()).sum();
            // 64 bytes a line: no more than 12 a row once there are enough rows for an average.
            if count >= 1_000 {
                assert!(lines * 64 <= 12 * count as usize, "{lines} lines for {count} rows");
            }
        }
    }

    #[test]
    fn no_step_moves_more_rows_than_a_few_tables_hold() {
        let index = filled(100_000);
        let most = index.tables.iter().map(|table| table.count).max().unwrap();
        assert!(most <= 2 * MEAN_PLACES + MEAN_PLACES / 2, "{most} rows in one table");
        assert_eq!(index.tables.len(), 100_000_usize.div_ceil(MEAN_PLACES));
    }
}
