//! What was done to the packages, by the managers' own logs. The newest log comes first; within one, the order of its
//! lines.

use std::collections::HashMap;
use std::sync::Arc;

use bundle::item::{Kind, Nanos, Status, shown};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Serialize;

use crate::files::contents::{decompressed, each_object, read};
use crate::host::Host;
use crate::host::meta::nanoseconds;
use crate::host::packages::dpkg::paragraphs;
use crate::host::sqlite::{Database, Error, Value};
use crate::run::session::{Session, Stopped};

/// The longest log that is read, also after it was decompressed.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// The longest database of dnf.
const HISTORY_BYTES_MAX: u64 = 512 << 20;
/// The most rows of one table of it.
const HISTORY_ROWS_MAX: usize = 1_000_000;
/// The most packages that one transaction names.
const NAMES_MAX: usize = 200;

pub(super) const LOGS: [(&str, Log); 5] = [
    ("/var/log/dpkg.log*", Log::Dpkg),
    ("/var/log/apt/history.log*", Log::Apt),
    ("/var/log/{dnf.rpm.log*,yum.log*}", Log::Dnf),
    ("/var/log/pacman.log*", Log::Pacman),
    ("/var/log/zypp/history*", Log::Zypp),
];
const HISTORIES: [&str; 2] = ["/var/lib/dnf/history.sqlite", "/usr/lib/sysimage/libdnf5/transaction_history.sqlite"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    Apt,
    Dnf,
    Dpkg,
    Pacman,
    Zypp,
}

/// One package that was installed, changed or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct ChangeRow<'a> {
    /// The manager's word: `install`, `upgrade`, `remove`, `purge`, `Installed` …
    pub(super) action: String,
    /// Architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arch: Option<String>,
    /// When. Logs in local time are read with the zone of the host's `/etc/localtime`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_ns: Option<Nanos>,
    /// dpkg, pacman, rpm.
    pub(super) manager: &'a str,
    /// The package.
    pub(super) name: String,
    /// The version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) old_version: Option<String>,
    /// The log.
    pub(super) path: &'a str,
    /// `package_change`.
    pub(super) record: &'a str,
    /// The time as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<String>,
    /// The version after; for what was removed, the version that it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
}

/// What was done at once, with who asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct TransactionRow<'a> {
    /// When it began. See `package_change`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_ns: Option<Nanos>,
    /// The command line of the manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command_line: Option<String>,
    /// What went wrong, if something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// dpkg, rpm.
    pub(super) manager: &'a str,
    /// What was done to which packages, at most 200 of them.
    pub(super) packages: Vec<String>,
    /// How many packages there were.
    pub(super) packages_total: usize,
    /// The log.
    pub(super) path: &'a str,
    /// `package_transaction`.
    pub(super) record: &'a str,
    /// The time as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<String>,
    /// The user who asked: a name and, in brackets, a number, or a number alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
}

/// A row of either kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row {
    Change(ChangeRow<'static>),
    Transaction(TransactionRow<'static>),
}

/// Writes at most `rows_max` rows.
pub(super) fn collect(session: &mut Session, rows_max: u64) -> Result<(), Stopped> {
    let zone = zone_of(session.host());
    let mut left = rows_max;
    for (glob, log) in LOGS {
        let mut found = Vec::new();
        each_object(session, &[glob], |_, entry, _| {
            found.push((nanoseconds(entry.stat.stx_mtime), entry.path.to_vec()));
            Ok(())
        })?;
        found.sort_by(|a, b| b.cmp(a));
        for (_, path) in found {
            if left > 0 {
                one_log(session, &path, log, &zone, &mut left)?;
            }
        }
    }
    let host = Arc::clone(session.host());
    for path in HISTORIES {
        let Ok((file, stat)) = host.open_file(path.as_bytes()) else { continue };
        if stat.stx_size > HISTORY_BYTES_MAX || left == 0 {
            continue;
        }
        session.spend(stat.stx_size)?;
        let wal = host.open_file(format!("{path}-wal").as_bytes()).ok();
        let opened = Database::open((file, stat.stx_size), wal.map(|(wal, stat)| (wal, stat.stx_size)));
        match opened.and_then(|database| dnf_history(&database)) {
            Ok(rows) => hand_over(session, path, rows, &mut left)?,
            Err(error) => {
                let item = session.item(Kind::File, path, "read", Status::Error).because(error.to_string());
                session.note(item)?;
            }
        }
    }
    if left == 0 {
        session.limited(format!("more than {rows_max} rows of changes (changes_max)"))?;
    }
    Ok(())
}

fn one_log(session: &mut Session, path: &[u8], log: Log, zone: &TimeZone, left: &mut u64) -> Result<(), Stopped> {
    let literal = String::from_utf8_lossy(path).replace(['*', '?', '[', '{', '}', '\\'], "?");
    let mut text = None;
    each_object(session, &[&literal], |session, entry, _| {
        if entry.path == path && text.is_none() {
            text = read(session, entry, LOG_BYTES_MAX)?;
        }
        Ok(())
    })?;
    let Some(text) = text else { return Ok(()) };
    let text = decompressed(session, path, text, LOG_BYTES_MAX)?;
    let shown = shown(path).0;
    let rows = parse(log, &text, zone);
    hand_over(session, &shown, rows, left)
}

fn hand_over(session: &mut Session, path: &str, rows: Vec<Row>, left: &mut u64) -> Result<(), Stopped> {
    for row in rows {
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        match row {
            Row::Change(row) => session.row(&ChangeRow { path, ..row })?,
            Row::Transaction(row) => session.row(&TransactionRow { path, ..row })?,
        }
    }
    Ok(())
}

pub(super) fn parse(log: Log, text: &[u8], zone: &TimeZone) -> Vec<Row> {
    let lossy = String::from_utf8_lossy(text);
    match log {
        Log::Dpkg => lossy.lines().filter_map(|line| dpkg(line, zone)).map(Row::Change).collect(),
        Log::Apt => apt(text, zone),
        Log::Dnf => lossy.lines().filter_map(|line| dnf(line, zone)).map(Row::Change).collect(),
        Log::Pacman => lossy.lines().filter_map(|line| pacman(line, zone)).collect(),
        Log::Zypp => lossy.lines().filter_map(|line| zypp(line, zone)).map(Row::Change).collect(),
    }
}

/// The zone in which this host writes its logs; UTC when it does not say.
fn zone_of(host: &Host) -> TimeZone {
    let zone = host.read_file(b"/etc/localtime", 1 << 20).ok();
    zone.and_then(|bytes| TimeZone::tzif("localtime", &bytes).ok()).unwrap_or(TimeZone::UTC)
}

/// `2026-01-02 03:04:05` or `2026-01-02T03:04:05` of a zone, as a moment.
fn moment(text: &str, zone: &TimeZone) -> Option<Nanos> {
    let civil: jiff::civil::DateTime = text.replacen(' ', "T", 1).parse().ok()?;
    let zoned = civil.to_zoned(zone.clone()).ok()?;
    Some(Nanos(zoned.timestamp().as_nanosecond()))
}

fn change(manager: &'static str, time: &str, at_ns: Option<Nanos>) -> ChangeRow<'static> {
    ChangeRow { at_ns, manager, record: "package_change", time: Some(time.to_owned()), ..ChangeRow::default() }
}

/// `NAME:ARCH`.
fn name_and_arch(word: &str) -> (String, Option<String>) {
    match word.rsplit_once(':') {
        Some((name, arch)) => (name.to_owned(), Some(arch.to_owned())),
        None => (word.to_owned(), None),
    }
}

fn version(word: Option<&str>) -> Option<String> {
    word.filter(|word| *word != "<none>").map(str::to_owned)
}

/// `2026-01-02 03:04:05 upgrade name:arch old new`; what only tells of steps in between is left out.
fn dpkg(line: &str, zone: &TimeZone) -> Option<ChangeRow<'static>> {
    let time = line.get(..19)?;
    let mut words = line.get(20..)?.split(' ');
    let action = words.next()?;
    if !matches!(action, "install" | "upgrade" | "remove" | "purge" | "disappear") {
        return None;
    }
    let (name, arch) = name_and_arch(words.next()?);
    let (old, new) = (version(words.next()), version(words.next()));
    let is_gone = !matches!(action, "install" | "upgrade");
    let mut row = change("dpkg", time, moment(time, zone));
    (row.action, row.name, row.arch) = (action.to_owned(), name, arch);
    (row.old_version, row.version) = if is_gone { (None, new.or(old)) } else { (old, new) };
    Some(row)
}

/// Paragraphs `Start-Date`, `Commandline`, `Requested-By`, `Install` and so on, `Error`.
fn apt(text: &[u8], zone: &TimeZone) -> Vec<Row> {
    const ACTIONS: [&str; 6] = ["Install", "Reinstall", "Upgrade", "Downgrade", "Remove", "Purge"];
    let mut rows = Vec::new();
    for paragraph in paragraphs(text) {
        let field = |name: &str| paragraph.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let Some(time) = field("Start-Date") else { continue };
        let time = time.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut row = TransactionRow {
            at_ns: moment(&time, zone),
            command_line: field("Commandline"),
            error: field("Error"),
            manager: "dpkg",
            record: "package_transaction",
            time: Some(time),
            user: field("Requested-By"),
            ..TransactionRow::default()
        };
        for action in ACTIONS {
            // `name:arch (version, automatic), name:arch (old, new)`
            for package in field(action).unwrap_or_default().split("), ").filter(|package| !package.is_empty()) {
                row.packages_total += 1;
                if row.packages.len() < NAMES_MAX {
                    let close = if package.ends_with(')') { "" } else { ")" };
                    row.packages.push(format!("{action} {package}{close}"));
                }
            }
        }
        rows.push(Row::Transaction(row));
    }
    rows
}

/// dnf: `2026-01-02T03:04:05+0000 SUBDEBUG Installed: name-1.2-3.x86_64`; yum: `Jan 02 03:04:05 Installed: name-…`.
fn dnf(line: &str, zone: &TimeZone) -> Option<ChangeRow<'static>> {
    let (before, name) = line.split_once(": ")?;
    let mut words = before.rsplit(' ');
    let action = words.next()?;
    let is_known = ["Install", "Upgrade", "Update", "Downgrade", "Remove", "Erase", "Reinstall", "Obsolete", "Cleanup"]
        .iter()
        .any(|known| action.starts_with(known));
    if !is_known {
        return None;
    }
    let time = before[..before.len() - action.len()].trim_end();
    let time = time.strip_suffix("SUBDEBUG").or_else(|| time.strip_suffix("INFO")).unwrap_or(time).trim_end();
    let at = jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%z", time).ok().and_then(|time| time.to_timestamp().ok());
    let at = at.map(|time| Nanos(time.as_nanosecond())).or_else(|| moment(time.trim_end_matches('Z'), zone));
    let mut row = change("rpm", time, at);
    action.clone_into(&mut row.action);
    let whole = name.split_whitespace().next()?;
    let (whole, arch) = whole.rsplit_once('.').map_or((whole, None), |(whole, arch)| (whole, Some(arch.to_owned())));
    row.arch = arch;
    // NAME-VERSION-RELEASE: the last two hyphens part them.
    let mut parts = whole.rsplitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(release), Some(version), Some(name)) => {
            row.version = Some(format!("{version}-{release}"));
            name.clone_into(&mut row.name);
        }
        _ => whole.clone_into(&mut row.name),
    }
    Some(row)
}

/// `[2026-01-02T03:04:05+0000] [ALPM] upgraded name (old -> new)` and `[…] [PACMAN] Running 'pacman -S x'`.
fn pacman(line: &str, zone: &TimeZone) -> Option<Row> {
    let (time, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let at = jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%z", time).ok().and_then(|time| time.to_timestamp().ok());
    let at = at.map(|time| Nanos(time.as_nanosecond())).or_else(|| moment(&format!("{time}:00"), zone));
    if let Some(command) = rest.strip_prefix("[PACMAN] Running '") {
        return Some(Row::Transaction(TransactionRow {
            at_ns: at,
            command_line: Some(command.trim_end_matches('\'').to_owned()),
            manager: "pacman",
            record: "package_transaction",
            time: Some(time.to_owned()),
            ..TransactionRow::default()
        }));
    }
    let mut words = rest.strip_prefix("[ALPM] ")?.splitn(3, ' ');
    let (action, name, versions) = (words.next()?, words.next()?, words.next()?);
    if !matches!(action, "installed" | "upgraded" | "removed" | "downgraded" | "reinstalled") {
        return None;
    }
    let versions = versions.strip_prefix('(')?.strip_suffix(')')?;
    let mut row = change("pacman", time, at);
    (row.action, row.name) = (action.to_owned(), name.to_owned());
    match versions.split_once(" -> ") {
        Some((old, new)) => (row.old_version, row.version) = (Some(old.to_owned()), Some(new.to_owned())),
        None => row.version = Some(versions.to_owned()),
    }
    Some(Row::Change(row))
}

/// `2026-01-02 03:04:05|install|name|version|arch|user|repository|digest|`.
fn zypp(line: &str, zone: &TimeZone) -> Option<ChangeRow<'static>> {
    let mut fields = line.split('|');
    let (time, action) = (fields.next()?, fields.next()?.trim());
    if !matches!(action, "install" | "remove") {
        return None;
    }
    let mut row = change("rpm", time, moment(time, zone));
    action.clone_into(&mut row.action);
    fields.next()?.clone_into(&mut row.name);
    row.version = fields.next().map(str::to_owned);
    row.arch = fields.next().map(str::to_owned);
    Some(row)
}

/// dnf's own history: the tables `trans`, `trans_item`, `rpm` (dnf 4), `trans_item_action` (dnf 5 too).
fn dnf_history(database: &Database) -> Result<Vec<Row>, Error> {
    let names = items(database)?;
    let mut rows: Vec<(i64, TransactionRow<'static>)> = Vec::new();
    let table = database.table("trans")?;
    database.rows(&table, |id, row| {
        let get = |column: &str| table.get(&row, column);
        let begin = get("dt_begin").and_then(Value::integer);
        let user = get("user_id").or_else(|| get("loginuid")).and_then(Value::integer);
        rows.push((
            id,
            TransactionRow {
                at_ns: begin.map(|begin| Nanos(i128::from(begin) * 1_000_000_000)),
                command_line: get("cmdline")
                    .or_else(|| get("description"))
                    .and_then(Value::text)
                    .filter(|text| !text.is_empty()),
                manager: "rpm",
                record: "package_transaction",
                user: user.map(|user| user.to_string()),
                ..TransactionRow::default()
            },
        ));
        rows.len() < HISTORY_ROWS_MAX
    })?;
    let numbers: HashMap<i64, usize> = rows.iter().enumerate().map(|(n, (id, _))| (*id, n)).collect();
    let actions = actions(database)?;
    let table = database.table("trans_item")?;
    let mut left = HISTORY_ROWS_MAX;
    database.rows(&table, |_, row| {
        let integer = |column: &str| table.get(&row, column).and_then(Value::integer);
        let transaction = integer("trans_id").and_then(|id| numbers.get(&id)).and_then(|n| rows.get_mut(*n));
        if let Some((_, transaction)) = transaction {
            transaction.packages_total += 1;
            if transaction.packages.len() < NAMES_MAX {
                let action = integer("action").or_else(|| integer("action_id"));
                let action = action.and_then(|id| actions.get(&id)).map_or("?", String::as_str);
                let name = integer("item_id").and_then(|id| names.get(&id)).map_or("?", String::as_str);
                transaction.packages.push(format!("{action} {name}"));
            }
        }
        left -= 1;
        left > 0
    })?;
    // The newest first.
    Ok(rows.into_iter().rev().map(|(_, row)| Row::Transaction(row)).collect())
}

/// The packages by the number of their item.
fn items(database: &Database) -> Result<HashMap<i64, String>, Error> {
    let mut names = HashMap::new();
    let table = database.table("rpm")?;
    // dnf 5 keeps the names in a table of their own.
    let pooled = pool(database, "pkg_name")?;
    let arches = pool(database, "arch")?;
    database.rows(&table, |id, row| {
        let text = |column: &str| table.get(&row, column).and_then(Value::text).unwrap_or_default();
        let by = |column: &str, pool: &HashMap<i64, String>| {
            let id = table.get(&row, column).and_then(Value::integer)?;
            pool.get(&id).cloned()
        };
        let name = by("name_id", &pooled).unwrap_or_else(|| text("name"));
        let arch = by("arch_id", &arches).unwrap_or_else(|| text("arch"));
        let item = table.get(&row, "item_id").and_then(Value::integer).unwrap_or(id);
        names.insert(item, format!("{name}-{}-{}.{arch}", text("version"), text("release")));
        names.len() < HISTORY_ROWS_MAX
    })?;
    Ok(names)
}

/// dnf 4's TransactionItemAction, which has no table in older histories; the table's words otherwise.
fn actions(database: &Database) -> Result<HashMap<i64, String>, Error> {
    const NAMES: [&str; 12] = [
        "Install",
        "Downgrade",
        "Downgraded",
        "Obsolete",
        "Obsoleted",
        "Upgrade",
        "Upgraded",
        "Remove",
        "Reinstall",
        "Reinstalled",
        "Reason Change",
        "Reason Change",
    ];
    let known = pool(database, "trans_item_action")?;
    let named = (1..).zip(NAMES).map(|(id, name)| (id, name.to_owned()));
    Ok(if known.is_empty() { named.collect() } else { known })
}

/// A table of ids and names; nothing when there is no such table.
fn pool(database: &Database, name: &str) -> Result<HashMap<i64, String>, Error> {
    let mut names = HashMap::new();
    let Some(table) = database.tables()?.into_iter().find(|table| table.name == name) else { return Ok(names) };
    database.rows(&table, |id, row| {
        if let Some(name) = table.get(&row, "name").and_then(Value::text) {
            names.insert(id, name);
        }
        names.len() < HISTORY_ROWS_MAX
    })?;
    Ok(names)
}
