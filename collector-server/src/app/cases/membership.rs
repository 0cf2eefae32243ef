//! Which alerts belong to which incident: merge, split, move, and taking each back.
//!
//! Alerts never change and people's cases are never mixed: a merge moves the alerts and says so in the absorbed case, and
//! that is all that an undo has to take back. What both cases say about clocks is read together when it is shown.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};
use triage::Alert;
use wire::api::IncidentView;
use wire::assessment::Assessment;
use wire::case::{ActionReply, Case, Edit, EditKind, MOVED_MAX, Stamp};
use wire::{AlertId, EditId, IncidentId};

use super::super::{App, Problem, ProblemKind, alerts, details, random};
use super::judge::{ASSESSED_MAX, judge, judge_anew, outranked};
use super::texts::said;
use super::{Scene, changed};
use crate::store::{AlertRecord, Change, IncidentRecord, NewLeaf};

/// Alerts that one merge moves: their ids stand in the edit.
pub const MERGED_MAX: u32 = 10_000;
/// Other incidents that a case names.
const RELATED_MAX: usize = 50;
/// Edits that an incident's view lists.
const EDITS_MAX: u32 = 50;
/// Alerts that a view or a leaf names of one edit.
const NAMED_MAX: usize = 1000;

/// A change of membership: what is written, and what is answered.
pub struct Edited {
    pub changes: Vec<Change>,
    pub leaves: Vec<NewLeaf>,
    pub reply: ActionReply,
}

/// Says in a case that another incident may have to do with it; false when it says so already, or names enough of them.
pub fn related(case: &mut Case, other: IncidentId, reason: String) -> bool {
    if case.related.contains_key(&other) || case.related.len() >= RELATED_MAX {
        return false;
    }
    case.related.insert(other, reason);
    true
}

/// What custody is told of a merge, on both sides.
pub fn merged_leaves(edit: &Edit) -> Vec<NewLeaf> {
    leaves(edit, "incidents_merged", &edit.stamp)
}

fn leaves(edit: &Edit, event: &'static str, stamp: &Stamp) -> Vec<NewLeaf> {
    let named: Vec<&AlertId> = edit.alerts.iter().take(NAMED_MAX).collect();
    let leaf = |incident: &IncidentId| NewLeaf {
        actor: stamp.by.clone(),
        details: details([
            ("alerts", json!(named)),
            ("count", json!(edit.alerts.len())),
            ("edit", json!(edit.edit)),
            ("from", json!(edit.from)),
            ("kind", json!(edit.kind)),
            ("reason", json!(stamp.reason)),
            ("to", json!(edit.to)),
        ]),
        event,
        incident: Some(incident.clone()),
        subject: format!("edit:{}", edit.edit),
        time: stamp.time,
    };
    vec![leaf(&edit.from), leaf(&edit.to)]
}

impl App {
    /// Takes over all alerts of another incident.
    pub(super) async fn merge(&self, scene: &Scene<'_>, other: &IncidentId, reason: &str) -> Result<Edited, Problem> {
        let reason = said("the reason", reason)?;
        let into = scene.record;
        let from = self.other_side(scene, other).await?;
        if let Some(closing) = &into.case.closed {
            return Err(conflict(format!("{} was closed as {}", into.incident, closing.disposition.name()))
                .hint("reopen it first, or merge it into the other one"));
        }
        let ids = self.store.alert_ids(&from.incident, MERGED_MAX + 1).await?;
        if ids.len() > MERGED_MAX as usize {
            return Err(conflict(format!("{other} has more than {MERGED_MAX} alerts"))
                .hint("merge it the other way round, or move some of them first"));
        }
        let edit = scene.edit(EditKind::Merge, (&from.incident, &into.incident), ids, reason)?;
        let mut case = from.case.clone();
        case.merged_into = Some(into.incident.clone());
        let absorbed = changed(&from, case, None, scene.now);
        let mut edited = Edited::of(scene, &edit, leaves(&edit, "incidents_merged", &edit.stamp));
        let worse = if from.assessment.severity > into.assessment.severity { &from } else { into };
        self.reassess_with(scene, (into, &worse.assessment), &edit.alerts, &mut edited).await?;
        edited.changes.push(Change::PutIncident(Box::new(absorbed)));
        Ok(edited.with_edit(edit))
    }

    /// Puts some of its alerts into an incident of their own.
    pub(super) async fn split(&self, scene: &Scene<'_>, alerts: &[AlertId], reason: &str) -> Result<Edited, Problem> {
        let reason = said("the reason", reason)?;
        let ids = self.some_of(scene.record, alerts).await?;
        let year = alerts::year(scene.now);
        let number = self.store.last_incident_number(year).await?.saturating_add(1);
        let id = alerts::numbered(year, number)?;
        let edit = scene.edit(EditKind::Split, (&scene.record.incident, &id), ids, reason)?;
        let mut edited = Edited::of(scene, &edit, leaves(&edit, "alerts_split", &edit.stamp));
        let (apart, first) = self.named(&edit.alerts).await?;
        let fresh = IncidentRecord {
            assessment: judge_anew(&scene.context(), &Case::default(), &refs(&apart)),
            case: Case::default(),
            incident: id.clone(),
            opened: first.received,
            title: first.title,
            updated: scene.now,
            version: 1,
        };
        let opened = json!({ "incident_type": fresh.assessment.incident_type, "severity": fresh.assessment.severity });
        edited.leaves.push(NewLeaf {
            actor: scene.by.clone(),
            details: opened.as_object().cloned().unwrap_or_default(),
            event: "incident_opened",
            incident: Some(id.clone()),
            subject: format!("incident:{id}"),
            time: scene.now,
        });
        edited.reply.created = Some(id.clone());
        edited.changes.push(Change::AddIncident(Box::new(fresh)));
        let gone = edit.alerts.iter().copied().collect();
        self.reassess_without(scene, scene.record, &gone, &mut edited).await?;
        Ok(edited.with_edit(edit))
    }

    /// Puts some of its alerts into another incident.
    pub(super) async fn move_alerts(
        &self,
        scene: &Scene<'_>,
        alerts: &[AlertId],
        to: &IncidentId,
        reason: &str,
    ) -> Result<Edited, Problem> {
        let reason = said("the reason", reason)?;
        let into = self.other_side(scene, to).await?;
        let ids = self.some_of(scene.record, alerts).await?;
        let edit = scene.edit(EditKind::Move, (&scene.record.incident, to), ids, reason)?;
        let mut edited = Edited::of(scene, &edit, leaves(&edit, "alerts_moved", &edit.stamp));
        let gone = edit.alerts.iter().copied().collect();
        self.reassess_without(scene, scene.record, &gone, &mut edited).await?;
        self.reassess_with(scene, (&into, &into.assessment), &edit.alerts, &mut edited).await?;
        Ok(edited.with_edit(edit))
    }

    /// Takes a change back: every alert is still where it was put.
    pub(super) async fn undo(&self, scene: &Scene<'_>, edit: EditId, reason: &str) -> Result<Edited, Problem> {
        let reason = said("the reason", reason)?;
        let asked = &scene.record.incident;
        let there = self.store.edit(edit).await?.filter(|edit| edit.from == *asked || edit.to == *asked);
        let edit = there.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("{asked} has no edit {edit}"))
                .hint(format!("its edits are in: holdfast incident show {asked}"))
        })?;
        if let Some(stamp) = &edit.undone {
            return Err(conflict(format!("it was undone by {} at {}", stamp.by, stamp.time)));
        }
        if let Some(alert) = self.store.alert_elsewhere(&edit.alerts, &edit.to).await? {
            return Err(conflict(format!("alert {alert} is not in {} any more", edit.to))
                .hint("undo what moved it from there first"));
        }
        let (mut from, to) = (self.incident_record(&edit.from).await?, self.incident_record(&edit.to).await?);
        let is_merge = edit.kind == EditKind::Merge;
        let wanted = is_merge.then_some(&to.incident);
        if from.case.merged_into.as_ref() != wanted || to.case.merged_into.is_some() {
            return Err(conflict(format!("{} or {} was merged meanwhile", from.incident, to.incident))
                .hint("undo that merge first"));
        }
        let stamp = scene.stamp(reason);
        let mut edited = Edited::of(scene, &edit, leaves(&edit, "edit_undone", &stamp));
        edited.changes = vec![
            Change::MoveAlerts { alerts: edit.alerts.clone(), from: to.incident.clone(), to: from.incident.clone() },
            Change::UndoEdit(edit.edit, stamp),
        ];
        let gone: HashSet<AlertId> = edit.alerts.iter().copied().collect();
        let is_empty = self.store.counts(&to.incident).await?.0 == edit.alerts.len() as u64;
        if is_empty && edit.kind == EditKind::Split {
            // Nothing is left of what the split had made.
            let mut case = to.case.clone();
            case.merged_into = Some(from.incident.clone());
            edited.changes.push(Change::PutIncident(Box::new(changed(&to, case, None, scene.now))));
        } else {
            self.reassess_without(scene, &to, &gone, &mut edited).await?;
        }
        from.case.merged_into = None;
        self.reassess_with(scene, (&from, &from.assessment), &edit.alerts, &mut edited).await?;
        Ok(edited)
    }

    /// The other incident of a merge or a move.
    async fn other_side(&self, scene: &Scene<'_>, other: &IncidentId) -> Result<IncidentRecord, Problem> {
        if *other == scene.record.incident {
            return Err(
                Problem::new(ProblemKind::Input, format!("{other} is the incident itself")).hint("name another one")
            );
        }
        let record = self.incident_record(other).await?;
        match &record.case.merged_into {
            None => Ok(record),
            Some(into) => Err(conflict(format!("{other} was merged into {into}")).hint(format!("name {into}"))),
        }
    }

    /// Alerts of an incident that somebody names: each once, and not all.
    async fn some_of(&self, record: &IncidentRecord, alerts: &[AlertId]) -> Result<Vec<AlertId>, Problem> {
        let ids: BTreeSet<AlertId> = alerts.iter().copied().collect();
        if ids.is_empty() || ids.len() > MOVED_MAX {
            let message = format!("{} alerts are named: 1 to {MOVED_MAX} go at once", ids.len());
            return Err(Problem::new(ProblemKind::Input, message)
                .hint(format!("the alerts are in: holdfast incident show {}", record.incident)));
        }
        let ids: Vec<AlertId> = ids.into_iter().collect();
        if let Some(alert) = self.store.alert_elsewhere(&ids, &record.incident).await? {
            return Err(conflict(format!("alert {alert} is not in {}", record.incident))
                .hint(format!("its alerts are in: holdfast incident show {}", record.incident)));
        }
        if self.store.counts(&record.incident).await?.0 == ids.len() as u64 {
            return Err(conflict(format!("nothing would be left of {}", record.incident))
                .hint("to put all of it into another incident, merge it there"));
        }
        Ok(ids)
    }

    /// Alerts by their ids, and the record of the oldest.
    async fn named(&self, ids: &[AlertId]) -> Result<(Vec<Alert>, AlertRecord), Problem> {
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            records.extend(self.store.alert(*id).await?);
        }
        records.sort_by_key(|record| (record.received, record.alert));
        let first = records.first().cloned().ok_or_else(|| conflict("an alert is not there".to_owned()))?;
        Ok((records.into_iter().map(|record| alerts::read(record.normalised)).collect::<Result<_, _>>()?, first))
    }

    /// Assesses the side from which these alerts go.
    async fn reassess_without(
        &self,
        scene: &Scene<'_>,
        record: &IncidentRecord,
        gone: &HashSet<AlertId>,
        edited: &mut Edited,
    ) -> Result<(), Problem> {
        let mut records = self.store.alerts_of(&record.incident).await?;
        records.retain(|record| !gone.contains(&record.alert));
        let count = self.store.counts(&record.incident).await?.0.saturating_sub(gone.len() as u64);
        let alerts =
            records.into_iter().map(|record| alerts::read(record.normalised)).collect::<Result<Vec<_>, _>>()?;
        edited.assessed(scene, record, (&record.assessment, &alerts, count));
        Ok(())
    }

    /// Assesses the side to which these alerts come; of more than it is assessed over, `before` is not taken back.
    async fn reassess_with(
        &self,
        scene: &Scene<'_>,
        (record, before): (&IncidentRecord, &Assessment),
        come: &[AlertId],
        edited: &mut Edited,
    ) -> Result<(), Problem> {
        let mut alerts = self.alerts_read(&record.incident).await?;
        for id in come.iter().take(ASSESSED_MAX) {
            if let Some(record) = self.store.alert(*id).await? {
                alerts.push(alerts::read(record.normalised)?);
            }
        }
        let count = self.store.counts(&record.incident).await?.0 + come.len() as u64;
        edited.assessed(scene, record, (before, &alerts, count));
        Ok(())
    }

    /// What the view of an incident says about its membership: its edits, and why its alerts stand here.
    pub(in super::super) async fn tell_membership(&self, view: &mut IncidentView) -> Result<(), Problem> {
        let incident = &view.summary.incident;
        view.edits = self.store.edits_of(incident, EDITS_MAX).await?;
        // The newest edit that brought an alert here says why it stands here.
        for alert in &mut view.alerts {
            let brought =
                |edit: &&Edit| edit.undone.is_none() && edit.to == *incident && edit.alerts.contains(&alert.alert);
            if let Some(edit) = view.edits.iter().find(brought) {
                let moved = format!("from {} by {}: {}", edit.from, edit.stamp.by, edit.stamp.reason);
                alert.correlated = Some(match alert.correlated.take() {
                    Some(why) => format!("{why}; {moved}"),
                    None => moved,
                });
            }
        }
        for edit in &mut view.edits {
            edit.alerts.truncate(NAMED_MAX);
        }
        Ok(())
    }
}

impl Scene<'_> {
    fn edit(
        &self,
        kind: EditKind,
        (from, to): (&IncidentId, &IncidentId),
        alerts: Vec<AlertId>,
        reason: String,
    ) -> Result<Edit, Problem> {
        let (from, to) = (from.clone(), to.clone());
        let edit = EditId::new(alerts::unix_ms(self.now), random()?);
        Ok(Edit { alerts, edit, from, kind, stamp: self.stamp(reason), to, undone: None })
    }
}

impl Edited {
    fn of(scene: &Scene<'_>, edit: &Edit, leaves: Vec<NewLeaf>) -> Self {
        let record = scene.record;
        let reply = ActionReply {
            created: None,
            edit: Some(edit.edit),
            incident: record.incident.clone(),
            severity: record.assessment.severity,
            warnings: Vec::new(),
        };
        Self { changes: Vec::new(), leaves, reply }
    }

    /// The alerts move when both incidents are there.
    fn with_edit(mut self, edit: Edit) -> Self {
        let Edit { alerts, from, to, .. } = edit.clone();
        self.changes.extend([Change::MoveAlerts { alerts, from, to }, Change::AddEdit(Box::new(edit))]);
        self
    }

    /// One of the incidents, over the alerts that it has now.
    fn assessed(
        &mut self,
        scene: &Scene<'_>,
        record: &IncidentRecord,
        (before, alerts, count): (&Assessment, &[Alert], u64),
    ) {
        let (context, count) = (scene.context(), usize::try_from(count).unwrap_or(usize::MAX));
        let assessment = judge(&context, &record.case, before, (&refs(alerts), count));
        if let Some(details) = outranked(&record.case, record.assessment.severity, &assessment) {
            let warning = format!("{}: what was set by hand is outranked by new triggers", record.incident);
            self.reply.warnings.push(warning);
            self.tell(scene, record, "override_outranked", Value::Object(details));
        }
        if assessment.severity != record.assessment.severity {
            let details = json!({ "from": record.assessment.severity, "to": assessment.severity });
            self.tell(scene, record, "severity_changed", details);
        }
        let after = changed(record, record.case.clone(), Some(assessment), scene.now);
        if self.reply.incident == after.incident {
            self.reply.severity = after.assessment.severity;
        }
        self.changes.push(Change::PutIncident(Box::new(after)));
    }

    fn tell(&mut self, scene: &Scene<'_>, record: &IncidentRecord, event: &'static str, details: Value) {
        self.leaves.push(NewLeaf {
            actor: "server".to_owned(),
            details: if let Value::Object(details) = details { details } else { serde_json::Map::new() },
            event,
            incident: Some(record.incident.clone()),
            subject: format!("incident:{}", record.incident),
            time: scene.now,
        });
    }
}

fn refs(alerts: &[Alert]) -> Vec<&Alert> {
    alerts.iter().collect()
}

fn conflict(message: String) -> Problem {
    Problem::new(ProblemKind::Conflict, message)
}
