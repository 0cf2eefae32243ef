//! Which of the files that processes hold lie on a mount that is not entered: what answers from elsewhere may never
//! answer. Mounts are those of each process's own mount namespace.

use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;

use rustix::fs::Statx;

use super::per_process::Walk;
use crate::host::mounts::{self, Class, MountTable};
use crate::host::proc::{Hands, Pages, bracketed, deleted};
use crate::run::session::{Session, Stopped};

/// The longest mountinfo that is read, in bytes.
const MOUNTINFO_BYTES_MAX: usize = 64 << 20;

/// The mounts of each mount namespace that was met.
#[derive(Default)]
pub(super) struct MountRules {
    tables: HashMap<u64, MountTable>,
    remote: HashSet<(u32, u32)>,
}

impl MountRules {
    /// The rule that keeps `path` of the process at hand from being read, if there is one. `path` is the text of a link
    /// of procfs.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub(super) fn of_path(
        &mut self,
        session: &mut Session,
        walk: &mut Walk,
        at: (u32, BorrowedFd<'_>),
        path: &[u8],
    ) -> Result<Option<String>, Stopped> {
        let namespace = match walk.link(session, at, c"ns/mnt")? {
            Some(link) => bracketed(walk.pages.get(link)).unwrap_or(0),
            None => 0,
        };
        let Self { tables, remote } = self;
        let table = tables.entry(namespace).or_insert_with(|| {
            let table = table_of(&mut walk.pages, at.1);
            let is_remote = |mount: &&mounts::Mount| matches!(mount.class(), Class::Remote | Class::Unknown);
            remote.extend(table.all().iter().filter(is_remote).map(|mount| (mount.major, mount.minor)));
            table
        });
        Ok(table.covering(deleted(path).0).and_then(|mount| mount.may_enter(&[]).err()))
    }

    /// The rule for a file that was looked at: its path may no longer say where it lies. To be asked when all processes
    /// were met.
    pub(super) fn of_device(&self, found: &Statx) -> Option<&'static str> {
        let is_remote = self.remote.contains(&(found.stx_dev_major, found.stx_dev_minor));
        is_remote.then_some("its file system is answered from elsewhere")
    }
}

/// The mounts as a process sees them; empty when it does not say, and then nothing is known to be remote.
fn table_of(pages: &mut Pages, process: BorrowedFd<'_>) -> MountTable {
    let text = pages.read(process, c"mountinfo", Hands::InPieces, MOUNTINFO_BYTES_MAX);
    let mounts = text.map(|text| mounts::parse(pages.get(text)).mounts);
    MountTable::new(mounts.unwrap_or_default())
}
