//! Requests of this very process: what speaks another protocol on this shard asks its mailroom by items, without a connection or frames.
//!
//! **Invariant:** every local request is answered once, as a client's is; its replies wait here until they are taken.

use waterpark_wire::item::{ItemKind, Items};
use waterpark_wire::request::{FORWARDED, RequestView};

use crate::behaviour::Behaviour;
use crate::ids::ClientId;
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::Now;
use crate::waiting::Origin;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Takes requests, one item behind the other, in order. A request may be longer than what a frame holds.
    ///
    /// # Panics
    /// If an item is no request: they are made by this process, so it has a bug.
    pub fn on_local_items(&mut self, now: Now, items: &[u8]) {
        let mut walk = Items::new(items);
        while let Some(item) = walk.step().expect("local items are whole") {
            let request = RequestView::new_checked(&item)
                .ok()
                .filter(|request| item.kind() == ItemKind::Request && !request.has(FORWARDED));
            let request = request.expect("local items are requests of clients");
            self.counters.requests += 1;
            let aim = self.aim_of(request.key);
            self.on_client_request(
                now,
                ClientId::LOCAL,
                &Origin::Client(ClientId::LOCAL),
                &request,
                aim.as_ref(),
            );
        }
    }

    /// Moves the replies that are ready into an empty buffer, as items in order.
    pub fn take_local_replies(&mut self, replies: &mut Vec<u8>) {
        debug_assert!(replies.is_empty(), "what was taken before is read");
        std::mem::swap(&mut self.local, replies);
    }
}
