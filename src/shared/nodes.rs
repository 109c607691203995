//! The servers of the store: one, or those of a cluster, each with the keys of some tokens.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::connect;
use super::node::Node;
use super::queue::Message;
use super::script::Batch;
use super::slots::{slot_of, tag_of};
use crate::config::Shared;

/// Answers in time that are wanted in a row before requests may ask, so that a store that is slow now and then is not
/// asked in its better moments.
const PROBES: usize = 5;
const PROBE_PAUSE: Duration = Duration::from_millis(20);

pub struct Nodes(Vec<Node>);

impl Nodes {
    /// Opens connections to servers that answer in time and take what is written.
    pub async fn open(settings: &Shared, batch: Batch<'_>) -> Result<Self, String> {
        let mut nodes = Vec::new();
        for (connection, slots) in connect::commands(&settings.store).await? {
            nodes.push(Node::open(connection, slots, batch).await?);
        }
        for nth in 0..PROBES {
            if nth > 0 {
                tokio::time::sleep(PROBE_PAUSE).await;
            }
            for node in &mut nodes {
                if node.probe().await? > settings.timeout {
                    return Err(too_slow(settings.timeout));
                }
            }
        }
        Ok(Self(nodes))
    }

    /// Sends messages, and hands out the answers.
    pub async fn send(
        &mut self,
        batch: Batch<'_>,
        messages: &mut Vec<Message>,
    ) -> Result<(), String> {
        if let [node] = &mut self.0[..] {
            node.messages.append(messages);
            return node.send(batch).await;
        }
        for message in messages.drain(..) {
            let place = self.place(&message);
            self.0[place].messages.push(message);
        }
        send_all(&mut self.0, batch).await
    }

    /// What was sent and not answered, when sending has failed or was given up.
    pub fn unanswered(&mut self) -> impl Iterator<Item = Message> {
        self.0.iter_mut().flat_map(|node| node.messages.drain(..))
    }

    /// Which server a message goes to.
    fn place(&self, message: &Message) -> usize {
        // What is published anywhere is heard everywhere.
        let Some(token) = message.token() else { return 0 };
        let slot = slot_of(&tag_of(token));
        self.0.iter().position(|node| node.has(slot)).unwrap_or(0)
    }
}

/// Sends to all servers at the same time, until all have answered or one has failed.
async fn send_all(nodes: &mut [Node], batch: Batch<'_>) -> Result<(), String> {
    let asked = nodes.iter_mut().filter(|node| !node.messages.is_empty());
    let mut sends: Vec<_> = asked.map(|node| Box::pin(node.send(batch))).collect();
    poll_fn(|context| {
        let mut failed = None;
        sends.retain_mut(|send| match send.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(why)) => {
                failed = Some(why);
                false
            }
        });
        match failed {
            Some(why) => Poll::Ready(Err(why)),
            None if sends.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

/// What is said of a store that took longer than requests wait.
pub fn too_slow(timeout: Duration) -> String {
    format!("did not answer within {}ms (shared.timeout)", timeout.as_millis())
}
