//! Text logs of logins and privileges: `auth.log`, `secure` and their rotated files line by line; `syslog`, `messages`
//! and the like only where a line is understood. gzip, xz and zstd are decoded.
//!
//! Rows: `auth_line` (a line of the window, with the facts of [`LogFacts`]) and `auth_file` (one per file: first and last
//! time, the longest silence, lines that go back in time and lines with NUL bytes, which is how wiping shows). Notable
//! lines are moments of the timeline. The files go into the bundle as well.
//!
//! Times without a year take the latest year that is not after the file's last change; times without a zone are of
//! `/etc/localtime`. Known limits: of a plain file the last 256 MiB are read; bzip2 is not decoded.

use bundle::item::{Kind, Nanos, Status, shown};
use bundle::time::Instant;
use bundle::timeline::Event;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::copy::Copier;
use crate::files::gather::Request;
use crate::files::since::Since;
use crate::files::text_log::{self, changed};
use crate::files::window::Window;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::lines::Line;
use crate::host::log_facts::LogFacts;
use crate::host::log_line::{Calendar, LogLine};
use crate::host::meta::Type;
use crate::host::text::{Exact, Text};
use crate::host::walk::Entry;
use crate::run::session::{Session, Stopped};

/// Logs of which every line is a row, and then those of which only the lines that are understood are.
const PATHS: [&str; 4] = [
    "/var/log/{auth.log,secure,authlog,sudo.log,su.log}*",
    "/var/adm/{auth.log,authlog,sulog}*",
    "/var/log/{syslog,messages,user.log,daemon.log,cron,cron.log}*",
    "/var/log/{syslog,messages,auth,secure,remote,hosts}/**/*{log,messages,secure}*",
];
/// The first of [`PATHS`] that name general logs.
const GENERAL_FROM: u32 = 2;
/// Days that are read when nothing is said.
const DAYS: u64 = 30;
/// Rows of lines when nothing is said.
const LINES_MAX: u64 = 300_000;
/// Of a file this much is read.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// The longest message of a row.
const MESSAGE_BYTES_MAX: usize = 8 << 10;
/// Moments on the timeline.
const EVENTS_MAX: u32 = 20_000;

/// Arguments of `collect: auth_log`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthLog {
    /// Lines from this moment on: the last 30 days when nothing is said.
    #[serde(default)]
    since: Option<Since>,
    /// Lines up to this moment.
    #[serde(default)]
    until: Option<Since>,
    /// The most lines: 300,000 when nothing is said.
    #[serde(default)]
    lines_max: Option<u64>,
    /// The most bytes of one file in the bundle: 1 GiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
}

/// A line.
#[derive(Serialize, JsonSchema)]
struct LineRow<'a> {
    /// What the line says, where its program is known.
    #[serde(flatten)]
    facts: LogFacts,
    /// Host that the line names.
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<Text<'a>>,
    /// Number of the line in the file, from 1; absent when the file was read from its middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// Message, at most 8 KiB of it.
    message: Text<'a>,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_b64: Option<Exact<'a>>,
    /// The file.
    path: &'a str,
    /// Process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u64>,
    /// Program.
    program: Text<'a>,
    /// `auth_line`.
    record: &'static str,
    /// When.
    time_ns: Nanos,
    /// True when the line has no year, which then comes from the file's last change.
    is_year_inferred: bool,
}

/// A file.
#[derive(Serialize, JsonSchema)]
struct FileRow<'a> {
    /// Time of the earliest line.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_time_ns: Option<Nanos>,
    /// Time of the latest line.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_time_ns: Option<Nanos>,
    /// Lines.
    lines: u64,
    /// Lines that are more than a minute earlier than the one before.
    lines_back_in_time: u64,
    /// Lines that are not understood as lines of a syslog daemon.
    lines_unparsed: u64,
    /// Lines that hold NUL bytes: overwritten in place, or a crash of the machine.
    lines_with_nul: u64,
    /// Last change of the file.
    mtime_ns: Nanos,
    /// The file.
    path: &'a str,
    /// `auth_file`.
    record: &'static str,
    /// When the longest time between two lines begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    silence_from_ns: Option<Nanos>,
    /// How long it is.
    silence_secs: u64,
    /// Length of the file.
    size_bytes: u64,
}

impl AuthLog {
    fn with_request<T>(&self, with: impl FnOnce(Request<'_>) -> T) -> T {
        let paths = Glob::table(&PATHS);
        with(Request {
            changed_since: Some(self.since.unwrap_or(Since::Ago(DAYS * 86_400))),
            file_bytes_max: self.file_bytes_max.map(|size| size.0),
            ..Request::of(&paths)
        })
    }
}

impl Collect for AuthLog {
    const NAME: &'static str = "auth_log";
    const TIER: Tier = Tier::Logs;
    const SUMMARY: &'static str = "Logins, sudo, su and changes of accounts in text logs: lines, facts and the files.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let (zone, why) = session.host().time_zone();
        if let Some(why) = why {
            let item = session.item(Kind::Record, "/etc/localtime", "read", Status::Skipped);
            session.note(item.because(why))?;
        }
        let mut copier = Copier::new(session, self.file_bytes_max.map(|size| size.0));
        let mut reading = Reading {
            window: Window::new(self.since, self.until, DAYS, session.now()),
            zone,
            lines_left: self.lines_max.unwrap_or(LINES_MAX),
            events_left: EVENTS_MAX,
            is_limit_told: false,
        };
        self.with_request(|request| {
            request.each(session, |session, entry, asked| {
                if entry.file_type() == Type::File && !asked.is_empty() {
                    let is_general = asked.iter().all(|number| *number >= GENERAL_FROM);
                    reading.read(session, entry, is_general)?;
                }
                copier.hand_over(session, entry)
            })
        })
    }

    fn rows() -> Vec<RowType> {
        let source = "syslog(3), rsyslog.conf(5), RFC 3164, RFC 3339, sshd(8), sudo(8), pam_unix(8)";
        vec![RowType::of::<FileRow<'static>>("auth_file", source), RowType::of::<LineRow<'static>>("auth_line", source)]
    }

    fn plan(&self, host: &Host) -> Plan {
        self.with_request(|request| request.plan(host))
    }
}

struct Reading {
    window: Window,
    zone: TimeZone,
    lines_left: u64,
    events_left: u32,
    is_limit_told: bool,
}

impl Reading {
    fn read(&mut self, session: &mut Session, entry: &Entry<'_>, is_general: bool) -> Result<(), Stopped> {
        let (path, _) = shown(entry.path);
        let calendar = Calendar::new(&self.zone, changed(entry));
        let mut row = FileRow {
            first_time_ns: None,
            last_time_ns: None,
            lines: 0,
            lines_back_in_time: 0,
            lines_unparsed: 0,
            lines_with_nul: 0,
            mtime_ns: Nanos(changed(entry).0),
            path: &path,
            record: "auth_file",
            silence_secs: 0,
            silence_from_ns: None,
            size_bytes: entry.stat.stx_size,
        };
        let mut before = None;
        text_log::read(session, entry, FILE_BYTES_MAX, |session, line| {
            row.lines += 1;
            row.lines_with_nul += u64::from(line.bytes.contains(&0));
            let Some(parsed) = LogLine::parse(line.bytes, &calendar) else {
                row.lines_unparsed += 1;
                return Ok(true);
            };
            row.follow(parsed.at, before.replace(parsed.at));
            if self.window.holds(parsed.at) {
                self.line(session, &path, line, &parsed, is_general)?;
            }
            Ok(true)
        })?;
        session.row(&row)
    }

    fn line(
        &mut self,
        session: &mut Session,
        path: &str,
        line: Line<'_>,
        parsed: &LogLine<'_>,
        is_general: bool,
    ) -> Result<(), Stopped> {
        let program = String::from_utf8_lossy(parsed.program);
        let facts = LogFacts::of(&program, &String::from_utf8_lossy(parsed.message));
        if is_general && facts.is_empty() {
            return Ok(());
        }
        if self.lines_left == 0 {
            if !std::mem::replace(&mut self.is_limit_told, true) {
                session.limited("lines_max is reached: later lines are only in the files")?;
            }
            return Ok(());
        }
        self.lines_left -= 1;
        let message = parsed.message.get(..MESSAGE_BYTES_MAX).unwrap_or(parsed.message);
        if facts.is_notable() && self.events_left > 0 {
            self.events_left -= 1;
            let said: String = String::from_utf8_lossy(message).chars().take(500).collect();
            let message = format!("{program}: {said}");
            session.event(Event { at: parsed.at, desc: "Written Time", message, data_type: "syslog:line" })?;
        }
        session.flattened_row(&LineRow {
            facts,
            hostname: (!parsed.host.is_empty()).then_some(Text(parsed.host)),
            line: line.number,
            message: Text(message),
            message_b64: Exact::of(message),
            path,
            pid: parsed.pid,
            program: Text(parsed.program),
            record: "auth_line",
            time_ns: Nanos(parsed.at.0),
            is_year_inferred: parsed.is_year_inferred,
        })
    }
}

impl FileRow<'_> {
    fn follow(&mut self, at: Instant, before: Option<Instant>) {
        const MINUTE_NS: i128 = 60 * 1_000_000_000;
        self.first_time_ns = Some(self.first_time_ns.map_or(Nanos(at.0), |first| first.min(Nanos(at.0))));
        self.last_time_ns = self.last_time_ns.max(Some(Nanos(at.0)));
        let Some(before) = before else { return };
        self.lines_back_in_time += u64::from(before.0 - at.0 > MINUTE_NS);
        let silence_secs = u64::try_from((at.0 - before.0) / 1_000_000_000).unwrap_or(0);
        if silence_secs > self.silence_secs {
            self.silence_secs = silence_secs;
            self.silence_from_ns = Some(Nanos(before.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    const LINES: &[u8] = b"Nov 29 10:00:00 web-1 sshd[811]: Failed password for invalid user admin from 198.51.100.9 port 4 ssh2\n\
        Nov 29 10:00:05 web-1 sshd[811]: Accepted publickey for root from 192.0.2.7 port 50022 ssh2: ED25519 SHA256:abc\n\
        2025-11-29T12:00:00.5+00:00 web-1 sudo:   alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh\n\
        Nov 29 11:00:00 web-1 odd[1]: \xff\n\
        \0\0\0\0 no line\n\
        Nov  1 00:00:00 web-1 sshd[1]: too old\n";

    fn host(root: &Path) -> Arc<Host> {
        let now: jiff::Timestamp = "2025-11-30T00:00:00Z".parse().unwrap();
        Arc::new(Host::at(root, FixedClock(Instant(now.as_nanosecond()))))
    }

    fn put(root: &Path, name: &str, content: &[u8]) {
        let path = root.join("var/log").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::File::create(path).unwrap();
        file.write_all(content).unwrap();
        let changed: jiff::Timestamp = "2025-11-29T20:00:00Z".parse().unwrap();
        file.set_modified(changed.into()).unwrap();
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn lines_and_files_become_rows_and_moments() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "auth.log", LINES);
        put(root.path(), "auth.log.2.gz", &gzip(LINES));
        put(root.path(), "syslog", LINES);
        put(root.path(), "secure.1.bz2", b"BZh91AY");
        let step: AuthLog = serde_json::from_value(serde_json::json!({"since": "14d"})).unwrap();
        let messages = collect(&step, host(root.path()));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let of = |name: &str, record: &str| -> Vec<_> {
            let path = format!("/var/log/{name}");
            rows.iter().filter(|row| row["path"] == path.as_str() && row["record"] == record).cloned().collect()
        };
        for name in ["auth.log", "auth.log.2.gz"] {
            let lines = of(name, "auth_line");
            assert_eq!(lines.len(), 4, "{name}");
            assert_eq!((&lines[0]["event"], &lines[0]["invalid_user"]), (&"ssh_failed".into(), &true.into()));
            assert_eq!((&lines[1]["event"], &lines[1]["line"]), (&"ssh_accepted".into(), &2.into()));
            assert_eq!(lines[1]["time_ns"], "1764410405000000000");
            assert_eq!((&lines[2]["event"], &lines[2]["command"]), (&"sudo".into(), &"/bin/sh".into()));
            assert_eq!(lines[3]["message_b64"], "/w==");
            let file = &of(name, "auth_file")[0];
            assert_eq!(
                (&file["lines"], &file["lines_unparsed"], &file["lines_with_nul"]),
                (&6.into(), &1.into(), &1.into())
            );
            assert_eq!((&file["lines_back_in_time"], &file["silence_secs"]), (&2.into(), &7195.into()));
        }
        assert_eq!(of("syslog", "auth_line").len(), 3, "only what is understood");
        let reasons: Vec<_> = items(&messages).into_iter().filter_map(|item| item.reason).collect();
        assert!(reasons.iter().any(|reason| reason.contains("bzip2")));
        let events = messages.iter().filter(|message| matches!(message, Message::Event(_))).count();
        assert_eq!(events, 9);
        let whole = messages.iter().filter(|message| matches!(message, Message::Whole(..))).count();
        assert_eq!(whole, 4, "the files themselves");
    }

    #[test]
    fn the_limit_of_lines_is_told_once() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "auth.log", LINES);
        let count = |max: u64| {
            let step = AuthLog { since: Since::parse("14d"), lines_max: Some(max), ..AuthLog::default() };
            let messages = collect(&step, host(root.path()));
            let lines = rows(&messages).iter().filter(|row| row["record"] == "auth_line").count();
            (lines, messages.iter().filter(|message| matches!(message, Message::Limited(_))).count())
        };
        assert_eq!((count(4), count(3), count(0)), ((4, 0), (3, 1), (0, 1)));
    }
}
