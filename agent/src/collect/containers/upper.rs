//! What a container changed against its image: the upper folder of its overlay, metadata only.

use bundle::item::Nanos;
use rustix::fs::Statx;

use super::row::{ContainerRow, UpperRow};
use crate::files::contents::each_object;
use crate::host::meta::{Type, nanoseconds};
use crate::run::session::{Session, Stopped};

/// Hands over a row for each object below the upper folder, folders left out, at most `most` of them.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn rows(session: &mut Session, container: &ContainerRow, upper: &str, most: u64) -> Result<(), Stopped> {
    let (mut left, mut is_full) = (most, false);
    each_object(session, &[&format!("{upper}/**")], |session, entry, _| {
        let file_type = entry.file_type();
        if file_type == Type::Folder {
            return Ok(());
        }
        if left == 0 {
            is_full = true;
            return Ok(());
        }
        left -= 1;
        let host_path = String::from_utf8_lossy(entry.path).into_owned();
        let stat = entry.stat;
        session.row(&UpperRow {
            container: container.id.clone(),
            ctime_ns: Nanos(nanoseconds(stat.stx_ctime)),
            gid: stat.stx_gid,
            is_executable: file_type == Type::File && stat.stx_mode & 0o111 != 0,
            is_whiteout: is_whiteout(stat, file_type),
            mode: format!("{:04o}", stat.stx_mode & 0o7777),
            mtime_ns: Nanos(nanoseconds(stat.stx_mtime)),
            path: host_path.strip_prefix(upper).unwrap_or(&host_path).to_owned(),
            host_path,
            record: "upper_file",
            size_bytes: stat.stx_size,
            file_type: file_type.name(),
            uid: stat.stx_uid,
        })
    })?;
    if is_full {
        session.limited(format!("more than {most} changed files of container {}", container.id))?;
    }
    Ok(())
}

/// A character device 0:0 stands for a deleted file of the image.
fn is_whiteout(stat: &Statx, file_type: Type) -> bool {
    file_type == Type::Char && stat.stx_rdev_major == 0 && stat.stx_rdev_minor == 0
}
