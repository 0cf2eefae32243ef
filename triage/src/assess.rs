//! All alerts of one incident into one answer.

use std::collections::{BTreeMap, BTreeSet};

use wire::Instant;
use wire::assessment::{Assessment, EscalationPath, EvidencePlan, Severity};

use crate::rules::{Mistakes, Rules};
use crate::{Alert, NotTaken, normalise};

/// What is known beside the alerts.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// How critical hosts are, by name or exact id: `critical`, `high`, … from their labels.
    pub criticality: BTreeMap<String, String>,
    /// Hosts that are never isolated, by name or exact id.
    pub never_isolate: BTreeSet<String>,
    /// The rules.
    pub rules: &'a Rules,
}

impl Context<'static> {
    /// The shipped rules, and nothing known of any host.
    ///
    /// # Errors
    /// The mistakes in the rules; a test sees to it that there are none.
    pub fn shipped() -> Result<Self, &'static Mistakes> {
        Rules::shipped().map(Context::with)
    }
}

impl<'a> Context<'a> {
    /// These rules, and nothing known of any host.
    pub const fn with(rules: &'a Rules) -> Self {
        Self { criticality: BTreeMap::new(), never_isolate: BTreeSet::new(), rules }
    }
}

/// What `alerts`, all of one incident and at least one, come to. Their order does not matter; duplicates count once.
pub fn assess(alerts: &[&Alert], _context: &Context) -> Assessment {
    let first = alerts.first();
    Assessment {
        accounts: Vec::new(),
        auto_close: false,
        classification_confidence: 0.0,
        containment: Vec::new(),
        disposition: "insufficient_data".to_owned(),
        dwell_hours: None,
        escalation_path: EscalationPath::default(),
        escalation_triggers_fired: Vec::new(),
        evidence_plan: EvidencePlan::default(),
        false_positive_indicators: Vec::new(),
        hosts: first.map(|alert| alert.hosts.clone()).unwrap_or_default(),
        incident_type: "security_alert".to_owned(),
        indicators: Vec::new(),
        notification_clocks: Vec::new(),
        raw_sha256: first.map_or(wire::Sha256([0; 32]), |alert| alert.raw_sha256),
        recommended_action: String::new(),
        severity: Severity::Sev4,
        severity_explanation: Vec::new(),
        source: first.map(|alert| alert.source.clone()).unwrap_or_default(),
        techniques: Vec::new(),
        timestamp_utc: first.map_or(Instant(0), |alert| alert.at()),
        would_change_it: Vec::new(),
    }
}

/// Every alert in `raw`, each assessed by itself.
///
/// # Errors
/// See [`normalise`].
pub fn triage_incident(raw: &[u8], received: Instant, context: &Context) -> Result<Vec<Assessment>, NotTaken> {
    let taken = normalise(raw, received)?;
    Ok(taken.iter().map(|parsed| assess(&[&parsed.alert], context)).collect())
}
