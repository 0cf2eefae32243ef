//! Escalation that happens: people are told of an incident, in the order of its path, until somebody answers.
//!
//! A page is a row of the store, queued in one commit with its custody leaf, and delivered by [`outbox`] until the other
//! side took it: at least once, also across a crash; the page's id tells who gets it twice. Whom to page when is decided
//! from what is stored (`look.rs`), so that nothing is lost or said twice by a restart.

pub mod channels;
pub mod contacts;
mod look;
mod message;
mod outbox;
pub mod outgoing;
mod secret;
pub mod standing;

use std::collections::BTreeSet;

use serde_json::json;
use tokio::sync::Notify;
use triage::Rules;
use wire::api::{EscalationStatus, EscalationTest, EscalationTestReply, PageState, PageView};
use wire::assessment::Severity;
use wire::{IncidentId, Instant, PageId};

use super::{Actor, App, Problem, ProblemKind, details, random};
use crate::store::{Change, NewLeaf, PageRecord};
use contacts::{Contact, Contacts, Limits};

/// Pages that the status lists.
const STATUS_PAGES: u32 = 100;
/// Pages within an hour that are looked at to find out whether there are too many.
const RECENT_MAX: u32 = 1000;
const MINUTE: i128 = 60_000_000_000;
const HOUR: i128 = 60 * MINUTE;

/// Wakes those who look after incidents and pages: something is to be done.
#[derive(Debug, Default)]
pub struct Escalation {
    outbox: Notify,
}

/// A page that is to be queued.
struct NewPage<'a> {
    channel: u32,
    incident: Option<&'a IncidentId>,
    purpose: &'a str,
    role: &'a str,
    severity: Option<Severity>,
    step: u32,
}

impl NewPage<'_> {
    /// The page to this contact, due now. `None` when the contact has no such channel.
    fn to(&self, contact: &Contact, now: Instant) -> Result<Option<PageRecord>, Problem> {
        let index = usize::try_from(self.channel).unwrap_or(usize::MAX);
        let Some((kind, _)) = contact.channels.get(index) else { return Ok(None) };
        let unix_ms = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
        Ok(Some(PageRecord {
            channel: self.channel,
            due: now,
            is_held: false,
            severity: self.severity,
            version: 1,
            view: PageView {
                attempts: 0,
                channel: kind.name.to_owned(),
                contact: contact.name.clone(),
                created: now,
                error: None,
                incident: self.incident.cloned(),
                page: PageId::new(unix_ms, random()?),
                purpose: self.purpose.to_owned(),
                role: self.role.to_owned(),
                sent: None,
                state: PageState::Queued,
                step: self.step,
            },
        }))
    }
}

/// The leaf that says what became of a page.
fn leaf(event: &'static str, by: &Actor, page: &PageView, now: Instant, why: Option<&str>) -> NewLeaf {
    NewLeaf {
        actor: by.to_string(),
        details: details([
            ("attempts", json!(page.attempts)),
            ("channel", json!(page.channel)),
            ("contact", json!(page.contact)),
            ("purpose", json!(page.purpose)),
            ("role", json!(page.role)),
            ("step", json!(page.step)),
            ("why", json!(why)),
        ]),
        event,
        incident: page.incident.clone(),
        subject: format!("page:{}", page.page),
        time: now,
    }
}

/// The pages of the last hour: how many one more would be too many.
struct Recent(Vec<PageRecord>);

impl Recent {
    /// True when one more to this contact is to wait for a digest. A digest counts as nothing: it comes rarely enough.
    fn is_too_much(&self, contact: &str, limits: Limits) -> bool {
        let sent = || self.0.iter().filter(|page| !page.is_held);
        let to_contact = sent().filter(|page| page.view.contact == contact).count();
        to_contact >= usize::try_from(limits.pages_per_contact_per_hour).unwrap_or(usize::MAX)
            || sent().count() >= usize::try_from(limits.pages_per_hour).unwrap_or(usize::MAX)
    }

    /// When the contact gets the next digest.
    fn digest_due(&self, contact: &str, limits: Limits, now: Instant) -> Instant {
        let held = self.0.iter().filter(|page| page.is_held && page.view.contact == contact);
        let last = held.filter_map(|page| page.view.sent).max();
        last.map_or(now, |last| now.max(Instant(last.0 + i128::from(limits.digest_minutes) * MINUTE)))
    }
}

impl App {
    /// Who can be told of incidents, and the last pages.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn escalation_status(&self) -> Result<EscalationStatus, Problem> {
        let pages = self.store.pages_since(Instant(0), STATUS_PAGES).await?;
        let (contacts, rules) = (self.site.contacts(), self.site.rules()?);
        Ok(EscalationStatus {
            contacts: contacts.contacts.iter().map(Contact::view).collect(),
            pages: pages.into_iter().map(|page| page.view).collect(),
            vacant: vacant(&contacts, &rules),
        })
    }

    /// Queues a page over each channel of a contact, to try them out. Each is tried once.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`], [`ProblemKind::TooMany`].
    pub async fn test_escalation(&self, by: &Actor, asked: &EscalationTest) -> Result<EscalationTestReply, Problem> {
        let contacts = self.site.contacts();
        let contact = contacts.get(&asked.contact).ok_or_else(|| {
            let known: Vec<&str> = contacts.contacts.iter().map(|contact| contact.name.as_str()).collect();
            let hint = if known.is_empty() {
                "the site names nobody: see packaging/site/contacts.yaml".to_owned()
            } else {
                format!("known: {}", known.join(", "))
            };
            Problem::new(ProblemKind::NotFound, format!("the site has no contact {:?}", asked.contact)).hint(hint)
        })?;
        let now = self.now();
        if self.recent_pages(now).await?.is_too_much(&contact.name, contacts.limits) {
            let message = format!("{:?} had too many pages within the last hour", contact.name);
            return Err(Problem::new(ProblemKind::TooMany, message).hint("try again later"));
        }
        let role = contact.roles.first().map_or("", String::as_str);
        let (mut pages, mut changes, mut leaves) = (Vec::new(), Vec::new(), Vec::new());
        for channel in 0.. {
            let (incident, purpose, severity, step) = (None, message::TEST, None, 0);
            let Some(page) = NewPage { channel, incident, purpose, role, severity, step }.to(contact, now)? else {
                break;
            };
            leaves.push(leaf("page_queued", by, &page.view, now, None));
            pages.push(page.view.clone());
            changes.push(Change::AddPage(page.into()));
        }
        self.store.commit(changes, leaves).await?;
        self.escalation.outbox.notify_one();
        Ok(EscalationTestReply { pages })
    }

    async fn recent_pages(&self, now: Instant) -> Result<Recent, Problem> {
        Ok(Recent(self.store.pages_since(Instant(now.0 - HOUR), RECENT_MAX).await?))
    }
}

/// The roles of all escalation paths for which the site names nobody.
pub fn vacant(contacts: &Contacts, rules: &Rules) -> Vec<String> {
    let paths = rules.escalation.severities.iter().flat_map(|at| at.escalate_to.iter().chain(&at.data_at_risk));
    let added = rules.escalation.additions.iter().flat_map(|addition| &addition.add);
    let roles: BTreeSet<&String> = paths.chain(added).chain(&rules.escalation.data_adds).collect();
    roles.into_iter().filter(|role| contacts.of_role(role).next().is_none()).cloned().collect()
}
