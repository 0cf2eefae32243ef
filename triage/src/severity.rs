//! How bad an incident is, why, and what would change it (`data/severity.yaml`).
//!
//! The highest of: the type's default, lowered by one where nothing took effect; the dwell time; what raises it. A
//! host's criticality raises by one. Nothing but evidence lowers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use wire::assessment::{Effect, Severity};

use crate::alert::{Level, Marker};
use crate::classify::{UNDECIDED, Worth};
use crate::incident::{Incident, Reading};
use crate::overrides::Override;
use crate::rules::Rules;

/// The most sentences on what would change it.
const WOULD_MAX: usize = 6;

/// The rules of severity.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityRules {
    /// The version of the file.
    pub version: String,
    /// What lowers a type's default.
    pub lowering: Lowering,
    /// What would lower a default that nothing lowers yet.
    pub would_lower: String,
    /// The least for a type that nothing decided, where the product calls it high or critical.
    pub unclassified_vendor_high: Severity,
    /// Of these an old first sign is no intruder that stayed.
    pub dwell_not_types: Vec<String>,
    /// The severity from so many hours on.
    pub dwell: Vec<Dwell>,
    /// Labels of hosts that raise by one.
    pub critical_labels: Vec<String>,
    /// What raises it.
    pub raise: Vec<Raise>,
}

/// What lowers a type's default by one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lowering {
    /// See [`Marker::Prevented`].
    pub prevented: Lowers,
    /// See [`Worth::Attempt`].
    pub attempt: Lowers,
    /// See [`Worth::Doubt`].
    pub doubt: Lowers,
    /// The same, where the product sends it for information only: by two.
    pub for_information: Lowers,
    /// See [`crate::false_positive::FalsePositiveRule::lowers`].
    pub known_benign: Lowers,
}

/// One reason to lower.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lowers {
    /// In words.
    pub means: String,
    /// What would undo it.
    pub would: String,
}

/// A dwell time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dwell {
    /// From so many hours on.
    pub hours: u32,
    /// At least this.
    pub severity: Severity,
}

/// Something that raises the severity.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raise {
    /// Its name, by which senders may name it as well.
    pub rule: String,
    /// Other names by which senders may name it.
    #[serde(default)]
    pub also: Vec<String>,
    /// True when it is named among the triggers that fired.
    #[serde(default)]
    pub trigger: bool,
    /// True for a trigger that is an effect: what was stopped before it took effect does not set it off.
    #[serde(default)]
    pub in_effect: bool,
    /// At least this.
    pub severity: Severity,
    /// Any of these.
    pub when: Vec<When>,
    /// What would make it hold.
    pub would: String,
    /// The types for which that is worth saying; empty is all.
    pub types: Vec<String>,
}

/// All that is named holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// All of these are there.
    #[serde(default)]
    pub signals: Vec<String>,
    /// From so many independent sources that agree.
    #[serde(default)]
    pub sources: u32,
    /// The product or a person of its vendor confirms it.
    #[serde(default)]
    pub vendor_confirmed: bool,
    /// So many systems are compromised.
    #[serde(default)]
    pub systems: usize,
    /// A field's number is at least this.
    #[serde(default)]
    pub at_least: BTreeMap<String, u64>,
}

/// The severity, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Rated {
    /// How surely it is of this type, in percent.
    pub confidence: u32,
    /// Hours between the first sign and the last.
    pub dwell_hours: Option<f64>,
    /// The rules in the order in which they were applied.
    pub explanation: Vec<Effect>,
    /// The type that decided the severity.
    pub incident_type: String,
    /// How bad.
    pub severity: Severity,
    /// The triggers that fired.
    pub triggers: Vec<String>,
    /// What would change it.
    pub would_change_it: Vec<String>,
}

/// A type with its default, moderated by what the alert shows.
struct Candidate<'a> {
    name: &'a str,
    confidence: u32,
    severity: Severity,
    lowered: Option<Weakness<'a>>,
}

/// Why an alert does not show that anything took effect.
struct Weakness<'a> {
    rule: &'static str,
    steps: usize,
    input: String,
    lowers: &'a Lowers,
}

/// Rates an incident. `criticality`: the label of one of its victims and whose it is. `said`: what a person decided.
pub fn rate(incident: &Incident, criticality: Option<(&str, &str)>, said: Option<&Override>, rules: &Rules) -> Rated {
    let table = &rules.severity;
    let best = best(incident, said, rules);
    let mut rated = Rated {
        confidence: best.confidence,
        dwell_hours: dwell(incident),
        explanation: Vec::new(),
        incident_type: best.name.to_owned(),
        severity: best.severity,
        triggers: Vec::new(),
        would_change_it: Vec::new(),
    };
    explain_type(&mut rated, &best, incident, rules);
    if let Some(said) = said.filter(|said| said.incident_type.as_deref() == Some(best.name)) {
        rated.note("human_override", said.input(), format!("incident_type → {}", best.name), table);
    }
    vendor(&mut rated, incident, table);
    stayed(&mut rated, incident, table);
    // What was stopped raises nothing beyond the triggers: a ransom note outranks that its dropper was stopped.
    let is_stopped = incident.all_marked(Marker::Prevented);
    for raise in table.raise.iter().filter(|raise| raise.trigger || !is_stopped) {
        let named = incident.counting().any(|reading| reading.alert.triggers.iter().any(|name| raise.is(name)));
        let input = if named { Some("the sender names it".to_owned()) } else { raise.holds(incident) };
        if let Some(input) = input {
            if raise.trigger {
                rated.triggers.push(raise.rule.clone());
            }
            rated.at_least(raise.severity, &raise.rule, input, table);
        }
    }
    if let Some((host, label)) = criticality
        && table.critical_labels.iter().any(|critical| critical.eq_ignore_ascii_case(label))
    {
        let input = format!("asset.criticality of {host} = {label}");
        rated.at_least(raised(rated.severity), "asset_criticality", input, table);
    }
    if let Some(agreement) = &incident.agreement {
        rated.confidence = rated.confidence.max(90);
        rated.note("two_independent_sources", agreement.clone(), "confirmed".to_owned(), table);
    }
    if let Some(said) = said {
        rated.overridden(said, table);
    }
    rated.would_change_it = would_change(&rated, &best, table);
    rated
}

impl Raise {
    /// True when a sender means it by `name`.
    fn is(&self, name: &str) -> bool {
        let name = name.trim().to_lowercase().replace(['-', ' '], "_");
        self.rule == name || self.also.contains(&name)
    }
}

impl Rated {
    fn note(&mut self, rule: &str, input: String, effect: String, table: &SeverityRules) {
        let version = table.version.clone();
        self.explanation.push(Effect { effect, input, rule: rule.to_owned(), version });
    }

    /// Upward it always holds; downward until a trigger fires that the person did not know.
    fn overridden(&mut self, said: &Override, table: &SeverityRules) {
        let Some(severity) = said.severity else { return };
        let since = self.triggers.iter().find(|trigger| !said.triggers_then.contains(trigger));
        if let Some(trigger) = since.filter(|_| severity < self.severity) {
            let effect = format!("{severity} is set aside: {trigger} fired since");
            self.note("human_override", said.input(), effect, table);
            return;
        }
        let effect = format!("{} → {severity}", self.severity);
        self.severity = severity;
        self.note("human_override", said.input(), effect, table);
    }

    fn at_least(&mut self, severity: Severity, rule: &str, input: String, table: &SeverityRules) {
        let effect = if severity > self.severity {
            format!("{} → {severity}", self.severity)
        } else {
            format!("at least {severity}: no change")
        };
        self.severity = self.severity.max(severity);
        self.note(rule, input, effect, table);
    }
}

/// The type that a person decided; else the one that makes the incident worst, among equals the surest.
fn best<'a>(incident: &Incident<'a>, said: Option<&Override>, rules: &'a Rules) -> Candidate<'a> {
    let decided = said.and_then(|said| rules.taxonomy.get(said.incident_type.as_deref()?));
    let of_alerts = incident.counting().map(|reading| {
        let name = reading.meaning.incident_type;
        let default = rules.taxonomy.default_severity(name);
        let lowered = weakness(incident, reading, rules).filter(|_| default > Severity::Sev4);
        let steps = lowered.as_ref().map_or(0, |weakness| weakness.steps);
        let severity = (0..steps).fold(default, |severity, _| self::lowered(severity));
        Candidate { name, confidence: reading.meaning.confidence, severity, lowered }
    });
    let of_all = incident.together.iter().map(|(name, confidence)| {
        let severity = rules.taxonomy.default_severity(name);
        Candidate { name, confidence: *confidence, severity, lowered: None }
    });
    if let Some(decided) = decided {
        return Candidate { name: &decided.name, confidence: 100, severity: decided.severity, lowered: None };
    }
    of_alerts
        .chain(of_all)
        .max_by_key(|one| (one.severity, one.name != UNDECIDED, one.confidence, std::cmp::Reverse(one.name)))
        .unwrap_or(Candidate { name: UNDECIDED, confidence: 0, severity: Severity::Sev4, lowered: None })
}

fn weakness<'a>(incident: &Incident, reading: &Reading, rules: &'a Rules) -> Option<Weakness<'a>> {
    let marked = |marker| reading.alert.markers.contains(&marker);
    let has = |worth| rules.signals.has(&reading.meaning.signals, worth);
    let another_shows = || incident.counting().any(|other| incident.shows_effect(other));
    let table = &rules.severity.lowering;
    let because = |rule, lowers: &'a Lowers| Some(Weakness { rule, steps: 1, input: lowers.means.clone(), lowers });
    if marked(Marker::Prevented) {
        return because("prevented", &table.prevented);
    }
    if marked(Marker::VendorConfirmed) {
        return None;
    }
    if let Some(sign) = reading.benign_cause() {
        let lowers = &table.known_benign;
        let input = format!("{} ({}): {} {}", sign.rule.rule, sign.input(), lowers.means, sign.rule.why);
        return Some(Weakness { rule: "known_benign", steps: 1, input, lowers });
    }
    if has(Worth::Compromise) {
        return None;
    }
    if has(Worth::Attempt) {
        return because("attempt_only", &table.attempt);
    }
    if has(Worth::Doubt) && !another_shows() {
        let level = reading.alert.vendor_severity.as_ref().map(|severity| severity.level);
        if level == Some(Level::Informational) {
            let lowers = &table.for_information;
            return Some(Weakness { rule: "for_information", steps: 2, input: lowers.means.clone(), lowers });
        }
        return because("unconfirmed", &table.doubt);
    }
    None
}

fn explain_type(rated: &mut Rated, best: &Candidate, incident: &Incident, rules: &Rules) {
    for reading in incident.counting() {
        for effect in &reading.meaning.effects {
            // Several alerts of one kind are explained once.
            if !rated.explanation.contains(effect) && rated.explanation.len() < crate::Alert::LIST_MAX {
                rated.explanation.push(effect.clone());
            }
        }
    }
    rated.explanation.extend(incident.together_effects.iter().cloned());
    let default = rules.taxonomy.default_severity(best.name);
    rated.explanation.push(Effect {
        effect: default.to_string(),
        input: format!("incident_type = {}", best.name),
        rule: "type_default".to_owned(),
        version: rules.taxonomy.version.clone(),
    });
    if let Some(Weakness { rule, input, .. }) = &best.lowered {
        rated.note(rule, input.clone(), format!("{default} → {}", best.severity), &rules.severity);
    }
}

/// The vendor's severity is one input, wrong in both directions: it decides only where nothing else did.
fn vendor(rated: &mut Rated, incident: &Incident, table: &SeverityRules) {
    let all = incident.counting().filter_map(|reading| {
        reading.alert.vendor_severity.as_ref().map(|severity| (severity.level, severity, &reading.alert.product))
    });
    let Some((level, severity, product)) =
        all.max_by_key(|(level, severity, product)| (*level, &severity.value, *product))
    else {
        return;
    };
    let input = format!("{product} says {} ({})", severity.value, severity.scale);
    let is_tested = incident.all_marked(Marker::Test);
    if rated.incident_type == UNDECIDED && level >= Level::High && !is_tested && incident.signals.is_empty() {
        rated.at_least(table.unclassified_vendor_high, "vendor_severity", input, table);
    } else {
        rated.note("vendor_severity", input, "noted; the type and the evidence decide".to_owned(), table);
    }
}

/// Hours from the first sign to the last, over all alerts that show an effect; what a sender counts goes first.
fn dwell(incident: &Incident) -> Option<f64> {
    let declared = incident.counting().filter_map(|reading| reading.alert.dwell_hours).max_by(f64::total_cmp);
    let seen = incident.counting().filter(|reading| reading.alert.first_seen.is_some());
    let first = seen.clone().filter_map(|reading| reading.alert.first_seen).min();
    let last = seen.map(|reading| reading.alert.last_seen.unwrap_or(reading.alert.at())).max();
    let between = first.zip(last).and_then(|(first, last)| {
        let seconds = u32::try_from(last.unix_seconds().checked_sub(first.unix_seconds())?).ok()?;
        Some(f64::from(seconds) / 3600.0)
    });
    declared.or(between)
}

fn stayed(rated: &mut Rated, incident: &Incident, table: &SeverityRules) {
    let Some(hours) = rated.dwell_hours else { return };
    let is_declared = incident.counting().any(|reading| reading.alert.dwell_hours.is_some());
    let is_intruder = incident.counting().any(|reading| incident.shows_effect(reading))
        && !table.dwell_not_types.contains(&rated.incident_type);
    if !is_declared && !is_intruder {
        return;
    }
    if let Some(reached) =
        table.dwell.iter().filter(|dwell| hours >= f64::from(dwell.hours)).max_by_key(|one| one.hours)
    {
        let input = format!("dwell_hours = {hours:.1}, {} h or more", reached.hours);
        rated.at_least(reached.severity, "dwell", input, table);
    }
}

impl Raise {
    /// What made it hold.
    fn holds(&self, incident: &Incident) -> Option<String> {
        // What was stopped sets off a trigger all the same, unless the trigger is the effect itself; it is no access.
        let signals = match (self.trigger, self.in_effect) {
            (true, false) => &incident.signals,
            (true, true) => &incident.signals_in_effect,
            (false, _) => &incident.signals_in_force,
        };
        self.when.iter().find_map(|when| when.holds(incident, signals))
    }
}

impl When {
    fn holds(&self, incident: &Incident, signals: &BTreeSet<&str>) -> Option<String> {
        let mut inputs = Vec::new();
        if !self.signals.is_empty() {
            self.signals.iter().all(|name| signals.contains(name.as_str())).then_some(())?;
            inputs.push(format!("signals {}", self.signals.join(" + ")));
        }
        if self.sources > 1 {
            incident.agree_on(&self.signals).then_some(())?;
            inputs.push("from two independent sources".to_owned());
        }
        if self.vendor_confirmed {
            incident.counting().find(|reading| reading.alert.markers.contains(&Marker::VendorConfirmed))?;
            inputs.push("confirmed by the product".to_owned());
        }
        if self.systems > 0 {
            let systems = incident.compromised_systems();
            (systems.len() >= self.systems).then_some(())?;
            inputs.push(format!("compromised: {}", systems.join(", ")));
        }
        for (name, least) in &self.at_least {
            let number = |reading: &Reading| reading.alert.fields.get(name)?.parse::<u64>().ok();
            let most = incident.counting().filter_map(number).max().filter(|number| number >= least)?;
            inputs.push(format!("{name} = {most}"));
        }
        Some(inputs.join(", "))
    }
}

fn would_change(rated: &Rated, best: &Candidate, table: &SeverityRules) -> Vec<String> {
    let raises = table.raise.iter().filter(|raise| {
        raise.severity > rated.severity && (raise.types.is_empty() || raise.types.contains(&rated.incident_type))
    });
    let undone = best.lowered.as_ref().map(|weakness| weakness.lowers.would.clone());
    let mut would: Vec<String> = undone.into_iter().chain(raises.map(|raise| raise.would.clone())).collect();
    would.truncate(WOULD_MAX);
    let is_by_type = best.lowered.is_none() && rated.severity == best.severity;
    if is_by_type && rated.severity > Severity::Sev4 && rated.triggers.is_empty() {
        would.push(table.would_lower.clone());
    }
    would
}

/// One step worse.
const fn raised(severity: Severity) -> Severity {
    match severity {
        Severity::Sev4 => Severity::Sev3,
        Severity::Sev3 => Severity::Sev2,
        Severity::Sev2 | Severity::Sev1 => Severity::Sev1,
    }
}

/// One step less bad.
const fn lowered(severity: Severity) -> Severity {
    match severity {
        Severity::Sev1 => Severity::Sev2,
        Severity::Sev2 => Severity::Sev3,
        Severity::Sev3 | Severity::Sev4 => Severity::Sev4,
    }
}
