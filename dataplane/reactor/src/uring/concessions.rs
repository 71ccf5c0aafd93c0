//! What is given up, and in which order, where the kernel refuses a ring: flags, then entries, then a second of time.
//!
//! Knows no kernel: it is told what was refused and says what to ask for next. **Invariant:** every answer asks for less than the one
//! before, or waits, and the waits of a process end; so a driver opens or is refused.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::driver::{SetupNote, UringRefusal};

/// Below this a ring is not worth having.
pub(super) const ENTRIES_MIN: u32 = 64;
/// Ring memory of a process that has just ended is given back late; this long is waited for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often is tried meanwhile.
const PAUSE: Duration = Duration::from_millis(20);
/// Who waited in vain waits again only after this: a process with many shards waits once, not once for each.
const VAIN_FOR: Duration = Duration::from_secs(10);

/// When this process waited its patience out in vain. The limit of locked memory is the user's, so it is the same for all its shards.
static VAIN: Mutex<Option<Instant>> = Mutex::new(None);

/// The flag words to try, best first, with their names for the banner.
const LADDER: [(Flags, &str); 3] = [
    (Flags::Deferred, "SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG"),
    (Flags::Cooperative, "COOP_TASKRUN | TASKRUN_FLAG"),
    (Flags::Plain, "no flags"),
];

/// How completions are worked off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flags {
    /// Completions are worked off only when this thread enters: no interrupts of the shard, and batches (Linux 6.1).
    Deferred,
    /// Completions are worked off at the next transition into the kernel (5.19).
    Cooperative,
    Plain,
}

/// What the kernel refused while a ring was set up.
#[derive(Debug)]
pub(super) enum Refused {
    /// The ring itself.
    Ring(io::Error),
    /// A ring of receive buffers, whose memory counts with the ring's.
    Buffers(io::Error),
    /// Something that less would not mend.
    Final(UringRefusal),
}

/// What is asked for now, and what was given up so far.
#[derive(Debug)]
pub(super) struct Concessions {
    wanted: u32,
    entries: u32,
    rung: usize,
    /// What the kernel said to the better flags.
    flags_refused: Option<io::Error>,
}

impl Concessions {
    /// At first everything is asked for. `entries` is brought to a power of two that a ring can have.
    pub(super) fn new(entries: u32) -> Concessions {
        let wanted = entries.clamp(ENTRIES_MIN, 32_768).next_power_of_two();
        Concessions {
            wanted,
            entries: wanted,
            rung: 0,
            flags_refused: None,
        }
    }

    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    pub(super) fn flags(&self) -> Flags {
        LADDER[self.rung].0
    }

    /// What follows a refusal: how long to pause before what is asked for now is tried. `patience` is what is left of the time to wait.
    ///
    /// # Errors
    /// The refusal, when there is nothing left to give up.
    pub(super) fn after(&mut self, refused: Refused, patience: Duration) -> Result<Duration, UringRefusal> {
        let (error, is_ring) = match refused {
            Refused::Ring(error) => (error, true),
            Refused::Buffers(error) => (error, false),
            Refused::Final(refusal) => return Err(refusal),
        };
        match error.raw_os_error() {
            Some(libc::ENOMEM) if self.entries > ENTRIES_MIN => {
                self.entries /= 2;
                // The kernel gives back what it had already set aside for the larger ring, but in the background, and a moment later.
                Ok(PAUSE.min(patience))
            }
            Some(libc::ENOMEM) if patience > Duration::ZERO => {
                // Perhaps another process's ring is just being torn down. Its memory would allow the full size again.
                self.entries = self.wanted;
                Ok(PAUSE.min(patience))
            }
            Some(libc::ENOMEM) => Err(UringRefusal::LockedMemory(error)),
            _ if !is_ring => Err(UringRefusal::Unsupported {
                feature: "provided buffer rings",
                error,
            }),
            Some(libc::EINVAL) if self.rung + 1 < LADDER.len() => {
                self.rung += 1;
                self.flags_refused = Some(error);
                Ok(Duration::ZERO)
            }
            Some(libc::EPERM | libc::EACCES) => Err(UringRefusal::Forbidden(error)),
            Some(libc::ENOSYS | libc::EINVAL) => Err(UringRefusal::Unsupported {
                feature: "io_uring itself",
                error,
            }),
            _ => Err(UringRefusal::Resources(error)),
        }
    }

    /// What the banner says of the ring that was opened.
    pub(super) fn notes(self, notes: &mut Vec<SetupNote>) {
        if let Some(error) = self.flags_refused {
            let kept = LADDER[self.rung].1;
            notes.push(SetupNote::FlagsRefused { kept, error });
        }
        if self.entries < self.wanted {
            let entries = self.entries;
            notes.push(SetupNote::RingHalved { entries });
        }
    }
}

/// Opens with ever less until `open` succeeds, and waits for memory at most as long as this process has patience left.
///
/// # Errors
/// When there is nothing left to give up.
pub(super) fn conceding<T>(
    entries: u32,
    notes: &mut Vec<SetupNote>,
    mut open: impl FnMut(&Concessions) -> Result<T, Refused>,
) -> Result<T, UringRefusal> {
    let begun = Instant::now();
    let whole = patience(begun);
    let mut concessions = Concessions::new(entries);
    loop {
        let refused = match open(&concessions) {
            Ok(opened) => {
                concessions.notes(notes);
                return Ok(opened);
            }
            Err(refused) => refused,
        };
        match concessions.after(refused, whole.saturating_sub(begun.elapsed())) {
            Ok(pause) if pause.is_zero() => {}
            Ok(pause) => std::thread::sleep(pause),
            Err(refusal) => {
                if matches!(refusal, UringRefusal::LockedMemory(_)) && !whole.is_zero() {
                    *vain() = Some(Instant::now());
                }
                return Err(refusal);
            }
        }
    }
}

/// How long to wait for memory: not at all where this process has lately done so in vain.
fn patience(now: Instant) -> Duration {
    let lately = vain().is_some_and(|vain| now.saturating_duration_since(vain) < VAIN_FOR);
    if lately { Duration::ZERO } else { PATIENCE }
}

fn vain() -> std::sync::MutexGuard<'static, Option<Instant>> {
    // An instant is whole, whoever panicked beside it.
    VAIN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: libc::c_int) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    /// Asks with `wanted` entries of a kernel that has room for so many, and refuses buffers of larger rings than those.
    fn asked(wanted: u32, ring_room: u32, buffer_room: u32, patience: Duration) -> (Vec<u32>, Option<UringRefusal>) {
        let mut concessions = Concessions::new(wanted);
        let mut asked = Vec::new();
        let mut left = patience;
        loop {
            let entries = concessions.entries();
            asked.push(entries);
            let refused = if entries > ring_room {
                Refused::Ring(error(libc::ENOMEM))
            } else if entries > buffer_room {
                Refused::Buffers(error(libc::ENOMEM))
            } else {
                return (asked, None);
            };
            match concessions.after(refused, left) {
                Ok(pause) => left -= pause,
                Err(refusal) => return (asked, Some(refusal)),
            }
        }
    }

    #[test]
    fn a_ring_is_halved_down_to_the_least_before_anything_is_waited_for() {
        let (asked, refusal) = asked(1_000, 64, 64, Duration::ZERO);
        assert_eq!(asked, [1_024, 512, 256, 128, 64]);
        assert!(refusal.is_none());
    }

    #[test]
    fn memory_that_is_short_for_the_buffers_halves_the_ring_too() {
        let (asked, refusal) = asked(512, 256, 128, Duration::ZERO);
        assert_eq!(asked, [512, 256, 128]);
        assert!(refusal.is_none());
    }

    #[test]
    fn a_ring_that_was_too_large_is_given_time_to_go_before_a_smaller_one_is_tried() {
        for refused in [Refused::Ring, Refused::Buffers] {
            let pause = Concessions::new(256).after(refused(error(libc::ENOMEM)), Duration::from_secs(1));
            assert!(matches!(pause, Ok(PAUSE)), "{pause:?}");
        }
    }

    #[test]
    fn what_never_fits_is_refused_when_the_patience_is_out_and_not_before() {
        let (asked, refusal) = asked(256, 0, 0, Duration::from_millis(50));
        assert!(matches!(refusal, Some(UringRefusal::LockedMemory(_))));
        // Pauses of 20, 20 and 10 ms; the whole size is tried again after the third.
        assert_eq!(asked, [256, 128, 64].repeat(2));
    }

    #[test]
    fn each_refusal_that_less_does_not_mend_has_its_name() {
        let of = |refused| Concessions::new(64).after(refused, Duration::ZERO);
        let forbidden = of(Refused::Ring(error(libc::EPERM)));
        assert!(matches!(forbidden, Err(UringRefusal::Forbidden(_))));
        let none = of(Refused::Ring(error(libc::ENOSYS)));
        assert!(matches!(none, Err(UringRefusal::Unsupported { .. })));
        let descriptors = of(Refused::Ring(error(libc::EMFILE)));
        assert!(matches!(descriptors, Err(UringRefusal::Resources(_))));
        let buffers = of(Refused::Buffers(error(libc::EINVAL)));
        assert!(
            matches!(buffers, Err(UringRefusal::Unsupported { feature, .. }) if feature == "provided buffer rings")
        );
    }

    #[test]
    fn flags_are_given_up_one_rung_at_a_time_and_the_banner_says_so() {
        let mut concessions = Concessions::new(256);
        for flags in [Flags::Deferred, Flags::Cooperative] {
            assert_eq!(concessions.flags(), flags);
            let pause = concessions.after(Refused::Ring(error(libc::EINVAL)), Duration::ZERO);
            assert!(pause.is_ok_and(|pause| pause.is_zero()));
        }
        assert_eq!(concessions.flags(), Flags::Plain);
        let halved = concessions.after(Refused::Ring(error(libc::ENOMEM)), Duration::ZERO);
        assert!(halved.is_ok());
        let mut notes = Vec::new();
        concessions.notes(&mut notes);
        assert!(matches!(
            notes[..],
            [
                SetupNote::FlagsRefused { kept: "no flags", .. },
                SetupNote::RingHalved { entries: 128 }
            ]
        ));
    }

    #[test]
    fn a_process_waits_once_for_memory_that_does_not_come() {
        let mut refused = |_: &Concessions| Err::<(), _>(Refused::Ring(error(libc::ENOMEM)));
        let took = |open: &mut dyn FnMut(&Concessions) -> Result<(), Refused>| {
            let begun = Instant::now();
            let opened = conceding(256, &mut Vec::new(), open);
            assert!(matches!(opened, Err(UringRefusal::LockedMemory(_))));
            begun.elapsed()
        };
        let first = took(&mut refused);
        assert!(first >= PATIENCE && first < PATIENCE * 3, "{first:?}");
        let second = took(&mut refused);
        assert!(second < PATIENCE / 2, "{second:?}");
    }
}
