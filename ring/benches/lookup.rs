//! What finding an actor costs: check of the key, hash and group, then all members of the group (target: at most 5 ns).

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use waterpark_ring::{ClusterId, GroupId, Key, KeyRef, NodeId, NodeSpec, Placement, Topology, TopologySpec};

/// 32 nodes of 16 shards in four data centres: 16,384 groups.
fn topology(facilities: u32) -> Topology {
    let names = ["FL", "TN", "TX", "UT"].into_iter().flat_map(|dc| {
        ["A", "B"]
            .into_iter()
            .flat_map(move |zone| (1..=4).map(move |number| format!("{dc}-{zone}-{number}")))
    });
    let node = |(id, name): (u16, String)| NodeSpec {
        id: NodeId(id),
        name,
        host: "127.0.0.1".to_owned(),
        port: 7000 + 256 * id,
        shards: 16,
    };
    let mut spec = TopologySpec::new(ClusterId([7; 16]), (1..).zip(names).map(node).collect());
    spec.facilities = (0..facilities)
        .map(|facility| (format!("HOSP{facility}"), facility % 4))
        .collect();
    Topology::new(spec).expect("well-formed")
}

fn lookup(criterion: &mut Criterion) {
    let topology = topology(0);
    let placement = topology.birth();

    let mut group = 0_u32;
    criterion.bench_function("members of a group, at random among 16,384", |bencher| {
        bencher.iter(|| {
            // An odd step visits all groups, far enough apart that none is in the cache line of the one before.
            group = (group + 7919) & 16_383;
            let mut sum = 0;
            for node in placement.members(black_box(GroupId(group))).nodes() {
                sum += node.0;
            }
            sum
        });
    });

    let short = Key::parse("patient/10012345678").expect("well-formed");
    let long = Key::parse("patient/10012345,facility=HOSP7").expect("well-formed");
    assert_eq!(short.bytes().len(), 25);
    criterion.bench_function("check of a key of one field, 25 bytes", |bencher| {
        bencher.iter(|| KeyRef::new_checked(black_box(short.bytes())).is_ok());
    });
    criterion.bench_function("check of a key of two fields, 38 bytes", |bencher| {
        bencher.iter(|| KeyRef::new_checked(black_box(long.bytes())).is_ok());
    });
    criterion.bench_function("key to group", |bencher| {
        bencher.iter(|| topology.locate(black_box(short.as_ref())));
    });
    let bound = self::topology(1000);
    criterion.bench_function("key to group, facility among 1,000 bound ones", |bencher| {
        bencher.iter(|| bound.locate(black_box(long.as_ref())));
    });
}

fn placing(criterion: &mut Criterion) {
    let whole = topology(0);
    let mut less = whole.spec().clone();
    less.nodes.remove(0);
    let less = Topology::new(less).expect("well-formed");
    criterion.bench_function("birth of 16,384 groups on 32 nodes", |bencher| {
        bencher.iter(|| Placement::place(None, black_box(&whole)));
    });
    criterion.bench_function("placement of 16,384 groups after a node left", |bencher| {
        bencher.iter(|| Placement::place(Some(whole.birth()), black_box(&less)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = lookup, placing
}
criterion_main!(benches);
