//! `bundle.json`, as far as verification and a first look need it. Unknown fields are ignored, so that a bundle of a
//! later agent still verifies; [`crate::header::Header`] is the whole of it.

use serde::Deserialize;
use ssh_key::PublicKey;
use wire::{BundleId, Sha256};

use crate::header::{Continues, Encryption, FORMAT};
use crate::time::Instant;

/// What `bundle.json` says. All of it comes from a host: escape it before a screen.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The bundle's id.
    pub bundle: BundleId,
    /// From 1; more than one when the evidence was too much for one file.
    pub part: u32,
    /// The part before this one.
    pub continues: Option<Continues>,
    /// The bundle of the same run that it stands beside.
    pub belongs_to: Option<BundleId>,
    /// The incident that it was collected for.
    pub incident: Option<String>,
    /// The public keys that it was encrypted to.
    pub recipients: Vec<String>,
    /// Digest of the signed order that it answers.
    pub order_sha256: Option<Sha256>,
    /// The profile that asked for it.
    pub profile: Option<String>,
    /// The host's name.
    pub host: String,
    /// The last receipt that the agent had seen: not verified here, for the key that signs it is the server's.
    pub last_receipt: Option<wire::signed::Signed>,
    /// The server's clock minus the host's, in nanoseconds, where the agent had a server.
    pub server_offset_ns: Option<i128>,
    /// When the run began, by the host's clock.
    pub started: Instant,
    /// The key that signs.
    pub signer: PublicKey,
    /// The name under which it signs: `agent:<agent id>`.
    pub principal: String,
}

/// Why `bundle.json` cannot be used.
#[derive(Debug)]
pub(super) enum BadIdentity {
    /// It is not JSON, or lacks a field.
    Unreadable(String),
    /// Another version of the format, or a kind of key that is not known here.
    Unsupported(String),
}

#[derive(Deserialize)]
struct Raw {
    v: u32,
    #[serde(rename = "type")]
    kind: String,
    format: String,
    bundle: BundleId,
    #[serde(default)]
    clock: serde_json::Value,
    #[serde(default = "first_part")]
    part: u32,
    #[serde(default)]
    continues: Option<Continues>,
    #[serde(default)]
    belongs_to: Option<BundleId>,
    #[serde(default)]
    encryption: Option<Encryption>,
    #[serde(default)]
    incident: Option<String>,
    /// Of any type: it says nothing about whether the bundle holds.
    #[serde(default)]
    order_sha256: serde_json::Value,
    #[serde(default)]
    profile: Option<Named>,
    host: Named,
    /// Of any type, likewise.
    #[serde(default)]
    last_receipt: serde_json::Value,
    started: Instant,
    signer: String,
    signer_principal: String,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

fn first_part() -> u32 {
    1
}

impl Identity {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BadIdentity> {
        // The format's version first: another one may have other fields.
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| BadIdentity::Unreadable(error.to_string()))?;
        let format = value.get("format").and_then(|format| format.as_str()).unwrap_or_default();
        if format != FORMAT {
            return Err(BadIdentity::Unsupported(format!("the format is {format:?}, this version reads {FORMAT:?}")));
        }
        let raw: Raw = serde_json::from_value(value).map_err(|error| BadIdentity::Unreadable(error.to_string()))?;
        if (raw.v, raw.kind.as_str(), raw.format.as_str()) != (1, "evidence-bundle", FORMAT) {
            return Err(BadIdentity::Unsupported(format!("type {:?} in version {}", raw.kind, raw.v)));
        }
        let signer = PublicKey::from_openssh(&raw.signer)
            .map_err(|_| BadIdentity::Unsupported("the signer is no plain OpenSSH public key".to_owned()))?;
        let agent = raw.signer_principal.strip_prefix("agent:");
        if agent.is_none_or(|agent| agent.parse::<wire::AgentId>().is_err()) {
            return Err(BadIdentity::Unreadable(format!("the principal {:?} is not agent:<id>", raw.signer_principal)));
        }
        if raw.part == 0 || (raw.part > 1) != raw.continues.is_some() {
            return Err(BadIdentity::Unreadable(format!("part {} and `continues` do not fit", raw.part)));
        }
        if raw.belongs_to == Some(raw.bundle) {
            return Err(BadIdentity::Unreadable("it belongs to itself".to_owned()));
        }
        Ok(Self {
            bundle: raw.bundle,
            part: raw.part,
            continues: raw.continues,
            belongs_to: raw.belongs_to,
            incident: raw.incident,
            recipients: raw.encryption.map(|encryption| encryption.recipients).unwrap_or_default(),
            order_sha256: raw.order_sha256.as_str().and_then(|digest| digest.parse().ok()),
            profile: raw.profile.map(|profile| profile.name),
            host: raw.host.name,
            last_receipt: serde_json::from_value(raw.last_receipt).ok(),
            server_offset_ns: raw.clock.get("server_offset_ns").and_then(|offset| offset.as_str()?.parse().ok()),
            started: raw.started,
            signer,
            principal: raw.signer_principal,
        })
    }
}

/// True when `bytes` are one JSON object with sorted keys, no spaces and an LF: the only way to write it.
pub(super) fn is_canonical_line(bytes: &[u8]) -> bool {
    let Some(line) = bytes.strip_suffix(b"\n") else { return false };
    serde_json::from_slice::<serde_json::Value>(line)
        .is_ok_and(|value| value.is_object() && value.to_string().as_bytes() == line)
}
