//! State that replicas share, against a store that does what each test needs; `make test-redis` runs with real ones.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it does not expect"
)]

mod support;

#[path = "shared/fake.rs"]
mod fake;
#[path = "shared/settings.rs"]
mod settings;
#[path = "shared/store.rs"]
mod store;
