//! Codes of bench, demo and simulator, `8xxx`: `800x` clusters of their own, `801x` verdicts, `802x` results that were kept, `81xx` the simulator.
//!
//! **Invariant:** as of the whole registry; a verdict that is no success has a code like any error.

/// What became of results.
const RESULTS_STAND: &str = "Nothing was changed: results are only read.";
/// What became of a measurement that did not begin.
const NOT_MEASURED: &str = "Nothing was measured; what had been started was ended.";

codes! {
    /// The name of a code of bench, demo or simulator.
    MeasuringCode;
    Folder = 8001, "no temporary folder for a cluster",
        cause: "The folder for temporary files cannot be written to, or is full.",
        effect: NOT_MEASURED,
        remedy: "Operator: make room there, or name another folder in TMPDIR.";
    Ports = 8002, "no free ports for a cluster",
        cause: "Other processes, most likely other clusters, use the ports that local clusters are given.",
        effect: NOT_MEASURED,
        remedy: "Operator: end other clusters on this machine.";
    Spawn = 8003, "a node's process cannot be started",
        cause: "The program was moved or replaced, or the kernel starts no more processes for this user.",
        effect: NOT_MEASURED,
        remedy: "Operator: look at the cause that the kernel names; raise the limit of tasks (ulimit -u, pids.max) if it is that.";
    NotReady = 8004, "a node of the cluster does not serve",
        cause: "It ended, or was not ready in time; the end of its log is shown, with a code of its own.",
        effect: NOT_MEASURED,
        remedy: "Operator: look that code up; give the machine more time or memory if there is none.";
    ChosenCores = 8005, "the cores of the generator cannot be chosen",
        cause: "The host does not let this process choose among its own cores.",
        effect: NOT_MEASURED,
        remedy: "Operator: allow sched_setaffinity, or measure with --cores shared.";
    NotStarted = 8006, "a measurement or demonstration did not begin",
        cause: "The host refused what it needs before the first message, or an option serves no measurement.",
        effect: NOT_MEASURED,
        remedy: "Operator: look at the cause that is named.";
    GeneratorLost = 8007, "a generator process did not do its part",
        cause: "It could not be started, was ended, or found no cluster; what it said itself stands above, with a code of its own.",
        effect: "The others were ended, and nothing that they measured counts: a part of a measurement is none.",
        remedy: "Operator: look that code up; if there is none, see whether the kernel ended the process for want of memory.";

    VerdictFail = 8011, "FAIL: acked messages are not held as they must be",
        cause: "Something acked was lost, doubled or changed, something refused is held, or a node did not end in order.",
        effect: "The report says what and how many. The cluster was left as it is if it was not the measurement's own.",
        remedy: "Operator: keep the report and the nodes' logs: this is a fault of Waterpark, or of the machine's memory.";
    VerdictInvalid = 8012, "INVALID: the generator did not keep its schedule",
        cause: "More than 1 % of the messages were sent over 1 ms late through the generator's own doing.",
        effect: "The messages were sent and read back; the times that were measured mean nothing.",
        remedy: "Operator: lower --rate, or give the generator cores of its own.";
    DemoIncomplete = 8013, "the demonstration did not go through",
        cause: "Not everything that was sent was acked and held by three members, what --fault asked for could not be done, or a node did not end in order.",
        effect: "The nodes of the demonstration were ended.",
        remedy: "Operator: lower --rate or free the machine, or let more time pass between faults; if messages were lost, keep what it printed.";

    DrillFailed = 8014, "the drill was not passed",
        cause: "Keys went unacked for longer than --limit allows, acked messages are missing, or copies did not come back; each is named.",
        effect: "The nodes that stood still go on by themselves.",
        remedy: "Operator: look at the reasons, and at `waterpark topology` for what was moved when; if acked messages are lost, keep the nodes' logs.";

    FigureMissed = 8015, "a figure missed its target",
        cause: "A median is not as good as its target, or a run of it was INVALID, cut short or not possible; the reason stands under the table, or in `why`.",
        effect: "Everything was measured that could be; clusters that were started for it were ended.",
        remedy: "Operator: repeat it where nothing else runs, with `--only` and the figure's number; docs/figures.md tells what each one measures.";
    PeerFigureMissed = 8016, "a figure beside a peer missed its target",
        cause: "A median of ratios is not as good as its target, or a round gave no value that counts; the reason stands under the table, or in `why`.",
        effect: "Everything was measured that could be; processes that were started for it were ended.",
        remedy: "Operator: repeat it where nothing else runs, with `--only` and the peer's name; docs/peers.md tells how each one is measured.";
    NoPeer = 8017, "none of the peers is installed",
        cause: "Each peer that was asked for needs a program that is not in PATH; which, is said.",
        effect: NOT_MEASURED,
        remedy: "Operator: install one of them, or measure Waterpark alone with `waterpark bench run`.";
    PeerLost = 8018, "FAIL: a peer does not hold what it acked",
        cause: "Something that a peer acked was found in fewer than three of its servers, twice, or changed, or a server could not be read.",
        effect: "Its figures are missed; the others stand. Processes that were started for it were ended.",
        remedy: "Operator: look at what was found; if it says that a server could not be read, repeat it with more time or memory.";

    NotWritten = 8021, "a result or report cannot be written",
        cause: "The folder does not exist and cannot be made, this user may not write there, or the disk is full or fails.",
        effect: "No file has that name by this. A run that had ended was shown as ever; one that had not begun did not begin.",
        remedy: "Operator: make room, or name a folder that this user may write to.";
    NotRead = 8022, "a result or folder of results cannot be read",
        cause: "There is no file or folder of that name, or this user may not read it.",
        effect: RESULTS_STAND,
        remedy: "Caller: name a folder that `waterpark bench run --save` was given, or a file in it.";
    NotResult = 8023, "the file is no result of a run",
        cause: "It is something else, was cut off or edited, or belongs to another release; which, is said.",
        effect: RESULTS_STAND,
        remedy: "Caller: name a file that `waterpark bench run --save` wrote; `waterpark bench ls FOLDER` shows those of a folder.";
    NotAlike = 8024, "the results are not of the same work",
        cause: "They differ in workload, settings or driver, or the verdict of one is not OK, so that a difference between their figures says nothing.",
        effect: RESULTS_STAND,
        remedy: "Caller: name results of the same work; --anyway compares them all the same, and says what differs.";
    NoFigure = 8025, "no such figure",
        cause: "The name was mistyped, or not every one of these results has the figure.",
        effect: RESULTS_STAND,
        remedy: "Caller: choose one of the figures that are listed.";
    GateFailed = 8026, "a figure is worse than its gate allows",
        cause: "The median changed by more than --fail-on allows, and the intervals of both sides lie apart.",
        effect: RESULTS_STAND,
        remedy: "Operator: look at what changed between the two; repeat both in turns on the same machine if they are single runs.";
    Trace = 8031, "the trace of arrivals cannot be used",
        cause: "The file is not there, or a line of it is no offset, or lies before the one above it; which, is said.",
        effect: NOT_MEASURED,
        remedy: "Caller: mend the line that is named; docs/bench.md tells what a line may be.";

    UnknownMutant = 8101, "no such mutant",
        cause: "The name was mistyped, or belongs to another release.",
        effect: "Nothing was simulated.",
        remedy: "Caller: choose one that `waterpark sim --mutants` lists.";
    SeedFailed = 8102, "a seed broke a rule",
        cause: "Under this seed's faults the cluster did what it must never do.",
        effect: "None: the cluster was simulated.",
        remedy: "Operator: replay the seed with the line that is shown, and report it: this is a fault of Waterpark.";
    MutantEscaped = 8103, "no seed caught the mutant",
        cause: "The rule that was broken on purpose was not missed in any of these seeds.",
        effect: "None: the cluster was simulated.",
        remedy: "Caller: run more seeds; if none ever catches it, a checker is missing.";
    NotReached = 8104, "a batch of seeds did not reach all that it must",
        cause: "Something that faults and clients of a long batch always bring about did not happen, or something happened that never may.",
        effect: "None: the cluster was simulated, and no rule was broken.",
        remedy: "Operator: report what is listed as never reached or wrongly reached: the simulator has grown blind there.";
    UnknownScenario = 8105, "no such scenario",
        cause: "The token was cut or mistyped, belongs to another release, or asks for more than its seed draws.",
        effect: "Nothing was simulated.",
        remedy: "Caller: copy the token behind --replay whole, as a failure showed it.";
}
