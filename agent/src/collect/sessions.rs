//! Who is logged in: the records of utmp, and what logind knows of sessions, users and seats.
//!
//! Rows: `login_record` (utmp), `logind` (one per file of `/run/systemd/{sessions,users,seats}`). The raw files are
//! kept beside them.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use bundle::item::{Kind, Status, shown};
use rustix::fs::{FileType, RawDir};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::login_row::LoginRow;
use crate::host::regular::Links;
use crate::host::tokens::{lines, split_at};
use crate::host::utmp::{self, Layout};
use crate::run::session::{Session, Stopped};

/// utmp has one record per terminal: this is 20,000 of them.
const UTMP_BYTES_MAX: u64 = 8 << 20;
/// A file of logind has about twenty lines.
const LOGIND_BYTES_MAX: u64 = 64 << 10;
/// Files of logind in one folder.
const LOGIND_FILES_MAX: usize = 20_000;
const UTMP: [&str; 2] = ["/run/utmp", "/var/run/utmp"];
const LOGIND: [&str; 3] = ["sessions", "users", "seats"];

/// The collector `sessions`; it has no arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sessions {}

/// A state file of logind: lines `KEY=value`. It calls them private and they differ between versions, so that they are
/// taken as they are.
#[derive(JsonSchema, Serialize)]
struct LogindRow<'a> {
    /// Session, user (by uid) or seat: the name of the file.
    name: String,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    /// `sessions`, `users` or `seats`.
    object: &'a str,
    /// The file.
    path: String,
    /// Keys and values; a key that comes twice has its values joined by line feeds.
    properties: BTreeMap<String, String>,
    /// `logind`.
    record: &'static str,
}

impl Collect for Sessions {
    const NAME: &'static str = "sessions";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Who is logged in: utmp and the sessions, users and seats of logind";
    const NEEDS: &'static [&'static str] = &["root"];

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<LoginRow<'_>>("login_record", "utmp(5)"),
            RowType::of::<LogindRow<'_>>("logind", "sd-login(3), /run/systemd/sessions"),
        ]
    }

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut first = None;
        for path in UTMP {
            utmp(session, path, &mut first)?;
        }
        for object in LOGIND {
            logind(session, object)?;
        }
        Ok(())
    }

    fn plan(&self, _host: &Host) -> Plan {
        let logind = LOGIND.iter().map(|object| format!("/run/systemd/{object}/*"));
        Plan { reads: UTMP.iter().map(|path| (*path).to_owned()).chain(logind).collect(), ..Plan::default() }
    }
}

/// Reads one utmp, unless it is the file that was read already.
fn utmp(session: &mut Session, path: &'static str, first: &mut Option<(u64, u64)>) -> Result<(), Stopped> {
    let (file, stat) = match session.host().open_regular(path, Links::Refuse) {
        Ok(opened) => opened,
        Err(error) => return session.unreadable(path, &error),
    };
    let inode = (stat.st_dev, stat.st_ino);
    if *first == Some(inode) {
        let item = session.item(Kind::Record, path, "read", Status::Skipped);
        return session.note(item.because("the same file as /run/utmp"));
    }
    *first = first.or(Some(inode));
    let mut bytes = Vec::new();
    if let Err(error) = file.take(UTMP_BYTES_MAX).read_to_end(&mut bytes) {
        session.unreadable(path, &error)?;
    }
    if bytes.len() as u64 == UTMP_BYTES_MAX {
        session.limited(format!("{path} has {UTMP_BYTES_MAX} bytes or more"))?;
    }
    let layout = Layout::HERE;
    let mut offset = 0;
    for record_bytes in bytes.chunks(layout.record_bytes) {
        match utmp::record(layout, record_bytes) {
            Some(record) => session.row(&LoginRow::new(path, offset, &record, record_bytes))?,
            None => partial(session, path, record_bytes.len())?,
        }
        offset += record_bytes.len() as u64;
    }
    session.raw(path, "read", if path.starts_with("/run") { "utmp" } else { "var-run-utmp" }, bytes)
}

/// Notes that a file of records ends in the middle of one.
pub(super) fn partial(session: &mut Session, path: &str, bytes: usize) -> Result<(), Stopped> {
    let item = session.item(Kind::Record, path, "read", Status::Error);
    session.note(item.because(format!("the last record is partial: {bytes} bytes")))
}

fn logind(session: &mut Session, object: &str) -> Result<(), Failure> {
    let folder = format!("/run/systemd/{object}");
    let (mut names, others) = match names(session.host(), &folder) {
        Ok(names) => names,
        Err(error) => return Ok(session.unreadable(folder, &error)?),
    };
    names.sort_unstable();
    if names.len() > LOGIND_FILES_MAX {
        session.limited(format!("{folder} has more than {LOGIND_FILES_MAX} files"))?;
        names.truncate(LOGIND_FILES_MAX);
    }
    if others > 0 {
        // logind keeps a FIFO for each session to see it end; opening it is no business of ours.
        let item = session.item(Kind::Record, folder.as_str(), "read", Status::MetaOnly);
        session.note(item.because(format!("{others} entries are not regular files")))?;
    }
    for name in names {
        session.go_on()?;
        let path = [folder.as_bytes(), b"/", name.as_slice()].concat();
        let text = match read(session.host(), &path) {
            Ok(text) => text,
            Err(error) => {
                session.unreadable(path, &error)?;
                continue;
            }
        };
        let (shown_name, name_b64) = shown(&name);
        let raw_name = format!("{object}/{shown_name}");
        session.row(&LogindRow {
            name: shown_name,
            name_b64,
            object,
            path: shown(&path).0,
            properties: properties(&text),
            record: "logind",
        })?;
        session.raw(path, "read", raw_name, text)?;
    }
    Ok(())
}

fn read(host: &Host, path: &[u8]) -> io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt as _;
    let (file, _) = host.open_regular(std::ffi::OsStr::from_bytes(path), Links::Refuse)?;
    let mut text = Vec::new();
    file.take(LOGIND_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LOGIND_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// The regular files of a folder, and how many entries are something else.
fn names(host: &Host, folder: &str) -> io::Result<(Vec<Vec<u8>>, usize)> {
    let folder = host.dir(folder)?;
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(&folder, buffer.spare_capacity_mut());
    let (mut names, mut others) = (Vec::new(), 0);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        match entry.file_type() {
            _ if name == b"." || name == b".." => {}
            // A file system that does not say is looked at when the file is opened.
            FileType::RegularFile | FileType::Unknown if names.len() <= LOGIND_FILES_MAX => names.push(name.to_vec()),
            FileType::RegularFile | FileType::Unknown => break,
            _ => others += 1,
        }
    }
    Ok((names, others))
}

/// `KEY=value` lines; a line without `=` is a key with an empty value.
fn properties(text: &[u8]) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::<String, String>::new();
    for line in lines(text).filter(|line| !line.starts_with(b"#")) {
        let (key, value) = split_at(line, b'=').unwrap_or((line, b""));
        let value = String::from_utf8_lossy(value);
        properties
            .entry(String::from_utf8_lossy(key).into_owned())
            .and_modify(|there| {
                there.push('\n');
                there.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FixedClock;
    use crate::host::utmp::testing::written;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};
    use bundle::time::Instant;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn utmp_once_and_logind() {
        let tree = tempfile::tempdir().unwrap();
        let at = |path: &str| tree.path().join(path);
        std::fs::create_dir_all(at("run/systemd/sessions")).unwrap();
        std::fs::create_dir_all(at("var")).unwrap();
        std::os::unix::fs::symlink("../run", at("var/run")).unwrap();
        let mut utmp = written(7, 900, "pts/0", "ana", "198.51.100.7", 1_700_000_000, [198, 51, 100, 7]);
        utmp.extend(vec![0; Layout::HERE.record_bytes]);
        utmp.extend([1; 10]);
        std::fs::write(at("run/utmp"), utmp).unwrap();
        std::fs::write(at("run/systemd/sessions/3"), "# private\nUID=1000\nREMOTE_HOST=198.51.100.7\nodd\nUID=0\n")
            .unwrap();
        let fifo = at("run/systemd/sessions/3.ref");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();

        let messages = collect(&Sessions {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        assert_eq!((&rows[0]["user"], &rows[0]["time_ns"]), (&json!("ana"), &json!("1700000000000007000")));
        assert_eq!((&rows[1]["type"], &rows[1]["zeroed"]), (&json!("EMPTY"), &json!(true)));
        assert_eq!(rows[2]["properties"], json!({"REMOTE_HOST": "198.51.100.7", "UID": "1000\n0", "odd": ""}));
        let reasons: Vec<_> = items(&messages).into_iter().filter_map(|item| item.reason).collect();
        assert!(reasons.contains(&"the last record is partial: 10 bytes".to_owned()));
        assert!(reasons.contains(&"the same file as /run/utmp".to_owned()));
        assert!(reasons.contains(&"1 entries are not regular files".to_owned()));
        assert!(messages.iter().any(|message| matches!(message, Message::Raw(_, name, _) if name == "sessions/3")));
    }

    #[test]
    fn the_live_host_gives_rows_or_reasons() {
        let messages = collect(&Sessions {}, Arc::new(Host::live()));
        assert_keys_sorted(&messages);
        assert!(!items(&messages).is_empty());
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    }
}
