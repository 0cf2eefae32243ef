//! `holdfast-agent run`

use std::path::Path;
use std::process::ExitCode;

use super::{Refusal, exit, runtime};
use crate::daemon::stop::Stop;
use crate::daemon::{Daemon, StartError};
use crate::enrolment::EnrolmentError;
use crate::host::Host;
use crate::host::identity::identity;
use crate::log::Log;
use crate::orders::journal::JournalError;
use crate::protection::permissions::exposed;
use crate::state;
use crate::transport::client::install_provider;
use crate::trust::SITE_FOLDER;

/// See [`super::Cli`].
pub(super) fn run(log: &Log) -> Result<ExitCode, Refusal> {
    log.tell_all();
    let folder = state::folder();
    for path in [folder.as_path(), Path::new(SITE_FOLDER)] {
        match exposed(path) {
            Ok(None) => {}
            Ok(Some(found)) => {
                let hint = format!("look who touched it, then: chmod go-w {0}; chown root {0}", found.path.display());
                return Err(Refusal::new(exit::REFUSED, &found).hint(hint));
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "who may change it cannot be told"),
        }
    }
    // Whoever may write to it is the agent with its next start. What runs now is still the one that was started.
    if let Ok(program) = std::env::current_exe()
        && let Ok(Some(found)) = exposed(&program)
    {
        tracing::warn!(%found, "the agent's own program is not safe");
    }
    let me = state::identity(&folder, &identity(&Host::live()).name)?;
    install_provider();
    runtime()?.block_on(async {
        let stop = Stop::listen().map_err(|error| Refusal::new(exit::IO, &error))?;
        Daemon::new(&folder, me, log.clone(), stop)?.run().await;
        Ok(ExitCode::SUCCESS)
    })
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Enrolment(error) => error.into(),
            StartError::Trust(error) => error.into(),
            StartError::OtherAgent { .. } => EnrolmentError::Missing.into(),
            StartError::Contain(error) => Self::new(exit::IO, &error),
            StartError::Journal(error) => match &error {
                JournalError::Held { .. } => Self::new(exit::UNAVAILABLE, &error).hint("see: holdfast-agent status"),
                JournalError::Io { .. } => Self::new(exit::IO, &error),
                JournalError::Damaged { path, .. } => Self::new(exit::INPUT, &error).hint(format!(
                    "without it an order might run twice: once no order of the last week is open, move {} away",
                    path.display()
                )),
            },
        }
    }
}
