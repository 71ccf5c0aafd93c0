//! What is done to nodes: standing still, dying, being cut off, draining, and all of it undone.
//!
//! It does what it is told; whether that is wise is asked before (`acts.rs`). **Invariant:** what each node was told of its ways is what the
//! cluster's cuts and round trips come to, also after it was started again.

use waterpark::{Ended, Ending, Node, NodeError, Way};

use super::nodes::{Life, Nodes, Running};

impl Nodes {
    /// Lets nodes stand still, as if their processes were stopped, or go on.
    pub(super) fn pause(&mut self, places: &[usize], pauses: bool) {
        for place in places {
            let running = &mut self.running[*place];
            let Some(node) = running.life.node() else { continue };
            running.paused = pauses;
            if pauses {
                node.trouble().pause();
            } else {
                node.trouble().resume();
            }
        }
    }

    /// Ends nodes without a word, all at once; what they held is gone.
    pub(super) fn kill(&mut self, places: &[usize]) {
        for node in places.iter().filter_map(|place| self.running[*place].life.node()) {
            node.stopper().end(Ending::Die);
        }
        for place in places {
            let running = &mut self.running[*place];
            running.life = match std::mem::replace(&mut running.life, Life::Dead) {
                Life::Serves(node) | Life::Begins(node) => {
                    // It was to end so.
                    let _ended: Ended = node.wait();
                    Life::Dead
                }
                life => life,
            };
            running.paused = false;
            running.drains = false;
        }
    }

    /// Starts a node again that is dead: another incarnation, which holds nothing. It serves later.
    pub(super) fn start_again(&mut self, place: usize) {
        let (loaded, options) = (std::sync::Arc::clone(&self.loaded), self.options.clone());
        let running = &mut self.running[place];
        assert!(matches!(running.life, Life::Dead), "one process of a name at a time");
        let name = running.name.clone();
        // Sockets of its former life may keep its ports for a moment, for which nothing else should wait.
        let starts = std::thread::Builder::new().name("start".to_owned());
        let starts = starts.spawn(move || -> Result<Node, NodeError> { Node::start(&loaded, &name, &options) });
        if let Ok(starts) = starts {
            running.life = Life::Starts(starts);
        }
        running.is_newer = true;
    }

    /// A node that was started again has been told what the configuration says, and nothing that was done since.
    pub(super) fn tell_ways_again(&mut self, place: usize) {
        self.running[place].ways = self.configured_ways(place);
        self.tell_ways();
    }

    /// Cuts a node off from all others, or connects it again.
    pub(super) fn cut_node(&mut self, place: usize, is_cut: bool) {
        self.running[place].cut = is_cut;
        self.tell_ways();
    }

    /// Cuts a data centre off from the others, or connects it again. Its own nodes see each other all the time.
    pub(super) fn cut_data_centre(&mut self, name: &str, is_cut: bool) {
        if is_cut {
            self.cut.insert(name.to_owned());
        } else {
            self.cut.remove(name);
        }
        self.tell_ways();
    }

    /// Asks a node to give its groups away and to stay, or to have groups again.
    pub(super) fn drain(&mut self, place: usize, drains: bool) {
        let running = &mut self.running[place];
        if let Some(node) = running.life.node() {
            node.stopper().drain(drains);
            running.drains = drains;
        }
    }

    /// Lets the links between two data centres take this round trip from now on.
    pub(super) fn set_round_trip(&mut self, one: &str, other: &str, round_trip_us: u64) {
        let pair = if one < other { (one, other) } else { (other, one) };
        self.round_trips
            .insert((pair.0.to_owned(), pair.1.to_owned()), round_trip_us);
        self.tell_ways();
    }

    /// Tells each node that runs what has changed of its ways.
    fn tell_ways(&mut self) {
        for place in 0..self.running.len() {
            let ways = self.ways(place);
            let running = &self.running[place];
            let Some(node) = running.life.node() else { continue };
            let trouble = node.trouble();
            for (peer, (way, told)) in self.running.iter().zip(ways.iter().zip(&running.ways)) {
                if way != told {
                    trouble.set_way(peer.id, *way);
                }
            }
            self.running[place].ways = ways;
        }
    }

    /// The way from a node to each, by place, as it is to be now.
    fn ways(&self, place: usize) -> Vec<Way> {
        let own = &self.running[place];
        let mut ways = self.ways_within(place, |pair| self.round_trips.get(pair).copied());
        for (way, peer) in ways.iter_mut().zip(&self.running) {
            let (here, there) = (own.data_centre(), peer.data_centre());
            let is_split = here != there && (self.cut.contains(here) || self.cut.contains(there));
            way.is_cut = is_split || own.cut || peer.cut;
        }
        ways
    }

    /// The same as the configuration has it, which is how each process begins.
    pub(super) fn configured_ways(&self, place: usize) -> Vec<Way> {
        let delays = &self.config.links.delay;
        self.ways_within(place, |pair| delays.get(pair).map(|delay| delay.as_us()))
    }

    fn ways_within(&self, place: usize, round_trip_us: impl Fn(&(String, String)) -> Option<u64>) -> Vec<Way> {
        let here = self.running[place].data_centre();
        let way = |peer: &Running| {
            let there = peer.data_centre();
            let (first, second) = if here < there { (here, there) } else { (there, here) };
            let round_trip_us = round_trip_us(&(first.to_owned(), second.to_owned()));
            // Within a data centre nothing takes time but the host itself.
            round_trip_us.map_or_else(Way::default, |us| Way {
                one_way_ns: us.saturating_mul(500),
                ..self.options.way
            })
        };
        self.running.iter().map(way).collect()
    }
}
