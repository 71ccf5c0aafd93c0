//! Bars of eighths of a cell: the form of every chart of the picture.

use ratatui::style::Style;

use super::part::Part;

/// A cell filled from below by so many eighths.
pub(crate) const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How many eighths high a bar is, of `rows` rows that stand for `max`. Whatever is not nothing is at least one eighth.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the height of the chart"
)]
pub(crate) fn eighths(value: f64, max: f64, rows: u16) -> u32 {
    let full = f64::from(rows) * 8.0;
    if value.is_nan() || value <= 0.0 || max <= 0.0 {
        return 0;
    }
    (value / max * full).round().clamp(1.0, full.max(1.0)) as u32
}

/// Draws one bar per column, the first at the left, over all rows of the part.
pub(super) fn columns(part: &mut Part<'_>, values: &[f64], max: f64, style: impl Fn(usize) -> Style) {
    let rows = part.height();
    for (place, value) in values.iter().enumerate() {
        let Ok(column) = u16::try_from(place) else { return };
        let mut left = eighths(*value, max, rows);
        for row in (0..rows).rev() {
            let here = left.min(8);
            left -= here;
            if here > 0 {
                part.sign(column, row, EIGHTHS[here as usize], style(place));
            }
        }
    }
}

/// Draws one bar from left to right in a row: what is full, and in `rest` what is not.
pub(super) fn lying(part: &mut Part<'_>, row: u16, value: f64, max: f64, full: Style, rest: Style) {
    let width = part.width();
    let cells = eighths(value, max, width).div_ceil(8);
    for column in 0..width {
        if u32::from(column) < cells {
            part.sign(column, row, '━', full);
        } else {
            part.sign(column, row, '─', rest);
        }
    }
}

/// A slice of counts as so many columns: each the share of the counts that falls to it, also where columns and counts do not line up.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a picture, of a few hundred places"
)]
pub(crate) fn resampled(counts: &[u64], columns: u16) -> Vec<f64> {
    let step = counts.len() as f64 / f64::from(columns.max(1));
    (0..columns)
        .map(|column| {
            let (from, to) = (f64::from(column) * step, f64::from(column + 1) * step);
            let last = (to.ceil() as usize).min(counts.len());
            (from as usize..last)
                .map(|place| {
                    let overlap = to.min(place as f64 + 1.0) - from.max(place as f64);
                    counts[place] as f64 * overlap.max(0.0)
                })
                .sum()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_ack_among_millions_is_seen() {
        assert_eq!(eighths(1.0, 1e9, 4), 1);
        assert_eq!(eighths(0.0, 1e9, 4), 0);
    }

    #[test]
    fn the_largest_fills_the_chart_and_no_more() {
        assert_eq!(eighths(7.0, 7.0, 4), 32);
        assert_eq!(eighths(9.0, 7.0, 4), 32);
        assert_eq!(eighths(f64::NAN, 7.0, 4), 0);
        assert_eq!(eighths(1.0, 0.0, 4), 0);
    }

    #[test]
    fn resampling_keeps_the_sum() {
        let counts: Vec<u64> = (0..97).collect();
        for columns in [1, 7, 97, 200] {
            let sum: f64 = resampled(&counts, columns).iter().sum();
            assert!((sum - 4656.0).abs() < 1e-6, "{columns}: {sum}");
        }
        assert!(resampled(&[], 5).iter().all(|value| *value == 0.0));
    }
}
