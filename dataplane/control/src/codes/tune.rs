//! Codes of `waterpark tune`, `91xx`: `910x` before anything is changed, `911x` while it is.
//!
//! **Invariant:** as of the whole registry; each says which values are now in force.

/// What a refusal before the first write leaves.
const AS_IT_WAS: &str = "Nothing was changed; every value is as it was.";

codes! {
    /// The name of a code of changes to a host.
    TuneCode;
    Rights = 9101, "this user may not change the host",
        cause: "Values of the kernel, and the folder of the journal, are writable for root alone.",
        effect: AS_IT_WAS,
        remedy: "Operator: run it as root, or hand what `waterpark tune export` prints to whoever may.";
    Stands = 9102, "a plan was applied before",
        cause: "The journal of an earlier apply is there: what the values were before is known from it alone.",
        effect: AS_IT_WAS,
        remedy: "Operator: `waterpark tune revert` first, then apply again.";
    NoJournal = 9103, "nothing was applied",
        cause: "There is no journal of an apply on this host.",
        effect: AS_IT_WAS,
        remedy: "Operator: look at what would be changed with `waterpark tune plan`.";
    JournalDamaged = 9104, "the journal cannot be understood",
        cause: "The file was edited or cut off, or belongs to another release.",
        effect: AS_IT_WAS,
        remedy: "Operator: restore the values from the file by hand, then move it away; a restart of the host does it too.";
    JournalWrite = 9105, "the journal cannot be written or read",
        cause: "The disk is full or fails, or the folder is read-only.",
        effect: "No value was changed without its old one on disk; values that had been changed before are in force.",
        remedy: "Operator: make room or mend the disk, then do it again.";
    UnknownName = 9106, "no setting of that name",
        cause: "--without names a setting, or the first parts of names of several; none is called that here.",
        effect: AS_IT_WAS,
        remedy: "Caller: choose one of the names that `waterpark tune check` shows.";
    Busy = 9107, "another tune is under way",
        cause: "Another process holds the lock of the journal.",
        effect: AS_IT_WAS,
        remedy: "Operator: wait for it to end.";

    RolledBack = 9111, "a value was refused, and all were put back",
        cause: "The kernel refused a value or kept another one, or somebody changed it at the same time.",
        effect: "Every value is as it was; the journal is gone.",
        remedy: "Operator: leave the setting that is named out with --without NAME.";
    PutBack = 9112, "values could not be put back",
        cause: "The kernel refused the old value of a setting, or what holds it is gone.",
        effect: "The settings that are named are not as they were; the journal is kept.",
        remedy: "Operator: look at the cause that is named, then `waterpark tune revert`; --force gives up what is gone.";
    Changed = 9113, "a value was changed since it was applied",
        cause: "Somebody else set it: its value is neither the one that was applied nor the one before.",
        effect: "That value was left alone; the others are as they were before apply. The journal is kept.",
        remedy: "Operator: find out who set it; `waterpark tune revert --force` puts the old value in its place.";
}
