//! The rules of triage: YAML that is compiled in, read once, checked as a whole, every mistake with file and line.

mod check;
mod layers;
mod read;

use std::sync::LazyLock;

use wire::Sha256;

pub use read::SiteFile;
pub use wire::profile::Mistakes;

pub(crate) use read::Reader;

use crate::calendar::Calendars;
use crate::checklist::Checklists;
use crate::classify::Signals;
use crate::clocks::Clocks;
use crate::containment::ContainmentRules;
use crate::drafts::Drafts;
use crate::escalation::Escalation;
use crate::evidence::EvidenceRules;
use crate::false_positive::FalsePositives;
use crate::mapping::Mapping;
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
    digest: Sha256,
    /// What is told to whom.
    pub drafts: Drafts,
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
    shipped!("drafts.yaml"),
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
    shipped!("recognise/alertmanager.yaml"),
    shipped!("recognise/cef.yaml"),
    shipped!("recognise/crowdstrike.yaml"),
    shipped!("recognise/defender.yaml"),
    shipped!("recognise/elastic.yaml"),
    shipped!("recognise/falco.yaml"),
    shipped!("recognise/guardduty.yaml"),
    shipped!("recognise/k8s_audit.yaml"),
    shipped!("recognise/ocsf.yaml"),
    shipped!("recognise/osquery.yaml"),
    shipped!("recognise/qradar.yaml"),
    shipped!("recognise/scc.yaml"),
    shipped!("recognise/securityhub.yaml"),
    shipped!("recognise/sigma.yaml"),
    shipped!("recognise/splunk.yaml"),
    shipped!("recognise/suricata.yaml"),
    shipped!("recognise/sysdig.yaml"),
    shipped!("recognise/wazuh.yaml"),
    // What holds for several sources, after what each of them says itself.
    shipped!("recognise/commands.yaml"),
    shipped!("recognise/tactics.yaml"),
    shipped!("recognise/words.yaml"),
    // Last: what is left.
    shipped!("recognise/techniques.yaml"),
];

/// The mappings of sources, in the order in which they are tried: what detects more first.
const SOURCES: &[File] = &[
    shipped!("sources/alertmanager.yaml"),
    shipped!("sources/k8s_audit.yaml"),
    shipped!("sources/ocsf.yaml"),
    shipped!("sources/securityhub.yaml"),
    shipped!("sources/sysdig.yaml"),
    shipped!("sources/scc.yaml"),
    shipped!("sources/crowdstrike.yaml"),
    shipped!("sources/sentinel.yaml"),
    shipped!("sources/defender_cloud.yaml"),
    shipped!("sources/defender_xdr.yaml"),
    shipped!("sources/defender.yaml"),
    shipped!("sources/splunk.yaml"),
    shipped!("sources/wazuh.yaml"),
    shipped!("sources/osquery.yaml"),
    shipped!("sources/sigma.yaml"),
    shipped!("sources/qradar.yaml"),
    // What any product may write, after what is known of each.
    shipped!("sources/cef.yaml"),
    shipped!("sources/leef.yaml"),
    // Any product's records in ECS, last.
    shipped!("sources/elastic.yaml"),
];

static SHIPPED: LazyLock<Result<Rules, Mistakes>> = LazyLock::new(|| Rules::with_site(&[]));

impl Rules {
    /// The rules as they are shipped.
    ///
    /// # Errors
    /// The mistakes in them.
    pub fn shipped() -> Result<&'static Self, &'static Mistakes> {
        SHIPPED.as_ref()
    }

    /// The shipped rules with those of a site over them: see [`layers`]. Recognitions and sources in files of names that
    /// are not shipped are tried before the shipped ones, in the order of `site`.
    ///
    /// # Errors
    /// All mistakes: in the files, and where one names what another does not have.
    pub fn with_site(site: &[SiteFile]) -> Result<Self, Mistakes> {
        Self::read(SINGLE.iter().chain(RECOGNITIONS).chain(SOURCES).copied().collect(), site)
    }

    /// The digest of all texts that the rules were read from.
    pub const fn version(&self) -> Sha256 {
        self.digest
    }

    fn read(shipped: Vec<(&'static str, &str)>, site: &[SiteFile]) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(shipped, site);
        // All files are read, so that all mistakes are told at once.
        let calendars = reader.file("calendars.yaml");
        let checklists = reader.file("checklists.yaml");
        let clocks = reader.file("clocks.yaml");
        let containment = reader.file("containment.yaml");
        let drafts = reader.file("drafts.yaml");
        let escalation = reader.file("escalation.yaml");
        let evidence = reader.file("evidence.yaml");
        let false_positives = reader.file("false_positives.yaml");
        let roles = reader.file("roles.yaml");
        let severity = reader.file("severity.yaml");
        let signals: Option<Signals> = reader.file("signals.yaml");
        let (recognitions, recognition_files) = parted(reader.all("recognise/"));
        let (sources, source_files) = parted(reader.all("sources/"));
        let taxonomy = reader.file("taxonomy.yaml");
        let techniques = reader.file("techniques.yaml");
        let timers = reader.file("timers.yaml");
        let digest = reader.digest();
        let whole = || {
            Some(Self {
                calendars: calendars?,
                checklists: checklists?,
                clocks: clocks?,
                containment: containment?,
                digest,
                drafts: drafts?,
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
            rules.check_recognitions(&mut reader, &recognition_files);
            rules.check_sources(&mut reader, &source_files);
        }
        match rules {
            Some(rules) if reader.mistakes.is_empty() => Ok(rules),
            _ => Err(Mistakes(reader.mistakes)),
        }
    }
}

/// The values, and the names of their files.
fn parted<T>(read: Vec<(String, T)>) -> (Vec<T>, Vec<String>) {
    read.into_iter().map(|(name, value)| (value, name)).unzip()
}

#[cfg(test)]
mod tests {
    use wire::assessment::Severity;
    use wire::profile::Text;

    use super::*;

    fn with(file: &str, from: &str, to: &str) -> String {
        let files = || SINGLE.iter().chain(RECOGNITIONS).chain(SOURCES);
        let changed =
            files().find(|(name, _)| *name == file).map_or(String::new(), |(_, yaml)| yaml.replacen(from, to, 1));
        let shipped =
            files().map(|(name, yaml)| (*name, if *name == file { changed.as_str() } else { *yaml })).collect();
        told(Rules::read(shipped, &[]))
    }

    fn told(read: Result<Rules, Mistakes>) -> String {
        read.map_or_else(|mistakes| mistakes.to_string(), |_| "no mistake".to_owned())
    }

    fn site(files: &[(&str, &str)]) -> Result<Rules, Mistakes> {
        let file = |(name, yaml): &(&str, &str)| SiteFile {
            name: (*name).to_owned(),
            text: Text { file: format!("/etc/site/{name}"), yaml: (*yaml).to_owned() },
        };
        Rules::with_site(&files.iter().map(file).collect::<Vec<_>>())
    }

    #[test]
    fn a_site_overrides_entry_by_entry() {
        let rules = site(&[
            ("taxonomy.yaml", "types:\n  - { type: phishing_attempt, severity: SEV3 }\naliases: { odd_word: ransomware }\n"),
            (
                "sources/acme.yaml",
                "version: '1'\nsource: acme\ndetect: [{ has: [acme_id] }]\nevent: [name]\n",
            ),
            (
                "recognise/acme.yaml",
                "version: '1'\nrules:\n  - { rule: acme_worm, sources: [acme], events: ['worm*'], type: malware_infection, confidence: 80, signals: [hostile_code] }\n",
            ),
        ])
        .unwrap();
        let shipped = Rules::shipped().unwrap();
        assert_eq!(rules.taxonomy.types.len(), shipped.taxonomy.types.len());
        assert_eq!(rules.taxonomy.default_severity("phishing_attempt"), Severity::Sev3);
        assert_eq!(rules.taxonomy.meant("odd word").map(|one| one.name.as_str()), Some("ransomware"));
        assert_eq!(rules.taxonomy.version, format!("{}+site", shipped.taxonomy.version));
        assert_eq!(rules.clocks.version, shipped.clocks.version);
        assert_eq!((rules.sources[0].source.as_str(), rules.sources.len()), ("acme", shipped.sources.len() + 1));
        assert_ne!(rules.version(), shipped.version());
        assert_eq!(site(&[]).unwrap().version(), shipped.version());
        let raw = br#"{"acme_id":7,"name":"Worm.X"}"#;
        let one = &crate::triage_incident(raw, wire::Instant(0), &crate::Context::with(&rules)).unwrap()[0];
        assert_eq!((one.incident_type.as_str(), one.source.as_str()), ("malware_infection", "acme"));
    }

    #[test]
    fn mistakes_of_a_site_are_told_in_its_own_files() {
        for (name, yaml, wanted) in [
            (
                "taxonomie.yaml",
                "a: 1",
                "/etc/site/taxonomie.yaml: no rules are read from a file of this name\n  hint: did you mean `taxonomy.yaml`?",
            ),
            (
                "recognize/falco.yaml",
                "a: 1",
                "/etc/site/recognize/falco.yaml: no rules are read from a file of this name\n  hint: did you mean `recognise/falco.yaml`?",
            ),
            (
                "taxonomy.yaml",
                "types:\n  - { type: ransomware, severitty: SEV2 }\n",
                "/etc/site/taxonomy.yaml:2: unknown field `severitty`",
            ),
            (
                "taxonomy.yaml",
                "\naliases: { word: nothing_such }\n",
                "/etc/site/taxonomy.yaml:2: unknown or missing type `nothing_such`",
            ),
            (
                "taxonomy.yaml",
                "types:\n  - { type: ransomwear, remove: true }\n",
                "/etc/site/taxonomy.yaml:2: there is no type `ransomwear`",
            ),
            (
                "sources/alertmanager2.yaml",
                "version: '1'\nsource: alertmanager\ndetect: [{ has: [a] }]\n",
                "/etc/site/sources/alertmanager2.yaml:2: there is a source `alertmanager` already",
            ),
            (
                "sources/acme.yaml",
                "version: '1'\nsource: acme\ndetect: [{ has: [a[].b] }]\n",
                "/etc/site/sources/acme.yaml:3: not YAML",
            ),
            ("signals.yaml", "signals: [\n", "/etc/site/signals.yaml:"),
        ] {
            let mistakes = told(site(&[(name, yaml)]));
            assert!(mistakes.starts_with(wanted), "{name} gave {mistakes:?}");
        }
        // Taking out what others name is told where they name it.
        let mistakes = told(site(&[("taxonomy.yaml", "types:\n  - { type: insider_threat, remove: true }\n")]));
        assert!(mistakes.contains("unknown or missing type `insider_threat`"), "{mistakes}");
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
            ("drafts.yaml", "one.at | utc", "one.at | ucc", "the template for technical fails in line"),
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
            ("evidence.yaml", "SEV1: intrusion", "SEV1: intrusoin", "unknown or missing profile `SEV1`"),
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
                let plan = rules.evidence.plan(incident_type, severity, |_| false);
                let path = format!("{}/../profiles/{}.yaml", env!("CARGO_MANIFEST_DIR"), plan.profile);
                assert!(std::fs::exists(&path).unwrap(), "{} at {severity} plans {path}", incident_type.name);
                assert!(!plan.tiers.is_empty() && plan.estimated_seconds > 0);
            }
        }
    }
}
