//! `waterpark actor`: an actor's state, its history, and where it lives.
//!
//! Answers come from the writer, after the commit of everything they were computed from, or with `--from` from what one member has
//! applied. **Invariant:** an answer that lacks a part says which one; none is silently short.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use waterpark_client::blocking::Answer;
use waterpark_client::{ClientError, HistoryEntry, HistoryQuery, ReadOptions, history_entries};
use waterpark_ring::Key;
use waterpark_wire::body::WhereBody;
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::ReadLevel;
use waterpark_wire::run::{DROPPED, VOID};

use crate::connect::{Cluster, Reach, parse_key, place};
use crate::failure::{Failure, code, words_of};
use crate::show;

/// A member that does not say in so many milliseconds how far it is counts as silent.
const MEMBER_MS_MAX: u32 = 3_000;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show an actor's state
    Get(Get),
    /// Show an actor's messages, the newest last
    History(History),
    /// Show which nodes hold an actor, and how far each of them is
    Where(Where),
}

/// Whose answer.
#[derive(Args)]
struct Whose {
    /// The actor: KIND/ID[,NAME=VALUE], for example patient/1001,facility=HOSPX
    key: String,
    /// Ask this member, which answers from what it has applied; without it the writer answers
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args)]
pub(crate) struct Get {
    #[command(flatten)]
    whose: Whose,
}

#[derive(Args)]
pub(crate) struct History {
    #[command(flatten)]
    whose: Whose,
    /// At most so many entries, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
    /// Write the messages alone, byte for byte, with a line feed between them
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

#[derive(Args)]
pub(crate) struct Where {
    #[command(flatten)]
    whose: Whose,
}

/// 0: shown, if only that there is nothing. 1: refused. 2: no such key or node. 4: cannot be reached. 5: some members did not
/// answer, or none of them writes.
/// 6: out of time.
pub(crate) fn run(command: &Command) -> ExitCode {
    let (whose, ended) = match command {
        Command::Get(get) => (&get.whose, show_state(&get.whose)),
        Command::History(history) => (&history.whose, show_history(history)),
        Command::Where(command) => (&command.whose, show_where(&command.whose)),
    };
    match ended.and_then(|code| show::flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.end(whose.reach.json),
    }
}

/// A key, the cluster that holds it, and who is asked.
struct Asked {
    key: Key,
    cluster: Cluster,
    options: ReadOptions,
}

impl Whose {
    fn ask(&self) -> Result<Asked, Failure> {
        let key = parse_key(&self.key)?;
        let cluster = self.reach.connect()?;
        let at = match &self.from {
            Some(name) => Some(cluster.member(name, key.as_ref())?),
            None => None,
        };
        let options = ReadOptions {
            timeout_ms: self.reach.timeout_ms(),
            level: if at.is_some() {
                ReadLevel::Any
            } else {
                ReadLevel::Linearizable
            },
            at,
            ..ReadOptions::default()
        };
        Ok(Asked { key, cluster, options })
    }
}

impl Asked {
    /// Who answered, for programs: a member by name, or the writer.
    fn who_json(&self) -> Value {
        match self.options.at {
            Some(id) => json!({ "node": self.cluster.name(id), "level": "applied" }),
            None => json!({ "node": Value::Null, "level": "linearizable" }),
        }
    }

    /// An empty answer: said, and no failure.
    fn say_none(&self, what: &str, answer: &Answer) {
        let token = show::token(answer.token);
        eprintln!("no {what} {} (as of {token})", self.key);
    }
}

fn show_state(whose: &Whose) -> Result<u8, Failure> {
    let asked = whose.ask()?;
    let answer = asked
        .cluster
        .client
        .get(asked.key.as_ref(), &asked.options)
        .map_err(Failure::Call)?;
    let exists = !answer.body.is_empty();
    let state: Value = if exists {
        serde_json::from_slice(&answer.body).map_err(|_| Failure::Answer)?
    } else {
        Value::Null
    };
    if whose.reach.json {
        let object = json!({
            "schema": "waterpark.actor_get.1", "complete": true, "key": asked.key.to_string(), "exists": exists,
            "state": state, "token": show::token_json(answer.token), "from": asked.who_json(),
        });
        show::print(&object.to_string())?;
    } else if exists {
        // As its kind wrote it, in the order of its fields; it was found to be JSON above, in which nothing is left to escape.
        show::print(&show::bytes(&answer.body))?;
    } else {
        asked.say_none("actor", &answer);
    }
    Ok(0)
}

/// Portions of a history, each the newest entries of what is left.
struct Portions {
    bodies: Vec<Vec<u8>>,
    entries: u64,
    /// Older entries exist than were asked for.
    older: bool,
    newest: Answer,
}

fn read_history(asked: &Asked, last: u32) -> Result<Portions, Failure> {
    let mut portions: Option<Portions> = None;
    // One more than is shown, to see whether there are older ones.
    let mut left = u64::from(last) + 1;
    let mut before_seq = u64::MAX;
    loop {
        let query = HistoryQuery {
            before_seq,
            entries_max: u32::try_from(left).unwrap_or(u32::MAX),
            ..HistoryQuery::default()
        };
        let answer = asked.cluster.client.history(asked.key.as_ref(), query, &asked.options);
        let mut answer = answer.map_err(Failure::Call)?;
        let body = std::mem::take(&mut answer.body);
        let mut oldest = None;
        let mut count = 0;
        for entry in history_entries(&body) {
            let entry = entry.map_err(|_| Failure::Answer)?;
            // An answer that goes back up would keep us asking for ever.
            if entry.seq >= oldest.map_or(before_seq, |(seq, _)| seq) {
                return Err(Failure::Answer);
            }
            oldest = Some((entry.seq, entry.entry.header.back.get()));
            count += 1;
        }
        if count > left {
            return Err(Failure::Answer);
        }
        left -= count;
        let portions = portions.get_or_insert_with(|| Portions {
            bodies: Vec::new(),
            entries: 0,
            older: false,
            newest: answer,
        });
        portions.bodies.push(body);
        portions.entries += count;
        match oldest {
            Some((seq, back)) if left > 0 && back != 0 => before_seq = seq,
            _ => break,
        }
    }
    let mut portions = portions.expect("the loop asks at least once");
    portions.older = left == 0;
    portions.entries -= u64::from(portions.older);
    Ok(portions)
}

impl Portions {
    /// The entries that were asked for, the oldest first.
    fn oldest_first(&self) -> Vec<HistoryEntry<'_>> {
        let entries = self
            .bodies
            .iter()
            .flat_map(|body| history_entries(body))
            .filter_map(Result::ok);
        let mut entries: Vec<HistoryEntry<'_>> = entries
            .take(usize::try_from(self.entries).unwrap_or(usize::MAX))
            .collect();
        entries.reverse();
        entries
    }
}

fn show_history(history: &History) -> Result<u8, Failure> {
    let whose = &history.whose;
    let asked = whose.ask()?;
    let portions = read_history(&asked, history.last)?;
    let entries = portions.oldest_first();
    if whose.reach.json {
        let shown: Vec<Value> = entries.iter().map(entry_json).collect();
        let object = json!({
            "schema": "waterpark.actor_history.1", "complete": true, "key": asked.key.to_string(), "entries": shown,
            "older": portions.older, "token": show::token_json(portions.newest.token), "from": asked.who_json(),
        });
        show::print(&object.to_string())?;
        return Ok(0);
    }
    if entries.is_empty() {
        asked.say_none("entries of", &portions.newest);
    } else if history.raw {
        for (index, entry) in entries.iter().enumerate() {
            let between: &[u8] = if index > 0 { b"\n" } else { b"" };
            show::write_all(between).and_then(|()| show::write_all(entry.entry.message))?;
        }
    } else {
        let rows: Vec<Vec<String>> = entries.iter().map(entry_row).collect();
        show::print(&show::table(&rows))?;
    }
    if portions.older {
        eprintln!(
            "older entries exist: show more with --last {}",
            history.last.saturating_mul(10)
        );
    }
    Ok(0)
}

/// What became of an entry's message; a number that no release wrote is none.
fn outcome(entry: &HistoryEntry<'_>) -> Option<Outcome> {
    Outcome::parse(entry.entry.header.outcome)
}

fn entry_row(entry: &HistoryEntry<'_>) -> Vec<String> {
    let header = entry.entry.header;
    let flags = header.flags.get();
    let message = match () {
        () if flags & VOID != 0 => "(number taken, no message)".to_owned(),
        () if flags & DROPPED != 0 => "(dropped)".to_owned(),
        () => show::bytes(entry.entry.message),
    };
    let word = match outcome(entry) {
        Some(Outcome::Done) => "",
        Some(Outcome::Refused) => "refused",
        Some(Outcome::Trapped) => "handler failed",
        Some(other) => show::outcome_name(other),
        None => "?",
    };
    let reply = show::bytes(entry.entry.reply);
    let parted = if word.is_empty() || reply.is_empty() { "" } else { ": " };
    let reply = format!("{word}{parted}{reply}");
    let mut row = vec![
        entry.seq.to_string(),
        show::instant(entry.time_ms),
        format!("{} B", header.message_length.get()),
        message,
    ];
    if !reply.is_empty() {
        row.push(format!("→ {reply}"));
    }
    row
}

fn entry_json(entry: &HistoryEntry<'_>) -> Value {
    let header = entry.entry.header;
    let flags = header.flags.get();
    json!({
        "seq": entry.seq, "time": show::instant(entry.time_ms), "bytes": header.message_length.get(),
        "message": show::bytes_json(entry.entry.message),
        "dropped": flags & DROPPED != 0, "void": flags & VOID != 0,
        "outcome": outcome(entry).map(show::outcome_name), "reply": show::bytes_json(entry.entry.reply),
    })
}

/// One member, and what it says of itself or why it says nothing.
struct Said {
    node: u16,
    answer: Result<WhereBody, ClientError>,
}

/// All members at once: the slowest decides how long it takes, not their sum.
fn ask_members(asked: &Asked, members: &[u16]) -> Vec<Said> {
    let timeout_ms = asked.options.timeout_ms.min(MEMBER_MS_MAX);
    let key = asked.key.as_ref();
    std::thread::scope(|scope| {
        let ask = |node: u16| {
            let options = ReadOptions {
                timeout_ms,
                level: ReadLevel::Any,
                at: Some(node),
                ..ReadOptions::default()
            };
            let client = asked.cluster.client.clone();
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

fn show_where(whose: &Whose) -> Result<u8, Failure> {
    let asked = whose.ask()?;
    let (group, members) = asked.cluster.group(asked.key.as_ref())?;
    let wanted: Vec<u16> = asked.options.at.map_or_else(|| members.to_vec(), |node| vec![node]);
    let said = ask_members(&asked, &wanted);
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
        eprintln!("error: no answer from {}: look at these nodes", silent.join(", "));
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
fn words_of_silence(error: &ClientError) -> String {
    match error {
        ClientError::Deadline | ClientError::Unreachable { .. } | ClientError::Silent => "does not answer".to_owned(),
        ClientError::Refused { .. } => words_of(error),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_wire::run::{EntryHeader, EntryParts, EntryView};

    fn row(message: &[u8], reply: &[u8], outcome: Outcome, flags: u16) -> (String, Value) {
        let header = EntryHeader {
            number: 1.into(),
            outcome: outcome as u8,
            flags: flags.into(),
            ..EntryHeader::default()
        };
        let parts = EntryParts {
            header,
            message,
            reply,
            ..EntryParts::default()
        };
        let mut bytes = vec![0; parts.length()];
        parts.write(&mut bytes);
        let (entry, _) = EntryView::new_checked(&bytes).unwrap();
        let entry = HistoryEntry {
            seq: 42,
            time_ms: 1_709_210_096_007,
            entry,
        };
        (show::table(&[entry_row(&entry)]), entry_json(&entry))
    }

    #[test]
    fn an_entry_is_one_line_whatever_was_sent() {
        let rows: [(&[u8], &[u8], Outcome, &str); 5] = [
            (b"ADT^A01", b"", Outcome::Done, "7 B  ADT^A01"),
            (b"get", b"7 red", Outcome::Done, "3 B  get  → 7 red"),
            (
                b"take",
                b"the pool is empty",
                Outcome::Refused,
                "4 B  take  → refused: the pool is empty",
            ),
            (b"a\r\nb", b"", Outcome::Trapped, "4 B  0x610d0a62  → handler failed"),
            (b"", b"", Outcome::Done, "0 B"),
        ];
        for (message, reply, outcome, shown) in rows {
            let (text, object) = row(message, reply, outcome, 0);
            assert_eq!(text, format!("42  2024-02-29T12:34:56.007Z  {shown}"));
            assert_eq!(object["outcome"], show::outcome_name(outcome));
            assert_eq!(object["message"], show::bytes_json(message));
        }
    }

    #[test]
    fn an_entry_whose_message_is_gone_says_so() {
        let (text, object) = row(b"", b"", Outcome::Voided, VOID);
        assert!(text.contains("(number taken, no message)"), "{text}");
        assert_eq!(object["void"], true);
        let (text, object) = row(b"", b"", Outcome::Done, DROPPED);
        assert!(text.contains("(dropped)"), "{text}");
        assert_eq!(object["dropped"], true);
    }
}
