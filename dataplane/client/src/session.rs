//! Sessions: 16 bytes that no round trip opens. The birth second is the cluster's, from the handshake, never the client's own clock.
//!
//! **Invariant:** no two sessions of a client have equal random halves.

/// A session is followed by a new one so long after its birth, in milliseconds: well before the cluster's hour is over.
pub const SESSION_RENEWAL_MS: u64 = 45 * 60 * 1000;

const MS: u64 = 1_000_000;

/// A session that new lanes begin in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) bytes: [u8; 16],
    /// Names it within this client; from 1.
    pub(crate) serial: u32,
    /// From then on it gets no new numbers, monotonic ns.
    pub(crate) renew_ns: u64,
}

/// Which of the shared sessions is ordered.
pub(crate) const ORDERED: usize = 1;

/// Opens sessions.
#[derive(Debug)]
pub(crate) struct Births {
    entropy: [u64; 2],
    serial: u32,
    /// The cluster's wall clock in ms, and when that was, monotonic ns.
    clock: Option<(u64, u64)>,
    /// The unordered and the ordered session that all lanes share unless their group disagrees about the time, and behind them those of further
    /// unordered lanes.
    shared: Vec<Option<Session>>,
}

impl Births {
    pub(crate) fn new(entropy: [u8; 16]) -> Births {
        let (low, high) = entropy.split_at(8);
        let word = |half: &[u8]| u64::from_le_bytes(*half.first_chunk().expect("eight bytes"));
        Births {
            entropy: [word(low), word(high)],
            serial: 0,
            clock: None,
            shared: Vec::new(),
        }
    }

    /// The cluster told its time.
    pub(crate) fn set_clock(&mut self, now_ns: u64, wall_ms: u64) {
        self.clock = Some((wall_ms, now_ns));
    }

    pub(crate) fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// A shared session, renewed if it is its time; `None` while the cluster's time is not known. `index` is 0 for the first unordered one, 1 for
    /// the ordered one, more for further unordered ones.
    pub(crate) fn shared(&mut self, now_ns: u64, index: usize) -> Option<Session> {
        if self.shared.len() <= index {
            self.shared.resize(index + 1, None);
        }
        if let Some(session) = self.shared[index].filter(|session| now_ns < session.renew_ns) {
            return Some(session);
        }
        let (wall_ms, at_ns) = self.clock?;
        let birth_s = (wall_ms + now_ns.saturating_sub(at_ns) / MS) / 1000;
        let session = self.open(now_ns, birth_s, index == ORDERED);
        self.shared[index] = Some(session);
        Some(session)
    }

    /// A session of its own for a group that told its time.
    pub(crate) fn open(&mut self, now_ns: u64, birth_s: u64, ordered: bool) -> Session {
        self.serial += 1;
        let random = spread(self.entropy[0].wrapping_add(u64::from(self.serial))) ^ self.entropy[1];
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(birth_s << 1 | u64::from(ordered)).to_le_bytes());
        bytes[8..].copy_from_slice(&random.to_le_bytes());
        Session {
            bytes,
            serial: self.serial,
            renew_ns: now_ns + SESSION_RENEWAL_MS * MS,
        }
    }
}

/// A bijection of 64 bits that spreads neighbours (the finalizer of SplitMix64): sessions of one client differ as long as their serials do.
fn spread(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_core::lane;

    #[test]
    fn a_session_reads_as_a_member_reads_it() {
        let mut births = Births::new([3; 16]);
        assert!(births.shared(0, 0).is_none(), "no birth without the cluster's time");
        births.set_clock(5 * MS, 1_700_000_000_900);
        let mut halves = std::collections::BTreeSet::new();
        for which in 0..5 {
            let session = births.shared(205 * MS, which).unwrap();
            let read = lane::Session(session.bytes);
            assert_eq!((read.birth_s(), read.is_ordered()), (1_700_000_001, which == ORDERED));
            assert!(halves.insert(session.bytes[8..].to_vec()), "no two are the same");
        }
    }

    #[test]
    fn a_session_is_shared_until_its_renewal_and_never_again() {
        let mut births = Births::new([9; 16]);
        births.set_clock(0, 1_000_000);
        let first = births.shared(0, 0).unwrap();
        let same = births.shared(SESSION_RENEWAL_MS * MS - 1, 0).unwrap();
        let next = births.shared(SESSION_RENEWAL_MS * MS, 0).unwrap();
        assert_eq!(first.bytes, same.bytes);
        assert_ne!(first.bytes[8..], next.bytes[8..]);
        assert_eq!(lane::Session(next.bytes).birth_s(), 1_000 + SESSION_RENEWAL_MS / 1000);
        assert!(!lane::Session(first.bytes).is_expired(1_000_000 + SESSION_RENEWAL_MS));
    }
}
