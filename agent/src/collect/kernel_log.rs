//! The kernel's log, from its own buffer: what it said since the boot, as far as the buffer reaches.
//!
//! One row per record (`kernel_message`), in order. `/dev/kmsg` has more than dmesg(1) shows: clearing the log
//! (`dmesg -C`) only moves the place from which syslog(2) shows it. Each reader has a place of its own, so that nothing
//! is taken away from the daemon. A gap in `sequence` is where records were overwritten.
//!
//! Known limits: without CAP_SYSLOG, where `kernel.dmesg_restrict` is set, it may not be opened; times are of a clock
//! that stands still while the machine sleeps, so that `time_ns` is late after each sleep; any process that may write to
//! `/dev/kmsg` can put records into it, which then have the facility `user`.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use bundle::item::{Kind, Nanos, Status, shown};
use rustix::fs::{FileType, Mode, OFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::text::decimal;
use crate::host::{Host, regular};
use crate::run::session::{Session, Stopped};

const PATH: &str = "/dev/kmsg";
/// The device's number (drivers/char/mem.c): something else may have been given the name.
const DEVICE: (u32, u32) = (1, 11);
/// A record has at most this many bytes (PRINTK_MESSAGE_MAX is 2048, with its properties 8192).
const RECORD_BYTES_MAX: usize = 16 << 10;
/// Records and bytes that are taken: a buffer has at most 32 MiB (CONFIG_LOG_BUF_SHIFT 25).
const RECORDS_MAX: usize = 500_000;
const LOG_BYTES_MAX: usize = 64 << 20;

const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const FACILITIES: [&str; 12] =
    ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelLog {}

/// A record of the kernel's log.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
struct Row {
    /// Who wrote it, where the kernel keeps it: `T` and a thread, or `C` and a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    /// kern for the kernel itself; user and others for programs.
    facility: String,
    /// True for a piece of a line that goes on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_piece: bool,
    /// emerg, alert, crit, err, warning, notice, info, debug.
    level: String,
    /// What it is about: SUBSYSTEM, DEVICE.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<String, String>,
    /// `kernel_message`.
    record: &'static str,
    /// Its number since the boot, without gaps.
    sequence: u64,
    /// When, by the kernel's clock since the boot.
    since_boot_us: u64,
    /// Its text; the kernel writes bytes that are no text as `\xNN`.
    text: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_b64: Option<String>,
    /// When, since the epoch: the same against the clocks as they are now.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<Nanos>,
}

impl Collect for KernelLog {
    const NAME: &'static str = "kernel_log";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "The kernel's log since the boot, from /dev/kmsg, what dmesg -C hides included";
    const NEEDS: &'static [&'static str] = &["CAP_SYSLOG"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        if !session.host().is_live() {
            let item = session.item(Kind::Record, PATH, "kmsg", Status::Skipped);
            return Ok(session.note(item.because("only a live kernel has a log"))?);
        }
        let opened = open(session.host());
        let mut log = match opened {
            Ok(log) => log,
            Err(error) => return Ok(session.unreadable(PATH, &error)?),
        };
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let boot = session.now().0 - i128::from(monotonic.tv_sec) * 1_000_000_000 - i128::from(monotonic.tv_nsec);
        let mut raw = Vec::new();
        let mut room = vec![0; RECORD_BYTES_MAX];
        for _ in 0..RECORDS_MAX {
            session.go_on()?;
            let read = match log.read(&mut room) {
                Ok(0) => break,
                Ok(read) => read,
                // Records were overwritten before they were read: the next read goes on with the oldest there is.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(keep(session, raw)?),
                Err(error) => {
                    session.unreadable(PATH, &error)?;
                    return Ok(keep(session, raw)?);
                }
            };
            let bytes = room.get(..read).unwrap_or_default();
            if raw.len() + bytes.len() > LOG_BYTES_MAX {
                break;
            }
            match record(bytes) {
                Some(row) => {
                    let time = boot + i128::from(row.since_boot_us) * 1000;
                    session.row(&Row { time_ns: Some(Nanos(time)), ..row })?;
                }
                None => {
                    session.unreadable(PATH, &io::Error::other("a record that does not parse; see the raw text"))?;
                }
            }
            raw.extend_from_slice(bytes);
        }
        session.limited(format!("{PATH}: more than {RECORDS_MAX} records or {LOG_BYTES_MAX} bytes"))?;
        Ok(keep(session, raw)?)
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row>("kernel_message", "Documentation/ABI/testing/dev-kmsg")]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan { reads: vec![PATH.to_owned()], ..Plan::default() }
    }
}

/// Looks at what has the name before it is opened: opening some devices acts.
fn open(host: &Host) -> io::Result<std::fs::File> {
    let found = rustix::fs::open(host.path(PATH), OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&found)?;
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || device != DEVICE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not the device of the kernel's log"));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(regular::fd_path(&found), flags, Mode::empty())?.into())
}

fn keep(session: &mut Session, raw: Vec<u8>) -> Result<(), Stopped> {
    if raw.is_empty() { Ok(()) } else { session.raw(PATH, "kmsg", "kmsg.txt", raw) }
}

/// `PRIORITY,SEQUENCE,MICROSECONDS,FLAG[,caller=X];TEXT`, then lines ` KEY=VALUE`.
fn record(bytes: &[u8]) -> Option<Row> {
    let semicolon = bytes.iter().position(|byte| *byte == b';')?;
    let (head, text) = bytes.split_at(semicolon);
    let mut fields = head.split(|byte| *byte == b',');
    let priority = decimal(fields.next()?)?;
    let (sequence, since_boot_us, flag) = (decimal(fields.next()?)?, decimal(fields.next()?)?, fields.next()?);
    let caller = fields.find_map(|field| field.strip_prefix(b"caller="));
    let mut lines = text.get(1..)?.split(|byte| *byte == b'\n');
    let (text, text_b64) = shown(lines.next().unwrap_or_default());
    let properties = lines.filter_map(|line| {
        let line = line.strip_prefix(b" ")?;
        let equal = line.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((text(line.get(..equal)?), text(line.get(equal + 1..)?)))
    });
    let named = |names: &[&str], number: u64| {
        let name = usize::try_from(number).ok().and_then(|number| names.get(number));
        name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
    };
    Some(Row {
        caller: caller.map(|caller| String::from_utf8_lossy(caller).into_owned()),
        facility: named(&FACILITIES, priority >> 3),
        is_piece: flag == b"c",
        level: named(&LEVELS, priority & 7),
        properties: properties.collect(),
        record: "kernel_message",
        sequence,
        since_boot_us,
        text,
        text_b64,
        time_ns: None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    #[test]
    fn records_and_what_is_none() {
        let row = record(
            b"4,339,5140900,-,caller=T1;rk: loading out-of-tree module\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n",
        )
        .unwrap();
        assert_eq!((row.facility.as_str(), row.level.as_str(), row.sequence), ("kern", "warning", 339));
        assert_eq!((row.text.as_str(), row.caller.as_deref()), ("rk: loading out-of-tree module", Some("T1")));
        assert_eq!(row.properties.len(), 2);
        let row = record(b"30,1,2,c;a;b\xff").unwrap();
        assert_eq!((row.facility.as_str(), row.is_piece, row.text_b64.as_deref()), ("daemon", true, Some("YTti/w==")));
        assert_eq!(record(b"999,1,2,-;").unwrap().facility, "124");
        for bad in [&b""[..], b"4,339", b"4,339,x,-;t", b";", b"-1,1,1,-;t"] {
            assert_eq!(record(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_live_kernel_has_said_something_or_it_is_refused() {
        let messages = collect(&KernelLog {}, Arc::new(Host::live()));
        assert_keys_sorted(&messages);
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
        let rows = rows(&messages);
        let in_order = rows.windows(2).all(|two| two[0]["sequence"].as_u64() < two[1]["sequence"].as_u64());
        assert!(in_order);
        assert!(!rows.is_empty() || !items(&messages).is_empty());
    }
}
