//! Tickets: a host without a credential is let in once, to enrol or to upload one bundle.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, json};
use wire::api::{TicketReply, TicketRequest};
use wire::ticket::{Ticket, TicketKind};
use wire::{IncidentId, Instant, Sha256};

use super::{Actor, App, Problem, ProblemKind, details, random};
use crate::store::{Change, NewLeaf, TicketRecord};

const VALID_SECS_MAX: u64 = 7 * 24 * 3600;
const VALID_SECS_DEFAULT: u64 = 24 * 3600;
const NAME_CHARS_MAX: usize = 255;

/// The id of the ticket with this secret.
pub fn id_of(secret: &str) -> Sha256 {
    Sha256::of(secret.as_bytes())
}

impl App {
    /// Makes a ticket: for an upload to this incident, or for an enrolment.
    ///
    /// # Errors
    /// [`ProblemKind::Input`]; [`ProblemKind::NotFound`] for the incident.
    pub async fn make_ticket(
        &self,
        by: &Actor,
        incident: Option<IncidentId>,
        request: TicketRequest,
    ) -> Result<TicketReply, Problem> {
        let valid_secs = request.valid_secs.unwrap_or(VALID_SECS_DEFAULT);
        if valid_secs == 0 || valid_secs > VALID_SECS_MAX {
            return Err(Problem::new(ProblemKind::Input, format!("a ticket cannot be valid for {valid_secs} seconds"))
                .hint(format!("valid_secs is 1 to {VALID_SECS_MAX}")));
        }
        check_name("host", request.host.as_deref())?;
        check_name("profile", request.profile.as_deref())?;
        if let Some(incident) = &incident {
            self.incident_record(incident).await?;
        }
        let kind = if incident.is_some() { TicketKind::Upload } else { TicketKind::Enroll };
        let now = self.now();
        let expires = Instant(now.0 + i128::from(valid_secs) * 1_000_000_000);
        let ticket = Ticket {
            ca_sha256: self.ca_sha256(),
            host: request.host,
            incident,
            kind,
            profile: request.profile,
            secret: BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?),
            servers: self.reach.servers.clone(),
        };
        let record = TicketRecord {
            created_by: by.to_string(),
            expires,
            host: ticket.host.clone(),
            incident: ticket.incident.clone(),
            kind,
            ticket: id_of(&ticket.secret),
            used_by: None,
        };
        let mut details = Map::new();
        details.insert("expires".to_owned(), json!(expires));
        details.insert("host".to_owned(), json!(ticket.host));
        details.insert("kind".to_owned(), json!(kind));
        let leaf = NewLeaf {
            actor: by.to_string(),
            details,
            event: "ticket_made",
            incident: ticket.incident.clone(),
            subject: format!("ticket:{}", record.ticket),
            time: now,
        };
        self.store.commit(vec![Change::AddTicket(Box::new(record))], vec![leaf]).await?;
        Ok(TicketReply { expires, ticket: ticket.to_text() })
    }

    /// Ends a ticket before its time, used or not. What came with it stays.
    ///
    /// # Errors
    /// [`ProblemKind::Input`], [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] for one that has ended.
    pub async fn revoke_ticket(&self, by: &Actor, ticket: Sha256, reason: &str) -> Result<(), Problem> {
        check_text("reason", reason)?;
        let now = self.now();
        let record = self.store.ticket(ticket).await?.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no ticket {ticket}"))
                .hint("its id is the digest of its secret: holdfast ticket revoke takes the ticket itself, too")
        })?;
        let leaf = NewLeaf {
            actor: by.to_string(),
            details: details([("reason", json!(reason)), ("used_by", json!(record.used_by))]),
            event: "ticket_revoked",
            incident: record.incident,
            subject: format!("ticket:{ticket}"),
            time: now,
        };
        self.store.commit(vec![Change::EndTicket(ticket, now)], vec![leaf]).await?;
        self.break_off(&Actor::Ticket { ticket: ticket.to_string() }.to_string()).await
    }
}

fn check_name(what: &str, name: Option<&str>) -> Result<(), Problem> {
    name.map_or(Ok(()), |name| check_text(what, name))
}

/// One line for people.
pub(super) fn check_text(what: &str, text: &str) -> Result<(), Problem> {
    if !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::Input, format!("{what:?} in the request is no text for people"))
        .hint(format!("1 to {NAME_CHARS_MAX} characters on one line")))
}
