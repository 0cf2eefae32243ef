//! `holdfast-agent relay`

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use tokio::net::TcpListener;

use super::{Refusal, exit, runtime};
use crate::daemon::stop::Stop;
use crate::enrolment::Enrolment;
use crate::log::Log;
use crate::protection::confine_relay;
use crate::relay::{Limits, Relay as Relaying};
use crate::state;

/// See [`super::Cli`].
#[derive(Args)]
pub struct Relay {
    /// Where to listen: this host only, unless you say otherwise
    #[arg(long, default_value = "127.0.0.1:3128", value_name = "ADDR:PORT")]
    listen: SocketAddr,
}

impl Relay {
    pub(super) fn run(self, log: &Log) -> Result<ExitCode, Refusal> {
        log.tell_all();
        let (enrolment, _) = Enrolment::load(&state::folder())?;
        let Enrolment { servers, proxy, .. } = enrolment;
        let relay = Relaying::to(&servers, proxy, Limits::default());
        let relay = relay.map_err(|message| Refusal { code: exit::INPUT, message, hint: None })?;
        runtime()?.block_on(async {
            let stop = Stop::listen().map_err(|error| Refusal::new(exit::IO, &error))?;
            let listener = TcpListener::bind(self.listen).await.map_err(|error| {
                let message = format!("{} cannot be listened on: {error}", self.listen);
                Refusal { code: exit::UNAVAILABLE, message, hint: Some("choose another, with --listen".into()) }
            })?;
            let listen = listener.local_addr().unwrap_or(self.listen);
            // From here on it only passes bytes on between sockets; threads that look up names inherit it.
            confine_relay();
            tracing::info!(%listen, servers = servers.join(", "), "other agents are let through");
            relay.serve(listener, stop).await;
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        })
    }
}
