//! The path of a message allocates nothing once the buffers have grown.

use allocation_counter::measure;
use waterpark_client::{ClientOptions, Effect, SendOptions};
use waterpark_wire::framer::Framer;
use waterpark_wire::reply::{HAS_TOKEN, Outcome};
use waterpark_wire::request::RequestView;

use crate::script::{MS, Script, frame_of, reply_item};

#[test]
fn a_message_in_steady_state_allocates_nothing() {
    let mut script = Script::ready(ClientOptions::default());
    // The entry writes this group: one connection carries it all.
    let (_, seen) = script.sent(10, &SendOptions::default());
    script.answer(&seen, Outcome::Done, 1, b"");
    script.end();
    let key = script.key(10);
    let core = &mut script.core;
    let key = core.prepare(key.as_ref()).unwrap();
    let mut effects: Vec<Effect> = Vec::with_capacity(8);
    let mut framer = Framer::new(1 << 20);
    let mut allocations = Vec::new();
    for round in 0..20 {
        let now_ns = script.now_ns + round * MS;
        let sending = measure(|| {
            for _ in 0..200 {
                core.send(now_ns, key, &[7; 128], &SendOptions::default()).unwrap();
            }
            core.take_effects(now_ns, &mut effects);
        });
        assert_eq!(effects.drain(..).count(), 1, "one batch");
        let sent = core.outgoing(seen.peer).to_vec();
        let mut replies = Vec::new();
        let answer = |request: &RequestView<'_>| {
            let mut seen = seen.clone();
            seen.correlation = request.header.correlation.get();
            frame_of(&reply_item(&seen, Outcome::Done, 0, HAS_TOKEN, 1, b"reply"))
        };
        let read = framer.feed(&sent, true, |frame| {
            for item in frame.items() {
                replies.extend_from_slice(&answer(&RequestView::new_checked(&item)?));
            }
            Ok(())
        });
        read.unwrap();
        let mut ended = 0;
        let ending = measure(|| {
            core.on_written(seen.peer, sent.len());
            core.on_bytes(now_ns, seen.peer, &replies);
            core.on_tick(now_ns);
            core.take_completions(|completion| ended += u32::from(completion.result == Ok(Outcome::Done)));
        });
        assert_eq!(ended, 200);
        allocations.push(sending.count_total + ending.count_total);
    }
    assert!(allocations[0] > 0, "the first round grows the buffers: counting works");
    assert_eq!(allocations[10..], [0; 10], "{allocations:?}");
}
