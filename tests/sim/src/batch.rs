//! Many seeds, one sum.

use std::collections::BTreeMap;

use waterpark_kit::Report;

/// What must have happened at least once in a long batch, or the batch is blind to it.
pub const SOMETIMES: [&str; 17] = [
    "crossed",
    "forwarded",
    "frame delayed",
    "frame lost",
    "frame repeated",
    "frames_repeated",
    "group opened",
    "late request",
    "link cut",
    "node paused",
    "node restarted",
    "peer out",
    "process out",
    "repeats",
    "runs_refused",
    "sweeps",
    "swept",
];

/// The sum of a batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Seeds that ran.
    pub seeds: u64,
    /// Seeds in which something was broken, with what.
    pub failures: Vec<(u64, Report)>,
    /// Requests acked.
    pub acked: u64,
    /// Replies by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// What happened, by name.
    pub sometimes: BTreeMap<&'static str, u64>,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// The traces of all seeds, in order.
    pub trace: u64,
}

/// Runs seeds one after the other. `on_seed` hears of each and says whether to go on.
pub fn run_seeds(
    run: fn(u64) -> Report,
    first: u64,
    seeds: u64,
    mut on_seed: impl FnMut(u64, &Report) -> bool,
) -> Batch {
    let mut batch = Batch::default();
    for seed in first..first.saturating_add(seeds) {
        let report = run(seed);
        batch.seeds += 1;
        batch.acked += report.acked;
        batch.virtual_ms += report.virtual_ms;
        batch.trace = batch.trace.rotate_left(9) ^ report.trace;
        for (outcome, count) in &report.outcomes {
            *batch.outcomes.entry(format!("{outcome:?}")).or_default() += count;
        }
        for (name, count) in &report.sometimes {
            *batch.sometimes.entry(name).or_default() += count;
        }
        let go_on = on_seed(seed, &report);
        if !report.violations.is_empty() {
            batch.failures.push((seed, report));
        }
        if !go_on {
            break;
        }
    }
    batch
}
