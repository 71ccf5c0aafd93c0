//! Rust sources, as far as tests look into them: bodies of functions, variants of enums, words.
//!
//! It is no parser: it trusts the form that `rustfmt` gives every file here, where the brace that ends an item stands under the word that
//! begins it.

/// The texts of all functions of this name in a source, from `fn` to the closing brace. A declaration without a body is none.
#[must_use]
pub fn functions<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let wanted = format!("fn {name}");
    let mut found = Vec::new();
    for (at, _) in source.match_indices(&wanted) {
        let after = source[at + wanted.len()..].chars().next();
        let before = source[..at].chars().next_back();
        if !matches!(after, Some('(' | '<')) || before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line_start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = &source[line_start..];
        if line.trim_start().starts_with("//") {
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let Some(brace) = source[at..].find('{') else {
            continue;
        };
        // A declaration ends before the next brace; a semicolon within brackets is an array's.
        let signature = &source[at..at + brace];
        if signature.contains(';') && !signature.contains('[') {
            continue;
        }
        if let Some(end) = source[at..].find(&format!("\n{indent}}}")) {
            found.push(&source[at..at + end]);
        }
    }
    found
}

/// Whether a text calls a function of this name.
#[must_use]
pub fn calls(text: &str, name: &str) -> bool {
    let mut found = text.match_indices(name);
    found.any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = &text[at + name.len()..];
        let word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let defined = text[..at].ends_with("fn ");
        !word && !defined && (after.starts_with('(') || after.starts_with("::<"))
    })
}

/// Whether a text has this word, in any case, with nothing of a word on either side.
#[must_use]
pub fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    let part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut found = text.match_indices(&word);
    found.any(|(at, _)| !part(text[..at].chars().next_back()) && !part(text[at + word.len()..].chars().next()))
}

/// The names of an enum's variants, in order.
///
/// # Panics
/// If the source has no such enum.
#[must_use]
pub fn variants(source: &str, name: &str) -> Vec<String> {
    let head = format!("pub enum {name} {{\n");
    let at = source.find(&head);
    let body = &source[at.unwrap_or_else(|| panic!("no enum {name}")) + head.len()..];
    let body = &body[..body.find("\n}").expect("an enum ends")];
    let named = |line: &str| {
        let rest = line.strip_prefix("    ")?;
        let first = rest.chars().next()?;
        first
            .is_ascii_uppercase()
            .then(|| rest.chars().take_while(|c| c.is_alphanumeric()).collect::<String>())
    };
    body.lines().filter_map(named).collect()
}

/// A source without its comments, and without its tests where they stand at its end.
#[must_use]
pub fn code(source: &str) -> String {
    let own = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = own.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "/// fn one() in words {\nimpl A {\n    pub fn one(&self) -> u8 {\n        if x {\n            self.two(1)\n        }\n    }\n\n    fn two<T>(&self, t: T) {\n        x.one_more();\n    }\n}\n\npub enum E {\n    /// Words.\n    One {\n        /// Field.\n        a: u8,\n    },\n    Two(u8),\n}\n";

    #[test]
    fn a_function_is_found_with_its_body_and_no_more() {
        let one = functions(SOURCE, "one");
        assert_eq!(one.len(), 1);
        assert!(calls(one[0], "two") && !calls(one[0], "one_more"));
        let two = functions(SOURCE, "two");
        assert!(calls(two[0], "one_more") && !calls(two[0], "one"), "{two:?}");
        assert!(functions(SOURCE, "on").is_empty());
    }

    #[test]
    fn variants_are_found_without_their_fields() {
        assert_eq!(variants(SOURCE, "E"), ["One", "Two"]);
    }

    #[test]
    fn words_are_found_whole() {
        assert!(has_word("A Seq.", "seq") && has_word("log_view", "view") && !has_word("sequence", "seq"));
    }
}
