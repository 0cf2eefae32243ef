//! Finds what globs ask for and hands it over: the engine of the collectors `files` and `logs`.

use std::time::{Duration, Instant as Monotonic};

use bundle::item::{Kind, Status};
use bundle::time::Instant;

use super::copy::{Copier, note_missed};
use super::since::{Since, is_changed_since};
use crate::collect::{Failure, Plan};
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::meta::Type;
use crate::host::walk::{Asked, Entry, Missed, Visitor, walk};
use crate::run::session::{Session, Stopped};

/// A plan counts for at most this long; after that it says where it would read and not how much.
const PLAN_WALL_MAX: Duration = Duration::from_secs(10);

/// What is asked of the host's files.
pub struct Request<'a> {
    /// What to take.
    pub paths: &'a [Glob],
    /// What to leave out, with all below it.
    pub exclude: &'a [Glob],
    /// Only what changed at this moment or later, by content or by inode.
    pub changed_since: Option<Since>,
    /// The most bytes of one file.
    pub file_bytes_max: Option<u64>,
    /// Only these types; empty for all.
    pub types: &'a [Type],
    /// Mount points of network and FUSE file systems that are entered.
    pub mounts: &'a [String],
}

impl<'a> Request<'a> {
    /// Everything that these globs name.
    pub fn of(paths: &'a [Glob]) -> Self {
        Self { paths, exclude: &[], changed_since: None, file_bytes_max: None, types: &[], mounts: &[] }
    }

    /// Hands over everything that is asked for; each glob that brought nothing is noted.
    ///
    /// # Errors
    /// [`Failure::Stopped`].
    pub fn gather(&self, session: &mut Session) -> Result<(), Failure> {
        let mut copier = Copier::new(session, self.file_bytes_max);
        self.each(session, |session, entry, _| copier.hand_over(session, entry))
    }

    /// Calls `take` with everything that is asked for, and the numbers of the globs that ask for it (none for a
    /// symbolic link on the way to one); each glob that brought nothing is noted.
    ///
    /// # Errors
    /// [`Failure::Stopped`].
    pub fn each(
        &self,
        session: &mut Session,
        take: impl FnMut(&mut Session, &Entry<'_>, &[u32]) -> Result<(), Stopped>,
    ) -> Result<(), Failure> {
        let host = std::sync::Arc::clone(session.host());
        let (asked, error) = self.asked(&host);
        if let Some(error) = error {
            let item = session.item(Kind::File, "/etc/passwd", "read", Status::Error);
            session.note(item.failed(&error).because("homes other than /root are not known"))?;
        }
        let filter = self.filter(session.now());
        let brought = vec![Brought::default(); self.paths.len()];
        let mut gathering = Gathering { session, take, filter, brought };
        walk(&host, &asked, &mut gathering)?;
        let brought = gathering.brought;
        for (glob, brought) in self.paths.iter().zip(brought) {
            let reason = match (brought, self.changed_since) {
                (Brought { taken: 1.., .. }, _) => continue,
                (Brought { matched: 0, .. }, _) => "nothing matches".to_owned(),
                (Brought { matched, .. }, Some(since)) => format!("{matched} match, none changed since {since}"),
                (Brought { matched, .. }, None) => format!("{matched} match, none of the wanted type"),
            };
            let item = session.item(Kind::File, glob.text(), "walk", Status::Skipped);
            session.note(item.because(reason))?;
        }
        Ok(())
    }

    /// What [`Request::gather`] would read.
    pub fn plan(&self, host: &Host) -> Plan {
        let (asked, _) = self.asked(host);
        let filter = self.filter(host.now());
        let until = Monotonic::now() + PLAN_WALL_MAX;
        let mut counting = Counting { filter, until, files: 0, bytes: 0 };
        let is_all = walk(host, &asked, &mut counting).is_ok();
        Plan {
            reads: self.paths.iter().map(|glob| glob.text().to_owned()).collect(),
            files: is_all.then_some(counting.files),
            bytes: is_all.then_some(counting.bytes),
            ..Plan::default()
        }
    }

    fn filter(&self, now: Instant) -> Filter<'a> {
        Filter { since: self.changed_since.map(|since| since.moment(now)), types: self.types }
    }

    fn asked(&self, host: &Host) -> (Asked, Option<std::io::Error>) {
        let is_of_homes = self.paths.iter().chain(self.exclude).any(Glob::is_of_homes);
        let (homes, error) = if is_of_homes { host.homes() } else { (Vec::new(), None) };
        let numbered = (0_u32..).zip(self.paths);
        let paths = numbered.flat_map(|(n, glob)| glob.below(&homes).into_iter().map(move |path| (n, path)));
        let asked = Asked {
            paths: paths.collect(),
            excluded: self.exclude.iter().flat_map(|glob| glob.below(&homes)).collect(),
            entered_mounts: self.mounts.iter().map(|mount| mount.clone().into_bytes()).collect(),
            each_file_once: false,
        };
        (asked, error)
    }
}

struct Filter<'a> {
    since: Option<Instant>,
    types: &'a [Type],
}

impl Filter<'_> {
    fn wants(&self, entry: &Entry<'_>) -> bool {
        let is_of_type = self.types.is_empty() || self.types.contains(&entry.file_type());
        is_of_type && self.since.is_none_or(|since| is_changed_since(entry.stat, since))
    }
}

/// What came of one glob.
#[derive(Clone, Copy, Default)]
struct Brought {
    matched: u64,
    taken: u64,
}

struct Gathering<'a, F> {
    session: &'a mut Session,
    take: F,
    filter: Filter<'a>,
    brought: Vec<Brought>,
}

impl<F: FnMut(&mut Session, &Entry<'_>, &[u32]) -> Result<(), Stopped>> Visitor for Gathering<'_, F> {
    type Stop = Stopped;

    fn go_on(&mut self, path: &[u8]) -> Result<(), Stopped> {
        self.session.at(path);
        self.session.go_on()
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Stopped> {
        let is_wanted = asked.is_empty() || self.filter.wants(entry);
        for number in asked {
            if let Some(brought) = usize::try_from(*number).ok().and_then(|n| self.brought.get_mut(n)) {
                brought.matched += 1;
                brought.taken += u64::from(is_wanted);
            }
        }
        if is_wanted { (self.take)(self.session, entry, asked) } else { self.session.go_on() }
    }

    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        note_missed(self.session, path, why)
    }
}

struct Counting<'a> {
    filter: Filter<'a>,
    until: Monotonic,
    files: u64,
    bytes: u64,
}

impl Visitor for Counting<'_> {
    type Stop = ();

    fn go_on(&mut self, _path: &[u8]) -> Result<(), ()> {
        if Monotonic::now() < self.until { Ok(()) } else { Err(()) }
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), ()> {
        if !asked.is_empty() && entry.file_type() == Type::File && self.filter.wants(entry) {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(entry.stat.stx_size);
        }
        Ok(())
    }

    fn missed(&mut self, _path: &[u8], _why: Missed) -> Result<(), ()> {
        Ok(())
    }
}
