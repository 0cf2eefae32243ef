//! SSH: what sshd and ssh run, and the environment they set (sshd_config(5), ssh_config(5), sshd(8) "SSHRC").
//! Commands of authorized keys are the collector `accounts`'.

use super::formats::{code_lines, content, first_word, sourced, unquoted};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism { name: "ssh_rc", globs: &["/etc/ssh/sshrc", "~/.ssh/rc"], read: sourced },
    Mechanism {
        name: "sshd_setting",
        globs: &[
            "{/etc,/usr/etc,/usr/local/etc}/ssh/sshd_config",
            "{/etc,/usr/etc,/usr/lib}/ssh/sshd_config.d/*",
            "/etc/sshd_config",
        ],
        read: server,
    },
    Mechanism {
        name: "ssh_setting",
        globs: &[
            "{/etc,/usr/etc,/usr/local/etc}/ssh/ssh_config",
            "{/etc,/usr/etc}/ssh/ssh_config.d/*",
            "~/.ssh/config",
            "~/.ssh/config.d/*",
        ],
        read: client,
    },
    Mechanism { name: "ssh_environment", globs: &["~/.ssh/environment"], read: environment },
]);

/// Settings of sshd that name a program.
const SERVER_RUNS: [&str; 5] =
    ["authorizedkeyscommand", "authorizedprincipalscommand", "forcecommand", "subsystem", "xauthlocation"];
/// Settings of sshd that say who gets in and how.
const SERVER_SETS: [&str; 19] = [
    "acceptenv",
    "allowgroups",
    "allowusers",
    "authenticationmethods",
    "authorizedkeyscommanduser",
    "authorizedkeysfile",
    "gatewayports",
    "include",
    "match",
    "passwordauthentication",
    "permitemptypasswords",
    "permitrootlogin",
    "permituserenvironment",
    "permituserrc",
    "port",
    "pubkeyauthentication",
    "setenv",
    "trustedusercakeys",
    "usepam",
];
/// Settings of ssh that name a program or a library.
const CLIENT_RUNS: [&str; 7] = [
    "knownhostscommand",
    "localcommand",
    "pkcs11provider",
    "proxycommand",
    "securitykeyprovider",
    "smartcarddevice",
    "xauthlocation",
];

fn server(found: &Found, drafts: &mut Drafts) {
    settings(found, drafts, &SERVER_RUNS, &SERVER_SETS);
}

fn client(found: &Found, drafts: &mut Drafts) {
    settings(found, drafts, &CLIENT_RUNS, &["include", "setenv", "permitlocalcommand", "match"]);
}

fn settings(found: &Found, drafts: &mut Drafts, run: &[&str], set: &[&str]) {
    let mut condition: Option<Vec<u8>> = None;
    for (n, line) in code_lines(content(found)) {
        let (word, rest) = first_word(line);
        // `Keyword=value` is allowed too.
        let (word, rest) = super::formats::sides(word, b'=')
            .map_or((word, rest), |(word, _)| (word, super::formats::sides(line, b'=').map_or(rest, |(_, rest)| rest)));
        let keyword = String::from_utf8_lossy(word).to_ascii_lowercase();
        let rest = unquoted(rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii());
        if matches!(keyword.as_str(), "match" | "host") {
            condition = Some(line.to_vec());
        }
        let mut draft = Draft {
            kind: Some(keyword.clone().into_bytes()),
            name: Some(word.to_vec()),
            schedule: condition.clone(),
            ..Draft::at(drafts.mechanism, n, line)
        };
        if run.contains(&keyword.as_str()) {
            let command = if keyword == "subsystem" { first_word(rest).1 } else { rest };
            draft.run(command);
        } else if keyword == "match"
            && let Some(at) = rest.windows(5).position(|part| part.eq_ignore_ascii_case(b"exec "))
        {
            draft.run(unquoted(rest[at + 5..].trim_ascii()));
        } else if set.contains(&keyword.as_str()) {
            draft.sets.push([word, b"=", rest].concat());
        } else {
            continue;
        }
        drafts.push(draft);
    }
}

fn environment(found: &Found, drafts: &mut Drafts) {
    let sets = code_lines(content(found)).map(|(_, line)| line.to_vec()).collect();
    drafts.push(Draft { sets, ..Draft::of(drafts.mechanism) });
}
