//! Where a bundle goes: a file, a folder or standard output.

pub mod output;
