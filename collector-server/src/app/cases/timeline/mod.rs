//! The timeline of an incident: its leaves of the custody log, in words, with those of the incidents that it absorbed.

mod sentence;

use wire::IncidentId;
use wire::api::Page;
use wire::case::TimelineEntry;
use wire::custody::Leaf;

use super::super::{App, Problem, page_of};

impl App {
    /// What happened from a number of the custody log on, the oldest first.
    ///
    /// # Errors
    /// [`super::ProblemKind::NotFound`].
    pub async fn timeline(&self, incident: &IncidentId, from: u64, limit: u32) -> Result<Page<TimelineEntry>, Problem> {
        self.incident_record(incident).await?;
        let mut leaves = self.store.leaves(Some(incident), from, limit + 1).await?;
        for absorbed in self.store.absorbed(incident).await? {
            leaves.extend(self.store.leaves(Some(&absorbed), from, limit + 1).await?);
        }
        leaves.sort_by_key(|stored| stored.leaf.seq);
        leaves.truncate(limit as usize + 1);
        let page = page_of(leaves, limit, |stored| stored.leaf.seq.to_string());
        let items = page.items.into_iter().map(|stored| entry(incident, stored.leaf)).collect();
        Ok(Page { items, next: page.next })
    }

    /// The last of what happened, the oldest first.
    ///
    /// # Errors
    /// [`super::ProblemKind::NotFound`].
    pub async fn timeline_end(&self, incident: &IncidentId, limit: u32) -> Result<Vec<TimelineEntry>, Problem> {
        self.incident_record(incident).await?;
        let mut leaves = self.store.last_leaves(incident, limit).await?;
        for absorbed in self.store.absorbed(incident).await? {
            leaves.extend(self.store.last_leaves(&absorbed, limit).await?);
        }
        leaves.sort_by_key(|stored| stored.leaf.seq);
        leaves.drain(..leaves.len().saturating_sub(limit as usize));
        Ok(leaves.into_iter().map(|stored| entry(incident, stored.leaf)).collect())
    }
}

fn entry(asked: &IncidentId, leaf: Leaf) -> TimelineEntry {
    TimelineEntry {
        text: sentence::of(&leaf),
        actor: leaf.actor,
        event: leaf.event,
        incident: leaf.incident.unwrap_or_else(|| asked.clone()),
        seq: leaf.seq,
        subject: leaf.subject,
        time: leaf.time,
    }
}
