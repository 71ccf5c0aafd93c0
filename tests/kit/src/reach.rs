//! What a simulation can reach: every answer to a request, every fault, every reason to cut a connection, every refusal of bytes or runs.
//! And what a long batch must reach, or it is blind to it.
//!
//! It counts nothing itself. **Invariant:** each list follows from its type by a match without a rest, so that a new kind does not
//! compile until it is said here whether a batch must reach it.

use waterpark_core::Branch;
use waterpark_core::config::Births;
use waterpark_core::effects::{Cut, Happened};
use waterpark_wire::FrameError;
use waterpark_wire::link::Answer;
use waterpark_wire::reply::Outcome;

/// Whether a long batch must reach something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It must.
    Reached,
    /// It is rare: a batch of so many seeds must reach it.
    Within(u64),
    /// It may, and is so rare that no batch can be blamed for missing it: when it occurs.
    Seldom(&'static str),
    /// It cannot occur as things are built, and must not: why.
    Never(&'static str),
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// A link between nodes.
    Link,
    /// A client's.
    Client,
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident = $name:literal;)+) => {
        /// What a seed does to its cluster, or its clients to a node.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])+ $fault,)+
        }

        impl Fault {
            /// Every kind there is.
            pub const ALL: &'static [Fault] = &[$(Fault::$fault),+];

            /// Its name in tables.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Fault::$fault => $name,)+ }
            }
        }
    };
}

faults! {
    /// A frame never arrived.
    FrameLost = "frame lost";
    /// A frame arrived twice.
    FrameRepeated = "frame repeated";
    /// A frame was so late that others could overtake it.
    FrameDelayed = "frame delayed";
    /// A frame of a process that has ended arrived after all, at its node's next one or from it.
    FrameOfTheDead = "frame of a dead process";
    /// A peer's frame came with another's name on it.
    FrameOfAnother = "frame under another's name";
    /// Bytes of a link's frame were wrong.
    LinkGarbage = "garbage on a link";
    /// Bytes of a client's frame were wrong.
    ClientGarbage = "garbage of a client";
    /// A connection between nodes ended.
    LinkCut = "link cut";
    /// One node did not hear another for a while, and no connection ended.
    OneWaySilence = "silence one way";
    /// Two nodes did not hear each other for a while, and no connection ended.
    Silence = "silence both ways";
    /// A node heard nobody and nobody heard it for a while.
    NodeSilence = "node cut off";
    /// A node stood still.
    NodePaused = "node paused";
    /// A node started anew with nothing.
    NodeRestarted = "node restarted";
    /// A node was told to stop, refused what came, and then started anew.
    NodeStopped = "node stopped in order";
    /// A node ended with all that it held.
    NodeCrashed = "node crashed";
    /// A group lost more members at once than it can bear.
    GroupLost = "group lost on purpose";
    /// A group got other members for no reason.
    MembersChanged = "members changed";
    /// Nodes began or ceased to learn a group.
    LearnersChanged = "learners changed";
    /// A group moved to another shard of a node for no reason.
    SeatsChanged = "seats changed";
    /// A node joined that the cluster was not made with.
    NodeJoined = "node joined";
    /// To one member of a group the states of all others looked wrong.
    MemberContradicted = "member contradicted";
    /// A voter of the topology log lost its file.
    VoterWiped = "voter's file lost";
    /// Clocks were apart.
    ClocksApart = "clocks apart";
    /// A copy of a request came very late.
    RequestLate = "request late";
    /// A request asked a node to answer it itself.
    RequestAstray = "request astray";
    /// A message was longer than the limit.
    MessageTooLong = "message too long";
    /// A key was none.
    KeyMalformed = "key malformed";
    /// No handler runs what a key names.
    KindUnknown = "kind unknown";
    /// A handler failed.
    HandlerFailed = "handler failed";
    /// A sender asked what became of a number, and took it if nothing had.
    NumberVoided = "number voided";
    /// A sender gave a request up.
    RequestGivenUp = "request given up";
    /// A session was near its end when it was first used.
    SessionOld = "session old";
    /// A session was born too far ahead.
    SessionAhead = "session ahead";
    /// A client read nothing for a while.
    ClientSlow = "client slow";
    /// A client went away with requests under way.
    ClientGone = "client gone";
    /// Shards had little memory.
    MemoryTight = "memory tight";
    /// Groups had few rows for lanes.
    LanesTight = "lanes tight";
    /// Few requests could wait.
    QueuesTight = "queues tight";
}

/// Something that happened in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reached {
    /// A reply with this outcome came to a client.
    Reply(Outcome),
    /// A fault was done.
    Fault(Fault),
    /// A shard cut a connection.
    Cut(Side, CutKind),
    /// Bytes were refused, by the shard or before they came to it.
    Bytes(FrameError),
    /// A member did not take a run.
    Answer(Answer),
    /// A shard told its operator.
    Event(EventKind),
    /// Shards count it.
    Counter(Counter),
    /// A shard took this way through a view change.
    Branch(Branch),
    /// The cluster as a whole came to this.
    Rare(Rare),
}

/// Why a shard cut a connection; which bytes were malformed is [`Reached::Bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CutKind {
    /// The peer sent what is no frame or has no place.
    Malformed,
    /// Nothing was heard, or nothing acked, for too long.
    Silent,
    /// It does not read what it is sent.
    Backlog,
    /// A frame of another process or epoch.
    Stranger,
}

impl CutKind {
    const ALL: [CutKind; 4] = [CutKind::Malformed, CutKind::Silent, CutKind::Backlog, CutKind::Stranger];

    /// The kind of a cause.
    #[must_use]
    pub fn of(cut: Cut) -> CutKind {
        match cut {
            Cut::Malformed(_) => CutKind::Malformed,
            Cut::Silent => CutKind::Silent,
            Cut::Backlog => CutKind::Backlog,
            Cut::Stranger => CutKind::Stranger,
        }
    }
}

/// What a shard told its operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A group opened.
    GroupOpened,
    /// A process is out for good.
    Out,
    /// A peer is out.
    PeerOut,
    /// A member refused a Config.
    BirthRefused,
    /// A member had no memory for a log.
    NoRoom,
    /// A log was contradicted.
    Quarantined,
    /// A state was not that of the others.
    StateDiffers,
}

impl EventKind {
    const ALL: [EventKind; 7] = [
        EventKind::GroupOpened,
        EventKind::Out,
        EventKind::PeerOut,
        EventKind::BirthRefused,
        EventKind::NoRoom,
        EventKind::Quarantined,
        EventKind::StateDiffers,
    ];

    /// The kind of an event.
    #[must_use]
    pub fn of(happened: &Happened) -> EventKind {
        match happened {
            Happened::GroupOpened { .. } => EventKind::GroupOpened,
            Happened::Out { .. } => EventKind::Out,
            Happened::PeerOut { .. } => EventKind::PeerOut,
            Happened::BirthRefused { .. } => EventKind::BirthRefused,
            Happened::NoRoom { .. } => EventKind::NoRoom,
            Happened::Quarantined { .. } => EventKind::Quarantined,
            Happened::StateDiffers { .. } => EventKind::StateDiffers,
        }
    }
}

/// What shards count and a batch must have seen: the ways of a message that are not everyday ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// Repeats answered from their entry.
    Repeats,
    /// Runs not taken.
    RunsRefused,
    /// Hashes of states that were equal.
    StatesEqual,
    /// Frames that came twice or outside the window.
    FramesRepeated,
    /// Frames that left compressed.
    FramesFolded,
    /// Items handed to another shard.
    Crossed,
    /// Requests sent again in a newer link epoch.
    Resent,
    /// Links cut by shards.
    LinksCut,
    /// Requests passed on to another node.
    Forwarded,
    /// Sweeps decided.
    Sweeps,
    /// Messages dropped.
    Swept,
}

impl Counter {
    /// All of them.
    pub const ALL: [Counter; 11] = [
        Counter::Repeats,
        Counter::RunsRefused,
        Counter::StatesEqual,
        Counter::FramesRepeated,
        Counter::FramesFolded,
        Counter::Crossed,
        Counter::Resent,
        Counter::LinksCut,
        Counter::Forwarded,
        Counter::Sweeps,
        Counter::Swept,
    ];

    /// Its value in a shard's counters.
    #[must_use]
    pub fn of(self, counters: &waterpark_core::Counters) -> u64 {
        match self {
            Counter::Repeats => counters.repeats,
            Counter::RunsRefused => counters.runs_refused,
            Counter::StatesEqual => counters.states_equal,
            Counter::FramesRepeated => counters.frames_repeated,
            Counter::FramesFolded => counters.frames_folded,
            Counter::Crossed => counters.crossed,
            Counter::Resent => counters.resent,
            Counter::LinksCut => counters.links_cut,
            Counter::Forwarded => counters.forwarded,
            Counter::Sweeps => counters.sweeps,
            Counter::Swept => counters.swept,
        }
    }
}

/// What a cluster as a whole comes to, and no shard knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rare {
    /// A view opened when three of the five members before were left.
    ThreeSurvivors,
    /// A lost group was opened again.
    Reopened,
    /// What was acked went with its lost group.
    AckedLost,
    /// A node was given the vote of one that was not heard.
    VoteGiven,
    /// The voters began new files, because the old ones were long.
    FilesBegun,
    /// A node learned a state in the place of entries that nobody kept.
    StateLearned,
}

impl Rare {
    const ALL: [Rare; 6] = [
        Rare::ThreeSurvivors,
        Rare::Reopened,
        Rare::AckedLost,
        Rare::VoteGiven,
        Rare::FilesBegun,
        Rare::StateLearned,
    ];

    fn name(self) -> &'static str {
        match self {
            Rare::ThreeSurvivors => "three of five members left",
            Rare::Reopened => "a lost group opened again",
            Rare::AckedLost => "what was acked lost with its group",
            Rare::VoteGiven => "a vote given to another",
            Rare::FilesBegun => "voters' files begun anew",
            Rare::StateLearned => "a state learned for its entries",
        }
    }
}

const ANSWERS: [Answer; 3] = [Answer::Gap, Answer::NeedAdopt, Answer::Nack];

impl Reached {
    /// Everything that a run can reach, in the order of tables.
    #[must_use]
    pub fn all() -> Vec<Reached> {
        let cuts = |side| CutKind::ALL.map(|kind| Reached::Cut(side, kind));
        let mut all: Vec<Reached> = Outcome::ALL.map(Reached::Reply).to_vec();
        all.extend(Fault::ALL.iter().copied().map(Reached::Fault));
        all.extend(cuts(Side::Link));
        all.extend(cuts(Side::Client));
        all.extend(FrameError::ALL.iter().copied().map(Reached::Bytes));
        all.extend(ANSWERS.map(Reached::Answer));
        all.extend(EventKind::ALL.map(Reached::Event));
        all.extend(Counter::ALL.map(Reached::Counter));
        all.extend(Branch::ALL.iter().copied().map(Reached::Branch));
        all.extend(Rare::ALL.map(Reached::Rare));
        all
    }

    /// The table that it stands in.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Reached::Reply(_) => "replies",
            Reached::Fault(_) => "faults",
            Reached::Cut(Side::Link, _) => "links cut by shards",
            Reached::Cut(Side::Client, _) => "clients cut by shards",
            Reached::Bytes(_) => "bytes refused",
            Reached::Answer(_) => "runs not taken",
            Reached::Event(_) => "events",
            Reached::Counter(_) => "counters",
            Reached::Branch(_) | Reached::Rare(_) => "view changes",
        }
    }

    /// Its name within its table.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Reached::Reply(outcome) => format!("{outcome:?}"),
            Reached::Fault(fault) => fault.name().to_owned(),
            Reached::Cut(_, kind) => format!("{kind:?}"),
            Reached::Bytes(error) => format!("{error:?}"),
            Reached::Answer(answer) => format!("{answer:?}"),
            Reached::Event(event) => format!("{event:?}"),
            Reached::Counter(counter) => format!("{counter:?}"),
            Reached::Branch(branch) => branch.name().to_owned(),
            Reached::Rare(rare) => rare.name().to_owned(),
        }
    }

    /// Whether a long batch must reach it, where groups are born so.
    #[must_use]
    pub fn expect(self, births: Births) -> Expect {
        match births {
            Births::Writer => self.expect_of_one_view(),
            Births::TopologyLog => self.expect_of_changing(),
        }
    }

    fn expect_of_one_view(self) -> Expect {
        match self {
            Reached::Reply(outcome) => reply(outcome),
            Reached::Cut(side, kind) => cut(side, kind),
            Reached::Answer(answer) => match answer {
                Answer::Gap => Expect::Reached,
                Answer::NeedAdopt => Expect::Seldom("a process learns that it is out after it adopted a Config"),
                Answer::Nack => Expect::Never("there is one view: no member promises a newer one"),
            },
            Reached::Event(event) => match event {
                EventKind::GroupOpened | EventKind::Out | EventKind::PeerOut | EventKind::BirthRefused => {
                    Expect::Reached
                }
                EventKind::NoRoom => Expect::Seldom("where groups change their members"),
                EventKind::Quarantined | EventKind::StateDiffers => QUARANTINED,
            },
            Reached::Fault(
                Fault::NodeCrashed
                | Fault::GroupLost
                | Fault::MembersChanged
                | Fault::LearnersChanged
                | Fault::SeatsChanged
                | Fault::NodeJoined
                | Fault::MemberContradicted
                | Fault::VoterWiped,
            )
            | Reached::Branch(_)
            | Reached::Rare(_) => Expect::Never("there is one view: groups keep their members"),
            Reached::Fault(_) | Reached::Bytes(_) | Reached::Counter(_) => Expect::Reached,
        }
    }

    fn expect_of_changing(self) -> Expect {
        match self {
            Reached::Reply(Outcome::GroupLost)
            | Reached::Fault(Fault::GroupLost)
            | Reached::Rare(Rare::Reopened | Rare::AckedLost) => Expect::Never("no group loses more than it can bear"),
            Reached::Reply(Outcome::Stopping) | Reached::Fault(Fault::NodeStopped | Fault::NodeRestarted) => {
                Expect::Never("processes end without a word")
            }
            Reached::Fault(Fault::NodeJoined) => Expect::Never("nodes join where controllers keep the log"),
            Reached::Fault(Fault::MemberContradicted) => {
                Expect::Never("members are replaced for their state where controllers keep the log")
            }
            Reached::Fault(Fault::VoterWiped)
            | Reached::Rare(Rare::VoteGiven | Rare::FilesBegun | Rare::StateLearned) => {
                Expect::Never("nodes vote where controllers keep the log")
            }
            Reached::Reply(outcome) => reply(outcome),
            Reached::Cut(side, kind) => cut(side, kind),
            Reached::Event(event) => match event {
                EventKind::GroupOpened => Expect::Reached,
                EventKind::Out | EventKind::PeerOut | EventKind::BirthRefused => {
                    Expect::Never("who is a member is the topology log's to say")
                }
                EventKind::NoRoom => Expect::Within(1_000),
                EventKind::Quarantined | EventKind::StateDiffers => QUARANTINED,
            },
            Reached::Bytes(FrameError::Entry | FrameError::EntryFlags) => Expect::Within(1_000),
            Reached::Branch(_)
            | Reached::Answer(_)
            | Reached::Fault(_)
            | Reached::Bytes(_)
            | Reached::Counter(_)
            | Reached::Rare(Rare::ThreeSurvivors) => Expect::Reached,
        }
    }
}

const QUARANTINED: Expect = Expect::Never("no member contradicts itself: where one does, a rule is broken");

fn reply(outcome: Outcome) -> Expect {
    match outcome {
        Outcome::Done
        | Outcome::Refused
        | Outcome::Trapped
        | Outcome::Voided
        | Outcome::Busy
        | Outcome::NoQuorum
        | Outcome::NotWriter
        | Outcome::SessionExpired
        | Outcome::TooLarge
        | Outcome::Full
        | Outcome::Gap
        | Outcome::Old
        | Outcome::GroupLost
        | Outcome::Unknown
        | Outcome::BadRequest
        | Outcome::Stopping
        | Outcome::NotMember => Expect::Reached,
        Outcome::LineageLost => Expect::Never("no lost group is opened again, so there is one lineage"),
        Outcome::Settled => Expect::Never("an entry keeps its reply for as long as its lane knows the number"),
    }
}

fn cut(side: Side, kind: CutKind) -> Expect {
    match (side, kind) {
        (_, CutKind::Malformed)
        | (Side::Link, CutKind::Silent | CutKind::Stranger)
        | (Side::Client, CutKind::Backlog) => Expect::Reached,
        (Side::Link, CutKind::Backlog) => Expect::Never("what waits for a link is bounded where it is taken"),
        (Side::Client, CutKind::Silent) => Expect::Never("a client may be silent for as long as it likes"),
        (Side::Client, CutKind::Stranger) => Expect::Never("a client's frames carry no process"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_is_listed_once_and_has_a_name_of_its_own() {
        let all = Reached::all();
        let names: BTreeSet<_> = all.iter().map(|reached| (reached.table(), reached.name())).collect();
        assert_eq!(all.len(), names.len());
        let outcomes = (0..=u8::MAX).filter_map(Outcome::parse);
        assert!(
            outcomes
                .into_iter()
                .all(|outcome| all.contains(&Reached::Reply(outcome)))
        );
        let errors = (0..=u8::MAX).filter_map(FrameError::from_code);
        assert!(errors.into_iter().all(|error| all.contains(&Reached::Bytes(error))));
    }
}
