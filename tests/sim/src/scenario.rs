//! What a seed draws, as a value: its nodes, faults, clients and times. Each part can be set to less, and a token names all of it.
//!
//! It runs nothing but itself. **Invariant:** a token gives the scenario that it was made of, and a scenario gives one run, bit for bit.

use std::fmt;

use waterpark_core::Branch;
use waterpark_core::config::Births;
use waterpark_core::rules::{Production, Rules};
use waterpark_kit::reach::{Counter, EventKind, Expect, Fault, Rare, Reached};
use waterpark_kit::rng::Rng;
use waterpark_kit::{Cluster, Faults, Report, Size};
use waterpark_wire::reply::Outcome;

use crate::knobs::{KNOBS, Knob};

/// Clusters that seeds are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Three to six nodes whose topology never changes, as real nodes have it.
    Fixed,
    /// Three to eight nodes that end and start, and groups that get other members.
    Small,
    /// As small, and groups are lost on purpose and opened again by an operator.
    Losing,
    /// The same as small with whole nodes: their consensus, detection and planner decide which.
    Whole,
    /// As small, with 32 nodes in four data centres, 256 groups and many clients.
    Large,
    /// As whole, with nine nodes and one group: the least that shows what a virtual second costs.
    Single,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 6] = [
        Profile::Fixed,
        Profile::Small,
        Profile::Losing,
        Profile::Whole,
        Profile::Large,
        Profile::Single,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Profile::Fixed => "fixed",
            Profile::Small => "small",
            Profile::Losing => "losing",
            Profile::Whole => "whole",
            Profile::Large => "large",
            Profile::Single => "single",
        }
    }

    /// The profile of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Who lets its groups be born.
    #[must_use]
    pub fn births(self) -> Births {
        match self {
            Profile::Fixed => Births::Writer,
            Profile::Small | Profile::Losing | Profile::Whole | Profile::Large | Profile::Single => Births::TopologyLog,
        }
    }

    /// What a long batch of it makes of a kind.
    #[must_use]
    pub fn expect(self, reached: Reached) -> Expect {
        match (self, reached) {
            (Profile::Whole | Profile::Single, Reached::Fault(Fault::MembersChanged | Fault::LearnersChanged)) => {
                Expect::Never("the planner moves groups, and no whim of the steward's")
            }
            (
                Profile::Losing,
                Reached::Reply(Outcome::GroupLost | Outcome::LineageLost)
                | Reached::Fault(Fault::GroupLost)
                | Reached::Rare(Rare::Reopened | Rare::AckedLost),
            ) => Expect::Reached,
            (
                Profile::Whole,
                Reached::Fault(Fault::NodeJoined | Fault::VoterWiped | Fault::MemberContradicted)
                | Reached::Event(EventKind::Quarantined | EventKind::StateDiffers),
            ) => Expect::Reached,
            (Profile::Whole, Reached::Rare(Rare::VoteGiven | Rare::FilesBegun | Rare::StateLearned)) => Expect::Reached,
            (
                Profile::Large | Profile::Single,
                Reached::Fault(Fault::SeatsChanged)
                | Reached::Branch(Branch::MovedInViewChange | Branch::MovedOnward | Branch::MadeUp),
            )
            | (Profile::Large, Reached::Counter(Counter::Crossed)) => Expect::Never("each node has one shard"),
            (Profile::Single, reached) => match reached.expect(self.births()) {
                never @ Expect::Never(_) => never,
                _ => Expect::Seldom("where there are more groups"),
            },
            _ => reached.expect(self.births()),
        }
    }
}

/// What a seed draws.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    pub(crate) names: Vec<String>,
    pub(crate) shards: Vec<u16>,
    pub(crate) size: Size,
    pub(crate) faults: Faults,
    pub(crate) requests: u64,
    pub(crate) faulty_ms: u64,
    /// Which of the runs of this draw: what is drawn on the way differs.
    pub(crate) run: u64,
}

/// One run that can be had again.
#[derive(Clone, Debug)]
pub struct Scenario {
    profile: Profile,
    seed: u64,
    pub(crate) draw: Draw,
}

/// Why a text names no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// It does not begin with `PROFILE/SEED`.
    NoSeed,
    /// A part of it is no `NAME=NUMBER`, or nothing has that name.
    NoKnob(String),
    /// It asks for more than the seed drew.
    TooMuch(String),
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadToken::NoSeed => write!(f, "a token begins with PROFILE/SEED, like small/17"),
            BadToken::NoKnob(part) => write!(f, "`{part}` is nothing that a seed draws"),
            BadToken::TooMuch(part) => write!(f, "`{part}` is not what this seed can have"),
        }
    }
}

impl Scenario {
    /// What a seed draws.
    #[must_use]
    pub fn of(profile: Profile, seed: u64) -> Scenario {
        let draw = match profile {
            Profile::Fixed => draw_fixed(seed),
            Profile::Small => draw_small(seed),
            Profile::Losing => draw_losing(seed),
            Profile::Whole => draw_whole(seed),
            Profile::Large => draw_large(seed),
            Profile::Single => draw_single(seed),
        };
        Scenario { profile, seed, draw }
    }

    /// The scenario of a token.
    ///
    /// # Errors
    /// [`BadToken`] if the text is none.
    pub fn parse(token: &str) -> Result<Scenario, BadToken> {
        let mut parts = token.split('/');
        let profile = parts.next().and_then(Profile::parse).ok_or(BadToken::NoSeed)?;
        let seed = parts
            .next()
            .and_then(|seed| seed.parse().ok())
            .ok_or(BadToken::NoSeed)?;
        let mut scenario = Scenario::of(profile, seed);
        for part in parts {
            let named = part.split_once('=').and_then(|(name, value)| {
                let knob = KNOBS.iter().find(|knob| knob.name == name)?;
                Some((knob, value.parse::<u64>().ok()?))
            });
            let (knob, value) = named.ok_or_else(|| BadToken::NoKnob(part.to_owned()))?;
            if !knob.fits(&scenario.draw, value) {
                return Err(BadToken::TooMuch(part.to_owned()));
            }
            (knob.set)(&mut scenario.draw, value);
        }
        Ok(scenario)
    }

    /// Its token: the profile, the seed, and what is less than the seed drew.
    #[must_use]
    pub fn token(&self) -> String {
        let mut token = format!("{}/{}", self.profile.name(), self.seed);
        let drawn = Scenario::of(self.profile, self.seed).draw;
        let set = |knob: &&Knob| (knob.get)(&self.draw) != (knob.get)(&drawn);
        for knob in KNOBS.iter().filter(set) {
            token += &format!("/{}={}", knob.name, (knob.get)(&self.draw));
        }
        token
    }

    /// The profile.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// How much it is of one thing that a token can name; `None` if nothing has that name.
    #[must_use]
    pub fn has(&self, name: &str) -> Option<u64> {
        let knob = KNOBS.iter().find(|knob| knob.name == name)?;
        Some((knob.get)(&self.draw))
    }

    /// Runs it under the rules as they are.
    #[must_use]
    pub fn run(&self) -> Report {
        self.run_under::<Production>()
    }

    pub(crate) fn run_under<R: Rules>(&self) -> Report {
        let draw = &self.draw;
        let names: Vec<&str> = draw.names.iter().map(String::as_str).collect();
        // The first run of a seed is the seed's own.
        let seed = self.seed ^ draw.run.wrapping_mul(0xA24B_AED4_963E_E407);
        let cluster = Cluster::<R>::sized(
            seed,
            self.profile.births(),
            draw.size,
            &names,
            &draw.shards,
            draw.faults.clone(),
            draw.requests,
        );
        match self.profile {
            Profile::Whole | Profile::Single => cluster.with_controllers().run(draw.faulty_ms),
            Profile::Fixed | Profile::Small | Profile::Losing | Profile::Large => cluster.run(draw.faulty_ms),
        }
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// So many shards at most on each of so many nodes.
fn shards(rng: &mut Rng, nodes: usize, most: u64) -> Vec<u16> {
    (0..nodes)
        .map(|_| 1 + u16::try_from(rng.below(most)).expect("few"))
        .collect()
}

fn draw_fixed(seed: u64) -> Draw {
    let mut rng = Rng::new(seed ^ 0x5EED);
    let names = names(CLUSTERS[rng.index(CLUSTERS.len())]);
    Draw {
        shards: shards(&mut rng, names.len(), 3),
        names,
        size: Size::SMALL,
        faults: Faults::draw(&mut rng),
        requests: 40 + rng.below(160),
        faulty_ms: 2_000 + rng.below(3_000),
        run: 0,
    }
}

fn draw_small(seed: u64) -> Draw {
    let mut rng = Rng::new(seed ^ 0x000C_4A46);
    let names = names(CHANGING[rng.index(CHANGING.len())]);
    Draw {
        shards: shards(&mut rng, names.len(), 2),
        names,
        size: Size::SMALL,
        faults: Faults {
            seats: seats(seed),
            ..Faults::draw_changing(&mut rng)
        },
        requests: 40 + rng.below(260),
        faulty_ms: 3_000 + rng.below(6_000),
        run: 0,
    }
}

/// As small, of other seeds.
fn draw_losing(seed: u64) -> Draw {
    let drawn = draw_small(seed ^ 0x0010_5E00_0000);
    Draw {
        faults: Faults {
            losses: 1 + Rng::new(seed ^ 0x0070_5E12).below(3),
            ..drawn.faults
        },
        ..drawn
    }
}

fn draw_whole(seed: u64) -> Draw {
    let mut rng = Rng::new(seed ^ 0x0077_401E);
    let names = names(CHANGING[rng.index(CHANGING.len())]);
    let faults = Faults::draw_changing(&mut rng);
    let mut votes = Rng::new(seed ^ 0x0060_7E55);
    Draw {
        shards: shards(&mut rng, names.len(), 2),
        names,
        size: Size::SMALL,
        // Nothing moves without a reason.
        faults: Faults {
            moves_ppm: 0,
            seats: seats(seed),
            joins: [0, 0, 0, 1, 1, 2][Rng::new(seed ^ 0x0010_14ED).index(6)],
            wipes: [0, 1, 1, 2][votes.index(4)],
            contradictions: [0, 0, 1, 3][Rng::new(seed ^ 0x0C04_78AE).index(4)],
            vote_ms: [faults.vote_ms, 1_000, 3_000][votes.index(3)] + votes.below(2_000),
            trim_bytes: [faults.trim_bytes, 4 << 10, 64 << 10][votes.index(3)],
            ..faults
        },
        requests: 40 + rng.below(260),
        faulty_ms: 4_000 + rng.below(10_000),
        run: 0,
    }
}

/// How often groups change their seats on a node, apart from what else is drawn: in half of the seeds never.
fn seats(seed: u64) -> u64 {
    [0, 0, 1, 6][Rng::new(seed ^ 0x0005_EA75).index(4)]
}

fn draw_single(seed: u64) -> Draw {
    let mut rng = Rng::new(seed ^ 0x0051_461E);
    let faults = Faults::draw_changing(&mut rng);
    Draw {
        shards: vec![1; NINE.len()],
        names: names(&NINE),
        size: Size {
            groups: 1,
            ..Size::SMALL
        },
        // All requests are for one group: where its queues take one or two they wait longer than everything has to end in.
        faults: Faults {
            moves_ppm: 0,
            queue: None,
            ..faults
        },
        requests: 40 + rng.below(260),
        faulty_ms: 4_000 + rng.below(10_000),
        run: 0,
    }
}

fn draw_large(seed: u64) -> Draw {
    let mut rng = Rng::new(seed ^ 0x01A6_6E00);
    let names = ["FL", "TN", "TX", "UT"].iter().flat_map(|dc| {
        let zones = ["A", "B"].iter();
        zones.flat_map(move |zone| (1..=4).map(move |number| format!("{dc}-{zone}-{number}")))
    });
    let names: Vec<String> = names.collect();
    let faults = Faults::draw_changing(&mut rng);
    Draw {
        shards: vec![1; names.len()],
        names,
        size: Size {
            groups: 256,
            actors: 200,
            clients: Some(12),
        },
        // A cut is of one of 496 links here, and a whim of one of 256 groups.
        faults: Faults {
            cuts: faults.cuts * 2,
            moves_ppm: faults.moves_ppm / 8,
            restarts: faults.restarts * 2,
            ..faults
        },
        requests: 2_000 + rng.below(2_000),
        faulty_ms: 5_000 + rng.below(5_000),
        run: 0,
    }
}

/// The clusters that seeds draw from, as `DC-AZ-N`.
const CLUSTERS: [&[&str]; 4] = [
    &["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"],
    &["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"],
    &["FL-A-1", "FL-B-1", "TN-A-1"],
    &["FL-A-1", "FL-B-1", "TN-A-1", "TN-B-1", "TX-A-1", "UT-A-1"],
];

/// The clusters that changing seeds draw from.
const CHANGING: [&[&str]; 4] = [
    &["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"],
    &["FL-A-1", "FL-B-1", "TN-A-1", "TN-B-1", "TX-A-1", "TX-B-1", "UT-A-1"],
    &["FL-A-1", "FL-B-1", "TN-A-1"],
    &[
        "FL-A-1", "FL-B-1", "TN-A-1", "TN-B-1", "TX-A-1", "TX-B-1", "UT-A-1", "UT-B-1",
    ],
];

/// Nine nodes, as `single` has them.
const NINE: [&str; 9] = [
    "FL-A-1", "FL-A-2", "FL-B-1", "TN-A-1", "TN-B-1", "TX-A-1", "TX-B-1", "UT-A-1", "UT-B-1",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_the_scenario_that_it_was_made_of() {
        for token in [
            "fixed/3",
            "small/17",
            "small/17/ms=900/requests=9/run=2",
            "large/1/ms=900/requests=200/nodes=5",
        ] {
            assert_eq!(
                Scenario::parse(token).map(|scenario| scenario.token()),
                Ok(token.to_owned())
            );
        }
        // What is as drawn is left out, and the order is the token's own.
        let scenario = Scenario::parse("large/1/nodes=32/requests=200/ms=900").expect("a token");
        assert_eq!(scenario.token(), "large/1/ms=900/requests=200");
        assert_eq!((scenario.has("ms"), scenario.has("luck")), (Some(900), None));
    }

    #[test]
    fn a_text_that_is_no_token_is_refused_with_its_reason() {
        let refused = |token: &str| Scenario::parse(token).err();
        assert_eq!(refused("tiny/3"), Some(BadToken::NoSeed));
        assert_eq!(refused("small"), Some(BadToken::NoSeed));
        assert_eq!(refused("small/3/luck=1"), Some(BadToken::NoKnob("luck=1".to_owned())));
        assert_eq!(refused("small/3/nodes=x"), Some(BadToken::NoKnob("nodes=x".to_owned())));
        assert_eq!(
            refused("small/3/nodes=99"),
            Some(BadToken::TooMuch("nodes=99".to_owned()))
        );
        assert_eq!(
            refused("small/3/nodes=2"),
            Some(BadToken::TooMuch("nodes=2".to_owned()))
        );
    }
}
