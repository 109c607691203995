//! What operators see: logs, the audit log, the admin listener, dashboard and alerts.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod support;

#[path = "monitoring/admin.rs"]
mod admin;
#[path = "monitoring/audit.rs"]
mod audit;
#[path = "monitoring/dashboard.rs"]
mod dashboard;
#[path = "monitoring/logs.rs"]
mod logs;
#[path = "monitoring/traces.rs"]
mod traces;
