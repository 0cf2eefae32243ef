//! `holdfast-agent leave`: tells the server that this host's agent is removed, which ends its certificate.

use std::process::ExitCode;

use reqwest::Method;

use super::{Refusal, exit, print, runtime};
use crate::enrolment::Enrolment;
use crate::state;
use crate::transport::client::{Call, install_provider};

/// See [`super::Cli`].
pub(super) fn run() -> Result<ExitCode, Refusal> {
    if !rustix::process::geteuid().is_root() {
        let message = "only root takes a host out of the server's care".to_owned();
        return Err(Refusal {
            code: exit::REFUSED,
            message,
            hint: Some("run it as root, at this host's console".into()),
        });
    }
    let folder = state::folder();
    let (enrolment, tls) = Enrolment::load(&folder)?;
    install_provider();
    runtime()?.block_on(async {
        let client = enrolment.client(&tls)?;
        client.call(&Call::new(Method::POST, "/agent/v1/leave")).await?;
        Ok::<_, Refusal>(())
    })?;
    // The server has ended it: what is left here would only be refused. The signing key stays, and what it has signed.
    Enrolment::forget(&folder)?;
    print(&format!("{} has left; the server keeps what came, and a new ticket lets it in again", enrolment.agent));
    Ok(ExitCode::SUCCESS)
}
