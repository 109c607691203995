//! "Did you mean": the known word that is spelled most like an unknown one.

/// The nearest of `known` that is near enough to be what was meant.
pub fn near<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const LONGEST: usize = 64;
    if word.chars().count() > LONGEST {
        return None;
    }
    let plain = simplify(word);
    known
        .into_iter()
        .map(|candidate| (distance(&plain, &simplify(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= tolerance(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...?`, or nothing.
pub fn hint<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    near(word, known).map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

/// Capitals and the kind of separator are what people mix up first.
fn simplify(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// How many slips of the pen are still the same word.
fn tolerance(word: &str) -> usize {
    match word.len() {
        0..=3 => 1,
        4..=7 => 2,
        _ => 3,
    }
}

/// The least number of insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_mended_and_strangers_are_not() {
        let known = ["listen", "admin", "other_paths", "trusted_proxies"];
        assert_eq!(near("lisen", known), Some("listen"));
        assert_eq!(near("amdin", known), Some("admin"));
        assert_eq!(near("otherPaths", known), Some("other_paths"));
        assert_eq!(near("trusted-proxy", known), Some("trusted_proxies"));
        assert_eq!(near("tls", known), None);
        assert_eq!(near(&"x".repeat(100_000), known), None);
    }
}
