//! WORLD: what a shard stands on. Sockets (io_uring or epoll), memory, rings between shards, cores, spinning and the watchdog.
//!
//! Nothing here decides anything about data. Each part is usable and tested alone; the event loop joins them with a shard of
//! `waterpark_core`, and is the only part that knows frames and handshakes.
//!
//! | module | what it is |
//! |---|---|
//! | [`driver`] | the trait of both drivers, their events, [`open`] |
//! | [`chunk_pool`] | [`PoolMemory`]: chunks for group logs |
//! | [`inbox`] | rings between shards, and who sleeps |
//! | [`cores`] | which cores this process may use, pinning |
//! | [`spin`] | how long to poll before sleeping |
//! | [`turn`] | turn counters and the watchdog over them |
//! | [`allocations`] | how often the process allocates |
//! | [`event_loop`] | all of it joined with a shard |
//!
//! **Boundary:** the only crate besides one file of `wire` that contains `unsafe`; each module that does says why at its top.

pub mod allocations;
mod buddy;
mod buffer_pool;
pub mod chunk_pool;
mod connection;
pub mod cores;
pub mod driver;
mod epoll;
pub mod event_loop;
pub mod inbox;
mod linger;
mod mapping;
mod prefetch;
mod send_op;
mod socket;
pub mod spin;
pub mod turn;
mod uring;
mod waker;

pub use buffer_pool::{Buffers, ReceivedBuffer};
pub use chunk_pool::{PoolConfig, PoolMemory};
pub use connection::ConnectionId;
pub use driver::{
    AnyDriver, CloseCause, Driver, DriverChoice, DriverConfig, DriverKind, Event, OpenError, SetupNote, SocketProfile,
    TurnCost, UringRefusal, Wait, open,
};
pub use epoll::EpollDriver;
pub use socket::{BACKLOG, Congestion, SocketOptions};
pub use uring::UringDriver;
pub use waker::Waker;
