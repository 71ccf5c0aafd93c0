//! The data of one picture: what the demo knows at one moment, in the order in which the screen tells it.
//!
//! Nothing here is measured or remembered; whoever runs the demo fills it anew for each picture. It deliberately knows no size of a terminal
//! and no colour. **Invariant:** any value is drawable: empty lists, a cursor on a node that is not there, counters at their largest.

use std::time::Duration;

use super::figures::{count, latency};
use super::keys::Key;
use super::latency::AckLatency;

/// What the demo is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nodes come up and groups are born; nothing is sent yet.
    Starting,
    /// The feed runs.
    Running,
    /// The feed has ended; what is in flight is waited for.
    Draining,
    /// What was acked is read back and compared.
    ReadingBack,
}

impl Phase {
    /// In words, as the title line has it.
    #[must_use]
    pub(crate) fn words(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Draining => "waiting for the last acks",
            Phase::ReadingBack => "reading back what was acked",
        }
    }
}

/// Whether a node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeState {
    /// It is not ready yet.
    Starting,
    /// It serves.
    Up,
    /// Its thread stands still: sockets stay open, nothing is answered.
    Paused,
    /// Its links carry nothing.
    Cut,
    /// It was asked to give its groups away.
    Draining,
    /// It is gone, with all that it held.
    Killed,
}

impl NodeState {
    /// In one word.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            NodeState::Starting => "starting",
            NodeState::Up => "up",
            NodeState::Paused => "paused",
            NodeState::Cut => "cut off",
            NodeState::Draining => "draining",
            NodeState::Killed => "killed",
        }
    }

    /// As one sign, each of another shape, so that it is told without colour.
    #[must_use]
    pub(crate) fn sign(self) -> char {
        match self {
            NodeState::Starting => '○',
            NodeState::Up => '●',
            NodeState::Paused => '‖',
            NodeState::Cut => '≠',
            NodeState::Draining => '◐',
            NodeState::Killed => '×',
        }
    }
}

/// What the topology log says of a node. It may learn late what was done, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogState {
    /// Nothing, or nobody is there to ask.
    Unknown,
    /// It is there.
    Up,
    /// It is there, and loses its groups.
    Draining,
    /// It is not heard.
    Down,
}

impl LogState {
    /// In one word.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            LogState::Unknown => "unknown",
            LogState::Up => "up",
            LogState::Draining => "draining",
            LogState::Down => "down",
        }
    }

    /// As one sign behind what was done to the node; nothing where all is well.
    #[must_use]
    pub(crate) fn mark(self) -> &'static str {
        match self {
            LogState::Unknown | LogState::Up | LogState::Draining => "",
            LogState::Down => " ↓",
        }
    }
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct NodeView {
    /// Its name, like `FL-A-1`.
    pub(crate) name: String,
    /// Whether it serves.
    pub(crate) state: NodeState,
    /// What the topology log says of it.
    pub(crate) log: LogState,
    /// HL7 messages that entered at it, per second.
    pub(crate) messages_per_s: u64,
    /// Acks that it gave to senders, per second.
    pub(crate) acks_per_s: u64,
    /// Entries that it holds in its logs: copies, its own and those of others' groups.
    pub(crate) entries: u64,
    /// Bytes of its logs.
    pub(crate) log_bytes: u64,
    /// Actors of the groups that it writes.
    pub(crate) actors: u64,
}

/// Nodes that fail together.
#[derive(Clone, Debug)]
pub(crate) struct ZoneView {
    /// Its name, like `A`.
    pub(crate) name: String,
    /// Its nodes, by name.
    pub(crate) nodes: Vec<NodeView>,
}

/// One data centre.
#[derive(Clone, Debug)]
pub(crate) struct DataCentreView {
    /// Its name, like `FL`.
    pub(crate) name: String,
    /// Its zones, by name.
    pub(crate) zones: Vec<ZoneView>,
}

impl DataCentreView {
    /// All nodes, zone by zone.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeView> {
        self.zones.iter().flat_map(|zone| &zone.nodes)
    }
}

/// What became of the messages, counted since the feed began. Re-sends are attempts, not messages: sent = acked + refused + unknown + in flight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Messages sent.
    pub(crate) sent: u64,
    /// Messages that were acked: three members hold each.
    pub(crate) acked: u64,
    /// Messages that were refused for good.
    pub(crate) refused: u64,
    /// Messages of which nothing is known.
    pub(crate) unknown: u64,
    /// Messages that wait for their ack.
    pub(crate) in_flight: u64,
    /// Further attempts for messages that were sent before.
    pub(crate) resends: u64,
    /// Acks per second, now.
    pub(crate) acks_per_s: u64,
}

/// How many copies there are of what groups hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copies {
    /// All groups.
    pub(crate) groups: u64,
    /// Groups of which all five members hold everything that is committed.
    pub(crate) five: u64,
    /// Groups of which four do.
    pub(crate) four: u64,
    /// Groups of which three do, the fewest that an ack allows.
    pub(crate) three: u64,
    /// Groups that cannot commit now, since fewer than three members answer. What they acked before is held by those that do not.
    pub(crate) fewer: u64,
}

/// Memory of all nodes together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Bytes of the process that are resident, as the kernel says.
    pub(crate) resident_bytes: u64,
    /// Bytes that the nodes may take, all together.
    pub(crate) budget_bytes: u64,
    /// Bytes of all logs, counted once per copy.
    pub(crate) log_bytes: u64,
}

/// The way between two data centres.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkView {
    /// One end: an index into [`DemoView::data_centres`].
    pub(crate) from: usize,
    /// The other end.
    pub(crate) to: usize,
    /// The round trip that is configured, in microseconds.
    pub(crate) configured_us: u64,
    /// The round trip now, in microseconds. Larger when the link was slowed by a key.
    pub(crate) now_us: u64,
}

impl LinkView {
    /// Whether somebody slowed it.
    #[must_use]
    pub(crate) fn is_slowed(&self) -> bool {
        self.now_us > self.configured_us
    }
}

/// What a failure cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FailureView {
    /// What was done to whom, like `kill FL-A-1`.
    pub(crate) what: String,
    /// When, since the feed began.
    pub(crate) at: Duration,
    /// When, since then.
    pub(crate) ago: Duration,
    /// Groups that were written there.
    pub(crate) groups: u64,
    /// Of these, those that were acked again, or were given away.
    pub(crate) groups_back: u64,
    /// Patients of which a message waited.
    pub(crate) patients: u64,
    /// What the one in the middle waited beyond its usual ack latency, in microseconds.
    pub(crate) median_us: u64,
    /// What the worst did.
    pub(crate) worst_us: u64,
    /// When every group had five copies again.
    pub(crate) whole_after: Option<Duration>,
}

impl FailureView {
    /// In a sentence, for events and the summary.
    #[must_use]
    pub(crate) fn sentence(&self) -> String {
        let whole = match self.whole_after {
            Some(after) => format!("five copies again after {:.1} s", after.as_secs_f64()),
            None => "not all copies are back".to_owned(),
        };
        format!("{}: {}; {whole}", self.what, self.cost())
    }

    /// Whom it hit, and what it cost them.
    #[must_use]
    pub(crate) fn cost(&self) -> String {
        if self.patients == 0 {
            return format!("{} groups hit, no patient waited", count(self.groups));
        }
        format!(
            "{} groups hit, {} patients waited, median {}, worst {}",
            count(self.groups),
            count(self.patients),
            latency(self.median_us),
            latency(self.worst_us)
        )
    }
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Something is worse than before.
    Warning,
}

impl Weight {
    /// As one sign, so that it is told without colour.
    #[must_use]
    pub(crate) fn sign(self) -> char {
        match self {
            Weight::Good => '+',
            Weight::Note => '·',
            Weight::Warning => '!',
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct EventLine {
    /// Counts the demo's events from 1, so that plain lines tell each once.
    pub(crate) number: u64,
    /// When, since the feed began.
    pub(crate) at: Duration,
    /// How much it matters.
    pub(crate) weight: Weight,
    /// What, like `FL-A-2 paused`.
    pub(crate) text: String,
}

/// A line for another shell.
#[derive(Clone, Debug)]
pub(crate) struct CommandLine {
    /// What it is for, in a few words.
    pub(crate) purpose: String,
    /// The command, whole.
    pub(crate) command: String,
}

/// Where the cursors stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The data centre of the selected node: an index into [`DemoView::data_centres`].
    pub(crate) data_centre: usize,
    /// The selected node: its place among the nodes of its data centre, zone by zone.
    pub(crate) node: usize,
    /// The selected link: an index into [`DemoView::links`].
    pub(crate) link: usize,
    /// Not the node is selected but all of its data centre.
    pub(crate) whole: bool,
}

/// Everything that one picture shows.
#[derive(Clone, Debug)]
pub(crate) struct DemoView {
    /// What the demo is doing.
    pub(crate) phase: Phase,
    /// Time since the feed began.
    pub(crate) elapsed: Duration,
    /// How long the feed is to run. `None`: until somebody ends it.
    pub(crate) target: Option<Duration>,
    /// What serves the sockets: `io_uring` or `epoll`.
    pub(crate) driver: String,
    /// The data centres, in the order of their columns.
    pub(crate) data_centres: Vec<DataCentreView>,
    /// What became of the messages.
    pub(crate) totals: Totals,
    /// Acks in each second of the last minutes, the newest last.
    pub(crate) acks_history: Vec<u64>,
    /// How long acks took.
    pub(crate) latency: AckLatency,
    /// How many copies there are.
    pub(crate) copies: Copies,
    /// What the last failure cost, if there was one.
    pub(crate) failure: Option<FailureView>,
    /// How full the memory is.
    pub(crate) memory: Memory,
    /// Each pair of data centres once.
    pub(crate) links: Vec<LinkView>,
    /// The last events, the newest last.
    pub(crate) events: Vec<EventLine>,
    /// Lines for another shell, the most useful first.
    pub(crate) commands: Vec<CommandLine>,
    /// Where the cursors stand.
    pub(crate) cursor: Cursor,
    /// Whether the explanation of keys and figures covers the picture.
    pub(crate) help: bool,
}

impl DemoView {
    /// All nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeView> {
        self.data_centres.iter().flat_map(DataCentreView::nodes)
    }

    /// Of how many nodes the topology log says this.
    #[must_use]
    pub(crate) fn nodes_in(&self, log: LogState) -> usize {
        self.nodes().filter(|node| node.log == log).count()
    }

    /// How many nodes are up, as the topology log has it.
    #[must_use]
    pub(crate) fn nodes_up(&self) -> usize {
        self.nodes_in(LogState::Up)
    }

    /// Whether the cursor selects a node, by data centre and place: itself, or its whole data centre.
    #[must_use]
    pub(crate) fn is_selected(&self, data_centre: usize, node: usize) -> bool {
        self.cursor.data_centre == data_centre && (self.cursor.whole || self.cursor.node == node)
    }

    /// The node under the cursor, if the cursor stands on one.
    #[must_use]
    pub(crate) fn selected(&self) -> Option<&NodeView> {
        self.data_centres
            .get(self.cursor.data_centre)?
            .nodes()
            .nth(self.cursor.node)
    }

    /// The link between two data centres, in whichever order.
    #[must_use]
    pub(crate) fn link(&self, one: usize, other: usize) -> Option<&LinkView> {
        self.links
            .iter()
            .find(|link| (link.from, link.to) == (one, other) || (link.from, link.to) == (other, one))
    }

    /// The cursors after a key. Keys that move none leave them; a cursor never leaves the nodes that there are, and links go round.
    #[must_use]
    pub(crate) fn moved(&self, key: Key) -> Cursor {
        let mut cursor = self.cursor;
        let nodes = |data_centre: usize| {
            self.data_centres
                .get(data_centre)
                .map_or(0, |there| there.nodes().count())
        };
        match key {
            Key::Up => cursor.node = cursor.node.saturating_sub(1),
            Key::Down => cursor.node = cursor.node.saturating_add(1),
            Key::Left => cursor.data_centre = cursor.data_centre.saturating_sub(1),
            Key::Right => cursor.data_centre = cursor.data_centre.saturating_add(1),
            Key::NextNode if cursor.node.saturating_add(1) < nodes(cursor.data_centre) => cursor.node += 1,
            Key::NextNode => {
                cursor.node = 0;
                cursor.data_centre = (cursor.data_centre.saturating_add(1)) % self.data_centres.len().max(1);
            }
            Key::PreviousNode if cursor.node > 0 => cursor.node -= 1,
            Key::PreviousNode => {
                cursor.data_centre = cursor
                    .data_centre
                    .checked_sub(1)
                    .unwrap_or(self.data_centres.len().saturating_sub(1));
                cursor.node = usize::MAX;
            }
            Key::Whole => cursor.whole = !cursor.whole,
            Key::NextLink => cursor.link = cursor.link.saturating_add(1) % self.links.len().max(1),
            Key::Quit
            | Key::PauseOrResume
            | Key::Kill
            | Key::Lose
            | Key::Cut
            | Key::Drain
            | Key::Restore
            | Key::SlowLink
            | Key::Help
            | Key::Redraw => (),
        }
        cursor.data_centre = cursor.data_centre.min(self.data_centres.len().saturating_sub(1));
        cursor.node = cursor.node.min(nodes(cursor.data_centre).saturating_sub(1));
        cursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo_screen::sample;

    #[test]
    fn cursor_stays_on_the_nodes_that_there_are() {
        let mut view = sample::calm();
        for key in [Key::Down, Key::Right, Key::Up, Key::Left] {
            for _ in 0..20 {
                view.cursor = view.moved(key);
                assert!(view.selected().is_some(), "{key:?} left the nodes");
            }
        }
        assert_eq!(view.cursor, Cursor::default());
    }

    #[test]
    fn next_and_previous_visit_every_node_and_come_back() {
        for key in [Key::NextNode, Key::PreviousNode] {
            let mut view = sample::calm();
            view.cursor = Cursor::default();
            let mut names: Vec<String> = Vec::new();
            for _ in 0..32 {
                names.push(view.selected().unwrap().name.clone());
                view.cursor = view.moved(key);
            }
            assert_eq!(view.cursor, Cursor::default());
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), 32);
        }
    }

    #[test]
    fn links_go_round() {
        let mut view = sample::calm();
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(view.cursor.link);
            view.cursor = view.moved(Key::NextLink);
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        assert_eq!(view.cursor.link, 0);
    }

    #[test]
    fn a_view_of_nothing_moves_nowhere() {
        let mut view = sample::empty();
        for key in Key::ALL {
            let cursor = view.moved(key);
            view.cursor = Cursor {
                whole: view.cursor.whole,
                ..cursor
            };
            assert_eq!(view.cursor, Cursor::default());
        }
        assert!(view.selected().is_none());
    }

    #[test]
    fn a_whole_data_centre_is_selected_and_let_go_with_one_key() {
        let mut view = sample::calm();
        view.cursor = view.moved(Key::Right);
        view.cursor = view.moved(Key::Whole);
        let selected = |view: &DemoView| {
            (0..4)
                .flat_map(|dc| (0..8).map(move |node| (dc, node)))
                .filter(|(dc, node)| view.is_selected(*dc, *node))
                .count()
        };
        assert_eq!(selected(&view), 8);
        view.cursor = view.moved(Key::Left);
        assert!(view.is_selected(0, 7) && !view.is_selected(1, 0));
        view.cursor = view.moved(Key::Whole);
        assert_eq!(selected(&view), 1);
    }

    #[test]
    fn a_failure_says_whom_it_hit_and_what_it_cost() {
        let mut failure = sample::failure();
        assert_eq!(
            failure.sentence(),
            "kill FL-A-1: 34 groups hit, 9 patients waited, median 312 ms, worst 640 ms; five copies again after 3.2 s"
        );
        (failure.patients, failure.whole_after) = (0, None);
        assert_eq!(
            failure.sentence(),
            "kill FL-A-1: 34 groups hit, no patient waited; not all copies are back"
        );
    }

    #[test]
    fn a_link_is_found_from_both_ends() {
        let view = sample::calm();
        assert_eq!(view.link(0, 3).unwrap().configured_us, 45_000);
        assert_eq!(view.link(3, 0).unwrap().configured_us, 45_000);
        assert!(view.link(2, 2).is_none());
    }
}
