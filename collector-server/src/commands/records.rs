//! Where the records are, for every command that works on them: the file in the data directory, or a database that
//! servers share.

use anyhow::anyhow;

use super::{Failure, INPUT, USAGE};
use crate::store::sql::postgres::Address;

/// What says the same as `--database`, and may hold a password: unlike the command line, the environment of a process is
/// seen by its user alone.
pub const VARIABLE: &str = "HOLDFAST_DATABASE_URL";

/// See the module.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Records {
    /// Keep the records in PostgreSQL, at postgres://USER@HOST/DATABASE, and not in a file of the data directory;
    /// the password comes from ~/.pgpass or $PGPASSFILE, or the whole address from $HOLDFAST_DATABASE_URL
    #[arg(long, value_name = "URL")]
    database: Option<Address>,
}

impl Records {
    /// The database, unless the records are in the data directory.
    ///
    /// # Errors
    /// For a password on the command line, and for a variable that holds no address.
    pub fn address(&self) -> Result<Option<Address>, Failure> {
        match &self.database {
            Some(address) if address.has_password() => Err(Failure {
                code: USAGE,
                error: anyhow!("--database holds a password, which everybody on this host can see"),
                hint: Some(format!("put it into ~/.pgpass (pgpass(5)), or the whole address into ${VARIABLE}")),
            }),
            Some(address) => Ok(Some(address.clone())),
            None => match std::env::var(VARIABLE) {
                Ok(text) if !text.is_empty() => text.parse().map(Some).map_err(|wrong| Failure {
                    code: INPUT,
                    error: anyhow!("${VARIABLE}: {wrong}"),
                    hint: Some("postgres://USER:PASSWORD@HOST/DATABASE".to_owned()),
                }),
                _ => Ok(None),
            },
        }
    }
}
