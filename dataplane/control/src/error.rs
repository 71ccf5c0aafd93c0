//! All problems of a configuration that cannot be used.

use std::fmt;

use serde_json::{Value, json};

use crate::problem::{Problem, Severity};

/// Why there is no configuration: every problem that was found, warnings too, as a reader meets them from the top of the file.
///
/// Nothing was started and nothing changed; the operator mends the file. The command that shows it exits with 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Exit code of a command that ends with this: configuration.
    pub const EXIT_CODE: u8 = 3;

    /// # Panics
    ///
    /// If no problem is an error: the configuration could have been used.
    pub(crate) fn new(mut problems: Vec<Problem>) -> ConfigError {
        assert!(problems.iter().any(|p| p.severity() == Severity::Error));
        in_reading_order(&mut problems);
        ConfigError { problems }
    }

    /// Every problem, at least one of them an error.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let problems: Vec<Value> = self.problems.iter().map(Problem::to_json).collect();
        json!({ "schema": "waterpark.config_error.1", "complete": true, "problems": problems })
    }
}

/// From the top of the file; then the environment, then the command line.
pub(crate) fn in_reading_order(problems: &mut [Problem]) {
    // Stable: problems of one place stay in the order in which they were found.
    problems.sort_by_key(|problem| problem.place.rank());
}

impl From<Problem> for ConfigError {
    /// # Panics
    ///
    /// If it is a warning.
    fn from(problem: Problem) -> ConfigError {
        ConfigError::new(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    /// Each problem, a blank line after each, and how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}\n")?;
        }
        let errors = self.problems.iter().filter(|p| p.severity() == Severity::Error).count();
        let warnings = self.problems.len() - errors;
        write!(f, "{}", counted(errors, "error"))?;
        if warnings > 0 {
            write!(f, ", {}", counted(warnings, "warning"))?;
        }
        f.write_str("; the configuration was not used")
    }
}

fn counted(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

impl std::error::Error for ConfigError {}
