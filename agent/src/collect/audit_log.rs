//! The audit log of auditd: its records gathered by event, and the files.
//!
//! Rows: `audit_event`, one for each event (the records that share time and serial number), in the order of the files:
//! who (auid, uid), what (system call, key, programs with their arguments), on which paths, with what result. Fields in
//! hexadecimal are decoded. On the timeline stand logins, changes of accounts, of the audit rules and of its daemon.
//!
//! Known limits: records of one event that lie further apart than the 64 events that are kept open become two rows; of
//! an event at most 64 paths and 256 arguments are shown.

use std::collections::VecDeque;
use std::fmt::Write as _;

use bundle::item::shown;
use bundle::time::Instant;
use bundle::timeline::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::copy::Copier;
use crate::files::gather::Request;
use crate::files::since::Since;
use crate::files::text_log;
use crate::files::window::Window;
use crate::host::Host;
use crate::host::audit_log::{Record, syscall_name};
use crate::host::glob::Glob;
use crate::host::meta::Type;
use crate::run::session::{Session, Stopped};

const PATHS: [&str; 1] = ["/var/log/audit/**"];
/// Days that are read when nothing is said.
const DAYS: u64 = 14;
/// Events when nothing is said.
const EVENTS_MAX: u64 = 300_000;
/// Of a file this much is read: auditd rotates at 8 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Events whose records may still come.
const OPEN_MAX: usize = 64;
const PATHS_MAX: usize = 64;
const ARGUMENTS_MAX: u64 = 256;
const RECORDS_MAX: usize = 64;
/// The longest value that is shown.
const VALUE_CHARS_MAX: usize = 8192;
/// Moments on the timeline.
const MOMENTS_MAX: u32 = 20_000;
/// The user id that means "none".
const UNSET: u64 = u32::MAX as u64;
/// Types of records that are moments of the timeline, by how they begin.
const NOTABLE: [&str; 16] = [
    "USER_LOGIN",
    "USER_AUTH",
    "USER_CMD",
    "ADD_USER",
    "DEL_USER",
    "ADD_GROUP",
    "DEL_GROUP",
    "USER_MGMT",
    "USER_CHAUTHTOK",
    "GRP_MGMT",
    "CONFIG_CHANGE",
    "DAEMON_",
    "ANOM_",
    "KERN_MODULE",
    "AVC",
    "SYSTEM_",
];

/// Arguments of `collect: audit_log`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditLog {
    /// Events from this moment on: the last 14 days when nothing is said.
    #[serde(default)]
    since: Option<Since>,
    /// Events up to this moment.
    #[serde(default)]
    until: Option<Since>,
    /// The most events: 300,000 when nothing is said.
    #[serde(default)]
    events_max: Option<u64>,
    /// The most bytes of one file in the bundle: 1 GiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
}

/// An event of the audit subsystem.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
struct EventRow {
    /// Account that a record of user space is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    acct: Option<String>,
    /// Address of the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// Architecture of the system call, as the kernel numbers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
    /// Arguments of the program that was run (EXECVE).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    argv: Vec<String>,
    /// User who logged in, through every change of user since.
    #[serde(skip_serializing_if = "Option::is_none")]
    auid: Option<u64>,
    /// Command line, from PROCTITLE or USER_CMD.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline: Option<String>,
    /// Name of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<String>,
    /// Working folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
    /// Effective user.
    #[serde(skip_serializing_if = "Option::is_none")]
    euid: Option<u64>,
    /// Image.
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<String>,
    /// What the system call gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<String>,
    /// Host that auditd names.
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    /// Key of the rule that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Number of its first line in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// What user space did: `login`, `PAM:session_open`, `add-user` …
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<String>,
    /// The log.
    path: String,
    /// Paths that the system call named, with what it did to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
    /// Process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u64>,
    /// Its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    ppid: Option<u64>,
    /// `audit_event`.
    record: &'static str,
    /// Number of the event.
    serial: u64,
    /// Session.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    /// True when it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    /// System call: its name where it is known, else its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    syscall: Option<String>,
    /// When.
    time_ns: String,
    /// Terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    tty: Option<String>,
    /// Type of the first record.
    #[serde(rename = "type")]
    kind: String,
    /// Types of all its records.
    types: Vec<String>,
    /// Real user.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u64>,
}

impl AuditLog {
    fn with_request<T>(&self, with: impl FnOnce(Request<'_>) -> T) -> T {
        let paths = Glob::table(&PATHS);
        with(Request {
            changed_since: Some(self.since.unwrap_or(Since::Ago(DAYS * 86_400))),
            file_bytes_max: self.file_bytes_max.map(|size| size.0),
            ..Request::of(&paths)
        })
    }
}

impl Collect for AuditLog {
    const NAME: &'static str = "audit_log";
    const TIER: Tier = Tier::Logs;
    const SUMMARY: &'static str = "The audit log: events with system call, users, programs and paths, and the files.";
    const NEEDS: &'static [&'static str] = &["root"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut copier = Copier::new(session, self.file_bytes_max.map(|size| size.0));
        let mut reading = Reading {
            window: Window::new(self.since, self.until, DAYS, session.now()),
            open: VecDeque::with_capacity(OPEN_MAX),
            events_left: self.events_max.unwrap_or(EVENTS_MAX),
            moments_left: MOMENTS_MAX,
            is_limit_told: false,
        };
        self.with_request(|request| {
            request.each(session, |session, entry, asked| {
                let is_log = entry.path.windows(9).any(|name| name == b"audit.log");
                if entry.file_type() == Type::File && !asked.is_empty() && is_log {
                    let (path, _) = shown(entry.path);
                    text_log::read(session, entry, FILE_BYTES_MAX, |session, line| {
                        if let Some(record) = Record::parse(line.bytes)
                            && reading.window.holds(record.at)
                        {
                            reading.record(session, &record, &path, line.number)?;
                        }
                        Ok(true)
                    })?;
                    while let Some(row) = reading.open.pop_front() {
                        reading.hand_over(session, &row)?;
                    }
                }
                copier.hand_over(session, entry)
            })
        })
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<EventRow>(
            "audit_event",
            "auditd(8), ausearch(8), audit.rules(7), include/uapi/linux/audit.h",
        )]
    }

    fn plan(&self, host: &Host) -> Plan {
        self.with_request(|request| request.plan(host))
    }
}

struct Reading {
    window: Window,
    open: VecDeque<EventRow>,
    events_left: u64,
    moments_left: u32,
    is_limit_told: bool,
}

impl Reading {
    fn record(
        &mut self,
        session: &mut Session,
        record: &Record<'_>,
        path: &str,
        line: Option<u64>,
    ) -> Result<(), Stopped> {
        let time_ns = record.at.0.to_string();
        let is_same = |row: &&mut EventRow| row.serial == record.serial && row.time_ns == time_ns;
        if let Some(row) = self.open.iter_mut().rev().find(is_same) {
            row.add(record);
            return Ok(());
        }
        if self.open.len() >= OPEN_MAX
            && let Some(row) = self.open.pop_front()
        {
            self.hand_over(session, &row)?;
        }
        let mut row = EventRow {
            hostname: record.node.map(text),
            kind: text(record.kind),
            line,
            path: path.to_owned(),
            record: "audit_event",
            serial: record.serial,
            time_ns,
            ..EventRow::default()
        };
        row.add(record);
        self.open.push_back(row);
        Ok(())
    }

    fn hand_over(&mut self, session: &mut Session, row: &EventRow) -> Result<(), Stopped> {
        if self.events_left == 0 {
            if !std::mem::replace(&mut self.is_limit_told, true) {
                session.limited("events_max of the audit log is reached: the rest is only in the files")?;
            }
            return Ok(());
        }
        self.events_left -= 1;
        let is_notable = |kind: &String| NOTABLE.iter().any(|start| kind.starts_with(start));
        if row.types.iter().any(is_notable) && self.moments_left > 0 {
            self.moments_left -= 1;
            let at = Instant(row.time_ns.parse().unwrap_or(0));
            session.event(Event { at, desc: "Written Time", message: row.told(), data_type: "linux:audit:event" })?;
        }
        session.row(row)
    }
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(VALUE_CHARS_MAX).collect()
}

/// Parts that end with a zero byte, as the kernel keeps a command line, with blanks between them.
fn spaced(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    text(&bytes.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect::<Vec<_>>())
}

impl EventRow {
    fn add(&mut self, record: &Record<'_>) {
        if self.types.len() >= RECORDS_MAX {
            return;
        }
        self.types.push(text(record.kind));
        match record.kind {
            b"PATH" => self.add_path(record),
            b"EXECVE" => self.add_arguments(record),
            b"CWD" => self.cwd = record.get(b"cwd").as_deref().map(text),
            b"PROCTITLE" => self.cmdline = record.get(b"proctitle").as_deref().map(spaced),
            _ => self.add_fields(record),
        }
    }

    fn add_path(&mut self, record: &Record<'_>) {
        let Some(name) = record.get(b"name") else { return };
        if self.paths.len() < PATHS_MAX {
            let did = record.get(b"nametype").unwrap_or_default();
            let is_plain = did.is_empty() || did == b"NORMAL";
            self.paths.push(if is_plain { text(&name) } else { format!("{} ({})", text(&name), text(&did)) });
        }
    }

    fn add_arguments(&mut self, record: &Record<'_>) {
        let count = record.number(b"argc").unwrap_or(0).min(ARGUMENTS_MAX);
        for n in 0..count {
            // A long argument comes in pieces: a1[0]=… a1[1]=…
            let value = record.get(format!("a{n}").as_bytes()).or_else(|| record.get(format!("a{n}[0]").as_bytes()));
            let Some(value) = value else { break };
            self.argv.push(text(&value));
        }
    }

    fn add_fields(&mut self, record: &Record<'_>) {
        let get = |key: &str| record.get(key.as_bytes()).filter(|value| !value.is_empty()).map(|value| text(&value));
        let number = |key: &str| record.number(key.as_bytes()).filter(|number| *number != UNSET);
        let fill = |field: &mut Option<String>, key| *field = field.take().or_else(|| get(key));
        fill(&mut self.acct, "acct");
        fill(&mut self.address, "addr");
        fill(&mut self.arch, "arch");
        fill(&mut self.comm, "comm");
        fill(&mut self.cwd, "cwd");
        fill(&mut self.exe, "exe");
        fill(&mut self.exit, "exit");
        fill(&mut self.hostname, "hostname");
        fill(&mut self.key, "key");
        fill(&mut self.op, "op");
        fill(&mut self.cmdline, "cmd");
        fill(&mut self.tty, "tty");
        fill(&mut self.tty, "terminal");
        self.auid = self.auid.or_else(|| number("auid"));
        self.euid = self.euid.or_else(|| number("euid"));
        self.pid = self.pid.or_else(|| number("pid"));
        self.ppid = self.ppid.or_else(|| number("ppid"));
        self.session = self.session.or_else(|| number("ses"));
        self.uid = self.uid.or_else(|| number("uid"));
        let result = get("success").or_else(|| get("res"));
        let success = result.map(|result| matches!(result.as_str(), "yes" | "success" | "1"));
        self.success = self.success.or(success);
        if record.kind == b"SYSCALL" {
            let by_number = || {
                let number = record.number(b"syscall")?;
                let known = syscall_name(&record.get(b"arch")?, number);
                Some(known.map_or_else(|| number.to_string(), str::to_owned))
            };
            self.syscall = get("SYSCALL").or_else(by_number);
        }
    }

    fn told(&self) -> String {
        let mut told = self.kind.clone();
        let mut say = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                let value: String = value.chars().take(300).collect();
                let _ = write!(told, " {name}={value}");
            }
        };
        say("op", self.op.as_deref());
        say("acct", self.acct.as_deref());
        say("auid", self.auid.map(|auid| auid.to_string()).as_deref());
        say("exe", self.exe.as_deref());
        say("addr", self.address.as_deref());
        say("cmd", self.cmdline.as_deref());
        say("success", self.success.map(|success| success.to_string()).as_deref());
        told
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, rows};

    const LOG: &[u8] = b"type=SYSCALL msg=audit(1764500000.123:456): arch=c000003e syscall=59 success=yes exit=0 a0=55 items=2 ppid=10 pid=11 auid=1000 uid=33 gid=33 euid=33 tty=(none) ses=3 comm=\"sh\" exe=\"/usr/bin/dash\" key=\"webshell\"\n\
        type=USER_LOGIN msg=audit(1764500000.200:457): pid=12 uid=0 auid=4294967295 ses=4294967295 msg='op=login acct=\"root\" exe=\"/usr/sbin/sshd\" hostname=? addr=192.0.2.7 terminal=ssh res=failed'\n\
        type=EXECVE msg=audit(1764500000.123:456): argc=3 a0=\"sh\" a1=\"-c\" a2=69643B206964\n\
        type=CWD msg=audit(1764500000.123:456): cwd=\"/var/www\"\n\
        type=PATH msg=audit(1764500000.123:456): item=0 name=\"/bin/sh\" inode=1 nametype=NORMAL\n\
        type=PATH msg=audit(1764500000.123:456): item=1 name=2F746D702F612062 inode=2 nametype=CREATE\n\
        type=PROCTITLE msg=audit(1764500000.123:456): proctitle=7368002D63006964\n\
        type=SYSCALL msg=audit(1.000:1): too old\nno record\n\xff\xff\n";

    fn run(root: &Path, step: &AuditLog) -> Vec<Message> {
        let now = Instant(1_764_500_100 * 1_000_000_000);
        collect(step, Arc::new(Host::at(root, FixedClock(now))))
    }

    #[test]
    fn records_are_gathered_by_event() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/log/audit")).unwrap();
        std::fs::write(root.path().join("var/log/audit/audit.log"), LOG).unwrap();
        let messages = run(root.path(), &AuditLog::default());
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        assert_eq!(rows.len(), 2);
        let exec = &rows[0];
        assert_eq!(
            (&exec["syscall"], &exec["success"], &exec["key"]),
            (&"execve".into(), &true.into(), &"webshell".into())
        );
        assert_eq!(exec["argv"], serde_json::json!(["sh", "-c", "id; id"]));
        assert_eq!(exec["paths"], serde_json::json!(["/bin/sh", "/tmp/a b (CREATE)"]));
        assert_eq!((&exec["cwd"], &exec["cmdline"]), (&"/var/www".into(), &"sh -c id".into()));
        assert_eq!((&exec["auid"], &exec["uid"], &exec["ppid"]), (&1000.into(), &33.into(), &10.into()));
        assert_eq!(exec["types"].as_array().unwrap().len(), 6);
        let login = &rows[1];
        assert_eq!(
            (&login["type"], &login["acct"], &login["success"]),
            (&"USER_LOGIN".into(), &"root".into(), &false.into())
        );
        assert_eq!((&login["address"], login.get("auid")), (&"192.0.2.7".into(), None));
        assert_eq!(messages.iter().filter(|message| matches!(message, Message::Event(_))).count(), 1);
        assert_eq!(messages.iter().filter(|message| matches!(message, Message::Whole(..))).count(), 1);
    }

    #[test]
    fn more_open_events_than_are_kept_become_rows_and_the_limit_is_told() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/log/audit")).unwrap();
        let lines: Vec<String> =
            (0..=OPEN_MAX * 2).map(|n| format!("type=X msg=audit(1764500000.000:{n}): a=b\n")).collect();
        std::fs::write(root.path().join("var/log/audit/audit.log"), lines.concat()).unwrap();
        let all = run(root.path(), &AuditLog::default());
        assert_eq!(rows(&all).len(), OPEN_MAX * 2 + 1);
        let cut = run(root.path(), &AuditLog { events_max: Some(10), ..AuditLog::default() });
        assert_eq!(rows(&cut).len(), 10);
        assert_eq!(cut.iter().filter(|message| matches!(message, Message::Limited(_))).count(), 1);
    }
}
