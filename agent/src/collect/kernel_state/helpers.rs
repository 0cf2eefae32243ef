//! Programs that the kernel starts by itself: usermode helpers (as root, in the first namespaces), and the interpreters
//! of binfmt_misc, which run for every file that looks like theirs.

use std::io;
use std::os::fd::AsFd as _;

use bundle::item::shown;
use schemars::JsonSchema;
use serde::Serialize;

use super::{VALUE_BYTES_MAX, read_at};
use crate::host::proc;
use crate::host::text::decimal;
use crate::run::session::{Session, Stopped};

/// Entries of binfmt_misc that are read.
const ENTRIES_MAX: usize = 10_000;

/// Settings that name a program: name, file, and what begins the name of the program.
const HELPERS: [(&str, &str, &str); 6] = [
    ("core_pattern", "/proc/sys/kernel/core_pattern", "|"),
    ("hotplug", "/proc/sys/kernel/hotplug", ""),
    ("modprobe", "/proc/sys/kernel/modprobe", ""),
    ("poweroff_cmd", "/proc/sys/kernel/poweroff_cmd", ""),
    ("uevent_helper", "/sys/kernel/uevent_helper", ""),
    ("nfs_cache_getent", "/sys/module/nfs/parameters/cache_getent", ""),
];

/// A program that the kernel starts as root when something happens.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HelperRow {
    /// core_pattern, modprobe, poweroff_cmd, hotplug, uevent_helper, nfs_cache_getent or release_agent.
    name: &'static str,
    /// The file that names it.
    path: String,
    /// `usermode_helper`.
    record: &'static str,
    /// The program; empty when there is none.
    runs: Vec<String>,
    /// The setting's text.
    value: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_b64: Option<String>,
}

/// A kind of executable file that the kernel hands to an interpreter.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BinfmtRow {
    /// True when it is in force.
    enabled: bool,
    /// Files with this extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    extension: Option<String>,
    /// P keeps argv[0], O passes a descriptor, C takes credentials from the file (set-user-ID), F opened the
    /// interpreter when it was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<String>,
    /// The interpreter.
    #[serde(skip_serializing_if = "Option::is_none")]
    interpreter: Option<String>,
    /// Files that hold these bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    magic_hex: Option<String>,
    /// The bits that count.
    #[serde(skip_serializing_if = "Option::is_none")]
    mask_hex: Option<String>,
    /// Its name.
    name: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    /// Where the bytes stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset_bytes: Option<u64>,
    /// `binfmt`.
    record: &'static str,
    /// The interpreter.
    runs: Vec<String>,
}

pub fn collect(session: &mut Session) -> Result<(), Stopped> {
    for (name, path, before) in HELPERS {
        helper(session, name, path.to_owned(), before)?;
    }
    release_agents(session)?;
    binfmt(session)
}

fn helper(session: &mut Session, name: &'static str, path: String, before: &str) -> Result<(), Stopped> {
    let bytes = match session.host().read(&path, VALUE_BYTES_MAX) {
        Ok(bytes) => bytes,
        // A kernel without it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return session.unreadable(path, &error),
    };
    let bytes = bytes.trim_ascii_end();
    let (value, value_b64) = shown(bytes);
    let program = bytes.strip_prefix(before.as_bytes()).unwrap_or_default();
    let program = program.split(|byte| *byte == b' ').next().filter(|program| !program.is_empty());
    let runs = program.map(|program| shown(program).0).into_iter().collect();
    session.row(&HelperRow { name, path, record: "usermode_helper", runs, value, value_b64 })
}

/// Each hierarchy of cgroups of version 1 has one: it runs when a group with notify_on_release becomes empty, and has
/// let many out of their container.
fn release_agents(session: &mut Session) -> Result<(), Stopped> {
    let host = session.host().clone();
    let Ok(table) = host.mount_table() else { return Ok(()) };
    let mut seen = Vec::new();
    for mount in table.all().iter().filter(|mount| mount.fs_type == b"cgroup" && mount.root == b"/") {
        let device = (mount.major, mount.minor);
        if !seen.contains(&device) {
            seen.push(device);
            helper(session, "release_agent", format!("{}/release_agent", String::from_utf8_lossy(&mount.point)), "")?;
        }
    }
    Ok(())
}

/// What stays registered when somebody unmounts binfmt_misc is seen as well: the kernel keeps it.
fn binfmt(session: &mut Session) -> Result<(), Stopped> {
    let root = match session.host().kernel_fs("binfmt_misc", "/proc/sys/fs/binfmt_misc") {
        Ok(root) => root,
        Err(error) => return session.unreadable("binfmt_misc", &error),
    };
    let names = match proc::names(root.as_fd()) {
        Ok(names) => names,
        Err(error) => return session.unreadable("binfmt_misc", &error),
    };
    for name in names.iter().take(ENTRIES_MAX) {
        session.go_on()?;
        let path = format!("binfmt_misc/{}", name.to_string_lossy());
        match name.to_bytes() {
            b"register" => {}
            b"status" => {
                if let Ok(bytes) = read_at(&root, name, VALUE_BYTES_MAX) {
                    super::value(session, "binfmt_misc", &path, &bytes)?;
                }
            }
            bytes => match read_at(&root, name, VALUE_BYTES_MAX) {
                Ok(text) => session.row(&entry(bytes, &text))?,
                Err(error) => session.unreadable(path, &error)?,
            },
        }
    }
    if names.len() > ENTRIES_MAX {
        session.limited(format!("only the first {ENTRIES_MAX} entries of binfmt_misc are read"))?;
    }
    Ok(())
}

/// `enabled`, then lines `interpreter PATH`, `flags: F`, `offset N`, `magic HEX`, `mask HEX`, or `extension .x`.
fn entry(name: &[u8], text: &[u8]) -> BinfmtRow {
    let (name, name_b64) = shown(name);
    let mut row = BinfmtRow { name, name_b64, record: "binfmt", ..BinfmtRow::default() };
    for line in text.split(|byte| *byte == b'\n') {
        let split = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (key, value) = line.split_at(split);
        let value = value.trim_ascii();
        let words = || Some(shown(value).0);
        match key {
            b"enabled" => row.enabled = true,
            b"interpreter" => row.interpreter = words(),
            b"flags:" if !value.is_empty() => row.flags = words(),
            b"offset" => row.offset_bytes = decimal(value),
            b"magic" => row.magic_hex = words(),
            b"mask" => row.mask_hex = words(),
            b"extension" => row.extension = words(),
            _ => {}
        }
    }
    row.runs = row.interpreter.clone().into_iter().collect();
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_by_magic_and_by_extension() {
        let text = b"enabled\ninterpreter /usr/bin/qemu arm\nflags: OCF\noffset 0\nmagic 7f454c46\nmask ffffffff\n";
        let row = entry(b"qemu-arm", text);
        assert_eq!((row.enabled, row.flags.as_deref(), row.offset_bytes), (true, Some("OCF"), Some(0)));
        assert_eq!((row.runs, row.magic_hex.as_deref()), (vec!["/usr/bin/qemu arm".to_owned()], Some("7f454c46")));
        let row = entry(b"x\xff", b"disabled\ninterpreter /bin/x\nflags: \nextension .foo\n");
        assert_eq!((row.enabled, row.flags, row.extension.as_deref()), (false, None, Some(".foo")));
        assert_eq!(row.name_b64.as_deref(), Some("eP8="));
        assert_eq!(entry(b"empty", b"").runs.len(), 0);
    }
}
