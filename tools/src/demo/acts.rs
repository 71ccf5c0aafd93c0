//! What keys and drills do to the cluster, and what is refused because too little would be left.
//!
//! **Invariant:** nothing that was acked is put at risk: as many processes of each group's members live on as hold what was acked, and most of
//! the voters. What can be undone without a loss may stop groups for as long as it lasts, and the screen says how many.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::drill::{Deed, Target};
use super::failures::Blow;
use super::feed::Sending;
use super::nodes::{Came, Life, Running};
use super::stage::Stage;
use crate::demo_screen::Key;
use crate::demo_screen::figures::count;
use crate::demo_screen::view::Weight;

/// A process that was started again and serves for less counts as none yet: its groups' members may still be named by the one before it.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// Members of a group.
const MEMBERS: usize = 5;

impl Stage {
    /// Does what a key says.
    pub(super) fn press(&mut self, key: Key, sending: &Sending) {
        let chosen = self.chosen();
        let deed = match key {
            Key::PauseOrResume => return self.pause_or_resume(&chosen, sending),
            Key::Kill => Deed::Kill,
            Key::Cut => Deed::Cut,
            Key::Drain => Deed::Drain,
            Key::Restore => Deed::Restore,
            Key::Lose => {
                let lost = self.view.data_centres.get(self.view.cursor.data_centre);
                let lost = lost.map(|there| Target::DataCentre(there.name.clone()));
                return self.act_or_say(Deed::Kill, lost.as_ref(), sending);
            }
            Key::SlowLink => return self.slow_or_restore(),
            Key::Help => {
                self.view.help = !self.view.help;
                return;
            }
            Key::Quit | Key::Redraw => return,
            _ => {
                self.view.cursor = self.view.moved(key);
                return;
            }
        };
        self.act_or_say(deed, chosen.as_ref(), sending);
    }

    /// What the cursor stands on.
    fn chosen(&self) -> Option<Target> {
        if self.view.cursor.whole {
            let there = self.view.data_centres.get(self.view.cursor.data_centre)?;
            return Some(Target::DataCentre(there.name.clone()));
        }
        let name = &self.view.selected()?.name;
        let place = self.nodes.running.iter().position(|running| running.name == *name)?;
        Some(Target::Node(place))
    }

    fn act_or_say(&mut self, deed: Deed, target: Option<&Target>, sending: &Sending) {
        if let Some(target) = target
            && let Err(why) = self.act(deed, target, sending)
        {
            self.say(Weight::Warning, why);
        }
    }

    /// Those of a target that stand still go on; if none does, all of them stand still.
    fn pause_or_resume(&mut self, target: &Option<Target>, sending: &Sending) {
        let Some(target) = target else { return };
        let mut paused = self.places(target);
        paused.retain(|place| self.nodes.running[*place].paused);
        if paused.is_empty() {
            return self.act_or_say(Deed::Stop, Some(target), sending);
        }
        self.nodes.pause(&paused, false);
        self.look_past();
        sending.call_home();
        self.say(Weight::Good, format!("{} goes on", self.name_of(target)));
    }

    /// Does something to a node or a data centre.
    ///
    /// # Errors
    /// Why it is not done, for people; nothing was.
    pub(super) fn act(&mut self, deed: Deed, target: &Target, sending: &Sending) -> Result<(), String> {
        let (places, name) = (self.places(target), self.name_of(target));
        if deed == Deed::Restore {
            return self.restore(target, &places, &name, sending);
        }
        let meant: Result<Vec<usize>, &str> = {
            let means = |place: &usize| self.means(deed, target, &self.nodes.running[*place]);
            let fit: Vec<usize> = places.iter().copied().filter(|place| means(place).is_ok()).collect();
            match places.first().map(means) {
                Some(Err(why)) if fit.is_empty() => Err(why),
                _ => Ok(fit),
            }
        };
        let places = meant.map_err(|why| format!("{name} {why}"))?;
        let word = match (deed, target) {
            (Deed::Kill, Target::DataCentre(_)) => "lose",
            _ => deed.name(),
        };
        match deed {
            Deed::Kill => self.refuse_kill(&places),
            Deed::Drain => self.refuse_drain(&places),
            Deed::Stop | Deed::Cut | Deed::Restore => Ok(()),
        }
        .map_err(|why| format!("{word} {name} is not done: {why}"))?;

        let groups = self.written_by(&places);
        let hit = groups.len();
        let blow = Blow {
            what: format!("{word} {name}"),
            at: Instant::now(),
            since_begin: self.begun.elapsed(),
            is_gradual: deed == Deed::Drain,
            nodes: self.ids(&places),
            groups,
        };
        sending.failures().begin(blow);
        match (deed, target) {
            (Deed::Stop, _) => self.nodes.pause(&places, true),
            (Deed::Kill, _) => self.nodes.kill(&places),
            (Deed::Cut, Target::Node(place)) => self.nodes.cut_node(*place, true),
            (Deed::Cut, Target::DataCentre(name)) => self.nodes.cut_data_centre(name, true),
            (Deed::Drain, _) => places.iter().for_each(|place| self.nodes.drain(*place, true)),
            (Deed::Restore, _) => unreachable!("it was done above"),
        }
        self.look_past();
        let done = match deed {
            Deed::Stop => "stands still",
            Deed::Kill => "is killed",
            Deed::Cut => "is cut off",
            Deed::Drain => "drains",
            Deed::Restore => "is restored",
        };
        let short = self.groups_without_majority();
        let stopped = if short == 0 {
            String::new()
        } else {
            format!("; {} groups cannot commit meanwhile", count(short as u64))
        };
        self.say(
            Weight::Warning,
            format!("{name} {done}, {} groups written there{stopped}", count(hit as u64)),
        );
        Ok(())
    }

    /// Whether something can be done to a node, or why not.
    fn means(&self, deed: Deed, target: &Target, running: &Running) -> Result<(), &'static str> {
        let is_cut = match target {
            Target::Node(_) => running.cut,
            Target::DataCentre(name) => self.nodes.cut.contains(name),
        };
        match (&running.life, deed) {
            (Life::Dead, Deed::Kill) => Err("is killed already; r restores it"),
            (Life::Dead, _) => Err("is killed; r restores it"),
            (Life::Starts(_) | Life::Begins(_), _) => Err("is being started"),
            (_, Deed::Stop) if running.paused => Err("stands still already"),
            (_, Deed::Cut) if is_cut => Err("is cut off already; r restores it"),
            (_, Deed::Drain) if running.paused => Err("stands still and hears nothing"),
            (_, Deed::Drain) if running.drains => Err("drains already; r restores it"),
            _ => Ok(()),
        }
    }

    /// Undoes whatever was done to these nodes.
    fn restore(&mut self, target: &Target, places: &[usize], name: &str, sending: &Sending) -> Result<(), String> {
        let was_split = match target {
            Target::DataCentre(name) => self.nodes.cut.contains(name),
            Target::Node(_) => false,
        };
        let was_touched = |place: &usize| {
            let running = &self.nodes.running[*place];
            running.paused || running.cut || running.drains || matches!(running.life, Life::Dead)
        };
        let touched: Vec<usize> = places.iter().copied().filter(was_touched).collect();
        if touched.is_empty() && !was_split {
            let data_centre = self.nodes.running[places[0]].data_centre();
            return Err(if self.nodes.cut.contains(data_centre) {
                format!("nothing was done to {name} alone: {data_centre} is cut off; w chooses it, r restores it")
            } else {
                format!("nothing was done to {name}, or it is being started")
            });
        }
        if let Target::DataCentre(name) = target {
            self.nodes.cut_data_centre(name, false);
        }
        let mut started = 0;
        for place in touched {
            let running = &self.nodes.running[place];
            let (paused, cut, drains) = (running.paused, running.cut, running.drains);
            if paused {
                self.nodes.pause(&[place], false);
            }
            if cut {
                self.nodes.cut_node(place, false);
            }
            if drains {
                self.nodes.drain(place, false);
            }
            if matches!(self.nodes.running[place].life, Life::Dead) {
                self.nodes.start_again(place);
                started += 1;
            }
        }
        self.look_past();
        sending.call_home();
        let text = match started {
            0 => format!("{name} is restored"),
            1 => format!("{name} is started again: another incarnation, which holds nothing"),
            more => format!("{name}: {more} nodes are started again as other incarnations, which hold nothing"),
        };
        self.say(Weight::Good, text);
        Ok(())
    }

    /// Takes in what became of nodes by themselves.
    pub(super) fn look_after(&mut self, sending: Option<&Sending>) {
        for came in self.nodes.look_after() {
            match came {
                Came::Begins(place) => self.nodes.tell_ways_again(place),
                Came::Serves(place) => {
                    if let Some(sending) = sending {
                        let name = self.nodes.running[place].name.clone();
                        self.say(Weight::Good, format!("{name} serves again"));
                        sending.call_home();
                    }
                }
                Came::NotStarted(place, error) => {
                    let name = self.nodes.running[place].name.clone();
                    self.fault(format!("{name} was not started again: {error}"));
                }
                Came::Ended(place, why) => {
                    let name = self.nodes.running[place].name.clone();
                    let why = why.map_or_else(String::new, |why| format!(": {why}"));
                    self.fault(format!("{name} ended, and nobody had told it to{why}"));
                }
            }
        }
        self.look_past();
    }

    /// Undoes what would keep messages waiting for ever: nodes that stand still, links that carry nothing.
    pub(super) fn reconnect_all(&mut self) {
        let paused = |place: &usize| self.nodes.running[*place].paused;
        let paused: Vec<usize> = (0..self.nodes.running.len()).filter(paused).collect();
        self.nodes.pause(&paused, false);
        for place in 0..self.nodes.running.len() {
            if self.nodes.running[place].cut {
                self.nodes.cut_node(place, false);
            }
        }
        for name in self.nodes.cut.clone() {
            self.nodes.cut_data_centre(&name, false);
        }
        self.look_past();
    }

    /// The watch asks nobody who would not answer, and nobody who knows nothing new.
    fn look_past(&mut self) {
        let is_apart =
            |running: &&Running| !running.answers() || running.cut || self.nodes.cut.contains(running.data_centre());
        let apart = self.nodes.running.iter().filter(is_apart);
        let ids = apart.map(|running| running.id.0).collect();
        if let Some(watch) = &self.watch {
            watch.skip(ids);
        }
    }

    fn places(&self, target: &Target) -> Vec<usize> {
        match target {
            Target::Node(place) => vec![*place],
            Target::DataCentre(name) => (self.nodes.running.iter().enumerate())
                .filter(|(_, running)| running.data_centre() == name)
                .map(|(place, _)| place)
                .collect(),
        }
    }

    fn name_of(&self, target: &Target) -> String {
        match target {
            Target::Node(place) => self.nodes.running[*place].name.clone(),
            Target::DataCentre(name) => name.clone(),
        }
    }

    fn ids(&self, places: &[usize]) -> BTreeSet<u16> {
        places.iter().map(|place| self.nodes.running[*place].id.0).collect()
    }

    /// The groups that these nodes write, as they said last.
    fn written_by(&self, places: &[usize]) -> Vec<u32> {
        let ids = self.ids(places);
        let writes = |seat: &Vec<u16>| seat.first().is_some_and(|writer| ids.contains(writer));
        let seats = (0..).zip(&self.sight.seats);
        seats.filter(|(_, seat)| writes(seat)).map(|(group, _)| group).collect()
    }

    /// Groups of which too few members are among the nodes that are left, to hold what was acked and to tell it.
    fn short_groups(&self, is_left: impl Fn(&Running) -> bool) -> usize {
        let left: BTreeSet<u16> = (self.nodes.running.iter())
            .filter(|running| is_left(running))
            .map(|running| running.id.0)
            .collect();
        let is_short = |seat: &&Vec<u16>| {
            let there = seat.iter().filter(|node| left.contains(node)).count();
            there <= seat.len() / 2 && !seat.is_empty()
        };
        self.sight.seats.iter().filter(is_short).count()
    }

    fn groups_without_majority(&self) -> usize {
        self.short_groups(|running| {
            running.answers() && !running.cut && !self.nodes.cut.contains(running.data_centre())
        })
    }

    fn refuse_kill(&self, places: &[usize]) -> Result<(), String> {
        if self.sight.seats.is_empty() {
            return Err("it is not known yet who holds what".to_owned());
        }
        let ids = self.ids(places);
        let lives = |running: &Running| match &running.life {
            Life::Serves(_) => {
                let is_settled = running
                    .serves_again
                    .is_none_or(|since| since.elapsed() >= SETTLED_AFTER);
                is_settled && !ids.contains(&running.id.0)
            }
            Life::Begins(_) | Life::Starts(_) | Life::Dead => false,
        };
        let short = self.short_groups(lives);
        if short > 0 {
            return Err(format!(
                "{} groups would have lost most of their members; restore others, or wait until copies are back",
                count(short as u64)
            ));
        }
        let voters = &self.nodes.config.voters;
        let votes = |running: &&Running| {
            voters.contains(&running.id)
                && !ids.contains(&running.id.0)
                && matches!(running.life, Life::Serves(_) | Life::Begins(_))
        };
        let left = self.nodes.running.iter().filter(votes).count();
        if left <= voters.len() / 2 {
            return Err(format!(
                "{left} of {} voters would be left, too few to agree on anything; restore others first",
                voters.len()
            ));
        }
        Ok(())
    }

    fn refuse_drain(&self, places: &[usize]) -> Result<(), String> {
        let takes = |(place, running): &(usize, &Running)| {
            !places.contains(place) && running.answers() && !running.drains && !running.cut
        };
        let takers = self.nodes.running.iter().enumerate().filter(takes).count();
        if takers < MEMBERS {
            return Err(format!(
                "{takers} nodes would be left to take its groups; restore others first"
            ));
        }
        Ok(())
    }
}
