//! What alerts are taken in with: dead letters, and which rules were in force.

use sqlx::AnyConnection;
use wire::api::DeadLetter;
use wire::{Instant, LetterId, Sha256};

use super::super::{LetterRecord, StoreError};
use super::value::{self, Columns, count, instant, instant_or_null, text, text_or_null};

fn read(row: &Columns<'_>) -> Result<LetterRecord, StoreError> {
    Ok(LetterRecord {
        ingest_token: row.text_or_null("ingest_token")?,
        view: DeadLetter {
            bytes: row.count("bytes")?,
            letter: row.parsed("letter")?,
            reason: row.text("reason")?,
            received: row.instant("received")?,
            replayed: row.instant_or_null("replayed")?,
            sent_by: row.text("sent_by")?,
            sha256: row.parsed("sha256")?,
            source: row.text_or_null("source")?,
        },
    })
}

pub(super) async fn add(connection: &mut AnyConnection, letter: &LetterRecord) -> Result<(), StoreError> {
    let LetterRecord { ingest_token, view } = letter;
    let sql = "INSERT INTO dead_letters (letter, received, sent_by, ingest_token, source, bytes, sha256, reason, \
               replayed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let sql = sqlx::query(sql)
        .bind(view.letter.to_string())
        .bind(instant(view.received)?)
        .bind(text(&view.sent_by))
        .bind(text_or_null(ingest_token.as_ref()))
        .bind(text_or_null(view.source.as_ref()))
        .bind(count(view.bytes)?)
        .bind(view.sha256.to_string())
        .bind(text(&view.reason))
        .bind(instant_or_null(view.replayed)?);
    value::add(connection, sql, || format!("dead letter {}", view.letter)).await
}

pub(super) async fn replayed(connection: &mut AnyConnection, letter: LetterId, at: Instant) -> Result<(), StoreError> {
    let sql = "UPDATE dead_letters SET replayed = $2 WHERE letter = $1 AND replayed IS NULL";
    let sql = sqlx::query(sql).bind(letter.to_string()).bind(instant(at)?);
    value::change_one(connection, sql, || format!("dead letter {letter} is not there, or was replayed")).await
}

pub(super) async fn remove(connection: &mut AnyConnection, letter: LetterId) -> Result<(), StoreError> {
    let sql = "DELETE FROM dead_letters WHERE letter = $1 AND replayed IS NOT NULL";
    let sql = sqlx::query(sql).bind(letter.to_string());
    value::change_one(connection, sql, || format!("dead letter {letter} is not there, or was not replayed")).await
}

pub(super) async fn set_rules(connection: &mut AnyConnection, sha256: Sha256) -> Result<(), StoreError> {
    let sql = sqlx::query("UPDATE rules SET sha256 = $1 WHERE sha256 <> $1").bind(sha256.to_string());
    value::change_one(connection, sql, || format!("the rules {sha256} were in force before")).await
}

pub(super) async fn by_id(
    connection: &mut AnyConnection,
    letter: LetterId,
) -> Result<Option<LetterRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM dead_letters WHERE letter = $1").bind(letter.to_string());
    value::one(connection, sql, read).await
}

pub(super) async fn list(
    connection: &mut AnyConnection,
    after: Option<LetterId>,
    limit: u32,
) -> Result<Vec<LetterRecord>, StoreError> {
    let sql = "SELECT * FROM dead_letters WHERE $1 IS NULL OR (received, letter) < \
               (SELECT received, letter FROM dead_letters WHERE letter = $1) \
               ORDER BY received DESC, letter DESC LIMIT $2";
    let sql = sqlx::query(sql).bind(after.map(|letter| letter.to_string())).bind(i64::from(limit));
    value::many(connection, sql, read).await
}
