//! `bundle.json`: who collected what, where, for which incident, signed by which key.

use serde::{Deserialize, Serialize};
use wire::{BundleId, IncidentId, Sha256};

use crate::time::Instant;

/// The format that this crate writes and reads.
pub const FORMAT: &str = "holdfast-bundle/1";

/// The content of `bundle.json`. Fields are declared in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The agent that collected.
    pub agent: Agent,
    /// Who ordered it and why; null for a collection at the host's console.
    pub authority: Option<Authority>,
    /// The bundle of the same run that this one stands beside, or null: what is too long for that one to wait for.
    #[serde(default)]
    pub belongs_to: Option<BundleId>,
    /// The bundle.
    pub bundle: BundleId,
    /// The clocks when the bundle was begun.
    pub clock: ClockState,
    /// The part before this one, or null.
    pub continues: Option<Continues>,
    /// How the stream is encrypted, or null.
    pub encryption: Option<Encryption>,
    /// `holdfast-bundle/1`.
    pub format: String,
    /// `sha256`.
    pub hash: String,
    /// The host.
    pub host: HostIdentity,
    /// The incident, where one is known.
    pub incident: Option<IncidentId>,
    /// The last receipt that the agent had when the bundle was begun, of whichever bundle, as the server signed it: it
    /// names a state of the server's custody log, which must be on the way to every later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_receipt: Option<wire::signed::Signed>,
    /// What the run was held to.
    pub limits: wire::profile::Limits,
    /// Digest of the signed order, where there was one.
    pub order_sha256: Option<Sha256>,
    /// From 1.
    pub part: u32,
    /// The profile as it was run.
    pub profile: ProfileIdentity,
    /// `sshsig namespace=holdfast-bundle`.
    pub signature: String,
    /// The public key that signs, in OpenSSH's format.
    pub signer: String,
    /// `agent:<agent id>`.
    pub signer_principal: String,
    /// When the bundle was begun.
    pub started: Instant,
    /// `evidence-bundle`.
    #[serde(rename = "type")]
    pub kind: String,
    /// 1.
    pub v: u32,
    /// What was known of the incident, by which the profile narrowed itself.
    #[serde(default, skip_serializing_if = "wire::profile::Values::is_empty")]
    pub values: wire::profile::Values,
}

/// The program that collected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Digest of the program's own file.
    pub build_sha256: Option<Sha256>,
    /// Effective capabilities by name (capabilities(7)).
    pub capabilities: Vec<String>,
    /// `holdfast-agent`.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Its user id.
    pub uid: u32,
    /// Its version.
    pub version: String,
}

/// By whose authority evidence was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Who approved.
    pub approvers: Vec<String>,
    /// Who examines.
    pub examiner: Option<String>,
    /// On which legal basis.
    pub legal_basis: Option<String>,
    /// The order's id.
    pub order: Option<String>,
    /// For which purpose.
    pub purpose: Option<String>,
}

/// The clocks of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockState {
    /// Nanoseconds since boot, suspend included.
    pub boottime_ns: String,
    /// Whether the kernel says that the clock is synchronised (adjtimex(2)); null when it would not say.
    pub ntp_synced: Option<bool>,
    /// Nanoseconds since the epoch.
    pub realtime_ns: String,
    /// The server's clock minus this one; null without a server.
    pub server_offset_ns: Option<String>,
}

/// The bundle that this one continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continues {
    /// Its id.
    pub bundle: BundleId,
    /// Digest of its final checkpoint.json.
    pub checkpoint_sha256: Sha256,
    /// Its part number.
    pub part: u32,
}

/// The encryption of the whole stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The public keys that can read it.
    pub recipients: Vec<String>,
    /// `age-v1`.
    pub scheme: String,
}

/// Which host it is. What could not be learnt is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIdentity {
    /// Machine architecture (uname(2)).
    pub arch: String,
    /// The boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: Option<String>,
    /// The container or hypervisor that it runs in, where one shows.
    pub container_or_vm: Option<String>,
    /// Kernel release (uname(2)).
    pub kernel: String,
    /// machine-id(5).
    pub machine_id: Option<String>,
    /// Host name (uname(2)).
    pub name: String,
    /// `ID` and `VERSION_ID` of os-release(5).
    pub os_id: Option<String>,
    /// Time zone by name, where `/etc/localtime` or `/etc/timezone` says it.
    pub timezone: Option<String>,
}

/// Which profile was run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileIdentity {
    /// Its name.
    pub name: String,
    /// Digest of the resolved profile's JSON.
    pub sha256: Option<Sha256>,
    /// The version of the agent that it was compiled into, or `site` for one of the site's own.
    pub version: String,
}
