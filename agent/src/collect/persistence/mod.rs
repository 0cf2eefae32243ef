//! How something comes back: one row for each instance of each mechanism that starts a program or makes one be loaded,
//! with what it runs, and the file itself.
//!
//! A family of mechanisms is one file and one line of [`FAMILIES`]. A mechanism names the places where its files lie
//! and a function that reads one of them. What the rows say is what the files say: no daemon is asked, so a unit that
//! was planted and not loaded yet is here, and so is a file that no package brought.
//!
//! Rows: `persistence`, in the order of [`FAMILIES`], their mechanisms' files by path, and their lines.
//!
//! Known limits: what is generated from other places at run time is seen as its result only (`/run/systemd/generator`);
//! the scripts of packages (`/var/lib/dpkg/info`) are the package collectors'; git repositories are looked for in homes
//! to a depth of three folders and in `/srv`, `/opt`, `/var/www`; programs inside an initramfs are not unpacked.

mod applications;
mod boot;
mod command;
mod cron;
mod desktop;
mod formats;
mod git;
mod interpreters;
mod kernel;
mod loader;
mod login;
mod network;
mod packages;
mod pam;
mod row;
mod services;
mod shells;
mod ssh;
mod systemd;
mod sysv;
mod udev;

use std::collections::BTreeMap;

use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::{ByteSize, Tier};

pub(in crate::collect) use self::loader::preloaded;
use self::row::{Draft, Packages, Row};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::inspect::{Found, Keep, inspect};
use crate::files::package_database::{PackageDatabase, Wanted};
use crate::files::targets::Targets;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::run::session::Session;

/// The families, in the order of their rows.
const FAMILIES: &[&Family] = &[
    &systemd::FAMILY,
    &cron::FAMILY,
    &sysv::FAMILY,
    &services::FAMILY,
    &shells::FAMILY,
    &loader::FAMILY,
    &pam::FAMILY,
    &ssh::FAMILY,
    &login::FAMILY,
    &udev::FAMILY,
    &kernel::FAMILY,
    &boot::FAMILY,
    &boot::IMAGES,
    &packages::FAMILY,
    &network::FAMILY,
    &network::WIREGUARD,
    &git::FAMILY,
    &desktop::FAMILY,
    &interpreters::FAMILY,
    &applications::FAMILY,
];

/// The most rows of one file.
const ROWS_OF_FILE_MAX: usize = 5000;
/// Programs longer than this are not digested, when nothing else is said.
const TARGET_BYTES_MAX: u64 = 64 << 20;

/// Arguments of `collect: persistence`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Persistence {
    /// Programs of at most this length are digested: 64 MiB when nothing is said.
    #[serde(default)]
    target_bytes_max: Option<ByteSize>,
}

/// Mechanisms of one kind.
struct Family {
    /// The mechanisms.
    mechanisms: &'static [Mechanism],
    /// What becomes of the files.
    keep: Keep,
    /// Looks at all rows of the family together, when everything was read.
    finish: fn(&[Found], &mut [Draft]),
}

impl Family {
    const fn of(mechanisms: &'static [Mechanism]) -> Self {
        Self { mechanisms, keep: Keep::Files, finish: |_, _| {} }
    }
}

/// One mechanism.
struct Mechanism {
    /// Its name in rows, where the reading function does not give another one.
    name: &'static str,
    /// Where its files lie.
    globs: &'static [&'static str],
    /// Reads one file.
    read: fn(&Found, &mut Drafts),
}

/// Where a reading function puts its rows.
struct Drafts {
    /// The name of the mechanism at hand.
    mechanism: &'static str,
    file: usize,
    of_file: usize,
    rows: Vec<Draft>,
}

impl Drafts {
    /// Adds a row of the file at hand.
    fn push(&mut self, mut draft: Draft) {
        if self.of_file < ROWS_OF_FILE_MAX {
            draft.file = self.file;
            self.rows.push(draft);
        }
        self.of_file += 1;
    }
}

impl Collect for Persistence {
    const NAME: &'static str = "persistence";
    const TIER: Tier = Tier::System;
    const SUMMARY: &'static str =
        "What starts by itself: units, cron, init, shells, PAM, udev, hooks; one row each, and the files.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = std::sync::Arc::clone(session.host());
        let (homes, error) = host.homes();
        if let Some(error) = error {
            let item = session.item(Kind::File, "/etc/passwd", "read", Status::Error);
            session.note(item.failed(&error).because("homes other than /root are not known"))?;
        }
        let owners = Owners::of(&host);
        let mut targets = Targets::new(self.target_bytes_max.map_or(TARGET_BYTES_MAX, |size| size.0));
        let packages = PackageDatabase::read(session, Wanted::Owners)?.owners;
        let packages = Packages((!packages.is_empty()).then_some(packages));
        let whose = Whose { homes, owners, packages };
        for family in FAMILIES {
            take(session, family, &whose, &mut targets)?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        let source = "systemd.unit(5), crontab(5), pam.conf(5), udev(7), ld.so(8) and the manual of each mechanism";
        vec![RowType::of::<Row>("persistence", source)]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let mechanisms = FAMILIES.iter().flat_map(|family| family.mechanisms);
        let reads = mechanisms.flat_map(|mechanism| mechanism.globs).map(|glob| (*glob).to_owned());
        Plan { reads: reads.collect(), ..Plan::default() }
    }
}

fn take(session: &mut Session, family: &Family, whose: &Whose, targets: &mut Targets) -> Result<(), Failure> {
    let mut globs = Vec::new();
    let mut of_glob = Vec::new();
    for (n, mechanism) in family.mechanisms.iter().enumerate() {
        for glob in mechanism.globs.iter().filter_map(|text| Glob::parse(text).ok()) {
            globs.push(glob);
            of_glob.push(n);
        }
    }
    let mut found = inspect(session, &globs, &whose.homes, family.keep)?;
    // A place may be named by two globs of one mechanism, or be reached by two of its paths (/lib is a link to /usr/lib).
    let mechanism_of = |found: &Found| of_glob.get(found.asked).copied().unwrap_or_default();
    found.sort_by(|a, b| (mechanism_of(a), &a.path).cmp(&(mechanism_of(b), &b.path)));
    found.dedup_by(|a, b| mechanism_of(a) == mechanism_of(b) && a.path == b.path);
    let mut drafts = Drafts { mechanism: "", file: 0, of_file: 0, rows: Vec::new() };
    let mut is_met = vec![false; family.mechanisms.len()];
    for (n, file) in found.iter().enumerate() {
        session.go_on()?;
        let Some(mechanism) = family.mechanisms.get(mechanism_of(file)) else { continue };
        if let Some(is_met) = is_met.get_mut(mechanism_of(file)) {
            *is_met = true;
        }
        (drafts.mechanism, drafts.file, drafts.of_file) = (mechanism.name, n, 0);
        (mechanism.read)(file, &mut drafts);
        if drafts.of_file > ROWS_OF_FILE_MAX {
            let path = String::from_utf8_lossy(&file.path).into_owned();
            session.limited(format!("{path}: only the first {ROWS_OF_FILE_MAX} of {} rows", drafts.of_file))?;
        }
    }
    let mut drafts = drafts.rows;
    (family.finish)(&found, &mut drafts);
    for (mechanism, _) in family.mechanisms.iter().zip(is_met).filter(|(_, is_met)| !is_met) {
        let Some(first) = mechanism.globs.first() else { continue };
        let item = session.item(Kind::File, *first, "walk", Status::Skipped);
        let places = mechanism.globs.len();
        session.note(item.because(format!("nothing of {} in any of its {places} places", mechanism.name)))?;
    }
    targets.look(session, drafts.iter().flat_map(|draft| draft.targets.iter().map(Vec::as_slice)))?;
    for draft in drafts {
        if let Some(file) = found.get(draft.file) {
            let owner = whose.owners.of_path(&file.path);
            session.row(&draft.finish(file, owner, &whose.packages, |path| targets.at(path)))?;
        }
    }
    Ok(())
}

/// What is known of the host before its files are looked at.
struct Whose {
    homes: Vec<Vec<u8>>,
    owners: Owners,
    packages: Packages,
}

/// Whose home a path is in.
struct Owners(BTreeMap<Vec<u8>, Vec<u8>>);

impl Owners {
    fn of(host: &Host) -> Self {
        let passwd = host.read_file(b"/etc/passwd", 64 << 20).unwrap_or_default();
        let mut homes = BTreeMap::from([(b"/root".to_vec(), b"root".to_vec())]);
        for line in passwd.split(|byte| *byte == b'\n').take(100_000) {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
            if let [name, _, _, _, _, home, ..] = fields[..] {
                homes.entry(home.to_vec()).or_insert_with(|| name.to_vec());
            }
        }
        Self(homes)
    }

    /// The user whose home is nearest above the path; root where the path is in no home.
    fn of_path(&self, path: &[u8]) -> &[u8] {
        if row::layer(path) != "home" {
            return b"root";
        }
        let slashes = path.iter().enumerate().rev().filter(|(at, byte)| **byte == b'/' && *at > 0);
        let mut homes = slashes.filter_map(|(at, _)| self.0.get(&path[..at]));
        homes.next().map_or(b"root", Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
