//! The node's controller on the control thread: its inputs from the shards, its voter file, and what it wants done.
//!
//! It decides nothing. **Invariant:** nothing that the controller said after a write leaves before that write is durable: the controller keeps
//! it back, and is told by the return of the write itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use waterpark_core::controller::{Controller, Doing, End, Note, Setup};
use waterpark_core::ids::{NodeId, ShardId};
use waterpark_core::rules::Production;
use waterpark_core::time::Now;
use waterpark_core::topology_log::consensus::{Birth, Write};
use waterpark_core::topology_log::{EntryError, Presence};
use waterpark_reactor::event_loop::{Command, Report, now};
use waterpark_ring::Topology;

use crate::voter_file::{VoterFile, VoterFileError};

/// What a controller needs, made on the starting thread.
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    pub(crate) path: PathBuf,
    pub(crate) first: Option<Birth>,
}

/// What one node knows of all.
#[derive(Clone, Debug, Default)]
pub struct Presences {
    /// How far it knows the topology log.
    pub position: u64,
    /// What the log says there of the nodes that ever were.
    pub nodes: BTreeMap<NodeId, Presence>,
}

/// The controller of a node and its file.
pub(crate) struct Governance {
    controller: Controller<Production>,
    file: Option<VoterFile>,
    path: PathBuf,
    topology: Topology,
    /// It is another one than was last looked at.
    has_other_nodes: bool,
    /// What the log says of the nodes, for the node's owner to look at.
    presences: Arc<Mutex<Presences>>,
    ticked_ns: u64,
    writes: Vec<Write>,
    doing: Vec<Doing>,
}

/// Why a process has to end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fatal {
    #[error(transparent)]
    File(#[from] VoterFileError),
    #[error(
        "a newer process of this node's name has joined the cluster (incarnation {by}): two of one name run, or this one was replaced\n  \
         leave the newer one, or end it and start this node again"
    )]
    Replaced { by: u64 },
    #[error(
        "an operator declared this process gone for good (`waterpark cluster forget`), and groups may have gone on without what it holds\n  \
         start this node again: it comes back empty, and gets its groups from the others"
    )]
    Gone,
    #[error(
        "the topology log has this node as {name} at {host}:{port} with {shards} shards, and its configuration has it otherwise\n  \
         give it the configuration with which it joined"
    )]
    Differs {
        name: String,
        host: String,
        port: u16,
        shards: u16,
    },
    #[error(
        "this node has left the cluster for good (`waterpark cluster forget`)\n  \
         a server that is to come back joins under another name and id"
    )]
    Left,
    #[error(
        "entry {position} of the topology log cannot be read here: {error}\n  \
         a newer release wrote it; start this node with that release"
    )]
    Unreadable { position: u64, error: EntryError },
}

/// A write to the voter file that takes longer is worth a line: about so long the other voters wait for a word of their leader.
const SLOW_WRITE: Duration = Duration::from_millis(200);
/// How often the controller is told that time has passed, in ns.
const TICK_NS: u64 = 5_000_000;

impl Governance {
    /// Opens the voter file, if the node has one, and begins.
    ///
    /// # Errors
    /// When there is a file and it is not to be believed.
    pub(crate) fn open(plan: Plan, presences: Arc<Mutex<Presences>>) -> Result<Governance, VoterFileError> {
        let Plan { setup, path, first } = plan;
        let topology = setup.topology.clone();
        let begun = now();
        let opened = VoterFile::open(&path, topology.spec().cluster, first.as_ref(), |birth, file| {
            Controller::new(setup.clone(), begun, Some((birth, file)))
        })?;
        let (file, controller) = match opened {
            Some((file, controller)) => (Some(file), controller),
            None => {
                let (controller, _) = Controller::new(setup, begun, None).expect("a learner has no file to refuse");
                (None, controller)
            }
        };
        Ok(Governance {
            controller,
            file,
            path,
            topology,
            has_other_nodes: false,
            presences,
            ticked_ns: 0,
            writes: Vec::new(),
            doing: Vec::new(),
        })
    }

    /// What a shard reports, as far as it is the controller's business.
    pub(crate) fn on_report(&mut self, shard: ShardId, report: &mut Report) {
        let now = now();
        match report {
            Report::LinkUp { peer, .. } => self.controller.on_met(now, *peer),
            Report::LinkDown { peer, .. } => self.controller.on_closed(now, *peer),
            Report::Refused { peer } => self.controller.on_refused(now, *peer),
            Report::Control { from, message } => self.controller.on_message(now, *from, message),
            Report::Propose(entry) => self.controller.propose(entry),
            Report::Groups { heard, groups } => {
                self.controller.on_heard(now, heard);
                self.controller.on_reports(shard.0, std::mem::take(groups));
            }
            _ => (),
        }
    }

    /// This node shall lose its memberships, or have some again.
    pub(crate) fn drain(&mut self, drains: bool) {
        self.controller.drain(drains);
    }

    /// Whether it has lost them.
    pub(crate) fn is_drained(&self) -> bool {
        self.controller.is_drained()
    }

    /// The nodes that belong to the cluster, if they are others than when this was last asked.
    pub(crate) fn take_topology(&mut self) -> Option<Topology> {
        std::mem::take(&mut self.has_other_nodes).then(|| self.topology.clone())
    }

    /// Does what the controller wants, once all reports that were there have been taken.
    ///
    /// # Errors
    /// When the process has to end.
    pub(crate) fn turn(&mut self, shards: &[Sender<Command>], wake: impl Fn(usize)) -> Result<(), Fatal> {
        let now: Now = now();
        if now.monotonic_ns.saturating_sub(self.ticked_ns) >= TICK_NS {
            self.ticked_ns = now.monotonic_ns;
            self.controller.on_tick(now);
        }
        let mut woken = vec![false; shards.len()];
        loop {
            let mut doing = std::mem::take(&mut self.doing);
            self.controller.take_doing(&mut doing);
            if doing.is_empty() {
                self.doing = doing;
                break;
            }
            for doing in doing.drain(..) {
                self.act(doing, shards, &mut woken)?;
            }
            self.doing = doing;
            // All records of a turn in one write, behind which what they allow leaves.
            if let Some(file) = &mut self.file {
                let begun = Instant::now();
                let durable = file.append(&self.writes)?;
                self.writes.clear();
                let took = begun.elapsed();
                if took >= SLOW_WRITE {
                    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(
                        took_ms,
                        "the voter file is slow: this node's part of consensus stood still meanwhile"
                    );
                }
                if let Some(upto) = durable {
                    self.controller.on_durable(upto);
                }
            }
        }
        woken
            .iter()
            .enumerate()
            .filter(|(_, woken)| **woken)
            .for_each(|(shard, _)| wake(shard));
        Ok(())
    }

    fn act(&mut self, doing: Doing, shards: &[Sender<Command>], woken: &mut [bool]) -> Result<(), Fatal> {
        let mut send = |shard: usize, command: Command| {
            // A shard that has ended wants no more commands.
            woken[shard] |= shards[shard].send(command).is_ok();
        };
        match doing {
            // Shard 0 has a link to every node.
            Doing::Send { to, bytes } => send(0, Command::Control { to, message: bytes }),
            Doing::Write(write) => self.writes.push(write),
            Doing::Birth(file) => self.begin(&file),
            Doing::State(state) => {
                self.presences().position = state.position();
                let state = Arc::new(*state);
                for shard in 0..shards.len() {
                    send(shard, Command::State(Arc::clone(&state)));
                }
            }
            Doing::Decided { position, stamp, entry } => {
                self.presences().position = position;
                let entry = Arc::new(*entry);
                for shard in 0..shards.len() {
                    let entry = Arc::clone(&entry);
                    send(shard, Command::Decided { position, stamp, entry });
                }
            }
            Doing::Note(Note::Topology(topology)) => {
                self.topology = *topology;
                self.has_other_nodes = true;
            }
            Doing::Note(note) => self.note(note),
            Doing::End(End::Gone) => return Err(Fatal::Gone),
            Doing::End(End::Left) => return Err(Fatal::Left),
            Doing::End(End::Differs { logged }) => {
                return Err(Fatal::Differs {
                    name: logged.name,
                    host: logged.host,
                    port: logged.port,
                    shards: logged.shards,
                });
            }
            Doing::End(End::Replaced { by }) => return Err(Fatal::Replaced { by: by.0 }),
            Doing::End(End::Unreadable { position, error }) => return Err(Fatal::Unreadable { position, error }),
        }
        Ok(())
    }

    /// Begins the file of another vote. One that cannot be begun is nobody's vote, and the node goes on without it: others will be asked.
    fn begin(&mut self, bytes: &[u8]) {
        // What was to be written to the file before matters no more.
        self.writes.clear();
        let begun = VoterFile::begin(&self.path, bytes);
        let is_durable = begun.is_ok();
        match begun {
            Ok(file) => self.file = Some(file),
            Err(VoterFileError::Write { path, cause }) => tracing::error!(
                path = %path.display(), %cause,
                "this node was given a vote, and its file cannot be begun: it does not vote, and another will be asked"
            ),
            Err(error) => tracing::error!(%error, "this node was given a vote, and does not take it"),
        }
        self.controller.on_born(now(), is_durable);
    }

    fn presences(&self) -> MutexGuard<'_, Presences> {
        self.presences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, note: Note) {
        let name = |id: NodeId| self.topology.node(id).map_or("?", |node| node.name.as_str());
        match note {
            Note::Leader(Some(leader)) => tracing::info!(leader = name(leader), "the voters have a leader"),
            Note::Leader(None) => tracing::warn!("no leader of the voters is known"),
            Note::Node { member, presence } => {
                self.presences().nodes.insert(member.node, presence);
                let (node, incarnation) = (name(member.node), member.incarnation.0);
                match presence {
                    Presence::Up => tracing::info!(node, incarnation, "node up"),
                    Presence::Down => tracing::warn!(node, incarnation, "node down"),
                    Presence::Draining => tracing::info!(node, incarnation, "node drains"),
                    Presence::Gone => tracing::warn!(node, incarnation, "node gone for good, as an operator said"),
                    Presence::Joined => tracing::info!(node, "node joined"),
                    Presence::Left => tracing::info!(node, incarnation, "node left for good"),
                    Presence::Unknown => (),
                }
            }
            // Acted on where it came.
            Note::Topology(_) => (),
            Note::Voters { configuration, nodes } => {
                let nodes: Vec<&str> = nodes.into_iter().map(name).collect();
                tracing::info!(
                    configuration,
                    voters = nodes.join(" "),
                    "others vote, or the same with new files"
                );
            }
            Note::Votes(true) => tracing::info!("this node votes"),
            Note::Votes(false) => tracing::info!("this node votes no more: another has its vote"),
            Note::Groups { active, pending } => tracing::info!(active, pending, "groups have new Configs"),
            Note::Refused { from, error } => {
                tracing::warn!(peer = name(from), %error, "a controller's message was not taken");
            }
        }
    }
}
