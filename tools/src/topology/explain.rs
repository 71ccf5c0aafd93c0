//! `waterpark explain`: why a key is where it is, who holds copies, how far each is, and what may fail next.
//!
//! The topology log says who the members are and why, each member says itself how far it is. **Invariant:** what may fail is computed from
//! what the log says and who answered now, by the rules of quorums alone.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use waterpark_ring::Key;
use waterpark_wire::body::{GroupStateBody, HappeningBody, TopologyBody};

use super::newest;
use crate::actor::{ask_members, words_of_silence};
use crate::connect::{Cluster, Reach, parse_key, place};
use crate::failure::{Failure, code};
use crate::show;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The actor: KIND/ID[,NAME=VALUE], for example patient/1001,facility=HOSPX
    key: String,
    #[command(flatten)]
    reach: Reach,
}

/// 0: explained, and every member answers. 1: the cluster has no topology log. 2: no such key. 4: no node answers. 5: members do not answer.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match explain(arguments).and_then(|code| show::flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.end(arguments.reach.json),
    }
}

/// One member as it is now.
struct Member {
    name: String,
    presence: String,
    shard: Option<u16>,
    /// Why it is on that shard, where its number does not say so.
    seat: Option<String>,
    role: String,
    last_seq: Option<u64>,
    commit: Option<u64>,
}

/// What the loss of some members would do to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Acks go on as soon as there is a writer.
    GoesOn,
    /// Another writer can open it, and too few are left to ack until copies are made anew.
    Waits,
    /// Nobody can open it before a member comes back.
    Stands,
}

impl After {
    /// What `left` members can do.
    fn of(left: usize, write_quorum: usize, read_quorum: usize) -> After {
        if left < read_quorum {
            After::Stands
        } else if left < write_quorum {
            After::Waits
        } else {
            After::GoesOn
        }
    }

    fn words(self) -> &'static str {
        match self {
            After::GoesOn => "goes on",
            After::Waits => "waits until other nodes have copies",
            After::Stands => "stands still until a member comes back",
        }
    }
}

/// What the losses of each data centre would do.
struct Outlook {
    /// Members that are up.
    up: usize,
    /// So many more may be lost, whichever they are, and acks go on.
    may_fail: usize,
    /// By data centre, the members that would be left.
    centres: BTreeMap<String, (usize, After)>,
}

impl Outlook {
    fn of(members: &[Member], write_quorum: usize, read_quorum: usize) -> Outlook {
        let up: Vec<&Member> = members.iter().filter(|member| member.presence != "down").collect();
        let needed = write_quorum.max(read_quorum);
        let left_without = |dc: &str| up.iter().filter(|member| place(&member.name).0 != dc).count();
        let centres = members.iter().map(|member| place(&member.name).0.to_owned());
        let centres = centres.map(|dc| {
            let left = left_without(&dc);
            (dc, (left, After::of(left, write_quorum, read_quorum)))
        });
        Outlook {
            up: up.len(),
            may_fail: up.len().saturating_sub(needed),
            centres: centres.collect(),
        }
    }
}

fn explain(arguments: &Arguments) -> Result<u8, Failure> {
    let key = parse_key(&arguments.key)?;
    let cluster = arguments.reach.connect()?;
    let topology = newest(&cluster, arguments.reach.timeout_ms())?;
    let (id, _) = cluster.group(key.as_ref())?;
    let group = topology.groups.get(id as usize).ok_or(Failure::Table)?;
    let members = members_of(&cluster, &topology, group, &key, arguments.reach.timeout_ms());
    let (write, read) = (
        usize::from(group.active.write_quorum),
        usize::from(group.active.read_quorum),
    );
    let outlook = Outlook::of(&members, write, read);
    // The last change of the group that has a reason is what brought it where it is.
    let because = topology.history.iter().rev();
    let because = because
        .filter(|row| row.group == id && row.what == "proposed")
        .find(|row| row.view == group.active.view);
    if arguments.reach.json {
        show::print(&object(&key, group, &members, &outlook, because).to_string())?;
    } else {
        show::print(&text(&cluster, &key, group, &members, &outlook, because))?;
    }
    let is_whole = members.iter().all(|member| member.last_seq.is_some());
    Ok(if is_whole { 0 } else { code::UNHEALTHY })
}

/// The members as the log names them, each with what it says of itself.
fn members_of(
    cluster: &Cluster,
    topology: &TopologyBody,
    group: &GroupStateBody,
    key: &Key,
    timeout_ms: u32,
) -> Vec<Member> {
    let nodes: Vec<u16> = group.active.members.iter().map(|member| member.node).collect();
    let said = ask_members(cluster, key.as_ref(), &nodes, timeout_ms).into_iter();
    said.map(|said| {
        let presence = topology.nodes.iter().find(|row| row.id == said.node);
        let silent = Member {
            name: cluster.name(said.node),
            presence: presence.map_or_else(|| "unknown".to_owned(), |row| row.presence.clone()),
            shard: None,
            seat: seat_of(topology, said.node, group.active.group),
            role: String::new(),
            last_seq: None,
            commit: None,
        };
        match said.answer {
            Ok(body) => Member {
                shard: Some(body.shard),
                role: body.group.role,
                last_seq: Some(body.group.last_seq),
                commit: Some(body.group.commit),
                ..silent
            },
            Err(error) => Member {
                role: words_of_silence(&error),
                ..silent
            },
        }
    })
    .collect()
}

/// Why a group lives on the shard of a node on which it does, if the topology log says so.
fn seat_of(topology: &TopologyBody, node: u16, group: u32) -> Option<String> {
    let mut seats = topology.seats.iter();
    let seat = seats.find(|seat| seat.node == node && seat.group == group)?;
    let why = topology
        .history
        .iter()
        .rev()
        .find(|row| row.what == "seated" && row.position == seat.position && row.group == group);
    let held = if seat.pinned { "held there" } else { "moved there" };
    Some(match why {
        Some(row) => format!("{held} on {}: {}", show::instant(row.wall_ms), row.why),
        None => format!("{held} at position {}", seat.position),
    })
}

fn text(
    cluster: &Cluster,
    key: &Key,
    group: &GroupStateBody,
    members: &[Member],
    outlook: &Outlook,
    because: Option<&HappeningBody>,
) -> String {
    let config = &group.active;
    let mut lines = vec![
        format!(
            "{key}: group {} of {}, by the hash of the key",
            config.group,
            cluster.groups()
        ),
        format!(
            "view {}, {} members, W {} R {}{}",
            config.view,
            config.members.len(),
            config.write_quorum,
            config.read_quorum,
            match config.lineage {
                0 => String::new(),
                lineage => format!(", opened again at position {lineage} after it was lost"),
            },
        ),
        match because {
            Some(row) => format!(
                "because {} ({}, {})",
                row.why,
                show::instant(row.wall_ms),
                cluster.name(row.by)
            ),
            None => "because the ring put it there when it was born, or so long ago that it was forgotten".to_owned(),
        },
    ];
    let titles = ["node", "dc", "zone", "presence", "shard", "role", "last seq", "commit"];
    let mut table = vec![titles.map(str::to_owned).to_vec()];
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    for member in members {
        let (dc, zone) = place(&member.name);
        table.push(vec![
            member.name.clone(),
            dc.to_owned(),
            zone.to_owned(),
            member.presence.clone(),
            number(member.shard.map(u64::from)),
            member.role.clone(),
            number(member.last_seq),
            number(member.commit),
        ]);
    }
    lines.push(show::table(&table));
    for member in members {
        if let (Some(shard), Some(seat)) = (member.shard, &member.seat) {
            lines.push(format!("on shard {shard} of {}: {seat}", member.name));
        }
    }
    if group.lost {
        lines.push(
            "lost: too few of its processes can ever answer; `waterpark cluster recover` says what is left of it"
                .to_owned(),
        );
        return lines.join("\n");
    }
    if let Some(pending) = group.pending.first() {
        let names: Vec<String> = pending.members.iter().map(|member| cluster.name(member.node)).collect();
        lines.push(format!(
            "view {} is being opened with {}",
            pending.view,
            names.join(" ")
        ));
    }
    if !group.learners.is_empty() {
        let names: Vec<String> = group.learners.iter().map(|member| cluster.name(member.node)).collect();
        lines.push(format!("{} copy it", names.join(" ")));
    }
    lines.push(match outlook.may_fail {
        0 => format!(
            "{} members are up: none may fail before there are more copies",
            outlook.up
        ),
        more => format!(
            "{} members are up: any {more} more may fail, and acks go on",
            outlook.up
        ),
    });
    for (dc, (left, after)) in &outlook.centres {
        lines.push(format!("without {dc}: {left} left, it {}", after.words()));
    }
    lines.join("\n")
}

fn object(
    key: &Key,
    group: &GroupStateBody,
    members: &[Member],
    outlook: &Outlook,
    because: Option<&HappeningBody>,
) -> Value {
    let config = &group.active;
    let member = |member: &Member| {
        let (dc, zone) = place(&member.name);
        json!({
            "node": member.name, "dc": dc, "zone": zone, "presence": member.presence, "shard": member.shard,
            "seat": member.seat, "role": member.role, "last_seq": member.last_seq, "commit": member.commit,
        })
    };
    let centres: BTreeMap<&String, Value> = (outlook.centres.iter())
        .map(|(dc, (left, after))| (dc, json!({ "left": left, "then": after.words() })))
        .collect();
    let silent: Vec<&String> = (members.iter())
        .filter(|member| member.last_seq.is_none())
        .map(|member| &member.name)
        .collect();
    json!({
        "schema": "waterpark.explain.1", "complete": silent.is_empty(), "missing": silent,
        "key": key.to_string(), "group": config.group, "view": config.view, "lineage": config.lineage,
        "write_quorum": config.write_quorum, "read_quorum": config.read_quorum, "lost": group.lost,
        "why": because.map(|row| row.why.clone()), "since": because.map(|row| show::instant(row.wall_ms)),
        "members": members.iter().map(member).collect::<Vec<_>>(),
        "up": outlook.up, "may_fail": outlook.may_fail, "without": centres,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[(&str, &str)]) -> Vec<Member> {
        let member = |(name, presence): &(&str, &str)| Member {
            name: (*name).to_owned(),
            presence: (*presence).to_owned(),
            shard: None,
            seat: None,
            role: String::new(),
            last_seq: None,
            commit: None,
        };
        names.iter().map(member).collect()
    }

    #[test]
    fn what_may_fail_next_follows_from_who_is_up_and_from_the_quorums() {
        let five = [
            ("FL-A-1", "up"),
            ("FL-B-1", "up"),
            ("TN-A-1", "up"),
            ("TX-A-1", "up"),
            ("UT-A-1", "draining"),
        ];
        let outlook = Outlook::of(&members(&five), 3, 3);
        assert_eq!((outlook.up, outlook.may_fail), (5, 2));
        assert_eq!(outlook.centres["FL"], (3, After::GoesOn));
        let four = [
            ("FL-A-1", "up"),
            ("FL-B-1", "up"),
            ("TN-A-1", "up"),
            ("TX-A-1", "up"),
            ("UT-A-1", "down"),
        ];
        let outlook = Outlook::of(&members(&four), 3, 3);
        assert_eq!((outlook.up, outlook.may_fail), (4, 1));
        assert_eq!(outlook.centres["FL"], (2, After::Stands));
        assert_eq!(outlook.centres["UT"], (4, After::GoesOn));
        let outlook = Outlook::of(&members(&four[..3]), 3, 2);
        assert_eq!(outlook.centres["TN"], (2, After::Waits));
    }
}
