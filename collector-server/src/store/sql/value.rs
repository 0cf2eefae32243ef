//! Records in and out of columns: integers of 64 bits, texts, and bytes, which both databases have.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::error::DatabaseError;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Row as _};
use wire::Instant;

use super::super::StoreError;

pub(super) type Sql<'q> = Query<'q, Any, AnyArguments>;
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

/// A count or a length as the databases' integer.
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

/// PostgreSQL's texts have no NUL, and texts from alerts and hosts may: it is written as [`MARK`] and a `0`, and the mark
/// as two of it. Unicode promises that nobody means anything by this character.
const MARK: char = '\u{fdd0}';

/// A text that may hold anything.
pub(super) fn text(text: &str) -> String {
    if !text.contains(['\0', MARK]) {
        return text.to_owned();
    }
    text.replace(MARK, "\u{fdd0}\u{fdd0}").replace('\0', "\u{fdd0}0")
}

/// What [`text`] would have made of a text that an older version wrote.
pub(super) fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fdd0}0") } else { text }
}

pub(super) fn text_or_null(value: Option<&String>) -> Option<String> {
    value.map(|value| text(value))
}

/// Texts that may hold anything, as a list in which queries look.
pub(super) fn texts_json(texts: &BTreeSet<String>) -> Result<String, StoreError> {
    json(&texts.iter().map(|one| text(one)).collect::<BTreeSet<_>>())
}

/// What [`text`] was made of. Older databases hold it unchanged.
fn untext(text: String) -> String {
    if !text.contains(MARK) {
        return text;
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = rest.next() {
        match (c, rest.as_str().chars().next()) {
            (MARK, Some('0')) => out.push('\0'),
            (MARK, Some(MARK)) => out.push(MARK),
            (c, _) => {
                out.push(c);
                continue;
            }
        }
        rest.next();
    }
    out
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
pub(super) struct Columns<'r>(pub &'r AnyRow);

impl Columns<'_> {
    pub fn text(&self, name: &'static str) -> Result<String, StoreError> {
        self.verbatim(name).map(untext)
    }

    pub fn text_or_null(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        let text: Option<String> = self.0.try_get(name).map_err(backend)?;
        Ok(text.map(untext))
    }

    /// A text that the server made and wrote as it is: JSON, an id, a word.
    pub fn verbatim(&self, name: &'static str) -> Result<String, StoreError> {
        self.0.try_get(name).map_err(backend)
    }

    pub fn texts_json(&self, name: &'static str) -> Result<BTreeSet<String>, StoreError> {
        Ok(self.json::<BTreeSet<String>>(name)?.into_iter().map(untext).collect())
    }

    /// An id or a digest.
    pub fn parsed<T: FromStr<Err: Into<BoxError>>>(&self, name: &'static str) -> Result<T, StoreError> {
        parse(name, &self.text(name)?)
    }

    pub fn parsed_or_null<T: FromStr<Err: Into<BoxError>>>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        self.text_or_null(name)?.map(|text| parse(name, &text)).transpose()
    }

    pub fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(&self.verbatim(name)?).map_err(|error| backend(Unreadable(name, error.into())))
    }

    pub fn json_or_null<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.0.try_get(name).map_err(backend)?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| backend(Unreadable(name, error.into()))))
            .transpose()
    }

    pub fn word<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, StoreError> {
        let word = serde_json::Value::String(self.verbatim(name)?);
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
    connection: &mut AnyConnection,
    sql: Sql<'_>,
    read: Read<T>,
) -> Result<Option<T>, StoreError> {
    let row = sql.fetch_optional(connection).await.map_err(backend)?;
    row.as_ref().map(|row| read(&Columns(row))).transpose()
}

pub(super) async fn many<T>(connection: &mut AnyConnection, sql: Sql<'_>, read: Read<T>) -> Result<Vec<T>, StoreError> {
    let rows = sql.fetch_all(connection).await.map_err(backend)?;
    rows.iter().map(|row| read(&Columns(row))).collect()
}

/// In PostgreSQL long texts are unique by an exclusion constraint, which has a code of its own.
fn is_there_already(error: &dyn DatabaseError) -> bool {
    error.is_unique_violation() || error.code().is_some_and(|code| code == "23P01")
}

/// Adds a row; one that is there already, or that names what is not there, is a conflict.
pub(super) async fn add(
    connection: &mut AnyConnection,
    sql: Sql<'_>,
    subject: impl FnOnce() -> String,
) -> Result<(), StoreError> {
    match sql.execute(connection).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) if is_there_already(&*error) => {
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
    connection: &mut AnyConnection,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back_and_none_has_a_nul() {
        let odd = ["", "\0", "\u{fdd0}", "\u{fdd0}0", "a\0\u{fdd0}\0b", "\u{fdd0}\u{fdd0}00", "\u{fdd0}\0"];
        let stored: BTreeSet<String> = odd.iter().map(|one| text(one)).collect();
        assert_eq!(stored.len(), odd.len());
        for one in odd {
            assert!(!text(one).contains('\0'));
            assert_eq!(untext(text(one)), one);
        }
        // As an older version wrote them.
        assert_eq!(untext("x\0\u{fdd0}y".to_owned()), "x\0\u{fdd0}y");
    }
}
