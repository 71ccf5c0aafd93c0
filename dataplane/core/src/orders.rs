//! What a node tells of the topology log, and the orders that an operator gives to it.
//!
//! An order is judged by what this node knows of the log, proposed, and forgotten: whoever gave it looks at the log and gives it again. It
//! decides nothing. **Invariant:** what cannot be carried out is refused with its reason, and nothing is proposed.

mod nodes;
mod seats;

use waterpark_wire::body::{
    ConfigBody, GroupStateBody, HappeningBody, MemberBody, NodeStateBody, ORDER_DRAIN, ORDER_FORGET, ORDER_JOIN,
    ORDER_LEAVE, ORDER_RECOVER, ORDER_SEAT, ORDER_STAND_STILL, ORDER_UNDRAIN, OrderBody, OrderedBody, STILL_MS_MAX,
    TopologyBody,
};

use crate::behaviour::Behaviour;
use crate::config::{Births, Config};
use crate::effects::Effect;
use crate::ids::{GroupId, Member, NodeId, View};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::topology_log::{Entry, GroupState, Happening, Limits, NodeState, Presence, Proposal, What, Why};

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    pub(crate) fn topology_body(&self) -> TopologyBody {
        let state = &self.decided;
        let node = |(id, row): (NodeId, NodeState)| NodeStateBody {
            id: id.0,
            incarnation: row.incarnation.0,
            presence: word_of(row.presence).to_owned(),
        };
        let group = |(id, group): (GroupId, &GroupState)| GroupStateBody {
            active: config_body(&group.active),
            pending: group.pending.iter().map(config_body).collect(),
            // Who has become a member since learns no more.
            learners: (group.learners.iter())
                .filter(|member| !group.active.members.contains(member))
                .map(|member| member_body(*member))
                .collect(),
            lost: state.is_lost(id),
            survivors: state.survivors(id).into_iter().map(member_body).collect(),
        };
        TopologyBody {
            position: state.position(),
            configuration: state.electorate().configuration,
            voters: self.voters().iter().map(|node| node.0).collect(),
            nodes: state.nodes().map(node).collect(),
            groups: state.groups().map(group).collect(),
            history: self.history.rows().flat_map(happening_bodies).collect(),
            seats: self.seat_bodies(),
        }
    }

    pub(crate) fn on_order(&mut self, order: &OrderBody) -> OrderedBody {
        match self.carried_out(order) {
            Ok(effect) => {
                self.effects.extend(effect);
                OrderedBody {
                    taken: true,
                    why: String::new(),
                }
            }
            Err(why) => OrderedBody { taken: false, why },
        }
    }

    /// What is done about an order; nothing if it is so already.
    fn carried_out(&self, order: &OrderBody) -> Result<Option<Effect>, String> {
        if self.settings.births == Births::Writer {
            return Err("this cluster has no topology log: its configuration names no voters".to_owned());
        }
        if order.order == ORDER_STAND_STILL {
            return self.standing_still(order).map(Some);
        }
        Ok(self.proposed_by(order)?.map(|entry| Effect::Propose(Box::new(entry))))
    }

    fn standing_still(&self, order: &OrderBody) -> Result<Effect, String> {
        if order.node != self.settings.node.0 {
            return Err("who is to stand still is told itself".to_owned());
        }
        if !(1..=STILL_MS_MAX).contains(&order.for_ms) {
            return Err(format!("a drill takes from 1 to {STILL_MS_MAX} ms"));
        }
        Ok(Effect::StandStill { ms: order.for_ms })
    }

    /// What an order asks to be proposed; none if it is so already.
    fn proposed_by(&self, order: &OrderBody) -> Result<Option<Entry>, String> {
        if order.order == ORDER_RECOVER {
            return self.reopening(order);
        }
        if order.order == ORDER_JOIN {
            return self.joining(order);
        }
        if order.order == ORDER_SEAT {
            return self.seating(order);
        }
        let node = NodeId(order.node);
        if order.order == ORDER_LEAVE {
            return self.leaving(node);
        }
        let presence = self.decided.node(node).presence;
        match (order.order, presence) {
            (ORDER_DRAIN | ORDER_UNDRAIN | ORDER_FORGET, Presence::Unknown | Presence::Joined) => {
                Err("no process of that node has ever joined".to_owned())
            }
            (ORDER_DRAIN | ORDER_UNDRAIN | ORDER_FORGET, Presence::Left) => {
                Err("the node has left the cluster for good".to_owned())
            }
            (ORDER_FORGET, Presence::Up | Presence::Draining) => {
                Err("its process is heard: end it first, or drain it".to_owned())
            }
            (ORDER_FORGET, Presence::Gone) => Ok(None),
            (ORDER_FORGET, Presence::Down) => Ok(Some(Entry::NodeGone(Member {
                node,
                incarnation: self.decided.node(node).incarnation,
            }))),
            (ORDER_DRAIN | ORDER_UNDRAIN, Presence::Down | Presence::Gone) => {
                Err("the node is down: it takes part in nothing".to_owned())
            }
            (ORDER_DRAIN, Presence::Draining) | (ORDER_UNDRAIN, Presence::Up) => Ok(None),
            (ORDER_DRAIN, Presence::Up) => Ok(Some(Entry::NodeDraining(node))),
            (ORDER_UNDRAIN, Presence::Draining) => Ok(Some(Entry::NodeUndraining(node))),
            (other, _) => Err(format!("this release knows no order {other}")),
        }
    }

    /// The entry that opens a lost group again, with whom the operator leaves to us: who may hold something of it and is up, then whom the
    /// ring wants, then anybody.
    fn reopening(&self, order: &OrderBody) -> Result<Option<Entry>, String> {
        let [group] = order.groups[..] else {
            return Err("an order to recover names one group".to_owned());
        };
        let id = GroupId(group);
        let state = &self.decided;
        let Some(group) = state.group(id) else {
            return Err(format!("there is no group {group}"));
        };
        if !state.is_lost(id) {
            return Err(format!(
                "group {} is not lost: enough of its members can answer, or may yet",
                id.0
            ));
        }
        let is_up = |member: &Member| {
            let node = state.node(member.node);
            node.incarnation == member.incarnation && node.presence == Presence::Up
        };
        let reopens = group
            .pending
            .as_ref()
            .filter(|pending| pending.lineage != group.active.lineage);
        if reopens.is_some_and(|pending| pending.members.iter().all(is_up)) {
            return Ok(None);
        }
        let wanted = state.placement(&self.topology);
        let wanted = wanted.as_ref().unwrap_or(&self.placement);
        let of_ring = wanted.members(id).nodes().iter().copied();
        let all = self.topology.nodes().iter().map(|node| node.id);
        let newest = |node: NodeId| Member {
            node,
            incarnation: state.node(node).incarnation,
        };
        let mut members: Vec<Member> = Vec::new();
        for member in state.survivors(id).into_iter().chain(of_ring.chain(all).map(newest)) {
            let is_new = members.iter().all(|other| other.node != member.node);
            if is_up(&member) && is_new && members.len() < self.topology.members() {
                members.push(member);
            }
        }
        if members.is_empty() {
            return Err("no node is up".to_owned());
        }
        Ok(Some(Entry::Reopen {
            proposal: Proposal {
                group: id,
                sees_active: group.active.view,
                sees_pending: group.pending.as_ref().map_or(View::default(), |pending| pending.view),
                roll: Limits::default().roll(members),
                why: Why::Operator,
            },
            reason: order.reason.clone(),
        }))
    }
}

fn word_of(presence: Presence) -> &'static str {
    match presence {
        Presence::Unknown => "unknown",
        Presence::Up => "up",
        Presence::Draining => "draining",
        Presence::Down => "down",
        Presence::Gone => "gone",
        Presence::Joined => "joined",
        Presence::Left => "left",
    }
}

fn member_body(member: Member) -> MemberBody {
    MemberBody {
        node: member.node.0,
        incarnation: member.incarnation.0,
    }
}

fn config_body(config: &Config) -> ConfigBody {
    let quorum = |count: usize| u8::try_from(count).expect("a group has at most five members");
    ConfigBody {
        group: config.group.0,
        view: config.view.0,
        lineage: config.lineage.0,
        members: config.members.iter().copied().map(member_body).collect(),
        write_quorum: quorum(config.write_quorum),
        read_quorum: quorum(config.read_quorum),
    }
}

/// A happening as it is told: of groups that were seated, each by itself.
fn happening_bodies(row: &Happening) -> Vec<HappeningBody> {
    match &row.what {
        What::Seated { node, groups, reason } => seats::happening_bodies(row, *node, groups, reason),
        _ => vec![happening_body(row)],
    }
}

fn happening_body(row: &Happening) -> HappeningBody {
    let nodes_of = |members: &[Member]| members.iter().map(|member| member.node.0).collect();
    let body = empty_body(row);
    match &row.what {
        What::Node { member, presence } => HappeningBody {
            what: "node".to_owned(),
            nodes: vec![NodeStateBody {
                id: member.node.0,
                incarnation: member.incarnation.0,
                presence: word_of(*presence).to_owned(),
            }],
            ..body
        },
        What::Created { groups } => HappeningBody {
            what: "created".to_owned(),
            group: *groups,
            ..body
        },
        What::Learners { group, members } => HappeningBody {
            what: "learners".to_owned(),
            group: group.0,
            members: nodes_of(members),
            ..body
        },
        What::Proposed { config, why, reason } => HappeningBody {
            what: "proposed".to_owned(),
            group: config.group.0,
            view: config.view.0,
            members: nodes_of(&config.members),
            why: match reason.as_str() {
                "" => why.text().to_owned(),
                reason => format!("{}: {reason}", why.text()),
            },
            ..body
        },
        What::Activated { group, view, members } => HappeningBody {
            what: "activated".to_owned(),
            group: group.0,
            view: view.0,
            members: nodes_of(members),
            ..body
        },
        What::Voters {
            configuration,
            nodes,
            why,
        } => HappeningBody {
            what: "voters".to_owned(),
            group: *configuration,
            members: nodes.iter().map(|node| node.0).collect(),
            why: why.text().to_owned(),
            ..body
        },
        What::Seated { .. } => body,
    }
}

fn empty_body(row: &Happening) -> HappeningBody {
    HappeningBody {
        position: row.position,
        wall_ms: row.stamp.wall_ms,
        by: row.stamp.by.0,
        ..HappeningBody::default()
    }
}
