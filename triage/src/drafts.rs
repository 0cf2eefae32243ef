//! Drafts of what is told to whom: templates of the site, filled from the incident (`data/drafts.yaml`).
//!
//! A draft claims nothing that is not known: what is missing stands there as `[not known yet: name]`. All values are
//! texts of strangers, so every one is escaped for Markdown, whatever the template says. What goes outward names no
//! internal host, account or address unless that is asked for.

mod context;
mod markdown;

use std::collections::BTreeMap;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};
use wire::assessment::{Effect, Host, Indicator, Severity, Technique};
use wire::response::{Anchor, Audience, ClockState, Phase};
use wire::{Instant, Sha256};

use crate::rules::Reader;

/// The longest draft.
pub const DRAFT_BYTES_MAX: usize = 1 << 20;
/// Instructions of a template that are run, over all loops.
const FUEL_MAX: u64 = 1_000_000;

/// The templates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drafts {
    /// The version of the file.
    pub version: String,
    /// One for each audience.
    pub drafts: Vec<Template>,
}

/// A template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// For whom.
    pub audience: Audience,
    /// True when it leaves the organisation: internal names are taken out unless they are asked for.
    pub outward: bool,
    /// Jinja, of the kind that minijinja reads; the fields of [`DraftFacts`] by name.
    pub template: String,
}

/// What is known of an incident. Nothing is claimed of what is absent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DraftFacts {
    /// The accounts that it concerns.
    pub accounts: Vec<String>,
    /// What was done about it, oldest first.
    pub actions: Vec<Happening>,
    /// The facts that start clocks.
    pub anchors: BTreeMap<Anchor, Instant>,
    /// Where the clocks stand.
    pub clocks: Vec<ClockState>,
    /// Whom to ask, for readers outside.
    pub contact: Option<String>,
    /// Which classes of data are concerned, in words.
    pub data_concerned: Option<String>,
    /// When the draft is written.
    pub drafted_at: Option<Instant>,
    /// What was collected.
    pub evidence: Vec<EvidenceItem>,
    /// The first sign, as far as it is known.
    pub first_sign: Option<Instant>,
    /// The hosts and their parts in it.
    pub hosts: Vec<Host>,
    /// The incident's id.
    pub incident: String,
    /// Its type, e.g. `ransomware`.
    pub incident_type: String,
    /// What to look for elsewhere.
    pub indicators: Vec<Indicator>,
    /// When it was opened.
    pub opened: Option<Instant>,
    /// How many persons are concerned, in words ("about 1,200").
    pub persons_concerned: Option<String>,
    /// Where the work stands.
    pub phase: Option<Phase>,
    /// The next step.
    pub recommended_action: Option<String>,
    /// Who has which role.
    pub roles: BTreeMap<String, String>,
    /// The service that it touches, as customers call it.
    pub service: Option<String>,
    /// How bad.
    pub severity: Option<Severity>,
    /// Why so bad.
    pub severity_explanation: Vec<Effect>,
    /// What happened, in a person's words.
    pub summary: Option<String>,
    /// ATT&CK.
    pub techniques: Vec<Technique>,
    /// The timeline, oldest first.
    pub timeline: Vec<Happening>,
    /// The incident's title.
    pub title: String,
    /// Who drafts it.
    pub written_by: Option<String>,
}

/// Something that happened or was done.
#[derive(Clone, Debug, Serialize)]
pub struct Happening {
    /// When.
    pub at: Instant,
    /// Who; nobody for what an alert tells.
    pub by: Option<String>,
    /// What.
    pub text: String,
}

/// A bundle.
#[derive(Clone, Debug, Serialize)]
pub struct EvidenceItem {
    /// When it was sealed.
    pub at: Option<Instant>,
    /// Its id.
    pub bundle: String,
    /// The host that it is of.
    pub host: String,
    /// The digest of its bytes.
    pub sha256: Option<Sha256>,
    /// How far it could be proven, e.g. `sealed`.
    pub state: String,
}

/// Whether a draft that goes outward names hosts, accounts and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalNames {
    /// Taken out, also where they stand within a text.
    Hidden,
    /// Named, since somebody asked for them.
    Shown,
}

/// Why there is no draft.
#[derive(Debug, thiserror::Error)]
pub enum NotDrafted {
    /// No template is for this audience.
    #[error("there is no template for {0}\n  hint: drafts.yaml has one entry for each audience")]
    NoTemplate(Audience),
    /// The template cannot be filled.
    #[error(
        "the template for {audience} fails in line {line}: {message}\n  hint: drafts.yaml, the entry of {audience}"
    )]
    Template {
        /// For whom.
        audience: Audience,
        /// Of the template, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

impl Drafts {
    /// The draft for `audience`, as Markdown, at most [`DRAFT_BYTES_MAX`] long.
    ///
    /// # Errors
    /// There is no template, or the site's template fails, runs too long or writes too much.
    pub fn write(&self, audience: Audience, facts: &DraftFacts, names: InternalNames) -> Result<String, NotDrafted> {
        let found = self.drafts.iter().find(|one| one.audience == audience);
        let template = found.ok_or(NotDrafted::NoTemplate(audience))?;
        let is_outward = template.outward && names == InternalNames::Hidden;
        let facts = if is_outward { context::without_names(facts) } else { context::json(facts) };
        template.fill(context::value(facts))
    }

    pub(crate) fn check(&self, reader: &mut Reader) {
        const FILE: &str = "drafts.yaml";
        for audience in Audience::ALL {
            let count = self.drafts.iter().filter(|one| one.audience == audience).count();
            reader.known("one draft for", audience.name(), count == 1, FILE, "drafts");
        }
        for (n, one) in self.drafts.iter().enumerate() {
            // Names of filters are looked up when they are reached: it is filled with nothing known, and with all.
            let facts = [context::value(context::json(&DraftFacts::default())), Value::from_object(context::Anything)];
            if let Some(error) = facts.into_iter().find_map(|facts| one.fill(facts).err()) {
                reader.mistake(FILE, &format!("drafts[{n}].template"), error.to_string());
            }
        }
    }
}

impl Template {
    fn fill(&self, facts: Value) -> Result<String, NotDrafted> {
        render(&self.template, facts).map_err(|error| NotDrafted::Template {
            audience: self.audience,
            line: error.line().unwrap_or(0),
            message: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
        })
    }
}

fn render(template: &str, facts: Value) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL_MAX));
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_formatter(markdown::write);
    environment.add_filter("words", markdown::words);
    environment.add_filter("utc", markdown::utc);
    let mut bounded = Bounded(Vec::new());
    environment.template_from_str(template)?.render_captured_to(facts, &mut bounded)?;
    Ok(String::from_utf8_lossy(&bounded.0).into_owned())
}

/// Takes [`DRAFT_BYTES_MAX`] bytes and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > DRAFT_BYTES_MAX {
            return Err(io::Error::other("the draft is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
