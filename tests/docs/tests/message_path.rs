//! `docs/message_path.md` names files and functions in the order in which a message meets them; here the sources are asked.

use std::collections::BTreeMap;

use waterpark_docs_tests::{page, read, source};

/// Steps that one event begins in two places: the second is entered by the world as the first is.
const ENTERED: [(&str, &str); 2] = [
    // A sibling hands over mail; a link brings the same as an item of its own.
    ("## 5. Another shard gets it", "on_own_group_item"),
    // The client's thread takes what the reading of bytes left.
    ("## 13. The call ends", "settle"),
];

/// One row of the page: a file and a function in it.
struct Row {
    file: String,
    function: String,
}

/// The steps of the page: the heading, and its rows in order.
fn steps(path: &str) -> Vec<(String, Vec<Row>)> {
    let headings = path.lines().filter(|line| line.starts_with("## "));
    headings
        .map(|heading| {
            let rows = page::rows(page::section(path, heading)).into_iter().map(|cells| {
                let code = |cell: &String| cell.trim_matches('`').to_owned();
                let function = code(&cells[1]);
                let function = function
                    .strip_suffix("()")
                    .unwrap_or_else(|| panic!("{heading}: {function:?} has no ()"));
                Row {
                    file: code(&cells[0]),
                    function: function.to_owned(),
                }
            });
            (heading.to_owned(), rows.collect())
        })
        .collect()
}

#[test]
fn the_steps_are_counted_and_each_names_a_function() {
    let path = read("docs/message_path.md");
    let steps = steps(&path);
    assert!(steps.len() >= 10, "only {} steps", steps.len());
    for (number, (heading, rows)) in (1..).zip(&steps) {
        assert!(
            heading.starts_with(&format!("## {number}. ")),
            "{heading} is step {number}"
        );
        assert!(!rows.is_empty(), "{heading} names no function");
    }
}

#[test]
fn every_function_is_in_the_file_beside_it() {
    let path = read("docs/message_path.md");
    for (heading, rows) in steps(&path) {
        for Row { file, function } in rows {
            let found = source::functions(&read(&file), &function).len();
            assert!(found > 0, "{heading}: {file} has no fn {function}");
        }
    }
}

#[test]
fn within_a_step_each_function_is_called_by_one_named_above_it() {
    let path = read("docs/message_path.md");
    let mut called = 0;
    for (heading, rows) in steps(&path) {
        let mut above: Vec<String> = Vec::new();
        for (place, Row { file, function }) in rows.into_iter().enumerate() {
            let is_entered = place == 0 || ENTERED.contains(&(heading.as_str(), function.as_str()));
            let is_called = above.iter().any(|text| source::calls(text, &function));
            assert!(
                is_entered || is_called,
                "{heading}: nothing above {function} in {file} calls it"
            );
            called += usize::from(is_called);
            let text = source::code(&read(&file));
            above.extend(source::functions(&text, &function).into_iter().map(str::to_owned));
        }
    }
    assert!(called > 50, "only {called} calls were seen");
}

#[test]
fn a_file_or_function_outside_the_tables_exists_as_well() {
    let path = read("docs/message_path.md");
    let mut files: BTreeMap<String, usize> = BTreeMap::new();
    for code in page::code(&path) {
        if code.ends_with(".rs") {
            *files.entry(code).or_default() += 1;
        }
    }
    assert!(files.len() >= 20, "only {} files are named", files.len());
    for file in files.keys() {
        assert!(waterpark_docs_tests::exists(file), "there is no {file}");
    }
}
