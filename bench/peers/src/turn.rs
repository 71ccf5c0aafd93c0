//! One system's turn: started, warmed, brought to its most, held at half of it, read back, ended.
//!
//! Waterpark's turns are `bench run`'s own. **Invariant:** CPU time is that of all processes of a system, over exactly the stretch whose acks it is
//! divided by; the generator's stands apart.

use std::time::{Duration, Instant};

use waterpark_bench::arrivals::{Arrivals, Instants};
use waterpark_bench::cluster::cpu_ns_of;
use waterpark_bench::generator::{Measured, Schedule};
use waterpark_bench::ledger::{COPIES, Fate, Findings};
use waterpark_bench::reads::Level;
use waterpark_bench::run::{self, RunError, is_late, plan_seed};
use waterpark_bench::skew::Skew;
use waterpark_bench::workload::{Kind as Work, Workload};
use waterpark_bench::{Pace, Plan, Report, Target, Verdict};

use crate::PeersPlan;
use crate::error::PeerError;
use crate::load::{Connection, Load, Setting};
use crate::peer::{Kind, Peer};
use crate::servers::{SERVERS, Start};

/// A setting is tried for this part of a stretch's time, and no shorter than the least.
const TRY_PART: u32 = 3;
const TRY_MIN: Duration = Duration::from_millis(500);
/// How long the first messages to all actors may take.
const WARM_MAX: Duration = Duration::from_secs(120);
/// Between two stretches a peer may do what it put off, for so long, until its servers leave so much of a core alone.
const SETTLE_MAX: Duration = Duration::from_secs(8);
const SETTLE_STEP: Duration = Duration::from_millis(100);
const SETTLED_NS: u64 = 30_000_000;
/// The whole call of one of Waterpark's messages, in ms.
const TIMEOUT_MS: u32 = 10_000;

/// What one stretch of sending gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stretch {
    /// Messages a second that were planned; `None` in a closed loop.
    pub rate: Option<f64>,
    /// Messages a second that were acked.
    pub acked_per_s: f64,
    /// CPU time of all servers by acks, in ns.
    pub cpu_ns: f64,
    /// That of the generator's process.
    pub generator_cpu_ns: f64,
    /// From the planned instant to the ack, in µs: p50, p99 and p99.9.
    pub response_us: [u64; 3],
    /// Whether the generator did not keep its schedule.
    pub is_late: bool,
    /// Messages that ended otherwise than by an ack.
    pub not_acked: u64,
}

impl Stretch {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 messages and nanoseconds")]
    fn of(rate: Option<f64>, measured: &Measured, cpu_ns: u64, generator_cpu_ns: u64) -> Stretch {
        let acked = (measured.acked as f64).max(1.0);
        Stretch {
            rate,
            acked_per_s: measured.acked as f64 / measured.took.as_secs_f64().max(1e-9),
            cpu_ns: cpu_ns as f64 / acked,
            generator_cpu_ns: generator_cpu_ns as f64 / acked,
            response_us: [0.5, 0.99, 0.999].map(|quantile| measured.response_us.value_at_quantile(quantile)),
            is_late: is_late(measured),
            not_acked: measured.refused + measured.unknown,
        }
    }
}

/// What a peer is loaded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Best {
    /// Acks the most.
    pub peak: Setting,
    /// Acks soonest, p50, at half of that.
    pub half: Setting,
}

/// What one turn of a peer gave.
#[derive(Clone, Debug)]
pub struct Turn {
    /// What it was loaded with.
    pub best: Best,
    /// What each setting acked a second, where settings were tried.
    pub tried: Vec<(Setting, f64)>,
    /// As fast as acks come back.
    pub peak: Stretch,
    /// At half of that.
    pub half: Stretch,
    /// What reading back found.
    pub findings: Findings,
}

/// A peer that runs, with the messages that it got.
struct Stage<'a> {
    peer: Box<dyn Peer>,
    load: Load,
    go_on: &'a dyn Fn() -> bool,
}

impl Stage<'_> {
    /// Sends over connections of its own, and measures.
    fn stretch(
        &mut self,
        setting: Setting,
        rate: Option<f64>,
        time: Duration,
        messages_max: u64,
    ) -> Result<Stretch, PeerError> {
        self.settle();
        let mut connections = Vec::new();
        for at in 0..setting.connections {
            let (stream, dialect) = self.peer.connect(setting, at)?;
            connections.push(Connection::new(stream, dialect)?);
        }
        let instants = rate.map(Instants::constant);
        let schedule = match &instants {
            Some(instants) => Schedule::Open(instants),
            None => Schedule::Closed {
                in_flight: setting.connections * setting.window,
            },
        };
        let own = || cpu_ns_of(std::process::id());
        let (before, own_before) = (self.peer.servers().cpu_ns(), own());
        let measured = self.load.run(
            &mut connections,
            setting.window,
            schedule,
            time,
            messages_max,
            self.go_on,
        )?;
        let (after, own_after) = (self.peer.servers().cpu_ns(), own());
        if !(self.go_on)() {
            return Err(PeerError::Interrupted);
        }
        let cpu_ns = after.saturating_sub(before);
        Ok(Stretch::of(
            rate,
            &measured,
            cpu_ns,
            own_after.saturating_sub(own_before),
        ))
    }

    /// Waits until the stretch before has no more work for the servers, such as what replicas hold and have not applied.
    fn settle(&mut self) {
        let until = Instant::now() + SETTLE_MAX;
        loop {
            let before = self.peer.servers().cpu_ns();
            std::thread::sleep(SETTLE_STEP);
            let spent = self.peer.servers().cpu_ns().saturating_sub(before);
            if spent < SETTLED_NS || Instant::now() >= until || !(self.go_on)() {
                return;
            }
        }
    }

    /// Tries all settings for the most acks, then for the soonest at half of that.
    fn sweep(&mut self, time: Duration, say: &mut dyn FnMut(&str)) -> Result<(Best, Vec<(Setting, f64)>), PeerError> {
        let time = try_time(time);
        let settings = self.peer.settings();
        let mut tried = Vec::new();
        for setting in settings {
            let acked = match self.stretch(setting, None, time, u64::MAX) {
                Ok(stretch) => stretch.acked_per_s,
                // It may be that this setting alone is too much for it.
                Err(PeerError::Silent(_) | PeerError::Socket(_)) => 0.0,
                Err(error) => return Err(error),
            };
            say(&format!(
                "{} x {}: {acked:.0} acked/s",
                setting.connections, setting.window
            ));
            tried.push((setting, acked));
        }
        let fastest = tried.iter().max_by(|one, other| one.1.total_cmp(&other.1));
        let (peak, most) = *fastest.expect("every peer has settings");
        let mut soonest = (peak, u64::MAX);
        for (setting, acked) in &tried {
            // One that carries no more than that has a queue.
            if *acked < most * 0.55 {
                continue;
            }
            let stretch = match self.stretch(*setting, Some(most / 2.0), time, u64::MAX) {
                Ok(stretch) => stretch,
                Err(PeerError::Silent(_) | PeerError::Socket(_)) => continue,
                Err(error) => return Err(error),
            };
            if stretch.response_us[0] < soonest.1 {
                soonest = (*setting, stretch.response_us[0]);
            }
        }
        let half = soonest.0;
        Ok((Best { peak, half }, tried))
    }

    /// Looks for everything acked in all servers: three must hold it, none twice.
    fn check(&mut self) -> Findings {
        let mut tally = Tally::new(*self.load.workload());
        for server in 0..SERVERS {
            let read = self.peer.read(server, &mut |actor, message| tally.meet(actor, message));
            tally.end_server(server, read.err());
        }
        tally.finish(self.load.ledger().fates())
    }
}

/// How long a setting is tried.
pub(crate) fn try_time(time: Duration) -> Duration {
    (time / TRY_PART).max(TRY_MIN)
}

/// Carries out a peer's turn. Without a setting, the best is looked for.
pub(crate) fn of_peer(
    kind: Kind,
    plan: &PeersPlan,
    best: Option<Best>,
    say: &mut dyn FnMut(&str),
    go_on: &dyn Fn() -> bool,
) -> Result<Turn, PeerError> {
    let start = Start {
        binary: &plan.binary,
        go_on,
    };
    say("starting");
    let peer = kind.start(&start)?;
    let load = Load::new(Workload {
        kind: Work::W128,
        actors: plan.actors,
        message_bytes: plan.message_bytes,
        seed: plan_seed(),
        warm: plan.actors,
        prefix: "",
        skew: None,
    });
    let mut stage = Stage { peer, load, go_on };
    let gentle = Setting {
        connections: 1,
        window: 64,
    };
    stage.stretch(gentle, None, WARM_MAX, plan.actors)?;
    let (best, tried) = match best {
        Some(best) => (best, Vec::new()),
        None => stage.sweep(plan.time, say)?,
    };
    say("measuring");
    let peak = stage.stretch(best.peak, None, plan.time, u64::MAX)?;
    say(&format!("{:.0} acked/s; now half of that", peak.acked_per_s));
    let half = stage.stretch(best.half, Some(peak.acked_per_s / 2.0), plan.time, u64::MAX)?;
    say("reading everything back from five servers");
    let findings = stage.check();
    Ok(Turn {
        best,
        tried,
        peak,
        half,
        findings,
    })
}

/// Carries out a turn of Waterpark: in a closed loop, or at a rate.
pub(crate) fn of_waterpark(
    plan: &PeersPlan,
    pace: Pace,
    time: Duration,
    say: &mut dyn FnMut(&str),
    go_on: &dyn Fn() -> bool,
) -> Result<(Stretch, Report), RunError> {
    let report = run::measure(
        Plan {
            target: Target::Own {
                binary: plan.binary.clone(),
                driver: plan.driver.clone(),
            },
            kind: Work::W128,
            actors: plan.actors,
            pace,
            arrivals: Arrivals::Constant,
            time,
            message_bytes: plan.message_bytes,
            timeout_ms: TIMEOUT_MS,
            warm: true,
            level: Level::Session,
            skew: Skew::Even,
            generators: None,
        },
        say,
        go_on,
    )?;
    let cpu_ns = report.cpu_ns_by_node.as_ref().map_or(0, |nodes| nodes.iter().sum());
    let rate = match pace {
        Pace::Open(rate) => Some(rate),
        Pace::Closed(_) => None,
    };
    let mut stretch = Stretch::of(rate, &report.measured, cpu_ns, report.generator_cpu_ns);
    stretch.is_late = report.verdict == Verdict::Invalid;
    Ok((stretch, report))
}

/// How many servers hold each message.
struct Tally {
    workload: Workload,
    /// By serial.
    copies: Vec<u8>,
    /// By serial, the last server that was seen to hold it, from 1 on.
    last: Vec<u8>,
    server: u8,
    scratch: Vec<u8>,
    findings: Findings,
}

impl Tally {
    fn new(workload: Workload) -> Tally {
        Tally {
            workload,
            copies: Vec::new(),
            last: Vec::new(),
            server: 1,
            scratch: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// A message that the server which is being read holds.
    fn meet(&mut self, actor: u64, message: &[u8]) {
        self.findings.entries += 1;
        self.findings.bytes += message.len() as u64;
        let serial = self.workload.serial(message, &mut self.scratch);
        let serial = serial.ok().flatten();
        let at = serial.filter(|serial| self.workload.actor(*serial) == actor);
        let Some(at) = at.and_then(|serial| usize::try_from(serial).ok()) else {
            self.findings.foreign += 1;
            return;
        };
        if self.copies.len() <= at {
            let length = (at + 1).next_multiple_of(1 << 16);
            self.copies.resize(length, 0);
            self.last.resize(length, 0);
        }
        if self.last[at] == self.server {
            self.findings.duplicated += 1;
            let server = self.server;
            self.findings
                .say(|| format!("server {server} holds message {at} twice"));
            return;
        }
        self.last[at] = self.server;
        self.copies[at] += 1;
    }

    fn end_server(&mut self, server: usize, error: Option<PeerError>) {
        self.server += 1;
        if let Some(error) = error {
            self.findings.unreadable += 1;
            self.findings
                .say(|| format!("server {} cannot be read: {error}", server + 1));
        }
    }

    fn finish(mut self, fates: &[Fate]) -> Findings {
        for (at, fate) in fates.iter().enumerate() {
            let copies = self.copies.get(at).copied().unwrap_or(0);
            match fate {
                Fate::Acked => {
                    self.findings.looked_for += 1;
                    if usize::from(copies) < COPIES {
                        self.findings.lost += 1;
                        self.findings
                            .say(|| format!("message {at} is acked and held by {copies} servers"));
                    }
                }
                Fate::Refused if copies > 0 => self.findings.refused_but_held += 1,
                Fate::Refused | Fate::Unknown | Fate::Open => (),
            }
        }
        self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Workload = Workload {
        kind: Work::W128,
        actors: 10,
        message_bytes: 32,
        seed: 3,
        warm: 10,
        prefix: "",
        skew: None,
    };

    /// What is found where each of these serials is held by so many servers.
    fn found(held: &[(u64, usize)], fates: &[Fate]) -> Findings {
        let mut tally = Tally::new(WORK);
        let mut message = Vec::new();
        for server in 0..SERVERS {
            for (serial, _) in held.iter().filter(|(_, copies)| server < *copies) {
                WORK.write(*serial, &mut message);
                tally.meet(WORK.actor(*serial), &message);
            }
            tally.end_server(server, None);
        }
        tally.finish(fates)
    }

    #[test]
    fn what_is_acked_and_not_held_by_three_is_lost() {
        let fates = [Fate::Acked; 4];
        let clean = found(&[(0, 3), (1, 5), (2, 4), (3, 3)], &fates);
        assert!(
            clean.is_clean() && clean.looked_for == 4 && clean.entries == 15,
            "{clean:?}"
        );
        let lost = found(&[(0, 3), (1, 2), (3, 5)], &fates);
        assert_eq!((lost.lost, lost.is_clean()), (2, false), "{lost:?}");
        let unknown = found(&[(0, 3)], &[Fate::Acked, Fate::Unknown, Fate::Open, Fate::Refused]);
        assert!(unknown.is_clean(), "{unknown:?}");
        let refused = found(&[(0, 1)], &[Fate::Refused]);
        assert!(!refused.is_clean(), "{refused:?}");
    }

    #[test]
    fn what_is_held_twice_changed_with_another_actor_or_unreadable_is_found() {
        let mut tally = Tally::new(WORK);
        let mut message = Vec::new();
        WORK.write(1, &mut message);
        tally.meet(1, &message);
        tally.meet(1, &message);
        assert_eq!(tally.findings.duplicated, 1);
        tally.end_server(0, None);
        tally.meet(1, &message);
        assert_eq!(tally.findings.duplicated, 1, "another server holds it too");
        tally.meet(2, &message);
        assert_eq!(tally.findings.foreign, 1, "it is another actor's");
        message[20] ^= 1;
        tally.meet(1, &message);
        assert_eq!(tally.findings.foreign, 2, "its bytes were changed");
        tally.end_server(1, Some(PeerError::Interrupted));
        let findings = tally.finish(&[]);
        assert_eq!(findings.unreadable, 1);
        assert!(!findings.is_clean());
    }
}
