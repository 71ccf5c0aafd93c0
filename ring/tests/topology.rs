//! The topology as its users meet it: the seeds' four calls, keys and their groups, digests, differences, refusals.

use std::collections::{BTreeMap, BTreeSet};

use waterpark_ring::{
    ClusterId, Key, KeyBuilder, KeyRef, KeyspaceError, NodeId, NodeSpec, PORT_MAX, Topology, TopologyBytesError,
    TopologyError, TopologySpec,
};

fn node(id: u16, name: &str) -> NodeSpec {
    NodeSpec {
        id: NodeId(id),
        name: name.to_owned(),
        host: format!("10.0.0.{id}"),
        port: 7000 + id,
        shards: 16,
    }
}

/// The cluster of the seeds: 32 nodes in four data centres of two zones, with `HOSPX` at home in Tennessee.
fn spec() -> TopologySpec {
    let names = ["FL", "TN", "TX", "UT"].into_iter().flat_map(|dc| {
        ["A", "B"]
            .into_iter()
            .flat_map(move |zone| (1..=4).map(move |number| format!("{dc}-{zone}-{number}")))
    });
    let nodes = (1..).zip(names).map(|(id, name)| node(id, &name)).collect();
    let facilities = BTreeMap::from([("HOSPX".to_owned(), 1)]);
    TopologySpec {
        facilities,
        ..TopologySpec::new(ClusterId(*b"a test's cluster"), nodes)
    }
}

fn topology() -> Topology {
    Topology::new(spec()).expect("well-formed")
}

fn with(change: impl FnOnce(&mut TopologySpec)) -> Result<Topology, TopologyError> {
    let mut spec = spec();
    change(&mut spec);
    Topology::new(spec)
}

fn patient(id: u32) -> Key {
    KeyBuilder::new("patient")
        .field("id", id.to_string())
        .build()
        .expect("well-formed")
}

#[test]
fn the_seeds_four_calls_answer_as_they_say() {
    let topology = topology();
    assert_eq!(topology.dcs(), ["FL", "TN", "TX", "UT"]);
    let tennessee = [
        "TN-A-1", "TN-A-2", "TN-A-3", "TN-A-4", "TN-B-1", "TN-B-2", "TN-B-3", "TN-B-4",
    ];
    assert_eq!(topology.dc_hash_ring("TN").unwrap().nodes(), tennessee);
    assert!(topology.dc_hash_ring("NY").is_none());
    let current = topology.current();
    assert_eq!(current.keys().copied().collect::<Vec<&str>>(), topology.dcs());
    assert_eq!(current.values().map(|ring| ring.len()).sum::<usize>(), 32);
    let key = Key::new("patient", &[("id", b"1001"), ("facility", b"HOSPX")]).unwrap();
    assert!(topology.actor_server(key.as_ref()).starts_with("TN-"));
}

#[test]
fn groups_follow_from_the_shards_that_there_are() {
    assert_eq!(topology().keyspace().groups(), 16_384);
    assert_eq!(topology().keyspace().classes(), 4);
}

#[test]
fn a_million_keys_keep_their_groups_whatever_happens_to_the_nodes() {
    let before = topology();
    let after = [
        with(|spec| spec.nodes.truncate(5)).unwrap(),
        with(|spec| spec.nodes.reverse()).unwrap(),
        with(|spec| spec.homes.extend([(0, "UT".to_owned())])).unwrap(),
        with(|spec| spec.nodes[0].shards = 3).unwrap(),
        with(|spec| spec.copysets = Some(128)).unwrap(),
    ];
    // Canonical bytes written in place, because a million builders would take longer than all that is tested.
    let mut bytes = *b"\x07patient\x01\x02id\x04\x00....";
    for id in 0..1_000_000_u32 {
        let tail = bytes.len() - 4;
        bytes[tail..].copy_from_slice(&id.to_le_bytes());
        let key = KeyRef::new_checked(&bytes).unwrap();
        let located = before.locate(key);
        // One of the five for each key: each of them sees 200,000.
        assert_eq!(after[id as usize % 5].locate(key), located);
    }
}

#[test]
fn the_order_of_fields_and_of_nodes_changes_no_answer() {
    let (here, there) = (topology(), with(|spec| spec.nodes.reverse()).unwrap());
    for id in 0..10_000_u32 {
        let id = id.to_string();
        let one = Key::new("visit", &[("id", id.as_bytes()), ("facility", b"HOSPY")]).unwrap();
        let other = Key::new("visit", &[("facility", b"HOSPY"), ("id", id.as_bytes())]).unwrap();
        assert_eq!(here.locate(one.as_ref()), there.locate(other.as_ref()));
        assert_eq!(here.actor_server(one.as_ref()), there.actor_server(other.as_ref()));
    }
}

#[test]
fn a_bound_facility_s_keys_live_in_its_class_and_spread_over_its_groups() {
    let topology = topology();
    let mut groups = BTreeSet::new();
    for id in 0..50_000_u32 {
        let key = KeyBuilder::new("patient")
            .field("facility", "HOSPX")
            .field("id", id.to_string())
            .build()
            .unwrap();
        assert_eq!(topology.class_of(key.as_ref()), Some(1));
        let group = topology.locate(key.as_ref()).group;
        assert_eq!(topology.keyspace().class_of_group(group), 1);
        groups.insert(group);
    }
    assert_eq!(groups.len(), 4096);
    assert_eq!(topology.class_with_home("TN"), Some(1));
    assert_eq!(topology.class_of(patient(1).as_ref()), None);
    let unbound = Key::new("patient", &[("facility", b"HOSP\xff")]).unwrap();
    assert_eq!(topology.class_of(unbound.as_ref()), None);
}

#[test]
fn nodes_are_found_by_id_and_by_name() {
    let topology = topology();
    assert_eq!(topology.node(NodeId(9)).unwrap().name, "TN-A-1");
    assert_eq!(topology.node_by_name("TN-A-1").unwrap().id, NodeId(9));
    assert_eq!(
        (topology.node(NodeId(99)), topology.node_by_name("NY-A-1")),
        (None, None)
    );
}

#[test]
fn canonical_bytes_are_small_and_are_read_back() {
    let topology = topology();
    assert!(topology.canonical().len() < 4096, "{}", topology.canonical().len());
    let copy = Topology::from_canonical(topology.canonical()).unwrap();
    assert_eq!((copy.spec(), copy.digest()), (topology.spec(), topology.digest()));
    assert_eq!(copy.first_difference(&topology), None);
}

/// A change of these bytes makes nodes of two releases refuse each other.
#[test]
fn canonical_bytes_of_a_small_topology_never_change() {
    let nodes = vec![NodeSpec {
        id: NodeId(258),
        name: "FL-A-1".into(),
        host: "h".into(),
        port: 7000,
        shards: 2,
    }];
    let facilities = BTreeMap::from([("HOSPX".to_owned(), 3)]);
    let spec = TopologySpec {
        facilities,
        voters: vec![NodeId(258)],
        ..TopologySpec::new(ClusterId([0xab; 16]), nodes)
    };
    let bytes = [
        &[2][..],
        &[0xab; 16],
        &[64, 0, 0, 0],
        &[4, 0, 0, 0],
        &[5],
        &[0; 4],
        &[1, 0],
        &[2, 1],
        b"\x06FL-A-1",
        b"\x01h",
        &[0x58, 0x1b],
        &[2, 0],
        &[1, 0],
        b"\x05HOSPX",
        &[3, 0, 0, 0],
        &[0, 0],
        &[1, 0],
        &[2, 1],
    ];
    let topology = Topology::new(spec).unwrap();
    assert_eq!(topology.canonical(), bytes.concat());
}

#[test]
fn bytes_that_are_no_topology_are_refused_by_name() {
    let bytes = topology().canonical().to_vec();
    for len in 0..bytes.len() {
        assert_eq!(
            Topology::from_canonical(&bytes[..len]).unwrap_err(),
            TopologyBytesError::Truncated,
            "{len}"
        );
    }
    let refused = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Topology::from_canonical(&bytes).unwrap_err()
    };
    assert_eq!(refused(0, 3), TopologyBytesError::Format { format: 3 });
    let members = TopologyBytesError::Topology(TopologyError::Members { members: 9 });
    assert_eq!(refused(25, 9), members);
    let first_name = 1 + 16 + 4 + 4 + 1 + 4 + 2 + 2 + 1;
    assert_eq!(refused(first_name, 0xff), TopologyBytesError::Text);
    assert_eq!(
        refused(first_name + 3, b'Z'),
        TopologyBytesError::NotCanonical,
        "FL-Z-1 would stand last"
    );
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(
        Topology::from_canonical(&longer).unwrap_err(),
        TopologyBytesError::TrailingBytes { bytes: 1 }
    );
}

#[test]
fn a_home_that_says_what_holds_anyway_is_no_difference() {
    let spelt_out = with(|spec| spec.homes.extend([(2, "TX".to_owned())])).unwrap();
    assert_eq!(spelt_out, topology());
}

#[test]
fn the_first_difference_is_named_by_its_path() {
    type Change = fn(&mut TopologySpec);
    let rows: [(&str, Change); 13] = [
        ("cluster.id", |spec| spec.cluster = ClusterId([1; 16])),
        ("cluster.groups", |spec| spec.groups = 128),
        ("cluster.classes", |spec| spec.classes = 8),
        ("cluster.members", |spec| spec.members = 3),
        ("cluster.copysets", |spec| spec.copysets = Some(64)),
        ("voters", |spec| spec.voters = vec![NodeId(2), NodeId(1)]),
        ("facilities.HOSPA", |spec| {
            spec.facilities.extend([("HOSPA".to_owned(), 0)]);
        }),
        ("classes.2.dc", |spec| spec.homes.extend([(2, "FL".to_owned())])),
        ("node.FL-A-1.id", |spec| spec.nodes[0].id = NodeId(77)),
        ("node.FL-A-1.host", |spec| spec.nodes[0].host = "elsewhere".to_owned()),
        ("node.FL-A-2.port", |spec| spec.nodes[1].port = 9000),
        ("node.UT-B-4.shards", |spec| spec.nodes[31].shards = 1),
        ("node.TN-A-1", |spec| spec.nodes.retain(|node| node.name != "TN-A-1")),
    ];
    for (path, change) in rows {
        let (ours, theirs) = (topology(), with(change).unwrap());
        assert_eq!(ours.first_difference(&theirs).as_deref(), Some(path));
        assert_eq!(theirs.first_difference(&ours).as_deref(), Some(path));
        assert_ne!(ours.digest(), theirs.digest(), "{path}");
    }
}

#[test]
fn what_is_no_topology_is_refused_by_name() {
    type Change = fn(&mut TopologySpec);
    let name = || "FL-A-1".to_owned();
    let rows: [(TopologyError, Change); 17] = [
        (TopologyError::Keyspace(KeyspaceError::Groups { groups: 100 }), |spec| {
            spec.groups = 100;
        }),
        (TopologyError::Members { members: 6 }, |spec| spec.members = 6),
        (TopologyError::Members { members: 0 }, |spec| spec.members = 0),
        (
            TopologyError::Copysets {
                copysets: 2,
                classes: 4,
                groups: 16_384,
            },
            |spec| spec.copysets = Some(2),
        ),
        (TopologyError::NoNodes, |spec| spec.nodes.clear()),
        (TopologyError::TooManyNodes { nodes: 513 }, |spec| {
            spec.nodes = (1..=513).map(|id| node(id, &format!("FL-A-{id}"))).collect();
        }),
        (
            TopologyError::NodeName {
                name: "fl_a_1".to_owned(),
                suggestion: name(),
            },
            |spec| {
                spec.nodes[0].name = "fl_a_1".to_owned();
            },
        ),
        (TopologyError::RepeatedName { name: name() }, |spec| {
            spec.nodes[1].name = "FL-A-1".to_owned();
        }),
        (
            TopologyError::RepeatedId {
                id: NodeId(1),
                name: name(),
                other: "FL-A-2".to_owned(),
            },
            |spec| {
                spec.nodes[1].id = NodeId(1);
            },
        ),
        (TopologyError::Voter { id: NodeId(99) }, |spec| {
            spec.voters = vec![NodeId(1), NodeId(99)];
        }),
        (TopologyError::Voter { id: NodeId(1) }, |spec| {
            spec.voters = vec![NodeId(1), NodeId(2), NodeId(1)];
        }),
        (TopologyError::Host { name: name() }, |spec| {
            spec.nodes[0].host = "a host".to_owned();
        }),
        (
            TopologyError::Port {
                name: name(),
                port: PORT_MAX + 1,
            },
            |spec| spec.nodes[0].port = PORT_MAX + 1,
        ),
        (
            TopologyError::Shards {
                name: name(),
                shards: 65,
            },
            |spec| spec.nodes[0].shards = 65,
        ),
        (
            TopologyError::Facility {
                facility: String::new(),
            },
            |spec| spec.facilities.extend([(String::new(), 0)]),
        ),
        (
            TopologyError::FacilityClass {
                facility: "HOSPX".to_owned(),
                class: 4,
                classes: 4,
            },
            |spec| {
                spec.facilities.extend([("HOSPX".to_owned(), 4)]);
            },
        ),
        (TopologyError::HomeClass { class: 9, classes: 4 }, |spec| {
            spec.homes.extend([(9, "FL".to_owned())]);
        }),
    ];
    for (error, change) in rows {
        assert_eq!(with(change).unwrap_err(), error);
        assert!(!error.to_string().is_empty());
    }
    let dcs = ["FL", "TN", "TX", "UT"].map(str::to_owned).to_vec();
    let error = with(|spec| spec.homes.extend([(1, "NY".to_owned())])).unwrap_err();
    assert_eq!(
        error,
        TopologyError::HomeDc {
            class: 1,
            dc: "NY".to_owned(),
            dcs
        }
    );
    let error = with(|spec| spec.facilities = (0..65_536).map(|id| (id.to_string(), 0)).collect()).unwrap_err();
    assert_eq!(error, TopologyError::TooManyFacilities { facilities: 65_536 });
}

#[test]
fn nodes_join_and_leave_and_classes_keep_their_homes_for_as_long_as_these_have_a_node() {
    let founding = topology();
    let homes =
        |topology: &Topology| -> Vec<String> { (0..4).map(|class| topology.home_of(class).to_owned()).collect() };
    // A data centre that stands first in their order would otherwise be the home of a class, and move three others.
    let joined = [node(40, "AZ-A-1"), node(41, "FL-A-9")];
    let grown = founding.grown(&joined, &[NodeId(1)]).expect("well-formed");
    assert_eq!(grown.nodes().len(), 33);
    assert_eq!(
        (
            grown.node(NodeId(40)).map(|node| node.name.as_str()),
            grown.node(NodeId(1))
        ),
        (Some("AZ-A-1"), None)
    );
    assert_eq!(homes(&grown), homes(&founding));
    assert_eq!(
        (grown.founding(), grown.founding().digest()),
        (&founding, founding.digest())
    );
    assert_ne!(grown.digest(), founding.digest());
    // In however many steps, and said twice, it comes to the same.
    let steps = founding
        .grown(&joined[..1], &[])
        .and_then(|one| one.grown(&joined, &[NodeId(1)]));
    assert_eq!(steps.as_ref(), Ok(&grown));
    assert_eq!(steps.expect("the same").founding(), &founding);
    let florida: Vec<NodeId> = (1..=8).map(NodeId).chain([NodeId(41)]).collect();
    let without = grown
        .grown(&[], &florida)
        .expect("three data centres and a new one are left");
    assert!(homes(&without).iter().all(|home| home != "FL"));
    assert_eq!(homes(&without)[1..], homes(&founding)[1..]);

    assert!(matches!(
        founding.grown(&[node(33, "FL-A-1")], &[]),
        Err(TopologyError::RepeatedName { .. })
    ));
    let voting = with(|spec| spec.voters = vec![NodeId(1)]).expect("well-formed");
    let without = voting.grown(&[], &[NodeId(1)]).expect("who votes by then the log says");
    assert_eq!((&without.spec().voters, without.founding()), (&vec![], &voting));
}
