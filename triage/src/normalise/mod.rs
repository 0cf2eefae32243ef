//! The normalisers. A new one is one file and one line of [`NORMALISERS`].

use serde_json::Value;

use crate::Alert;

mod falco;
mod generic;
mod guardduty;
mod plain;

/// Reads the records of one product.
pub trait Normaliser: Sync {
    /// What `record` says; `None` when it is not this product's.
    fn read(&self, record: &Value) -> Option<Alert>;
}

/// All of them, the most particular first. The last one understands everything.
pub const NORMALISERS: &[&dyn Normaliser] = &[&guardduty::GuardDuty, &falco::Falco, &plain::Plain, &generic::Generic];
