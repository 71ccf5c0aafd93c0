//! The phases of a run: faults, an end of all faults, silence; and the same over a change of voters.

use waterpark_core::rules::Rules;
use waterpark_core::topology_log::consensus::{Birth, Consensus, Ended, NextVoters, VoterId};

use super::{CLUSTER, Faults, Flying, Net, Node, Place, Seen, Violation, delays};

const FAULTS_MS: u64 = 2_000;
const HEALING_MS: u64 = 4_000;
const QUIET_MS: u64 = 1_200;

impl<R: Rules> Net<R> {
    /// Faults, then healing, then silence.
    pub(crate) fn run(mut self) -> Result<Seen, Violation> {
        self.suffer(|_| {})?;
        self.heal()?;
        self.stumble()?;
        Ok(self.sum())
    }

    /// The same, with a change to so many voters under way in the faults, and the next voters from there on under the same faults.
    pub(crate) fn run_with_change(mut self, voters: usize) -> Result<Seen, Violation> {
        let faults = self.faults;
        let first = 1 + self.nodes.last().map_or(0, |node| node.birth.own().0);
        let ids = (first..).take(voters).map(VoterId).collect();
        let next = NextVoters {
            configuration: self.nodes[0].birth.configuration() + 1,
            voters: ids,
        };
        self.suffer(|net| {
            if net.now_ms > FAULTS_MS / 2 && net.rng.chance(3) {
                net.propose_change(&next);
            }
        })?;
        let ended = self.end(&next)?;
        assert_eq!((&ended.next, ended.base), (&next, self.log.len() as u64));
        self.succeed(&ended);
        self.faults = faults;
        self.suffer(|_| {})?;
        self.heal()?;
        self.stumble()?;
        Ok(self.sum())
    }

    /// Voters that send wrong bytes beside the right ones. What they decide is worth nothing; that nobody panics is all that is asked for.
    pub(crate) fn run_among_liars(mut self) -> Seen {
        self.faults.lies = 20;
        self.suffer(|_| {}).expect("nothing is checked among liars");
        self.sum()
    }

    /// Nothing fails until the leader dies, and all see its sockets close: the time until another leads.
    pub(crate) fn take_over_ms(mut self, delay_ms: u64) -> Result<u64, Violation> {
        self.faults = Faults::default();
        self.delays.iter_mut().flatten().for_each(|delay| *delay = delay_ms);
        self.heal()?;
        self.quiet()?;
        let leader = self.nodes.iter().position(|node| node.led).expect("somebody led");
        self.nodes[leader].place = Place::Gone;
        self.nodes[leader].led = false;
        let died = self.now_ms;
        for to in (0..self.nodes.len()).filter(|to| *to != leader) {
            self.fly(delay_ms, Flying::Closed { from: leader, to });
        }
        while self.nodes.iter().all(|node| !node.led) {
            self.turn()?;
        }
        let took = self.now_ms - died;
        self.heal()?;
        Ok(took)
    }

    fn sum(mut self) -> Seen {
        for node in &self.nodes {
            if let Place::Up(paxos) = &node.place {
                self.seen.gaps += paxos.counters().gaps;
            }
        }
        self.seen.decided = self.log.len() as u64;
        self.seen
    }

    fn suffer(&mut self, mut also: impl FnMut(&mut Self)) -> Result<(), Violation> {
        let begun = self.now_ms;
        while self.now_ms - begun < FAULTS_MS {
            self.inject();
            if self.rng.chance(15) {
                self.propose();
            }
            also(self);
            self.turn()?;
        }
        Ok(())
    }

    /// Faults stop; the change is asked for until every voter that is left knows it.
    fn end(&mut self, next: &NextVoters) -> Result<Ended, Violation> {
        self.stop_faults();
        let begun = self.now_ms;
        while self.now_ms - begun < HEALING_MS {
            if self.now_ms.is_multiple_of(25) {
                self.propose_change(next);
            }
            self.turn()?;
            let up = self.nodes.iter().filter_map(|node| match &node.place {
                Place::Up(paxos) => Some(paxos.ended()),
                _ => None,
            });
            let ended: Vec<Option<Ended>> = up.collect();
            if let Some(Some(first)) = ended.first()
                && ended.iter().all(|other| other.as_ref() == Some(first))
            {
                self.quiet()?;
                return Ok(first.clone());
            }
        }
        Err(Violation::Stuck { after_ms: HEALING_MS })
    }

    /// The next voters take the places of these.
    fn succeed(&mut self, ended: &Ended) {
        let birth = |own: &VoterId| Birth::after(CLUSTER, *own, ended).unwrap();
        self.nodes = ended.next.voters.iter().map(|own| Node::new(birth(own))).collect();
        self.delays = delays(&mut self.rng, self.nodes.len());
        self.flying.clear();
    }

    fn propose_change(&mut self, next: &NextVoters) {
        let at = self.any();
        let entry = self.entry();
        self.with(at, |paxos| paxos.propose_voters(next, &entry).is_ok());
    }

    /// No faults from here on: an entry proposed now is decided by all that are left, in time.
    fn heal(&mut self) -> Result<(), Violation> {
        self.faults = Faults {
            disk_ms: self.faults.disk_ms,
            ..Faults::default()
        };
        self.cut.clear();
        for node in &mut self.nodes {
            if let Place::Down { until_ms } = &mut node.place {
                *until_ms = 0;
            }
        }
        let (begun, first) = (self.now_ms, self.proposed);
        while self.now_ms - begun < HEALING_MS {
            if self.now_ms.is_multiple_of(25) {
                self.propose();
            }
            self.turn()?;
            let new = |entry: &Vec<u8>| u64::from_le_bytes(entry[..8].try_into().unwrap()) >= first;
            let all_have = self
                .nodes
                .iter()
                .filter_map(|node| matches!(node.place, Place::Up(_)).then_some(node.next))
                .min();
            let known = usize::try_from(all_have.unwrap_or(1) - 1).unwrap();
            if self.log[..known].last().is_some_and(new) {
                self.seen.healed_ms = self.now_ms - begun;
                return Ok(());
            }
        }
        Err(Violation::Stuck { after_ms: HEALING_MS })
    }

    fn stop_faults(&mut self) {
        self.faults = Faults {
            disk_ms: self.faults.disk_ms,
            ..Faults::default()
        };
        self.cut.clear();
        for node in &mut self.nodes {
            if let Place::Down { until_ms } = &mut node.place {
                *until_ms = 0;
            }
        }
    }

    /// A leader takes an entry while some of what it says or hears gets lost, and nothing follows it. It is decided all the same, unless the
    /// leader lost its office meanwhile.
    fn stumble(&mut self) -> Result<(), Violation> {
        let leading: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].led).collect();
        // Two may think that they lead: then what the older one takes is lost.
        let [leader] = leading[..] else {
            return self.quiet();
        };
        let leaders = self.seen.leaders;
        for other in 0..self.nodes.len() {
            let cut = [(leader, other), (other, leader)][usize::from(self.rng.chance(50))];
            if other != leader && self.rng.chance(70) {
                self.cut.insert(cut);
            }
        }
        let entry = self.entry();
        let taken = self.with(leader, |paxos| paxos.propose(&entry)) == Some(Ok(()));
        let until_ms = self.now_ms + self.rng.below(60);
        while self.now_ms < until_ms {
            self.turn()?;
        }
        self.cut.clear();
        self.quiet()?;
        let forgotten = taken && leaders == self.seen.leaders && !self.log.contains(&entry);
        if forgotten { Err(Violation::Forgotten) } else { Ok(()) }
    }

    /// Nothing is proposed any more: whoever is behind catches up all the same.
    fn quiet(&mut self) -> Result<(), Violation> {
        let begun = self.now_ms;
        while self.now_ms - begun < QUIET_MS {
            self.turn()?;
        }
        let decided = self.log.len();
        for node in self.nodes.iter().filter(|node| matches!(node.place, Place::Up(_))) {
            let has = usize::try_from(node.next - 1).unwrap();
            if has != decided {
                return Err(Violation::Lost {
                    voter: node.birth.own().0,
                    has,
                    decided,
                });
            }
        }
        let has = usize::try_from(self.learnt).unwrap();
        if has == decided {
            Ok(())
        } else {
            Err(Violation::Lost { voter: 0, has, decided })
        }
    }
}
