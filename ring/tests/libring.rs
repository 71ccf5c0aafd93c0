//! Rings in libring mode against owners that `bitwalker/libring` 1.7.0 gave on OTP 25.

use std::path::{Path, PathBuf};

use waterpark_ring::phash2::phash2_binary;
use waterpark_ring::{HashMode, HashRing};

fn ring<'a>(names: impl IntoIterator<Item = &'a str>) -> HashRing {
    let mut ring = HashRing::new(HashMode::Libring);
    ring.add_nodes(names).expect("names are distinct");
    ring
}

/// The rings of the table's columns, in their order: `s1..s8` and the four data centres of eight nodes.
fn rings() -> Vec<HashRing> {
    let mut rings = vec![ring(["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"])];
    for dc in ["FL", "TN", "TX", "UT"] {
        let names: Vec<String> = ["A", "B"]
            .iter()
            .flat_map(|zone| (1..=4).map(move |number| format!("{dc}-{zone}-{number}")))
            .collect();
        rings.push(ring(names.iter().map(String::as_str)));
    }
    rings
}

/// Rows of key, hash and five owners that were compared.
fn compare(table: &str) -> usize {
    let rings = rings();
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let columns: Vec<&str> = row.split('\t').collect();
        let [key, hash, owners @ ..] = &columns[..] else {
            panic!("{row}")
        };
        assert_eq!(phash2_binary(key.as_bytes()).to_string(), *hash, "{key}");
        let ours: Vec<&str> = rings
            .iter()
            .map(|ring| ring.key_to_node(key).expect("the ring has nodes"))
            .collect();
        assert_eq!(ours, owners, "{key}");
    })
    .count()
}

#[test]
fn twenty_golden_rows_have_their_owners() {
    assert_eq!(compare(include_str!("fixtures/libring_golden.tsv")), 20);
}

#[test]
fn all_golden_rows_have_their_owners() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let table = std::env::var_os("WATERPARK_DATA")
        .map_or(root, PathBuf::from)
        .join("ring/libring_golden.tsv");
    match std::fs::read_to_string(&table) {
        Ok(table) => assert_eq!(compare(&table), 1000),
        Err(error) => eprintln!("skipped: the whole table is not at {}: {error}", table.display()),
    }
}
