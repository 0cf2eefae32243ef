//! `lock_account`: nobody logs in to the account: `!` before the hash in shadow(5), and an expiry that is over.
//!
//! The hash stays behind the `!` and is nowhere else: the journal holds its digest, by which undoing knows it again. The
//! expiry is what refuses keys and other ways in that ask no password (sshd asks shadow(5) for it, or PAM). It is written
//! under the lock that passwd(1), useradd(8) and PAM take (lckpwdf(3)), and as they do it: a new file takes the old
//! one's place.
//!
//! `root` is refused: whoever repairs this host at its console logs in as root. Another account with the number 0 is not.
//! Known limit: accounts of a directory service have no line here.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use wire::Sha256;
use wire::containment::Action;

use super::account::{account, units_of};
use super::replace::{self, Meta};
use super::{Contain, Effect, Failed, Keep, Look, Plan, Scene, Unplanned};
use crate::host::Host;

const SHADOW: &str = "shadow";
const SHADOW_BYTES_MAX: u64 = 16 << 20;
const PASSWORD: usize = 1;
const EXPIRY: usize = 7;
/// 2 January 1970, as usermod(8) writes it: 0 means different things to different programs.
const EXPIRED: &str = "1";
/// As long as lckpwdf(3) waits.
const LOCK_WAIT: Duration = Duration::from_secs(15);

/// See the module.
pub struct LockAccount;

/// A line of shadow(5) and what is changed in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Lock {
    account: String,
    /// What the expiry was; absent where it was over as ours is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry: Option<String>,
    /// Digest of the whole file before.
    file_sha256: Sha256,
    /// What the file was.
    meta: Meta,
    /// Digest of the password field; absent where it was locked before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_sha256: Option<Sha256>,
    /// Units that run as the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    units: Vec<String>,
}

impl Contain for LockAccount {
    const NAME: &'static str = "lock_account";
    const SUMMARY: &'static str = "Nobody logs in to the account any more; what runs as it goes on.";
    type Step = Lock;

    fn plan(action: &Action, scene: &Scene<'_>) -> Result<Plan<Lock>, Unplanned> {
        let Action::LockAccount { account: name } = action else {
            return Err(Unplanned(format!("`{}` is no {}", action.name(), Self::NAME)));
        };
        if name == "root" {
            return Err(Unplanned(
                "`root` is not locked: whoever repairs this host logs in as root; its sessions and keys can be taken"
                    .to_owned(),
            ));
        }
        let account = account(scene.host, name)?;
        let folder = scene.host.dir("/etc").map_err(|error| Unplanned(format!("/etc: {error}")))?;
        let shadow = Shadow::read(&folder).map_err(|error| Unplanned(format!("/etc/shadow: {error}")))?;
        let fields = shadow.fields(name).ok_or_else(|| Unplanned(format!("`{name}` has no line in /etc/shadow")))?;
        let password = fields.get(PASSWORD).map(Vec::as_slice).unwrap_or_default();
        let expiry = fields.get(EXPIRY).map(|field| String::from_utf8_lossy(field).into_owned()).unwrap_or_default();
        Ok(Plan::of(vec![Lock {
            account: name.clone(),
            expiry: Some(expiry).filter(|expiry| expiry != EXPIRED),
            file_sha256: Sha256::of(&shadow.bytes()),
            meta: shadow.meta,
            password_sha256: (!password.starts_with(b"!")).then(|| Sha256::of(password)),
            units: units_of(scene.host, &account),
        }]))
    }
}

impl Effect for Lock {
    fn says(&self) -> String {
        let Self { account, units, .. } = self;
        let mut said = format!(
            "`{account}` is locked in /etc/shadow, password and expiry; what runs as it goes on (end_sessions), and keys are \
             refused only where sshd asks for the expiry (revoke_ssh_keys)"
        );
        if !units.is_empty() {
            said.push_str("; it is a service account: these may not start again: ");
            said.push_str(&units.join(", "));
        }
        said
    }

    fn apply(&mut self, scene: &Scene<'_>, _: &mut Keep<'_, Self>) -> Result<(), Failed> {
        let Self { account, expiry, password_sha256, .. } = self;
        change(scene, account, None, |fields| {
            let password = fields.get_mut(PASSWORD).ok_or_else(short)?;
            if let Some(sha256) = password_sha256
                && !is_locked_of(password, *sha256)
            {
                if Sha256::of(password) != *sha256 {
                    return Err(Failed::because(format!(
                        "the password of `{account}` was changed since this was planned"
                    )));
                }
                password.insert(0, b'!');
            }
            if expiry.is_some() {
                *fields.get_mut(EXPIRY).ok_or_else(short)? = EXPIRED.into();
            }
            Ok(Vec::new())
        })
        .map(|_| ())
    }

    fn undo(&mut self, scene: &Scene<'_>, _: &mut Keep<'_, Self>) -> Result<Vec<String>, Failed> {
        let Self { account, expiry, password_sha256, .. } = &*self;
        let folder = etc(scene.host)?;
        let is_there = Shadow::read(&folder).map_err(Failed::at("/etc/shadow"))?.fields(account).is_some();
        if !is_there {
            return Ok(vec![format!("`{account}` has no line in /etc/shadow any more")]);
        }
        change(scene, account, Some((&self.meta, self.file_sha256)), |fields| {
            let mut left = Vec::new();
            let password = fields.get_mut(PASSWORD).ok_or_else(short)?;
            match password_sha256 {
                Some(sha256) if is_locked_of(password, *sha256) => {
                    password.remove(0);
                }
                Some(sha256) if Sha256::of(password) != *sha256 => {
                    left.push(format!("the password of `{account}` was changed meanwhile"));
                }
                _ => {}
            }
            if let Some(before) = expiry {
                let field = fields.get_mut(EXPIRY).ok_or_else(short)?;
                if field == EXPIRED.as_bytes() {
                    *field = before.clone().into();
                } else if field != before.as_bytes() {
                    left.push(format!("the expiry of `{account}` was changed meanwhile"));
                }
            }
            Ok(left)
        })
    }

    fn looks(&self, scene: &Scene<'_>) -> Vec<Look> {
        let fields = etc(scene.host).ok().and_then(|folder| Shadow::read(&folder).ok()?.fields(&self.account));
        let holds = fields.is_some_and(|fields| {
            fields.get(PASSWORD).is_some_and(|password| password.starts_with(b"!"))
                && fields.get(EXPIRY).is_some_and(|expiry| expiry == EXPIRED.as_bytes())
        });
        let what = format!("`{}` is {}locked in /etc/shadow", self.account, if holds { "" } else { "not " });
        vec![Look { can_wait: true, ..Look::at(holds, what) }]
    }
}

/// True for the field with `!` before what has this digest.
fn is_locked_of(password: &[u8], sha256: Sha256) -> bool {
    password.strip_prefix(b"!").is_some_and(|rest| Sha256::of(rest) == sha256)
}

fn short() -> Failed {
    Failed::because("its line in /etc/shadow has too few fields")
}

fn etc(host: &Host) -> Result<OwnedFd, Failed> {
    host.dir("/etc").map_err(Failed::at("/etc"))
}

/// Changes the fields of one account under the lock; nothing is written where nothing changes. Where all of it is again
/// what it was, so are its times.
fn change(
    scene: &Scene<'_>,
    account: &str,
    before: Option<(&Meta, Sha256)>,
    change: impl FnOnce(&mut Vec<Vec<u8>>) -> Result<Vec<String>, Failed>,
) -> Result<Vec<String>, Failed> {
    let folder = etc(scene.host)?;
    let _lock = lock(&folder)?;
    let mut shadow = Shadow::read(&folder).map_err(Failed::at("/etc/shadow"))?;
    let there =
        shadow.fields(account).ok_or_else(|| Failed::because(format!("`{account}` has no line in /etc/shadow")))?;
    let mut fields = there.clone();
    let left = change(&mut fields)?;
    if fields != there {
        shadow.set(account, &fields);
        let draft = format!(".shadow.holdfast-{}", scene.id);
        let bytes = shadow.bytes();
        let is_as_before = before.filter(|(_, sha256)| *sha256 == Sha256::of(&bytes));
        let meta = is_as_before.map_or_else(|| shadow.meta.changed(), |(meta, _)| meta.clone());
        replace::put(folder.as_fd(), OsStr::new(SHADOW), &draft, &bytes, &meta).map_err(Failed::at("/etc/shadow"))?;
    }
    Ok(left)
}

/// lckpwdf(3): gone when it is dropped, or with this process.
fn lock(etc: &OwnedFd) -> Result<File, Failed> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(etc, ".pwd.lock", flags, Mode::RUSR | Mode::WUSR);
    let lock = File::from(lock.map_err(Failed::at("/etc/.pwd.lock"))?);
    let since = Instant::now();
    loop {
        match rustix::fs::fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::ACCESS | Errno::AGAIN) if since.elapsed() < LOCK_WAIT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(Failed::at("/etc/.pwd.lock is held by another program")(error)),
        }
    }
}

/// shadow(5), with every byte that is not changed.
struct Shadow {
    lines: Vec<Vec<u8>>,
    meta: Meta,
}

impl Shadow {
    fn read(etc: &OwnedFd) -> io::Result<Self> {
        let file = replace::open_regular(etc.as_fd(), OsStr::new(SHADOW))?;
        let meta = Meta::of(&file)?;
        let bytes = replace::content(&file, SHADOW_BYTES_MAX)?;
        Ok(Self { lines: bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect(), meta })
    }

    fn at(&self, account: &str) -> Option<usize> {
        self.lines.iter().position(|line| line.split(|byte| *byte == b':').next() == Some(account.as_bytes()))
    }

    fn fields(&self, account: &str) -> Option<Vec<Vec<u8>>> {
        let line = self.lines.get(self.at(account)?)?;
        Some(line.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect())
    }

    fn set(&mut self, account: &str, fields: &[Vec<u8>]) {
        if let Some(line) = self.at(account).and_then(|at| self.lines.get_mut(at)) {
            *line = fields.join(&b':');
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.lines.join(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::contain::testing::Stage;
    use crate::host::SystemClock;

    const SHADOW_TEXT: &str = "root:$6$r$x:19000:0:99999:7:::\nada:$y$j9T$abc$def:19700:0:99999:7::20000:\nsvc:!*:19700::::::\nopen::19700:0:99999:7:::\n# odd\n";

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        std::fs::create_dir_all(etc.join("systemd/system")).unwrap();
        let passwd = "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nsvc:x:998:998::/:/bin/false\nopen:x:1001:1::/:/bin/sh\nnis:x:5:5::/:/x\n";
        std::fs::write(etc.join("passwd"), passwd).unwrap();
        std::fs::write(etc.join("shadow"), SHADOW_TEXT).unwrap();
        std::fs::set_permissions(etc.join("shadow"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        std::fs::write(etc.join("systemd/system/web.service"), "[Service]\nUser=svc\n").unwrap();
        root
    }

    fn host(root: &Path) -> Host {
        Host::at(root, SystemClock)
    }

    fn action(account: &str) -> Action {
        Action::LockAccount { account: account.to_owned() }
    }

    fn shadow(root: &Path) -> String {
        std::fs::read_to_string(root.join("etc/shadow")).unwrap()
    }

    #[test]
    fn undo_after_apply_is_the_identity() {
        for account in ["ada", "svc", "open"] {
            let root = root();
            let mut stage = Stage::of::<LockAccount>(host(root.path()), action(account));
            let before = Stage::tree(root.path());
            stage.apply().unwrap();
            let locked = shadow(root.path());
            stage.apply().unwrap();
            assert_eq!(shadow(root.path()), locked);
            assert_ne!(locked, SHADOW_TEXT);
            assert!(stage.holds());
            assert!(!stage.journal().contains("abc"), "no hash in the journal: {}", stage.journal());
            assert_eq!(stage.undo().unwrap(), Vec::<String>::new());
            assert_eq!(stage.undo().unwrap(), Vec::<String>::new());
            std::fs::remove_file(root.path().join("etc/.pwd.lock")).unwrap();
            assert_eq!(Stage::tree(root.path()), before);
        }
    }

    #[test]
    fn what_was_changed_meanwhile_is_left_and_said() {
        let root = root();
        let mut stage = Stage::of::<LockAccount>(host(root.path()), action("ada"));
        stage.apply().unwrap();
        assert!(shadow(root.path()).contains("\nada:!$y$j9T$abc$def:19700:0:99999:7::1:\n"));
        let changed = shadow(root.path()).replace("!$y$j9T$abc$def", "$y$new").replace("svc:!*", "svc:*");
        std::fs::write(root.path().join("etc/shadow"), &changed).unwrap();
        assert!(!stage.holds());
        let left = stage.undo().unwrap();
        assert!(left.len() == 1 && left[0].contains("the password of `ada` was changed"), "{left:?}");
        assert_eq!(shadow(root.path()), changed.replace("7::1:", "7::20000:"));
    }

    #[test]
    fn a_service_account_is_named_as_one() {
        let root = root();
        assert!(Stage::of::<LockAccount>(host(root.path()), action("svc")).says().contains("web.service"));
        assert!(!Stage::of::<LockAccount>(host(root.path()), action("ada")).says().contains("service account"));
    }

    #[test]
    fn wrong_input_is_refused_by_name() {
        let root = root();
        for (account, wanted) in [
            ("root", "`root` is not locked"),
            ("bob", "no account `bob`"),
            ("nis", "`nis` has no line in /etc/shadow"),
            ("", "no name of an account"),
            ("ada:x", "no name of an account"),
            ("../ada", "no name of an account"),
        ] {
            let refused = Stage::refused::<LockAccount>(host(root.path()), action(account));
            assert!(refused.contains(wanted), "{account:?}: {refused}");
        }
    }
}
