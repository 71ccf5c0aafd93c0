//! A made-up demo, for pictures of the screen and for its tests. No figure here was measured, and none is shown by `waterpark demo`.
//!
//! **Invariant:** it is the same at every call: whatever varies comes from a fixed sequence.

use std::time::Duration;

use super::latency::{AckLatency, Latencies, Sides};
use super::plain::{MemoryParts, Summary};
use super::view::{
    CommandLine, Copies, Cursor, DataCentreView, DemoView, EventLine, FailureView, LinkView, LogState, Memory,
    NodeState, NodeView, Phase, Totals, Weight, ZoneView,
};

/// Data centres, in the order of their columns.
const NAMES: [&str; 4] = ["FL", "TN", "TX", "UT"];
/// Round trips between them, in milliseconds.
const ROUND_TRIPS_MS: [(usize, usize, u64); 6] =
    [(0, 1, 18), (0, 2, 25), (0, 3, 45), (1, 2, 20), (1, 3, 38), (2, 3, 30)];

/// A fixed sequence that looks like chance (a linear congruence).
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Near `centre`, seldom far above it.
    fn near(&mut self, centre: u64, spread: u64) -> u64 {
        let tail = if self.below(60) == 0 { self.below(spread * 8) } else { 0 };
        centre + (0..4).map(|_| self.below(spread)).sum::<u64>() / 4 + tail
    }
}

/// A demo in which nothing is wrong.
#[must_use]
pub(crate) fn calm() -> DemoView {
    let mut sequence = Sequence(11);
    let data_centres = NAMES.iter().map(|name| data_centre(name, &mut sequence)).collect();
    let acks_history = (0..300_u64)
        .map(|second| 1_180 + 160 * (second % 24).abs_diff(12) / 12 + sequence.below(180))
        .collect();
    let links = ROUND_TRIPS_MS
        .iter()
        .map(|(from, to, ms)| LinkView {
            from: *from,
            to: *to,
            configured_us: ms * 1_000,
            now_us: ms * 1_000,
        })
        .collect();
    let mut view = DemoView {
        phase: Phase::Running,
        elapsed: Duration::from_millis(73_400),
        target: Some(Duration::from_secs(120)),
        driver: "io_uring".to_owned(),
        data_centres,
        totals: Totals {
            sent: 93_412,
            acked: 93_371,
            refused: 0,
            unknown: 0,
            in_flight: 41,
            resends: 0,
            acks_per_s: 1_284,
        },
        acks_history,
        latency: latency(&mut sequence),
        copies: Copies {
            groups: 1_024,
            five: 1_024,
            four: 0,
            three: 0,
            fewer: 0,
        },
        failure: None,
        memory: Memory {
            resident_bytes: 611 << 20,
            budget_bytes: 1 << 30,
            log_bytes: 438 << 20,
        },
        links,
        events: Vec::new(),
        commands: commands(),
        cursor: Cursor::default(),
        help: false,
    };
    event(&mut view, 0, Weight::Good, "32 nodes serve, 1,024 groups are open");
    event(
        &mut view,
        1,
        Weight::Note,
        "1,000 MLLP senders connected, one message in flight each",
    );
    view
}

/// A demo with a paused node and a slowed link.
#[must_use]
pub(crate) fn troubled() -> DemoView {
    let mut view = calm();
    let paused = &mut view.data_centres[0].zones[0].nodes[1];
    (paused.state, paused.messages_per_s, paused.acks_per_s) = (NodeState::Paused, 0, 0);
    paused.log = LogState::Down;
    view.failure = Some(failure());
    view.links[2].now_us = 145_000;
    view.cursor = Cursor {
        data_centre: 0,
        node: 1,
        link: 2,
        whole: false,
    };
    view.copies = Copies {
        groups: 1_024,
        five: 846,
        four: 171,
        three: 7,
        fewer: 0,
    };
    view.totals.resends = 12;
    let last = view.acks_history.len();
    view.acks_history[last - 9..last - 6].copy_from_slice(&[640, 412, 890]);
    event(
        &mut view,
        64,
        Weight::Warning,
        "FL-A-2 paused: its groups wait for nothing, four members go on",
    );
    event(&mut view, 66, Weight::Note, "12 messages sent again by their senders");
    event(&mut view, 70, Weight::Warning, "FL-UT slowed from 45 ms to 145 ms");
    view
}

/// What a killed node cost.
#[must_use]
pub(crate) fn failure() -> FailureView {
    FailureView {
        what: "kill FL-A-1".to_owned(),
        at: Duration::from_secs(60),
        ago: Duration::from_millis(13_400),
        groups: 34,
        groups_back: 30,
        patients: 9,
        median_us: 312_000,
        worst_us: 640_000,
        whole_after: Some(Duration::from_millis(3_200)),
    }
}

/// A demo of which nothing is known yet.
#[must_use]
pub(crate) fn empty() -> DemoView {
    DemoView {
        phase: Phase::Starting,
        elapsed: Duration::ZERO,
        target: None,
        driver: String::new(),
        data_centres: Vec::new(),
        totals: Totals::default(),
        acks_history: Vec::new(),
        latency: AckLatency::default(),
        copies: Copies::default(),
        failure: None,
        memory: Memory::default(),
        links: Vec::new(),
        events: Vec::new(),
        commands: Vec::new(),
        cursor: Cursor::default(),
        help: false,
    }
}

/// What every figure at its largest, and every name far too long, would look like.
#[must_use]
pub(crate) fn extreme() -> DemoView {
    let mut view = troubled();
    let most = u64::MAX;
    view.elapsed = Duration::MAX;
    view.target = Some(Duration::from_nanos(1));
    view.driver = "a driver with quite a name, 数据 \u{7} \u{202e}".to_owned();
    view.totals = Totals {
        sent: most,
        acked: most,
        refused: most,
        unknown: most,
        in_flight: most,
        resends: most,
        acks_per_s: most,
    };
    view.acks_history = vec![most; 1_000];
    view.copies = Copies {
        groups: 1,
        five: most,
        four: most,
        three: most,
        fewer: most,
    };
    view.memory = Memory {
        resident_bytes: most,
        budget_bytes: 1,
        log_bytes: most,
    };
    view.cursor = Cursor {
        data_centre: usize::MAX,
        node: usize::MAX,
        link: usize::MAX,
        whole: true,
    };
    view.failure = Some(FailureView {
        what: "a deed with quite a name".repeat(9),
        at: Duration::MAX,
        ago: Duration::MAX,
        groups: most,
        groups_back: most,
        patients: most,
        median_us: most,
        worst_us: most,
        whole_after: Some(Duration::MAX),
    });
    view.links.push(LinkView {
        from: 17,
        to: usize::MAX,
        configured_us: 0,
        now_us: most,
    });
    view.latency.writers_dc.recent = Latencies::of([(0, most), (most, most)].into_iter());
    view.latency.all.whole = Latencies::of([(most, most)].into_iter());
    for (place, there) in view.data_centres.iter_mut().enumerate() {
        there.name.push_str(&"数".repeat(place * 5));
        for node in there.zones.iter_mut().flat_map(|zone| &mut zone.nodes) {
            (
                node.messages_per_s,
                node.acks_per_s,
                node.entries,
                node.log_bytes,
                node.actors,
            ) = (most, most, most, most, most);
        }
    }
    view.data_centres[3].zones.clear();
    event(&mut view, most, Weight::Warning, &"a very long event\n".repeat(40));
    view
}

/// The end of a demo in which nothing went wrong.
#[must_use]
pub(crate) fn summary() -> Summary {
    let AckLatency {
        writers_dc,
        other_dc,
        all,
        ..
    } = calm().latency;
    Summary {
        nodes: 32,
        driver: "io_uring".to_owned(),
        elapsed: Duration::from_secs(30),
        sent: 36_000,
        acked: 36_000,
        refused: 0,
        unknown: 0,
        resends: 12,
        read_back: 36_000,
        lost: 0,
        duplicated: 0,
        writers_dc: writers_dc.whole.quantiles(),
        other_dc: other_dc.whole.quantiles(),
        all: all.whole.quantiles(),
        memory_bytes: 611 << 20,
        budget_bytes: 1 << 30,
        log_bytes: 438 << 20,
        failures: Vec::new(),
        parts: MemoryParts {
            resident: 600 << 20,
            logs: 438 << 20,
            nodes: 110 << 20,
            feed: 2 << 20,
            rest: 50 << 20,
        },
        faults: Vec::new(),
    }
}

fn data_centre(name: &str, sequence: &mut Sequence) -> DataCentreView {
    let zones = ["A", "B"].iter().map(|zone| ZoneView {
        name: (*zone).to_owned(),
        nodes: (1..=4)
            .map(|number| NodeView {
                name: format!("{name}-{zone}-{number}"),
                state: NodeState::Up,
                log: LogState::Up,
                messages_per_s: 30 + sequence.below(22),
                acks_per_s: 30 + sequence.below(22),
                entries: 13_200 + sequence.below(2_600),
                log_bytes: (12 << 20) + sequence.below(4 << 20),
                actors: 280 + sequence.below(90),
            })
            .collect(),
    });
    DataCentreView {
        name: name.to_owned(),
        zones: zones.collect(),
    }
}

/// Acks of a writer's own data centre take the quorum's round trip; the others one more.
fn latency(sequence: &mut Sequence) -> AckLatency {
    let mut draw = |scale: usize, extra_us: [u64; 3]| -> Vec<u64> {
        let mut drawn: Vec<u64> = (0..scale)
            .map(|place| {
                let quorum_us = [18_300, 18_400, 20_300, 30_400][place % 4];
                sequence.near(quorum_us + extra_us[place % 3], 2_400)
            })
            .collect();
        drawn.sort_unstable();
        drawn
    };
    let home = draw(9_000, [0, 0, 0]);
    let others = draw(27_000, [19_000, 27_000, 41_500]);
    let mut all = [&home[..], &others[..]].concat();
    all.sort_unstable();
    let of = |values: &[u64], step: usize| Latencies::of(values.iter().step_by(step).map(|us| (*us, 1)));
    let side = |values: &[u64]| Sides {
        recent: of(values, 6),
        whole: of(values, 1),
    };
    AckLatency {
        recent_s: 5,
        writers_dc: side(&home),
        other_dc: side(&others),
        all: side(&all),
    }
}

fn commands() -> Vec<CommandLine> {
    let rows = [
        (
            "look at a patient",
            "waterpark actor get patient/1001,facility=HOSPX --config /tmp/waterpark-demo/cluster.toml",
        ),
        (
            "where its five copies are",
            "waterpark actor where patient/1001,facility=HOSPX --config /tmp/waterpark-demo/cluster.toml",
        ),
        (
            "send a message of your own",
            "printf '\\013%s\\034\\015' \"$(cat adt.hl7)\" | nc -q 2 127.0.0.1 7128",
        ),
    ];
    rows.iter()
        .map(|(purpose, command)| CommandLine {
            purpose: (*purpose).to_owned(),
            command: (*command).to_owned(),
        })
        .collect()
}

fn event(view: &mut DemoView, at_s: u64, weight: Weight, text: &str) {
    let number = view.events.last().map_or(1, |last| last.number + 1);
    view.events.push(EventLine {
        number,
        at: Duration::from_secs(at_s),
        weight,
        text: text.to_owned(),
    });
}
