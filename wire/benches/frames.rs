//! What a message costs in bytes alone: write its item, check a frame's header, reach a body. Targets stand in the
//! names.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use waterpark_wire::frame::{FRAME_BYTES_MAX, FrameAddress, FrameBuilder, FrameHeader};
use waterpark_wire::request::{self, Operation, RequestHeader, RequestView};
use waterpark_wire::run::{EVENT_IS_MESSAGE, EntryHeader, EntryParts, EntryView};
use waterpark_wire::{FrameView, Item, padded};
use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32, U64};

const KEY: &[u8] = b"\x07patient\x01\x02id\x04\x001001";
const MESSAGE: [u8; 128] = [0x5A; 128];
/// Requests in the frame that is checked whole.
const REQUESTS: usize = 64;

fn request_header() -> RequestHeader {
    RequestHeader {
        session: [3; 16],
        correlation: U64::new(11),
        number: U32::new(7),
        mark: U32::new(5),
        timeout_ms: U32::new(1000),
        operation: Operation::Send as u8,
        ..RequestHeader::default()
    }
}

fn frame() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut builder = FrameBuilder::begin(&mut bytes);
    for _ in 0..REQUESTS {
        request::push(&mut bytes, &request_header(), KEY, &MESSAGE);
        builder.pushed();
    }
    let address = FrameAddress::of_client((1, 100));
    builder.finish(&mut bytes, &address);
    bytes
}

fn encode(criterion: &mut Criterion) {
    // Frames are built in buffers that are used again, so none of them grows while a message is written.
    let mut bytes = Vec::with_capacity(1 << 10);
    let header = request_header();
    criterion.bench_function("encode a request of 128 bytes (target: at most 30 ns)", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            request::push(&mut bytes, black_box(&header), black_box(KEY), black_box(&MESSAGE));
            black_box(&bytes);
        });
    });

    let entry = EntryParts {
        header: EntryHeader {
            actor: U32::new(1),
            number: U32::new(7),
            flags: U16::new(EVENT_IS_MESSAGE),
            ..EntryHeader::default()
        },
        message: &MESSAGE,
        ..EntryParts::default()
    };
    let mut log = vec![0; entry.length()];
    criterion.bench_function("encode a log entry of 128 bytes (target: at most 30 ns)", |bencher| {
        bencher.iter(|| {
            black_box(&entry).write(black_box(&mut log));
        });
    });
}

fn check(criterion: &mut Criterion) {
    let frame = frame();
    criterion.bench_function("validate a frame header (target: at most 6 ns)", |bencher| {
        bencher.iter(|| {
            let (header, _) = FrameHeader::ref_from_prefix(black_box(&frame)).expect("a whole header");
            header.check(black_box(FRAME_BYTES_MAX))
        });
    });

    let mut group = criterion.benchmark_group("check a whole frame");
    group.throughput(Throughput::Elements(REQUESTS as u64));
    group.bench_function("64 requests of 128 bytes, sum and items", |bencher| {
        bencher.iter(|| FrameView::new_checked(black_box(&frame), FRAME_BYTES_MAX).map(|view| view.header.items));
    });
    group.finish();
}

fn access(criterion: &mut Criterion) {
    let frame = frame();
    let view = FrameView::new_checked(&frame, FRAME_BYTES_MAX).expect("a good frame");
    let item = view.items().next().expect("the frame has items");
    criterion.bench_function("access the body of a checked item (target: at most 2 ns)", |bencher| {
        bencher.iter(|| {
            let item: &Item<'_> = black_box(&item);
            let (header, rest) = item.fixed::<RequestHeader>().expect("checked with its frame");
            let message = rest.get(padded(usize::from(header.item.count.get()))..);
            message.map(|message| message[0])
        });
    });
    criterion.bench_function("check a request and reach its message", |bencher| {
        bencher.iter(|| RequestView::new_checked(black_box(&item)).map(|request| request.message.len()));
    });

    let entry = EntryParts {
        message: &MESSAGE,
        ..EntryParts::default()
    };
    let mut log = vec![0; entry.length()];
    entry.write(&mut log);
    criterion.bench_function("check a log entry and reach its message", |bencher| {
        bencher.iter(|| EntryView::new_checked(black_box(&log)).map(|(entry, _)| entry.message.len()));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = encode, check, access
}
criterion_main!(benches);
