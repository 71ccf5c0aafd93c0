//! The control thread: writes down what the shards report, resolves peers' names, watches that the shards turn, and carries "stop" to them.
//!
//! It never touches data, and no shard waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use waterpark_core::effects::Happened;
use waterpark_core::ids::{NodeId, ShardId};
use waterpark_reactor::Waker;
use waterpark_reactor::event_loop::{Command, Report, Way};
use waterpark_reactor::turn::{Judge, TurnCounter, Verdict};
use waterpark_ring::{NodeName, NodeSpec, Topology};
use waterpark_wire::handshake::HandshakeRefusal;

use crate::governance::{Fatal, Governance, Plan, Presences};
use crate::host;
use crate::node::{Ended, tell};
use crate::stopper::{Ending, Wishes};
use crate::voter_file::VoterFileError;

/// How often it looks around when nothing is reported.
const PERIOD: Duration = Duration::from_millis(50);
/// The same before all shards serve, so that "ready" is said when it is so.
const PERIOD_STARTING: Duration = Duration::from_millis(2);
/// How often the controller is looked after when nothing is reported.
const PERIOD_GOVERNING: Duration = Duration::from_millis(5);
/// Reports that are taken before it looks around.
const REPORTS_AT_ONCE: usize = 256;
/// How long a node that is to stop waits for its groups to be taken over.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How often names are looked up that had no address.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);
/// How long after "stop" the shards may take; their own limit is shorter.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Lines about refused connections at most per second; the rest is counted in the shards.
const REFUSALS_PER_SECOND: u32 = 20;

/// What the control thread is given.
pub(crate) struct Control {
    pub(crate) node: String,
    pub(crate) topology: Topology,
    /// How long links to each other data centre are made to take.
    pub(crate) ways: BTreeMap<String, Way>,
    /// The way to each shard.
    pub(crate) shards: Vec<Sender<Command>>,
    pub(crate) wakers: Arc<[OnceLock<Waker>]>,
    pub(crate) turns: Arc<[TurnCounter]>,
    pub(crate) reports: Receiver<(ShardId, Report)>,
    pub(crate) wishes: Arc<Wishes>,
    /// What drivers said when they opened.
    pub(crate) notes: Arc<Mutex<Vec<String>>>,
    /// What the topology log says of the nodes.
    pub(crate) presences: Arc<Mutex<Presences>>,
    pub(crate) ready: Sender<()>,
    /// Why it failed.
    pub(crate) last_words: Arc<Mutex<Option<String>>>,
    /// What its controller is made of, where the cluster has a topology log.
    pub(crate) plan: Option<Plan>,
    /// Whether the controller began.
    pub(crate) opened: Sender<Result<(), VoterFileError>>,
}

/// Runs until all shards have ended, or one has failed.
pub(crate) fn run(mut control: Control) -> Ended {
    let presences = Arc::clone(&control.presences);
    let open = |plan| Governance::open(plan, presences);
    let governance = match control.plan.take().map(open).transpose() {
        Ok(governance) => governance,
        Err(error) => {
            // Whoever starts the node waits for this word.
            control.opened.send(Err(error)).ok();
            return Ended::Failed;
        }
    };
    control.opened.send(Ok(())).ok();
    Watch {
        unresolved: control
            .topology
            .nodes()
            .iter()
            .filter(|node| is_named(node))
            .map(|node| node.id)
            .collect(),
        begun: Instant::now(),
        judge: Judge::new(Arc::clone(&control.turns), None),
        serving: 0,
        stopped: 0,
        flushed: true,
        told: None,
        drains_until: None,
        still_until: None,
        lines: Lines::default(),
        governance,
        control,
    }
    .run()
}

/// What the control thread has in mind.
struct Watch {
    control: Control,
    governance: Option<Governance>,
    begun: Instant,
    judge: Judge,
    serving: usize,
    stopped: usize,
    flushed: bool,
    /// Since when the shards are told to end, and how.
    told: Option<(Instant, Ending)>,
    /// A node that is to stop gives its groups away first, and waits so long for it.
    drains_until: Option<Instant>,
    /// Until when it stands still, as in a drill.
    still_until: Option<Instant>,
    /// Peers whose host's name has no address yet.
    unresolved: BTreeSet<NodeId>,
    lines: Lines,
}

impl Watch {
    fn run(mut self) -> Ended {
        let mut resolve_at = self.begun;
        loop {
            let mut report = self.wait();
            for _ in 0..REPORTS_AT_ONCE {
                match report {
                    Ok((shard, report)) => {
                        if let Some(ended) = self.on_report(shard, report) {
                            return ended;
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                    // A shard that panicked took its end with it.
                    Err(TryRecvError::Disconnected) => return Ended::Failed,
                }
                report = self.control.reports.try_recv();
            }
            let now = Instant::now();
            if let Some(shard) = self.hung_shard(now) {
                tracing::error!(
                    shard,
                    "a shard hangs: the process ends, its groups are better served by others"
                );
                return self.failed(format!("shard {shard} hangs"));
            }
            if self.stands_still(now) {
                continue;
            }
            if let Err(fatal) = self.govern() {
                tracing::error!("{fatal}");
                return self.failed(fatal.to_string());
            }
            self.heed(now);
            if (self.told).is_some_and(|(told, _)| now.duration_since(told) > STOP_MAX) {
                tracing::error!("the shards do not stop");
                return self.failed("the shards do not stop".to_owned());
            }
            if self.heed_topology() {
                resolve_at = now;
            }
            if !self.unresolved.is_empty() && now >= resolve_at {
                resolve_at = now + RESOLVE_AGAIN;
                resolve(&self.control, &mut self.unresolved);
            }
        }
    }

    /// It ends, for this reason.
    fn failed(&self, why: String) -> Ended {
        *self.control.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        Ended::Failed
    }

    /// The next report, or none after a while.
    fn wait(&self) -> Result<(ShardId, Report), TryRecvError> {
        let reports = &self.control.reports;
        if self.governance.is_some() {
            // Consensus wants an answer within milliseconds, so whoever reports wakes this thread: a few times in each 100 ms.
            return reports.recv_timeout(PERIOD_GOVERNING).map_err(|error| match error {
                RecvTimeoutError::Timeout => TryRecvError::Empty,
                RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
            });
        }
        // It sleeps instead of waiting on the channel: a shard that reports then never has to wake it.
        reports.try_recv().or_else(|nothing| match nothing {
            TryRecvError::Empty => {
                let is_starting = self.serving < self.control.shards.len();
                std::thread::sleep(if is_starting { PERIOD_STARTING } else { PERIOD });
                reports.try_recv()
            }
            TryRecvError::Disconnected => Err(nothing),
        })
    }

    fn hung_shard(&mut self, now: Instant) -> Option<usize> {
        let mut hung = None;
        self.judge
            .on_turn(now.duration_since(self.begun), |verdict| match verdict {
                Verdict::Silent { shard } => tracing::warn!(shard, "a shard does not turn"),
                Verdict::Recovered { shard } => tracing::info!(shard, "the shard turns again"),
                Verdict::Hung { shard } => hung = Some(shard),
            });
        hung.filter(|_| self.stopped == 0)
    }

    fn govern(&mut self) -> Result<(), Fatal> {
        let (control, Some(governance)) = (&self.control, &mut self.governance) else {
            return Ok(());
        };
        if self.told.is_some_and(|(_, ending)| ending == Ending::Die) {
            return Ok(());
        }
        let wake = |shard: usize| {
            if let Some(waker) = control.wakers[shard].get() {
                waker.wake();
            }
        };
        governance.turn(&control.shards, wake)
    }

    /// Nodes joined or left: their names, and how they are reached. Whether a host's name has to be looked up.
    fn heed_topology(&mut self) -> bool {
        let Some(topology) = self.governance.as_mut().and_then(Governance::take_topology) else {
            return false;
        };
        let before = std::mem::replace(&mut self.control.topology, topology);
        let nodes = self.control.topology.nodes().iter();
        let joined: Vec<&NodeSpec> = nodes.filter(|node| before.node(node.id).is_none()).collect();
        for node in &joined {
            let dc = NodeName::parse(&node.name).map_or("", |name| name.dc);
            if let Some(way) = self.control.ways.get(dc).copied() {
                each(&self.control, || Command::Way { peer: node.id, way });
            }
        }
        let named: BTreeSet<NodeId> = joined
            .iter()
            .filter(|node| is_named(node))
            .map(|node| node.id)
            .collect();
        let is_new = !named.is_empty();
        self.unresolved.extend(named);
        is_new
    }

    /// As if the whole process were stopped: its shards and its controller do nothing, and nobody is told.
    fn begin_standing_still(&mut self, ms: u32) {
        tracing::warn!(ms, "standing still, as an operator wants for a drill");
        self.still_until = Some(Instant::now() + Duration::from_millis(ms.into()));
        each(&self.control, || Command::Pause);
    }

    /// Whether a drill goes on; who wants the node to end ends it.
    fn stands_still(&mut self, now: Instant) -> bool {
        let Some(until) = self.still_until else { return false };
        if now < until && self.control.wishes.ending().is_none() {
            return true;
        }
        self.still_until = None;
        tracing::warn!("goes on after a drill");
        each(&self.control, || Command::Resume);
        false
    }

    /// Does what the owner of the node wants.
    fn heed(&mut self, now: Instant) {
        if let (Some(governance), Some(drains)) = (&mut self.governance, self.control.wishes.take_draining()) {
            governance.drain(drains);
        }
        let Some(ending) = self.control.wishes.ending() else {
            return;
        };
        if (self.told).is_some_and(|(_, told)| told == Ending::Die || ending != Ending::Die) {
            return;
        }
        if ending == Ending::Drain && self.is_draining(now) {
            return;
        }
        self.told = Some((now, ending));
        if ending == Ending::Die {
            return each(&self.control, || Command::Die);
        }
        tracing::info!(node = self.control.node, "stopping");
        each(&self.control, || Command::Stop);
    }

    /// A node that is to end gives its groups away first: whether that still goes on.
    fn is_draining(&mut self, now: Instant) -> bool {
        let Some(governance) = &mut self.governance else {
            return false;
        };
        let until = *self.drains_until.get_or_insert_with(|| {
            tracing::info!(node = self.control.node, "draining");
            governance.drain(true);
            now + DRAIN_MAX
        });
        now < until && !governance.is_drained()
    }

    fn on_report(&mut self, shard: ShardId, mut report: Report) -> Option<Ended> {
        if let Some(governance) = &mut self.governance {
            governance.on_report(shard, &mut report);
        }
        let shards = self.control.shards.len();
        match report {
            Report::Serving { out } => {
                self.serving += 1;
                if self.serving == shards {
                    let took_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(node = self.control.node, out, took_ms, "ready");
                    // An embedder may not care to wait for it.
                    self.control.ready.send(()).ok();
                }
            }
            Report::Stopped { flushed: all } => {
                self.stopped += 1;
                self.flushed &= all;
                tracing::info!(shard = shard.0, flushed = all, "shard stopped");
                if self.stopped == shards {
                    return Some(if self.flushed { Ended::Flushed } else { Ended::Unflushed });
                }
            }
            Report::Failed(error) => {
                tracing::error!(shard = shard.0, %error, "the driver failed: the process ends");
                return Some(self.failed(format!("the driver of shard {} failed: {error}", shard.0)));
            }
            Report::StandStill(ms) => self.begin_standing_still(ms),
            report => {
                if let Report::Listening { notes, .. } = &report {
                    let mut kept = self.control.notes.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend(notes.iter().map(ToString::to_string));
                }
                self.lines.write(&self.control.topology, shard, report, Instant::now());
            }
        }
        None
    }
}

fn each(control: &Control, command: impl Fn() -> Command) {
    for (shard, waker) in control.shards.iter().zip(control.wakers.iter()) {
        tell(shard, waker.get(), command());
    }
}

/// Whether a node's host is a name, not an address.
fn is_named(node: &NodeSpec) -> bool {
    node.host.parse::<std::net::IpAddr>().is_err()
}

fn resolve(control: &Control, unresolved: &mut BTreeSet<NodeId>) {
    unresolved.retain(|id| {
        let Some(node) = control.topology.node(*id) else {
            return false;
        };
        match host::resolve(&node.host) {
            Ok(host) => {
                each(control, || Command::Address { peer: *id, host });
                false
            }
            Err(error) => {
                tracing::warn!(peer = node.name, host = node.host, %error, "a peer's name has no address");
                true
            }
        }
    });
}

/// Writes reports as lines, refusals of strangers at a bounded rate.
#[derive(Default)]
struct Lines {
    second: Option<Instant>,
    refusals: u32,
}

impl Lines {
    /// Whether one more line about a stranger may be written in this second.
    fn may_refuse(&mut self, now: Instant) -> bool {
        if self
            .second
            .is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1))
        {
            self.second = Some(now);
            self.refusals = 0;
        }
        self.refusals += 1;
        if self.refusals == REFUSALS_PER_SECOND {
            tracing::warn!("more connections are refused; the shards' counters say how many and why");
        }
        self.refusals < REFUSALS_PER_SECOND
    }

    fn write(&mut self, topology: &Topology, shard: ShardId, report: Report, now: Instant) {
        let name = |id: NodeId| topology.node(id).map_or("?", |node| node.name.as_str());
        let shard = shard.0;
        match report {
            Report::Listening {
                driver,
                congestion,
                notes,
            } => {
                tracing::info!(shard, %driver, congestion, "listening");
                for note in notes {
                    tracing::warn!(shard, "{note}");
                }
            }
            Report::Waiting { open, groups, missing } => {
                let missing: Vec<&str> = missing.into_iter().map(name).collect();
                tracing::info!(
                    shard,
                    open,
                    groups,
                    without_link = missing.join(" "),
                    "waiting for the groups' members"
                );
            }
            Report::LinkUp { peer, number, epoch } => {
                tracing::info!(shard, peer = name(peer.node), number, epoch, "link up");
            }
            Report::LinkDown { peer, number, cause } => {
                tracing::warn!(shard, peer = name(peer.node), number, cause = ?cause, "link down");
            }
            Report::DialFailed { peer, address, error } => {
                tracing::info!(shard, peer = name(peer), %address, %error, "a peer does not answer; it is dialled again");
            }
            Report::HandshakeRefused {
                peer,
                refusal,
                by_peer,
                topology: theirs,
            } => {
                if self.may_refuse(now) {
                    refused(topology, shard, peer, refusal, by_peer, theirs.as_deref());
                }
            }
            Report::EdgeStranger { peer } => {
                if self.may_refuse(now) {
                    tracing::warn!(shard, %peer, "an MLLP sender on another host was turned away: only this host's are served");
                }
            }
            Report::ClientCut { peer, cause } => {
                if self.may_refuse(now) {
                    tracing::warn!(shard, %peer, cause = ?cause, "a client's connection was ended");
                }
            }
            Report::Happened(happened) => wrote(topology, shard, happened),
            // Words for the controller, and those that are acted on.
            Report::Refused { .. }
            | Report::Propose(_)
            | Report::Control { .. }
            | Report::Groups { .. }
            | Report::StandStill(_)
            | Report::Serving { .. }
            | Report::Stopped { .. }
            | Report::Failed(_) => (),
        }
    }
}

fn refused(
    topology: &Topology,
    shard: u16,
    peer: std::net::SocketAddr,
    refusal: HandshakeRefusal,
    by_peer: bool,
    theirs: Option<&[u8]>,
) {
    let differs = theirs.and_then(|bytes| Topology::from_canonical(bytes).ok());
    let first = differs.and_then(|theirs| topology.first_difference(&theirs));
    let side = if by_peer {
        "the peer refused this node"
    } else {
        "this node refused the peer"
    };
    match first {
        Some(first) => tracing::warn!(shard, %peer, %refusal, first_difference = first, "{side}"),
        None => tracing::warn!(shard, %peer, %refusal, "{side}"),
    }
}

fn wrote(topology: &Topology, shard: u16, happened: Happened) {
    let name = |id: NodeId| topology.node(id).map_or("?", |node| node.name.as_str());
    match happened {
        // Hundreds at a start; "ready" says that all are.
        Happened::GroupOpened { group } => tracing::debug!(shard, group = group.0, "group open"),
        Happened::Out { group, named } => tracing::error!(
            shard,
            group = group.0,
            named = named.0,
            "this process is out: the cluster's groups were born with an earlier one of this name; it serves as mailroom only"
        ),
        Happened::PeerOut { node } => {
            tracing::error!(
                shard,
                peer = name(node),
                "the peer's process is out: groups that it wrote are lost"
            );
        }
        Happened::BirthRefused { group, by, node } => tracing::error!(
            shard,
            group = group.0,
            by = name(by),
            node = name(node),
            "a group cannot be born: a member has met another incarnation"
        ),
        Happened::NoRoom { group } => {
            tracing::warn!(
                shard,
                group = group.0,
                "no memory for the group's log: another member has to hold it, or to write it"
            );
        }
        Happened::StateDiffers { group, seq } => tracing::error!(
            shard,
            group = group.0,
            seq = seq.0,
            "a quorum of the group's members computed another state from the same log: this one takes itself out"
        ),
        Happened::Quarantined { group } => {
            tracing::error!(shard, group = group.0, "no more of the group's log is taken here");
        }
    }
}
