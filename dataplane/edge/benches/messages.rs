//! What a message costs at the edge: cut from its stream, read, given its key, told from a repeat, acknowledged. Targets stand in the names.
//!
//! The message is made here, with the shape of an admission: 4 KiB, a dozen segments, long fields of many components.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use waterpark_edge::ack::{self, Answer, Code, Stamp};
use waterpark_edge::hl7::{Contents, Message, contents};
use waterpark_edge::key::{self, KeyRules};
use waterpark_edge::mllp::{self, Framer, Limits, Received};
use waterpark_edge::resend::Fingerprint;

fn admission() -> Vec<u8> {
    let mut text = String::from(
        "MSH|^~\\&|ADT|HOSPX^1.2.3^ISO|EHR|DC^4.5.6^ISO|20240131115900+0000||ADT^A01^ADT_A01|TEST00004711|P|2.5.1\r\
         EVN|A01|20240131115900+0000||01|77^TEST^CLERK\r\
         PID|1||1001^5^M11^EPI&1.2.3&ISO^MR^HOSPX~123456789^^^SSA^SS||TEST^PATIENT^A||19610615|F|||1 TEST ST^^TESTVILLE\r",
    );
    for number in 1.. {
        let line = format!(
            "OBX|{number}|TX|{number}^TEST VALUE {number}^L||value {number} with a text of some length^x^y&z|mg/dL|1-9||||F\r"
        );
        if text.len() + line.len() > 4096 {
            break;
        }
        text.push_str(&line);
        if number == 4 {
            text.push_str("PV1|1|I|WARD^1^2^HOSPX||||0210^TEST^DOCTOR|||||||||||V9001^^^HOSPX^VN|||||||||||||||||||||||||20240131\r");
        }
    }
    text.into_bytes()
}

fn messages(criterion: &mut Criterion) {
    let body = admission();
    let rules = KeyRules::default();
    let mut group = criterion.benchmark_group("an admission of 4 KiB");
    group.throughput(Throughput::Bytes(body.len() as u64));
    let mut key = Vec::with_capacity(512);
    group.bench_function("contents and key (target: at most 1.5 us)", |bencher| {
        bencher.iter(|| {
            let Ok(Contents::Message(message)) = contents(black_box(&body)) else {
                panic!("one message");
            };
            black_box(key::write_key(&message, &rules, &mut key).expect("it has a key"));
        });
    });
    // The key comes from the last segment, and every segment is passed on the way.
    let late = String::from_utf8(body.clone())
        .expect("it is ASCII")
        .replace("PID|", "ZID|")
        .replace("PV1|", "ZV1|");
    let late = format!("{late}PV1|1|I|||||||||||||||||V9001\r").into_bytes();
    group.bench_function(
        "contents and key, which stands last (target: at most 3 us)",
        |bencher| {
            bencher.iter(|| {
                let Ok(Contents::Message(message)) = contents(black_box(&late)) else {
                    panic!("one message");
                };
                black_box(key::write_key(&message, &rules, &mut key).expect("it has a key"));
            });
        },
    );
    let message = Message::parse(&body).expect("it is good");
    group.bench_function("fingerprint (target: at most 1 us)", |bencher| {
        bencher.iter(|| black_box(Fingerprint::of(black_box(&message))));
    });
    let mut out = Vec::with_capacity(1024);
    let stamp = Stamp {
        control_id: b"W000001",
        time: b"20240131120000",
    };
    group.bench_function("ack (target: at most 0.5 us)", |bencher| {
        bencher.iter(|| {
            out.clear();
            ack::write(
                &mut out,
                black_box(message.header()),
                Code::AA,
                &Answer::accept(),
                &stamp,
            );
            black_box(&out);
        });
    });
    group.finish();
}

fn streams(criterion: &mut Criterion) {
    let mut stream = Vec::new();
    for _ in 0..16 {
        mllp::write(&mut stream, &admission());
    }
    let mut group = criterion.benchmark_group("16 admissions of 4 KiB in a stream");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    for (name, piece) in [
        ("in one read (target: at most 8 us)", stream.len()),
        ("in reads of 1460 bytes", 1460),
    ] {
        group.bench_function(name, |bencher| {
            let mut framer = Framer::new(Limits::default());
            bencher.iter(|| {
                let mut bodies = 0;
                for read in black_box(&stream).chunks(piece) {
                    let on = |received: Received<'_>| bodies += usize::from(matches!(received, Received::Message(_)));
                    framer.feed(read, true, on).expect("it is good");
                }
                assert_eq!(bodies, 16);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, messages, streams);
criterion_main!(benches);
