//! `waterpark actor history`: an actor's messages, in rows, in fields, or byte for byte.
//!
//! A history is read in portions, the newest first, and shown the oldest first. **Invariant:** what is older than was asked for, and what the
//! kind's rule on history has dropped, is said.

use std::io::IsTerminal;

use clap::Args;
use serde_json::{Value, json};
use waterpark_client::blocking::Answer;
use waterpark_client::{HistoryEntry, HistoryQuery, history_entries};
use waterpark_edge::mllp;

use super::view::View;
use super::{Asked, Whose, entry};
use crate::failure::Failure;
use crate::show;

#[derive(Args)]
pub(crate) struct History {
    #[command(flatten)]
    pub(super) whose: Whose,
    /// At most so many entries, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
    /// This entry alone, HL7 with its segments
    #[arg(long, value_name = "N", conflicts_with_all = ["last", "segments"], value_parser = clap::value_parser!(u64).range(1..))]
    seq: Option<u64>,
    /// Show the segments of HL7 messages, field by field
    #[arg(long, conflicts_with_all = ["raw", "json"])]
    segments: bool,
    /// Write the messages byte for byte: with --seq that one alone, else each in an MLLP frame
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

/// Portions of a history, each the newest entries of what is left.
struct Portions {
    bodies: Vec<Vec<u8>>,
    entries: u64,
    /// Older entries exist than were asked for.
    older: bool,
    /// The seq of an entry that was there once and that nobody holds any more; older ones are gone with it.
    dropped: Option<u64>,
    newest: Answer,
}

/// Reads the newest entries at or below a seq, at most `wanted`.
fn read(asked: &Asked, newest_seq: u64, wanted: u32) -> Result<Portions, Failure> {
    let mut portions: Option<Portions> = None;
    // One more than is shown, to see whether there are older ones.
    let mut left = u64::from(wanted) + 1;
    let mut before_seq = newest_seq.saturating_add(1);
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
            oldest = Some((entry.seq, u64::from(entry.entry.header.back.get())));
            count += 1;
        }
        if count > left {
            return Err(Failure::Answer);
        }
        left -= count;
        let is_first = portions.is_none();
        let portions = portions.get_or_insert_with(|| Portions {
            bodies: Vec::new(),
            entries: 0,
            older: false,
            dropped: None,
            newest: answer,
        });
        portions.bodies.push(body);
        portions.entries += count;
        match oldest {
            // Every entry names the one before it, so the next portion begins with exactly that one.
            Some((seq, back)) if left > 0 && back != 0 => {
                before_seq = seq.checked_sub(back).filter(|seq| *seq > 0).ok_or(Failure::Answer)? + 1;
            }
            None if !is_first => {
                portions.dropped = Some(before_seq - 1);
                break;
            }
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

pub(super) fn show_history(history: &History) -> Result<u8, Failure> {
    let whose = &history.whose;
    // A terminal takes control bytes for orders.
    if history.raw && std::io::stdout().is_terminal() {
        return Err(Failure::RawToTerminal);
    }
    let asked = whose.ask()?;
    let portions = match history.seq {
        Some(seq) => read(&asked, seq, 1)?,
        None => read(&asked, u64::MAX - 1, history.last)?,
    };
    let entries = portions.oldest_first();
    if let Some(seq) = history.seq
        && entries.first().is_none_or(|entry| entry.seq != seq)
    {
        return Err(Failure::NoEntry {
            key: asked.key.to_string(),
            seq,
        });
    }
    let (older, dropped) = match history.seq {
        // One entry was asked for, and it is all there.
        Some(_) => (false, None),
        None => (portions.older, portions.dropped),
    };
    if whose.reach.json {
        let shown: Vec<Value> = entries.iter().map(entry::json).collect();
        let missing = dropped.map(|seq| format!("entries up to seq {seq}, which are dropped"));
        let object = json!({
            "schema": "waterpark.actor_history.1", "complete": missing.is_none(), "missing": Vec::from_iter(missing),
            "key": asked.key.to_string(), "entries": shown, "older": older,
            "token": show::token_json(portions.newest.token), "from": asked.who_json(),
        });
        show::print(&object.to_string())?;
        return Ok(0);
    }
    if entries.is_empty() {
        asked.say_none("entries of", &portions.newest);
    } else if history.raw {
        write_raw(&entries, history.seq.is_some())?;
    } else {
        show::print(&text(&entries, history.segments || history.seq.is_some()))?;
    }
    if let Some(seq) = dropped {
        eprintln!("entries up to seq {seq} are dropped: the kind's rule on history does not keep them");
    }
    if older {
        eprintln!(
            "older entries exist: show more with --last {}",
            history.last.saturating_mul(10)
        );
    }
    Ok(0)
}

/// One message as it is; of several each in a frame, because a message may hold any byte that could stand between two.
fn write_raw(entries: &[HistoryEntry<'_>], alone: bool) -> Result<(), Failure> {
    for entry in entries {
        let message = entry.entry.message;
        // There are no bytes to write of a number that was taken without a message.
        if entry::gone(entry).is_some() {
            eprintln!("seq {}: {}", entry.seq, entry::gone(entry).unwrap_or_default());
        } else if alone {
            show::write_all(message)?;
        } else if mllp::fits(message) {
            let mut frame = Vec::new();
            mllp::write(&mut frame, message);
            show::write_all(&frame)?;
        } else {
            return Err(Failure::Unframeable { seq: entry.seq });
        }
    }
    Ok(())
}

/// A line for each entry: by type and id if any of them is HL7, else by the message itself. With the fields of HL7 below, where they are
/// asked for.
fn text(entries: &[HistoryEntry<'_>], with_segments: bool) -> String {
    let views: Vec<Option<View<'_>>> = entries.iter().map(|entry| View::of(entry.entry.message)).collect();
    if views.iter().all(Option::is_none) {
        let rows: Vec<Vec<String>> = entries.iter().map(entry::row).collect();
        return show::table(&rows);
    }
    let mut rows = vec![entry::HL7_TITLES.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(entry::hl7_row));
    let table = show::table(&rows);
    if !with_segments {
        return table;
    }
    let mut text = String::new();
    for (place, line) in table.lines().enumerate() {
        text += line;
        text.push('\n');
        let view = place.checked_sub(1).and_then(|place| views.get(place)?.as_ref());
        let fields = view.map_or_else(String::new, |view| show::table(&view.rows()));
        for line in fields.lines() {
            text += "  ";
            text += line;
            text.push('\n');
        }
    }
    text.trim_end().to_owned()
}
