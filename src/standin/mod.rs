//! An embedded stand-in for Wire, for trying and testing only.

pub mod reading;
