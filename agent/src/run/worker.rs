//! One step on its way: a worker thread that collects, and the loop that takes what it hands over.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant as Monotonic};

use bundle::coverage::Outcome;
use bundle::item::{Kind, NewItem, Status};
use bundle::time::Instant;
use bundle::write::{Ended, Output, WriteError, Writer};
use wire::Tier;
use wire::profile::Values;

use super::bind::BoundStep;
use super::condition;
use super::limits::{Limiter, Rates};
use super::parts::Going;
use super::progress::Progress;
use super::session::{Allowed, Current, Message, Seen, Session};
use crate::causes::with_causes;
use crate::collect::{Failure, Step};
use crate::host::Host;
use crate::host::sys::read_when_idle;
use crate::protection::confine_worker;

/// Messages that may wait: rows by 64 KiB, content by at most a mebibyte.
const MESSAGES_MAX: usize = 16;
/// How often the loop looks at the clock while nothing comes.
const TICK: Duration = Duration::from_millis(50);
/// How long a worker may take to notice that its time is up.
const GRACE: Duration = Duration::from_secs(2);
/// A worker that gives no sign of life for this long hangs, whatever time it has left.
const STALL: Duration = Duration::from_mins(1);

/// See the module.
pub(super) struct Worker<'a> {
    pub(super) host: Arc<Host>,
    pub(super) step: &'a BoundStep,
    pub(super) bound: Arc<dyn Step>,
    pub(super) values: Arc<Values>,
    pub(super) seen: Arc<Seen>,
    pub(super) rates: Rates,
    pub(super) content_bytes: Arc<AtomicU64>,
    pub(super) content_bytes_max: u64,
    pub(super) wall: Duration,
    pub(super) interrupted: Arc<AtomicBool>,
    pub(super) allowed: Arc<Allowed>,
}

/// How a step ended.
pub(super) struct StepEnd {
    pub(super) outcome: Outcome,
    pub(super) reason: Option<String>,
    /// True when the worker was left behind.
    pub(super) abandoned: bool,
    /// What it changed on the host.
    pub(super) changes: Vec<String>,
}

/// What the loop has seen of a worker.
#[derive(Default)]
struct Watch {
    limited: Option<String>,
    skipped: Option<String>,
    changes: Vec<String>,
    done: Option<Result<(), String>>,
}

/// A step whose worker runs.
pub(super) struct Running<'a> {
    worker: Worker<'a>,
    inbox: Receiver<Message>,
    stop: Arc<AtomicBool>,
    current: Current,
    started: Monotonic,
    started_at: Instant,
    /// Why no thread could be started.
    refused: Option<std::io::Error>,
}

impl<'a> Worker<'a> {
    /// Starts the worker. It collects as far as the channel has room.
    pub(super) fn start(self) -> Running<'a> {
        let (started, started_at) = (Monotonic::now(), self.host.now());
        let collector = self.step.collector;
        let stop = Arc::new(AtomicBool::new(false));
        let current = Current::default();
        let (messages, inbox) = sync_channel(MESSAGES_MAX);
        let step_bytes_max = self.step.limits.bytes_max.map_or(u64::MAX, |size| size.0);
        let limiter = Limiter::new(self.rates, step_bytes_max, Arc::clone(&self.content_bytes), self.content_bytes_max);
        let mut session = Session::new(
            Arc::clone(&self.host),
            messages,
            Arc::clone(&self.seen),
            limiter,
            Arc::clone(&stop),
            self.wall,
        );
        session.bind(&self.step.limits, self.step.sensitive, current.clone());
        session.allow(Arc::clone(&self.allowed));
        let step = Arc::clone(&self.bound);
        let asked = self.step.when.clone().map(|when| (when, Arc::clone(&self.host), Arc::clone(&self.values)));
        let yields = collector.tier != Tier::Volatile && self.host.is_live();
        let tier = collector.tier;
        let spawned = std::thread::Builder::new().name(format!("collect-{}", collector.name)).spawn(move || {
            if yields && let Err(error) = read_when_idle() {
                tracing::warn!(%error, "the disk is read at the usual priority");
            }
            confine_worker(tier);
            let collected = catch_unwind(AssertUnwindSafe(|| match &asked {
                Some((when, host, values)) if !condition::holds(when, host, values) => {
                    session.skip(format!("only when {when}"));
                    Ok(())
                }
                _ => step.collect(&mut session),
            }));
            session.done(match collected {
                Ok(Ok(()) | Err(Failure::Stopped(_))) => Ok(()),
                Ok(Err(failure)) => Err(with_causes(&failure)),
                Err(_) => Err("the collector panicked; the agent's log says where".to_owned()),
            });
        });
        Running { worker: self, inbox, stop, current, started, started_at, refused: spawned.err() }
    }
}

impl Running<'_> {
    /// Takes what the worker hands over until it is done; all of it is in `writer` afterwards.
    pub(super) fn finish<W: Output, S: Write>(
        self,
        going: &mut Going<'_, W, S>,
        progress: &mut dyn Progress,
    ) -> Result<StepEnd, WriteError> {
        let collector = self.worker.step.collector;
        progress.step(collector.tier, collector.name);
        going.writer.begin_step(collector.tier, collector.name, self.started_at);
        if let Some(error) = &self.refused {
            let reason = Some(format!("no thread could be started: {error}"));
            return Ok(StepEnd { outcome: Outcome::Failed, reason, abandoned: false, changes: Vec::new() });
        }
        let end = self.take_all(going, progress)?;
        if going.writer.is_streaming() {
            let reason = end.reason.clone();
            going.writer.end(Ended { reason, ..Ended::with(status_of(end.outcome)) })?;
        } else if end.abandoned
            && let Some(path) = self.current.take()
        {
            let item = NewItem::new(Kind::File, path, "read", Status::TimedOut, self.worker.host.now());
            going.writer.note(item.because("the step did not come back from it"))?;
        }
        Ok(end)
    }

    fn take_all<W: Output, S: Write>(
        &self,
        going: &mut Going<'_, W, S>,
        progress: &mut dyn Progress,
    ) -> Result<StepEnd, WriteError> {
        let Self { worker, inbox, stop, current, .. } = self;
        // Until now it may have waited for room in the channel.
        let (mut heard, mut beats) = (Monotonic::now(), 0);
        let mut watch = Watch::default();
        loop {
            match inbox.recv_timeout(TICK) {
                Ok(message) => {
                    heard = Monotonic::now();
                    going.make_room(bytes_of(&message))?;
                    take(message, &mut going.writer, &mut watch)?;
                    progress.moved(going.items(), going.bytes());
                    if let Some(done) = watch.done.take() {
                        return Ok(self.ended(done, watch));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let reason = Some("the collector's thread ended without a word".to_owned());
                    let changes = watch.changes;
                    return Ok(StepEnd { outcome: Outcome::Failed, reason, abandoned: true, changes });
                }
            }
            if current.beats() != beats {
                beats = current.beats();
                heard = Monotonic::now();
            }
            if worker.interrupted.load(Ordering::Relaxed) {
                stop.store(true, Ordering::Relaxed);
            }
            let overdue = self.started.elapsed() > worker.wall + GRACE;
            let stalled = heard.elapsed() > STALL || (stop.load(Ordering::Relaxed) && heard.elapsed() > GRACE);
            if overdue || stalled {
                stop.store(true, Ordering::Relaxed);
                let interrupted = worker.interrupted.load(Ordering::Relaxed);
                let outcome = if interrupted { Outcome::Interrupted } else { Outcome::TimedOut };
                let reason =
                    Some(format!("the collector did not come back within {} s", self.started.elapsed().as_secs()));
                return Ok(StepEnd { outcome, reason, abandoned: true, changes: watch.changes });
            }
        }
    }

    /// The collector came back by itself.
    fn ended(&self, done: Result<(), String>, watch: Watch) -> StepEnd {
        if let (Ok(()), Some(condition)) = (&done, watch.skipped) {
            return StepEnd {
                outcome: Outcome::Skipped,
                reason: Some(condition),
                abandoned: false,
                changes: watch.changes,
            };
        }
        let (outcome, reason) = match (done, watch.limited) {
            (Err(reason), _) => (Outcome::Failed, Some(reason)),
            (Ok(()), _) if self.worker.interrupted.load(Ordering::Relaxed) => {
                (Outcome::Interrupted, Some("the run was interrupted".to_owned()))
            }
            (Ok(()), _) if self.started.elapsed() >= self.worker.wall => {
                (Outcome::TimedOut, Some(format!("its {} s had gone by", self.worker.wall.as_secs())))
            }
            (Ok(()), Some(rule)) => (Outcome::Limited, Some(rule)),
            (Ok(()), None) => (Outcome::Completed, None),
        };
        StepEnd { outcome, reason, abandoned: false, changes: watch.changes }
    }
}

fn take<W: Output, S: Write>(message: Message, writer: &mut Writer<W, S>, watch: &mut Watch) -> Result<(), WriteError> {
    match message {
        Message::Rows(lines) => writer.rows(&lines),
        Message::Item(item) => writer.note(*item),
        Message::Whole(item, content) => writer.whole(*item, content),
        Message::Begin(item) => writer.begin(*item),
        Message::Chunk(bytes) => writer.chunk(bytes),
        Message::End(ended) => writer.end(ended),
        Message::Raw(item, name, bytes) => writer.raw(*item, &name, bytes),
        Message::Bodyfile(lines) => writer.bodyfile(&lines),
        Message::Event(event) => {
            writer.event(&event);
            Ok(())
        }
        Message::Changed(what) => {
            tracing::info!(what, "the host was changed");
            writer.custody("host_changed", [("what", what.as_str().into())]);
            watch.changes.push(what);
            Ok(())
        }
        Message::Limited(rule) => {
            watch.limited.get_or_insert(rule);
            Ok(())
        }
        Message::Skipped(condition) => {
            watch.skipped = Some(condition);
            Ok(())
        }
        Message::Done(done) => {
            watch.done = Some(done);
            Ok(())
        }
    }
}

/// How much a thing may add to the bundle, as far as it is known before.
fn bytes_of(message: &Message) -> u64 {
    match message {
        Message::Rows(bytes) | Message::Whole(_, bytes) | Message::Raw(_, _, bytes) => bytes.len() as u64,
        Message::Begin(item) => item.meta.as_deref().map_or(0, |meta| meta.size),
        _ => 0,
    }
}

/// What an unfinished item's status says of how its step ended.
fn status_of(outcome: Outcome) -> Status {
    match outcome {
        Outcome::TimedOut => Status::TimedOut,
        Outcome::Failed => Status::Error,
        _ => Status::Truncated,
    }
}
