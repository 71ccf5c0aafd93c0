//! The data of one picture: what the demo knows at one moment, in the order in which the screen tells it.
//!
//! Nothing here is measured or remembered; whoever runs the demo fills it anew for each picture. It deliberately knows no size of a terminal
//! and no colour. **Invariant:** any value is drawable: empty lists, a cursor on a node that is not there, counters at their largest.

use std::time::Duration;

use super::keys::Key;
use super::latency::AckLatency;

/// What the demo is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
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
    pub fn words(self) -> &'static str {
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
pub enum NodeState {
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
    pub fn word(self) -> &'static str {
        match self {
            NodeState::Starting => "starting",
            NodeState::Up => "up",
            NodeState::Paused => "paused",
            NodeState::Stopped => "stopped",
        }
    }

    /// As one sign, each of another shape, so that it is told without colour.
    #[must_use]
    pub fn sign(self) -> char {
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
pub struct NodeView {
    /// Its name, like `FL-A-1`.
    pub name: String,
    /// Whether it serves.
    pub state: NodeState,
    /// HL7 messages that entered at it, per second.
    pub messages_per_s: u64,
    /// Acks that it gave to senders, per second.
    pub acks_per_s: u64,
    /// Entries that it holds in its logs: copies, its own and those of others' groups.
    pub entries: u64,
    /// Bytes of its logs.
    pub log_bytes: u64,
    /// Actors of the groups that it writes.
    pub actors: u64,
}

/// Nodes that fail together.
#[derive(Clone, Debug)]
pub struct ZoneView {
    /// Its name, like `A`.
    pub name: String,
    /// Its nodes, by name.
    pub nodes: Vec<NodeView>,
}

/// One data centre.
#[derive(Clone, Debug)]
pub struct DataCentreView {
    /// Its name, like `FL`.
    pub name: String,
    /// Its zones, by name.
    pub zones: Vec<ZoneView>,
}

impl DataCentreView {
    /// All nodes, zone by zone.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeView> {
        self.zones.iter().flat_map(|zone| &zone.nodes)
    }
}

/// What became of the messages, counted since the feed began. Re-sends are attempts, not messages: sent = acked + refused + unknown + in flight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Messages sent.
    pub sent: u64,
    /// Messages that were acked: three members hold each.
    pub acked: u64,
    /// Messages that were refused for good.
    pub refused: u64,
    /// Messages of which nothing is known.
    pub unknown: u64,
    /// Messages that wait for their ack.
    pub in_flight: u64,
    /// Further attempts for messages that were sent before.
    pub resends: u64,
    /// Acks per second, now.
    pub acks_per_s: u64,
}

/// How many copies there are of what groups hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copies {
    /// All groups.
    pub groups: u64,
    /// Groups of which all five members hold everything that is committed.
    pub five: u64,
    /// Groups of which four do.
    pub four: u64,
    /// Groups of which three do, the fewest that an ack allows.
    pub three: u64,
    /// Groups that cannot commit now, since fewer than three members answer. What they acked before is held by those that do not.
    pub fewer: u64,
}

/// Memory of all nodes together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Bytes of the process that are resident, as the kernel says.
    pub resident_bytes: u64,
    /// Bytes that the nodes may take, all together.
    pub budget_bytes: u64,
    /// Bytes of all logs, counted once per copy.
    pub log_bytes: u64,
}

/// The way between two data centres.
#[derive(Clone, Copy, Debug)]
pub struct LinkView {
    /// One end: an index into [`DemoView::data_centres`].
    pub from: usize,
    /// The other end.
    pub to: usize,
    /// The round trip that is configured, in microseconds.
    pub configured_us: u64,
    /// The round trip now, in microseconds. Larger when the link was slowed by a key.
    pub now_us: u64,
}

impl LinkView {
    /// Whether somebody slowed it.
    #[must_use]
    pub fn is_slowed(&self) -> bool {
        self.now_us > self.configured_us
    }
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Something is worse than before.
    Warning,
    /// Something that must not be.
    Bad,
}

impl Weight {
    /// As one sign, so that it is told without colour.
    #[must_use]
    pub fn sign(self) -> char {
        match self {
            Weight::Good => '+',
            Weight::Note => '·',
            Weight::Warning => '!',
            Weight::Bad => '#',
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct EventLine {
    /// Counts the demo's events from 1, so that plain lines tell each once.
    pub number: u64,
    /// When, since the feed began.
    pub at: Duration,
    /// How much it matters.
    pub weight: Weight,
    /// What, like `FL-A-2 paused`.
    pub text: String,
}

/// A line for another shell.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// What it is for, in a few words.
    pub purpose: String,
    /// The command, whole.
    pub command: String,
}

/// Where the cursors stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The data centre of the selected node: an index into [`DemoView::data_centres`].
    pub data_centre: usize,
    /// The selected node: its place among the nodes of its data centre, zone by zone.
    pub node: usize,
    /// The selected link: an index into [`DemoView::links`].
    pub link: usize,
}

/// Everything that one picture shows.
#[derive(Clone, Debug)]
pub struct DemoView {
    /// What the demo is doing.
    pub phase: Phase,
    /// Time since the feed began.
    pub elapsed: Duration,
    /// How long the feed is to run. `None`: until somebody ends it.
    pub target: Option<Duration>,
    /// What serves the sockets: `io_uring` or `epoll`.
    pub driver: String,
    /// The data centres, in the order of their columns.
    pub data_centres: Vec<DataCentreView>,
    /// What became of the messages.
    pub totals: Totals,
    /// Acks in each second of the last minutes, the newest last.
    pub acks_history: Vec<u64>,
    /// How long acks took.
    pub latency: AckLatency,
    /// How many copies there are.
    pub copies: Copies,
    /// How full the memory is.
    pub memory: Memory,
    /// Each pair of data centres once.
    pub links: Vec<LinkView>,
    /// The last events, the newest last.
    pub events: Vec<EventLine>,
    /// Lines for another shell, the most useful first.
    pub commands: Vec<CommandLine>,
    /// Where the cursors stand.
    pub cursor: Cursor,
    /// Whether the explanation of keys and figures covers the picture.
    pub help: bool,
}

impl DemoView {
    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeView> {
        self.data_centres.iter().flat_map(DataCentreView::nodes)
    }

    /// How many nodes serve.
    #[must_use]
    pub fn nodes_up(&self) -> usize {
        self.nodes().filter(|node| node.state == NodeState::Up).count()
    }

    /// The node under the cursor, if the cursor stands on one.
    #[must_use]
    pub fn selected(&self) -> Option<&NodeView> {
        self.data_centres
            .get(self.cursor.data_centre)?
            .nodes()
            .nth(self.cursor.node)
    }

    /// The link between two data centres, in whichever order.
    #[must_use]
    pub fn link(&self, one: usize, other: usize) -> Option<&LinkView> {
        self.links
            .iter()
            .find(|link| (link.from, link.to) == (one, other) || (link.from, link.to) == (other, one))
    }

    /// The cursors after a key. Keys that move none leave them; a cursor never leaves the nodes that there are, and links go round.
    #[must_use]
    pub fn moved(&self, key: Key) -> Cursor {
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
