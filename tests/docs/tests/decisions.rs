//! Decisions that state something which can be tried out.

use twox_hash::{XxHash3_64, XxHash3_128};
use waterpark_docs_tests::{page, read};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

/// 0007: one specification, two libraries.
#[test]
fn both_checksum_libraries_give_the_same_sums() {
    let bytes: Vec<u8> = (0..70_000u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    let lengths = (0..2_100).chain([4_000, 32 << 10, 64_000, 70_000]);
    for length in lengths {
        let bytes = &bytes[..length];
        assert_eq!(XxHash3_128::oneshot(bytes), xxh3_128(bytes), "{length} bytes, 128 bits");
        assert_eq!(XxHash3_64::oneshot(bytes), xxh3_64(bytes), "{length} bytes, 64 bits");
        let seed = length as u64 * 0x9E37_79B9;
        assert_eq!(
            XxHash3_64::oneshot_with_seed(seed, bytes),
            xxh3_64_with_seed(bytes, seed),
            "{length} bytes, a seed"
        );
    }
}

/// 0007: the sums of `wire` are in one file.
#[test]
fn the_checksum_library_is_called_in_one_file() {
    for path in waterpark_docs_tests::files("rs") {
        let calls = read(&path).contains("twox_hash::");
        let may = path == "wire/src/checksum.rs" || path.starts_with("tests/docs/");
        assert!(may || !calls, "{path} calls the checksum library");
    }
}

/// 0004, 0008 and 0009 name constants of the code.
#[test]
fn the_numbers_in_decisions_are_those_of_the_code() {
    for (decision, said, source, stands) in [
        (
            "docs/decisions/0004-acks-per-link.md",
            "at most 64 un-acked frames",
            "dataplane/core/src/config.rs",
            "link_frames_max: 64",
        ),
        (
            "docs/decisions/0008-followers-apply-in-portions.md",
            "64 entries",
            "dataplane/core/src/follower.rs",
            "APPLY_ENTRIES: u64 = 64",
        ),
        (
            "docs/decisions/0008-followers-apply-in-portions.md",
            "every 10 ms",
            "dataplane/core/src/tick.rs",
            "TICK_BUSY_MS: u64 = 10",
        ),
        (
            "docs/decisions/0009-history-is-dropped-in-sweeps.md",
            "by 64 KiB at least",
            "dataplane/core/src/config.rs",
            "sweep_bytes_min: 64 << 10",
        ),
        (
            "docs/decisions/0009-history-is-dropped-in-sweeps.md",
            "swept each minute",
            "dataplane/core/src/config.rs",
            "sweep_ms: 60_000",
        ),
        (
            "docs/decisions/0009-history-is-dropped-in-sweeps.md",
            "at most 1 MiB of one log",
            "dataplane/core/src/config.rs",
            "sweep_portion_bytes: 1 << 20",
        ),
        (
            "docs/decisions/0009-history-is-dropped-in-sweeps.md",
            "4 MiB of a shard's",
            "dataplane/core/src/retention.rs",
            "PORTIONS_PER_TICK: u64 = 4",
        ),
        (
            "docs/decisions/0012-consensus.md",
            "at least 20 ms and at most 2 s",
            "dataplane/core/src/topology_log/consensus/paxos/rounds.rs",
            "ROUND_MS_MIN: u64 = 20",
        ),
        (
            "docs/decisions/0012-consensus.md",
            "at least 20 ms and at most 2 s",
            "dataplane/core/src/topology_log/consensus/paxos/rounds.rs",
            "ROUND_MS_MAX: u64 = 2_000",
        ),
        (
            "docs/decisions/0012-consensus.md",
            "for six rounds",
            "dataplane/core/src/topology_log/consensus/paxos/rounds.rs",
            "STRANDED_ROUNDS: u32 = 6",
        ),
        (
            "docs/decisions/0005-tcp-options.md",
            "5 s / 1 s / 3",
            "dataplane/reactor/src/socket.rs",
            "keepalive_idle: Duration::from_secs(5)",
        ),
        (
            "docs/decisions/0005-tcp-options.md",
            "| `TCP_USER_TIMEOUT` | 8 s | 30 s |",
            "dataplane/reactor/src/socket.rs",
            "user_timeout: Duration::from_secs(8)",
        ),
    ] {
        assert!(
            page::in_one_line(&read(decision)).contains(said),
            "{decision} does not say {said:?}"
        );
        assert!(
            read(source).contains(stands),
            "{source} does not say {stands:?}, which {decision} tells as {said:?}"
        );
    }
}

/// Every file and folder that a decision puts into backticks exists.
#[test]
fn decisions_name_files_that_exist() {
    let top = ["bench/", "dataplane/", "docs/", "ring/", "tests/", "tools/", "wire/"];
    let mut named = 0;
    for name in waterpark_docs_tests::files("md")
        .into_iter()
        .filter(|name| name.starts_with("docs/"))
    {
        for code in page::code(&read(&name)) {
            let is_path = top.iter().any(|folder| code.starts_with(folder)) && !code.contains(' ');
            // Paths within the reactor are listed without its own.
            let is_reactors = name.ends_with("0006-unsafe.md") && code.starts_with("tests/");
            if is_path && !is_reactors && !code.contains(['{', '*', '<']) {
                assert!(
                    waterpark_docs_tests::exists(&code),
                    "{name} names {code}, and there is none"
                );
                named += 1;
            }
        }
    }
    assert!(named >= 20, "only {named} paths are named");
}
