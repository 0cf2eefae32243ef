//! A run.
pub mod limits;
pub mod session;
#[cfg(test)]
pub mod testing;
