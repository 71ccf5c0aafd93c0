//! Every kind of entry there and back, its golden bytes, and whatever else bytes may be.

use super::*;

fn member(node: u16, incarnation: u64) -> Member {
    Member {
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
    }
}

fn roll(nodes: core::ops::RangeInclusive<u16>) -> Roll {
    let members: Vec<Member> = nodes.map(|node| member(node, 256)).collect();
    let write_quorum = members.len() / 2 + 1;
    let quorum = |count: usize| u8::try_from(count).unwrap();
    Roll {
        write_quorum: quorum(write_quorum),
        read_quorum: quorum(members.len() + 1 - write_quorum),
        members,
    }
}

fn proposal(group: u32) -> Proposal {
    Proposal {
        group: GroupId(group),
        sees_active: View(5),
        sees_pending: View(0),
        roll: roll(1..=3),
        why: Why::Ring,
    }
}

fn node() -> NodeSpec {
    NodeSpec {
        id: NodeId(6),
        name: "FL-B-2".to_owned(),
        host: "10.0.0.6".to_owned(),
        port: 7000,
        shards: 2,
    }
}

fn placing(nodes: &[u16]) -> Placing {
    let nodes: Vec<NodeId> = nodes.iter().copied().map(NodeId).collect();
    Placing {
        sees: 4,
        slots: vec![(GroupId(7), Slot::new(&nodes).unwrap())],
    }
}

fn voter(id: u16, node: u16) -> Voter {
    Voter {
        id: VoterId(id),
        node: NodeId(node),
        since: 2,
        incarnation: Incarnation(256),
    }
}

const STAMP: Stamp = Stamp {
    by: NodeId(7),
    wall_ms: 9,
};

/// One entry of each kind, and the bytes that it will always be.
fn golden() -> [(Entry, &'static str); 14] {
    [
        (
            Entry::NodeUp {
                member: member(258, 3),
                replaces: Incarnation(2),
            },
            "0200 0700 0900000000000000 01 0201 0300000000000000 0200000000000000",
        ),
        (
            Entry::NodeDown(member(2, 3)),
            "0200 0700 0900000000000000 02 0200 0300000000000000",
        ),
        (
            Entry::NodeGone(member(2, 3)),
            "0200 0700 0900000000000000 0a 0200 0300000000000000",
        ),
        (Entry::NodeDraining(NodeId(2)), "0200 0700 0900000000000000 03 0200"),
        (Entry::NodeUndraining(NodeId(2)), "0200 0700 0900000000000000 09 0200"),
        (
            Entry::Create(vec![roll(1..=1), roll(1..=2)]),
            "0200 0700 0900000000000000 04 02000000 010101 0100 0001000000000000 020201 0100 0001000000000000 0200 0001000000000000",
        ),
        (
            Entry::SetLearners {
                group: GroupId(9),
                members: vec![member(4, 1)],
            },
            "0200 0700 0900000000000000 05 09000000 01 0400 0100000000000000",
        ),
        (
            Entry::Propose(vec![proposal(7)]),
            "0200 0700 0900000000000000 06 01000000 07000000 0500000000000000 0000000000000000 07 030202 \
             0100 0001000000000000 0200 0001000000000000 0300 0001000000000000",
        ),
        (
            Entry::Activate(vec![(GroupId(1), View(6)), (GroupId(2), View(6))]),
            "0200 0700 0900000000000000 07 02000000 01000000 0600000000000000 02000000 0600000000000000",
        ),
        (
            Entry::Reopen {
                proposal: proposal(7),
                reason: "disk".to_owned(),
            },
            "0200 0700 0900000000000000 08 07000000 0500000000000000 0000000000000000 07 030202 \
             0100 0001000000000000 0200 0001000000000000 0300 0001000000000000 04000000 6469736b",
        ),
        (
            Entry::NodeJoined {
                node: node(),
                placing: placing(&[1, 6]),
            },
            "0200 0700 0900000000000000 0b 0600 06 464c2d422d32 08 31302e302e302e36 581b 0200 \
             0400000000000000 01000000 07000000 02 0100 0600",
        ),
        (
            Entry::NodeLeft {
                node: NodeId(6),
                placing: placing(&[1, 2]),
            },
            "0200 0700 0900000000000000 0c 0600 0400000000000000 01000000 07000000 02 0100 0200",
        ),
        (
            Entry::VotersChanged {
                configuration: 3,
                voters: vec![voter(8, 1), voter(9, 5)],
                why: WhyVoters::Spread,
            },
            "0200 0700 0900000000000000 0d 03000000 02 02 0800 0100 02000000 0001000000000000 0900 0500 02000000 0001000000000000",
        ),
        (
            Entry::Seats {
                node: NodeId(6),
                moves: vec![Move {
                    group: GroupId(9),
                    sees: 4,
                    shard: ShardId(3),
                    pinned: true,
                }],
                reason: "hot".to_owned(),
            },
            "0200 0700 0900000000000000 0e 0600 01000000 09000000 0400000000000000 0300 01 03000000 686f74",
        ),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Knuth's MMIX generator.
struct Lcg(u64);

impl Lcg {
    fn byte(&mut self) -> u8 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0.to_le_bytes()[6]
    }

    fn below(&mut self, end: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % end
    }
}

/// A change of these bytes would make this release misread the logs of the one before.
#[test]
fn golden_bytes_never_change_and_are_read_back() {
    for (entry, hex) in golden() {
        assert_eq!(encode(STAMP, &entry), bytes(hex), "{entry:?}");
        assert_eq!(decode(&bytes(hex)), Ok((STAMP, entry)));
    }
}

#[test]
fn an_entry_that_ends_early_is_truncated_and_one_that_goes_on_is_not_one() {
    for (entry, hex) in golden() {
        let whole = bytes(hex);
        for end in 0..whole.len() {
            assert_eq!(
                decode(&whole[..end]),
                Err(EntryError::Truncated),
                "{end} bytes of {entry:?}"
            );
        }
        let longer = [&whole[..], &[0, 0]].concat();
        assert_eq!(decode(&longer), Err(EntryError::Trailing { bytes: 2 }));
    }
}

#[test]
fn what_no_entry_can_be_is_refused_by_name() {
    let rows = [
        ("0300 01", EntryError::Schema { schema: 3 }),
        ("0000 01", EntryError::Schema { schema: 0 }),
        ("0200 0700 0900000000000000 00", EntryError::Kind { kind: 0 }),
        ("0200 0700 0900000000000000 0f", EntryError::Kind { kind: 15 }),
        // A count beyond what there is.
        (
            "0200 0700 0900000000000000 07 ffffffff 01000000 0600000000000000",
            EntryError::Truncated,
        ),
        (
            "0200 0700 0900000000000000 08 07000000 0500000000000000 0000000000000000 07 010101 0100 0100000000000000 ffffffff",
            EntryError::Truncated,
        ),
        // No members, too many, one node twice, quorums that do not meet, an ack of one copy of two.
        (
            "0200 0700 0900000000000000 04 01000000 000000 0000000000000000 0000",
            EntryError::Roll,
        ),
        (
            "0200 0700 0900000000000000 04 01000000 060403 0000000000000000 0000",
            EntryError::Roll,
        ),
        (
            "0200 0700 0900000000000000 04 01000000 020201 0100 0100000000000000 0100 0200000000000000",
            EntryError::Roll,
        ),
        (
            "0200 0700 0900000000000000 04 01000000 020101 0100 0100000000000000 0200 0200000000000000",
            EntryError::Roll,
        ),
        (
            "0200 0700 0900000000000000 04 01000000 020102 0100 0100000000000000 0200 0200000000000000",
            EntryError::Roll,
        ),
        ("0200 0700 0900000000000000 05 09000000 06", EntryError::Learners),
        (
            "0200 0700 0900000000000000 05 09000000 02 0400 0100000000000000 0400 0200000000000000",
            EntryError::Learners,
        ),
        (
            "0200 0700 0900000000000000 08 07000000 0500000000000000 0000000000000000 07 010101 0100 0100000000000000 01000000 ff",
            EntryError::Reason,
        ),
        (
            "0200 0700 0900000000000000 06 01000000 07000000 0500000000000000 0000000000000000 0a 010101 0100 0100000000000000",
            EntryError::Why { why: 10 },
        ),
        (
            "0200 0700 0900000000000000 0e 0600 01000000 09000000 0400000000000000 0300 02 00000000",
            EntryError::Seat,
        ),
    ];
    for (hex, error) in rows {
        assert_eq!(decode(&bytes(hex)), Err(error), "{hex}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn bytes_of_any_kind_are_an_entry_in_its_one_form_or_refused() {
    let mut random = Lcg(4);
    let (mut read, mut refused) = (0, 0);
    let golden = golden();
    for round in 0..200_000 {
        let (entry, hex) = &golden[random.below(golden.len())];
        let mut bytes = bytes(hex);
        if round % 2 == 0 {
            // An entry with a few bytes changed, most of them small: those come furthest.
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] = [random.byte(), random.byte() & 7][random.below(2)];
            }
        } else {
            // Its head, then noise.
            bytes.truncate(13);
            bytes.extend((0..random.below(90)).map(|_| random.byte() & 3));
        }
        match decode(&bytes) {
            Ok((stamp, decoded)) => {
                read += 1;
                assert_eq!(encode(stamp, &decoded), bytes, "from {entry:?}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 10_000 && refused > 10_000, "{read} read, {refused} refused");
}

#[test]
fn a_proposal_takes_as_many_bytes_as_it_says() {
    let one = encode(STAMP, &Entry::Propose(vec![proposal(7)])).len();
    let two = encode(STAMP, &Entry::Propose(vec![proposal(7), proposal(8)])).len();
    assert_eq!(two - one, proposal_bytes(&proposal(8)));
}

#[test]
fn nodes_and_places_that_there_cannot_be_are_refused() {
    let joined = |node| {
        let placing = Placing::default();
        encode(STAMP, &Entry::NodeJoined { node, placing })
    };
    assert!(decode(&joined(node())).is_ok());
    let wrong = [
        NodeSpec {
            id: NodeId(0),
            ..node()
        },
        NodeSpec {
            name: "six".to_owned(),
            ..node()
        },
        NodeSpec {
            host: String::new(),
            ..node()
        },
        NodeSpec {
            port: u16::MAX,
            ..node()
        },
        NodeSpec { shards: 0, ..node() },
    ];
    for node in wrong {
        assert_eq!(decode(&joined(node.clone())), Err(EntryError::Node), "{node:?}");
    }
    let left = |slot: &str| bytes(&format!("0200 0700 0900000000000000 0c 0600 0400000000000000 {slot}"));
    for slot in [
        "01000000 07000000 00 0000",
        "01000000 07000000 02 0100 0100",
        "01000000 07000000 06 0100 0200",
    ] {
        assert_eq!(decode(&left(slot)), Err(EntryError::Slot), "{slot}");
    }
    assert_eq!(decode(&left("ffffffff 07000000 01 0100")), Err(EntryError::Truncated));
}

#[test]
fn voters_that_cannot_be_a_configuration_are_refused() {
    let changed = |configuration, voters: &[Voter]| {
        encode(
            STAMP,
            &Entry::VotersChanged {
                configuration,
                voters: voters.to_vec(),
                why: WhyVoters::Lost,
            },
        )
    };
    assert!(decode(&changed(2, &[voter(4, 1), voter(5, 2)])).is_ok());
    let many: Vec<Voter> = (1..=8).map(|at| voter(at, at)).collect();
    let wrong = [
        changed(1, &[voter(4, 1)]),
        changed(2, &[]),
        changed(2, &many),
        changed(2, &[voter(0, 1)]),
        changed(2, &[voter(5, 1), voter(4, 2)]),
        changed(2, &[voter(4, 1), voter(4, 2)]),
        changed(2, &[voter(4, 1), voter(5, 1)]),
    ];
    for bytes in wrong {
        assert_eq!(decode(&bytes), Err(EntryError::Voters), "{bytes:?}");
    }
}
