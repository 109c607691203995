//! The script that decides, and how a batch of messages is sent and answered.

use std::time::Instant;

use redis::{Pipeline, RedisError, Value};

use super::clock::StoreClock;
use super::connect::{Connection, describe};
use super::events::Replica;
use super::keys::{Keys, TokenHash};
use super::queue::{Back, Message};

const SCRIPT: &str = include_str!("budgets.lua");

/// The ends of the keys of a token's budgets, in the order of the script.
const KEYS: [&str; 5] = [":rate", ":users", ":limited", ":allowed", ":inactive"];

/// The script as one connection knows it.
pub struct Script {
    sha: String,
}

impl Script {
    /// Hands the script over to the server.
    pub async fn load(connection: &mut Connection) -> Result<Self, String> {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(SCRIPT);
        let loaded = load.query_async(&mut connection.commands).await;
        loaded.map(|sha| Self { sha }).map_err(|error| describe(&error))
    }

    /// Writes something, and returns the server's time.
    pub async fn probe(&self, connection: &mut Connection, key: &str) -> Result<i64, String> {
        let mut probe = redis::cmd("EVALSHA");
        probe.arg(&self.sha).arg(1).arg(key).arg("probe");
        let answer: Result<Vec<i64>, _> = probe.query_async(&mut connection.commands).await;
        let answer = answer.map_err(|error| describe(&error))?;
        answer.get(1).copied().ok_or_else(|| "gave an answer that cannot be read".into())
    }
}

/// What all messages are sent with.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    pub keys: &'a Keys,
    pub channel: &'a str,
    pub replica: &'a Replica,
    pub back: &'a Back,
}

impl Batch<'_> {
    /// One command for each message. A request that has stopped waiting is left out: its message is dropped.
    pub fn commands(
        &self,
        script: &Script,
        messages: &mut Vec<Message>,
        clock: &StoreClock,
    ) -> Pipeline {
        let now = Instant::now();
        messages.retain(|message| !matches!(message, Message::Take(take) if take.until <= now));
        let mut commands = redis::pipe();
        for message in messages.iter() {
            match message {
                Message::Take(take) => {
                    let deadline = clock.at(take.until).unwrap_or(i64::MAX);
                    let by =
                        take.claim.removal.map_or("-".into(), |removal| removal.allowance_name());
                    self.call(
                        script,
                        &mut commands,
                        &take.claim.token,
                        &by,
                        take.claim.arguments(deadline),
                    );
                }
                Message::Settle(settlement) => {
                    let by = settlement.removal.allowance_name();
                    self.call(
                        script,
                        &mut commands,
                        &settlement.token,
                        &by,
                        settlement.arguments(),
                    );
                }
                Message::Refund(token, rate) => {
                    let interval = format!("{:.3}", rate.microseconds().0);
                    let arguments = vec![b"refund".to_vec(), interval.into_bytes()];
                    self.call(script, &mut commands, token, "-", arguments);
                }
                Message::Activate(token, user) => {
                    let arguments = vec![b"activate".to_vec(), user.to_vec()];
                    self.call(script, &mut commands, token, "-", arguments);
                }
                Message::Publish(event) => {
                    commands.cmd("PUBLISH").arg(self.channel).arg(event.encode(self.replica));
                }
            }
        }
        commands
    }

    fn call(
        &self,
        script: &Script,
        commands: &mut Pipeline,
        token: &TokenHash,
        by: &str,
        arguments: Vec<Vec<u8>>,
    ) {
        let name = self.keys.of_budgets(token);
        let command = commands.cmd("EVALSHA").arg(&script.sha).arg(KEYS.len() + 1);
        for end in KEYS {
            command.arg(format!("{name}{end}"));
        }
        command.arg(format!("{name}:spent:{by}"));
        for argument in arguments {
            command.arg(argument);
        }
    }
}

/// What a server says of one message.
pub enum Reply {
    Done(Vec<i64>),
    /// It does not know the script, as it was started anew, or its scripts were flushed.
    NoScript,
    /// It cannot do what it was asked for.
    Failed(String),
}

impl Reply {
    pub fn of(value: Value) -> Self {
        match value {
            Value::ServerError(error) => {
                let error = RedisError::from(error);
                match error.code() {
                    Some("NOSCRIPT") => Self::NoScript,
                    _ => Self::Failed(describe(&error)),
                }
            }
            // The number of those who heard an event.
            Value::Int(_) => Self::Done(Vec::new()),
            value => match redis::from_redis_value(value) {
                Ok(numbers) => Self::Done(numbers),
                Err(_) => Self::Failed("gave an answer that cannot be read".into()),
            },
        }
    }
}
