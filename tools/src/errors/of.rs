//! Which error has which code.
//!
//! By matches without a catch-all: an error that is new has no code until somebody gives it one here, and until then nothing is built. Words
//! and exit codes are the errors' own. **Invariant:** every code of the registry behind the configuration's is some error's.

use waterpark::NodeError;
use waterpark::config::{
    Code, CommandCode, ConfigError, EdgeCode, HostCode, InitError, LatencyCode, MeasuringCode, RefusalCode, Severity,
    StartCode, TuneCode, WireCode,
};
use waterpark_bench::Verdict;
use waterpark_bench::arrivals::TraceError;
use waterpark_bench::cluster::ClusterError;
use waterpark_bench::generators::ServeError;
use waterpark_bench::run::RunError;
use waterpark_client::ClientError;
use waterpark_edge::hl7::Hl7Error;
use waterpark_edge::mllp::MllpError;
use waterpark_edge::sender::SubmitError;
use waterpark_reactor::cores::PinError;
use waterpark_reactor::event_loop::StartError;
use waterpark_reactor::{OpenError, UringRefusal};
use waterpark_ring::KeyError;
use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::reply::Outcome;
use waterpark_wire::{ConnectionRefusal, FrameError};

use crate::bench::ResultsError;
use crate::failure::Failure;
use crate::latency::LatencyError;
use crate::tune::TuneError;

/// An error of the registry.
pub(crate) trait Coded {
    /// Its entry.
    fn code(&self) -> &'static Code;
}

impl Coded for ConfigError {
    /// That of the first problem that is no warning.
    fn code(&self) -> &'static Code {
        let mut errors = self
            .problems()
            .iter()
            .filter(|problem| problem.severity() == Severity::Error);
        errors.next().expect("at least one is an error").code().entry()
    }
}

impl Coded for InitError {
    fn code(&self) -> &'static Code {
        InitError::code(self).entry()
    }
}

impl Coded for KeyError {
    fn code(&self) -> &'static Code {
        CommandCode::Key.entry()
    }
}

impl Coded for Failure {
    fn code(&self) -> &'static Code {
        match self {
            Failure::Key { error, .. } => error.code(),
            Failure::Address { .. } | Failure::PeerAddress { .. } => CommandCode::Address.entry(),
            Failure::LinesAndMessage => CommandCode::LinesAndMessage.entry(),
            Failure::NoConfig => CommandCode::NoConfig.entry(),
            Failure::Config(error) => error.code(),
            Failure::KeyFile(problem) | Failure::NodeName(problem) => problem.code().entry(),
            Failure::NotJoining { .. } => CommandCode::NotJoining.entry(),
            Failure::Joiner { .. } => CommandCode::JoinerAway.entry(),
            Failure::Input { .. } => CommandCode::Input.entry(),
            Failure::InputTooLong { .. } => CommandCode::InputTooLong.entry(),
            Failure::Connect { error, .. } | Failure::Call(error) => error.code(),
            Failure::NoTopologyLog => CommandCode::NoTopologyLog.entry(),
            Failure::Order { .. } => CommandCode::Order.entry(),
            Failure::OrderOpen { .. } => CommandCode::OrderOpen.entry(),
            Failure::Table => CommandCode::Table.entry(),
            Failure::UnknownNode { .. } => CommandCode::UnknownNode.entry(),
            Failure::NotMember { .. } => CommandCode::NotMemberNode.entry(),
            Failure::NoEntry { .. } => CommandCode::NoEntry.entry(),
            Failure::RawToTerminal => CommandCode::RawToTerminal.entry(),
            Failure::Unframeable { .. } => EdgeCode::Unframeable.entry(),
            Failure::MllpUnreachable { .. } => EdgeCode::MllpUnreachable.entry(),
            Failure::NotMllp { .. } => EdgeCode::NotMllp.entry(),
            Failure::Tune(error) => error.code(),
            Failure::Latency(error) => error.code(),
            Failure::Results(error) => error.code(),
            Failure::Answer => CommandCode::Answer.entry(),
            Failure::Output(_) => CommandCode::Output.entry(),
        }
    }
}

impl Coded for LatencyError {
    fn code(&self) -> &'static Code {
        let code = match self {
            LatencyError::Listen { .. } => LatencyCode::Listen,
            LatencyError::Peer { .. } => LatencyCode::Peer,
            LatencyError::NotPeer { .. } => LatencyCode::NotPeer,
            LatencyError::Folder { .. } => LatencyCode::Folder,
            LatencyError::Core(_) | LatencyError::CoresUnknown(_) => LatencyCode::Core,
        };
        code.entry()
    }
}

impl Coded for ResultsError {
    fn code(&self) -> &'static Code {
        let code = match self {
            ResultsError::Write { .. } => MeasuringCode::NotWritten,
            ResultsError::Read { .. } => MeasuringCode::NotRead,
            ResultsError::NotResult { .. } => MeasuringCode::NotResult,
            ResultsError::NotAlike { .. } => MeasuringCode::NotAlike,
            ResultsError::NoFigure { .. } => MeasuringCode::NoFigure,
        };
        code.entry()
    }
}

impl Coded for TuneError {
    fn code(&self) -> &'static Code {
        let code = match self {
            TuneError::Rights { .. } => TuneCode::Rights,
            TuneError::Stands { .. } => TuneCode::Stands,
            TuneError::NoJournal => TuneCode::NoJournal,
            TuneError::JournalDamaged { .. } => TuneCode::JournalDamaged,
            TuneError::JournalWrite { .. } => TuneCode::JournalWrite,
            TuneError::UnknownName { .. } => TuneCode::UnknownName,
            TuneError::Busy { .. } => TuneCode::Busy,
            TuneError::RolledBack { .. } => TuneCode::RolledBack,
            TuneError::PutBack { .. } => TuneCode::PutBack,
            TuneError::Changed { .. } => TuneCode::Changed,
        };
        code.entry()
    }
}

impl Coded for ClientError {
    fn code(&self) -> &'static Code {
        match self {
            ClientError::Refused { outcome, .. } => outcome.code(),
            ClientError::Unknown => RefusalCode::Unknown.entry(),
            ClientError::Deadline => RefusalCode::Deadline.entry(),
            ClientError::Unreachable { .. } => WireCode::Unreachable.entry(),
            ClientError::Handshake(refusal) => refusal.code(),
            ClientError::Frame(error) => error.code(),
            ClientError::Cut(refusal) => refusal.code(),
            ClientError::OtherCluster => WireCode::OtherCluster.entry(),
            ClientError::WrongNode => WireCode::WrongNode.entry(),
            ClientError::Io(_) => WireCode::Connection.entry(),
            ClientError::Silent => WireCode::Silent.entry(),
            ClientError::Full => RefusalCode::ClientFull.entry(),
            ClientError::NotReady => RefusalCode::NotReady.entry(),
            ClientError::Gone => RefusalCode::Gone.entry(),
            ClientError::NotMember { .. } => RefusalCode::NotMember.entry(),
            ClientError::Chain { .. } => RefusalCode::Chain.entry(),
            ClientError::Closed => RefusalCode::Closed.entry(),
        }
    }
}

impl Coded for Outcome {
    fn code(&self) -> &'static Code {
        let code = match self {
            Outcome::Done | Outcome::Settled => RefusalCode::Logged,
            Outcome::Refused => RefusalCode::HandlerRefused,
            Outcome::Trapped => RefusalCode::HandlerTrapped,
            Outcome::Voided => RefusalCode::Voided,
            Outcome::Busy => RefusalCode::Busy,
            Outcome::NoQuorum => RefusalCode::NoQuorum,
            Outcome::NotWriter => RefusalCode::NotWriter,
            Outcome::SessionExpired => RefusalCode::SessionExpired,
            Outcome::TooLarge => RefusalCode::TooLarge,
            Outcome::Full => RefusalCode::Full,
            Outcome::Gap => RefusalCode::Gap,
            Outcome::Old => RefusalCode::Old,
            Outcome::GroupLost => RefusalCode::GroupLost,
            Outcome::Unknown => RefusalCode::Unknown,
            Outcome::BadRequest => RefusalCode::BadRequest,
            Outcome::Stopping => RefusalCode::Stopping,
            Outcome::NotMember => RefusalCode::NotMember,
            Outcome::LineageLost => RefusalCode::LineageLost,
        };
        code.entry()
    }
}

impl Coded for FrameError {
    fn code(&self) -> &'static Code {
        let code = match self {
            FrameError::Magic => WireCode::NotOurs,
            FrameError::Version
            | FrameError::Kind
            | FrameError::Flags
            | FrameError::ItemKind
            | FrameError::EntryFlags
            | FrameError::Operation
            | FrameError::Schema => WireCode::OtherRelease,
            FrameError::TooLong => WireCode::FrameTooLong,
            FrameError::Checksum => WireCode::Checksum,
            FrameError::Length
            | FrameError::ItemCount
            | FrameError::ItemLength
            | FrameError::Run
            | FrameError::Entry
            | FrameError::Request
            | FrameError::Reply
            | FrameError::Acked
            | FrameError::Body
            | FrameError::Part
            | FrameError::Compressed => WireCode::FrameMalformed,
        };
        code.entry()
    }
}

impl Coded for HandshakeRefusal {
    fn code(&self) -> &'static Code {
        let code = match self {
            HandshakeRefusal::Malformed => WireCode::HandshakeMalformed,
            HandshakeRefusal::TooLong => WireCode::HandshakeTooLong,
            HandshakeRefusal::Format { .. } => WireCode::HandshakeFormat,
            HandshakeRefusal::Cluster => WireCode::HandshakeCluster,
            HandshakeRefusal::Key => WireCode::HandshakeKey,
            HandshakeRefusal::Topology { .. } => WireCode::HandshakeTopology,
            HandshakeRefusal::UnknownNode => WireCode::HandshakeUnknownNode,
            HandshakeRefusal::Oneself => WireCode::HandshakeOneself,
            HandshakeRefusal::WrongDialer => WireCode::HandshakeWrongDialer,
            HandshakeRefusal::WrongLink => WireCode::HandshakeWrongLink,
            HandshakeRefusal::StaleIncarnation => WireCode::HandshakeStale,
            HandshakeRefusal::Busy => WireCode::HandshakeBusy,
            HandshakeRefusal::Stopping => WireCode::HandshakeStopping,
            HandshakeRefusal::NotLoopback => WireCode::HandshakeNotLoopback,
            HandshakeRefusal::Purpose => WireCode::HandshakePurpose,
            HandshakeRefusal::Late => WireCode::HandshakeLate,
        };
        code.entry()
    }
}

impl Coded for ConnectionRefusal {
    fn code(&self) -> &'static Code {
        match self {
            ConnectionRefusal::Frame(error) => error.code(),
            ConnectionRefusal::Handshake(refusal) => refusal.code(),
            ConnectionRefusal::Stranger => WireCode::Stranger.entry(),
            ConnectionRefusal::Unlisted { .. } => WireCode::Unlisted.entry(),
        }
    }
}

impl Coded for NodeError {
    fn code(&self) -> &'static Code {
        match self {
            NodeError::Unknown(problem) => problem.code().entry(),
            NodeError::PortInUse { .. } => StartCode::PortInUse.entry(),
            NodeError::Listen { .. } => StartCode::CannotListen.entry(),
            NodeError::Files { .. } => HostCode::Descriptors.entry(),
            NodeError::Host { .. } => StartCode::HostUnresolved.entry(),
            NodeError::Cores { cause, .. } => cause.code(),
            NodeError::Shards { .. } => StartCode::ShardsDiffer.entry(),
            NodeError::Kind { .. } => StartCode::KindUnserved.entry(),
            NodeError::Memory { .. } => HostCode::Memory.entry(),
            NodeError::Shard { cause, .. } => cause.code(),
            NodeError::Voter { cause, .. } => cause.code().entry(),
            NodeError::Kernel { .. } => HostCode::Kernel.entry(),
        }
    }
}

impl Coded for PinError {
    fn code(&self) -> &'static Code {
        match self {
            PinError::NotAllowed { .. } => StartCode::CoreNotAllowed.entry(),
            PinError::Kernel { .. } => StartCode::CorePinning.entry(),
        }
    }
}

impl Coded for StartError {
    fn code(&self) -> &'static Code {
        match self {
            StartError::Open(error) => error.code(),
            StartError::Listen(_) => HostCode::Listener.entry(),
            StartError::Entropy(_) => HostCode::Kernel.entry(),
        }
    }
}

impl Coded for OpenError {
    fn code(&self) -> &'static Code {
        match self {
            OpenError::Buffers(_) => HostCode::Buffers.entry(),
            OpenError::Uring(refusal) => refusal.code(),
            OpenError::Kernel(_) => HostCode::Driver.entry(),
        }
    }
}

impl Coded for UringRefusal {
    fn code(&self) -> &'static Code {
        let code = match self {
            UringRefusal::Forbidden(_) => HostCode::UringForbidden,
            UringRefusal::Unsupported { .. } => HostCode::UringUnsupported,
            UringRefusal::LockedMemory(_) => HostCode::UringLockedMemory,
            UringRefusal::Resources(_) => HostCode::UringResources,
        };
        code.entry()
    }
}

impl Coded for ClusterError {
    fn code(&self) -> &'static Code {
        match self {
            ClusterError::Folder(_) => MeasuringCode::Folder.entry(),
            ClusterError::Entropy(_) | ClusterError::Cuts(_) => HostCode::Kernel.entry(),
            ClusterError::Init(error) => Coded::code(error),
            ClusterError::Config(error) => error.code(),
            ClusterError::Ports { .. } => MeasuringCode::Ports.entry(),
            ClusterError::Spawn { .. } => MeasuringCode::Spawn.entry(),
            ClusterError::NotReady { .. } => MeasuringCode::NotReady.entry(),
        }
    }
}

impl Coded for TraceError {
    fn code(&self) -> &'static Code {
        match self {
            TraceError::Read { .. } | TraceError::Line { .. } | TraceError::Empty { .. } => {
                MeasuringCode::Trace.entry()
            }
        }
    }
}

impl Coded for RunError {
    fn code(&self) -> &'static Code {
        match self {
            RunError::Cluster(error) => error.code(),
            RunError::Client(error) => error.code(),
            RunError::Memory { .. } => HostCode::MemoryFree.entry(),
            RunError::Cores(_) => MeasuringCode::ChosenCores.entry(),
            RunError::Generator(_) => MeasuringCode::GeneratorLost.entry(),
        }
    }
}

impl Coded for ServeError {
    fn code(&self) -> &'static Code {
        match self {
            ServeError::Client(error) => error.code(),
            ServeError::Told(_) => MeasuringCode::GeneratorLost.entry(),
        }
    }
}

/// The code of a verdict that is no success.
pub(crate) fn of_verdict(verdict: Verdict) -> Option<&'static Code> {
    match verdict {
        Verdict::Ok => None,
        Verdict::Invalid => Some(MeasuringCode::VerdictInvalid.entry()),
        Verdict::Fail => Some(MeasuringCode::VerdictFail.entry()),
    }
}

impl Coded for MllpError {
    fn code(&self) -> &'static Code {
        match self {
            MllpError::Junk => EdgeCode::Junk.entry(),
            MllpError::Endless => EdgeCode::Endless.entry(),
        }
    }
}

impl Coded for Hl7Error {
    fn code(&self) -> &'static Code {
        let code = match self {
            Hl7Error::Empty => EdgeCode::Hl7Empty,
            Hl7Error::NotHl7 => EdgeCode::NotHl7,
            Hl7Error::Delimiters => EdgeCode::Hl7Delimiters,
            Hl7Error::MessageType => EdgeCode::Hl7MessageType,
            Hl7Error::ControlId => EdgeCode::Hl7ControlId,
            Hl7Error::NoPatient => EdgeCode::Hl7NoPatient,
            Hl7Error::KeyTooLong => EdgeCode::Hl7KeyTooLong,
            Hl7Error::MergedId => EdgeCode::Hl7MergedId,
            Hl7Error::BatchOpen => EdgeCode::Hl7BatchOpen,
            Hl7Error::FileOpen => EdgeCode::Hl7FileOpen,
            Hl7Error::BatchOrder => EdgeCode::Hl7BatchOrder,
            Hl7Error::BatchNumber => EdgeCode::Hl7BatchNumber,
            Hl7Error::FileNumber => EdgeCode::Hl7FileNumber,
            Hl7Error::BatchCount => EdgeCode::Hl7BatchCount,
            Hl7Error::FileCount => EdgeCode::Hl7FileCount,
        };
        code.entry()
    }
}

impl Coded for SubmitError {
    fn code(&self) -> &'static Code {
        match self {
            SubmitError::Hl7(error) => Coded::code(error),
            SubmitError::Unframeable => EdgeCode::Unframeable.entry(),
            SubmitError::Full => EdgeCode::SenderFull.entry(),
        }
    }
}
