//! From a key to its group: one function for client, command line and node, and it gives the same answer for ever.
//!
//! The hash is keyed by the cluster id, so that a stranger who chooses keys cannot aim at one group. What it
//! deliberately does not know: which nodes there are. **Invariant:** groups and classes are fixed when the cluster is
//! made, hence a key's group never changes; a group moves, its keys never do.

use std::fmt;

use xxhash_rust::xxh3::{xxh3_64_with_secret, xxh3_128_with_seed};

/// Groups that a cluster has at least. A keyspace itself may have fewer: simulations look at one group.
pub const GROUPS_MIN: u32 = 64;
/// Groups that a cluster has at most: the slot table of 2^20 groups is 12 MiB on each node.
pub const GROUPS_MAX: u32 = 1 << 20;
/// Home classes that a cluster has unless it is made otherwise.
pub const CLASSES_DEFAULT: u32 = 4;
/// Groups per shard of the size that a cluster is meant to reach.
pub const GROUPS_PER_SHARD: u32 = 32;

const SECRET_BYTES: usize = 192;

/// The random name of a cluster, made once by `init`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// A replica set with one log: the unit of replication, recovery and moves. Counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node for as long as the cluster lives; never given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why numbers do not make a keyspace. The operator's mistake at `init`; nothing was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyspaceError {
    /// Groups must be a power of two from [`GROUPS_MIN`] to [`GROUPS_MAX`].
    Groups {
        /// The number given.
        groups: u32,
    },
    /// Classes must be a power of two that divides the groups.
    Classes {
        /// The number given.
        classes: u32,
        /// The groups that it must divide.
        groups: u32,
    },
}

impl fmt::Display for KeyspaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Groups { groups } => {
                write!(f, "{groups} groups: must be a power of two of at most {GROUPS_MAX}")
            }
            Self::Classes { classes, groups } => {
                write!(
                    f,
                    "{classes} classes: must be a power of two of at most {groups}, the number of groups"
                )
            }
        }
    }
}

impl std::error::Error for KeyspaceError {}

/// How keys of one cluster fall into its groups.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyspace {
    secret: [u8; SECRET_BYTES],
    groups: u32,
    classes: u32,
}

impl Keyspace {
    /// The keyspace of a cluster.
    ///
    /// # Errors
    ///
    /// If groups or classes are not powers of two within their bounds.
    pub fn new(cluster: ClusterId, groups: u32, classes: u32) -> Result<Self, KeyspaceError> {
        if !groups.is_power_of_two() || groups > GROUPS_MAX {
            return Err(KeyspaceError::Groups { groups });
        }
        // A power of two divides another one exactly when it is not larger.
        if !classes.is_power_of_two() || classes > groups {
            return Err(KeyspaceError::Classes { classes, groups });
        }
        Ok(Self {
            secret: secret_of(cluster),
            groups,
            classes,
        })
    }

    /// Groups for a cluster that is meant to reach this number of shards: the power of two nearest to 32 per shard.
    #[must_use]
    pub fn groups_for(shards: u32) -> u32 {
        let wanted = shards.saturating_mul(GROUPS_PER_SHARD).clamp(GROUPS_MIN, GROUPS_MAX);
        let below = 1 << wanted.ilog2();
        let above = below * 2;
        if wanted - below < above - wanted {
            below
        } else {
            above.min(GROUPS_MAX)
        }
    }

    /// xxh3-64 over canonical bytes, keyed by the cluster.
    #[inline]
    #[must_use]
    pub fn hash(&self, canonical: &[u8]) -> u64 {
        xxh3_64_with_secret(canonical, &self.secret)
    }

    /// The group of a hash: the class is the bound one, else the hash's high bits; its low bits choose among the
    /// class's groups.
    ///
    /// # Panics
    ///
    /// If `bound_class` is not a class: bindings are checked where they enter, in the topology.
    #[inline]
    #[must_use]
    pub fn group(&self, hash: u64, bound_class: Option<u32>) -> GroupId {
        let class = match bound_class {
            Some(class) => {
                assert!(class < self.classes);
                class
            }
            None => self.high_bits(hash),
        };
        let index = low_half(hash) & (self.groups / self.classes - 1);
        GroupId(class + self.classes * index)
    }

    /// The class that a group belongs to.
    #[must_use]
    pub fn class_of_group(&self, group: GroupId) -> u32 {
        group.0 & (self.classes - 1)
    }

    /// Groups of the cluster, a power of two.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.groups
    }

    /// Home classes of the cluster, a power of two.
    #[must_use]
    pub fn classes(&self) -> u32 {
        self.classes
    }

    /// The secret that keys everything hashed for this cluster.
    pub(crate) fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    #[inline]
    fn high_bits(&self, hash: u64) -> u32 {
        // Two shifts, because shifting 64 bits by 64 at once, as one class would, is not defined.
        low_half(hash >> 1 >> (63 - self.classes.trailing_zeros()))
    }
}

impl fmt::Debug for Keyspace {
    /// Leaves the secret out: it would let a reader of logs aim at a group.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace")
            .field("groups", &self.groups)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low_half(hash: u64) -> u32 {
    hash as u32
}

/// 192 bytes from the 16 of the cluster id: twelve 128-bit hashes of it under the seeds 0 to 11.
fn secret_of(cluster: ClusterId) -> [u8; SECRET_BYTES] {
    let mut secret = [0; SECRET_BYTES];
    for (seed, part) in (0..).zip(secret.chunks_exact_mut(16)) {
        part.copy_from_slice(&xxh3_128_with_seed(&cluster.0, seed).to_le_bytes());
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    fn keyspace(groups: u32, classes: u32) -> Keyspace {
        Keyspace::new(ClusterId(*b"a test's cluster"), groups, classes).unwrap()
    }

    #[test]
    fn the_group_is_class_plus_classes_times_low_bits() {
        let keyspace = keyspace(128, 4);
        assert_eq!(keyspace.group(0, None), GroupId(0));
        assert_eq!(keyspace.group(0xC000_0000_0000_0000, None), GroupId(3));
        assert_eq!(keyspace.group(0x8000_0000_0000_0005, None), GroupId(2 + 4 * 5));
        assert_eq!(
            keyspace.group(0x8000_0000_0000_0025, None),
            GroupId(2 + 4 * 5),
            "32 groups in a class"
        );
        assert_eq!(keyspace.group(0x8000_0000_0000_0005, Some(1)), GroupId(1 + 4 * 5));
    }

    #[test]
    fn one_class_and_one_group_per_class_are_both_keyspaces() {
        assert_eq!(keyspace(64, 1).group(u64::MAX, None), GroupId(63));
        assert_eq!(keyspace(64, 64).group(u64::MAX, None), GroupId(63));
        assert_eq!(keyspace(64, 64).group(u64::MAX, Some(7)), GroupId(7));
    }

    #[test]
    fn numbers_that_do_not_divide_are_refused() {
        let new = |groups, classes| Keyspace::new(ClusterId([0; 16]), groups, classes).map(|_| ());
        assert_eq!(new(100, 4), Err(KeyspaceError::Groups { groups: 100 }));
        assert_eq!(new(0, 1), Err(KeyspaceError::Groups { groups: 0 }));
        assert_eq!(new(1, 1), Ok(()));
        assert_eq!(new(1 << 21, 4), Err(KeyspaceError::Groups { groups: 1 << 21 }));
        assert_eq!(new(64, 0), Err(KeyspaceError::Classes { classes: 0, groups: 64 }));
        assert_eq!(new(64, 3), Err(KeyspaceError::Classes { classes: 3, groups: 64 }));
        assert_eq!(
            new(64, 128),
            Err(KeyspaceError::Classes {
                classes: 128,
                groups: 64
            })
        );
    }

    #[test]
    fn groups_are_the_power_of_two_nearest_to_32_per_shard() {
        let rows = [
            (0, 64),
            (1, 64),
            (2, 64),
            (3, 128),
            (5, 128),
            (6, 256),
            (7, 256),
            (512, 16_384),
            (u32::MAX, GROUPS_MAX),
        ];
        for (shards, groups) in rows {
            assert_eq!(Keyspace::groups_for(shards), groups, "{shards} shards");
        }
    }

    /// A change of these values would send every key of every running cluster to another group.
    #[test]
    fn hashes_of_golden_keys_never_change() {
        let keyspace = keyspace(128, 4);
        let group = |text: &str| keyspace.group(keyspace.hash(Key::parse(text).unwrap().bytes()), None).0;
        let groups: Vec<u32> = ["patient/1001,facility=HOSPX", "room/den", "clock"].map(group).into();
        assert_eq!(groups, GOLDEN_GROUPS);
        assert_eq!(keyspace.hash(b"\x01a\x00"), GOLDEN_HASH);
    }

    const GOLDEN_GROUPS: [u32; 3] = [121, 42, 61];
    const GOLDEN_HASH: u64 = 13_549_277_985_236_541_353;

    #[test]
    fn another_cluster_hashes_otherwise() {
        let other = Keyspace::new(ClusterId(*b"another  cluster"), 128, 4).unwrap();
        assert_ne!(keyspace(128, 4).hash(b"\x01a\x00"), other.hash(b"\x01a\x00"));
    }

    #[test]
    fn a_million_keys_fill_the_groups_evenly() {
        let keyspace = keyspace(128, 4);
        let mut keys_in = [0_u32; 128];
        for id in 0..1_000_000_u32 {
            keys_in[keyspace.group(keyspace.hash(&id.to_le_bytes()), None).0 as usize] += 1;
        }
        // 7,812 each in the mean, with a standard deviation of 88.
        assert!(
            keys_in.iter().all(|&keys| (7_372..8_252).contains(&keys)),
            "{keys_in:?}"
        );
    }
}
