//! The sealed evidence bundle, `holdfast-bundle/1`: write, read, verify. `FORMAT.md` beside this crate is normative.
//!
//! Architecture invariant: nothing here knows the network, an executor or a host. The writer writes to anything that is
//! [`std::io::Write`]; the verifier reads anything that is [`std::io::Read`].

pub mod ca;
pub mod checkpoint;
pub mod coverage;
pub mod custody_log;
pub mod encryption;
pub mod header;
pub mod item;
pub mod merkle;
pub mod name;
pub mod sign;
pub mod time;
pub mod timeline;
pub mod timestamp;
pub mod verify;
pub mod write;
pub mod zip;
