//! Any bytes as files of a host: programs, journals, databases, type information of the kernel, lines of logs. The first
//! byte says which.
#![no_main]

use std::fs::File;
use std::io::Write as _;

use agent::host::journal::Journal;
use agent::host::sqlite::Database;
use agent::host::{audit_log, btf, executable, log_line, magic};
use libfuzzer_sys::fuzz_target;

/// As a file has them, for readers that go by offsets.
fn file(bytes: &[u8]) -> File {
    let mut file = File::from(rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(bytes).expect("memory");
    file
}

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    let length = bytes.len() as u64;
    match which % 5 {
        0 => drop(executable::look(&file(bytes), length)),
        1 => {
            let Ok(mut journal) = Journal::open(file(bytes), length) else { return };
            let listed = journal.entries();
            let mut steps = 0;
            let scanned = journal.scan(|_| {
                steps += 1;
                steps < 1_000
            });
            for offset in listed.offsets.iter().chain(&scanned.offsets).take(100) {
                let Ok(entry) = journal.entry(*offset) else { continue };
                for field in entry.fields.iter().take(100) {
                    let _ = journal.field(*field, 4096);
                }
            }
            let _ = journal.problems();
        }
        2 => {
            let Ok(database) = Database::open((file(bytes), length), None::<(File, u64)>) else { return };
            for table in database.tables().unwrap_or_default().iter().take(8) {
                let mut rows = 0;
                let _ = database.rows(table, |_, _| {
                    rows += 1;
                    rows < 1_000
                });
            }
        }
        3 => drop(btf::names(bytes, &[0, 1, 2, 77, u32::MAX])),
        _ => {
            for line in bytes.split(|byte| *byte == b'\n') {
                if let Some(record) = audit_log::Record::parse(line) {
                    let _ = (record.get(b"exe"), record.number(b"syscall"));
                }
                let _ = (log_line::rfc3339(line), log_line::clock(line));
                let _ = (magic::magic(line), magic::interpreter(line));
            }
        }
    }
});
