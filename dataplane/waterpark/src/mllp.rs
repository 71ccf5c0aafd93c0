//! The MLLP side of a shard: `waterpark_edge::inbound` in the shape that the event loop drives.
//!
//! Knows both sides and the operator's words, and decides nothing.

use waterpark_control::MllpMode;
use waterpark_core::time::{MS, Now};
use waterpark_edge::ack::Mode;
use waterpark_edge::inbound::{Inbound, Instant, Options, Output};
use waterpark_reactor::event_loop::{Edge, EdgeOutput};
use waterpark_ring::Topology;

/// The MLLP side of one shard.
pub(crate) struct Mllp {
    inbound: Inbound,
    output: Output,
}

impl Mllp {
    pub(crate) fn new(options: Options, topology: Topology, entropy: [u8; 16]) -> Mllp {
        Mllp {
            inbound: Inbound::new(options, topology, entropy),
            output: Output::default(),
        }
    }

    /// Runs one input, and hands on what came of it.
    fn run(&mut self, out: &mut EdgeOutput, input: impl FnOnce(&mut Inbound, &mut Output)) {
        std::mem::swap(&mut self.output.requests, &mut out.requests);
        input(&mut self.inbound, &mut self.output);
        std::mem::swap(&mut self.output.requests, &mut out.requests);
        out.sends.append(&mut self.output.sends);
        out.pauses.append(&mut self.output.pauses);
        // Why is counted: whoever sends such bytes may do it often.
        out.closes
            .extend(self.output.closes.drain(..).map(|(connection, _)| connection));
    }
}

/// What the configuration says, over what an embedder chose for the rest.
pub(crate) fn configured(mllp: &waterpark_control::Mllp, mut options: Options) -> Options {
    options.keys.authorities = mllp.authorities.iter().map(|name| name.clone().into_bytes()).collect();
    options.mode = match mllp.mode {
        MllpMode::Original => Mode::Original,
        MllpMode::Enhanced => Mode::Enhanced,
    };
    // Both were bounded when they were read.
    options.timeout_ms = u32::try_from(mllp.timeout.as_ms()).unwrap_or(u32::MAX);
    options.limits.message_bytes_max = usize::try_from(mllp.message_max.get()).unwrap_or(usize::MAX);
    options
}

/// One reading of both clocks in the edge's terms.
fn instant(now: Now) -> Instant {
    Instant {
        monotonic_ms: now.monotonic_ns / MS,
        wall_ms: now.wall_ms,
    }
}

impl Edge for Mllp {
    fn opened(&mut self, connection: u64) {
        self.inbound.opened(connection);
    }

    fn received(&mut self, now: Now, connection: u64, bytes: &[u8], out: &mut EdgeOutput) {
        self.run(out, |inbound, output| {
            inbound.received(instant(now), connection, bytes, output);
        });
    }

    fn finished(&mut self, now: Now, connection: u64, out: &mut EdgeOutput) {
        self.run(out, |inbound, output| {
            inbound.finished(instant(now), connection, output);
        });
    }

    fn closed(&mut self, connection: u64) {
        self.inbound.closed(connection);
    }

    fn replies(&mut self, now: Now, items: &[u8], out: &mut EdgeOutput) {
        self.run(out, |inbound, output| inbound.replies(instant(now), items, output));
    }

    fn tick(&mut self, now: Now, out: &mut EdgeOutput) {
        self.run(out, |inbound, output| inbound.tick(instant(now), output));
    }

    fn due_ns(&self) -> u64 {
        self.inbound
            .due_ms()
            .map_or(u64::MAX, |due_ms| due_ms.saturating_mul(MS))
    }

    fn is_answered(&self, connection: u64) -> bool {
        self.inbound.is_answered(connection)
    }

    fn is_idle(&self) -> bool {
        self.inbound.open() == 0
    }

    fn rest(&mut self) {
        self.inbound.rest();
    }

    fn count(&self, counter: &mut dyn FnMut(&'static str, u64)) {
        self.inbound
            .counts()
            .named()
            .for_each(|(name, value)| counter(name, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration with these lines under `[mllp]`.
    fn config(lines: &str) -> waterpark_control::Mllp {
        let plan =
            waterpark_control::plan(&waterpark_control::InitOptions::default(), &[7; 48]).expect("a new cluster");
        let text = format!("{}\n[mllp]\n{lines}", plan.config_text());
        waterpark_control::parse("cluster.toml", &text, [])
            .expect("a right file")
            .config
            .mllp
    }

    #[test]
    fn a_file_that_says_nothing_serves_as_the_edge_does_by_itself() {
        let options = configured(&config(""), Options::default());
        assert_eq!(format!("{options:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn what_the_file_says_reaches_the_edge_and_the_rest_stays_as_chosen() {
        let chosen = Options {
            window: 7,
            ..Options::default()
        };
        let said =
            "authorities = [\"MR\", \"1.2.3\"]\nmode = \"enhanced\"\ntimeout = \"3s\"\nmessage_max = \"64KiB\"\n";
        let options = configured(&config(said), chosen);
        assert_eq!(options.keys.authorities, [b"MR".to_vec(), b"1.2.3".to_vec()]);
        assert_eq!(
            (
                options.mode,
                options.timeout_ms,
                options.limits.message_bytes_max,
                options.window
            ),
            (Mode::Enhanced, 3_000, 64 << 10, 7)
        );
    }

    #[test]
    fn no_message_over_mllp_may_be_longer_than_a_native_one() {
        let native = waterpark_core::config::Limits::default().message_bytes_max;
        assert_eq!(waterpark_control::MESSAGE_MAX.get(), native as u64);
    }
}
