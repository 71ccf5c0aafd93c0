//! The faults, each from the calm before it until the cluster is whole again.
//!
//! A round: everything has its copies; a stretch without a fault, which tells the usual latency of each key; the fault; until every key was
//! acked again and for a while longer, because a second fault may follow from the first; then what was lost is started again, until all
//! copies are back. **Invariant:** a round begins only where the cluster was whole, so that no fault finds another one's work undone.

use std::time::Duration;

use rustix::process::Signal;

use super::gaps::Round;
use super::load::Load;
use super::stage::{Direction, Stage};
use crate::timeline::Event;

/// How long nothing is done before a fault.
const CALM: Duration = Duration::from_millis(1_500);
/// The same before a drain, which reads are not to notice: so long that it takes no longer until all keys were acked again for a while.
const CALM_BEFORE_DRAIN: Duration = Duration::from_secs(4);
/// How long all keys may take until they are acked again.
const AGAIN_MAX: Duration = Duration::from_secs(20);
/// How long is looked for more gaps after that.
const SETTLE: Duration = Duration::from_millis(1_000);
/// A stopped process stands still, and a way is cut, at least so long: longer than whatever decides that a node is lost.
const STILL_MIN: Duration = Duration::from_secs(3);
/// How long a node that drains may take to end.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// `kill -9` of the node that writes most groups.
    Kill,
    /// SIGSTOP of the node that writes most groups, and SIGCONT.
    Stop,
    /// SIGTERM to the node that writes most groups.
    Drain,
    /// `kill -9` of all nodes of the data centre that writes most groups.
    Dc,
    /// SIGTERM to all nodes one after another; each is back before the next.
    Rolling,
    /// Nothing passes between the node that writes most groups and any other, and nobody is told; clients reach it.
    Cut,
    /// Nothing that this node sends to others arrives; what they send to it does.
    OneWayOut,
    /// Nothing that others send to this node arrives; what it sends to them does.
    OneWayIn,
    /// As [`Scenario::Cut`], but only between this node and the data centre that holds most copies of what it writes, beside its own.
    Partial,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 9] = [
        Scenario::Kill,
        Scenario::Stop,
        Scenario::Drain,
        Scenario::Dc,
        Scenario::Rolling,
        Scenario::Cut,
        Scenario::OneWayOut,
        Scenario::OneWayIn,
        Scenario::Partial,
    ];

    /// As the command line names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Kill => "kill",
            Scenario::Stop => "stop",
            Scenario::Drain => "drain",
            Scenario::Dc => "dc",
            Scenario::Rolling => "rolling",
            Scenario::Cut => "cut",
            Scenario::OneWayOut => "one-way-out",
            Scenario::OneWayIn => "one-way-in",
            Scenario::Partial => "partial",
        }
    }

    /// What is done to the nodes, in a word.
    fn deed(self) -> &'static str {
        match self {
            Scenario::Kill | Scenario::Dc => "kill",
            Scenario::Drain | Scenario::Rolling => "drain",
            Scenario::Stop | Scenario::Cut | Scenario::OneWayOut | Scenario::OneWayIn | Scenario::Partial => {
                self.name()
            }
        }
    }

    /// Whether processes are left alone, and ways between them are cut.
    pub(super) fn cuts(self) -> bool {
        match self {
            Scenario::Cut | Scenario::OneWayOut | Scenario::OneWayIn | Scenario::Partial => true,
            Scenario::Kill | Scenario::Stop | Scenario::Drain | Scenario::Dc | Scenario::Rolling => false,
        }
    }

    /// Rounds that so many times are, with so many nodes.
    pub(super) fn rounds(self, times: u32, nodes: usize) -> usize {
        match self {
            Scenario::Rolling => times as usize * nodes,
            _ => times as usize,
        }
    }
}

/// What was done by a scenario.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) rounds: Vec<Round>,
    /// Of all rounds, also of one that was cut short.
    pub(super) events: Vec<Event>,
    /// Whether the cluster was whole after the last.
    pub(super) whole: bool,
}

/// What happens, as it happens.
struct Events<'a> {
    load: &'a Load,
    all: Vec<Event>,
}

impl Events<'_> {
    fn note(&mut self, what: &'static str, nodes: Vec<String>, is_fault: bool) {
        self.all.push(Event {
            at: Duration::from_nanos(self.load.now_ns()),
            what,
            nodes,
            is_fault,
        });
    }
}

/// A scenario, so many times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) scenario: Scenario,
    pub(super) times: u32,
}

impl Times {
    /// All rounds, as long as the cluster becomes whole before each.
    pub(super) fn run(self, stage: &mut Stage<'_>, load: &Load, say: &mut impl FnMut(&str)) -> Done {
        let asked = self.scenario.rounds(self.times, stage.nodes());
        let (mut rounds, all) = (Vec::new(), Vec::new());
        let mut events = Events { load, all };
        let mut whole = stage.wait_whole();
        for number in 0..asked {
            if !whole || !stage.goes_on() {
                break;
            }
            let calm_ns = load.now_ns();
            if !stage.wait(self.calm()) {
                break;
            }
            let chosen = stage.choose(self.scenario);
            let victims = match self.scenario {
                Scenario::Rolling => vec![number % stage.nodes()],
                _ => chosen,
            };
            let touched = stage.touched(&victims);
            let wall_ms = wall_ms();
            let fault_ns = load.now_ns();
            let is_round = self.fault(stage, load, &victims, fault_ns, &mut events);
            let until_ns = load.now_ns();
            self.undo(stage, &victims, &mut events);
            whole = stage.wait_whole();
            if whole {
                events.note("whole", Vec::new(), false);
            }
            let whole_ns = load.now_ns();
            let ms = |from: u64, to: u64| (to - from) / 1_000_000;
            say(&format!(
                "{} {}/{asked}: {}, whole after {} ms",
                self.scenario.name(),
                number + 1,
                stage.names(&victims).join(" "),
                ms(fault_ns, whole_ns),
            ));
            if is_round {
                rounds.push(Round {
                    victims: stage.names(&victims),
                    wall_ms,
                    calm_ns,
                    fault_ns,
                    until_ns,
                    whole_ns,
                    touched,
                });
            }
            stage.look_after();
        }
        Done {
            rounds,
            events: events.all,
            whole,
        }
    }

    fn calm(self) -> Duration {
        match self.scenario {
            Scenario::Drain => CALM_BEFORE_DRAIN,
            _ => CALM,
        }
    }

    /// Makes the fault and waits until every key was acked again. `false` if that was cut short.
    fn fault(
        self,
        stage: &mut Stage<'_>,
        load: &Load,
        victims: &[usize],
        fault_ns: u64,
        events: &mut Events<'_>,
    ) -> bool {
        events.note(self.scenario.deed(), stage.names(victims), true);
        match self.scenario {
            Scenario::Kill | Scenario::Dc => stage.signal(victims, Signal::KILL),
            Scenario::Stop => stage.signal(victims, Signal::STOP),
            Scenario::Drain | Scenario::Rolling => {
                stage.signal(victims, Signal::TERM);
                stage.wait_ended(victims, DRAIN_MAX);
                events.note("ended", stage.names(victims), true);
            }
            Scenario::Cut => stage.cut(victims, &stage.all(), Direction::Both),
            Scenario::OneWayOut => stage.cut(victims, &stage.all(), Direction::Out),
            Scenario::OneWayIn => stage.cut(victims, &stage.all(), Direction::In),
            Scenario::Partial => stage.cut(victims, &stage.centre_of_copies(victims), Direction::Both),
        }
        let is_silent = self.scenario == Scenario::Stop || self.scenario.cuts();
        if is_silent && !stage.wait(STILL_MIN) {
            return false;
        }
        // A drained node may have ended long after its last group was gone: what counts is what is acked from now on.
        let since_ns = if matches!(self.scenario, Scenario::Drain | Scenario::Rolling) {
            load.now_ns()
        } else {
            fault_ns
        };
        let again = stage.wait_until(AGAIN_MAX, || load.waiting_since(since_ns) == 0);
        if !again && stage.goes_on() {
            let keys = load.waiting_since(since_ns);
            stage.note(format!("{keys} keys were not acked again within {AGAIN_MAX:?}"));
        }
        stage.wait(SETTLE)
    }

    /// Brings back what was lost. Whoever only was not heard has all that it had, so that nothing would be waited for: it is looked for more gaps
    /// for a while, or a key without an ack in the instant of its return would count as one without any.
    fn undo(self, stage: &mut Stage<'_>, victims: &[usize], events: &mut Events<'_>) {
        match self.scenario {
            Scenario::Stop => {
                stage.signal(victims, Signal::CONT);
                events.note("continue", stage.names(victims), false);
                stage.wait(SETTLE);
            }
            Scenario::Kill | Scenario::Dc | Scenario::Drain | Scenario::Rolling => {
                events.note("start", stage.names(victims), false);
                let back = stage.start_again(victims);
                if !back.is_empty() {
                    events.note("back", stage.names(&back), false);
                }
            }
            Scenario::Cut | Scenario::OneWayOut | Scenario::OneWayIn | Scenario::Partial => {
                stage.heal();
                events.note("heal", Vec::new(), false);
                stage.wait(SETTLE);
            }
        }
    }
}

/// Now, in ms since 1970.
pub(super) fn wall_ms() -> u64 {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(wall.tv_sec * 1_000 + wall.tv_nsec / 1_000_000).unwrap_or(0)
}
