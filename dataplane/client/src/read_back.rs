//! Read-back: all committed entries of groups, as one member holds them, over a connection of its own.
//!
//! The member sends its runs as they lie in its log; a portion ends with a word on where the next one begins, and this decoder asks for it
//! until the member's commit is reached. Keys and sessions stand in the entries that introduce them, so whoever reads a group from its
//! beginning gets both with every entry. No I/O here. **Invariant:** each run's chain hash is right and follows the one before it;
//! of a run that retention dropped messages from it is known alone that it follows.

use std::collections::BTreeMap;

use waterpark_wire::frame::{FRAME_BYTES_MAX, FrameAddress, FrameBuilder};
use waterpark_wire::framer::Framer;
use waterpark_wire::handshake::Welcome;
use waterpark_wire::item::{Item, ItemHeader, ItemKind};
use waterpark_wire::link::{Assembly, ReadBack as Question, ReadBackEnd};
use waterpark_wire::run::{DROPPED, EntryView, RunView, TICK, VIEW_OPEN, VOID};
use waterpark_wire::{FrameError, FrameKind};

use crate::error::ClientError;
use crate::replies::refusal_of;

/// Bytes of runs that one portion is asked to have at most.
const PORTION_BYTES: u32 = 512 << 10;
/// The longest run that is put together from parts: one entry alone may be as long as a message.
const RUN_BYTES_MAX: usize = 64 << 20;

/// One committed entry.
#[derive(Clone, Copy, Debug)]
pub struct ReadEntry<'a> {
    /// The group.
    pub group: u32,
    /// Its seq.
    pub seq: u64,
    /// The view in which it was first logged.
    pub view: u64,
    /// The actor's canonical key; `None` for a tick or a void, or if reading began behind its first entry.
    pub key: Option<&'a [u8]>,
    /// The session of its lane, likewise.
    pub session: Option<[u8; 16]>,
    /// The request's number in its lane.
    pub number: u32,
    /// Group time, ms since the epoch.
    pub time_ms: u64,
    /// The message; empty if retention dropped it.
    pub message: &'a [u8],
    /// Chain hash of the run that holds it.
    pub chain: u128,
    /// All of it.
    pub entry: EntryView<'a>,
}

impl ReadEntry<'_> {
    /// Whether it took its number without an effect.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.entry.header.flags.get() & VOID != 0
    }

    /// Whether it is the writer's own.
    #[must_use]
    pub fn is_tick(&self) -> bool {
        self.entry.header.flags.get() & (TICK | VIEW_OPEN) != 0
    }

    /// Whether retention has dropped its message.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.entry.header.flags.get() & DROPPED != 0
    }
}

/// How far reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More of the group is on its way: write [`ReadBack::outgoing`] and go on reading.
    Reading,
    /// The group is read as far as the member has whole committed runs. Another one may be asked for.
    Done {
        /// The first seq that was not read.
        next_seq: u64,
        /// The member's commit.
        commit: u64,
    },
}

/// Where a run has to follow.
#[derive(Clone, Copy, Debug)]
struct Chain {
    next_seq: u64,
    hash: u128,
}

/// The reading end of one member's bulk stream, one group after the other.
#[derive(Debug)]
pub struct ReadBack {
    receiver: (u16, u64),
    framer: Option<Framer>,
    assembly: Assembly,
    out: Vec<u8>,
    state: State,
}

#[derive(Debug)]
struct State {
    group: u32,
    asked_seq: u64,
    progress: Progress,
    chain: Option<Chain>,
    /// Keys by actor number, one behind the other, and where each ends.
    keys: Vec<u8>,
    key_ends: Vec<(u32, usize)>,
    sessions: BTreeMap<u32, [u8; 16]>,
    /// Runs that overtook a longer one, which travels in parts, by first seq. No more than a portion.
    early: BTreeMap<u64, Vec<u8>>,
    early_bytes: usize,
}

impl ReadBack {
    /// For a connection whose handshake is done.
    #[must_use]
    pub fn new(welcome: &Welcome) -> ReadBack {
        ReadBack {
            receiver: (welcome.node, welcome.incarnation),
            framer: Some(Framer::new(FRAME_BYTES_MAX)),
            assembly: Assembly::default(),
            out: Vec::new(),
            state: State {
                group: 0,
                asked_seq: 0,
                progress: Progress::Done { next_seq: 0, commit: 0 },
                chain: None,
                keys: Vec::new(),
                key_ends: Vec::new(),
                sessions: BTreeMap::new(),
                early: BTreeMap::new(),
                early_bytes: 0,
            },
        }
    }

    /// Begins with a group, at a seq from 1 on. The connection must end at the shard that holds the group.
    ///
    /// # Errors
    /// `Full` if the group before is still being read, `Closed` if the connection has failed.
    pub fn begin(&mut self, group: u32, from_seq: u64) -> Result<(), ClientError> {
        if self.framer.is_none() {
            return Err(ClientError::Closed);
        }
        if self.state.progress == Progress::Reading {
            return Err(ClientError::Full);
        }
        self.state.group = group;
        self.state.progress = Progress::Reading;
        self.state.chain = None;
        self.state.keys.clear();
        self.state.key_ends.clear();
        self.state.sessions.clear();
        self.state.early.clear();
        self.state.early_bytes = 0;
        self.state.asked_seq = from_seq.max(1);
        self.ask();
        Ok(())
    }

    /// Bytes to write.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        &self.out
    }

    /// So many of them were written.
    ///
    /// # Panics
    /// If more was written than waited: a bug of the caller.
    pub fn on_written(&mut self, count: usize) {
        self.out.drain(..count);
    }

    /// Bytes came. Each entry is handed on in order of seq.
    ///
    /// # Errors
    /// What is wrong with them, or what the member said before it closed; the connection is of no more use.
    pub fn on_bytes(
        &mut self,
        bytes: &[u8],
        mut on_entry: impl FnMut(&ReadEntry<'_>),
    ) -> Result<Progress, ClientError> {
        let mut framer = self.framer.take().ok_or(ClientError::Closed)?;
        let mut cause = None;
        let (state, assembly) = (&mut self.state, &mut self.assembly);
        let result = framer.feed(bytes, true, |frame| {
            if frame.kind != FrameKind::Node {
                return Err(FrameError::Kind);
            }
            for item in frame.items() {
                if let Err(error) = state.on_item(assembly, &item, &mut on_entry) {
                    cause = Some(error);
                    return Err(FrameError::ItemKind);
                }
            }
            Ok(())
        });
        result.map_err(|error| cause.unwrap_or(ClientError::Frame(error)))?;
        self.framer = Some(framer);
        if let Progress::Done { next_seq, commit } = self.state.progress
            && next_seq > self.state.asked_seq
            && next_seq <= commit
        {
            self.state.asked_seq = next_seq;
            self.state.progress = Progress::Reading;
            self.ask();
        }
        Ok(self.state.progress)
    }

    fn ask(&mut self) {
        let item = ItemHeader {
            group: self.state.group.into(),
            ..ItemHeader::default()
        };
        let question = Question {
            item,
            from_seq: self.state.asked_seq.into(),
            bytes_max: PORTION_BYTES.into(),
            reserved: 0.into(),
        };
        let mut bytes = Vec::new();
        let mut frame = FrameBuilder::begin(&mut bytes);
        question.push(&mut bytes, &[]);
        frame.pushed();
        let address = FrameAddress::of_client(self.receiver);
        frame.finish(&mut bytes, &address);
        self.out.extend_from_slice(&bytes);
    }
}

impl State {
    fn on_item(
        &mut self,
        assembly: &mut Assembly,
        item: &Item<'_>,
        on_entry: &mut impl FnMut(&ReadEntry<'_>),
    ) -> Result<(), ClientError> {
        if item.kind() == ItemKind::Refusal {
            return Err(refusal_of(item));
        }
        if self.progress != Progress::Reading {
            return Err(ClientError::Frame(FrameError::ItemKind));
        }
        match item.kind() {
            ItemKind::Part => match assembly.take(item, RUN_BYTES_MAX).map_err(ClientError::Frame)? {
                None => Ok(()),
                Some(whole) => {
                    let item = Item::new_checked_unpadded(&whole).map_err(ClientError::Frame)?;
                    self.on_whole(&item, on_entry)
                }
            },
            _ => self.on_whole(item, on_entry),
        }
    }

    fn on_whole(&mut self, item: &Item<'_>, on_entry: &mut impl FnMut(&ReadEntry<'_>)) -> Result<(), ClientError> {
        match item.kind() {
            ItemKind::Append => {
                let run = RunView::from_item(item).map_err(ClientError::Frame)?;
                if run.header.item.group.get() != self.group {
                    return Err(ClientError::Frame(FrameError::Run));
                }
                let (seq, expected) = (run.header.first_seq.get(), self.expected());
                if seq > expected {
                    return self.keep_early(seq, item.bytes);
                }
                self.on_run(&run, on_entry)?;
                while let Some(bytes) = self.early.remove(&self.expected()) {
                    self.early_bytes -= bytes.len();
                    let run = RunView::new_checked(&bytes).map_err(ClientError::Frame)?;
                    self.on_run(&run, on_entry)?;
                }
                Ok(())
            }
            ItemKind::ReadBackEnd => {
                let (end, _) = ReadBackEnd::new_checked(item).map_err(ClientError::Frame)?;
                if item.header.flags & 1 != 0 {
                    return Err(ClientError::NotMember { group: self.group });
                }
                if let Some((seq, _)) = self.early.first_key_value() {
                    return Err(ClientError::Chain {
                        group: self.group,
                        seq: *seq,
                    });
                }
                let (next_seq, commit) = (end.next_seq.get(), end.commit.get());
                self.progress = Progress::Done { next_seq, commit };
                Ok(())
            }
            _ => Err(ClientError::Frame(FrameError::ItemKind)),
        }
    }

    /// The seq that the next run begins at; the first one may begin below.
    fn expected(&self) -> u64 {
        self.chain.map_or(self.asked_seq, |chain| chain.next_seq)
    }

    fn keep_early(&mut self, seq: u64, run: &[u8]) -> Result<(), ClientError> {
        self.early_bytes += run.len();
        let twice = self.early.insert(seq, run.to_vec()).is_some();
        if twice || self.early_bytes > RUN_BYTES_MAX {
            return Err(ClientError::Chain { group: self.group, seq });
        }
        Ok(())
    }

    fn on_run(&mut self, run: &RunView<'_>, on_entry: &mut impl FnMut(&ReadEntry<'_>)) -> Result<(), ClientError> {
        let header = run.header;
        let (group, seq) = (self.group, header.first_seq.get());
        let follows = match self.chain {
            Some(chain) => {
                chain.next_seq == seq && chain.hash.to_le_bytes()[..8] == header.prev_hash.get().to_le_bytes()
            }
            // The first run may begin below the seq that was asked for, never above it.
            None => seq <= self.asked_seq && (seq != 1 || header.prev_hash.get() == 0),
        };
        if !follows {
            return Err(ClientError::Chain { group, seq });
        }
        let chain = header.chain_hash.get();
        for (seq, entry) in run.entries() {
            self.learn(&entry);
            let entry_header = entry.header;
            let read = ReadEntry {
                group,
                seq,
                view: header.view.get(),
                key: self.key(entry_header.actor.get()),
                session: self.sessions.get(&entry_header.lane.get()).copied(),
                number: entry_header.number.get(),
                time_ms: header.base_time_ms.get() + u64::from(entry_header.time_delta_ms.get()),
                message: entry.message,
                chain,
                entry,
            };
            on_entry(&read);
        }
        self.chain = Some(Chain {
            next_seq: run.last_seq() + 1,
            hash: chain,
        });
        Ok(())
    }

    /// Keeps what an entry introduces.
    fn learn(&mut self, entry: &EntryView<'_>) {
        if let Some(key) = entry.key {
            self.keys.extend_from_slice(key);
            self.key_ends.push((entry.header.actor.get(), self.keys.len()));
        }
        if let Some(session) = entry.session {
            self.sessions.insert(entry.header.lane.get(), *session);
        }
    }

    /// Actors are numbered in the order in which they are introduced, so their numbers ascend.
    fn key(&self, actor: u32) -> Option<&[u8]> {
        let at = self.key_ends.binary_search_by_key(&actor, |(actor, _)| *actor).ok()?;
        let start = if at == 0 { 0 } else { self.key_ends[at - 1].1 };
        Some(&self.keys[start..self.key_ends[at].1])
    }
}
