//! `waterpark actor where`: which nodes hold an actor's group, where they stand, and how far each of them is.
//!
//! Each member is asked itself. **Invariant:** a member that says nothing has its line all the same, with why.

use serde_json::{Value, json};
use waterpark::config::CommandCode;
use waterpark_client::{ClientError, ReadOptions};
use waterpark_ring::KeyRef;
use waterpark_wire::body::WhereBody;
use waterpark_wire::request::ReadLevel;

use super::Whose;
use crate::connect::{Cluster, place};
use crate::errors;
use crate::failure::{Failure, code, words_of};
use crate::show;

/// A member that does not say in so many milliseconds how far it is counts as silent.
const MEMBER_MS_MAX: u32 = 3_000;

/// One member, and what it says of itself or why it says nothing.
pub(crate) struct Said {
    pub(crate) node: u16,
    pub(crate) answer: Result<WhereBody, ClientError>,
}

/// All members at once: the slowest decides how long it takes, not their sum.
pub(crate) fn ask_members(cluster: &Cluster, key: KeyRef<'_>, members: &[u16], timeout_ms: u32) -> Vec<Said> {
    let timeout_ms = timeout_ms.min(MEMBER_MS_MAX);
    std::thread::scope(|scope| {
        let ask = |node: u16| {
            let options = ReadOptions {
                timeout_ms,
                level: ReadLevel::Any,
                at: Some(node),
                ..ReadOptions::default()
            };
            let client = cluster.client.clone();
            scope.spawn(move || client.where_(key, &options))
        };
        let asking: Vec<_> = members.iter().map(|node| (*node, ask(*node))).collect();
        let said = |(node, asking): (u16, std::thread::ScopedJoinHandle<'_, _>)| Said {
            node,
            answer: asking.join().unwrap_or(Err(ClientError::Closed)),
        };
        asking.into_iter().map(said).collect()
    })
}

pub(super) fn show_where(whose: &Whose) -> Result<u8, Failure> {
    let asked = whose.ask()?;
    let (group, members) = asked.cluster.group(asked.key.as_ref())?;
    let wanted: Vec<u16> = asked.options.at.map_or_else(|| members.to_vec(), |node| vec![node]);
    let said = ask_members(&asked.cluster, asked.key.as_ref(), &wanted, asked.options.timeout_ms);
    let silent: Vec<String> = said
        .iter()
        .filter(|said| said.answer.is_err())
        .map(|said| asked.cluster.name(said.node))
        .collect();
    let writer = said
        .iter()
        .find(|said| said.answer.as_ref().is_ok_and(|body| body.group.role == "writer"));
    let writer = writer.map(|said| asked.cluster.name(said.node));
    let has_writer = writer.is_some();
    if whose.reach.json {
        let members: Vec<Value> = said.iter().map(|said| member_json(&asked.cluster, said)).collect();
        let object = json!({
            "schema": "waterpark.actor_where.1", "complete": silent.is_empty(), "missing": silent,
            "key": asked.key.to_string(), "group": group, "writer": writer, "members": members,
        });
        show::print(&object.to_string())?;
    } else {
        let planned = || {
            members
                .first()
                .map_or_else(String::new, |node| asked.cluster.name(*node))
        };
        let writer = match writer {
            Some(writer) => format!("writer {writer}"),
            None if asked.options.at.is_some() => format!("written by {} as the slot table has it", planned()),
            None => format!("no writer answers; the slot table has {}", planned()),
        };
        show::print(&format!("{}: group {group}, {writer}", asked.key))?;
        let titles = ["node", "dc", "zone", "shard", "role", "view", "last seq", "commit"];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        rows.extend(said.iter().map(|said| member_row(&asked.cluster, said)));
        show::print(&show::table(&rows))?;
    }
    if !silent.is_empty() {
        let text = format!("no answer from {}: look at these nodes", silent.join(", "));
        errors::say(CommandCode::MembersSilent.entry(), &text);
    }
    Ok(match silent.len() {
        0 if asked.options.at.is_some() || has_writer => 0,
        n if n == wanted.len() => code::CANNOT_REACH,
        _ => code::UNHEALTHY,
    })
}

fn member_row(cluster: &Cluster, said: &Said) -> Vec<String> {
    let name = cluster.name(said.node);
    let (dc, zone) = place(&name);
    let mut row = vec![name.clone(), dc.to_owned(), zone.to_owned()];
    match &said.answer {
        Ok(body) => row.extend([
            body.shard.to_string(),
            body.group.role.clone(),
            body.group.view.to_string(),
            body.group.last_seq.to_string(),
            body.group.commit.to_string(),
        ]),
        Err(error) => row.extend(["-".to_owned(), words_of_silence(error)]),
    }
    row
}

fn member_json(cluster: &Cluster, said: &Said) -> Value {
    let name = cluster.name(said.node);
    let (dc, zone) = place(&name);
    let mut member = json!({ "node": name, "id": said.node, "dc": dc, "zone": zone });
    match &said.answer {
        Ok(body) => {
            member["shard"] = body.shard.into();
            member["role"] = body.group.role.clone().into();
            member["view"] = body.group.view.into();
            member["last_seq"] = body.group.last_seq.into();
            member["commit"] = body.group.commit.into();
        }
        Err(error) => member["error"] = words_of_silence(error).into(),
    }
    member
}

/// Why a member says nothing. Its question changed nothing, whatever became of it.
pub(crate) fn words_of_silence(error: &ClientError) -> String {
    match error {
        ClientError::Deadline | ClientError::Unreachable { .. } | ClientError::Silent => "does not answer".to_owned(),
        ClientError::Refused { .. } => words_of(error),
        other => other.to_string(),
    }
}
