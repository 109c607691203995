//! State that several replicas share through a Redis or Valkey server: the rates of tokens, the budgets of
//! `deprovisioning`, tokens that Wire refused and failures by address.
//!
//! Budgets are asked for, by one script for a request that one concerns; everything else is told to the other
//! replicas through a channel, and never looked up. Messages go through a bounded queue to a thread of its own
//! (`link`), which has the only connection for them; another one hears the events of others.
//!
//! A request waits for the store no longer than `shared.timeout`. After a few that got no answer none waits, until the
//! thread has found that the store answers again.

#![cfg_attr(not(feature = "shared"), allow(dead_code, reason = "nothing speaks to a store then"))]

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

mod claim;
mod clock;
#[cfg(feature = "shared")]
mod connect;
mod events;
mod keys;
#[cfg(feature = "shared")]
mod link;
#[cfg(feature = "shared")]
mod listen;
#[cfg(feature = "shared")]
mod node;
#[cfg(feature = "shared")]
mod nodes;
mod queue;
#[cfg(feature = "shared")]
mod script;
mod slots;
mod status;

pub use claim::{Answer, Claim, RateClaim, RemovalClaim, Removed};
pub use events::Event;
pub use keys::Keys;
pub use status::{Counts, Down, SECONDS, Status};

use crate::config::Shared;
use crate::digest::TokenDigest;
use queue::{CAPACITY, Message, Take};

/// How long messages that were sent may take to arrive, when the process ends.
const LAST_MESSAGES: Duration = Duration::from_millis(50);

/// How long the start of the process waits for the store.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// The store, as one configuration has it.
pub struct SharedState {
    settings: Shared,
    keys: Keys,
    queue: Sender<Message>,
    /// Taken when the thread starts.
    waiting: Mutex<Option<Receiver<Message>>>,
    status: Arc<Status>,
    counts: Arc<Counts>,
}

/// The store gave no answer in time, or was not asked, as it gave none to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// What is done with the events of other replicas.
pub type OnEvent = Box<dyn Fn(Event) + Send>;

impl SharedState {
    pub fn new(settings: Shared) -> Self {
        let (queue, waiting) = channel(CAPACITY);
        Self {
            keys: Keys::new(&settings.store),
            settings,
            queue,
            waiting: Mutex::new(Some(waiting)),
            status: Arc::default(),
            counts: Arc::default(),
        }
    }

    /// The same, which goes on counting.
    pub(crate) fn counting_on(self, before: &Self) -> Self {
        Self { counts: Arc::clone(&before.counts), ..self }
    }

    /// Connects to the store, and waits a moment for that, so that the first requests can ask it. Later calls do nothing.
    pub fn start(&self, on_event: OnEvent) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(waiting) = waiting else { return };
        if let Err(error) = self.spawn(waiting, on_event) {
            self.status.set_down(format!("no thread or runtime can be had for it: {error}"));
            tracing::error!(%error, "shared: the store is not used: no thread or runtime to be had");
        }
        self.status.wait_for_first(FIRST_ANSWER);
    }

    #[cfg(feature = "shared")]
    fn spawn(&self, waiting: Receiver<Message>, on_event: OnEvent) -> std::io::Result<()> {
        let link = link::Link::new(
            self.settings.clone(),
            (Arc::clone(&self.status), Arc::clone(&self.counts)),
            self.queue.downgrade(),
        );
        link.start(waiting, on_event)
    }

    #[cfg(not(feature = "shared"))]
    fn spawn(&self, _: Receiver<Message>, _: OnEvent) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    pub fn settings(&self) -> &Shared {
        &self.settings
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn status(&self) -> &Status {
        &self.status
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Asks the store for what a request needs.
    pub async fn take(&self, claim: Claim) -> Result<Answer, Unavailable> {
        if !self.status.is_up() {
            Counts::add(&self.counts.unavailable);
            return Err(Unavailable);
        }
        let asked = Instant::now();
        let timeout = self.settings.timeout;
        let (reply, mut answer) = oneshot::channel();
        let take = Take { claim, until: asked + timeout, reply };
        if self.queue.try_send(Message::Take(Box::new(take))).is_err() {
            Counts::add(&self.counts.unavailable);
            return Err(Unavailable);
        }
        let answered = match tokio::time::timeout(timeout, &mut answer).await {
            Ok(Ok(answer)) => Some(answer),
            // The connection is lost.
            Ok(Err(_)) => {
                Counts::add(&self.counts.unavailable);
                return Err(Unavailable);
            }
            Err(_) => {
                // What comes later is given back, and what came just now is not lost.
                answer.close();
                answer.try_recv().ok()
            }
        };
        let Some(answer) = answered else {
            Counts::add(&self.counts.timed_out);
            self.status.timed_out();
            return Err(Unavailable);
        };
        self.counts.answered(asked.elapsed());
        self.status.answered();
        Ok(answer)
    }

    /// Tells the store that a request with this token activates a user.
    pub fn activate(&self, token: TokenDigest, user: u128) {
        self.tell(Message::Activate(self.keys.token(token), self.keys.user(token, user)));
    }

    /// Tells the other replicas.
    pub fn publish(&self, event: Event) {
        self.tell(Message::Publish(event));
    }

    /// Waits until the store was told what became of all requests, but not for long: what it is not told counts.
    pub fn flush(&self, most: Duration) {
        let end = Instant::now() + most;
        let is_waiting = || self.queue.capacity() < CAPACITY;
        while self.status.is_up() && is_waiting() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.status.is_up() {
            std::thread::sleep(LAST_MESSAGES);
        }
    }

    fn tell(&self, message: Message) {
        if self.queue.try_send(message).is_err() {
            Counts::add(&self.counts.dropped);
        }
    }
}

impl fmt::Debug for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedState").field("settings", &self.settings).finish_non_exhaustive()
    }
}
