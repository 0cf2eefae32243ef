//! The commands, and how they fail.

pub mod triage;
pub mod verify;

/// The command line cannot be understood (sysexits.h, EX_USAGE).
pub const USAGE: u8 = 64;
/// The input is not what it should be (EX_DATAERR).
pub const INPUT: u8 = 65;
/// Reading or writing failed (EX_IOERR).
pub const IO: u8 = 74;

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What failed, with its causes. May hold text from a bundle.
    pub error: anyhow::Error,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into(), hint: None }
    }

    /// The same, with the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
