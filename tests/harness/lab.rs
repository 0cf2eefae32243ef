//! A place for one test: state folder, output folder and a tree to be examined; and the two programs run in it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Ended, Running};
use crate::programs::{agent, holdfast, verify_py};

/// No run of a test takes longer, unless the test says so.
const DEADLINE: Duration = Duration::from_mins(2);

/// See the module. All of it is removed at the end.
pub struct Lab {
    folder: TempDir,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// An empty place, which every user may enter.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("holdfast-test-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("tree")).unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        Self { folder }
    }

    /// A path in the place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is examined.
    pub fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    /// Where bundles go.
    pub fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// A file in the tree, folders above it included.
    pub fn plant(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.tree().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A profile file. `TREE` in the text stands for the tree.
    pub fn profile(&self, yaml: &str) -> PathBuf {
        let path = self.path("profile.yaml");
        fs::write(&path, yaml.replace("TREE", path_text(&self.tree()))).unwrap();
        path
    }

    /// A profile that takes the tree, after the volatile evidence of this host when `volatile` is its prelude.
    pub fn tree_profile(&self, prelude: &str) -> PathBuf {
        self.profile(&format!("name: test\nsummary: A test.\ncollect:\n{prelude}  - collect: files\n    with: {{ paths: [\"TREE/**\"] }}\n"))
    }

    /// A collection into the output folder.
    pub fn collect(&self, profile: impl AsRef<Path>) -> Collect {
        let mut command = Command::new(agent());
        command.args(["collect", "--profile"]).arg(profile.as_ref());
        command.env("HOLDFAST_STATE_DIR", self.path("state"));
        Collect { command, output: self.out(), deadline: DEADLINE }
    }

    /// A sealed bundle of a tree with a few files and of the processes of this host.
    pub fn sealed(&self) -> Collected {
        for number in 0..20 {
            self.plant(
                &format!("d/{number}.txt"),
                format!("content of file {number}, long enough\n").repeat(number + 1),
            );
        }
        self.plant("d/large.bin", crate::Random::seeded().bytes(3 << 20));
        std::os::unix::fs::symlink("d/1.txt", self.tree().join("link")).unwrap();
        let profile = self.tree_profile("  - collect: host_facts\n  - collect: processes\n");
        self.collect(profile).sealed()
    }

    /// `holdfast verify`, with whatever else the caller adds.
    pub fn verify(&self, bundle: &Path) -> Verdict {
        let mut command = Command::new(holdfast());
        command.arg("verify").arg(bundle);
        Verdict { command }
    }

    /// `verify.py`, likewise.
    pub fn verify_py(&self, bundle: &Path) -> Verdict {
        let mut command = Command::new("python3");
        command.arg(verify_py()).arg(bundle);
        Verdict { command }
    }
}

/// The path as text; temporary folders have such names.
pub fn path_text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}

/// A collection to be run.
pub struct Collect {
    command: Command,
    output: PathBuf,
    deadline: Duration,
}

impl Collect {
    /// Elsewhere than to the output folder.
    #[must_use]
    pub fn output(mut self, output: impl Into<PathBuf>) -> Self {
        self.output = output.into();
        self
    }

    /// With this state folder, and so with another key.
    #[must_use]
    pub fn state(mut self, folder: &Path) -> Self {
        self.command.env("HOLDFAST_STATE_DIR", folder);
        self
    }

    /// With this argument as well.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// The run must end by itself within this time.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The bare command, for those who wrap it (strace, setpriv).
    pub fn command(mut self) -> Command {
        self.command.arg("--output").arg(&self.output);
        self.command
    }

    /// Starts it.
    pub fn start(self) -> Running {
        Running::start(&mut self.command())
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Ended {
        let deadline = self.deadline;
        self.start().wait(deadline)
    }

    /// Runs it and expects a seal and a complete run.
    #[track_caller]
    pub fn sealed(self) -> Collected {
        self.ends_with(0)
    }

    /// Runs it and expects a seal and this exit code.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Collected {
        Collected::of(&self.arg("--json").run().expect_code(code))
    }
}

/// A sealed bundle and what the agent said of it.
#[derive(Debug)]
pub struct Collected {
    /// The bundle.
    pub path: PathBuf,
    /// Its transport checkpoints.
    pub stream: PathBuf,
    /// The line of the key that sealed it.
    pub signers: PathBuf,
    /// Who that is.
    pub principal: String,
    /// The agent's result, whole.
    pub told: Value,
}

impl Collected {
    /// From the agent's `--json`.
    #[track_caller]
    pub fn of(ended: &Ended) -> Self {
        let told: Value =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.said()));
        let text = |key: &str| told[key].as_str().unwrap_or_else(|| panic!("no {key} in {told}")).to_owned();
        Self {
            path: text("path").into(),
            stream: text("stream").into(),
            signers: text("allowed_signers").into(),
            principal: text("principal"),
            told,
        }
    }

    /// The bundle's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    /// The transport checkpoints: each with what was signed.
    pub fn checkpoints(&self) -> Vec<Value> {
        crate::jsonl(&fs::read(&self.stream).unwrap())
    }
}

/// A verification to be run.
pub struct Verdict {
    command: Command,
}

impl Verdict {
    /// Trusting these keys.
    #[must_use]
    pub fn signers(mut self, file: &Path) -> Self {
        self.command.arg("--signers").arg(file);
        self
    }

    /// Against these transport checkpoints.
    #[must_use]
    pub fn stream(mut self, file: &Path) -> Self {
        self.command.arg("--stream").arg(file);
        self
    }

    /// With this argument as well.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(mut self) -> Ended {
        Running::start(&mut self.command).wait(DEADLINE)
    }
}
