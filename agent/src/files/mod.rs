//! Files of the host on their way into the bundle: what is asked for, what is withheld, how content is read.
//!
//! `host/` finds files and knows nothing of a run; this folder hands them over by the [`Session`](crate::run::session).

pub mod content;
pub mod contents;
pub mod copy;
pub mod digest;
pub mod file_row;
pub mod gather;
pub mod inspect;
pub mod kept;
mod own;
pub mod package_database;
pub mod read_all;
mod reader;
mod sensitive;
pub mod since;
pub mod targets;
pub mod text_log;
pub mod window;
