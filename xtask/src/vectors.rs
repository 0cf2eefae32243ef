//! The named test vectors of the bundle format, `bundle/vectors/`. A test of the bundle crate says whether they are current.

use crate::only;
use crate::shell::{cargo, run as run_it};

/// See `cargo xtask --help`.
pub const SUMMARY: &str = "writes bundle/vectors/ anew";

/// See the module.
///
/// # Errors
/// When the generator does not compile or run.
pub fn run(options: &[String]) -> anyhow::Result<()> {
    only(options, &[])?;
    run_it(cargo().args(["run", "--quiet", "--package", "bundle", "--example", "vectors"]))
}
