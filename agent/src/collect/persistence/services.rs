//! Programs that other daemons start: inetd and xinetd, D-Bus activation, supervisors, watchers of the machine's events
//! (inetd.conf(5), xinetd.conf(5), D-Bus specification "Message Bus Starting Services", polkit(8), acpid(8)).

use super::formats::{
    code_lines, contains, content, executable, first_word, joined_lines, lines, lines_that_begin_with, settings, sides,
    unquoted,
};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism { name: "inetd_line", globs: &["/etc/inetd.conf", "/etc/inet.d/*"], read: inetd },
    Mechanism { name: "xinetd_service", globs: &["/etc/xinetd.conf", "/etc/xinetd.d/*"], read: xinetd },
    Mechanism {
        name: "dbus_service",
        globs: &[
            "{/usr/share,/usr/local/share,/etc,/run,/usr/lib,/lib}/dbus-1/{system-services,services}/*.service",
            "/run/user/*/dbus-1/services/*.service",
            "~/.local/share/dbus-1/services/*.service",
        ],
        read: dbus,
    },
    Mechanism {
        name: "dbus_policy",
        globs: &["/etc/dbus-1/**/*.conf", "{/usr/share,/usr/local/share}/dbus-1/{system.d,session.d}/*.conf"],
        read: super::formats::present,
    },
    Mechanism {
        name: "polkit_rule",
        globs: &["{/etc,/run,/usr/share,/usr/local/share}/polkit-1/rules.d/*"],
        read: polkit_rule,
    },
    Mechanism {
        name: "polkit_authority",
        globs: &["{/etc,/var/lib}/polkit-1/localauthority{,.conf.d}/**"],
        read: polkit_authority,
    },
    Mechanism {
        name: "polkit_action",
        globs: &["{/usr/share,/usr/local/share,/etc}/polkit-1/actions/*"],
        read: polkit_action,
    },
    Mechanism {
        name: "supervised_program",
        globs: &["/etc/supervisord.conf", "/etc/supervisor/**/*.conf", "/etc/supervisord.d/*", "/etc/circus/**"],
        read: supervised,
    },
    Mechanism { name: "monit_exec", globs: &["/etc/monit/**", "/etc/monitrc", "/etc/monit.d/*"], read: monit },
    Mechanism { name: "acpi_event", globs: &["/etc/acpi/events/*"], read: acpi_event },
    Mechanism { name: "acpi_script", globs: &["/etc/acpi/*.sh", "/etc/acpi/*/*.sh"], read: executable },
    Mechanism { name: "audit_plugin", globs: &["/etc/{audit,audisp}/plugins.d/*"], read: audit_plugin },
    Mechanism {
        name: "syslog_program",
        globs: &["/etc/rsyslog.conf", "/etc/rsyslog.d/*", "/etc/syslog-ng/**/*.conf", "/etc/syslog.conf"],
        read: syslog,
    },
    Mechanism {
        name: "snmpd_command",
        globs: &["/etc/snmp/snmpd.conf", "/etc/snmp/snmpd.conf.d/*", "/var/lib/{net-snmp,snmp}/snmpd.conf"],
        read: |found, drafts| {
            lines_that_begin_with(
                found,
                drafts,
                &["exec", "sh", "execFix", "extend", "extend-sh", "extendfix", "pass", "pass_persist"],
            );
        },
    },
    Mechanism {
        name: "mdadm_program",
        globs: &["/etc/mdadm.conf", "/etc/mdadm/mdadm.conf"],
        read: |found, drafts| lines_that_begin_with(found, drafts, &["PROGRAM"]),
    },
    Mechanism {
        name: "smartd_exec",
        globs: &["/etc/smartd.conf", "/etc/smartmontools/{smartd.conf,run.d/*,smartd_warning.d/*}"],
        read: smartd,
    },
]);

fn inetd(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)) {
        let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        let [service, socket, protocol, _wait, user, ref command @ ..] = words[..] else { continue };
        let draft = Draft {
            name: Some(service.to_vec()),
            schedule: Some([socket, protocol].join(&b' ')),
            user: Some(user.to_vec()),
            ..Draft::at("inetd_line", n, line)
        };
        drafts.push(draft.running(&command.join(&b' ')));
    }
}

/// `service NAME { server = …, server_args = …, user = …, disable = yes }`
fn xinetd(found: &Found, drafts: &mut Drafts) {
    let mut open: Option<(Draft, Vec<u8>)> = None;
    for (n, line) in code_lines(content(found)) {
        if let Some(name) = line.strip_prefix(b"service ") {
            let name = name.split(|byte| *byte == b'{').next().unwrap_or_default().trim_ascii();
            let draft =
                Draft { name: Some(name.to_vec()), enabled: Some(true), ..Draft::at("xinetd_service", n, line) };
            open = Some((draft, Vec::new()));
        }
        let Some((draft, command)) = &mut open else { continue };
        match sides(line, b'=') {
            Some((b"server", value)) => *command = value.to_vec(),
            Some((b"server_args", value)) => command.extend_from_slice(&[b" ", value].concat()),
            Some((b"user", value)) => draft.user = Some(value.to_vec()),
            Some((b"port", value)) => draft.schedule = Some([b"port ", value].concat()),
            Some((b"disable", value)) => draft.enabled = Some(!value.eq_ignore_ascii_case(b"yes")),
            _ if line.ends_with(b"}") => {
                if let Some((draft, command)) = open.take() {
                    drafts.push(draft.running(&command));
                }
            }
            _ => {}
        }
    }
}

fn dbus(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    for setting in settings(content(found)) {
        match setting.key {
            b"Name" => draft.name = Some(setting.value),
            b"Exec" => draft.run(&setting.value),
            b"User" => draft.user = Some(setting.value),
            b"SystemdService" => draft.unit = Some(setting.value),
            _ => {}
        }
    }
    drafts.push(draft);
}

/// A rule is JavaScript that polkitd runs; what it spawns and whether it ever says yes can be told from its lines.
fn polkit_rule(found: &Found, drafts: &mut Drafts) {
    let content = content(found);
    let mut draft = Draft::of(drafts.mechanism);
    if contains(content, b"Result.YES") || contains(content, b"\"yes\"") {
        draft.kind = Some(b"says_yes".to_vec());
    }
    for (_, line) in lines(content) {
        let line = line.trim_ascii();
        if !line.is_empty() && !line.starts_with(b"//") && !line.starts_with(b"*") && !line.starts_with(b"/*") {
            draft.runs.push(line.to_vec());
        }
    }
    drafts.push(draft);
}

fn polkit_authority(found: &Found, drafts: &mut Drafts) {
    let mut last: Option<Draft> = None;
    for setting in settings(content(found)) {
        if last.as_ref().is_none_or(|draft| draft.name.as_deref() != Some(setting.section)) {
            if let Some(done) = last.take() {
                drafts.push(done);
            }
            let name = Some(setting.section.to_vec());
            last = Some(Draft { name, line: Some(setting.line), ..Draft::of(drafts.mechanism) });
        }
        if let Some(draft) = &mut last {
            if setting.key == b"Identity" {
                draft.user = Some(setting.value.clone());
            }
            draft.sets.push([setting.key, b"=", setting.value.as_slice()].concat());
        }
    }
    if let Some(done) = last {
        drafts.push(done);
    }
}

/// The programs that pkexec(1) may run by an action: the annotation `org.freedesktop.policykit.exec.path`.
fn polkit_action(found: &Found, drafts: &mut Drafts) {
    for (n, line) in lines(content(found)) {
        if contains(line, b"policykit.exec.path")
            && let Some(start) = line.iter().position(|byte| *byte == b'>')
        {
            let path = line[start + 1..].split(|byte| *byte == b'<').next().unwrap_or_default();
            drafts.push(Draft::at("polkit_action", n, line).running(path));
        }
    }
}

fn supervised(found: &Found, drafts: &mut Drafts) {
    let mut of_section: Option<Draft> = None;
    let mut section = Vec::new();
    for setting in settings(content(found)) {
        if setting.section != section {
            section = setting.section.to_vec();
            let done = of_section.take();
            if let Some(done) = done {
                drafts.push(done);
            }
        }
        if matches!(setting.key, b"command" | b"cmd") {
            let draft =
                Draft { name: Some(section.clone()), line: Some(setting.line), ..Draft::of("supervised_program") };
            of_section = Some(draft.running(&setting.value));
        } else if let (b"user", Some(draft)) = (setting.key, &mut of_section) {
            draft.user = Some(setting.value);
        }
    }
    if let Some(done) = of_section {
        drafts.push(done);
    }
}

fn monit(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)) {
        let programs = [&b"exec "[..], b"start program", b"stop program", b"restart program", b"path "];
        if programs.iter().any(|word| contains(line, word)) {
            let quoted = line.split(|byte| *byte == b'"').nth(1).unwrap_or_default();
            drafts.push(Draft::at("monit_exec", n, line).running(quoted));
        }
    }
}

fn acpi_event(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    for (_, line) in code_lines(content(found)) {
        match sides(line, b'=') {
            Some((b"event", value)) => draft.schedule = Some(value.to_vec()),
            Some((b"action", value)) => draft.run(value),
            _ => {}
        }
    }
    drafts.push(draft);
}

fn audit_plugin(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    for (_, line) in code_lines(content(found)) {
        match sides(line, b'=') {
            Some((b"active", value)) => draft.enabled = Some(value == b"yes"),
            Some((b"path", value)) => draft.run(value),
            Some((b"args", value)) => draft.arguments.push(value.to_vec()),
            _ => {}
        }
    }
    drafts.push(draft);
}

/// rsyslog's `^program`, omprog and mmexternal; syslog-ng's `program("…")`.
fn syslog(found: &Found, drafts: &mut Drafts) {
    for (n, line) in joined_lines(content(found)) {
        let lower = line.to_ascii_lowercase();
        let after = |mark: &[u8]| {
            let at = lower.windows(mark.len()).position(|part| part == mark)?;
            line[at + mark.len()..].split(|byte| *byte == b'"').next()
        };
        let program = after(b"binary=\"").or_else(|| after(b"program(\"")).or_else(|| {
            let (_, action) = first_word(&line);
            action.strip_prefix(b"^").map(|program| program.split(|byte| *byte == b';').next().unwrap_or_default())
        });
        if let Some(program) = program {
            drafts.push(Draft::at("syslog_program", n, &line).running(program));
        } else if contains(&lower, b"omprog") || contains(&lower, b"mmexternal") {
            drafts.push(Draft::at("syslog_program", n, &line));
        }
    }
}

fn smartd(found: &Found, drafts: &mut Drafts) {
    if !found.path.ends_with(b".conf") {
        return executable(found, drafts);
    }
    for (n, line) in joined_lines(content(found)) {
        if let Some(at) = line.windows(8).position(|part| part == b"-M exec ") {
            drafts.push(Draft::at("smartd_exec", n, &line).running(unquoted(&line[at + 8..])));
        }
    }
}
