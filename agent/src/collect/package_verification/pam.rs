//! `/etc/pam.d/common-*`, which no package has as a file: pam-auth-update(8) makes them of a template of libpam-runtime
//! and of blocks that it fills in. What stands outside the blocks must be the template's, or that of an older version
//! whose digest is kept beside it. What is in the blocks changes by right, and is not compared.

use std::sync::Arc;

use sha2::Digest as _;
use wire::Sha256;

use super::compare::{Differs, Seen};
use super::{Digest, PackageFile, Verification};
use crate::host::packages::Algorithm;
use crate::run::session::Stopped;

const NAMES: [&str; 5] =
    ["common-account", "common-auth", "common-password", "common-session", "common-session-noninteractive"];
/// The longest of these files that is read; they have some hundred lines at most.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// The lines that begin and end the two blocks.
const BLOCKS: [(&[u8], &[u8]); 2] = [
    (b"# here are the per-package modules (the \"Primary\" block)", b"# here's the fallback if no module succeeds"),
    (b"# and here are more per-package modules (the \"Additional\" block)", b"# end of pam-auth-update config"),
];

/// Compares each with its template. The digests of its row are those of what stands outside the blocks.
pub(super) fn collect(verification: &mut Verification<'_>) -> Result<(), Stopped> {
    let host = Arc::clone(verification.session.host());
    for name in NAMES {
        verification.session.go_on()?;
        let template = format!("/usr/share/pam/{name}");
        let path = format!("/etc/pam.d/{name}");
        let read = |path: &str| host.read_file(path.as_bytes(), TEXT_BYTES_MAX).ok();
        let (Some(expected), Some(text)) = (read(&template), read(&path)) else { continue };
        let (expected, found) = (digest(&expected), digest(&text));
        let older = read(&format!("{template}.md5sums")).unwrap_or_default();
        let digits = found.to_string();
        let is_older =
            String::from_utf8_lossy(&older).lines().any(|line| digits.ends_with(line.get(..32).unwrap_or(":")));
        let owner = verification.database.owners.owner(template.as_bytes());
        let package = verification.database.packages.iter().position(|package| Some(package.name.as_str()) == owner);
        let Some(package) = package.and_then(|package| u32::try_from(package).ok()) else { continue };
        if found == expected || is_older {
            continue;
        }
        let file = PackageFile { digest: Some(expected), is_config: true, ..PackageFile::of(package, path.as_bytes()) };
        let stat = host.open_file(path.as_bytes()).ok().map(|(_, stat)| stat);
        let seen = Seen { stat, sha256: Some(Sha256::of(&text)), found: Some(found), ..Seen::default() };
        verification.report(&file, &seen, &[Differs::Content])?;
    }
    Ok(())
}

fn digest(text: &[u8]) -> Digest {
    Digest { algorithm: Algorithm::Md5, bytes: md5::Md5::digest(outside(text)).as_slice().into() }
}

/// The text without what stands in the blocks.
fn outside(text: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    let mut blocks = BLOCKS.iter();
    let mut block = blocks.next();
    let mut is_inside = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if is_inside {
            if block.is_some_and(|(_, end)| line.starts_with(end)) {
                kept.extend_from_slice(line);
                block = blocks.next();
                is_inside = false;
            }
            continue;
        }
        kept.extend_from_slice(line);
        is_inside = block.is_some_and(|(begin, _)| line.starts_with(begin));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_outside_the_blocks_counts() {
        let [(first, fallback), (second, end)] = BLOCKS.map(|(begin, end)| {
            (String::from_utf8_lossy(begin).into_owned(), String::from_utf8_lossy(end).into_owned())
        });
        let text = |a: &str, b: &str, c: &str| format!("# x\n{first}\n{a}\n{fallback}\n{second}\n{b}\n{end}\n{c}");
        let template = digest(text("$auth_primary", "$auth_additional", "").as_bytes());
        assert_eq!(digest(text("auth pam_unix.so\nauth x", "", "").as_bytes()), template);
        assert_ne!(digest(text("a", "b", "auth optional pam_exec.so\n").as_bytes()), template);
    }
}
