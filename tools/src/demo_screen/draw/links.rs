//! Round trips between the data centres, as a matrix; a slowed one has its mark.

use ratatui::text::{Line, Span};

use super::part::Part;
use crate::demo_screen::figures::{fit, latency};
use crate::demo_screen::theme::Role;
use crate::demo_screen::view::{DemoView, LinkView};

pub(super) fn draw(part: &mut Part<'_>, view: &DemoView) {
    let mut inside = part.panel("round trip, ms", "");
    let names = view
        .data_centres
        .iter()
        .map(|there| there.name.chars().count())
        .max()
        .unwrap_or(0)
        .min(6);
    let columns = view.data_centres.len();
    // Wider where there is room: the matrix should not cling to its corner.
    let room = usize::from(inside.width()).saturating_sub(names + 1);
    let width = (room / columns.max(1)).clamp(4, 9);
    let mut titles = vec![Span::raw(" ".repeat(names + 1))];
    titles.extend(view.data_centres.iter().map(|there| {
        inside.span(
            format!("{:>width$} ", fit(&there.name, 3), width = width - 1),
            Role::Label,
        )
    }));
    inside.line(0, &Line::from(titles));
    let selected = view.links.get(view.cursor.link);
    for (row, there) in view.data_centres.iter().enumerate() {
        let mut spans = vec![inside.span(format!("{:<1$}", fit(&there.name, names), names + 1), Role::Label)];
        for column in 0..columns {
            match view.link(row, column) {
                Some(link) => spans.extend(cell(&inside, link, selected, width)),
                None => spans.push(inside.span(format!("{:>width$} ", "·", width = width - 1), Role::Label)),
            }
        }
        inside.line(u16::try_from(row + 1).unwrap_or(u16::MAX), &Line::from(spans));
    }
    let Some(link) = selected else { return };
    let name = |place: usize| view.data_centres.get(place).map_or("?", |there| there.name.as_str());
    let ends = format!("›{}–{} ", name(link.from), name(link.to));
    let (now, configured) = (latency(link.now_us), latency(link.configured_us));
    let role = if link.is_slowed() { Role::Warning } else { Role::Text };
    let (long, short) = if link.is_slowed() {
        (
            format!("{now}, slowed from {configured}"),
            format!("{} → {} ms", whole_ms(link.configured_us), whole_ms(link.now_us)),
        )
    } else {
        (format!("{now}, s slows it"), now)
    };
    let row = u16::try_from(columns + 1).unwrap_or(u16::MAX);
    let lines = vec![
        Line::from(vec![Span::raw(ends.clone()), inside.span(long, role)]),
        Line::from(vec![Span::raw(ends), inside.span(short, role)]),
    ];
    inside.first_that_fits(row, lines);
}

/// One round trip in whole milliseconds, with a mark if it was slowed.
fn cell(part: &Part<'_>, link: &LinkView, selected: Option<&LinkView>, width: usize) -> [Span<'static>; 3] {
    let ms = whole_ms(link.now_us);
    let text = if ms > 9_999 { "long".to_owned() } else { ms.to_string() };
    let mark = if link.is_slowed() { "!" } else { " " };
    let role = if link.is_slowed() { Role::Warning } else { Role::Text };
    let style = part.style(role);
    let is_selected = selected.is_some_and(|selected| (selected.from, selected.to) == (link.from, link.to));
    let style = if is_selected {
        style.patch(part.style(Role::Selected))
    } else {
        style
    };
    let lead = (width - 1).saturating_sub(text.chars().count());
    [
        Span::raw(" ".repeat(lead)),
        Span::styled(text, style),
        part.span(mark, role),
    ]
}

/// To the nearest millisecond.
fn whole_ms(us: u64) -> u64 {
    us / 1_000 + u64::from(us % 1_000 >= 500)
}
