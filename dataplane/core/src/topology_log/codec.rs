//! An entry of the topology log as bytes, and back.
//!
//! Fixed layout, little-endian, one form for each entry: what is read and written again gives the same bytes. It does not know whether an
//! entry fits the state; that is the fold's to say. **Invariant:** no bytes make it panic, and none make it reserve more than they hold.
//!
//! ```text
//! entry      u16 schema · u16 proposing node · u64 its wall clock, ms · u8 kind · body to the end
//! 1 NodeUp        member · u64 replaces
//! 2 NodeDown      member
//! 3 NodeDraining  u16 node
//! 4 Create        u32 count · roll*
//! 5 SetLearners   u32 group · u8 count · member*
//! 6 Propose       u32 count · proposal*
//! 7 Activate      u32 count · (u32 group · u64 view)*
//! 8 Reopen        proposal · u32 length · reason, UTF-8
//! 9 NodeUndraining  u16 node
//! 10 NodeGone       member
//! 11 NodeJoined     u16 id · text name · text host · u16 port · u16 shards · placing
//! 12 NodeLeft       u16 node · placing
//! 13 VotersChanged  u32 configuration · u8 why · voters
//! 14 Seats          u16 node · u32 count · (u32 group · u64 sees · u16 shard · u8 pinned)* · u32 length · reason, UTF-8
//! member     u16 node · u64 incarnation
//! roll       u8 count · u8 W · u8 R · member*
//! proposal   u32 group · u64 sees active · u64 sees pending · u8 why · roll
//! placing    u64 sees · u32 count · (u32 group · u8 count · u16 node*)*
//! voters     u8 count · (u16 id · u16 node · u32 since · u64 incarnation)*
//! text       u8 length · UTF-8
//! ```

use core::fmt;

use waterpark_ring::{NodeSpec, Slot};

use crate::config::{Config, MEMBERS_MAX};
use crate::ids::{GroupId, Incarnation, Lineage, Member, NodeId, ShardId, View};
use crate::topology_log::consensus::{VOTERS_MAX, VoterId};
use crate::topology_log::entry::{Entry, Move, Placing, Proposal, Roll, Stamp, Voter, Why, WhyVoters};

/// The schema that this release writes. It stands first, so that a later one can be told before anything of it is read.
pub const SCHEMA: u16 = 2;

const MEMBER_BYTES: usize = 10;
const ROLL_BYTES_MIN: usize = 3 + MEMBER_BYTES;
const PROPOSAL_HEAD_BYTES: usize = 21;
const ACTIVATION_BYTES: usize = 12;
const SLOT_BYTES_MIN: usize = 7;
const MOVE_BYTES: usize = 15;

const NODE_UP: u8 = 1;
const NODE_DOWN: u8 = 2;
const NODE_DRAINING: u8 = 3;
const CREATE: u8 = 4;
const SET_LEARNERS: u8 = 5;
const PROPOSE: u8 = 6;
const ACTIVATE: u8 = 7;
const REOPEN: u8 = 8;
const NODE_UNDRAINING: u8 = 9;
const NODE_GONE: u8 = 10;
const NODE_JOINED: u8 = 11;
const NODE_LEFT: u8 = 12;
const VOTERS_CHANGED: u8 = 13;
const SEATS: u8 = 14;

/// Why bytes are no entry. The fault of whoever sent or kept them; nothing was taken from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// A schema that this release does not read: it was written by a newer one.
    Schema {
        /// The number found.
        schema: u16,
    },
    /// No entry has this kind.
    Kind {
        /// The number found.
        kind: u8,
    },
    /// They end before the entry does, or a count says more than they hold.
    Truncated,
    /// Bytes follow after the entry.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Members that cannot be a group's: none, too many, two on one node, or quorums that do not meet.
    Roll,
    /// More learners than a group has members, or two on one node.
    Learners,
    /// The reason is not UTF-8.
    Reason,
    /// No reason for a proposal, or for other voters, has this number.
    Why {
        /// The number found.
        why: u8,
    },
    /// A node that cannot be one: its id, name, host, port or number of shards.
    Node,
    /// Nodes where a group should be that cannot be its members: none, too many, or one twice.
    Slot,
    /// A seat that is neither pinned nor not.
    Seat,
    /// Voters that cannot be a configuration: none, too many, not ascending, two on one node, or a configuration that cannot follow another.
    Voters,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryError::Schema { schema } => write!(f, "schema {schema} of a topology entry is unknown"),
            EntryError::Kind { kind } => write!(f, "kind {kind} of a topology entry is unknown"),
            EntryError::Truncated => f.write_str("the bytes of a topology entry end early"),
            EntryError::Trailing { bytes } => write!(f, "{bytes} bytes follow after a topology entry"),
            EntryError::Roll => f.write_str("a topology entry names members that cannot be a group's"),
            EntryError::Learners => f.write_str("a topology entry names learners that cannot be a group's"),
            EntryError::Reason => f.write_str("the reason in a topology entry is not UTF-8"),
            EntryError::Why { why } => write!(f, "reason {why} in a topology entry is unknown"),
            EntryError::Node => f.write_str("a topology entry names a node that cannot be one"),
            EntryError::Slot => f.write_str("a topology entry places a group on nodes that cannot be its members"),
            EntryError::Seat => f.write_str("a seat in a topology entry is neither pinned nor not"),
            EntryError::Voters => f.write_str("a topology entry names voters that cannot be a configuration"),
        }
    }
}

impl core::error::Error for EntryError {}

/// The bytes of an entry.
///
/// # Panics
/// If a roll or a set of learners has more members than a byte counts: a bug in this process.
#[must_use]
pub fn encode(stamp: Stamp, entry: &Entry) -> Vec<u8> {
    let mut out = Writer(SCHEMA.to_le_bytes().to_vec());
    out.u16(stamp.by.0);
    out.u64(stamp.wall_ms);
    match entry {
        Entry::NodeUp { member, replaces } => {
            out.u8(NODE_UP);
            out.member(*member);
            out.u64(replaces.0);
        }
        Entry::NodeDown(member) => {
            out.u8(NODE_DOWN);
            out.member(*member);
        }
        Entry::NodeGone(member) => {
            out.u8(NODE_GONE);
            out.member(*member);
        }
        Entry::NodeDraining(node) => {
            out.u8(NODE_DRAINING);
            out.u16(node.0);
        }
        Entry::NodeUndraining(node) => {
            out.u8(NODE_UNDRAINING);
            out.u16(node.0);
        }
        Entry::Create(rolls) => {
            out.u8(CREATE);
            out.count(rolls.len());
            rolls.iter().for_each(|roll| out.roll(roll));
        }
        Entry::SetLearners { group, members } => {
            out.u8(SET_LEARNERS);
            out.u32(group.0);
            out.short_count(members.len());
            members.iter().for_each(|member| out.member(*member));
        }
        Entry::Propose(proposals) => {
            out.u8(PROPOSE);
            out.count(proposals.len());
            proposals.iter().for_each(|proposal| out.proposal(proposal));
        }
        Entry::Activate(views) => {
            out.u8(ACTIVATE);
            out.count(views.len());
            for (group, view) in views {
                out.u32(group.0);
                out.u64(view.0);
            }
        }
        Entry::Reopen { proposal, reason } => {
            out.u8(REOPEN);
            out.proposal(proposal);
            out.long_text(reason);
        }
        Entry::NodeJoined { node, placing } => {
            out.u8(NODE_JOINED);
            out.node(node);
            out.placing(placing);
        }
        Entry::NodeLeft { node, placing } => {
            out.u8(NODE_LEFT);
            out.u16(node.0);
            out.placing(placing);
        }
        Entry::VotersChanged {
            configuration,
            voters,
            why,
        } => {
            out.u8(VOTERS_CHANGED);
            out.u32(*configuration);
            let why = WhyVoters::ALL.iter().position(|known| known == why);
            out.short_count(why.expect("every reason is in the list"));
            out.voters(voters);
        }
        Entry::Seats { node, moves, reason } => {
            out.u8(SEATS);
            out.u16(node.0);
            out.count(moves.len());
            for one in moves {
                out.u32(one.group.0);
                out.u64(one.sees);
                out.u16(one.shard.0);
                out.u8(u8::from(one.pinned));
            }
            out.long_text(reason);
        }
    }
    out.0
}

/// The entry that these bytes are, and who proposed it.
///
/// # Errors
/// What is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<(Stamp, Entry), EntryError> {
    let mut bytes = Reader(bytes);
    let schema = bytes.u16()?;
    if schema != SCHEMA {
        return Err(EntryError::Schema { schema });
    }
    let stamp = Stamp {
        by: NodeId(bytes.u16()?),
        wall_ms: bytes.u64()?,
    };
    let entry = match bytes.u8()? {
        NODE_UP => Entry::NodeUp {
            member: bytes.member()?,
            replaces: Incarnation(bytes.u64()?),
        },
        NODE_DOWN => Entry::NodeDown(bytes.member()?),
        NODE_GONE => Entry::NodeGone(bytes.member()?),
        NODE_DRAINING => Entry::NodeDraining(NodeId(bytes.u16()?)),
        NODE_UNDRAINING => Entry::NodeUndraining(NodeId(bytes.u16()?)),
        CREATE => Entry::Create(bytes.list(ROLL_BYTES_MIN, Reader::roll)?),
        SET_LEARNERS => Entry::SetLearners {
            group: GroupId(bytes.u32()?),
            members: bytes.learners()?,
        },
        PROPOSE => Entry::Propose(bytes.list(PROPOSAL_HEAD_BYTES + ROLL_BYTES_MIN, Reader::proposal)?),
        ACTIVATE => Entry::Activate(bytes.list(ACTIVATION_BYTES, |bytes| {
            Ok((GroupId(bytes.u32()?), View(bytes.u64()?)))
        })?),
        REOPEN => Entry::Reopen {
            proposal: bytes.proposal()?,
            reason: bytes.reason()?,
        },
        NODE_JOINED => Entry::NodeJoined {
            node: bytes.node()?,
            placing: bytes.placing()?,
        },
        NODE_LEFT => Entry::NodeLeft {
            node: NodeId(bytes.u16()?),
            placing: bytes.placing()?,
        },
        VOTERS_CHANGED => Entry::VotersChanged {
            // The first one no entry makes.
            configuration: bytes
                .u32()
                .and_then(|found| (found > 1).then_some(found).ok_or(EntryError::Voters))?,
            why: bytes.why_voters()?,
            voters: bytes
                .voters()
                .and_then(|voters| (!voters.is_empty()).then_some(voters).ok_or(EntryError::Voters))?,
        },
        SEATS => Entry::Seats {
            node: NodeId(bytes.u16()?),
            moves: bytes.list(MOVE_BYTES, Reader::one_move)?,
            reason: bytes.reason()?,
        },
        kind => return Err(EntryError::Kind { kind }),
    };
    match bytes.0.len() {
        0 => Ok((stamp, entry)),
        bytes => Err(EntryError::Trailing { bytes }),
    }
}

/// Bytes that a proposal takes within a Propose, so that a planner can bound its entries before it writes them.
#[must_use]
pub fn proposal_bytes(proposal: &Proposal) -> usize {
    PROPOSAL_HEAD_BYTES + 3 + MEMBER_BYTES * proposal.roll.members.len()
}

pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("an entry is far below 4 GiB"));
    }

    pub(super) fn short_count(&mut self, count: usize) {
        self.u8(u8::try_from(count).expect("a short list"));
    }

    pub(super) fn member(&mut self, member: Member) {
        self.u16(member.node.0);
        self.u64(member.incarnation.0);
    }

    pub(super) fn roll(&mut self, roll: &Roll) {
        self.short_count(roll.members.len());
        self.u8(roll.write_quorum);
        self.u8(roll.read_quorum);
        roll.members.iter().for_each(|member| self.member(*member));
    }

    pub(super) fn proposal(&mut self, proposal: &Proposal) {
        self.u32(proposal.group.0);
        self.u64(proposal.sees_active.0);
        self.u64(proposal.sees_pending.0);
        let why = Why::ALL.iter().position(|why| *why == proposal.why);
        self.short_count(why.expect("every reason is in the list"));
        self.roll(&proposal.roll);
    }

    /// As [`Reader::reason`] reads it.
    fn long_text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.short_count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn node(&mut self, node: &NodeSpec) {
        self.u16(node.id.0);
        self.text(&node.name);
        self.text(&node.host);
        self.u16(node.port);
        self.u16(node.shards);
    }

    pub(super) fn placing(&mut self, placing: &Placing) {
        self.u64(placing.sees);
        self.count(placing.slots.len());
        for (group, slot) in &placing.slots {
            self.u32(group.0);
            self.slot(slot);
        }
    }

    pub(super) fn slot(&mut self, slot: &Slot) {
        self.short_count(slot.nodes().len());
        slot.nodes().iter().for_each(|node| self.u16(node.0));
    }

    pub(super) fn voters(&mut self, voters: &[Voter]) {
        self.short_count(voters.len());
        for voter in voters {
            self.u16(voter.id.0);
            self.u16(voter.node.0);
            self.u32(voter.since);
            self.u64(voter.incarnation.0);
        }
    }
}

/// What is left to be read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], EntryError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(EntryError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(EntryError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, EntryError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, EntryError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, EntryError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, EntryError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count and as many items of at least `bytes_min` each. A count that cannot be true reserves nothing.
    pub(super) fn list<T>(
        &mut self,
        bytes_min: usize,
        item: impl Fn(&mut Self) -> Result<T, EntryError>,
    ) -> Result<Vec<T>, EntryError> {
        let count = self.u32()? as usize;
        if count > self.0.len() / bytes_min {
            return Err(EntryError::Truncated);
        }
        (0..count).map(|_| item(self)).collect()
    }

    pub(super) fn member(&mut self) -> Result<Member, EntryError> {
        Ok(Member {
            node: NodeId(self.u16()?),
            incarnation: Incarnation(self.u64()?),
        })
    }

    pub(super) fn members(&mut self, count: u8) -> Result<Vec<Member>, EntryError> {
        (0..count).map(|_| self.member()).collect()
    }

    pub(super) fn roll(&mut self) -> Result<Roll, EntryError> {
        let (count, write_quorum, read_quorum) = (self.u8()?, self.u8()?, self.u8()?);
        if usize::from(count) > MEMBERS_MAX {
            return Err(EntryError::Roll);
        }
        let roll = Roll {
            members: self.members(count)?,
            write_quorum,
            read_quorum,
        };
        // The fold takes whole rolls only, and a Create of others would be a bug of ours there; here it is their fault.
        if is_sound(&roll) {
            Ok(roll)
        } else {
            Err(EntryError::Roll)
        }
    }

    pub(super) fn learners(&mut self) -> Result<Vec<Member>, EntryError> {
        let count = self.u8()?;
        if usize::from(count) > MEMBERS_MAX {
            return Err(EntryError::Learners);
        }
        let members = self.members(count)?;
        let twice = |i: usize| members[..i].iter().any(|other| other.node == members[i].node);
        if (0..members.len()).any(twice) {
            return Err(EntryError::Learners);
        }
        Ok(members)
    }

    pub(super) fn proposal(&mut self) -> Result<Proposal, EntryError> {
        Ok(Proposal {
            group: GroupId(self.u32()?),
            sees_active: View(self.u64()?),
            sees_pending: View(self.u64()?),
            why: self.why()?,
            roll: self.roll()?,
        })
    }

    pub(super) fn why(&mut self) -> Result<Why, EntryError> {
        let why = self.u8()?;
        Why::ALL.get(usize::from(why)).copied().ok_or(EntryError::Why { why })
    }

    pub(super) fn text(&mut self) -> Result<String, EntryError> {
        let length = usize::from(self.u8()?);
        let text = core::str::from_utf8(self.take(length)?).map_err(|_| EntryError::Node)?;
        Ok(text.to_owned())
    }

    pub(super) fn node(&mut self) -> Result<NodeSpec, EntryError> {
        let node = NodeSpec {
            id: NodeId(self.u16()?),
            name: self.text()?,
            host: self.text()?,
            port: self.u16()?,
            shards: self.u16()?,
        };
        // The fold makes a topology of it, which must not fail there.
        let is_sound = node.id != NodeId(0) && node.check().is_ok();
        is_sound.then_some(node).ok_or(EntryError::Node)
    }

    pub(super) fn placing(&mut self) -> Result<Placing, EntryError> {
        Ok(Placing {
            sees: self.u64()?,
            slots: self.list(SLOT_BYTES_MIN, |bytes| Ok((GroupId(bytes.u32()?), bytes.slot()?)))?,
        })
    }

    pub(super) fn slot(&mut self) -> Result<Slot, EntryError> {
        let count = self.u8()?;
        if usize::from(count) > MEMBERS_MAX {
            return Err(EntryError::Slot);
        }
        let nodes: Result<Vec<NodeId>, EntryError> = (0..count).map(|_| Ok(NodeId(self.u16()?))).collect();
        Slot::new(&nodes?).map_err(|_| EntryError::Slot)
    }

    pub(super) fn why_voters(&mut self) -> Result<WhyVoters, EntryError> {
        let why = self.u8()?;
        let known = WhyVoters::ALL.get(usize::from(why)).copied();
        known.ok_or(EntryError::Why { why })
    }

    /// Voters that can be a configuration, or none at all.
    pub(super) fn voters(&mut self) -> Result<Vec<Voter>, EntryError> {
        let count = self.u8()?;
        let voter = |bytes: &mut Self| {
            Ok(Voter {
                id: VoterId(bytes.u16()?),
                node: NodeId(bytes.u16()?),
                since: bytes.u32()?,
                incarnation: Incarnation(bytes.u64()?),
            })
        };
        if usize::from(count) > VOTERS_MAX {
            return Err(EntryError::Voters);
        }
        let voters: Result<Vec<Voter>, EntryError> = (0..count).map(|_| voter(self)).collect();
        let voters = voters?;
        let twice = |at: usize| voters[..at].iter().any(|other| other.node == voters[at].node);
        let ascend = voters.is_sorted_by(|before, after| before.id < after.id);
        let is_one = voters.first().is_none_or(|first| first.id.0 > 0);
        if (0..voters.len()).any(twice) || !ascend || !is_one {
            return Err(EntryError::Voters);
        }
        Ok(voters)
    }

    pub(super) fn one_move(&mut self) -> Result<Move, EntryError> {
        Ok(Move {
            group: GroupId(self.u32()?),
            sees: self.u64()?,
            shard: ShardId(self.u16()?),
            pinned: self.is_pinned()?,
        })
    }

    pub(super) fn is_pinned(&mut self) -> Result<bool, EntryError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(EntryError::Seat),
        }
    }

    pub(super) fn reason(&mut self) -> Result<String, EntryError> {
        let length = self.u32()? as usize;
        let text = core::str::from_utf8(self.take(length)?).map_err(|_| EntryError::Reason)?;
        Ok(text.to_owned())
    }
}

fn is_sound(roll: &Roll) -> bool {
    let config = Config {
        group: GroupId(0),
        view: View(1),
        lineage: Lineage(0),
        members: roll.members.clone(),
        write_quorum: usize::from(roll.write_quorum),
        read_quorum: usize::from(roll.read_quorum),
    };
    config.is_sound()
}

#[cfg(test)]
mod tests;
