//! State of a request that is kept between Pingora's phases.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, header};
use pingora::http::ResponseHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::agreement::Outcome;
use crate::api::Handler;
use crate::authorizer::Metered;
use crate::config::{Config, Limits, Server};
use crate::deprovisioning::Place;
use crate::evaluator::{BodyTask, RepairedBody};
use crate::proxy::memory::{self, GaveWay, Kind, Share};
use crate::proxy::pingora_internals::Restore;
use crate::proxy::upstream::forward::BodyFraming;
use crate::proxy::upstream::servers;
use crate::proxy::websocket::{self, Switched};
use crate::refusal::Refusal;
use crate::repair::Repairs;
use crate::repair::work::Work;
use crate::rule::Rule;
use crate::snapshot::Snapshot;
use crate::tls::client::Secured;

use super::recorder::{InFlight, RequestRecord};

/// The state that the filter keeps of a request between the phases.
pub struct FilterCtx {
    /// Kept to the end of the request.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) record: RequestRecord,
    pub(super) state: State,
    /// The target for the backend; `None`: the one that Pingora has.
    pub(super) target: Option<Vec<u8>>,
    pub(super) forwarded_for: Option<HeaderValue>,
    pub(super) keep_z_headers: bool,
    /// The body arrived with a content coding that is removed.
    pub(super) inflated: bool,
    /// The repairs that are on.
    pub(super) repairs: Repairs,
    /// What is done instead of forwarding the request.
    pub(super) work: Option<Box<Work>>,
    /// The memory that the request holds until its end.
    pub(super) share: Share,
    /// How much memory its head takes.
    pub(super) weight: usize,
    /// The token is valid according to the registry, or Wire accepted it lately.
    pub(super) known: bool,
    /// The rate of its token, if replicas share it.
    pub(super) metered: Option<Box<Metered>>,
    /// The reservation of a request that deletes or deactivates a user, if these are limited.
    pub(super) removal: Option<Box<Place>>,
    pub(super) in_flight: Option<InFlight>,
}

/// How far a request has got, and how it goes to the backend.
pub(super) enum State {
    /// It is being read and judged, or was refused.
    Judging,
    /// It passed, and its whole body was read; empty if there is none.
    Buffered {
        body: Bytes,
        framing: BodyFraming,
        /// Nothing is left to read from Pingora's session.
        consumed: bool,
    },
    /// The proxy sends it together with its body.
    Exchanging { framing: BodyFraming },
    /// The proxy sends it, and switches to WebSocket if the backend does.
    Upgrading { slot: websocket::Slot },
    /// The connection continues as a tunnel.
    Switched,
    /// Pingora sends it, and reads the buffered body from a session that replaces the real one.
    Replaying { framing: BodyFraming, restore: Restore },
    /// Pingora sends it, with the body as it arrives.
    Streaming { framing: BodyFraming },
}

impl State {
    pub(super) fn framing(&self) -> BodyFraming {
        match self {
            Self::Judging => BodyFraming::Streamed,
            Self::Upgrading { .. } | Self::Switched => BodyFraming::Nothing,
            Self::Buffered { framing, .. }
            | Self::Exchanging { framing }
            | Self::Replaying { framing, .. }
            | Self::Streaming { framing } => *framing,
        }
    }

    /// Takes the state, for a transition to another one.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Judging)
    }
}

/// SECURITY: the target contains a query, and the body personal data.
impl fmt::Debug for FilterCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterCtx")
            .field("request_id", &self.record.request_id)
            .field("handler", &self.record.handler)
            .field("framing", &self.state.framing())
            .finish_non_exhaustive()
    }
}

impl FilterCtx {
    pub(in crate::proxy) fn config(&self) -> &Arc<Config> {
        &self.snapshot.config
    }

    pub(in crate::proxy) fn limits(&self) -> &Limits {
        &self.snapshot.config.limits
    }

    /// What secures connections to a server; `None`: they are cleartext.
    ///
    /// SECURITY: a server for which this request's configuration lacks the required TLS settings
    /// receives no connection.
    pub(in crate::proxy) fn secured(&self, server: &Server) -> Result<Option<Arc<Secured>>> {
        if !server.tls {
            return Ok(None);
        }
        let secured = self.snapshot.tls.server(server).cloned();
        secured.map(Some).ok_or_else(|| Error::new(ErrorType::ConnectNoRoute).into_up())
    }

    /// A server in the form in which Pingora connects to it, with the configured limits.
    pub fn peer(&self, server: SocketAddr) -> HttpPeer {
        servers::peer(server, self.limits())
    }

    /// Records the server that the request goes to: for the access log, and as the moment from
    /// which the backend's time counts.
    pub fn set_upstream(&mut self, address: SocketAddr) {
        self.record.upstream = Some(address);
        self.record.upstream_started.get_or_insert_with(Instant::now);
    }

    /// When the request began.
    pub(in crate::proxy) fn started(&self) -> Instant {
        self.record.started
    }

    /// How long the backend has taken so far.
    pub(in crate::proxy) fn upstream_took(&self) -> Duration {
        self.record.upstream_started.map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// Whether the request is outside SCIM: its body and its answer are streamed without a time
    /// limit.
    pub(in crate::proxy) fn is_unjudged(&self) -> bool {
        matches!(self.record.handler, Handler::AuthTokens | Handler::Other)
    }

    /// Whether the backend's answer says that requests come too fast.
    pub(in crate::proxy) fn is_throttled(&self) -> bool {
        matches!(self.record.answered, Some((Rule::UpstreamThrottled, _)))
    }

    /// The whole body, empty if there is none, if the proxy is to send it with the head; `None` if
    /// the body is streamed.
    pub(in crate::proxy) fn begin_exchange(&mut self) -> Option<Bytes> {
        match self.state.take() {
            State::Buffered { body, framing, .. } => {
                self.state = State::Exchanging { framing };
                Some(body)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The request's slot among the switched connections, if it asks to switch.
    pub(in crate::proxy) fn begin_upgrade(&mut self) -> Option<websocket::Slot> {
        match self.state.take() {
            State::Upgrading { slot } => Some(slot),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Records that the connection continues as a tunnel, and passes its memory account on.
    pub(in crate::proxy) fn switch(&mut self) -> Switched {
        self.state = State::Switched;
        let share = self.share.split_off();
        let RequestRecord { request_id, client, upstream, .. } = &self.record;
        Switched { share, request_id: request_id.clone(), client: *client, upstream: *upstream }
    }

    /// Replaces the body by a repaired one, after reserving memory for the difference in size.
    pub(super) async fn repair_body(
        &mut self,
        task: BodyTask,
        body: &Bytes,
        RepairedBody { body: repaired, work, by }: RepairedBody,
    ) -> std::result::Result<Bytes, Refusal> {
        if work.is_some() {
            self.work = work;
            self.record.repaired = self.record.repaired.and(by);
            // It is not forwarded, but the audit log records what it sets.
            return Ok(body.clone());
        }
        let more = repaired.len().saturating_sub(body.len());
        if more > 0 {
            self.share.grow(Kind::Body, more).await?;
        }
        self.record.repaired = self.record.repaired.and(by);
        self.inflated = task.gzip;
        Ok(repaired.into())
    }

    /// Keeps the whole body of an answer if Wire refused what the guard accepted, for its scimType.
    pub(in crate::proxy) fn keep_disagreement(&mut self, answer: &ResponseHeader, body: &Bytes) {
        let encoded = answer.headers.contains_key(header::CONTENT_ENCODING);
        if !encoded && self.record.forwarded && self.record.agreement() == Outcome::Missed {
            self.record.wire_error = Some(body.clone());
        }
    }

    /// Holds memory for a part of the answer until the request ends. Returns whether there is room
    /// for more.
    pub(in crate::proxy) fn hold(&mut self, bytes: usize) -> bool {
        self.share.hold(Kind::Answer, bytes)
    }

    /// Waits for memory, and holds it until the request ends.
    pub(in crate::proxy) async fn reserve(&mut self, kind: Kind, bytes: usize) -> Result<()> {
        self.share.grow(kind, bytes).await.map(drop).map_err(|_| memory::short())
    }

    /// Releases what is reserved for the answer beyond `bytes`.
    pub(in crate::proxy) fn keep_for_answer(&mut self, bytes: usize) {
        self.share.shrink_to(Kind::Answer, bytes);
    }

    /// A part of the answer, whose memory is released when the last copy of it has been written.
    pub(in crate::proxy) fn count(&mut self, bytes: Bytes) -> Bytes {
        self.share.count(bytes)
    }

    /// Runs work that waits for the client, unless others need the memory that the request holds.
    pub(in crate::proxy) async fn unless_short<T>(
        &mut self,
        work: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        let done = self.share.unless_short(None, work).await;
        done.unwrap_or_else(|GaveWay| {
            self.share.refuse(Kind::Answer);
            Err(Error::new(ErrorType::WriteTimedout))
        })
    }
}
