//! The nodes of a shard's cluster: its links to each, and what changes with those that join and leave.
//!
//! Tables by node only ever grow, so that ids and links keep their places; a node that left keeps its row and gets no link. **Invariant:**
//! what this shard knows of nodes changes in one step with the entry of the topology log that says so.

use waterpark_ring::{NodeName, NodeSpec, end_of_link};

use crate::behaviour::Behaviour;
use crate::ids::{Incarnation, LinkId, NodeId};
use crate::link::Link;
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::{LinkInfo, Shard};

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The links of this shard with one node: link k of two nodes joins their shards k modulo how many each has.
    pub(crate) fn add_links(&mut self, peer: NodeId) {
        let settings = &self.settings;
        let (own, theirs) = (settings.shards_of(settings.node), settings.shards_of(peer));
        let name = |node: NodeId| settings.names[usize::from(node.0)].as_bytes();
        let dials = name(settings.node) < name(peer);
        for number in (0..own.max(theirs)).filter(|number| end_of_link(*number, own, theirs) == settings.shard.0) {
            let link = LinkId(u32::try_from(self.links.len()).expect("links are counted in 32 bits"));
            let peer_shard = end_of_link(number, theirs, own);
            self.links.push(Link::new(peer, peer_shard));
            self.links_to[usize::from(peer.0)].push(link);
            self.link_infos.push(LinkInfo {
                link,
                peer,
                number,
                peer_shard,
                dials,
                left: false,
            });
        }
    }

    /// Whether a node stands in this one's data centre.
    pub(crate) fn shares_data_centre(&self, node: NodeId) -> bool {
        let dc = |node: NodeId| {
            let name = self.settings.names.get(usize::from(node.0));
            name.and_then(|name| NodeName::parse(name)).map(|name| name.dc)
        };
        dc(node).is_some() && dc(node) == dc(self.settings.node)
    }

    /// Other nodes belong to the cluster.
    pub(crate) fn on_nodes(&mut self) {
        // They were checked before they were proposed; what does not go together all the same changes nothing here.
        let Ok(topology) = self.decided.topology(&self.topology) else {
            return;
        };
        if topology.node(self.settings.node).is_none() {
            // This node left: its process is told to end.
            return;
        }
        let before = std::mem::replace(&mut self.topology, topology);
        let joined: Vec<NodeSpec> = (self.topology.nodes().iter())
            .filter(|node| before.node(node.id).is_none())
            .cloned()
            .collect();
        for node in joined {
            self.admit(node);
        }
        let left = before.nodes().iter().map(|node| node.id);
        let left: Vec<NodeId> = left.filter(|node| self.topology.node(*node).is_none()).collect();
        for node in left {
            self.dismiss(node);
        }
    }

    fn admit(&mut self, node: NodeSpec) {
        let at = usize::from(node.id.0);
        let rows = self.settings.shards.len().max(at + 1);
        self.settings.shards.resize(rows, 0);
        self.settings.names.resize(rows, String::new());
        self.links_to.resize(rows, Vec::new());
        self.met.resize(rows, Incarnation::default());
        self.node_out.resize(rows, false);
        self.settings.shards[at] = node.shards;
        self.settings.names[at] = node.name;
        self.add_links(node.id);
    }

    /// No link to it is made any more. What is under way to it is worth nothing: no group names it.
    fn dismiss(&mut self, node: NodeId) {
        for link in self.links_to[usize::from(node.0)].clone() {
            self.link_infos[link.0 as usize].left = true;
            if self.links[link.0 as usize].up.is_some() {
                self.on_link_down(link);
            }
        }
    }
}
