//! Logins of the past: wtmp, btmp and lastlog as rows, and as moments of the timeline. The files themselves are stored by
//! the collector of logs.
//!
//! Rows: `login_record` (wtmp, btmp, their rotated files that are not compressed), `last_login` (lastlog, one per uid). A
//! record of zeros is a row too: wiping a record in place is the oldest way to hide a login.
//!
//! Known limits: the databases of wtmpdb and lastlog2 are only named here; compressed files are read by no one but the
//! analyst.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use bundle::item::{Kind, Nanos, Status, shown};
use bundle::time::Instant;
use bundle::timeline::Event;
use rustix::fs::{RawDir, SeekFrom as Extent, Stat};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::sessions::partial;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::login_row::{LoginRow, event};
use crate::host::regular::Links;
use crate::host::utmp::{self, Layout};
use crate::run::session::Session;

/// Of one file the last 64 MiB are read: about 170,000 logins.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Rotated files of one kind.
const FILES_MAX: usize = 1000;
/// Entries of lastlog that hold a login.
const LAST_LOGINS_MAX: u64 = 1_000_000;
const FOLDER: &str = "/var/log";
const LASTLOG: &str = "/var/log/lastlog";
/// Files that hold logins in formats of their own.
const DATABASES: [&str; 3] = ["/var/lib/wtmpdb/wtmp.db", "/var/log/wtmp.db", "/var/lib/lastlog/lastlog2.db"];

/// The collector `login_records`; it has no arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRecords {}

/// The last login of one user (`struct lastlog`).
#[derive(JsonSchema, Serialize)]
struct LastLoginRow {
    /// Remote host.
    #[serde(skip_serializing_if = "String::is_empty")]
    host: String,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    host_b64: Option<String>,
    /// Terminal.
    #[serde(skip_serializing_if = "String::is_empty")]
    line: String,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    line_b64: Option<String>,
    /// The file.
    path: &'static str,
    /// `last_login`.
    record: &'static str,
    /// When, in nanoseconds since the epoch.
    time_ns: Nanos,
    /// The user: the entry's place in the file.
    uid: u64,
}

impl Collect for LoginRecords {
    const NAME: &'static str = "login_records";
    const TIER: Tier = Tier::Logs;
    const SUMMARY: &'static str = "Logins, logouts, boots and failed logins: wtmp, btmp, lastlog";
    const NEEDS: &'static [&'static str] = &["root"];

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<LoginRow<'_>>("login_record", "utmp(5)"),
            RowType::of::<LastLoginRow>("last_login", "lastlog(8), struct lastlog of <utmp.h>"),
        ]
    }

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        for (name, failed) in [("wtmp", false), ("btmp", true)] {
            for path in rotated(session, name)? {
                if compressed(&path) {
                    let item = session.item(Kind::Record, path, "read", Status::Skipped);
                    session.note(item.because("compressed: it is among the logs"))?;
                } else {
                    records(session, &path, failed)?;
                }
            }
        }
        lastlog(session)?;
        for path in DATABASES {
            match session.host().open_regular(path, Links::Refuse) {
                Ok(_) => {
                    let item = session.item(Kind::Record, path, "stat", Status::MetaOnly);
                    session.note(item.because("an SQLite database, which is not read here: it is among the logs"))?;
                }
                Err(error) => session.unreadable(path, &error)?,
            }
        }
        Ok(())
    }

    fn plan(&self, host: &Host) -> Plan {
        let names = ["wtmp", "btmp"].iter().flat_map(|name| names(host, name).unwrap_or_default());
        let reads: Vec<String> = names.chain([LASTLOG.to_owned()]).collect();
        let open = |path: &String| host.open_regular(path, Links::Refuse).ok();
        let sizes: Vec<u64> = reads.iter().filter_map(open).map(|(_, stat)| size(&stat)).collect();
        Plan { files: Some(sizes.len() as u64), bytes: Some(sizes.iter().sum()), reads, ..Plan::default() }
    }
}

/// `wtmp` itself, whether it is there or not, and `wtmp.1`, `wtmp-20261121` … in the order of their names.
fn rotated(session: &mut Session, name: &str) -> Result<Vec<String>, Failure> {
    let mut paths = match names(session.host(), name) {
        Ok(paths) => paths,
        Err(error) => {
            session.unreadable(FOLDER, &error)?;
            Vec::new()
        }
    };
    let current = format!("{FOLDER}/{name}");
    if !paths.contains(&current) {
        paths.push(current);
    }
    paths.sort_unstable();
    if paths.len() > FILES_MAX {
        session.limited(format!("{FOLDER} has more than {FILES_MAX} files of {name}"))?;
        paths.truncate(FILES_MAX);
    }
    Ok(paths)
}

fn names(host: &Host, name: &str) -> io::Result<Vec<String>> {
    let folder = host.dir(FOLDER)?;
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(&folder, buffer.spare_capacity_mut());
    let mut paths = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        // A name that is not text was given by no program that rotates logs; the collector of logs takes it.
        let Ok(found) = entry.file_name().to_str() else {
            continue;
        };
        let rest = found.strip_prefix(name);
        let is_ours = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']));
        if is_ours && !found.ends_with(".db") && paths.len() <= FILES_MAX {
            paths.push(format!("{FOLDER}/{found}"));
        }
    }
    Ok(paths)
}

fn compressed(path: &str) -> bool {
    [".gz", ".xz", ".bz2", ".zst", ".lz4"].iter().any(|end| path.ends_with(end))
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Opens a file of records, or notes why not.
fn open(session: &mut Session, path: &str) -> Result<Option<(File, Stat)>, Failure> {
    match session.host().open_regular(path, Links::Refuse) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) => {
            session.unreadable(path, &error)?;
            Ok(None)
        }
    }
}

/// Reads one file of `struct utmp`: the newest part of it, when it is too long.
fn records(session: &mut Session, path: &str, failed: bool) -> Result<(), Failure> {
    let Some((mut file, stat)) = open(session, path)? else {
        return Ok(());
    };
    let layout = Layout::HERE;
    let record_bytes = layout.record_bytes as u64;
    let mut offset = size(&stat).saturating_sub(FILE_BYTES_MAX).next_multiple_of(record_bytes);
    if offset > 0 {
        let rule = format!("{path}: of {} bytes the last {FILE_BYTES_MAX} are read", stat.st_size);
        let item = session.item(Kind::Record, path, "read", Status::Truncated);
        session.note(item.because(rule.clone()))?;
        session.limited(rule)?;
        if let Err(error) = file.seek(SeekFrom::Start(offset)) {
            return Ok(session.unreadable(path, &error)?);
        }
    }
    // It may grow while it is read; what comes after its size is for the next run.
    let mut left = size(&stat).saturating_sub(offset);
    let mut buffer = vec![0; layout.record_bytes * 512];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        session.spend(wanted as u64)?;
        let Some(block) = buffer.get_mut(..wanted) else { break };
        let read = match fill(&mut file, block) {
            Ok(read) => read,
            Err(error) => return Ok(session.unreadable(path, &error)?),
        };
        for bytes in buffer.get(..read).unwrap_or_default().chunks(layout.record_bytes) {
            match utmp::record(layout, bytes) {
                Some(record) => {
                    session.row(&LoginRow::new(path, offset, &record, bytes))?;
                    if let Some(event) = event(path, &record, failed) {
                        session.event(event)?;
                    }
                }
                None => partial(session, path, bytes.len())?,
            }
            offset += bytes.len() as u64;
        }
        left -= read as u64;
        if read < wanted {
            let item = session.item(Kind::Record, path, "read", Status::Shrank);
            session.note(item)?;
            return Ok(());
        }
    }
    let item = session.item(Kind::Record, path, "read", Status::Ok);
    Ok(session.note(item)?)
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads lastlog: an array over all uids, mostly holes. Only the extents that hold data are read; a uid of 4 billion would
/// otherwise mean a terabyte of zeros.
fn lastlog(session: &mut Session) -> Result<(), Failure> {
    let Some((mut file, stat)) = open(session, LASTLOG)? else {
        return Ok(());
    };
    let layout = Layout::HERE;
    let entry_bytes = layout.lastlog_bytes as u64;
    let size = size(&stat);
    let mut buffer = vec![0; layout.lastlog_bytes * 512];
    let (mut at, mut budget, mut logins) = (0, FILE_BYTES_MAX, 0);
    while at + entry_bytes <= size {
        // Where the file system has no holes to tell of, the data begins here.
        at = match rustix::fs::seek(&file, Extent::Data(at)) {
            Ok(data) => data - data % entry_bytes,
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => at,
        };
        let wanted = buffer.len().min(usize::try_from(size - at).unwrap_or(usize::MAX));
        if budget < wanted as u64 || logins >= LAST_LOGINS_MAX {
            let rule = format!("{LASTLOG}: read up to byte {at} of {size}");
            let item = session.item(Kind::Record, LASTLOG, "read", Status::Truncated);
            session.note(item.because(rule.clone()))?;
            return Ok(session.limited(rule)?);
        }
        budget -= wanted as u64;
        session.spend(wanted as u64)?;
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| {
            let block = buffer.get_mut(..wanted).unwrap_or_default();
            fill(&mut file, block)
        });
        let read = match read {
            Ok(read) => read - read % layout.lastlog_bytes,
            Err(error) => return Ok(session.unreadable(LASTLOG, &error)?),
        };
        if read == 0 {
            break;
        }
        let block = buffer.get(..read).unwrap_or_default();
        logins += last_logins(session, layout, at / entry_bytes, block)?;
        at += read as u64;
    }
    if !size.is_multiple_of(entry_bytes) {
        partial(session, LASTLOG, usize::try_from(size % entry_bytes).unwrap_or(0))?;
    }
    let item = session.item(Kind::Record, LASTLOG, "read", Status::Ok);
    Ok(session.note(item)?)
}

/// Hands over the entries of a block that are not zeros; answers how many.
fn last_logins(session: &mut Session, layout: Layout, first_uid: u64, block: &[u8]) -> Result<u64, Failure> {
    let mut logins = 0;
    for (uid, bytes) in (first_uid..).zip(block.chunks_exact(layout.lastlog_bytes)) {
        if bytes.iter().all(|&byte| byte == 0) {
            continue;
        }
        let Some(entry) = utmp::last_login(layout, bytes) else {
            continue;
        };
        logins += 1;
        let time = i128::from(entry.seconds) * 1_000_000_000;
        let (host, host_b64) = shown(entry.host);
        let (line, line_b64) = shown(entry.line);
        if entry.seconds != 0 {
            session.event(Event {
                at: Instant(time),
                desc: "Last Login Time",
                message: format!("last login of uid {uid} on {line} from {host} ({LASTLOG})"),
                data_type: "linux:lastlog:login",
            })?;
        }
        session.row(&LastLoginRow {
            host,
            host_b64,
            line,
            line_b64,
            path: LASTLOG,
            record: "last_login",
            time_ns: Nanos(time),
            uid,
        })?;
    }
    Ok(logins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FixedClock;
    use crate::host::utmp::testing::written;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};
    use serde_json::json;
    use std::os::unix::fs::FileExt as _;
    use std::path::Path;
    use std::sync::Arc;

    fn run(tree: &Path) -> Vec<Message> {
        let messages = collect(&LoginRecords {}, Arc::new(Host::at(tree, FixedClock(Instant(0)))));
        assert_keys_sorted(&messages);
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
        messages
    }

    fn log(tree: &Path, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(tree.join("var/log")).unwrap();
        std::fs::write(tree.join("var/log").join(name), bytes).unwrap();
    }

    #[test]
    fn a_wiped_record_is_a_row_and_a_login_is_a_moment() {
        let tree = tempfile::tempdir().unwrap();
        let length = Layout::HERE.record_bytes;
        let wtmp = [
            written(2, 0, "~", "reboot", "6.1.0-18-amd64", 1_700_000_000, [0; 4]),
            vec![0; length],
            written(7, 900, "pts/0", "ana", "198.51.100.7", 1_700_000_100, [198, 51, 100, 7]),
            written(8, 900, "pts/0", "", "", 1_700_000_200, [0; 4]),
            vec![9; 17],
        ];
        log(tree.path(), "wtmp", &wtmp.concat());
        log(
            tree.path(),
            "btmp-20261101",
            &written(6, 901, "ssh:notty", "hunter2", "203.0.113.9", 1_700_000_050, [0; 4]),
        );
        log(tree.path(), "wtmp.2.gz", b"\x1f\x8b");
        let messages = run(tree.path());
        let rows = rows(&messages);
        let of = |path: &str| rows.iter().filter(|row| row["path"] == path).cloned().collect::<Vec<_>>();
        let wtmp = of("/var/log/wtmp");
        assert_eq!(wtmp.len(), 4);
        assert_eq!(
            (&wtmp[1]["type"], &wtmp[1]["zeroed"], &wtmp[1]["offset"]),
            (&json!("EMPTY"), &json!(true), &json!(length))
        );
        assert_eq!((&wtmp[2]["user"], &wtmp[2]["address"]), (&json!("ana"), &json!("198.51.100.7")));
        assert_eq!(of("/var/log/btmp-20261101")[0]["user"], "hunter2");

        let events = messages.iter().filter_map(|message| match message {
            Message::Event(event) => Some((event.data_type, event.at.0 / 1_000_000_000)),
            _ => None,
        });
        let events: Vec<_> = events.collect();
        assert_eq!(
            events,
            [
                ("linux:utmp:boot", 1_700_000_000),
                ("linux:utmp:login", 1_700_000_100),
                ("linux:utmp:logout", 1_700_000_200),
                ("linux:btmp:failed_login", 1_700_000_050),
            ]
        );
        let items = items(&messages);
        let item = |path: &str| items.iter().find(|item| item.path == path.as_bytes()).unwrap();
        assert_eq!(item("/var/log/wtmp").reason.as_deref(), Some("the last record is partial: 17 bytes"));
        assert_eq!(item("/var/log/wtmp.2.gz").status, Status::Skipped);
        assert_eq!(item("/var/log/btmp").status, Status::Skipped);
        assert_eq!(item(LASTLOG).status, Status::Skipped);
    }

    #[test]
    fn a_lastlog_with_a_hole_of_a_terabyte() {
        let tree = tempfile::tempdir().unwrap();
        log(tree.path(), "lastlog", b"");
        let file = File::options().write(true).open(tree.path().join("var/log/lastlog")).unwrap();
        let length = Layout::HERE.lastlog_bytes;
        let mut entry = vec![0; length];
        entry[..4].copy_from_slice(&1_700_000_000u32.to_ne_bytes());
        entry[length - 288..length - 283].copy_from_slice(b"pts/1");
        let far = 4_294_967_294;
        for uid in [0, 1000, far] {
            file.write_all_at(&entry, uid * length as u64).unwrap();
        }
        let messages = run(tree.path());
        let uids: Vec<_> = rows(&messages).iter().map(|row| row["uid"].as_u64().unwrap()).collect();
        assert_eq!(uids, [0, 1000, far]);
        assert_eq!(rows(&messages)[2]["line"], "pts/1");
        assert_eq!(messages.iter().filter(|message| matches!(message, Message::Event(_))).count(), 3);
    }

    #[test]
    fn of_a_file_that_is_too_long_the_end_is_read() {
        let tree = tempfile::tempdir().unwrap();
        log(tree.path(), "wtmp", b"");
        let file = File::options().write(true).open(tree.path().join("var/log/wtmp")).unwrap();
        let length = Layout::HERE.record_bytes as u64;
        let last = (FILE_BYTES_MAX / length + 5) * length;
        file.write_all_at(&written(7, 1, "tty1", "root", "", 5, [0; 4]), last).unwrap();
        let messages = run(tree.path());
        let rows = rows(&messages);
        assert!(rows.len() as u64 * length <= FILE_BYTES_MAX);
        assert_eq!(rows.last().unwrap()["offset"].as_u64(), Some(last));
        assert!(rows[0]["offset"].as_u64().unwrap() > 0);
        assert!(messages.iter().any(|message| matches!(message, Message::Limited(_))));
        assert!(items(&messages).iter().any(|item| item.status == Status::Truncated));
    }

    #[test]
    fn the_live_host_gives_rows_or_reasons() {
        let messages = collect(&LoginRecords {}, Arc::new(Host::live()));
        assert!(items(&messages).iter().any(|item| item.path == LASTLOG.as_bytes()));
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    }
}
