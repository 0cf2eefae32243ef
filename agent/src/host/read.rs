//! Single files of the host's disks, by path: through the view of their mount, so that no access time moves, no network
//! mount is entered, and symbolic links lead where they lead on the host.

use std::fs::File;
use std::io::{self, Read as _};

use rustix::fs::Statx;

use super::Host;
use super::glob::{Glob, names};
use super::meta::{Type, inode_of};
use super::walk::{Asked, Entry, Missed, Visitor, walk};

impl Host {
    /// Reads a regular file, at most `bytes_max` of it. For files on disks; what the kernel makes up (`/proc`, `/sys`)
    /// is for [`Host::read`].
    ///
    /// # Errors
    /// As open(2) and read(2); `NotFound` when there is no regular file, `FileTooLarge` when there is more.
    pub fn read_file(&self, path: &[u8], bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(path)?.0.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    /// Opens a regular file for reading, with what statx(2) says of it. For files on disks.
    ///
    /// # Errors
    /// As open(2); `NotFound` when there is no regular file.
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is for one lifetime, not for any")]
    pub fn open_file(&self, path: &[u8]) -> io::Result<(File, Statx)> {
        self.object_at(path, Type::File, |entry| entry.open_regular())
    }

    /// Where the symbolic link at `path` points.
    ///
    /// # Errors
    /// As readlink(2); `NotFound` when there is no link.
    pub fn link_at(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        self.object_at(path, Type::Link, |entry| entry.view.read_link(entry.folder, entry.name))
    }

    /// Device and inode of the regular file at `path`, if there is one.
    pub fn inode_at(&self, path: &[u8]) -> Option<(u64, u64)> {
        self.object_at(path, Type::File, |entry| Ok(inode_of(entry.stat))).ok()
    }

    /// The regular files that a glob names, and the symbolic links, which [`Host::read_file`] follows, in the order of their paths, at most `files_max` of them.
    pub fn files_at(&self, glob: &Glob, files_max: usize) -> Vec<Vec<u8>> {
        let paths = glob.below(&[]).into_iter().map(|path| (0, path)).collect();
        let mut all = All { paths: Vec::new(), files_max };
        let _ = walk(self, &Asked { paths, ..Asked::default() }, &mut all);
        all.paths.sort_unstable();
        all.paths.dedup();
        all.paths
    }

    fn object_at<T>(&self, path: &[u8], wanted: Type, with: impl Fn(&Entry<'_>) -> io::Result<T>) -> io::Result<T> {
        let asked = Asked { paths: vec![(0, names(path).collect())], ..Asked::default() };
        let mut first = First { wanted, with, outcome: None };
        let _ = walk(self, &asked, &mut first);
        first.outcome.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }
}

/// Takes the paths of regular files and of links, and nothing of what cannot be walked: whoever needs the files says so of each.
struct All {
    paths: Vec<Vec<u8>>,
    files_max: usize,
}

impl Visitor for All {
    type Stop = ();

    fn go_on(&mut self, _path: &[u8]) -> Result<(), ()> {
        if self.paths.len() < self.files_max { Ok(()) } else { Err(()) }
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), ()> {
        let is_wanted = matches!(entry.file_type(), Type::File | Type::Link);
        if !asked.is_empty() && entry.hidden_under.is_none() && is_wanted {
            self.paths.push(entry.path.to_vec());
        }
        self.go_on(entry.path)
    }

    fn missed(&mut self, _path: &[u8], _why: Missed) -> Result<(), ()> {
        Ok(())
    }
}

/// Takes the first object of the wanted type that the walk finds.
struct First<T, F> {
    wanted: Type,
    with: F,
    outcome: Option<io::Result<T>>,
}

impl<T, F: Fn(&Entry<'_>) -> io::Result<T>> Visitor for First<T, F> {
    type Stop = ();

    fn go_on(&mut self, _path: &[u8]) -> Result<(), ()> {
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), ()> {
        if asked.is_empty() || entry.hidden_under.is_some() || entry.file_type() != self.wanted {
            return Ok(());
        }
        self.outcome = Some((self.with)(entry));
        Err(())
    }

    fn missed(&mut self, _path: &[u8], why: Missed) -> Result<(), ()> {
        self.outcome = Some(Err(match why {
            Missed::Error(error) => error,
            Missed::Rule(rule) => io::Error::other(rule),
        }));
        Ok(())
    }
}
