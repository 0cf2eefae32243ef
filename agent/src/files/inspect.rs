//! Small files that a collector parses: found by globs, handed over as any file is, and their bytes kept for the parser.
//!
//! A symbolic link that a glob names is also read where it leads, because whoever uses the file follows it: the object
//! then has the link's path and the content behind it. What is sensitive is never given to a parser that does not ask
//! for it, under whatever name a link reaches it.

use std::collections::HashSet;

use bundle::item::{Kind, Status};
use rustix::fs::Statx;
use wire::Sha256;

use super::copy::{Copier, note_missed};
use super::digest::digest;
use crate::host::Host;
use crate::host::glob::{Glob, names};
use crate::host::meta::Type;
use crate::host::walk::{Asked, Entry, Missed, Visitor, walk};
use crate::run::session::{Session, Stopped};

/// The most bytes of one file that a parser gets.
pub const CONTENT_BYTES_MAX: u64 = 1 << 20;
/// The most bytes of one file that goes into the bundle.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The most objects of one look.
const OBJECTS_MAX: usize = 100_000;
/// The most bytes of content that one look holds.
const HELD_BYTES_MAX: u64 = 128 << 20;

/// What becomes of the files that are found, besides being parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// They go into the bundle.
    Files,
    /// They go into the bundle as far as they are not sensitive, and the parser sees the sensitive ones too: it promises
    /// to pass nothing on that is secret.
    FilesAndParseSecrets,
    /// Only their metadata and digests are taken: for files too large to be worth keeping.
    Digests,
}

/// An object that was found.
pub struct Found {
    /// The number of the glob that found it.
    pub asked: usize,
    /// Its path.
    pub path: Vec<u8>,
    /// What statx(2) says of it: of a link, of the link itself.
    pub stat: Statx,
    /// Where it points, when it is a symbolic link.
    pub link_target: Option<Vec<u8>>,
    /// The path of the regular file that a link leads to in the end.
    pub resolved: Option<Vec<u8>>,
    /// The content of a regular file, or of the one that a link leads to; `None` for anything else, for what is
    /// sensitive, and for what could not be read.
    pub content: Option<Vec<u8>>,
    /// True when the content is longer than what is here.
    pub is_cut: bool,
    /// Digest of the whole content.
    pub sha256: Option<Sha256>,
}

impl Found {
    /// Its type.
    pub fn file_type(&self) -> Type {
        Type::of(self.stat.stx_mode)
    }

    /// The last name of its path.
    pub fn name(&self) -> &[u8] {
        last_name(&self.path)
    }
}

/// The last name of a path.
pub fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Everything but folders that the globs name, each object once for each glob, in the order of the walk.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn inspect(session: &mut Session, globs: &[Glob], homes: &[Vec<u8>], keep: Keep) -> Result<Vec<Found>, Stopped> {
    let host = std::sync::Arc::clone(session.host());
    let numbered = (0_u32..).zip(globs);
    let paths = numbered.flat_map(|(n, glob)| glob.below(homes).into_iter().map(move |path| (n, path)));
    let asked = Asked { paths: paths.collect(), ..Asked::default() };
    let copier = Copier::new(session, Some(FILE_BYTES_MAX));
    let mut look =
        Look { session, copier, keep, found: Vec::new(), seen: HashSet::new(), held_bytes: 0, is_full: false };
    walk(&host, &asked, &mut look)?;
    look.follow_links(&host)?;
    Ok(look.found)
}

struct Look<'a> {
    session: &'a mut Session,
    copier: Copier,
    keep: Keep,
    found: Vec<Found>,
    seen: HashSet<(usize, Vec<u8>)>,
    held_bytes: u64,
    is_full: bool,
}

/// The content of a file, as far as it was read.
#[derive(Default)]
struct Content {
    bytes: Option<Vec<u8>>,
    is_cut: bool,
    sha256: Option<Sha256>,
}

impl Look<'_> {
    fn content(&mut self, entry: &Entry<'_>) -> Result<Content, Stopped> {
        let size = entry.stat.stx_size;
        self.session.spend(size.min(CONTENT_BYTES_MAX))?;
        if self.keep == Keep::Digests {
            return self.digest(entry);
        }
        if self.held_bytes >= HELD_BYTES_MAX {
            self.limited(format!("more than {HELD_BYTES_MAX} bytes to be parsed"))?;
            return Ok(Content::default());
        }
        let with_secrets = self.keep == Keep::FilesAndParseSecrets;
        // An error is noted by the copier, which reads the same file.
        let Ok(Some(mut bytes)) = self.copier.peek(self.session, entry, CONTENT_BYTES_MAX + 1, with_secrets) else {
            return Ok(Content::default());
        };
        let is_cut = bytes.len() as u64 > CONTENT_BYTES_MAX;
        let mut sha256 = None;
        if is_cut {
            bytes.truncate(usize::try_from(CONTENT_BYTES_MAX).unwrap_or(usize::MAX));
            let path = String::from_utf8_lossy(entry.path).into_owned();
            self.limited(format!("only the first {CONTENT_BYTES_MAX} bytes of {path} are parsed"))?;
        } else {
            sha256 = Some(Sha256::of(&bytes));
        }
        self.held_bytes += bytes.len() as u64;
        Ok(Content { bytes: Some(bytes), is_cut, sha256 })
    }

    fn digest(&mut self, entry: &Entry<'_>) -> Result<Content, Stopped> {
        use std::os::fd::AsFd as _;
        let size = entry.stat.stx_size;
        let outcome = match entry.view.open_file(entry.folder, entry.name) {
            Ok(file) => digest(self.session, file.as_fd(), size, super::copy::FILE_BYTES_MAX)?.sha256,
            Err(error) => {
                let item = self.session.item(Kind::File, entry.path, "read", Status::Error).failed(&error);
                self.session.note(item)?;
                None
            }
        };
        Ok(Content { sha256: outcome, ..Content::default() })
    }

    fn limited(&mut self, rule: String) -> Result<(), Stopped> {
        if self.is_full {
            return Ok(());
        }
        self.is_full = true;
        self.session.limited(rule)
    }

    /// Reads what the links that were found lead to.
    fn follow_links(&mut self, host: &Host) -> Result<(), Stopped> {
        let links = self.found.iter().enumerate().filter(|(_, found)| found.link_target.is_some());
        let paths = links.filter_map(|(n, found)| Some((u32::try_from(n).ok()?, names(&found.path).collect())));
        let asked = Asked { paths: paths.collect(), ..Asked::default() };
        if asked.paths.is_empty() {
            return Ok(());
        }
        walk(host, &asked, &mut Following(self))
    }
}

impl Visitor for Look<'_> {
    type Stop = Stopped;

    fn go_on(&mut self, path: &[u8]) -> Result<(), Stopped> {
        self.session.at(path);
        self.session.go_on()
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Stopped> {
        let file_type = entry.file_type();
        if file_type == Type::Folder {
            return self.session.go_on();
        }
        if entry.hidden_under.is_some() {
            // Nothing uses it while something lies over it; the file itself is evidence.
            return self.copier.hand_over(self.session, entry);
        }
        if self.found.len() >= OBJECTS_MAX {
            return self.limited(format!("more than {OBJECTS_MAX} objects in one family"));
        }
        if self.keep != Keep::Digests || file_type != Type::File {
            self.copier.hand_over(self.session, entry)?;
        }
        for number in asked {
            let number = usize::try_from(*number).unwrap_or(usize::MAX);
            if !self.seen.insert((number, entry.path.to_vec())) {
                continue;
            }
            let content = if file_type == Type::File { self.content(entry)? } else { Content::default() };
            let is_link = file_type == Type::Link;
            let link_target = is_link.then(|| entry.view.read_link(entry.folder, entry.name).unwrap_or_default());
            self.found.push(Found {
                asked: number,
                path: entry.path.to_vec(),
                stat: *entry.stat,
                link_target,
                resolved: None,
                content: content.bytes,
                is_cut: content.is_cut,
                sha256: content.sha256,
            });
        }
        Ok(())
    }

    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        note_missed(self.session, path, why)
    }
}

/// The second walk: the numbers are those of the links among the found.
struct Following<'a, 'b>(&'a mut Look<'b>);

impl Visitor for Following<'_, '_> {
    type Stop = Stopped;

    fn go_on(&mut self, path: &[u8]) -> Result<(), Stopped> {
        self.0.go_on(path)
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Stopped> {
        let look = &mut *self.0;
        if asked.is_empty() || entry.hidden_under.is_some() || entry.file_type() != Type::File {
            return look.session.go_on();
        }
        if look.keep != Keep::Digests {
            look.copier.hand_over(look.session, entry)?;
        }
        for number in asked {
            let content = look.content(entry)?;
            let Some(found) = usize::try_from(*number).ok().and_then(|n| look.found.get_mut(n)) else { continue };
            found.resolved = Some(entry.path.to_vec());
            (found.content, found.is_cut, found.sha256) = (content.bytes, content.is_cut, content.sha256);
        }
        Ok(())
    }

    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        self.0.missed(path, why)
    }
}
