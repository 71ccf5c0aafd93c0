//! What comes from outside the wire: keys, topologies and the operator's file.

use waterpark_control::{ENTROPY_BYTES, InitOptions, parse_bytes, plan};
use waterpark_fuzz_tests::cases;
use waterpark_fuzz_tests::mutate::damage;
use waterpark_fuzz_tests::reached::Reached;
use waterpark_fuzz_tests::rng::Rng;
use waterpark_ring::{ClusterId, Key, KeyError, KeyRef, NodeId, NodeSpec, Topology, TopologyBytesError, TopologySpec};

const KEY_BYTES: &[&str] = &[
    "Truncated",
    "TrailingBytes",
    "TooLong",
    "TooManyFields",
    "BadKind",
    "BadName",
    "Unsorted",
    "RepeatedName",
];
const KEY_TEXT: &[&str] = &[
    "TooLong",
    "TooManyFields",
    "BadKind",
    "BadName",
    "RepeatedName",
    "BadEscape",
    "UnnamedValue",
    "EmptyField",
];
const TOPOLOGY_BYTES: &[&str] = &[
    "Format",
    "Truncated",
    "TrailingBytes",
    "Text",
    "Topology",
    "NotCanonical",
];

/// The error's name without its details, so that a set of them stays small.
fn name(error: KeyError) -> &'static str {
    match error {
        KeyError::Truncated { .. } => "Truncated",
        KeyError::TrailingBytes { .. } => "TrailingBytes",
        KeyError::TooLong { .. } => "TooLong",
        KeyError::TooManyFields { .. } => "TooManyFields",
        KeyError::BadKind => "BadKind",
        KeyError::BadName { .. } => "BadName",
        KeyError::Unsorted { .. } => "Unsorted",
        KeyError::RepeatedName { .. } => "RepeatedName",
        KeyError::BadEscape { .. } => "BadEscape",
        KeyError::UnnamedValue { .. } => "UnnamedValue",
        KeyError::EmptyField { .. } => "EmptyField",
    }
}

fn keys() -> Vec<Vec<u8>> {
    let long = vec![b'x'; 470];
    let key = |fields: &[(&str, &[u8])]| Key::new("patient", fields).expect("a good key").bytes().to_vec();
    vec![
        key(&[]),
        key(&[("id", b"1001")]),
        key(&[("id", b"1001"), ("facility", b"HOSPX")]),
        key(&[
            ("a", b""),
            ("b", b""),
            ("c", b""),
            ("d", b""),
            ("e", b""),
            ("f", b""),
            ("g", b""),
            ("h", b""),
        ]),
        key(&[("id", &long)]),
    ]
}

#[test]
fn keys_are_read_or_refused_and_what_is_read_is_written_alike() {
    let samples = keys();
    let (cases, mut rng, mut reached) = (cases(1), Rng::new(20), Reached::default());
    let mut bytes = Vec::new();
    for _ in 0..cases {
        bytes.clear();
        bytes.extend_from_slice(rng.sample(&samples));
        let other = rng.sample(&samples);
        damage(&mut rng, &mut bytes, other);
        if let Some(key) = reached.note(KeyRef::new_checked(&bytes).map_err(name)) {
            assert_eq!(key.kind(), key.kind_str().as_bytes());
            assert_eq!(key.to_key().bytes(), bytes);
            let fields: Vec<_> = key.fields().collect();
            assert!(fields.is_sorted());
        }
    }
    reached.assert_exactly(KEY_BYTES, cases);
}

#[test]
fn keys_in_text_are_read_or_refused_and_come_back_from_their_bytes() {
    let mut samples: Vec<Vec<u8>> = [
        "patient",
        "patient/1001",
        "patient/1001,facility=HOSPX",
        "room/%2f%00,a=1,b=2,c=3,d=4,e=5,f=6",
        "room/a=,b=,c=,d=,e=,f=,g=,h=,i=",
        "room/id=",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    samples.push(format!("room/{}", "x".repeat(495)).into_bytes());
    let (cases, mut rng, mut reached) = (cases(1), Rng::new(21), Reached::default());
    let mut bytes = Vec::new();
    for _ in 0..cases {
        bytes.clear();
        bytes.extend_from_slice(rng.sample(&samples));
        let other = rng.sample(&samples);
        damage(&mut rng, &mut bytes, other);
        let text = String::from_utf8_lossy(&bytes);
        if let Some(key) = reached.note(Key::parse(&text).map_err(name)) {
            assert_eq!(Key::from_bytes(key.bytes()).as_ref(), Ok(&key));
            assert_eq!(Key::parse(&key.to_string()), Ok(key));
        }
    }
    reached.assert_exactly(KEY_TEXT, cases);
}

fn topology() -> Topology {
    let names = ["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"];
    let node = |(id, name): (u16, &str)| NodeSpec {
        id: NodeId(id),
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 7000 + 256 * id,
        shards: 1,
    };
    let nodes = (1..).zip(names).map(node).collect();
    let mut spec = TopologySpec::new(ClusterId([1; 16]), nodes);
    spec.groups = 64;
    spec.classes = 4;
    spec.facilities = [("HOSPX".to_owned(), 1)].into();
    Topology::new(spec).expect("a good topology")
}

// Whatever is accepted is placed, which takes some tens of microseconds: half of the cases.
#[test]
fn a_peers_topology_is_read_or_refused() {
    let good = topology().canonical().to_vec();
    let (cases, mut rng, mut reached) = (cases(2), Rng::new(22), Reached::default());
    let mut bytes = Vec::new();
    for _ in 0..cases {
        bytes.clear();
        bytes.extend_from_slice(&good);
        damage(&mut rng, &mut bytes, &good);
        let read = Topology::from_canonical(&bytes).map_err(|error| match error {
            TopologyBytesError::Format { .. } => "Format",
            TopologyBytesError::Truncated => "Truncated",
            TopologyBytesError::TrailingBytes { .. } => "TrailingBytes",
            TopologyBytesError::Text => "Text",
            TopologyBytesError::Topology(_) => "Topology",
            TopologyBytesError::NotCanonical => "NotCanonical",
        });
        if let Some(read) = reached.note(read) {
            assert_eq!(read.canonical(), bytes);
        }
    }
    reached.assert_exactly(TOPOLOGY_BYTES, cases);
}

// A file is read, checked and its problems are rendered, each with its place in the text: a quarter of the cases.
#[test]
fn an_operators_file_is_taken_or_its_problems_are_named() {
    let good = plan(&InitOptions::default(), &[7; ENTROPY_BYTES])
        .expect("the defaults are good")
        .config_text()
        .to_owned();
    let pieces: Vec<Vec<u8>> = [
        "\"",
        "=",
        "[",
        "]",
        "[[node]]\n",
        "\n",
        "\\",
        "-1",
        "0",
        "99999999999999999999",
        "true",
        "\u{0}",
        "é",
        "'''",
        "250ms",
        "[kinds.record]\nhistory = \"last 3\"\n",
        "{ a = 1 }",
        "#",
        "port = 7000\n",
        "id = 1\n",
    ]
    .map(|piece| piece.as_bytes().to_vec())
    .into();
    let (cases, mut rng, mut reached) = (cases(4), Rng::new(23), Reached::default());
    let mut bytes = Vec::new();
    for _ in 0..cases {
        bytes.clear();
        bytes.extend_from_slice(good.as_bytes());
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() + 1);
            let end = (at + rng.below(40) * rng.below(2)).min(bytes.len());
            let piece = rng.sample(&pieces);
            bytes.splice(at..end, piece.iter().copied());
        }
        if rng.once_in(4) {
            damage(&mut rng, &mut bytes, good.as_bytes());
        }
        let read = parse_bytes("cluster.toml", &bytes, []).map_err(|error| {
            assert!(!error.problems().is_empty());
            let shown = error.to_string();
            assert!(
                shown.contains("error[WP-") && shown.contains("--> cluster.toml"),
                "{shown}"
            );
            error.problems()[0].code()
        });
        reached.note(read);
    }
    assert!(
        reached.refusals().len() >= 12 || cases < 1000,
        "only {:?}",
        reached.refusals()
    );
    assert!(reached.good() > 0 || cases < 1000);
}
