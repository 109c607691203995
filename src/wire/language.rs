//! Languages as Wire parses them in `preferredLanguage`.
//!
//! An own list, because Wire's is an old version of ISO 639-1 (with `bh`; without `sh`, `mo`, `ji`)
//! that no language crate contains.

/// The language that Wire stores for `text`: only its first two characters count.
pub fn read(text: &str) -> Option<&'static str> {
    let mut characters = text.chars();
    // Wire looks up the two letters in upper case, so these two are treated as ASCII.
    let mut letter = || {
        characters.next().map(|character| match character {
            'ſ' => 's',
            'ı' => 'i',
            other => other,
        })
    };
    let code = [u8::try_from(letter()?).ok()?, u8::try_from(letter()?).ok()?];
    CODES.binary_search_by(|listed| listed.as_bytes().cmp(&code)).ok().map(|at| CODES[at])
}

/// The 184 codes, in order.
#[rustfmt::skip]
static CODES: [&str; 184] = [
    "aa", "ab", "ae", "af", "ak", "am", "an", "ar", "as", "av", "ay", "az",
    "ba", "be", "bg", "bh", "bi", "bm", "bn", "bo", "br", "bs",
    "ca", "ce", "ch", "co", "cr", "cs", "cu", "cv", "cy",
    "da", "de", "dv", "dz",
    "ee", "el", "en", "eo", "es", "et", "eu",
    "fa", "ff", "fi", "fj", "fo", "fr", "fy",
    "ga", "gd", "gl", "gn", "gu", "gv",
    "ha", "he", "hi", "ho", "hr", "ht", "hu", "hy", "hz",
    "ia", "id", "ie", "ig", "ii", "ik", "io", "is", "it", "iu",
    "ja", "jv",
    "ka", "kg", "ki", "kj", "kk", "kl", "km", "kn", "ko", "kr", "ks", "ku", "kv", "kw", "ky",
    "la", "lb", "lg", "li", "ln", "lo", "lt", "lu", "lv",
    "mg", "mh", "mi", "mk", "ml", "mn", "mr", "ms", "mt", "my",
    "na", "nb", "nd", "ne", "ng", "nl", "nn", "no", "nr", "nv", "ny",
    "oc", "oj", "om", "or", "os",
    "pa", "pi", "pl", "ps", "pt",
    "qu",
    "rm", "rn", "ro", "ru", "rw",
    "sa", "sc", "sd", "se", "sg", "si", "sk", "sl", "sm", "sn", "so", "sq", "sr", "ss", "st", "su", "sv", "sw",
    "ta", "te", "tg", "th", "ti", "tk", "tl", "tn", "to", "tr", "ts", "tt", "tw", "ty",
    "ug", "uk", "ur", "uz",
    "ve", "vi", "vo",
    "wa", "wo",
    "xh",
    "yi", "yo",
    "za", "zh", "zu",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lower_case_letters_count() {
        assert!(CODES.is_sorted());
        for (text, read_as) in [
            ("en", "en"),
            ("en-US", "en"),
            ("english", "en"),
            ("tlh", "tl"),
            ("ıt", "it"),
            ("ſv", "sv"),
        ] {
            assert_eq!(read(text), Some(read_as), "{text}");
        }
        for text in ["", "e", "EN", "En", "iw", "in", " fr", "xx", "é-"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
