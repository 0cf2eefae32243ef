//! Git: hooks of repositories, and settings that run something (githooks(5), git-config(1)).
//!
//! Samples that git itself puts there (`*.sample`) are no hooks.

use super::formats::{content, executable, lines, sides, unquoted};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism {
        name: "git_hook",
        globs: &[
            "~/{.,*,*/*,*/*/*}/.git/hooks/*[!e]",
            "/{srv,opt,usr/src}/{*,*/*}/.git/hooks/*[!e]",
            "/var/www/{.,*,*/*}/.git/hooks/*[!e]",
            "/etc/.git/hooks/*[!e]",
            "/{srv,srv/git,var/lib/git,var/git,opt/git}/*.git/hooks/*[!e]",
            "~/{.,*,repositories/*,*/*}/*.git/hooks/*[!e]",
            "/usr/share/git-core/templates/hooks/*[!e]",
            "~/.config/git/hooks/*",
            "~/{.,*,*/*,*/*/*}/.git/hooks/{post-merge,post-update,post-receive,pre-receive,post-rewrite,update,sendemail-validate,pre-merge}",
            "/{srv,srv/git,var/lib/git,var/git,opt/git}/*.git/hooks/{post-update,post-receive,pre-receive,update}",
        ],
        read: hook,
    },
    Mechanism {
        name: "git_setting",
        globs: &[
            "/etc/gitconfig",
            "/usr/{local/,}etc/gitconfig",
            "~/.gitconfig",
            "~/.config/git/config",
            "~/{.,*,*/*,*/*/*}/.git/config",
            "/{srv,opt,usr/src}/{*,*/*}/.git/config",
            "/var/www/{.,*,*/*}/.git/config",
            "/etc/.git/config",
        ],
        read: config,
    },
]);

fn hook(found: &Found, drafts: &mut Drafts) {
    if !found.path.ends_with(b".sample") {
        executable(found, drafts);
    }
}

/// Settings whose value is a program, a command or a folder of programs.
const RUNS: [&[u8]; 26] = [
    b"core.askpass",
    b"core.editor",
    b"core.fsmonitor",
    b"core.gitproxy",
    b"core.hookspath",
    b"core.pager",
    b"core.sshcommand",
    b"core.alternaterefscommand",
    b"credential.helper",
    b"diff.external",
    b"gpg.program",
    b"gpg.ssh.program",
    b"include.path",
    b"init.templatedir",
    b"interactive.difffilter",
    b"receive.procreceiverefs",
    b"sequence.editor",
    b"ssh.variant",
    b"trailer.command",
    b"uploadpack.packobjectshook",
    b"web.browser",
    b"sendemail.smtpserver",
    b"remote.uploadpack",
    b"remote.receivepack",
    b"http.proxy",
    b"push.gpgsign",
];
/// Endings of settings that have a name of their own in the middle.
const NAMED_RUNS: [&[u8]; 12] = [
    b".clean",
    b".cmd",
    b".command",
    b".driver",
    b".helper",
    b".process",
    b".program",
    b".smudge",
    b".textconv",
    b".proxy",
    b".uploadpack",
    b".receivepack",
];

fn config(found: &Found, drafts: &mut Drafts) {
    let mut section = Vec::new();
    for (n, line) in lines(content(found)) {
        let line = line.trim_ascii();
        if let Some(head) = line.strip_prefix(b"[") {
            let head = head.split(|byte| *byte == b']').next().unwrap_or_default();
            section =
                head.iter().filter(|byte| !b"\"".contains(byte)).map(|b| if *b == b' ' { b'.' } else { *b }).collect();
            continue;
        }
        let Some((key, value)) = sides(line, b'=') else { continue };
        let name = [section.as_slice(), b".", key].concat();
        let lower = name.to_ascii_lowercase();
        let is_shell_alias = lower.starts_with(b"alias.") && unquoted(value).starts_with(b"!");
        if !is_shell_alias && !RUNS.contains(&&lower[..]) && !NAMED_RUNS.iter().any(|end| lower.ends_with(end)) {
            continue;
        }
        let mut draft = Draft { name: Some(name), ..Draft::at(drafts.mechanism, n, line) };
        let value = unquoted(value);
        draft.run(value.strip_prefix(b"!").unwrap_or(value));
        drafts.push(draft);
    }
}
