//! The count of this agent's questions for orders: kept before each question, so that it only ever grows. The server sees
//! by it that a host was set back to an older state, or that somebody else asks with its keys.

use std::path::{Path, PathBuf};

use wire::host::Beat;

use crate::state::file;

const FILE: &str = "beat";
const BYTES_MAX: u64 = 64;

/// See the module.
#[derive(Debug)]
pub struct Beats {
    boot_id: Option<String>,
    count: u64,
    folder: PathBuf,
    is_told: bool,
}

impl Beats {
    /// Goes on where the state folder says. A count that cannot be read begins anew, which the server will see.
    pub fn load(folder: &Path, boot_id: Option<String>) -> Self {
        let kept = file::get(&folder.join(FILE), BYTES_MAX).unwrap_or_else(|error| {
            tracing::warn!(%error, "the count of questions cannot be read: it begins anew");
            None
        });
        let count = kept.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Self { boot_id, count, folder: folder.to_owned(), is_told: false }
    }

    /// The next one, once it is on the medium; none where it cannot be kept: one that could come again says nothing.
    pub fn count_on(&mut self) -> Option<Beat> {
        let count = self.count.checked_add(1)?;
        match file::put(&self.folder, FILE, format!("{count}\n").as_bytes(), true) {
            Ok(()) => self.count = count,
            Err(error) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    tracing::warn!(%error, "the count of questions cannot be kept: the server is asked without it");
                }
                return None;
            }
        }
        Some(Beat { boot_id: self.boot_id.clone(), count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_grows_over_restarts_and_says_nothing_where_it_cannot_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let next = |beats: &mut Beats| beats.count_on().map(|beat| beat.count);
        let mut beats = Beats::load(folder.path(), Some("b".into()));
        assert_eq!((next(&mut beats), next(&mut beats)), (Some(1), Some(2)));
        let mut again = Beats::load(folder.path(), None);
        assert_eq!(again.count_on(), Some(Beat { boot_id: None, count: 3 }));
        std::fs::write(folder.path().join(FILE), "no number").unwrap();
        assert_eq!(next(&mut Beats::load(folder.path(), None)), Some(1));
        let mut nowhere = Beats::load(&folder.path().join("gone"), None);
        assert_eq!((next(&mut nowhere), next(&mut nowhere)), (None, None));
    }
}
