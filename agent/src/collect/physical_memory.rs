//! Physical memory as a LiME image, through `/proc/kcore`, in a bundle of its own: the run's bundle never waits for it.
//!
//! Before the image come what symbols are made from (`/sys/kernel/btf/vmlinux`, `/proc/kallsyms`, `/proc/version`) and the
//! two lists that say what there is (`/proc/iomem`, kcore's headers), so that an image that was cut short can still be
//! read. Rows of two types: `range`, one for each range of iomem at the top, in the image or left out and why; and
//! `image`, one for the whole.
//!
//! All memory that `/proc/iomem` calls System RAM is in the image, zeros too: nothing is left out because it is empty. A
//! page that cannot be read stands as zeros and is named. Where physical addresses can neither be read nor derived this
//! refuses (see `host::kcore`); also where iomem or kcore is refused, absent, or locked down.
//!
//! Known limits: the machine runs on, so pages are of different moments; pages that the kernel does not show (poisoned,
//! offline, of a balloon) it hands over as zeros itself, unsaid. Other ways (`/dev/mem`, a module of our own) are not
//! tried: the first ends at 1 MiB on today's kernels, the second changes the host.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::kept::NO_ROOM;
use crate::host::Host;
use crate::host::kcore::{
    IoRange, Piece, Ram, Source, headers_bytes, iomem, is_hidden, lime_header, loaded, plan, ram,
};
use crate::host::proc::memory::{Lost, fill, page_bytes};
use crate::run::session::{Ended, Session, Stopped, WHOLE_BYTES_MAX};

/// Bytes of the kernel's tables of types and symbols, each.
const TABLE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of kcore's headers.
const HEADERS_BYTES_MAX: usize = 4 << 20;
/// The longest range of the image: one that is cut short then costs no more than this.
const RANGE_BYTES_MAX: u64 = 1 << 30;
/// Unreadable ranges that a row names.
const NAMED_MAX: usize = 64;
const KCORE: &str = "/proc/kcore";

/// Takes no arguments; `limits: bytes_max` bounds the image.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PhysicalMemory {}

/// One range of physical addresses.
#[derive(Debug, Serialize, JsonSchema)]
struct RangeRow {
    /// Its length.
    bytes: u64,
    /// First address behind it, hex.
    end: String,
    /// True when it is in the image.
    included: bool,
    /// Offset in kcore that it was read at, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    kcore_offset: Option<String>,
    /// What iomem calls it.
    name: String,
    /// Why it is not in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// `range`.
    record: &'static str,
    /// First address, hex.
    start: String,
    /// Ranges in it that could not be read and stand as zeros, `[first address in hex, bytes]`, the first 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<(String, u64)>,
}

/// The image.
#[derive(Debug, Serialize, JsonSchema)]
struct ImageRow {
    /// Where physical addresses come from: `p_paddr`, the program headers of kcore; `direct_map`, derived from them.
    addresses_from: &'static str,
    /// Bytes of memory in the image.
    included_bytes: u64,
    /// The modes of the kernel's lockdown, the one in force in brackets, `/sys/kernel/security/lockdown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    lockdown: Option<String>,
    /// The virtual address of physical address 0, hex, where it was derived.
    #[serde(skip_serializing_if = "Option::is_none")]
    page_offset: Option<String>,
    /// Bytes of memory, in whole pages, that iomem names.
    ram_bytes: u64,
    /// `image`.
    record: &'static str,
    /// The entry of the bundle that holds it.
    stored: String,
    /// Bytes of memory that could not be read and stand as zeros.
    unreadable_bytes: u64,
}

impl Collect for PhysicalMemory {
    const NAME: &'static str = "physical_memory";
    const TIER: Tier = Tier::Memory;
    const SUMMARY: &'static str =
        "Physical memory as a LiME image with what its symbols are made from, in a bundle of its own.";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_RAWIO", "CAP_SYS_ADMIN", "CAP_SYSLOG"];
    const OWN_BUNDLE: bool = true;

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = std::sync::Arc::clone(session.host());
        if !host.is_live() {
            let item = session.item(Kind::Memory, KCORE, "read", Status::Skipped);
            return Ok(session.note(item.because("only on a live host"))?);
        }
        symbols(session)?;
        let Some(text) = table(session, "/proc/iomem", "iomem")? else { return Ok(()) };
        let ranges = iomem(&String::from_utf8_lossy(&text));
        if is_hidden(&ranges) {
            let why = "the kernel hides the addresses in /proc/iomem: no permission (CAP_SYS_ADMIN)";
            return Ok(refuse(session, Status::Denied, why)?);
        }
        let lockdown = host.read_text("/sys/kernel/security/lockdown", 4096).ok();
        let kcore = match File::options().read(true).custom_flags(libc::O_CLOEXEC).open(host.path(KCORE)) {
            Ok(kcore) => kcore,
            Err(error) => {
                let mut item = session.item(Kind::Memory, KCORE, "read", Status::Error).failed(&error);
                if error.kind() == io::ErrorKind::NotFound {
                    item.status = Status::Skipped;
                    item = item.because("this kernel was built without it (CONFIG_PROC_KCORE)");
                } else if let Some(lockdown) = &lockdown {
                    item = item.because(format!("the kernel's lockdown is {lockdown}"));
                }
                return Ok(session.note(item)?);
            }
        };
        let headers = match headers(&kcore) {
            Ok(headers) => headers,
            Err(error) => {
                let item = session.item(Kind::Memory, KCORE, "read", Status::Error);
                return Ok(session.note(item.failed(&error))?);
            }
        };
        session.raw(KCORE, "read", "kcore.headers", headers.clone())?;
        let memory = ram(&ranges, page_bytes());
        match plan(&memory, &loaded(&headers)) {
            Ok((source, pieces)) => {
                Ok(Image { kcore: &kcore, lockdown, memory, ranges, source }.take(session, pieces)?)
            }
            Err(why) => Ok(refuse(session, Status::Error, why)?),
        }
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<RangeRow>("range", "proc_iomem(5), proc_kcore(5), fs/proc/kcore.c"),
            RowType::of::<ImageRow>("image", "proc_kcore(5), kernel_lockdown(7)"),
        ]
    }

    fn plan(&self, host: &Host) -> Plan {
        let text = host.read_text("/proc/iomem", TABLE_BYTES_MAX).unwrap_or_default();
        let bytes: u64 = ram(&iomem(&text), page_bytes()).iter().map(|range| range.end - range.start).sum();
        let reads = [KCORE, "/proc/iomem", "/proc/kallsyms", "/proc/version", "/sys/kernel/btf/vmlinux"];
        Plan { reads: reads.map(str::to_owned).into(), bytes: (bytes > 0).then_some(bytes), ..Plan::default() }
    }
}

/// What volatility's symbol tables are made from.
fn symbols(session: &mut Session) -> Result<(), Stopped> {
    table(session, "/proc/version", "version")?;
    table(session, "/sys/kernel/btf/vmlinux", "vmlinux.btf")?;
    let Some(kallsyms) = table(session, "/proc/kallsyms", "kallsyms")? else { return Ok(()) };
    let is_zero = |line: &[u8]| line.iter().take_while(|byte| **byte != b' ').all(|byte| *byte == b'0');
    if kallsyms.split(|byte| *byte == b'\n').take(1000).all(is_zero) {
        let item = session.item(Kind::Record, "/proc/kallsyms", "read", Status::Denied);
        session.note(item.because("the kernel hides the addresses: kernel.kptr_restrict, or no CAP_SYSLOG"))?;
    }
    Ok(())
}

/// Keeps a table of the kernel as `data/raw/physical_memory/<name>`.
fn table(session: &mut Session, path: &str, name: &str) -> Result<Option<Vec<u8>>, Stopped> {
    match session.host().read(path, TABLE_BYTES_MAX) {
        Ok(bytes) => {
            session.raw(path, "read", name, bytes.clone())?;
            Ok(Some(bytes))
        }
        Err(error) => {
            session.unreadable(path, &error)?;
            Ok(None)
        }
    }
}

fn refuse(session: &mut Session, status: Status, why: &str) -> Result<(), Stopped> {
    let item = session.item(Kind::Memory, KCORE, "read", status);
    session.note(item.because(why))
}

/// The beginning of kcore: as far as its program headers go.
fn headers(kcore: &File) -> io::Result<Vec<u8>> {
    let read = |length: usize| {
        let mut bytes = vec![0; length];
        let got = kcore.read_at(&mut bytes, 0)?;
        bytes.truncate(got);
        io::Result::Ok(bytes)
    };
    let length = headers_bytes(&read(64)?).ok_or_else(|| io::Error::other("it is no ELF file of this machine"))?;
    // The notes lie behind the headers: vmcoreinfo is among them.
    read(length.saturating_add(64 << 10).min(HEADERS_BYTES_MAX))
}

/// An image on its way.
struct Image<'a> {
    kcore: &'a File,
    lockdown: Option<String>,
    memory: Vec<Ram>,
    ranges: Vec<IoRange>,
    source: Source,
}

impl Image<'_> {
    fn take(self, session: &mut Session, pieces: Vec<Piece>) -> Result<(), Stopped> {
        let left = session.content_bytes_left();
        let Bounded { taken, mut rows, cut } = bounded(pieces, left);
        rows.extend(self.ranges.iter().filter(|range| range.depth == 0 && range.name != "System RAM").map(|range| {
            let whole = Ram { start: range.start, end: range.last.saturating_add(1) };
            row(whole, &range.name, None, Some("it is no memory of the system"))
        }));
        if cut {
            session.limited(NO_ROOM)?;
        }
        if taken.is_empty() {
            for row in rows {
                session.row(&row)?;
            }
            return refuse(session, Status::Skipped, if cut { NO_ROOM } else { "kcore shows no memory" });
        }
        let host = session.host().read_text("/proc/sys/kernel/hostname", 4096).unwrap_or_default();
        let stored = session.take_name(&format!("memory/{}.lime", plain(&host)));
        let item = session.item(Kind::Memory, KCORE, "kcore", Status::Ok);
        session.begin(item.stored_as(stored.as_str()))?;
        let (mut at, mut lost) = (0, Lost::default());
        let mut included_bytes = 0;
        let mut unreadable_bytes = 0;
        for (range, offset) in taken {
            let mut unreadable = Lost::default();
            session.chunk(lime_header(range).to_vec())?;
            at += 32;
            let (mut done, bytes) = (0, range.end - range.start);
            while done < bytes {
                let mut piece = vec![0; usize::try_from((bytes - done).min(WHOLE_BYTES_MAX)).unwrap_or(0)];
                session.spend(piece.len() as u64)?;
                let read = |place: u64, into: &mut [u8]| self.kcore.read_at(into, place);
                let lose = |place: u64, length: u64| {
                    unreadable.add(range.start + done + place, length);
                    lost.add(at + done + place, length);
                };
                // Only a process can end; kcore cannot.
                let _ = fill(read, offset + done, &mut piece, lose);
                done += piece.len() as u64;
                session.chunk(piece)?;
            }
            at += bytes;
            included_bytes += bytes;
            unreadable_bytes += unreadable.0.iter().map(|range| range.1).sum::<u64>();
            let mut row = row(range, "System RAM", Some(offset), None);
            let named = unreadable.0.iter().take(NAMED_MAX);
            row.unreadable = named.map(|(address, bytes)| (format!("{address:x}"), *bytes)).collect();
            rows.push(row);
        }
        let mut ended = Ended::with(if cut { Status::Truncated } else { Status::Ok });
        ended.reason = cut.then(|| NO_ROOM.to_owned());
        if !lost.0.is_empty() {
            ended.status = Status::Error;
            ended.reason = Some(format!("{} could not be read", ByteSize(unreadable_bytes)));
        }
        ended.error_ranges = lost.0;
        session.end(ended)?;
        rows.sort_by_key(|row| u64::from_str_radix(&row.start, 16).unwrap_or(0));
        for row in rows {
            session.row(&row)?;
        }
        let (addresses_from, page_offset) = match self.source {
            Source::Headers => ("p_paddr", None),
            Source::DirectMap(base) => ("direct_map", Some(format!("{base:x}"))),
        };
        session.row(&ImageRow {
            addresses_from,
            included_bytes,
            lockdown: self.lockdown,
            page_offset,
            ram_bytes: self.memory.iter().map(|range| range.end - range.start).sum(),
            record: "image",
            stored,
            unreadable_bytes,
        })
    }
}

/// What of memory is taken within the bound.
struct Bounded {
    /// Ranges, and where in kcore they begin.
    taken: Vec<(Ram, u64)>,
    /// Rows of what is left out.
    rows: Vec<RangeRow>,
    /// True when the bound leaves something out.
    cut: bool,
}

/// Cuts the pieces to ranges of a bounded length, as many as `bytes_max` has room for: the header of a range tells its
/// length beforehand, so it is decided here what will be whole.
fn bounded(pieces: Vec<Piece>, bytes_max: u64) -> Bounded {
    let mut bounded = Bounded { taken: Vec::new(), rows: Vec::new(), cut: false };
    let mut left = bytes_max;
    for piece in pieces {
        let Some(offset) = piece.offset else {
            bounded.rows.push(row(piece.ram, "System RAM", None, Some("kcore does not show it")));
            continue;
        };
        let mut at = piece.ram.start;
        while at < piece.ram.end {
            let room = left.saturating_sub(32) / page_bytes() * page_bytes();
            let end = piece.ram.end.min(at.saturating_add(RANGE_BYTES_MAX.min(room)));
            if end == at {
                bounded.cut = true;
                bounded.rows.push(row(Ram { start: at, end: piece.ram.end }, "System RAM", None, Some(NO_ROOM)));
                break;
            }
            bounded.taken.push((Ram { start: at, end }, offset + (at - piece.ram.start)));
            left -= end - at + 32;
            at = end;
        }
    }
    bounded
}

fn row(range: Ram, name: &str, offset: Option<u64>, reason: Option<&str>) -> RangeRow {
    RangeRow {
        bytes: range.end.saturating_sub(range.start),
        end: format!("{:x}", range.end),
        included: reason.is_none(),
        kcore_offset: offset.map(|offset| format!("{offset:x}")),
        name: name.to_owned(),
        reason: reason.map(str::to_owned),
        record: "range",
        start: format!("{:x}", range.start),
        unreadable: Vec::new(),
    }
}

/// A host name that can be a file's.
fn plain(host: &str) -> String {
    let plain: String =
        host.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    if plain.is_empty() { "host".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    #[test]
    fn an_image_is_whole_ranges_within_its_bound() {
        let page = page_bytes();
        let piece = |start, end, offset| Piece { ram: Ram { start: start * page, end: end * page }, offset };
        let pieces = || vec![piece(1, 3, Some(page)), piece(5, 6, None), piece(8, 12, Some(100 * page))];
        let all = bounded(pieces(), u64::MAX);
        assert!(!all.cut);
        assert_eq!(all.taken[1], (Ram { start: 8 * page, end: 12 * page }, 100 * page));
        assert_eq!((all.rows.len(), all.rows[0].reason.as_deref()), (1, Some("kcore does not show it")));
        let some = bounded(pieces(), 5 * page);
        assert_eq!(some.taken[1].0, Ram { start: 8 * page, end: 10 * page });
        assert_eq!(some.rows.last().unwrap().bytes, 2 * page);
        assert!(some.cut && bounded(pieces(), 32).taken.is_empty());
        let long = bounded(vec![Piece { ram: Ram { start: 0, end: 3 << 30 }, offset: Some(0) }], u64::MAX);
        assert_eq!(
            long.taken.iter().map(|(range, at)| (range.start, *at)).collect::<Vec<_>>(),
            [(0, 0), (1 << 30, 1 << 30), (2 << 30, 2 << 30)]
        );
    }

    #[test]
    fn this_machine_has_an_image_or_a_reason() {
        // All of memory does not fit into a test: its bound is a mebibyte.
        let (messages, received) = std::sync::mpsc::sync_channel(64);
        let mut session = crate::run::testing::bounded_session(Arc::new(Host::live()), messages, 80 << 20);
        let taking = std::thread::spawn(move || received.iter().collect::<Vec<Message>>());
        PhysicalMemory {}.collect(&mut session).unwrap();
        drop(session);
        let messages = taking.join().unwrap();
        assert_keys_sorted(&messages);
        let items = items(&messages);
        let kcore = items.iter().find(|item| item.kind == Kind::Memory).unwrap();
        assert!(kcore.entry.is_some() || kcore.reason.is_some() || kcore.error.is_some(), "{kcore:?}");
        if let Some(entry) = &kcore.entry {
            assert!(entry.starts_with("memory/") && entry.ends_with(".lime"));
            let rows = rows(&messages);
            assert!(rows.iter().any(|row| row["record"] == "range" && row["included"] == true));
        }
    }

    #[test]
    fn a_tree_has_no_memory() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path(), crate::host::FixedClock(bundle::time::Instant(0)));
        let messages = collect(&PhysicalMemory {}, Arc::new(host));
        assert_eq!(items(&messages)[0].reason.as_deref(), Some("only on a live host"));
    }
}
