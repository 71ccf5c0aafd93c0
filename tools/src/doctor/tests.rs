use std::collections::BTreeSet;

use waterpark::config::DefectCode;

use super::*;
use crate::host::testing::Host;

const OPENED: Ring = Ring::Opened {
    flags_refused: false,
    halved_to: None,
};
const STATUS: &str = "/proc/self/status";
const LIMITS: &str = "/proc/self/limits";
const DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";
const FILTERED: &str = "CapEff:\t0000000000000000\nSeccomp:\t2\nCpus_allowed_list:\t0-3\n";
/// Everything may be done.
const ROOT: &str = "CapEff:\t000001ffffffffff\nSeccomp:\t0\nCpus_allowed_list:\t0-3\n";
const LITTLE_LOCKED: &str = "Max open files 1024 524288 files\nMax locked memory 65536 65536 bytes\n";
const SWAP: &str = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 8388604 0 -2\n";

/// A cluster of five nodes on loopback, 7000 to 8279, with these workers and this memory.
fn config(workers: u16, memory: &str) -> String {
    let options = config::InitOptions {
        workers,
        memory: memory.parse().unwrap(),
        ..config::InitOptions::default()
    };
    config::plan(&options, &[7; config::ENTROPY_BYTES])
        .unwrap()
        .config_text()
        .to_owned()
}

/// The same, each node on a host of its own.
fn apart(workers: u16, memory: &str) -> String {
    let mut text = String::new();
    for (place, part) in config(workers, memory).split("127.0.0.1").enumerate() {
        if place > 0 {
            text += &format!("10.0.0.{place}");
        }
        text += part;
    }
    text
}

/// What is found on a host, for a node of a configuration.
fn found(host: &Host, ring: Ring, config: Option<&str>) -> Vec<Defect> {
    let facts = Facts::read(&host.root());
    let loaded = config.map(|text| config::parse("cluster.toml", text, []).unwrap());
    let demand = loaded.as_ref().map(|loaded| {
        let node = loaded.config.node("FL-A-1").unwrap();
        Demand::of(&loaded.config, node, &facts, &host.root())
    });
    judge(&facts, ring, demand.as_ref())
}

/// A host, a ring, a configuration; which codes are to be found, errors with a sign, and words of what is seen.
struct Case {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    ring: Ring,
    config: Option<fn() -> String>,
    found: &'static [(i32, &'static str)],
}

const fn host(
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    found: &'static [(i32, &'static str)],
) -> Case {
    ring(name, OPENED, files, found)
}

const fn ring(
    name: &'static str,
    ring: Ring,
    files: &'static [(&'static str, &'static str)],
    found: &'static [(i32, &'static str)],
) -> Case {
    Case {
        name,
        files,
        ring,
        config: None,
        found,
    }
}

const fn node(
    name: &'static str,
    config: fn() -> String,
    files: &'static [(&'static str, &'static str)],
    found: &'static [(i32, &'static str)],
) -> Case {
    Case {
        name,
        files,
        ring: OPENED,
        config: Some(config),
        found,
    }
}

/// Negative: an error.
#[rustfmt::skip]
const CASES: &[Case] = &[
    host("a good host", &[], &[]),
    ring("an old kernel, whatever else is wrong", Ring::Unsupported("io_uring itself"), &[("/proc/sys/kernel/osrelease", "5.15.0-97-generic\n"), (STATUS, FILTERED)],
        &[(-9001, "Linux 5.15.0-97-generic")]),
    ring("io_uring switched off for all", Ring::Forbidden, &[(DISABLED, "2\n"), (STATUS, FILTERED)], &[(-9002, "is 2")]),
    ring("io_uring switched off but for a group", Ring::Forbidden, &[(DISABLED, "1\n")], &[(-9002, "is 1")]),
    ring("a user in that group", OPENED, &[(DISABLED, "1\n")], &[]),
    ring("a switch alone, without a try", Ring::Untried, &[(DISABLED, "2\n")], &[(-9002, "is 2")]),
    ring("a container's profile that forbids", Ring::Forbidden, &[(STATUS, FILTERED)], &[(-9003, "Seccomp: 2")]),
    ring("a container's profile that says it has no such call", Ring::Unsupported("io_uring itself"), &[(STATUS, FILTERED)], &[(-9003, "Seccomp is 2")]),
    ring("a filter that lets io_uring through", OPENED, &[(STATUS, FILTERED)], &[]),
    ring("a kernel without it", Ring::Unsupported("io_uring itself"), &[], &[(-9004, "lacks io_uring itself")]),
    ring("a security module", Ring::Forbidden, &[], &[(-9005, "Seccomp is not 2")]),
    ring("root under a security module", Ring::Forbidden, &[(DISABLED, "1\n"), (STATUS, ROOT)], &[(-9005, "refused")]),
    ring("no descriptors", Ring::Resources, &[], &[(-9006, "descriptors")]),
    ring("Linux 6.0", Ring::Opened { flags_refused: true, halved_to: None }, &[("/proc/sys/kernel/osrelease", "6.0.9\n")], &[(9007, "6.0.9")]),
    ring("no locked memory at all", Ring::LockedMemory, &[(LIMITS, LITTLE_LOCKED)], &[(-9011, "limit is 64 KiB")]),
    ring("a smaller ring", Ring::Opened { flags_refused: false, halved_to: Some(64) }, &[], &[(9011, "64 entries only; there is no limit")]),
    host("little locked memory on a kernel that counts rings", &[(LIMITS, LITTLE_LOCKED), ("/proc/sys/kernel/osrelease", "6.14.0\n")],
        &[(9011, "the limit is 64 KiB; rings of 4 shards take 1.0 MiB")]),
    host("the same on one that does not", &[(LIMITS, LITTLE_LOCKED)], &[]),
    host("the same for root", &[(LIMITS, LITTLE_LOCKED), ("/proc/sys/kernel/osrelease", "6.14.0\n"), (STATUS, ROOT)], &[]),
    host("few files", &[(LIMITS, "Max open files 1024 4096 files\nMax locked memory unlimited unlimited bytes\n")], &[(9012, "4 shards with 16,384 clients")]),
    host("hardly any files", &[(LIMITS, "Max open files 64 64 files\nMax locked memory unlimited unlimited bytes\n")], &[(-9012, "the hard limit is 64; 88 are needed")]),
    host("huge pages for all", &[("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n")], &[(9021, "is always")]),
    host("huge pages for none", &[("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n")], &[(9022, "is never")]),
    host("swap", &[("/proc/swaps", SWAP)], &[(9023, "8.0 GiB; vm.swappiness is 60")]),
    host("swap for the worst case alone", &[("/proc/swaps", SWAP), ("/proc/sys/vm/swappiness", "1\n")], &[]),
    host("strict overcommit", &[("/proc/sys/vm/overcommit_memory", "2\n")], &[(9024, "is 2")]),
    host("a quota of a container", &[("/sys/fs/cgroup/cpu.max", "250000 100000\n")], &[(9033, "the quota is 2.500 cores; shards use 4")]),
    host("a quota that is enough", &[("/sys/fs/cgroup/cpu.max", "400000 100000\n")], &[]),
    host("cores that save power", &[("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"), ("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "schedutil\n")],
        &[(9034, "cores 1-2 is not performance (core 1: powersave)")]),
    host("an unstable tsc", &[("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"), ("/sys/devices/system/clocksource/clocksource0/available_clocksource", "hpet acpi_pm\n")],
        &[(9035, "the clock source is hpet; there are hpet, acpi_pm")]),
    host("another clock than tsc by choice", &[("/sys/devices/system/clocksource/clocksource0/current_clocksource", "kvm-clock\n"), ("/sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc kvm-clock\n")],
        &[(9035, "is kvm-clock")]),
    host("a guest without tsc", &[("/sys/devices/system/clocksource/clocksource0/current_clocksource", "kvm-clock\n"), ("/sys/devices/system/clocksource/clocksource0/available_clocksource", "kvm-clock\n")], &[]),
    host("bbr, and cubic for root alone", &[("/proc/sys/net/ipv4/tcp_congestion_control", "bbr\n"), ("/proc/sys/net/ipv4/tcp_available_congestion_control", "reno bbr cubic\n"), ("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "reno bbr\n")],
        &[(9043, "links use reno")]),
    host("the same for root", &[("/proc/sys/net/ipv4/tcp_available_congestion_control", "reno bbr cubic\n"), ("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "reno bbr\n"), (STATUS, ROOT)], &[]),
    host("bbr alone", &[("/proc/sys/net/ipv4/tcp_congestion_control", "bbr\n"), ("/proc/sys/net/ipv4/tcp_available_congestion_control", "bbr\n"), ("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "bbr\n"), (STATUS, ROOT)],
        &[(9043, "links use bbr")]),
    host("a short backlog", &[("/proc/sys/net/core/somaxconn", "128\n")], &[(9044, "is 128")]),
    host("little memory for sockets", &[("/proc/sys/net/ipv4/tcp_rmem", "4096 131072 1048576\n"), ("/proc/sys/net/ipv4/tcp_wmem", "4096 16384 65536\n")],
        &[(9045, "net.ipv4.tcp_rmem ends with 1048576 (1.0 MiB), net.ipv4.tcp_wmem")]),
    host("all at once", &[("/proc/sys/net/core/somaxconn", "128\n"), ("/proc/swaps", SWAP), ("/proc/sys/vm/overcommit_memory", "2\n")], &[(9023, ""), (9024, ""), (9044, "")]),

    node("a node on a host that is its own", || apart(2, "1GiB"), &[], &[(9036, "shards are on 0-1; interrupts 40 (eth0) on 0, 41 (eth0) on 1")]),
    node("interrupts elsewhere", || apart(2, "1GiB"), &[("/proc/irq/40/effective_affinity_list", "2\n"), ("/proc/irq/41/smp_affinity_list", "2-3\n")], &[]),
    node("five nodes that share a host are not pinned", || config(1, "1GiB"), &[], &[(9032, "5 shards of 5 nodes on this host; allowed are the cores 0-3")]),
    node("more workers than cores", || apart(6, "1GiB"), &[], &[(9032, "6 shards of one node on this host")]),
    node("a cpuset that is smaller than its workers", || apart(2, "1GiB"), &[("/sys/fs/cgroup/cpuset.cpus.effective", "3\n")], &[(9032, "allowed are the cores 3")]),
    node("cores that the cpuset leaves out", || apart(1, "1GiB").replacen("workers = 1", "workers = \"2-3\"", 1), &[("/sys/fs/cgroup/cpuset.cpus.effective", "0-2\n")], &[(-9031, "core 3 is not allowed here; allowed are 0-2")]),
    node("auto on another number of cores", || apart(1, "1GiB").replacen("workers = 1", "workers = \"auto\"", 1).replace("\nport =", "\nshards = 2\nport ="), &[], &[(-9031, "give 4 cores")]),
    node("memory above the machine's", || apart(1, "128GiB"), &[("/proc/irq/40/effective_affinity_list", "2\n")], &[(-9025, "`memory` of one node on this host is 128 GiB, memory of the machine 64 GiB")]),
    node("memory above the machine's in sum", || config(1, "20GiB"), &[], &[(-9025, "`memory` of 5 nodes on this host is 100 GiB"), (9032, "")]),
    node("memory above the cgroup's", || config(1, "1GiB"), &[("/sys/fs/cgroup/memory.max", "1073741824\n")], &[(-9025, "memory.max of the cgroup 1.0 GiB"), (9032, "")]),
    node("memory that others use", || apart(1, "60GiB"), &[("/proc/irq/40/effective_affinity_list", "2\n")], &[(9026, "`memory` of FL-A-1 is 60 GiB, and 57 GiB are free now")]),
    node("its port taken on all addresses", || config(1, "1GiB"), &[("/proc/net/tcp", "  sl\n   0: 00000000:1B58 00000000:0000 0A 0\n")], &[(9032, ""), (-9041, "somebody listens on 0.0.0.0:7000, where peers of FL-A-1 dial it")]),
    node("its MLLP port taken on its own", || config(1, "1GiB"), &[("/proc/net/tcp", "  sl\n   0: 0100007F:1BD8 00000000:0000 0A 0\n")], &[(9032, ""), (-9041, "127.0.0.1:7128, where MLLP senders of FL-A-1")]),
    node("its port taken on another address", || config(1, "1GiB"), &[("/proc/net/tcp", "  sl\n   0: 0200000A:1B58 00000000:0000 0A 0\n")], &[(9032, "")]),
    node("its ports given to outgoing connections", || config(1, "1GiB"), &[("/proc/sys/net/ipv4/ip_local_port_range", "1024\t65535\n")], &[(9032, ""), (9042, "1024 to 65535: 7000 and 2 more ports of FL-A-1")]),
    node("but reserved", || config(1, "1GiB"), &[("/proc/sys/net/ipv4/ip_local_port_range", "1024\t65535\n"), ("/proc/sys/net/ipv4/ip_local_reserved_ports", "7000-8279\n")], &[(9032, "")]),
];

#[test]
fn each_host_has_the_defects_that_its_files_show_and_every_code_is_found_somewhere() {
    let mut reached = BTreeSet::new();
    for case in CASES {
        let host = case
            .files
            .iter()
            .fold(Host::good(), |host, (path, text)| host.with(path, text));
        let config = case.config.map(|config| config());
        let defects = found(&host, case.ring, config.as_deref());
        let sign = |defect: &Defect| if defect.severity == Severity::Error { -1 } else { 1 };
        let codes: Vec<i32> = defects
            .iter()
            .map(|defect| sign(defect) * i32::from(defect.entry().number))
            .collect();
        let expected: Vec<i32> = case.found.iter().map(|found| found.0).collect();
        assert_eq!(codes, expected, "{}: {defects:?}", case.name);
        for (defect, (_, words)) in defects.iter().zip(case.found) {
            assert!(defect.seen.contains(words), "{}: {:?}", case.name, defect.seen);
            reached.insert(defect.code);
        }
    }
    let missed: Vec<_> = DefectCode::ALL.iter().filter(|code| !reached.contains(code)).collect();
    assert!(missed.is_empty(), "no case finds {missed:?}");
}

#[test]
fn what_was_not_seen_is_no_defect_and_is_said() {
    let host = Host::good().without("/proc").without("/sys");
    let facts = Facts::read(&host.root());
    let defects = judge(&facts, Ring::Untried, None);
    assert_eq!(defects, []);
    let page = page(&facts, Ring::Untried, None, &defects);
    assert_eq!(page.matches("not seen: ").count(), 13, "{page}");
    let object = object(&facts, Ring::Untried, None, &defects);
    assert_eq!((&object["complete"], &object["errors"]), (&false.into(), &0.into()));
    assert_eq!(object["missing"].as_array().map(Vec::len), Some(13));
}

#[test]
fn a_defect_is_shown_with_what_shows_it_and_what_to_do() {
    let host = Host::good()
        .with("/proc/sys/net/core/somaxconn", "128\n")
        .with(DISABLED, "2\n");
    let facts = Facts::read(&host.root());
    let defects = judge(&facts, Ring::Forbidden, None);
    let shown = page(&facts, Ring::Forbidden, None, &defects);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "error[WP-9002]: io_uring is switched off");
    assert_eq!(lines[1], "  seen    /proc/sys/kernel/io_uring_disabled is 2");
    assert!(
        lines[3].starts_with("  remedy  Operator: sysctl -w kernel.io_uring_disabled=0"),
        "{shown}"
    );
    assert_eq!(lines[5], "warning[WP-9044]: few connections may wait to be accepted");
    assert!(shown.ends_with("this host: 1 error, 1 warning"), "{shown}");

    let object = object(&facts, Ring::Forbidden, None, &defects);
    assert_eq!(
        (&object["complete"], &object["kernel"]),
        (&true.into(), &"6.12.3".into())
    );
    assert_eq!(object["defects"][0]["code"], "WP-9002");
    assert_eq!(object["defects"][1]["severity"], "warning");
    let good = Facts::read(&Host::good().root());
    assert_eq!(
        page(&good, OPENED, None, &[]).lines().last(),
        Some("this host: nothing found")
    );
}
