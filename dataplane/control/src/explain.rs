//! Where each value of a configuration came from: what `config explain` shows.

use std::fmt;

use serde_json::{Value, json};

/// Who gave a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file said it.
    File {
        /// At this line, from 1.
        line: usize,
    },
    /// A variable of the environment said it.
    Variable {
        /// Its name.
        name: Box<str>,
        /// The line of the file that it overrides, if the file said something too.
        instead_of: Option<usize>,
    },
    /// Nobody: the value that a key has by itself.
    Default,
    /// Another key, which this one follows.
    Follows {
        /// The other key.
        key: &'static str,
    },
}

/// One value with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// `defaults.memory`, `node.FL-A-1.port`.
    pub key: Box<str>,
    /// As the file would say it.
    pub value: Box<str>,
    /// Who said it.
    pub origin: Origin,
}

impl Explained {
    /// One line: `defaults.memory = 2GiB  (cluster.toml:12)`. `file` is the file's name.
    #[must_use]
    pub fn line(&self, file: &str) -> String {
        let Explained { key, value, origin } = self;
        match origin {
            Origin::File { line } => format!("{key} = {value}  ({file}:{line})"),
            Origin::Variable { name, instead_of: None } => format!("{key} = {value}  (environment {name})"),
            Origin::Variable {
                name,
                instead_of: Some(line),
            } => {
                format!("{key} = {value}  (environment {name}, instead of {file}:{line})")
            }
            Origin::Default => format!("{key} = {value}  (default)"),
            Origin::Follows { key: other } => format!("{key} = {value}  (from {other})"),
        }
    }

    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let origin = match &self.origin {
            Origin::File { line } => json!({ "line": line }),
            Origin::Variable { name, instead_of } => json!({ "variable": name, "instead_of_line": instead_of }),
            Origin::Default => json!("default"),
            Origin::Follows { key } => json!({ "key": key }),
        };
        json!({ "key": self.key, "value": self.value, "origin": origin })
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line("cluster.toml"))
    }
}
