//! From an alert to an assessment that explains itself.
//!
//! Bytes → [`normalise`] → [`Alert`] → [`assess`] → [`wire::assessment::Assessment`]. What the rules are stands in
//! `data/*.yaml`, not in code.
//!
//! Architecture invariant: pure. No file, no socket, no clock, no randomness; the caller says when an alert came.

pub mod alert;
mod assess;
pub mod calendar;
pub mod checklist;
pub mod classify;
pub mod clocks;
pub mod containment;
pub mod correlate;
pub mod drafts;
pub mod escalation;
pub mod evidence;
pub mod false_positive;
pub mod fields;
mod forensics;
pub mod incident;
mod intake;
pub mod mapping;
mod matching;
mod normalise;
mod overrides;
mod replay;
pub mod roles;
pub mod rules;
pub mod severity;
pub mod taxonomy;
pub mod techniques;
pub mod timers;

pub use alert::Alert;
pub use assess::{Context, assess, triage_incident};
pub use correlate::{are_independent, correlates, is_duplicate};
pub use forensics::{UnknownType, collect_forensics};
pub use intake::{BYTES_MAX, NotTaken, Parsed, RECORDS_MAX, normalise};
pub use overrides::Override;
pub use replay::{Past, replay};
pub use rules::{Mistakes, Rules, SiteFile};
