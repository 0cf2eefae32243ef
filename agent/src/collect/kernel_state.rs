//! The state of the running kernel: what taints it, what it is set to, which programs of the host it will run by itself,
//! what traces or patches it, and which keys it holds.
//!
//! Row types: `taint`, `state` (single switches: lockdown, LSM list, kexec …), `sysctl`, `usermode_helper` (programs that
//! the kernel starts as root: core_pattern, modprobe, release_agent …), `binfmt`, `tracing`, `trace_probe`, `kprobe`,
//! `ftrace_function`, `livepatch`, `key`, and `kernel_file` for each text that is kept whole as `raw/kernel_state/…`:
//! iomem, interrupts, crypto, cgroups and others.
//!
//! tracefs, debugfs, binfmt_misc and securityfs are read through a mount of our own: no automount is set off, and what
//! somebody hid by unmounting or by mounting over it is seen.
//!
//! Known limits: settings of network interfaces are in `network_state`; a setting whose reading acts
//! (`vm.stat_refresh`, `kernel.random.uuid`) is not read; keys that this process may not view are not listed by the
//! kernel; symbols (kallsyms) are too long for this tier and are in `kernel_symbols`.

mod helpers;
mod keys;
mod sysctl;
mod tracing;

use std::io;

use bundle::item::{Kind, Status, shown};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{Sha256, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::modules::taint_flags;
use crate::host::text::decimal;
use crate::run::session::{Session, Stopped};

/// Bytes of a text that is kept whole.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Bytes of a single value.
const VALUE_BYTES_MAX: u64 = 64 << 10;

/// Single switches: name, file.
const STATES: [(&str, &str); 13] = [
    ("bootloader_type", "/proc/sys/kernel/bootloader_type"),
    ("bootloader_version", "/proc/sys/kernel/bootloader_version"),
    ("cgroup_controllers", "/sys/fs/cgroup/cgroup.controllers"),
    ("cmdline", "/proc/cmdline"),
    ("kexec_crash_loaded", "/sys/kernel/kexec_crash_loaded"),
    ("kexec_crash_size_bytes", "/sys/kernel/kexec_crash_size"),
    ("kexec_loaded", "/sys/kernel/kexec_loaded"),
    ("ksm_run", "/sys/kernel/mm/ksm/run"),
    ("module_sig_enforce", "/sys/module/module/parameters/sig_enforce"),
    ("printk", "/proc/sys/kernel/printk"),
    ("profiling", "/sys/kernel/profiling"),
    ("transparent_hugepage", "/sys/kernel/mm/transparent_hugepage/enabled"),
    ("vmcoreinfo", "/sys/kernel/vmcoreinfo"),
];

/// Texts that are kept whole. Each is made up by the kernel in well under a millisecond.
const FILES: [&str; 22] = [
    "/proc/buddyinfo",
    "/proc/cgroups",
    "/proc/consoles",
    "/proc/crypto",
    "/proc/devices",
    "/proc/dma",
    "/proc/execdomains",
    "/proc/fb",
    "/proc/filesystems",
    "/proc/interrupts",
    "/proc/iomem",
    "/proc/ioports",
    "/proc/key-users",
    "/proc/misc",
    "/proc/modules",
    "/proc/pressure/cpu",
    "/proc/pressure/io",
    "/proc/pressure/memory",
    "/proc/softirqs",
    "/proc/sys/fs/file-nr",
    "/proc/vmstat",
    "/proc/zoneinfo",
];

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelState {}

/// How the kernel is tainted.
#[derive(Debug, Serialize, JsonSchema)]
struct TaintRow {
    /// What the bits mean: a letter and words; `bit N` for one without a name here.
    flags: Vec<String>,
    /// `taint`.
    record: &'static str,
    /// The bits.
    value: u64,
}

/// A switch of the kernel.
#[derive(Debug, Serialize, JsonSchema)]
struct StateRow {
    /// What it is: lockdown, lsm, kexec_loaded …
    name: String,
    /// Where it was read.
    path: String,
    /// `state`.
    record: &'static str,
    /// Its text without the line's end.
    value: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_b64: Option<String>,
}

/// A text of the kernel that is kept whole.
#[derive(Debug, Serialize, JsonSchema)]
struct FileRow {
    /// True when it shows addresses and all of them are zero: this process may not see them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_zeroed: bool,
    /// Where it was read.
    path: &'static str,
    /// `kernel_file`.
    record: &'static str,
    /// Digest of the text.
    sha256: Sha256,
    /// Length of the text.
    size_bytes: u64,
}

/// A patch of the running kernel.
#[derive(Debug, Serialize, JsonSchema)]
struct LivepatchRow {
    /// True when it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    /// Functions that it replaces, as `object/function`.
    functions: Vec<String>,
    /// Its module.
    name: String,
    /// `livepatch`.
    record: &'static str,
}

impl Collect for KernelState {
    const NAME: &'static str = "kernel_state";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Taint, lockdown, sysctls, usermode helpers, binfmt, tracing and kprobes, keys";
    const NEEDS: &'static [&'static str] = &["root", "CAP_SYS_ADMIN", "CAP_SYSLOG"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        taint(session)?;
        security(session)?;
        for (name, path) in STATES {
            state(session, name, path)?;
        }
        sysctl::collect(session)?;
        helpers::collect(session)?;
        tracing::collect(session)?;
        livepatches(session)?;
        keys::collect(session)?;
        for path in FILES {
            file(session, path)?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<TaintRow>("taint", "Documentation/admin-guide/tainted-kernels.rst"),
            RowType::of::<StateRow>("state", "the files named in `path`"),
            RowType::of::<sysctl::SysctlRow>("sysctl", "proc_sys(5), Documentation/admin-guide/sysctl"),
            RowType::of::<helpers::HelperRow>("usermode_helper", "core(5), proc_sys_kernel(5), cgroups(7)"),
            RowType::of::<helpers::BinfmtRow>("binfmt", "Documentation/admin-guide/binfmt-misc.rst"),
            RowType::of::<tracing::TracingRow>("tracing", "Documentation/trace/ftrace.rst"),
            RowType::of::<tracing::ProbeRow>("trace_probe", "Documentation/trace/kprobetrace.rst, uprobetracer.rst"),
            RowType::of::<tracing::KprobeRow>("kprobe", "Documentation/trace/kprobes.rst"),
            RowType::of::<tracing::FunctionRow>("ftrace_function", "Documentation/trace/ftrace.rst"),
            RowType::of::<LivepatchRow>("livepatch", "Documentation/ABI/testing/sysfs-kernel-livepatch"),
            RowType::of::<keys::KeyRow>("key", "proc_keys(5)"),
            RowType::of::<FileRow>("kernel_file", "proc(5)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let trees =
            ["/proc/sys/**", "/proc/keys", "tracefs", "debugfs", "binfmt_misc", "securityfs", "/sys/kernel/livepatch"];
        let states = STATES.iter().map(|(_, path)| *path);
        Plan { reads: trees.into_iter().chain(states).chain(FILES).map(str::to_owned).collect(), ..Plan::default() }
    }
}

fn taint(session: &mut Session) -> Result<(), Stopped> {
    let path = "/proc/sys/kernel/tainted";
    match session.host().read(path, 64) {
        Ok(bytes) => {
            let value = decimal(bytes.trim_ascii()).unwrap_or(0);
            session.row(&TaintRow { flags: taint_flags(value), record: "taint", value })
        }
        Err(error) => session.unreadable(path, &error),
    }
}

/// What the kernel lets even root do, by securityfs.
fn security(session: &mut Session) -> Result<(), Stopped> {
    let root = match session.host().kernel_fs("securityfs", "/sys/kernel/security") {
        Ok(root) => root,
        Err(error) => return session.unreadable("securityfs", &error),
    };
    for name in [c"lockdown", c"lsm", c"integrity/ima/violations", c"integrity/ima/runtime_measurements_count"] {
        let path = format!("securityfs/{}", name.to_string_lossy());
        match read_at(&root, name, VALUE_BYTES_MAX) {
            Ok(bytes) => value(session, name.to_str().unwrap_or_default(), &path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => session.unreadable(path, &error)?,
        }
    }
    Ok(())
}

/// Reads a file below a folder that is open.
fn read_at(root: &impl std::os::fd::AsFd, name: &std::ffi::CStr, bytes_max: u64) -> io::Result<Vec<u8>> {
    use rustix::fs::{Mode, OFlags};
    use std::io::Read as _;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let file = std::fs::File::from(rustix::fs::openat(root, name, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// A switch; one that this kernel does not have is not noted: there is a name for each in some kernel.
fn state(session: &mut Session, name: &str, path: &str) -> Result<(), Stopped> {
    match session.host().read(path, VALUE_BYTES_MAX) {
        Ok(bytes) => value(session, name, path, &bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => session.unreadable(path, &error),
    }
}

fn value(session: &mut Session, name: &str, path: &str, bytes: &[u8]) -> Result<(), Stopped> {
    let (value, value_b64) = shown(bytes.trim_ascii_end());
    session.row(&StateRow { name: name.to_owned(), path: path.to_owned(), record: "state", value, value_b64 })
}

fn file(session: &mut Session, path: &'static str) -> Result<(), Stopped> {
    let text = match session.host().read(path, FILE_BYTES_MAX) {
        Ok(text) => text,
        // A kernel without this part, or whose pressure is not measured.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::OPNOTSUPP)) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let item = session.item(Kind::Record, path, "procfs", Status::Skipped);
            session.note(item.because(format!("longer than {FILE_BYTES_MAX} bytes")))?;
            return session.limited(format!("{path} is longer than {FILE_BYTES_MAX} bytes"));
        }
        Err(error) => return session.unreadable(path, &error),
    };
    session.row(&FileRow {
        is_zeroed: matches!(path, "/proc/iomem" | "/proc/ioports") && is_zeroed(&text),
        path,
        record: "kernel_file",
        sha256: Sha256::of(&text),
        size_bytes: text.len() as u64,
    })?;
    let name = path.trim_start_matches("/proc/").replace('/', "-");
    session.raw(path, "procfs", format!("{name}.txt"), text)
}

/// Without CAP_SYS_ADMIN the kernel writes the ranges of iomem and ioports as zeros.
fn is_zeroed(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
    let bounds =
        |line: &[u8]| line.iter().take_while(|byte| **byte != b':').all(|byte| matches!(byte, b'0' | b'-' | b' '));
    lines.peek().is_some() && lines.all(bounds)
}

/// Patches of the running kernel, and what they replace.
fn livepatches(session: &mut Session) -> Result<(), Stopped> {
    use std::os::fd::AsFd as _;
    let host = session.host().clone();
    let folder = |path: &str| {
        let names = host.dir(path).and_then(|dir| crate::host::proc::names(dir.as_fd()));
        names.map(|names| names.iter().map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>())
    };
    let patches = match folder("/sys/kernel/livepatch") {
        Ok(patches) => patches,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return session.unreadable("/sys/kernel/livepatch", &error),
    };
    for name in patches {
        session.go_on()?;
        let path = format!("/sys/kernel/livepatch/{name}");
        let mut functions = Vec::new();
        // The folders in it are objects (vmlinux, modules), and the folders in those are functions; the rest are files.
        for object in folder(&path).unwrap_or_default() {
            let of_object = folder(&format!("{path}/{object}")).unwrap_or_default();
            functions.extend(of_object.iter().filter(|name| *name != "patched").map(|name| format!("{object}/{name}")));
        }
        let enabled = host.read_text(format!("{path}/enabled"), 64).ok().map(|value| value == "1");
        session.row(&LivepatchRow { enabled, functions, name, record: "livepatch" })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
