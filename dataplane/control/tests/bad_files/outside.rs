//! What is wrong outside the text: the file itself, variables, the key, the choice of a node, options of `init`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use waterpark_control::{
    ClusterKey, CodeId, ConfigError, ENTROPY_BYTES, FILE_BYTES_MAX, InitError, InitOptions, Loaded, Nodes, Problem,
    Severity, init, load, parse_bytes,
};

use crate::support::{BASE, edited, read};

/// A configuration with every warning there is in a file.
pub(crate) fn warned() -> Loaded {
    let edits = [
        ("members = 3", "members = 1"),
        ("port = 7512", "port = 40000"),
        (
            "name = \"TN-A-1\"\nhost = \"127.0.0.1\"",
            "name = \"TN-A-1\"\nhost = \"10.0.0.1\"",
        ),
    ];
    read(
        &edited(&edits),
        &[("WATERPARK_DEFAULT_MEMORY", "1GiB"), ("WATERPARK_DATA", "/somewhere")],
    )
    .unwrap()
}

fn with_variables() -> ConfigError {
    let variables = [
        ("WATERPARK_DEFAULTS_MEMORY", "2GB"),
        ("WATERPARK_CLUSTER_GROUPS", "64"),
        ("WATERPARK_NODE_FL_C_1_HOST", "10.0.0.1"),
        ("WATERPARK_NODE_FL_A_1_PORT", "-1"),
    ];
    read(BASE, &variables).unwrap_err()
}

/// What is said of a folder with this configuration and, if there is one, this key.
fn loaded(config: &[u8], key: Option<&str>) -> (TempDir, Result<Loaded, ConfigError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.toml");
    fs::write(&path, config).unwrap();
    if let Some(key) = key {
        fs::write(folder.path().join("cluster.key"), key).unwrap();
        fs::set_permissions(folder.path().join("cluster.key"), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let loaded = load(&path, []);
    (folder, loaded)
}

fn too_many_nodes() -> ConfigError {
    let node = |n: u32| {
        format!(
            "[[node]]\nid = {n}\nname = \"FL-A-{n}\"\nhost = \"10.0.{}.{}\"\nport = 7000\n",
            n / 250,
            n % 250 + 1
        )
    };
    let nodes: String = (10..10 + 510).map(node).collect();
    read(&(BASE.to_owned() + &nodes), &[]).unwrap_err()
}

fn too_many_facilities() -> ConfigError {
    let facilities: String = (0..65_535).map(|n| format!("F{n} = 1\n")).collect();
    read(&edited(&[("HOSPX = 3\n", &format!("HOSPX = 3\n{facilities}"))]), &[]).unwrap_err()
}

fn init_errors() -> Vec<InitError> {
    let folder = tempfile::tempdir().unwrap();
    let options = InitOptions {
        folder: folder.path().to_owned(),
        ..InitOptions::default()
    };
    fs::write(folder.path().join("cluster.toml"), "mine").unwrap();
    let occupied = options.clone();
    let unwritable = InitOptions {
        folder: folder.path().join("cluster.toml").join("below"),
        ..options.clone()
    };
    let misnamed = InitOptions {
        nodes: Nodes::Named(vec!["fl-a-1".to_owned()]),
        ..options.clone()
    };
    let grid = Nodes::Grid {
        dcs: vec!["FL".to_owned()],
        zones: 27,
        per_zone: 1,
    };
    let many = InitOptions { nodes: grid, ..options };
    [occupied, unwritable, misnamed, many]
        .iter()
        .map(|options| init(options, &[7; ENTROPY_BYTES]).unwrap_err())
        .collect()
}

/// Every code that is reached here.
pub(crate) fn codes() -> Vec<CodeId> {
    let of = |error: &ConfigError| error.problems().iter().map(Problem::code).collect::<Vec<CodeId>>();
    let good = read(BASE, &[]).unwrap().config;
    let mut codes: Vec<CodeId> = warned().warnings.iter().map(Problem::code).collect();
    codes.extend(of(&with_variables()));
    codes.extend(of(&too_many_nodes()));
    codes.extend(of(&too_many_facilities()));
    codes.extend(of(&load(Path::new("no/such/file"), []).unwrap_err()));
    codes.extend(of(&parse_bytes("cluster.toml", b"\xff", []).unwrap_err()));
    codes.extend(of(&parse_bytes(
        "cluster.toml",
        &vec![b' '; 1 + usize::try_from(FILE_BYTES_MAX).unwrap()],
        [],
    )
    .unwrap_err()));
    codes.extend(of(&loaded(BASE.as_bytes(), None).1.unwrap_err()));
    codes.extend(of(&loaded(BASE.as_bytes(), Some("secret")).1.unwrap_err()));
    codes.extend(
        loaded(BASE.as_bytes(), Some(&"ab".repeat(32)))
            .1
            .unwrap()
            .warnings
            .iter()
            .map(Problem::code),
    );
    codes.push(good.node("FL-A-9").unwrap_err().code());
    codes.extend(init_errors().iter().map(InitError::code));
    codes
}

#[test]
fn warnings_are_shown_as_errors_are() {
    let shown: Vec<String> = warned().warnings.iter().map(Problem::to_string).collect();
    assert_eq!(
        format!("\n{}\n", shown.join("\n\n")),
        r#"
warning[WP-1312]: each message is kept on one of the 3 nodes only
  --> cluster.toml:8:11
   |
 8 | members = 1
   |           ^
   = help: raise `members` to 3 or 5 when there are as many nodes

warning[WP-1319]: a node at 127.0.0.1 cannot be reached from the one at 10.0.0.1
  --> cluster.toml:30:8
   |
30 | host = "127.0.0.1"
   |        ^^^^^^^^^^^
   = note: see also cluster.toml:42:8
   = help: write the address under which all others reach the node

warning[WP-1306]: a node at 40000 uses ports that Linux gives to outgoing connections
  --> cluster.toml:43:8
   |
43 | port = 40000
   |        ^^^^^
   = help: choose a port of at most 32512, or reserve the range (net.ipv4.ip_local_reserved_ports)

warning[WP-1403]: WATERPARK_DEFAULT_MEMORY overrides nothing, but its name is near to one that does
  --> environment: WATERPARK_DEFAULT_MEMORY
   |
   | WATERPARK_DEFAULT_MEMORY=1GiB
   |                          ^^^^
   = help: did you mean WATERPARK_DEFAULTS_MEMORY?
"#
    );
}

#[test]
fn variables_that_override_nothing_are_refused_with_the_one_that_was_meant() {
    assert_eq!(
        format!("\n{}", with_variables()),
        r#"
error[WP-1402]: WATERPARK_CLUSTER_GROUPS would change what was fixed with the cluster
  --> environment: WATERPARK_CLUSTER_GROUPS
   |
   | WATERPARK_CLUSTER_GROUPS=64
   |                          ^^
   = help: unset the variable

error[WP-1401]: WATERPARK_NODE_FL_C_1_HOST overrides nothing
  --> environment: WATERPARK_NODE_FL_C_1_HOST
   |
   | WATERPARK_NODE_FL_C_1_HOST=10.0.0.1
   |                            ^^^^^^^^
   = help: did you mean WATERPARK_NODE_FL_A_1_HOST?

error[WP-1206]: `2GB` is no size: there is no unit `GB`, did you mean `GiB`?
  --> environment: WATERPARK_DEFAULTS_MEMORY
   |
   | WATERPARK_DEFAULTS_MEMORY=2GB
   |                           ^^^
   = help: write a whole number and one of B, KiB, MiB, GiB, TiB: `64KiB`, `2GiB`

error[WP-1204]: `port` cannot be -1
  --> environment: WATERPARK_NODE_FL_A_1_PORT
   |
   | WATERPARK_NODE_FL_A_1_PORT=-1
   |                            ^^
   = help: choose from 1 to 65535

4 errors; the configuration was not used"#
    );
}

#[test]
fn a_byte_that_is_not_utf_8_is_shown_where_it_stands() {
    assert_eq!(
        format!(
            "\n{}",
            parse_bytes("cluster.toml", b"format = 1\nname = \"a\xff\xfeb\"\n", []).unwrap_err()
        ),
        r#"
error[WP-1002]: a byte here is not UTF-8
  --> cluster.toml:2:10
   |
 2 | name = "a��b"
   |          ^
   = help: save the file as UTF-8

1 error; the configuration was not used"#
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Path::new("no/such/cluster.toml"), []).unwrap_err();
    assert_eq!(
        format!("\n{error}"),
        r#"
error[WP-1001]: the configuration cannot be read: entity not found
  --> no/such/cluster.toml
   = help: name the file with --config, make one with `waterpark init`, or give this user the right to read it

1 error; the configuration was not used"#
    );
}

#[test]
fn a_key_that_is_not_there_is_looked_for_beside_the_file() {
    let (folder, loaded) = loaded(BASE.as_bytes(), None);
    let said = loaded.unwrap_err().to_string();
    let key = folder.path().join("cluster.key");
    let expected = format!(
        r"error[WP-1501]: the cluster key cannot be read: entity not found
  --> {}
   = help: copy the key from another node, owned by the user who runs the node, mode 0600

1 error; the configuration was not used",
        key.display()
    );
    assert_eq!(said, expected);
}

#[test]
fn a_key_is_loaded_with_its_file_and_a_warning_if_others_may_read_it() {
    let (_folder, loaded) = loaded(BASE.as_bytes(), Some(&"ab".repeat(32)));
    let loaded = loaded.unwrap();
    assert_eq!(loaded.key.as_ref().map(ClusterKey::as_bytes), Some(&[0xab; 32]));
    assert_eq!(
        loaded.warnings.iter().map(Problem::code).collect::<Vec<_>>(),
        [CodeId::KeyExposed]
    );
}

#[test]
fn a_node_that_is_not_in_the_file_is_refused_with_the_nearest_name() {
    let config = read(BASE, &[]).unwrap().config;
    assert_eq!(config.node("TN-A-1").unwrap().id.0, 3);
    assert_eq!(
        format!("\n{}", config.node("TN-A-2").unwrap_err()),
        r"
error[WP-1504]: there is no node `TN-A-2`
  --> command line
   |
   | --name TN-A-2
   = help: did you mean `TN-A-1`? nodes of the file: FL-A-1, FL-B-1, TN-A-1"
    );
}

#[test]
fn more_nodes_or_facilities_than_a_topology_holds_are_refused_at_the_first_too_many() {
    let said = |error: ConfigError| {
        let first = error
            .problems()
            .iter()
            .find(|problem| problem.severity() == Severity::Error)
            .unwrap();
        first.what.to_string()
    };
    assert_eq!(said(too_many_nodes()), "a cluster has at most 512 nodes, these are 513");
    assert_eq!(
        said(too_many_facilities()),
        "at most 65535 facilities are bound, these are 65536"
    );
}
