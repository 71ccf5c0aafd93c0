//! A picture of the screen as SVG, for pages: the cells of a buffer, each in its place whatever font the viewer has.
//!
//! Blocks, rules and the signs of nodes are drawn as shapes, since fonts differ in them and leave seams; other text is set cell by cell to a
//! fixed advance. No font, script or address is embedded. **Invariant:** the same buffer gives the same bytes.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::theme::rgb_of_index;

/// Width of a cell, in units of the picture.
const CELL_WIDTH: f64 = 8.4;
/// Height of a cell.
const CELL_HEIGHT: f64 = 18.0;
/// The text's line above the bottom of its cell.
const DESCENT: f64 = 4.6;
/// Around the cells.
const MARGIN: f64 = 14.0;

/// What is behind text that has no background of its own.
const PAPER: [u8; 3] = [16, 20, 26];
/// Text that has no colour of its own.
const INK: [u8; 3] = [222, 226, 232];

/// How one cell looks.
#[derive(Clone, Copy, PartialEq)]
struct Look {
    ink: [u8; 3],
    paper: [u8; 3],
    bold: bool,
}

/// The buffer as an SVG document; `title` is what it is called for those who do not see it.
#[must_use]
pub(crate) fn svg(buffer: &Buffer, title: &str) -> String {
    let area = buffer.area;
    let width = f64::from(area.width) * CELL_WIDTH + 2.0 * MARGIN;
    let height = f64::from(area.height) * CELL_HEIGHT + 2.0 * MARGIN;
    let mut text = String::new();
    put(
        &mut text,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" width=\"{width:.0}\" height=\"{height:.0}\" \
             role=\"img\">\n<title>{}</title>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{}\"/>\n\
             <g font-family=\"ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace\" font-size=\"14\">\n",
            escaped(title),
            hex(PAPER)
        ),
    );
    for row in 0..area.height {
        let looks: Vec<(Look, char)> = (0..area.width)
            .filter_map(|column| buffer.cell((area.x + column, area.y + row)))
            .map(|cell| (look(cell), cell.symbol().chars().next().unwrap_or(' ')))
            .collect();
        papers(&mut text, row, &looks);
        shapes(&mut text, row, &looks);
        words(&mut text, row, &looks);
    }
    text.push_str("</g>\n</svg>\n");
    text
}

/// Writing into a `String` cannot fail.
pub(crate) fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes whatever is written");
}

fn look(cell: &Cell) -> Look {
    let (mut ink, mut paper) = (rgb(cell.fg).unwrap_or(INK), rgb(cell.bg).unwrap_or(PAPER));
    if cell.modifier.contains(Modifier::REVERSED) {
        (ink, paper) = (paper, ink);
    }
    if cell.modifier.contains(Modifier::DIM) {
        ink = [0, 1, 2].map(|channel| mixed(ink[channel], paper[channel]));
    }
    Look {
        ink,
        paper,
        bold: cell.modifier.contains(Modifier::BOLD),
    }
}

/// Dimmed text: three fifths of its colour.
fn mixed(ink: u8, paper: u8) -> u8 {
    let mixed = (u16::from(ink) * 3 + u16::from(paper) * 2) / 5;
    u8::try_from(mixed).expect("a mean of two bytes is a byte")
}

/// A colour in red, green and blue; `None` for the terminal's own.
fn rgb(color: Color) -> Option<[u8; 3]> {
    let index = match color {
        Color::Reset => return None,
        Color::Rgb(red, green, blue) => return Some([red, green, blue]),
        Color::Indexed(index) => index,
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
    };
    Some(rgb_of_index(index))
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A text between tags.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn left(column: usize) -> f64 {
    // A terminal has at most 65,535 columns.
    f64::from(u16::try_from(column).unwrap_or(u16::MAX)) * CELL_WIDTH + MARGIN
}

fn top(row: u16) -> f64 {
    f64::from(row) * CELL_HEIGHT + MARGIN
}

/// Runs of neighbours for which `same` gives the same, but for those of which it gives nothing.
fn runs<T: PartialEq>(looks: &[(Look, char)], same: impl Fn(&(Look, char)) -> Option<T>) -> Vec<(usize, usize, T)> {
    let mut found: Vec<(usize, usize, T)> = Vec::new();
    for (column, cell) in looks.iter().enumerate() {
        let Some(what) = same(cell) else { continue };
        match found.last_mut() {
            Some((_, to, last)) if *to == column && *last == what => *to += 1,
            _ => found.push((column, column + 1, what)),
        }
    }
    found
}

/// What lies behind the text where it is not the ground.
fn papers(text: &mut String, row: u16, looks: &[(Look, char)]) {
    for (from, to, paper) in runs(looks, |(look, _)| (look.paper != PAPER).then_some(look.paper)) {
        rect(
            text,
            (left(from), top(row)),
            (left(to) - left(from), CELL_HEIGHT),
            paper,
        );
    }
}

fn rect(text: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), color: [u8; 3]) {
    put(
        text,
        format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\"/>\n",
            hex(color)
        ),
    );
}

/// How many eighths of its cell a block fills from below.
fn eighths_of(sign: char) -> Option<u8> {
    super::draw::bars::EIGHTHS[1..]
        .iter()
        .position(|block| *block == sign)
        .and_then(|place| u8::try_from(place + 1).ok())
}

/// Which sides of its cell a rule reaches: left, right, up, down; and whether it is round.
fn rule_of(sign: char) -> Option<[bool; 4]> {
    Some(match sign {
        '─' | '━' | '╌' => [true, true, false, false],
        '│' => [false, false, true, true],
        '╭' => [false, true, false, true],
        '╮' => [true, false, false, true],
        '╰' => [false, true, true, false],
        '╯' => [true, false, true, false],
        _ => return None,
    })
}

/// Whether a sign is drawn rather than set.
fn is_shape(sign: char) -> bool {
    eighths_of(sign).is_some() || rule_of(sign).is_some() || matches!(sign, '●' | '○' | '◆' | '◇' | '▲')
}

fn shapes(text: &mut String, row: u16, looks: &[(Look, char)]) {
    for (from, to, (eighths, ink)) in runs(looks, |(look, sign)| {
        eighths_of(*sign).map(|eighths| (eighths, look.ink))
    }) {
        let height = CELL_HEIGHT * f64::from(eighths) / 8.0;
        rect(
            text,
            (left(from), top(row) + CELL_HEIGHT - height),
            (left(to) - left(from), height),
            ink,
        );
    }
    let middle = top(row) + CELL_HEIGHT / 2.0;
    for (from, to, (sign, ink)) in runs(looks, |(look, sign)| {
        matches!(sign, '─' | '━' | '╌').then_some((*sign, look.ink))
    }) {
        let more = match sign {
            '╌' => " stroke-dasharray=\"2.8 2.8\"",
            '━' => " stroke-width=\"4\"",
            _ => "",
        };
        put(
            text,
            format_args!(
                "<path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"{}\"{more}/>\n",
                left(from),
                left(to),
                hex(ink)
            ),
        );
    }
    for (column, (look, sign)) in looks.iter().enumerate() {
        let (x, ink) = (left(column) + CELL_WIDTH / 2.0, hex(look.ink));
        match sign {
            '●' => put(
                text,
                format_args!("<circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"3.6\" fill=\"{ink}\"/>\n"),
            ),
            '○' => put(
                text,
                format_args!("<circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"3.2\" fill=\"none\" stroke=\"{ink}\"/>\n"),
            ),
            '◆' | '◇' => {
                let fill = if *sign == '◆' { ink.as_str() } else { "none" };
                put(
                    text,
                    format_args!(
                        "<path d=\"M{x:.1} {:.1}l4 5l-4 5l-4 -5z\" fill=\"{fill}\" stroke=\"{ink}\"/>\n",
                        middle - 5.0
                    ),
                );
            }
            '▲' => put(
                text,
                format_args!("<path d=\"M{x:.1} {:.1}l4 8h-8z\" fill=\"{ink}\"/>\n", middle - 4.0),
            ),
            '─' | '━' | '╌' => (),
            _ => {
                if let Some(sides) = rule_of(*sign) {
                    corner(text, (x, middle), sides, &ink);
                }
            }
        }
    }
}

/// A rule that goes up or down, round where it turns.
fn corner(text: &mut String, (x, y): (f64, f64), [to_left, to_right, up, down]: [bool; 4], ink: &str) {
    let (half_width, half_height) = (CELL_WIDTH / 2.0, CELL_HEIGHT / 2.0);
    if up && down {
        put(
            text,
            format_args!(
                "<path d=\"M{x:.1} {:.1}v{CELL_HEIGHT:.1}\" stroke=\"{ink}\"/>\n",
                y - half_height
            ),
        );
        return;
    }
    let side = if to_right { x + half_width } else { x - half_width };
    let end = if down { y + half_height } else { y - half_height };
    debug_assert!(to_left != to_right, "a corner turns to one side");
    put(
        text,
        format_args!("<path d=\"M{side:.1} {y:.1}Q{x:.1} {y:.1} {x:.1} {end:.1}\" fill=\"none\" stroke=\"{ink}\"/>\n"),
    );
}

/// Words of one look, each held to the width of its cells.
fn words(text: &mut String, row: u16, looks: &[(Look, char)]) {
    let y = top(row) + CELL_HEIGHT - DESCENT;
    let set = |(look, sign): &(Look, char)| (*sign != ' ' && !is_shape(*sign)).then_some((look.ink, look.bold));
    for (from, to, (ink, bold)) in runs(looks, set) {
        let word: String = looks[from..to].iter().map(|(_, sign)| *sign).collect();
        let weight = if bold { " font-weight=\"bold\"" } else { "" };
        put(
            text,
            format_args!(
                "<text x=\"{:.1}\" y=\"{y:.1}\" textLength=\"{:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\"{weight}>{}</text>\n",
                left(from),
                left(to) - left(from),
                hex(ink),
                escaped(&word)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;
    use crate::demo_screen::draw::draw_into;
    use crate::demo_screen::sample;
    use crate::demo_screen::theme::Theme;

    fn picture(width: u16, height: u16) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        draw_into(
            &mut buffer,
            Rect::new(0, 0, width, height),
            &sample::troubled(),
            Theme::new(crate::demo_screen::theme::Depth::Many),
        );
        svg(&buffer, "waterpark demo")
    }

    #[test]
    fn every_element_is_closed_and_every_sign_escaped() {
        for (width, height) in [(1, 1), (80, 24), (160, 50)] {
            let text = picture(width, height);
            let opened = text.matches('<').count();
            assert_eq!(opened, text.matches('>').count());
            assert_eq!(text.matches("<text").count(), text.matches("</text>").count());
            assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
            assert!(
                !text
                    .replace("&amp;", "")
                    .replace("&lt;", "")
                    .replace("&gt;", "")
                    .contains('&')
            );
        }
    }

    #[test]
    fn the_same_picture_is_the_same_bytes() {
        assert_eq!(picture(160, 50), picture(160, 50));
        assert_ne!(picture(160, 50), picture(80, 24));
    }

    #[test]
    fn names_are_text_that_can_be_searched() {
        let text = picture(80, 24);
        for name in ["FL-A-1", "UT-B-4"] {
            assert!(text.contains(&format!(">{name}</text>")), "{name}");
        }
    }

    #[test]
    fn a_title_with_angles_does_no_harm() {
        let buffer = Buffer::empty(Rect::new(0, 0, 1, 1));
        assert!(svg(&buffer, "<a & b>").contains("<title>&lt;a &amp; b&gt;</title>"));
    }
}
