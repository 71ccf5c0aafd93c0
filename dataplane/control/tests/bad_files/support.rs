//! A good file, and what a row of the tables does to it.

use waterpark_control::{ConfigError, Loaded, parse};

/// A file without a fault.
pub(crate) const BASE: &str = r#"format = 1

[cluster]
id = "00112233445566778899aabbccddeeff"
key_file = "cluster.key"
groups = 128
classes = 4
members = 3

[facilities]
HOSPX = 3

[classes.1]
dc = "TN"

[kinds.record]
history = "last 100"

[links]
delay = { FL-TN = "18ms" }
compression = "lz4"

[defaults]
workers = 2
memory = "2GiB"

[[node]]
id = 1
name = "FL-A-1"
host = "127.0.0.1"
port = 7000

[[node]]
id = 2
name = "FL-B-1"
host = "127.0.0.1"
port = 7256

[[node]]
id = 3
name = "TN-A-1"
host = "127.0.0.1"
port = 7512
"#;

/// One node of it.
pub(crate) const NODE_1: &str = "[[node]]\nid = 1\nname = \"FL-A-1\"\nhost = \"127.0.0.1\"\nport = 7000\n\n";
/// One node of it.
pub(crate) const NODE_2: &str = "[[node]]\nid = 2\nname = \"FL-B-1\"\nhost = \"127.0.0.1\"\nport = 7256\n\n";
/// One node of it.
pub(crate) const NODE_3: &str = "[[node]]\nid = 3\nname = \"TN-A-1\"\nhost = \"127.0.0.1\"\nport = 7512\n";

/// One wrong file.
pub(crate) struct Case {
    /// What is wrong with it.
    pub(crate) fact: &'static str,
    /// What is replaced, everywhere, and by what.
    pub(crate) edits: &'static [(&'static str, &'static str)],
    /// All that is said, after a line break.
    pub(crate) said: &'static str,
}

impl Case {
    pub(crate) fn error(&self) -> ConfigError {
        match read(&edited(self.edits), &[]) {
            Ok(_) => panic!("{}: nothing is said", self.fact),
            Err(error) => error,
        }
    }
}

/// The good file with replacements.
pub(crate) fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(BASE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the good file has no {from:?}");
        text.replace(from, to)
    })
}

pub(crate) fn read(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    parse(
        "cluster.toml",
        text,
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}
