//! Names of nodes, `DC-AZ-N`: they say where a node stands, and placement reads nothing else of it.

use std::fmt;

/// Bytes that the name of a data centre has at most.
pub const DC_BYTES_MAX: usize = 8;
/// Bytes that the name of a zone has at most.
pub const ZONE_BYTES_MAX: usize = 4;
/// The largest number of a node within its zone.
pub const NODE_NUMBER_MAX: u16 = 9999;

/// A name taken apart. Data centre and zone match `[A-Z][A-Z0-9]*`, the number has no leading zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName<'a> {
    /// The data centre, up to [`DC_BYTES_MAX`] bytes, for example `FL`.
    pub dc: &'a str,
    /// The availability zone within it, up to [`ZONE_BYTES_MAX`] bytes, for example `A`.
    pub zone: &'a str,
    /// The number within the zone, from 1 to [`NODE_NUMBER_MAX`].
    pub number: u16,
}

impl<'a> NodeName<'a> {
    /// Takes a name apart; `None` if it is not of the form.
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        let mut parts = name.split('-');
        let (dc, zone, digits) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && is_place(dc, DC_BYTES_MAX) && is_place(zone, ZONE_BYTES_MAX);
        let number = digits
            .parse()
            .ok()
            .filter(|number| (1..=NODE_NUMBER_MAX).contains(number))?;
        let plain = digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.starts_with('0');
        (whole && plain).then_some(Self { dc, zone, number })
    }
}

impl fmt::Display for NodeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.dc, self.zone, self.number)
    }
}

fn is_place(part: &str, bytes_max: usize) -> bool {
    let letters = part
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    letters && part.len() <= bytes_max && part.starts_with(|first: char| first.is_ascii_uppercase())
}

/// The name that was probably meant by a malformed one: other case, other separators, zeros in front, parts grown
/// together or left out. Falls back to an example of the form.
#[must_use]
pub fn suggest(name: &str) -> String {
    let (mut places, mut numbers) = (Vec::new(), Vec::new());
    for run in name
        .to_ascii_uppercase()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .flat_map(split_digits)
    {
        if run.starts_with(|c: char| c.is_ascii_digit()) {
            numbers.push(run);
        } else {
            places.push(run);
        }
    }
    let number = numbers.last().map_or("1", |number| number.trim_start_matches('0'));
    let guess = match &places[..] {
        [dc, zone, ..] => format!("{dc}-{zone}-{number}"),
        // `FLA1`: a data centre of two letters and its zone. `FL1`: the zone was left out.
        [both] if both.len() == 3 => format!("{}-{}-{number}", &both[..2], &both[2..]),
        [dc] => format!("{dc}-A-{number}"),
        [] => String::new(),
    };
    if NodeName::parse(&guess).is_some() {
        guess
    } else {
        "FL-A-1".to_owned()
    }
}

/// Parts a run of letters from the digits that follow it.
fn split_digits(run: &str) -> impl Iterator<Item = String> {
    let (letters, digits) = run.split_at(run.find(|c: char| c.is_ascii_digit()).unwrap_or(run.len()));
    [letters.to_owned(), digits.to_owned()]
        .into_iter()
        .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_name_is_taken_apart_and_put_together_again() {
        for name in ["FL-A-1", "DC2-B-12", "TN-AZ1-9999"] {
            assert_eq!(NodeName::parse(name).unwrap().to_string(), name);
        }
        assert_eq!(
            NodeName::parse("FL-A-1"),
            Some(NodeName {
                dc: "FL",
                zone: "A",
                number: 1
            })
        );
    }

    #[test]
    fn a_malformed_name_is_refused_with_the_one_that_was_meant() {
        let rows = [
            ("fl-a-1", "FL-A-1"),
            ("FL_A_1", "FL-A-1"),
            ("FL-A-01", "FL-A-1"),
            ("FL-A1", "FL-A-1"),
            ("FLA1", "FL-A-1"),
            ("FL1", "FL-A-1"),
            ("FL-1-A", "FL-A-1"),
            ("FL-A", "FL-A-1"),
            ("tn.b.3", "TN-B-3"),
            ("FL-A-0", "FL-A-1"),
            ("", "FL-A-1"),
            ("FL-A-1-2", "FL-A-2"),
            ("FLORIDAKEYS-A-1", "FL-A-1"),
            ("FL-A-+1", "FL-A-1"),
            ("\u{fc}-\u{1f4a7}", "FL-A-1"),
        ];
        for (name, meant) in rows {
            assert_eq!(NodeName::parse(name), None, "{name}");
            assert_eq!(suggest(name), meant, "for {name}");
        }
    }
}
