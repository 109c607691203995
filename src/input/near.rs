//! "Did you mean": the known word whose spelling is nearest to an unknown one.

/// The nearest of `known` that is similar enough to be a misspelling.
pub fn near<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const LONGEST: usize = 64;
    if word.chars().count() > LONGEST {
        return None;
    }
    let plain = simplify(word);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&plain, &simplify(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= tolerance(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...?`, or nothing.
pub fn hint<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    near(word, known).map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

/// Capitals and the kind of separator are the most common differences.
fn simplify(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// How many typing errors are accepted for the same word.
fn tolerance(word: &str) -> usize {
    match word.len() {
        0..=3 => 1,
        4..=7 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognised_but_other_words_are_not() {
        let known = ["listen", "admin", "other_paths", "trusted_proxies"];
        assert_eq!(near("lisen", known), Some("listen"));
        assert_eq!(near("amdin", known), Some("admin"));
        assert_eq!(near("otherPaths", known), Some("other_paths"));
        assert_eq!(near("trusted-proxy", known), Some("trusted_proxies"));
        assert_eq!(near("tls", known), None);
        assert_eq!(near(&"x".repeat(100_000), known), None);
    }
}
