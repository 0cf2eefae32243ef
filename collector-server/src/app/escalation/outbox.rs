//! Pages go out: one worker, a bounded number at a time, each tried a bounded number of times, and then the contact's next
//! channel. A page that was taken is so only once that is durable: a crash before it sends it again under the same id.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use wire::api::PageState;
use wire::{Instant, PageId};

use super::super::{Actor, App, Problem, random};
use super::channels::NotSent;
use super::contacts::{Contact, Contacts};
use super::message::{ACKNOWLEDGED, Brief, CONTRADICTION, ESCALATION, Message, RESOLVED, TEST};
use super::{NewPage, leaf};
use crate::store::{Change, IncidentRecord, NewLeaf, PageRecord};

/// Pages under way at a time.
const AT_A_TIME_MAX: usize = 16;
/// Pages that are looked at at a time.
const DUE_MAX: u32 = 256;
/// Tries on one channel. With the pauses between them that takes less than two minutes, answers not counted.
const ATTEMPTS_MAX: u32 = 5;
/// The first pause; each is twice the one before, and up to a quarter longer or shorter, so that many do not come at once.
const PAUSE_SECS: i128 = 5;
/// How often the store is asked for what is due, when nobody says that something is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pages that go out as one message: to the same contact over the same channel. One, or those of a digest.
type Batch = Vec<PageRecord>;

/// What becomes of pages, and is committed together.
#[derive(Default)]
struct Outcome {
    changes: Vec<Change>,
    leaves: Vec<NewLeaf>,
}

impl App {
    /// Looks after the pages until the server stops. Those under way end first; all is bounded.
    pub async fn run_outbox(self: Arc<Self>) {
        let (mut under_way, mut busy) = (JoinSet::new(), HashSet::<PageId>::new());
        loop {
            // Only the leader: from two, people would hear everything twice.
            let due = if self.peers.leads() { self.batches_due(&busy).await } else { Ok(Vec::new()) };
            let batches = due.unwrap_or_else(|problem| {
                tracing::error!(message = problem.message, cause = problem.cause, "the pages were not looked through");
                Vec::new()
            });
            let room = AT_A_TIME_MAX.saturating_sub(under_way.len());
            for batch in batches.into_iter().take(room) {
                let (app, ids) = (Arc::clone(&self), batch.iter().map(|page| page.view.page).collect::<Vec<_>>());
                busy.extend(ids.iter().copied());
                under_way.spawn(async move {
                    app.deliver(batch).await;
                    ids
                });
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.escalation.outbox.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Some(done) = under_way.join_next() => match done {
                    Ok(ids) => ids.iter().for_each(|id| { busy.remove(id); }),
                    Err(error) => {
                        // Nobody knows whose it was: all are looked at again, and the store keeps what was done.
                        tracing::error!(%error, "a page fell over");
                        busy.clear();
                    }
                },
            }
        }
        under_way.join_all().await;
    }

    /// Tries everything that is due now, once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn deliver_due(&self) -> Result<(), Problem> {
        for batch in self.batches_due(&HashSet::new()).await? {
            self.deliver(batch).await;
        }
        Ok(())
    }

    async fn batches_due(&self, busy: &HashSet<PageId>) -> Result<Vec<Batch>, Problem> {
        let (mut batches, mut digests) = (Vec::new(), BTreeMap::<(String, u32), Batch>::new());
        for page in self.store.pages_due(self.now(), DUE_MAX).await? {
            if busy.contains(&page.view.page) {
                continue;
            }
            if page.is_held {
                digests.entry((page.view.contact.clone(), page.channel)).or_default().push(page);
            } else {
                batches.push(vec![page]);
            }
        }
        batches.extend(digests.into_values());
        Ok(batches)
    }

    async fn deliver(&self, batch: Batch) {
        if let Err(problem) = self.try_batch(batch).await {
            tracing::error!(message = problem.message, cause = problem.cause, "a page was not delivered");
        }
    }

    async fn try_batch(&self, batch: Batch) -> Result<(), Problem> {
        let (contacts, now) = (self.site.contacts(), self.now());
        let mut outcome = Outcome::default();
        let (mut pages, mut incidents) = (Vec::new(), Vec::new());
        for page in batch {
            let record = match &page.view.incident {
                Some(incident) => self.store.incident(incident).await?,
                None => None,
            };
            match record.as_ref().and_then(|record| needless(&page, record)) {
                Some(why) => outcome.ended(page, PageState::Dropped, now, why),
                None => {
                    pages.push(page);
                    incidents.extend(record);
                }
            }
        }
        if let Some(first) = pages.first() {
            let channel = usize::try_from(first.channel).unwrap_or(usize::MAX);
            let contact = contacts.get(&first.view.contact);
            let sent = match contact.and_then(|contact| contact.channels.get(channel)) {
                Some((_, channel)) => channel.send(&self.message(first, &incidents, &contacts, now)).await,
                None => Err(NotSent::for_good("the site's contacts have changed: this channel is no longer there")),
            };
            let after = self.now();
            for page in pages {
                outcome.tried(page, contact, &sent, after)?;
            }
        }
        self.keep_outcome(outcome).await
    }

    fn message(&self, page: &PageRecord, incidents: &[IncidentRecord], contacts: &Contacts, now: Instant) -> Message {
        let link = contacts.link.as_deref().or(self.reach.servers.first().map(String::as_str)).unwrap_or("");
        let mut briefs: Vec<Brief> = incidents.iter().map(|record| Brief::of(record, link)).collect();
        briefs.sort_by_key(|brief| std::cmp::Reverse(brief.severity));
        briefs.dedup_by(|one, other| one.incident == other.incident);
        let view = &page.view;
        Message {
            contact: view.contact.clone(),
            incidents: briefs,
            now,
            page: view.page,
            purpose: view.purpose.clone(),
            role: view.role.clone(),
            step: view.step,
        }
    }

    async fn keep_outcome(&self, outcome: Outcome) -> Result<(), Problem> {
        let Outcome { changes, leaves } = outcome;
        // Otherwise somebody else saw to it.
        self.write_down(changes, leaves).await.map(|_| ())
    }
}

impl Outcome {
    /// The page in its next version.
    fn put(&mut self, page: &PageRecord) {
        self.changes.push(Change::PutPage(Box::new(PageRecord { version: page.version + 1, ..page.clone() })));
    }

    fn ended(&mut self, mut page: PageRecord, state: PageState, now: Instant, why: String) {
        page.view.state = state;
        let event = if state == PageState::Failed { "page_failed" } else { "page_dropped" };
        count(&page, state.name());
        self.leaves.push(leaf(event, &Actor::Server, &page.view, now, Some(&why)));
        page.view.error = (state == PageState::Failed).then_some(why);
        self.put(&page);
    }

    fn tried(
        &mut self,
        mut page: PageRecord,
        contact: Option<&Contact>,
        sent: &Result<(), NotSent>,
        now: Instant,
    ) -> Result<(), Problem> {
        page.view.attempts += 1;
        let Err(NotSent { is_final, why }) = sent else {
            page.view.error = None;
            page.view.sent = Some(now);
            page.view.state = PageState::Sent;
            count(&page, "sent");
            self.leaves.push(leaf("page_sent", &Actor::Server, &page.view, now, None));
            self.put(&page);
            return Ok(());
        };
        tracing::warn!(page = %page.view.page, channel = page.view.channel, why, "a page was not taken");
        if !is_final && page.view.attempts < ATTEMPTS_MAX && page.view.purpose != TEST {
            page.due = Instant(now.0 + pause(page.view.attempts)?);
            page.view.error = Some(why.clone());
            count(&page, "retried");
            self.put(&page);
            return Ok(());
        }
        let view = page.view.clone();
        let (is_held, severity) = (page.is_held, page.severity);
        let next = NewPage {
            channel: page.channel + 1,
            incident: view.incident.as_ref(),
            purpose: &view.purpose,
            role: &view.role,
            severity,
            step: view.step,
        };
        self.ended(page, PageState::Failed, now, why.clone());
        let is_for_channel = [TEST, ACKNOWLEDGED, RESOLVED].iter().any(|purpose| view.purpose.starts_with(purpose));
        let next = match contact.filter(|_| !is_for_channel) {
            Some(contact) => next.to(contact, now)?,
            None => None,
        };
        if let Some(next) = next {
            let next = PageRecord { is_held, ..next };
            self.leaves.push(leaf(
                "page_queued",
                &Actor::Server,
                &next.view,
                now,
                Some("the channel before it failed"),
            ));
            self.changes.push(Change::AddPage(next.into()));
        } else if let Some(incident) = view.incident {
            // The next in line need not wait.
            self.changes.push(Change::LookNow(incident));
        }
        Ok(())
    }
}

/// Why the page need not go out any more.
fn needless(page: &PageRecord, record: &IncidentRecord) -> Option<String> {
    let (purpose, case) = (&page.view.purpose, &record.case);
    if purpose.starts_with(ACKNOWLEDGED) || purpose.starts_with(RESOLVED) {
        return None;
    }
    if let Some(other) = &case.merged_into {
        return Some(format!("the incident went into {other}"));
    }
    // That evidence was tampered with is told of a closed incident too.
    if purpose.starts_with(CONTRADICTION) {
        return None;
    }
    if let Some(closed) = &case.closed {
        return Some(format!("the incident was closed by {}", closed.stamp.by));
    }
    let answered = case.acknowledged.as_ref().filter(|stamp| stamp.time >= page.view.created);
    answered.filter(|_| purpose == ESCALATION).map(|stamp| format!("acknowledged by {}", stamp.by))
}

/// Nanoseconds until the next try.
fn pause(attempts: u32) -> Result<i128, Problem> {
    let [random] = random::<1>()?;
    let whole = (PAUSE_SECS << (attempts - 1).min(16)) * 1_000_000_000;
    // 3/4 to 5/4 of it.
    Ok(whole * 3 / 4 + whole / 2 * i128::from(random) / 255)
}

fn count(page: &PageRecord, outcome: &'static str) {
    metrics::counter!("holdfast_pages_total", "channel" => page.view.channel.clone(), "outcome" => outcome)
        .increment(1);
}
