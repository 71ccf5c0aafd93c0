//! What whoever measures and its generator processes tell each other: a line of JSON each, some with bytes behind it.
//!
//! **Invariant:** what is read back is what was written, to the last count of each histogram and the last bit of each rate.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::arrivals::Instants;
use crate::generator::Measured;
use crate::reads::ReadTally;
use crate::recorder::Recorder;
use crate::share::Share;
use crate::timeline::Timeline;

/// What a process is to do next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Get ready for a stretch of sending.
    Prepare {
        /// Serials below are of another stretch.
        from: u64,
        time_ns: u64,
        /// Of its own messages so many at most.
        messages_max: u64,
        pace: PaceTold,
    },
    /// Send from this instant of the machine's monotonic clock on.
    Begin { at_ns: u64 },
    /// Send no more.
    Stop,
    /// Say what became of every message.
    Ledger,
}

/// When it sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum PaceTold {
    Closed {
        in_flight: usize,
    },
    Even {
        rate_bits: u64,
        at_once: u64,
        share: Share,
    },
    /// So many instants stand behind the line, 8 bytes each, least significant first.
    Listed {
        count: u64,
    },
}

/// What a process answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is connected, or prepared.
    Ready,
    /// A stretch has ended. Its histograms stand behind the line, in the order of [`histograms`].
    Measured(Box<Figures>),
    /// So many bytes of fates stand behind the line.
    Ledger { bytes: u64 },
}

/// What a stretch gave beside its histograms.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) began_late_ns: u64,
    time_ns: u64,
    took_ns: u64,
    sent: u64,
    acked: u64,
    refused: u64,
    unknown: u64,
    late: u64,
    repeats: u64,
    reasons: BTreeMap<String, u64>,
    reads_sent: u64,
    reads_right: u64,
    reads_failed: u64,
    reads_stale: u64,
    reads_wrong: u64,
    reads_said: Vec<String>,
    histograms: [usize; 3],
}

/// The histograms of a stretch: of its messages, over time, and of its reads.
fn histograms(measured: &Measured) -> [Vec<&Histogram<u64>>; 3] {
    [
        measured.recorder.histograms(),
        measured.over_time.histograms(),
        measured.reads.recorder.histograms(),
    ]
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes one line, and what stands behind it.
pub(super) fn write_line(out: &mut impl Write, line: &impl Serialize, behind: &[u8]) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line).map_err(io::Error::other)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(behind);
    out.write_all(&bytes)?;
    out.flush()
}

/// Reads one line; `None` at the end.
pub(super) fn read_line<T: DeserializeOwned>(input: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    serde_json::from_slice(&line).map(Some).map_err(io::Error::other)
}

/// Reads so many bytes.
pub(super) fn read_behind(input: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut behind = Vec::new();
    input.take(bytes).read_to_end(&mut behind)?;
    match behind.len() as u64 == bytes {
        true => Ok(behind),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A share of instants as it is told.
pub(super) fn write_instants(instants: &Instants) -> (PaceTold, Vec<u8>) {
    match instants {
        Instants::Even { rate, at_once, share } => {
            let told = PaceTold::Even {
                rate_bits: rate.to_bits(),
                at_once: *at_once,
                share: *share,
            };
            (told, Vec::new())
        }
        Instants::Listed(listed) => {
            let count = listed.len() as u64;
            let behind = listed.iter().flat_map(|at| at.to_le_bytes()).collect();
            (PaceTold::Listed { count }, behind)
        }
    }
}

/// And as it was told.
pub(super) fn read_listed(input: &mut impl Read, count: u64) -> io::Result<Instants> {
    let behind = read_behind(input, count * 8)?;
    let (words, _) = behind.as_chunks::<8>();
    Ok(Instants::Listed(
        words.iter().copied().map(u64::from_le_bytes).collect(),
    ))
}

/// Writes what a stretch gave.
pub(super) fn write_measured(
    out: &mut impl Write,
    measured: &Measured,
    time: Duration,
    began_late_ns: u64,
) -> io::Result<()> {
    let all = histograms(measured);
    let mut behind = Vec::new();
    let mut serializer = V2Serializer::new();
    for histogram in all.iter().flatten() {
        let written = serializer.serialize(histogram, &mut behind);
        written.map_err(|cause| io::Error::other(format!("{cause:?}")))?;
    }
    let reads = &measured.reads;
    let figures = Figures {
        began_late_ns,
        time_ns: ns(time),
        took_ns: ns(measured.took),
        sent: measured.sent,
        acked: measured.acked,
        refused: measured.refused,
        unknown: measured.unknown,
        late: measured.late,
        repeats: measured.repeats,
        reasons: measured.reasons.clone(),
        reads_sent: reads.sent,
        reads_right: reads.right,
        reads_failed: reads.failed,
        reads_stale: reads.stale,
        reads_wrong: reads.wrong,
        reads_said: reads.said.clone(),
        histograms: all.each_ref().map(Vec::len),
    };
    write_line(out, &Answer::Measured(Box::new(figures)), &behind)
}

/// Reads what stands behind the figures of a stretch, and makes the stretch of both.
pub(super) fn read_measured(input: &mut impl Read, figures: Figures) -> io::Result<Measured> {
    let time = Duration::from_nanos(figures.time_ns);
    let mut deserializer = Deserializer::new();
    let mut some = |count: usize| -> io::Result<Vec<Histogram<u64>>> {
        let one = |_| deserializer.deserialize(&mut *input);
        let all: Result<_, _> = (0..count).map(one).collect();
        all.map_err(|cause| io::Error::other(format!("{cause:?}")))
    };
    let [messages, over_time, reads] = figures.histograms;
    let (messages, over_time, reads) = (some(messages)?, some(over_time)?, some(reads)?);
    let mut measured = Measured {
        sent: figures.sent,
        acked: figures.acked,
        refused: figures.refused,
        unknown: figures.unknown,
        late: figures.late,
        recorder: Recorder::of(time, messages),
        over_time: Timeline::of(time, over_time),
        took: Duration::from_nanos(figures.took_ns),
        reads: ReadTally {
            sent: figures.reads_sent,
            right: figures.reads_right,
            failed: figures.reads_failed,
            stale: figures.reads_stale,
            wrong: figures.reads_wrong,
            recorder: Recorder::of(time, reads),
            said: figures.reads_said,
            ..ReadTally::new(time)
        },
        repeats: figures.repeats,
        reasons: figures.reasons,
        ..Measured::new(time)
    };
    measured.sum_up();
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(3);

    fn stretch(from: u64) -> Measured {
        let mut measured = Measured::new(TIME);
        for index in 0..5_000 {
            let (planned_ns, us) = (index * 500_000, from + index % 911);
            measured.recorder.record(planned_ns, us, us / 2);
            measured.over_time.acked(planned_ns, us);
        }
        measured.reads.recorder.record(1, 77, 66);
        (measured.sent, measured.acked, measured.late) = (from + 1, from + 2, from + 3);
        (measured.refused, measured.unknown, measured.repeats) = (from + 4, from + 5, from + 6);
        measured.took = Duration::from_nanos(from);
        measured.reasons = BTreeMap::from([("Busy".to_owned(), from), (from.to_string(), 1)]);
        let reads = &mut measured.reads;
        (reads.sent, reads.right, reads.failed) = (from + 7, from + 8, from + 9);
        (reads.stale, reads.wrong) = (from + 10, from + 11);
        reads.said = vec!["a wrong one".to_owned()];
        measured.sum_up();
        measured
    }

    fn passed_on(measured: &Measured) -> Measured {
        let mut pipe = Vec::new();
        write_measured(&mut pipe, measured, TIME, 9).unwrap();
        let mut input = pipe.as_slice();
        let Some(Answer::Measured(figures)) = read_line(&mut input).unwrap() else {
            panic!("it was written");
        };
        assert_eq!(figures.began_late_ns, 9);
        let read = read_measured(&mut input, *figures).unwrap();
        assert_eq!(input, b"");
        read
    }

    #[test]
    fn what_one_process_measured_is_what_the_other_reads() {
        for measured in [stretch(100), stretch(1 << 30), Measured::new(TIME)] {
            let read = passed_on(&measured);
            assert_eq!(histograms(&read), histograms(&measured));
            assert_eq!(read.response_us, measured.response_us);
            let figures = |of: &Measured| {
                let counts = [of.sent, of.acked, of.late, of.refused, of.unknown, of.repeats];
                let reads = [
                    of.reads.sent,
                    of.reads.right,
                    of.reads.failed,
                    of.reads.stale,
                    of.reads.wrong,
                ];
                (counts, reads, of.took, of.reasons.clone(), of.reads.said.clone())
            };
            assert_eq!(figures(&read), figures(&measured));
        }
    }

    #[test]
    fn two_that_measured_beside_each_other_are_one_without_a_loss() {
        let mut both = passed_on(&stretch(100));
        both.add(passed_on(&stretch(2_000)));
        both.sum_up();
        let (mut response, over_time) = (stretch(100).response_us, both.over_time.to_json());
        response.add(stretch(2_000).response_us).unwrap();
        assert_eq!(both.response_us, response);
        let acked = over_time
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["acked"].as_u64().unwrap());
        assert_eq!(acked.sum::<u64>(), 10_000);
        assert_eq!((both.sent, both.acked, both.late), (2_102, 2_104, 2_106));
        assert_eq!(
            (both.reasons["Busy"], both.reasons["100"], both.reasons.len()),
            (2_100, 1, 3)
        );
        assert_eq!((both.took, both.reads.wrong), (Duration::from_nanos(2_000), 2_122));
        assert_eq!((both.reads.response_us.len(), both.reads.said.len()), (2, 2));
    }

    #[test]
    fn instants_are_told_to_the_last_bit() {
        let share = Share::new(1, 3);
        let all = [
            Instants::Even {
                rate: 1e5 / 3.0,
                at_once: 7,
                share: Share::WHOLE,
            },
            Instants::Listed((0..100).map(|index| index * index).collect()),
        ];
        for instants in all {
            let own = instants.shared(share);
            let (told, behind) = write_instants(&own);
            let mut pipe = Vec::new();
            write_line(&mut pipe, &told, &behind).unwrap();
            let mut input = pipe.as_slice();
            let read = match read_line(&mut input).unwrap().unwrap() {
                PaceTold::Listed { count } => read_listed(&mut input, count).unwrap(),
                PaceTold::Even {
                    rate_bits,
                    at_once,
                    share,
                } => Instants::Even {
                    rate: f64::from_bits(rate_bits),
                    at_once,
                    share,
                },
                closed @ PaceTold::Closed { .. } => panic!("{closed:?}"),
            };
            assert_eq!(read, own);
            for index in 0..30 {
                assert_eq!(own.at(index), instants.at(share.number(index)));
            }
            let counts = (0..3).map(|which| instants.shared(Share::new(which, 3)).count(TIME));
            assert_eq!(counts.sum::<u64>(), instants.count(TIME));
        }
    }

    #[test]
    fn what_breaks_off_is_no_answer() {
        let mut pipe = Vec::new();
        write_measured(&mut pipe, &stretch(5), TIME, 0).unwrap();
        let mut input = &pipe[..pipe.len() - 1];
        let Some(Answer::Measured(figures)) = read_line(&mut input).unwrap() else {
            panic!("its line is whole");
        };
        assert!(read_measured(&mut input, *figures).is_err());
        assert!(read_line::<Answer>(&mut &b"{\"Rea"[..]).is_err() && read_behind(&mut &b"123"[..], 4).is_err());
        assert!(read_line::<Answer>(&mut &b""[..]).unwrap().is_none());
    }
}
