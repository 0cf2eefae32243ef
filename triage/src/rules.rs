//! The rules of triage: YAML that is compiled in, read once, checked as a whole, every mistake with file and line.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use wire::assessment::Severity;
use wire::profile::{Lines, Mistake, Text, document, line_of};

pub use wire::profile::Mistakes;

use crate::calendar::Calendars;
use crate::checklist::Checklists;
use crate::classify::{Recognition, Signals};
use crate::clocks::Clocks;
use crate::containment::{Aim, ContainmentRules};
use crate::escalation::Escalation;
use crate::evidence::EvidenceRules;
use crate::false_positive::FalsePositives;
use crate::mapping::Mapping;
use crate::normalise::is_code;
use crate::roles::Roles;
use crate::severity::SeverityRules;
use crate::taxonomy::Taxonomy;
use crate::techniques::Techniques;
use crate::timers::Timers;

/// All rules.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Business hours and holidays.
    pub calendars: Calendars,
    /// What is to be done, phase by phase.
    pub checklists: Checklists,
    /// Clocks that may apply.
    pub clocks: Clocks,
    /// What to do to the hosts.
    pub containment: ContainmentRules,
    /// Whom to call.
    pub escalation: Escalation,
    /// What to collect.
    pub evidence: EvidenceRules,
    /// Signs that it may be none.
    pub false_positives: FalsePositives,
    /// Who does what.
    pub roles: Roles,
    /// How bad.
    pub severity: SeverityRules,
    /// What alerts mean.
    pub signals: Signals,
    /// The sources that are told by a mapping, in the order in which they are tried.
    pub sources: Vec<Mapping>,
    /// The types.
    pub taxonomy: Taxonomy,
    /// ATT&CK.
    pub techniques: Techniques,
    /// By when.
    pub timers: Timers,
}

/// A file's name and its text.
type File = (&'static str, &'static str);

/// A file of `data/`.
macro_rules! shipped {
    ($name:literal) => {
        ($name, include_str!(concat!("../data/", $name)))
    };
}

/// The files of one kind each.
const SINGLE: &[File] = &[
    shipped!("calendars.yaml"),
    shipped!("checklists.yaml"),
    shipped!("clocks.yaml"),
    shipped!("containment.yaml"),
    shipped!("escalation.yaml"),
    shipped!("evidence.yaml"),
    shipped!("false_positives.yaml"),
    shipped!("roles.yaml"),
    shipped!("severity.yaml"),
    shipped!("signals.yaml"),
    shipped!("taxonomy.yaml"),
    shipped!("techniques.yaml"),
    shipped!("timers.yaml"),
];

/// The files of recognitions, in the order in which they are tried.
const RECOGNITIONS: &[File] = &[
    shipped!("recognise/falco.yaml"),
    shipped!("recognise/guardduty.yaml"),
    shipped!("recognise/osquery.yaml"),
    shipped!("recognise/qradar.yaml"),
    shipped!("recognise/sigma.yaml"),
    shipped!("recognise/splunk.yaml"),
    shipped!("recognise/suricata.yaml"),
    shipped!("recognise/wazuh.yaml"),
    // What holds for several sources, after what each of them says itself.
    shipped!("recognise/commands.yaml"),
    shipped!("recognise/words.yaml"),
    // Last: what is left.
    shipped!("recognise/techniques.yaml"),
];

/// The mappings of sources, in the order in which they are tried: what detects more first.
const SOURCES: &[File] = &[
    shipped!("sources/alertmanager.yaml"),
    shipped!("sources/splunk.yaml"),
    shipped!("sources/wazuh.yaml"),
    shipped!("sources/osquery.yaml"),
    shipped!("sources/sigma.yaml"),
    shipped!("sources/qradar.yaml"),
];

static SHIPPED: LazyLock<Result<Rules, Mistakes>> = LazyLock::new(|| {
    let files = || SINGLE.iter().chain(RECOGNITIONS).chain(SOURCES);
    Rules::read(&|name| files().find(|(file, _)| *file == name).map(|(_, yaml)| (*yaml).to_owned()))
});

impl Rules {
    /// The rules as they are shipped.
    ///
    /// # Errors
    /// The mistakes in them.
    pub fn shipped() -> Result<&'static Self, &'static Mistakes> {
        SHIPPED.as_ref()
    }

    /// Reads the rules; `text` gives the YAML of a file by its name.
    ///
    /// # Errors
    /// All mistakes: in the files, and where one names what another does not have.
    pub fn read(text: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mut reader = Reader { text, lines: BTreeMap::new(), mistakes: Vec::new() };
        // All files are read, so that all mistakes are told at once.
        let calendars = reader.file("calendars.yaml");
        let checklists = reader.file("checklists.yaml");
        let clocks = reader.file("clocks.yaml");
        let containment = reader.file("containment.yaml");
        let escalation = reader.file("escalation.yaml");
        let evidence = reader.file("evidence.yaml");
        let false_positives = reader.file("false_positives.yaml");
        let roles = reader.file("roles.yaml");
        let severity = reader.file("severity.yaml");
        let signals: Option<Signals> = reader.file("signals.yaml");
        let recognitions = RECOGNITIONS.iter().filter_map(|(file, _)| reader.file(file)).collect();
        let sources = SOURCES.iter().filter_map(|(file, _)| reader.file(file)).collect();
        let taxonomy = reader.file("taxonomy.yaml");
        let techniques = reader.file("techniques.yaml");
        let timers = reader.file("timers.yaml");
        let whole = || {
            Some(Self {
                calendars: calendars?,
                checklists: checklists?,
                clocks: clocks?,
                containment: containment?,
                escalation: escalation?,
                evidence: evidence?,
                false_positives: false_positives?,
                roles: roles?,
                severity: severity?,
                signals: Signals { recognitions, ..signals? },
                sources,
                taxonomy: taxonomy?,
                techniques: techniques?,
                timers: timers?,
            })
        };
        let rules = whole();
        if let Some(rules) = &rules {
            rules.check(&mut reader);
        }
        match rules {
            Some(rules) if reader.mistakes.is_empty() => Ok(rules),
            _ => Err(Mistakes(reader.mistakes)),
        }
    }

    /// Every name that one file takes from another is there.
    fn check(&self, reader: &mut Reader) {
        self.check_signals(reader);
        self.check_sources(reader);
        self.check_taxonomy(reader);
        self.calendars.check(reader);
        self.checklists.check(self, reader);
        self.timers.check(self, reader);
        self.clocks.check(&self.calendars, reader);
        self.escalation.check(&self.calendars, reader);
        for (n, raise) in self.severity.raise.iter().enumerate() {
            let path = format!("raise[{n}]");
            for signal in raise.when.iter().flat_map(|when| &when.signals) {
                reader.known("signal", signal, self.signals.get(signal).is_some(), "severity.yaml", &path);
            }
            self.types(reader, &raise.types, "severity.yaml", &path);
        }
        self.types(reader, &self.severity.dwell_not_types, "severity.yaml", "dwell_not_types");
        for (n, clock) in self.clocks.clocks.iter().enumerate() {
            let path = format!("clocks[{n}]");
            self.types(reader, &clock.types, "clocks.yaml", &path);
            self.signal_names(reader, &clock.data, "clocks.yaml", &path);
        }
        self.signal_names(reader, &self.escalation.data_signals, "escalation.yaml", "data_signals");
        for (n, addition) in self.escalation.additions.iter().enumerate() {
            self.types(reader, &addition.types, "escalation.yaml", &format!("additions[{n}]"));
        }
        for (n, rule) in self.false_positives.rules.iter().enumerate() {
            let path = format!("rules[{n}]");
            self.types(reader, &rule.not_types, "false_positives.yaml", &path);
            let looks = !(rule.fields.is_empty() && rule.events.is_empty() && rule.labels.is_empty());
            reader.known("condition of", &rule.rule, looks, "false_positives.yaml", &path);
        }
        for (n, first) in self.evidence.first.iter().enumerate() {
            let name = std::slice::from_ref(&first.incident_type);
            self.types(reader, name, "evidence.yaml", &format!("first[{n}]"));
        }
        for severity in [Severity::Sev1, Severity::Sev2, Severity::Sev3, Severity::Sev4] {
            let profile = self.evidence.stand_in.get(&severity);
            let is_known = profile.is_some_and(|name| self.evidence.profiles.iter().any(|one| one.profile == *name));
            reader.known("profile", severity.name(), is_known, "evidence.yaml", "stand_in");
            let has_path = self.escalation.severities.iter().any(|at| at.severity == severity);
            reader.known("severity", severity.name(), has_path, "escalation.yaml", "severities");
        }
        for (old, new) in &self.techniques.retired {
            let path = format!("retired.{old}");
            reader.known("technique", new, self.techniques.knows(new), "techniques.yaml", &path);
        }
    }

    fn check_signals(&self, reader: &mut Reader) {
        const FILE: &str = "signals.yaml";
        for ((file, _), recognitions) in RECOGNITIONS.iter().zip(&self.signals.recognitions) {
            for (n, rule) in recognitions.rules.iter().enumerate() {
                self.check_recognition(reader, rule, file, &format!("rules[{n}]"));
            }
        }
        for (n, rule) in self.signals.together.iter().enumerate() {
            let path = format!("together[{n}]");
            self.signal_names(reader, &rule.all, FILE, &path);
            self.signal_names(reader, &rule.signals, FILE, &path);
            self.types(reader, std::slice::from_ref(&rule.incident_type), FILE, &path);
        }
    }

    fn check_sources(&self, reader: &mut Reader) {
        for (n, ((file, _), mapping)) in SOURCES.iter().zip(&self.sources).enumerate() {
            for (path, message) in mapping.mistakes() {
                reader.mistake(file, &path, message.to_owned());
            }
            let is_taken = |name: &str| is_code(name) || self.sources.iter().take(n).any(|one| one.source == name);
            if is_taken(&mapping.source) {
                reader.mistake(file, "source", format!("there is a source `{}` already", mapping.source));
            }
        }
    }

    fn check_recognition(&self, reader: &mut Reader, rule: &Recognition, file: &str, path: &str) {
        for name in &rule.sources {
            let is_known = is_code(name) || self.sources.iter().any(|mapping| mapping.source == *name);
            reader.known("source", name, is_known, file, &format!("{path}.sources"));
        }
        self.signal_names(reader, &rule.signals, file, &format!("{path}.signals"));
        self.types(reader, rule.incident_type.as_slice(), file, path);
        for id in &rule.techniques {
            reader.known("technique", id, self.techniques.knows(id), file, &format!("{path}.techniques"));
        }
        for tactic in &rule.tactics {
            reader.known("tactic", tactic, self.techniques.has_tactic(tactic), file, path);
        }
        reader.known("condition of", &rule.rule, rule.looks(), file, path);
        let is_sure = rule.confidence <= 100 && rule.incident_type.is_some() == (rule.confidence > 0);
        reader.known("confidence of", &rule.rule, is_sure, file, path);
    }

    fn check_taxonomy(&self, reader: &mut Reader) {
        const FILE: &str = "taxonomy.yaml";
        reader.known(
            "type",
            crate::classify::UNDECIDED,
            self.taxonomy.get(crate::classify::UNDECIDED).is_some(),
            FILE,
            "types",
        );
        for (word, name) in &self.taxonomy.aliases {
            self.types(reader, std::slice::from_ref(name), FILE, &format!("aliases.{word}"));
        }
        for (n, one) in self.taxonomy.types.iter().enumerate() {
            for id in &one.techniques {
                reader.known("technique", id, self.techniques.knows(id), FILE, &format!("types[{n}].techniques"));
            }
            for (m, default) in one.containment.iter().enumerate() {
                let path = format!("types[{n}].containment[{m}]");
                let action = self.containment.actions.iter().find(|action| action.action == default.action);
                reader.known("action", &default.action, action.is_some(), FILE, &path);
                // Nobody does a task that has no owner and no deadline.
                let is_manual = action.is_some_and(|action| action.aimed_at == Aim::People);
                let is_whole = default.task.is_some() && default.owner.is_some() && default.within_minutes.is_some();
                reader.known("task, owner and deadline of", &default.action, !is_manual || is_whole, FILE, &path);
            }
        }
    }

    fn types(&self, reader: &mut Reader, names: &[String], file: &str, path: &str) {
        for name in names {
            reader.known("type", name, self.taxonomy.get(name).is_some(), file, path);
        }
    }

    fn signal_names(&self, reader: &mut Reader, names: &[String], file: &str, path: &str) {
        for name in names {
            reader.known("signal", name, self.signals.get(name).is_some(), file, path);
        }
    }
}

pub(crate) struct Reader<'a> {
    text: &'a dyn Fn(&str) -> Option<String>,
    lines: BTreeMap<String, Lines>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn file<T: DeserializeOwned>(&mut self, file: &str) -> Option<T> {
        let Some(yaml) = (self.text)(file) else {
            self.mistakes.push(Mistake {
                file: file.to_owned(),
                line: 0,
                message: "it is not there".to_owned(),
                hint: None,
            });
            return None;
        };
        match document(&Text { file: file.to_owned(), yaml }) {
            Ok((read, lines)) => {
                self.lines.insert(file.to_owned(), lines);
                Some(read)
            }
            Err(mistake) => {
                self.mistakes.push(mistake);
                None
            }
        }
    }

    pub(crate) fn known(&mut self, what: &str, name: &str, is_known: bool, file: &str, path: &str) {
        if !is_known {
            self.mistake(file, path, format!("unknown or missing {what} `{name}`"));
        }
    }

    pub(crate) fn mistake(&mut self, file: &str, path: &str, message: String) {
        let line = self.lines.get(file).map_or(0, |lines| line_of(lines, path));
        self.mistakes.push(Mistake { file: file.to_owned(), line, message, hint: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(file: &str, from: &str, to: &str) -> String {
        let read = |name: &str| {
            let (_, yaml) = SINGLE.iter().chain(RECOGNITIONS).chain(SOURCES).find(|(file, _)| *file == name)?;
            Some(if name == file { yaml.replacen(from, to, 1) } else { (*yaml).to_owned() })
        };
        Rules::read(&read).map_or_else(|mistakes| mistakes.to_string(), |_| "no mistake".to_owned())
    }

    #[test]
    fn the_shipped_rules_have_no_mistake() {
        assert_eq!(with("", "", ""), "no mistake");
    }

    #[test]
    fn mistakes_are_found_with_file_and_line() {
        for (file, from, to, wanted) in [
            (
                "recognise/falco.yaml",
                "signals: [hostile_code]",
                "signals: [hostil_code]",
                "unknown or missing signal `hostil_code`",
            ),
            ("recognise/falco.yaml", "type: malware_infection", "type: malware", "unknown or missing type `malware`"),
            ("taxonomy.yaml", "action: freeze_process", "action: freeze", "unknown or missing action `freeze`"),
            (
                "taxonomy.yaml",
                "        owner: platform engineering\n",
                "",
                "unknown or missing task, owner and deadline",
            ),
            ("calendars.yaml", "nth: 2 monday 10", "nth: 2 moonday 10", "\"moonday\" is no weekday"),
            ("calendars.yaml", "zone: Europe/Brussels", "zone: Europe/Brusels", "\"Europe/Brusels\" is no time zone"),
            (
                "calendars.yaml",
                "weekend: []",
                "weekend: [monday, tuesday, wednesday, thursday, friday, saturday, sunday]",
                "unknown or missing business hours of `every_day`",
            ),
            ("checklists.yaml", "owner: legal", "owner: lawyer", "unknown or missing role `lawyer`"),
            (
                "checklists.yaml",
                "id: lead.aware",
                "id: lead.command",
                "unknown or missing id of its own of step `lead.command`",
            ),
            ("clocks.yaml", "within: 72 h, after", "within: 72 hours, after", "\"72 hours\" is no span"),
            ("clocks.yaml", "calendar: eu", "calendar: mars", "unknown or missing calendar `mars`"),
            (
                "clocks.yaml",
                "after: submission of initial",
                "after: submission of first",
                "unknown or missing earlier stage `first`",
            ),
            ("escalation.yaml", "rounds_max: 12", "rounds_max: 0", "unknown or missing schedule of `SEV1`"),
            (
                "timers.yaml",
                "met_by: [lead.severity]",
                "met_by: [lead.severe]",
                "unknown or missing step `lead.severe`",
            ),
            ("clocks.yaml", "after: aware_at", "after: declared_at", "\"declared_at\" is no anchor"),
            ("severity.yaml", "  - rule: ransom_note\n", "  - rul: ransom_note\n", "unknown field `rul`"),
            ("sources/alertmanager.yaml", "- has: [groupKey", "- has: [groupKey.", "`groupKey.` is no path"),
            ("sources/alertmanager.yaml", "occurred_at:", "occured_at:", "unknown field `occured_at`"),
            ("evidence.yaml", "SEV1: intrusion", "SEV1: ransomware", "unknown or missing profile `SEV1`"),
        ] {
            let mistakes = with(file, from, to);
            let (place, message) = mistakes.split_once(": ").unwrap_or_default();
            let line: usize =
                place.strip_prefix(file).and_then(|rest| rest.strip_prefix(':')).unwrap_or("0").parse().unwrap();
            assert!(line > 1 && message.starts_with(wanted), "{file} {to:?} gave {mistakes:?}");
        }
    }

    #[test]
    fn every_planned_profile_is_in_the_profiles_folder() {
        let rules = Rules::shipped().unwrap();
        for severity in [Severity::Sev1, Severity::Sev2, Severity::Sev3, Severity::Sev4] {
            for incident_type in &rules.taxonomy.types {
                let plan = rules.evidence.plan(incident_type, severity);
                let path = format!("{}/../profiles/{}.yaml", env!("CARGO_MANIFEST_DIR"), plan.profile);
                assert!(std::fs::exists(&path).unwrap(), "{} at {severity} plans {path}", incident_type.name);
                assert!(!plan.tiers.is_empty() && plan.estimated_seconds > 0);
            }
        }
    }
}
