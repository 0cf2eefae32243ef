//! The programs under test: handed over by `cargo xtask test`, or built once for a plain `cargo test`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the checkout").to_owned()
}

/// `$HOLDFAST_AGENT`, or the static agent, built now.
pub fn agent() -> &'static Path {
    static AGENT: OnceLock<PathBuf> = OnceLock::new();
    AGENT.get_or_init(|| {
        let build = ["--package", "holdfast-agent", "--bin", "holdfast-agent", "--target", "x86_64-unknown-linux-musl"];
        given_or_built("HOLDFAST_AGENT", &build)
    })
}

/// `$HOLDFAST_BIN`, or `holdfast`, built now.
pub fn holdfast() -> &'static Path {
    static HOLDFAST: OnceLock<PathBuf> = OnceLock::new();
    HOLDFAST.get_or_init(|| given_or_built("HOLDFAST_BIN", &["--package", "holdfast", "--bin", "holdfast"]))
}

/// `$HOLDFAST_SERVER`, or `holdfast-server`, built now.
pub fn server() -> &'static Path {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(|| {
        given_or_built("HOLDFAST_SERVER", &["--package", "holdfast-server", "--bin", "holdfast-server"])
    })
}

/// A Python that has this package, from `$HOLDFAST_PYTHON`; `cargo xtask test` makes one. Without it the test says in its
/// output that it was skipped.
pub fn foreign(package: &str) -> Option<PathBuf> {
    use std::io::Write as _;
    let python = std::env::var_os("HOLDFAST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: {package}: HOLDFAST_PYTHON names no Python that has it");
    }
    python
}

/// The verifier for those who have none of our software.
pub fn verify_py() -> PathBuf {
    root().join("bundle/verify.py")
}

fn given_or_built(variable: &str, which: &[&str]) -> PathBuf {
    if let Some(given) = std::env::var_os(variable) {
        return given.into();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(root()).args(["build", "--quiet", "--message-format", "json"]).args(which);
    let ran = build.output().unwrap();
    assert!(ran.status.success(), "{build:?}: {}", String::from_utf8_lossy(&ran.stderr));
    let messages = String::from_utf8(ran.stdout).unwrap();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let programs = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    programs.collect::<Vec<_>>().pop().expect("cargo names the program that it built")
}
