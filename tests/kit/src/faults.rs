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
    /// Whether some of the restarts are stops in order.
    pub stops: bool,
    /// Times per virtual second that nodes do not hear each other, and no connection ends.
    pub silences: u64,
    /// The longest such time.
    pub silence_ms: u64,
    /// Frames that are spoiled, in parts per million.
    pub garbage_ppm: u64,
    /// Requests that ask for what nobody should, in parts per million.
    pub odd_ppm: u64,
    /// Copies of requests that come very late, in parts per million.
    pub late_ppm: u64,
    /// Clients that go away, in parts per million of their steps.
    pub gone_ppm: u64,
    /// How long a client may read nothing; 0 if all read at once.
    pub slow_ms: u64,
    /// Sessions that begin too early or too late, in parts per million of clients.
    pub session_ppm: u64,
    /// Bytes of memory that each shard has.
    pub memory_bytes: u64,
    /// Rows for lanes that each group has; `None` for as many as by default.
    pub lanes: Option<usize>,
    /// Requests that may wait anywhere; `None` for as many as by default.
    pub queue: Option<usize>,
    /// Groups that get other members for no reason, in parts per million of them and of twenty times per virtual second.
    pub moves_ppm: u64,
    /// How long a node may be behind with what the topology log decided.
    pub learn_ms: u64,
    /// Groups that lose more members at once than they can bear, in the whole run, where the steward keeps the topology log.
    pub losses: u64,
    /// Nodes that the cluster was not made with and that join it, where controllers keep the topology log.
    pub joins: u64,
    /// Voters whose disk is lost when their process ends, where controllers keep the topology log.
    pub wipes: u64,
    /// A voter that is silent for so long is replaced.
    pub vote_ms: u64,
    /// A voter's file that says more is begun anew.
    pub trim_bytes: u64,
    /// Members that are told by all others that their state is wrong, in the whole run, where controllers keep the topology log.
    pub contradictions: u64,
    /// Groups that move to another shard of a node, times per virtual second; and shards of a node learn at instants of their own what was decided.
    pub seats: u64,
}

/// One way between two nodes takes at least so long where memory is little, in microseconds.
const DELAY_US_FULL: u64 = 5_000;
/// Memory of a shard that is never full.
const MEMORY_BYTES: u64 = 64 << 20;

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
            stops: false,
            silences: 0,
            silence_ms: 1,
            garbage_ppm: 0,
            odd_ppm: 0,
            late_ppm: 0,
            gone_ppm: 0,
            slow_ms: 0,
            session_ppm: 0,
            memory_bytes: MEMORY_BYTES,
            lanes: None,
            queue: None,
            moves_ppm: 0,
            learn_ms: 1,
            losses: 0,
            joins: 0,
            wipes: 0,
            vote_ms: 60_000,
            trim_bytes: 8 << 20,
            contradictions: 0,
            seats: 0,
        }
    }

    /// Whether shards may run out of memory.
    #[must_use]
    pub fn has_little_memory(&self) -> bool {
        self.memory_bytes < MEMORY_BYTES
    }

    /// Whether requests may be refused for as long as the cluster runs, because it has too little of something.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.has_little_memory() || self.lanes.is_some()
    }

    /// A subset of all kinds, each of a strength of its own.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Faults {
        // Limits that are reached are rarer than other faults: little is acked where nothing has room.
        let mut rarely = |often: u64, least: u64, most: u64| {
            let value = least + rng.below(most - least);
            (rng.below(often) == 0).then_some(value)
        };
        let memory_bytes = rarely(12, 48 << 10, 256 << 10).unwrap_or(MEMORY_BYTES);
        let small = |value: Option<u64>| value.map(|value| usize::try_from(value).expect("small"));
        let lanes = small(rarely(8, 1, 4));
        let queue = small(rarely(5, 1, 8));
        let slow_ms = rarely(5, 300, 2_000).unwrap_or(0);
        let mut some = |most: u64| if rng.below(2) == 0 { 0 } else { rng.below(most + 1) };
        Faults {
            loss_ppm: some(300_000) / 4,
            repeat_ppm: some(100_000),
            spike_ppm: some(100_000),
            spike_ms: some(50) + 1,
            // A member without room is offered the same run with each round trip: in few of them as much is seen.
            delay_us: some(20_000) + if memory_bytes < MEMORY_BYTES { DELAY_US_FULL } else { 50 },
            cuts: some(8),
            pauses: some(6),
            pause_ms: some(1_500) + 1,
            restarts: some(4),
            restart_at_birth: some(1) == 1,
            clock_ms: some(30_000),
            stops: some(7) > 0,
            silences: some(2),
            silence_ms: some(4_500) + 1,
            garbage_ppm: some(6_000),
            odd_ppm: some(60_000),
            late_ppm: some(40_000),
            gone_ppm: some(4_000),
            slow_ms,
            session_ppm: some(500_000),
            memory_bytes,
            lanes,
            queue,
            moves_ppm: 0,
            learn_ms: 1,
            losses: 0,
            joins: 0,
            wipes: 0,
            vote_ms: 60_000,
            trim_bytes: 8 << 20,
            contradictions: 0,
            seats: 0,
        }
    }

    /// The same for a cluster whose members change: more nodes end, groups get other members for no reason, and nodes learn of it late.
    #[must_use]
    pub fn draw_changing(rng: &mut Rng) -> Faults {
        let drawn = Faults::draw(rng);
        Faults {
            restarts: rng.below(12),
            restart_at_birth: false,
            moves_ppm: if rng.below(4) == 0 { 0 } else { rng.below(60_000) },
            learn_ms: 1 + rng.below(200),
            silences: rng.below(5),
            silence_ms: 1 + rng.below(3_000),
            ..drawn
        }
    }
}
