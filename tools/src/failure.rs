//! Why a command on data did not do what was asked: the cause, what became of it, who should act, and the exit code.
//!
//! Here are the words; who ends how is the command's to decide, and which code is whose is said in `errors/of.rs`. **Invariant:** every way to
//! end has one exit code, by exhaustive matches, and no message of the cluster is shown without what it means for the sender's message.

use std::fmt;
use std::io;
use std::process::ExitCode;

use serde_json::{Value, json};
use waterpark::config::{ConfigError, Problem};
use waterpark_client::ClientError;
use waterpark_ring::KeyError;
use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::reply::Outcome;

use crate::bench::ResultsError;
use crate::errors::{self, Coded};
use crate::latency::LatencyError;
use crate::show;
use crate::tune::TuneError;

/// A key as people write it, in every message about one that is none.
const KEY_FORM: &str = "a key is KIND/ID, or KIND/ID,NAME=VALUE and so on, for example: patient/1001,facility=HOSPX";

/// Exit codes of commands on data.
pub(crate) mod code {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const CONFIGURATION: u8 = 3;
    pub(crate) const CANNOT_REACH: u8 = 4;
    pub(crate) const UNHEALTHY: u8 = 5;
    pub(crate) const TIMED_OUT: u8 = 6;
    pub(crate) const NOT_PERMITTED: u8 = 7;
    pub(crate) const PROTECTED: u8 = 8;
    pub(crate) const HOST: u8 = 9;
    /// An objective is missed, or something became worse.
    pub(crate) const REGRESSION: u8 = 10;
    /// The generator did not keep its own schedule: the result says nothing.
    pub(crate) const INVALID: u8 = 11;
}

/// Why a command on data ended without an answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The text is no key; nothing was sent. The caller writes another.
    Key {
        /// The text.
        text: String,
        /// Which rule it breaks.
        error: KeyError,
    },
    /// The text is no address; nothing was sent. The caller writes another.
    Address {
        /// The text.
        found: String,
    },
    /// `--lines` beside a message: which of both is meant cannot be known. Nothing was sent.
    LinesAndMessage,
    /// The command line names no configuration, and there is none in the current folder; nothing was sent. The caller names one.
    NoConfig,
    /// The configuration cannot be used; nothing was sent. The operator mends it.
    Config(Box<ConfigError>),
    /// The key file cannot be used; nothing was sent. The operator mends it.
    KeyFile(Box<Problem>),
    /// The input cannot be read; what was read before was sent.
    Input {
        /// Its name.
        name: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A message of the input is longer than any cluster takes; it was not sent.
    InputTooLong {
        /// Its name.
        name: String,
        /// The longest message, in bytes.
        bytes_max: u64,
    },
    /// The configuration has no node of that name; nothing was sent. The caller names another.
    NodeName(Box<Problem>),
    /// The configuration has the node as one that the cluster was made with; nothing was sent. The operator marks the one that joins.
    NotJoining {
        /// The node.
        node: String,
    },
    /// The node that shall join does not answer as itself; nothing was changed. The operator starts it.
    Joiner {
        /// The node.
        node: String,
        /// Where its clients enter.
        address: String,
        /// What happened there.
        why: String,
    },
    /// The cluster was made without a topology log; nothing was changed. The operator makes one with it.
    NoTopologyLog,
    /// A node refused an operator's order; nothing was changed.
    Order {
        /// Why.
        why: String,
    },
    /// The time was over before an order was carried out; it stands.
    OrderOpen {
        /// The node that it is about.
        node: String,
        /// The memberships that it still has; `None` if the log has not shown the order.
        left: Option<usize>,
    },
    /// Nobody let us in; nothing was sent.
    Connect {
        /// Where we tried.
        entries: String,
        /// Why not.
        error: ClientError,
    },
    /// The slot table of the cluster contradicts itself; nothing was sent. The operator looks at the node that gave it.
    Table,
    /// There is no node, zone or data centre of that name; nothing was asked. The caller names another.
    UnknownNode {
        /// Which of these.
        what: &'static str,
        /// The name.
        found: String,
        /// The name that was probably meant.
        meant: Option<String>,
        /// All there are.
        names: Vec<String>,
    },
    /// The node holds no copy of the actor's group; nothing was asked. The caller names a member.
    NotMember {
        /// The node.
        node: String,
        /// The group.
        group: u32,
        /// Who holds one.
        members: Vec<String>,
    },
    /// The actor has no entry with this seq; it was only asked. The caller looks at which ones it has.
    NoEntry {
        /// The actor.
        key: String,
        /// The seq.
        seq: u64,
    },
    /// Messages byte for byte would go to a terminal, which takes some of them for orders; nothing was asked. The caller names a file.
    RawToTerminal,
    /// A message cannot stand in an MLLP frame; those before it were written. The caller asks for it alone.
    Unframeable {
        /// Its seq.
        seq: u64,
    },
    /// Nobody takes connections at an MLLP address; what was accepted before stands. The caller looks at the address.
    MllpUnreachable {
        /// The address.
        address: String,
        /// What the kernel said last.
        cause: io::Error,
    },
    /// Whoever answers at an MLLP address speaks something else; no answer means a message. The caller looks at the address.
    NotMllp {
        /// The address.
        address: String,
    },
    /// The call ended without an answer.
    Call(ClientError),
    /// The answer is no answer to what was asked; nothing was shown of it. The operator looks at the node.
    Answer,
    /// The host was not changed as it was asked.
    Tune(TuneError),
    /// The host was not measured.
    Latency(LatencyError),
    /// Nothing was done with results of the bench.
    Results(ResultsError),
    /// The text is no address of a peer; nothing was measured. The caller writes another.
    PeerAddress {
        /// The text.
        found: String,
    },
    /// Stdout takes nothing more. What had been sent stays sent.
    Output(io::Error),
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Key { .. }
            | Failure::Address { .. }
            | Failure::PeerAddress { .. }
            | Failure::LinesAndMessage
            | Failure::RawToTerminal
            | Failure::UnknownNode { .. }
            | Failure::NotMember { .. } => code::USAGE,
            Failure::NoConfig
            | Failure::Config(_)
            | Failure::KeyFile(_)
            | Failure::NodeName(_)
            | Failure::NotJoining { .. } => code::CONFIGURATION,
            Failure::Connect { error, .. } | Failure::Call(error) => exit_code_of(error),
            Failure::MllpUnreachable { .. } | Failure::NotMllp { .. } | Failure::Joiner { .. } => code::CANNOT_REACH,
            Failure::Tune(error) => error.exit_code(),
            Failure::Latency(error) => error.exit_code(),
            Failure::Results(error) => error.exit_code(),
            Failure::Table => code::UNHEALTHY,
            Failure::OrderOpen { .. } => code::TIMED_OUT,
            Failure::NoTopologyLog
            | Failure::Order { .. }
            | Failure::Input { .. }
            | Failure::InputTooLong { .. }
            | Failure::NoEntry { .. }
            | Failure::Unframeable { .. }
            | Failure::Answer
            | Failure::Output(_) => code::FAILED,
        }
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "schema": "waterpark.error.1", "complete": false, "missing": ["the answer"],
            "exit_code": self.exit_code(), "code": self.code().name(), "error": self.to_string(),
        })
    }

    /// Tells the operator, and programs if asked to.
    pub(crate) fn end(&self, as_json: bool) -> ExitCode {
        // Whoever closed our output (`| head`) has seen what it wanted, and waits for no word about it.
        let closed = matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe);
        match self {
            _ if closed => (),
            // These say themselves that they are errors, with their codes.
            Failure::Config(_) | Failure::KeyFile(_) | Failure::NodeName(_) => eprintln!("{self}"),
            _ => errors::say(self.code(), self),
        }
        if as_json && !matches!(self, Failure::Output(_)) {
            // It was said on stderr above.
            drop(show::print(&self.to_json().to_string()));
        }
        ExitCode::from(self.exit_code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Key { text, error } => {
                writeln!(f, "this is no key: {error}")?;
                if let Some(at) = place_of(text, *error) {
                    let (line, caret) = show::pointed(text, at);
                    writeln!(f, "  {line}\n  {}^", " ".repeat(caret))?;
                }
                write!(f, "  {KEY_FORM}")
            }
            Failure::Address { found } => {
                let found = show::text_or_escaped(found);
                write!(f, "`{found}` is no address\n  an address is HOST:PORT, for example: 127.0.0.1:7064")
            }
            Failure::LinesAndMessage => {
                f.write_str("with --lines the messages are the lines of stdin or of --file; leave MESSAGE out")
            }
            Failure::NoConfig => f.write_str(
                "there is no cluster.toml in this folder, and no other configuration was named; nothing was sent\n  \
                 name one with --config FILE, or a node with --at HOST:PORT --key-file FILE, or make a cluster with `waterpark init`",
            ),
            Failure::Config(error) => error.fmt(f),
            Failure::KeyFile(problem) | Failure::NodeName(problem) => problem.fmt(f),
            Failure::NotJoining { node } => write!(
                f,
                "the configuration has {node} as one of the nodes that the cluster was made with; nothing was sent\n  \
                 a node that joins later is a [[node]] of its own, with `joins = true`"
            ),
            Failure::Joiner { node, address, why } => write!(
                f,
                "{node} does not answer at {address}, so it was not let in: {why}\n  \
                 start it first: `waterpark node --name {node} --config FILE`; it waits until it belongs to the cluster"
            ),
            Failure::Input { name, cause } => write!(f, "{name} cannot be read: {cause}"),
            Failure::InputTooLong { name, bytes_max } => {
                write!(f, "a message from {name} has more than {bytes_max} bytes, which no cluster takes; it was not sent")
            }
            Failure::NoTopologyLog => f.write_str(
                "this cluster has no topology log: its configuration names no voters, so its groups keep their members for ever
  \
                 `waterpark init` makes a cluster with one",
            ),
            Failure::Order { why } => write!(f, "the order was refused, and nothing was changed: {why}"),
            Failure::OrderOpen { node, left: None } => {
                write!(f, "the topology log does not show the order about {node} yet; it may still come
  look with `waterpark topology`")
            }
            Failure::OrderOpen { node, left: Some(left) } => write!(
                f,
                "{node} still has {left} memberships; the order stands, and it goes on losing them\n  look with `waterpark topology`"
            ),
            Failure::Connect { entries, error } => {
                write!(f, "no node lets us in; nothing was sent\n  tried   {entries}\n  cause   {error}\n  remedy  ")?;
                f.write_str(match error {
                    ClientError::Handshake(HandshakeRefusal::Key) => "give this command the key file of the cluster's nodes",
                    ClientError::Handshake(HandshakeRefusal::Purpose) => "give the node's port for clients: its first port + 64",
                    ClientError::Handshake(_) | ClientError::OtherCluster => "look at the address and at the configuration",
                    ClientError::Frame(_) => "look at the address: it may be the port of something else",
                    _ => "look whether the nodes run, and whether these are their ports for clients (first port + 64)",
                })
            }
            Failure::Table => f.write_str("the slot table that the cluster gave contradicts itself; nothing was sent"),
            Failure::UnknownNode { what, found, meant, names } => {
                let found = show::text_or_escaped(found);
                write!(f, "there is no {what} `{found}`")?;
                if let Some(meant) = meant {
                    write!(f, "; did you mean `{meant}`?")?;
                }
                write!(f, "\n  {what}s of this cluster: {}", names.join(", "))
            }
            Failure::NotMember { node, group, members } => {
                let members = members.join(", ");
                write!(f, "{node} holds no copy of group {group}, to which this key belongs\n  its members: {members}")
            }
            Failure::NoEntry { key, seq } => {
                write!(f, "{key} has no entry with seq {seq}\n  seqs count the entries of a group, of which each actor has some: ")?;
                f.write_str("`waterpark actor history KEY` shows those of this one")
            }
            Failure::RawToTerminal => f.write_str(
                "with --raw bytes are written as they are, and this is a terminal, which takes some of them for orders\n  \
                 send them to a file or a pipe, for example: > messages.mllp; to read them here, leave --raw out",
            ),
            Failure::Unframeable { seq } => write!(
                f,
                "the message of seq {seq} holds bytes that end or begin an MLLP frame\n  write it alone, without a frame: --raw --seq {seq}"
            ),
            Failure::MllpUnreachable { address, cause } => write!(
                f,
                "nobody takes connections at {address}: {cause}\n  look whether the receiver runs; a node takes MLLP at its first port + 128"
            ),
            Failure::NotMllp { address } => write!(
                f,
                "whoever answers at {address} speaks no MLLP\n  look at the address; a node takes MLLP at its first port + 128"
            ),
            Failure::Call(error) => f.write_str(&words_of(error)),
            Failure::Tune(error) => error.fmt(f),
            Failure::Latency(error) => error.fmt(f),
            Failure::Results(error) => error.fmt(f),
            Failure::PeerAddress { found } => {
                let found = show::text_or_escaped(found);
                write!(f, "`{found}` is no address\n  an address is HOST:PORT of a name that resolves, for example: 127.0.0.1:9000")
            }
            Failure::Answer => f.write_str("the node's answer is malformed; nothing of it is shown"),
            Failure::Output(error) => write!(f, "the answer cannot be written: {error}"),
        }
    }
}

/// The exit code of a call that ended without an answer.
pub(crate) fn exit_code_of(error: &ClientError) -> u8 {
    match error {
        ClientError::Unknown | ClientError::Deadline => code::TIMED_OUT,
        ClientError::Handshake(HandshakeRefusal::Key | HandshakeRefusal::NotLoopback) => code::NOT_PERMITTED,
        ClientError::Unreachable { .. }
        | ClientError::Handshake(_)
        | ClientError::Frame(_)
        | ClientError::Cut(_)
        | ClientError::OtherCluster
        | ClientError::WrongNode
        | ClientError::Io(_)
        | ClientError::Silent => code::CANNOT_REACH,
        ClientError::Refused { .. }
        | ClientError::Full
        | ClientError::NotReady
        | ClientError::Gone
        | ClientError::NotMember { .. }
        | ClientError::Chain { .. }
        | ClientError::Closed => code::FAILED,
    }
}

/// What a call's end without an answer means for what was asked, and who should act.
pub(crate) fn words_of(error: &ClientError) -> String {
    match error {
        ClientError::Refused { outcome, detail } => refused(*outcome, *detail),
        ClientError::Unknown => {
            "timed out: the message was sent, and may have taken effect or may yet; look at the actor's history"
                .to_owned()
        }
        ClientError::Deadline => "timed out before it was sent or answered; no message is under way".to_owned(),
        other => format!("{other}; nothing took effect"),
    }
}

fn refused(outcome: Outcome, detail: u32) -> String {
    let why = match outcome {
        Outcome::Busy => format!("a queue is full; come back after {detail} ms"),
        Outcome::NoQuorum => {
            "too few members of the group were heard lately; look at the nodes and the links between them".to_owned()
        }
        Outcome::NotWriter => {
            format!("node {detail} writes the group, and could not be asked in time; look at that node")
        }
        Outcome::SessionExpired => "the session is too old or not born yet; send it again".to_owned(),
        Outcome::TooLarge => format!("the message is longer than {detail} bytes; send less, or in several messages"),
        Outcome::Full => {
            "the memory or the tables of the group's members are full; the operator must make room".to_owned()
        }
        Outcome::Gap => format!("number {detail} of this session was expected first; send it again"),
        Outcome::Old => "its number was given up; send it again".to_owned(),
        Outcome::GroupLost => {
            "the process that wrote the group is gone, and what it held with it; the operator must recover it"
                .to_owned()
        }
        Outcome::BadRequest => {
            "no node knows a kind of that name; the kinds are patient, record, register and pool".to_owned()
        }
        Outcome::Stopping => "the node is stopping; send it again in a moment".to_owned(),
        Outcome::NotMember => {
            "the node holds no copy of the group; ask a member (`waterpark actor where KEY`)".to_owned()
        }
        Outcome::LineageLost => "what the token names was lost; read without it".to_owned(),
        Outcome::Unknown => "nothing is known of its effect".to_owned(),
        Outcome::Done | Outcome::Refused | Outcome::Trapped | Outcome::Voided | Outcome::Settled => {
            format!("{outcome:?}")
        }
    };
    format!("the cluster refused it, and nothing took effect: {why}")
}

/// The byte of a text at which it stops being a key; `None` where no one place is at fault.
fn place_of(text: &str, error: KeyError) -> Option<usize> {
    let fields_from = text.find('/').map_or(text.len(), |slash| slash + 1);
    let starts = || {
        let fields = text.get(fields_from..).unwrap_or_default().split(',');
        fields.scan(fields_from, |at, field| {
            let start = *at;
            *at += field.len() + 1;
            Some((start, field.split_once('=').map_or("id", |(name, _)| name)))
        })
    };
    match error {
        KeyError::BadEscape { at } | KeyError::UnnamedValue { at } | KeyError::EmptyField { at } => Some(at),
        KeyError::BadKind => Some(0),
        KeyError::BadName { field } => starts().nth(field).map(|(at, _)| at),
        // The text is not in ascending order: the second of two equal names is looked for as people see it.
        KeyError::RepeatedName { .. } => {
            let repeated = |nth: usize, name: &str| starts().take(nth).any(|(_, other)| other == name);
            starts()
                .enumerate()
                .find(|(nth, (_, name))| repeated(*nth, name))
                .map(|(_, (at, _))| at)
        }
        KeyError::TooManyFields { .. } => starts().nth(waterpark_ring::KEY_FIELDS_MAX).map(|(at, _)| at),
        KeyError::Truncated { .. }
        | KeyError::TrailingBytes { .. }
        | KeyError::TooLong { .. }
        | KeyError::Unsorted { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_ring::Key;

    #[test]
    fn a_text_that_is_no_key_is_shown_with_its_place() {
        let table = [
            ("Patient/1", "Patient/1", 0),
            ("", "", 0),
            ("patient/1,,x=2", "patient/1,,x=2", 10),
            ("patient/1,HOSPX", "patient/1,HOSPX", 10),
            ("patient/1%2", "patient/1%2", 9),
            ("patient/1,Facility=x", "patient/1,Facility=x", 10),
            ("patient/1,b=2,id=3", "patient/1,b=2,id=3", 14),
            ("patient/a=1,b=2,a=3", "patient/a=1,b=2,a=3", 16),
            ("a/1,a=,b=,c=,d=,e=,f=,g=,h=", "a/1,a=,b=,c=,d=,e=,f=,g=,h=", 25),
            ("pa\u{7}tient/1", "pa\\u{7}tient/1", 0),
            ("a/\u{7},,b=1", "a/\\u{7},,b=1", 8),
        ];
        for (text, shown, column) in table {
            let error = Key::parse(text).unwrap_err();
            let failure = Failure::Key {
                text: text.to_owned(),
                error,
            };
            let said = failure.to_string();
            let lines: Vec<&str> = said.lines().collect();
            assert_eq!(lines[1], format!("  {shown}"), "{said}");
            assert_eq!(lines[2], format!("  {}^", " ".repeat(column)), "{said}");
            assert!(lines[3].contains("for example: patient/1001,facility=HOSPX"), "{said}");
            assert_eq!(failure.exit_code(), 2);
        }
    }

    #[test]
    fn a_key_that_is_too_long_is_refused_without_showing_all_of_it() {
        let text = format!("patient/{}", "1".repeat(100_000));
        let error = Key::parse(&text).unwrap_err();
        let said = Failure::Key { text, error }.to_string();
        assert!(said.len() < 300 && said.contains("more than 512"), "{said}");
    }

    #[test]
    fn every_end_of_a_call_has_its_exit_code() {
        let refused = |outcome| ClientError::Refused { outcome, detail: 0 };
        let table = [
            (refused(Outcome::NoQuorum), 1),
            (refused(Outcome::GroupLost), 1),
            (refused(Outcome::Full), 1),
            (ClientError::Unreachable { tried: 3 }, 4),
            (ClientError::Silent, 4),
            (ClientError::OtherCluster, 4),
            (ClientError::Io(io::ErrorKind::ConnectionRefused), 4),
            (ClientError::Handshake(HandshakeRefusal::Cluster), 4),
            (ClientError::Handshake(HandshakeRefusal::Key), 7),
            (ClientError::Unknown, 6),
            (ClientError::Deadline, 6),
        ];
        for (error, expected) in table {
            assert_eq!(Failure::Call(error).exit_code(), expected, "{error}");
        }
    }

    #[test]
    fn what_became_of_the_message_is_said_with_every_end() {
        assert!(words_of(&ClientError::Unknown).contains("may have taken effect"));
        for outcome in Outcome::ALL.into_iter().filter(|outcome| !outcome.is_logged()) {
            let said = words_of(&ClientError::Refused { outcome, detail: 7 });
            assert!(said.contains("nothing took effect"), "{said}");
        }
    }
}
