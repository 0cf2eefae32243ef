//! What the site says: its contacts, what automation may do, and what it has changed of what is shipped. The directory of
//! `holdfast-server serve --site`, else `<data>/site` where it is there.

mod rules;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use triage::{Rules, SiteFile};
use wire::profile::Text;

pub use rules::BYTES_MAX as RULES_BYTES_MAX;
pub use rules::FILES_MAX as RULES_FILES_MAX;

use crate::app::containment::site::Switch;
use crate::app::escalation::contacts::Contacts;
use crate::app::{Problem, ProblemKind};

/// See the module. The default is that of a site without files.
#[derive(Default)]
pub struct Site {
    automation: RwLock<Arc<Switch>>,
    contacts: RwLock<Arc<Contacts>>,
    /// None until the first bundle comes: the shipped rules.
    finding_rules: RwLock<Option<Arc<findings::Rules>>>,
    /// None until the first alert comes: the shipped rules.
    rules: RwLock<Option<Arc<Rules>>>,
}

impl Site {
    /// The rules that are applied to bundles.
    ///
    /// # Errors
    /// [`ProblemKind::Internal`] when the shipped rules have a mistake; a test sees to it that there is none.
    pub fn finding_rules(&self) -> Result<Arc<findings::Rules>, Problem> {
        if let Some(rules) = &*self.finding_rules.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(rules));
        }
        let shipped = findings::Rules::shipped().map_err(|mistakes| {
            Problem::new(ProblemKind::Internal, "the server's rules for bundles cannot be read").cause(mistakes)
        })?;
        let mut rules = self.finding_rules.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(rules.get_or_insert_with(|| Arc::new(shipped))))
    }

    /// Reads the files in `folder`, and puts them in force. With a mistake in them everything stays as it was.
    ///
    /// # Errors
    /// Why the folder cannot be read, or [`wire::profile::Mistakes`]: all that were found.
    pub fn load(&self, folder: &Path) -> anyhow::Result<()> {
        let of_site = || format!("the site in {}", folder.display());
        // A folder that is not there holds no mistake either.
        std::fs::read_dir(folder).with_context(of_site)?;
        let automation = Switch::load(folder).with_context(of_site)?;
        let contacts = Contacts::load(folder).with_context(of_site)?;
        let files = rules_files(folder).with_context(of_site)?;
        let rules = Rules::with_site(&files).with_context(of_site)?;
        let finding_rules = findings::Rules::with_site(&findings_files(folder).with_context(of_site)?);
        let finding_rules = finding_rules.with_context(of_site)?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(rules));
        *self.finding_rules.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(finding_rules));
        *self.automation.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(automation);
        *self.contacts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(contacts);
        Ok(())
    }

    /// What automation may do.
    pub fn automation(&self) -> Arc<Switch> {
        Arc::clone(&self.automation.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whom the site can tell of incidents.
    pub fn contacts(&self) -> Arc<Contacts> {
        Arc::clone(&self.contacts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rules of triage that are in force.
    ///
    /// # Errors
    /// [`ProblemKind::Internal`] when the shipped rules have a mistake; a test sees to it that there is none.
    pub fn rules(&self) -> Result<Arc<Rules>, Problem> {
        if let Some(rules) = &*self.rules.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(rules));
        }
        let shipped = Rules::shipped().map_err(|mistakes| {
            Problem::new(ProblemKind::Internal, "the server's triage rules cannot be read").cause(mistakes)
        })?;
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(rules.get_or_insert_with(|| Arc::new(shipped.clone()))))
    }
}

/// The files of [`Site::finding_rules`] in a site's folder.
fn findings_files(folder: &Path) -> anyhow::Result<Vec<Text>> {
    let files = rules::read(&folder.join(rules::FINDINGS))?;
    Ok(files.into_iter().map(|file| Text { file: format!("{}/{}", rules::FINDINGS, file.name), ..file.text }).collect())
}

/// The files with rules in a site's folder.
///
/// # Errors
/// What cannot be read, and what is too much.
pub fn rules_files(folder: &Path) -> anyhow::Result<Vec<SiteFile>> {
    rules::read(&folder.join(rules::FOLDER))
}
