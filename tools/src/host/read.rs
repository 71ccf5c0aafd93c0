//! Facts from files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use waterpark_reactor::cores::{self, CgroupVersion, Cores};

use super::{Clock, Congestion, Facts, Governor, HugePages, Interrupt, Limit, Listening, Root};

impl Facts {
    /// Reads the files below a root. What is not there stays absent.
    pub(crate) fn read(root: &Root) -> Facts {
        let status = root.text("/proc/self/status").unwrap_or_default();
        let limits = root.text("/proc/self/limits").unwrap_or_default();
        let memory = root.text("/proc/meminfo").unwrap_or_default();
        let by_mask = field(&status, "Cpus_allowed_list").and_then(|list| list.parse::<Cores>().ok());
        let (quota_millicores, memory_max_bytes) = cgroup(root);
        Facts {
            release: root.text("/proc/sys/kernel/osrelease"),
            cpu: cpu(root),
            uring_disabled: number(root, "/proc/sys/kernel/io_uring_disabled"),
            seccomp_filter: field(&status, "Seccomp").map(|mode| mode == "2"),
            capabilities: field(&status, "CapEff").and_then(|bits| u64::from_str_radix(bits, 16).ok()),
            locked: limit(&limits, "Max locked memory", 0),
            files: limit(&limits, "Max open files", 1),
            cores: by_mask.map(|mask| cores::within(mask, cores::cpuset_of_cgroup(root.folder()))),
            quota_millicores,
            governors: governors(root),
            clock: clock(root),
            interrupts: interrupts(root),
            huge_pages: huge_pages(root),
            memory_bytes: kib(&memory, "MemTotal"),
            memory_free_bytes: kib(&memory, "MemAvailable"),
            memory_max_bytes,
            swap_bytes: root.text("/proc/swaps").map(|text| swap(&text)),
            swappiness: number(root, "/proc/sys/vm/swappiness"),
            overcommit: number(root, "/proc/sys/vm/overcommit_memory"),
            congestion: congestion(root),
            somaxconn: number(root, "/proc/sys/net/core/somaxconn"),
            receive_bytes_max: last_number(root, "/proc/sys/net/ipv4/tcp_rmem"),
            send_bytes_max: last_number(root, "/proc/sys/net/ipv4/tcp_wmem"),
            outgoing_ports: outgoing_ports(root),
            reserved_ports: root
                .text("/proc/sys/net/ipv4/ip_local_reserved_ports")
                .map(|text| ranges(&text))
                .unwrap_or_default(),
            listening: listening(root),
        }
    }
}

/// Not every architecture names its models there.
fn cpu(root: &Root) -> Option<String> {
    let text = root.text("/proc/cpuinfo")?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, model) = lines.find(|(name, _)| name.trim_end() == "model name")?;
    Some(model.trim().to_owned())
}

/// What stands behind `name:` on a line of its own.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .into_iter()
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.trim())
}

fn number(root: &Root, path: &str) -> Option<u64> {
    root.text(path)?.parse().ok()
}

fn last_number(root: &Root, path: &str) -> Option<u64> {
    root.text(path)?.split_ascii_whitespace().next_back()?.parse().ok()
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Bytes of a line of `/proc/meminfo`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let kib: u64 = field(text, name)?.strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// A column behind the name of a limit: 0 the soft one, 1 the hard one.
fn limit(text: &str, name: &str, column: usize) -> Option<Limit> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_ascii_whitespace().nth(column)? {
        "unlimited" => Some(Limit::None),
        number => number.parse().ok().map(Limit::AtMost),
    }
}

/// The least quota and memory of the process's cgroup and those above it.
fn cgroup(root: &Root) -> (Option<u64>, Option<u64>) {
    let membership = root.text("/proc/self/cgroup").unwrap_or_default();
    let least = |controller: &str, of: fn(&Root, CgroupVersion, &str) -> Option<u64>| {
        let folders = cores::cgroup_folders(&membership, controller);
        let all = folders.flat_map(|folder| {
            let above: Vec<_> = folder
                .path
                .ancestors()
                .take_while(|path| path.starts_with("sys/fs/cgroup"))
                .collect();
            let values = above.iter().filter_map(|path| of(root, folder.version, path.to_str()?));
            values.min()
        });
        all.min()
    };
    let quota = |root: &Root, version, path: &str| match version {
        CgroupVersion::Two => {
            let text = root.text(&format!("{path}/cpu.max"))?;
            let (quota, period) = text.split_once(' ')?;
            millicores(quota.parse().ok()?, period.parse().ok()?)
        }
        CgroupVersion::One => millicores(
            number(root, &format!("{path}/cpu.cfs_quota_us"))?,
            number(root, &format!("{path}/cpu.cfs_period_us"))?,
        ),
    };
    let memory = |root: &Root, version, path: &str| match version {
        CgroupVersion::Two => number(root, &format!("{path}/memory.max")),
        CgroupVersion::One => number(root, &format!("{path}/memory.limit_in_bytes")),
    };
    (least("cpu", quota), least("memory", memory))
}

fn millicores(quota_us: u64, period_us: u64) -> Option<u64> {
    quota_us.checked_mul(1_000)?.checked_div(period_us)
}

fn governors(root: &Root) -> Vec<Governor> {
    let folder = "/sys/devices/system/cpu";
    let of = |name: String| {
        let core = name.strip_prefix("cpu")?.parse().ok()?;
        let name = root.text(&format!("{folder}/{name}/cpufreq/scaling_governor"))?;
        Some(Governor { core, name })
    };
    let mut governors: Vec<Governor> = root.names(folder).into_iter().filter_map(of).collect();
    governors.sort_by_key(|governor| governor.core);
    governors
}

fn clock(root: &Root) -> Option<Clock> {
    let folder = "/sys/devices/system/clocksource/clocksource0";
    Some(Clock {
        current: root.text(&format!("{folder}/current_clocksource"))?,
        available: words(
            &root
                .text(&format!("{folder}/available_clocksource"))
                .unwrap_or_default(),
        ),
    })
}

/// The interrupts of every network device that stands for hardware.
fn interrupts(root: &Root) -> Vec<Interrupt> {
    let mut found = Vec::new();
    for device in root.names("/sys/class/net") {
        // A virtio device is a child of the one that has the interrupts.
        let own = root.names(&format!("/sys/class/net/{device}/device/msi_irqs"));
        let above = || root.names(&format!("/sys/class/net/{device}/device/../msi_irqs"));
        let numbers = if own.is_empty() { above() } else { own };
        for number in numbers.iter().filter_map(|name| name.parse().ok()) {
            let cores = |name: &str| root.text(&format!("/proc/irq/{number}/{name}"))?.parse().ok();
            let lands_on = cores("effective_affinity_list").or_else(|| cores("smp_affinity_list"));
            if let Some(lands_on) = lands_on {
                found.push(Interrupt {
                    number,
                    device: device.clone(),
                    lands_on,
                });
            }
        }
    }
    found.sort_by_key(|interrupt| interrupt.number);
    found
}

fn huge_pages(root: &Root) -> Option<HugePages> {
    let text = root.text("/sys/kernel/mm/transparent_hugepage/enabled")?;
    match chosen(&text) {
        "always" => Some(HugePages::Always),
        "madvise" => Some(HugePages::Advised),
        "never" => Some(HugePages::Never),
        _ => None,
    }
}

/// The word in brackets, where a file shows all that could be chosen; else all of it.
pub(crate) fn chosen(text: &str) -> &str {
    let between = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    between.map_or(text.trim(), |(word, _)| word)
}

/// Bytes of all swap devices.
fn swap(text: &str) -> u64 {
    let sizes = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok());
    sizes.sum::<u64>().saturating_mul(1_024)
}

fn congestion(root: &Root) -> Option<Congestion> {
    let of = |name: &str| root.text(&format!("/proc/sys/net/ipv4/{name}"));
    Some(Congestion {
        default: of("tcp_congestion_control")?,
        available: words(&of("tcp_available_congestion_control")?),
        allowed: words(&of("tcp_allowed_congestion_control")?),
    })
}

fn outgoing_ports(root: &Root) -> Option<(u16, u16)> {
    let text = root.text("/proc/sys/net/ipv4/ip_local_port_range")?;
    let (first, last) = text.split_once(|c: char| c.is_ascii_whitespace())?;
    Some((first.parse().ok()?, last.trim().parse().ok()?))
}

/// `7000-7999,9000` as ranges; what is none is left out.
fn ranges(text: &str) -> Vec<(u16, u16)> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    text.split(',').filter_map(range).collect()
}

fn listening(root: &Root) -> Option<Vec<Listening>> {
    let texts = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| root.text(path));
    if texts.iter().all(Option::is_none) {
        return None;
    }
    let rows = texts.iter().flatten().flat_map(|text| text.lines().skip(1));
    let mut found: Vec<Listening> = rows.filter_map(listener).collect();
    found.sort_by_key(|listening| listening.0);
    found.dedup();
    Some(found)
}

/// A row of `/proc/net/tcp` or `tcp6` whose state is 0A.
fn listener(row: &str) -> Option<Listening> {
    let mut columns = row.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (columns.next()?, columns.next()?, columns.next()?);
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of four bytes, each as a number of the host's own byte order.
    let word = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    (state == "0A").then_some(Listening(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Host;
    use super::*;

    #[test]
    fn a_good_host_is_read_whole() {
        let host = Host::good();
        let facts = Facts::read(&host.root());
        assert_eq!(facts.unseen(), Vec::<&str>::new());
        assert_eq!(facts.version(), Some((6, 12)));
        assert_eq!(
            facts.cores.clone().map(|cores| cores.to_string()),
            Some("0-3".to_owned())
        );
        assert_eq!(facts.locked, Some(Limit::None));
        assert_eq!(facts.files, Some(Limit::AtMost(524_288)));
        assert_eq!(facts.memory_bytes, Some(64 << 30));
        assert_eq!(facts.outgoing_ports, Some((32_768, 60_999)));
        assert_eq!(facts.governors.len(), 4);
        let interrupts: Vec<u32> = facts.interrupts.iter().map(|interrupt| interrupt.number).collect();
        assert_eq!(interrupts, [40, 41]);
    }

    #[test]
    fn an_empty_folder_is_a_host_of_which_nothing_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let facts = Facts::read(&Root::new(folder.path()));
        assert_eq!(facts, Facts::default());
        assert_eq!(facts.unseen().len(), 13);
    }

    #[test]
    fn listeners_of_both_families_are_read_and_other_sockets_are_not() {
        let host = Host::good()
            .with(
                "/proc/net/tcp",
                "  sl  local_address rem_address   st\n   0: 0100007F:1B58 00000000:0000 0A 0\n   1: 0100007F:1B59 0100007F:C350 01 0\n",
            )
            .with(
                "/proc/net/tcp6",
                "  sl\n   0: 00000000000000000000000000000000:1B5A 00000000000000000000000000000000:0000 0A 0\n   \
                 1: 0000000000000000FFFF00000100007F:1B5B 00000000000000000000000000000000:0000 0A 0\n   2: xyz\n",
            );
        let listening = Facts::read(&host.root()).listening.unwrap();
        let addresses: Vec<String> = listening.iter().map(|listening| listening.0.to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:7000", "127.0.0.1:7003", "[::]:7002"]);
        let local = Some(IpAddr::from([127, 0, 0, 1]));
        assert!(listening[0].takes(local, 7_000) && listening[0].takes(None, 7_000));
        assert!(!listening[0].takes(Some([10, 0, 0, 1].into()), 7_000));
        assert!(
            listening[2].takes(local, 7_002),
            "who listens on all addresses takes each"
        );
    }

    #[test]
    fn the_least_limit_on_the_way_up_from_a_cgroup_counts() {
        let host = Host::good()
            .with("/proc/self/cgroup", "0::/box/a\n")
            .with("/sys/fs/cgroup/box/a/cpu.max", "max 100000\n")
            .with("/sys/fs/cgroup/box/cpu.max", "150000 100000\n")
            .with("/sys/fs/cgroup/box/a/memory.max", "max\n")
            .with("/sys/fs/cgroup/box/memory.max", "1073741824\n");
        let facts = Facts::read(&host.root());
        assert_eq!(
            (facts.quota_millicores, facts.memory_max_bytes),
            (Some(1_500), Some(1 << 30))
        );

        let old = Host::good()
            .with("/proc/self/cgroup", "4:memory:/box\n3:cpu,cpuacct:/box\n2:cpuset:/\n")
            .with("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1\n")
            .with("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "1048576\n");
        let facts = Facts::read(&old.root());
        assert_eq!((facts.quota_millicores, facts.memory_max_bytes), (None, Some(1 << 20)));
    }

    #[test]
    fn text_that_is_no_number_is_absent() {
        let host = Host::good()
            .with("/proc/sys/net/core/somaxconn", "many\n")
            .with("/proc/sys/kernel/osrelease", "six\n")
            .with("/proc/meminfo", "MemTotal: 18446744073709551615 kB\n");
        let facts = Facts::read(&host.root());
        assert_eq!(
            (facts.somaxconn, facts.version(), facts.memory_bytes),
            (None, None, None)
        );
        assert_eq!(facts.unseen().len(), 3);
    }

    #[test]
    fn what_is_chosen_stands_in_brackets() {
        for (text, word) in [("always [madvise] never", "madvise"), ("tsc\n", "tsc"), ("[x", "[x")] {
            assert_eq!(chosen(text), word);
        }
    }
}
