//! The bytes of a body, before they are parsed as JSON.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::GzDecoder;

use crate::refusal::Refusal;
use crate::rule::Rule;

/// The refusal of a body that is too large; `limit` in bytes.
pub fn too_large(limit: usize) -> Refusal {
    Refusal::new(
        Rule::BodyTooLarge,
        format!(
            "The body is larger than {limit} bytes, before or after decompression. Send fewer or shorter \
             attributes; the operator of this proxy can raise limits.body."
        ),
    )
}

/// The body that Wire parses: as it was sent, or decompressed if it was sent as gzip.
///
/// SECURITY: Wire decompresses without a limit; here the result has at most `limit` bytes. Only one
/// gzip member with nothing after it is read, as readers treat several members differently.
pub fn decoded(body: &[u8], gzip: bool, limit: usize) -> Result<Cow<'_, [u8]>, Refusal> {
    if !gzip {
        return Ok(Cow::Borrowed(body));
    }
    let mut inflated = Vec::new();
    let mut decoder = GzDecoder::new(body);
    let broken = || {
        Refusal::new(
            Rule::BodyEncoding,
            "The body is announced as gzip, but is not one whole gzip stream with nothing after it. Send the \
             body without compression.",
        )
    };
    decoder.by_ref().take(limit as u64 + 1).read_to_end(&mut inflated).map_err(|_| broken())?;
    if inflated.len() > limit {
        return Err(too_large(limit));
    }
    // The checksum in the trailer was verified at the end of the stream.
    if decoder.into_inner().is_empty() { Ok(Cow::Owned(inflated)) } else { Err(broken()) }
}
