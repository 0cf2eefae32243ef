//! From the typed records of a bundle to findings: Sigma rules, compiled once and applied row by row.
//!
//! A rule is YAML in `rules/` (see [`Rules`]); its `logsource` names a collector as `service` and, where a collector has
//! several kinds of rows, the kind as `category`. Sigma looks at one row at a time. What a rule needs to know of other
//! rows (the process that holds a socket) is put into the row beforehand, as `rules/joins.yml` declares. The agent only
//! records; what judges is here, and can be changed and run again years later.
//!
//! Two passes over a verified bundle: the first keeps what joins need, the second applies the rules. Memory is bounded
//! by [`limits`], whatever the bundle holds.
//!
//! Architecture invariant: pure. No file, no clock; a bundle comes as [`bundle::verify::Verified`] and a reader.
//!
//! Why an engine of our own: sigma-rust 0.7 does not look into lists, which our rows are full of, and rsigma-eval 0.23
//! brings 71 crates and later versions ask for a newer compiler; neither names the line of a mistake. What is needed of
//! the specification fits a few hundred lines.

mod condition;
mod detection;
mod evaluate;
mod field;
mod joins;
pub mod limits;
mod pattern;
mod rule;
mod rules;

pub use evaluate::{Context, Evaluation, of_bundle};
pub use rules::{Case, ColumnRead, Rules, SHIPPED, shipped_cases};
pub use wire::profile::{Mistake, Mistakes, Text};
