//! Verdicts over time: which nodes this node holds to be down, and since when.
//!
//! Findings are about one instant; a verdict has consequences, so it stands for [`STANDS_NS`] unless as many hear the node again as are
//! needed to declare it down. What the topology log says is where a judge begins, and a verdict that differs from it is what a planner
//! proposes, again and again until it is decided. The judge does not know the log's future, nor who else judges.
//!
//! **Invariant:** verdicts on one incarnation alternate, and only another incarnation ends one in silence.

use std::collections::BTreeMap;

use super::finding::{Finding, Ruling};
use super::lived::Lived;
use super::roster::Known;
use crate::ids::{Incarnation, Member, NodeId};
use crate::time::MS;

/// How long a verdict stands at least.
pub const STANDS_NS: u64 = 1_000 * MS;

/// A verdict that is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The process is down: to be recorded as `NodeDown`.
    Down(Member),
    /// A process that was down is up again, with all its memberships.
    Up(Member),
}

/// What one node holds to be true of all.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    nodes: BTreeMap<NodeId, Judged>,
}

#[derive(Clone, Copy, Debug)]
struct Judged {
    incarnation: Incarnation,
    down_since: Option<Lived>,
}

impl Judge {
    /// A judge who has not judged yet: it begins with what the topology log says.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges by these findings, one for each node, ascending. Returns what changed, in the same order.
    pub fn turn(&mut self, findings: &[Finding], now: Lived) -> Vec<Verdict> {
        let place = |node| findings.binary_search_by_key(&node, |finding| finding.known.member.node);
        self.nodes.retain(|&node, _| place(node).is_ok());
        let mut verdicts = Vec::new();
        for finding in findings {
            let Known { member, up, .. } = finding.known;
            let incarnation = member.incarnation;
            let begins = Judged {
                incarnation,
                down_since: (!up).then_some(now),
            };
            let judged = self.nodes.entry(member.node).or_insert(begins);
            if judged.incarnation != incarnation {
                *judged = begins;
            }
            let still = still_down_since(judged.down_since, finding, now);
            match (judged.down_since, still) {
                (None, Some(_)) => verdicts.push(Verdict::Down(member)),
                (Some(_), None) => verdicts.push(Verdict::Up(member)),
                _ => (),
            }
            judged.down_since = still;
        }
        verdicts
    }

    /// Until when the same findings would change nothing, as they were judged now.
    #[must_use]
    pub fn stands_until(&self, findings: &[Finding]) -> Lived {
        let ends = |finding: &&Finding| finding.ruling == Ruling::Open && finding.heard_by.nodes() > 0;
        let since = findings.iter().filter(ends);
        let since = since.filter_map(|finding| self.nodes.get(&finding.known.member.node)?.down_since);
        since.map(|since| since.after_ns(STANDS_NS)).min().unwrap_or(Lived::MAX)
    }

    /// Whether the verdict on this process is that it is down.
    #[must_use]
    pub fn is_down(&self, member: Member) -> bool {
        let judged = self.nodes.get(&member.node);
        judged.is_some_and(|judged| judged.incarnation == member.incarnation && judged.down_since.is_some())
    }

    /// What the topology log should say and does not, ascending by node: a planner proposes it until it is decided.
    pub fn unrecorded<'a>(&'a self, known: &'a [Known]) -> impl Iterator<Item = Verdict> + 'a {
        let judged = known.iter().filter_map(|known| {
            let judged = self.nodes.get(&known.member.node)?;
            (judged.incarnation == known.member.incarnation).then_some((known, judged.down_since.is_some()))
        });
        judged.filter_map(|(known, down)| match (known.up, down) {
            (true, true) => Some(Verdict::Down(known.member)),
            (false, false) => Some(Verdict::Up(known.member)),
            _ => None,
        })
    }
}

/// Since when the node is down, after this finding.
fn still_down_since(down_since: Option<Lived>, finding: &Finding, now: Lived) -> Option<Lived> {
    match finding.ruling {
        Ruling::Gone | Ruling::Silent => down_since.or(Some(now)),
        Ruling::Heard => None,
        // Nobody who hears it is no sign of life: those who said that it is down may be silent themselves by now.
        Ruling::Open if finding.heard_by.nodes() == 0 => down_since,
        Ruling::Open => down_since.filter(|since| now.ns_since(*since) < STANDS_NS),
    }
}
