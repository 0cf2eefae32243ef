//! ATT&CK ids into techniques; retired ids into what they became (`data/techniques.yaml`).

use std::collections::BTreeMap;

use serde::Deserialize;
use wire::assessment::Technique;

/// The techniques that are known by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Techniques {
    /// The version of the file.
    pub version: String,
    /// By id.
    pub techniques: BTreeMap<String, Known>,
    /// Retired id to the one that took its place.
    pub retired: BTreeMap<String, String>,
}

/// One technique.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its name; of a sub-technique its own part.
    pub name: String,
    /// Its tactics, the one that matters most to a responder first.
    pub tactics: Vec<String>,
}

impl Techniques {
    /// The id as it is today, of whatever writing and age; also of a name (`Valid Accounts`, `VALID_ACCOUNTS`), which is
    /// all that some products give.
    pub fn current(&self, text: &str) -> String {
        let text = text.trim();
        if is_id(text) {
            let id = text.to_uppercase();
            return self.retired.get(&id).cloned().unwrap_or(id);
        }
        let plain = |name: &str| name.replace(['_', '-'], " ").to_lowercase();
        let wanted = plain(text);
        let found = self.techniques.iter().find(|(_, known)| plain(&known.name) == wanted);
        found.map_or_else(|| text.to_owned(), |(id, _)| id.clone())
    }

    /// The technique of this id, kept with the retired one under which it arrived. What is not known keeps its id.
    pub fn resolve(&self, id: &str) -> Technique {
        let current = self.current(id);
        let known = self.known(&current);
        let arrived = id.trim().to_uppercase();
        let is_retired = is_id(&arrived) && arrived != current;
        let above = current.split_once('.').and_then(|(above, _)| self.techniques.get(above));
        let own = self.techniques.get(&current);
        let names: Vec<&str> = above.into_iter().chain(own).map(|known| known.name.as_str()).collect();
        Technique {
            name: names.join(": "),
            tactic: known.and_then(|known| known.tactics.first().cloned()).unwrap_or_default(),
            retired_id: is_retired.then_some(arrived),
            id: current,
        }
    }

    /// The tactics of a technique of today.
    pub fn tactics(&self, id: &str) -> &[String] {
        self.known(id).map_or(&[], |known| &known.tactics)
    }

    /// True when it has a name here.
    pub fn knows(&self, id: &str) -> bool {
        self.techniques.contains_key(id)
    }

    /// True when a technique has this tactic.
    pub fn has_tactic(&self, tactic: &str) -> bool {
        self.techniques.values().any(|known| known.tactics.iter().any(|one| one == tactic))
    }

    /// A sub-technique that is newer than the list has the name and the tactics of its technique.
    fn known(&self, id: &str) -> Option<&Known> {
        self.techniques.get(id).or_else(|| self.techniques.get(id.split('.').next()?))
    }
}

/// `T1110`, `t1548.003`.
pub fn is_id(text: &str) -> bool {
    let is_number = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    text.strip_prefix(['T', 't']).is_some_and(is_number)
}
