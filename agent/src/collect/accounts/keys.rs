//! Keys of SSH: who may log in with which key, which private keys lie around and whether a passphrase protects them,
//! which hosts are known (sshd(8), ssh-keygen(1), PROTOCOL.key of OpenSSH).
//!
//! A private key's content stays where it is: its header says whether it is encrypted, and OpenSSH's own format holds
//! the public half in the clear, from which the fingerprint is made.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use bundle::item::{Nanos, shown};
use rustix::fs::{Statx, StatxFlags};
use schemars::JsonSchema;
use serde::Serialize;

use crate::files::inspect::Found;
use crate::host::glob::Glob;
use crate::host::meta::nanoseconds;
use crate::run::session::{Session, Stopped};

/// The most rows of one file.
const ROWS_MAX: usize = 50_000;
/// The most bytes of a key in base64.
const KEY_BYTES_MAX: usize = 64 << 10;
/// The most places that sshd's configuration may name.
const PLACES_MAX: usize = 100;

/// A line of an `authorized_keys` file.
#[derive(Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one thing, not a state")]
pub struct AuthorizedRow {
    /// The command that is run whatever the client asks for (`command=`).
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// The comment.
    comment: String,
    /// The comment's exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    comment_b64: Option<String>,
    /// Variables that are set (`environment=`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    environment: Vec<String>,
    /// SHA-256 fingerprint as ssh-keygen(1) shows it: `SHA256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// The addresses that the key is limited to (`from=`).
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// True for the key of an authority: who holds a certificate of it gets in (`cert-authority`).
    is_cert_authority: bool,
    /// True when the file is one that sshd reads by its default or by its configuration, as far as the name tells.
    is_read_by_default: bool,
    /// True when the key is well-formed: base64 whose inner type is the one that stands before it.
    is_valid: bool,
    /// True when others than owner and group may write the file.
    is_writable_by_others: bool,
    /// Type of the key: ssh-ed25519, ssh-rsa …
    #[serde(skip_serializing_if = "Option::is_none")]
    key_type: Option<String>,
    /// Number of the line.
    line: u64,
    /// `st_mode` of the file as seven octal digits.
    mode: String,
    /// Last change of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// All options, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
    /// The file.
    path: String,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `authorized_key`.
    record: &'static str,
    /// Owner of the file.
    uid: u32,
}

/// A file that holds a key of SSH.
#[derive(Serialize, JsonSchema)]
pub struct KeyRow {
    /// The cipher that protects a private key; `none` when nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<String>,
    /// The comment of a public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    /// SHA-256 fingerprint as ssh-keygen(1) shows it, where the file tells it in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// What holds it: `openssh`, `pem`, `pkcs8`, `putty`, `dropbear`, `public`, `certificate`.
    format: &'static str,
    /// True when a passphrase protects a private key; absent for public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_encrypted: Option<bool>,
    /// True for a private key.
    is_private: bool,
    /// True when group or others may read it, which ssh(1) refuses for private keys.
    is_readable_by_others: bool,
    /// Type of the key, where the file tells it in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_type: Option<String>,
    /// `st_mode` of the file as seven octal digits.
    mode: String,
    /// Last change of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// The file.
    path: String,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `ssh_key`.
    record: &'static str,
    /// Digest of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<wire::Sha256>,
    /// Owner of the file.
    uid: u32,
}

/// A line of a `known_hosts` file: where this host, or a user of it, has been.
#[derive(Serialize, JsonSchema)]
pub struct KnownHostRow {
    /// SHA-256 fingerprint of the host's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// Names, addresses and ports, as written; a hashed one as its hash.
    hosts: Vec<String>,
    /// True when the names are hashed.
    is_hashed: bool,
    /// Type of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_type: Option<String>,
    /// Number of the line.
    line: u64,
    /// `@cert-authority` or `@revoked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
    /// Last change of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// The file.
    path: String,
    /// `known_host`.
    record: &'static str,
    /// Owner of the file.
    uid: u32,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..4096).unwrap_or(bytes)).into_owned()
}

fn mtime(stat: &Statx) -> Option<Nanos> {
    (stat.stx_mask & StatxFlags::MTIME.bits() != 0).then(|| Nanos(nanoseconds(stat.stx_mtime)))
}

/// The places of `AuthorizedKeysFile` in sshd's configuration, as globs (sshd_config(5), TOKENS).
pub(super) fn places_of_sshd(session: &mut Session) -> Result<Vec<Glob>, Stopped> {
    let globs: Vec<Glob> =
        ["/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*"].iter().filter_map(|glob| Glob::parse(glob).ok()).collect();
    let mut places = Vec::new();
    for file in crate::files::inspect::inspect(session, &globs, &[], crate::files::inspect::Keep::Files)? {
        for (keyword, words) in words_of_config(file.content.as_deref().unwrap_or_default()) {
            if keyword == "authorizedkeysfile" || keyword == "trustedusercakeys" {
                places.extend(words.iter().filter_map(|word| place(word)));
            }
            if places.len() >= PLACES_MAX {
                return Ok(places);
            }
        }
    }
    Ok(places)
}

/// The lines of sshd's configuration: the keyword in lower case, and its words without quotes (sshd_config(5)).
pub(crate) fn words_of_config(config: &[u8]) -> impl Iterator<Item = (String, Vec<String>)> {
    config.split(|byte| *byte == b'\n').map(|line| {
        let line = text(line.trim_ascii());
        let mut words = line.split(|c: char| c.is_ascii_whitespace() || c == '=').filter(|word| !word.is_empty());
        let keyword = words.next().unwrap_or_default().to_ascii_lowercase();
        (keyword, words.map(|word| word.trim_matches('"').to_owned()).collect())
    })
}

/// The fingerprint of the key in a line of an `authorized_keys` file; `None` for a comment and for what holds no key.
pub(crate) fn fingerprint_of_line(line: &[u8]) -> Option<String> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    let (key_type, rest) = word(options(line).1);
    blob(word(rest).0, key_type).0.as_deref().filter(|blob| !blob.is_empty()).map(fingerprint)
}

fn place(word: &str) -> Option<Glob> {
    if word == "none" {
        return None;
    }
    let path: String =
        word.chars().flat_map(|c| if "*?[]{}\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect();
    let path = path.replace("%%", "%").replace("%u", "*").replace("%U", "*");
    let path = match path.strip_prefix("%h/") {
        Some(below) => format!("~/{below}"),
        None if path.starts_with('/') => path,
        None => format!("~/{path}"),
    };
    Glob::parse(&path).ok()
}

/// Keys in the wild lack their padding, or end in the middle of a byte: they are decoded as far as they go.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The blob of a key in base64, and whether it is well-formed: strings only, the first of which is the type that was
/// said.
fn blob(base64: &[u8], key_type: &[u8]) -> (Option<Vec<u8>>, bool) {
    let Ok(blob) = LENIENT.decode(base64.get(..KEY_BYTES_MAX).unwrap_or(base64)) else { return (None, false) };
    let mut rest = blob.as_slice();
    let mut is_valid = string(rest).is_some_and(|(inner, _)| inner == key_type);
    while is_valid && !rest.is_empty() {
        match string(rest) {
            Some((_, after)) => rest = after,
            None => is_valid = false,
        }
    }
    (Some(blob), is_valid)
}

/// A string of the wire format (RFC 4251): its length in four bytes before it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    Some((rest.get(..length)?, rest.get(length..)?))
}

/// As `ssh-keygen -l` shows it.
fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(wire::Sha256::of(blob).0))
}

/// True for what stands where the type of a key stands.
fn is_key_type(word: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 4] = [b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-"];
    PREFIXES.iter().any(|prefix| word.starts_with(prefix))
}

/// The options before the key and the rest of the line. Quotes keep blanks and commas in an option.
fn options(line: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    if is_key_type(line) {
        return (Vec::new(), line);
    }
    let mut options = Vec::new();
    let mut option = Vec::new();
    let mut is_quoted = false;
    let mut at = 0;
    while let Some(byte) = line.get(at) {
        match byte {
            b'\\' if is_quoted && line.get(at + 1) == Some(&b'"') => {
                option.push(b'"');
                at += 1;
            }
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => options.push(std::mem::take(&mut option)),
            b' ' | b'\t' if !is_quoted => break,
            _ => option.push(*byte),
        }
        at += 1;
    }
    options.push(option);
    (options, line.get(at..).unwrap_or_default().trim_ascii())
}

fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    (&line[..end], line[end..].trim_ascii())
}

fn lines(found: &Found) -> impl Iterator<Item = (u64, &[u8])> {
    let content = found.content.as_deref().unwrap_or_default();
    let numbered = (1..).zip(content.split(|byte| *byte == b'\n')).map(|(n, line)| (n, line.trim_ascii()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#")).take(ROWS_MAX)
}

/// The rows of an `authorized_keys` file.
pub(super) fn authorized(session: &mut Session, found: &Found) -> Result<(), Stopped> {
    let (path, path_b64) = shown(&found.path);
    let is_default = matches!(found.name(), b"authorized_keys" | b"authorized_keys2");
    let is_other_place = !found.name().starts_with(b"authorized_keys");
    for (line, whole) in lines(found) {
        let (options, rest) = options(whole);
        let (key_type, rest) = word(rest);
        let (base64, comment) = word(rest);
        let (blob, is_valid) = blob(base64, key_type);
        let of = |name: &[u8]| options.iter().find_map(|option| option.strip_prefix(name)).map(text);
        let (comment, comment_b64) = shown(comment.get(..4096).unwrap_or(comment));
        session.row(&AuthorizedRow {
            command: of(b"command="),
            comment,
            comment_b64,
            environment: options.iter().filter_map(|option| option.strip_prefix(b"environment=")).map(text).collect(),
            fingerprint: blob.as_deref().map(fingerprint),
            from: of(b"from="),
            is_cert_authority: options.iter().any(|option| option == b"cert-authority"),
            is_read_by_default: is_default || is_other_place,
            is_valid,
            is_writable_by_others: found.stat.stx_mode & 0o002 != 0 && found.link_target.is_none(),
            key_type: is_key_type(key_type).then(|| text(key_type)),
            line,
            mode: format!("{:07o}", found.stat.stx_mode),
            mtime_ns: mtime(&found.stat),
            options: options.iter().map(|option| text(option)).collect(),
            path: path.clone(),
            path_b64: path_b64.clone(),
            record: "authorized_key",
            uid: found.stat.stx_uid,
        })?;
    }
    Ok(())
}

/// Any file of a folder of SSH, by what it holds.
pub(super) fn of_folder(session: &mut Session, found: &Found) -> Result<(), Stopped> {
    if found.name().starts_with(b"authorized_keys") {
        return authorized(session, found);
    }
    if found.name().starts_with(b"known_hosts") || found.name().starts_with(b"ssh_known_hosts") {
        return known_hosts(session, found);
    }
    let Some(key) = found.content.as_deref().and_then(|content| key(content, found.name())) else { return Ok(()) };
    let (path, path_b64) = shown(&found.path);
    session.row(&KeyRow {
        cipher: key.cipher,
        comment: key.comment,
        fingerprint: key.blob.as_deref().map(fingerprint),
        format: key.format,
        is_encrypted: key.is_encrypted,
        is_private: key.is_encrypted.is_some(),
        is_readable_by_others: found.link_target.is_none() && found.stat.stx_mode & 0o044 != 0,
        key_type: key.blob.as_deref().and_then(string).map(|(kind, _)| text(kind)),
        mode: format!("{:07o}", found.stat.stx_mode),
        mtime_ns: mtime(&found.stat),
        path,
        path_b64,
        record: "ssh_key",
        sha256: found.sha256,
        uid: found.stat.stx_uid,
    })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Key {
    format: &'static str,
    is_encrypted: Option<bool>,
    cipher: Option<String>,
    blob: Option<Vec<u8>>,
    comment: Option<String>,
}

/// What kind of key a file holds, if it is one.
fn key(content: &[u8], name: &[u8]) -> Option<Key> {
    let head = content.get(..4096).unwrap_or(content);
    let has = |wanted: &[u8]| head.windows(wanted.len()).any(|part| part == wanted);
    if has(b"-----BEGIN OPENSSH PRIVATE KEY-----") {
        return Some(openssh(content).unwrap_or(Key {
            format: "openssh",
            is_encrypted: Some(false),
            ..Key::default()
        }));
    }
    if has(b"PuTTY-User-Key-File-") {
        let cipher = head
            .windows(12)
            .position(|part| part == b"Encryption: ")
            .map(|at| text(head[at + 12..].split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii()));
        let is_encrypted = cipher.as_deref().is_some_and(|cipher| cipher != "none");
        return Some(Key { format: "putty", is_encrypted: Some(is_encrypted), cipher, ..Key::default() });
    }
    if has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Some(Key { format: "pkcs8", is_encrypted: Some(true), ..Key::default() });
    }
    if has(b"-----BEGIN PRIVATE KEY-----") {
        return Some(Key { format: "pkcs8", is_encrypted: Some(false), ..Key::default() });
    }
    if has(b"PRIVATE KEY-----") {
        let is_encrypted = has(b"ENCRYPTED");
        return Some(Key { format: "pem", is_encrypted: Some(is_encrypted), ..Key::default() });
    }
    if name.starts_with(b"dropbear_") && name.ends_with(b"_host_key") || name == b"id_dropbear" {
        let kind = string(content).filter(|(kind, _)| is_key_type(kind))?;
        return Some(Key {
            format: "dropbear",
            is_encrypted: Some(false),
            cipher: None,
            blob: None,
            comment: Some(text(kind.0)),
        });
    }
    let (key_type, rest) = word(head.trim_ascii());
    if !is_key_type(key_type) {
        return None;
    }
    let (base64, comment) = word(content.trim_ascii().get(key_type.len()..).unwrap_or(rest).trim_ascii());
    let blob = blob(base64, key_type).0?;
    let format = if key_type.ends_with(b"-cert-v01@openssh.com") { "certificate" } else { "public" };
    let comment = comment.split(|byte| *byte == b'\n').next().map(text);
    Some(Key { format, is_encrypted: None, cipher: None, blob: Some(blob), comment })
}

/// `openssh-key-v1\0`, cipher, kdf, its options, the number of keys, the first public key (PROTOCOL.key).
fn openssh(content: &[u8]) -> Option<Key> {
    let text_of = content.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"-----"));
    let base64: Vec<u8> =
        text_of.flatten().copied().filter(|byte| !byte.is_ascii_whitespace()).take(KEY_BYTES_MAX).collect();
    let bytes = BASE64_STANDARD.decode(base64).ok()?;
    let rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    let (cipher, rest) = string(rest)?;
    let (_kdf, rest) = string(rest)?;
    let (_options, rest) = string(rest)?;
    let (blob, _) = string(rest.get(4..)?)?;
    Some(Key {
        format: "openssh",
        is_encrypted: Some(cipher != b"none"),
        cipher: Some(text(cipher)),
        blob: Some(blob.to_vec()),
        comment: None,
    })
}

fn known_hosts(session: &mut Session, found: &Found) -> Result<(), Stopped> {
    let path = shown(&found.path).0;
    for (line, whole) in lines(found) {
        let (first, rest) = word(whole);
        let (marker, hosts, rest) = if first.starts_with(b"@") {
            let (hosts, rest) = word(rest);
            (Some(text(first)), hosts, rest)
        } else {
            (None, first, rest)
        };
        let (key_type, rest) = word(rest);
        let (base64, _) = word(rest);
        session.row(&KnownHostRow {
            fingerprint: blob(base64, key_type).0.as_deref().map(fingerprint),
            hosts: hosts.split(|byte| *byte == b',').take(1000).map(text).collect(),
            is_hashed: hosts.starts_with(b"|1|"),
            key_type: is_key_type(key_type).then(|| text(key_type)),
            line,
            marker,
            mtime_ns: mtime(&found.stat),
            path: path.clone(),
            record: "known_host",
            uid: found.stat.stx_uid,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ssh-keygen -t ed25519` made this pair for the test; it is used nowhere.
    const PUBLIC: &[u8] =
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFXnotarealkeynotarealkeynotarealkeynotare fx@example\n";

    #[test]
    fn options_are_taken_apart() {
        let line = b"command=\"/x \\\"a, b\\\"\",no-pty,from=\"10.0.0.1,!*\" ssh-rsa AAAA me";
        let (options, rest) = options(line);
        let texts: Vec<_> = options.iter().map(|option| text(option)).collect();
        assert_eq!(texts, ["command=/x \"a, b\"", "no-pty", "from=10.0.0.1,!*"]);
        assert_eq!(rest, b"ssh-rsa AAAA me");
        assert_eq!(super::options(b"ssh-rsa x").0.len(), 0);
        assert_eq!(super::options(b"\"unclosed ssh-rsa").1, b"");
    }

    #[test]
    fn kinds_of_files() {
        let public = key(PUBLIC, b"id.pub").unwrap();
        assert_eq!((public.format, public.comment.as_deref()), ("public", Some("fx@example")));
        let pem = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
        assert_eq!(key(pem, b"x").unwrap().is_encrypted, Some(true));
        assert_eq!(key(b"-----BEGIN EC PRIVATE KEY-----\n", b"x").unwrap().is_encrypted, Some(false));
        assert_eq!(key(b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"x").unwrap().format, "pkcs8");
        assert!(key(b"Host *\n", b"config").is_none() && key(b"", b"x").is_none());
        let mut blob = b"openssh-key-v1\0".to_vec();
        for part in [&b"aes256-ctr"[..], b"bcrypt", b"salt"] {
            blob.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend_from_slice(part);
        }
        blob.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, b'h', b'i']);
        let text = format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
            BASE64_STANDARD.encode(blob)
        );
        let key_of = key(text.as_bytes(), b"id_x").unwrap();
        assert_eq!(
            (key_of.is_encrypted, key_of.cipher.as_deref(), key_of.blob.as_deref()),
            (Some(true), Some("aes256-ctr"), Some(&b"hi"[..]))
        );
        assert_eq!(key(b"-----BEGIN OPENSSH PRIVATE KEY-----\n!!\n", b"x").unwrap().format, "openssh");
    }

    #[test]
    fn where_sshd_looks() {
        let shown = |word: &str| place(word).map(|glob| glob.text().to_owned());
        assert_eq!(shown("%h/.ssh/keys").as_deref(), Some("~/.ssh/keys"));
        assert_eq!(shown(".ssh/k").as_deref(), Some("~/.ssh/k"));
        assert_eq!(shown("/etc/keys/%u").as_deref(), Some("/etc/keys/*"));
        assert_eq!((shown("none"), shown("/a/../b")), (None, None));
    }
}
