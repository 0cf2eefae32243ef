//! Records in and out of columns.

use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Row as _, Sqlite};
use wire::Instant;

use super::super::StoreError;

pub(super) type Sql<'q> = Query<'q, Sqlite, SqliteArguments>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A value that this database cannot hold: nothing wraps.
#[derive(Debug, thiserror::Error)]
#[error("{what} {value} is beyond what the database can hold")]
struct Unstorable {
    what: &'static str,
    value: String,
}

/// A column that does not hold what was written there.
#[derive(Debug, thiserror::Error)]
#[error("column {0} cannot be read")]
struct Unreadable(&'static str, #[source] BoxError);

pub(super) fn backend(error: impl Into<BoxError>) -> StoreError {
    StoreError::Backend(error.into())
}

pub(super) fn unstorable(what: &'static str, value: impl Display) -> StoreError {
    backend(Unstorable { what, value: value.to_string() })
}

/// A count or a length as SQLite's integer.
pub(super) fn count(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| unstorable("the number", value))
}

/// Nanoseconds since the epoch: they reach to the year 2262, and sort.
pub(super) fn instant(value: Instant) -> Result<i64, StoreError> {
    i64::try_from(value.0).map_err(|_| unstorable("the time", value))
}

pub(super) fn instant_or_null(value: Option<Instant>) -> Result<Option<i64>, StoreError> {
    value.map(instant).transpose()
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(backend)
}

/// The one word as which an enum is serialised.
pub(super) fn word<T: Serialize>(value: &T) -> Result<String, StoreError> {
    match serde_json::to_value(value).map_err(backend)? {
        serde_json::Value::String(word) => Ok(word),
        other => Err(unstorable("the word", other)),
    }
}

/// A row that is read by the names of its columns.
pub(super) struct Columns<'r>(pub &'r SqliteRow);

impl Columns<'_> {
    pub fn text(&self, name: &'static str) -> Result<String, StoreError> {
        self.0.try_get(name).map_err(backend)
    }

    pub fn text_or_null(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        self.0.try_get(name).map_err(backend)
    }

    /// An id or a digest.
    pub fn parsed<T: FromStr<Err: Into<BoxError>>>(&self, name: &'static str) -> Result<T, StoreError> {
        parse(name, &self.text(name)?)
    }

    pub fn parsed_or_null<T: FromStr<Err: Into<BoxError>>>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        self.text_or_null(name)?.map(|text| parse(name, &text)).transpose()
    }

    pub fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(name)?).map_err(|error| backend(Unreadable(name, error.into())))
    }

    pub fn word<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, StoreError> {
        let word = serde_json::Value::String(self.text(name)?);
        serde_json::from_value(word).map_err(|error| backend(Unreadable(name, error.into())))
    }

    pub fn count(&self, name: &'static str) -> Result<u64, StoreError> {
        let value: i64 = self.0.try_get(name).map_err(backend)?;
        u64::try_from(value).map_err(|error| backend(Unreadable(name, error.into())))
    }

    pub fn count_or_null(&self, name: &'static str) -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = self.0.try_get(name).map_err(backend)?;
        value.map(|value| u64::try_from(value).map_err(|error| backend(Unreadable(name, error.into())))).transpose()
    }

    /// A time in seconds, which may lie before the epoch.
    pub fn seconds(&self, name: &'static str) -> Result<i64, StoreError> {
        self.0.try_get(name).map_err(backend)
    }

    pub fn instant(&self, name: &'static str) -> Result<Instant, StoreError> {
        let value: i64 = self.0.try_get(name).map_err(backend)?;
        Ok(Instant(i128::from(value)))
    }

    pub fn instant_or_null(&self, name: &'static str) -> Result<Option<Instant>, StoreError> {
        let value: Option<i64> = self.0.try_get(name).map_err(backend)?;
        Ok(value.map(|value| Instant(i128::from(value))))
    }
}

fn parse<T: FromStr<Err: Into<BoxError>>>(name: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error: T::Err| backend(Unreadable(name, error.into())))
}

/// A record made of a row.
pub(super) type Read<T> = fn(&Columns<'_>) -> Result<T, StoreError>;

pub(super) async fn one<T>(
    connection: &mut SqliteConnection,
    sql: Sql<'_>,
    read: Read<T>,
) -> Result<Option<T>, StoreError> {
    let row = sql.fetch_optional(connection).await.map_err(backend)?;
    row.as_ref().map(|row| read(&Columns(row))).transpose()
}

pub(super) async fn many<T>(
    connection: &mut SqliteConnection,
    sql: Sql<'_>,
    read: Read<T>,
) -> Result<Vec<T>, StoreError> {
    let rows = sql.fetch_all(connection).await.map_err(backend)?;
    rows.iter().map(|row| read(&Columns(row))).collect()
}

/// Adds a row; one that is there already, or that names what is not there, is a conflict.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    sql: Sql<'_>,
    subject: impl FnOnce() -> String,
) -> Result<(), StoreError> {
    match sql.execute(connection).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(StoreError::Conflict(format!("{} is there already", subject())))
        }
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(StoreError::Conflict(format!("{} names something that is not there", subject())))
        }
        Err(error) => Err(backend(error)),
    }
}

/// Changes one row; when there is none of which the statement's conditions hold, that is a conflict.
pub(super) async fn change_one(
    connection: &mut SqliteConnection,
    sql: Sql<'_>,
    conflict: impl FnOnce() -> String,
) -> Result<(), StoreError> {
    match sql.execute(connection).await {
        Ok(done) if done.rows_affected() == 1 => Ok(()),
        Ok(_) => Err(StoreError::Conflict(conflict())),
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() || error.is_check_violation() => {
            Err(StoreError::Conflict(conflict()))
        }
        Err(error) => Err(backend(error)),
    }
}
