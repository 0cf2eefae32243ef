//! A child process that writes one word to a file when this process says so, when this process dies, or when its time is
//! up: what undoes a change to the host must not hang on this process, which may be killed.
//!
//! The child is a fork of this program that runs no other program, allocates nothing and lives as long as the change.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

/// The child, as long as it has not written.
#[derive(Debug)]
pub struct Watcher {
    child: Pid,
    /// Its other end becomes readable when this one is closed, by us or by our end.
    alive: Option<OwnedFd>,
}

/// Starts the child that will write `word` to `file`.
///
/// # Errors
/// As pipe2(2) and fork(2).
pub fn write_later(file: BorrowedFd<'_>, word: &'static [u8], after: Duration) -> io::Result<Watcher> {
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    let wait_ms = libc::c_int::try_from(after.as_millis()).unwrap_or(libc::c_int::MAX);
    let (pipe, file) = (theirs.as_raw_fd(), file.as_raw_fd());
    // A signal to our group must not end the child before it has written, nor reach a handler of ours in it.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // SAFETY: this process has other threads, so the child may call only what is safe in a signal handler
    // (signal-safety(7)) until it ends; `child` does nothing else, and never returns.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        child(pipe, file, word, wait_ms);
    }
    let failed = (forked < 0).then(io::Error::last_os_error);
    before.thread_set_mask()?;
    match (failed, Pid::from_raw(forked)) {
        (None, Some(child)) => Ok(Watcher { child, alive: Some(ours) }),
        (failed, _) => Err(failed.unwrap_or_else(|| io::Error::other("fork(2) answered a number that is none"))),
    }
}

/// The life of the child. Its parent's end of the pipe must not stay open in it, nor anything else of its parent's.
fn child(pipe: libc::c_int, file: libc::c_int, word: &'static [u8], wait_ms: libc::c_int) -> ! {
    // SAFETY: all of these are async-signal-safe system calls on numbers and on memory of this function or of the
    // program; nothing is allocated, locked or unwound, and the process ends here.
    unsafe {
        libc::setsid();
        // Out of the way first: either may be one of the numbers that they are to have.
        let pipe = libc::fcntl(pipe, libc::F_DUPFD, 10);
        let file = libc::fcntl(file, libc::F_DUPFD, 10);
        libc::dup2(pipe, 0);
        libc::dup2(file, 1);
        // 5.9; before it, one by one.
        if libc::syscall(libc::SYS_close_range, 2, libc::c_uint::MAX, 0) != 0 {
            for number in 2..4096 {
                libc::close(number);
            }
        }
        let mut waiting = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
        let ready = libc::poll(&raw mut waiting, 1, wait_ms);
        libc::write(1, word.as_ptr().cast(), word.len());
        libc::_exit(i32::from(ready <= 0));
    }
}

impl Watcher {
    /// Has the child write now; true when it had written before, because its time was up.
    pub fn end(mut self) -> bool {
        self.finish()
    }

    fn finish(&mut self) -> bool {
        let Some(alive) = self.alive.take() else { return false };
        drop(alive);
        loop {
            match waitpid(Some(self.child), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(Some((_, status))) => return status.exit_status() != Some(0),
                _ => return false,
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn it_writes_when_it_is_told_and_when_its_time_is_up() {
        for (after, is_late) in [(Duration::from_mins(1), false), (Duration::from_millis(1), true)] {
            let (mut read, written) = io::pipe().unwrap();
            let watcher = write_later(written.as_fd(), b"0", after).unwrap();
            drop(written);
            let mut word = [0; 1];
            if is_late {
                read.read_exact(&mut word).unwrap();
                assert!(watcher.end(), "its time was up");
            } else {
                assert!(!watcher.end());
                read.read_exact(&mut word).unwrap();
            }
            assert_eq!(word, *b"0");
            assert_eq!(read.read(&mut word).unwrap(), 0, "once, and nobody else holds the file");
        }
    }
}
