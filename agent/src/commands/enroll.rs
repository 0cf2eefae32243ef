//! `holdfast-agent enroll`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use wire::ticket::TicketKind;

use super::via::Via;
use super::{Refusal, exit, print, runtime, ticket};
use crate::enrolment::{Enrolment, EnrolmentError, facts};
use crate::host::Host;
use crate::orders::journal::{self, JournalError};
use crate::state::{self, file};
use crate::transport::client::{CallError, Client, install_provider};
use crate::trust::{Given, POLICY_FILE, SIGNERS_FILE, TrustError};

/// See [`super::Cli`].
#[derive(Args)]
pub struct Enroll {
    /// The file with the ticket, or - for standard input
    #[arg(long, visible_alias = "ticket", default_value = "-", value_name = "FILE|-")]
    token: String,
    /// Who may order collections on this host: an allowed_signers file (ssh-keygen(1))
    #[arg(long, value_name = "FILE")]
    signers: PathBuf,
    /// What this host lets them order; without it collection, and nothing sensitive
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    via: Via,
}

impl Enroll {
    pub(super) fn run(self) -> Result<ExitCode, Refusal> {
        // Everything that can be wrong here is looked at before the ticket is spent.
        let given = Given::read(&self.signers, self.policy.as_deref())?;
        let proxy = self.via.proxy()?;
        let ticket = ticket::read(&self.token, TicketKind::Enroll)?;
        let folder = state::folder();
        let host = Host::live();
        let facts = facts(&host);
        let me = state::identity(&folder, &facts.name)?;
        if !me.kept {
            let message = format!("{} cannot be written", folder.display());
            return Err(Refusal {
                code: exit::IO,
                message,
                hint: Some("set HOLDFAST_STATE_DIR, or run as root".into()),
            });
        }
        // The server ends the old certificates, and a daemon would go on with the one that it read at its start.
        let _lock = journal::hold(&folder).map_err(|error| match &error {
            JournalError::Held { .. } => {
                Refusal::new(exit::REFUSED, &error).hint("stop it first: systemctl stop holdfast-agent")
            }
            _ => Refusal::new(exit::IO, &error),
        })?;
        install_provider();
        let enrolled = runtime()?.block_on(async {
            let ca_pem = Client::fetch_ca(&ticket.servers, ticket.ca_sha256, proxy.as_ref()).await?;
            Enrolment::ask(&ticket, ca_pem, &me, facts, proxy).await
        });
        let (enrolment, tls) = enrolled?;
        let put = |name: &str, text: &str| {
            let stored = file::put(&folder, name, text.as_bytes(), true);
            stored.map_err(|source| EnrolmentError::Io { path: folder.join(name), source })
        };
        put(SIGNERS_FILE, &given.signers)?;
        match &given.policy {
            Some(policy) => put(POLICY_FILE, policy)?,
            // A policy of an earlier enrolment would go on to hold, unseen.
            None => drop(std::fs::remove_file(folder.join(POLICY_FILE))),
        }
        enrolment.store(&folder, &tls)?;
        print(&format!("enrolled: {} at {}", enrolment.agent, enrolment.servers.join(", ")));
        if let Some(proxy) = &enrolment.proxy {
            print(&format!("  through  {}", proxy.url()));
        }
        print(&format!("  state    {}", folder.display()));
        if let Ok((_, until)) = tls.validity() {
            print(&format!("  until    {until}; renewed by itself while holdfast-agent run is running"));
        }
        print("start it: systemctl enable --now holdfast-agent, or holdfast-agent run");
        Ok(ExitCode::SUCCESS)
    }
}

impl From<TrustError> for Refusal {
    fn from(error: TrustError) -> Self {
        match &error {
            TrustError::NoSigners => Self::new(exit::INPUT, &error)
                .hint("enrol with --signers FILE, or install /etc/holdfast/allowed_signers"),
            TrustError::File { source, path } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                let hint = format!("look who touched it, then: chmod go-w {0}; chown root {0}", path.display());
                Self::new(exit::REFUSED, &error).hint(hint)
            }
            TrustError::File { .. } => Self::new(exit::INPUT, &error).hint("give the path of a file that can be read"),
            TrustError::Nobody { .. } => Self::new(exit::INPUT, &error)
                .hint("one line each: NAME namespaces=\"holdfast-collect\" ssh-ed25519 AAAA…"),
            TrustError::Signers { .. } | TrustError::Policy { .. } => Self::new(exit::INPUT, &error),
        }
    }
}

impl From<EnrolmentError> for Refusal {
    fn from(error: EnrolmentError) -> Self {
        match error {
            EnrolmentError::Call(error) => error.into(),
            EnrolmentError::Missing => Self::new(exit::UNAVAILABLE, &error).hint(
                "get a ticket (holdfast host enroll-ticket) and run: holdfast-agent enroll --token FILE --signers FILE",
            ),
            EnrolmentError::Damaged { .. } => Self::new(exit::INPUT, &error).hint("enrol this host again"),
            EnrolmentError::Io { ref path, ref source } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                let hint =
                    format!("look who touched it; then enrol again, or: chmod go= {0}; chown root {0}", path.display());
                Self::new(exit::REFUSED, &error).hint(hint)
            }
            EnrolmentError::Io { .. } | EnrolmentError::Key(_) | EnrolmentError::Sign(_) => Self::new(exit::IO, &error),
            EnrolmentError::Answer(_) => {
                Self::new(exit::INPUT, &error).hint("agent and server may be of different versions")
            }
        }
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::Unreachable { .. } => Self::new(exit::UNAVAILABLE, &error)
                .hint("look whether this host may dial out to that address; tickets name it, and enrolment keeps it"),
            CallError::Answered { .. } if error.may_pass() => {
                Self::new(exit::UNAVAILABLE, &error).hint("try again later")
            }
            CallError::Answered { .. } => {
                Self::new(exit::REFUSED, &error).hint("a ticket lets in once and for a limited time: ask for a new one")
            }
            CallError::BadReply { .. } => {
                Self::new(exit::REFUSED, &error).hint("compare the ticket with the server: holdfast-server ca show")
            }
            CallError::Setup(_) => Self::new(exit::INPUT, &error),
        }
    }
}
