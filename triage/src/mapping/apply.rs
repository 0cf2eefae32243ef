//! A record and its mapping into an alert.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::Value;
use wire::assessment::{Host, HostRole};

use super::path::{Expression, Path};
use super::{Condition, Glob, HostMapping, Levels, Mapping, Scale};
use crate::Alert;
use crate::alert::{HostIdKind, Level, VendorSeverity};
use crate::fields::Field;
use crate::matching::glob;
use crate::normalise::{is_ours, kind_of};

/// No technique's name is longer.
const TECHNIQUE_NAME_MAX: usize = 80;

impl Mapping {
    /// What `record` says; `None` when it is not this source's.
    pub fn read(&self, record: &Value) -> Option<Alert> {
        let record = self.parsed_in(record);
        let record = Field::of(&record);
        if !self.detect.iter().any(|condition| condition.holds(record)) {
            return None;
        }
        let mut alert = Alert::empty(&self.source);
        self.names(&mut alert, record);
        self.times(&mut alert, record);
        alert.vendor_severity = self.severity.iter().find_map(|scale| self.rated(scale, record));
        self.hosts.iter().for_each(|host| self.host(&mut alert, host, record));
        self.lists(&mut alert, record);
        self.outward(&mut alert, record);
        for (name, expressions) in &self.fields {
            alert.set(name, self.first(expressions, record).unwrap_or_default());
        }
        self.usual_facts(&mut alert);
        let holding = self.markers.iter().filter(|marker| marker.when.holds(record));
        alert.markers.extend(holding.map(|marker| marker.marker));
        Some(alert)
    }

    /// The record with the JSON that stands in its texts; a copy only where there is any.
    fn parsed_in<'a>(&self, record: &'a Value) -> Cow<'a, Value> {
        let mut parsed = Cow::Borrowed(record);
        for path in &self.parsed {
            // Each one sees what those before it have read.
            let holds_json = |text: String| text.starts_with(['{', '[']);
            if path.texts(Field::of(&parsed)).into_iter().any(holds_json) {
                path.parse_in(parsed.to_mut());
            }
        }
        parsed
    }

    fn names(&self, alert: &mut Alert, record: Field) {
        if let Some(product) = self.first(&self.product, record) {
            alert.product = product.to_lowercase();
        }
        alert.event = self.first(&self.event, record).unwrap_or_default();
        let title = self.first(&self.title, record).unwrap_or_else(|| alert.event.clone());
        title.lines().next().unwrap_or(&self.source).trim().clone_into(&mut alert.title);
        alert.source_ref = self.first(&self.reference, record);
        alert.type_declared = self.first(&self.incident_type, record);
    }

    fn times(&self, alert: &mut Alert, record: Field) {
        let time = |expressions| {
            let texts = self.all(expressions, record);
            texts.into_iter().find_map(|text| Field::of(&Value::String(text)).time())
        };
        alert.occurred_at = time(&self.occurred_at);
        alert.first_seen = time(&self.first_seen);
        alert.last_seen = time(&self.last_seen);
        let hours = self.first(&self.dwell_hours, record).and_then(|text| text.parse().ok());
        alert.dwell_hours = hours.filter(|hours: &f64| hours.is_finite() && *hours >= 0.0);
    }

    fn rated(&self, scale: &Scale, record: Field) -> Option<VendorSeverity> {
        let value = scale.path.texts(record, &self.nothing).into_iter().next()?;
        let level = scale.levels.of(&value)?;
        Some(VendorSeverity { level, scale: scale.name.clone(), value })
    }

    fn host(&self, alert: &mut Alert, host: &HostMapping, record: Field) {
        for record in each(host.each.as_ref(), host.when.as_ref(), record) {
            let names = self.firsts(&host.names, record);
            if let [name] = names.as_slice() {
                for other in self.all(&host.also, record) {
                    alert.alias(other, name);
                }
            }
            for name in names {
                alert.host(name, host.role);
            }
        }
    }

    /// Turns victim and source round where the traffic leaves us. An exact id of the other end is none of ours.
    fn outward(&self, alert: &mut Alert, record: Field) {
        let Some(ends) = &self.ends else { return };
        let address = |expressions| -> Option<IpAddr> { self.first(expressions, record)?.parse().ok() };
        let (Some(ours), Some(other)) = (address(&ends.ours), address(&ends.other)) else { return };
        let other_text = other.to_string();
        let other_name = alert.aliases.get(&other_text).cloned().unwrap_or(other_text);
        let is_there = |host: &Host| host.role == HostRole::Victim && host.name == other_name;
        if !is_ours(ours) || is_ours(other) || !alert.hosts.iter().any(is_there) {
            return;
        }
        for host in &mut alert.hosts {
            host.role = match host.role {
                HostRole::Victim => HostRole::Source,
                HostRole::Source => HostRole::Victim,
                role => role,
            };
        }
        alert.ids.retain(|id| id.value != other_name);
        let victims = alert.hosts.iter().filter(|host| host.role == HostRole::Victim).map(|host| host.name.clone());
        for name in victims.collect::<Vec<_>>() {
            alert.fqdn(name);
        }
    }

    fn lists(&self, alert: &mut Alert, record: Field) {
        let holds = |when: &Option<Condition>| when.as_ref().is_none_or(|when| when.holds(record));
        for id in &self.ids {
            let records = each(id.each.as_ref(), id.when.as_ref(), record);
            for value in records.into_iter().flat_map(|record| self.all(&id.paths, record)) {
                match id.kind {
                    HostIdKind::Fqdn => alert.fqdn(value),
                    kind => alert.id(kind, value),
                }
            }
        }
        for indicator in self.indicators.iter().filter(|indicator| holds(&indicator.when)) {
            for value in self.all(&indicator.paths, record) {
                let kind = if indicator.kind == "auto" { kind_of(&value) } else { &indicator.kind };
                alert.indicator(kind, value);
            }
        }
        self.all(&self.accounts, record).into_iter().for_each(|name| alert.account(name));
        for text in self.all(&self.techniques, record) {
            technique_ids(&text).for_each(|id| alert.technique(id));
        }
        let names = self.all(&self.technique_names, record);
        names.into_iter().filter(|name| name.len() <= TECHNIQUE_NAME_MAX).for_each(|name| alert.technique(name));
        self.all(&self.words, record).into_iter().for_each(|text| alert.words(text));
        alert.labels.extend(self.all(&self.labels, record));
        alert.triggers = self.all(&self.triggers, record);
    }

    /// The facts that false-positive rules ask for most, where the file does not give them.
    fn usual_facts(&self, alert: &mut Alert) {
        let victim = alert.hosts.iter().find(|host| host.role == HostRole::Victim);
        // `pod:default/web` is no host's name.
        let name = victim.map(|host| host.name.clone()).filter(|name| !name.contains(':'));
        let account = alert.accounts.first().cloned();
        for (fact, value) in [("host.name", name), ("actor.user", account)] {
            if !self.fields.contains_key(fact) {
                alert.set(fact, value.unwrap_or_default());
            }
        }
    }

    /// The texts of the first expression that gives any.
    fn firsts(&self, expressions: &[Expression], record: Field) -> Vec<String> {
        let texts = expressions.iter().map(|one| one.texts(record, &self.nothing));
        texts.into_iter().find(|texts| !texts.is_empty()).unwrap_or_default()
    }

    fn first(&self, expressions: &[Expression], record: Field) -> Option<String> {
        self.firsts(expressions, record).into_iter().next()
    }

    /// The texts of all expressions, at most [`Alert::LIST_MAX`].
    fn all(&self, expressions: &[Expression], record: Field) -> Vec<String> {
        let texts = expressions.iter().flat_map(|one| one.texts(record, &self.nothing));
        texts.take(Alert::LIST_MAX).collect()
    }
}

/// The records that `path` leads to, else the whole one; those for which `when` holds.
fn each<'a>(path: Option<&Path>, when: Option<&Condition>, record: Field<'a>) -> Vec<Field<'a>> {
    let mut records = path.map_or_else(|| vec![record], |path| path.values(record));
    records.retain(|record| when.is_none_or(|when| when.holds(*record)));
    records
}

impl Condition {
    /// True when everything that it names holds.
    pub fn holds(&self, record: Field) -> bool {
        let is_there = |path: &Path| !path.values(record).is_empty();
        let fits = |(path, globs): (&Path, &Vec<Glob>)| {
            path.texts(record).iter().any(|text| globs.iter().any(|pattern| glob(&pattern.0, text)))
        };
        self.has.iter().all(is_there)
            && !self.lacks.iter().any(is_there)
            && self.equals.iter().all(fits)
            && !self.unequal.iter().any(fits)
            && !self.same_host.iter().any(|names| are_two_hosts(names, record))
            && self.other_host.iter().all(|names| are_two_hosts(names, record))
    }
}

/// True when both paths name a host and not the same one: `web-1` and `web-1.example.com` are one.
fn are_two_hosts((a, b): (&Path, &Path), record: Field) -> bool {
    let name = |path: &Path| path.texts(record).into_iter().next().map(|name| name.to_lowercase());
    let (Some(a), Some(b)) = (name(a), name(b)) else { return false };
    let is_within = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
    a != b && !is_within(&a, &b) && !is_within(&b, &a)
}

impl Levels {
    fn of(&self, value: &str) -> Option<Level> {
        let number = || value.parse().ok().filter(|number: &f64| number.is_finite());
        match self {
            Self::Words(levels) => levels.get(&value.to_lowercase()).copied(),
            Self::AtLeast(bounds) => {
                let number: f64 = number()?;
                bounds.iter().find(|(bound, _)| number >= *bound).map(|(_, level)| *level)
            }
            Self::AtMost(bounds) => {
                let number: f64 = number()?;
                bounds.iter().find(|(bound, _)| number <= *bound).map(|(_, level)| *level)
            }
        }
    }
}

/// Every `T1234` and `T1234.001` in a text, in upper case. Not `T12345`, nor one in the middle of a word.
pub(crate) fn technique_ids(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).map(|word| word.trim_end_matches('.'));
    // `attack.t1059.001`, as Sigma writes it.
    let words = words.map(|word| word.find(".t1").or(word.find(".T1")).map_or(word, |at| &word[at + 1..]));
    words.filter(|word| is_technique(word)).map(str::to_ascii_uppercase)
}

/// `T1620`, `t1548.003`.
fn is_technique(word: &str) -> bool {
    let is_number = |part: &str, digits| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
    let Some(rest) = word.strip_prefix(['T', 't']) else { return false };
    match rest.split_once('.') {
        Some((technique, sub)) => is_number(technique, 4) && is_number(sub, 3),
        None => is_number(rest, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn technique_ids_are_found_in_texts() {
        for (text, wanted) in [
            ("T1059", &["T1059"][..]),
            ("attack.t1059.001", &["T1059.001"]),
            ("[T1110, T1078.004]: see T1021.", &["T1110", "T1078.004", "T1021"]),
            ("https://attack.mitre.org/techniques/T1041/", &["T1041"]),
            ("T12345 XT1059 TA0001 mite T1059.1", &[]),
        ] {
            assert_eq!(technique_ids(text).collect::<Vec<_>>(), wanted, "{text}");
        }
    }
}
