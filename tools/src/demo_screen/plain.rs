//! The demo without a terminal: commands for another shell and a header once, a line per second, each event once; and the summary at the end, with and without one.
//!
//! No colour, no cursor movement, no sign outside ASCII, so that a log file, a pipe and a screen reader get the same as everybody. It decides no
//! pace: whoever runs the demo asks once a second.

use std::time::Duration;

use super::figures::{bytes, clock, count, latency, percent, short_bytes};
use super::latency::Quantiles;
use super::view::{DemoView, FailureView, Weight};

/// The titles over the figures of [`PlainLines`].
const TITLES: &str = "    time   nodes       sent      acked  refused  unknown  in flight  resends   acks/s   ack p50   ack p99  \
                      all copies  memory";

/// Makes the lines; remembers what it has told.
#[derive(Debug, Default)]
pub(crate) struct PlainLines {
    titled: bool,
    /// The number of the last event told.
    told: u64,
}

impl PlainLines {
    /// Nothing is told yet.
    #[must_use]
    pub(crate) fn new() -> PlainLines {
        PlainLines::default()
    }

    /// What is to be told now: at first the commands for another shell and the titles, then every event that is new, then the figures. Without line ends.
    pub(crate) fn next(&mut self, view: &DemoView) -> Vec<String> {
        let mut lines = Vec::new();
        if !std::mem::replace(&mut self.titled, true) {
            for line in &view.commands {
                lines.push(format!("in another shell, {}:", line.purpose));
                lines.push(format!("  {}", line.command));
            }
            lines.push(TITLES.to_owned());
        }
        for event in view.events.iter().filter(|event| event.number > self.told) {
            // The sign of a note is not ASCII, and says nothing.
            let sign = if event.weight == Weight::Note {
                '-'
            } else {
                event.weight.sign()
            };
            let text: String = event
                .text
                .chars()
                .map(|sign| if sign.is_control() { ' ' } else { sign })
                .collect();
            lines.push(format!("{:>8} {sign} {text}", clock(event.at)));
        }
        self.told = view.events.iter().map(|event| event.number).fold(self.told, u64::max);
        lines.push(figures(view));
        lines
    }
}

fn figures(view: &DemoView) -> String {
    let totals = &view.totals;
    let recent = view.latency.all.recent.quantiles();
    let quantile = |us: u64| if recent.count == 0 { "-".to_owned() } else { latency(us) };
    format!(
        "{:>8} {:>7} {:>10} {:>10} {:>8} {:>8} {:>10} {:>8} {:>8} {:>9} {:>9} {:>10}%  {}",
        clock(view.elapsed),
        format!("{}/{}", view.nodes_up(), view.nodes().count()),
        totals.sent,
        totals.acked,
        totals.refused,
        totals.unknown,
        totals.in_flight,
        totals.resends,
        totals.acks_per_s,
        quantile(recent.p50_us),
        quantile(recent.p99_us),
        percent(view.copies.five, view.copies.groups),
        short_bytes(view.memory.resident_bytes),
    )
}

/// Resident memory by what it is for, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemoryParts {
    /// All of it.
    pub(crate) resident: u64,
    /// Logs.
    pub(crate) logs: u64,
    /// What nodes keep beside them.
    pub(crate) nodes: u64,
    /// What the feed remembers.
    pub(crate) feed: u64,
    /// What nobody tells.
    pub(crate) rest: u64,
}

/// What the demo came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Nodes that the demo ran.
    pub(crate) nodes: u64,
    /// What served their sockets.
    pub(crate) driver: String,
    /// How long the feed ran.
    pub(crate) elapsed: Duration,
    /// Messages sent.
    pub(crate) sent: u64,
    /// Messages acked.
    pub(crate) acked: u64,
    /// Messages refused for good.
    pub(crate) refused: u64,
    /// Messages of which nothing is known.
    pub(crate) unknown: u64,
    /// Further attempts.
    pub(crate) resends: u64,
    /// Acked messages that were looked for at the end, each in three members or more.
    pub(crate) read_back: u64,
    /// Acked messages that fewer than three members held.
    pub(crate) lost: u64,
    /// Messages that were stored more than once.
    pub(crate) duplicated: u64,
    /// How long acks took whose messages entered in the writer's data centre.
    pub(crate) writers_dc: Quantiles,
    /// How long the others took.
    pub(crate) other_dc: Quantiles,
    /// How long all took.
    pub(crate) all: Quantiles,
    /// Bytes of the process that were resident at the end.
    pub(crate) memory_bytes: u64,
    /// Bytes that the nodes were allowed.
    pub(crate) budget_bytes: u64,
    /// Bytes of all logs.
    pub(crate) log_bytes: u64,
    /// What each failure cost that somebody made, the oldest first.
    pub(crate) failures: Vec<FailureView>,
    /// What the memory was for when the feed ended.
    pub(crate) parts: MemoryParts,
    /// What else went wrong, each in a line; empty if nothing did.
    pub(crate) faults: Vec<String>,
}

impl Summary {
    /// Whether the demo did what it promises: something was sent, all of it was acked, nothing of that was lost or is there twice, and nothing
    /// else went wrong. The exit code says the same.
    #[must_use]
    pub(crate) fn is_success(&self) -> bool {
        self.sent > 0
            && self.acked == self.sent
            && self.read_back >= self.acked
            && self.lost == 0
            && self.duplicated == 0
            && self.faults.is_empty()
    }

    /// The summary as lines, without line ends.
    #[must_use]
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "{} nodes ran for {}, sockets by {}",
                self.nodes,
                clock(self.elapsed),
                self.driver
            ),
            format!(
                "messages   {} sent, {} acked, {} refused, {} unknown, {} resends",
                count(self.sent),
                count(self.acked),
                count(self.refused),
                count(self.unknown),
                count(self.resends)
            ),
            format!(
                "read back  {} acked messages looked for in three members each: {} lost, {} duplicated",
                count(self.read_back),
                count(self.lost),
                count(self.duplicated)
            ),
            format!(
                "ack time   {:<21} {:>10} {:>9} {:>9} {:>9} {:>9}",
                "message entered", "acks", "p50", "p99", "p99.9", "max"
            ),
        ];
        let rows = [
            ("in the writer's DC", &self.writers_dc),
            ("in another DC", &self.other_dc),
            ("all", &self.all),
        ];
        for (label, quantiles) in rows {
            let figure = |us: u64| {
                if quantiles.count == 0 {
                    "-".to_owned()
                } else {
                    latency(us)
                }
            };
            lines.push(format!(
                "           {label:<21} {:>10} {:>9} {:>9} {:>9} {:>9}",
                count(quantiles.count),
                figure(quantiles.p50_us),
                figure(quantiles.p99_us),
                figure(quantiles.p999_us),
                figure(quantiles.max_us)
            ));
        }
        lines.push(format!(
            "memory     {} resident, {} of it logs, of {} allowed",
            bytes(self.memory_bytes),
            bytes(self.log_bytes),
            bytes(self.budget_bytes)
        ));
        let failure = |failure: &FailureView| format!("failure    at {}: {}", clock(failure.at), failure.sentence());
        lines.extend(self.failures.iter().map(failure));
        let parts = &self.parts;
        lines.push(format!(
            "           {} when the feed ended: {} logs, {} nodes beside them, {} feed, {} the rest",
            bytes(parts.resident),
            bytes(parts.logs),
            bytes(parts.nodes),
            bytes(parts.feed),
            bytes(parts.rest)
        ));
        lines.extend(self.faults.iter().map(|fault| format!("fault      {fault}")));
        lines.push(self.verdict());
        lines
    }

    /// The last line: success, or the first thing that stands against it.
    fn verdict(&self) -> String {
        let against = if self.sent == 0 {
            "nothing was sent".to_owned()
        } else if self.lost > 0 {
            format!("{} acked messages are lost", count(self.lost))
        } else if self.duplicated > 0 {
            format!("{} messages are stored more than once", count(self.duplicated))
        } else if self.acked != self.sent {
            format!(
                "{} messages were not acked",
                count(self.sent.saturating_sub(self.acked))
            )
        } else if self.read_back < self.acked {
            format!(
                "{} acked messages were not read back",
                count(self.acked - self.read_back)
            )
        } else if !self.faults.is_empty() {
            "see the faults above".to_owned()
        } else {
            return "everything that was sent is acked, and everything acked is held".to_owned();
        };
        format!("FAILED: {against}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo_screen::sample;

    #[test]
    fn titles_come_once_and_figures_every_time() {
        let (mut lines, view) = (PlainLines::new(), sample::calm());
        let first = lines.next(&view);
        let commands = view.commands.len();
        assert!(
            commands > 0 && first[1].contains(&view.commands[0].command),
            "{first:?}"
        );
        assert_eq!(first[2 * commands], TITLES);
        let second = lines.next(&view);
        assert_eq!(second.len(), 1);
        assert_eq!(first.last(), second.last());
    }

    #[test]
    fn an_event_is_told_once() {
        let (mut lines, mut view) = (PlainLines::new(), sample::troubled());
        let events = view.events.len();
        assert_eq!(lines.next(&view).len(), 2 * view.commands.len() + 1 + events + 1);
        let mut more = view.events[0].clone();
        (more.number, more.text) = (999, "FL-A-2 goes on".to_owned());
        // The oldest has left the view, as it does in a long run.
        view.events.remove(0);
        view.events.push(more);
        let next = lines.next(&view);
        assert_eq!(next.len(), 2);
        assert!(next[0].contains("FL-A-2 goes on"));
    }

    #[test]
    fn every_figure_stands_under_its_title() {
        let mut view = sample::troubled();
        view.totals.sent = 1_234_567;
        let line = figures(&view);
        for (title, figure) in [
            ("nodes", "31/32"),
            ("sent", "1234567"),
            ("unknown", &view.totals.unknown.to_string()),
            ("acks/s", &view.totals.acks_per_s.to_string()),
            ("ack p99", " ms"),
        ] {
            let end = TITLES.find(title).unwrap() + title.len();
            assert!(line[..end].ends_with(figure), "{title}: `{}`", &line[..end]);
        }
    }

    #[test]
    fn lines_are_ascii() {
        let lines = PlainLines::new().next(&sample::troubled());
        assert!(lines.iter().all(|line| line.is_ascii()), "{lines:?}");
        assert!(sample::summary().lines().iter().all(|line| line.is_ascii()));
    }

    #[test]
    fn a_good_end_says_so_and_names_every_figure() {
        let summary = sample::summary();
        assert!(summary.is_success());
        let text = summary.lines().join("\n");
        for fact in [
            "32 nodes",
            "0 lost, 0 duplicated",
            "p99.9",
            "in the writer's DC",
            "resident",
            "everything acked is held",
        ] {
            assert!(text.contains(fact), "{fact} in\n{text}");
        }
    }

    #[test]
    fn a_failure_that_somebody_made_is_told_and_is_none_of_the_demo() {
        let mut summary = sample::summary();
        summary.failures.push(sample::failure());
        assert!(summary.is_success());
        let text = summary.lines().join("\n");
        assert!(
            text.contains("failure    at 1:00: kill FL-A-1: 34 groups hit, 9 patients waited"),
            "{text}"
        );
    }

    #[test]
    fn whatever_is_wrong_fails_and_is_named() {
        type Spoil = fn(&mut Summary);
        let rows: [(Spoil, &str); 6] = [
            (|summary| summary.sent = 0, "nothing was sent"),
            (|summary| summary.lost = 2, "2 acked messages are lost"),
            (|summary| summary.duplicated = 1, "1 messages are stored more than once"),
            (|summary| summary.acked -= 3, "3 messages were not acked"),
            (|summary| summary.read_back -= 1, "1 acked messages were not read back"),
            (
                |summary| summary.faults.push("TX-B-4 ended by itself".to_owned()),
                "see the faults above",
            ),
        ];
        for (spoil, said) in rows {
            let mut summary = sample::summary();
            spoil(&mut summary);
            assert!(!summary.is_success(), "{said}");
            let last = summary.lines().pop().unwrap();
            assert!(last.starts_with("FAILED") && last.ends_with(said), "{last}");
        }
    }
}
