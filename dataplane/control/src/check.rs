//! What the values of a configuration must satisfy together. Knows no TOML; every check looks at what the draft has and leaves the
//! rest to the problem that is already named.
//!
//! **Invariant:** a draft without errors is a whole configuration, so `Draft::finish` succeeds on it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use waterpark_ring::{FACILITIES_MAX, GROUPS_MIN, NODES_MAX, PORT_MAX};

use crate::config::PORTS_PER_NODE;
use crate::draft::{Draft, DraftNode};
use crate::fields::Got;
use crate::names::NodeName;
use crate::nearest::nearest;
use crate::problem::{Problem, What};
use crate::source::quoted;
use crate::voters::check_voters;

/// Ports that Linux gives to outgoing connections unless it is told otherwise.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// Every problem of the values with each other.
pub(crate) fn check(draft: &Draft) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_groups(draft, &mut problems);
    check_members(draft, &mut problems);
    check_classes(draft, &mut problems);
    check_delays(draft, &mut problems);
    check_unique(draft, &mut problems);
    check_ports(draft, &mut problems);
    check_shards(draft, &mut problems);
    check_hosts(draft, &mut problems);
    check_voters(draft, &mut problems);
    problems
}

fn check_groups(draft: &Draft, problems: &mut Vec<Problem>) {
    let Some(groups) = &draft.groups else { return };
    if !groups.value.is_power_of_two() || groups.value < u64::from(GROUPS_MIN) {
        problems.push(Problem::new(What::Groups { found: groups.value }, groups.place.clone()));
        return;
    }
    let Some(classes) = &draft.classes else { return };
    if !classes.value.is_power_of_two() || classes.value > groups.value {
        let what = What::Classes {
            found: classes.value,
            groups: groups.value,
        };
        problems.push(Problem::against(what, classes.place.clone(), groups.place.clone()));
    }
}

fn check_members(draft: &Draft, problems: &mut Vec<Problem>) {
    // Whatever a cluster is made of it is made of those that it begins with.
    let nodes = draft.nodes.iter().filter(|node| !node.is_joining()).count();
    if nodes == 0 && !draft.nodes_unread {
        problems.push(Problem::new(What::NoNodes, draft.file.clone()));
    }
    let all = draft.nodes.len();
    if all > NODES_MAX {
        problems.push(Problem::new(
            What::NodesTooMany { nodes: all },
            draft.nodes[NODES_MAX].header.clone(),
        ));
    }
    let Some(members) = &draft.members else { return };
    let place = members.place.clone();
    match u8::try_from(members.value) {
        Ok(count @ (1 | 3 | 4 | 5)) if nodes > 0 && usize::from(count) > nodes => {
            problems.push(Problem::new(What::MembersAboveNodes { members: count, nodes }, place));
        }
        Ok(1) if nodes > 1 => problems.push(Problem::new(What::OneCopy { nodes }, place)),
        Ok(1 | 3 | 4 | 5) => {}
        _ => problems.push(Problem::new(What::Members { found: members.value }, place)),
    }
}

/// Facilities and homes name classes that exist, homes data centres that have a node.
fn check_classes(draft: &Draft, problems: &mut Vec<Problem>) {
    let dcs = dcs(draft.nodes.iter().filter(|node| !node.is_joining()));
    if let Some((_, first_too_many)) = draft.facilities.get(FACILITIES_MAX) {
        let what = What::FacilitiesTooMany {
            facilities: draft.facilities.len(),
        };
        problems.push(Problem::new(what, first_too_many.place.clone()));
    }
    let classes = draft
        .classes
        .as_ref()
        .and_then(|classes| u32::try_from(classes.value).ok());
    let mut class_exists = |class: &Got<u32>| {
        if let Some(classes) = classes.filter(|classes| class.value >= *classes) {
            let what = What::ClassUnknown {
                found: class.value.to_string().into(),
                classes: Some(classes),
            };
            problems.push(Problem::new(what, class.place.clone()));
        }
    };
    draft.facilities.iter().for_each(|(_, class)| class_exists(class));
    draft.homes.iter().for_each(|home| class_exists(&home.class));
    for home in &draft.homes {
        problems
            .extend(dc_unknown(&home.dc.value, dcs.as_deref()).map(|what| Problem::new(what, home.dc.place.clone())));
    }
}

/// Each pair is given once, and both its data centres have a node.
fn check_delays(draft: &Draft, problems: &mut Vec<Problem>) {
    let dcs = dcs(draft.nodes.iter());
    let mut given = BTreeMap::new();
    for delay in &draft.delays {
        let (a, b) = &delay.pair.value;
        for dc in [a, b] {
            problems.extend(dc_unknown(dc, dcs.as_deref()).map(|what| Problem::new(what, delay.pair.place.clone())));
        }
        if let Some(first) = given.insert(&delay.pair.value, &delay.pair.place) {
            let what = What::DcPair {
                found: format!("{a}-{b}").into(),
                again: true,
            };
            problems.push(Problem::against(what, delay.pair.place.clone(), first.clone()));
        }
    }
}

/// The data centres of the nodes, each once, ascending. `None` while a node's name could not be read: it may be the one that stands
/// in the data centre looked for, and the name is what has to be mended.
fn dcs<'a>(nodes: impl Iterator<Item = &'a DraftNode>) -> Option<Vec<Box<str>>> {
    let names: Option<Vec<&Got<NodeName>>> = nodes.map(|node| node.name.as_ref()).collect();
    let mut dcs: Vec<Box<str>> = names?.iter().map(|name| name.dc().into()).collect();
    dcs.sort_unstable();
    dcs.dedup();
    (!dcs.is_empty()).then_some(dcs)
}

fn dc_unknown(dc: &str, dcs: Option<&[Box<str>]>) -> Option<What> {
    let dcs = dcs.filter(|dcs| !dcs.iter().any(|known| **known == *dc))?;
    let meant = nearest(dc, dcs.iter().map(|known| &**known)).map(Box::from);
    Some(What::DcUnknown {
        found: quoted(dc),
        meant,
        dcs: dcs.into(),
    })
}

fn check_unique(draft: &Draft, problems: &mut Vec<Problem>) {
    let (mut names, mut ids) = (BTreeMap::new(), BTreeMap::new());
    for node in &draft.nodes {
        if let Some(name) = &node.name {
            match names.get(&name.value) {
                None => drop(names.insert(&name.value, &name.place)),
                Some(first) => {
                    let what = What::NodeNameTaken {
                        name: name.value.clone(),
                    };
                    problems.push(Problem::against(what, name.place.clone(), (*first).clone()));
                }
            }
        }
        if let Some(id) = &node.id {
            match ids.get(&id.value) {
                None => drop(ids.insert(id.value, &id.place)),
                Some(first) => {
                    problems.push(Problem::against(
                        What::NodeIdTaken { id: id.value },
                        id.place.clone(),
                        (*first).clone(),
                    ));
                }
            }
        }
    }
}

fn check_ports(draft: &Draft, problems: &mut Vec<Problem>) {
    let mut by_host: BTreeMap<String, Vec<(usize, &Got<u16>)>> = BTreeMap::new();
    for (at, node) in draft.nodes.iter().enumerate() {
        let Some(port) = &node.port else { continue };
        let Some(last) = port.value.checked_add(PORTS_PER_NODE - 1) else {
            problems.push(Problem::new(What::PortTooHigh { port: port.value }, port.place.clone()));
            continue;
        };
        if last >= *EPHEMERAL.start() && port.value <= *EPHEMERAL.end() {
            problems.push(Problem::new(
                What::PortEphemeral { port: port.value },
                port.place.clone(),
            ));
        }
        if let Some(host) = &node.host {
            by_host.entry(same_host(host)).or_default().push((at, port));
        }
    }
    for (host, mut ports) in by_host {
        ports.sort_by_key(|(at, port)| (port.value, *at));
        let taken: Vec<u16> = ports.iter().map(|(_, port)| port.value).collect();
        let free = free_port(&taken);
        for pair in ports.windows(2) {
            let [(a, low), (b, high)] = pair else {
                unreachable!("windows of two")
            };
            if high.value - low.value < PORTS_PER_NODE {
                // The node that stands later in the file is the one that was added.
                let (port, other) = if a < b { (high, low) } else { (low, high) };
                let what = What::PortsOverlap {
                    host: quoted(&host),
                    port: port.value,
                    other: other.value,
                    free,
                };
                problems.push(Problem::against(what, port.place.clone(), other.place.clone()));
            }
        }
    }
}

/// The first multiple of 256 above the lowest port at which a node's ports meet no other's; `taken` ascends.
fn free_port(taken: &[u16]) -> Option<u16> {
    let lowest = u32::from(*taken.first()?);
    let mut free = lowest;
    for port in taken {
        // Ports ascend, so the first gap that is wide enough is found in one pass.
        while free.abs_diff(u32::from(*port)) < u32::from(PORTS_PER_NODE) {
            free += u32::from(PORTS_PER_NODE);
        }
    }
    u16::try_from(free).ok().filter(|free| *free <= PORT_MAX)
}

fn check_shards(draft: &Draft, problems: &mut Vec<Problem>) {
    let Some(default) = &draft.workers else { return };
    for node in &draft.nodes {
        let (workers, shards) = node.workers_and_shards(default);
        match (workers.count(), shards) {
            (Some(count), Some(shards)) if count != shards.value => {
                let what = What::ShardsDisagree {
                    shards: shards.value,
                    workers: count,
                };
                problems.push(Problem::against(what, shards.place, workers.place));
            }
            (None, None) if !node.shards_unread => {
                let what = What::ShardsUnknown {
                    workers: workers.to_string().into(),
                };
                problems.push(Problem::new(what, node.header.clone()));
            }
            _ => {}
        }
    }
}

fn check_hosts(draft: &Draft, problems: &mut Vec<Problem>) {
    let hosts = || draft.nodes.iter().filter_map(|node| node.host.as_ref());
    for host in hosts().filter(|host| !is_host(&host.value)) {
        problems.push(Problem::new(
            What::Host {
                found: quoted(&host.value),
            },
            host.place.clone(),
        ));
    }
    let Some(beyond) = hosts().find(|host| is_host(&host.value) && !is_loopback(&host.value)) else {
        return;
    };
    if draft.key_file.is_none() && !draft.key_file_unread {
        let what = What::KeyRequired {
            host: quoted(&beyond.value),
        };
        problems.push(Problem::against(what, draft.cluster.clone(), beyond.place.clone()));
    }
    if let Some(local) = hosts().find(|host| is_loopback(&host.value)) {
        let what = What::LoopbackMixed {
            host: quoted(&local.value),
            beyond: quoted(&beyond.value),
        };
        problems.push(Problem::against(what, local.place.clone(), beyond.place.clone()));
    }
}

/// One spelling per host, as far as spelling alone can tell.
fn same_host(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) if host.eq_ignore_ascii_case("localhost") => "127.0.0.1".to_owned(),
        Err(_) => host.to_ascii_lowercase(),
    }
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// An address that others can dial, or a DNS name. A name whose last part is a number is a mistyped address.
fn is_host(host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return !address.is_unspecified() && !address.is_multicast();
    }
    let is_label = |label: &str| {
        let plain = label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253 && host.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart() {
        let table = [
            // host, may be one, is loopback
            ("127.0.0.1", true, true),
            ("127.3.2.1", true, true),
            ("::1", true, true),
            ("::ffff:127.0.0.1", true, true),
            ("localhost", true, true),
            ("LOCALHOST", true, true),
            ("10.0.0.1", true, false),
            ("2001:db8::1", true, false),
            ("fl-a-1.example.org", true, false),
            ("node_1", true, false),
            ("127.0.0.1.example.org", true, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("224.0.0.1", false, false),
            ("10.0.0.256", false, false),
            ("10.0.0.1:7000", false, false),
            ("[::1]", false, false),
            ("", false, false),
            ("-a", false, false),
            ("a..b", false, false),
            ("a b", false, false),
        ];
        for (host, may_be, loopback) in table {
            assert_eq!((is_host(host), is_loopback(host)), (may_be, loopback), "{host}");
        }
        assert!(!is_host(&"a".repeat(64)));
        assert_eq!(same_host("LocalHost"), same_host("127.0.0.1"));
        assert_eq!(same_host("0:0::1"), same_host("::1"));
    }

    #[test]
    fn a_free_port_meets_no_node() {
        let table = [
            (&[7_000][..], Some(7_256)),
            (&[7_000, 7_010], Some(7_512)),
            (&[7_000, 7_256, 7_768], Some(7_512)),
            (&[7_000, 7_256, 7_512], Some(7_768)),
            (&[65_280], None),
        ];
        for (taken, free) in table {
            assert_eq!(free_port(taken), free, "{taken:?}");
        }
    }
}
