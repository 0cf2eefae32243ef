//! What is needed to read an image of the kernel's memory, and to tell the kernel that runs from the one that should:
//! its symbols with their addresses, its type information, its build id and its version.
//!
//! `/proc/kallsyms` is 10 MB and more, and made up line by line: the volatile tier takes only the names of modules from
//! it (`hidden_modules`), and the text itself is taken here, once nothing is left that goes away with time. Addresses do
//! not change until the next boot.
//!
//! One row per file: `kernel_file`. The files themselves are in the bundle under their own names.

use std::io::Read as _;

use bundle::item::{Kind, Status};
use rustix::fs::{Mode, OFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use wire::{Sha256, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::run::session::{Ended, Session, Stopped};

/// Bytes of one file: type information has 6 MiB, kallsyms 60 bytes for each symbol.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// What is handed over at once.
const CHUNK_BYTES: u64 = 256 << 10;

const FILES: [&str; 4] = ["/proc/kallsyms", "/proc/version", "/sys/kernel/btf/vmlinux", "/sys/kernel/notes"];

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelSymbols {}

/// A file of the kernel that was taken whole.
#[derive(Debug, Serialize, JsonSchema)]
struct FileRow {
    /// True when its addresses are all zero (kallsyms): this process may not see them (kernel.kptr_restrict).
    is_zeroed: bool,
    /// The file.
    path: &'static str,
    /// `kernel_file`.
    record: &'static str,
    /// Digest of it.
    sha256: Sha256,
    /// Its length.
    size_bytes: u64,
    /// How many lines it has, for kallsyms: one for each symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol_count: Option<u64>,
}

impl Collect for KernelSymbols {
    const NAME: &'static str = "kernel_symbols";
    const TIER: Tier = Tier::System;
    const SUMMARY: &'static str =
        "Symbols (kallsyms), type information (BTF), build id and version of the running kernel";
    const NEEDS: &'static [&'static str] = &["CAP_SYSLOG"];
    const NEEDS_LIVE_HOST: bool = true;

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        for path in FILES {
            take(session, path)?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<FileRow>("kernel_file", "proc_kallsyms(5), Documentation/bpf/btf.rst")]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan { reads: FILES.map(str::to_owned).to_vec(), files: Some(FILES.len() as u64), ..Plan::default() }
    }
}

fn take(session: &mut Session, path: &'static str) -> Result<(), Stopped> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = match rustix::fs::open(session.host().path(path), flags, Mode::empty()) {
        Ok(opened) => std::fs::File::from(opened),
        Err(error) => return session.unreadable(path, &error.into()),
    };
    let item = session.item(Kind::File, path, "read", Status::Ok);
    session.begin(item)?;
    let mut hasher = sha2::Sha256::new();
    let mut ended = Ended::with(Status::Ok);
    let (mut size_bytes, mut lines, mut is_zeroed) = (0, 0, true);
    let mut is_at_line_start = true;
    loop {
        let mut chunk = Vec::new();
        if let Err(error) = (&mut file).take(CHUNK_BYTES).read_to_end(&mut chunk) {
            ended = Ended::with(Status::Error);
            ended.error = Some((error.raw_os_error().unwrap_or(0), error.to_string()));
            break;
        }
        if chunk.is_empty() {
            break;
        }
        for byte in &chunk {
            match byte {
                b'\n' => (lines, is_at_line_start) = (lines + 1, true),
                b' ' => is_at_line_start = false,
                byte if is_at_line_start => is_zeroed &= *byte == b'0',
                _ => {}
            }
        }
        size_bytes += chunk.len() as u64;
        hasher.update(&chunk);
        session.chunk(chunk)?;
        if size_bytes >= FILE_BYTES_MAX {
            ended = Ended::with(Status::Truncated);
            ended.reason = Some(format!("longer than {FILE_BYTES_MAX} bytes"));
            break;
        }
    }
    let is_cut = ended.status == Status::Truncated;
    session.end(ended)?;
    if is_cut {
        session.limited(format!("{path} is longer than {FILE_BYTES_MAX} bytes"))?;
    }
    let is_kallsyms = path == "/proc/kallsyms";
    session.row(&FileRow {
        is_zeroed: is_kallsyms && lines > 0 && is_zeroed,
        path,
        record: "kernel_file",
        sha256: Sha256::so_far(&hasher),
        size_bytes,
        symbol_count: is_kallsyms.then_some(lines),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    #[test]
    fn addresses_that_are_not_shown_are_told() {
        for (text, is_zeroed) in [("0000 T _text\n0000 t a\t[m]\n", true), ("0000 T a\nffff T 0\n", false), ("", false)]
        {
            let tree = tempfile::tempdir().unwrap();
            std::fs::create_dir(tree.path().join("proc")).unwrap();
            std::fs::write(tree.path().join("proc/kallsyms"), text).unwrap();
            let messages = collect(&KernelSymbols {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
            assert_keys_sorted(&messages);
            let rows = rows(&messages);
            assert_eq!(rows[0]["is_zeroed"], is_zeroed, "{text}");
            assert_eq!(rows[0]["symbol_count"], text.lines().count());
            assert_eq!(rows[0]["sha256"], Sha256::of(text.as_bytes()).to_string());
            assert_eq!(items(&messages).iter().filter(|item| item.status == Status::Skipped).count(), 3);
        }
    }

    #[test]
    fn the_live_kernel_has_a_version() {
        let messages = collect(&KernelSymbols {}, Arc::new(Host::live()));
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
        assert!(rows(&messages).iter().any(|row| row["path"] == "/proc/version"));
    }
}
