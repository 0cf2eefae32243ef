//! What the kernel and its tools are told to load and to run: modprobe, modules-load, sysctl, binfmt, tmpfiles, hooks of
//! kernel packages (modprobe.d(5), modules-load.d(5), sysctl.d(5), binfmt.d(5), tmpfiles.d(5), kernel-install(8)).

use super::formats::{code_lines, content, executable, first_word, joined_lines, lines, sides};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism {
        name: "modprobe",
        globs: &[
            "{/etc,/run,/usr/lib,/lib,/usr/local/lib}/modprobe.d/*",
            "/etc/{modprobe.conf,modules.conf,conf.modules}",
        ],
        read: modprobe,
    },
    Mechanism {
        name: "modules_load",
        globs: &[
            "/etc/modules",
            "{/etc,/run,/usr/lib,/lib,/usr/local/lib}/modules-load.d/*",
            "/etc/initramfs-tools/modules",
            "/etc/sysconfig/modules/*",
        ],
        read: modules,
    },
    Mechanism {
        name: "depmod",
        globs: &["{/etc,/run,/usr/lib,/lib,/usr/local/lib}/depmod.d/*", "/etc/depmod.conf"],
        read: depmod,
    },
    Mechanism {
        name: "sysctl",
        globs: &["/etc/sysctl.conf", "{/etc,/run,/usr/lib,/lib,/usr/local/lib}/sysctl.d/*"],
        read: sysctl,
    },
    Mechanism {
        name: "binfmt",
        globs: &["{/etc,/run,/usr/lib,/lib,/usr/local/lib}/binfmt.d/*", "/{var/lib,usr/share}/binfmts/*"],
        read: binfmt,
    },
    Mechanism {
        name: "tmpfiles",
        globs: &[
            "{/etc,/run,/usr/lib,/lib,/usr/local/lib}/tmpfiles.d/*",
            "/usr/share/user-tmpfiles.d/*",
            "~/.config/user-tmpfiles.d/*",
        ],
        read: tmpfiles,
    },
    Mechanism {
        name: "kernel_hook",
        globs: &[
            "/etc/kernel/{postinst.d,postrm.d,preinst.d,prerm.d,header_postinst.d,install.d}/**",
            "/usr/lib/kernel/{install.d,postinst.d}/*",
            "/etc/kernel/{install.conf,cmdline}",
        ],
        read: executable,
    },
    Mechanism { name: "dkms", globs: &["/etc/dkms/**", "/usr/src/*/dkms.conf"], read: dkms },
]);

fn modprobe(found: &Found, drafts: &mut Drafts) {
    for (n, line) in joined_lines(content(found)) {
        let (word, rest) = first_word(&line);
        let form = match word {
            b"install" => "install",
            b"remove" => "remove",
            b"softdep" => "softdep",
            b"weakdep" => "weakdep",
            b"options" => "options",
            b"alias" => "alias",
            b"blacklist" => "blacklist",
            _ => continue,
        };
        let (name, rest) = first_word(rest);
        let mut draft = Draft {
            form: Some(form),
            name: Some(name.to_vec()),
            module: Some(name.to_vec()),
            ..Draft::at(drafts.mechanism, n, &line)
        };
        match word {
            b"install" | b"remove" => draft.run(rest),
            b"alias" => draft.module = Some(rest.to_vec()),
            _ => {
                draft.arguments =
                    rest.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).map(<[u8]>::to_vec).collect();
            }
        }
        drafts.push(draft);
    }
}

fn modules(found: &Found, drafts: &mut Drafts) {
    if found.path.starts_with(b"/etc/sysconfig") {
        return executable(found, drafts);
    }
    for (n, line) in code_lines(content(found)).filter(|(_, line)| !line.starts_with(b";")) {
        let (module, rest) = first_word(line);
        let arguments = rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(<[u8]>::to_vec);
        drafts.push(Draft {
            name: Some(module.to_vec()),
            module: Some(module.to_vec()),
            arguments: arguments.collect(),
            ..Draft::at(drafts.mechanism, n, line)
        });
    }
}

fn depmod(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)) {
        let kind = Some(first_word(line).0.to_vec());
        drafts.push(Draft { kind, ..Draft::at(drafts.mechanism, n, line) });
    }
}

/// A setting; those that name a program (core_pattern with a bar, modprobe, poweroff_cmd …) run it.
fn sysctl(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)).filter(|(_, line)| !line.starts_with(b";")) {
        let Some((key, value)) = sides(line, b'=') else { continue };
        let key: Vec<u8> = key.iter().map(|byte| if *byte == b'/' { b'.' } else { *byte }).collect();
        let name = key.strip_prefix(b"-").unwrap_or(&key);
        let mut draft = Draft { name: Some(name.to_vec()), ..Draft::at(drafts.mechanism, n, line) };
        draft.sets.push([name, b"=", value].concat());
        match name {
            b"kernel.core_pattern" => {
                if let Some(command) = value.strip_prefix(b"|") {
                    draft.run(command);
                }
            }
            b"kernel.modprobe" | b"kernel.hotplug" | b"kernel.poweroff_cmd" | b"kernel.usermodehelper.bset" => {
                draft.run(value);
            }
            _ => {}
        }
        drafts.push(draft);
    }
}

/// `:name:type:offset:magic:mask:interpreter:flags`, the first character being the mark (binfmt.d(5)); or Debian's
/// `package`, `interpreter` … lines.
fn binfmt(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)).filter(|(_, line)| !line.starts_with(b";")) {
        let Some((mark, rest)) = line.split_first() else { continue };
        let fields: Vec<&[u8]> = rest.split(|byte| byte == mark).collect();
        if let [name, kind, _, _, _, interpreter, ..] = fields[..] {
            let draft =
                Draft { name: Some(name.to_vec()), kind: Some(kind.to_vec()), ..Draft::at(drafts.mechanism, n, line) };
            drafts.push(draft.running(interpreter));
        } else if let (b"interpreter", program) = first_word(line) {
            drafts.push(Draft::at(drafts.mechanism, n, line).running(program));
        }
    }
}

/// `type path mode user group age argument`.
fn tmpfiles(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)) {
        let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        let [kind, path, ref rest @ ..] = words[..] else { continue };
        drafts.push(Draft {
            kind: Some(kind.to_vec()),
            name: Some(path.to_vec()),
            user: rest.get(1).filter(|user| **user != b"-").map(|user| user.to_vec()),
            arguments: rest.iter().map(|word| word.to_vec()).collect(),
            ..Draft::at(drafts.mechanism, n, line)
        });
    }
}

/// PRE_BUILD, POST_INSTALL … of dkms.conf are run as root (dkms(8)).
fn dkms(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    for (_, line) in lines(content(found)) {
        if let Some((key, value)) = sides(line, b'=')
            && (key.starts_with(b"PRE_")
                || key.starts_with(b"POST_")
                || key.starts_with(b"MAKE")
                || key.starts_with(b"CLEAN"))
        {
            draft.kind.get_or_insert_with(|| key.to_vec());
            draft.runs.push(super::formats::unquoted(value).to_vec());
        }
    }
    drafts.push(draft);
}
