//! Log lines: one per event on stderr, text on a terminal, else JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Begins to write log lines. `WATERPARK_LOG` chooses the level (`debug`, `warn`); without it `info`.
pub(crate) fn begin() {
    let filter = EnvFilter::try_from_env("WATERPARK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let terminal = std::io::stderr().is_terminal();
    // A subscriber that is set already, by an embedder, stays.
    let set = if terminal {
        lines.with_ansi(true).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
    drop(set);
}
