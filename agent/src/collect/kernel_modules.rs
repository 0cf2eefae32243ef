//! The modules of the kernel, as `/proc/modules` and `/sys/module` list them.
//!
//! One row per name that either list has, sorted. A rootkit that unlinks itself from the list
//! of modules is gone from `/proc/modules` and often still in `/sys/module`: `listed_in` says where a module was seen.
//! What is built in has parameters at most, no state, and is in `/sys/module` by nature (`builtin`).
//!
//! Known limit: a module that left both lists is not seen here; `hidden_modules` looks further.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::item::{Kind, Status, shown};
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::modules::{LIST_BYTES_MAX, Listed};
use crate::host::proc::{self, Hands, Pages};
use crate::host::text::{Number, decimal};
use crate::run::session::{Session, Stopped};

/// Bytes of one value in `/sys/module`: sysfs has one page.
const VALUE_BYTES_MAX: usize = 4096;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelModules {}

/// One module.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Row {
    /// Where it lies in memory, hex (`/proc/modules`); all zeros without CAP_SYSLOG.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// True for what is part of the kernel's image.
    builtin: bool,
    /// Bytes of its code and data (`coresize`).
    #[serde(skip_serializing_if = "Option::is_none")]
    coresize: Option<u64>,
    /// Modules that use it (`holders`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holders: Vec<String>,
    /// Bytes of its initialisation code (`initsize`).
    #[serde(skip_serializing_if = "Option::is_none")]
    initsize: Option<u64>,
    /// live, coming, going (`initstate`).
    #[serde(skip_serializing_if = "Option::is_none")]
    initstate: Option<String>,
    /// `proc`, `sys` or both.
    listed_in: Vec<&'static str>,
    /// Its name.
    name: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    /// Values of its parameters; null for one that can only be written.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, Option<String>>,
    /// The exact bytes of those that are not UTF-8.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters_b64: BTreeMap<String, String>,
    /// Bytes of memory (`/proc/modules`).
    #[serde(skip_serializing_if = "Option::is_none")]
    proc_bytes: Option<u64>,
    /// `module`.
    record: &'static str,
    /// References (`refcnt`, else `/proc/modules`).
    #[serde(skip_serializing_if = "Option::is_none")]
    refcnt: Option<Number>,
    /// How many sections have a name in `/sys/module/NAME/sections`.
    #[serde(skip_serializing_if = "Option::is_none")]
    section_count: Option<usize>,
    /// Digest of its source (`srcversion`).
    #[serde(skip_serializing_if = "Option::is_none")]
    srcversion: Option<String>,
    /// Live, Loading, Unloading (`/proc/modules`).
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// Letters of taint: P proprietary, O out of tree, E unsigned, F forced, C staging (`taint`, else `/proc/modules`).
    #[serde(skip_serializing_if = "Option::is_none")]
    taint: Option<String>,
    /// Modules that use it (`/proc/modules`), `[permanent]` when it cannot be unloaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used_by: Vec<String>,
    /// Version (`version`).
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

impl Collect for KernelModules {
    const NAME: &'static str = "kernel_modules";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Modules of the kernel from both lists, with their parameters";
    const NEEDS: &'static [&'static str] = &["root", "CAP_SYSLOG"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = session.host().clone();
        let mut modules = BTreeMap::new();
        match host.read("/proc/modules", LIST_BYTES_MAX) {
            Ok(list) => from_proc(session, &list, &mut modules)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let item = session.item(Kind::Record, *b"/proc/modules", "procfs", Status::Skipped);
                session.note(item.because("there is no such file: a kernel without loadable modules"))?;
            }
            Err(error) => session.unreadable(*b"/proc/modules", &error)?,
        }
        match host.dir("/sys/module") {
            Ok(dir) => Sysfs::default().modules(session, &dir, &mut modules)?,
            Err(error) => session.unreadable(*b"/sys/module", &error)?,
        }
        for row in modules.values() {
            session.row(row)?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row>("module", "proc_modules(5), Documentation/ABI/stable/sysfs-module")]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan { reads: vec!["/proc/modules".into(), "/sys/module/**".into()], ..Plan::default() }
    }
}

type Modules = BTreeMap<Vec<u8>, Row>;

fn row<'a>(modules: &'a mut Modules, name: &[u8]) -> &'a mut Row {
    modules.entry(name.to_vec()).or_insert_with(|| {
        let (name, name_b64) = shown(name);
        Row { name, name_b64, record: "module", ..Row::default() }
    })
}

fn from_proc(session: &mut Session, list: &[u8], modules: &mut Modules) -> Result<(), Stopped> {
    for line in list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Some(listed) = Listed::parse(line) else {
            let item = session.item(Kind::Record, *b"/proc/modules", "procfs", Status::Error);
            session.note(item.because(format!("a line that the kernel does not write: {:?}", text(line))))?;
            continue;
        };
        let row = row(modules, listed.name);
        row.listed_in.push("proc");
        row.proc_bytes = listed.bytes;
        row.refcnt = listed.references;
        row.used_by = listed.users.iter().map(|user| text(user)).collect();
        row.state = Some(text(listed.state));
        row.address = Some(text(listed.address));
        row.taint = listed.taint.map(text);
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads `/sys/module`.
#[derive(Default)]
struct Sysfs {
    pages: Pages,
}

impl Sysfs {
    fn modules(&mut self, session: &mut Session, dir: &OwnedFd, modules: &mut Modules) -> Result<(), Failure> {
        let names = proc::names(dir.as_fd()).map_err(Failure::reading("/sys/module"))?;
        for name in names {
            session.go_on()?;
            self.pages.clear();
            let path = format!("/sys/module/{}", name.to_string_lossy());
            match proc::open_dir(dir.as_fd(), &name) {
                Ok(module) => {
                    let row = row(modules, name.to_bytes());
                    row.listed_in.push("sys");
                    self.module(session, module.as_fd(), &path, row)?;
                }
                // An attribute of the folder itself, such as `compression`, is no module.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
                Err(error) => session.unreadable(path, &error)?,
            }
        }
        Ok(())
    }

    fn module(&mut self, session: &mut Session, dir: BorrowedFd<'_>, path: &str, row: &mut Row) -> Result<(), Stopped> {
        row.initstate = self.value(session, dir, path, c"initstate")?.map(|value| text(&value));
        row.builtin = row.initstate.is_none() && row.listed_in == ["sys"];
        row.version = self.value(session, dir, path, c"version")?.map(|value| text(&value));
        self.parameters(session, dir, path, row)?;
        if row.builtin {
            return Ok(());
        }
        let number = |value: Option<Vec<u8>>| value.and_then(|value| decimal(&value));
        row.coresize = number(self.value(session, dir, path, c"coresize")?);
        row.initsize = number(self.value(session, dir, path, c"initsize")?);
        row.srcversion = self.value(session, dir, path, c"srcversion")?.map(|value| text(&value));
        if let Some(letters) = self.value(session, dir, path, c"taint")? {
            row.taint = (!letters.is_empty()).then(|| text(&letters));
        }
        if let Some(references) = self.value(session, dir, path, c"refcnt")? {
            row.refcnt = Number::parse(&references).or(row.refcnt);
        }
        let holders = entries(session, dir, path, c"holders")?.unwrap_or_default();
        row.holders = holders.iter().map(|name| text(name.to_bytes())).collect();
        row.section_count = entries(session, dir, path, c"sections")?.map(|names| names.len());
        Ok(())
    }

    /// A value, its last newline removed; `None` when the module has no such file.
    fn value(
        &mut self,
        session: &mut Session,
        dir: BorrowedFd<'_>,
        path: &str,
        name: &CStr,
    ) -> Result<Option<Vec<u8>>, Stopped> {
        match self.pages.read(dir, name, Hands::AtOnce, VALUE_BYTES_MAX) {
            Ok(piece) => {
                let value = self.pages.get(piece);
                Ok(Some(value.strip_suffix(b"\n").unwrap_or(value).to_vec()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                session.unreadable(format!("{path}/{}", name.to_string_lossy()), &error)?;
                Ok(None)
            }
        }
    }

    fn parameters(
        &mut self,
        session: &mut Session,
        dir: BorrowedFd<'_>,
        path: &str,
        row: &mut Row,
    ) -> Result<(), Stopped> {
        let path = format!("{path}/parameters");
        let Ok(folder) = proc::open_dir(dir, c"parameters") else {
            return Ok(()); // Most modules have none.
        };
        let names = match proc::names(folder.as_fd()) {
            Ok(names) => names,
            Err(error) => return session.unreadable(path, &error),
        };
        for name in names {
            session.go_on()?;
            let key = text(name.to_bytes());
            if !is_readable(folder.as_fd(), &name) {
                row.parameters.insert(key, None);
                continue;
            }
            if let Some(value) = self.value(session, folder.as_fd(), &path, &name)? {
                if str::from_utf8(&value).is_err() {
                    row.parameters_b64.insert(key.clone(), BASE64_STANDARD.encode(&value));
                }
                row.parameters.insert(key, Some(text(&value)));
            }
        }
        Ok(())
    }
}

/// False for a parameter whose mode has no right to read for anybody: then not even root can.
fn is_readable(folder: BorrowedFd<'_>, name: &CStr) -> bool {
    let found = rustix::fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MODE);
    found.map_or(true, |found| found.stx_mode & 0o444 != 0)
}

fn entries(
    session: &mut Session,
    dir: BorrowedFd<'_>,
    path: &str,
    name: &CStr,
) -> Result<Option<Vec<CString>>, Stopped> {
    match proc::open_dir(dir, name).and_then(|folder| proc::names(folder.as_fd())) {
        Ok(names) => Ok(Some(names)),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(None),
        Err(error) => {
            session.unreadable(format!("{path}/{}", name.to_string_lossy()), &error)?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing;

    #[test]
    fn modules_of_both_lists_of_one_and_built_in() {
        let tree = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("proc/modules", "xfs 2420736 1 - Live 0xffffffffc0a00000\nrk 16384 0 xfs,ext4, Live 0x0 (OE)\nodd\n"),
            ("sys/module/xfs/initstate", "live\n"),
            ("sys/module/xfs/refcnt", "2\n"),
            ("sys/module/xfs/srcversion", "ABC\n"),
            ("sys/module/xfs/sections/.text", "0x0\n"),
            ("sys/module/xfs/holders/ext4", ""),
            ("sys/module/ghost/initstate", "live\n"),
            ("sys/module/printk/parameters/time", "Y\n"),
        ] {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let host = Host::at(tree.path(), FixedClock(Instant(0)));
        let messages = testing::collect(&KernelModules {}, Arc::new(host));
        let rows = testing::rows(&messages);
        let shape: Vec<_> = rows
            .iter()
            .map(|row| (row["name"].as_str(), row["listed_in"].to_string(), row["builtin"].as_bool()))
            .collect();
        assert_eq!(shape[0], (Some("ghost"), r#"["sys"]"#.into(), Some(false)));
        assert_eq!(shape[1], (Some("printk"), r#"["sys"]"#.into(), Some(true)));
        assert_eq!(shape[2], (Some("rk"), r#"["proc"]"#.into(), Some(false)));
        assert_eq!(shape[3], (Some("xfs"), r#"["proc","sys"]"#.into(), Some(false)));
        assert_eq!(rows[1]["parameters"]["time"], "Y");
        assert_eq!((&rows[2]["taint"], &rows[2]["used_by"]), (&"OE".into(), &serde_json::json!(["xfs", "ext4"])));
        assert_eq!((&rows[3]["refcnt"], &rows[3]["section_count"]), (&2.into(), &1.into()));
        assert_eq!(testing::items(&messages).len(), 1, "the odd line");
    }

    #[test]
    fn the_live_host() {
        let rows = testing::rows(&testing::collect(&KernelModules {}, Arc::new(Host::live())));
        assert!(rows.iter().any(|row| row["record"] == "module"));
    }
}
