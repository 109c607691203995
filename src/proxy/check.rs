//! Asks the backend servers again and again whether they are well, if the operator wants it.
//!
//! Without it only requests tell: a server that refuses a connection, or fails several requests in
//! a row, is left alone for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use ureq::Agent;

use crate::config::UpstreamCheck;

use super::upstream::Upstreams;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks every server, for as long as it is polled.
pub(super) async fn keep_checking(upstreams: Arc<Upstreams>, check: UpstreamCheck) {
    let agent = Agent::config_builder()
        .timeout_global(Some(check.every.min(PATIENCE)))
        // Servers are asked where they are, and by themselves.
        .proxy(None)
        .max_redirects(0)
        .build()
        .new_agent();
    loop {
        let mut asked = JoinSet::new();
        for (server, _) in upstreams.states() {
            let (agent, path) = (agent.clone(), check.path.clone());
            asked.spawn_blocking(move || (server, ask(&agent, server, &path)));
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((server, answer)) = answer {
                // Until the check after the next one, which may say otherwise before.
                upstreams.checked(server, answer.err(), 2 * check.every + PATIENCE);
            }
        }
        tokio::time::sleep(check.every).await;
    }
}

/// Why a server is not well.
fn ask(agent: &Agent, server: SocketAddr, path: &str) -> Result<(), String> {
    match agent.get(format!("http://{server}{path}")).call() {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
