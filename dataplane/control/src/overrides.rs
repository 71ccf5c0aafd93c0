//! Which key a variable of the environment overrides. Variables are an argument; this module never reads the environment.
//!
//! `WATERPARK_DEFAULTS_MEMORY` is `defaults.memory`; `WATERPARK_NODE_FL_A_1_HOST` is `host` of node `FL-A-1`. Only what may differ
//! between two runs of one cluster can be overridden: id, groups and classes were fixed when the cluster was made, and another value
//! would send keys to other groups. Variables that begin with `WATERPARK_` and no table's name belong to someone else.

use std::collections::BTreeMap;

use crate::names::NodeName;
use crate::nearest::nearest;
use crate::problem::{Problem, What};
use crate::source::{Place, quoted};

const PREFIX: &str = "WATERPARK_";

/// Variables of single keys: after the prefix, the table, the key.
const KEYS: [(&str, &str, &str); 14] = [
    // Its short name is that of the folder where tests look for real data.
    ("DATA_FOLDER", "", "data"),
    ("CLUSTER_KEY_FILE", "cluster", "key_file"),
    ("DEFAULTS_WORKERS", "defaults", "workers"),
    ("DEFAULTS_MEMORY", "defaults", "memory"),
    ("DEFAULTS_CLIENTS", "defaults", "clients"),
    ("DEFAULTS_WAITING", "defaults", "waiting"),
    ("LINKS_COMPRESSION", "links", "compression"),
    ("MLLP_LISTEN", "mllp", "listen"),
    ("MLLP_FROM", "mllp", "from"),
    ("MLLP_MODE", "mllp", "mode"),
    ("MLLP_TIMEOUT", "mllp", "timeout"),
    ("MLLP_MESSAGE_MAX", "mllp", "message_max"),
    ("VOTES_REPLACE_AFTER", "votes", "replace_after"),
    ("VOTES_TRIM", "votes", "trim"),
];
/// Keys of a node that can be overridden.
const NODE_KEYS: [(&str, &str); 5] = [
    ("HOST", "host"),
    ("PORT", "port"),
    ("WORKERS", "workers"),
    ("MEMORY", "memory"),
    ("SHARDS", "shards"),
];
/// Begins of variables that would reach what was fixed, or what a single value cannot say.
const FIXED: [&str; 11] = [
    "FORMAT",
    "VOTERS",
    "CLUSTER_ID",
    "CLUSTER_GROUPS",
    "CLUSTER_CLASSES",
    "CLUSTER_MEMBERS",
    "LINKS_DELAY",
    "MLLP_AUTHORITIES",
    "FACILITIES_",
    "CLASSES_",
    "KINDS_",
];
/// Begins of variables that are meant for a key.
const TABLES: [&str; 6] = ["CLUSTER_", "DEFAULTS_", "LINKS_", "MLLP_", "NODE_", "VOTES_"];

/// A variable that overrides a key.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    pub(crate) name: Box<str>,
    pub(crate) value: Box<str>,
}

impl Override {
    pub(crate) fn place(&self) -> Place {
        Place::Variable {
            name: quoted(&self.name),
            value: quoted(&self.value),
        }
    }
}

/// Overrides by table and key: `("defaults", "memory")`, `("node.FL-A-1", "host")`.
#[derive(Debug, Default)]
pub(crate) struct Overrides(BTreeMap<(String, &'static str), Override>);

impl Overrides {
    /// Those among the variables that override something, and what is wrong with others that seem to try.
    pub(crate) fn resolve(
        variables: impl IntoIterator<Item = (String, String)>,
        nodes: &[NodeName],
    ) -> (Overrides, Vec<Problem>) {
        let mut overrides = Overrides::default();
        let mut problems = Vec::new();
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let target = target(rest, nodes);
            let wrong = |what: fn(Box<str>, Option<Box<str>>) -> What, meant| {
                let place = Place::Variable {
                    name: quoted(&name),
                    value: quoted(&value),
                };
                Problem::new(what(quoted(&name), meant), place)
            };
            match target {
                Target::Key(table, key) => {
                    overrides.0.insert(
                        (table, key),
                        Override {
                            name: name.into(),
                            value: value.into(),
                        },
                    );
                }
                Target::Fixed => problems.push(wrong(|name, _| What::VariableFixed { name }, None)),
                Target::Nothing { meant } => {
                    problems.push(wrong(|name, meant| What::VariableUnknown { name, meant }, meant));
                }
                Target::Near { meant } => problems.push(wrong(
                    |name, meant| What::VariableNear {
                        name,
                        meant: meant.unwrap_or_default(),
                    },
                    Some(meant),
                )),
                Target::Foreign => {}
            }
        }
        // Variables come in no order; messages have one.
        problems.sort_by_cached_key(|problem: &Problem| problem.place.short());
        (overrides, problems)
    }

    pub(crate) fn of(&self, table: &str, key: &'static str) -> Option<&Override> {
        self.0.get(&(table.to_owned(), key))
    }
}

/// What a variable aims at.
enum Target {
    Key(String, &'static str),
    Fixed,
    Nothing { meant: Option<Box<str>> },
    Near { meant: Box<str> },
    Foreign,
}

fn target(rest: &str, nodes: &[NodeName]) -> Target {
    if let Some((_, table, key)) = KEYS.iter().find(|(variable, ..)| *variable == rest) {
        return Target::Key((*table).to_owned(), key);
    }
    if let Some((node, key)) = node_key(rest, nodes) {
        return match NODE_KEYS.iter().find(|(variable, _)| *variable == key) {
            Some((_, key)) => Target::Key(format!("node.{node}"), key),
            None if key == "ID" || key == "NAME" => Target::Fixed,
            None => Target::Nothing {
                meant: meant(rest, nodes),
            },
        };
    }
    if FIXED
        .iter()
        .any(|fixed| rest == *fixed || (fixed.ends_with('_') && rest.starts_with(fixed)))
    {
        return Target::Fixed;
    }
    if TABLES.iter().any(|table| rest.starts_with(table)) {
        return Target::Nothing {
            meant: meant(rest, nodes),
        };
    }
    meant(rest, nodes).map_or(Target::Foreign, |meant| Target::Near { meant })
}

/// `NODE_FL_A_1_HOST` is `HOST` of `FL-A-1`. No key has an underscore, so the last one parts name and key.
fn node_key<'a, 'b>(rest: &'a str, nodes: &'b [NodeName]) -> Option<(&'b NodeName, &'a str)> {
    let (name, key) = rest.strip_prefix("NODE_")?.rsplit_once('_')?;
    nodes
        .iter()
        .find(|node| node.in_variables() == name)
        .map(|node| (node, key))
}

/// The variable that exists and is nearest.
fn meant(rest: &str, nodes: &[NodeName]) -> Option<Box<str>> {
    let of_nodes = nodes.iter().flat_map(|node| {
        let name = node.in_variables();
        NODE_KEYS.iter().map(move |(key, _)| format!("NODE_{name}_{key}"))
    });
    let all: Vec<String> = KEYS
        .iter()
        .map(|(variable, ..)| (*variable).to_owned())
        .chain(of_nodes)
        .collect();
    nearest(rest, all.iter().map(String::as_str)).map(|near| format!("{PREFIX}{near}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(name: &str) -> (Overrides, Vec<String>) {
        let nodes = ["FL-A-1".parse().unwrap(), "TN-A-1".parse().unwrap()];
        let (overrides, problems) = Overrides::resolve([(name.to_owned(), "x".to_owned())], &nodes);
        (
            overrides,
            problems.iter().map(|p| format!("{} {}", p.code(), p.what)).collect(),
        )
    }

    #[test]
    fn a_variable_reaches_its_key() {
        let table = [
            ("WATERPARK_CLUSTER_KEY_FILE", "cluster", "key_file"),
            ("WATERPARK_DATA_FOLDER", "", "data"),
            ("WATERPARK_DEFAULTS_MEMORY", "defaults", "memory"),
            ("WATERPARK_DEFAULTS_WORKERS", "defaults", "workers"),
            ("WATERPARK_DEFAULTS_CLIENTS", "defaults", "clients"),
            ("WATERPARK_DEFAULTS_WAITING", "defaults", "waiting"),
            ("WATERPARK_LINKS_COMPRESSION", "links", "compression"),
            ("WATERPARK_MLLP_LISTEN", "mllp", "listen"),
            ("WATERPARK_MLLP_FROM", "mllp", "from"),
            ("WATERPARK_MLLP_MODE", "mllp", "mode"),
            ("WATERPARK_MLLP_TIMEOUT", "mllp", "timeout"),
            ("WATERPARK_MLLP_MESSAGE_MAX", "mllp", "message_max"),
            ("WATERPARK_VOTES_REPLACE_AFTER", "votes", "replace_after"),
            ("WATERPARK_VOTES_TRIM", "votes", "trim"),
            ("WATERPARK_NODE_TN_A_1_HOST", "node.TN-A-1", "host"),
            ("WATERPARK_NODE_FL_A_1_SHARDS", "node.FL-A-1", "shards"),
        ];
        for (name, at, key) in table {
            let (overrides, problems) = resolved(name);
            assert_eq!(overrides.of(at, key).map(|o| &*o.value), Some("x"), "{name}");
            assert!(problems.is_empty(), "{problems:?}");
        }
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        for name in [
            "WATERPARK_DATA",
            "WATERPARK_NODE",
            "WATERPARK_CONFIG",
            "PATH",
            "waterpark_defaults_memory",
            "WATERPARK_",
        ] {
            let (overrides, problems) = resolved(name);
            assert!(overrides.0.is_empty() && problems.is_empty(), "{name} {problems:?}");
        }
    }

    #[test]
    fn a_variable_that_aims_at_nothing_is_named() {
        let table = [
            (
                "WATERPARK_DEFAULTS_MEMROY",
                "WP-1401 WATERPARK_DEFAULTS_MEMROY overrides nothing",
            ),
            (
                "WATERPARK_NODE_UT_A_1_HOST",
                "WP-1401 WATERPARK_NODE_UT_A_1_HOST overrides nothing",
            ),
            (
                "WATERPARK_NODE_FL_A_1_HOTS",
                "WP-1401 WATERPARK_NODE_FL_A_1_HOTS overrides nothing",
            ),
            (
                "WATERPARK_CLUSTER_GROUPS",
                "WP-1402 WATERPARK_CLUSTER_GROUPS would change what was fixed with the cluster",
            ),
            (
                "WATERPARK_NODE_FL_A_1_ID",
                "WP-1402 WATERPARK_NODE_FL_A_1_ID would change what was fixed with the cluster",
            ),
            (
                "WATERPARK_VOTERS",
                "WP-1402 WATERPARK_VOTERS would change what was fixed with the cluster",
            ),
            (
                "WATERPARK_KINDS_RECORD",
                "WP-1402 WATERPARK_KINDS_RECORD would change what was fixed with the cluster",
            ),
            (
                "WATERPARK_MLLP_AUTHORITIES",
                "WP-1402 WATERPARK_MLLP_AUTHORITIES would change what was fixed with the cluster",
            ),
            ("WATERPARK_MLLP_FORM", "WP-1401 WATERPARK_MLLP_FORM overrides nothing"),
            (
                "WATERPARK_DEFAULT_MEMORY",
                "WP-1403 WATERPARK_DEFAULT_MEMORY overrides nothing, but its name is near to one that does",
            ),
        ];
        for (name, said) in table {
            assert_eq!(resolved(name).1, [said], "{name}");
        }
    }
}
