//! A login record as a row, and as a moment of the timeline. Shared by live sessions (utmp) and login records (wtmp, btmp).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::item::{Nanos, shown};
use bundle::time::Instant;
use bundle::timeline::Event;
use serde::Serialize;

use super::utmp::{Record, kind_name};

/// One `struct utmp` (utmp(5)). Strings that are empty are left out.
#[derive(Debug, schemars::JsonSchema, Serialize)]
pub struct LoginRow<'a> {
    /// Remote address (`ut_addr_v6`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// Exit code of a process that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i16>,
    /// Signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_signal: Option<i16>,
    /// Remote host; the kernel's release in records of boots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_b64: Option<String>,
    /// Suffix of the terminal, or inittab's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_b64: Option<String>,
    /// Terminal, without `/dev/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_b64: Option<String>,
    /// Where the record begins in the file, in bytes.
    pub offset: u64,
    /// The file.
    pub path: &'a str,
    /// Process of the login.
    pub pid: i32,
    /// `login_record`.
    pub record: &'static str,
    /// The whole record when bytes stand in it where writers leave zeros: traces of what was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_b64: Option<String>,
    /// Session, for windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<i64>,
    /// When it was written, in nanoseconds since the epoch; absent: zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ns: Option<Nanos>,
    /// USER_PROCESS, DEAD_PROCESS, BOOT_TIME …; EMPTY for a record of zeros.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The type as a number.
    pub type_number: i16,
    /// User; in btmp what was typed, now and then a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_b64: Option<String>,
    /// True for a record that is zeros from end to end: wiped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub zeroed: bool,
}

impl<'a> LoginRow<'a> {
    /// The row of a record that begins at `offset` of `path`; `bytes` is the whole record.
    pub fn new(path: &'a str, offset: u64, record: &Record<'_>, bytes: &[u8]) -> Self {
        let text = |field: &[u8]| {
            let (text, exact) = shown(field);
            ((!field.is_empty()).then_some(text), exact)
        };
        let (host, host_b64) = text(record.host);
        let (id, id_b64) = text(record.id);
        let (line, line_b64) = text(record.line);
        let (user, user_b64) = text(record.user);
        let time = time_of(record);
        Self {
            address: record.address,
            exit_code: (record.exit.1 != 0).then_some(record.exit.1),
            exit_signal: (record.exit.0 != 0).then_some(record.exit.0),
            host,
            host_b64,
            id,
            id_b64,
            line,
            line_b64,
            offset,
            path,
            pid: record.pid,
            record: "login_record",
            record_b64: record.residue.then(|| BASE64_STANDARD.encode(bytes)),
            session: (record.session != 0).then_some(record.session),
            time_ns: (time != 0).then_some(Nanos(time)),
            kind: kind_name(record.kind),
            type_number: record.kind,
            user,
            user_b64,
            zeroed: bytes.iter().all(|&byte| byte == 0),
        }
    }
}

fn time_of(record: &Record<'_>) -> i128 {
    i128::from(record.seconds) * 1_000_000_000 + i128::from(record.microseconds) * 1_000
}

/// The moment that a record of wtmp, or (`failed`) of btmp, stands for; `None` for records that nobody did anything in.
pub fn event(path: &str, record: &Record<'_>, failed: bool) -> Option<Event> {
    let (desc, data_type, what) = match (record.kind, failed) {
        (1 | 2 | 5..=8, true) => ("Failed Login Time", "linux:btmp:failed_login", "failed login"),
        (1, false) if record.user == b"shutdown" => ("Shutdown Time", "linux:utmp:shutdown", "shutdown"),
        (1, false) => ("Run Level Time", "linux:utmp:run_level", "run level"),
        (2, false) => ("Boot Time", "linux:utmp:boot", "boot"),
        (3, false) => ("Clock Set Time", "linux:utmp:new_time", "clock set to this time"),
        (4, false) => ("Clock Set Time", "linux:utmp:old_time", "clock set away from this time"),
        (7, false) => ("Login Time", "linux:utmp:login", "login"),
        (8, false) => ("Logout Time", "linux:utmp:logout", "logout"),
        _ => return None,
    };
    if record.seconds == 0 {
        return None;
    }
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let mut message = what.to_owned();
    for (word, field) in [(" of ", record.user), (" on ", record.line), (" from ", record.host)] {
        if !field.is_empty() {
            message.push_str(word);
            message.push_str(&text(field));
        }
    }
    if let Some(address) = record.address {
        let _ = write!(message, " [{address}]");
    }
    let _ = write!(message, " (pid {}, {path})", record.pid);
    Some(Event { at: Instant(time_of(record)), desc, message, data_type })
}
