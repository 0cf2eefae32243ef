//! The report that expert witnesses ask for: in a private copy of this machine, known traces of intruders are planted, the
//! agent collects, the rules judge, and the report says what was found and what was missed.
//!
//! The copy has namespaces of its own (mount, PID, network, names, IPC) and an overlay over `/` in memory: the machine is
//! neither changed nor seen. Everything that is planted is harmless: it sleeps, listens or holds something.

mod acts;
mod report;
mod scene;
mod traces;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;
use wire::Sha256;

use crate::programs::{self, Build};
use crate::shell::{output, root, stage};

pub(super) const SUMMARY: &str =
    "plant known traces in a private copy of this machine, collect, and report, signed, what was found and missed";

/// See the module.
pub(super) fn run(options: &[String]) -> anyhow::Result<()> {
    match options.first().map(String::as_str) {
        Some("act") => return acts::run(options.get(1..).unwrap_or_default()),
        Some("inside") => return scene::run(Path::new(options.get(1).context("a folder is wanted")?)),
        _ => {}
    }
    let Options { key, out, build } = Options::read(options)?;
    if !rustix::process::geteuid().is_root() {
        bail!(
            "namespaces and an overlay over / need root, and nothing is planted on a machine itself: run it as root, for \
            instance in a virtual machine"
        );
    }
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    // Not in a temporary folder: there this very program would be a finding on the clean copy.
    let work = tempfile::tempdir_in(&out)?;
    let (agent, holdfast) = stage("building", || Ok((programs::agent(build)?, programs::holdfast(build)?)))?;
    fs::copy(&agent, work.path().join("holdfast-agent"))?;
    fs::copy(std::env::current_exe()?, work.path().join("xtask"))?;
    stage("collecting on a clean copy, planting, collecting again", || {
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--propagation", "private", "--"]);
        inside.arg(work.path().join("xtask")).args(["validate", "inside"]).arg(work.path());
        let ran = inside.status().context("unshare(1) of util-linux is wanted")?;
        if !ran.success() {
            bail!("no private copy of this machine could be made here ({ran}): nothing was planted");
        }
        Ok(())
    })?;
    let planted: Vec<Value> = serde_json::from_slice(&fs::read(work.path().join("planted.json"))?)?;
    // Rows are named by their place in a bundle: whoever doubts one wants the bundle.
    let judged = |name: &str| judge(&holdfast, &keep(&work.path().join(name), &out.join(name))?);
    let (clean, found) = stage("applying the rules", || Ok((judged("clean")?, judged("planted")?)))?;
    let report = report::Report::new(&[&agent, &holdfast], &planted, &clean, &found)?;
    let key = key.map_or_else(|| agent_key(work.path()), Ok)?;
    report.write(&out, &key)?;
    println!("{}", report.summary());
    println!("report: {}", out.display());
    if report.missed() > 0 {
        bail!("{} of the traces that were planted were not found", report.missed());
    }
    Ok(())
}

struct Options {
    build: Build,
    key: Option<PathBuf>,
    out: PathBuf,
}

impl Options {
    fn read(words: &[String]) -> anyhow::Result<Self> {
        let mut options = Self { build: Build::Dev, key: None, out: root().join("target/validation") };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--release" => options.build = Build::Release,
                "--key" => options.key = Some(words.next().context("--key wants a file")?.into()),
                "--out" => options.out = words.next().context("--out wants a folder")?.into(),
                other => bail!("unknown option `{other}`: it takes --release, --key FILE and --out DIR"),
            }
        }
        Ok(options)
    }
}

/// Copies what the agent left in one folder to another, where it stays. Returns that folder.
fn keep(from: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    // Nothing of an earlier run is taken for this one's.
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name())).with_context(|| entry.path().display().to_string())?;
    }
    Ok(to.to_owned())
}

/// What `holdfast findings` says of the one bundle in a folder, with the digest of the bundle.
fn judge(holdfast: &Path, folder: &Path) -> anyhow::Result<Value> {
    let bundle = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "zip"))
        .with_context(|| format!("no bundle in {}", folder.display()))?;
    let mut command = Command::new(holdfast);
    command.args(["findings", "--json", "--signers"]).arg(folder.join("allowed_signers")).arg(&bundle);
    // Its exit code says how bad the findings are.
    let ran = command.output().context("holdfast could not be started")?;
    let report = serde_json::from_slice(&ran.stdout);
    let mut report: Value =
        report.with_context(|| format!("holdfast findings: {}", String::from_utf8_lossy(&ran.stderr)))?;
    report["sha256"] = Sha256::of(&fs::read(&bundle)?).to_string().into();
    Ok(report)
}

/// The key of the agent that collected.
fn agent_key(work: &Path) -> anyhow::Result<PathBuf> {
    let key = work.join("state/agent_key");
    anyhow::ensure!(key.exists(), "the agent left no key: give one with --key FILE");
    Ok(key)
}

/// The first line that a program prints about itself.
fn version_of(program: &Path) -> anyhow::Result<String> {
    Ok(output(Command::new(program).arg("--version"))?.lines().next().unwrap_or_default().to_owned())
}
