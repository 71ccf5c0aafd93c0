//! What a scenario can have less of: each fault, requests, clients, actors, nodes, shards, time.
//!
//! **Invariant:** a knob's least is the gentlest that a scenario can have of it, and every value between that and what was drawn is valid.

use waterpark_kit::Faults;

use crate::scenario::Draw;

/// One thing that a seed draws.
pub(crate) struct Knob {
    /// Its name in tokens.
    pub(crate) name: &'static str,
    /// The least that there can be of it.
    pub(crate) least: u64,
    pub(crate) get: fn(&Draw) -> u64,
    pub(crate) set: fn(&mut Draw, u64),
}

impl Knob {
    /// Whether a scenario that has so much of it now can have this much. Which run it is may be any.
    pub(crate) fn fits(&self, draw: &Draw, value: u64) -> bool {
        self.name == RUN || self.least <= value && value <= (self.get)(draw)
    }

    /// Values to try in the place of what a scenario has, the boldest first.
    pub(crate) fn steps(&self, draw: &Draw) -> Vec<u64> {
        let has = (self.get)(draw);
        if self.name == RUN || has <= self.least {
            return Vec::new();
        }
        let over = has - self.least;
        let mut steps = vec![0, over / 4, over / 2, over / 4 * 3];
        // One by one only where there are few: a millisecond less is no smaller failure.
        if over <= 8 {
            steps.push(over - 1);
        }
        steps.sort_unstable();
        steps.dedup();
        steps.into_iter().map(|step| self.least + step).collect()
    }
}

/// The knob that makes another run of the same draw.
pub(crate) const RUN: &str = "run";

macro_rules! fault {
    ($name:literal, $field:ident) => {
        Knob {
            name: $name,
            least: 0,
            get: |draw| draw.faults.$field,
            set: |draw, value| draw.faults.$field = value,
        }
    };
    (flag $name:literal, $field:ident) => {
        Knob {
            name: $name,
            least: 0,
            get: |draw| u64::from(draw.faults.$field),
            set: |draw, value| draw.faults.$field = value > 0,
        }
    };
}

/// What is scarce: 1 if it is. There is no less scarce but not at all.
macro_rules! scarce {
    ($name:literal, $field:ident, $is:expr) => {
        Knob {
            name: $name,
            least: 0,
            get: |draw| u64::from($is(&draw.faults)),
            set: |draw, value| {
                if value == 0 {
                    draw.faults.$field = Faults::none().$field;
                }
            },
        }
    };
}

/// All of them. What makes a run short comes first, so that what follows is tried on short runs.
pub(crate) const KNOBS: &[Knob] = &[
    Knob {
        name: "ms",
        least: 100,
        get: |draw| draw.faulty_ms,
        set: |draw, value| draw.faulty_ms = value,
    },
    Knob {
        name: "requests",
        least: 1,
        get: |draw| draw.requests,
        set: |draw, value| draw.requests = value,
    },
    Knob {
        name: "nodes",
        least: 3,
        get: |draw| draw.names.len() as u64,
        set: |draw, value| {
            let count = usize::try_from(value).expect("few nodes");
            draw.names.truncate(count);
            draw.shards.truncate(count);
        },
    },
    Knob {
        name: "shards",
        least: 1,
        get: |draw| draw.shards.iter().copied().max().unwrap_or(1).into(),
        set: |draw, value| {
            let most = u16::try_from(value).expect("few shards");
            draw.shards.iter_mut().for_each(|shards| *shards = (*shards).min(most));
        },
    },
    Knob {
        name: "clients",
        least: 1,
        get: |draw| draw.size.clients.unwrap_or(6),
        set: |draw, value| draw.size.clients = Some(value),
    },
    Knob {
        name: "actors",
        least: 1,
        get: |draw| draw.size.actors as u64,
        set: |draw, value| draw.size.actors = usize::try_from(value).expect("few actors"),
    },
    fault!("loss", loss_ppm),
    fault!("repeats", repeat_ppm),
    fault!("spikes", spike_ppm),
    fault!("cuts", cuts),
    fault!("pauses", pauses),
    fault!("restarts", restarts),
    fault!(flag "restart_at_birth", restart_at_birth),
    fault!(flag "stops", stops),
    fault!("clocks", clock_ms),
    fault!("silences", silences),
    fault!("garbage", garbage_ppm),
    fault!("odd", odd_ppm),
    fault!("late", late_ppm),
    fault!("gone", gone_ppm),
    fault!("slow", slow_ms),
    fault!("sessions", session_ppm),
    fault!("moves", moves_ppm),
    fault!("losses", losses),
    fault!("joins", joins),
    fault!("wipes", wipes),
    fault!("contradictions", contradictions),
    fault!("seats", seats),
    scarce!("memory", memory_bytes, Faults::has_little_memory),
    scarce!("lanes", lanes, |faults: &Faults| faults.lanes.is_some()),
    scarce!("queues", queue, |faults: &Faults| faults.queue.is_some()),
    Knob {
        name: "learn_ms",
        least: 1,
        get: |draw| draw.faults.learn_ms,
        set: |draw, value| draw.faults.learn_ms = value,
    },
    Knob {
        name: RUN,
        least: 0,
        get: |draw| draw.run,
        set: |draw, value| draw.run = value,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Profile, Scenario};
    use std::collections::BTreeSet;

    #[test]
    fn every_knob_has_a_name_of_its_own_and_takes_each_of_its_steps() {
        let names: BTreeSet<&str> = KNOBS.iter().map(|knob| knob.name).collect();
        assert_eq!(names.len(), KNOBS.len());
        for profile in Profile::ALL {
            for seed in 1..40 {
                for knob in KNOBS {
                    let drawn = Scenario::of(profile, seed).draw;
                    for value in knob.steps(&drawn) {
                        let mut draw = drawn.clone();
                        assert!(knob.fits(&draw, value), "{}={value}", knob.name);
                        (knob.set)(&mut draw, value);
                        assert_eq!((knob.get)(&draw), value, "{}={value}", knob.name);
                    }
                }
            }
        }
    }
}
