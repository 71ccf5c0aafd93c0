//! Which peers there are, what they need, and what an ack of theirs promises.
//!
//! **Invariant:** what is compared without a word is of one class: what an ack has survived is the same.

use std::path::PathBuf;

use crate::dialect::Dialect;
use crate::error::PeerError;
use crate::load::Setting;
use crate::servers::{Servers, Start, find};
use crate::{erlang, etcd, nats, postgres, rabbitmq, redis};

/// What an acked message has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The memory of three processes of five.
    Ram,
    /// Files of three processes of five, which the kernel may still have in memory alone.
    Files,
    /// Files of three processes of five, which each has asked its kernel to bring to the disk.
    Synced,
}

impl Class {
    /// As reports say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Ram => "ram",
            Class::Files => "files, not synced",
            Class::Synced => "files, synced",
        }
    }
}

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One primary and four replicas.
    Redis,
    /// Processes on one node, each with a process on four others.
    Erlang,
    /// Five servers with a stream in memory.
    Nats,
    /// One primary and four standbys.
    Postgres,
    /// Five members.
    Etcd,
    /// Five nodes with a quorum queue.
    Rabbit,
}

/// What is known of a peer before it runs.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// As the command line names it.
    pub name: &'static str,
    /// What is measured of it.
    pub what: &'static str,
    /// Programs that it needs.
    pub needs: &'static [&'static str],
    /// What to install where one of them is missing.
    pub install: &'static str,
    /// The first of its programs, told this, says its version; nothing where asking it does more than that.
    pub version: &'static [&'static str],
    /// What an acked message has reached.
    pub class: Class,
    /// The same in words.
    pub durability: &'static str,
}

impl Kind {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Kind; 6] = [
        Kind::Redis,
        Kind::Erlang,
        Kind::Nats,
        Kind::Postgres,
        Kind::Etcd,
        Kind::Rabbit,
    ];

    /// What is known of it.
    #[must_use]
    pub fn spec(self) -> Spec {
        match self {
            Kind::Redis => redis::SPEC,
            Kind::Erlang => erlang::SPEC,
            Kind::Nats => nats::SPEC,
            Kind::Postgres => postgres::SPEC,
            Kind::Etcd => etcd::SPEC,
            Kind::Rabbit => rabbitmq::SPEC,
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.spec().name == name)
    }

    /// Programs that it needs and the host does not have.
    #[must_use]
    pub fn lacks(self) -> Vec<&'static str> {
        let needs = self.spec().needs.iter().copied();
        needs.filter(|program| find(program).is_none()).collect()
    }

    /// What its program says of its version.
    pub(crate) fn version(self) -> Option<String> {
        let spec = self.spec();
        let program = find(spec.needs.first().filter(|_| !spec.version.is_empty())?)?;
        let said = std::process::Command::new(program)
            .args(spec.version)
            .stdin(std::process::Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        text.lines().next().map(str::to_owned)
    }

    /// Starts it, and waits until all of its copies are kept up to date.
    pub(crate) fn start(self, start: &Start<'_>) -> Result<Box<dyn Peer>, PeerError> {
        Ok(match self {
            Kind::Redis => Box::new(redis::Redis::start(start)?),
            Kind::Erlang => Box::new(erlang::Pairs::start(start)?),
            Kind::Nats => Box::new(nats::Nats::start(start)?),
            Kind::Postgres => Box::new(postgres::Postgres::start(start)?),
            Kind::Etcd => Box::new(etcd::Etcd::start(start)?),
            Kind::Rabbit => Box::new(rabbitmq::Rabbit::start(start)?),
        })
    }
}

/// A peer that runs.
pub(crate) trait Peer {
    /// Its processes.
    fn servers(&mut self) -> &mut Servers;

    /// Settings that may be its best.
    fn settings(&self) -> Vec<Setting>;

    /// A connection for messages, ready for the first; the stream is as the greeting left it.
    ///
    /// # Errors
    /// What the greeting failed with.
    fn connect(&mut self, setting: Setting, at: usize) -> Result<(std::net::TcpStream, Box<dyn Dialect>), PeerError>;

    /// Tells every message that one of its servers holds, with its actor.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&mut self, server: usize, take: &mut dyn FnMut(u64, &[u8])) -> Result<(), PeerError>;
}

/// A program that was looked for before.
pub(crate) fn program(name: &str) -> Result<PathBuf, PeerError> {
    find(name).ok_or_else(|| PeerError::Spawn {
        program: name.to_owned(),
        cause: std::io::ErrorKind::NotFound.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_name_of_its_own_and_tells_what_it_needs() {
        for kind in Kind::ALL {
            let spec = kind.spec();
            assert_eq!(Kind::named(spec.name), Some(kind));
            assert!(!spec.needs.is_empty() && !spec.install.is_empty());
            assert!(!spec.durability.is_empty() && !spec.what.is_empty());
        }
        assert_eq!(Kind::named("oracle"), None);
    }
}
