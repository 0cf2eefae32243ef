//! The agents' side of the server through its real door: TLS on loopback, certificates, long polls, uploads, verification.
#![allow(clippy::unwrap_used, reason = "a panic is how a test says that it failed")]

mod automation;
mod containment;
mod enrollment;
mod ingest;
mod orders;
mod site;
mod spooled;
mod uploads;
