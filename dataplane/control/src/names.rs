//! Names of nodes: `DC-AZ-N`, data centre, zone, number, as in `FL-A-1`.
//!
//! The name alone says where a node stands: placement reads data centre and zone from it, and of two nodes the one with the
//! bytewise smaller name dials. So it has exactly one spelling, which `ring` defines; here it is owned, and known to be right.

use std::fmt;
use std::str::FromStr;

/// A node's name, known to be well formed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName {
    text: Box<str>,
    dc_len: usize,
    zone_len: usize,
}

/// The text is no `DC-AZ-N`. Whoever named the node renames it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNameError {
    /// The name that was probably meant, if the text has a letter or digit to guess from.
    pub meant: Option<Box<str>>,
}

impl NodeName {
    /// How it is written.
    pub const FORM: &'static str =
        "DC-AZ-N, capitals and digits (at most 8 and 4), then a number from 1 to 9999: `FL-A-1`";

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The data centre: `FL` of `FL-A-1`.
    #[must_use]
    pub fn dc(&self) -> &str {
        &self.text[..self.dc_len]
    }

    /// The zone within its data centre: `A` of `FL-A-1`.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.text[self.dc_len + 1..self.dc_len + 1 + self.zone_len]
    }

    /// The name as a part of a variable's: `FL_A_1`.
    pub(crate) fn in_variables(&self) -> String {
        self.text.replace('-', "_")
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<NodeName, NodeNameError> {
        well_formed(text).ok_or_else(|| NodeNameError { meant: meant(text) })
    }
}

fn well_formed(text: &str) -> Option<NodeName> {
    waterpark_ring::NodeName::parse(text).map(|parts| NodeName {
        text: text.into(),
        dc_len: parts.dc.len(),
        zone_len: parts.zone.len(),
    })
}

fn meant(text: &str) -> Option<Box<str>> {
    let guessable = text.len() <= 64 && text.bytes().any(|b| b.is_ascii_alphanumeric());
    guessable.then(|| waterpark_ring::suggest(text).into())
}

/// Kinds are named as key fields are: `[a-z][a-z0-9_]{0,31}`.
pub(crate) fn is_kind(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    plain && text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_data_centre_and_zone() {
        let name: NodeName = "FL2-A-17".parse().unwrap();
        assert_eq!((name.dc(), name.zone(), name.as_str()), ("FL2", "A", "FL2-A-17"));
        assert_eq!(name.in_variables(), "FL2_A_17");
        assert_eq!(name.to_string(), "FL2-A-17");
    }

    #[test]
    fn another_form_is_refused_with_the_name_that_was_meant() {
        let table = [
            ("fl-a-1", Some("FL-A-1")),
            (" TN-B-2", Some("TN-B-2")),
            ("TN_B_02", Some("TN-B-2")),
            ("TN-B", Some("TN-B-1")),
            ("", None),
            ("-", None),
            ("ÄÖ", None),
        ];
        for (text, meant) in table {
            let error = text.parse::<NodeName>().unwrap_err();
            assert_eq!(error.meant.as_deref(), meant, "{text:?}");
        }
        assert!("x".repeat(1_000_000).parse::<NodeName>().unwrap_err().meant.is_none());
    }

    #[test]
    fn the_form_that_is_shown_is_the_one_that_is_read() {
        assert_eq!((waterpark_ring::DC_BYTES_MAX, waterpark_ring::ZONE_BYTES_MAX), (8, 4));
        assert_eq!(waterpark_ring::NODE_NUMBER_MAX, 9_999);
        assert!("DDDDDDDD-ZZZZ-9999".parse::<NodeName>().is_ok());
    }
}
