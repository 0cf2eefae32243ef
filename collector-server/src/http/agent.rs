//! What agents ask below `/agent/v1`.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use wire::agent_api::{
    EnrollReply, EnrollRequest, HostFacts, NONCE_CHARS_MAX, OrderKind, OrderReport, OrdersReply, POLL_WAIT_SECS_MAX,
    RenewReply, RenewRequest,
};
use wire::containment::ConsoleReport;
use wire::host::Beat;
use wire::{AgentId, OrderId};

use super::extract::{Caller, Json, Path, Query};
use crate::app::{Actor, App, Problem, ProblemKind};

/// How long a long poll waits, and for what.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct Question {
    /// Orders of this kind only.
    #[serde(default)]
    kind: Option<OrderKind>,
    /// Seconds to wait for an order; more than 55 count as 55.
    #[serde(default = "as_long_as_possible")]
    wait_secs: u64,
    /// Comes back in the answer, which was then written after the question; hex digits, at most 64.
    nonce: Option<String>,
    /// The number of this question, which only ever grows; older agents do not count.
    beat: Option<u64>,
    /// The boot in which it is asked, with its number.
    boot: Option<String>,
}

/// A boot id is a UUID.
const BOOT_CHARS_MAX: usize = 36;

fn as_long_as_possible() -> u64 {
    POLL_WAIT_SECS_MAX
}

/// Lets a host in.
///
/// # Errors
/// See [`App::enroll`].
pub async fn enroll(
    State(app): State<Arc<App>>,
    Json(request): Json<EnrollRequest>,
) -> Result<Answer<EnrollReply>, Problem> {
    app.enroll(request).await.map(Answer)
}

/// A new certificate.
///
/// # Errors
/// See [`App::renew`].
pub async fn renew(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Json(request): Json<RenewRequest>,
) -> Result<Answer<RenewReply>, Problem> {
    let (agent, serial) = agent(&by)?;
    app.renew(agent, serial, request).await.map(Answer)
}

/// What the host says of itself.
///
/// # Errors
/// See [`App::put_facts`].
pub async fn put_facts(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Json(facts): Json<HostFacts>,
) -> Result<StatusCode, Problem> {
    app.put_facts(agent(&by)?.0, facts).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The orders that wait for the agent.
///
/// # Errors
/// See [`App::wait_for_orders`].
pub async fn orders(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Query(asked): Query<Question>,
) -> Result<Answer<OrdersReply>, Problem> {
    if let Some(nonce) = &asked.nonce
        && (nonce.len() > NONCE_CHARS_MAX || !nonce.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err(Problem::new(ProblemKind::Input, "the nonce is none")
            .hint(format!("hex digits are wanted, at most {NONCE_CHARS_MAX}")));
    }
    let boot_id = asked.boot.map(|boot| boot.chars().take(BOOT_CHARS_MAX).collect());
    let beat = asked.beat.map(|count| Beat { boot_id, count });
    let reply = app.wait_for_orders(agent(&by)?.0, asked.wait_secs, asked.kind, beat).await?;
    Ok(Answer(OrdersReply { nonce: asked.nonce, ..reply }))
}

/// The agent is removed from its host.
///
/// # Errors
/// See [`App::leave`].
pub async fn leave(State(app): State<Arc<App>>, Caller(by): Caller) -> Result<StatusCode, Problem> {
    app.leave(&by, agent(&by)?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What became of an order.
///
/// # Errors
/// See [`App::order_report`].
pub async fn report(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(order): Path<OrderId>,
    Json(report): Json<OrderReport>,
) -> Result<StatusCode, Problem> {
    app.order_report(&by, order, report).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What root did at the host's console.
///
/// # Errors
/// See [`App::console_report`].
pub async fn report_console(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Json(report): Json<ConsoleReport>,
) -> Result<StatusCode, Problem> {
    app.console_report(&by, agent(&by)?.0, report).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The check before has let agents in only.
fn agent(by: &Actor) -> Result<(&AgentId, &str), Problem> {
    match by {
        Actor::Agent { agent, serial } => Ok((agent, serial)),
        other => Err(Problem::new(ProblemKind::Forbidden, format!("{other} is no agent"))),
    }
}
