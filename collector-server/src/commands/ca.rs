//! `holdfast-server ca`: what hosts and browsers know the server by.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::Failure;
use crate::authority::Authority;

/// What can be asked of the CA.
#[derive(Subcommand)]
pub enum Ca {
    /// Print the CA's certificate and, on standard error, its digest
    Show {
        /// The server's data directory
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Print both as one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Ca {
    /// Does it. The private key is not touched, and the server may run.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self) -> Result<(), Failure> {
        let Self::Show { data, json } = self;
        let path = data.join("ca.pem");
        let pem = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()));
        let pem = pem.map_err(|error| Failure {
            code: super::UNAVAILABLE,
            error,
            hint: Some("--data names the directory that the server was started with".to_owned()),
        })?;
        let sha256 = Authority::digest_of(&pem).context("ca.pem holds no certificate")?;
        if json {
            return Ok(writeln!(std::io::stdout(), "{}", json!({ "pem": pem, "sha256": sha256 }))?);
        }
        writeln!(std::io::stderr(), "sha256 {sha256}")?;
        Ok(std::io::stdout().write_all(pem.as_bytes())?)
    }
}
