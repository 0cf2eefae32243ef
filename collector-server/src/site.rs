//! The site's own files: `--site DIR`, else `<data>/site`, when there is one. Read as a whole and checked as a whole; what
//! the server works with is replaced only by what has no mistake.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use wire::profile::Mistakes;

use crate::app::escalation::contacts::Contacts;

/// See the module. The default is that of a site without files.
#[derive(Default)]
pub struct Site {
    /// Whom it can tell of incidents.
    pub contacts: Contacts,
}

impl Site {
    /// Reads the files in `folder`.
    ///
    /// # Errors
    /// Why the folder cannot be read, or [`Mistakes`]: all that were found.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let of_site = || format!("the site in {}", folder.display());
        // A folder that is not there holds no mistake either.
        std::fs::read_dir(folder).with_context(of_site)?;
        Self::read(folder).with_context(of_site)
    }

    fn read(folder: &Path) -> Result<Self, Mistakes> {
        Ok(Self { contacts: Contacts::load(folder)? })
    }
}

/// The site as it is now.
#[derive(Default)]
pub struct Current(RwLock<Arc<Site>>);

impl Current {
    /// What holds now; it stays as it is while the caller works with it.
    pub fn get(&self) -> Arc<Site> {
        // A panic while the lock was held leaves nothing half done here.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this holds.
    pub fn set(&self, site: Site) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(site);
    }
}
