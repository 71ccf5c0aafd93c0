//! Ports and what the kernel lets sockets do.

use waterpark::config::DefectCode;

use super::{Defect, Demand};
use crate::demo_screen::figures;
use crate::host::Facts;

/// What links may have under way at least, both ways.
pub(crate) const SOCKET_BYTES_MIN: u64 = 4 << 20;
const CAP_NET_ADMIN: u32 = 12;

pub(super) fn ports(facts: &Facts, demand: Option<&Demand>) -> Vec<Defect> {
    let Some(demand) = demand else { return Vec::new() };
    let mut defects = Vec::new();
    let listening = facts.listening.as_deref().unwrap_or_default();
    for (port, role) in &demand.ports {
        if let Some(taken) = listening
            .iter()
            .find(|listening| listening.takes(demand.address, *port))
        {
            let seen = format!(
                "somebody listens on {}, where {role} of {} dial it",
                taken.0, demand.node
            );
            defects.push(Defect::error(DefectCode::PortTaken, seen));
        }
    }
    if let Some((first, last)) = facts.outgoing_ports {
        let is_reserved = |port: u16| {
            facts
                .reserved_ports
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&port))
        };
        let given = |port: &u16| (first..=last).contains(port) && !is_reserved(*port);
        let mut given = demand.ports.iter().map(|(port, _)| *port).filter(given);
        if let Some(port) = given.next() {
            let more = match given.count() {
                0 => String::new(),
                more => format!(" and {more} more ports of {}", demand.node),
            };
            let seen = format!("outgoing connections get {first} to {last}: {port}{more}");
            defects.push(Defect::warning(DefectCode::PortsEphemeral, seen));
        }
    }
    defects
}

pub(super) fn sockets(facts: &Facts) -> Vec<Defect> {
    let mut defects = Vec::new();
    if let Some(congestion) = &facts.congestion {
        let may = if facts.is_capable(CAP_NET_ADMIN) {
            &congestion.available
        } else {
            &congestion.allowed
        };
        let may_choose = |name: &str| {
            may.iter().any(|found| found == name) && congestion.available.iter().any(|found| found == name)
        };
        if !may_choose("cubic") {
            let used = if may_choose("reno") {
                "reno"
            } else {
                &congestion.default
            };
            let seen = format!(
                "loaded are {}, allowed to everybody {}: links use {used}",
                congestion.available.join(", "),
                congestion.allowed.join(", ")
            );
            defects.push(Defect::warning(DefectCode::Congestion, seen));
        }
    }
    let wanted = u64::from(waterpark::BACKLOG.unsigned_abs());
    if let Some(has) = facts.somaxconn.filter(|has| *has < wanted) {
        let seen = format!("/proc/sys/net/core/somaxconn is {has}");
        defects.push(Defect::warning(DefectCode::Backlog, seen));
    }
    let small = [
        ("tcp_rmem", facts.receive_bytes_max),
        ("tcp_wmem", facts.send_bytes_max),
    ]
    .into_iter()
    .filter_map(|(name, bytes)| Some((name, bytes.filter(|bytes| *bytes < SOCKET_BYTES_MIN)?)))
    .map(|(name, bytes)| format!("net.ipv4.{name} ends with {bytes} ({})", figures::bytes(bytes)));
    let small: Vec<String> = small.collect();
    if !small.is_empty() {
        defects.push(Defect::warning(DefectCode::SocketMemory, small.join(", ")));
    }
    defects
}
