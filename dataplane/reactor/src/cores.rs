//! Which cores this process may use, which of them the operator wants, and pinning a thread to one.
//!
//! It does not know shards. **Invariant:** no thread is ever pinned outside the mask that the host allows (affinity and cgroup cpuset): the
//! refusal names what is allowed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A set of cores by their number in `/sys/devices/system/cpu`, ascending, without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores(Vec<u32>);

impl Cores {
    /// The cores, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a core is among them.
    #[must_use]
    pub fn contains(&self, core: u32) -> bool {
        self.0.binary_search(&core).is_ok()
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().copied().filter(|core| other.contains(*core)).collect())
    }
}

impl FromIterator<u32> for Cores {
    fn from_iter<I: IntoIterator<Item = u32>>(cores: I) -> Self {
        let mut cores: Vec<u32> = cores.into_iter().collect();
        cores.sort_unstable();
        cores.dedup();
        Self(cores)
    }
}

/// As the kernel and the operator write it: `0-3,6`.
impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
        let mut comma = "";
        while let Some(&first) = rest.first() {
            let run = rest
                .iter()
                .zip(first..)
                .take_while(|(core, expected)| **core == *expected)
                .count();
            match run {
                1 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{}", rest[run - 1])?,
            }
            comma = ",";
            rest = &rest[run..];
        }
        Ok(())
    }
}

/// Why a list of cores cannot be read. Nothing was changed; whoever wrote the configuration corrects it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoresError {
    /// A part that is neither a number nor a range.
    #[error("`{0}` is neither a core nor a range of cores; write `auto`, `2-31` or `0,2,4`")]
    Part(Box<str>),
    /// A range whose end lies before its beginning.
    #[error("the range `{0}` ends before it begins")]
    Backwards(Box<str>),
    /// A core number beyond what Linux can name.
    #[error("core {0} is beyond the {max} that Linux can name", max = CpuSet::MAX_CPU)]
    TooLarge(u32),
    /// A core that is named twice, which would put two shards on it.
    #[error("core {0} is named twice")]
    Twice(u32),
}

impl FromStr for Cores {
    type Err = CoresError;

    fn from_str(text: &str) -> Result<Self, CoresError> {
        let part_error = |part: &str| CoresError::Part(part.into());
        let number = |text: &str, part: &str| {
            // `u32::from_str` takes a sign, the grammar does not.
            if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(part_error(part));
            }
            let core: u32 = text.parse().map_err(|_| part_error(part))?;
            if core as usize >= CpuSet::MAX_CPU {
                Err(CoresError::TooLarge(core))
            } else {
                Ok(core)
            }
        };
        let mut cores = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first, part)?, number(last, part)?);
            if last < first {
                return Err(CoresError::Backwards(part.into()));
            }
            cores.extend(first..=last);
        }
        cores.sort_unstable();
        match cores.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(CoresError::Twice(pair[0])),
            None => Ok(Self(cores)),
        }
    }
}

/// The `workers` of a node: which cores get a shard each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// Every core that the host allows.
    #[default]
    Auto,
    /// These, in ascending order: shard 0 on the first.
    Listed(Cores),
}

impl FromStr for Workers {
    type Err = CoresError;

    fn from_str(text: &str) -> Result<Self, CoresError> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            list => list.parse().map(Self::Listed),
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Listed(cores) => cores.fmt(f),
        }
    }
}

impl Workers {
    /// The cores of the shards, in the order of the shards.
    ///
    /// # Errors
    /// [`PinError::NotAllowed`] for the first core that the host does not allow.
    pub fn resolve(&self, allowed: &Cores) -> Result<Cores, PinError> {
        match self {
            Self::Auto => Ok(allowed.clone()),
            Self::Listed(cores) => match cores.0.iter().find(|core| !allowed.contains(**core)) {
                Some(&core) => Err(PinError::NotAllowed {
                    core,
                    allowed: allowed.clone(),
                }),
                None => Ok(cores.clone()),
            },
        }
    }
}

/// Why a thread was not pinned. It runs where it ran before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The core is outside the affinity mask or the cgroup's cpuset, or does not exist. The operator chooses among the allowed ones.
    #[error("core {core} is not allowed here; allowed are {allowed}")]
    NotAllowed {
        /// The core that was asked for.
        core: u32,
        /// What could have been asked for.
        allowed: Cores,
    },
    /// The kernel refused all the same; the host's policy is to be looked at.
    #[error("the kernel refused to pin to core {core} (errno {errno})")]
    Kernel {
        /// The core that was asked for.
        core: u32,
        /// What the kernel said.
        errno: i32,
    },
}

/// The cores that the calling thread may use: its affinity mask, less what the cgroup's cpuset leaves out.
///
/// To be called before the first [`pin`]: afterwards the mask is the one core.
///
/// # Errors
/// When the kernel does not tell the mask, which it always does unless a seccomp profile forbids it.
pub fn allowed() -> std::io::Result<Cores> {
    let mask = sched_getaffinity(None)?;
    let by_mask: Cores = (0u32..)
        .take(CpuSet::MAX_CPU)
        .filter(|core| mask.is_set(*core as usize))
        .collect();
    Ok(within(by_mask, cpuset_of_cgroup(Path::new("/"))))
}

/// What is left of an affinity mask in a cpuset.
#[must_use]
pub fn within(by_mask: Cores, cpuset: Option<Cores>) -> Cores {
    // The kernel keeps masks within the cpuset; the file matters where the cpuset shrank and the mask was read stale. If the two
    // have nothing in common, the file is not about this process.
    let both = cpuset.map(|cpuset| by_mask.and(&cpuset));
    both.filter(|cores| !cores.is_empty()).unwrap_or(by_mask)
}

/// The effective cpuset of this process's cgroup, version 2 or 1, as the files below `root` tell it. `None` where there is none, or it cannot
/// be read.
#[must_use]
pub fn cpuset_of_cgroup(root: &Path) -> Option<Cores> {
    let membership = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    cgroup_folders(&membership, "cpuset").find_map(|folder| {
        let file = match folder.version {
            CgroupVersion::One => "cpuset.effective_cpus",
            CgroupVersion::Two => "cpuset.cpus.effective",
        };
        let file = root.join(folder.path).join(file);
        fs::read_to_string(file).ok()?.trim().parse().ok()
    })
}

/// Which files a cgroup has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// A hierarchy for some controllers.
    One,
    /// The one for all of them.
    Two,
}

/// Where a controller keeps the files of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupFolder {
    /// Which files.
    pub version: CgroupVersion,
    /// Relative to the root of the file system.
    pub path: PathBuf,
}

/// Where a controller's files are for a process with this `/proc/self/cgroup`, in its order.
pub fn cgroup_folders<'a>(membership: &'a str, controller: &'a str) -> impl Iterator<Item = CgroupFolder> + 'a {
    membership.lines().filter_map(move |line| {
        let mut fields = line.splitn(3, ':');
        let (_hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let path = path.trim_end_matches('/');
        let (version, path) = match controllers {
            "" => (CgroupVersion::Two, format!("sys/fs/cgroup{path}")),
            list if list.split(',').any(|found| found == controller) => {
                (CgroupVersion::One, format!("sys/fs/cgroup/{controller}{path}"))
            }
            _ => return None,
        };
        Some(CgroupFolder {
            version,
            path: path.into(),
        })
    })
}

/// Pins the calling thread to one core.
///
/// # Errors
/// [`PinError`]; the thread runs where it ran before.
pub fn pin(core: u32, allowed: &Cores) -> Result<(), PinError> {
    if !allowed.contains(core) {
        return Err(PinError::NotAllowed {
            core,
            allowed: allowed.clone(),
        });
    }
    let mut mask = CpuSet::new();
    mask.set(core as usize);
    sched_setaffinity(None, &mask).map_err(|error| PinError::Kernel {
        core,
        errno: error.raw_os_error(),
    })
}

/// Whether more shards want to run than there are cores for them: then spinning takes the core from whoever has work.
#[must_use]
pub fn runnable_shards_exceed_cores(shards_on_host: usize, cores: &Cores) -> bool {
    shards_on_host > cores.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(text: &str) -> Cores {
        text.parse().unwrap()
    }

    #[test]
    fn workers_are_auto_ranges_or_lists() {
        assert_eq!("auto".parse(), Ok(Workers::Auto));
        for (text, expected) in [
            ("2-5", &[2, 3, 4, 5][..]),
            ("0,2,4", &[0, 2, 4]),
            ("7", &[7]),
            ("4, 0-1", &[0, 1, 4]),
        ] {
            let Workers::Listed(cores) = text.parse().unwrap() else {
                panic!("{text} is a list")
            };
            assert_eq!(cores.as_slice(), expected, "{text}");
        }
        for text in ["0-3,6", "1", "0,2,4", "2-31"] {
            assert_eq!(text.parse::<Workers>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_list_of_cores_is_refused_by_name() {
        for text in ["", "a", "1-", "-1", "1--2", "+1", "1,,2", "all", "99999999999"] {
            assert!(matches!(text.parse::<Workers>(), Err(CoresError::Part(_))), "{text}");
        }
        assert_eq!("5-2".parse::<Cores>(), Err(CoresError::Backwards("5-2".into())));
        assert_eq!("0-2,2".parse::<Cores>(), Err(CoresError::Twice(2)));
        assert_eq!("4096".parse::<Cores>(), Err(CoresError::TooLarge(4096)));
        assert_eq!("0-4294967295".parse::<Cores>(), Err(CoresError::TooLarge(u32::MAX)));
    }

    #[test]
    fn a_core_outside_the_mask_is_refused_with_what_is_allowed() {
        let allowed = cores("1,3-4");
        assert_eq!(Workers::Auto.resolve(&allowed), Ok(allowed.clone()));
        assert_eq!(Workers::Listed(cores("3-4")).resolve(&allowed), Ok(cores("3-4")));
        let refused = Workers::Listed(cores("3-5")).resolve(&allowed).unwrap_err();
        assert_eq!(refused.to_string(), "core 5 is not allowed here; allowed are 1,3-4");
        assert_eq!(pin(5, &allowed), Err(refused));
    }

    #[test]
    fn a_pinned_thread_has_a_mask_of_one_core_and_others_keep_theirs() {
        let before = allowed().unwrap();
        assert!(!before.is_empty());
        let chosen = *before.as_slice().last().unwrap();
        let pinned = std::thread::spawn({
            let before = before.clone();
            move || {
                pin(chosen, &before).unwrap();
                allowed().unwrap()
            }
        });
        assert_eq!(pinned.join().unwrap().as_slice(), [chosen]);
        assert_eq!(allowed().unwrap(), before);
    }

    #[test]
    fn cgroups_of_both_versions_have_their_folders() {
        let hybrid = "5:devices:/\n3:cpu,cpuset:/box/a\n0::/box/b\n";
        let folders: Vec<_> = cgroup_folders(hybrid, "cpuset").collect();
        let folder = |version, path: &str| CgroupFolder {
            version,
            path: path.into(),
        };
        let expected = [
            folder(CgroupVersion::One, "sys/fs/cgroup/cpuset/box/a"),
            folder(CgroupVersion::Two, "sys/fs/cgroup/box/b"),
        ];
        assert_eq!(folders, expected);
        let only = cgroup_folders("0::/\n", "cpuset").next();
        assert_eq!(only, Some(folder(CgroupVersion::Two, "sys/fs/cgroup")));
    }

    #[test]
    fn a_cpuset_narrows_a_mask_unless_it_is_another_process_s() {
        assert_eq!(within(cores("0-3"), Some(cores("2-9"))), cores("2-3"));
        assert_eq!(within(cores("0-3"), Some(cores("8-9"))), cores("0-3"));
        assert_eq!(within(cores("0-3"), None), cores("0-3"));
    }

    #[test]
    fn more_shards_than_cores_is_one_too_many() {
        assert!(!runnable_shards_exceed_cores(2, &cores("0-1")));
        assert!(runnable_shards_exceed_cores(3, &cores("0-1")));
    }
}
