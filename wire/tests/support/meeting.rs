//! Two machines and the wire between them.

use waterpark_wire::handshake::{Accepted, Acceptor, Claim, Dialer, HandshakeRefusal, Offer, Step, Welcome};

/// How both sides ended, and what each saw of the other's topology.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub dialer: Step<Welcome>,
    pub acceptor: Step<Accepted>,
    pub dialers_view: Option<Vec<u8>>,
    pub acceptors_view: Option<Vec<u8>>,
}

/// Lets both talk until nothing more is said.
pub(crate) fn run(
    dialer: Dialer,
    acceptor: Acceptor,
    judge: impl Fn(&Claim) -> Result<Offer, HandshakeRefusal>,
) -> Outcome {
    run_torn(dialer, acceptor, judge, usize::MAX)
}

/// The same, at most `piece` bytes at a time.
pub(crate) fn run_torn(
    mut dialer: Dialer,
    mut acceptor: Acceptor,
    judge: impl Fn(&Claim) -> Result<Offer, HandshakeRefusal>,
    piece: usize,
) -> Outcome {
    let (mut to_acceptor, mut to_dialer) = (dialer.hello().to_vec(), Vec::new());
    let mut ended = (None, None);
    while !to_acceptor.is_empty() || !to_dialer.is_empty() {
        let bytes = std::mem::take(&mut to_acceptor);
        pump(&bytes, piece, &mut ended.1, &mut to_dialer, |input| {
            acceptor.on_bytes(input, &judge)
        });
        let bytes = std::mem::take(&mut to_dialer);
        pump(&bytes, piece, &mut ended.0, &mut to_acceptor, |input| {
            dialer.on_bytes(input)
        });
    }
    Outcome {
        dialer: ended.0.expect("the dialer has ended"),
        acceptor: ended.1.expect("the acceptor has ended"),
        dialers_view: dialer.peer_topology().map(<[u8]>::to_vec),
        acceptors_view: acceptor.peer_topology().map(<[u8]>::to_vec),
    }
}

fn pump<T: Clone>(
    bytes: &[u8],
    piece: usize,
    ended: &mut Option<Step<T>>,
    out: &mut Vec<u8>,
    mut on_bytes: impl FnMut(&[u8]) -> (usize, Step<T>),
) {
    for mut piece in bytes.chunks(piece) {
        while !piece.is_empty() && ended.is_none() {
            let (taken, step) = on_bytes(piece);
            piece = &piece[taken..];
            match &step {
                Step::More => assert!(piece.is_empty(), "bytes are left, and more are wanted"),
                Step::Send(send) => out.extend_from_slice(send),
                Step::Done { send, .. } | Step::Refused { send, .. } => {
                    out.extend_from_slice(send);
                    *ended = Some(step);
                }
            }
        }
    }
}
