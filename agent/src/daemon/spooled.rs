//! What waits in the spool, sent when the server is back: the oldest first, a while at a time, so that new orders are
//! heard meanwhile. The run that it is of is long over; its end is told when the server has what it speaks of.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant as Monotonic};

use wire::order::OrderEvent;
use wire::{ByteSize, OrderId};

use super::{Daemon, report};
use crate::causes::with_causes;
use crate::policy;
use crate::transport::client::CallError;
use crate::transport::receipts::Receipts;
use crate::transport::sending::Otherwise;
use crate::transport::spool::{Moment, Spool, Waiting, waiting_in};
use crate::transport::upload::{Step, Upload, UploadError};
use crate::trust::Trust;

/// After this long the server is asked for orders in between.
const TURN: Duration = Duration::from_secs(5);

impl Daemon {
    /// Where the evidence of a run goes when the server is away.
    pub(super) fn otherwise(&self) -> Otherwise {
        let Some(recipient) = self.enrolment.borrow().spool_recipient.clone() else {
            return Otherwise::Nowhere("the server has not named a recipient for it yet");
        };
        let bytes_max = self.spool_policy().bytes_max.map(|ByteSize(bytes)| bytes);
        match Spool::new(&self.folder, &recipient, bytes_max) {
            Ok(spool) => Otherwise::Spool(Arc::new(spool)),
            Err(why) => {
                tracing::error!(why, "the recipient of the spool is none: enrol this host again");
                Otherwise::Nowhere("its recipient is none")
            }
        }
    }

    fn spool_policy(&self) -> policy::Spool {
        // A policy that cannot be read lets nothing be ordered; what waits already goes by what holds without one.
        Trust::load(&self.site, &self.folder).map(|trust| trust.policy.spool).unwrap_or_default()
    }

    /// Orders of which something waits that the server may yet take.
    pub(super) fn orders_spooled(&self) -> HashSet<OrderId> {
        let refused = self.spool_refused.borrow();
        let waiting = waiting_in(&self.folder);
        let waiting = waiting.into_iter().filter(|waiting| !refused.contains(&waiting.about.bundle));
        waiting.filter_map(|waiting| waiting.about.order).collect()
    }

    /// Sends of what waits for a while; true when more does.
    ///
    /// # Errors
    /// [`CallError`], when the server is away again.
    pub(super) async fn send_spooled(&self) -> Result<bool, CallError> {
        let until = Monotonic::now() + TURN;
        let age_secs_max = self.spool_policy().age_secs_max;
        for mut waiting in waiting_in(&self.folder) {
            let (bundle, order) = (waiting.about.bundle, waiting.about.order);
            if waiting.about.is_over(age_secs_max, &Moment::now()) {
                let bytes = ByteSize(waiting.bytes());
                let message = format!("{bytes} of the bundle waited for the server for too long, and were removed");
                tracing::error!(%bundle, message);
                self.lost(order, message);
                removed(&waiting);
                continue;
            }
            if self.spool_refused.borrow().contains(&bundle) {
                continue;
            }
            match self.send_waiting(&waiting, until).await {
                Ok(true) => removed(&waiting),
                Ok(false) => return Ok(true),
                Err(UploadError::Away { source, .. }) => return Err(source),
                // Not the server's last word, but somebody's in between.
                Err(UploadError::Refused(source)) if !source.is_final() => return Err(source),
                Err(error) => {
                    let message = with_causes(&error);
                    tracing::error!(%bundle, message, "what waits of this bundle cannot be sent");
                    self.lost(order, message.clone());
                    if let Err(error) = waiting.refuse(message) {
                        tracing::warn!(%error, "the spool's note cannot be written");
                    }
                    self.spool_refused.borrow_mut().insert(bundle);
                }
            }
        }
        Ok(false)
    }

    /// Sends a bundle's pieces until `until`; true when nothing of it waits any more.
    async fn send_waiting(&self, waiting: &Waiting, until: Monotonic) -> Result<bool, UploadError> {
        self.announce(waiting).await.map_err(|source| UploadError::Away { secs: 0, source })?;
        let bundle = waiting.about.bundle;
        let receipts = Receipts::new(Some(self.enrolment.borrow().server_signer.clone()), self.keep_receipts(bundle));
        let mut upload = Upload::new(&self.client, waiting.about.subject(), receipts, Duration::ZERO);
        let ended = loop {
            match upload.oldest(waiting).await {
                Ok(Step::Sent) if Monotonic::now() >= until || self.stop.is_requested() => break Ok(false),
                Ok(Step::Sent) => {}
                Ok(Step::Nothing) => break Ok(true),
                Err(error) => break Err(error),
            }
        };
        // Each turn has receipts of its own: those of the last one may be none.
        if let (Some(order), Some(receipted)) = (waiting.about.order, upload.receipted()) {
            self.amend(order, |event| match event {
                OrderEvent::Interrupted { bundle: Some(of), by_silence, .. } if of == bundle => {
                    OrderEvent::Interrupted { bundle: Some(of), by_silence, receipted: Some(receipted) }
                }
                other => other,
            });
        }
        if matches!(ended, Ok(true)) {
            // Whatever is left has been acknowledged, and no checkpoint will come for it: its run is over.
            tracing::info!(%bundle, offset = upload.offset(), "the server has what waited of this bundle");
        }
        ended
    }

    /// Tells what the server may not know yet: that the order was taken and begun, and that its evidence waited.
    async fn announce(&self, waiting: &Waiting) -> Result<(), CallError> {
        let about = &waiting.about;
        let Some(order) = about.order.filter(|_| !self.spool_announced.borrow().contains(&about.bundle)) else {
            return Ok(());
        };
        let (bytes, full, reason) = (waiting.bytes(), about.full.is_some(), about.reason.clone());
        let bundle = about.belongs_to.unwrap_or(about.bundle);
        let spooled = OrderEvent::Spooled { bytes, full, reason };
        for event in [OrderEvent::Accepted, OrderEvent::Started { bundle }, spooled] {
            match self.tell(order, &report(event)).await {
                Err(error) if !error.is_final() => return Err(error),
                Err(error) => tracing::info!(%order, %error, "the server does not want this report"),
                Ok(()) => {}
            }
        }
        self.spool_announced.borrow_mut().insert(about.bundle);
        Ok(())
    }

    /// A run that ended with a seal did not bring all of it to the server.
    fn lost(&self, order: Option<OrderId>, message: String) {
        let Some(order) = order else { return };
        self.amend(order, |event| match event {
            OrderEvent::Completed { .. } => OrderEvent::Failed { message },
            other => other,
        });
    }

    fn amend(&self, order: OrderId, change: impl FnOnce(OrderEvent) -> OrderEvent) {
        if let Err(error) = self.journal.borrow_mut().amend(order, change) {
            tracing::error!(%error, "the journal cannot be written");
        }
    }
}

fn removed(waiting: &Waiting) {
    if let Err(error) = waiting.remove() {
        tracing::error!(bundle = %waiting.about.bundle, %error, "what waited cannot be removed");
    }
}
