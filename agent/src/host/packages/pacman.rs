//! pacman's database: `/var/lib/pacman/local/NAME-VERSION/{desc,files,mtree}`; mtree(5) is compressed with gzip.

use super::{Algorithm, Digest, FileKind, Manager, Package, PackageFile, lossy, seconds};
use crate::host::text::{decimal, in_base};

/// The sections of a `desc` or `files`: `%NAME%` and the lines up to an empty one.
pub fn sections(text: &[u8]) -> impl Iterator<Item = (&[u8], Vec<&[u8]>)> {
    let mut lines = text.split(|byte| *byte == b'\n');
    std::iter::from_fn(move || {
        let name = lines.by_ref().find_map(|line| line.strip_prefix(b"%")?.strip_suffix(b"%"))?;
        Some((name, lines.by_ref().take_while(|line| !line.is_empty()).collect()))
    })
}

/// The package that a `desc` tells of; `None` when it has no name.
pub fn package(desc: &[u8]) -> Option<Package> {
    let mut package = Package::of(Manager::Pacman);
    for (section, lines) in sections(desc) {
        let first = lines.first().copied().unwrap_or_default();
        match section {
            b"NAME" => package.name = lossy(first),
            b"VERSION" => package.version = lossy(first),
            b"ARCH" => package.arch = Some(lossy(first)),
            b"PACKAGER" => package.maintainer = Some(lossy(first)),
            b"BASE" => package.source = Some(lossy(first)),
            b"INSTALLDATE" => package.installed_at = decimal(first).map(seconds),
            b"VALIDATION" => package.is_signed = Some(lines.contains(&b"pgp".as_slice())),
            _ => {}
        }
    }
    (!package.name.is_empty()).then_some(package)
}

/// The paths of a `files`, and which of them are configuration (`%BACKUP%`), without the leading slash.
pub fn files(text: &[u8]) -> (Vec<&[u8]>, Vec<&[u8]>) {
    let (mut paths, mut backup) = (Vec::new(), Vec::new());
    for (section, lines) in sections(text) {
        match section {
            b"FILES" => paths = lines,
            b"BACKUP" => backup = lines.iter().filter_map(|line| line.split(|byte| *byte == b'\t').next()).collect(),
            _ => {}
        }
    }
    (paths, backup)
}

/// The files of an mtree that was decompressed. Files of the package itself (`./.MTREE`, `./.PKGINFO`) are left out.
pub fn mtree(text: &[u8], package: u32) -> Vec<PackageFile> {
    let mut set = PackageFile::of(package, *b"");
    let mut found = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let Some(first) = words.next().filter(|first| !first.starts_with(b"#")) else { continue };
        if first == b"/set" {
            words.for_each(|word| keyword(&mut set, word));
            continue;
        }
        let Some(path) = first.strip_prefix(b".").filter(|path| path.starts_with(b"/") && !path.starts_with(b"/."))
        else {
            continue;
        };
        let mut file = PackageFile { path: unescape(path).into(), ..set.clone() };
        words.for_each(|word| keyword(&mut file, word));
        found.push(file);
    }
    found
}

fn keyword(file: &mut PackageFile, word: &[u8]) {
    let Some(equals) = word.iter().position(|byte| *byte == b'=') else { return };
    let (name, value) = (&word[..equals], &word[equals + 1..]);
    let id = || decimal(value).and_then(|id| u32::try_from(id).ok());
    match name {
        b"type" => {
            file.kind = match value {
                b"file" => FileKind::File,
                b"dir" => FileKind::Folder,
                b"link" => FileKind::Link,
                _ => FileKind::Unknown,
            };
        }
        b"mode" => file.mode = in_base(value, 8).and_then(|mode| u16::try_from(mode & 0o7777).ok()),
        b"uid" => file.uid = id(),
        b"gid" => file.gid = id(),
        b"link" => file.target = Some(unescape(value).into()),
        b"sha256digest" | b"sha256" => file.digest = Digest::parse(Algorithm::Sha256, value),
        b"md5digest" | b"md5" if file.digest.is_none() => file.digest = Digest::parse(Algorithm::Md5, value),
        _ => {}
    }
}

/// Undoes `\ooo` (vis(3), VIS_OCTAL).
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let octal = text.get(at + 1..at + 4).filter(|_| *byte == b'\\');
        match octal.and_then(|octal| in_base(octal, 8)).and_then(|value| u8::try_from(value).ok()) {
            Some(value) => {
                bytes.push(value);
                at += 4;
            }
            None => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_and_its_files() {
        let desc = b"%NAME%\nfilesystem\n\n%VERSION%\n2024.01-1\n\n%INSTALLDATE%\n1700000000\n\n%VALIDATION%\npgp\n\n";
        let found = package(desc).unwrap();
        assert_eq!((found.name.as_str(), found.is_signed), ("filesystem", Some(true)));
        assert_eq!(found.installed_at.unwrap().0, 1_700_000_000_000_000_000);
        assert!(package(b"%VERSION%\n1\n").is_none() && package(b"").is_none());
        let text = b"%FILES%\netc/\netc/x\n\n%BACKUP%\netc/x\td41d8cd98f00b204e9800998ecf8427e\n";
        let (paths, backup) = files(text);
        assert_eq!((paths.len(), backup), (2, vec![b"etc/x".as_slice()]));
    }

    #[test]
    fn an_mtree_with_defaults_links_and_escapes() {
        let text = b"#mtree\n/set type=file uid=0 gid=0 mode=644\n./.BUILDINFO time=1.0 size=1\n\
            ./usr time=1.0 mode=755 type=dir\n./usr/a\\040b time=1.0 mode=4755 size=0 \
            md5digest=d41d8cd98f00b204e9800998ecf8427e \
            sha256digest=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
            ./usr/l mode=777 type=link link=a\\040b\n";
        let found = mtree(text, 3);
        assert_eq!(found.len(), 3);
        assert_eq!((&*found[1].path, found[1].mode, found[1].uid), (b"/usr/a b".as_slice(), Some(0o4755), Some(0)));
        assert_eq!(found[1].digest.as_ref().unwrap().algorithm, Algorithm::Sha256);
        assert_eq!((found[2].kind, found[2].target.as_deref()), (FileKind::Link, Some(b"a b".as_slice())));
        assert_eq!(unescape(b"\\9\\04"), b"\\9\\04");
    }
}
