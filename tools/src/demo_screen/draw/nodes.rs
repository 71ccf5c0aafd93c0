//! The nodes: one column per data centre with a row for each node, or, where there is no room, one row per data centre with a sign for each.

use ratatui::text::{Line, Span};

use super::part::Part;
use crate::demo_screen::figures::{bytes, count, fit, short, short_bytes};
use crate::demo_screen::theme::Role;
use crate::demo_screen::view::{DataCentreView, DemoView, LogState, NodeState, NodeView};

/// One figure of a node: its title, its width with the space before it, and its text.
struct Figure {
    title: &'static str,
    width: usize,
    text: fn(&NodeView) -> String,
}

/// The most telling first: a narrow column shows the first two.
const FIGURES: [Figure; 5] = [
    Figure {
        title: "in/s",
        width: 5,
        text: |node| short(node.messages_per_s),
    },
    Figure {
        title: "ack/s",
        width: 6,
        text: |node| short(node.acks_per_s),
    },
    Figure {
        title: "held",
        width: 5,
        text: |node| short(node.entries),
    },
    Figure {
        title: "log",
        width: 5,
        text: |node| short_bytes(node.log_bytes),
    },
    Figure {
        title: "actors",
        width: 7,
        text: |node| short(node.actors),
    },
];

/// The cursor's mark, and the node's sign with a space before it.
const MARKS: usize = 3;

fn name_width(view: &DemoView) -> usize {
    view.nodes().map(|node| node.name.chars().count()).max().unwrap_or(0)
}

/// Whether each data centre has a column with at least two figures.
pub(super) fn table_fits(view: &DemoView, width: u16) -> bool {
    let column = usize::from(width) / view.data_centres.len().max(1);
    !view.data_centres.is_empty() && column >= MARKS + name_width(view) + FIGURES[0].width + FIGURES[1].width - 1
}

/// Rows of the table: its titles, and as many as the largest data centre has nodes.
pub(super) fn table_rows(view: &DemoView) -> u16 {
    let rows = view
        .data_centres
        .iter()
        .map(|there| there.nodes().count())
        .max()
        .unwrap_or(0);
    u16::try_from(rows + 1).unwrap_or(u16::MAX / 4).min(u16::MAX / 4)
}

pub(super) fn draw(part: &mut Part<'_>, view: &DemoView) {
    let columns = u16::try_from(view.data_centres.len()).unwrap_or(u16::MAX).max(1);
    if !table_fits(view, part.width()) || part.height() < 4 {
        rows(part, view);
        return;
    }
    let width = part.width() / columns;
    let names = name_width(view);
    for (place, there) in (0..columns).zip(&view.data_centres) {
        let selected = |node: usize| view.is_selected(usize::from(place), node);
        let height = part.height();
        let mut column = part.within(place * width, 0, width, height);
        if column.is_framed() {
            let up = there.nodes().filter(|node| node.log == LogState::Up).count();
            let nodes = there.nodes().count();
            let mut inside = column.tight_panel(&there.name, &format!("{up} of {nodes} up"));
            table(&mut inside, there, names, &selected, "");
        } else {
            table(&mut column, there, names, &selected, &there.name);
        }
    }
}

/// One data centre: titles, then a row per node. A spare row goes between its zones.
fn table(part: &mut Part<'_>, there: &DataCentreView, names: usize, selected: &dyn Fn(usize) -> bool, title: &str) {
    let room = usize::from(part.width());
    let mut used = MARKS + names;
    let figures: Vec<&Figure> = FIGURES
        .iter()
        .take_while(|figure| {
            used += figure.width;
            used <= room
        })
        .collect();
    let mut titles = vec![part.span(format!(" {title:<0$}", MARKS + names - 1), Role::Title)];
    titles.extend(
        figures
            .iter()
            .map(|figure| part.span(format!("{:>1$}", figure.title, figure.width), Role::Label)),
    );
    part.line(0, &Line::from(titles));

    let nodes = there.nodes().count();
    let parted = usize::from(part.height()) >= 1 + nodes + there.zones.len().saturating_sub(1);
    let mut row: u16 = 1;
    let mut place = 0;
    for (zone_place, zone) in there.zones.iter().enumerate() {
        if parted && zone_place > 0 {
            let rule = "╌"
                .repeat((MARKS + names + figures.iter().map(|figure| figure.width).sum::<usize>()).saturating_sub(1));
            let rule = part.span(rule, Role::Label);
            part.line_at(1, row, &Line::from(rule));
            row += 1;
        }
        for node in &zone.nodes {
            // The last row tells how many are left out, if not all have room.
            if row + 1 == part.height() && nodes - place > 1 {
                let left_out = part.span(format!(" and {} more", nodes - place), Role::Label);
                part.line(row, &Line::from(left_out));
                return;
            }
            let line = node_line(part, node, names, &figures, selected(place));
            part.line(row, &line);
            row = row.saturating_add(1);
            place += 1;
        }
    }
}

fn node_line(part: &Part<'_>, node: &NodeView, names: usize, figures: &[&Figure], selected: bool) -> Line<'static> {
    let state = role_of(node.state);
    let name = fit(&node.name, names);
    let name_role = if selected { Role::Selected } else { Role::Text };
    let mut spans = vec![
        Span::raw(if selected { "›" } else { " " }),
        part.span(format!("{name:<names$}"), name_role),
        part.span(format!(" {}", node.state.sign()), state),
    ];
    if node.state == NodeState::Up && matches!(node.log, LogState::Up | LogState::Unknown) {
        spans.extend(
            figures
                .iter()
                .map(|figure| Span::raw(format!("{:>1$}", (figure.text)(node), figure.width))),
        );
        return Line::from(spans);
    }
    // Rates of a node that does not serve say less than the word for it; what it holds still counts.
    let word = match node.state {
        NodeState::Up => node.log.word().to_owned(),
        done => format!("{}{}", done.word(), node.log.mark()),
    };
    spans.push(part.span(format!(" {word:<10}"), state));
    spans.extend(
        figures
            .iter()
            .skip(2)
            .map(|figure| Span::raw(format!("{:>1$}", (figure.text)(node), figure.width))),
    );
    Line::from(spans)
}

fn role_of(state: NodeState) -> Role {
    match state {
        NodeState::Up => Role::Good,
        NodeState::Starting | NodeState::Paused | NodeState::Cut | NodeState::Draining => Role::Warning,
        NodeState::Killed => Role::Bad,
    }
}

/// One row per data centre: a sign per node, zones apart, then its acks.
fn rows(part: &mut Part<'_>, view: &DemoView) {
    let names = view
        .data_centres
        .iter()
        .map(|there| there.name.chars().count())
        .max()
        .unwrap_or(0);
    for (row, there) in (0..part.height()).zip(&view.data_centres) {
        let mut spans = vec![part.span(format!("{:<names$}", there.name), Role::Title)];
        let mut place = 0;
        for zone in &there.zones {
            spans.push(Span::raw(" "));
            for node in &zone.nodes {
                let selected = view.is_selected(usize::from(row), place);
                let style = part.style(role_of(node.state));
                let style = if selected {
                    style.patch(part.style(Role::Selected))
                } else {
                    style
                };
                spans.push(Span::styled(node.state.sign().to_string(), style));
                place += 1;
            }
        }
        let up = there.nodes().filter(|node| node.log == LogState::Up).count();
        let acks = there
            .nodes()
            .fold(0_u64, |sum, node| sum.saturating_add(node.acks_per_s));
        spans.push(Span::raw(format!(
            " {:>2}/{} up {:>5} ack/s",
            up,
            there.nodes().count(),
            short(acks)
        )));
        part.line(row, &Line::from(spans));
    }
}

/// What is selected, in a sentence.
pub(super) fn detail(part: &mut Part<'_>, view: &DemoView) {
    if view.cursor.whole {
        return whole(part, view);
    }
    let Some(node) = view.selected() else { return };
    let log = match node.log {
        LogState::Down | LogState::Draining => format!("({} by the log) ", node.log.word()),
        LogState::Up | LogState::Unknown => String::new(),
    };
    let state = part.span(
        format!(" {} {} {log}", node.state.sign(), node.state.word()),
        role_of(node.state),
    );
    let name = part.span(node.name.clone(), Role::Selected);
    let long = format!(
        "  {} messages/s in   {} acks/s   {} entries held, {} of log   {} actors written",
        count(node.messages_per_s),
        count(node.acks_per_s),
        count(node.entries),
        bytes(node.log_bytes),
        count(node.actors)
    );
    let middle = format!(
        " holds {} entries ({})  writes {} actors",
        count(node.entries),
        bytes(node.log_bytes),
        count(node.actors)
    );
    let least = format!(" {} entries, {}", short(node.entries), short_bytes(node.log_bytes));
    let line = |text: String| Line::from(vec![Span::raw("›"), name.clone(), state.clone(), Span::raw(text)]);
    part.first_that_fits(0, vec![line(long), line(middle), line(least)]);
}

/// The selected data centre.
fn whole(part: &mut Part<'_>, view: &DemoView) {
    let Some(there) = view.data_centres.get(view.cursor.data_centre) else {
        return;
    };
    let up = there.nodes().filter(|node| node.log == LogState::Up).count();
    let (nodes, entries) = (
        there.nodes().count(),
        there.nodes().fold(0_u64, |sum, node| sum.saturating_add(node.entries)),
    );
    let name = part.span(format!("›all of {} ", there.name), Role::Selected);
    let long = format!(
        " {nodes} nodes, {up} up   {} entries held   w chooses a node again",
        count(entries)
    );
    let least = format!(" {up} of {nodes} up");
    let line = |text: String| Line::from(vec![name.clone(), Span::raw(text)]);
    part.first_that_fits(0, vec![line(long), line(least)]);
}
