//! How the story is told: chapters, sentences, and commands whose end is known beforehand.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::shell::{root, shown};

/// More lines of one command than this are left out, and what is longer than a line of the screen is cut.
const LINES_MAX: usize = 24;
const CHARACTERS_MAX: usize = 116;

/// See the module.
pub struct Story {
    folder: PathBuf,
    chapters: u32,
}

impl Story {
    /// Makes the folder in which everything happens: where cargo builds, so that `cargo clean` takes it away.
    pub fn begin() -> anyhow::Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        let demos = std::path::absolute(target)?.join("demo");
        std::fs::create_dir_all(&demos).with_context(|| format!("{} cannot be made", demos.display()))?;
        let folder = tempfile::Builder::new().prefix("").rand_bytes(6).tempdir_in(demos)?.keep();
        println!("Holdfast: from this host to a bundle that anyone can verify.");
        Ok(Self { folder, chapters: 0 })
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
    pub fn programs(&self, agent: &Path, holdfast: &Path) -> anyhow::Result<()> {
        std::fs::create_dir(self.path("bin"))?;
        symlink(agent, self.path("bin/holdfast-agent"))?;
        symlink(holdfast, self.path("bin/holdfast"))?;
        Ok(())
    }

    /// Shows a command of one of the programs, runs it in the folder and returns what it said; its progress goes to the
    /// terminal.
    ///
    /// # Errors
    /// When it does not end with one of `codes`.
    pub fn run(&self, program: &str, words: &[&str], codes: &[i32]) -> anyhow::Result<String> {
        println!("\n   $ bin/{program} {}", words.join(" "));
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

    fn run_unseen(&self, command: &mut Command, codes: &[i32]) -> anyhow::Result<String> {
        command.current_dir(&self.folder).env("HOLDFAST_STATE_DIR", self.path("state"));
        let ran = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
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
