//! Drives a containment from the wish to its end, over the [`journal`](super::journal) alone: whoever was killed in the
//! midst of it, the next one goes on from what is written there. The daemon and the console [ask](Engine::ask); the
//! console and the keeper [advance](Engine::advance); the keeper [tends](Engine::tend).
//!
//! What a kill leaves is always finished: an apply goes on to its end, or back when the lease is over; an undo goes on.
//!
//! Architecture invariant: before an effect begins, the journal on the medium says that it may have begun, and holds what
//! undoes it. Nothing here waits for anything but the lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde_json::Value;
use wire::containment::{Check, ContainmentEvent, LEASE_SECS_MAX, ReleaseCause, Side};
use wire::{Instant, OrderId};

use super::journal::{By, Entry, Held, Journal, JournalError, Otherwise, Phase, Step, StepState, Wish};
use super::lease::Lease;
use super::{ACTIONS, Failed, Kind, Look, Plan, Scene, Tended, Unplanned, preview};
use crate::causes::with_causes;
use crate::host::Host;

/// What was applied may need this long until it holds: connections time out, an interface comes up again.
const GRACE_NS: i128 = 10_000_000_000;
/// Steps of one containment.
const STEPS_MAX: usize = 1024;

/// The engine of a host and a state folder.
pub struct Engine {
    actions: &'static [Kind],
    host: Host,
    journal: Journal,
    state: PathBuf,
}

/// A containment that cannot be renewed or released.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The journal says no.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It is not in force.
    #[error("containment {id} is {phase}, and cannot be renewed")]
    NotInForce {
        /// Its id.
        id: OrderId,
        /// How far it is.
        phase: &'static str,
    },
    /// Longer than any lease.
    #[error("a lease is from 1 to {LEASE_SECS_MAX} seconds, and not {0}")]
    Lease(u64),
}

/// How closely the keeper looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Only whether the effects are still in place: every second.
    Quick,
    /// Also whether they have the effect that they should have: now and then.
    Thorough,
}

impl Engine {
    /// The engine of this host.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn open(state: &Path, host: Host) -> Result<Self, JournalError> {
        Ok(Self { actions: ACTIONS, host, journal: Journal::open(state)?, state: state.to_owned() })
    }

    /// The journal, to be read.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What would be done, as [`ContainmentEvent::Planned`], and the fallbacks. Reads only, and keeps nothing.
    ///
    /// # Errors
    /// Why it could not be done.
    pub fn rehearse(&self, id: OrderId, wish: &Wish) -> Result<(ContainmentEvent, Vec<String>), Unplanned> {
        self.planned(id, wish).map(|(event, plan)| (event, plan.fallbacks))
    }

    fn planned(&self, id: OrderId, wish: &Wish) -> Result<(ContainmentEvent, Plan<Value>), Unplanned> {
        let kind = self.kind(wish)?;
        let scene = Scene { host: &self.host, id, state: &self.state, wish };
        let plan = (kind.plan)(&wish.action, &scene)?;
        if plan.steps.len() > STEPS_MAX {
            return Err(Unplanned(format!("it takes {} steps, and {STEPS_MAX} are the most", plan.steps.len())));
        }
        let says = plan.steps.iter().map(|step| (kind.says)(step).map_err(|error| Unplanned(with_causes(&error))));
        let event = ContainmentEvent::Planned {
            preview: preview::of(&self.host, wish),
            steps: says.collect::<Result<_, _>>()?,
        };
        Ok((event, plan))
    }

    /// Writes down what is wished for. Whoever advances it does it: see [`Engine::advance`].
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn ask(&self, id: OrderId, wish: Wish) -> Result<(), EngineError> {
        checked_lease(wish.lease_secs)?;
        let held = self.journal.hold()?;
        Ok(self.journal.begin(&Entry::new(id, wish), &held)?)
    }

    /// Holds on for so many seconds from now; answers until when.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn renew(&self, id: OrderId, lease_secs: u64) -> Result<Instant, EngineError> {
        checked_lease(lease_secs)?;
        let held = self.journal.hold()?;
        let mut entry = self.journal.find(id)?.ok_or(JournalError::Unknown(id))?;
        if !matches!(entry.phase, Phase::Applying | Phase::Applied) {
            return Err(EngineError::NotInForce { id, phase: phase_name(entry.phase) });
        }
        let lease = Lease::begin(&self.host, lease_secs);
        let until = lease.until;
        entry.lease = Some(lease);
        entry.is_overdue = false;
        entry.tell(ContainmentEvent::Renewed { until }, self.host.now());
        self.journal.write(&entry, &held)?;
        Ok(until)
    }

    /// Writes down that it is to be taken back. Whoever advances it does it. One that is over already stays so.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn release(&self, id: OrderId, cause: ReleaseCause) -> Result<(), EngineError> {
        let held = self.journal.hold()?;
        let mut entry = self.journal.find(id)?.ok_or(JournalError::Unknown(id))?;
        if !entry.phase.is_over() && entry.phase != Phase::Releasing {
            entry.phase = Phase::Releasing;
            entry.cause = Some(cause);
            self.journal.write(&entry, &held)?;
        }
        Ok(())
    }

    /// Whether it is to be taken back where the server sees that it does not hold. What root did at the console is root's.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn falls_when_invalid(&self, id: OrderId) -> Result<(), String> {
        let found = self.journal.find(id).and_then(|entry| entry.ok_or(JournalError::Unknown(id)));
        let wish = found.map_err(|error| with_causes(&error))?.wish;
        match (wish.by, wish.on_invalid) {
            (By::Console, _) => Err(format!("containment {id} is none that an order applied")),
            (By::Order, Otherwise::StayClosed) => {
                Err("it stays closed, as the policy said when it was applied of what does not hold".to_owned())
            }
            (By::Order, Otherwise::Restore) => Ok(()),
        }
    }

    /// Ends one that was asked for and not begun, because of this.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn withdraw(&self, id: OrderId, because: &str) -> Result<(), JournalError> {
        let held = self.journal.hold()?;
        let mut entry = self.journal.find(id)?.ok_or(JournalError::Unknown(id))?;
        if entry.phase != Phase::Asked {
            return Ok(());
        }
        entry.failure = Some(because.to_owned());
        entry.phase = Phase::Failed;
        entry.tell(ContainmentEvent::Failed { message: because.to_owned(), restored: true }, self.host.now());
        self.journal.write(&entry, &held)
    }

    /// The server has heard the first `count` of what was untold.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn told(&self, id: OrderId, count: usize) -> Result<(), EngineError> {
        let held = self.journal.hold()?;
        let mut entry = self.journal.find(id)?.ok_or(JournalError::Unknown(id))?;
        entry.untold.drain(..count.min(entry.untold.len()));
        Ok(self.journal.write(&entry, &held)?)
    }

    /// Goes on with it as far as it goes now, and answers where it stands. What failed is in it; an undo that failed is
    /// tried again by the next call.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was done then that the journal does not speak of.
    pub fn advance(&self, id: OrderId) -> Result<Entry, JournalError> {
        let held = self.journal.hold()?;
        let mut entry = self.journal.find(id)?.ok_or(JournalError::Unknown(id))?;
        self.drive(&mut entry, &held)?;
        Ok(entry)
    }

    /// Goes on with all that are under way, ends those whose lease is over, and looks after those that hold. Answers how
    /// many are still under way. What goes wrong with one is logged and costs the others nothing.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be listed.
    pub fn tend(&self, care: Care) -> Result<usize, JournalError> {
        let held = self.journal.hold()?;
        let mut count = 0;
        for entry in self.journal.under_way()? {
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    if care == Care::Thorough {
                        tracing::error!(error = with_causes(&error), "a containment cannot be read");
                    }
                    count += 1;
                    continue;
                }
            };
            let id = entry.id;
            let tended = catch_unwind(AssertUnwindSafe(|| self.tend_one(&mut entry, care, &held)));
            match tended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%id, error = with_causes(&error), "the journal cannot be written"),
                Err(_) => tracing::error!(%id, "an action panicked"),
            }
            count += usize::from(!entry.phase.is_over());
        }
        Ok(count)
    }

    /// True when nothing is under way; `keeps` is let go before anybody can ask for the next one, so that whoever asks
    /// sees that nobody keeps any more.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn is_idle(&self, keeps: &std::fs::File) -> Result<bool, JournalError> {
        let _held = self.journal.hold()?;
        let is_idle = self.journal.under_way()?.is_empty();
        if is_idle {
            // The lock is that of the open file, whichever descriptor it is let go through.
            let _ = rustix::fs::flock(keeps, rustix::fs::FlockOperation::Unlock);
        }
        Ok(is_idle)
    }

    fn tend_one(&self, entry: &mut Entry, care: Care, held: &Held) -> Result<(), JournalError> {
        if entry.phase == Phase::Applied {
            self.mind_lease(entry, held)?;
        }
        self.drive(entry, held)?;
        if entry.phase != Phase::Applied {
            return Ok(());
        }
        self.look_after(entry, held)?;
        if care == Care::Thorough && entry.holds.is_some() {
            self.validate(entry, held)?;
            self.drive(entry, held)?;
        }
        Ok(())
    }

    /// Ends what has lasted long enough; after a reboot, puts back what the reboot took away.
    fn mind_lease(&self, entry: &mut Entry, held: &Held) -> Result<(), JournalError> {
        let Some(lease) = &mut entry.lease else { return Ok(()) };
        let is_new_boot = lease.is_of_another_boot(&self.host);
        let is_noted = lease.note(&self.host);
        if is_new_boot {
            entry.phase = Phase::Applying;
            entry.holds = None;
            for step in &mut entry.steps {
                step.state = StepState::Applying;
            }
        }
        if lease.is_over(&self.host) && !entry.is_overdue {
            match entry.wish.on_lease_end {
                Otherwise::Restore => {
                    entry.phase = Phase::Releasing;
                    entry.cause = Some(ReleaseCause::LeaseEnded);
                }
                Otherwise::StayClosed => {
                    entry.is_overdue = true;
                    let what = "the lease is over, and the host stays closed as its policy says".to_owned();
                    let checks = vec![Check { holds: true, side: Side::Host, what }];
                    entry.tell(ContainmentEvent::Validated { checks, holds: true }, self.host.now());
                }
            }
            return self.journal.write(entry, held);
        }
        if is_noted { self.journal.write(entry, held) } else { Ok(()) }
    }

    /// From phase to phase, until it holds, is over, or does not go on for now.
    fn drive(&self, entry: &mut Entry, held: &Held) -> Result<(), JournalError> {
        // Plan, apply, validate, undo: each at most once or twice.
        for _ in 0..8 {
            match entry.phase {
                Phase::Asked => self.plan(entry, held)?,
                Phase::Applying => self.apply(entry, held)?,
                Phase::Applied if entry.holds.is_none() => {
                    self.validate(entry, held)?;
                    if entry.holds.is_none() {
                        return Ok(());
                    }
                }
                Phase::Releasing => {
                    if !self.undo(entry, held)? {
                        return Ok(());
                    }
                }
                Phase::Applied => return Ok(()),
                Phase::Released | Phase::Failed => return self.journal.settle(entry, held),
            }
        }
        Ok(())
    }

    fn plan(&self, entry: &mut Entry, held: &Held) -> Result<(), JournalError> {
        match self.planned(entry.id, &entry.wish) {
            Ok((event, Plan { fallbacks, steps })) => {
                entry.tell(event, self.host.now());
                entry.fallbacks = fallbacks;
                entry.steps = steps.into_iter().map(|data| Step { data, state: StepState::Planned }).collect();
                entry.lease = Some(Lease::begin(&self.host, entry.wish.lease_secs));
                entry.phase = Phase::Applying;
            }
            Err(error) => {
                let message = with_causes(&error);
                entry.failure = Some(message.clone());
                entry.phase = Phase::Failed;
                entry.tell(ContainmentEvent::Failed { message, restored: true }, self.host.now());
            }
        }
        self.journal.write(entry, held)
    }

    fn apply(&self, entry: &mut Entry, held: &Held) -> Result<(), JournalError> {
        if entry.lease.as_ref().is_none_or(|lease| lease.is_over(&self.host)) && !entry.is_overdue {
            entry.phase = Phase::Releasing;
            entry.cause = Some(ReleaseCause::LeaseEnded);
            return self.journal.write(entry, held);
        }
        for at in 0..entry.steps.len() {
            if state_of(entry, at) == Some(StepState::Applied) {
                continue;
            }
            self.step_is(entry, at, StepState::Applying, held)?;
            let applied = self.with_step(entry, at, held, |kind, data, scene, keep| (kind.apply)(data, scene, keep));
            if let Err(error) = applied {
                entry.failure = Some(with_causes(&error));
                entry.phase = Phase::Releasing;
                return self.journal.write(entry, held);
            }
            self.step_is(entry, at, StepState::Applied, held)?;
        }
        entry.phase = Phase::Applied;
        let now = self.host.now();
        if entry.applied.is_none() {
            entry.applied = Some(now);
            if let Ok(kind) = self.known(entry) {
                let lacks = entry.steps.iter().filter_map(|step| (kind.fallbacks)(&step.data).ok()).flatten();
                entry.fallbacks.extend(lacks.collect::<Vec<_>>());
            }
            let until = entry.lease.as_ref().map_or(now, |lease| lease.until);
            entry.tell(ContainmentEvent::Applied { fallbacks: entry.fallbacks.clone(), until }, now);
        }
        self.journal.write(entry, held)
    }

    /// Looks whether it holds, and tells when that is news. Leaves it open while it may still come to hold.
    fn validate(&self, entry: &mut Entry, held: &Held) -> Result<(), JournalError> {
        let looks: Vec<Look> = (0..entry.steps.len())
            .flat_map(|at| {
                let Some(step) = entry.steps.get(at) else { return Vec::new() };
                let looks = self.known(entry).and_then(|kind| (kind.looks)(&step.data, &self.scene(entry)));
                looks.unwrap_or_else(|error| vec![Look::at(false, with_causes(&error))])
            })
            .collect();
        let holds = looks.iter().all(|look| look.holds);
        let now = self.host.now();
        let is_young = entry.applied.is_some_and(|at| (0..GRACE_NS).contains(&(now.0 - at.0)));
        if entry.holds == Some(holds) || (!holds && entry.holds.is_none() && is_young) {
            return Ok(());
        }
        // At first all of it must hold; later what can wait is left to the lease.
        let is_first = entry.holds.is_none();
        let is_grave = looks.iter().any(|look| !look.holds && (is_first || !look.can_wait));
        entry.holds = Some(holds);
        entry.tell(ContainmentEvent::Validated { checks: looks.iter().map(Look::check).collect(), holds }, now);
        if is_grave && entry.wish.on_invalid == Otherwise::Restore {
            entry.phase = Phase::Releasing;
            entry.cause = Some(ReleaseCause::NotValid);
        }
        self.journal.write(entry, held)
    }

    /// Sees to it that the effects are still in place.
    fn look_after(&self, entry: &mut Entry, held: &Held) -> Result<(), JournalError> {
        for at in 0..entry.steps.len() {
            match self.with_step(entry, at, held, |kind, data, scene, keep| (kind.tend)(data, scene, keep)) {
                Ok(Tended::Intact) => {}
                Ok(Tended::Adapted(what)) => tracing::info!(id = %entry.id, what, "the containment was adapted"),
                Ok(Tended::Tampered { message, restored }) => {
                    tracing::warn!(id = %entry.id, message, restored, "somebody changed the containment");
                    entry.tell(ContainmentEvent::Tampered { message, restored }, self.host.now());
                    self.journal.write(entry, held)?;
                }
                Err(error) => tracing::error!(id = %entry.id, error = with_causes(&error), "it cannot be looked after"),
            }
        }
        Ok(())
    }

    /// Takes back what was done, the last first; false when that must be tried again.
    fn undo(&self, entry: &mut Entry, held: &Held) -> Result<bool, JournalError> {
        for at in (0..entry.steps.len()).rev() {
            if matches!(state_of(entry, at), Some(StepState::Planned | StepState::Undone)) {
                continue;
            }
            self.step_is(entry, at, StepState::Undoing, held)?;
            match self.with_step(entry, at, held, |kind, data, scene, keep| (kind.undo)(data, scene, keep)) {
                Ok(left) => entry.left.extend(left),
                Err(error) => {
                    let event = ContainmentEvent::Failed { message: with_causes(&error), restored: false };
                    // Told when it is news: it is tried again every second.
                    if entry.untold.last().is_none_or(|last| last.event != event) {
                        entry.tell(event, self.host.now());
                        self.journal.write(entry, held)?;
                    }
                    return Ok(false);
                }
            }
            self.step_is(entry, at, StepState::Undone, held)?;
        }
        let (event, phase) = match (&entry.failure, entry.cause) {
            (Some(message), None) => {
                let restored = entry.left.is_empty();
                (ContainmentEvent::Failed { message: message.clone(), restored }, Phase::Failed)
            }
            (_, cause) => {
                let cause = cause.unwrap_or(ReleaseCause::Console);
                (ContainmentEvent::Released { cause, left: entry.left.clone() }, Phase::Released)
            }
        };
        entry.phase = phase;
        entry.tell(event, self.host.now());
        self.journal.write(entry, held)?;
        Ok(true)
    }

    fn kind(&self, wish: &Wish) -> Result<&'static Kind, Unplanned> {
        let name = wish.action.name();
        let known = self.actions.iter().find(|kind| kind.name == name);
        known.ok_or_else(|| Unplanned(format!("this agent cannot do `{name}`")))
    }

    fn known(&self, entry: &Entry) -> Result<&'static Kind, Failed> {
        self.kind(&entry.wish).map_err(|error| Failed::because(error.0))
    }

    fn scene<'a>(&'a self, entry: &'a Entry) -> Scene<'a> {
        Scene { host: &self.host, id: entry.id, state: &self.state, wish: &entry.wish }
    }

    fn step_is(&self, entry: &mut Entry, at: usize, state: StepState, held: &Held) -> Result<(), JournalError> {
        let Some(step) = entry.steps.get_mut(at).filter(|step| step.state != state) else { return Ok(()) };
        step.state = state;
        self.journal.write(entry, held)
    }

    /// Calls an action's code with a step, and with what writes the step into the journal.
    fn with_step<T>(
        &self,
        entry: &mut Entry,
        at: usize,
        held: &Held,
        call: impl FnOnce(&Kind, &Value, &Scene<'_>, &mut super::Keep<'_, Value>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let kind = self.known(entry)?;
        let (id, wish) = (entry.id, entry.wish.clone());
        let scene = Scene { host: &self.host, id, state: &self.state, wish: &wish };
        let Some(data) = entry.steps.get(at).map(|step| step.data.clone()) else {
            return Err(Failed::because("there is no such step"));
        };
        call(kind, &data, &scene, &mut |data| {
            if let Some(step) = entry.steps.get_mut(at) {
                step.data.clone_from(data);
            }
            self.journal.write(entry, held).map_err(std::io::Error::other)
        })
    }
}

fn state_of(entry: &Entry, at: usize) -> Option<StepState> {
    entry.steps.get(at).map(|step| step.state)
}

fn checked_lease(secs: u64) -> Result<(), EngineError> {
    if (1..=LEASE_SECS_MAX).contains(&secs) { Ok(()) } else { Err(EngineError::Lease(secs)) }
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Asked => "not applied yet",
        Phase::Applying => "being applied",
        Phase::Applied => "in force",
        Phase::Releasing => "being taken back",
        Phase::Released => "taken back",
        Phase::Failed => "not applied: it failed",
    }
}

#[cfg(test)]
mod tests;
