//! The journal of systemd-journald: the files, what their headers say, the gaps between them, and the entries of a
//! window of time.
//!
//! Rows: `journal_file` (one per file: header, state, what is damaged), `journal_gap` (sequence numbers that no file
//! holds: entries that were vacuumed or removed), `journal_entry` (newest first, file by file). Entries of sshd, sudo, su,
//! shadow-utils, polkit, cron and the like carry the facts of [`LogFacts`]. On the timeline stand only those of notable
//! facts, and entries of priority 2 or worse.
//!
//! When the lists of a file hold fewer entries than its header counts, the file is searched for entries that no list
//! holds. Known limits: seals and hashes are not verified; of a message the first 16 KiB are a row's, all of it is in
//! the file.

use std::fs::File;

use bundle::item::{Kind, Nanos, Status, shown};
use bundle::time::Instant;
use bundle::timeline::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::copy::{self, Copier};
use crate::files::gather::Request;
use crate::files::since::Since;
use crate::files::text_log::changed;
use crate::files::window::Window;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::journal::{Broken, Entries, Entry, Header, Journal};
use crate::host::log_facts::LogFacts;
use crate::host::meta::Type;
use crate::host::text::{Exact, Text, decimal};
use crate::host::walk;
use crate::run::session::{Session, Stopped};

/// Where journals lie; a namespace's has a folder of its own, `<machine-id>.<namespace>`.
const PATHS: [&str; 2] = ["/var/log/journal/**/*.journal{,~}", "/run/log/journal/**/*.journal{,~}"];
/// Days that are read when nothing is said.
const DAYS: u64 = 14;
/// Entries that are read when nothing is said.
const ENTRIES_MAX: u64 = 200_000;
/// Files that are open at one time: journald keeps a hundred.
const FILES_MAX: usize = 128;
/// Rows of files and what is kept to find gaps.
const FILE_ROWS_MAX: usize = 10_000;
/// Of a field at most this much is a row's.
const FIELD_BYTES_MAX: usize = 16 << 10;
/// A clock may be set back: a file is left only after this many entries in a row that are too old.
const OLD_ENTRIES_MAX: u32 = 1000;
/// Moments on the timeline.
const EVENTS_MAX: u32 = 20_000;
/// Priority of `crit` (syslog(3)).
const CRITICAL: u64 = 2;

/// Arguments of `collect: journal`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalEntries {
    /// Entries from this moment on: the last 14 days when nothing is said.
    #[serde(default)]
    since: Option<Since>,
    /// Entries up to this moment.
    #[serde(default)]
    until: Option<Since>,
    /// Only entries of these units or identifiers (`ssh.service`, `sudo`).
    #[serde(default)]
    units: Vec<String>,
    /// Only entries of this priority or worse: 0 (emergency) to 7 (debug).
    #[serde(default)]
    priority_max: Option<u8>,
    /// The most entries: 200,000 when nothing is said.
    #[serde(default)]
    entries_max: Option<u64>,
    /// Leaves the files themselves to `collect: logs`.
    #[serde(default)]
    rows_only: bool,
    /// The most bytes of one file: 1 GiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
}

/// A journal file, as its header describes it.
#[derive(Serialize, JsonSchema)]
struct FileRow {
    /// Compatible flags: `sealed`, `tail_entry_boot_id` …
    compatible_flags: Vec<String>,
    /// Entries, as the header counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    /// Entries that lie in the file, with those that no list holds; only when it was searched for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_found: Option<u64>,
    /// Entries that the file's own lists hold; only when it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_listed: Option<u64>,
    /// Id of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<String>,
    /// Sequence number of the first entry; above 1 what came before was vacuumed, or is in another file.
    #[serde(skip_serializing_if = "Option::is_none")]
    head_seqnum: Option<u64>,
    /// Time of the first entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    head_time_ns: Option<Nanos>,
    /// Incompatible flags: `compressed_zstd`, `keyed_hash`, `compact` …
    incompatible_flags: Vec<String>,
    /// True when journald set it aside as not cleanly closed: its name ends in `~`.
    is_set_aside: bool,
    /// Machine that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine_id: Option<String>,
    /// Last change of the file.
    mtime_ns: Nanos,
    /// Path.
    path: String,
    /// Exact bytes of a path that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// What is wrong with it.
    problems: Vec<String>,
    /// `journal_file`.
    record: &'static str,
    /// The series that its sequence numbers belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    seqnum_id: Option<String>,
    /// Length of the file.
    size_bytes: u64,
    /// `online`, `offline` or `archived`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// Tags of Forward Secure Sealing.
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<u64>,
    /// Boot of the last entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    tail_boot_id: Option<String>,
    /// Sequence number of the last entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    tail_seqnum: Option<u64>,
    /// Time of the last entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    tail_time_ns: Option<Nanos>,
}

/// Sequence numbers between two files that no file holds.
#[derive(Serialize, JsonSchema)]
struct GapRow<'a> {
    /// The file that begins after them.
    after_path: &'a str,
    /// The file that ends before them.
    before_path: &'a str,
    /// How many are missing.
    entries_missing: u64,
    /// The first that is missing.
    first_seqnum: u64,
    /// Time of the last entry before.
    from_ns: Nanos,
    /// The last that is missing.
    last_seqnum: u64,
    /// `journal_gap`.
    record: &'static str,
    /// The series.
    seqnum_id: &'a str,
    /// Time of the first entry after.
    to_ns: Nanos,
}

/// An entry.
#[derive(Serialize, JsonSchema)]
struct EntryRow<'a> {
    /// Unit that the entry is about, where systemd itself wrote it (`UNIT`).
    #[serde(skip_serializing_if = "Option::is_none")]
    about_unit: Option<Text<'a>>,
    /// Boot.
    boot_id: String,
    /// Command line of the process (`_CMDLINE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline: Option<Text<'a>>,
    /// Image of the process (`_EXE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<Text<'a>>,
    /// What the message says, where its program is known.
    #[serde(flatten)]
    facts: LogFacts,
    /// Host (`_HOSTNAME`).
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<Text<'a>>,
    /// What the program calls itself (`SYSLOG_IDENTIFIER`).
    #[serde(skip_serializing_if = "Option::is_none")]
    identifier: Option<Text<'a>>,
    /// User of the login that the process belongs to (`_AUDIT_LOGINUID`).
    #[serde(skip_serializing_if = "Option::is_none")]
    loginuid: Option<u64>,
    /// Message.
    message: Text<'a>,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_b64: Option<Exact<'a>>,
    /// Time since the boot.
    monotonic_us: u64,
    /// The file.
    path: &'a str,
    /// Process: `_PID`, which the kernel vouches for; `SYSLOG_PID` where that is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u64>,
    /// Priority, 0 to 7 (syslog(3)).
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u64>,
    /// `journal_entry`.
    record: &'static str,
    /// Sequence number: with the file's `seqnum_id` it names the entry.
    seqnum: u64,
    /// When journald took it.
    time_ns: Nanos,
    /// How it came: `syslog`, `journal`, `stdout`, `kernel`, `audit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<Text<'a>>,
    /// True when the message is longer than the 16 KiB that are shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    /// User of the process (`_UID`).
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u64>,
    /// Unit of the process (`_SYSTEMD_UNIT`, or `_SYSTEMD_USER_UNIT`).
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<Text<'a>>,
}

impl JournalEntries {
    fn with_request<T>(&self, with: impl FnOnce(Request<'_>) -> T) -> T {
        let paths = Glob::table(&PATHS);
        with(Request { file_bytes_max: self.file_bytes_max.map(|size| size.0), ..Request::of(&paths) })
    }

    fn wants(&self, fields: &Fields) -> bool {
        let priority = fields.number(b"PRIORITY");
        let is_urgent = self.priority_max.is_none_or(|max| priority.is_some_and(|at| at <= u64::from(max)));
        let names = [b"_SYSTEMD_UNIT".as_slice(), b"_SYSTEMD_USER_UNIT", b"UNIT", b"SYSLOG_IDENTIFIER"];
        let is_named = |unit: &String| names.iter().any(|name| fields.get(name) == Some(unit.as_bytes()));
        is_urgent && (self.units.is_empty() || self.units.iter().any(is_named))
    }
}

impl Collect for JournalEntries {
    const NAME: &'static str = "journal";
    const TIER: Tier = Tier::Logs;
    const SUMMARY: &'static str = "The systemd journal: entries of a window, facts and gaps of the files, the files.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let window = Window::new(self.since, self.until, DAYS, session.now());
        let mut copier = Copier::new(session, self.file_bytes_max.map(|size| size.0));
        let mut files = Files::default();
        self.with_request(|request| {
            request.each(session, |session, entry, asked| {
                if !asked.is_empty() && entry.file_type() == Type::File {
                    files.look(session, entry, window)?;
                }
                let is_old = entry.file_type() == Type::File && changed(entry).0 < window.from.0;
                if self.rows_only || is_old { Ok(()) } else { copier.hand_over(session, entry) }
            })
        })?;
        files.opened.sort_by_key(|file| std::cmp::Reverse(file.journal.header().tail_entry_realtime_us));
        let mut reading = Reading {
            window,
            entries_left: self.entries_max.unwrap_or(ENTRIES_MAX),
            events_left: EVENTS_MAX,
            is_limit_told: false,
        };
        for mut file in std::mem::take(&mut files.opened) {
            let entries = entries_of(session, &mut file)?;
            reading.read(self, session, &mut file, &entries)?;
            if let Some(row) = files.rows.get_mut(file.row) {
                row.entries_listed = Some(entries.listed);
                row.entries_found = entries.lying;
                row.problems.extend(entries.problems);
            }
        }
        for row in &files.rows {
            session.row(row)?;
        }
        Ok(gaps(session, &files.rows)?)
    }

    fn rows() -> Vec<RowType> {
        let format = "journalctl(1), systemd.journal-fields(7), JOURNAL_FILE_FORMAT of systemd";
        vec![
            RowType::of::<EntryRow<'static>>("journal_entry", format),
            RowType::of::<FileRow>("journal_file", format),
            RowType::of::<GapRow<'static>>("journal_gap", format),
        ]
    }

    fn plan(&self, host: &Host) -> Plan {
        self.with_request(|request| request.plan(host))
    }
}

/// The files that were found.
#[derive(Default)]
struct Files {
    rows: Vec<FileRow>,
    opened: Vec<OpenFile>,
}

struct OpenFile {
    journal: Journal,
    path: String,
    row: usize,
}

impl Files {
    fn look(&mut self, session: &mut Session, entry: &walk::Entry<'_>, window: Window) -> Result<(), Stopped> {
        if self.rows.len() >= FILE_ROWS_MAX {
            return session.limited(format!("more than {FILE_ROWS_MAX} journal files"));
        }
        let (path, path_b64) = shown(entry.path);
        let journal = match copy::open(entry) {
            Ok((opened, stat)) if Type::of(stat.stx_mode) == Type::File => {
                Journal::open(File::from(opened), stat.stx_size)
            }
            Ok(_) => Err(Broken::Format("it was replaced by something that is no regular file".to_owned())),
            Err(error) => Err(error.into()),
        };
        if let Err(Broken::Read(error)) = &journal {
            session.unreadable(entry.path, error)?;
        }
        let mut row = file_row(&journal, entry);
        (row.path, row.path_b64) = (path.clone(), path_b64);
        self.rows.push(row);
        let Ok(mut journal) = journal else { return Ok(()) };
        session.spend(journal.take_read_bytes())?;
        let header = journal.header();
        let last_ns = i128::from(header.tail_entry_realtime_us) * 1000;
        // The header of a file that is written right now may be behind: then the file's own time says more.
        let is_wanted = last_ns.max(changed(entry).0) >= window.from.0
            && i128::from(header.head_entry_realtime_us) * 1000 <= window.until.0;
        if !is_wanted {
            return Ok(());
        }
        if self.opened.len() >= FILES_MAX {
            let rule = format!("more than {FILES_MAX} journal files in the window: its entries are not read");
            let item = session.item(Kind::Record, entry.path, "read", Status::Skipped);
            session.note(item.because(rule.clone()))?;
            return session.limited(rule);
        }
        self.opened.push(OpenFile { journal, path, row: self.rows.len() - 1 });
        Ok(())
    }
}

fn file_row(journal: &Result<Journal, Broken>, entry: &walk::Entry<'_>) -> FileRow {
    let mut row = FileRow {
        compatible_flags: Vec::new(),
        entries: None,
        entries_found: None,
        entries_listed: None,
        file_id: None,
        head_seqnum: None,
        head_time_ns: None,
        incompatible_flags: Vec::new(),
        is_set_aside: entry.path.ends_with(b"~"),
        machine_id: None,
        mtime_ns: Nanos(changed(entry).0),
        path: String::new(),
        path_b64: None,
        problems: Vec::new(),
        record: "journal_file",
        seqnum_id: None,
        size_bytes: entry.stat.stx_size,
        state: None,
        tags: None,
        tail_boot_id: None,
        tail_seqnum: None,
        tail_time_ns: None,
    };
    match journal {
        Err(broken) => row.problems.push(broken.to_string()),
        Ok(journal) => {
            describe(&mut row, journal.header());
            row.problems = journal.problems();
        }
    }
    row
}

fn describe(row: &mut FileRow, header: &Header) {
    let time = |us: u64| (us != 0).then(|| Nanos(i128::from(us) * 1000));
    (row.compatible_flags, row.incompatible_flags) = header.flag_names();
    row.entries = Some(header.entries);
    row.file_id = Some(hex(&header.file_id));
    row.head_seqnum = Some(header.head_entry_seqnum);
    row.head_time_ns = time(header.head_entry_realtime_us);
    row.machine_id = Some(hex(&header.machine_id));
    row.seqnum_id = Some(hex(&header.seqnum_id));
    row.state = Some(header.state_name());
    row.tags = header.tags;
    row.tail_boot_id = Some(hex(&header.tail_entry_boot_id));
    row.tail_seqnum = Some(header.tail_entry_seqnum);
    row.tail_time_ns = time(header.tail_entry_realtime_us);
}

fn hex(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

/// The entries of a file, and what is to be said of them.
struct Found {
    offsets: Vec<u64>,
    listed: u64,
    lying: Option<u64>,
    problems: Vec<String>,
}

fn entries_of(session: &mut Session, file: &mut OpenFile) -> Result<Found, Stopped> {
    let journal = &mut file.journal;
    let Entries { mut offsets, problem } = journal.entries();
    session.spend(journal.take_read_bytes())?;
    let mut problems: Vec<String> = problem.into_iter().collect();
    let listed = offsets.len() as u64;
    let mut lying = None;
    if !problems.is_empty() || listed < journal.header().entries {
        let mut stopped = None;
        let scanned = journal.scan(|bytes| {
            stopped = session.spend(bytes).err();
            stopped.is_none()
        });
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        problems.extend(scanned.problem);
        offsets.extend(scanned.offsets);
        offsets.sort_unstable();
        offsets.dedup();
        lying = Some(offsets.len() as u64);
        problems.push(format!("its lists hold {listed} entries, its header counts {}", journal.header().entries));
    }
    Ok(Found { offsets, listed, lying, problems })
}

struct Reading {
    window: Window,
    entries_left: u64,
    events_left: u32,
    is_limit_told: bool,
}

impl Reading {
    fn read(
        &mut self,
        asked: &JournalEntries,
        session: &mut Session,
        file: &mut OpenFile,
        entries: &Found,
    ) -> Result<(), Stopped> {
        let mut old_in_a_row = 0;
        let mut damaged: u64 = 0;
        for offset in entries.offsets.iter().rev() {
            session.spend(file.journal.take_read_bytes())?;
            let Ok(entry) = file.journal.entry(*offset) else {
                damaged += 1;
                continue;
            };
            let at = Instant(i128::from(entry.realtime_us) * 1000);
            if at.0 < self.window.from.0 {
                old_in_a_row += 1;
                if old_in_a_row > OLD_ENTRIES_MAX {
                    break;
                }
                continue;
            }
            old_in_a_row = 0;
            if !self.window.holds(at) {
                continue;
            }
            let fields = Fields::read(&mut file.journal, &entry);
            damaged += fields.damaged;
            if !asked.wants(&fields) {
                continue;
            }
            if self.entries_left == 0 {
                self.tell_limit(session)?;
                break;
            }
            self.entries_left -= 1;
            self.hand_over(session, &file.path, &entry, &fields)?;
        }
        if damaged > 0 {
            let item = session.item(Kind::Record, file.path.as_bytes(), "read", Status::Error);
            session.note(item.because(format!("{damaged} entries or fields are damaged")))?;
        }
        Ok(())
    }

    fn tell_limit(&mut self, session: &mut Session) -> Result<(), Stopped> {
        if !std::mem::replace(&mut self.is_limit_told, true) {
            session.limited("entries_max of the journal is reached: older entries are only in the files")?;
        }
        Ok(())
    }

    fn hand_over(&mut self, session: &mut Session, path: &str, entry: &Entry, fields: &Fields) -> Result<(), Stopped> {
        let message = fields.get(b"MESSAGE").unwrap_or_default();
        let text = String::from_utf8_lossy(message);
        let identifier = fields.get(b"SYSLOG_IDENTIFIER").or_else(|| fields.get(b"_COMM"));
        let facts = LogFacts::of(&String::from_utf8_lossy(identifier.unwrap_or_default()), &text);
        let priority = fields.number(b"PRIORITY");
        let at = Instant(i128::from(entry.realtime_us) * 1000);
        if (facts.is_notable() || priority.is_some_and(|priority| priority <= CRITICAL)) && self.events_left > 0 {
            self.events_left -= 1;
            let (program, _) = shown(identifier.unwrap_or_default());
            let message = format!("{program}: {}", text.chars().take(500).collect::<String>());
            session.event(Event { at, desc: "Written Time", message, data_type: "systemd:journal" })?;
        }
        session.flattened_row(&EntryRow {
            about_unit: fields.text(b"UNIT"),
            boot_id: hex(&entry.boot_id),
            cmdline: fields.text(b"_CMDLINE"),
            exe: fields.text(b"_EXE"),
            facts,
            hostname: fields.text(b"_HOSTNAME"),
            identifier: fields.text(b"SYSLOG_IDENTIFIER"),
            loginuid: fields.number(b"_AUDIT_LOGINUID"),
            message: Text(message),
            message_b64: Exact::of(message),
            monotonic_us: entry.monotonic_us,
            path,
            pid: fields.number(b"_PID").or_else(|| fields.number(b"SYSLOG_PID")),
            priority,
            record: "journal_entry",
            seqnum: entry.seqnum,
            time_ns: Nanos(at.0),
            transport: fields.text(b"_TRANSPORT"),
            truncated: fields.is_message_cut,
            uid: fields.number(b"_UID"),
            unit: fields.text(b"_SYSTEMD_UNIT").or_else(|| fields.text(b"_SYSTEMD_USER_UNIT")),
        })
    }
}

/// The fields of an entry.
struct Fields {
    values: Vec<(Vec<u8>, Vec<u8>)>,
    is_message_cut: bool,
    damaged: u64,
}

impl Fields {
    fn read(journal: &mut Journal, entry: &Entry) -> Self {
        let mut all = Self { values: Vec::with_capacity(entry.fields.len()), is_message_cut: false, damaged: 0 };
        for offset in &entry.fields {
            let Ok(field) = journal.field(*offset, FIELD_BYTES_MAX) else {
                all.damaged += 1;
                continue;
            };
            let Some((name, value)) = field.split() else { continue };
            all.is_message_cut |= field.is_cut && name == b"MESSAGE";
            all.values.push((name.to_vec(), value.to_vec()));
        }
        all
    }

    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.values.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_slice())
    }

    fn text(&self, name: &[u8]) -> Option<Text<'_>> {
        self.get(name).map(Text)
    }

    fn number(&self, name: &[u8]) -> Option<u64> {
        decimal(self.get(name)?)
    }
}

/// One row for each run of sequence numbers that lies between two files of a series and in none of them. The journals of
/// users share the series of the system's, so all files of a series are looked at together.
fn gaps(session: &mut Session, rows: &[FileRow]) -> Result<(), Stopped> {
    type Span<'a> = (&'a str, u64, u64, &'a FileRow);
    let span = |row| -> Option<Span<'_>> {
        let row: &FileRow = row;
        Some((row.seqnum_id.as_deref()?, row.head_seqnum?, row.tail_seqnum?, row))
    };
    let mut spans: Vec<Span<'_>> =
        rows.iter().filter_map(span).filter(|(_, head, tail, _)| head <= tail && *tail > 0).collect();
    spans.sort_by_key(|(id, head, tail, _)| (*id, *head, *tail));
    let mut furthest: Option<Span<'_>> = None;
    for next in spans {
        if let Some((id, _, tail, before)) = furthest
            && id == next.0
        {
            if next.1 > tail.saturating_add(1) {
                session.row(&GapRow {
                    after_path: &next.3.path,
                    before_path: &before.path,
                    entries_missing: next.1 - tail - 1,
                    first_seqnum: tail + 1,
                    from_ns: before.tail_time_ns.unwrap_or(Nanos(0)),
                    last_seqnum: next.1 - 1,
                    record: "journal_gap",
                    seqnum_id: id,
                    to_ns: next.3.head_time_ns.unwrap_or(Nanos(0)),
                })?;
            }
            if next.2 <= tail {
                continue;
            }
        }
        furthest = Some(next);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::host::FixedClock;
    use crate::host::journal::tests::{COMPACT, REGULAR, unpacked};
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    const FOLDER: &str = "var/log/journal/fedcba9876543210fedcba9876543210";

    fn host(root: &Path) -> Arc<Host> {
        let now: jiff::Timestamp = "2025-12-01T00:00:00Z".parse().unwrap();
        Arc::new(Host::at(root, FixedClock(Instant(now.as_nanosecond()))))
    }

    fn of<'a>(rows: &'a [serde_json::Value], record: &str) -> Vec<&'a serde_json::Value> {
        rows.iter().filter(|row| row["record"] == record).collect()
    }

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(FOLDER)).unwrap();
        for (name, content) in files {
            std::fs::write(root.path().join(FOLDER).join(name), content).unwrap();
        }
        root
    }

    #[test]
    fn entries_files_and_typed_facts_become_rows() {
        let root = tree(&[("system.journal", &unpacked(REGULAR)), ("user-1000.journal", &unpacked(COMPACT))]);
        let messages = collect(&JournalEntries::default(), host(root.path()));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let entries = of(&rows, "journal_entry");
        assert_eq!(entries.len(), 80);
        let ssh: Vec<_> = entries.iter().filter(|row| row["event"] == "ssh_accepted").collect();
        assert_eq!(ssh.len(), 2);
        assert_eq!(
            (&ssh[0]["user"], &ssh[0]["address"], &ssh[0]["port"]),
            (&"root".into(), &"192.0.2.7".into(), &50022.into())
        );
        assert_eq!((&ssh[0]["unit"], &ssh[0]["pid"], &ssh[0]["uid"]), (&"ssh.service".into(), &811.into(), &0.into()));
        assert!(entries.iter().any(|row| row["message_b64"].is_string() && row["identifier"] == "odd"));
        assert!(entries.iter().any(|row| row["about_unit"] == "fx.service"));
        let files = of(&rows, "journal_file");
        assert_eq!(files.len(), 2);
        assert_eq!(files[0]["entries_listed"], 40);
        assert_eq!(files[0]["problems"], serde_json::json!([]));
        assert_eq!(files[1]["incompatible_flags"], serde_json::json!(["keyed_hash", "compressed_zstd", "compact"]));
        let events: Vec<_> = messages.iter().filter(|message| matches!(message, Message::Event(_))).collect();
        assert_eq!(events.len(), 2, "only what is notable");
        let whole = items(&messages).into_iter().filter(|item| item.path.ends_with(b".journal")).count();
        assert_eq!(whole, 2, "the files themselves");
    }

    #[test]
    fn windows_units_and_limits_leave_out() {
        let root = tree(&[("system.journal", &unpacked(REGULAR))]);
        let count = |with: serde_json::Value| {
            let step: JournalEntries = serde_json::from_value(with).unwrap();
            let messages = collect(&step, host(root.path()));
            (of(&rows(&messages), "journal_entry").len(), messages.iter().any(|m| matches!(m, Message::Limited(_))))
        };
        assert_eq!(count(serde_json::json!({"units": ["ssh.service"]})), (1, false));
        assert_eq!(count(serde_json::json!({"priority_max": 4})), (2, false));
        assert_eq!(count(serde_json::json!({"entries_max": 40})), (40, false));
        assert_eq!(count(serde_json::json!({"entries_max": 39})), (39, true));
        assert_eq!(count(serde_json::json!({"since": "2025-11-30T10:53:30Z"})), (30, false));
        assert_eq!(count(serde_json::json!({"until": "2025-11-30T10:53:20Z"})), (1, false));
    }

    #[test]
    fn missing_files_damage_and_pipes_are_told() {
        let mut early = unpacked(REGULAR);
        let mut late = unpacked(REGULAR);
        // The same series, entries 101 to 140.
        late[160..168].copy_from_slice(&140_u64.to_le_bytes());
        late[168..176].copy_from_slice(&101_u64.to_le_bytes());
        let seqnum = u64::from_le_bytes(early[160..168].try_into().unwrap());
        early[176..184].copy_from_slice(&[0; 8]);
        let root = tree(&[("a.journal", &early), ("b.journal", &late), ("c.journal~", b"LPKS"), ("d.journal", b"")]);
        let pipe = root.path().join(FOLDER).join("e.journal");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let messages = collect(&JournalEntries::default(), host(root.path()));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let gaps = of(&rows, "journal_gap");
        assert_eq!(gaps.len(), 1);
        assert_eq!((gaps[0]["first_seqnum"].as_u64(), gaps[0]["last_seqnum"].as_u64()), (Some(seqnum + 1), Some(100)));
        let files = of(&rows, "journal_file");
        assert_eq!(files.len(), 4);
        assert_eq!((files[0]["entries_listed"].as_u64(), files[0]["entries_found"].as_u64()), (Some(0), Some(40)));
        assert!(files[2]["is_set_aside"] == true && files[2]["problems"][0].is_string());
        assert_eq!(of(&rows, "journal_entry").len(), 80);
    }

    #[test]
    fn the_live_host_is_read_or_says_why_not() {
        let messages = collect(&JournalEntries::default(), Arc::new(Host::live()));
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
        let is_told = items(&messages).iter().any(|item| item.reason.is_some());
        assert!(is_told || !of(&rows(&messages), "journal_file").is_empty());
    }
}
