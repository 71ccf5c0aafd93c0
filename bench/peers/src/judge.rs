//! From all turns to figures: Waterpark by each peer, round for round, with what is to be reached where something is.
//!
//! **Invariant:** a figure with a target is met only if every round gave it a value that counts; between classes nothing has a target.

use waterpark_bench::report::Target;

use crate::peer::{Class, Kind, Spec};
use crate::turn::Stretch;
use crate::{Comparison, Round, Seen};

/// The class of Waterpark's acks.
pub const OWN_CLASS: Class = Class::Ram;
/// What is to be reached beside Redis: acks, and CPU time.
const REDIS_ACKED: Target = Target::AtLeast(5.0);
const REDIS_CPU: Target = Target::AtMost(0.1);
/// What is to be reached beside process pairs.
const ERLANG_ACKED: Target = Target::AtLeast(50.0);
/// No response time is longer than the peer's.
const NO_LATER: Target = Target::AtMost(1.0);

/// One ratio, Waterpark's by a peer's.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The peer.
    pub peer: Kind,
    /// What is compared.
    pub name: &'static str,
    /// What is to be reached.
    pub target: Option<Target>,
    /// A value for each round that gave one.
    pub values: Vec<f64>,
    /// What speaks against it.
    pub flaws: Vec<String>,
}

impl Figure {
    /// The median of all rounds.
    #[must_use]
    pub fn result(&self) -> Option<f64> {
        median(&self.values)
    }

    /// Whether it is reached; `None` where nothing is to be.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        let target = self.target?;
        let reaches = self.result().is_some_and(|result| target.is_met_by(result));
        Some(reaches && self.flaws.is_empty())
    }
}

/// The value in the middle; of two, what lies between them. `None` of none.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some(f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]))
}

/// What is to be reached beside a peer: acks, CPU time, response times.
fn targets(kind: Kind, spec: &Spec) -> [Option<Target>; 4] {
    let later = (spec.class == OWN_CLASS).then_some(NO_LATER);
    match kind {
        Kind::Redis => [Some(REDIS_ACKED), Some(REDIS_CPU), later, later],
        Kind::Erlang => [Some(ERLANG_ACKED), None, later, later],
        Kind::Nats | Kind::Postgres | Kind::Etcd | Kind::Rabbit => [None, None, later, later],
    }
}

/// The figures of all peers, in their order.
#[must_use]
pub fn figures(comparison: &Comparison) -> Vec<Figure> {
    let peers = comparison.peers.iter();
    peers.flat_map(|seen| of_peer(seen, &comparison.own_flaws)).collect()
}

fn of_peer(seen: &Seen, own_flaws: &[String]) -> [Figure; 4] {
    let names = [
        "acked",
        "cpu of all servers",
        "p50 at half its most",
        "p99.9 at half its most",
    ];
    let [acked, cpu, p50, p999] = targets(seen.kind, &seen.kind.spec());
    let at_peak = |figure: fn(&Stretch) -> f64| {
        ratios(&seen.rounds, move |round| {
            Some((figure(round.own_peak.as_ref()?), figure(&round.turn.as_ref()?.peak)))
        })
    };
    let at_half = |quantile: usize| {
        ratios(&seen.rounds, move |round| {
            let (own, peer) = (round.beside.as_ref()?, &round.turn.as_ref()?.half);
            let us = |stretch: &Stretch| f64::from(u32::try_from(stretch.response_us[quantile]).unwrap_or(u32::MAX));
            (!own.is_late && !peer.is_late).then(|| (us(own), us(peer)))
        })
    };
    let values = [
        (acked, at_peak(|stretch| stretch.acked_per_s)),
        (cpu, at_peak(|stretch| stretch.cpu_ns)),
        (p50, at_half(0)),
        (p999, at_half(2)),
    ];
    let mut names = names.into_iter();
    values.map(|(target, values)| {
        let mut flaws: Vec<String> = seen.flaws.iter().chain(own_flaws).cloned().collect();
        if flaws.is_empty() && (values.is_empty() || values.len() < seen.rounds.len()) {
            flaws.push(format!(
                "{} of {} rounds gave no value for it: INVALID, or not measured",
                seen.rounds.len() - values.len(),
                seen.rounds.len()
            ));
        }
        Figure {
            peer: seen.kind,
            name: names.next().expect("a name for each"),
            target,
            values,
            flaws,
        }
    })
}

/// Waterpark's value by the peer's, of each round that has both.
fn ratios(rounds: &[Round], both: impl Fn(&Round) -> Option<(f64, f64)>) -> Vec<f64> {
    let both = rounds.iter().filter_map(both);
    both.filter(|(_, peer)| *peer > 0.0)
        .map(|(own, peer)| own / peer)
        .collect()
}

#[cfg(test)]
mod tests {
    use waterpark_bench::ledger::Findings;

    use super::*;
    use crate::load::Setting;
    use crate::turn::{Best, Turn};

    fn stretch(acked_per_s: f64, cpu_ns: f64, us: u64) -> Stretch {
        Stretch {
            acked_per_s,
            cpu_ns,
            response_us: [us, us, us],
            ..Stretch::default()
        }
    }

    fn round(own: Stretch, beside: Stretch, peer: Stretch) -> Round {
        let setting = Setting {
            connections: 1,
            window: 1,
        };
        Round {
            turn: Some(Turn {
                best: Best {
                    peak: setting,
                    half: setting,
                },
                tried: Vec::new(),
                peak: peer.clone(),
                half: peer,
                findings: Findings::default(),
            }),
            beside: Some(beside),
            own_peak: Some(own),
        }
    }

    fn seen(kind: Kind, rounds: Vec<Round>) -> Seen {
        Seen {
            kind,
            version: None,
            rounds,
            flaws: Vec::new(),
            lost: false,
        }
    }

    fn met(seen: &Seen) -> [Option<bool>; 4] {
        of_peer(seen, &[]).map(|figure| figure.is_met())
    }

    #[test]
    fn the_median_of_the_rounds_is_judged() {
        let peer = || stretch(100.0, 1_000.0, 100);
        let own = |acked| round(stretch(acked, 100.0, 0), stretch(0.0, 0.0, 90), peer());
        let redis = seen(Kind::Redis, vec![own(510.0), own(90.0), own(505.0)]);
        assert_eq!(met(&redis), [Some(true); 4]);
        let slower = seen(Kind::Redis, vec![own(510.0), own(90.0), own(499.0)]);
        assert_eq!(met(&slower)[0], Some(false));
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn later_acks_and_more_cpu_time_are_missed() {
        let peer = || stretch(100.0, 1_000.0, 100);
        let table = [
            (
                Kind::Redis,
                500.0,
                101.0,
                100,
                [Some(true), Some(false), Some(true), Some(true)],
            ),
            (
                Kind::Redis,
                500.0,
                100.0,
                101,
                [Some(true), Some(true), Some(false), Some(false)],
            ),
            (
                Kind::Erlang,
                4_999.0,
                9_000.0,
                5,
                [Some(false), None, Some(true), Some(true)],
            ),
            (Kind::Nats, 1.0, 9_000.0, 101, [None, None, Some(false), Some(false)]),
        ];
        for (kind, acked, cpu, us, wanted) in table {
            let rounds = vec![round(stretch(acked, cpu, 0), stretch(0.0, 0.0, us), peer())];
            assert_eq!(met(&seen(kind, rounds)), wanted, "{kind:?} {acked} {cpu} {us}");
        }
    }

    #[test]
    fn a_peer_of_another_class_has_no_target() {
        let rounds = vec![round(
            stretch(1.0, 1.0, 1),
            stretch(1.0, 1.0, 900),
            stretch(1.0, 1.0, 1),
        )];
        assert_ne!(Kind::Postgres.spec().class, OWN_CLASS);
        assert_eq!(met(&seen(Kind::Postgres, rounds)), [None; 4]);
    }

    #[test]
    fn what_was_not_measured_or_does_not_count_is_missed_and_says_why() {
        let good = || round(stretch(1e9, 1.0, 1), stretch(1.0, 1.0, 1), stretch(100.0, 1_000.0, 100));
        let mut late = good();
        late.beside.as_mut().unwrap().is_late = true;
        let mut peer_late = good();
        peer_late.turn.as_mut().unwrap().half.is_late = true;
        let mut no_turn = good();
        no_turn.turn = None;
        for rounds in [
            vec![good(), late],
            vec![good(), peer_late],
            vec![good(), no_turn],
            Vec::new(),
        ] {
            for figure in &of_peer(&seen(Kind::Redis, rounds), &[])[2..] {
                assert_eq!((figure.is_met(), figure.flaws.len()), (Some(false), 1), "{figure:?}");
            }
        }
        let mut lost = seen(Kind::Redis, vec![good()]);
        lost.flaws.push("FAIL".to_owned());
        assert_eq!(met(&lost), [Some(false); 4]);
        let own = of_peer(&seen(Kind::Redis, vec![good()]), &["FAIL".to_owned()]);
        assert!(own.iter().all(|figure| figure.is_met() == Some(false)));
    }
}
