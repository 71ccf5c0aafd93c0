//! Lost groups that were opened again: what their new lineage has of the log before, and what may therefore be gone.
//!
//! The promise of a Reopen: what was acked is gone only if its group was lost, and if none held it of those processes that its opener had to hear,
//! had a log of some view, and lived until the new lineage was in force. It knows no shard and no clock. **Invariant:** lineages and views are
//! positions of one log, so that a view is of one lineage, and an entry that is gone never comes back.

use std::collections::{BTreeMap, BTreeSet};

use waterpark_core::config::Config;
use waterpark_core::ids::{GroupId, Member};

use crate::ledger::{Token, Violation};

/// Entries by seq and view.
pub type Entries = BTreeSet<(u64, u64)>;

/// Where an entry stands among all that a group ever committed: what is of a later lineage stands behind everything of an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The lineage that it was logged in.
    pub lineage: u64,
    /// Its seq.
    pub seq: u64,
}

/// A group that was opened again.
#[derive(Clone, Debug)]
pub struct Reopened {
    /// The lineage, which is its first view.
    pub lineage: u64,
    /// The views of the entries that it has from before, by seq from 1.
    pub kept: Vec<u64>,
    /// Those who had to be heard and lived until then, with what each held.
    pub heard: Vec<(Member, Entries)>,
    /// The Config that was in force before.
    pub before: Config,
}

impl Reopened {
    fn lacks(&self, token: &Token) -> bool {
        let at = token.seq.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        let view = at.map(|at| self.kept.get(at).copied());
        view.is_some_and(|view| token.view < self.lineage && view != Some(token.view))
    }
}

/// What became of all groups.
#[derive(Debug, Default)]
pub struct Lineages {
    /// By group, in their order.
    groups: BTreeMap<GroupId, Vec<Reopened>>,
    /// What those hold who may be heard by the next opener.
    asked: BTreeMap<(GroupId, Member), Entries>,
}

impl Lineages {
    /// A lost group is to be opened again, and a process that has to be heard holds this.
    pub fn on_ask(&mut self, group: GroupId, member: Member, held: Entries) {
        self.asked.entry((group, member)).or_default().extend(held);
    }

    /// A Config of a group is in force that is of the lineage before.
    pub fn on_other_view(&mut self, group: GroupId) {
        self.asked.retain(|(asked, _), _| *asked != group);
    }

    /// A group is open again, with what it has from before.
    pub fn on_reopened(
        &mut self,
        group: GroupId,
        lineage: u64,
        kept: Vec<u64>,
        before: Config,
        lives: impl Fn(Member) -> bool,
    ) {
        let asked = self.asked.iter().filter(|((asked, _), _)| *asked == group);
        let heard = asked.filter(|((_, member), _)| lives(*member));
        let reopened = Reopened {
            lineage,
            kept,
            heard: heard.map(|((_, member), held)| (*member, held.clone())).collect(),
            before,
        };
        self.groups.entry(group).or_default().push(reopened);
        self.on_other_view(group);
    }

    fn of(&self, group: GroupId) -> &[Reopened] {
        self.groups.get(&group).map_or(&[], Vec::as_slice)
    }

    /// Where an entry stands. Before the first there is nothing, in whichever lineage it is not read.
    #[must_use]
    pub fn point(&self, token: Token) -> Point {
        if token.seq == 0 {
            return Point::default();
        }
        let begun = self
            .of(token.group)
            .iter()
            .filter(|reopened| reopened.lineage <= token.view);
        Point {
            lineage: begun.map(|reopened| reopened.lineage).max().unwrap_or(0),
            seq: token.seq,
        }
    }

    fn lost_by(&self, token: &Token) -> Option<&Reopened> {
        self.of(token.group).iter().find(|reopened| reopened.lacks(token))
    }

    /// Whether an entry is in no log of its group any more.
    #[must_use]
    pub fn is_gone(&self, token: Token) -> bool {
        self.lost_by(&token).is_some()
    }

    /// Whether it is in no log of a lineage.
    #[must_use]
    pub fn is_gone_in(&self, token: Token, lineage: u64) -> bool {
        self.lost_by(&token).is_some_and(|reopened| reopened.lineage <= lineage)
    }

    /// The Config under which an entry that is gone may have been acked last, and who was seen to hold it since.
    #[must_use]
    pub fn before(&self, token: Token) -> Option<(&Config, Vec<Member>)> {
        let reopened = self.lost_by(&token)?;
        let holds = |(_, held): &&(Member, Entries)| held.contains(&(token.seq, token.view));
        let holders = reopened.heard.iter().filter(holds);
        Some((&reopened.before, holders.map(|(member, _)| *member).collect()))
    }

    /// Whether an acked entry is gone that was there to be kept.
    #[must_use]
    pub fn judge(&self, token: Token) -> Option<Violation> {
        let (_, holders) = self.before(token)?;
        Some(Violation::Forgotten(token, *holders.first()?))
    }

    /// Whether a log of the newest lineage, the views of its entries by seq from 1, has an entry of an older one that the newer did not begin with.
    #[must_use]
    pub fn judge_log(&self, group: GroupId, views: &[u64]) -> Option<Violation> {
        let rows = (1..).zip(views);
        let tokens = rows.map(|(seq, view)| Token {
            group,
            view: *view,
            seq,
        });
        let mixed = tokens.into_iter().find(|token| self.is_gone(*token))?;
        Some(Violation::Mixed(mixed))
    }

    /// Whether a session read of a token was answered as it may be: by a lineage, or by none, because the token's entry is gone.
    #[must_use]
    pub fn judge_session(&self, token: Token, answered: Option<u64>) -> Option<Violation> {
        match answered {
            Some(lineage) => self
                .is_gone_in(token, lineage)
                .then_some(Violation::SilentlyLost(token)),
            None => (!self.is_gone(token)).then_some(Violation::NotLost(token)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_core::ids::{Incarnation, Lineage, NodeId, View};

    const GROUP: GroupId = GroupId(3);

    const fn member(node: u16) -> Member {
        Member {
            node: NodeId(node),
            incarnation: Incarnation(7),
        }
    }

    const fn token(view: u64, seq: u64) -> Token {
        Token {
            group: GROUP,
            view,
            seq,
        }
    }

    /// Lineage 20 began with two entries of view 4 and one of view 9. Node 2 was heard, node 3 was to be and died.
    fn reopened() -> Lineages {
        let mut lineages = Lineages::default();
        lineages.on_ask(GROUP, member(2), [(1, 4), (2, 4), (3, 9)].into());
        lineages.on_ask(GROUP, member(3), [(1, 4), (2, 4), (3, 9), (4, 9)].into());
        lineages.on_ask(GroupId(4), member(2), [(4, 9)].into());
        let before = Config::new(GROUP, View(9), Lineage(0), &[member(1), member(2), member(3)]);
        lineages.on_reopened(GROUP, 20, vec![4, 4, 9], before, |other| other != member(3));
        lineages
    }

    #[test]
    fn what_a_lineage_began_with_stays_and_what_only_the_dead_held_may_be_gone() {
        let lineages = reopened();
        for (token, is_gone) in [
            (token(4, 2), false),
            (token(9, 3), false),
            (token(9, 4), true),
            (token(20, 4), false),
            (token(9, 0), false),
        ] {
            assert_eq!(lineages.is_gone(token), is_gone, "{token:?}");
            assert_eq!(lineages.judge(token), None, "{token:?}");
        }
        let other = Token {
            group: GroupId(4),
            ..token(9, 4)
        };
        assert!(!lineages.is_gone(other), "its group was never lost");
    }

    #[test]
    fn an_entry_stands_in_the_lineage_that_it_was_logged_in_and_nothing_before_all() {
        let lineages = reopened();
        let point = |lineage, seq| Point { lineage, seq };
        for (token, at) in [
            (token(9, 3), point(0, 3)),
            (token(20, 4), point(20, 4)),
            (token(31, 5), point(20, 5)),
            (token(31, 0), point(0, 0)),
        ] {
            assert_eq!(lineages.point(token), at, "{token:?}");
        }
    }

    #[test]
    fn a_forged_loss_of_what_somebody_held_who_was_heard_is_found() {
        let mut lineages = Lineages::default();
        lineages.on_ask(GROUP, member(2), [(1, 4), (2, 4)].into());
        let before = Config::new(GROUP, View(9), Lineage(0), &[member(1), member(2), member(3)]);
        lineages.on_reopened(GROUP, 20, vec![4, 9], before, |_| true);
        assert_eq!(lineages.judge(token(4, 1)), None);
        assert_eq!(
            lineages.judge(token(4, 2)),
            Some(Violation::Forgotten(token(4, 2), member(2)))
        );
    }

    #[test]
    fn what_was_held_before_a_view_came_into_force_says_nothing_of_the_next_loss() {
        let mut lineages = Lineages::default();
        lineages.on_ask(GROUP, member(2), [(1, 4)].into());
        lineages.on_other_view(GROUP);
        let before = Config::new(GROUP, View(9), Lineage(0), &[member(1), member(2), member(3)]);
        lineages.on_reopened(GROUP, 20, Vec::new(), before, |_| true);
        assert!(lineages.is_gone(token(4, 1)));
        assert_eq!(lineages.judge(token(4, 1)), None);
    }

    #[test]
    fn a_forged_log_of_two_lineages_is_found() {
        let lineages = reopened();
        assert_eq!(lineages.judge_log(GROUP, &[4, 4, 9, 20, 20, 31]), None);
        assert_eq!(
            lineages.judge_log(GROUP, &[4, 4, 9, 9, 20]),
            Some(Violation::Mixed(token(9, 4)))
        );
        assert_eq!(
            lineages.judge_log(GROUP, &[4, 4, 4, 20]),
            Some(Violation::Mixed(token(4, 3)))
        );
    }

    #[test]
    fn a_forged_session_read_over_a_lost_token_and_a_forged_loss_of_one_are_found() {
        let lineages = reopened();
        let (gone, kept) = (token(9, 4), token(9, 3));
        assert_eq!(lineages.judge_session(gone, None), None);
        assert_eq!(lineages.judge_session(kept, None), Some(Violation::NotLost(kept)));
        assert_eq!(
            lineages.judge_session(gone, Some(20)),
            Some(Violation::SilentlyLost(gone))
        );
        assert_eq!(lineages.judge_session(kept, Some(20)), None);
        assert_eq!(
            lineages.judge_session(gone, Some(0)),
            None,
            "by who had not heard of the new lineage"
        );
    }

    #[test]
    fn a_later_lineage_stands_behind_all_of_an_earlier_one() {
        let lineages = reopened();
        assert!(lineages.point(token(20, 4)) > lineages.point(token(9, 9)));
        assert!(lineages.point(token(9, 9)) > lineages.point(token(4, 2)));
    }
}
