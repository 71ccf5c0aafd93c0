//! Durations (`250ms 10s 1h 30d`) and sizes (`64KiB 2GiB`) as people write them, in files, variables and flags alike.
//!
//! One whole number and one unit, nothing between them. Fractions and sums (`1.5h`, `1m30s`) are refused: each amount then has one
//! way to be written per unit, and a reader never has to add. Units are exact in case, because `M` and `m` differ by nine powers
//! of ten elsewhere.

use std::fmt;
use std::str::FromStr;

/// A length of time, in whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration {
    us: u64,
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes {
    bytes: u64,
}

/// Units of time in microseconds, largest first.
const TIME_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Units of size in bytes, largest first.
const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// What people write for a unit, in lower case, and which unit it is here.
const TIME_NICKNAMES: [(&str, &str); 17] = [
    ("msec", "ms"),
    ("millis", "ms"),
    ("usec", "us"),
    ("micros", "us"),
    ("µs", "us"),
    ("μs", "us"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("mins", "m"),
    ("minutes", "m"),
    ("hour", "h"),
    ("hours", "h"),
    ("day", "d"),
    ("days", "d"),
];

/// The same for sizes.
const SIZE_NICKNAMES: [(&str, &str); 11] = [
    ("k", "KiB"),
    ("kb", "KiB"),
    ("ki", "KiB"),
    ("m", "MiB"),
    ("mb", "MiB"),
    ("mi", "MiB"),
    ("g", "GiB"),
    ("gb", "GiB"),
    ("gi", "GiB"),
    ("tb", "TiB"),
    ("bytes", "B"),
];

/// Why a text is no duration or size. The one who wrote it mends it; nothing was taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuantityError {
    /// Nothing was written.
    Empty,
    /// It does not begin with a digit.
    NoNumber,
    /// A fraction: take a smaller unit.
    Fraction,
    /// A number without unit; the unit cannot be guessed.
    NoUnit,
    /// A number, a space, a unit: without the space it would be right.
    Space,
    /// No such unit, and the one that was probably meant.
    UnknownUnit {
        /// What stands after the number.
        unit: Box<str>,
        /// The nearest unit that exists.
        meant: Option<&'static str>,
    },
    /// More than 2⁶⁴ − 1 microseconds or bytes.
    TooLarge,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuantityError::Empty => f.write_str("it is empty"),
            QuantityError::NoNumber => f.write_str("it does not begin with a whole number"),
            QuantityError::Fraction => f.write_str("fractions are not read, take a smaller unit"),
            QuantityError::NoUnit => f.write_str("the unit is missing"),
            QuantityError::Space => f.write_str("no space belongs between number and unit"),
            QuantityError::UnknownUnit {
                unit,
                meant: Some(meant),
            } => {
                write!(f, "there is no unit `{unit}`, did you mean `{meant}`?")
            }
            QuantityError::UnknownUnit { unit, meant: None } => write!(f, "there is no unit `{unit}`"),
            QuantityError::TooLarge => f.write_str("it is too large"),
        }
    }
}

impl std::error::Error for QuantityError {}

impl Duration {
    /// How it is written.
    pub const FORM: &'static str = "a whole number and one of us, ms, s, m, h, d: `250ms`, `10s`, `1h`, `30d`";

    /// So many microseconds.
    #[must_use]
    pub const fn from_us(us: u64) -> Duration {
        Duration { us }
    }

    /// In microseconds.
    #[must_use]
    pub const fn as_us(self) -> u64 {
        self.us
    }

    /// In whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.us / 1_000
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.us)
    }
}

impl Bytes {
    /// How it is written.
    pub const FORM: &'static str = "a whole number and one of B, KiB, MiB, GiB, TiB: `64KiB`, `2GiB`";

    /// So many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Bytes {
        Bytes { bytes }
    }

    /// In bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.bytes
    }
}

impl FromStr for Duration {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Duration, QuantityError> {
        amount(text, &TIME_UNITS, &TIME_NICKNAMES).map(Duration::from_us)
    }
}

impl FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Bytes, QuantityError> {
        amount(text, &SIZE_UNITS, &SIZE_NICKNAMES).map(Bytes::new)
    }
}

impl fmt::Display for Duration {
    /// In the largest unit that needs no fraction; read again it gives the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_largest_unit(self.us, &TIME_UNITS, "s"))
    }
}

impl fmt::Display for Bytes {
    /// In the largest unit that needs no fraction; read again it gives the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_largest_unit(self.bytes, &SIZE_UNITS, "B"))
    }
}

/// The amount in the smallest unit.
fn amount(
    text: &str,
    units: &'static [(&'static str, u64)],
    nicknames: &'static [(&'static str, &'static str)],
) -> Result<u64, QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Empty);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(QuantityError::NoNumber);
    }
    if unit.is_empty() {
        return Err(QuantityError::NoUnit);
    }
    if unit.starts_with(['.', ',']) {
        return Err(QuantityError::Fraction);
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let bare = unit.trim();
        if units.iter().any(|(name, _)| *name == bare) {
            return Err(QuantityError::Space);
        }
        return Err(QuantityError::UnknownUnit {
            unit: bare.into(),
            meant: meant(bare, units, nicknames),
        });
    };
    // Digits alone are left, so the only way to fail is that they are too many.
    let number: u64 = number.parse().map_err(|_| QuantityError::TooLarge)?;
    number.checked_mul(*factor).ok_or(QuantityError::TooLarge)
}

/// The unit that differs in case alone, else the one that this nickname stands for.
fn meant(
    unit: &str,
    units: &'static [(&'static str, u64)],
    nicknames: &'static [(&'static str, &'static str)],
) -> Option<&'static str> {
    let by_case = units
        .iter()
        .map(|(name, _)| *name)
        .find(|name| name.eq_ignore_ascii_case(unit));
    let lower = unit.to_lowercase();
    by_case.or_else(|| {
        nicknames
            .iter()
            .find(|(nickname, _)| *nickname == lower)
            .map(|(_, name)| *name)
    })
}

fn in_largest_unit(amount: u64, units: &[(&str, u64)], of_zero: &str) -> String {
    let fits = units
        .iter()
        .find(|(_, factor)| amount != 0 && amount.is_multiple_of(*factor));
    fits.map_or_else(
        || format!("0{of_zero}"),
        |(name, factor)| format!("{}{name}", amount / factor),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read() {
        let table = [
            ("0s", 0),
            ("1us", 1),
            ("250ms", 250_000),
            ("10s", 10_000_000),
            ("5m", 300_000_000),
            ("1h", 3_600_000_000),
            ("30d", 2_592_000_000_000),
            ("007ms", 7_000),
            ("18446744073709551615us", u64::MAX),
        ];
        for (text, us) in table {
            assert_eq!(text.parse::<Duration>(), Ok(Duration::from_us(us)), "{text}");
        }
        assert_eq!("1500us".parse::<Duration>().unwrap().as_ms(), 1);
        assert_eq!(
            "2s".parse::<Duration>().unwrap().as_std(),
            std::time::Duration::from_secs(2)
        );
    }

    #[test]
    fn sizes_are_read() {
        let table = [
            ("0B", 0),
            ("1B", 1),
            ("64KiB", 65_536),
            ("3MiB", 3 << 20),
            ("2GiB", 2 << 30),
            ("16777215TiB", 16_777_215 << 40),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes::new(bytes)), "{text}");
        }
    }

    #[test]
    fn a_wrong_duration_is_refused_with_what_is_wrong() {
        let table = [
            ("", "it is empty"),
            ("soon", "it does not begin with a whole number"),
            ("-1s", "it does not begin with a whole number"),
            (" 1s", "it does not begin with a whole number"),
            ("1.5h", "fractions are not read, take a smaller unit"),
            ("10", "the unit is missing"),
            ("10 s", "no space belongs between number and unit"),
            ("10s ", "no space belongs between number and unit"),
            ("10sec", "there is no unit `sec`, did you mean `s`?"),
            ("10 min", "there is no unit `min`, did you mean `m`?"),
            ("10MS", "there is no unit `MS`, did you mean `ms`?"),
            ("1µs", "there is no unit `µs`, did you mean `us`?"),
            ("1m30s", "there is no unit `m30s`"),
            ("1y", "there is no unit `y`"),
            ("18446744073709551616us", "it is too large"),
            ("18446744073709551615ms", "it is too large"),
        ];
        for (text, said) in table {
            assert_eq!(text.parse::<Duration>().unwrap_err().to_string(), said, "{text}");
        }
    }

    #[test]
    fn a_wrong_size_is_refused_with_what_is_wrong() {
        let table = [
            ("", "it is empty"),
            ("lots", "it does not begin with a whole number"),
            ("0.5GiB", "fractions are not read, take a smaller unit"),
            ("1024", "the unit is missing"),
            ("2 GiB", "no space belongs between number and unit"),
            ("2GB", "there is no unit `GB`, did you mean `GiB`?"),
            ("2gib", "there is no unit `gib`, did you mean `GiB`?"),
            ("64k", "there is no unit `k`, did you mean `KiB`?"),
            ("2PiB", "there is no unit `PiB`"),
            ("16777216TiB", "it is too large"),
        ];
        for (text, said) in table {
            assert_eq!(text.parse::<Bytes>().unwrap_err().to_string(), said, "{text}");
        }
    }

    #[test]
    fn an_amount_is_shown_in_the_largest_unit_that_needs_no_fraction() {
        let times = [
            (0, "0s"),
            (1, "1us"),
            (1_500, "1500us"),
            (250_000, "250ms"),
            (90_000_000, "90s"),
            (u64::MAX, "18446744073709551615us"),
        ];
        for (us, text) in times {
            assert_eq!(Duration::from_us(us).to_string(), text);
        }
        let sizes = [
            (0, "0B"),
            (1_000, "1000B"),
            (65_536, "64KiB"),
            (3 << 30, "3GiB"),
            (1 << 40, "1TiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(Bytes::new(bytes).to_string(), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_is_shown_reads_back_as_the_same(amount in any::<u64>(), shift in 0_u32..64) {
            let amount = amount >> shift;
            prop_assert_eq!(Duration::from_us(amount).to_string().parse(), Ok(Duration::from_us(amount)));
            prop_assert_eq!(Bytes::new(amount).to_string().parse(), Ok(Bytes::new(amount)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            if let Ok(time) = text.parse::<Duration>() {
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
            if let Ok(size) = text.parse::<Bytes>() {
                prop_assert_eq!(size.to_string().parse(), Ok(size));
            }
        }
    }
}
