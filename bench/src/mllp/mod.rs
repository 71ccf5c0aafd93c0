//! Load over MLLP: messages of a feed or of files, over many connections to many nodes, each answered by `AA` or not; and the read-back of
//! what was.
//!
//! One thread, plain sockets, the sender of `waterpark_edge`. It speaks no native protocol while it sends, so it sees what a hospital's
//! interface engine would. In an open loop each message has a planned instant, and its time runs from then.
//!
//! | file | part |
//! |---|---|
//! | `mod.rs` | the loop |
//! | `line.rs` | one connection |
//! | `source.rs` | where messages come from |
//! | `outcome.rs` | what became of them |
//! | `measure.rs` | the workload `hl7` |
//! | `check.rs` | reads back from three members each |
//!
//! **Invariant:** messages of one patient travel on one connection in the order of the source, so their order at the cluster is known.

mod check;
mod line;
mod measure;
mod outcome;
mod source;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use waterpark_edge::hl7::Message;
use waterpark_edge::key::{KeyRules, write_key};
use waterpark_edge::sender::{End, Fate, Options as SenderOptions};
use waterpark_ring::{GroupId, Topology};
use waterpark_wire::checksum;

pub use check::{Findings, Seats, check, check_where};
pub use measure::{Hl7Plan, Hl7Report, measure};
pub use outcome::{Ledger, Outcomes};
pub use source::{FolderError, Source};

use crate::arrivals::count_of;
use line::Line;

/// Of how many patients one enters the cluster in another data centre than that of its writer.
const ROAMING: u64 = 5;

/// Where to send, and how fast.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each node's MLLP port, with its data centre.
    pub nodes: Vec<(SocketAddr, String)>,
    /// Connections to each.
    pub lines_per_node: usize,
    /// How fast.
    pub pace: Pace,
    /// An answer has to come within this time.
    pub ack_timeout: Duration,
    /// How often a message is sent at most.
    pub attempts_max: u32,
    /// Whether a connection whose node does not answer goes on to another one, of the same data centre first.
    pub goes_on: bool,
}

/// How fast messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many a second, each at its planned instant.
    Open {
        /// Messages a second.
        rate: f64,
    },
    /// One in flight per connection, the next as soon as it is answered.
    Closed,
}

/// What an ack is told about.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    /// Index of the node that gave it.
    pub node: usize,
    /// Whether the writer of the patient stands in that node's data centre.
    pub is_home: bool,
    /// From the planned instant, in an open loop, or the send.
    pub response: Duration,
    /// Hash of the patient's key.
    pub patient: u64,
    /// The patient's group; `None` of a message without a patient.
    pub group: Option<GroupId>,
}

/// Sends over MLLP.
#[derive(Debug)]
pub struct Load {
    plan: Plan,
    topology: Topology,
    source: Source,
    epoll: OwnedFd,
    lines: Vec<Line>,
    /// The data centres, each with the connections into it and all others.
    data_centres: Vec<(String, [Vec<usize>; 2])>,
    /// By tag: what was sent and has not ended.
    letters: HashMap<u64, Letter>,
    /// The next message's.
    tag: u64,
    outcomes: Outcomes,
    ledger: Ledger,
    begun: Instant,
    key: Vec<u8>,
    message: Vec<u8>,
    /// A message that found its connection's queue full waits here: the source goes on behind it.
    held: Option<(usize, u64, Vec<u8>)>,
}

/// What is kept of a message until it has ended.
#[derive(Clone, Copy, Debug)]
struct Letter {
    digest: u64,
    planned: Duration,
    line: u32,
    place: Place,
}

/// Where a message belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Hash of its patient's key.
    patient: u64,
    group: Option<GroupId>,
    /// Index of the data centre in which its patient's writer was born.
    home: u8,
}

/// A message that is handed to its connection so much later than planned is late.
const LATE: Duration = Duration::from_millis(1);
/// How long a turn waits for sockets at most.
const TURN: Duration = Duration::from_millis(5);
/// Messages that may wait on one connection in an open loop: beyond them the feed is late.
const WAITING_MAX: usize = 4_096;

impl Load {
    /// A load that has sent nothing yet.
    ///
    /// # Errors
    /// When the kernel gives no epoll.
    pub fn new(plan: Plan, topology: Topology, source: Source) -> io::Result<Load> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let options = SenderOptions {
            waiting_max: WAITING_MAX,
            ack_timeout_ms: u64::try_from(plan.ack_timeout.as_millis()).unwrap_or(u64::MAX),
            attempts_max: plan.attempts_max,
            back_off_ms: 50,
            back_off_max_ms: 1_000,
            ..SenderOptions::default()
        };
        let lines = (0..plan.nodes.len()).flat_map(|node| {
            let numbers = 0..plan.lines_per_node;
            numbers.map(move |number| (node, number))
        });
        let lines = lines.map(|(node, number)| Line::new(places(&plan, node, number), options));
        let lines: Vec<Line> = lines.collect();
        let names: BTreeSet<&String> = plan.nodes.iter().map(|(_, dc)| dc).collect();
        let data_centres = names.into_iter().map(|dc| {
            let into = |line: &usize| plan.nodes[lines[*line].node()].1 == *dc;
            let (inside, outside) = (0..lines.len()).partition(into);
            (dc.clone(), [inside, outside])
        });
        let data_centres = data_centres.collect();
        Ok(Load {
            lines,
            data_centres,
            topology,
            source,
            epoll,
            letters: HashMap::new(),
            tag: 0,
            outcomes: Outcomes::default(),
            ledger: Ledger::default(),
            begun: Instant::now(),
            key: Vec::new(),
            message: Vec::new(),
            held: None,
            plan,
        })
    }

    /// What became of the messages so far.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// What has to be found at the end.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Bytes that it has set aside for messages: for those that have not ended, and for what has to be found at the end.
    #[must_use]
    pub fn book_bytes(&self) -> usize {
        let waiting: usize = self.lines.iter().map(|line| line.sender.waiting_bytes()).sum();
        waiting + self.letters.capacity() * size_of::<(u64, Letter)>() + self.ledger.book_bytes()
    }

    /// Messages that have not ended.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.sender.waiting()).sum::<usize>() + usize::from(self.held.is_some())
    }

    /// Sends until `time` has passed or the source is empty, then waits until every message has ended. `on_turn` is called a few hundred
    /// times a second and ends the sending when it answers `false`; `on_ack` with each ack.
    ///
    /// # Errors
    /// When the kernel refuses to wait. What was sent stands in the ledger.
    pub fn run(
        &mut self,
        time: Duration,
        mut on_turn: impl FnMut(&Load) -> Flow,
        mut on_ack: impl FnMut(Acked),
    ) -> io::Result<()> {
        self.begun = Instant::now();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let mut planned = Duration::ZERO;
        let mut sending = true;
        loop {
            let now = self.begun.elapsed();
            let was_sending = sending;
            match on_turn(self) {
                Flow::Send => (),
                // What is not sent now is not sent later either: the plan goes on from here.
                Flow::Hold => planned = planned.max(now),
                Flow::Home => self.lines.iter_mut().for_each(Line::go_home),
                Flow::End => sending = false,
                Flow::GiveUp => return Ok(()),
            }
            // What was planned just before the end is in time for as long as any other.
            let is_over = now >= time;
            let is_due = matches!(self.plan.pace, Pace::Open { .. }) && now.saturating_sub(time) <= LATE;
            let mut is_empty = false;
            if sending && (!is_over || is_due) {
                is_empty = !self.submit_due(now, time, &mut planned);
            }
            sending &= !is_over && !is_empty;
            if was_sending && !sending && !is_empty {
                self.outcomes.late += self.never_left(planned, now.min(time));
            }
            if !sending && let Some((_, tag, _)) = self.held.take() {
                self.letters.remove(&tag);
            }
            self.drive(now, &mut on_ack)?;
            if !sending && self.waiting() == 0 {
                return Ok(());
            }
            let wait = match self.plan.pace {
                Pace::Open { .. } if sending => planned.saturating_sub(now).min(TURN),
                _ => TURN,
            };
            self.wait(wait, &mut events)?;
            self.hear(&mut events, &mut on_ack);
        }
    }

    /// Messages of an open loop that were planned within a time, from the next one on.
    fn never_left(&self, planned: Duration, end: Duration) -> u64 {
        match self.plan.pace {
            Pace::Open { rate } if planned < end => 1 + count_of(end - planned, rate),
            Pace::Open { .. } | Pace::Closed => 0,
        }
    }

    /// Hands over what is due, and planned before the end. `false` once the source is empty.
    fn submit_due(&mut self, now: Duration, end: Duration, planned: &mut Duration) -> bool {
        match self.plan.pace {
            Pace::Open { rate } => {
                while *planned <= now && *planned < end {
                    if !self.submit_next(*planned) {
                        return self.held.is_some();
                    }
                    *planned += Duration::from_secs_f64(1.0 / rate);
                }
            }
            Pace::Closed => {
                // A patient's connection is given by the patient: the next message may be for a busy one, and waits for it.
                while self.lines.iter().any(|line| line.sender.waiting() == 0) {
                    if !self.submit_next(now) {
                        return self.held.is_some();
                    }
                }
            }
        }
        true
    }

    /// Submits the next message of the source; `false` if there is none, or its connection's queue is full.
    fn submit_next(&mut self, planned: Duration) -> bool {
        let (line, tag, message) = match self.held.take() {
            Some(held) => held,
            None => {
                let mut message = std::mem::take(&mut self.message);
                if !self.source.next(&mut message) {
                    return false;
                }
                let (line, place) = self.place(&message);
                let tag = self.tag;
                self.tag += 1;
                let digest = checksum::bytes(&message);
                let letter = Letter {
                    digest,
                    planned,
                    line: u32::try_from(line).unwrap_or(u32::MAX),
                    place,
                };
                self.letters.insert(tag, letter);
                self.ledger.sent(digest);
                (line, tag, message)
            }
        };
        let queue_max = match self.plan.pace {
            Pace::Open { .. } => WAITING_MAX,
            Pace::Closed => 8,
        };
        if self.lines[line].sender.waiting() >= queue_max {
            self.held = Some((line, tag, message));
            return false;
        }
        self.outcomes.sent += 1;
        if matches!(self.plan.pace, Pace::Open { .. }) {
            // Behind this it waits for the messages before it on its connection, which is the cluster's doing.
            self.outcomes.late += u64::from(self.begun.elapsed().saturating_sub(planned) > LATE);
        }
        if self.lines[line].sender.submit(tag, message).is_err() {
            // A file may hold what no sender can send.
            self.outcomes.refused += 1;
            self.letters.remove(&tag);
        }
        true
    }

    /// The connection of a message's patient, and where the message belongs.
    fn place(&mut self, message: &[u8]) -> (usize, Place) {
        let parsed = Message::parse(message).ok();
        let key = parsed.and_then(|message| write_key(&message, &KeyRules::default(), &mut self.key).ok());
        let Some(key) = key else {
            let nowhere = Place {
                patient: 0,
                group: None,
                home: 0,
            };
            return (0, nowhere);
        };
        let located = self.topology.locate(key);
        let writer = self.topology.birth().members(located.group).writer();
        let name = self.topology.node(writer).and_then(|node| node.name.split('-').next());
        let home = self.data_centres.iter().position(|(dc, _)| Some(dc.as_str()) == name);
        let home = home.expect("the plan names the nodes of the topology");
        let roams = located.hash.is_multiple_of(ROAMING);
        // A cluster in one data centre has no other.
        let wanted = Some(&self.data_centres[home].1[usize::from(roams)]).filter(|wanted| !wanted.is_empty());
        let wanted = wanted.unwrap_or(&self.data_centres[home].1[0]);
        let line = wanted[spread(located.hash / ROAMING, wanted.len())];
        let place = Place {
            patient: located.hash,
            group: Some(located.group),
            home: u8::try_from(home).unwrap_or(u8::MAX),
        };
        (line, place)
    }

    /// Dials, writes and times out, on all connections.
    fn drive(&mut self, now: Duration, on_ack: &mut impl FnMut(Acked)) -> io::Result<()> {
        let mut ends = Vec::new();
        for (index, line) in self.lines.iter_mut().enumerate() {
            line.drive(now, &self.epoll, index as u64, &mut |end| ends.push((index, end)))?;
        }
        self.ended(now, ends, on_ack);
        Ok(())
    }

    fn wait(&self, wait: Duration, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let mut wait = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait.min(TURN).subsec_nanos()),
        };
        if matches!(self.plan.pace, Pace::Open { .. }) && wait.tv_nsec > 0 {
            // Kernels wait for whole milliseconds there, and here for as long as is left until the next instant.
            let mut fds = [PollFd::new(&self.epoll, PollFlags::IN)];
            match poll(&mut fds, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => wait.tv_nsec = 0,
                Err(errno) => return Err(errno.into()),
            }
        }
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn hear(&mut self, events: &mut Vec<epoll::Event>, on_ack: &mut impl FnMut(Acked)) {
        let now = self.begun.elapsed();
        let mut ends = Vec::new();
        for event in events.drain(..) {
            let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if let Some(line) = self.lines.get_mut(index) {
                line.hear(now, &mut |end| ends.push((index, end)));
            }
        }
        self.ended(now, ends, on_ack);
    }

    fn ended(&mut self, now: Duration, ends: Vec<(usize, End)>, on_ack: &mut impl FnMut(Acked)) {
        for (index, end) in ends {
            let letter = self.letters.remove(&end.tag).expect("each message ends once");
            debug_assert_eq!(letter.line as usize, index);
            self.outcomes.resends += u64::from(end.attempts.saturating_sub(1));
            match end.fate {
                Fate::Accepted(_) => {
                    let response = now.saturating_sub(letter.planned);
                    let node = self.lines[index].node();
                    let entry = &self.plan.nodes[node].1;
                    let home = &self.data_centres[usize::from(letter.place.home)].0;
                    let is_home = entry == home;
                    self.outcomes.acked(response, entry, home);
                    self.ledger.acked(letter.digest);
                    on_ack(Acked {
                        node,
                        is_home,
                        response,
                        patient: letter.place.patient,
                        group: letter.place.group,
                    });
                }
                Fate::Refused(_, text) => self.outcomes.refuse(&text),
                Fate::Unanswered => self.outcomes.unknown += 1,
            }
            if self.message.capacity() == 0 {
                self.message = end.message;
            }
        }
    }
}

/// Where the numbered connection of a node may lead: to that node, and if it is to go on, then to all others, those of the same data centre
/// first. Connections of one node begin at different others, so that its load spreads over many.
fn places(plan: &Plan, node: usize, number: usize) -> Vec<(usize, SocketAddr)> {
    let at = |index: usize| (index, plan.nodes[index].0);
    let mut places = vec![at(node)];
    if plan.goes_on {
        let is_near = |index: &usize| plan.nodes[*index].1 == plan.nodes[node].1;
        let behind = (node + 1..plan.nodes.len()).chain(0..node);
        let (mut near, mut far): (Vec<usize>, Vec<usize>) = behind.partition(is_near);
        for others in [&mut near, &mut far] {
            let shift = if others.is_empty() { 0 } else { number % others.len() };
            others.rotate_left(shift);
        }
        places.extend(near.into_iter().chain(far).map(at));
    }
    places
}

/// A hash as an index.
fn spread(hash: u64, count: usize) -> usize {
    usize::try_from(hash % count as u64).expect("below a count of this process")
}

/// What a turn wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on sending.
    Send,
    /// Send nothing for now.
    Hold,
    /// Go on sending; connections that had to leave their node go back to it, for it may serve again.
    Home,
    /// Send nothing more; what was sent is waited for.
    End,
    /// Wait for nothing any more: what has not ended by now stays without an end.
    GiveUp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_on_to_its_own_data_centre_first_and_meets_every_node_once() {
        let node = |(port, dc): (u16, &str)| (SocketAddr::from(([127, 0, 0, 1], port)), dc.to_owned());
        let nodes = [(1, "FL"), (2, "FL"), (3, "FL"), (4, "TX"), (5, "TX")]
            .map(node)
            .to_vec();
        let plan = Plan {
            nodes,
            lines_per_node: 2,
            pace: Pace::Closed,
            ack_timeout: Duration::from_secs(1),
            attempts_max: 1,
            goes_on: true,
        };
        let order = |node, number| -> Vec<usize> {
            let places = places(&plan, node, number);
            places.into_iter().map(|(index, _)| index).collect()
        };
        assert_eq!(order(1, 0), [1, 2, 0, 3, 4]);
        assert_eq!(order(1, 1), [1, 0, 2, 4, 3], "the second spreads otherwise");
        let stays = Plan {
            goes_on: false,
            ..plan.clone()
        };
        assert_eq!(places(&stays, 1, 0).len(), 1);
    }
}
