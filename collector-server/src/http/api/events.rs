//! What happens in an incident, as it happens, as server-sent events (HTML Living Standard, 9.2).
//!
//! Listening begins before anything is read, so whoever opens the stream and then reads the incident misses nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};
use wire::IncidentId;
use wire::api::LiveEvent;

use super::id;
use crate::app::live::Listener;
use crate::app::{Actor, App, Problem};
use crate::http::extract::{Caller, Path};

/// A stream ends after so long, and the browser opens another.
const STREAM_SECS_MAX: u64 = 15 * 60;
/// Whether its reader is still welcome is asked this often: a token may be withdrawn by another process.
const WELCOME_SECS: u64 = 5;
const KEEP_ALIVE_SECS: u64 = 15;

pub async fn follow(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(incident): Path<String>,
) -> Result<Response, Problem> {
    let incident: IncidentId = id("incident id", &incident)?;
    let listener = app.live.listen()?;
    app.incident_exists(&incident).await?;
    let now = Instant::now();
    let (asked, deadline) = (now, now + Duration::from_secs(STREAM_SECS_MAX));
    let listening = Listening { app, asked, by, deadline, incident, listener };
    let events = stream::once(async { Event::default().comment("listening") }).chain(events(listening));
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(KEEP_ALIVE_SECS));
    Ok(Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(keep_alive).into_response())
}

struct Listening {
    app: Arc<App>,
    /// When it was last asked whether the reader is welcome.
    asked: Instant,
    by: Actor,
    deadline: Instant,
    incident: IncidentId,
    listener: Listener,
}

fn events(listening: Listening) -> impl Stream<Item = Event> + Send {
    stream::unfold(listening, |mut listening| async move {
        loop {
            let ask = listening.asked + Duration::from_secs(WELCOME_SECS);
            let until = ask.min(listening.deadline);
            let Listener { missed, receiver, .. } = &mut listening.listener;
            let heard = timeout_at(until, async {
                tokio::select! {
                    heard = receiver.recv() => heard,
                    _ = missed.changed() => Err(RecvError::Lagged(1)),
                }
            });
            let heard = heard.await;
            let now = Instant::now();
            if now >= ask {
                listening.app.is_welcome(&listening.by).await.ok().filter(|is_welcome| *is_welcome)?;
                listening.asked = now;
            }
            let heard = match heard {
                Ok(heard) => heard,
                Err(_) if now >= listening.deadline => return None,
                Err(_) => continue,
            };
            let event = match heard {
                Ok((incident, event)) if incident == listening.incident => live(&event),
                Ok(_) => None,
                // It was too slow, or something between the servers, and some are lost to it.
                Err(RecvError::Lagged(_)) => Some(Event::default().event("reload").data("{}")),
                Err(RecvError::Closed) => return None,
            };
            if let Some(event) = event {
                return Some((event, listening));
            }
        }
    })
}

/// Named after what happened, so that a page listens for what it shows; the data is the whole event.
fn live(event: &LiveEvent) -> Option<Event> {
    let name = match event {
        LiveEvent::Alert { .. } => "alert",
        LiveEvent::Order { .. } => "order",
        LiveEvent::Receipt { .. } => "receipt",
        LiveEvent::Case { .. } => "case",
        LiveEvent::Evidence { .. } => "evidence",
    };
    Event::default().event(name).json_data(event).ok()
}
