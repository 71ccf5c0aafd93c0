//! What a seed does to its cluster.

use crate::rng::Rng;

/// The faults of one run, drawn from its seed.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Frames lost, in parts per million.
    pub loss_ppm: u64,
    /// Frames that come twice.
    pub repeat_ppm: u64,
    /// Frames delayed by up to `spike_ms`, so that later ones overtake them.
    pub spike_ppm: u64,
    /// The longest extra delay.
    pub spike_ms: u64,
    /// One way between two nodes, in microseconds.
    pub delay_us: u64,
    /// Links cut per virtual second, in all.
    pub cuts: u64,
    /// Nodes paused per virtual second.
    pub pauses: u64,
    /// The longest pause.
    pub pause_ms: u64,
    /// Nodes restarted in the whole run.
    pub restarts: u64,
    /// Whether a restart may fall into the birth of the groups.
    pub restart_at_birth: bool,
    /// Clocks are apart by up to so much.
    pub clock_ms: u64,
}

impl Faults {
    /// None at all.
    #[must_use]
    pub fn none() -> Faults {
        Faults {
            loss_ppm: 0,
            repeat_ppm: 0,
            spike_ppm: 0,
            spike_ms: 0,
            delay_us: 200,
            cuts: 0,
            pauses: 0,
            pause_ms: 0,
            restarts: 0,
            restart_at_birth: false,
            clock_ms: 0,
        }
    }

    /// A subset of all kinds, each of a strength of its own.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Faults {
        let mut some = |most: u64| if rng.below(2) == 0 { 0 } else { rng.below(most + 1) };
        Faults {
            loss_ppm: some(300_000) / 4,
            repeat_ppm: some(100_000),
            spike_ppm: some(100_000),
            spike_ms: some(50) + 1,
            delay_us: some(20_000) + 50,
            cuts: some(8),
            pauses: some(6),
            pause_ms: some(1_500) + 1,
            restarts: some(4),
            restart_at_birth: some(1) == 1,
            clock_ms: some(30_000),
        }
    }
}
