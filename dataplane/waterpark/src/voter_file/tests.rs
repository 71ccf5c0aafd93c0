//! Files as a disk, another process and an operator leave them.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use tempfile::TempDir;
use waterpark_core::ids::Incarnation;
use waterpark_core::rules::Production;
use waterpark_core::topology_log::consensus::{Alone, Consensus, Ended, NextVoters, Paxos};
use waterpark_wire::checksum;

use super::*;

const CLUSTER: ClusterId = ClusterId([4; 16]);
/// Names the file that a process of its own is to open.
const FOR_ANOTHER: &str = "VOTER_FILE_FOR_ANOTHER";
/// Its exit code when the file is in use.
const IN_USE: i32 = 42;

/// A voter of a cluster of so many.
fn birth(own: u16, count: u16) -> Birth {
    let voters: Vec<VoterId> = (1..=count).map(VoterId).collect();
    Birth::first(CLUSTER, VoterId(own), &voters).unwrap()
}

/// A folder with a voter's file.
fn disk(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("FL-A-1.voter");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn open(path: &Path) -> Result<Option<(VoterFile, Alone)>, VoterFileError> {
    VoterFile::open(path, CLUSTER, Some(&birth(1, 1)), Alone::open)
}

fn opened(path: &Path) -> (VoterFile, Alone) {
    open(path).unwrap().unwrap()
}

/// Has an entry decided, through the file.
fn decide(file: &mut VoterFile, alone: &mut Alone, entry: &[u8]) {
    alone.propose(entry).unwrap();
    let mut writes = Vec::new();
    alone.take_writes(&mut writes);
    let upto = file.append(&writes).unwrap().unwrap();
    alone.on_durable(upto);
}

fn decided(alone: &mut Alone) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    alone.take_decided(&mut out);
    out.into_iter().map(|decided| decided.entry).collect()
}

/// Where each record of a file with these entries begins, its end last; and the file.
fn written(entries: &[&[u8]]) -> (Vec<usize>, Vec<u8>) {
    let (_folder, path) = disk(&birth(1, 1).file());
    let mut starts = vec![0, fs::read(&path).unwrap().len()];
    let (mut file, mut alone) = opened(&path);
    for entry in entries {
        decide(&mut file, &mut alone, entry);
        starts.push(fs::read(&path).unwrap().len());
    }
    (starts, fs::read(&path).unwrap())
}

/// A record that adds up, whatever it says.
fn record(kind: u32, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(checksum::bytes(payload).to_le_bytes());
    let sum = checksum::bytes(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes.extend(payload);
    bytes.resize((bytes.len() + 1).next_multiple_of(32) - 1, 0);
    bytes.push(0xE5);
    bytes
}

#[test]
fn a_node_without_a_file_has_no_vote_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        folder.path().join("FL-A-1.voter"),
        folder.path().join("data/FL-A-1.voter"),
    ] {
        assert!(open(&path).unwrap().is_none());
        assert!(!path.exists());
    }
}

#[test]
fn what_was_appended_is_there_after_a_restart_and_is_appended_to() {
    let (_folder, path) = disk(&birth(1, 1).file());
    for life in 0..4_usize {
        let (mut file, mut alone) = opened(&path);
        let found = decided(&mut alone);
        let expected: Vec<Vec<u8>> = (0..2 * life).map(|entry| entry.to_string().into_bytes()).collect();
        assert_eq!(found, expected, "life {life}");
        for entry in 2 * life..2 * life + 2 {
            decide(&mut file, &mut alone, entry.to_string().as_bytes());
        }
        assert_eq!((file.birth(), decided(&mut alone).len()), (&birth(1, 1), 2));
    }
}

#[test]
fn several_records_are_durable_together_and_none_costs_nothing() {
    let (_folder, path) = disk(&birth(1, 1).file());
    let (mut file, mut alone) = opened(&path);
    assert_eq!(file.append(&[]).unwrap(), None);
    let mut writes = Vec::new();
    for entry in [b"one", b"two", b"six"] {
        alone.propose(entry).unwrap();
        alone.take_writes(&mut writes);
    }
    assert_eq!(writes.len(), 3);
    assert_eq!(file.append(&writes).unwrap(), Some(3));
    drop(file);
    assert_eq!(decided(&mut opened(&path).1).len(), 3);
}

#[test]
fn a_file_torn_anywhere_is_cut_to_its_whole_records_and_goes_on() {
    let (starts, whole) = written(&[b"one", &[7; 300], b"three"]);
    for length in starts[1]..=whole.len() {
        let (_folder, path) = disk(&whole[..length]);
        let records = starts.iter().filter(|start| **start <= length).count();
        let good = starts[records - 1];
        let (mut file, mut alone) = opened(&path);
        assert_eq!(fs::read(&path).unwrap(), &whole[..good], "cut at {length}");
        decide(&mut file, &mut alone, b"more");
        drop(file);
        let entries = decided(&mut opened(&path).1);
        assert_eq!(
            (entries.len(), entries.last().map(Vec::as_slice)),
            (records - 1, Some(&b"more"[..]))
        );
    }
}

#[test]
fn a_last_write_of_which_only_the_length_reached_the_disk_is_taken_off() {
    let (starts, whole) = written(&[b"one", &[7; 3_000]]);
    for kept in [0, 32, 512] {
        let mut torn = whole.clone();
        torn[starts[2] + kept..].fill(0);
        torn.resize(torn.len() + 4_096, 0);
        let (_folder, path) = disk(&torn);
        let (file, mut alone) = opened(&path);
        assert_eq!(decided(&mut alone), [b"one"]);
        assert_eq!(
            fs::metadata(&path).unwrap().len(),
            starts[2] as u64,
            "{kept} bytes were kept"
        );
        drop(file);
    }
}

#[test]
fn a_wiped_file_is_no_vote_and_stays_as_it_is() {
    let birth = birth(1, 1).file();
    for wiped in [&[][..], &[0; 4_096], &birth[..birth.len() - 1], &birth[..7]] {
        let (_folder, path) = disk(wiped);
        assert!(open(&path).unwrap().is_none());
        assert_eq!(fs::read(&path).unwrap(), wiped);
    }
}

#[test]
fn a_record_damaged_in_the_midst_ends_the_start_and_nothing_is_cut_off() {
    let (starts, mut bytes) = written(&[b"one", b"two"]);
    bytes[starts[1] + 40] ^= 1;
    let (_folder, path) = disk(&bytes);
    let error = open(&path).unwrap_err();
    assert!(
        matches!(error, VoterFileError::Damaged { offset, .. } if offset == starts[1]),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn a_record_of_another_release_is_named_as_such() {
    let mut bytes = birth(1, 1).file();
    bytes.extend(record(9, 1, b"what"));
    let (_folder, path) = disk(&bytes);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, VoterFileError::Unreadable { number: 1, .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_file_of_another_cluster_ends_the_start_before_anything_is_made_of_it() {
    let theirs = Birth::first(ClusterId([5; 16]), VoterId(1), &[VoterId(1)]).unwrap();
    let (_folder, path) = disk(&theirs.file());
    let opened = VoterFile::open::<()>(&path, CLUSTER, Some(&birth(1, 1)), |_, _| panic!("it was believed"));
    let error = opened.unwrap_err();
    let said = error.to_string();
    for word in ["FL-A-1.voter", &"05".repeat(16), &"04".repeat(16), "move the file away"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!((error.code(), error.exit_code()), (HostCode::VoterFileOtherCluster, 3));
    assert_eq!(fs::read(&path).unwrap(), theirs.file());
}

#[test]
fn a_file_that_does_not_fit_the_voters_of_the_configuration_ends_the_start() {
    let (_folder, path) = disk(&birth(2, 3).file());
    // Another's vote, another number of voters, a node that should have none.
    for first in [Some(birth(1, 3)), Some(birth(2, 5)), None] {
        let opened = VoterFile::open::<()>(&path, CLUSTER, first.as_ref(), |_, _| panic!("it was believed"));
        let error = opened.unwrap_err();
        let is_told = matches!(&error, VoterFileError::OtherVoter { found: VoterId(2), among: 3, wanted, .. }
            if *wanted == first.as_ref().map(Birth::own));
        assert!(is_told, "{error}");
    }
    let paxos = |birth: &Birth, found: &[u8]| Paxos::<Production>::open(birth, Incarnation(1), found);
    let (file, paxos) = VoterFile::open(&path, CLUSTER, Some(&birth(2, 3)), paxos)
        .unwrap()
        .unwrap();
    assert_eq!((file.birth().own(), paxos.is_leader()), (VoterId(2), false));
}

#[test]
fn ids_of_a_later_configuration_are_not_those_of_the_file_of_the_cluster() {
    let next = NextVoters {
        configuration: FIRST_CONFIGURATION + 1,
        voters: vec![VoterId(8)],
    };
    let later = Birth::after(CLUSTER, VoterId(8), &Ended { next, base: 17 }).unwrap();
    let (_folder, path) = disk(&later.file());
    for first in [None, Some(birth(1, 3))] {
        let (file, _) = VoterFile::open(&path, CLUSTER, first.as_ref(), Alone::open)
            .unwrap()
            .unwrap();
        assert_eq!(file.birth(), &later);
    }
    assert_eq!(birth(1, 1).configuration(), FIRST_CONFIGURATION);
}

#[test]
fn a_file_that_another_process_has_is_refused_until_that_has_ended() {
    let (_folder, path) = disk(&birth(1, 1).file());
    let (file, alone) = opened(&path);
    assert!(matches!(open(&path), Err(VoterFileError::InUse { .. })));
    let mut another = Command::new(std::env::current_exe().unwrap());
    another.args(["--ignored", "--exact", "voter_file::tests::as_another_process"]);
    another.env(FOR_ANOTHER, &path);
    assert_eq!(another.output().unwrap().status.code(), Some(IN_USE));
    drop((file, alone));
    assert_eq!(another.output().unwrap().status.code(), Some(0));
    opened(&path);
}

/// The process that the test above starts.
#[test]
#[ignore = "is run as a process of its own"]
fn as_another_process() {
    let path = std::env::var_os(FOR_ANOTHER).expect("it is told which file");
    match open(Path::new(&path)) {
        Ok(Some(_)) => {}
        Err(VoterFileError::InUse { .. }) => std::process::exit(IN_USE),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn what_is_no_ordinary_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
        let error = open(path).unwrap_err();
        assert!(matches!(error, VoterFileError::Read { .. }), "{error}");
    }
}

/// A file whose device takes nothing, or takes all and keeps nothing.
fn over(device: &str) -> VoterFile {
    VoterFile {
        path: PathBuf::from(device),
        file: OpenOptions::new().read(true).write(true).open(device).unwrap(),
        birth: birth(1, 1),
        length: 0,
        last: None,
        failed: false,
    }
}

fn write(number: u64) -> Write {
    Write {
        number,
        bytes: vec![7; 64],
    }
}

#[test]
fn after_a_full_disk_or_a_failed_sync_nothing_is_appended_any_more() {
    for (device, kind) in [
        ("/dev/full", io::ErrorKind::StorageFull),
        // It takes every byte and refuses to sync.
        ("/dev/null", io::ErrorKind::InvalidInput),
    ] {
        let mut file = over(device);
        let error = file.append(&[write(1)]).unwrap_err();
        let said = matches!(&error, VoterFileError::Write { path, cause } if path == Path::new(device) && cause.kind() == kind);
        assert!(said, "{error}");
        assert_eq!(error.code(), HostCode::VoterFileWrite);
        let again = catch_unwind(AssertUnwindSafe(|| file.append(&[write(2)]).is_ok()));
        assert!(again.is_err(), "{device} was written to again");
    }
}

#[test]
#[should_panic(expected = "write.number == last + 1")]
fn records_that_leave_one_out_are_a_bug_of_this_process() {
    let (_folder, path) = disk(&birth(1, 1).file());
    drop(opened(&path).0.append(&[write(1), write(3)]));
}

/// The birth of the only voter of the second configuration, and its file.
fn next() -> (Birth, Vec<u8>) {
    let voters = vec![VoterId(2)];
    let ended = Ended {
        next: NextVoters {
            configuration: 2,
            voters,
        },
        base: 7,
    };
    let birth = Birth::after(CLUSTER, VoterId(2), &ended).unwrap();
    let file = birth.file_from(9, b"what nine entries add up to");
    (birth, file)
}

#[test]
fn a_file_that_is_begun_takes_the_place_of_the_one_before_and_is_appended_to() {
    let (_folder, path) = disk(&birth(1, 1).file());
    let (before, mut alone) = opened(&path);
    alone.propose(b"never written").unwrap();
    // What a crash left behind in the midst of an earlier attempt.
    fs::write(path.with_extension("voter.new"), b"half").unwrap();
    let (birth, bytes) = next();
    let mut file = VoterFile::begin(&path, &bytes).unwrap();
    assert_eq!((file.birth(), fs::read(&path).unwrap()), (&birth, bytes.clone()));
    let (mut alone, good) = Alone::open(&birth, &bytes).unwrap();
    assert_eq!(good, bytes.len());
    decide(&mut file, &mut alone, b"ten");
    drop((before, file));
    let (file, mut alone) = opened(&path);
    assert_eq!((file.birth(), decided(&mut alone)), (&birth, vec![b"ten".to_vec()]));
    assert!(!path.with_extension("voter.new").exists());
}

#[test]
fn a_file_that_is_begun_is_in_use_and_nobody_is_given_the_one_before() {
    let (_folder, path) = disk(&birth(1, 1).file());
    let before = opened(&path);
    let begun = VoterFile::begin(&path, &next().1).unwrap();
    // Whoever waited for the one before gets its lock, and looks again.
    drop(before);
    assert!(matches!(open(&path), Err(VoterFileError::InUse { .. })));
    drop(begun);
    assert_eq!(opened(&path).0.birth().configuration(), 2);
}

#[test]
fn a_node_that_never_voted_gets_a_folder_for_its_file_and_one_without_a_place_for_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data").join("FL-B-2.voter");
    drop(VoterFile::begin(&path, &next().1).unwrap());
    assert_eq!(opened(&path).0.birth().configuration(), 2);
    let under_a_file = path.join("FL-B-3.voter");
    assert!(matches!(
        VoterFile::begin(&under_a_file, &next().1),
        Err(VoterFileError::Write { .. })
    ));
}
