//! What is to be done to which node and when, as the command line says it: `8s:kill:FL-A-1`.
//!
//! Words alone; it does nothing. **Invariant:** whatever is in a drill can be understood: kinds, names and times were looked at before
//! anything was started.

use std::time::Duration;

use waterpark::config;

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Its threads stand still.
    Stop,
    /// It ends without a word.
    Kill,
    /// Its links carry nothing.
    Cut,
    /// It gives its groups away and stays.
    Drain,
    /// Whatever was done is undone.
    Restore,
}

impl Deed {
    /// As figures name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Deed::Stop => "stop",
            Deed::Kill => "kill",
            Deed::Cut => "cut",
            Deed::Drain => "drain",
            Deed::Restore => "restore",
        }
    }
}

/// Kinds as the command line has them, all at once for whoever writes another one.
const KINDS: &str = "stop, kill, cut, lose, drain or restore";

/// To whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A node, by its place.
    Node(usize),
    /// All nodes of a data centre.
    DataCentre(String),
}

/// One deed of a drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Since the feed began.
    pub(super) at: Duration,
    pub(super) deed: Deed,
    pub(super) target: Target,
    /// As it was written.
    pub(super) text: String,
}

/// Reads all steps, and gives them in the order of their times.
///
/// # Errors
/// What is wrong with the first one that means nothing, and what would mean something.
pub(super) fn read(texts: &[String], names: &[String], end: Option<Duration>) -> Result<Vec<Step>, String> {
    let steps: Result<Vec<Step>, String> = texts.iter().map(|text| step(text, names, end)).collect();
    let mut steps = steps?;
    // Of equal times in the order of the command line.
    steps.sort_by_key(|step| step.at);
    Ok(steps)
}

fn step(text: &str, names: &[String], end: Option<Duration>) -> Result<Step, String> {
    let mut parts = text.splitn(3, ':');
    let (Some(time), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!(
            "--fault {text} is none: it is TIME:KIND:NAME, as in 8s:kill:FL-A-1; KIND is {KINDS}"
        ));
    };
    let at = time
        .parse::<config::Duration>()
        .map(|time| Duration::from_micros(time.as_us()));
    let at = at.map_err(|_| format!("--fault {text}: `{time}` is no time; write one as 8s or 500ms"))?;
    if let Some(end) = end.filter(|end| at >= *end) {
        return Err(format!(
            "--fault {text} comes after the end of the feed at {end:?}; --for says how long it runs"
        ));
    }
    let target = match names.iter().position(|own| own == name) {
        Some(place) => Target::Node(place),
        None if names.iter().any(|own| own.split('-').next() == Some(name)) => Target::DataCentre(name.to_owned()),
        None => {
            return Err(format!(
                "--fault {text}: `{name}` is neither a node nor a data centre of the demo; nodes are {} to {}, data centres FL, TN, TX and UT",
                names.first().map_or("", String::as_str),
                names.last().map_or("", String::as_str),
            ));
        }
    };
    let deed = match (kind, &target) {
        ("stop", _) => Deed::Stop,
        ("kill", _) | ("lose", Target::DataCentre(_)) => Deed::Kill,
        ("lose", Target::Node(_)) => {
            return Err(format!(
                "--fault {text}: a data centre is lost, a node is killed: {time}:kill:{name}"
            ));
        }
        ("cut", _) => Deed::Cut,
        ("drain", _) => Deed::Drain,
        ("restore", _) => Deed::Restore,
        _ => return Err(format!("--fault {text}: `{kind}` is none; KIND is {KINDS}")),
    };
    let text = text.to_owned();
    Ok(Step { at, deed, target, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["FL-A-1", "FL-B-1", "UT-A-1"].map(str::to_owned).to_vec()
    }

    fn read_one(text: &str) -> Result<Step, String> {
        let steps = read(&[text.to_owned()], &names(), Some(Duration::from_secs(20)))?;
        Ok(steps.into_iter().next().expect("one was read"))
    }

    #[test]
    fn a_step_names_a_time_a_deed_and_a_node_or_a_data_centre() {
        let kill = read_one("8s:kill:FL-B-1").expect("it is one");
        assert_eq!(
            (kill.at, kill.deed, kill.target),
            (Duration::from_secs(8), Deed::Kill, Target::Node(1))
        );
        let lose = read_one("500ms:lose:UT").expect("it is one");
        assert_eq!(
            (lose.deed, lose.target),
            (Deed::Kill, Target::DataCentre("UT".to_owned()))
        );
        for (kind, deed) in [
            ("stop", Deed::Stop),
            ("cut", Deed::Cut),
            ("drain", Deed::Drain),
            ("restore", Deed::Restore),
        ] {
            assert_eq!(read_one(&format!("1s:{kind}:FL")).expect("it is one").deed, deed);
        }
    }

    #[test]
    fn steps_come_in_the_order_of_their_times() {
        let texts = ["9s:restore:FL", "2s:stop:FL", "9s:stop:UT"].map(str::to_owned);
        let steps = read(&texts, &names(), None).expect("all are steps");
        let texts: Vec<&str> = steps.iter().map(|step| step.text.as_str()).collect();
        assert_eq!(texts, ["2s:stop:FL", "9s:restore:FL", "9s:stop:UT"]);
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_would() {
        for (text, said) in [
            ("kill:FL-A-1", "TIME:KIND:NAME"),
            ("", "TIME:KIND:NAME"),
            ("soon:kill:FL-A-1", "`soon` is no time"),
            ("8s:explode:FL-A-1", "`explode` is none"),
            ("8s:kill:NY-A-1", "`NY-A-1` is neither a node nor a data centre"),
            ("8s:kill:", "`` is neither"),
            ("8s:lose:FL-A-1", "8s:kill:FL-A-1"),
            ("20s:kill:FL-A-1", "after the end"),
        ] {
            let refusal = read_one(text).expect_err(text);
            assert!(refusal.contains(said), "{text}: {refusal}");
        }
    }
}
