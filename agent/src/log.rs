//! The agent's own log: warnings to standard error, everything into the bundle.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// The log is held to this many bytes; what comes later is counted, not kept.
const BYTES_MAX: usize = 1 << 20;

/// The lines so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    dropped: u64,
    tells_all: bool,
}

impl Log {
    /// Becomes the destination of this process's tracing. To be called once, in `main`.
    pub fn install() -> Self {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::INFO)
            .with_ansi(false)
            .with_target(false)
            .with_writer(log.clone())
            .finish();
        // A second subscriber can only mean a second `main`; the first one stays.
        let _ = tracing::subscriber::set_global_default(subscriber);
        // A panic of a collector ends its step, not the run: where it was belongs in the evidence.
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panic")));
        log
    }

    /// Sends everything to standard error as well, where a daemon's journal is.
    pub fn tell_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tells_all = true;
    }

    /// Forgets the lines so far: what a daemon did before belongs in no bundle.
    pub fn forget(&self) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (lines.text, lines.dropped) = (Vec::new(), 0);
    }

    /// The text, for the bundle.
    pub fn text(&self) -> Vec<u8> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = lines.text.clone();
        if lines.dropped > 0 {
            let _ = writeln!(text, "{} more lines were dropped", lines.dropped);
        }
        text
    }
}

/// One line on its way to the log, and to standard error when it is a warning.
pub struct Line {
    log: Log,
    loud: bool,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { log: self.clone(), loud: false }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Line {
        Line { log: self.clone(), loud: *meta.level() <= Level::WARN }
    }
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.text.len() + bytes.len() <= BYTES_MAX {
            lines.text.extend_from_slice(bytes);
        } else {
            lines.dropped += 1;
        }
        if self.loud || lines.tells_all {
            let _ = io::stderr().write_all(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
