//! Clients of a simulated cluster: each sends numbered requests to actors through any node, and sends a request again, same number,
//! until it has a reply or gives it up.

use std::collections::BTreeMap;

use waterpark_core::lane::Session;
use waterpark_ring::{GroupId, Key};
use waterpark_wire::request::{self, Operation, RequestHeader, SENT_BEFORE};

use crate::rng::Rng;

/// A request by its client, its group and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The client.
    pub client: u32,
    /// The group.
    pub group: GroupId,
    /// The number.
    pub number: u32,
}

/// A request that is under way.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its key.
    pub key: Key,
    /// Its message.
    pub message: Vec<u8>,
    /// How often it was sent.
    pub attempts: u32,
    /// It is sent again at this virtual instant, in ns.
    pub again_ns: u64,
}

/// One client.
#[derive(Debug)]
pub struct SimClient {
    number: u32,
    session: Session,
    /// The next number of each lane.
    next: BTreeMap<GroupId, u32>,
    /// What is under way.
    pub open: BTreeMap<(GroupId, u32), Open>,
}

/// Attempts after which a request is given up for good: the mark then passes it.
pub const ATTEMPTS_MAX: u32 = 40;
/// Milliseconds that each attempt is given.
pub const TIMEOUT_MS: u32 = 1_000;

impl SimClient {
    /// A client whose session is born in `birth_s`.
    #[must_use]
    pub fn new(number: u32, birth_s: u64, ordered: bool, rng: &mut Rng) -> SimClient {
        let session = Session::new(birth_s, ordered, rng.word().to_le_bytes());
        SimClient {
            number,
            session,
            next: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// Whether its requests take effect in order.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.session.is_ordered()
    }

    /// Its session.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }

    /// Opens a request: its number is bound to its bytes for ever.
    pub fn open(&mut self, group: GroupId, key: Key, message: Vec<u8>) -> RequestId {
        let next = self.next.entry(group).or_insert(1);
        let number = *next;
        *next += 1;
        self.open.insert(
            (group, number),
            Open {
                key,
                message,
                attempts: 0,
                again_ns: 0,
            },
        );
        RequestId {
            client: self.number,
            group,
            number,
        }
    }

    fn mark(&self, group: GroupId) -> u32 {
        let first = self.open.range((group, 0)..=(group, u32::MAX)).next();
        first.map_or_else(
            || self.next.get(&group).copied().unwrap_or(1),
            |((_, number), _)| *number,
        )
    }

    /// The item of a request, once more.
    pub fn item(&mut self, id: RequestId, bytes: &mut Vec<u8>) -> bool {
        let mark = self.mark(id.group);
        let Some(open) = self.open.get_mut(&(id.group, id.number)) else {
            return false;
        };
        let mut header = RequestHeader {
            session: self.session.0,
            correlation: (u64::from(id.group.0) << 32 | u64::from(id.number)).into(),
            number: id.number.into(),
            mark: mark.into(),
            timeout_ms: TIMEOUT_MS.into(),
            operation: Operation::Send as u8,
            ..RequestHeader::default()
        };
        header.item.group = id.group.0.into();
        header.item.flags = if open.attempts > 0 { SENT_BEFORE } else { 0 };
        open.attempts += 1;
        request::push(bytes, &header, open.key.bytes(), &open.message);
        true
    }
}
