//! Tokens of people and programs: `hf_<id>_<secret>`.

/// See the module.
#[derive(Debug, Default)]
pub struct Tokens {}
