//! Which package a path belongs to.
//!
//! Paths are kept as 64-bit hashes with a random key, so that the index of half a million paths has some 10 MB. That two
//! of them meet is as likely as 1 in 10^8, and nobody can make them meet.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use super::{Manager, Package};

/// Folders that may be links to others (the merged `/usr`, Arch's and Fedora's merged `/usr/sbin`), so that one file has
/// several paths.
pub const ALIASED: [&[u8]; 12] = [
    b"/bin",
    b"/sbin",
    b"/lib",
    b"/lib32",
    b"/lib64",
    b"/libx32",
    b"/usr/bin",
    b"/usr/sbin",
    b"/usr/lib64",
    b"/usr/lib32",
    b"/var/run",
    b"/var/lock",
];

/// What the links among [`ALIASED`] stand for.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    links: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Aliases {
    /// From what `link` says that each of the folders points to.
    pub fn of(link: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Self {
        let links = ALIASED.iter().filter_map(|path| {
            let target = link(path)?;
            let absolute = if target.starts_with(b"/") {
                target
            } else {
                let folder = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                [&path[..folder], b"/", &target].concat()
            };
            let is_plain = !absolute.split(|byte| *byte == b'/').any(|name| name == b"..");
            let end = absolute.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
            (is_plain && end > 0).then(|| (path.to_vec(), absolute[..end].to_vec()))
        });
        Self { links: links.collect() }
    }

    /// The path with the folders that are links replaced by where they point.
    pub fn resolve(&self, path: &[u8]) -> Vec<u8> {
        let mut path = path.to_vec();
        // /sbin → /usr/sbin → /usr/bin; a loop ends as well.
        for _ in 0..4 {
            let found = self.links.iter().find_map(|(from, to)| {
                let rest = path.strip_prefix(from.as_slice())?;
                rest.starts_with(b"/").then(|| [to.as_slice(), rest].concat())
            });
            match found {
                Some(resolved) => path = resolved,
                None => break,
            }
        }
        path
    }
}

/// The index. See the module.
pub struct Owners {
    aliases: Aliases,
    hasher: RandomState,
    numbers: HashMap<u64, u32>,
    packages: Vec<(Manager, String)>,
}

impl Owners {
    /// An index of nothing.
    pub fn new(aliases: Aliases) -> Self {
        Self { aliases, hasher: RandomState::new(), numbers: HashMap::new(), packages: Vec::new() }
    }

    /// Knows these packages from now on, by their numbers.
    pub fn know(&mut self, packages: &[Package]) {
        self.packages = packages.iter().map(|package| (package.manager, package.name.clone())).collect();
    }

    /// Says that `path` belongs to the package of that number, unless it belongs to one already.
    pub fn add(&mut self, path: &[u8], package: u32) {
        let hash = self.hash(path);
        self.numbers.entry(hash).or_insert(package);
    }

    /// The name of the package that `path` belongs to.
    pub fn owner(&self, path: &[u8]) -> Option<&str> {
        let number = *self.numbers.get(&self.hash(path))?;
        self.packages.get(usize::try_from(number).ok()?).map(|(_, name)| name.as_str())
    }

    /// The path with the folders that are links resolved.
    pub fn resolve(&self, path: &[u8]) -> Vec<u8> {
        self.aliases.resolve(path)
    }

    /// True when no database of packages was found: then nothing is owned, and that says nothing.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    fn hash(&self, path: &[u8]) -> u64 {
        self.hasher.hash_one(self.aliases.resolve(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_its_owner_under_each_of_its_names() {
        let link = |path: &[u8]| match path {
            b"/bin" => Some(b"usr/bin".to_vec()),
            b"/sbin" => Some(b"/usr/sbin/".to_vec()),
            b"/usr/sbin" => Some(b"bin".to_vec()),
            b"/lib" => Some(b"../lib".to_vec()),
            b"/lib64" => Some(b"lib64".to_vec()),
            _ => None,
        };
        let aliases = Aliases::of(link);
        assert_eq!(aliases.resolve(b"/sbin/init"), b"/usr/bin/init");
        assert_eq!(aliases.resolve(b"/binary"), b"/binary");
        assert_eq!(aliases.resolve(b"/lib/x"), b"/lib/x");
        assert_eq!(aliases.resolve(b"/lib64/x"), b"/lib64/x");
        let mut owners = Owners::new(aliases);
        assert!(owners.is_empty());
        let mut package = Package::of(Manager::Dpkg);
        package.name = "dash".to_owned();
        owners.know(&[package]);
        owners.add(b"/bin/dash", 0);
        owners.add(b"/x", 7);
        assert_eq!(owners.owner(b"/usr/bin/dash"), Some("dash"));
        assert_eq!((owners.owner(b"/usr/bin/das"), owners.owner(b"/x")), (None, None));
    }
}
