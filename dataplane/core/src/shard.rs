//! A shard: what one core owns, and the one dispatch of what comes in. The logic lives with the roles.

use hashbrown::HashMap;
use waterpark_ring::{Placement, Topology};
use waterpark_wire::body::{self, CounterBody};
use waterpark_wire::item::{Item, ItemKind};
use waterpark_wire::link::{
    self, Adopt, Adopted, BirthRefused, Commit, HEARTBEAT_OUT, HEARTBEAT_PRESSURE, Heartbeat, Nack, Out, SEAL_FIRST,
    Seal, Sealed, StateHash,
};
use waterpark_wire::run::RunView;
use waterpark_wire::{FrameError, FrameKind, FrameView};

use crate::account::Census;
use crate::admission::Admission;
use crate::behaviour::{Answer, Behaviour, KindId};
use crate::config::{Births, Config, Settings};
use crate::effects::{Crossing, Cut, Effect, FrameOrigin};
use crate::group::{Group, Progress, Role};
use crate::hot::Hot;
use crate::ids::{ClientId, GroupId, Incarnation, Lineage, LinkId, Member, NodeId, Seq, ShardId, View};
use crate::link::{Ack, Up};
use crate::links::Links;
use crate::memory::{Memory, Outgoing};
use crate::outbox::Outbox;
use crate::pending::Pendings;
use crate::reporting::CONTROL_BYTES_MAX;
use crate::rules::Rules;
use crate::seats::{Arrival, Whereabouts, push_whole};
use crate::state_hash::Scratch;
use crate::time::Now;
use crate::topology_log::{History, TopologyState};
use crate::view_change::{Answer as SealAnswer, Branches, Snapshots};
use crate::waiting::Origin;

/// No group of this shard, and none that it ever had.
pub(crate) const NO_GROUP: u32 = u32::MAX;
/// Stands in the index of a group that lives on another shard now. Its row is kept for its return.
pub(crate) const AWAY: u32 = 1 << 31;

/// Builds the same table from the same inputs everywhere.
pub(crate) type FixedState = std::hash::BuildHasherDefault<FixedHasher>;

/// Spreads small integers; nobody outside chooses them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FixedHasher(u64);

impl std::hash::Hasher for FixedHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}

/// What a shard counts: plain words, read by documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests of clients.
    pub requests: u64,
    /// Entries logged as writer.
    pub appended: u64,
    /// Messages of these that were samples for which actors get most.
    pub sampled: u64,
    /// Replies of committed entries.
    pub acked: u64,
    /// Refusals before execution.
    pub refused: u64,
    /// Requests answered `Unknown`.
    pub unknown: u64,
    /// Repeats answered from their entry.
    pub repeats: u64,
    /// Runs taken as follower.
    pub runs_taken: u64,
    /// Runs not taken, listed in acks.
    pub runs_refused: u64,
    /// Hashes of states that came from other members and were those of this one.
    pub states_equal: u64,
    /// Numbered frames that came twice or outside the window.
    pub frames_repeated: u64,
    /// Requests passed on to another node.
    pub forwarded: u64,
    /// Items handed to another shard.
    pub crossed: u64,
    /// Requests sent again in a newer link epoch.
    pub resent: u64,
    /// Links cut by this shard.
    pub links_cut: u64,
    /// Frames that left compressed.
    pub frames_folded: u64,
    /// Sweeps decided as writer.
    pub sweeps: u64,
    /// Messages dropped from logs, as writer or follower.
    pub swept: u64,
    /// States that came and were not what their hashes say.
    pub states_refused: u64,
    /// Reads answered.
    pub reads: u64,
    /// Questions for read confirmations, each for all groups of one shard of a peer that reads waited for.
    pub confirms: u64,
    /// Groups that left for another shard of this node.
    pub seats_left: u64,
    /// Groups that came from one.
    pub seats_taken: u64,
    /// How long those were on their way, in ns, together.
    pub seat_pause_ns: u64,
    /// And the longest of them, in ns.
    pub seat_pause_max_ns: u64,
    /// The rare ways through view changes.
    pub branches: Branches,
}

impl Counters {
    /// Each with its name.
    #[must_use]
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("requests", self.requests),
            ("appended", self.appended),
            ("sampled", self.sampled),
            ("acked", self.acked),
            ("refused", self.refused),
            ("unknown", self.unknown),
            ("repeats", self.repeats),
            ("runs_taken", self.runs_taken),
            ("runs_refused", self.runs_refused),
            ("states_equal", self.states_equal),
            ("frames_repeated", self.frames_repeated),
            ("forwarded", self.forwarded),
            ("crossed", self.crossed),
            ("resent", self.resent),
            ("links_cut", self.links_cut),
            ("frames_folded", self.frames_folded),
            ("sweeps", self.sweeps),
            ("swept", self.swept),
            ("states_refused", self.states_refused),
            ("reads", self.reads),
            ("confirms", self.confirms),
            ("seats_left", self.seats_left),
            ("seats_taken", self.seats_taken),
            ("seat_pause_ns", self.seat_pause_ns),
            ("seat_pause_max_ns", self.seat_pause_max_ns),
        ]
    }
}

/// A link as the world must make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its name within the shard.
    pub link: LinkId,
    /// The peer.
    pub peer: NodeId,
    /// Its number between the two nodes.
    pub number: u16,
    /// The peer's shard that it joins.
    pub peer_shard: u16,
    /// Whether this side dials.
    pub dials: bool,
    /// The peer has left the cluster: the link is never made again.
    pub left: bool,
}

/// A peer whose handshake is done.
#[derive(Clone, Copy, Debug)]
pub struct PeerUp {
    /// Its process.
    pub incarnation: Incarnation,
    /// The link's new epoch, the same on both sides, larger than all before.
    pub epoch: u32,
    /// It says that its process is out.
    pub out: bool,
    /// Both sides take compressed frames.
    pub lz4: bool,
}

/// One connection of a client.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) outbox: Outbox,
    pub(crate) assembly: link::Assembly,
    /// It is listed among those with something to send.
    pub(crate) listed: bool,
}

impl Client {
    /// Bytes set aside for what leaves and what comes in parts.
    pub(crate) fn kept_bytes(&self) -> u64 {
        (self.outbox.kept_bytes() + self.assembly.kept_bytes()) as u64
    }
}

/// One core's share of a node.
#[derive(Debug)]
pub struct Shard<R: Rules, M: Memory, B: Behaviour> {
    pub(crate) settings: Settings,
    pub(crate) topology: Topology,
    pub(crate) placement: Placement,
    pub(crate) memory: M,
    pub(crate) behaviour: B,
    pub(crate) groups: Vec<Group<B::State>>,
    /// This shard's index of each group of the cluster.
    pub(crate) group_at: Vec<u32>,
    pub(crate) links: Links,
    pub(crate) link_infos: Vec<LinkInfo>,
    /// The links to each node, by node id.
    pub(crate) links_to: Vec<Vec<LinkId>>,
    pub(crate) clients: HashMap<ClientId, Client, FixedState>,
    pub(crate) listed_clients: Vec<ClientId>,
    /// The newest incarnation met of each node, by node id.
    pub(crate) met: Vec<Incarnation>,
    /// Nodes that say that their process is out.
    pub(crate) node_out: Vec<bool>,
    /// This process is out.
    pub(crate) out: bool,
    pub(crate) stopping: bool,
    pub(crate) pendings: Pendings,
    /// Items for the other shards of this node.
    pub(crate) mail: Vec<Vec<u8>>,
    /// Requests of all groups that wait for a commit or a round, and were told nothing yet.
    pub(crate) waiting: usize,
    /// And how many may.
    pub(crate) admission: Admission,
    /// Replies to local requests that wait to be taken.
    pub(crate) local: Vec<u8>,
    /// Groups with new entries in this turn.
    pub(crate) touched: Vec<u32>,
    /// Where a frame is folded; kept for its memory.
    pub(crate) folded: Vec<u8>,
    /// Groups that this shard writes and whose followers may have a commit to be told.
    pub(crate) untold: Vec<u32>,
    /// This turn ends with a frame for each commit that nothing took along.
    pub(crate) tells: bool,
    /// Records of an ack that is being counted; kept for its memory.
    pub(crate) records: Vec<crate::link::Record>,
    /// Groups whose committed entries wait to take effect.
    pub(crate) lagging: Vec<u32>,
    /// More was committed there than took effect with the last tick.
    pub(crate) catches_up: bool,
    /// The newest round of read confirmations that has begun.
    pub(crate) round: u64,
    /// Groups that take part in the next one.
    pub(crate) asking: Vec<u32>,
    /// Groups with reads that wait until this member is fresh enough.
    pub(crate) behind: Vec<u32>,
    /// The group whose sweep goes on first with the next tick.
    pub(crate) sweeps_from: usize,
    pub(crate) answer: Answer,
    /// Used again from hash to hash.
    pub(crate) scratch: Scratch,
    /// What the requests of one frame are about; kept for its memory.
    pub(crate) aims: Vec<Option<crate::mailroom::Aim>>,
    pub(crate) counters: Counters,
    pub(crate) world_counters: Vec<CounterBody>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) ticked_ns: u64,
    pub(crate) rules: std::marker::PhantomData<R>,
    /// What the topology log has decided.
    pub(crate) decided: TopologyState,
    /// How it came to that; kept by shard 0 alone.
    pub(crate) history: History,
    /// Whether the last report had groups in it: then the next one says that there are none any more.
    pub(crate) has_reported: bool,
    /// Views that W members have adopted, to be proposed for activation.
    pub(crate) activates: Vec<(GroupId, View)>,
    /// States that other members ask for part by part.
    pub(crate) snapshots: Snapshots,
    /// What rows have outside of their tables.
    pub(crate) census: Census,
    pub(crate) hot: Hot,
    /// Groups that come from other shards of this node.
    pub(crate) arrivals: Vec<Arrival<B::State>>,
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// A shard that knows its place and has met nobody.
    ///
    /// # Panics
    /// If the settings name a node or shard that the topology does not have: a bug in this process.
    #[must_use]
    pub fn new(
        settings: Settings,
        topology: Topology,
        placement: Placement,
        memory: M,
        behaviour: B,
    ) -> Shard<R, M, B> {
        let nodes = settings.shards.len();
        let mut shard = Shard {
            group_at: vec![NO_GROUP; placement.table().groups() as usize],
            mail: vec![Vec::new(); usize::from(settings.shards_of(settings.node))],
            waiting: 0,
            admission: Admission::new(&settings.limits),
            local: Vec::new(),
            pendings: Pendings::new(settings.shard, settings.limits.pending_max),
            met: vec![Incarnation::default(); nodes],
            node_out: vec![false; nodes],
            settings,
            topology,
            placement,
            memory,
            behaviour,
            groups: Vec::new(),
            links: Links::default(),
            link_infos: Vec::new(),
            links_to: vec![Vec::new(); nodes],
            clients: HashMap::default(),
            listed_clients: Vec::new(),
            out: false,
            stopping: false,
            touched: Vec::new(),
            folded: Vec::new(),
            untold: Vec::new(),
            tells: false,
            records: Vec::new(),
            lagging: Vec::new(),
            catches_up: false,
            round: 0,
            asking: Vec::new(),
            behind: Vec::new(),
            sweeps_from: 0,
            answer: Answer::default(),
            scratch: Scratch::default(),
            aims: Vec::new(),
            counters: Counters::default(),
            world_counters: Vec::new(),
            effects: Vec::new(),
            ticked_ns: 0,
            rules: std::marker::PhantomData,
            decided: TopologyState::default(),
            history: History::default(),
            activates: Vec::new(),
            has_reported: false,
            snapshots: Snapshots::default(),
            census: Census::default(),
            hot: Hot::default(),
            arrivals: Vec::new(),
        };
        let own = shard.settings.node;
        let peers = shard.topology.nodes().iter().map(|node| node.id);
        let peers: Vec<NodeId> = peers.filter(|peer| *peer != own).collect();
        for peer in peers {
            shard.add_links(peer);
        }
        if shard.settings.births == Births::Writer {
            shard.make_groups();
        }
        shard
    }

    fn make_groups(&mut self) {
        for id in (0..self.placement.table().groups()).map(GroupId) {
            let slot: Vec<NodeId> = self.placement.members(id).nodes().to_vec();
            if !slot.contains(&self.settings.node) || self.shard_of(self.settings.node, id) != self.settings.shard {
                continue;
            }
            let follower = |node: &NodeId| Progress::new(self.append_link(*node, id), false);
            let is_writer = slot[0] == self.settings.node;
            let followers = if is_writer {
                slot[1..].iter().map(follower).collect()
            } else {
                Vec::new()
            };
            self.group_at[id.0 as usize] = u32::try_from(self.groups.len()).expect("groups are counted in 32 bits");
            self.groups
                .push(Group::new(id, slot, followers, self.settings.limits.state_hash_entries));
        }
        // Groups fill the memory unevenly: each has books for twice its share.
        let share = self.memory.usage().budget / self.groups.len().max(1) as u64;
        for group in &mut self.groups {
            group.log.expect_bytes(share.saturating_mul(2));
        }
    }

    /// The link that this shard's Appends of a group go on: the lowest, preferring one that ends at the follower's shard.
    pub(crate) fn append_link(&self, node: NodeId, group: GroupId) -> LinkId {
        let wanted = self.shard_of(node, group).0;
        let links = &self.links_to[usize::from(node.0)];
        let direct = links
            .iter()
            .find(|link| self.links[link.0 as usize].peer_shard == wanted);
        *direct.or(links.first()).expect("every shard has a link to every node")
    }

    /// The links that the world keeps up.
    #[must_use]
    pub fn links(&self) -> &[LinkInfo] {
        &self.link_infos
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What the world counted, shown in the status document behind this shard's own counters.
    pub fn world_counters_mut(&mut self) -> &mut Vec<CounterBody> {
        &mut self.world_counters
    }

    /// The nodes that belong to the cluster, as far as this shard knows.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// What it was told at its start.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The newest incarnation met of a node; zero if none was.
    ///
    /// # Panics
    /// If the node is not in the topology: a bug in this process.
    #[must_use]
    pub fn met(&self, node: NodeId) -> Incarnation {
        self.met[usize::from(node.0)]
    }

    /// How many groups this shard is to write, and how many of them are open.
    #[must_use]
    pub fn written(&self) -> (usize, usize) {
        // Where the topology log says who writes, nothing is known before it has named this process and the groups.
        let knows = |decided: &TopologyState| {
            decided.node(self.settings.node).incarnation == self.settings.incarnation
                && decided.group(GroupId(0)).is_some()
        };
        if self.settings.births == Births::TopologyLog && !knows(&self.decided) {
            return (1, 0);
        }
        let own = self
            .groups
            .iter()
            .filter(|group| group.slot.first() == Some(&self.settings.node));
        own.fold((0, 0), |(all, open), group| {
            (all + 1, open + usize::from(group.role == Role::Writer))
        })
    }

    /// Whether everything that was to be sent has left: no frame grows and none is in flight.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        let idle = |outbox: &Outbox| !outbox.busy && !outbox.has_items();
        let links = self.links.iter().filter(|link| link.up.is_some());
        let waits = self.groups.iter().any(|group| !group.waiting.is_empty());
        !waits
            && self.pendings.is_empty()
            && links
                .map(|link| &link.outbox)
                .chain(self.clients.values().map(|client| &client.outbox))
                .all(idle)
    }

    /// Whether this process is out: it serves as mailroom only and says so in its handshakes.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.out
    }

    /// The memory that was lent.
    #[must_use]
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The memory that was lent, for finishing sends.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Whether there are effects to be taken.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The effects since the last call, in order.
    pub fn take_effects(&mut self, effects: &mut Vec<Effect>) {
        effects.append(&mut self.effects);
    }

    /// A link's handshake is done.
    pub fn on_link_up(&mut self, now: Now, link: LinkId, up: PeerUp) {
        // The end of the epoch before may be heard after the beginning of this one.
        self.on_link_down(link);
        let row = &mut self.links[link.0 as usize];
        let peer = row.peer;
        row.rise::<R>(
            Up {
                incarnation: up.incarnation,
                epoch: up.epoch,
                lz4: up.lz4,
            },
            up.out,
            now.monotonic_ns,
        );
        self.on_met(
            Member {
                node: peer,
                incarnation: up.incarnation,
            },
            up.out,
        );
        self.link_rose(now, link);
        self.resend_pendings(now, peer);
    }

    /// A link is gone.
    pub fn on_link_down(&mut self, link: LinkId) {
        self.links[link.0 as usize].fall::<R>();
        for progress in self
            .groups
            .iter_mut()
            .flat_map(|group| &mut group.followers)
            .filter(|p| p.link == link)
        {
            progress.queued = false;
            progress.asks = false;
        }
    }

    /// A send on a link is complete.
    pub fn on_link_sent(&mut self, link: LinkId, outgoing: Outgoing) {
        self.links[link.0 as usize].outbox.sent(outgoing);
    }

    /// A client's handshake is done.
    pub fn on_client_up(&mut self, client: ClientId) {
        self.clients.insert(client, Client::default());
    }

    /// A client is there: as [`Shard::on_client_up`] unless it was before.
    pub fn ensure_client(&mut self, client: ClientId) {
        self.clients.entry(client).or_default();
    }

    /// A client is gone. What it asked for may still take effect.
    pub fn on_client_down(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }

    /// A send to a client is complete.
    pub fn on_client_sent(&mut self, client: ClientId, outgoing: Outgoing) {
        if let Some(row) = self.clients.get_mut(&client) {
            row.outbox.sent(outgoing);
            if row.outbox.has_items() {
                self.list_client(client);
            }
        }
    }

    pub(crate) fn list_client(&mut self, client: ClientId) {
        if let Some(row) = self.clients.get_mut(&client)
            && !std::mem::replace(&mut row.listed, true)
        {
            self.listed_clients.push(client);
        }
    }

    /// A frame came over a link.
    pub fn on_link_frame(&mut self, now: Now, link: LinkId, frame: &FrameView<'_>) {
        let row = &mut self.links[link.0 as usize];
        let me = (self.settings.node.0, self.settings.incarnation.0);
        let header = frame.header;
        let Some(up) = row.up else { return };
        let sender = (header.sender_node.get(), header.sender_incarnation.get());
        let receiver = (header.receiver_node.get(), header.receiver_incarnation.get());
        if frame.kind != FrameKind::Peer || sender != (row.peer.0, up.incarnation.0) || receiver != me {
            return self.cut_link(link, Cut::Stranger);
        }
        if header.epoch.get() != up.epoch {
            self.counters.frames_repeated += 1;
            return;
        }
        row.heard_ns = now.monotonic_ns;
        let number = header.number.get();
        if number != 0 && !row.arrive(number, self.settings.limits.link_frames_max) {
            self.counters.frames_repeated += 1;
            return;
        }
        let origin = FrameOrigin {
            node: row.peer,
            incarnation: up.incarnation,
            shard: self.settings.shard,
            link,
            epoch: up.epoch,
            number,
        };
        let mut handed: Vec<(ShardId, Vec<u8>)> = Vec::new();
        for item in frame.items() {
            if let Err(error) = self.on_peer_item(now, &origin, &item, &mut handed) {
                return self.cut_link(link, Cut::Malformed(error));
            }
        }
        for (shard, items) in handed {
            self.links[link.0 as usize].hand_on(number);
            self.hand_over(now, shard, Crossing::FromPeer { origin, items });
        }
    }

    fn on_peer_item(
        &mut self,
        now: Now,
        origin: &FrameOrigin,
        item: &Item<'_>,
        handed: &mut Vec<(ShardId, Vec<u8>)>,
    ) -> Result<(), FrameError> {
        let link = origin.link;
        match item.kind() {
            ItemKind::Acked => {
                let (since, number, exceptions) = link::acked(item)?;
                self.on_acked(
                    now,
                    link,
                    Ack {
                        since,
                        number,
                        exceptions: exceptions.to_vec(),
                    },
                );
                Ok(())
            }
            ItemKind::Heartbeat => {
                let (beat, _) = Heartbeat::new_checked(item)?;
                let row = &mut self.links[link.0 as usize];
                row.peer_pressure = beat.item.flags & HEARTBEAT_PRESSURE != 0;
                row.peer_out |= beat.item.flags & HEARTBEAT_OUT != 0;
                if row.peer_out {
                    self.on_peer_out(origin.node);
                }
                Ok(())
            }
            ItemKind::Out => {
                let (out, _) = Out::new_checked(item)?;
                self.on_out(GroupId(item.header.group.get()), Incarnation(out.incarnation.get()));
                Ok(())
            }
            ItemKind::Part => {
                let whole_max = self.settings.limits.message_bytes_max.max(CONTROL_BYTES_MAX) + (64 << 10);
                let Some(bytes) = self.links[link.0 as usize].assembly.take(item, whole_max)? else {
                    return Ok(());
                };
                let whole = Item::new_checked_unpadded(&bytes)?;
                // Parts of parts would nest as deep as their sender likes.
                if whole.kind() == ItemKind::Part {
                    return Err(FrameError::Part);
                }
                self.on_peer_item(now, origin, &whole, handed)
            }
            ItemKind::Reply => self.on_reply_item(now, item),
            // Without a topology log there is no controller, and nobody has a reason to send it.
            ItemKind::Control if self.settings.births == Births::TopologyLog => {
                let from = Member {
                    node: origin.node,
                    incarnation: origin.incarnation,
                };
                let message = item.body().to_vec();
                self.effects.push(Effect::Control { from, message });
                Ok(())
            }
            _ => self.on_group_item(now, origin, item, handed),
        }
    }

    /// An item about one group: here, or handed on to the shard that has it.
    fn on_group_item(
        &mut self,
        now: Now,
        origin: &FrameOrigin,
        item: &Item<'_>,
        handed: &mut Vec<(ShardId, Vec<u8>)>,
    ) -> Result<(), FrameError> {
        let group = GroupId(item.header.group.get());
        if group.0 as usize >= self.group_at.len() {
            return Err(FrameError::ItemKind);
        }
        let shard = match self.whereabouts(group) {
            Whereabouts::Here => {
                if let Some(exception) = self.on_own_group_item(now, origin, item)? {
                    self.counters.runs_refused += 1;
                    self.links[origin.link.0 as usize].except(origin.number, exception);
                }
                return Ok(());
            }
            Whereabouts::Arriving => self.settings.shard,
            Whereabouts::At(shard) => shard,
        };
        self.counters.crossed += 1;
        let index = handed.iter().position(|(to, _)| *to == shard).unwrap_or_else(|| {
            handed.push((shard, Vec::new()));
            handed.len() - 1
        });
        push_whole(&mut handed[index].1, item);
        Ok(())
    }

    pub(crate) fn on_own_group_item(
        &mut self,
        now: Now,
        origin: &FrameOrigin,
        item: &Item<'_>,
    ) -> Result<Option<link::Exception>, FrameError> {
        let from = Member {
            node: origin.node,
            incarnation: origin.incarnation,
        };
        let group = GroupId(item.header.group.get());
        let changes = matches!(
            item.kind(),
            ItemKind::Seal | ItemKind::Sealed | ItemKind::Adopt | ItemKind::Fetch | ItemKind::Piece | ItemKind::Nack
        );
        if changes && self.settings.births == Births::Writer {
            // No topology log, no other view: nobody has a reason to send it.
            return Err(FrameError::ItemKind);
        }
        match item.kind() {
            ItemKind::Append => return self.on_append(now, group, from, item.bytes),
            ItemKind::Request => {
                let request = waterpark_wire::request::RequestView::new_checked(item)?;
                let origin = Origin::Peer {
                    node: from.node,
                    incarnation: from.incarnation,
                };
                self.on_forwarded(now, group, &request, origin);
            }
            ItemKind::Birth => {
                let body: body::ConfigBody = body::decode(item.body())?;
                let config = Config::from_body(&body)
                    .filter(|config| config.group == group)
                    .ok_or(FrameError::Body)?;
                self.on_birth(from, config);
            }
            ItemKind::Adopted => {
                let (adopted, _) = Adopted::new_checked(item)?;
                self.on_adopted(now, group, from, View(adopted.view.get()), Seq(adopted.last_seq.get()));
            }
            ItemKind::BirthRefused => {
                let (refused, _) = BirthRefused::new_checked(item)?;
                let against = NodeId(u16::try_from(item.header.aux.get()).map_err(|_| FrameError::Body)?);
                self.on_birth_refused(group, from, View(refused.view.get()), against);
            }
            ItemKind::Seal => {
                let (seal, _) = Seal::new_checked(item)?;
                let first = seal.item.flags & SEAL_FIRST != 0;
                self.on_seal(now, from, group, View(seal.view.get()), first);
            }
            ItemKind::Sealed => {
                let (sealed, _) = Sealed::new_checked(item)?;
                let answer = SealAnswer {
                    log_view: View(sealed.log_view.get()),
                    last_seq: Seq(sealed.last_seq.get()),
                    last_hash: link::join_hash(sealed.last_hash),
                };
                let view = View(sealed.view.get());
                let opener = NodeId(u16::try_from(sealed.item.aux.get()).unwrap_or_default());
                self.on_sealed(now, from, group, (view, opener), answer);
            }
            ItemKind::Adopt => {
                let (adopt, run) = Adopt::new_checked(item)?;
                if !run.is_empty() {
                    RunView::new_checked(run)?;
                }
                let last = (Seq(adopt.last_seq.get()), link::join_hash(adopt.last_hash));
                let lineage = Lineage(adopt.lineage.get());
                self.on_adopt(now, from, group, View(adopt.view.get()), lineage, last, run);
            }
            ItemKind::Fetch => self.on_fetch(now, from, item)?,
            ItemKind::Piece => self.on_piece(now, from, item)?,
            ItemKind::Nack => {
                let (nack, _) = Nack::new_checked(item)?;
                self.on_nack(group, View(nack.view.get()), View(nack.promised.get()));
            }
            ItemKind::Commit => {
                let (commit, _) = Commit::new_checked(item)?;
                self.on_commit(group, from, View(commit.view.get()), Seq(commit.commit.get()));
            }
            ItemKind::StateHash => {
                let (said, _) = StateHash::new_checked(item)?;
                self.on_state_hash(now, group, from, said);
            }
            ItemKind::Confirm => self.on_confirm(from, item)?,
            ItemKind::Confirmed => self.on_confirmed(from, item)?,
            ItemKind::Echo => self.on_echo(now, from, item)?,
            ItemKind::Echoed => self.on_echoed(now, from, item)?,
            _ => return Err(FrameError::ItemKind),
        }
        Ok(None)
    }

    /// Another shard of this node handed something over.
    pub fn on_deliver(&mut self, now: Now, crossing: Crossing) {
        match crossing {
            Crossing::FromPeer { origin, items } => self.on_handed(now, origin, &items, Vec::new()),
            Crossing::Followed(rest) => self.on_handed(now, rest.origin, &rest.items, rest.exceptions),
            Crossing::Answered {
                origin,
                exceptions,
                malformed,
            } => {
                let row = &mut self.links[origin.link.0 as usize];
                let same = row.up.is_some_and(|up| up.epoch == origin.epoch);
                if let (true, Some(error)) = (same, malformed) {
                    return self.cut_link(origin.link, Cut::Malformed(error));
                }
                if same {
                    exceptions
                        .into_iter()
                        .for_each(|exception| row.except(origin.number, exception));
                    row.handed_back(origin.number);
                }
            }
            Crossing::Mail { items } => self.on_mail(now, &items),
            Crossing::Seat { group, position, moved } => self.on_moved(now, group, position, moved),
            Crossing::Chunks { chunks } => chunks.into_iter().for_each(|chunk| self.memory.take_back(chunk)),
            Crossing::Out => self.out = true,
        }
    }

    /// This node stops: new requests are refused from now on.
    pub fn on_stop(&mut self) {
        self.stopping = true;
    }

    pub(crate) fn cut_link(&mut self, link: LinkId, cause: Cut) {
        self.counters.links_cut += 1;
        self.on_link_down(link);
        self.effects.push(Effect::CutLink { link, cause });
    }

    /// A key's hash and kind; `None` if it is malformed or its kind is not known here.
    pub(crate) fn hash_of(topology: &Topology, behaviour: &B, key: &[u8]) -> Option<(u64, KindId)> {
        let key = waterpark_ring::KeyRef::new_checked(key).ok()?;
        Some((topology.keyspace().hash(key.bytes()), behaviour.kind(key.kind())?))
    }

    pub(crate) fn group_index(&self, group: GroupId) -> Option<usize> {
        let index = *self.group_at.get(group.0 as usize)?;
        (index & AWAY == 0).then_some(index as usize)
    }
}
