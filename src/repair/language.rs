//! The repair `language`: language tags as directories write them.

use crate::wire::language;

/// The tag with the code in lower case and in its current spelling, if Wire accepts that one but
/// not the tag as it was sent. Names and codes of three letters are left unchanged: `Swedish` is
/// not Swahili.
pub(super) fn repaired(tag: &str) -> Option<String> {
    let (code, rest) = tag.split_at_checked(2)?;
    let is_code = code.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !is_code || !matches!(rest.bytes().next(), None | Some(b'-' | b'_')) {
        return None;
    }
    if language::read(tag).is_some() {
        return None;
    }
    let lower = code.to_ascii_lowercase();
    let present = match lower.as_str() {
        "iw" => "he",
        "in" => "id",
        "ji" => "yi",
        code => code,
    };
    let repaired = format!("{present}{rest}");
    language::read(&repaired).map(|_| repaired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_repaired_and_names_are_not() {
        for (tag, expected) in [
            ("EN", "en"),
            ("EN-us", "en-us"),
            ("De_CH", "de_CH"),
            ("iw", "he"),
            ("IN-ID", "id-ID"),
            ("ji", "yi"),
        ] {
            assert_eq!(repaired(tag).as_deref(), Some(expected), "{tag}");
        }
        for tag in
            ["", "e", "en", "en-US", "english", "Swedish", "ENG", "XX", "xx-de", " EN", "ÉN", "E1"]
        {
            assert_eq!(repaired(tag), None, "{tag}");
        }
    }
}
