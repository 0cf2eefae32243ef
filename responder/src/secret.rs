//! A text that must not get onto a screen or into a log by accident, and how a person hands one over.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::commands::{Failure, INPUT, IO, USAGE};

/// The longest secret that is read.
const BYTES_MAX: u64 = 8 << 10;

/// A secret. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Reads one from a file, from standard input (`-`), or, without either, from the terminal, which shows nothing.
    pub fn ask(from: Option<&Path>, prompt: &str) -> Result<Self, Failure> {
        let text = match from {
            Some(path) if path.as_os_str() == "-" => first_line(io::stdin().lock())?,
            Some(path) => {
                let file = File::open(path)
                    .with_context(|| format!("{} cannot be opened", path.display()))
                    .map_err(|error| Failure::new(IO, error))?;
                first_line(file)?
            }
            None => from_terminal(prompt)?,
        };
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::new(INPUT, anyhow!("this is no token: one line of visible characters is wanted"))
                .hint("`holdfast-server token add NAME --role ROLE --data DIR` makes one"));
        }
        Ok(Self::new(text))
    }
}

impl Secret {
    /// Asks for the passphrase of a key on the terminal, which shows nothing.
    pub fn passphrase(prompt: &str) -> Result<Self, Failure> {
        let line = from_terminal(prompt).map_err(|failure| {
            failure
                .hint("on a terminal it is asked for; a key without one serves anywhere: ssh-keygen -p on a copy of it")
        })?;
        Ok(Self::new(line.trim_end_matches(['\r', '\n'])))
    }
}

fn first_line(source: impl Read) -> Result<String, Failure> {
    let mut line = String::new();
    BufReader::new(source.take(BYTES_MAX))
        .read_line(&mut line)
        .context("the token cannot be read")
        .map_err(|error| Failure::new(INPUT, error))?;
    Ok(line)
}

/// Leaves the terminal as it was, whatever happens while the secret is typed, Ctrl-C included.
struct Echo<'a> {
    terminal: &'a File,
    before: Termios,
    signals: Handle,
}

impl<'a> Echo<'a> {
    fn off(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let echo = Self { terminal, before: before.clone(), signals: signals.handle() };
        let (own, restored) = (terminal.try_clone()?, before.clone());
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                let _ = tcsetattr(&own, OptionalActions::Flush, &restored);
                std::process::exit(128 + signal);
            }
        });
        let mut silent = before;
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(echo)
    }
}

impl Drop for Echo<'_> {
    fn drop(&mut self) {
        self.signals.close();
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

fn from_terminal(prompt: &str) -> Result<String, Failure> {
    let no_terminal = |error: io::Error| {
        Failure::new(USAGE, anyhow::Error::new(error).context("there is no terminal to ask on"))
            .hint("--token FILE reads it from a file, --token - from standard input")
    };
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(no_terminal)?;
    let line = {
        // Before the prompt: going silent drops what was typed, and a paste may follow the prompt at once.
        let _echo = Echo::off(&terminal).map_err(no_terminal)?;
        let _ = write!(&terminal, "{prompt}: ");
        first_line(&terminal)
    };
    let _ = writeln!(terminal);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_and_stays_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hft_abc\nmore\n").unwrap();
        let secret = Secret::ask(Some(&path), "").unwrap();
        assert_eq!((secret.reveal(), format!("{secret:?}").as_str()), ("hft_abc", "Secret(***)"));
        for bad in ["", "\n", "two words\n", "a\u{1b}b\n"] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(Secret::ask(Some(&path), "").unwrap_err().code, INPUT, "{bad:?}");
        }
    }
}
