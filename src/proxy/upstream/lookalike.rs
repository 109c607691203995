//! Header names that some servers read as another name.
//!
//! SECURITY: CGI and its successors (WSGI, Rack, PHP) turn a header into a variable in which every
//! byte that is not a letter or digit becomes `_`; nginx does the same with `-` and, where
//! `underscores_in_headers` or `ignore_invalid_headers` let such names pass, with names that
//! contain `_` already. To them `Z_User` is `Z-User`. A header that the guard judges, sets or
//! removes must not reach the backend under such a name either.

/// The names with a `-` that the guard judges, sets or removes. Names without one have no
/// lookalikes, as nothing in them is folded.
const GUARDED: [&str; 9] = [
    "content-encoding",
    "content-length",
    "content-type",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "x-request-id",
];

/// Families of names that are guarded whatever follows the prefix.
const FAMILIES: [&str; 3] = ["scim-guard-", "x-forwarded-", "z-"];

/// Whether a name is not one that the guard handles, but is read as one by some servers.
pub(in crate::proxy) fn is_one(name: &[u8]) -> bool {
    if !name.first().is_some_and(may_begin_one) {
        return false;
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    if name.iter().all(plain) {
        return false;
    }
    FAMILIES.iter().any(|family| {
        let start = name.get(..family.len());
        start.is_some_and(|start| folds_to(start, family))
    }) || GUARDED.iter().any(|guarded| folds_to(name, guarded))
}

/// Whether a guarded name begins with this byte. Most headers are recognised by it.
fn may_begin_one(first: &u8) -> bool {
    matches!(first.to_ascii_lowercase(), b'c' | b'h' | b'k' | b'p' | b's' | b't' | b'x' | b'z')
}

/// Whether `name` equals `canonical` once every byte that is not a letter or digit is replaced by
/// `-`.
fn folds_to(name: &[u8], canonical: &str) -> bool {
    let folded = |byte: &u8| {
        if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
    };
    name.len() == canonical.len() && name.iter().map(folded).eq(canonical.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guarded_name_begins_with_a_byte_that_is_looked_for() {
        for name in GUARDED.iter().chain(&FAMILIES) {
            assert!(may_begin_one(&name.as_bytes()[0]), "{name}");
        }
    }

    #[test]
    fn whatever_is_folded_into_a_guarded_name_is_one() {
        for byte in (0x21..0x7f).filter(|byte| crate::proxy::downstream::syntax::is_tchar(*byte)) {
            let name = [b"z", &[byte][..], b"User"].concat();
            let separates = !byte.is_ascii_alphanumeric() && byte != b'-';
            assert_eq!(is_one(&name), separates, "{}", name.escape_ascii());
        }
        for name in [
            "Z_",
            "Z-User_Id",
            "X_Forwarded_For",
            "x-forwarded_proto",
            "Scim.Guard.Rule",
            "CONTENT_LENGTH",
            "Transfer!Encoding",
            "content_type",
            "X~Request-Id",
        ] {
            assert!(is_one(name.as_bytes()), "{name}");
        }
        for name in [
            "Z-User",
            "Content-Length",
            "X-Forwarded-For",
            "x_custom",
            "zoo_keeper",
            "Z",
            "_z-user",
        ] {
            assert!(!is_one(name.as_bytes()), "{name}");
        }
    }
}
