//! Who sends: facilities, their data centres, and how each of them writes HL7.
//!
//! A facility is made from its number alone, so a feed needs no list of them in a file. **Invariant:** code and dialect depend on the number
//! and on how many there are, never on the seed: the same `[facilities]` of a cluster fits all feeds.

/// The data centres, in the order in which facilities are dealt to them.
pub const DATA_CENTRES: [&str; 4] = ["FL", "TN", "TX", "UT"];
/// The versions of HL7 in use, in the order in which facilities take them.
pub const VERSIONS: [&str; 5] = ["2.3", "2.3.1", "2.4", "2.5", "2.5.1"];

/// How a facility writes: delimiters and characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `|^~\&`, UTF-8.
    Usual,
    /// `|^~\&`, ISO 8859-1: not every message is UTF-8.
    Latin1,
    /// `!*%$#`, UTF-8: legal, and found where a reader took the usual ones for granted.
    Odd,
}

impl Dialect {
    /// All, in the order of their numbers.
    pub const ALL: [Dialect; 3] = [Dialect::Usual, Dialect::Latin1, Dialect::Odd];

    /// The separators of fields, components, repetitions, the escape, the separator of subcomponents.
    #[must_use]
    pub fn delimiters(self) -> &'static [u8; 5] {
        match self {
            Dialect::Usual | Dialect::Latin1 => b"|^~\\&",
            Dialect::Odd => b"!*%$#",
        }
    }

    /// MSH-18.
    #[must_use]
    pub fn characters(self) -> &'static str {
        match self {
            Dialect::Usual | Dialect::Odd => "UNICODE UTF-8",
            Dialect::Latin1 => "8859/1",
        }
    }
}

/// One sender, as MSH-4 names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facility {
    /// Its code in MSH-4, five ASCII characters: the data centre and a number, `FL001`.
    pub code: [u8; 5],
    /// Index into [`DATA_CENTRES`].
    pub data_centre: usize,
    /// Index into [`VERSIONS`].
    pub version: usize,
    /// Delimiters and characters.
    pub dialect: Dialect,
    /// Whether it sends no more than it must where little has happened.
    pub is_terse: bool,
}

impl Facility {
    /// The facility with this number, of `count` facilities.
    pub(super) fn new(number: usize, count: usize) -> Facility {
        let data_centre = number % DATA_CENTRES.len();
        let local = number / DATA_CENTRES.len() + 1;
        let mut code = *b"XX000";
        code[..2].copy_from_slice(DATA_CENTRES[data_centre].as_bytes());
        for (digit, power) in code[2..].iter_mut().zip([100, 10, 1]) {
            *digit = b'0' + u8::try_from(local / power % 10).expect("one digit");
        }
        let version = number % VERSIONS.len();
        let dialect = match version {
            _ if count > 1 && number + 1 == count => Dialect::Odd,
            0 => Dialect::Latin1,
            _ => Dialect::Usual,
        };
        Facility {
            code,
            data_centre,
            version,
            dialect,
            is_terse: number.is_multiple_of(3),
        }
    }

    /// The code as text.
    ///
    /// # Panics
    /// Never: codes are ASCII.
    #[must_use]
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.code).expect("codes are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_the_last_of_several_is_odd() {
        let all: Vec<Facility> = (0..1_000).map(|number| Facility::new(number, 1_000)).collect();
        let codes: BTreeSet<&str> = all.iter().map(Facility::name).collect();
        assert_eq!(codes.len(), 1_000);
        assert_eq!(all[0].name(), "FL001");
        assert_eq!(all[999].name(), "UT250");
        let odd: Vec<usize> = (0..1_000).filter(|at| all[*at].dialect == Dialect::Odd).collect();
        assert_eq!(odd, [999]);
        assert_ne!(Facility::new(0, 1).dialect, Dialect::Odd, "the only one is not odd");
    }
}
