//! Splits as each side's matrix shows them: a table of cuts, judges and what those find.

use super::finding::{Finding, findings};
use super::lived::Lived;
use super::matrix::LinkMatrix;
use super::roster::{Known, Roster};
use super::row::{Row, Seen, Sighting};
use super::sight::{Sight, sights};
use super::testing::{at_ms, member};
use crate::ids::NodeId;
use crate::time::MS;

/// Whether `to` hears `from`.
type Hears = fn(from: u16, to: u16) -> bool;

/// The nodes 1 to `nodes`, `per_dc` in each data centre.
fn roster(nodes: u16, per_dc: u16) -> Roster {
    let known = |node| Known {
        member: member(node),
        dc: (node - 1) / per_dc,
        up: true,
    };
    Roster::new((1..=nodes).map(known).collect())
}

fn row(roster: &Roster, reporter: u16, version: u64, seen: impl Fn(u16) -> Seen) -> Row {
    let others = roster.nodes().iter().map(|known| known.member.node.0);
    let sighting = |node| Sighting {
        peer: member(node),
        seen: seen(node),
    };
    let sightings = others.filter(|&node| node != reporter).map(sighting).collect();
    Row::new(member(reporter), version, sightings)
}

/// What `judge` holds: a row of everyone from before, and new ones of those whom it hears.
fn matrix(roster: &Roster, judge: u16, hears: impl Fn(u16, u16) -> bool) -> LinkMatrix {
    let mut matrix = LinkMatrix::new(member(judge), 100 * MS);
    for reporter in roster.nodes().iter().map(|known| known.member.node.0) {
        let before = row(roster, reporter, 1, |_| Seen::Up);
        matrix.take(member(reporter), before, Lived::default()).unwrap();
        if reporter == judge || hears(reporter, judge) {
            let seen = |node| {
                if hears(node, reporter) {
                    Seen::Up
                } else {
                    Seen::Suspected
                }
            };
            matrix
                .take(member(reporter), row(roster, reporter, 2, seen), at_ms(700))
                .unwrap();
        }
    }
    matrix
}

/// `1-3 7` for the nodes 1, 2, 3 and 7.
fn ranges(nodes: &[u16]) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &node in nodes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == node => *last = node,
            _ => ranges.push((node, node)),
        }
    }
    let text = |&(first, last): &(u16, u16)| {
        if first == last {
            format!("{first}")
        } else {
            format!("{first}-{last}")
        }
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn down(findings: &[Finding]) -> String {
    let down = findings.iter().filter(|finding| finding.is_down());
    ranges(&down.map(|finding| finding.known.member.node.0).collect::<Vec<_>>())
}

/// How many cuts, one-way cuts and cuts of unknown direction there are.
fn cuts(sights: &[Sight]) -> [usize; 3] {
    let count = |is: fn(&Sight) -> bool| sights.iter().filter(|sight| is(sight)).count();
    [
        count(|sight| matches!(sight, Sight::PartialCut { .. })),
        count(|sight| matches!(sight, Sight::OneWay { .. })),
        count(|sight| matches!(sight, Sight::Unheard { .. })),
    ]
}

/// A judge; who is down; how many cuts, one-way cuts and cuts of unknown direction there are.
type Finds = (u16, &'static str, [usize; 3]);

fn check(roster: &Roster, table: &[(&str, Hears, &[Finds])]) {
    for (name, hears, judges) in table {
        for (judge, expected_down, expected_cuts) in *judges {
            let matrix = matrix(roster, *judge, hears);
            let counted = matrix.counted(roster, at_ms(800));
            let findings = findings(&counted);
            assert_eq!(down(&findings), *expected_down, "{name}, as node {judge} sees it");
            let sights = sights(&counted, &findings);
            assert_eq!(cuts(&sights), *expected_cuts, "{name}, as node {judge} sees it");
        }
    }
}

#[test]
fn each_side_of_a_split_of_32_nodes_finds_this() {
    // Data centres A 1-8, B 9-16, C 17-24, D 25-32. Cut, judge, who is down, [cuts, one-way cuts, cuts of unknown direction].
    check(
        &roster(32, 8),
        &[
            ("nothing is cut", |_, _| true, &[(1, "", [0, 0, 0])]),
            (
                "16:16, A B against C D",
                |a, b| (a <= 16) == (b <= 16),
                &[
                    (1, "17-32", [0, 0, 0]),
                    (16, "17-32", [0, 0, 0]),
                    (17, "1-16", [0, 0, 0]),
                    (32, "1-16", [0, 0, 0]),
                ],
            ),
            (
                "17:15, one node of C with A B",
                |a, b| (a <= 17) == (b <= 17),
                &[
                    (1, "18-32", [0, 0, 0]),
                    (17, "18-32", [0, 0, 0]),
                    (18, "1-17", [0, 0, 0]),
                ],
            ),
            (
                "15:17, one node of B with C D",
                |a, b| (a <= 15) == (b <= 15),
                &[
                    (1, "16-32", [0, 0, 0]),
                    (16, "1-15", [0, 0, 0]),
                    (32, "1-15", [0, 0, 0]),
                ],
            ),
            (
                "D cut off: it has one data centre's word only",
                |a, b| (a <= 24) == (b <= 24),
                &[(1, "25-32", [0, 0, 0]), (25, "", [0, 0, 8 * 24])],
            ),
            (
                "A against B, C and D see both",
                |a, b| a.max(b) > 16 || (a <= 8) == (b <= 8),
                &[(17, "", [8 * 8, 0, 0]), (1, "", [0, 0, 8 * 8])],
            ),
            (
                "16:16, node 1 sees both sides",
                |a, b| a == 1 || b == 1 || (a <= 16) == (b <= 16),
                &[
                    (1, "", [15 * 16, 0, 0]),
                    (2, "17-32", [0, 0, 0]),
                    (17, "2-16", [0, 0, 0]),
                ],
            ),
            (
                "nobody hears 32, it hears all",
                |a, b| a != 32 || b == 32,
                &[(1, "32", [0, 0, 0]), (32, "32", [0, 0, 0])],
            ),
            (
                "32 hears nobody, all hear it",
                |_, b| b != 32,
                &[(1, "", [0, 31, 0]), (32, "", [0, 0, 31])],
            ),
            (
                "1 does not hear 32",
                |a, b| (a, b) != (32, 1),
                &[(2, "", [0, 1, 0]), (32, "", [0, 1, 0]), (1, "", [0, 0, 1])],
            ),
            (
                "full mesh less the link 1-32",
                |a, b| (a.min(b), a.max(b)) != (1, 32),
                &[(2, "", [1, 0, 0]), (1, "", [0, 0, 1]), (32, "", [0, 0, 1])],
            ),
            (
                "32 is heard by 1 and 2 alone",
                |a, b| a.max(b) < 32 || a.min(b) <= 2,
                &[(1, "32", [0, 0, 0]), (3, "32", [0, 0, 0])],
            ),
            (
                "32 is heard by 1, 2 and 9 alone",
                |a, b| a.max(b) < 32 || [1, 2, 9].contains(&a.min(b)),
                &[(1, "", [28, 0, 0]), (3, "", [0, 0, 28])],
            ),
            (
                "32 is not heard by 1, 2 and 3: one data centre",
                |a, b| a.max(b) < 32 || a.min(b) > 3,
                &[(9, "", [3, 0, 0])],
            ),
        ],
    );
}

#[test]
fn each_side_of_a_split_of_eight_nodes_finds_this() {
    // Data centres A 1 2, B 3 4, C 5 6, D 7 8.
    check(
        &roster(8, 2),
        &[
            (
                "4:4",
                |a, b| (a <= 4) == (b <= 4),
                &[(1, "5-8", [0, 0, 0]), (5, "1-4", [0, 0, 0])],
            ),
            (
                "5:3",
                |a, b| (a <= 5) == (b <= 5),
                &[(1, "6-8", [0, 0, 0]), (6, "1-5", [0, 0, 0])],
            ),
            (
                "D cut off",
                |a, b| (a <= 6) == (b <= 6),
                &[(1, "7-8", [0, 0, 0]), (7, "", [0, 0, 12])],
            ),
            (
                "nobody hears 8",
                |a, b| a != 8 || b == 8,
                &[(1, "8", [0, 0, 0]), (8, "8", [0, 0, 0])],
            ),
            (
                "less the link 1-8",
                |a, b| (a.min(b), a.max(b)) != (1, 8),
                &[(2, "", [1, 0, 0])],
            ),
        ],
    );
}

#[test]
fn each_side_of_a_split_of_few_nodes_finds_this() {
    // Five nodes in data centres of two: 1 2, 3 4, 5. Three have to say it.
    check(
        &roster(5, 2),
        &[
            (
                "3:2",
                |a, b| (a <= 3) == (b <= 3),
                &[(1, "4-5", [0, 0, 0]), (4, "", [0, 0, 6])],
            ),
            (
                "a star about 1",
                |a, b| a.min(b) == 1,
                &[(1, "2-5", [0, 0, 0]), (2, "", [0, 0, 3])],
            ),
        ],
    );
    // Three nodes in three data centres: both others have to say it. Two nodes: the other one.
    check(
        &roster(3, 1),
        &[
            (
                "3 cut off",
                |a, b| (a <= 2) == (b <= 2),
                &[(1, "3", [0, 0, 0]), (3, "", [0, 0, 2])],
            ),
            (
                "less the link 1-3",
                |a, b| (a.min(b), a.max(b)) != (1, 3),
                &[(2, "", [1, 0, 0]), (1, "", [0, 0, 1])],
            ),
        ],
    );
    check(
        &roster(2, 1),
        &[(
            "1 against 2",
            |a, b| a == b,
            &[(1, "2", [0, 0, 0]), (2, "1", [0, 0, 0])],
        )],
    );
    check(&roster(1, 1), &[("alone", |_, _| true, &[(1, "", [0, 0, 0])])]);
}

#[test]
fn a_split_that_heals_makes_nobody_down() {
    // All hear all again, but the rows of C and D that come first were written during the split.
    let roster = roster(32, 8);
    let mut matrix = matrix(&roster, 1, |_, _| true);
    for reporter in 17..=32 {
        let seen = |node| if node > 16 { Seen::Up } else { Seen::Suspected };
        matrix
            .take(member(reporter), row(&roster, reporter, 3, seen), at_ms(750))
            .unwrap();
    }
    let findings = findings(&matrix.counted(&roster, at_ms(800)));
    assert_eq!(down(&findings), "");
    // By the number of those alone who do not hear them, sixteen nodes would be.
    let unheard = findings
        .iter()
        .filter(|finding| finding.unheard_by.meet(finding.needed));
    assert_eq!(unheard.count(), 16);
}

#[test]
fn a_process_that_enough_call_gone_is_down_before_the_others_have_noticed() {
    let roster = roster(32, 8);
    let down_when = |gone: &[u16]| {
        let mut matrix = matrix(&roster, 1, |_, _| true);
        for &reporter in gone {
            let seen = |node| if node == 32 { Seen::Gone } else { Seen::Up };
            matrix
                .take(member(reporter), row(&roster, reporter, 3, seen), at_ms(750))
                .unwrap();
        }
        down(&findings(&matrix.counted(&roster, at_ms(800))))
    };
    assert_eq!(down_when(&[1, 9]), "");
    assert_eq!(down_when(&[1, 2, 3]), "", "one data centre");
    assert_eq!(down_when(&[1, 2, 9]), "32");
}

#[test]
fn a_node_that_is_down_by_the_log_and_still_reports_does_not_lower_what_is_needed() {
    // The star about 1: its leaves are called down, and stay so when the log has recorded it.
    let star = |a: u16, b: u16| a.min(b) == 1;
    let before = roster(5, 2);
    let recorded = before.nodes().iter().map(|known| Known {
        up: known.member.node == NodeId(1),
        ..*known
    });
    let after = Roster::new(recorded.collect());
    let matrix = matrix(&before, 1, star);
    for roster in [&before, &after] {
        assert_eq!(down(&findings(&matrix.counted(roster, at_ms(800)))), "2-5");
    }
}
