//! The control thread: writes down what the shards report, resolves peers' names, watches that the shards turn, and carries "stop" to them.
//!
//! It never touches data, and no shard waits for it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use waterpark_core::effects::Happened;
use waterpark_core::ids::{NodeId, ShardId};
use waterpark_reactor::Waker;
use waterpark_reactor::event_loop::{Command, Report, StartError};
use waterpark_reactor::turn::{Judge, TurnCounter, Verdict};
use waterpark_ring::Topology;
use waterpark_wire::handshake::HandshakeRefusal;

use crate::host;
use crate::node::{Ended, tell};

/// How often it looks around when nothing is reported.
const PERIOD: Duration = Duration::from_millis(50);
/// The same before all shards serve, so that "ready" is said when it is so.
const PERIOD_STARTING: Duration = Duration::from_millis(2);
/// How often names are looked up that had no address.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);
/// How long after "stop" the shards may take; their own limit is shorter.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Lines about refused connections at most per second; the rest is counted in the shards.
const REFUSALS_PER_SECOND: u32 = 20;

/// Control's ends of the ways to one shard.
#[derive(Debug)]
pub(crate) struct ShardEnd {
    pub(crate) command: Sender<Command>,
    pub(crate) started: Receiver<Result<(), StartError>>,
}

/// What the control thread is given.
pub(crate) struct Control {
    pub(crate) node: String,
    pub(crate) topology: Topology,
    pub(crate) shards: Vec<ShardEnd>,
    pub(crate) wakers: Arc<[OnceLock<Waker>]>,
    pub(crate) turns: Arc<[TurnCounter]>,
    pub(crate) reports: Receiver<(ShardId, Report)>,
    pub(crate) wanted: Arc<AtomicBool>,
    /// What drivers said when they opened.
    pub(crate) notes: Arc<Mutex<Vec<String>>>,
    pub(crate) ready: Sender<()>,
}

/// Runs until all shards have ended, or one has failed.
pub(crate) fn run(control: Control) -> Ended {
    let begun = Instant::now();
    let mut judge = Judge::new(Arc::clone(&control.turns), None);
    let mut unresolved: BTreeSet<NodeId> = control
        .topology
        .nodes()
        .iter()
        .filter(|node| node.host.parse::<std::net::IpAddr>().is_err())
        .map(|node| node.id)
        .collect();
    let mut resolve_at = begun;
    let mut serving = 0;
    let mut stopped = 0;
    let mut flushed = true;
    let mut told: Option<Instant> = None;
    let mut lines = Lines::default();
    loop {
        // It sleeps instead of waiting on the channel: a shard that reports then never has to wake it.
        let report = control.reports.try_recv().or_else(|nothing| match nothing {
            TryRecvError::Empty => {
                std::thread::sleep(if serving < control.shards.len() {
                    PERIOD_STARTING
                } else {
                    PERIOD
                });
                control.reports.try_recv()
            }
            TryRecvError::Disconnected => Err(nothing),
        });
        let now = Instant::now();
        let mut hung = None;
        judge.on_turn(now.duration_since(begun), |verdict| match verdict {
            Verdict::Silent { shard } => tracing::warn!(shard, "a shard does not turn"),
            Verdict::Recovered { shard } => tracing::info!(shard, "the shard turns again"),
            Verdict::Hung { shard } => hung = Some(shard),
        });
        if let Some(shard) = hung.filter(|_| stopped == 0) {
            tracing::error!(
                shard,
                "a shard hangs: the process ends, its groups are better served by others"
            );
            return Ended::Failed;
        }
        match report {
            Ok((_, Report::Serving { out })) => {
                serving += 1;
                if serving == control.shards.len() {
                    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(node = control.node, out, took_ms, "ready");
                    // An embedder may not care to wait for it.
                    control.ready.send(()).ok();
                }
            }
            Ok((shard, Report::Stopped { flushed: all })) => {
                stopped += 1;
                flushed &= all;
                tracing::info!(shard = shard.0, flushed = all, "shard stopped");
                if stopped == control.shards.len() {
                    return if flushed { Ended::Flushed } else { Ended::Unflushed };
                }
            }
            Ok((shard, Report::Failed(error))) => {
                tracing::error!(shard = shard.0, %error, "the driver failed: the process ends");
                return Ended::Failed;
            }
            Ok((shard, report)) => {
                if let Report::Listening { notes, .. } = &report {
                    let mut kept = control.notes.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend(notes.iter().map(ToString::to_string));
                }
                lines.write(&control.topology, shard, report, now);
            }
            Err(TryRecvError::Empty) => (),
            // A shard that panicked took its end with it.
            Err(TryRecvError::Disconnected) => return Ended::Failed,
        }
        if told.is_none() && control.wanted.load(Ordering::Acquire) {
            told = Some(now);
            tracing::info!(node = control.node, "stopping");
            each(&control, || Command::Stop);
        }
        if told.is_some_and(|told| now.duration_since(told) > STOP_MAX) {
            tracing::error!("the shards do not stop");
            return Ended::Failed;
        }
        if !unresolved.is_empty() && now >= resolve_at {
            resolve_at = now + RESOLVE_AGAIN;
            resolve(&control, &mut unresolved);
        }
    }
}

fn each(control: &Control, command: impl Fn() -> Command) {
    for (end, waker) in control.shards.iter().zip(control.wakers.iter()) {
        tell(&end.command, waker.get(), command());
    }
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
                tracing::info!(shard, peer = name(peer), number, epoch, "link up");
            }
            Report::LinkDown { peer, number, cause } => {
                tracing::warn!(shard, peer = name(peer), number, cause = ?cause, "link down");
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
            Report::Serving { .. } | Report::Stopped { .. } | Report::Failed(_) => (),
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
        Happened::Quarantined { group } => {
            tracing::error!(
                shard,
                group = group.0,
                "a run contradicts the group's log: no more of it is taken here"
            );
        }
    }
}
