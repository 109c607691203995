//! Reading what operators write: YAML with the line and column of every value, single values, and
//! all errors at once.

pub(crate) mod diagnostic;
pub(crate) mod field;
pub mod key;
pub(crate) mod load;
pub(crate) mod near;
pub mod schema;
pub(crate) mod section;
pub(crate) mod value;
pub(crate) mod yaml;

pub use diagnostic::{Diagnostic, Warning};
pub use load::LoadError;
