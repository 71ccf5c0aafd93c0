//! Whether what was applied is still in force, and what the host costs now.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};
use waterpark::config::Duration;
use waterpark_reactor::cores::Cores;

use super::setting::value_of;
use super::transaction::Values;
use super::{Applied, Change, Said, TuneError, journal};
use crate::failure::{Failure, code};
use crate::host::{Facts, Interrupt, Root};
use crate::latency;

#[derive(Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(super) applied: Applied,
    /// Measure this host for so long, as `waterpark latency` does
    #[arg(long, value_name = "TIME", value_parser = latency::time)]
    measure: Option<Duration>,
}

impl Verify {
    pub(super) fn said(&self) -> Result<Said, Failure> {
        let mut root = Root::new(&self.applied.root);
        let written = journal::read(&root).map_err(Failure::Tune)?;
        let written = written.ok_or(Failure::Tune(TuneError::NoJournal))?;
        let (mut rows, mut text, mut others) = (Vec::new(), String::new(), 0);
        for Change {
            name, path, form, new, ..
        } in &written.changes
        {
            let now = root.read(path).map(|text| value_of(*form, &text)).ok();
            let in_force = now.as_ref() == Some(new);
            others += usize::from(!in_force);
            rows.push(json!({ "name": name, "path": path, "applied": new, "now": now, "in_force": in_force }));
            text += &match now {
                _ if in_force => format!("{name}: {new}, in force\n"),
                Some(now) => format!("{name}: {new} was applied, now it is {now}\n"),
                None => format!("{name}: {new} was applied, now it cannot be read\n"),
            };
        }
        if written.is_forgotten {
            text += "the host was restarted since, and its kernel forgot what was applied\n";
        } else if !written.is_finished {
            text += "apply broke off before its end: `waterpark tune revert` puts back what it had changed\n";
        }
        let facts = Facts::read(&root);
        let spread = spread(&facts.interrupts);
        for (device, (count, cores)) in &spread {
            text += &format!("interrupts of {device}: {count}, on cores {cores}\n");
        }
        text += &format!("{} of {} in force", rows.len() - others, rows.len());
        let spread: Vec<Value> = (spread.iter())
            .map(
                |(device, (count, cores))| json!({ "device": device, "interrupts": count, "cores": cores.to_string() }),
            )
            .collect();
        let mut object = json!({
            "schema": "waterpark.tune_verify.1", "complete": true, "finished": written.is_finished,
            "restarted_since": written.is_forgotten,
            "not_in_force": others, "settings": rows, "interrupts": spread, "measured": null,
        });
        if let Some(time) = self.measure {
            let (measured, page) = latency::of_this_host(time)?;
            object["measured"] = measured;
            text += &format!("\n\n{page}");
        }
        let as_applied = others == 0 && written.is_finished && !written.is_forgotten;
        Ok(Said {
            object,
            text,
            code: if as_applied { 0 } else { code::HOST },
        })
    }
}

/// How many interrupts each network device has, and the cores that they land on.
fn spread(interrupts: &[Interrupt]) -> BTreeMap<&str, (usize, Cores)> {
    let mut by_device: BTreeMap<&str, Vec<&Interrupt>> = BTreeMap::new();
    for interrupt in interrupts {
        by_device.entry(&interrupt.device).or_default().push(interrupt);
    }
    let cores = |all: &[&Interrupt]| -> Cores {
        let cores = all.iter().flat_map(|interrupt| interrupt.lands_on.as_slice());
        cores.copied().collect()
    };
    let row = |device, all: Vec<&Interrupt>| (device, (all.len(), cores(&all)));
    by_device.into_iter().map(|(device, all)| row(device, all)).collect()
}
