//! `voters` and `data`: which nodes decide the topology log at first, and where a node keeps the file of its vote.
//!
//! Knows nothing of what a voter decides, and writes no file: `init.rs` writes the first ones, a node reads its own. Who votes later is said by
//! the log alone. **Invariant:** the names of the file are the voters of the first configuration in their order, the first of them voter 1. So
//! the list is fixed with the cluster: in another order the ids would stand for other nodes.

use std::collections::BTreeMap;

use waterpark_core::topology_log::consensus::{Birth, VOTERS_MAX, VoterId};
use waterpark_ring::NodeId;

use crate::config::ClusterConfig;
use crate::draft::Draft;
use crate::explain::Origin;
use crate::fields::{Fields, Got};
use crate::names::NodeName;
use crate::nearest::nearest;
use crate::problem::{Problem, What};
use crate::source::{Place, quoted};

/// Of a file that says nothing.
pub(crate) const DATA_DEFAULT: &str = "data";

/// The nodes that vote at first in a new cluster of these nodes: their places in the list, ascending.
///
/// An odd number, at most seven. What they bear comes first: a data centre and one more, a data centre, a minority. Of numbers that bear alike it
/// is the largest; so seven over four data centres or more, as 2/2/2/1, fewer where nodes are few or most of them stand in one place. Within a
/// data centre they are spread over its zones.
#[must_use]
pub fn first_voters(nodes: &[NodeName]) -> Vec<usize> {
    let counts = (1..=nodes.len().min(VOTERS_MAX)).filter(|count| count % 2 == 1);
    let chosen = counts.map(|count| spread(nodes, count));
    // Of equals the last one, which is the largest.
    chosen.max_by_key(|voters| margin(nodes, voters)).unwrap_or_default()
}

/// So many nodes, over as many data centres as there are, and over as many zones of each.
fn spread(nodes: &[NodeName], count: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::with_capacity(count);
    while chosen.len() < count {
        let taken = |is_near: &dyn Fn(&NodeName) -> bool| chosen.iter().filter(|at| is_near(&nodes[**at])).count();
        let rank = |at: &usize| {
            let node = &nodes[*at];
            let is_in_dc = |other: &NodeName| other.dc() == node.dc();
            let in_dc = taken(&is_in_dc);
            let in_zone = taken(&|other| is_in_dc(other) && other.zone() == node.zone());
            // A second voter goes where it has a zone of its own; then the order of the list decides.
            (in_dc, in_zone, *at)
        };
        let free = (0..nodes.len()).filter(|at| !chosen.contains(at));
        chosen.push(free.min_by_key(rank).expect("no more are chosen than there are"));
    }
    chosen.sort_unstable();
    chosen
}

/// How many voters more may fail beside those of any one data centre. `None`, less than 0, if the loss of one is too much already.
fn margin(nodes: &[NodeName], voters: &[usize]) -> Option<usize> {
    let mut by_dc: BTreeMap<&str, usize> = BTreeMap::new();
    for at in voters {
        *by_dc.entry(nodes[*at].dc()).or_default() += 1;
    }
    let largest = by_dc.into_values().max().unwrap_or_default();
    let majority = voters.len() / 2 + 1;
    voters.len().checked_sub(majority + largest)
}

/// The name of a node's voter file in the folder of its data: `FL-A-1.voter`.
#[must_use]
pub fn voter_file_name(node: &NodeName) -> String {
    format!("{node}.voter")
}

impl ClusterConfig {
    /// What stands in the voter file with which a node begins; `None` if it is no first voter.
    ///
    /// # Panics
    ///
    /// If the voters are too many: the checks of this crate have a hole.
    #[must_use]
    pub fn first_birth(&self, node: NodeId) -> Option<Birth> {
        let ids: Vec<VoterId> = (1..).map(VoterId).take(self.voters.len()).collect();
        let at = self.voters.iter().position(|voter| *voter == node)?;
        Some(Birth::first(self.id, ids[at], &ids).expect("a checked configuration has voters that can be"))
    }
}

/// The names as far as they could be read; none, if the file says nothing.
pub(crate) fn read_voters(top: &mut Fields<'_, '_>) -> Option<Got<Vec<Got<Box<str>>>>> {
    if top.is_unset("voters") {
        // Asked for all the same, so that a mistyped one is told what was meant.
        top.value("voters");
        return Some(Got::default(Vec::new(), top.reader.source.file()));
    }
    top.texts("voters")
}

/// The folder as it was said.
pub(crate) fn read_data(top: &mut Fields<'_, '_>) -> Option<Got<Box<str>>> {
    let unset = top.is_unset("data");
    let data = top.parsed("data", |text| {
        // No path has a zero, and an empty one would put the files between those of the cluster.
        if text.is_empty() || text.contains('\0') {
            return Err(What::DataFolder { found: quoted(text) });
        }
        Ok(text.into())
    });
    if unset {
        return Some(Got::default(DATA_DEFAULT.into(), top.reader.source.file()));
    }
    data
}

/// One to seven voters, each a node of the file, each once.
pub(crate) fn check_voters(draft: &Draft, problems: &mut Vec<Problem>) {
    let Some(voters) = &draft.voters else { return };
    if voters.value.is_empty() {
        for joins in draft
            .nodes
            .iter()
            .filter(|node| node.is_joining())
            .filter_map(|node| node.joins.as_ref())
        {
            problems.push(Problem::new(What::JoinsWithoutVoters, joins.place.clone()));
        }
    }
    let count = voters.value.len();
    if voters.origin != Origin::Default && !(1..=VOTERS_MAX).contains(&count) {
        problems.push(Problem::new(What::VotersCount { found: count }, voters.place.clone()));
    }
    // While a node's name could not be read it may be the one that is looked for, and the name is what has to be mended.
    let first = draft.nodes.iter().filter(|node| !node.is_joining());
    let names: Option<Vec<&str>> = first.map(|node| node.name.as_ref().map(|name| name.as_str())).collect();
    let names = names.filter(|names| !names.is_empty());
    let mut first_places: BTreeMap<&str, &Place> = BTreeMap::new();
    for voter in &voters.value {
        if let Some(names) = names.as_ref().filter(|names| !names.contains(&&*voter.value)) {
            let what = What::VoterUnknown {
                found: quoted(&voter.value),
                meant: nearest(&voter.value, names.iter().copied()).map(Box::from),
                names: names.iter().copied().map(Box::from).collect(),
            };
            problems.push(Problem::new(what, voter.place.clone()));
        }
        if let Some(first) = first_places.get(&*voter.value) {
            let what = What::VoterAgain {
                found: quoted(&voter.value),
            };
            problems.push(Problem::against(what, voter.place.clone(), (*first).clone()));
        } else {
            first_places.insert(&voter.value, &voter.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(names: &str) -> Vec<NodeName> {
        names.split_whitespace().map(|name| name.parse().unwrap()).collect()
    }

    fn chosen(nodes: &str) -> String {
        let nodes = names(nodes);
        let voters = first_voters(&nodes);
        assert!(voters.is_sorted_by(|a, b| a < b), "{voters:?}");
        let voters: Vec<&str> = voters.into_iter().map(|at| nodes[at].as_str()).collect();
        voters.join(" ")
    }

    fn grid(dcs: &[&str], zones: &str, per_zone: u16) -> String {
        let mut names = Vec::new();
        for dc in dcs {
            for zone in zones.chars() {
                names.extend((1..=per_zone).map(|n| format!("{dc}-{zone}-{n}")));
            }
        }
        names.join(" ")
    }

    /// Whether those that are left are a majority whenever one data centre and so many more are lost.
    fn bears_a_data_centre_and(nodes: &[NodeName], voters: &[usize], more: usize) -> bool {
        voters.iter().all(|lost| {
            let left = voters.iter().filter(|at| nodes[**at].dc() != nodes[*lost].dc()).count();
            left >= voters.len() / 2 + 1 + more
        })
    }

    #[test]
    fn seven_voters_are_two_two_two_one_over_four_data_centres_and_over_their_zones() {
        let four = ["FL", "TN", "TX", "UT"];
        let table = [
            (1, "FL-A-1 FL-B-1 TN-A-1 TN-B-1 TX-A-1 TX-B-1 UT-A-1"),
            (4, "FL-A-1 FL-B-1 TN-A-1 TN-B-1 TX-A-1 TX-B-1 UT-A-1"),
        ];
        for (per_zone, voters) in table {
            assert_eq!(chosen(&grid(&four, "AB", per_zone)), voters, "{per_zone} in each zone");
        }
        // The data centre with one voter is one that has no second zone to offer.
        let flat = "FL-A-1 FL-A-2 TN-A-1 TN-B-1 TX-A-1 TX-B-1 UT-A-1 UT-B-1";
        assert_eq!(chosen(flat), "FL-A-1 TN-A-1 TN-B-1 TX-A-1 TX-B-1 UT-A-1 UT-B-1");
    }

    #[test]
    fn small_clusters_have_an_odd_number_of_voters() {
        let table = [
            ("", ""),
            ("FL-A-1", "FL-A-1"),
            ("FL-A-1 TN-A-1", "FL-A-1"),
            ("FL-A-1 FL-A-2 FL-A-3", "FL-A-1 FL-A-2 FL-A-3"),
            ("FL-A-1 TN-A-1 TX-A-1 UT-A-1", "FL-A-1 TN-A-1 TX-A-1"),
            (
                "FL-A-1 FL-B-1 TN-A-1 TX-A-1 UT-A-1",
                "FL-A-1 FL-B-1 TN-A-1 TX-A-1 UT-A-1",
            ),
            (
                "FL-A-1 FL-A-2 FL-B-1 TN-A-1 TX-A-1 UT-A-1",
                "FL-A-1 FL-B-1 TN-A-1 TX-A-1 UT-A-1",
            ),
            // In one data centre any number bears as little, so it is the largest.
            ("FL-A-1 FL-A-2 FL-A-3 FL-A-4", "FL-A-1 FL-A-2 FL-A-3"),
        ];
        for (nodes, voters) in table {
            assert_eq!(chosen(nodes), voters, "of {nodes}");
        }
    }

    #[test]
    fn fewer_voters_are_better_where_more_would_stand_in_one_data_centre() {
        // Seven would have four of them in FL, whose loss would stop the log.
        let lopsided = "FL-A-1 FL-A-2 FL-B-1 FL-B-2 TN-A-1 TX-A-1 UT-A-1";
        assert_eq!(chosen(lopsided), "FL-A-1 FL-B-1 TN-A-1 TX-A-1 UT-A-1");
    }

    #[test]
    fn any_data_centre_may_fail_and_one_more_where_there_are_seven_nodes_in_four() {
        let dcs = ["FL", "TN", "TX", "UT", "VA", "WA", "AZ", "CO"];
        for count in 3..=dcs.len() {
            for zones in ["A", "AB", "ABC"] {
                for per_zone in 1..=4 {
                    let nodes = names(&grid(&dcs[..count], zones, per_zone));
                    let voters = first_voters(&nodes);
                    let more = usize::from(count >= 4 && nodes.len() >= 7);
                    let bears = bears_a_data_centre_and(&nodes, &voters, more);
                    assert!(voters.len() % 2 == 1 && bears, "{nodes:?}: {voters:?}");
                }
            }
        }
    }

    #[test]
    fn voters_of_one_data_centre_stand_in_as_many_zones_as_there_are() {
        let nodes = names(&grid(&["FL", "TN"], "ABC", 3));
        let voters = first_voters(&nodes);
        for dc in ["FL", "TN"] {
            let there = voters.iter().map(|at| &nodes[*at]).filter(|node| node.dc() == dc);
            let zones: BTreeSet<&str> = there.map(NodeName::zone).collect();
            assert_eq!(zones, BTreeSet::from(["A", "B", "C"]), "{dc}");
        }
    }
}
