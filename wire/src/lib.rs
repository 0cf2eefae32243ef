//! What crosses the network and the disk between the parts of Holdfast: ids, profiles, orders, assessments, answers.
//!
//! Architecture invariant: nothing in this crate opens a file, a socket or a clock. A value that was parsed here is
//! valid everywhere after.

pub mod agent_api;
pub mod api;
pub mod assessment;
pub mod case;
pub mod containment;
pub mod custody;
pub mod digest;
pub mod finding;
pub mod host;
pub mod hunt;
pub mod ids;
pub mod order;
pub mod profile;
pub mod receipt;
pub mod response;
pub mod signed;
pub mod size;
pub mod suggest;
pub mod ticket;
pub mod tier;
pub mod time;

pub use digest::Sha256;
pub use ids::{AgentId, AlertId, BundleId, EditId, HuntId, IncidentId, LetterId, OrderId, PageId, UploadId};
pub use size::ByteSize;
pub use tier::{Phase, Tier};
pub use time::Instant;
