//! All rules: those that are compiled in (`rules/*.yml`), and a site's own over them.
//!
//! A file holds any number of rules, as YAML documents that `---` divides. A site's rule of a shipped one's name takes its
//! place; one with `status: deprecated` switches it off.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::Sha256;
use wire::assessment::Technique;
use wire::profile::{Mistake, Mistakes, Text, document};

use crate::detection::Wrong;
use crate::evaluate::AGES;
use crate::joins::{self, Join};
use crate::limits::{DOCUMENTS_MAX, RULES_MAX};
use crate::rule::{self, Rule};

macro_rules! shipped {
    ($($topic:literal),* $(,)?) => {
        /// The files of rules that are compiled in: name, rules, and the rows that they must and must not fire on.
        pub const SHIPPED: &[(&str, &str, &str)] = &[
            $((concat!("rules/", $topic, ".yml"),
               include_str!(concat!("../rules/", $topic, ".yml")),
               include_str!(concat!("../rules/", $topic, ".cases.jsonl")))),*
        ];
    };
}

shipped!["accounts", "files", "kernel", "logs", "memory", "network", "persistence", "processes"];

const JOINS: &str = include_str!("../rules/joins.yml");

/// A column that a rule or a join reads.
#[derive(Clone, Debug)]
pub struct ColumnRead {
    /// The rule or the join.
    pub by: String,
    /// The kind of rows; none: any of the collector's.
    pub category: Option<String>,
    /// The column, or the way through it: `owners.pid`.
    pub field: String,
    /// The collector.
    pub service: String,
}

/// Compiled rules. Made once, applied to any number of bundles.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) joins: Vec<Join>,
    pub(crate) list: Vec<Rule>,
    sha256: Sha256,
}

impl Rules {
    /// The rules that are compiled in.
    ///
    /// # Errors
    /// All mistakes in them; a test sees to it that there are none.
    pub fn shipped() -> Result<Self, Mistakes> {
        Self::with_site(&[])
    }

    /// The shipped rules with those of a site over them.
    ///
    /// # Errors
    /// All mistakes, each with its file and line.
    pub fn with_site(site: &[Text]) -> Result<Self, Mistakes> {
        let shipped = SHIPPED.iter().map(|(file, yaml, _)| Text { file: (*file).to_owned(), yaml: (*yaml).to_owned() });
        let shipped: Vec<Text> = shipped.collect();
        let mut mistakes = Vec::new();
        let joins = joins(&mut mistakes);
        let mut rules = BTreeMap::new();
        let known = triage::Rules::shipped().map(|rules| &rules.techniques).ok();
        let technique = |id: &str| {
            let known = known?;
            let technique = known.resolve(id);
            known.knows(&technique.id).then_some(technique)
        };
        read(&shipped, &technique, &mut rules, &mut mistakes);
        read(site, &technique, &mut rules, &mut mistakes);
        if rules.len() > RULES_MAX {
            let message = format!("{} rules, of which {RULES_MAX} are allowed", rules.len());
            mistakes.push(Mistake { file: "rules".to_owned(), line: 0, message, hint: None });
        }
        if !mistakes.is_empty() {
            return Err(Mistakes(mistakes));
        }
        let texts = shipped.iter().chain(site).flat_map(|text| [text.file.as_str(), "\0", &text.yaml, "\0"]);
        let sha256 = Sha256::of(texts.chain([JOINS]).collect::<String>().as_bytes());
        Ok(Self { joins, list: rules.into_values().flatten().collect(), sha256 })
    }

    /// How many are applied.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|rule| rule.name.as_str())
    }

    /// What they read of rows: every field that a rule or a join names, traced back to the collector's own column. A
    /// field that no row can have makes a rule that never fires, and nobody notices.
    pub fn columns(&self) -> Vec<ColumnRead> {
        let mut read = Vec::new();
        for join in &self.joins {
            read.extend(join.fields().into_iter().map(|(service, category, field)| ColumnRead {
                by: format!("join `{}`", join.name()),
                category: category.map(str::to_owned),
                field: field.to_owned(),
                service: service.to_owned(),
            }));
        }
        for rule in &self.list {
            for field in rule.detection.fields().into_iter().chain(&rule.fields) {
                let joined =
                    self.joins.iter().find_map(|join| Some((&join.from, join.behind(&rule.source, field.name())?)));
                let (source, field) = joined.unwrap_or((&rule.source, field.name()));
                let time = AGES.iter().find(|(_, age)| *age == field).map_or(field, |(time, _)| time);
                read.push(ColumnRead {
                    by: format!("rule `{}`", rule.name),
                    category: source.category.clone(),
                    field: time.to_owned(),
                    service: source.service.clone(),
                });
            }
        }
        read
    }

    /// True when a join keeps rows of this collector.
    pub(crate) fn joins_keep(&self, service: &str) -> bool {
        self.joins.iter().any(|join| join.from.service == service)
    }

    /// True when a rule looks at rows of this collector.
    pub(crate) fn look_at(&self, service: &str) -> bool {
        self.list.iter().any(|rule| rule.source.service == service)
    }

    /// Digest of all texts.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }
}

type Read = BTreeMap<String, Option<Rule>>;

fn read(texts: &[Text], technique: &dyn Fn(&str) -> Option<Technique>, into: &mut Read, mistakes: &mut Vec<Mistake>) {
    let mut here = BTreeSet::new();
    for text in texts {
        let documents = documents(&text.yaml);
        if documents.len() > DOCUMENTS_MAX {
            let message = format!("{} documents, of which {DOCUMENTS_MAX} are allowed", documents.len());
            mistakes.push(Mistake { file: text.file.clone(), line: 0, message, hint: None });
            continue;
        }
        for (line_before, yaml) in documents {
            match one(text, yaml, line_before, technique) {
                Ok((name, line, _)) if !here.insert(name.clone()) => {
                    let message = format!("there is another rule called `{name}`");
                    mistakes.push(Mistake { file: text.file.clone(), line, message, hint: None });
                }
                Ok((name, _, rule)) => {
                    into.insert(name, rule);
                }
                Err(mistake) => mistakes.push(mistake),
            }
        }
    }
}

/// A rule's name, its first line, and the rule where it is applied.
fn one(
    text: &Text,
    yaml: &str,
    line_before: usize,
    technique: &dyn Fn(&str) -> Option<Technique>,
) -> Result<(String, usize, Option<Rule>), Mistake> {
    let in_file = |mut mistake: Mistake| {
        mistake.line += line_before;
        mistake
    };
    let (source, lines) = parsed::<rule::Source>(&text.file, yaml).map_err(in_file)?;
    let at = |(path, message): Wrong| {
        in_file(Mistake { file: text.file.clone(), line: line_of(&lines, &path), message, hint: None })
    };
    let is_applied = source.is_applied();
    let rule = source.compile(technique).map_err(at)?;
    let name = rule.name.clone();
    Ok((name, line_before + line_of(&lines, ""), is_applied.then_some(rule)))
}

fn joins(mistakes: &mut Vec<Mistake>) -> Vec<Join> {
    let file = "rules/joins.yml";
    let (source, lines) = match parsed::<joins::Source>(file, JOINS) {
        Ok(parsed) => parsed,
        Err(mistake) => {
            mistakes.push(mistake);
            return Vec::new();
        }
    };
    let mut joins = Vec::with_capacity(source.joins.len());
    for (n, join) in source.joins.into_iter().enumerate() {
        match join.compile(&format!("joins[{n}]")) {
            Ok(join) => joins.push(join),
            Err((path, message)) => {
                let line = line_of(&lines, &path);
                mistakes.push(Mistake { file: file.to_owned(), line, message, hint: None });
            }
        }
    }
    joins
}

fn parsed<T: DeserializeOwned>(file: &str, yaml: &str) -> Result<(T, BTreeMap<String, usize>), Mistake> {
    document(&Text { file: file.to_owned(), yaml: yaml.to_owned() })
}

/// The line of a path, or of what it stands in. Names of fields hold dots, so the nearest is looked for from the end.
fn line_of(lines: &BTreeMap<String, usize>, path: &str) -> usize {
    let mut path = path;
    loop {
        if let Some(line) = lines.get(path) {
            return *line;
        }
        path = match path.rfind(['.', '[']) {
            Some(end) => path.get(..end).unwrap_or_default(),
            None if path.is_empty() => return 0,
            None => "",
        };
    }
}

/// The YAML documents of a file, each with the number of lines before it.
fn documents(yaml: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut begin_line, mut at) = (0, 0, 0);
    for (n, line) in yaml.split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" {
            documents.push((begin_line, yaml.get(begin..at).unwrap_or_default()));
            (begin, begin_line) = (at + line.len(), n + 1);
        }
        at += line.len();
    }
    documents.push((begin_line, yaml.get(begin..).unwrap_or_default()));
    let holds_something = |text: &str| text.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#'));
    documents.retain(|(_, text)| holds_something(text));
    documents
}

/// Rows of a bundle, and whether a rule must fire on them: the test of a shipped rule, as data beside it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The rule.
    pub rule: String,
    /// Whether it must fire.
    pub fires: bool,
    /// Where the rows come from, for people: `debian 12`, `sshd with privilege separation`.
    #[serde(default)]
    pub note: String,
    /// By collector.
    pub rows: BTreeMap<String, Vec<Value>>,
}

/// The cases of all shipped rules, or where one cannot be read.
///
/// # Errors
/// File and line of the first that cannot be read.
pub fn shipped_cases() -> Result<Vec<Case>, Mistake> {
    let mut all = Vec::new();
    for (file, _, cases) in SHIPPED {
        for (n, line) in cases.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            all.push(serde_json::from_str(line).map_err(|error| Mistake {
                file: file.replace(".yml", ".cases.jsonl"),
                line: n + 1,
                message: error.to_string(),
                hint: None,
            })?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(yaml: &str) -> Text {
        Text { file: "site/ours.yml".to_owned(), yaml: yaml.to_owned() }
    }

    const RULE: &str = "title: T\nname: ours\nlogsource: { product: holdfast, service: processes }\n\
        detection:\n  s: { pid: 1 }\n  condition: s\nlevel: low\ntags: [attack.t1014]\n";

    #[test]
    fn a_site_adds_replaces_and_switches_off() {
        let shipped = Rules::shipped().unwrap();
        let name = shipped.names().next().unwrap().to_owned();
        let ours = RULE.replace("ours", &name);
        let added = Rules::with_site(&[text(RULE)]).unwrap();
        assert_eq!(added.len(), shipped.len() + 1);
        assert_ne!(added.sha256(), shipped.sha256());
        let replaced = Rules::with_site(&[text(&ours)]).unwrap();
        assert_eq!(replaced.len(), shipped.len());
        assert!(replaced.list.iter().any(|rule| rule.name == name && rule.title == "T"));
        let off = Rules::with_site(&[text(&format!("{ours}status: deprecated\n"))]).unwrap();
        assert_eq!(off.len(), shipped.len() - 1);
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let second = |rule: &str| format!("# ours\n---\n{RULE}---\n{rule}");
        for (yaml, line, part) in [
            (second(&RULE.replace("pid: 1", "pid|contain: 1").replace("ours", "b")), 16, "did you mean `contains`?"),
            (second(RULE), 12, "another rule called `ours`"),
            (RULE.replace("condition: s", "condition: t"), 6, "no selection is called `t`"),
            (RULE.replace("level: low", "level: bad"), 7, "unknown variant `bad`"),
            (RULE.replace("title", "titel"), 1, "unknown field `titel`"),
            (RULE.replace("t1014", "t9999"), 8, "is no technique"),
            (RULE.replace("holdfast", "linux"), 3, "the product is `holdfast`"),
            (RULE.replace("name: ours\n", ""), 1, "a name or an id"),
            ("a: [".to_owned(), 2, "not YAML"),
        ] {
            let mistakes = Rules::with_site(&[text(&yaml)]).unwrap_err().0;
            let [mistake] = mistakes.as_slice() else { panic!("{yaml}: {mistakes:?}") };
            assert!(mistake.message.contains(part), "{mistake}");
            assert_eq!((mistake.file.as_str(), mistake.line), ("site/ours.yml", line), "{mistake}");
        }
    }
}
