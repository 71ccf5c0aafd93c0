//! Three nodes of two real shards each, in this process, behind real sockets: links are queues, clients come over TCP.
//!
//! What a node's event loop does, done by one thread per connection under one lock. **Invariant:** every input ends with its turn.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use waterpark_core::config::{Births, Limits, Settings};
use waterpark_core::effects::{Crossing, Effect};
use waterpark_core::ids::{ClientId, Incarnation, LinkId, NodeId, ShardId};
use waterpark_core::memory::{Memory, Outgoing};
use waterpark_core::rules::Production;
use waterpark_core::time::Now;
use waterpark_core::{PeerUp, Shard};
use waterpark_handlers::Kinds;
use waterpark_kit::memory::HeapMemory;
use waterpark_ring::{ClusterId, NodeSpec, Topology, TopologySpec};
use waterpark_wire::FrameView;
use waterpark_wire::frame::FRAME_BYTES_MAX;
use waterpark_wire::framer::Framer;
use waterpark_wire::handshake::{Acceptor, Offer, Party, Step};

/// The key of the cluster.
pub(crate) const KEY: [u8; 32] = [42; 32];
pub(crate) const NODES: usize = 3;
pub(crate) const SHARDS: u16 = 2;
const CLUSTER: [u8; 16] = [6; 16];
/// Native ports lie so far above a node's port.
const NATIVE_PORTS: u16 = 64;

type NodeShard = Shard<Production, HeapMemory, Kinds>;

enum Event {
    Frame {
        node: usize,
        shard: usize,
        link: LinkId,
        bytes: Vec<u8>,
    },
    LinkSent {
        node: usize,
        shard: usize,
        link: LinkId,
        outgoing: Outgoing,
    },
    ClientSent {
        node: usize,
        shard: usize,
        client: ClientId,
        outgoing: Outgoing,
    },
    Deliver {
        node: usize,
        shard: usize,
        crossing: Crossing,
    },
}

struct Nodes {
    shards: Vec<Vec<NodeShard>>,
    clients: BTreeMap<u64, TcpStream>,
    queue: VecDeque<Event>,
    start: Instant,
    /// No client is taken any more.
    ended: bool,
}

/// The running cluster. It ends when it is dropped.
pub(crate) struct Cluster {
    nodes: Arc<Mutex<Nodes>>,
    ended: Arc<AtomicBool>,
    ports: Vec<u16>,
    cuts: AtomicU64,
}

fn incarnation(node: usize) -> Incarnation {
    Incarnation((1 << 16) + node as u64)
}

impl Cluster {
    pub(crate) fn start() -> Cluster {
        let listeners: Vec<Vec<TcpListener>> = (0..NODES).map(|_| neighbours()).collect();
        let port_of = |node: usize| listeners[node][0].local_addr().unwrap().port();
        let ports: Vec<u16> = (0..NODES).map(port_of).collect();
        let names = ["FL-A-1", "TN-A-1", "TX-A-1"];
        let spec = |index: usize| NodeSpec {
            id: NodeId(u16::try_from(index + 1).unwrap()),
            name: names[index].to_owned(),
            host: "127.0.0.1".to_owned(),
            port: ports[index] - NATIVE_PORTS,
            shards: SHARDS,
        };
        let mut spec = TopologySpec::new(ClusterId(CLUSTER), (0..NODES).map(spec).collect());
        spec.groups = 64;
        let topology = Topology::new(spec).unwrap();
        let shard = |node: usize, shard: u16| {
            let settings = Settings {
                births: Births::Writer,
                node: NodeId(u16::try_from(node + 1).unwrap()),
                incarnation: incarnation(node),
                shard: ShardId(shard),
                shards: vec![0, SHARDS, SHARDS, SHARDS],
                names: std::iter::once("").chain(names).map(str::to_owned).collect(),
                driver: "threads".to_owned(),
                limits: Limits::default(),
            };
            let placement = topology.birth().clone();
            Shard::new(
                settings,
                topology.clone(),
                placement,
                HeapMemory::new(256 << 20),
                Kinds::built_in(),
            )
        };
        let shards = (0..NODES)
            .map(|node| (0..SHARDS).map(|k| shard(node, k)).collect())
            .collect();
        let mut nodes = Nodes {
            shards,
            clients: BTreeMap::new(),
            queue: VecDeque::new(),
            start: Instant::now(),
            ended: false,
        };
        nodes.link_up();
        let cluster = Cluster {
            nodes: Arc::new(Mutex::new(nodes)),
            ended: Arc::default(),
            ports,
            cuts: AtomicU64::new(0),
        };
        let numbers = Arc::new(AtomicU64::new(1));
        for (node, listeners) in listeners.into_iter().enumerate() {
            for (shard, listener) in listeners.into_iter().enumerate() {
                let (nodes, numbers) = (Arc::clone(&cluster.nodes), Arc::clone(&numbers));
                let ended = Arc::clone(&cluster.ended);
                std::thread::spawn(move || {
                    for stream in listener.incoming() {
                        if ended.load(Ordering::Relaxed) {
                            return;
                        }
                        let number = numbers.fetch_add(1, Ordering::Relaxed);
                        let nodes = Arc::clone(&nodes);
                        std::thread::spawn(move || serve(&nodes, node, shard, number, stream.unwrap()));
                    }
                });
            }
        }
        let (nodes, ended) = (Arc::clone(&cluster.nodes), Arc::clone(&cluster.ended));
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                nodes.lock().unwrap().tick();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        cluster
    }

    /// Where node `1 + index` listens, as text.
    pub(crate) fn address(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.ports[index])
    }

    /// Cuts every client's connection. They may connect again.
    pub(crate) fn cut_clients(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
        for stream in self.nodes.lock().unwrap().clients.values() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// How often that was done.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// What all shards counted under a name.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let nodes = self.nodes.lock().unwrap();
        let named = nodes.shards.iter().flatten().flat_map(|shard| shard.counters().named());
        named.filter(|(other, _)| *other == name).map(|(_, value)| value).sum()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // A client that is shaking hands right now is not among those that are cut.
        self.nodes.lock().unwrap().ended = true;
        self.cut_clients();
        for port in &self.ports {
            for shard in 0..SHARDS {
                // Wakes the listener, which then ends.
                drop(TcpStream::connect(("127.0.0.1", port + shard)));
            }
        }
    }
}

/// Listeners on neighbouring ports, one per shard.
fn neighbours() -> Vec<TcpListener> {
    loop {
        let first = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let others: Result<Vec<TcpListener>, _> = (1..SHARDS)
            .map(|shard| TcpListener::bind(("127.0.0.1", port.saturating_add(shard))))
            .collect();
        // Above this no node's port may lie.
        if let (Ok(others), true) = (others, port < 65_000) {
            return std::iter::once(first).chain(others).collect();
        }
    }
}

impl Nodes {
    fn now(&self) -> Now {
        Now {
            monotonic_ns: 1 + u64::try_from(self.start.elapsed().as_nanos()).unwrap(),
            wall_ms: wall_ms(),
        }
    }

    /// The shard and link of a node that belong to a link between two nodes.
    fn link_of(&self, node: usize, peer: usize, number: u16) -> (usize, LinkId) {
        let wanted = NodeId(u16::try_from(peer + 1).unwrap());
        let shards = self.shards[node].iter().enumerate();
        let mut links = shards.flat_map(|(shard, row)| row.links().iter().map(move |info| (shard, info)));
        let found = links.find(|(_, info)| info.peer == wanted && info.number == number);
        found.map(|(shard, info)| (shard, info.link)).unwrap()
    }

    fn link_up(&mut self) {
        for a in 0..NODES {
            for b in a + 1..NODES {
                for number in 0..SHARDS {
                    for (node, peer) in [(a, b), (b, a)] {
                        let (shard, link) = self.link_of(node, peer, number);
                        let up = PeerUp {
                            incarnation: incarnation(peer),
                            epoch: 1,
                            out: false,
                            lz4: false,
                        };
                        self.turn(node, shard, |shard, now| shard.on_link_up(now, link, up));
                    }
                }
            }
        }
        self.settle();
    }

    fn turn(&mut self, node: usize, shard: usize, input: impl FnOnce(&mut NodeShard, Now)) {
        let now = self.now();
        let row = &mut self.shards[node][shard];
        input(row, now);
        row.on_turn_end(now);
        let mut effects = Vec::new();
        row.take_effects(&mut effects);
        for effect in effects {
            self.on_effect(node, shard, effect);
        }
    }

    fn on_effect(&mut self, node: usize, shard: usize, effect: Effect) {
        match effect {
            Effect::Control { .. } | Effect::Report { .. } | Effect::StandStill { .. } => {
                unreachable!("no topology log, no controller")
            }
            Effect::SendLink { link, outgoing } => {
                let info = self.shards[node][shard].links()[link.0 as usize];
                let peer = usize::from(info.peer.0) - 1;
                let (peer_shard, peer_link) = self.link_of(peer, node, info.number);
                let bytes = self.bytes_of(node, shard, &outgoing);
                self.queue.push_back(Event::Frame {
                    node: peer,
                    shard: peer_shard,
                    link: peer_link,
                    bytes,
                });
                self.queue.push_back(Event::LinkSent {
                    node,
                    shard,
                    link,
                    outgoing,
                });
            }
            Effect::SendClient { client, outgoing } => {
                let bytes = self.bytes_of(node, shard, &outgoing);
                if let Some(stream) = self.clients.get_mut(&client.0) {
                    // Its reading thread sees the end of a connection that fails.
                    drop(stream.write_all(&bytes));
                }
                self.queue.push_back(Event::ClientSent {
                    node,
                    shard,
                    client,
                    outgoing,
                });
            }
            Effect::CutClient { client, .. } => {
                if let Some(stream) = self.clients.get(&client.0) {
                    drop(stream.shutdown(Shutdown::Both));
                }
            }
            Effect::Deliver { shard, crossing } => {
                let shard = usize::from(shard.0);
                self.queue.push_back(Event::Deliver { node, shard, crossing });
            }
            Effect::Propose(_) => unreachable!("groups are born by their writers here"),
            Effect::CutLink { cause, .. } => panic!("links between these nodes do not fail: {cause:?}"),
            Effect::Event(_) => {}
        }
    }

    /// Lets all that is under way between the shards arrive.
    fn settle(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            match event {
                Event::Frame {
                    node,
                    shard,
                    link,
                    bytes,
                } => {
                    let frame = FrameView::new_checked(&bytes, FRAME_BYTES_MAX).unwrap();
                    self.turn(node, shard, |shard, now| shard.on_link_frame(now, link, &frame));
                }
                Event::LinkSent {
                    node,
                    shard,
                    link,
                    outgoing,
                } => {
                    self.unpin(node, shard, &outgoing);
                    self.turn(node, shard, |shard, _| shard.on_link_sent(link, outgoing));
                }
                Event::ClientSent {
                    node,
                    shard,
                    client,
                    outgoing,
                } => {
                    self.unpin(node, shard, &outgoing);
                    self.turn(node, shard, |shard, _| shard.on_client_sent(client, outgoing));
                }
                Event::Deliver { node, shard, crossing } => {
                    self.turn(node, shard, |shard, now| shard.on_deliver(now, crossing));
                }
            }
        }
    }

    fn tick(&mut self) {
        for node in 0..NODES {
            for shard in 0..usize::from(SHARDS) {
                self.turn(node, shard, |shard, now| {
                    if shard.next_tick_ns() <= now.monotonic_ns {
                        shard.on_tick(now);
                    }
                });
            }
        }
        self.settle();
    }

    fn bytes_of(&self, node: usize, shard: usize, outgoing: &Outgoing) -> Vec<u8> {
        let memory = self.shards[node][shard].memory();
        let mut bytes = Vec::with_capacity(outgoing.len());
        let mut at = 0;
        for gather in &outgoing.gathers {
            bytes.extend_from_slice(&outgoing.bytes[at..gather.at as usize]);
            at = gather.at as usize;
            let (start, length) = (gather.offset as usize, gather.length as usize);
            bytes.extend_from_slice(&memory.bytes(gather.chunk)[start..start + length]);
        }
        bytes.extend_from_slice(&outgoing.bytes[at..]);
        bytes
    }

    fn unpin(&mut self, node: usize, shard: usize, outgoing: &Outgoing) {
        for gather in &outgoing.gathers {
            self.shards[node][shard].memory_mut().unpin(gather.chunk);
        }
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// One client's connection, from its handshake to its end.
fn serve(nodes: &Mutex<Nodes>, node: usize, shard: usize, number: u64, mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let party = Party {
        cluster: CLUSTER,
        node: u16::try_from(node + 1).unwrap(),
        incarnation: incarnation(node).0,
        shard: u16::try_from(shard).unwrap(),
        shards: SHARDS,
        out: false,
        epoch: 0,
        topology_digest: [1; 16],
        topology: [].into(),
    };
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    let mut acceptor = Acceptor::new(party, &KEY, nonce);
    let offer = Offer {
        wall_ms: wall_ms(),
        message_bytes_max: 1 << 20,
        lz4: false,
        epoch: 0,
    };
    let mut buffer = vec![0; 64 << 10];
    let mut input = Vec::new();
    'shaking: loop {
        let Ok(count @ 1..) = stream.read(&mut buffer) else {
            return;
        };
        input.extend_from_slice(&buffer[..count]);
        loop {
            let (used, step) = acceptor.on_bytes(&input, |_| Ok(offer));
            input.drain(..used);
            match step {
                Step::More => break,
                Step::Send(bytes) => stream.write_all(&bytes).unwrap(),
                Step::Done { send, .. } => {
                    stream.write_all(&send).unwrap();
                    break 'shaking;
                }
                Step::Refused { send, .. } => {
                    drop(stream.write_all(&send));
                    return;
                }
            }
        }
    }
    let client = ClientId(number);
    {
        let mut nodes = nodes.lock().unwrap();
        if nodes.ended {
            return;
        }
        nodes.clients.insert(number, stream.try_clone().unwrap());
        nodes.turn(node, shard, |shard, _| shard.on_client_up(client));
    }
    let mut framer = Framer::new(FRAME_BYTES_MAX);
    let mut bytes = input;
    loop {
        let fed = framer.feed(&bytes, true, |frame| {
            let mut nodes = nodes.lock().unwrap();
            nodes.turn(node, shard, |shard, now| shard.on_client_frame(now, client, &frame));
            nodes.settle();
            Ok(())
        });
        fed.expect("a client sends well-formed frames");
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => bytes = buffer[..count].to_vec(),
            _ => break,
        }
    }
    let mut nodes = nodes.lock().unwrap();
    nodes.clients.remove(&number);
    nodes.turn(node, shard, |shard, _| shard.on_client_down(client));
}
