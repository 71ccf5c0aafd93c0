//! The registry of error codes: what each means, what it did to the cluster's state, and who mends it.
//!
//! Here are numbers and texts of all that a person may meet, and no error: which error has which code is said where its type is known. This
//! file has those of the configuration, `WP-10xx` to `WP-16xx`: `10xx` the file as a whole, `12xx` its form, `13xx` its meaning, `14xx`
//! variables, `15xx` the key and the choice of a node, `16xx` making a new cluster. The other thousands are in a file each.
//!
//! **Invariant:** a number is never given to another meaning. Every [`What`](crate::What) has exactly one code, by an exhaustive match; every
//! code is reached by a test.

use std::fmt;

use crate::nearest::nearest;

/// One entry of the registry, in the words of `waterpark errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `1207` of `WP-1207`.
    pub number: u16,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// How it comes about.
    pub cause: &'static str,
    /// What happened to state: nearly always nothing.
    pub effect: &'static str,
    /// Who should do what.
    pub remedy: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "WP-{:04}: {}", self.number, self.title)?;
        writeln!(f, "  cause   {}", self.cause)?;
        writeln!(f, "  effect  {}", self.effect)?;
        writeln!(f, "  remedy  {}", self.remedy)
    }
}

/// What an error of this crate does to state.
const NOT_USED: &str = "The configuration was not used: nothing was started, nothing changed.";
/// What a warning of this crate does to state.
const USED: &str = "None: this is a warning, the configuration is used as it stands.";
/// What an error of `init` does to state.
const NOT_WRITTEN: &str = "No file was written.";

/// Defines names, numbers and texts in one place, so that none can be forgotten.
macro_rules! codes {
    (#[doc = $doc:literal] $names:ident; $(
        $name:ident = $number:literal, $title:literal, cause: $cause:literal, effect: $effect:expr, remedy: $remedy:literal;
    )+) => {
        #[doc = $doc]
        ///
        /// The number of each is `code as u16`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum $names {
            $(#[doc = $title] $name = $number,)+
        }

        impl $names {
            /// Every code of this part, ascending.
            pub const ALL: &'static [$names] = &[$($names::$name),+];

            pub(crate) const ENTRIES: &'static [$crate::codes::Code] = &[$($crate::codes::Code {
                number: $number, title: $title, cause: $cause, effect: $effect, remedy: $remedy,
            },)+];

            /// Its entry in the registry.
            #[must_use]
            pub fn entry(self) -> &'static $crate::codes::Code {
                // Both lists are written from the same lines.
                let place = $names::ALL.iter().position(|code| *code == self);
                &$names::ENTRIES[place.expect("every name is in the list of all")]
            }
        }
    };
}

mod command;
mod defect;
mod edges;
mod host;
mod latency;
mod measuring;
mod refusals;
mod start;
mod tune;
mod wire;

pub use command::CommandCode;
pub use defect::DefectCode;
pub use edges::EdgeCode;
pub use host::HostCode;
pub use latency::LatencyCode;
pub use measuring::MeasuringCode;
pub use refusals::RefusalCode;
pub use start::StartCode;
pub use tune::TuneCode;
pub use wire::WireCode;

/// One part of the registry: what its numbers are about, and its entries.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// In a few words.
    pub title: &'static str,
    /// Ascending by number.
    pub codes: &'static [Code],
}

/// The whole registry, ascending by number.
pub const REGISTRY: &[Part] = &[
    Part {
        title: "Configuration",
        codes: CodeId::ENTRIES,
    },
    Part {
        title: "Commands",
        codes: CommandCode::ENTRIES,
    },
    Part {
        title: "Start of a node",
        codes: StartCode::ENTRIES,
    },
    Part {
        title: "Wire and links",
        codes: WireCode::ENTRIES,
    },
    Part {
        title: "Refusals and ends of messages",
        codes: RefusalCode::ENTRIES,
    },
    Part {
        title: "Kernel, memory and disk",
        codes: HostCode::ENTRIES,
    },
    Part {
        title: "MLLP and HL7",
        codes: EdgeCode::ENTRIES,
    },
    Part {
        title: "Bench, demo and simulator",
        codes: MeasuringCode::ENTRIES,
    },
    Part {
        title: "Defects of a host",
        codes: DefectCode::ENTRIES,
    },
    Part {
        title: "Tuning a host",
        codes: TuneCode::ENTRIES,
    },
    Part {
        title: "Measuring a host",
        codes: LatencyCode::ENTRIES,
    },
];

codes! {
    /// The name of a code of the configuration.
    CodeId;
    FileUnreadable = 1001, "configuration file cannot be read",
        cause: "The file does not exist, is a folder, or this user may not read it.",
        effect: NOT_USED,
        remedy: "Operator: name the file with --config, make one with `waterpark init`, or give this user the right to read it.";
    NotUtf8 = 1002, "configuration file is not UTF-8",
        cause: "The file was saved in another encoding, or is not text.",
        effect: NOT_USED,
        remedy: "Operator: save the file as UTF-8.";
    Empty = 1003, "configuration file is empty",
        cause: "The file has no content, or blanks and comments alone; often a copy that was cut short.",
        effect: NOT_USED,
        remedy: "Operator: copy the file again from another node, or make one with `waterpark init`.";
    FileTooLarge = 1004, "configuration file is too large",
        cause: "The file has more than 16 MiB, a thousand times what the largest cluster needs; most likely it is another file.",
        effect: NOT_USED,
        remedy: "Operator: name the right file with --config.";
    FormatUnknown = 1005, "format of the configuration is unknown",
        cause: "`format` is not 1: the file was written for another release.",
        effect: NOT_USED,
        remedy: "Operator: run the release that the file was written for, or write it anew in format 1.";

    Syntax = 1201, "not TOML",
        cause: "The text breaks the grammar of TOML.",
        effect: NOT_USED,
        remedy: "Operator: mend the line that is shown.";
    MissingKey = 1202, "a required key is missing",
        cause: "A key without a safe default was left out.",
        effect: NOT_USED,
        remedy: "Operator: write the key. Values that were fixed when the cluster was made are in the other nodes' files.";
    WrongType = 1203, "value of the wrong type",
        cause: "A number where a string belongs, a string where a table belongs, and the like.",
        effect: NOT_USED,
        remedy: "Operator: write the value in the form that is shown.";
    OutOfRange = 1204, "number out of range",
        cause: "A number is smaller or larger than the key allows.",
        effect: NOT_USED,
        remedy: "Operator: choose a number between the bounds that are shown.";
    NotOneOf = 1205, "value is none of those allowed",
        cause: "The key takes one of a few words, and this is another.",
        effect: NOT_USED,
        remedy: "Operator: write one of the words that are shown.";
    Quantity = 1206, "not a duration or size",
        cause: "A duration is a whole number and one of us, ms, s, m, h, d; a size a whole number and one of B, KiB, MiB, GiB, TiB.",
        effect: NOT_USED,
        remedy: "Operator: write number and unit without a space, without a fraction.";
    UnknownKey = 1207, "unknown key",
        cause: "A key was mistyped, stands in the wrong table, or belongs to another release.",
        effect: NOT_USED,
        remedy: "Operator: write the key that is suggested, or remove it.";
    ClusterId = 1208, "malformed cluster id",
        cause: "`cluster.id` is not 32 hexadecimal digits; often a part was lost in copying.",
        effect: NOT_USED,
        remedy: "Operator: copy the id from another node's file. Never make up a new one for a cluster that exists.";
    History = 1209, "malformed history",
        cause: "`history` of a kind is none of `all`, `last N`, `for T`, `none`.",
        effect: NOT_USED,
        remedy: "Operator: write one of the four forms.";
    Workers = 1210, "malformed workers",
        cause: "`workers` is no number of shards, `auto`, list of cores or `numa:N`.",
        effect: NOT_USED,
        remedy: "Operator: write one of the four forms.";
    KindName = 1211, "malformed name of a kind",
        cause: "Kinds are named `[a-z][a-z0-9_]{0,31}`, since the name is a part of every key.",
        effect: NOT_USED,
        remedy: "Operator: rename the kind as its handler names it.";
    FacilityName = 1212, "malformed name of a facility",
        cause: "A facility's name is empty or longer than 255 bytes: no key could carry it.",
        effect: NOT_USED,
        remedy: "Operator: write the name as the keys carry it.";
    Authority = 1213, "malformed assigning authority",
        cause: "A name in `mllp.authorities` is empty, begins or ends with a blank, has more than 255 bytes, or stands there twice.",
        effect: NOT_USED,
        remedy: "Operator: write each authority once, as senders write it in the fourth component of PID-3.";
    DataFolder = 1214, "malformed folder",
        cause: "`data` is empty or has a character that no path can have.",
        effect: NOT_USED,
        remedy: "Operator: write a folder of the nodes' own, relative to cluster.toml, as in `data`, or absolute.";

    NodeName = 1301, "malformed name of a node",
        cause: "Nodes are named DC-AZ-N: placement reads data centre and zone from the name.",
        effect: NOT_USED,
        remedy: "Operator: rename the node, as suggested if the suggestion fits.";
    NodeNameTaken = 1302, "two nodes of one name",
        cause: "Two [[node]] tables have the same name; often one was copied and not renamed.",
        effect: NOT_USED,
        remedy: "Operator: give each node a name of its own.";
    NodeIdTaken = 1303, "two nodes of one id",
        cause: "Two [[node]] tables have the same id. Logs name their members by id.",
        effect: NOT_USED,
        remedy: "Operator: give the newer node an id that no node ever had.";
    PortsOverlap = 1304, "ports of two nodes overlap",
        cause: "Each node uses the ports p to p + 255 of its host, and two nodes of one host are closer than that.",
        effect: NOT_USED,
        remedy: "Operator: move one of the nodes to a multiple of 256 above the other.";
    PortTooHigh = 1305, "port too high",
        cause: "Each node uses the ports p to p + 255, and 65535 is the last there is.",
        effect: NOT_USED,
        remedy: "Operator: choose a port of at most 65280.";
    PortEphemeral = 1306, "ports in the ephemeral range",
        cause: "Linux gives ports from 32768 to 60999 to outgoing connections. One that happens to be given blocks the node's start.",
        effect: USED,
        remedy: "Operator: choose a port of at most 32512, or reserve the range (net.ipv4.ip_local_reserved_ports).";
    NoNodes = 1307, "no nodes",
        cause: "There is no [[node]] table.",
        effect: NOT_USED,
        remedy: "Operator: write one [[node]] table per node, or make a new file with `waterpark init`.";
    Groups = 1308, "groups is no power of two of at least 64",
        cause: "A key's group is taken from bits of its hash.",
        effect: NOT_USED,
        remedy: "Operator: restore the number with which the cluster was made; it never changes.";
    Classes = 1309, "classes is no power of two that divides groups",
        cause: "A key's class is taken from bits of its hash, and each class has as many groups as any other.",
        effect: NOT_USED,
        remedy: "Operator: restore the number with which the cluster was made; it never changes.";
    Members = 1310, "members is none of 1, 3, 4, 5",
        cause: "A group has five members, three or four when servers are short, one for tries. Two would stop with either of them.",
        effect: NOT_USED,
        remedy: "Operator: choose 5, or as many of 3, 4, 5 as there are nodes.";
    MembersAboveNodes = 1311, "more members than nodes",
        cause: "Each member of a group is on a node of its own.",
        effect: NOT_USED,
        remedy: "Operator: add nodes, or lower `members`.";
    OneCopy = 1312, "one copy only",
        cause: "`members = 1` with several nodes: every message is on one node, and lost with it.",
        effect: USED,
        remedy: "Operator: raise `members` to 3 or 5 when there are as many nodes.";
    DcUnknown = 1313, "no node in that data centre",
        cause: "A data centre is named in which no node stands; often mistyped.",
        effect: NOT_USED,
        remedy: "Operator: write the data centre as it stands in the nodes' names.";
    ClassUnknown = 1314, "no such class",
        cause: "Classes are numbered from 0 to `classes` - 1.",
        effect: NOT_USED,
        remedy: "Operator: choose a class that exists; their number never changes.";
    DcPair = 1315, "malformed pair of data centres",
        cause: "A round trip is given for a pair of two different data centres, `FL-TN`, in one order only.",
        effect: NOT_USED,
        remedy: "Operator: write each pair once.";
    ShardsUnknown = 1316, "number of shards is unknown",
        cause: "`workers` is chosen on the host, by `auto` or `numa:N`, but every node must know how many shards each other one has.",
        effect: NOT_USED,
        remedy: "Operator: write `shards = N` beside the node, or give `workers` as a number or a list of cores.";
    ShardsDisagree = 1317, "shards and workers disagree",
        cause: "A shard is a worker pinned to a core: there are as many of one as of the other.",
        effect: NOT_USED,
        remedy: "Operator: leave out `shards`, or make it the number of workers.";
    KeyRequired = 1318, "a cluster beyond this machine needs a key",
        cause: "A node's host is not loopback and `cluster.key_file` is not set: strangers could join.",
        effect: NOT_USED,
        remedy: "Operator: set `key_file` to a file of 64 hexadecimal digits, the same on all nodes; `waterpark init` makes one.";
    LoopbackMixed = 1319, "loopback beside other hosts",
        cause: "Some nodes are on loopback, others are not: those on other machines cannot reach the first.",
        effect: USED,
        remedy: "Operator: write the address under which all others reach the node.";
    Host = 1320, "malformed host",
        cause: "A host is an IP address without port or brackets, or a DNS name; never the unspecified address.",
        effect: NOT_USED,
        remedy: "Operator: write the address under which the other nodes reach this one.";

    NodesTooMany = 1321, "too many nodes",
        cause: "The file has more [[node]] tables than a cluster can have nodes: 512.",
        effect: NOT_USED,
        remedy: "Operator: make two clusters.";
    FacilitiesTooMany = 1322, "too many facilities",
        cause: "More facilities are bound to classes than the topology holds: 65535. A facility that is not bound needs no entry.",
        effect: NOT_USED,
        remedy: "Operator: bind only the facilities that need a home of their own.";
    VotersCount = 1323, "too many voters, or none",
        cause: "`voters` names the nodes that decide the topology log at first: seven at most, and at least one.",
        effect: NOT_USED,
        remedy: "Operator: restore the list with which the cluster was made.";
    VoterUnknown = 1324, "a voter is no node of the file",
        cause: "A name in `voters` is that of no [[node]] with which the cluster was made; often mistyped, or the node was taken out of the file.",
        effect: NOT_USED,
        remedy: "Operator: restore the list and the nodes with which the cluster was made.";
    VoterAgain = 1325, "a voter is named twice",
        cause: "A name stands in `voters` twice. Two votes of one node would be lost together.",
        effect: NOT_USED,
        remedy: "Operator: restore the list with which the cluster was made; it names each voter once.";
    JoinsWithoutVoters = 1326, "a node joins a cluster without a topology log",
        cause: "A [[node]] has `joins = true`, and `voters` names nobody: what joins and leaves is said by the topology log alone.",
        effect: NOT_USED,
        remedy: "Operator: restore the list of voters with which the cluster was made. If it never had one, make a new cluster: `init` names voters unless `--fixed` is said.";

    VariableUnknown = 1401, "variable overrides nothing",
        cause: "A variable of the environment begins like an override, but no key has that name.",
        effect: NOT_USED,
        remedy: "Operator: rename the variable as suggested, or unset it.";
    VariableFixed = 1402, "variable would change what is fixed",
        cause: "Id, groups, classes and the nodes' ids and names were fixed when the cluster was made; tables and lists are said by the file alone.",
        effect: NOT_USED,
        remedy: "Operator: unset the variable.";
    VariableNear = 1403, "variable looks like a mistyped override",
        cause: "A variable of the environment begins with WATERPARK_ and differs from an override by few letters.",
        effect: USED,
        remedy: "Operator: rename the variable if the override was meant.";

    KeyUnreadable = 1501, "cluster key cannot be read",
        cause: "The file that `key_file` names, relative to cluster.toml, does not exist or this user may not read it.",
        effect: NOT_USED,
        remedy: "Operator: copy the key from another node, owned by the user who runs the node, mode 0600.";
    KeyMalformed = 1502, "cluster key is malformed",
        cause: "The key file is not 64 hexadecimal digits.",
        effect: NOT_USED,
        remedy: "Operator: copy the file again from another node.";
    KeyExposed = 1503, "cluster key is open to others",
        cause: "The key file's mode lets users other than its owner read or change it.",
        effect: USED,
        remedy: "Operator: chmod 600 the file; if others may have read it, give the cluster a new key.";
    NodeUnknown = 1504, "no node of that name",
        cause: "--name picks one of the [[node]] tables, and none has this name.",
        effect: "No node was started.",
        remedy: "Operator: name one of the nodes of the file.";

    WouldOverwrite = 1601, "file exists",
        cause: "The folder already has a configuration, a key or a voter file. Overwriting any of them could lose a cluster.",
        effect: NOT_WRITTEN,
        remedy: "Operator: choose another folder, or move the files away.";
    CannotWrite = 1602, "file cannot be written",
        cause: "The folder cannot be made, this user may not write there, or the disk is full.",
        effect: "What was written before is removed again; what existed before is as it was.",
        remedy: "Operator: choose a folder that this user may write to.";
    BadOptions = 1603, "the options do not make a cluster",
        cause: "The configuration that the options ask for would be refused when read.",
        effect: NOT_WRITTEN,
        remedy: "Operator: mend the options; each problem is shown in the file as it would have been.";
    TooManyNodes = 1604, "too many nodes",
        cause: "More nodes than a cluster can have (512), or more zones than letters (26).",
        effect: NOT_WRITTEN,
        remedy: "Operator: ask for fewer.";
}

impl CodeId {
    /// The number alone: `1207`.
    #[must_use]
    pub fn number(self) -> u16 {
        self.entry().number
    }
}

impl fmt::Display for CodeId {
    /// `WP-1207`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WP-{:04}", self.number())
    }
}

impl Code {
    /// Every code of the registry, ascending.
    pub fn all() -> impl Iterator<Item = &'static Code> {
        REGISTRY.iter().flat_map(|part| part.codes)
    }

    /// The code that a person wrote: `WP-1207`, `wp-1207`, `1207`.
    #[must_use]
    pub fn find(text: &str) -> Option<&'static Code> {
        // `u16::from_str` takes a sign, which no code has.
        let digits = digits_of(text).filter(|digits| digits.len() == 4)?;
        let number: u16 = digits.parse().ok()?;
        Code::all().find(|code| code.number == number)
    }

    /// The code that was probably meant: the one whose digits differ least, of several the one whose number is nearest, the smaller of two.
    #[must_use]
    pub fn nearest(text: &str) -> Option<&'static Code> {
        let digits = digits_of(text)?;
        let wanted: u32 = digits.parse().ok()?;
        let mut codes: Vec<&'static Code> = Code::all().collect();
        codes.sort_by_key(|code| u32::from(code.number).abs_diff(wanted));
        let names: Vec<String> = codes.iter().map(|code| format!("{:04}", code.number)).collect();
        let name = nearest(digits, names.iter().map(String::as_str))?;
        Code::find(name)
    }

    /// `WP-1207`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("WP-{:04}", self.number)
    }
}

/// What is left of a code behind `WP-`, if it is digits.
fn digits_of(text: &str) -> Option<&str> {
    let text = text.trim();
    let digits = text
        .get(..3)
        .filter(|p| p.eq_ignore_ascii_case("WP-"))
        .map_or(text, |p| &text[p.len()..]);
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_ascending_and_names_have_their_numbers() {
        let codes: Vec<&Code> = Code::all().collect();
        assert!(codes.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert!(codes.iter().all(|code| (1000..10_000).contains(&code.number)));
        for id in CodeId::ALL {
            assert_eq!(id.entry().number, *id as u16);
        }
        for id in CommandCode::ALL {
            assert_eq!(id.entry().number, *id as u16);
        }
        for id in RefusalCode::ALL {
            assert_eq!(id.entry().number, *id as u16);
        }
        for (part, thousands) in REGISTRY.iter().zip([1, 1, 1, 2, 3, 4, 5, 8, 9, 9, 9]) {
            let all = part.codes.iter().all(|code| code.number / 1_000 == thousands);
            assert!(all, "{} has a code outside of {thousands}000", part.title);
        }
    }

    #[test]
    fn every_text_is_a_sentence_and_every_remedy_names_who_acts() {
        const WHO: [&str; 4] = ["Operator: ", "Caller: ", "Sender: ", "Nobody: "];
        for code in Code::all() {
            for text in [code.cause, code.effect, code.remedy] {
                let sentence = text.ends_with('.') && text.len() > 4 && !text.contains(['\n', '|']);
                assert!(sentence, "WP-{}: {text}", code.number);
            }
            let who = WHO.iter().any(|who| code.remedy.starts_with(who));
            assert!(who, "WP-{}: {}", code.number, code.remedy);
            let title = !code.title.is_empty() && !code.title.ends_with('.');
            assert!(title, "WP-{}", code.number);
        }
    }

    #[test]
    fn a_code_is_found_as_people_write_it() {
        for text in ["WP-1207", "wp-1207", "1207", " WP-1207\n"] {
            assert_eq!(Code::find(text).map(|c| c.title), Some("unknown key"), "{text}");
        }
        for text in ["", "WP-", "WP-9999", "wp1207", "–1207", "+207", "é", "01207"] {
            assert_eq!(Code::find(text), None, "{text}");
        }
        assert_eq!(CodeId::UnknownKey.to_string(), "WP-1207");
    }

    #[test]
    fn the_nearest_code_is_the_one_that_a_slip_of_the_finger_leads_to() {
        for (text, meant) in [
            ("WP-1270", Some(1210)),
            ("1299", Some(1209)),
            ("WP-12070", Some(1207)),
            ("WP-9999", None),
            ("unknown key", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(Code::nearest(text).map(|code| code.number), meant, "{text}");
        }
    }

    #[test]
    fn an_entry_is_shown_in_four_lines() {
        let shown = CodeId::NotUtf8.entry().to_string();
        assert_eq!(
            shown,
            "WP-1002: configuration file is not UTF-8\n  cause   The file was saved in another encoding, or is not text.\n  effect  The \
             configuration was not used: nothing was started, nothing changed.\n  remedy  Operator: save the file as UTF-8.\n"
        );
    }
}
