//! Elements of HTTP that several readers share.

/// A Content-Length: digits only, without sign, list or white space (RFC 9110 §8.6). A number that
/// is too large becomes the largest one.
pub(in crate::proxy) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(value.iter().fold(0, add))
}

/// A byte of a token: a method or a header name (RFC 9110 §5.6.2).
pub(in crate::proxy) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
