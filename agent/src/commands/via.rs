//! The way to the server, where it is not a straight one.

use std::path::PathBuf;

use clap::Args;

use super::{Refusal, exit};
use crate::transport::proxy::{Proxy, ProxyError};

/// See the module.
#[derive(Args)]
pub struct Via {
    /// Reach the server through this HTTP CONNECT proxy, or through the relay of another agent (holdfast-agent relay)
    #[arg(long, value_name = "http://ADDR:PORT")]
    proxy: Option<String>,
    /// What the proxy wants to know: a file with one line, user:password, that only its owner can read
    #[arg(long, value_name = "FILE", requires = "proxy")]
    proxy_credentials: Option<PathBuf>,
}

impl Via {
    /// The proxy, if there is one.
    pub(super) fn proxy(&self) -> Result<Option<Proxy>, Refusal> {
        let Some(address) = &self.proxy else { return Ok(None) };
        Ok(Some(Proxy::given(address, self.proxy_credentials.as_deref())?))
    }

    /// True when something was asked for.
    pub(super) fn is_given(&self) -> bool {
        self.proxy.is_some()
    }
}

impl From<ProxyError> for Refusal {
    fn from(error: ProxyError) -> Self {
        match &error {
            ProxyError::Address(_) => Self::new(exit::USAGE, &error),
            ProxyError::Secret => Self::new(exit::USAGE, &error)
                .hint("everybody on this host can read it there: put user:password into a file and give it with --proxy-credentials"),
            ProxyError::File { source, path } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Self::new(exit::REFUSED, &error).hint(format!("chmod go= {0}; chown root {0}", path.display()))
            }
            ProxyError::File { .. } => Self::new(exit::INPUT, &error).hint("give the path of a file that can be read"),
            ProxyError::Credentials { .. } => Self::new(exit::INPUT, &error),
        }
    }
}
