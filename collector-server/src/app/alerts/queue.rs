//! Alerts that wait for their place: in lines, one for each source, which are served in turn. So a source that floods
//! waits behind itself, and alerts of many requests share one commit.
//!
//! One task at a time takes from the lines, as long as there is something in them. It belongs to no request: a sender
//! that goes away takes nothing with it. How much waits is bounded by the [`Room`]s that the requests hold.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use wire::api::AlertReceived;

use super::super::{App, Problem, ProblemKind, panic_text};
use super::doors::Room;
use super::{AT_A_TIME, Incoming};

/// What is waited before each further try of a commit that failed.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// Some alerts of one request, at most [`AT_A_TIME`].
pub(super) struct Portion {
    pub alerts: Vec<Incoming>,
    pub reply: oneshot::Sender<Result<Vec<AlertReceived>, Problem>>,
    /// Held until they have their place.
    pub room: Arc<Room>,
}

/// See the module.
#[derive(Default)]
pub struct Queue(Mutex<Lines>);

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Lines {
    /// True while a task takes from them.
    is_served: bool,
    /// By source. None is empty.
    of: HashMap<String, VecDeque<Portion>>,
    /// Whose turn it is.
    turns: VecDeque<String>,
}

impl Lines {
    fn push(&mut self, portion: Portion) {
        let source = portion.room.source.clone();
        let line = self.of.entry(source.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(source);
        }
        line.push_back(portion);
    }

    /// The next portions, one of each source in turn, of at most [`AT_A_TIME`] alerts together.
    fn next(&mut self) -> Vec<Portion> {
        let (mut portions, mut room) = (Vec::new(), AT_A_TIME);
        while let Some(source) = self.turns.pop_front() {
            let Some(line) = self.of.get_mut(&source) else { continue };
            let Some(portion) = line.pop_front_if(|portion| portion.alerts.len() <= room) else {
                // It does not fit any more: it is the first of the next commit.
                self.turns.push_front(source);
                break;
            };
            if line.is_empty() {
                self.of.remove(&source);
            } else {
                self.turns.push_back(source);
            }
            room -= portion.alerts.len();
            portions.push(portion);
        }
        portions
    }
}

impl Queue {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when somebody must begin to serve.
    fn push(&self, portions: Vec<Portion>) -> bool {
        let mut lines = self.lines();
        for portion in portions {
            lines.push(portion);
        }
        !std::mem::replace(&mut lines.is_served, true)
    }

    /// The next portions; none when there is nothing left to serve.
    fn next(&self) -> Vec<Portion> {
        let mut lines = self.lines();
        let portions = lines.next();
        lines.is_served = !portions.is_empty();
        portions
    }
}

impl App {
    /// Puts them in line.
    pub(super) fn line_up(self: &Arc<Self>, portions: Vec<Portion>) {
        if self.intake.queue.push(portions) {
            let app = Arc::clone(self);
            tokio::spawn(async move {
                loop {
                    let portions = app.intake.queue.next();
                    if portions.is_empty() {
                        return;
                    }
                    app.place(portions).await;
                }
            });
        }
    }

    /// Places them together; when that fails, each by itself, so that one does not keep out the others.
    async fn place(&self, portions: Vec<Portion>) {
        let all: Vec<&Incoming> = portions.iter().flat_map(|portion| &portion.alerts).collect();
        let mut together = self.try_place(&all).await.map(Vec::into_iter);
        // A store that fails is given time once, not once for each of those that wait.
        let mut pauses = &PAUSES[..];
        for Portion { alerts, reply, room } in portions {
            let answer = match &mut together {
                Ok(received) => Ok(received.by_ref().take(alerts.len()).collect()),
                Err(_) => self.place_alone(&alerts, std::mem::take(&mut pauses)).await,
            };
            // An error says that its sender has gone; what was placed stays placed.
            let _ = reply.send(answer);
            drop(room);
        }
    }

    async fn place_alone(&self, alerts: &[Incoming], pauses: &[Duration]) -> Result<Vec<AlertReceived>, Problem> {
        let alerts: Vec<&Incoming> = alerts.iter().collect();
        let mut placed = self.try_place(&alerts).await;
        for pause in pauses {
            if placed.is_ok() {
                break;
            }
            tokio::time::sleep(*pause).await;
            placed = self.try_place(&alerts).await;
        }
        placed
    }

    /// A panic in one of them is a failure like another.
    async fn try_place(&self, alerts: &[&Incoming]) -> Result<Vec<AlertReceived>, Problem> {
        let placed = AssertUnwindSafe(self.receive(alerts)).catch_unwind().await;
        placed.unwrap_or_else(|panic| {
            Err(Problem::new(ProblemKind::Internal, "the server failed on these alerts").cause(panic_text(&*panic)))
        })
    }
}
