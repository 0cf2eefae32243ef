//! Where memory may have been written to a disk: swap areas, compressed ones, and what a hibernation would use. Metadata
//! only: what is in a swap area is read from an image of its disk.
//!
//! Row types: `swap_area` (`/proc/swaps`), `zram` (a compressed disk in memory, which swap on it never leaves),
//! `hibernation` (one row: where the kernel resumes from, and what sleeping means here). fstab has areas that are not in
//! use: they are rows of `block_devices`.

use std::os::fd::AsFd as _;

use bundle::item::shown;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::mounts::unescape;
use crate::host::text::{Number, decimal};
use crate::host::{Host, proc};
use crate::run::session::{Session, Stopped};

const TEXT_BYTES_MAX: u64 = 1 << 20;
const VALUE_BYTES_MAX: u64 = 4096;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Swap {}

/// An area that is in use.
#[derive(Debug, Serialize, JsonSchema)]
struct AreaRow {
    /// True when the kernel says that the file has no name any more.
    deleted: bool,
    /// The device or the file.
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// The higher the earlier it is used.
    priority: Option<Number>,
    /// `swap_area`.
    record: &'static str,
    /// Its size.
    size_kib: Option<u64>,
    /// partition or file.
    #[serde(rename = "type")]
    kind: String,
    /// What of it is in use.
    used_kib: Option<u64>,
}

/// A compressed disk in memory.
#[derive(Debug, Serialize, JsonSchema)]
struct ZramRow {
    /// The compressors, the one in use in brackets.
    algorithm: Option<String>,
    /// The device that it writes to what does not compress; null for none.
    backing_device: Option<String>,
    /// How large what it holds is, compressed.
    compressed_bytes: Option<u64>,
    /// Its name.
    name: String,
    /// How large what it holds was.
    original_bytes: Option<u64>,
    /// `zram`.
    record: &'static str,
    /// How large it says it is.
    size_bytes: Option<u64>,
}

/// Where memory goes when the machine hibernates.
#[derive(Debug, Serialize, JsonSchema)]
struct HibernationRow {
    /// What the kernel does after writing: platform, shutdown … the one chosen in brackets (`/sys/power/disk`).
    disk: Option<String>,
    /// How large the written image may be.
    image_size_bytes: Option<u64>,
    /// `hibernation`.
    record: &'static str,
    /// Device that the kernel resumes from, `major:minor`; `0:0` for none.
    resume: Option<String>,
    /// Words of the kernel's command line about it: resume=, resume_offset=, noresume, hibernate=, zswap.
    resume_arguments: Vec<String>,
    /// Page of the swap file that it resumes from.
    resume_offset_pages: Option<u64>,
    /// How it can sleep: freeze, mem, disk (`/sys/power/state`).
    states: Vec<String>,
    /// True when pages are compressed in memory before they are written (`zswap`).
    zswap_enabled: Option<bool>,
}

impl Collect for Swap {
    const NAME: &'static str = "swap";
    const TIER: Tier = Tier::Memory;
    const SUMMARY: &'static str = "Swap areas and where hibernation writes memory to, by metadata";
    const NEEDS: &'static [&'static str] = &[];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        areas(session)?;
        zram(session)?;
        let row = hibernation(session.host());
        Ok(session.row(&row)?)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<AreaRow>("swap_area", "proc_swaps(5)"),
            RowType::of::<ZramRow>("zram", "Documentation/admin-guide/blockdev/zram.rst"),
            RowType::of::<HibernationRow>("hibernation", "Documentation/ABI/testing/sysfs-power"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads = ["/proc/swaps", "/sys/block/zram*", "/sys/power", "/proc/cmdline", "/sys/module/zswap/parameters"];
        Plan { reads: reads.iter().map(|path| (*path).to_owned()).collect(), ..Plan::default() }
    }
}

fn areas(session: &mut Session) -> Result<(), Stopped> {
    let path = "/proc/swaps";
    let text = match session.host().read(path, TEXT_BYTES_MAX) {
        Ok(text) => text,
        Err(error) => return session.unreadable(path, &error),
    };
    for line in text.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
        match area(line) {
            Some(row) => session.row(&row)?,
            None => {
                let error = std::io::Error::other("a line that is no swap area; see the raw text");
                session.unreadable(path, &error)?;
            }
        }
    }
    session.raw(path, "procfs", "swaps.txt", text)
}

/// `FILE  TYPE  SIZE  USED  PRIORITY`, blanks in the file escaped; the kernel adds `\040(deleted)` to one without a name.
fn area(line: &[u8]) -> Option<AreaRow> {
    let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let [file, kind, size, used, priority] = words.as_slice() else { return None };
    let file = unescape(file);
    let (name, deleted) = proc::deleted(&file);
    let (path, path_b64) = shown(name);
    Some(AreaRow {
        deleted,
        path,
        path_b64,
        priority: Number::parse(priority),
        record: "swap_area",
        size_kib: decimal(size),
        kind: String::from_utf8_lossy(kind).into_owned(),
        used_kib: decimal(used),
    })
}

fn zram(session: &mut Session) -> Result<(), Stopped> {
    let host = session.host().clone();
    let names = host.dir("/sys/block").and_then(|dir| proc::names(dir.as_fd())).unwrap_or_default();
    for name in names.iter().map(|name| name.to_string_lossy()).filter(|name| name.starts_with("zram")) {
        session.go_on()?;
        let value = |file: &str| value(&host, &format!("/sys/block/{name}/{file}"));
        // mm_stat: orig_data_size, compr_data_size, …
        let sizes = value("mm_stat").unwrap_or_default();
        let mut sizes = sizes.split_whitespace().map(|word| decimal(word.as_bytes()));
        session.row(&ZramRow {
            algorithm: value("comp_algorithm"),
            backing_device: value("backing_dev").filter(|device| device != "none"),
            original_bytes: sizes.next().flatten(),
            compressed_bytes: sizes.next().flatten(),
            record: "zram",
            size_bytes: value("disksize").and_then(|value| decimal(value.as_bytes())),
            name: name.to_string(),
        })?;
    }
    Ok(())
}

fn value(host: &Host, path: &str) -> Option<String> {
    host.read_text(path, VALUE_BYTES_MAX).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A kernel that cannot hibernate has none of these files, and the row says so by being empty.
fn hibernation(host: &Host) -> HibernationRow {
    let number = |path| value(host, path).and_then(|value| decimal(value.as_bytes()));
    let cmdline = host.read_text("/proc/cmdline", 64 << 10).unwrap_or_default();
    let words = ["resume=", "resume_offset=", "noresume", "hibernate=", "nohibernate", "zswap."];
    let is_about = |word: &&str| words.iter().any(|begin| word.starts_with(begin));
    HibernationRow {
        disk: value(host, "/sys/power/disk"),
        image_size_bytes: number("/sys/power/image_size"),
        record: "hibernation",
        resume: value(host, "/sys/power/resume"),
        resume_arguments: cmdline.split_whitespace().filter(is_about).map(str::to_owned).collect(),
        resume_offset_pages: number("/sys/power/resume_offset"),
        states: value(host, "/sys/power/state").iter().flat_map(|v| v.split_whitespace()).map(str::to_owned).collect(),
        zswap_enabled: value(host, "/sys/module/zswap/parameters/enabled").map(|value| value == "Y"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;
    use serde_json::json;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing::{assert_keys_sorted, collect, rows};

    #[test]
    fn a_tree() {
        let tree = tempfile::tempdir().unwrap();
        for (path, content) in [
            (
                "proc/swaps",
                "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda2                               partition\t1046524\t\t10\t\t-2\n\
                /swap\\040a\\040(deleted) file 4 0 5\nodd\n",
            ),
            ("sys/power/resume", "8:2\n"),
            ("sys/power/state", "freeze mem disk\n"),
            ("proc/cmdline", "ro resume=UUID=1 quiet noresume\n"),
            ("sys/block/zram0/disksize", "4096\n"),
            ("sys/block/zram0/mm_stat", "  100  50 0\n"),
            ("sys/block/zram0/backing_dev", "none\n"),
        ] {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let messages = collect(&Swap {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        assert_eq!(
            (&rows[0]["path"], &rows[0]["used_kib"], &rows[0]["priority"]),
            (&json!("/dev/sda2"), &json!(10), &json!(-2))
        );
        assert_eq!((&rows[1]["path"], &rows[1]["deleted"]), (&json!("/swap a"), &json!(true)));
        assert_eq!((&rows[2]["original_bytes"], &rows[2]["compressed_bytes"]), (&json!(100), &json!(50)));
        assert_eq!(rows[2]["backing_device"], json!(null));
        assert_eq!((&rows[3]["resume"], &rows[3]["states"]), (&json!("8:2"), &json!(["freeze", "mem", "disk"])));
        assert_eq!(rows[3]["resume_arguments"], json!(["resume=UUID=1", "noresume"]));
    }

    #[test]
    fn the_live_host_says_where_it_would_resume_from() {
        let rows = rows(&collect(&Swap {}, Arc::new(Host::live())));
        assert_eq!(rows.last().unwrap()["record"], "hibernation");
    }
}
