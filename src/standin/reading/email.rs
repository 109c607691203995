//! Email addresses: each part of the grammar is a function from the remaining input to what is left after it, and
//! its canonical form.

/// The address in canonical form, if the string is an address.
pub(super) fn canonical(text: &str) -> Option<String> {
    let (rest, local) = local(text)?;
    let rest = rest.strip_prefix('@')?;
    let (rest, domain) = domain(rest)?;
    let fits = local.len() <= 64 && domain.len() <= 253 && local.len() + 1 + domain.len() <= 254;
    (rest.is_empty() && fits).then(|| format!("{local}@{domain}"))
}

type Part<'a> = Option<(&'a str, String)>;

fn local(text: &str) -> Part<'_> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        rest = around(rest);
        let (after, piece) = if rest.starts_with('"') { quoted(rest)? } else { run(rest, is_atom) };
        if piece.is_empty() {
            return None;
        }
        pieces.push(piece);
        rest = around(after);
        match rest.strip_prefix('.') {
            Some(more) => rest = more,
            None => return Some((rest, pieces.join("."))),
        }
    }
}

fn quoted(text: &str) -> Part<'_> {
    let mut kept = String::from("\"");
    let mut rest = &text[1..];
    loop {
        rest = fold(rest).unwrap_or(rest);
        if let Some(after) = rest.strip_prefix('"') {
            return Some((after, kept + "\""));
        }
        if rest.starts_with('\\') {
            let pair = rest.get(..2).filter(|pair| pair.is_ascii())?;
            kept.push_str(pair);
            rest = &rest[2..];
        } else {
            let (after, some) = run(rest, |c| is_text(c) && c != '"' && c != '\\');
            if some.is_empty() {
                return None;
            }
            kept.push_str(&some);
            rest = after;
        }
    }
}

fn domain(text: &str) -> Part<'_> {
    let start = around(text);
    if let Some(mut rest) = start.strip_prefix('[') {
        let mut kept = String::from("[");
        loop {
            rest = fold(rest).unwrap_or(rest);
            if let Some(after) = rest.strip_prefix(']') {
                return Some((around(after), kept + "]"));
            }
            let (after, some) = run(rest, |c| is_text(c) && !matches!(c, '[' | ']' | '\\'));
            if some.is_empty() {
                return None;
            }
            kept.push_str(&some);
            rest = after;
        }
    }
    let (mut rest, first) = label(text)?;
    let mut labels = vec![first];
    while let Some(after) = rest.strip_prefix('.') {
        match label(after) {
            Some((more, next)) => {
                labels.push(next);
                rest = more;
            }
            // The dot was the trailing one.
            None => return Some((after, labels.join("."))),
        }
    }
    Some((rest, labels.join(".")))
}

fn label(text: &str) -> Part<'_> {
    let (rest, label) = run(around(text), |c| c.is_ascii_alphanumeric() || c == '-');
    let fine = (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    fine.then(|| (around(rest), label))
}

fn run(text: &str, kind: impl Fn(char) -> bool) -> (&str, String) {
    let end = text.find(|c| !kind(c)).unwrap_or(text.len());
    (&text[end..], text[..end].to_owned())
}

fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~-".contains(c)
}

/// Visible ASCII, and the control characters other than blanks, line ends and NUL.
fn is_text(c: char) -> bool {
    matches!(c, '!'..='~' | '\u{1}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}')
}

/// Skips blanks, folds and comments.
fn around(mut text: &str) -> &str {
    while let Some(rest) = comment(text).or_else(|| fold(text)) {
        text = rest;
    }
    text
}

fn comment(text: &str) -> Option<&str> {
    let mut rest = text.strip_prefix('(')?;
    let mut depth = 1;
    while depth > 0 {
        let c = rest.chars().next()?;
        rest = match c {
            '(' => {
                depth += 1;
                &rest[1..]
            }
            ')' => {
                depth -= 1;
                &rest[1..]
            }
            '\\' => rest.get(2..).filter(|_| rest[1..].starts_with(|c: char| c.is_ascii()))?,
            _ if is_text(c) => &rest[1..],
            _ => fold(rest)?,
        };
    }
    Some(rest)
}

/// Skips one fold: blanks with at most one line end, or line ends each followed by blanks.
fn fold(text: &str) -> Option<&str> {
    let blanks = |text: &'_ str| -> Option<usize> {
        let length = text.len() - text.trim_start_matches([' ', '\t']).len();
        (length > 0).then_some(length)
    };
    let line = |text: &str| text.strip_prefix("\r\n").and_then(|rest| Some(2 + blanks(rest)?));
    if let Some(some) = blanks(text) {
        let rest = &text[some..];
        return Some(line(rest).map_or(rest, |more| &rest[more..]));
    }
    let mut rest = &text[line(text)?..];
    while let Some(more) = line(rest) {
        rest = &rest[more..];
    }
    Some(rest)
}
