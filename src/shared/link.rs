//! The thread that speaks to the store: one connection, to which messages go in order, a batch at a time. What comes
//! while a batch is under way is the next one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::mpsc::{Receiver, WeakSender};
use uuid::Uuid;

use super::OnEvent;
use super::events::{Event, Replica};
use super::keys::Keys;
use super::listen::Listener;
use super::nodes::{Nodes, too_slow};
use super::queue::{Back, Message};
use super::script::Batch;
use super::status::{Counts, Status};
use crate::config::Shared;

/// Messages of one batch.
const BATCH: usize = 256;

/// What is kept to be sent when the store answers again.
const BACKLOG: usize = 4096;

/// For opening a connection, and for an answer that no request waits for: this, or more where requests wait longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the store is tried while it does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often this process says that it can be heard.
const BEAT: Duration = Duration::from_secs(5);

pub struct Link {
    settings: Shared,
    keys: Keys,
    channel: String,
    replica: Replica,
    status: Arc<Status>,
    back: Back,
}

impl Link {
    pub fn new(
        settings: Shared,
        (status, counts): (Arc<Status>, Arc<Counts>),
        queue: WeakSender<Message>,
    ) -> Self {
        let keys = Keys::new(&settings.store);
        let channel = keys.channel();
        let replica = *Uuid::new_v4().as_bytes();
        Self { settings, keys, channel, replica, status, back: Back { queue, counts } }
    }

    /// Starts the thread, which ends when nobody can send messages any more.
    pub fn start(self, waiting: Receiver<Message>, on_event: OnEvent) -> std::io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("shared".into());
        thread.spawn(move || {
            let listener = Listener {
                store: &self.settings.store,
                channel: &self.channel,
                replica: &self.replica,
                status: &self.status,
                counts: &self.back.counts,
                on_event,
            };
            runtime.block_on(async {
                tokio::select! {
                    () = self.run(waiting) => {}
                    () = listener.run() => {}
                }
            });
        })?;
        Ok(())
    }

    async fn run(&self, mut waiting: Receiver<Message>) {
        let mut backlog = VecDeque::new();
        let mut pause = FIRST_PAUSE;
        loop {
            let why = match self.open().await {
                Ok(mut nodes) => {
                    if self.status.set_up() {
                        tracing::info!(store = %self.settings.store, "shared: the store answers again");
                    }
                    let up = Instant::now();
                    let ended = self.serve(&mut nodes, &mut waiting, &mut backlog).await;
                    let Some(why) = ended else { return };
                    if up.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    why
                }
                Err(why) => why,
            };
            if self.status.set_down(why.clone()) {
                tracing::warn!(
                    store = %self.settings.store,
                    on_failure = self.settings.on_failure.as_str(),
                    "shared: the store {why}"
                );
            }
            if !self.wait(pause, &mut waiting, &mut backlog).await {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn open(&self) -> Result<Nodes, String> {
        let opened = Nodes::open(&self.settings, self.batch());
        let opened = tokio::time::timeout(self.limit(), opened).await;
        opened.unwrap_or_else(|_| Err("does not answer".into()))
    }

    fn batch(&self) -> Batch<'_> {
        Batch { keys: &self.keys, channel: &self.channel, replica: &self.replica, back: &self.back }
    }

    /// Sends what waits, until the connection is of no more use, for this reason; `None`: nobody sends any more.
    async fn serve(
        &self,
        nodes: &mut Nodes,
        waiting: &mut Receiver<Message>,
        backlog: &mut VecDeque<Message>,
    ) -> Option<String> {
        let mut beat = tokio::time::interval(BEAT);
        let mut messages = Vec::with_capacity(BATCH);
        loop {
            let first = backlog.len().min(BATCH);
            messages.extend(backlog.drain(..first));
            if messages.is_empty() {
                tokio::select! {
                    received = waiting.recv_many(&mut messages, BATCH) => {
                        if received == 0 {
                            return None;
                        }
                    }
                    _ = beat.tick() => messages.push(Message::Publish(Event::Beat)),
                    () = self.status.tripped.notified() => return Some(self.too_slow()),
                }
            }
            let sent = tokio::select! {
                sent = nodes.send(self.batch(), &mut messages) => sent,
                () = self.status.tripped.notified() => Err(self.too_slow()),
                () = tokio::time::sleep(self.limit()) => Err("does not answer".into()),
            };
            if let Err(why) = sent {
                // Before those that wait learn that they get no answer.
                self.status.close();
                messages
                    .drain(..)
                    .chain(nodes.unanswered())
                    .for_each(|message| self.lose(&message));
                return Some(why);
            }
        }
    }

    /// Waits, and keeps what is to be sent later. `false`: nobody sends any more.
    async fn wait(
        &self,
        pause: Duration,
        waiting: &mut Receiver<Message>,
        backlog: &mut VecDeque<Message>,
    ) -> bool {
        let end = tokio::time::Instant::now() + pause;
        loop {
            let message = tokio::time::timeout_at(end, waiting.recv());
            match message.await {
                Err(_) => return true,
                Ok(None) => return false,
                // An event would be heard too late.
                Ok(Some(message @ (Message::Take(_) | Message::Publish(_)))) => self.lose(&message),
                Ok(Some(message)) if backlog.len() < BACKLOG => backlog.push_back(message),
                Ok(Some(message)) => self.lose(&message),
            }
        }
    }

    /// Counts what the store is not told, or perhaps not: what it was told is not repeated.
    fn lose(&self, message: &Message) {
        // A request decides without the store, and a heartbeat tells nothing.
        if !matches!(message, Message::Take(_) | Message::Publish(Event::Beat)) {
            Counts::add(&self.back.counts.dropped);
        }
    }

    /// For an answer that no request waits for.
    fn limit(&self) -> Duration {
        CONNECT_TIMEOUT.max(self.settings.timeout)
    }

    fn too_slow(&self) -> String {
        too_slow(self.settings.timeout)
    }
}
