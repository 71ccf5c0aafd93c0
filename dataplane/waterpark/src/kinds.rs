//! The kinds of a node, keeping what its configuration says.
//!
//! **Invariant:** a kind that the configuration names is served, or the node does not start: nobody is left to believe that a rule holds
//! which no actor will ever meet.

use waterpark_control::{ClusterConfig, History};
use waterpark_core::behaviour::Retention;
use waterpark_handlers::Kinds;

use crate::NodeError;

/// The kinds that run, each with the history that the configuration gives it.
pub(crate) fn configured(config: &ClusterConfig, kinds: Kinds) -> Result<Kinds, NodeError> {
    let mut kinds = kinds;
    for (kind, history) in &config.kinds {
        if !kinds.keep(kind, retention(*history)) {
            let served: Vec<String> = kinds
                .names()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect();
            return Err(NodeError::Kind {
                kind: kind.clone(),
                served: served.join(", "),
            });
        }
    }
    Ok(kinds)
}

/// Group time counts milliseconds, and keeping a little more is never wrong: a time between two is rounded up.
fn retention(history: History) -> Retention {
    match history {
        History::All => Retention::All,
        // An actor has no more messages than that.
        History::Last(count) => Retention::Last(u32::try_from(count).unwrap_or(u32::MAX)),
        History::For(time) => Retention::For(time.as_us().div_ceil(1_000)),
        History::None => Retention::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_core::behaviour::Behaviour;

    fn config(kinds: &str) -> ClusterConfig {
        let id = "0123456789abcdef0123456789abcdef";
        let text = format!(
            "format = 1\n[cluster]\nid = \"{id}\"\ngroups = 64\nclasses = 4\nmembers = 1\n{kinds}\n\
             [[node]]\nid = 1\nname = \"FL-A-1\"\nhost = \"127.0.0.1\"\nport = 7000\n"
        );
        waterpark_control::parse("cluster.toml", &text, [])
            .unwrap_or_else(|error| panic!("{error}"))
            .config
    }

    fn kept(kinds: &str, kind: &str) -> Retention {
        let kinds = configured(&config(kinds), Kinds::built_in()).unwrap();
        kinds.retention(kinds.kind(kind.as_bytes()).unwrap())
    }

    #[test]
    fn kinds_keep_what_the_configuration_says_and_everything_where_it_is_silent() {
        let text = "[kinds.record]\nhistory = \"last 100\"\n[kinds.pool]\nhistory = \"for 1500us\"";
        assert_eq!(kept(text, "record"), Retention::Last(100));
        assert_eq!(kept(text, "pool"), Retention::For(2));
        assert_eq!(kept(text, "register"), Retention::All);
        assert_eq!(kept("[kinds.pool]\nhistory = \"none\"", "pool"), Retention::None);
    }

    #[test]
    fn a_kind_that_nothing_serves_keeps_the_node_from_starting() {
        let config = config("[kinds.recrod]\nhistory = \"none\"");
        let error = configured(&config, Kinds::built_in()).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let said = error.to_string();
        assert!(
            said.contains("`recrod`") && said.contains("pool, record, register"),
            "{said}"
        );
    }
}
