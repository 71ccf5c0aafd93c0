//! How much flows and how much is held: acks per second over the last minutes, copies, memory.

use ratatui::text::{Line, Span};

use super::bars;
use super::part::Part;
use crate::demo_screen::figures::{bytes, count, percent, short, short_bytes};
use crate::demo_screen::theme::Role;
use crate::demo_screen::view::DemoView;

/// Above this share of its budget, in percent, nothing moves in any more.
const MEMORY_WARNING_PERCENT: u64 = 85;
/// Above this share of its budget, in percent, new data is refused.
const MEMORY_FULL_PERCENT: u64 = 95;

/// One bar per second, the newest at the right.
pub(super) fn acks(part: &mut Part<'_>, view: &DemoView) {
    let mut inside = part.panel("acks/s", &count(view.totals.acks_per_s));
    let seconds = usize::from(inside.width());
    let from = view.acks_history.len().saturating_sub(seconds);
    let shown = &view.acks_history[from..];
    let most = shown.iter().copied().max().unwrap_or(0);
    // The scale is told where there is a row for it.
    let scale = u16::from(inside.height() >= 4);
    if scale == 1 {
        let text = format!("last {} s, at most {}", shown.len(), count(most));
        let text = inside.span(text, Role::Label);
        inside.line(0, &Line::from(text));
    }
    let style = inside.style(Role::Acks);
    let empty = u16::try_from(seconds - shown.len()).unwrap_or(0);
    let (width, height) = (inside.width(), inside.height());
    let mut chart = inside.within(empty, scale, width, height.saturating_sub(scale));
    // A second without an ack keeps its place: an empty column is the news.
    let values: Vec<f64> = shown.iter().map(|acks| as_float(*acks)).collect();
    bars::columns(&mut chart, &values, as_float(most), |_| style);
}

/// Groups by how many of their members hold all that is committed.
pub(super) fn copies(part: &mut Part<'_>, view: &DemoView) {
    let copies = &view.copies;
    let groups = format!("{} groups", count(copies.groups));
    let mut inside = part.panel("copies per group", &groups);
    let role = |value: u64, role: Role| if value == 0 { Role::Text } else { role };
    let rows = [
        ("5", "five members hold all", copies.five, Role::Good),
        ("4", "four do", copies.four, role(copies.four, Role::Warning)),
        ("3", "three do", copies.three, role(copies.three, Role::Warning)),
        (
            "<3",
            "fewer answer: no acks",
            copies.fewer,
            role(copies.fewer, Role::Bad),
        ),
    ];
    if inside.height() >= 4 {
        let full = inside.style(Role::Label);
        for (row, (_, label, value, role)) in (0..).zip(rows) {
            let text = vec![
                inside.span(format!("{label:<21} "), Role::Label),
                inside.span(format!("{:>7} ", count(value)), role),
            ];
            inside.line(row, &Line::from(text));
            let width = inside.width().saturating_sub(31);
            let style = inside.style(role);
            if width >= 8 {
                let mut bar = inside.within(31, row, width, 1);
                bars::lying(&mut bar, 0, as_float(value), as_float(copies.groups), style, full);
            }
        }
        return;
    }
    // Titles, then counts: four columns of at most four digits.
    let mut titles = Vec::new();
    let mut counts: Vec<Span<'_>> = Vec::new();
    for (place, (title, _, value, role)) in rows.into_iter().enumerate() {
        let width = if place == 0 { 4 } else { 5 };
        titles.push(inside.span(format!("{title:>width$}"), Role::Label));
        counts.push(inside.span(format!("{:>width$}", short(value)), role));
    }
    inside.line(0, &Line::from(titles));
    inside.line(1, &Line::from(counts));
}

/// Resident bytes against the budget.
pub(super) fn memory(part: &mut Part<'_>, view: &DemoView) {
    let memory = &view.memory;
    let percent = percent(memory.resident_bytes, memory.budget_bytes);
    let role = match percent {
        MEMORY_FULL_PERCENT.. => Role::Bad,
        MEMORY_WARNING_PERCENT.. => Role::Warning,
        _ => Role::Good,
    };
    let mut inside = part.panel("memory", &format!("{percent} %"));
    let text = format!(
        "{} of {}, logs {}",
        bytes(memory.resident_bytes),
        bytes(memory.budget_bytes),
        bytes(memory.log_bytes)
    );
    let least = format!(
        "{} of {}",
        short_bytes(memory.resident_bytes),
        short_bytes(memory.budget_bytes)
    );
    if inside.height() < 2 {
        inside.first_that_fits(0, vec![Line::from(text), Line::from(least)]);
        return;
    }
    inside.first_that_fits(1, vec![Line::from(text), Line::from(least)]);
    let (full, rest) = (inside.style(role), inside.style(Role::Label));
    bars::lying(
        &mut inside,
        0,
        as_float(memory.resident_bytes),
        as_float(memory.budget_bytes),
        full,
        rest,
    );
}

#[expect(clippy::cast_precision_loss, reason = "the height of a bar")]
fn as_float(value: u64) -> f64 {
    value as f64
}
