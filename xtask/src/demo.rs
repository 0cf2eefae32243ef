//! Stub.
/// See `cargo xtask --help`.
pub const SUMMARY: &str = "not yet";
/// See the module.
pub fn run(_: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
