//! Freezing one process in its own control group while it is read (cgroup v2, `cgroup.freeze`, kernel 5.2), and thawing
//! it always.
//!
//! This is done only where the process is alone in its control group: nothing is moved and nobody else is stopped. The
//! other ways are worse: SIGSTOP is seen by the parent, SIGCONT by the process, ptrace by both; and moving a process
//! into a group of our own changes whose it is.
//!
//! What thaws it is a child of ours that waits for our word, for our end, or for the cap (see `sys::write_later`): also
//! when this process is killed, or hangs. Known limit: whoever kills the child too within the cap, for instance by
//! killing the agent's whole control group, leaves the process frozen; `echo 0 > cgroup.freeze` thaws it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::Host;
use super::proc::{Hands, Pages};
use super::sys::write_later::{Watcher, write_later};

/// How long the kernel may take to stop all threads.
const SETTLE: Duration = Duration::from_millis(200);

/// The control group of a process that may be frozen.
#[derive(Debug)]
pub struct Freezer {
    /// The group's path in its hierarchy.
    pub group: String,
    freeze: OwnedFd,
    events: OwnedFd,
    cap: Duration,
}

/// A process that stands still. Dropping this thaws it.
#[derive(Debug)]
pub struct Frozen {
    freeze: OwnedFd,
    cap: Duration,
    watcher: Option<Watcher>,
    since: Instant,
}

/// How a freeze ended.
#[derive(Clone, Copy, Debug)]
pub struct Thawed {
    /// How long it lasted, at most.
    pub took: Duration,
    /// True when the cap had ended it before.
    pub expired: bool,
}

impl Freezer {
    /// Looks whether the process whose folder is `process` may be frozen, for at most `cap` at a time; changes nothing.
    ///
    /// # Errors
    /// The reason why not.
    pub fn of(host: &Host, process: BorrowedFd<'_>, pid: u32, cap: Duration) -> Result<Self, String> {
        let mount = cgroup2(host).ok_or("there is no cgroup v2 hierarchy")?;
        let mut pages = Pages::default();
        let text = pages.read(process, c"cgroup", Hands::InPieces, 64 << 10).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(pages.get(text)).into_owned();
        let group = text.lines().find_map(|line| line.strip_prefix("0::")).ok_or("it is in no cgroup v2 group")?;
        if group == "/" {
            return Err("it is in the root control group, which cannot be frozen".to_owned());
        }
        if group.split('/').any(|part| part == "..") || group.ends_with(" (deleted)") {
            return Err("its control group is out of reach".to_owned());
        }
        let path = mount.join(group.trim_start_matches('/'));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir =
            rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| format!("its control group: {error}"))?;
        let mut read = |name| read(&mut pages, dir.as_fd(), name);
        if read(c"cgroup.procs")?.split_whitespace().ne([pid.to_string().as_str()]) {
            return Err("it is not alone in its control group".to_owned());
        }
        if read(c"cgroup.stat")?.lines().any(|line| line.starts_with("nr_descendants ") && line != "nr_descendants 0") {
            return Err("its control group has others under it".to_owned());
        }
        if read(c"cgroup.freeze")?.trim() != "0" {
            return Err("it is frozen already, and left so".to_owned());
        }
        let open = |name: &std::ffi::CStr, flags| {
            let opened = rustix::fs::openat(&dir, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty());
            opened.map_err(|error| format!("{}: {error}", name.to_string_lossy()))
        };
        Ok(Self {
            group: group.to_owned(),
            freeze: open(c"cgroup.freeze", OFlags::WRONLY)?,
            events: open(c"cgroup.events", OFlags::RDONLY)?,
            cap,
        })
    }

    /// Stops the process. What will thaw it is in place before.
    ///
    /// # Errors
    /// The reason why it runs on.
    pub fn freeze(&self) -> Result<Frozen, String> {
        let freeze = self.freeze.try_clone().map_err(|error| error.to_string())?;
        let watcher = write_later(self.freeze.as_fd(), b"0", self.cap).map_err(|error| error.to_string())?;
        let frozen = Frozen { freeze, cap: self.cap, watcher: Some(watcher), since: Instant::now() };
        rustix::io::write(&self.freeze, b"1").map_err(|error| format!("cgroup.freeze: {error}"))?;
        while !self.is_frozen() {
            if frozen.since.elapsed() > SETTLE.min(self.cap) {
                return Err("it did not come to rest".to_owned());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(frozen)
    }

    fn is_frozen(&self) -> bool {
        let mut text = [0; 256];
        let got = rustix::io::pread(&self.events, &mut text[..], 0).unwrap_or(0);
        text.get(..got).unwrap_or_default().split(|byte| *byte == b'\n').any(|line| line == b"frozen 1")
    }
}

impl Frozen {
    /// Lets the process run on.
    pub fn thaw(mut self) -> Thawed {
        self.end()
    }

    fn end(&mut self) -> Thawed {
        let _ = rustix::io::write(&self.freeze, b"0");
        let expired = self.watcher.take().is_some_and(Watcher::end);
        Thawed { took: self.since.elapsed().min(self.cap), expired }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if self.watcher.is_some() {
            self.end();
        }
    }
}

/// Where the cgroup v2 hierarchy is mounted.
/// Where control groups of version 2 are mounted.
pub(crate) fn cgroup2(host: &Host) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let table = host.mount_table().ok()?;
    let mount = table.all().iter().find(|mount| mount.fs_type == b"cgroup2" && mount.root == b"/")?;
    Some(host.path(std::ffi::OsStr::from_bytes(&mount.point)))
}

fn read(pages: &mut Pages, dir: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<String, String> {
    let refused = |error: io::Error| format!("{}: {error}", name.to_string_lossy());
    let piece = pages.read(dir, name, Hands::InPieces, 64 << 10).map_err(refused)?;
    Ok(String::from_utf8_lossy(pages.get(piece)).into_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A child alone in a control group that the test made; both go with it.
    pub struct Alone {
        pub child: Child,
        pub dir: PathBuf,
    }

    impl Alone {
        /// `None`, with the reason printed, where there is no cgroup v2 that can be written.
        pub fn of(mut command: Command) -> Option<Self> {
            let Some(mount) = cgroup2(&Host::live()) else {
                eprintln!("left out: there is no cgroup v2 hierarchy");
                return None;
            };
            let child = command.stdin(Stdio::piped()).spawn().unwrap();
            let dir = mount.join(format!("holdfast-test-{}", child.id()));
            let alone = Self { child, dir };
            let made = std::fs::create_dir(&alone.dir)
                .and_then(|()| std::fs::write(alone.dir.join("cgroup.procs"), alone.child.id().to_string()));
            if let Err(error) = made {
                eprintln!("left out: no control group can be made: {error}");
                return None;
            }
            Some(alone)
        }

        pub fn is_frozen(&self) -> bool {
            std::fs::read_to_string(self.dir.join("cgroup.events")).unwrap().contains("frozen 1")
        }

        /// Waits until it is as wanted; false after ten seconds.
        pub fn becomes(&self, frozen: bool) -> bool {
            let since = Instant::now();
            while self.is_frozen() != frozen {
                if since.elapsed() > Duration::from_secs(10) {
                    return false;
                }
                std::thread::yield_now();
            }
            true
        }

        pub fn folder(&self) -> std::fs::File {
            std::fs::File::open(format!("/proc/{}", self.child.id())).unwrap()
        }
    }

    impl Drop for Alone {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let since = Instant::now();
            while std::fs::remove_dir(&self.dir).is_err() && since.elapsed() < Duration::from_secs(5) {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_process_stands_still_and_runs_on() {
        let Some(alone) = Alone::of(Command::new("/bin/cat")) else { return };
        let freezer =
            Freezer::of(&Host::live(), alone.folder().as_fd(), alone.child.id(), Duration::from_mins(1)).unwrap();
        let frozen = freezer.freeze().unwrap();
        assert!(alone.is_frozen());
        let again = Freezer::of(&Host::live(), alone.folder().as_fd(), alone.child.id(), Duration::from_mins(1));
        assert_eq!(again.unwrap_err(), "it is frozen already, and left so");
        assert!(!frozen.thaw().expired);
        assert!(alone.becomes(false));
        drop(freezer.freeze().unwrap());
        assert!(alone.becomes(false), "dropping thaws");
    }

    #[test]
    fn the_cap_thaws_whatever_we_do() {
        let Some(alone) = Alone::of(Command::new("/bin/cat")) else { return };
        let cap = Duration::from_millis(50);
        let freezer = Freezer::of(&Host::live(), alone.folder().as_fd(), alone.child.id(), cap).unwrap();
        let frozen = freezer.freeze().unwrap();
        assert!(alone.becomes(false), "nobody thawed it");
        let thawed = frozen.thaw();
        assert!(thawed.expired && thawed.took <= cap);
    }

    #[test]
    fn who_is_not_alone_is_not_frozen() {
        let Some(alone) = Alone::of(Command::new("/bin/cat")) else { return };
        let mut other = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        std::fs::write(alone.dir.join("cgroup.procs"), other.id().to_string()).unwrap();
        let refused = Freezer::of(&Host::live(), alone.folder().as_fd(), alone.child.id(), Duration::from_secs(1));
        assert_eq!(refused.unwrap_err(), "it is not alone in its control group");
        drop(other.stdin.take());
        other.wait().unwrap();
        let own = std::fs::File::open("/proc/self").unwrap();
        let refused = Freezer::of(&Host::live(), own.as_fd(), std::process::id(), Duration::from_secs(1));
        assert!(refused.is_err());
    }

    /// Named in the environment, this test is the agent that freezes and is killed while it does.
    const VICTIM: &str = "HOLDFAST_TEST_FREEZES";

    #[test]
    fn a_killed_agent_leaves_nobody_frozen() {
        if let Ok(victim) = std::env::var(VICTIM) {
            let pid: u32 = victim.parse().unwrap();
            let folder = std::fs::File::open(format!("/proc/{pid}")).unwrap();
            // Far longer than the test waits: it is the agent's end that thaws.
            let freezer = Freezer::of(&Host::live(), folder.as_fd(), pid, Duration::from_mins(10)).unwrap();
            let _frozen = freezer.freeze().unwrap();
            loop {
                std::thread::park();
            }
        }
        let Some(alone) = Alone::of(Command::new("/bin/cat")) else { return };
        let mut agent = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "host::freezer::tests::a_killed_agent_leaves_nobody_frozen"])
            .env(VICTIM, alone.child.id().to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        assert!(alone.becomes(true), "it was never frozen");
        agent.kill().unwrap();
        agent.wait().unwrap();
        assert!(alone.becomes(false), "it stayed frozen");
    }
}
