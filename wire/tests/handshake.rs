//! The two machines of the handshake against each other and against forged bytes.

#[path = "support/meeting.rs"]
mod meeting;
mod support;

use meeting::{Outcome, run, run_torn};
use support::{CLUSTER, KEY, granted, node, offer};
use waterpark_wire::handshake::messages::{Challenge, Hello, MessageKind, Prefix, Proof, Refused, WelcomeMessage};
use waterpark_wire::handshake::{
    Acceptor, Dialer, HANDSHAKE_BYTES_MAX, HandshakeRefusal, Party, Purpose, Release, Step, TOPOLOGY_BYTES_MAX,
    refuse_stranger,
};
use zerocopy::{FromBytes, IntoBytes};

const LINK: Purpose = Purpose::Link { number: 3 };

fn client(cluster: [u8; 16]) -> Party {
    Party {
        cluster,
        ..Party::client()
    }
}

fn dialer(party: Party) -> Dialer {
    Dialer::new(party, LINK, &KEY, [1; 16], true)
}

fn acceptor(party: Party) -> Acceptor {
    Acceptor::new(party, &KEY, [2; 16])
}

fn refused<T>(step: Step<T>) -> (Vec<u8>, HandshakeRefusal, bool) {
    match step {
        Step::Refused { send, refusal, by_peer } => (send, refusal, by_peer),
        Step::More => panic!("more bytes wanted, not refused"),
        Step::Send(_) => panic!("answered, not refused"),
        Step::Done { .. } => panic!("done, not refused"),
    }
}

fn sent<T>(step: Step<T>) -> Vec<u8> {
    match step {
        Step::Send(bytes) => bytes,
        _ => panic!("nothing to send"),
    }
}

/// A dialer that waits for the verdict, with the bytes of hello, challenge and proof.
fn up_to_proof(mut dialer: Dialer, acceptor: &mut Acceptor) -> (Dialer, [Vec<u8>; 3]) {
    let hello = dialer.hello().to_vec();
    let (_, step) = acceptor.on_bytes(&hello, |_| panic!("nothing is proven yet"));
    let challenge = sent(step);
    let (_, step) = dialer.on_bytes(&challenge);
    let proof = sent(step);
    (dialer, [hello, challenge, proof])
}

#[test]
fn both_sides_learn_each_other_however_the_bytes_are_torn() {
    for piece in [1, 2, 3, 7, 11, 12, 13, 64, 1000] {
        let Outcome { dialer, acceptor, .. } = run_torn(dialer(node(4)), acceptor(node(9)), granted, piece);
        let Step::Done { peer: welcome, send } = dialer else {
            panic!("pieces of {piece}: {dialer:?}")
        };
        assert!(send.is_empty());
        let Step::Done { peer: accepted, .. } = acceptor else {
            panic!("pieces of {piece}: {acceptor:?}")
        };
        assert_eq!((welcome.node, welcome.incarnation, welcome.cluster), (9, 900, CLUSTER));
        assert_eq!(
            (welcome.shard, welcome.shards, welcome.release),
            (1, 2, Release::CURRENT)
        );
        assert_eq!(
            (welcome.wall_ms, welcome.message_bytes_max),
            (1_700_000_000_000, 1 << 20)
        );
        assert_eq!((accepted.claim.node, accepted.claim.incarnation), (4, 400));
        assert_eq!(
            (accepted.claim.purpose, accepted.claim.release),
            (LINK, Release::CURRENT)
        );
        assert!(welcome.lz4 && accepted.lz4 && accepted.claim.lz4);
        assert_eq!(welcome.epoch, accepted.epoch);
    }
}

#[test]
fn bytes_behind_the_last_message_are_left_to_the_first_frame() {
    let mut acceptor = acceptor(node(9));
    let (mut dialer, [_, _, proof]) = up_to_proof(dialer(node(4)), &mut acceptor);
    let with_frame = [&proof[..], b"WPK1 a frame"].concat();
    let (taken, step) = acceptor.on_bytes(&with_frame, granted);
    assert_eq!(taken, proof.len());
    let Step::Done { send: welcome, .. } = step else {
        panic!("{step:?}")
    };
    let with_frame = [&welcome[..], b"WPK1 another"].concat();
    let (taken, step) = dialer.on_bytes(&with_frame);
    assert!(matches!(step, Step::Done { .. }));
    assert_eq!(&with_frame[taken..], b"WPK1 another");
    // The handshake is over: it takes nothing more.
    assert_eq!(dialer.on_bytes(b"WPK1 another"), (0, Step::More));
    assert_eq!(
        acceptor.on_bytes(b"WPK1 a frame", |_| panic!("asked twice")),
        (0, Step::More)
    );
}

#[test]
fn the_epoch_is_above_all_that_either_side_knew() {
    for (dialers, acceptors, judges, expected) in [(0, 0, 0, 1), (5, 2, 1, 6), (2, 5, 1, 6), (1, 2, 5, 6), (7, 7, 7, 8)]
    {
        let dialer = dialer(Party {
            epoch: dialers,
            ..node(4)
        });
        let acceptor = acceptor(Party {
            epoch: acceptors,
            ..node(9)
        });
        let outcome = run(dialer, acceptor, |_| {
            Ok(waterpark_wire::handshake::Offer {
                epoch: judges,
                ..offer()
            })
        });
        let (Step::Done { peer: welcome, .. }, Step::Done { peer: accepted, .. }) = (outcome.dialer, outcome.acceptor)
        else {
            panic!("not done")
        };
        assert_eq!((welcome.epoch, accepted.epoch), (expected, expected));
    }
}

#[test]
fn an_epoch_without_a_successor_is_refused_on_either_side() {
    let last = Party {
        epoch: u32::MAX,
        ..node(4)
    };
    // Already with the Hello: no proof is worth making for it.
    let (_, step) = acceptor(node(9)).on_bytes(dialer(last).hello(), |_| panic!("never asked"));
    assert_eq!(refused(step).1, HandshakeRefusal::Malformed);
    let outcome = run(
        dialer(Party {
            epoch: u32::MAX,
            ..node(4)
        }),
        acceptor(node(9)),
        granted,
    );
    assert_eq!(refused(outcome.acceptor).1, HandshakeRefusal::Malformed);
    let outcome = run(
        dialer(node(4)),
        acceptor(Party {
            epoch: u32::MAX,
            ..node(9)
        }),
        granted,
    );
    assert_eq!(refused(outcome.acceptor).1, HandshakeRefusal::Malformed);
    assert_eq!(refused(outcome.dialer).1, HandshakeRefusal::Malformed);
}

#[test]
fn out_and_lz4_are_passed_on_as_they_are_meant() {
    for (dialer_out, acceptor_out, dialer_lz4, acceptor_lz4) in [
        (true, false, true, false),
        (false, true, false, true),
        (true, true, true, true),
        (false, false, false, false),
    ] {
        let dialer = Dialer::new(
            Party {
                out: dialer_out,
                ..node(4)
            },
            LINK,
            &KEY,
            [1; 16],
            dialer_lz4,
        );
        let acceptor = acceptor(Party {
            out: acceptor_out,
            ..node(9)
        });
        let outcome = run(dialer, acceptor, |_| {
            Ok(waterpark_wire::handshake::Offer {
                lz4: acceptor_lz4,
                ..offer()
            })
        });
        let (Step::Done { peer: welcome, .. }, Step::Done { peer: accepted, .. }) = (outcome.dialer, outcome.acceptor)
        else {
            panic!("not done")
        };
        assert_eq!((accepted.claim.out, welcome.out), (dialer_out, acceptor_out));
        assert_eq!(
            (accepted.claim.lz4, accepted.lz4),
            (dialer_lz4, dialer_lz4 && acceptor_lz4)
        );
        assert_eq!(welcome.lz4, accepted.lz4);
    }
}

#[test]
fn a_client_takes_any_cluster_or_the_one_it_names() {
    for (cluster, is_taken) in [([0; 16], true), (CLUSTER, true), ([5; 16], false)] {
        let dialer = Dialer::new(client(cluster), Purpose::Client, &KEY, [1; 16], false);
        let outcome = run(dialer, acceptor(node(9)), granted);
        match (outcome.dialer, is_taken) {
            (Step::Done { peer: welcome, .. }, true) => assert_eq!((welcome.cluster, welcome.epoch), (CLUSTER, 0)),
            (step, false) => assert_eq!(refused(step).1, HandshakeRefusal::Cluster),
            (step, true) => panic!("{step:?}"),
        }
    }
}

#[test]
fn another_cluster_is_refused_by_whoever_sees_it_first() {
    let outcome = run(
        dialer(Party {
            cluster: [5; 16],
            ..node(4)
        }),
        acceptor(node(9)),
        |_| panic!("never asked"),
    );
    assert_eq!(
        refused(outcome.acceptor),
        (
            refuse_stranger(HandshakeRefusal::Cluster),
            HandshakeRefusal::Cluster,
            false
        )
    );
    assert_eq!(refused(outcome.dialer), (Vec::new(), HandshakeRefusal::Cluster, true));

    // An acceptor that lets the Hello pass is still refused by the dialer.
    let mut answering = acceptor(Party {
        cluster: [5; 16],
        ..node(9)
    });
    let hello = Dialer::new(
        Party {
            cluster: [5; 16],
            ..node(4)
        },
        LINK,
        &KEY,
        [1; 16],
        true,
    )
    .hello()
    .to_vec();
    let challenge = sent(answering.on_bytes(&hello, granted).1);
    let (_, step) = dialer(node(4)).on_bytes(&challenge);
    let (send, refusal, by_peer) = refused(step);
    assert_eq!((refusal, by_peer), (HandshakeRefusal::Cluster, false));
    let (_, step) = answering.on_bytes(&send, |_| panic!("never asked"));
    assert_eq!(refused(step), (Vec::new(), HandshakeRefusal::Cluster, true));
}

#[test]
fn a_wrong_key_is_found_by_the_dialer_before_it_proves_anything() {
    let outcome = run(dialer(node(4)), Acceptor::new(node(9), &[8; 32], [2; 16]), |_| {
        panic!("never asked")
    });
    assert_eq!(
        refused(outcome.dialer),
        (refuse_stranger(HandshakeRefusal::Key), HandshakeRefusal::Key, false)
    );
    assert_eq!(refused(outcome.acceptor), (Vec::new(), HandshakeRefusal::Key, true));
}

#[test]
fn a_reflected_proof_proves_nothing() {
    let mut acceptor = acceptor(node(9));
    let (_, [_, challenge, mut proof]) = up_to_proof(dialer(node(4)), &mut acceptor);
    // The acceptor's own proof comes back in the place of the dialer's.
    let at = proof.len() - 32;
    proof[at..].copy_from_slice(&challenge[challenge.len() - 32..]);
    let (_, step) = acceptor.on_bytes(&proof, |_| panic!("never asked"));
    assert_eq!(
        refused(step),
        (refuse_stranger(HandshakeRefusal::Key), HandshakeRefusal::Key, false)
    );

    // One who has no key lets a second connection to the same node prove for it what it was asked.
    let mut first = Acceptor::new(node(9), &KEY, [2; 16]);
    let mut second = Acceptor::new(node(9), &KEY, [3; 16]);
    let mut hello = Hello::new(&node(4), LINK, [1; 16], true);
    let asked = sent(first.on_bytes(hello.as_bytes(), granted).1);
    hello.nonce = Challenge::read_from_bytes(&asked).unwrap().nonce;
    let answer = sent(second.on_bytes(hello.as_bytes(), granted).1);
    let mut proof = Proof::new(&[]);
    proof.proof = Challenge::read_from_bytes(&answer).unwrap().proof;
    let (_, step) = first.on_bytes(proof.as_bytes(), |_| panic!("never asked"));
    assert_eq!(refused(step).1, HandshakeRefusal::Key);
}

#[test]
fn a_replayed_proof_proves_nothing_to_another_nonce() {
    let mut once = acceptor(node(9));
    let (_, [hello, challenge, proof]) = up_to_proof(dialer(node(4)), &mut once);
    assert!(matches!(once.on_bytes(&proof, granted).1, Step::Done { .. }));

    let mut again = Acceptor::new(node(9), &KEY, [3; 16]);
    sent(again.on_bytes(&hello, granted).1);
    let (_, step) = again.on_bytes(&proof, |_| panic!("never asked"));
    assert_eq!(refused(step).1, HandshakeRefusal::Key);

    let mut dialer = Dialer::new(node(4), LINK, &KEY, [3; 16], true);
    assert_eq!(refused(dialer.on_bytes(&challenge).1).1, HandshakeRefusal::Key);
}

#[test]
fn every_byte_of_hello_and_challenge_is_under_the_proofs() {
    let mut whole = acceptor(node(9));
    let (_, [hello, challenge, _]) = up_to_proof(dialer(node(4)), &mut whole);
    for at in 0..hello.len() {
        let mut changed = hello.clone();
        changed[at] ^= 1;
        let mut acceptor = acceptor(node(9));
        let (_, step) = acceptor.on_bytes(&changed, |_| panic!("never asked"));
        let Step::Send(challenge) = step else {
            continue;
        };
        let mut dialer = dialer(node(4));
        let (_, step) = dialer.on_bytes(&challenge);
        assert_eq!(refused(step).1, HandshakeRefusal::Key, "byte {at} of the Hello");
    }
    for at in 0..challenge.len() {
        let mut changed = challenge.clone();
        changed[at] ^= 1;
        let (_, step) = dialer(node(4)).on_bytes(&changed);
        assert!(matches!(step, Step::Refused { .. }), "byte {at} of the Challenge");
    }
}

#[test]
fn every_byte_of_proof_welcome_and_refusal_is_under_a_proof() {
    for at in 0..size_of::<Proof>() {
        let mut acceptor = acceptor(node(9));
        let (_, [_, _, mut proof]) = up_to_proof(dialer(node(4)), &mut acceptor);
        proof[at] ^= 1;
        let (_, step) = acceptor.on_bytes(&proof, |_| panic!("never asked"));
        assert!(
            matches!(step, Step::Refused { by_peer: false, .. }),
            "byte {at} of the Proof"
        );
    }
    for at in 0..size_of::<WelcomeMessage>() {
        let mut acceptor = acceptor(node(9));
        let (mut dialer, [_, _, proof]) = up_to_proof(dialer(node(4)), &mut acceptor);
        let Step::Done { send: mut welcome, .. } = acceptor.on_bytes(&proof, granted).1 else {
            panic!("not done")
        };
        welcome[at] ^= 1;
        let (send, _, by_peer) = refused(dialer.on_bytes(&welcome).1);
        // The acceptor may be reading frames already: nothing more is said.
        assert!(send.is_empty() && !by_peer, "byte {at} of the Welcome");
    }
    for at in 0..size_of::<Refused>() {
        let mut acceptor = acceptor(node(9));
        let (mut dialer, [_, _, proof]) = up_to_proof(dialer(node(4)), &mut acceptor);
        let (mut send, ..) = refused(acceptor.on_bytes(&proof, |_| Err(HandshakeRefusal::UnknownNode)).1);
        send[at] ^= 1;
        match dialer.on_bytes(&send).1 {
            Step::Refused { by_peer, .. } => assert!(!by_peer, "byte {at} of the refusal"),
            // A length that promises a topology behind it.
            step => assert_eq!(
                (step, (8..12).contains(&at)),
                (Step::More, true),
                "byte {at} of the refusal"
            ),
        }
    }
}

#[test]
fn different_topologies_are_shown_to_both_sides() {
    for piece in [1, 100, 1 << 21] {
        let party = |id: u16, digest: u8, bytes: usize| Party {
            topology_digest: [digest; 16],
            topology: vec![digest; bytes].into(),
            ..node(id)
        };
        let outcome = run_torn(
            dialer(party(4, 1, 300)),
            acceptor(party(9, 2, 500)),
            |_| panic!("never asked"),
            piece,
        );
        assert_eq!(outcome.acceptors_view.as_deref(), Some(&[1; 300][..]));
        assert_eq!(outcome.dialers_view.as_deref(), Some(&[2; 500][..]));
        let ours = |theirs: u8, ours: u8| HandshakeRefusal::Topology {
            theirs: [theirs; 16],
            ours: [ours; 16],
        };
        let (_, refusal, by_peer) = refused(outcome.acceptor);
        assert_eq!((refusal, by_peer), (ours(1, 2), false));
        let (send, refusal, by_peer) = refused(outcome.dialer);
        assert_eq!((send, refusal, by_peer), (Vec::new(), ours(2, 1), true));
    }
}

#[test]
fn a_topology_above_the_limit_is_left_out_and_one_at_the_limit_is_not() {
    for (bytes, is_seen) in [(TOPOLOGY_BYTES_MAX, true), (TOPOLOGY_BYTES_MAX + 1, false), (0, false)] {
        let party = |id: u16, digest: u8| Party {
            topology_digest: [digest; 16],
            topology: vec![digest; bytes].into(),
            ..node(id)
        };
        let outcome = run(dialer(party(4, 1)), acceptor(party(9, 2)), |_| panic!("never asked"));
        assert_eq!(outcome.acceptors_view.is_some(), is_seen);
        assert_eq!(outcome.dialers_view.is_some(), is_seen);
        assert!(matches!(refused(outcome.dialer).1, HandshakeRefusal::Topology { .. }));
    }
}

#[test]
fn a_topology_other_than_the_one_under_the_proof_is_refused() {
    let party = |id: u16, digest: u8| Party {
        topology_digest: [digest; 16],
        topology: vec![digest; 100].into(),
        ..node(id)
    };
    let mut acceptor = acceptor(party(9, 2));
    let (mut dialer, [_, _, mut proof]) = up_to_proof(dialer(party(4, 1)), &mut acceptor);
    let last = proof.len() - 1;
    proof[last] ^= 1;
    let (send, refusal, _) = refused(acceptor.on_bytes(&proof, |_| panic!("never asked")).1);
    assert_eq!((refusal, acceptor.peer_topology()), (HandshakeRefusal::Malformed, None));
    assert_eq!(
        refused(dialer.on_bytes(&send).1),
        (Vec::new(), HandshakeRefusal::Malformed, true)
    );
}

#[test]
fn a_client_is_not_asked_for_a_topology() {
    let dialer = Dialer::new(client(CLUSTER), Purpose::Client, &KEY, [1; 16], false);
    let acceptor = acceptor(Party {
        topology_digest: [7; 16],
        ..node(9)
    });
    assert!(matches!(run(dialer, acceptor, granted).dialer, Step::Done { .. }));
}

#[test]
fn every_refusal_of_the_judge_reaches_the_dialer() {
    for &refusal in HandshakeRefusal::ALL {
        let outcome = run(dialer(node(4)), acceptor(node(9)), |_| Err(refusal));
        let (send, ours, by_peer) = refused(outcome.acceptor);
        assert_eq!((ours, by_peer), (refusal, false));
        let attached = if matches!(refusal, HandshakeRefusal::Topology { .. }) {
            40
        } else {
            0
        };
        assert_eq!(send.len(), size_of::<Refused>() + attached);
        let (_, theirs, by_peer) = refused(outcome.dialer);
        assert_eq!((theirs.number(), by_peer), (refusal.number(), true));
    }
}

#[test]
fn a_process_that_dials_itself_is_told_so() {
    let outcome = run(dialer(node(9)), acceptor(node(9)), |_| panic!("never asked"));
    assert_eq!(refused(outcome.dialer).1, HandshakeRefusal::Oneself);
}

#[test]
fn a_stranger_is_told_no_more_than_a_stranger_may_know() {
    // A stranger has no topology to attach.
    let mut with_hash = Refused::new(HandshakeRefusal::Busy, &[]);
    with_hash.attached_hash = [1; 32];
    let (_, told, by_peer) = refused(dialer(node(4)).on_bytes(with_hash.as_bytes()).1);
    assert_eq!((told, by_peer), (HandshakeRefusal::Malformed, false));
    for &refusal in HandshakeRefusal::ALL {
        let bytes = refuse_stranger(refusal);
        let (_, told, by_peer) = refused(dialer(node(4)).on_bytes(&bytes).1);
        assert!(by_peer);
        assert!(told.number() == refusal.number() || told == HandshakeRefusal::Key);
        // The same words without a MAC are not believed where they must have one.
        let forged = Refused::new(refusal, &[]);
        let (_, told, by_peer) = refused(dialer(node(4)).on_bytes(forged.as_bytes()).1);
        let may_be_told = refuse_stranger(refusal) == forged.as_bytes();
        assert_eq!(by_peer, may_be_told, "{told}");
    }
}

#[test]
fn garbage_is_refused_at_the_first_wrong_byte() {
    for at in 0..4 {
        let mut bytes = *b"WPH1";
        bytes[at] ^= 0x20;
        let (taken, step) = acceptor(node(9)).on_bytes(&bytes[..=at], |_| panic!("never asked"));
        assert_eq!((taken, refused(step).1), (at + 1, HandshakeRefusal::Malformed));
        let (_, step) = dialer(node(4)).on_bytes(&bytes[..=at]);
        assert_eq!(refused(step).1, HandshakeRefusal::Malformed);
    }
    let (_, step) = acceptor(node(9)).on_bytes(b"GET / HTTP/1.1\r\n\r\n", |_| panic!("never asked"));
    assert_eq!(
        refused(step),
        (
            refuse_stranger(HandshakeRefusal::Malformed),
            HandshakeRefusal::Malformed,
            false
        )
    );
}

#[test]
fn another_format_is_named_to_both_sides() {
    let mut hello = Hello::new(&node(4), LINK, [1; 16], true);
    hello.prefix.format = 2;
    let (send, refusal, _) = refused(acceptor(node(9)).on_bytes(hello.as_bytes(), granted).1);
    assert_eq!(refusal, HandshakeRefusal::Format { theirs: 2 });
    let (_, refusal, by_peer) = refused(dialer(node(4)).on_bytes(&send).1);
    assert_eq!((refusal, by_peer), (HandshakeRefusal::Format { theirs: 1 }, true));
}

#[test]
fn a_length_above_the_limit_is_refused_with_the_prefix_alone() {
    for (kind, attached) in [(MessageKind::Hello, 1), (MessageKind::Hello, u32::MAX as usize - 100)] {
        let prefix = Prefix::new(kind, attached);
        let (_, step) = acceptor(node(9)).on_bytes(prefix.as_bytes(), granted);
        assert_eq!(refused(step).1, HandshakeRefusal::TooLong);
    }
    // A proof may bring a topology only if the digests differ, and then a bounded one.
    for (digest, attached, is_refused) in [
        ([0; 16], 1, true),
        ([1; 16], TOPOLOGY_BYTES_MAX, false),
        ([1; 16], TOPOLOGY_BYTES_MAX + 1, true),
    ] {
        let mut acceptor = acceptor(Party {
            topology_digest: [0; 16],
            ..node(9)
        });
        let dialer = dialer(Party {
            topology_digest: digest,
            ..node(4)
        });
        sent(acceptor.on_bytes(dialer.hello(), granted).1);
        let (_, step) = acceptor.on_bytes(Prefix::new(MessageKind::Proof, attached).as_bytes(), granted);
        if is_refused {
            assert_eq!(refused(step).1, HandshakeRefusal::TooLong);
        } else {
            assert_eq!(step, Step::More);
        }
    }
}

#[test]
fn a_topology_is_not_read_before_its_sender_has_proven_the_key() {
    let mut acceptor = acceptor(Party {
        topology_digest: [2; 16],
        ..node(9)
    });
    let dialer = dialer(node(4));
    sent(acceptor.on_bytes(dialer.hello(), granted).1);
    let mut forged = Proof::new(&[7; 1000]).as_bytes().to_vec();
    forged.extend_from_slice(&[7; 1000]);
    let (taken, step) = acceptor.on_bytes(&forged, |_| panic!("never asked"));
    assert_eq!((taken, refused(step).1), (size_of::<Proof>(), HandshakeRefusal::Key));
}

#[test]
fn a_party_that_is_nobody_is_refused() {
    let nobody = [
        Party { node: 0, ..node(4) },
        Party {
            incarnation: 0,
            ..node(4)
        },
        Party {
            shard: 2,
            shards: 2,
            ..node(4)
        },
        Party {
            shard: 0,
            shards: 0,
            ..node(4)
        },
    ];
    for party in nobody {
        let (_, step) = acceptor(node(9)).on_bytes(dialer(party.clone()).hello(), granted);
        assert_eq!(refused(step).1, HandshakeRefusal::Malformed);
        let mut nobody = Acceptor::new(party, &KEY, [2; 16]);
        let challenge = sent(nobody.on_bytes(dialer(node(4)).hello(), granted).1);
        assert_eq!(
            refused(dialer(node(4)).on_bytes(&challenge).1).1,
            HandshakeRefusal::Malformed
        );
    }
    // A client that claims to be a node.
    let dialer = Dialer::new(node(4), Purpose::Client, &KEY, [1; 16], false);
    let (_, step) = acceptor(node(9)).on_bytes(dialer.hello(), granted);
    assert_eq!(refused(step).1, HandshakeRefusal::Malformed);
}

#[test]
fn refusals_keep_their_numbers() {
    let numbers: Vec<u16> = HandshakeRefusal::ALL.iter().map(|refusal| refusal.number()).collect();
    assert_eq!(numbers, (256..=271).collect::<Vec<u16>>());
    for &refusal in HandshakeRefusal::ALL {
        assert_eq!(HandshakeRefusal::from_number(refusal.number()), Some(refusal));
        assert!(refusal.to_string().len() > 20);
    }
    assert_eq!(HandshakeRefusal::from_number(255), None);
    assert_eq!(HandshakeRefusal::from_number(272), None);
}

#[test]
fn no_message_without_a_topology_is_longer_than_the_limit() {
    let kinds = [
        MessageKind::Hello,
        MessageKind::Challenge,
        MessageKind::Proof,
        MessageKind::Welcome,
        MessageKind::Refused,
    ];
    assert_eq!(kinds.iter().map(|kind| kind.bytes()).max(), Some(HANDSHAKE_BYTES_MAX));
}

#[test]
fn neither_machine_shows_the_key_when_it_is_printed() {
    let key = *b"a key that nobody should ever see";
    let key = key.first_chunk::<32>().unwrap();
    let shown = format!(
        "{:?} {:?}",
        Dialer::new(node(4), LINK, key, [1; 16], true),
        Acceptor::new(node(9), key, [2; 16])
    );
    assert!(!shown.contains(&format!("{:?}", &key[..4]).replace(['[', ']'], "")));
}
