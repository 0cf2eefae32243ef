//! What is installed, by whose word, and since when: from the files of the package managers, without any of them.
//!
//! Rows: `package`, one for each package that a database or a folder of packages names (dpkg, rpm, apk, pacman, snap,
//! flatpak; pip, npm, gem and cargo where they install for the host or for a user); `package_change` and
//! `package_transaction`, what the managers' own logs say was done, the newest log first; `package_source`, where
//! packages come from. The logs, the sources and the keys go into the bundle as files.
//!
//! Known limits: a database is a file that root can change (`digests_mtime_ns` later than `installed_at_ns` is a hint);
//! dependencies inside projects (`node_modules`, virtual environments outside the usual places) are not walked for;
//! names, versions and the like are text, invalid UTF-8 replaced.

mod changes;
mod languages;
mod sources;
#[cfg(test)]
mod tests;

use bundle::item::Nanos;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::gather::Request;
use crate::files::package_database::{PackageDatabase, Wanted};
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::packages::{Manager, Package};
use crate::run::session::Session;

/// What stands behind the rows and goes into the bundle. `apt/auth.conf` and what holds tokens is left out.
const FILES: [&str; 16] = [
    "/etc/apt/{sources.list,sources.list.d/**,preferences,preferences.d/**,trusted.gpg,trusted.gpg.d/**,keyrings/**}",
    "/etc/apt/{apt.conf,apt.conf.d/**}",
    "/usr/share/keyrings/**",
    "/usr/lib/apt/methods/*",
    "/etc/{yum.conf,dnf/**,yum.repos.d/**,yum/**,zypp/**}",
    "/etc/pki/rpm-gpg/**",
    "/etc/apk/**",
    "/etc/{pacman.conf,pacman.d/mirrorlist,pacman.d/hooks/**}",
    "/var/log/{dpkg.log*,apt/**,alternatives.log*}",
    "/var/log/{dnf*,hawkey.log*,yum.log*,up2date*,zypp/**}",
    "/var/log/{pacman.log*,apk.log*}",
    "/var/lib/dpkg/{status,diversions,statoverride}",
    "/{var/lib/rpm,usr/lib/sysimage/rpm}/{rpmdb.sqlite*,Packages,Packages.db,Index.db}",
    "/lib/apk/db/{installed,scripts.tar,triggers}",
    "/var/lib/dnf/history.sqlite*",
    "/usr/lib/sysimage/libdnf5/transaction_history.sqlite*",
];

/// Arguments of `collect: packages`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// The most rows of what was done: 50,000 when nothing is said.
    #[serde(default = "changes_max")]
    changes_max: u64,
    /// False to leave the files behind the rows out of the bundle.
    #[serde(default = "yes")]
    files: bool,
}

fn changes_max() -> u64 {
    50_000
}

fn yes() -> bool {
    true
}

impl Default for Packages {
    fn default() -> Self {
        Self { changes_max: changes_max(), files: true }
    }
}

/// A package that is installed, or that a database remembers.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct PackageRow<'a> {
    /// Architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    arch: Option<&'a str>,
    /// When the list of its files' digests was last changed (dpkg's `.md5sums`).
    #[serde(skip_serializing_if = "Option::is_none")]
    digests_mtime_ns: Option<Nanos>,
    /// What its own scripts run when it is installed (npm: `preinstall`, `install`, `postinstall`).
    #[serde(skip_serializing_if = "Option::is_none")]
    install_scripts: Option<Vec<String>>,
    /// When it was installed or last upgraded: rpm's INSTALLTIME, pacman's INSTALLDATE, otherwise the time of the file
    /// that the manager writes then.
    #[serde(skip_serializing_if = "Option::is_none")]
    installed_at_ns: Option<Nanos>,
    /// The program that installed it (pip's `INSTALLER`).
    #[serde(skip_serializing_if = "Option::is_none")]
    installer: Option<String>,
    /// True when its database entry carries a signature (rpm), or was checked by one (pacman).
    #[serde(skip_serializing_if = "Option::is_none")]
    is_signed: Option<bool>,
    /// Who maintains it, or packed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    maintainer: Option<&'a str>,
    /// apk, cargo, dpkg, flatpak, gem, npm, pacman, pip, rpm, snap.
    manager: Option<Manager>,
    /// Its name.
    name: &'a str,
    /// Where it lies, for packages of a folder of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `package`.
    record: &'static str,
    /// The source package; the repository, channel or address that it was had from where the manager keeps that.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    /// The state in the manager's words: `install ok installed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    /// Who offers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<&'a str>,
    /// Version, with epoch and release as the manager writes them.
    version: &'a str,
}

impl<'a> PackageRow<'a> {
    fn of(package: &'a Package) -> Self {
        Self {
            arch: package.arch.as_deref(),
            digests_mtime_ns: package.digests_mtime,
            installed_at_ns: package.installed_at,
            is_signed: package.is_signed,
            maintainer: package.maintainer.as_deref(),
            manager: Some(package.manager),
            name: &package.name,
            record: "package",
            source: package.source.as_deref(),
            state: package.state.as_deref(),
            vendor: package.vendor.as_deref(),
            version: &package.version,
            ..Self::default()
        }
    }
}

impl Collect for Packages {
    const NAME: &'static str = "packages";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str =
        "Installed packages of every manager, what was changed when, and where they come from.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let database = PackageDatabase::read(session, Wanted::Packages)?;
        for package in &database.packages {
            session.row(&PackageRow::of(package))?;
        }
        languages::collect(session)?;
        changes::collect(session, self.changes_max)?;
        sources::collect(session)?;
        if self.files {
            with_request(|request| request.gather(session))?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<PackageRow<'static>>("package", "dpkg(1), rpm(8), apk(8), pacman(8) and their databases"),
            RowType::of::<changes::ChangeRow<'static>>(
                "package_change",
                "dpkg.log, dnf.rpm.log, pacman.log, dnf's history",
            ),
            RowType::of::<changes::TransactionRow<'static>>("package_transaction", "apt's history.log, dnf's history"),
            RowType::of::<sources::SourceRow<'static>>(
                "package_source",
                "sources.list(5), dnf.conf(5), pacman.conf(5)",
            ),
        ]
    }

    fn plan(&self, host: &Host) -> Plan {
        let mut plan = if self.files { with_request(|request| request.plan(host)) } else { Plan::default() };
        let databases =
            ["/var/lib/dpkg", "/var/lib/rpm", "/usr/lib/sysimage/rpm", "/lib/apk/db", "/var/lib/pacman/local"];
        plan.reads.extend(databases.map(str::to_owned));
        plan
    }
}

fn with_request<T>(with: impl FnOnce(Request<'_>) -> T) -> T {
    let paths: Vec<Glob> = FILES.iter().filter_map(|path| Glob::parse(path).ok()).collect();
    with(Request { paths: &paths, exclude: &[], changed_since: None, file_bytes_max: None, types: &[], mounts: &[] })
}
