//! The keeper (`holdfast-agent keep`): the process that keeps the promise of a containment when whoever asked for it is
//! gone. It goes on with what the journal says, looks every half second whether it is still in place, and takes it back
//! when the lease ends.
//!
//! One keeps at a time, by a lock on `<state>/contain/keeper.lock`; others wait to take its place. Where systemd is,
//! a unit of its own is started by the journal (holdfast-containment.path); elsewhere, whoever asks for a containment
//! starts one ([`ensure`]), and it ends when nothing is left to keep.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::thread::{CapabilitySet, capability_is_in_bounding_set};
use wire::OrderId;
use wire::containment::ContainmentEvent;

use super::engine::{Care, Engine};
use super::journal::{Entry, Journal, JournalError, Phase};
use crate::causes::with_causes;
use crate::host::Host;
use crate::protection::watchdog::Watchdog;

const LOCK: &str = "contain/keeper.lock";
/// Between two looks whether all is in place.
const EVERY: Duration = Duration::from_millis(500);
/// Between two looks whether it has the effect that it should have.
const THOROUGH_EVERY: Duration = Duration::from_secs(15);
/// A keeper that was started holds the lock within this time.
const START_MAX: Duration = Duration::from_secs(10);
/// A containment that the keeper does holds, or does not, within this time.
const SETTLED_MAX: Duration = Duration::from_secs(30);

/// Keeps until nothing is left to keep.
///
/// # Errors
/// [`JournalError`] when there is no journal to keep by.
pub fn keep(state: &Path, host: impl Fn() -> Host) -> Result<(), JournalError> {
    let engine = Engine::open(state, host())?;
    let path = state.join(LOCK);
    let io = |source| JournalError::Io { path: path.clone(), source };
    let lock = File::create(&path).map_err(io)?;
    let watchdog = Watchdog::of_environment();
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        // Somebody keeps: that is all that the host waits for at boot.
        watchdog.ready();
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| io(error.into()))?;
    }
    let (mut known, mut is_ready) = (BTreeMap::new(), false);
    let mut thorough: Option<Instant> = None;
    loop {
        let care = if thorough.is_none_or(|at| at.elapsed() >= THOROUGH_EVERY) { Care::Thorough } else { Care::Quick };
        if care == Care::Thorough {
            thorough = Some(Instant::now());
        }
        // A medium that fails for a moment must not end the keeper: what is in force would stay for ever.
        let kept = remember(&engine, &mut known).and_then(|()| engine.tend(care));
        if !is_ready {
            // All that the journal asks for is in place: at boot the network waits for that.
            watchdog.ready();
            is_ready = true;
        }
        match kept {
            Ok(0) if known.is_empty() && engine.is_idle(&lock)? => return Ok(()),
            Ok(_) => {}
            // Its folder is gone, and nothing is in force that would have to be taken back.
            Err(_) if known.is_empty() && !engine.journal().live().is_dir() => return Ok(()),
            Err(error) => {
                tracing::error!(error = with_causes(&error), "the journal of containments");
                // Somebody took the folder away: what is known is written into a new one, and kept.
                let _ = Journal::open(state);
            }
        }
        std::thread::sleep(EVERY);
    }
}

/// Puts back what somebody took out of the journal: that is no release.
fn remember(engine: &Engine, known: &mut BTreeMap<OrderId, Entry>) -> Result<(), JournalError> {
    let held = engine.journal().hold()?;
    for (id, entry) in known.iter_mut() {
        if engine.journal().find(*id)?.is_none() {
            tracing::warn!(%id, "a containment was taken out of the journal");
            let message = "it was taken out of the journal".to_owned();
            entry.tell(ContainmentEvent::Tampered { message, restored: true }, Host::live().now());
            engine.journal().write(entry, &held)?;
        }
    }
    known.clear();
    known.extend(engine.journal().under_way()?.into_iter().flatten().map(|entry| (entry.id, entry)));
    Ok(())
}

/// True while a keeper is at work.
pub fn is_kept(state: &Path) -> bool {
    File::open(state.join(LOCK)).is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
}

/// Sees to it that a keeper is at work: where none is, this program is started once more as one, in a session of its own.
/// To be called after a containment was asked for. Not for a process that lacks a keeper's privileges.
///
/// # Errors
/// When none is at work after ten seconds.
pub fn ensure(state: &Path) -> io::Result<()> {
    if is_kept(state) {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let mut keeper = Command::new(program);
    // Nothing of the caller's comes along: not its terminal, its folder, or a variable that changes how it runs.
    keeper.arg("keep").env_clear().env("HOLDFAST_STATE_DIR", state).current_dir("/");
    keeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut keeper = keeper.spawn()?;
    await_one(state).inspect_err(|_| {
        let _ = keeper.kill();
        let _ = keeper.wait();
    })
}

/// Sees to it that what is under way is kept though its keeper has died: with a daemon whose processes were all ended, say.
/// Where systemd starts keepers, that is left to it.
///
/// # Errors
/// As [`ensure`].
pub fn follow(state: &Path, journal: &Journal) -> io::Result<()> {
    // A test's program is no keeper.
    let is_under_way = journal.under_way().is_ok_and(|entries| !entries.is_empty());
    if cfg!(test) || !is_under_way || !may_keep() { Ok(()) } else { ensure(state) }
}

/// Goes on with a containment that was just asked for or is to be released, and answers where it stands: in this process,
/// with a keeper that was seen to; or, in a daemon that systemd keeps from writing to the host, by the keeper alone, for
/// which this waits as long as it takes a containment to settle.
///
/// # Errors
/// [`JournalError`].
pub fn carry_out(engine: &Engine, state: &Path, id: OrderId) -> Result<Entry, JournalError> {
    // A test's program is no keeper.
    if cfg!(test) {
        return engine.advance(id);
    }
    let is_hardened = !may_keep();
    if let Err(error) = if is_hardened { await_one(state) } else { ensure(state) } {
        // What nobody would take back is not begun; a release is done whoever keeps.
        engine.withdraw(id, &error.to_string())?;
    }
    if !is_hardened {
        return engine.advance(id);
    }
    let since = Instant::now();
    loop {
        let entry = engine.journal().find(id)?.ok_or(JournalError::Unknown(id))?;
        let is_settled = entry.phase.is_over() || (entry.phase == Phase::Applied && entry.holds.is_some());
        if is_settled || since.elapsed() > SETTLED_MAX {
            return Ok(entry);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether this process may do what containment does. The daemon's unit gives it no capability that writes to the host:
/// what it is told by the network then reaches the host only through the journal.
fn may_keep() -> bool {
    [CapabilitySet::DAC_OVERRIDE, CapabilitySet::KILL]
        .into_iter()
        .all(|capability| capability_is_in_bounding_set(capability).unwrap_or(true))
}

/// Waits for a keeper that somebody else starts (systemd).
///
/// # Errors
/// When none is at work after ten seconds.
pub fn await_one(state: &Path) -> io::Result<()> {
    let since = Instant::now();
    while !is_kept(state) {
        if since.elapsed() > START_MAX {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no keeper came up: nobody would take it back"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
