//! Transliterates letters that Wire's handles do not allow.

/// Lower-case letters by their replacement: those of the Latin blocks of Unicode up to U+024F, and
/// U+1E00 to U+1EFF.
#[rustfmt::skip]
pub const TABLE: [(&str, &str); 35] = [
    ("a", "àáâãåāăąǎǡǻȁȃȧḁạảấầẩẫậắằẳẵặ"),
    ("ae", "äæǟǣǽ"),
    ("b", "ḃḅḇ"),
    ("c", "çćĉċčḉ"),
    ("d", "ðďđḋḍḏḑḓ"),
    ("dz", "ǆǳ"),
    ("e", "èéêëēĕėęěȅȇȩḕḗḙḛḝẹẻẽếềểễệ"),
    ("f", "ƒḟ"),
    ("g", "ĝğġģǧǵḡ"),
    ("h", "ĥħȟḣḥḧḩḫẖ"),
    ("i", "ìíîïĩīĭįıǐȉȋḭḯỉị"),
    ("ij", "ĳ"),
    ("j", "ĵǰ"),
    ("k", "ķĸǩḱḳḵ"),
    ("l", "ĺļľŀłḷḹḻḽ"),
    ("lj", "ǉ"),
    ("m", "ḿṁṃ"),
    ("n", "ñńņňŉǹṅṇṉṋ"),
    ("ng", "ŋ"),
    ("nj", "ǌ"),
    ("o", "òóôõøōŏőơǒǫǭǿȍȏȭȯȱṍṑṓọỏốồổỗộớờởỡợ"),
    ("oe", "öœȫṏ"),
    ("p", "ṕṗ"),
    ("r", "ŕŗřȑȓṙṛṝṟ"),
    ("s", "śŝşšſșṡṣṥṧṩẛ"),
    ("ss", "ß"),
    ("t", "ţťŧțṫṭṯṱẗ"),
    ("th", "þ"),
    ("u", "ùúûũūŭůűųưǔȕȗṳṵṷṹụủứừửữự"),
    ("ue", "üǖǘǚǜṻ"),
    ("v", "ṽṿ"),
    ("w", "ŵẁẃẅẇẉẘ"),
    ("x", "ẋẍ"),
    ("y", "ýÿŷȳẏẙỳỵỷỹ"),
    ("z", "źżžẑẓẕ"),
];

/// A name in lower case with only the characters of handles, and how many of its own characters are
/// left. Letters in the table are replaced, combining marks after a letter are removed, and every
/// other character becomes one `.`.
pub(super) fn spelled(name: &str) -> (String, usize) {
    let mut out = String::with_capacity(name.len() + 8);
    let mut kept = 0;
    // Whether a combining mark may follow, and belongs to what was written last.
    let mut is_letter = false;
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' | '_' | '.' | '-' => {
                out.push(c);
                kept += 1;
                is_letter = c.is_ascii_lowercase();
            }
            '\u{308}' if is_letter && out.ends_with(['a', 'o', 'u']) => out.push('e'),
            '\u{300}'..='\u{36f}' if is_letter => {}
            _ => match TABLE.iter().find(|(_, letters)| letters.contains(c)) {
                Some((letters, _)) => {
                    out.push_str(letters);
                    kept += 1;
                    is_letter = true;
                }
                None => {
                    out.push('.');
                    is_letter = false;
                }
            },
        }
    }
    (out, kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_and_decomposed_letters_become_the_same() {
        for (composed, decomposed, expected) in [
            ("ä", "a\u{308}", "ae"),
            ("é", "e\u{301}", "e"),
            ("å", "a\u{30a}", "a"),
            ("ệ", "e\u{323}\u{302}", "e"),
            ("ǖ", "u\u{308}\u{304}", "ue"),
            ("İ", "I\u{307}", "i"),
        ] {
            assert_eq!(spelled(composed).0, expected, "{composed}");
            assert_eq!(spelled(decomposed).0, expected, "{composed}");
        }
        assert_eq!(spelled("\u{301}a 漢\u{301}b"), (".a...b".to_owned(), 2));
    }

    #[test]
    fn the_table_has_each_letter_once_and_nothing_superfluous() {
        let mut letters: Vec<char> = TABLE.iter().flat_map(|(_, from)| from.chars()).collect();
        let count = letters.len();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), count);
        assert!(letters.iter().all(|c| !c.is_ascii() && c.to_lowercase().eq([*c])));
        assert!(TABLE.iter().all(|(to, _)| to.bytes().all(|byte| byte.is_ascii_lowercase())));
    }
}
