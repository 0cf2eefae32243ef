//! Keys that the kernel holds, as far as this process may view them (proc_keys(5)).

use bundle::item::shown;
use schemars::JsonSchema;
use serde::Serialize;

use crate::host::text::{Number, Text};
use crate::run::session::{Session, Stopped};

const KEYS_BYTES_MAX: u64 = 32 << 20;

/// A key or a keyring. Its content is not read.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyRow<'a> {
    /// What its type says of it, mostly its name.
    description: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    description_b64: Option<String>,
    /// Letters: I instantiated, R revoked, D dead, Q in a quota, U under construction, N negative, i invalidated.
    flags: Text<'a>,
    /// Group of the key, -1 for none.
    gid: Option<Number>,
    /// Serial number.
    id_hex: Text<'a>,
    /// Permissions of possessor, user, group and others.
    permissions_hex: Text<'a>,
    /// `key`.
    record: &'static str,
    /// How long it is valid yet: perm, expd, or a number and a unit.
    timeout: Text<'a>,
    /// keyring, user, logon, asymmetric …
    #[serde(rename = "type")]
    kind: Text<'a>,
    /// Owner of the key.
    uid: Option<Number>,
    /// References that the kernel holds.
    usage_count: Option<Number>,
}

pub fn collect(session: &mut Session) -> Result<(), Stopped> {
    let path = "/proc/keys";
    let text = match session.host().read(path, KEYS_BYTES_MAX) {
        Ok(text) => text,
        Err(error) => return session.unreadable(path, &error),
    };
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match key(line) {
            Some(row) => session.row(&row)?,
            None => {
                let error = std::io::Error::other(format!("no key: {:?}", String::from_utf8_lossy(line)));
                session.unreadable(path, &error)?;
            }
        }
    }
    session.raw(path, "procfs", "keys.txt", text)
}

/// `ID flags usage timeout permissions uid gid type description`
fn key(line: &[u8]) -> Option<KeyRow<'_>> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word).filter(|word| !word.is_empty())
    };
    let (id, flags, usage, timeout, permissions) = (word()?, word()?, word()?, word()?, word()?);
    let (uid, gid, kind) = (word()?, word()?, word()?);
    let (description, description_b64) = shown(rest.trim_ascii());
    Some(KeyRow {
        description,
        description_b64,
        flags: Text(flags),
        gid: Number::parse(gid),
        id_hex: Text(id),
        permissions_hex: Text(permissions),
        record: "key",
        timeout: Text(timeout),
        kind: Text(kind),
        uid: Number::parse(uid),
        usage_count: Number::parse(usage),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_keys() {
        let row = key(b"0555850f I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid_ses.0: 1").unwrap();
        let row = serde_json::to_value(row).unwrap();
        assert_eq!((&row["id_hex"], &row["uid"], &row["gid"]), (&"0555850f".into(), &0.into(), &65534.into()));
        assert_eq!((&row["type"], &row["description"]), (&"keyring".into(), &"_uid_ses.0: 1".into()));
        assert!(key(b"0555850f I--Q--- 1 perm").is_none());
        assert_eq!(key(b"1 I 1 perm 3f 0 -1 user").unwrap().gid, Some(Number::Negative(-1)));
    }
}
