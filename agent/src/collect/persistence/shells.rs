//! What shells read when they start or end: one row per file, with its lines (bash(1), zsh(1), fish(1), csh(1), ksh(1),
//! environ(7)); of homes, also which lines are not in what new homes get.

use std::collections::HashSet;

use super::command::{is_assignment, words};
use super::formats::{code_lines, content, first_word};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::{Found, Keep};

pub(super) static FAMILY: Family = Family { mechanisms: MECHANISMS, keep: Keep::Files, finish };

const MECHANISMS: &[Mechanism] = &[
    Mechanism {
        name: "shell_startup",
        globs: &[
            "/etc/profile",
            "/etc/profile.d/**",
            "/etc/{bash.bashrc,bashrc,bash.bash_logout,bash_profile,inputrc,kshrc,ksh.kshrc,mkshrc,shrc,suid_profile}",
            "/etc/{csh.cshrc,csh.login,csh.logout,zshenv,zprofile,zshrc,zlogin,zlogout}",
            "/etc/{bash,zsh,ksh,csh}/**",
            "/usr/{lib,share}/bash/*bashrc*",
            "/etc/bash_completion",
            "/etc/bash_completion.d/*",
            "{/etc,/usr/share}/fish/{config.fish,conf.d/*,vendor_conf.d/*}",
            "/etc/{xonsh,elvish,powershell,nushell}/**",
            "/etc/xonshrc",
        ],
        read: shell,
    },
    Mechanism {
        name: "shell_environment",
        globs: &["/etc/environment", "/etc/default/login", "/etc/login.conf"],
        read: shell,
    },
    Mechanism {
        name: "shell_startup",
        globs: &[
            "~/.{bashrc,profile,bash_profile,bash_login,bash_logout,bash_aliases,bash_completion,inputrc}",
            "~/.{zshrc,zshenv,zprofile,zlogin,zlogout,zsh_aliases,zshrc.local,zpreztorc,p10k.zsh}",
            "~/.{cshrc,tcshrc,login,logout,kshrc,mkshrc,shrc,ashrc,shinit,envrc,aliases,functions,exports,path,extra}",
            "~/.{bashrc,profile,zshrc,bash}.d/*",
            "~/.bash_completion.d/*",
            "~/.config/{zsh,bash}/.*rc",
            "~/.config/fish/{config.fish,conf.d/*,functions/*}",
            "~/.oh-my-zsh/custom/{*.zsh,plugins/*/*.zsh}",
            "~/.{config/elvish,elvish}/rc.elv",
            "~/.config/{ion/initrc,xonsh/rc.xsh,oils/oshrc,oil/oshrc,nushell/*.nu}",
            "~/.xonshrc",
            "~/.config/powershell/*profile.ps1",
            "~/.pam_environment",
        ],
        read: shell,
    },
    Mechanism {
        name: "shell_skeleton",
        globs: &["/etc/skel/.*", "/usr/share/base-files/dot.*", "/usr/etc/skel/.*"],
        read: shell,
    },
];

fn shell(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    for (_, line) in code_lines(content(found)) {
        let (word, rest) = first_word(line);
        match word {
            b"alias" | b"abbr" => draft.aliases.push(rest.to_vec()),
            b"trap" => draft.traps.push(rest.to_vec()),
            b"export" | b"declare" | b"typeset" | b"readonly" | b"local" => {
                draft.sets.extend(words(rest).into_iter().filter(|word| is_assignment(word)));
            }
            // setenv NAME value of csh, set -x NAME value of fish.
            b"setenv" | b"set" if rest.contains(&b' ') => {
                let names = words(rest).into_iter().filter(|word| !word.starts_with(b"-"));
                let names: Vec<Vec<u8>> = names.collect();
                if let [name, value @ ..] = &names[..] {
                    draft.sets.push([name.as_slice(), b"=", value.join(&b' ').as_slice()].concat());
                }
            }
            _ if is_assignment(word) => draft.sets.push(words(line).into_iter().next().unwrap_or_default()),
            _ => {}
        }
        draft.runs.push(line.to_vec());
    }
    drafts.push(draft);
}

/// The lines of a home's file that are in no skeleton of its name.
fn finish(found: &[Found], drafts: &mut [Draft]) {
    let mut skeletons: Vec<(Vec<u8>, HashSet<Vec<u8>>)> = Vec::new();
    for draft in drafts.iter().filter(|draft| draft.mechanism == "shell_skeleton") {
        let Some(file) = found.get(draft.file) else { continue };
        // base-files keeps root's own as `dot.bashrc`.
        let name = file.name().strip_prefix(b"dot").unwrap_or(file.name()).to_vec();
        skeletons.push((name, draft.runs.iter().cloned().collect()));
    }
    for draft in drafts.iter_mut().filter(|draft| draft.mechanism == "shell_startup") {
        let Some(file) = found.get(draft.file).filter(|file| super::row::layer(&file.path) == "home") else { continue };
        let of_name: Vec<_> = skeletons.iter().filter(|(name, _)| name == file.name()).collect();
        // The nearest skeleton counts: root's file and other users' differ.
        let fewest = of_name.iter().map(|(_, lines)| draft.runs.iter().filter(|line| !lines.contains(*line)).cloned());
        draft.added =
            fewest.map(Iterator::collect::<Vec<_>>).min_by_key(Vec::len).unwrap_or_else(|| draft.runs.clone());
    }
}
