//! `holdfast-agent keep`: see [`crate::contain::keeper`]. Not for people.

use std::process::ExitCode;

use super::Refusal;
use super::contain::root;
use crate::contain::keeper;
use crate::host::Host;
use crate::log::Log;
use crate::state;

/// See [`super::Cli`].
pub(super) fn run(log: &Log) -> Result<ExitCode, Refusal> {
    root()?;
    if let Err(error) = crate::host::sys::close_inherited() {
        tracing::debug!(%error, "descriptors that were inherited stay open");
    }
    log.tell_all();
    // A session of its own: it outlives the terminal of whoever started it. A unit's process leads one already.
    let _ = rustix::process::setsid();
    keeper::keep(&state::folder(), Host::live)?;
    Ok(ExitCode::SUCCESS)
}
