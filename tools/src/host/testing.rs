//! Hosts that are folders with a few files.

use tempfile::TempDir;

use super::Root;

/// A host with four cores on which nothing is to be found, and what a case changes on it.
pub(crate) struct Host {
    folder: TempDir,
}

const GOOD: [(&str, &str); 30] = [
    ("/proc/sys/kernel/osrelease", "6.12.3\n"),
    ("/proc/sys/kernel/io_uring_disabled", "0\n"),
    (
        "/proc/self/status",
        "Name:\twaterpark\nCapEff:\t0000000000000000\nSeccomp:\t0\nCpus_allowed_list:\t0-3\n",
    ),
    (
        "/proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\n\
         Max open files            1024                 524288               files\n\
         Max locked memory         unlimited            unlimited            bytes\n",
    ),
    ("/proc/self/cgroup", "0::/\n"),
    (
        "/proc/meminfo",
        "MemTotal:       67108864 kB\nMemAvailable:   60000000 kB\n",
    ),
    ("/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    ("/proc/sys/vm/swappiness", "60\n"),
    ("/proc/sys/vm/overcommit_memory", "0\n"),
    (
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "always [madvise] never\n",
    ),
    (
        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        "tsc\n",
    ),
    (
        "/sys/devices/system/clocksource/clocksource0/available_clocksource",
        "tsc hpet acpi_pm \n",
    ),
    ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
    ("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance\n"),
    ("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance\n"),
    ("/sys/class/net/eth0/device/msi_irqs/40", "msix\n"),
    ("/sys/class/net/eth0/device/msi_irqs/41", "msix\n"),
    ("/proc/irq/40/smp_affinity_list", "0\n"),
    ("/proc/irq/41/smp_affinity_list", "1\n"),
    ("/proc/irq/40/effective_affinity_list", "0\n"),
    ("/proc/sys/net/ipv4/tcp_congestion_control", "cubic\n"),
    ("/proc/sys/net/ipv4/tcp_available_congestion_control", "reno cubic\n"),
    ("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "reno cubic\n"),
    ("/proc/sys/net/core/somaxconn", "4096\n"),
    ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"),
    ("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("/proc/sys/net/ipv4/ip_local_reserved_ports", "\n"),
    ("/proc/net/tcp", "  sl  local_address rem_address   st\n"),
];

impl Host {
    pub(crate) fn good() -> Host {
        let folder = tempfile::tempdir().unwrap();
        let host = Host { folder };
        GOOD.into_iter().fold(host, |host, (path, text)| host.with(path, text))
    }

    /// With a file that says this.
    pub(crate) fn with(self, path: &str, text: &str) -> Host {
        let file = self.root().path(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self
    }

    /// Without a file, or a folder of them.
    pub(crate) fn without(self, path: &str) -> Host {
        let path = self.root().path(path);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        self
    }

    pub(crate) fn root(&self) -> Root {
        Root::new(self.folder.path())
    }
}
