//! The rare ways through a view change, counted: what never happened in a long simulation was never tried.
//!
//! Each is taken once per group and view at most a few times, never per message. **Invariant:** a kind stands in the list once, and
//! counting it decides nothing.

macro_rules! branches {
    ($($(#[doc = $doc:literal])+ $branch:ident = $name:literal;)+) => {
        /// A rare way through a view change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Branch {
            $($(#[doc = $doc])+ $branch,)+
        }

        impl Branch {
            /// Every kind there is.
            pub const ALL: &'static [Branch] = &[$(Branch::$branch),+];

            /// Its name in tables.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Branch::$branch => $name,)+ }
            }
        }
    };
}

branches! {
    /// An opener ended while it waited for answers.
    SupersededSealing = "opener superseded while it seals";
    /// An opener ended while it fetched the best log.
    SupersededFetching = "opener superseded while it fetches";
    /// An opener ended while members adopted its view.
    SupersededAdopting = "opener superseded while members adopt";
    /// An opener ended while it waited for its Activate.
    SupersededActivating = "opener superseded before its Activate";
    /// A decided Activate named a view that was active already.
    ActivateDoubled = "Activate of an active view";
    /// The best log was of a view that never opened.
    BestOfUnopened = "best log of a view that never opened";
    /// The best log was not the opener's own.
    BestElsewhere = "best log of another member";
    /// Who was chosen to give the best log gave nothing of it in time.
    BestDropped = "best log not given";
    /// Who opens a view was no member of the active Config.
    OpenerFromOutside = "opener from outside";
    /// A writer opened the next view itself.
    OpenerStayed = "writer opens the next view itself";
    /// Requests had waited for a view to open.
    QueuedRan = "requests waited for the view";
    /// A writer stopped.
    WriterDeposed = "writer deposed";
    /// A writer stopped in order, and said where its log ends.
    StoppedInOrder = "writer stopped in order";
    /// A member that had everything up to there promised unasked.
    FollowedToEnd = "member followed its writer to the end";
    /// An opener asked members to seal because too few had come to the end of their log.
    EndUnheard = "end of the writer's log not heard of";
    /// A member dropped a tail of its log that the new view does not have.
    TailDropped = "tail of a log dropped";
    /// A member had computed more than its new log holds, and computes anew.
    StateRebuilt = "state computed anew";
    /// A member took a state in the place of its own.
    StateTaken = "state taken over";
    /// A state was given while its giver's log was ahead of the commit.
    StateGivenAhead = "state given ahead of the commit";
    /// A request was read from a log that a writer leaves, to go on to the next.
    RequestFromLog = "request re-routed from a log";
    /// An Adopt came for a view that the member's log was of already.
    AdoptRepeated = "Adopt of an adopted view";
    /// An Adopt or Seal came of a view older than the promise.
    OlderViewRefused = "older view refused";
    /// A log that was being collected was dropped for a newer promise.
    IntakeOvertaken = "collected log overtaken by a promise";
    /// A process gave its log up: it is no member any more.
    Left = "member left";
    /// A group moved to another shard of its node in the midst of a view change.
    MovedInViewChange = "group moved between shards in a view change";
    /// A group went on to a third shard before it had come to the second.
    MovedOnward = "group moved on before it had come";
    /// What was decided about a group on its way to another shard was done when it had come.
    MadeUp = "decided while a group moved";
    /// An entry of the topology log was learned too late to say anything of this member.
    LearnedLate = "entry learned too late";
}

/// How often each was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Branches([u64; Branch::ALL.len()]);

impl Branches {
    pub(crate) fn took(&mut self, branch: Branch) {
        self.0[branch as usize] += 1;
    }

    /// How often one was taken.
    #[must_use]
    pub fn of(&self, branch: Branch) -> u64 {
        self.0[branch as usize]
    }
}
