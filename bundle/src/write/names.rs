//! The names that are taken, and the folders that exist: no name twice, and nothing below a name that is no folder.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// See the module.
///
/// Names are remembered by 64 bits of a hash with fixed keys: two names that share them cost the second one a needless
/// `=DUP`, never an overwritten entry.
#[derive(Default)]
pub(super) struct Names {
    taken: HashSet<u64>,
    folders: HashSet<u64>,
}

fn short(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl Names {
    /// Takes `name`, or `name=DUP`, `name=DUP=DUP` …
    pub(super) fn unique(&mut self, mut name: String) -> String {
        while self.folders.contains(&short(&name)) || !self.taken.insert(short(&name)) {
            name.push_str("=DUP");
        }
        name
    }

    /// Takes a name under `[root]`; `None` when it could not be extracted there, because one of its parents is a file or
    /// a symbolic link, or because it is itself a folder already.
    pub(super) fn place(&mut self, name: String) -> Option<String> {
        let beneath_a_file = parents(&name).any(|parent| self.taken.contains(&short(parent)));
        if beneath_a_file || self.folders.contains(&short(&name)) {
            return None;
        }
        Some(self.unique(name))
    }

    /// Calls `open` with each folder above `name` that is not there yet, outermost first, with its final slash.
    pub(super) fn folders_for(&mut self, name: &str, mut open: impl FnMut(String)) {
        // Most entries stand in a folder that is there.
        match name.rfind('/') {
            Some(end) if !self.folders.contains(&short(&name[..end])) => {}
            _ => return,
        }
        for parent in parents(name) {
            if self.folders.insert(short(parent)) {
                open(format!("{parent}/"));
            }
        }
    }
}

/// `a`, `a/b` for `a/b/c`.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_twice_and_nothing_below_a_file() {
        let mut names = Names::default();
        assert_eq!(names.unique("a/b".into()), "a/b");
        assert_eq!(names.unique("a/b".into()), "a/b=DUP");
        assert_eq!(names.unique("a/b".into()), "a/b=DUP=DUP");
        let mut opened = Vec::new();
        names.folders_for("x/y/z", |folder| opened.push(folder));
        names.folders_for("x/y/w", |folder| opened.push(folder));
        assert_eq!(opened, ["x/", "x/y/"]);
        assert_eq!(names.place("a/b/c".into()), None);
        assert_eq!(names.place("x/y".into()), None);
        assert_eq!(names.place("x/y/z".into()).as_deref(), Some("x/y/z"));
    }
}
