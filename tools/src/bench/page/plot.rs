//! A plot as SVG that stands in a page: lines over two axes, and marks on the lower one.
//!
//! No colour is written here, only classes, so that the page's light and dark have their own. It knows nothing of what it draws. **Invariant:**
//! whatever the numbers are, every coordinate is finite and within the picture.

use super::escaped;

/// The picture, in units of its own; letters are chosen to be read where it is shrunk to 360 pixels.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 466.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 254.0;
/// Steps of an axis between two powers of ten.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

/// One line: its name, and where it goes; `None` is a gap.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<Option<(f64, f64)>>,
}

/// Something that happened, or a place that matters: a line from the lower axis up, with its name if there is room.
pub(super) struct Mark<'a> {
    pub(super) at: f64,
    pub(super) name: &'a str,
    /// Shown before others, and in another colour.
    pub(super) is_chief: bool,
}

/// An axis from its first to its last value, with the values that are marked.
pub(super) struct Axis {
    from: f64,
    to: f64,
    is_log: bool,
    ticks: Vec<(f64, String)>,
    label: &'static str,
}

impl Axis {
    /// From 0 to more than so much, in round steps.
    pub(super) fn linear(most: f64, label: &'static str, shown: fn(f64) -> String) -> Axis {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let step = round_above(most / 6.0);
        // A line along the upper end would be taken for its frame.
        let count = (most * 1.04 / step).ceil().clamp(1.0, 10.0);
        let ticks = (0..=10_u8).map(f64::from).take_while(|place| *place <= count);
        Axis {
            from: 0.0,
            to: step * count,
            is_log: false,
            ticks: ticks.map(|place| (place * step, shown(place * step))).collect(),
            label,
        }
    }

    /// Exactly as far as a time goes.
    pub(super) fn seconds(most: f64) -> Axis {
        let mut axis = Axis::linear(most, "seconds from the beginning", plain);
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        axis.ticks.retain(|(at, _)| *at <= most * 1.001);
        axis.to = most;
        axis
    }

    /// Microseconds, each power of ten as long as the next.
    pub(super) fn log_us(least: f64, most: f64) -> Axis {
        let least = if least.is_finite() { least.max(1.0) } else { 1.0 };
        let most = if most.is_finite() {
            most.max(least * 1.5)
        } else {
            least * 10.0
        };
        let (from, to) = (round_below(least), round_above(most));
        let decades = (to / from).log10();
        let wanted: &[f64] = if decades > 3.0 { &STEPS[..1] } else { &STEPS };
        let mut ticks = Vec::new();
        for power in 0..=12 {
            for step in wanted {
                let at = step * 10_f64.powi(power);
                // Rounding may leave the ends a little apart from the steps.
                if at >= from * 0.999 && at <= to * 1.001 {
                    ticks.push((at, time(at)));
                }
            }
        }
        Axis {
            from,
            to,
            is_log: true,
            ticks,
            label: "",
        }
    }

    /// Quantiles as [`nines`] places them, up to the last.
    pub(super) fn percentiles(last: f64, label: &'static str) -> Axis {
        let names = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999"];
        let last = if last.is_finite() { last.clamp(1.0, 12.0) } else { 1.0 };
        let ticks = (0..7_u8).map(f64::from).zip(names);
        Axis {
            from: 0.0,
            to: last,
            is_log: false,
            ticks: (ticks.filter(|(at, _)| *at <= last))
                .map(|(at, name)| (at, name.to_owned()))
                .collect(),
            label,
        }
    }

    /// Where a value lies on the way from the first to the last, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let part = if self.is_log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Where a quantile lies on an axis on which 90, 99 and 99.9 % are equally far apart.
pub(super) fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-12).log10()
}

fn power_below(value: f64) -> f64 {
    10_f64.powf(value.log10().floor())
}

/// The largest 1, 2 or 5 with zeros that is not larger.
fn round_below(value: f64) -> f64 {
    let power = power_below(value);
    let step = STEPS.iter().rev().find(|step| *step * power <= value * 1.001);
    step.unwrap_or(&1.0) * power
}

/// The smallest 1, 2 or 5 with zeros that is not smaller.
fn round_above(value: f64) -> f64 {
    let power = power_below(value);
    let step = STEPS.iter().find(|step| *step * power >= value * 0.999);
    step.unwrap_or(&10.0) * power
}

/// A number on an axis: `0`, `0.2`, `5`, `40`.
pub(super) fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A count on an axis: `0`, `500`, `20k`, `1M`.
pub(super) fn count(value: f64) -> String {
    match value {
        1e6.. => plain(value / 1e6) + "M",
        1e3.. => plain(value / 1e3) + "k",
        _ => plain(value),
    }
}

/// A time on an axis, without digits that say nothing.
fn time(us: f64) -> String {
    match us {
        1e6.. => plain(us / 1e6) + " s",
        1e3.. => plain(us / 1e3) + " ms",
        _ => plain(us) + " us",
    }
}

/// The plot; `title` is what it is called for those who do not see it.
pub(super) fn svg(title: &str, x: &Axis, y: &Axis, lines: &[Line<'_>], marks: &[Mark<'_>]) -> String {
    let across = |value: f64| LEFT + x.part(value) * (RIGHT - LEFT);
    let down = |value: f64| BOTTOM - y.part(value) * (BOTTOM - TOP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n<title>{}</title>\n",
        escaped(title)
    );
    for (value, name) in &y.ticks {
        let at = down(*value);
        text += &format!(
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{RIGHT}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 7.0,
            at + 4.5,
            escaped(name)
        );
    }
    // Names that would touch are left out, their marks are not.
    let mut free_from = f64::NEG_INFINITY;
    for (value, name) in &x.ticks {
        let at = across(*value);
        text += &format!("<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{BOTTOM}\"/>\n");
        let half = width_of(name) / 2.0;
        if at - half > free_from {
            let anchor = if at + half > WIDTH { "end" } else { "middle" };
            let (from, width) = (BOTTOM + 18.0, if anchor == "end" { RIGHT + 12.0 } else { at });
            text += &format!(
                "<text class=\"tick\" x=\"{width:.1}\" y=\"{from:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
                escaped(name)
            );
            free_from = at + half + 6.0;
        }
    }
    text += &format!(
        "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>\n\
         <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
        f64::midpoint(LEFT, RIGHT),
        HEIGHT - 8.0,
        escaped(x.label)
    );
    text += &marked(marks, across);
    let mut legend = LEFT;
    for (place, line) in lines.iter().enumerate() {
        let mut path = String::new();
        let mut before = None;
        for point in &line.points {
            if let Some((x, y)) = point {
                let start = if before.is_none() { 'M' } else { 'L' };
                // A point between two gaps is a dot.
                let dot = if before.is_none() { "h0" } else { "" };
                path += &format!("{start}{:.1} {:.1}{dot}", across(*x), down(*y));
            }
            before = *point;
        }
        text += &format!(
            "<path class=\"line s{place}\" d=\"{path}\"/>\n<path class=\"line s{place}\" d=\"M{legend:.1} 14h22\"/>\
             <text class=\"name\" x=\"{:.1}\" y=\"18.5\">{}</text>\n",
            legend + 28.0,
            escaped(line.name)
        );
        legend += 46.0 + width_of(line.name);
    }
    text + "</svg>\n"
}

/// How wide a name is, about.
fn width_of(name: &str) -> f64 {
    f64::from(u8::try_from(name.chars().count()).unwrap_or(u8::MAX)) * 7.4
}

/// All marks with their lines, and the names of those for which there is room, the chief ones first: what is not named here stands in a table.
fn marked(marks: &[Mark<'_>], across: impl Fn(f64) -> f64) -> String {
    let mut text = String::new();
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for is_chief in [true, false] {
        for mark in marks.iter().filter(|mark| mark.is_chief == is_chief) {
            let (at, class) = (across(mark.at), if is_chief { "mark chief" } else { "mark" });
            text += &format!("<line class=\"{class}\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{BOTTOM}\"/>\n");
            let width = width_of(mark.name);
            let from = if at + 4.0 + width > WIDTH {
                at - 4.0 - width
            } else {
                at + 4.0
            };
            let until = from + width;
            if taken
                .iter()
                .all(|(first, last)| until + 4.0 < *first || from > *last + 4.0)
            {
                text += &format!(
                    "<text class=\"tick\" x=\"{from:.1}\" y=\"{:.1}\">{}</text>\n",
                    TOP + 11.0,
                    escaped(mark.name)
                );
                taken.push((from, until));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_all_drawn_and_named_where_there_is_room_the_chief_ones_first() {
        let mark = |at, name, is_chief| Mark { at, name, is_chief };
        let marks = [
            mark(4.0, "whole", false),
            mark(4.1, "kill", true),
            mark(8.0, "back", false),
            mark(10.0, "whole", false),
            mark(f64::NAN, "never", true),
        ];
        let text = svg("it", &Axis::seconds(10.0), &Axis::linear(1.0, "", plain), &[], &marks);
        assert_eq!(text.matches("class=\"mark\"").count(), 3, "{text}");
        assert_eq!(text.matches("class=\"mark chief\"").count(), 2, "{text}");
        let named = |name: &str| text.matches(&format!(">{name}</text>")).count();
        // The first `whole` would touch `kill`; the last one stands before its line, where there is room.
        assert_eq!((named("kill"), named("back"), named("whole")), (1, 1, 1), "{text}");
        assert!(!text.contains("NaN"), "{text}");
    }

    fn names(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn axes_begin_and_end_at_round_values_around_what_they_show() {
        assert_eq!(
            names(&Axis::linear(95_000.0, "", count)),
            ["0", "20k", "40k", "60k", "80k", "100k"]
        );
        assert_eq!(names(&Axis::seconds(9.97)), ["0", "2", "4", "6", "8"]);
        assert_eq!(
            names(&Axis::log_us(70.0, 900.0)),
            ["50 us", "100 us", "200 us", "500 us", "1 ms"]
        );
        assert_eq!(
            names(&Axis::log_us(70.0, 3_000_000.0)),
            ["100 us", "1 ms", "10 ms", "100 ms", "1 s"]
        );
        assert_eq!(names(&Axis::percentiles(3.4, "")), ["0", "90", "99", "99.9"]);
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn whatever_the_numbers_are_the_lines_stay_in_the_picture() {
        for strange in [0.0, -5.0, 1e300, f64::NAN, f64::INFINITY] {
            let points = vec![Some((strange, strange)), None, Some((1.0, 1.0)), Some((strange, 2.0))];
            let line = Line { name: "x", points };
            for y in [Axis::log_us(strange, strange), Axis::linear(strange, "", plain)] {
                let text = svg("it", &Axis::seconds(strange), &y, std::slice::from_ref(&line), &[]);
                assert!(!text.contains("NaN") && !text.contains("inf"), "{strange}: {text}");
                let path = text
                    .split("class=\"line s0\" d=\"")
                    .nth(1)
                    .and_then(|rest| rest.split('"').next());
                let numbers = path
                    .unwrap()
                    .split(['M', 'L', 'h', ' '])
                    .filter_map(|part| part.parse::<f64>().ok());
                assert!(numbers.clone().count() >= 6, "{text}");
                assert!(
                    numbers.into_iter().all(|number| (0.0..=WIDTH).contains(&number)),
                    "{strange}: {text}"
                );
            }
        }
    }

    #[test]
    fn a_gap_ends_a_line_and_a_point_alone_is_a_dot() {
        let points = vec![Some((0.0, 0.0)), Some((1.0, 1.0)), None, Some((1.0, 0.0)), None];
        let text = svg(
            "it",
            &Axis::linear(1.0, "", plain),
            &Axis::linear(1.0, "", plain),
            &[Line { name: "x", points }],
            &[],
        );
        assert!(text.contains("d=\"M68.0 254.0h0L399.7 70.7M399.7 254.0h0\""), "{text}");
    }
}
