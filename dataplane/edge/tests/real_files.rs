//! Real messages in three forms of line ends: each is read, has a key and its merges, and comes through a torn stream as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use waterpark_edge::ack::{self, Answer, Code, Stamp};
use waterpark_edge::hl7::{Contents, Message, contents};
use waterpark_edge::key::{self, Ended, KeyRules};
use waterpark_edge::mllp::{self, Framer, Limits, Received};
use waterpark_edge::resend::{Fingerprint, Recent, Sighting};

/// The files by name; `None`, said aloud, where there are none.
fn files() -> Option<BTreeMap<String, Vec<u8>>> {
    let data = std::env::var_os("WATERPARK_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let Ok(folder) = fs::read_dir(data.join("hl7v2")) else {
        eprintln!("skipped: no folder of real messages (WATERPARK_DATA)");
        return None;
    };
    let paths = folder.map(|entry| entry.expect("the folder can be read").path());
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "hl7"));
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Some(
        paths
            .map(|path| (name(&path), fs::read(&path).expect("the file can be read")))
            .collect(),
    )
}

/// A file with its line ends as LF, CRLF and CR.
fn forms(bytes: &[u8]) -> [Vec<u8>; 3] {
    ["\n", "\r\n", "\r"].map(|end| {
        let mut form = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            form.extend_from_slice(text);
            if text.len() < line.len() {
                form.extend_from_slice(end.as_bytes());
            }
        }
        form
    })
}

fn message(bytes: &[u8]) -> Message<'_> {
    match contents(bytes) {
        Ok(Contents::Message(message)) => message,
        other => panic!("one message is expected: {other:?}"),
    }
}

#[test]
fn all_files_are_read_and_have_a_key_in_every_form() {
    let Some(files) = files() else { return };
    assert_eq!(files.len(), 139);
    let rules = KeyRules::default();
    let (mut entries, mut without_facility, mut several) = (BTreeSet::new(), 0, 0);
    for (name, bytes) in &files {
        let mut keys = BTreeSet::new();
        for form in forms(bytes) {
            let message = message(&form);
            let key = key::key_of(&message, &rules).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(key.as_ref().kind_str(), "patient");
            // The first PID's first id, or the first PV1's, found in another way.
            let text = String::from_utf8_lossy(&form).replace('\r', "\n");
            let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default();
            let id = |line: &str, field: usize| {
                let field = line.split('|').nth(field).unwrap_or_default();
                field
                    .split(['^', '~', '&'])
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            };
            let wanted = Some(id(line("PID|"), 3)).filter(|id| !id.is_empty());
            let wanted = wanted.unwrap_or_else(|| id(line("PV1|"), 19));
            assert_eq!(key.as_ref().field("id"), Some(wanted.as_bytes()), "{name}");
            let segments = message.segments().count();
            let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
            assert_eq!(segments, lines, "{name}");
            entries.insert((key.bytes().to_vec(), form.clone()));
            keys.insert(key);
        }
        assert_eq!(keys.len(), 1, "{name}: the line ends must not matter");
        let message = message(bytes);
        without_facility += usize::from(message.header().sending_facility().is_empty());
        several += usize::from(message.segments().filter(|segment| segment.name() == b"PID").count() == 2);
    }
    assert_eq!((entries.len(), without_facility, several), (417, 6, 5));
}

#[test]
fn merges_of_all_files_name_who_ends() {
    let Some(files) = files() else { return };
    let rules = KeyRules::default();
    let mut named = BTreeMap::new();
    for (name, bytes) in &files {
        for form in forms(bytes) {
            let message = message(&form);
            let merges: Result<Vec<_>, _> = key::merges(&message, &rules).collect();
            let merges = merges.unwrap_or_else(|error| panic!("{name}: {error}"));
            let count = message.segments().filter(|segment| segment.name() == b"MRG").count();
            assert_eq!(merges.len(), count, "{name}");
            let first = merges.first().map(|merge| merge.into.clone());
            assert!(
                first.is_none_or(|into| into == key::key_of(&message, &rules).unwrap()),
                "{name}"
            );
            for merge in merges {
                let what = match merge.ended {
                    Ended::Patient(key) => {
                        assert_ne!(key, merge.into, "{name}");
                        "patient"
                    }
                    Ended::Nobody(_) => "nobody",
                    Ended::Account(_) => "account",
                    Ended::Visit(_) => "visit",
                };
                let trigger = String::from_utf8_lossy(message.header().message_type().trigger).into_owned();
                named.entry(trigger).or_insert_with(BTreeSet::new).insert(what);
            }
        }
    }
    let named: Vec<(String, Vec<&str>)> = named.into_iter().map(|(k, v)| (k, v.into_iter().collect())).collect();
    let expected = [
        ("A06", vec!["account"]),
        ("A07", vec!["account"]),
        ("A40", vec!["patient"]),
        ("A41", vec!["account", "nobody"]),
        ("A45", vec!["visit"]),
        ("A47", vec!["patient"]),
    ];
    assert_eq!(named, expected.map(|(trigger, what)| (trigger.to_owned(), what)));
}

#[test]
fn all_files_come_through_a_torn_stream_byte_for_byte_and_are_acknowledged() {
    let Some(files) = files() else { return };
    let sent: Vec<Vec<u8>> = files.values().flat_map(|bytes| forms(bytes)).collect();
    let mut stream = Vec::new();
    for body in &sent {
        assert!(mllp::fits(body));
        mllp::write(&mut stream, body);
    }
    for piece in [1, 7, 1460, 16_384, 65_536, stream.len()] {
        let mut framer = Framer::new(Limits::default());
        let mut came = Vec::new();
        let mut acks = Vec::new();
        for read in stream.chunks(piece) {
            let on = |received: Received<'_>| {
                let Received::Message(body) = received else {
                    panic!("all are whole");
                };
                let message = message(body);
                let stamp = Stamp {
                    control_id: b"W1",
                    time: b"20240131",
                };
                ack::write(&mut acks, message.header(), Code::AA, &Answer::accept(), &stamp);
                came.push(body.to_vec());
            };
            framer.feed(read, true, on).unwrap();
        }
        assert!(came == sent, "in pieces of {piece}");
        let mut answered = 0;
        let on = |received: Received<'_>| {
            let Received::Message(body) = received else {
                panic!("all are whole");
            };
            let (ack, of) = (message(body), message(&sent[answered]));
            let msa = ack.segment("MSA").expect("an answer has one");
            assert_eq!(msa.field(1).raw(), b"AA");
            assert_eq!(msa.field(2).raw(), of.header().control_id());
            answered += 1;
        };
        Framer::new(Limits::default()).feed(&acks, false, on).unwrap();
        assert_eq!(answered, 417);
    }
}

#[test]
fn sent_twice_none_is_new() {
    let Some(files) = files() else { return };
    let rules = KeyRules::default();
    let mut actors: BTreeMap<Vec<u8>, Vec<Fingerprint>> = BTreeMap::new();
    let (mut stored, mut reused, mut repeated) = (0, 0, 0);
    for _ in 0..2 {
        for form in files.values().flat_map(|bytes| forms(bytes)) {
            let message = message(&form);
            let key = key::key_of(&message, &rules).unwrap();
            let known = actors.entry(key.bytes().to_vec()).or_default();
            let fingerprint = Fingerprint::of(&message);
            let sighting = fingerprint.among(known.iter().copied());
            reused += i32::from(sighting == Sighting::OtherBytes);
            repeated += i32::from(sighting == Sighting::Same);
            if sighting != Sighting::Same {
                stored += 1;
                known.push(fingerprint);
            }
        }
    }
    assert_eq!((stored, repeated), (417, 417));
    assert!(reused > 278, "two of three forms reuse an id at least: {reused}");
    // One patient gets most of them: who looks back over fewer messages than that may store some again.
    let most = actors.values().map(Vec::len).max();
    assert_eq!(most, Some(294));
}

#[test]
fn sent_twice_in_one_form_none_is_new_to_an_actor_that_looks_back_over_its_last_messages() {
    let Some(files) = files() else { return };
    for form in 0..3 {
        let mut actors: BTreeMap<Vec<u8>, Recent> = BTreeMap::new();
        for round in 0..2 {
            for bytes in files.values().map(|bytes| forms(bytes)[form].clone()) {
                let message = message(&bytes);
                let key = key::key_of(&message, &KeyRules::default()).unwrap();
                let sighting = actors
                    .entry(key.bytes().to_vec())
                    .or_default()
                    .note(Fingerprint::of(&message));
                assert_eq!(sighting == Sighting::Same, round == 1);
            }
        }
    }
}
