//! `holdfast-agent collect --ticket`: a host without enrolment sends what it collects to the server of a ticket.

use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;

use wire::ticket::{Ticket, TicketKind};

use super::asked::{Asked, Chosen};
use super::collect::Told;
use super::recipients::Recipients;
use super::via::Via;
use super::{Refusal, exit, runtime};
use crate::collection::{Collection, Mandate, Plan};
use crate::daemon::stop::flag_on_signals;
use crate::host::Host;
use crate::host::identity::identity;
use crate::log::Log;
use crate::run::progress::{Lines, Silent};
use crate::state;
use crate::transport::client::{Client, Credential, install_provider};
use crate::transport::receipts::Receipts;
use crate::transport::sending::Otherwise;
use crate::transport::upload::UploadError;
use crate::uploading::{self, Failure};

/// A ticket is one line; more than this is read of none.
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// What `collect` was asked for beside the ticket.
pub(super) struct Ticketed<'a> {
    pub(super) asked: &'a Asked,
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) recipients: &'a Recipients,
    pub(super) via: &'a Via,
}

impl Ticketed<'_> {
    pub(super) fn run(self, place: &str, log: &Log) -> Result<ExitCode, Refusal> {
        let ticket = read(place, TicketKind::Upload)?;
        if self.asked.is_empty() && ticket.profile.is_none() {
            let message = "neither the ticket nor the command line names a profile".to_owned();
            return Err(Refusal { code: exit::USAGE, message, hint: Some("add --profile NAME".into()) });
        }
        let otherwise = if self.asked.is_empty() { ticket.profile.as_deref() } else { None };
        let Chosen { profile, version, values, steps } = self.asked.choose(otherwise)?;
        let recipients = self.recipients.all()?;
        let proxy = self.via.proxy()?;
        let host = Arc::new(self.asked.host()?);
        let who = identity(&host);
        let here = if host.is_live() { who.name.clone() } else { identity(&Host::live()).name };
        let agent = state::identity(&state::folder(), &here)?;
        let interrupted = flag_on_signals().map_err(|error| Refusal::new(exit::IO, &error))?;
        install_provider();
        runtime()?.block_on(async {
            let ca_pem = Client::fetch_ca(&ticket.servers, ticket.ca_sha256, proxy.as_ref()).await?;
            let credential = Credential::Ticket(ticket.secret.clone());
            let client = Client::new(&ticket.servers, &ca_pem, credential, proxy.as_ref())?;
            let incident = ticket.incident.clone();
            let mandate = Mandate { incident, recipients: recipients.clone(), ..Mandate::default() };
            let plan = Plan::of(&profile, version, steps, values);
            let mut collection = Collection::new(&host, who, &agent, plan, mandate, (interrupted, log.clone()))?;
            collection.leave_out_sibling("its bundle is one of its own, and an upload ticket lets one in");
            let bundle = collection.bundle;
            // The CA that the ticket names vouches for whoever signs the first receipt.
            let receipts = Receipts::new(None, Box::new(|_, _, _| {}));
            let signer = (None, agent.key.public_line());
            let at_once = std::future::ready(Ok(()));
            let otherwise = Otherwise::Nowhere("a host without enrolment has none");
            let finished = if self.quiet {
                uploading::run(collection, &client, signer, receipts, at_once, otherwise, Silent).await
            } else {
                uploading::run(collection, &client, signer, receipts, at_once, otherwise, Lines::new()).await
            };
            let finished = finished.map_err(refuse)?;
            let code = finished.exit_code();
            let server = Some(client.server());
            let told = Told {
                agent: &agent,
                beside: None,
                bundle,
                code,
                finished: &finished,
                parts: Vec::new(),
                path: None,
                recipients: &recipients,
                server,
                signers: None,
                stream_path: None,
            };
            if self.json {
                told.as_json();
            } else {
                told.to_people();
            }
            Ok(code.into())
        })
    }
}

/// The ticket of this kind in a file or on standard input.
///
/// # Errors
/// [`Refusal`].
pub(super) fn read(place: &str, kind: TicketKind) -> Result<Ticket, Refusal> {
    let mut text = String::new();
    let read = if place == "-" {
        std::io::stdin().take(TEXT_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(place).and_then(|file| file.take(TEXT_BYTES_MAX).read_to_string(&mut text))
    };
    if let Err(error) = read {
        let message = format!("the ticket in {place} cannot be read: {error}");
        return Err(Refusal { code: exit::INPUT, message, hint: Some("give a file, or - for standard input".into()) });
    }
    let ticket: Ticket = text.parse().map_err(|error| Refusal::new(exit::INPUT, &error))?;
    if ticket.kind == kind {
        return Ok(ticket);
    }
    let (message, hint) = match kind {
        TicketKind::Enroll => ("this ticket is for one upload", "use it with: holdfast-agent collect --ticket FILE"),
        TicketKind::Upload => ("this ticket is for an enrolment", "use it with: holdfast-agent enroll --token FILE"),
    };
    Err(Refusal { code: exit::INPUT, message: message.into(), hint: Some(hint.into()) })
}

fn refuse(failure: Failure) -> Refusal {
    let partial = "what the server acknowledged stays there as a partial bundle";
    match failure {
        Failure::Upload(UploadError::Refused(error)) => error.into(),
        Failure::Upload(error @ UploadError::Away { .. }) => Refusal::new(exit::UNAVAILABLE, &error).hint(partial),
        other => Refusal::new(exit::UNSEALED, &other).hint(partial),
    }
}
