//! cron, anacron, at and incron: lines, scripts and jobs (crontab(5), anacrontab(5), at(1), incrontab(5)).

use super::command::is_assignment;
use super::formats::{code_lines, content, is_executable, script_draft};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism { name: "cron_line", globs: &["/etc/crontab", "/etc/cron.d/*", "/usr/lib/cron.d/*"], read: system },
    Mechanism {
        name: "cron_line",
        globs: &[
            "/var/spool/cron/*",
            "/var/spool/cron/{crontabs,tabs}/*",
            "/var/cron/tabs/*",
            "/etc/crontabs/*",
            "/var/spool/fcron/*",
        ],
        read: of_user,
    },
    Mechanism {
        name: "cron_script",
        globs: &[
            "/etc/cron.{hourly,daily,weekly,monthly,yearly}/*",
            "/usr/lib/cron.{hourly,daily,weekly,monthly}/*",
            "/etc/periodic/*/*",
        ],
        read: script,
    },
    Mechanism { name: "anacron_line", globs: &["/etc/anacrontab"], read: anacron },
    Mechanism {
        name: "at_job",
        globs: &["/var/spool/at/*", "/var/spool/cron/atjobs/*", "/var/spool/atjobs/*", "/var/spool/cron/atspool/*"],
        read: at_job,
    },
    Mechanism {
        name: "incron_line",
        globs: &["/etc/incron.d/*", "/var/spool/incron/*", "/etc/incron.conf"],
        read: incron,
    },
    Mechanism {
        name: "cron_access",
        globs: &["/etc/{cron,at}.{allow,deny}", "/var/cron/{allow,deny}", "/var/spool/anacron/*"],
        read: |_, _| {},
    },
]);

fn system(found: &Found, drafts: &mut Drafts) {
    crontab(found, drafts, true);
}

/// The user is the file's name.
fn of_user(found: &Found, drafts: &mut Drafts) {
    crontab(found, drafts, false);
}

fn crontab(found: &Found, drafts: &mut Drafts, names_user: bool) {
    if found.content.is_none() {
        return drafts.push(Draft::of(drafts.mechanism));
    }
    let owner = if names_user { None } else { Some(found.name().to_vec()) };
    // Debian's cron passes over names with anything but these characters (cron(8)): a job that does not run is a job.
    let is_read = !names_user
        || found.path == b"/etc/crontab"
        || found.name().iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte));
    for (n, line) in code_lines(content(found)) {
        let mut draft = Draft { user: owner.clone(), enabled: Some(is_read), ..Draft::at("cron_line", n, line) };
        if let Some((name, _)) = super::formats::sides(line, b'=')
            && is_assignment(&[name, b"="].concat())
        {
            draft.mechanism = "cron_environment";
            draft.sets.push(line.to_vec());
            drafts.push(draft);
            continue;
        }
        let fields = if line.starts_with(b"@") { 1 } else { 5 };
        let (schedule, mut rest) = words(line, fields);
        draft.schedule = Some(schedule.to_vec());
        if names_user {
            let (user, command) = words(rest, 1);
            draft.user = Some(user.to_vec());
            rest = command;
        }
        draft.run(rest);
        drafts.push(draft);
    }
}

/// The first `count` words with what is between them, and what follows.
fn words(line: &[u8], count: usize) -> (&[u8], &[u8]) {
    let mut at = 0;
    for _ in 0..count {
        let start = line[at..].iter().position(|byte| !byte.is_ascii_whitespace()).map_or(line.len(), |n| at + n);
        at = line[start..].iter().position(u8::is_ascii_whitespace).map_or(line.len(), |n| start + n);
    }
    (line[..at].trim_ascii(), line[at..].trim_ascii())
}

/// run-parts(8) runs what is executable and has a plain name.
fn script(found: &Found, drafts: &mut Drafts) {
    let is_plain = found.name().iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte));
    let period = found.path.rsplit(|byte| *byte == b'/').nth(1).map(<[u8]>::to_vec);
    let draft = script_draft(found, drafts.mechanism);
    drafts.push(Draft { enabled: Some(is_plain && is_executable(found)), schedule: period, ..draft });
}

fn anacron(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)) {
        let mut draft = Draft::at("anacron_line", n, line);
        let (first, _) = words(line, 1);
        if is_assignment(first) || first.contains(&b'=') {
            draft.mechanism = "cron_environment";
            draft.sets.push(line.to_vec());
        } else {
            let (schedule, rest) = words(line, 2);
            let (name, command) = words(rest, 1);
            draft.schedule = Some(schedule.to_vec());
            draft.name = Some(name.to_vec());
            draft.run(command);
        }
        drafts.push(draft);
    }
}

/// A job of at(1) is a script that sets the environment first; its time is in its name, in minutes since the epoch and
/// in hexadecimal.
fn at_job(found: &Found, drafts: &mut Drafts) {
    let mut draft = script_draft(found, drafts.mechanism);
    let (sets, runs) = draft.runs.into_iter().partition(|line| is_assignment(line));
    (draft.sets, draft.runs) = (sets, runs);
    draft.targets.clear();
    let minutes = found.name().get(6..14).and_then(|digits| crate::host::text::in_base(digits, 16));
    draft.schedule = minutes.map(|minutes| format!("at {} seconds since the epoch", minutes * 60).into_bytes());
    // `# atrun uid=0 gid=0`
    let head = content(found).get(..512).unwrap_or(content(found));
    let uid = head.windows(4).position(|part| part == b"uid=").map(|at| &head[at..]);
    draft.user = uid.map(|uid| uid.split(u8::is_ascii_whitespace).next().unwrap_or_default().to_vec());
    drafts.push(draft);
}

fn incron(found: &Found, drafts: &mut Drafts) {
    for (n, line) in code_lines(content(found)) {
        let (what, command) = words(line, 2);
        let of_user = found.path.starts_with(b"/var/spool/").then(|| found.name().to_vec());
        let draft = Draft { schedule: Some(what.to_vec()), user: of_user, ..Draft::at("incron_line", n, line) };
        drafts.push(draft.running(command));
    }
}
