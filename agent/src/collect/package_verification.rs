//! Files that are not what their package brought, and programs that no package brought: what `dpkg -V`, `rpm -Va` and
//! `debsums` find, from the databases alone.
//!
//! Rows: `package_file`, one for each file that differs; `unowned_executable`, one for each program in the system's
//! folders of programs and libraries that no package owns; `verification_summary`, one for each manager. Every file is
//! read once, by the digest that its database has, and one that differs once more for its SHA-256. Programs come first,
//! then libraries (PAM's among them), then `/etc`, then the rest, so that what a limit leaves out is what matters least.
//!
//! Known limits: the databases are files that root can change: an intruder who also corrected the digest is not seen
//! (`package.digests_mtime_ns` may tell). dpkg keeps neither owner nor mode, and no digest of links. MD5 and SHA-1 can
//! be made to collide by whoever made both files. Of `/etc/pam.d/common-*` only what pam-auth-update(8) does not fill in
//! is compared. rpm's digests of prelinked programs do not hold.

mod compare;
mod pam;
#[cfg(test)]
mod tests;
mod unowned;

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use bundle::item::{Nanos, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Sha256, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::copy::note_missed;
use crate::files::digest::{digest, digest_by, uncache};
use crate::files::package_database::{PackageDatabase, Wanted};
use crate::host::glob::names;
use crate::host::meta::{Type, nanoseconds};
use crate::host::packages::{Algorithm, Digest, FileKind, Manager, PackageFile};
use crate::host::walk::{Asked, Entry, Missed, Visitor, walk};
use crate::run::session::{Session, Stopped};
use compare::{Differs, Seen};

/// The longest file that is digested, when nobody says otherwise.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// So many files are asked of one walk: enough that the walk costs little, few enough that their paths do.
const BATCH: usize = 4096;

/// Arguments of `collect: package_verification`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageVerification {
    /// The longest file that is read: 1 GiB when nothing is said.
    #[serde(default = "file_bytes_max")]
    file_bytes_max: ByteSize,
    /// Which files are verified: all when nothing is said.
    #[serde(default)]
    scope: Scope,
}

/// Which files of packages are verified.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Scope {
    /// What is in the folders of programs.
    Programs,
    /// And of libraries, and `/etc`.
    System,
    /// Every file.
    #[default]
    All,
}

fn file_bytes_max() -> ByteSize {
    ByteSize(FILE_BYTES_MAX)
}

impl Default for PackageVerification {
    fn default() -> Self {
        Self { file_bytes_max: file_bytes_max(), scope: Scope::All }
    }
}

/// A file that differs from what its package brought.
#[derive(Debug, Serialize, JsonSchema)]
struct FileRow<'a> {
    /// Last change of its inode.
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime_ns: Option<Nanos>,
    /// What differs: `content`, `missing`, `type`, `mode`, `user`, `group`, `link`, `capabilities`.
    differs: &'a [&'static str],
    /// The digest in the database, after its algorithm's name and a colon.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_digest: Option<&'a Digest>,
    /// The group in the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_gid: Option<u32>,
    /// The permission bits in the database, four octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_mode: Option<String>,
    /// Where the database says that the link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_target: Option<String>,
    /// The user in the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_uid: Option<u32>,
    /// The digest that was found, by the same algorithm.
    #[serde(skip_serializing_if = "Option::is_none")]
    found_digest: Option<&'a Digest>,
    /// Its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    /// True for configuration, which people change by right.
    is_config: bool,
    /// apk, dpkg, pacman, rpm.
    manager: Manager,
    /// `st_mode` as seven octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    /// Last change of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// The package.
    package: &'a str,
    /// Its path as the package has it, diversions considered.
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `package_file`.
    record: &'static str,
    /// Digest of a regular file whose content differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Its size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Where it points, if it is a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// file, dir, symlink, fifo, socket, char, block: what is there.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    file_type: Option<&'static str>,
    /// Its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    /// The version of the package.
    version: &'a str,
}

/// What was verified of one manager's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
struct Summary {
    /// Files that were compared.
    checked: u64,
    /// Files that differ, those that are missing not among them.
    differed: u64,
    /// Configuration files among `differed` and `missing`.
    differed_config: u64,
    /// Files that are missing because dpkg was told not to unpack them (`path-exclude`).
    excluded: u64,
    /// apk, dpkg, pacman, rpm.
    manager: Option<Manager>,
    /// Files that are missing.
    missing: u64,
    /// Packages that are installed.
    packages: u64,
    /// `verification_summary`.
    record: &'static str,
    /// Files that could not be read; each is an item or below one.
    unreadable: u64,
}

impl Collect for PackageVerification {
    const NAME: &'static str = "package_verification";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str = "Files that differ from their package's digests, and programs that no package owns.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut database = PackageDatabase::read(session, Wanted::Files)?;
        let mut files = std::mem::take(&mut database.files);
        files.retain(|file| (Class::of(&file.path)) <= Class::last(self.scope));
        files.sort_by(|a, b| Class::of(&a.path).cmp(&Class::of(&b.path)).then_with(|| a.path.cmp(&b.path)));
        // A file that several packages brought alike (multi-arch) is compared once.
        files.dedup_by(|a, b| a.path == b.path && a.digest == b.digest);
        let mut verification = Verification::new(session, &database, self.file_bytes_max.0);
        let programs = files.partition_point(|file| Class::of(&file.path) <= Class::Library);
        for batch in files[..programs].chunks(BATCH) {
            verification.batch(batch)?;
        }
        pam::collect(&mut verification)?;
        unowned::collect(verification.session, &database.owners, self.file_bytes_max.0)?;
        for batch in files[programs..].chunks(BATCH) {
            verification.batch(batch)?;
        }
        let summaries = verification.summaries;
        for summary in summaries.values() {
            session.row(summary)?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<FileRow<'static>>("package_file", "dpkg(1) --verify, rpm(8) VERIFY OPTIONS, statx(2)"),
            RowType::of::<unowned::Row<'static>>("unowned_executable", "elf(5), execve(2), statx(2)"),
            RowType::of::<Summary>("verification_summary", "dpkg(1) --verify, rpm(8) VERIFY OPTIONS"),
        ]
    }

    fn plan(&self, _host: &crate::host::Host) -> Plan {
        Plan { reads: vec!["every file of every package".to_owned()], ..Plan::default() }
    }
}

/// In which order files are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Program,
    Library,
    Configuration,
    Rest,
}

impl Class {
    fn of(path: &[u8]) -> Self {
        let path = path.strip_prefix(b"/usr/local").or_else(|| path.strip_prefix(b"/usr")).unwrap_or(path);
        let first = path.split(|byte| *byte == b'/').nth(1).unwrap_or_default();
        match first {
            b"bin" | b"sbin" => Self::Program,
            b"libexec" => Self::Library,
            _ if first.starts_with(b"lib") => Self::Library,
            b"etc" => Self::Configuration,
            _ => Self::Rest,
        }
    }

    fn last(scope: Scope) -> Self {
        match scope {
            Scope::Programs => Self::Program,
            Scope::System => Self::Configuration,
            Scope::All => Self::Rest,
        }
    }
}

struct Verification<'a> {
    session: &'a mut Session,
    database: &'a PackageDatabase,
    file_bytes_max: u64,
    summaries: BTreeMap<Manager, Summary>,
}

impl<'a> Verification<'a> {
    fn new(session: &'a mut Session, database: &'a PackageDatabase, file_bytes_max: u64) -> Self {
        let mut summaries: BTreeMap<Manager, Summary> = BTreeMap::new();
        for package in &database.packages {
            let empty =
                Summary { manager: Some(package.manager), record: "verification_summary", ..Summary::default() };
            summaries.entry(package.manager).or_insert(empty).packages += 1;
        }
        let of_step = session.file_bytes_max().unwrap_or(u64::MAX);
        Self { session, database, file_bytes_max: file_bytes_max.min(of_step), summaries }
    }

    /// Verifies files, in one walk over their paths.
    fn batch(&mut self, files: &'a [PackageFile]) -> Result<(), Stopped> {
        let host = Arc::clone(self.session.host());
        let paths = (0_u32..).zip(files).map(|(number, file)| (number, names(&file.path).collect()));
        let asked = Asked { paths: paths.collect(), ..Asked::default() };
        let mut batch = Batch { verification: self, files, seen: Vec::new(), missed: Vec::new() };
        batch.seen.resize_with(files.len(), || None);
        walk(&host, &asked, &mut batch)?;
        let Batch { seen, missed, .. } = batch;
        for (file, seen) in files.iter().zip(seen) {
            match seen {
                Some(Seen { is_done: true, .. }) => {}
                // A link whose target is not there, in place of a file.
                Some(seen) => self.report(file, &seen, &[Differs::Type])?,
                None if missed.iter().any(|missed| is_below(&file.path, missed)) => {
                    self.summary(file).unreadable += 1;
                }
                None => self.missing(file)?,
            }
        }
        Ok(())
    }

    fn summary(&mut self, file: &PackageFile) -> &mut Summary {
        let manager = self.database.package_of(file).map_or(Manager::Dpkg, |package| package.manager);
        self.summaries.entry(manager).or_default()
    }

    fn missing(&mut self, file: &PackageFile) -> Result<(), Stopped> {
        let is_of_dpkg = self.database.package_of(file).is_some_and(|package| package.manager == Manager::Dpkg);
        if file.is_optional || is_of_dpkg && file.digest.is_none() {
            return self.session.go_on();
        }
        if is_of_dpkg && self.database.excluded.holds(&file.path) {
            self.summary(file).excluded += 1;
            return self.session.go_on();
        }
        let summary = self.summary(file);
        summary.missing += 1;
        summary.differed_config += u64::from(file.is_config);
        self.row(file, &Seen::default(), &[Differs::Missing], None)
    }

    /// What is there in place of `file`, found by `entry`. Nothing when it is to be waited for what a link leads to.
    fn look(&mut self, file: &PackageFile, entry: &Entry<'_>, seen: &mut Option<Seen>) -> Result<(), Stopped> {
        if seen.as_ref().is_some_and(|seen| seen.is_done) {
            return Ok(());
        }
        let was_link = seen.is_some();
        let mut now = Seen::of(entry);
        if entry.file_type() == Type::Link {
            match entry.view.read_link(entry.folder, entry.name) {
                Ok(target) => now.target = Some(target),
                Err(error) => {
                    now.is_done = true;
                    *seen = Some(now);
                    self.summary(file).unreadable += 1;
                    return note_missed(self.session, entry.path, Missed::Error(error));
                }
            }
            if was_link {
                return Ok(());
            }
            // dpkg follows a link in a file's place, as people put one there to move a file: so is done here, and said.
            if file.digest.is_some() && file.kind != FileKind::Link && !compare::is_link_by_digest(file, &now) {
                *seen = Some(now);
                return Ok(());
            }
        }
        let mut differs = compare::metadata(file, &now, was_link);
        let mut found = None;
        if entry.file_type() == Type::File
            && let Some(expected) = &file.digest
        {
            match self.content(entry, expected.algorithm)? {
                Some(digest) if digest == *expected => {}
                Some(digest) => {
                    found = Some(digest);
                    differs.push(Differs::Content);
                    now.sha256 = self.sha256(entry)?;
                }
                None => self.summary(file).unreadable += 1,
            }
        }
        if entry.file_type() == Type::File {
            compare::capabilities(file, entry, &mut differs);
        }
        if let Some(link) = seen.take() {
            now.target = link.target;
        }
        now.is_done = true;
        let outcome = if differs.is_empty() {
            self.summary(file).checked += 1;
            Ok(())
        } else {
            now.found = found;
            self.report(file, &now, &differs)
        };
        *seen = Some(now);
        outcome
    }

    fn report(&mut self, file: &PackageFile, seen: &Seen, differs: &[Differs]) -> Result<(), Stopped> {
        let summary = self.summary(file);
        summary.checked += 1;
        summary.differed += 1;
        summary.differed_config += u64::from(file.is_config);
        self.row(file, seen, differs, seen.found.as_ref())
    }

    fn row(
        &mut self,
        file: &PackageFile,
        seen: &Seen,
        differs: &[Differs],
        found: Option<&Digest>,
    ) -> Result<(), Stopped> {
        let Some(package) = self.database.package_of(file) else { return Ok(()) };
        let words: Vec<&'static str> = differs.iter().map(|differs| differs.name()).collect();
        let has = |what: Differs| differs.contains(&what);
        let (path, path_b64) = shown(&file.path);
        let stat = seen.stat.as_ref();
        self.session.row(&FileRow {
            ctime_ns: stat.map(|stat| Nanos(nanoseconds(stat.stx_ctime))),
            differs: &words,
            expected_digest: file.digest.as_ref().filter(|_| has(Differs::Content) || has(Differs::Missing)),
            expected_gid: file.gid.filter(|_| has(Differs::Group)),
            expected_mode: file.mode.filter(|_| has(Differs::Mode)).map(|mode| format!("{mode:04o}")),
            expected_target: file.target.as_ref().filter(|_| has(Differs::Link)).map(|target| shown(target).0),
            expected_uid: file.uid.filter(|_| has(Differs::User)),
            found_digest: found,
            gid: stat.map(|stat| stat.stx_gid),
            is_config: file.is_config,
            manager: package.manager,
            mode: stat.map(|stat| format!("{:07o}", stat.stx_mode)),
            mtime_ns: stat.map(|stat| Nanos(nanoseconds(stat.stx_mtime))),
            package: &package.name,
            path,
            path_b64,
            record: "package_file",
            sha256: seen.sha256,
            size: stat.map(|stat| stat.stx_size),
            target: seen.target.as_ref().map(|target| shown(target).0),
            file_type: stat.map(|stat| Type::of(stat.stx_mode).name()),
            uid: stat.map(|stat| stat.stx_uid),
            version: &package.version,
        })
    }

    fn content(&mut self, entry: &Entry<'_>, algorithm: Algorithm) -> Result<Option<Digest>, Stopped> {
        self.session.at(entry.path);
        let (file, stat) = match entry.open_regular() {
            Ok(opened) => opened,
            Err(error) => {
                note_missed(self.session, entry.path, Missed::Error(error))?;
                return Ok(None);
            }
        };
        let size = stat.stx_size;
        let (digest, error) = digest_by(self.session, file.as_fd(), size, self.file_bytes_max, algorithm)?;
        uncache(file.as_fd(), size);
        if digest.is_none() {
            let why = match error {
                Some(error) => Missed::Error(error.into()),
                None if size > self.file_bytes_max => {
                    Missed::Rule(format!("longer than {}, so it was not verified", ByteSize(self.file_bytes_max)))
                }
                None => Missed::Rule("parts of it could not be read".to_owned()),
            };
            note_missed(self.session, entry.path, why)?;
        }
        Ok(digest)
    }

    fn sha256(&mut self, entry: &Entry<'_>) -> Result<Option<Sha256>, Stopped> {
        let Ok((file, stat)) = entry.open_regular() else { return Ok(None) };
        Ok(digest(self.session, file.as_fd(), stat.stx_size, self.file_bytes_max)?.sha256)
    }
}

/// True when `path` is `folder`, or lies below it.
fn is_below(path: &[u8], folder: &[u8]) -> bool {
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || folder.ends_with(b"/"))
}

/// One walk over the paths of files.
struct Batch<'b, 'a> {
    verification: &'b mut Verification<'a>,
    files: &'a [PackageFile],
    seen: Vec<Option<Seen>>,
    missed: Vec<Vec<u8>>,
}

impl Visitor for Batch<'_, '_> {
    type Stop = Stopped;

    fn go_on(&mut self, path: &[u8]) -> Result<(), Stopped> {
        self.verification.session.at(path);
        self.verification.session.spend(0)
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Stopped> {
        if entry.hidden_under.is_some() {
            return Ok(());
        }
        for number in asked {
            let number = usize::try_from(*number).unwrap_or(usize::MAX);
            if let (Some(file), Some(seen)) = (self.files.get(number), self.seen.get_mut(number)) {
                self.verification.look(file, entry, seen)?;
            }
        }
        Ok(())
    }

    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        self.missed.push(path.to_vec());
        note_missed(self.verification.session, path, why)
    }
}
