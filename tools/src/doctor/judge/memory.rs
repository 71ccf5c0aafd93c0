//! Files, pages and bytes.

use waterpark::config::DefectCode;

use super::{Defect, Demand};
use crate::demo_screen::figures;
use crate::host::{Facts, HugePages, Limit};

/// What a process opens beside its sockets: standard streams, its log, a voter file, and what a library wants.
const FILES_BESIDE: u64 = 64;
/// Ring, its two wakers and three listeners.
const FILES_OF_SHARD: u64 = 6;

pub(super) fn files(facts: &Facts, demand: Option<&Demand>, shards: u64) -> Option<Defect> {
    let limit = facts.files?;
    let Limit::AtMost(has) = limit else { return None };
    let (clients, links) = match demand {
        Some(demand) => (demand.clients, demand.links),
        None => (u64::from(waterpark::config::CLIENTS_MAX), 0),
    };
    let least = FILES_BESIDE + shards * FILES_OF_SHARD + links;
    let all = least + shards * clients;
    let (has, of) = (figures::count(has), figures::count(shards));
    let beside = format!("{of} shards with {} clients each", figures::count(clients));
    if !limit.allows(least) {
        let wanted = figures::count(least);
        let seen = format!("the hard limit is {has}; {wanted} are needed before the first client of {of} shards");
        return Some(Defect::error(DefectCode::Files, seen));
    }
    let seen = || {
        format!(
            "the hard limit is {has}; {} are needed for {beside}",
            figures::count(all)
        )
    };
    (!limit.allows(all)).then(|| Defect::warning(DefectCode::Files, seen()))
}

pub(super) fn pages(facts: &Facts) -> Vec<Defect> {
    let mut defects = Vec::new();
    let enabled = "/sys/kernel/mm/transparent_hugepage/enabled";
    match facts.huge_pages {
        Some(HugePages::Always) => {
            defects.push(Defect::warning(
                DefectCode::HugePagesAlways,
                format!("{enabled} is always"),
            ));
        }
        Some(HugePages::Never) => {
            defects.push(Defect::warning(
                DefectCode::HugePagesNever,
                format!("{enabled} is never"),
            ));
        }
        Some(HugePages::Advised) | None => {}
    }
    let swappiness = facts.swappiness.unwrap_or(0);
    if let Some(swap @ 1..) = facts.swap_bytes
        && swappiness > 1
    {
        let seen = format!(
            "/proc/swaps has {}; vm.swappiness is {swappiness}",
            figures::bytes(swap)
        );
        defects.push(Defect::warning(DefectCode::Swap, seen));
    }
    if facts.overcommit == Some(2) {
        let seen = "/proc/sys/vm/overcommit_memory is 2".to_owned();
        defects.push(Defect::warning(DefectCode::Overcommit, seen));
    }
    defects
}

pub(super) fn budget(facts: &Facts, demand: Option<&Demand>) -> Option<Defect> {
    let demand = demand?;
    let (wanted, nodes) = (demand.memory_on_host, &demand.nodes_on_host);
    let wants = format!("`memory` of {nodes} on this host is {}", figures::bytes(wanted));
    let bounds = [
        (facts.memory_max_bytes, "memory.max of the cgroup"),
        (facts.memory_bytes, "memory of the machine"),
    ];
    let below = bounds
        .into_iter()
        .find_map(|(bound, name)| Some((bound.filter(|bound| *bound < wanted)?, name)));
    if let Some((bound, name)) = below {
        let seen = format!("{wants}, {name} {}", figures::bytes(bound));
        return Some(Defect::error(DefectCode::MemoryBudget, seen));
    }
    let free = facts.memory_free_bytes.filter(|free| *free < demand.memory)?;
    let (memory, free) = (figures::bytes(demand.memory), figures::bytes(free));
    let seen = format!("`memory` of {} is {memory}, and {free} are free now", demand.node);
    Some(Defect::warning(DefectCode::MemoryFree, seen))
}
