//! The failure-domain rule: which sets of nodes may be the members of a group.
//!
//! For a home data centre the rule is a range of members for each data centre and each zone. The ranges are nested
//! (zones within data centres within the whole), which makes the admissible sets the bases of a laminar matroid, cut
//! off from below: members may be chosen one after the other without looking back, and single exchanges lead from any
//! admissible set to any other. The levelling of loads rests on both. Knows nothing of loads, rings or what was before.

use super::site::{Node, Site};
use crate::topology::MEMBERS_MAX;

/// Members of a group, the writer first once there is one. Distinct; at most five.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Members {
    nodes: [Node; MEMBERS_MAX],
    len: u8,
}

impl Members {
    pub(super) fn as_slice(&self) -> &[Node] {
        &self.nodes[..usize::from(self.len)]
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn contains(&self, node: Node) -> bool {
        self.as_slice().contains(&node)
    }

    pub(super) fn writer(&self) -> Node {
        self.as_slice()[0]
    }

    pub(super) fn push(&mut self, node: Node) {
        assert!(!self.contains(node));
        self.nodes[self.len()] = node;
        self.len += 1;
    }

    /// Puts `new` in the place of `old`.
    pub(super) fn replace(&mut self, old: Node, new: Node) {
        assert!(!self.contains(new));
        let at = self.position(old);
        self.nodes[at] = new;
    }

    /// Brings a member to the front.
    pub(super) fn make_writer(&mut self, node: Node) {
        let at = self.position(node);
        self.nodes[..=at].rotate_right(1);
    }

    /// The same set with one more.
    pub(super) fn with(mut self, node: Node) -> Self {
        self.push(node);
        self
    }

    /// The same set without one; the others keep their order.
    pub(super) fn without(self, node: Node) -> Self {
        let mut rest = Self::default();
        self.as_slice()
            .iter()
            .filter(|&&member| member != node)
            .for_each(|&member| rest.push(member));
        rest
    }

    fn position(&self, node: Node) -> usize {
        self.as_slice()
            .iter()
            .position(|&member| member == node)
            .expect("a member")
    }
}

/// Members that a data centre or zone has at least and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) least: usize,
    pub(super) most: usize,
}

impl Range {
    fn exactly(count: usize) -> Self {
        Self {
            least: count,
            most: count,
        }
    }
}

/// The rule for groups of one home.
pub(super) struct Rule {
    /// Members in all.
    pub(super) members: usize,
    /// By data centre.
    pub(super) dcs: Vec<Range>,
    /// By zone, counted over the whole cluster.
    zones: Vec<Range>,
}

impl Rule {
    /// The rule for groups whose home is this data centre: `docs/placement.md` states it in words.
    pub(super) fn new(site: &Site<'_>, home: usize, members: usize) -> Self {
        let dcs = ranges_of_dcs(site, home, members);
        let mut zones = vec![Range::exactly(0); site.zones];
        for (dc, &range) in site.dcs.iter().zip(&dcs) {
            let capacities: Vec<usize> = dc.zones.iter().map(|zone| zone.nodes.len()).collect();
            // Each range is at most two wide and its counts follow each other, so what the fewest force on a zone and
            // what the most allow it leave no uneven spread in between.
            assert!(range.most - range.least <= 1);
            let (full, _) = fill(&capacities, range.least);
            let (filled, rest) = fill(&capacities, range.most);
            for (zone, &capacity) in dc.zones.iter().zip(&capacities) {
                let most = capacity.min(filled + usize::from(rest > 0));
                zones[zone.index] = Range {
                    least: capacity.min(full),
                    most,
                };
            }
        }
        Self { members, dcs, zones }
    }

    /// Members in a zone, counted over the whole cluster.
    #[cfg(test)]
    pub(super) fn zone_range(&self, zone: usize) -> Range {
        self.zones[zone]
    }

    /// Whether nodes can be added to this set until it is admissible.
    pub(super) fn extendable(&self, site: &Site<'_>, members: &Members) -> bool {
        let mut needed = 0;
        for (dc, range) in site.dcs.iter().zip(&self.dcs) {
            let mut needed_here = 0;
            for zone in &dc.zones {
                let there = count_in(members, &site.zone_of, zone.index);
                if there > self.zones[zone.index].most {
                    return false;
                }
                needed_here += there.max(self.zones[zone.index].least);
            }
            if needed_here > range.most {
                return false;
            }
            needed += needed_here.max(range.least);
        }
        needed <= self.members
    }

    /// Whether the set is complete and admissible.
    pub(super) fn admits(&self, site: &Site<'_>, members: &Members) -> bool {
        members.len() == self.members && self.extendable(site, members)
    }

    /// Whether an admissible set stays so when `new`, not one of its members, takes the place of its member `old`. The
    /// innermost question of levelling: it looks only at the ranges that change.
    pub(super) fn may_replace(&self, site: &Site<'_>, members: &Members, old: Node, new: Node) -> bool {
        let (from, to) = (site.zone(old), site.zone(new));
        if from == to {
            return true;
        }
        let fits = |counts: &[usize], ranges: &[Range], from: usize, to: usize| {
            count_in(members, counts, from) > ranges[from].least && count_in(members, counts, to) < ranges[to].most
        };
        let (dc_from, dc_to) = (site.dc(old), site.dc(new));
        fits(&site.zone_of, &self.zones, from, to) && (dc_from == dc_to || fits(&site.dc_of, &self.dcs, dc_from, dc_to))
    }
}

fn count_in(members: &Members, place_of: &[usize], place: usize) -> usize {
    members
        .as_slice()
        .iter()
        .filter(|&&node| place_of[usize::from(node)] == place)
        .count()
}

/// Members by data centre: filled round by round, the last round by preference.
fn ranges_of_dcs(site: &Site<'_>, home: usize, members: usize) -> Vec<Range> {
    let capacities: Vec<usize> = site.dcs.iter().map(|dc| dc.nodes).collect();
    let zones = |dc: usize| site.dcs[dc].zones.len();
    // The process pair: where a majority reaches beyond one data centre anyway, the second member at home is worth more
    // than a fifth data centre, because it takes over without a wide-area round trip.
    if members == MEMBERS_MAX && site.dcs.len() >= members && zones(home) > 1 {
        let mut ranges = vec![Range { least: 0, most: 1 }; site.dcs.len()];
        ranges[home] = Range::exactly(2);
        return ranges;
    }

    let (level, mut rest) = fill(&capacities, members);
    let mut ranges: Vec<Range> = capacities
        .iter()
        .map(|&nodes| Range::exactly(nodes.min(level)))
        .collect();
    // The rest goes where it opens a zone of its own, then wherever there is a node left; at home first in both cases.
    let (zoned, unzoned): (Vec<usize>, Vec<usize>) = (0..capacities.len())
        .filter(|&dc| capacities[dc] > level)
        .partition(|&dc| zones(dc) > level);
    for mut places in [zoned, unzoned] {
        if rest == 0 {
            break;
        }
        if rest < places.len()
            && let Some(at) = places.iter().position(|&dc| dc == home)
        {
            places.swap_remove(at);
            ranges[home] = Range::exactly(level + 1);
            rest -= 1;
        }
        for &dc in &places {
            ranges[dc] = match rest {
                0 => Range::exactly(level),
                _ if rest >= places.len() => Range::exactly(level + 1),
                _ => Range {
                    least: level,
                    most: level + 1,
                },
            };
        }
        rest = rest.saturating_sub(places.len());
    }
    assert!(rest == 0, "there are as many nodes as members");
    ranges
}

/// How far `count` members fill places of these capacities round by round: the full rounds, and what the next one would
/// hold.
fn fill(capacities: &[usize], count: usize) -> (usize, usize) {
    let mut level = 0;
    let mut rest = count;
    loop {
        let open = capacities.iter().filter(|&&capacity| capacity > level).count();
        if rest < open || open == 0 {
            return (level, rest);
        }
        rest -= open;
        level += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::testing::{FIVE, FULL, Shape, topology};

    /// Ranges of data centres for a cluster, written as `least..=most` by data centre in ascending order.
    fn rule(shape: Shape<'_>, home: usize) -> Vec<(usize, usize)> {
        let topology = topology(shape);
        let site = Site::new(&topology);
        let ranges = Rule::new(&site, home, topology.members()).dcs;
        ranges.into_iter().map(|range| (range.least, range.most)).collect()
    }

    #[test]
    fn four_data_centres_have_one_member_each_and_home_a_second_one() {
        assert_eq!(rule(FULL, 0), [(2, 2), (1, 1), (1, 1), (1, 1)]);
        assert_eq!(rule(FULL, 3), [(1, 1), (1, 1), (1, 1), (2, 2)]);
    }

    #[test]
    fn the_fifth_member_goes_to_a_data_centre_with_two_zones_if_home_has_one() {
        assert_eq!(rule(FIVE, 2), [(2, 2), (1, 1), (1, 1), (1, 1)]);
        let two_with_zones: Shape<'_> = &[("FL", &[2, 2]), ("TN", &[2, 2]), ("TX", &[2]), ("UT", &[2])];
        assert_eq!(rule(two_with_zones, 2), [(1, 2), (1, 2), (1, 1), (1, 1)]);
        let no_zones: Shape<'_> = &[("FL", &[3]), ("TN", &[3]), ("TX", &[3]), ("UT", &[3])];
        assert_eq!(rule(no_zones, 2), [(1, 1), (1, 1), (2, 2), (1, 1)]);
        let home_is_one_node: Shape<'_> = &[("FL", &[3]), ("TN", &[3]), ("TX", &[1]), ("UT", &[1])];
        assert_eq!(rule(home_is_one_node, 2), [(1, 2), (1, 2), (1, 1), (1, 1)]);
    }

    #[test]
    fn fewer_data_centres_are_filled_round_by_round() {
        assert_eq!(
            rule(&[("FL", &[4, 4]), ("TN", &[4, 4]), ("TX", &[4, 4])], 1),
            [(1, 2), (2, 2), (1, 2)]
        );
        assert_eq!(rule(&[("FL", &[4, 4]), ("TN", &[4, 4])], 1), [(2, 2), (3, 3)]);
        assert_eq!(rule(&[("FL", &[1, 1]), ("TN", &[8])], 0), [(2, 2), (3, 3)]);
        assert_eq!(rule(&[("FL", &[4, 4])], 0), [(5, 5)]);
        assert_eq!(rule(&[("FL", &[1]), ("TN", &[1]), ("TX", &[1])], 2), [(1, 1); 3]);
        assert_eq!(rule(&[("FL", &[1])], 0), [(1, 1)]);
    }

    #[test]
    fn more_data_centres_than_members_keep_the_pair_at_home() {
        let six: Shape<'_> = &[
            ("A", &[1, 1]),
            ("B", &[1, 1]),
            ("C", &[1]),
            ("D", &[1]),
            ("E", &[1]),
            ("F", &[1]),
        ];
        assert_eq!(rule(six, 1), [(0, 1), (2, 2), (0, 1), (0, 1), (0, 1), (0, 1)]);
        assert_eq!(rule(six, 2), [(0, 1), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1)]);
    }

    #[test]
    fn zones_share_the_members_of_their_data_centre() {
        let topology = topology(&[("FL", &[1, 8])]);
        let site = Site::new(&topology);
        let rule = Rule::new(&site, 0, 5);
        assert_eq!(
            rule.zones,
            [Range::exactly(1), Range::exactly(4)],
            "the small zone is filled up"
        );
    }

    /// Extension and exchange, which look at ranges alone, against the list of all admissible sets.
    #[test]
    fn extension_and_exchange_agree_with_enumeration() {
        let shapes: [Shape<'_>; 5] = [
            &[("FL", &[2, 1]), ("TN", &[1, 1]), ("TX", &[2]), ("UT", &[1, 2])],
            &[("FL", &[2, 2]), ("TN", &[2, 1]), ("TX", &[1, 1])],
            &[("FL", &[1, 3]), ("TN", &[2, 2])],
            &[
                ("A", &[1, 1]),
                ("B", &[1, 1]),
                ("C", &[1]),
                ("D", &[1]),
                ("E", &[2]),
                ("F", &[1]),
            ],
            &[("FL", &[2, 2, 2])],
        ];
        for shape in shapes {
            let topology = topology(shape);
            let site = Site::new(&topology);
            let nodes = u32::try_from(site.nodes()).unwrap();
            let members_of = |set: u32| {
                let mut members = Members::default();
                (0..nodes)
                    .filter(|node| set >> node & 1 == 1)
                    .for_each(|node| members.push(node.try_into().unwrap()));
                members
            };
            for home in 0..site.dcs.len() {
                let rule = Rule::new(&site, home, 5);
                let admissible: Vec<u32> = (0..1 << nodes)
                    .filter(|set: &u32| set.count_ones() == 5 && rule.admits(&site, &members_of(*set)))
                    .collect();
                assert!(!admissible.is_empty());
                for set in (0..1_u32 << nodes).filter(|set| set.count_ones() <= 5) {
                    let can = admissible.iter().any(|whole| whole & set == set);
                    assert_eq!(rule.extendable(&site, &members_of(set)), can, "{set:b} of {shape:?}");
                }
                for &set in &admissible {
                    for (old, new) in (0..nodes).flat_map(|old| (0..nodes).map(move |new| (old, new))) {
                        if set >> old & 1 == 1 && set >> new & 1 == 0 {
                            let ok = admissible.contains(&(set ^ 1 << old ^ 1 << new));
                            let (old, new) = (old.try_into().unwrap(), new.try_into().unwrap());
                            assert_eq!(rule.may_replace(&site, &members_of(set), old, new), ok);
                        }
                    }
                }
            }
        }
    }
}
