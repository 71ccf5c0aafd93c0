//! `docs/glossary.md` against the sources: sorted, complete for the types that stand for ideas, and without a word that nobody uses.

use waterpark_docs_tests::{files, read, source};

/// Public types that stand for an idea of their own, with the term that explains them. Views, headers, builders and errors of a format go with
/// the format's own entry.
const TYPES: [(&str, &str, &str); 78] = [
    ("dataplane/core", "Account", "account"),
    ("dataplane/core", "Answer", "answer"),
    ("dataplane/core", "Behaviour", "behaviour"),
    ("dataplane/core", "Birth", "birth"),
    ("dataplane/core", "Births", "birth"),
    ("dataplane/core", "ChunkId", "chunk"),
    ("dataplane/core", "ClientId", "client"),
    ("dataplane/core", "Config", "Config"),
    ("dataplane/core", "Crossing", "crossing"),
    ("dataplane/core", "Cut", "cut"),
    ("dataplane/core", "Decided", "decided"),
    ("dataplane/core", "Effect", "effect"),
    ("dataplane/core", "Event", "event"),
    ("dataplane/core", "Incarnation", "incarnation"),
    ("dataplane/core", "KindId", "kind"),
    ("dataplane/core", "Lane", "lane"),
    ("dataplane/core", "Learner", "learner"),
    ("dataplane/core", "Lineage", "lineage"),
    ("dataplane/core", "LinkId", "link"),
    ("dataplane/core", "Log", "log"),
    ("dataplane/core", "Member", "member"),
    ("dataplane/core", "Memory", "memory"),
    ("dataplane/core", "Position", "position"),
    ("dataplane/core", "Controller", "controller"),
    ("dataplane/core", "Placing", "placing"),
    ("dataplane/core", "Presence", "presence"),
    ("dataplane/core", "Proposal", "proposal"),
    ("dataplane/core", "Retention", "retention"),
    ("dataplane/core", "Roll", "roll"),
    ("dataplane/core", "Rules", "rules"),
    ("dataplane/core", "Seq", "seq"),
    ("dataplane/core", "Session", "session"),
    ("dataplane/core", "Shard", "shard"),
    ("dataplane/core", "ShardId", "shard"),
    ("dataplane/core", "Standing", "standing"),
    ("dataplane/core", "TopologyState", "topology log"),
    ("dataplane/core", "Verdict", "verdict"),
    ("dataplane/core", "View", "view"),
    ("dataplane/core", "VoterId", "voter"),
    ("ring", "Chance", "chance"),
    ("ring", "ClusterId", "cluster"),
    ("ring", "GroupId", "group"),
    ("ring", "HashRing", "hash ring"),
    ("ring", "Key", "key"),
    ("ring", "Keyspace", "keyspace"),
    ("ring", "Movement", "movement"),
    ("ring", "NodeId", "node"),
    ("ring", "Placement", "placement"),
    ("ring", "Slot", "slot"),
    ("ring", "SlotTable", "slot table"),
    ("ring", "Topology", "topology"),
    ("wire", "Acked", "ack"),
    ("wire", "Adopt", "adopt"),
    ("wire", "Adopted", "adopt"),
    ("wire", "Assembly", "assembly"),
    ("wire", "Commit", "commit"),
    ("wire", "Document", "document"),
    ("wire", "EntryView", "entry"),
    ("wire", "Exception", "exception"),
    ("wire", "Fetch", "fetch"),
    ("wire", "FrameView", "frame"),
    ("wire", "Framer", "framer"),
    ("wire", "HandshakeRefusal", "refusal"),
    ("wire", "Heartbeat", "heartbeat"),
    ("wire", "Item", "item"),
    ("wire", "Mark", "mark"),
    ("wire", "Nack", "nack"),
    ("wire", "Operation", "operation"),
    ("wire", "Outcome", "outcome"),
    ("wire", "Party", "party"),
    ("wire", "Piece", "piece"),
    ("wire", "Purpose", "purpose"),
    ("wire", "ReplyView", "reply"),
    ("wire", "RequestView", "request"),
    ("wire", "RunView", "run"),
    ("wire", "Seal", "seal"),
    ("wire", "Sealed", "seal"),
    ("wire", "SweepView", "sweep"),
];

/// The terms, in their order.
fn terms() -> Vec<String> {
    let glossary = read("docs/glossary.md");
    let entries = glossary.lines().filter_map(|line| line.strip_prefix("* **"));
    entries
        .map(|entry| entry.split("**").next().unwrap_or_default().to_owned())
        .collect()
}

/// All sources below a folder as one text.
fn sources(folder: &str) -> String {
    let folder = format!("{folder}/src/");
    let files = files("rs").into_iter().filter(|path| path.starts_with(&folder));
    files.map(|path| read(&path)).collect()
}

#[test]
fn entries_are_sorted_and_none_stands_twice() {
    let terms = terms();
    assert!(terms.len() >= 80, "only {} entries were seen", terms.len());
    for pair in terms.windows(2) {
        let (before, after) = (pair[0].to_lowercase(), pair[1].to_lowercase());
        assert!(before < after, "{} stands before {}", pair[0], pair[1]);
    }
}

#[test]
fn every_entry_says_something_in_few_words() {
    let glossary = read("docs/glossary.md");
    for entry in glossary.split("\n* **").skip(1) {
        let (term, said) = entry
            .split_once("**: ")
            .unwrap_or_else(|| panic!("{entry:?} has no `**: `"));
        let words = said.split_whitespace().count();
        assert!((2..=45).contains(&words), "{term} takes {words} words");
        assert!(said.trim_end().ends_with('.'), "{term} does not end its sentence");
    }
}

#[test]
fn every_type_that_stands_for_an_idea_is_there_and_has_its_entry() {
    let terms = terms();
    let folders = ["dataplane/core", "ring", "wire"].map(|folder| (folder, sources(folder)));
    for (folder, name, term) in TYPES {
        let text = &folders
            .iter()
            .find(|(found, _)| *found == folder)
            .expect("listed above")
            .1;
        let public = ["struct", "enum", "trait"]
            .iter()
            .any(|kind| source::has_word(text, &format!("pub {kind} {name}")));
        // Identifiers, link items and refusals are defined by macros, which name them once.
        let in_macro = text
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("{name}(")));
        assert!(
            public || in_macro || text.contains(&format!("pub enum {name} {{")),
            "{folder} has no {name}"
        );
        assert!(terms.iter().any(|found| found == term), "{name} has no entry {term:?}");
    }
}

#[test]
fn no_entry_explains_a_word_that_nobody_uses() {
    let all: String = files("rs")
        .into_iter()
        .filter(|path| !path.starts_with("tests/docs/"))
        .map(|path| read(&path))
        .collect();
    let used = |term: &str| {
        // As words of a comment, joined as a name, or as a type.
        let joined = term.replace([' ', '-'], "_");
        let typed: String = term
            .split([' ', '-'])
            .flat_map(|word| [word[..1].to_uppercase(), word[1..].to_owned()])
            .collect();
        let plural = format!("{term}s");
        [term, &joined, &typed, &plural]
            .iter()
            .any(|form| source::has_word(&all, form))
    };
    for term in terms() {
        assert!(used(&term), "nobody uses {term:?}");
    }
}
