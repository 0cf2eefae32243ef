//! What `cargo xtask test --full` adds: things that take minutes.

/// See the module.
///
/// # Errors
/// The first thing that does not hold.
pub fn run() -> anyhow::Result<()> {
    Ok(())
}
