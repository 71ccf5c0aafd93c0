use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;
use waterpark::config::{CodeId, DefectCode, EdgeCode, HostCode, MeasuringCode, RefusalCode, StartCode, WireCode};
use waterpark::{NodeError, VoterFileError};
use waterpark_bench::Verdict;
use waterpark_bench::arrivals::TraceError;
use waterpark_bench::cluster::ClusterError;
use waterpark_bench::generators::GeneratorLost;
use waterpark_bench::run::RunError;
use waterpark_client::ClientError;
use waterpark_core::topology_log::consensus::VoterId;
use waterpark_edge::hl7::Hl7Error;
use waterpark_edge::mllp::MllpError;
use waterpark_edge::sender::SubmitError;
use waterpark_reactor::cores::{Cores, PinError};
use waterpark_reactor::event_loop::StartError;
use waterpark_reactor::{Buffers, OpenError, UringRefusal};
use waterpark_ring::{ClusterId, Key};
use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::reply::Outcome;
use waterpark_wire::{ConnectionRefusal, FrameError};

use crate::bench::{Flaw, ResultsError};
use crate::latency::LatencyError;
use crate::tune::TuneError;

/// The page, as it lies in the repository.
const PAGE: &str = include_str!("../../../docs/errors.md");

fn refused() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

/// What calls end with.
fn ends() -> Vec<ClientError> {
    let refused = Outcome::ALL.map(|outcome| ClientError::Refused { outcome, detail: 0 });
    let frames = FrameError::ALL.iter().map(|error| ClientError::Frame(*error));
    let handshakes = HandshakeRefusal::ALL
        .iter()
        .map(|refusal| ClientError::Handshake(*refusal));
    let cuts = [
        ConnectionRefusal::Stranger,
        ConnectionRefusal::Unlisted { number: 9_999 },
    ]
    .map(ClientError::Cut);
    let rest = [
        ClientError::Unknown,
        ClientError::Deadline,
        ClientError::Unreachable { tried: 3 },
        ClientError::OtherCluster,
        ClientError::WrongNode,
        ClientError::Io(io::ErrorKind::ConnectionRefused),
        ClientError::Silent,
        ClientError::Full,
        ClientError::NotReady,
        ClientError::Gone,
        ClientError::NotMember { group: 1 },
        ClientError::Chain { group: 1, seq: 1 },
        ClientError::Closed,
    ];
    refused
        .into_iter()
        .chain(frames)
        .chain(handshakes)
        .chain(cuts)
        .chain(rest)
        .collect()
}

/// What ends a command.
fn failures() -> Vec<Failure> {
    let name = || "a name".to_owned();
    let mut failures: Vec<Failure> = ends().into_iter().map(Failure::Call).collect();
    failures.extend([
        Failure::Key {
            text: String::new(),
            error: Key::parse("").unwrap_err(),
        },
        Failure::Address { found: name() },
        Failure::LinesAndMessage,
        Failure::NoConfig,
        Failure::Input {
            name: name(),
            cause: refused(),
        },
        Failure::InputTooLong {
            name: name(),
            bytes_max: 1,
        },
        Failure::Connect {
            entries: name(),
            error: ClientError::Unreachable { tried: 1 },
        },
        Failure::NotJoining { node: name() },
        Failure::Joiner {
            node: name(),
            address: name(),
            why: name(),
        },
        Failure::NoTopologyLog,
        Failure::Order { why: name() },
        Failure::OrderOpen {
            node: name(),
            left: None,
        },
        Failure::Table,
        Failure::UnknownNode {
            what: "node",
            found: name(),
            meant: None,
            names: Vec::new(),
        },
        Failure::NotMember {
            node: name(),
            group: 1,
            members: Vec::new(),
        },
        Failure::NoEntry { key: name(), seq: 1 },
        Failure::RawToTerminal,
        Failure::Unframeable { seq: 1 },
        Failure::MllpUnreachable {
            address: name(),
            cause: refused(),
        },
        Failure::NotMllp { address: name() },
        Failure::Answer,
        Failure::Output(refused()),
    ]);
    failures.extend(tunings().into_iter().map(Failure::Tune));
    let address = || "127.0.0.1:1".to_owned();
    let latencies = [
        LatencyError::Listen {
            address: address(),
            cause: refused(),
        },
        LatencyError::Peer {
            address: address(),
            cause: refused(),
        },
        LatencyError::NotPeer {
            address: address(),
            cause: refused(),
        },
        LatencyError::Folder {
            folder: PathBuf::from("data"),
            cause: refused(),
        },
        LatencyError::Core(PinError::Kernel { core: 0, errno: 1 }),
        LatencyError::CoresUnknown(refused()),
    ];
    failures.extend(latencies.map(Failure::Latency));
    let path = || PathBuf::from("runs");
    let results = [
        ResultsError::Write {
            path: path(),
            cause: refused(),
        },
        ResultsError::Read {
            path: path(),
            cause: refused(),
        },
        ResultsError::NotResult {
            path: path(),
            flaw: Flaw::NoFile,
        },
        ResultsError::NotAlike {
            differences: vec!["workload".to_owned()],
        },
        ResultsError::NoFigure {
            found: name(),
            names: vec!["acked".to_owned()],
        },
    ];
    failures.extend(results.map(Failure::Results));
    failures.push(Failure::PeerAddress { found: address() });
    failures
}

/// Why a host is not changed.
fn tunings() -> Vec<TuneError> {
    let path = || PathBuf::from("tune.journal");
    vec![
        TuneError::Rights { path: path() },
        TuneError::Stands { path: path() },
        TuneError::NoJournal,
        TuneError::JournalDamaged { path: path() },
        TuneError::JournalWrite {
            path: path(),
            cause: refused(),
        },
        TuneError::UnknownName {
            found: "net.cor".to_owned(),
            names: vec!["net.core.somaxconn".to_owned()],
        },
        TuneError::Busy { path: path() },
        TuneError::RolledBack { why: "it".to_owned() },
        TuneError::PutBack {
            left: vec!["it".to_owned()],
        },
        TuneError::Changed {
            changed: vec!["it".to_owned()],
        },
    ]
}

/// Why a shard does not start.
fn starts() -> Vec<StartError> {
    let buffers = Buffers { count: 3, bytes: 1 };
    let uring = [
        UringRefusal::Forbidden(refused()),
        UringRefusal::Unsupported {
            feature: "rings",
            error: refused(),
        },
        UringRefusal::LockedMemory(refused()),
        UringRefusal::Resources(refused()),
    ];
    let opens = uring.map(OpenError::Uring).into_iter();
    let opens = opens.chain([OpenError::Buffers(buffers), OpenError::Kernel(refused())]);
    let opens = opens.map(StartError::Open);
    opens
        .chain([StartError::Listen(refused()), StartError::Entropy(refused())])
        .collect()
}

/// Why a node has no vote although it has a file.
fn voter_files() -> Vec<VoterFileError> {
    let path = || PathBuf::from("data/FL-A-1.voter");
    vec![
        VoterFileError::Read {
            path: path(),
            cause: refused(),
        },
        VoterFileError::InUse { path: path() },
        VoterFileError::OtherCluster {
            path: path(),
            found: ClusterId([1; 16]),
            wanted: ClusterId([2; 16]),
        },
        VoterFileError::OtherVoter {
            path: path(),
            found: VoterId(1),
            among: 3,
            wanted: None,
        },
        VoterFileError::Damaged {
            path: path(),
            offset: 64,
        },
        VoterFileError::Unreadable {
            path: path(),
            number: 1,
        },
        VoterFileError::Write {
            path: path(),
            cause: refused(),
        },
    ]
}

/// Why a node does not start.
fn nodes() -> Vec<NodeError> {
    let node = || "FL-A-1".to_owned();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 7_000));
    let shards = starts().into_iter().map(|cause| NodeError::Shard {
        node: node(),
        shard: 0,
        cause,
    });
    let allowed: Cores = "0".parse().unwrap();
    let pins = [
        PinError::NotAllowed { core: 9, allowed },
        PinError::Kernel { core: 0, errno: 1 },
    ];
    let pins = pins.map(|cause| NodeError::Cores { node: node(), cause });
    let rest = [
        NodeError::PortInUse {
            node: node(),
            address,
            role: "peers",
            shard: 0,
        },
        NodeError::Listen {
            node: node(),
            address,
            cause: refused(),
        },
        NodeError::Files {
            node: node(),
            address,
            limit: Some(20),
        },
        NodeError::Host {
            node: node(),
            host: node(),
            cause: refused(),
        },
        NodeError::Shards {
            node: node(),
            shards: 1,
            cores: 2,
        },
        NodeError::Kind {
            kind: "recrod".to_owned(),
            served: "record".to_owned(),
        },
        NodeError::Memory {
            node: node(),
            bytes: 1,
            cause: refused(),
        },
        NodeError::Kernel {
            what: "a thread",
            cause: refused(),
        },
    ];
    let voters = voter_files()
        .into_iter()
        .map(|cause| NodeError::Voter { node: node(), cause });
    shards.chain(pins).chain(rest).chain(voters).collect()
}

/// Why there is no measurement.
fn runs() -> Vec<RunError> {
    let clusters = [
        ClusterError::Folder(refused()),
        ClusterError::Entropy(refused()),
        ClusterError::Ports { nodes: 5 },
        ClusterError::Cuts(refused()),
        ClusterError::Spawn {
            binary: "waterpark".into(),
            cause: refused(),
        },
        ClusterError::NotReady {
            node: "FL-A-1".to_owned(),
            said: None,
        },
    ];
    let rest = [
        RunError::Memory {
            free: 1,
            nodes: 5,
            wanted: 2,
        },
        RunError::Cores(refused()),
        RunError::Generator(GeneratorLost::example()),
    ];
    clusters.map(RunError::Cluster).into_iter().chain(rest).collect()
}

/// Codes that a command gives where it meets the fault, not a type of errors.
const GIVEN_IN_PLACE: [&str; 25] = [
    "WP-1701", "WP-1702", "WP-1704", "WP-1733", "WP-1734", "WP-1735", "WP-1736", "WP-1808", "WP-1809", "WP-1810",
    "WP-8105", "WP-8016", "WP-8017", "WP-8018", "WP-5035", "WP-5036", "WP-8006", "WP-8013", "WP-8014", "WP-8015",
    "WP-8026", "WP-8101", "WP-8102", "WP-8103", "WP-8104",
];

#[test]
fn every_code_is_some_errors_and_every_error_has_a_code_of_its_kind() {
    let mut reached: BTreeSet<&'static str> = GIVEN_IN_PLACE.into_iter().collect();
    let mut reach = |code: &'static Code, thousands: &[u16]| {
        assert!(
            thousands.contains(&(code.number / 1_000)),
            "{}: {}",
            code.name(),
            code.title
        );
        let name: &'static str = Box::leak(code.name().into_boxed_str());
        assert!(!GIVEN_IN_PLACE.contains(&name), "{name} is an error's");
        reached.insert(name);
    };
    ends().iter().for_each(|error| reach(error.code(), &[2, 3]));
    failures()
        .iter()
        .for_each(|error| reach(error.code(), &[1, 2, 3, 5, 8, 9]));
    nodes().iter().for_each(|error| reach(error.code(), &[1, 4]));
    runs().iter().for_each(|error| reach(error.code(), &[4, 8]));
    Hl7Error::ALL.iter().for_each(|error| reach(error.code(), &[5]));
    MllpError::ALL.iter().for_each(|error| reach(error.code(), &[5]));
    for error in [
        SubmitError::Unframeable,
        SubmitError::Full,
        SubmitError::Hl7(Hl7Error::Empty),
    ] {
        reach(error.code(), &[5]);
    }
    let path = PathBuf::new();
    reach(TraceError::Empty { path }.code(), &[8]);
    for verdict in [Verdict::Fail, Verdict::Invalid] {
        reach(of_verdict(verdict).unwrap(), &[8]);
    }
    assert!(of_verdict(Verdict::Ok).is_none());

    // Those of the configuration are reached by the tests of its own crate, defects by those of the doctor.
    let defects = DefectCode::ALL.iter().map(|code| code.entry().number);
    let elsewhere: BTreeSet<u16> = CodeId::ALL.iter().map(|code| code.number()).chain(defects).collect();
    let names = Code::all()
        .filter(|code| !elsewhere.contains(&code.number))
        .map(Code::name);
    let missed: Vec<String> = names.filter(|name| !reached.contains(name.as_str())).collect();
    assert!(missed.is_empty(), "no error has {missed:?}");
}

#[test]
fn the_numbers_that_people_may_have_noted_stay_what_they_are() {
    let table = [
        (CommandCode::Usage.entry(), 1701),
        (StartCode::PortInUse.entry(), 1801),
        (WireCode::HandshakeKey.entry(), 2105),
        (RefusalCode::NoQuorum.entry(), 3005),
        (HostCode::UringForbidden.entry(), 4101),
        (EdgeCode::Hl7NoPatient.entry(), 5016),
        (MeasuringCode::SeedFailed.entry(), 8102),
    ];
    for (code, number) in table {
        assert_eq!(code.number, number, "{}", code.title);
    }
}

#[test]
fn every_error_has_its_code_in_its_first_line_and_says_what_to_do() {
    let said_of_failures = failures().into_iter().map(|error| said(error.code(), &error));
    let said_of_nodes = nodes().into_iter().map(|error| said(error.code(), &error));
    let said_of_runs = runs().into_iter().map(|error| said(error.code(), &error));
    for text in said_of_failures.chain(said_of_nodes).chain(said_of_runs) {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("error[WP-"), "{text}");
        assert!(text.lines().count() > 1, "{text}");
        assert!(!text.contains("= help: Operator"), "{text}");
    }
}

#[test]
fn a_fault_of_the_command_line_has_its_code_and_help_has_none() {
    let said = said_of_usage("error: unexpected argument '--x' found\n\nUsage: waterpark\n").unwrap();
    assert_eq!(
        said,
        "error[WP-1701]: unexpected argument '--x' found\n\nUsage: waterpark"
    );
    assert_eq!(said_of_usage("Usage: waterpark"), None);
}

#[test]
fn the_page_is_what_the_command_writes() {
    assert!(
        page() == PAGE,
        "write it anew: cargo run --release -- errors --page > docs/errors.md"
    );
    for code in Code::all() {
        assert!(
            PAGE.contains(&format!("\n### {}: {}\n", code.name(), code.title)),
            "{}",
            code.name()
        );
    }
}

#[test]
fn the_listing_has_a_line_for_each_code_and_the_object_all_of_it() {
    let listing = listing();
    let object = listing_json(Code::all());
    let codes = object["codes"].as_array().unwrap();
    assert_eq!(codes.len(), Code::all().count());
    for (code, row) in Code::all().zip(codes) {
        assert!(listing.contains(&format!("  {}  {}\n", code.name(), code.title)));
        assert_eq!(row["code"], code.name());
        assert_eq!(row["remedy"], code.remedy);
    }
}

/// Sources below a folder, with their text.
fn sources(folder: &std::path::Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn no_command_prints_an_error_in_words_of_its_own() {
    let mut found = Vec::new();
    sources(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    assert!(found.len() > 15, "only {} sources were seen", found.len());
    // Put together, so that this test has it not in its own text.
    let heading = ["\"err", "or: "].concat();
    for (path, text) in found {
        let lines = (1..).zip(text.lines());
        let mut bare = lines.filter(|(_, line)| line.contains(&heading) && line.contains("print"));
        let first = bare.next();
        assert!(first.is_none(), "{path}: {first:?} prints an error without a code");
    }
}
