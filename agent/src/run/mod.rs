//! A run.
pub mod limits;
pub mod rules;
pub mod session;
#[cfg(test)]
pub mod testing;
