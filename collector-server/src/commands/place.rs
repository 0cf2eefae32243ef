//! What a server holds and where it lies, for the commands that work on all of it.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use super::records::Records;
use super::{Failure, UNAVAILABLE};
use crate::objects::{Bucket, Objects};
use crate::process::open_objects;
use crate::store::sql::Database;

/// See the module.
#[derive(clap::Args)]
pub struct Place {
    /// The server's data directory
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where the objects are: s3://BUCKET or s3://BUCKET/PREFIX; DATA/objects when absent. Keys come from the environment
    #[arg(long, value_name = "URL")]
    pub objects: Option<Bucket>,
    /// See [`Records`].
    #[command(flatten)]
    pub records: Records,
}

/// What is there.
pub struct Held {
    /// The data directory.
    pub data: PathBuf,
    /// True when the records lie in the data directory.
    pub is_embedded: bool,
    /// The objects.
    pub objects: Objects,
    /// The records.
    pub records: Database,
}

impl Place {
    /// Opens what is there; makes nothing.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open(self) -> Result<Held, Failure> {
        let Self { data, objects, records } = self;
        let file = data.join("holdfast.db");
        let address = records.address()?;
        let missing = if address.is_none() { &file } else { &data };
        if !missing.exists() {
            return Err(Failure {
                code: UNAVAILABLE,
                error: anyhow!("{} is not there", missing.display()),
                hint: Some("--data names the directory that the server was started with".to_owned()),
            });
        }
        let opened = match &address {
            Some(address) => Database::at(address).await,
            None => Database::in_file(&file).await,
        };
        let records = opened.context("the records cannot be opened")?;
        let objects = open_objects(&data.join("objects"), objects.as_ref()).await?;
        Ok(Held { data, is_embedded: address.is_none(), objects, records })
    }
}

/// So many bytes, for people.
pub fn bytes_in_words(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}
