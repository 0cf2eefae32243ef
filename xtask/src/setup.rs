//! What the commands need on a machine that has cargo: Debian packages and the target of the static agent.
//!
//! Nothing here downloads a program from anywhere but the distribution and rustup.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::shell::{output, root, run};

/// The agent is one static file: it is built against musl.
pub const MUSL: &str = "x86_64-unknown-linux-musl";

/// A program that others bring, and the Debian package that it is in.
pub struct Tool(pub &'static str, pub &'static str);

/// Links the static agent.
pub const MUSL_GCC: Tool = Tool("musl-gcc", "musl-tools");
/// Opens bundles.
pub const UNZIP: Tool = Tool("unzip", "unzip");
/// Verifies signatures.
pub const SSH_KEYGEN: Tool = Tool("ssh-keygen", "openssh-client");
/// Runs verify.py, and tampers with bundles in the tests.
pub const PYTHON: Tool = Tool("python3", "python3");
/// Shows what the agent asks of the kernel.
pub const STRACE: Tool = Tool("strace", "strace");
/// The two parts of util-linux that the tests use as root.
pub const SETPRIV: Tool = Tool("setpriv", "util-linux");
/// See [`SETPRIV`].
pub const UNSHARE: Tool = Tool("unshare", "util-linux");
/// Lists the sources.
pub const GIT: Tool = Tool("git", "git");
/// Compresses in the bench's baseline.
pub const TAR: Tool = Tool("tar", "tar");

/// Makes sure that the tools and the target are there.
///
/// # Errors
/// When something is missing that cannot be installed from here; the message says what to type.
pub fn prepare(tools: &[Tool]) -> anyhow::Result<()> {
    packages(tools)?;
    musl_target()
}

fn packages(tools: &[Tool]) -> anyhow::Result<()> {
    let mut missing: Vec<&str> =
        tools.iter().filter(|Tool(program, _)| !is_there(program)).map(|Tool(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !is_there("apt-get") {
        bail!("these Debian packages, or what they are called here, are missing: {packages}");
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("packages are missing; install them and start again:\n  sudo apt-get install -y {packages}");
    }
    println!("   installing {packages}");
    run(&mut apt("update"))?;
    run(apt("install").args(["-y", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("install {packages} by hand, then start again"))
}

fn apt(verb: &str) -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["-qq", verb]).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    apt
}

/// rustup reads rust-toolchain.toml, but a toolchain that was there before may lack the target.
fn musl_target() -> anyhow::Result<()> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(MUSL).is_dir() {
        return Ok(());
    }
    if !is_there("rustup") {
        bail!(
            "this Rust has no target {MUSL}, and there is no rustup to add it: install rustup from https://rustup.rs"
        );
    }
    println!("   adding the target {MUSL}");
    run(Command::new("rustup").args(["--quiet", "target", "add", MUSL]).current_dir(root()))
}

/// True when the program is in the search path.
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_the_search_path_and_nowhere_else() {
        assert!(is_there("sh"));
        assert!(!is_there("no-such-program"));
        assert!(!is_there("etc/passwd"));
    }
}
