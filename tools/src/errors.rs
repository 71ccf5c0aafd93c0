//! `waterpark errors`: what each code means, offline; and how every error of this command is said.
//!
//! Numbers and texts are the registry's (`waterpark::config`), which error has which is said in `of.rs`. **Invariant:** no error is printed but
//! through [`said`], so each has its code in its first line and says what to do.

mod of;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use waterpark::config::{Code, CommandCode, REGISTRY};

use crate::failure::{Failure, code};
use crate::show;

pub(crate) use of::{Coded, of_verdict};

/// Which codes to show.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The code, as `WP-1207` or `1207`; without it all are listed
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// Write the registry as docs/errors.md
    #[arg(long, conflicts_with_all = ["code", "json"])]
    page: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// 0: shown. 2: there is no such code.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let text = match &arguments.code {
        None if arguments.page => page(),
        None if arguments.json => listing_json(Code::all()).to_string() + "\n",
        None => listing(),
        Some(text) => match Code::find(text) {
            Some(found) if arguments.json => listing_json([found]).to_string() + "\n",
            Some(found) => found.to_string(),
            None => return unknown(text, arguments.json),
        },
    };
    match show::write_all(text.as_bytes()).and_then(|()| show::flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(arguments.json),
    }
}

/// Tells the operator of an error: what is wrong, with its code first, and what to do about it.
pub(crate) fn say(code: &Code, error: &dyn Display) {
    // Who does not read stderr is not told.
    drop(writeln!(io::stderr(), "{}", said(code, error)));
}

/// The words of [`say`]. An error of one line does not say yet what to do: that is the registry's to add.
pub(crate) fn said(code: &Code, error: &dyn Display) -> String {
    let text = error.to_string();
    let mut said = format!("error[{}]: {text}", code.name());
    if !text.contains('\n') {
        said.push_str("\n   = help: ");
        said.push_str(
            code.remedy
                .split_once(": ")
                .map_or(code.remedy, |(_, what)| what)
                .trim_end_matches('.'),
        );
    }
    said
}

/// A fault of the command line that the parser of options found, in the form of every other error; nothing, if what it has to say is no error.
pub(crate) fn said_of_usage(text: &str) -> Option<String> {
    let rest = text.strip_prefix("error: ")?;
    Some(format!(
        "error[{}]: {}",
        CommandCode::Usage.entry().name(),
        rest.trim_end()
    ))
}

fn unknown(text: &str, as_json: bool) -> ExitCode {
    let found = show::text_or_escaped(text);
    let mut words = format!("there is no error code `{found}`");
    let meant = Code::nearest(text);
    if let Some(meant) = meant {
        words.push_str(&format!("; did you mean {} ({})?", meant.name(), meant.title));
    }
    say(CommandCode::UnknownCode.entry(), &words);
    if as_json {
        let object = json!({
            "schema": "waterpark.error.1", "complete": false, "missing": ["the code"], "exit_code": code::USAGE,
            "code": CommandCode::UnknownCode.entry().name(), "error": words, "meant": meant.map(Code::name),
        });
        if let Err(failure @ Failure::Output(_)) = show::print(&object.to_string()) {
            return failure.end(true);
        }
    }
    ExitCode::from(code::USAGE)
}

/// One line for each code, under the titles of the parts.
fn listing() -> String {
    let mut out = String::new();
    for part in REGISTRY {
        out.push_str(part.title);
        out.push('\n');
        for code in part.codes {
            out.push_str(&format!("  {}  {}\n", code.name(), code.title));
        }
    }
    out.push_str("more about one: waterpark errors CODE\n");
    out
}

fn listing_json<'a>(codes: impl IntoIterator<Item = &'a Code>) -> Value {
    let one = |code: &Code| {
        json!({
            "code": code.name(), "title": code.title, "cause": code.cause, "effect": code.effect,
            "remedy": code.remedy,
        })
    };
    let codes: Vec<Value> = codes.into_iter().map(one).collect();
    json!({ "schema": "waterpark.errors.1", "complete": true, "codes": codes })
}

/// The registry as a page.
fn page() -> String {
    let mut out = String::from(
        "# Errors\n\nWhat each code means, what it did to state, and who should do what. An error's first line has its code; \
         `waterpark errors CODE`\nshows the same as this page, offline. A number is never given to another meaning.\n\n\
         The page is written by the command and compared with it by a test. To write it anew:\n\n```\n\
         cargo run --release -- errors --page > docs/errors.md\n```\n",
    );
    for part in REGISTRY {
        out.push_str(&format!("\n## {}\n", part.title));
        for code in part.codes {
            let Code {
                title,
                cause,
                effect,
                remedy,
                ..
            } = code;
            out.push_str(&format!(
                "\n### {}: {title}\n\n* Cause: {cause}\n* Effect: {effect}\n* Remedy: {remedy}\n",
                code.name()
            ));
        }
    }
    out
}

#[cfg(test)]
mod tests;
