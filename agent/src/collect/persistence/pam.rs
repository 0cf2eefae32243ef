//! PAM: each line of each service, the modules themselves, and the environment that pam_env(8) sets (pam.conf(5),
//! pam_exec(8)).

use super::command::words;
use super::formats::{code_lines, content, first_word, joined_lines, present};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::{Found, Keep, last_name};

pub(super) static FAMILY: Family = Family { mechanisms: MECHANISMS, keep: Keep::Files, finish };

const MECHANISMS: &[Mechanism] = &[
    Mechanism { name: "pam_line", globs: &["/etc/pam.d/*", "/usr/lib/pam.d/*", "/usr/etc/pam.d/*"], read: service },
    Mechanism { name: "pam_line", globs: &["/etc/pam.conf"], read: conf },
    Mechanism {
        name: "pam_module",
        globs: &[
            "{/lib,/lib64,/usr/lib,/usr/lib64,/usr/local/lib,/usr/local/lib64}/security/**",
            "{/lib,/usr/lib,/usr/local/lib}/*-linux-*/security/**",
        ],
        read: present,
    },
    Mechanism { name: "pam_settings", globs: &["/etc/security/*.{conf,init}", "/etc/security/*.d/*"], read: settings },
];

fn service(found: &Found, drafts: &mut Drafts) {
    if found.content.is_none() {
        return drafts.push(Draft::of(drafts.mechanism));
    }
    for (n, line) in joined_lines(content(found)) {
        if let Some(mut draft) = parse(&line) {
            (draft.line, draft.text) = (Some(n), Some(line));
            drafts.push(draft);
        }
    }
}

/// `/etc/pam.conf` names the service first.
fn conf(found: &Found, drafts: &mut Drafts) {
    for (n, line) in joined_lines(content(found)) {
        let (service, rest) = first_word(&line);
        if let Some(mut draft) = parse(rest) {
            (draft.line, draft.name) = (Some(n), Some(service.to_vec()));
            draft.text = Some(line.clone());
            drafts.push(draft);
        }
    }
}

/// `type control module arguments`; a control in brackets holds blanks.
fn parse(line: &[u8]) -> Option<Draft> {
    let line = without_comment(line);
    let mut draft = Draft::of("pam_line");
    let (kind, rest) = first_word(line);
    draft.kind = Some(kind.to_vec());
    if kind == b"@include" {
        draft.module = Some(rest.to_vec());
        return Some(draft);
    }
    let (control, rest) = if rest.starts_with(b"[") {
        let end = rest.iter().position(|byte| *byte == b']')? + 1;
        (&rest[..end], rest[end..].trim_ascii())
    } else {
        first_word(rest)
    };
    let (module, arguments) = first_word(rest);
    if module.is_empty() {
        return None;
    }
    draft.control = Some(control.to_vec());
    draft.module = Some(module.to_vec());
    draft.arguments = words(arguments);
    if module.starts_with(b"/") {
        draft.targets.push(module.to_vec());
    }
    match last_name(module) {
        b"pam_exec.so" => {
            // Options come before the command, and no option begins with a slash.
            let command = draft.arguments.iter().position(|word| word.starts_with(b"/"));
            let command = command.and_then(|at| draft.arguments.get(at..)).unwrap_or_default().join(&b' ');
            draft.targets.clear();
            draft.run(&command);
        }
        b"pam_script.so" => {
            let folder = draft.arguments.iter().find_map(|word| word.strip_prefix(b"dir=")).map(<[u8]>::to_vec);
            draft.runs.extend(folder);
        }
        _ => {}
    }
    Some(draft)
}

fn without_comment(line: &[u8]) -> &[u8] {
    let at = line.windows(2).position(|part| part[0].is_ascii_whitespace() && part[1] == b'#');
    at.map_or(line, |at| &line[..at])
}

/// A module without a path is in the folder of modules: one of those that were found.
fn finish(found: &[Found], drafts: &mut [Draft]) {
    let modules: Vec<&Found> = found.iter().filter(|file| file.path.ends_with(b".so")).collect();
    for draft in drafts.iter_mut().filter(|draft| draft.mechanism == "pam_line" && draft.targets.is_empty()) {
        let Some(name) = draft.module.as_deref().filter(|name| !name.contains(&b'/')) else { continue };
        draft.targets = modules.iter().filter(|file| file.name() == name).map(|file| file.path.clone()).collect();
    }
}

fn settings(found: &Found, drafts: &mut Drafts) {
    let lines: Vec<Vec<u8>> = code_lines(content(found)).map(|(_, line)| line.to_vec()).collect();
    let mut draft = Draft::of(drafts.mechanism);
    if found.path.ends_with(b".init") {
        (draft.runs, draft.targets) = (lines, vec![found.path.clone()]);
    } else {
        draft.sets = lines;
    }
    drafts.push(draft);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_line() {
        let draft = parse(b"auth optional pam_exec.so quiet /bin/true # fx").unwrap();
        assert_eq!(draft.runs, [b"/bin/true"]);
        assert_eq!(draft.targets, [b"/bin/true"]);
        assert_eq!(draft.control.as_deref(), Some(&b"optional"[..]));
        let draft = parse(b"-session [success=1 default=ignore] /x/pam_a.so try_first_pass").unwrap();
        assert_eq!(draft.kind.as_deref(), Some(&b"-session"[..]));
        assert_eq!(draft.control.as_deref(), Some(&b"[success=1 default=ignore]"[..]));
        assert_eq!(draft.targets, [b"/x/pam_a.so"]);
        assert_eq!(parse(b"@include common-auth").unwrap().module.as_deref(), Some(&b"common-auth"[..]));
        assert!(parse(b"auth [unclosed").is_none() && parse(b"auth required").is_none());
    }
}
