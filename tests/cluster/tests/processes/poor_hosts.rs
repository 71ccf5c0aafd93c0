//! The demo and a node on hosts that give little: another user than root, little locked memory, no io_uring, few files, little memory.
//!
//! Limits are set by the shell that becomes the command, another user by `setpriv`, and a host without io_uring is played by a seccomp filter
//! that a few lines of Python put on before they become the command. **Invariant:** what is started either serves as it should or ends
//! within seconds with a code that says what to raise; and its folder for temporary files is as empty as before.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use waterpark_reactor::{DriverChoice, DriverConfig};

use crate::support::{Machine, binary};

const SECOND: Duration = Duration::from_secs(1);
/// The user whom nobody is.
const NOBODY: &str = "65534";
/// What most hosts let a user lock, in KiB.
const USUAL_LOCKED_KIB: u32 = 8_192;

/// Refuses `io_uring_setup` (425 on every architecture) with `EPERM`, as profiles of containers do, and becomes the command.
const WITHOUT_URING: &str = r#"
import ctypes, os, struct, sys
def step(code, jt, jf, k): return struct.pack("HBBI", code, jt, jf, k)
steps = [step(0x20, 0, 0, 0), step(0x15, 0, 1, 425), step(0x06, 0, 0, 0x00050001), step(0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(steps))
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
program = Program(len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
zero = ctypes.c_ulong(0)
assert libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) == 0
assert libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(program), zero, zero) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// A host that gives little. What is not named is as it is.
#[derive(Clone, Copy, Default)]
struct Poor {
    locked_kib: Option<u32>,
    files: Option<u32>,
    address_space_kib: Option<u32>,
    without_uring: bool,
}

/// The command where another user can run it, and a folder that this user may write to.
struct Place {
    folder: TempDir,
}

/// What became of a command.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
}

impl Place {
    fn new() -> Place {
        let folder = TempDir::new().expect("a temporary folder");
        let open = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it was just made");
        };
        open(folder.path(), 0o755);
        let command = folder.path().join("waterpark");
        std::fs::copy(binary(), &command).expect("the command can be copied");
        open(&command, 0o755);
        let own = folder.path().join("tmp");
        std::fs::create_dir(&own).expect("the folder is new");
        open(&own, 0o777);
        Place { folder }
    }

    /// Runs the command on such a host: as nobody, where this test may choose.
    fn run(&self, host: Poor, arguments: &[&str]) -> Ended {
        let mut limits = String::new();
        let of = [
            ("-l", host.locked_kib),
            ("-n", host.files),
            ("-v", host.address_space_kib),
        ];
        for (flag, limit) in of {
            if let Some(limit) = limit {
                write!(limits, "ulimit {flag} {limit} && ").expect("a string takes any text");
            }
        }
        let mut command = Command::new("sh");
        command.arg("-c").arg(limits + "exec \"$@\"").arg("sh");
        if host.without_uring {
            // As who runs the test: the other user may not reach this Python. A filter stays on whoever it becomes.
            command.args(["python3", "-c", WITHOUT_URING]);
        }
        if rustix::process::geteuid().is_root() {
            command.arg("setpriv");
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"]);
        }
        command.arg(self.folder.path().join("waterpark")).args(arguments);
        command.current_dir(self.folder.path());
        command.env("TMPDIR", self.folder.path().join("tmp"));
        let begun = Instant::now();
        // Another test's thread may start a process just while the copy is written; that one has it open until it runs its own program.
        let output = || command.output().expect("there is a shell");
        let outputs = std::iter::repeat_with(output).take(100);
        let is_busy = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("Text file busy");
        let mut ready = outputs.skip_while(|output| {
            let busy = is_busy(output);
            if busy {
                std::thread::sleep(SECOND / 50);
            }
            busy
        });
        let Output { status, stdout, stderr } = ready.next().expect("the copy is free after two seconds");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the command writes text");
        let ended = Ended {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
            took: begun.elapsed(),
        };
        println!(
            "{arguments:?} took {:?}: {:?}, {}",
            ended.took,
            ended.code,
            ended.stderr.trim()
        );
        let left = std::fs::read_dir(self.folder.path().join("tmp")).expect("the folder is there");
        assert_eq!(left.count(), 0, "{arguments:?} left files");
        ended
    }

    /// Three seconds of the demo, which must go through. Gives the driver, and what was said beside the object.
    fn demo(&self, host: Poor, driver: &str) -> (String, Ended) {
        let ended = self.run(host, &["demo", "--for", "3s", "--json", "--driver", driver]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let number = |name| ended.number(name);
        assert_eq!((number("nodes"), number("lost"), number("unknown")), (32, 0, 0));
        assert!(
            number("sent") > 0 && number("acked") == number("sent"),
            "{}",
            ended.stdout
        );
        (ended.text("driver"), ended)
    }
}

impl Ended {
    /// What follows a name of the object on stdout.
    fn after(&self, name: &str) -> &str {
        let (_, rest) = self
            .stdout
            .split_once(&format!("\"{name}\":"))
            .unwrap_or_else(|| panic!("no {name} in {}", self.stdout));
        rest
    }

    fn number(&self, name: &str) -> u64 {
        let rest = self.after(name);
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().expect("a whole number")
    }

    fn text(&self, name: &str) -> String {
        let rest = self.after(name).strip_prefix('"').expect("a text");
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    /// It ended by itself at once, with this code and a line that says what to do.
    fn assert_refused(&self, exit: i32, code: &str, says: &str) {
        assert_eq!(self.code, Some(exit), "{}", self.stderr);
        assert!(self.stderr.starts_with(&format!("error[{code}]: ")), "{}", self.stderr);
        assert!(self.stderr.contains(says), "{}", self.stderr);
        assert!(self.stderr.trim().lines().count() > 1, "{}", self.stderr);
        assert!(self.took < 5 * SECOND, "{:?}", self.took);
    }
}

/// Whether this host has io_uring; where not, epoll serves and nothing of a ring can be shown.
fn has_uring() -> bool {
    let opened = waterpark_reactor::open(DriverChoice::IoUring, &DriverConfig::default());
    if let Err(refusal) = &opened {
        eprintln!("skipped in part: {refusal}");
    }
    opened.is_ok()
}

fn has(command: &str) -> bool {
    let found = Command::new(command).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no {command}");
    }
    found
}

/// Root can become nobody, if there is `setpriv`; any other user is poor enough.
fn can_be_another() -> bool {
    !rustix::process::geteuid().is_root() || has("setpriv")
}

#[test]
fn another_user_with_the_usual_locked_memory_runs_the_demo_on_either_driver() {
    if !can_be_another() {
        return;
    }
    let _machine = Machine::take("another user", 90 * SECOND);
    let place = Place::new();
    let host = Poor {
        locked_kib: Some(USUAL_LOCKED_KIB),
        ..Poor::default()
    };
    let (driver, ended) = place.demo(host, "auto");
    if has_uring() {
        assert_eq!(driver, "io_uring", "{}", ended.stderr);
        assert!(!ended.stderr.contains("epoll"), "{}", ended.stderr);
    }
    let (driver, _) = place.demo(host, "epoll");
    assert_eq!(driver, "epoll");
}

#[test]
fn without_locked_memory_for_rings_epoll_serves_after_one_second_and_says_so() {
    if !can_be_another() || !has_uring() {
        return;
    }
    let _machine = Machine::take("little locked memory", 90 * SECOND);
    let place = Place::new();
    let host = Poor {
        locked_kib: Some(16),
        ..Poor::default()
    };
    let demanded = place.run(host, &["demo", "--for", "1s", "--json", "--driver", "io-uring"]);
    if demanded.code == Some(0) {
        eprintln!("skipped: this kernel does not count the memory of rings");
        return;
    }
    demanded.assert_refused(1, "WP-4103", "ulimit -l");
    assert!(demanded.took >= SECOND, "it was waited for: {:?}", demanded.took);
    let examined = place.run(host, &["doctor", "--json"]);
    assert_eq!(examined.code, Some(9), "{}", examined.stderr);
    assert!(
        examined.stdout.contains("not even the smallest ring"),
        "{}",
        examined.stdout
    );

    let (driver, ended) = place.demo(host, "auto");
    assert_eq!(driver, "epoll");
    let said = "32 nodes: driver epoll: no locked memory left for a ring (raise ulimit -l)";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    // Thirty-two nodes that each waited a second would be far beyond this.
    assert!(ended.took < 20 * SECOND, "{:?}", ended.took);
}

#[test]
fn where_locked_memory_is_short_a_ring_is_halved_and_those_without_one_are_on_epoll() {
    if !can_be_another() || !has_uring() {
        return;
    }
    let _machine = Machine::take("short locked memory", 60 * SECOND);
    // Ten pages: a ring of 256 entries takes eleven with its buffers, one of 128 seven, one of 64 five.
    let host = Poor {
        locked_kib: Some(40),
        ..Poor::default()
    };
    let (driver, ended) = Place::new().demo(host, "auto");
    if driver == "io_uring" && ended.stderr.is_empty() {
        eprintln!("skipped: this kernel does not count the memory of rings");
        return;
    }
    assert!(driver.contains("io_uring") && driver.contains("epoll"), "{driver}");
    assert!(ended.stderr.contains(" entries: raise "), "{}", ended.stderr);
    assert!(
        ended.stderr.contains(": driver epoll: no locked memory left"),
        "{}",
        ended.stderr
    );
    let of_rings = |line: &&str| line.contains(" entries: raise ") || line.contains(": driver epoll: ");
    let lines = ended.stderr.lines().filter(of_rings);
    let nodes = lines.filter_map(|line| line.split(' ').next()?.parse::<u32>().ok());
    assert_eq!(
        nodes.sum::<u32>(),
        32,
        "each node says one of the two: {}",
        ended.stderr
    );
}

#[test]
fn where_io_uring_is_forbidden_epoll_serves_and_says_why() {
    if !can_be_another() || !has("python3") {
        return;
    }
    let _machine = Machine::take("io_uring forbidden", 60 * SECOND);
    let place = Place::new();
    let host = Poor {
        locked_kib: Some(USUAL_LOCKED_KIB),
        without_uring: true,
        ..Poor::default()
    };
    let (driver, ended) = place.demo(host, "auto");
    assert_eq!(driver, "epoll");
    let said = "32 nodes: driver epoll: io_uring is forbidden here (kernel.io_uring_disabled or a seccomp profile)";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    let demanded = place.run(host, &["demo", "--for", "1s", "--json", "--driver", "io-uring"]);
    demanded.assert_refused(1, "WP-4101", "--driver epoll");
    let examined = place.run(host, &["doctor", "--json"]);
    assert_eq!(examined.code, Some(9), "{}", examined.stderr);
    assert!(examined.stdout.contains("\"code\":\"WP-9003\""), "{}", examined.stdout);
}

#[test]
fn too_few_files_for_the_sockets_of_the_demo_are_named_at_once() {
    if !can_be_another() {
        return;
    }
    let _machine = Machine::take("few files", 60 * SECOND);
    let place = Place::new();
    let host = |files| Poor {
        files: Some(files),
        ..Poor::default()
    };
    let refused = place.run(host(1_024), &["demo", "--for", "1s", "--json"]);
    refused.assert_refused(1, "WP-4004", "may open 1024 files, and 2048 are needed");
    assert!(refused.stderr.contains("ulimit -Hn"), "{}", refused.stderr);
}

#[test]
fn as_many_files_as_the_demo_asks_for_are_enough() {
    if !can_be_another() {
        return;
    }
    let _machine = Machine::take("enough files", 60 * SECOND);
    let host = Poor {
        files: Some(2_048),
        ..Poor::default()
    };
    for driver in ["auto", "epoll"] {
        Place::new().demo(host, driver);
    }
}

#[test]
fn a_node_that_cannot_open_its_ports_for_want_of_files_says_so() {
    if !can_be_another() {
        return;
    }
    let _machine = Machine::take("hardly any files", 60 * SECOND);
    let place = Place::new();
    let folder = place.folder.path().join("cluster");
    let made = Command::new(binary()).args(["init", "--folder"]).arg(&folder).output();
    assert!(made.expect("the command runs").status.success());
    let key = folder.join("cluster.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("it was just made");
    let config = folder.join("cluster.toml");
    let config = config.to_str().expect("a path of this test");
    let host = Poor {
        files: Some(5),
        ..Poor::default()
    };
    let refused = place.run(host, &["node", "--name", "FL-A-1", "--config", config]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("error[WP-4004]: "), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("this process may open 5 files"),
        "{}",
        refused.stderr
    );
    assert!(refused.took < 5 * SECOND, "{:?}", refused.took);
}

#[test]
fn too_little_memory_is_refused_by_name_whoever_refuses_it() {
    if !can_be_another() {
        return;
    }
    let _machine = Machine::take("little memory", 60 * SECOND);
    let place = Place::new();
    let rich = Poor::default();
    let asked = |memory: &'static str| ["demo", "--for", "1s", "--json", "--memory", memory];
    let little = place.run(rich, &asked("64MiB"));
    little.assert_refused(2, "WP-1702", "--memory is at least 256MiB");
    let more_than_there_is = place.run(rich, &asked("1000TiB"));
    more_than_there_is.assert_refused(1, "WP-4003", "lower --memory");
    let host = Poor {
        address_space_kib: Some(2_000_000),
        ..Poor::default()
    };
    let withheld = place.run(host, &asked("1GiB"));
    withheld.assert_refused(1, "WP-4001", "Cannot allocate memory");
}
