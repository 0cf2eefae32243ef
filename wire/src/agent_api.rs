//! What agents and the server say to each other below `/agent/v1`. Agents only dial out, with mutual TLS.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /ca.pem` | | the CA's certificate; the caller holds its digest already, from the ticket |
//! | `POST /agent/v1/enroll` (no certificate yet) | [`EnrollRequest`] | [`EnrollReply`] |
//! | `POST /agent/v1/renew` | [`RenewRequest`] | [`RenewReply`] |
//! | `PUT /agent/v1/host` | [`HostFacts`] | 204 |
//! | `POST /agent/v1/leave` | | 204; the agent's certificates end |
//! | `GET /agent/v1/orders?wait_secs=50&beat=7&boot=ID` | | [`OrdersReply`], after at most that long; empty when there is none. `beat` counts these questions ([`crate::host::Beat`]) |
//! | `GET /agent/v1/orders?wait_secs=0&nonce=HEX` | | [`OrdersReply`] with that nonce: it was written after the question |
//! | `GET /agent/v1/orders?wait_secs=50&kind=containment` | | the same, of containment orders only: asked while a collection runs |
//! | `POST /agent/v1/orders/{order}/events` | [`OrderReport`] | 204; told again, it changes nothing |
//! | `POST /agent/v1/containments` | [`ConsoleReport`] | 204; what root did at the host's console. Told again, it changes nothing |
//!
//! Bundles go up below `/api/v1/uploads` over the tus 1.0 protocol (creation, creation-defer-length, checksum,
//! expiration, termination), with an agent's certificate, an upload ticket or a person's token:
//! `Upload-Metadata` holds [`METADATA_KEYS`]. Beside it stands `POST /api/v1/uploads/{upload}/checkpoints`: lines of
//! [`bundle` transport checkpoints] as they lie beside a bundle, answered with [`CheckpointsReply`]. A line may only speak
//! of bytes that were acknowledged before, and its offset must be the end of a `PATCH`.
//!
//! What waited on the host while the server was away comes through `PATCH /api/v1/uploads/{upload}/spooled`: one age file
//! to the server's spool recipient, whose content begins at `Upload-Offset` and has at most [`CHUNK_BYTES_MAX`]. It is
//! appended as if it had come in the clear; what the upload holds already of it changes nothing.
//!
//! [`bundle` transport checkpoints]: crate::receipt
//! [`ConsoleReport`]: crate::containment::ConsoleReport

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::containment::Approval;
use crate::order::OrderEvent;
use crate::signed::Signed;
use crate::{AgentId, Instant, OrderId, Sha256};

/// A chunk of an upload is at most this long, and bears a checksum.
pub const CHUNK_BYTES_MAX: usize = 8 << 20;
/// An encrypted chunk is at most this long: age adds its header, and 16 bytes for each 64 KiB.
pub const SPOOLED_BYTES_MAX: usize = CHUNK_BYTES_MAX + (64 << 10);
/// A long poll is answered after at most this long.
pub const POLL_WAIT_SECS_MAX: u64 = 55;
/// A host's clock that is further than this from the server's is wrong, and people are told.
pub const CLOCK_SKEW_SECS_MAX: u64 = 300;
/// A nonce of a question has at most so many hex digits.
pub const NONCE_CHARS_MAX: usize = 64;
/// `bundle`: its id. `incident`: where a person brings a bundle, what it belongs to; an agent's belongs where its order
/// does, a ticket's where the ticket does. `name`: the file's name. `order`: the order's id, if there was one. `signer`:
/// the public key that signs the transport checkpoints; of an enrolled agent it must be the enrolled one.
pub const METADATA_KEYS: [&str; 5] = ["bundle", "incident", "name", "order", "signer"];

/// Lets a host in, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnrollRequest {
    /// The certificate signing request for the TLS key (PKCS #10, PEM). Key usage, names and validity in it are ignored.
    pub csr_pem: String,
    /// The host.
    pub host: HostFacts,
    /// SSHSIG over the bytes of `csr_pem` by the agent's signing key, namespace `holdfast-enroll`: it holds both keys.
    pub proof_ssh: String,
    /// The secret of the ticket.
    pub secret: String,
    /// The agent's signing key, `ssh-ed25519 AAAA…`.
    pub signer: String,
}

/// What an enrolled agent needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnrollReply {
    /// Its id: the one that it had made of its host name and key.
    pub agent: AgentId,
    /// Its client certificate, PEM, for 30 days.
    pub certificate_pem: String,
    /// The key under which the server signs receipts and custody heads, `ssh-ed25519 AAAA…`.
    pub server_signer: String,
    /// To whom the agent encrypts what waits on its host while the server is away, `age1…`. Absent: nothing waits there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_recipient: Option<String>,
}

/// A new certificate for a running agent: sent with the old one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RenewRequest {
    /// As in [`EnrollRequest`].
    pub csr_pem: String,
}

/// See [`RenewRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RenewReply {
    /// The CA that gave it, PEM; and behind it, while an older CA is still in force, the same name and key in a
    /// certificate by the older one. An agent that knows only the older one believes the newer on its word alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// The new certificate, PEM.
    pub certificate_pem: String,
}

/// What a host says of itself. It may lie: nothing is decided by it but what people are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    /// Version of the agent.
    pub agent_version: String,
    /// Machine architecture.
    pub arch: String,
    /// Digests of the CA certificates by which it knows the server, while there is more than one to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cas: Vec<Sha256>,
    /// The server's clock minus the host's, in nanoseconds, as the host measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ns: Option<i64>,
    /// The boot.
    pub boot_id: Option<String>,
    /// Kernel release.
    pub kernel: String,
    /// machine-id(5).
    pub machine_id: Option<String>,
    /// Host name (uname(2)).
    pub name: String,
    /// `ID` and `VERSION_ID` of os-release(5).
    pub os_id: Option<String>,
    /// The profiles that the agent has.
    pub profiles: Vec<String>,
}

impl HostFacts {
    /// True when the host's clock is known to be wrong: evidence and log lines of it then need a correction.
    pub fn is_clock_wrong(&self) -> bool {
        self.clock_offset_ns.is_some_and(|offset| offset.unsigned_abs() > CLOCK_SKEW_SECS_MAX * 1_000_000_000)
    }

    /// How the host's clock goes, in words: `right`, `12 min behind`. `None` while nobody knows.
    pub fn clock(&self) -> Option<String> {
        let offset = self.clock_offset_ns?;
        let secs = offset.unsigned_abs() / 1_000_000_000;
        let (count, unit) = match secs {
            0..2 => return Some("right".to_owned()),
            2..120 => (secs, "s"),
            120..7200 => (secs / 60, "min"),
            7200..172_800 => (secs / 3600, "h"),
            _ => (secs / 86_400, "days"),
        };
        // The server's minus the host's: what is positive is late here.
        Some(format!("{count} {unit} {}", if offset > 0 { "behind" } else { "ahead" }))
    }
}

/// The orders that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// Those of containment only.
    Containment,
}

/// The orders that wait for an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrdersReply {
    /// Digests of the server's CA certificates that are in force, the one that certifies first. An agent that does not
    /// know the first one renews; one that knows others forgets them. Empty from a server that has no say in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cas: Vec<Sha256>,
    /// The nonce of the question, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The oldest first; each is sent again until an event was told of it.
    pub orders: Vec<Delivery>,
    /// The server's clock, for the skew.
    pub server_time: Instant,
    /// As in [`EnrollReply`], for agents that were enrolled before there was one. An agent that has one keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_recipient: Option<String>,
}

/// One order on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Further signatures over the same bytes, by those who approve it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// The order under its signature; the agent believes nothing else.
    pub envelope: Signed,
    /// The id under which the server keeps it.
    pub order: OrderId,
}

/// Something that happened to an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderReport {
    /// What.
    #[serde(flatten)]
    pub event: OrderEvent,
    /// When, by the agent's clock.
    pub time: Instant,
}

/// The answer to transport checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointsReply {
    /// One receipt ([`crate::receipt::Receipt`], signed) for each line, in their order; a line that was there before is
    /// answered with the receipt that it was given.
    pub receipts: Vec<Signed>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_told_in_words() {
        let clock = |secs: i64| HostFacts { clock_offset_ns: Some(secs * 1_000_000_000), ..HostFacts::default() };
        for (secs, words, is_wrong) in [
            (0, "right", false),
            (-1, "right", false),
            (90, "90 s behind", false),
            (-300, "5 min ahead", false),
            (301, "5 min behind", true),
            (-90_000, "25 h ahead", true),
            (400 * 86_400, "400 days behind", true),
        ] {
            let facts = clock(secs);
            assert_eq!((facts.clock().as_deref(), facts.is_clock_wrong()), (Some(words), is_wrong), "{secs}");
        }
        let unknown = HostFacts::default();
        assert_eq!((unknown.clock(), unknown.is_clock_wrong()), (None, false));
        let least = HostFacts { clock_offset_ns: Some(i64::MIN), ..HostFacts::default() };
        assert!(least.is_clock_wrong() && least.clock().unwrap().ends_with("days ahead"));
    }

    #[test]
    fn what_older_agents_and_servers_say_is_understood() {
        let old = r#"{"agent_version":"","arch":"","boot_id":null,"kernel":"","machine_id":null,"name":"","os_id":null,"profiles":[]}"#;
        assert_eq!(serde_json::from_str::<HostFacts>(old).unwrap(), HostFacts::default());
        let old = r#"{"orders":[],"server_time":"2026-11-18T11:08:00Z"}"#;
        assert_eq!(serde_json::from_str::<OrdersReply>(old).unwrap().nonce, None);
    }
}
