//! What can be wrong with a configuration: one variant per mistake, with the facts that a message needs, its code and its help.
//!
//! Here are the words; `render.rs` puts them beside the line they speak of.

use std::fmt;
use std::io;

use waterpark_core::topology_log::consensus::VOTERS_MAX;
use waterpark_ring::{FACILITIES_MAX, GROUPS_MAX, GROUPS_MIN, NODES_MAX, NodeId};

use crate::codes::CodeId;
use crate::names::NodeName;
use crate::quantities::QuantityError;
use crate::source::Place;

/// One problem, where it stands, and where its counterpart stands if two places contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: What,
    /// Where.
    pub place: Place,
    /// The earlier place that this one contradicts.
    pub first: Option<Place>,
}

/// Whether the configuration can be used in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, and probably should not.
    Warning,
}

/// The type that a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A whole number.
    Number,
    /// A string.
    Text,
    /// Either.
    NumberOrText,
    /// A list of strings.
    Texts,
    /// True or false.
    Flag,
    /// A table.
    Table,
    /// The array of tables that holds the nodes.
    Nodes,
}

impl Expected {
    fn as_str(self) -> &'static str {
        match self {
            Expected::Number => "a whole number",
            Expected::Text => "a string in quotes",
            Expected::NumberOrText => "a whole number or a string in quotes",
            Expected::Texts => "a list of strings in quotes",
            Expected::Flag => "true or false",
            Expected::Table => "a table",
            Expected::Nodes => "one table per node, each under `[[node]]`",
        }
    }
}

/// Why a key file holds no key. Never the content: an error message is no place for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// Another number of digits than 64.
    Length {
        /// Characters found, blanks at both ends aside.
        chars: usize,
    },
    /// A character that is no hexadecimal digit.
    Digit {
        /// Which, from 1.
        position: usize,
    },
    /// All digits are zero: a placeholder, not a secret.
    Zero,
}

/// The mistake itself. Found values are shortened and free of control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "fields repeat the words of their variant; each variant is documented in the registry of codes"
)]
pub enum What {
    // The file as a whole.
    FileUnreadable {
        cause: io::ErrorKind,
    },
    NotUtf8,
    Empty,
    FileTooLarge {
        bytes_max: u64,
    },
    FormatUnknown {
        found: Box<str>,
    },
    // Its form.
    Syntax {
        said: Box<str>,
    },
    MissingKey {
        key: &'static str,
        table: Box<str>,
        example: &'static str,
    },
    WrongType {
        key: Box<str>,
        expected: Expected,
        found: &'static str,
    },
    OutOfRange {
        key: Box<str>,
        found: Box<str>,
        min: Box<str>,
        max: Box<str>,
    },
    NotOneOf {
        key: &'static str,
        found: Box<str>,
        allowed: &'static [&'static str],
        meant: Option<&'static str>,
    },
    Quantity {
        found: Box<str>,
        error: QuantityError,
        noun: &'static str,
        form: &'static str,
    },
    UnknownKey {
        key: Box<str>,
        table: Box<str>,
        meant: Option<&'static str>,
        allowed: Box<[&'static str]>,
    },
    ClusterId {
        chars: usize,
    },
    History {
        found: Box<str>,
        time: Option<QuantityError>,
    },
    Workers {
        found: Box<str>,
    },
    KindName {
        found: Box<str>,
    },
    FacilityName {
        bytes: usize,
    },
    Authority {
        found: Box<str>,
        again: bool,
    },
    DataFolder {
        found: Box<str>,
    },
    // Its meaning.
    NodeName {
        found: Box<str>,
        meant: Option<Box<str>>,
    },
    NodeNameTaken {
        name: NodeName,
    },
    NodeIdTaken {
        id: NodeId,
    },
    PortsOverlap {
        host: Box<str>,
        port: u16,
        other: u16,
        free: Option<u16>,
    },
    PortTooHigh {
        port: u16,
    },
    PortEphemeral {
        port: u16,
    },
    NoNodes,
    Groups {
        found: u64,
    },
    Classes {
        found: u64,
        groups: u64,
    },
    Members {
        found: u64,
    },
    MembersAboveNodes {
        members: u8,
        nodes: usize,
    },
    OneCopy {
        nodes: usize,
    },
    DcUnknown {
        found: Box<str>,
        meant: Option<Box<str>>,
        dcs: Box<[Box<str>]>,
    },
    ClassUnknown {
        found: Box<str>,
        classes: Option<u32>,
    },
    DcPair {
        found: Box<str>,
        again: bool,
    },
    ShardsUnknown {
        workers: Box<str>,
    },
    ShardsDisagree {
        shards: u16,
        workers: u16,
    },
    NodesTooMany {
        nodes: usize,
    },
    FacilitiesTooMany {
        facilities: usize,
    },
    KeyRequired {
        host: Box<str>,
    },
    LoopbackMixed {
        host: Box<str>,
        beyond: Box<str>,
    },
    Host {
        found: Box<str>,
    },
    VotersCount {
        found: usize,
    },
    VoterUnknown {
        found: Box<str>,
        meant: Option<Box<str>>,
        names: Box<[Box<str>]>,
    },
    VoterAgain {
        found: Box<str>,
    },
    JoinsWithoutVoters,
    // Variables.
    VariableUnknown {
        name: Box<str>,
        meant: Option<Box<str>>,
    },
    VariableFixed {
        name: Box<str>,
    },
    VariableNear {
        name: Box<str>,
        meant: Box<str>,
    },
    // The key, and the choice of a node.
    KeyUnreadable {
        cause: io::ErrorKind,
    },
    KeyMalformed {
        fault: KeyFault,
    },
    KeyExposed {
        mode: u32,
    },
    NodeUnknown {
        found: Box<str>,
        meant: Option<Box<str>>,
        names: Box<[Box<str>]>,
    },
}

impl What {
    /// Its code.
    #[must_use]
    pub fn code(&self) -> CodeId {
        match self {
            What::FileUnreadable { .. } => CodeId::FileUnreadable,
            What::NotUtf8 => CodeId::NotUtf8,
            What::Empty => CodeId::Empty,
            What::FileTooLarge { .. } => CodeId::FileTooLarge,
            What::FormatUnknown { .. } => CodeId::FormatUnknown,
            What::Syntax { .. } => CodeId::Syntax,
            What::MissingKey { .. } => CodeId::MissingKey,
            What::WrongType { .. } => CodeId::WrongType,
            What::OutOfRange { .. } => CodeId::OutOfRange,
            What::NotOneOf { .. } => CodeId::NotOneOf,
            What::Quantity { .. } => CodeId::Quantity,
            What::UnknownKey { .. } => CodeId::UnknownKey,
            What::ClusterId { .. } => CodeId::ClusterId,
            What::History { .. } => CodeId::History,
            What::Workers { .. } => CodeId::Workers,
            What::KindName { .. } => CodeId::KindName,
            What::FacilityName { .. } => CodeId::FacilityName,
            What::Authority { .. } => CodeId::Authority,
            What::NodeName { .. } => CodeId::NodeName,
            What::NodeNameTaken { .. } => CodeId::NodeNameTaken,
            What::NodeIdTaken { .. } => CodeId::NodeIdTaken,
            What::PortsOverlap { .. } => CodeId::PortsOverlap,
            What::PortTooHigh { .. } => CodeId::PortTooHigh,
            What::PortEphemeral { .. } => CodeId::PortEphemeral,
            What::NoNodes => CodeId::NoNodes,
            What::Groups { .. } => CodeId::Groups,
            What::Classes { .. } => CodeId::Classes,
            What::Members { .. } => CodeId::Members,
            What::MembersAboveNodes { .. } => CodeId::MembersAboveNodes,
            What::OneCopy { .. } => CodeId::OneCopy,
            What::DcUnknown { .. } => CodeId::DcUnknown,
            What::ClassUnknown { .. } => CodeId::ClassUnknown,
            What::DcPair { .. } => CodeId::DcPair,
            What::ShardsUnknown { .. } => CodeId::ShardsUnknown,
            What::ShardsDisagree { .. } => CodeId::ShardsDisagree,
            What::KeyRequired { .. } => CodeId::KeyRequired,
            What::LoopbackMixed { .. } => CodeId::LoopbackMixed,
            What::Host { .. } => CodeId::Host,
            What::DataFolder { .. } => CodeId::DataFolder,
            What::VotersCount { .. } => CodeId::VotersCount,
            What::VoterUnknown { .. } => CodeId::VoterUnknown,
            What::JoinsWithoutVoters => CodeId::JoinsWithoutVoters,
            What::VoterAgain { .. } => CodeId::VoterAgain,
            What::NodesTooMany { .. } => CodeId::NodesTooMany,
            What::FacilitiesTooMany { .. } => CodeId::FacilitiesTooMany,
            What::VariableUnknown { .. } => CodeId::VariableUnknown,
            What::VariableFixed { .. } => CodeId::VariableFixed,
            What::VariableNear { .. } => CodeId::VariableNear,
            What::KeyUnreadable { .. } => CodeId::KeyUnreadable,
            What::KeyMalformed { .. } => CodeId::KeyMalformed,
            What::KeyExposed { .. } => CodeId::KeyExposed,
            What::NodeUnknown { .. } => CodeId::NodeUnknown,
        }
    }

    /// Whether the configuration can be used in spite of it.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            What::PortEphemeral { .. }
            | What::OneCopy { .. }
            | What::LoopbackMixed { .. }
            | What::VariableNear { .. }
            | What::KeyExposed { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// What is allowed, or what to do: never a repetition of what is wrong.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            What::MissingKey { example, .. } => format!("write `{example}`"),
            What::NotOneOf { allowed, meant, .. } => suggestion(meant.as_ref(), "allowed", allowed),
            What::Quantity { form, .. } => format!("write {form}"),
            What::UnknownKey { meant, allowed, .. } => suggestion(meant.as_ref(), "allowed here", allowed),
            What::WrongType { expected, .. } => format!("write {}", expected.as_str()),
            What::OutOfRange { min, max, .. } => format!("choose from {min} to {max}"),
            What::ClusterId { .. } => "copy the 32 hexadecimal digits from another node's file".to_owned(),
            What::History { .. } => "write \"all\", \"last 100\", \"for 30d\" or \"none\"".to_owned(),
            What::Workers { .. } => {
                "write a number of shards (4), \"auto\", cores (\"2-31\", \"2,4,6\", \"4-4\") or \"numa:0\"".to_owned()
            }
            What::KindName { .. } => {
                "kinds are named in small letters, digits and `_`, a letter first, 32 at most".to_owned()
            }
            What::NodeName { meant: Some(meant), .. } => {
                format!("did you mean `{meant}`? the form is {}", NodeName::FORM)
            }
            What::NodeName { meant: None, .. } => format!("the form is {}", NodeName::FORM),
            What::NodeIdTaken { .. } => "give the newer node an id that no node ever had".to_owned(),
            What::PortsOverlap { free: Some(free), .. } => format!("{free} is free: ports are 256 apart"),
            What::PortsOverlap { free: None, .. } => "no port is free on this host: ports are 256 apart".to_owned(),
            What::DcUnknown { meant, dcs, .. } => suggestion(meant.as_ref(), "data centres of the nodes", dcs),
            What::ClassUnknown {
                classes: Some(classes), ..
            } => format!("choose from 0 to {}", classes - 1),
            What::ClassUnknown { classes: None, .. } => "write the number of a class".to_owned(),
            What::DcPair { .. } => "write two data centres of the nodes, as in `FL-TN`, each pair once".to_owned(),
            What::KeyRequired { .. } => {
                "set `key_file = \"cluster.key\"` in [cluster]; `waterpark init` makes such a file".to_owned()
            }
            What::Host { found } if found.contains(':') => {
                "write the address alone, without brackets; the port has a key of its own".to_owned()
            }
            What::Host { .. } => {
                "write an IP address or DNS name under which the other nodes reach this one".to_owned()
            }
            What::VariableUnknown { meant: Some(meant), .. } | What::VariableNear { meant, .. } => {
                format!("did you mean {meant}?")
            }
            What::NodeUnknown { meant, names, .. } | What::VoterUnknown { meant, names, .. } => {
                suggestion(meant.as_ref(), "nodes of the file", names)
            }
            // These need no more than the registry says.
            What::FileUnreadable { .. }
            | What::NotUtf8
            | What::Empty
            | What::FileTooLarge { .. }
            | What::FormatUnknown { .. }
            | What::Syntax { .. }
            | What::FacilityName { .. }
            | What::Authority { .. }
            | What::DataFolder { .. }
            | What::VotersCount { .. }
            | What::JoinsWithoutVoters
            | What::VoterAgain { .. }
            | What::NodeNameTaken { .. }
            | What::PortTooHigh { .. }
            | What::PortEphemeral { .. }
            | What::NoNodes
            | What::NodesTooMany { .. }
            | What::FacilitiesTooMany { .. }
            | What::Groups { .. }
            | What::Classes { .. }
            | What::Members { .. }
            | What::MembersAboveNodes { .. }
            | What::OneCopy { .. }
            | What::ShardsUnknown { .. }
            | What::ShardsDisagree { .. }
            | What::LoopbackMixed { .. }
            | What::VariableUnknown { meant: None, .. }
            | What::VariableFixed { .. }
            | What::KeyUnreadable { .. }
            | What::KeyMalformed { .. }
            | What::KeyExposed { .. } => self.remedy_to_the_reader(),
        }
    }

    /// The registry's remedy without the word that names the reader, who is being spoken to here.
    fn remedy_to_the_reader(&self) -> String {
        let remedy = self.code().entry().remedy;
        remedy.trim_start_matches("Operator: ").trim_end_matches('.').to_owned()
    }
}

/// `did you mean X? allowed: A, B, C`.
fn suggestion(meant: Option<&impl fmt::Display>, list_name: &str, list: &[impl fmt::Display]) -> String {
    // A cluster of five hundred nodes is not listed whole.
    const LISTED_MAX: usize = 12;
    let mut said = meant.map_or_else(String::new, |meant| format!("did you mean `{meant}`? "));
    let listed: Vec<String> = list.iter().take(LISTED_MAX).map(ToString::to_string).collect();
    said.push_str(&format!(
        "{list_name}: {}",
        if listed.is_empty() {
            "none".to_owned()
        } else {
            listed.join(", ")
        }
    ));
    if list.len() > LISTED_MAX {
        said.push_str(&format!(" and {} more", list.len() - LISTED_MAX));
    }
    said
}

impl fmt::Display for What {
    /// What is wrong, in one line without a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::FileUnreadable { cause } => write!(f, "the configuration cannot be read: {cause}"),
            What::NotUtf8 => f.write_str("a byte here is not UTF-8"),
            What::Empty => f.write_str("the configuration is empty"),
            What::FileTooLarge { bytes_max } => write!(f, "the configuration has more than {bytes_max} bytes"),
            What::FormatUnknown { found } => write!(f, "this release reads format 1, the file is of format {found}"),
            What::Syntax { said } => write!(f, "not TOML: {said}"),
            What::MissingKey { key, table, .. } => write!(f, "`{key}` is missing in {table}"),
            What::WrongType { key, expected, found } => {
                write!(f, "`{key}` takes {}, this is {found}", expected.as_str())
            }
            What::OutOfRange { key, found, .. } => write!(f, "`{key}` cannot be {found}"),
            What::NotOneOf { key, found, .. } => write!(f, "`{key}` cannot be `{found}`"),
            What::Quantity { found, error, noun, .. } => write!(f, "`{found}` is no {noun}: {error}"),
            What::UnknownKey { key, table, .. } => write!(f, "unknown key `{key}` in {table}"),
            What::ClusterId { chars: 32 } => {
                f.write_str("the cluster id is 32 hexadecimal digits, these 32 characters are not")
            }
            What::ClusterId { chars } => write!(
                f,
                "the cluster id is 32 hexadecimal digits, this has {chars} characters"
            ),
            What::History { found, time: None } => write!(f, "`{found}` says nothing about history"),
            What::History {
                found,
                time: Some(time),
            } => write!(f, "`{found}` says nothing about history: {time}"),
            What::Workers { found } => write!(f, "`{found}` says nothing about workers"),
            What::KindName { found } => write!(f, "no kind can be named `{found}`"),
            What::FacilityName { bytes: 0 } => f.write_str("a facility's name cannot be empty"),
            What::FacilityName { bytes } => write!(f, "a facility's name cannot have {bytes} bytes"),
            What::Authority { found, again: true } => write!(f, "the authority `{found}` was named before"),
            What::Authority { found, again: false } => write!(f, "no assigning authority can be named `{found}`"),
            What::DataFolder { found } => write!(f, "no folder can be named `{found}`"),
            What::NodeName { found, .. } => write!(f, "no node can be named `{found}`"),
            What::NodeNameTaken { name } => write!(f, "another node is named {name}"),
            What::NodeIdTaken { id } => write!(f, "another node has the id {id}"),
            What::PortsOverlap { host, port, other, .. } => {
                let end = u32::from(*port) + 255;
                write!(
                    f,
                    "ports {port} to {end} of {host} overlap those of the node at {other}"
                )
            }
            What::PortTooHigh { port } => write!(f, "a node at {port} needs ports beyond 65535"),
            What::PortEphemeral { port } => {
                write!(
                    f,
                    "a node at {port} uses ports that Linux gives to outgoing connections"
                )
            }
            What::NoNodes => f.write_str("the cluster has no nodes"),
            What::NodesTooMany { nodes } => write!(f, "a cluster has at most {NODES_MAX} nodes, these are {nodes}"),
            What::FacilitiesTooMany { facilities } => {
                write!(
                    f,
                    "at most {FACILITIES_MAX} facilities are bound, these are {facilities}"
                )
            }
            What::Groups { found } => {
                write!(
                    f,
                    "`groups` is a power of two from {GROUPS_MIN} to {GROUPS_MAX}, not {found}"
                )
            }
            What::Classes { found, groups } => {
                write!(
                    f,
                    "`classes` is a power of two that divides the {groups} groups, not {found}"
                )
            }
            What::Members { found } => write!(f, "a group has 1, 3, 4 or 5 members, not {found}"),
            What::MembersAboveNodes { members, nodes: 1 } => write!(f, "{members} members do not fit on one node"),
            What::MembersAboveNodes { members, nodes } => write!(f, "{members} members do not fit on {nodes} nodes"),
            What::OneCopy { nodes } => write!(f, "each message is kept on one of the {nodes} nodes only"),
            What::DcUnknown { found, .. } => write!(f, "no node stands in data centre `{found}`"),
            What::ClassUnknown { found, .. } => write!(f, "there is no class {found}"),
            What::DcPair { found, again: false } => write!(f, "`{found}` is no pair of two data centres"),
            What::DcPair { found, again: true } => write!(f, "the round trip of `{found}` was given before"),
            What::ShardsUnknown { workers } => {
                write!(
                    f,
                    "with `workers = \"{workers}\"` the other nodes cannot know this one's shards"
                )
            }
            What::ShardsDisagree { shards, workers } => {
                write!(f, "`shards` is {shards}, but `workers` makes {workers}")
            }
            What::KeyRequired { host } => {
                write!(
                    f,
                    "a node listens at {host}, beyond this machine, and the cluster has no key"
                )
            }
            What::LoopbackMixed { host, beyond } => {
                write!(f, "a node at {host} cannot be reached from the one at {beyond}")
            }
            What::Host { found } => write!(f, "`{found}` is no host to listen at"),
            What::VotersCount { found } => write!(f, "a cluster begins with 1 to {VOTERS_MAX} voters, not {found}"),
            What::VoterUnknown { found, .. } => write!(f, "the voter `{found}` is no node of the file"),
            What::JoinsWithoutVoters => write!(
                f,
                "a node joins, and no voters are named: there is no topology log to say so"
            ),
            What::VoterAgain { found } => write!(f, "the voter `{found}` was named before"),
            What::VariableUnknown { name, .. } => write!(f, "{name} overrides nothing"),
            What::VariableFixed { name } => write!(f, "{name} would change what was fixed with the cluster"),
            What::VariableNear { name, .. } => {
                write!(f, "{name} overrides nothing, but its name is near to one that does")
            }
            What::KeyUnreadable { cause } => write!(f, "the cluster key cannot be read: {cause}"),
            What::KeyMalformed {
                fault: KeyFault::Length { chars },
            } => {
                write!(
                    f,
                    "the cluster key is 64 hexadecimal digits, the file has {chars} characters"
                )
            }
            What::KeyMalformed {
                fault: KeyFault::Digit { position },
            } => {
                write!(
                    f,
                    "the cluster key is 64 hexadecimal digits, character {position} is none"
                )
            }
            What::KeyMalformed { fault: KeyFault::Zero } => f.write_str("the cluster key is zero"),
            What::KeyExposed { mode } => write!(f, "others than its owner may use the cluster key (mode {mode:04o})"),
            What::NodeUnknown { found, .. } => write!(f, "there is no node `{found}`"),
        }
    }
}

impl Problem {
    /// A problem at one place.
    #[must_use]
    pub fn new(what: What, place: Place) -> Problem {
        Problem {
            what,
            place,
            first: None,
        }
    }

    /// A problem of one place with an earlier one.
    #[must_use]
    pub fn against(what: What, place: Place, first: Place) -> Problem {
        Problem {
            what,
            place,
            first: Some(first),
        }
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> CodeId {
        self.what.code()
    }

    /// Whether the configuration can be used in spite of it.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.what.severity()
    }
}
