//! `waterpark bench peers`: other systems on the same work in the same run, and Waterpark by each of them.
//!
//! **Invariant:** what was asked for has a line: measured, or skipped with what to install; and what an ack promises stands beside every system.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use waterpark::config::{Duration, MeasuringCode};
use waterpark_bench::Verdict;
use waterpark_bench::report::{DURABILITY, Target};
use waterpark_peers::judge::{OWN_CLASS, median};
use waterpark_peers::{Comparison, Figure, Kind, PeersPlan, Seen, Setting, Stretch, figures, measure};

use super::environment::{command_line, environment};
use super::figures::number;
use super::{options, own_binary, usage};
use crate::errors;
use crate::failure::code;
use crate::host::{self, Root};
use crate::node::Driver;
use crate::{show, signals};

/// A shorter stretch says nothing.
const TIME_MIN: Duration = Duration::from_us(500_000);

/// Which peers, and what they are sent.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Names of peers; all where nothing is said
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',', value_parser = peer)]
    only: Vec<Kind>,
    /// How long messages are sent for one measurement; settings are tried for a third of it each
    #[arg(long = "for", value_name = "TIME", default_value = "3s")]
    time: Duration,
    /// How often each system has its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Bytes of a message
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = options::message_bytes)]
    message_bytes: usize,
    /// Actors: lists, processes, subjects or numbers of rows, as a peer has them
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    actors: u64,
    /// Kernel interface for the sockets of Waterpark's nodes
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn peer(name: &str) -> Result<Kind, String> {
    let names = Kind::ALL.map(|kind| kind.spec().name).join(", ");
    Kind::named(name).ok_or_else(|| format!("peers are {names}"))
}

/// 0: all that was to be reached is. 1: something acked is not held, or no peer is installed. 2: options that mean nothing. 10: something is
/// missed.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let steal_before = host::steal_ms();
    let comparison = match signals::attended(|mut say, go_on| measure(&plan, &mut say, go_on)) {
        Ok(comparison) => comparison,
        Err(code) => return code,
    };
    let figures = figures(&comparison);
    if arguments.json {
        let steal_ms = (host::steal_ms().zip(steal_before)).map(|(after, before)| after.saturating_sub(before));
        println!("{}", object(&plan, &comparison, &figures, steal_ms));
    } else {
        println!("{}", page(&plan, &comparison, &figures));
    }
    end(&comparison, &figures)
}

fn plan(arguments: &Arguments) -> Result<PeersPlan, ExitCode> {
    if arguments.time.as_us() < TIME_MIN.as_us() {
        return usage(&format!("--for is at least {TIME_MIN}: less is no measurement"));
    }
    let only = match arguments.only.is_empty() {
        true => Kind::ALL.to_vec(),
        false => arguments.only.clone(),
    };
    Ok(PeersPlan {
        binary: own_binary()?,
        driver: arguments.driver.name().to_owned(),
        only,
        time: std::time::Duration::from_micros(arguments.time.as_us()),
        repeats: arguments.repeats,
        message_bytes: arguments.message_bytes,
        actors: arguments.actors,
    })
}

fn end(comparison: &Comparison, figures: &[Figure]) -> ExitCode {
    if comparison.peers.is_empty() {
        let absent = comparison.absent.iter();
        let absent: Vec<String> = absent
            .map(|absent| format!("{} lacks {}", absent.kind.spec().name, absent.lacks.join(", ")))
            .collect();
        errors::say(MeasuringCode::NoPeer.entry(), &absent.join("; "));
        return ExitCode::FAILURE;
    }
    let mut failed = false;
    if let (true, Some(code)) = (comparison.own_lost, errors::of_verdict(Verdict::Fail)) {
        errors::say(code, &code.title);
        failed = true;
    }
    let lost = comparison.peers.iter().filter(|seen| seen.lost);
    let lost: Vec<&str> = lost.map(|seen| seen.kind.spec().name).collect();
    if !lost.is_empty() {
        errors::say(MeasuringCode::PeerLost.entry(), &lost.join("; "));
        failed = true;
    }
    if failed {
        return ExitCode::FAILURE;
    }
    let missed = figures.iter().filter(|figure| figure.is_met() == Some(false));
    let mut missed: Vec<String> = missed
        .map(|figure| format!("{} by {}", figure.name, figure.peer.spec().name))
        .collect();
    // A peer whose figures have no target may be without any figure.
    let silent = comparison
        .peers
        .iter()
        .filter(|seen| seen.rounds.iter().all(|round| round.turn.is_none()));
    missed.extend(silent.map(|seen| format!("{} was not measured", seen.kind.spec().name)));
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    errors::say(MeasuringCode::PeerFigureMissed.entry(), &missed.join("; "));
    ExitCode::from(code::REGRESSION)
}

fn verdict(figure: &Figure) -> &'static str {
    match figure.is_met() {
        Some(true) => "met",
        Some(false) => "missed",
        None => "-",
    }
}

/// The least and the most of all rounds.
fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let most = values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, most))
}

/// For programs.
fn object(plan: &PeersPlan, comparison: &Comparison, figures: &[Figure], steal_ms: Option<u64>) -> Value {
    let absent = comparison.absent.iter().map(|absent| {
        json!({ "name": absent.kind.spec().name, "lacks": absent.lacks, "install": absent.kind.spec().install })
    });
    json!({
        "schema": "waterpark.bench_peers.1",
        "settings": {
            "for_s": plan.time.as_secs_f64(), "repeats": plan.repeats, "message_bytes": plan.message_bytes, "actors": plan.actors,
            "driver": plan.driver,
        },
        "command": command_line(std::env::args()),
        "environment": environment(&Root::new("/".as_ref()), steal_ms),
        "waterpark": {
            "class": OWN_CLASS.name(), "durability": DURABILITY, "why": comparison.own_flaws, "lost": comparison.own_lost,
            "in_flight_at_peak": comparison.own_in_flight(),
            "tried": comparison.own_tried.iter().map(|(in_flight, acked)| json!({ "in_flight": in_flight, "acked_per_s": acked })).collect::<Value>(),
            "peak": comparison.own.iter().map(stretch_object).collect::<Value>(),
        },
        "peers": comparison.peers.iter().map(peer_object).collect::<Value>(),
        "absent": absent.collect::<Value>(),
        "figures": figures.iter().map(figure_object).collect::<Value>(),
    })
}

fn setting_object(setting: Setting) -> Value {
    json!({ "connections": setting.connections, "window": setting.window })
}

fn stretch_object(stretch: &Stretch) -> Value {
    let [p50, p99, p999] = stretch.response_us;
    json!({
        "rate_per_s": stretch.rate, "acked_per_s": stretch.acked_per_s, "cpu_ns_per_msg": stretch.cpu_ns,
        "generator_cpu_ns_per_msg": stretch.generator_cpu_ns, "ack_us": { "p50": p50, "p99": p99, "p999": p999 },
        "late": stretch.is_late, "not_acked": stretch.not_acked,
    })
}

fn peer_object(seen: &Seen) -> Value {
    let spec = seen.kind.spec();
    let rounds = seen.rounds.iter().map(|round| {
        let turn = round.turn.as_ref();
        json!({
            "peak": turn.map(|turn| stretch_object(&turn.peak)),
            "half": turn.map(|turn| stretch_object(&turn.half)),
            "read_back": turn.map(|turn| turn.findings.to_json()),
            "waterpark_peak": round.own_peak.as_ref().map(stretch_object),
            "waterpark_beside_half": round.beside.as_ref().map(stretch_object),
        })
    });
    let tried = seen
        .rounds
        .iter()
        .filter_map(|round| round.turn.as_ref())
        .flat_map(|turn| &turn.tried);
    let tried = tried.map(|(setting, acked)| json!({ "setting": setting_object(*setting), "acked_per_s": acked }));
    json!({
        "name": spec.name, "what": spec.what, "version": seen.version, "class": spec.class.name(), "durability": spec.durability,
        "setting_at_peak": seen.best().map(|best| setting_object(best.peak)),
        "setting_at_half": seen.best().map(|best| setting_object(best.half)),
        "tried": tried.collect::<Value>(), "rounds": rounds.collect::<Value>(), "why": seen.flaws, "lost": seen.lost,
    })
}

fn figure_object(figure: &Figure) -> Value {
    let range = range(&figure.values);
    json!({
        "peer": figure.peer.spec().name, "figure": figure.name, "target": figure.target.map(Target::value),
        "bound": figure.target.map(Target::bound), "result": figure.result(), "least": range.map(|(least, _)| least),
        "most": range.map(|(_, most)| most), "runs": figure.values, "unit": "", "verdict": figure.is_met().map(|_| verdict(figure)),
        "why": figure.flaws,
    })
}

/// For people.
fn page(plan: &PeersPlan, comparison: &Comparison, figures: &[Figure]) -> String {
    let mut text = String::new();
    if !comparison.peers.is_empty() {
        text += &systems(comparison);
        text += "\n";
        text += &ratios(figures);
        text += "\n";
        text += &reasons(comparison, figures);
        text += "\n";
        let in_flight = comparison.own_in_flight();
        text += &format!(
            "waterpark: {}: {DURABILITY}; {in_flight} messages under way for the most\n",
            OWN_CLASS.name()
        );
    }
    for seen in &comparison.peers {
        let spec = seen.kind.spec();
        let version = seen.version.as_deref().unwrap_or("of no version that it tells");
        text += &format!(
            "{}: {}: {}\n  {}\n  {version}",
            spec.name,
            spec.class.name(),
            spec.durability,
            spec.what
        );
        if let Some(best) = seen.best() {
            let of = |setting: Setting| format!("{} x {}", setting.connections, setting.window);
            text += &format!(
                "; connections x messages: {} for the most, {} at half of it",
                of(best.peak),
                of(best.half)
            );
        }
        let turns = seen.rounds.iter().filter_map(|round| round.turn.as_ref());
        let looked_for: u64 = turns.map(|turn| turn.findings.looked_for).sum();
        if looked_for > 0 {
            let held = if seen.lost { "FAIL" } else { "all held" };
            text += &format!("; {looked_for} acked messages looked for, {held}");
        }
        let halves = seen.rounds.iter().filter_map(|round| round.turn.as_ref());
        let late = halves.filter(|turn| turn.half.is_late).count();
        if late > 0 {
            text += &format!(
                "; at half of its most INVALID in {late} of {} rounds",
                seen.rounds.len()
            );
        }
        text += "\n";
        text.extend(seen.flaws.iter().map(|flaw| format!("  {flaw}\n")));
    }
    text.extend(comparison.own_flaws.iter().map(|flaw| format!("waterpark: {flaw}\n")));
    for absent in &comparison.absent {
        let spec = absent.kind.spec();
        text += &format!(
            "{}: skipped: there is no {}; install {}\n",
            spec.name,
            absent.lacks.join(", "),
            spec.install
        );
    }
    let (bytes, actors) = (plan.message_bytes, plan.actors);
    text +=
        &format!("{bytes} bytes to {actors} actors; five servers and the generator share all cores; medians of rounds");
    text
}

/// Each system as it was loaded: at its most, and at half of a peer's most.
fn systems(comparison: &Comparison) -> String {
    let heads = [
        "system",
        "class",
        "load",
        "acked/s",
        "server ns/msg",
        "generator ns/msg",
        "p50 us",
        "p99 us",
        "p99.9 us",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let own: Vec<&Stretch> = comparison.own.iter().collect();
    rows.extend(system("waterpark", OWN_CLASS.name(), "most", &own));
    for seen in &comparison.peers {
        let (name, class) = (seen.kind.spec().name, seen.kind.spec().class.name());
        let turns = || seen.rounds.iter().filter_map(|round| round.turn.as_ref());
        let peak: Vec<&Stretch> = turns().map(|turn| &turn.peak).collect();
        let half: Vec<&Stretch> = turns().map(|turn| &turn.half).collect();
        let beside: Vec<&Stretch> = seen.rounds.iter().filter_map(|round| round.beside.as_ref()).collect();
        rows.extend(system(name, class, "most", &peak));
        rows.extend(system(name, class, "half", &half));
        rows.extend(system(
            "waterpark",
            OWN_CLASS.name(),
            &format!("{name}'s half"),
            &beside,
        ));
    }
    show::table(&rows)
}

fn system(name: &str, class: &str, load: &str, stretches: &[&Stretch]) -> Option<Vec<String>> {
    let of = |figure: &dyn Fn(&Stretch) -> f64| {
        let values: Vec<f64> = stretches.iter().map(|stretch| figure(stretch)).collect();
        median(&values).map(|value| format!("{value:.0}"))
    };
    let us = |at: usize| of(&|stretch| f64::from(u32::try_from(stretch.response_us[at]).unwrap_or(u32::MAX)));
    let row = [
        Some(name.to_owned()),
        Some(class.to_owned()),
        Some(load.to_owned()),
        of(&|stretch| stretch.acked_per_s),
        of(&|stretch| stretch.cpu_ns),
        of(&|stretch| stretch.generator_cpu_ns),
        us(0),
        us(1),
        us(2),
    ];
    row.into_iter().collect()
}

fn ratios(figures: &[Figure]) -> String {
    let heads = [
        "waterpark by",
        "figure",
        "target",
        "result",
        "range",
        "rounds",
        "verdict",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for figure in figures {
        let peer = figure.peer.spec().name;
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let target = figure.target.map(|target| match target {
            Target::AtLeast(target) => format!(">= {}", number(target)),
            Target::AtMost(target) => format!("<= {}", number(target)),
        });
        let range = range(&figure.values).map(|(least, most)| format!("{} to {}", number(least), number(most)));
        let none = match figure.peer.spec().class == OWN_CLASS {
            true => "none",
            false => "none: another class",
        };
        rows.push(vec![
            peer.to_owned(),
            figure.name.to_owned(),
            target.unwrap_or_else(|| none.to_owned()),
            or_none(figure.result().map(number)),
            or_none(range),
            figure.values.len().to_string(),
            verdict(figure).to_owned(),
        ]);
    }
    show::table(&rows)
}

/// What speaks against a figure, as far as it is not said of its peer or of Waterpark as a whole.
fn reasons(comparison: &Comparison, figures: &[Figure]) -> String {
    let of_systems = comparison
        .peers
        .iter()
        .map(|seen| &seen.flaws)
        .chain([&comparison.own_flaws]);
    let said: Vec<&String> = of_systems.flatten().collect();
    let with_target = figures.iter().filter(|figure| figure.target.is_some());
    let lines = with_target.flat_map(|figure| {
        let own = figure.flaws.iter().filter(|flaw| !said.contains(flaw));
        own.map(|flaw| format!("{} by {}: {flaw}\n", figure.name, figure.peer.spec().name))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use waterpark_peers::Round;
    use waterpark_peers::peer::Class;

    use super::*;

    fn figure(peer: Kind, target: Option<Target>, values: &[f64]) -> Figure {
        Figure {
            peer,
            name: "acked",
            target,
            values: values.to_vec(),
            flaws: Vec::new(),
        }
    }

    fn seen(kind: Kind) -> Seen {
        let stretch = || Stretch {
            acked_per_s: 10.0,
            ..Stretch::default()
        };
        Seen {
            kind,
            version: None,
            rounds: vec![Round {
                turn: None,
                beside: Some(stretch()),
                own_peak: Some(stretch()),
            }],
            flaws: vec!["no measurement: it".to_owned()],
            lost: false,
        }
    }

    #[test]
    fn names_of_peers_are_known_and_others_are_refused_with_those_that_there_are() {
        assert_eq!(peer("redis"), Ok(Kind::Redis));
        assert!(
            peer("Redis")
                .unwrap_err()
                .contains("redis, erlang, nats, postgres, etcd, rabbitmq")
        );
    }

    #[test]
    fn every_figure_tells_what_was_reached_and_whether_that_is_enough() {
        let of = |target, values: &[f64]| figure_object(&figure(Kind::Redis, target, values));
        let met = of(Some(Target::AtLeast(5.0)), &[4.0, 6.0, 5.5]);
        assert_eq!((&met["result"], &met["verdict"]), (&json!(5.5), &json!("met")), "{met}");
        assert_eq!((&met["least"], &met["most"]), (&json!(4.0), &json!(6.0)), "{met}");
        assert_eq!(of(Some(Target::AtLeast(5.0)), &[4.0])["verdict"], "missed");
        assert_eq!(of(Some(Target::AtLeast(5.0)), &[])["verdict"], "missed");
        assert_eq!(of(None, &[4.0])["verdict"], Value::Null);
    }

    #[test]
    fn a_class_of_its_own_is_said_beside_its_figures() {
        let text = ratios(&[figure(Kind::Postgres, None, &[4.0]), figure(Kind::Redis, None, &[4.0])]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("none: another class"), "{text}");
        assert!(!lines[2].contains("another class"), "{text}");
        assert_ne!(Kind::Postgres.spec().class, Class::Ram);
    }

    #[test]
    fn what_is_absent_lost_or_not_measured_decides_the_exit_code() {
        let none = Comparison::default();
        assert_eq!(end(&none, &[]), ExitCode::FAILURE);
        let one = |change: fn(&mut Comparison)| {
            let mut comparison = Comparison {
                peers: vec![seen(Kind::Redis)],
                ..Comparison::default()
            };
            change(&mut comparison);
            comparison
        };
        let unmeasured = one(|_| ());
        assert_eq!(end(&unmeasured, &[]), ExitCode::from(code::REGRESSION));
        let lost = one(|comparison| comparison.peers[0].lost = true);
        assert_eq!(end(&lost, &[]), ExitCode::FAILURE);
        let own = one(|comparison| comparison.own_lost = true);
        assert_eq!(end(&own, &[]), ExitCode::FAILURE);
        let text = systems(&unmeasured);
        assert!(text.lines().count() == 2 && text.contains("redis's half"), "{text}");
    }
}
