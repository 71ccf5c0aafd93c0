//! A voter of the topology log is lost for good: another node votes, the lost one leaves, and the log decides for as long as a majority of those
//! who vote now is there. Meanwhile the voters' files stay short.
//!
//! Only stdout, stderr, exit codes and the sizes of files are looked at.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use waterpark_bench::cluster::ClusterPlan;

use crate::support::{Machine, Nodes, binary, eventually};

const LIMIT: Duration = Duration::from_secs(240);
const KEY: &str = "patient/1001,facility=HOSPX";
const VOTES: &str = "\n[votes]\nreplace_after = \"3s\"\ntrim = \"16KiB\"\n";
/// A file holds a state, what is trimmed, and what comes while nothing may be trimmed: a few times that.
const FILE_BYTES_MAX: u64 = 128 << 10;

struct World {
    nodes: Nodes,
}

impl World {
    /// Eight nodes, seven of which vote.
    fn start() -> World {
        let plan = ClusterPlan {
            groups: Some(64),
            round_trips: Vec::new(),
            tables: VOTES.to_owned(),
            ..ClusterPlan::eight(binary(), 128 << 20)
        };
        World {
            nodes: Nodes::start(plan),
        }
    }

    fn voters(&self) -> Vec<String> {
        let topology = self.nodes.topology_said();
        let voters = topology["voters"].as_array().expect("a list").iter();
        voters.map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    fn presence(&self, name: &str) -> String {
        let topology = self.nodes.topology_said();
        // One that has left has no name any more.
        let id = self.nodes.id(self.place(name)).0;
        let mut nodes = topology["nodes"].as_array().expect("a list").iter();
        let node = nodes.find(|node| node["id"] == id).expect("it was up");
        node["presence"].as_str().expect("a word").to_owned()
    }

    /// Why the voters changed, as far as the log's history says.
    fn changes(&self) -> Vec<String> {
        let topology = self.nodes.topology_said();
        let history = topology["history"].as_array().expect("a list").iter();
        let changes = history.filter(|row| row["what"] == "voters");
        changes
            .map(|row| row["why"].as_str().expect("words").to_owned())
            .collect()
    }

    fn place(&self, name: &str) -> usize {
        (0..self.nodes.len())
            .find(|place| self.nodes.name(*place) == name)
            .expect("it is one of them")
    }

    fn kill(&mut self, name: &str) {
        let place = self.place(name);
        self.nodes.signal(place, Signal::KILL);
        assert_eq!(self.nodes.wait(place, LIMIT), None, "a signal ended it");
    }

    fn file(&self, name: &str) -> PathBuf {
        let folder = self.nodes.config_path();
        let folder = folder.parent().expect("it lies in a folder");
        folder.join("data").join(format!("{name}.voter"))
    }
}

#[test]
fn a_voter_that_is_lost_for_good_is_replaced_leaves_and_the_log_goes_on_without_it() {
    let _machine = Machine::take("votes", LIMIT);
    let mut world = World::start();
    world.nodes.ask(&["send", KEY, "before"]).ends(0);
    let first = world.voters();
    let all: Vec<String> = (0..world.nodes.len())
        .map(|place| world.nodes.name(place).to_owned())
        .collect();
    let [other] = &all.iter().filter(|name| !first.contains(name)).collect::<Vec<_>>()[..] else {
        panic!("seven of eight vote: {first:?}");
    };
    assert!(!world.file(other).exists());

    // Many entries, and short files.
    let trimmed = "the voters' files are begun anew";
    for _ in 0..20 {
        world.nodes.ask(&["node", "drain", other]).ends(0);
        world.nodes.ask(&["node", "undrain", other]).ends(0);
        if world.changes().iter().filter(|why| *why == trimmed).count() >= 2 {
            break;
        }
    }
    let changes = world.changes();
    assert!(
        changes.len() >= 2 && changes.iter().all(|why| why == trimmed),
        "{changes:?}"
    );
    assert_eq!(world.voters(), first);
    for name in &first {
        let bytes = std::fs::metadata(world.file(name)).expect("it votes").len();
        assert!(bytes < FILE_BYTES_MAX, "the file of {name} has {bytes} bytes");
    }

    // One is lost for good, and the eighth votes.
    let victim = first[3].clone();
    world.kill(&victim);
    let voters = eventually("another votes", LIMIT, || {
        let voters = world.voters();
        (!voters.contains(&victim)).then_some(voters)
    });
    assert!(voters.contains(other) && voters.len() == 7, "{voters:?}");
    assert!(world.changes().iter().any(|why| why == "a voter is not heard"));
    eventually("it has a file of its own", LIMIT, || {
        world.file(other).exists().then_some(())
    });
    let told = world.nodes.ask(&["status", "--json"]).json();
    assert_eq!(told["voters"].as_array().map(Vec::len), Some(7), "{told:#}");

    // It leaves as any node does.
    eventually("nothing is on it any more", LIMIT, || {
        (world.nodes.ask(&["cluster", "forget", &victim]).code == 0).then_some(())
    });
    assert_eq!(world.presence(&victim), "left");
    world.nodes.ask(&["send", KEY, "between"]).ends(0);

    // Three more of the first seven: of these three are left, of those who vote now four.
    let more: Vec<String> = first.iter().filter(|name| **name != victim).take(3).cloned().collect();
    for name in &more {
        world.kill(name);
        eventually("the log says that it is down", LIMIT, || {
            (world.presence(name) == "down").then_some(())
        });
    }
    // And one that comes back with its file votes again.
    let back = world.place(&more[2]);
    world.nodes.start_again(back);
    eventually("the log says that it is up", LIMIT, || {
        (world.presence(&more[2]) == "up").then_some(())
    });
    world.kill(&first[4]);
    eventually("the log says that this one is down", LIMIT, || {
        (world.presence(&first[4]) == "down").then_some(())
    });
}
