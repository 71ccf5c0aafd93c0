//! `waterpark sim`: seeds, mutants, what they reached, and how to replay a failure.
//!
//! It knows nothing of clusters. **Invariant:** it ends with 0 only if no ledger was broken and a long batch reached all that it must.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;
use waterpark::config::MeasuringCode;
use waterpark_core::rules::Production;

use waterpark_sim::{
    Batch, Expect, MUTANTS, Reached, Report, SEEDS_FOR_ALL, run_changing_seed, run_seed, run_seeds, run_whole_seed,
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
    #[arg(long, value_enum, default_value_t = Profile::Fixed)]
    profile: Profile,
    /// Break one rule; exits 0 when a seed catches it
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
pub(crate) enum Profile {
    /// Three to six nodes whose topology never changes, as real nodes have it
    Fixed,
    /// Three to eight nodes that end and start, and groups that get other members
    Small,
    /// The same with whole nodes: consensus, detection and planner decide which
    Whole,
}

impl Profile {
    fn run(self) -> fn(u64) -> Report {
        match self {
            Profile::Fixed => run_seed::<Production>,
            Profile::Small => run_changing_seed::<Production>,
            Profile::Whole => run_whole_seed::<Production>,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Profile::Fixed => "fixed",
            Profile::Small => "small",
            Profile::Whole => "whole",
        }
    }
}

/// 0: no seed failed and a long batch reached everything, or the mutant was caught. 1: otherwise. 2: no such mutant.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.mutants {
        for mutant in MUTANTS {
            println!("{:<32} {}", mutant.name, mutant.breaks);
        }
        return ExitCode::SUCCESS;
    }
    let mutant = match &arguments.mutant {
        None => None,
        Some(name) => match MUTANTS.iter().find(|mutant| mutant.name == name) {
            Some(mutant) => Some(mutant),
            None => {
                let text = format!("there is no mutant `{name}`; `waterpark sim --mutants` lists them");
                errors::say(MeasuringCode::UnknownMutant.entry(), &text);
                return ExitCode::from(2);
            }
        },
    };
    let run = mutant.map_or(arguments.profile.run(), |mutant| mutant.run);
    let progress = std::io::stderr().is_terminal();
    let batch = run_seeds(run, arguments.seed, arguments.seeds, |seed, report| {
        if progress && seed % 16 == 0 {
            eprint!("\rseed {seed}");
        }
        mutant.is_none() || report.violations.is_empty()
    });
    if progress {
        eprint!("\r");
    }
    print(arguments, &batch);
    let caught = !batch.failures.is_empty();
    // What must be reached is said of one profile.
    let judged = mutant.is_none() && arguments.profile == Profile::Fixed;
    let blind = judged && !(batch.never_reached().is_empty() && batch.wrongly_reached().is_empty());
    if caught == mutant.is_some() && !blind {
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

fn print(arguments: &Arguments, batch: &Batch) {
    // A mutant is stopped at the first seed that catches it: what that reached says nothing.
    let judged = arguments.mutant.is_none() && arguments.profile == Profile::Fixed;
    let never = if judged { batch.never_reached() } else { Vec::new() };
    let wrongly = if judged { batch.wrongly_reached() } else { Vec::new() };
    if arguments.json {
        return print_json(arguments, batch, &never, &wrongly);
    }
    let hours = batch.virtual_ms as f64 / 3_600_000.0;
    println!(
        "{} seeds, {hours:.2} virtual hours, {} requests acked, trace {:016x}",
        batch.seeds, batch.acked, batch.trace
    );
    print_tables(batch);
    if judged && batch.seeds < SEEDS_FOR_ALL {
        println!("fewer than {SEEDS_FOR_ALL} seeds: whether all was reached is not judged");
    }
    for reached in &never {
        println!("never reached: {}", name(*reached));
    }
    for reached in &wrongly {
        println!("reached, and cannot be: {}", name(*reached));
    }
    match batch.failures.first() {
        None => println!("every ledger is clean"),
        Some((seed, report)) => {
            println!("{} seeds broke a rule; seed {seed}:", batch.failures.len());
            for violation in report.violations.iter().take(8) {
                println!("  {violation:?}");
            }
            let mutant = arguments
                .mutant
                .as_ref()
                .map_or(String::new(), |name| format!(" --mutant {name}"));
            let profile = arguments.profile.name();
            println!("replay: waterpark sim --profile {profile} --seed {seed} --seeds 1{mutant}");
        }
    }
}

/// Everything that can be reached with how often it was, in how many seeds; and why not, where it cannot.
fn print_tables(batch: &Batch) {
    let mut table = "";
    for reached in Reached::all() {
        if table != reached.table() {
            table = reached.table();
            println!("{table:<36} {:>10} {:>8}", "times", "seeds");
        }
        let count = batch.reached.get(&reached).copied().unwrap_or_default();
        let why = match reached.expect() {
            Expect::Reached => String::new(),
            Expect::Seldom(when) => format!("  seldom: {when}"),
            Expect::Never(why) => format!("  cannot occur: {why}"),
        };
        println!("  {:<34} {:>10} {:>8}{why}", reached.name(), count.times, count.seeds);
    }
}

fn print_json(arguments: &Arguments, batch: &Batch, never: &[Reached], wrongly: &[Reached]) {
    let failed: Vec<u64> = batch.failures.iter().map(|(seed, _)| *seed).collect();
    let names = |all: &[Reached]| all.iter().map(|reached| name(*reached)).collect::<Vec<_>>();
    let row = |reached: Reached| {
        let count = batch.reached.get(&reached).copied().unwrap_or_default();
        json!({
            "table": reached.table(),
            "name": reached.name(),
            "times": count.times,
            "seeds": count.seeds,
            "must": reached.expect() == Expect::Reached,
            "seldom": match reached.expect() {
                Expect::Seldom(when) => Some(when),
                Expect::Reached | Expect::Never(_) => None,
            },
            "cannot_occur": match reached.expect() {
                Expect::Never(why) => Some(why),
                Expect::Reached | Expect::Seldom(_) => None,
            },
        })
    };
    let object = json!({
        "schema": "waterpark.sim.2",
        "complete": true,
        "seeds": batch.seeds,
        "mutant": arguments.mutant,
        "failed_seeds": failed,
        "acked": batch.acked,
        "reached": Reached::all().into_iter().map(row).collect::<Vec<_>>(),
        "never_reached": names(never),
        "wrongly_reached": names(wrongly),
        "judged_from_seeds": SEEDS_FOR_ALL,
        "virtual_hours": batch.virtual_ms as f64 / 3_600_000.0,
        "trace": format!("{:016x}", batch.trace),
    });
    println!("{object}");
}
