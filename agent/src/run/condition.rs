//! Whether the condition of a step holds on a host.

use wire::profile::{ArgumentError, Condition, Values};

use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::identity::{OS_RELEASE, os_release};
use crate::host::walk::{Asked, Entry, Missed, Visitor, walk};

/// Bytes of `/proc/meminfo` and of os-release(5).
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// What is wrong with a condition: a path that is no glob.
pub fn mistake(condition: &Condition) -> Option<ArgumentError> {
    match condition {
        Condition::Exists(path) => {
            let error = Glob::parse(path).err()?;
            Some(ArgumentError { path: String::new(), message: error.to_string(), hint: None })
        }
        Condition::All(of) | Condition::Any(of) => of.iter().find_map(mistake),
        Condition::Not(not) => mistake(not),
        Condition::Incident(_) | Condition::Live(_) | Condition::MemoryBytesMax(_) | Condition::Os(_) => None,
    }
}

/// Asks the host, on a worker's thread: a path may lie behind something that hangs.
pub fn holds(condition: &Condition, host: &Host, values: &Values) -> bool {
    match condition {
        Condition::Exists(path) => exists(host, path),
        Condition::Incident(variable) => values.has(*variable),
        Condition::Live(live) => host.is_live() == *live,
        Condition::MemoryBytesMax(most) => memory_bytes(host).is_some_and(|bytes| bytes <= most.0),
        Condition::Os(names) => {
            let ids = os_ids(host);
            names.iter().any(|name| ids.iter().any(|id| id == name))
        }
        Condition::All(all) => all.iter().all(|condition| holds(condition, host, values)),
        Condition::Any(any) => any.iter().any(|condition| holds(condition, host, values)),
        Condition::Not(not) => !holds(not, host, values),
    }
}

fn exists(host: &Host, path: &str) -> bool {
    let Ok(glob) = Glob::parse(path) else { return false };
    let homes = if glob.is_of_homes() { host.homes().0 } else { Vec::new() };
    let paths = glob.below(&homes).into_iter().map(|path| (0, path)).collect();
    walk(host, &Asked { paths, ..Asked::default() }, &mut First).is_err()
}

/// Ends a walk at the first thing that was asked for.
struct First;

impl Visitor for First {
    type Stop = ();

    fn go_on(&mut self, _path: &[u8]) -> Result<(), ()> {
        Ok(())
    }

    fn entry(&mut self, _entry: &Entry<'_>, asked: &[u32]) -> Result<(), ()> {
        if asked.is_empty() { Ok(()) } else { Err(()) }
    }

    fn missed(&mut self, _path: &[u8], _why: Missed) -> Result<(), ()> {
        Ok(())
    }
}

fn memory_bytes(host: &Host) -> Option<u64> {
    let text = host.read_text("/proc/meminfo", TEXT_BYTES_MAX).ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?;
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

fn os_ids(host: &Host) -> Vec<String> {
    let Some(file) = OS_RELEASE.iter().find_map(|path| host.read_text(path, TEXT_BYTES_MAX).ok()) else {
        return Vec::new();
    };
    let named = os_release(&file).into_iter().filter(|(key, _)| matches!(*key, "ID" | "ID_LIKE"));
    named.flat_map(|(_, value)| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use bundle::time::Instant;
    use serde_json::json;

    use super::*;
    use crate::host::FixedClock;

    #[test]
    fn a_host_is_asked() {
        let tree = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("etc/os-release", "ID=ubuntu\nID_LIKE=\"debian other\"\n");
        write("proc/meminfo", "MemTotal:  1024 kB\n");
        write("etc/passwd", "eve:x:1000:1000::/home/eve:/bin/sh\n");
        write("home/eve/.ssh/id", "");
        let host = Host::at(tree.path(), FixedClock(Instant(0)));
        let values = Values { pids: vec![1], ..Values::default() };
        for (condition, expected) in [
            (json!({"exists": "/etc/*-release"}), true),
            (json!({"exists": "/etc/shadow"}), false),
            (json!({"exists": "~/.ssh"}), true),
            (json!({"os": ["debian"]}), true),
            (json!({"os": ["rhel", "fedora"]}), false),
            (json!({"live": true}), false),
            (json!({"memory_bytes_max": "1MiB"}), true),
            (json!({"memory_bytes_max": "1023KiB"}), false),
            (json!({"all": [{"incident": "pids"}, {"exists": "/etc"}]}), true),
            (json!({"any": [{"incident": "paths"}, {"exists": "/none"}]}), false),
            (json!({"not": {"exists": "/none"}}), true),
        ] {
            let parsed: Condition = serde_json::from_value(condition.clone()).unwrap();
            assert_eq!(holds(&parsed, &host, &values), expected, "{condition}");
        }
        let bad = serde_json::from_value(json!({"exists": "/etc/{a"})).unwrap();
        assert!(mistake(&bad).is_some());
    }
}
