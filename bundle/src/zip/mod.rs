//! The ZIP profile (FORMAT.md, "ZIP profile"; APPNOTE.TXT 6.3.10): headers as values, and the one way to write each.
//!
//! The writer writes with these functions and the verifier writes again with them what it parsed, and compares: no bit
//! of the container is free.

mod layout;
mod parse;

pub use layout::{End, Entry, EntryPlace, Method, Stamp, central, descriptor, end, local};
pub use parse::{Parsed, Unreadable, parse_local};
