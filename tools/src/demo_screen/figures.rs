//! Numbers as people read them: counts, bytes, durations and rates, in as many characters as there is room for.
//!
//! Rounding is always to the nearest and never hides a unit. Nothing here knows where a number is shown.

use std::time::Duration;

/// A whole count with its thousands apart: `1,234,567`.
#[must_use]
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in at most four characters: `0`, `999`, `1.2k`, `12k`, `3.4M`, `18E`.
#[must_use]
pub(crate) fn short(value: u64) -> String {
    scaled(value, 1000, &["", "k", "M", "G", "T", "P", "E"], 1_000)
}

/// Bytes in at most five characters, in powers of 1024: `0B`, `999B`, `1.2K`, `14M`, `1.0G`.
#[must_use]
pub(crate) fn short_bytes(value: u64) -> String {
    scaled(value, 1024, &["B", "K", "M", "G", "T", "P", "E"], 1_000)
}

/// Bytes with their unit: `512 B`, `14 MiB`, `1.4 GiB`.
#[must_use]
pub(crate) fn bytes(value: u64) -> String {
    scaled(
        value,
        1024,
        &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"],
        1_024,
    )
}

/// `value` in the smallest unit that leaves less than `below` in front of it, with one decimal while that is below ten.
fn scaled(value: u64, step: u64, units: &[&str], below: u64) -> String {
    let mut divisor: u64 = 1;
    for (place, unit) in units.iter().enumerate() {
        let last = place + 1 == units.len();
        // In tenths, to the nearest; wide enough for the largest value.
        let tenths = (u128::from(value) * 10 + u128::from(divisor) / 2) / u128::from(divisor);
        let whole = (u128::from(value) + u128::from(divisor) / 2) / u128::from(divisor);
        if whole < u128::from(below) || last {
            return if place > 0 && tenths < 100 {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            } else {
                format!("{whole}{unit}")
            };
        }
        divisor *= step;
    }
    unreachable!("the last unit takes every value")
}

/// A duration in microseconds with its unit, three digits: `850 us`, `1.25 ms`, `18.9 ms`, `145 ms`, `2.10 s`.
#[must_use]
pub(crate) fn latency(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        // The bounds are where rounding would give a fourth digit.
        1_000..9_995 => format!("{}.{:02} ms", (us + 5) / 1_000, (us + 5) % 1_000 / 10),
        9_995..99_950 => format!("{}.{} ms", (us + 50) / 1_000, (us + 50) % 1_000 / 100),
        99_950..999_500 => format!("{} ms", (us + 500) / 1_000),
        _ => {
            let hundredths = us / 10_000 + u64::from(us % 10_000 >= 5_000);
            if hundredths < 1_000 {
                format!("{}.{:02} s", hundredths / 100, hundredths % 100)
            } else {
                format!("{} s", hundredths / 100)
            }
        }
    }
}

/// A duration in microseconds as milliseconds, for columns that name their unit: `0.85`, `18.9`, `145`, `2,100`.
#[must_use]
pub(crate) fn milliseconds(us: u64) -> String {
    match us {
        0..9_995 => format!("{}.{:02}", (us + 5) / 1_000, (us + 5) % 1_000 / 10),
        9_995..99_950 => format!("{}.{}", (us + 50) / 1_000, (us + 50) % 1_000 / 100),
        _ => count(us / 1_000 + u64::from(us % 1_000 >= 500)),
    }
}

/// A time on the demo's clock: `0:07`, `12:30`, `1:02:03`.
#[must_use]
pub(crate) fn clock(time: Duration) -> String {
    let s = time.as_secs();
    if s < 3_600 {
        format!("{}:{:02}", s / 60, s % 60)
    } else {
        format!("{}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
    }
}

/// How much of `whole` is `part`, in percent, to the nearest; 0 of nothing.
#[must_use]
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let percent = (u128::from(part) * 100 + u128::from(whole) / 2) / u128::from(whole);
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// `text` in at most `width` characters; the last one says that something is missing.
#[must_use]
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_their_thousands_apart() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(value), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn short_counts_round_to_the_nearest() {
        let rows = [
            (0, "0"),
            (999, "999"),
            (1_000, "1.0k"),
            (1_249, "1.2k"),
            (9_949, "9.9k"),
            (9_950, "10k"),
            (99_499, "99k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (3_440_000, "3.4M"),
        ];
        for (value, text) in rows {
            assert_eq!(short(value), text, "{value}");
        }
        assert_eq!(short(u64::MAX), "18E");
    }

    #[test]
    fn short_figures_never_outgrow_their_columns() {
        let mut value: u64 = 1;
        while value < u64::MAX / 3 {
            for near in [value - 1, value, value + 1] {
                assert!(short(near).len() <= 4, "{near}: {}", short(near));
                assert!(short_bytes(near).len() <= 5, "{near}: {}", short_bytes(near));
            }
            value = value * 3 / 2 + 1;
        }
    }

    #[test]
    fn bytes_name_their_unit() {
        let rows = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (14 << 20, "14 MiB"),
            ((3 << 30) / 2, "1.5 GiB"),
        ];
        for (value, text) in rows {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(bytes(u64::MAX), "16 EiB");
    }

    #[test]
    fn latencies_have_three_digits_and_a_unit() {
        let rows = [
            (0, "0 us"),
            (999, "999 us"),
            (1_000, "1.00 ms"),
            (9_994, "9.99 ms"),
            (9_995, "10.0 ms"),
            (18_940, "18.9 ms"),
            (99_949, "99.9 ms"),
            (99_950, "100 ms"),
            (999_499, "999 ms"),
            (999_500, "1.00 s"),
            (2_104_000, "2.10 s"),
            (60_000_000, "60 s"),
        ];
        for (us, text) in rows {
            assert_eq!(latency(us), text, "{us}");
        }
        assert!(latency(u64::MAX).ends_with(" s"));
    }

    #[test]
    fn milliseconds_leave_their_unit_to_the_column() {
        for (us, text) in [
            (0, "0.00"),
            (850, "0.85"),
            (18_940, "18.9"),
            (145_000, "145"),
            (2_100_400, "2,100"),
        ] {
            assert_eq!(milliseconds(us), text);
        }
        assert!(!milliseconds(u64::MAX).is_empty());
    }

    #[test]
    fn clocks_show_hours_when_there_are_some() {
        for (s, text) in [(7, "0:07"), (750, "12:30"), (3_723, "1:02:03")] {
            assert_eq!(clock(Duration::from_secs(s)), text);
        }
    }

    #[test]
    fn percent_of_nothing_is_nothing() {
        assert_eq!(percent(5, 0), 0);
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(2, 3), 67);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }

    #[test]
    fn what_was_cut_says_so() {
        assert_eq!(fit("FL-A-1", 6), "FL-A-1");
        assert_eq!(fit("FL-A-1", 5), "FL-A…");
        assert_eq!(fit("FL-A-1", 0), "");
    }
}
