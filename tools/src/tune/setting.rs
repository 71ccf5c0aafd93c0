//! Which settings of a host nodes want, and what each should be.
//!
//! Pure: facts and the text of a file in, values out. What is somebody's decision and no tuning is left alone: whether io_uring is allowed,
//! overcommit, the clock source. **Invariant:** a value that is already better than what is asked for stays.

use waterpark_reactor::cores::Cores;

use crate::doctor::{Demand, SOCKET_BYTES_MIN};
use crate::host::{Facts, chosen};

/// How a file shows and takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Words or numbers.
    Plain,
    /// All that could be chosen, with the word in force in brackets; the word alone is written.
    Choice,
}

/// What a value should be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    AtLeast(u64),
    AtMost(u64),
    /// The last of several numbers.
    LastAtLeast(u64),
    Exactly(String),
    /// One word among others.
    With(&'static str),
}

/// One setting of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// By which people name it.
    pub(crate) name: String,
    /// Its file.
    pub(crate) path: String,
    pub(crate) form: Form,
    /// Why.
    pub(crate) reason: &'static str,
    /// The file that lists what may be chosen, if there is one.
    pub(crate) offers: Option<String>,
    wish: Wish,
}

impl Setting {
    fn sysctl(name: &str, wish: Wish, reason: &'static str) -> Setting {
        Setting {
            name: name.to_owned(),
            path: format!("/proc/sys/{}", name.replace('.', "/")),
            form: Form::Plain,
            reason,
            offers: None,
            wish,
        }
    }

    /// Whether it is a sysctl, so that sysctl.d can say it.
    pub(crate) fn is_sysctl(&self) -> bool {
        self.path.starts_with("/proc/sys/")
    }

    /// What the value should be, if `value` is not good enough; `None` if it is. A value that is not understood is to be replaced.
    pub(crate) fn better_than(&self, value: &str) -> Option<String> {
        let number = |text: &str| text.parse::<u64>().ok();
        match &self.wish {
            Wish::AtLeast(least) => {
                let good = number(value).is_some_and(|value| value >= *least);
                (!good).then(|| least.to_string())
            }
            Wish::AtMost(most) => {
                let good = number(value).is_some_and(|value| value <= *most);
                (!good).then(|| most.to_string())
            }
            Wish::LastAtLeast(least) => {
                let (before, last) = value.rsplit_once(' ').unwrap_or(("", value));
                let good = number(last).is_some_and(|last| last >= *least);
                (!good).then(|| format!("{before} {least}").trim_start().to_owned())
            }
            Wish::Exactly(wanted) => (value != wanted).then(|| wanted.clone()),
            Wish::With(word) => {
                let good = value.split(' ').any(|found| found == *word);
                (!good).then(|| format!("{value} {word}").trim_start().to_owned())
            }
        }
    }
}

/// The value in a file's text, in one form whatever blanks the kernel puts between its words.
pub(crate) fn value_of(form: Form, text: &str) -> String {
    let text = match form {
        Form::Plain => text,
        Form::Choice => chosen(text),
    };
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The settings that matter on this host: for the cores of a node's shards too, if one is named.
pub(crate) fn settings(facts: &Facts, demand: Option<&Demand>) -> Vec<Setting> {
    let mut settings = vec![
        Setting::sysctl(
            "net.core.somaxconn",
            Wish::AtLeast(u64::from(waterpark::BACKLOG.unsigned_abs())),
            "so many connections may wait to be accepted",
        ),
        Setting::sysctl(
            "net.ipv4.tcp_rmem",
            Wish::LastAtLeast(SOCKET_BYTES_MIN),
            "a link between distant data centres is filled",
        ),
        Setting::sysctl(
            "net.ipv4.tcp_wmem",
            Wish::LastAtLeast(SOCKET_BYTES_MIN),
            "a link between distant data centres is filled",
        ),
    ];
    let loaded = |name| {
        let mut all = facts.congestion.iter().flat_map(|congestion| &congestion.available);
        all.any(|found| found == name)
    };
    if loaded("cubic") {
        settings.push(Setting::sysctl(
            "net.ipv4.tcp_allowed_congestion_control",
            Wish::With("cubic"),
            "links choose cubic without being root",
        ));
    }
    if facts.swap_bytes.is_some_and(|bytes| bytes > 0) {
        settings.push(Setting::sysctl(
            "vm.swappiness",
            Wish::AtMost(1),
            "memory of actors is swapped out in the worst case alone",
        ));
    }
    settings.push(Setting {
        name: "huge_pages".to_owned(),
        path: "/sys/kernel/mm/transparent_hugepage/enabled".to_owned(),
        form: Form::Choice,
        reason: "huge pages for logs, which ask for them, and for nobody else",
        offers: None,
        wish: Wish::Exactly("madvise".to_owned()),
    });
    settings.extend(facts.governors.iter().map(|governor| {
        let folder = format!("/sys/devices/system/cpu/cpu{}/cpufreq", governor.core);
        Setting {
            name: format!("governor.cpu{}", governor.core),
            path: format!("{folder}/scaling_governor"),
            form: Form::Plain,
            reason: "a core that was idle is fast at once",
            offers: Some(format!("{folder}/scaling_available_governors")),
            wish: Wish::Exactly("performance".to_owned()),
        }
    }));
    settings.extend(interrupts(facts, demand));
    settings
}

/// Interrupts that land on the cores of shards are moved to the other cores, if there are any.
fn interrupts(facts: &Facts, demand: Option<&Demand>) -> Vec<Setting> {
    let (Some(demand), Some(allowed)) = (demand, &facts.cores) else {
        return Vec::new();
    };
    let pinned = demand.pinned();
    let others: Cores = allowed
        .as_slice()
        .iter()
        .copied()
        .filter(|core| !pinned.contains(*core))
        .collect();
    if others.is_empty() {
        return Vec::new();
    }
    let disturbing = facts
        .interrupts
        .iter()
        .filter(|interrupt| !interrupt.lands_on.and(&pinned).is_empty());
    let moved = disturbing.map(|interrupt| Setting {
        name: format!("interrupt.{}", interrupt.number),
        path: format!("/proc/irq/{}/smp_affinity_list", interrupt.number),
        form: Form::Plain,
        reason: "shards are not interrupted by the network",
        offers: None,
        wish: Wish::Exactly(others.to_string()),
    });
    moved.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_replaced_when_it_is_worse_and_left_when_it_is_better() {
        let table = [
            (Wish::AtLeast(4_096), "128", Some("4096")),
            (Wish::AtLeast(4_096), "4096", None),
            (Wish::AtLeast(4_096), "65535", None),
            (Wish::AtLeast(4_096), "", Some("4096")),
            (Wish::AtMost(1), "60", Some("1")),
            (Wish::AtMost(1), "0", None),
            (Wish::LastAtLeast(100), "1 2 50", Some("1 2 100")),
            (Wish::LastAtLeast(100), "1 2 300", None),
            (Wish::LastAtLeast(100), "50", Some("100")),
            (Wish::Exactly("madvise".to_owned()), "always", Some("madvise")),
            (Wish::Exactly("madvise".to_owned()), "madvise", None),
            (Wish::With("cubic"), "reno bbr", Some("reno bbr cubic")),
            (Wish::With("cubic"), "reno cubic bbr", None),
            (Wish::With("cubic"), "", Some("cubic")),
        ];
        for (wish, value, expected) in table {
            let setting = Setting::sysctl("net.core.somaxconn", wish, "");
            assert_eq!(setting.better_than(value).as_deref(), expected, "{setting:?} {value}");
        }
    }

    #[test]
    fn values_are_compared_without_the_blanks_of_the_kernel() {
        assert_eq!(value_of(Form::Plain, "4096\t131072\t6291456\n"), "4096 131072 6291456");
        assert_eq!(value_of(Form::Choice, "always [madvise] never\n"), "madvise");
    }
}
