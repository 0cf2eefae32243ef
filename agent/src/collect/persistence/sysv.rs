//! init of System V and its kin: rc.local, init.d and its runlevel links, inittab, upstart, OpenRC, runit (init(8),
//! inittab(5), openrc(8), runsvdir(8)).

use std::collections::HashMap;

use super::formats::{code_lines, content, executable, is_executable, lines, script_draft};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::{Found, Keep, last_name};

pub(super) static FAMILY: Family = Family { mechanisms: MECHANISMS, keep: Keep::Files, finish };

const MECHANISMS: &[Mechanism] = &[
    Mechanism {
        name: "rc_local",
        globs: &["/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/{boot,after,before}.local", "/etc/rc.firewall"],
        read: executable,
    },
    Mechanism { name: "sysv_init", globs: &["/etc/init.d/*", "/etc/rc.d/init.d/*"], read: init },
    Mechanism { name: "sysv_link", globs: &["/etc/rc?.d/*", "/etc/rc.d/rc?.d/*", "/etc/init.d/rc?.d/*"], read: link },
    Mechanism { name: "inittab_line", globs: &["/etc/inittab"], read: inittab },
    Mechanism { name: "upstart_job", globs: &["/etc/init/*.conf", "~/{.init,.config/upstart}/*"], read: upstart },
    Mechanism { name: "openrc_local", globs: &["/etc/local.d/*"], read: executable },
    Mechanism { name: "openrc_link", globs: &["/etc/runlevels/*/*"], read: link },
    Mechanism { name: "openrc_settings", globs: &["/etc/rc.conf", "/etc/conf.d/*"], read: openrc_settings },
    Mechanism {
        name: "runit_service",
        globs: &[
            "/etc/{sv,service,runit/runsvdir/*}/*/{run,finish}",
            "/etc/runit/{1,2,3,core-services/*}",
            "/var/service/*/{run,finish}",
            "/etc/s6*/**/{run,up,finish}",
        ],
        read: executable,
    },
    Mechanism { name: "insserv_settings", globs: &["/etc/insserv.conf", "/etc/insserv.conf.d/*"], read: |_, _| {} },
];

fn init(found: &Found, drafts: &mut Drafts) {
    // One that is not executable is not run, and finish() looks at the links of the others.
    let mut draft = script_draft(found, drafts.mechanism);
    if !is_executable(found) {
        draft.enabled = Some(false);
    }
    for (_, line) in lines(content(found)).take(100) {
        if let Some(levels) = line.strip_prefix(b"# Default-Start:") {
            draft.schedule = Some(levels.trim_ascii().to_vec());
        }
    }
    drafts.push(draft);
}

/// `S20name` starts it, `K20name` ends it.
fn link(found: &Found, drafts: &mut Drafts) {
    let level = found.path.rsplit(|byte| *byte == b'/').nth(1).map(<[u8]>::to_vec);
    let name = found.name();
    let is_start = drafts.mechanism == "openrc_link" || name.starts_with(b"S");
    let kind = if is_start { b"start".as_slice() } else { b"kill" };
    drafts.push(Draft {
        enabled: Some(is_start),
        kind: Some(kind.to_vec()),
        schedule: level,
        targets: vec![found.path.clone()],
        ..Draft::of(drafts.mechanism)
    });
}

/// A script of init.d is switched on when a start link of a runlevel leads to it.
fn finish(found: &[Found], drafts: &mut [Draft]) {
    let mut levels: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
    for draft in drafts.iter().filter(|draft| draft.enabled == Some(true)) {
        let of_level = matches!(draft.mechanism, "sysv_link" | "openrc_link");
        let target = found.get(draft.file).and_then(|file| file.link_target.as_deref());
        if let (true, Some(target), Some(level)) = (of_level, target, &draft.schedule) {
            levels.entry(last_name(target).to_vec()).or_default().push(level.clone());
        }
    }
    for draft in drafts.iter_mut().filter(|draft| draft.mechanism == "sysv_init" && draft.enabled.is_none()) {
        let name = found.get(draft.file).map(Found::name).unwrap_or_default();
        let of_script = levels.get(name);
        draft.enabled = Some(of_script.is_some());
        if let Some(levels) = of_script {
            draft.schedule = Some(levels.join(&b' '));
        }
    }
}

/// `id:runlevels:action:process`
fn inittab(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)) {
        let fields: Vec<&[u8]> = line.splitn(4, |byte| *byte == b':').collect();
        let [id, levels, action, process] = fields[..] else { continue };
        let draft = Draft {
            name: Some(id.to_vec()),
            schedule: Some(levels.to_vec()),
            kind: Some(action.to_vec()),
            ..Draft::at("inittab_line", n, line)
        };
        drafts.push(draft.running(process.strip_prefix(b"+").unwrap_or(process)));
    }
}

/// `exec COMMAND` and `script … end script` (init(5) of upstart).
fn upstart(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    let mut is_script = false;
    for (_, line) in code_lines(content(found)) {
        let (word, rest) = super::formats::first_word(line);
        if is_script {
            is_script = line != b"end script";
            if is_script {
                draft.run(line);
            }
        } else if line == b"script" || line.ends_with(b" script") {
            is_script = true;
        } else if word == b"exec" {
            draft.run(rest);
        } else if matches!(word, b"pre-start" | b"post-start" | b"pre-stop" | b"post-stop")
            && let Some(command) = rest.strip_prefix(b"exec ")
        {
            draft.run(command);
        } else if word == b"start" {
            draft.schedule = Some(line.to_vec());
        } else if word == b"setuid" {
            draft.user = Some(rest.to_vec());
        } else if word == b"env" {
            draft.sets.push(rest.to_vec());
        }
    }
    drafts.push(draft);
}

fn openrc_settings(found: &Found, drafts: &mut Drafts) {
    let lines = code_lines(content(found)).map(|(_, line)| line.to_vec()).collect();
    drafts.push(Draft { sets: lines, ..Draft::of(drafts.mechanism) });
}
