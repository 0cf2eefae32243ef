//! `holdfast-server migrate`: the records are brought to this version's tables, or everything is moved to another place.
//!
//! `serve` brings the tables forward by itself; this does only that, so that an upgrade can be two steps. With `--to` or
//! `--to-objects` everything is copied: the source stays as it is, and must not be served meanwhile. That is held by the
//! data directory's lock, and found out at the end where another server wrote to a database that they share.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use bundle::time::Clock;

use super::place::{Held, Place, bytes_in_words};
use super::scrub::print;
use super::{Failure, INPUT, USAGE};
use crate::data_dir::DataDir;
use crate::holdings::restore::no_objects;
use crate::holdings::scrub::Scrub;
use crate::holdings::transfer::Transfer;
use crate::objects::{Bucket, Objects};
use crate::process::open_objects;
use crate::store::Store as _;
use crate::store::sql::Database;
use crate::store::sql::postgres::Address;

/// Bring the records to this version, or move everything to another place
#[derive(clap::Args)]
pub struct Migrate {
    /// See [`Place`].
    #[command(flatten)]
    place: Place,
    /// Copy the records there: postgres://USER@HOST/DATABASE, or `embedded` for the data directory
    #[arg(long, value_name = "DATABASE")]
    to: Option<To<Address>>,
    /// Copy the objects there: s3://BUCKET or s3://BUCKET/PREFIX, or `embedded` for the data directory
    #[arg(long, value_name = "URL")]
    to_objects: Option<To<Bucket>>,
}

/// A place, on the command line.
#[derive(Clone, Debug)]
enum To<Elsewhere> {
    Embedded,
    Elsewhere(Elsewhere),
}

impl<Elsewhere: FromStr> FromStr for To<Elsewhere> {
    type Err = Elsewhere::Err;

    fn from_str(text: &str) -> Result<Self, Elsewhere::Err> {
        if text == "embedded" { Ok(Self::Embedded) } else { text.parse().map(Self::Elsewhere) }
    }
}

impl Migrate {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, clock: &dyn Clock) -> Result<(), Failure> {
        let Self { place, to, to_objects } = self;
        if !place.data.is_dir() {
            let hint = Some("--data names the directory that the server was started with".to_owned());
            return Err(Failure {
                code: super::UNAVAILABLE,
                error: anyhow!("{} is not there", place.data.display()),
                hint,
            });
        }
        // No server uses it meanwhile.
        let dir = DataDir::open(&place.data)?;
        let objects_before = place.objects.clone();
        let address_before = place.records.address()?;
        let held = place.open().await?;
        let mut out = std::io::stdout();
        let schema = held.records.schema().await.context("the records cannot be read")?;
        writeln!(
            out,
            "records    {}: the tables are those of schema {schema}, as this version has them",
            held.records
        )?;
        if to.is_none() && to_objects.is_none() {
            held.records.close().await;
            return Ok(());
        }
        let target = match &to {
            None => None,
            Some(To::Embedded) if held.is_embedded => return Err(is_there("records")),
            Some(To::Embedded) => Some(Database::in_file(&dir.database()).await),
            Some(To::Elsewhere(address)) if address.has_password() => {
                return Err(Failure {
                    code: USAGE,
                    error: anyhow!("--to holds a password, which everybody on this host can see"),
                    hint: Some("put it into ~/.pgpass (pgpass(5))".to_owned()),
                });
            }
            Some(To::Elsewhere(address)) => Some(Database::at(address).await),
        };
        let target = target.transpose().context("the other database cannot be opened")?;
        if let Some(target) = &target {
            target.check_empty().await.map_err(not_empty)?;
        }
        let objects = match &to_objects {
            None => None,
            Some(To::Embedded) if objects_before.is_none() => return Err(is_there("objects")),
            Some(To::Embedded) => Some(open_objects(&dir.objects(), None).await?),
            Some(To::Elsewhere(bucket)) => Some(open_objects(&dir.objects(), Some(bucket)).await?),
        };
        if let Some(objects) = &objects {
            move_objects(&held, objects).await?;
        }
        if let Some(target) = &target {
            move_records(&held, target).await?;
        }
        let heads = dir.custody_heads();
        let scrub = Scrub {
            heads: &heads,
            now: clock.realtime(),
            objects: objects.as_ref().unwrap_or(&held.objects),
            store: target.as_ref().unwrap_or(&held.records),
            signer: dir.signer()?.public(),
        };
        let report = scrub.custody().await.context("the copy cannot be read")?;
        print(&report, false)?;
        if !report.is_sound() {
            let hint = Some("the source is as it was: scrub it".to_owned());
            return Err(Failure {
                code: super::WRONG,
                error: anyhow!("the custody log of the copy is not sound"),
                hint,
            });
        }
        let was_embedded = held.is_embedded;
        held.records.close().await;
        if let Some(target) = target {
            target.close().await;
            if was_embedded {
                set_aside(&dir.database())?;
            }
        }
        let database = match (&to, &address_before) {
            (Some(To::Elsewhere(address)), _) | (None, Some(address)) => format!(" --database {address}"),
            _ => String::new(),
        };
        let objects = match (&to_objects, &objects_before) {
            (Some(To::Elsewhere(bucket)), _) | (None, Some(bucket)) => format!(" --objects {bucket}"),
            _ => String::new(),
        };
        writeln!(out, "start      holdfast-server serve --data {}{database}{objects}", dir.folder().display())?;
        Ok(())
    }
}

fn is_there(what: &str) -> Failure {
    let hint = Some("name another place than the one where they are".to_owned());
    Failure { code: INPUT, error: anyhow!("the {what} are in the data directory already"), hint }
}

async fn move_objects(held: &Held, to: &Objects) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    no_objects(to).await.map_err(not_empty)?;
    let moved = Transfer::all(&held.records, &held.objects, to, &HashMap::new()).await;
    let moved = moved.context("the objects were not copied; the source is as it was")?;
    let (count, bytes) = (moved.moved.len(), bytes_in_words(moved.bytes()));
    writeln!(out, "objects    {count} ({bytes}) are in {to} now, each with the digest that it had")?;
    Ok(())
}

async fn move_records(held: &Held, to: &Database) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let copied = held.records.copy_to(to).await;
    let copied = copied.map_err(anyhow::Error::from).map_err(not_empty)?;
    for table in &copied {
        writeln!(out, "copied     {:<14} {:>9} rows  sha256 {}", table.table, table.rows, table.sha256)?;
    }
    let heads = (held.records.head().await, to.head().await);
    let (before, after) = (heads.0.context("the source cannot be read")?, heads.1.context("the copy cannot be read")?);
    if before == after {
        return Ok(());
    }
    let error = anyhow!("somebody wrote to {} meanwhile: the copy is not whole", held.records);
    Err(Failure {
        code: super::UNAVAILABLE,
        error,
        hint: Some("stop every server on it, and copy into a new place".to_owned()),
    })
}

fn not_empty(error: impl Into<anyhow::Error>) -> Failure {
    let hint = Some("everything is copied into an empty place only; nothing was changed here".to_owned());
    Failure { code: super::UNAVAILABLE, error: error.into(), hint }
}

/// A server that is started as before must not go on with records that are continued elsewhere.
fn set_aside(file: &Path) -> Result<(), Failure> {
    let aside = (0..=u16::MAX).map(|n| file.with_extension(format!("db.moved-{n}"))).find(|path| !path.exists());
    let aside = aside.context("there is no name for the old records")?;
    std::fs::rename(file, &aside).with_context(|| format!("{} cannot be set aside", file.display()))?;
    Ok(writeln!(std::io::stdout(), "kept       the old records as {}", aside.display())?)
}
