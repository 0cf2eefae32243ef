//! passwd(5), group(5), shadow(5), gshadow(5): rows of accounts and groups, and what does not fit together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bundle::item::{Kind, Nanos, Status};
use rustix::fs::StatxFlags;
use schemars::JsonSchema;
use serde::Serialize;

use crate::files::targets::{At, Targets};
use crate::host::glob::Glob;
use crate::host::text::decimal;
use crate::run::session::{Session, Stopped};

/// The longest file that is read.
const BYTES_MAX: u64 = 64 << 20;
/// The most lines of one file.
const LINES_MAX: usize = 200_000;
/// The most problems that are told.
const PROBLEMS_MAX: usize = 10_000;
/// The files.
pub(super) const PATHS: [&str; 4] = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];
/// Groups whose members can do what root can, on one distribution or another.
const ADMIN_GROUPS: [&str; 12] =
    ["root", "sudo", "wheel", "admin", "adm", "disk", "shadow", "docker", "lxd", "libvirt", "kmem", "systemd-journal"];
/// Shells that let nobody in.
const NO_LOGIN: [&[u8]; 5] = [b"nologin", b"false", b"sync", b"halt", b"shutdown"];

/// An account: one line of `/etc/passwd`.
#[derive(Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one thing, not a state")]
pub struct AccountRow {
    /// Day on which the account expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_expires_days: Option<u64>,
    /// Those of its groups that give what root has, on one distribution or another: sudo, wheel, docker, disk …
    admin_groups: Vec<String>,
    /// The comment (GECOS).
    comment: String,
    /// Number of its group.
    gid: Option<u64>,
    /// Names of all its groups, the primary one first.
    groups: Vec<String>,
    /// True when its shell is one that lets somebody work: not nologin, false and the like.
    has_login_shell: bool,
    /// Home.
    home: String,
    /// True when the home is there; absent when it could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    home_exists: Option<bool>,
    /// True when others may write the home.
    #[serde(skip_serializing_if = "Option::is_none")]
    home_is_writable_by_others: Option<bool>,
    /// `st_mode` of the home as seven octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    home_mode: Option<String>,
    /// Last change of the home folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    home_mtime_ns: Option<Nanos>,
    /// Owner of the home.
    #[serde(skip_serializing_if = "Option::is_none")]
    home_owner_uid: Option<u32>,
    /// True when another line has the same name.
    is_duplicate_name: bool,
    /// True when another line has the same uid.
    is_duplicate_uid: bool,
    /// True when the uid is 0.
    is_uid_zero: bool,
    /// Number of the line.
    line: u64,
    /// True when the shell is listed in `/etc/shells` (shells(5)); absent when there is no such list.
    #[serde(skip_serializing_if = "Option::is_none")]
    login_shell_is_valid: Option<bool>,
    /// Name.
    name: String,
    /// Day of the last change of the password, since the epoch; 0 means that it must be changed at the next login.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_changed_days: Option<u64>,
    /// True when a password hash stands in `/etc/passwd`, where everybody can read it.
    password_is_in_passwd: bool,
    /// `empty` (none is asked for), `hashed`, `locked` (a `!` before it), `none` (none can match, as `*`), or `unknown`
    /// when shadow could not be read.
    password_state: &'static str,
    /// The file.
    path: &'static str,
    /// `account`.
    record: &'static str,
    /// How the password is hashed: yescrypt, sha512crypt, sha256crypt, bcrypt, md5crypt, descrypt … The hash itself is
    /// nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_hash_type: Option<&'static str>,
    /// The shell as written.
    shell: String,
    /// True when there is a file at the shell's path; absent when it could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    shell_exists: Option<bool>,
    /// User number.
    uid: Option<u64>,
}

/// A group: one line of `/etc/group`.
#[derive(Serialize, JsonSchema)]
pub struct GroupRow {
    /// Its administrators (gshadow).
    administrators: Vec<String>,
    /// Group number.
    gid: Option<u64>,
    /// True when it gives what root has, on one distribution or another.
    is_admin_group: bool,
    /// True when another line has the same gid.
    is_duplicate_gid: bool,
    /// Number of the line.
    line: u64,
    /// Its members, those whose primary group it is left out.
    members: Vec<String>,
    /// Name.
    name: String,
    /// As of an account.
    password_state: &'static str,
    /// The file.
    path: &'static str,
    /// `account_group`.
    record: &'static str,
}

/// Something in these files that does not fit together.
#[derive(Serialize, JsonSchema)]
pub struct ProblemRow {
    /// Number of the line, from 1.
    line: u64,
    /// The name that the line is of.
    name: String,
    /// The file.
    path: &'static str,
    /// `fields` (too few or too many), `number`, `duplicate_name`, `duplicate_id`, `not_in_shadow`, `not_in_passwd`,
    /// `no_such_group`, `member_without_account`, `odd_name`, `nis` (a line with `+` or `-`).
    problem: &'static str,
    /// `account_problem`.
    record: &'static str,
}

/// What a password field says: its state, and the kind of hash.
pub(super) fn password(field: &[u8]) -> (&'static str, Option<&'static str>) {
    if field.is_empty() {
        return ("empty", None);
    }
    if field.starts_with(b"!") {
        let start = field.iter().position(|byte| *byte != b'!').unwrap_or(field.len());
        return ("locked", hash_type(&field[start..]));
    }
    match hash_type(field) {
        Some(kind) => ("hashed", Some(kind)),
        None => ("none", None),
    }
}

/// crypt(5).
fn hash_type(field: &[u8]) -> Option<&'static str> {
    const PREFIXES: [(&[u8], &str); 14] = [
        (b"$y$", "yescrypt"),
        (b"$gy$", "gost_yescrypt"),
        (b"$7$", "scrypt"),
        (b"$6$", "sha512crypt"),
        (b"$5$", "sha256crypt"),
        (b"$2a$", "bcrypt"),
        (b"$2b$", "bcrypt"),
        (b"$2y$", "bcrypt"),
        (b"$2x$", "bcrypt"),
        (b"$sha1$", "sha1crypt"),
        (b"$md5", "sunmd5"),
        (b"$1$", "md5crypt"),
        (b"$3$", "nt"),
        (b"_", "bsdicrypt"),
    ];
    let by_prefix = PREFIXES.iter().find(|(prefix, _)| field.starts_with(prefix)).map(|(_, kind)| *kind);
    let is_des = field.len() == 13 && field.iter().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(byte));
    let unknown = if field.starts_with(b"$") { Some("unknown") } else { None };
    by_prefix.or(if is_des { Some("descrypt") } else { unknown })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..1024).unwrap_or(bytes)).into_owned()
}

/// Lines as their fields, numbered from 1.
type Lines = Vec<(u64, Vec<Vec<u8>>)>;

/// The lines of a file as fields, numbered; none when it could not be read, which is noted.
fn lines_of(session: &mut Session, path: &'static str) -> Result<Option<Lines>, Stopped> {
    let content = match session.host().read_file(path.as_bytes(), BYTES_MAX) {
        Ok(content) => content,
        Err(error) => {
            let item = session.item(Kind::File, path, "read", Status::Error).failed(&error);
            session.note(item)?;
            return Ok(None);
        }
    };
    let mut lines = Vec::new();
    for (n, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() || line.starts_with(b"#") {
            continue;
        }
        if lines.len() >= LINES_MAX {
            session.limited(format!("only the first {LINES_MAX} lines of {path}"))?;
            break;
        }
        lines.push((n, line.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect()));
    }
    Ok(Some(lines))
}

/// Hands over the files themselves: shadow by metadata and digest only.
fn hand_over(session: &mut Session) -> Result<(), Stopped> {
    let globs: Vec<Glob> = PATHS.iter().filter_map(|path| Glob::parse(path).ok()).collect();
    crate::files::inspect::inspect(session, &globs, &[], crate::files::inspect::Keep::Files)?;
    Ok(())
}

struct Problems<'a> {
    session: &'a mut Session,
    told: usize,
}

impl Problems<'_> {
    fn tell(&mut self, path: &'static str, line: u64, name: &[u8], problem: &'static str) -> Result<(), Stopped> {
        self.told += 1;
        match self.told {
            1..=PROBLEMS_MAX => {
                let name = text(name);
                self.session.row(&ProblemRow { line, name, path, problem, record: "account_problem" })
            }
            n if n == PROBLEMS_MAX + 1 => self.session.limited(format!("more than {PROBLEMS_MAX} problems")),
            _ => Ok(()),
        }
    }
}

fn field(fields: &[Vec<u8>], n: usize) -> &[u8] {
    fields.get(n).map(Vec::as_slice).unwrap_or_default()
}

/// How often each value of a field stands there.
fn counts(lines: &Lines, n: usize) -> HashMap<&[u8], usize> {
    let mut counts = HashMap::new();
    for (_, fields) in lines {
        *counts.entry(field(fields, n)).or_insert(0) += 1;
    }
    counts
}

/// All rows of these files.
pub(super) fn collect(session: &mut Session) -> Result<(), Stopped> {
    hand_over(session)?;
    let passwd = lines_of(session, "/etc/passwd")?.unwrap_or_default();
    let shadow = lines_of(session, "/etc/shadow")?;
    let groups = lines_of(session, "/etc/group")?.unwrap_or_default();
    let gshadow = lines_of(session, "/etc/gshadow")?;
    accounts(session, &passwd, shadow.as_ref(), &groups)?;
    let (names, gids) = (counts(&groups, 0), counts(&groups, 2));
    let of_gshadow: HashMap<&[u8], &Vec<Vec<u8>>> =
        gshadow.iter().flatten().map(|(_, fields)| (field(fields, 0), fields)).collect();
    for (line, fields) in &groups {
        session.go_on()?;
        let name = field(fields, 0);
        let hidden = of_gshadow.get(name);
        let own = password(field(fields, 1)).0;
        session.row(&GroupRow {
            administrators: hidden.map(|fields| list(field(fields, 2))).unwrap_or_default(),
            gid: decimal(field(fields, 2)),
            is_admin_group: ADMIN_GROUPS.iter().any(|admin| admin.as_bytes() == name),
            is_duplicate_gid: gids.get(field(fields, 2)).is_some_and(|count| *count > 1),
            line: *line,
            members: list(field(fields, 3)),
            name: text(name),
            password_state: match hidden {
                Some(fields) => password(field(fields, 1)).0,
                None if field(fields, 1) == b"x" => "unknown",
                None => own,
            },
            path: "/etc/group",
            record: "account_group",
        })?;
    }
    let mut problems = Problems { session, told: 0 };
    let is_account: BTreeSet<&[u8]> = passwd.iter().map(|(_, fields)| field(fields, 0)).collect();
    for (line, fields) in &groups {
        let name = field(fields, 0);
        if fields.len() != 4 {
            problems.tell("/etc/group", *line, name, "fields")?;
        } else if decimal(field(fields, 2)).is_none() {
            problems.tell("/etc/group", *line, name, "number")?;
        }
        if names.get(name).is_some_and(|count| *count > 1) {
            problems.tell("/etc/group", *line, name, "duplicate_name")?;
        }
        for member in field(fields, 3).split(|byte| *byte == b',').filter(|member| !member.is_empty()) {
            if !is_account.contains(member) {
                problems.tell("/etc/group", *line, member, "member_without_account")?;
            }
        }
    }
    inconsistencies(&mut problems, &passwd, shadow.as_ref(), &groups)
}

fn list(field: &[u8]) -> Vec<String> {
    field.split(|byte| *byte == b',').filter(|name| !name.is_empty()).take(10_000).map(text).collect()
}

fn inconsistencies(
    problems: &mut Problems<'_>,
    passwd: &Lines,
    shadow: Option<&Lines>,
    groups: &Lines,
) -> Result<(), Stopped> {
    let (names, uids) = (counts(passwd, 0), counts(passwd, 2));
    let in_shadow = shadow.map(|shadow| counts(shadow, 0));
    let gids: BTreeSet<&[u8]> = groups.iter().map(|(_, fields)| field(fields, 2)).collect();
    for (line, fields) in passwd {
        let name = field(fields, 0);
        let mut tell = |problem| problems.tell("/etc/passwd", *line, name, problem);
        if name.starts_with(b"+") || name.starts_with(b"-") {
            tell("nis")?;
            continue;
        }
        if fields.len() != 7 {
            tell("fields")?;
            continue;
        }
        if decimal(field(fields, 2)).is_none() || decimal(field(fields, 3)).is_none() {
            tell("number")?;
        }
        if names.get(name).is_some_and(|count| *count > 1) {
            tell("duplicate_name")?;
        }
        if uids.get(field(fields, 2)).is_some_and(|count| *count > 1) {
            tell("duplicate_id")?;
        }
        if in_shadow.as_ref().is_some_and(|shadow| !shadow.contains_key(name)) && field(fields, 1) == b"x" {
            tell("not_in_shadow")?;
        }
        if !gids.contains(field(fields, 3)) {
            tell("no_such_group")?;
        }
        let is_odd = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"_.$-".contains(byte);
        if name.is_empty() || name.iter().any(is_odd) || name.iter().all(u8::is_ascii_digit) {
            tell("odd_name")?;
        }
    }
    for (line, fields) in shadow.into_iter().flatten() {
        let name = field(fields, 0);
        if fields.len() != 9 {
            problems.tell("/etc/shadow", *line, name, "fields")?;
        }
        if !names.contains_key(name) {
            problems.tell("/etc/shadow", *line, name, "not_in_passwd")?;
        }
    }
    Ok(())
}

fn accounts(session: &mut Session, passwd: &Lines, shadow: Option<&Lines>, groups: &Lines) -> Result<(), Stopped> {
    let shells = session.host().read_file(b"/etc/shells", 1 << 20).ok();
    let is_valid =
        |shell: &[u8]| shells.as_deref().map(|list| list.split(|byte| *byte == b'\n').any(|line| line == shell));
    let mut targets = Targets::new(0);
    let paths = passwd.iter().flat_map(|(_, fields)| [field(fields, 5), field(fields, 6)]);
    targets.look(session, paths)?;
    let of_shadow: HashMap<&[u8], &Vec<Vec<u8>>> =
        shadow.into_iter().flatten().map(|(_, fields)| (field(fields, 0), fields)).collect();
    let mut groups_of: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    let mut names_of_gid: HashMap<&[u8], &[u8]> = HashMap::new();
    for (_, fields) in groups {
        names_of_gid.entry(field(fields, 2)).or_insert(field(fields, 0));
        for member in field(fields, 3).split(|byte| *byte == b',').filter(|member| !member.is_empty()) {
            groups_of.entry(member).or_default().push(field(fields, 0));
        }
    }
    let (names, uids) = (counts(passwd, 0), counts(passwd, 2));
    for (line, fields) in passwd {
        session.go_on()?;
        let name = field(fields, 0);
        let hidden = of_shadow.get(name);
        let own = field(fields, 1);
        let (own_state, own_hash) = password(own);
        let (password_state, shadow_hash_type) = match hidden {
            Some(fields) if own == b"x" => password(field(fields, 1)),
            None if own == b"x" => ("unknown", None),
            _ => (own_state, own_hash),
        };
        let mut groups: Vec<&[u8]> = names_of_gid.get(field(fields, 3)).copied().into_iter().collect();
        groups.extend(groups_of.get(name).into_iter().flatten().take(10_000));
        let shell = field(fields, 6);
        let shell_name = crate::files::inspect::last_name(shell);
        let exists = |path: &[u8]| match targets.at(path) {
            At::Found(_) => Some(true),
            At::Nothing => Some(false),
            At::Unknown => None,
        };
        let home = match targets.at(field(fields, 5)) {
            At::Found(object) => Some(object),
            _ => None,
        };
        let of_shadow = |n: usize| hidden.and_then(|fields| decimal(field(fields, n)));
        let is_admin = |group: &&[u8]| ADMIN_GROUPS.iter().any(|admin| admin.as_bytes() == *group);
        let row = AccountRow {
            account_expires_days: of_shadow(7),
            admin_groups: groups.iter().copied().filter(is_admin).map(text).collect(),
            comment: text(field(fields, 4)),
            gid: decimal(field(fields, 3)),
            groups: groups.iter().copied().map(text).collect(),
            // No shell at all means /bin/sh (passwd(5)).
            has_login_shell: !NO_LOGIN.contains(&shell_name),
            home: text(field(fields, 5)),
            home_exists: exists(field(fields, 5)),
            home_is_writable_by_others: home.as_ref().map(|home| home.stat.stx_mode & 0o002 != 0),
            home_mode: home.as_ref().map(|home| format!("{:07o}", home.stat.stx_mode)),
            home_mtime_ns: home
                .as_ref()
                .filter(|home| home.stat.stx_mask & StatxFlags::MTIME.bits() != 0)
                .map(|home| Nanos(crate::host::meta::nanoseconds(home.stat.stx_mtime))),
            home_owner_uid: home.as_ref().map(|home| home.stat.stx_uid),
            is_duplicate_name: names.get(name).is_some_and(|count| *count > 1),
            is_duplicate_uid: uids.get(field(fields, 2)).is_some_and(|count| *count > 1),
            is_uid_zero: decimal(field(fields, 2)) == Some(0),
            line: *line,
            login_shell_is_valid: is_valid(if shell.is_empty() { b"/bin/sh" } else { shell }),
            name: text(name),
            password_changed_days: of_shadow(2),
            password_is_in_passwd: own_hash.is_some(),
            password_state,
            path: "/etc/passwd",
            record: "account",
            shadow_hash_type,
            shell: text(shell),
            shell_exists: exists(shell),
            uid: decimal(field(fields, 2)),
        };
        session.row(&row)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_password_field_says() {
        for (field, expected) in [
            ("", ("empty", None)),
            ("*", ("none", None)),
            ("!", ("locked", None)),
            ("!!", ("locked", None)),
            ("!$6$salt$hash", ("locked", Some("sha512crypt"))),
            ("$y$j9T$x", ("hashed", Some("yescrypt"))),
            ("$2b$10$x", ("hashed", Some("bcrypt"))),
            ("$new$x", ("hashed", Some("unknown"))),
            ("abJnggxhB/yWI", ("hashed", Some("descrypt"))),
            ("*LK*", ("none", None)),
        ] {
            assert_eq!(password(field.as_bytes()), expected, "{field}");
        }
    }
}
