//! Who may come in: tickets, tokens, browser sessions; and who the servers are.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sqlx::AnyConnection;
use wire::ticket::TicketKind;
use wire::{IncidentId, Instant, Sha256};

use super::super::{SessionRecord, SharedKey, SourceSignature, StoreError, TicketRecord, TokenRecord};
use super::value::{self, Columns, backend, instant, instant_or_null, text, text_or_null, word};

fn read_ticket(row: &Columns<'_>) -> Result<TicketRecord, StoreError> {
    Ok(TicketRecord {
        created_by: row.text("created_by")?,
        expires: row.instant("expires")?,
        host: row.text_or_null("host")?,
        incident: row.parsed_or_null("incident")?,
        kind: row.word("kind")?,
        ticket: row.parsed("ticket")?,
        used_by: row.text_or_null("used_by")?,
    })
}

fn read_token(row: &Columns<'_>) -> Result<TokenRecord, StoreError> {
    Ok(TokenRecord {
        created: row.instant("created")?,
        expires: row.instant_or_null("expires")?,
        hash: row.text("hash")?,
        name: row.text("name")?,
        revoked: row.instant_or_null("revoked")?,
        role: row.word("role")?,
        signature: signature(row)?,
        token: row.text("token")?,
    })
}

fn signature(row: &Columns<'_>) -> Result<Option<SourceSignature>, StoreError> {
    let (Some(scheme), Some(key)) = (row.text_or_null("signature")?, row.text_or_null("hmac_key")?) else {
        return Ok(None);
    };
    Ok(Some(SourceSignature { key: SharedKey(BASE64_STANDARD.decode(key).map_err(backend)?), scheme }))
}

fn read_session(row: &Columns<'_>) -> Result<SessionRecord, StoreError> {
    Ok(SessionRecord { expires: row.instant("expires")?, session: row.parsed("session")?, token: row.text("token")? })
}

pub(super) async fn add_ticket(connection: &mut AnyConnection, ticket: &TicketRecord) -> Result<(), StoreError> {
    let sql = "INSERT INTO tickets (ticket, kind, created_by, expires, host, incident, used_by) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let sql = sqlx::query(sql)
        .bind(ticket.ticket.to_string())
        .bind(word(&ticket.kind)?)
        .bind(text(&ticket.created_by))
        .bind(instant(ticket.expires)?)
        .bind(text_or_null(ticket.host.as_ref()))
        .bind(ticket.incident.as_ref().map(IncidentId::as_str))
        .bind(text_or_null(ticket.used_by.as_ref()));
    value::add(connection, sql, || "the ticket".to_owned()).await
}

pub(super) async fn use_ticket(
    connection: &mut AnyConnection,
    ticket: Sha256,
    at: Instant,
    by: &str,
    kind: TicketKind,
) -> Result<(), StoreError> {
    let sql = "UPDATE tickets SET used_by = $2 WHERE ticket = $1 AND kind = $3 AND used_by IS NULL AND expires > $4";
    let sql = sqlx::query(sql).bind(ticket.to_string()).bind(text(by)).bind(word(&kind)?).bind(instant(at)?);
    value::change_one(connection, sql, || "the ticket is unknown, used, over, or for something else".to_owned()).await
}

pub(super) async fn add_token(connection: &mut AnyConnection, token: &TokenRecord) -> Result<(), StoreError> {
    let sql = "INSERT INTO tokens (token, name, role, hash, created, expires, revoked, signature, hmac_key) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let sql = sqlx::query(sql)
        .bind(&token.token)
        .bind(text(&token.name))
        .bind(word(&token.role)?)
        .bind(&token.hash)
        .bind(instant(token.created)?)
        .bind(instant_or_null(token.expires)?)
        .bind(instant_or_null(token.revoked)?)
        .bind(token.signature.as_ref().map(|signature| &signature.scheme))
        .bind(token.signature.as_ref().map(|signature| BASE64_STANDARD.encode(&signature.key.0)));
    value::add(connection, sql, || format!("token {}", token.token)).await
}

pub(super) async fn end_ticket(connection: &mut AnyConnection, ticket: Sha256, at: Instant) -> Result<(), StoreError> {
    let sql = "UPDATE tickets SET expires = $2 WHERE ticket = $1 AND expires > $2";
    let sql = sqlx::query(sql).bind(ticket.to_string()).bind(instant(at)?);
    value::change_one(connection, sql, || format!("ticket {ticket} is not there, or has ended")).await
}

pub(super) async fn revoke_token(connection: &mut AnyConnection, token: &str, at: Instant) -> Result<(), StoreError> {
    let sql = "UPDATE tokens SET revoked = $2, hmac_key = NULL WHERE token = $1 AND revoked IS NULL";
    let sql = sqlx::query(sql).bind(token).bind(instant(at)?);
    value::change_one(connection, sql, || format!("token {token} is not there, or was withdrawn")).await?;
    let sql = sqlx::query("DELETE FROM sessions WHERE token = $1").bind(token);
    sql.execute(connection).await.map_err(backend).map(|_| ())
}

pub(super) async fn add_session(connection: &mut AnyConnection, session: &SessionRecord) -> Result<(), StoreError> {
    // A token that was withdrawn a moment ago opens none.
    let sql = "SELECT 1 FROM tokens WHERE token = $1 AND revoked IS NULL";
    let held = sqlx::query(sql).bind(&session.token).fetch_optional(&mut *connection).await.map_err(backend)?;
    if held.is_none() {
        return Err(StoreError::Conflict(format!("token {} is not there, or was withdrawn", session.token)));
    }
    let sql = sqlx::query("INSERT INTO sessions (session, token, expires) VALUES ($1, $2, $3)")
        .bind(session.session.to_string())
        .bind(&session.token)
        .bind(instant(session.expires)?);
    value::add(connection, sql, || "the session".to_owned()).await
}

pub(super) async fn end_session(connection: &mut AnyConnection, session: Sha256) -> Result<(), StoreError> {
    let sql = sqlx::query("DELETE FROM sessions WHERE session = $1").bind(session.to_string());
    sql.execute(connection).await.map_err(backend).map(|_| ())
}

pub(super) async fn ticket(connection: &mut AnyConnection, ticket: Sha256) -> Result<Option<TicketRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM tickets WHERE ticket = $1").bind(ticket.to_string());
    value::one(connection, sql, read_ticket).await
}

pub(super) async fn token(connection: &mut AnyConnection, token: &str) -> Result<Option<TokenRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM tokens WHERE token = $1").bind(token);
    value::one(connection, sql, read_token).await
}

pub(super) async fn tokens(connection: &mut AnyConnection) -> Result<Vec<TokenRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM tokens ORDER BY name, created, token");
    value::many(connection, sql, read_token).await
}

pub(super) async fn session(
    connection: &mut AnyConnection,
    session: Sha256,
) -> Result<Option<SessionRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM sessions WHERE session = $1").bind(session.to_string());
    value::one(connection, sql, read_session).await
}

pub(super) async fn set_identity(
    connection: &mut AnyConnection,
    from: Option<&str>,
    name: &str,
    to: &str,
) -> Result<(), StoreError> {
    let Some(from) = from else {
        let sql = sqlx::query("INSERT INTO identities (name, value) VALUES ($1, $2)").bind(name).bind(to);
        return value::add(connection, sql, || name.to_owned()).await;
    };
    let sql = sqlx::query("UPDATE identities SET value = $3 WHERE name = $1 AND value = $2");
    value::change_one(connection, sql.bind(name).bind(from).bind(to), || format!("{name} is not {from}")).await
}

pub(super) async fn identity(connection: &mut AnyConnection, name: &str) -> Result<Option<String>, StoreError> {
    let sql = sqlx::query("SELECT value FROM identities WHERE name = $1").bind(name);
    value::one(connection, sql, |row| row.verbatim("value")).await
}
