//! Sockets, NUMA nodes, caches and cores, as the kernel lists them.

use waterpark_reactor::cores::Cores;

use super::Root;

/// One core: what the kernel calls a CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Core {
    pub(crate) number: u32,
    /// `None` where the host does not say.
    pub(crate) socket: Option<u32>,
    pub(crate) numa: Option<u32>,
    /// Those that share its last cache, itself among them.
    pub(crate) shares_cache: Option<Cores>,
    /// Hardware threads of the same core, itself among them.
    pub(crate) threads: Option<Cores>,
}

/// All cores that are online, in order; none if the kernel does not list them.
pub(crate) fn read(root: &Root) -> Vec<Core> {
    let folder = "/sys/devices/system";
    let list = |path: String| root.text(&path)?.parse::<Cores>().ok();
    let nodes = root.names(&format!("{folder}/node"));
    let nodes = nodes
        .iter()
        .filter_map(|name| name.strip_prefix("node")?.parse::<u32>().ok());
    let nodes: Vec<(u32, Cores)> = nodes
        .filter_map(|node| Some((node, list(format!("{folder}/node/node{node}/cpulist"))?)))
        .collect();
    let core = |number: &u32| {
        let own = format!("{folder}/cpu/cpu{number}");
        // The caches are numbered from the nearest on.
        let caches = root.names(&format!("{own}/cache"));
        let last = caches
            .iter()
            .filter(|name| name.starts_with("index"))
            .max_by_key(|name| {
                let level = root.text(&format!("{own}/cache/{name}/level"));
                level.and_then(|level| level.parse::<u32>().ok())
            });
        Core {
            number: *number,
            socket: root
                .text(&format!("{own}/topology/physical_package_id"))
                .and_then(|text| text.parse().ok()),
            numa: nodes
                .iter()
                .find(|(_, cores)| cores.contains(*number))
                .map(|(node, _)| *node),
            shares_cache: last.and_then(|name| list(format!("{own}/cache/{name}/shared_cpu_list"))),
            threads: list(format!("{own}/topology/thread_siblings_list")),
        }
    };
    let online = list(format!("{folder}/cpu/online"));
    online.map_or_else(Vec::new, |online| online.as_slice().iter().map(core).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::Host;

    #[test]
    fn each_core_has_its_socket_its_numa_node_its_cache_and_its_threads() {
        let mut host = Host::good()
            .with("/sys/devices/system/cpu/online", "0-3\n")
            .with("/sys/devices/system/node/node0/cpulist", "0-1\n")
            .with("/sys/devices/system/node/node1/cpulist", "2-3\n");
        for number in 0..4 {
            let (own, pair) = (format!("/sys/devices/system/cpu/cpu{number}"), number / 2 * 2);
            let both = format!("{pair}-{}\n", pair + 1);
            host = host
                .with(
                    &format!("{own}/topology/physical_package_id"),
                    &format!("{}\n", number / 2),
                )
                .with(&format!("{own}/topology/thread_siblings_list"), &both)
                .with(&format!("{own}/cache/index0/level"), "1\n")
                .with(&format!("{own}/cache/index0/shared_cpu_list"), &format!("{number}\n"))
                .with(&format!("{own}/cache/index3/level"), "3\n")
                .with(&format!("{own}/cache/index3/shared_cpu_list"), &both);
        }
        let cores = read(&host.root());
        assert_eq!(cores.len(), 4);
        let wanted = Core {
            number: 2,
            socket: Some(1),
            numa: Some(1),
            shares_cache: "2-3".parse().ok(),
            threads: "2-3".parse().ok(),
        };
        assert_eq!(cores[2], wanted);
    }

    #[test]
    fn what_the_host_does_not_say_is_not_made_up() {
        assert!(read(&Host::good().root()).is_empty());
        let host = Host::good().with("/sys/devices/system/cpu/online", "0\n");
        let core = &read(&host.root())[0];
        assert_eq!(
            (core.socket, core.numa, &core.shares_cache, &core.threads),
            (None, None, &None, &None)
        );
    }
}
