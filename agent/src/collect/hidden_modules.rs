//! Modules that the kernel's own views do not agree about.
//!
//! A loaded module is a line of `/proc/modules`, a folder with `initstate` in `/sys/module`, a name behind its symbols in
//! `/proc/kallsyms`, and a name among the users of the modules that it needs. A rootkit that takes itself off the list of
//! modules is gone from the first and the third and stays in the second; one that filters what is read is gone from what
//! it filters. Row types: `module`, one per name that the views disagree about, with each view's answer; `memory_range`,
//! one per piece of memory that was allocated for a module (`/proc/vmallocinfo`) and belongs to none that any view knows;
//! `view`, one per view, so that an empty result can be told from views that could not be read.
//!
//! Modules come and go: what disagrees is read a second time, and only what disagrees both times becomes a row.
//!
//! Known limits: a module that has left every view and whose memory the kernel does not show (addresses are hidden while
//! `kernel.kptr_restrict` is 0, as vmallocinfo then shows hashes) is found in a memory image only.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd as _;

use bundle::item::{Kind, Status, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::modules::{LIST_BYTES_MAX, Listed, Symbols};
use crate::host::proc::{self, Hands, Pages};
use crate::host::text::{decimal, in_base};
use crate::run::session::{Session, Stopped};

/// Bytes of `/proc/kallsyms`: some 60 for each symbol, and 200,000 of them.
const SYMBOLS_BYTES_MAX: u64 = 256 << 20;
/// Bytes of `/proc/vmallocinfo`: about 100 per range.
const VMALLOC_BYTES_MAX: u64 = 64 << 20;
/// Of which this many are kept as they are.
const RAW_BYTES_MAX: u64 = 8 << 20;
/// Ranges without an owner that are told.
const RANGES_MAX: usize = 10_000;

/// `collect: hidden_modules`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HiddenModules {
    /// Reads the names in `/proc/kallsyms` as well: the kernel writes some 200,000 lines for it, which takes about 100 ms.
    #[serde(default = "yes")]
    kallsyms: bool,
}

impl Default for HiddenModules {
    fn default() -> Self {
        Self { kallsyms: true }
    }
}

fn yes() -> bool {
    true
}

/// A module that the views disagree about. A view that could not be read has no column.
#[derive(Debug, Serialize, JsonSchema)]
struct ModuleRow {
    /// True when symbols of it stand in `/proc/kallsyms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_kallsyms: Option<bool>,
    /// True when it has a line in `/proc/modules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_proc_modules: Option<bool>,
    /// True when `/sys/module` has it as a loaded module.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_sysfs: Option<bool>,
    /// live, coming, going (`/sys/module/NAME/initstate`).
    #[serde(skip_serializing_if = "Option::is_none")]
    initstate: Option<String>,
    /// Its name.
    name: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    /// `module`.
    record: &'static str,
    /// How many sections have a name in `/sys/module/NAME/sections`.
    #[serde(skip_serializing_if = "Option::is_none")]
    section_count: Option<usize>,
    /// Bytes of its code and data (`coresize`).
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// How many symbols it has in `/proc/kallsyms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol_count: Option<u64>,
    /// Letters of taint (`/sys/module/NAME/taint`).
    #[serde(skip_serializing_if = "Option::is_none")]
    taint: Option<String>,
    /// Modules that name it among their users (`/proc/modules`).
    used_by_names: Vec<String>,
}

/// Memory that was allocated for a module and holds none that any view knows.
#[derive(Debug, Serialize, JsonSchema)]
struct RangeRow {
    /// The function of the kernel that asked for it.
    caller: String,
    /// One past its last byte.
    end_hex: String,
    /// Pages that it has, without the guard page.
    #[serde(skip_serializing_if = "Option::is_none")]
    length_pages: Option<u64>,
    /// `memory_range`.
    record: &'static str,
    /// Its first byte.
    start_hex: String,
}

/// A view that was read, and how much is in it.
#[derive(Debug, Serialize, JsonSchema)]
struct ViewRow {
    /// Modules that it has.
    modules: usize,
    /// Where it was read.
    path: &'static str,
    /// `view`.
    record: &'static str,
}

impl Collect for HiddenModules {
    const NAME: &'static str = "hidden_modules";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str =
        "Modules that /proc/modules, /sys/module, kallsyms and the kernel's memory disagree about";
    const NEEDS: &'static [&'static str] = &["root", "CAP_SYSLOG"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = session.host().clone();
        let first = Views::take(&host, self.kallsyms);
        first.say(session)?;
        let mut suspects = first.disagreements();
        let mut views = first;
        if !suspects.is_empty() {
            session.go_on()?;
            views = Views::take(&host, self.kallsyms);
            let again = views.disagreements();
            // The answer of each view must be the same, not only that there is a disagreement.
            suspects.retain(|name, answers| again.get(name) == Some(answers));
        }
        for (name, answers) in &suspects {
            session.row(&views.row(&host, name, *answers))?;
        }
        ranges(session, &host, &views)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<ModuleRow>(
                "module",
                "proc_modules(5), Documentation/ABI/stable/sysfs-module, proc_kallsyms(5)",
            ),
            RowType::of::<RangeRow>("memory_range", "/proc/vmallocinfo, Documentation/filesystems/proc.rst"),
            RowType::of::<ViewRow>("view", "the files named in `path`"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let kallsyms = self.kallsyms.then_some("/proc/kallsyms");
        let reads = ["/proc/modules", "/sys/module/*/initstate", "/sys/module/*/sections", "/proc/vmallocinfo"];
        Plan { reads: reads.into_iter().chain(kallsyms).map(str::to_owned).collect(), ..Plan::default() }
    }
}

/// A line of `/proc/modules`, owned.
#[derive(Debug, Default)]
struct Line {
    address: Option<u64>,
    users: Vec<Vec<u8>>,
}

/// What each view has. `Err` for one that could not be read, `None` for one that was not asked for.
struct Views {
    proc: io::Result<BTreeMap<Vec<u8>, Line>>,
    sysfs: io::Result<BTreeSet<Vec<u8>>>,
    symbols: Option<io::Result<Symbols>>,
}

/// What the views say of one name: `/proc/modules`, sysfs, kallsyms, named as a user.
type Answers = (Option<bool>, Option<bool>, Option<bool>, bool);

impl Views {
    /// Reads all of them, the quickest last, so that the two that are compared most are read close to each other.
    fn take(host: &Host, kallsyms: bool) -> Self {
        let symbols = kallsyms.then(|| host.read("/proc/kallsyms", SYMBOLS_BYTES_MAX).map(|text| Symbols::of(&text)));
        Self { sysfs: loaded_in_sysfs(host), proc: lines(host), symbols }
    }

    fn symbols(&self) -> Option<&Symbols> {
        self.symbols.as_ref().and_then(|symbols| symbols.as_ref().ok())
    }

    /// One row per view, or why it was not read.
    fn say(&self, session: &mut Session) -> Result<(), Stopped> {
        let proc = self.proc.as_ref().map(BTreeMap::len);
        let sysfs = self.sysfs.as_ref().map(BTreeSet::len);
        let symbols = self.symbols.as_ref().map(|symbols| symbols.as_ref().map(|symbols| symbols.modules.len()));
        let views = [("/proc/modules", Some(proc)), ("/sys/module", Some(sysfs)), ("/proc/kallsyms", symbols)];
        for (path, view) in views {
            match view {
                Some(Ok(modules)) => session.row(&ViewRow { modules, path, record: "view" })?,
                Some(Err(error)) => session.unreadable(path, error)?,
                None => {
                    let item = session.item(Kind::Record, path, "procfs", Status::Skipped);
                    session.note(item.because("not asked for: kallsyms is false"))?;
                }
            }
        }
        Ok(())
    }

    fn disagreements(&self) -> BTreeMap<Vec<u8>, Answers> {
        let empty = BTreeMap::new();
        let lines = self.proc.as_ref().unwrap_or(&empty);
        let users: BTreeSet<&Vec<u8>> = lines.values().flat_map(|line| &line.users).collect();
        let mut names: BTreeSet<&Vec<u8>> = lines.keys().chain(users.iter().copied()).collect();
        names.extend(self.sysfs.iter().flatten());
        names.extend(self.symbols().into_iter().flat_map(|symbols| symbols.modules.keys()));
        let mut found = BTreeMap::new();
        for name in names {
            let in_proc = self.proc.is_ok().then(|| lines.contains_key(name));
            let in_sysfs = self.sysfs.as_ref().ok().map(|sysfs| sysfs.contains(name));
            let in_symbols = self.symbols().map(|symbols| symbols.modules.contains_key(name));
            let is_user = users.contains(name);
            let views = [in_proc, in_sysfs, in_symbols];
            let (seen, missed) = (views.contains(&Some(true)), views.contains(&Some(false)));
            if missed && (seen || is_user) {
                found.insert(name.clone(), (in_proc, in_sysfs, in_symbols, is_user));
            }
        }
        found
    }

    fn row(&self, host: &Host, name: &[u8], (in_proc, in_sysfs, in_symbols, _): Answers) -> ModuleRow {
        let (text, name_b64) = shown(name);
        let value = |file: &str| host.read_text(path_of(name, file), 4096).ok().filter(|value| !value.is_empty());
        let sections = host.dir(path_of(name, "sections")).and_then(|dir| proc::names(dir.as_fd()));
        let users = self.proc.iter().flatten().filter(|(_, line)| line.users.iter().any(|user| user == name));
        ModuleRow {
            in_kallsyms: in_symbols,
            in_proc_modules: in_proc,
            in_sysfs,
            initstate: value("initstate"),
            name: text,
            name_b64,
            record: "module",
            size_bytes: value("coresize").and_then(|value| decimal(value.as_bytes())),
            section_count: sections.ok().map(|names| names.len()),
            symbol_count: self.symbols().and_then(|symbols| symbols.modules.get(name).copied()),
            taint: value("taint"),
            used_by_names: users.map(|(name, _)| shown(name).0).collect(),
        }
    }
}

fn path_of(module: &[u8], file: &str) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    std::path::Path::new("/sys/module").join(std::ffi::OsStr::from_bytes(module)).join(file)
}

fn lines(host: &Host) -> io::Result<BTreeMap<Vec<u8>, Line>> {
    let text = host.read("/proc/modules", LIST_BYTES_MAX)?;
    let listed = text.split(|byte| *byte == b'\n').filter_map(Listed::parse);
    let lines = listed.map(|listed| {
        let users = listed.users.iter().filter(|user| !user.starts_with(b"[")).map(|user| user.to_vec()).collect();
        let line = Line { address: listed.address(), users };
        (listed.name.to_vec(), line)
    });
    Ok(lines.collect())
}

/// The folders of `/sys/module` that have an `initstate`: what is built in has none.
fn loaded_in_sysfs(host: &Host) -> io::Result<BTreeSet<Vec<u8>>> {
    let dir = host.dir("/sys/module")?;
    let mut pages = Pages::default();
    let mut loaded = BTreeSet::new();
    for name in proc::names(dir.as_fd())? {
        pages.clear();
        let Ok(module) = proc::open_dir(dir.as_fd(), &name) else { continue };
        if pages.read(module.as_fd(), c"initstate", Hands::AtOnce, 64).is_ok() {
            loaded.insert(name.into_bytes());
        }
    }
    Ok(loaded)
}

/// A range of the kernel's memory that was allocated for a module.
#[derive(Debug, PartialEq, Eq)]
struct Range<'a> {
    start: u64,
    end: u64,
    caller: &'a [u8],
    pages: Option<u64>,
}

/// Functions that allocate for modules and for nothing else (kernel/module/main.c, arch/*/kernel/module.c; which of them
/// is named depends on what the compiler inlined): the caller is the function that asked, with its offset.
const CALLERS: [&[u8]; 5] =
    [b"move_module+", b"module_alloc+", b"layout_and_allocate", b"module_memory_alloc+", b"load_module+"];

/// `0xSTART-0xEND BYTES CALLER pages=N …`
fn range(line: &[u8]) -> Option<Range<'_>> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let bounds = words.next()?;
    let dash = bounds.iter().position(|byte| *byte == b'-')?;
    let hex = |word: &[u8]| in_base(word.strip_prefix(b"0x")?, 16);
    let (start, end) = (hex(bounds.get(..dash)?)?, hex(bounds.get(dash + 1..)?)?);
    let caller = words.nth(1)?;
    let pages = words.find_map(|word| decimal(word.strip_prefix(b"pages=")?));
    CALLERS.iter().any(|known| caller.starts_with(known)).then_some(Range { start, end, caller, pages })
}

/// Hands over the ranges that no module lies in, when the kernel shows addresses.
fn ranges(session: &mut Session, host: &Host, views: &Views) -> Result<(), Failure> {
    let path = "/proc/vmallocinfo";
    let text = match host.read(path, VMALLOC_BYTES_MAX) {
        Ok(text) => text,
        Err(error) => return Ok(session.unreadable(path, &error)?),
    };
    let found: Vec<Range<'_>> = text.split(|byte| *byte == b'\n').filter_map(range).collect();
    let mut owned = addresses(session, host, views)?;
    owned.sort_unstable();
    let holds = |range: &Range<'_>| {
        let from = owned.partition_point(|address| *address < range.start);
        owned.get(from).is_some_and(|address| *address < range.end)
    };
    // Addresses of the kernel lie in the upper half; hashed ones lie anywhere, and then nothing can be compared.
    let is_shown = found.iter().all(|range| range.start >> 63 == 1) && !owned.is_empty();
    if !found.is_empty() && !is_shown {
        let item = session.item(Kind::Record, path, "procfs", Status::Skipped);
        let why = "the kernel does not show addresses (kernel.kptr_restrict, CAP_SYSLOG)";
        let rule = format!("of {} ranges none can be told from the others: {why}", found.len());
        return Ok(session.note(item.because(rule))?);
    }
    for range in found.iter().filter(|range| !holds(range)).take(RANGES_MAX) {
        session.row(&RangeRow {
            caller: String::from_utf8_lossy(range.caller).into_owned(),
            end_hex: format!("{:x}", range.end),
            length_pages: range.pages,
            record: "memory_range",
            start_hex: format!("{:x}", range.start),
        })?;
    }
    if text.len() as u64 > RAW_BYTES_MAX {
        return Ok(session.limited(format!("{path} is longer than {RAW_BYTES_MAX} bytes and is not kept"))?);
    }
    Ok(session.raw(path, "procfs", "vmallocinfo.txt", text)?)
}

/// Addresses that lie in modules: where `/proc/modules` says they begin, and their sections.
fn addresses(session: &mut Session, host: &Host, views: &Views) -> Result<Vec<u64>, Stopped> {
    let mut found: Vec<u64> = views.proc.iter().flat_map(BTreeMap::values).filter_map(|line| line.address).collect();
    let mut pages = Pages::default();
    for name in views.sysfs.iter().flatten() {
        session.go_on()?;
        let Ok(sections) = host.dir(path_of(name, "sections")) else { continue };
        for section in proc::names(sections.as_fd()).unwrap_or_default() {
            pages.clear();
            let Ok(piece) = pages.read(sections.as_fd(), &section, Hands::AtOnce, 64) else { continue };
            let text = pages.get(piece).trim_ascii();
            found.extend(text.strip_prefix(b"0x").and_then(|hex| in_base(hex, 16)).filter(|address| *address != 0));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Arc<Host>) {
        let tree = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let host = Arc::new(Host::at(tree.path(), FixedClock(Instant(0))));
        (tree, host)
    }

    #[test]
    fn each_disagreement_is_a_row_with_every_answer() {
        let (_tree, host) = host(&[
            (
                "proc/modules",
                "xfs 4096 1 phantom,fine, Live 0xffffffffc0a00000\nfine 4096 0 - Live 0xffffffffc0b00000\n",
            ),
            ("proc/kallsyms", "0 t a\t[xfs]\n0 t b\t[fine]\n0 t c\t[filtered]\n0 t d\t[bpf]\n"),
            ("sys/module/xfs/initstate", "live\n"),
            ("sys/module/fine/initstate", "live\n"),
            ("sys/module/fine/sections/.text", "0xffffffffc0b00010\n"),
            ("sys/module/unlinked/initstate", "live\n"),
            ("sys/module/unlinked/taint", "OE\n"),
            ("sys/module/unlinked/coresize", "16384\n"),
            ("sys/module/unlinked/sections/.text", "0xffffffffc0c00000\n"),
            ("sys/module/printk/parameters/time", "Y\n"),
            (
                "proc/vmallocinfo",
                "0xffffffffc0a00000-0xffffffffc0a02000 8192 move_module+0x1/0x2 pages=1 vmalloc\n\
                0xffffffffc0c00000-0xffffffffc0c02000 8192 move_module+0x1/0x2 pages=1 vmalloc\n\
                0xffffffffc0d00000-0xffffffffc0d05000 20480 module_alloc+0x1/0x2 pages=4 vmalloc\n\
                0xffffffffc0e00000-0xffffffffc0e05000 20480 bpf_jit_alloc_exec+0x1/0x2 pages=4 vmalloc\n",
            ),
        ]);
        let messages = collect(&HiddenModules::default(), host);
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let of = |record: &str| rows.iter().filter(|row| row["record"] == record).collect::<Vec<_>>();
        let answers: Vec<_> = of("module")
            .iter()
            .map(|row| {
                (
                    row["name"].as_str().unwrap(),
                    ["proc_modules", "sysfs", "kallsyms"].map(|view| row[format!("in_{view}")].as_bool().unwrap()),
                )
            })
            .collect();
        assert_eq!(
            answers,
            [
                ("filtered", [false, false, true]),
                ("phantom", [false, false, false]),
                ("unlinked", [false, true, false]),
            ]
        );
        let unlinked = of("module")[2];
        assert_eq!((&unlinked["taint"], &unlinked["size_bytes"]), (&"OE".into(), &16384.into()));
        assert_eq!(of("module")[1]["used_by_names"], serde_json::json!(["xfs"]));
        assert_eq!(of("memory_range").len(), 1);
        assert_eq!(
            (&of("memory_range")[0]["start_hex"], &of("memory_range")[0]["length_pages"]),
            (&"ffffffffc0d00000".into(), &4.into())
        );
        assert_eq!(of("view").len(), 3);
    }

    #[test]
    fn a_view_that_is_not_there_hides_nothing_and_is_named() {
        let (_tree, host) = host(&[
            ("sys/module/a/initstate", "live\n"),
            ("proc/vmallocinfo", "0x000000001e7a724d-0x0000000070f01462 20480 move_module+0xca/0x100 vmalloc\n"),
        ]);
        let messages = collect(&HiddenModules { kallsyms: false }, host);
        assert_eq!(rows(&messages).len(), 1, "the view of sysfs");
        let reasons: Vec<_> = items(&messages).into_iter().map(|item| (item.path, item.status)).collect();
        assert_eq!(
            reasons,
            ["/proc/modules", "/proc/kallsyms", "/proc/vmallocinfo"]
                .map(|path| (path.as_bytes().to_vec(), Status::Skipped))
        );
    }

    #[test]
    fn the_live_host_has_no_hidden_module() {
        let messages = collect(&HiddenModules::default(), Arc::new(Host::live()));
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
        let rows = rows(&messages);
        assert!(rows.iter().any(|row| row["record"] == "view" && row["path"] == "/sys/module"));
    }
}
