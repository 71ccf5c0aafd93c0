//! From TOML to a draft: which tables and keys there are, and what type each has. What the values mean together is `check.rs`'s.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};
use waterpark_ring::{ClusterId, GROUPS_MAX, NodeId, SHARDS_MAX};

use crate::config::{CLIENTS_MAX, Compression, History, WAITING_MAX, WAITING_MIN, Workers, from_hex};
use crate::draft::{Draft, DraftDelay, DraftHome, DraftNode};
use crate::fields::{Fields, Got, Reader};
use crate::mllp::{DraftMllp, read_mllp};
use crate::names::{NodeName, is_kind};
use crate::overrides::Overrides;
use crate::problem::{Expected, Problem, What};
use crate::quantities::{Bytes, Duration};
use crate::source::{Place, Source, quoted};
use crate::voters::{read_data, read_voters};

/// Below this a node cannot hold the buffers of its links.
const MEMORY_MIN: Bytes = Bytes::new(16 << 20);
/// Above this an amount was mistyped.
const MEMORY_MAX: Bytes = Bytes::new(64 << 40);
/// Of a node that says nothing, in a file that says nothing.
const MEMORY_DEFAULT: Bytes = Bytes::new(1 << 30);
/// What a file that says nothing of votes means, and the bounds of one that does. Shorter than a restart takes, every restart would move a vote; a
/// file has to hold a state and some entries at least.
const REPLACE_AFTER: Duration = Duration::from_us(60_000_000);
const REPLACE_AFTER_MIN: Duration = Duration::from_us(1_000_000);
const REPLACE_AFTER_MAX: Duration = Duration::from_us(86_400_000_000);
const TRIM: Bytes = Bytes::new(8 << 20);
const TRIM_MIN: Bytes = Bytes::new(16 << 10);
const TRIM_MAX: Bytes = Bytes::new(1 << 30);
/// Breaks of the grammar that are named at most.
const SYNTAX_PROBLEMS_MAX: usize = 20;
/// Longest name of a facility that a key could carry beside its other fields.
const FACILITY_BYTES_MAX: usize = 255;

/// What was read, and what could not be.
pub(crate) fn read(
    source: &Source<'_>,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> (Option<Draft>, Vec<Problem>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What the parser made of the rest is a guess, and problems of a guess mislead.
        return (None, syntax(source, text, &errors));
    }
    let document = document.get_ref();
    if document.is_empty() {
        return (None, vec![Problem::new(What::Empty, source.file())]);
    }
    let (overrides, problems) = Overrides::resolve(variables, &node_names(document));
    let mut reader = Reader {
        source,
        overrides: &overrides,
        problems,
    };
    let draft = top(&mut reader, document);
    // Under another format every other word may mean something else.
    if let Some(at) = reader
        .problems
        .iter()
        .position(|problem| matches!(problem.what, What::FormatUnknown { .. }))
    {
        return (None, vec![reader.problems.swap_remove(at)]);
    }
    (Some(draft), reader.problems)
}

/// One problem per line, and a screen of them: what follows is mostly their echo, or the file is no TOML at all.
fn syntax(source: &Source<'_>, text: &str, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut last_line = 0;
    let mut problems = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = source.line_number(span.start);
        if line != last_line && problems.len() < SYNTAX_PROBLEMS_MAX {
            problems.push(Problem::new(
                What::Syntax {
                    said: quoted(error.message()),
                },
                source.place(span),
            ));
            last_line = line;
        }
    }
    problems
}

/// Names of nodes as far as they are well formed: variables name nodes, and are needed before anything else is read.
fn node_names(document: &DeTable<'_>) -> Vec<NodeName> {
    let nodes = document.get("node").and_then(|value| value.get_ref().as_array());
    let names = nodes
        .into_iter()
        .flatten()
        .filter_map(|node| node.get_ref().get("name")?.get_ref().as_str());
    names.filter_map(|name| name.parse().ok()).collect()
}

fn top<'a>(reader: &mut Reader<'a>, document: &'a DeTable<'a>) -> Draft {
    let file = reader.source.file();
    let mut top = Fields::new(reader, Some(document), "", "the file", file.clone());
    format(&mut top);
    let voters = read_voters(&mut top);
    let data = read_data(&mut top);
    top.require("cluster", "[cluster]");
    let cluster = top.table("cluster");
    let facilities = top.table("facilities");
    let classes = top.table("classes");
    let kinds = top.table("kinds");
    let links = top.table("links");
    let mllp = top.table("mllp");
    let defaults = top.table("defaults");
    let votes = top.table("votes");
    let nodes = top.value("node");
    top.finish();

    let (table, header) = or_absent(mllp, &file);
    let mllp = read_mllp(reader, table, header);
    let mut draft = empty(file, mllp, cluster.as_ref().map(|(_, place)| place.clone()));
    draft.voters = voters;
    draft.data = data;
    if let Some((table, header)) = cluster {
        read_cluster(reader, table, header, &mut draft);
    }
    draft.facilities = facilities
        .map(|(table, _)| read_facilities(reader, table))
        .unwrap_or_default();
    draft.homes = classes.map(|(table, _)| read_homes(reader, table)).unwrap_or_default();
    draft.kinds = kinds.map(|(table, _)| read_kinds(reader, table)).unwrap_or_default();
    read_links(reader, links, &mut draft);
    read_defaults(reader, defaults, &mut draft);
    read_votes(reader, votes, &mut draft);
    draft.nodes_unread = nodes.is_some_and(|value| !value.get_ref().is_array());
    draft.nodes = nodes.map(|value| read_nodes(reader, value)).unwrap_or_default();
    draft
}

fn empty(file: Place, mllp: DraftMllp, cluster: Option<Place>) -> Draft {
    Draft {
        cluster: cluster.unwrap_or_else(|| file.clone()),
        file,
        id: None,
        key_file: None,
        key_file_unread: false,
        nodes_unread: false,
        groups: None,
        classes: None,
        members: None,
        facilities: Vec::new(),
        homes: Vec::new(),
        kinds: Vec::new(),
        delays: Vec::new(),
        compression: None,
        mllp,
        workers: None,
        memory: None,
        clients: None,
        waiting: None,
        voters: None,
        data: None,
        replace_after: None,
        trim: None,
        nodes: Vec::new(),
    }
}

/// The format decides what everything else means, so it is never guessed.
fn format(top: &mut Fields<'_, '_>) {
    top.require("format", "format = 1");
    if let Some(found) = top.number("format", 1..=u64::from(u16::MAX))
        && found.value != 1
    {
        let what = What::FormatUnknown {
            found: found.value.to_string().into(),
        };
        top.reader.push(what, found.place);
    }
}

fn read_cluster<'a>(reader: &mut Reader<'a>, table: &'a DeTable<'a>, header: Place, draft: &mut Draft) {
    let mut fields = Fields::new(reader, Some(table), "cluster", "[cluster]", header);
    fields.require("id", "id = \"32 hexadecimal digits, the same on all nodes\"");
    draft.id = fields.parsed("id", |text| {
        from_hex(text).map(ClusterId).ok_or_else(|| What::ClusterId {
            chars: text.chars().count(),
        })
    });
    draft.key_file = fields.parsed("key_file", |text| Ok(text.into()));
    draft.key_file_unread = draft.key_file.is_none() && !fields.is_unset("key_file");
    fields.require("groups", "groups = 128");
    draft.groups = fields.number("groups", 1..=u64::from(GROUPS_MAX));
    fields.require("classes", "classes = 4");
    draft.classes = fields.number("classes", 1..=u64::from(GROUPS_MAX));
    fields.require("members", "members = 5");
    draft.members = fields.number("members", 1..=5);
    fields.finish();
}

/// Names are the operator's own, so no key is unknown.
fn read_facilities<'a>(reader: &mut Reader<'a>, table: &'a DeTable<'a>) -> Vec<(Box<str>, Got<u32>)> {
    let mut facilities = Vec::new();
    for (name, value) in table {
        let bytes = name.get_ref().len();
        if !(1..=FACILITY_BYTES_MAX).contains(&bytes) {
            let place = reader.source.place(name.span());
            reader.push(What::FacilityName { bytes }, place);
        }
        let class = reader.number_of(name.get_ref(), value, 0..=u64::from(GROUPS_MAX));
        facilities.extend(class.and_then(narrow).map(|class| ((&**name.get_ref()).into(), class)));
    }
    facilities
}

fn read_homes<'a>(reader: &mut Reader<'a>, table: &'a DeTable<'a>) -> Vec<DraftHome> {
    let mut homes = Vec::new();
    for (number, value) in table {
        let place = reader.source.place(number.span());
        let class = number
            .get_ref()
            .parse::<u32>()
            .ok()
            .filter(|class| class.to_string() == **number.get_ref());
        if class.is_none() {
            reader.push(
                What::ClassUnknown {
                    found: quoted(number.get_ref()),
                    classes: None,
                },
                place.clone(),
            );
        }
        let Some(inner) = reader.table(number.get_ref(), value) else {
            continue;
        };
        let mut fields = Fields::new(reader, Some(inner), "classes", "[classes.N]", place.clone());
        fields.require("dc", "dc = \"FL\"");
        let dc = fields.parsed("dc", |text| Ok(text.into()));
        fields.finish();
        if let (Some(class), Some(dc)) = (class, dc) {
            let origin = dc.origin.clone();
            homes.push(DraftHome {
                class: Got {
                    value: class,
                    place,
                    origin,
                },
                dc,
            });
        }
    }
    homes
}

fn read_kinds<'a>(reader: &mut Reader<'a>, table: &'a DeTable<'a>) -> Vec<(Box<str>, Got<History>)> {
    let mut kinds = Vec::new();
    for (name, value) in table {
        let place = reader.source.place(name.span());
        if !is_kind(name.get_ref()) {
            reader.push(
                What::KindName {
                    found: quoted(name.get_ref()),
                },
                place.clone(),
            );
        }
        let Some(inner) = reader.table(name.get_ref(), value) else {
            continue;
        };
        let mut fields = Fields::new(reader, Some(inner), "kinds", "[kinds.K]", place);
        fields.require("history", "history = \"all\"");
        let history = fields.parsed("history", History::from_text);
        fields.finish();
        kinds.extend(history.map(|history| ((&**name.get_ref()).into(), history)));
    }
    kinds
}

fn read_links<'a>(reader: &mut Reader<'a>, table: Option<(&'a DeTable<'a>, Place)>, draft: &mut Draft) {
    let (table, header) = or_absent(table, &draft.file);
    let mut fields = Fields::new(reader, table, "links", "[links]", header);
    let delay = fields.table("delay");
    let unset = fields.is_unset("compression");
    draft.compression = fields.parsed("compression", |text| {
        one_of("compression", text, Compression::WORDS, Compression::from_word)
    });
    if unset {
        draft.compression = Some(Got::default(Compression::default(), draft.file.clone()));
    }
    fields.finish();
    draft.delays = delay.map(|(table, _)| read_delays(reader, table)).unwrap_or_default();
}

fn read_delays<'a>(reader: &mut Reader<'a>, table: &'a DeTable<'a>) -> Vec<DraftDelay> {
    let mut delays = Vec::new();
    for (name, value) in table {
        let place = reader.source.place(name.span());
        let pair = name
            .get_ref()
            .split_once('-')
            .filter(|(a, b)| a != b && !b.contains('-'));
        if pair.is_none() {
            reader.push(
                What::DcPair {
                    found: quoted(name.get_ref()),
                    again: false,
                },
                place.clone(),
            );
        }
        let Some(text) = reader.text_of(name.get_ref(), value) else {
            continue;
        };
        match (duration(text.value), pair) {
            (Ok(delay), Some((a, b))) => {
                let pair = (a.min(b).into(), a.max(b).into());
                let origin = text.origin.clone();
                delays.push(DraftDelay {
                    pair: Got {
                        value: pair,
                        place,
                        origin,
                    },
                    delay: text.map(|_| delay),
                });
            }
            (Ok(_), None) => {}
            (Err(what), _) => reader.push(what, text.place),
        }
    }
    delays
}

fn read_defaults<'a>(reader: &mut Reader<'a>, table: Option<(&'a DeTable<'a>, Place)>, draft: &mut Draft) {
    let (table, header) = or_absent(table, &draft.file);
    let mut fields = Fields::new(reader, table, "defaults", "[defaults]", header);
    let (no_workers, no_memory) = (fields.is_unset("workers"), fields.is_unset("memory"));
    let (no_clients, no_waiting) = (fields.is_unset("clients"), fields.is_unset("waiting"));
    draft.workers = fields.parsed_or_number("workers", workers);
    draft.memory = fields.parsed("memory", memory);
    draft.clients = fields.number("clients", 1..=u64::from(CLIENTS_MAX));
    draft.waiting = fields.number("waiting", u64::from(WAITING_MIN)..=u64::from(WAITING_MAX));
    fields.finish();
    if no_clients {
        draft.clients = Some(Got::default(u64::from(CLIENTS_MAX), draft.file.clone()));
    }
    if no_waiting {
        draft.waiting = Some(Got::default(u64::from(WAITING_MAX), draft.file.clone()));
    }
    if no_workers {
        draft.workers = Some(Got::default(Workers::Count(1), draft.file.clone()));
    }
    if no_memory {
        draft.memory = Some(Got::default(MEMORY_DEFAULT, draft.file.clone()));
    }
}

fn read_votes<'a>(reader: &mut Reader<'a>, table: Option<(&'a DeTable<'a>, Place)>, draft: &mut Draft) {
    let (table, header) = or_absent(table, &draft.file);
    let mut fields = Fields::new(reader, table, "votes", "[votes]", header);
    let (no_replace, no_trim) = (fields.is_unset("replace_after"), fields.is_unset("trim"));
    draft.replace_after = fields.parsed("replace_after", |text| {
        time("replace_after", text, REPLACE_AFTER_MIN, REPLACE_AFTER_MAX)
    });
    draft.trim = fields.parsed("trim", |text| size("trim", text, TRIM_MIN, TRIM_MAX));
    fields.finish();
    if no_replace {
        draft.replace_after = Some(Got::default(REPLACE_AFTER, draft.file.clone()));
    }
    if no_trim {
        draft.trim = Some(Got::default(TRIM, draft.file.clone()));
    }
}

fn read_nodes<'a>(reader: &mut Reader<'a>, value: &'a Spanned<DeValue<'a>>) -> Vec<DraftNode> {
    let mut nodes = Vec::new();
    let list: Option<&'a DeArray<'a>> = value.get_ref().as_array();
    if list.is_none() {
        reader.wrong_type("node", Expected::Nodes, value);
    }
    for value in list.into_iter().flatten() {
        let header = reader.source.place(value.span());
        if let Some(table) = reader.table("node", value) {
            nodes.push(read_node(reader, table, header));
        }
    }
    nodes
}

fn read_node<'a>(reader: &mut Reader<'a>, table: &'a DeTable<'a>, header: Place) -> DraftNode {
    let own_name = table
        .get("name")
        .and_then(|value| value.get_ref().as_str())
        .unwrap_or_default();
    let mut fields = Fields::new(
        reader,
        Some(table),
        format!("node.{own_name}"),
        "[[node]]",
        header.clone(),
    );
    fields.require("id", "id = 1");
    let id = fields
        .number("id", 1..=u64::from(u16::MAX))
        .and_then(narrow::<u16>)
        .map(|got| got.map(NodeId));
    fields.require("name", "name = \"FL-A-1\"");
    let name = fields.parsed("name", |text| {
        text.parse::<NodeName>().map_err(|error| What::NodeName {
            found: quoted(text),
            meant: error.meant,
        })
    });
    fields.require("host", "host = \"127.0.0.1\"");
    let host = fields.parsed("host", |text| Ok(text.into()));
    fields.require("port", "port = 7000");
    let port = fields.number("port", 1..=u64::from(u16::MAX)).and_then(narrow);
    let workers = fields.parsed_or_number("workers", workers);
    let memory = fields.parsed("memory", memory);
    let shards = fields.number("shards", 1..=u64::from(SHARDS_MAX)).and_then(narrow);
    let unread = |unset: bool, read: bool| !unset && !read;
    let shards_unread =
        unread(fields.is_unset("workers"), workers.is_some()) || unread(fields.is_unset("shards"), shards.is_some());
    let joins = if fields.is_unset("joins") {
        // Asked for all the same, so that a mistyped one is told what was meant.
        fields.value("joins");
        None
    } else {
        fields.flag("joins")
    };
    fields.finish();
    DraftNode {
        joins,
        header,
        id,
        name,
        host,
        port,
        workers,
        memory,
        shards,
        shards_unread,
    }
}

/// A table that the file does not have would have stood in the file.
fn or_absent<'a>(table: Option<(&'a DeTable<'a>, Place)>, file: &Place) -> (Option<&'a DeTable<'a>>, Place) {
    table.map_or_else(|| (None, file.clone()), |(table, header)| (Some(table), header))
}

fn workers(text: &str) -> Result<Workers, What> {
    Workers::from_text(text).ok_or_else(|| What::Workers { found: quoted(text) })
}

pub(crate) fn duration(text: &str) -> Result<Duration, What> {
    text.parse().map_err(|error| What::Quantity {
        found: quoted(text),
        error,
        noun: "duration",
        form: Duration::FORM,
    })
}

fn memory(text: &str) -> Result<Bytes, What> {
    size("memory", text, MEMORY_MIN, MEMORY_MAX)
}

/// A size within bounds.
pub(crate) fn size(key: &'static str, text: &str, min: Bytes, max: Bytes) -> Result<Bytes, What> {
    let size: Bytes = text.parse().map_err(|error| What::Quantity {
        found: quoted(text),
        error,
        noun: "size",
        form: Bytes::FORM,
    })?;
    if (min..=max).contains(&size) {
        return Ok(size);
    }
    Err(What::OutOfRange {
        key: key.into(),
        found: quoted(text),
        min: min.to_string().into(),
        max: max.to_string().into(),
    })
}

/// A time within bounds.
pub(crate) fn time(key: &'static str, text: &str, min: Duration, max: Duration) -> Result<Duration, What> {
    let time = duration(text)?;
    if (min..=max).contains(&time) {
        return Ok(time);
    }
    Err(What::OutOfRange {
        key: key.into(),
        found: quoted(text),
        min: min.to_string().into(),
        max: max.to_string().into(),
    })
}

/// What one of a few words means.
pub(crate) fn one_of<T>(
    key: &'static str,
    text: &str,
    words: &'static [&'static str],
    meaning: impl FnOnce(&str) -> Option<T>,
) -> Result<T, What> {
    meaning(text).ok_or_else(|| What::NotOneOf {
        key,
        found: quoted(text),
        allowed: words,
        meant: crate::nearest::nearest(text, words.iter().copied()),
    })
}

/// A number that its bounds keep within `T`.
fn narrow<T: TryFrom<u64>>(got: Got<u64>) -> Option<Got<T>> {
    let Got { value, place, origin } = got;
    T::try_from(value).ok().map(|value| Got { value, place, origin })
}
