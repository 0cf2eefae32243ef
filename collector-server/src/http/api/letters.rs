//! Dead letters.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::LetterId;
use wire::api::{AlertsReply, DeadLetter, Page};

use super::{Limit, id};
use crate::app::{App, Problem};
use crate::http::extract::{Caller, Path, Query};

/// Which part of the letters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Letters {
    /// The last letter of the page before.
    after: Option<LetterId>,
    /// At most so many; 100 when absent.
    #[serde(default)]
    limit: Limit,
}

pub async fn list(
    State(app): State<Arc<App>>,
    Query(asked): Query<Letters>,
) -> Result<Json<Page<DeadLetter>>, Problem> {
    app.dead_letters(asked.after, asked.limit.get()?).await.map(Json)
}

pub async fn replay(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(letter): Path<String>,
) -> Result<Json<AlertsReply>, Problem> {
    app.replay_letter(&by, id("dead letter's id", &letter)?).await.map(Json)
}
