//! The limit of deletions and deactivations: which users count, what is refused, and how the limit
//! is lifted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it does not expect"
)]

mod support;

#[path = "deprovisioning/bodies.rs"]
mod bodies;
#[path = "deprovisioning/counting.rs"]
mod counting;
#[path = "deprovisioning/lifting.rs"]
mod lifting;
#[path = "deprovisioning/requests.rs"]
mod requests;
#[path = "deprovisioning/settings.rs"]
mod settings;
