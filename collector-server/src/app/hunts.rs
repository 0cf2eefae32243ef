//! One profile over many hosts: the orders of a hunt wait here for their turn, and are let go at its rate, so many at a
//! time, those of the first wave before all others.
//!
//! **The most volatile first across the fleet.** An agent goes through the tiers in order whatever it is told, but a host
//! that is reached late would have lost in the meantime what the first one gave while its logs were read. So a profile is
//! signed in two orders for each host (`holdfast hunt`): what is gone first, and the rest; and no rest is let go while a
//! host that is there has its first order before it.
//!
//! A host that is not there holds nobody up: its orders wait until it is back, the first one first, or until the hunt ends.
//!
//! Only orders to collect can be in a hunt: what contains a host is decided host by host.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use wire::api::{OrderView, Page};
use wire::hunt::{
    CONCURRENCY_MAX, FIRST_WAVE, HuntHost, HuntOrder, HuntRequest, HuntState, HuntView, LAST_WAVE, ORDERS_MAX, RATE_MAX,
};
use wire::order::{OrderState, VALID_SECS_MAX};
use wire::signed::Signed;
use wire::{AgentId, HuntId, Instant, OrderId};

use super::{Actor, App, Problem, ProblemKind, details, random};
use crate::store::{Change, HuntPlace, HuntRecord, NewLeaf, StoreError};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Orders that are let go, or ended, in one commit.
const AT_A_TIME: usize = 200;
/// Hunts at a time.
const OPEN_MAX: u32 = 50;
const MINUTE_NS: i128 = 60 * 1_000_000_000;

impl App {
    /// Begins a hunt, whose orders follow.
    ///
    /// # Errors
    /// [`ProblemKind::Input`], [`ProblemKind::NotFound`] for its incident, [`ProblemKind::TooMany`].
    pub async fn begin_hunt(&self, by: &Actor, request: HuntRequest) -> Result<HuntView, Problem> {
        check(&request)?;
        self.incident_record(&request.incident).await?;
        if self.store.hunts_open(OPEN_MAX).await?.len() >= OPEN_MAX as usize {
            return Err(Problem::new(ProblemKind::TooMany, format!("{OPEN_MAX} hunts are under way"))
                .hint("holdfast hunt list shows them; cancel one that nobody needs"));
        }
        let now = self.now();
        let hunt = HuntId::new(u64::try_from(now.0 / 1_000_000).unwrap_or(0), random()?);
        let record = HuntRecord {
            concurrency: request.concurrency,
            created: now,
            created_by: by.to_string(),
            expires: Instant(now.0 + i128::from(request.valid_secs) * 1_000_000_000),
            hunt,
            incident: request.incident,
            labels: request.labels,
            profile: request.profile,
            purpose: request.purpose,
            rate_per_min: request.rate_per_min,
            state: HuntState::Gathering,
            version: 1,
        };
        let leaf = self.hunt_leaf(&record, by, "hunt_begun", json!(record));
        self.store.commit(vec![Change::AddHunt(Box::new(record.clone()))], vec![leaf]).await?;
        self.hunt_view(record, false).await
    }

    /// Takes one of its orders, which waits for its turn.
    ///
    /// # Errors
    /// As [`App::dispatch`]; [`ProblemKind::Conflict`] for a hunt that takes no more.
    pub async fn add_to_hunt(
        &self,
        by: &Actor,
        hunt: HuntId,
        wave: u32,
        envelope: Signed,
    ) -> Result<OrderView, Problem> {
        let record = self.hunt_record(hunt).await?;
        if !(FIRST_WAVE..=LAST_WAVE).contains(&wave) {
            return Err(Problem::new(ProblemKind::Input, "there is no such wave").hint("it is 1 or 2"));
        }
        if record.state != HuntState::Gathering {
            let message = format!("hunt {hunt} is {}: it takes no more orders", record.state.name());
            return Err(Problem::new(ProblemKind::Conflict, message).hint("begin another one"));
        }
        if self.store.hunt_orders(hunt).await?.len() >= ORDERS_MAX {
            return Err(Problem::new(ProblemKind::Full, format!("a hunt has at most {ORDERS_MAX} orders")));
        }
        self.dispatch_in(by, envelope, Some((&record, wave))).await
    }

    /// Says that all of its orders are there: now the later wave may be let go as well.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] for one that is over.
    pub async fn start_hunt(&self, by: &Actor, hunt: HuntId) -> Result<HuntView, Problem> {
        let record = self.hunt_record(hunt).await?;
        if record.state == HuntState::Running {
            return self.hunt_view(record, false).await;
        }
        let record = self.end_hunt(record, by, HuntState::Running, "hunt_started", json!({})).await?;
        self.hunt_view(record, false).await
    }

    /// Ends it: what no agent has yet, none gets. What runs goes on.
    ///
    /// # Errors
    /// [`ProblemKind::Input`], [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] for one that is over.
    pub async fn cancel_hunt(&self, by: &Actor, hunt: HuntId, reason: &str) -> Result<HuntView, Problem> {
        super::tickets::check_text("reason", reason)?;
        let record = self.hunt_record(hunt).await?;
        let told = json!({ "reason": reason });
        let record = self.end_hunt(record, by, HuntState::Cancelled, "hunt_cancelled", told).await?;
        self.drop_orders(&record, by, OrderState::Cancelled, "order_cancelled").await?;
        self.hunt_view(record, true).await
    }

    /// The last hunts, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn hunts(&self, limit: u32) -> Result<Page<HuntView>, Problem> {
        let mut items = Vec::new();
        for record in self.store.hunts(limit).await? {
            items.push(self.hunt_view(record, false).await?);
        }
        Ok(Page { items, next: None })
    }

    /// A hunt, with its hosts.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn hunt(&self, hunt: HuntId) -> Result<HuntView, Problem> {
        let record = self.hunt_record(hunt).await?;
        self.hunt_view(record, true).await
    }

    async fn hunt_record(&self, hunt: HuntId) -> Result<HuntRecord, Problem> {
        self.store.hunt(hunt).await?.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no hunt {hunt}")).hint("see: holdfast hunt list")
        })
    }

    /// Counts its orders, and where its hosts are wanted lists them, and what was found.
    async fn hunt_view(&self, record: HuntRecord, with_hosts: bool) -> Result<HuntView, Problem> {
        let places = self.store.hunt_orders(record.hunt).await?;
        let mut view = HuntView {
            concurrency: record.concurrency,
            created: record.created,
            created_by: record.created_by,
            expires: record.expires,
            findings: BTreeMap::new(),
            held: places.iter().filter(|place| place.is_held()).count() as u64,
            hosts: Vec::new(),
            hunt: record.hunt,
            incident: record.incident,
            labels: record.labels,
            orders: BTreeMap::new(),
            profile: record.profile,
            purpose: record.purpose,
            rate_per_min: record.rate_per_min,
            state: record.state,
        };
        for place in &places {
            *view.orders.entry(place.state.name().to_owned()).or_default() += 1;
        }
        if !with_hosts {
            return Ok(view);
        }
        let mut hosts: BTreeMap<AgentId, Vec<HuntOrder>> = BTreeMap::new();
        for HuntPlace { agent, bundle, order, released, state, wave } in places {
            let found = match bundle {
                Some(bundle) => self.store.found(bundle).await?,
                None => None,
            };
            for (level, count) in found.iter().flat_map(|found| &found.levels) {
                *view.findings.entry(*level).or_default() += count;
            }
            let findings = found.map(|found| found.levels.values().sum());
            hosts.entry(agent).or_default().push(HuntOrder { bundle, findings, order, released, state, wave });
        }
        for (agent, orders) in hosts {
            let host = self.store.host(&agent).await?.map_or_else(String::new, |host| host.facts.name);
            view.hosts.push(HuntHost { agent, host, orders });
        }
        Ok(view)
    }

    /// Lets orders go until the server stops.
    pub async fn run_hunts(&self) {
        loop {
            if self.peers.leads()
                && let Err(problem) = self.look_after_hunts().await
            {
                tracing::error!(message = problem.message, cause = problem.cause, "the hunts were not looked after");
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Lets go what is due of every hunt, once, and ends those that are over.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn look_after_hunts(&self) -> Result<(), Problem> {
        let hunts = self.store.hunts_open(OPEN_MAX).await?;
        if hunts.is_empty() {
            return Ok(());
        }
        let mut there = HashSet::new();
        self.each_host(|host| {
            if host.is_enrolled() && self.is_connected(&host) {
                there.insert(host.agent);
            }
        })
        .await?;
        let now = self.now();
        for record in hunts {
            let places = self.store.hunt_orders(record.hunt).await?;
            if record.expires <= now {
                let record =
                    self.end_hunt(record, &Actor::Server, HuntState::Expired, "hunt_expired", json!({})).await?;
                self.drop_orders(&record, &Actor::Server, OrderState::Expired, "order_expired").await?;
            } else if record.state == HuntState::Running && places.iter().all(|place| place.state.is_final()) {
                self.end_hunt(record, &Actor::Server, HuntState::Done, "hunt_done", json!({})).await?;
            } else {
                let due = due(&record, &places, &there, now);
                self.release(&record, &due).await?;
            }
        }
        Ok(())
    }

    async fn release(&self, record: &HuntRecord, due: &[(OrderId, AgentId)]) -> Result<(), Problem> {
        for some in due.chunks(AT_A_TIME) {
            let now = self.now();
            let changes = some.iter().map(|(order, _)| Change::ReleaseOrder(*order, now)).collect();
            let leaf = |(order, agent): &(OrderId, AgentId)| NewLeaf {
                actor: Actor::Server.to_string(),
                details: details([("agent", json!(agent)), ("hunt", json!(record.hunt))]),
                event: "order_released",
                incident: Some(record.incident.clone()),
                subject: format!("order:{order}"),
                time: now,
            };
            match self.store.commit(changes, some.iter().map(leaf).collect()).await {
                Ok(_) => some.iter().for_each(|(_, agent)| self.hub.wake(agent)),
                // It was cancelled meanwhile, or another server was faster: the next look sees what is left.
                Err(StoreError::Conflict(what)) => tracing::debug!(what, "orders of a hunt were not let go"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Brings it into another state, unless it is over.
    async fn end_hunt(
        &self,
        record: HuntRecord,
        by: &Actor,
        state: HuntState,
        event: &'static str,
        told: Value,
    ) -> Result<HuntRecord, Problem> {
        if !record.state.is_open() {
            let message = format!("hunt {} is {}", record.hunt, record.state.name());
            return Err(Problem::new(ProblemKind::Conflict, message));
        }
        let record = HuntRecord { state, version: record.version + 1, ..record };
        let leaf = self.hunt_leaf(&record, by, event, told);
        self.store.commit(vec![Change::PutHunt(Box::new(record.clone()))], vec![leaf]).await?;
        Ok(record)
    }

    /// Ends all of its orders that no agent has.
    async fn drop_orders(
        &self,
        record: &HuntRecord,
        by: &Actor,
        to: OrderState,
        event: &'static str,
    ) -> Result<(), Problem> {
        let places = self.store.hunt_orders(record.hunt).await?;
        for place in places.into_iter().filter(|place| place.state == OrderState::Queued) {
            let order = place.order;
            let change = Change::OrderEvent { event: None, from: vec![OrderState::Queued], order, to };
            let leaf = NewLeaf {
                actor: by.to_string(),
                details: details([("agent", json!(place.agent)), ("hunt", json!(record.hunt))]),
                event,
                incident: Some(record.incident.clone()),
                subject: format!("order:{order}"),
                time: self.now(),
            };
            match self.store.commit(vec![change], vec![leaf]).await {
                // Its agent was faster.
                Ok(_) | Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn hunt_leaf(&self, record: &HuntRecord, by: &Actor, event: &'static str, told: Value) -> NewLeaf {
        let told = if let Value::Object(told) = told { told } else { serde_json::Map::new() };
        NewLeaf {
            actor: by.to_string(),
            details: told,
            event,
            incident: Some(record.incident.clone()),
            subject: format!("hunt:{}", record.hunt),
            time: self.now(),
        }
    }
}

/// The orders that are let go now.
fn due(record: &HuntRecord, places: &[HuntPlace], there: &HashSet<AgentId>, now: Instant) -> Vec<(OrderId, AgentId)> {
    let is_there = |place: &&HuntPlace| there.contains(&place.agent);
    // While a host that is there has something of a wave before it, no later wave begins.
    let wave = places.iter().filter(is_there).filter(|place| !place.state.is_final()).map(|place| place.wave).min();
    let Some(wave) = wave.filter(|wave| *wave == FIRST_WAVE || record.state == HuntState::Running) else {
        return Vec::new();
    };
    let under_way = places.iter().filter(is_there).filter(|place| !place.is_held() && !place.state.is_final()).count();
    let is_recent = |place: &&HuntPlace| place.released.is_some_and(|at| now.0 - at.0 < MINUTE_NS);
    let recent = places.iter().filter(is_recent).count();
    let room = (record.concurrency as usize).saturating_sub(under_way);
    let room = room.min((record.rate_per_min as usize).saturating_sub(recent));
    let waiting = places.iter().filter(|place| place.is_held() && place.wave == wave).filter(is_there);
    waiting.take(room).map(|place| (place.order, place.agent.clone())).collect()
}

fn check(request: &HuntRequest) -> Result<(), Problem> {
    super::tickets::check_text("profile", &request.profile)?;
    if let Some(purpose) = &request.purpose {
        super::tickets::check_text("purpose", purpose)?;
    }
    let bounds = [
        ("rate_per_min", u64::from(request.rate_per_min), u64::from(RATE_MAX)),
        ("concurrency", u64::from(request.concurrency), u64::from(CONCURRENCY_MAX)),
        ("valid_secs", request.valid_secs, VALID_SECS_MAX),
        ("labels", request.labels.len() as u64 + 1, 9),
    ];
    match bounds.into_iter().find(|(_, value, max)| !(1..=*max).contains(value)) {
        Some((name, value, max)) => {
            Err(Problem::new(ProblemKind::Input, format!("{name} is {value}")).hint(format!("from 1 to {max}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunt(state: HuntState, rate_per_min: u32, concurrency: u32) -> HuntRecord {
        HuntRecord {
            concurrency,
            created: Instant(0),
            created_by: "user:ada".into(),
            expires: Instant(i128::from(i64::MAX)),
            hunt: HuntId::new(1, [0; 10]),
            incident: "INC-2026-0001".parse().unwrap(),
            labels: Vec::new(),
            profile: "triage".into(),
            purpose: None,
            rate_per_min,
            state,
            version: 1,
        }
    }

    /// `n` is the host; a state of none waits for its turn.
    fn place(n: u8, wave: u32, state: Option<OrderState>, secs: i128) -> HuntPlace {
        HuntPlace {
            agent: format!("host-{n}").parse().unwrap(),
            bundle: None,
            order: OrderId::new(u64::from(wave), [n; 10]),
            released: state.map(|_| Instant(secs * 1_000_000_000)),
            state: state.unwrap_or(OrderState::Queued),
            wave,
        }
    }

    fn let_go(record: &HuntRecord, places: &[HuntPlace], there: &[u8], secs: i128) -> Vec<(u8, u32)> {
        let there = there.iter().map(|n| format!("host-{n}").parse().unwrap()).collect();
        let due = due(record, places, &there, Instant(secs * 1_000_000_000));
        let named = |(order, agent): (OrderId, AgentId)| {
            let number = agent.as_str().strip_prefix("host-").unwrap().parse().unwrap();
            (number, if order.unix_ms() == 1 { 1 } else { 2 })
        };
        due.into_iter().map(named).collect()
    }

    #[test]
    fn no_rest_is_let_go_while_a_host_that_is_there_has_its_first_order_before_it() {
        use OrderState::{Completed, Running};
        let record = hunt(HuntState::Running, 100, 100);
        let both = [place(1, 1, None, 0), place(2, 1, None, 0), place(1, 2, None, 0), place(2, 2, None, 0)];
        assert_eq!(let_go(&record, &both, &[1, 2], 0), [(1, 1), (2, 1)]);
        // Host 2 is not there: it holds nobody up, and gets nothing.
        assert_eq!(let_go(&record, &both, &[1], 0), [(1, 1)]);
        let one_runs = [
            place(1, 1, Some(Completed), 0),
            place(2, 1, Some(Running), 0),
            place(1, 2, None, 0),
            place(2, 2, None, 0),
        ];
        assert_eq!(let_go(&record, &one_runs, &[1, 2], 0), []);
        assert_eq!(let_go(&record, &one_runs, &[1], 0), [(1, 2)], "it went away under its order");
        let first_done =
            [place(1, 1, Some(Completed), 0), place(2, 1, None, 0), place(1, 2, None, 0), place(2, 2, None, 0)];
        assert_eq!(let_go(&record, &first_done, &[1], 0), [(1, 2)]);
        assert_eq!(let_go(&record, &first_done, &[1, 2], 0), [(2, 1)], "back again, its first order comes first");
        let gathering = hunt(HuntState::Gathering, 100, 100);
        assert_eq!(let_go(&gathering, &both, &[1, 2], 0), [(1, 1), (2, 1)]);
        assert_eq!(let_go(&gathering, &first_done, &[1], 0), [], "others may still come");
    }

    #[test]
    fn rate_and_concurrency_are_kept() {
        use OrderState::{Completed, Delivered};
        let waiting: Vec<HuntPlace> = (1..=9).map(|n| place(n, 1, None, 0)).collect();
        let there: Vec<u8> = (1..=9).collect();
        assert_eq!(let_go(&hunt(HuntState::Running, 3, 100), &waiting, &there, 0).len(), 3);
        assert_eq!(let_go(&hunt(HuntState::Running, 100, 4), &waiting, &there, 0).len(), 4);
        let mut begun = waiting;
        for (n, state) in [(0, Completed), (1, Completed), (2, Delivered)] {
            begun[n] = place(u8::try_from(n).unwrap() + 1, 1, Some(state), 10);
        }
        assert_eq!(let_go(&hunt(HuntState::Running, 3, 100), &begun, &there, 69).len(), 0);
        assert_eq!(let_go(&hunt(HuntState::Running, 3, 100), &begun, &there, 70).len(), 3);
        assert_eq!(let_go(&hunt(HuntState::Running, 100, 4), &begun, &there, 10).len(), 3);
    }
}
