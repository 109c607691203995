//! The one place that depends on what Pingora hides from its documentation or does not promise. The
//! exact version is pinned in Cargo.toml.
//!
//! For another release of Pingora, also one that only fixes a vulnerability:
//!
//! 1. Read the differences of `pingora-core/src/protocols/http/{server.rs, v1/server.rs, custom/}` and of
//!    `pingora-core/src/apps/mod.rs`.
//! 2. Compile. A method that is new in the trait of custom sessions has to be passed on in `replay`:
//!    the default of the trait would act on the replacement session.
//! 3. Run the tests here, which assert what is relied on, then `cargo test --test proxy --test requests`.
//!
//! What is relied on:
//!
//! | Function | Hidden or not promised |
//! |---|---|
//! | [`http1_session`] | `set_pipelined_prefix`: these bytes are parsed before anything is read from the connection, and what follows the head in them is the beginning of the body |
//! | [`returned_stream`] | `ReusedHttpStream::consume`: a connection comes back as the same object, with nothing of the next request read |
//! | [`give_back`] | a session that has answered nothing returns its connection as it is |
//! | [`write_tasks`] | `response_duplex_vec`: writes head and body, and flushes once |
//! | [`reset`] | `read_body_or_idle(true)`: pends until the client resets the stream or goes away |
//! | [`replay()`] | `ServerSession::new_custom` and the trait of custom sessions |
//!
//! Beside these, `downstream/h2_heads.rs` hands the memory account of an HTTP/2 connection to its
//! requests as the user data of a `ProxyDigest`, and `exchange.rs` lets Pingora's client write the head
//! of a HEAD request that goes nowhere, as its reader takes the method from there.

use bytes::BytesMut;
use pingora::apps::ReusedHttpStream;
use pingora::protocols::Stream;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::proxy::Session;
use pingora::{BError, Error, ErrorType, Result};

mod replay;
mod stream;

pub(in crate::proxy) use replay::{Restore, replay};
pub(in crate::proxy) use stream::stream_without_details;

/// A session on a connection from which `message` was read already: a head, and what has arrived of
/// its body. After the request `reuses` more may follow on the connection.
pub(in crate::proxy) fn http1_session(
    connection: Stream,
    message: BytesMut,
    reuses: u32,
) -> ServerSession {
    let mut session = ServerSession::new_http1(connection);
    session.set_pipelined_prefix(message);
    session.set_keepalive_reuses_remaining(Some(reuses));
    session
}

/// The connection of a session that has ended, for its next request.
///
/// The settings that come with it would carry bytes of the next request that Pingora has read;
/// there are none, as the connection returns only one message.
pub(in crate::proxy) fn returned_stream(reused: ReusedHttpStream) -> Stream {
    reused.consume().0
}

/// Makes the connection of a session, whose request has no body and received no answer, available
/// again when the session ends.
pub(in crate::proxy) fn give_back(session: &mut Session) {
    session.set_keepalive(Some(0));
    session.downstream_session.set_keepalive_reuses_remaining(Some(1));
}

/// Writes parts of an answer to the client.
pub(in crate::proxy) async fn write_tasks(
    session: &mut Session,
    tasks: Vec<HttpTask>,
) -> Result<bool> {
    session.downstream_session.response_duplex_vec(tasks).await
}

/// Waits until the client abandons a request whose body was read: the HTTP/2 stream is reset, or
/// the connection has ended.
pub(in crate::proxy) async fn reset(session: &mut Session) -> BError {
    let idle = session.downstream_session.read_body_or_idle(true).await;
    idle.err().unwrap_or_else(|| Error::new(ErrorType::H2Error))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pingora::apps::HttpPersistentSettings;
    use pingora::http::ResponseHeader;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// A session that was given the first bytes of a POST, and the client's end of its connection.
    fn session(first: &str) -> (ServerSession, DuplexStream) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        (http1_session(Box::new(server), first.as_bytes().into(), 5), client)
    }

    const POST: &str = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";

    async fn body(session: &mut ServerSession) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(piece) = session.read_request_body().await.unwrap() {
            body.extend_from_slice(&piece);
        }
        body
    }

    fn answer() -> Vec<HttpTask> {
        let mut head = ResponseHeader::build(200, None).unwrap();
        head.insert_header("Content-Length", 2).unwrap();
        let body = Some(Bytes::from_static(b"ok"));
        vec![HttpTask::Header(Box::new(head), false), HttpTask::Body(body, true)]
    }

    /// Ends a session as Pingora's proxy does.
    async fn returned(session: ServerSession) -> Stream {
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.unwrap().unwrap();
        returned_stream(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }

    #[tokio::test]
    async fn the_bytes_that_were_read_come_before_those_of_the_connection() {
        let (mut session, mut client) = session(&format!("{POST}ab"));
        client.write_all(b"cde").await.unwrap();
        assert!(session.read_request().await.unwrap());
        assert_eq!(session.req_header().uri.path(), "/a");
        assert_eq!(body(&mut session).await, b"abcde");
    }

    #[tokio::test]
    async fn an_answer_is_written_at_once_and_the_connection_comes_back() {
        let (mut session, mut client) = session(&format!("{POST}abcde"));
        assert!(session.read_request().await.unwrap());
        assert_eq!(body(&mut session).await, b"abcde");
        session.response_duplex_vec(answer()).await.unwrap();
        let mut bytes = [0; 1024];
        let read = client.read(&mut bytes).await.unwrap();
        let answer = String::from_utf8_lossy(&bytes[..read]).into_owned();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"),
            "{answer}"
        );
        assert!(session.response_written().is_some());
        assert!(returned(session).await.into_any().is::<DuplexStream>());
    }

    #[tokio::test]
    async fn a_body_that_was_read_is_read_once_more_and_the_session_comes_back() {
        let (mut session, mut client) = session(&format!("{POST}abcde"));
        assert!(session.read_request().await.unwrap());
        let read = body(&mut session).await;
        let restore = replay(&mut session, read.into());
        assert_eq!(session.req_header().uri.path(), "/a");
        assert!(!session.is_body_done());
        assert_eq!(body(&mut session).await, b"abcde");
        assert!(session.is_body_done());
        session.response_duplex_vec(answer()).await.unwrap();
        restore.restore(&mut session);
        assert!(session.response_written().is_some());
        let mut bytes = [0; 1024];
        assert!(client.read(&mut bytes).await.unwrap() > 0);
        assert!(returned(session).await.into_any().is::<DuplexStream>());
    }

    #[tokio::test]
    async fn a_client_that_goes_away_ends_the_wait() {
        let (mut session, client) = session(&format!("{POST}abcde"));
        assert!(session.read_request().await.unwrap());
        body(&mut session).await;
        drop(client);
        // Over HTTP/1 the end of the connection may not be an error.
        let ended = session.read_body_or_idle(true).await;
        assert!(ended.is_err() || ended.is_ok_and(|piece| piece.is_none()));
    }
}
