//! Requests through the real router, over a real store.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test says that it failed")]

mod access;
mod alerts;
mod cases;
#[path = "../../../bundle/tests/common/mod.rs"]
mod common;
mod credentials;
mod custody;
mod escalation;
mod evidence;
mod harness;
mod hosts;
mod hunts;
mod ingest;
mod letters;
mod membership;
mod orders;
mod paging;
mod peers;
mod signed;
mod triage;
