//! No text, bytes or variable ends in a panic, and whatever is accepted makes a topology.

#![expect(clippy::unwrap_used, reason = "what a test needs and cannot have fails the test")]

use proptest::prelude::*;
use waterpark_control::{Bytes, ConfigError, ENTROPY_BYTES, InitOptions, Loaded, Nodes, parse, parse_bytes, plan};

const ENTROPY: [u8; ENTROPY_BYTES] = [7; ENTROPY_BYTES];

fn default_text() -> String {
    plan(&InitOptions::default(), &ENTROPY)
        .unwrap()
        .config_text()
        .to_owned()
}

/// A good file with a few of its bytes replaced, dropped or repeated: most of what is made is nearly right.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "\"",
        "=",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "\\",
        "0",
        "-1",
        "99999999999999999999",
        "true",
        "é",
        "\u{0}",
        "[[node]]\n",
        "\"\"\"",
    ];
    let piece = prop::sample::select(pieces.to_vec());
    let edit = (any::<prop::sample::Index>(), 0_usize..40, piece);
    prop::collection::vec(edit, 1..6).prop_map(|edits| {
        let mut bytes = default_text().into_bytes();
        for (at, dropped, piece) in edits {
            let at = at.index(bytes.len());
            let end = (at + dropped).min(bytes.len());
            bytes.splice(at..end, piece.bytes());
        }
        bytes
    })
}

/// Lines of good files in any order, each with a value that may be anything.
fn lines() -> impl Strategy<Value = String> {
    let lines = [
        "format = 1",
        "voters = [V]",
        "data = V",
        "[cluster]",
        "id = V",
        "key_file = V",
        "groups = V",
        "classes = V",
        "members = V",
        "[facilities]",
        "H = V",
        "[classes.0]",
        "[classes.V]",
        "dc = V",
        "[kinds.record]",
        "history = V",
        "[links]",
        "delay = { FL-TN = V }",
        "compression = V",
        "[mllp]",
        "listen = V",
        "from = V",
        "timeout = V",
        "message_max = V",
        "authorities = [V]",
        "[defaults]",
        "workers = V",
        "memory = V",
        "[[node]]",
        "name = V",
        "host = V",
        "port = V",
        "shards = V",
        "node = V",
    ];
    let values = [
        "1",
        "0",
        "-1",
        "4",
        "64",
        "128",
        "65280",
        "7000",
        "1.5",
        "true",
        "[]",
        "{}",
        "1979-05-27",
        "\"\"",
        "\"FL\"",
        "\"FL-A-1\"",
        "\"127.0.0.1\"",
        "\"10.0.0.1\"",
        "\"1GiB\"",
        "\"18ms\"",
        "\"all\"",
        "\"last 5\"",
        "\"auto\"",
        "\"2-5\"",
        "\"lz4\"",
        "\"00112233445566778899aabbccddeeff\"",
        "0xffffffffffffffffff",
    ];
    let line = (
        prop::sample::select(lines.to_vec()),
        prop::sample::select(values.to_vec()),
    );
    prop::collection::vec(line, 0..24).prop_map(|lines| {
        lines
            .iter()
            .map(|(line, value)| line.replace('V', value) + "\n")
            .collect()
    })
}

/// Reading says something or gives a configuration that holds together.
fn hold(read: Result<Loaded, ConfigError>) -> Result<(), TestCaseError> {
    match read {
        Ok(loaded) => {
            let topology = loaded.config.topology();
            prop_assert_eq!(topology.nodes().len(), loaded.config.nodes.len());
            for node in &loaded.config.nodes {
                prop_assert!(node.ports().http() > node.port);
            }
        }
        Err(error) => prop_assert!(!error.to_string().is_empty() && !error.problems().is_empty()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        hold(parse_bytes("cluster.toml", &bytes, []))?;
    }

    #[test]
    fn no_text_panics(text in "(?s).{0,120}") {
        hold(parse("cluster.toml", &text, []))?;
    }

    #[test]
    fn no_damaged_file_panics(bytes in damaged()) {
        hold(parse_bytes("cluster.toml", &bytes, []))?;
    }

    #[test]
    fn no_lines_panic(text in lines()) {
        hold(parse("cluster.toml", &text, []))?;
    }

    #[test]
    fn what_is_planned_reads_back_and_makes_a_topology(
        (dcs, zones, per_zone) in (1_usize..5, 1_u16..4, 1_u16..5),
        (workers, mebibytes, classes) in (1_u16..=64, 16_u64..100_000, 0_u32..4),
        with_key in any::<bool>(),
    ) {
        let dcs = ["FL", "TN", "TX", "UT"][..dcs].iter().map(|dc| (*dc).to_owned()).collect();
        let options = InitOptions {
            nodes: Nodes::Grid { dcs, zones, per_zone },
            classes: 1 << classes,
            workers,
            memory: Bytes::new(mebibytes << 20),
            with_key,
            ..InitOptions::default()
        };
        let plan = plan(&options, &ENTROPY).unwrap();
        let read = parse("cluster.toml", plan.config_text(), []).unwrap();
        prop_assert_eq!(&read.config, plan.config());
        prop_assert!(read.config.nodes.iter().all(|node| node.shards == workers && node.memory == options.memory));
        hold(Ok(read))?;
    }

    #[test]
    fn no_variable_panics(key in "(CLUSTER|DEFAULTS|LINKS|NODE_FL_A_1|NODE|X)_(KEY_FILE|MEMORY|WORKERS|COMPRESSION|HOST|PORT|SHARDS|ID|.{0,3})", value in "\\PC{0,12}") {
        let variable = (format!("WATERPARK_{key}"), value);
        hold(parse("cluster.toml", &default_text(), [variable]))?;
    }
}
