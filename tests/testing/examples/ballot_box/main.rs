//! An election under faults: every vote counts once, whatever crashes, is cut or comes twice.
//!
//! `cargo run --example ballot_box -p waterpark-testing`

mod ballots;

use ballots::Ballots;
use waterpark_testing::{Setup, check};

fn main() {
    check(
        1..=20,
        Setup::nodes(5).faults(),
        || Ballots,
        |cluster| {
            let choices = ["red", "blue", "green"];
            let mut votes = Vec::new();
            for voter in 0..30 {
                let vote = format!("vote voter-{voter} {}", choices[voter % choices.len()]);
                votes.push(cluster.send("ballots/spring", &vote));
                cluster.advance_ms(40);
            }
            cluster.calm();
            for vote in votes {
                assert!(cluster.reply(vote).is_done());
            }
            assert_eq!(cluster.read("ballots/spring"), r#"{"blue":10,"green":10,"red":10}"#);
            let again = cluster.send("ballots/spring", "vote voter-7 red");
            assert_eq!(cluster.reply(again).text(), "has voted already");
        },
    );
    println!("30 votes under 20 seeds of faults: each counted once");
}
