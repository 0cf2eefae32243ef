//! Logs of applications: databases, queues, proxies, mail, file servers, build servers, security and cloud agents; dumps
//! of crashed programs by what their names say; sessions that sudo recorded.
//!
//! Rows: `application_log` (one per file), `crash_dump` (one per dump: the content is memory and stays where it is),
//! `sudo_session` (who ran what, where its recording lies). Logs that changed in the window go into the bundle, and with
//! them the small files that describe a crash.

mod places;

use bundle::item::{Kind, Nanos, Status, shown};
use bundle::time::Instant;
use bundle::timeline::Event;
use jiff::tz::TimeZone;
use rustix::fs::StatxFlags;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Tier};

use self::places::{DUMPS, LOGS, SUDO_SESSIONS};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::copy::Copier;
use crate::files::gather::Request;
use crate::files::since::{Since, is_changed_since};
use crate::files::text_log::{self, changed};
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::log_line::{Calendar, LogLine, clock, rfc3339};
use crate::host::meta::{Type, nanoseconds};
use crate::host::text::{decimal, in_base};
use crate::host::walk::Entry;
use crate::run::session::{Session, Stopped};

/// Logs that changed within this many days are taken when nothing is said.
const DAYS: u64 = 14;
/// What describes a crash has at most this many bytes; what is longer is the dump.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;
/// The first lines in which a time is looked for.
const LINES_MAX: u32 = 5;

/// Arguments of `collect: application_logs`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplicationLogs {
    /// Only these applications: all when nothing is said.
    #[serde(default)]
    applications: Vec<String>,
    /// Takes what changed since: the last 14 days when nothing is said. Every file is a row.
    #[serde(default)]
    changed_since: Option<Since>,
    /// The most bytes of one file: 256 MiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
}

/// A log of an application.
#[derive(Serialize, JsonSchema)]
struct LogRow<'a> {
    /// The application.
    application: &'a str,
    /// Birth of the file, where the file system keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    btime_ns: Option<Nanos>,
    /// The first time in its first lines; local times are of the host's zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_time_ns: Option<Nanos>,
    /// True when nothing is in it.
    is_empty: bool,
    /// True when it changed in the window, and is therefore in the bundle.
    is_recent: bool,
    /// Last change.
    mtime_ns: Nanos,
    /// Path.
    path: &'a str,
    /// Exact bytes of a path that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `application_log`.
    record: &'static str,
    /// Length.
    size_bytes: u64,
    /// Where it leads, when it is a symbolic link.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Owner.
    uid: u32,
}

/// A dump of a crashed program.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct DumpRow {
    /// The boot in which it crashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
    /// Name of the process, or of its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<String>,
    /// Last change of the file.
    mtime_ns: String,
    /// Path.
    path: String,
    /// Process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u64>,
    /// `crash_dump`.
    record: &'static str,
    /// Length.
    size_bytes: u64,
    /// When it crashed, by the name of the dump.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<Nanos>,
    /// User of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u64>,
}

/// A session that sudo recorded.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
struct SudoRow {
    /// Command, with its arguments.
    #[serde(skip_serializing_if = "String::is_empty")]
    command: String,
    /// The log of the session.
    path: String,
    /// Folder in which it was run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pwd: String,
    /// `sudo_session`.
    record: &'static str,
    /// User that somebody became.
    #[serde(skip_serializing_if = "String::is_empty")]
    target_user: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<Nanos>,
    /// Terminal.
    #[serde(skip_serializing_if = "String::is_empty")]
    tty: String,
    /// User.
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
}

/// What a glob is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Log(&'static str),
    Dump,
    SudoSession,
}

impl ApplicationLogs {
    fn asked(&self) -> Vec<(Purpose, Glob)> {
        let wanted = |name: &str| self.applications.is_empty() || self.applications.iter().any(|asked| asked == name);
        let logs = LOGS.iter().map(|(name, glob)| (Purpose::Log(name), *name, *glob));
        let others = [(Purpose::Dump, "crash_dumps", DUMPS), (Purpose::SudoSession, "sudo", SUDO_SESSIONS)];
        logs.chain(others)
            .filter(|(_, name, _)| wanted(name))
            .filter_map(|(purpose, _, glob)| Some((purpose, Glob::parse(glob).ok()?)))
            .collect()
    }

    fn request<'a>(&self, paths: &'a [Glob]) -> Request<'a> {
        Request { file_bytes_max: Some(self.bytes_max()), ..Request::of(paths) }
    }

    fn bytes_max(&self) -> u64 {
        self.file_bytes_max.map_or(256 << 20, |size| size.0)
    }
}

impl Collect for ApplicationLogs {
    const NAME: &'static str = "application_logs";
    const TIER: Tier = Tier::Logs;
    const SUMMARY: &'static str =
        "Logs of databases, queues, mail, build, security and cloud agents; crash dumps by name.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let unknown: Vec<String> = self
            .applications
            .iter()
            .filter(|name| {
                !LOGS.iter().any(|(known, _)| known == name) && !["crash_dumps", "sudo"].contains(&name.as_str())
            })
            .cloned()
            .collect();
        for name in unknown {
            let item = session.item(Kind::Record, name.as_bytes(), "lookup", Status::Skipped);
            session.note(item.because("no application of that name is known"))?;
        }
        let asked = self.asked();
        let globs: Vec<Glob> = asked.iter().map(|(_, glob)| glob.clone()).collect();
        let since = self.changed_since.unwrap_or(Since::Ago(DAYS * 86_400)).moment(session.now());
        let zone = session.host().time_zone().0;
        let mut copier = Copier::new(session, Some(self.bytes_max()));
        self.request(&globs).each(session, |session, entry, numbers| {
            let purpose = numbers.first().and_then(|number| asked.get(usize::try_from(*number).ok()?));
            match purpose.map(|(purpose, _)| *purpose) {
                None => copier.hand_over(session, entry),
                Some(Purpose::Log(application)) => log(session, &mut copier, entry, application, since, &zone),
                Some(Purpose::Dump) => dump(session, &mut copier, entry),
                Some(Purpose::SudoSession) => {
                    sudo_session(session, entry)?;
                    copier.hand_over(session, entry)
                }
            }
        })
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<LogRow<'static>>("application_log", "the applications' own documentation"),
            RowType::of::<DumpRow>("crash_dump", "systemd-coredump(8), core(5), abrt, apport"),
            RowType::of::<SudoRow>("sudo_session", "sudoers(5), sudoreplay(8)"),
        ]
    }

    fn plan(&self, host: &Host) -> Plan {
        let globs: Vec<Glob> = self.asked().into_iter().map(|(_, glob)| glob).collect();
        self.request(&globs).plan(host)
    }
}

fn log(
    session: &mut Session,
    copier: &mut Copier,
    entry: &Entry<'_>,
    application: &str,
    since: Instant,
    zone: &TimeZone,
) -> Result<(), Stopped> {
    if !matches!(entry.file_type(), Type::File | Type::Link) {
        return Ok(());
    }
    let is_recent = is_changed_since(entry.stat, since);
    let (path, path_b64) = shown(entry.path);
    let has_birth = entry.stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let is_link = entry.file_type() == Type::Link;
    let target = is_link.then(|| entry.view.read_link(entry.folder, entry.name).ok()).flatten();
    let first_time = if is_link { None } else { first_time(session, entry, zone)? };
    session.row(&LogRow {
        application,
        btime_ns: has_birth.then(|| Nanos(nanoseconds(entry.stat.stx_btime))),
        first_time_ns: first_time.map(|at| Nanos(at.0)),
        is_empty: !is_link && entry.stat.stx_size == 0,
        is_recent,
        mtime_ns: Nanos(changed(entry).0),
        path: &path,
        path_b64,
        record: "application_log",
        size_bytes: entry.stat.stx_size,
        target: target.map(|target| shown(&target).0),
        uid: entry.stat.stx_uid,
    })?;
    if is_recent { copier.hand_over(session, entry) } else { Ok(()) }
}

/// The first time that stands at the beginning of one of the first lines.
fn first_time(session: &mut Session, entry: &Entry<'_>, zone: &TimeZone) -> Result<Option<Instant>, Stopped> {
    let name = entry.name.to_bytes();
    let is_text = [&b".gz"[..], b".xz", b".zst", b".bz2", b".sqlite3", b".journal", b".pcap"]
        .iter()
        .all(|end| !name.ends_with(end));
    if !is_text || entry.stat.stx_size == 0 {
        return Ok(None);
    }
    let calendar = Calendar::new(zone, changed(entry));
    let mut first = None;
    let mut lines = 0;
    text_log::read(session, entry, u64::MAX, |_, line| {
        first = time_at_start(line.bytes, &calendar);
        lines += 1;
        Ok(first.is_none() && lines < LINES_MAX)
    })?;
    Ok(first)
}

/// `2025-11-30T10:53:20Z …`, `[2025-11-30 10:53:20,123] …`, `Nov 30 10:53:20 …`.
fn time_at_start(line: &[u8], calendar: &Calendar) -> Option<Instant> {
    let line = line.get(..256).unwrap_or(line);
    let start = line.strip_prefix(b"[").unwrap_or(line);
    if let Some((at, _)) = rfc3339(start) {
        return Some(at);
    }
    if let Some(parsed) = LogLine::parse(line, calendar) {
        return Some(parsed.at);
    }
    let date = start.get(..10)?;
    let mut parts = date.split(|byte| matches!(byte, b'-' | b'/'));
    let mut part = || decimal(parts.next()?);
    let (year, month, day) = (i16::try_from(part()?).ok()?, i8::try_from(part()?).ok()?, i8::try_from(part()?).ok()?);
    let time = clock(start.get(11..19)?)?;
    calendar.local(jiff::civil::Date::new(year, month, day).ok()?.to_datetime(time))
}

/// A dump becomes a row; what describes it is taken as well.
fn dump(session: &mut Session, copier: &mut Copier, entry: &Entry<'_>) -> Result<(), Stopped> {
    if entry.file_type() != Type::File {
        return Ok(());
    }
    let name = entry.name.to_bytes();
    let is_named = name.starts_with(b"core") || name.ends_with(b".crash") || name.starts_with(b"vmcore");
    if !is_named && entry.stat.stx_size <= DESCRIPTION_BYTES_MAX {
        return copier.hand_over(session, entry);
    }
    let mut row = of_name(name).unwrap_or_default();
    row.mtime_ns = changed(entry).0.to_string();
    row.path = shown(entry.path).0;
    row.record = "crash_dump";
    row.size_bytes = entry.stat.stx_size;
    if let Some(Nanos(at)) = row.time_ns {
        let message = format!(
            "{} of pid {} (uid {}) crashed",
            row.comm.as_deref().unwrap_or("a program"),
            row.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string()),
            row.uid.map_or_else(|| "?".to_owned(), |uid| uid.to_string()),
        );
        session.event(Event { at: Instant(at), desc: "Crash Time", message, data_type: "linux:coredump" })?;
    }
    session.row(&row)?;
    let item = session.item(Kind::File, entry.path, "stat", Status::MetaOnly);
    session.note(item.because("a dump of a process's memory: only its name and size are taken"))
}

/// `core.COMM.UID.BOOTID.PID.TIMESTAMP[.zst]` of systemd-coredump(8), the timestamp in microseconds, odd bytes of the
/// name as `\xHH`; `_usr_bin_x.1000.crash` of apport; `core.811` of core(5).
fn of_name(name: &[u8]) -> Option<DumpRow> {
    let name = str::from_utf8(name).ok()?;
    if let Some(name) = name.strip_suffix(".crash") {
        let (comm, uid) = name.rsplit_once('.')?;
        return Some(DumpRow { comm: Some(comm.replace('_', "/")), uid: uid.parse().ok(), ..DumpRow::default() });
    }
    let rest = name.strip_prefix("core.")?;
    let rest = [".zst", ".lz4", ".xz"].iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest);
    if let Ok(pid) = rest.parse() {
        return Some(DumpRow { pid: Some(pid), ..DumpRow::default() });
    }
    // From the end: the name of the process may hold dots.
    let mut parts = rest.rsplitn(5, '.');
    let micros: i128 = parts.next()?.parse().ok()?;
    let pid = parts.next()?.parse().ok()?;
    let boot_id = parts.next()?.to_owned();
    let uid = parts.next()?.parse().ok()?;
    let comm = unescaped(parts.next()?);
    Some(DumpRow {
        boot_id: Some(boot_id),
        comm: Some(comm),
        pid: Some(pid),
        uid: Some(uid),
        time_ns: Some(Nanos(micros.checked_mul(1000)?)),
        ..DumpRow::default()
    })
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\x");
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.as_bytes().split_at_checked(2) {
            Some((digits, rest)) if in_base(digits, 16).is_some() => {
                plain.extend(in_base(digits, 16).and_then(|byte| u8::try_from(byte).ok()));
                plain.extend_from_slice(rest);
            }
            _ => plain.extend_from_slice(format!("\\x{part}").as_bytes()),
        }
    }
    shown(&plain).0
}

fn sudo_session(session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
    if entry.file_type() != Type::File || entry.stat.stx_size > DESCRIPTION_BYTES_MAX {
        return Ok(());
    }
    let mut text = Vec::new();
    text_log::read(session, entry, DESCRIPTION_BYTES_MAX, |_, line| {
        text.extend_from_slice(line.bytes);
        text.push(b'\n');
        Ok(true)
    })?;
    let is_json = entry.name.to_bytes().ends_with(b".json");
    let text = String::from_utf8_lossy(&text);
    let Some(row) = (if is_json { of_json(&text) } else { of_log(&text) }) else { return Ok(()) };
    let row = SudoRow { path: shown(entry.path).0, record: "sudo_session", ..row };
    if let Some(Nanos(at)) = row.time_ns {
        let message = format!("{} as {}: {}", row.user, row.target_user, row.command);
        session.event(Event { at: Instant(at), desc: "Start Time", message, data_type: "linux:sudo:session" })?;
    }
    session.row(&row)
}

/// Three lines: `time:user:runas user:runas group:terminal…`, the folder, the command.
fn of_log(text: &str) -> Option<SudoRow> {
    let mut lines = text.lines();
    let mut fields = lines.next()?.split(':');
    let time = fields.next()?.parse::<i128>().ok()?;
    let mut field = || fields.next().unwrap_or_default().to_owned();
    let (user, target_user, _group, tty) = (field(), field(), field(), field());
    let pwd = lines.next().unwrap_or_default().to_owned();
    let command = lines.next().unwrap_or_default().to_owned();
    Some(SudoRow {
        command,
        pwd,
        target_user,
        tty,
        user,
        time_ns: Some(Nanos(time.checked_mul(1_000_000_000)?)),
        ..SudoRow::default()
    })
}

/// `log.json` of sudo 1.9.
fn of_json(text: &str) -> Option<SudoRow> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let get = |key: &str| value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let arguments = value.get("runargv").and_then(serde_json::Value::as_array);
    let arguments: Vec<&str> = arguments.into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
    let seconds = value.pointer("/timestamp/seconds").and_then(serde_json::Value::as_i64);
    Some(SudoRow {
        command: if arguments.is_empty() { get("command") } else { arguments.join(" ") },
        pwd: get("submitcwd"),
        target_user: get("runuser"),
        time_ns: seconds.map(|seconds| Nanos(i128::from(seconds) * 1_000_000_000)),
        tty: get("ttyname"),
        user: get("submituser"),
        ..SudoRow::default()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    fn put(root: &Path, path: &str, content: &[u8]) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    #[test]
    fn logs_dumps_and_recorded_sessions_become_rows() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path();
        put(at, "var/log/postgresql/postgresql.log", b"\n2025-11-30 10:53:20.123 UTC [1] LOG:  x\n");
        put(at, "var/log/mysql/empty.log", b"");
        put(
            at,
            "var/lib/systemd/coredump/core.a\\x2fb.33.0123456789abcdef0123456789abcdef.811.1764500000000000.zst",
            b"memory",
        );
        put(at, "var/crash/_usr_bin_x.1000.crash", b"memory");
        put(at, "var/spool/abrt/ccpp-1/cmdline", b"x -y");
        put(
            at,
            "var/log/sudo-io/00/00/01/log",
            b"1764500000:alice:root::/dev/pts/0:24:80\n/home/alice\n/bin/sh -c id\n",
        );
        put(at, "var/log/sudo-io/00/00/02/log.json", br#"{"timestamp":{"seconds":1764500000},"submituser":"bob","runuser":"root","runargv":["id","-u"],"submitcwd":"/"}"#);
        let messages = collect(&ApplicationLogs::default(), Arc::new(Host::at(at, FixedClock(Instant(0)))));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let of = |record: &str| -> Vec<_> { rows.iter().filter(|row| row["record"] == record).collect() };
        let logs = of("application_log");
        let log = |name: &str| logs.iter().find(|row| row["application"] == name).unwrap();
        assert_eq!(
            (&log("postgresql")["first_time_ns"], &log("mysql")["is_empty"]),
            (&"1764500000000000000".into(), &true.into())
        );
        let dumps = of("crash_dump");
        assert_eq!(dumps.len(), 2);
        let core = dumps.iter().find(|row| row["pid"] == 811).unwrap();
        assert_eq!(
            (&core["comm"], &core["uid"], &core["time_ns"]),
            (&"a/b".into(), &33.into(), &"1764500000000000000".into())
        );
        assert!(dumps.iter().any(|row| row["comm"] == "/usr/bin/x" && row["uid"] == 1000));
        let sessions = of("sudo_session");
        assert_eq!((&sessions[0]["command"], &sessions[0]["user"]), (&"/bin/sh -c id".into(), &"alice".into()));
        assert_eq!((&sessions[1]["command"], &sessions[1]["user"]), (&"id -u".into(), &"bob".into()));
        let whole = |end: &[u8]| {
            messages.iter().any(|message| matches!(message, Message::Whole(item, _) if item.path.ends_with(end)))
        };
        assert!(whole(b"postgresql.log") && whole(b"cmdline") && !whole(b".zst") && !whole(b".crash"));
    }

    #[test]
    fn applications_are_chosen_by_name() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "var/log/redis/redis.log", b"x");
        put(root.path(), "var/log/mongodb/mongod.log", b"x");
        let step = ApplicationLogs {
            applications: vec!["redis".to_owned(), "reddis".to_owned()],
            ..ApplicationLogs::default()
        };
        let messages = collect(&step, Arc::new(Host::at(root.path(), FixedClock(Instant(0)))));
        assert_eq!(rows(&messages).len(), 1);
        assert!(items(&messages).iter().any(|item| item.path == b"reddis" && item.reason.is_some()));
        assert_eq!(ApplicationLogs::default().asked().len(), LOGS.len() + 2, "every glob reads");
    }
}
