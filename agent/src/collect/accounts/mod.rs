//! Accounts and what lets somebody in: passwd, group, shadow (never a hash), sudo and doas rules, SSH keys of every home,
//! known hosts, files of trust, and the settings that belong to them.
//!
//! Rows:
//! - `account`, `account_group`: one per line of passwd(5) and group(5), with what shadow(5) and gshadow(5) say of the
//!   password as a kind and an age;
//! - `account_problem`: what does not fit together, as pwck(8) would find it;
//! - `sudo_rule`, `doas_rule`: who may do what as whom;
//! - `authorized_key`, `ssh_key`, `known_host`: keys by type and fingerprint, private ones never by content;
//! - `trust_line`: a line of `.rhosts`, `hosts.equiv`, `.k5login` and the like;
//! - `account_setting`: login.defs, nsswitch.conf, subuid, subgid, shells and their kin, line by line.
//!
//! Known limits: what a directory service adds (SSSD, LDAP, systemd-userdb by Varlink) is not there; records of
//! `/etc/userdb` are handed over as files only.

pub(crate) mod keys;
mod passwd;
mod settings;
mod sudoers;

use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::inspect::{Found, Keep, inspect};
use crate::host::Host;
use crate::host::glob::Glob;
use crate::run::session::{Session, Stopped};

/// How often a file of sudo rules may include another one.
const INCLUDES_MAX: usize = 8;

/// Arguments of `collect: accounts`: none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accounts {}

/// Reads one file.
type Read = fn(&mut Session, &Found) -> Result<(), Stopped>;

/// Files that are handed over and read one by one.
const FILES: &[(&str, Read)] = &[
    ("{~,/etc/dropbear}/{.ssh/,}authorized_keys*", keys::authorized),
    ("/etc/ssh/{authorized_keys,authorized_keys.d,keys}/**", keys::authorized),
    ("~/.ssh/*", keys::of_folder),
    ("/etc/ssh/*", keys::of_folder),
    ("~/.config/{ssh,dropbear}/*", keys::of_folder),
    ("/etc/dropbear/*", keys::of_folder),
    ("/var/lib/{jenkins,gitlab,git,gitea}/.ssh/*", keys::of_folder),
    ("/etc/doas.conf", sudoers::doas),
    ("/etc/doas.d/*", sudoers::doas),
    ("~/.{rhosts,shosts,k5login,k5users}", settings::trust),
    ("/etc/{hosts.equiv,shosts.equiv,ssh/shosts.equiv,hosts.allow,hosts.deny,netgroup}", settings::trust),
    (
        "/etc/{login.defs,nsswitch.conf,subuid,subgid,shells,adduser.conf,deluser.conf,default/useradd,securetty}",
        settings::setting,
    ),
    ("/etc/{sssd/sssd.conf,sssd/conf.d/*,krb5.conf,krb5.conf.d/*,nslcd.conf,ldap.conf}", settings::none),
    ("/etc/{krb5.keytab,*.keytab}", settings::none),
    ("/etc/{passwd,group,shadow,gshadow,subuid,subgid}-", settings::none),
    ("{/etc,/run,/usr/lib}/userdb/*", settings::none),
    ("/etc/security/{access.conf,group.conf,limits.conf,limits.d/*,faillock.conf,pwquality.conf}", settings::none),
    ("/var/lib/AccountsService/users/*", settings::none),
];

impl Collect for Accounts {
    const NAME: &'static str = "accounts";
    const TIER: Tier = Tier::System;
    const SUMMARY: &'static str =
        "Accounts, groups, kinds and ages of passwords, sudo rules, SSH keys, known hosts: parsed, secrets never.";
    const NEEDS: &'static [&'static str] = &["root"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = std::sync::Arc::clone(session.host());
        let (homes, error) = host.homes();
        if let Some(error) = error {
            let item = session.item(Kind::File, "/etc/passwd", "read", Status::Error);
            session.note(item.failed(&error).because("homes other than /root are not known"))?;
        }
        passwd::collect(session)?;
        sudo(session, &homes)?;
        let mut globs: Vec<Glob> = Vec::new();
        let mut readers: Vec<Read> = Vec::new();
        for (glob, read) in FILES {
            globs.extend(Glob::parse(glob).ok());
            readers.push(*read);
        }
        for glob in keys::places_of_sshd(session)? {
            globs.push(glob);
            readers.push(keys::authorized);
        }
        let mut found = inspect(session, &globs, &homes, Keep::FilesAndParseSecrets)?;
        // What two globs name is read by the first.
        found.sort_by(|a, b| (&a.path, a.asked).cmp(&(&b.path, b.asked)));
        found.dedup_by(|b, a| a.path == b.path);
        for file in &found {
            session.go_on()?;
            if let Some(read) = readers.get(file.asked) {
                read(session, file)?;
            }
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<passwd::AccountRow>("account", "passwd(5), shadow(5)"),
            RowType::of::<passwd::GroupRow>("account_group", "group(5), gshadow(5)"),
            RowType::of::<passwd::ProblemRow>("account_problem", "pwck(8), grpck(8)"),
            RowType::of::<sudoers::SudoRow>("sudo_rule", "sudoers(5)"),
            RowType::of::<sudoers::DoasRow>("doas_rule", "doas.conf(5)"),
            RowType::of::<keys::AuthorizedRow>("authorized_key", "sshd(8), AUTHORIZED_KEYS FILE FORMAT"),
            RowType::of::<keys::KeyRow>("ssh_key", "ssh-keygen(1); PROTOCOL.key of OpenSSH"),
            RowType::of::<keys::KnownHostRow>("known_host", "sshd(8), SSH_KNOWN_HOSTS FILE FORMAT"),
            RowType::of::<settings::TrustRow>("trust_line", "hosts.equiv(5), .k5login(5), hosts_access(5)"),
            RowType::of::<settings::SettingRow>(
                "account_setting",
                "login.defs(5), nsswitch.conf(5), subuid(5), shells(5)",
            ),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads = FILES.iter().map(|(glob, _)| *glob).chain(passwd::PATHS).chain(SUDOERS);
        Plan { reads: reads.map(ToOwned::to_owned).collect(), ..Plan::default() }
    }
}

/// Where sudo rules lie.
const SUDOERS: [&str; 3] = ["/etc/sudoers", "/etc/sudoers.d/**", "/usr/local/etc/{sudoers,sudoers.d/*}"];

/// Reads the rules of sudo, and what they include.
fn sudo(session: &mut Session, homes: &[Vec<u8>]) -> Result<(), Stopped> {
    let mut globs: Vec<Glob> = SUDOERS.iter().filter_map(|glob| Glob::parse(glob).ok()).collect();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..INCLUDES_MAX {
        let mut included = Vec::new();
        for file in inspect(session, &globs, homes, Keep::Files)? {
            if seen.insert(file.path.clone()) {
                included.extend(sudoers::sudo(session, &file)?);
            }
        }
        globs = included.iter().filter_map(|path| Glob::parse(path).ok()).collect();
        if globs.is_empty() {
            return Ok(());
        }
    }
    session.limited(format!("sudoers include each other more than {INCLUDES_MAX} deep"))
}

#[cfg(test)]
mod tests;
