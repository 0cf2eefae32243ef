//! apk's database: `/lib/apk/db/installed` (apk-tools, "APK spec"): paragraphs of lines `X:value`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Algorithm, Digest, FileKind, Manager, Package, PackageFile, lossy};
use crate::host::text::{decimal, in_base};

/// Reads the database; the packages are numbered from `first`. What is malformed is passed over.
pub fn installed(text: &[u8], first: u32) -> (Vec<Package>, Vec<PackageFile>) {
    let (mut packages, mut files) = (Vec::new(), Vec::new());
    let mut package = Package::of(Manager::Apk);
    let mut folder: &[u8] = b"";
    // The file whose further lines are being read; a paragraph's end and the next `F:` or `R:` end it.
    let mut at: Option<usize> = None;
    let number = |packages: &Vec<Package>| first.saturating_add(u32::try_from(packages.len()).unwrap_or(u32::MAX));
    for line in text.split(|byte| *byte == b'\n').chain([b"".as_slice()]) {
        let Some((key, value)) = line.split_first().and_then(|(key, rest)| Some((*key, rest.strip_prefix(b":")?)))
        else {
            if line.is_empty() && !package.name.is_empty() {
                packages.push(std::mem::replace(&mut package, Package::of(Manager::Apk)));
                at = None;
            }
            continue;
        };
        match key {
            b'P' => package.name = lossy(value),
            b'V' => package.version = lossy(value),
            b'A' => package.arch = Some(lossy(value)),
            b'm' => package.maintainer = Some(lossy(value)),
            b'o' => package.source = Some(lossy(value)),
            b's' => package.vendor = Some(lossy(value)),
            b'F' => {
                folder = value;
                at = None;
                if !folder.is_empty() {
                    let mut entry = PackageFile::of(number(&packages), [b"/", folder].concat());
                    (entry.kind, entry.mode, entry.uid, entry.gid) = (FileKind::Folder, Some(0o755), Some(0), Some(0));
                    at = Some(files.len());
                    files.push(entry);
                }
            }
            b'R' => {
                let path =
                    if folder.is_empty() { [b"/", value].concat() } else { [b"/", folder, b"/", value].concat() };
                let mut entry = PackageFile::of(number(&packages), path);
                // What differs from these stands in an `a:` line.
                (entry.mode, entry.uid, entry.gid) = (Some(0o644), Some(0), Some(0));
                // apk keeps what was changed below /etc, as it does for what protected_paths.d names.
                entry.is_config = folder == b"etc" || folder.starts_with(b"etc/");
                at = Some(files.len());
                files.push(entry);
            }
            b'M' | b'a' => {
                if let Some(entry) = at.and_then(|at| files.get_mut(at)) {
                    set_owner(entry, value);
                }
            }
            b'Z' => {
                if let Some(entry) = at.and_then(|at| files.get_mut(at)) {
                    entry.digest = digest(value);
                }
            }
            _ => {}
        }
    }
    (packages, files)
}

/// `uid:gid:mode[:xattrs]`.
fn set_owner(entry: &mut PackageFile, value: &[u8]) {
    let mut words = value.split(|byte| *byte == b':');
    let id = |word: Option<&[u8]>| word.and_then(decimal).and_then(|id| u32::try_from(id).ok());
    entry.uid = id(words.next());
    entry.gid = id(words.next());
    entry.mode = words.next().and_then(|mode| in_base(mode, 8)).and_then(|mode| u16::try_from(mode & 0o7777).ok());
}

/// `Q1` and SHA-1, `Q2` and SHA-256 in base64. The digest of a link is that of its target's text.
fn digest(value: &[u8]) -> Option<Digest> {
    let (algorithm, text) = match value.split_at_checked(2)? {
        (b"Q1", text) => (Algorithm::Sha1, text),
        (b"Q2", text) => (Algorithm::Sha256, text),
        _ => return None,
    };
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    (bytes.len() == algorithm.bytes()).then(|| Digest { algorithm, bytes: bytes.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_folders_and_files() {
        let text = b"C:Q1x\nP:busybox\nV:1.36.1-r2\nA:x86_64\no:busybox\nm:A <a@example.org>\nF:bin\nR:busybox\n\
            a:0:0:755\nZ:Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=\nR:sh\na:0:0:777\nF:etc\nM:0:0:750\nR:conf\nZ:Q1bad\nF:\nR:top\n\n\
            P:b\nV:1\n";
        let (packages, files) = installed(text, 5);
        let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["busybox", "b"]);
        let shown: Vec<_> = files
            .iter()
            .map(|file| {
                (String::from_utf8_lossy(&file.path), file.mode.unwrap(), file.digest.is_some(), file.is_config)
            })
            .collect();
        let expected = [
            ("/bin", 0o755, false, false),
            ("/bin/busybox", 0o755, true, false),
            ("/bin/sh", 0o777, false, false),
            ("/etc", 0o750, false, false),
            ("/etc/conf", 0o644, false, true),
            ("/top", 0o644, false, false),
        ];
        assert_eq!(shown, expected.map(|(path, mode, has, config)| (path.into(), mode, has, config)));
        assert!(files.iter().all(|file| file.package == 5));
        let empty = "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709";
        assert_eq!(files[1].digest.as_ref().unwrap().to_string(), empty);
    }
}
