//! A run: the steps of a profile, in the order of volatility, into one sealed bundle.
//!
//! This thread owns the bundle and nothing that can block on the host. Each collector runs on a worker and hands its
//! evidence over a bounded channel; a worker that does not come back is left behind, and what it sends later is dropped.
//!
//! Architecture invariant: a run always ends in a seal. Only an output that cannot be written ends it without one.

pub mod bind;
pub mod condition;
pub mod footprint;
pub mod gate;
pub mod limits;
pub mod parts;
pub mod progress;
pub mod session;
#[cfg(test)]
pub mod testing;
mod worker;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant as Monotonic};

use bundle::coverage::{Coverage, Outcome};
use bundle::write::{Output, Sealed, WriteError, Writer};
use wire::Tier;
use wire::profile::{Limits, Values};

use crate::collect::Step;
use crate::host::Host;
use bind::BoundStep;
use footprint::Footprint;
use limits::Rates;
use parts::{Going, Outputs, SealedPart};
use progress::Progress;
use session::{Allowed, Seen};
use worker::{Running, Worker};

/// A run whose profile names no limit of time ends after this.
const WALL_SECS_DEFAULT: u64 = 3600;
/// A volatile step that takes longer than this has met something that is not volatile.
const VOLATILE_STEP_SECS: u64 = 30;
/// Workers that may be left behind before the run stops starting new ones.
const ABANDONED_MAX: usize = 4;

/// What a run needs beside the bundle.
pub struct Run {
    /// The host under examination.
    pub host: Arc<Host>,
    /// The steps, their arguments bound.
    pub steps: Vec<BoundStep>,
    /// Limits of the whole run.
    pub limits: Limits,
    /// Limits of each tier.
    pub tiers: BTreeMap<Tier, Limits>,
    /// What is known of the incident.
    pub values: Arc<Values>,
    /// Set from outside to end the run early; the bundle is sealed all the same.
    pub interrupted: Arc<AtomicBool>,
    /// What it may take that is not for everybody.
    pub allowed: Arc<Allowed>,
    /// The agent's log so far, to be stored in the bundle.
    pub log: crate::log::Log,
}

/// What came of a run.
#[derive(Debug)]
pub struct Finished {
    /// The bundle in numbers; of a run in parts the last one.
    pub sealed: Sealed,
    /// The parts before it.
    pub earlier: Vec<SealedPart>,
    /// What was asked and got.
    pub coverage: Coverage,
    /// True when the run was interrupted.
    pub interrupted: bool,
}

impl Finished {
    /// What `holdfast-agent collect` ends with: 0, or 3 for a sealed bundle in which a step failed, timed out or met a
    /// limit.
    pub fn exit_code(&self) -> u8 {
        if self.is_complete() { 0 } else { 3 }
    }

    /// Items, bytes of the file and entries of all parts.
    pub fn totals(&self) -> (u64, u64, u64) {
        let parts = self.earlier.iter().map(|part| &part.sealed).chain([&self.sealed]);
        parts.fold((0, 0, 0), |sum, part| (sum.0 + part.items, sum.1 + part.bytes, sum.2 + part.entries))
    }

    /// True when every step went through everything that it was asked for.
    pub fn is_complete(&self) -> bool {
        self.coverage.collectors.iter().all(|step| matches!(step.outcome, Outcome::Completed | Outcome::Skipped))
    }
}

impl Run {
    /// Runs the steps and seals the bundle.
    ///
    /// # Errors
    /// [`WriteError`]: the output failed, and what it holds is a partial bundle.
    pub fn execute<W: Output, S: Write>(
        self,
        writer: Writer<W, S>,
        outputs: &mut dyn Outputs<W, S>,
        progress: &mut dyn Progress,
    ) -> Result<Finished, WriteError> {
        let footprint = RefCell::new(Footprint::begin(&self.host));
        let deadline = Monotonic::now() + Duration::from_secs(self.limits.wall_secs_max.unwrap_or(WALL_SECS_DEFAULT));
        let changes = RefCell::default();
        let mut shared = Shared {
            run: &self,
            seen: Arc::default(),
            content_bytes: Arc::default(),
            content_bytes_max: 0,
            changes: &changes,
        };
        let ending = || (footprint.borrow().end(&self.host, &changes.borrow()), self.log.text());
        let mut going = Going::new(writer, outputs, &ending);
        let mut abandoned = 0;
        for tier in Tier::ALL {
            let steps: Vec<&BoundStep> = self.steps.iter().filter(|step| step.collector.tier == tier).collect();
            if steps.is_empty() {
                continue;
            }
            let started = Monotonic::now();
            let own = self.tiers.get(&tier).copied().unwrap_or_default();
            let of_tier = own.wall_secs_max.map(|secs| started + Duration::from_secs(secs));
            let deadline = of_tier.map_or(deadline, |of_tier| of_tier.min(deadline));
            shared.begin(own);
            self.tier(&shared, &steps, deadline, &mut abandoned, &mut going, progress)?;
            going.writer.tier_end(tier)?;
            footprint.borrow_mut().tier(tier, started.elapsed());
            progress.tier_done(tier, started.elapsed(), going.items(), going.bytes());
            tracing::info!(%tier, items = going.items(), bytes = going.bytes(), "tier complete");
        }
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        if interrupted {
            going.writer.custody("interrupted", []);
        }
        let coverage = going.writer.coverage().clone();
        let (last, earlier) = going.seal()?;
        Ok(Finished { sealed: last.sealed, earlier, coverage, interrupted })
    }

    /// Runs the steps of one tier in their order.
    fn tier<'a, W: Output, S: Write>(
        &'a self,
        shared: &Shared<'a>,
        steps: &[&'a BoundStep],
        deadline: Monotonic,
        abandoned: &mut usize,
        going: &mut Going<'_, W, S>,
        progress: &mut dyn Progress,
    ) -> Result<(), WriteError> {
        let mut ahead: Option<Running<'a>> = None;
        for (n, step) in steps.iter().enumerate() {
            let (tier, name) = (step.collector.tier, step.collector.name);
            let running = match ahead.take() {
                Some(running) => running,
                None => {
                    let bound = match reason_to_skip(step, &self.host) {
                        Ok(bound) => bound,
                        Err(reason) => {
                            going.writer.not_run(tier, name, Outcome::Skipped, &reason);
                            continue;
                        }
                    };
                    if let Some(reason) = self.reason_not_to_start(deadline, *abandoned) {
                        tracing::warn!(collector = name, reason, "not collected");
                        going.writer.not_run(tier, name, Outcome::NotRun, reason);
                        continue;
                    }
                    shared.worker(step, bound, wall_of(step, deadline)).start()
                }
            };
            // What is volatile does not wait: the next step begins while this one is being written.
            if tier == Tier::Volatile
                && let Some(next) = steps.get(n + 1)
                && let Ok(bound) = reason_to_skip(next, &self.host)
                && self.reason_not_to_start(deadline, *abandoned).is_none()
            {
                // It may have to wait for room until this one is done.
                let wall = wall_of(step, deadline) + wall_of(next, deadline);
                ahead = Some(shared.worker(next, bound, wall).start());
            }
            let ended = running.finish(going, progress)?;
            *abandoned += usize::from(ended.abandoned);
            shared.changes.borrow_mut().extend(ended.changes);
            if let Some(reason) = ended.reason.as_ref().filter(|_| ended.outcome != Outcome::Skipped) {
                tracing::warn!(collector = name, outcome = ?ended.outcome, reason, "step ended early");
            }
            going.writer.end_step(ended.outcome, ended.reason.as_deref())?;
            if tier == Tier::Volatile {
                going.writer.group_end(tier)?;
            }
        }
        Ok(())
    }

    fn reason_not_to_start(&self, deadline: Monotonic, abandoned: usize) -> Option<&'static str> {
        if self.interrupted.load(Ordering::Relaxed) {
            Some("the run was interrupted")
        } else if Monotonic::now() >= deadline {
            Some("the run's wall_secs_max had gone by")
        } else if abandoned >= ABANDONED_MAX {
            Some("too many earlier steps hang")
        } else {
            None
        }
    }

    /// The volatile tier is held to no rate: what it waits for is gone.
    fn rates(&self, tier: Tier) -> Rates {
        if tier == Tier::Volatile {
            return Rates::default();
        }
        Rates {
            read_bytes_per_sec_max: self.limits.read_bytes_per_sec_max.map(|size| size.0),
            cpu_percent_max: self.limits.cpu_percent_max,
        }
    }
}

/// The step with its arguments.
///
/// # Errors
/// Why there is nothing to do for it on this host.
pub fn reason_to_skip(step: &BoundStep, host: &Host) -> Result<Arc<dyn Step>, String> {
    if step.collector.needs_live_host && host.is_image() {
        return Err("only on a host that runs: this is an image".to_owned());
    }
    step.step.clone().map_err(|condition| format!("only when {condition}"))
}

/// What the steps of a run share.
struct Shared<'a> {
    run: &'a Run,
    seen: Arc<Seen>,
    content_bytes: Arc<AtomicU64>,
    /// What the run may have stored by the end of the tier at hand.
    content_bytes_max: u64,
    /// What the steps changed on the host.
    changes: &'a RefCell<Vec<String>>,
}

impl<'a> Shared<'a> {
    /// Begins a tier that is held to these limits.
    fn begin(&mut self, own: Limits) {
        let of_run = self.run.limits.bytes_max.map_or(u64::MAX, |size| size.0);
        let stored = self.content_bytes.load(Ordering::Relaxed);
        self.content_bytes_max = own.bytes_max.map_or(of_run, |size| of_run.min(stored.saturating_add(size.0)));
    }

    fn worker(&self, step: &'a BoundStep, bound: Arc<dyn Step>, wall: Duration) -> Worker<'a> {
        Worker {
            host: Arc::clone(&self.run.host),
            step,
            bound,
            values: Arc::clone(&self.run.values),
            seen: Arc::clone(&self.seen),
            rates: self.run.rates(step.collector.tier),
            content_bytes: Arc::clone(&self.content_bytes),
            content_bytes_max: self.content_bytes_max,
            wall,
            interrupted: Arc::clone(&self.run.interrupted),
            allowed: Arc::clone(&self.run.allowed),
        }
    }
}

fn wall_of(step: &BoundStep, deadline: Monotonic) -> Duration {
    let own = step.limits.wall_secs_max;
    let own = own.or((step.collector.tier == Tier::Volatile).then_some(VOLATILE_STEP_SECS));
    let left = deadline.saturating_duration_since(Monotonic::now());
    own.map_or(left, |secs| left.min(Duration::from_secs(secs)))
}
