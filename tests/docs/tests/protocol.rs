//! `docs/protocol.md` against the code: each rule names functions that exist and says what would notice its breach, each section that a
//! source cites is there. And `docs/bench.md` against the command that it describes.

use std::collections::{BTreeMap, BTreeSet};

use waterpark_docs_tests::{exists, files, page, read, source};
use waterpark_wire::reply::Outcome;

/// Where a file lies that the page names without a folder.
const CORE: &str = "dataplane/core/src/";

fn protocol() -> String {
    read("docs/protocol.md")
}

/// Where a file of the page lies from the top folder.
fn place(file: &str) -> String {
    if exists(file) {
        file.to_owned()
    } else {
        format!("{CORE}{file}")
    }
}

/// The functions that a text names, each with the file before it.
fn functions(text: &str) -> Vec<(String, String)> {
    let mut file = None;
    let mut found = Vec::new();
    for code in page::code(text) {
        if code.ends_with(".rs") {
            file = Some(place(&code));
        } else if let Some(function) = code.strip_suffix("()") {
            let file = file.clone();
            found.push((
                file.unwrap_or_else(|| panic!("{function} stands behind no file: {text}")),
                function.to_owned(),
            ));
        }
    }
    found
}

/// Rows that state a rule: the last three cells are the rule, what keeps it and what catches its breach.
fn rules() -> Vec<[String; 3]> {
    let page = protocol();
    let heads = [
        "| rule | kept by | caught by |",
        "| number | invariant | kept by | caught by |",
    ];
    let mut found = Vec::new();
    for table in page
        .split("\n\n")
        .filter(|part| heads.iter().any(|head| part.starts_with(head)))
    {
        for mut cells in page::rows(table) {
            let rule = cells.split_off(cells.len() - 3);
            found.push(rule.try_into().expect("three were split off"));
        }
    }
    found
}

/// The names of mutants in the simulator's list, with what each breaks.
fn mutants() -> BTreeMap<String, String> {
    let simulated = read("tests/sim/src/mutants.rs");
    let text = read("dataplane/core/src/rules.rs");
    let list = text.split("\nrules! {").nth(1).expect("the rules are listed");
    let list = list.split("\n}").next().expect("the list ends");
    let rules = list.split(';').filter(|rule| rule.contains('='));
    let rules = rules.map(|rule| {
        let (rule, said) = rule.split_once('=').expect("seen above");
        let quoted: Vec<&str> = said.split('"').skip(1).step_by(2).collect();
        let [name, broken] = quoted[..] else {
            panic!("a name and a sentence: {said}")
        };
        (rule.trim().to_owned(), name.to_owned(), broken.to_owned())
    });
    // Consensus has mutants too, and tests of its own for them.
    let is_simulated = |rule: &str| simulated.contains(&format!("Mutant::of(Rule::{rule}, "));
    let rules = rules.filter(|(rule, ..)| is_simulated(rule));
    rules.map(|(_, name, broken)| (name, broken)).collect()
}

fn violations() -> Vec<String> {
    source::variants(&read("tests/kit/src/ledger.rs"), "Violation")
}

/// Whether a source has a test of this name.
fn has_test(text: &str, name: &str) -> bool {
    let wanted = format!("fn {name}() {{");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let found = lines.iter().position(|line| *line == wanted);
    found.is_some_and(|at| {
        lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#["))
            .any(|line| *line == "#[test]")
    })
}

/// The numbers of the page's sections.
fn sections() -> BTreeSet<u32> {
    let page = protocol();
    let numbers = page.lines().filter_map(|line| line.strip_prefix("## §"));
    numbers
        .map(|rest| {
            let number = rest.split(' ').next().unwrap_or_default();
            number.parse().unwrap_or_else(|_| panic!("{rest:?} has no number"))
        })
        .collect()
}

/// Sections and invariants that sources cite, as `protocol.md` and a number: where, and what.
fn citations() -> Vec<(String, u32, Vec<u32>)> {
    // Put together here, so that this file cites nothing itself.
    let marker = format!("{}.md` §", "protocol");
    let number = |text: &str| -> Option<u32> {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let mut found = Vec::new();
    for file in files("rs") {
        for (line, text) in (1..).zip(read(&file).lines()) {
            for rest in text.split(&marker).skip(1) {
                let at = format!("{file}:{line}");
                let section = number(rest).unwrap_or_else(|| panic!("{at} cites no number"));
                let cited = rest.split(')').next().unwrap_or_default();
                let invariants = cited.split(", ").skip(1).filter_map(number);
                found.push((at, section, invariants.collect()));
            }
        }
    }
    found
}

#[test]
fn sections_are_numbered_without_holes() {
    let expected: BTreeSet<u32> = (1..=10).collect();
    assert_eq!(sections(), expected);
}

#[test]
fn every_section_and_invariant_that_a_source_cites_is_on_the_page() {
    let sections = sections();
    let page = protocol();
    let numbers: BTreeSet<u32> = page::rows(page::section(&page, "## §9 Invariants"))
        .iter()
        .map(|cells| cells[0].parse().expect("invariants are numbered"))
        .collect();
    assert!(numbers.iter().copied().eq(1..=22), "{numbers:?}");
    let citations = citations();
    assert!(citations.len() >= 5, "only {} citations were found", citations.len());
    for (at, section, invariants) in &citations {
        assert!(sections.contains(section), "{at} cites §{section}, and there is none");
        for invariant in invariants {
            assert!(
                *section == 9 && numbers.contains(invariant),
                "{at} cites invariant {invariant} of §{section}"
            );
        }
    }
    assert!(
        citations.iter().any(|(_, _, invariants)| !invariants.is_empty()),
        "no invariant is cited"
    );
}

#[test]
fn every_file_and_function_of_the_page_exists() {
    let page = protocol();
    let named: Vec<String> = page::code(&page)
        .into_iter()
        .filter(|code| code.ends_with(".rs"))
        .collect();
    for file in &named {
        assert!(exists(&place(file)), "there is no {}", place(file));
    }
    let mut count = 0;
    let prose = page::prose(&page);
    // What a file and its functions stand in: a cell, a point of a list, or a paragraph.
    let blocks = prose.split("\n\n").flat_map(|part| {
        let between = if part.starts_with('|') { "|" } else { "\n* " };
        part.split(between)
    });
    for (file, function) in blocks.flat_map(functions) {
        assert!(
            !source::functions(&read(&file), &function).is_empty(),
            "{file} has no fn {function}"
        );
        count += 1;
    }
    assert!(count > 120, "only {count} functions were looked for");
}

#[test]
fn every_rule_names_what_keeps_it_and_what_would_catch_its_breach() {
    let (mutants, violations) = (mutants(), violations());
    let rules = rules();
    assert!(rules.len() > 70, "only {} rules", rules.len());
    let mut seen = BTreeSet::new();
    for [rule, kept, caught] in &rules {
        assert!(
            !functions(kept).is_empty() || kept.starts_with("not built"),
            "nobody keeps: {rule}"
        );
        for (file, test) in functions(caught) {
            assert!(has_test(&read(&file), &test), "{rule}: {file} has no test {test}");
        }
        let names: Vec<String> = page::code(caught);
        for name in &names {
            if let Some(violation) = name.strip_prefix("Violation::") {
                assert!(
                    violations.iter().any(|known| known == violation),
                    "{rule}: there is no {name}"
                );
                seen.insert(violation.to_owned());
            }
        }
        for rest in caught.split("mutant `").skip(1) {
            let name = rest.split('`').next().unwrap_or_default();
            assert!(mutants.contains_key(name), "{rule}: there is no mutant {name}");
            seen.insert(name.to_owned());
        }
        let catches = names
            .iter()
            .any(|name| name.ends_with("()") || name.starts_with("Violation::"));
        let says = caught.contains("mutant `") || caught.contains("nothing") || catches;
        assert!(says, "what catches a breach of this? {rule}");
    }
    for name in violations.iter().chain(mutants.keys()) {
        assert!(seen.contains(name), "no rule says that {name} catches its breach");
    }
}

#[test]
fn what_is_not_built_is_called_so_and_nobody_has_built_it() {
    let page = protocol();
    for (heading, said) in [
        ("## §5 Restart and durability", "Journals are not built."),
        ("## §6 Reads", "Leases are not built."),
    ] {
        let text = page::in_one_line(page::section(&page, heading));
        assert!(text.contains(said), "{heading} does not say {said:?}");
    }
    let below = |folder: &str, but: &str| -> String {
        let sources = files("rs")
            .into_iter()
            .filter(|file| file.starts_with(folder) && !file.starts_with(but));
        sources.map(|file| source::code(&read(&file))).collect()
    };
    let core = below(CORE, "-");
    assert!(
        source::functions(&core, "on_lease").is_empty(),
        "leases are built: the page is behind the times"
    );
}

#[test]
fn every_entry_of_the_topology_log_is_on_the_page() {
    let page = protocol();
    let text = page::section(&page, "## §2 Topology log");
    let table = text.split("\n\n").find(|part| part.starts_with("| entry |"));
    let rows = page::rows(table.expect("the entries are listed"));
    let listed: Vec<String> = rows.iter().flat_map(|cells| page::code(&cells[0])).collect();
    let entries = source::variants(&read("dataplane/core/src/topology_log/entry.rs"), "Entry");
    assert_eq!(listed, entries);
}

#[test]
fn the_table_of_mutants_is_the_simulators() {
    let page = protocol();
    let rows = page::rows(page::section(&page, "## §10 How it is tested"));
    let listed: BTreeMap<String, String> = rows
        .iter()
        .map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1].clone()))
        .collect();
    assert_eq!(listed, mutants());
}

#[test]
fn every_refusal_promises_something_and_nothing_else_does() {
    let page = protocol();
    let text = page::section(&page, "### Refusals, and what each promises");
    let table = text.split("\n\n").find(|part| part.starts_with("| refusal |"));
    let rows = page::rows(table.expect("the refusals are listed"));
    let listed: Vec<String> = rows.iter().flat_map(|cells| page::code(&cells[0])).collect();
    let refusals = Outcome::ALL.into_iter().filter(|outcome| !outcome.is_logged());
    let refusals: BTreeSet<String> = refusals.map(|outcome| format!("{outcome:?}")).collect();
    assert_eq!(listed.len(), refusals.len(), "each once");
    assert_eq!(listed.into_iter().collect::<BTreeSet<String>>(), refusals);
}

/// The flags of a command of the bench, as its arguments declare them, those that it shares with others among them.
fn declared_flags(file: &str, arguments: &str) -> BTreeSet<String> {
    let text = read(file);
    let body = text
        .split(&format!("struct {arguments} {{"))
        .nth(1)
        .expect("the arguments are declared");
    let body = body.split("\n}").next().unwrap_or_default();
    let mut found = BTreeSet::new();
    let mut attribute = None;
    let mut is_shared = false;
    for line in body.lines().map(|line| line.trim().trim_start_matches("pub(super) ")) {
        if line.starts_with("#[arg(long") {
            attribute = Some(line);
        } else if line == "#[command(flatten)]" {
            is_shared = true;
        } else if let Some((_, shared)) = line.split_once(": ").filter(|_| is_shared) {
            is_shared = false;
            found.extend(declared_flags(
                "tools/src/bench/options.rs",
                shared.trim_end_matches(','),
            ));
        } else if let Some((field, _)) = line.split_once(':').filter(|_| !line.starts_with("//")) {
            let attribute = attribute.take().unwrap_or_else(|| panic!("{field} is no flag"));
            let named = attribute
                .split("long = \"")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            let flag = named.map_or_else(|| field.replace('_', "-"), str::to_owned);
            found.insert(format!("--{flag}"));
        }
    }
    found
}

#[test]
fn the_page_of_measuring_has_exactly_the_flags_of_the_command() {
    let page = read("docs/bench.md");
    let declared = declared_flags("tools/src/bench.rs", "Run");
    assert!(declared.len() >= 10, "{declared:?}");
    let table = page.split("\n\n").find(|part| part.starts_with("| flag |"));
    let rows = page::rows(table.expect("the flags are listed"));
    let listed: BTreeSet<String> = rows.iter().flat_map(|cells| page::code(&cells[0])).collect();
    assert_eq!(listed, declared);
    let commands = page.lines().filter(|line| line.starts_with("waterpark bench run"));
    for command in commands {
        let command = command.split('#').next().unwrap_or_default();
        for flag in command.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(declared.contains(flag), "{command:?}: there is no {flag}");
        }
    }
}

#[test]
fn every_flag_of_a_sweep_is_on_the_page() {
    let page = read("docs/bench.md");
    let table = page::section(&page, "## Sweep")
        .split("\n\n")
        .find(|part| part.starts_with("| flag |"));
    let rows = page::rows(table.expect("the flags are listed"));
    let listed: BTreeSet<String> = rows.iter().flat_map(|cells| page::code(&cells[0])).collect();
    assert_eq!(listed, declared_flags("tools/src/bench/sweep.rs", "Sweep"));
}

#[test]
fn every_figure_finding_and_verdict_is_explained() {
    let page = read("docs/bench.md");
    let report = source::code(&read("bench/src/report.rs"));
    let code = |heading: &str| -> BTreeSet<String> { page::code(page::section(&page, heading)).into_iter().collect() };
    let explained = code("## What each figure means");
    // A figure is made by its name, here or on the line behind.
    let joined = page::in_one_line(&report).replace("figure( ", "figure(");
    let figures: BTreeSet<&str> = joined
        .split("figure(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(figures.len() >= 9, "{figures:?}");
    for figure in figures {
        assert!(explained.contains(figure), "{figure:?} is not explained");
    }
    let rows = page::rows(page::section(&page, "## What each figure means"));
    for key in rows.iter().flat_map(|cells| page::code(&cells[1])) {
        assert!(report.contains(&format!("\"{key}\":")), "no report has {key:?}");
    }
    let findings = read("bench/src/ledger.rs");
    let clean = source::functions(&findings, "is_clean");
    let counted: BTreeSet<String> = clean[0]
        .split("self.")
        .skip(1)
        .map(|rest| rest.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    let rows = page::rows(page::section(&page, "## What is read back"));
    let listed: BTreeSet<String> = rows.iter().map(|cells| cells[0].trim_matches('`').to_owned()).collect();
    assert_eq!(listed, counted);
    let run = read("bench/src/run.rs");
    let rows = page::rows(page::section(&page, "## Verdicts"));
    let verdicts = source::variants(&run, "Verdict");
    assert_eq!(rows.len(), verdicts.len());
    for (verdict, cells) in verdicts.iter().zip(&rows) {
        assert_eq!(cells[0], format!("`{}`", verdict.to_uppercase()));
    }
}

#[test]
fn every_bench_of_the_page_is_declared_and_every_declared_one_is_on_the_page() {
    let page = read("docs/bench.md");
    let listed: BTreeSet<(String, String)> = page::rows(page::section(&page, "## Benches of parts"))
        .iter()
        .map(|cells| {
            let words: Vec<&str> = cells[0].trim_matches('`').split(' ').collect();
            assert_eq!(
                (words[..3].join(" "), words[4]),
                ("cargo bench -p".to_owned(), "--bench")
            );
            (words[3].to_owned(), words[5].to_owned())
        })
        .collect();
    let mut declared = BTreeSet::new();
    for file in ["bench", "wire", "ring", "dataplane/edge", "dataplane/reactor"] {
        let manifest = read(&format!("{file}/Cargo.toml"));
        let quoted = |text: &str| {
            let name = text.split("name = \"").nth(1).and_then(|rest| rest.split('"').next());
            name.expect("it has a name").to_owned()
        };
        let package = quoted(&manifest);
        for bench in manifest.split("[[bench]]").skip(1) {
            declared.insert((package.clone(), quoted(bench)));
        }
    }
    assert_eq!(listed, declared);
}
