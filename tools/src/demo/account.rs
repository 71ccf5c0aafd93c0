//! What the demo's resident memory is for, as far as its parts say so themselves.
//!
//! Nodes tell what their logs, pools and books take; the feed tells its own. The rest is what nobody tells: code, stacks, rings, topologies,
//! scratch of connections, and what the allocator adds. Parts are what was set aside: pages of it that were never written are not resident,
//! so the rest can come out too small by them. **Invariant:** no byte is told by two parts.

use serde_json::{Value, json};
use waterpark_wire::body::StatusBody;

use crate::status::counter;

/// What nodes say, each alone or all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Chunks of logs.
    pub(super) logs: u64,
    /// What their pools have touched beyond that: free parts of pages that hold chunks.
    pub(super) pools: u64,
    /// Tables of actors: rows, keys, index.
    pub(super) actors: u64,
    /// States beside their rows.
    pub(super) states: u64,
    /// Rows of lanes.
    pub(super) lanes: u64,
    /// What every group has, and what waits in it.
    pub(super) groups: u64,
    /// What leaves, comes in parts and waits for acks on links.
    pub(super) links: u64,
    /// The same of clients.
    pub(super) clients: u64,
    /// Receive buffers.
    pub(super) buffers: u64,
}

impl Kept {
    /// What one shard says.
    pub(super) fn of(status: &StatusBody) -> Kept {
        let touched = counter(status, "memory_touched_bytes");
        Kept {
            logs: status.groups.iter().map(|group| group.log_bytes).sum(),
            pools: touched.saturating_sub(status.memory_used),
            actors: counter(status, "memory_actors_bytes"),
            states: counter(status, "memory_states_bytes"),
            lanes: counter(status, "memory_lanes_bytes"),
            groups: counter(status, "memory_groups_bytes"),
            links: counter(status, "memory_links_bytes"),
            clients: counter(status, "memory_clients_bytes"),
            buffers: counter(status, "memory_buffers_bytes"),
        }
    }

    /// Each part beside logs, with its name.
    fn beside_logs(&self) -> [(&'static str, u64); 8] {
        [
            ("pools", self.pools),
            ("actors", self.actors),
            ("states", self.states),
            ("lanes", self.lanes),
            ("groups", self.groups),
            ("links", self.links),
            ("clients", self.clients),
            ("buffers", self.buffers),
        ]
    }
}

impl std::iter::Sum for Kept {
    fn sum<I: Iterator<Item = Kept>>(all: I) -> Kept {
        all.fold(Kept::default(), |sum, one| Kept {
            logs: sum.logs + one.logs,
            pools: sum.pools + one.pools,
            actors: sum.actors + one.actors,
            states: sum.states + one.states,
            lanes: sum.lanes + one.lanes,
            groups: sum.groups + one.groups,
            links: sum.links + one.links,
            clients: sum.clients + one.clients,
            buffers: sum.buffers + one.buffers,
        })
    }
}

/// The whole process at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Bytes of the process that are resident.
    pub(super) resident: u64,
    /// What the nodes said last, all together: at most about a second before.
    pub(super) nodes: Kept,
    /// What the feed remembers of messages.
    pub(super) feed: u64,
}

impl Account {
    /// What the nodes keep beside their logs.
    pub(super) fn nodes_beside_logs(&self) -> u64 {
        self.nodes.beside_logs().iter().map(|(_, bytes)| bytes).sum()
    }

    /// What no part tells.
    pub(super) fn rest(&self) -> u64 {
        let told = self.nodes.logs + self.nodes_beside_logs() + self.feed;
        self.resident.saturating_sub(told)
    }

    /// Adds its fields to an object.
    pub(super) fn put(&self, object: &mut Value) {
        let parts = self.nodes.beside_logs().into_iter();
        let parts: serde_json::Map<String, Value> =
            parts.map(|(name, bytes)| (name.to_owned(), bytes.into())).collect();
        object["resident_bytes"] = json!(self.resident);
        object["log_bytes"] = json!(self.nodes.logs);
        object["nodes_bytes"] = Value::Object(parts);
        object["feed_bytes"] = json!(self.feed);
        object["rest_bytes"] = json!(self.rest());
    }
}

#[cfg(test)]
mod tests {
    use waterpark_wire::body::{CounterBody, GroupBody};

    use super::*;

    fn status(log_bytes: u64) -> StatusBody {
        let named = [
            ("memory_touched_bytes", 5_000),
            ("memory_actors_bytes", 100),
            ("memory_states_bytes", 20),
            ("memory_lanes_bytes", 3),
            ("memory_groups_bytes", 7),
            ("memory_links_bytes", 11),
            ("memory_clients_bytes", 13),
            ("memory_buffers_bytes", 17),
        ];
        let counter = |(name, value): (&str, u64)| CounterBody {
            name: name.to_owned(),
            value,
        };
        let group = || GroupBody {
            log_bytes,
            ..GroupBody::default()
        };
        StatusBody {
            memory_used: 4_000,
            groups: vec![group(), group()],
            counters: named.into_iter().map(counter).collect(),
            ..StatusBody::default()
        }
    }

    #[test]
    fn the_parts_of_all_nodes_the_feed_and_the_rest_are_the_whole() {
        let nodes: Kept = [status(2_000), status(1_500)].iter().map(Kept::of).sum();
        let account = Account {
            resident: 20_000,
            nodes,
            feed: 50,
        };
        assert_eq!(account.nodes.logs, 7_000);
        assert_eq!(
            account.nodes_beside_logs(),
            2 * (1_000 + 100 + 20 + 3 + 7 + 11 + 13 + 17)
        );
        let mut object = json!({ "acked": 9 });
        account.put(&mut object);
        let number = |value: &Value| value.as_u64().expect("a number");
        let parts: u64 = object["nodes_bytes"]
            .as_object()
            .expect("parts")
            .values()
            .map(number)
            .sum();
        let others = ["log_bytes", "feed_bytes", "rest_bytes"].map(|name| number(&object[name]));
        assert_eq!(parts + others.iter().sum::<u64>(), number(&object["resident_bytes"]));
        assert_eq!(object["acked"], 9);
    }

    #[test]
    fn more_told_than_resident_leaves_no_rest() {
        let nodes = Kept::of(&status(2_000));
        let account = Account {
            resident: 1_000,
            nodes,
            feed: 0,
        };
        assert_eq!(account.rest(), 0);
    }
}
