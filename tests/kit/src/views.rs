//! Who opened which view of a group, and when: at most one member opens a view, it is the first of the view's Config, and once faults have
//! stopped there are few.
//!
//! It knows no shard. **Invariant:** it judges by what openers did, never by what the topology log meant.

use std::collections::BTreeMap;

use waterpark_core::ids::{GroupId, Member, View};

use crate::ledger::Violation;

/// Once faults have stopped, view changes that they caused are over after this, in ns.
pub const SETTLED_NS: u64 = 3_000_000_000;
/// From then on a group opens one view at most in so long, in ns.
pub const APART_NS: u64 = 2_000_000_000;

/// One opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The view.
    pub view: View,
    /// Who opened it.
    pub by: Member,
    /// The members of its Config, the writer first.
    pub members: Vec<Member>,
    /// When, virtual ns.
    pub at_ns: u64,
}

/// The openings of a run, group by group, in their order.
#[derive(Debug, Default)]
pub struct Views {
    groups: BTreeMap<GroupId, Vec<Opening>>,
}

impl Views {
    /// A member opened a view; what is wrong with that.
    pub fn on_open(&mut self, group: GroupId, opening: Opening) -> Option<Violation> {
        let view = opening.view.0;
        let is_first = opening.members.first() == Some(&opening.by);
        let before = self.groups.entry(group).or_default();
        let twice = before.iter().any(|other| other.view == opening.view);
        before.push(opening);
        if twice {
            return Some(Violation::OpenedTwice(group, view));
        }
        (!is_first).then_some(Violation::OpenedByAnother(group, view))
    }

    /// The last opening of a group.
    #[must_use]
    pub fn last(&self, group: GroupId) -> Option<&Opening> {
        self.groups.get(&group)?.last()
    }

    /// Groups whose views followed each other too fast, where faults stopped at an instant. What was proposed until then, the newest of it
    /// `proposed`, is owed to the faults however late it opens: a view whose members collect long logs takes its time.
    pub fn restless(&self, stopped_ns: u64, proposed: View) -> impl Iterator<Item = Violation> + '_ {
        let late = move |opening: &&Opening| opening.at_ns >= stopped_ns + SETTLED_NS && opening.view > proposed;
        self.groups.iter().filter_map(move |(group, openings)| {
            let at: Vec<u64> = openings.iter().filter(late).map(|opening| opening.at_ns).collect();
            let fast = at.windows(2).any(|pair| pair[1] - pair[0] < APART_NS);
            fast.then_some(Violation::Restless(*group, at.len() as u64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_core::ids::{Incarnation, NodeId};

    const GROUP: GroupId = GroupId(3);

    fn member(node: u16) -> Member {
        Member {
            node: NodeId(node),
            incarnation: Incarnation(9),
        }
    }

    fn opening(view: u64, by: u16, at_ms: u64) -> Opening {
        Opening {
            view: View(view),
            by: member(by),
            members: vec![member(1), member(2), member(3)],
            at_ns: at_ms * 1_000_000,
        }
    }

    #[test]
    fn a_forged_second_opener_of_a_view_is_found() {
        let mut views = Views::default();
        assert_eq!(views.on_open(GROUP, opening(4, 1, 0)), None);
        assert_eq!(
            views.on_open(GroupId(4), opening(4, 1, 0)),
            None,
            "views are of a group"
        );
        assert_eq!(views.on_open(GROUP, opening(7, 1, 0)), None);
        let again = views.on_open(GROUP, opening(4, 1, 1));
        assert_eq!(again, Some(Violation::OpenedTwice(GROUP, 4)));
    }

    #[test]
    fn a_forged_opener_that_is_not_the_first_member_is_found() {
        let by_another = Views::default().on_open(GROUP, opening(4, 2, 0));
        assert_eq!(by_another, Some(Violation::OpenedByAnother(GROUP, 4)));
    }

    #[test]
    fn forged_views_that_follow_each_other_fast_are_found_once_all_has_settled() {
        let mut views = Views::default();
        for (view, at_ms) in [(1, 0), (2, 10), (3, 9_000), (4, 11_000), (5, 12_999)] {
            assert_eq!(views.on_open(GROUP, opening(view, 1, at_ms)), None);
        }
        let judge = |stopped_ms: u64, proposed| {
            views
                .restless(stopped_ms * 1_000_000, View(proposed))
                .collect::<Vec<_>>()
        };
        assert_eq!(judge(1_000, 2), [Violation::Restless(GROUP, 3)], "two in 1,999 ms");
        assert_eq!(judge(9_000, 2), [], "one since 12 s");
        assert_eq!(judge(1_000, 4), [], "one that was proposed since");
    }
}
