use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::Parser;

use super::*;
use crate::host::testing::Host;

const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
const RMEM: &str = "/proc/sys/net/ipv4/tcp_rmem";
const GOVERNOR: &str = "/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor";

/// A command line of `tune`.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// A host on which seven settings differ.
fn untuned() -> Host {
    Host::good()
        .with(SOMAXCONN, "128\n")
        .with(RMEM, "4096\t131072\t1048576\n")
        .with(THP, "[always] madvise never\n")
        .with(GOVERNOR, "powersave\n")
        .with(
            "/sys/devices/system/cpu/cpu1/cpufreq/scaling_available_governors",
            "performance powersave\n",
        )
        .with("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "schedutil\n")
        .with(
            "/proc/sys/net/ipv4/tcp_available_congestion_control",
            "reno bbr cubic\n",
        )
        .with("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "reno bbr\n")
        .with(
            "/proc/swaps",
            "Filename Type Size Used Priority\n/dev/sda2 partition 1024 0 -2\n",
        )
}

/// What one `tune` line ends with on a host.
fn tune(host: &Host, line: &[&str]) -> Result<u8, Failure> {
    let folder = host.root().folder().display().to_string();
    let all = ["tune"].iter().chain(line).copied().chain(["--root", &folder]);
    let command = Line::try_parse_from(all).unwrap().command;
    said(&command).map(|said| said.code)
}

fn error(host: &Host, line: &[&str]) -> TuneError {
    match tune(host, line) {
        Err(Failure::Tune(error)) => error,
        other => panic!("{line:?} ends with {other:?}"),
    }
}

/// Every file of a host but the lock, to the byte.
fn files(host: &Host) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if !path.ends_with("tune.lock") {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(host.root().folder(), &mut found);
    found
}

fn text(host: &Host, path: &str) -> String {
    std::fs::read_to_string(host.root().path(path)).unwrap()
}

fn planned(host: &Host) -> Vec<Change> {
    let facts = Facts::read(&host.root());
    let all = settings(&facts, None).into_iter();
    let examined: Vec<_> = all
        .map(|setting| (setting.clone(), state(&mut host.root(), &setting)))
        .collect();
    changes(&examined)
}

/// A host whose kernel behaves so at its nth write.
struct Kernel {
    root: Root,
    writes: usize,
    at: usize,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Refuses that one.
    Refuses,
    /// Takes it and keeps something else.
    Bends,
    /// The process is gone: nothing is read or written from then on.
    Dies,
}

impl Kernel {
    fn is_dead(&self) -> bool {
        self.fault == Fault::Dies && self.writes > self.at
    }
}

impl Values for Kernel {
    fn read(&mut self, path: &str) -> io::Result<String> {
        if self.is_dead() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.root.read(path)
    }

    fn write(&mut self, path: &str, form: Form, text: &str) -> io::Result<()> {
        let now = self.writes == self.at;
        self.writes += 1;
        match self.fault {
            Fault::Dies if self.is_dead() => Err(io::ErrorKind::BrokenPipe.into()),
            Fault::Refuses if now => Err(io::Error::from_raw_os_error(Errno::INVAL.raw_os_error())),
            Fault::Bends if now && form == Form::Plain => self.root.write(path, form, "77\n"),
            Fault::Bends if now => Ok(()),
            _ => self.root.write(path, form, text),
        }
    }
}

/// Applies on such a kernel.
fn apply_on(host: &Host, at: usize, fault: Fault) -> Result<(), TuneError> {
    let changes = planned(host);
    let root = host.root();
    let journal = Journal::lock(&root).unwrap();
    let mut kernel = Kernel {
        root,
        writes: 0,
        at,
        fault,
    };
    transaction::apply(&mut kernel, &journal, &changes)
}

#[test]
fn what_differs_is_planned_with_old_and_new_values() {
    let host = untuned();
    let planned: Vec<(String, String, String)> = planned(&host)
        .into_iter()
        .map(|change| (change.name, change.old, change.new))
        .collect();
    let row = |name: &str, old: &str, new: &str| (name.to_owned(), old.to_owned(), new.to_owned());
    let expected = [
        row("net.core.somaxconn", "128", "4096"),
        row("net.ipv4.tcp_rmem", "4096 131072 1048576", "4096 131072 4194304"),
        row("net.ipv4.tcp_allowed_congestion_control", "reno bbr", "reno bbr cubic"),
        row("vm.swappiness", "60", "1"),
        row("huge_pages", "always", "madvise"),
        row("governor.cpu1", "powersave", "performance"),
        row("governor.cpu2", "schedutil", "performance"),
    ];
    assert_eq!(planned, expected);
}

#[test]
fn apply_changes_what_was_planned_and_revert_leaves_every_file_as_it_was() {
    let host = untuned();
    let before = files(&host);
    assert_eq!(tune(&host, &["check"]).unwrap(), 9);
    assert_eq!(tune(&host, &["plan"]).unwrap(), 0);
    assert_eq!(tune(&host, &["apply", "--dry-run"]).unwrap(), 0);
    assert_eq!(files(&host), before, "looking changed something");

    assert_eq!(tune(&host, &["apply"]).unwrap(), 0);
    assert_eq!(text(&host, SOMAXCONN), "4096\n");
    assert_eq!(text(&host, RMEM), "4096 131072 4194304\n");
    assert_eq!(text(&host, THP), "always [madvise] never\n");
    assert_eq!(text(&host, GOVERNOR), "performance\n");
    assert_eq!(tune(&host, &["check"]).unwrap(), 0);
    assert_eq!(tune(&host, &["verify"]).unwrap(), 0);

    assert_eq!(tune(&host, &["revert", "--dry-run"]).unwrap(), 0);
    assert_eq!(text(&host, SOMAXCONN), "4096\n");
    assert_eq!(tune(&host, &["revert"]).unwrap(), 0);
    assert_eq!(files(&host), before);
    assert_eq!(tune(&host, &["revert"]).unwrap(), 0, "there is nothing to put back");
    assert!(matches!(error(&host, &["verify"]), TuneError::NoJournal));
}

#[test]
fn a_host_that_is_as_nodes_want_it_is_left_alone() {
    let host = Host::good();
    let before = files(&host);
    assert_eq!(tune(&host, &["check"]).unwrap(), 0);
    assert_eq!(tune(&host, &["apply"]).unwrap(), 0);
    assert_eq!(files(&host), before, "there is not even a journal");
}

#[test]
fn wherever_apply_dies_revert_leaves_every_file_as_it_was() {
    for at in 0..7 {
        let host = untuned();
        let before = files(&host);
        let died = apply_on(&host, at, Fault::Dies);
        assert!(matches!(died, Err(TuneError::PutBack { .. })), "{died:?}");
        let written = journal::read(&host.root()).unwrap().unwrap();
        assert!(!written.is_finished);
        assert_ne!(files(&host), before);
        assert_eq!(tune(&host, &["verify"]).unwrap(), 9);
        assert!(matches!(error(&host, &["apply"]), TuneError::Stands { .. }));
        assert_eq!(tune(&host, &["revert"]).unwrap(), 0);
        assert_eq!(files(&host), before, "dead at write {at}");
    }
}

#[test]
fn a_value_that_is_refused_or_bent_puts_all_of_them_back() {
    for fault in [Fault::Refuses, Fault::Bends] {
        for at in 0..7 {
            let host = untuned();
            let before = files(&host);
            let refused = apply_on(&host, at, fault);
            let name = &planned(&host)[at].name;
            let Err(TuneError::RolledBack { why }) = refused else {
                panic!("{refused:?}")
            };
            assert!(why.starts_with(&format!("{name}: ")), "{why}");
            assert_eq!(files(&host), before, "write {at}");
        }
    }
}

#[test]
fn a_value_that_changed_between_plan_and_write_is_left_to_whoever_changed_it() {
    let host = untuned();
    let changes = planned(&host);
    let host = host.with(GOVERNOR, "ondemand\n");
    let before = files(&host);
    let mut root = host.root();
    let journal = Journal::lock(&root).unwrap();
    let refused = transaction::apply(&mut root, &journal, &changes);
    assert!(matches!(refused, Err(TuneError::RolledBack { .. })), "{refused:?}");
    assert_eq!(files(&host), before);
}

#[test]
fn a_value_that_somebody_else_set_since_is_said_and_left_alone_without_force() {
    let host = untuned();
    let before = files(&host);
    tune(&host, &["apply"]).unwrap();
    let host = host.with(SOMAXCONN, "9999\n");
    assert_eq!(tune(&host, &["verify"]).unwrap(), 9);
    let TuneError::Changed { changed } = error(&host, &["revert"]) else {
        panic!("it was overwritten")
    };
    assert_eq!(
        changed,
        ["net.core.somaxconn: was `128`, `4096` was applied, now it is `9999`"]
    );
    assert_eq!(text(&host, SOMAXCONN), "9999\n");
    assert_eq!(text(&host, THP), "[always] madvise never\n", "the others are back");
    assert_eq!(tune(&host, &["revert", "--force"]).unwrap(), 0);
    assert_eq!(files(&host), before);
}

#[test]
fn a_value_that_somebody_took_back_already_is_as_before() {
    let host = untuned();
    let before = files(&host);
    tune(&host, &["apply"]).unwrap();
    let host = host.with(SOMAXCONN, "128\n");
    assert_eq!(tune(&host, &["revert"]).unwrap(), 0);
    assert_eq!(files(&host), before);
}

#[test]
fn a_value_whose_file_is_gone_is_given_up_by_force_alone() {
    let host = untuned();
    tune(&host, &["apply"]).unwrap();
    let host = host.without(GOVERNOR);
    let TuneError::PutBack { left } = error(&host, &["revert"]) else {
        panic!("nobody noticed")
    };
    assert!(left.len() == 1 && left[0].starts_with("governor.cpu1: "), "{left:?}");
    assert_eq!(text(&host, SOMAXCONN), "128\n", "the others are back");
    assert_eq!(tune(&host, &["revert", "--force"]).unwrap(), 0);
    assert!(journal::read(&host.root()).unwrap().is_none());
}

#[test]
fn a_torn_end_mark_is_no_end_mark_and_a_torn_change_no_journal() {
    let host = untuned();
    tune(&host, &["apply"]).unwrap();
    let path = journal::path(&host.root());
    let whole = std::fs::read_to_string(&path).unwrap();
    let changes_end = whole.len() - "{\"applied\":true}\n".len();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let read = journal::read(&host.root());
        if length < changes_end - 1 {
            assert!(
                matches!(read, Err(TuneError::JournalDamaged { .. })),
                "{length}: {read:?}"
            );
        } else {
            let written = read.unwrap().unwrap();
            // The last byte is the line's end alone.
            assert_eq!(written.is_finished, length == whole.len() - 1, "{length}");
            assert_eq!(written.changes.len(), 7);
        }
    }
    for other in [
        "{}\n",
        "{\"schema\":\"waterpark.tune_journal.9\",\"changes\":0}\n",
        "\u{0}\n",
    ] {
        std::fs::write(&path, other).unwrap();
        for line in [&["revert"][..], &["verify"], &["apply", "--without", "governor"]] {
            // Nothing of the plan differs any more but what was left out, or the journal is in the way.
            if tune(&host, &["check"]).unwrap() == 0 && line[0] == "apply" {
                continue;
            }
            assert!(
                matches!(error(&host, line), TuneError::JournalDamaged { .. }),
                "{line:?}"
            );
        }
    }
    assert_eq!(
        text(&host, SOMAXCONN),
        "4096\n",
        "a journal that is not understood changes nothing"
    );
}

#[test]
fn a_second_apply_does_not_lose_what_the_first_one_found() {
    let host = untuned();
    let before = files(&host);
    tune(&host, &["apply", "--without", "net", "--without", "governor.cpu2"]).unwrap();
    assert_eq!(text(&host, SOMAXCONN), "128\n");
    assert_eq!(text(&host, GOVERNOR), "performance\n");
    assert!(matches!(error(&host, &["apply"]), TuneError::Stands { .. }));
    tune(&host, &["revert"]).unwrap();
    assert_eq!(files(&host), before);
}

#[test]
fn after_a_restart_of_the_host_nothing_is_put_back_and_another_plan_is_applied() {
    let boot = "/proc/sys/kernel/random/boot_id";
    let host = untuned().with(boot, "a\n");
    tune(&host, &["apply"]).unwrap();
    let host = host.with(boot, "b\n").with(SOMAXCONN, "1024\n");
    assert_eq!(tune(&host, &["verify"]).unwrap(), 9);
    let before = files(&host);
    assert_eq!(tune(&host, &["revert"]).unwrap(), 0);
    let journal = journal::path(&host.root());
    assert!(!journal.exists());
    std::fs::write(&journal, &before[&journal]).unwrap();
    assert_eq!(files(&host), before, "a value was changed");

    tune(&host, &["apply"]).unwrap();
    assert_eq!(text(&host, SOMAXCONN), "4096\n");
    tune(&host, &["revert"]).unwrap();
    assert_eq!(text(&host, SOMAXCONN), "1024\n", "as it was before the second apply");
}

#[test]
fn one_tune_at_a_time_changes_a_host() {
    let host = untuned();
    let before = files(&host);
    let lock = Journal::lock(&host.root()).unwrap();
    assert!(matches!(error(&host, &["apply"]), TuneError::Busy { .. }));
    assert_eq!(files(&host), before);
    drop(lock);
    tune(&host, &["apply"]).unwrap();
}

#[test]
fn a_name_that_no_setting_has_is_refused() {
    let host = untuned();
    for name in ["net.cor", "huge", "governor.cpu9", ""] {
        let TuneError::UnknownName { names, .. } = error(&host, &["apply", "--without", name]) else {
            panic!("{name:?} is a name")
        };
        assert!(names.contains(&"huge_pages".to_owned()));
    }
}

#[test]
fn what_the_host_does_not_offer_is_said_and_the_rest_is_applied() {
    let host = untuned()
        .with(
            "/sys/devices/system/cpu/cpu1/cpufreq/scaling_available_governors",
            "powersave\n",
        )
        .without(SOMAXCONN);
    let changes = planned(&host);
    assert!(
        changes
            .iter()
            .all(|change| change.name != "governor.cpu1" && change.path != SOMAXCONN)
    );
    assert_eq!(changes.len(), 5);
    tune(&host, &["apply"]).unwrap();
    assert_eq!(text(&host, GOVERNOR), "powersave\n");
    assert_eq!(
        tune(&host, &["check"]).unwrap(),
        0,
        "what cannot be set does not differ"
    );
}

#[test]
fn interrupts_are_moved_off_the_cores_of_a_node() {
    let host = Host::good();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("cluster.toml");
    let options = waterpark::config::InitOptions {
        workers: 2,
        ..Default::default()
    };
    let plan = waterpark::config::plan(&options, &[7; waterpark::config::ENTROPY_BYTES]).unwrap();
    // One node of this host, so that its shards are pinned.
    let mut parts = plan.config_text().split("127.0.0.1");
    let mut text_of = parts.next().unwrap().replace("key_file", "# key_file");
    for (place, part) in (1..).zip(parts) {
        text_of += &format!("127.0.0.{place}{part}");
    }
    std::fs::write(&config, text_of).unwrap();
    let config = config.display().to_string();
    let node = ["--name", "FL-A-1", "--config", &config];
    let before = files(&host);
    assert_eq!(tune(&host, &[&["check"], &node[..]].concat()).unwrap(), 9);
    tune(&host, &[&["apply"], &node[..]].concat()).unwrap();
    assert_eq!(text(&host, "/proc/irq/40/smp_affinity_list"), "2-3\n");
    assert_eq!(text(&host, "/proc/irq/41/smp_affinity_list"), "2-3\n");
    tune(&host, &["revert"]).unwrap();
    assert_eq!(files(&host), before);
}

#[test]
fn what_the_exported_script_does_is_what_apply_does() {
    let (host, other) = (untuned(), untuned());
    let examined = |host: &Host| -> Vec<(Setting, State)> {
        let all = settings(&Facts::read(&host.root()), None).into_iter();
        all.map(|setting| (setting.clone(), state(&mut host.root(), &setting)))
            .collect()
    };
    let script = export::text(export::Target::Shell, &examined(&host));
    let here = script.replace(" > /", &format!(" > {}/", host.root().folder().display()));
    let ended = Process::new("sh").arg("-c").arg(here).status().unwrap();
    assert!(ended.success());
    tune(&other, &["apply"]).unwrap();
    for change in planned(&untuned()) {
        let value = |host: &Host| value_of(change.form, &text(host, &change.path));
        assert_eq!(value(&host), value(&other), "{}", change.name);
        assert_eq!(value(&host), change.new);
    }

    let host = untuned();
    let unit = export::text(export::Target::Systemd, &examined(&host));
    for line in unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart=/bin/sh -c '"))
    {
        let line = line.strip_suffix('\'').unwrap();
        let here = line.replace(" > /", &format!(" > {}/", host.root().folder().display()));
        assert!(Process::new("sh").arg("-c").arg(here).status().unwrap().success());
    }
    for change in planned(&untuned()) {
        let value = value_of(change.form, &text(&host, &change.path));
        assert_eq!(value, change.new, "{}", change.name);
    }
    assert!(unit.contains("\n[Service]\nType=oneshot\n") && unit.ends_with("WantedBy=multi-user.target\n"));
    let playbook = export::text(export::Target::Ansible, &examined(&untuned()));
    let content = playbook
        .split_once("content: |\n")
        .unwrap()
        .1
        .split_once("      notify:")
        .unwrap()
        .0;
    let content: Vec<&str> = content.lines().map(|line| line.trim_start_matches(' ')).collect();
    assert_eq!(content, unit.lines().collect::<Vec<_>>(), "the same unit");

    let good_as_it_is: Vec<_> = (examined(&untuned()).into_iter())
        .map(|(setting, _)| (setting, State::Good("power$(save)".to_owned())))
        .collect();
    let unit = export::text(export::Target::Systemd, &good_as_it_is);
    assert!(!unit.contains("ExecStart"), "no value is read as a command: {unit}");

    let sysctl = export::text(export::Target::Sysctl, &examined(&untuned()));
    for line in [
        "net.core.somaxconn = 4096",
        "net.ipv4.tcp_rmem = 4096 131072 4194304",
        "net.ipv4.tcp_wmem = 4096 16384 4194304",
        "vm.swappiness = 1",
        "# huge_pages is no sysctl: the other forms have it",
    ] {
        assert!(sysctl.lines().any(|found| found == line), "{line}: {sysctl}");
    }
}

#[test]
fn what_was_applied_is_measured_before_and_after_and_again_by_verify() {
    let host = untuned();
    let folder = host.root().folder().display().to_string();
    let object = |line: &[&str]| {
        let all = ["tune"].iter().chain(line).copied().chain(["--root", &folder]);
        said(&Line::try_parse_from(all).unwrap().command).unwrap().object
    };
    let applied = object(&["apply", "--measure", "100ms"]);
    for when in ["before", "after"] {
        assert_eq!(applied["measured"][when]["schema"], "waterpark.latency.1", "{when}");
    }
    let verified = object(&["verify"]);
    assert_eq!(verified["measured"], Value::Null, "only who asks waits");
    assert_eq!(
        verified["interrupts"],
        json!([{ "device": "eth0", "interrupts": 2, "cores": "0-1" }])
    );
    let measured = object(&["verify", "--measure", "100ms"]);
    assert!(measured["measured"]["hiccups"]["gap_ns"]["count"].as_u64().unwrap() > 0);

    let too_long = Line::try_parse_from(["tune", "verify", "--measure", "2h"]);
    let said = too_long.err().unwrap().to_string();
    assert!(said.contains("at least 100ms and at most 1h"), "{said}");
}
