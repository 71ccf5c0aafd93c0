//! The open requests: a slab whose rows keep their buffers, so that a message in steady state allocates nothing.
//!
//! Beside the rows lies one array of instants at which each has to be looked at. No row has an earlier one than `first_due_ns`, so a turn
//! in which nothing is due costs one comparison. Knows nothing of lanes and connections.

use waterpark_wire::reply::Outcome;
use waterpark_wire::request::{Operation, ReadLevel};

use crate::completion::Ticket;

const INDEX_BITS: u32 = 24;
/// A request larger than this takes its buffer with it.
const BUFFER_KEPT: usize = 2 << 10;

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The row is not in use.
    Free,
    /// Waits for a number in its lane; it was never sent.
    Waiting,
    /// Its session was refused before it took effect; waits for a number in the next one.
    Rebinding,
    /// Waits for a connection.
    Parked,
    /// Waits to be sent again.
    Pausing,
    /// A copy is under way.
    Flying,
    /// It ended without anything known of its effect; its number is kept.
    Held,
}

/// What a row asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// A message or a void: numbered.
    Effect,
    /// A read of an actor.
    Read,
    /// A document.
    Document,
}

/// Whom it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The group's writer.
    Writer,
    /// This node's shard.
    Shard(u16, u16),
    /// Any node.
    Anyone,
}

/// One request. What its end reads stands together, in one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Request {
    generation: u32,
    pub(crate) attempts: u32,
    pub(crate) tag: u64,
    pub(crate) group: u32,
    /// Its lane, if it is numbered.
    pub(crate) lane: u32,
    /// Its number in the session `serial`; 0 for none.
    pub(crate) number: u32,
    pub(crate) serial: u32,
    /// The connection on which a copy is under way.
    pub(crate) peer: u32,
    /// The mark that the newest copy carries.
    pub(crate) mark: u32,
    pub(crate) stage: Stage,
    pub(crate) asks: Asks,
    /// The caller does not know of it: the core asked itself.
    pub(crate) internal: bool,
    pub(crate) hold_unknown: bool,
    /// The fate of an earlier copy is not known: a refusal is not definite any more.
    pub(crate) dirty: bool,
    /// Its lane counts it as live.
    pub(crate) counted: bool,
    /// The member that it goes to shall answer itself.
    pub(crate) here: bool,
    pub(crate) operation: Operation,
    pub(crate) level: ReadLevel,
    /// Bytes of the key, without padding.
    pub(crate) key_length: u16,
    /// As many of `bytes` as are counted among those of all open requests.
    counted_bytes: u32,
    /// Monotonic ns.
    pub(crate) deadline_ns: u64,
    /// Key, padding and message; a question for a document whole.
    pub(crate) bytes: Vec<u8>,
    /// The session that the number is of.
    pub(crate) session: [u8; 16],
    pub(crate) target: Target,
    pub(crate) attempts_max: u32,
    /// The last refusal and its detail.
    pub(crate) refusal: Option<(Outcome, u32)>,
}

const _: () = assert!(size_of::<Request>() == 128, "two cache lines");

impl Request {
    fn new() -> Request {
        Request {
            generation: 0,
            stage: Stage::Free,
            asks: Asks::Effect,
            target: Target::Writer,
            internal: false,
            hold_unknown: false,
            dirty: false,
            attempts: 0,
            attempts_max: u32::MAX,
            tag: 0,
            group: 0,
            lane: 0,
            number: 0,
            serial: 0,
            counted: false,
            peer: 0,
            deadline_ns: 0,
            refusal: None,
            session: [0; 16],
            mark: 0,
            key_length: 0,
            counted_bytes: 0,
            operation: Operation::Send,
            level: ReadLevel::Linearizable,
            here: false,
            bytes: Vec::new(),
        }
    }
}

/// The rows that are not in use, taken in the order of their numbers, round and round.
///
/// What was sent first ends first, more or less. So neighbours come free together and are used again one after the other, and the processor has
/// fetched a row by the time it is asked for; the one that came free last would be anywhere.
#[derive(Debug, Default)]
struct FreeRows {
    /// A bit for each row that is free.
    words: Vec<u64>,
    /// The word from which the next one is looked for.
    at: usize,
    count: usize,
}

impl FreeRows {
    fn take(&mut self) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        while self.words[self.at] == 0 {
            self.at = if self.at + 1 == self.words.len() {
                0
            } else {
                self.at + 1
            };
        }
        let word = &mut self.words[self.at];
        let bit = word.trailing_zeros();
        *word &= *word - 1;
        self.count -= 1;
        Some(u32::try_from(self.at * 64).expect("at most 2^24 rows") + bit)
    }

    fn put(&mut self, index: u32) {
        let word = index as usize / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (index % 64);
        self.count += 1;
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Requests {
    rows: Vec<Request>,
    due_ns: Vec<u64>,
    free: FreeRows,
    limit: usize,
    bytes_max: usize,
    /// Bytes of all open requests.
    bytes: usize,
    /// No row is due earlier, monotonic ns.
    pub(crate) first_due_ns: u64,
}

impl Requests {
    pub(crate) fn new(limit: u32, bytes_max: usize) -> Requests {
        Requests {
            rows: Vec::new(),
            due_ns: Vec::new(),
            free: FreeRows::default(),
            limit: limit.min(1 << INDEX_BITS) as usize,
            bytes_max,
            bytes: 0,
            first_due_ns: u64::MAX,
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.rows.len() - self.free.count
    }

    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.open() < self.limit && self.bytes + bytes <= self.bytes_max
    }

    /// Opens a row; the caller fills in what matters and has asked [`Requests::has_room`]. Its buffer is empty.
    pub(crate) fn insert(&mut self, deadline_ns: u64) -> u32 {
        let index = self.free.take().unwrap_or_else(|| {
            self.rows.push(Request::new());
            self.due_ns.push(u64::MAX);
            u32::try_from(self.rows.len() - 1).expect("at most 2^24 rows")
        });
        let row = &mut self.rows[index as usize];
        row.bytes.clear();
        row.generation = row.generation.wrapping_add(1);
        row.dirty = false;
        row.internal = false;
        row.hold_unknown = false;
        row.attempts = 0;
        row.number = 0;
        row.mark = 0;
        row.session = [0; 16];
        row.serial = 0;
        row.counted = false;
        row.refusal = None;
        row.deadline_ns = deadline_ns;
        self.set_due(index, deadline_ns);
        index
    }

    /// Counts the bytes of a row whose buffer was filled.
    pub(crate) fn count(&mut self, index: u32) {
        let row = &mut self.rows[index as usize];
        row.counted_bytes = u32::try_from(row.bytes.len()).expect("messages are bounded far below 4 GiB");
        self.bytes += row.bytes.len();
    }

    /// Takes a row out of use. A small buffer stays as it is, and is not so much as looked at: it has left the caches.
    pub(crate) fn remove(&mut self, index: u32) {
        let row = &mut self.rows[index as usize];
        row.stage = Stage::Free;
        let bytes = std::mem::take(&mut row.counted_bytes) as usize;
        self.bytes -= bytes;
        if bytes > BUFFER_KEPT {
            row.bytes = Vec::new();
        }
        self.due_ns[index as usize] = u64::MAX;
        self.free.put(index);
    }

    /// Cuts a request to its first bytes: its message is dropped.
    pub(crate) fn truncate(&mut self, index: u32, length: usize) {
        let row = &mut self.rows[index as usize];
        row.bytes.truncate(length);
        if row.bytes.capacity() > BUFFER_KEPT {
            row.bytes.shrink_to_fit();
        }
        self.bytes -= row.counted_bytes as usize;
        self.count(index);
    }

    pub(crate) fn row(&self, index: u32) -> &Request {
        &self.rows[index as usize]
    }

    pub(crate) fn row_mut(&mut self, index: u32) -> &mut Request {
        &mut self.rows[index as usize]
    }

    pub(crate) fn set_due(&mut self, index: u32, due_ns: u64) {
        self.due_ns[index as usize] = due_ns;
        self.first_due_ns = self.first_due_ns.min(due_ns);
    }

    pub(crate) fn ticket(&self, index: u32) -> Ticket {
        Ticket(u64::from(self.row(index).generation) << INDEX_BITS | u64::from(index))
    }

    /// The row of a ticket, if it is open.
    pub(crate) fn find(&self, ticket: Ticket) -> Option<u32> {
        let index = u32::try_from(ticket.0 & ((1 << INDEX_BITS) - 1)).ok()?;
        let row = self.rows.get(index as usize)?;
        (row.stage != Stage::Free && self.ticket(index) == ticket).then_some(index)
    }

    /// What the copy that is sent now carries: the ticket, and which copy it is.
    pub(crate) fn correlation(&self, index: u32) -> u64 {
        self.ticket(index).0 << 8 | u64::from(self.row(index).attempts) & 0xFF
    }

    /// The row that a correlation names, and whether it is of the newest copy.
    pub(crate) fn by_correlation(&self, correlation: u64) -> Option<(u32, bool)> {
        // A ticket has 56 bits.
        let index = self.find(Ticket(correlation >> 8))?;
        Some((index, correlation == self.correlation(index)))
    }

    /// Reads a little of the row that a correlation names, if there is one: it comes near while others are read.
    #[inline]
    pub(crate) fn glance(&self, correlation: u64) -> u32 {
        let index = (correlation >> 8) & ((1 << INDEX_BITS) - 1);
        let row = usize::try_from(index).ok().and_then(|index| self.rows.get(index));
        row.map_or(0, |row| row.generation)
    }

    /// Collects the rows that are due.
    pub(crate) fn due(&mut self, now_ns: u64, out: &mut Vec<u32>) {
        let mut first = u64::MAX;
        for (index, due_ns) in (0..).zip(&self.due_ns) {
            if *due_ns <= now_ns {
                out.push(index);
            } else {
                first = first.min(*due_ns);
            }
        }
        self.first_due_ns = first;
    }

    /// The rows in a stage, in order of row.
    pub(crate) fn select(&self, fits: impl Fn(&Request) -> bool) -> Vec<u32> {
        let rows = (0..).zip(&self.rows);
        rows.filter(|(_, row)| row.stage != Stage::Free && fits(row))
            .map(|(index, _)| index)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_names_its_request_alone_for_ever() {
        let mut requests = Requests::new(2, 1000);
        let first = requests.insert(5);
        requests.row_mut(first).stage = Stage::Flying;
        let ticket = requests.ticket(first);
        assert_eq!(requests.find(ticket), Some(first));
        requests.remove(first);
        assert_eq!(requests.find(ticket), None);
        let again = requests.insert(5);
        requests.row_mut(again).stage = Stage::Flying;
        assert_eq!(again, first, "the row is used again");
        assert_eq!(requests.find(ticket), None, "its old ticket is not");
    }

    #[test]
    fn a_correlation_tells_the_newest_copy_from_those_before() {
        let mut requests = Requests::new(2, 1000);
        let index = requests.insert(5);
        requests.row_mut(index).stage = Stage::Flying;
        requests.row_mut(index).attempts = 1;
        let first = requests.correlation(index);
        requests.row_mut(index).attempts = 2;
        assert_eq!(requests.by_correlation(first), Some((index, false)));
        assert_eq!(
            requests.by_correlation(requests.correlation(index)),
            Some((index, true))
        );
    }

    #[test]
    fn rows_and_bytes_are_bounded() {
        let mut requests = Requests::new(2, 100);
        let index = requests.insert(1);
        requests.row_mut(index).bytes.extend_from_slice(&[0; 90]);
        requests.count(index);
        assert!(requests.has_room(10));
        assert!(!requests.has_room(11));
        requests.insert(1);
        assert!(!requests.has_room(0));
        requests.remove(index);
        assert!(requests.has_room(100));
    }

    #[test]
    fn rows_that_came_free_are_used_again_in_the_order_of_their_numbers() {
        let mut requests = Requests::new(1_000, 1_000);
        let all: Vec<u32> = (0..200).map(|_| requests.insert(5)).collect();
        assert_eq!(all, (0..200).collect::<Vec<u32>>());
        for index in [150, 3, 70, 71, 199, 64] {
            requests.remove(index);
        }
        assert_eq!(requests.open(), 194);
        let again: Vec<u32> = (0..6).map(|_| requests.insert(5)).collect();
        assert_eq!(again, [3, 64, 70, 71, 150, 199]);
        // Where it went on, not at the first one.
        for index in [5, 130, 198] {
            requests.remove(index);
        }
        assert_eq!([(); 3].map(|()| requests.insert(5)), [198, 5, 130]);
        assert_eq!(requests.insert(5), 200, "none is free: one more");
        assert_eq!(requests.open(), 201);
    }

    #[test]
    fn a_row_that_is_used_again_has_nothing_of_what_it_was_before() {
        let mut requests = Requests::new(10, 10_000);
        for bytes in [90, 3 * BUFFER_KEPT] {
            let index = requests.insert(1);
            requests.row_mut(index).bytes.extend_from_slice(&vec![7; bytes]);
            requests.count(index);
            assert_eq!(requests.bytes, bytes);
            requests.truncate(index, 40);
            assert_eq!(requests.bytes, 40, "its message was dropped");
            assert!(requests.row(index).bytes.capacity() <= BUFFER_KEPT);
            requests.remove(index);
            assert_eq!((requests.bytes, requests.open()), (0, 0));
            let again = requests.insert(1);
            assert_eq!((again, requests.row(again).bytes.len()), (index, 0));
            requests.remove(again);
        }
    }

    #[test]
    fn only_what_is_due_is_collected() {
        let mut requests = Requests::new(10, 1000);
        let rows: Vec<u32> = [30, 10, 20].map(|due| requests.insert(due)).into();
        assert_eq!(requests.first_due_ns, 10);
        let mut due = Vec::new();
        requests.due(20, &mut due);
        assert_eq!(due, [rows[1], rows[2]]);
        assert_eq!(requests.first_due_ns, 30);
    }
}
