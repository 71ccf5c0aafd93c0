//! A member's bulk stream, over a blocking socket of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use waterpark_wire::handshake::Welcome;

use crate::desk::{Shake, Shaken};
use crate::error::ClientError;
use crate::read_back::{Progress, ReadBack, ReadEntry};
use crate::routing::Address;

/// Bytes that one read takes at most.
const READ_BYTES: usize = 1 << 20;

/// Reads groups back from one shard of one member.
#[derive(Debug)]
pub struct BulkReader {
    stream: TcpStream,
    decoder: ReadBack,
    buffer: Vec<u8>,
    welcome: Box<Welcome>,
}

impl BulkReader {
    /// Connects to a shard. `timeout` holds for connecting and for each read and write.
    ///
    /// # Errors
    /// `Io` or `Handshake`.
    pub fn connect(address: &Address, key: &[u8; 32], timeout: Duration) -> Result<BulkReader, ClientError> {
        let mut stream = dial(address, timeout)?;
        let mut buffer = vec![0; READ_BYTES];
        let (mut shake, hello) = Shake::new(key, false)?;
        stream.write_all(&hello).map_err(io)?;
        let welcome = loop {
            let count = read(&mut stream, &mut buffer)?;
            match shake.on_bytes(&buffer[..count]) {
                Shaken::Going(bytes) => stream.write_all(&bytes).map_err(io)?,
                // Nothing follows a Welcome before it is asked for.
                Shaken::Done(welcome, _) => break welcome,
                Shaken::Failed(error, last) => {
                    drop(stream.write_all(&last));
                    return Err(error);
                }
            }
        };
        Ok(BulkReader {
            stream,
            decoder: ReadBack::new(&welcome),
            buffer,
            welcome,
        })
    }

    /// Who is at the other end of this very connection, as it proved in the handshake.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Reads all committed entries of a group of this shard, from a seq on. Returns the first seq that was not read, and the member's
    /// commit.
    ///
    /// # Errors
    /// `NotMember`, `Chain`, `Frame` or `Io`; the reader is of no more use.
    pub fn read(
        &mut self,
        group: u32,
        from_seq: u64,
        mut on_entry: impl FnMut(&ReadEntry<'_>),
    ) -> Result<(u64, u64), ClientError> {
        self.decoder.begin(group, from_seq)?;
        loop {
            self.stream.write_all(self.decoder.outgoing()).map_err(io)?;
            self.decoder.on_written(self.decoder.outgoing().len());
            let count = read(&mut self.stream, &mut self.buffer)?;
            let progress = self.decoder.on_bytes(&self.buffer[..count], &mut on_entry)?;
            if let Progress::Done { next_seq, commit } = progress {
                return Ok((next_seq, commit));
            }
        }
    }
}

fn dial(address: &Address, timeout: Duration) -> Result<TcpStream, ClientError> {
    let mut kind = ErrorKind::AddrNotAvailable;
    for address in (address.host.as_str(), address.port).to_socket_addrs().map_err(io)? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(io)?;
                stream.set_read_timeout(Some(timeout)).map_err(io)?;
                stream.set_write_timeout(Some(timeout)).map_err(io)?;
                return Ok(stream);
            }
            Err(error) => kind = error.kind(),
        }
    }
    Err(ClientError::Io(kind))
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize, ClientError> {
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(ClientError::Io(ErrorKind::UnexpectedEof)),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(io(error)),
        }
    }
}

fn io(error: std::io::Error) -> ClientError {
    ClientError::Io(error.kind())
}
