//! A peer's processes on loopback: started, asked for their CPU time, ended.
//!
//! Each is started through this program (`bench with-parent`), so that the kernel ends it when this process is gone in whatever way.
//! **Invariant:** when they are dropped, none of them and of what they started themselves is left, and their folder is gone. No other process is
//! ever touched.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use waterpark_bench::cluster::{Member, cpu_ns_of, free_ports};
use waterpark_control::PORTS_PER_NODE;

use crate::error::PeerError;

/// Servers of each peer: one for each copy.
pub(crate) const SERVERS: usize = 5;
/// How long a server may take until it serves.
pub(crate) const READY_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to end when asked.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What is needed to start servers.
#[derive(Clone, Copy)]
pub(crate) struct Start<'a> {
    /// This program.
    pub(crate) binary: &'a Path,
    /// Whether to go on.
    pub(crate) go_on: &'a dyn Fn() -> bool,
}

/// Processes that run.
#[derive(Debug)]
pub(crate) struct Servers {
    members: Vec<Member>,
    binary: PathBuf,
    folder: TempDir,
    base_port: u16,
    /// What asks one of them to end. Those that have nothing to give back are killed.
    ends_by: Signal,
    user: Option<(u32, u32)>,
}

impl Servers {
    /// A folder and ports, and no process yet.
    pub(crate) fn new(start: &Start<'_>, ends_by: Signal) -> Result<Servers, PeerError> {
        let folder = TempDir::with_prefix("waterpark-peer-").map_err(PeerError::Folder)?;
        let base_port = free_ports(SERVERS, 1).ok_or(PeerError::Ports)?;
        Ok(Servers {
            members: Vec::new(),
            binary: start.binary.to_owned(),
            folder,
            base_port,
            ends_by,
            user: None,
        })
    }

    /// Makes all further processes this user's, and the folder too.
    pub(crate) fn run_as(&mut self, (user, group): (u32, u32)) -> Result<(), PeerError> {
        std::os::unix::fs::chown(self.folder.path(), Some(user), Some(group)).map_err(PeerError::Folder)?;
        self.user = Some((user, group));
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// One of three ports of a server: `kind` is 0, 1 or 2.
    pub(crate) fn port(&self, server: usize, kind: u16) -> u16 {
        let server = u16::try_from(server).expect("servers are few");
        self.base_port + PORTS_PER_NODE * server + 64 * kind
    }

    pub(crate) fn address(&self, server: usize, kind: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port(server, kind)))
    }

    /// A program that is started through this one, with its words going to a file.
    fn command(&self, program: &Path, name: &str) -> Result<(Command, PathBuf), PeerError> {
        let log = self.folder.path().join(format!("{name}.log"));
        let open = || File::options().create(true).append(true).open(&log);
        let mut command = Command::new(&self.binary);
        command
            .args([OsStr::new("bench"), OsStr::new("with-parent"), program.as_os_str()])
            .current_dir(self.folder.path())
            // Ctrl-C is for whoever started them: it ends them in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(open().map_err(PeerError::Folder)?)
            .stderr(open().map_err(PeerError::Folder)?);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        Ok((command, log))
    }

    /// Starts a server. `arguments` gives its command what it is told.
    pub(crate) fn spawn(
        &mut self,
        program: &Path,
        name: &str,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<(), PeerError> {
        let (mut command, log) = self.command(program, name)?;
        arguments(&mut command);
        let child = command.spawn().map_err(|cause| PeerError::Spawn {
            program: program.display().to_string(),
            cause,
        })?;
        self.members.push(Member::new(name.to_owned(), child, log));
        Ok(())
    }

    /// Runs a program that is to end by itself, and well.
    pub(crate) fn carry_out(
        &mut self,
        program: &Path,
        name: &str,
        arguments: impl FnOnce(&mut Command),
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), PeerError> {
        self.spawn(program, name, arguments)?;
        let mut member = self.members.pop().expect("it was just started");
        let until = Instant::now() + READY_MAX;
        loop {
            match member.wait(Instant::now() + Duration::from_millis(20)) {
                Ok(Some(0)) => return Ok(()),
                Err(_) if Instant::now() < until && go_on() => (),
                ended => {
                    let said = member.log_end();
                    if ended.is_err() {
                        self.members.push(member);
                        self.end();
                    }
                    if !go_on() {
                        return Err(PeerError::Interrupted);
                    }
                    return Err(PeerError::NotReady {
                        server: name.to_owned(),
                        said,
                    });
                }
            }
        }
    }

    /// Asks until the answer is there. A server that has ended meanwhile, or is too slow, is named by its place.
    pub(crate) fn until<T>(
        &mut self,
        server: usize,
        go_on: &dyn Fn() -> bool,
        mut ask: impl FnMut(&Servers) -> Result<Option<T>, PeerError>,
    ) -> Result<T, PeerError> {
        let until = Instant::now() + READY_MAX;
        loop {
            if !go_on() {
                return Err(PeerError::Interrupted);
            }
            let answer = ask(self);
            if let Ok(Some(answer)) = answer {
                return Ok(answer);
            }
            let ended = self.members.iter_mut().position(Member::has_ended);
            let slow = (Instant::now() >= until).then_some(server);
            if let Some(server) = ended.or(slow) {
                return Err(match answer {
                    Err(error @ PeerError::Answer { .. }) if ended.is_none() => error,
                    _ => PeerError::NotReady {
                        server: self.members[server].name.clone(),
                        said: self.members[server].log_end(),
                    },
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// CPU time of all of them and of what they started, as far as it runs, in ns.
    pub(crate) fn cpu_ns(&self) -> u64 {
        self.tree().into_iter().map(cpu_ns_of).sum()
    }

    /// All of them, and whatever they started.
    fn tree(&self) -> Vec<u32> {
        let own = self.members.iter().map(Member::pid).collect();
        descendants(own, &parents())
    }

    fn end(&mut self) {
        let tree = self.tree();
        let until = Instant::now() + STOP_MAX;
        for member in &self.members {
            // One that is gone needs no signal.
            drop(member.signal(self.ends_by));
        }
        for member in &mut self.members {
            if member.wait(until).is_err() {
                drop(member.signal(Signal::KILL));
                drop(member.wait(until + STOP_MAX));
            }
        }
        let own: Vec<u32> = self.members.iter().map(Member::pid).collect();
        let rest: Vec<u32> = tree.into_iter().filter(|pid| !own.contains(pid)).collect();
        while rest.iter().any(|pid| is_there(*pid)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        for pid in rest.into_iter().filter(|pid| is_there(*pid)) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have ended since.
                kill_process(pid, Signal::KILL).ok();
            }
        }
        self.members.clear();
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether a process is there that has not ended.
fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The parent of each process of this machine.
fn parents() -> BTreeMap<u32, u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    let ids = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let with_parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name in parentheses stand the state and the parent.
        let (_, fields) = stat.rsplit_once(')')?;
        Some((pid, fields.split_ascii_whitespace().nth(1)?.parse().ok()?))
    };
    ids.filter_map(with_parent).collect()
}

/// These processes, and all whose ancestors they are.
fn descendants(own: Vec<u32>, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found = own;
    let mut at = 0;
    while at < found.len() {
        let of = found[at];
        let children = parents.iter().filter(|(_, parent)| **parent == of);
        let children: Vec<u32> = children
            .map(|(child, _)| *child)
            .filter(|child| !found.contains(child))
            .collect();
        found.extend(children);
        at += 1;
    }
    found
}

/// Where a program lies: in `PATH`, or in a folder where distributions put what is not to be typed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.flatten().map(|entry| entry.path().join("bin"));
    let further = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(further)
        .chain(versions)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The numbers of a user and of its group; `None` if there is none of this name.
pub(crate) fn user(name: &str) -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

/// A connection for questions, which are answered soon or never.
pub(crate) fn dial(address: SocketAddr) -> Result<TcpStream, PeerError> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_children_started_belongs_to_their_parents_and_nothing_else_does() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 2), (5, 4), (6, 1), (7, 6)]);
        assert_eq!(descendants(vec![2], &parents), [2, 3, 4, 5]);
        assert_eq!(descendants(vec![3, 6], &parents), [3, 6, 7]);
        assert_eq!(parents.len(), 6);
        let own = std::process::id();
        assert!(super::parents().contains_key(&own) && is_there(own));
    }

    #[test]
    fn a_program_that_is_not_installed_is_not_found() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-of-a-peer"), None);
        assert_eq!(user("root"), Some((0, 0)));
        assert_eq!(user("no-such-user"), None);
    }
}
