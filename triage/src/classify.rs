//! One alert into signals, a type and techniques (`data/signals.yaml`, `data/recognise/*.yaml`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use wire::assessment::Effect;

use crate::Alert;
use crate::alert::{Level, Marker};
use crate::matching::{Scope, glob, says, sentences};
use crate::rules::Rules;
use crate::techniques::Techniques;

/// What nothing decided.
pub const UNDECIDED: &str = "security_alert";
/// The confidence of a type that the sender declares: somebody or something looked at it already.
const DECLARED_PERCENT: u32 = 90;

/// The vocabulary, and how alerts are recognised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signals {
    /// The version of the file.
    pub version: String,
    /// The vocabulary.
    pub signals: Vec<Signal>,
    /// How alerts are recognised, a file for each source.
    #[serde(skip)]
    pub recognitions: Vec<Recognitions>,
    /// All of them are tried on the signals of an incident.
    pub together: Vec<Together>,
}

/// One file of recognitions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recognitions {
    /// The version of the file.
    pub version: String,
    /// All of them are tried on each alert.
    pub rules: Vec<Recognition>,
}

/// One word of the vocabulary.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Its name.
    pub signal: String,
    /// What it is worth.
    pub is: Worth,
    /// In words.
    pub means: String,
}

/// What a signal is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worth {
    /// Something of an intruder took effect.
    Compromise,
    /// It was tried.
    Attempt,
    /// It has harmless explanations as well.
    Doubt,
    /// It says something about what else is there.
    Context,
}

/// How one kind of alert is recognised: when everything that it names holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recognition {
    /// Its name.
    pub rule: String,
    /// Any of these normalisers.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The event fits any of these globs.
    #[serde(default)]
    pub events: Vec<String>,
    /// A label fits any of these globs.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Each field fits any of its globs.
    #[serde(default)]
    pub fields: BTreeMap<String, Vec<String>>,
    /// A technique that the alert names fits any of these globs; a retired one by what it became.
    #[serde(default)]
    pub carries: Vec<String>,
    /// A technique that the alert names is of any of these tactics.
    #[serde(default)]
    pub tactics: Vec<String>,
    /// The product calls it one of these.
    #[serde(default)]
    pub levels: Vec<Level>,
    /// A sentence has a phrase of every group.
    #[serde(default)]
    pub phrases: Vec<Vec<String>>,
    /// And none of these.
    #[serde(default)]
    pub unless: Vec<String>,
    /// The type that it speaks for.
    #[serde(default, rename = "type")]
    pub incident_type: Option<String>,
    /// How surely, in percent.
    #[serde(default)]
    pub confidence: u32,
    /// True when it is tried only where nothing before it has decided a type.
    #[serde(default)]
    pub fallback: bool,
    /// What it says.
    pub signals: Vec<String>,
    /// ATT&CK ids.
    #[serde(default)]
    pub techniques: Vec<String>,
}

/// What signals of several alerts mean together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Together {
    /// Its name.
    pub rule: String,
    /// All of these are there.
    pub all: Vec<String>,
    /// From so many independent sources that agree: 1 or 2.
    #[serde(default)]
    pub sources: u32,
    /// The type that it speaks for.
    #[serde(rename = "type")]
    pub incident_type: String,
    /// How surely, in percent.
    pub confidence: u32,
    /// What it adds.
    pub signals: Vec<String>,
    /// In words.
    pub means: String,
}

/// What one alert means.
#[derive(Clone, Debug)]
pub struct Meaning<'a> {
    /// How surely it is of this type, in percent.
    pub confidence: u32,
    /// What the type was decided by.
    pub effects: Vec<Effect>,
    /// One of the taxonomy.
    pub incident_type: &'a str,
    /// What it says.
    pub signals: BTreeSet<&'a str>,
    /// The techniques that the rules add.
    pub techniques: Vec<&'a str>,
}

/// What `alert` means by these rules.
pub fn classify<'a>(alert: &Alert, rules: &'a Rules) -> Meaning<'a> {
    let mut meaning = Meaning {
        confidence: 0,
        effects: Vec::new(),
        incident_type: UNDECIDED,
        signals: BTreeSet::new(),
        techniques: Vec::new(),
    };
    let mut decided = Vec::new();
    if let Some(declared) = alert.type_declared.as_deref()
        && let Some(meant) = rules.taxonomy.meant(declared)
    {
        // "security_alert" declares nothing.
        let confidence = if meant.name == UNDECIDED { 1 } else { DECLARED_PERCENT };
        decided.push((confidence, meant.name.as_str()));
        meaning.effects.push(Effect {
            effect: format!("{} ({confidence} %)", meant.name),
            input: format!("event_type = {declared}"),
            rule: "declared_type".to_owned(),
            version: rules.taxonomy.version.clone(),
        });
    }
    let sentences: Vec<String> = alert.text.iter().flat_map(|text| sentences(text)).collect();
    let carried: Vec<String> = alert.techniques.iter().map(|id| rules.techniques.current(id)).collect();
    let files = rules.signals.recognitions.iter();
    for (version, rule) in files.flat_map(|file| file.rules.iter().map(|rule| (&file.version, rule))) {
        if rule.fallback && !decided.is_empty() {
            continue;
        }
        let Some(input) = rule.holds(alert, &sentences, &carried, &rules.techniques) else { continue };
        meaning.signals.extend(rule.signals.iter().map(String::as_str));
        for technique in &rule.techniques {
            if !meaning.techniques.contains(&technique.as_str()) {
                meaning.techniques.push(technique);
            }
        }
        if let Some(name) = &rule.incident_type {
            decided.push((rule.confidence, name));
        }
        meaning.effects.push(rule.effect(input, alert.markers.contains(&Marker::Prevented), version, rules));
    }
    let best = decided.into_iter().max_by_key(|(confidence, name)| {
        (*confidence, rules.taxonomy.default_severity(name), std::cmp::Reverse(*name))
    });
    if let Some((confidence, name)) = best {
        (meaning.confidence, meaning.incident_type) = (confidence, name);
    }
    meaning
}

impl Recognition {
    /// True when it looks at anything of an alert beyond its source.
    pub fn looks(&self) -> bool {
        let Self { events, labels, fields, carries, tactics, phrases, .. } = self;
        let lists = [events, labels, carries, tactics];
        lists.iter().any(|list| !list.is_empty()) || !fields.is_empty() || !phrases.is_empty()
    }

    /// What of the alert it looked at; `None` where it does not hold.
    fn holds(
        &self,
        alert: &Alert,
        sentences: &[String],
        carried: &[String],
        techniques: &Techniques,
    ) -> Option<String> {
        let Self { sources, events, labels, fields, .. } = self;
        let found = Scope { sources, events, labels, fields }.holds(alert)?;
        let mut inputs: Vec<String> = found.into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
        if !self.carries.is_empty() {
            let fits = |id: &&String| self.carries.iter().any(|pattern| glob(pattern, id));
            inputs.push(format!("technique = {}", carried.iter().find(fits)?));
        }
        if !self.tactics.is_empty() {
            let (id, tactic) = carried.iter().find_map(|id| {
                let tactic = techniques.tactics(id).iter().find(|tactic| self.tactics.contains(tactic))?;
                Some((id, tactic))
            })?;
            inputs.push(format!("tactic = {tactic} ({id})"));
        }
        if !self.levels.is_empty() {
            let said = alert.vendor_severity.as_ref().filter(|severity| self.levels.contains(&severity.level))?;
            inputs.push(format!("{} says {} ({})", alert.product, said.value, said.scale));
        }
        if !self.phrases.is_empty() {
            let said = sentences.iter().find_map(|sentence| self.said(sentence))?;
            inputs.push(format!("text says {}", said.join(" … ")));
        }
        Some(inputs.join(", "))
    }

    /// The phrase of each group that the sentence has.
    fn said(&self, sentence: &str) -> Option<Vec<&str>> {
        if self.unless.iter().any(|phrase| says(sentence, phrase)) {
            return None;
        }
        let group = |group: &'_ Vec<String>| group.iter().position(|phrase| says(sentence, phrase));
        self.phrases.iter().map(|phrases| group(phrases).map(|at| phrases[at].trim_end_matches('*'))).collect()
    }

    /// What was stopped has not come about, and is not told as if it had.
    fn effect(&self, input: String, is_stopped: bool, version: &str, rules: &Rules) -> Effect {
        let decides = self.incident_type.as_ref().map(|name| format!("{name} ({} %)", self.confidence));
        let means = self.signals.iter().filter_map(|name| rules.signals.get(name)).map(|signal| match signal.is {
            Worth::Compromise if is_stopped => format!("stopped: {}", signal.means),
            _ => signal.means.clone(),
        });
        Effect {
            effect: decides.into_iter().chain(means).collect::<Vec<_>>().join("; "),
            input,
            rule: self.rule.clone(),
            version: version.to_owned(),
        }
    }
}

impl Signals {
    /// The word of this name.
    pub fn get(&self, name: &str) -> Option<&Signal> {
        self.signals.iter().find(|signal| signal.signal == name)
    }

    /// True when one of `names` is worth this.
    pub fn has(&self, names: &BTreeSet<&str>, worth: Worth) -> bool {
        names.iter().any(|name| self.get(name).is_some_and(|signal| signal.is == worth))
    }
}
