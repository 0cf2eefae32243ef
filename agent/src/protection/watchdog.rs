//! Says to systemd that the daemon is ready, that it makes progress, and that it stops (sd_notify(3)): a datagram with a
//! line to the socket that `NOTIFY_SOCKET` names. Nothing is said where nobody asked to hear it.
//!
//! Who asks for a watchdog (`WatchdogSec=`) restarts a daemon that hangs: it is patted where the daemon goes round, and
//! from nowhere else, so that a thread of its own cannot vouch for a loop that stands still.

use std::cell::Cell;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant as Monotonic};

/// See the module.
#[derive(Debug, Default)]
pub struct Watchdog {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// A pat is wanted at least this often.
    every: Option<Duration>,
    patted: Cell<Option<Monotonic>>,
}

impl Watchdog {
    /// As this process's environment says (sd_watchdog_enabled(3)).
    pub fn of_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| is_ours).and_then(|micros| micros.parse().ok());
        Self::to(std::env::var_os("NOTIFY_SOCKET").as_deref(), micros)
    }

    fn to(socket: Option<&OsStr>, micros: Option<u64>) -> Self {
        let address = socket.and_then(|socket| match socket.as_bytes().split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name).ok(),
            Some((b'/', _)) => SocketAddr::from_pathname(socket).ok(),
            _ => None,
        });
        let socket = address.and_then(|address| {
            let unbound = UnixDatagram::unbound().ok()?;
            // Whoever does not read is not waited for.
            unbound.set_nonblocking(true).ok()?;
            Some((unbound, address))
        });
        // Twice in its time: one may be late.
        let every = micros.filter(|micros| *micros > 0).map(|micros| Duration::from_micros(micros / 2));
        Self { socket, every, patted: Cell::new(None) }
    }

    /// How long the daemon may go without going round, if anybody watches.
    pub fn every(&self) -> Option<Duration> {
        self.every.filter(|_| self.socket.is_some())
    }

    /// The daemon is up.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// It has gone round, or something that it waits for has moved.
    pub fn pat(&self) {
        let Some(every) = self.every() else { return };
        if self.patted.get().is_none_or(|at| at.elapsed() >= every / 4) {
            self.patted.set(Some(Monotonic::now()));
            self.say("WATCHDOG=1");
        }
    }

    /// It stops, which may take as long as a seal does.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, line: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(line.as_bytes(), address)
        {
            tracing::debug!(%error, line, "systemd does not hear");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_and_a_pat_is_not_said_too_often() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let watchdog = Watchdog::to(Some(path.as_os_str()), Some(60_000_000));
        assert_eq!(watchdog.every(), Some(Duration::from_secs(30)));
        watchdog.ready();
        watchdog.pat();
        watchdog.pat();
        watchdog.stopping();
        let mut line = [0; 64];
        for expected in ["READY=1", "WATCHDOG=1", "STOPPING=1"] {
            let length = heard.recv(&mut line).unwrap();
            assert_eq!(&line[..length], expected.as_bytes());
        }
    }

    #[test]
    fn nobody_is_told_who_did_not_ask() {
        for (socket, micros) in [(None, Some(1_000_000)), (Some(OsStr::new("relative")), Some(1_000_000)), (None, None)]
        {
            let watchdog = Watchdog::to(socket, micros);
            assert_eq!(watchdog.every(), None);
            watchdog.pat();
        }
        assert_eq!(Watchdog::to(Some(OsStr::new("@abstract")), Some(0)).every(), None);
    }
}
