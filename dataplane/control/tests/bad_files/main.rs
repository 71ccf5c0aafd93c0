//! What an operator reads when something is wrong with a cluster's configuration: every problem, to the letter.
//!
//! **Invariant:** every code of the registry is reached by one of these files, variables, keys or options.

#![expect(clippy::unwrap_used, reason = "what a test needs and cannot have fails the test")]

mod form;
mod meaning;
mod outside;
mod support;

use std::collections::BTreeSet;

use waterpark_control::{CodeId, Problem, Severity};

use crate::support::{BASE, Case, edited, read};

fn hold_to_the_letter(cases: &[Case]) {
    for case in cases {
        assert_eq!(format!("\n{}", case.error()), case.said, "{}", case.fact);
    }
}

#[test]
fn a_file_of_wrong_form_is_refused_with_every_problem() {
    hold_to_the_letter(form::CASES);
}

#[test]
fn values_that_do_not_fit_each_other_are_refused_with_every_problem() {
    hold_to_the_letter(meaning::CASES);
}

#[test]
fn a_good_file_is_used_without_a_word() {
    assert_eq!(read(BASE, &[]).unwrap().warnings, []);
}

#[test]
fn of_a_file_that_is_no_toml_at_all_a_screen_of_problems_is_shown() {
    let error = read(&"= nothing\n".repeat(1_000), &[]).unwrap_err();
    assert_eq!(error.problems().len(), 20);
}

#[test]
fn an_error_for_programs_has_code_place_and_help() {
    let error = read(&edited(&[("port = 7256", "port = 7100")]), &[]).unwrap_err();
    assert_eq!(
        error.to_json().to_string(),
        r#"{"complete":true,"problems":[{"code":"WP-1304","first":{"column":8,"file":"cluster.toml","line":31},"help":"7768 is free: ports are 256 apart","place":{"column":8,"file":"cluster.toml","line":37},"severity":"error","what":"ports 7100 to 7355 of 127.0.0.1 overlap those of the node at 7000"}],"schema":"waterpark.config_error.1"}"#
    );
}

#[test]
fn every_code_is_reached() {
    let errors = form::CASES.iter().chain(meaning::CASES).map(Case::error);
    let of_files = errors.flat_map(|error| error.problems().iter().map(Problem::code).collect::<Vec<CodeId>>());
    let reached: BTreeSet<CodeId> = of_files.chain(outside::codes()).collect();
    let missed: Vec<CodeId> = CodeId::ALL
        .iter()
        .copied()
        .filter(|code| !reached.contains(code))
        .collect();
    assert_eq!(missed, []);
}

#[test]
fn warnings_do_not_keep_a_configuration_from_being_used() {
    let severities = |loaded: &[Problem]| loaded.iter().map(Problem::severity).collect::<BTreeSet<Severity>>();
    assert_eq!(
        severities(&outside::warned().warnings),
        BTreeSet::from([Severity::Warning])
    );
}
