//! Both machines of the handshake against bytes of strangers and of peers that hold the key. Proofs are made here from
//! their description alone, so a difference between it and the machines shows too.

use std::collections::BTreeSet;

use waterpark_fuzz_tests::mutate::damage;
use waterpark_fuzz_tests::rng::Rng;
use waterpark_fuzz_tests::{CASES_FOR_COVERAGE, cases};
use waterpark_wire::handshake::messages::{Challenge, Hello, MessageKind, Prefix, Proof, Refused, WelcomeMessage};
use waterpark_wire::handshake::{
    Acceptor, Claim, Dialer, HandshakeRefusal, Offer, Party, Purpose, Step, TOPOLOGY_BYTES_MAX, refuse_stranger,
};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

const KEY: [u8; 32] = [7; 32];
const ACCEPT: &[u8; 16] = b"waterpark accept";
const DIALER: &[u8; 16] = b"waterpark dialer";
const GRANTS: &[u8; 16] = b"waterpark grants";
const REFUSE: &[u8; 16] = b"waterpark refuse";

fn party(node: u16, digest: u8) -> Party {
    Party {
        cluster: [1; 16],
        node,
        incarnation: u64::from(node) * 100,
        shard: 0,
        shards: 2,
        out: false,
        epoch: 3,
        topology_digest: [digest; 16],
        topology: vec![digest; 48].into(),
    }
}

/// Writes the proof that ends `message`, as `docs/frame_format.md` says.
fn prove(label: &[u8; 16], before: &[&[u8]], message: &mut [u8]) {
    let (said, proof) = message.split_at_mut(message.len() - 32);
    let mut hasher = blake3::Hasher::new_keyed(&KEY);
    hasher.update(label);
    for part in before {
        hasher.update(part);
    }
    hasher.update(said);
    proof.copy_from_slice(hasher.finalize().as_bytes());
}

/// Refusals by number, and how often the handshake was done.
#[derive(Default)]
struct Seen {
    by_us: BTreeSet<u16>,
    by_peer: BTreeSet<u16>,
    done: u64,
}

impl Seen {
    fn note<T>(&mut self, step: &Step<T>) {
        match step {
            Step::More | Step::Send(_) => {}
            Step::Done { .. } => self.done += 1,
            Step::Refused {
                refusal, by_peer: true, ..
            } => {
                self.by_peer.insert(refusal.number());
            }
            Step::Refused { refusal, .. } => {
                self.by_us.insert(refusal.number());
            }
        }
    }

    fn assert_reached(&self, by_us: &[HandshakeRefusal], by_peer: &[HandshakeRefusal], cases: u64) {
        if cases < CASES_FOR_COVERAGE {
            return;
        }
        let numbers = |refusals: &[HandshakeRefusal]| refusals.iter().map(|refusal| refusal.number()).collect();
        let (by_us, by_peer): (BTreeSet<u16>, BTreeSet<u16>) = (numbers(by_us), numbers(by_peer));
        assert_eq!(
            (&self.by_us, &self.by_peer),
            (&by_us, &by_peer),
            "refused by us, and by the peer"
        );
        assert!(self.done > 0, "never done");
    }
}

/// Hands `bytes` over in pieces and returns the steps that were not `More`.
fn pieces<T: Clone + PartialEq + std::fmt::Debug>(
    rng: &mut Rng,
    bytes: &[u8],
    mut on_bytes: impl FnMut(&[u8]) -> (usize, Step<T>),
    seen: &mut Seen,
) -> Vec<Step<T>> {
    let (mut steps, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let piece = if rng.once_in(2) {
            rest.len()
        } else {
            1 + rng.below(rest.len())
        };
        let (taken, step) = on_bytes(&rest[..piece]);
        assert!(taken <= piece);
        assert!(
            taken == piece || step != Step::More || !steps.is_empty(),
            "bytes are left and nothing was said"
        );
        seen.note(&step);
        let is_over = matches!(step, Step::Done { .. } | Step::Refused { .. });
        if step != Step::More {
            steps.push(step);
        }
        if is_over {
            assert_eq!(
                on_bytes(&rest[taken..]),
                (0, Step::More),
                "a handshake that is over takes nothing"
            );
            break;
        }
        rest = &rest[taken..];
    }
    steps
}

/// What the stranger at the other end does with a message that it has made.
fn sometimes_damaged(rng: &mut Rng, bytes: &mut Vec<u8>, once_in: usize) {
    if rng.once_in(once_in) {
        let other = bytes.clone();
        damage(rng, bytes, &other);
    }
}

#[test]
fn no_dialer_makes_the_acceptor_panic() {
    let (cases, mut rng, mut seen) = (cases(1), Rng::new(40), Seen::default());
    for _ in 0..cases {
        let dialers = party(*rng.one_of(&[4, 9]), *rng.one_of(&[1, 2]));
        let purpose = *rng.one_of(&[Purpose::Link { number: 0 }, Purpose::Client]);
        let dialers = if purpose == Purpose::Client {
            client(&mut rng)
        } else {
            dialers
        };
        let mut hello = Hello::new(&dialers, purpose, [5; 16], true).as_bytes().to_vec();
        sometimes_damaged(&mut rng, &mut hello, 3);

        let mut acceptor = Acceptor::new(party(9, 2), &KEY, [6; 16]);
        let mut asked = 0;
        let grant = |_: &Claim| {
            Ok(Offer {
                wall_ms: 1,
                message_bytes_max: 2,
                lz4: true,
                epoch: 0,
            })
        };
        let unproven = |_: &Claim| panic!("the judge is asked before the key was proven");
        let steps = pieces(&mut rng, &hello, |input| acceptor.on_bytes(input, unproven), &mut seen);
        let Some(Step::Send(challenge)) = steps.first() else {
            continue;
        };
        // A good Hello with something behind it: the rest was read as the next message, which is over if it was wrong.
        if steps.len() > 1 || hello.len() != size_of::<Hello>() {
            continue;
        }
        let mut answer = dialers_answer(&mut rng, &hello, challenge, &dialers);
        sometimes_damaged(&mut rng, &mut answer, 6);
        let holds_key = holds_key(&hello, challenge, &answer);
        let steps = pieces(
            &mut rng,
            &answer,
            |input| {
                acceptor.on_bytes(input, |claim| {
                    asked += 1;
                    assert!(holds_key, "asked about one who has not proven the key");
                    grant(claim)
                })
            },
            &mut seen,
        );
        let is_done = matches!(steps.last(), Some(Step::Done { .. }));
        assert_eq!(
            asked,
            u64::from(is_done),
            "the judge is asked once, and its word counts"
        );
        if let Some(Step::Refused {
            send,
            refusal,
            by_peer: false,
        }) = steps.last()
        {
            let is_told = send == &refuse_stranger(*refusal);
            assert!(holds_key || is_told, "a stranger was told more than it may know");
        }
    }
    let by_us = [
        HandshakeRefusal::Malformed,
        HandshakeRefusal::TooLong,
        HandshakeRefusal::Format { theirs: 0 },
        HandshakeRefusal::Cluster,
        HandshakeRefusal::Key,
        HandshakeRefusal::Topology {
            theirs: [0; 16],
            ours: [0; 16],
        },
        HandshakeRefusal::Oneself,
    ];
    let told_by_strangers = [
        HandshakeRefusal::Malformed,
        HandshakeRefusal::TooLong,
        HandshakeRefusal::Format { theirs: 0 },
        HandshakeRefusal::Cluster,
        HandshakeRefusal::Key,
        HandshakeRefusal::Busy,
        HandshakeRefusal::Stopping,
        HandshakeRefusal::NotLoopback,
        HandshakeRefusal::Purpose,
        HandshakeRefusal::Late,
    ];
    seen.assert_reached(&by_us, &told_by_strangers, cases);
}

fn client(rng: &mut Rng) -> Party {
    Party {
        cluster: *rng.one_of(&[[0; 16], [1; 16], [2; 16]]),
        node: 0,
        incarnation: 0,
        shards: 0,
        ..party(0, 0)
    }
}

/// A proof with or without a topology, mostly right, or a refusal.
fn dialers_answer(rng: &mut Rng, hello: &[u8], challenge: &[u8], dialers: &Party) -> Vec<u8> {
    if rng.once_in(6) {
        return Refused::new(*rng.one_of(HandshakeRefusal::ALL), &[])
            .as_bytes()
            .to_vec();
    }
    let differs = dialers.node != 0 && dialers.topology_digest != [2; 16];
    let attached: &[u8] = if differs != rng.once_in(8) {
        &dialers.topology
    } else {
        &[]
    };
    let mut proof = Proof::new(attached);
    match rng.below(12) {
        0 => proof.prefix = Prefix::new(MessageKind::Proof, TOPOLOGY_BYTES_MAX + 1),
        1 => proof.reserved = U32::new(1),
        2 => proof.attached_hash = [9; 32],
        _ => {}
    }
    prove(DIALER, &[hello, challenge], proof.as_mut_bytes());
    [proof.as_bytes(), attached].concat()
}

/// Whether the answer's proof is right.
fn holds_key(hello: &[u8], challenge: &[u8], answer: &[u8]) -> bool {
    let Some(fixed) = answer.get(..size_of::<Proof>()) else {
        return false;
    };
    let mut right = fixed.to_vec();
    prove(DIALER, &[hello, challenge], &mut right);
    right == fixed
}

#[test]
fn no_acceptor_makes_the_dialer_panic() {
    let (cases, mut rng, mut seen) = (cases(1), Rng::new(41), Seen::default());
    for _ in 0..cases {
        let purpose = *rng.one_of(&[Purpose::Link { number: 0 }, Purpose::Client]);
        let dialers = if purpose == Purpose::Client {
            client(&mut rng)
        } else {
            party(4, *rng.one_of(&[1, 2]))
        };
        let mut dialer = Dialer::new(dialers, purpose, &KEY, [5; 16], rng.once_in(2));
        let hello = dialer.hello().to_vec();

        let mut challenge = if rng.once_in(6) {
            Refused::new(*rng.one_of(HandshakeRefusal::ALL), &[])
                .as_bytes()
                .to_vec()
        } else {
            let mut challenge = Challenge::new(&party(9, 2), [6; 16]);
            prove(ACCEPT, &[&hello], challenge.as_mut_bytes());
            challenge.as_bytes().to_vec()
        };
        sometimes_damaged(&mut rng, &mut challenge, 3);
        let steps = pieces(&mut rng, &challenge, |input| dialer.on_bytes(input), &mut seen);
        let Some(Step::Send(proof)) = steps.first() else {
            continue;
        };
        if steps.len() > 1 || challenge.len() != size_of::<Challenge>() {
            continue;
        }
        let proof = &proof[..size_of::<Proof>()];
        let mut verdict = verdict(&mut rng, &[&hello, &challenge, proof]);
        sometimes_damaged(&mut rng, &mut verdict, 6);
        let steps = pieces(&mut rng, &verdict, |input| dialer.on_bytes(input), &mut seen);
        let is_granted = WelcomeMessage::read_from_prefix(&verdict).is_ok_and(|(welcome, _)| {
            let mut right = welcome;
            prove(GRANTS, &[&hello, &challenge, proof], right.as_mut_bytes());
            right.mac == welcome.mac
        });
        if matches!(steps.last(), Some(Step::Done { .. })) {
            assert!(is_granted, "taken for welcome without a right MAC");
        }
        if let Some(Step::Refused { send, .. }) = steps.last() {
            assert!(send.is_empty(), "the acceptor may be reading frames already");
        }
    }
    let by_us = [
        HandshakeRefusal::Malformed,
        HandshakeRefusal::TooLong,
        HandshakeRefusal::Format { theirs: 0 },
        HandshakeRefusal::Cluster,
        HandshakeRefusal::Key,
        HandshakeRefusal::Topology {
            theirs: [0; 16],
            ours: [0; 16],
        },
    ];
    seen.assert_reached(&by_us, HandshakeRefusal::ALL, cases);
}

/// A welcome or a refusal under a right MAC, its fields sometimes impossible.
fn verdict(rng: &mut Rng, before: &[&[u8]]) -> Vec<u8> {
    if rng.once_in(2) {
        let refusal = *rng.one_of(HandshakeRefusal::ALL);
        let attached: &[u8] = if rng.once_in(2) { &[2; 48] } else { &[] };
        let mut refused = Refused::new(refusal, attached);
        match rng.below(12) {
            0 => refused.number = 9.into(),
            1 => refused.detail[31] = 9,
            2 => refused.attached_hash = [9; 32],
            3 => refused.reserved = 9.into(),
            _ => {}
        }
        prove(REFUSE, before, refused.as_mut_bytes());
        return [refused.as_bytes(), attached].concat();
    }
    let mut welcome = WelcomeMessage {
        prefix: Prefix::new(MessageKind::Welcome, 0),
        flags: *rng.one_of(&[0, 0, 0, 2, 1, 255]),
        reserved: [0; 3],
        wall_ms: U64::new(rng.word()),
        epoch: U32::new(*rng.one_of(&[0, 0, 3, 4, 5, u32::MAX])),
        message_bytes_max: U32::new(1 << 20),
        mac: [0; 32],
    };
    prove(GRANTS, before, welcome.as_mut_bytes());
    welcome.as_bytes().to_vec()
}

#[test]
fn noise_is_refused_by_both_machines() {
    let (cases, mut rng, mut seen) = (cases(1), Rng::new(42), Seen::default());
    for _ in 0..cases {
        let mut bytes = rng.bytes(160);
        // Most of what begins like a handshake goes on with a kind and a length that fit.
        if !rng.once_in(8) && bytes.len() >= 12 {
            bytes[..4].copy_from_slice(b"WPH1");
            bytes[4] = u8::from(!rng.once_in(8));
            bytes[5] = rng.byte() % 7;
            bytes[6..8].fill(0);
            let length = u32::try_from(*rng.one_of(&[64, 80, 88, 112, 120])).expect("small");
            bytes[8..12].copy_from_slice(&length.to_le_bytes());
        }
        let mut acceptor = Acceptor::new(party(9, 2), &KEY, [6; 16]);
        let unproven = |_: &Claim| panic!("the judge is asked about noise");
        let steps = pieces(&mut rng, &bytes, |input| acceptor.on_bytes(input, unproven), &mut seen);
        assert!(!matches!(steps.last(), Some(Step::Done { .. })));
        let mut dialer = Dialer::new(party(4, 2), Purpose::Link { number: 0 }, &KEY, [5; 16], false);
        let steps = pieces(&mut rng, &bytes, |input| dialer.on_bytes(input), &mut seen);
        assert!(
            steps.iter().all(|step| matches!(step, Step::Refused { .. })),
            "noise proves no key"
        );
    }
    assert_eq!(seen.done, 0);
}
