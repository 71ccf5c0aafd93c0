//! Phi-accrual for one peer: how surprising its silence is, and whether it is suspected (Hayashibara et al., 2004).
//!
//! The estimate is a normal distribution of the gaps between frames, moved out by the longest pause that is remembered: a peer that stood
//! still for 400 ms a minute ago may do so again. The expected heartbeat is the first estimate and stays the least one, since a link
//! under load may come to rest at any moment. Frames are sampled, one gap for a quarter of a heartbeat and the longest in it: a burst
//! would otherwise teach that silence lasts microseconds.
//!
//! What it deliberately does not know: sockets, incarnations, other nodes. It asks no clock, and it counts only lived time.
//!
//! **Invariant:** whether the peer is suspected depends on when it was heard and on the question's instant, never on how often the
//! question was asked. A silence of [`SILENCE_MAX`] heartbeats is always suspected, one of less than six never.
//!
//! ```text
//!  silence   0 ──── mean (≥ 1) ──── + longest pause (3 to 6) ──── + 5.6 deviations (≥ ½) ──────── 12 heartbeats
//!            heard                                                phi = 8: suspected              suspected in any case
//! ```

use super::gaps::{GAP_US_MAX, Gaps};
use super::lived::Lived;
use super::tail::{self, PHI_MAX};

/// The phi at which a peer is suspected: such a silence is one gap in a hundred million.
pub const PHI_SUSPECTED: f64 = 8.0;
/// The same in thousandths of a standard deviation: what is decided is decided in whole numbers.
const DEVIATIONS_SUSPECTED_MILLI: u64 = 5_612;
/// Heartbeats of silence that are suspicion whatever was learned: a peer that often pauses longer is of no use.
pub const SILENCE_MAX: u64 = 12;
/// Heartbeats of pause that are granted to a peer that never paused, and at most.
const PAUSE: core::ops::RangeInclusive<u64> = 3..=6;
/// Heartbeats for which a suspected peer has to be heard, with no gap longer than that, until it is trusted again.
pub const STEADY: u64 = 3;
/// How often that is doubled at most for a peer that was suspected again and again.
const DOUBLINGS_MAX: u32 = 3;
/// Heartbeats after which an earlier suspicion is forgiven.
const FORGIVEN_AFTER: u64 = 600;
/// Samples per heartbeat at most.
const SAMPLES_PER_HEARTBEAT: u64 = 4;
/// The longest heartbeat that a detector works with.
pub const HEARTBEAT_NS_MAX: u64 = GAP_US_MAX as u64 / *PAUSE.end() * NS_PER_US;
/// The shortest: below it the threads of a busy host are not on time.
pub const HEARTBEAT_NS_MIN: u64 = 1_000_000;

const NS_PER_US: u64 = 1_000;

/// The detector of one peer.
#[derive(Clone, Debug)]
pub struct Detector {
    heartbeat_ns: u64,
    /// A frame came at all: until then there is no gap, only the time that connecting may take.
    met: bool,
    heard: Lived,
    gaps: Gaps,
    /// The sample that is being taken: its longest gap, and when it began.
    sample_ns: u64,
    sample_since: Lived,
    /// The silence from which on the peer is suspected; follows from `gaps`.
    limit_ns: u64,
    suspicion: Option<Episode>,
    /// The end of the last suspicion, and how often steadiness was doubled for it.
    forgave: Option<(Lived, u32)>,
}

/// A suspicion that was not ended yet, though the peer may be heard again.
#[derive(Clone, Copy, Debug)]
struct Episode {
    steady_since: Lived,
    doublings: u32,
}

impl Detector {
    /// A detector of a peer that sends at least each `heartbeat_ns`, and has from `now` on the time to be met.
    ///
    /// # Panics
    /// If the heartbeat is not between [`HEARTBEAT_NS_MIN`] and [`HEARTBEAT_NS_MAX`]: configuration is checked before.
    #[must_use]
    pub fn new(heartbeat_ns: u64, now: Lived) -> Self {
        assert!((HEARTBEAT_NS_MIN..=HEARTBEAT_NS_MAX).contains(&heartbeat_ns));
        Self {
            heartbeat_ns,
            met: false,
            heard: now,
            gaps: Gaps::new(heartbeat_ns, now),
            sample_ns: 0,
            sample_since: now,
            limit_ns: heartbeat_ns * SILENCE_MAX,
            suspicion: None,
            forgave: None,
        }
    }

    /// A frame of the peer came, of whatever kind.
    pub fn heard(&mut self, now: Lived) {
        let gap_ns = now.ns_since(self.heard);
        self.judge_gap(gap_ns, now);
        if self.met {
            self.sample(gap_ns, now);
        } else {
            self.met = true;
            self.sample_since = now;
            self.limit_ns = self.limit();
        }
        self.heard = now;
    }

    /// Phi of the present silence: 0 for none, [`PHI_SUSPECTED`] where suspicion begins, [`PHI_MAX`] at most.
    #[must_use]
    pub fn suspicion(&self, now: Lived) -> f64 {
        let silence_ns = now.ns_since(self.heard);
        if silence_ns >= self.heartbeat_ns * SILENCE_MAX {
            return PHI_MAX;
        }
        if !self.met {
            return 0.0;
        }
        let (expected_us, deviation_us) = self.estimate();
        tail::phi(((silence_ns / NS_PER_US) as f64 - expected_us as f64) / deviation_us as f64)
    }

    /// Whether the peer is suspected: its silence is too long, or was, and it has not been heard steadily since.
    #[must_use]
    pub fn is_suspected(&self, now: Lived) -> bool {
        self.suspicion.is_some() || now.ns_since(self.heard) >= self.limit_ns
    }

    /// When the peer is suspected if nothing more is heard of it; past if it is already.
    #[must_use]
    pub fn suspected_at(&self) -> Lived {
        match self.suspicion {
            Some(_) => Lived::default(),
            None => self.heard.after_ns(self.limit_ns),
        }
    }

    /// The silence from which on the peer is suspected, in nanoseconds.
    #[must_use]
    pub fn limit_ns(&self) -> u64 {
        self.limit_ns
    }

    /// Begins, prolongs or ends a suspicion by the gap that this frame ends.
    fn judge_gap(&mut self, gap_ns: u64, now: Lived) {
        let heartbeat_ns = self.heartbeat_ns;
        match &mut self.suspicion {
            None if gap_ns >= self.limit_ns => {
                let doublings = match self.forgave {
                    Some((ended, doublings)) if now.ns_since(ended) < heartbeat_ns * FORGIVEN_AFTER => {
                        (doublings + 1).min(DOUBLINGS_MAX)
                    }
                    _ => 0,
                };
                self.suspicion = Some(Episode {
                    steady_since: now,
                    doublings,
                });
            }
            None => (),
            Some(episode) if gap_ns > heartbeat_ns * STEADY => episode.steady_since = now,
            Some(episode) if now.ns_since(episode.steady_since) < (heartbeat_ns * STEADY) << episode.doublings => (),
            Some(episode) => {
                self.forgave = Some((now, episode.doublings));
                self.suspicion = None;
            }
        }
    }

    fn sample(&mut self, gap_ns: u64, now: Lived) {
        self.sample_ns = gap_ns.max(self.sample_ns);
        if now.ns_since(self.sample_since) < self.heartbeat_ns / SAMPLES_PER_HEARTBEAT {
            return;
        }
        // A cut of an hour says nothing about pauses: what is learned of it is the longest pause that may be granted.
        let learned_ns = self.sample_ns.min(self.heartbeat_ns * PAUSE.end());
        let learned_us = u32::try_from(learned_ns / NS_PER_US).expect("the longest heartbeat bounds it");
        self.gaps.learn(learned_us, now);
        self.sample_ns = 0;
        self.sample_since = now;
        self.limit_ns = self.limit();
    }

    /// The expected silence and its standard deviation, in microseconds.
    fn estimate(&self) -> (u64, u64) {
        let heartbeat_us = self.heartbeat_ns / NS_PER_US;
        let mean_us = self.gaps.mean_us().max(heartbeat_us);
        let pause_us = self.gaps.longest_us().saturating_sub(mean_us);
        let pause_us = pause_us.clamp(heartbeat_us * PAUSE.start(), heartbeat_us * PAUSE.end());
        (mean_us + pause_us, self.gaps.deviation_us().max(heartbeat_us / 2))
    }

    fn limit(&self) -> u64 {
        let (expected_us, deviation_us) = self.estimate();
        let limit_us = expected_us + deviation_us * DEVIATIONS_SUSPECTED_MILLI / 1_000;
        (limit_us * NS_PER_US).min(self.heartbeat_ns * SILENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lived::LivedClock;
    use super::super::testing::{Random, clock_at};
    use super::*;
    use crate::time::MS;

    const HEARTBEAT_NS: u64 = 100 * MS;

    /// A detector, the process that owns it, and the clock on its wall.
    struct Owner {
        clock: LivedClock,
        now_ns: u64,
        detector: Detector,
    }

    impl Owner {
        fn new() -> Self {
            let clock = clock_at(0);
            let detector = Detector::new(HEARTBEAT_NS, clock.now());
            Self {
                clock,
                now_ns: 0,
                detector,
            }
        }

        /// Turns each 10 ms until the time is over.
        fn lives_ms(&mut self, ms: u64) -> &mut Self {
            for _ in 0..ms / 10 {
                self.now_ns += 10 * MS;
                self.clock.turned(self.now_ns);
            }
            self
        }

        /// Does not turn for so long.
        fn stops_ms(&mut self, ms: u64) -> &mut Self {
            self.now_ns += ms * MS;
            self.clock.turned(self.now_ns);
            self
        }

        fn hears(&mut self) -> &mut Self {
            self.detector.heard(self.clock.now());
            self
        }

        fn hears_each(&mut self, ms: u64, times: u64) -> &mut Self {
            (0..times).for_each(|_| {
                self.lives_ms(ms).hears();
            });
            self
        }

        fn suspects(&self) -> bool {
            self.detector.is_suspected(self.clock.now())
        }
    }

    #[test]
    fn a_punctual_peer_is_suspected_after_seven_heartbeats_of_silence() {
        let mut owner = Owner::new();
        owner.hears_each(100, 500);
        assert_eq!(owner.detector.limit_ns(), 680_600_000);
        assert!(!owner.lives_ms(680).suspects());
        assert!(owner.detector.suspicion(owner.clock.now()) > 7.9);
        assert!(owner.lives_ms(10).suspects());
        assert!(owner.detector.suspicion(owner.clock.now()) > PHI_SUSPECTED);
    }

    #[test]
    fn a_peer_that_was_never_heard_has_the_longest_silence_to_be_met() {
        let mut owner = Owner::new();
        assert!(!owner.lives_ms(1190).suspects());
        assert_eq!(owner.detector.suspicion(owner.clock.now()).to_bits(), 0.0_f64.to_bits());
        assert!(owner.lives_ms(10).suspects());
        assert_eq!(owner.detector.suspicion(owner.clock.now()).to_bits(), PHI_MAX.to_bits());
    }

    #[test]
    fn a_stop_of_the_owner_is_nobodys_silence() {
        let mut owner = Owner::new();
        owner.hears_each(100, 100);
        for _ in 0..50 {
            assert!(!owner.stops_ms(60_000).suspects());
            owner.hears().hears_each(100, 2);
            assert_eq!(owner.detector.limit_ns(), 680_600_000);
        }
        // And time that it lived afterwards counts: 100 ms of the stop, then all.
        assert!(!owner.stops_ms(60_000).lives_ms(580).suspects());
        assert!(owner.lives_ms(10).suspects());
    }

    #[test]
    fn a_burst_does_not_make_the_detector_trigger_happy() {
        let mut owner = Owner::new();
        owner.hears_each(100, 10);
        for _ in 0..200_000 {
            owner.now_ns += 5_000;
            owner.clock.turned(owner.now_ns);
            owner.hears();
        }
        assert_eq!(owner.detector.limit_ns(), 680_600_000);
    }

    #[test]
    fn a_burst_is_sampled_by_its_longest_gap_four_times_a_heartbeat() {
        let mut owner = Owner::new();
        owner.hears();
        // 130 samples of 25 ms, in each of which the longest gap is 10 ms.
        for _ in 0..130 {
            owner.lives_ms(10).hears();
            for _ in 0..15 {
                owner.now_ns += MS;
                owner.clock.turned(owner.now_ns);
                owner.hears();
            }
        }
        assert_eq!(owner.detector.gaps.mean_us(), 10_000);
        assert_eq!(owner.detector.gaps.deviation_us(), 0);
    }

    #[test]
    fn a_pause_that_was_suspected_once_is_granted_for_two_minutes() {
        let mut owner = Owner::new();
        owner.hears_each(100, 100);
        assert!(owner.lives_ms(750).suspects(), "the first one is a surprise");
        owner.hears().hears_each(100, 50);
        assert!(!owner.suspects());
        for _ in 0..10 {
            assert!(!owner.lives_ms(750).suspects(), "the next ones are not");
            owner.hears().hears_each(100, 100);
        }
        owner.hears_each(100, 1_200);
        assert!(owner.lives_ms(750).suspects(), "after two minutes it is forgotten");
    }

    #[test]
    fn a_suspected_peer_is_trusted_when_it_was_heard_steadily() {
        let mut owner = Owner::new();
        owner.hears_each(100, 100).lives_ms(5_000).hears();
        assert!(owner.suspects(), "one frame is not enough");
        assert!(owner.hears_each(100, 2).suspects());
        assert!(!owner.hears_each(100, 1).suspects());
    }

    #[test]
    fn a_peer_that_is_suspected_again_and_again_has_to_be_steady_for_longer() {
        let mut owner = Owner::new();
        owner.hears_each(100, 100);
        let mut needed = Vec::new();
        for _ in 0..6 {
            owner.lives_ms(1_300).hears();
            let mut frames = 0;
            while owner.suspects() {
                owner.hears_each(100, 1);
                frames += 1;
            }
            needed.push(frames);
        }
        assert_eq!(needed, [3, 6, 12, 24, 24, 24]);
        owner.hears_each(100, 600).lives_ms(1_300).hears();
        assert!(!owner.hears_each(100, 3).suspects(), "after a minute it is forgiven");
    }

    #[test]
    fn asking_changes_nothing() {
        for seed in 0..30 {
            let mut random = Random::new(seed);
            let (mut asked, mut unasked) = (Owner::new(), Owner::new());
            for _ in 0..600 {
                let ms = if random.chance(1, 30) {
                    random.between(500, 2_000)
                } else {
                    random.between(10, 150)
                };
                for _ in 0..ms / 10 {
                    asked.lives_ms(10);
                    core::hint::black_box(asked.suspects());
                }
                unasked.lives_ms(ms);
                assert_eq!(asked.suspects(), unasked.suspects(), "seed {seed}");
                asked.hears();
                unasked.hears();
                assert_eq!(asked.suspects(), unasked.suspects(), "seed {seed}");
            }
        }
    }

    #[test]
    fn the_limit_keeps_its_bounds_and_phi_agrees_with_it_whatever_comes() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let mut owner = Owner::new();
            owner.hears();
            let (mut capped, mut uncapped) = (0, 0);
            let longest = random.between(20, 1_500);
            for _ in 0..500 {
                let ms = random.between(0, longest);
                owner.lives_ms(ms).hears();
                let limit_ns = owner.detector.limit_ns();
                assert!(
                    (680_600_000..=1_200_000_000).contains(&limit_ns),
                    "seed {seed}: {limit_ns}"
                );
                let phi_at = |ns| {
                    let mut later = owner.clock.clone();
                    let mut now_ns = owner.now_ns;
                    while now_ns < owner.now_ns + ns {
                        now_ns = (now_ns + 50 * MS).min(owner.now_ns + ns);
                        later.turned(now_ns);
                    }
                    owner.detector.suspicion(later.now())
                };
                if limit_ns == 1_200_000_000 {
                    capped += 1;
                    assert_eq!(phi_at(limit_ns).to_bits(), PHI_MAX.to_bits());
                } else {
                    uncapped += 1;
                    assert!((PHI_SUSPECTED - phi_at(limit_ns)).abs() < 0.02, "seed {seed}");
                }
                assert!(phi_at(limit_ns / 2) <= phi_at(limit_ns));
            }
            assert!(capped + uncapped == 500);
        }
    }
}
