//! The data of one picture: what the demo knows at one moment, in the order in which the screen tells it.
//!
//! Nothing here is measured or remembered; whoever runs the demo fills it anew for each picture. It deliberately knows no size of a terminal
//! and no colour. **Invariant:** any value is drawable: empty lists, a cursor on a node that is not there, counters at their largest.

use std::time::Duration;

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
    /// It has ended.
    Stopped,
}

impl NodeState {
    /// In one word.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            NodeState::Starting => "starting",
            NodeState::Up => "up",
            NodeState::Paused => "paused",
            NodeState::Stopped => "stopped",
        }
    }

    /// As one sign, each of another shape, so that it is told without colour.
    #[must_use]
    pub(crate) fn sign(self) -> char {
        match self {
            NodeState::Starting => '○',
            NodeState::Up => '●',
            NodeState::Paused => '‖',
            NodeState::Stopped => '×',
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

    /// How many nodes serve.
    #[must_use]
    pub(crate) fn nodes_up(&self) -> usize {
        self.nodes().filter(|node| node.state == NodeState::Up).count()
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
            Key::NextLink => cursor.link = cursor.link.saturating_add(1) % self.links.len().max(1),
            Key::Quit | Key::PauseOrResume | Key::SlowLink | Key::Help | Key::Redraw => (),
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
            view.cursor = view.moved(key);
            assert_eq!(view.cursor, Cursor::default());
        }
        assert!(view.selected().is_none());
    }

    #[test]
    fn a_link_is_found_from_both_ends() {
        let view = sample::calm();
        assert_eq!(view.link(0, 3).unwrap().configured_us, 45_000);
        assert_eq!(view.link(3, 0).unwrap().configured_us, 45_000);
        assert!(view.link(2, 2).is_none());
    }
}
