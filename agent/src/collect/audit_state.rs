//! What the kernel's audit and its security modules are set to: whether what happens is written down and what is allowed.
//!
//! Row types: `audit_status`, `audit_rule` (by NETLINK_AUDIT, reading alone), `selinux` and `selinux_boolean`
//! (selinuxfs), `apparmor_profile` and `apparmor` (securityfs, `/sys/module/apparmor`). What a rule watches stands by
//! name in `paths`, `permissions` and `keys`, and each of its conditions in `conditions`.
//!
//! Known limits: the kernel answers only in the first user namespace and with CAP_AUDIT_CONTROL, and lists rules only in
//! the first PID namespace; numbers of system calls are those of the rule's `arch`.

use std::io;
use std::os::fd::AsFd as _;

use bundle::item::{Kind, Status, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::audit::{self, AUDIT_LIST_RULES};
use crate::host::netlink::{Dump, messages, u32_at};
use crate::host::{Host, proc};
use crate::run::session::{Session, Stopped};

/// Bytes of the list of AppArmor's profiles.
const PROFILES_BYTES_MAX: u64 = 8 << 20;
/// Switches of SELinux's policy that are read.
const BOOLEANS_MAX: usize = 5000;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditState {}

/// `struct audit_status` and `struct audit_features`.
#[derive(Debug, Serialize, JsonSchema)]
struct StatusRow {
    /// Records that wait for the daemon.
    backlog: u32,
    /// How many may wait.
    backlog_limit: u32,
    /// 0 off, 1 on, 2 on and locked until the next boot.
    enabled: u32,
    /// What happens when a record cannot be written: 0 nothing, 1 a line in the kernel's log, 2 panic.
    failure: u32,
    /// True when a login UID that was set cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_loginuid_immutable: Option<bool>,
    /// Records that were lost.
    lost: u32,
    /// The daemon that receives records; 0 for none.
    pid: u32,
    /// Records in a second, 0 for no limit.
    rate_limit: u32,
    /// `audit_status`.
    record: &'static str,
}

/// A rule, in the kernel's order.
#[derive(Debug, Serialize, JsonSchema)]
struct RuleRow {
    /// always writes a record, never keeps one from being written.
    action: String,
    /// Each condition: field, operator, value.
    conditions: Vec<String>,
    /// True when it looks at every system call.
    is_for_all_syscalls: bool,
    /// The words that its records are marked with.
    keys: Vec<String>,
    /// exit, task, user, exclude, filesystem, io_uring.
    list: String,
    /// Files and folders that it watches (path, dir) and programs that it is about (exe).
    paths: Vec<String>,
    /// What is watched: r reads, w writes, x runs, a changes attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<String>,
    /// `audit_rule`.
    record: &'static str,
    /// Numbers of the system calls.
    syscalls: Vec<u32>,
}

/// SELinux as selinuxfs shows it.
#[derive(Debug, Serialize, JsonSchema)]
struct SelinuxRow {
    /// True when it forbids, false when it only writes down.
    enforcing: Option<bool>,
    /// Version of the policy.
    policy_version: Option<String>,
    /// `selinux`.
    record: &'static str,
    /// What its other files say: mls, deny_unknown, reject_unknown, checkreqprot.
    settings: std::collections::BTreeMap<String, String>,
}

/// A switch of SELinux's policy.
#[derive(Debug, Serialize, JsonSchema)]
struct BooleanRow {
    /// True when it is on.
    enabled: bool,
    /// Its name.
    name: String,
    /// What it becomes when the policy is next committed.
    pending: bool,
    /// `selinux_boolean`.
    record: &'static str,
}

/// AppArmor's own settings.
#[derive(Debug, Serialize, JsonSchema)]
struct ApparmorRow {
    /// Parameters of its module: enabled, mode, audit …
    parameters: std::collections::BTreeMap<String, String>,
    /// How many profiles there are.
    profile_count: Option<usize>,
    /// `apparmor`.
    record: &'static str,
}

/// A profile that AppArmor has.
#[derive(Debug, Serialize, JsonSchema)]
struct ProfileRow {
    /// enforce, complain, kill, unconfined, prompt.
    mode: String,
    /// Its name.
    name: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    /// `apparmor_profile`.
    record: &'static str,
}

impl Collect for AuditState {
    const NAME: &'static str = "audit_state";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Audit status and rules, SELinux and AppArmor: modes, switches, profiles";
    const NEEDS: &'static [&'static str] = &["CAP_AUDIT_CONTROL", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        audit(session)?;
        selinux(session)?;
        apparmor(session)?;
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<StatusRow>("audit_status", "auditctl(8), /usr/include/linux/audit.h"),
            RowType::of::<RuleRow>("audit_rule", "auditctl(8), /usr/include/linux/audit.h"),
            RowType::of::<SelinuxRow>("selinux", "selinux(8), security/selinux/selinuxfs.c"),
            RowType::of::<BooleanRow>("selinux_boolean", "booleans(8), security/selinux/selinuxfs.c"),
            RowType::of::<ApparmorRow>("apparmor", "apparmor(7), /sys/module/apparmor/parameters"),
            RowType::of::<ProfileRow>("apparmor_profile", "apparmor(7), security/apparmor/apparmorfs.c"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads = ["NETLINK_AUDIT", "selinuxfs", "securityfs/apparmor/profiles", "/sys/module/apparmor/parameters"];
        Plan { reads: reads.iter().map(|path| (*path).to_owned()).collect(), ..Plan::default() }
    }
}

fn audit(session: &mut Session) -> Result<(), Stopped> {
    let host = session.host().clone();
    if !host.is_live() {
        let item = session.item(Kind::Record, *b"netlink/audit", "netlink", Status::Skipped);
        return session.note(item.because("only a live kernel has rules"));
    }
    let answers = match audit::ask(&host) {
        Ok(answers) => answers,
        Err(error) => return not_answered(session, "netlink/audit", &error),
    };
    match &answers.status {
        Ok(status) => {
            let features = answers.features.as_deref().unwrap_or_default();
            session.row(&status_row(status, features))?;
        }
        Err(error) => not_answered(session, "netlink/audit/status", error)?,
    }
    rules(session, answers.rules)
}

fn status_row(status: &[u8], features: &[u8]) -> StatusRow {
    let number = |index: usize| u32_at(status, 4 * index).unwrap_or(0);
    StatusRow {
        backlog: number(7),
        backlog_limit: number(5),
        enabled: number(1),
        failure: number(2),
        // struct audit_features: vers, mask, features, lock; bit 1 is AUDIT_FEATURE_LOGINUID_IMMUTABLE.
        is_loginuid_immutable: u32_at(features, 8).map(|features| features >> 1 & 1 == 1),
        lost: number(6),
        pid: number(3),
        rate_limit: number(4),
        record: "audit_status",
    }
}

fn rules(session: &mut Session, dump: Dump) -> Result<(), Stopped> {
    let path = "netlink/audit/rules";
    for message in messages(&dump.bytes).filter(|message| message.kind == AUDIT_LIST_RULES) {
        match audit::rule(message.payload) {
            Some(rule) => session.row(&rule_row(&rule))?,
            None => session.unreadable(path, &io::Error::other("a rule that does not parse; see the raw messages"))?,
        }
    }
    if let Some(error) = &dump.error {
        not_answered(session, path, error)?;
    }
    if dump.truncated {
        session.limited(format!("{path}: not all rules were taken"))?;
    }
    if dump.bytes.is_empty() { Ok(()) } else { session.raw(path, "netlink", "rules.bin", dump.bytes) }
}

fn rule_row(rule: &audit::Rule) -> RuleRow {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let of = |fields: &[&str]| {
        let found = rule.conditions.iter().filter(|condition| fields.contains(&condition.field.as_str()));
        found.map(|condition| text(&condition.value)).collect::<Vec<_>>()
    };
    let conditions = rule.conditions.iter();
    RuleRow {
        action: rule.action.clone(),
        conditions: conditions.map(|c| format!("{}{}{}", c.field, c.operator, text(&c.value))).collect(),
        is_for_all_syscalls: rule.is_for_all_syscalls,
        keys: rule.keys.iter().map(|key| text(key)).collect(),
        list: rule.list.clone(),
        paths: of(&["path", "dir", "exe"]),
        permissions: of(&["perm"]).into_iter().next(),
        record: "audit_rule",
        syscalls: rule.syscalls.clone(),
    }
}

/// ECONNREFUSED is the kernel's answer in a user namespace, EPERM the one without CAP_AUDIT_CONTROL or, for rules, in a
/// PID namespace.
fn not_answered(session: &mut Session, path: &str, error: &io::Error) -> Result<(), Stopped> {
    let mut item = session.item(Kind::Record, path, "netlink", Status::Error).failed(error);
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => {
            item.status = Status::Denied;
            item = item.because("the kernel answers in the first user namespace only");
        }
        Some(libc::EPERM) => {
            item = item.because("it takes CAP_AUDIT_CONTROL and, for rules, the first PID namespace");
        }
        _ if error.kind() == io::ErrorKind::NotFound => item.status = Status::Skipped,
        _ => {}
    }
    session.note(item)
}

fn selinux(session: &mut Session) -> Result<(), Stopped> {
    let host = session.host().clone();
    let root = match host.kernel_fs("selinuxfs", "/sys/fs/selinux") {
        Ok(root) => root,
        Err(error) => return session.unreadable("selinuxfs", &error),
    };
    let mut pages = proc::Pages::default();
    let mut read = |dir: &std::os::fd::OwnedFd, name: &std::ffi::CStr| {
        pages.clear();
        let piece = pages.read(dir.as_fd(), name, proc::Hands::AtOnce, 4096).ok()?;
        Some(String::from_utf8_lossy(pages.get(piece)).trim().to_owned())
    };
    let settings = [c"mls", c"deny_unknown", c"reject_unknown", c"checkreqprot"];
    let row = SelinuxRow {
        enforcing: read(&root, c"enforce").map(|value| value == "1"),
        policy_version: read(&root, c"policyvers"),
        record: "selinux",
        settings: settings
            .iter()
            .filter_map(|name| Some((name.to_string_lossy().into_owned(), read(&root, name)?)))
            .collect(),
    };
    session.row(&row)?;
    let Ok(booleans) = proc::open_dir(root.as_fd(), c"booleans") else { return Ok(()) };
    for name in proc::names(booleans.as_fd()).unwrap_or_default().iter().take(BOOLEANS_MAX) {
        session.go_on()?;
        let Some(value) = read(&booleans, name) else { continue };
        let mut words = value.split_whitespace().map(|word| word == "1");
        session.row(&BooleanRow {
            enabled: words.next().unwrap_or(false),
            name: name.to_string_lossy().into_owned(),
            pending: words.next().unwrap_or(false),
            record: "selinux_boolean",
        })?;
    }
    Ok(())
}

fn apparmor(session: &mut Session) -> Result<(), Stopped> {
    let host = session.host().clone();
    let parameters = match host.dir("/sys/module/apparmor/parameters") {
        Ok(parameters) => parameters,
        Err(error) => return session.unreadable("/sys/module/apparmor/parameters", &error),
    };
    let names = proc::names(parameters.as_fd()).unwrap_or_default();
    let read = |name: &std::ffi::CString| {
        let name = name.to_string_lossy().into_owned();
        let value = host.read_text(format!("/sys/module/apparmor/parameters/{name}"), 4096).ok()?;
        Some((name, value))
    };
    let parameters = names.iter().filter_map(read).collect();
    let text = apparmor_profiles(&host);
    let profiles: Vec<ProfileRow> =
        text.iter().flat_map(|text| text.split(|byte| *byte == b'\n')).filter_map(profile).collect();
    let profile_count = text.is_ok().then_some(profiles.len());
    session.row(&ApparmorRow { parameters, profile_count, record: "apparmor" })?;
    for row in &profiles {
        session.row(row)?;
    }
    match text {
        Ok(text) if text.is_empty() => Ok(()),
        Ok(text) => session.raw("securityfs/apparmor/profiles", "securityfs", "apparmor-profiles.txt", text),
        Err(error) => session.unreadable("securityfs/apparmor/profiles", &error),
    }
}

fn apparmor_profiles(host: &Host) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let root = host.kernel_fs("securityfs", "/sys/kernel/security")?;
    let folder = proc::open_dir(root.as_fd(), c"apparmor")?;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let file = rustix::fs::openat(&folder, c"profiles", flags, rustix::fs::Mode::empty())?;
    let mut text = Vec::new();
    std::fs::File::from(file).take(PROFILES_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// `NAME (MODE)`, where the name may hold blanks and brackets.
fn profile(line: &[u8]) -> Option<ProfileRow> {
    let line = line.strip_suffix(b")")?;
    let open = line.windows(2).rposition(|pair| pair == b" (")?;
    let (name, name_b64) = shown(line.get(..open)?);
    let mode = String::from_utf8_lossy(line.get(open + 2..)?).into_owned();
    Some(ProfileRow { mode, name, name_b64, record: "apparmor_profile" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::host::audit::testing::rule_bytes;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    #[test]
    fn security_modules_of_a_tree() {
        let tree = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("sys/fs/selinux/enforce", "0"),
            ("sys/fs/selinux/policyvers", "33"),
            ("sys/fs/selinux/booleans/httpd_can_network_connect", "1 0"),
            ("sys/module/apparmor/parameters/mode", "enforce\n"),
            ("sys/kernel/security/apparmor/profiles", "/usr/bin/man (enforce)\nodd (x) y (complain)\nnone\n"),
        ] {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let messages = collect(&AuditState {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        assert_eq!((&rows[0]["enforcing"], &rows[0]["policy_version"]), (&false.into(), &"33".into()));
        assert_eq!((&rows[1]["enabled"], &rows[1]["pending"]), (&true.into(), &false.into()));
        assert_eq!((&rows[2]["parameters"]["mode"], &rows[2]["profile_count"]), (&"enforce".into(), &2.into()));
        assert_eq!((&rows[4]["name"], &rows[4]["mode"]), (&"odd (x) y".into(), &"complain".into()));
        assert_eq!(items(&messages)[0].status, Status::Skipped);
    }

    #[test]
    fn a_rule_names_what_it_watches() {
        let bytes = rule_bytes(
            4,
            &[],
            &[(107, 0x4000_0000, b"/etc", 0), (106, 0x4000_0000, b"", 2), (210, 0x4000_0000, b"k", 0)],
        );
        let row = rule_row(&audit::rule(&bytes).unwrap());
        assert_eq!((row.paths, row.permissions, row.keys), (vec!["/etc".into()], Some("w".into()), vec!["k".into()]));
        assert_eq!(row.conditions, ["dir=/etc", "perm=w"]);
    }

    #[test]
    fn the_live_kernel_answers_or_says_why_not() {
        let messages = collect(&AuditState {}, Arc::new(Host::live()));
        assert_keys_sorted(&messages);
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
        let answered = rows(&messages).iter().any(|row| row["record"] == "audit_status");
        let refused = items(&messages).iter().any(|item| item.path.starts_with(b"netlink/audit"));
        assert!(answered || refused);
    }
}
