//! Tickets: what a host is given to find its server, to know it by its CA, and to be let in once.
//!
//! One line of text, `holdfast-<kind>:` and base64url of JSON. It holds a secret: it is read from a file or from
//! standard input, never from a command line.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::{IncidentId, Sha256};

const TEXT_BYTES_MAX: usize = 8 << 10;

/// What a ticket is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketKind {
    /// One enrolment.
    Enroll,
    /// One upload, of a host that is not enrolled.
    Upload,
}

/// See the module. Its `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Digest of the DER of the server's CA certificate.
    pub ca_sha256: Sha256,
    /// The host that it was made for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The incident that the upload belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// What it is good for.
    pub kind: TicketKind,
    /// The profile that the responder asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Lets in once.
    pub secret: String,
    /// `https://host:port`, tried in order.
    pub servers: Vec<String>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({:?} at {:?}, ***)", self.kind, self.servers)
    }
}

/// A text that is no ticket.
#[derive(Debug, thiserror::Error)]
#[error("this is no ticket: one line that begins with holdfast-enroll: or holdfast-upload: is wanted")]
pub struct NotATicket;

impl Ticket {
    /// The line of text. (Not `Display`: it must not get into a log by accident.)
    pub fn to_text(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        format!("{}{}", prefix(self.kind), BASE64_URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for Ticket {
    type Err = NotATicket;

    fn from_str(text: &str) -> Result<Self, NotATicket> {
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(NotATicket);
        }
        for kind in [TicketKind::Enroll, TicketKind::Upload] {
            if let Some(rest) = text.strip_prefix(prefix(kind)) {
                let json = BASE64_URL_SAFE_NO_PAD.decode(rest).map_err(|_| NotATicket)?;
                let ticket: Self = serde_json::from_slice(&json).map_err(|_| NotATicket)?;
                return if ticket.kind == kind { Ok(ticket) } else { Err(NotATicket) };
            }
        }
        Err(NotATicket)
    }
}

fn prefix(kind: TicketKind) -> &'static str {
    match kind {
        TicketKind::Enroll => "holdfast-enroll:",
        TicketKind::Upload => "holdfast-upload:",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_its_text_and_hides_its_secret() {
        let ticket = Ticket {
            ca_sha256: Sha256::of(b"ca"),
            host: Some("web-1".into()),
            incident: None,
            kind: TicketKind::Upload,
            profile: None,
            secret: "s3cret".into(),
            servers: vec!["https://127.0.0.1:8443".into()],
        };
        let text = ticket.to_text();
        assert_eq!(format!("{text}\n").parse::<Ticket>().unwrap(), ticket);
        assert!(!format!("{ticket:?}").contains("s3cret"));
        assert!(text.replace("upload:", "enroll:").parse::<Ticket>().is_err());
        assert!("".parse::<Ticket>().is_err());
    }
}
