//! An HTTP CONNECT proxy on the way to the server, or another agent's relay. TLS goes through it unopened, so it is
//! trusted with nothing but to be there.
//!
//! It is believed only from the command line of root (`--proxy`), never from the environment: whoever can set a variable
//! for the agent would else see where it dials, and when.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::client::plain;
use crate::state::file;

/// A file of credentials is at most this long.
const CREDENTIALS_BYTES_MAX: u64 = 4 << 10;

/// See the module. Its `Debug` shows nothing secret of it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// `user:password`, where it wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credentials: Option<String>,
    /// `http://host:port`
    url: String,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = self.credentials.as_ref().map(|_| "***");
        f.debug_struct("Proxy").field("credentials", &credentials).field("url", &self.url).finish()
    }
}

/// A proxy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It is no address of one. What was given is shown only where it can hold no password.
    #[error("{0} is no address of a proxy: http://ADDR:PORT is wanted")]
    Address(String),
    /// There are a user and a password in the address: every user of the host could read them in the process list.
    #[error("the address of the proxy holds a user or a password")]
    Secret,
    /// The file of credentials cannot be read, or others can read it as well.
    #[error("the credentials in {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds none.
    #[error("{} is not one line of user:password", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
    },
}

impl Proxy {
    /// The proxy at this address, with the credentials in this file.
    ///
    /// # Errors
    /// [`ProxyError`].
    pub fn given(address: &str, credentials: Option<&Path>) -> Result<Self, ProxyError> {
        let url = parse(address)?;
        let credentials = credentials.map(read_credentials).transpose()?;
        Ok(Self { credentials, url: url.as_str().trim_end_matches('/').to_owned() })
    }

    /// `http://host:port`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of `Proxy-Authorization`, where it wants to know.
    pub fn authorization(&self) -> Option<HeaderValue> {
        let encoded = BASE64_STANDARD.encode(self.credentials.as_ref()?);
        let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// For [`Client`](super::client::Client).
    pub(super) fn to_reqwest(&self) -> reqwest::Result<reqwest::Proxy> {
        let proxy = reqwest::Proxy::all(&self.url)?;
        Ok(match self.authorization() {
            Some(value) => proxy.custom_http_auth(value),
            None => proxy,
        })
    }
}

fn parse(address: &str) -> Result<Url, ProxyError> {
    // Something before an @ may be a password, whatever else is wrong with it.
    if address.contains('@') {
        return Err(ProxyError::Secret);
    }
    let bad = || ProxyError::Address(format!("{:?}", plain(address)));
    let url = Url::parse(address).map_err(|_| bad())?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if url.scheme() == "http" && url.has_host() && is_bare { Ok(url) } else { Err(bad()) }
}

fn read_credentials(path: &Path) -> Result<String, ProxyError> {
    let missing = || Err(io::ErrorKind::NotFound.into());
    let text = file::get_private(path, CREDENTIALS_BYTES_MAX)
        .and_then(|text| text.map_or_else(missing, Ok))
        .map_err(|source| ProxyError::File { path: path.to_owned(), source })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let is_line = !line.chars().any(char::is_control);
    match line.split_once(':') {
        Some((user, _)) if !user.is_empty() && is_line => Ok(line.to_owned()),
        _ => Err(ProxyError::Credentials { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_address_is_one_of_a_plain_proxy_without_secrets() {
        for good in ["http://10.0.0.1:3128", "http://proxy.example:3128/", "http://[::1]:3128"] {
            assert_eq!(Proxy::given(good, None).unwrap().url(), good.trim_end_matches('/'));
        }
        for bad in ["", "10.0.0.1:3128", "https://p:1", "socks5://p:1", "http://p:1/x", "http://p:1/?q", "http://"] {
            assert!(matches!(Proxy::given(bad, None), Err(ProxyError::Address(_))), "{bad}");
        }
        for secret in ["http://u:hunter2@p:1", "u:hunter2@p", "http://u@p:1"] {
            let error = Proxy::given(secret, None).unwrap_err();
            assert!(matches!(error, ProxyError::Secret) && !error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn credentials_come_from_a_file_of_ones_own_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let given = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Proxy::given("http://p:1", Some(&path))
        };
        let proxy = given("ada:hunter2:x\n", 0o600).unwrap();
        let value = proxy.authorization().unwrap();
        assert_eq!(value.to_str().unwrap(), format!("Basic {}", BASE64_STANDARD.encode("ada:hunter2:x")));
        assert!(value.is_sensitive());
        assert!(!format!("{proxy:?}").contains("hunter2"), "{proxy:?}");
        let kept: Proxy = serde_json::from_str(&serde_json::to_string(&proxy).unwrap()).unwrap();
        assert_eq!(kept, proxy);
        for mode in [0o640, 0o604, 0o660] {
            assert!(matches!(given("ada:hunter2", mode), Err(ProxyError::File { .. })), "{mode:o}");
        }
        for text in ["", "hunter2", ":hunter2", "ada:hunter2\nmore"] {
            let error = given(text, 0o400).unwrap_err();
            assert!(matches!(error, ProxyError::Credentials { .. }) && !format!("{error:?}").contains("hunter2"));
        }
    }
}
