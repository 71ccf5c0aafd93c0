//! The model of 32 servers: every number that it tells follows from what it says that was measured.

use waterpark_core::ids::{GroupId, Incarnation, Member, NodeId, View};
use waterpark_core::topology_log::codec::encode;
use waterpark_core::topology_log::{Entry, Limits, Proposal, Roll, Stamp, TopologyState, Why};
use waterpark_docs_tests::read;

const SERVERS: u32 = 32;
const CORES: u32 = 64;
const PEERS: f64 = 31.0;
/// 32 for each shard, as a power of two.
const GROUPS: u32 = 65_536;

/// The number in the second cell of the row that begins so.
fn input(page: &str, row: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(&format!("| {row} |")));
    let line = line.unwrap_or_else(|| panic!("no row of {row}"));
    let cell = line.split('|').nth(2).expect("a second cell");
    let digits: String = cell
        .chars()
        .filter(|letter| letter.is_ascii_digit() || *letter == '.')
        .collect();
    digits.parse().expect("a number")
}

/// Three digits, with commas.
fn shown(value: f64) -> String {
    let places = usize::from(value < 100.0 && value.fract() != 0.0);
    let text = format!("{value:.places$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if rest.is_empty() { out } else { format!("{out}.{rest}") }
}

fn member(node: u32) -> Member {
    Member {
        node: NodeId(u16::try_from(node + 1).expect("few")),
        incarnation: Incarnation(1 << 60 | u64::from(node)),
    }
}

fn roll(group: u32) -> Roll {
    Roll {
        members: (0..5).map(|place| member((group + place * 7) % SERVERS)).collect(),
        write_quorum: 3,
        read_quorum: 3,
    }
}

#[test]
fn every_number_of_the_model_follows_from_what_was_measured() {
    let page = read("docs/scale.md");
    let message_ns = input(&page, "CPU of a message, all five copies, in large batches");
    let frame_ns = input(&page, "CPU of a frame, sent and received");
    let link_bytes = input(&page, "bytes on links for a message of 128 bytes");
    let log_bytes = input(&page, "bytes of a message in the log of one member");
    let busy = input(&page, "part of a core that may be busy") / 100.0;
    let memory = input(&page, "memory of a server for logs") * f64::from(1 << 30);
    let idle_ms = input(&page, "idle links are used every");
    let shards = f64::from(SERVERS * CORES);

    let mut lines = Vec::new();
    for rate in [20_000.0, 72_000.0, 100_000.0, 287_000.0, 500_000.0, 600_000.0] {
        let turn_us = PEERS * frame_ns / (busy - rate * message_ns / 1e9) / 1e3;
        let in_frame = rate * turn_us / 1e6 * 4.0 / PEERS;
        let gbit = rate * f64::from(CORES) * link_bytes * 8.0 / 1e9;
        let away = gbit * f64::from(SERVERS / 4) * 0.75;
        let full_s = memory * f64::from(SERVERS) / (rate * shards * 5.0 * log_bytes);
        lines.push(format!(
            "| {} | {} million | {} µs | {} | {} Gb/s | {} Gb/s | {} s |",
            shown(rate),
            shown(rate * shards / 1e6),
            shown(turn_us),
            shown(in_frame),
            shown(gbit),
            shown(away),
            shown(full_s),
        ));
    }

    let links = PEERS * f64::from(CORES);
    let beats = links * 1_000.0 / idle_ms;
    let mut state = TopologyState::default();
    let up = |node| Entry::NodeUp {
        member: member(node),
        replaces: Incarnation(0),
    };
    let create = Entry::Create((0..GROUPS).map(roll).collect());
    for (position, entry) in (1..).zip((0..SERVERS).map(up).chain([create])) {
        state.apply(position, &entry);
    }
    let lost = GROUPS * 5 / SERVERS;
    let proposal = |group: u32| Proposal {
        group: GroupId(group),
        sees_active: View(33),
        sees_pending: View(0),
        roll: roll(group),
        why: Why::Lost,
    };
    let stamp = Stamp {
        by: NodeId(1),
        wall_ms: 0,
    };
    let repair = encode(stamp, &Entry::Propose((0..lost).map(proposal).collect())).len();
    let bytes = |bytes: usize| shown(f64::from(u32::try_from(bytes).expect("few")) / 1024.0);
    lines.extend([
        format!("| links of a server | {} |", shown(links)),
        format!(
            "| frames that a server sends while all is idle | {} a second, {} % of one core |",
            shown(beats),
            shown(beats * frame_ns / 1e7)
        ),
        format!("| groups | {} |", shown(f64::from(GROUPS))),
        format!(
            "| what the topology log adds up to | {} KiB |",
            bytes(state.encode().len())
        ),
        format!(
            "| slot table of a client or a node | {} KiB |",
            bytes(12 * GROUPS as usize)
        ),
        format!(
            "| groups with a member on a server that is lost | {} |",
            shown(f64::from(lost))
        ),
        format!(
            "| entries that name other members for them | {} KiB in {} entries |",
            bytes(repair),
            repair.div_ceil(Limits::default().entry_bytes_max)
        ),
    ]);
    let missing: Vec<&String> = lines.iter().filter(|line| !page.contains(line.as_str())).collect();
    assert!(missing.is_empty(), "the page lacks\n{}", lines.join("\n"));
}
