//! The last rows: what happened, lines for another shell, keys.

use ratatui::text::{Line, Span};

use super::part::Part;
use crate::demo_screen::figures::{clock, fit};
use crate::demo_screen::keys::{HELP, KeyHelp};
use crate::demo_screen::theme::Role;
use crate::demo_screen::view::{DemoView, EventLine, Weight};

/// The last events, the newest at the bottom.
pub(super) fn events(part: &mut Part<'_>, view: &DemoView) {
    let framed = part.is_framed();
    let mut inside = if framed || part.height() > 3 {
        part.panel("events", "")
    } else {
        part.below(0)
    };
    let rows = usize::from(inside.height());
    if view.events.is_empty() {
        let none = inside.span("nothing happened yet", Role::Label);
        inside.line(0, &Line::from(none));
    }
    let from = view.events.len().saturating_sub(rows);
    for (row, event) in (0..).zip(&view.events[from..]) {
        let line = event_line(&inside, event);
        inside.line(row, &line);
    }
}

fn event_line(part: &Part<'_>, event: &EventLine) -> Line<'static> {
    let role = match event.weight {
        Weight::Good => Role::Good,
        Weight::Note => Role::Text,
        Weight::Warning => Role::Warning,
    };
    let width = usize::from(part.width()).saturating_sub(10);
    Line::from(vec![
        part.span(format!("{:>7} ", clock(event.at)), Role::Label),
        part.span(format!("{} ", event.weight.sign()), role),
        Span::raw(fit(&event.text, width)),
    ])
}

/// Commands for another shell: what each is for, then the command alone in its row, so that one can mark and paste it. With one row there is
/// room for the first command if it fits whole, and for where to find it if it does not.
pub(super) fn commands(part: &mut Part<'_>, view: &DemoView) {
    if view.commands.is_empty() {
        return;
    }
    if part.height() < 3 {
        for (row, command) in (0..part.height()).zip(&view.commands) {
            let purpose = part.span(format!("{}: ", command.purpose), Role::Label);
            let whole = Line::from(vec![purpose.clone(), Span::raw(command.command.clone())]);
            let elsewhere = Line::from(vec![purpose, part.span("? shows the command", Role::Text)]);
            part.first_that_fits(row, vec![whole, Line::from(command.command.clone()), elsewhere]);
        }
        return;
    }
    let title = part.span(" in another shell", Role::Title);
    part.line(0, &Line::from(title));
    let mut row = 1;
    for command in &view.commands {
        let both =
            u16::try_from(command.purpose.chars().count() + command.command.chars().count() + 6).unwrap_or(u16::MAX);
        let (purpose, text) = (
            part.span(format!(" {}", command.purpose), Role::Label),
            Span::raw(format!(" {}", command.command)),
        );
        // Half a command is worse than none.
        if row >= part.height() {
            return;
        }
        if both <= part.width() && view.commands.len() > usize::from(part.height() - 1) / 2 {
            part.line(row, &Line::from(vec![purpose, Span::raw("   "), text]));
            row += 1;
        } else if row + 1 < part.height() && text.width() <= usize::from(part.width()) {
            part.line(row, &Line::from(purpose));
            part.line(row + 1, &Line::from(text));
            row += 2;
        } else {
            part.line(row, &Line::from(vec![purpose, Span::raw(": ? shows the command")]));
            row += 1;
        }
    }
}

/// All keys, closer to each other where there is little room: they stand out in reverse, so that no space has to part them from their words.
/// As many as there is room for where there is less.
pub(super) fn keys(part: &mut Part<'_>, _view: &DemoView) {
    let wide: usize = HELP.iter().map(|help| key_width(help) + 4).sum();
    let is_wide = wide < usize::from(part.width());
    let mut spans = Vec::new();
    let mut used = 0;
    for help in HELP {
        used += key_width(&help) + if is_wide { 4 } else { 0 };
        // Behind the last word nothing has to be free.
        if used > usize::from(part.width()) + 1 {
            break;
        }
        let (key, word) = if is_wide {
            (format!(" {} ", help.keys), format!(" {}  ", help.short))
        } else {
            (help.keys.to_owned(), format!("{} ", help.short))
        };
        spans.push(part.span(key, Role::Selected));
        spans.push(Span::raw(word));
    }
    if spans.is_empty() {
        spans = vec![Span::raw("q quit")];
    }
    part.line(0, &Line::from(spans));
}

/// Columns of a key and its word where they stand closest, with a space behind them.
fn key_width(help: &KeyHelp) -> usize {
    help.keys.chars().count() + help.short.chars().count() + 1
}
