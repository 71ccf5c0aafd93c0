//! One MLLP connection that blocks, and the sender behind it: one message is carried to its end at a time.
//!
//! It decides nothing about messages. **Invariant:** no call takes longer than the time for one message, whoever is on the other side.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use waterpark_client::Address;
use waterpark_edge::mllp::{Framer, Limits};
use waterpark_edge::sender::{End, Options, Sender, SubmitError};

/// The first pause before another attempt.
const BACK_OFF_MS: u64 = 200;
/// The longest pause.
const BACK_OFF_MAX_MS: u64 = 5_000;
/// The kernel takes no time-out of zero.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// Bytes read in one go.
const READ_BYTES: usize = 16 << 10;

/// How carrying a message ended.
pub(super) enum Outcome {
    /// The receiver said so, or said nothing to any attempt.
    Ended(End),
    /// Its time is over. It was sent, and may have been stored.
    Late,
    /// No connection, so it was not sent.
    Unreachable(io::Error),
    /// What came back are no frames.
    NotMllp,
}

/// One connection.
pub(super) struct Line {
    address: Address,
    /// For one message.
    timeout: Duration,
    attempts_max: u32,
    sender: Sender,
    stream: Option<TcpStream>,
    clock: Instant,
    /// Sees what came on this connection beside the sender, to know whether it is MLLP at all.
    framer: Framer,
    heard: bool,
}

impl Line {
    pub(super) fn new(address: Address, timeout: Duration, attempts_max: u32) -> Line {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let sender = Sender::new(Options {
            // So that all attempts fit the time.
            ack_timeout_ms: (timeout_ms / u64::from(attempts_max)).max(1),
            attempts_max,
            back_off_ms: BACK_OFF_MS,
            back_off_max_ms: BACK_OFF_MAX_MS,
            ..Options::default()
        });
        Line {
            address,
            timeout,
            attempts_max,
            sender,
            stream: None,
            clock: Instant::now(),
            framer: Framer::new(Limits::default()),
            heard: false,
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Takes the next message.
    pub(super) fn submit(&mut self, message: Vec<u8>) -> Result<(), SubmitError> {
        self.sender.submit(0, message)
    }

    /// Carries the message to its end.
    pub(super) fn run(&mut self) -> Outcome {
        let until = Instant::now() + self.timeout;
        let mut ended = None;
        let mut dials = 0;
        let mut was_sent = false;
        let mut cause = None;
        loop {
            if let Some(end) = ended.take() {
                return if self.speaks_other() {
                    Outcome::NotMllp
                } else {
                    Outcome::Ended(end)
                };
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return match cause {
                    _ if self.speaks_other() => Outcome::NotMllp,
                    Some(cause) if !was_sent => Outcome::Unreachable(cause),
                    _ => Outcome::Late,
                };
            }
            let now_ms = self.now_ms();
            if self.sender.on_tick(now_ms, |end| ended = Some(end)) {
                self.stream = None;
                if self.speaks_other() {
                    return Outcome::NotMllp;
                }
                continue;
            }
            if self.stream.is_none() && self.sender.wants_connection(now_ms) {
                dials += 1;
                if let Err(error) = self.dial(left) {
                    self.sender.on_disconnected(self.now_ms(), |end| ended = Some(end));
                    if dials >= self.attempts_max && !was_sent {
                        return Outcome::Unreachable(error);
                    }
                    cause = Some(error);
                    continue;
                }
            }
            was_sent |= self.stream.is_some();
            if self.exchange(left, &mut ended).is_err() {
                self.stream = None;
                self.sender.on_disconnected(self.now_ms(), |end| ended = Some(end));
                // It will speak as little MLLP the next time.
                if self.speaks_other() {
                    return Outcome::NotMllp;
                }
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether bytes came and no frame among them.
    fn speaks_other(&self) -> bool {
        self.heard && self.framer.counts().messages == 0
    }

    fn dial(&mut self, left: Duration) -> io::Result<()> {
        let mut refused = io::ErrorKind::AddrNotAvailable.into();
        let until = Instant::now() + left;
        for address in (self.address.host.as_str(), self.address.port).to_socket_addrs()? {
            let left = until.saturating_duration_since(Instant::now()).max(WAIT_MIN);
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    self.stream = Some(stream);
                    self.sender.on_connected();
                    (self.framer, self.heard) = (Framer::new(Limits::default()), false);
                    return Ok(());
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Writes what may leave, and waits for what comes or for the next time to act. An error says that the connection has ended.
    fn exchange(&mut self, left: Duration, ended: &mut Option<End>) -> io::Result<()> {
        let now_ms = self.now_ms();
        let next_ms = |sender: &Sender| {
            sender
                .next_ms(now_ms)
                .map(|next| Duration::from_millis(next - now_ms.min(next)))
        };
        let Some(stream) = &mut self.stream else {
            let pause = next_ms(&self.sender).unwrap_or(WAIT_MIN);
            std::thread::sleep(pause.min(left).max(WAIT_MIN));
            return Ok(());
        };
        let mut out = Vec::new();
        self.sender.poll(now_ms, &mut out);
        stream.set_write_timeout(Some(left.max(WAIT_MIN)))?;
        stream.write_all(&out)?;
        let wait = next_ms(&self.sender).unwrap_or(left);
        stream.set_read_timeout(Some(wait.min(left).max(WAIT_MIN)))?;
        let mut buffer = [0; READ_BYTES];
        let length = match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) => {
                let waits = [
                    io::ErrorKind::WouldBlock,
                    io::ErrorKind::TimedOut,
                    io::ErrorKind::Interrupted,
                ];
                return if waits.contains(&error.kind()) {
                    Ok(())
                } else {
                    Err(error)
                };
            }
        };
        self.heard = true;
        let bytes = &buffer[..length];
        let framed = self.framer.feed(bytes, false, |_| ());
        let now_ms = self.now_ms();
        let taken = self.sender.on_received(now_ms, bytes, |end| *ended = Some(end));
        taken.and(framed).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}
