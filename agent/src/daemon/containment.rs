//! Containment orders: taken beside a running collection, written down before the first effect, and told of until the
//! server has heard it.
//!
//! Two journals, one after the other: the orders' says that the order was taken, so that it is never taken again, and the
//! containments' (`contain/journal`) what is done about it. Between the two a kill leaves an order that was taken and
//! about which nothing was done: it is told as failed at the next start.
//!
//! What happens to a containment is written by whoever drives it, the keeper among them, and told from here, in its order.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bundle::time::Clock as _;
use reqwest::Method;
use serde::Deserialize;
use tokio::sync::watch;
use wire::OrderId;
use wire::agent_api::{Delivery, OrderReport, OrdersReply};
use wire::containment::{CONTAINMENT_TYPE, ConsoleReport, ContainmentEvent, Directive, Endpoint, ReleaseCause};
use wire::order::{OrderEvent, RefusalReason};

use super::{Daemon, POLL_PATH, POLL_QUICK, POLL_WAIT_SECS, report};
use crate::causes::with_causes;
use crate::contain::engine::{Engine, EngineError};
use crate::contain::journal::{By, Entry, JournalError, Phase, Wish};
use crate::contain::{keeper, servers};
use crate::host::SystemClock;
use crate::orders::check::Refusal;
use crate::orders::check::containment::{CheckedContainment, check_containment};
use crate::orders::clock::ServerClock;
use crate::policy::Contain;
use crate::transport::backoff::Backoff;
use crate::transport::client::{Call, CallError};

/// How often it is looked whether there is something new to tell.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A name of the server that does not resolve within this has the addresses that it had last.
const RESOLVE_WAIT: Duration = Duration::from_secs(3);

/// True when what was delivered says that it is a containment order. Only its signature says whether it is one.
pub(super) fn is_containment(delivery: &Delivery) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: String,
    }
    let message = delivery.envelope.message().unwrap_or_default();
    serde_json::from_slice::<Kind>(&message).is_ok_and(|said| said.kind == CONTAINMENT_TYPE)
}

impl Daemon {
    /// Asks for containment orders until the collection that runs `is_done`, and does what they say. The end of the
    /// collection ends the question, and never what was begun.
    pub(super) async fn take_containments(&self, mut is_done: watch::Receiver<bool>) {
        let mut backoff = Backoff::idle();
        while !*is_done.borrow() {
            let asked = std::time::Instant::now();
            let path = format!("{POLL_PATH}?wait_secs={POLL_WAIT_SECS}&kind=containment");
            let call = Call::new(Method::GET, path).waiting(POLL_WAIT_SECS);
            let reply = tokio::select! {
                reply = self.client.call(&call) => reply,
                _ = is_done.wait_for(|done| *done) => return,
            };
            let reply = reply.and_then(|reply| reply.json::<OrdersReply>());
            let mut is_quiet = true;
            match reply {
                Ok(reply) => {
                    backoff.reset();
                    let now = SystemClock.realtime();
                    let clock = ServerClock::told(reply.server_time, now);
                    // An older server knows of no kinds: what else it brings is taken when the run is over.
                    for delivery in reply.orders.into_iter().filter(is_containment) {
                        is_quiet = false;
                        if let Err(error) = self.contain(delivery, clock).await {
                            tracing::warn!(%error, "the server cannot be told of a containment");
                            is_quiet = true;
                        }
                    }
                    if is_quiet && asked.elapsed() < POLL_QUICK {
                        tokio::select! {
                            () = self.pause() => {}
                            _ = is_done.wait_for(|done| *done) => return,
                        }
                    }
                }
                Err(_) => tokio::select! {
                    () = tokio::time::sleep(backoff.wait()) => {}
                    _ = is_done.wait_for(|done| *done) => return,
                },
            }
        }
    }

    /// Checks a containment order, and does or refuses it.
    pub(super) async fn contain(&self, delivery: Delivery, clock: ServerClock) -> Result<(), CallError> {
        let order = delivery.order;
        let done = match self.check_containment(&delivery, clock) {
            Ok((checked, policy)) => self.carry_out(checked, policy).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(Refusal { reason, message }) = done {
            tracing::warn!(%order, reason = reason.name(), message, "a containment order was refused");
            self.tell(order, &report(OrderEvent::Refused { message, reason })).await?;
            // A server that brings it again and again is asked less often.
            if self.refused.replace(Some(order)) == Some(order) {
                self.pause().await;
            }
            return Ok(());
        }
        self.tell_contained().await
    }

    fn check_containment(
        &self,
        delivery: &Delivery,
        clock: ServerClock,
    ) -> Result<(CheckedContainment, Contain), Refusal> {
        self.with_context(delivery, clock, |context| {
            let checked = check_containment(&delivery.envelope, &delivery.approvals, context)?;
            Ok((checked, context.policy.contain.clone()))
        })
    }

    async fn carry_out(&self, checked: CheckedContainment, policy: Contain) -> Result<(), Refusal> {
        let CheckedContainment { order, approvers, automatic, .. } = checked;
        let id = order.order;
        let wished = match &order.directive {
            Directive::Apply { action, lease_secs } => Some((action, *lease_secs)),
            Directive::Rehearse { action } => Some((action, 1)),
            Directive::Renew { .. } | Directive::Release { .. } | Directive::DoesNotHold { .. } => None,
        };
        if let Directive::DoesNotHold { contains } = &order.directive {
            let policy = |message| Refusal { reason: RefusalReason::Policy, message };
            self.engine.falls_when_invalid(*contains).map_err(policy)?;
        }
        let mut wish = None;
        let mut planned = None;
        if let Some((action, lease_secs)) = wished {
            let asked = Wish {
                action: action.clone(),
                by: By::Order,
                lease_secs,
                on_invalid: policy.on_invalid,
                on_lease_end: policy.on_lease_end,
                roles: if policy.protected { vec!["protected".to_owned()] } else { Vec::new() },
                servers: self.servers().await,
            };
            let rehearsed = {
                let asked = asked.clone();
                self.driven(move |engine| Ok(engine.rehearse(id, &asked))).await
            };
            let action = |message: String| Refusal { reason: RefusalReason::Action, message };
            planned = Some(rehearsed.map_err(|error| action(with_causes(&error)))?.map_err(|error| action(error.0))?);
            wish = Some(asked);
        }
        // On the medium before the first effect: from here on this order is never taken again.
        let taken = self.journal.borrow_mut().take(&order, automatic, SystemClock.realtime());
        if let Err(error) = taken {
            let message = format!("the journal cannot be written: {error}");
            return Err(Refusal { reason: RefusalReason::Action, message });
        }
        tracing::info!(order = %id, approvers = approvers.join(","), directive = order.directive.name(), "a containment order was taken");
        self.say(id, OrderEvent::Accepted);
        match (order.directive, wish, planned) {
            (Directive::Apply { .. }, Some(wish), _) => self.apply(id, wish).await,
            (Directive::Rehearse { .. }, _, Some((told, _))) => {
                self.say(id, OrderEvent::Containment { told, rehearsed: true });
            }
            (Directive::Renew { contains, lease_secs }, ..) => {
                let renewed = self.driven(move |engine| engine.renew(contains, lease_secs)).await;
                self.say_of(id, renewed.map(|until| ContainmentEvent::Renewed { until }));
            }
            (Directive::Release { contains }, ..) => self.release(id, contains, ReleaseCause::Order).await,
            (Directive::DoesNotHold { contains }, ..) => self.release(id, contains, ReleaseCause::NotValid).await,
            _ => {}
        }
        if let Err(error) = self.journal.borrow_mut().handed_over(id) {
            tracing::error!(%error, "the journal cannot be written");
        }
        Ok(())
    }

    async fn apply(&self, id: OrderId, wish: Wish) {
        let folder = self.folder.clone();
        let applied = self.driven(move |engine| {
            match engine.ask(id, wish) {
                // The order was handed over before a kill.
                Ok(()) | Err(EngineError::Journal(JournalError::Double(_))) => {}
                Err(error) => return Err(error),
            }
            Ok(keeper::carry_out(engine, &folder, id)?)
        });
        match applied.await {
            Ok(entry) => tracing::info!(%id, phase = ?entry.phase, "the containment"),
            Err(error) => {
                let told = ContainmentEvent::Failed { message: with_causes(&error), restored: true };
                self.say(id, OrderEvent::Containment { told, rehearsed: false });
            }
        }
    }

    async fn release(&self, id: OrderId, contains: OrderId, cause: ReleaseCause) {
        let folder = self.folder.clone();
        let released = self.driven(move |engine| {
            engine.release(contains, cause)?;
            Ok(keeper::carry_out(engine, &folder, contains)?)
        });
        self.say_of(id, released.await.map(|entry| released_as(&entry)));
    }

    /// Runs the engine where it may block.
    async fn driven<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let engine = Arc::clone(&self.engine);
        match tokio::task::spawn_blocking(move || work(&engine)).await {
            Ok(done) => done,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    fn say_of(&self, order: OrderId, told: Result<ContainmentEvent, EngineError>) {
        let told =
            told.unwrap_or_else(|error| ContainmentEvent::Failed { message: with_causes(&error), restored: true });
        self.say(order, OrderEvent::Containment { told, rehearsed: false });
    }

    /// This has happened to an order, and is told as soon as it can be.
    fn say(&self, order: OrderId, event: OrderEvent) {
        if let Err(error) = self.journal.borrow_mut().say(order, report(event)) {
            tracing::error!(%error, "the journal cannot be written");
        }
    }

    /// Orders that were taken when the last process died, and about which nothing was done.
    pub(super) fn give_up_what_was_not_begun(&self) {
        let asked: Vec<OrderId> = self.journal.borrow().asked().to_vec();
        for order in asked {
            if matches!(self.engine.journal().find(order), Ok(None)) {
                let message = "the agent was ended before anything was done".to_owned();
                let told = ContainmentEvent::Failed { message, restored: true };
                self.say(order, OrderEvent::Containment { told, rehearsed: false });
            }
            if let Err(error) = self.journal.borrow_mut().handed_over(order) {
                tracing::error!(%error, "the journal cannot be written");
            }
        }
    }

    /// Every address of the servers, resolved now: when the host is cut off, nobody can be asked any more.
    async fn servers(&self) -> Vec<Endpoint> {
        let folder = self.folder.clone();
        let looked = tokio::task::spawn_blocking(move || servers::pinned(&folder));
        match tokio::time::timeout(RESOLVE_WAIT, looked).await {
            Ok(Ok(found)) => found,
            _ => servers::remembered(&self.folder),
        }
    }

    /// Tells what happened to containments, whoever wrote it down, the oldest first.
    pub(super) async fn tell_contained(&self) -> Result<(), CallError> {
        let _telling = self.telling.lock().await;
        // That it was taken comes before what was done about it.
        self.tell_untold_now().await?;
        for entry in self.untold_of_containments() {
            for untold in &entry.untold {
                let told = match entry.wish.by {
                    By::Order => {
                        let event = OrderEvent::Containment { told: untold.event.clone(), rehearsed: false };
                        self.tell(entry.id, &OrderReport { event, time: untold.time }).await
                    }
                    By::Console => {
                        let report = ConsoleReport {
                            action: entry.wish.action.clone(),
                            event: untold.event.clone(),
                            id: entry.id,
                            rehearsed: false,
                            time: untold.time,
                        };
                        let call = Call::new(Method::POST, "/agent/v1/containments").json(&report);
                        self.client.call(&call).await.map(|_| ())
                    }
                };
                match told {
                    Err(error) if !error.is_final() => return Err(error),
                    Err(error) => tracing::warn!(id = %entry.id, %error, "the server does not want this report"),
                    Ok(()) => {}
                }
                let id = entry.id;
                if let Err(error) = self.driven(move |engine| engine.told(id, 1)).await {
                    tracing::error!(error = with_causes(&error), "the journal of containments cannot be written");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn untold_of_containments(&self) -> Vec<Entry> {
        let journal = self.engine.journal();
        let mut entries: Vec<Entry> = journal.under_way().unwrap_or_default().into_iter().flatten().collect();
        entries.extend(journal.over().unwrap_or_default());
        entries.retain(|entry| !entry.untold.is_empty());
        entries.sort_by_key(|entry| entry.id);
        entries
    }

    /// Tells of containments while something else waits for the server.
    pub(super) async fn keep_telling_of_containments(&self) -> std::convert::Infallible {
        let mut seen = None;
        loop {
            self.follow_keeper().await;
            let now = self.containments_changed();
            if seen != Some(now) {
                match self.tell_contained().await {
                    Ok(()) => seen = Some(now),
                    Err(error) => tracing::debug!(%error, "the server cannot be told of containments: trying again"),
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn follow_keeper(&self) {
        let (engine, folder) = (Arc::clone(&self.engine), self.folder.clone());
        let followed = tokio::task::spawn_blocking(move || keeper::follow(&folder, engine.journal())).await;
        if let Ok(Err(error)) = followed {
            tracing::error!(%error, "nobody keeps what is in force on this host");
        }
    }

    /// When the folders of the journal changed last: files in it are replaced, never written over.
    fn containments_changed(&self) -> [Option<SystemTime>; 2] {
        let changed = |name: &str| {
            let folder = self.folder.join("contain").join(name);
            std::fs::metadata(folder).and_then(|meta| meta.modified()).ok()
        };
        [changed("journal"), changed("done")]
    }
}

/// What a release has come to.
fn released_as(entry: &Entry) -> ContainmentEvent {
    match entry.phase {
        Phase::Released => {
            ContainmentEvent::Released { cause: entry.cause.unwrap_or(ReleaseCause::Order), left: entry.left.clone() }
        }
        Phase::Failed => ContainmentEvent::Failed {
            message: entry.failure.clone().unwrap_or_else(|| "it could not be done".to_owned()),
            restored: entry.left.is_empty(),
        },
        _ => ContainmentEvent::Failed {
            message: "it could not be taken back yet, and is tried again until it can".to_owned(),
            restored: false,
        },
    }
}
