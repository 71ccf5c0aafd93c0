//! Draws a [`DemoView`] into a picture of any size.
//!
//! Here is only which part goes where; each part draws itself, within the area that it is given, and leaves out what has no room.
//! **Invariant:** a part writes nothing outside its area, so none can fail at any size.

pub(crate) mod bars;
mod failure;
mod foot;
mod head;
mod help;
pub(crate) mod layout;
mod links;
mod nodes;
mod part;
mod rates;
mod spectrum;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use self::layout::Layout;
use self::part::Part;
use super::theme::Theme;
use super::view::DemoView;

/// Draws into the whole frame.
pub(crate) fn draw(frame: &mut Frame<'_>, view: &DemoView, theme: Theme) {
    let area = frame.area();
    draw_into(frame.buffer_mut(), area, view, theme);
}

/// Draws into an area of a buffer; what of the area lies outside is left out.
pub(crate) fn draw_into(buffer: &mut Buffer, area: Rect, view: &DemoView, theme: Theme) {
    let area = area.intersection(buffer.area);
    if view.help {
        help::draw(&mut Part::new(buffer, area, theme), view);
        return;
    }
    let layout = Layout::of(area, view);
    let mut part = |area: Rect, draw: fn(&mut Part<'_>, &DemoView)| {
        if !area.is_empty() {
            draw(&mut Part::new(buffer, area, theme).framed(layout.framed), view);
        }
    };
    part(layout.title, head::title);
    part(layout.totals, head::totals);
    part(layout.nodes, nodes::draw);
    part(layout.detail, nodes::detail);
    part(layout.failure, failure::draw);
    part(layout.latency, spectrum::draw);
    part(layout.acks, rates::acks);
    part(layout.copies, rates::copies);
    part(layout.memory, rates::memory);
    part(layout.links, links::draw);
    part(layout.events, foot::events);
    part(layout.commands, foot::commands);
    part(layout.keys, foot::keys);
}

#[cfg(test)]
mod tests;
