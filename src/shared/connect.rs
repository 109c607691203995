//! Opens connections to the store: to the server that the configuration names, or to the one that Sentinels name.
//!
//! TLS is the guard's own, with the same rules as towards the backend.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{Cmd, ErrorKind, RedisConnectionInfo, RedisError};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::slots::{self, Slots};
use crate::config::Server;
use crate::config::shared::{Location, Store};
use crate::tls;
use crate::tls::file::Files;

/// For the answer of a Sentinel, or of a member of a cluster; another one is asked then.
const MEMBER_TIMEOUT: Duration = Duration::from_millis(300);

/// The most characters of a server's own words in a sentence.
const MAX_WORDS: usize = 120;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection with the task that reads from it, which ends with it.
pub struct Connection {
    pub commands: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Opens connections for commands, each with the slots that its server has. The error is the end of a sentence about the
/// store.
pub async fn commands(store: &Store) -> Result<Vec<(Connection, Slots)>, String> {
    if let Location::Cluster(members) = &store.location {
        return cluster(store, members).await;
    }
    let server = find(store).await?;
    let mut connection = open(store, &server, info(store)).await?;
    if matches!(store.location, Location::Sentinels { .. }) {
        // Sentinels may not know yet that it is none any more.
        let role: Vec<redis::Value> = ask(&mut connection, redis::cmd("ROLE")).await?;
        if !matches!(role.first(), Some(redis::Value::BulkString(role)) if role == b"master") {
            return Err(format!("{} is not the master", server.authority()));
        }
    }
    Ok(vec![(connection, slots::all())])
}

/// Opens connections to the masters of a cluster, which any of its members knows.
async fn cluster(store: &Store, members: &[Server]) -> Result<Vec<(Connection, Slots)>, String> {
    let mut why = String::new();
    for member in members {
        let asked = tokio::time::timeout(MEMBER_TIMEOUT, async {
            let mut connection = open(store, member, info(store)).await?;
            let mut question = redis::cmd("CLUSTER");
            question.arg("SLOTS");
            ask(&mut connection, question).await
        });
        let masters = match asked.await {
            Ok(Ok(slots)) => masters(slots, member),
            Ok(Err(error)) => {
                why = format!("has no member that answers: {} {error}", member.authority());
                continue;
            }
            Err(_) => {
                why = format!("has no member that answers: {} does not", member.authority());
                continue;
            }
        };
        if masters.is_empty() {
            return Err("is a cluster without slots".into());
        }
        let mut connections = Vec::with_capacity(masters.len());
        for (server, slots) in masters {
            connections.push((open(store, &server, info(store)).await?, slots));
        }
        return Ok(connections);
    }
    Err(why)
}

/// Reads what a member says of the slots: first and last slot, and the master's host and port first.
fn masters(found: Vec<Vec<redis::Value>>, member: &Server) -> Vec<(Server, Slots)> {
    use redis::Value::{Array, BulkString, Int};
    let mut masters: Vec<(Server, Slots)> = Vec::new();
    for entry in found {
        let [Int(first), Int(last), Array(master), ..] = &entry[..] else { continue };
        let [host, Int(port), ..] = &master[..] else { continue };
        // A member that does not know its own address leaves it out.
        let host = match host {
            BulkString(host) if !host.is_empty() && host != b"?" => {
                String::from_utf8_lossy(host).into_owned()
            }
            _ => member.host.clone(),
        };
        let numbers = (u16::try_from(*first), u16::try_from(*last), u16::try_from(*port));
        let (Ok(first), Ok(last), Ok(port)) = numbers else { continue };
        let server = Server { host, port, tls: member.tls };
        match masters.iter_mut().find(|(known, _)| *known == server) {
            Some((_, slots)) => slots.push(first..=last),
            None => masters.push((server, vec![first..=last])),
        }
    }
    masters
}

/// Opens a connection for events.
pub async fn events(store: &Store) -> Result<PubSub, String> {
    let server = find(store).await?;
    let stream = stream(store, &server).await?;
    PubSub::new(&info(store), stream).await.map_err(|error| describe(&error))
}

/// What an error means, without anything that could be secret.
pub fn describe(error: &RedisError) -> String {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return "does not accept the user and the password".into();
    }
    let words = match error.code() {
        Some("OOM") => return "is full (OOM): it takes nothing new".into(),
        Some("MOVED" | "ASK") => {
            return "is a cluster whose slots are elsewhere: write redis-cluster:// if it is not written so".into();
        }
        Some("READONLY") => return "is read-only (READONLY): it is a replica".into(),
        Some("NOAUTH" | "WRONGPASS") => return "does not accept the user and the password".into(),
        Some("NOPERM") => {
            return "does not allow the user what the guard does (NOPERM): see docs/scaling.md"
                .into();
        }
        Some(code) => format!("{code} {}", error.detail().unwrap_or_default()),
        None => error.to_string(),
    };
    let words: String = words.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
    format!("failed: {}", words.trim())
}

fn info(store: &Store) -> RedisConnectionInfo {
    let info = RedisConnectionInfo::default().set_skip_set_lib_name().set_db(store.database.into());
    let info = match &store.username {
        Some(username) => info.set_username(username),
        None => info,
    };
    match &store.password {
        Some(password) => info.set_password(password.reveal()),
        None => info,
    }
}

/// The server to connect to.
async fn find(store: &Store) -> Result<Server, String> {
    let (sentinels, master) = match &store.location {
        Location::Server(server) => return Ok(server.clone()),
        Location::Cluster(members) => return reachable(store, members).await,
        Location::Sentinels { sentinels, master } => (sentinels, master),
    };
    let mut why = String::new();
    for sentinel in sentinels {
        let asked = tokio::time::timeout(MEMBER_TIMEOUT, ask_sentinel(store, sentinel, master));
        why = match asked.await {
            Ok(Ok(Some((host, port)))) => return Ok(Server { host, port, tls: store.tls }),
            Ok(Ok(None)) => format!("knows no master of the name {master}"),
            Ok(Err(why)) => why,
            Err(_) => "did not answer in time".into(),
        };
        why = format!("has no Sentinel that knows the master: {} {why}", sentinel.authority());
    }
    Err(why)
}

/// A member of a cluster that can be reached: events are heard at all of them.
async fn reachable(store: &Store, members: &[Server]) -> Result<Server, String> {
    let mut why = String::new();
    for member in members {
        match tokio::time::timeout(MEMBER_TIMEOUT, open(store, member, info(store))).await {
            Ok(Ok(_)) => return Ok(member.clone()),
            Ok(Err(error)) => why = error,
            Err(_) => why = "does not answer".into(),
        }
    }
    Err(why)
}

async fn ask_sentinel(
    store: &Store,
    sentinel: &Server,
    master: &str,
) -> Result<Option<(String, u16)>, String> {
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(master);
    // Most Sentinels have no password of their own, and refuse one.
    let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
    let mut connection = open(store, sentinel, bare).await?;
    match question.query_async(&mut connection.commands).await {
        Ok(found) => Ok(found),
        Err(error)
            if matches!(error.code(), Some("NOAUTH" | "NOPERM")) && store.password.is_some() =>
        {
            let mut connection = open(store, sentinel, info(store).set_db(0)).await?;
            ask(&mut connection, question).await
        }
        Err(error) => Err(describe(&error)),
    }
}

async fn open(
    store: &Store,
    server: &Server,
    info: RedisConnectionInfo,
) -> Result<Connection, String> {
    let stream = stream(store, server).await?;
    let (opened, connection) = oneshot::channel();
    let driver = tokio::spawn(async move {
        match MultiplexedConnection::new(&info, stream).await {
            Ok((commands, driver)) => {
                let _ = opened.send(Ok(commands));
                driver.await;
            }
            Err(error) => {
                let _ = opened.send(Err(describe(&error)));
            }
        }
    });
    let mut connection = match connection.await {
        Ok(commands) => Connection { commands: commands?, driver },
        Err(_) => return Err("failed: the task of the connection has ended".into()),
    };
    // Whoever waits has a limit of its own.
    connection.commands.set_response_timeout(Duration::from_secs(3600));
    Ok(connection)
}

async fn ask<T: redis::FromRedisValue>(
    connection: &mut Connection,
    question: Cmd,
) -> Result<T, String> {
    question.query_async(&mut connection.commands).await.map_err(|error| describe(&error))
}

async fn stream(store: &Store, server: &Server) -> Result<Box<dyn Stream>, String> {
    let at = server.authority();
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await;
    let stream = stream.map_err(|error| format!("cannot be reached at {at}: {error}"))?;
    // A message is a segment of its own, and waits for no other.
    let _ = stream.set_nodelay(true);
    if !server.tls {
        return Ok(Box::new(stream));
    }
    let mut files = Files::new(SystemTime::now());
    let config = tls::client::for_store(store.ca.as_deref(), &mut files);
    let config = config.ok_or_else(|| {
        let errors = files.finish().err().unwrap_or_default();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("cannot be verified: {}", errors.join("; "))
    })?;
    let name = ServerName::try_from(server.host.clone());
    let name = name.map_err(|_| format!("has a name that no certificate can be for: {at}"))?;
    let secured = TlsConnector::from(Arc::clone(&config)).connect(name, stream).await;
    let secured =
        secured.map_err(|error| format!("cannot be spoken to over TLS at {at}: {error}"))?;
    Ok(Box::new(secured))
}
