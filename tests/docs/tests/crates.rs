//! What the workspace promises about its crates: licences, lints, who may use `unsafe`, and which way the arrows point.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use waterpark_docs_tests::{files, read, source};

/// Licences that a dependency may come under, each with what decided it.
const LICENCES: [(&str, &str); 12] = [
    ("MIT", "asks for its notice alone"),
    ("MIT-0", "asks for nothing"),
    ("Apache-2.0", "asks for its notice, and grants patents"),
    ("Apache-2.0 WITH LLVM-exception", "asks for less than Apache-2.0"),
    ("BSD-2-Clause", "asks for its notice alone"),
    ("BSD-3-Clause", "asks for its notice, and not to use the authors' names"),
    ("ISC", "asks for its notice alone"),
    ("Zlib", "asks not to misrepresent the origin"),
    ("BSL-1.0", "asks for its notice in sources alone"),
    ("CC0-1.0", "asks for nothing"),
    ("Unicode-3.0", "asks for its notice alone; covers tables of characters"),
    (
        "MPL-2.0",
        "asks for changes to its own files alone, which nobody here makes",
    ),
];

/// What core may stand on: a table with a fixed hasher, consensus without a world of its own, places and bytes.
const CORE_STANDS_ON: [&str; 4] = ["hashbrown", "omnipaxos", "waterpark-ring", "waterpark-wire"];

/// Modules of `std` that neither ask the world nor change it.
const CORE_MAY_USE: [&str; 10] = [
    "cell",
    "cmp",
    "collections",
    "fmt",
    "hash",
    "hint",
    "marker",
    "mem",
    "ops",
    "rc",
];

/// Crates that reach sockets, threads or clocks.
const WORLD: [&str; 10] = [
    "async-std",
    "crossbeam-utils",
    "glommio",
    "io-uring",
    "mio",
    "rtrb",
    "rustix",
    "signal-hook",
    "socket2",
    "tokio",
];

/// The whole dependency graph for the host that runs this, from the committed lock file and without a network.
fn metadata() -> Value {
    let cargo = env!("CARGO");
    let version = Command::new(cargo).arg("-vV").output().expect("cargo ran this test");
    let version = String::from_utf8(version.stdout).expect("cargo speaks UTF-8");
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("cargo names its host");
    // Without the filter, crates of other platforms would have to be there, and nothing else ever fetches those.
    let arguments = [
        "metadata",
        "--format-version",
        "1",
        "--offline",
        "--locked",
        "--filter-platform",
        host,
    ];
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(waterpark_docs_tests::root())
        .output();
    let output = output.expect("cargo ran this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Crates that a crate is built from, itself left out: not what its tests and benches use.
fn built_from(metadata: &Value, name: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("a list");
    let names: BTreeMap<&str, &str> = packages
        .iter()
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().expect("a list");
    let node_of: BTreeMap<&str, &Value> = nodes.iter().map(|node| (text(node, "id"), node)).collect();
    let start = names.iter().find(|(_, found)| **found == name).map(|(id, _)| *id);
    let mut open = vec![start.unwrap_or_else(|| panic!("no crate {name}"))];
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        for dependency in node_of[id]["deps"].as_array().expect("a list") {
            let kinds = dependency["dep_kinds"].as_array().expect("a list");
            let is_built_in = kinds.iter().any(|kind| kind["kind"].is_null());
            let id = text(dependency, "pkg");
            if is_built_in && found.insert(names[id].to_owned()) {
                open.push(id);
            }
        }
    }
    found
}

/// Whether a licence expression can be met with the licences of the list: `OR` (or `/`) needs one side, `AND` both.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    if let Some((left, right)) = split_outside(expression, " OR ") {
        return is_allowed(left) || is_allowed(right);
    }
    if let Some((left, right)) = split_outside(expression, " AND ") {
        return is_allowed(left) && is_allowed(right);
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_allowed(inner),
        None => LICENCES.iter().any(|(allowed, _)| *allowed == expression),
    }
}

/// Splits at the first word that stands outside all parentheses.
fn split_outside<'a>(expression: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let depth = |text: &str| text.matches('(').count() as i64 - text.matches(')').count() as i64;
    let mut places = expression.match_indices(word).map(|(at, _)| at);
    let at = places.find(|at| depth(&expression[..*at]) == 0)?;
    Some((&expression[..at], &expression[at + word.len()..]))
}

/// Manifests of the workspace's members, by path.
fn manifests() -> Vec<(String, String)> {
    let all = files("toml").into_iter().filter(|path| path.ends_with("/Cargo.toml"));
    all.map(|path| (path.clone(), read(&path))).collect()
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(GPL-2.0 OR AGPL-3.0) AND MIT",
        "Apache-2.0 WITH Other-exception",
    ] {
        assert!(!is_allowed(bad), "{bad}");
    }
}

#[test]
fn every_dependency_comes_under_a_licence_of_the_list() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.len() > 60, "only {} crates were seen", packages.len());
    for package in packages {
        let (name, licence) = (text(package, "name"), text(package, "license"));
        assert!(
            is_allowed(licence),
            "{name} comes under {licence:?}, which is not on the list"
        );
    }
}

#[test]
fn every_crate_of_the_workspace_offers_both_licences_and_inherits_the_lints() {
    let top = read("Cargo.toml");
    assert!(top.contains("license = \"MIT OR Apache-2.0\""));
    assert!(top.contains("unsafe_code = \"forbid\""));
    let manifests = manifests();
    assert!(manifests.len() >= 14, "only {} manifests were seen", manifests.len());
    for (path, manifest) in manifests {
        assert!(
            manifest.contains("license.workspace = true"),
            "{path} has a licence of its own"
        );
        if path == "dataplane/reactor/Cargo.toml" {
            continue;
        }
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{path} does not inherit the lints"
        );
    }
}

#[test]
fn the_reactor_denies_unsafe_and_repeats_every_other_lint_of_the_workspace() {
    let top = read("Cargo.toml");
    let reactor = read("dataplane/reactor/Cargo.toml");
    assert!(reactor.contains("unsafe_code = \"deny\""));
    let mut lints = 0;
    for table in ["rust", "clippy"] {
        let head = format!("[workspace.lints.{table}]\n");
        let rest = top.split(&head).nth(1).expect("the workspace has this table");
        let list = rest.split("\n[").next().unwrap_or_default();
        for line in list
            .lines()
            .filter(|line| line.contains(" = ") && !line.starts_with('#'))
        {
            lints += 1;
            assert!(
                line.starts_with("unsafe_code") || reactor.lines().any(|own| own == line),
                "the reactor misses `{line}`"
            );
        }
    }
    assert!(lints >= 15, "only {lints} lints were seen");
}

#[test]
fn unsafe_stands_in_the_reactor_alone_and_the_decision_lists_its_modules() {
    let decision = read("docs/decisions/0006-unsafe.md");
    let mut modules = 0;
    for path in files("rs") {
        // This test has the word in its own text.
        if path.starts_with("tests/docs/") {
            continue;
        }
        let code = source::code(&read(&path));
        let uses = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
            .iter()
            .any(|word| code.contains(word));
        if uses {
            assert!(path.starts_with("dataplane/reactor/"), "{path} has `unsafe`");
        }
        if let Some(module) = path.strip_prefix("dataplane/reactor/") {
            let listed = decision.contains(&format!("`{module}`"));
            assert_eq!(uses, listed, "{path}: `unsafe` {uses}, listed in the decision {listed}");
            modules += usize::from(uses);
        }
    }
    assert!(modules >= 8, "only {modules} modules were seen");
}

#[test]
fn core_stands_on_bytes_places_a_table_and_consensus_alone() {
    let manifest = read("dataplane/core/Cargo.toml");
    let list = manifest.split("[dependencies]\n").nth(1).unwrap_or_default();
    let list = list.split("\n[").next().unwrap_or_default();
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|n| !n.is_empty())
        .collect();
    assert_eq!(names, CORE_STANDS_ON);
}

/// 0012: without features the library has no logger, no serializer and no table with a random order. Its release is pinned, because its
/// source was read.
#[test]
fn the_consensus_library_stands_on_nothing_and_is_pinned() {
    assert!(read("Cargo.toml").contains("omnipaxos = { version = \"=0.2.4\", default-features = false }"));
    let crates = built_from(&metadata(), "omnipaxos");
    assert!(crates.is_empty(), "{crates:?}");
}

#[test]
fn core_uses_nothing_of_the_standard_library_that_asks_the_world() {
    let sources: Vec<String> = files("rs")
        .into_iter()
        .filter(|path| path.starts_with("dataplane/core/src/"))
        .collect();
    assert!(sources.len() >= 20, "only {} sources were seen", sources.len());
    for path in sources {
        let code = source::code(&read(&path));
        for (at, _) in code.match_indices("std::") {
            let module: String = code[at + 5..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            assert!(CORE_MAY_USE.contains(&module.as_str()), "{path} uses std::{module}");
        }
        for word in [
            "Instant",
            "SystemTime",
            "HashMap::new",
            "RandomState",
            "thread_rng",
            "println!",
            "env!",
        ] {
            assert!(!code.contains(word), "{path} has {word}");
        }
    }
}

#[test]
fn arrows_point_one_way_and_only_the_world_reaches_sockets() {
    let metadata = metadata();
    for name in [
        "waterpark-wire",
        "waterpark-ring",
        "waterpark-core",
        "waterpark-handlers",
    ] {
        let crates = built_from(&metadata, name);
        for world in WORLD {
            assert!(!crates.contains(world), "{name} is built from {world}");
        }
    }
    let own = |name: &str| -> Vec<String> {
        let crates = built_from(&metadata, name).into_iter();
        crates.filter(|name| name.starts_with("waterpark")).collect()
    };
    assert!(own("waterpark-wire").is_empty());
    assert!(own("waterpark-ring").is_empty());
    assert_eq!(own("waterpark-core"), ["waterpark-ring", "waterpark-wire"]);
    assert_eq!(
        own("waterpark-reactor"),
        ["waterpark-core", "waterpark-ring", "waterpark-wire"]
    );
    assert_eq!(own("waterpark-client"), ["waterpark-ring", "waterpark-wire"]);
}
