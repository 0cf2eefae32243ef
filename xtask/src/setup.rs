//! What the commands need on a machine that has cargo: Debian packages and the target of the static agent.
//!
//! Nothing here downloads a program from anywhere but the distribution and rustup.

use std::path::{Path, PathBuf};
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
/// Is a time-stamping authority, and checks what one signed.
pub const OPENSSL: Tool = Tool("openssl", "openssl");
/// Opens what is encrypted to analysts.
pub const AGE: Tool = Tool("age", "age");
/// Sends alerts, as the products do that raise them.
pub const CURL: Tool = Tool("curl", "curl");
/// What an analyst sees.
pub const CHROMIUM: Tool = Tool("chromium", "chromium");
/// Drives it.
pub const CHROMEDRIVER: Tool = Tool("chromedriver", "chromium-driver");
/// Runs verify.py, and tampers with bundles in the tests.
pub const PYTHON: Tool = Tool("python3", "python3");
/// Shows what the agent asks of the kernel.
pub const STRACE: Tool = Tool("strace", "strace");
/// Brings what others wrote in Python.
pub const PIP: Tool = Tool("pip3", "python3-pip");
/// The two parts of util-linux that the tests use as root.
pub const SETPRIV: Tool = Tool("setpriv", "util-linux");
/// See [`SETPRIV`].
pub const UNSHARE: Tool = Tool("unshare", "util-linux");
/// Sets what the collectors of networks are tested on, in namespaces of the tests' own.
pub const IP: Tool = Tool("ip", "iproute2");
/// See [`IP`].
pub const NFT: Tool = Tool("nft", "nftables");
/// See [`IP`].
pub const IPTABLES: Tool = Tool("iptables-legacy", "iptables");
/// See [`IP`].
pub const IPSET: Tool = Tool("ipset", "ipset");
/// The database that servers share. Debian keeps it out of the search path: see [`HOMES`].
pub const POSTGRES: Tool = Tool("initdb", "postgresql");
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
    if missing.contains(&POSTGRES.1) {
        no_cluster()?;
    }
    run(&mut apt("update"))?;
    run(apt("install").args(["-y", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("install {packages} by hand, then start again"))
}

/// Debian would make a database and start it with each boot. The tests start their own.
fn no_cluster() -> anyhow::Result<()> {
    let folder = Path::new("/etc/postgresql-common/createcluster.d");
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("holdfast-tests.conf"), "create_main_cluster = false\n")?;
    Ok(())
}

fn apt(verb: &str) -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["-qq", verb]).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    apt
}

/// Programs that others wrote for the protocols that the server speaks, in a Python of their own among what cargo built.
const FOREIGN: [&str; 5] =
    ["tuspy==1.1.0", "schemathesis==4.32.5", "moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"];

/// The Python that has them.
///
/// # Errors
/// When they cannot be installed.
pub fn foreign() -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = std::path::absolute(target)?.join("foreign");
    let (python, done) = (folder.join("bin/python"), folder.join("installed"));
    let wanted = FOREIGN.join(" ");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    // Without pip in it: the machine's own installs into it, and Debian needs one package less.
    run(Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&folder))?;
    let mut pip = Command::new("pip3");
    pip.arg("--python").arg(&python).args(["install", "--quiet", "--disable-pip-version-check"]).args(FOREIGN);
    run(&mut pip).context("tuspy, schemathesis and moto come from PyPI: is it reached from here?")?;
    std::fs::write(done, wanted)?;
    Ok(python)
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

/// Where Debian has one folder for each version of PostgreSQL.
const HOMES: &str = "/usr/lib/postgresql";

/// True when the program is in the search path, or among those of PostgreSQL.
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let homes = std::fs::read_dir(HOMES).into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    std::env::split_paths(&path).chain(homes).any(|folder| folder.join(program).is_file())
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
