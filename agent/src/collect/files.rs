//! Files by glob, with their content.
//!
//! A symbolic link is followed only where an asked path goes through it; the link is recorded as well. Secrets
//! (`/etc/shadow`, private keys) come as metadata and digest, whatever the profile says, unless the order lets their
//! class through. Network and FUSE mounts are entered only when `mounts` names them.

use schemars::JsonSchema;
use serde::Deserialize;
use wire::{ByteSize, Tier};

use super::{Collect, Failure, Plan};
use crate::files::gather::Request;
use crate::files::since::Since;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::meta::Type;
use crate::run::session::Session;

/// Arguments of `collect: files`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// What to take. `~/` stands for every home in /etc/passwd and for /root.
    paths: Vec<Glob>,
    /// What to leave out, with all below it.
    #[serde(default)]
    exclude: Vec<Glob>,
    /// Only what changed at this moment or later, by content (mtime) or by inode (ctime).
    #[serde(default)]
    changed_since: Option<Since>,
    /// The most bytes of one file: 1 GiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
    /// Only objects of these types: all when nothing is said.
    #[serde(default)]
    types: Vec<TypeName>,
    /// Mount points of network and FUSE file systems that are entered.
    #[serde(default)]
    mounts: Vec<String>,
}

/// A type of object, as records name it.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum TypeName {
    File,
    Dir,
    Symlink,
    Fifo,
    Socket,
    Char,
    Block,
}

impl From<TypeName> for Type {
    fn from(name: TypeName) -> Self {
        match name {
            TypeName::File => Self::File,
            TypeName::Dir => Self::Folder,
            TypeName::Symlink => Self::Link,
            TypeName::Fifo => Self::Fifo,
            TypeName::Socket => Self::Socket,
            TypeName::Char => Self::Char,
            TypeName::Block => Self::Block,
        }
    }
}

impl Files {
    fn with_request<T>(&self, with: impl FnOnce(Request<'_>) -> T) -> T {
        let types: Vec<Type> = self.types.iter().map(|name| Type::from(*name)).collect();
        with(Request {
            paths: &self.paths,
            exclude: &self.exclude,
            changed_since: self.changed_since,
            file_bytes_max: self.file_bytes_max.map(|size| size.0),
            types: &types,
            mounts: &self.mounts,
        })
    }
}

impl Collect for Files {
    const NAME: &'static str = "files";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str = "Files by glob: metadata, extended attributes and content.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        self.with_request(|request| request.gather(session))
    }

    fn plan(&self, host: &Host) -> Plan {
        self.with_request(|request| request.plan(host))
    }
}

#[cfg(test)]
mod tests;
