//! A part of the picture: an area of the buffer, with the theme, that clips whatever is written to it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Widget};

use crate::demo_screen::figures;
use crate::demo_screen::theme::{Role, Theme};

/// An area to draw in. Rows and columns count from its own corner.
pub(super) struct Part<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    theme: Theme,
    framed: bool,
}

impl<'a> Part<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, area: Rect, theme: Theme) -> Part<'a> {
        let area = area.intersection(buffer.area);
        Part {
            buffer,
            area,
            theme,
            framed: false,
        }
    }

    /// Whether panels have a frame, where there is room, or a rule alone.
    pub(super) fn framed(self, framed: bool) -> Part<'a> {
        Part { framed, ..self }
    }

    pub(super) fn is_framed(&self) -> bool {
        self.framed
    }

    pub(super) fn width(&self) -> u16 {
        self.area.width
    }

    pub(super) fn height(&self) -> u16 {
        self.area.height
    }

    pub(super) fn style(&self, role: Role) -> Style {
        self.theme.style(role)
    }

    pub(super) fn span<'t>(&self, text: impl Into<std::borrow::Cow<'t, str>>, role: Role) -> Span<'t> {
        Span::styled(text, self.style(role))
    }

    /// A part of this part; what of it lies outside is cut off.
    pub(super) fn within(&mut self, x: u16, y: u16, width: u16, height: u16) -> Part<'_> {
        let area = Rect {
            x: self.area.x.saturating_add(x),
            y: self.area.y.saturating_add(y),
            width,
            height,
        };
        // An intersection with nothing in common is empty, but may lie anywhere.
        let area = if area.intersects(self.area) {
            area.intersection(self.area)
        } else {
            Rect::default()
        };
        Part {
            buffer: &mut *self.buffer,
            area,
            theme: self.theme,
            framed: self.framed,
        }
    }

    /// Everything but the first rows.
    pub(super) fn below(&mut self, rows: u16) -> Part<'_> {
        self.within(0, rows, self.area.width, self.area.height.saturating_sub(rows))
    }

    /// Writes a line into a row.
    pub(super) fn line(&mut self, row: u16, line: &Line<'_>) {
        self.line_at(0, row, line);
    }

    /// Writes a line into a row, from a column on.
    pub(super) fn line_at(&mut self, column: u16, row: u16, line: &Line<'_>) {
        let width = self.area.width.saturating_sub(column);
        let area = self.within(column, row, width, 1).area;
        line.render(area, self.buffer);
    }

    /// Writes a line at the right end of a row.
    pub(super) fn line_right(&mut self, row: u16, line: &Line<'_>) {
        let width = u16::try_from(line.width()).unwrap_or(u16::MAX);
        self.line_at(self.area.width.saturating_sub(width), row, line);
    }

    /// Puts one sign into one cell.
    pub(super) fn sign(&mut self, column: u16, row: u16, sign: char, style: Style) {
        if column < self.area.width && row < self.area.height {
            let position = (self.area.x + column, self.area.y + row);
            if let Some(cell) = self.buffer.cell_mut(position) {
                cell.set_char(sign).set_style(style);
            }
        }
    }

    /// Draws the panel around what is to come, and gives the room inside. `right` is a figure or a unit at the end of the title's row.
    pub(super) fn panel(&mut self, title: &str, right: &str) -> Part<'_> {
        self.padded_panel(title, right, 1)
    }

    /// As [`Part::panel`], with nothing between a frame and what is inside.
    pub(super) fn tight_panel(&mut self, title: &str, right: &str) -> Part<'_> {
        self.padded_panel(title, right, 0)
    }

    fn padded_panel(&mut self, title: &str, right: &str, padding: u16) -> Part<'_> {
        let framed = self.framed && self.area.height >= 4 && self.area.width >= 12;
        let width = usize::from(self.area.width);
        let title = figures::fit(title, width.saturating_sub(4));
        let left = title.chars().count() + 4;
        // A title that is cut says more than a figure without one.
        let right = if left + right.chars().count() + 4 <= width {
            right
        } else {
            ""
        };
        let title = self.span(format!(" {title} "), Role::Title);
        let figure = self.span(format!(" {right} "), Role::Figure);
        if framed {
            let rule = self.style(Role::Label);
            let mut block = Block::bordered()
                .border_type(BorderType::Rounded)
                .border_style(rule)
                .title(title);
            if !right.is_empty() {
                block = block.title(Line::from(figure).right_aligned());
            }
            let inner = block.inner(self.area);
            block.render(self.area, self.buffer);
            let (x, y) = (inner.x - self.area.x, inner.y - self.area.y);
            return self.within(x + padding, y, inner.width.saturating_sub(2 * padding), inner.height);
        }
        // The last column stays free: it parts this panel from its neighbour.
        let rule = "─".repeat(width.saturating_sub(1));
        let rule = self.span(rule, Role::Label);
        self.line(0, &Line::from(rule));
        self.line_at(1, 0, &Line::from(title));
        if !right.is_empty() {
            let column = width.saturating_sub(right.chars().count() + 4);
            self.line_at(u16::try_from(column).unwrap_or(0), 0, &Line::from(figure));
        }
        let (width, height) = (self.area.width.saturating_sub(1), self.area.height.saturating_sub(1));
        self.within(0, 1, width, height)
    }

    /// The first of the lines that fits, else the last of them.
    pub(super) fn first_that_fits(&mut self, row: u16, lines: Vec<Line<'_>>) {
        let width = usize::from(self.area.width);
        let fitting = lines.iter().find(|line| line.width() <= width).or(lines.last());
        if let Some(line) = fitting {
            self.line(row, line);
        }
    }
}
