//! Triage for those who ask, with the rules in force: nothing of it is kept.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tokio::task::spawn_blocking;
use triage::{Alert, Context, Past, Rules, SiteFile, collect_forensics, normalise, triage_incident};
use wire::Instant;
use wire::api::{ReplayReply, ReplayRequest, ReplayedIncident};
use wire::assessment::{Assessment, ForensicsPlan, Judgement, Severity};
use wire::profile::Text;

use super::alerts::ALERTS_BYTES_MAX;
use super::alerts::doors::Room;
use super::cases::judge::judge_anew;
use super::marks::Known;
use super::{Actor, App, Problem, ProblemKind, details, panic_text};
use crate::objects::alert_path;
use crate::site::{RULES_BYTES_MAX, RULES_FILES_MAX};
use crate::store::{AlertRecord, Change, IncidentRecord, NewLeaf, StoreError};

/// Alerts that one replay looks at.
const REPLAYED_ALERTS_MAX: usize = 10_000;
/// Incidents that one replay looks at, and that are read at a time.
const REPLAYED_INCIDENTS_MAX: u64 = 10_000;
const PAGE: u32 = 500;
const DAYS_BACK: i128 = 30;
const DAY_NS: i128 = 86_400_000_000_000;
/// Mistakes that are told of changed rules.
const TOLD_CHARS_MAX: usize = 4000;

/// Held while past incidents are assessed anew: one replay at a time.
#[derive(Debug, Default)]
pub struct Replaying(tokio::sync::Mutex<()>);

impl App {
    /// What each alert in `raw` is by itself.
    ///
    /// # Errors
    /// [`ProblemKind::Input`], [`ProblemKind::TooLarge`]; [`ProblemKind::Internal`] when it falls over.
    pub async fn triage(&self, raw: Bytes, room: Room) -> Result<Vec<Assessment>, Problem> {
        let _one_of_few = self.intake.turn_to_parse().await?;
        let (rules, now, known) = (self.site.rules()?, self.now(), self.known_of_hosts().await?);
        let assessed = off_thread(move || triage_incident(&raw, now, &known.context(&rules))).await?;
        drop(room);
        assessed.map_err(|not_taken| super::alerts::not_taken_problem(&not_taken))
    }

    /// What to collect for an incident of this type.
    ///
    /// # Errors
    /// [`ProblemKind::Input`] for a word that is no type.
    pub fn forensics_plan(
        &self,
        incident_type: &str,
        target: Option<&str>,
        severity: Option<Severity>,
    ) -> Result<ForensicsPlan, Problem> {
        let rules = self.site.rules()?;
        collect_forensics(incident_type, target, severity, &Context::with(&rules))
            .map_err(|unknown| Problem::new(ProblemKind::Input, unknown.to_string()).hint(unknown.hint))
    }

    /// Writes into custody which rules are in force, when they are others than before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn record_rules(&self) -> Result<(), Problem> {
        let sha256 = self.site.rules()?.version();
        let leaf = NewLeaf {
            actor: Actor::Server.to_string(),
            details: details([("sha256", json!(sha256)), ("version", json!(env!("CARGO_PKG_VERSION")))]),
            event: "rules_changed",
            incident: None,
            subject: "rules".to_owned(),
            time: self.now(),
        };
        match self.store.commit(vec![Change::SetRules(sha256)], vec![leaf]).await {
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn past(&self, alert: AlertRecord) -> Result<Past, Problem> {
        let raw = self.objects.read(&alert_path(alert.alert), ALERTS_BYTES_MAX as u64).await?;
        let read = super::alerts::read(alert.normalised)?;
        Ok(Past { ingest_token: read.ingest_token, raw: raw.into(), received: alert.received })
    }

    /// What changed rules would make of past incidents, against what those in force make of them. Nothing is changed.
    ///
    /// # Errors
    /// [`ProblemKind::Input`] with the mistakes in the rules; [`ProblemKind::Unavailable`] while another one runs.
    pub async fn replay(&self, asked: ReplayRequest) -> Result<ReplayReply, Problem> {
        let Ok(_alone) = self.replaying.0.try_lock() else {
            return Err(Problem::new(ProblemKind::Unavailable, "another replay is under way")
                .hint("try again")
                .retry(5));
        };
        let since = asked.since.unwrap_or(Instant(self.now().0 - DAYS_BACK * DAY_NS));
        let files = site_files(asked.rules)?;
        let changed = off_thread(move || Rules::with_site(&files)).await?.map_err(|mistakes| {
            let told: String = mistakes.to_string().chars().take(TOLD_CHARS_MAX).collect();
            Problem::new(ProblemKind::Input, "the changed rules have mistakes").hint(told)
        })?;
        let (changed, now, known) = (Arc::new(changed), self.site.rules()?, self.known_of_hosts().await?);
        let mut reply = ReplayReply { alerts: 0, differences: Vec::new(), incidents: 0, is_cut: false };
        let mut left = REPLAYED_ALERTS_MAX;
        let mut after = None;
        'all: loop {
            let page = self.store.incidents(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.incident.clone());
            for record in page.into_iter().filter(|record| record.updated >= since) {
                let there = self.store.alerts_of(&record.incident).await?;
                if there.len() > left || reply.incidents == REPLAYED_INCIDENTS_MAX {
                    reply.is_cut = true;
                    break 'all;
                }
                left -= there.len();
                reply.alerts += there.len() as u64;
                reply.incidents += 1;
                let mut past = Vec::with_capacity(there.len());
                for alert in there {
                    past.push(self.past(alert).await?);
                }
                let (known, now, changed) = (Arc::clone(&known), Arc::clone(&now), Arc::clone(&changed));
                let difference = off_thread(move || difference(&record, &past, [&now, &changed], &known));
                reply.differences.extend(difference.await?);
            }
        }
        Ok(reply)
    }
}

/// What is different about an incident; nothing when it is the same. Records are read anew, so that changed mappings
/// count as well; what people said against the rules, and of hosts, holds for both sides.
fn difference(
    record: &IncidentRecord,
    past: &[Past],
    now_and_changed: [&Rules; 2],
    known: &Known,
) -> Option<ReplayedIncident> {
    let [before, after] = now_and_changed.map(|rules| {
        let alerts: Vec<Alert> = past.iter().flat_map(|past| read_anew(past, rules)).collect();
        judge_anew(&known.context(rules), &record.case, &alerts.iter().collect::<Vec<_>>())
    });
    let changed = Judgement::from(before.clone()).differs_in(&after.clone().into());
    let is_other = !past.is_empty() && !changed.is_empty();
    is_other.then(|| ReplayedIncident { after, before, incident: record.incident.clone() })
}

fn read_anew(past: &Past, rules: &Rules) -> Vec<Alert> {
    // What was taken in once is not over a bound now; and if it were, it would be missing on both sides.
    let taken = normalise(&past.raw, past.received, rules).unwrap_or_default();
    taken.into_iter().map(|one| Alert { ingest_token: past.ingest_token.clone(), ..one.alert }).collect()
}

fn site_files(rules: std::collections::BTreeMap<String, String>) -> Result<Vec<SiteFile>, Problem> {
    let bytes: u64 = rules.values().map(|yaml| yaml.len() as u64).sum();
    if rules.len() > RULES_FILES_MAX || bytes > RULES_BYTES_MAX {
        return Err(Problem::new(
            ProblemKind::TooLarge,
            format!("the rules of a site are at most {RULES_FILES_MAX} files and {RULES_BYTES_MAX} bytes"),
        ));
    }
    let file = |(name, yaml): (String, String)| SiteFile { text: Text { file: name.clone(), yaml }, name };
    Ok(rules.into_iter().map(file).collect())
}

/// Does it where it holds nobody up. A panic in it is a failure like another.
pub(super) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    spawn_blocking(work).await.map_err(|ended| {
        let problem = Problem::new(ProblemKind::Internal, "the server failed on these alerts");
        match ended.try_into_panic() {
            Ok(panic) => problem.cause(panic_text(&*panic)),
            Err(ended) => problem.cause(ended),
        }
    })
}
