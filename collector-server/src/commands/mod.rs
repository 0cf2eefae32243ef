//! What operators type.

pub mod token;
