//! `waterpark bench refill`: how the copies of a lost node come back, on eight processes of its own.

use std::process::ExitCode;

use clap::Args;
use waterpark::config::{Bytes, Duration};
use waterpark_bench::failover::{RefillPlan, refill};

use super::carry_out::{Measured, carry_out};
use super::options::{self, Output};
use super::{own_binary, usage};
use crate::node::Driver;

/// A shorter calm than this says nothing of what messages take.
const CALM_MIN: Duration = Duration::from_us(500_000);

/// What is lost, and beside what.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Logs that each node holds when one of them is lost
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    fill: Bytes,
    /// Messages a second meanwhile, each at its planned instant
    #[arg(long, value_name = "N", default_value_t = 5_000.0, value_parser = options::rate)]
    rate: f64,
    /// Bytes of a message
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = options::message_bytes)]
    message_bytes: usize,
    /// How long is looked at what messages take before the loss
    #[arg(long, value_name = "TIME", default_value = "8s")]
    calm: Duration,
    /// Start the lost node again at once, with nothing
    #[arg(long)]
    again: bool,
    /// Kernel interface for sockets
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    #[command(flatten)]
    output: Output,
}

/// Exit codes are those of [`carry_out`], and 2 for options that mean nothing.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    carry_out(&arguments.output, |say, go_on| {
        refill(plan, say, go_on).map(|report| {
            let measured = Measured::from((report.to_json(), report.to_text(), report.verdict));
            measured.with_log(&arguments.output, || report.to_log())
        })
    })
}

fn plan(arguments: &Arguments) -> Result<RefillPlan, ExitCode> {
    if arguments.calm.as_us() < CALM_MIN.as_us() {
        return usage(&format!(
            "--calm is at least {CALM_MIN}: what messages take else is the measure of all"
        ));
    }
    if arguments.fill.get() < 1 << 20 {
        return usage("--fill is at least 1MiB: what is given in less time than it takes to look is no measurement");
    }
    Ok(RefillPlan {
        binary: own_binary()?,
        driver: arguments.driver.name().to_owned(),
        fill: arguments.fill.get(),
        rate: arguments.rate,
        message_bytes: arguments.message_bytes,
        calm: std::time::Duration::from_micros(arguments.calm.as_us()),
        again: arguments.again,
    })
}
