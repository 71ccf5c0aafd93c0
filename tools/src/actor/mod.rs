//! `waterpark actor`: an actor's state, its history, and where it lives.
//!
//! Answers are as fresh as `--level` wants them, and from whoever may give them, or with `--from` from one member. **Invariant:** an answer that lacks a part says which one; none is silently short.

mod entry;
mod fields;
mod history;
mod level;
mod members;
mod view;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use waterpark_client::ReadOptions;
use waterpark_client::blocking::Answer;
use waterpark_ring::Key;

use crate::connect::{Cluster, Reach, parse_key};
use crate::failure::Failure;
use crate::show;

pub(crate) use members::{ask_members, words_of_silence};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show an actor's state
    Get(Get),
    /// Show an actor's messages, the newest last, HL7 by its segments and fields
    History(history::History),
    /// Show which nodes hold an actor, and how far each of them is
    Where(Where),
}

/// Whose answer.
#[derive(Args)]
struct Whose {
    /// The actor: KIND/ID[,NAME=VALUE], for example patient/1001,facility=HOSPX
    key: String,
    /// Ask this member, which answers itself or says why not; without it whoever may answer does
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    #[command(flatten)]
    fresh: level::Fresh,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args)]
pub(crate) struct Get {
    #[command(flatten)]
    whose: Whose,
}

#[derive(Args)]
pub(crate) struct Where {
    #[command(flatten)]
    whose: Whose,
}

/// 0: shown, if only that there is nothing. 1: refused, or no entry has the number that was asked for. 2: no such key or node. 4: cannot be
/// reached. 5: some members did not answer, or none of them writes. 6: out of time.
pub(crate) fn run(command: &Command) -> ExitCode {
    let (whose, ended) = match command {
        Command::Get(get) => (&get.whose, show_state(&get.whose)),
        Command::History(history) => (&history.whose, history::show_history(history)),
        Command::Where(command) => (&command.whose, members::show_where(&command.whose)),
    };
    match ended.and_then(|code| show::flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.end(whose.reach.json),
    }
}

/// A key, the cluster that holds it, and who is asked.
struct Asked {
    key: Key,
    cluster: Cluster,
    options: ReadOptions,
}

impl Whose {
    fn ask(&self) -> Result<Asked, Failure> {
        let key = parse_key(&self.key)?;
        let cluster = self.reach.connect()?;
        let at = match &self.from {
            Some(name) => Some(cluster.member(name, key.as_ref())?),
            None => None,
        };
        let mut options = ReadOptions {
            timeout_ms: self.reach.timeout_ms(),
            at,
            ..ReadOptions::default()
        };
        let (group, _) = cluster.group(key.as_ref())?;
        self.fresh.apply(group, &mut options);
        Ok(Asked { key, cluster, options })
    }
}

impl Asked {
    /// Who answered, for programs: a member by name, or the writer.
    fn who_json(&self) -> Value {
        let node = self.options.at.map(|id| self.cluster.name(id));
        json!({ "node": node, "level": level::name(self.options.level) })
    }

    /// An empty answer: said, and no failure.
    fn say_none(&self, what: &str, answer: &Answer) {
        let token = show::token(answer.token);
        eprintln!("no {what} {} (as of {token})", self.key);
    }
}

fn show_state(whose: &Whose) -> Result<u8, Failure> {
    let asked = whose.ask()?;
    let answer = asked
        .cluster
        .client
        .get(asked.key.as_ref(), &asked.options)
        .map_err(Failure::Call)?;
    let exists = !answer.body.is_empty();
    let state: Value = if exists {
        serde_json::from_slice(&answer.body).map_err(|_| Failure::Answer)?
    } else {
        Value::Null
    };
    if whose.reach.json {
        let object = json!({
            "schema": "waterpark.actor_get.1", "complete": true, "key": asked.key.to_string(), "exists": exists,
            "state": state, "token": show::token_json(answer.token), "from": asked.who_json(),
        });
        show::print(&object.to_string())?;
    } else if exists {
        // As its kind wrote it, in the order of its fields; it was found to be JSON above, in which nothing is left to escape.
        show::print(&show::bytes(&answer.body))?;
    } else {
        asked.say_none("actor", &answer);
    }
    Ok(0)
}
