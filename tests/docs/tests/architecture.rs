//! `docs/architecture.md` against the code: its limits, and that what it calls missing is missing. Whoever builds one of those finds this test
//! red, and the page behind the times.

use waterpark_docs_tests::{exists, files, page, read, source};

/// The code of all sources below a folder, without comments and tests.
fn code_below(folder: &str) -> String {
    let paths: Vec<String> = files("rs")
        .into_iter()
        .filter(|path| path.starts_with(folder))
        .collect();
    assert!(!paths.is_empty(), "no sources below {folder}");
    paths.iter().map(|path| source::code(&read(path))).collect()
}

#[test]
fn the_page_is_three_screens() {
    let lines = read("docs/architecture.md").lines().count();
    assert!((100..=170).contains(&lines), "{lines} lines");
}

#[test]
fn every_folder_of_the_table_exists_and_every_crate_is_in_it() {
    let text = read("docs/architecture.md");
    let table = page::section(&text, "## Where each thing lives");
    let named: Vec<String> = page::code(table)
        .iter()
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect();
    for path in files("toml").iter().filter(|path| path.ends_with("/Cargo.toml")) {
        let folder = path.trim_end_matches("/Cargo.toml");
        assert!(
            named.iter().any(|name| name == folder),
            "{folder} is missing from the table"
        );
    }
    for name in named.iter().filter(|name| name.contains('/')) {
        assert!(exists(name), "there is no {name}");
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    let text = read("docs/architecture.md");
    let limits = page::section(&text, "## Limits");
    let core = "dataplane/core/src/config.rs";
    for (said, path, stands) in [
        ("| message | 1 MiB; above 64 KiB", core, "message_bytes_max: 1 << 20"),
        (
            "above 64 KiB it travels in parts",
            "wire/src/link.rs",
            "PART_BYTES: usize = 64 << 10",
        ),
        (
            "| frame | 1 MiB;",
            "wire/src/frame.rs",
            "FRAME_BYTES_MAX: usize = 1 << 20",
        ),
        ("no more runs from 128 KiB on", core, "link_frame_bytes: 128 << 10"),
        (
            "| key | 512 bytes, 8 fields |",
            "ring/src/key.rs",
            "KEY_BYTES_MAX: usize = 512",
        ),
        (
            "| key | 512 bytes, 8 fields |",
            "ring/src/key.rs",
            "KEY_FIELDS_MAX: usize = 8",
        ),
        ("| un-acked frames of a link | 64 |", core, "link_frames_max: 64"),
        (
            "commit | 16,384, or half of what may in its shard |",
            core,
            "waiting_per_group_max: 16_384",
        ),
        (
            "longest way to a peer; 32,768 at most (`waiting` in `[defaults]` may say fewer;",
            core,
            "waiting_per_shard_max: 32_768",
        ),
        (
            "longest way to a peer; 32,768 at most (`waiting` in `[defaults]` may say fewer;",
            "dataplane/control/src/config.rs",
            "WAITING_MAX: u32 = 32_768",
        ),
        (
            "shard that do | 4,096, or as many",
            "dataplane/core/src/admission.rs",
            "BURST: usize = 4_096",
        ),
        (
            "commits in 20 ms and twice",
            "dataplane/core/src/admission.rs",
            "QUEUE_NS: u64 = 20 * MS",
        ),
        ("keeps | 65,536 |", core, "pending_max: 65_536"),
        ("| 4,096; 256 numbers each |", core, "lanes_per_group_max: 4_096"),
        (
            "| 4,096; 256 numbers each |",
            "dataplane/core/src/lane.rs",
            "LANE_WINDOW: u32 = 256",
        ),
        ("does not read | 4 MiB |", core, "client_backlog_bytes_max: 4 << 20"),
        (
            "| 16,384; 1,024; one more is told `Busy`",
            "dataplane/reactor/src/event_loop/connection.rs",
            "clients_max: 16_384",
        ),
        (
            "| 16,384; 1,024; one more is told `Busy`",
            "dataplane/reactor/src/event_loop/connection.rs",
            "handshakes_max: 1_024",
        ),
        (
            "| 512; 64; 1,048,576 |",
            "ring/src/topology.rs",
            "NODES_MAX: usize = 512",
        ),
        ("| 512; 64; 1,048,576 |", "ring/src/topology.rs", "SHARDS_MAX: u16 = 64"),
        (
            "| 512; 64; 1,048,576 |",
            "ring/src/keyspace.rs",
            "GROUPS_MAX: u32 = 1 << 20",
        ),
        ("from 95 % on", core, "full_percent: 95"),
    ] {
        assert!(limits.contains(said), "the page does not say {said:?}");
        assert!(
            read(path).contains(stands),
            "{path} does not say {stands:?}, which the page tells as {said:?}"
        );
    }
}

#[test]
fn what_the_page_calls_missing_is_missing() {
    let text = read("docs/architecture.md");
    let missing = page::section(&text, "## What is not there yet");
    let said = |what: &str| {
        assert!(
            missing.contains(&format!("* **{what}")),
            "the page does not speak of {what:?}"
        );
    };
    let core = code_below("dataplane/core/src/");
    let voter_file = source::code(&read("dataplane/waterpark/src/voter_file.rs"));
    let nodes = code_below("dataplane/").replace(&voter_file, "");

    let node = source::code(&read("dataplane/waterpark/src/node.rs"));
    assert!(
        source::functions(&core, "on_reopen").is_empty(),
        "lost groups are opened again"
    );
    said("Disks.");
    assert!(
        !nodes.contains("sync_data(") && !nodes.contains("fdatasync"),
        "something else than a vote is written to a disk"
    );
    assert!(
        voter_file.contains("sync_data(") && node.contains("voter_path("),
        "no node opens its voter file, though the page says that it does"
    );
    said("Compression of old history.");
    let log = code_below("dataplane/core/src/log");
    assert!(
        log.contains("impl Log") && !source::calls(&log, "fold"),
        "what lies in a log is compressed"
    );
    said("Sends gathered from the log.");
    assert_eq!(
        core.matches("Gather {").count(),
        1,
        "core makes gathers: one mention is their definition"
    );
    said("Handlers");
    assert!(!nodes.contains("wasm"), "handlers can be loaded");
}
