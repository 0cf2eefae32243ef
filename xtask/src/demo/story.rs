//! How the story is told: chapters, sentences, and commands whose end is known beforehand.

use std::borrow::Cow;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::shell::{root, shown};

/// More lines of one command than this are left out, and what is longer than a line of the screen is cut.
const LINES_MAX: usize = 48;
const CHARACTERS_MAX: usize = 116;
/// Nothing in the story takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
pub struct Story {
    folder: PathBuf,
    chapters: u32,
    /// What runs in the background; ended with the story.
    background: Vec<Child>,
}

impl Drop for Story {
    fn drop(&mut self) {
        for child in &mut self.background {
            let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
            // It seals or commits what it is at; one that is gone already cannot be told.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

impl Story {
    /// Makes the folder in which everything happens: where cargo builds, so that `cargo clean` takes it away.
    pub fn begin() -> anyhow::Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        let demos = std::path::absolute(target)?.join("demo");
        std::fs::create_dir_all(&demos).with_context(|| format!("{} cannot be made", demos.display()))?;
        let folder = tempfile::Builder::new().prefix("").rand_bytes(6).tempdir_in(demos)?.keep();
        println!("Holdfast: from two alerts to evidence of this host that anyone can verify.");
        Ok(Self { folder, chapters: 0, background: Vec::new() })
    }

    /// Where everything happens.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of the story.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Begins a chapter.
    pub fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        println!("\n{}. {title}", self.chapters);
    }

    /// One line.
    #[expect(clippy::unused_self, reason = "what is told is told in a story")]
    pub fn tell(&self, line: &str) {
        println!("   {line}");
    }

    /// Puts the programs where the commands of the story find them.
    pub fn programs(&self, programs: &[(&str, &Path)]) -> anyhow::Result<()> {
        std::fs::create_dir(self.path("bin"))?;
        for (name, program) in programs {
            symlink(program, self.path("bin").join(name))?;
        }
        Ok(())
    }

    /// Shows a command and starts it in the background; what it says goes to `<program>.log`.
    pub fn start(&mut self, program: &str, words: &[&str]) -> anyhow::Result<()> {
        println!("\n   $ bin/{program} {} &", words.join(" "));
        let log = std::fs::File::create(self.path(&format!("{program}.log")))?;
        let mut command = Command::new(self.path("bin").join(program));
        self.place(command.args(words)).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{program} could not be started"))?;
        self.background.push(child);
        Ok(())
    }

    /// Waits until `look` finds what it looks for.
    ///
    /// # Errors
    /// When it did not within half a minute, with the end of what the background said.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
        let started = Instant::now();
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if started.elapsed() > PATIENCE {
                bail!(
                    "{what} did not happen within {} s; see the logs in {}",
                    PATIENCE.as_secs(),
                    self.folder.display()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Shows a command of one of the programs, runs it in the folder and returns what it said; its progress goes to the
    /// terminal.
    ///
    /// # Errors
    /// When it does not end with one of `codes`.
    pub fn run(&self, program: &str, words: &[&str], codes: &[i32]) -> anyhow::Result<String> {
        let typed: Vec<_> = words.iter().map(|word| typed(word)).collect();
        println!("\n   $ bin/{program} {}", typed.join(" "));
        self.run_unseen(Command::new(self.path("bin").join(program)).args(words), codes)
    }

    /// The same for a line of shell.
    ///
    /// # Errors
    /// As [`Story::run`].
    pub fn shell(&self, line: &str, codes: &[i32]) -> anyhow::Result<String> {
        println!("\n   $ {line}");
        self.run_unseen(Command::new("sh").args(["-c", line]), codes)
    }

    /// What one of the commands of `holdfast` answers in JSON; not shown.
    ///
    /// # Errors
    /// When it does not end with 0, or says something else.
    pub fn ask(&self, words: &[&str]) -> anyhow::Result<Value> {
        let said = self.run_unseen(Command::new(self.path("bin/holdfast")).args(words), &[0])?;
        Ok(serde_json::from_str(&said)?)
    }

    /// Until the person at the terminal has seen enough, or something in the background ends.
    pub fn wait(&mut self) -> anyhow::Result<()> {
        let is_over = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&is_over))?;
        }
        while !is_over.load(Ordering::Relaxed) {
            if let Some(status) = self.background.iter_mut().find_map(|child| child.try_wait().ok().flatten()) {
                bail!("something in the background ended: {status}; see the logs in {}", self.folder.display());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// In the story's folder, with the story's own state and configuration.
    fn place<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(&self.folder).env("HOLDFAST_STATE_DIR", self.path("state"));
        command.env("HOLDFAST_CONFIG_DIR", self.path("config"))
    }

    fn run_unseen(&self, command: &mut Command, codes: &[i32]) -> anyhow::Result<String> {
        let ran = self.place(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let ran = ran.with_context(|| format!("`{}` could not be started", shown(command)))?;
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        match ran.status.code() {
            Some(code) if codes.contains(&code) => Ok(said),
            _ => bail!("this was to end with {codes:?}, but: {}\n{said}", ran.status),
        }
    }

    /// Shows what a command said.
    pub fn show(&self, said: &str) {
        let lines: Vec<&str> = said.lines().collect();
        for line in lines.iter().take(LINES_MAX) {
            match line.char_indices().nth(CHARACTERS_MAX) {
                Some((end, _)) => self.tell(&format!("{}…", &line[..end])),
                None => self.tell(line),
            }
        }
        if lines.len() > LINES_MAX {
            self.tell(&format!("… {} more lines", lines.len() - LINES_MAX));
        }
    }
}

/// A word as a shell wants it.
fn typed(word: &str) -> Cow<'_, str> {
    if word.contains(' ') { format!("\"{word}\"").into() } else { word.into() }
}
