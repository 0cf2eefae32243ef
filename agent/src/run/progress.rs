//! What a person sees while a run goes on: one live line on a terminal, one line a tier otherwise.

use std::io::Write as _;
use std::time::{Duration, Instant as Monotonic};

use wire::{ByteSize, Tier};

/// Told of a run as it goes.
pub trait Progress {
    /// A step begins.
    fn step(&mut self, tier: Tier, collector: &str);
    /// Evidence came: the run's items and bytes so far.
    fn moved(&mut self, items: u64, bytes: u64);
    /// A tier is complete and signed.
    fn tier_done(&mut self, tier: Tier, took: Duration, items: u64, bytes: u64);
}

/// Says nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&mut self, _: Tier, _: &str) {}
    fn moved(&mut self, _: u64, _: u64) {}
    fn tier_done(&mut self, _: Tier, _: Duration, _: u64, _: u64) {}
}

/// Writes to standard error.
#[derive(Debug)]
pub struct Lines {
    live: bool,
    now: String,
    drawn: Option<Monotonic>,
}

/// The live line is drawn this often.
const REDRAW: Duration = Duration::from_millis(100);

impl Lines {
    /// With a live line when standard error is a terminal.
    pub fn new() -> Self {
        Self { live: std::io::IsTerminal::is_terminal(&std::io::stderr()), now: String::new(), drawn: None }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Lines {
    fn step(&mut self, tier: Tier, collector: &str) {
        self.now = format!("{tier:<9} {collector:<16}");
        self.drawn = None;
    }

    fn moved(&mut self, items: u64, bytes: u64) {
        if self.live && self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
            self.drawn = Some(Monotonic::now());
            let bytes = ByteSize(bytes).to_string();
            let _ = write!(std::io::stderr(), "\r\x1b[2K{} {items:>8} items {bytes:>12}", self.now);
        }
    }

    fn tier_done(&mut self, tier: Tier, took: Duration, items: u64, bytes: u64) {
        let clear = if self.live { "\r\x1b[2K" } else { "" };
        let bytes = ByteSize(bytes).to_string();
        let line = format!("{clear}{tier:<9} signed after {:>7.3} s {items:>8} items {bytes:>12}", took.as_secs_f64());
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
