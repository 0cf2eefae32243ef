//! The end-to-end cases. Each module is one promise to the people who use Holdfast.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says that it failed")]

mod access_times;
mod automation;
mod commodity;
mod contain;
mod coverage;
mod cut;
mod encrypted;
mod ends;
mod findings;
mod fleet;
mod footprint;
mod foreign;
mod holdings;
mod hostile;
mod hostile_bundles;
mod hostile_requests;
mod incident;
mod journey;
mod mistakes;
mod moved;
mod objects;
mod orders;
mod parts;
mod path;
mod path_broken;
mod profiles;
mod protection;
mod reach;
mod replicas;
mod seal;
mod sibling;
#[path = "../fleet/mod.rs"]
mod simulated;
mod spool;
mod tampered;
mod trust;
mod unprivileged;
