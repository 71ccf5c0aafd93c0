//! Times of messages, in full: a histogram for each stretch of a run, from which the whole one is added up, and which are kept as an interval
//! log.
//!
//! The log has the form of the tools of HdrHistogram: version 1.3, V2, deflated. **Invariant:** nothing is averaged and nothing is lost: the sum
//! of a log's histograms is the histogram of the run.

use std::io;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

/// The shortest stretch.
const STRETCH_MIN: Duration = Duration::from_secs(1);
/// So many stretches at most: a longer run has longer ones, because each takes up to 280 KB.
const STRETCHES_MAX: u32 = 120;
/// Longest time that a histogram tells, in µs.
const LONGEST_US: u64 = 60_000_000;

/// Response and service times by the stretch in which their messages were planned.
#[derive(Debug)]
pub struct Recorder {
    stretch_ns: u64,
    stretches: Vec<Stretch>,
    began: SystemTime,
}

/// Times of one stretch, in µs.
#[derive(Debug)]
struct Stretch {
    response: Histogram<u64>,
    service: Histogram<u64>,
}

/// A histogram of a run's times.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("bounds that the library allows")
}

impl Stretch {
    fn new() -> Stretch {
        Stretch {
            response: histogram(),
            service: histogram(),
        }
    }
}

impl Recorder {
    /// For a run of so long that begins now.
    #[must_use]
    pub fn new(time: Duration) -> Recorder {
        let least = u64::try_from(STRETCH_MIN.as_nanos()).expect("a second");
        let stretch = u64::try_from((time / STRETCHES_MAX).as_nanos()).unwrap_or(u64::MAX);
        Recorder {
            stretch_ns: stretch.max(least).div_ceil(least).saturating_mul(least),
            stretches: Vec::new(),
            began: SystemTime::now(),
        }
    }

    /// A message that was planned so long after the beginning, and what it took.
    #[inline]
    pub fn record(&mut self, planned_ns: u64, response_us: u64, service_us: u64) {
        let place = usize::try_from(planned_ns / self.stretch_ns).expect("stretches are few");
        if self.stretches.len() <= place {
            self.stretches.resize_with(place + 1, Stretch::new);
        }
        self.stretches[place].response.saturating_record(response_us);
        self.stretches[place].service.saturating_record(service_us);
    }

    /// What another one recorded of the same run beside this one.
    ///
    /// # Panics
    /// If their stretches are not equally long.
    pub fn add(&mut self, other: &Recorder) {
        assert_eq!(self.stretch_ns, other.stretch_ns, "stretches of one length");
        let missing = other.stretches.len().saturating_sub(self.stretches.len());
        self.stretches
            .extend(std::iter::repeat_with(Stretch::new).take(missing));
        for (stretch, other) in self.stretches.iter_mut().zip(&other.stretches) {
            stretch.response.add(&other.response).expect("histograms of one shape");
            stretch.service.add(&other.service).expect("histograms of one shape");
        }
        self.began = self.began.min(other.began);
    }

    /// All of its histograms, of each stretch the response times and the service times.
    pub(crate) fn histograms(&self) -> Vec<&Histogram<u64>> {
        let stretches = self.stretches.iter();
        stretches
            .flat_map(|stretch| [&stretch.response, &stretch.service])
            .collect()
    }

    /// One for a run of so long whose histograms are these.
    pub(crate) fn of(time: Duration, histograms: Vec<Histogram<u64>>) -> Recorder {
        let mut recorder = Recorder::new(time);
        let mut histograms = histograms.into_iter();
        while let (Some(response), Some(service)) = (histograms.next(), histograms.next()) {
            recorder.stretches.push(Stretch { response, service });
        }
        recorder
    }

    /// Response and service times of the whole run.
    #[must_use]
    pub fn sums(&self) -> (Histogram<u64>, Histogram<u64>) {
        let (mut response, mut service) = (histogram(), histogram());
        for stretch in &self.stretches {
            response.add(&stretch.response).expect("histograms of one shape");
            service.add(&stretch.service).expect("histograms of one shape");
        }
        (response, service)
    }
}

/// Writes what was recorded as one interval log, under tags that begin with the names. All were recorded in one run.
///
/// # Errors
/// Never but for a lack of memory: kept so that the caller need not argue why.
pub fn interval_log(recorded: &[(&str, &Recorder)]) -> io::Result<Vec<u8>> {
    let (mut text, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let Some(began) = recorded.iter().map(|(_, recorder)| recorder.began).min() else {
        return Ok(text);
    };
    let failed = |error: IntervalLogWriterError<_>| match error {
        IntervalLogWriterError::IoError(error) => error,
        IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
    };
    let mut head = IntervalLogWriterBuilder::new();
    head.add_comment("[Histogram log format version 1.3]")
        .add_comment("[waterpark bench: microseconds, by when messages were planned; tags tell response from service]")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(1_000.0);
    let mut log = head.begin_log_with(&mut text, &mut serializer)?;
    let mut rows = Vec::new();
    for (name, recorder) in recorded {
        let length = Duration::from_nanos(recorder.stretch_ns);
        // A wall clock that was set meanwhile says nothing.
        let shift = recorder.began.duration_since(began).unwrap_or_default();
        for (place, stretch) in (0_u32..).zip(&recorder.stretches) {
            let at = shift + length * place;
            rows.push((at, length, format!("{name}response"), &stretch.response));
            rows.push((at, length, format!("{name}service"), &stretch.service));
        }
    }
    rows.sort_by_key(|(at, ..)| *at);
    for (at, length, tag, histogram) in rows {
        log.write_histogram(histogram, at, length, Tag::new(&tag))
            .map_err(failed)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// The histograms of a log, by tag, each with when it begins.
    fn read(text: &[u8]) -> Vec<(String, Duration, Histogram<u64>)> {
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(text) {
            let LogEntry::Interval(interval) = entry.unwrap() else {
                continue;
            };
            let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
            let histogram = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            let tag = interval.tag().unwrap().as_str().to_owned();
            assert_eq!(interval.duration(), Duration::from_secs(1));
            found.push((tag, interval.start_timestamp(), histogram));
        }
        found
    }

    #[test]
    fn a_log_that_is_read_back_adds_up_to_what_was_measured() {
        let (mut writes, mut reads) = (
            Recorder::new(Duration::from_secs(3)),
            Recorder::new(Duration::from_secs(3)),
        );
        for index in 0..30_000 {
            writes.record(index * 100_000, 100 + index % 977, 50 + index % 977);
        }
        // Longer than any histogram tells.
        writes.record(2 * SECOND_NS, 1 << 40, 1);
        reads.record(SECOND_NS, 70, 60);
        let text = interval_log(&[("", &writes), ("read-", &reads)]).unwrap();
        assert!(text.starts_with(b"#[Histogram log format version 1.3]\n"));
        let found = read(&text);
        let starts: Vec<u64> = found.iter().map(|(_, at, _)| at.as_secs()).collect();
        assert!(starts.is_sorted(), "{starts:?}");
        for (tag, stretches, wanted) in [
            ("response", 3, writes.sums().0),
            ("service", 3, writes.sums().1),
            ("read-response", 2, reads.sums().0),
            ("read-service", 2, reads.sums().1),
        ] {
            let mut sum = histogram();
            let of_tag: Vec<_> = found.iter().filter(|(other, _, _)| other == tag).collect();
            assert_eq!(of_tag.len(), stretches, "{tag}");
            of_tag.iter().for_each(|(_, _, histogram)| sum.add(histogram).unwrap());
            assert_eq!(sum, wanted, "{tag}");
        }
        assert_eq!(
            (writes.sums().0.len(), writes.sums().0.max() >= LONGEST_US),
            (30_001, true)
        );
    }

    #[test]
    fn a_long_run_has_longer_stretches_and_no_more_of_them() {
        for (seconds, stretch_s) in [(1, 1), (120, 1), (121, 2), (3_600, 30)] {
            let recorder = Recorder::new(Duration::from_secs(seconds));
            assert_eq!(recorder.stretch_ns, stretch_s * SECOND_NS, "{seconds}");
        }
        assert_eq!(interval_log(&[]).unwrap(), b"");
    }
}
