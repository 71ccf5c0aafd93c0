//! A server that forgets: it stands before the nodes of a cluster, and answers one message among many with an ack although it was given to
//! nobody.
//!
//! Handshakes pass as they come, frames whole, and everything in them but that one message. The slot table names its own ports when it has
//! passed, so that clients that speak to the writers themselves come through it as well. It runs until the test ends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use waterpark_wire::FrameKind;
use waterpark_wire::body::{self, SlotTableBody};
use waterpark_wire::frame::{FRAME_BYTES_MAX, FrameAddress, FrameBuilder, FrameView};
use waterpark_wire::framer::Framer;
use waterpark_wire::item::{Item, ItemHeader, ItemKind};
use waterpark_wire::link::{DOCUMENT_SLOT_TABLE, Document};
use waterpark_wire::reply::{self, Outcome, ReplyHeader};
use waterpark_wire::request::{Operation, RequestView};

use super::Nodes;

/// Its ports lie so far above those of the node behind: of a node's 256, the nodes of the tests use none there.
const ABOVE: u16 = 128;
/// Frames begin with this, and no message of a handshake does.
const FRAME: &[u8] = b"WPK1";

/// What stands before a cluster.
pub(crate) struct Forgetful {
    shared: Arc<Shared>,
    config: PathBuf,
}

struct Shared {
    /// Messages that have come, over all connections.
    come: AtomicU64,
    /// Which of them is forgotten, from 1 on.
    victim: u64,
    forgotten: OnceLock<Vec<u8>>,
}

/// One connection.
struct Pair {
    client: TcpStream,
    node: TcpStream,
    /// Whoever has it may write a frame to the client.
    turn: Mutex<()>,
    shared: Arc<Shared>,
}

impl Forgetful {
    /// Stands before these nodes, of one shard each, and forgets one of the messages that come.
    pub(crate) fn before(nodes: &Nodes, victim: u64) -> Forgetful {
        let shared = Arc::new(Shared {
            come: AtomicU64::new(0),
            victim,
            forgotten: OnceLock::new(),
        });
        let mut text = std::fs::read_to_string(nodes.config_path()).expect("the configuration lies there");
        for node in &nodes.config.nodes {
            let base = node.ports().peer(0);
            let (ours, theirs) = (format!("port = {}\n", base + ABOVE), format!("port = {base}\n"));
            assert_eq!(text.matches(&theirs).count(), 1, "{text}");
            text = text.replace(&theirs, &ours);
            let behind = node.ports().native(0);
            let listener = TcpListener::bind(("127.0.0.1", behind + ABOVE)).expect("nobody else listens there");
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for client in listener.incoming() {
                    begin(client.expect("a connection"), behind, &shared);
                }
            });
        }
        // Beside the other one: it names the same file with the key.
        let config = nodes.cluster.folder().join("forgetful.toml");
        std::fs::write(&config, text).expect("the folder is ours");
        Forgetful { shared, config }
    }

    /// Of the cluster as it is seen through here.
    pub(crate) fn config_path(&self) -> String {
        self.config.display().to_string()
    }

    /// Messages that have come.
    pub(crate) fn come(&self) -> u64 {
        self.shared.come.load(Ordering::Relaxed)
    }

    /// The message that nobody was given.
    pub(crate) fn forgotten(&self) -> Option<&[u8]> {
        self.shared.forgotten.get().map(Vec::as_slice)
    }
}

fn begin(client: TcpStream, port: u16, shared: &Arc<Shared>) {
    let node = TcpStream::connect(("127.0.0.1", port)).expect("the node serves");
    for stream in [&client, &node] {
        stream.set_nodelay(true).expect("a TCP socket");
    }
    let pair = Arc::new(Pair {
        client,
        node,
        turn: Mutex::new(()),
        shared: Arc::clone(shared),
    });
    let other = Arc::clone(&pair);
    // A connection whose one end was closed ends its thread, whatever it was doing, and the other one by closing the other end.
    std::thread::spawn(move || {
        carry(
            &pair.client,
            |frame, out| pair.to_node(frame, out),
            |bytes| (&pair.node).write_all(bytes),
        )
        .ok();
        pair.node.shutdown(std::net::Shutdown::Both).ok();
    });
    std::thread::spawn(move || {
        carry(&other.node, to_client, |bytes| other.tell_client(bytes)).ok();
        other.client.shutdown(std::net::Shutdown::Both).ok();
    });
}

/// Carries what comes on, until it ends: first as it comes, then as whole frames.
fn carry(
    mut from: &TcpStream,
    mut on_frame: impl FnMut(FrameView<'_>, &mut Vec<u8>),
    mut write: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let (mut buffer, mut out) = (vec![0; 256 << 10], Vec::new());
    let (mut framer, mut shaken) = (Framer::new(FRAME_BYTES_MAX), false);
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let came = &buffer[..count];
        // Either side waits for the other's last word before its first frame, so none begins in the middle of what came.
        shaken = shaken || came.starts_with(FRAME);
        if !shaken {
            write(came)?;
            continue;
        }
        let fed = framer.feed(came, true, |frame| {
            on_frame(frame, &mut out);
            Ok(())
        });
        fed.expect("clients and nodes send well-formed frames");
        write(&out)?;
        out.clear();
    }
}

impl Pair {
    fn tell_client(&self, bytes: &[u8]) -> std::io::Result<()> {
        let _turn = self.turn.lock().expect("nobody panics with it");
        (&self.client).write_all(bytes)
    }

    fn to_node(&self, frame: FrameView<'_>, out: &mut Vec<u8>) {
        append(frame, out, |item, bytes| {
            if item.kind() == ItemKind::Request {
                let request = RequestView::new_checked(item).expect("clients send well-formed requests");
                let counts = request.operation == Operation::Send;
                if counts && self.shared.come.fetch_add(1, Ordering::Relaxed) + 1 == self.shared.victim {
                    self.forget(frame, &request);
                    return false;
                }
            }
            push(item, bytes);
            true
        });
    }

    /// Says that the request's message is held by as many as must hold it.
    fn forget(&self, frame: FrameView<'_>, request: &RequestView<'_>) {
        self.shared
            .forgotten
            .set(request.message.to_vec())
            .expect("one is forgotten");
        let header = ReplyHeader {
            item: ItemHeader {
                group: request.header.item.group,
                ..ItemHeader::default()
            },
            correlation: request.header.correlation,
            number: request.header.number,
            outcome: Outcome::Done as u8,
            ..ReplyHeader::default()
        };
        let mut bytes = Vec::new();
        let mut ack = FrameBuilder::begin(&mut bytes);
        reply::push(&mut bytes, &header, &[]);
        ack.pushed();
        let address = FrameAddress {
            kind: FrameKind::Node,
            sender: (
                frame.header.receiver_node.get(),
                frame.header.receiver_incarnation.get(),
            ),
            receiver: (0, 0),
            number: 0,
            epoch: 0,
        };
        ack.finish(&mut bytes, &address);
        // A client that has gone needs no ack.
        self.tell_client(&bytes).ok();
    }
}

fn to_client(frame: FrameView<'_>, out: &mut Vec<u8>) {
    append(frame, out, |item, bytes| {
        if item.kind() == ItemKind::Document && item.header.aux.get() == DOCUMENT_SLOT_TABLE {
            let (document, archive) = Document::new_checked(item).expect("nodes send well-formed documents");
            let mut table: SlotTableBody = body::decode(archive).expect("and what they hold");
            for node in &mut table.nodes {
                node.native_port += ABOVE;
            }
            document.push(bytes, &body::encode(&table));
        } else {
            push(item, bytes);
        }
        true
    });
}

fn push(item: &Item<'_>, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(item.bytes);
    bytes.resize(bytes.len().next_multiple_of(16), 0);
}

/// A frame anew, with what `on_item` makes of each of its items; it says whether there is one.
fn append(frame: FrameView<'_>, out: &mut Vec<u8>, mut on_item: impl FnMut(&Item<'_>, &mut Vec<u8>) -> bool) {
    let mut bytes = Vec::new();
    let mut builder = FrameBuilder::begin(&mut bytes);
    for item in frame.items() {
        if on_item(&item, &mut bytes) {
            builder.pushed();
        }
    }
    let header = frame.header;
    let address = FrameAddress {
        kind: frame.kind,
        sender: (header.sender_node.get(), header.sender_incarnation.get()),
        receiver: (header.receiver_node.get(), header.receiver_incarnation.get()),
        number: header.number.get(),
        epoch: header.epoch.get(),
    };
    if builder.items() > 0 {
        builder.finish(&mut bytes, &address);
        out.extend_from_slice(&bytes);
    }
}
