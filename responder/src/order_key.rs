//! The key that signs orders: in a file, or in ssh-agent(1), where it may be one that lives in hardware.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bundle::sign::{SigningKey, fingerprint, verifies};
use ssh_key::{Algorithm, HashAlg, LineEnding, PublicKey, SshSig};
use wire::signed::{Signed, namespace};

use crate::commands::{Failure, INPUT, IO, REFUSED, UNAVAILABLE, USAGE};
use crate::config::{Config, KeyChoice};
use crate::ssh_agent::{Client, Error};

/// More than any private key's file.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// A key, ready to sign.
pub struct OrderKey {
    principal: String,
    holder: Holder,
}

enum Holder {
    File(Box<SigningKey>),
    Agent { socket: PathBuf, key: Box<PublicKey> },
}

impl OrderKey {
    /// The key that `holdfast keys use` chose.
    pub fn configured(config: &Config) -> Result<Self, Failure> {
        let choice = config.settings.key.as_ref().ok_or_else(|| {
            Failure::new(USAGE, anyhow!("no key is chosen that signs orders")).hint(config.key_hint())
        })?;
        Self::open(choice)
    }

    /// Opens a key.
    pub fn open(choice: &KeyChoice) -> Result<Self, Failure> {
        let holder = match (&choice.file, &choice.agent) {
            (Some(file), None) => Holder::File(Box::new(read(file)?)),
            (None, Some(fingerprint)) => find(fingerprint, ssh_auth_sock()?)?,
            _ => {
                return Err(Failure::new(INPUT, anyhow!("config.toml names no key, or two"))
                    .hint("holdfast keys use FILE --principal NAME"));
            }
        };
        Ok(Self { principal: choice.principal.clone(), holder })
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        match &self.holder {
            Holder::File(key) => key.public(),
            Holder::Agent { key, .. } => (**key).clone(),
        }
    }

    /// The line that agents must hold in their `allowed_signers` to take orders from this key.
    pub fn allowed_signers_line(&self) -> String {
        let mut public = self.public();
        public.set_comment("");
        let key = public.to_openssh().unwrap_or_default();
        let (collect, contain) = (namespace::COLLECT, namespace::CONTAIN);
        format!("{} namespaces=\"{collect},{contain}\" {}", self.principal, key.trim_end())
    }

    /// The name under which agents know the key.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// An envelope around an order; `namespace` says of which kind it is.
    pub fn sign_order(&self, namespace: &str, message: &[u8]) -> Result<Signed, Failure> {
        let armoured = match &self.holder {
            Holder::File(key) => key
                .sign(namespace, message)
                .map_err(|error| Failure::new(IO, anyhow::Error::new(error).context("the order cannot be signed")))?,
            Holder::Agent { socket, key } => sign_by_agent(socket, key, namespace, message)?,
        };
        // What leaves here is what agents will believe; a key in hardware or a strange agent may do otherwise.
        if !verifies(&self.public(), namespace, message, armoured.as_bytes()) {
            return Err(Failure::new(UNAVAILABLE, anyhow!("the signature that was made does not verify"))
                .hint("try again, or choose another key with holdfast keys use"));
        }
        Ok(Signed::new(self.principal.clone(), message, armoured))
    }
}

/// Reads a private key as ssh-keygen(1) writes it, without a passphrase.
fn read(path: &Path) -> Result<SigningKey, Failure> {
    let cannot = |error: io::Error| {
        let error = anyhow::Error::new(error).context(format!("{} cannot be read", path.display()));
        Failure::new(IO, error).hint("holdfast keys use FILE chooses another key")
    };
    let file = File::open(path).map_err(cannot)?;
    if file.metadata().map_err(cannot)?.mode() & 0o077 != 0 {
        return Err(Failure::new(REFUSED, anyhow!("{} can be read by others", path.display())).hint(format!(
            "who reads it gives orders in your name: make another key, or, if nobody did, chmod 600 {}",
            path.display()
        )));
    }
    let mut text = String::new();
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(cannot)?;
    SigningKey::from_openssh(&text).with_context(|| path.display().to_string()).map_err(|error| {
        let public = fs::read_to_string(path.with_extension("pub")).ok();
        let name = public.and_then(|line| PublicKey::from_openssh(&line).ok()).map(|key| fingerprint(&key));
        Failure::new(INPUT, error).hint(format!(
            "a key with a passphrase signs through ssh-agent: ssh-add {}, then holdfast keys use agent:{} --principal NAME",
            path.display(),
            name.as_deref().unwrap_or("FINGERPRINT")
        ))
    })
}

fn ssh_auth_sock() -> Result<PathBuf, Failure> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from).ok_or_else(|| {
        Failure::new(UNAVAILABLE, anyhow!("the key is in ssh-agent, and SSH_AUTH_SOCK is not set"))
            .hint("eval $(ssh-agent), then ssh-add FILE; over ssh, use agent forwarding (ssh -A)")
    })
}

fn find(wanted: &str, socket: PathBuf) -> Result<Holder, Failure> {
    let keys = Client::connect(&socket).and_then(|mut agent| agent.keys()).map_err(refused)?;
    let known: Vec<String> = keys.iter().map(fingerprint).collect();
    let Some(key) = keys.into_iter().find(|key| fingerprint(key) == wanted) else {
        let hint = if known.is_empty() {
            "it holds no key: ssh-add FILE".to_owned()
        } else {
            format!("it holds {}; ssh-add -l names them", known.join(", "))
        };
        return Err(Failure::new(UNAVAILABLE, anyhow!("ssh-agent does not hold the key {wanted}")).hint(hint));
    };
    if !matches!(key.algorithm(), Algorithm::Ed25519 | Algorithm::SkEd25519) {
        return Err(Failure::new(INPUT, anyhow!("the key {wanted} is {}", key.algorithm())).hint(
            "agents take orders from Ed25519 keys: ssh-keygen -t ed25519, or -t ed25519-sk for one in hardware",
        ));
    }
    Ok(Holder::Agent { socket, key: Box::new(key) })
}

fn sign_by_agent(socket: &Path, key: &PublicKey, namespace: &str, message: &[u8]) -> Result<String, Failure> {
    let not_made = |error: ssh_key::Error| {
        Failure::new(UNAVAILABLE, anyhow::Error::new(error).context("the signature cannot be made"))
    };
    let to_sign = SshSig::signed_data(namespace, HashAlg::Sha512, message).map_err(not_made)?;
    let signature =
        Client::connect(socket).and_then(|mut agent| agent.sign(key.key_data(), &to_sign)).map_err(refused)?;
    SshSig::new(key.key_data().clone(), namespace, HashAlg::Sha512, signature)
        .and_then(|signature| signature.to_pem(LineEnding::LF))
        .map_err(not_made)
}

fn refused(error: Error) -> Failure {
    let (code, hint) = match error {
        Error::Io(_) => (UNAVAILABLE, "is it running? ssh-add -l asks it; eval $(ssh-agent) starts one"),
        Error::Refused => (REFUSED, "it may be locked (ssh-add -X), or the request was not confirmed"),
        Error::Malformed => (UNAVAILABLE, "SSH_AUTH_SOCK must name the socket of an ssh-agent"),
    };
    Failure::new(code, error).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use bundle::sign::{AllowedSigners, NotSigned, open};

    use super::*;
    use crate::config::write_whole;

    const NOW: wire::Instant = wire::Instant(1_795_283_148_000_000_000);

    fn signers(key: &OrderKey) -> AllowedSigners {
        AllowedSigners::parse(&key.allowed_signers_line()).unwrap()
    }

    #[test]
    fn agents_open_what_a_key_in_a_file_signs() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k");
        write_whole(&file, SigningKey::from_seed(&[3; 32]).to_openssh().unwrap().as_bytes(), 0o600).unwrap();
        let key = OrderKey::open(&KeyChoice { agent: None, file: Some(file), principal: "ada".into() }).unwrap();
        for (mine, other) in [(namespace::COLLECT, namespace::CONTAIN), (namespace::CONTAIN, namespace::COLLECT)] {
            let signed = key.sign_order(mine, b"{}").unwrap();
            assert_eq!(open(&signed, &signers(&key), mine, NOW).unwrap(), b"{}");
            assert_eq!(open(&signed, &signers(&key), other, NOW), Err(NotSigned::Bad));
        }
        let line = "ada namespaces=\"holdfast-collect,holdfast-contain\" ssh-ed25519 AAAA";
        assert!(key.allowed_signers_line().starts_with(line));
    }

    #[test]
    fn what_is_no_key_leads_to_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k");
        write_whole(&file, b"-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o600).unwrap();
        let failure = read(&file).unwrap_err();
        assert_eq!(failure.code, INPUT);
        assert!(failure.hint.unwrap().contains("holdfast keys use agent:FINGERPRINT"));
        assert_eq!(read(&dir.path().join("none")).unwrap_err().code, IO);
        write_whole(&file, b"", 0o640).unwrap();
        assert_eq!(read(&file).unwrap_err().code, REFUSED);
    }

    /// A real ssh-agent, which ends with the test.
    struct Agent(Child, PathBuf);

    impl Drop for Agent {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn ssh_agent(dir: &Path) -> Option<Agent> {
        let socket = dir.join("agent.sock");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let agent = Agent(child, socket);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Client::connect(&agent.1).is_err() {
            assert!(Instant::now() < deadline, "ssh-agent did not come up");
            std::thread::yield_now();
        }
        Some(agent)
    }

    #[test]
    fn agents_open_what_ssh_agent_signs() {
        let dir = tempfile::tempdir().unwrap();
        let Some(agent) = ssh_agent(dir.path()) else {
            println!("skipped: there is no ssh-agent in PATH (openssh-client)");
            return;
        };
        let made = SigningKey::from_seed(&[9; 32]);
        let print = fingerprint(&made.public());
        let failure = find(&print, agent.1.clone()).err().unwrap();
        assert_eq!(failure.hint.as_deref(), Some("it holds no key: ssh-add FILE"));
        let file = dir.path().join("k");
        write_whole(&file, made.to_openssh().unwrap().as_bytes(), 0o600).unwrap();
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(&file)
            .env("SSH_AUTH_SOCK", &agent.1)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(added.success());
        let key = OrderKey { principal: "ada".into(), holder: find(&print, agent.1.clone()).unwrap() };
        let signed = key.sign_order(namespace::COLLECT, b"{\"v\":1}").unwrap();
        assert_eq!(open(&signed, &signers(&key), namespace::COLLECT, NOW).unwrap(), b"{\"v\":1}");
        let other = find("SHA256:other", agent.1.clone()).err().unwrap();
        assert_eq!(other.code, UNAVAILABLE);
        assert!(other.hint.unwrap().contains(&print));
    }
}
