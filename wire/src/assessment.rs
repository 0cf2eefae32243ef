//! The answer of triage: what an alert is, how bad, on which hosts, why, and what to do about it.
//!
//! The JSON keys are a promise to machines. Readers keep unknown fields.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tier::Tier;
use crate::{Instant, Sha256};

/// How bad an incident is. Ordered: [`Severity::Sev1`] is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// Low: no confirmed impact.
    #[serde(rename = "SEV4")]
    Sev4,
    /// Medium.
    #[serde(rename = "SEV3")]
    Sev3,
    /// High.
    #[serde(rename = "SEV2")]
    Sev2,
    /// Critical.
    #[serde(rename = "SEV1")]
    Sev1,
}

impl Severity {
    /// `SEV1` to `SEV4`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sev1 => "SEV1",
            Self::Sev2 => "SEV2",
            Self::Sev3 => "SEV3",
            Self::Sev4 => "SEV4",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Sev1, Self::Sev2, Self::Sev3, Self::Sev4]
            .into_iter()
            .find(|severity| severity.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("{text:?} is no severity: SEV1, SEV2, SEV3 or SEV4 is wanted"))
    }
}

/// What triage makes of one alert, or of all alerts of one incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Assessment {
    /// Accounts that the alert names.
    pub accounts: Vec<String>,
    /// True only for vendor test findings, alerts closed upstream, and exact duplicates.
    pub auto_close: bool,
    /// 0 to 1.
    pub classification_confidence: f64,
    /// What to do to the hosts, each with its conditions.
    pub containment: Vec<Containment>,
    /// The OCSF verdict: `true_positive`, `false_positive`, `test`, `duplicate`, `insufficient_data`, …
    pub disposition: String,
    /// Hours between the first sign and the alert, where both are known.
    pub dwell_hours: Option<f64>,
    /// Whom to wake, how, and by when.
    pub escalation_path: EscalationPath,
    /// The triggers that raised the severity.
    pub escalation_triggers_fired: Vec<String>,
    /// What to collect.
    pub evidence_plan: EvidencePlan,
    /// Signs that it may be none.
    pub false_positive_indicators: Vec<FalsePositiveIndicator>,
    /// The hosts and their parts in it.
    pub hosts: Vec<Host>,
    /// One of the taxonomy's types, e.g. `ransomware`.
    pub incident_type: String,
    /// Addresses, digests, names to look for elsewhere.
    pub indicators: Vec<Indicator>,
    /// Clocks that may apply. Guidance, not legal advice.
    pub notification_clocks: Vec<NotificationClock>,
    /// The digest of the alert's bytes as they came.
    pub raw_sha256: Sha256,
    /// The next step, one sentence.
    pub recommended_action: String,
    /// How bad.
    pub severity: Severity,
    /// The rules that made it so, in the order in which they were applied.
    pub severity_explanation: Vec<Effect>,
    /// The product that raised the alert, e.g. `falco`.
    pub source: String,
    /// ATT&CK techniques.
    pub techniques: Vec<Technique>,
    /// When it happened, as the alert has it; else when it came.
    pub timestamp_utc: Instant,
    /// What would change the severity, each in a sentence.
    pub would_change_it: Vec<String>,
}

/// One rule and what it did to the severity or the type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Effect {
    /// What it did, e.g. `SEV3 → SEV1`.
    pub effect: String,
    /// What it looked at, e.g. `details.ransom_note = README_DECRYPT.txt`.
    pub input: String,
    /// Its name.
    pub rule: String,
    /// The version of the rules.
    pub version: String,
}

/// A sign that the alert may be none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FalsePositiveIndicator {
    /// The field that it looked at.
    pub field: String,
    /// Whom to ask.
    pub owner: String,
    /// The rule's name.
    pub rule: String,
    /// What stood there.
    pub value: String,
}

/// Whom to wake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EscalationPath {
    /// True when a bridge call is opened.
    pub bridge_call: bool,
    /// Roles, in the order in which they are called.
    pub escalate_to: Vec<String>,
    /// The first of them must have answered after this.
    pub respond_within_minutes: u32,
    /// True when a war room is opened.
    pub war_room: bool,
}

/// What a host has to do with an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostRole {
    /// It happened to this one.
    Victim,
    /// It came from this one.
    Source,
    /// This one told of it.
    Reporter,
    /// It passed through this one; never isolated.
    Intermediary,
}

/// A host that an alert names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// The name, the instance id or the address, as the alert has it.
    pub name: String,
    /// Its part.
    pub role: HostRole,
}

/// An ATT&CK technique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Technique {
    /// `T1486`, or with a sub-technique `T1548.003`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The retired id under which it arrived.
    pub retired_id: Option<String>,
    /// The tactic.
    pub tactic: String,
}

/// Something to look for elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Indicator {
    /// `ip`, `domain`, `url`, `sha256`, `sha1`, `md5`, `path`, `email`, `process`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// It, as the alert has it.
    pub value: String,
}

/// A clock of a regulation that may apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationClock {
    /// The fact that starts it, e.g. `aware_at`.
    pub anchor: String,
    /// The deadline after it, in words.
    pub deadline: String,
    /// The regulation.
    pub regime: String,
}

/// What to collect from the hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidencePlan {
    /// How long it takes, about.
    pub estimated_seconds: u32,
    /// The order in which the kinds of evidence are taken.
    pub order: Vec<String>,
    /// The collection profile.
    pub profile: String,
    /// The tiers that it reaches.
    pub tiers: Vec<Tier>,
}

/// What to collect from one host for an incident of a type, and how to have it collected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForensicsPlan {
    /// The collectors of the profile, in its order; the tiers go first. Empty when the profile is not a shipped one.
    pub collectors: Vec<String>,
    /// What must be on record for the evidence to stand, each in a sentence.
    pub custody: Vec<String>,
    /// The command that has it collected, word by word. `INCIDENT` and `HOST` stand where neither is known.
    pub dispatch: Vec<String>,
    /// How long it takes, about.
    pub estimated_seconds: u32,
    /// One of the taxonomy's types.
    pub incident_type: String,
    /// The order in which the kinds of evidence are taken.
    pub order: Vec<String>,
    /// The collection profile.
    pub profile: String,
    /// The severity that the plan is for.
    pub severity: Severity,
    /// True when nobody said the severity: then it is the type's default.
    pub severity_assumed: bool,
    /// The host, as it was asked for.
    pub target: Option<String>,
    /// The tiers that the profile reaches.
    pub tiers: Vec<Tier>,
}

impl ForensicsPlan {
    /// The dispatch command as one line for a POSIX shell, in which no word can be more than a word.
    pub fn dispatch_line(&self) -> String {
        let is_plain = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte))
        };
        let quoted = |word: &String| {
            if is_plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) }
        };
        self.dispatch.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// What changed rules would make of past alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// The digest of the changed rules.
    pub after: Sha256,
    /// How many alerts were assessed.
    pub alerts: u64,
    /// The digest of the rules that they are compared with.
    pub before: Sha256,
    /// What comes out differently, in the order of the alerts.
    pub differences: Vec<Difference>,
}

/// An alert, or an incident, of which changed rules make something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Under the changed rules.
    pub after: Judgement,
    /// The digests of the alerts: one, or all of an incident.
    pub alerts: Vec<Sha256>,
    /// Under the rules that they are compared with.
    pub before: Judgement,
    /// The keys of [`Judgement`] that differ.
    pub changed: Vec<String>,
    /// One line about the first alert.
    pub title: String,
}

/// The parts of an [`Assessment`] on which people and automation act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// See [`Assessment::auto_close`].
    pub auto_close: bool,
    /// See [`Assessment::disposition`].
    pub disposition: String,
    /// See [`Assessment::escalation_path`].
    pub escalation_path: EscalationPath,
    /// See [`Assessment::incident_type`].
    pub incident_type: String,
    /// See [`Assessment::severity`].
    pub severity: Severity,
    /// See [`Assessment::severity_explanation`]. A difference in it alone is none.
    pub severity_explanation: Vec<Effect>,
}

impl From<Assessment> for Judgement {
    fn from(assessment: Assessment) -> Self {
        Self {
            auto_close: assessment.auto_close,
            disposition: assessment.disposition,
            escalation_path: assessment.escalation_path,
            incident_type: assessment.incident_type,
            severity: assessment.severity,
            severity_explanation: assessment.severity_explanation,
        }
    }
}

impl Judgement {
    /// The keys in which `other` differs.
    pub fn differs_in(&self, other: &Self) -> Vec<String> {
        let keys = [
            ("auto_close", self.auto_close != other.auto_close),
            ("disposition", self.disposition != other.disposition),
            ("escalation_path", self.escalation_path != other.escalation_path),
            ("incident_type", self.incident_type != other.incident_type),
            ("severity", self.severity != other.severity),
        ];
        keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key.to_owned()).collect()
    }
}

/// A proposed containment action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Containment {
    /// The action's name, e.g. `isolate_network`, or `manual_task`.
    pub action: String,
    /// True when automation may apply it once its conditions hold.
    pub automatic: bool,
    /// What must hold first, each in a sentence.
    pub conditions: Vec<String>,
}
