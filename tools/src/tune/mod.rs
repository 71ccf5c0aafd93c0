//! `waterpark tune`: what a host should be told, told all at once, and taken back to the byte.
//!
//! Which settings there are is said in `setting.rs`, how they change together in `transaction.rs`, what is on disk meanwhile in `journal.rs`.
//! **Invariant:** nothing but `apply` and `revert` writes, and both say what.

mod error;
mod export;
mod journal;
mod setting;
#[cfg(test)]
mod tests;
mod transaction;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use serde_json::{Value, json};
use waterpark::config::Duration;

use crate::doctor::Of;
use crate::failure::{Failure, code};
use crate::host::{Facts, Root};
use crate::{latency, show};
use journal::Journal;
use setting::{Form, Setting, settings, value_of};
use transaction::{Reverted, Values};

pub(crate) use error::TuneError;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Compare the settings of this host with what nodes want
    Check(Wanted),
    /// Show what apply would change, from what to what, and why
    Plan(Wanted),
    /// Change the settings that differ, all or none; what they were is written down first
    Apply(Apply),
    /// Look whether what was applied is still in force, and measure what the host costs
    Verify(verify::Verify),
    /// Put back what apply changed, to the byte
    Revert(Revert),
    /// Print the settings in a form that outlives a restart of the host
    Export(export::Export),
}

/// Which settings, of which host.
#[derive(Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    of: Of,
    /// Leave a setting out, or all whose names begin with these parts; may be given again
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    wanted: Wanted,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Measure this host for so long before the change, and again after it
    #[arg(long, value_name = "TIME", value_parser = latency::time, conflicts_with = "dry_run")]
    measure: Option<Duration>,
}

/// What was applied, on which host.
#[derive(Args)]
pub(crate) struct Applied {
    /// A folder that plays the host, with /proc and /sys of its own
    #[arg(long, value_name = "FOLDER", hide = true, default_value = "/")]
    root: std::path::PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Revert {
    #[command(flatten)]
    applied: Applied,
    /// Put old values also in the place of those that somebody else has set since, and give up those that are gone
    #[arg(long)]
    force: bool,
    /// Show what would be put back and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// A value that is to be another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) form: Form,
    /// The file as it was, to the byte.
    pub(crate) text: String,
    /// The value in it, and the one to come.
    pub(crate) old: String,
    pub(crate) new: String,
}

/// How a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Good as it is.
    Good(String),
    Differs(Change),
    /// No failure: the host cannot be told.
    NotSettable {
        now: Option<String>,
        why: String,
    },
}

/// What a command says, and the exit code that it ends with.
struct Said {
    object: Value,
    text: String,
    code: u8,
}

impl Said {
    fn done(object: Value, text: String) -> Said {
        Said { object, text, code: 0 }
    }
}

/// 0: done, or as it should be. 1: not changed. 7: this user may not. 8: something stands in the way that is somebody's. 9: settings differ.
pub(crate) fn run(command: &Command) -> ExitCode {
    let as_json = match command {
        Command::Check(wanted) | Command::Plan(wanted) => wanted.json,
        Command::Apply(apply) => apply.wanted.json,
        Command::Verify(verify) => verify.applied.json,
        Command::Revert(revert) => revert.applied.json,
        Command::Export(export) => export.wanted.json,
    };
    let shown = said(command).and_then(|said| {
        let text = if as_json { said.object.to_string() } else { said.text };
        show::print(text.trim_end())
            .and_then(|()| show::flush())
            .map(|()| said.code)
    });
    match shown {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.end(as_json),
    }
}

fn said(command: &Command) -> Result<Said, Failure> {
    match command {
        Command::Check(wanted) => check(wanted),
        Command::Plan(wanted) => plan(wanted),
        Command::Apply(arguments) => apply(arguments),
        Command::Verify(arguments) => arguments.said(),
        Command::Revert(arguments) => revert(arguments),
        Command::Export(export) => export.said(),
    }
}

impl Wanted {
    /// The settings that are wanted, with how they stand.
    fn examine(&self) -> Result<Vec<(Setting, State)>, Failure> {
        let mut root = self.of.root();
        let facts = Facts::read(&root);
        let demand = self.of.demand(&facts)?;
        let mut all = settings(&facts, demand.as_ref());
        for name in &self.without {
            let begins = |setting: &Setting| {
                let rest = setting.name.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            if !all.iter().any(begins) {
                let names = all.iter().map(|setting| setting.name.clone()).collect();
                let found = name.clone();
                return Err(Failure::Tune(TuneError::UnknownName { found, names }));
            }
            all.retain(|setting| !begins(setting));
        }
        let with_state = |setting: Setting| {
            let state = state(&mut root, &setting);
            (setting, state)
        };
        Ok(all.into_iter().map(with_state).collect())
    }
}

/// How a setting stands on a host.
fn state(root: &mut Root, setting: &Setting) -> State {
    let text = match root.read(&setting.path) {
        Ok(text) => text,
        Err(error) => {
            let why = format!("{}: {error}", setting.path);
            return State::NotSettable { now: None, why };
        }
    };
    let old = value_of(setting.form, &text);
    let Some(new) = setting.better_than(&old) else {
        return State::Good(old);
    };
    let offers = match (setting.form, &setting.offers) {
        (Form::Choice, _) => Some(text.replace(['[', ']'], " ")),
        (Form::Plain, offers) => offers.as_deref().and_then(|file| root.text(file)),
    };
    let is_offered = |offers: &String| offers.split_ascii_whitespace().any(|offer| offer == new);
    if let Some(offers) = offers.filter(|offers| !is_offered(offers)) {
        let offers = value_of(Form::Plain, &offers);
        let why = format!("the host offers {offers}, and not {new}");
        return State::NotSettable { now: Some(old), why };
    }
    // Whether this user may is apply's to ask: the plan is root's as well.
    if access(root.path(&setting.path), Access::WRITE_OK) == Err(Errno::ROFS) {
        let why = "it is in a read-only file system, as in many containers: set it on the host".to_owned();
        return State::NotSettable { now: Some(old), why };
    }
    let Setting { name, path, form, .. } = setting.clone();
    State::Differs(Change {
        name,
        path,
        form,
        text,
        old,
        new,
    })
}

fn changes(examined: &[(Setting, State)]) -> Vec<Change> {
    let differs = examined.iter().filter_map(|(_, state)| match state {
        State::Differs(change) => Some(change.clone()),
        State::Good(_) | State::NotSettable { .. } => None,
    });
    differs.collect()
}

fn check(wanted: &Wanted) -> Result<Said, Failure> {
    let examined = wanted.examine()?;
    let differ = changes(&examined).len();
    let mut table = vec![["setting", "now", "wanted", ""].map(str::to_owned).to_vec()];
    let mut rows = Vec::new();
    for (setting, state) in &examined {
        let (name, now, new, how, why) = match state {
            State::Good(now) => (&setting.name, Some(now), None, "good", setting.reason),
            State::Differs(change) => (
                &setting.name,
                Some(&change.old),
                Some(&change.new),
                "differs",
                setting.reason,
            ),
            State::NotSettable { now, why } => (&setting.name, now.as_ref(), None, "not_settable", why.as_str()),
        };
        rows.push(json!({ "name": name, "path": setting.path, "now": now, "wanted": new, "state": how, "why": why }));
        let cell = |value: Option<&String>| value.map_or_else(|| "-".to_owned(), Clone::clone);
        let note = match how {
            "good" => String::new(),
            "differs" => why.to_owned(),
            _ => format!("not settable: {why}"),
        };
        table.push(vec![name.clone(), cell(now), cell(new), note]);
    }
    let object = json!({ "schema": "waterpark.tune_check.1", "complete": true, "differ": differ, "settings": rows });
    let end = format!("{differ} of {} settings differ from what nodes want", examined.len());
    Ok(Said {
        object,
        text: format!("{}\n{end}", show::table(&table)),
        code: if differ == 0 { 0 } else { code::HOST },
    })
}

/// A plan as an object of this schema, and as text.
fn shown(schema: &str, examined: &[(Setting, State)]) -> (Value, String) {
    let (mut rows, mut not_settable, mut text) = (Vec::new(), Vec::new(), String::new());
    for (setting, state) in examined {
        match state {
            State::Good(_) => {}
            State::Differs(Change {
                name, path, old, new, ..
            }) => {
                let reason = setting.reason;
                rows.push(json!({ "name": name, "path": path, "old": old, "new": new, "reason": reason }));
                text += &format!("{name}: {old} -> {new}\n  file    {path}\n  reason  {reason}\n");
            }
            State::NotSettable { why, .. } => {
                not_settable.push(json!({ "name": setting.name, "path": setting.path, "why": why }));
                text += &format!(
                    "{}: not settable\n  file    {}\n  why     {why}\n",
                    setting.name, setting.path
                );
            }
        }
    }
    let object = json!({ "schema": schema, "complete": true, "changes": rows, "not_settable": not_settable });
    (object, text)
}

fn plan(wanted: &Wanted) -> Result<Said, Failure> {
    let examined = wanted.examine()?;
    let (object, text) = shown("waterpark.tune_plan.1", &examined);
    let end = match changes(&examined).len() {
        0 => "nothing to change".to_owned(),
        count => format!("{count} to change; `waterpark tune apply` does it"),
    };
    Ok(Said::done(object, text + &end))
}

fn apply(arguments: &Apply) -> Result<Said, Failure> {
    let wanted = &arguments.wanted;
    if arguments.dry_run {
        return plan(wanted);
    }
    let examined = wanted.examine()?;
    let changes = changes(&examined);
    let mut root = wanted.of.root();
    let (mut object, text) = shown("waterpark.tune_apply.1", &examined);
    if changes.is_empty() {
        object["journal"] = Value::Null;
        return Ok(Said::done(object, text + "nothing to change"));
    }
    for change in &changes {
        let path = root.path(&change.path);
        if access(&path, Access::WRITE_OK).is_err() {
            return Err(Failure::Tune(TuneError::Rights { path }));
        }
    }
    let journal = Journal::lock(&root).map_err(Failure::Tune)?;
    let path = journal::path(&root);
    let before = journal::read(&root).map_err(Failure::Tune)?;
    if before.is_some_and(|written| !written.is_forgotten) {
        return Err(Failure::Tune(TuneError::Stands { path }));
    }
    // Before anything is changed: a host that cannot be measured is left as it is.
    let before = arguments.measure.map(latency::of_this_host).transpose()?;
    transaction::apply(&mut root, &journal, &changes).map_err(Failure::Tune)?;
    let path = path.display().to_string();
    object["journal"] = path.clone().into();
    let end = format!(
        "{} changed until the host restarts; `waterpark tune revert` puts them back ({path})",
        changes.len()
    );
    let mut text = text + &end;
    if let Some((time, (before, page))) = arguments.measure.zip(before) {
        text += &format!("\n\nbefore\n{page}\n\nafter\n");
        object["measured"] = json!({ "before": before, "after": null });
        // What is changed stays changed, whatever becomes of the measurement.
        match latency::of_this_host(time) {
            Ok((after, page)) => {
                object["measured"]["after"] = after;
                text += &page;
            }
            Err(failure) => {
                object["complete"] = false.into();
                text += &format!("not measured: {failure}");
            }
        }
    }
    Ok(Said::done(object, text))
}

fn revert(arguments: &Revert) -> Result<Said, Failure> {
    let applied = &arguments.applied;
    let mut root = Root::new(&applied.root);
    let schema = "waterpark.tune_revert.1";
    let nothing = || {
        let object = json!({ "schema": schema, "complete": true, "settings": [] });
        Said::done(object, "nothing was applied; nothing to put back".to_owned())
    };
    // Without a journal nobody has to be root to hear so.
    let Some(seen) = journal::read(&root).map_err(Failure::Tune)? else {
        return Ok(nothing());
    };
    if arguments.dry_run {
        let row = |change: &Change| json!({ "name": change.name, "path": change.path, "old": change.old });
        let rows: Vec<Value> = seen.changes.iter().map(row).collect();
        let object = json!({ "schema": schema, "complete": true, "dry_run": true, "settings": rows });
        let line = |change: &Change| format!("{}: back to {}", change.name, change.old);
        let text: Vec<String> = seen.changes.iter().map(line).collect();
        return Ok(Said::done(object, text.join("\n")));
    }
    let journal = Journal::lock(&root).map_err(Failure::Tune)?;
    let Some(written) = journal::read(&root).map_err(Failure::Tune)? else {
        return Ok(nothing());
    };
    if written.is_forgotten {
        journal.remove().map_err(Failure::Tune)?;
        let object = json!({ "schema": schema, "complete": true, "restarted_since": true, "settings": [] });
        let text = "the host was restarted since, and its kernel forgot what was applied; nothing to put back";
        return Ok(Said::done(object, text.to_owned()));
    }
    let done = transaction::revert(&mut root, &journal, &written, arguments.force).map_err(Failure::Tune)?;
    let (mut rows, mut text) = (Vec::new(), String::new());
    for (Change { name, path, old, .. }, done) in written.changes.iter().zip(done) {
        let (how, words) = match done {
            Reverted::PutBack => ("put_back", format!("back to {old}")),
            Reverted::AsBefore => ("as_before", format!("was {old} already")),
            Reverted::Gone => ("gone", "its file is gone".to_owned()),
        };
        rows.push(json!({ "name": name, "path": path, "old": old, "became": how }));
        text += &format!("{name}: {words}\n");
    }
    let object = json!({ "schema": schema, "complete": true, "settings": rows });
    let text = format!("{text}every value is as it was before apply");
    Ok(Said::done(object, text))
}
