//! systemd: units of every type and layer, their drop-ins, the links that switch them on, generators, environment
//! (systemd.unit(5), systemd.generator(7), environment.d(5)); user units of every home.

use std::collections::HashSet;

use super::formats::{content, executable, present, settings, sides};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::{Found, Keep, last_name};

pub(super) static FAMILY: Family = Family { mechanisms: MECHANISMS, keep: Keep::Files, finish };

const MECHANISMS: &[Mechanism] = &[
    Mechanism {
        name: "systemd_unit",
        globs: &[
            "{/etc,/run,/usr/lib,/lib,/usr/local/lib,/usr/share,/usr/local/share}/systemd/system/**",
            "/{etc,run}/systemd/{system.control,system.attached}/**",
            "/run/systemd/{transient,generator,generator.early,generator.late}/**",
        ],
        read: unit,
    },
    Mechanism {
        name: "systemd_user_unit",
        globs: &[
            "{/etc,/run,/usr/lib,/lib,/usr/local/lib,/usr/share,/usr/local/share}/systemd/user/**",
            "/run/user/*/systemd/{transient,generator,generator.early,generator.late,user,user.control}/**",
            "~/.config/systemd/{user,user.control}/**",
            "~/.local/share/systemd/user/**",
        ],
        read: unit,
    },
    Mechanism {
        name: "systemd_generator",
        globs: &[
            "{/etc,/run,/usr/lib,/lib,/usr/local/lib}/systemd/{system-generators,user-generators}/*",
            "{/etc,/run,/usr/lib,/lib,/usr/local/lib}/systemd/{system,user}-environment-generators/*",
        ],
        read: executable,
    },
    Mechanism {
        name: "systemd_sleep_hook",
        globs: &[
            "{/etc,/run,/usr/lib,/lib,/usr/local/lib}/systemd/{system-sleep,system-shutdown}/*",
            "{/etc/pm,/usr/lib/pm-utils}/{sleep.d,power.d}/*",
        ],
        read: executable,
    },
    Mechanism {
        name: "systemd_manager_environment",
        globs: &[
            "{/etc,/run,/usr/lib,/lib,/usr/local/lib}/systemd/{system,user}.conf",
            "{/etc,/run,/usr/lib,/lib,/usr/local/lib}/systemd/{system,user}.conf.d/*",
        ],
        read: manager,
    },
    Mechanism {
        name: "environment_d",
        globs: &["{/etc,/run,/usr/lib,/lib,/usr/local/lib}/environment.d/*", "~/.config/environment.d/*"],
        read: environment,
    },
    Mechanism { name: "systemd_linger", globs: &["/var/lib/systemd/linger/*"], read: linger },
    Mechanism {
        name: "systemd_preset",
        globs: &["{/etc,/run,/usr/lib,/lib,/usr/local/lib}/systemd/{system,user}-preset/*"],
        read: present,
    },
];

/// Types of units.
const TYPES: [(&[u8], &str); 11] = [
    (b"service", "service"),
    (b"timer", "timer"),
    (b"socket", "socket"),
    (b"path", "path"),
    (b"mount", "mount"),
    (b"automount", "automount"),
    (b"swap", "swap"),
    (b"target", "target"),
    (b"scope", "scope"),
    (b"slice", "slice"),
    (b"device", "device"),
];

/// What a unit runs.
const EXEC: [&[u8]; 8] = [
    b"ExecCondition",
    b"ExecStartPre",
    b"ExecStart",
    b"ExecStartPost",
    b"ExecReload",
    b"ExecStop",
    b"ExecStopPre",
    b"ExecStopPost",
];

/// When it does so.
const WHEN: [&[u8]; 18] = [
    b"DirectoryNotEmpty",
    b"ListenDatagram",
    b"ListenFIFO",
    b"ListenMessageQueue",
    b"ListenNetlink",
    b"ListenSequentialPacket",
    b"ListenSpecial",
    b"ListenStream",
    b"OnActiveSec",
    b"OnBootSec",
    b"OnCalendar",
    b"OnStartupSec",
    b"OnUnitActiveSec",
    b"OnUnitInactiveSec",
    b"PathChanged",
    b"PathExists",
    b"PathExistsGlob",
    b"PathModified",
];

fn unit(found: &Found, drafts: &mut Drafts) {
    let names: Vec<&[u8]> = found.path.rsplit(|byte| *byte == b'/').take(2).collect();
    let [name, folder] = names[..] else { return };
    let mut draft = Draft { name: Some(name.to_vec()), ..Draft::of(drafts.mechanism) };
    if let Some(of_unit) = folder.strip_suffix(b".d") {
        draft.form = Some("dropin");
        draft.unit = Some(of_unit.to_vec());
    } else if let Some(link) = switching(folder) {
        draft.form = Some("wants_link");
        draft.kind = Some(link.to_vec());
        draft.schedule = folder.strip_suffix(link).and_then(|at| at.strip_suffix(b".")).map(<[u8]>::to_vec);
        draft.unit = Some(name.to_vec());
        draft.enabled = Some(true);
    } else if let Some((_, form)) = TYPES.iter().find(|(end, _)| extension(name) == *end) {
        draft.form = Some(form);
    }
    if found.link_target.as_deref() == Some(b"/dev/null") {
        draft.kind = Some(b"masked".to_vec());
        draft.enabled = Some(false);
        return drafts.push(draft);
    }
    settle(&mut draft, found);
    drafts.push(draft);
}

fn settle(draft: &mut Draft, found: &Found) {
    let mut runs = Vec::new();
    for setting in settings(content(found)) {
        let value = &setting.value;
        match (setting.section, setting.key) {
            (b"Service" | b"Socket" | b"Mount" | b"Swap", key) if EXEC.contains(&key) => {
                // An empty value forgets what stood before it (systemd.service(5)).
                if value.is_empty() {
                    runs.retain(|(of, _)| *of != key);
                } else {
                    runs.push((key, value.clone()));
                }
            }
            (b"Service" | b"Socket" | b"Mount" | b"Swap", b"User") => draft.user = Some(value.clone()),
            (b"Service" | b"Mount", b"Type") => {
                draft.kind.get_or_insert_with(|| value.clone());
            }
            (_, b"Environment" | b"PassEnvironment") => {
                draft.sets.extend(super::command::words(value));
            }
            (_, b"EnvironmentFile") => draft.sets.push([b"EnvironmentFile=", value.as_slice()].concat()),
            (b"Timer" | b"Path" | b"Automount", b"Unit") | (b"Socket", b"Service") => draft.unit = Some(value.clone()),
            (b"Mount" | b"Swap", b"What") => draft.targets.push(value.clone()),
            (b"Mount" | b"Automount", b"Where") => draft.arguments.push(value.clone()),
            (b"Timer" | b"Path" | b"Socket", key) if WHEN.contains(&key) => {
                let schedule = draft.schedule.get_or_insert_default();
                if !schedule.is_empty() {
                    schedule.extend_from_slice(b"; ");
                }
                schedule.extend_from_slice(&[key, b"=", value.as_slice()].concat());
            }
            (b"Install", b"WantedBy" | b"RequiredBy" | b"Alias" | b"UpheldBy" | b"Also" | b"DefaultInstance") => {
                draft.arguments.push([setting.key, b"=", value.as_slice()].concat());
            }
            _ => {}
        }
    }
    // What is started counts for the target before what prepares it.
    if let Some((_, first)) = runs.iter().find(|(key, _)| *key == b"ExecStart")
        && let Some(program) = super::command::program(without_prefix(first))
    {
        draft.targets.clear();
        draft.aim(&program);
    }
    for (_, command) in runs {
        if draft.targets.is_empty()
            && let Some(program) = super::command::program(without_prefix(&command))
        {
            draft.aim(&program);
        }
        draft.runs.push(command);
    }
    let name = draft.name.clone().unwrap_or_default();
    let stem = name.iter().rposition(|byte| *byte == b'.').map_or(&name[..], |dot| &name[..dot]);
    if draft.unit.is_none() && matches!(draft.form, Some("timer" | "path" | "socket")) {
        draft.unit = Some([stem, b".service"].concat());
    }
}

/// `@`, `-`, `:`, `+`, `!`, `|` before the program say how it is run (systemd.service(5)).
fn without_prefix(command: &[u8]) -> &[u8] {
    let start = command.iter().position(|byte| !b"@-:+!|".contains(byte)).unwrap_or(command.len());
    &command[start..]
}

fn extension(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b'.').next().unwrap_or_default()
}

/// The kind of folder that switches on what is linked into it.
fn switching(folder: &[u8]) -> Option<&[u8]> {
    let end = extension(folder);
    matches!(end, b"wants" | b"requires" | b"upholds").then_some(end)
}

/// A unit is switched on when something links to it: by its name, or as an instance of it.
fn finish(found: &[Found], drafts: &mut [Draft]) {
    let is_user = |draft: &Draft| {
        found.get(draft.file).is_some_and(|file| {
            file.path.windows(14).any(|part| part == b"/systemd/user/") || super::row::layer(&file.path) == "home"
        })
    };
    let mut linked: HashSet<(bool, Vec<u8>)> = HashSet::new();
    for draft in drafts.iter().filter(|draft| draft.form == Some("wants_link")) {
        let Some(name) = draft.name.clone() else { continue };
        let target = found.get(draft.file).and_then(|file| file.link_target.as_deref()).map(last_name);
        if let (Some(at), Some(dot)) =
            (name.iter().position(|byte| *byte == b'@'), name.iter().rposition(|byte| *byte == b'.'))
            && at < dot
        {
            linked.insert((is_user(draft), [&name[..=at], &name[dot..]].concat()));
        }
        linked.extend(target.map(|target| (is_user(draft), target.to_vec())));
        linked.insert((is_user(draft), name));
    }
    // A link to a unit under another name, in the folder of the units themselves, is an alias and switches it on as well.
    for draft in drafts.iter() {
        let Some(file) = found.get(draft.file) else { continue };
        if let Some(target) = &file.link_target
            && TYPES.iter().any(|(_, form)| Some(*form) == draft.form)
            && file.path.starts_with(b"/etc/")
        {
            linked.insert((is_user(draft), last_name(target).to_vec()));
        }
    }
    for draft in drafts.iter_mut() {
        let is_unit = TYPES.iter().any(|(_, form)| Some(*form) == draft.form);
        if is_unit && draft.enabled.is_none() {
            let key = (is_user(draft), draft.name.clone().unwrap_or_default());
            let can_be = draft.arguments.iter().any(|argument| {
                argument.starts_with(b"WantedBy=")
                    || argument.starts_with(b"RequiredBy=")
                    || argument.starts_with(b"Alias=")
            });
            let is_on = linked.contains(&key);
            draft.enabled = (is_on || can_be).then_some(is_on);
        }
    }
}

fn manager(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    for setting in settings(content(found)) {
        if matches!(setting.key, b"DefaultEnvironment" | b"ManagerEnvironment") {
            draft.sets.extend(super::command::words(&setting.value));
        }
    }
    drafts.push(draft);
}

fn environment(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    let lines = super::formats::code_lines(content(found)).filter(|(_, line)| sides(line, b'=').is_some());
    draft.sets = lines.map(|(_, line)| line.to_vec()).collect();
    drafts.push(draft);
}

/// A file named after a user whose units run without a login (loginctl(1), enable-linger).
fn linger(found: &Found, drafts: &mut Drafts) {
    let user = Some(found.name().to_vec());
    drafts.push(Draft { enabled: Some(true), user, ..Draft::of(drafts.mechanism) });
}
