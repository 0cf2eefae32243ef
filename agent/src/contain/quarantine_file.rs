//! `quarantine_file`: the file is taken out of reach and its content kept, with all that is known of it, below
//! `<state>/contain/kept/ID/content`.
//!
//! The content is copied and hashed first, and only a file that did not change meanwhile is taken away: it is given a name
//! of ours, looked at again by its inode, and unlinked. So what another program put in its place in the last moment goes
//! back to its name. Undoing makes a new file with owner, mode, times, ACLs, capabilities and other extended attributes,
//! and never takes the place of one that is there meanwhile. The kept content stays, as evidence.
//!
//! Refused by name: folders, devices and links; a file of more than one name, which would stay reachable by the others;
//! what belongs to this program. Known limits: whoever has the file open, or runs it, goes on with it (`kill_process`);
//! the inode's number, its birth and its change time are not brought back.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, IFlags};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use wire::Sha256;
use wire::containment::Action;

use super::replace::{self, Meta};
use super::{Contain, Effect, Failed, Keep, Look, Plan, Scene, Unplanned};

/// A longer file is not taken: there must be room for it twice.
const FILE_BYTES_MAX: u64 = 2 << 30;
const PIECE_BYTES: usize = 1 << 20;
const CONTENT: &str = "content";
/// Flags that keep a file from being unlinked; taken off first, and put on again at the end.
const HOLDING: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);
/// File systems of the kernel's own: nothing there is a file.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// See the module.
pub struct QuarantineFile;

/// A file that is taken away.
#[derive(Debug, Serialize, Deserialize)]
pub struct Quarantine {
    dev: u64,
    /// Flags as chattr(1) shows them, where the file system has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flags: Option<u32>,
    ino: u64,
    /// It is unlinked: whatever bears its number later is another file.
    #[serde(default)]
    is_gone: bool,
    meta: Meta,
    path: PathBuf,
    /// Of what was kept; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    size: u64,
    /// What it must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wanted: Option<Sha256>,
}

impl Contain for QuarantineFile {
    const NAME: &'static str = "quarantine_file";
    const SUMMARY: &'static str =
        "The file is taken out of reach; its content is kept, and put back with all its metadata.";
    type Step = Quarantine;

    fn plan(action: &Action, scene: &Scene<'_>) -> Result<Plan<Quarantine>, Unplanned> {
        let Action::QuarantineFile { path, sha256 } = action else {
            return Err(Unplanned(format!("`{}` is no {}", action.name(), Self::NAME)));
        };
        let refused = |why: &str| Unplanned(format!("{path}: {why}"));
        let path = PathBuf::from(path);
        let is_plain = path.is_absolute() && !path.components().any(|part| part.as_os_str() == "..");
        if !is_plain || path.file_name().is_none() {
            return Err(refused("an absolute path without `..` is wanted"));
        }
        if KERNEL.iter().any(|folder| path.starts_with(folder)) {
            return Err(refused("nothing there is a file"));
        }
        let own = [scene.state, Path::new(crate::trust::SITE_FOLDER)];
        if own.into_iter().any(|folder| scene.host.path(&path).starts_with(folder) || path.starts_with(folder)) {
            return Err(refused("it belongs to this program"));
        }
        let (folder, name) = replace::folder_of(scene.host, &path).map_err(|error| refused(&said(&error)))?;
        let file = replace::open_regular(folder.as_fd(), name).map_err(|error| refused(&said(&error)))?;
        let meta = file.metadata().map_err(|error| refused(&error.to_string()))?;
        if meta.nlink() > 1 {
            return Err(refused(&format!(
                "it has {} names (hard links), and would stay reachable by the others",
                meta.nlink()
            )));
        }
        if meta.len() > FILE_BYTES_MAX {
            return Err(refused(&format!("it has {} bytes, and {FILE_BYTES_MAX} are the most", meta.len())));
        }
        let program = std::fs::metadata("/proc/self/exe").map(|exe| (exe.dev(), exe.ino())).ok();
        if program == Some((meta.dev(), meta.ino())) {
            return Err(refused("it is this program"));
        }
        let about = Meta::of(&file).map_err(|error| refused(&error.to_string()))?;
        if let Some(wanted) = sha256 {
            let found = copy(&file, &mut io::sink()).map_err(|error| refused(&error.to_string()))?;
            if found != *wanted {
                return Err(refused(&format!("it holds {found}, and {wanted} was meant")));
            }
        }
        Ok(Plan::of(vec![Quarantine {
            dev: meta.dev(),
            flags: rustix::fs::ioctl_getflags(&file).ok().map(|flags| flags.bits()),
            ino: meta.ino(),
            is_gone: false,
            meta: about,
            path,
            sha256: None,
            size: meta.len(),
            wanted: *sha256,
        }]))
    }
}

fn said(error: &io::Error) -> String {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
            "it is, or lies behind, a symbolic link".to_owned()
        }
        Some(rustix::io::Errno::NOENT) => "there is no such file".to_owned(),
        _ => error.to_string(),
    }
}

/// Copies from the beginning, and answers the digest.
fn copy(file: &File, to: &mut dyn io::Write) -> io::Result<Sha256> {
    let mut file = file;
    file.rewind()?;
    let mut hasher = sha2::Sha256::default();
    let mut piece = vec![0; PIECE_BYTES];
    let mut total = 0;
    loop {
        let length = file.read(&mut piece)?;
        let bytes = piece.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(Sha256::so_far(&hasher));
        }
        total += length as u64;
        if total > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        hasher.update(bytes);
        to.write_all(bytes)?;
    }
}

/// A name of ours beside the file.
fn ours(scene: &Scene<'_>) -> String {
    format!(".holdfast-{}", scene.id)
}

impl Quarantine {
    fn at<E: Into<io::Error>>(&self) -> impl FnOnce(E) -> Failed + use<E> {
        Failed::at(self.path.display().to_string())
    }

    fn because(&self, why: &str) -> Failed {
        Failed::because(format!("{}: {why}", self.path.display()))
    }

    fn is_ours(&self, folder: &OwnedFd, name: &OsStr) -> bool {
        let found = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (self.dev, self.ino))
    }

    /// The content on our side, whole and on the medium.
    fn keep_content(&mut self, scene: &Scene<'_>, file: &File) -> Result<(), Failed> {
        let before = file.metadata().map_err(self.at())?;
        self.meta = Meta::of(file).map_err(self.at())?;
        let kept = scene.kept();
        let done = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&kept).and_then(|()| {
            let folder = rustix::fs::open(
                &kept,
                rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )?;
            let draft = replace::drafted(folder.as_fd(), "content.new")?;
            let mut out = &draft;
            let sha256 = copy(file, &mut out)?;
            out.flush()?;
            draft.sync_all()?;
            rustix::fs::renameat(&folder, "content.new", &folder, CONTENT)?;
            rustix::fs::fsync(&folder)?;
            Ok(sha256)
        });
        let sha256 = done.map_err(Failed::at(format!("{}", kept.display())))?;
        let after = file.metadata().map_err(self.at())?;
        let moment =
            |meta: &std::fs::Metadata| (meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        if moment(&before) != moment(&after) {
            return Err(self.because("it changed while it was copied"));
        }
        if self.wanted.is_some_and(|wanted| wanted != sha256) {
            return Err(self.because(&format!("it holds {sha256}, which is not what was meant")));
        }
        self.size = after.len();
        self.sha256 = Some(sha256);
        Ok(())
    }

    fn flag(&self, file: &File, flags: IFlags) {
        if let Err(error) = rustix::fs::ioctl_setflags(file, flags) {
            tracing::warn!(path = %self.path.display(), %error, "its flags cannot be set");
        }
    }

    fn flags(&self) -> IFlags {
        IFlags::from_bits_retain(self.flags.unwrap_or(0))
    }
}

impl Effect for Quarantine {
    fn says(&self) -> String {
        let flags =
            if self.flags().intersects(HOLDING) { ", whose immutable or append-only flag is taken off" } else { "" };
        format!(
            "{} ({} bytes{flags}) is taken away, and its content kept on this host; whoever has it open goes on with it",
            self.path.display(),
            self.size
        )
    }

    fn apply(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<(), Failed> {
        if self.is_gone {
            return Ok(());
        }
        let path = self.path.clone();
        let (folder, name) = replace::folder_of(scene.host, &path).map_err(self.at())?;
        let ours = ours(scene);
        if self.is_ours(&folder, name) {
            let file = replace::open_regular(folder.as_fd(), name).map_err(self.at())?;
            if file.metadata().map_err(self.at())?.nlink() > 1 {
                return Err(self.because("it has been given another name (hard link)"));
            }
            self.keep_content(scene, &file)?;
            keep(self).map_err(Failed::at("the journal"))?;
            if self.flags().intersects(HOLDING) {
                self.flag(&file, self.flags().difference(HOLDING));
            }
            replace::rename_to_free(folder.as_fd(), name, OsStr::new(&ours)).map_err(self.at())?;
            if !self.is_ours(&folder, OsStr::new(&ours)) {
                replace::rename_to_free(folder.as_fd(), OsStr::new(&ours), name).map_err(self.at())?;
                return Err(self.because("another file took its place"));
            }
        } else if self.sha256.is_none() {
            return Err(self.because("it is not the file any more that was meant"));
        }
        if self.is_ours(&folder, OsStr::new(&ours)) {
            rustix::fs::unlinkat(&folder, ours.as_str(), AtFlags::empty()).map_err(self.at())?;
            rustix::fs::fsync(&folder).map_err(self.at())?;
        }
        self.is_gone = true;
        keep(self).map_err(Failed::at("the journal"))
    }

    fn undo(&mut self, scene: &Scene<'_>, _: &mut Keep<'_, Self>) -> Result<Vec<String>, Failed> {
        let kept = scene.kept().join(CONTENT);
        let said =
            |why: &str| Ok(vec![format!("{}: {why}; what it held is kept in {}", self.path.display(), kept.display())]);
        let Ok((folder, name)) = replace::folder_of(scene.host, &self.path) else {
            return said("its folder is not there any more");
        };
        let ours = ours(scene);
        let ours = OsStr::new(&ours);
        if !self.is_gone && self.is_ours(&folder, ours) {
            // It was about to go: it has its name again, and is what it was.
            if replace::rename_to_free(folder.as_fd(), ours, name).is_err() {
                rustix::fs::unlinkat(&folder, ours, AtFlags::empty()).map_err(self.at())?;
                return said("another file is there meanwhile");
            }
        }
        if !self.is_gone && self.is_ours(&folder, name) {
            if self.flags().intersects(HOLDING) {
                self.flag(&replace::open_regular(folder.as_fd(), name).map_err(self.at())?, self.flags());
            }
            return Ok(Vec::new());
        }
        let Some(sha256) = self.sha256 else { return said("it is not the file any more that was meant") };
        if rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            // Ours from an undo that was cut off, or somebody else's.
            let there = replace::open_regular(folder.as_fd(), name).and_then(|file| copy(&file, &mut io::sink()));
            return if there.is_ok_and(|there| there == sha256) {
                Ok(Vec::new())
            } else {
                said("another file is there meanwhile")
            };
        }
        let content = File::open(&kept).map_err(Failed::at(kept.display().to_string()))?;
        let file = replace::drafted(folder.as_fd(), &ours.to_string_lossy()).map_err(self.at())?;
        let found = copy(&content, &mut &file).map_err(self.at())?;
        if found != sha256 {
            let _ = rustix::fs::unlinkat(&folder, ours, AtFlags::empty());
            return said("what was kept of it is damaged");
        }
        self.meta.give(&file).map_err(self.at())?;
        file.sync_all().map_err(self.at())?;
        if replace::rename_to_free(folder.as_fd(), ours, name).is_err() {
            let _ = rustix::fs::unlinkat(&folder, ours, AtFlags::empty());
            return said("another file is there meanwhile");
        }
        if self.flags.is_some_and(|flags| flags != 0) {
            self.flag(&file, self.flags());
        }
        Ok(Vec::new())
    }

    fn looks(&self, scene: &Scene<'_>) -> Vec<Look> {
        let is_gone = replace::folder_of(scene.host, &self.path)
            .map_or(true, |(folder, name)| rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_err());
        let what = format!("{} is {}", self.path.display(), if is_gone { "not there" } else { "there again" });
        vec![Look { can_wait: true, ..Look::at(is_gone, what) }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contain::testing::Stage;
    use crate::host::{Host, SystemClock};

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("opt/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("x"), b"\x7fELF evil\0").unwrap();
        std::fs::set_permissions(bin.join("x"), std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
        let _ = rustix::fs::setxattr(bin.join("x"), "user.origin", b"web", rustix::fs::XattrFlags::empty());
        File::options()
            .write(true)
            .open(bin.join("x"))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(7, 9))
            .unwrap();
        root
    }

    fn host(root: &Path) -> Host {
        Host::at(root, SystemClock)
    }

    fn action(path: &str) -> Action {
        Action::QuarantineFile { path: path.to_owned(), sha256: None }
    }

    #[test]
    fn undo_after_apply_is_the_identity() {
        let root = root();
        let before = Stage::tree(root.path());
        let attributes = Meta::of(&File::open(root.path().join("opt/bin/x")).unwrap()).unwrap();
        let sha256 = Some(Sha256::of(b"\x7fELF evil\0"));
        let mut stage = Stage::of::<QuarantineFile>(
            host(root.path()),
            Action::QuarantineFile { path: "/opt/bin/x".into(), sha256 },
        );
        stage.apply().unwrap();
        assert_eq!(std::fs::read_dir(root.path().join("opt/bin")).unwrap().count(), 0);
        stage.apply().unwrap();
        assert!(stage.holds());
        assert_eq!(stage.undo().unwrap(), Vec::<String>::new());
        assert_eq!(stage.undo().unwrap(), Vec::<String>::new());
        // First of all: whoever reads it moves the time of the last access.
        let again = Meta::of(&File::open(root.path().join("opt/bin/x")).unwrap()).unwrap();
        assert_eq!(again, attributes, "times and extended attributes too");
        assert_eq!(Stage::tree(root.path()), before);
    }

    #[test]
    fn what_is_there_meanwhile_is_left_and_said() {
        let root = root();
        let mut stage = Stage::of::<QuarantineFile>(host(root.path()), action("/opt/bin/x"));
        stage.apply().unwrap();
        std::fs::write(root.path().join("opt/bin/x"), "a new one").unwrap();
        assert!(!stage.holds());
        let left = stage.undo().unwrap();
        assert!(left.len() == 1 && left[0].contains("another file is there meanwhile"), "{left:?}");
        assert_eq!(std::fs::read(root.path().join("opt/bin/x")).unwrap(), b"a new one");
        let kept = left[0].rsplit(' ').next().unwrap();
        assert_eq!(std::fs::read(kept).unwrap(), b"\x7fELF evil\0", "the content stays, as evidence");
    }

    #[test]
    fn another_file_than_was_planned_for_is_not_taken() {
        let root = root();
        let mut stage = Stage::of::<QuarantineFile>(host(root.path()), action("/opt/bin/x"));
        std::fs::write(root.path().join("opt/bin/y"), "another").unwrap();
        std::fs::rename(root.path().join("opt/bin/y"), root.path().join("opt/bin/x")).unwrap();
        assert!(stage.apply().unwrap_err().what.contains("not the file any more"));
        assert_eq!(std::fs::read(root.path().join("opt/bin/x")).unwrap(), b"another");
    }

    #[test]
    fn wrong_input_is_refused_by_name() {
        let root = root();
        let at = root.path().join("opt");
        std::os::unix::fs::symlink("bin/x", at.join("link")).unwrap();
        std::os::unix::fs::symlink("bin", at.join("folder")).unwrap();
        std::fs::write(at.join("two"), "x").unwrap();
        std::fs::hard_link(at.join("two"), at.join("names")).unwrap();
        let file = File::create(at.join("long")).unwrap();
        file.set_len(FILE_BYTES_MAX + 1).unwrap();
        for (path, wanted) in [
            ("opt/bin/x", "an absolute path"),
            ("/opt/../opt/bin/x", "without `..`"),
            ("/", "an absolute path"),
            ("/opt/bin", "no regular file"),
            ("/opt/none", "there is no such file"),
            ("/opt/link", "a symbolic link"),
            ("/opt/folder/x", "a symbolic link"),
            ("/opt/two", "2 names (hard links)"),
            ("/opt/long", "are the most"),
            ("/proc/1/exe", "nothing there is a file"),
            ("/etc/holdfast/policy.toml", "belongs to this program"),
        ] {
            let refused = Stage::refused::<QuarantineFile>(host(root.path()), action(path));
            assert!(refused.contains(wanted) && refused.contains(path), "{path}: {refused}");
        }
        let other = Action::QuarantineFile { path: "/opt/bin/x".into(), sha256: Some(Sha256([7; 32])) };
        assert!(Stage::refused::<QuarantineFile>(host(root.path()), other).contains("was meant"));
    }
}
