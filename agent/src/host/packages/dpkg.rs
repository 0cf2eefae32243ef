//! dpkg's database: `/var/lib/dpkg/status` (deb822(5)), `info/*.list`, `info/*.md5sums`, `diversions` (dpkg-divert(1)),
//! and the `path-exclude` of dpkg.cfg(5).

use super::{Algorithm, Digest, Manager, Package, lossy};

/// A paragraph of fields.
pub struct Paragraph<'a> {
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Paragraph<'a> {
    /// The value of a field, its further lines included.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.trim_ascii())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(lossy)
    }
}

/// The paragraphs of a text. A line that is no field is passed over.
pub fn paragraphs(text: &[u8]) -> impl Iterator<Item = Paragraph<'_>> {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').peekable();
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut fields = Vec::new();
        loop {
            let line = match lines.next() {
                Some(line) => line,
                None if fields.is_empty() => return None,
                None => break,
            };
            let start = at;
            at += line.len();
            if line.trim_ascii().is_empty() {
                if fields.is_empty() {
                    continue;
                }
                break;
            }
            while let Some(more) = lines.peek().filter(|more| more.starts_with(b" ") || more.starts_with(b"\t")) {
                at += more.len();
                lines.next();
            }
            let field = text.get(start..at).unwrap_or_default();
            if let Some(colon) = field.iter().position(|byte| *byte == b':') {
                fields.push((&field[..colon], &field[colon + 1..]));
            }
        }
        Some(Paragraph { fields })
    })
}

/// A configuration file and the digest that it was delivered with.
pub struct Conffile<'a> {
    /// Its path.
    pub path: &'a [u8],
    /// Its digest; none for one that was `newconffile`, never installed.
    pub digest: Option<Digest>,
    /// True when the newest version of the package has it no more.
    pub is_obsolete: bool,
}

/// The package that a paragraph of `status` tells of; `None` when it has no name.
pub fn package(paragraph: &Paragraph<'_>) -> Option<Package> {
    let name = paragraph.text("Package")?;
    Some(Package {
        arch: paragraph.text("Architecture"),
        maintainer: paragraph.text("Maintainer"),
        source: paragraph.text("Source"),
        state: paragraph.text("Status"),
        vendor: paragraph.text("Origin"),
        version: paragraph.text("Version").unwrap_or_default(),
        name,
        ..Package::of(Manager::Dpkg)
    })
}

/// True when the files of a package in that state lie on the host (`want flag state`, dpkg(1)).
pub fn is_installed(state: &str) -> bool {
    state.split_ascii_whitespace().nth(2).is_none_or(|state| !matches!(state, "not-installed" | "config-files"))
}

/// The configuration files of a paragraph.
pub fn conffiles<'a>(paragraph: &Paragraph<'a>) -> impl Iterator<Item = Conffile<'a>> {
    let lines = paragraph.get("Conffiles").unwrap_or_default().split(|byte| *byte == b'\n');
    lines.map(<[u8]>::trim_ascii).filter(|line| line.starts_with(b"/")).map(|line| {
        // A path may hold blanks: the digest and the flags are the words at its end.
        let mut rest = line;
        let mut is_obsolete = false;
        loop {
            let (before, word) = last_word(rest);
            match word {
                b"obsolete" => is_obsolete = true,
                b"remove-on-upgrade" => {}
                _ => {
                    let digest = Digest::parse(Algorithm::Md5, word);
                    let path = if digest.is_some() || word == b"newconffile" { before } else { rest };
                    return Conffile { path, digest, is_obsolete };
                }
            }
            rest = before;
        }
    })
}

fn last_word(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().rposition(|byte| *byte == b' ') {
        Some(at) => (line[..at].trim_ascii_end(), &line[at + 1..]),
        None => (&line[..0], line),
    }
}

/// The lines of an `.md5sums`: digest and path, from the root and without its slash.
pub fn md5sums(text: &[u8]) -> impl Iterator<Item = (Digest, &[u8])> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let (digits, path) = line.split_at_checked(32)?;
        // md5sum(1): a blank, and then a blank or `*`.
        let path = path.strip_prefix(b"  ").or_else(|| path.strip_prefix(b" *"))?;
        let path = path.strip_prefix(b"./").unwrap_or(path);
        Some((Digest::parse(Algorithm::Md5, digits)?, path))
    })
}

/// The paths of a `.list`.
pub fn list(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"/") && *line != b"/.")
}

/// A package's file that dpkg puts elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diversion {
    /// Where packages say that it is.
    pub from: Vec<u8>,
    /// Where it is put.
    pub to: Vec<u8>,
    /// The package whose own file stays; `:` for a diversion by the administrator, which moves everybody's.
    pub by: Vec<u8>,
}

/// The diversions: three lines each.
pub fn diversions(text: &[u8]) -> Vec<Diversion> {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let threes = lines.chunks_exact(3);
    threes.map(|three| Diversion { from: three[0].to_vec(), to: three[1].to_vec(), by: three[2].to_vec() }).collect()
}

/// What dpkg was told to leave out when it unpacks (`path-exclude`, `path-include`): the last rule that matches counts.
#[derive(Clone, Debug, Default)]
pub struct Excluded {
    rules: Vec<(bool, Vec<u8>)>,
}

impl Excluded {
    /// Adds the rules of a file of dpkg.cfg(5).
    pub fn add(&mut self, configuration: &[u8]) {
        for line in configuration.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
            for (option, is_excluded) in [(b"path-exclude", true), (b"path-include", false)] {
                let Some(rest) = line.strip_prefix(option) else { continue };
                let rest = rest.trim_ascii();
                let pattern = rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii();
                self.rules.push((is_excluded, pattern.to_vec()));
            }
        }
    }

    /// True when dpkg leaves the path out.
    pub fn holds(&self, path: &[u8]) -> bool {
        let rule = self.rules.iter().rev().find(|(_, pattern)| matches(pattern, path));
        rule.is_some_and(|(is_excluded, _)| *is_excluded)
    }
}

/// fnmatch(3) without flags, but for classes: `*` and `?` match slashes too.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut again = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                again = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match again {
                Some((star, from)) => {
                    again = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] = b"Package: a\nStatus: install ok installed\nVersion: 1:2-3\nArchitecture: amd64\n\
        Conffiles:\n /etc/a b/c d41d8cd98f00b204e9800998ecf8427e\n /etc/old d41d8cd98f00b204e9800998ecf8427e obsolete\n \
        /etc/new newconffile\n\n\n\nPackage: b\nStatus: deinstall ok config-files\nDescription: x\n more\n .\n\xff no field\n";

    #[test]
    fn paragraphs_and_conffiles() {
        let found: Vec<_> = paragraphs(STATUS).collect();
        assert_eq!(found.len(), 2);
        let a = package(&found[0]).unwrap();
        assert_eq!((a.name.as_str(), a.version.as_str(), a.arch.as_deref()), ("a", "1:2-3", Some("amd64")));
        assert!(is_installed(a.state.as_deref().unwrap()));
        assert!(!is_installed(package(&found[1]).unwrap().state.as_deref().unwrap()));
        assert_eq!(found[1].get("description"), Some(b"x\n more\n .".as_slice()));
        let conffiles: Vec<_> =
            conffiles(&found[0]).map(|file| (file.path, file.digest.is_some(), file.is_obsolete)).collect();
        let expected: [(&[u8], bool, bool); 3] =
            [(b"/etc/a b/c", true, false), (b"/etc/old", true, true), (b"/etc/new", false, false)];
        assert_eq!(conffiles, expected);
        assert_eq!(paragraphs(b"\n\n").count(), 0);
    }

    #[test]
    fn lists_of_files() {
        let sums = b"d41d8cd98f00b204e9800998ecf8427e  usr/bin/a b\nshort  x\nzz1d8cd98f00b204e9800998ecf8427e  y\n";
        let found: Vec<_> = md5sums(sums).map(|(digest, path)| (digest.to_string(), path)).collect();
        assert_eq!(found, [("md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(), b"usr/bin/a b".as_slice())]);
        let paths: [&[u8]; 1] = [b"/usr"];
        assert_eq!(list(b"/.\n/usr\n\n").collect::<Vec<_>>(), paths);
        let diverted = diversions(b"/bin/sh\n/bin/sh.distrib\ndash\n/usr/x\n/usr/y\n:\nrest\n");
        assert_eq!(diverted.len(), 2);
        assert_eq!(diverted[1].by, b":");
    }

    #[test]
    fn the_last_rule_counts() {
        let mut excluded = Excluded::default();
        excluded.add(b"# x\npath-exclude=/usr/share/doc/*\npath-include = /usr/share/doc/*/copyright\n");
        assert!(excluded.holds(b"/usr/share/doc/a/b/README") && !excluded.holds(b"/usr/share/doc/a/copyright"));
        assert!(!excluded.holds(b"/usr/share/docs") && !Excluded::default().holds(b"/x"));
        assert!(matches(b"*a*b", b"xaxxb") && !matches(b"*a*b", b"xaxxc") && matches(b"/?*", b"//"));
    }
}
