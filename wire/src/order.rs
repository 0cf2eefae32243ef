//! Orders: what a responder tells one agent to do. Signed over their exact bytes; what was approved is what runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::containment::ContainmentEvent;
use crate::profile::{Profile, Sensitive, Values};
use crate::{AgentId, IncidentId, Instant, OrderId, Sha256};

/// `type` of an order.
pub const ORDER_TYPE: &str = "holdfast-order";
/// A profile in an order is at most this long as JSON.
pub const PROFILE_BYTES_MAX: usize = 64 << 10;
/// The values in an order are at most this long as JSON.
pub const VALUES_BYTES_MAX: usize = 64 << 10;
/// An order may be valid for at most this long: one that was lost must not come back next year.
pub const VALID_SECS_MAX: u64 = 7 * 24 * 3600;

/// A collection order. Unknown fields are refused: an agent must not run an order of which it understands half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The agent that it is for.
    pub agent: AgentId,
    /// Sensitive classes whose content the signer approves to be taken.
    pub approved_sensitive: Vec<Sensitive>,
    /// From this moment on it is refused.
    pub expires: Instant,
    /// The incident that the evidence belongs to.
    pub incident: IncidentId,
    /// When it was signed.
    pub issued: Instant,
    /// On which legal basis, where the responder named one.
    pub legal_basis: Option<String>,
    /// 32 hex digits; an agent takes each once.
    pub nonce: String,
    /// Its id.
    pub order: OrderId,
    /// The profile, includes resolved.
    pub profile: Profile,
    /// The version of the profile: that of the program that it was compiled into, or `site`.
    pub profile_version: String,
    /// For which purpose.
    pub purpose: Option<String>,
    /// The order that this one replaces, because its run was interrupted.
    pub supersedes: Option<OrderId>,
    /// [`ORDER_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// 1.
    pub v: u32,
    /// What is known of the incident, by which the profile narrows itself.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub values: Values,
}

/// Why an agent does not take an order. The name is what both sides record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// It carries no signature.
    Unsigned,
    /// The signature is not of these bytes.
    SignatureBad,
    /// The key is not among the allowed signers for this principal, namespace and time.
    SignerUnknown,
    /// It is no order that this version understands.
    Malformed,
    /// It is for another agent.
    OtherAgent,
    /// Its time is over.
    Expired,
    /// It is from the future, by more than the skew that is tolerated.
    NotYetValid,
    /// Its nonce or id was seen before.
    Replayed,
    /// The policy of this host forbids it.
    Policy,
    /// Its profile cannot be run here.
    Profile,
    /// Fewer people have approved it than this host's policy asks for.
    Approvals,
    /// What it would do cannot be done here, or makes no sense.
    Action,
}

impl RefusalReason {
    /// The name as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::SignatureBad => "signature_bad",
            Self::SignerUnknown => "signer_unknown",
            Self::Malformed => "malformed",
            Self::OtherAgent => "other_agent",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Replayed => "replayed",
            Self::Policy => "policy",
            Self::Profile => "profile",
            Self::Approvals => "approvals",
            Self::Action => "action",
        }
    }
}

/// What an agent tells of an order, in the order in which it happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum OrderEvent {
    /// It is valid, and will run.
    Accepted,
    /// It will not run.
    Refused {
        /// What is wrong, in a sentence.
        message: String,
        /// Its class.
        reason: RefusalReason,
    },
    /// The run began.
    Started {
        /// The bundle that it writes.
        bundle: crate::BundleId,
    },
    /// How far the run is; sent a few times a second at most, and not kept for ever.
    Progress {
        /// Bytes in the bundle.
        bytes: u64,
        /// The collector at work.
        collector: String,
        /// Items in the bundle.
        items: u64,
        /// The tier at work.
        tier: crate::Tier,
    },
    /// The server was away or slow: evidence of the run waited on the host, encrypted to the server, and now comes.
    Spooled {
        /// Bytes that wait.
        bytes: u64,
        /// The spool had no room for more: what came after its end was not kept.
        full: bool,
        /// Why it was not sent at once, in a sentence.
        reason: String,
    },
    /// The run ended with a seal, and all of it is on the server.
    Completed {
        /// Length of the bundle.
        bytes: u64,
        /// The exit code that `holdfast-agent collect` would have had: 0 or 3.
        exit: u8,
        /// Items in the bundle.
        items: u64,
        /// Digest of the bundle.
        sha256: Sha256,
    },
    /// The run began and the agent died under it: what arrived is a partial bundle.
    Interrupted {
        /// The bundle that it wrote.
        bundle: Option<crate::BundleId>,
        /// The server says so, and not the agent: nothing came for as long as it waits. The agent may yet come back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_silence: bool,
        /// The offset of the last receipt that the agent kept.
        receipted: Option<u64>,
    },
    /// The run ended without a seal.
    Failed {
        /// Why, in a sentence.
        message: String,
    },
    /// Something happened to a containment order.
    Containment {
        /// What.
        #[serde(flatten)]
        told: ContainmentEvent,
        /// Of a rehearsal: nothing was changed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rehearsed: bool,
    },
}

impl OrderEvent {
    /// The state of the order after this event.
    pub const fn state(&self) -> OrderState {
        match self {
            Self::Accepted => OrderState::Accepted,
            Self::Refused { .. } => OrderState::Refused,
            Self::Started { .. } | Self::Progress { .. } | Self::Spooled { .. } => OrderState::Running,
            Self::Completed { .. } | Self::Containment { rehearsed: true, .. } => OrderState::Completed,
            Self::Interrupted { .. } => OrderState::Interrupted,
            Self::Failed { .. } => OrderState::Failed,
            Self::Containment { told, .. } => match told {
                ContainmentEvent::Planned { .. } => OrderState::Running,
                ContainmentEvent::Applied { .. }
                | ContainmentEvent::Validated { .. }
                | ContainmentEvent::Renewed { .. }
                | ContainmentEvent::Tampered { .. } => OrderState::Holding,
                ContainmentEvent::Released { .. } => OrderState::Completed,
                ContainmentEvent::Failed { .. } => OrderState::Failed,
            },
        }
    }
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// It is not handed over before enough people have approved it.
    AwaitingApproval,
    /// The server has it; the agent has not asked yet.
    Queued,
    /// The agent has fetched it.
    Delivered,
    /// The agent checked it and will run it.
    Accepted,
    /// The run is under way.
    Running,
    /// Containment is in force, under its lease.
    Holding,
    /// Sealed, and on the server; of containment: taken back, or rehearsed.
    Completed,
    /// The agent refused it.
    Refused,
    /// The agent died in the run.
    Interrupted,
    /// The run ended without a seal.
    Failed,
    /// Its time ended before an agent took it.
    Expired,
    /// Somebody took it back before an agent had it.
    Cancelled,
}

impl OrderState {
    /// True when nothing more will happen to the order.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Refused | Self::Interrupted | Self::Failed | Self::Expired | Self::Cancelled
        )
    }

    /// The name as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting_approval",
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Holding => "holding",
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}
