//! Processes with deadlines, and conditions that are awaited.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process that came to its end.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// What it wrote, as text.
    pub stdout: String,
    /// What it wrote, as it is.
    pub stdout_bytes: Vec<u8>,
    /// What it complained about.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Ended {
    /// The exit code; a process that a signal ended has none.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Fails the test unless it ended with this code, with all that it said.
    #[allow(clippy::return_self_not_must_use, reason = "an assertion first, a value where the case reads on")]
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr);
        self
    }

    /// Both outputs.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A process on its way. One that nobody waited for is killed with the test.
pub struct Running {
    what: String,
    pid: Pid,
    started: Instant,
    waiter: Receiver<std::io::Result<ExitStatus>>,
    /// Standard output and standard error; none once it was waited for.
    outputs: Option<[JoinHandle<Vec<u8>>; 2]>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.outputs.is_some() {
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

impl Running {
    /// Starts it, with no input.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped());
        Self::start_with_own_output(command)
    }

    /// Starts it, its standard output being what the caller set.
    #[must_use]
    pub fn start_with_own_output(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child: Child = command.spawn().unwrap_or_else(|error| panic!("{what} could not be started: {error}"));
        let stdout = match child.stdout.take() {
            Some(stdout) => read_all(stdout),
            None => read_all(std::io::empty()),
        };
        let stderr = read_all(child.stderr.take().expect("it is piped"));
        let pid = Pid::from_child(&child);
        let (sender, waiter) = channel();
        std::thread::spawn(move || sender.send(child.wait()));
        Self { what, pid, started: Instant::now(), waiter, outputs: Some([stdout, stderr]) }
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// True once it has ended.
    pub fn is_over(&self) -> bool {
        test_kill_process(self.pid).is_err()
    }

    /// Waits for its end, and fails the test when the deadline comes first.
    #[track_caller]
    pub fn wait(mut self, deadline: Duration) -> Ended {
        let status = match self.waiter.recv_timeout(deadline) {
            Ok(status) => status.unwrap(),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                panic!("{} did not end within {deadline:?}", self.what);
            }
        };
        let took = self.started.elapsed();
        let [stdout_bytes, stderr] = self.outputs.take().unwrap().map(|output| output.join().unwrap());
        Ended {
            status,
            stdout: String::from_utf8_lossy(&stdout_bytes).into_owned(),
            stdout_bytes,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            took,
        }
    }
}

/// Waits until `look` finds what it looks for, and fails the test when the deadline comes first.
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until no keeper of containments is at work for this state folder: one that is left would write into it again.
/// For the end of a test, which may have failed: it answers in any case.
pub fn keeper_ends(state: &Path, deadline: Duration) {
    let Ok(lock) = File::open(state.join("contain/keeper.lock")) else { return };
    let started = Instant::now();
    while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() && started.elapsed() < deadline {
        std::thread::sleep(LOOK_EVERY);
    }
}
