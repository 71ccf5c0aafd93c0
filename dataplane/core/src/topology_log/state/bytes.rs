//! A state as bytes, and back: what stands for the entries before it, in a voter's file and on the way to a node that is far behind.
//!
//! Little-endian, one form for each state. **Invariant:** no bytes make it panic, and none make it reserve more than they hold; a state that
//! is read can be gone on from.
//!
//! ```text
//! state      u16 schema · u64 position · u64 born · u64 placing · u32 configuration · u64 base · voters
//!            · u32 count · row* · u32 count · joined* · u32 count · group* · u32 count · seat*
//! row        u64 incarnation · u8 presence                    by node id, from 0
//! joined     u16 id · text name · text host · u16 port · u16 shards
//! group      slot · config · u8 1 · pending config, or u8 0 · u8 count · learner* · u32 count · member since*
//! config     u64 view · u64 lineage · roll
//! slot       u8 count · u16 node*
//! seat       u16 node · u32 group · u16 shard · u8 pinned · u64 position     ascending by node and group
//! ```
//!
//! `voters`, `text`, `roll` and `member` are as in an entry (`codec.rs`).

use super::{Electorate, GroupState, NodeState, Presence, Seat, TopologyState, config_of};
use crate::config::Config;
use crate::ids::{GroupId, Incarnation, Lineage, NodeId, ShardId, View};
use crate::topology_log::codec::{EntryError, Reader, Writer};
use crate::topology_log::entry::Roll;

/// The schema that this release writes.
const SCHEMA: u16 = 2;

const ROW_BYTES: usize = 9;
const JOINED_BYTES_MIN: usize = 8;
/// A slot of one node, a Config of one member, and three counts.
const GROUP_BYTES_MIN: usize = 3 + 16 + 13 + 6;
const MEMBER_BYTES: usize = 10;
const SEAT_BYTES: usize = 17;

const PRESENCES: [Presence; 7] = [
    Presence::Unknown,
    Presence::Up,
    Presence::Draining,
    Presence::Down,
    Presence::Gone,
    Presence::Joined,
    Presence::Left,
];

impl TopologyState {
    /// Its bytes.
    ///
    /// # Panics
    /// If a list is longer than its count can say: a bug in this process.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(SCHEMA.to_le_bytes().to_vec());
        out.u64(self.position);
        out.u64(self.born);
        out.u64(self.placing);
        out.u32(self.electorate.configuration);
        out.u64(self.electorate.base);
        out.voters(&self.electorate.voters);
        out.count(self.nodes.len());
        for row in &self.nodes {
            out.u64(row.incarnation.0);
            let presence = PRESENCES.iter().position(|known| *known == row.presence);
            out.short_count(presence.expect("every presence is in the list"));
        }
        out.count(self.joined.len());
        self.joined.iter().for_each(|node| out.node(node));
        out.count(self.groups.len());
        for (group, slot) in self.groups.iter().zip(&self.slots) {
            out.slot(slot);
            put_config(&mut out, &group.active);
            out.u8(u8::from(group.pending.is_some()));
            group.pending.iter().for_each(|config| put_config(&mut out, config));
            out.short_count(group.learners.len());
            group.learners.iter().for_each(|member| out.member(*member));
            out.count(group.since.len());
            group.since.iter().for_each(|member| out.member(*member));
        }
        out.count(self.seats.len());
        for ((node, group), seat) in &self.seats {
            out.u16(node.0);
            out.u32(group.0);
            out.u16(seat.shard.0);
            out.u8(u8::from(seat.pinned));
            out.u64(seat.position);
        }
        out.0
    }

    /// The state that these bytes are.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<TopologyState, EntryError> {
        let mut bytes = Reader(bytes);
        let schema = bytes.u16()?;
        if schema != SCHEMA {
            return Err(EntryError::Schema { schema });
        }
        let (position, born, placing) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
        let electorate = Electorate {
            configuration: bytes.u32()?,
            base: bytes.u64()?,
            voters: bytes.voters()?,
        };
        // The first configuration's voters are said by no entry, all others' are.
        let is_first = electorate.configuration <= 1;
        if is_first != electorate.voters.is_empty() || electorate.configuration == 0 || electorate.base > position {
            return Err(EntryError::Voters);
        }
        let nodes = bytes.list(ROW_BYTES, |bytes| {
            let incarnation = Incarnation(bytes.u64()?);
            let presence = PRESENCES.get(usize::from(bytes.u8()?)).copied();
            let presence = presence.ok_or(EntryError::Node)?;
            Ok(NodeState { incarnation, presence })
        })?;
        // Node ids have 16 bits.
        if nodes.len() > usize::from(u16::MAX) + 1 {
            return Err(EntryError::Node);
        }
        let joined = bytes.list(JOINED_BYTES_MIN, Reader::node)?;
        let mut slots = Vec::new();
        let mut groups = Vec::new();
        for id in 0..bytes.u32()? {
            if bytes.0.len() < GROUP_BYTES_MIN {
                return Err(EntryError::Truncated);
            }
            slots.push(bytes.slot()?);
            groups.push(group(&mut bytes, GroupId(id))?);
        }
        let seats = bytes.list(SEAT_BYTES, seat)?;
        let ascend = seats.is_sorted_by(|(one, _), (next, _)| one < next);
        let is_known = |((_, group), seat): &((NodeId, GroupId), Seat)| {
            groups.len() > group.0 as usize && (1..=position).contains(&seat.position)
        };
        if !ascend || !seats.iter().all(is_known) {
            return Err(EntryError::Seat);
        }
        match bytes.0.len() {
            0 => Ok(TopologyState {
                position,
                born,
                electorate,
                nodes,
                groups,
                slots,
                placing,
                joined,
                seats: seats.into_iter().collect(),
            }),
            bytes => Err(EntryError::Trailing { bytes }),
        }
    }
}

fn seat(bytes: &mut Reader<'_>) -> Result<((NodeId, GroupId), Seat), EntryError> {
    let place = (NodeId(bytes.u16()?), GroupId(bytes.u32()?));
    let seat = Seat {
        shard: ShardId(bytes.u16()?),
        pinned: bytes.is_pinned()?,
        position: bytes.u64()?,
    };
    Ok((place, seat))
}

fn put_config(out: &mut Writer, config: &Config) {
    let quorum = |count: usize| u8::try_from(count).expect("a group has at most five members");
    out.u64(config.view.0);
    out.u64(config.lineage.0);
    out.roll(&Roll {
        members: config.members.clone(),
        write_quorum: quorum(config.write_quorum),
        read_quorum: quorum(config.read_quorum),
    });
}

fn config(bytes: &mut Reader<'_>, id: GroupId) -> Result<Config, EntryError> {
    let (view, lineage) = (View(bytes.u64()?), Lineage(bytes.u64()?));
    config_of(id, view, lineage, &bytes.roll()?).ok_or(EntryError::Roll)
}

fn group(bytes: &mut Reader<'_>, id: GroupId) -> Result<GroupState, EntryError> {
    Ok(GroupState {
        active: config(bytes, id)?,
        pending: match bytes.u8()? {
            0 => None,
            1 => Some(config(bytes, id)?),
            _ => return Err(EntryError::Roll),
        },
        learners: bytes.learners()?,
        since: bytes.list(MEMBER_BYTES, Reader::member)?,
    })
}

#[cfg(test)]
mod tests {
    use waterpark_ring::{NodeSpec, Slot};

    use super::*;
    use crate::ids::Member;
    use crate::topology_log::consensus::VoterId;
    use crate::topology_log::entry::{Entry, Move, Placing, Proposal, Voter, Why, WhyVoters};

    fn member(node: u16) -> Member {
        Member {
            node: NodeId(node),
            incarnation: Incarnation(u64::from(node) + 300),
        }
    }

    fn roll(nodes: &[u16]) -> Roll {
        Roll {
            members: nodes.iter().copied().map(member).collect(),
            write_quorum: 2,
            read_quorum: 2,
        }
    }

    fn propose(group: u32, active: u64, nodes: &[u16]) -> Entry {
        Entry::Propose(vec![Proposal {
            group: GroupId(group),
            sees_active: View(active),
            sees_pending: View(0),
            roll: roll(nodes),
            why: Why::Ring,
        }])
    }

    /// Entries of every kind that changes something that stays.
    fn entries() -> Vec<Entry> {
        let up = |node| Entry::NodeUp {
            member: member(node),
            replaces: Incarnation(0),
        };
        let nodes = |nodes: &[u16]| nodes.iter().copied().map(NodeId).collect::<Vec<_>>();
        let voter = |id, node| Voter {
            id: VoterId(id),
            node: NodeId(node),
            since: 2,
            incarnation: member(node).incarnation,
        };
        vec![
            up(1),
            up(2),
            up(3),
            Entry::Create(vec![roll(&[1, 2, 3]), roll(&[2, 3, 1])]),
            Entry::NodeJoined {
                node: NodeSpec {
                    id: NodeId(6),
                    name: "FL-B-2".to_owned(),
                    host: "10.0.0.6".to_owned(),
                    port: 7000,
                    shards: 2,
                },
                placing: Placing {
                    sees: 0,
                    slots: vec![(GroupId(1), Slot::new(&nodes(&[2, 3, 6])).unwrap())],
                },
            },
            up(6),
            Entry::SetLearners {
                group: GroupId(1),
                members: vec![member(6)],
            },
            propose(1, 4, &[2, 3, 6]),
            Entry::VotersChanged {
                configuration: 2,
                voters: vec![voter(4, 1), voter(5, 2), voter(6, 6)],
                why: WhyVoters::Lost,
            },
            Entry::Activate(vec![(GroupId(1), View(8))]),
            Entry::NodeDraining(NodeId(2)),
            Entry::NodeDown(member(3)),
            Entry::NodeGone(member(3)),
            propose(0, 4, &[1, 2, 6]),
            seated(6, 1, 0, 1),
            seated(1, 0, 0, 3),
            seated(6, 1, 15, 0),
        ]
    }

    fn seated(node: u16, group: u32, sees: u64, shard: u16) -> Entry {
        Entry::Seats {
            node: NodeId(node),
            moves: vec![Move {
                group: GroupId(group),
                sees,
                shard: ShardId(shard),
                pinned: shard == 0,
            }],
            reason: "it is warm".to_owned(),
        }
    }

    fn folded(entries: &[Entry]) -> TopologyState {
        let mut state = TopologyState::default();
        for (position, entry) in (1..).zip(entries) {
            assert_ne!(
                state.apply(position, entry),
                super::super::Changed::default(),
                "{entry:?}"
            );
        }
        state
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_goes_on_alike() {
        let entries = entries();
        for length in 0..=entries.len() {
            let mut state = folded(&entries[..length]);
            let bytes = state.encode();
            let mut read = TopologyState::decode(&bytes).unwrap();
            assert_eq!(read, state, "after {length} entries");
            assert_eq!(read.encode(), bytes);
            for (position, entry) in (1..).zip(&entries).skip(length) {
                assert_eq!(read.apply(position, entry), state.apply(position, entry));
            }
            assert_eq!(read, state);
        }
    }

    #[test]
    fn bytes_that_end_early_or_go_on_are_no_state() {
        let bytes = folded(&entries()).encode();
        for end in 0..bytes.len() {
            assert!(TopologyState::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(TopologyState::decode(&longer), Err(EntryError::Trailing { bytes: 1 }));
        let newer = [&[3, 0], &bytes[2..]].concat();
        assert_eq!(TopologyState::decode(&newer), Err(EntryError::Schema { schema: 3 }));
    }

    #[test]
    fn bytes_of_any_kind_are_a_state_in_its_one_form_or_refused() {
        let whole = folded(&entries()).encode();
        let (mut read, mut refused) = (0, 0);
        for at in 0..whole.len() {
            for value in [0, 1, 2, 3, 7, 0x7F, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                match TopologyState::decode(&bytes) {
                    Ok(state) => {
                        read += 1;
                        assert_eq!(state.encode(), bytes, "byte {at} is {value}");
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(read > 500 && refused > 200, "{read} read, {refused} refused");
    }
}
