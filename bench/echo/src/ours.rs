//! The reactor's two drivers as echo servers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use waterpark_core::memory::Outgoing;
use waterpark_reactor::{
    AnyDriver, ConnectionId, Driver, DriverChoice, DriverConfig, Event, PoolConfig, PoolMemory, SocketProfile, Wait,
    open,
};

use crate::{Server, Took, cpu_time};

/// Both drivers.
pub(crate) fn servers() -> Vec<Server> {
    vec![
        Server {
            name: "reactor, io_uring",
            serve: |tell, stop| serve(DriverChoice::IoUring, tell, stop),
        },
        Server {
            name: "reactor, epoll",
            serve: |tell, stop| serve(DriverChoice::Epoll, tell, stop),
        },
    ]
}

pub(crate) fn memory() -> PoolMemory {
    PoolMemory::new(PoolConfig {
        budget: 1 << 20,
        huge_pages: false,
        keep_free: 0,
    })
    .expect("1 MiB can be reserved")
}

/// A connection's side of an echo: what waits to go out while a send is in flight.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) waiting: Vec<u8>,
    spare: Vec<u8>,
    sending: bool,
}

impl Line {
    pub(crate) fn flush(&mut self, driver: &mut AnyDriver, id: ConnectionId, memory: &PoolMemory) {
        if self.sending || self.waiting.is_empty() {
            return;
        }
        let bytes = std::mem::replace(&mut self.waiting, std::mem::take(&mut self.spare));
        let outgoing = Outgoing {
            bytes,
            gathers: Vec::new(),
        };
        self.sending = driver.send(id, outgoing, memory).is_ok();
    }

    pub(crate) fn sent(&mut self, mut outgoing: Outgoing) {
        outgoing.clear();
        self.spare = outgoing.bytes;
        self.sending = false;
    }
}

/// The line of a connection, by its slot.
pub(crate) fn line(lines: &mut Vec<Line>, id: ConnectionId) -> &mut Line {
    let slot = id.slot() as usize;
    if lines.len() <= slot {
        lines.resize_with(slot + 1, Line::default);
    }
    &mut lines[slot]
}

fn serve(choice: DriverChoice, tell: &Sender<SocketAddr>, stop: &AtomicBool) -> io::Result<Took> {
    let (mut driver, _) = open(choice, &DriverConfig::default()).map_err(io::Error::other)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    driver
        .listen(listener, SocketProfile::Link, 0)
        .map_err(io::Error::other)?;
    let memory = memory();
    let (mut lines, mut events, mut touched) = (Vec::new(), Vec::new(), Vec::new());
    // Nobody listens if the client has ended before.
    tell.send(address).map_err(io::Error::other)?;
    let (mut calls, begun) = (0, cpu_time());
    while !stop.load(Ordering::Relaxed) {
        calls += driver
            .turn(Wait::Until(Duration::from_millis(20)), &mut events)?
            .system_calls;
        for event in events.drain(..) {
            match event {
                Event::Received { connection, buffer } => {
                    line(&mut lines, connection)
                        .waiting
                        .extend_from_slice(driver.received(&buffer));
                    driver.recycle(buffer);
                    touched.push(connection);
                }
                Event::Sent { connection, outgoing } => {
                    line(&mut lines, connection).sent(outgoing);
                    touched.push(connection);
                }
                _ => {}
            }
        }
        for connection in touched.drain(..) {
            line(&mut lines, connection).flush(&mut driver, connection, &memory);
        }
    }
    Ok(Took {
        cpu: cpu_time() - begun,
        calls: Some(calls),
    })
}
