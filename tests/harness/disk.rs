//! A small disk of a test's own, which can be filled, emptied and made read-only while programs work on it: a tmpfs, so
//! only for root.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

use crate::process::until;

/// What takes up the room. Its name says so to whoever looks for the cause.
const BALLAST: &str = "ballast";
const SOON: Duration = Duration::from_secs(20);

/// See the module. It is taken away when this is dropped; what is still open on it lives on until then.
pub struct Disk {
    folder: PathBuf,
    /// Folders that were made mounts of their own, to be read-only alone.
    apart: Vec<PathBuf>,
}

impl Disk {
    /// A disk of so many bytes at this folder, which is made.
    pub fn mount(folder: &Path, bytes: u64) -> Self {
        fs::create_dir_all(folder).unwrap();
        let data = std::ffi::CString::new(format!("size={bytes},mode=700")).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", folder, "tmpfs", flags, data.as_c_str()).unwrap();
        Self { folder: folder.to_owned(), apart: Vec::new() }
    }

    /// Takes up all room but so many bytes.
    pub fn fill(&self, left: u64) {
        let there = rustix::fs::statvfs(&self.folder).unwrap();
        let free = there.f_bavail * there.f_frsize;
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.folder.join(BALLAST)).unwrap();
        let piece = vec![0; 64 << 10];
        for _ in 0..free.saturating_sub(left) / piece.len() as u64 {
            if file.write_all(&piece).is_err() {
                return;
            }
        }
        // The last pages, while others may be writing too.
        while left == 0 && file.write_all(&piece[..4096]).is_ok() {}
    }

    /// Gives the room back.
    pub fn empty(&self) {
        let _ = fs::remove_file(self.folder.join(BALLAST));
    }

    /// Makes a folder on it read-only, for root too. Whoever is writing a file ends that first.
    pub fn write_protect(&mut self, name: &str) {
        let folder = self.folder.join(name);
        if !self.apart.contains(&folder) {
            mount_bind(&folder, &folder).unwrap();
            self.apart.push(folder.clone());
        }
        until("nobody writes there", SOON, || mount_remount(&folder, MountFlags::BIND | MountFlags::RDONLY, "").ok());
    }

    /// Takes the protection back.
    pub fn allow_writes(&self) {
        for folder in &self.apart {
            mount_remount(folder, MountFlags::BIND, "").unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for folder in self.apart.iter().chain([&self.folder]) {
            let _ = unmount(folder, UnmountFlags::DETACH);
        }
    }
}
