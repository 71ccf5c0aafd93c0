//! Virtual time and numbers as digits.
//!
//! Knows no clock and no time zone: all times are UTC, and the same milliseconds give the same digits on every machine.

/// Digits of every number that a feed gives away: patients, visits, orders, control ids.
pub const NUMBER_DIGITS: usize = 13;

const MS_PER_DAY: u64 = 86_400_000;

/// A time to the second, `YYYYMMDDhhmmss`.
pub(super) type Stamp = [u8; 14];

/// Writes times; remembers the last day, because most messages fall on the same one.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    day: u64,
    text: [u8; 8],
}

impl Calendar {
    pub(super) fn new() -> Calendar {
        Calendar {
            day: 0,
            text: *b"19700101",
        }
    }

    /// A time given in Unix milliseconds.
    pub(super) fn stamp(&mut self, time_ms: u64) -> Stamp {
        let day = time_ms / MS_PER_DAY;
        if day != self.day {
            self.day = day;
            self.text = date(day);
        }
        let second = time_ms % MS_PER_DAY / 1_000;
        let mut stamp = [b'0'; 14];
        stamp[..8].copy_from_slice(&self.text);
        put(&mut stamp[8..10], second / 3_600);
        put(&mut stamp[10..12], second / 60 % 60);
        put(&mut stamp[12..14], second % 60);
        stamp
    }
}

/// The date of a day since 1970, in the Gregorian calendar: years are counted from a first of March, so that a leap day comes last, and in
/// eras of 400 years, which are all equally long.
fn date(day: u64) -> [u8; 8] {
    let day = day + 719_468;
    let era = day / 146_097;
    let day_of_era = day % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31, 30, 31, 30, 31 days, twice and a bit: 153 days in five.
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let mut text = [b'0'; 8];
    put(&mut text[..4], year);
    put(&mut text[4..6], month);
    put(&mut text[6..], day_of_month);
    text
}

/// A number with all its digits.
pub(super) fn number(value: u64) -> [u8; NUMBER_DIGITS] {
    let mut text = [b'0'; NUMBER_DIGITS];
    put(&mut text, value);
    text
}

/// Writes the lowest digits of a number, as many as fit.
fn put(text: &mut [u8], mut value: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).expect("one digit");
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_have_their_dates() {
        let cases: [(u64, &[u8; 14]); 6] = [
            (0, b"19700101000000"),
            (951_782_400_000, b"20000229000000"),
            (951_868_800_000, b"20000301000000"),
            (1_767_225_600_000, b"20260101000000"),
            (1_767_225_599_999, b"20251231235959"),
            (4_107_542_399_000, b"21000228235959"),
        ];
        let mut calendar = Calendar::new();
        for (time, text) in cases {
            assert_eq!(&calendar.stamp(time), text, "{time}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for number in 0..146_097 {
            assert_eq!(
                date(number).as_slice(),
                format!("{year:04}{month:02}{day:02}").as_bytes()
            );
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = [
                31,
                if is_leap { 29 } else { 28 },
                31,
                30,
                31,
                30,
                31,
                31,
                30,
                31,
                30,
                31,
            ][month - 1];
            day += 1;
            if day > last {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }

    #[test]
    fn numbers_have_thirteen_digits() {
        assert_eq!(&number(42), b"0000000000042");
        assert_eq!(&number(9_999_000_000_001), b"9999000000001");
    }
}
