//! One order from its delivery to its last report.

use std::time::Instant as Monotonic;

use bundle::header::Authority;
use bundle::time::Clock as _;
use tokio::sync::{oneshot, watch};
use wire::agent_api::{Delivery, OrderReport};
use wire::order::{OrderEvent, RefusalReason};
use wire::{BundleId, OrderId};

use super::progress::Shared;
use super::{Daemon, report};
use crate::causes::with_causes;
use crate::collection::{Collection, Mandate, Plan};
use crate::host::SystemClock;
use crate::host::identity::identity;
use crate::orders::check::{Checked, Context, Refusal, check};
use crate::orders::clock::ServerClock;
use crate::orders::journal::{self, Kept};
use crate::profiles;
use crate::run::Finished;
use crate::run::progress::Silent;
use crate::transport::backoff::Backoff;
use crate::transport::client::CallError;
use crate::transport::receipts::Receipts;
use crate::transport::sending::Otherwise;
use crate::trust::Trust;
use crate::uploading::{self, Failure};

impl Daemon {
    /// Checks a delivered order, and runs or refuses it.
    pub(super) async fn take(&self, delivery: Delivery, clock: ServerClock) -> Result<(), CallError> {
        let order = delivery.order;
        let server_offset_ns = clock.offset_ns;
        match self.check(&delivery, clock) {
            Ok(checked) => {
                self.log.forget();
                if checked.is_skewed {
                    let secs = server_offset_ns / 1_000_000_000;
                    tracing::warn!(
                        secs,
                        "this host's clock is that far from the server's: the order goes by the server's"
                    );
                }
                // On the heap: a run's state is long.
                Box::pin(self.execute(checked, server_offset_ns)).await;
                self.log.forget();
                self.tell_untold().await
            }
            Err(Refusal { reason, message }) => {
                tracing::warn!(%order, reason = reason.name(), message, "an order was refused");
                self.tell(order, &report(OrderEvent::Refused { message, reason })).await?;
                // A server that brings it again and again is asked less often.
                if self.refused.replace(Some(order)) == Some(order) {
                    self.pause().await;
                }
                Ok(())
            }
        }
    }

    fn check(&self, delivery: &Delivery, clock: ServerClock) -> Result<Checked, Refusal> {
        self.with_context(delivery, clock, |context| check(&delivery.envelope, context))
    }

    /// What an order is held against, as it is now.
    pub(super) fn with_context<T>(
        &self,
        delivery: &Delivery,
        clock: ServerClock,
        check: impl FnOnce(&Context<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let trust = Trust::load(&self.site, &self.folder).map_err(|error| {
            let message = format!("this host's own files allow nothing: {}", with_causes(&error));
            Refusal { reason: RefusalReason::Policy, message }
        })?;
        let journal = self.journal.borrow();
        let enrolment = self.enrolment.borrow();
        let context = Context {
            agent: &self.me.id,
            delivered_as: delivery.order,
            now: SystemClock.realtime(),
            own_profile: &profiles::own,
            policy: &trust.policy,
            seen: journal.seen(),
            is_offset_fresh: clock.is_fresh,
            server_offset_ns: clock.offset_ns,
            server_signer: &enrolment.server_signer,
            signers: &trust.signers,
        };
        check(&context)
    }

    async fn execute(&self, checked: Checked, server_offset_ns: i128) {
        let Checked { order, order_sha256, principal, steps, left_out, limits, environment, recipients, .. } = checked;
        let mut plan = Plan::of(&order.profile, &order.profile_version, steps, order.values.clone());
        plan.limits = limits;
        let mandate = Mandate {
            approved: order.approved_sensitive.clone(),
            authority: Some(Authority {
                approvers: vec![principal],
                examiner: None,
                legal_basis: order.legal_basis.clone(),
                order: Some(order.order.to_string()),
                purpose: order.purpose.clone(),
            }),
            environment,
            incident: Some(order.incident.clone()),
            last_receipt: journal::last_receipt(&self.folder).map(|kept| kept.receipt),
            order_sha256: Some(order_sha256),
            recipients,
            server_offset_ns: Some(server_offset_ns),
        };
        let ends = (self.stop.flag(), self.log.clone());
        let who = identity(&self.host);
        let made = Collection::new(&self.host, who, &self.me, plan, mandate, ends).map_err(|error| error.to_string());
        // On the medium before the run starts: from here on this order is never taken again.
        let begun = made.and_then(|collection| {
            let begun = self.journal.borrow_mut().begin(&order, collection.bundle, SystemClock.realtime());
            begun.map(|()| collection).map_err(|error| format!("the journal cannot be written: {error}"))
        });
        let mut collection = match begun {
            Ok(collection) => collection,
            Err(message) => {
                tracing::error!(order = %order.order, message, "the order cannot be run");
                let _ = self.tell(order.order, &report(OrderEvent::Failed { message })).await;
                return;
            }
        };
        collection.leave_out(&left_out);
        let bundle = collection.bundle;
        let sibling = collection.take_sibling();
        tracing::info!(order = %order.order, %bundle, incident = %order.incident, "the order is run");
        let progress = Shared::default();
        let (done, is_done) = watch::channel(false);
        let (told, may_begin) = oneshot::channel();
        let (begins, mut has_begun) = watch::channel(false);
        let signer = self.enrolment.borrow().server_signer.clone();
        let signed_by = (Some(order.order), self.me.key.public_line());
        let otherwise = self.otherwise();
        let has_spool = matches!(otherwise, Otherwise::Spool(_));
        let main = {
            let receipts = Receipts::new(Some(signer.clone()), self.keep_receipts(bundle));
            let may_begin = async move {
                let told = may_begin.await.unwrap_or(Ok(()));
                let _ = begins.send(true);
                told
            };
            // Both are large, and wait for as long as the run takes.
            let (signed_by, otherwise, progress) = (signed_by.clone(), otherwise.clone(), progress.clone());
            Box::pin(uploading::run(collection, &self.client, signed_by, receipts, may_begin, otherwise, progress))
        };
        let beside = async {
            let sibling = sibling?;
            // The journal is of the run: what it resumes from are the run's own receipts.
            let receipts = Receipts::new(Some(signer.clone()), Box::new(|_, _, _| {}));
            let may_begin = async {
                let told = has_begun.wait_for(|begun| *begun).await.is_ok();
                if !told && has_spool {
                    // The run has ended before the server was told of it: what is collected here waits as well.
                    std::future::pending::<()>().await;
                }
                Ok(())
            };
            let signed_by = signed_by.clone();
            let run = uploading::run(sibling, &self.client, signed_by, receipts, may_begin, otherwise.clone(), Silent);
            Some(Box::pin(run).await)
        };
        let run = async {
            let ran = tokio::join!(main, beside);
            let _ = done.send(true);
            ran
        };
        let told_of = async {
            let progress = self.tell_progress((order.order, bundle), has_spool, &progress, told, is_done.clone());
            tokio::join!(run, progress, Box::pin(self.take_containments(is_done)))
        };
        let ((finished, beside), (), ()) = tokio::select! {
            ended = told_of => ended,
            never = self.keep_certified() => match never {},
            never = Box::pin(self.keep_telling_of_containments()) => match never {},
            never = self.keep_patting() => match never {},
        };
        let event = ended(finished, beside);
        tracing::info!(order = %order.order, %bundle, state = event.state().name(), "the order has ended");
        if let Err(error) = self.journal.borrow_mut().end(report(event)) {
            tracing::error!(%error, "the journal cannot be written");
        }
    }

    pub(super) fn keep_receipts(&self, bundle: BundleId) -> crate::transport::receipts::Keep<'_> {
        Box::new(move |receipt, signed, ends_phase| {
            let time = SystemClock.realtime();
            self.reached(time);
            // The journal is of the run's first bundle: what is held of its later parts, the server knows.
            if receipt.bundle != bundle {
                return;
            }
            let kept = Kept { bundle, offset: receipt.offset, receipt: signed.clone(), time };
            if let Err(error) = self.journal.borrow_mut().keep_receipt(&kept, ends_phase) {
                tracing::warn!(%error, "the receipt cannot be kept");
            }
        })
    }

    /// Tells that the order was taken and has begun, which lets the upload begin, and then how far it is, until the run
    /// has ended.
    async fn tell_progress(
        &self,
        (order, bundle): (OrderId, BundleId),
        has_spool: bool,
        progress: &Shared,
        told: oneshot::Sender<Result<(), CallError>>,
        mut is_done: watch::Receiver<bool>,
    ) {
        let mut begun = Ok(());
        for event in [OrderEvent::Accepted, OrderEvent::Started { bundle }] {
            if begun.is_ok() {
                let report = report(event);
                begun = tokio::select! {
                    begun = self.tell_surely(order, &report, has_spool) => begun,
                    // What was collected waits, and is told of when it is sent.
                    _ = is_done.wait_for(|done| *done) => return,
                };
            }
        }
        let _ = told.send(begun);
        while !*is_done.borrow() {
            if let Some(event) = progress.news() {
                // Numbers that could not be told are followed by better ones.
                let _ = self.tell(order, &report(event)).await;
            }
            tokio::select! {
                () = progress.changed() => {}
                _ = is_done.wait_for(|done| *done) => {}
            }
        }
    }

    /// Tells until the server has heard it or does not want it; gives up when it stays away and nothing can wait for it.
    async fn tell_surely(&self, order: OrderId, report: &OrderReport, has_spool: bool) -> Result<(), CallError> {
        let (since, mut backoff) = (Monotonic::now(), Backoff::upload());
        loop {
            match self.tell(order, report).await {
                Ok(()) => return Ok(()),
                Err(error) if !error.may_pass() => {
                    tracing::warn!(%order, %error, "the server does not want this report");
                    return Ok(());
                }
                Err(error) if !has_spool && since.elapsed() >= self.client.away_max => return Err(error),
                Err(_) => tokio::time::sleep(backoff.wait()).await,
            }
        }
    }
}

/// The run's end; what came of the bundle beside it shows in the exit code.
fn ended(finished: Result<Finished, Failure>, beside: Option<Result<Finished, Failure>>) -> OrderEvent {
    let beside = beside.map_or(0, |beside| {
        beside
            .inspect_err(|error| tracing::error!(error = with_causes(error), "the bundle beside it is not sealed"))
            .map_or(3, |finished| finished.exit_code())
    });
    match finished {
        Ok(finished) => {
            let (items, bytes, _) = finished.totals();
            let exit = finished.exit_code().max(beside);
            // Of a run in parts it is the last part's digest, which stands for those before it.
            OrderEvent::Completed { bytes, exit, items, sha256: finished.sealed.sha256 }
        }
        Err(error) => OrderEvent::Failed { message: with_causes(&error) },
    }
}
