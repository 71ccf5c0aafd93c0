//! `waterpark sim`: seeds, mutants, and how to replay a failure.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use waterpark_core::rules::Production;
use waterpark_sim::{Batch, MUTANTS, run_seed, run_seeds};

/// A batch of seeds.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
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

/// 0: no seed failed, or the mutant was caught. 1: otherwise. 2: no such mutant.
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
                eprintln!("error: there is no mutant `{name}`; `waterpark sim --mutants` lists them");
                return ExitCode::from(2);
            }
        },
    };
    let run = mutant.map_or(run_seed::<Production> as fn(u64) -> _, |mutant| mutant.run);
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
    if caught == mutant.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(arguments: &Arguments, batch: &Batch) {
    if arguments.json {
        let failed: Vec<u64> = batch.failures.iter().map(|(seed, _)| *seed).collect();
        let object = json!({
            "schema": "waterpark.sim.1",
            "complete": true,
            "seeds": batch.seeds,
            "mutant": arguments.mutant,
            "failed_seeds": failed,
            "acked": batch.acked,
            "outcomes": batch.outcomes,
            "happened": batch.sometimes,
            "virtual_hours": batch.virtual_ms as f64 / 3_600_000.0,
            "trace": format!("{:016x}", batch.trace),
        });
        println!("{object}");
        return;
    }
    let hours = batch.virtual_ms as f64 / 3_600_000.0;
    println!(
        "{} seeds, {hours:.2} virtual hours, {} requests acked, trace {:016x}",
        batch.seeds, batch.acked, batch.trace
    );
    let table = |title: &str, rows: &mut dyn Iterator<Item = (String, u64)>| {
        println!("{title}");
        for (name, count) in rows {
            println!("  {name:<20} {count:>10}");
        }
    };
    table(
        "replies",
        &mut batch.outcomes.iter().map(|(name, count)| (name.clone(), *count)),
    );
    table(
        "happened",
        &mut batch.sometimes.iter().map(|(name, count)| ((*name).to_owned(), *count)),
    );
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
            println!("replay: waterpark sim --seed {seed} --seeds 1{mutant}");
        }
    }
}
