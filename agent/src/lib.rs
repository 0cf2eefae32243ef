//! The Holdfast agent.
pub mod collect;
pub mod host;
pub mod run;
