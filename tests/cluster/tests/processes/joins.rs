//! A node that the cluster was not made with joins it while messages are written, gets its share of the groups, and leaves again for good.
//!
//! No process is started anew for it. **Invariant:** every message that was acked is held once in the end, by whoever holds its group then.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use waterpark_bench::cluster::ClusterPlan;
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_client::{Address, HistoryQuery, ReadOptions, SendOptions, history_entries};
use waterpark_ring::Key;
use waterpark_wire::reply::Outcome;

use crate::support::{Machine, Nodes, Said, binary, eventually, five, type_in};

const LIMIT: Duration = Duration::from_secs(240);
/// The sixth node stands in the zone of the second.
const NAME: &str = "FL-B-2";
const ID: u16 = 6;
/// Groups of the cluster.
const GROUPS: u64 = 64;
const ACTORS: usize = 96;

/// Five nodes with a topology log.
fn plan() -> ClusterPlan {
    ClusterPlan { voters: true, ..five() }
}

/// A process of the node that joins, with a configuration of its own.
struct Sixth {
    child: Child,
    ready: Receiver<()>,
    log: PathBuf,
}

impl Sixth {
    fn start(config: &Path) -> Sixth {
        let log = config.with_extension("log");
        let stderr = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("its folder is ours");
        let mut child = Command::new(binary())
            .args(["node", "--with-parent", "--name", NAME, "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the command can be started");
        let out = child.stdout.take().expect("it was asked for");
        let (tell, ready) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line == format!("ready {NAME}") && tell.send(()).is_err() {
                    return;
                }
            }
        });
        Sixth { child, ready, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Tells it to end, and waits until it has.
    fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
        eventually("it ends", Duration::from_secs(60), || {
            self.child.try_wait().expect("it is ours")
        })
        .code()
    }
}

impl Drop for Sixth {
    fn drop(&mut self) {
        // Whoever has ended needs no end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Writes numbered messages to a few actors until it is told to end.
struct Writer {
    ends: Arc<AtomicBool>,
    acked: Arc<Mutex<BTreeMap<usize, Vec<String>>>>,
    thread: JoinHandle<u64>,
}

fn key(actor: usize) -> Key {
    Key::new("record", &[("id", format!("join-{actor}").as_bytes())]).expect("a valid key")
}

impl Writer {
    fn start(client: Client) -> Writer {
        let ends = Arc::new(AtomicBool::new(false));
        let acked: Arc<Mutex<BTreeMap<usize, Vec<String>>>> = Arc::default();
        let (ended, noted) = (Arc::clone(&ends), Arc::clone(&acked));
        let thread = std::thread::spawn(move || {
            let mut failed = 0;
            for serial in 0_usize.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let actor = serial % ACTORS;
                let message = format!("message {serial}");
                let sent = client.send(key(actor).as_ref(), message.as_bytes(), &SendOptions::default());
                match sent {
                    Ok(answer) if answer.outcome == Outcome::Done => {
                        noted
                            .lock()
                            .expect("nobody panics")
                            .entry(actor)
                            .or_default()
                            .push(message);
                    }
                    _ => failed += 1,
                }
            }
            failed
        });
        Writer { ends, acked, thread }
    }

    fn written(&self) -> usize {
        self.acked.lock().expect("nobody panics").values().map(Vec::len).sum()
    }

    /// Waits for so many acks more: whatever happened meanwhile, it is written on.
    fn writes_on(&self) {
        let before = self.written();
        eventually("it is written on", LIMIT, || {
            (self.written() >= before + ACTORS).then_some(())
        });
    }

    fn stop(self) -> (BTreeMap<usize, Vec<String>>, u64) {
        self.ends.store(true, Ordering::Relaxed);
        let failed = self.thread.join().expect("it does not panic");
        let acked = std::mem::take(&mut *self.acked.lock().expect("nobody panics"));
        (acked, failed)
    }
}

/// Every acked message is in its actor's history once, in its order.
fn assert_held(client: &Client, acked: &BTreeMap<usize, Vec<String>>) {
    for (actor, messages) in acked {
        let answer = client
            .history(key(*actor).as_ref(), HistoryQuery::default(), &ReadOptions::default())
            .unwrap_or_else(|error| panic!("actor {actor}: {error}"));
        let entries = history_entries(&answer.body).map(|entry| entry.expect("a whole entry").entry);
        let texts = entries.map(|entry| String::from_utf8(entry.message.to_vec()).expect("it was text"));
        let mut held: Vec<String> = texts.collect();
        held.reverse();
        let wanted = held.iter().filter(|held| messages.contains(held));
        assert!(
            wanted.eq(messages),
            "actor {actor}: {} of {}",
            held.len(),
            messages.len()
        );
    }
}

struct World {
    nodes: Nodes,
    /// The sixth node's configuration.
    its: PathBuf,
    port: u16,
}

impl World {
    fn start() -> World {
        let nodes = Nodes::start(plan());
        let port = nodes.config.nodes.iter().map(|node| node.port).max().expect("five") + 256;
        let its = nodes.config_path().with_file_name("its-cluster.toml");
        let world = World { nodes, its, port };
        world.write(&world.its, |text| text);
        world
    }

    /// The cluster's configuration with the sixth node, and with other words where somebody made a mistake.
    fn write(&self, path: &Path, edit: impl Fn(String) -> String) {
        let text = std::fs::read_to_string(self.nodes.config_path()).expect("it lies where it was written");
        let node = format!(
            "\n[[node]]\nid = {ID}\nname = \"{NAME}\"\nhost = \"127.0.0.1\"\nport = {}\njoins = true\n",
            self.port
        );
        std::fs::write(path, edit(text + &node)).expect("its folder is ours");
    }

    /// Another file beside its own.
    fn wrong(&self, name: &str, edit: impl Fn(String) -> String) -> PathBuf {
        let path = self.its.with_file_name(name);
        self.write(&path, edit);
        path
    }

    fn join(&self, config: &Path, name: &str) -> Said {
        let config = config.display().to_string();
        type_in(&[
            "cluster",
            "join",
            "--config",
            &config,
            "--name",
            name,
            "--timeout",
            "30s",
        ])
    }

    /// What the log says of the sixth node, which has no name of its own in it.
    fn sixth(&self) -> Option<Value> {
        let topology = self.nodes.topology_said();
        let mut nodes = topology["nodes"].as_array().expect("a list").iter();
        nodes.find(|node| node["id"] == ID).cloned()
    }

    /// A client that enters through the sixth node alone.
    fn client_of_sixth(&self) -> Client {
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port: self.port + 64,
        };
        let key = self.nodes.cluster.key();
        Client::connect(ClusterAddresses(vec![address]), &key, ConnectOptions::default()).expect("it serves")
    }
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().expect("a number")
}

/// Memberships that groups gained by their views since they were born with these members, one that was lost and gained again each time.
fn moved<'a>(topology: &Value, born: impl Iterator<Item = &'a str>) -> u64 {
    let born: Vec<Value> = born.map(Value::from).collect();
    let mut members: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    let mut moved = 0;
    for row in topology["history"].as_array().expect("a list") {
        if row["what"] == "activated" {
            let now = row["members"].as_array().expect("a list").clone();
            let before = members
                .insert(number(row, "group"), now.clone())
                .unwrap_or_else(|| born.clone());
            moved += now.iter().filter(|node| !before.contains(node)).count() as u64;
        }
    }
    moved
}

#[test]
fn a_sixth_node_joins_while_messages_are_written_gets_its_share_and_leaves_for_good() {
    let _machine = Machine::take("join", LIMIT);
    let mut world = World::start();
    let incarnations = |world: &World| -> Vec<Value> {
        let topology = world.nodes.topology_said();
        let nodes = topology["nodes"].as_array().expect("a list").iter();
        nodes.take(5).map(|node| node["incarnation"].clone()).collect()
    };
    let before = incarnations(&world);
    let writer = Writer::start(world.nodes.client(0));
    writer.writes_on();

    // It does not run, so nobody waits for it; and it waits for an order when it does.
    let away = world.join(&world.its, NAME).ends(4);
    assert!(away.stderr.contains("WP-1740"), "{}", away.all());
    let sixth = Sixth::start(&world.its);
    eventually("it is refused as a stranger", LIMIT, || {
        sixth.log().contains("cluster join").then_some(())
    });
    assert!(
        world.sixth().is_none() && sixth.ready.try_recv().is_err(),
        "{}",
        sixth.log()
    );

    let said = world.join(&world.its, NAME).ends(0);
    assert!(said.text().contains("belongs to the cluster"), "{}", said.all());
    sixth
        .ready
        .recv_timeout(LIMIT)
        .unwrap_or_else(|_| panic!("it does not serve:\n{}", sixth.log()));
    // The same order again is none.
    world.join(&world.its, NAME).ends(0);

    // One member of each group stands in the zone FL-B, which it shares with one other.
    let least = GROUPS / 2;
    eventually("it has its share", LIMIT, || {
        let row = world.sixth()?;
        (number(&row, "writes") + number(&row, "follows") >= least && number(&row, "writes") > 0).then_some(())
    });
    writer.writes_on();
    let topology = world.nodes.topology_said();
    let moved = moved(
        &topology,
        world.nodes.cluster.members().iter().map(|member| member.name.as_str()),
    );
    assert!(
        moved * 20 <= least * 21,
        "{moved} memberships moved, {least} is its share"
    );
    let writes = topology["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|node| number(node, "writes"));
    assert_eq!(writes.sum::<u64>(), GROUPS);

    // Whoever enters through it is served, and so are the keys that it writes.
    let through = world.client_of_sixth();
    for actor in 0..ACTORS {
        let sent = through.send(key(actor).as_ref(), b"through the sixth", &SendOptions::default());
        assert_eq!(sent.expect("it is acked").outcome, Outcome::Done);
    }
    // One that starts anew with the file of before learns of it from the log.
    world.nodes.restart(4);
    eventually("the restarted node has a link to it", LIMIT, || {
        let links = world.nodes.status(4).into_iter().flat_map(|status| status.links);
        links.into_iter().any(|link| link.peer == ID && link.up).then_some(())
    });
    writer.writes_on();

    // It leaves: first what it holds, then its process, then its name.
    let config = world.its.display().to_string();
    type_in(&["node", "drain", NAME, "--config", &config, "--timeout", "120s"]).ends(0);
    let refused = world.nodes.ask(&["cluster", "forget", NAME]).ends(1);
    assert!(refused.stderr.contains("end it"), "{}", refused.all());
    writer.writes_on();
    assert_eq!(sixth.stop(), Some(0), "it ends in order");
    eventually("the log has it down", LIMIT, || {
        (world.sixth()?["presence"] == "down").then_some(())
    });
    world.nodes.ask(&["cluster", "forget", NAME]).ends(0);
    assert_eq!(world.sixth().expect("the log remembers it")["presence"], "left");
    let again = world.join(&world.its, NAME);
    assert_ne!(again.code, 0, "{}", again.all());

    writer.writes_on();
    let (acked, failed) = writer.stop();
    assert_eq!(failed, 0, "messages were not acked");
    assert_held(&world.nodes.client(2), &acked);
    let mut after = incarnations(&world);
    after[4] = before[4].clone();
    assert_eq!(
        after, before,
        "nobody but the node that the test restarted was started anew"
    );
    world.nodes.assert_all_live();
}

#[test]
fn each_mistake_of_who_wants_to_join_has_its_own_words() {
    let _machine = Machine::take("join refused", LIMIT);
    let world = World::start();
    let sixth = Sixth::start(&world.its);
    eventually("it is refused as a stranger", LIMIT, || {
        sixth.log().contains("cluster join").then_some(())
    });

    let first = world.join(&world.its, "FL-A-1").ends(3);
    assert!(first.stderr.contains("WP-1717"), "{}", first.all());
    let unknown = world.join(&world.its, "FL-B-3").ends(3);
    assert!(unknown.stderr.contains("WP-1504"), "{}", unknown.all());
    let groups = world.wrong("groups.toml", |text| text.replace("groups = 64", "groups = 128"));
    let said = world.join(&groups, NAME).ends(1);
    assert!(said.stderr.contains("`cluster.groups`"), "{}", said.all());
    let id = world.wrong("id.toml", |text| {
        let at = text.find("\nid = \"").expect("the cluster has an id") + 7;
        let digit = if &text[at..=at] == "0" { "1" } else { "0" };
        format!("{}{digit}{}", &text[..at], &text[at + 1..])
    });
    let said = world.join(&id, NAME).ends(4);
    assert!(said.stderr.contains("another cluster"), "{}", said.all());
    std::fs::write(world.its.with_file_name("other.key"), "0".repeat(63) + "1").expect("its folder is ours");
    let key = world.wrong("key.toml", |text| text.replace("cluster.key", "other.key"));
    world.join(&key, NAME).ends(7);
    let taken = world.wrong("taken.toml", |text| text.replace(NAME, "FL-A-1"));
    let said = world.join(&taken, "FL-A-1").ends(3);
    assert!(said.stderr.contains("WP-1302"), "{}", said.all());
    let port = world.nodes.config.nodes[0].port;
    let address = world.wrong("address.toml", |text| {
        text.replace(&format!("port = {}\n", world.port), &format!("port = {port}\n"))
    });
    let said = world.join(&address, NAME).ends(3);
    assert!(said.stderr.contains("WP-1304"), "{}", said.all());
    let voters = world.wrong("voters.toml", |text| {
        let line = text
            .lines()
            .find(|line| line.starts_with("voters"))
            .expect("it names voters")
            .to_owned();
        text.replace(&line, "")
    });
    let said = world.join(&voters, NAME).ends(3);
    assert!(said.stderr.contains("WP-1326"), "{}", said.all());
    assert!(world.sixth().is_none(), "nobody was let in");
    drop(sixth);
    world.nodes.stop();
}
