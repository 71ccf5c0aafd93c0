//! What the small parts cost: a chunk's bytes, a reserve and release, a hand-over between cores.
//!
//! Plain loops with a clock around them, best of several: `cargo bench -p waterpark-reactor --bench parts`.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use waterpark_core::memory::{ChunkId, Memory};
use waterpark_reactor::inbox::{self, Port};
use waterpark_reactor::{PoolConfig, PoolMemory};

const REPEATS: usize = 7;

fn main() {
    let mut memory = PoolMemory::new(PoolConfig {
        budget: 256 << 20,
        huge_pages: false,
        keep_free: 0,
    })
    .expect("256 MiB of address space can be reserved");
    let chunks: Vec<ChunkId> = (0..4096)
        .map(|_| memory.reserve(4096).expect("the budget allows it"))
        .collect();
    let touched: u64 = chunks.iter().map(|chunk| u64::from(memory.bytes(*chunk)[0])).sum();
    black_box(touched);
    report("bytes of a chunk, one of 4096 in random order", 1_000_000, || {
        let mut at = 1_usize;
        for _ in 0..1_000_000 {
            at = at.wrapping_mul(5).wrapping_add(1) & 4095;
            black_box(memory.bytes(chunks[at]).as_ptr());
        }
    });
    for bytes in [4096, 65_536, 1 << 20] {
        report(&format!("reserve and release {bytes} bytes"), 100_000, || {
            for _ in 0..100_000 {
                let chunk = memory.reserve(black_box(bytes)).expect("the budget allows it");
                memory.release(chunk);
            }
        });
    }
    for chunk in [1, 16, 256] {
        report(
            &format!("hand over between two threads, {chunk} per flush"),
            1_000_000,
            || hand_over(chunk, 1_000_000),
        );
    }
}

/// Prints the nanoseconds of one of `count` operations, best and worst of the repeats.
fn report(name: &str, count: u32, mut run: impl FnMut()) {
    let mut times: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{name:<52} {:>8.1} ns (median; {:.1} to {:.1})",
        times[REPEATS / 2],
        times[0],
        times[REPEATS - 1]
    );
}

/// Sends `count` items of 32 bytes to another thread, flushing after each `chunk`, until all have arrived.
fn hand_over(chunk: usize, count: usize) {
    let mut ports: Vec<Port<[u64; 4]>> = inbox::mesh(2, 1024);
    let mut receiver = ports.pop().expect("there are two ports");
    let mut sender = ports.pop().expect("there are two ports");
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut received = 0;
            while received < count {
                received += receiver.drain(|_, item| {
                    black_box(item);
                });
                std::hint::spin_loop();
            }
        });
        let mut sent = 0;
        while sent < count {
            for _ in 0..chunk {
                if sent < count && sender.send(1, [sent as u64; 4]).is_ok() {
                    sent += 1;
                }
            }
            sender.flush(|_| unreachable!("the receiver never sleeps"));
        }
    });
}
