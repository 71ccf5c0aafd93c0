//! What the faces with threads or tasks share: calls, the places their answers go to, and the handshake of a connection.
//!
//! A call hands over a sink; the desk gives it the end of its request, once. No I/O here.

use waterpark_ring::Key;
use waterpark_wire::body::OrderBody;
use waterpark_wire::handshake::{Dialer, HandshakeRefusal, Party, Purpose, Step, Welcome};
use waterpark_wire::reply::Outcome;

use crate::client_core::ClientCore;
use crate::completion::{Ticket, Token};
use crate::error::ClientError;
use crate::options::{ClientOptions, HistoryQuery, ReadOptions, SendOptions};
use crate::routing::Address;

/// The nodes that a client asks first. One is enough: it learns the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterAddresses(pub Vec<Address>);

impl From<Address> for ClusterAddresses {
    fn from(address: Address) -> ClusterAddresses {
        ClusterAddresses(vec![address])
    }
}

impl TryFrom<&str> for ClusterAddresses {
    type Error = ClientError;

    /// Reads `host:port`, or several of them with commas between.
    fn try_from(text: &str) -> Result<ClusterAddresses, ClientError> {
        let addresses: Result<Vec<Address>, ClientError> = text.split(',').map(|one| one.trim().parse()).collect();
        Ok(ClusterAddresses(addresses?))
    }
}

/// How a client connects.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions {
    /// Bounds and habits of its core.
    pub client: ClientOptions,
    /// Connecting for the first time ends after so many milliseconds.
    pub connect_timeout_ms: u32,
    /// Takes compressed frames, if the node sends them.
    pub lz4: bool,
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions {
            client: ClientOptions::default(),
            connect_timeout_ms: 5_000,
            lz4: false,
        }
    }
}

/// The cluster's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What became of the request; always a logged outcome.
    pub outcome: Outcome,
    /// Its entry, or the last entry that a read was computed from.
    pub token: Option<Token>,
    /// What the handler, the read or the document says.
    pub body: Vec<u8>,
    /// Copies that were sent.
    pub attempts: u32,
}

/// The end of a message, with the ticket under which its number is held if nothing is known of its effect.
#[derive(Clone, Debug)]
pub struct Sent {
    /// For `void` and `release`, if the message was sent with `hold_unknown`.
    pub ticket: Option<Ticket>,
    /// Its end.
    pub result: Result<Answer, ClientError>,
}

/// What is asked of the desk.
#[derive(Debug)]
pub(crate) enum Call {
    Ready {
        until_ns: u64,
    },
    Send {
        key: Key,
        message: Vec<u8>,
        options: SendOptions,
    },
    Get {
        key: Key,
        options: ReadOptions,
    },
    History {
        key: Key,
        query: HistoryQuery,
        options: ReadOptions,
    },
    Where {
        key: Key,
        options: ReadOptions,
    },
    Status {
        node: u16,
        shard: u16,
        options: ReadOptions,
    },
    SlotTable {
        options: ReadOptions,
    },
    Topology {
        node: u16,
        options: ReadOptions,
    },
    Order {
        node: u16,
        order: OrderBody,
        options: ReadOptions,
    },
    Void {
        ticket: Ticket,
        timeout_ms: u32,
    },
    Release {
        ticket: Ticket,
    },
    AddressOf {
        node: u16,
        group: u32,
    },
}

/// Takes the end of a call.
pub(crate) type Sink = Box<dyn FnOnce(Sent) + Send>;

/// Sinks for the completions of one core.
#[derive(Default)]
pub(crate) struct Desk {
    /// By tag.
    sinks: Vec<Option<Sink>>,
    free: Vec<usize>,
    ready: Vec<(u64, Sink)>,
}

impl Desk {
    /// Begins a call. Its sink is called now or with a later turn.
    pub(crate) fn call(&mut self, core: &mut ClientCore, now_ns: u64, call: Call, sink: Sink) {
        if let Call::Ready { until_ns } = call {
            return self.ready.push((until_ns, sink));
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.sinks.push(None);
            self.sinks.len() - 1
        });
        match begin(core, now_ns, call, place as u64) {
            Ok(None) => self.sinks[place] = Some(sink),
            Ok(Some(answer)) => {
                self.free.push(place);
                end(sink, Ok(answer));
            }
            Err(error) => {
                self.free.push(place);
                end(sink, Err(error));
            }
        }
    }

    /// Hands over what has ended. Returns whether anything did.
    pub(crate) fn settle(&mut self, core: &mut ClientCore, now_ns: u64) -> bool {
        self.settle_ready(core, now_ns);
        if !core.has_completions() {
            return false;
        }
        let (sinks, free) = (&mut self.sinks, &mut self.free);
        core.take_completions(|completion| {
            let place = usize::try_from(completion.tag).expect("a place among the sinks");
            let sink = sinks[place].take().expect("a request ends once");
            free.push(place);
            let answer = |outcome| Answer {
                outcome,
                token: completion.token,
                body: completion.body.to_vec(),
                attempts: completion.attempts,
            };
            sink(Sent {
                ticket: Some(completion.ticket),
                result: completion.result.map(answer),
            });
        });
        true
    }

    fn settle_ready(&mut self, core: &ClientCore, now_ns: u64) {
        if self.ready.is_empty() {
            return;
        }
        let tried = core.tried;
        let mut late = ClientError::Unreachable { tried };
        let error = match core.last_failure() {
            // A node that is full or ending says so for a while: it is asked again, and named when time is over.
            Some(error @ ClientError::Handshake(HandshakeRefusal::Busy | HandshakeRefusal::Stopping)) => {
                late = error;
                None
            }
            // What a key or a cluster id has wrong does not mend itself: said once every entry was tried.
            Some(error @ (ClientError::Handshake(_) | ClientError::OtherCluster))
                if core.tried as usize >= core.entries =>
            {
                Some(error)
            }
            _ => None,
        };
        let is_ready = core.is_ready();
        for (until_ns, sink) in std::mem::take(&mut self.ready) {
            if is_ready {
                end(sink, Ok(done(Vec::new())));
            } else if let Some(error) = error {
                end(sink, Err(error));
            } else if now_ns >= until_ns {
                end(sink, Err(late));
            } else {
                self.ready.push((until_ns, sink));
            }
        }
    }

    /// When a sink has to be called at the latest, whatever the core does; monotonic ns.
    pub(crate) fn next_due_ns(&self) -> u64 {
        let ready = self.ready.iter().map(|(until_ns, _)| *until_ns).min();
        ready.unwrap_or(u64::MAX)
    }

    /// Ends everything.
    pub(crate) fn close(&mut self, core: &mut ClientCore, now_ns: u64) {
        core.close(now_ns);
        for (_, sink) in self.ready.drain(..) {
            end(sink, Err(ClientError::Closed));
        }
        self.settle(core, now_ns);
    }
}

fn begin(core: &mut ClientCore, now_ns: u64, call: Call, tag: u64) -> Result<Option<Answer>, ClientError> {
    match call {
        Call::Ready { .. } => {}
        Call::Send { key, message, options } => {
            let key = core.prepare(key.as_ref())?;
            core.send(now_ns, key, &message, &SendOptions { tag, ..options })?;
        }
        Call::Get { key, options } => {
            let key = core.prepare(key.as_ref())?;
            core.get(now_ns, key, &ReadOptions { tag, ..options })?;
        }
        Call::History { key, query, options } => {
            let key = core.prepare(key.as_ref())?;
            core.history(now_ns, key, query, &ReadOptions { tag, ..options })?;
        }
        Call::Where { key, options } => {
            let key = core.prepare(key.as_ref())?;
            core.where_(now_ns, key, &ReadOptions { tag, ..options })?;
        }
        Call::Status { node, shard, options } => {
            core.status(now_ns, node, shard, &ReadOptions { tag, ..options })?;
        }
        Call::SlotTable { options } => {
            core.slot_table(now_ns, &ReadOptions { tag, ..options })?;
        }
        Call::Topology { node, options } => {
            core.topology(now_ns, node, &ReadOptions { tag, ..options })?;
        }
        Call::Order { node, order, options } => {
            core.order(now_ns, node, &order, &ReadOptions { tag, ..options })?;
        }
        Call::Void { ticket, timeout_ms } => core.void(now_ns, ticket, timeout_ms, tag)?,
        Call::Release { ticket } => {
            core.release(now_ns, ticket)?;
            return Ok(Some(done(Vec::new())));
        }
        Call::AddressOf { node, group } => {
            let shard = core.shard_of(node, group).ok_or(ClientError::NotMember { group })?;
            let address = core.address_of(node, shard).ok_or(ClientError::NotMember { group })?;
            return Ok(Some(done(address.to_string().into_bytes())));
        }
    }
    Ok(None)
}

/// A call that comes too late.
pub(crate) fn refuse_closed(sink: Sink) {
    end(sink, Err(ClientError::Closed));
}

fn end(sink: Sink, result: Result<Answer, ClientError>) {
    sink(Sent { ticket: None, result });
}

fn done(body: Vec<u8>) -> Answer {
    Answer {
        outcome: Outcome::Done,
        token: None,
        body,
        attempts: 0,
    }
}

/// The dialing side of one connection's handshake.
pub(crate) struct Shake {
    dialer: Dialer,
    /// Bytes that came and do not make a step yet, or belong to what follows.
    input: Vec<u8>,
}

/// How a handshake went on.
pub(crate) enum Shaken {
    /// It waits for more bytes, after these were written.
    Going(Vec<u8>),
    /// It is done; the bytes are the beginning of the frames.
    Done(Box<Welcome>, Vec<u8>),
    /// It failed; the bytes tell the other side why, if it still reads.
    Failed(ClientError, Vec<u8>),
}

impl Shake {
    /// Begins a handshake, and the first bytes to write.
    pub(crate) fn new(key: &[u8; 32], lz4: bool) -> Result<(Shake, Vec<u8>), ClientError> {
        let party = Party::client();
        let dialer = Dialer::new(party, Purpose::Client, key, random()?, lz4);
        let hello = dialer.hello().to_vec();
        let shake = Shake {
            dialer,
            input: Vec::new(),
        };
        Ok((shake, hello))
    }

    pub(crate) fn on_bytes(&mut self, bytes: &[u8]) -> Shaken {
        self.input.extend_from_slice(bytes);
        let mut out = Vec::new();
        loop {
            let (used, step) = self.dialer.on_bytes(&self.input);
            self.input.drain(..used);
            match step {
                Step::More => return Shaken::Going(out),
                Step::Send(bytes) => out.extend_from_slice(&bytes),
                Step::Done { send, peer } => {
                    debug_assert!(
                        send.is_empty() && out.is_empty(),
                        "a client's handshake ends with the node's word"
                    );
                    return Shaken::Done(Box::new(peer), std::mem::take(&mut self.input));
                }
                Step::Refused { send, refusal, .. } => {
                    out.extend_from_slice(&send);
                    return Shaken::Failed(ClientError::Handshake(refusal), out);
                }
            }
        }
    }
}

/// Bytes from the kernel that nobody can guess.
pub(crate) fn random() -> Result<[u8; 16], ClientError> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut bytes[filled..], flags) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(ClientError::Io(std::io::Error::from(error).kind())),
        }
    }
    Ok(bytes)
}
