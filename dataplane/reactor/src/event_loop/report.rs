//! What a shard's thread and the control thread tell each other: few words, never per message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use waterpark_core::controller::GroupReport;
use waterpark_core::effects::{Cut, Happened};
use waterpark_core::ids::{Member, NodeId, ShardId};
use waterpark_core::topology_log::{Entry, Stamp, TopologyState};
use waterpark_wire::FrameError;
use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::refusal::ConnectionRefusal;

use crate::driver::{DriverKind, SetupNote};

/// Something that an operator may want to read.
#[derive(Debug)]
pub enum Report {
    /// The shard listens.
    Listening {
        /// The driver in use.
        driver: DriverKind,
        /// The congestion control in force.
        congestion: String,
        /// What the banner says of the driver.
        notes: Vec<SetupNote>,
    },
    /// All groups that the shard is to write are open, or it has learnt that its process is out.
    Serving {
        /// The process is out: it serves as mailroom only.
        out: bool,
    },
    /// Groups that the shard is to write are not open yet.
    Waiting {
        /// Groups that are open.
        open: usize,
        /// Groups to write.
        groups: usize,
        /// Peers without a link.
        missing: Vec<NodeId>,
    },
    /// A link is up.
    LinkUp {
        /// The peer.
        peer: Member,
        /// The link's number between the two nodes.
        number: u16,
        /// The link's epoch.
        epoch: u32,
    },
    /// A link went down.
    LinkDown {
        /// The peer.
        peer: Member,
        /// The link's number between the two nodes.
        number: u16,
        /// Why.
        cause: LinkEnd,
    },
    /// A peer does not take a dial; told once until something changes.
    DialFailed {
        /// The peer.
        peer: NodeId,
        /// Where it was dialled.
        address: SocketAddr,
        /// What the kernel said.
        error: std::io::ErrorKind,
    },
    /// A node's host refused a connection: nobody listens there.
    Refused {
        /// The peer.
        peer: NodeId,
    },
    /// A shard wants an entry of the topology log.
    Propose(Entry),
    /// A peer's controller says something to this node's.
    Control {
        /// The process whose controller it is.
        from: Member,
        /// What it says.
        message: Vec<u8>,
    },
    /// An operator wants this process to stand still for so many milliseconds.
    StandStill(u32),
    /// Who was heard, and the groups that there is something to say about: all of them.
    Groups {
        /// Processes of which frames came since the last report.
        heard: Vec<Member>,
        /// The groups.
        groups: Vec<GroupReport>,
    },
    /// A handshake was refused, here or by the other side.
    HandshakeRefused {
        /// The other side.
        peer: SocketAddr,
        /// Why.
        refusal: HandshakeRefusal,
        /// The other side refused.
        by_peer: bool,
        /// The other side's topology, canonical, if the topologies differ.
        topology: Option<Box<[u8]>>,
    },
    /// A client's connection was ended by this side.
    ClientCut {
        /// The client.
        peer: SocketAddr,
        /// Why.
        cause: Cut,
    },
    /// A sender of another protocol came from another host, and only this one's are served.
    EdgeStranger {
        /// The sender.
        peer: SocketAddr,
    },
    /// Something happened in the shard.
    Happened(Happened),
    /// The shard has refused new work and flushed what it had; its thread ends.
    Stopped {
        /// Everything that was to be sent has left.
        flushed: bool,
    },
    /// The driver gave up; its thread ends and the process should.
    Failed(std::io::Error),
}

/// Why a link went down.
#[derive(Debug)]
pub enum LinkEnd {
    /// This side cut it.
    Cut(Cut),
    /// The peer sent bytes that are no frames.
    Malformed(FrameError),
    /// The peer refused what this side sent, and says why.
    RefusedByPeer(ConnectionRefusal),
    /// The peer closed it.
    PeerClosed,
    /// The kernel gave up on it.
    Failed(std::io::ErrorKind),
    /// The peer has left the cluster.
    Left,
    /// The peer made a new one.
    Replaced,
}

/// What the control thread wants of a shard.
#[derive(Debug)]
pub enum Command {
    /// A peer's host name resolves to this address from now on.
    Address {
        /// The peer.
        peer: NodeId,
        /// Its host.
        host: std::net::IpAddr,
    },
    /// Links to a peer take this way from now on.
    Way {
        /// The peer.
        peer: NodeId,
        /// Their way.
        way: super::Way,
    },
    /// Say this to the controller of a node, if a link to it is up.
    Control {
        /// To whom.
        to: NodeId,
        /// What.
        message: Vec<u8>,
    },
    /// The next entry of the topology log.
    Decided {
        /// Its position.
        position: u64,
        /// Who proposed it, and when.
        stamp: Stamp,
        /// It.
        entry: Arc<Entry>,
    },
    /// What all entries of the topology log up to a position add up to, in the place of those among them that did not come.
    State(Arc<TopologyState>),
    /// Stand still, as a process that is stopped.
    Pause,
    /// Go on.
    Resume,
    /// Refuse new work, flush, end.
    Stop,
    /// End at once, without another word to anyone.
    Die,
}

/// A shard's end of the way to the control thread. Never blocks and never grows: what finds no room is counted.
#[derive(Debug)]
pub(super) struct Reports {
    shard: ShardId,
    sender: SyncSender<(ShardId, Report)>,
    dropped: u64,
}

impl Reports {
    pub(super) fn new(shard: ShardId, sender: SyncSender<(ShardId, Report)>) -> Reports {
        Reports {
            shard,
            sender,
            dropped: 0,
        }
    }

    pub(super) fn tell(&mut self, report: Report) {
        // A control thread that is gone has ended the process's business; one that is behind has more than enough to write.
        self.dropped += u64::from(self.sender.try_send((self.shard, report)).is_err());
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
