//! Answers of the backend that are replaced for the client: errors that are not SCIM errors
//! (`answers`), and the ServiceProviderConfig (`discovery`).

use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use crate::api::Handler;
use crate::proxy::upstream::forward::SCIM_GUARD_REPAIRED;
use crate::refusal::SCIM_JSON;
use crate::repair::{Repair, Repairs, error_answer, provider_config};

use super::context::FilterCtx;
use super::filter::RequestFilter;

impl FilterCtx {
    /// The repair that may replace an answer.
    pub(in crate::proxy) fn replaces(&self, head: &ResponseHeader) -> Option<Repair> {
        if self.repairs.is_empty() || self.is_unjudged() {
            return None;
        }
        let on = |repair| self.repairs.contains(repair).then_some(repair);
        match head.status {
            status if status.as_u16() >= 400 => on(Repair::Answers),
            StatusCode::OK if self.record.handler == Handler::ServiceProviderConfig => {
                on(Repair::Discovery)
            }
            _ => None,
        }
    }

    /// Whether an answer is replaced without reading its body.
    pub(in crate::proxy) fn replaces_unread(&self, head: &ResponseHeader) -> bool {
        !self.repairs.is_empty() && is_encoded(head) && self.replaces(head).is_some()
    }
}

impl RequestFilter {
    /// The body that replaces an answer's, whose head is changed accordingly; `None` if it stays as
    /// it is. `whole`: the body was read completely.
    pub(in crate::proxy) fn replacement(
        &self,
        ctx: &mut FilterCtx,
        head: &mut ResponseHeader,
        method: &Method,
        body: &[u8],
        whole: bool,
    ) -> Result<Option<Bytes>> {
        let Some(repair) = ctx.replaces(head) else { return Ok(None) };
        let read = whole && *method != Method::HEAD && !is_encoded(head);
        let read = read.then_some(body).filter(|body| body.len() <= error_answer::MAX_EXAMINED);
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let made = match (repair, read) {
            (Repair::Discovery, read) => provider_config::replacement(read),
            (_, Some(body)) if error_answer::is_scim_error(body) => return Ok(None),
            // What Wire says is a SCIM error, and too long to be read.
            (_, None) if content_type.is_some_and(is_scim) && !is_encoded(head) => return Ok(None),
            (_, read) => error_answer::replacement(head.status.as_u16(), content_type, read),
        };
        describe(head, made.len())?;
        if *method == Method::HEAD {
            // A GET would return Wire's own text, whose length only Wire knows.
            head.remove_header(&header::CONTENT_LENGTH);
        }
        let by = Repairs::of(&[repair]);
        self.recorder.metrics.repaired(by);
        ctx.record.repaired = ctx.record.repaired.and(by);
        head.insert_header(SCIM_GUARD_REPAIRED, ctx.record.repaired.names())?;
        Ok(Some(made.into()))
    }
}

/// Changes a head to that of a SCIM document of this length; headers that described the old body
/// are removed.
pub(in crate::proxy) fn describe(head: &mut ResponseHeader, length: usize) -> Result<()> {
    for name in [
        header::ACCEPT_RANGES,
        header::CONTENT_DISPOSITION,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_RANGE,
        header::ETAG,
        header::LAST_MODIFIED,
        header::TRANSFER_ENCODING,
    ] {
        head.remove_header(&name);
    }
    for name in ["content-digest", "content-md5", "digest", "repr-digest"] {
        head.remove_header(name);
    }
    head.insert_header(header::CONTENT_TYPE, SCIM_JSON)?;
    head.insert_header(header::CONTENT_LENGTH, length)
}

fn is_encoded(head: &ResponseHeader) -> bool {
    let encodings = head.headers.get_all(header::CONTENT_ENCODING);
    encodings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn is_scim(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/scim+json")
}
