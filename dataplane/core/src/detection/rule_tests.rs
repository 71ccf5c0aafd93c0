//! The rule against its definition, on random matrices, and the judge against its promise, on random findings.

use super::finding::{Finding, Needed, Ruling, Voices, findings};
use super::judge::{Judge, STANDS_NS, Verdict};
use super::lived::{Lived, LivedClock};
use super::matrix::{LinkMatrix, ROW_LIFE, RowRefused};
use super::roster::{Known, Roster};
use super::row::{Row, Seen, Sighting};
use super::sight::{Sight, sights};
use super::testing::{Random, at_ms, member};
use crate::ids::{Incarnation, Member, NodeId};
use crate::time::MS;

const HEARTBEAT_NS: u64 = 100 * MS;

#[test]
fn three_nodes_in_two_data_centres_have_to_say_it_and_fewer_where_there_are_fewer() {
    // Other nodes, their data centres; needed nodes, needed data centres.
    let table = [
        (31, 4, 3, 2),
        (7, 4, 3, 2),
        (4, 3, 3, 2),
        (4, 1, 3, 1),
        (3, 3, 3, 2),
        (3, 1, 3, 1),
        (2, 2, 2, 2),
        (2, 1, 2, 1),
        (1, 1, 1, 1),
        (0, 0, 0, 0),
    ];
    for (others, dcs, nodes_needed, dcs_needed) in table {
        let needed = Needed::of_others(others, dcs);
        assert_eq!(
            (needed.nodes, needed.dcs),
            (nodes_needed, dcs_needed),
            "{others} in {dcs}"
        );
    }
    // Who says it, by data centre; whether that meets three in two, two in one, nobody.
    let table: [(&[u16], [bool; 3]); 7] = [
        (&[], [false, false, false]),
        (&[1], [false, false, true]),
        (&[1, 1], [false, true, true]),
        (&[1, 2], [false, true, true]),
        (&[1, 1, 1, 1], [false, true, true]),
        (&[1, 1, 2], [true, true, true]),
        (&[3, 2, 1], [true, true, true]),
    ];
    for (dcs, meets) in table {
        let mut voices = Voices::default();
        dcs.iter().for_each(|&dc| voices.add(dc));
        let needs = [(3, 2), (2, 1), (0, 0)].map(|(nodes, dcs)| Needed { nodes, dcs });
        assert_eq!(needs.map(|needed| voices.meet(needed)), meets, "{dcs:?}");
        assert_eq!(voices.nodes(), dcs.len());
    }
}

/// A roster that lacks some nodes, and rows that speak of all of them, some of other incarnations, some too old.
fn random_matrix(random: &mut Random) -> (Roster, LinkMatrix) {
    let nodes = u16::try_from(random.between(1, 12)).unwrap();
    let dcs = random.between(1, 4);
    let of = |node: u16, random: &mut Random| Member {
        incarnation: Incarnation(member(node).incarnation.0 + [0, 0, 0, 0, 0, 0, 0, 1, 2][random.below(9)] - 1),
        ..member(node)
    };
    let mut known = Vec::new();
    for node in 1..=nodes {
        if random.chance(9, 10) {
            known.push(Known {
                member: of(node, random),
                dc: u16::try_from(random.between(1, dcs)).unwrap(),
                up: random.chance(5, 6),
            });
        }
    }
    let mut matrix = LinkMatrix::new(known.first().map_or(member(1), |known| known.member), HEARTBEAT_NS);
    let ill = random.between(0, 10);
    for node in 1..=nodes {
        let mut sightings = Vec::new();
        for peer in (1..=nodes).filter(|&peer| peer != node) {
            let seen = if random.chance(ill, 10) {
                [Seen::Suspected, Seen::Gone][random.below(2)]
            } else {
                Seen::Up
            };
            let peer = of(peer, random);
            if random.chance(19, 20) {
                sightings.push(Sighting { peer, seen });
            }
        }
        let reporter = of(node, random);
        let came = at_ms(random.between(0, 1_000));
        matrix.take(reporter, Row::new(reporter, 1, sightings), came).unwrap();
    }
    (Roster::new(known), matrix)
}

/// The rule as a sentence: lists of who says what, no merging, no early end.
fn by_definition(counted: &super::matrix::Counted<'_>, about: Known) -> (Ruling, [usize; 3]) {
    let others: Vec<(Known, Option<&Row>)> = counted
        .rows()
        .filter(|(known, _)| known.member.node != about.member.node)
        .map(|(known, row)| (*known, row))
        .collect();
    let distinct = |voices: &[Known]| {
        let mut dcs: Vec<_> = voices.iter().map(|known| known.dc).collect();
        dcs.sort_unstable();
        dcs.dedup();
        dcs.len()
    };
    let able: Vec<Known> = others
        .iter()
        .filter(|(known, row)| known.up || row.is_some())
        .map(|(known, _)| *known)
        .collect();
    let saying = |what: &[Seen]| -> Vec<Known> {
        let says = |row: &Row| row.sees(about.member).is_some_and(|seen| what.contains(&seen));
        others
            .iter()
            .filter(|(_, row)| row.is_some_and(says))
            .map(|(known, _)| *known)
            .collect()
    };
    let enough = |voices: &[Known]| {
        !voices.is_empty() && voices.len() >= able.len().min(3) && distinct(voices) >= distinct(&able).min(2)
    };
    let (heard, gone) = (saying(&[Seen::Up]), saying(&[Seen::Gone]));
    let unheard = saying(&[Seen::Suspected, Seen::Gone]);
    let ruling = match (enough(&gone), enough(&heard), enough(&unheard)) {
        (true, ..) => Ruling::Gone,
        (_, true, _) => Ruling::Heard,
        (_, _, true) => Ruling::Silent,
        _ => Ruling::Open,
    };
    (ruling, [heard.len(), unheard.len(), gone.len()])
}

#[test]
fn findings_are_what_the_rule_says_on_random_matrices() {
    let mut reached = std::collections::BTreeMap::new();
    for seed in 0..20_000 {
        let mut random = Random::new(seed);
        let (roster, matrix) = random_matrix(&mut random);
        let counted = matrix.counted(&roster, at_ms(1_500));
        let found = findings(&counted);
        assert_eq!(found.len(), roster.nodes().len());
        for finding in found {
            let voices = [finding.heard_by, finding.unheard_by, finding.gone_by].map(|voices| voices.nodes());
            assert_eq!(
                (finding.ruling, voices),
                by_definition(&counted, finding.known),
                "seed {seed}"
            );
            *reached.entry(format!("{:?}", finding.ruling)).or_insert(0) += 1;
        }
    }
    assert!(
        reached.len() == 4 && reached.values().all(|&times| times > 500),
        "{reached:?}"
    );
}

#[test]
fn sights_name_each_pair_once_and_only_what_the_rows_say() {
    let mut reached = [0; 4];
    for seed in 0..5_000 {
        let mut random = Random::new(seed);
        let (roster, matrix) = random_matrix(&mut random);
        let counted = matrix.counted(&roster, at_ms(1_500));
        let found = findings(&counted);
        let seen = sights(&counted, &found);
        let mut pairs = Vec::new();
        let of = |node: NodeId| roster.nodes()[roster.place(node).unwrap()].member;
        let hears = |who: NodeId, whom: NodeId| {
            counted
                .row(who)
                .and_then(|row| row.sees(of(whom)))
                .map(|seen| seen == Seen::Up)
        };
        for sight in &seen {
            let (a, b, said) = match *sight {
                Sight::Down { member } => {
                    reached[0] += 1;
                    let finding = found.iter().find(|finding| finding.known.member == member).unwrap();
                    assert!(finding.is_down());
                    continue;
                }
                Sight::PartialCut { between: (a, b) } => (a, b, [Some(false), Some(false)]),
                Sight::OneWay { from, to } => (from, to, [Some(true), Some(false)]),
                Sight::Unheard { node, by } => (node, by, [None, Some(false)]),
            };
            assert_eq!([hears(a, b), hears(b, a)], said, "seed {seed}: {sight:?}");
            reached[usize::from(said[0].is_none()) * 2 + usize::from(said[0] == Some(true)) + 1] += 1;
            pairs.push((a.min(b), a.max(b)));
        }
        let named = pairs.len();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), named, "seed {seed}: a pair twice in {seen:?}");
    }
    assert!(reached.iter().all(|&times| times > 100), "{reached:?}");
}

#[test]
fn the_matrix_holds_the_newest_row_of_each_process_and_only_from_itself() {
    let mut matrix = LinkMatrix::new(member(1), HEARTBEAT_NS);
    let newer = Member {
        incarnation: Incarnation(member(2).incarnation.0 + 1),
        ..member(2)
    };
    let row = |of: Member, version| Row::new(of, version, Vec::new());
    let stranger = RowRefused::NotTheSenders { reporter: member(2) };
    assert_eq!(matrix.take(member(3), row(member(2), 1), at_ms(0)), Err(stranger));
    assert_eq!(matrix.take(newer, row(member(2), 1), at_ms(0)), Err(stranger));
    assert_eq!(matrix.take(member(2), row(member(2), 5), at_ms(0)), Ok(()));
    assert_eq!(
        matrix.take(member(2), row(member(2), 5), at_ms(1)),
        Err(RowRefused::Older { held: 5 })
    );
    assert_eq!(
        matrix.take(member(2), row(member(2), 4), at_ms(1)),
        Err(RowRefused::Older { held: 5 })
    );
    assert_eq!(matrix.take(newer, row(newer, 1), at_ms(1)), Ok(()));
    assert_eq!(
        matrix.take(member(2), row(member(2), 6), at_ms(1)),
        Err(RowRefused::Older { held: 1 })
    );
}

#[test]
fn a_row_counts_while_its_reporter_is_heard_and_no_longer_than_twelve_heartbeats() {
    let node = |node, up| Known {
        member: member(node),
        dc: node,
        up,
    };
    let roster = Roster::new(vec![node(1, true), node(2, true), node(3, false)]);
    let mut matrix = LinkMatrix::new(member(1), HEARTBEAT_NS);
    let counts = |matrix: &LinkMatrix, ms: u64| {
        let counted = matrix.counted(&roster, at_ms(ms));
        [1, 2, 3].map(|node| counted.row(NodeId(node)).is_some())
    };
    let own = |version, second| {
        let seen = [(2, second), (3, Seen::Up)];
        let sightings = seen.map(|(node, seen)| Sighting {
            peer: member(node),
            seen,
        });
        Row::new(member(1), version, sightings.to_vec())
    };
    matrix
        .take(member(2), Row::new(member(2), 1, Vec::new()), at_ms(0))
        .unwrap();
    matrix
        .take(member(3), Row::new(member(3), 1, Vec::new()), at_ms(100))
        .unwrap();
    assert_eq!(
        counts(&matrix, 200),
        [false, false, false],
        "without a row of its own a node hears nobody"
    );
    matrix.take(member(1), own(1, Seen::Up), at_ms(100)).unwrap();
    assert_eq!(
        counts(&matrix, 200),
        [true, true, true],
        "a node that is down by the log has a voice while it is heard"
    );
    assert_eq!(counts(&matrix, ROW_LIFE * 100 - 1), [true, true, true]);
    assert_eq!(counts(&matrix, ROW_LIFE * 100), [true, false, true]);
    matrix.take(member(1), own(2, Seen::Suspected), at_ms(200)).unwrap();
    assert_eq!(counts(&matrix, 300), [true, false, true]);
    matrix.forget(NodeId(3));
    assert_eq!(counts(&matrix, 300), [true, false, false]);
}

/// A finding about node 1 with so many who hear it.
fn finding(ruling: Ruling, heard_by: usize, incarnation: u64, up: bool) -> Finding {
    let voices = |nodes| {
        let mut voices = Voices::default();
        (0..nodes).for_each(|_| voices.add(1));
        voices
    };
    Finding {
        known: Known {
            member: Member {
                node: NodeId(1),
                incarnation: Incarnation(incarnation),
            },
            dc: 0,
            up,
        },
        ruling,
        needed: Needed::of_others(31, 4),
        heard_by: voices(heard_by),
        unheard_by: voices(0),
        gone_by: voices(0),
    }
}

#[test]
fn a_verdict_stands_for_a_second_unless_enough_hear_the_node_again() {
    use Ruling::{Gone, Heard, Open, Silent};
    // Instant, ruling, how many hear it; what follows.
    let (down, up) = (Some(true), Some(false));
    let table = [
        (0, Open, 5, None),
        (10, Silent, 0, down),
        (20, Silent, 0, None),
        (500, Open, 1, None),
        (1_009, Open, 2, None),
        (1_010, Open, 1, up),
        (1_020, Open, 0, None),
        (1_030, Gone, 9, down),
        (1_040, Heard, 9, up),
        (1_050, Silent, 2, down),
        (9_000, Open, 0, None),
        (9_010, Gone, 0, None),
        (9_020, Open, 1, up),
    ];
    let mut judge = Judge::new();
    for (ms, ruling, heard_by, expected) in table {
        let finding = finding(ruling, heard_by, 7, true);
        let verdicts = judge.turn(&[finding], at_ms(ms));
        let member = finding.known.member;
        let expected = expected.map(|down| {
            if down {
                Verdict::Down(member)
            } else {
                Verdict::Up(member)
            }
        });
        assert_eq!(verdicts, Vec::from_iter(expected), "at {ms} ms");
    }
}

#[test]
fn a_judge_begins_with_what_the_log_says_and_tells_where_it_differs() {
    let mut judge = Judge::new();
    let down = finding(Ruling::Open, 0, 7, false);
    assert_eq!(judge.turn(&[down], at_ms(0)), []);
    assert!(judge.is_down(down.known.member));
    assert_eq!(judge.unrecorded(&[down.known]).next(), None);
    let heard = finding(Ruling::Heard, 5, 7, false);
    assert_eq!(judge.turn(&[heard], at_ms(10)), [Verdict::Up(heard.known.member)]);
    for _ in 0..2 {
        let told: Vec<_> = judge.unrecorded(&[heard.known]).collect();
        assert_eq!(told, [Verdict::Up(heard.known.member)]);
    }
    let recorded = finding(Ruling::Silent, 0, 7, true);
    assert_eq!(
        judge.turn(&[recorded], at_ms(20)),
        [Verdict::Down(recorded.known.member)]
    );
    let told: Vec<_> = judge.unrecorded(&[recorded.known]).collect();
    assert_eq!(told, [Verdict::Down(recorded.known.member)]);
    // Another incarnation ends it, in silence.
    let restarted = finding(Ruling::Open, 0, 8, true);
    assert_eq!(judge.turn(&[restarted], at_ms(30)), []);
    assert!(!judge.is_down(restarted.known.member) && !judge.is_down(recorded.known.member));
    assert_eq!(
        judge.unrecorded(&[recorded.known]).next(),
        None,
        "no word on an incarnation that is not judged"
    );
    assert_eq!(judge.turn(&[], at_ms(40)), []);
    assert_eq!(
        judge.unrecorded(&[restarted.known]).next(),
        None,
        "nor on a node that was forgotten"
    );
}

#[test]
fn verdicts_alternate_and_stand_whatever_is_found() {
    let (mut ended_early, mut ended_late) = (0, 0);
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let mut clock = LivedClock::new(0);
        let (mut judge, mut now_ns) = (Judge::new(), 0);
        let mut down_since: Option<Lived> = None;
        for _ in 0..400 {
            now_ns += random.between(MS, 100 * MS);
            let now = clock.turned(now_ns);
            let ruling = [Ruling::Gone, Ruling::Silent, Ruling::Heard, Ruling::Open][random.below(4)];
            let ruling = if random.chance(4, 5) { Ruling::Open } else { ruling };
            let finding = finding(ruling, random.below(4), 7, true);
            let member = finding.known.member;
            for verdict in judge.turn(&[finding], now) {
                match (verdict, down_since) {
                    (Verdict::Down(of), None) => {
                        assert!(
                            of == member && matches!(ruling, Ruling::Gone | Ruling::Silent),
                            "seed {seed}"
                        );
                        down_since = Some(now);
                    }
                    (Verdict::Up(of), Some(since)) => {
                        assert_eq!(of, member);
                        if now.ns_since(since) < STANDS_NS {
                            assert_eq!(ruling, Ruling::Heard, "seed {seed}");
                            ended_early += 1;
                        } else {
                            ended_late += 1;
                        }
                        down_since = None;
                    }
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
            assert_eq!(judge.is_down(member), down_since.is_some());
        }
    }
    assert!(ended_early > 100 && ended_late > 100, "{ended_early} {ended_late}");
}
