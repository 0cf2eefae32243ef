//! The agent as a daemon: dials out, asks for orders, checks them, runs them one at a time.
//!
//! All of it is one thread with one connection that waits for the server's answer; a collection brings its own threads
//! and a second connection. While one runs, further collections wait at the server; containments do not.

mod containment;
pub mod order;
pub mod progress;
mod spooled;
pub mod status;
pub mod stop;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant as Monotonic};

use bundle::time::Clock as _;
use reqwest::Method;
use wire::agent_api::{CLOCK_SKEW_SECS_MAX, HostFacts, OrderReport, OrdersReply};
use wire::order::OrderEvent;
use wire::{BundleId, Instant, OrderId, Sha256};

use crate::beat::Beats;
use crate::contain::{self, engine::Engine};
use crate::enrolment::{self, Enrolment, EnrolmentError, TlsIdentity};
use crate::host::identity::identity;
use crate::host::{Host, SystemClock};
use crate::log::Log;
use crate::orders::clock::{Question, ServerClock, is_skewed};
use crate::orders::journal::{Journal, JournalError};
use crate::protection::watchdog::Watchdog;
use crate::state::Identity;
use crate::transport::backoff::Backoff;
use crate::transport::client::{Call, CallError, Client};
use crate::trust::{self, Trust, TrustError};
use status::Status;
use stop::Stop;

/// How long the server may keep a question for orders open.
const POLL_WAIT_SECS: u64 = 50;
/// The same while something waits to be written down, which is tried before each question.
const BEHIND_WAIT_SECS: u64 = 5;
/// An answer without orders that comes earlier than this came too early.
const POLL_QUICK: Duration = Duration::from_secs(2);
/// A renewal that failed is tried again after this.
const RENEW_AGAIN: Duration = Duration::from_hours(1);
/// … or after this part of the certificate's life, when it is short.
const RENEW_AGAIN_PARTS: u32 = 20;
/// Whether the certificate is due is looked at this often while an order runs, or when it is.
const RENEW_LOOK: Duration = Duration::from_mins(10);
/// The server is told anew how far the clocks are apart when it has changed by more than this.
const CLOCK_MOVED_NS: u128 = 5_000_000_000;
const POLL_PATH: &str = "/agent/v1/orders";

/// The daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The enrolment.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// The files of trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal of containments.
    #[error(transparent)]
    Contain(contain::journal::JournalError),
    /// The identity is not the enrolled one.
    #[error("this host was enrolled as {enrolled} and its key is that of {own}")]
    OtherAgent {
        /// By the enrolment.
        enrolled: wire::AgentId,
        /// By the key.
        own: wire::AgentId,
    },
}

/// See the module.
pub struct Daemon {
    beats: RefCell<Beats>,
    client: Client,
    engine: Arc<Engine>,
    enrolment: RefCell<Enrolment>,
    folder: PathBuf,
    host: Arc<Host>,
    journal: RefCell<Journal>,
    log: Log,
    me: Identity,
    /// The order that was refused last.
    refused: Cell<Option<OrderId>>,
    /// When a renewal was tried in vain.
    renewal_failed: Cell<Option<Monotonic>>,
    site: PathBuf,
    /// Bundles whose waiting was told since this daemon started.
    spool_announced: RefCell<HashSet<BundleId>>,
    /// Bundles of which the server has refused what waits, since this daemon started.
    spool_refused: RefCell<HashSet<BundleId>>,
    status: RefCell<Status>,
    stop: Stop,
    /// Held while something is told that a journal holds: each report is told once, and in its order.
    telling: tokio::sync::Mutex<()>,
    tls: RefCell<TlsIdentity>,
    watchdog: Watchdog,
    /// How far the clocks are apart, as the server was told.
    clock_told: Cell<Option<i128>>,
    /// They are too far apart.
    is_clock_wrong: Cell<bool>,
    /// The server has a newer CA, which is not trusted here yet.
    is_ca_new: Cell<bool>,
    /// The server has been told what this host is.
    is_known: Cell<bool>,
    /// The log has been told that the server names another recipient for the spool.
    is_told_of_spool: Cell<bool>,
}

impl Daemon {
    /// A daemon over a state folder, everything that it will need looked at once.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(folder: &Path, me: Identity, log: Log, stop: Stop) -> Result<Self, StartError> {
        let (enrolment, tls) = Enrolment::load(folder)?;
        if enrolment.agent != me.id {
            return Err(StartError::OtherAgent { enrolled: enrolment.agent, own: me.id });
        }
        let site = PathBuf::from(trust::SITE_FOLDER);
        Trust::load(&site, folder)?;
        let journal = RefCell::new(Journal::open(folder)?);
        let client = enrolment.client(&tls).map_err(EnrolmentError::Call)?;
        let status = RefCell::new(Status::new(folder, client.server()));
        let host = Arc::new(Host::live());
        let engine = Arc::new(Engine::open(folder, Host::live()).map_err(StartError::Contain)?);
        let folder = folder.to_owned();
        let beats = RefCell::new(Beats::load(&folder, identity(&host).boot_id));
        Ok(Self {
            beats,
            client,
            engine,
            enrolment: RefCell::new(enrolment),
            folder,
            host,
            journal,
            log,
            me,
            refused: Cell::new(None),
            renewal_failed: Cell::new(None),
            site,
            spool_announced: RefCell::default(),
            spool_refused: RefCell::default(),
            status,
            stop,
            telling: tokio::sync::Mutex::default(),
            tls: RefCell::new(tls),
            watchdog: Watchdog::of_environment(),
            clock_told: Cell::new(None),
            is_clock_wrong: Cell::new(false),
            is_ca_new: Cell::new(false),
            is_known: Cell::new(false),
            is_told_of_spool: Cell::new(false),
        })
    }

    /// Runs until it is told to stop.
    pub async fn run(self) {
        self.watchdog.ready();
        match self.journal.borrow_mut().interrupt(SystemClock.realtime()) {
            Ok(Some(running)) => {
                tracing::warn!(order = %running.order, bundle = %running.bundle, "a run was interrupted");
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the journal cannot be written"),
        }
        self.give_up_what_was_not_begun();
        tracing::info!(agent = %self.me.id, server = self.client.server(), "waiting for orders");
        let mut backoff = Backoff::idle();
        let mut is_away = false;
        while !self.stop.is_requested() {
            match self.turn(is_away).await {
                Ok(()) => {
                    backoff.reset();
                    if std::mem::take(&mut is_away) {
                        tracing::info!(server = self.client.server(), "the server is back");
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(%error, "the server cannot be asked: trying again");
                    }
                    self.status.borrow_mut().failed(&error);
                    let mut stop = self.stop.clone();
                    tokio::select! {
                        () = tokio::time::sleep(backoff.wait()) => {}
                        () = stop.requested() => {}
                    }
                }
            }
        }
        self.watchdog.stopping();
        tracing::info!("stopped");
    }

    /// One question for orders, and what came of it. The wish to stop ends the question and not the run.
    async fn turn(&self, is_away: bool) -> Result<(), CallError> {
        let (mut stop, asked) = (self.stop.clone(), Monotonic::now());
        self.watchdog.pat();
        if let Err(error) = self.journal.borrow_mut().catch_up() {
            tracing::error!(%error, "the journal cannot be written");
        }
        // A server that was away is asked for a quick answer first: until there is one, the status says that it is away.
        let wait_secs = if is_away {
            0
        } else if self.journal.borrow().is_behind() {
            BEHIND_WAIT_SECS
        } else {
            POLL_WAIT_SECS
        };
        let (reply, waited_secs) = tokio::select! {
            reply = self.ask(wait_secs) => reply?,
            never = self.keep_telling_of_containments() => match never {},
            () = stop.requested() => return Ok(()),
        };
        let now = SystemClock.realtime();
        self.reached(now);
        let clock = ServerClock::told(reply.server_time, now);
        self.see_clock(clock);
        self.see_cas(&reply.cas);
        self.pin_spool(reply.spool_recipient.as_deref());
        let clock = if reply.orders.is_empty() { clock } else { self.surely(clock).await? };
        let (containments, orders): (Vec<_>, Vec<_>) = reply.orders.into_iter().partition(containment::is_containment);
        let is_containing = !containments.is_empty();
        for delivery in containments {
            self.contain(delivery, clock).await?;
        }
        // Whatever follows the first order may have grown old when it is done; the server sends it again.
        match orders.into_iter().next().filter(|_| !is_containing) {
            Some(delivery) => self.take(delivery, clock).await,
            None if is_containing => Ok(()),
            None => {
                // It did not wait: it is about to stop, or is none of ours.
                if waited_secs > 0 && asked.elapsed() < POLL_QUICK {
                    self.pause().await;
                }
                Ok(())
            }
        }
    }

    /// Waits about a second, or for the wish to stop.
    async fn pause(&self) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(Backoff::idle().wait()) => {}
            () = stop.requested() => {}
        }
    }

    /// Says everything that waits to be said, sends of what waits to be sent, and asks for orders. Answers how long the
    /// server was let wait for one as well: not at all while there is more to send.
    async fn ask(&self, wait_secs: u64) -> Result<(OrdersReply, u64), CallError> {
        self.renew().await;
        if !self.is_known.get() {
            let ServerClock { offset_ns, .. } = self.ask_clock().await?;
            let clock_offset_ns = i64::try_from(offset_ns).ok();
            let facts = enrolment::facts(&self.host);
            let facts = HostFacts { cas: self.enrolment.borrow().cas(), clock_offset_ns, ..facts };
            self.client.call(&Call::new(Method::PUT, "/agent/v1/host").json(&facts)).await?;
            self.is_known.set(true);
            self.clock_told.set(Some(offset_ns));
        }
        self.tell_untold().await?;
        let more_waits = self.send_spooled().await?;
        self.tell_untold().await?;
        let wait_secs = if more_waits { 0 } else { wait_secs };
        let poll = Call::new(Method::GET, self.poll_path(wait_secs)).waiting(wait_secs);
        Ok((self.client.call(&poll).await?.json()?, wait_secs))
    }

    /// Asks what time it is at the server, with a nonce. What else the answer brings comes again with the next one.
    async fn ask_clock(&self) -> Result<ServerClock, CallError> {
        let question = Question::ask();
        let nonce = question.as_ref().map(|question| format!("&nonce={}", question.nonce)).unwrap_or_default();
        let poll = Call::new(Method::GET, format!("{POLL_PATH}?wait_secs=0{nonce}"));
        let reply: OrdersReply = self.client.call(&poll).await?.json()?;
        Ok(match question {
            Some(question) => question.answered(&reply),
            None => ServerClock::told(reply.server_time, SystemClock.realtime()),
        })
    }

    /// The same clock where it agrees with the host's; asked for anew where it does not: an order would be judged by it.
    async fn surely(&self, clock: ServerClock) -> Result<ServerClock, CallError> {
        let policy = trust::load_policy(&self.site, &self.folder).unwrap_or_default();
        if clock.is_fresh || !is_skewed(clock.offset_ns, policy.orders.clock_skew_secs_max) {
            return Ok(clock);
        }
        self.ask_clock().await
    }

    /// Has the server told when the clocks are no longer as far apart as it knows, and says once that they are.
    fn see_clock(&self, clock: ServerClock) {
        let told = self.clock_told.get();
        if told.is_none_or(|told| told.abs_diff(clock.offset_ns) > CLOCK_MOVED_NS) {
            self.is_known.set(false);
        }
        let is_wrong = is_skewed(clock.offset_ns, CLOCK_SKEW_SECS_MAX);
        if self.is_clock_wrong.replace(is_wrong) != is_wrong {
            let secs = clock.offset_ns / 1_000_000_000;
            if is_wrong {
                tracing::warn!(secs, "the server's clock is that far ahead of this host's: one of them is wrong");
            } else {
                tracing::info!(secs, "the clocks of the server and of this host agree again");
            }
        }
    }

    /// The question for orders, with its number.
    fn poll_path(&self, wait_secs: u64) -> String {
        let mut path = format!("{POLL_PATH}?wait_secs={wait_secs}");
        if let Some(beat) = self.beats.borrow_mut().count_on() {
            let _ = write!(path, "&beat={}", beat.count);
            // It is of the kernel, which writes a UUID; anything else does not get into an address.
            let is_plain = |boot: &String| boot.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if let Some(boot) = beat.boot_id.filter(is_plain) {
                let _ = write!(path, "&boot={boot}");
            }
        }
        path
    }

    /// Keeps to whom the spool is encrypted, once; whoever could change it later could read what waits.
    fn pin_spool(&self, named: Option<&str>) {
        let Some(named) = named else { return };
        match self.enrolment.borrow_mut().pin_spool(&self.folder, named) {
            Ok(true) => {}
            Ok(false) if self.is_told_of_spool.replace(true) => {}
            Ok(false) => tracing::warn!(
                named,
                "the server names another recipient for the spool: the first one is kept; enrol this host again to change it"
            ),
            Err(error) => tracing::warn!(%error, "the recipient of the spool cannot be kept"),
        }
    }

    /// Tells what the journal holds, the oldest first; of an order whose evidence still waits, not yet.
    async fn tell_untold(&self) -> Result<(), CallError> {
        let _telling = self.telling.lock().await;
        self.tell_untold_now().await
    }

    /// The same, by whoever tells already.
    async fn tell_untold_now(&self) -> Result<(), CallError> {
        let spooled = self.orders_spooled();
        loop {
            let untold = self.journal.borrow().untold(|order| spooled.contains(&order)).cloned();
            let Some(untold) = untold else { return Ok(()) };
            match self.tell(untold.order, &untold.report).await {
                Err(error) if !error.is_final() => return Err(error),
                Err(error) => tracing::warn!(order = %untold.order, %error, "the server does not want this report"),
                Ok(()) => {}
            }
            if let Err(error) = self.journal.borrow_mut().told(untold.order) {
                tracing::error!(%error, "the journal cannot be written");
                return Ok(());
            }
        }
    }

    async fn tell(&self, order: OrderId, report: &OrderReport) -> Result<(), CallError> {
        let call = Call::new(Method::POST, format!("{POLL_PATH}/{order}/events")).json(report);
        self.client.call(&call).await?;
        self.reached(SystemClock.realtime());
        Ok(())
    }

    /// The server has answered.
    fn reached(&self, now: Instant) {
        self.watchdog.pat();
        self.status.borrow_mut().reached(self.client.server(), self.client.passed_over(), now);
    }

    /// A new certificate when the old one is due, or when there is a newer CA. Without one the daemon goes on: there is
    /// time.
    async fn renew(&self) {
        let is_due = self.is_ca_new.get() || self.tls.borrow().is_due(SystemClock.realtime());
        if !is_due || self.renewal_failed.get().is_some_and(|at| at.elapsed() < self.renew_again()) {
            return;
        }
        let enrolment = self.enrolment.borrow().clone();
        let renewed = enrolment.renew(&self.client, &self.folder, SystemClock.realtime()).await;
        match renewed.and_then(|(enrolment, tls)| self.go_on_as(enrolment, tls)) {
            Ok(()) => {
                self.renewal_failed.set(None);
                self.is_ca_new.set(false);
                tracing::info!("the client certificate was renewed");
            }
            Err(error) => {
                self.renewal_failed.set(Some(Monotonic::now()));
                tracing::warn!(%error, "the client certificate could not be renewed");
            }
        }
    }

    /// What was stored is what is used from now on. Requests under way end as they began.
    fn go_on_as(&self, enrolment: Enrolment, tls: TlsIdentity) -> Result<(), EnrolmentError> {
        self.client.become_like(enrolment.client(&tls)?);
        if self.enrolment.borrow().ca_pem != enrolment.ca_pem {
            tracing::info!(cas = ?enrolment.cas(), "the server's CA is another one now");
            self.is_known.set(false);
        }
        (*self.enrolment.borrow_mut(), *self.tls.borrow_mut()) = (enrolment, tls);
        Ok(())
    }

    fn renew_again(&self) -> Duration {
        let life = self.tls.borrow().validity().map_or(0, |(from, until)| until.0 - from.0);
        RENEW_AGAIN.min(Duration::from_nanos(u64::try_from(life).unwrap_or(0)) / RENEW_AGAIN_PARTS)
    }

    /// Keeps the certificate good while an order runs, however long its upload takes.
    async fn keep_certified(&self) -> Infallible {
        loop {
            let due = self.tls.borrow().due().map_or(0, |due| due.0 - SystemClock.realtime().0);
            let due = Duration::from_nanos(u64::try_from(due).unwrap_or(0));
            tokio::time::sleep(due.clamp(self.renew_again().min(RENEW_LOOK), RENEW_LOOK)).await;
            self.renew().await;
        }
    }

    /// Pats the watchdog while an order runs: how long that may take is for its own limits to say.
    async fn keep_patting(&self) -> Infallible {
        loop {
            self.watchdog.pat();
            tokio::time::sleep(self.watchdog.every().unwrap_or(RENEW_LOOK) / 2).await;
        }
    }

    /// Which CAs the server has now. A newer one is learnt with the next renewal, which is then at once; one that it has
    /// given up is forgotten, once the one that it goes on with is known.
    fn see_cas(&self, in_force: &[Sha256]) {
        let Some(issuing) = in_force.first() else { return };
        let enrolment = self.enrolment.borrow().clone();
        let is_known = enrolment.cas().contains(issuing);
        self.is_ca_new.set(!is_known);
        let Some(fewer) = enrolment.forgetting(in_force).filter(|_| is_known) else { return };
        let tls = self.tls.borrow().clone();
        let stored = fewer.store(&self.folder, &tls).and_then(|()| self.go_on_as(fewer, tls));
        if let Err(error) = stored {
            tracing::warn!(%error, "a CA that is no longer in force could not be forgotten");
        }
    }
}

fn report(event: OrderEvent) -> OrderReport {
    let Instant(now) = SystemClock.realtime();
    OrderReport { event, time: Instant(now) }
}

#[cfg(test)]
mod tests;
