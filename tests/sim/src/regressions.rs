//! Scenarios that once showed a fault, of the code or of a rule that was broken on purpose: they run with every test.
//!
//! **Invariant:** each row names a scenario, its date, the invariant and what it showed.

use crate::scenario::{BadToken, Scenario};

/// The rows, as they are kept: token, date, invariant, what it showed, between bars.
const TEXT: &str = include_str!("../regressions.txt");

/// One of them.
#[derive(Clone, Debug)]
pub struct Regression {
    /// What is run.
    pub scenario: Scenario,
    /// When it was found.
    pub date: &'static str,
    /// The invariant, by its number in `docs/protocol.md`.
    pub invariant: u32,
    /// What it showed.
    pub showed: &'static str,
}

/// Why a row is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRow {
    /// It does not have its four parts.
    Parts(&'static str),
    /// Its first part is no token.
    Token(BadToken),
    /// Its third part is no number.
    Invariant(&'static str),
}

/// All of them.
///
/// # Errors
/// [`BadRow`] if the file has a row that is none.
pub fn regressions() -> Result<Vec<Regression>, BadRow> {
    let rows = TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(row).collect()
}

fn row(line: &'static str) -> Result<Regression, BadRow> {
    let parts: Vec<&str> = line.split('|').map(str::trim).collect();
    let [token, date, invariant, showed] = parts[..] else {
        return Err(BadRow::Parts(line));
    };
    Ok(Regression {
        scenario: Scenario::parse(token).map_err(BadRow::Token)?,
        date,
        invariant: invariant.parse().map_err(|_| BadRow::Invariant(line))?,
        showed,
    })
}
