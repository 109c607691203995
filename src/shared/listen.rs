//! Hears what other replicas publish, over a connection of its own.

use std::time::Duration;

use super::OnEvent;
use super::connect;
use super::events::{Event, Replica};
use super::status::{Counts, Status};
use crate::config::shared::Store;

/// For opening the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// This process hears itself more often than that, as long as the connection works.
const SILENCE: Duration = Duration::from_secs(15);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub struct Listener<'a> {
    pub store: &'a Store,
    pub channel: &'a str,
    pub replica: &'a Replica,
    pub status: &'a Status,
    pub counts: &'a Counts,
    pub on_event: OnEvent,
}

impl Listener<'_> {
    pub async fn run(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.listen().await {
                pause = FIRST_PAUSE;
            }
            self.status.set_listening(false);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Listens until the connection is lost. Returns whether there was one.
    async fn listen(&self) -> bool {
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, async {
            let mut events = connect::events(self.store).await.ok()?;
            events.subscribe(self.channel).await.ok()?;
            Some(events)
        });
        let Ok(Some(events)) = opened.await else { return false };
        self.status.set_listening(true);
        let mut messages = events.into_on_message();
        loop {
            let silence = tokio::time::sleep(SILENCE);
            tokio::pin!(silence);
            // Others' events do not count: nobody may be there.
            loop {
                let next = std::future::poll_fn(|context| {
                    futures_core::Stream::poll_next(std::pin::Pin::new(&mut messages), context)
                });
                let message = tokio::select! {
                    message = next => message,
                    () = &mut silence => return true,
                };
                let Some(message) = message else { return true };
                match Event::decode(message.get_payload_bytes()) {
                    Some((sender, _)) if sender == *self.replica => break,
                    Some((_, Event::Beat)) | None => {}
                    Some((_, event)) => {
                        Counts::add(&self.counts.received);
                        (self.on_event)(event);
                    }
                }
            }
        }
    }
}
