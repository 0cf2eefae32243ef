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
    /// Sorted by id.
    pub techniques: Vec<Known>,
    /// Retired id to the one that took its place.
    pub retired: BTreeMap<String, String>,
}

/// One technique.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// `T1486`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The first of its tactics that matters here.
    pub tactic: String,
}

impl Techniques {
    /// The technique of this id, kept with the retired one under which it arrived. One that is not known keeps its id.
    pub fn resolve(&self, id: &str) -> Technique {
        let id = id.trim().to_uppercase();
        let current = self.retired.get(&id);
        let known = self.techniques.iter().find(|known| known.id == *current.unwrap_or(&id));
        Technique {
            name: known.map(|known| known.name.clone()).unwrap_or_default(),
            tactic: known.map(|known| known.tactic.clone()).unwrap_or_default(),
            retired_id: current.map(|_| id.clone()),
            id: current.cloned().unwrap_or(id),
        }
    }

    /// The technique that a product names by its id or by its name (`Valid Accounts`, `VALID_ACCOUNTS`); `None` where
    /// it is neither, as products put all sorts of words there.
    pub fn named(&self, text: &str) -> Option<Technique> {
        let plain = |name: &str| name.trim().replace(['_', '-'], " ").to_lowercase();
        let wanted = plain(text);
        let is_id = wanted.strip_prefix('t').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if is_id {
            return Some(self.resolve(text));
        }
        // `Command and Scripting Interpreter: Unix Shell` is known as `Unix Shell` too.
        let own = |name: &str| name.split_once(": ").map(|(_, own)| plain(own));
        let known = self.techniques.iter();
        let found = known.clone().find(|known| plain(&known.name) == wanted);
        let found = found.or_else(|| known.clone().find(|known| own(&known.name).as_ref() == Some(&wanted)));
        found.map(|known| self.resolve(&known.id))
    }

    /// True when it has a name here.
    pub fn knows(&self, id: &str) -> bool {
        self.techniques.iter().any(|known| known.id == id)
    }
}
