//! Rules that are off by default: text that Wire stores unchanged, and that
//! can deceive the people who read it.

use super::rich_info::Fields;
use crate::findings::Findings;
use crate::place::{IntoPlace, Place};
use crate::refusal::Refusal;
use crate::rule::Rule;

/// Judges displayName, which is passed with its place, and the keys and values of rich info.
pub fn judge<'d>(
    display_name: Option<(&str, impl IntoPlace)>,
    rich_info: impl FnOnce() -> Fields<'d>,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    if !RULES.iter().any(|(rule, ..)| findings.wants(*rule)) {
        return Ok(());
    }
    let rich_info = rich_info();
    let display_name = display_name.map(|(name, at)| (name, at.into_place()));
    for (rule, found, what) in RULES {
        if !findings.wants(rule) {
            continue;
        }
        if let Some((_, at)) = display_name.as_ref().filter(|(name, _)| found(name)) {
            let at = at.clone();
            findings
                .hit(rule, at, || format!("displayName {what}. Correct it in the directory."))?;
        }
        let blank = rule == Rule::UserTextBlank;
        if rich_info.iter().any(|(key, value)| found(value) || (!blank && found(key))) {
            findings.hit(rule, Place::of(None), || {
                format!("A field of rich info {what}. Correct it in the directory.")
            })?;
        }
    }
    Ok(())
}

type Finder = fn(&str) -> bool;

const RULES: [(Rule, Finder, &str); 4] = [
    (
        Rule::UserTextControl,
        has_control,
        "contains a control character (U+0000-U+001F, U+007F-U+009F)",
    ),
    (
        Rule::UserTextBidirectional,
        has_bidirectional,
        "contains a character that changes the direction of text, which can make one name look like another",
    ),
    (
        Rule::UserTextInvisible,
        has_invisible,
        "contains an invisible character, which can make two names look the same",
    ),
    (Rule::UserTextBlank, is_blank, "is white space only"),
];

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Marks, embeddings, overrides and isolates of the Unicode Bidirectional Algorithm (UAX #9).
fn has_bidirectional(text: &str) -> bool {
    text.chars().any(|c| {
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// Characters that take no space and join nothing visible. The joiner U+200D and the variation
/// selectors are not included: emoji and several scripts use them.
fn has_invisible(text: &str) -> bool {
    text.chars().any(|c| {
        matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
                | '\u{200b}' | '\u{200c}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}'
                | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
    })
}

fn is_blank(text: &str) -> bool {
    !text.is_empty() && text.chars().all(char::is_whitespace)
}
