//! The page that explains keys and figures, and shows every command whole.

use ratatui::text::{Line, Span};

use super::part::Part;
use crate::demo_screen::keys::HELP;
use crate::demo_screen::theme::Role;
use crate::demo_screen::view::{DemoView, NodeState};

/// What the figures mean, each in a sentence of one row.
const FIGURES: [(&str, &str); 11] = [
    ("acked", "three of the five members of a group hold the message"),
    ("refused", "a node said no for good, and why; nothing was logged"),
    ("unknown", "no answer came: the message may have taken effect or not"),
    ("resends", "further attempts for a message; none is stored twice"),
    ("held", "entries in a node's logs, written by itself or by others"),
    ("copies", "how many members of a group hold all that it committed"),
    ("waited", "patients of groups that were hit, with a message to be acked"),
    (
        "median, worst",
        "how long they waited beyond what their acks usually take",
    ),
    (
        "writer's DC",
        "messages entered in the data centre of their group's writer",
    ),
    (
        "another DC",
        "all others: they pay one more round trip, from entry to writer",
    ),
    ("p99", "99 of 100 acks took at most this long, from send to ack"),
];

pub(super) fn draw(part: &mut Part<'_>, view: &DemoView) {
    let width = usize::from(part.width());
    let mut lines = vec![Line::from(
        part.span(" Waterpark demo: keys, signs, figures, commands ", Role::Banner),
    )];
    let row = |part: &Part<'_>, name: &str, text: String| {
        Line::from(vec![part.span(format!("  {name:<15}"), Role::Figure), Span::raw(text)])
    };
    // Commands first: they are what this page is opened for, and what a small terminal could not show.
    lines.push(Line::from(part.span(" in another shell", Role::Title)));
    for command in &view.commands {
        lines.push(Line::from(part.span(format!("  {}:", command.purpose), Role::Label)));
        lines.extend(wrapped(&command.command, width).into_iter().map(Line::from));
    }
    lines.push(Line::from(part.span(" keys", Role::Title)));
    lines.extend(HELP.iter().map(|help| row(part, help.keys, help.long.to_owned())));
    lines.push(Line::from(part.span(" nodes", Role::Title)));
    let states = [
        NodeState::Up,
        NodeState::Paused,
        NodeState::Cut,
        NodeState::Draining,
        NodeState::Killed,
        NodeState::Starting,
    ];
    let states: Vec<String> = states
        .iter()
        .map(|state| format!("{} {}", state.sign(), state.word()))
        .collect();
    lines.push(Line::from(format!("  {}", states.join("   "))));
    lines.push(Line::from(
        "  ↓ behind it: down, as the topology log has it; so are counts of nodes that are up",
    ));
    lines.push(Line::from(part.span(" figures", Role::Title)));
    lines.extend(FIGURES.iter().map(|(name, text)| row(part, name, (*text).to_owned())));
    let rows = part.height();
    for (place, line) in (0..rows).zip(&lines) {
        part.line(place, line);
    }
    if usize::from(rows) < lines.len() && rows > 1 {
        let more = part.span(" more in a taller terminal; ? goes back ", Role::Banner);
        part.line_right(rows - 1, &Line::from(more));
    }
}

/// A command in rows of at most `width` columns that can be pasted as they are: cut at spaces outside quotes, with a backslash at the end of
/// each row but the last. What has no such space is cut by the terminal's edge.
pub(super) fn wrapped(command: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut rest = command;
    while rest.chars().count() > width {
        let spaces = spaces(rest);
        // Before the edge if there is such a place, else as soon after it as there is one.
        let before = spaces.iter().rev().find(|(column, _)| column + 2 <= width);
        let Some(&(_, at)) = before.or(spaces.first()) else {
            break;
        };
        rows.push(format!("{} \\", &rest[..at]));
        rest = &rest[at + 1..];
    }
    rows.push(rest.to_owned());
    rows
}

/// The column and the byte of every space outside quotes, but for one at the very beginning.
fn spaces(text: &str) -> Vec<(usize, usize)> {
    let mut quote = None;
    let mut escaped = false;
    let mut found = Vec::new();
    for (column, (at, sign)) in text.char_indices().enumerate() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match (sign, quote) {
            ('\\', None | Some('"')) => escaped = true,
            ('\'' | '"', None) => quote = Some(sign),
            (_, Some(open)) if sign == open => quote = None,
            (' ', None) if at > 0 => found.push((column, at)),
            _ => (),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_command_is_the_command() {
        let command = "waterpark actor history 'patient/1001 of FL,facility=HOSPX' --at 127.0.0.1:7064 --key-file /tmp/demo/cluster.key";
        for width in 10..140 {
            let rows = wrapped(command, width);
            let joined = rows.join("\n").replace(" \\\n", " ");
            assert_eq!(joined, command);
            // Only what has no place to cut is longer than the row.
            assert!(
                rows.iter()
                    .all(|row| row.chars().count() <= width || spaces(row.trim_end_matches(" \\")).is_empty()),
                "{width}: {rows:?}"
            );
        }
    }

    #[test]
    fn quotes_are_never_cut() {
        assert_eq!(
            wrapped("printf 'a b c d e f g' | nc", 12),
            ["printf \\", "'a b c d e f g' \\", "| nc"]
        );
    }

    #[test]
    fn every_sentence_fits_an_ordinary_terminal() {
        let sentences = HELP
            .iter()
            .map(|help| help.long)
            .chain(FIGURES.iter().map(|(_, text)| *text));
        for sentence in sentences {
            assert!(17 + sentence.chars().count() <= 80, "{sentence}");
        }
    }

    #[test]
    fn a_short_command_is_left_alone() {
        assert_eq!(wrapped("ls", 2), ["ls"]);
        assert_eq!(wrapped("", 0), [""]);
    }
}
