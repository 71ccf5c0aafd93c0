//! Which part of the picture goes where, by the size of the terminal.
//!
//! Three arrangements: **small** (any size: a row per data centre, then as much as fits), **standard** (from 76 x 22: every node by name),
//! **wide** (from 120 x 42: framed panels). Plain arithmetic, so that a part never jumps by a solver's rounding.
//! **Invariant:** parts lie within the area and do not overlap.

use ratatui::layout::Rect;

use super::nodes;
use crate::demo_screen::view::DemoView;

/// Least size of the standard arrangement.
pub(crate) const STANDARD: (u16, u16) = (76, 22);
/// Least size of the wide arrangement.
pub(crate) const WIDE: (u16, u16) = (120, 42);

/// Where each part goes. A part without room has an empty area.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) title: Rect,
    pub(crate) totals: Rect,
    pub(crate) nodes: Rect,
    pub(crate) detail: Rect,
    pub(crate) failure: Rect,
    pub(crate) latency: Rect,
    pub(crate) acks: Rect,
    pub(crate) copies: Rect,
    pub(crate) memory: Rect,
    pub(crate) links: Rect,
    pub(crate) events: Rect,
    pub(crate) commands: Rect,
    pub(crate) keys: Rect,
    /// Whether panels have frames.
    pub(crate) framed: bool,
}

/// What is left of an area while parts are taken off it.
struct Rest(Rect);

impl Rest {
    fn top(&mut self, rows: u16) -> Rect {
        let rows = rows.min(self.0.height);
        let taken = Rect { height: rows, ..self.0 };
        self.0.y += rows;
        self.0.height -= rows;
        taken
    }

    fn bottom(&mut self, rows: u16) -> Rect {
        let rows = rows.min(self.0.height);
        self.0.height -= rows;
        Rect {
            y: self.0.y + self.0.height,
            height: rows,
            ..self.0
        }
    }

    fn right(&mut self, columns: u16) -> Rect {
        let columns = columns.min(self.0.width);
        self.0.width -= columns;
        Rect {
            x: self.0.x + self.0.width,
            width: columns,
            ..self.0
        }
    }
}

impl Layout {
    /// The arrangement for an area.
    #[must_use]
    pub(crate) fn of(area: Rect, view: &DemoView) -> Layout {
        let at_least = |(width, height): (u16, u16)| area.width >= width && area.height >= height;
        // Names and figures of the nodes decide, not the terminal alone: a demo of other names may need more.
        let tabled = nodes::table_fits(view, area.width);
        if at_least(WIDE) && tabled {
            Layout::wide(area, view)
        } else if at_least(STANDARD) && tabled {
            Layout::standard(area, view)
        } else {
            Layout::small(area, view)
        }
    }

    fn wide(area: Rect, view: &DemoView) -> Layout {
        let mut rest = Rest(area);
        let title = rest.top(1);
        let totals = rest.top(2);
        let spare = area.height - WIDE.1;
        let nodes = rest.top((nodes::table_rows(view) + 2 + u16::from(spare > 0)).min(area.height / 2));
        let detail = rest.top(1);
        let failure = rest.top(1);
        let keys = rest.bottom(1);
        // A title, then two rows for each command: what it is for, and the command alone, so that it can be marked whole.
        let commands = rest.bottom((1 + rows(view.commands.len()) * 2).min(3 + spare / 4 * 2));
        let right = area.width * 3 / 8;
        let mut side = Rest(rest.right(right));
        let links = side.bottom((rows(view.data_centres.len()) + 4).min(8));
        let memory = side.bottom(4);
        let copies = side.bottom(6);
        let acks = side.0;
        let events = rest.bottom(5 + (spare / 4).min(6));
        let latency = rest.0;
        Layout {
            title,
            totals,
            nodes,
            detail,
            failure,
            latency,
            acks,
            copies,
            memory,
            links,
            events,
            commands,
            keys,
            framed: true,
        }
    }

    fn standard(area: Rect, view: &DemoView) -> Layout {
        let mut rest = Rest(area);
        let title = rest.top(1);
        let totals = rest.top(1);
        let spare = area.height - STANDARD.1;
        let nodes = rest.top((nodes::table_rows(view) + u16::from(spare > 6)).min(area.height / 2));
        let detail = rest.top(1);
        let failure = rest.top(1);
        let keys = rest.bottom(1);
        let commands = rest.bottom(if spare < 2 { 0 } else { 1 + spare / 6 });
        let events = rest.bottom(2 + (spare / 5).min(6));
        let (links, side) = (rest.right(area.width / 4), rest.right(area.width / 4));
        let mut side = Rest(side);
        let memory = side.bottom(2);
        let copies = side.bottom(3);
        let acks = side.0;
        let latency = rest.0;
        Layout {
            title,
            totals,
            nodes,
            detail,
            failure,
            latency,
            acks,
            copies,
            memory,
            links,
            events,
            commands,
            keys,
            framed: false,
        }
    }

    fn small(area: Rect, view: &DemoView) -> Layout {
        let mut rest = Rest(area);
        let title = rest.top(1);
        let totals = rest.top(if area.width < 64 { 2 } else { 1 });
        // Keys are what one needs to leave; below three rows Ctrl-C has to be known.
        let keys = rest.bottom(u16::from(area.height > 3));
        let nodes = rest.top(rows(view.data_centres.len()));
        let failure = rest.top(u16::from(area.height >= 12));
        let latency_rows = rest
            .0
            .height
            .min(if rest.0.height >= 9 { rest.0.height * 2 / 3 } else { 3 });
        let latency = rest.top(latency_rows);
        let events = rest.0;
        Layout {
            title,
            totals,
            nodes,
            failure,
            latency,
            events,
            keys,
            ..Layout::default()
        }
    }

    /// All areas.
    #[cfg(test)]
    pub(crate) fn areas(&self) -> [Rect; 13] {
        [
            self.title,
            self.totals,
            self.nodes,
            self.detail,
            self.failure,
            self.latency,
            self.acks,
            self.copies,
            self.memory,
            self.links,
            self.events,
            self.commands,
            self.keys,
        ]
    }
}

fn rows(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX / 4).min(u16::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo_screen::sample;

    #[test]
    fn parts_lie_within_the_area_and_do_not_overlap() {
        for view in [sample::calm(), sample::empty()] {
            for width in 1..=200 {
                for height in 1..=70 {
                    let area = Rect::new(3, 5, width, height);
                    let areas = Layout::of(area, &view).areas();
                    for (place, one) in areas.iter().enumerate().filter(|(_, area)| !area.is_empty()) {
                        assert_eq!(one.intersection(area), *one, "part {place} at {width}x{height}");
                        for other in areas[place + 1..].iter().filter(|area| !area.is_empty()) {
                            assert!(!one.intersects(*other), "{one:?} and {other:?} at {width}x{height}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_ordinary_terminal_has_room_for_every_part() {
        for (width, height) in [(80, 24), (100, 30), (120, 41), WIDE, (160, 50), (300, 42)] {
            let layout = Layout::of(Rect::new(0, 0, width, height), &sample::calm());
            assert!(
                layout.areas().iter().all(|area| !area.is_empty()),
                "{width}x{height}: {layout:?}"
            );
        }
    }
}
