//! The account that an action names, by passwd(5) and nothing else: what a directory service knows is locked there.

use std::path::PathBuf;

use super::Unplanned;
use crate::host::Host;

const FILE_BYTES_MAX: u64 = 64 << 20;
const NAME_BYTES_MAX: usize = 256;
/// Units that are named in a warning.
const UNITS_MAX: usize = 5;
const UNIT_FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const UNIT_BYTES_MAX: u64 = 64 << 10;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its home.
    pub home: PathBuf,
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
}

/// The account of that name.
///
/// # Errors
/// That there is none, or that it is no name.
pub fn account(host: &Host, name: &str) -> Result<Account, Unplanned> {
    let is_name = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with(['-', '+'])
        && !name.bytes().any(|byte| byte.is_ascii_control() || b":/ ".contains(&byte));
    if !is_name {
        return Err(Unplanned(format!("{name:?} is no name of an account")));
    }
    let passwd =
        host.read("/etc/passwd", FILE_BYTES_MAX).map_err(|error| Unplanned(format!("/etc/passwd: {error}")))?;
    // Of several lines of one name the first counts, as it does for getpwnam(3).
    for line in passwd.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        if fields.first() != Some(&name.as_bytes()) {
            continue;
        }
        let field = |n: usize| fields.get(n).and_then(|field| str::from_utf8(field).ok()).unwrap_or_default();
        let uid =
            field(2).parse().map_err(|_| Unplanned(format!("the account `{name}` has no number in /etc/passwd")))?;
        return Ok(Account { home: PathBuf::from(field(5)), name: name.to_owned(), uid });
    }
    Err(Unplanned(format!("there is no account `{name}` in /etc/passwd")))
}

/// Units of systemd that run as the account (`User=`): they stop working at their next start when it is locked.
pub fn units_of(host: &Host, account: &Account) -> Vec<String> {
    let wanted = [account.name.clone(), account.uid.to_string()];
    let mut found = Vec::new();
    for folder in UNIT_FOLDERS {
        let entries = std::fs::read_dir(host.path(folder)).into_iter().flatten().flatten();
        for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
            if !name.ends_with(".service") || found.contains(&name) || found.len() >= UNITS_MAX {
                continue;
            }
            let text = host.read_text(format!("{folder}/{name}"), UNIT_BYTES_MAX).unwrap_or_default();
            let users = text.lines().filter_map(|line| line.trim().strip_prefix("User=")).map(str::trim);
            if users.into_iter().any(|user| wanted.iter().any(|wanted| wanted == user)) {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}
