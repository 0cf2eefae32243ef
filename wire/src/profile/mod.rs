//! Collection profiles: names and limits, never a shell.
//!
//! A profile is YAML for people and JSON inside (in orders and in bundles). [`read`] turns the first into a [`Profile`]
//! with its includes resolved; it reports every mistake it finds, each with file, line and a suggestion.

mod arguments;
pub mod artifact;
mod condition;
pub mod shipped;
mod values;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ByteSize, Sha256, Tier};

pub use arguments::{ArgumentError, arguments};
pub use condition::Condition;
pub use values::{NotAValue, Values, Variable};
pub use yaml::document as yaml_document;

/// The longest text that is read as a profile or a part of one.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// The most steps that a profile may have, includes resolved.
pub const STEPS_MAX: usize = 256;
/// How deep includes may go.
const INCLUDE_DEPTH_MAX: usize = 4;

/// A collection profile, its includes resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name that people type.
    pub name: String,
    /// One sentence: when to use it.
    pub summary: String,
    /// The incident types it serves.
    pub incident_types: Vec<String>,
    /// Limits of the whole run.
    pub limits: Limits,
    /// Limits of each tier as a whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<Tier, Limits>,
    /// What to collect. The tiers decide the order, then this list.
    pub collect: Vec<Step>,
    /// What the server proposes for these types.
    pub contain: Vec<String>,
}

/// One collector, with its arguments not yet checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The collector's name.
    pub collect: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub with: Map<String, Value>,
    /// Limits of this step.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// The class of sensitive content that the paths of this step hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<Sensitive>,
    /// It runs when this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// Where the step stands in its file.
    #[serde(skip)]
    pub place: Place,
}

/// Limits of a run or of a step. What is absent is not limited, beyond what the run allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Seconds of wall time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub wall_secs_max: Option<u64>,
    /// Bytes of content stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<ByteSize>,
    /// Bytes of one file; a longer one is truncated and says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes_max: Option<ByteSize>,
    /// CPU time as a share of all cores, in percent. Of the run only; the volatile tier is exempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub cpu_percent_max: Option<u32>,
    /// Bytes read from disks per second. Of the run only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_sec_max: Option<ByteSize>,
}

impl Limits {
    /// True when nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Classes of content that are kept as metadata and hash only, unless an order carries the approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sensitive {
    /// Private keys of SSH, TLS and the like.
    PrivateKeys,
    /// `/etc/shadow` and its backups.
    PasswordHashes,
    /// Tokens and passwords of applications and clouds.
    Credentials,
    /// Content that belongs to a person rather than to the host.
    Personal,
}

impl Sensitive {
    /// The name that stands in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrivateKeys => "private_keys",
            Self::PasswordHashes => "password_hashes",
            Self::Credentials => "credentials",
            Self::Personal => "personal",
        }
    }
}

/// A place in a file, for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file as people know it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The lines of the keys and list entries below, by their path (`with.paths[0]`).
    pub lines: BTreeMap<String, usize>,
}

/// The profile as an author writes it. Kept apart from [`Profile`] so that the generated schema says exactly this.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Holdfast collection profile")]
pub struct Source {
    /// The name that people type: the file's name without `.yaml`.
    name: String,
    /// One sentence: when to use it.
    #[serde(default)]
    summary: String,
    /// The incident types it serves.
    #[serde(default)]
    incident_types: Vec<String>,
    /// Limits of the whole run.
    #[serde(default)]
    limits: Limits,
    /// Limits of each tier as a whole: `wall_secs_max` and `bytes_max`.
    #[serde(default)]
    tiers: BTreeMap<Tier, Limits>,
    /// What to collect. The order of volatility belongs to the collectors; within a tier this order holds.
    collect: Vec<SourceStep>,
    /// What the server proposes for these types.
    #[serde(default)]
    contain: Vec<String>,
}

/// One entry of `collect:`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceStep {
    /// Takes in all steps of a part.
    #[serde(default)]
    include: Option<String>,
    /// The collector to run.
    #[serde(default)]
    collect: Option<String>,
    /// Takes the files that this definition of ForensicArtifacts names.
    #[serde(default)]
    artifact: Option<String>,
    /// The collector's arguments.
    #[serde(default)]
    with: Map<String, Value>,
    /// Limits of this step.
    #[serde(default)]
    limits: Limits,
    /// Keep metadata and hash only, unless the order carries the approval for this class.
    #[serde(default)]
    sensitive: Option<Sensitive>,
    /// Run it only when this holds. On an include it is a condition of each of its steps.
    #[serde(default)]
    when: Option<Condition>,
}

/// One mistake in a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file as people know it.
    pub file: String,
    /// The line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// All mistakes of a profile.
#[derive(Debug, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

/// A text that profiles are made of, and the name by which people know its file.
#[derive(Clone, Debug)]
pub struct Text {
    /// For messages.
    pub file: String,
    /// YAML.
    pub yaml: String,
}

impl Profile {
    /// The digest of the profile as it is run: of its JSON, includes resolved.
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(self.to_json().as_bytes())
    }

    /// The profile as JSON with sorted keys.
    pub fn to_json(&self) -> String {
        serde_json::to_value(self).map(|value| value.to_string()).unwrap_or_default()
    }
}

/// Where the texts are that a profile names.
pub trait Library {
    /// The text of a part.
    ///
    /// # Errors
    /// The names of all parts, when none has this name.
    fn part(&self, name: &str) -> Result<Text, Vec<String>>;

    /// The text of a definition of ForensicArtifacts.
    ///
    /// # Errors
    /// The names of all definitions, when none has this name.
    fn artifact(&self, name: &str) -> Result<Text, Vec<String>>;
}

/// Reads a profile, with what it includes from `library`.
///
/// # Errors
/// All mistakes that were found.
pub fn read(text: &Text, library: &dyn Library) -> Result<Profile, Mistakes> {
    let mut mistakes = Vec::new();
    let Some(source) = source(text, &mut mistakes) else {
        return Err(Mistakes(mistakes));
    };
    let (source, lines) = source;
    let mut collect = Vec::new();
    let reading = Reading { library, depth: 0, when: None };
    steps(text, source.collect, &lines, &reading, &mut collect, &mut mistakes);
    if collect.len() > STEPS_MAX {
        mistakes.push(mistake(text, 0, format!("{} steps, of which {STEPS_MAX} are allowed", collect.len()), None));
    }
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    let Source { name, summary, incident_types, limits, tiers, contain, .. } = source;
    Ok(Profile { name, summary, incident_types, limits, tiers, collect, contain })
}

/// The line of each path (`collect[0].with`) of a document.
pub type Lines = BTreeMap<String, usize>;

fn source(text: &Text, mistakes: &mut Vec<Mistake>) -> Option<(Source, Lines)> {
    document(text).map_err(|mistake| mistakes.push(mistake)).ok()
}

/// Reads a YAML text as a `T`, with the line of each of its paths. Rules of triage are read with it as well.
///
/// # Errors
/// The first mistake: longer than [`TEXT_BYTES_MAX`], not YAML, or not a `T`.
pub fn document<T: DeserializeOwned>(text: &Text) -> Result<(T, Lines), Mistake> {
    if text.yaml.len() > TEXT_BYTES_MAX {
        let message = format!("{} bytes, of which {TEXT_BYTES_MAX} are allowed", text.yaml.len());
        return Err(mistake(text, 0, message, None));
    }
    let (value, lines) = yaml::parse(&text.yaml).map_err(|(line, message)| mistake(text, line, message, None))?;
    match arguments::<T>(value) {
        Ok(read) => Ok((read, lines)),
        Err(error) => {
            let line = line_of(&lines, &error.path);
            Err(mistake(text, line, error.message, error.hint))
        }
    }
}

/// What holds for all steps of the text that is being read.
struct Reading<'a> {
    library: &'a dyn Library,
    depth: usize,
    when: Option<Condition>,
}

fn steps(
    text: &Text,
    source: Vec<SourceStep>,
    lines: &Lines,
    reading: &Reading<'_>,
    collect: &mut Vec<Step>,
    mistakes: &mut Vec<Mistake>,
) {
    for (n, mut step) in source.into_iter().enumerate() {
        let key = format!("collect[{n}]");
        let line = line_of(lines, &key);
        let line_at = |below: &str| line_of(lines, &format!("{key}.{below}"));
        if let Some(wrong) = step.when.as_ref().and_then(Condition::mistake) {
            mistakes.push(mistake(text, line_at("when"), wrong, None));
            continue;
        }
        let when = both(reading.when.clone(), step.when.take());
        match (step.include.take(), step.collect.take(), step.artifact.take()) {
            (Some(name), None, None) => {
                if reading.depth >= INCLUDE_DEPTH_MAX {
                    let message = format!("include: {name} goes deeper than {INCLUDE_DEPTH_MAX} includes");
                    mistakes.push(mistake(text, line, message, None));
                    continue;
                }
                match reading.library.part(&name) {
                    Ok(included) => {
                        if let Some((source, lines)) = self::source(&included, mistakes) {
                            let reading = Reading { library: reading.library, depth: reading.depth + 1, when };
                            steps(&included, source.collect, &lines, &reading, collect, mistakes);
                        }
                    }
                    Err(known) => {
                        let hint = did_you_mean(&name, known.iter().map(String::as_str));
                        let line = line_at("include");
                        mistakes.push(mistake(text, line, format!("unknown part `{name}`"), Some(hint)));
                    }
                }
            }
            (None, Some(collector), None) => {
                for (path, name) in values::unknown(&step.with) {
                    let known = Variable::ALL.map(|variable| format!("incident.{}", variable.name()));
                    let hint = did_you_mean(&name, known.iter().map(String::as_str));
                    let message = format!("`{name}` is no variable; one is a whole text, `${{incident.NAME|DEFAULT}}`");
                    mistakes.push(mistake(text, line_at(&format!("with.{path}")), message, Some(hint)));
                }
                collect.push(step.of(collector, when, place(text, lines, &key, line)));
            }
            (None, None, Some(name)) => match artifact::paths(reading.library, &name) {
                Ok(paths) => {
                    step.with.insert("paths".to_owned(), paths.into());
                    collect.push(step.of("files".to_owned(), when, place(text, lines, &key, line)));
                }
                Err(wrong) => mistakes.push(mistake(text, line_at("artifact"), wrong.to_string(), None)),
            },
            _ => {
                let hint = "write `- include: PART`, `- collect: COLLECTOR` or `- artifact: DEFINITION`".to_owned();
                let message = "a step has one of `include`, `collect` and `artifact`".to_owned();
                mistakes.push(mistake(text, line, message, Some(hint)));
            }
        }
    }
}

fn both(outer: Option<Condition>, own: Option<Condition>) -> Option<Condition> {
    match (outer, own) {
        (Some(outer), Some(own)) => Some(Condition::All(vec![outer, own])),
        (outer, own) => outer.or(own),
    }
}

/// Where the step `key` of a text stands, with the lines of what is below it.
fn place(text: &Text, lines: &Lines, key: &str, line: usize) -> Place {
    let prefix = format!("{key}.");
    let below = lines.iter().filter_map(|(path, line)| Some((path.strip_prefix(&prefix)?.to_owned(), *line)));
    Place { file: text.file.clone(), line, lines: below.collect() }
}

impl SourceStep {
    fn of(self, collect: String, when: Option<Condition>, place: Place) -> Step {
        let Self { with, limits, sensitive, .. } = self;
        Step { collect, with, limits, sensitive, when, place }
    }
}

impl Place {
    /// The mistake that `error` is, found in the value that stands at `under` of this place (`with`).
    pub fn mistake(&self, under: &str, error: ArgumentError) -> Mistake {
        let path = match error.path.as_str() {
            "" => under.to_owned(),
            below => format!("{under}.{below}"),
        };
        let line = match line_of(&self.lines, &path) {
            0 => self.line,
            line => line,
        };
        Mistake { file: self.file.clone(), line, message: error.message, hint: error.hint }
    }
}

/// The line of `path`, or of the nearest thing above it that has one.
pub fn line_of(lines: &Lines, path: &str) -> usize {
    let mut path = path;
    loop {
        if let Some(line) = lines.get(path) {
            return *line;
        }
        match path.rfind(['.', '[']) {
            Some(end) => path = &path[..end],
            None => return 0,
        }
    }
}

fn mistake(text: &Text, line: usize, message: String, hint: Option<String>) -> Mistake {
    Mistake { file: text.file.clone(), line, message, hint }
}

/// `did you mean ...?`, or the list of all that is known.
pub fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match crate::suggest::nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Parts;
    impl Library for Parts {
        fn part(&self, name: &str) -> Result<Text, Vec<String>> {
            let yaml = match name {
                "volatile" => "name: volatile\ncollect:\n  - collect: processes\n",
                "loop" => "name: loop\ncollect:\n  - include: loop\n",
                _ => return Err(vec!["volatile".into(), "loop".into()]),
            };
            Ok(Text {
                file: if name == "loop" { "loop.yaml" } else { "parts/volatile.yaml" }.into(),
                yaml: yaml.into(),
            })
        }

        fn artifact(&self, name: &str) -> Result<Text, Vec<String>> {
            let yaml = "name: Hosts\nsources:\n- type: FILE\n  attributes: {paths: [/etc/hosts]}\n";
            if name == "Hosts" {
                Ok(Text { file: "hosts.yaml".into(), yaml: yaml.into() })
            } else {
                Err(vec!["Hosts".into()])
            }
        }
    }

    fn read_with_parts(yaml: &str) -> Result<Profile, Mistakes> {
        read(&Text { file: "p.yaml".into(), yaml: yaml.into() }, &Parts)
    }

    #[test]
    fn a_condition_on_an_include_is_one_of_its_steps_and_a_definition_is_files() {
        let profile = read_with_parts(
            "name: x\ntiers: { files: { wall_secs_max: 60 } }\ncollect:\n  - include: volatile\n    when: { live: true }\n  - artifact: Hosts\n    sensitive: personal\n    with: { file_bytes_max: 1MiB }\n",
        )
        .unwrap();
        assert_eq!(profile.collect[0].when, Some(Condition::Live(true)));
        let step = &profile.collect[1];
        assert_eq!((step.collect.as_str(), step.sensitive), ("files", Some(Sensitive::Personal)));
        assert_eq!(
            Value::Object(step.with.clone()),
            serde_json::json!({"file_bytes_max": "1MiB", "paths": ["/etc/hosts"]})
        );
        assert_eq!(profile.tiers[&Tier::Files].wall_secs_max, Some(60));
    }

    #[test]
    fn includes_are_resolved_in_place() {
        let profile = read_with_parts(
            "name: x\nlimits: { wall_secs_max: 9, bytes_max: 8GiB }\ncollect:\n  - include: volatile\n  - collect: files\n    with: { paths: [/etc/**] }\n",
        )
        .unwrap();
        let names: Vec<_> = profile.collect.iter().map(|step| step.collect.as_str()).collect();
        assert_eq!(names, ["processes", "files"]);
        assert_eq!(profile.limits.bytes_max, Some(ByteSize(8 << 30)));
        assert_eq!(profile.collect[1].place.line, 5);
        let again: Profile = serde_json::from_str(&profile.to_json()).unwrap();
        assert_eq!(again.sha256(), profile.sha256());
    }

    #[test]
    fn mistakes_name_file_line_and_a_suggestion() {
        for (yaml, wanted) in [
            ("name: x\nsumary: y\ncollect: []\n", "p.yaml:2: unknown field `sumary`\n  hint: did you mean `summary`?"),
            (
                "name: x\ncollect:\n  - include: volatil\n",
                "p.yaml:3: unknown part `volatil`\n  hint: did you mean `volatile`?",
            ),
            ("name: x\nlimits:\n  bytes_max: 8GB\ncollect: []\n", "p.yaml:3: \"8GB\" is not a size"),
            ("name: x\ncollect:\n  - { include: volatile, collect: files }\n", "p.yaml:3: a step has one of"),
            (
                "name: x\ncollect:\n  - artifact: Host\n",
                "p.yaml:3: artifact Host: there is no definition `Host`\n  hint: did you mean `Hosts`?",
            ),
            (
                "name: x\ncollect:\n  - collect: files\n    with:\n      paths: [\"${incident.path}\"]\n",
                "p.yaml:5: `incident.path` is no variable; one is a whole text, `${incident.NAME|DEFAULT}`\n  hint: did you mean `incident.paths`?",
            ),
            (
                "name: x\ncollect:\n  - collect: files\n    when: { exists: etc }\n",
                "p.yaml:4: `exists: etc` is no path from the root",
            ),
            ("name: x\ncollect:\n  - collect: files\n    when: { exist: /etc }\n", "p.yaml:4: unknown variant `exist`"),
            ("name: x\ncollect:\n  - include: loop\n", "loop.yaml:3: include: loop goes deeper"),
            ("name: [x\n", "p.yaml:"),
            ("name: x\ncollect: &a []\ncontain: *a\n", "p.yaml:"),
        ] {
            let mistakes = read_with_parts(yaml).unwrap_err().to_string();
            assert!(mistakes.starts_with(wanted), "{yaml:?} gave {mistakes:?}, wanted {wanted:?}");
        }
    }

    #[test]
    fn a_profile_is_at_most_64_kib() {
        let fits = format!("name: x\ncollect: []\n{}", "#".repeat(TEXT_BYTES_MAX - 20));
        assert!(fits.len() <= TEXT_BYTES_MAX);
        assert!(read_with_parts(&fits).is_ok());
        assert!(read_with_parts(&format!("{fits}{}", "#".repeat(40))).is_err());
    }
}
