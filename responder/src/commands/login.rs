//! `holdfast login`: from then on this machine knows the server by its CA, and the server knows who asks.

use std::path::PathBuf;

use anyhow::anyhow;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use wire::Sha256;
use wire::api::{Me, Role};

use super::{Failure, INPUT, REFUSED};
use crate::api::{self, Api};
use crate::config::Config;
use crate::secret::Secret;
use crate::show;

/// Log in to a server, which is known by its CA's digest.
#[derive(clap::Args)]
#[command(after_help = "The token is never an argument: others could read it in the list of processes.")]
pub struct Login {
    /// The server, https://HOST:PORT.
    url: String,
    /// Digest of its CA's certificate, as `holdfast-server ca show` prints it on the server.
    #[arg(long, value_name = "HEX", value_parser = digest)]
    ca_sha256: Sha256,
    /// Read the token from this file, or from standard input (`-`); otherwise the terminal asks for it.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Print the server's answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Login {
    /// Checks the CA, then the token, then keeps both.
    pub fn run(self) -> Result<u8, Failure> {
        let mut config = Config::load()?;
        let server = api::origin(&self.url)?;
        // Before the token is asked for: nothing goes to a server that is another one.
        let ca_pem = api::ca_unverified(&server)?;
        check(&server, &ca_pem, self.ca_sha256)?;
        let token = Secret::ask(self.token.as_deref(), "token")?;
        let api = Api::new(&server, &ca_pem, token.clone())?;
        let answer = api.get("/api/v1/me")?;
        let me: Me = api::read(&server, answer.clone())?;
        config.settings.server = Some(server.clone());
        config.settings.server_signer = Some(me.server_signer.clone());
        config.settings.user = Some(me.name.clone());
        config.write("ca.pem", &ca_pem)?;
        config.write("token", &format!("{}\n", token.reveal()))?;
        config.save()?;
        if self.json {
            show::print(&format!("{answer}\n"))?;
        }
        let role = serde_json::to_value(me.role).ok().and_then(|role| role.as_str().map(str::to_owned));
        show::remark(&format!(
            "logged in to {server} as {} ({})",
            crate::escape::shown(&me.name),
            role.unwrap_or_default()
        ));
        // The other roles dispatch nothing.
        if me.role == Role::Responder && config.settings.key.is_none() {
            show::remark(&format!("hint: to dispatch collections you need a key: {}", config.key_hint()));
        }
        Ok(0)
    }
}

/// A digest as an argument. Other programs print them in capitals.
fn digest(text: &str) -> Result<Sha256, String> {
    text.to_ascii_lowercase().parse().map_err(|_| "64 hex digits are wanted".to_owned())
}

/// The one certificate in `pem` must have this digest.
fn check(server: &str, pem: &str, wanted: Sha256) -> Result<(), Failure> {
    let der = der_of(pem).ok_or_else(|| {
        Failure::new(INPUT, anyhow!("what {server} gives as its CA is not one certificate"))
            .hint("is this a holdfast-server?")
    })?;
    let found = Sha256::of(&der);
    if found == wanted {
        return Ok(());
    }
    Err(Failure::new(REFUSED, anyhow!("{server} has another CA: its digest is {found}"))
        .hint("do not go on unless the server's administrator confirms this digest to you on another way"))
}

/// The bytes of the only certificate in a PEM text (RFC 7468).
fn der_of(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, after) = rest.split_once("-----END CERTIFICATE-----")?;
    if after.contains("-----BEGIN") {
        return None;
    }
    BASE64_STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_may_come_in_capitals() {
        let wanted = Sha256::of(b"abc");
        assert_eq!(digest(&wanted.to_string().to_uppercase()), Ok(wanted));
        assert!(digest(&wanted.to_string()[1..]).is_err());
    }

    #[test]
    fn only_the_named_ca_is_taken() {
        let one = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        assert!(check("https://h", one, Sha256::of(&[1, 2, 3])).is_ok());
        let other = check("https://h", one, Sha256::of(b"")).unwrap_err();
        assert_eq!(other.code, REFUSED);
        assert!(other.error.to_string().contains(&Sha256::of(&[1, 2, 3]).to_string()));
        for bad in ["", "AQID", &format!("{one}{one}"), &one.replace("AQID", "A_ID")] {
            assert_eq!(check("https://h", bad, Sha256::of(&[1, 2, 3])).unwrap_err().code, INPUT, "{bad}");
        }
    }
}
