//! Programs and libraries in the system's folders that no package owns.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;

use bundle::item::{Kind, Nanos, Status, shown};
use schemars::JsonSchema;
use serde::Serialize;
use wire::Sha256;

use crate::files::contents::each_object;
use crate::files::copy::note_missed;
use crate::files::digest::{digest, uncache};
use crate::host::executable::{ExecutableKind, look};
use crate::host::meta::{Type, meta_of};
use crate::host::packages::owners::Owners;
use crate::host::walk::{Entry, Missed};
use crate::run::session::{Session, Stopped};

/// The folders of programs: links in them count as well.
const PROGRAMS: [&str; 8] = [
    "/bin/",
    "/sbin/",
    "/usr/bin/",
    "/usr/sbin/",
    "/usr/games/",
    "/usr/local/bin/",
    "/usr/local/sbin/",
    "/usr/local/games/",
];
/// The folders of libraries. What the administrator puts below `/usr/local/lib` is nobody's by nature: only what the
/// dynamic loader would take is looked at there.
const LIBRARIES: [&str; 9] = [
    "/lib/",
    "/lib32/",
    "/lib64/",
    "/libx32/",
    "/usr/lib/",
    "/usr/lib32/",
    "/usr/lib64/",
    "/usr/libx32/",
    "/usr/libexec/",
];
const LOCAL_LIBRARIES: &str = "/usr/local/lib{,64}/{*.so,*.so.*}";
/// The most rows.
const ROWS_MAX: usize = 50_000;

/// A program or library in one of the system's folders that no package owns. Absent where no database of packages was
/// found.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Row<'a> {
    /// Birth.
    #[serde(skip_serializing_if = "Option::is_none")]
    btime_ns: Option<Nanos>,
    /// Last change of its inode.
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime_ns: Option<Nanos>,
    /// Its group.
    gid: u32,
    /// The program after `#!`, or the dynamic loader.
    #[serde(skip_serializing_if = "Option::is_none")]
    interpreter: Option<String>,
    /// True when any of its execute bits is set.
    is_executable: bool,
    /// elf, script or other; absent for a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<ExecutableKind>,
    /// `st_mode` as seven octal digits.
    mode: String,
    /// Last change of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// Its path, links in it resolved.
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `unowned_executable`.
    record: &'a str,
    /// Its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Its size in bytes.
    size: u64,
    /// Where it points, for a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The package that owns what the link points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_package: Option<String>,
    /// Its user.
    uid: u32,
}

/// Writes a row for each.
pub(super) fn collect(session: &mut Session, owners: &Owners, file_bytes_max: u64) -> Result<(), Stopped> {
    if owners.is_empty() {
        let item = session.item(Kind::Record, "unowned_executable", "walk", Status::Skipped);
        return session.note(item.because("no database of packages says who owns which file"));
    }
    // A link such as /bin → usr/bin is resolved here, so that nothing is walked twice.
    let resolved = |folders: &[&str]| -> BTreeSet<String> {
        let paths = folders.iter().map(|folder| owners.resolve(folder.as_bytes()));
        paths.map(|path| format!("{}**", String::from_utf8_lossy(&path))).collect()
    };
    let programs = resolved(&PROGRAMS);
    let libraries: BTreeSet<String> = resolved(&LIBRARIES).difference(&programs).cloned().collect();
    let programs_count = programs.len();
    let mut globs: Vec<&str> = programs.iter().chain(&libraries).map(String::as_str).collect();
    globs.push(LOCAL_LIBRARIES);
    let mut rows = 0;
    each_object(session, &globs, |session, entry, number| {
        if owners.owner(entry.path).is_some() {
            return Ok(());
        }
        let row = match entry.file_type() {
            Type::File => file(session, entry, file_bytes_max)?,
            Type::Link if number < programs_count => link(session, owners, entry)?,
            _ => None,
        };
        let Some(row) = row else { return Ok(()) };
        rows += 1;
        if rows == ROWS_MAX {
            session.limited(format!("more than {ROWS_MAX} programs that no package owns"))?;
        }
        if rows <= ROWS_MAX { session.row(&row) } else { Ok(()) }
    })
}

fn row(entry: &Entry<'_>) -> Row<'static> {
    let meta = meta_of(entry.stat, None);
    let (path, path_b64) = shown(entry.path);
    Row {
        btime_ns: meta.btime_ns,
        ctime_ns: meta.ctime_ns,
        gid: meta.gid,
        interpreter: None,
        is_executable: entry.stat.stx_mode & 0o111 != 0,
        kind: None,
        mode: meta.mode,
        mtime_ns: meta.mtime_ns,
        path,
        path_b64,
        record: "unowned_executable",
        sha256: None,
        size: meta.size,
        target: None,
        target_package: None,
        uid: meta.uid,
    }
}

fn file(session: &mut Session, entry: &Entry<'_>, file_bytes_max: u64) -> Result<Option<Row<'static>>, Stopped> {
    session.at(entry.path);
    session.spend(entry.stat.stx_size.min(4096))?;
    let opened = entry.open_regular().and_then(|(file, stat)| {
        let found = look(&file, stat.stx_size)?;
        Ok((file, stat, found))
    });
    let (file, stat, found) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            note_missed(session, entry.path, Missed::Error(error))?;
            return Ok(None);
        }
    };
    let mut row = row(entry);
    // A script that nobody may run is a file like others: sourced snippets and templates of `/usr/lib` begin so.
    if !row.is_executable && found.kind != ExecutableKind::Elf {
        return Ok(None);
    }
    row.sha256 = digest(session, file.as_fd(), stat.stx_size, file_bytes_max)?.sha256;
    uncache(file.as_fd(), stat.stx_size);
    row.kind = Some(found.kind);
    row.interpreter = found.interpreter.map(|interpreter| shown(&interpreter).0);
    Ok(Some(row))
}

/// A link in a folder of programs, unless update-alternatives(1) made it.
fn link(session: &mut Session, owners: &Owners, entry: &Entry<'_>) -> Result<Option<Row<'static>>, Stopped> {
    let target = match entry.view.read_link(entry.folder, entry.name) {
        Ok(target) => target,
        Err(error) => {
            note_missed(session, entry.path, Missed::Error(error))?;
            return Ok(None);
        }
    };
    if target.starts_with(b"/etc/alternatives/") {
        return Ok(None);
    }
    let folder = entry.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let absolute =
        if target.starts_with(b"/") { target.clone() } else { [&entry.path[..folder], b"/", &target].concat() };
    let target_package = owners.owner(&absolute).map(str::to_owned);
    Ok(Some(Row { target: Some(shown(&target).0), target_package, ..row(entry) }))
}
