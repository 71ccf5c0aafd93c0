//! A page of Markdown, as far as tests look into it: code in backticks, links, headings, rows of tables.
//!
//! It does not know Markdown whole: these pages use little of it, and what they use stands in one form.

/// The page without its fenced blocks; their lines stay, empty, so that line numbers hold.
#[must_use]
pub fn prose(page: &str) -> String {
    let mut fenced = false;
    let mut out = String::with_capacity(page.len());
    for line in page.lines() {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if !fenced && !fence {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

/// The page with each run of blanks and line breaks as one blank: where a line is broken means nothing.
#[must_use]
pub fn in_one_line(page: &str) -> String {
    let words: Vec<&str> = page.split_whitespace().collect();
    words.join(" ")
}

/// What stands between backticks, in order, fenced blocks left out.
#[must_use]
pub fn code(page: &str) -> Vec<String> {
    let prose = prose(page);
    prose.split('`').skip(1).step_by(2).map(in_one_line).collect()
}

/// Targets of links, in order, with the number of their line from 1.
#[must_use]
pub fn links(page: &str) -> Vec<(usize, String)> {
    let prose = prose(page);
    let mut found = Vec::new();
    for (line, text) in (1..).zip(prose.lines()) {
        // What is quoted is no link.
        let plain: String = text.split('`').step_by(2).collect();
        for rest in plain.split("](").skip(1) {
            if let Some((target, _)) = rest.split_once(')') {
                found.push((line, target.to_owned()));
            }
        }
    }
    found
}

/// The part under a heading, up to the next one of its rank or above.
///
/// # Panics
/// If there is no such heading.
#[must_use]
pub fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let at = page.find(&format!("\n{heading}\n"));
    let rest = &page[at.unwrap_or_else(|| panic!("no heading {heading:?}")) + heading.len() + 2..];
    let rank = heading.chars().take_while(|c| *c == '#').count();
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        let own = line.chars().take_while(|c| *c == '#').count();
        if (1..=rank).contains(&own) && line.chars().nth(own) == Some(' ') {
            break;
        }
        end += line.len();
    }
    &rest[..end]
}

/// The cells of each row of all tables, without heads and rules.
#[must_use]
pub fn rows(page: &str) -> Vec<Vec<String>> {
    let prose = prose(page);
    let lines: Vec<&str> = prose.lines().collect();
    let is_rule = |line: &str| line.starts_with("|--") || line.starts_with("|:-");
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let head = lines.get(at + 1).is_some_and(|next| is_rule(next));
        if line.starts_with('|') && !is_rule(line) && !head {
            let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
            found.push(inner.split('|').map(|cell| cell.trim().to_owned()).collect());
        }
    }
    found
}

/// The anchor that a heading gets: lower case, words joined by hyphens, punctuation gone.
#[must_use]
pub fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
    kept.map(|c| if c == ' ' { '-' } else { c })
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# One\n\nsee `a.rs` and [b](c.md)\n\n```\n`not` [this](x)\n```\n\n| h | i |\n|---|---|\n| `1` | 2 |\n\n## Two, `x`\ntext\n";

    #[test]
    fn fenced_blocks_are_left_out_and_the_rest_is_found() {
        assert_eq!(code(PAGE), ["a.rs", "1", "x"]);
        assert_eq!(links(PAGE), [(3, "c.md".to_owned())]);
        assert_eq!(rows(PAGE), [["`1`", "2"]]);
        assert_eq!(section(PAGE, "## Two, `x`"), "text\n");
        assert_eq!(anchor("## Two, `x`"), "two-x");
    }
}
