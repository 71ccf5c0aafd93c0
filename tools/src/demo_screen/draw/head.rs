//! The first rows: what runs, for how long, on what; and what became of the messages.

use ratatui::text::{Line, Span};

use super::bars;
use super::part::Part;
use crate::demo_screen::figures::{clock, count, short};
use crate::demo_screen::theme::Role;
use crate::demo_screen::view::{DemoView, LogState, Phase};

pub(super) fn title(part: &mut Part<'_>, view: &DemoView) {
    let nodes = view.nodes().count();
    let up = view.nodes_up();
    let time = match view.target {
        Some(target) => format!("{} of {}", clock(view.elapsed), clock(target)),
        None => clock(view.elapsed),
    };
    let phase = match view.phase {
        Phase::Running => Role::Good,
        Phase::Starting | Phase::Draining | Phase::ReadingBack => Role::Warning,
    };
    let banner = part.span(" Waterpark demo ", Role::Banner);
    let phase = part.span(view.phase.words(), phase);
    let up_role = if up == nodes { Role::Good } else { Role::Warning };
    let mut said = format!("{up} of {nodes} nodes up");
    for log in [LogState::Draining, LogState::Down] {
        let count = view.nodes_in(log);
        if count > 0 {
            let comma = if said.ends_with("up") { "; " } else { ", " };
            said.push_str(&format!("{comma}{count} {}", log.word()));
        }
    }
    let nodes_up = part.span(said, up_role);
    let gap = Span::raw("  ");
    let long = vec![
        banner.clone(),
        gap.clone(),
        phase.clone(),
        Span::raw(format!(" {time}")),
        gap.clone(),
        nodes_up.clone(),
        gap.clone(),
        part.span("sockets by ", Role::Label),
        Span::raw(view.driver.clone()),
    ];
    let long = Line::from(long);
    let used = u16::try_from(long.width()).unwrap_or(u16::MAX);
    let middle = vec![
        banner,
        gap.clone(),
        Span::raw(time.clone()),
        gap.clone(),
        nodes_up,
        gap,
        Span::raw(view.driver.clone()),
    ];
    let short = Line::from(format!("{up}/{nodes} up {time}"));
    part.first_that_fits(0, vec![long, Line::from(middle), short]);
    progress(part, used, view);
}

/// How much of the time is over, where the row has room left for it.
fn progress(part: &mut Part<'_>, used: u16, view: &DemoView) {
    let room = part.width().saturating_sub(used).saturating_sub(4);
    let Some(target) = view.target.filter(|target| !target.is_zero() && room >= 12) else {
        return;
    };
    let (full, rest) = (part.style(Role::Title), part.style(Role::Label));
    let mut bar = part.within(used + 3, 0, room.min(60), 1);
    bars::lying(
        &mut bar,
        0,
        view.elapsed.as_secs_f64(),
        target.as_secs_f64(),
        full,
        rest,
    );
}

pub(super) fn totals(part: &mut Part<'_>, view: &DemoView) {
    let totals = &view.totals;
    // What should be nothing is told as such while it is, and stands out when it is not.
    let wrong = |value: u64, role: Role| if value == 0 { Role::Text } else { role };
    let figures = [
        ("sent", totals.sent, Role::Figure),
        ("acked", totals.acked, Role::Figure),
        ("in flight", totals.in_flight, Role::Text),
        ("refused", totals.refused, wrong(totals.refused, Role::Warning)),
        ("unknown", totals.unknown, wrong(totals.unknown, Role::Bad)),
        ("resends", totals.resends, wrong(totals.resends, Role::Warning)),
        ("acks/s", totals.acks_per_s, Role::Acks),
    ];
    if part.is_framed() {
        let width = part.width() / 7;
        for (place, (label, value, role)) in (0..).zip(figures) {
            let (label, value) = (part.span(label, Role::Label), part.span(count(value), role));
            part.line_at(1 + place * width, 0, &Line::from(label));
            part.line_at(1 + place * width, 1, &Line::from(value));
        }
        return;
    }
    let line =
        |part: &Part<'_>, figures: &[(&'static str, u64, Role)], number: fn(u64) -> String, gap: &'static str| {
            let mut spans = Vec::new();
            for (place, (label, value, role)) in figures.iter().enumerate() {
                let gap = if place == 0 { "" } else { gap };
                spans.push(part.span(format!("{gap}{label} "), Role::Label));
                spans.push(part.span(number(*value), *role));
            }
            Line::from(spans)
        };
    if part.height() >= 2 {
        let (first, second) = figures.split_at(3);
        let rows = [(0, first), (1, second)];
        for (row, figures) in rows {
            let lines = vec![line(part, figures, count, "  "), line(part, figures, short, " ")];
            part.first_that_fits(row, lines);
        }
        return;
    }
    let lines = vec![
        line(part, &figures, count, "   "),
        line(part, &figures[..6], count, "  "),
        line(part, &figures[..6], short, "  "),
        line(part, &figures[..6], short, " "),
    ];
    part.first_that_fits(0, lines);
}
