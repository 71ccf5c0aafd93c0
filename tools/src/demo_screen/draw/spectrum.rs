//! How long acks took: a table of quantiles, and two hills over one axis of logarithms.
//!
//! The hills share their axis and their height, so they can be compared: what enters in the writer's data centre, and what pays one more round
//! trip. What lies beyond the 99th percentile has another colour, and its figure in the table.

use std::ops::Range;

use ratatui::text::{Line, Span};

use super::bars;
use super::part::Part;
use crate::demo_screen::figures::{latency, milliseconds, short};
use crate::demo_screen::latency::{BUCKETS, Latencies, Quantiles, bucket_of};
use crate::demo_screen::theme::Role;
use crate::demo_screen::view::DemoView;

/// Buckets that are shown at least: half a decade. One value alone is a line, not a wall.
const SHOWN_MIN: usize = 20;
/// The axis begins and ends at multiples of this, so that it does not tremble with every ack.
const SNAP: usize = 10;
/// A hill with at least this many rows has its marks below.
const MARKED_ROWS: u16 = 4;

/// What the quantiles are called, in the order of [`figures`].
const QUANTILES: [&str; 4] = ["p50", "p99", "p99.9", "max"];

/// One row of the table and one hill.
struct Side<'a> {
    sign: char,
    label: &'static str,
    recent: &'a Latencies,
    whole: &'a Latencies,
    role: Role,
}

fn sides(view: &DemoView) -> [Side<'_>; 2] {
    let latency = &view.latency;
    [
        Side {
            sign: '◆',
            label: "writer's DC",
            recent: &latency.writers_dc.recent,
            whole: &latency.writers_dc.whole,
            role: Role::Acks,
        },
        Side {
            sign: '◇',
            label: "another DC",
            recent: &latency.other_dc.recent,
            whole: &latency.other_dc.whole,
            role: Role::OtherDc,
        },
    ]
}

pub(super) fn draw(part: &mut Part<'_>, view: &DemoView) {
    let recent_s = view.latency.recent_s;
    let framed = part.is_framed();
    let title = if part.width() >= 60 {
        format!("ack latency by where the message entered, last {recent_s} s")
    } else {
        format!("ack latency, ms, last {recent_s} s")
    };
    let mut inside = part.panel(&title, "");
    let rows = if framed {
        long_table(&mut inside, view)
    } else {
        short_table(&mut inside, view)
    };
    let mut charts = inside.below(rows);
    hills(&mut charts, view);
}

fn figures(quantiles: &Quantiles) -> [u64; 4] {
    [quantiles.p50_us, quantiles.p99_us, quantiles.p999_us, quantiles.max_us]
}

/// Three rows: titles and both sides, in milliseconds.
fn short_table(part: &mut Part<'_>, view: &DemoView) -> u16 {
    let width = usize::from(part.width());
    // Quantiles before names: a narrow terminal shows the signs alone.
    let (label, figure) = if width >= 14 + 4 * 6 {
        (14, (width - 14) / 4)
    } else {
        (2, width.saturating_sub(2) / 4)
    };
    let figure = figure.clamp(4, 9);
    let mut titles = vec![part.span(
        format!("{:<label$}", if label > 2 { "entered in" } else { "" }),
        Role::Label,
    )];
    titles.extend(QUANTILES.map(|title| part.span(format!("{title:>figure$}"), Role::Label)));
    part.line(0, &Line::from(titles));
    for (row, side) in (1..).zip(sides(view)) {
        let quantiles = side.recent.quantiles();
        let name = if label > 2 { side.label } else { "" };
        let mut spans = vec![
            part.span(format!("{} ", side.sign), side.role),
            Span::raw(format!("{name:<0$}", label - 2)),
        ];
        spans.extend(quantile_spans(part, &quantiles, figure));
        part.line(row, &Line::from(spans));
    }
    3
}

fn quantile_spans(part: &Part<'_>, quantiles: &Quantiles, width: usize) -> Vec<Span<'static>> {
    let figure = |us: u64| {
        if quantiles.count == 0 {
            "-".to_owned()
        } else {
            milliseconds(us)
        }
    };
    let roles = [Role::Figure, Role::Figure, Role::Text, Role::Text];
    figures(quantiles)
        .iter()
        .zip(roles)
        .map(|(us, role)| part.span(format!("{:>width$}", figure(*us)), role))
        .collect()
}

/// Both sides and all together, of the last seconds and of the whole run, with units.
fn long_table(part: &mut Part<'_>, view: &DemoView) -> u16 {
    let sides = sides(view);
    let all = Side {
        sign: ' ',
        label: "all",
        recent: &view.latency.all.recent,
        whole: &view.latency.all.whole,
        role: Role::Text,
    };
    let width = usize::from(part.width()).saturating_sub(14);
    // Of the whole run as much as there is room for; the last seconds are what moves.
    let run: &[usize] = if width >= 2 * (8 + 4 * 8) {
        &[4, 0, 1, 2, 3]
    } else {
        &[0, 1]
    };
    let columns = || {
        [4, 0, 1, 2, 3]
            .iter()
            .map(|which| (false, *which))
            .chain(run.iter().map(|which| (true, *which)))
    };
    let figure = (width / columns().count()).clamp(8, 11);
    let recent = format!("{} s", view.latency.recent_s);

    let mut titles = vec![part.span(format!("{:<14}", "entered in"), Role::Label)];
    titles.extend(columns().map(|(of_run, which)| {
        let title = match (of_run, which) {
            (false, 4) => recent.as_str(),
            (true, 4) => "run",
            (true, 0) if run.len() == 2 => "run p50",
            (true, 1) if run.len() == 2 => "run p99",
            _ => QUANTILES[which],
        };
        part.span(format!("{title:>figure$}"), Role::Label)
    }));
    part.line(0, &Line::from(titles));
    for (row, side) in (1..).zip(sides.iter().chain([&all])) {
        let mut spans = vec![
            part.span(format!("{} ", side.sign), side.role),
            Span::raw(format!("{:<12}", side.label)),
        ];
        spans.extend(columns().map(|(of_run, which)| {
            let quantiles = if of_run {
                side.whole.quantiles()
            } else {
                side.recent.quantiles()
            };
            let text = match figures(&quantiles).get(which) {
                None => short(quantiles.count),
                Some(_) if quantiles.count == 0 => "-".to_owned(),
                Some(us) => latency(*us),
            };
            let role = if which < 2 { Role::Figure } else { Role::Text };
            part.span(format!("{text:>figure$}"), role)
        }));
        part.line(row, &Line::from(spans));
    }
    5
}

/// Both hills, one above the other, then the axis.
fn hills(part: &mut Part<'_>, view: &DemoView) {
    let (width, height) = (part.width(), part.height());
    if height < 2 || width < 10 {
        return;
    }
    let sides = sides(view);
    let Some(shown) = shown(&sides) else {
        let none = part.span("no ack yet", Role::Label);
        part.line(height / 2, &Line::from(none));
        return;
    };
    // Two columns at the left belong to the signs.
    let columns = width - 2;
    let hills = sides
        .each_ref()
        .map(|side| bars::resampled(&side.recent.counts()[shown.clone()], columns));
    let most = hills.iter().flatten().copied().fold(0.0, f64::max);
    let rows = height - 1;
    let lower = rows / 2;
    let upper = rows - lower;
    for (side, hill, from, rows) in [(&sides[0], &hills[0], 0, upper), (&sides[1], &hills[1], upper, lower)] {
        // Both or none: hills of one height can be compared.
        let marked = u16::from(lower >= MARKED_ROWS);
        if rows == 0 {
            continue;
        }
        let (style, tail) = (part.style(side.role), part.style(Role::Warning));
        part.sign(0, from + rows - marked - 1, side.sign, style);
        let quantiles = side.recent.quantiles();
        let beyond = column_of(quantiles.p99_us, &shown, columns);
        let mut chart = part.within(2, from, columns, rows - marked);
        bars::columns(&mut chart, hill, most, |column| {
            if column > usize::from(beyond) { tail } else { style }
        });
        if marked == 1 {
            let mut row = part.within(2, from + rows - 1, columns, 1);
            marks(&mut row, &quantiles, &shown);
        }
    }
    let mut row = part.within(2, height - 1, columns, 1);
    axis(&mut row, &shown);
}

/// The buckets that both sides' acks fall in, and a little more.
fn shown(sides: &[Side<'_>; 2]) -> Option<Range<usize>> {
    let extents = sides.iter().filter_map(|side| side.recent.extent());
    let (first, last) = extents.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))?;
    let (mut from, mut to) = (first / SNAP * SNAP, (last / SNAP + 1) * SNAP);
    if to - from < SHOWN_MIN {
        from = from.saturating_sub(SNAP);
        to = (from + SHOWN_MIN + SNAP).max(to);
    }
    Some(from..to.min(BUCKETS))
}

/// The column in which a latency lies.
fn column_of(us: u64, shown: &Range<usize>, columns: u16) -> u16 {
    let bucket = bucket_of(us).clamp(shown.start, shown.end - 1) - shown.start;
    // The middle of the bucket, where columns are finer than buckets.
    let column = (2 * bucket + 1) * usize::from(columns) / (2 * shown.len());
    u16::try_from(column).unwrap_or(0).min(columns.saturating_sub(1))
}

/// A rule under a hill, with the quantiles where they lie; one that would cover another is left to the table.
fn marks(part: &mut Part<'_>, quantiles: &Quantiles, shown: &Range<usize>) {
    let width = part.width();
    let rule = part.style(Role::Label);
    (0..width).for_each(|column| part.sign(column, 0, '─', rule));
    if quantiles.count == 0 {
        return;
    }
    let mut free_from = 0;
    for (us, name) in figures(quantiles).iter().zip(QUANTILES) {
        let column = column_of(*us, shown, width);
        let text = format!("▲{name}");
        let length = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
        if column >= free_from && column + length <= width {
            let text = part.span(text, Role::Text);
            part.line_at(column, 0, &Line::from(text));
            free_from = column + length + 1;
        }
    }
}

/// Round latencies, each where it lies, as many as have room, the roundest first.
fn axis(part: &mut Part<'_>, shown: &Range<usize>) {
    let width = part.width();
    let mut ticks: Vec<(u16, String)> = Vec::new();
    // Powers of ten first: where not all have room, they are what one reads the scale by.
    for steps in [&[1][..], &[2, 5][..], &[3, 7][..], &[4, 6][..]] {
        for step in steps {
            for us in (0..7).map(|power| step * 10_u64.pow(power + 1)) {
                if shown.contains(&bucket_of(us)) {
                    tick(&mut ticks, column_of(us, shown, width), &axis_label(us), width);
                }
            }
        }
    }
    for (column, text) in ticks {
        let text = part.span(text, Role::Label);
        part.line_at(column, 0, &Line::from(text));
    }
}

/// Puts a tick beside those that are there, unless it would touch one.
fn tick(ticks: &mut Vec<(u16, String)>, at: u16, label: &str, width: u16) {
    let length = u16::try_from(label.chars().count()).unwrap_or(u16::MAX);
    let from = at.saturating_sub(length / 2).min(width.saturating_sub(length));
    let touches = |(other, text): &(u16, String)| {
        let other_length = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
        from <= other.saturating_add(other_length) && *other <= from + length
    };
    if length <= width && !ticks.iter().any(touches) {
        ticks.push((from, label.to_owned()));
    }
}

fn axis_label(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::demo_screen::latency::bucket_from_us;

    #[test]
    fn a_latency_lies_in_the_column_of_its_bucket() {
        let shown = 120..160;
        assert_eq!(column_of(1, &shown, 80), 1);
        assert_eq!(column_of(u64::MAX, &shown, 80), 79);
        let middle = column_of(bucket_from_us(140), &shown, 80);
        assert!((40..=41).contains(&middle), "{middle}");
        for us in [0, 10_000, 17_000, u64::MAX] {
            assert_eq!(column_of(us, &shown, 1), 0);
        }
    }

    #[test]
    fn ticks_never_touch() {
        let mut ticks = Vec::new();
        for at in 0..60 {
            tick(&mut ticks, at, "20 ms", 60);
        }
        ticks.sort_unstable();
        assert!(ticks.len() > 5);
        assert!(ticks.windows(2).all(|two| two[0].0 + 5 < two[1].0), "{ticks:?}");
    }
}
