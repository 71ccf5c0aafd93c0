//! A noisy neighbour: some offer several times what a cluster can take, and others, who send little, must go on as before.
//!
//! The noise is the crowd of [`overload`], in a thread and sessions of its own, to actors of its own; the quiet ones are one open
//! loop at a constant rate, first alone and then beside the noise. Both work in the same groups. **Invariant:** nothing of the noise is counted
//! among the quiet ones' figures, and everything that either was acked is read back.

mod report;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use waterpark_client::polled::Polled;

pub use self::report::NoisyReport;
use crate::arrivals::Arrivals;
use crate::generator::{Generator, Schedule};
use crate::overload::{Load, OverloadPlan, Stage, TIMES};
use crate::run::{self, RunError, Verdict};
use crate::workload::Workload;

/// Messages a second of the quiet ones, where nothing else is said.
pub const RATE: f64 = 1_000.0;
/// Actors of the quiet ones.
const ACTORS: u64 = 1_000;
/// Under way while each of them gets its first message.
const FIRST: usize = 256;
/// The noise is as nice as can be: where it shares a core with the quiet ones' thread, that one goes first.
const NICE: i32 = 19;
/// Longer than any run.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What to measure.
#[derive(Clone, Debug)]
pub struct NoisyPlan {
    /// The noise, and the cluster; its time is that of either stretch.
    pub noise: OverloadPlan,
    /// Messages a second of the quiet ones.
    pub rate: f64,
}

/// Measures.
///
/// `say` is told what goes on, in a few words. Sending ends early once `go_on` is false; what was sent is still read back.
///
/// # Errors
/// [`RunError`]; nothing was measured, and what was started was ended.
pub fn measure(plan: NoisyPlan, mut say: impl FnMut(&str), go_on: impl Fn() -> bool) -> Result<NoisyReport, RunError> {
    let time = plan.noise.time;
    let mut stage = Stage::begin(&plan.noise, time * 2, "noisy-", &mut say, &go_on)?;
    let work = Workload {
        actors: ACTORS,
        warm: ACTORS,
        // Another run's, as far as each can tell.
        seed: !stage.workload.seed,
        prefix: "quiet-",
        ..stage.workload
    };
    let client = Polled::new(
        stage.cluster.addresses(),
        stage.cluster.key(),
        &run::generators_options(),
    )?;
    let mut quiet = Generator::new(client, work, plan.noise.timeout_ms);
    quiet.connect(run::CONNECT)?;
    quiet.run(Schedule::Closed { in_flight: FIRST }, LONGEST, ACTORS, |_| go_on());

    let instants = Arrivals::Constant.plan(plan.rate, time, work.seed);
    let planned = Schedule::Open(&instants);
    say(&format!("{:.0} messages a second, alone", plan.rate));
    let alone = quiet.run(planned, time, u64::MAX, |_| go_on());
    let rate = stage.capacity_per_s * TIMES;
    say(&format!("the same beside {rate:.0} messages a second of others"));
    stage.crowd.expect(stage.messages_max);
    let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (crowd, offers_max) = (&mut stage.crowd, stage.messages_max.saturating_mul(100));
    let (noise, beside) = std::thread::scope(|scope| {
        let noise = scope.spawn(|| {
            // Of this thread alone; without it the quiet ones may be late, and say so.
            rustix::process::nice(NICE).ok();
            crowd.run(Load::Open { rate }, LONGEST, offers_max, || {
                begun.store(true, Ordering::Relaxed);
                !over.load(Ordering::Relaxed)
            })
        });
        while !begun.load(Ordering::Relaxed) && !noise.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let beside = quiet.run(planned, time, u64::MAX, |_| go_on());
        over.store(true, Ordering::Relaxed);
        (noise.join().expect("a crowd does not panic"), beside)
    });

    say("reading everything back from three members");
    let noise_findings = stage.check(stage.workload, stage.crowd.ledger());
    let findings = stage.check(work, quiet.ledger());
    let driver = run::driver_of(&stage.control, &stage.topology);
    let is_late = run::is_late(&alone) || run::is_late(&beside) || Stage::is_late(&noise);
    let verdict = Verdict::of(findings.is_clean() && noise_findings.is_clean(), is_late);
    let Stage {
        cluster,
        control,
        crowd,
        node_cores,
        generator_cores,
        capacity_per_s,
        ..
    } = stage;
    drop((control, crowd, quiet));
    let exits = cluster.stop();
    Ok(NoisyReport {
        plan,
        node_cores,
        generator_cores,
        driver,
        capacity_per_s,
        alone,
        beside,
        noise,
        findings,
        noise_findings,
        exits,
        verdict,
    })
}
