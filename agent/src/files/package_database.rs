//! The databases of the host's package managers, read: which packages, which files, who owns a path.
//!
//! Where they lie: `/var/lib/dpkg` (and `status.d` of images without dpkg), `/var/lib/rpm`, `/usr/lib/sysimage/rpm` and
//! `/usr/share/rpm`, `/lib/apk/db` and `/usr/lib/apk/db`, `/var/lib/pacman/local`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bundle::item::{Kind, Nanos, Status};
use rustix::fs::Statx;

use super::contents::{decompressed, each_object, read};
use crate::host::Host;
use crate::host::meta::{inode_of, nanoseconds};
use crate::host::packages::dpkg::{self, Diversion, Excluded};
use crate::host::packages::owners::{Aliases, Owners};
use crate::host::packages::rpm::{self, Header};
use crate::host::packages::{FileKind, Package, PackageFile, apk, pacman};
use crate::host::sqlite;
use crate::run::session::{Session, Stopped};

/// The longest text of a database that is read whole.
const TEXT_BYTES_MAX: u64 = 256 << 20;
/// The longest list of one package's files.
const LIST_BYTES_MAX: u64 = 64 << 20;
/// The most packages and the most files that are held.
const PACKAGES_MAX: usize = 500_000;
const FILES_MAX: usize = 5_000_000;

/// How much of the databases is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// The packages.
    Packages,
    /// And which paths are theirs.
    Owners,
    /// And what each of their files must be.
    Files,
}

/// What was read.
pub struct PackageDatabase {
    /// The packages, those that are only remembered (`config-files` of dpkg) included.
    pub packages: Vec<Package>,
    /// Their files; empty unless wanted.
    pub files: Vec<PackageFile>,
    /// Who owns which path; empty unless wanted.
    pub owners: Owners,
    /// What dpkg was told not to unpack.
    pub excluded: Excluded,
    wanted: Wanted,
}

impl PackageDatabase {
    /// Reads every database that is there. What cannot be read is noted.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn read(session: &mut Session, wanted: Wanted) -> Result<Self, Stopped> {
        let host = Arc::clone(session.host());
        let aliases = Aliases::of(|path| host.link_at(path).ok());
        let mut database = Self {
            packages: Vec::new(),
            files: Vec::new(),
            owners: Owners::new(aliases.clone()),
            excluded: Excluded::default(),
            wanted,
        };
        database.dpkg(session, &aliases)?;
        database.rpm(session, &host)?;
        database.apk(session)?;
        database.pacman(session)?;
        database.owners.know(&database.packages);
        if database.packages.len() >= PACKAGES_MAX || database.files.len() >= FILES_MAX {
            session.limited(format!("more than {PACKAGES_MAX} packages or {FILES_MAX} files of packages"))?;
        }
        Ok(database)
    }

    /// The package of a file.
    pub fn package_of(&self, file: &PackageFile) -> Option<&Package> {
        self.packages.get(usize::try_from(file.package).ok()?)
    }

    fn push(&mut self, package: Package) -> Option<u32> {
        let number = u32::try_from(self.packages.len()).ok().filter(|_| self.packages.len() < PACKAGES_MAX)?;
        self.packages.push(package);
        Some(number)
    }

    fn own(&mut self, files: Vec<PackageFile>) {
        if self.wanted >= Wanted::Owners {
            for file in &files {
                self.owners.add(&file.path, file.package);
            }
        }
        if self.wanted == Wanted::Files {
            let room = FILES_MAX.saturating_sub(self.files.len());
            self.files.extend(files.into_iter().take(room));
        }
    }

    fn dpkg(&mut self, session: &mut Session, aliases: &Aliases) -> Result<(), Stopped> {
        let globs = ["/var/lib/dpkg/status", "/var/lib/dpkg/status.d/*", "/var/lib/dpkg/diversions"];
        let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut conffiles = Vec::new();
        let mut diverted = Diverted::default();
        let mut sums = Vec::new();
        each_object(session, &globs, |session, entry, number| {
            let Some(text) = read(session, entry, TEXT_BYTES_MAX)? else { return Ok(()) };
            if number == 2 {
                diverted = Diverted::of(dpkg::diversions(&text), aliases);
                return Ok(());
            }
            if entry.path.ends_with(b".md5sums") {
                sums.push((stem(entry.path).to_vec(), text, mtime(entry.stat)));
                return Ok(());
            }
            let is_image = number == 1;
            for paragraph in dpkg::paragraphs(&text) {
                session.go_on()?;
                let Some(mut package) = dpkg::package(&paragraph) else { continue };
                if is_image {
                    package.installed_at = Some(mtime(entry.stat));
                }
                let (name, arch) = (package.name.clone(), package.arch.clone().unwrap_or_default());
                let is_installed = package.state.as_deref().is_none_or(dpkg::is_installed);
                let Some(number) = self.push(package) else { return Ok(()) };
                if is_image {
                    numbers.insert(stem(entry.path).to_vec(), number);
                }
                // A package that may be there for several architectures at once has its architecture in the names of
                // its lists.
                numbers.insert(format!("{name}:{arch}").into_bytes(), number);
                numbers.entry(name.into_bytes()).or_insert(number);
                if !is_installed {
                    continue;
                }
                for conffile in dpkg::conffiles(&paragraph).filter(|conffile| !conffile.is_obsolete) {
                    let mut file = PackageFile::of(number, conffile.path);
                    (file.digest, file.is_config) = (conffile.digest, true);
                    conffiles.push(file);
                }
            }
            Ok(())
        })?;
        if self.packages.is_empty() {
            return Ok(());
        }
        for file in &mut conffiles {
            file.path = diverted.path(&file.path, &self.packages, file.package, aliases).into();
        }
        ucf(session, &numbers, &mut conffiles)?;
        self.own(conffiles);
        for (stem, text, mtime) in sums {
            self.dpkg_sums(&stem, &text, mtime, &numbers, &diverted, aliases);
        }
        let globs = ["/var/lib/dpkg/info/*.list", "/var/lib/dpkg/info/*.md5sums"];
        each_object(session, &globs, |session, entry, glob| {
            let stem = stem(entry.path);
            let Some(number) = numbers.get(stem).copied() else { return Ok(()) };
            if glob == 0 {
                if let Some(package) = usize::try_from(number).ok().and_then(|number| self.packages.get_mut(number)) {
                    package.installed_at = Some(mtime(entry.stat));
                }
                if self.wanted >= Wanted::Owners
                    && let Some(text) = read(session, entry, LIST_BYTES_MAX)?
                {
                    for path in dpkg::list(&text) {
                        self.owners.add(&diverted.path(path, &self.packages, number, aliases), number);
                    }
                }
                return Ok(());
            }
            let text = if self.wanted == Wanted::Files { read(session, entry, LIST_BYTES_MAX)? } else { None };
            self.dpkg_sums(stem, &text.unwrap_or_default(), mtime(entry.stat), &numbers, &diverted, aliases);
            Ok(())
        })?;
        let globs = ["/etc/dpkg/dpkg.cfg", "/etc/dpkg/dpkg.cfg.d/*"];
        each_object(session, &globs, |session, entry, _| {
            if let Some(text) = read(session, entry, 1 << 20)? {
                self.excluded.add(&text);
            }
            Ok(())
        })
    }

    /// The digests of a package's files.
    fn dpkg_sums(
        &mut self,
        stem: &[u8],
        text: &[u8],
        mtime: Nanos,
        numbers: &HashMap<Vec<u8>, u32>,
        diverted: &Diverted,
        aliases: &Aliases,
    ) {
        let Some(number) = numbers.get(stem).copied() else { return };
        if let Some(package) = usize::try_from(number).ok().and_then(|number| self.packages.get_mut(number)) {
            package.digests_mtime = Some(mtime);
        }
        let files = dpkg::md5sums(text).map(|(digest, path)| {
            let path = diverted.path(&[b"/", path].concat(), &self.packages, number, aliases);
            PackageFile { digest: Some(digest), kind: FileKind::File, ..PackageFile::of(number, path) }
        });
        let files = files.collect();
        self.own(files);
    }

    fn rpm(&mut self, session: &mut Session, host: &Host) -> Result<(), Stopped> {
        let mut seen = HashSet::new();
        let (ids, _) = host.ids();
        for folder in ["/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm"] {
            for name in ["rpmdb.sqlite", "Packages.db", "Packages"] {
                let path = format!("{folder}/{name}");
                let (file, stat) = match host.open_file(path.as_bytes()) {
                    Ok(opened) => opened,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(error) => {
                        let item = session.item(Kind::File, path, "read", Status::Error).failed(&error);
                        session.note(item)?;
                        continue;
                    }
                };
                // The one folder is a link to the other on most hosts.
                if !seen.insert(inode_of(&stat)) {
                    continue;
                }
                session.spend(stat.stx_size)?;
                let mut stopped = Ok(());
                let mut take = |header: &[u8]| {
                    if let Some(header) = Header::parse(header)
                        && let Some(package) = header.package()
                        // Keys that rpm was told to trust are kept as packages of this name.
                        && let Some(number) = self.push(package)
                        && self.wanted >= Wanted::Owners
                    {
                        self.own(header.files(number, |name, is_group| ids.number(name, is_group)));
                    }
                    stopped = session.go_on();
                    stopped.is_ok()
                };
                let outcome = match name {
                    "rpmdb.sqlite" => {
                        let wal = host.open_file(format!("{path}-wal").as_bytes()).ok();
                        rpm_sqlite((file, stat.stx_size), wal.map(|(wal, stat)| (wal, stat.stx_size)), &mut take)
                    }
                    "Packages.db" => rpm::ndb::headers(&file, &mut take).map_err(|error| error.to_string()),
                    _ => rpm::bdb::headers(&file, &mut take).map_err(|error| error.to_string()),
                };
                stopped?;
                let why = match outcome {
                    Ok(0) => continue,
                    Ok(malformed) => format!("{malformed} entries are malformed and were passed over"),
                    Err(why) => why,
                };
                let item = session.item(Kind::File, path, "read", Status::Error).because(why);
                session.note(item)?;
            }
        }
        Ok(())
    }

    fn apk(&mut self, session: &mut Session) -> Result<(), Stopped> {
        let mut seen = HashSet::new();
        each_object(session, &["/lib/apk/db/installed", "/usr/lib/apk/db/installed"], |session, entry, _| {
            if !seen.insert(inode_of(entry.stat)) {
                return Ok(());
            }
            let Some(text) = read(session, entry, TEXT_BYTES_MAX)? else { return Ok(()) };
            let first = u32::try_from(self.packages.len()).unwrap_or(u32::MAX);
            let (packages, files) = apk::installed(&text, first);
            self.packages.extend(packages.into_iter().take(PACKAGES_MAX));
            self.own(files);
            Ok(())
        })
    }

    fn pacman(&mut self, session: &mut Session) -> Result<(), Stopped> {
        let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
        each_object(session, &["/var/lib/pacman/local/*/desc"], |session, entry, _| {
            if let Some(text) = read(session, entry, LIST_BYTES_MAX)?
                && let Some(package) = pacman::package(&text)
                && let Some(number) = self.push(package)
            {
                numbers.insert(folder(entry.path).to_vec(), number);
            }
            Ok(())
        })?;
        if numbers.is_empty() || self.wanted < Wanted::Owners {
            return Ok(());
        }
        // The names come in their order: `files`, which says what is configuration, before `mtree`.
        let mut config = HashSet::new();
        each_object(session, &["/var/lib/pacman/local/*/{files,mtree}"], |session, entry, _| {
            let Some(number) = numbers.get(folder(entry.path)).copied() else { return Ok(()) };
            let Some(bytes) = read(session, entry, LIST_BYTES_MAX)? else { return Ok(()) };
            if entry.path.ends_with(b"/files") {
                let (paths, backup) = pacman::files(&bytes);
                config.extend(backup.iter().map(|path| [b"/", *path].concat()));
                for path in paths {
                    let path = path.strip_suffix(b"/").unwrap_or(path);
                    self.owners.add(&[b"/", path].concat(), number);
                }
                return Ok(());
            }
            let text = decompressed(session, entry.path, bytes, LIST_BYTES_MAX)?;
            let mut files = pacman::mtree(&text, number);
            for file in &mut files {
                file.is_config = config.contains(&*file.path);
            }
            self.own(files);
            Ok(())
        })
    }
}

/// Configuration that packages keep by ucf(1): the digest of the version that they brought last, and whose it is.
fn ucf(
    session: &mut Session,
    numbers: &HashMap<Vec<u8>, u32>,
    conffiles: &mut Vec<PackageFile>,
) -> Result<(), Stopped> {
    let (mut registry, mut sums) = (HashMap::new(), Vec::new());
    each_object(session, &["/var/lib/ucf/registry", "/var/lib/ucf/hashfile"], |session, entry, number| {
        let Some(text) = read(session, entry, LIST_BYTES_MAX)? else { return Ok(()) };
        if number == 1 {
            sums = text;
            return Ok(());
        }
        for line in text.split(|byte| *byte == b'\n') {
            let Some(slash) = line.iter().position(|byte| *byte == b'/') else { continue };
            let package = line[..slash].trim_ascii();
            if let Some(number) = numbers.get(package) {
                registry.insert(line[slash..].to_vec(), *number);
            }
        }
        Ok(())
    })?;
    for (digest, path) in dpkg::md5sums(&sums) {
        if let Some(number) = registry.get(path) {
            let digest = Some(digest);
            conffiles.push(PackageFile { digest, is_config: true, ..PackageFile::of(*number, path) });
        }
    }
    Ok(())
}

/// The headers in `rpmdb.sqlite`.
fn rpm_sqlite(
    file: (std::fs::File, u64),
    wal: Option<(std::fs::File, u64)>,
    take: &mut impl FnMut(&[u8]) -> bool,
) -> Result<u64, String> {
    let database = sqlite::Database::open(file, wal).map_err(|error| error.to_string())?;
    let table = database.table("Packages").map_err(|error| error.to_string())?;
    let rows = database.rows(&table, |_, row| {
        let header = table.get(&row, "blob").and_then(sqlite::Value::bytes);
        header.is_none_or(&mut *take)
    });
    rows.map(|()| 0).map_err(|error| error.to_string())
}

/// Where the files of packages really lie.
#[derive(Default)]
struct Diverted {
    to: HashMap<Vec<u8>, Diversion>,
}

impl Diverted {
    fn of(diversions: Vec<Diversion>, aliases: &Aliases) -> Self {
        Self { to: diversions.into_iter().map(|diversion| (aliases.resolve(&diversion.from), diversion)).collect() }
    }

    fn path(&self, path: &[u8], packages: &[Package], package: u32, aliases: &Aliases) -> Vec<u8> {
        if self.to.is_empty() {
            return path.to_vec();
        }
        let Some(diversion) = self.to.get(&aliases.resolve(path)) else { return path.to_vec() };
        let name = usize::try_from(package).ok().and_then(|number| packages.get(number)).map(|package| &package.name);
        let is_its_own = name.is_some_and(|name| name.as_bytes() == diversion.by);
        if is_its_own { path.to_vec() } else { diversion.to.clone() }
    }
}

fn mtime(stat: &Statx) -> Nanos {
    Nanos(nanoseconds(stat.stx_mtime))
}

/// The last name of a path, without the ending of a list.
fn stem(path: &[u8]) -> &[u8] {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let end = [b".list".as_slice(), b".md5sums"].iter().find_map(|end| name.strip_suffix(*end));
    end.unwrap_or(name)
}

/// The path of the folder that holds a path.
fn folder(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(path, |at| &path[..at])
}
