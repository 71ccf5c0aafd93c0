//! What drives every server: a client on the reactor.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use waterpark_reactor::{Driver, DriverChoice, DriverConfig, Event, SocketProfile, Wait, open};

use crate::ours::{line, memory};
use crate::{MESSAGE, Work};

/// Sends batches and waits for their echoes. Returns the messages that were echoed, and the time it took.
pub(crate) fn drive(address: SocketAddr, work: Work, time: Duration) -> (u64, Duration) {
    let (mut driver, _) = open(DriverChoice::Auto, &DriverConfig::default()).expect("one of the drivers opens");
    let memory = memory();
    let batch_bytes = MESSAGE * work.batch;
    let (mut lines, mut events) = (Vec::new(), Vec::new());
    let mut left = vec![0; work.connections];
    for _ in 0..work.connections {
        driver.connect(address, SocketProfile::Link);
    }
    let begun = Instant::now();
    let mut messages = 0;
    while begun.elapsed() < time {
        driver
            .turn(Wait::Until(Duration::from_millis(20)), &mut events)
            .expect("the driver turns");
        for event in events.drain(..) {
            let connection = match event {
                Event::Connected { connection } => connection,
                Event::Received { connection, buffer } => {
                    let left: &mut usize = &mut left[connection.slot() as usize];
                    *left -= buffer.len();
                    driver.recycle(buffer);
                    if *left > 0 {
                        continue;
                    }
                    messages += work.batch as u64;
                    connection
                }
                Event::Sent { connection, outgoing } => {
                    line(&mut lines, connection).sent(outgoing);
                    line(&mut lines, connection).flush(&mut driver, connection, &memory);
                    continue;
                }
                other => panic!("{other:?}"),
            };
            left[connection.slot() as usize] = batch_bytes;
            let line = line(&mut lines, connection);
            line.waiting.resize(batch_bytes, 7);
            line.flush(&mut driver, connection, &memory);
        }
    }
    (messages, begun.elapsed())
}
