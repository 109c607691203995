//! The header in which a load balancer names the client whose connection it forwards: PROXY
//! protocol, version 1 and 2.
//!
//! It is read to its last byte and no further, as what follows belongs to TLS or HTTP.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

pub mod header;

use header::{Malformed, Preamble, V1_MAX, V2_HEAD, V2_MAX};

/// Why there is no header.
#[derive(Debug)]
pub(in crate::proxy::downstream) enum Missing {
    /// The connection ended or failed.
    Closed,
    /// It began with something else.
    Malformed(Malformed),
}

impl From<io::Error> for Missing {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

impl From<Malformed> for Missing {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Reads the header. `None`: the load balancer connects for itself, for example for a health check.
///
/// SECURITY: no more than `V2_MAX` bytes are read, and memory is allocated only for what has
/// arrived. The caller bounds the time.
pub(in crate::proxy::downstream) async fn read(
    stream: &mut TcpStream,
) -> Result<Option<SocketAddr>, Missing> {
    let mut first = [0; header::SHORTEST];
    // Byte by byte until the bytes can no longer be a header, so that a client without one fails
    // immediately.
    let mut read = 0;
    while read < first.len() {
        let more = stream.read(&mut first[read..]).await?;
        if more == 0 {
            return Err(Missing::Closed);
        }
        read += more;
        header::preamble(&first[..read])?;
    }
    match header::preamble(&first)? {
        Preamble::V2 => {
            let mut head = [0; V2_HEAD];
            head[..first.len()].copy_from_slice(&first);
            stream.read_exact(&mut head[first.len()..]).await?;
            let length = header::v2_length(&head)?;
            let mut rest = Vec::with_capacity(length.min(V2_MAX));
            let wanted = u64::try_from(length).unwrap_or(u64::MAX);
            if stream.take(wanted).read_to_end(&mut rest).await? < length {
                return Err(Missing::Closed);
            }
            Ok(header::v2(&head, &rest)?)
        }
        Preamble::V1 => {
            let mut line = Vec::with_capacity(V1_MAX);
            line.extend_from_slice(&first);
            read_line(stream, &mut line).await?;
            Ok(header::v1(&line)?)
        }
    }
}

/// Reads to the end of a line. A line that has arrived as a whole takes one peek and one read.
async fn read_line(stream: &mut TcpStream, line: &mut Vec<u8>) -> Result<(), Missing> {
    let mut ahead = [0; V1_MAX];
    let seen = stream.peek(&mut ahead).await?;
    let rest = ahead[..seen].iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if line.len() + rest <= V1_MAX && rest > 0 {
        stream.read_exact(&mut ahead[..rest]).await?;
        line.extend_from_slice(&ahead[..rest]);
    }
    while !line.ends_with(b"\n") {
        if line.len() >= V1_MAX {
            return Err(Malformed::LONG.into());
        }
        line.push(stream.read_u8().await?);
    }
    Ok(())
}
