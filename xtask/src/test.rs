//! Everything that the build server runs. The tests come last, so that the last lines are their results.

use std::process::Command;

use anyhow::Context as _;

use crate::programs::{self, Build, size};
use crate::setup::{
    AGE, CHROMEDRIVER, CHROMIUM, GIT, IP, IPSET, IPTABLES, MUSL_GCC, NFT, OPENSSL, PIP, POSTGRES, PYTHON, SETPRIV,
    SSH_KEYGEN, STRACE, UNSHARE, UNZIP, foreign, prepare,
};
use crate::shell::{cargo, output, root, run as run_it, stage};
use crate::{full, only, schema};

/// See `cargo xtask --help`.
pub const SUMMARY: &str =
    "format, lints, schema, all tests; --full adds release size, memory, fuzzing, fire and the bench";

/// See the module.
///
/// # Errors
/// The first thing that fails.
pub fn run(options: &[String]) -> anyhow::Result<()> {
    only(options, &["--full"])?;
    let tools = [
        MUSL_GCC,
        UNZIP,
        SSH_KEYGEN,
        OPENSSL,
        PYTHON,
        PIP,
        STRACE,
        POSTGRES,
        SETPRIV,
        UNSHARE,
        IP,
        NFT,
        IPTABLES,
        IPSET,
        GIT,
        AGE,
        CHROMIUM,
        CHROMEDRIVER,
    ];
    let python = stage("set-up", || prepare(&tools).and_then(|()| foreign()))?;
    stage("format: rustfmt --check on every source", format)?;
    stage("lints: cargo clippy", || {
        run_it(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    let agent = stage("the static agent", || programs::agent(Build::Dev))?;
    println!("   {} ({})", agent.display(), size(&agent));
    let holdfast = stage("the command line of responders", || programs::holdfast(Build::Dev))?;
    println!("   {}", holdfast.display());
    let server = stage("the collector server", || programs::server(Build::Dev))?;
    println!("   {} ({})", server.display(), size(&server));
    stage("what is generated is current", || schema::check(&agent))?;
    let is_full = options.iter().any(|option| option == "--full");
    if is_full {
        full::run()?;
    }
    println!("== tests: cargo test --workspace");
    let programs = [("AGENT", &agent), ("BIN", &holdfast), ("SERVER", &server), ("PYTHON", &python)];
    let mut command = cargo();
    command.args(["test", "--quiet", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
    command.envs(programs.map(|(name, path)| (format!("HOLDFAST_{name}"), path)));
    if is_full {
        command.env("HOLDFAST_FIRE_ROUNDS", full::FIRE_ROUNDS.to_string());
    }
    run_it(&mut command)
}

/// `cargo fmt` does not see modules that a macro declares, so every file is named.
fn format() -> anyhow::Result<()> {
    let files = output(Command::new("git").args(["ls-files", "-z", "*.rs"]).current_dir(root()))?;
    let files: Vec<&str> = files.split_terminator('\0').filter(|file| root().join(file).is_file()).collect();
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--check", "--edition", "2024", "--config-path", "rustfmt.toml"]).args(files);
    run_it(rustfmt.current_dir(root())).context("`cargo fmt`, or rustfmt on the files that it does not see, mends it")
}
