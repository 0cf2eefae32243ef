//! From an alert to an assessment that explains itself.
//!
//! Bytes → [`normalise`] → [`Alert`] → [`assess`] → [`wire::assessment::Assessment`]. What the rules are stands in
//! `data/*.yaml`, not in code.
//!
//! Architecture invariant: pure. No file, no socket, no clock, no randomness; the caller says when an alert came.

pub mod alert;
mod assess;
pub mod correlate;
pub mod fields;
mod intake;
mod normalise;
pub mod rules;

pub use alert::Alert;
pub use assess::{Context, assess, triage_incident};
pub use correlate::{are_independent, correlates, is_duplicate};
pub use intake::{NotTaken, Parsed, normalise};
pub use rules::Rules;
