//! Files of trust and of settings, line by line (hosts.equiv(5), hosts_access(5), login.defs(5), nsswitch.conf(5)).

use bundle::item::{Nanos, shown};
use rustix::fs::StatxFlags;
use schemars::JsonSchema;
use serde::Serialize;

use crate::files::inspect::Found;
use crate::host::meta::nanoseconds;
use crate::run::session::{Session, Stopped};

/// The most rows of one file.
const ROWS_MAX: usize = 10_000;

/// A line of a file by which others are trusted: `.rhosts`, `hosts.equiv`, `.k5login`, `hosts.allow`, `netgroup` …
#[derive(Serialize, JsonSchema)]
pub struct TrustRow {
    /// True when the line lets everybody in: a `+` that stands alone.
    is_wildcard: bool,
    /// Number of the line.
    line: u64,
    /// `st_mode` of the file as seven octal digits.
    mode: String,
    /// Last change of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// Name of the file.
    name: String,
    /// The file.
    path: String,
    /// `trust_line`.
    record: &'static str,
    /// The line.
    text: String,
    /// Owner of the file.
    uid: u32,
}

/// A line of a file of settings of accounts.
#[derive(Serialize, JsonSchema)]
pub struct SettingRow {
    /// Number of the line.
    line: u64,
    /// What is set: a key, a database, a user; the whole line where it has no parts.
    name: String,
    /// The file.
    path: String,
    /// `account_setting`.
    record: &'static str,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

fn lines(found: &Found) -> impl Iterator<Item = (u64, &[u8])> {
    let content = found.content.as_deref().unwrap_or_default();
    let numbered = (1..).zip(content.split(|byte| *byte == b'\n')).map(|(n, line)| (n, line.trim_ascii()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#")).take(ROWS_MAX)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..4096).unwrap_or(bytes)).into_owned()
}

/// A file that is handed over and has no rows.
#[expect(clippy::unnecessary_wraps, reason = "one of the reading functions")]
pub(super) fn none(_: &mut Session, _: &Found) -> Result<(), Stopped> {
    Ok(())
}

pub(super) fn trust(session: &mut Session, found: &Found) -> Result<(), Stopped> {
    let stat = &found.stat;
    for (line, bytes) in lines(found) {
        session.row(&TrustRow {
            is_wildcard: bytes.split(u8::is_ascii_whitespace).any(|word| word == b"+"),
            line,
            mode: format!("{:07o}", stat.stx_mode),
            mtime_ns: (stat.stx_mask & StatxFlags::MTIME.bits() != 0).then(|| Nanos(nanoseconds(stat.stx_mtime))),
            name: text(found.name()),
            path: shown(&found.path).0,
            record: "trust_line",
            text: text(bytes),
            uid: stat.stx_uid,
        })?;
    }
    Ok(())
}

/// The first of `=`, `:` and blanks parts name and value.
pub(super) fn setting(session: &mut Session, found: &Found) -> Result<(), Stopped> {
    for (line, bytes) in lines(found) {
        let at = bytes.iter().position(|byte| byte.is_ascii_whitespace() || b"=:".contains(byte));
        let (name, value) = at.map_or((bytes, None), |at| {
            let value = bytes[at..].trim_ascii();
            let value = value.strip_prefix(b"=").or_else(|| value.strip_prefix(b":")).unwrap_or(value);
            (&bytes[..at], Some(text(value.trim_ascii())))
        });
        let path = shown(&found.path).0;
        session.row(&SettingRow { line, name: text(name), path, record: "account_setting", value })?;
    }
    Ok(())
}
