//! The one type of row, and the draft that a mechanism makes of it.

use std::borrow::Cow;

use bundle::item::{Nanos, shown};
use rustix::fs::{Statx, StatxFlags, StatxTimestamp};
use schemars::JsonSchema;
use serde::Serialize;
use wire::Sha256;

use crate::files::inspect::Found;
use crate::files::targets::At;
use crate::host::meta::{Type, nanoseconds};
use crate::host::packages::owners::Owners;

/// The most lines of one file that stand in one row.
pub const LINES_MAX: usize = 400;
/// The most bytes of one such line.
pub const LINE_BYTES_MAX: usize = 1024;
/// The most bytes of lines in one row.
const LINES_BYTES_MAX: usize = 64 << 10;

/// One instance of a mechanism by which something is started or made to be loaded: a unit, a line, a script. What the
/// fields say is what the file says; nothing here was run or asked of a daemon.
#[derive(Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one thing, not a state")]
pub struct Row {
    /// Lines that are not in the file of the same name that new homes get (`/etc/skel`, base-files' own): for the start
    /// files of shells in homes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Aliases that a start file of a shell defines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Arguments of a module (PAM, udev).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Birth of the file, where the file system keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub btime_ns: Option<Nanos>,
    /// The control field of a line of PAM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// Last change of the file's inode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctime_ns: Option<Nanos>,
    /// True when it is switched on: linked into a target or a runlevel, executable where only executables run. Absent
    /// where nothing tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// file, symlink, fifo, socket, char or block.
    pub file_type: String,
    /// What it is within the mechanism: the type of a unit (service, timer, dropin, wants_link …), the keyword of a line of
    /// modprobe, import or path of a line of a `.pth` file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<&'static str>,
    /// Group of the file.
    pub gid: u32,
    /// True when the row holds only the first part of what the file says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
    /// True when the file has an execute bit.
    pub is_executable: bool,
    /// True when the path is a symbolic link.
    pub is_link: bool,
    /// True when others than owner and group may write the file.
    pub is_writable_by_others: bool,
    /// What kind it is within the mechanism: `Type=` of a service, the type of a line of PAM, the section of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whose layer the file is of: `vendor` (/usr, /lib), `admin` (/etc, /usr/local, /opt), `runtime` (/run), `state`
    /// (/var, /boot), `home`.
    pub layer: &'static str,
    /// Number of the line, from 1; absent when the row is of the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Where the link points, as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_target: Option<String>,
    /// The mechanism.
    pub mechanism: &'static str,
    /// `st_mode` of the file as seven octal digits.
    pub mode: String,
    /// The module that is loaded (PAM, kernel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Last change of the file's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime_ns: Option<Nanos>,
    /// What it is called: the unit, the service of PAM, the bus name, the alias; the file's name otherwise.
    pub name: String,
    /// The package that the file belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// True when the file belongs to a package; absent when the host has no database of packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_owned: Option<bool>,
    /// The file.
    pub path: String,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_b64: Option<String>,
    /// `persistence`.
    pub record: &'static str,
    /// What it runs, as written: commands, or the lines of a script that are neither blank nor comments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
    /// When it runs, as written: the fields of cron, `OnCalendar=`, the event of a hook, the runlevels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Environment variables and settings that it sets, `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// Digest of the file (of the file that a link leads to).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// Length of the file.
    pub size_bytes: u64,
    /// The first program, script or library that it runs or loads, as an absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// True when there is something at `target`; absent when it could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_exists: Option<bool>,
    /// True when others than owner and group may write the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_is_writable_by_others: Option<bool>,
    /// `st_mode` of the target as seven octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_mode: Option<String>,
    /// Last change of the target's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_mtime_ns: Option<Nanos>,
    /// Owner of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_owner_uid: Option<u32>,
    /// The package that the target belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_package: Option<String>,
    /// True when the target belongs to a package; absent without a target or a database of packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_package_owned: Option<bool>,
    /// The target with symbolic links followed, when that is another path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_resolved: Option<String>,
    /// Digest of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_sha256: Option<Sha256>,
    /// The line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_b64: Option<String>,
    /// Traps that a start file of a shell sets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traps: Vec<String>,
    /// Owner of the file.
    pub uid: u32,
    /// The unit that it activates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The user that it runs as: as written, or whose home the file is in, or root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What a mechanism found out; the rest of a [`Row`] is told by the file and by its target.
#[derive(Default)]
pub struct Draft {
    /// Position of the file among those that were found.
    pub file: usize,
    /// See [`Row::mechanism`].
    pub mechanism: &'static str,
    /// See [`Row::form`].
    pub form: Option<&'static str>,
    /// See [`Row::line`].
    pub line: Option<usize>,
    /// See [`Row::name`]; the file's name when there is none.
    pub name: Option<Vec<u8>>,
    /// See [`Row::user`].
    pub user: Option<Vec<u8>>,
    /// See [`Row::schedule`].
    pub schedule: Option<Vec<u8>>,
    /// See [`Row::runs`].
    pub runs: Vec<Vec<u8>>,
    /// Paths of which the first that exists is the target.
    pub targets: Vec<Vec<u8>>,
    /// See [`Row::enabled`].
    pub enabled: Option<bool>,
    /// See [`Row::text`].
    pub text: Option<Vec<u8>>,
    /// See [`Row::kind`].
    pub kind: Option<Vec<u8>>,
    /// See [`Row::control`].
    pub control: Option<Vec<u8>>,
    /// See [`Row::module`].
    pub module: Option<Vec<u8>>,
    /// See [`Row::arguments`].
    pub arguments: Vec<Vec<u8>>,
    /// See [`Row::sets`].
    pub sets: Vec<Vec<u8>>,
    /// See [`Row::aliases`].
    pub aliases: Vec<Vec<u8>>,
    /// See [`Row::traps`].
    pub traps: Vec<Vec<u8>>,
    /// See [`Row::added`].
    pub added: Vec<Vec<u8>>,
    /// See [`Row::unit`].
    pub unit: Option<Vec<u8>>,
    /// See [`Row::is_cut`].
    pub is_cut: bool,
}

/// Where a name without a path is looked for.
const PATH: [&[u8]; 6] = [b"/usr/local/sbin/", b"/usr/local/bin/", b"/usr/sbin/", b"/usr/bin/", b"/sbin/", b"/bin/"];

impl Draft {
    /// Of a whole file.
    pub fn of(mechanism: &'static str) -> Self {
        Self { mechanism, ..Self::default() }
    }

    /// Of one line of a file, which it quotes.
    pub fn at(mechanism: &'static str, line: usize, text: &[u8]) -> Self {
        Self { mechanism, line: Some(line), text: Some(text.trim_ascii().to_vec()), ..Self::default() }
    }

    /// The same, which runs this command.
    #[must_use]
    pub fn running(mut self, command: &[u8]) -> Self {
        self.run(command);
        self
    }

    /// Adds a command that it runs.
    pub fn run(&mut self, command: &[u8]) {
        let command = command.trim_ascii();
        if command.is_empty() {
            return;
        }
        if self.targets.is_empty()
            && let Some(program) = super::command::program(command)
        {
            self.aim(&program);
        }
        self.runs.push(command.to_vec());
    }

    /// Names the program, a path or a bare name, as its target.
    pub fn aim(&mut self, program: &[u8]) {
        if program.starts_with(b"/") {
            self.targets.push(program.to_vec());
        } else if !program.contains(&b'/') && !program.is_empty() {
            self.targets.extend(PATH.iter().map(|folder| [folder, program].concat()));
        }
    }

    /// The row.
    pub fn finish(self, found: &Found, owner: &[u8], packages: &Packages, look: impl Fn(&[u8]) -> At) -> Row {
        let mut target = self.targets.first().map(|path| (path.clone(), look(path)));
        if let Some(existing) =
            self.targets.iter().map(|path| (path, look(path))).find(|(_, at)| matches!(at, At::Found(_)))
        {
            target = Some((existing.0.clone(), existing.1));
        }
        let object = target.as_ref().and_then(|(path, at)| match at {
            At::Found(object) => Some((path, object)),
            _ => None,
        });
        let (path, path_b64) = shown(&found.path);
        let text = self.text.as_deref().map(|text| shown(bounded(text)));
        let (text, text_b64) = text.map_or((None, None), |(text, exact)| (Some(text), exact));
        let lists = [&self.runs, &self.sets, &self.added, &self.aliases, &self.traps, &self.arguments];
        let is_cut = self.is_cut || found.is_cut || lists.into_iter().any(|list| is_long(list));
        let stat = &found.stat;
        let user = self.user.or_else(|| Some(owner.to_vec()).filter(|owner| !owner.is_empty()));
        Row {
            added: lines(&self.added),
            aliases: lines(&self.aliases),
            arguments: lines(&self.arguments),
            btime_ns: time(stat, StatxFlags::BTIME, stat.stx_btime),
            control: self.control.as_deref().map(line),
            ctime_ns: time(stat, StatxFlags::CTIME, stat.stx_ctime),
            enabled: self.enabled,
            file_type: found.file_type().name().to_owned(),
            form: self.form,
            gid: stat.stx_gid,
            is_cut,
            is_executable: found.file_type() == Type::File && stat.stx_mode & 0o111 != 0,
            is_link: found.link_target.is_some(),
            is_writable_by_others: is_writable_by_others(stat),
            kind: self.kind.as_deref().map(line),
            layer: layer(&found.path),
            line: self.line.map(|line| line as u64),
            link_target: found.link_target.as_deref().map(line),
            mechanism: self.mechanism,
            mode: mode(stat),
            module: self.module.as_deref().map(line),
            mtime_ns: time(stat, StatxFlags::MTIME, stat.stx_mtime),
            name: line(self.name.as_deref().unwrap_or(found.name())),
            package: packages.owner(&found.path),
            package_owned: packages.is_owned(&found.path),
            path,
            path_b64,
            record: "persistence",
            runs: lines(&self.runs),
            schedule: self.schedule.as_deref().map(line),
            sets: lines(&self.sets),
            sha256: found.sha256,
            size_bytes: stat.stx_size,
            target: target.as_ref().map(|(path, _)| line(path)),
            target_exists: target.as_ref().and_then(|(_, at)| match at {
                At::Found(_) => Some(true),
                At::Nothing => Some(false),
                At::Unknown => None,
            }),
            target_is_writable_by_others: object.map(|(_, object)| is_writable_by_others(&object.stat)),
            target_mode: object.map(|(_, object)| mode(&object.stat)),
            target_mtime_ns: object.and_then(|(_, o)| time(&o.stat, StatxFlags::MTIME, o.stat.stx_mtime)),
            target_owner_uid: object.map(|(_, object)| object.stat.stx_uid),
            target_package: target.as_ref().and_then(|(path, _)| packages.owner(path)),
            target_package_owned: target.as_ref().and_then(|(path, _)| packages.is_owned(path)),
            target_resolved: object.filter(|(path, o)| **path != o.path).map(|(_, object)| line(&object.path)),
            target_sha256: object.and_then(|(_, object)| object.sha256),
            text,
            text_b64,
            traps: lines(&self.traps),
            uid: stat.stx_uid,
            unit: self.unit.as_deref().map(line),
            user: user.as_deref().map(line),
        }
    }
}

/// Which paths belong to packages, as far as the host has a database of packages.
pub struct Packages(pub Option<Owners>);

impl Packages {
    fn owner(&self, path: &[u8]) -> Option<String> {
        self.0.as_ref()?.owner(path).map(ToOwned::to_owned)
    }

    fn is_owned(&self, path: &[u8]) -> Option<bool> {
        self.0.as_ref().map(|owners| owners.owner(path).is_some())
    }
}

/// `st_mode` as records show it.
pub fn mode(stat: &Statx) -> String {
    format!("{:07o}", stat.stx_mode)
}

/// True when others may write it; of a link the mode means nothing.
pub fn is_writable_by_others(stat: &Statx) -> bool {
    Type::of(stat.stx_mode) != Type::Link && stat.stx_mode & 0o002 != 0
}

/// A time of statx(2), where the file system keeps it.
pub fn time(stat: &Statx, field: StatxFlags, at: StatxTimestamp) -> Option<Nanos> {
    (stat.stx_mask & field.bits() != 0).then(|| Nanos(nanoseconds(at)))
}

fn bounded(text: &[u8]) -> &[u8] {
    text.get(..4 * LINE_BYTES_MAX).unwrap_or(text)
}

fn line(bytes: &[u8]) -> String {
    let bytes: Cow<'_, [u8]> = bytes.get(..LINE_BYTES_MAX).map_or(Cow::Borrowed(bytes), Cow::Borrowed);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lines(list: &[Vec<u8>]) -> Vec<String> {
    let mut bytes_left = LINES_BYTES_MAX;
    let within = list.iter().take(LINES_MAX).take_while(move |text| {
        let length = text.len().min(LINE_BYTES_MAX);
        let fits = length <= bytes_left;
        bytes_left = bytes_left.saturating_sub(length);
        fits
    });
    within.map(|text| line(text)).collect()
}

fn is_long(list: &[Vec<u8>]) -> bool {
    let bytes: usize = list.iter().map(|text| text.len().min(LINE_BYTES_MAX)).sum();
    list.len() > LINES_MAX || bytes > LINES_BYTES_MAX || list.iter().any(|text| text.len() > LINE_BYTES_MAX)
}

/// Whose layer of the configuration a path is of; see [`Row::layer`].
pub fn layer(path: &[u8]) -> &'static str {
    const LAYERS: [(&[u8], &str); 10] = [
        (b"/usr/local/", "admin"),
        (b"/usr/", "vendor"),
        (b"/lib", "vendor"),
        (b"/etc/", "admin"),
        (b"/opt/", "admin"),
        (b"/srv/", "admin"),
        (b"/run/", "runtime"),
        (b"/var/run/", "runtime"),
        (b"/var/", "state"),
        (b"/boot/", "state"),
    ];
    LAYERS.iter().find(|(prefix, _)| path.starts_with(prefix)).map_or("home", |(_, layer)| layer)
}
