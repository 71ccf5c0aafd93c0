//! The client for tasks: the same calls as [`crate::blocking::Client`], as async functions over tokio's sockets. One task of the client's
//! own drives the core; a small one per connection reads.
//!
//! It decides nothing. **Invariant:** a call that was handed over gets its end before the task is gone.

mod driver;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use waterpark_ring::KeyRef;
use waterpark_wire::body::{self, OrderBody, OrderedBody, SlotTableBody, StatusBody, TopologyBody, WhereBody};

pub use crate::desk::{Answer, ClusterAddresses, ConnectOptions, Sent};

use self::driver::{Driver, Input};
use crate::client_core::ClientCore;
use crate::completion::Ticket;
use crate::desk::{Call, Shake, Shaken, random};
use crate::error::ClientError;
use crate::options::{HistoryQuery, ReadOptions, SendOptions};
use crate::read_back::{Progress, ReadBack, ReadEntry};
use crate::routing::Address;

/// Messages of one [`Client::send_many`] that are under way at once.
const MANY_WINDOW: usize = 4_096;
/// Bytes that one read of a bulk stream takes at most.
const BULK_READ_BYTES: usize = 256 << 10;

/// A connected client. Clones share its task and connections; the last one ends them.
#[derive(Clone)]
pub struct Client {
    inputs: Arc<Inputs>,
    key: [u8; 32],
    options: ConnectOptions,
}

/// The way to the task, which ends with it.
struct Inputs(mpsc::UnboundedSender<Input>);

impl Drop for Inputs {
    fn drop(&mut self) {
        // A task that is gone has nothing left to end.
        drop(self.0.send(Input::Close));
    }
}

impl std::fmt::Debug for Client {
    /// Leaves the cluster's key out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a cluster through its entry nodes, given as addresses or as text: `host:port`, several with commas between. Returns
    /// once the slot table is learnt. Has to be called within a tokio runtime with I/O and time, where its task then runs.
    ///
    /// # Errors
    /// `Io(InvalidInput)` if the text is no address, `Handshake` if every entry refused, `Unreachable` after the time to connect.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn connect<A>(entries: A, key: &[u8; 32], options: ConnectOptions) -> Result<Client, ClientError>
    where
        A: TryInto<ClusterAddresses>,
        ClientError: From<A::Error>,
    {
        let addresses: ClusterAddresses = entries.try_into()?;
        if addresses.0.is_empty() {
            return Err(ClientError::Unreachable { tried: 0 });
        }
        let core = ClientCore::new(options.client, addresses.0, random()?);
        let (sender, receiver) = mpsc::unbounded_channel();
        let driver = Driver::new(core, *key, options.lz4, &sender, receiver);
        tokio::spawn(driver.run());
        let client = Client {
            inputs: Arc::new(Inputs(sender)),
            key: *key,
            options,
        };
        let until_ns = u64::from(options.connect_timeout_ms) * 1_000_000;
        client.ask(Call::Ready { until_ns }).await?;
        Ok(client)
    }

    /// Sends a message to an actor and waits for its end.
    ///
    /// # Errors
    /// As [`crate::blocking::Client::send`].
    pub async fn send(&self, key: KeyRef<'_>, message: &[u8], options: &SendOptions) -> Result<Answer, ClientError> {
        self.send_held(key, message, options).await.result
    }

    /// The same, with the ticket that [`Client::void`] takes if nothing is known of the effect and `hold_unknown` was set.
    pub async fn send_held(&self, key: KeyRef<'_>, message: &[u8], options: &SendOptions) -> Sent {
        let call = Call::Send {
            key: key.to_key(),
            message: message.to_vec(),
            options: *options,
        };
        self.end_of(call).await
    }

    /// Sends many messages, pipelined, and waits for all their ends, which come back in the order of the messages. `options.tag` is not
    /// looked at.
    pub async fn send_many<'a>(
        &self,
        messages: impl IntoIterator<Item = (KeyRef<'a>, &'a [u8])>,
        options: &SendOptions,
    ) -> Vec<Result<Answer, ClientError>> {
        let window = MANY_WINDOW.min(self.options.client.in_flight_max.max(1) as usize);
        let mut ends: std::collections::VecDeque<oneshot::Receiver<Sent>> = std::collections::VecDeque::new();
        let mut results = Vec::new();
        for (key, message) in messages {
            if ends.len() == window
                && let Some(end) = ends.pop_front()
            {
                results.push(end_or_closed(end).await.result);
            }
            ends.push_back(self.begin(Call::Send {
                key: key.to_key(),
                message: message.to_vec(),
                options: *options,
            }));
        }
        for end in ends {
            results.push(end_or_closed(end).await.result);
        }
        results
    }

    /// Asks what became of a message that ended `Unknown` and was sent with `hold_unknown`.
    ///
    /// # Errors
    /// `Gone` if the ticket is not held, else as [`Client::send`]; after `Unknown` it is held as before.
    pub async fn void(&self, ticket: Ticket, timeout_ms: u32) -> Result<Answer, ClientError> {
        self.ask(Call::Void { ticket, timeout_ms }).await
    }

    /// Forgets a held number.
    ///
    /// # Errors
    /// `Gone` if the ticket is not held.
    pub async fn release(&self, ticket: Ticket) -> Result<(), ClientError> {
        self.ask(Call::Release { ticket }).await.map(drop)
    }

    /// An actor's state, as its kind shows it; empty if there is no such actor.
    ///
    /// # Errors
    /// As [`Client::send`], without `Unknown`.
    pub async fn get(&self, key: KeyRef<'_>, options: &ReadOptions) -> Result<Answer, ClientError> {
        let (key, options) = (key.to_key(), *options);
        self.ask(Call::Get { key, options }).await
    }

    /// An actor's entries, newest first: read the body with [`crate::history_entries`].
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn history(
        &self,
        key: KeyRef<'_>,
        query: HistoryQuery,
        options: &ReadOptions,
    ) -> Result<Answer, ClientError> {
        let (key, options) = (key.to_key(), *options);
        self.ask(Call::History { key, query, options }).await
    }

    /// Where an actor's group lives and how far each member holds it.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn where_(&self, key: KeyRef<'_>, options: &ReadOptions) -> Result<WhereBody, ClientError> {
        let (key, options) = (key.to_key(), *options);
        let answer = self.ask(Call::Where { key, options }).await?;
        body::decode(&answer.body).map_err(ClientError::Frame)
    }

    /// The status of one shard.
    ///
    /// # Errors
    /// `NotMember` if there is no such shard, else as [`Client::get`].
    pub async fn status(&self, node: u16, shard: u16, options: &ReadOptions) -> Result<StatusBody, ClientError> {
        let options = *options;
        let answer = self.ask(Call::Status { node, shard, options }).await?;
        body::decode(&answer.body).map_err(ClientError::Frame)
    }

    /// What a node knows of the topology log.
    ///
    /// # Errors
    /// `NotMember` if there is no such node, else as [`Client::get`].
    pub async fn topology(&self, node: u16, options: &ReadOptions) -> Result<TopologyBody, ClientError> {
        let options = *options;
        let answer = self.ask(Call::Topology { node, options }).await?;
        body::decode(&answer.body).map_err(ClientError::Frame)
    }

    /// Gives a node an operator's order. One that is taken is proposed to the topology log and may get lost there: look at the log, and give
    /// it again until it is shown.
    ///
    /// # Errors
    /// `NotMember` if there is no such node, else as [`Client::get`].
    pub async fn order(&self, node: u16, order: OrderBody, options: &ReadOptions) -> Result<OrderedBody, ClientError> {
        let options = *options;
        let answer = self.ask(Call::Order { node, order, options }).await?;
        body::decode(&answer.body).map_err(ClientError::Frame)
    }

    /// The slot table.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn slot_table(&self, options: &ReadOptions) -> Result<SlotTableBody, ClientError> {
        let answer = self.ask(Call::SlotTable { options: *options }).await?;
        body::decode(&answer.body).map_err(ClientError::Frame)
    }

    /// Reads all committed entries of a group back as one member holds them, from a seq on, over a connection of its own. Returns the
    /// first seq that was not read.
    ///
    /// # Errors
    /// `NotMember` if the node holds no copy, `Chain` if the runs do not follow each other; `Io`, `Handshake`, `Frame`.
    pub async fn read_back(
        &self,
        node: u16,
        group: u32,
        from_seq: u64,
        mut on_entry: impl FnMut(&ReadEntry<'_>),
    ) -> Result<u64, ClientError> {
        let answer = self.ask(Call::AddressOf { node, group }).await?;
        let address: Address = String::from_utf8_lossy(&answer.body).parse()?;
        let wait = Duration::from_millis(self.options.connect_timeout_ms.into());
        let (mut stream, mut decoder) = in_time(wait, open_bulk(&address, &self.key)).await?;
        let mut buffer = vec![0; BULK_READ_BYTES];
        decoder.begin(group, from_seq)?;
        loop {
            let out = decoder.outgoing().to_vec();
            in_time(wait, async { stream.write_all(&out).await.map_err(io) }).await?;
            decoder.on_written(out.len());
            let count = in_time(wait, read_some(&mut stream, &mut buffer)).await?;
            if let Progress::Done { next_seq, .. } = decoder.on_bytes(&buffer[..count], &mut on_entry)? {
                return Ok(next_seq);
            }
        }
    }

    fn begin(&self, call: Call) -> oneshot::Receiver<Sent> {
        let (sender, end) = oneshot::channel();
        let sink = Box::new(move |sent| {
            // Nobody waits any more: the caller's task was dropped.
            drop(sender.send(sent));
        });
        // A task that is gone drops the call and its sink, which the caller sees as `Closed`.
        drop(self.inputs.0.send(Input::Call(call, sink)));
        end
    }

    async fn ask(&self, call: Call) -> Result<Answer, ClientError> {
        self.end_of(call).await.result
    }

    async fn end_of(&self, call: Call) -> Sent {
        end_or_closed(self.begin(call)).await
    }
}

async fn end_or_closed(end: oneshot::Receiver<Sent>) -> Sent {
    end.await.unwrap_or(Sent {
        ticket: None,
        result: Err(ClientError::Closed),
    })
}

async fn open_bulk(address: &Address, key: &[u8; 32]) -> Result<(TcpStream, ReadBack), ClientError> {
    let mut stream = dial(address).await?;
    let (mut shake, hello) = Shake::new(key, false)?;
    stream.write_all(&hello).await.map_err(io)?;
    let mut buffer = vec![0; 4 << 10];
    loop {
        let count = read_some(&mut stream, &mut buffer).await?;
        match shake.on_bytes(&buffer[..count]) {
            Shaken::Going(bytes) => stream.write_all(&bytes).await.map_err(io)?,
            // Nothing follows a Welcome before it is asked for.
            Shaken::Done(welcome, _) => return Ok((stream, ReadBack::new(&welcome))),
            Shaken::Failed(error, last) => {
                drop(stream.write_all(&last).await);
                return Err(error);
            }
        }
    }
}

async fn dial(address: &Address) -> Result<TcpStream, ClientError> {
    let stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    Ok(stream)
}

async fn read_some(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize, ClientError> {
    match stream.read(buffer).await.map_err(io)? {
        0 => Err(ClientError::Io(ErrorKind::UnexpectedEof)),
        count => Ok(count),
    }
}

async fn in_time<T>(wait: Duration, work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let late = Err(ClientError::Io(ErrorKind::TimedOut));
    timeout(wait, work).await.unwrap_or(late)
}

fn io(error: std::io::Error) -> ClientError {
    ClientError::Io(error.kind())
}
