//! The generator alone: what a message of an HL7 feed costs to write, label included, into one buffer. Target: 1 µs per message of 4 KB.
//!
//! CPU time of this thread, the feed warm: every visit has begun, so no buffer grows while the clock runs.

use std::time::Duration;

use waterpark_bench::hl7::{Feed, Label, Shape};

const MESSAGES: u64 = 1_000_000;

/// CPU time of this thread: what other processes do on the machine is not the generator's cost.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).expect("CPU time is not negative");
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

fn report(name: &str, messages: u64, bytes: u64, spent: Duration) {
    let ns = spent.as_nanos() / u128::from(messages);
    println!(
        "{name:<34} {messages:>9} {:>8} {ns:>10} {:>12} {:>8}",
        bytes / messages,
        u128::from(messages) * 1_000_000_000 / spent.as_nanos().max(1),
        u128::from(bytes) * 1_000 / spent.as_nanos().max(1),
    );
}

fn main() {
    println!(
        "{:<34} {:>9} {:>8} {:>10} {:>12} {:>8}",
        "feed", "messages", "B", "ns/message", "messages/s", "MB/s"
    );
    let usual = Shape::default();
    let plain = Shape {
        attachments_ppm: 0,
        ..usual.clone()
    };
    let many = Shape {
        patients: 100_000,
        ..usual.clone()
    };
    for (name, shape) in [
        ("1,000 patients", usual),
        ("1,000 patients, no attachments", plain),
        ("100,000 patients", many),
    ] {
        let mut feed = Feed::new(1, shape.clone()).expect("a shape of this bench is one");
        let mut message = Vec::with_capacity(1 << 20);
        for _ in 0..u64::from(shape.patients) * 50 {
            feed.next(&mut message);
        }
        let (begin, mut bytes) = (cpu_time(), 0);
        for _ in 0..MESSAGES {
            feed.next(&mut message);
            bytes += message.len() as u64;
        }
        report(name, MESSAGES, bytes, cpu_time() - begin);
    }

    let mut feed = Feed::new(1, Shape::default()).expect("a shape of this bench is one");
    let mut messages = vec![Vec::new(); 4_096];
    for message in &mut messages {
        feed.next(message);
    }
    let (begin, mut bytes) = (cpu_time(), 0);
    for round in 0..100_000 {
        let message = &messages[round % messages.len()];
        let label = Label::checked(message).expect("as it was written");
        bytes += message.len() as u64;
        assert_eq!(label.seed, 1);
    }
    report("checking a label", 100_000, bytes, cpu_time() - begin);
}
