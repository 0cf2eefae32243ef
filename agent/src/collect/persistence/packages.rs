//! What package managers run besides the scripts of packages: hooks and plugins (apt.conf(5), dpkg.cfg(5),
//! dnf.conf(5), alpm-hooks(5)).

use super::formats::{code_lines, content, executable, settings, sides, sourced, unquoted};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism {
        name: "apt_hook",
        globs: &["/etc/apt/apt.conf", "/etc/apt/apt.conf.d/*", "/usr/share/apt/apt.conf.d/*"],
        read: apt,
    },
    Mechanism { name: "dpkg_hook", globs: &["/etc/dpkg/dpkg.cfg", "/etc/dpkg/dpkg.cfg.d/*"], read: dpkg },
    Mechanism {
        name: "dnf_plugin",
        globs: &[
            "/usr/lib{,64}/python*/site-packages/dnf-plugins/*.py",
            "/usr/{lib,share}/{yum-plugins,dnf/plugins}/*.py",
            "/usr/lib{,64}/{dnf5,libdnf5,libdnf}/plugins/*",
        ],
        read: super::formats::present,
    },
    Mechanism {
        name: "dnf_settings",
        globs: &[
            "/etc/dnf/{dnf.conf,plugins/*.conf,libdnf5-plugins/**}",
            "/etc/yum.conf",
            "/etc/yum/{yum.conf,pluginconf.d/*}",
        ],
        read: dnf,
    },
    Mechanism {
        name: "dnf_action",
        globs: &[
            "/etc/dnf/plugins/post-transaction-actions.d/*",
            "/etc/yum/post-actions/*",
            "/etc/dnf/libdnf5-plugins/actions.d/*",
        ],
        read: action,
    },
    Mechanism { name: "pacman_hook", globs: &["/etc/pacman.d/hooks/*", "/usr/share/libalpm/hooks/*"], read: pacman },
    Mechanism {
        name: "zypp_plugin",
        globs: &["/usr/lib/zypp/plugins/**", "/etc/zypp/{zypp.conf,post*.d/*}"],
        read: executable,
    },
    Mechanism {
        name: "apk_hook",
        globs: &["/etc/apk/commit_hooks.d/*", "/usr/lib/apk/commit_hooks.d/*", "/lib/apk/exec/*"],
        read: executable,
    },
    Mechanism {
        name: "needrestart_hook",
        globs: &["/etc/needrestart/{hook.d,notify.d,restart.d}/*", "/etc/needrestart/conf.d/*"],
        read: sourced,
    },
]);

/// Keys whose values are commands; what stands in quotes after one is run.
const APT_KEYS: [&[u8]; 9] = [
    b"-invoke",
    b"-invoke-success",
    b"pre-install-pkgs",
    b"::update-hook",
    b"proxyautodetect",
    b"proxy-auto-detect",
    b"aptcli::hooks",
    b"cli::hooks",
    b"dpkg::path",
];

/// apt.conf(5): `A::B "x";` and `A { B { "x"; }; };`. What matters is the nearest key before a quoted value.
fn apt(found: &Found, drafts: &mut Drafts) {
    let mut path: Vec<Vec<u8>> = Vec::new();
    let mut key = Vec::new();
    for (n, line) in code_lines(content(found)) {
        if line.starts_with(b"//") {
            continue;
        }
        let mut rest = line;
        while let Some((byte, after)) = rest.split_first() {
            match byte {
                b'"' => {
                    let mut end = 0;
                    while end < after.len() && after[end] != b'"' {
                        end += if after[end] == b'\\' { 2 } else { 1 };
                    }
                    let value = &after[..end.min(after.len())];
                    let name = full_name(&path, &key);
                    let lower = name.to_ascii_lowercase();
                    if APT_KEYS.iter().any(|wanted| super::formats::contains(&lower, wanted)) {
                        drafts.push(Draft { name: Some(name), ..Draft::at("apt_hook", n, line) }.running(value));
                    }
                    rest = after.get(end + 1..).unwrap_or_default();
                    continue;
                }
                b'{' => {
                    if path.len() < 64 {
                        path.push(std::mem::take(&mut key));
                    }
                }
                b'}' => {
                    path.pop();
                    key.clear();
                }
                b';' => key.clear(),
                b' ' | b'\t' => {}
                _ => {
                    let end = after.iter().position(|byte| b" \t\"{};".contains(byte)).unwrap_or(after.len());
                    key = rest[..=end].to_vec();
                    rest = &after[end..];
                    continue;
                }
            }
            rest = after;
        }
    }
}

fn full_name(path: &[Vec<u8>], key: &[u8]) -> Vec<u8> {
    let parts = path.iter().map(Vec::as_slice).chain([key]).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(&b"::"[..])
}

fn dpkg(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)) {
        let line_of_hook = sides(line, b'=').or_else(|| {
            let (word, rest) = super::formats::first_word(line);
            (!rest.is_empty()).then_some((word, rest))
        });
        if let Some((key @ (b"pre-invoke" | b"post-invoke" | b"status-logger"), command)) = line_of_hook {
            let draft = Draft { name: Some(key.to_vec()), ..Draft::at(drafts.mechanism, n, line) };
            drafts.push(draft.running(unquoted(command)));
        }
    }
}

fn dnf(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    for setting in settings(content(found)) {
        if setting.key == b"enabled" {
            draft.enabled = Some(matches!(setting.value.as_slice(), b"1" | b"true" | b"yes"));
        }
        if matches!(setting.key, b"plugins" | b"pluginpath" | b"enabled" | b"gpgcheck" | b"proxy") {
            draft.sets.push([setting.key, b"=", setting.value.as_slice()].concat());
        }
    }
    drafts.push(draft);
}

/// `package:state:command`.
fn action(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)) {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let command = match fields[..] {
            [_, _, command] => command,
            // actions.d of dnf5: hook:package:direction:options:command
            [_, _, _, _, ref command @ ..] => &command.join(&b':'),
            _ => continue,
        };
        let schedule = fields.iter().take(2).copied().collect::<Vec<_>>().join(&b':');
        drafts.push(Draft { schedule: Some(schedule), ..Draft::at(drafts.mechanism, n, line) }.running(command));
    }
}

fn pacman(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    for setting in settings(content(found)) {
        match setting.key {
            b"Exec" => draft.run(&setting.value),
            b"When" => draft.schedule = Some(setting.value),
            b"Target" => draft.arguments.push(setting.value),
            _ => {}
        }
    }
    drafts.push(draft);
}

#[cfg(test)]
mod tests {
    use super::super::Drafts;
    use super::*;

    #[test]
    fn commands_of_apt_in_both_notations() {
        let text =
            b"// c\nDPkg::Post-Invoke { \"rm -f /x || true\"; \"/tmp/y\" };\nAPT::Update::Pre-Invoke {\"touch a\";};\n\
            Acquire::http::Proxy \"http://p\";\nDPkg\n{\n Pre-Install-Pkgs\n {\"/usr/bin/z --q\";};\n};\n\"";
        let found = crate::collect::persistence::tests::found(b"/etc/apt/apt.conf.d/x", text);
        let mut drafts = Drafts { mechanism: "apt_hook", file: 0, of_file: 0, rows: Vec::new() };
        apt(&found, &mut drafts);
        let told: Vec<_> = drafts
            .rows
            .iter()
            .map(|d| {
                format!("{} {}", String::from_utf8_lossy(d.name.as_ref().unwrap()), String::from_utf8_lossy(&d.runs[0]))
            })
            .collect();
        assert_eq!(
            told,
            [
                "DPkg::Post-Invoke rm -f /x || true",
                "DPkg::Post-Invoke /tmp/y",
                "APT::Update::Pre-Invoke touch a",
                "DPkg::Pre-Install-Pkgs /usr/bin/z --q",
            ]
        );
    }
}
