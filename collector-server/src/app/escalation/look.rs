//! What is to be done about an incident now: whom to page, what to warn of, and when to look again.
//!
//! An incident is looked at when it was opened or changed, and when something in it is due. A look reads what is stored and
//! commits what follows from it, under the version of the incident that it saw: what was changed meanwhile is looked at
//! again. So a page is neither lost nor decided twice, whatever ends the server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use triage::Rules;
use triage::escalation::{Acknowledgment, Action, Page, Paging};
use wire::api::{EvidenceView, PageState, PageView};
use wire::assessment::{EscalationPath, Severity};
use wire::response::{StageStatus, TimerStatus};
use wire::{BundleId, Instant};

use super::super::silence::Trouble;
use super::super::{Actor, App, Problem, details};
use super::channels::KINDS;
use super::contacts::{Contact, Contacts};
use super::message::{ACKNOWLEDGED, CONTRADICTION, ESCALATION, RESOLVED, TEST};
use super::standing::Standing;
use super::{MINUTE, NewPage, Recent, leaf};
use crate::store::{Change, IncidentRecord, NewLeaf, PageRecord, Watch};

/// Incidents of one pass.
const AT_A_TIME: u32 = 100;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Roles that are paged at once, because those before them have no way to be reached.
const STEPS_MAX: usize = 64;
/// Answers that are remembered.
const ANSWERS_MAX: usize = 32;
const SECOND: i128 = 1_000_000_000;
/// What runs is looked at again after this part of what is left of it, within these bounds.
const LEFT_PARTS: i128 = 16;
const AGAIN_AFTER: std::ops::RangeInclusive<i128> = 15 * SECOND..=60 * MINUTE;
/// Who sees to notifications.
const CLOCKS_OWNER: &str = "legal";
/// Who sees to evidence that was tampered with, and to hosts that fall silent.
const EVIDENCE_OWNER: &str = "incident_commander";
/// Who sees to what containment does, and to what waits for an approval.
const CONTAINMENT_OWNER: &str = "incident_commander";
/// Bundles of an incident that are looked at for contradictions.
const BUNDLES_MAX: u32 = 500;

impl App {
    /// Looks after incidents until the server stops.
    pub async fn run_looks(self: Arc<Self>) {
        loop {
            // Only the leader: two would decide the same, and one of them in vain.
            if self.peers.leads()
                && let Err(problem) = self.look_after_incidents().await
            {
                let (message, cause) = (problem.message, problem.cause);
                tracing::error!(message, cause, "the incidents were not looked after");
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Looks at every incident that is due, once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn look_after_incidents(&self) -> Result<(), Problem> {
        let now = self.now();
        let due = self.store.incidents_to_look_at(now, AT_A_TIME).await?;
        if due.is_empty() {
            return Ok(());
        }
        let (contacts, rules) = (self.site.contacts(), self.site.rules()?);
        let (mut recent, troubled) = (self.recent_pages(now).await?, self.troubled_hosts().await?);
        let mut decided = Vec::with_capacity(due.len());
        for (record, watch) in due {
            let pages = self.store.pages_of(&record.incident).await?;
            let absorbed = self.absorbed_records(&record.incident).await?;
            let contradicted = self.contradicted(&record, &absorbed).await?;
            let alarms = self.containment_alarms(&record, &absorbed).await?;
            let mut look = Look {
                absorbed,
                alarms,
                contradicted,
                changes: Vec::new(),
                contacts: &contacts,
                leaves: Vec::new(),
                next: None,
                now,
                pages,
                queued: Vec::new(),
                recent: &recent,
                record,
                rules: &rules,
                troubled: &troubled,
                watch,
            };
            look.decide()?;
            let (changes, leaves, queued) = look.finish();
            recent.0.extend(queued);
            decided.push((changes, leaves));
        }
        // Together, because each commit with a leaf makes the alerts that come in read again what they know. If one of
        // the incidents was changed meanwhile, each goes by itself, and that one is looked at again.
        let (changes, leaves): (Vec<_>, Vec<_>) = decided.iter().cloned().unzip();
        if !self.write_down(changes.concat(), leaves.concat()).await? {
            for (changes, leaves) in decided {
                self.write_down(changes, leaves).await?;
            }
        }
        self.escalation.outbox.notify_one();
        Ok(())
    }

    /// The bundles of an incident whose signer contradicts itself, and since when.
    async fn contradicted(
        &self,
        record: &IncidentRecord,
        absorbed: &[IncidentRecord],
    ) -> Result<Vec<(BundleId, Instant)>, Problem> {
        let mut contradicted = Vec::new();
        for record in absorbed.iter().chain([record]) {
            let bundles = self.store.evidence_list(Some(&record.incident), None, BUNDLES_MAX).await?;
            let last = |view: &EvidenceView| view.contradictions.last().map(|last| (view.bundle, last.time));
            contradicted.extend(bundles.iter().filter_map(|bundle| last(&bundle.view)));
        }
        Ok(contradicted)
    }
}

/// One look at one incident.
struct Look<'a> {
    /// The incidents that it absorbed.
    absorbed: Vec<IncidentRecord>,
    /// What is to be told of containment, by its purpose, and since when.
    alarms: Vec<(String, Instant)>,
    changes: Vec<Change>,
    contacts: &'a Contacts,
    /// Bundles whose signer contradicts itself, and since when.
    contradicted: Vec<(BundleId, Instant)>,
    leaves: Vec<NewLeaf>,
    /// When the next look is due.
    next: Option<Instant>,
    now: Instant,
    /// Its pages, the newest first.
    pages: Vec<PageRecord>,
    /// Those that this look adds.
    queued: Vec<PageRecord>,
    recent: &'a Recent,
    record: IncidentRecord,
    rules: &'a Rules,
    /// Hosts that are silent, or were set back or removed.
    troubled: &'a [Trouble],
    watch: Watch,
}

impl<'a> Look<'a> {
    fn decide(&mut self) -> Result<(), Problem> {
        if self.record.case.merged_into.is_none() {
            self.see_contradictions()?;
            self.see_containment()?;
        }
        let case = &self.record.case;
        if case.closed.is_some() || case.merged_into.is_some() || self.record.assessment.auto_close {
            return self.tell_channels(RESOLVED, |_| true);
        }
        self.see_hosts()?;
        self.see_severity();
        if self.record.case.acknowledged.is_some() {
            self.tell_channels(ACKNOWLEDGED, |purpose| purpose == ESCALATION)?;
        }
        self.escalate()?;
        self.tick()
    }

    /// Evidence that was tampered with is worth a call, whatever was answered and whether the incident is closed.
    fn see_contradictions(&mut self) -> Result<(), Problem> {
        for (bundle, since) in std::mem::take(&mut self.contradicted) {
            let purpose = format!("{CONTRADICTION}{bundle}");
            if self.is_news(&purpose, since) {
                self.page_owner(EVIDENCE_OWNER, &purpose)?;
            }
        }
        Ok(())
    }

    /// What containment does to a host is for a person to know at once, and what it does not do as well.
    fn see_containment(&mut self) -> Result<(), Problem> {
        for (purpose, since) in std::mem::take(&mut self.alarms) {
            if self.is_news(&purpose, since) {
                self.page_owner(CONTAINMENT_OWNER, &purpose)?;
            }
        }
        Ok(())
    }

    /// What happens to a host while its incident is open may be the intruder's doing.
    fn see_hosts(&mut self) -> Result<(), Problem> {
        for trouble in self.troubled.iter().filter(|trouble| trouble.is_of(&self.record)).collect::<Vec<_>>() {
            for (purpose, since) in trouble.told(self.now) {
                if self.is_news(&purpose, since) {
                    self.page_owner(EVIDENCE_OWNER, &purpose)?;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> (Vec<Change>, Vec<NewLeaf>, Vec<PageRecord>) {
        let Self { mut changes, queued, record, .. } = self;
        changes.extend(queued.iter().map(|page| Change::AddPage(Box::new(page.clone()))));
        let (incident, version) = (record.incident, record.version);
        changes.push(Change::PutWatch { incident, version, watch: self.watch, due: self.next });
        (changes, self.leaves, queued)
    }

    /// A higher severity is another matter: an answer from before is no answer to it.
    fn see_severity(&mut self) {
        let (severity, before) = (self.record.assessment.severity, self.watch.severity);
        self.watch.severity = Some(severity);
        let Some(before) = before else {
            self.watch.since = Some(self.record.opened);
            return;
        };
        if severity <= before {
            return;
        }
        self.watch.since = Some(self.now);
        let Some(answer) = self.record.case.acknowledged.take() else { return };
        self.watch.answers.push(answer.time);
        let surplus = self.watch.answers.len().saturating_sub(ANSWERS_MAX);
        self.watch.answers.drain(..surplus);
        self.record.version += 1;
        self.changes.push(Change::PutIncident(Box::new(self.record.clone())));
        let told = details([("by", json!(answer.by)), ("from", json!(before)), ("to", json!(severity))]);
        self.tell("acknowledgement_lapsed", told);
    }

    /// Pages whom the rules say, with everybody left out whom the site does not have.
    fn escalate(&mut self) -> Result<(), Problem> {
        if self.contacts.contacts.is_empty() {
            return Ok(());
        }
        let whole = self.record.assessment.escalation_path.clone();
        let (staffed, vacant): (Vec<_>, Vec<_>) =
            whole.escalate_to.iter().cloned().partition(|role| self.contacts.of_role(role).next().is_some());
        for role in vacant {
            if self.is_news(&format!("vacant {role}"), self.record.opened) {
                self.tell("role_vacant", details([("role", json!(role))]));
            }
        }
        let path = EscalationPath { escalate_to: staffed, ..whole };
        let since = self.watch.since.unwrap_or(self.record.opened);
        let answered = self.record.case.acknowledged.iter().map(|stamp| stamp.time);
        let acknowledgments: Vec<Acknowledgment> =
            self.watch.answers.iter().copied().chain(answered).map(|at| Acknowledgment { at, role: None }).collect();
        let elsewhere = elsewhere(self.recent, &self.record);
        let mut pages = history(&self.pages);
        for _ in 0..STEPS_MAX {
            let paging = |elsewhere| Paging {
                severity: self.record.assessment.severity,
                since,
                pages: &pages,
                acknowledgments: &acknowledgments,
                elsewhere,
            };
            let step =
                |paging: &Paging<'_>| self.rules.escalation.next_step(&path, paging, &self.rules.calendars, self.now);
            let (mut action, mut is_held) = (step(&paging(&elsewhere)), false);
            if matches!(action, Action::Wait { .. }) {
                // Too many pages for the role: it is told in a digest, not left in silence.
                let alone = step(&paging(&[]));
                is_held = matches!(alone, Action::Page { .. });
                action = alone;
            }
            match action {
                Action::Page { role, step } => {
                    for contact in self.contacts.of_role(&role) {
                        self.page(contact, ESCALATION, &role, step, is_held)?;
                    }
                    let severity = self.record.assessment.severity;
                    pages.push(Page { at: self.now, is_delivered: true, role, severity });
                }
                Action::Wait { until } => {
                    self.look_again(until);
                    break;
                }
                Action::Done => break,
                Action::Exhausted => {
                    if self.is_news("exhausted", since) {
                        self.tell("escalation_exhausted", details([("paged", json!(pages.len()))]));
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// Warns of what is due soon, once, and pages the owner of what is overdue, once.
    fn tick(&mut self) -> Result<(), Problem> {
        let (record, absorbed) = (&self.record, &self.absorbed);
        let standing = Standing::of(record, absorbed, &self.watch, &self.pages, self.rules, self.now);
        for timer in standing.timers {
            let (name, due) = (&timer.timer, timer.due_at);
            let told = details([
                ("due_at", json!(due)),
                ("owner", json!(timer.owner)),
                ("timer", json!(name)),
                ("what", json!(timer.what)),
            ]);
            match timer.state {
                TimerStatus::Ok => self.look_before(due),
                TimerStatus::Warn => {
                    self.look_again(Instant(due.0 + 1));
                    self.raise("timer_warned", name, due, told);
                }
                TimerStatus::Overdue => {
                    if self.raise("timer_overdue", name, due, told) {
                        self.page_owner(&timer.owner, &format!("timer:{name}"))?;
                    }
                }
                TimerStatus::Met | TimerStatus::MetLate => {}
            }
        }
        for clock in standing.clocks {
            for stage in clock.stages {
                let name = format!("{}:{}", clock.clock, stage.stage);
                // What is due at once has no time of its own.
                let due = stage.due_at.unwrap_or(self.record.opened);
                let told = details([
                    ("clock", json!(clock.clock)),
                    ("due_at", json!(stage.due_at)),
                    ("regime", json!(clock.regime)),
                    ("stage", json!(stage.stage)),
                    ("to", json!(stage.to)),
                ]);
                let is_news = match stage.state {
                    StageStatus::Running => {
                        self.look_before(due);
                        false
                    }
                    StageStatus::Warned => {
                        if let Some(due) = stage.due_at {
                            self.look_again(Instant(due.0 + 1));
                        }
                        self.raise("clock_warned", &name, due, told)
                    }
                    StageStatus::Overdue => self.raise("clock_overdue", &name, due, told),
                    _ => false,
                };
                // A deadline of the law is worth a call before it has passed.
                if is_news && stage.due_at.is_some() {
                    self.page_owner(CLOCKS_OWNER, &format!("clock:{name}"))?;
                }
            }
        }
        Ok(())
    }

    /// True when this was not told yet for this time; from now on it is.
    fn is_news(&mut self, key: &str, time: Instant) -> bool {
        self.watch.told.insert(key.to_owned(), time) != Some(time)
    }

    fn raise(&mut self, event: &'static str, name: &str, due: Instant, told: Map<String, Value>) -> bool {
        let is_news = self.is_news(&format!("{event} {name}"), due);
        if is_news {
            metrics::counter!("holdfast_deadlines_total", "event" => event).increment(1);
            self.tell(event, told);
        }
        is_news
    }

    fn tell(&mut self, event: &'static str, details: Map<String, Value>) {
        self.leaves.push(NewLeaf {
            actor: Actor::Server.to_string(),
            details,
            event,
            incident: Some(self.record.incident.clone()),
            subject: format!("incident:{}", self.record.incident),
            time: self.now,
        });
    }

    fn look_again(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// Looks again while it runs, so that a warning, which stands at a part of its time, is not missed by much.
    fn look_before(&mut self, due: Instant) {
        let pause = ((due.0 - self.now.0) / LEFT_PARTS).clamp(*AGAIN_AFTER.start(), *AGAIN_AFTER.end());
        self.look_again(Instant(self.now.0 + pause).min(Instant(due.0 + 1)));
    }

    fn page_owner(&mut self, owner: &str, purpose: &str) -> Result<(), Problem> {
        let title = owner.replace('_', " ");
        match self.owner(owner, &title) {
            Some(contact) => self.page(contact, purpose, &title, 0, false),
            None => Ok(()),
        }
    }

    /// Whoever has the role in this incident, else stands for it in the site, else the first of the path that can be told.
    fn owner(&self, owner: &str, title: &str) -> Option<&'a Contact> {
        let contacts = self.contacts;
        let person = self.record.case.roles.get(owner).and_then(|person| contacts.get(person));
        let path = self.record.assessment.escalation_path.escalate_to.iter().map(String::as_str);
        let mut roles = [owner, title].into_iter().chain(path);
        person.or_else(|| roles.find_map(|role| contacts.contacts.iter().find(|contact| contact.stands_for(role))))
    }

    fn page(&mut self, contact: &Contact, purpose: &str, role: &str, step: u32, is_held: bool) -> Result<(), Problem> {
        let (incident, severity) = (Some(&self.record.incident), Some(self.record.assessment.severity));
        let new = NewPage { channel: 0, incident, purpose, role, severity, step };
        let Some(page) = new.to(contact, self.now)? else { return Ok(()) };
        let limits = self.contacts.limits;
        let is_held = is_held || self.recent.is_too_much(&contact.name, limits);
        let due = if is_held { self.recent.digest_due(&contact.name, limits, self.now) } else { self.now };
        self.queue(PageRecord { due, is_held, ..page });
        Ok(())
    }

    fn queue(&mut self, page: PageRecord) {
        self.leaves.push(leaf("page_queued", &Actor::Server, &page.view, self.now, None));
        self.queued.push(page);
    }

    /// Tells the channels that hear of it that what they were sent is answered or over, once for each purpose.
    fn tell_channels(&mut self, what: &str, is_meant: fn(&str) -> bool) -> Result<(), Problem> {
        let hears = |page: &PageView| KINDS.iter().any(|kind| kind.name == page.channel && kind.hears_the_end);
        let is_end = |purpose: &str| purpose.starts_with(ACKNOWLEDGED) || purpose.starts_with(RESOLVED);
        let mut seen = BTreeSet::new();
        // The newest first: what was told after the last page of its purpose needs no telling again.
        for page in self.pages.clone() {
            let view = &page.view;
            let about = view.purpose.strip_prefix(what).unwrap_or(&view.purpose);
            let key = (view.contact.clone(), page.channel, about.to_owned());
            if view.purpose.starts_with(what) {
                seen.insert(key);
            } else if hears(view)
                && view.state == PageState::Sent
                && !is_end(&view.purpose)
                && view.purpose != TEST
                && is_meant(&view.purpose)
                && seen.insert(key)
            {
                let purpose = format!("{what}{about}");
                let (incident, severity) = (Some(&self.record.incident), page.severity);
                let (role, step) = (view.role.as_str(), view.step);
                let new = NewPage { channel: page.channel, incident, purpose: &purpose, role, severity, step };
                let contact = self.contacts.get(&view.contact);
                if let Some(page) = contact.map(|contact| new.to(contact, self.now)).transpose()?.flatten() {
                    self.queue(page);
                }
            }
        }
        Ok(())
    }
}

/// The steps that were taken, the oldest first.
fn history(pages: &[PageRecord]) -> Vec<Page> {
    let mut steps: Vec<(u32, Page)> = Vec::new();
    for page in pages.iter().rev().filter(|page| page.view.purpose == ESCALATION) {
        let (at, is_delivered) = (page.view.created, page.view.state != PageState::Failed);
        // Several contacts of one role are one step, and so are the channels of each.
        let of_step = steps.iter_mut().rev().find(|(step, known)| {
            *step == page.view.step && known.role == page.view.role && (page.channel > 0 || known.at == at)
        });
        if let Some((_, known)) = of_step {
            known.is_delivered |= is_delivered;
        } else {
            steps.push((page.view.step, step_of(page, is_delivered)));
        }
    }
    steps.into_iter().map(|(_, page)| page).collect()
}

/// The pages of other incidents.
fn elsewhere(recent: &Recent, record: &IncidentRecord) -> Vec<Page> {
    let others = recent.0.iter().filter(|page| {
        page.view.purpose == ESCALATION && page.channel == 0 && page.view.incident.as_ref() != Some(&record.incident)
    });
    others.map(|page| step_of(page, true)).collect()
}

fn step_of(page: &PageRecord, is_delivered: bool) -> Page {
    let severity = page.severity.unwrap_or(Severity::Sev4);
    Page { at: page.view.created, is_delivered, role: page.view.role.clone(), severity }
}
