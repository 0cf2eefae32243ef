//! What kind of host this is and what its clocks show: the reference points for everything else in a bundle.
//!
//! One row per fact, named by its key `fact`; disks have one row each. Facts, in order: clock, timezone, boot, hostname,
//! machine_id, os_release, kernel, kernel_stat, cpu, memory, load, disk …, partitions, swaps, dmi, surroundings,
//! security. Values are the texts of the files they come from unless a unit stands in the key.
//!
//! No file system is asked for its size and no block device is opened: both can wait for a disk that is gone.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::item::{Kind, Nanos, Status};
use bundle::time::Instant;
use rustix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::text::{Number, key_value};
use crate::host::{Host, identity, proc, sys};
use crate::run::session::{Session, Stopped};

/// Bytes of a file that a fact is made from.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of cpuinfo: some 2 KiB per processor.
const CPUINFO_BYTES_MAX: u64 = 16 << 20;
/// Block devices that are described.
const DISKS_MAX: usize = 4096;
/// STA_UNSYNC of adjtimex(2).
const STA_UNSYNC: i32 = 0x40;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFacts {}

/// Takes one fact, or a few that belong together.
type Take = fn(&mut Session) -> Result<(), Stopped>;

/// One fact: its name under `fact`, and what is known, keys sorted.
#[derive(Serialize)]
#[serde(transparent)]
struct Fact(BTreeMap<String, Value>);

/// One fact about the host. What stands beside `fact` depends on it: numbers and texts under the names that their
/// sources give them, with the unit as the last word.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "says what a fact looks like")]
struct FactRow {
    /// clock, timezone, boot, hostname, machine_id, os_release, kernel, kernel_stat, cpu, memory, load, disk, partitions,
    /// swaps, dmi, surroundings or security.
    fact: String,
}

impl Collect for HostFacts {
    const NAME: &'static str = "host_facts";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Clocks, names, system, kernel, processor, memory, disks, firmware, container or VM";
    const NEEDS: &'static [&'static str] = &["root"];

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<FactRow>(Self::NAME, "proc(5), sysfs(5), os-release(5), adjtimex(2), uname(2)")]
    }

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let facts: [Take; 13] = [
            clock,
            timezone,
            boot,
            names,
            os_release,
            kernel,
            cpu,
            memory_and_load,
            disks,
            lists,
            dmi,
            surroundings,
            security,
        ];
        for fact in facts {
            session.go_on()?;
            fact(session)?;
        }
        Ok(())
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads =
            ["/proc", "/proc/sys/kernel", "/sys/block", "/sys/class/dmi/id", "/sys/class/rtc", "/sys/kernel/security"];
        let files = ["/etc/hostname", "/etc/machine-id", "/etc/os-release", "/etc/localtime", "/etc/timezone"];
        Plan { reads: reads.iter().chain(&files).map(|path| (*path).to_owned()).collect(), ..Plan::default() }
    }
}

impl Fact {
    fn named(name: &str) -> Self {
        Self(BTreeMap::from([("fact".to_owned(), name.into())]))
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Bytes as text, with the exact ones beside it when they are no text.
    fn put_bytes(&mut self, key: &str, bytes: &[u8]) {
        if str::from_utf8(bytes).is_err() {
            self.put(&format!("{key}_b64"), BASE64_STANDARD.encode(bytes));
        }
        self.put(key, String::from_utf8_lossy(bytes).into_owned());
    }

    /// The content of a file without the blanks around it. One that is not there is noted as such.
    fn put_file(&mut self, session: &mut Session, key: &str, path: &str) -> Result<(), Stopped> {
        if let Some(bytes) = read(session, path)? {
            self.put_bytes(key, bytes.trim_ascii());
        }
        Ok(())
    }

    /// The lines of a file.
    fn put_lines(&mut self, session: &mut Session, key: &str, path: &str) -> Result<(), Stopped> {
        if let Some(bytes) = read(session, path)? {
            let lines = String::from_utf8_lossy(&bytes);
            self.put(key, lines.lines().map(str::to_owned).collect::<Vec<_>>());
        }
        Ok(())
    }

    fn hand_over(self, session: &mut Session) -> Result<(), Stopped> {
        session.row(&self)
    }
}

/// Reads a file; what cannot be read is noted, a missing one as `skipped`.
fn read(session: &mut Session, path: &str) -> Result<Option<Vec<u8>>, Stopped> {
    read_at_most(session, path, FILE_BYTES_MAX)
}

fn read_at_most(session: &mut Session, path: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, Stopped> {
    match session.host().read(path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let item = session.item(Kind::Record, path, "read", Status::Skipped);
            session.note(item.because("there is no such file"))?;
            Ok(None)
        }
        Err(error) => {
            let item = session.item(Kind::Record, path, "read", Status::Error).failed(&error);
            session.note(item)?;
            Ok(None)
        }
    }
}

fn nanos(value: impl Into<i128>) -> Value {
    serde_json::to_value(Nanos(value.into())).unwrap_or(Value::Null)
}

/// `realtime`, `boottime_ns`, `monotonic_ns` (without the time asleep), what the kernel knows of its synchronisation
/// (adjtimex(2)), and the hardware clock in seconds since the epoch.
fn clock(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("clock");
    let host = session.host().clone();
    fact.put("realtime", session.now().to_string());
    fact.put("boottime_ns", nanos(host.clock().boottime_ns()));
    if host.is_live() {
        let monotonic = clock_gettime(ClockId::Monotonic);
        fact.put("monotonic_ns", nanos(i128::from(monotonic.tv_sec) * 1_000_000_000 + i128::from(monotonic.tv_nsec)));
        match sys::clock_discipline() {
            Ok(known) => {
                fact.put("ntp_synchronised", known.state != 5 && known.status & STA_UNSYNC == 0);
                fact.put("ntp_state", known.state);
                fact.put("ntp_status", known.status);
                fact.put("ntp_estimated_error_us", known.estimated_error_us);
                fact.put("ntp_maximum_error_us", known.maximum_error_us);
                fact.put("tai_offset_secs", known.tai_offset_secs);
            }
            Err(error) => {
                let item = session.item(Kind::Record, *b"adjtimex", "syscall", Status::Error).failed(&error);
                session.note(item)?;
            }
        }
    }
    fact.put_file(session, "rtc_secs", "/sys/class/rtc/rtc0/since_epoch")?;
    fact.put_file(session, "clocksource", "/sys/devices/system/clocksource/clocksource0/current_clocksource")?;
    fact.hand_over(session)
}

fn timezone(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("timezone");
    let host = session.host().clone();
    fact.put("name", identity::timezone(&host));
    match host.read_link("/etc/localtime") {
        Ok(target) => fact.put_bytes("localtime", &target),
        // A copy of a zone file is no link (EINVAL).
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => fact.put("localtime", "not a link"),
        Err(error) => session.unreadable(*b"/etc/localtime", &error)?,
    }
    fact.put_file(session, "timezone_file", "/etc/timezone")?;
    fact.hand_over(session)
}

fn boot(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("boot");
    let host = session.host().clone();
    let booted = session.now().0 - i128::from(host.clock().boottime_ns());
    fact.put("booted", Instant(booted).to_string());
    fact.put_file(session, "boot_id", "/proc/sys/kernel/random/boot_id")?;
    fact.put_file(session, "uptime_and_idle_secs", "/proc/uptime")?;
    fact.hand_over(session)
}

fn names(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("hostname");
    fact.put_file(session, "kernel", "/proc/sys/kernel/hostname")?;
    fact.put_file(session, "domain", "/proc/sys/kernel/domainname")?;
    fact.put_file(session, "etc_hostname", "/etc/hostname")?;
    fact.hand_over(session)?;
    let mut fact = Fact::named("machine_id");
    fact.put_file(session, "machine_id", "/etc/machine-id")?;
    fact.hand_over(session)
}

/// Every key of os-release(5) under `entries`, and the other files that name the system.
fn os_release(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("os_release");
    for path in identity::OS_RELEASE {
        let Some(bytes) = read(session, path)? else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let entries: BTreeMap<&str, String> = identity::os_release(&text).into_iter().collect();
        fact.put("entries", json!(entries));
        fact.put("path", path);
        break;
    }
    for (key, path) in [
        ("debian_version", "/etc/debian_version"),
        ("issue", "/etc/issue"),
        ("issue_net", "/etc/issue.net"),
        ("lsb_release", "/etc/lsb-release"),
        ("redhat_release", "/etc/redhat-release"),
    ] {
        // The system that a host runs has one or two of these; the absence of the others is not worth an item.
        if let Ok(bytes) = session.host().read(path, FILE_BYTES_MAX) {
            fact.put_bytes(key, bytes.trim_ascii());
        }
    }
    fact.hand_over(session)
}

fn kernel(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("kernel");
    if session.host().is_live() {
        let uname = rustix::system::uname();
        fact.put_bytes("uname_machine", uname.machine().to_bytes());
        fact.put_bytes("uname_nodename", uname.nodename().to_bytes());
        fact.put_bytes("uname_release", uname.release().to_bytes());
        fact.put_bytes("uname_sysname", uname.sysname().to_bytes());
        fact.put_bytes("uname_version", uname.version().to_bytes());
    }
    fact.put_file(session, "version", "/proc/version")?;
    fact.put_file(session, "cmdline", "/proc/cmdline")?;
    fact.hand_over(session)?;
    let mut fact = Fact::named("kernel_stat");
    fact.put_lines(session, "lines", "/proc/stat")?;
    fact.hand_over(session)
}

/// The first processor's lines of cpuinfo, how many there are, and on the live host frequencies in MHz.
fn cpu(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("cpu");
    if let Some(cpuinfo) = read_at_most(session, "/proc/cpuinfo", CPUINFO_BYTES_MAX)? {
        let cpuinfo = String::from_utf8_lossy(&cpuinfo);
        let mut blocks = cpuinfo.split("\n\n").filter(|block| !block.trim().is_empty());
        let first: BTreeMap<&str, &str> =
            blocks.next().unwrap_or_default().lines().filter_map(|line| line.split_once(':')).map(trimmed).collect();
        fact.put("cpuinfo", json!(first));
        fact.put("logical_cores", cpuinfo.lines().filter(|line| line.starts_with("processor")).count());
    }
    if session.host().is_live() {
        use sysinfo::{CpuRefreshKind, RefreshKind, System};
        let wanted = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing().with_frequency());
        // It reads the same kernel files; where it cannot, cpuinfo above is what there is.
        if let Ok(system) = System::new_with_specifics(wanted) {
            let cpus = system.cpus();
            fact.put("brand", cpus.first().map(|cpu| cpu.brand().to_owned()));
            fact.put("vendor", cpus.first().map(|cpu| cpu.vendor_id().to_owned()));
            fact.put("frequencies_mhz", cpus.iter().map(sysinfo::Cpu::frequency).collect::<Vec<_>>());
        }
        fact.put("physical_cores", System::physical_core_count().ok());
    }
    fact.hand_over(session)
}

fn trimmed<'a>((key, value): (&'a str, &'a str)) -> (&'a str, &'a str) {
    (key.trim(), value.trim())
}

/// Every line of meminfo by the kernel's name, in KiB where the kernel says `kB` and in units where it says nothing
/// (HugePages); load averages and counts of processes as loadavg has them. A parser with a fixed list of names would
/// lose what a later kernel adds.
fn memory_and_load(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("memory");
    if let Some(meminfo) = read(session, "/proc/meminfo")? {
        for (name, value) in meminfo.split(|byte| *byte == b'\n').filter_map(key_value) {
            let (digits, unit) = value.strip_suffix(b" kB").map_or((value, ""), |digits| (digits, "_kib"));
            let key = format!("{}{unit}", String::from_utf8_lossy(name));
            match Number::parse(digits).and_then(Number::unsigned) {
                Some(number) => fact.put(&key, number),
                None => fact.put_bytes(&key, value),
            }
        }
    }
    fact.hand_over(session)?;
    let mut fact = Fact::named("load");
    fact.put_file(session, "loadavg", "/proc/loadavg")?;
    fact.hand_over(session)
}

/// One row per block device: what sysfs says of it. `sectors512` are units of 512 bytes, whatever the disk's own.
fn disks(session: &mut Session) -> Result<(), Stopped> {
    use std::os::fd::AsFd as _;
    const ATTRIBUTES: [(&str, &str); 14] = [
        ("dev", "dev"),
        ("diskseq", "diskseq"),
        ("firmware", "device/firmware_rev"),
        ("loop_backing_file", "loop/backing_file"),
        ("model", "device/model"),
        ("dm_name", "dm/name"),
        ("dm_uuid", "dm/uuid"),
        ("removable", "removable"),
        ("ro", "ro"),
        ("rotational", "queue/rotational"),
        ("sectors512", "size"),
        ("serial", "serial"),
        ("vendor", "device/vendor"),
        ("wwid", "device/wwid"),
    ];
    let host = session.host().clone();
    let names = match host.dir("/sys/block").and_then(|dir| proc::names(dir.as_fd())) {
        Ok(names) => names,
        Err(error) => return session.unreadable(*b"/sys/block", &error),
    };
    if names.len() > DISKS_MAX {
        session.limited(format!("only the first {DISKS_MAX} block devices are described"))?;
    }
    for name in names.iter().take(DISKS_MAX) {
        session.go_on()?;
        let mut fact = Fact::named("disk");
        let name = name.to_string_lossy();
        fact.put("name", name.as_ref());
        // Each kind of disk has its own attributes: one that is not there is no loss.
        for (key, file) in ATTRIBUTES.into_iter().chain([("serial", "device/serial")]) {
            let path = format!("/sys/block/{name}/{file}");
            match host.read(&path, 4096) {
                Ok(value) => fact.put_bytes(key, value.trim_ascii()),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => session.unreadable(path, &error)?,
                Err(_) => {}
            }
        }
        fact.hand_over(session)?;
    }
    Ok(())
}

fn lists(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("partitions");
    fact.put_lines(session, "lines", "/proc/partitions")?;
    fact.hand_over(session)?;
    let mut fact = Fact::named("swaps");
    fact.put_lines(session, "lines", "/proc/swaps")?;
    fact.hand_over(session)
}

/// The ids that the firmware gives; serial numbers need root.
fn dmi(session: &mut Session) -> Result<(), Stopped> {
    use std::os::fd::AsFd as _;
    let mut fact = Fact::named("dmi");
    let host = session.host().clone();
    let names = match host.dir("/sys/class/dmi/id").and_then(|dir| proc::names(dir.as_fd())) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let item = session.item(Kind::Record, *b"/sys/class/dmi/id", "read", Status::Skipped);
            return session.note(item.because("this machine has no DMI tables"));
        }
        Err(error) => return session.unreadable(*b"/sys/class/dmi/id", &error),
    };
    for name in names {
        let name = name.to_string_lossy();
        // The other entries are folders, and uevent, which repeats modalias.
        if !matches!(name.as_ref(), "uevent" | "power" | "subsystem") {
            fact.put_file(session, &name, &format!("/sys/class/dmi/id/{name}"))?;
        }
    }
    fact.hand_over(session)
}

/// Signs of a container or a virtual machine: `{name, sign}` each, the innermost first.
fn surroundings(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("surroundings");
    let found = identity::surroundings(session.host());
    let signs: Vec<Value> = found.iter().map(|(name, sign)| json!({"name": name, "sign": sign})).collect();
    fact.put("signs", signs);
    fact.put_file(session, "init_cgroup", "/proc/1/cgroup")?;
    fact.hand_over(session)
}

fn security(session: &mut Session) -> Result<(), Stopped> {
    let mut fact = Fact::named("security");
    fact.put_file(session, "lsm", "/sys/kernel/security/lsm")?;
    fact.put_file(session, "lockdown", "/sys/kernel/security/lockdown")?;
    fact.hand_over(session)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing;

    fn fact<'a>(rows: &'a [Value], name: &str) -> &'a Value {
        rows.iter().find(|row| row["fact"] == name).unwrap()
    }

    #[test]
    fn a_tree() {
        let tree = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("proc/meminfo", &b"MemTotal:       24 kB\nHugePages_Total:       2\nOdd: x\xff\n"[..]),
            ("proc/cpuinfo", b"processor\t: 0\nmodel name\t: X\n\nprocessor\t: 1\nmodel name\t: Y\n\n"),
            ("etc/os-release", b"ID=debian\nNEW_KEY=\"a b\"\n"),
            ("sys/block/vda/size", b"2048\n"),
            ("sys/block/vda/device/model", b"QEMU DISK   \n"),
            ("proc/uptime", b"1.00 2.00\n"),
        ] {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let clock = FixedClock(Instant(5_000_000_000));
        let messages = testing::collect(&HostFacts {}, Arc::new(Host::at(tree.path(), clock)));
        let rows = testing::rows(&messages);
        let memory = fact(&rows, "memory");
        assert_eq!((&memory["MemTotal_kib"], &memory["HugePages_Total"]), (&24.into(), &2.into()));
        assert_eq!(memory["Odd_b64"], "eP8=");
        assert_eq!(fact(&rows, "cpu")["logical_cores"], 2);
        assert_eq!(fact(&rows, "cpu")["cpuinfo"]["model name"], "X");
        assert_eq!(fact(&rows, "os_release")["entries"]["NEW_KEY"], "a b");
        assert_eq!(
            fact(&rows, "disk"),
            &json!({"fact": "disk", "model": "QEMU DISK", "name": "vda", "sectors512": "2048"})
        );
        assert_eq!(fact(&rows, "boot")["booted"], "1970-01-01T00:00:04.000000000Z");
        assert_eq!(fact(&rows, "clock")["boottime_ns"], "1000000000");
        let missing = testing::items(&messages);
        assert!(missing.iter().any(|item| item.path == b"/etc/machine-id" && item.status == Status::Skipped));
    }

    #[test]
    fn the_live_host() {
        let rows = testing::rows(&testing::collect(&HostFacts {}, Arc::new(Host::live())));
        assert!(fact(&rows, "memory")["MemTotal_kib"].as_u64().unwrap() > 0);
        assert!(fact(&rows, "clock")["ntp_synchronised"].is_boolean());
        assert!(fact(&rows, "cpu")["logical_cores"].as_u64().unwrap() > 0);
    }
}
