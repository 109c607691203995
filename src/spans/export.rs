//! The thread that sends spans to the collector.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use ureq::Agent;
use uuid::Uuid;

use super::encode::encode;
use super::span::Request;
use super::{Counts, Message};

/// The maximum number of requests whose spans are sent together.
const BATCH: usize = 512;

/// How long the first request of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// The time limit for one batch, from the connection to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often a failure is logged.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Exporter {
    agent: Agent,
    url: String,
    instance: String,
    counts: Arc<Counts>,
}

impl Exporter {
    /// `otlp`: the collector's base URL.
    pub(super) fn new(otlp: &str, counts: Arc<Counts>) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Self {
            agent: config.into(),
            url: format!("{}/v1/traces", otlp.trim_end_matches('/')),
            instance: Uuid::new_v4().to_string(),
            counts,
        }
    }

    /// Sends until the last sender is gone.
    pub(super) fn run(self, messages: &Receiver<Message>) {
        let mut reported: Option<Instant> = None;
        while let Ok(first) = messages.recv() {
            let (batch, flushes) = gather(first, messages);
            if !batch.is_empty() {
                let requests = batch.len() as u64;
                match self.send(&batch) {
                    Ok(()) => self.counts.add_sent(requests),
                    Err(why) => {
                        self.counts.add_dropped(requests);
                        if reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
                            tracing::warn!("spans cannot be sent to tracing.otlp: {why}");
                            reported = Some(Instant::now());
                        }
                    }
                }
            }
            for flush in flushes {
                let _ = flush.try_send(());
            }
        }
    }

    fn send(&self, batch: &[Request]) -> Result<(), String> {
        let request = self.agent.post(&self.url).header("Content-Type", "application/x-protobuf");
        let answer =
            request.send(&encode(batch, &self.instance)[..]).map_err(|error| error.to_string())?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("the collector answers {}", status.as_u16())),
        }
    }
}

/// Collects what arrives within a short time, up to a full batch.
fn gather(first: Message, messages: &Receiver<Message>) -> (Vec<Request>, Vec<SyncSender<()>>) {
    let end = Instant::now() + GATHER;
    let (mut batch, mut flushes) = (Vec::new(), Vec::new());
    let mut next = Some(first);
    while let Some(message) = next.take() {
        match message {
            Message::Request(request) => batch.push(*request),
            Message::Flush(done) => flushes.push(done),
        }
        if batch.len() < BATCH && flushes.is_empty() {
            let wait = end.saturating_duration_since(Instant::now());
            next = messages.recv_timeout(wait).ok();
        }
    }
    (batch, flushes)
}
