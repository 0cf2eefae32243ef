//! `[automation]`: what may be ordered though nobody decided it, by the server's own key. Without it, nothing.
//!
//! That key lies on the server. Whoever takes the server has it, so what it may do is bound here and by nobody else: this
//! host's own profiles, these actions, few isolations, never a renewal.

use serde::Deserialize;
use wire::containment::is_automation;

use super::{PolicyError, actions, matches};

/// Variables that say where a process comes from, or bend what it runs; their values are hardly ever secrets. `*` at the
/// end stands for anything.
const ENVIRONMENT: [&str; 14] = [
    "BASH_ENV",
    "ENV",
    "HISTCONTROL",
    "HISTFILE",
    "HISTFILESIZE",
    "HISTSIZE",
    "INVOCATION_ID",
    "LD_*",
    "PATH",
    "PWD",
    "SHLVL",
    "SSH_*",
    "SUDO_*",
    "XDG_SESSION_ID",
];

/// `[automation]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Automation {
    /// The actions that it may order, by name: those of them that `[contain]` has as well.
    pub actions: Vec<String>,
    /// Variables of processes whose values it may collect in the clear. Bundles that are encrypted to this policy's
    /// recipients hold all of them.
    pub environment: Vec<String>,
    /// Isolations within 24 hours.
    pub isolations_per_day_max: usize,
    /// As whom it signs.
    pub principals: Vec<String>,
    /// The profiles that it may order: this host's own of these names, and `*` at the end stands for anything.
    pub profiles: Vec<String>,
}

impl Default for Automation {
    fn default() -> Self {
        Self {
            actions: Vec::new(),
            environment: ENVIRONMENT.map(str::to_owned).to_vec(),
            isolations_per_day_max: 1,
            principals: Vec::new(),
            profiles: Vec::new(),
        }
    }
}

impl Automation {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        actions("automation", self.actions.iter())?;
        let is_name = |name: &String| {
            let name = name.strip_suffix('*').unwrap_or(name);
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if let Some(name) = self.environment.iter().find(|name| !is_name(name)) {
            let what = format!("`{name}` is no name of a variable");
            let hint = "letters, digits and `_`, and `*` at the end".to_owned();
            return Err(PolicyError::Value { section: "automation", what, hint });
        }
        Ok(())
    }

    /// True when whoever signs under this name is no person.
    pub fn is(&self, principal: &str) -> bool {
        is_automation(principal) || self.principals.iter().any(|listed| listed == principal)
    }

    /// Whether it may order anything under this name.
    ///
    /// # Errors
    /// What is forbidden, in a sentence.
    pub fn permit(&self, principal: &str) -> Result<(), String> {
        if self.principals.iter().any(|listed| listed == principal) {
            return Ok(());
        }
        Err(format!("`{principal}` is automation, which may order nothing on this host"))
    }

    /// Whether it may order the profile of this name.
    ///
    /// # Errors
    /// What is forbidden, in a sentence.
    pub fn permit_profile(&self, name: &str) -> Result<(), String> {
        if self.profiles.iter().any(|pattern| matches(pattern, name)) {
            return Ok(());
        }
        Err(format!("the profile `{name}` is not among those that automation may order"))
    }

    /// Whether it may order the action of this name.
    ///
    /// # Errors
    /// What is forbidden, in a sentence.
    pub fn permit_action(&self, name: &str) -> Result<(), String> {
        if self.actions.iter().any(|listed| listed == name) {
            return Ok(());
        }
        Err(format!("the action `{name}` is not among those that automation may order"))
    }
}
