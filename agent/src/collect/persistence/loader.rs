//! The dynamic loader: libraries that are put before all others, and where it looks (ld.so(8), ldconfig(8), musl's
//! `/etc/ld-musl-ARCH.path`).

use super::formats::{content, lines};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism { name: "ld_so_preload", globs: &["/etc/ld.so.preload", "/etc/ld-nix.so.preload"], read: preload },
    Mechanism { name: "ld_so_conf", globs: &["/etc/ld.so.conf", "/etc/ld.so.conf.d/*"], read: folders },
    Mechanism { name: "ld_musl_path", globs: &["/etc/ld-musl-*.path"], read: folders },
]);

/// The names of a preload list: blanks and colons part them, `#` begins a comment (ld.so(8)).
pub(in crate::collect) fn preloaded(content: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut names = Vec::new();
    for (n, line) in lines(content) {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let parts = line.split(|byte| byte.is_ascii_whitespace() || *byte == b':');
        names.extend(parts.filter(|name| !name.is_empty()).map(|name| (n, name.to_vec())));
    }
    names
}

fn preload(found: &Found, drafts: &mut Drafts) {
    let names = preloaded(content(found));
    if names.is_empty() {
        // An empty list is still a file that a clean system does not have.
        drafts.push(Draft::of(drafts.mechanism));
    }
    for (n, name) in names {
        let targets = if name.starts_with(b"/") { vec![name.clone()] } else { Vec::new() };
        drafts.push(Draft { runs: vec![name.clone()], targets, ..Draft::at(drafts.mechanism, n, &name) });
    }
}

fn folders(found: &Found, drafts: &mut Drafts) {
    for (n, line) in super::formats::code_lines(content(found)) {
        let mut draft = Draft::at(drafts.mechanism, n, line);
        let parts = line.split(|byte| byte.is_ascii_whitespace() || *byte == b':');
        draft.targets = parts.filter(|part| part.starts_with(b"/")).map(<[u8]>::to_vec).collect();
        drafts.push(draft);
    }
}
