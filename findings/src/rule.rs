//! One Sigma rule, from YAML (sigmahq.io, "Sigma Rules Specification" 2.1).

use serde::Deserialize;
use serde_json::{Map, Value};
use wire::assessment::Technique;
use wire::finding::Level;

use crate::detection::{Detection, Wrong};
use crate::field::FieldPath;

/// A compiled rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub description: String,
    pub detection: Detection,
    pub false_positives: Vec<String>,
    pub fields: Vec<FieldPath>,
    pub level: Level,
    pub name: String,
    pub source: LogSource,
    pub techniques: Vec<Technique>,
    pub title: String,
}

/// Which rows a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSource {
    /// `holdfast`.
    #[serde(default)]
    pub product: Option<String>,
    /// The collector; `items` for the item records.
    pub service: String,
    /// The value of the column `record`; of items, of `kind`. None: every row.
    #[serde(default)]
    pub category: Option<String>,
    /// For people.
    #[serde(default)]
    definition: Option<String>,
}

impl LogSource {
    /// True for a row of this collector and kind.
    pub fn takes(&self, service: &str, category: Option<&str>) -> bool {
        self.service == service && self.category.as_deref().is_none_or(|wanted| category == Some(wanted))
    }
}

/// A rule as its author writes it. Known fields only, so that a slip is found.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields of the specification that nothing here needs")]
pub struct Source {
    title: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    related: Value,
    #[serde(default)]
    taxonomy: Option<String>,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    description: String,
    #[serde(default)]
    license: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    date: Option<String>,
    #[serde(default)]
    modified: Option<String>,
    logsource: LogSource,
    detection: Map<String, Value>,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    falsepositives: Vec<String>,
    level: Level,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    scope: Vec<String>,
}

/// A rule that is `deprecated` or `unsupported` is not applied: so a site switches one off.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    #[default]
    Stable,
    Test,
    Experimental,
    Deprecated,
    Unsupported,
}

impl Source {
    /// True when the rule is to be applied.
    pub fn is_applied(&self) -> bool {
        !matches!(self.status, Status::Deprecated | Status::Unsupported)
    }

    /// The name by which people, reports and other files know it.
    pub fn key(&self) -> Option<&str> {
        self.name.as_deref().or(self.id.as_deref())
    }

    /// Compiles it. `technique` gives an ATT&CK technique its name, where it is one that is known.
    pub fn compile(self, technique: &dyn Fn(&str) -> Option<Technique>) -> Result<Rule, Wrong> {
        let wrong = |path: &str, message: String| (path.to_owned(), message);
        let name = self.key().ok_or_else(|| wrong("", "a rule has a name or an id".to_owned()))?.to_owned();
        if self.logsource.product.as_deref() != Some("holdfast") {
            let message = "the product is `holdfast`: rules for other logs see other fields";
            return Err(wrong("logsource", message.to_owned()));
        }
        let mut techniques = Vec::new();
        for (n, tag) in self.tags.iter().enumerate() {
            let id = tag.strip_prefix("attack.").filter(|id| is_technique(id));
            let Some(id) = id else { continue };
            let known = technique(id).ok_or_else(|| wrong(&format!("tags[{n}]"), format!("`{id}` is no technique")))?;
            techniques.push(known);
        }
        Ok(Rule {
            detection: Detection::compile(&self.detection)?,
            description: self.description.split_whitespace().collect::<Vec<_>>().join(" "),
            false_positives: self.falsepositives,
            fields: self.fields.iter().map(|name| FieldPath::new(name)).collect(),
            level: self.level,
            name,
            source: self.logsource,
            techniques,
            title: self.title,
        })
    }
}

/// `t1055`, `t1055.012`; tactics (`attack.persistence`) and groups are tags as well.
fn is_technique(id: &str) -> bool {
    let rest = id.strip_prefix(['t', 'T']);
    rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}
