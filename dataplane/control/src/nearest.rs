//! The nearest of some names to one that was mistyped: optimal string alignment, so that a swap of neighbours counts once.
//!
//! A suggestion that is far off is worse than none: a third of the letters may differ, and at least one.

/// The candidate nearest to `name`, the first of equals; `None` if none is near enough to have been meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances grow with the product of the lengths: a name of a million letters was not mistyped but misplaced.
    const LETTERS_MAX: usize = 64;
    let letters: Vec<char> = name.chars().take(LETTERS_MAX + 1).collect();
    if letters.is_empty() || letters.len() > LETTERS_MAX {
        return None;
    }
    let limit = (letters.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&letters, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, drop, replace or swap with their neighbour; upper and lower case count as equal.
fn distance(a: &[char], b: &str) -> usize {
    let lower = |c: &char| c.to_ascii_lowercase();
    let a: Vec<char> = a.iter().map(lower).collect();
    let b: Vec<char> = b.chars().map(|c| lower(&c)).collect();

    // Three rows of the table are enough: a swap looks back two.
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_inserted_dropped_replaced_and_swapped_letters() {
        let table = [
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "ABC", 0),
            ("abc", "abxc", 1),
            ("abc", "ac", 1),
            ("abc", "abd", 1),
            ("abc", "acb", 1),
            ("memroy", "memory", 1),
            ("kitten", "sitting", 3),
        ];
        for (a, b, expected) in table {
            let letters: Vec<char> = a.chars().collect();
            assert_eq!(distance(&letters, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let names = ["workers", "memory", "host"];
        assert_eq!(nearest("memroy", names), Some("memory"));
        assert_eq!(nearest("worker", names), Some("workers"));
        assert_eq!(nearest("hots", names), Some("host"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"m".repeat(100_000), names), None);
    }
}
