//! What the rows that count add up to, node by node: the arithmetic of `NodeDown` (`protocol.md` §2).
//!
//! Three nodes in two data centres have to say it; in a cluster too small for that, all others and all their data centres. The same number
//! takes a word back: a node that so many hear is not down, however many do not hear it. Without that, two halves of a cluster that meet
//! again would declare each other down in the moment of healing, each by the rows that the other half wrote during the split; and a node
//! that hears both halves would declare all nodes down. Where so many say that the *process* is gone, nothing waits for the rows of those
//! who have not noticed yet.
//!
//! It does not know what was found before; standing verdicts are the judge's.
//!
//! **Invariant:** each row that counts is one voice on each node, in one of three ways: hears it, does not hear it, does not know it.

use super::matrix::Counted;
use super::roster::Known;
use super::row::Seen;

/// Nodes that have to say a thing.
pub const NODES_TO_SAY: usize = 3;
/// Data centres that they have to be spread over.
pub const DCS_TO_SAY: usize = 2;

/// How many have to say a thing about one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// So many nodes,
    pub nodes: usize,
    /// in so many data centres.
    pub dcs: usize,
}

impl Needed {
    /// Of so many other nodes in so many data centres.
    #[must_use]
    pub fn of_others(nodes: usize, dcs: usize) -> Self {
        Self {
            nodes: nodes.min(NODES_TO_SAY),
            dcs: dcs.min(DCS_TO_SAY),
        }
    }
}

/// Who says one thing about one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voices {
    nodes: usize,
    first_dc: Option<u16>,
    /// Two data centres are all that is ever asked for.
    second_dc: bool,
}

impl Voices {
    /// One more node says it.
    pub fn add(&mut self, dc: u16) {
        self.nodes += 1;
        self.second_dc |= *self.first_dc.get_or_insert(dc) != dc;
    }

    /// How many nodes say it.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Whether they are enough. Nobody is never enough: a node without others is not judged.
    #[must_use]
    pub fn meet(&self, needed: Needed) -> bool {
        let dcs = usize::from(self.first_dc.is_some()) + usize::from(self.second_dc);
        self.nodes > 0 && self.nodes >= needed.nodes && dcs >= needed.dcs
    }
}

/// What follows from the voices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Enough nodes say that its process is gone: down.
    Gone,
    /// Enough nodes do not hear it, and not enough do: down.
    Silent,
    /// Enough nodes hear it: not down.
    Heard,
    /// Neither: what was true before is still true.
    Open,
}

/// What is found about one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The node, as the topology log has it.
    pub known: Known,
    /// What follows.
    pub ruling: Ruling,
    /// How many have to say it.
    pub needed: Needed,
    /// Who hears it.
    pub heard_by: Voices,
    /// Who does not, those included who say that it is gone.
    pub unheard_by: Voices,
    /// Who says that its process is gone.
    pub gone_by: Voices,
}

impl Finding {
    /// Whether the rule calls the node down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self.ruling, Ruling::Gone | Ruling::Silent)
    }
}

/// Adds up the rows that count: one finding for each node of the roster, in its order.
#[must_use]
pub fn findings(counted: &Counted<'_>) -> Vec<Finding> {
    let others = Others::of(counted);
    let mut findings: Vec<_> = counted
        .rows()
        .map(|(known, row)| others.finding(known, row.is_some()))
        .collect();
    for (reporter, row) in counted.rows() {
        let sightings = row.map_or(&[][..], |row| row.sightings());
        // Both ascend by node, so one walk along both meets every pair; a sighting of a node that the roster lacks meets none.
        let mut place = 0;
        for sighting in sightings {
            let node = sighting.peer.node;
            place += findings[place..]
                .iter()
                .take_while(|finding| finding.known.member.node < node)
                .count();
            let Some(about) = findings.get_mut(place).filter(|about| about.known.member.node == node) else {
                continue;
            };
            match sighting.of(about.known.member.incarnation) {
                None => (),
                Some(Seen::Up) => about.heard_by.add(reporter.dc),
                Some(Seen::Suspected) => about.unheard_by.add(reporter.dc),
                Some(Seen::Gone) => {
                    about.unheard_by.add(reporter.dc);
                    about.gone_by.add(reporter.dc);
                }
            }
        }
    }
    for finding in &mut findings {
        finding.ruling = ruling(finding);
    }
    findings
}

fn ruling(finding: &Finding) -> Ruling {
    let needed = finding.needed;
    if finding.gone_by.meet(needed) {
        Ruling::Gone
    } else if finding.heard_by.meet(needed) {
        Ruling::Heard
    } else if finding.unheard_by.meet(needed) {
        Ruling::Silent
    } else {
        Ruling::Open
    }
}

/// Those who could have a voice: up by the log, or counted although it has them as down.
///
/// The log alone would do harm: a node that was declared down by mistake, and still reports, would lower the number by which it was.
struct Others {
    nodes: usize,
    /// How many of them are in each data centre, ascending.
    dcs: Vec<(u16, usize)>,
}

impl Others {
    fn of(counted: &Counted<'_>) -> Self {
        let mut dcs: Vec<(u16, usize)> = Vec::new();
        for (known, _) in counted.rows().filter(|(known, row)| known.up || row.is_some()) {
            match dcs.binary_search_by_key(&known.dc, |&(dc, _)| dc) {
                Ok(place) => dcs[place].1 += 1,
                Err(place) => dcs.insert(place, (known.dc, 1)),
            }
        }
        Self {
            nodes: dcs.iter().map(|&(_, nodes)| nodes).sum(),
            dcs,
        }
    }

    /// An empty finding about a node, with what is needed to say a thing of it.
    fn finding(&self, known: &Known, counted: bool) -> Finding {
        let itself = usize::from(known.up || counted);
        let alone = itself == 1 && self.dcs.contains(&(known.dc, 1));
        Finding {
            known: *known,
            ruling: Ruling::Open,
            needed: Needed::of_others(self.nodes - itself, self.dcs.len() - usize::from(alone)),
            heard_by: Voices::default(),
            unheard_by: Voices::default(),
            gone_by: Voices::default(),
        }
    }
}
