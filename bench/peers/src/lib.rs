//! Other systems on the same work and in the same run: five servers each on this machine, three copies before an ack.
//!
//! | module | what it is |
//! |---|---|
//! | [`peer`] | which peers there are, what they need, what an ack of theirs promises |
//! | `servers` | a peer's processes: started, their CPU time, ended |
//! | `dialect`, `load` | what a connection says, as calculation; what sends over some of them and measures |
//! | `redis`, `erlang`, `nats`, `postgres`, `etcd`, `rabbitmq` | the peers |
//! | [`turn`] | one system's turn from its start to the reading back |
//! | [`judge`] | from all turns to figures, each with its target |
//!
//! Nothing here is needed to build or to test Waterpark: what the host does not have is left out, and named. **Invariant:** a peer is measured by the
//! same rules as Waterpark: from the planned instant, with every message that it acked looked for in all of its servers.

mod dialect;
mod erlang;
pub mod error;
mod etcd;
pub mod judge;
pub mod load;
mod nats;
pub mod peer;
mod postgres;
mod rabbitmq;
mod redis;
mod servers;
pub mod turn;

use std::path::PathBuf;
use std::time::Duration;

use waterpark_bench::run::IN_FLIGHT;
use waterpark_bench::{Pace, Verdict};

pub use error::PeerError;
pub use judge::{Figure, figures};
pub use load::Setting;
pub use peer::{Class, Kind, Spec};
pub use turn::{Best, Stretch, Turn};

/// So long after processes have ended nothing is measured: the kernel takes back their memory behind them.
const REST: Duration = Duration::from_secs(2);

/// Messages under way that Waterpark's closed loop is tried with.
const OWN_IN_FLIGHT: [usize; 3] = [IN_FLIGHT / 2, IN_FLIGHT, IN_FLIGHT * 2];

/// What to measure.
#[derive(Clone, Debug)]
pub struct PeersPlan {
    /// The binary that has `node` as a command.
    pub binary: PathBuf,
    /// `auto`, `io-uring` or `epoll`, for Waterpark's nodes.
    pub driver: String,
    /// Peers that were asked for.
    pub only: Vec<Kind>,
    /// How long messages are sent for one measurement.
    pub time: Duration,
    /// How often each system has its turn.
    pub repeats: u32,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// Actors of every system.
    pub actors: u64,
}

/// What one round gave of one peer, and of Waterpark at the same rate.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// The peer's turn.
    pub turn: Option<Turn>,
    /// Waterpark at the rate that was half of the peer's most.
    pub beside: Option<Stretch>,
    /// Waterpark as fast as acks come back, in the same round.
    pub own_peak: Option<Stretch>,
}

/// A peer that the host has, and all that was seen of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which.
    pub kind: Kind,
    /// What it says of its version.
    pub version: Option<String>,
    /// Its rounds.
    pub rounds: Vec<Round>,
    /// Why something of it is missing, or means nothing.
    pub flaws: Vec<String>,
    /// Whether it does not hold what it acked.
    pub lost: bool,
}

/// A peer that the host does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Which.
    pub kind: Kind,
    /// Programs that are missing.
    pub lacks: Vec<&'static str>,
}

/// What all turns gave.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Waterpark as fast as acks come back, a value for each round in which it was.
    pub own: Vec<Stretch>,
    /// What numbers of messages under way were tried for that, and what each acked a second.
    pub own_tried: Vec<(usize, f64)>,
    /// Why something of it is missing, or means nothing.
    pub own_flaws: Vec<String>,
    /// Whether it does not hold what it acked.
    pub own_lost: bool,
    /// Peers that were measured.
    pub peers: Vec<Seen>,
    /// Those that the host does not have.
    pub absent: Vec<Absent>,
}

/// Measures all systems in turns. `say` is told what goes on, in a few words. Once `go_on` is false it ends early.
pub fn measure(plan: &PeersPlan, say: &mut dyn FnMut(&str), go_on: &dyn Fn() -> bool) -> Comparison {
    let mut comparison = Comparison::default();
    for kind in Kind::ALL.into_iter().filter(|kind| plan.only.contains(kind)) {
        let lacks = kind.lacks();
        let spec = kind.spec();
        if !lacks.is_empty() {
            let (lacking, install) = (lacks.join(", "), spec.install);
            say(&format!(
                "{}: skipped: there is no {lacking}; install {install}",
                spec.name
            ));
            comparison.absent.push(Absent { kind, lacks });
            continue;
        }
        comparison.peers.push(Seen {
            kind,
            version: kind.version(),
            rounds: Vec::new(),
            flaws: Vec::new(),
            lost: false,
        });
    }
    if comparison.peers.is_empty() {
        return comparison;
    }
    let mut in_flight = IN_FLIGHT;
    if plan.repeats > 0 {
        say("waterpark: settings");
        in_flight = comparison.own_sweep(plan, say, go_on);
    }
    for round in 0..plan.repeats {
        if !go_on() {
            break;
        }
        say(&format!("round {} of {}", round + 1, plan.repeats));
        let own_peak = comparison.own_turn(plan, Pace::Closed(in_flight), plan.time, say, go_on);
        comparison.own.extend(own_peak.clone());
        for at in 0..comparison.peers.len() {
            if !go_on() {
                break;
            }
            let turn = comparison.peers[at].turn(plan, say, go_on);
            let rate = turn.as_ref().and_then(|turn| turn.half.rate);
            let beside = rate.and_then(|rate| comparison.own_turn(plan, Pace::Open(rate), plan.time, say, go_on));
            comparison.peers[at].rounds.push(Round {
                turn,
                beside,
                own_peak: own_peak.clone(),
            });
        }
    }
    if !go_on() {
        let all = comparison.peers.iter_mut().map(|seen| &mut seen.flaws);
        all.for_each(|flaws| note(flaws, PeerError::Interrupted.to_string()));
    }
    comparison
}

/// A reason stands once.
fn note(flaws: &mut Vec<String>, flaw: String) {
    if !flaws.contains(&flaw) {
        flaws.push(flaw);
    }
}

impl Comparison {
    /// Tries some numbers of messages under way for the most acks, as it is done for peers.
    fn own_sweep(&mut self, plan: &PeersPlan, say: &mut dyn FnMut(&str), go_on: &dyn Fn() -> bool) -> usize {
        for in_flight in OWN_IN_FLIGHT {
            let time = turn::try_time(plan.time);
            if let Some(stretch) = self.own_turn(plan, Pace::Closed(in_flight), time, say, go_on) {
                say(&format!("waterpark: {in_flight}: {:.0} acked/s", stretch.acked_per_s));
                self.own_tried.push((in_flight, stretch.acked_per_s));
            }
        }
        self.own_in_flight()
    }

    /// How many messages Waterpark has under way in its closed loops.
    #[must_use]
    pub fn own_in_flight(&self) -> usize {
        let fastest = self.own_tried.iter().max_by(|one, other| one.1.total_cmp(&other.1));
        fastest.map_or(IN_FLIGHT, |(in_flight, _)| *in_flight)
    }

    fn own_turn(
        &mut self,
        plan: &PeersPlan,
        pace: Pace,
        time: Duration,
        say: &mut dyn FnMut(&str),
        go_on: &dyn Fn() -> bool,
    ) -> Option<Stretch> {
        std::thread::sleep(REST);
        if !go_on() {
            return None;
        }
        let mut say = |what: &str| say(&format!("waterpark: {what}"));
        match turn::of_waterpark(plan, pace, time, &mut say, go_on) {
            // What was cut short says nothing.
            Ok(_) if !go_on() => None,
            Ok((stretch, report)) => {
                if report.verdict == Verdict::Fail {
                    self.own_lost = true;
                    note(
                        &mut self.own_flaws,
                        "FAIL: not everything acked is held as it must be".to_owned(),
                    );
                }
                Some(stretch)
            }
            Err(error) => {
                note(&mut self.own_flaws, format!("no measurement: {error}"));
                None
            }
        }
    }
}

impl Seen {
    /// What it was loaded with so far.
    #[must_use]
    pub fn best(&self) -> Option<Best> {
        let mut turns = self.rounds.iter().filter_map(|round| round.turn.as_ref());
        turns.next().map(|turn| turn.best)
    }

    fn turn(&mut self, plan: &PeersPlan, say: &mut dyn FnMut(&str), go_on: &dyn Fn() -> bool) -> Option<Turn> {
        std::thread::sleep(REST);
        let name = self.kind.spec().name;
        let mut say = |what: &str| say(&format!("{name}: {what}"));
        match turn::of_peer(self.kind, plan, self.best(), &mut say, go_on) {
            Ok(turn) => {
                if !turn.findings.is_clean() {
                    self.lost = true;
                    let said = turn.findings.said.join("; ");
                    note(
                        &mut self.flaws,
                        format!("FAIL: not everything acked is held as it must be: {said}"),
                    );
                }
                Some(turn)
            }
            Err(error) => {
                note(&mut self.flaws, format!("no measurement: {error}"));
                None
            }
        }
    }
}
