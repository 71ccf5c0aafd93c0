//! The nodes of a simulated cluster: a turn of a shard and its effects, and starts, pauses and restarts.
//!
//! It decides nothing that a shard decides. **Invariant:** a turn is one input, the end of the turn, and its effects in their order.

use waterpark_core::Shard;
use waterpark_core::config::{Births, Settings};
use waterpark_core::effects::{Crossing, Cut, Effect, Happened};
use waterpark_core::ids::{GroupId, Incarnation, NodeId, ShardId};
use waterpark_core::rules::{Rule, Rules};
use waterpark_core::time::{MS, Now};

use super::clients::client_of;
use super::controllers::ControlInput;
use super::event::{Event, Pace};
use super::links::LinkKey;
use super::{Cluster, SimShard, checksum};
use crate::ledger::Violation;
use crate::memory::HeapMemory;
use crate::reach::{CutKind, EventKind, Fault, Reached, Side};

impl<R: Rules> Cluster<R> {
    /// One turn of one shard: an input, the end of the turn, and its effects.
    pub(super) fn turn(&mut self, node: usize, shard: usize, input: impl FnOnce(&mut SimShard<R>, Now)) {
        let now = self.now(node);
        let Some(row) = self.nodes[node].shards.get_mut(shard) else {
            return;
        };
        input(row, now);
        row.on_turn_end(now);
        // A send that is complete brings none, and every second turn is about one.
        if !row.has_effects() {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        row.take_effects(&mut effects);
        for effect in effects.drain(..) {
            self.on_effect(node, shard, effect);
        }
        self.effects = effects;
    }

    pub(super) fn on_effect(&mut self, node: usize, shard: usize, effect: Effect) {
        let incarnation = self.nodes[node].incarnation;
        match effect {
            Effect::SendLink { link, outgoing } => {
                let info = self.nodes[node].shards[shard].links()[link.0 as usize];
                let peer = usize::from(info.peer.0) - 1;
                let key = (node.min(peer), node.max(peer), info.number);
                let bytes = self.bytes_of(node, shard, &outgoing);
                self.trace(&[1, node as u64, peer as u64, bytes.len() as u64, checksum(&bytes)]);
                let frame = |bytes| Event::Frame {
                    node: peer,
                    link: key,
                    bytes,
                };
                if !self.is_silent(node, peer) {
                    self.send(frame, bytes);
                }
                if let Some(epoch) = self.links.epoch(key) {
                    let epoch = epoch.number;
                    let sent = Event::LinkSent {
                        node,
                        incarnation,
                        shard,
                        link,
                        epoch,
                        outgoing,
                    };
                    self.schedule_after(Pace::Sent, sent);
                }
            }
            Effect::SendClient { client, outgoing } => {
                let bytes = self.bytes_of(node, shard, &outgoing);
                let number = client_of(client);
                self.trace(&[2, node as u64, client.0, checksum(&bytes)]);
                self.send(|bytes| Event::ToClient { client: number, bytes }, bytes);
                let reads_at = self.now_ns + 20_000 + self.slowness_ns();
                self.schedule(
                    reads_at,
                    Event::ClientSent {
                        node,
                        incarnation,
                        shard,
                        client,
                        outgoing,
                    },
                );
            }
            Effect::CutLink { link, cause } => {
                self.on_cut(Side::Link, cause);
                let info = self.nodes[node].shards[shard].links()[link.0 as usize];
                let peer = usize::from(info.peer.0) - 1;
                self.cut((node.min(peer), node.max(peer), info.number));
            }
            Effect::CutClient { client, cause } => {
                self.on_cut(Side::Client, cause);
                self.next_connection(client_of(client), node, shard);
            }
            // What travels within an instant is nowhere for whoever looks; the shard that it comes to may not know yet why it comes.
            Effect::Deliver {
                shard,
                crossing: crossing @ Crossing::Seat { .. },
            } => self.turn(node, usize::from(shard.0), |shard, now| shard.on_deliver(now, crossing)),
            Effect::Deliver { shard, crossing } => {
                let event = Event::Deliver {
                    node,
                    incarnation,
                    shard: usize::from(shard.0),
                    crossing,
                };
                self.schedule(self.now_ns + 1_000, event);
            }
            Effect::Event(happened) => self.on_happened(node, happened),
            Effect::StandStill { .. } => unreachable!("nobody gives orders here"),
            Effect::Propose(entry) if self.has_controllers() => {
                self.tell_controller(node, ControlInput::Propose(entry));
            }
            Effect::Propose(entry) => self.on_propose(*entry),
            Effect::Control { from, message } => self.tell_controller(node, ControlInput::Message(from, message)),
            Effect::Report { groups, .. } if !self.has_controllers() => self.hear_progress(node, &groups),
            Effect::Report { heard, groups } => {
                self.tell_controller(node, ControlInput::Report(shard, heard, groups));
            }
        }
    }

    pub(super) fn on_happened(&mut self, node: usize, happened: Happened) {
        self.reach(Reached::Event(EventKind::of(&happened)));
        match happened {
            Happened::NoRoom { group } => {
                let member = self.member(node);
                self.steward.without_room.insert((group, member));
            }
            Happened::StateDiffers { group, seq } => {
                self.on_out_of_service(node, group, Violation::StatesDiffer(group, seq.0));
            }
            Happened::Quarantined { group } => self.on_out_of_service(node, group, Violation::Quarantined(group)),
            Happened::GroupOpened { group } => self.on_group_opened(node, group),
            Happened::Out { .. } | Happened::PeerOut { .. } | Happened::BirthRefused { .. } => {}
        }
    }

    fn on_cut(&mut self, side: Side, cause: Cut) {
        self.reach(Reached::Cut(side, CutKind::of(cause)));
        if let Cut::Malformed(error) = cause {
            self.reach(Reached::Bytes(error));
        }
    }

    /// How long a client lets lie what it is sent, in ns.
    fn slowness_ns(&mut self) -> u64 {
        if !self.faulty || self.faults.slow_ms == 0 || self.rng.below(4) > 0 {
            return 0;
        }
        self.did(Fault::ClientSlow);
        self.rng.below(self.faults.slow_ms) * MS
    }

    fn links_of(&self, node: usize) -> Vec<LinkKey> {
        let keys = self.links.keys();
        keys.filter(|key| key.0 == node || key.1 == node).collect()
    }

    /// It is time for a node to start, unless somebody else decides over it.
    pub(super) fn on_start_event(&mut self, node: usize) {
        let is_started = self.births == Births::TopologyLog && !self.nodes[node].down;
        if !is_started && !self.away.contains(&node) {
            self.on_start(node);
        }
    }

    /// A node starts, or starts anew with nothing.
    pub(super) fn on_start(&mut self, node: usize) {
        if !self.nodes[node].down {
            self.nodes[node].restarts += 1;
            self.did(Fault::NodeRestarted);
        }
        self.bury(node);
        let restarts = u64::from(self.nodes[node].restarts);
        let incarnation = Incarnation((1 + restarts) << 16 | self.rng.below(1 << 16));
        let keeps = R::breaks(Rule::EmptyRestartKeepsIdentity) && restarts > 0;
        let incarnation = if keeps {
            self.nodes[node].incarnation
        } else {
            incarnation
        };
        self.nodes[node].incarnation = incarnation;
        self.nodes[node].down = false;
        self.nodes[node].learned = 0;
        self.nodes[node].unlearned.clear();
        self.wake(node);
        self.trace(&[4, node as u64, incarnation.0]);
        let topology = self.topology_at(node, &self.topology);
        let rows = topology.nodes().iter().map(|spec| usize::from(spec.id.0) + 1).max();
        let mut names = vec![String::new(); rows.unwrap_or(1)];
        let mut shards = vec![0; rows.unwrap_or(1)];
        for spec in topology.nodes() {
            names[usize::from(spec.id.0)].clone_from(&spec.name);
            shards[usize::from(spec.id.0)] = spec.shards;
        }
        let id = NodeId(u16::try_from(node + 1).expect("few"));
        // A voter apart has none.
        let own = shards.get(node + 1).copied().unwrap_or(0);
        let make = |shard: u16| {
            let settings = Settings {
                births: self.births,
                node: id,
                incarnation,
                shard: ShardId(shard),
                shards: shards.clone(),
                names: names.clone(),
                driver: "simulated".to_owned(),
                limits: self.limits.clone(),
            };
            let placement = self.topology.birth().clone();
            Shard::new(
                settings,
                topology.clone(),
                placement,
                HeapMemory::new(self.faults.memory_bytes),
                self.kinds.clone(),
            )
        };
        self.nodes[node].shards = (0..own).map(make).collect();
        for shard in 0..usize::from(own) {
            self.schedule(
                self.now_ns + 1 + self.now_ns % 7,
                Event::Tick {
                    node,
                    incarnation,
                    shard,
                },
            );
        }
        self.tell(node);
        self.start_controller(node);
        for link in self.links_of(node) {
            // Its sockets closed with the process: the other side hears it, and dials again.
            if let Some(epoch) = self.links.set(link, None) {
                let peer = if link.0 == node { link.1 } else { link.0 };
                self.tell_closed(link, epoch);
                self.schedule(
                    self.now_ns + 1_000,
                    Event::Down {
                        node: peer,
                        link,
                        epoch: epoch.number,
                    },
                );
            }
            let at = self.now_ns + self.rng.below(40) * MS + 2_000;
            self.schedule(at, Event::Dial { link });
        }
    }

    pub(super) fn on_fault(&mut self) {
        if !self.faulty {
            return;
        }
        self.schedule(self.now_ns + 50 * MS, Event::Fault);
        // Per virtual second there are twenty of these.
        if self.rng.below(20) < self.faults.cuts {
            let keys: Vec<LinkKey> = self.links.keys().collect();
            let link = keys[self.rng.index(keys.len())];
            self.cut(link);
        }
        if self.rng.below(20) < self.faults.pauses {
            let node = self.rng.index(self.nodes.len());
            let pause_ns = self.rng.below(self.faults.pause_ms) * MS;
            self.stand_still(node, pause_ns);
            self.did(Fault::NodePaused);
        }
        if self.faults.restarts > 0 && self.rng.below(40) == 0 {
            self.faults.restarts -= 1;
            let node = self.rng.index(self.nodes.len());
            if self.births == Births::TopologyLog {
                self.crash(node);
            } else if self.faults.stops && !self.nodes[node].down && self.rng.below(3) > 0 {
                self.on_stop(node);
            } else {
                self.on_start(node);
            }
        }
        if self.faults.losses > 0 && self.rng.below(30) == 0 && self.steward.state.group(GroupId(0)).is_some() {
            self.faults.losses -= 1;
            self.lose_group();
        }
        if self.rng.below(20) < self.faults.silences {
            self.silence();
        }
        if self.faults.seats > 0 && self.seat_rng.below(20) < self.faults.seats {
            self.change_seat();
        }
        self.contradict();
    }

    /// A node's events wait from now on, for so long at least.
    pub(super) fn stand_still(&mut self, node: usize, ns: u64) {
        let until_ns = self.nodes[node].paused_until_ns.max(self.now_ns + ns);
        self.nodes[node].paused_until_ns = until_ns;
        self.pauses_until_ns = self.pauses_until_ns.max(until_ns);
        self.schedule(until_ns, Event::GoOn { node });
    }

    /// A node stands still no longer: what waits for it comes at this instant, before anything else does.
    pub(super) fn wake(&mut self, node: usize) {
        if std::mem::take(&mut self.nodes[node].paused_until_ns) > self.now_ns {
            self.schedule(self.now_ns, Event::GoOn { node });
        }
    }

    /// A node goes on with what came while it stood still, unless it still does.
    pub(super) fn on_go_on(&mut self, node: usize) {
        if self.nodes[node].paused_until_ns > self.now_ns {
            return;
        }
        for event in std::mem::take(&mut self.nodes[node].held) {
            self.on_event(event);
            self.look();
        }
    }

    /// A node ends with all that it held, if the cluster can bear that now, and starts anew after a while.
    fn crash(&mut self, node: usize) {
        if self.nodes[node].down || !self.may_lose(node) {
            return;
        }
        self.end_for_a_while(node);
    }

    /// A node ends with all that it held, and starts anew after a while.
    pub(super) fn end_for_a_while(&mut self, node: usize) {
        self.end_node(node);
        let at = self.now_ns + 1_000 + self.rng.below(1_500) * MS;
        self.schedule(at, Event::Start { node });
    }

    /// A node's process is gone.
    pub(super) fn end_node(&mut self, node: usize) {
        self.did(Fault::NodeCrashed);
        self.nodes[node].down = true;
        self.nodes[node].restarts += 1;
        self.bury(node);
        self.end_controller(node);
        for link in self.links_of(node) {
            self.cut(link);
        }
    }

    /// A node is told to stop. It refuses what comes, and then starts anew.
    fn on_stop(&mut self, node: usize) {
        self.did(Fault::NodeStopped);
        for shard in &mut self.nodes[node].shards {
            shard.on_stop();
        }
        let at = self.now_ns + (200 + self.rng.below(600)) * MS;
        self.schedule(at, Event::Start { node });
    }

    /// For a while one node does not hear another, or two each other, or one nobody. No connection ends for it.
    fn silence(&mut self) {
        let count = self.nodes.len();
        let one = self.rng.index(count);
        let other = (one + 1 + self.rng.index(count - 1)) % count;
        let until_ns = self.now_ns + self.rng.below(self.faults.silence_ms) * MS;
        let kind = self.rng.below(3);
        let (fault, others) = match kind {
            0 => (Fault::OneWaySilence, other..other + 1),
            1 => (Fault::Silence, other..other + 1),
            _ => (Fault::NodeSilence, 0..count),
        };
        self.did(fault);
        for other in others {
            self.silent_until_ns[one][other] = until_ns;
            if kind > 0 {
                self.silent_until_ns[other][one] = until_ns;
            }
        }
    }
}
