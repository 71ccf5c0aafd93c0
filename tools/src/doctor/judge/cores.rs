//! Cores: whether shards have theirs, how fast they run, and who interrupts them.

use waterpark::config::DefectCode;
use waterpark_reactor::cores::Cores;

use super::{Defect, Demand};
use crate::host::Facts;

/// Clock sources that are read without a system call.
const FAST_CLOCKS: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];

pub(super) fn of_node(facts: &Facts, demand: Option<&Demand>, shards: u64) -> Vec<Defect> {
    let mut defects = Vec::new();
    if let Some(Err(why)) = demand.map(|demand| &demand.plan) {
        defects.push(Defect::error(DefectCode::CoresDenied, why.clone()));
    }
    if let (Some(demand), Some(cores)) = (demand, &facts.cores)
        && demand.shards_on_host > cores.len() as u64
    {
        let (shards, nodes) = (demand.shards_on_host, &demand.nodes_on_host);
        let seen = format!("{shards} shards of {nodes} on this host; allowed are the cores {cores}");
        defects.push(Defect::warning(DefectCode::CoresShort, seen));
    }
    // A node on fewer cores than shards is limited by those, not by its quota.
    let busy = facts
        .cores
        .as_ref()
        .map_or(shards, |cores| shards.min(cores.len() as u64));
    if let Some(quota) = facts.quota_millicores.filter(|quota| *quota < busy * 1_000) {
        let seen = format!(
            "the quota is {}.{:03} cores; shards use {busy}",
            quota / 1_000,
            quota % 1_000
        );
        defects.push(Defect::warning(DefectCode::CpuQuota, seen));
    }
    defects
}

pub(super) fn speed(facts: &Facts) -> Vec<Defect> {
    let mut defects = Vec::new();
    let slow = facts.governors.iter().filter(|governor| governor.name != "performance");
    let cores: Cores = slow.clone().map(|governor| governor.core).collect();
    if let Some(first) = slow.clone().next() {
        let seen = format!(
            "scaling_governor of the cores {cores} is not performance (core {}: {})",
            first.core, first.name
        );
        defects.push(Defect::warning(DefectCode::Governor, seen));
    }
    if let Some(clock) = &facts.clock {
        let has_tsc = clock.available.iter().any(|name| name == "tsc");
        let slow = !FAST_CLOCKS.contains(&clock.current.as_str());
        if slow || has_tsc && clock.current != "tsc" {
            let seen = format!(
                "the clock source is {}; there are {}",
                clock.current,
                clock.available.join(", ")
            );
            defects.push(Defect::warning(DefectCode::ClockSource, seen));
        }
    }
    defects
}

pub(super) fn interrupts(facts: &Facts, demand: Option<&Demand>) -> Option<Defect> {
    let pinned = demand?.pinned();
    let disturbing: Vec<String> = facts
        .interrupts
        .iter()
        .filter(|interrupt| !interrupt.lands_on.and(&pinned).is_empty())
        .map(|interrupt| format!("{} ({}) on {}", interrupt.number, interrupt.device, interrupt.lands_on))
        .collect();
    if disturbing.is_empty() {
        return None;
    }
    let seen = format!("shards are on {pinned}; interrupts {}", disturbing.join(", "));
    Some(Defect::warning(DefectCode::Interrupts, seen))
}
