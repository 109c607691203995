//! What waits to be sent to the store, in order: what was given back is there before the same client's next request
//! asks for it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::WeakSender;
use tokio::sync::oneshot;

use super::claim::{Answer, Claim, Settlement};
use super::events::Event;
use super::keys::{TokenHash, UserHash};
use super::status::Counts;
use crate::rate::Rate;

/// Messages that may wait; a request that finds no room decides without the store.
pub const CAPACITY: usize = 4096;

#[derive(Debug)]
pub enum Message {
    Take(Box<Take>),
    Settle(Settlement),
    /// One request is given back to a rate.
    Refund(TokenHash, Rate),
    /// The client activates a user.
    Activate(TokenHash, UserHash),
    Publish(Event),
}

impl Message {
    /// The token whose budgets it is about.
    pub fn token(&self) -> Option<&TokenHash> {
        match self {
            Self::Take(take) => Some(&take.claim.token),
            Self::Settle(settlement) => Some(&settlement.token),
            Self::Refund(token, _) | Self::Activate(token, _) => Some(token),
            Self::Publish(_) => None,
        }
    }
}

/// For what is given back: it keeps the queue of nobody else open.
#[derive(Debug, Clone)]
pub struct Back {
    pub queue: WeakSender<Message>,
    pub counts: Arc<Counts>,
}

impl Back {
    pub fn give(&self, message: Message) {
        if let Some(queue) = self.queue.upgrade()
            && queue.try_send(message).is_err()
        {
            Counts::add(&self.counts.dropped);
        }
    }
}

/// A request that waits for the store's answer.
#[derive(Debug)]
pub struct Take {
    pub claim: Claim,
    /// When it stops waiting.
    pub until: Instant,
    pub reply: oneshot::Sender<Answer>,
}
