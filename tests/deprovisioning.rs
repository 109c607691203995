//! The limit of deletions and deactivations: who counts, what is held back, and how it is lifted.
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
