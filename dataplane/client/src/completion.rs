//! Ends of requests: what became of each ticket, collected until the caller takes them.
//!
//! The bodies of replies lie one behind the other in one buffer that is used again, so that a completion allocates nothing.

use waterpark_wire::reply::{HAS_TOKEN, Outcome, ReplyHeader};

use crate::error::ClientError;

/// Names a request from its sending to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

/// Names an entry for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The group's lineage.
    pub lineage: u64,
    /// The group.
    pub group: u32,
    /// The view.
    pub view: u64,
    /// The seq.
    pub seq: u64,
}

impl Token {
    pub(crate) fn of(header: &ReplyHeader) -> Option<Token> {
        (header.item.flags & HAS_TOKEN != 0).then(|| Token {
            lineage: header.lineage.get(),
            group: header.item.group.get(),
            view: header.view.get(),
            seq: header.seq.get(),
        })
    }
}

/// The end of a request.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// Which request.
    pub ticket: Ticket,
    /// The caller's own mark, as given with the request.
    pub tag: u64,
    /// The logged outcome (a handler's refusal or trap is one too), or why there is none.
    pub result: Result<Outcome, ClientError>,
    /// The entry, or the last entry that a read was computed from.
    pub token: Option<Token>,
    /// What the handler, the read or the document says.
    pub body: &'a [u8],
    /// Copies that were sent.
    pub attempts: u32,
}

#[derive(Debug)]
struct Row {
    ticket: Ticket,
    tag: u64,
    result: Result<Outcome, ClientError>,
    token: Option<Token>,
    body: (usize, usize),
    attempts: u32,
}

/// A buffer of bodies above this is given back once it was read.
const BODIES_KEPT: usize = 256 << 10;

/// Ends that the caller has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    rows: Vec<Row>,
    bodies: Vec<u8>,
}

impl Completions {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn push(&mut self, completion: &Completion<'_>) {
        let start = self.bodies.len();
        self.bodies.extend_from_slice(completion.body);
        self.rows.push(Row {
            ticket: completion.ticket,
            tag: completion.tag,
            result: completion.result,
            token: completion.token,
            body: (start, self.bodies.len()),
            attempts: completion.attempts,
        });
    }

    pub(crate) fn take(&mut self, mut on: impl FnMut(Completion<'_>)) {
        for row in self.rows.drain(..) {
            on(Completion {
                ticket: row.ticket,
                tag: row.tag,
                result: row.result,
                token: row.token,
                body: &self.bodies[row.body.0..row.body.1],
                attempts: row.attempts,
            });
        }
        self.bodies.clear();
        if self.bodies.capacity() > BODIES_KEPT {
            self.bodies = Vec::new();
        }
    }
}
