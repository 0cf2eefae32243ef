//! What the rules say of each other: every name that one file takes from another is there.

use wire::assessment::Severity;

use super::Rules;
use super::read::Reader;
use crate::classify::Recognition;
use crate::containment::Aim;
use crate::normalise::is_code;

impl Rules {
    /// Every name that one file takes from another is there.
    pub(super) fn check(&self, reader: &mut Reader) {
        self.check_together(reader);
        self.check_taxonomy(reader);
        self.calendars.check(reader);
        self.checklists.check(self, reader);
        self.drafts.check(reader);
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
        for (n, one) in self.evidence.by_signal.iter().enumerate() {
            let path = format!("by_signal[{n}]");
            self.types(reader, &one.types, "evidence.yaml", &path);
            self.signal_names(reader, std::slice::from_ref(&one.signal), "evidence.yaml", &path);
            let is_known = self.evidence.profiles.iter().any(|planned| planned.profile == one.profile);
            reader.known("profile", &one.profile, is_known, "evidence.yaml", &path);
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

    /// The recognitions of each of these files.
    pub(super) fn check_recognitions(&self, reader: &mut Reader, files: &[String]) {
        for (file, recognitions) in files.iter().zip(&self.signals.recognitions) {
            for (n, rule) in recognitions.rules.iter().enumerate() {
                self.check_recognition(reader, rule, file, &format!("rules[{n}]"));
            }
        }
    }

    fn check_together(&self, reader: &mut Reader) {
        const FILE: &str = "signals.yaml";
        for (n, rule) in self.signals.together.iter().enumerate() {
            let path = format!("together[{n}]");
            self.signal_names(reader, &rule.all, FILE, &path);
            self.signal_names(reader, &rule.signals, FILE, &path);
            self.types(reader, std::slice::from_ref(&rule.incident_type), FILE, &path);
        }
    }

    /// The mapping of each of these files.
    pub(super) fn check_sources(&self, reader: &mut Reader, files: &[String]) {
        for (n, (file, mapping)) in files.iter().zip(&self.sources).enumerate() {
            for (path, message) in mapping.mistakes() {
                reader.mistake(file, &path, message.to_owned());
            }
            // A site's files go first: of two with one name the site's is told of.
            let others = self.sources.iter().skip(n + 1).any(|other| other.source == mapping.source);
            if others || is_code(&mapping.source) {
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
