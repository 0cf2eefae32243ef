//! A run.
pub mod limits;
pub mod session;
