//! The figures, part by part.
//!
//! **Invariant:** a target is that of the figure, and of nothing that is easier to reach; where a machine cannot show the figure itself, the
//! name says what is measured instead.

use std::time::Duration;

use crate::report::Target;

/// How many figures there are.
pub const FIGURES: u8 = 12;

/// What is carried out; one work is for several parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// W128, a closed loop.
    Saturated,
    /// W128 at 100,000 messages a second.
    Planned,
    /// W128 at 1,000 messages a second.
    Quiet,
    /// A message to each actor.
    Cold,
    /// Nodes are killed, data centres are as far apart as the demo's.
    KilledFar,
    /// Nodes are killed, data centres are as near as loopback is.
    KilledNear,
    /// All messages to one actor.
    Hot,
    /// W128, a closed loop on one core, then on two.
    Cores,
    /// A node is lost and begins again with nothing.
    Refill,
    /// Five times what can be taken.
    Overload,
    /// Followers stand still.
    Stopped,
    /// Placements, computed.
    Placement,
}

impl Work {
    /// In the order in which they are carried out.
    pub(super) const ALL: [Work; 12] = [
        Work::Placement,
        Work::Planned,
        Work::Quiet,
        Work::Saturated,
        Work::Cold,
        Work::KilledFar,
        Work::KilledNear,
        Work::Hot,
        Work::Cores,
        Work::Refill,
        Work::Overload,
        Work::Stopped,
    ];

    /// So long after a cluster has ended it is not begun: the kernel takes back the memory behind it, and would be measured too. Tails near what
    /// a machine can do are 20 times longer for some 20 s behind ten GiB.
    pub(super) fn rest(self) -> Duration {
        Duration::from_secs(if self == Work::Planned { 30 } else { 3 })
    }

    /// As it is called while it goes on.
    pub(super) fn name(self) -> &'static str {
        match self {
            Work::Saturated => "w128, closed loop",
            Work::Planned => "w128, 100,000/s",
            Work::Quiet => "w128, 1,000/s",
            Work::Cold => "cold actors",
            Work::KilledFar => "kill",
            Work::KilledNear => "kill, without delays",
            Work::Hot => "hot actor",
            Work::Cores => "one core, then two",
            Work::Refill => "refill",
            Work::Overload => "overload",
            Work::Stopped => "followers stopped",
            Work::Placement => "placement",
        }
    }
}

/// A part of a figure: what has one value and one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`spec` names each, for people")]
pub enum Part {
    Rate,
    P50,
    P99,
    P999,
    CpuSaturated,
    CpuQuiet,
    IdleActor,
    KilledFarP99,
    KilledFarLost,
    KilledNearP99,
    KilledNearLost,
    HotRate,
    TwoCores,
    Given,
    GivenTail,
    GivenLost,
    FollowerCpu,
    LinkBytes,
    Goodput,
    Memory,
    Refusal,
    OneStoppedP99,
    OneStoppedRate,
    TwoStoppedP99,
    TwoStoppedRate,
    Lookup,
    Balance,
    Movement,
}

/// What a part is called, and what is to be reached.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The number of its figure.
    pub figure: u8,
    /// What is measured.
    pub name: &'static str,
    /// In what; empty for a ratio.
    pub unit: &'static str,
    /// What is to be reached.
    pub target: Target,
    pub(super) work: Work,
}

impl Part {
    /// By figure.
    pub(super) const ALL: [Part; 28] = [
        Part::Rate,
        Part::P50,
        Part::P99,
        Part::P999,
        Part::CpuSaturated,
        Part::CpuQuiet,
        Part::IdleActor,
        Part::KilledFarP99,
        Part::KilledFarLost,
        Part::KilledNearP99,
        Part::KilledNearLost,
        Part::HotRate,
        Part::TwoCores,
        Part::Given,
        Part::GivenTail,
        Part::GivenLost,
        Part::FollowerCpu,
        Part::LinkBytes,
        Part::Goodput,
        Part::Memory,
        Part::Refusal,
        Part::OneStoppedP99,
        Part::OneStoppedRate,
        Part::TwoStoppedP99,
        Part::TwoStoppedRate,
        Part::Lookup,
        Part::Balance,
        Part::Movement,
    ];

    /// What it is.
    #[must_use]
    pub fn spec(self) -> Spec {
        use Target::{AtLeast, AtMost};
        let spec = |figure, name, unit, target, work| Spec {
            figure,
            name,
            unit,
            target,
            work,
        };
        match self {
            Part::Rate => spec(
                1,
                "acked, closed loop, generator included",
                "messages/s",
                AtLeast(1e6),
                Work::Saturated,
            ),
            Part::P50 => spec(2, "ack latency p50 at 100,000/s", "us", AtMost(300.0), Work::Planned),
            Part::P99 => spec(2, "ack latency p99 at 100,000/s", "us", AtMost(1_200.0), Work::Planned),
            Part::P999 => spec(
                2,
                "ack latency p99.9 at 100,000/s",
                "us",
                AtMost(4_000.0),
                Work::Planned,
            ),
            Part::CpuSaturated => spec(
                3,
                "cpu of all replicas, closed loop",
                "ns/message",
                AtMost(1_000.0),
                Work::Saturated,
            ),
            Part::CpuQuiet => spec(
                3,
                "cpu of all replicas at 1,000/s",
                "ns/message",
                AtMost(120_000.0),
                Work::Quiet,
            ),
            Part::IdleActor => spec(
                4,
                "idle actor beside its data, mean of five copies",
                "bytes",
                AtMost(64.0),
                Work::Cold,
            ),
            Part::KilledFarP99 => spec(
                5,
                "ack gap after kill -9, p99 of keys, with WAN delays",
                "ms",
                AtMost(1_000.0),
                Work::KilledFar,
            ),
            Part::KilledFarLost => spec(
                5,
                "acked and lost, with WAN delays",
                "messages",
                AtMost(0.0),
                Work::KilledFar,
            ),
            Part::KilledNearP99 => spec(
                5,
                "ack gap after kill -9, p99 of keys, without",
                "ms",
                AtMost(300.0),
                Work::KilledNear,
            ),
            Part::KilledNearLost => spec(5, "acked and lost, without", "messages", AtMost(0.0), Work::KilledNear),
            Part::HotRate => spec(6, "one hot actor, acked", "messages/s", AtLeast(1e6), Work::Hot),
            Part::TwoCores => spec(
                7,
                "acked on two cores by twice that on one, all processes",
                "",
                AtLeast(0.9),
                Work::Cores,
            ),
            Part::Given => spec(
                8,
                "copies given back to a node, on shared cores",
                "GB/s",
                AtLeast(1.0),
                Work::Refill,
            ),
            Part::GivenTail => spec(8, "p99.9 meanwhile by the calm before", "", AtMost(2.0), Work::Refill),
            Part::GivenLost => spec(8, "acked and lost meanwhile", "messages", AtMost(0.0), Work::Refill),
            Part::FollowerCpu => spec(
                9,
                "follower's cpu by the writer's, hot actor",
                "",
                AtMost(0.30),
                Work::Hot,
            ),
            Part::LinkBytes => spec(9, "bytes on links per payload byte", "", AtMost(5.5), Work::Saturated),
            Part::Goodput => spec(
                10,
                "goodput at five times the capacity, by it",
                "",
                AtLeast(0.95),
                Work::Overload,
            ),
            Part::Memory => spec(
                10,
                "memory beyond history, by the history",
                "%",
                AtMost(1.0),
                Work::Overload,
            ),
            Part::Refusal => spec(10, "refusal p99", "us", AtMost(1_000.0), Work::Overload),
            Part::OneStoppedP99 => spec(
                11,
                "one follower stopped: p99 by that without",
                "",
                AtMost(1.1),
                Work::Stopped,
            ),
            Part::OneStoppedRate => spec(
                11,
                "one follower stopped: acked by that without",
                "",
                AtLeast(0.98),
                Work::Stopped,
            ),
            Part::TwoStoppedP99 => spec(
                11,
                "two followers stopped: p99 by that without",
                "",
                AtMost(1.1),
                Work::Stopped,
            ),
            Part::TwoStoppedRate => spec(
                11,
                "two followers stopped: acked by that without",
                "",
                AtLeast(0.98),
                Work::Stopped,
            ),
            Part::Lookup => spec(12, "lookup of all five members", "ns", AtMost(5.0), Work::Placement),
            Part::Balance => spec(
                12,
                "copies and writers of a node, max by mean",
                "",
                AtMost(1.02),
                Work::Placement,
            ),
            Part::Movement => spec(
                12,
                "copies moved by the fewest possible",
                "",
                AtMost(1.05),
                Work::Placement,
            ),
        }
    }
}
