//! End-to-end tests: the real programs against this very host, each test in a place of its own.
//!
//! A test makes a [`Lab`], collects with the static agent and judges with `holdfast verify`, `verify.py` and commodity
//! tools. Nothing sleeps for a time: processes have deadlines, and conditions are awaited.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::print_stdout,
    clippy::must_use_candidate,
    reason = "a panic is how a test says that it failed"
)]

mod automated;
mod browser;
mod bundle;
mod disk;
mod hosts;
mod lab;
mod line;
mod postgres;
mod process;
mod programs;
mod proxy;
mod random;
mod raw;
mod replica;
mod s3;
mod segment;
mod site;
mod tamper;
mod tsa;
mod tus;

pub use automated::{Automated, is_at};
pub use browser::Browser;
pub use bundle::{Opened, jsonl};
pub use disk::Disk;
pub use hosts::{Planned, SyntheticHost, synthetic_hosts};
pub use lab::{Collect, Collected, Lab, Verdict, path_text};
pub use line::Line;
pub use postgres::Postgres;
pub use process::{Ended, Running, keeper_ends, until};
pub use programs::{agent, foreign, holdfast, root, server, verify_py};
pub use proxy::Cable;
pub use random::Random;
pub use raw::{Raw, tcp};
pub use replica::Replica;
pub use s3::S3;
pub use segment::{At, Segment, Way};
pub use site::{Host, RESPONDER, Setup, Site};
pub use tamper::{Tampered, tamper};
pub use tsa::Tsa;
pub use tus::{Answered, Courier, Parcel};

/// True for root. Says in a test's output, captured or not, what is skipped where it is not.
pub fn is_root_or_skipped(what: &str) -> bool {
    use std::io::Write as _;
    let is_root = is_root();
    if !is_root {
        // Not eprintln: the test runner would swallow it with the output of a test that passes.
        let _ = writeln!(std::io::stderr(), "skipped: {what}: needs root");
    }
    is_root
}

/// True for root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
