//! The first voters of a cluster: named by `init`, each with a file, read back as they were made.

#![expect(clippy::unwrap_used, reason = "what a test needs and cannot have fails the test")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use waterpark_control::{ENTROPY_BYTES, InitError, InitOptions, Nodes, Origin, init, load, parse, plan};
use waterpark_core::topology_log::consensus::{Birth, VoterId};
use waterpark_ring::NodeId;

const ENTROPY: [u8; ENTROPY_BYTES] = [7; ENTROPY_BYTES];

fn options(folder: &Path) -> InitOptions {
    InitOptions {
        folder: folder.to_owned(),
        with_voters: true,
        ..InitOptions::default()
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn each_first_voter_of_a_new_cluster_has_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let written = init(&options(folder.path()), &ENTROPY).unwrap();
    let loaded = load(&written.config_path, []).unwrap();
    assert_eq!(loaded.config, written.config);
    let config = &loaded.config;
    assert_eq!(config.voters, [1, 2, 3, 4, 5].map(NodeId));

    let ids = [1, 2, 3, 4, 5].map(VoterId);
    for (at, node) in config.nodes.iter().enumerate() {
        let path = loaded.voter_path(&node.name);
        assert_eq!(path, written.voter_paths[at]);
        assert_eq!(path, folder.path().join(format!("data/{}.voter", node.name)));
        assert_eq!(mode(&path), 0o600);
        let birth = Birth::of_file(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(birth, Birth::first(config.id, ids[at], &ids).unwrap());
        assert_eq!(config.first_birth(node.id), Some(birth));
    }
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    assert_eq!(files(folder.path()), ["cluster.key", "cluster.toml", "data"]);
}

#[test]
fn nodes_that_disagree_on_the_voters_disagree_on_the_topology() {
    let folder = tempfile::tempdir().unwrap();
    let with = init(&options(folder.path()), &ENTROPY).unwrap().config;
    let mut without = with.clone();
    without.voters.clear();
    let mut turned = with.clone();
    turned.voters.reverse();
    for other in [without, turned] {
        let (ours, theirs) = (with.topology(), other.topology());
        assert_ne!(ours.digest(), theirs.digest());
        assert_eq!(ours.first_difference(&theirs).as_deref(), Some("voters"));
    }
}

#[test]
fn a_node_that_is_no_first_voter_has_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = Nodes::Grid {
        dcs: ["FL", "TN", "TX", "UT"].map(str::to_owned).to_vec(),
        zones: 2,
        per_zone: 1,
    };
    let options = InitOptions {
        nodes,
        ..options(folder.path())
    };
    let written = init(&options, &ENTROPY).unwrap();
    assert_eq!(written.config.voters, [1, 2, 3, 4, 5, 6, 7].map(NodeId));
    assert_eq!(files(&folder.path().join("data")).len(), 7);
    let last = &written.config.nodes[7];
    assert_eq!(
        (last.name.as_str(), written.config.first_birth(last.id)),
        ("UT-B-1", None)
    );
}

#[test]
fn voters_are_numbered_in_the_order_of_the_file() {
    let text = plan(&options(Path::new(".")), &ENTROPY)
        .unwrap()
        .config_text()
        .to_owned();
    let all = "[\"FL-A-1\", \"FL-B-1\", \"TN-A-1\", \"TX-A-1\", \"UT-A-1\"]";
    let config = parse(
        "cluster.toml",
        &text.replace(all, "[\"UT-A-1\", \"FL-A-1\", \"TN-A-1\"]"),
        [],
    );
    let config = config.unwrap().config;
    assert_eq!(config.voters, [5, 1, 3].map(NodeId));
    let own = |node| config.first_birth(NodeId(node)).map(|birth| birth.own());
    assert_eq!(
        [1, 2, 3, 5].map(own),
        [Some(VoterId(2)), None, Some(VoterId(3)), Some(VoterId(1))]
    );
}

#[test]
fn a_file_without_voters_has_no_topology_log_and_places_groups_alike() {
    let folder = tempfile::tempdir().unwrap();
    let fixed = InitOptions {
        with_voters: false,
        ..options(folder.path())
    };
    let written = init(&fixed, &ENTROPY).unwrap();
    assert_eq!((&*written.config.voters, &*written.voter_paths), (&[][..], &[][..]));
    assert_eq!(files(folder.path()), ["cluster.key", "cluster.toml"]);

    let voting = plan(&options(folder.path()), &ENTROPY).unwrap();
    assert_eq!(voting.config().topology().birth(), written.config.topology().birth());
}

#[test]
fn voters_and_folder_are_explained() {
    let said = |with_voters, variables: &[(&str, &str)]| {
        let options = InitOptions {
            with_voters,
            ..InitOptions::default()
        };
        let text = plan(&options, &ENTROPY).unwrap().config_text().to_owned();
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let loaded = parse("cluster.toml", &text, variables).unwrap();
        let explained = loaded.explained.into_iter();
        let two = explained.filter(|one| ["voters", "data"].contains(&&*one.key));
        (
            two.map(|one| (one.value.to_string(), one.origin)).collect::<Vec<_>>(),
            loaded.config.data,
        )
    };
    let (two, data) = said(false, &[]);
    assert_eq!(
        two,
        [("[]".to_owned(), Origin::Default), ("data".to_owned(), Origin::Default)]
    );
    assert_eq!(data, Path::new("data"));

    let variable = ("WATERPARK_DATA_FOLDER", "/var/lib/waterpark");
    let (two, data) = said(true, &[variable]);
    let voters = "[\"FL-A-1\", \"FL-B-1\", \"TN-A-1\", \"TX-A-1\", \"UT-A-1\"]";
    let origin = Origin::Variable {
        name: variable.0.into(),
        instead_of: Some(8),
    };
    assert_eq!(
        two,
        [
            (voters.to_owned(), Origin::File { line: 6 }),
            (variable.1.to_owned(), origin)
        ]
    );
    assert_eq!(data, Path::new(variable.1));
}

#[test]
fn no_voter_file_that_exists_is_overwritten() {
    // Not even that of a node that would not vote: it would end that node's start.
    let four = Nodes::Named(["FL-A-1", "TN-A-1", "TX-A-1", "UT-A-1"].map(str::to_owned).to_vec());
    for present in ["FL-A-1.voter", "UT-A-1.voter"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join(present), "mine").unwrap();
        let options = InitOptions {
            nodes: four.clone(),
            ..options(folder.path())
        };
        let error = init(&options, &ENTROPY).unwrap_err();
        assert!(
            matches!(&error, InitError::WouldOverwrite { path } if path.ends_with(present)),
            "{error}"
        );
        assert_eq!(fs::read_to_string(data.join(present)).unwrap(), "mine");
        assert_eq!(
            (files(folder.path()), files(&data)),
            (vec!["data".to_owned()], vec![present.to_owned()])
        );
    }
}

#[test]
fn what_was_written_before_an_error_is_taken_away_again() {
    // A link that leads nowhere is seen before anything is written; a folder that is a file is not.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data"), "no folder").unwrap();
    let error = init(&options(folder.path()), &ENTROPY).unwrap_err();
    assert!(
        matches!(&error, InitError::CannotWrite { path, .. } if path.ends_with("FL-A-1.voter")),
        "{error}"
    );
    assert_eq!(files(folder.path()), ["data"]);

    let folder = tempfile::tempdir().unwrap();
    symlink("nowhere", folder.path().join("data")).unwrap();
    assert!(init(&options(folder.path()), &ENTROPY).is_err());
    assert_eq!(files(folder.path()), ["data"]);
}

#[test]
fn names_that_make_no_cluster_make_no_voters_either() {
    let named = |names: &[&str]| InitOptions {
        nodes: Nodes::Named(names.iter().map(|name| (*name).to_owned()).collect()),
        ..options(Path::new("."))
    };
    for names in [&[][..], &["fl-a-1"], &["FL-A-1", "FL-A-1", "FL-A-1"]] {
        let error = plan(&named(names), &ENTROPY).unwrap_err();
        assert!(matches!(&error, InitError::BadOptions { .. }), "{error}");
        assert!(!error.to_string().contains("voter"), "{error}");
    }
}

const SIXTH: &str =
    "\n[[node]]\nid = 6\nname = \"FL-B-2\"\nhost = \"127.0.0.1\"\nport = 8280\nworkers = 1\njoins = true\n";

#[test]
fn a_node_that_joins_changes_nothing_of_what_the_others_agree_on() {
    let folder = tempfile::tempdir().unwrap();
    let text = plan(&options(folder.path()), &ENTROPY)
        .unwrap()
        .config_text()
        .to_owned();
    let before = parse("cluster.toml", &text, []).unwrap().config;
    let with = parse("cluster.toml", &(text.clone() + SIXTH), []).unwrap().config;
    assert_eq!((with.nodes.len(), with.nodes[5].joins), (6, true));
    assert_eq!(with.topology(), before.topology());
    // It has itself beside them, and no other that joins.
    let seventh = SIXTH
        .replace("= 6", "= 7")
        .replace("FL-B-2", "AZ-A-1")
        .replace("8280", "8536");
    let two = parse("cluster.toml", &(text.clone() + SIXTH + &seventh), [])
        .unwrap()
        .config;
    let own = two.topology_of(&two.nodes[5]);
    assert_eq!((own.nodes().len(), own.node(NodeId(7))), (6, None));
    assert_eq!(
        (own.founding(), &own),
        (&before.topology(), &with.topology_of(&with.nodes[5]))
    );
    assert_eq!(two.topology_of(&two.nodes[0]), before.topology());
}

#[test]
fn a_node_that_joins_needs_a_topology_log_and_has_no_vote_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = plan(&options(folder.path()), &ENTROPY)
        .unwrap()
        .config_text()
        .to_owned();
    let all = "[\"FL-A-1\", \"FL-B-1\", \"TN-A-1\", \"TX-A-1\", \"UT-A-1\"]";
    let refused = |text: String| parse("cluster.toml", &(text + SIXTH), []).unwrap_err().to_string();
    let votes = refused(text.replace(all, "[\"FL-A-1\", \"FL-B-2\", \"TN-A-1\"]"));
    assert!(votes.contains("WP-1324") && votes.contains("`FL-B-2`"), "{votes}");
    let fixed = InitOptions {
        with_voters: false,
        ..options(folder.path())
    };
    let without = refused(plan(&fixed, &ENTROPY).unwrap().config_text().to_owned());
    assert!(
        without.contains("WP-1326") && without.contains("joins = true"),
        "{without}"
    );
}
