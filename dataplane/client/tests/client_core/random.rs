//! Thousands of seeds of the lossy cluster: whatever happens, each ticket ends once, and its end is true.

use std::collections::BTreeMap;

use waterpark_client::ClientError;
use waterpark_wire::reply::Outcome;

use crate::lossy::{Flaws, Message, World};

/// Runs of the test; `WATERPARK_CLIENT_SEEDS` asks for more.
const SEEDS: u64 = 2_000;

/// What is wrong with the ends of one run's messages, if something is.
fn lie(messages: &[Message]) -> Option<String> {
    for (id, message) in messages.iter().enumerate() {
        let Some(end) = message.ends.last() else {
            return Some(format!("message {id} never ended: {message:?}"));
        };
        // Every end but the last one is an `Unknown` that was asked about.
        let before = &message.ends[..message.ends.len() - 1];
        let once = before.iter().all(|end| *end == Err(ClientError::Unknown)) && (message.held || before.is_empty());
        let effects = message.effects.len();
        let is_true = match end {
            Ok(Outcome::Voided) => effects == 0,
            Ok(_) => effects == 1 && message.token == Some(message.effects[0]),
            Err(ClientError::Unknown) => effects <= 1,
            Err(_) => effects == 0,
        };
        if !once || !is_true {
            return Some(format!("message {id}: {message:?}"));
        }
    }
    out_of_order(messages)
}

/// Ordered messages to one group took effect in the order of their calls. One that was given up in between may still have taken effect
/// while the next session had begun: it promises no order any more.
fn out_of_order(messages: &[Message]) -> Option<String> {
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for message in messages.iter().filter(|message| message.ordered) {
        let [Ok(Outcome::Done | Outcome::Refused | Outcome::Trapped)] = message.ends[..] else {
            continue;
        };
        let seq = message.effects[0];
        let before = last.insert(message.group, seq).unwrap_or(0);
        if seq <= before {
            return Some(format!("order of group {}: {message:?} after {before}", message.group));
        }
    }
    None
}

#[test]
fn each_ticket_ends_once_and_its_end_is_true() {
    let asked = std::env::var("WATERPARK_CLIENT_SEEDS").ok();
    let seeds = asked.map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let (mut copies, mut opened) = (0, 0);
    for seed in 0..seeds {
        let mut world = World::new(seed, Flaws::default());
        world.run();
        if let Some(lie) = lie(&world.messages) {
            panic!("seed {seed}: {lie}");
        }
        for end in world.messages.iter().flat_map(|message| &message.ends) {
            let name = match end {
                Ok(outcome) => format!("{outcome:?}"),
                Err(ClientError::Refused { outcome, .. }) => format!("refused {outcome:?}"),
                Err(ClientError::Unreachable { .. }) => "unreachable".to_owned(),
                Err(error) => format!("{error:?}"),
            };
            *ends.entry(name).or_default() += 1;
        }
        copies += world.copies;
        opened += world.messages.len() as u64;
    }
    println!("{opened} messages, {copies} copies, {ends:?}");
    let rare = [
        "Done",
        "Refused",
        "Trapped",
        "Voided",
        "Unknown",
        "refused Busy",
        "refused NoQuorum",
        "refused SessionExpired",
        "refused Full",
        "refused Gap",
        "unreachable",
    ];
    for name in rare {
        assert!(ends.contains_key(name), "{name} was never reached: {ends:?}");
    }
    assert!(copies > opened * 11 / 10, "copies are sent again");
}

/// Runs until a flaw is seen; `None` if it never is.
fn seen_by(flaws: Flaws, seeds: u64) -> Option<u64> {
    (0..seeds).find(|seed| {
        let mut world = World::new(*seed, flaws);
        world.run();
        lie(&world.messages).is_some()
    })
}

#[test]
fn a_cluster_without_a_repeat_table_is_caught() {
    let flaws = Flaws {
        no_repeat_table: true,
        ..Flaws::default()
    };
    assert!(seen_by(flaws, 200).is_some());
}

#[test]
fn the_client_itself_knows_which_of_its_refusals_are_definite() {
    // A cluster whose mailrooms never say `maybe` about copies of their own is caught; what the client sent twice it knows itself.
    let flaws = Flaws {
        no_maybe: true,
        ..Flaws::default()
    };
    assert!(seen_by(flaws, 2_000).is_some());
}
