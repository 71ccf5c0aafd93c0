//! Rings between shards: one single-producer single-consumer ring per ordered pair, and a flag per shard that says whether it sleeps.
//!
//! It does not know what travels, nor how a sleeper is woken: [`Port::flush`] names the shards that need it, and the caller wakes them.
//! **Invariant:** an item that was flushed is either seen by the receiver before it blocks, or its sender is told to wake it; and a shard
//! that neither sleeps nor is about to is never woken.
//!
//! Items are staged per destination and published in chunks, at the end of a turn: 7 ns an item, where publishing one by one costs 32 to 64,
//! because each publication moves a cache line between cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_utils::CachePadded;
use rtrb::{Consumer, Producer, RingBuffer};

/// Items that are taken from one sender before the next sender has its turn.
const CHUNK: usize = 256;

/// The sending side of one pair.
struct Outbox<T> {
    ring: Producer<T>,
    /// Sent in this turn, not yet published. Never holds more than the ring had room for when it was last asked.
    staged: Vec<T>,
    /// Room that the ring is known to have.
    room: usize,
    /// Published in the flush that is under way.
    fresh: bool,
}

impl<T> Outbox<T> {
    fn new(ring: Producer<T>) -> Self {
        // As much room as the ring, so that staging never allocates.
        let room = ring.slots();
        Self {
            ring,
            staged: Vec::with_capacity(room),
            room,
            fresh: false,
        }
    }

    fn publish(&mut self) {
        if self.staged.is_empty() {
            return;
        }
        let count = self.staged.len();
        let chunk = self
            .ring
            .write_chunk_uninit(count)
            .expect("`send` stages only what the ring has room for");
        let written = chunk.fill_from_iter(self.staged.drain(..));
        assert_eq!(written, count);
        self.room -= count;
        self.fresh = true;
    }
}

/// One shard's end of all its rings.
pub struct Port<T> {
    index: usize,
    /// To each shard; `None` for this one.
    outboxes: Vec<Option<Outbox<T>>>,
    /// From each shard; `None` for this one.
    inboxes: Vec<Option<Consumer<T>>>,
    /// Who sleeps, or is about to.
    asleep: Arc<[CachePadded<AtomicBool>]>,
    /// Whether anything was staged since the last flush.
    staged: bool,
}

/// Joins `shards` shards pairwise with rings of `capacity` items. Port `i` belongs to shard `i`.
///
/// # Panics
/// If `capacity` is 0: nothing could ever be sent.
#[must_use]
pub fn mesh<T>(shards: usize, capacity: usize) -> Vec<Port<T>> {
    assert!(capacity > 0);
    let asleep: Arc<[_]> = (0..shards).map(|_| CachePadded::new(AtomicBool::new(false))).collect();
    let port = |index| Port {
        index,
        outboxes: (0..shards).map(|_| None).collect(),
        inboxes: (0..shards).map(|_| None).collect(),
        asleep: Arc::clone(&asleep),
        staged: false,
    };
    let mut ports: Vec<Port<T>> = (0..shards).map(port).collect();
    for from in 0..shards {
        for to in (0..shards).filter(|to| *to != from) {
            let (producer, consumer) = RingBuffer::new(capacity);
            ports[from].outboxes[to] = Some(Outbox::new(producer));
            ports[to].inboxes[from] = Some(consumer);
        }
    }
    ports
}

impl<T> Port<T> {
    /// The shard that this port belongs to.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Shards in the mesh, this one included.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.outboxes.len()
    }

    /// Stages an item for another shard. It leaves with the next [`flush`](Self::flush), after all that was sent there before.
    ///
    /// # Errors
    /// Hands the item back when that ring is full: the receiver is behind, and whoever asked for this is to be told so.
    ///
    /// # Panics
    /// If `to` is this shard or none of the mesh: a bug in this process.
    #[inline]
    pub fn send(&mut self, to: usize, item: T) -> Result<(), T> {
        let outbox = self.outboxes[to].as_mut().expect("a shard does not send to itself");
        if outbox.staged.len() >= outbox.room {
            outbox.room = outbox.ring.slots();
            if outbox.staged.len() >= outbox.room {
                return Err(item);
            }
        }
        outbox.staged.push(item);
        self.staged = true;
        Ok(())
    }

    /// Publishes what was sent since the last flush, and calls `wake` once for each receiver that sleeps. Costs nothing when nothing was
    /// sent, and one fence otherwise.
    pub fn flush(&mut self, mut wake: impl FnMut(usize)) {
        if !std::mem::take(&mut self.staged) {
            return;
        }
        self.outboxes.iter_mut().flatten().for_each(Outbox::publish);
        // Pairs with the fence in `prepare_sleep`: of "we published" and "they sleep", at least one side sees the other's store.
        fence(Ordering::SeqCst);
        for (to, (outbox, asleep)) in self.outboxes.iter_mut().zip(self.asleep.iter()).enumerate() {
            let fresh = outbox.as_mut().is_some_and(|outbox| std::mem::take(&mut outbox.fresh));
            // One of several senders takes the flag down, and only that one wakes.
            if fresh && asleep.load(Ordering::Relaxed) && asleep.swap(false, Ordering::AcqRel) {
                wake(to);
            }
        }
    }

    /// Takes everything that was there when it was asked, in chunks, sender by sender; items of one sender in order. Returns how many.
    pub fn drain(&mut self, mut each: impl FnMut(usize, T)) -> usize {
        let mut taken = 0;
        for (from, inbox) in self.inboxes.iter_mut().enumerate() {
            let Some(inbox) = inbox else { continue };
            let mut there = inbox.slots();
            while there > 0 {
                let chunk = inbox
                    .read_chunk(there.min(CHUNK))
                    .expect("`slots` says that they are there");
                let count = chunk.len();
                chunk.into_iter().for_each(|item| each(from, item));
                taken += count;
                there -= count;
            }
        }
        taken
    }

    /// Whether anything waits to be drained.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.inboxes.iter().flatten().any(|inbox| !inbox.is_empty())
    }

    /// Marks this shard asleep before a turn that may block. Returns whether it may: `false` when something has just arrived, and the shard
    /// goes on. After the turn, whatever ended it, comes [`awake`](Self::awake).
    ///
    /// # Panics
    /// If something was sent and not flushed: it would sleep with us.
    #[must_use]
    pub fn prepare_sleep(&self) -> bool {
        assert!(!self.staged, "a shard flushes before it sleeps");
        let asleep = &self.asleep[self.index];
        asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `flush`.
        fence(Ordering::SeqCst);
        if self.has_mail() {
            asleep.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Says that this shard turns again, so that nobody spends a system call on waking it.
    #[inline]
    pub fn awake(&self) {
        let asleep = &self.asleep[self.index];
        // Mostly a waker has taken the flag down already; then the line stays shared.
        if asleep.load(Ordering::Relaxed) {
            asleep.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn items_arrive_in_order_after_a_flush_and_not_before() {
        let mut ports = mesh::<u32>(3, 8);
        for item in 0..5 {
            ports[0].send(2, item).unwrap();
        }
        ports[1].send(2, 100).unwrap();
        assert!(!ports[2].has_mail());
        ports[0].flush(|_| panic!("nobody sleeps"));
        ports[1].flush(|_| panic!("nobody sleeps"));
        let mut got = Vec::new();
        assert_eq!(ports[2].drain(|from, item| got.push((from, item))), 6);
        assert_eq!(got, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 100)]);
    }

    #[test]
    fn a_full_ring_hands_the_item_back_and_takes_it_once_there_is_room() {
        let mut ports = mesh::<u32>(2, 4);
        (0..4).for_each(|item| ports[0].send(1, item).unwrap());
        assert_eq!(ports[0].send(1, 4), Err(4), "staged items count");
        ports[0].flush(|_| ());
        assert_eq!(ports[0].send(1, 4), Err(4), "published items count");
        assert_eq!(ports[1].drain(|_, _| ()), 4);
        assert_eq!(ports[0].send(1, 4), Ok(()));
    }

    #[test]
    fn only_a_sleeper_with_mail_is_woken_and_only_once() {
        let mut ports = mesh::<u32>(4, 8);
        assert!(ports[1].prepare_sleep());
        assert!(ports[3].prepare_sleep());
        let mut woken = Vec::new();
        ports[0].send(1, 1).unwrap();
        ports[0].send(2, 1).unwrap();
        ports[0].flush(|to| woken.push(to));
        ports[2].send(1, 1).unwrap();
        ports[2].flush(|to| woken.push(to));
        assert_eq!(woken, [1], "2 is awake, 3 has no mail, 1 was woken by the first");
        assert!(!ports[2].prepare_sleep(), "mail keeps a shard awake");
    }

    /// The protocol under fire: each side sends a few items, then sleeps for real until it has mail. A lost wake-up is a park that nobody ends.
    #[test]
    fn no_wake_up_is_lost_and_none_is_wasted_between_two_threads() {
        const ROUNDS: u64 = 200_000;
        let mut ports = mesh::<u64>(2, 64);
        let (mut second, mut first) = (ports.pop().unwrap(), ports.pop().unwrap());
        let wakes = AtomicU64::new(0);
        let (attempts, sleeps) = (AtomicU64::new(0), AtomicU64::new(0));
        let begun = Instant::now();
        thread::scope(|scope| {
            let main = thread::current();
            let (wakes, attempts, sleeps) = (&wakes, &attempts, &sleeps);
            let run = move |port: &mut Port<u64>, peer: usize, other: &thread::Thread| {
                let (mut sent, mut received, mut expected) = (0, 0, 0);
                while received < ROUNDS || sent < ROUNDS {
                    while sent < ROUNDS && sent < received + 3 && port.send(peer, sent).is_ok() {
                        sent += 1;
                    }
                    port.flush(|_| {
                        wakes.fetch_add(1, Ordering::Relaxed);
                        other.unpark();
                    });
                    received += port.drain(|_, item| {
                        assert_eq!(item, expected);
                        expected += 1;
                    }) as u64;
                    let nothing_to_send = sent == ROUNDS || sent == received + 3;
                    if !nothing_to_send || received == ROUNDS {
                        continue;
                    }
                    attempts.fetch_add(1, Ordering::Relaxed);
                    if port.prepare_sleep() {
                        sleeps.fetch_add(1, Ordering::Relaxed);
                        let slept = Instant::now();
                        while !port.has_mail() {
                            thread::park_timeout(Duration::from_secs(5));
                            assert!(slept.elapsed() < Duration::from_secs(5), "a wake-up was lost");
                            // A wake may be for mail that was taken before it came. Whoever sent it took the flag down, so a shard that
                            // sleeps on puts it up again, as every blocked turn does.
                            port.awake();
                            attempts.fetch_add(1, Ordering::Relaxed);
                            if !port.prepare_sleep() {
                                break;
                            }
                        }
                        port.awake();
                    }
                }
            };
            let other = scope.spawn(move || run(&mut second, 0, &main));
            let other_thread = other.thread().clone();
            run(&mut first, 1, &other_thread);
            other.join().unwrap();
        });
        let (wakes, attempts, sleeps) = (wakes.into_inner(), attempts.into_inner(), sleeps.into_inner());
        assert!(
            sleeps > 100,
            "the test must sleep to test anything: {sleeps} in {:?}",
            begun.elapsed()
        );
        // One that finds mail at the last moment may already have been seen to sleep; hence attempts.
        assert!(wakes <= attempts, "{wakes} wakes for {attempts} attempts to sleep");
    }
}
