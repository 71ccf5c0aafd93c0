//! The cluster as a test sees it: what it sends and reads, the time that passes, and what it does to nodes and links.
//!
//! **Invariant:** nothing that a test does loses what was acked: it would prove nothing about its actors.

use waterpark_core::behaviour::Behaviour;
use waterpark_core::ids::GroupId;
use waterpark_core::rules::Production;
use waterpark_kit::client::RequestId;
use waterpark_kit::{Answered, Cluster as Kit, Manner, Told};
use waterpark_ring::Key;
use waterpark_wire::reply::Outcome;

/// Clients that send in turn.
const CLIENTS: usize = 3;
/// Virtual ms in which groups are born, and in which whatever is asked for is answered.
const WITHIN_MS: u64 = 20_000;
/// How finely time is looked at while something is waited for, in ms.
const STEP_MS: u64 = 5;

/// A cluster in a test. Time stands still between two calls.
pub struct Cluster {
    kit: Kit<Production>,
    clients: Vec<u32>,
    sent: usize,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a cluster of {} nodes at {} ms", self.node_count(), self.now_ms())
    }
}

/// A request that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request(RequestId);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(Answered);

impl Reply {
    /// Whether the handler took it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.outcome == Outcome::Done
    }

    /// Whether the handler refused it.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.0.outcome == Outcome::Refused
    }

    /// How it ended, in the words of the protocol.
    #[must_use]
    pub fn outcome(&self) -> String {
        format!("{:?}", self.0.outcome)
    }

    /// The handler's reply.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.reply
    }

    /// The handler's reply as text.
    ///
    /// # Panics
    /// If it is no UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.0.reply).expect("the reply is text")
    }

    /// When it came, in virtual ms.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        self.0.at_ms
    }
}

impl Cluster {
    pub(crate) fn new<B: Behaviour + 'static>(told: &Told, behaviour: B) -> Cluster
    where
        B::State: 'static,
    {
        let mut kit = Kit::told(told, behaviour);
        while kit.active(GroupId(0)).is_none() || !kit.is_settled() {
            assert!(
                kit.now_ms() < WITHIN_MS,
                "the groups were not born within {WITHIN_MS} ms"
            );
            kit.go_on(STEP_MS);
        }
        Cluster {
            clients: (0..CLIENTS).map(|_| kit.add_told()).collect(),
            kit,
            sent: 0,
        }
    }

    /// Sends a message to an actor, by its key as `kind/id`. It is repeated through other nodes until it is answered, like any client does.
    ///
    /// # Panics
    /// If the text is no key.
    pub fn send(&mut self, key: &str, message: impl AsRef<[u8]>) -> Request {
        let client = self.clients[self.sent % CLIENTS];
        self.sent += 1;
        Request(self.kit.ask_for(client, &key_of(key), message.as_ref()))
    }

    /// The reply to a request, if it has come.
    #[must_use]
    pub fn reply_if_any(&self, request: Request) -> Option<Reply> {
        self.kit.answered(request.0).map(Reply)
    }

    /// The reply to a request; time goes on until it comes.
    ///
    /// # Panics
    /// If none comes within 20 virtual seconds.
    #[must_use]
    pub fn reply(&mut self, request: Request) -> Reply {
        let until_ms = self.now_ms() + WITHIN_MS;
        loop {
            if let Some(reply) = self.reply_if_any(request) {
                return reply;
            }
            assert!(
                self.now_ms() < until_ms,
                "no reply within {WITHIN_MS} virtual ms, at {self:?}"
            );
            self.advance_ms(STEP_MS);
        }
    }

    /// What an actor shows, with everything that was acked before; time goes on until it is known. Empty if nothing was ever sent to it.
    ///
    /// # Panics
    /// If the text is no key, or no answer comes within 20 virtual seconds.
    #[must_use]
    pub fn read(&mut self, key: &str) -> String {
        let shown = self.kit.show(&key_of(key), WITHIN_MS);
        let shown = shown.unwrap_or_else(|| panic!("no answer to a read of `{key}` within {WITHIN_MS} virtual ms"));
        String::from_utf8(shown).expect("kinds show text")
    }

    /// Lets virtual time pass.
    pub fn advance_ms(&mut self, ms: u64) {
        self.kit.go_on(ms);
    }

    /// The virtual time since the cluster was made, in ms.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.kit.now_ms()
    }

    /// How many nodes there are. They are called by numbers from 0.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.kit.node_count()
    }

    /// The node that writes an actor now.
    ///
    /// # Panics
    /// If the text is no key.
    #[must_use]
    pub fn writer_of(&self, key: &str) -> usize {
        let (_, writer) = self
            .kit
            .writer_of(&key_of(key))
            .expect("groups are born before a test begins");
        writer
    }

    /// Whether a node's process is there.
    #[must_use]
    pub fn is_up(&self, node: usize) -> bool {
        self.kit.is_up(node)
    }

    /// Whether a node can end now and every group keeps what it has acked.
    #[must_use]
    pub fn can_crash(&self, node: usize) -> bool {
        self.kit.can_lose(node)
    }

    /// A node ends at once, with all that it held in memory, and stays away until [`Cluster::restart`] or [`Cluster::calm`].
    ///
    /// # Panics
    /// If a group would lose what it has acked: let time pass after the crash before, or ask [`Cluster::can_crash`].
    pub fn crash(&mut self, node: usize) {
        assert!(
            self.kit.end(node),
            "node {node} cannot end now, at {self:?}: a group would lose what it has acked. Let time pass for others to take over what \
             nodes that ended held, or ask `can_crash` first"
        );
    }

    /// A node that was crashed starts anew, with nothing in memory.
    pub fn restart(&mut self, node: usize) {
        self.kit.start(node);
    }

    /// Nothing passes between two nodes from now until [`Cluster::heal`].
    ///
    /// # Panics
    /// If there are no such two nodes.
    pub fn cut(&mut self, one: usize, other: usize, manner: Manner) {
        self.kit.cut_between(one, other, manner);
    }

    /// Nothing passes between a node and all others until [`Cluster::heal`].
    pub fn isolate(&mut self, node: usize, manner: Manner) {
        self.kit.split(|other| usize::from(other == node), manner);
    }

    /// All cuts are over.
    pub fn heal(&mut self) {
        self.kit.join();
    }

    /// A node does nothing for so many virtual ms, as under a debugger or on a host that is too busy.
    pub fn pause(&mut self, node: usize, ms: u64) {
        self.kit.pause(node, ms);
    }

    /// Whatever is sent from now on takes so many virtual microseconds to its receiver. 200 at first.
    pub fn delay_us(&mut self, us: u64) {
        self.kit.delay(us);
    }

    /// No more faults from now on: cuts are over, nobody stands still, and whoever crashed is restarted. Time goes on until every request is
    /// answered.
    pub fn calm(&mut self) {
        self.kit.calm();
        let until_ms = self.now_ms() + WITHIN_MS;
        while self.kit.under_way() > 0 && self.now_ms() < until_ms {
            self.advance_ms(STEP_MS);
        }
    }

    /// Judges the cluster.
    pub(crate) fn finish(mut self) {
        self.calm();
        let report = self.kit.finish();
        assert!(
            report.violations.is_empty(),
            "after {} acks and {} virtual ms the cluster broke what must hold: {:#?}",
            report.acked,
            report.virtual_ms,
            report.violations
        );
    }
}

fn key_of(text: &str) -> Key {
    Key::parse(text)
        .unwrap_or_else(|error| panic!("`{text}` is no key ({error}): write KIND/ID, like `ballots/spring`"))
}
