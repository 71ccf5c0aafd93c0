//! `waterpark sim`: seeds, mutants, what they reached, and how to replay a failure.
//!
//! It knows nothing of clusters. **Invariant:** it ends with 0 only if no ledger was broken and a long batch reached all that it must.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;
use waterpark::config::MeasuringCode;
use waterpark_sim::{
    Batch, Expect, MUTANTS, Mutant, Profile, Reached, Report, SEEDS_FOR_ALL, Scenario, Shrunk, caught, run_seeds,
    shrink,
};

use crate::errors;

/// A batch of seeds.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Which clusters
    #[arg(long, value_enum, default_value_t = Clusters::Fixed)]
    profile: Clusters,
    /// Run one scenario, as a failure names it
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["seed", "seeds", "profile"])]
    replay: Option<String>,
    /// Seconds for making the first failure smaller; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    shrink: u64,
    /// Break one rule, in the clusters that show it; exits 0 when a seed catches it
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// List the mutants
    #[arg(long)]
    mutants: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Clusters that seeds are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clusters {
    /// Three to six nodes whose topology never changes, as real nodes have it
    Fixed,
    /// Three to eight nodes that end and start, and groups that get other members
    Small,
    /// As small, and groups are lost on purpose and opened again by an operator
    Losing,
    /// As small with whole nodes: consensus, detection and planner decide which
    Whole,
    /// As small, with 32 nodes, 256 groups and many clients
    Large,
    /// As whole, with nine nodes and one group
    Single,
}

impl From<Clusters> for Profile {
    fn from(clusters: Clusters) -> Profile {
        match clusters {
            Clusters::Fixed => Profile::Fixed,
            Clusters::Small => Profile::Small,
            Clusters::Losing => Profile::Losing,
            Clusters::Whole => Profile::Whole,
            Clusters::Large => Profile::Large,
            Clusters::Single => Profile::Single,
        }
    }
}

/// What is run, and under which rules.
#[derive(Clone, Copy)]
struct Plan {
    profile: Profile,
    mutant: Option<&'static Mutant>,
    /// One scenario alone says nothing of what a batch reaches.
    is_batch: bool,
}

impl Plan {
    fn run(self, scenario: &Scenario) -> Report {
        match self.mutant {
            None => scenario.run(),
            Some(mutant) => mutant.run(scenario),
        }
    }

    /// Whether what was reached is judged: a mutant is stopped at the first seed that catches it.
    fn is_judged(self) -> bool {
        self.mutant.is_none() && self.is_batch
    }
}

/// 0: no seed failed and a long batch reached everything, or the mutant was caught. 1: otherwise. 2: no such mutant, or no such scenario.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.mutants {
        for mutant in MUTANTS {
            println!("{:<32} {}", mutant.rule.name(), mutant.rule.broken());
        }
        return ExitCode::SUCCESS;
    }
    let mutant = match &arguments.mutant {
        None => None,
        Some(name) => match MUTANTS.iter().find(|mutant| mutant.rule.name() == name) {
            Some(mutant) => Some(mutant),
            None => {
                let text = format!("there is no mutant `{name}`; `waterpark sim --mutants` lists them");
                errors::say(MeasuringCode::UnknownMutant.entry(), &text);
                return ExitCode::from(2);
            }
        },
    };
    let replayed = match arguments.replay.as_deref().map(Scenario::parse).transpose() {
        Ok(replayed) => replayed,
        Err(bad) => {
            let text = format!("nothing can be replayed: {bad}");
            errors::say(MeasuringCode::UnknownScenario.entry(), &text);
            return ExitCode::from(2);
        }
    };
    let drawn = mutant.map_or(arguments.profile.into(), |mutant| mutant.profile);
    let plan = Plan {
        profile: replayed.as_ref().map_or(drawn, Scenario::profile),
        mutant,
        is_batch: replayed.is_none(),
    };
    let progress = std::io::stderr().is_terminal();
    let scenario = |seed: u64| replayed.clone().unwrap_or_else(|| Scenario::of(plan.profile, seed));
    let seeds = if plan.is_batch { arguments.seeds } else { 1 };
    let batch = run_seeds(
        |seed| plan.run(&scenario(seed)),
        arguments.seed,
        seeds,
        |seed, report| {
            if progress && seed % 16 == 0 {
                eprint!("\rseed {seed}");
            }
            mutant.is_none() || report.violations.is_empty()
        },
    );
    // What is measured is the simulation, not the search for a smaller one.
    let cpu_s = cpu_seconds();
    let smaller = batch.failures.first().and_then(|(seed, report)| {
        // A mutant's first seed is as good as any other.
        let wanted = plan.mutant.is_none() && arguments.shrink > 0;
        wanted.then(|| make_smaller(arguments, plan, &scenario(*seed), report))
    });
    if progress {
        eprint!("\r");
    }
    let shown = Shown {
        arguments,
        plan,
        batch: &batch,
        first: batch.failures.first().map(|(seed, report)| (scenario(*seed), report)),
        smaller,
        cpu_s,
    };
    shown.print();
    verdict(arguments, plan, &batch)
}

/// The process's own time so far, in seconds.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn make_smaller(arguments: &Arguments, plan: Plan, scenario: &Scenario, report: &Report) -> Shrunk {
    let until = Instant::now() + Duration::from_secs(arguments.shrink);
    // Assertions that fail again and again on the way say nothing new.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let shrunk = shrink(
        scenario,
        report,
        |scenario| caught(|| plan.run(scenario)),
        || Instant::now() < until,
    );
    std::panic::set_hook(hook);
    shrunk
}

fn verdict(arguments: &Arguments, plan: Plan, batch: &Batch) -> ExitCode {
    let failed = !batch.failures.is_empty();
    let all = batch.never_reached(plan.profile).is_empty() && batch.wrongly_reached(plan.profile).is_empty();
    let blind = plan.is_judged() && !all;
    if failed == plan.mutant.is_some() && !blind {
        return ExitCode::SUCCESS;
    }
    match &arguments.mutant {
        Some(name) => {
            let text = format!("none of {} seeds caught the mutant `{name}`", batch.seeds);
            errors::say(MeasuringCode::MutantEscaped.entry(), &text);
        }
        None if batch.failures.is_empty() => {
            let text =
                "no rule was broken, and not all was reached as it must be, so these seeds prove less than they should";
            errors::say(MeasuringCode::NotReached.entry(), &text);
        }
        None => {
            let text = format!("{} of {} seeds broke a rule", batch.failures.len(), batch.seeds);
            errors::say(MeasuringCode::SeedFailed.entry(), &text);
        }
    }
    ExitCode::FAILURE
}

/// A name that stands for one thing that can be reached, among all.
fn name(reached: Reached) -> String {
    format!("{}: {}", reached.table(), reached.name())
}

/// All that is shown of a batch.
struct Shown<'a> {
    arguments: &'a Arguments,
    plan: Plan,
    batch: &'a Batch,
    /// The first failure.
    first: Option<(Scenario, &'a Report)>,
    /// And what is left of it.
    smaller: Option<Shrunk>,
    cpu_s: f64,
}

impl Shown<'_> {
    fn print(&self) {
        let judged = self.plan.is_judged();
        let batch = self.batch;
        let never = if judged {
            batch.never_reached(self.plan.profile)
        } else {
            Vec::new()
        };
        let wrongly = if judged {
            batch.wrongly_reached(self.plan.profile)
        } else {
            Vec::new()
        };
        if self.arguments.json {
            return self.print_json(&never, &wrongly);
        }
        let virtual_s = batch.virtual_ms as f64 / 1e3;
        println!(
            "{} seeds, {:.2} virtual hours at {:.0} virtual seconds per CPU second, {} requests acked, {} in the median seed, trace {:016x}",
            batch.seeds,
            virtual_s / 3_600.0,
            virtual_s / self.cpu_s.max(0.001),
            batch.acked(),
            batch.median_acked(),
            batch.trace
        );
        print_tables(batch, self.plan.profile);
        if judged && batch.seeds < SEEDS_FOR_ALL {
            println!("fewer than {SEEDS_FOR_ALL} seeds: whether all was reached is not judged");
        }
        for reached in &never {
            println!("never reached: {}", name(*reached));
        }
        for reached in &wrongly {
            println!("reached, and cannot be: {}", name(*reached));
        }
        let Some((scenario, report)) = &self.first else {
            println!("every ledger is clean");
            return;
        };
        println!("{} seeds broke a rule; the first:", batch.failures.len());
        self.print_failure(scenario, report);
        if let Some(smaller) = &self.smaller {
            println!("as small as {} runs could make it:", smaller.runs);
            self.print_failure(&smaller.scenario, &smaller.report);
        }
    }

    fn print_failure(&self, scenario: &Scenario, report: &Report) {
        for violation in report.violations.iter().take(8) {
            println!("  {violation:?}");
        }
        println!("replay: {}", self.command(scenario));
    }

    /// The command that runs a scenario again.
    fn command(&self, scenario: &Scenario) -> String {
        let mutant = self
            .plan
            .mutant
            .map(|mutant| format!(" --mutant {}", mutant.rule.name()));
        format!(
            "waterpark sim --replay {}{}",
            scenario.token(),
            mutant.unwrap_or_default()
        )
    }
}

/// Everything that can be reached with how often it was, in how many seeds; and why not, where it cannot.
fn print_tables(batch: &Batch, profile: Profile) {
    let mut table = "";
    for reached in Reached::all() {
        if table != reached.table() {
            table = reached.table();
            println!("{table:<36} {:>10} {:>8}", "times", "seeds");
        }
        let count = batch.reached.get(&reached).copied().unwrap_or_default();
        let why = match profile.expect(reached) {
            Expect::Reached => String::new(),
            Expect::Within(seeds) => format!("  rare: demanded of {seeds} seeds"),
            Expect::Seldom(when) => format!("  seldom: {when}"),
            Expect::Never(why) => format!("  cannot occur: {why}"),
        };
        println!("  {:<34} {:>10} {:>8}{why}", reached.name(), count.times, count.seeds);
    }
}

impl Shown<'_> {
    fn print_json(&self, never: &[Reached], wrongly: &[Reached]) {
        let batch = self.batch;
        let failed: Vec<u64> = batch.failures.iter().map(|(seed, _)| *seed).collect();
        let names = |all: &[Reached]| all.iter().map(|reached| name(*reached)).collect::<Vec<_>>();
        let row = |reached: Reached| {
            let count = batch.reached.get(&reached).copied().unwrap_or_default();
            let expect = self.plan.profile.expect(reached);
            json!({
                "table": reached.table(),
                "name": reached.name(),
                "times": count.times,
                "seeds": count.seeds,
                "must_within_seeds": match expect {
                    Expect::Reached => Some(SEEDS_FOR_ALL),
                    Expect::Within(seeds) => Some(seeds),
                    Expect::Seldom(_) | Expect::Never(_) => None,
                },
                "seldom": match expect {
                    Expect::Seldom(when) => Some(when),
                    Expect::Reached | Expect::Within(_) | Expect::Never(_) => None,
                },
                "cannot_occur": match expect {
                    Expect::Never(why) => Some(why),
                    Expect::Reached | Expect::Within(_) | Expect::Seldom(_) => None,
                },
            })
        };
        let (safety_failures, liveness_failures) = batch.failures_by_kind();
        let object = json!({
            "schema": "waterpark.sim.3",
            "complete": true,
            "profile": self.plan.profile.name(),
            "seeds": batch.seeds,
            "safety_failures": safety_failures,
            "liveness_failures": liveness_failures,
            "mutant": self.arguments.mutant,
            "failed_seeds": failed,
            "replay": self.first.as_ref().map(|(scenario, _)| self.command(scenario)),
            "replay_smaller": self.smaller.as_ref().map(|smaller| self.command(&smaller.scenario)),
            "acked": batch.acked(),
            "median_acked": batch.median_acked(),
            "reached": Reached::all().into_iter().map(row).collect::<Vec<_>>(),
            "never_reached": names(never),
            "wrongly_reached": names(wrongly),
            "judged_from_seeds": SEEDS_FOR_ALL,
            "virtual_hours": batch.virtual_ms as f64 / 3_600_000.0,
            "cpu_hours": self.cpu_s / 3_600.0,
            "trace": format!("{:016x}", batch.trace),
        });
        println!("{object}");
    }
}
