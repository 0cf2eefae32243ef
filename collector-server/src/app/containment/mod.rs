//! The server's half of containment: orders that change hosts, who approves them, and what agents tell of them.
//!
//! The server decides nothing that a host must believe: it carries signatures, counts them, and says what is missing. What
//! a host does is decided by its policy.
//!
//! Automation of SEV1 incidents is a state machine ([`machine`], pure) over facts ([`facts`]), whose steps are commits
//! ([`automation`]) of what is to be done ([`effects`]). [`preserved`] sees to it that evidence goes first, and [`probes`]
//! looks whether it holds.

pub mod alarms;
pub mod approvals;
pub mod approvers;
pub mod automation;
pub mod cancel;
pub mod console;
pub mod effects;
pub mod facts;
pub mod machine;
pub mod ordered;
pub mod preserved;
pub mod probes;
pub mod site;
pub mod told;
