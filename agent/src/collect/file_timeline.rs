//! The metadata of every object on the local file systems: one row and one bodyfile line each, without content.
//!
//! Sorted by path within a mount. A bind mount of what another mount shows is left out, and said. Of the extended
//! attributes only file capabilities are looked at, of executable files: a list for every object would be one more
//! system call each.

use bundle::item::{Meta, shown};
use bundle::timeline::bodyfile_line;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::copy::note_missed;
use crate::host::Host;
use crate::host::glob::{Component, Glob};
use crate::host::meta::{Type, add_capability_at, add_target, meta_of};
use crate::host::walk::{Asked, Entry, Missed, Visitor, walk};
use crate::run::session::{Session, Stopped};

/// Bodyfile lines are handed over in batches of about this many bytes.
const BATCH_BYTES: usize = 64 << 10;

/// Arguments of `collect: file_timeline`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileTimeline {
    /// Where to look, with all below it: the whole host when nothing is said.
    #[serde(default)]
    paths: Vec<Glob>,
    /// What to leave out, with all below it.
    #[serde(default)]
    exclude: Vec<Glob>,
}

/// One object.
#[derive(Debug, JsonSchema, Serialize)]
struct Row<'a> {
    /// The mount point that hides it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_under: Option<String>,
    /// What the file system says of it (statx(2), readlink(2), `security.capability`), as in item records.
    meta: &'a Meta,
    /// Path on the host.
    path: &'a str,
    /// The exact bytes of a path that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<&'a str>,
}

/// What `paths` name with all below it, the whole host when they are empty, without what `exclude` names.
pub(super) fn asked_of(host: &Host, paths: &[Glob], exclude: &[Glob]) -> Asked {
    let is_of_homes = paths.iter().chain(exclude).any(Glob::is_of_homes);
    let homes = if is_of_homes { host.homes().0 } else { Vec::new() };
    let mut asked = Vec::new();
    for mut path in paths.iter().flat_map(|glob| glob.below(&homes)) {
        asked.push((0, path.clone()));
        path.push(Component::Deep);
        asked.push((0, path));
    }
    if asked.is_empty() {
        asked = vec![(0, Vec::new()), (0, vec![Component::Deep])];
    }
    Asked {
        paths: asked,
        excluded: exclude.iter().flat_map(|glob| glob.below(&homes)).collect(),
        entered_mounts: Vec::new(),
        each_file_once: paths.is_empty(),
    }
}

/// What a walk over `paths` would read: the local mounts when they are empty.
pub(super) fn plan_of(host: &Host, paths: &[Glob]) -> Plan {
    let reads = if paths.is_empty() {
        let table = host.mount_table().unwrap_or_default();
        let entered = table.all().iter().filter(|mount| mount.may_enter(&[]).is_ok());
        entered.map(|mount| shown(&mount.point).0).collect()
    } else {
        paths.iter().map(|glob| glob.text().to_owned()).collect()
    };
    Plan { reads, ..Plan::default() }
}

impl Collect for FileTimeline {
    const NAME: &'static str = "file_timeline";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str = "Metadata of every object on the local file systems, as rows and as a bodyfile.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row<'_>>(Self::NAME, "statx(2), readlink(2), xattr(7)")]
    }

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = std::sync::Arc::clone(session.host());
        let asked = asked_of(&host, &self.paths, &self.exclude);
        let lines = String::with_capacity(BATCH_BYTES + 8192);
        let mut listing = Listing { session, lines };
        walk(&host, &asked, &mut listing)?;
        let Listing { session, lines } = listing;
        if !lines.is_empty() {
            session.bodyfile(lines)?;
        }
        Ok(())
    }

    fn plan(&self, host: &Host) -> Plan {
        plan_of(host, &self.paths)
    }
}

struct Listing<'a> {
    session: &'a mut Session,
    lines: String,
}

impl Visitor for Listing<'_> {
    type Stop = Stopped;

    fn go_on(&mut self, path: &[u8]) -> Result<(), Stopped> {
        self.session.at(path);
        // A walk reads no content, but it does work: the limit of CPU time holds for it too.
        self.session.spend(0)
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Stopped> {
        if asked.is_empty() {
            return Ok(());
        }
        let mut meta = meta_of(entry.stat, Some(entry.view.mount()));
        match entry.file_type() {
            Type::Link => match entry.view.read_link(entry.folder, entry.name) {
                Ok(target) => add_target(&mut meta, &target),
                Err(error) => self.missed(entry.path, Missed::Error(error))?,
            },
            Type::File if entry.stat.stx_mode & 0o111 != 0 => add_capability_at(&mut meta, entry.folder, entry.name),
            _ => {}
        }
        let (path, path_b64) = shown(entry.path);
        bodyfile_line(&mut self.lines, entry.path, &meta);
        self.session.row(&Row {
            hidden_under: entry.hidden_under.map(|point| shown(point).0),
            meta: &meta,
            path: &path,
            path_b64: path_b64.as_deref(),
        })?;
        if self.lines.len() >= BATCH_BYTES {
            let lines = std::mem::replace(&mut self.lines, String::with_capacity(BATCH_BYTES + 8192));
            self.session.bodyfile(lines)?;
        }
        Ok(())
    }

    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        note_missed(self.session, path, why)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{collect, rows};

    #[test]
    fn every_object_has_a_row_and_a_line() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("bin")).unwrap();
        std::fs::write(tree.path().join("bin/ping"), "x").unwrap();
        std::fs::write(tree.path().join("bin/new\nline"), "x").unwrap();
        std::os::unix::fs::symlink("ping", tree.path().join("bin/ping6")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(tree.path().join("bin/ping"), mode).unwrap();
        let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let ping = tree.path().join("bin/ping");
        let is_root = rustix::fs::setxattr(&ping, "security.capability", &capability, rustix::fs::XattrFlags::empty());
        let host = Arc::new(Host::at(tree.path(), FixedClock(Instant(0))));
        let messages = collect(&FileTimeline::default(), host);
        let rows = rows(&messages);
        let paths: Vec<_> = rows.iter().map(|row| row["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["/", "/bin", "/bin/new\nline", "/bin/ping", "/bin/ping6"]);
        assert_eq!(rows[4]["meta"]["target"], "ping");
        if is_root.is_ok() {
            assert!(rows[3]["meta"]["xattrs_b64"]["security.capability"].is_string());
        }
        let lines: String = messages
            .iter()
            .filter_map(|message| match message {
                Message::Bodyfile(lines) => Some(lines.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(lines.lines().count(), 5);
        assert!(lines.contains("|/bin/ping6 -> ping|"));
    }
}
