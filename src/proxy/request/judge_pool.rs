//! Judges large bodies on separate threads.
//!
//! SECURITY: a worker serves many connections, and all of them would wait while it judges a body of
//! several megabytes. Small bodies are judged on the worker, as passing them to another thread
//! costs more than the verdict.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::evaluator::{BodyTask, Evaluator, RepairedBody};
use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::snapshot::Snapshot;

use super::recorder::RequestRecord;

/// The largest body, inflated, that is judged on a worker, in bytes. Many connections may send such
/// bodies at the same time, and each verdict takes up to two milliseconds; legitimate clients send
/// a few KiB for a user.
const ON_WORKER: usize = 32 * 1024;

/// Threads that judge bodies.
#[derive(Debug)]
pub(in crate::proxy) struct JudgePool {
    /// One permit for each large body that may be judged at the same time.
    turns: Arc<Semaphore>,
}

impl JudgePool {
    /// Half as many threads as the processor has cores, so that the workers keep the other half.
    pub(in crate::proxy) fn new() -> Self {
        let parallel = thread::available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new((parallel / 2).max(1))) }
    }

    /// Judges a body that was read. The record receives the rules that were only reported, and the
    /// time.
    pub(in crate::proxy) async fn judge(
        &self,
        snapshot: &Arc<Snapshot>,
        task: BodyTask,
        body: &Bytes,
        record: &mut RequestRecord,
    ) -> Result<Option<RepairedBody>, Refusal> {
        let started = Instant::now();
        let judged =
            Evaluator::judge_small_body(snapshot, task, body, ON_WORKER, &mut record.remarks);
        record.validation += started.elapsed();
        if let Some(verdict) = judged {
            return verdict;
        }
        let timeout = snapshot.config.limits.request_timeout;
        let (snapshot, body) = (Arc::clone(snapshot), body.clone());
        let mut remarks = record.remarks.clone();
        let judging = move || {
            let started = Instant::now();
            let verdict = Evaluator::judge_body(&snapshot, task, &body, &mut remarks);
            (verdict, remarks, started.elapsed())
        };
        let (verdict, remarks, took) = self.run_on_thread(timeout, judging).await?;
        record.remarks = remarks;
        record.validation += took;
        verdict
    }

    /// Does other work on a body, on a separate thread if it may take long.
    pub(in crate::proxy) async fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        body: &Bytes,
        gzip: bool,
        work: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        if body.len() <= ON_WORKER && !gzip {
            return Ok(work(body));
        }
        let body = body.clone();
        self.run_on_thread(timeout, move || work(&body)).await
    }

    /// An error: others kept the threads busy for as long as a request may take.
    async fn run_on_thread<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(timeout, turn).await else {
            return Err(Refusal::new(
                Rule::LimitsBufferedBytes,
                "The guard judges as many large bodies as it may, and others wait already. Try again later, or \
                 send smaller requests.",
            ));
        };
        let working = tokio::task::spawn_blocking(move || {
            // Released when the work is done, even if the client has disconnected meanwhile.
            let _turn = turn;
            work()
        });
        match working.await {
            Ok(done) => Ok(done),
            // Only a shutdown cancels it, and nothing waits for the answer then.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }
}
