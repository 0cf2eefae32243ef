//! What people do to incidents: each [`Action`] is one commit of a changed case and the leaf of custody that says who did
//! it, when and why. The texts stand in the leaf: the timeline is the custody log of the incident.
//!
//! What an action does to a case is a pure function, one file for each family. Actions wait for each other and for alerts,
//! so that within one server none conflicts; what another server changed meanwhile is read again.

mod answer;
mod drafts;
pub(super) mod judge;
pub(super) mod membership;
mod notification;
mod texts;
mod timeline;
mod verdict;
mod work;

use serde_json::{Map, Value};
use triage::{Alert, Context, Rules};
use wire::api::LiveEvent;
use wire::assessment::Assessment;
use wire::case::{Action, ActionReply, Case, Stamp};
use wire::{IncidentId, Instant};

use super::marks::Known;
use super::{Actor, App, Problem, ProblemKind};
use crate::store::{Change, IncidentRecord, NewLeaf, StoreError};

pub use texts::{line, said};

/// What people decided about one incident, as JSON: it is read and written with each alert.
const CASE_BYTES_MAX: usize = 1 << 20;
/// Tries of one action, each on what the one before it ran into: as many as for alerts, because two servers on one store
/// may lose to each other many times in a row.
const TRIES_MAX: u32 = 64;

/// What an action is done to.
struct Scene<'a> {
    by: String,
    now: Instant,
    /// What people have set about hosts.
    known: &'a Known,
    record: &'a IncidentRecord,
    rules: &'a Rules,
}

impl Scene<'_> {
    fn context(&self) -> Context<'_> {
        self.known.context(self.rules)
    }

    fn stamp(&self, reason: String) -> Stamp {
        Stamp { by: self.by.clone(), reason, time: self.now }
    }
}

/// What an action came to.
struct Done {
    details: Map<String, Value>,
    /// The event of its leaf; none when everything is as it was.
    event: Option<&'static str>,
    warnings: Vec<String>,
}

impl Done {
    fn new(event: &'static str, details: Map<String, Value>) -> Self {
        Self { details, event: Some(event), warnings: Vec::new() }
    }

    /// Nothing changed; where it is not for what was asked, why.
    fn nothing(warning: Option<String>) -> Self {
        Self { details: Map::new(), event: None, warnings: warning.into_iter().collect() }
    }
}

impl App {
    /// Does it.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Input`] for a text that is missing, too long or hostile, and for names that
    /// the rules do not have; [`ProblemKind::Conflict`] for what cannot be done to the incident where it stands;
    /// [`ProblemKind::Full`] when its case holds as much as it may.
    pub async fn act(&self, by: &Actor, incident: &IncidentId, action: Action) -> Result<ActionReply, Problem> {
        let _turn = self.alerts.wait().await;
        for _ in 0..TRIES_MAX {
            let record = self.incident_record(incident).await?;
            if let Some(other) = record.case.merged_into.as_ref().filter(|_| !matches!(action, Action::Undo { .. })) {
                return Err(Problem::new(ProblemKind::Conflict, format!("{incident} was merged into {other}"))
                    .hint(format!("do it to {other}, or undo the merge")));
            }
            match self.try_to(by, &record, &action).await {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => tracing::debug!(%incident, "an action conflicts with what another server did"),
                Err(problem) => return Err(problem),
            }
        }
        Err(Problem::new(ProblemKind::Unavailable, format!("{incident} changes all the time")).hint("try it again"))
    }

    /// One try; nothing when the incident was changed meanwhile.
    async fn try_to(
        &self,
        by: &Actor,
        record: &IncidentRecord,
        action: &Action,
    ) -> Result<Option<ActionReply>, Problem> {
        let (rules, known) = (self.site.rules()?, self.known_of_hosts().await?);
        let scene = Scene { by: by.to_string(), now: self.now(), known: &known, record, rules: &rules };
        let edited = match action {
            Action::Merge { other, reason } => Some(self.merge(&scene, other, reason).await?),
            Action::Move { alerts, reason, to } => Some(self.move_alerts(&scene, alerts, to, reason).await?),
            Action::Split { alerts, reason } => Some(self.split(&scene, alerts, reason).await?),
            Action::Undo { edit, reason } => Some(self.undo(&scene, *edit, reason).await?),
            _ => None,
        };
        if let Some(membership::Edited { changes, leaves, reply }) = edited {
            return Ok(self.write_down(changes, leaves).await?.then_some(reply));
        }
        let mut case = record.case.clone();
        let mut assessment = None;
        let done = if let Action::Override { incident_type, reason, severity } = action {
            let said = (incident_type.as_deref(), *severity);
            let alerts = self.alerts_read(&record.incident).await?;
            let (alerts, context) = (alerts.iter().collect::<Vec<_>>(), scene.context());
            let by_rules = judge::judge_anew(&context, &Case::default(), &alerts);
            let mut done = verdict::override_rules(&mut case, &scene, &by_rules, said, reason)?;
            let after = judge::judge_anew(&context, &case, &alerts);
            if severity.is_some_and(|asked| asked != after.severity) {
                done.warnings.push(format!("the rules make it {} all the same", after.severity));
            }
            assessment = Some(after);
            done
        } else {
            apply(&mut case, &scene, action)?
        };
        let mut reply = ActionReply {
            created: None,
            edit: None,
            incident: record.incident.clone(),
            severity: record.assessment.severity,
            warnings: done.warnings,
        };
        let Some(event) = done.event else { return Ok(Some(reply)) };
        if matches!(by, Actor::User { .. }) {
            case.worked_on.get_or_insert(scene.now);
        }
        check_room(&case)?;
        let after = changed(record, case, assessment, scene.now);
        reply.severity = after.assessment.severity;
        let leaf = NewLeaf {
            actor: scene.by.clone(),
            details: done.details,
            event,
            incident: Some(record.incident.clone()),
            subject: format!("incident:{}", record.incident),
            time: scene.now,
        };
        let kept = self.write_down(vec![Change::PutIncident(Box::new(after))], vec![leaf]).await?;
        Ok(kept.then_some(reply))
    }

    /// Commits, and tells those who follow the incidents; false when what the changes assumed no longer holds.
    pub(super) async fn write_down(&self, changes: Vec<Change>, leaves: Vec<NewLeaf>) -> Result<bool, Problem> {
        let told: Vec<_> = leaves
            .iter()
            .filter_map(|leaf| {
                let event =
                    LiveEvent::Case { actor: leaf.actor.clone(), event: leaf.event.to_owned(), time: leaf.time };
                Some((leaf.incident.clone()?, event))
            })
            .collect();
        match self.store.commit(changes, leaves).await {
            Ok(_) => {}
            Err(StoreError::Conflict(what)) => {
                tracing::debug!(what, "an action conflicts");
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        for (incident, event) in told {
            self.live.tell(&incident, event);
        }
        Ok(true)
    }

    async fn alerts_read(&self, incident: &IncidentId) -> Result<Vec<Alert>, Problem> {
        let records = self.store.alerts_of(incident).await?;
        records.into_iter().map(|record| super::alerts::read(record.normalised)).collect()
    }
}

/// What it does to the case. Changes of membership and overrides, which need the alerts, are elsewhere.
fn apply(case: &mut Case, scene: &Scene<'_>, action: &Action) -> Result<Done, Problem> {
    match action {
        Action::Acknowledge {} => Ok(answer::acknowledge(case, scene)),
        Action::Anchor { anchor, at, reason } => notification::anchor(case, scene, *anchor, (*at, reason)),
        Action::Assign { person, role } => work::assign(case, role, person),
        Action::Close { disposition, reason } => verdict::close(case, scene, *disposition, reason),
        Action::Decide { applies, clock, reason } => notification::decide(case, scene, clock, (*applies, reason)),
        Action::Note { text, update } => answer::note(case, scene, text, *update),
        Action::Phase { phase, reason } => work::phase(case, scene, *phase, reason),
        Action::Reopen { reason } => verdict::reopen(case, reason),
        Action::Step { note, outcome, step } => work::step(case, scene, step, (*outcome, note)),
        Action::Submit { at, clock, receipt, stage } => {
            notification::submit(case, scene, (clock, stage), (*at, receipt))
        }
        Action::Merge { .. }
        | Action::Move { .. }
        | Action::Override { .. }
        | Action::Split { .. }
        | Action::Undo { .. } => {
            Err(Problem::new(ProblemKind::Internal, "this action is not one about the case alone"))
        }
    }
}

fn changed(record: &IncidentRecord, case: Case, assessment: Option<Assessment>, now: Instant) -> IncidentRecord {
    IncidentRecord {
        assessment: assessment.unwrap_or_else(|| record.assessment.clone()),
        case,
        updated: record.updated.max(now),
        version: record.version + 1,
        ..record.clone()
    }
}

/// The taxonomy's name of the type that somebody means.
pub fn known_type<'a>(rules: &'a Rules, word: &str) -> Result<&'a str, Problem> {
    let taxonomy = &rules.taxonomy;
    if let Some(meant) = taxonomy.meant(word) {
        return Ok(&meant.name);
    }
    let names = || taxonomy.types.iter().map(|one| one.name.as_str());
    let hint = wire::suggest::nearest(word, names()).map_or_else(
        || format!("one of {}", names().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean {near}?"),
    );
    let shown: String = word.chars().take(80).collect();
    Err(Problem::new(ProblemKind::Input, format!("{shown:?} is no type of incident")).hint(hint))
}

fn full(what: &str, max: usize) -> Problem {
    Problem::new(ProblemKind::Full, format!("the incident has {max} {what} already"))
        .hint("write it into a note: of notes there may be any number")
}

fn check_room(case: &Case) -> Result<(), Problem> {
    let bytes = serde_json::to_string(case).map_or(usize::MAX, |json| json.len());
    if bytes <= CASE_BYTES_MAX {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::Full, format!("the incident's case would have more than {CASE_BYTES_MAX} bytes"))
        .hint("write it into a note: of notes there may be any number"))
}
