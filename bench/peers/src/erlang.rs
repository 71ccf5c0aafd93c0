//! Process pairs on Erlang: a process per actor, with a partner on each of four other nodes, and an ack once two of them keep the message.
//!
//! What runs there is `bench/peers/waterpark_pairs.erl`, compiled when it is started. **Invariant:** a message is acked by its own serial.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use waterpark_bench::ledger::Fate;

use crate::dialect::{Acks, Dialect, Ended};
use crate::error::PeerError;
use crate::load::Setting;
use crate::peer::{Class, Peer, Spec, program};
use crate::servers::{SERVERS, Servers, Start, dial};

pub(crate) const SPEC: Spec = Spec {
    name: "erlang",
    what: "process pairs on Erlang, a process per actor with a partner on each of four nodes",
    needs: &["erl", "erlc"],
    install: "erlang-base and erlang-dev, or erlang-nox",
    version: &[
        "-noshell",
        "-eval",
        "io:format(\"Erlang/OTP ~s, erts ~s~n\", [erlang:system_info(otp_release), erlang:system_info(version)]), halt().",
    ],
    class: Class::Ram,
    durability: "ram, the actor's process and two of its four partners",
};

/// What runs on each node.
const PROGRAM: &str = include_str!("../waterpark_pairs.erl");
/// Its name.
const MODULE: &str = "waterpark_pairs";
/// Bytes of a length.
const LENGTH: usize = 4;

pub(crate) struct Pairs {
    servers: Servers,
}

impl Pairs {
    pub(crate) fn start(start: &Start<'_>) -> Result<Pairs, PeerError> {
        let (erl, erlc) = (program("erl")?, program("erlc")?);
        let mut servers = Servers::new(start, Signal::KILL)?;
        let file = format!("{MODULE}.erl");
        std::fs::write(servers.folder().join(&file), PROGRAM).map_err(PeerError::Folder)?;
        servers.carry_out(
            &erlc,
            "erlc",
            |command| {
                command.arg(&file);
            },
            start.go_on,
        )?;
        let names: Vec<String> = (0..SERVERS)
            .map(|server| format!("p{}@127.0.0.1", servers.port(server, 0)))
            .collect();
        for (server, name) in names.iter().enumerate() {
            let clients = servers.port(server, 1).to_string();
            servers.spawn(&erl, &format!("erlang-{server}"), |command| {
                command
                    .args(["-noshell", "-noinput", "-start_epmd", "false", "-epmd_module", MODULE])
                    .args(["-pa", ".", "-name", name, "-setcookie", "peers"])
                    .args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"])
                    // On cores that all share, a scheduler that spins takes from the others; and no sender waits for a link.
                    .args([
                        "+sbwt",
                        "none",
                        "+sbwtdcpu",
                        "none",
                        "+sbwtdio",
                        "none",
                        "+zdbbl",
                        "65536",
                    ])
                    .args(["+P", "1048576", "-run", MODULE, "start", &clients]);
                if server == 0 {
                    command.args(&names[1..]);
                }
            })?;
        }
        for server in 0..SERVERS {
            // The first listens once it has reached all others.
            servers.until(server, start.go_on, |servers| {
                dial(servers.address(server, 1)).map(|_| Some(()))
            })?;
        }
        Ok(Pairs { servers })
    }
}

impl Peer for Pairs {
    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn settings(&self) -> Vec<Setting> {
        Setting::all(&[(1, 256), (1, 1_024), (4, 64), (4, 256), (4, 1_024), (16, 64)])
    }

    fn connect(&mut self, _setting: Setting, _at: usize) -> Result<(TcpStream, Box<dyn Dialect>), PeerError> {
        Ok((dial(self.servers.address(0, 1))?, Box::new(Packets)))
    }

    fn read(&mut self, server: usize, take: &mut dyn FnMut(u64, &[u8])) -> Result<(), PeerError> {
        let mut stream = BufReader::with_capacity(1 << 20, dial(self.servers.address(server, 1))?);
        packet(&[b"read"], stream.get_mut())?;
        let mut bytes = Vec::new();
        loop {
            let mut length = [0; LENGTH];
            stream.read_exact(&mut length)?;
            bytes.resize(u32::from_be_bytes(length) as usize, 0);
            stream.read_exact(&mut bytes)?;
            match bytes.split_first_chunk() {
                None if bytes.is_empty() => return Ok(()),
                None => return Err(PeerError::Socket(ErrorKind::InvalidData.into())),
                Some((actor, message)) => take(u64::from(u32::from_be_bytes(*actor)), message),
            }
        }
    }
}

/// Parts as one packet: a length and so many bytes.
fn packet(parts: &[&[u8]], out: &mut impl Write) -> std::io::Result<()> {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(bytes).map_err(|_| ErrorKind::InvalidInput)?;
    out.write_all(&length.to_be_bytes())?;
    parts.iter().try_for_each(|part| out.write_all(part))
}

/// A serial, an actor and a message in each packet; serials in each that comes back.
#[derive(Debug)]
struct Packets;

impl Dialect for Packets {
    fn acks(&self) -> Acks {
        Acks::Each
    }

    fn append(&mut self, serial: u64, actor: u64, message: &[u8], out: &mut Vec<u8>) {
        let actor = u32::try_from(actor).expect("actors of peers are few");
        let parts = [&serial.to_be_bytes()[..], &actor.to_be_bytes(), message];
        packet(&parts, out).expect("a buffer takes everything");
    }

    fn flush(&mut self, _out: &mut Vec<u8>) {}

    fn take(&mut self, came: &[u8], ended: &mut Vec<Ended>, _out: &mut Vec<u8>) -> Result<usize, PeerError> {
        let mut taken = 0;
        while let Some((length, rest)) = came[taken..].split_first_chunk::<LENGTH>() {
            let bytes = u32::from_be_bytes(*length) as usize;
            let Some(serials) = rest.get(..bytes) else {
                break;
            };
            let (serials, more) = serials.as_chunks::<8>();
            if !more.is_empty() {
                return Err(PeerError::answer("messages", more));
            }
            ended.extend(serials.iter().map(|serial| (u64::from_be_bytes(*serial), Fate::Acked)));
            taken += LENGTH + bytes;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_packet_with_its_serial_and_its_actor() {
        let mut out = Vec::new();
        Packets.append(258, 7, b"abc", &mut out);
        assert_eq!(out, [0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 7, b'a', b'b', b'c']);
    }

    #[test]
    fn acks_are_taken_whole_however_they_are_cut() {
        let mut came = Vec::new();
        packet(&[&7u64.to_be_bytes(), &9u64.to_be_bytes()], &mut came).unwrap();
        packet(&[&8u64.to_be_bytes()], &mut came).unwrap();
        for cut in 0..=came.len() {
            let (mut ended, mut out) = (Vec::new(), Vec::new());
            let taken = Packets.take(&came[..cut], &mut ended, &mut out).unwrap();
            let taken = taken + Packets.take(&came[taken..], &mut ended, &mut out).unwrap();
            assert_eq!(taken, came.len());
            assert_eq!(ended, [7, 9, 8].map(|serial| (serial, Fate::Acked)));
        }
        let broken = [0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(Packets.take(&broken, &mut Vec::new(), &mut Vec::new()).is_err());
    }
}
