//! Clients of a simulated cluster: each sends numbered requests to actors through any node, and sends a request again, same number,
//! until it has a reply or gives it up.

use std::collections::BTreeMap;

use waterpark_core::lane::Session;
use waterpark_ring::{GroupId, Key};
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::{self, HERE, Operation, RequestHeader, SENT_BEFORE};

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
    /// Its key goes out malformed.
    pub is_spoiled: bool,
    /// Only its number is wanted any more.
    pub is_void: bool,
    /// A copy was made that does not say that it is one.
    pub is_doubled: bool,
    /// The last refusal that came for it.
    pub refused: Option<Outcome>,
}

/// The first copy of a request names this number in its correlation, and says of no other copy.
pub const FIRST: u32 = 0;

/// The request and the copy of it that a correlation names.
#[must_use]
pub fn of_correlation(client: u32, correlation: u64) -> (RequestId, u32) {
    let low = |bits: u64| u32::try_from(bits & 0xFFFF_FFFF).expect("32 bits");
    let group = GroupId(low(correlation >> 32 & 0xFFFF));
    let number = low(correlation);
    (RequestId { client, group, number }, low(correlation >> 48))
}

/// One client.
#[derive(Debug)]
pub struct SimClient {
    number: u32,
    session: Session,
    /// The next number of each lane.
    next: BTreeMap<GroupId, u32>,
    /// Its session is over: it opens nothing more.
    pub is_retired: bool,
    /// It asks many nodes at a time, and asks until it is answered.
    pub is_probe: bool,
    /// It asks for what a test tells it to, and nothing else, and does not give up while there are faults.
    pub is_told: bool,
    /// What is under way.
    pub open: BTreeMap<(GroupId, u32), Open>,
}

/// What stands where a key should.
const NO_KEY: &[u8] = b"\xFFno key";

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
            is_retired: false,
            is_probe: false,
            is_told: false,
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
                is_spoiled: false,
                is_void: false,
                is_doubled: false,
                refused: None,
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

    /// The item of a request, once more; `false` if it is not open. `here` asks the node that gets it to answer itself.
    pub fn item(&mut self, id: RequestId, here: bool, bytes: &mut Vec<u8>) -> bool {
        let mark = self.mark(id.group);
        let Some(open) = self.open.get_mut(&(id.group, id.number)) else {
            return false;
        };
        let mut header = RequestHeader {
            session: self.session.0,
            correlation: (u64::from(open.attempts) << 48 | u64::from(id.group.0) << 32 | u64::from(id.number)).into(),
            number: id.number.into(),
            mark: mark.into(),
            timeout_ms: TIMEOUT_MS.into(),
            operation: if open.is_void { Operation::Void } else { Operation::Send } as u8,
            ..RequestHeader::default()
        };
        header.item.group = id.group.0.into();
        header.item.flags = if open.attempts > FIRST { SENT_BEFORE } else { 0 } | if here { HERE } else { 0 };
        open.attempts += 1;
        let key = if open.is_spoiled { NO_KEY } else { open.key.bytes() };
        let message: &[u8] = if open.is_void { &[] } else { &open.message };
        request::push(bytes, &header, key, message);
        true
    }
}
