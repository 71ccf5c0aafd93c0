//! The canonical bytes of a topology: what digests are taken over and what a peer sends.
//!
//! ```text
//! u8 format = 2 | 16 bytes cluster id | u32 groups | u32 classes | u8 members | u32 copysets (0: no limit)
//! u16 nodes      × ( u16 id | text name | text host | u16 port | u16 shards )     ascending by name
//! u16 facilities × ( text name | u32 class )                                        ascending by name
//! u16 homes      × ( u32 class | text data centre )                                 ascending by class
//! u16 voters     × ( u16 id )                                                       in their order
//! text = u8 length | UTF-8                                                          all numbers little-endian
//! ```
//!
//! Knows the form only; whether it says a topology is for `topology.rs` to judge.

use crate::keyspace::{ClusterId, NodeId};
use crate::topology::{NodeSpec, TopologySpec};
use crate::topology_error::TopologyBytesError;

const FORMAT: u8 = 2;

/// Writes a checked specification with its nodes sorted.
pub(crate) fn write(spec: &TopologySpec) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&spec.cluster.0);
    bytes.extend_from_slice(&spec.groups.to_le_bytes());
    bytes.extend_from_slice(&spec.classes.to_le_bytes());
    bytes.push(spec.members);
    bytes.extend_from_slice(&spec.copysets.unwrap_or(0).to_le_bytes());
    push_count(&mut bytes, spec.nodes.len());
    for node in &spec.nodes {
        bytes.extend_from_slice(&node.id.0.to_le_bytes());
        push_text(&mut bytes, &node.name);
        push_text(&mut bytes, &node.host);
        bytes.extend_from_slice(&node.port.to_le_bytes());
        bytes.extend_from_slice(&node.shards.to_le_bytes());
    }
    push_count(&mut bytes, spec.facilities.len());
    for (facility, class) in &spec.facilities {
        push_text(&mut bytes, facility);
        bytes.extend_from_slice(&class.to_le_bytes());
    }
    push_count(&mut bytes, spec.homes.len());
    for (class, dc) in &spec.homes {
        bytes.extend_from_slice(&class.to_le_bytes());
        push_text(&mut bytes, dc);
    }
    push_count(&mut bytes, spec.voters.len());
    for voter in &spec.voters {
        bytes.extend_from_slice(&voter.0.to_le_bytes());
    }
    bytes
}

fn push_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(
        &u16::try_from(count)
            .expect("a checked topology has fewer")
            .to_le_bytes(),
    );
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(u8::try_from(text.len()).expect("a checked topology has shorter names"));
    bytes.extend_from_slice(text.as_bytes());
}

/// Reads what `write` wrote. The counts are the peer's word, so no memory is reserved by them.
pub(crate) fn read(bytes: &[u8]) -> Result<TopologySpec, TopologyBytesError> {
    let mut rest = Rest(bytes);
    let format = rest.u8()?;
    if format != FORMAT {
        return Err(TopologyBytesError::Format { format });
    }
    let cluster = ClusterId(rest.array()?);
    let (groups, classes, members) = (rest.u32()?, rest.u32()?, rest.u8()?);
    let copysets = Some(rest.u32()?).filter(|&copysets| copysets != 0);
    let node = |rest: &mut Rest<'_>| {
        let (id, name, host) = (NodeId(rest.u16()?), rest.text()?, rest.text()?);
        Ok(NodeSpec {
            id,
            name,
            host,
            port: rest.u16()?,
            shards: rest.u16()?,
        })
    };
    let nodes = rest.many(node)?;
    let facilities = rest.many(|rest| Ok((rest.text()?, rest.u32()?)))?;
    let homes = rest.many(|rest| Ok((rest.u32()?, rest.text()?)))?;
    let voters = rest.many(|rest| Ok(NodeId(rest.u16()?)))?;
    if !rest.0.is_empty() {
        return Err(TopologyBytesError::TrailingBytes { bytes: rest.0.len() });
    }
    let (facilities, homes) = (facilities.into_iter().collect(), homes.into_iter().collect());
    Ok(TopologySpec {
        cluster,
        groups,
        classes,
        members,
        copysets,
        nodes,
        facilities,
        homes,
        voters,
    })
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8], TopologyBytesError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(TopologyBytesError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TopologyBytesError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(TopologyBytesError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, TopologyBytesError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, TopologyBytesError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, TopologyBytesError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<String, TopologyBytesError> {
        let len = usize::from(self.u8()?);
        let text = self.take(len)?;
        std::str::from_utf8(text)
            .map(str::to_owned)
            .map_err(|_| TopologyBytesError::Text)
    }

    fn many<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, TopologyBytesError>,
    ) -> Result<Vec<T>, TopologyBytesError> {
        let count = self.u16()?;
        (0..count).map(|_| one(self)).collect()
    }
}
