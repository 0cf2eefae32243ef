//! What a container changed against its image: the upper folder of its overlay, metadata only.

use bundle::item::Nanos;
use rustix::fs::Statx;

use super::row::{ContainerRow, UpperRow};
use crate::files::copy::note_missed;
use crate::host::glob::Glob;
use crate::host::meta::{Type, nanoseconds};
use crate::host::walk::{Asked, Entry, Missed, Visitor, walk};
use crate::run::session::{Session, Stopped};

/// Hands over a row for each object below the upper folder, folders left out, at most `most` of them.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn rows(
    session: &mut Session,
    container: &ContainerRow,
    upper: &str,
    glob: &Glob,
    most: u64,
) -> Result<(), Stopped> {
    let host = session.host().clone();
    let paths = glob.below(&[]).into_iter().map(|path| (0, path)).collect();
    let mut listing = Listing { session, container, upper, left: most, is_full: false };
    walk(&host, &Asked { paths, ..Asked::default() }, &mut listing)?;
    if listing.is_full {
        session.limited(format!("more than {most} changed files of container {}", container.id))?;
    }
    Ok(())
}

struct Listing<'a> {
    session: &'a mut Session,
    container: &'a ContainerRow,
    upper: &'a str,
    left: u64,
    is_full: bool,
}

impl Visitor for Listing<'_> {
    type Stop = Stopped;

    fn go_on(&mut self, path: &[u8]) -> Result<(), Stopped> {
        self.session.at(path);
        self.session.go_on()
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Stopped> {
        let file_type = entry.file_type();
        if asked.is_empty() || file_type == Type::Folder || entry.hidden_under.is_some() {
            return Ok(());
        }
        if self.left == 0 {
            self.is_full = true;
            return Ok(());
        }
        self.left -= 1;
        let host_path = String::from_utf8_lossy(entry.path).into_owned();
        let stat = entry.stat;
        self.session.row(&UpperRow {
            container: self.container.id.clone(),
            ctime_ns: Nanos(nanoseconds(stat.stx_ctime)),
            gid: stat.stx_gid,
            is_executable: file_type == Type::File && stat.stx_mode & 0o111 != 0,
            is_whiteout: is_whiteout(stat, file_type),
            mode: format!("{:04o}", stat.stx_mode & 0o7777),
            mtime_ns: Nanos(nanoseconds(stat.stx_mtime)),
            path: host_path.strip_prefix(self.upper).unwrap_or(&host_path).to_owned(),
            host_path,
            record: "upper_file",
            size_bytes: stat.stx_size,
            file_type: file_type.name(),
            uid: stat.stx_uid,
        })
    }

    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        note_missed(self.session, path, why)
    }
}

/// A character device 0:0 stands for a deleted file of the image.
fn is_whiteout(stat: &Statx, file_type: Type) -> bool {
    file_type == Type::Char && stat.stx_rdev_major == 0 && stat.stx_rdev_minor == 0
}
