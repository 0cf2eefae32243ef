//! Programs that run what their configuration says: editors, debuggers, database clients, cloud-init's scripts of every
//! boot (vim(1), emacs(1), gdb(1), psql(1), sqlite3(1), cloud-init).

use super::formats::{content, executable, first_word, lines, script_draft};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism {
        name: "editor_startup",
        globs: &[
            "/etc/{vim,vimrc,nvim,emacs,vim/vimrc,vim/vimrc.local,vim/vimrc.tiny,emacs/site-start.d/*}",
            "/usr/share/{vim/vimfiles,nvim/site}/plugin/*",
            "/usr/share/emacs/site-lisp/*start*.el",
            "~/.{vimrc,gvimrc,exrc,ideavimrc,emacs,emacs.el}",
            "~/.vim/{vimrc,plugin/**,after/plugin/**,autoload/*,ftplugin/*}",
            "~/.config/nvim/{init.vim,init.lua,plugin/**,after/plugin/**}",
            "~/.emacs.d/{init.el,early-init.el}",
            "~/.config/emacs/{init.el,early-init.el}",
        ],
        read: editor,
    },
    Mechanism {
        name: "debugger_startup",
        globs: &[
            "/etc/gdb/{gdbinit,gdbinit.d/*}",
            "~/.{gdbinit,gdbearlyinit,lldbinit}",
            "~/.config/gdb/{gdbinit,gdbearlyinit}",
        ],
        read: editor,
    },
    Mechanism {
        name: "client_startup",
        globs: &[
            "~/.{psqlrc,sqliterc,mysqlrc,mailrc,lessfilter,lesskey,wgetrc,curlrc,muttrc,lftprc,ncftp/init}",
            "/etc/{psqlrc,mail.rc,wgetrc}",
            "~/.config/{lf/lfrc,ranger/*.conf,mc/menu}",
        ],
        read: editor,
    },
    Mechanism {
        name: "cloud_init_script",
        globs: &["/var/lib/cloud/scripts/per-{boot,instance,once}/*"],
        read: executable,
    },
    Mechanism {
        name: "cloud_init_settings",
        globs: &["/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d/*"],
        read: cloud_init,
    },
    Mechanism {
        name: "docker_credential_helper",
        globs: &[
            "~/.docker/cli-plugins/*",
            "/usr/{local/,}lib/docker/cli-plugins/*",
            "/usr/libexec/docker/cli-plugins/*",
        ],
        read: super::formats::present,
    },
]);

/// The lines without comments of these languages: `"` of vim, `;` of Lisp, `--` of Lua and SQL.
fn editor(found: &Found, drafts: &mut Drafts) {
    let mut draft = script_draft(found, drafts.mechanism);
    draft.runs.retain(|line| !line.starts_with(b"\"") && !line.starts_with(b";") && !line.starts_with(b"--"));
    drafts.push(draft);
}

/// `runcmd`, `bootcmd` and what belongs to them: the lines that are indented below them.
fn cloud_init(found: &Found, drafts: &mut Drafts) {
    let mut open: Option<Draft> = None;
    for (n, line) in lines(content(found)) {
        let is_below = line.starts_with(b" ") || line.starts_with(b"\t") || line.starts_with(b"-");
        if !is_below && !line.trim_ascii().is_empty() && !line.starts_with(b"#") {
            if let Some(done) = open.take() {
                drafts.push(done);
            }
            let (key, value) = first_word(line);
            if matches!(key, b"runcmd:" | b"bootcmd:" | b"write_files:" | b"users:" | b"ssh_authorized_keys:") {
                let kind = key.strip_suffix(b":").map(<[u8]>::to_vec);
                open = Some(Draft { kind, line: Some(n), ..Draft::of(drafts.mechanism) });
                if let Some(draft) = open.as_mut().filter(|_| !value.is_empty()) {
                    draft.runs.push(value.to_vec());
                }
            }
        } else if let Some(draft) = open.as_mut().filter(|_| !line.trim_ascii().is_empty()) {
            let line = line.trim_ascii();
            draft.runs.push(line.strip_prefix(b"- ").unwrap_or(line).to_vec());
        }
    }
    if let Some(done) = open {
        drafts.push(done);
    }
}
