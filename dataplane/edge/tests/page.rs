//! `docs/mllp.md` against the code: its numbers, and the files that it points to.

use std::path::PathBuf;

use waterpark_edge::ack::TEXT_MAX;
use waterpark_edge::key::KIND;
use waterpark_edge::mllp::{HEAD_BYTES, Limits};
use waterpark_edge::resend::RECENT;
use waterpark_edge::sender::Options;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/mllp.md")).expect("the page is there")
}

#[test]
fn the_numbers_of_the_page_are_those_of_the_code() {
    let page = page();
    let (limits, options) = (Limits::default(), Options::default());
    for (said, is_so) in [
        (
            "more than 64 KiB in a row end the connection",
            limits.junk_bytes_max == 64 << 10,
        ),
        ("a body above the limit (1 MiB)", limits.message_bytes_max == 1 << 20),
        ("above 64 MiB the connection ends", limits.skipped_bytes_max == 64 << 20),
        ("its first 1,024 bytes are kept", HEAD_BYTES == 1024),
        ("the last 4,096 messages", RECENT == 4096),
        ("at most 80 characters", TEXT_MAX == 80),
        ("After 10 attempts", options.attempts_max == 10),
        (
            "One message is in flight per link unless more are allowed",
            options.pipeline_max == 1,
        ),
        ("`patient/ID,facility=FACILITY`", KIND == "patient"),
    ] {
        assert!(page.contains(said), "the page does not say {said:?}");
        assert!(is_so, "the page says {said:?}, and it is not so");
    }
}

#[test]
fn every_counter_has_its_line_and_every_bound_its_number() {
    let page = page();
    let section = page.split("## Counters").nth(1).expect("the page has counters");
    let listed: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `mllp_")?.split('`').next())
        .collect();
    let counts = waterpark_edge::inbound::Counts::default();
    let counted: Vec<&str> = counts
        .named()
        .filter_map(|(name, _)| name.strip_prefix("mllp_"))
        .collect();
    assert_eq!(listed, counted);
    let options = waterpark_edge::inbound::Options::default();
    for (said, is_so) in [
        ("up to 32 messages", options.window == 32),
        ("until 10 s are over", options.timeout_ms == 10_000),
        (
            "| 512 messages or 2 MiB of one",
            options.frames_max == 1024 && options.bytes_max == 4 << 20,
        ),
    ] {
        assert!(page.contains(said), "the page does not say {said:?}");
        assert!(is_so, "the page says {said:?}, and it is not so");
    }
}

#[test]
fn every_test_that_the_page_points_to_is_there() {
    let page = page();
    let named: Vec<&str> = page.split('`').filter(|text| text.ends_with(".rs")).collect();
    assert!(named.len() >= 9, "only {named:?}");
    for name in named {
        assert!(root().join(name).is_file(), "there is no {name}");
    }
}
