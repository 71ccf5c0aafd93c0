//! The task that drives the core: it takes calls and what connections say from one queue, and writes where a socket takes bytes at once.
//!
//! A connection is a task of its own that dials, shakes hands, and then says what came and when the socket can be written again.
//! **Invariant:** what a connection says after the core has left it is not heard: each attempt has its own number.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use waterpark_wire::handshake::Welcome;

use super::{dial, in_time, io, read_some};
use crate::client_core::{ClientCore, Effect};
use crate::desk::{Call, Desk, Shake, Shaken, Sink};
use crate::error::ClientError;
use crate::peer::PeerId;
use crate::routing::Address;

/// Connecting and shaking hands with one address may take so long.
const CONNECT: Duration = Duration::from_secs(3);
/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 << 10;
/// Inputs that one turn takes at most.
const INPUTS_MAX: usize = 1_024;
/// The task looks at the clock at least so often.
const IDLE: Duration = Duration::from_secs(60);

/// What the task is told.
pub(super) enum Input {
    Call(Call, Sink),
    /// A connection, by peer and attempt.
    Said(PeerId, u64, Said),
    Close,
}

/// What a connection says.
pub(super) enum Said {
    Connected(Arc<TcpStream>, Box<Welcome>, Vec<u8>),
    Came(Vec<u8>),
    /// The socket may be written again.
    Writable,
    Failed(ClientError),
}

struct Wire {
    attempt: u64,
    /// Present once the handshake is done.
    stream: Option<Arc<TcpStream>>,
    /// Asks the connection's task to say when the socket can be written.
    full: Arc<Notify>,
    blocked: bool,
    task: JoinHandle<()>,
}

pub(super) struct Driver {
    core: ClientCore,
    desk: Desk,
    key: [u8; 32],
    lz4: bool,
    start: Instant,
    /// Weak, so that the end of all clients is seen.
    sender: mpsc::WeakUnboundedSender<Input>,
    inputs: mpsc::UnboundedReceiver<Input>,
    wires: BTreeMap<PeerId, Wire>,
    attempts: u64,
    effects: Vec<Effect>,
}

impl Driver {
    pub(super) fn new(
        core: ClientCore,
        key: [u8; 32],
        lz4: bool,
        sender: &mpsc::UnboundedSender<Input>,
        inputs: mpsc::UnboundedReceiver<Input>,
    ) -> Driver {
        Driver {
            core,
            desk: Desk::default(),
            key,
            lz4,
            start: Instant::now(),
            sender: sender.downgrade(),
            inputs,
            wires: BTreeMap::new(),
            attempts: 0,
            effects: Vec::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let now_ns = self.now_ns();
            self.core.on_tick(now_ns);
            self.carry_out(now_ns);
            let due_ns = self.core.next_due_ns().min(self.desk.next_due_ns());
            let due = Duration::from_nanos(due_ns.saturating_sub(now_ns)).min(IDLE);
            // The end of the wait is a turn without inputs.
            drop(timeout(due, self.inputs.recv_many(&mut batch, INPUTS_MAX)).await);
            let now_ns = self.now_ns();
            for input in batch.drain(..) {
                match input {
                    Input::Call(call, sink) => self.desk.call(&mut self.core, now_ns, call, sink),
                    Input::Said(peer, attempt, said) => self.on_said(now_ns, peer, attempt, said),
                    Input::Close => return self.close(now_ns),
                }
            }
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn close(&mut self, now_ns: u64) {
        self.desk.close(&mut self.core, now_ns);
        for wire in self.wires.values() {
            wire.task.abort();
        }
    }

    fn carry_out(&mut self, now_ns: u64) {
        loop {
            let mut effects = std::mem::take(&mut self.effects);
            self.core.take_effects(now_ns, &mut effects);
            let idle = effects.is_empty();
            for effect in effects.drain(..) {
                match effect {
                    Effect::Connect { peer, address } => self.connect(peer, address),
                    Effect::Write { peer } => self.write(now_ns, peer),
                    Effect::Close { peer, .. } => self.hang_up(peer),
                }
            }
            self.effects = effects;
            if !self.desk.settle(&mut self.core, now_ns) && idle {
                return;
            }
        }
    }

    fn connect(&mut self, peer: PeerId, address: Address) {
        let Some(sender) = self.sender.upgrade() else { return };
        self.attempts += 1;
        let attempt = self.attempts;
        let full = Arc::new(Notify::new());
        let (key, lz4, asked) = (self.key, self.lz4, Arc::clone(&full));
        let task = tokio::spawn(async move {
            // The receiver is gone only when the whole client is.
            let say = |said| drop(sender.send(Input::Said(peer, attempt, said)));
            match in_time(CONNECT, shake_hands(&address, &key, lz4)).await {
                Ok((stream, welcome, rest)) => {
                    let stream = Arc::new(stream);
                    say(Said::Connected(Arc::clone(&stream), welcome, rest));
                    let error = listen(&stream, &asked, say).await;
                    say(Said::Failed(error));
                }
                Err(error) => say(Said::Failed(error)),
            }
        });
        let wire = Wire {
            attempt,
            stream: None,
            full,
            blocked: false,
            task,
        };
        if let Some(before) = self.wires.insert(peer, wire) {
            before.task.abort();
        }
    }

    fn on_said(&mut self, now_ns: u64, peer: PeerId, attempt: u64, said: Said) {
        let Some(wire) = self.wires.get_mut(&peer).filter(|wire| wire.attempt == attempt) else {
            return;
        };
        match said {
            Said::Connected(stream, welcome, rest) => {
                wire.stream = Some(stream);
                self.core.on_connected(now_ns, peer, &welcome);
                self.core.on_bytes(now_ns, peer, &rest);
            }
            Said::Came(bytes) => self.core.on_bytes(now_ns, peer, &bytes),
            Said::Writable => {
                wire.blocked = false;
                self.write(now_ns, peer);
            }
            Said::Failed(error) => self.fail(now_ns, peer, error),
        }
    }

    fn write(&mut self, now_ns: u64, peer: PeerId) {
        let Some(wire) = self.wires.get_mut(&peer) else { return };
        let Some(stream) = &wire.stream else { return };
        while !wire.blocked {
            let bytes = self.core.outgoing(peer);
            if bytes.is_empty() {
                return;
            }
            match stream.try_write(bytes) {
                Ok(count) => self.core.on_written(peer, count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wire.blocked = true;
                    wire.full.notify_one();
                }
                Err(error) => return self.fail(now_ns, peer, io(error)),
            }
        }
    }

    fn fail(&mut self, now_ns: u64, peer: PeerId, cause: ClientError) {
        self.hang_up(peer);
        self.core.on_disconnected(now_ns, peer, cause);
    }

    fn hang_up(&mut self, peer: PeerId) {
        if let Some(wire) = self.wires.remove(&peer) {
            wire.task.abort();
        }
    }
}

/// Dials and shakes hands. What came behind the Welcome is returned too.
async fn shake_hands(
    address: &Address,
    key: &[u8; 32],
    lz4: bool,
) -> Result<(TcpStream, Box<Welcome>, Vec<u8>), ClientError> {
    let mut stream = dial(address).await?;
    let (mut shake, hello) = Shake::new(key, lz4)?;
    stream.write_all(&hello).await.map_err(io)?;
    let mut buffer = vec![0; 4 << 10];
    loop {
        let count = read_some(&mut stream, &mut buffer).await?;
        match shake.on_bytes(&buffer[..count]) {
            Shaken::Going(bytes) => stream.write_all(&bytes).await.map_err(io)?,
            Shaken::Done(welcome, rest) => return Ok((stream, welcome, rest)),
            Shaken::Failed(error, last) => {
                drop(stream.write_all(&last).await);
                return Err(error);
            }
        }
    }
}

/// Says what comes, and after each question when the socket can be written, until the connection ends.
async fn listen(stream: &TcpStream, full: &Notify, say: impl Fn(Said)) -> ClientError {
    let mut buffer = vec![0; READ_BYTES];
    let write = async {
        loop {
            full.notified().await;
            if let Err(error) = stream.writable().await {
                return io(error);
            }
            say(Said::Writable);
        }
    };
    let read = async {
        loop {
            if let Err(error) = stream.readable().await {
                return io(error);
            }
            match stream.try_read(&mut buffer) {
                Ok(0) => return ClientError::Io(ErrorKind::UnexpectedEof),
                Ok(count) => say(Said::Came(buffer[..count].to_vec())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return io(error),
            }
        }
    };
    tokio::select! {
        error = write => error,
        error = read => error,
    }
}
