//! Sockets without a client: bytes are sent as the test says, and the other side's last words are kept.
//!
//! It deliberately does not follow the protocol where a test wants something else.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use waterpark_wire::frame::{FrameAddress, FrameBuilder, FrameView};
use waterpark_wire::framer::Framer;
use waterpark_wire::handshake::{Dialer, HandshakeRefusal, Party, Purpose, Step, Welcome};
use waterpark_wire::item::{ItemHeader, ItemKind};

/// How long a node may take to close what it has refused.
const CLOSE: Duration = Duration::from_secs(3);

/// One connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    /// What came right behind the handshake.
    early: Vec<u8>,
}

/// How a connection ended.
pub(crate) struct Ending {
    /// What came before it ended.
    pub(crate) said: Vec<u8>,
    /// How long it took.
    pub(crate) after: Duration,
}

impl Raw {
    /// # Panics
    /// If nobody listens there.
    pub(crate) fn connect(port: u16) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap_or_else(|error| panic!("port {port}: {error}"));
        stream.set_nodelay(true).expect("a TCP socket");
        let early = Vec::new();
        Raw { stream, early }
    }

    /// Sends; `false` if the other side has ended the connection already.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Reads exactly so many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.set_read_timeout(Some(CLOSE)).expect("a TCP socket");
        self.stream.read_exact(&mut bytes).expect("the other side speaks");
        bytes
    }

    /// Shakes hands as this party; else who refused (`true`: the other side), and why.
    pub(crate) fn shake(
        &mut self,
        party: Party,
        purpose: Purpose,
        key: &[u8; 32],
    ) -> Result<Welcome, (bool, HandshakeRefusal)> {
        let mut nonce = [0; 16];
        rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())
            .expect("the kernel has random bytes");
        let mut dialer = Dialer::new(party, purpose, key, nonce, false);
        assert!(self.send(dialer.hello()), "a new connection takes a Hello");
        self.stream.set_read_timeout(Some(CLOSE)).expect("a TCP socket");
        let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let count = self
                .stream
                .read(&mut buffer)
                .expect("the other side answers a handshake");
            assert!(count > 0, "the other side closes a handshake without a word");
            input.extend_from_slice(&buffer[..count]);
            loop {
                let (used, step) = dialer.on_bytes(&input);
                input.drain(..used);
                match step {
                    Step::More => break,
                    Step::Send(bytes) => assert!(self.send(&bytes), "the other side waits for this"),
                    Step::Done { send, peer } => {
                        assert!(self.send(&send), "the other side has agreed");
                        self.early = input;
                        return Ok(peer);
                    }
                    Step::Refused { send, refusal, by_peer } => {
                        self.send(&send);
                        return Err((by_peer, refusal));
                    }
                }
            }
        }
    }

    /// Waits until the other side ends the connection.
    ///
    /// # Panics
    /// If it does not within `limit`.
    pub(crate) fn ending(mut self, limit: Duration) -> Ending {
        let (begun, mut said) = (Instant::now(), std::mem::take(&mut self.early));
        let mut buffer = vec![0; 64 << 10];
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "open after {limit:?}; it said {} bytes", said.len());
            self.stream.set_read_timeout(Some(left)).expect("a TCP socket");
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => said.extend_from_slice(&buffer[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => break,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => (),
                    other => panic!("{other}"),
                },
            }
        }
        let after = begun.elapsed();
        Ending { said, after }
    }
}

impl Ending {
    /// What a handshake's refusal in these words names.
    pub(crate) fn handshake_refusal(&self) -> Option<HandshakeRefusal> {
        use waterpark_wire::handshake::messages::Refused;
        use zerocopy::FromBytes;
        let (refused, _) = Refused::read_from_suffix(&self.said)
            .ok()
            .map(|(_, refused)| (refused, ()))?;
        let magic = refused.prefix.magic == waterpark_wire::handshake::messages::MAGIC;
        HandshakeRefusal::from_number(refused.number.get()).filter(|_| magic)
    }

    /// The number in the last refusal among the frames of these words.
    pub(crate) fn frame_refusal(&self) -> Option<u32> {
        let mut number = None;
        let mut framer = Framer::new(waterpark_wire::frame::FRAME_BYTES_MAX);
        let fed = framer.feed(&self.said, true, |frame: FrameView<'_>| {
            for item in frame.items().filter(|item| item.kind() == ItemKind::Refusal) {
                number = Some(item.header.aux.get());
            }
            Ok(())
        });
        fed.ok().and(number)
    }
}

/// One item header that says so, with a body of these bytes.
pub(crate) fn item(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = 16 + body.len();
    let header = ItemHeader {
        kind,
        length: u32::try_from(length).expect("short").into(),
        ..ItemHeader::default()
    };
    let mut bytes = Vec::new();
    header.push(&mut bytes);
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes
}

/// A frame with a right checksum around whatever items these bytes are.
pub(crate) fn frame(address: &FrameAddress, items: &[u8], count: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut builder = FrameBuilder::begin(&mut bytes);
    bytes.extend_from_slice(items);
    (0..count).for_each(|_| builder.pushed());
    builder.finish(&mut bytes, address);
    bytes
}

/// A client's frame.
pub(crate) fn client_frame(items: &[u8], count: u32) -> Vec<u8> {
    let address = FrameAddress::of_client((0, 0));
    frame(&address, items, count)
}

/// Bytes that look random and are the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut word = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
