//! The twelve figures that say how fast Waterpark is, each measured by carrying out what the bench can do already.
//!
//! | file | part |
//! |---|---|
//! | `mod.rs` | which work is carried out, how often and in which order |
//! | `part.rs` | the figures, part by part: names, units, targets |
//! | `works.rs` | from a work's report to the figures that it is for |
//! | `followers.rs` | the eleventh: what is noticed of followers that stand still |
//! | `placement.rs` | the twelfth, which needs no cluster |
//!
//! Repeats are interleaved: every work is carried out once before one is carried out again, so that what the machine does besides falls on
//! all of them. It deliberately does not judge what values mean: whoever shows them compares them with their targets. **Invariant:** a figure
//! that was asked for is in the result, with its values or with the reason why it has none.

mod followers;
mod part;
mod placement;
mod works;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::part::Work;
pub use self::part::{FIGURES, Part, Spec};
use crate::run::{RunError, Verdict};

/// No repeat is begun that would probably end later than this after the beginning: the whole shall be over in 20 minutes.
const REPEATS_UNTIL: Duration = Duration::from_secs(18 * 60);

/// What to measure.
#[derive(Clone, Debug)]
pub struct FiguresPlan {
    /// The binary that has `node` as a command.
    pub binary: PathBuf,
    /// `auto`, `io-uring` or `epoll`.
    pub driver: String,
    /// Numbers of figures.
    pub only: Vec<u8>,
    /// How often each work is carried out, as far as time allows.
    pub times: u32,
    /// How long one work sends.
    pub time: Duration,
}

/// One part of a figure, with what was measured of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Which.
    pub part: Part,
    /// A value for each time that its work was carried out.
    pub values: Vec<f64>,
    /// Why values are missing, or mean nothing.
    pub flaws: Vec<String>,
    /// Whether something that was acked meanwhile is not held as it must be.
    pub failed: bool,
}

/// What one work gave once.
#[derive(Debug, Default)]
struct Taken {
    values: Vec<(Part, f64)>,
    flaw: Option<String>,
    failed: bool,
}

impl Taken {
    /// Values, and what their report's verdict says of them.
    fn of(verdict: Verdict, values: Vec<(Part, f64)>) -> Taken {
        let flaw = match verdict {
            Verdict::Ok => None,
            Verdict::Invalid => Some("INVALID: the generator did not keep its schedule".to_owned()),
            Verdict::Fail => Some("FAIL: not everything acked is held as it must be".to_owned()),
        };
        Taken {
            values,
            flaw,
            failed: verdict == Verdict::Fail,
        }
    }
}

/// Measures. `say` is told what goes on, in a few words. Once `go_on` is false it ends early: what was cut short counts as not measured.
pub fn measure(plan: &FiguresPlan, mut say: impl FnMut(&str), go_on: impl Fn() -> bool) -> Vec<Line> {
    let works = Work::ALL.into_iter().filter(|work| {
        let mut parts = Part::ALL.into_iter().map(Part::spec);
        parts.any(|spec| spec.work == *work && plan.only.contains(&spec.figure))
    });
    let works: Vec<Work> = works.collect();
    let mut is_first = true;
    let carry_out = |work: Work| {
        let name = work.name();
        if !std::mem::take(&mut is_first) {
            rest(work.rest(), &go_on);
        }
        works::carry_out(work, plan, &mut |what| say(&format!("{name}: {what}")), &go_on)
    };
    let mut lines = lines(&plan.only);
    repeat(&works, plan.times, carry_out, &go_on, &mut lines);
    lines
}

fn rest(time: Duration, go_on: &impl Fn() -> bool) {
    let until = Instant::now() + time;
    while go_on() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A line for each part of these figures, in their order, without values.
fn lines(only: &[u8]) -> Vec<Line> {
    let wanted = Part::ALL.into_iter().filter(|part| only.contains(&part.spec().figure));
    let line = |part| Line {
        part,
        values: Vec::new(),
        flaws: Vec::new(),
        failed: false,
    };
    wanted.map(line).collect()
}

fn repeat(
    works: &[Work],
    times: u32,
    mut carry_out: impl FnMut(Work) -> Result<Taken, RunError>,
    go_on: &impl Fn() -> bool,
    lines: &mut [Line],
) {
    let begun = Instant::now();
    let mut took = vec![Duration::ZERO; works.len()];
    for round in 0..times {
        for (work, took) in works.iter().zip(&mut took) {
            if !go_on() {
                break;
            }
            if round > 0 && begun.elapsed() + *took > REPEATS_UNTIL {
                continue;
            }
            let this = Instant::now();
            let taken = carry_out(*work);
            *took = this.elapsed();
            if go_on() {
                note(lines, *work, taken);
            }
        }
    }
    for line in lines
        .iter_mut()
        .filter(|line| line.values.is_empty() && line.flaws.is_empty())
    {
        line.flaws.push("ended before it was measured".to_owned());
    }
}

/// Gives each line of a work what was taken of it.
fn note(lines: &mut [Line], work: Work, taken: Result<Taken, RunError>) {
    let taken = taken.unwrap_or_else(|error| Taken {
        values: Vec::new(),
        flaw: Some(format!("no measurement: {error}")),
        failed: false,
    });
    for line in lines.iter_mut().filter(|line| line.part.spec().work == work) {
        line.failed |= taken.failed;
        let values = taken.values.iter().filter(|(part, _)| *part == line.part);
        let before = line.values.len();
        line.values.extend(values.map(|(_, value)| *value));
        match &taken.flaw {
            Some(flaw) if !line.flaws.contains(flaw) => line.flaws.push(flaw.clone()),
            None if line.values.len() == before => line.flaws.push("its work gave no value for it".to_owned()),
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_part_and_every_work_has_one_that_it_is_for() {
        for figure in 1..=FIGURES {
            assert!(!lines(&[figure]).is_empty(), "{figure}");
        }
        for work in Work::ALL {
            assert!(Part::ALL.into_iter().any(|part| part.spec().work == work), "{work:?}");
        }
        let figures: Vec<u8> = Part::ALL.into_iter().map(|part| part.spec().figure).collect();
        assert!(figures.is_sorted(), "{figures:?}");
    }

    #[test]
    fn works_are_carried_out_in_turns_and_each_part_gets_the_values_of_its_work() {
        let mut lines = lines(&[6, 9]);
        let mut done = Vec::new();
        let carry_out = |work| {
            done.push(work);
            let value = |part| (part, done.len() as f64);
            Ok(match work {
                Work::Hot => Taken::of(Verdict::Ok, vec![value(Part::HotRate), value(Part::FollowerCpu)]),
                _ => Taken::of(Verdict::Invalid, vec![value(Part::LinkBytes), value(Part::Rate)]),
            })
        };
        repeat(&[Work::Saturated, Work::Hot], 2, carry_out, &|| true, &mut lines);
        assert_eq!(done, [Work::Saturated, Work::Hot, Work::Saturated, Work::Hot]);
        let of = |part| lines.iter().find(|line| line.part == part);
        assert_eq!(of(Part::HotRate).unwrap().values, [2.0, 4.0]);
        assert_eq!(of(Part::LinkBytes).unwrap().values, [1.0, 3.0]);
        assert_eq!(of(Part::Rate), None, "nobody asked for it");
        assert!(of(Part::FollowerCpu).unwrap().flaws.is_empty());
        let flaws = &of(Part::LinkBytes).unwrap().flaws;
        assert!(flaws.len() == 1 && flaws[0].starts_with("INVALID"), "{flaws:?}");
    }

    #[test]
    fn what_was_cut_short_or_could_not_be_measured_says_so() {
        let refused = || RunError::Memory {
            free: 1,
            nodes: 5,
            wanted: 2,
        };
        let mut cut = lines(&[6, 12]);
        let mut calls = 0;
        let goes_on = std::cell::Cell::new(true);
        let carry_out = |_| {
            calls += 1;
            goes_on.set(false);
            Ok(Taken::of(Verdict::Ok, vec![(Part::HotRate, 1.0)]))
        };
        repeat(&[Work::Hot, Work::Placement], 3, carry_out, &|| goes_on.get(), &mut cut);
        assert_eq!(calls, 1);
        assert!(
            cut.iter().all(|line| line.values.is_empty() && line.flaws.len() == 1),
            "{cut:?}"
        );

        let mut none = lines(&[6]);
        repeat(&[Work::Hot], 2, |_| Err(refused()), &|| true, &mut none);
        assert_eq!(none[0].flaws.len(), 1, "the same reason stands once");
        assert!(none[0].flaws[0].contains("bytes of memory are free"), "{none:?}");

        let mut silent = lines(&[6]);
        repeat(&[Work::Hot], 1, |_| Ok(Taken::default()), &|| true, &mut silent);
        assert_eq!(silent[0].flaws, ["its work gave no value for it"]);
    }
}
