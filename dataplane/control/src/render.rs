//! Problems as people and programs read them. Knows no rule; every word comes from `problem.rs`.
//!
//! ```text
//! error[WP-1207]: unknown key `memroy` in [defaults]
//!   --> cluster.toml:12:1
//!    |
//! 12 | memroy = "2GiB"
//!    | ^^^^^^
//!    = help: did you mean `memory`? allowed here: workers, memory
//! ```

use std::fmt;

use serde_json::{Value, json};

use crate::problem::{Problem, Severity};
use crate::source::Place;

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

impl fmt::Display for Problem {
    /// Several lines, without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}[{}]: {}", self.severity(), self.code(), self.what)?;
        let number = match &self.place {
            Place::Text { line, .. } => line.to_string(),
            _ => String::new(),
        };
        let gutter = " ".repeat(number.len().max(2));
        writeln!(f, "  --> {}", self.place.short())?;
        match &self.place {
            Place::File { .. } => {}
            Place::Text {
                column,
                width,
                shown,
                cut,
                ..
            } => {
                writeln!(f, "{gutter} |")?;
                writeln!(f, "{number:>2} | {shown}")?;
                writeln!(f, "{gutter} | {}{}", " ".repeat(column - 1 - cut), "^".repeat(*width))?;
            }
            Place::Variable { name, value } => {
                writeln!(f, "{gutter} |")?;
                writeln!(f, "{gutter} | {name}={value}")?;
                let width = value.chars().count().max(1);
                writeln!(
                    f,
                    "{gutter} | {}{}",
                    " ".repeat(name.chars().count() + 1),
                    "^".repeat(width)
                )?;
            }
            Place::Argument { shown } => {
                writeln!(f, "{gutter} |")?;
                writeln!(f, "{gutter} | {shown}")?;
            }
        }
        if let Some(first) = &self.first {
            writeln!(f, "{gutter} = note: see also {}", first.short())?;
        }
        write!(f, "{gutter} = help: {}", self.what.help())
    }
}

impl Problem {
    /// The same for programs: `code`, `severity`, `what`, `help`, `place` and, where there are two, `first`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code().to_string(),
            "severity": self.severity().to_string(),
            "what": self.what.to_string(),
            "help": self.what.help(),
            "place": place_json(&self.place),
            "first": self.first.as_ref().map(place_json),
        })
    }
}

fn place_json(place: &Place) -> Value {
    match place {
        Place::File { file } => json!({ "file": file }),
        Place::Text { file, line, column, .. } => json!({ "file": file, "line": line, "column": column }),
        Place::Variable { name, .. } => json!({ "variable": name }),
        Place::Argument { shown } => json!({ "argument": shown }),
    }
}
