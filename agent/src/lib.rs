//! The Holdfast agent.
pub mod collect;
pub mod files;
pub mod host;
pub mod run;
