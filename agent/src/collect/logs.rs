//! Logs: the files below `/var/log`, `/run/log` and `/var/adm`, journals included, with their content.

use schemars::JsonSchema;
use serde::Deserialize;
use wire::{ByteSize, Tier};

use super::{Collect, Failure, Plan};
use crate::files::gather::Request;
use crate::files::since::Since;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::run::session::Session;

/// Where logs are kept; `/var/adm` is the older place of the login records.
const PATHS: [&str; 3] = ["/var/log/**", "/run/log/**", "/var/adm/**"];

/// Arguments of `collect: logs`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// What to leave out, with all below it.
    #[serde(default)]
    exclude: Vec<Glob>,
    /// Only what changed at this moment or later.
    #[serde(default)]
    changed_since: Option<Since>,
    /// The most bytes of one file: 1 GiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
}

impl Logs {
    fn with_request<T>(&self, with: impl FnOnce(Request<'_>) -> T) -> T {
        let paths = Glob::table(&PATHS);
        with(Request {
            exclude: &self.exclude,
            changed_since: self.changed_since,
            file_bytes_max: self.file_bytes_max.map(|size| size.0),
            ..Request::of(&paths)
        })
    }
}

impl Collect for Logs {
    const NAME: &'static str = "logs";
    const TIER: Tier = Tier::Logs;
    const SUMMARY: &'static str = "Log files and journals: everything below /var/log, /run/log and /var/adm.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        self.with_request(|request| request.gather(session))
    }

    fn plan(&self, host: &Host) -> Plan {
        self.with_request(|request| request.plan(host))
    }
}
