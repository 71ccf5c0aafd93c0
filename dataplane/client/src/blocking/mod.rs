//! The client for threads: calls block, any number of threads may call at once, and one thread of the client's own does the talking.
//!
//! ```no_run
//! use waterpark_client::SendOptions;
//! use waterpark_client::blocking::{Client, ConnectOptions};
//! use waterpark_ring::Key;
//!
//! let client = Client::connect("127.0.0.1:7064", &[7; 32], ConnectOptions::default())?;
//! let key = Key::parse("patient/1001").expect("a well-formed key");
//! let answer = client.send(key.as_ref(), b"admitted", &SendOptions::default())?;
//! println!("{:?} at {:?}", answer.outcome, answer.token);
//! # Ok::<(), waterpark_client::ClientError>(())
//! ```

mod bulk;
mod driver;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use waterpark_ring::KeyRef;
use waterpark_wire::body::{self, OrderBody, OrderedBody, SlotTableBody, StatusBody, TopologyBody, WhereBody};

pub use crate::desk::{Answer, ClusterAddresses, ConnectOptions, Sent};

pub use self::bulk::BulkReader;
use self::driver::Handle;
use crate::completion::Ticket;
use crate::desk::Call;
use crate::error::ClientError;
use crate::options::{HistoryQuery, ReadOptions, SendOptions};
use crate::polled::Polled;
use crate::read_back::ReadEntry;

/// Messages of one [`Client::send_many`] that are under way at once.
const MANY_WINDOW: usize = 4_096;

/// A connected client. Clones share its thread and connections; the last one ends them.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    key: [u8; 32],
    options: ConnectOptions,
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
    /// once the slot table is learnt.
    ///
    /// # Errors
    /// `Io(InvalidInput)` if the text is no address, `Handshake` if every entry refused, `Unreachable` after the time to connect.
    pub fn connect<A>(entries: A, key: &[u8; 32], options: ConnectOptions) -> Result<Client, ClientError>
    where
        A: TryInto<ClusterAddresses>,
        ClientError: From<A::Error>,
    {
        let polled = Polled::new(entries.try_into()?, *key, &options)?;
        let handle = Handle::start(polled)?;
        let client = Client {
            handle: Arc::new(handle),
            key: *key,
            options,
        };
        let until = Duration::from_millis(options.connect_timeout_ms.into());
        let until_ns = client
            .handle
            .now_ns()
            .saturating_add(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX));
        client.ask(Call::Ready { until_ns })?;
        Ok(client)
    }

    /// Sends a message to an actor and waits for its end.
    ///
    /// # Errors
    /// Every way in which a message can end without an answer of the actor; `Unknown` is the one that leaves its effect open.
    pub fn send(&self, key: KeyRef<'_>, message: &[u8], options: &SendOptions) -> Result<Answer, ClientError> {
        self.send_held(key, message, options).result
    }

    /// The same, with the ticket that [`Client::void`] takes if nothing is known of the effect and `hold_unknown` was set.
    #[must_use]
    pub fn send_held(&self, key: KeyRef<'_>, message: &[u8], options: &SendOptions) -> Sent {
        self.end_of(Call::Send {
            key: key.to_key(),
            message: message.to_vec(),
            options: *options,
        })
    }

    /// Sends many messages, pipelined, and waits for all their ends, which come back in the order of the messages. `options.tag` is not
    /// looked at.
    #[must_use]
    pub fn send_many<'a>(
        &self,
        messages: impl IntoIterator<Item = (KeyRef<'a>, &'a [u8])>,
        options: &SendOptions,
    ) -> Vec<Result<Answer, ClientError>> {
        let window = MANY_WINDOW.min(self.options.client.in_flight_max.max(1) as usize);
        let (sender, ends) = mpsc::channel();
        let mut results = Vec::new();
        let mut under_way = 0;
        let take = |results: &mut Vec<Result<Answer, ClientError>>| {
            // The thread drops a sink only together with itself.
            if let Ok((place, result)) = ends.recv() {
                let place: usize = place;
                results[place] = result;
            }
        };
        for (key, message) in messages {
            if under_way == window {
                take(&mut results);
                under_way -= 1;
            }
            let place = results.len();
            results.push(Err(ClientError::Closed));
            let call = Call::Send {
                key: key.to_key(),
                message: message.to_vec(),
                options: *options,
            };
            let sender = sender.clone();
            under_way += 1;
            self.handle.call(
                call,
                Box::new(move |sent| {
                    // Nobody waits any more: the caller's thread is gone.
                    drop(sender.send((place, sent.result)));
                }),
            );
        }
        drop(sender);
        (0..under_way).for_each(|_| take(&mut results));
        results
    }

    /// Asks what became of a message that ended `Unknown` and was sent with `hold_unknown`. `Voided` says that it never takes effect; any
    /// other outcome is the message's own.
    ///
    /// # Errors
    /// `Gone` if the ticket is not held, else as [`Client::send`]; after `Unknown` it is held as before.
    pub fn void(&self, ticket: Ticket, timeout_ms: u32) -> Result<Answer, ClientError> {
        self.ask(Call::Void { ticket, timeout_ms })
    }

    /// Forgets a held number.
    ///
    /// # Errors
    /// `Gone` if the ticket is not held.
    pub fn release(&self, ticket: Ticket) -> Result<(), ClientError> {
        self.ask(Call::Release { ticket }).map(drop)
    }

    /// An actor's state, as its kind shows it; empty if there is no such actor.
    ///
    /// # Errors
    /// As [`Client::send`], without `Unknown`.
    pub fn get(&self, key: KeyRef<'_>, options: &ReadOptions) -> Result<Answer, ClientError> {
        self.ask(Call::Get {
            key: key.to_key(),
            options: *options,
        })
    }

    /// An actor's entries, newest first: read the body with [`crate::history_entries`].
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn history(&self, key: KeyRef<'_>, query: HistoryQuery, options: &ReadOptions) -> Result<Answer, ClientError> {
        self.ask(Call::History {
            key: key.to_key(),
            query,
            options: *options,
        })
    }

    /// Where an actor's group lives and how far each member holds it.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn where_(&self, key: KeyRef<'_>, options: &ReadOptions) -> Result<WhereBody, ClientError> {
        let answer = self.ask(Call::Where {
            key: key.to_key(),
            options: *options,
        })?;
        body::decode(&answer.body).map_err(ClientError::Frame)
    }

    /// The status of one shard.
    ///
    /// # Errors
    /// `NotMember` if there is no such shard, else as [`Client::get`].
    pub fn status(&self, node: u16, shard: u16, options: &ReadOptions) -> Result<StatusBody, ClientError> {
        let options = *options;
        let answer = self.ask(Call::Status { node, shard, options })?;
        body::decode(&answer.body).map_err(ClientError::Frame)
    }

    /// What a node knows of the topology log.
    ///
    /// # Errors
    /// `NotMember` if there is no such node, else as [`Client::get`].
    pub fn topology(&self, node: u16, options: &ReadOptions) -> Result<TopologyBody, ClientError> {
        let options = *options;
        let answer = self.ask(Call::Topology { node, options })?;
        body::decode(&answer.body).map_err(ClientError::Frame)
    }

    /// Gives a node an operator's order. One that is taken is proposed to the topology log and may get lost there: look at the log, and give
    /// it again until it is shown.
    ///
    /// # Errors
    /// `NotMember` if there is no such node, else as [`Client::get`].
    pub fn order(&self, node: u16, order: OrderBody, options: &ReadOptions) -> Result<OrderedBody, ClientError> {
        let options = *options;
        let answer = self.ask(Call::Order { node, order, options })?;
        body::decode(&answer.body).map_err(ClientError::Frame)
    }

    /// The slot table.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn slot_table(&self, options: &ReadOptions) -> Result<SlotTableBody, ClientError> {
        let answer = self.ask(Call::SlotTable { options: *options })?;
        body::decode(&answer.body).map_err(ClientError::Frame)
    }

    /// A connection of its own to the shard of a node that holds a group, for reading back that group and its neighbours on the shard.
    ///
    /// # Errors
    /// `NotMember` if there is no such node; `Io`, `Handshake`.
    pub fn open_read_back(&self, node: u16, group: u32) -> Result<BulkReader, ClientError> {
        let answer = self.ask(Call::AddressOf { node, group })?;
        let text = String::from_utf8_lossy(&answer.body);
        let timeout = Duration::from_millis(self.options.connect_timeout_ms.into());
        BulkReader::connect(&text.parse()?, &self.key, timeout)
    }

    /// Reads all committed entries of a group back as one member holds them, from a seq on. Returns the first seq that was not read.
    ///
    /// # Errors
    /// `NotMember` if the node holds no copy, `Chain` if the runs do not follow each other; `Io`, `Handshake`, `Frame`.
    pub fn read_back(
        &self,
        node: u16,
        group: u32,
        from_seq: u64,
        on_entry: impl FnMut(&ReadEntry<'_>),
    ) -> Result<u64, ClientError> {
        let mut reader = self.open_read_back(node, group)?;
        reader.read(group, from_seq, on_entry).map(|(next_seq, _)| next_seq)
    }

    fn ask(&self, call: Call) -> Result<Answer, ClientError> {
        self.end_of(call).result
    }

    fn end_of(&self, call: Call) -> Sent {
        let (sender, end) = mpsc::sync_channel(1);
        self.handle.call(
            call,
            Box::new(move |sent| {
                // Nobody waits any more: the caller's thread is gone.
                drop(sender.send(sent));
            }),
        );
        end.recv().unwrap_or(Sent {
            ticket: None,
            result: Err(ClientError::Closed),
        })
    }
}

/// Nanoseconds since a start.
fn elapsed_ns(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
