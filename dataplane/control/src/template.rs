//! The text of a new `cluster.toml`: every key that matters, each with the reason to touch it or not.

use std::fmt::Write;

use waterpark_ring::ClusterId;

use crate::config::PORTS_PER_NODE;
use crate::quantities::Bytes;
use crate::voters::DATA_DEFAULT;

/// What differs between two new clusters.
pub(crate) struct Values<'a> {
    pub(crate) id: ClusterId,
    pub(crate) key_file: Option<&'a str>,
    pub(crate) groups: u32,
    pub(crate) classes: u32,
    pub(crate) workers: u16,
    pub(crate) memory: Bytes,
    pub(crate) names: &'a [String],
    /// None, for a cluster without a topology log.
    pub(crate) voters: &'a [&'a str],
    pub(crate) host: &'a str,
    pub(crate) base_port: u16,
}

const HEAD: &str = "\
# A Waterpark cluster. This file is the same on all its nodes; `--name` picks the node that a process runs.
# `waterpark config check` reads it as a node would, `waterpark config explain` says where each value comes from.
format = 1
";

const VOTERS: &str = "\
# The nodes that decide the topology log at first, voter 1 before voter 2. Fixed when the cluster was made: each has a voter file, and the
# log alone says who votes later.
";

const DATA: &str = "\
# The folder of a node's own files, relative to this one. FL-A-1.voter is the vote of FL-A-1: it is never copied, and never put back.
";

const FIXED: &str = "\
# Fixed when the cluster was made: other values would send keys to other groups.
";

const OPTIONAL: &str = "\
# Facilities bound to a class, so that their keys have a home:      [facilities]
#                                                                   HOSPX = 0
# Another home for a class than that of the rule:                   [classes.0]
#                                                                   dc = \"FL\"
# What actors of a kind keep (all, last 100, for 30d, none):        [kinds.record]
#                                                                   history = \"all\"
# Round trips between data centres, and compression of links:       [links]
#                                                                   delay = { FL-TN = \"18ms\" }
#                                                                   compression = \"lz4\"
# HL7 over MLLP: whose patient ids are keys, who may send           [mllp]
# (loopback, any), and how messages are acknowledged                authorities = [\"HOSPX\"]
# (original, enhanced):                                             from = \"any\"
#                                                                   mode = \"original\"
# Others vote for one that was not heard for so long, and a         [votes]
# voter's file that grew by so much is begun anew:                  replace_after = \"60s\"
#                                                                   trim = \"8MiB\"
";

const NODES: &str = "\
# One table per node. An id is never given to another node, even when its node is gone. Each node uses the ports from `port` to
# `port` + 255: peers from `port`, native clients from + 64, MLLP + 128, HTTP + 129.
";

/// The text. Values that make no configuration make a text that is refused when read.
pub(crate) fn render(values: &Values<'_>) -> String {
    let mut text = String::from(HEAD);
    if !values.voters.is_empty() {
        text.push_str(VOTERS);
        let voters: Vec<String> = values.voters.iter().map(|name| quoted(name)).collect();
        line(&mut text, "voters", &format_args!("[{}]", voters.join(", ")));
        text.push_str(DATA);
        line(&mut text, "data", &quoted(DATA_DEFAULT));
    }
    text.push_str("\n[cluster]\n");
    text.push_str(FIXED);
    line(&mut text, "id", &quoted(&values.id.to_string()));
    line(&mut text, "groups", &values.groups);
    line(&mut text, "classes", &values.classes);
    text.push_str("# Copies of each message; with five, three hold it before its sender is told.\n");
    line(&mut text, "members", &members(values.names.len()));
    if let Some(key_file) = values.key_file {
        text.push_str("# Nodes prove to each other that they hold this key. The same on all nodes, readable by their user alone.\n");
        line(&mut text, "key_file", &quoted(key_file));
    }
    text.push_str(
        "\n[defaults]\n# Shards per node, each on a core of its own; or cores (\"2-31\"). Memory budget per node. A shard takes `clients` native clients,\n# and `waiting` requests wait in it for their commit at most; more is refused, and told when to try again.\n",
    );
    line(&mut text, "workers", &values.workers);
    line(&mut text, "memory", &quoted(&values.memory.to_string()));
    text.push('\n');
    text.push_str(OPTIONAL);
    text.push('\n');
    text.push_str(NODES);
    for (index, name) in values.names.iter().enumerate() {
        // Beyond the last port there is no other number to write; the reader refuses it and says why.
        let port = index
            .saturating_mul(usize::from(PORTS_PER_NODE))
            .saturating_add(usize::from(values.base_port));
        text.push_str(if index == 0 { "[[node]]\n" } else { "\n[[node]]\n" });
        line(&mut text, "id", &(index + 1));
        line(&mut text, "name", &quoted(name));
        line(&mut text, "host", &quoted(values.host));
        line(&mut text, "port", &port);
    }
    text
}

/// Five, or as many as there are nodes; two nodes hold one copy, for a group of two would stop with either.
fn members(nodes: usize) -> usize {
    match nodes {
        0..=2 => 1,
        3 | 4 => nodes,
        _ => 5,
    }
}

fn line(text: &mut String, key: &str, value: &dyn std::fmt::Display) {
    writeln!(text, "{key} = {value}").expect("a string takes any text");
}

/// A basic string of TOML; whatever an operator named a node, the text stays well formed.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            c if c.is_control() => write!(text, "\\u{:04x}", u32::from(c)).expect("a string takes any text"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}
