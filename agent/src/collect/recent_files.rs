//! Files that were born or changed in a window of time, over all local file systems: what an intruder brought, built and
//! changed.
//!
//! Rows: `recent_file`, one for each regular file and symbolic link whose content, inode or birth lies in the window.
//! Programs and scripts are always digested, other files when they are short. Known limit: a file whose times were set back
//! (`touch -d`) still has its ctime here; one that was changed through the raw device has not.

use std::sync::Arc;

use bundle::time::Instant;
use rustix::fs::{Statx, StatxFlags};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::{ByteSize, Tier};

use super::file_timeline::{asked_of, plan_of};
use super::rows::RowType;
use super::temp_files::Rows;
use super::{Collect, Failure, Plan};
use crate::files::copy::{Copier, note_missed};
use crate::files::file_row::{FileRow, Look};
use crate::files::since::Since;
use crate::files::window::Window;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::meta::{Type, nanoseconds};
use crate::host::walk::{Entry, Missed, Visitor, walk};
use crate::run::session::{Session, Stopped};

/// Days that are looked at when nothing is said.
const DAYS: u64 = 7;
/// Rows when nothing is said.
const FILES_MAX: u64 = 200_000;
/// Files of at most this many bytes are digested; programs when they have at most [`PROGRAM_BYTES_MAX`].
const DIGEST_BYTES_MAX: u64 = 1 << 20;
const PROGRAM_BYTES_MAX: u64 = 128 << 20;

/// Arguments of `collect: recent_files`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecentFiles {
    /// Where to look, with all below it: the whole host when nothing is said.
    #[serde(default)]
    paths: Vec<Glob>,
    /// What to leave out, with all below it.
    #[serde(default)]
    exclude: Vec<Glob>,
    /// Born or changed at this moment or later: the last 7 days when nothing is said.
    #[serde(default)]
    since: Option<Since>,
    /// Born or changed up to this moment.
    #[serde(default)]
    until: Option<Since>,
    /// Files of at most this many bytes are digested: 1 MiB when nothing is said. Programs of up to 128 MiB are.
    #[serde(default)]
    digest_bytes_max: Option<ByteSize>,
    /// Programs and scripts of at most this many bytes go into the bundle: none when nothing is said.
    #[serde(default)]
    program_bytes_max: Option<ByteSize>,
    /// The most rows: 200,000 when nothing is said.
    #[serde(default)]
    files_max: Option<u64>,
}

impl Collect for RecentFiles {
    const NAME: &'static str = "recent_files";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str = "Files born or changed in a window of time, over all local file systems.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = Arc::clone(session.host());
        let window = Window::new(self.since, self.until, DAYS, session.now());
        let mut listing = Listing {
            copier: Copier::new(session, None),
            digest_bytes_max: self.digest_bytes_max.map_or(DIGEST_BYTES_MAX, |size| size.0),
            program_bytes_max: self.program_bytes_max.map_or(0, |size| size.0),
            rows: Rows { left: self.files_max.unwrap_or(FILES_MAX), is_limit_told: false },
            session,
            window,
        };
        Ok(walk(&host, &asked_of(&host, &self.paths, &self.exclude), &mut listing)?)
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<FileRow>("recent_file", "statx(2), inode(7)")]
    }

    fn plan(&self, host: &Host) -> Plan {
        plan_of(host, &self.paths)
    }
}

struct Listing<'a> {
    session: &'a mut Session,
    copier: Copier,
    window: Window,
    digest_bytes_max: u64,
    program_bytes_max: u64,
    rows: Rows,
}

impl Visitor for Listing<'_> {
    type Stop = Stopped;

    fn go_on(&mut self, path: &[u8]) -> Result<(), Stopped> {
        self.session.at(path);
        self.session.spend(0)
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Stopped> {
        let is_file = matches!(entry.file_type(), Type::File | Type::Link);
        if asked.is_empty() || !is_file || !is_within(entry.stat, self.window) || !self.rows.take(self.session)? {
            return Ok(());
        }
        let mut row = FileRow::of("recent_file", entry);
        // What is longer than a mebibyte is looked at for its magic alone, before it is decided what to digest.
        row.look(self.session, entry, Look { digest_bytes_max: self.digest_bytes_max, is_text_searched: false })?;
        if row.sha256.is_none() && row.is_program() && row.size_bytes <= PROGRAM_BYTES_MAX {
            row.look(self.session, entry, Look { digest_bytes_max: PROGRAM_BYTES_MAX, is_text_searched: false })?;
        }
        self.session.row(&row)?;
        if row.is_program() && row.file_type == "file" && row.size_bytes <= self.program_bytes_max {
            return self.copier.hand_over(self.session, entry);
        }
        Ok(())
    }

    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        note_missed(self.session, path, why)
    }
}

/// True when one of the times lies in the window.
fn is_within(stat: &Statx, window: Window) -> bool {
    let birth = (stat.stx_mask & StatxFlags::BTIME.bits() != 0).then_some(stat.stx_btime);
    let times = [Some(stat.stx_mtime), Some(stat.stx_ctime), birth];
    times.into_iter().flatten().any(|at| window.holds(Instant(nanoseconds(at))))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing::{assert_keys_sorted, collect, rows};

    #[test]
    fn only_what_changed_in_the_window_is_listed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("opt/deep")).unwrap();
        std::fs::write(root.path().join("opt/deep/new"), b"\x7fELF").unwrap();
        std::fs::write(root.path().join("opt/left-out"), b"x").unwrap();
        let old = std::fs::File::create(root.path().join("opt/touched-back")).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", root.path().join("opt/link")).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let at = |seconds: i128| Instant(i128::try_from(now.as_nanos()).unwrap() + seconds * 1_000_000_000);
        let names = |with: serde_json::Value, seconds: i128| -> Vec<String> {
            let step: RecentFiles = serde_json::from_value(with).unwrap();
            let messages = collect(&step, Arc::new(Host::at(root.path(), FixedClock(at(seconds)))));
            assert_keys_sorted(&messages);
            rows(&messages).iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
        };
        let all = ["/opt/deep/new", "/opt/left-out", "/opt/link", "/opt/touched-back"];
        assert_eq!(names(serde_json::json!({}), 60), all, "the ctime of what was touched back");
        let some = serde_json::json!({"since": "1h", "exclude": ["/opt/left-out"], "paths": ["/opt"]});
        assert_eq!(names(some, 60), ["/opt/deep/new", "/opt/link", "/opt/touched-back"]);
        assert_eq!(names(serde_json::json!({"since": "1h"}), 3 * 3600), Vec::<String>::new());
        assert_eq!(names(serde_json::json!({"files_max": 1}), 60).len(), 1);
    }
}
