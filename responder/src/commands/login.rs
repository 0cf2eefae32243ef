//! `holdfast login`: from then on this machine knows the server by its CA, and the server knows who asks.

use std::path::PathBuf;

use anyhow::anyhow;
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
        let ca_pem = check(&server, &api::ca_unverified(&server)?, self.ca_sha256)?;
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

/// The certificate in `pem` that has this digest, alone. While a CA is replaced there is more than one.
fn check(server: &str, pem: &str, wanted: Sha256) -> Result<String, Failure> {
    let digests = bundle::ca::digests(pem);
    let Some(found) = digests.first() else {
        return Err(Failure::new(INPUT, anyhow!("what {server} gives as its CA is no certificate"))
            .hint("is this a holdfast-server?"));
    };
    if digests.contains(&wanted) {
        return Ok(bundle::ca::keep(pem, &[wanted]));
    }
    Err(Failure::new(REFUSED, anyhow!("{server} has another CA: its digest is {found}"))
        .hint("do not go on unless the server's administrator confirms this digest to you on another way"))
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
        let pem = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        let (one, other) = (pem("AQID"), pem("BAUG"));
        let wanted = Sha256::of(&[1, 2, 3]);
        assert_eq!(check("https://h", &one, wanted).unwrap(), one);
        assert_eq!(check("https://h", &format!("{other}{one}"), wanted).unwrap(), one, "while it is replaced");
        let refused = check("https://h", &one, Sha256::of(b"")).unwrap_err();
        assert_eq!(refused.code, REFUSED);
        assert!(refused.error.to_string().contains(&wanted.to_string()));
        for bad in ["", "AQID", &one.replace("AQID", "A_ID")] {
            assert_eq!(check("https://h", bad, wanted).unwrap_err().code, INPUT, "{bad}");
        }
    }
}
