//! `waterpark bench failover`: what failures cost, on eight processes of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use waterpark::config::Duration;
use waterpark_bench::failover::{FailoverPlan, Scenario, measure};

use super::carry_out::carry_out;
use super::options::Output;
use super::{own_binary, usage};
use crate::node::Driver;

/// What to do to the cluster.
#[derive(Args)]
pub(crate) struct Arguments {
    /// What is done, each to a cluster of its own; may be given several times
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    scenario: Vec<Which>,
    /// How often each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Keys that are written all the time
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = clap::value_parser!(u64).range(8..=10_000))]
    keys: u64,
    /// A key gets its next message when the one before has ended, and not earlier than this after it
    #[arg(long, value_name = "TIME", default_value = "20ms")]
    every: Duration,
    /// Placement groups, a power of two
    #[arg(long, value_name = "N", default_value_t = 64)]
    groups: u32,
    /// Leave out the delays between data centres: they are as near to each other as loopback is
    #[arg(long)]
    near: bool,
    /// Kernel interface for sockets
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    /// Copy the nodes' logs to this folder at the end
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// kill -9 of the node that writes most groups
    Kill,
    /// SIGSTOP of it, and SIGCONT
    Stop,
    /// SIGTERM to it
    Drain,
    /// kill -9 of a whole data centre
    Dc,
    /// SIGTERM to all nodes, one after another
    Rolling,
    /// That node is cut off from all others, silently; clients reach it
    Cut,
    /// What it sends to the others is lost, and nothing else
    OneWayOut,
    /// What they send to it is lost, and nothing else
    OneWayIn,
    /// The two one after the other
    OneWay,
    /// It is cut off from one other data centre
    Partial,
    /// All of these
    All,
}

impl Which {
    fn scenarios(self) -> Vec<Scenario> {
        match self {
            Which::Kill => vec![Scenario::Kill],
            Which::Stop => vec![Scenario::Stop],
            Which::Drain => vec![Scenario::Drain],
            Which::Dc => vec![Scenario::Dc],
            Which::Rolling => vec![Scenario::Rolling],
            Which::Cut => vec![Scenario::Cut],
            Which::OneWayOut => vec![Scenario::OneWayOut],
            Which::OneWayIn => vec![Scenario::OneWayIn],
            Which::OneWay => vec![Scenario::OneWayOut, Scenario::OneWayIn],
            Which::Partial => vec![Scenario::Partial],
            Which::All => Scenario::ALL.to_vec(),
        }
    }
}

/// Each once, in the order in which they were named.
fn scenarios(which: &[Which]) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for scenario in which.iter().flat_map(|which| which.scenarios()) {
        if !scenarios.contains(&scenario) {
            scenarios.push(scenario);
        }
    }
    scenarios
}

/// Exit codes are those of [`carry_out`], and 2 for options that mean nothing.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    carry_out(&arguments.output, |say, go_on| {
        measure(plan, say, go_on).map(|report| (report.to_json(), report.to_text(), report.verdict()))
    })
}

fn plan(arguments: &Arguments) -> Result<FailoverPlan, ExitCode> {
    if arguments.every.as_us() == 0 {
        return usage("--every is more than nothing");
    }
    if !arguments.groups.is_power_of_two() {
        return usage("--groups is a power of two");
    }
    Ok(FailoverPlan {
        binary: own_binary()?,
        driver: arguments.driver.name().to_owned(),
        scenarios: scenarios(&arguments.scenario),
        times: arguments.times,
        keys: arguments.keys,
        every: std::time::Duration::from_micros(arguments.every.as_us()),
        groups: arguments.groups,
        far: !arguments.near,
        logs: arguments.logs.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_that_is_named_in_several_ways_is_done_once() {
        let named = scenarios(&[Which::OneWayIn, Which::OneWay, Which::Kill, Which::OneWayIn]);
        assert_eq!(named, [Scenario::OneWayIn, Scenario::OneWayOut, Scenario::Kill]);
        let all = scenarios(&[Which::Drain, Which::All]);
        assert_eq!((all.len(), all[0]), (Scenario::ALL.len(), Scenario::Drain));
    }
}
