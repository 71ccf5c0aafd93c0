//! How fresh an answer has to be, as it is said on the command line.
//!
//! It asks nobody. **Invariant:** a level is asked for with what it needs, and with nothing else: a token is a session's, a bound a bounded
//! read's.

use clap::{Args, ValueEnum};
use waterpark::config::Duration;
use waterpark_client::{ReadOptions, Token};
use waterpark_wire::request::ReadLevel;

/// A level by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// What anybody was told before is in it: asked of the writer, which asks its followers
    Linearizable,
    /// What the token names is in it: any member that has it answers
    Session,
    /// What was acked so long ago is in it: any member that knows so answers
    Bounded,
    /// Whatever a member has
    Any,
}

/// How fresh.
#[derive(Args)]
pub(super) struct Fresh {
    /// How fresh the answer must be; without it linearizable, or with --from any
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// With --level session: what was written or read before, as LINEAGE:VIEW:SEQ
    #[arg(long, value_name = "TOKEN", value_parser = token, required_if_eq("level", "session"))]
    token: Option<(u64, u64, u64)>,
    /// With --level bounded: how old the answer may be
    #[arg(long, value_name = "TIME", required_if_eq("level", "bounded"))]
    max_age: Option<Duration>,
}

impl Fresh {
    /// These options at this level; the token is one of the actor's group.
    pub(super) fn apply(&self, group: u32, options: &mut ReadOptions) {
        options.level = match self.level {
            None if options.at.is_some() => ReadLevel::Any,
            None | Some(Level::Linearizable) => ReadLevel::Linearizable,
            Some(Level::Session) => ReadLevel::Session,
            Some(Level::Bounded) => ReadLevel::Bounded,
            Some(Level::Any) => ReadLevel::Any,
        };
        options.token = self.token.map(|(lineage, view, seq)| Token {
            lineage,
            group,
            view,
            seq,
        });
        let age_ms = self.max_age.map_or(0, |age| age.as_us() / 1_000);
        options.age_ms = u32::try_from(age_ms).unwrap_or(u32::MAX);
    }
}

/// A level as it is shown.
pub(super) fn name(level: ReadLevel) -> &'static str {
    match level {
        ReadLevel::Linearizable => "linearizable",
        ReadLevel::Session => "session",
        ReadLevel::Bounded => "bounded",
        ReadLevel::Any => "any",
    }
}

fn token(text: &str) -> Result<(u64, u64, u64), String> {
    let numbers: Vec<u64> = text.split(':').map_while(|part| part.parse().ok()).collect();
    match (numbers.as_slice(), text.split(':').count()) {
        (&[lineage, view, seq], 3) => Ok((lineage, view, seq)),
        _ => Err("a token is three numbers, LINEAGE:VIEW:SEQ, for example 0:1:40".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_three_numbers() {
        assert_eq!(token("0:1:40"), Ok((0, 1, 40)));
        for wrong in ["", "40", "1:40", "0:1:40:2", "0:1:x", "0:x:1", "::", "-1:0:0"] {
            assert!(token(wrong).is_err(), "{wrong:?}");
        }
    }
}
