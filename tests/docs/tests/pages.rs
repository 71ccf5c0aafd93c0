//! What holds for every page: links lead somewhere, commands stand where they are looked for, and nothing of one machine is in it.

use std::path::{Component, Path, PathBuf};

use waterpark_docs_tests::{exists, files, page, read};

/// Text that has no place on a page, with the reason.
const FORBIDDEN: [(&str, &str); 14] = [
    ("/home/", "a path of one machine"),
    ("/root/", "a path of one machine"),
    ("/tmp/", "a path of one machine"),
    ("/Users/", "a path of one machine"),
    ("C:\\", "a path of one machine"),
    ("shared/", "a folder that a clone does not have"),
    ("../seeds", "a folder that a clone does not have"),
    ("crates.io", "a registry is the reader's choice"),
    ("docs.rs", "a registry is the reader's choice"),
    ("lib.rs/crates", "a registry is the reader's choice"),
    ("npmjs", "a registry is the reader's choice"),
    ("pypi.org", "a registry is the reader's choice"),
    ("TODO", "a page says what is, and names what is missing as missing"),
    ("FIXME", "a page says what is, and names what is missing as missing"),
];

/// Folders that every Linux server has: what a path on a page begins with.
const EVERYWHERE: [&str; 7] = ["dev", "etc", "proc", "run", "sys", "usr", "var"];

/// Where a line names an absolute path that begins in another folder than those that every server has.
fn path_of_one_machine(line: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    line.match_indices('/').find_map(|(at, _)| {
        let (before, rest) = (&line[..at], &line[at + 1..]);
        let is_inside = before.ends_with(|c: char| is_name(c) || "~>)]}*$:".contains(c));
        let folder = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        let is_path = folder.starts_with(|c: char| c.is_ascii_alphabetic()) && rest[folder.len()..].starts_with('/');
        // What follows the two slashes of an address is a host.
        let is_host = before.ends_with(":/");
        (is_path && !is_inside && !is_host && !EVERYWHERE.contains(&folder)).then(|| &line[at..=at + 1 + folder.len()])
    })
}

#[test]
fn a_path_of_one_machine_is_told_from_one_that_every_server_has() {
    let strange = [
        "in `/data/clone/x`",
        "/opt/tool/bin",
        "file:///builds/a",
        "(/mnt/disk/y)",
    ];
    for line in strange {
        assert!(path_of_one_machine(line).is_some(), "{line}");
    }
    let usual = [
        "`/proc/cpuinfo`",
        "docs/bench.md",
        "../shared/x",
        "https://host.example/a/b",
        "messages/s and 3/4/5",
        "`/status`",
        "<folder>/logs/x",
    ];
    for line in usual {
        assert_eq!(path_of_one_machine(line), None, "{line}");
    }
}

/// A path without `.` and `..`, as text.
fn normal(path: &Path) -> String {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => assert!(parts.pop(), "{} leads out of the repository", path.display()),
            other => parts.push(other),
        }
    }
    parts.to_str().expect("pages name files in UTF-8").to_owned()
}

#[test]
fn every_relative_link_of_every_page_leads_to_a_file_and_its_heading() {
    let mut followed = 0;
    for name in files("md") {
        let text = read(&name);
        for (line, target) in page::links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, heading) = target
                .split_once('#')
                .map_or((target.as_str(), None), |(p, h)| (p, Some(h)));
            let folder = Path::new(&name).parent().unwrap_or(Path::new(""));
            let file = if path.is_empty() {
                name.clone()
            } else {
                normal(&folder.join(path))
            };
            assert!(exists(&file), "{name}:{line} links to {target}, and there is no {file}");
            if let Some(heading) = heading {
                let there = read(&file);
                let found = there
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| page::anchor(line) == heading);
                assert!(found, "{name}:{line} links to {target}, and {file} has no such heading");
            }
            followed += 1;
        }
    }
    assert!(
        followed > 30,
        "only {followed} links were found: the pages lost theirs, or this test its sight"
    );
}

#[test]
fn no_page_speaks_of_one_machine_or_of_one_registry() {
    for name in files("md") {
        let text = read(&name);
        for (line, content) in (1..).zip(text.lines()) {
            for (word, reason) in FORBIDDEN {
                assert!(!content.contains(word), "{name}:{line} has {word:?}: {reason}");
            }
            let path = path_of_one_machine(content);
            assert_eq!(path, None, "{name}:{line} has a path of one machine");
        }
    }
}

#[test]
fn the_readmes_two_commands_stand_alone_on_lines_of_their_own() {
    let readme = read("README.md");
    let starting = |start: &str| readme.lines().filter(|line| line.starts_with(start)).count();
    assert!(
        starting("cargo run") >= 1,
        "CI takes the first line that begins with `cargo run`"
    );
    assert!(
        starting("cargo test") >= 1,
        "CI takes the first line that begins with `cargo test`"
    );
    for line in readme.lines().filter(|line| line.starts_with("cargo ")) {
        let joined = line.contains("&&") || line.contains(';') || line.ends_with('\\') || line.contains('`');
        assert!(!joined, "{line:?} is not a command that stands alone");
    }
    let first = readme
        .lines()
        .find(|line| line.starts_with("cargo run"))
        .unwrap_or_default();
    assert!(
        first.contains("--release"),
        "CI replaces `--release` of {first:?} by its own profile"
    );
}

#[test]
fn every_page_that_a_source_names_exists() {
    let mut named = 0;
    for file in files("rs").into_iter().chain(files("toml")) {
        for (line, content) in (1..).zip(read(&file).lines()) {
            for rest in content.split("docs/").skip(1) {
                let name: String = rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || "_-/.".contains(*c))
                    .collect();
                let name = name.trim_end_matches('.');
                if name.ends_with(".md") {
                    assert!(
                        exists(&format!("docs/{name}")),
                        "{file}:{line} names docs/{name}, and there is none"
                    );
                    named += 1;
                }
            }
        }
    }
    assert!(named >= 5, "only {named} pages are named");
}

#[test]
fn decisions_are_numbered_without_holes_and_their_titles_carry_the_number() {
    let mut decisions: Vec<String> = files("md")
        .into_iter()
        .filter(|name| name.starts_with("docs/decisions/"))
        .collect();
    decisions.sort();
    for (number, name) in (1..).zip(&decisions) {
        let expected = format!("docs/decisions/{number:04}-");
        assert!(
            name.starts_with(&expected),
            "{name} stands where {expected}… is expected"
        );
        let text = read(name);
        let title = text.lines().next().unwrap_or_default();
        assert!(
            title.starts_with(&format!("# {number:04} ")),
            "{name} begins with {title:?}"
        );
    }
}

#[test]
fn the_table_of_folders_in_the_readme_names_every_member_of_the_workspace() {
    let readme = read("README.md");
    let table = page::section(&readme, "## Where things are");
    let named: Vec<String> = page::code(table)
        .into_iter()
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect();
    for name in named.iter().filter(|name| !name.contains(' ') && !name.contains('.')) {
        assert!(
            exists(name) || name == "waterpark",
            "the README names {name}, and there is none"
        );
    }
    for member in members() {
        assert!(named.contains(&member), "{member} is missing from the README's table");
    }
}

/// The members of the workspace, as the top manifest lists them.
fn members() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let list = manifest
        .split("members = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    let list = list.expect("the workspace lists its members");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}
