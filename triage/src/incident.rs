//! The alerts of one incident, read together: which count, which agree, which systems are concerned.

use std::collections::{BTreeMap, BTreeSet};

use wire::assessment::{Effect, Host, HostRole};

use crate::Alert;
use crate::alert::Marker;
use crate::classify::{Meaning, Worth, classify};
use crate::correlate::{Keys, are_independent, is_duplicate, keys, tied};
use crate::false_positive::{FalsePositiveRule, Sign};
use crate::rules::Rules;

/// The most alerts of one incident that are read, the newest: pairs of them are compared.
pub const ALERTS_MAX: usize = 512;

/// One alert and what it means.
#[derive(Debug)]
pub struct Reading<'a> {
    /// The alert.
    pub alert: &'a Alert,
    /// What it means.
    pub meaning: Meaning<'a>,
    /// Signs that it may be none.
    pub signs: Vec<Sign<'a>>,
}

impl<'a> Reading<'a> {
    fn of(alert: &'a Alert, rules: &'a Rules) -> Self {
        let meaning = classify(alert, rules);
        let signs = rules.false_positives.signs(alert, meaning.incident_type);
        Self { alert, meaning, signs }
    }

    /// A benign cause of this very detection.
    pub fn benign_cause(&self) -> Option<&Sign<'a>> {
        self.signs.iter().find(|sign| sign.rule.lowers)
    }

    /// True unless it was stopped, made for a test, closed already or has a benign cause.
    pub fn is_in_force(&self) -> bool {
        let marks = [Marker::Prevented, Marker::Test, Marker::ClosedUpstream];
        self.benign_cause().is_none() && !marks.iter().any(|mark| self.alert.markers.contains(mark))
    }

    /// True when it was stopped before it took effect.
    pub fn is_prevented(&self) -> bool {
        self.alert.markers.contains(&Marker::Prevented)
    }
}

/// The alerts of one incident.
#[derive(Debug)]
pub struct Incident<'a> {
    /// All that are no duplicates, in the order in which it happened.
    pub readings: Vec<Reading<'a>>,
    /// Two independent sources that both saw an effect, and what ties them: what "confirmed" means.
    pub agreement: Option<String>,
    /// All signals of the alerts that count, and those that follow from several together.
    pub signals: BTreeSet<&'a str>,
    /// Those of them that do not come from alerts alone of what was stopped, made for a test or closed already.
    pub signals_in_force: BTreeSet<&'a str>,
    /// Those that do not come from alerts alone of what was stopped.
    pub signals_in_effect: BTreeSet<&'a str>,
    /// The types that follow from several alerts together: name, confidence in percent.
    pub together: Vec<(&'a str, u32)>,
    /// The rules by which they follow.
    pub together_effects: Vec<Effect>,
    rules: &'a Rules,
}

impl<'a> Incident<'a> {
    /// Reads `alerts`, in whatever order they come.
    pub fn of(alerts: &[&'a Alert], rules: &'a Rules) -> Self {
        let mut sorted = alerts.to_vec();
        // The newest update of a record stands for it.
        sorted.sort_by_key(|alert| std::cmp::Reverse((alert.at(), &alert.product, alert.raw_sha256)));
        let mut kept: Vec<&Alert> = Vec::new();
        for alert in sorted {
            if kept.len() < ALERTS_MAX && !kept.iter().any(|other| is_duplicate(other, alert)) {
                kept.push(alert);
            }
        }
        kept.reverse();
        let readings = kept.into_iter().map(|alert| Reading::of(alert, rules)).collect();
        let mut incident = Self {
            readings,
            agreement: None,
            signals: BTreeSet::new(),
            signals_in_force: BTreeSet::new(),
            signals_in_effect: BTreeSet::new(),
            together: Vec::new(),
            together_effects: Vec::new(),
            rules,
        };
        let signals = |reading: &'_ Reading<'a>| reading.meaning.signals.clone();
        incident.signals = incident.counting().flat_map(signals).collect();
        incident.signals_in_force =
            incident.counting().filter(|reading| reading.is_in_force()).flat_map(signals).collect();
        incident.signals_in_effect =
            incident.counting().filter(|reading| !reading.is_prevented()).flat_map(signals).collect();
        incident.agreement = incident
            .pair(|reading| incident.shows_effect(reading))
            .map(|(a, b, reason)| format!("{} and {} agree: {reason}", a.alert.product, b.alert.product));
        incident.conclude();
        incident
    }

    /// The readings that count: a vendor's sample says nothing about us, unless nothing else is there.
    pub fn counting(&self) -> impl Iterator<Item = &Reading<'a>> + Clone {
        let is_sample = |reading: &Reading| reading.alert.markers.contains(&Marker::Sample);
        let all_samples = self.readings.iter().all(is_sample);
        self.readings.iter().filter(move |reading| all_samples || !is_sample(reading))
    }

    /// True when every alert bears this mark.
    pub fn all_marked(&self, marker: Marker) -> bool {
        !self.readings.is_empty() && self.counting().all(|reading| reading.alert.markers.contains(&marker))
    }

    /// True when it shows that something of an intruder took effect.
    pub fn shows_effect(&self, reading: &Reading) -> bool {
        self.rules.signals.has(&reading.meaning.signals, Worth::Compromise) && reading.is_in_force()
    }

    /// A sign of this kind in each alert that counts: the first of each, and none where one alert has none.
    pub fn signs_in_all(&self, wanted: fn(&FalsePositiveRule) -> bool) -> Vec<&Sign<'a>> {
        let of = |reading: &'_ Reading<'a>| reading.signs.iter().position(|sign| wanted(sign.rule));
        let found: Option<Vec<&Sign>> =
            self.counting().map(|reading| of(reading).and_then(|at| reading.signs.get(at))).collect();
        found.unwrap_or_default()
    }

    /// True when two independent sources that belong together say all of `signals` between them, each at least one.
    pub fn agree_on(&self, signals: &[String]) -> bool {
        let says = |reading: &Reading| {
            !reading.is_prevented() && signals.iter().any(|name| reading.meaning.signals.contains(name.as_str()))
        };
        let all = |a: &Reading, b: &Reading| {
            signals.iter().all(|name| [a, b].iter().any(|one| one.meaning.signals.contains(name.as_str())))
        };
        self.pairs(says).any(|(a, b, _)| all(a, b))
    }

    /// The systems on which something took effect, by their names; containers and pods are not counted apart.
    pub fn compromised_systems(&self) -> Vec<String> {
        let affected = self.counting().filter(|reading| self.shows_effect(reading));
        merged(affected.flat_map(|reading| {
            let victims =
                reading.alert.hosts.iter().filter(|host| host.role == HostRole::Victim && is_machine(&host.name));
            victims.map(|host| (reading.alert, host))
        }))
        .into_iter()
        .map(|(host, _)| host.name)
        .collect()
    }

    /// All hosts, one entry for each, the victims first.
    pub fn hosts(&self) -> Vec<Host> {
        let all = self.counting().flat_map(|reading| reading.alert.hosts.iter().map(|host| (reading.alert, host)));
        let mut hosts: Vec<Host> = merged(all).into_iter().map(|(host, _)| host).collect();
        hosts.sort_by(|a, b| (a.role, &a.name).cmp(&(b.role, &b.name)));
        hosts.truncate(Alert::LIST_MAX);
        hosts
    }

    fn conclude(&mut self) {
        for rule in &self.rules.signals.together {
            let is_there = rule.all.iter().all(|name| self.signals.contains(name.as_str()));
            if !is_there || (rule.sources > 1 && !self.agree_on(&rule.all)) {
                continue;
            }
            self.together.push((&rule.incident_type, rule.confidence));
            self.signals.extend(rule.signals.iter().map(String::as_str));
            // Each set on its own: what was stopped adds nothing to what took effect.
            for set in [&mut self.signals_in_force, &mut self.signals_in_effect] {
                if rule.all.iter().all(|name| set.contains(name.as_str())) {
                    set.extend(rule.signals.iter().map(String::as_str));
                }
            }
            self.together_effects.push(Effect {
                effect: format!("{} ({} %): {}", rule.incident_type, rule.confidence, rule.means),
                input: format!("signals {}", rule.all.join(" + ")),
                rule: rule.rule.clone(),
                version: self.rules.signals.version.clone(),
            });
        }
    }

    fn pair(&self, wanted: impl Fn(&Reading) -> bool) -> Option<(&Reading<'a>, &Reading<'a>, String)> {
        self.pairs(wanted).next()
    }

    fn pairs(&self, wanted: impl Fn(&Reading) -> bool) -> impl Iterator<Item = (&Reading<'a>, &Reading<'a>, String)> {
        // Keys once for each alert, not for each pair.
        let wanted = self.counting().filter(|reading| wanted(reading));
        let wanted: Vec<(&Reading, Keys)> = wanted.map(|reading| (reading, keys(reading.alert))).collect();
        let pairs = (0..wanted.len()).flat_map({
            let count = wanted.len();
            move |first| (first + 1..count).map(move |second| (first, second))
        });
        pairs.filter_map(move |(first, second)| {
            let ((a, a_keys), (b, b_keys)) = (&wanted[first], &wanted[second]);
            let tied = || tied((a.alert, a_keys), (b.alert, b_keys));
            are_independent(a.alert, b.alert).then(tied).flatten().map(|why| (*a, *b, why))
        })
    }
}

/// `gce:vm-1` is a machine, and so is `localhost:8081`; `pod:…`, `s3:…`, `deployments:…` are none.
pub fn is_machine(name: &str) -> bool {
    const MACHINES: &[&str] = &["gce", "instance", "vm"];
    let Some((kind, rest)) = name.split_once(':') else { return true };
    let is_port = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    is_port || MACHINES.contains(&kind) || name.parse::<std::net::IpAddr>().is_ok()
}

/// One entry for each host, with all its names. It is shown under the listed name that people know best.
pub fn merged<'a>(hosts: impl Iterator<Item = (&'a Alert, &'a Host)>) -> Vec<(Host, BTreeSet<&'a str>)> {
    let mut groups: Vec<Option<(Host, BTreeSet<&str>)>> = Vec::new();
    // By key, so that many hosts are not compared with each other: under which a group is found, and finds others.
    let (mut stored, mut sought) = (BTreeMap::<String, Vec<usize>>::new(), BTreeMap::<String, Vec<usize>>::new());
    // Where a group went that was merged into a later one.
    let mut moved: Vec<usize> = Vec::new();
    for (alert, host) in hosts {
        let mut entry = (host.clone(), alert.names(host).collect::<BTreeSet<_>>());
        // The same listed name is the same host, even one that every host has.
        let mut keys = Keys::same(format!("listed:{}", host.name));
        for name in &entry.1 {
            let of_name = Keys::of_host(name);
            keys.stored.extend(of_name.stored);
            keys.sought.extend(of_name.sought);
        }
        let this = groups.len();
        // All that are found become one with this: each key that found them leads here.
        let find = |key: &String, index: &mut BTreeMap<String, Vec<usize>>| {
            index.get_mut(key).map(|found| std::mem::replace(found, vec![this])).unwrap_or_default()
        };
        let mut tied: BTreeSet<usize> = keys.sought.iter().flat_map(|key| find(key, &mut stored)).collect();
        tied.extend(keys.stored.iter().flat_map(|key| find(key, &mut sought)));
        // There before the others move: two that are tied may be one already, which is this by then.
        groups.push(None);
        moved.push(this);
        for mut at in tied {
            while moved[at] != at {
                at = moved[at];
            }
            let Some((other, names)) = groups[at].take() else { continue };
            moved[at] = this;
            entry.0.role = entry.0.role.min(other.role);
            entry.0.name =
                std::cmp::min_by_key(entry.0.name, other.name, |name| (is_id(name), name.len(), name.clone()));
            entry.1.extend(names);
        }
        keys.sought.into_iter().for_each(|key| sought.entry(key).or_default().push(this));
        keys.stored.into_iter().for_each(|key| stored.entry(key).or_default().push(this));
        groups[this] = Some(entry);
    }
    groups.into_iter().flatten().collect()
}

/// True for an instance id or an address, which tell people less than a name does.
fn is_id(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok()
        || name
            .strip_prefix("i-")
            .is_some_and(|rest| rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
