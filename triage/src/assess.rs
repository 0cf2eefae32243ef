//! All alerts of one incident into one answer.

use std::collections::{BTreeMap, BTreeSet};

use wire::assessment::{Assessment, Effect, FalsePositiveIndicator, HostRole, Severity, Technique};
use wire::{Instant, Sha256};

use crate::alert::Marker;
use crate::containment::Situation;
use crate::false_positive::Sign;
use crate::incident::Incident;
use crate::rules::{Mistakes, Rules};
use crate::severity::{Rated, rate};
use crate::taxonomy::IncidentType;
use crate::techniques::is_id;
use crate::{Alert, NotTaken, Override, normalise};

/// What is known beside the alerts.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// How critical hosts are, by name or exact id in lower case: `critical`, `high`, …
    pub criticality: BTreeMap<String, String>,
    /// Hosts that are never isolated, by name or exact id in lower case.
    pub never_isolate: BTreeSet<String>,
    /// What a person decided against the rules.
    pub overridden: Option<Override>,
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
        Self { criticality: BTreeMap::new(), never_isolate: BTreeSet::new(), overridden: None, rules }
    }
}

/// What `alerts`, all of one incident, come to. Their order does not matter; duplicates count once.
pub fn assess(alerts: &[&Alert], context: &Context) -> Assessment {
    let rules = context.rules;
    let incident = Incident::of(alerts, rules);
    let rated = rate(&incident, criticality(&incident, context), context.overridden.as_ref(), rules);
    let verdict = verdict(&incident, &rated, context.overridden.is_some());
    let severity = if verdict.auto_close { Severity::Sev4 } else { rated.severity };
    let signs = signs(&incident, &rated);
    let mut explanation = rated.explanation;
    if verdict.auto_close {
        explanation.push(Effect {
            effect: format!("{} → {severity}", rated.severity),
            input: verdict.reason.clone(),
            rule: verdict.disposition.to_owned(),
            version: rules.severity.version.clone(),
        });
    }
    let decided = rules.taxonomy.get(&rated.incident_type);
    let situation = situation(&incident, severity, context);
    let shows_effect = incident.counting().any(|reading| incident.shows_effect(reading));
    let first = incident.counting().next().map(|reading| reading.alert);
    let timestamp_utc = first.map_or(Instant(0), Alert::at);
    Assessment {
        accounts: collected(incident.counting().flat_map(|reading| reading.alert.accounts.iter().cloned())),
        auto_close: verdict.auto_close,
        classification_confidence: f64::from(rated.confidence) / 100.0,
        containment: decided
            .filter(|_| !verdict.auto_close)
            .map(|decided| rules.containment.propose(decided, situation))
            .unwrap_or_default(),
        disposition: verdict.disposition.to_owned(),
        dwell_hours: rated.dwell_hours,
        escalation_path: decided
            .map(|decided| rules.escalation.path(decided, severity, &incident.signals))
            .unwrap_or_default(),
        // In a sample nothing happened.
        escalation_triggers_fired: if verdict.auto_close { Vec::new() } else { rated.triggers },
        evidence_plan: decided
            .map(|decided| rules.evidence.plan(decided, severity, |signal| incident.signals.contains(signal)))
            .unwrap_or_default(),
        hosts: incident.hosts(),
        indicators: collected(incident.counting().flat_map(|reading| reading.alert.indicators.iter().cloned())),
        notification_clocks: rules.clocks.that_may_apply(
            &rated.incident_type,
            severity,
            &incident.signals,
            timestamp_utc,
        ),
        raw_sha256: first.map_or(Sha256([0; 32]), |alert| alert.raw_sha256),
        recommended_action: recommended(&verdict, decided, severity, &signs, situation.is_confirmed, shows_effect),
        false_positive_indicators: signs,
        severity,
        severity_explanation: explanation,
        source: collected(incident.counting().map(|reading| reading.alert.source.clone())).join("+"),
        techniques: techniques(&incident, decided, rules),
        timestamp_utc,
        would_change_it: if verdict.auto_close { Vec::new() } else { rated.would_change_it },
        incident_type: rated.incident_type,
    }
}

/// What the alerts are worth.
struct Verdict {
    disposition: &'static str,
    auto_close: bool,
    reason: String,
}

/// Closed by itself: a vendor's sample; a test, a routine event or what was closed upstream, unless it would be SEV1. An
/// intruder can call an alert a test; nobody but the vendor can make a sample. Nothing is closed that a person rated.
fn verdict(incident: &Incident, rated: &Rated, is_overridden: bool) -> Verdict {
    let is_critical = rated.severity == Severity::Sev1;
    let closed = |disposition, reason: String| Verdict { disposition, auto_close: !is_overridden, reason };
    let open = |disposition| Verdict { disposition, auto_close: false, reason: String::new() };
    if incident.all_marked(Marker::Sample) {
        return closed("test", "a sample finding that the product made up: nothing happened".to_owned());
    }
    if incident.all_marked(Marker::Test) && !is_critical {
        return closed("test", "it says that it is a test, and nothing in it is critical".to_owned());
    }
    if incident.all_marked(Marker::ClosedUpstream) && !is_critical {
        return closed("disregard", "closed where it was raised, and nothing in it is critical".to_owned());
    }
    let shows_effect = incident.counting().any(|reading| incident.shows_effect(reading));
    if let Some(sign) = incident.signs_in_all(|rule| rule.closes).first()
        && !is_critical
        && !shows_effect
    {
        let disposition = if sign.rule.tests { "test" } else { "benign" };
        return closed(disposition, format!("{} ({}), owned by {}", sign.rule.why, sign.rule.rule, sign.rule.owner));
    }
    if incident.agreement.is_some() || incident.all_marked(Marker::VendorConfirmed) {
        return open("true_positive");
    }
    if !is_critical && !incident.signs_in_all(|rule| rule.tests).is_empty() {
        return open("test");
    }
    // Nothing recognised, nothing declared.
    open(if rated.confidence == 0 { "insufficient_data" } else { "suspicious" })
}

fn signs(incident: &Incident, rated: &Rated) -> Vec<FalsePositiveIndicator> {
    let all = incident.counting().flat_map(|reading| &reading.signs);
    collected(all.filter(|sign| sign.rule.speaks_of(&rated.incident_type)).map(Sign::indicator))
}

fn recommended(
    verdict: &Verdict,
    decided: Option<&IncidentType>,
    severity: Severity,
    signs: &[FalsePositiveIndicator],
    is_confirmed: bool,
    shows_effect: bool,
) -> String {
    let next_step = decided.map_or("", |decided| decided.next_step.as_str());
    if verdict.auto_close {
        return format!("Nothing: {}.", verdict.reason.trim_end_matches('.'));
    }
    match (severity, signs.first()) {
        (Severity::Sev1, _) if !is_confirmed => {
            format!("Provisional SEV1, one source so far; containment waits for an approver. {next_step}")
        }
        (Severity::Sev1, _) | (_, None) => next_step.to_owned(),
        // A runner that mines is no false positive because runners start many things.
        (_, Some(sign)) if shows_effect => {
            format!("{next_step} Ask {} at the same time, without waiting: {} may explain it.", sign.owner, sign.rule)
        }
        (_, Some(sign)) => format!("Likely a false positive ({}): ask {} first. {next_step}", sign.rule, sign.owner),
    }
}

/// The alerts' own techniques go first, then the rules'; the type's first one where there is none at all.
fn techniques(incident: &Incident, decided: Option<&IncidentType>, rules: &Rules) -> Vec<Technique> {
    let own = incident.counting().flat_map(|reading| reading.alert.techniques.iter().map(String::as_str));
    let added = incident.counting().flat_map(|reading| reading.meaning.techniques.iter().copied());
    let mut techniques: Vec<Technique> = Vec::new();
    for technique in own.chain(added).map(|id| rules.techniques.resolve(id)) {
        // Some products put all sorts of words there.
        if !is_id(&technique.id) {
            continue;
        }
        if techniques.len() < Alert::LIST_MAX && !techniques.iter().any(|one| one.id == technique.id) {
            techniques.push(technique);
        }
    }
    if techniques.is_empty() {
        let first = decided.and_then(|decided| decided.techniques.first());
        techniques.extend(first.map(|id| rules.techniques.resolve(id)));
    }
    techniques
}

/// The label of the first victim that has one, in the alert or with us; and whose it is.
fn criticality<'a>(incident: &'a Incident, context: &'a Context) -> Option<(&'a str, &'a str)> {
    incident.counting().find_map(|reading| {
        let alert = reading.alert;
        let ours = names(alert).find_map(|name| context.criticality.get_key_value(&plain(name)));
        let theirs = || alert.fields.get("asset.criticality").map(|label| ("the alert's asset", label.as_str()));
        ours.map(|(name, label)| (name.as_str(), label.as_str())).or_else(theirs)
    })
}

/// All names and ids of an alert's victims.
fn names(alert: &Alert) -> impl Iterator<Item = &str> {
    let victims = alert.hosts.iter().filter(|host| host.role == HostRole::Victim);
    victims.flat_map(|host| alert.names(host)).chain(alert.ids.iter().map(|id| id.value.as_str()))
}

/// Products write one name in many ways.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_lowercase()
}

fn situation(incident: &Incident, severity: Severity, context: &Context) -> Situation {
    Situation {
        severity,
        is_confirmed: incident.agreement.is_some(),
        is_exact: incident.counting().any(|reading| !reading.alert.ids.is_empty()),
        is_listed: incident
            .counting()
            .any(|reading| names(reading.alert).any(|name| context.never_isolate.contains(&plain(name)))),
    }
}

/// The entries, each once, in their order, at most [`Alert::LIST_MAX`].
fn collected<T: PartialEq>(entries: impl Iterator<Item = T>) -> Vec<T> {
    let mut list = Vec::new();
    for entry in entries {
        if list.len() == Alert::LIST_MAX {
            break;
        }
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
    list
}

/// Every alert in `raw`, each assessed by itself.
///
/// # Errors
/// See [`normalise`].
pub fn triage_incident(raw: &[u8], received: Instant, context: &Context) -> Result<Vec<Assessment>, NotTaken> {
    let taken = normalise(raw, received, context.rules)?;
    Ok(taken.iter().map(|parsed| assess(&[&parsed.alert], context)).collect())
}
