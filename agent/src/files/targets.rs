//! What the paths that a configuration names are: whether they exist, whose they are, and their digests.
//!
//! Paths are looked at in batches, one walk for each, and each path and each content once in a step.

use std::collections::HashMap;
use std::os::fd::AsFd as _;

use rustix::fs::Statx;
use wire::Sha256;

use super::digest::digest;
use crate::host::glob::names;
use crate::host::meta::{Type, inode_of};
use crate::host::walk::{Asked, Entry, Missed, Visitor, walk};
use crate::run::session::{Session, Stopped};

/// The most paths of one step.
const PATHS_MAX: usize = 50_000;
/// The most bytes that one step digests.
const DIGESTED_BYTES_MAX: u64 = 2 << 30;

/// What is at a path.
#[derive(Clone)]
pub enum At {
    /// An object; links were followed.
    Found(Box<Object>),
    /// Nothing: no such name, or a link that leads nowhere.
    Nothing,
    /// It was not looked at: the path leads to a network mount, or could not be walked.
    Unknown,
}

/// An object that a path leads to.
#[derive(Clone)]
pub struct Object {
    /// Where it is, links followed.
    pub path: Vec<u8>,
    /// What statx(2) says of it.
    pub stat: Statx,
    /// Digest of its content, for a regular file within the bounds.
    pub sha256: Option<Sha256>,
}

/// The paths looked at so far.
pub struct Targets {
    known: HashMap<Vec<u8>, At>,
    digests: HashMap<(u64, u64), Option<Sha256>>,
    file_bytes_max: u64,
    bytes_left: u64,
    told: bool,
}

impl Targets {
    /// None yet; files of at most `file_bytes_max` are digested.
    pub fn new(file_bytes_max: u64) -> Self {
        Self {
            known: HashMap::new(),
            digests: HashMap::new(),
            file_bytes_max,
            bytes_left: DIGESTED_BYTES_MAX,
            told: false,
        }
    }

    /// What is at `path`, if it was looked at.
    pub fn at(&self, path: &[u8]) -> At {
        self.known.get(path).cloned().unwrap_or(At::Unknown)
    }

    /// Looks at those of `paths` that are absolute and not known yet.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn look<'p>(
        &mut self,
        session: &mut Session,
        paths: impl IntoIterator<Item = &'p [u8]>,
    ) -> Result<(), Stopped> {
        let mut wanted: Vec<Vec<u8>> = Vec::new();
        for path in paths {
            if !path.starts_with(b"/") || path.len() > 4096 || path.contains(&0) || self.known.contains_key(path) {
                continue;
            }
            if self.known.len() >= PATHS_MAX {
                return self.tell(session, format!("more than {PATHS_MAX} paths are named"));
            }
            self.known.insert(path.to_vec(), At::Nothing);
            wanted.push(path.to_vec());
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let host = std::sync::Arc::clone(session.host());
        let paths = (0_u32..).zip(&wanted).map(|(n, path)| (n, names(path).collect()));
        let asked = Asked { paths: paths.collect(), ..Asked::default() };
        walk(&host, &asked, &mut Looking { targets: self, session, wanted: &wanted })
    }

    fn tell(&mut self, session: &mut Session, rule: String) -> Result<(), Stopped> {
        if std::mem::replace(&mut self.told, true) { Ok(()) } else { session.limited(rule) }
    }

    fn digest(&mut self, session: &mut Session, entry: &Entry<'_>) -> Result<Option<Sha256>, Stopped> {
        let size = entry.stat.stx_size;
        if entry.file_type() != Type::File || size > self.file_bytes_max {
            return Ok(None);
        }
        if let Some(known) = self.digests.get(&inode_of(entry.stat)) {
            return Ok(*known);
        }
        if size > self.bytes_left {
            self.tell(session, format!("more than {DIGESTED_BYTES_MAX} bytes behind the named paths"))?;
            return Ok(None);
        }
        self.bytes_left -= size;
        session.at(entry.path);
        let sha256 = match entry.view.open_file(entry.folder, entry.name) {
            Ok(file) if Type::of(entry.view.stat(file.as_fd(), c"").map_or(0, |stat| stat.stx_mode)) == Type::File => {
                digest(session, file.as_fd(), size, size)?.sha256
            }
            _ => None,
        };
        self.digests.insert(inode_of(entry.stat), sha256);
        Ok(sha256)
    }
}

struct Looking<'a> {
    targets: &'a mut Targets,
    session: &'a mut Session,
    wanted: &'a [Vec<u8>],
}

impl Visitor for Looking<'_> {
    type Stop = Stopped;

    fn go_on(&mut self, _path: &[u8]) -> Result<(), Stopped> {
        self.session.go_on()
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Stopped> {
        if asked.is_empty() || entry.hidden_under.is_some() || entry.file_type() == Type::Link {
            return Ok(());
        }
        let sha256 = self.targets.digest(self.session, entry)?;
        for number in asked {
            if let Some(path) = usize::try_from(*number).ok().and_then(|n| self.wanted.get(n)) {
                let object = Object { path: entry.path.to_vec(), stat: *entry.stat, sha256 };
                self.targets.known.insert(path.clone(), At::Found(Box::new(object)));
            }
        }
        Ok(())
    }

    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        // A name in a path that is no folder, or is not there, is an answer; a mount that is not entered is none.
        let is_answer = matches!(&why, Missed::Error(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory));
        if !is_answer {
            for wanted in self.wanted.iter().filter(|wanted| wanted.starts_with(path)) {
                if matches!(self.targets.known.get(wanted), Some(At::Nothing)) {
                    self.targets.known.insert(wanted.clone(), At::Unknown);
                }
            }
        }
        Ok(())
    }
}
