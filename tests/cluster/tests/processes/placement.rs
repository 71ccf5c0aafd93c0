//! What `placement show` says of a cluster that works.

use std::time::Duration;

use crate::support::{Machine, Nodes, five};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_actor_that_gets_all_messages_is_named_with_its_group_and_its_part() {
    let _machine = Machine::take("plans", 60 * SECOND);
    let nodes = Nodes::start(five());
    let bench = [
        "bench",
        "run",
        "--workload",
        "hot-actor",
        "--rate",
        "3000",
        "--for",
        "8s",
    ];
    let (shown, table) = std::thread::scope(|scope| {
        let measuring = scope.spawn(|| nodes.ask(&bench));
        std::thread::sleep(3 * SECOND);
        let shown = nodes.ask(&["placement", "show", "--for", "2s", "--json"]);
        let table = nodes.ask(&["placement", "show", "--for", "1s"]);
        measuring.join().expect("it ends");
        (shown.ends(0), table.ends(0))
    });
    let told: serde_json::Value = serde_json::from_str(shown.text()).expect("an object");
    let shards = told["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|node| &node["shards"][0]);
    let hot: Vec<_> = shards
        .flat_map(|shard| shard["actors"].as_array().expect("a list"))
        .collect();
    let [actor] = hot.as_slice() else {
        panic!("one actor alone gets messages: {told:#}");
    };
    let number = |name: &str| actor[name].as_f64().expect("a number");
    assert!(number("part_of_shard") > 0.9, "{actor:#}");
    // Beside other tests the generator may fall behind, and catch up.
    assert!((1_500.0..6_000.0).contains(&number("messages_per_s")), "{actor:#}");
    assert!(
        (100.0..150.0).contains(&(number("bytes_per_s") / number("messages_per_s"))),
        "{actor:#}"
    );
    assert!(number("cpu") > 0.0 && number("cpu") <= 1.0, "{actor:#}");
    let key = actor["key"].as_str().expect("a key");
    let row = table.text().lines().find(|line| line.contains(key));
    assert!(row.is_some_and(|row| row.contains(" %")), "{key}: {}", table.all());
}
