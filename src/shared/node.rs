//! One server of the store: its connection, the script as it knows it, and its clock.

use std::time::{Duration, Instant};

use super::claim::{Answer, Removed};
use super::clock::StoreClock;
use super::connect::{Connection, describe};
use super::queue::{Back, Message, Take};
use super::script::{Batch, Reply, Script};
use super::slots::{Slots, tag_within};
use super::status::Counts;

pub struct Node {
    connection: Connection,
    slots: Slots,
    script: Script,
    clock: StoreClock,
    /// A key of this server that may be written.
    probe: String,
    /// To be sent, or not answered yet.
    pub messages: Vec<Message>,
}

impl Node {
    pub async fn open(
        mut connection: Connection,
        slots: Slots,
        batch: Batch<'_>,
    ) -> Result<Self, String> {
        let script = Script::load(&mut connection).await?;
        let probe = batch.keys.probe(&tag_within(&slots));
        let clock = StoreClock::new();
        Ok(Self { connection, slots, script, clock, probe, messages: Vec::new() })
    }

    pub fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }

    /// Writes something. Returns how long that took.
    pub async fn probe(&mut self) -> Result<Duration, String> {
        let sent = Instant::now();
        let time = self.script.probe(&mut self.connection, &self.probe).await?;
        let received = Instant::now();
        self.clock.learn(time, sent, received);
        Ok(received - sent)
    }

    /// Sends the messages, and hands out the answers. On failure those that were not done are left.
    pub async fn send(&mut self, batch: Batch<'_>) -> Result<(), String> {
        let mut is_loaded = true;
        while !self.messages.is_empty() {
            if !is_loaded {
                self.script = Script::load(&mut self.connection).await?;
            }
            let commands = batch.commands(&self.script, &mut self.messages, &self.clock);
            if self.messages.is_empty() {
                return Ok(());
            }
            let sent = Instant::now();
            let connection = &mut self.connection.commands;
            let replies = connection.send_packed_commands(&commands, 0, self.messages.len()).await;
            let replies = replies.map_err(|error| describe(&error))?;
            let received = Instant::now();
            let mut failed = None;
            let mut left = Vec::new();
            for (message, reply) in self.messages.drain(..).zip(replies) {
                match (Reply::of(reply), message) {
                    (Reply::Done(numbers), message) => {
                        if let Some(time) = numbers.get(1) {
                            self.clock.learn(*time, sent, received);
                        }
                        match message {
                            Message::Take(take) => answer(*take, &numbers, batch.back),
                            Message::Publish(_) => Counts::add(&batch.back.counts.sent),
                            _ => {}
                        }
                    }
                    (Reply::NoScript, message) if is_loaded => left.push(message),
                    (Reply::NoScript, message) => {
                        left.push(message);
                        failed = Some("forgets the script at once".to_owned());
                    }
                    (Reply::Failed(why), message) => {
                        left.push(message);
                        failed = Some(why);
                    }
                }
            }
            self.messages = left;
            if let Some(why) = failed {
                return Err(why);
            }
            is_loaded = false;
        }
        Ok(())
    }
}

/// Hands an answer to the request that waits for it. One that has stopped waiting gives back what it was given.
fn answer(take: Take, numbers: &[i64], back: &Back) {
    let &[late, _, rate_wait, taken, detail] = numbers else { return };
    if late != 0 {
        return;
    }
    let wait = Duration::from_micros(u64::try_from(detail).unwrap_or_default());
    let removal = match taken {
        1 => Some(Removed::Counted(detail)),
        2 => Some(Removed::Again(detail)),
        3 => Some(Removed::Free),
        4 => Some(Removed::Full(wait)),
        _ => None,
    };
    let rate_wait = u64::try_from(rate_wait).ok().filter(|wait| *wait > 0);
    let rate_wait = rate_wait.map(Duration::from_micros);
    let Take { claim, reply, .. } = take;
    let _ = reply.send(Answer { rate_wait, removal, claim, back: Some(back.clone()) });
}
