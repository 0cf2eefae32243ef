//! What the site has changed of what is shipped: the directory of `holdfast-server serve --site`.

use std::sync::{Arc, PoisonError, RwLock};

use triage::Rules;

use crate::app::{Problem, ProblemKind};

/// See the module.
#[derive(Debug, Default)]
pub struct Site {
    /// None until the first alert comes: the shipped rules.
    rules: RwLock<Option<Arc<Rules>>>,
}

impl Site {
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
