//! Whether nodes have io_uring here, and why not.

use waterpark::config::DefectCode;
use waterpark_reactor::DriverConfig;

use super::{Defect, Ring};
use crate::demo_screen::figures;
use crate::host::{Facts, Limit};

/// Has all that nodes use.
const KERNEL_MIN: (u32, u32) = (6, 0);
/// From here on the memory of a ring counts as locked.
const KERNEL_COUNTS: (u32, u32) = (6, 14);
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;

pub(super) fn ring(facts: &Facts, ring: Ring) -> Option<Defect> {
    let release = facts.release.as_deref().unwrap_or("unknown");
    let opened = matches!(ring, Ring::Opened { .. });
    if !opened && facts.version().is_some_and(|version| version < KERNEL_MIN) {
        return Some(Defect::error(DefectCode::KernelOld, format!("this is Linux {release}")));
    }
    let disabled = facts.uring_disabled.unwrap_or(0);
    // With 1 the members of a group may; that a ring was refused shows that we are none.
    let switched_off = disabled >= 2 || disabled == 1 && !facts.is_capable(CAP_SYS_ADMIN);
    if !opened && switched_off {
        let seen = format!("/proc/sys/kernel/io_uring_disabled is {disabled}");
        return Some(Defect::error(DefectCode::UringDisabled, seen));
    }
    let filtered = facts.seccomp_filter == Some(true);
    let defect = match ring {
        Ring::Forbidden if filtered => {
            let seen = "io_uring_setup is refused, and /proc/self/status has Seccomp: 2".to_owned();
            Defect::error(DefectCode::UringSeccomp, seen)
        }
        Ring::Forbidden => {
            let seen = "io_uring_setup is refused; /proc/sys/kernel/io_uring_disabled allows it, Seccomp is not 2";
            Defect::error(DefectCode::UringPolicy, seen.to_owned())
        }
        // Only a kernel that has io_uring has the switch for it: then it was a filter that said `ENOSYS`.
        Ring::Unsupported(_) if filtered && facts.uring_disabled.is_some() => {
            let seen = "this kernel has io_uring, io_uring_setup is unknown here, and Seccomp is 2".to_owned();
            Defect::error(DefectCode::UringSeccomp, seen)
        }
        Ring::Unsupported(part) => {
            let seen = format!("Linux {release} lacks {part}");
            Defect::error(DefectCode::UringMissing, seen)
        }
        Ring::Resources => {
            let seen = "a ring was tried and refused for want of descriptors or memory".to_owned();
            Defect::error(DefectCode::UringResources, seen)
        }
        Ring::Opened {
            flags_refused: true, ..
        } => {
            let seen = format!("Linux {release} refuses SINGLE_ISSUER | DEFER_TASKRUN");
            Defect::warning(DefectCode::UringFlags, seen)
        }
        Ring::Untried | Ring::Opened { .. } | Ring::LockedMemory => return None,
    };
    Some(defect)
}

pub(super) fn locked_memory(facts: &Facts, ring: Ring, shards: u64) -> Option<Defect> {
    let wanted = shards.saturating_mul(DriverConfig::default().locked_bytes());
    let wants = format!("rings of {shards} shards take {}", figures::bytes(wanted));
    let limit = match facts.locked {
        Some(Limit::AtMost(bytes)) => format!("the limit is {}", figures::bytes(bytes)),
        Some(Limit::None) => "there is no limit".to_owned(),
        None => "the limit is not known".to_owned(),
    };
    match ring {
        Ring::LockedMemory => {
            let seen = format!("not even the smallest ring could be opened; {limit}; {wants}");
            return Some(Defect::error(DefectCode::LockedMemory, seen));
        }
        Ring::Opened {
            halved_to: Some(entries),
            ..
        } => {
            let seen = format!("one ring could be opened with {entries} entries only; {limit}; {wants}");
            return Some(Defect::warning(DefectCode::LockedMemory, seen));
        }
        _ => {}
    }
    let counts = facts.version().is_none_or(|version| version >= KERNEL_COUNTS) && !facts.is_capable(CAP_IPC_LOCK);
    let short = facts.locked.is_some_and(|limit| !limit.allows(wanted));
    (counts && short).then(|| Defect::warning(DefectCode::LockedMemory, format!("{limit}; {wants}")))
}
