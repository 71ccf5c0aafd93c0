//! What a generator sends, whichever process it is in.

use serde::{Deserialize, Serialize};
use waterpark_client::ClientError;
use waterpark_client::blocking::{Client, ClusterAddresses};
use waterpark_client::polled::Polled;
use waterpark_control::ClusterConfig;

use crate::cluster::addresses;
use crate::generator::Generator;
use crate::reads::{Level, Reads};
use crate::run::{CONNECT, Plan, generators_options};
use crate::share::Share;
use crate::sight::Sight;
use crate::skew::{Ranks, Skew};
use crate::workload::{Kind, Workload};

/// The work of one generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    kind: Kind,
    level: Level,
    actors: u64,
    message_bytes: usize,
    seed: u64,
    warm: u64,
    /// The bits of Zipf's exponent, where groups are not asked for evenly.
    skew: Option<u64>,
    timeout_ms: u32,
    share: Share,
}

impl Task {
    /// All of a plan.
    pub(crate) fn of(plan: &Plan, seed: u64, warm: u64) -> Task {
        Task {
            kind: plan.kind,
            level: plan.level,
            actors: plan.actors,
            message_bytes: plan.message_bytes,
            seed,
            warm,
            skew: match plan.skew {
                Skew::Even => None,
                Skew::Zipf(exponent) => Some(exponent.to_bits()),
            },
            timeout_ms: plan.timeout_ms,
            share: Share::WHOLE,
        }
    }

    /// A part of it.
    pub(super) fn shared(&self, share: Share) -> Task {
        Task { share, ..self.clone() }
    }

    /// Messages that actors get before the measurement.
    pub(super) fn warm(&self) -> u64 {
        self.warm
    }

    /// Its messages.
    pub(crate) fn workload(&self, config: &ClusterConfig) -> Workload {
        let even = Workload {
            kind: self.kind,
            actors: self.actors,
            message_bytes: self.message_bytes,
            seed: self.seed,
            warm: self.warm,
            prefix: "",
            skew: None,
        };
        let ranks = self.skew.map(|bits| {
            let ranks = Ranks::of(&even, &config.topology(), f64::from_bits(bits));
            // A process has a few tasks at most, and a table for as long as it lasts.
            &*Box::leak(Box::new(ranks))
        });
        Workload { skew: ranks, ..even }
    }

    /// A generator that is connected. `control` is asked who the members of groups are, where they are read.
    pub(crate) fn generator(
        &self,
        workload: Workload,
        control: &Client,
        (config, key): (&ClusterConfig, [u8; 32]),
    ) -> Result<Generator, ClientError> {
        let entries = ClusterAddresses(addresses(config));
        let client = Polled::new(entries, key, &generators_options())?;
        let mut generator = Generator::new(client, workload, self.timeout_ms).with_share(self.share);
        generator.connect(CONNECT)?;
        if let Kind::Kv { .. } = self.kind {
            let nodes: Vec<u16> = config.topology().nodes().iter().map(|node| node.id.0).collect();
            let members = Sight::look(control, &nodes, config.groups, &Sight::default()).members();
            generator = generator.with_reads(Reads::new(self.level, members, self.actors));
        }
        Ok(generator)
    }
}
