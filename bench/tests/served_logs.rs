//! The real reader against members behind real sockets, one of which serves what it must not: the check must end in FAIL.
//!
//! A member here is a handshake, a few runs, and an answer to each question for them; it is built from `waterpark_wire` alone, so that it
//! can break what a node never would.

#![expect(clippy::unwrap_used, reason = "what helpers of tests find wrong fails the test")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use waterpark_bench::ledger::{Checker, Fate, Findings, Ledger};
use waterpark_bench::workload::{KeyText, Kind, Workload};
use waterpark_ring::{ClusterId, NodeId, NodeSpec, Topology, TopologySpec};
use waterpark_wire::frame::{FRAME_BYTES_MAX, FrameAddress, FrameBuilder};
use waterpark_wire::framer::Framer;
use waterpark_wire::handshake::{Acceptor, Offer, Party, Step};
use waterpark_wire::item::{ItemHeader, ItemKind};
use waterpark_wire::link::{ReadBack, ReadBackEnd};
use waterpark_wire::run::{EVENT_IS_MESSAGE, EntryHeader, EntryParts, HASHED_FROM, RUN_HEADER, RunHeader};
use waterpark_wire::{FrameKind, checksum};

const KEY: [u8; 32] = [5; 32];
const CLUSTER: [u8; 16] = [8; 16];
const NATIVE_PORTS: u16 = 64;
const MESSAGES: u64 = 600;
const WORK: Workload = Workload {
    kind: Kind::W128,
    actors: 50,
    message_bytes: 128,
    seed: 21,
    warm: 0,
    prefix: "",
    skew: None,
};
/// The message that one member lies about.
const VICTIM: u64 = 300;

/// What one of the three members does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Nothing: it is honest.
    None,
    /// A byte of the run that holds the message has changed since the run was sealed.
    ByteInRun,
    /// The byte had changed before the run was sealed: its hash is right.
    ByteInMessage,
    /// The run that holds the message is left out.
    RunLeftOut,
    /// The run that holds the message says that it is of the next group.
    OtherGroup,
    /// It is another member at this address.
    OtherMember,
    /// Another cluster's.
    OtherCluster,
    /// It closes each connection once it was asked.
    Closes,
}

/// What a member serves: the runs of each group, and its commit of it.
struct Served {
    groups: Vec<(Vec<Vec<u8>>, u64)>,
    node: u16,
    lie: Lie,
}

fn topology(ports: [u16; 3]) -> Topology {
    let names = ["FL-A-1", "TN-A-1", "TX-A-1"];
    let node = |index: usize| NodeSpec {
        id: NodeId(u16::try_from(index + 1).unwrap()),
        name: names[index].to_owned(),
        host: "127.0.0.1".to_owned(),
        port: ports[index] - NATIVE_PORTS,
        shards: 1,
    };
    Topology::new(TopologySpec::new(ClusterId(CLUSTER), (0..3).map(node).collect())).unwrap()
}

/// An entry to be written.
struct Written {
    /// The actor's key, where the entry introduces it.
    key: Option<Vec<u8>>,
    actor: u32,
    message: Vec<u8>,
}

/// One run of a group, sealed behind the run whose chain hash is `prev`.
fn run(group: u32, first_seq: u64, prev: u128, entries: &[Written]) -> (Vec<u8>, u128) {
    let mut bytes = vec![0; RUN_HEADER];
    for (seq, entry) in (first_seq..).zip(entries) {
        let parts = EntryParts {
            header: EntryHeader {
                actor: entry.actor.into(),
                number: u32::try_from(seq).unwrap().into(),
                flags: EVENT_IS_MESSAGE.into(),
                ..EntryHeader::default()
            },
            message: &entry.message,
            key: entry.key.as_deref(),
            ..EntryParts::default()
        };
        let start = bytes.len();
        bytes.resize(start + parts.length(), 0);
        parts.write(&mut bytes[start..]);
    }
    let header = RunHeader {
        item: ItemHeader {
            kind: ItemKind::Append as u8,
            count: u16::try_from(entries.len()).unwrap().into(),
            length: u32::try_from(bytes.len()).unwrap().into(),
            group: group.into(),
            ..ItemHeader::default()
        },
        chain_hash: 0.into(),
        view: 1.into(),
        first_seq: first_seq.into(),
        base_time_ms: 1_700_000_000_000.into(),
        prev_hash: u64::from_le_bytes(*prev.to_le_bytes().first_chunk().unwrap()).into(),
    };
    header.put(&mut bytes);
    let hash = checksum::chain(&bytes[HASHED_FROM..]);
    let header = RunHeader {
        chain_hash: hash.into(),
        ..header
    };
    header.put(&mut bytes);
    (bytes, hash)
}

/// The logs of all groups, in runs of three entries, as a member with this lie holds them.
fn logs(topology: &Topology, lie: Lie) -> Vec<(Vec<Vec<u8>>, u64)> {
    let mut text = KeyText::default();
    let mut serials = vec![Vec::new(); topology.spec().groups as usize];
    for serial in 0..MESSAGES {
        let key = WORK.key(WORK.actor(serial), &mut text).unwrap();
        serials[topology.locate(key).group.0 as usize].push(serial);
    }
    let group_log = |(group, serials): (u32, &Vec<u64>)| {
        let (mut runs, mut prev, mut known) = (Vec::new(), 0, Vec::new());
        for (index, of_run) in serials.chunks(3).enumerate() {
            let mut entries = Vec::new();
            for serial in of_run {
                let actor = WORK.actor(*serial);
                let dense = known.iter().position(|other| *other == actor);
                let introduced = dense.is_none();
                let dense = dense.unwrap_or(known.len());
                if introduced {
                    known.push(actor);
                }
                let mut text = KeyText::default();
                let key = WORK.key(actor, &mut text).unwrap().bytes().to_vec();
                let mut message = Vec::new();
                WORK.write(*serial, &mut message);
                if *serial == VICTIM && lie == Lie::ByteInMessage {
                    message[100] ^= 1;
                }
                entries.push(Written {
                    key: introduced.then_some(key),
                    actor: u32::try_from(dense).unwrap(),
                    message,
                });
            }
            let holds_victim = of_run.contains(&VICTIM);
            let named = if holds_victim && lie == Lie::OtherGroup {
                group + 1
            } else {
                group
            };
            let (mut bytes, hash) = run(named, 3 * index as u64 + 1, prev, &entries);
            prev = hash;
            if holds_victim && lie == Lie::ByteInRun {
                *bytes.last_mut().unwrap() ^= 1;
            }
            if !(holds_victim && lie == Lie::RunLeftOut) {
                runs.push(bytes);
            }
        }
        (runs, serials.len() as u64)
    };
    (0..).zip(&serials).map(group_log).collect()
}

/// Serves clients until the test ends.
fn serve(listener: TcpListener, served: Served) {
    let served = Arc::new(served);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let served = Arc::clone(&served);
            // A connection that its client has closed ends its thread, whatever it was doing.
            std::thread::spawn(move || answer(&stream.unwrap(), &served));
        }
    });
}

fn answer(mut stream: &TcpStream, served: &Served) -> std::io::Result<()> {
    let party = Party {
        cluster: if served.lie == Lie::OtherCluster {
            [9; 16]
        } else {
            CLUSTER
        },
        node: served.node,
        incarnation: 77,
        shard: 0,
        shards: 1,
        out: false,
        epoch: 0,
        topology_digest: [0; 16],
        topology: [].into(),
    };
    let mut acceptor = Acceptor::new(party, &KEY, [4; 16]);
    let offer = Offer {
        wall_ms: 1_700_000_000_000,
        message_bytes_max: 1 << 20,
        lz4: false,
        epoch: 0,
    };
    let (mut waiting, mut buffer, mut shaken) = (Vec::new(), vec![0; 64 << 10], false);
    let mut framer = Framer::new(FRAME_BYTES_MAX);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        waiting.extend_from_slice(&buffer[..count]);
        while !shaken {
            let (used, step) = acceptor.on_bytes(&waiting, |_| Ok(offer));
            waiting.drain(..used);
            match step {
                Step::More => break,
                Step::Send(bytes) => stream.write_all(&bytes)?,
                Step::Done { send, .. } => {
                    stream.write_all(&send)?;
                    shaken = true;
                }
                Step::Refused { send, .. } => return stream.write_all(&send),
            }
        }
        if shaken {
            let mut out = Vec::new();
            let fed = framer.feed(&std::mem::take(&mut waiting), true, |frame| {
                for item in frame.items() {
                    let (ask, _) = ReadBack::new_checked(&item)?;
                    out.extend_from_slice(&portion(served, item.header.group.get(), ask.from_seq.get()));
                }
                Ok(())
            });
            fed.expect("a reader sends well-formed frames");
            if served.lie == Lie::Closes {
                return Ok(());
            }
            stream.write_all(&out)?;
        }
    }
}

/// All runs of a group from a seq on, in one frame.
fn portion(served: &Served, group: u32, from_seq: u64) -> Vec<u8> {
    let (runs, commit) = &served.groups[group as usize];
    let mut bytes = Vec::new();
    let mut frame = FrameBuilder::begin(&mut bytes);
    let mut next_seq = from_seq;
    for run in runs {
        let header = RunHeader::read(run);
        if header.first_seq.get() >= from_seq {
            bytes.extend_from_slice(run);
            frame.pushed();
            next_seq = header.first_seq.get() + u64::from(header.item.count.get());
        }
    }
    let end = ReadBackEnd {
        item: ItemHeader {
            group: group.into(),
            ..ItemHeader::default()
        },
        next_seq: next_seq.into(),
        commit: (*commit).into(),
    };
    end.push(&mut bytes, &[]);
    frame.pushed();
    let address = FrameAddress {
        kind: FrameKind::Node,
        sender: (served.node, 77),
        receiver: (0, 0),
        number: 0,
        epoch: 0,
    };
    frame.finish(&mut bytes, &address);
    bytes
}

/// Three members, of which the second lies, and the check of everything.
fn check(lie: Lie) -> Findings {
    let listeners = [0; 3].map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let ports = [0, 1, 2].map(|index: usize| listeners[index].local_addr().unwrap().port());
    let topology = topology(ports);
    for (index, listener) in listeners.into_iter().enumerate() {
        let own = if index == 1 { lie } else { Lie::None };
        let node = u16::try_from(index + 1).unwrap();
        let served = Served {
            groups: logs(&topology, own),
            node: if own == Lie::OtherMember { 3 } else { node },
            lie: own,
        };
        serve(listener, served);
    }
    let mut ledger = Ledger::default();
    (0..MESSAGES).for_each(|serial| ledger.note(serial, Fate::Acked));
    let checker = Checker {
        topology: &topology,
        members: std::collections::BTreeMap::new(),
        key: KEY,
        workload: WORK,
        ledger: &ledger,
        keeps_all: true,
    };
    checker.check()
}

#[test]
fn honest_members_are_clean() {
    let findings = check(Lie::None);
    assert!(findings.is_clean(), "{findings:#?}");
    assert_eq!((findings.looked_for, findings.entries), (MESSAGES, 3 * MESSAGES));
    assert_eq!(findings.bytes, 3 * 128 * MESSAGES);
}

#[test]
fn a_byte_that_changed_after_the_run_was_sealed_is_found() {
    let findings = check(Lie::ByteInRun);
    // The run is refused whole: nothing behind it is believed, and too few copies of it are left.
    assert_eq!(findings.unreadable, 1, "{findings:#?}");
    assert!(findings.lost > 0 && !findings.is_clean(), "{findings:#?}");
    assert!(
        findings.said.iter().any(|said| said.contains("node 2 cannot be read")),
        "{findings:#?}"
    );
}

#[test]
fn a_byte_that_changed_before_the_run_was_sealed_is_found() {
    let findings = check(Lie::ByteInMessage);
    assert_eq!(
        (findings.foreign, findings.lost, findings.unreadable),
        (1, 1, 0),
        "{findings:#?}"
    );
}

#[test]
fn a_run_that_is_left_out_breaks_the_chain() {
    let findings = check(Lie::RunLeftOut);
    assert_eq!(findings.unreadable, 1, "{findings:#?}");
    assert!(findings.lost > 0, "{findings:#?}");
}

#[test]
fn a_run_of_another_group_is_refused() {
    let findings = check(Lie::OtherGroup);
    assert_eq!(findings.unreadable, 1, "{findings:#?}");
}

#[test]
fn another_member_at_an_address_is_no_copy() {
    let findings = check(Lie::OtherMember);
    assert_eq!((findings.foreign > 0, findings.lost), (true, MESSAGES), "{findings:#?}");
}

#[test]
fn another_cluster_at_an_address_is_no_copy() {
    let findings = check(Lie::OtherCluster);
    assert_eq!(
        (findings.unreadable > 0, findings.lost),
        (true, MESSAGES),
        "{findings:#?}"
    );
}

#[test]
fn a_member_that_closes_is_unreadable() {
    let findings = check(Lie::Closes);
    assert_eq!(
        (findings.unreadable > 0, findings.lost),
        (true, MESSAGES),
        "{findings:#?}"
    );
}
