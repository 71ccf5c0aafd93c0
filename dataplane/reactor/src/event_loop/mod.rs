//! The event loop of one shard: turns what the driver says into inputs of `waterpark_core::Shard`, and its effects into what the driver does.
//!
//! It decides nothing about data. It knows which connection is which link or client, when to dial, when to tick, and when to sleep. One
//! clock reading per turn; what arrived in one turn leaves at its end.
//!
//! **Invariant:** a send that the shard asked for is reported back to the same life of its link or client, or its gathers are unpinned and it
//! is forgotten; never to a later life.
//!
//! | file | part |
//! |---|---|
//! | `mod.rs` | the turn |
//! | `links.rs` | dialling, and what becomes of a link's connection |
//! | `handshakes.rs` | from a connection to a link or client |
//! | `connection.rs` | the table of connections |
//! | `way.rs` | links that are made to take time |
//! | `edges.rs` | connections of other protocols |
//! | `report.rs` | words to and from the control thread |
//! | `counters.rs` | what the status document shows of all this |

mod connection;
mod counters;
mod edges;
mod handshakes;
mod links;
mod report;
mod way;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::time::ClockId;
use waterpark_core::Shard;
use waterpark_core::behaviour::Behaviour;
use waterpark_core::effects::{Crossing, Effect};
use waterpark_core::ids::{ClientId, NodeId, ShardId};
use waterpark_core::memory::{Memory, Outgoing};
use waterpark_core::rules::Production;
use waterpark_core::time::{MS, Now};
use waterpark_wire::handshake::Party;
use waterpark_wire::{ConnectionRefusal, FrameError};

use crate::buffer_pool::Buffers;
use crate::chunk_pool::PoolMemory;
use crate::driver::{AnyDriver, Driver, DriverChoice, DriverConfig, Event, OpenError, SocketProfile, Wait, open};
use crate::inbox::Port;
use crate::spin::{Next, Spinner};
use crate::turn::TurnCounter;
use crate::{ConnectionId, ReceivedBuffer, Waker};
pub use connection::ConnectionBounds;
use connection::{Role, Table};
use counters::{LoopCounters, Reasons};
use edges::EdgeRow;
pub use edges::{Edge, EdgeOutput};
use links::{LinkRow, feed_link};
use report::Reports;
pub use report::{Command, LinkEnd, Report};
pub use way::Way;

/// Tag of the listener for peers.
const PEERS: u32 = 0;
/// Tag of the listener for native clients.
const CLIENTS: u32 = 1;
/// Tag of the listener for another protocol.
const EDGES: u32 = 2;
/// A handshake that takes longer is ended.
const HANDSHAKE_MS: u64 = 5_000;
/// A shard with work under way ticks this often.
const TICK_BUSY_MS: u64 = 10;
/// How often one that cannot serve yet says what it waits for.
const WAITING_MS: u64 = 5_000;
/// How often a portion of the connections is looked at for being idle.
const REST_MS: u64 = 200;
/// How often a paused shard looks whether it may go on.
const PAUSED_LOOK: Duration = Duration::from_millis(10);
/// How long a stopping shard tries to flush.
const STOP_MS: u64 = 2_000;

/// Everything that a shard's thread is given. It is opened on that thread, because a driver belongs to it.
pub struct LoopConfig {
    /// Which driver.
    pub driver: DriverChoice,
    /// Its sizes.
    pub driver_config: DriverConfig,
    /// Where peers dial this shard.
    pub peers: TcpListener,
    /// Where native clients dial this shard.
    pub clients: TcpListener,
    /// Where senders of another protocol dial this shard, and what serves them.
    pub edge: Option<(TcpListener, Box<dyn Edge + Send>)>,
    /// Whether senders from other hosts are served too.
    pub edge_open: bool,
    /// This process as it says of itself; `out` and `epoch` are filled in per handshake.
    pub identity: Party,
    /// The cluster's key; zeros where there is none.
    pub key: [u8; 32],
    /// Whether there is a key. Without one only loopback is accepted.
    pub keyed: bool,
    /// Whether frames on links may be compressed.
    pub lz4: bool,
    /// How many connections there may be.
    pub bounds: ConnectionBounds,
    /// Each node's first port, by node id.
    pub ports: Vec<u16>,
    /// Each node's address, by node id, where it is known already.
    pub hosts: Vec<Option<IpAddr>>,
    /// Nodes whose first port is reached elsewhere from here than their topology says; a shard's is that far above.
    pub via: BTreeMap<NodeId, SocketAddr>,
    /// The way to each node, by node id, where it is to take time.
    pub ways: Vec<Way>,
    /// How long to poll before sleeping; 0 where more shards want to run than there are cores.
    pub spin_budget_ns: u64,
    /// The rings to and from the other shards of this process.
    pub port: Port<Crossing>,
    /// Where each shard of this process leaves what wakes it, by shard.
    pub wakers: Arc<[OnceLock<Waker>]>,
    /// Turn counters of this process, by shard.
    pub turns: Arc<[TurnCounter]>,
    /// To the control thread.
    pub reports: SyncSender<(ShardId, Report)>,
    /// From the control thread, which wakes the shard after sending.
    pub commands: Receiver<Command>,
}

/// Why a shard's thread did not begin. Nothing was left open.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No driver.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The driver does not take a listener.
    #[error("the driver does not take the listener: {0}")]
    Listen(std::io::Error),
    /// The kernel gives no random bytes, which handshakes need.
    #[error("the kernel gives no random bytes: {0}")]
    Entropy(std::io::Error),
}

/// Random bytes for handshakes and back-off, drawn from the kernel in blocks.
struct Entropy {
    block: [u8; 256],
    used: usize,
}

impl Entropy {
    fn new() -> std::io::Result<Entropy> {
        let mut entropy = Entropy {
            block: [0; 256],
            used: 0,
        };
        entropy.fill()?;
        Ok(entropy)
    }

    fn fill(&mut self) -> std::io::Result<()> {
        // Up to 256 bytes come whole once the kernel's pool is seeded, and it waits for that.
        let got = rustix::rand::getrandom(&mut self.block, rustix::rand::GetRandomFlags::empty())?;
        if got < self.block.len() {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        self.used = 0;
        Ok(())
    }

    fn take(&mut self, bytes: &mut [u8]) {
        if self.used + bytes.len() > self.block.len() {
            self.fill()
                .expect("the kernel gave random bytes at the start, and always does from then on");
        }
        bytes.copy_from_slice(&self.block[self.used..self.used + bytes.len()]);
        self.block[self.used..self.used + bytes.len()].fill(0);
        self.used += bytes.len();
    }

    fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        self.take(&mut nonce);
        nonce
    }

    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.take(&mut byte);
        byte[0]
    }
}

/// One shard with its sockets.
pub struct EventLoop<B: Behaviour> {
    driver: AnyDriver,
    shard: Shard<Production, PoolMemory, B>,
    port: Port<Crossing>,
    wakers: Arc<[OnceLock<Waker>]>,
    turns: Arc<[TurnCounter]>,
    reports: Reports,
    commands: Receiver<Command>,
    identity: Party,
    key: [u8; 32],
    keyed: bool,
    lz4: bool,
    bounds: ConnectionBounds,
    entropy: Entropy,
    table: Table,
    links: Vec<LinkRow>,
    via: BTreeMap<NodeId, SocketAddr>,
    /// The nodes that links are made to: the position of the entry that last changed them.
    placing: u64,
    /// Connections whose handshake may still run, by deadline.
    young: VecDeque<(u64, ConnectionId)>,
    /// Crossings that found no room in their ring, by shard, in order.
    held: Vec<VecDeque<Crossing>>,
    edge: Option<EdgeRow>,
    edge_open: bool,
    counters: LoopCounters,
    reasons: Reasons,
    spinner: Spinner,
    effects: Vec<Effect>,
    /// When the shard ticks next; monotonic ns.
    tick_at_ns: u64,
    /// When a dial or a handshake is due; monotonic ns.
    timers_at_ns: u64,
    /// When a frame in a line is due; monotonic ns.
    lines_at_ns: u64,
    /// It stands still until it is told to go on.
    paused: bool,
    /// When some connections are next looked at for being idle; monotonic ns.
    rest_at_ns: u64,
    /// When a shard that does not serve yet says so; monotonic ns.
    waiting_at_ns: u64,
    serving: bool,
    /// When a stopping shard gives up flushing.
    stop_at_ns: Option<u64>,
    ended: bool,
}

/// What time it is: one reading of each clock.
pub fn now() -> Now {
    Now {
        monotonic_ns: ns_of(ClockId::Monotonic),
        wall_ms: ns_of(ClockId::Realtime) / MS,
    }
}

fn ns_of(clock: ClockId) -> u64 {
    let read = rustix::time::clock_gettime(clock);
    let word = |value: i64| u64::try_from(value).unwrap_or(0);
    word(read.tv_sec) * 1_000_000_000 + word(read.tv_nsec)
}

/// Ends the pins of a send that is over.
fn unpin(memory: &mut PoolMemory, outgoing: &Outgoing) {
    for gather in &outgoing.gathers {
        memory.unpin(gather.chunk);
    }
}

impl<B: Behaviour> EventLoop<B> {
    /// Opens the driver on the calling thread and listens. `make` builds the shard once the driver's name is known.
    ///
    /// # Errors
    /// When the kernel refuses sockets or memory for them; nothing was left open.
    pub fn open(
        config: LoopConfig,
        make: impl FnOnce(&str) -> Shard<Production, PoolMemory, B>,
    ) -> Result<EventLoop<B>, StartError> {
        let (mut driver, notes) = open(config.driver, &config.driver_config)?;
        let buffers = [config.driver_config.link_buffers, config.driver_config.client_buffers];
        let memory_buffers_bytes = buffers.into_iter().map(Buffers::all_bytes).sum();
        let entropy = Entropy::new().map_err(StartError::Entropy)?;
        let listen = |driver: &mut AnyDriver, listener, profile, tag| {
            driver.listen(listener, profile, tag).map_err(StartError::Listen)
        };
        listen(&mut driver, config.peers, SocketProfile::Link, PEERS)?;
        listen(&mut driver, config.clients, SocketProfile::Client, CLIENTS)?;
        let mut edge = None;
        if let Some((listener, served)) = config.edge {
            listen(&mut driver, listener, SocketProfile::Edge, EDGES)?;
            edge = Some(EdgeRow::new(served));
        }
        let shard = make(&driver.kind().to_string());
        let own = shard.settings().shard;
        // Somebody who was here before has the place; then this thread is not its shard, which the process makes once.
        config.wakers[usize::from(own.0)]
            .set(driver.waker())
            .expect("each shard begins once");
        let mut reports = Reports::new(own, config.reports);
        reports.tell(Report::Listening {
            driver: driver.kind(),
            congestion: driver.congestion().to_string(),
            notes,
        });
        let row = |info: &waterpark_core::LinkInfo| {
            let node = usize::from(info.peer.0);
            let way = config.ways.get(node).copied().unwrap_or_default();
            let via = config.via.get(&info.peer).copied();
            LinkRow::new(*info, config.ports[node], config.hosts[node], via, way)
        };
        let begun = now();
        Ok(EventLoop {
            links: shard.links().iter().map(row).collect(),
            via: config.via,
            driver,
            shard,
            port: config.port,
            held: config.wakers.iter().map(|_| VecDeque::new()).collect(),
            edge,
            edge_open: config.edge_open,
            wakers: config.wakers,
            turns: config.turns,
            reports,
            commands: config.commands,
            identity: config.identity,
            key: config.key,
            keyed: config.keyed,
            lz4: config.lz4,
            bounds: config.bounds,
            entropy,
            table: Table::default(),
            placing: 0,
            young: VecDeque::new(),
            counters: LoopCounters {
                memory_buffers_bytes,
                ..LoopCounters::default()
            },
            reasons: Reasons::default(),
            spinner: Spinner::new(config.spin_budget_ns),
            effects: Vec::new(),
            tick_at_ns: 0,
            timers_at_ns: 0,
            lines_at_ns: u64::MAX,
            paused: false,
            rest_at_ns: 0,
            waiting_at_ns: begun.after_ms(WAITING_MS),
            serving: false,
            stop_at_ns: None,
            ended: false,
        })
    }

    /// Turns until it is told to stop, or the driver fails. Reports either.
    pub fn run(mut self) {
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        let mut wait = Wait::Poll;
        self.probe_dialers();
        while !self.ended {
            let sleeps = wait != Wait::Poll;
            let turned = self.driver.turn(wait, &mut events);
            if sleeps {
                self.port.awake();
            }
            let cost = match turned {
                Ok(cost) => cost,
                Err(error) => return self.reports.tell(Report::Failed(error)),
            };
            self.counters.turned(cost);
            let own = usize::from(self.shard.settings().shard.0);
            self.turns[own].turned();
            let now = now();
            let worked = self.turn(now, &mut events);
            if worked {
                self.tick_at_ns = self.tick_at_ns.min(now.after_ms(TICK_BUSY_MS));
            }
            wait = self.next_wait(now, worked);
            if wait != Wait::Poll || self.paused {
                self.turns[own].sleeps();
            }
            self.stand_still();
        }
    }

    /// While it is paused it does nothing but hear whether it may go on: to all others it looks like a process that was stopped.
    fn stand_still(&mut self) {
        while self.paused {
            std::thread::sleep(PAUSED_LOOK);
            self.command(now());
        }
    }

    /// One turn: events and mail in, effects out. Whether there was any work.
    fn turn(&mut self, now: Now, events: &mut Vec<Event>) -> bool {
        let mut worked = !events.is_empty();
        for event in events.drain(..) {
            self.on_event(now, event);
        }
        if self.ended {
            // Whoever dies says nothing more, not even what this turn would have.
            return true;
        }
        let shard = &mut self.shard;
        worked |= self.port.drain(|_, crossing| shard.on_deliver(now, crossing)) > 0;
        if now.monotonic_ns >= self.tick_at_ns {
            self.tick(now);
        }
        if now.monotonic_ns >= self.timers_at_ns {
            // Both look at their own deadlines and name the next.
            self.timers_at_ns = u64::MAX;
            let dial_ns = self.dial(now);
            let young_ns = self.expire_young(now);
            self.timers_at_ns = self.timers_at_ns.min(dial_ns).min(young_ns);
        }
        if now.monotonic_ns >= self.lines_at_ns {
            self.lines_at_ns = u64::MAX;
            let due_ns = self.let_go(now);
            self.lines_at_ns = self.lines_at_ns.min(due_ns);
        }
        self.ask_for_edges(now);
        self.shard.on_turn_end(now);
        self.act(now);
        self.answer_for_edges(now);
        self.flush();
        worked
    }

    /// Whether the next driver's turn may sleep, and for how long.
    fn next_wait(&mut self, now: Now, worked: bool) -> Wait {
        if self.spinner.on_turn(worked, now.monotonic_ns) == Next::Poll || self.ended || self.holds() {
            return Wait::Poll;
        }
        let edge_ns = self.edge.as_ref().map_or(u64::MAX, |row| row.edge.due_ns());
        let due_ns = self
            .tick_at_ns
            .min(self.timers_at_ns)
            .min(self.lines_at_ns)
            .min(edge_ns);
        let wait_ns = due_ns.saturating_sub(now.monotonic_ns);
        if wait_ns == 0 || !self.port.prepare_sleep() {
            return Wait::Poll;
        }
        Wait::Until(Duration::from_nanos(wait_ns))
    }

    fn holds(&self) -> bool {
        self.held.iter().any(|held| !held.is_empty()) || self.edge.as_ref().is_some_and(EdgeRow::has_requests)
    }

    fn on_event(&mut self, now: Now, event: Event) {
        match event {
            Event::Received { connection, buffer } => {
                let outcome = self.on_received(now, connection, &buffer);
                self.driver.recycle(buffer);
                self.on_outcome(now, connection, outcome);
            }
            Event::Sent { connection, outgoing } => self.on_sent(now, connection, outgoing, true),
            Event::SendFailed {
                connection, outgoing, ..
            } => self.on_sent(now, connection, outgoing, false),
            Event::Accepted {
                listener,
                connection,
                peer,
            } => self.on_accepted(now, listener, connection, peer),
            Event::Connected { connection } => self.on_connected(now, connection),
            Event::ConnectFailed { connection, error } => self.on_connect_failed(now, connection, &error),
            Event::Finished { connection } => self.on_finished(now, connection),
            Event::Closed { connection, cause } => self.on_closed(now, connection, cause),
            Event::Woken => self.command(now),
        }
    }

    /// The bytes lie in the driver's buffer while the shard reads them: frames that came whole are never copied.
    #[inline]
    fn on_received(
        &mut self,
        now: Now,
        id: ConnectionId,
        buffer: &ReceivedBuffer,
    ) -> Result<Option<ConnectionRefusal>, FrameError> {
        let EventLoop {
            driver,
            shard,
            table,
            counters,
            edge,
            ..
        } = self;
        let bytes = driver.received(buffer);
        let Some(row) = table.get_mut(id) else { return Ok(None) };
        match row.role {
            Role::Link(link) => {
                counters.links_received_bytes += bytes.len() as u64;
                return feed_link(&mut row.framer, bytes, |frame| {
                    counters.frames_received += 1;
                    shard.on_link_frame(now, link, frame);
                });
            }
            Role::Client(client) => {
                counters.clients_received_bytes += bytes.len() as u64;
                row.framer.feed(bytes, true, |frame| {
                    counters.frames_received += 1;
                    shard.on_client_frame(now, client, &frame);
                    Ok(())
                })?;
            }
            Role::Edge { .. } => {
                counters.edges_received_bytes += bytes.len() as u64;
                if let Some(row) = edge {
                    row.received(now, id, bytes);
                }
            }
            Role::Closing => (),
            Role::Dialing { .. } | Role::Accepting { .. } | Role::Welcoming { .. } => {
                let bytes = bytes.to_vec();
                self.on_handshake_bytes(now, id, &bytes);
            }
        }
        Ok(None)
    }

    /// Bytes of a connection that were kept aside.
    fn on_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) {
        let EventLoop { shard, table, .. } = self;
        let Some(row) = table.get_mut(id) else { return };
        let outcome = match row.role {
            Role::Link(link) => feed_link(&mut row.framer, bytes, |frame| shard.on_link_frame(now, link, frame)),
            Role::Client(client) => {
                let fed = row.framer.feed(bytes, false, |frame| {
                    shard.on_client_frame(now, client, &frame);
                    Ok(())
                });
                fed.map(|()| None)
            }
            _ => Ok(None),
        };
        self.on_outcome(now, id, outcome);
    }

    /// Ends a connection that sent what is no frame, or on which the other side has refused.
    #[inline]
    fn on_outcome(&mut self, now: Now, id: ConnectionId, outcome: Result<Option<ConnectionRefusal>, FrameError>) {
        match outcome {
            Ok(None) => (),
            Ok(Some(refusal)) => self.on_link_refused(now, id, refusal),
            Err(error) => self.malformed(now, id, error),
        }
    }

    fn command(&mut self, now: Now) {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Address { peer, host }) => {
                    for row in self.links.iter_mut().filter(|row| row.info.peer == peer) {
                        row.move_to(host, now);
                    }
                    self.timers_at_ns = 0;
                }
                Ok(Command::Way { peer, way }) => self.set_way(peer, way),
                Ok(Command::Control { to, message }) => self.shard.send_control(to, &message),
                Ok(Command::Decided { position, stamp, entry }) => {
                    self.shard.on_decided(now, position, stamp, &entry);
                    self.on_nodes(now);
                    self.dial_the_named(now);
                }
                Ok(Command::State(state)) => {
                    self.shard.on_state(now, &state);
                    self.on_nodes(now);
                    self.dial_the_named(now);
                }
                Ok(Command::Pause) => self.paused = true,
                Ok(Command::Resume) => self.paused = false,
                Ok(Command::Die) => {
                    self.paused = false;
                    self.ended = true;
                    return self.reports.tell(Report::Stopped { flushed: false });
                }
                // A control thread that is gone wants nothing more of us either.
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    self.paused = false;
                    if self.stop_at_ns.is_none() {
                        self.stop_at_ns = Some(now.after_ms(STOP_MS));
                        self.shard.on_stop();
                        self.tick_at_ns = 0;
                    }
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn tick(&mut self, now: Now) {
        self.shard.on_tick(now);
        self.tick_at_ns = self.shard.next_tick_ns().max(now.monotonic_ns + MS);
        if now.monotonic_ns >= self.rest_at_ns {
            self.rest_at_ns = now.after_ms(REST_MS);
            self.table.rest_some();
            if let Some(row) = &mut self.edge {
                row.rest();
            }
            self.counters.memory_touched_bytes = self.shard.memory().touched_bytes();
        }
        self.counters.connections = self.driver.connections() as u64;
        self.counters.clients = self.table.clients().into();
        self.counters.handshakes = (self.table.handshakes(PEERS) + self.table.handshakes(CLIENTS)).into();
        self.counters.accepts_refused = self.driver.refused_accepts();
        self.counters.reports_dropped = self.reports.dropped();
        self.counters.allocations = crate::allocations::allocations();
        self.counters.cpu_ns = ns_of(ClockId::ThreadCPUTime);
        self.counters.core = rustix::thread::sched_getcpu() as u64;
        let edge = self.edge.as_ref().map(|row| &*row.edge);
        counters::publish(&self.counters, &self.reasons, edge, self.shard.world_counters_mut());
        if !self.serving {
            self.tell_serving(now);
        }
        if let Some(stop_at_ns) = self.stop_at_ns {
            let flushed = self.shard.is_flushed() && self.edges_are_flushed();
            if flushed || now.monotonic_ns >= stop_at_ns {
                self.reports.tell(Report::Stopped { flushed });
                self.ended = true;
            }
            self.tick_at_ns = now.after_ms(1);
        }
    }

    fn tell_serving(&mut self, now: Now) {
        let (groups, open) = self.shard.written();
        let out = self.shard.is_out();
        if out || open == groups {
            self.serving = true;
            self.reports.tell(Report::Serving { out });
        } else if now.monotonic_ns >= self.waiting_at_ns {
            self.waiting_at_ns = now.after_ms(WAITING_MS);
            let missing = self
                .links
                .iter()
                .filter(|row| row.connection.is_none() && !row.info.left);
            let mut missing: Vec<NodeId> = missing.map(|row| row.info.peer).collect();
            missing.dedup();
            self.reports.tell(Report::Waiting { open, groups, missing });
        }
    }

    /// Does what the shard wants, in its order.
    fn act(&mut self, now: Now) {
        let mut effects = std::mem::take(&mut self.effects);
        self.shard.take_effects(&mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::SendLink { link, outgoing } => {
                    self.send_link(now, link, outgoing);
                }
                Effect::SendClient { client, outgoing } => self.send(Some(connection_of(client)), outgoing),
                Effect::CutLink { link, cause } => self.end_link(now, link, cause),
                Effect::CutClient { client, cause } => self.cut_client(now, connection_of(client), cause),
                Effect::Deliver { shard, crossing } => self.deliver(usize::from(shard.0), crossing),
                Effect::Event(happened) => self.reports.tell(Report::Happened(happened)),
                Effect::Propose(entry) => self.reports.tell(Report::Propose(*entry)),
                Effect::StandStill { ms } => self.reports.tell(Report::StandStill(ms)),
                Effect::Control { from, message } => self.reports.tell(Report::Control { from, message }),
                Effect::Report { heard, groups } => self.reports.tell(Report::Groups { heard, groups }),
            }
        }
        self.effects = effects;
    }

    #[inline]
    fn send(&mut self, id: Option<ConnectionId>, outgoing: Outgoing) {
        let row = id.and_then(|id| self.table.get_mut(id));
        let usable = row.filter(|row| !row.sending && matches!(row.role, Role::Link(_) | Role::Client(_)));
        let refused = match usable {
            Some(row) => {
                row.sending = true;
                let sent = self.driver.send(row.id, outgoing, self.shard.memory());
                row.sending = sent.is_ok();
                sent.err()
            }
            // It fell in this very turn: the shard hears of it, or has.
            None => Some(outgoing),
        };
        if let Some(outgoing) = refused {
            unpin(self.shard.memory_mut(), &outgoing);
        }
    }

    fn deliver(&mut self, shard: usize, crossing: Crossing) {
        let held = &mut self.held[shard];
        if held.is_empty() {
            match self.port.send(shard, crossing) {
                Ok(()) => return,
                Err(crossing) => held.push_back(crossing),
            }
        } else {
            held.push_back(crossing);
        }
        self.counters.crossings_held += 1;
    }

    /// Publishes what crosses to other shards, what was held first; wakes those that sleep.
    fn flush(&mut self) {
        for (to, held) in self.held.iter_mut().enumerate() {
            while let Some(crossing) = held.pop_front() {
                if let Err(crossing) = self.port.send(to, crossing) {
                    held.push_front(crossing);
                    break;
                }
            }
        }
        let (driver, wakers) = (&mut self.driver, &self.wakers);
        self.port.flush(|to| {
            if let Some(waker) = wakers[to].get() {
                driver.wake(waker);
            }
        });
    }
}

/// The connection of a client: its name in the shard is the connection's.
fn connection_of(client: ClientId) -> ConnectionId {
    ConnectionId::from_bits(client.0)
}
