//! What a line of a log says, where its program is known: who came in, from where, by which key; who became whom; which
//! account changed. The same for text logs and for the journal.
//!
//! The texts are those of OpenSSH (`auth.c`, `log.c`), sudo(8), su(1), pam_unix(8), shadow-utils, systemd-logind(8),
//! polkitd(8), pkexec(1) and cron(8). Names of users come from the network: a name may hold ` from 192.0.2.1 port 22`, so
//! lines are read from their end, where the program writes what the peer cannot.

use schemars::JsonSchema;
use serde::Serialize;

/// The facts of a line that is known. All are absent in others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LogFacts {
    /// Address or name of the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Command that was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What happened: `ssh_accepted`, `ssh_failed`, `ssh_invalid_user`, `ssh_refused`, `ssh_disconnected`,
    /// `ssh_session`, `ssh_listening`, `ssh_bad_protocol`, `sudo`, `sudo_refused`, `su`, `su_failed`, `auth_failed`,
    /// `session_opened`, `session_closed`, `login_session`, `user_added`, `user_changed`, `user_deleted`,
    /// `group_added`, `group_deleted`, `group_member_added`, `group_member_removed`, `password_changed`,
    /// `polkit_authorized`, `pkexec`, `cron_command`, `crontab_changed`, `logging_started`, `logging_stopped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<&'static str>,
    /// Fingerprint of the key that was accepted or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Group that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// True when there is no such user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_user: Option<bool>,
    /// How somebody proved who they are: `password`, `publickey` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Port of the peer; for `ssh_listening` our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Folder in which the command was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pwd: Option<String>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Service of PAM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Session of systemd-logind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// User that somebody became, or that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_user: Option<String>,
    /// Terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
    /// User who did it, or who came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// The longest value that is kept.
const VALUE_CHARS_MAX: usize = 4096;

fn text(value: &str) -> Option<String> {
    let value = value.trim();
    (!value.is_empty()).then(|| value.chars().take(VALUE_CHARS_MAX).collect())
}

fn event(name: &'static str) -> LogFacts {
    LogFacts { event: Some(name), ..LogFacts::default() }
}

impl LogFacts {
    /// The facts of what `program` said; none for what is not known.
    pub fn of(program: &str, message: &str) -> Self {
        let program = program.rsplit('/').next().unwrap_or(program);
        let facts = match program {
            "sshd" | "sshd-session" | "sshd-auth" => ssh(message),
            "sudo" => sudo(message),
            "su" | "runuser" => su(message),
            "useradd" | "adduser" | "newusers" => user_added(message),
            "usermod" | "userdel" | "groupadd" | "groupdel" | "groupmod" | "gpasswd" | "passwd" | "chpasswd"
            | "chage" | "chsh" | "chfn" | "deluser" => account(program, message),
            "systemd-logind" | "elogind" => logind(message),
            "polkitd" => polkit(message),
            "pkexec" => pkexec(message),
            "cron" | "CRON" | "crond" | "anacron" | "crontab" | "CROND" => cron(message),
            "rsyslogd" | "syslog-ng" | "auditd" | "systemd-journald" => logging(message),
            _ => None,
        };
        facts.or_else(|| pam(message)).unwrap_or_default()
    }

    /// True when nothing is known of the line.
    pub fn is_empty(&self) -> bool {
        self.event.is_none()
    }

    /// True for what belongs on a timeline: not what a machine does each minute by itself.
    pub fn is_notable(&self) -> bool {
        let of_cron = self.service.as_deref().is_some_and(|service| service.starts_with("cron"));
        !of_cron && !matches!(self.event, None | Some("cron_command" | "session_closed" | "ssh_disconnected"))
    }
}

fn ssh(message: &str) -> Option<LogFacts> {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message = message.strip_prefix("fatal: ").unwrap_or(message);
    for (start, name) in [("Accepted ", "ssh_accepted"), ("Failed ", "ssh_failed")] {
        if let Some(rest) = message.strip_prefix(start) {
            return ssh_tried(name, rest);
        }
    }
    if let Some(rest) = message.strip_prefix("maximum authentication attempts exceeded for ") {
        let mut facts = peer("ssh_refused", rest.strip_suffix(" [preauth]").unwrap_or(rest))?;
        facts.reason = text("maximum authentication attempts exceeded");
        return Some(facts);
    }
    if let Some(rest) = message.strip_prefix("Invalid user ") {
        let mut facts = peer("ssh_invalid_user", rest)?;
        facts.invalid_user = Some(true);
        return Some(facts);
    }
    if let Some(rest) = message.strip_prefix("User ") {
        let (rest, why) = rest.rsplit_once(" not allowed because ")?;
        let (user, address) = rest.rsplit_once(" from ")?;
        return Some(LogFacts { user: text(user), address: text(address), reason: text(why), ..event("ssh_refused") });
    }
    if let Some(rest) = message.strip_prefix("Server listening on ") {
        let rest = rest.trim_end_matches('.');
        let (address, port) = rest.rsplit_once(" port ")?;
        return Some(LogFacts { address: text(address), port: port.parse().ok(), ..event("ssh_listening") });
    }
    if let Some(rest) = message.strip_prefix("Starting session: ") {
        let (what, rest) = rest.rsplit_once(" for ")?;
        let facts = peer("ssh_session", rest.rsplit_once(" id ").map_or(rest, |(rest, _)| rest))?;
        let (what, tty) = what.rsplit_once(" on ").map_or((what, ""), |(what, tty)| (what, tty));
        return Some(LogFacts { command: text(what), tty: text(tty), ..facts });
    }
    if message.starts_with("Bad protocol version identification ") || message.starts_with("banner exchange: ") {
        let rest = message.rsplit_once(" from ").map_or("", |(_, rest)| rest);
        let rest =
            if rest.is_empty() { message.rsplit_once("Connection from ").map_or("", |(_, rest)| rest) } else { rest };
        let address = rest.split(' ').next().unwrap_or_default();
        return Some(LogFacts { address: text(address), port: port_in(rest), ..event("ssh_bad_protocol") });
    }
    let gone = ["Disconnected from ", "Connection closed by ", "Connection reset by ", "Received disconnect from "];
    let rest = gone.iter().find_map(|start| message.strip_prefix(start))?;
    ssh_gone(rest)
}

/// `METHOD for [invalid user ]NAME from ADDRESS port PORT ssh2[: TYPE FINGERPRINT]`.
fn ssh_tried(name: &'static str, rest: &str) -> Option<LogFacts> {
    let (method, rest) = rest.split_once(" for ")?;
    let (rest, key) = match rest.rsplit_once(" ssh2: ") {
        // A user's name may hold ` ssh2: `: what comes after the real one holds no ` port `.
        Some((rest, key)) if !key.contains(" port ") => (rest, key),
        _ => (rest.strip_suffix(" ssh2").unwrap_or(rest), ""),
    };
    let facts = peer(name, rest)?;
    let fingerprint = key.split(' ').find(|word| word.starts_with("SHA256:") || word.starts_with("MD5:"));
    Some(LogFacts { method: text(method), fingerprint: fingerprint.and_then(text), ..facts })
}

/// `[invalid user ]NAME from ADDRESS port PORT[ ssh2]`, read from the end.
fn peer(name: &'static str, rest: &str) -> Option<LogFacts> {
    let rest = rest.strip_suffix(" ssh2").unwrap_or(rest);
    let (before, port) = match rest.rsplit_once(" port ") {
        Some((before, port)) => (before, port.parse().ok()),
        None => (rest, None),
    };
    let (user, address) = before.rsplit_once(" from ").or_else(|| Some(("", before.strip_prefix("from ")?)))?;
    let (user, invalid) = match user.strip_prefix("invalid user ") {
        Some(user) => (user, Some(true)),
        None => (user, None),
    };
    Some(LogFacts { user: text(user), address: text(address), port, invalid_user: invalid, ..event(name) })
}

/// `[user NAME |authenticating user NAME |invalid user NAME ]ADDRESS port PORT[:11: why][ [preauth]]`.
fn ssh_gone(rest: &str) -> Option<LogFacts> {
    let rest = rest.strip_suffix(" [preauth]").unwrap_or(rest);
    let (before, port) = rest.rsplit_once(" port ")?;
    let (user, address) = before.rsplit_once(' ').unwrap_or(("", before));
    let invalid = user.starts_with("invalid user ").then_some(true);
    let starts = ["authenticating user ", "invalid user ", "user "];
    let user = starts.iter().find_map(|start| user.strip_prefix(start)).unwrap_or(user);
    let port = port.split([':', ' ']).next().and_then(|port| port.parse().ok());
    Some(LogFacts {
        user: text(user),
        address: text(address),
        port,
        invalid_user: invalid,
        ..event("ssh_disconnected")
    })
}

fn port_in(rest: &str) -> Option<u16> {
    let (_, port) = rest.rsplit_once(" port ")?;
    port.split([':', ' ']).next()?.parse().ok()
}

/// `USER : [why ; ]TTY=… ; PWD=… ; USER=… ; COMMAND=…`.
fn sudo(message: &str) -> Option<LogFacts> {
    let (user, rest) = message.split_once(" : ")?;
    let mut facts = event("sudo");
    facts.user = text(user);
    // The command comes last and may hold anything.
    let (fields, command) = rest.split_once("COMMAND=").map_or((rest, ""), |(fields, command)| (fields, command));
    facts.command = text(command);
    for field in fields.split(" ; ") {
        match field.split_once('=') {
            Some(("TTY", value)) => facts.tty = text(value),
            Some(("PWD", value)) => facts.pwd = text(value),
            Some(("USER", value)) => facts.target_user = text(value),
            Some(("GROUP", value)) => facts.group = text(value),
            None if !field.trim().is_empty() && facts.reason.is_none() => facts.reason = text(field),
            Some(_) | None => {}
        }
    }
    if facts.reason.is_some() {
        facts.event = Some("sudo_refused");
    }
    (facts.command.is_some() || facts.reason.is_some()).then_some(facts)
}

/// `(to root) alice on pts/0`, `FAILED SU (to root) alice on pts/0`, and the older `Successful su for root by alice`.
fn su(message: &str) -> Option<LogFacts> {
    let (name, rest) = match message.strip_prefix("FAILED SU ") {
        Some(rest) => ("su_failed", rest),
        None => ("su", message),
    };
    if let Some(rest) = rest.strip_prefix("(to ") {
        let (target, rest) = rest.split_once(") ")?;
        let (user, tty) = rest.rsplit_once(" on ").unwrap_or((rest, ""));
        return Some(LogFacts { target_user: text(target), user: text(user), tty: text(tty), ..event(name) });
    }
    for (start, name) in [("Successful su for ", "su"), ("FAILED su for ", "su_failed")] {
        if let Some(rest) = message.strip_prefix(start) {
            let (target, user) = rest.rsplit_once(" by ")?;
            return Some(LogFacts { target_user: text(target), user: text(user), ..event(name) });
        }
    }
    None
}

/// `pam_unix(SERVICE:TYPE): …`.
fn pam(message: &str) -> Option<LogFacts> {
    let (module, rest) = message.split_once("): ")?;
    let (module, service) = module.split_once('(')?;
    if !module.starts_with("pam_") || module.contains(' ') {
        return None;
    }
    let service = service.split(':').next().unwrap_or(service);
    if let Some(rest) = rest.strip_prefix("session opened for user ") {
        let (target, by) = rest.split_once(" by ").unwrap_or((rest, ""));
        let mut facts = event("session_opened");
        facts.target_user = text(before_bracket(target));
        facts.user = text(before_bracket(by));
        facts.service = text(service);
        return Some(facts);
    }
    if let Some(user) = rest.strip_prefix("session closed for user ") {
        return Some(LogFacts { target_user: text(user), service: text(service), ..event("session_closed") });
    }
    if let Some(user) = rest.strip_prefix("password changed for ") {
        return Some(LogFacts { target_user: text(user), service: text(service), ..event("password_changed") });
    }
    if rest.starts_with("authentication failure;") || rest.contains("more authentication failure") {
        let value = |key: &str| rest.split(' ').find_map(|word| word.strip_prefix(key)).and_then(text);
        return Some(LogFacts {
            address: value("rhost="),
            tty: value("tty="),
            target_user: value("user="),
            user: value("ruser="),
            service: text(service),
            ..event("auth_failed")
        });
    }
    None
}

fn before_bracket(name: &str) -> &str {
    name.split('(').next().unwrap_or(name)
}

/// `new user: name=x, UID=1001, GID=1001, home=/home/x, shell=/bin/bash, from=pts/0`.
fn user_added(message: &str) -> Option<LogFacts> {
    if let Some(rest) = message.strip_prefix("new group: name=") {
        return Some(LogFacts { group: text(rest.split(',').next()?), ..event("group_added") });
    }
    let Some(rest) = message.strip_prefix("new user: name=") else { return account("useradd", message) };
    let tty = rest.split(", ").find_map(|field| field.strip_prefix("from="));
    let command = rest.split(", ").find_map(|field| field.strip_prefix("shell="));
    Some(LogFacts {
        target_user: text(rest.split(',').next()?),
        tty: tty.and_then(text),
        command: command.and_then(text),
        ..event("user_added")
    })
}

/// What shadow-utils say: names stand in quotes.
fn account(program: &str, message: &str) -> Option<LogFacts> {
    let mut quoted = message.split('\'').skip(1).step_by(2);
    let first = quoted.next().unwrap_or_default();
    let second = quoted.next().unwrap_or_default();
    let member = |name| LogFacts { target_user: text(first), group: text(second), ..event(name) };
    match message {
        _ if message.starts_with("new group: name=") => user_added(message),
        _ if message.starts_with("group added to ") => {
            let name = message.split("name=").nth(1).unwrap_or_default();
            Some(LogFacts { group: text(name.split(',').next()?), ..event("group_added") })
        }
        _ if message.starts_with("add '") && message.contains(" to ") => Some(member("group_member_added")),
        _ if message.starts_with("delete '") && message.contains(" from ") => Some(member("group_member_removed")),
        _ if message.starts_with("delete user '") => {
            Some(LogFacts { target_user: text(first), ..event("user_deleted") })
        }
        _ if message.starts_with("group '") && message.contains("removed") => {
            Some(LogFacts { group: text(first), ..event("group_deleted") })
        }
        _ if program == "gpasswd" && message.contains(" added by ") => {
            let rest = message.strip_prefix("user ").unwrap_or(message);
            let (target, rest) = rest.split_once(" added by ")?;
            let (user, group) = rest.split_once(" to group ")?;
            Some(LogFacts {
                target_user: text(target),
                user: text(user),
                group: text(group),
                ..event("group_member_added")
            })
        }
        _ if message.starts_with("password for '") || message.starts_with("change user '") => {
            let name = if message.contains("password") { "password_changed" } else { "user_changed" };
            Some(LogFacts { target_user: text(first), ..event(name) })
        }
        _ if message.starts_with("changed user '") || message.starts_with("changed password expiry for ") => {
            let target = if first.is_empty() { message.rsplit(' ').next().unwrap_or_default() } else { first };
            Some(LogFacts { target_user: text(target), ..event("user_changed") })
        }
        _ => None,
    }
}

fn logind(message: &str) -> Option<LogFacts> {
    let rest = message.strip_prefix("New session ")?;
    let rest = rest.strip_prefix('\'').unwrap_or(rest);
    let (session, rest) = rest.split_once([' ', '\''])?;
    let (_, user) = rest.split_once("of user ")?;
    let user = user.trim_start_matches('\'').split(['\'', ' ']).next()?.trim_end_matches('.');
    Some(LogFacts { session: text(session), user: text(user), ..event("login_session") })
}

/// `Operator of … successfully authenticated as unix-user:root to gain … for action A for … [COMMAND] (owned by unix-user:alice)`.
fn polkit(message: &str) -> Option<LogFacts> {
    let rest = message.strip_prefix("Operator of ")?;
    if !rest.contains("successfully authenticated") {
        return None;
    }
    let after = |word: &str| rest.split(word).nth(1).and_then(|rest| rest.split([' ', ')']).next());
    let command = rest.split_once('[').and_then(|(_, rest)| rest.rsplit_once(']')).map(|(command, _)| command);
    Some(LogFacts {
        command: command.and_then(text),
        method: after("for action ").and_then(text),
        target_user: after("authenticated as unix-user:").and_then(text),
        user: after("owned by unix-user:").and_then(text),
        ..event("polkit_authorized")
    })
}

/// `alice: Executing command [USER=root] [TTY=/dev/pts/0] [CWD=/] [COMMAND=/bin/sh]`.
fn pkexec(message: &str) -> Option<LogFacts> {
    let (user, rest) = message.split_once(": Executing command ")?;
    let value = |key: &str| rest.split(key).nth(1).and_then(|rest| rest.split(']').next()).and_then(text);
    Some(LogFacts {
        user: text(user),
        target_user: value("[USER="),
        tty: value("[TTY="),
        pwd: value("[CWD="),
        command: rest.split_once("[COMMAND=").and_then(|(_, rest)| text(rest.trim_end_matches(']'))),
        ..event("pkexec")
    })
}

/// `(root) CMD (command)`, `(alice) REPLACE (alice)`.
fn cron(message: &str) -> Option<LogFacts> {
    let (user, rest) = message.strip_prefix('(')?.split_once(") ")?;
    if let Some(command) = rest.strip_prefix("CMD (") {
        let command = command.strip_suffix(')').unwrap_or(command);
        return Some(LogFacts { user: text(user), command: text(command), ..event("cron_command") });
    }
    let rest = rest.strip_prefix("REPLACE (").or_else(|| rest.strip_prefix("END EDIT ("))?;
    Some(LogFacts { user: text(user), target_user: text(rest.trim_end_matches(')')), ..event("crontab_changed") })
}

fn logging(message: &str) -> Option<LogFacts> {
    let stopped =
        ["exiting on signal", "exiting normally", "is exiting", "Journal stopped", "shutting down", "terminating"];
    if stopped.iter().any(|word| message.contains(word)) {
        return Some(event("logging_stopped"));
    }
    let started = ["[software=\"rsyslogd\"] start", "] start", "starting up;", "Journal started", "Init complete"];
    started.iter().any(|word| message.ends_with(word) || message.starts_with(word)).then(|| event("logging_started"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(program: &str, message: &str, expect: &str) {
        let facts = serde_json::to_value(LogFacts::of(program, message)).unwrap();
        assert_eq!(facts.to_string(), expect, "{program}: {message}");
    }

    #[test]
    fn ssh_is_understood() {
        check(
            "sshd",
            "Accepted publickey for root from 192.0.2.7 port 50022 ssh2: ED25519 SHA256:abc",
            r#"{"address":"192.0.2.7","event":"ssh_accepted","fingerprint":"SHA256:abc","method":"publickey","port":50022,"user":"root"}"#,
        );
        check(
            "sshd-session",
            "Failed password for invalid user a b from 2001:db8::1 port 9 ssh2",
            r#"{"address":"2001:db8::1","event":"ssh_failed","invalid_user":true,"method":"password","port":9,"user":"a b"}"#,
        );
        check(
            "sshd",
            "Invalid user admin from 198.51.100.9 port 40100",
            r#"{"address":"198.51.100.9","event":"ssh_invalid_user","invalid_user":true,"port":40100,"user":"admin"}"#,
        );
        check(
            "sshd",
            "Connection closed by authenticating user root 198.51.100.9 port 1 [preauth]",
            r#"{"address":"198.51.100.9","event":"ssh_disconnected","port":1,"user":"root"}"#,
        );
        check(
            "sshd",
            "User bob from 192.0.2.1 not allowed because not listed in AllowUsers",
            r#"{"address":"192.0.2.1","event":"ssh_refused","reason":"not listed in AllowUsers","user":"bob"}"#,
        );
        check(
            "sshd",
            "error: maximum authentication attempts exceeded for root from 192.0.2.1 port 5 ssh2 [preauth]",
            r#"{"address":"192.0.2.1","event":"ssh_refused","port":5,"reason":"maximum authentication attempts exceeded","user":"root"}"#,
        );
        check(
            "sshd",
            "Starting session: command on pts/1 for root from 192.0.2.1 port 5 id 0",
            r#"{"address":"192.0.2.1","command":"command","event":"ssh_session","port":5,"tty":"pts/1","user":"root"}"#,
        );
    }

    #[test]
    fn a_users_name_cannot_forge_an_address() {
        let facts = LogFacts::of("sshd", "Invalid user x from 192.0.2.1 port 22 from 203.0.113.5 port 1");
        assert_eq!(facts.address.as_deref(), Some("203.0.113.5"));
        let facts =
            LogFacts::of("sshd", "Failed none for invalid user x ssh2: RSA SHA256:forged from 192.0.2.1 port 5 ssh2");
        assert_eq!((facts.address.as_deref(), facts.fingerprint), (Some("192.0.2.1"), None));
    }

    #[test]
    fn who_became_whom_is_understood() {
        check(
            "sudo",
            "  alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/sh -c id ; x",
            r#"{"command":"/bin/sh -c id ; x","event":"sudo","pwd":"/home/alice","target_user":"root","tty":"pts/0","user":"alice"}"#,
        );
        check(
            "sudo",
            "bob : user NOT in sudoers ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
            r#"{"command":"/bin/ls","event":"sudo_refused","pwd":"/","reason":"user NOT in sudoers","target_user":"root","tty":"pts/1","user":"bob"}"#,
        );
        check("su", "(to root) alice on pts/0", r#"{"event":"su","target_user":"root","tty":"pts/0","user":"alice"}"#);
        check(
            "su",
            "FAILED SU (to root) alice on pts/0",
            r#"{"event":"su_failed","target_user":"root","tty":"pts/0","user":"alice"}"#,
        );
        check(
            "sshd",
            "pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)",
            r#"{"event":"session_opened","service":"sshd","target_user":"root"}"#,
        );
        check(
            "login",
            "pam_unix(login:auth): authentication failure; logname=LOGIN uid=0 euid=0 tty=/dev/tty1 ruser= rhost=  user=root",
            r#"{"event":"auth_failed","service":"login","target_user":"root","tty":"/dev/tty1"}"#,
        );
        check(
            "polkitd",
            "Operator of unix-session:2 successfully authenticated as unix-user:root to gain TEMPORARY authorization for action org.x.y for unix-process:1:2 [sh -c a] (owned by unix-user:alice)",
            r#"{"command":"sh -c a","event":"polkit_authorized","method":"org.x.y","target_user":"root","user":"alice"}"#,
        );
        check(
            "pkexec",
            "alice: Executing command [USER=root] [TTY=unknown] [CWD=/] [COMMAND=/bin/sh -p]",
            r#"{"command":"/bin/sh -p","event":"pkexec","pwd":"/","target_user":"root","tty":"unknown","user":"alice"}"#,
        );
    }

    #[test]
    fn changes_of_accounts_are_understood() {
        check(
            "useradd",
            "new user: name=fx, UID=1001, GID=1001, home=/home/fx, shell=/bin/bash, from=/dev/pts/0",
            r#"{"command":"/bin/bash","event":"user_added","target_user":"fx","tty":"/dev/pts/0"}"#,
        );
        check(
            "usermod",
            "add 'fx' to group 'sudo'",
            r#"{"event":"group_member_added","group":"sudo","target_user":"fx"}"#,
        );
        check("userdel", "delete user 'fx'", r#"{"event":"user_deleted","target_user":"fx"}"#);
        check(
            "gpasswd",
            "user fx added by root to group docker",
            r#"{"event":"group_member_added","group":"docker","target_user":"fx","user":"root"}"#,
        );
        check(
            "passwd",
            "pam_unix(passwd:chauthtok): password changed for fx",
            r#"{"event":"password_changed","service":"passwd","target_user":"fx"}"#,
        );
        check(
            "systemd-logind",
            "New session 12 of user root.",
            r#"{"event":"login_session","session":"12","user":"root"}"#,
        );
        check(
            "CRON",
            "(root) CMD (/bin/true # fx)",
            r#"{"command":"/bin/true # fx","event":"cron_command","user":"root"}"#,
        );
        check("crontab", "(fx) REPLACE (fx)", r#"{"event":"crontab_changed","target_user":"fx","user":"fx"}"#);
        check("rsyslogd", "[origin software=\"rsyslogd\"] exiting on signal 15.", r#"{"event":"logging_stopped"}"#);
    }

    #[test]
    fn other_lines_have_no_facts() {
        for (program, message) in
            [("sshd", ""), ("sshd", "Accepted "), ("sudo", " : "), ("su", "(to "), ("x", "pam_unix("), ("CRON", "(")]
        {
            assert!(LogFacts::of(program, message).is_empty(), "{program}: {message}");
        }
    }
}
