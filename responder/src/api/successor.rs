//! The server's CA is replaced by one that it vouches for; whoever is logged in follows on that word, and on no other.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::blocking::Client;
use reqwest::header::HeaderMap;
use wire::Sha256;

use crate::config::Config;
use crate::show::{now, remark};

/// Names the newer CA by its digest.
const HEADER: &str = "holdfast-ca";
const PEM_BYTES_MAX: u64 = 64 << 10;

/// See the module.
pub struct Successor {
    ca_pem: String,
    config: PathBuf,
    is_followed: AtomicBool,
}

impl Successor {
    /// Of the login in this configuration.
    pub fn of(config: &Config, ca_pem: String) -> Self {
        Self { ca_pem, config: config.path(""), is_followed: AtomicBool::new(false) }
    }

    /// Looks whether the answer names a CA that is not known yet, and keeps it when one that is known vouches for it. That
    /// it did not go well is said, and ends nothing: the old CA still serves.
    pub fn follow(&self, client: &Client, server: &str, answer: &HeaderMap) {
        let named = answer.get(HEADER).and_then(|value| value.to_str().ok()?.parse::<Sha256>().ok());
        let Some(named) = named.filter(|named| !bundle::ca::digests(&self.ca_pem).contains(named)) else { return };
        if self.is_followed.swap(true, Ordering::Relaxed) {
            return;
        }
        match self.keep(client, server) {
            Ok(()) => remark(&format!("the server's CA is being replaced: its next one, {named}, is known here now")),
            Err(why) => remark(&format!("the server's CA is being replaced, and its next one is not believed: {why}")),
        }
    }

    fn keep(&self, client: &Client, server: &str) -> Result<(), String> {
        let response =
            client.get(format!("{server}/ca.pem")).send().map_err(|error| error.without_url().to_string())?;
        let mut offered = String::new();
        response.take(PEM_BYTES_MAX).read_to_string(&mut offered).map_err(|error| error.to_string())?;
        let trusted = bundle::ca::follow(&self.ca_pem, &offered, now()).map_err(|error| error.to_string())?;
        let config = Config::at(&self.config).map_err(|failure| failure.error.to_string())?;
        config.write("ca.pem", &trusted).map_err(|failure| failure.error.to_string())
    }
}
