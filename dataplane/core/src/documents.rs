//! Documents of a node: the slot table that a client routes by, and the status of a shard.

use waterpark_wire::FrameError;
use waterpark_wire::body::{self, CounterBody, FacilityBody, LinkBody, NodeBody, OrderBody, SlotTableBody, StatusBody};
use waterpark_wire::item::{Item, ItemHeader};
use waterpark_wire::link::{Ask, DOCUMENT_ORDER, DOCUMENT_SLOT_TABLE, DOCUMENT_STATUS, DOCUMENT_TOPOLOGY, Document};

use crate::behaviour::Behaviour;
use crate::ids::{ClientId, GroupId};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::{MS, Now};

/// Native ports begin this far above a node's port.
const NATIVE_PORTS: u16 = 64;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    pub(crate) fn on_ask(&mut self, now: Now, client: ClientId, item: &Item<'_>) -> Result<(), FrameError> {
        let (ask, order) = Ask::new_checked(item)?;
        let archive = match item.header.aux.get() {
            DOCUMENT_SLOT_TABLE => body::encode(&self.slot_table()),
            DOCUMENT_STATUS => {
                self.take_census();
                body::encode(&self.status(now))
            }
            DOCUMENT_TOPOLOGY => body::encode(&self.topology_body()),
            DOCUMENT_ORDER => body::encode(&self.on_order(&body::decode::<OrderBody>(order)?)),
            _ => return Err(FrameError::Operation),
        };
        let Some(row) = self.clients.get_mut(&client) else {
            return Ok(());
        };
        let item = ItemHeader {
            aux: item.header.aux,
            ..ItemHeader::default()
        };
        let document = Document {
            item,
            correlation: ask.correlation,
            reserved: 0.into(),
        };
        let mut bytes = Vec::new();
        document.push(&mut bytes, &archive);
        row.outbox.whole(&bytes[..size_of::<Document>() + archive.len()]);
        self.list_or_cut(client);
        Ok(())
    }

    fn slot_table(&self) -> SlotTableBody {
        let spec = self.topology.spec();
        let node = |node: &waterpark_ring::NodeSpec| NodeBody {
            id: node.id.0,
            name: node.name.clone(),
            host: node.host.clone(),
            native_port: node.port.saturating_add(NATIVE_PORTS),
            shards: node.shards,
        };
        let facility = |(name, class): (&String, &u32)| FacilityBody {
            name: name.clone().into_bytes(),
            class: *class,
        };
        // Where the topology log has not named the members of a group yet, they will be the ring's.
        let slot = |group: u32| match self.decided.group(GroupId(group)) {
            Some(row) => row.active.members.iter().map(|member| member.node.0).collect(),
            None => (self.placement.members(GroupId(group)).nodes().iter())
                .map(|node| node.0)
                .collect(),
        };
        SlotTableBody {
            cluster: spec.cluster.0,
            groups: spec.groups,
            classes: spec.classes,
            facilities: spec.facilities.iter().map(facility).collect(),
            nodes: self.topology.nodes().iter().map(node).collect(),
            slots: (0..self.placement.table().groups()).map(slot).collect(),
            message_bytes_max: u32::try_from(self.settings.limits.message_bytes_max).unwrap_or(u32::MAX),
            seats: self.seat_bodies(),
        }
    }

    /// The status of this shard.
    #[must_use]
    pub fn status(&self, now: Now) -> StatusBody {
        let usage = self.memory.usage();
        let link = |link: &crate::link::Link| LinkBody {
            peer: link.peer.0,
            incarnation: self.met[usize::from(link.peer.0)].0,
            up: link.up.is_some(),
            out: link.peer_out,
            silent_ms: now.monotonic_ns.saturating_sub(link.heard_ns) / MS,
            unacked: u32::try_from(link.unacked()).unwrap_or(u32::MAX),
        };
        StatusBody {
            node: self.settings.names[usize::from(self.settings.node.0)].clone(),
            node_id: self.settings.node.0,
            incarnation: self.settings.incarnation.0,
            shard: self.settings.shard.0,
            shards: self.settings.shards_of(self.settings.node),
            driver: self.settings.driver.clone(),
            out: self.out,
            memory_used: usage.used,
            memory_budget: usage.budget,
            groups: self.group_bodies().collect(),
            links: (self.links.iter().zip(&self.link_infos))
                .filter(|(_, info)| !info.left)
                .map(|(row, _)| link(row))
                .collect(),
            actors: self.actor_bodies().collect(),
            counters: (self.counters.named().into_iter())
                .chain(self.account().named())
                .map(|(name, value)| CounterBody {
                    name: name.to_owned(),
                    value,
                })
                .chain(self.world_counters.iter().cloned())
                .collect(),
        }
    }
}
