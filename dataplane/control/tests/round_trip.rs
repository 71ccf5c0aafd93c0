//! From options to files to values and back, and where values come from.

#![expect(clippy::unwrap_used, reason = "what a test needs and cannot have fails the test")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use waterpark_control::{
    Bytes, CLIENTS_MAX, ClusterKey, Compression, Defaults, ENTROPY_BYTES, Explained, History, InitError, InitOptions,
    Loaded, MESSAGE_MAX, MllpFrom, MllpMode, Nodes, Origin, WAITING_MAX, Workers, init, load, parse, plan,
};
use waterpark_ring::{Keyspace, Topology, TopologySpec};

/// Bytes that differ, so that id and key cannot be mixed up.
fn entropy() -> [u8; ENTROPY_BYTES] {
    std::array::from_fn(|at| u8::try_from(at + 1).unwrap())
}

fn default_text() -> String {
    plan(&InitOptions::default(), &entropy())
        .unwrap()
        .config_text()
        .to_owned()
}

fn parsed(text: &str, variables: &[(&str, &str)]) -> Loaded {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    parse("cluster.toml", text, variables).unwrap()
}

fn explained(loaded: &Loaded, key: &str) -> (String, Origin) {
    let found: &Explained = loaded
        .explained
        .iter()
        .find(|explained| &*explained.key == key)
        .unwrap();
    (found.value.to_string(), found.origin.clone())
}

#[test]
fn a_new_cluster_reads_back_as_it_was_planned() {
    let folder = tempfile::tempdir().unwrap();
    let options = InitOptions {
        folder: folder.path().join("new/cluster"),
        ..InitOptions::default()
    };
    let written = init(&options, &entropy()).unwrap();
    let loaded = load(&written.config_path, []).unwrap();

    assert_eq!((&loaded.config, &loaded.warnings), (&written.config, &vec![]));
    let config = &loaded.config;
    assert_eq!(config.id.0.as_slice(), &entropy()[..16]);
    assert_eq!(
        loaded.key.as_ref().map(|key: &ClusterKey| key.as_bytes().as_slice()),
        Some(&entropy()[16..])
    );
    assert_eq!((config.groups, config.classes, config.members), (128, 4, 5));
    let nodes: Vec<(u16, &str, &str, u16, u16)> = config
        .nodes
        .iter()
        .map(|node| {
            (
                node.id.0,
                node.name.as_str(),
                node.host.as_str(),
                node.port,
                node.shards,
            )
        })
        .collect();
    assert_eq!(
        nodes,
        [
            (1, "FL-A-1", "127.0.0.1", 7_000, 1),
            (2, "FL-B-1", "127.0.0.1", 7_256, 1),
            (3, "TN-A-1", "127.0.0.1", 7_512, 1),
            (4, "TX-A-1", "127.0.0.1", 7_768, 1),
            (5, "UT-A-1", "127.0.0.1", 8_024, 1),
        ]
    );
    let ports = config.nodes[1].ports();
    assert_eq!(
        (ports.peer(0), ports.native(63), ports.mllp(), ports.http()),
        (7_256, 7_383, 7_384, 7_385)
    );
}

#[test]
fn the_examples_in_the_comments_of_a_new_file_are_right() {
    let text = default_text();
    let optional: String = text
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|line| line.contains("  ")))
        .filter_map(|line| line.rsplit_once("  ").map(|(_, example)| format!("{example}\n")))
        .collect();
    assert_eq!(optional.lines().count(), 16);
    let config = parsed(&format!("{text}\n{optional}"), &[]).config;
    assert_eq!(config.facilities.get("HOSPX"), Some(&0));
    assert_eq!(config.class_homes.get(&0).map(String::as_str), Some("FL"));
    assert_eq!(
        (config.history("record"), config.history("other")),
        (History::All, History::All)
    );
    assert_eq!(config.links.delay[&("FL".to_owned(), "TN".to_owned())].as_ms(), 18);
    assert_eq!(config.links.compression, Compression::Lz4);
    assert_eq!(config.mllp.authorities, ["HOSPX"]);
    assert_eq!(
        (config.mllp.from, config.mllp.mode),
        (MllpFrom::Any, MllpMode::Original)
    );
    assert_eq!(
        (config.votes.replace_after.as_ms(), config.votes.trim.get()),
        (60_000, 8 << 20)
    );
}

#[test]
fn a_file_that_says_nothing_of_mllp_serves_senders_on_its_own_machine() {
    let loaded = parsed(&default_text(), &[]);
    let mllp = &loaded.config.mllp;
    assert_eq!(
        (mllp.listen, mllp.from, mllp.mode),
        (true, MllpFrom::Loopback, MllpMode::Original)
    );
    assert_eq!((mllp.timeout.as_ms(), mllp.message_max), (10_000, MESSAGE_MAX));
    assert!(mllp.authorities.is_empty());
    for (key, value) in [
        ("mllp.listen", "true"),
        ("mllp.from", "loopback"),
        ("mllp.mode", "original"),
        ("mllp.timeout", "10s"),
        ("mllp.message_max", "1MiB"),
        ("mllp.authorities", "[]"),
    ] {
        assert_eq!(explained(&loaded, key), (value.to_owned(), Origin::Default), "{key}");
    }
}

#[test]
fn mllp_is_served_as_the_file_or_a_variable_says() {
    let table =
        "\n[mllp]\nauthorities = [\"MR\", \"1.2.3\"]\nmode = \"enhanced\"\ntimeout = \"3s\"\nmessage_max = \"64KiB\"\n";
    let text = default_text() + table + "from = \"any\"\nlisten = false\n";
    let mllp = parsed(&text, &[]).config.mllp;
    assert_eq!(mllp.authorities, ["MR", "1.2.3"]);
    assert_eq!(
        (mllp.listen, mllp.from, mllp.mode),
        (false, MllpFrom::Any, MllpMode::Enhanced)
    );
    assert_eq!((mllp.timeout.as_ms(), mllp.message_max), (3_000, Bytes::new(64 << 10)));

    let variables = [
        ("WATERPARK_MLLP_LISTEN", "true"),
        ("WATERPARK_MLLP_FROM", "loopback"),
        ("WATERPARK_MLLP_MODE", "original"),
        ("WATERPARK_MLLP_TIMEOUT", "4s"),
        ("WATERPARK_MLLP_MESSAGE_MAX", "32KiB"),
    ];
    let loaded = parsed(&text, &variables);
    let mllp = &loaded.config.mllp;
    assert_eq!(
        (mllp.listen, mllp.from, mllp.mode),
        (true, MllpFrom::Loopback, MllpMode::Original)
    );
    assert_eq!((mllp.timeout.as_ms(), mllp.message_max), (4_000, Bytes::new(32 << 10)));
    for (name, value) in variables {
        let key = name.trim_start_matches("WATERPARK_MLLP_").to_ascii_lowercase();
        let (said, origin) = explained(&loaded, &format!("mllp.{key}"));
        let of_variable = matches!(&origin, Origin::Variable { name: found, instead_of: Some(_) } if **found == *name);
        assert!(said == value && of_variable, "{key}: {said} {origin:?}");
    }
}

#[test]
fn a_variable_that_mllp_cannot_mean_is_refused() {
    for (name, value) in [
        ("WATERPARK_MLLP_LISTEN", "yes"),
        ("WATERPARK_MLLP_FROM", "10.0.0.0/8"),
        ("WATERPARK_MLLP_MODE", ""),
        ("WATERPARK_MLLP_TIMEOUT", "0s"),
        ("WATERPARK_MLLP_MESSAGE_MAX", "2MiB"),
        ("WATERPARK_MLLP_AUTHORITIES", "MR"),
    ] {
        let refused = parse("cluster.toml", &default_text(), [(name.to_owned(), value.to_owned())]);
        assert_eq!(refused.unwrap_err().problems().len(), 1, "{name}={value}");
    }
}

#[test]
fn a_shard_takes_as_many_clients_and_lets_as_many_requests_wait_as_the_file_or_a_variable_says() {
    let text = default_text();
    type Read = fn(&Defaults) -> u32;
    let keys: [(&str, Read, u32, u32); 2] = [
        ("clients", |defaults| defaults.clients, 1, CLIENTS_MAX),
        ("waiting", |defaults| defaults.waiting, 16, WAITING_MAX),
    ];
    for (key, read, least, most) in keys {
        assert_eq!(read(&parsed(&text, &[]).config.defaults), most);
        let with = |value: &str| text.replace("[defaults]\n", &format!("[defaults]\n{key} = {value}\n"));
        let fewer = with("250");
        assert_eq!(read(&parsed(&fewer, &[]).config.defaults), 250);
        let name = format!("WATERPARK_DEFAULTS_{}", key.to_uppercase());
        let variable = parsed(&fewer, &[(name.as_str(), "17")]);
        assert_eq!(read(&variable.config.defaults), 17);
        assert_eq!(explained(&variable, &format!("defaults.{key}")).0, "17");
        for right in [least, most] {
            assert_eq!(read(&parsed(&with(&right.to_string()), &[]).config.defaults), right);
        }
        for wrong in [&(least - 1).to_string(), &(most + 1).to_string(), "-1", "\"many\""] {
            assert!(parse("cluster.toml", &with(wrong), []).is_err(), "{key} = {wrong}");
        }
    }
}

#[test]
fn the_key_of_a_new_cluster_is_readable_by_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let options = InitOptions {
        folder: folder.path().to_owned(),
        ..InitOptions::default()
    };
    let key = init(&options, &entropy()).unwrap().key_path.unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&key).unwrap().trim().len(), 64);
}

#[test]
fn a_cluster_without_a_key_has_no_key_file() {
    let folder = tempfile::tempdir().unwrap();
    let options = InitOptions {
        folder: folder.path().to_owned(),
        with_key: false,
        ..InitOptions::default()
    };
    let written = init(&options, &entropy()).unwrap();
    assert_eq!((written.key_path, written.config.key_file), (None, None));
    assert_eq!(load(&written.config_path, []).unwrap().key, None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn no_file_that_exists_is_overwritten() {
    for present in ["cluster.toml", "cluster.key"] {
        for with_key in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(present), "mine").unwrap();
            let options = InitOptions {
                folder: folder.path().to_owned(),
                with_key,
                ..InitOptions::default()
            };
            let error = init(&options, &entropy()).unwrap_err();
            assert!(
                matches!(&error, InitError::WouldOverwrite { path } if path.ends_with(present)),
                "{error}"
            );
            assert_eq!(fs::read_to_string(folder.path().join(present)).unwrap(), "mine");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was added");
        }
    }
}

#[test]
fn a_link_to_nowhere_is_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    symlink(folder.path().join("elsewhere"), folder.path().join("cluster.key")).unwrap();
    let options = InitOptions {
        folder: folder.path().to_owned(),
        ..InitOptions::default()
    };
    assert!(matches!(
        init(&options, &entropy()),
        Err(InitError::WouldOverwrite { .. })
    ));
    assert!(!folder.path().join("elsewhere").exists());
}

#[test]
fn options_that_make_no_cluster_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let base = InitOptions {
        folder: folder.path().join("new"),
        ..InitOptions::default()
    };
    let named = |names: &[&str]| Nodes::Named(names.iter().map(|name| (*name).to_owned()).collect());
    let grid = |zones, per_zone| Nodes::Grid {
        dcs: vec!["FL".to_owned()],
        zones,
        per_zone,
    };
    let table = [
        (
            InitOptions {
                nodes: named(&[]),
                ..base.clone()
            },
            "WP-1603",
            "the cluster has no nodes",
        ),
        (
            InitOptions {
                nodes: named(&["a\"b\n"]),
                ..base.clone()
            },
            "WP-1603",
            "no node can be named `a\"b\u{fffd}`",
        ),
        (
            InitOptions {
                groups: Some(100),
                ..base.clone()
            },
            "WP-1603",
            "`groups` is a power of two from 64 to 1048576, not 100",
        ),
        (
            InitOptions {
                classes: 0,
                ..base.clone()
            },
            "WP-1603",
            "`classes` cannot be 0",
        ),
        (
            InitOptions {
                workers: 65,
                ..base.clone()
            },
            "WP-1603",
            "`65` says nothing about workers",
        ),
        (
            InitOptions {
                memory: Bytes::new(1),
                ..base.clone()
            },
            "WP-1603",
            "`memory` cannot be 1B",
        ),
        (
            InitOptions {
                base_port: 65_000,
                ..base.clone()
            },
            "WP-1603",
            "`port` cannot be 65768",
        ),
        (
            InitOptions {
                host: "10.0.0.1".to_owned(),
                with_key: false,
                ..base.clone()
            },
            "WP-1603",
            "the cluster has no key",
        ),
        (
            InitOptions {
                nodes: grid(27, 1),
                ..base.clone()
            },
            "WP-1604",
            "27 nodes with 27 zones in a data centre are too many",
        ),
        (
            InitOptions {
                nodes: grid(26, 65_535),
                ..base.clone()
            },
            "WP-1604",
            "1703910 nodes with 26 zones",
        ),
    ];
    for (options, code, said) in table {
        let error = init(&options, &entropy()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("error[{code}]: ")) && error.contains(said),
            "{said}: {error}"
        );
        assert!(!folder.path().join("new").exists());
    }
}

#[test]
fn a_grid_names_its_nodes_by_data_centre_zone_and_number() {
    let nodes = Nodes::Grid {
        dcs: ["FL", "TN", "TX", "UT"].map(str::to_owned).to_vec(),
        zones: 2,
        per_zone: 4,
    };
    let config = plan(
        &InitOptions {
            nodes,
            ..InitOptions::default()
        },
        &entropy(),
    )
    .unwrap()
    .config()
    .clone();
    let names: Vec<&str> = config.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(
        (names.len(), names[0], names[3], names[4], names[31]),
        (32, "FL-A-1", "FL-A-4", "FL-B-1", "UT-B-4")
    );
    assert_eq!((config.groups, config.members), (1_024, 5));
}

#[test]
fn small_clusters_have_as_many_members_as_they_can() {
    for (nodes, members, warnings) in [(1, 1, 0), (2, 1, 1), (3, 3, 0), (4, 4, 0), (5, 5, 0), (6, 5, 0)] {
        let nodes = Nodes::Grid {
            dcs: vec!["FL".to_owned()],
            zones: 1,
            per_zone: nodes,
        };
        let plan = plan(
            &InitOptions {
                nodes,
                ..InitOptions::default()
            },
            &entropy(),
        )
        .unwrap();
        assert_eq!((plan.config().members, plan.warnings().len()), (members, warnings));
    }
}

#[test]
fn a_configuration_makes_the_topology_that_it_says() {
    let config = parsed(
        &format!(
            "{}\n[facilities]\nHOSPX = 2\n[classes.2]\ndc = \"UT\"\n",
            default_text()
        ),
        &[],
    )
    .config;
    let topology = config.topology();
    assert_eq!(topology.dcs(), ["FL", "TN", "TX", "UT"]);
    assert_eq!(
        (topology.keyspace().groups(), topology.members(), topology.home_of(2)),
        (128, 5, "UT")
    );
    assert_eq!(
        topology.node_by_name("TX-A-1").map(|node| (node.port, node.shards)),
        Some((7_768, 1))
    );
    let spec: &TopologySpec = topology.spec();
    assert_eq!((spec.cluster, spec.facilities.get("HOSPX")), (config.id, Some(&2)));
    assert_eq!(Topology::new(spec.clone()).unwrap().digest(), topology.digest());
    assert_eq!(config.groups, Keyspace::groups_for(5));
}

#[test]
fn a_variable_overrides_the_file_and_says_so() {
    let text = default_text();
    let line = |key: &str| 1 + text.lines().position(|line| line.starts_with(key)).unwrap();
    let loaded = parsed(
        &text,
        &[
            ("WATERPARK_DEFAULTS_MEMORY", "2GiB"),
            ("WATERPARK_LINKS_COMPRESSION", "lz4"),
            ("WATERPARK_NODE_TN_A_1_WORKERS", "2-4"),
            ("WATERPARK_NODE_TX_A_1_HOST", "127.0.0.2"),
            ("WATERPARK_NODE_TX_A_1_PORT", "9000"),
            ("WATERPARK_CLUSTER_KEY_FILE", "/etc/waterpark/cluster.key"),
        ],
    );
    let name = |name: &str| name.into();
    let memory = Origin::Variable {
        name: name("WATERPARK_DEFAULTS_MEMORY"),
        instead_of: Some(line("memory")),
    };
    assert_eq!(explained(&loaded, "defaults.memory"), ("2GiB".to_owned(), memory));
    let compression = Origin::Variable {
        name: name("WATERPARK_LINKS_COMPRESSION"),
        instead_of: None,
    };
    assert_eq!(explained(&loaded, "links.compression"), ("lz4".to_owned(), compression));
    let follows = Origin::Follows { key: "defaults.memory" };
    assert_eq!(explained(&loaded, "node.TN-A-1.memory"), ("2GiB".to_owned(), follows));
    assert_eq!(
        explained(&loaded, "cluster.groups"),
        ("128".to_owned(), Origin::File { line: line("groups") })
    );

    let config = &loaded.config;
    let [tn, tx] = ["TN-A-1", "TX-A-1"].map(|name| config.node(name).unwrap());
    assert_eq!(
        (tn.shards, &tn.workers, tn.memory),
        (3, &Workers::Cores([2, 3, 4].into()), Bytes::new(2 << 30))
    );
    assert_eq!((tx.host.as_str(), tx.port), ("127.0.0.2", 9_000));
    assert_eq!(
        config.key_file.as_ref().and_then(|file| file.to_str()),
        Some("/etc/waterpark/cluster.key")
    );
}

#[test]
fn each_origin_is_shown_in_one_line() {
    let loaded = parsed(
        &default_text(),
        &[
            ("WATERPARK_DEFAULTS_MEMORY", "2GiB"),
            ("WATERPARK_NODE_FL_A_1_SHARDS", "2"),
        ],
    );
    let line = |key: &str| {
        loaded
            .explained
            .iter()
            .find(|explained| &*explained.key == key)
            .unwrap()
            .line("c.toml")
    };
    assert_eq!(line("cluster.classes"), "cluster.classes = 4  (c.toml:9)");
    assert_eq!(line("links.compression"), "links.compression = none  (default)");
    assert_eq!(
        line("defaults.memory"),
        "defaults.memory = 2GiB  (environment WATERPARK_DEFAULTS_MEMORY, instead of c.toml:19)"
    );
    assert_eq!(
        line("node.FL-A-1.shards"),
        "node.FL-A-1.shards = 2  (environment WATERPARK_NODE_FL_A_1_SHARDS)"
    );
    assert_eq!(
        line("node.FL-B-1.workers"),
        "node.FL-B-1.workers = 1  (from defaults.workers)"
    );
    let json: Vec<String> = loaded
        .explained
        .iter()
        .map(|explained| explained.to_json().to_string())
        .collect();
    assert!(json.contains(&r#"{"key":"links.compression","origin":"default","value":"none"}"#.to_owned()));
}

#[test]
fn a_file_of_another_systems_editor_is_read_alike() {
    let text = default_text();
    let theirs = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(parsed(&theirs, &[]).config, parsed(&text, &[]).config);
}

#[test]
fn values_that_the_file_leaves_out_have_defaults() {
    let text = default_text().replace("workers = 1\nmemory = \"1GiB\"\n", "");
    let loaded = parsed(&text, &[]);
    assert_eq!(loaded.config, parsed(&default_text(), &[]).config);
    assert_eq!(
        explained(&loaded, "defaults.workers"),
        ("1".to_owned(), Origin::Default)
    );
    assert_eq!(
        explained(&loaded, "defaults.memory"),
        ("1GiB".to_owned(), Origin::Default)
    );
}
