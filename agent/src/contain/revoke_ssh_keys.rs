//! `revoke_ssh_keys`: keys of the account open no door: their lines leave the files in which sshd looks for them.
//!
//! The files lie in a home that an intruder may own, so everything goes by descriptors from the home on, and no link is
//! followed. A file that is a link, or lies behind one, is refused by name: what it leads to may be anybody's. Undoing puts
//! the file back byte for byte where it is as we left it; where it is not, it is left and said.
//!
//! Where sshd looks is what its configuration names anywhere, and its two defaults: `Match` is not evaluated, so rather
//! too many files are looked at than too few. Known limits: keys that a program gives sshd (`AuthorizedKeysCommand`) and
//! certificates (`TrustedUserCAKeys`) are not in a file of the account; the plan says when there are such.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use wire::Sha256;
use wire::containment::Action;

use super::account::{Account, account};
use super::replace::{self, Meta};
use super::{Contain, Effect, Failed, Keep, Look, Plan, Scene, Unplanned};
use crate::collect::accounts::keys::{fingerprint_of_line, words_of_config};
use crate::host::Host;

const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// A longer file is refused: the whole of it goes into the journal.
const FILE_BYTES_MAX: u64 = 512 << 10;
const FILES_MAX: usize = 16;
const DEFAULTS: [&str; 2] = [".ssh/authorized_keys", ".ssh/authorized_keys2"];

/// See the module.
pub struct RevokeSshKeys;

/// A file and what it is before and after.
#[derive(Debug, Serialize, Deserialize)]
pub struct Revoke {
    after_sha256: Sha256,
    before_b64: String,
    before_sha256: Sha256,
    /// Fingerprints of what is taken out.
    keys: Vec<String>,
    meta: Meta,
    path: PathBuf,
    /// What of the path belongs to root: links in it are followed.
    trusted: PathBuf,
}

impl Contain for RevokeSshKeys {
    const NAME: &'static str = "revoke_ssh_keys";
    const SUMMARY: &'static str = "Keys of the account open no door any more; connections that are open stay so.";
    type Step = Revoke;

    fn plan(action: &Action, scene: &Scene<'_>) -> Result<Plan<Revoke>, Unplanned> {
        let Action::RevokeSshKeys { account: name, keys } = action else {
            return Err(Unplanned(format!("`{}` is no {}", action.name(), Self::NAME)));
        };
        if let Some(key) = keys.iter().find(|key| !is_fingerprint(key)) {
            return Err(Unplanned(format!("{key:?} is no fingerprint: SHA256: and 43 characters are wanted")));
        }
        let account = account(scene.host, name)?;
        let (places, fallbacks) = places(scene.host, &account);
        let mut steps = Vec::new();
        let mut found = Vec::new();
        for (trusted, path) in places {
            let Some(step) = Revoke::plan(scene.host, trusted, path, keys)? else { continue };
            found.extend(step.keys.iter().cloned());
            steps.push(step);
        }
        if let Some(key) = keys.iter().find(|key| !found.contains(key)) {
            return Err(Unplanned(format!("`{name}` has no key {key} in the files where sshd looks")));
        }
        if steps.is_empty() {
            return Err(Unplanned(format!("`{name}` has no keys in the files where sshd looks")));
        }
        Ok(Plan { fallbacks, steps })
    }
}

fn is_fingerprint(key: &str) -> bool {
    key.strip_prefix("SHA256:").is_some_and(|rest| {
        rest.len() == 43 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
    })
}

/// Where sshd looks for keys of the account: what of each path is root's, and the path; and what is not in files.
fn places(host: &Host, account: &Account) -> (Vec<(PathBuf, PathBuf)>, Vec<String>) {
    let mut words: Vec<String> = DEFAULTS.map(str::to_owned).to_vec();
    let mut fallbacks = Vec::new();
    let mut files = vec!["/etc/ssh/sshd_config".to_owned()];
    let folder = "/etc/ssh/sshd_config.d";
    let more = std::fs::read_dir(host.path(folder)).into_iter().flatten().flatten();
    files.extend(more.filter_map(|entry| Some(format!("{folder}/{}", entry.file_name().to_str()?))));
    for file in files {
        let config = host.read(&file, CONFIG_BYTES_MAX).unwrap_or_default();
        for (keyword, values) in words_of_config(&config) {
            match keyword.as_str() {
                "authorizedkeysfile" => words.extend(values.into_iter().filter(|word| word != "none")),
                "authorizedkeyscommand" | "trustedusercakeys" if values.first().is_some_and(|word| word != "none") => {
                    fallbacks.push(format!("sshd also lets in by {keyword} ({file}), which stays as it is"));
                }
                _ => {}
            }
        }
    }
    let mut places = Vec::new();
    for word in words {
        let below =
            word.strip_prefix("%h/").map(str::to_owned).or_else(|| (!word.starts_with('/')).then(|| word.clone()));
        let expand =
            |text: &str| text.replace("%u", &account.name).replace("%U", &account.uid.to_string()).replace("%%", "%");
        let place = match below {
            Some(below) => (account.home.clone(), account.home.join(expand(&below))),
            // A place of the administrator's: its folder is root's.
            None => {
                let path = PathBuf::from(expand(&word));
                (path.parent().map(Path::to_owned).unwrap_or_default(), path)
            }
        };
        if !places.contains(&place) && places.len() < FILES_MAX {
            places.push(place);
        }
    }
    (places, fallbacks)
}

impl Revoke {
    /// The step for one file; `None` where there is no such file, or nothing to be taken out of it.
    fn plan(host: &Host, trusted: PathBuf, path: PathBuf, keys: &[String]) -> Result<Option<Self>, Unplanned> {
        let opened = open(host, &trusted, &path).and_then(|(folder, name)| replace::open_regular(folder.as_fd(), name));
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let why = match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                    Some(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                        "it is, or lies behind, a link".to_owned()
                    }
                    _ => error.to_string(),
                };
                return Err(Unplanned(format!("{}: {why}", path.display())));
            }
        };
        let refused = |error: io::Error| Unplanned(format!("{}: {error}", path.display()));
        if file.metadata().map_err(refused)?.nlink() > 1 {
            return Err(Unplanned(format!("{} has further names (hard links)", path.display())));
        }
        let meta = Meta::of(&file).map_err(refused)?;
        let before = replace::content(&file, FILE_BYTES_MAX).map_err(refused)?;
        let (after, taken) = without(&before, keys);
        if taken.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            after_sha256: Sha256::of(&after),
            before_b64: BASE64_STANDARD.encode(&before),
            before_sha256: Sha256::of(&before),
            keys: taken,
            meta,
            path,
            trusted,
        }))
    }

    fn before(&self) -> Result<Vec<u8>, Failed> {
        BASE64_STANDARD
            .decode(&self.before_b64)
            .map_err(|_| Failed::because("what the file held is damaged in the journal"))
    }

    /// The folder and what the file holds now; `None` where there is none.
    fn now(&self, host: &Host) -> Result<(OwnedFd, Option<Vec<u8>>), Failed> {
        let at = |error: io::Error| Failed::at(self.path.display().to_string())(error);
        let (folder, name) = open(host, &self.trusted, &self.path).map_err(at)?;
        let content = match replace::open_regular(folder.as_fd(), name) {
            Ok(file) => Some(replace::content(&file, FILE_BYTES_MAX).map_err(at)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(at(error)),
        };
        Ok((folder, content))
    }

    fn put(&self, scene: &Scene<'_>, folder: &OwnedFd, bytes: &[u8], meta: &Meta) -> Result<(), Failed> {
        let name = self.path.file_name().unwrap_or_default();
        let draft = format!(".holdfast-{}", scene.id);
        replace::put(folder.as_fd(), name, &draft, bytes, meta).map_err(Failed::at(self.path.display().to_string()))
    }
}

/// The folder of a file, links followed only in what is root's.
fn open<'a>(host: &Host, trusted: &Path, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
    let below = path.strip_prefix(trusted).map_err(io::Error::other)?;
    let (folder, _) = replace::folder_below(host.dir(trusted)?, below)?;
    Ok((folder, path.file_name().unwrap_or_default()))
}

/// The lines without those keys, or without any where none is named; and the fingerprints of what is gone.
fn without(content: &[u8], keys: &[String]) -> (Vec<u8>, Vec<String>) {
    let mut taken = Vec::new();
    let lines = content.split_inclusive(|byte| *byte == b'\n').filter(|line| {
        let Some(fingerprint) = fingerprint_of_line(line) else { return true };
        let stays = !keys.is_empty() && !keys.contains(&fingerprint);
        if !stays {
            taken.push(fingerprint);
        }
        stays
    });
    (lines.collect::<Vec<_>>().concat(), taken)
}

impl Effect for Revoke {
    fn says(&self) -> String {
        let (path, keys) = (self.path.display(), self.keys.join(", "));
        format!("{path} loses {} keys ({keys}); connections that are open stay open (end_sessions)", self.keys.len())
    }

    fn apply(&mut self, scene: &Scene<'_>, _: &mut Keep<'_, Self>) -> Result<(), Failed> {
        let (folder, now) = self.now(scene.host)?;
        let now = now.unwrap_or_default();
        if Sha256::of(&now) == self.after_sha256 {
            return Ok(());
        }
        if Sha256::of(&now) != self.before_sha256 {
            return Err(Failed::because(format!("{} was changed since this was planned", self.path.display())));
        }
        let (after, _) = without(&now, &self.keys);
        self.put(scene, &folder, &after, &self.meta.changed())
    }

    fn undo(&mut self, scene: &Scene<'_>, _: &mut Keep<'_, Self>) -> Result<Vec<String>, Failed> {
        let left = || Ok(vec![format!("{} was changed meanwhile", self.path.display())]);
        let Ok((folder, Some(now))) = self.now(scene.host) else { return left() };
        match Sha256::of(&now) {
            now if now == self.before_sha256 => Ok(Vec::new()),
            now if now == self.after_sha256 => {
                self.put(scene, &folder, &self.before()?, &self.meta)?;
                Ok(Vec::new())
            }
            _ => left(),
        }
    }

    fn looks(&self, scene: &Scene<'_>) -> Vec<Look> {
        let now = self.now(scene.host).ok().and_then(|(_, now)| now).unwrap_or_default();
        let (_, there) = without(&now, &self.keys);
        let what = if there.is_empty() {
            format!("none of {} keys is in {}", self.keys.len(), self.path.display())
        } else {
            format!("{} is in {} again", there.join(", "), self.path.display())
        };
        vec![Look { can_wait: true, ..Look::at(there.is_empty(), what) }]
    }
}

#[cfg(test)]
mod tests {
    use bundle::sign::SigningKey;

    use super::*;
    use crate::contain::testing::Stage;
    use crate::host::SystemClock;

    fn line(seed: u8) -> String {
        SigningKey::from_seed(&[seed; 32]).public_line()
    }

    fn print(seed: u8) -> String {
        bundle::sign::fingerprint(&SigningKey::from_seed(&[seed; 32]).public())
    }

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("etc/passwd", "ada:x:1000:1000::/home/ada:/bin/sh\nbob:x:1001:1::/home/bob:/bin/sh\n");
        put(
            "etc/ssh/sshd_config",
            "Port 22\nAuthorizedKeysFile .ssh/authorized_keys /etc/ssh/keys/%u\nAuthorizedKeysCommand /x\n",
        );
        put("etc/ssh/keys/ada", &format!("{}\n", line(3)));
        let text = format!("# mine\nfrom=\"10.0.0.1\" {} a b\n\n{} eve", line(1), line(2));
        put("home/ada/.ssh/authorized_keys", &text);
        std::fs::create_dir_all(root.path().join("home/bob")).unwrap();
        root
    }

    fn host(root: &Path) -> Host {
        Host::at(root, SystemClock)
    }

    fn action(account: &str, keys: &[String]) -> Action {
        Action::RevokeSshKeys { account: account.to_owned(), keys: keys.to_vec() }
    }

    fn keys_of(root: &Path) -> String {
        std::fs::read_to_string(root.join("home/ada/.ssh/authorized_keys")).unwrap()
    }

    #[test]
    fn undo_after_apply_is_the_identity() {
        for keys in [vec![], vec![print(2)], vec![print(1), print(3)]] {
            let root = root();
            let mut stage = Stage::of::<RevokeSshKeys>(host(root.path()), action("ada", &keys));
            let before = Stage::tree(root.path());
            stage.apply().unwrap();
            stage.apply().unwrap();
            assert!(stage.holds());
            assert_ne!(Stage::tree(root.path()), before);
            assert!(keys_of(root.path()).starts_with("# mine\n"));
            assert_eq!(keys_of(root.path()).contains(&line(1)), keys == [print(2)]);
            assert_eq!(stage.undo().unwrap(), Vec::<String>::new());
            assert_eq!(stage.undo().unwrap(), Vec::<String>::new());
            assert_eq!(Stage::tree(root.path()), before);
        }
    }

    #[test]
    fn what_was_changed_meanwhile_is_left_and_said() {
        let root = root();
        let mut stage = Stage::of::<RevokeSshKeys>(host(root.path()), action("ada", &[print(2)]));
        assert!(stage.planned_fallbacks().iter().any(|said| said.contains("authorizedkeyscommand")));
        stage.apply().unwrap();
        let path = root.path().join("home/ada/.ssh/authorized_keys");
        let changed = format!("{}{}\n", keys_of(root.path()), line(2));
        std::fs::write(&path, &changed).unwrap();
        assert!(!stage.holds(), "an intruder put it back");
        let left = stage.undo().unwrap();
        assert!(left.len() == 1 && left[0].contains("was changed meanwhile"), "{left:?}");
        assert_eq!(keys_of(root.path()), changed);
    }

    #[test]
    fn wrong_input_is_refused_by_name() {
        let root = root();
        let refused =
            |account: &str, keys: &[String]| Stage::refused::<RevokeSshKeys>(host(root.path()), action(account, keys));
        assert!(refused("eve", &[]).contains("no account `eve`"));
        assert!(refused("ada", &["SHA256:short".to_owned()]).contains("is no fingerprint"));
        assert!(refused("ada", &[print(9)]).contains(&print(9)));
        assert!(refused("bob", &[]).contains("`bob` has no keys"));
        let ssh = root.path().join("home/bob/.ssh");
        std::os::unix::fs::symlink(root.path().join("home/ada/.ssh"), &ssh).unwrap();
        assert!(refused("bob", &[]).contains("a link"), "{}", refused("bob", &[]));
        std::fs::remove_file(&ssh).unwrap();
        std::fs::create_dir(&ssh).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", ssh.join("authorized_keys")).unwrap();
        assert!(refused("bob", &[]).contains("a link"));
        std::fs::remove_file(ssh.join("authorized_keys")).unwrap();
        std::fs::hard_link(root.path().join("home/ada/.ssh/authorized_keys"), ssh.join("authorized_keys")).unwrap();
        assert!(refused("bob", &[]).contains("hard links"));
    }
}
