//! What a process's mappings say, counted.

use bundle::item::shown;

use super::row::is_temporary;
use crate::host::proc;
use crate::host::proc::maps::Mapping;

/// Paths of one kind that a row has.
const PATHS_MAX: usize = 16;

/// The mappings that tell something, counted; paths at most sixteen, each once, in the order of their addresses.
#[derive(Debug, Default)]
pub struct MapFacts {
    /// Executable memory that no file stands behind: anonymous, heap, stack.
    pub anonymous_executable: u64,
    /// Executable mappings of files that have no name any more.
    pub deleted_executable: u64,
    /// Their paths.
    pub deleted_executable_paths: Vec<String>,
    /// Mappings of a memfd.
    pub memfd: u64,
    /// Those of them that are executable.
    pub memfd_executable: u64,
    /// Their names.
    pub memfd_paths: Vec<String>,
    /// Writable and executable at once.
    pub rwx: u64,
    /// Executable mappings of files below a temporary folder, deleted or not.
    pub temporary_executable: u64,
    /// Their paths.
    pub temporary_executable_paths: Vec<String>,
    /// All mappings.
    pub total: u64,
}

impl MapFacts {
    /// Counts the lines of a maps file.
    pub fn of(text: &[u8]) -> Self {
        let mut facts = Self::default();
        for mapping in text.split(|byte| *byte == b'\n').filter_map(Mapping::parse) {
            facts.add(&mapping);
        }
        facts
    }

    fn add(&mut self, mapping: &Mapping<'_>) {
        let has = |right: char| mapping.perms.contains(right);
        let (kind, (path, is_deleted)) = (mapping.kind(), proc::deleted(mapping.path));
        let is_executable = has('x');
        self.total += 1;
        self.rwx += u64::from(is_executable && has('w'));
        if is_executable && matches!(kind, "anonymous" | "heap" | "stack" | "shared_anonymous") {
            self.anonymous_executable += 1;
        }
        if kind == "memfd" {
            self.memfd += 1;
            self.memfd_executable += u64::from(is_executable);
            remember(&mut self.memfd_paths, path);
        } else if kind == "file" && is_executable {
            if is_deleted {
                self.deleted_executable += 1;
                remember(&mut self.deleted_executable_paths, path);
            }
            if is_temporary(path) {
                self.temporary_executable += 1;
                remember(&mut self.temporary_executable_paths, path);
            }
        }
    }
}

fn remember(paths: &mut Vec<String>, path: &[u8]) {
    let (path, _) = shown(path);
    if paths.len() < PATHS_MAX && !paths.contains(&path) {
        paths.push(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_counted_by_what_they_are() {
        let text = b"1000-2000 r-xp 00000000 fd:01 9 /tmp/x (deleted)\n\
2000-3000 rwxp 00000000 00:00 0 \n3000-4000 r-xp 00000000 00:01 7 /memfd:a (deleted)\n\
4000-5000 rw-s 00000000 00:01 7 /memfd:a (deleted)\n5000-6000 r--p 00000000 fd:01 9 /tmp/x (deleted)\n\
6000-7000 r-xp 00000000 00:00 0 [vdso]\n7000-8000 rw-s 00000000 00:01 3 /SYSV00000000 (deleted)\nodd\n\
8000-9000 r-xp 00001000 fd:01 9 /tmp/x (deleted)\n8000-9000 r-xp 00001000 fd:01 9 /dev/shm/y\n9000-a000 rwxp 0 00:00 0 [stack]\n";
        let facts = MapFacts::of(text);
        assert_eq!((facts.total, facts.rwx, facts.anonymous_executable), (10, 2, 2));
        assert_eq!((facts.memfd, facts.memfd_executable, facts.memfd_paths), (2, 1, vec!["/memfd:a".to_owned()]));
        assert_eq!((facts.deleted_executable, facts.deleted_executable_paths), (2, vec!["/tmp/x".to_owned()]));
        assert_eq!(
            (facts.temporary_executable, facts.temporary_executable_paths),
            (3, vec!["/tmp/x".into(), "/dev/shm/y".to_owned()])
        );
    }

    #[test]
    fn paths_are_bounded() {
        let line = |n: usize| format!("1000-2000 r-xp 00000000 fd:01 {n} /tmp/{n} (deleted)\n");
        let text: String = (0..=PATHS_MAX).map(line).collect();
        let facts = MapFacts::of(text.as_bytes());
        assert_eq!((facts.deleted_executable, facts.deleted_executable_paths.len()), (17, PATHS_MAX));
    }
}
