//! The walk over the host's files: from descriptor to descriptor, never by path.
//!
//! Why not walkdir: a path longer than PATH_MAX cannot be opened, a folder that an intruder swaps for a link is
//! followed, and the access times of folders move. Here each name is looked up in its open folder.
//!
//! The walk knows what is asked for ([`Glob`]) and descends only where something can still match: for `/etc/**` it opens
//! `/` and `etc` and never lists `/`. It goes from mount to mount by the mount table, each through a view of its own
//! ([`View`]), never through the tree; what is hidden under a mount is walked as well, where the view can show it.
//!
//! Symbolic links are followed only where the asked path itself goes through one (`/var/run/x`, `/etc/rc?.d/*`) and at
//! the end of a path without patterns; what `**` meets is not followed, so no loop is walked. A path that goes through
//! a link is asked anew, with the link's target in its place.
//!
//! Limits: [`DEPTH_MAX`] open folders, [`ENTRIES_MAX`] entries of one folder and [`NAMES_BYTES_MAX`] bytes of names at
//! one time, [`LINKS_MAX`] links in a path. What they leave out is missed by name.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{FileType, RawDir, Statx};

use super::Host;
use super::glob::{Component, names};
use super::meta::Type;
use super::mounts::{Mount, MountTable};
use super::views::{Method, View};

/// The most folders that are open at one time, which is how deep a walk goes.
pub const DEPTH_MAX: usize = 128;
/// The most entries of one folder that are taken.
pub const ENTRIES_MAX: usize = 1_000_000;
/// The most bytes of names that are held for all open folders together.
pub const NAMES_BYTES_MAX: usize = 256 << 20;
/// The most symbolic links in one path (MAXSYMLINKS of the kernel).
pub const LINKS_MAX: u8 = 40;
/// The most paths that are asked anew because of links.
const REDIRECTIONS_MAX: usize = 100_000;
/// What one getdents64(2) may fill.
const LISTING_BYTES: usize = 64 << 10;

/// An object that was found.
pub struct Entry<'a> {
    /// Its path as the host knows it.
    pub path: &'a [u8],
    /// The folder that holds it; the object itself when `name` is empty (the root of a mount).
    pub folder: BorrowedFd<'a>,
    /// Its name in the folder.
    pub name: &'a CStr,
    /// What statx(2) said when it was found.
    pub stat: &'a Statx,
    /// The view that it was found through.
    pub view: &'a View,
    /// The mount point that hides it, if one does.
    pub hidden_under: Option<&'a [u8]>,
}

impl Entry<'_> {
    /// Its type.
    pub fn file_type(&self) -> Type {
        Type::of(self.stat.stx_mode)
    }

    /// Opens it for reading if it is a regular file, with what statx(2) says of what was opened.
    ///
    /// # Errors
    /// As openat2(2); `NotFound` when it is, or was replaced by, something else.
    pub fn open_regular(&self) -> io::Result<(File, Statx)> {
        if self.file_type() != Type::File {
            return Err(io::ErrorKind::NotFound.into());
        }
        let opened = self.view.open_file(self.folder, self.name)?;
        let stat = self.view.stat(opened.as_fd(), c"")?;
        if Type::of(stat.stx_mode) != Type::File {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok((File::from(opened), stat))
    }
}

/// Why something was not walked.
#[derive(Debug)]
pub enum Missed {
    /// The operating system refused.
    Error(io::Error),
    /// A rule left it out.
    Rule(String),
}

/// Who is told of a walk. An `Err` ends the walk.
pub trait Visitor {
    /// What ends the walk early.
    type Stop;
    /// Called with each folder, before it is opened.
    fn go_on(&mut self, path: &[u8]) -> Result<(), Self::Stop>;
    /// An object that matches the asked paths with these numbers; none for a symbolic link on the way to one.
    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Self::Stop>;
    /// Something that could hold asked objects and was not walked.
    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Self::Stop>;
}

/// What a walk is for.
#[derive(Debug, Default)]
pub struct Asked {
    /// The paths, each with a number of the caller's.
    pub paths: Vec<(u32, Vec<Component>)>,
    /// Paths that are left out, with all below them.
    pub excluded: Vec<Vec<Component>>,
    /// Mount points of network and FUSE file systems that are entered.
    pub entered_mounts: Vec<Vec<u8>>,
    /// Leaves out a bind mount of what another mount shows as well.
    pub each_file_once: bool,
}

/// Walks the host for what is asked, in the order of names; each object comes once for each way that leads to it.
///
/// # Errors
/// What the visitor says.
pub fn walk<V: Visitor>(host: &Host, asked: &Asked, visitor: &mut V) -> Result<(), V::Stop> {
    let table = match host.mount_table() {
        Ok(table) => table,
        Err(error) => return visitor.missed(b"/proc/thread-self/mountinfo", Missed::Error(error)),
    };
    let Some(root) = table.root() else {
        let why = "no mount at / in /proc/thread-self/mountinfo".to_owned();
        return visitor.missed(b"/", Missed::Rule(why));
    };
    let mut patterns: Vec<Pattern> = Vec::new();
    let include = asked.paths.iter().map(|(number, path)| Pattern::new(Some(*number), path.clone(), 0));
    patterns.extend(include);
    let mut redirected = HashSet::new();
    while !patterns.is_empty() {
        patterns.extend(asked.excluded.iter().map(|path| Pattern::new(None, path.clone(), 0)));
        let mut walker = Walker {
            host,
            table: &table,
            asked,
            patterns: &patterns,
            visitor,
            redirections: Vec::new(),
            depth: 0,
            names_bytes: 0,
            listing: vec![MaybeUninit::uninit(); LISTING_BYTES],
        };
        let mut tracks = Vec::new();
        let mut hits = Vec::new();
        for rule in 0..patterns.len() {
            walker.arrive(rule, 0, false, &mut tracks, &mut hits);
        }
        walker.mount(root, b"/", &tracks, &hits)?;
        let found = walker.redirections;
        patterns = Vec::new();
        for pattern in found {
            if redirected.len() >= REDIRECTIONS_MAX {
                let why = format!("more than {REDIRECTIONS_MAX} paths go through symbolic links");
                visitor.missed(&pattern.text(), Missed::Rule(why))?;
                break;
            }
            if redirected.insert((pattern.asked, pattern.text())) {
                patterns.push(pattern);
            }
        }
    }
    Ok(())
}

/// A path that is asked for (`asked` is its number) or left out.
struct Pattern {
    asked: Option<u32>,
    components: Vec<Component>,
    links: u8,
    is_literal: bool,
}

impl Pattern {
    fn new(asked: Option<u32>, components: Vec<Component>, links: u8) -> Self {
        let is_literal = components.iter().all(|at| matches!(at, Component::Name(_) | Component::Parent));
        Self { asked, components, links, is_literal }
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for component in &self.components {
            text.push(b'/');
            text.extend_from_slice(component.text());
        }
        text
    }
}

/// How far a folder has come in a pattern: `at` is the component that a name in it must match next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    rule: usize,
    at: usize,
    /// True when it came here by `**`: then a symbolic link ends it.
    is_deep: bool,
}

struct Walker<'a, V: Visitor> {
    host: &'a Host,
    table: &'a MountTable,
    asked: &'a Asked,
    patterns: &'a [Pattern],
    visitor: &'a mut V,
    redirections: Vec<Pattern>,
    depth: usize,
    names_bytes: usize,
    listing: Vec<MaybeUninit<u8>>,
}

/// A folder that is being walked.
struct Folder<'a> {
    path: &'a [u8],
    opened: BorrowedFd<'a>,
    view: &'a View,
    hidden_under: Option<&'a [u8]>,
}

impl<V: Visitor> Walker<'_, V> {
    /// Adds what a pattern expects from component `at` on: a name, or with `**` also what comes after it.
    fn arrive(&self, rule: usize, at: usize, is_deep: bool, tracks: &mut Vec<Track>, hits: &mut Vec<usize>) {
        let components = &self.patterns[rule].components;
        if at == components.len() {
            if !hits.contains(&rule) {
                hits.push(rule);
            }
            return;
        }
        let of_rule = tracks.iter_mut().rev().take_while(|track| track.rule == rule);
        if let Some(there) = of_rule.filter(|track| track.at == at).last() {
            there.is_deep &= is_deep;
        } else {
            tracks.push(Track { rule, at, is_deep });
        }
        if matches!(components[at], Component::Deep) && at + 1 < components.len() {
            self.arrive(rule, at + 1, is_deep, tracks, hits);
        }
    }

    /// Where `tracks` come by `name`. True when the name is left out.
    fn step(&self, tracks: &[Track], name: &[u8], next: &mut Vec<Track>, hits: &mut Vec<usize>) -> bool {
        next.clear();
        hits.clear();
        for track in tracks {
            let components = &self.patterns[track.rule].components;
            match &components[track.at] {
                Component::Name(wanted) if wanted == name => {
                    self.arrive(track.rule, track.at + 1, false, next, hits);
                }
                Component::Names(wanted) if wanted.holds(name) => {
                    self.arrive(track.rule, track.at + 1, false, next, hits);
                }
                Component::Deep => {
                    if track.at + 1 == components.len() && !hits.contains(&track.rule) {
                        hits.push(track.rule);
                    }
                    self.arrive(track.rule, track.at, true, next, hits);
                }
                _ => {}
            }
        }
        hits.iter().any(|rule| self.patterns[*rule].asked.is_none())
    }

    fn is_asked(&self, track: &Track) -> bool {
        self.patterns[track.rule].asked.is_some()
    }

    fn numbers(&self, hits: &[usize]) -> Vec<u32> {
        let mut numbers: Vec<u32> = hits.iter().filter_map(|rule| self.patterns[*rule].asked).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Walks a mount that is mounted at `path`, if it may be entered.
    fn mount(&mut self, mount: &Mount, path: &[u8], tracks: &[Track], hits: &[usize]) -> Result<(), V::Stop> {
        if let Err(rule) = mount.may_enter(&self.asked.entered_mounts) {
            return self.visitor.missed(path, Missed::Rule(rule));
        }
        if self.asked.each_file_once
            && let Some(same) = self.table.shown_by(mount)
        {
            let why = format!("a bind mount of what {} shows", String::from_utf8_lossy(&same.point));
            return self.visitor.missed(path, Missed::Rule(why));
        }
        let view = match self.host.view(mount) {
            Ok(view) => view,
            Err(error) => return self.visitor.missed(path, Missed::Error(error)),
        };
        let stat = match view.stat(view.root(), c"") {
            Ok(stat) => stat,
            Err(error) => return self.visitor.missed(path, Missed::Error(error)),
        };
        let entry = Entry { path, folder: view.root(), name: c"", stat: &stat, view: &view, hidden_under: None };
        self.object(&entry, tracks, hits)
    }

    /// Hands an object over if it is asked for, and goes on below it or behind it.
    fn object(&mut self, entry: &Entry<'_>, tracks: &[Track], hits: &[usize]) -> Result<(), V::Stop> {
        let numbers = self.numbers(hits);
        if entry.file_type() == Type::Link {
            return self.link(entry, tracks, hits, &numbers);
        }
        if !numbers.is_empty() {
            self.visitor.entry(entry, &numbers)?;
        }
        if entry.file_type() == Type::Folder && tracks.iter().any(|track| self.is_asked(track)) {
            return self.enter(entry, tracks);
        }
        Ok(())
    }

    /// A symbolic link: handed over, and the paths that go through it asked anew.
    fn link(&mut self, entry: &Entry<'_>, tracks: &[Track], hits: &[usize], numbers: &[u32]) -> Result<(), V::Stop> {
        let through: Vec<Track> =
            tracks.iter().filter(|track| !track.is_deep && self.is_asked(track)).copied().collect();
        let ends = hits.iter().filter(|rule| self.patterns[**rule].is_literal);
        let ends: Vec<Track> = ends
            .filter(|rule| self.patterns[**rule].asked.is_some())
            .map(|rule| Track { rule: *rule, at: self.patterns[*rule].components.len(), is_deep: false })
            .collect();
        if !numbers.is_empty() || !through.is_empty() {
            self.visitor.entry(entry, numbers)?;
        }
        if through.is_empty() && ends.is_empty() {
            return Ok(());
        }
        let target = match entry.view.read_link(entry.folder, entry.name) {
            Ok(target) => target,
            Err(error) => return self.visitor.missed(entry.path, Missed::Error(error)),
        };
        let mut start: Vec<Component> = Vec::new();
        if !target.starts_with(b"/") {
            start.extend(names(entry.path));
            start.pop();
        }
        start.extend(names(&target));
        for track in through.iter().chain(&ends) {
            let pattern = &self.patterns[track.rule];
            if pattern.links >= LINKS_MAX {
                let why = format!("more than {LINKS_MAX} symbolic links in the path");
                self.visitor.missed(entry.path, Missed::Rule(why))?;
                continue;
            }
            let rest = &pattern.components[track.at..];
            let components = start.iter().chain(rest).cloned().collect();
            self.redirections.push(Pattern::new(pattern.asked, components, pattern.links + 1));
        }
        Ok(())
    }

    /// Walks a folder.
    fn enter(&mut self, entry: &Entry<'_>, tracks: &[Track]) -> Result<(), V::Stop> {
        self.visitor.go_on(entry.path)?;
        if let Some(rule) = self.excludes_all(tracks) {
            return self.visitor.missed(entry.path, Missed::Rule(rule));
        }
        if self.depth >= DEPTH_MAX {
            let why = format!("deeper than {DEPTH_MAX} folders");
            return self.visitor.missed(entry.path, Missed::Rule(why));
        }
        let opened = match entry.view.open_folder(entry.folder, entry.name) {
            Ok(opened) => opened,
            Err(error) => return self.visitor.missed(entry.path, Missed::Error(error)),
        };
        let folder =
            Folder { path: entry.path, opened: opened.as_fd(), view: entry.view, hidden_under: entry.hidden_under };
        self.depth += 1;
        let outcome = self.folder(&folder, tracks);
        self.depth -= 1;
        outcome
    }

    /// The rule that leaves out everything in a folder: one that ends with `**` there.
    fn excludes_all(&self, tracks: &[Track]) -> Option<String> {
        let mut excluded = tracks.iter().filter(|track| !self.is_asked(track));
        let all = excluded.find(|track| {
            let components = &self.patterns[track.rule].components;
            track.at + 1 == components.len() && matches!(components[track.at], Component::Deep)
        })?;
        let text = self.patterns[all.rule].text();
        Some(format!("excluded by {}", String::from_utf8_lossy(&text)))
    }

    fn folder(&mut self, folder: &Folder<'_>, tracks: &[Track]) -> Result<(), V::Stop> {
        let mut named: BTreeMap<&[u8], Vec<Track>> = BTreeMap::new();
        let mut matching = Vec::new();
        let patterns = self.patterns;
        for track in tracks {
            match &patterns[track.rule].components[track.at] {
                Component::Name(name) => named.entry(name).or_default().push(*track),
                Component::Parent => self.go_up(folder, *track),
                Component::Names(_) | Component::Deep => matching.push(*track),
            }
        }
        let mounted: BTreeMap<Vec<u8>, &Mount> = if folder.hidden_under.is_some() {
            BTreeMap::new()
        } else {
            let there = self.table.in_folder(folder.view.mount().id, folder.path);
            there.map(|(name, mount)| (name.to_vec(), mount)).collect()
        };
        if matching.iter().any(|track| self.is_asked(track)) {
            let listing = self.list(folder)?;
            self.names_bytes += listing.bytes.len();
            let mut expected = Vec::new();
            for start in &listing.starts {
                let (name, file_type) = listing.at(*start);
                expected.clear();
                expected.extend_from_slice(&matching);
                expected.extend(named.get(name.to_bytes()).into_iter().flatten());
                self.name(folder, &mounted, name, Some(file_type), &expected)?;
            }
            self.names_bytes -= listing.bytes.len();
        } else {
            let mut expected = Vec::new();
            for (name, named) in &named {
                if !named.iter().any(|track| self.is_asked(track)) {
                    continue;
                }
                expected.clear();
                expected.extend_from_slice(&matching);
                expected.extend_from_slice(named);
                // A name with a NUL byte is nobody's name.
                let Ok(name) = CString::new(*name) else { continue };
                self.name(folder, &mounted, &name, None, &expected)?;
            }
        }
        Ok(())
    }

    /// `..` in the target of a link: the folder is a real one, so its path without the last name is the way up.
    fn go_up(&mut self, folder: &Folder<'_>, track: Track) {
        let pattern = &self.patterns[track.rule];
        let mut components: Vec<Component> = names(folder.path).collect();
        components.pop();
        components.extend_from_slice(&pattern.components[track.at + 1..]);
        self.redirections.push(Pattern::new(pattern.asked, components, pattern.links));
    }

    /// A name in a folder: one that was listed, with the type that the list gave it, or one that is asked for.
    fn name(
        &mut self,
        folder: &Folder<'_>,
        mounted: &BTreeMap<Vec<u8>, &Mount>,
        name: &CStr,
        listed: Option<FileType>,
        tracks: &[Track],
    ) -> Result<(), V::Stop> {
        let (mut next, mut hits) = (Vec::new(), Vec::new());
        if self.step(tracks, name.to_bytes(), &mut next, &mut hits) {
            return Ok(());
        }
        let leads_on = next.iter().any(|track| self.is_asked(track));
        let is_leaf = |listed| !matches!(listed, FileType::Unknown | FileType::Directory | FileType::Symlink);
        let is_known_leaf = listed.is_some_and(is_leaf);
        let mount = mounted.get(name.to_bytes()).copied();
        if hits.is_empty() && (!leads_on || is_known_leaf && mount.is_none()) {
            return Ok(());
        }
        let mut path = folder.path.to_vec();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        let Some(mount) = mount else {
            return self.found(folder, (name, listed.is_some()), &path, folder.hidden_under, (&next, &hits));
        };
        if folder.view.method() == Method::Clone {
            self.found(folder, (name, listed.is_some()), &path, Some(&mount.point), (&next, &hits))?;
        }
        self.mount(mount, &path, &next, &hits)
    }

    fn found(
        &mut self,
        folder: &Folder<'_>,
        (name, is_listed): (&CStr, bool),
        path: &[u8],
        hidden_under: Option<&[u8]>,
        (tracks, hits): (&[Track], &[usize]),
    ) -> Result<(), V::Stop> {
        match folder.view.stat(folder.opened, name) {
            Ok(stat) if !folder.view.is_own(&stat) => {
                let why = "it lies on another mount, which is not in the mount table".to_owned();
                self.visitor.missed(path, Missed::Rule(why))
            }
            Ok(stat) => {
                let entry = Entry { path, folder: folder.opened, name, stat: &stat, view: folder.view, hidden_under };
                self.object(&entry, tracks, hits)
            }
            // Asked for by name and not there: said by whoever asked. Listed and gone again: `vanished`.
            Err(error) if error.kind() == io::ErrorKind::NotFound && hits.is_empty() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_listed => Ok(()),
            Err(error) => self.visitor.missed(path, Missed::Error(error)),
        }
    }

    /// The names in a folder, sorted.
    fn list(&mut self, folder: &Folder<'_>) -> Result<Listing, V::Stop> {
        let mut listing = Listing::default();
        let mut missed = None;
        let mut entries = RawDir::new(folder.opened, &mut self.listing);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    missed = Some(Missed::Error(error.into()));
                    break;
                }
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if listing.starts.len() >= ENTRIES_MAX {
                missed = Some(Missed::Rule(format!("more than {ENTRIES_MAX} entries in the folder")));
                break;
            }
            if self.names_bytes + listing.bytes.len() > NAMES_BYTES_MAX {
                missed = Some(Missed::Rule(format!("more than {NAMES_BYTES_MAX} bytes of names at one time")));
                break;
            }
            listing.push(name, entry.file_type());
        }
        listing.sort();
        if let Some(why) = missed {
            self.visitor.missed(folder.path, why)?;
        }
        Ok(listing)
    }
}

/// Names of a folder in one piece of memory: type, name, NUL, one after the other.
#[derive(Default)]
struct Listing {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

const TYPES: [FileType; 8] = [
    FileType::Unknown,
    FileType::RegularFile,
    FileType::Directory,
    FileType::Symlink,
    FileType::Fifo,
    FileType::Socket,
    FileType::CharacterDevice,
    FileType::BlockDevice,
];

impl Listing {
    fn push(&mut self, name: &CStr, file_type: FileType) {
        self.starts.push(self.bytes.len());
        let file_type = TYPES.iter().position(|known| *known == file_type).unwrap_or(0);
        self.bytes.push(u8::try_from(file_type).unwrap_or(0));
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        let name = |start: usize| CStr::from_bytes_until_nul(&bytes[start + 1..]).unwrap_or_default();
        self.starts.sort_unstable_by(|a, b| name(*a).cmp(name(*b)));
    }

    fn at(&self, start: usize) -> (&CStr, FileType) {
        let name = CStr::from_bytes_until_nul(&self.bytes[start + 1..]).unwrap_or_default();
        (name, TYPES[usize::from(self.bytes[start])])
    }
}
