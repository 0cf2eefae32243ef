//! The rules of triage: YAML that is compiled in, read once, checked as a whole.

use std::sync::LazyLock;

pub use wire::profile::Mistakes;

/// All rules.
#[derive(Clone, Debug, Default)]
pub struct Rules {}

static SHIPPED: LazyLock<Result<Rules, Mistakes>> = LazyLock::new(|| Ok(Rules::default()));

impl Rules {
    /// The rules as they are shipped.
    ///
    /// # Errors
    /// The mistakes in them, each with file and line.
    pub fn shipped() -> Result<&'static Self, &'static Mistakes> {
        SHIPPED.as_ref()
    }
}
