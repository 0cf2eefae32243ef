//! What runs at a login or for a message, besides shells: message-of-the-day scripts, logrotate's scripts, mail aliases
//! and forwards, terminal multiplexers (update-motd(5), logrotate(8), aliases(5), tmux(1), screen(1)).

use super::formats::{code_lines, content, executable, first_word, joined_lines, sides, sourced};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism { name: "motd_script", globs: &["/etc/update-motd.d/*", "/usr/lib/update-motd.d/*"], read: executable },
    Mechanism { name: "logrotate_script", globs: &["/etc/logrotate.conf", "/etc/logrotate.d/*"], read: logrotate },
    Mechanism {
        name: "mail_alias",
        globs: &["/etc/aliases", "/etc/mail/{aliases,aliases.d/*}", "/etc/postfix/aliases", "/etc/exim4/aliases"],
        read: aliases,
    },
    Mechanism {
        name: "mail_forward",
        globs: &["~/.forward", "~/.forward+*", "/var/qmail/alias/.qmail*", "~/.qmail*"],
        read: forward,
    },
    Mechanism {
        name: "mail_filter",
        globs: &[
            "/etc/procmailrc",
            "/etc/procmailrcs/*",
            "~/.procmailrc",
            "~/.mailfilter",
            "/etc/maildroprc",
            "~/.vacation.msg",
        ],
        read: filter,
    },
    Mechanism { name: "mail_transport", globs: &["/etc/postfix/master.cf"], read: postfix },
    Mechanism {
        name: "multiplexer_startup",
        globs: &[
            "/etc/{screenrc,tmux.conf,byobu/**}",
            "~/.{screenrc,tmux.conf,tmux.conf.local}",
            "~/.config/{tmux/*.conf,zellij/config.kdl,screen/screenrc}",
            "~/.tmux/plugins/*/*.tmux",
            "~/.byobu/*",
        ],
        read: sourced,
    },
]);

/// The blocks between `prerotate`, `postrotate` … and `endscript`.
fn logrotate(found: &Found, drafts: &mut Drafts) {
    const BLOCKS: [&[u8]; 5] = [b"prerotate", b"postrotate", b"firstaction", b"lastaction", b"preremove"];
    let mut open: Option<Draft> = None;
    for (n, line) in code_lines(content(found)) {
        if let Some(draft) = &mut open {
            if line == b"endscript" {
                if let Some(done) = open.take() {
                    drafts.push(done);
                }
            } else {
                draft.run(line);
            }
        } else if BLOCKS.contains(&line) {
            let kind = Some(line.to_vec());
            open = Some(Draft { kind, line: Some(n), ..Draft::of(drafts.mechanism) });
        } else if let (b"compresscmd" | b"uncompresscmd" | b"mail", program) = first_word(line) {
            let kind = Some(first_word(line).0.to_vec());
            drafts.push(Draft { kind, ..Draft::at(drafts.mechanism, n, line) }.running(program));
        }
    }
    // One that nothing ends is run to the end of the file.
    if let Some(draft) = open {
        drafts.push(draft);
    }
}

/// A row for each alias that leads to a program or to a file of aliases.
fn aliases(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)) {
        let Some((name, value)) = sides(line, b':') else { continue };
        let mut draft = Draft { name: Some(name.to_vec()), ..Draft::at(drafts.mechanism, n, line) };
        piped(&mut draft, value);
        if !draft.runs.is_empty() || !draft.sets.is_empty() {
            drafts.push(draft);
        }
    }
}

fn forward(found: &Found, drafts: &mut Drafts) {
    let mut any = false;
    for (n, line) in code_lines(content(found)) {
        let mut draft = Draft::at(drafts.mechanism, n, line);
        piped(&mut draft, line);
        drafts.push(draft);
        any = true;
    }
    if !any {
        drafts.push(Draft::of(drafts.mechanism));
    }
}

/// `"|/path/program args"`, `:include:/path`.
fn piped(draft: &mut Draft, value: &[u8]) {
    if let Some(at) = value.iter().position(|byte| *byte == b'|') {
        let command = &value[at + 1..];
        let end = command.iter().position(|byte| *byte == b'"').unwrap_or(command.len());
        draft.run(&command[..end]);
    }
    if let Some(at) = value.windows(9).position(|part| part == b":include:") {
        draft.sets.push(value[at..].split(|byte| b", \"".contains(byte)).next().unwrap_or_default().to_vec());
    }
}

/// procmail and maildrop run what follows a bar or stands between back quotes.
fn filter(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    for (_, line) in joined_lines(content(found)) {
        if line.contains(&b'|') || line.contains(&b'`') {
            let at = line.iter().position(|byte| b"|`".contains(byte)).map_or(0, |at| at + 1);
            draft.run(line[at..].split(|byte| *byte == b'`').next().unwrap_or_default());
        }
    }
    drafts.push(draft);
}

/// The `argv=` of a pipe or spawn service (master(5)).
fn postfix(found: &Found, drafts: &mut Drafts) {
    let mut service = Vec::new();
    for (n, line) in super::formats::lines(content(found)) {
        if line.starts_with(b"#") {
            continue;
        }
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            service = first_word(line).0.to_vec();
        }
        if let Some(at) = line.windows(5).position(|part| part == b"argv=") {
            let draft = Draft { name: Some(service.clone()), ..Draft::at(drafts.mechanism, n, line) };
            drafts.push(draft.running(&line[at + 5..]));
        }
    }
}
