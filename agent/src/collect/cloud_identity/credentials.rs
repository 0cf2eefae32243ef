//! Credential files of clouds and their kin: one row per profile, account, registry or machine. Of a secret only that it
//! is there is told.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::item::{Nanos, shown};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use wire::Sha256;

use super::{mtime, text};
use crate::files::inspect::Found;
use crate::host::ini::{lines, settings};
use crate::run::session::{Session, Stopped};

/// The most rows of one file.
const ROWS_MAX: usize = 10_000;

/// A credential, or the file that holds one that cannot be taken apart here.
#[derive(Serialize, JsonSchema)]
pub struct Row {
    /// A command that is run to get the credential (`credential_process`, a credential helper, an exec plugin).
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// When it ends, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// True when a secret stands in the file.
    has_secret: bool,
    /// The server, registry, endpoint, subscription or project that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// Who: an account, a user, a client id, a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// True when group or others may read the file.
    is_readable_by_others: bool,
    /// True when it is of a session that ends (a session token stands beside it).
    is_temporary: bool,
    /// Id of the key (AWS access key id, key id of a service account): names the secret and is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// `st_mode` of the file as seven octal digits.
    mode: String,
    /// Last change of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// Name of the profile, section, context or subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The file.
    path: String,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `cloud_credential`.
    record: &'static str,
    /// Digest of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Length of the file.
    size_bytes: u64,
    /// Whose format it is: aws, azure, gcloud, kubernetes, docker, rclone, netrc, postgresql, mysql, git …
    tool: &'static str,
    /// Owner of the file.
    uid: u32,
}

/// What a file says of one credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credential {
    command: Option<String>,
    expires: Option<String>,
    has_secret: bool,
    host: Option<String>,
    identity: Option<String>,
    is_temporary: bool,
    key_id: Option<String>,
    name: Option<String>,
}

/// The rows of a file of `tool`.
pub(super) fn rows(session: &mut Session, found: &Found, tool: &'static str) -> Result<(), Stopped> {
    let content = found.content.as_deref().unwrap_or_default();
    let mut credentials = parse(content, &found.path, tool);
    if credentials.is_empty() {
        credentials.push(Credential::default());
    }
    let (path, path_b64) = shown(&found.path);
    if credentials.len() > ROWS_MAX {
        session.limited(format!("{path}: only the first {ROWS_MAX} of {} credentials", credentials.len()))?;
    }
    for credential in credentials.into_iter().take(ROWS_MAX) {
        session.row(&Row {
            command: credential.command,
            expires: credential.expires,
            has_secret: credential.has_secret,
            host: credential.host,
            identity: credential.identity,
            is_readable_by_others: found.link_target.is_none() && found.stat.stx_mode & 0o044 != 0,
            is_temporary: credential.is_temporary,
            key_id: credential.key_id,
            mode: format!("{:07o}", found.stat.stx_mode),
            mtime_ns: mtime(&found.stat),
            name: credential.name,
            path: path.clone(),
            path_b64: path_b64.clone(),
            record: "cloud_credential",
            sha256: found.sha256,
            size_bytes: found.stat.stx_size,
            tool,
            uid: found.stat.stx_uid,
        })?;
    }
    Ok(())
}

fn parse(content: &[u8], path: &[u8], tool: &str) -> Vec<Credential> {
    if let Ok(document) = serde_json::from_slice::<Value>(content)
        && document.is_object() | document.is_array()
    {
        return of_json(&document, path, tool);
    }
    match tool {
        "aws" | "rclone" | "mysql" | "pypi" | "s3" | "cargo" | "gcloud" | "azure" => of_sections(content),
        "netrc" => of_netrc(content),
        "postgresql" => of_pgpass(content),
        "git" => of_urls(content),
        "npm" => of_npmrc(content),
        "other_cloud" if content.trim_ascii_start().starts_with(b"[") => of_sections(content),
        "kubernetes" | "git_hosting" | "other_cloud" => of_yaml(content),
        "vault" => vec![Credential { has_secret: !content.trim_ascii().is_empty(), ..Credential::default() }],
        _ => Vec::new(),
    }
}

/// True for the name of a setting whose value is a secret.
fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 9] =
        ["secret", "password", "passwd", "token", "private_key", "client-key-data", "_auth", "api_key", "pass"];
    let is_pointer = key.ends_with("_file") || key.ends_with("_url") || key.ends_with("uri") || key.ends_with("_id");
    !is_pointer && WORDS.iter().any(|word| key.contains(word))
}

/// Puts a setting where it belongs. What is neither known nor a secret is left out.
fn put(credential: &mut Credential, key: &str, value: &str) {
    let value = value.trim_matches(['"', '\'']);
    if value.is_empty() {
        return;
    }
    let said = || Some(text(value.as_bytes()));
    match key {
        "aws_access_key_id" | "access_key" | "access_key_id" | "gs_access_key_id" | "private_key_id"
        | "fingerprint" => {
            credential.key_id = said();
        }
        "role_arn" | "sso_role_name" | "user" | "username" | "account" | "client_email" | "client_id" | "email"
        | "login" | "auth-user" => {
            credential.identity.get_or_insert_with(|| text(value.as_bytes()));
        }
        "host" | "endpoint" | "repository" | "region" | "sso_start_url" | "project" | "project_id"
        | "quota_project_id" | "server" | "tenancy" | "sso_account_id" | "host_base" | "auth_url" | "tenant" => {
            credential.host.get_or_insert_with(|| text(value.as_bytes()));
        }
        "expiration" | "expiresat" | "expires_at" | "expireson" | "expiry" | "token_expiry" => {
            credential.expires = said();
        }
        "credential_process" | "pass_command" | "command" => credential.command = said(),
        "aws_session_token" | "aws_security_token" | "session_token" | "sessiontoken" => {
            (credential.is_temporary, credential.has_secret) = (true, true);
        }
        key if is_secret(key) => credential.has_secret = true,
        _ => {}
    }
}

fn lower(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

fn of_sections(content: &[u8]) -> Vec<Credential> {
    let mut credentials: Vec<Credential> = Vec::new();
    for setting in settings(content) {
        let name = text(setting.section);
        if credentials.last().is_none_or(|last| last.name.as_deref() != Some(name.as_str())) {
            credentials.push(Credential { name: Some(name), ..Credential::default() });
        }
        if let Some(last) = credentials.last_mut() {
            put(last, &lower(setting.key), &text(&setting.value));
        }
    }
    credentials
}

/// `machine NAME login USER password SECRET` (netrc(5)).
fn of_netrc(content: &[u8]) -> Vec<Credential> {
    let mut credentials: Vec<Credential> = Vec::new();
    let mut words = content.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        match (word, credentials.last_mut()) {
            (b"machine", _) => {
                let host = words.next().map(text);
                credentials.push(Credential { host, ..Credential::default() });
            }
            (b"default", _) => {
                credentials.push(Credential { name: Some("default".to_owned()), ..Credential::default() });
            }
            (b"login", Some(last)) => last.identity = words.next().map(text),
            (b"password" | b"account", Some(last)) => last.has_secret |= words.next().is_some(),
            _ => {}
        }
    }
    credentials
}

/// `host:port:database:user:password`.
fn of_pgpass(content: &[u8]) -> Vec<Credential> {
    let mut credentials = Vec::new();
    for (_, line) in lines(content) {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        if line.starts_with(b"#") {
            continue;
        }
        if let [host, _, database, user, password, ..] = fields[..] {
            credentials.push(Credential {
                host: Some(text(host)),
                identity: Some(text(user)),
                name: Some(text(database)),
                has_secret: !password.is_empty(),
                ..Credential::default()
            });
        }
    }
    credentials
}

/// `scheme://user:password@host/path`.
fn of_urls(content: &[u8]) -> Vec<Credential> {
    let mut credentials = Vec::new();
    for (_, line) in lines(content) {
        let line = String::from_utf8_lossy(line);
        let Some((user, host)) = line.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')) else { continue };
        let (user, has_secret) =
            user.split_once(':').map_or((user, false), |(user, secret)| (user, !secret.is_empty()));
        let host = Some(text(host.as_bytes()));
        credentials.push(Credential {
            host,
            identity: Some(text(user.as_bytes())),
            has_secret,
            ..Credential::default()
        });
    }
    credentials
}

/// `//registry/:_authToken=SECRET`.
fn of_npmrc(content: &[u8]) -> Vec<Credential> {
    let mut credentials = Vec::new();
    for (_, line) in lines(content) {
        let line = String::from_utf8_lossy(line);
        let Some((key, value)) = line.split_once('=') else { continue };
        let (host, name) = key.rsplit_once(':').unwrap_or(("", key));
        if matches!(name.trim(), "_authToken" | "_auth" | "_password") {
            let host = Some(text(host.as_bytes())).filter(|host| !host.is_empty());
            // `${NPM_TOKEN}` is a name, no secret.
            let has_secret = !value.trim().is_empty() && !value.trim().starts_with("${");
            credentials.push(Credential { has_secret, host, ..Credential::default() });
        }
    }
    credentials
}

/// The settings of a document in YAML, line by line: a new credential at each list item with a name and at each key at
/// the margin.
fn of_yaml(content: &[u8]) -> Vec<Credential> {
    let mut credentials: Vec<Credential> = Vec::new();
    for (_, line) in lines(content) {
        let text_of = String::from_utf8_lossy(line);
        let is_at_margin = !text_of.starts_with([' ', '-', '#']);
        let starts_item = text_of.trim_start().starts_with("- ");
        let trimmed = text_of.trim().trim_start_matches("- ");
        let Some((key, value)) = trimmed.split_once(':') else { continue };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        if starts_item || (is_at_margin && value.is_empty()) || credentials.is_empty() {
            let name = is_at_margin.then(|| text(key.as_bytes()));
            credentials.push(Credential { name, ..Credential::default() });
        }
        let Some(last) = credentials.last_mut() else { continue };
        if key == "name" || key == "current-context" {
            last.name = Some(text(value.as_bytes()));
        } else {
            put(last, &key, value);
        }
    }
    credentials.retain(|credential| {
        credential.has_secret
            || credential.identity.is_some()
            || credential.host.is_some()
            || credential.command.is_some()
    });
    credentials
}

fn of_json(document: &Value, path: &[u8], tool: &str) -> Vec<Credential> {
    let mut credentials = Vec::new();
    if tool == "docker" {
        registries(document, &mut credentials);
        return credentials;
    }
    for (key, list) in [("subscriptions", "id"), ("Account", "username"), ("credentials", ""), ("aliases", "url")] {
        match document.get(key) {
            Some(Value::Array(entries)) => {
                credentials.extend(entries.iter().take(ROWS_MAX).map(|entry| of_object(entry, None)));
            }
            Some(Value::Object(entries)) => {
                let named = entries.iter().take(ROWS_MAX);
                credentials.extend(named.map(|(name, entry)| {
                    let mut credential = of_object(entry, Some(name));
                    if list.is_empty() {
                        credential.host = Some(text(name.as_bytes()));
                    }
                    credential
                }));
            }
            _ => {}
        }
    }
    if let Value::Array(entries) = document {
        credentials.extend(entries.iter().take(ROWS_MAX).map(|entry| of_object(entry, None)));
    }
    if credentials.is_empty() {
        let mut credential = of_object(document, None);
        // gcloud keeps one folder for each account.
        if credential.identity.is_none() && path.windows(20).any(|part| part == b"/legacy_credentials/") {
            credential.identity = path.rsplit(|byte| *byte == b'/').nth(1).map(text);
        }
        credentials.push(credential);
    }
    credentials
}

/// The settings of an object and of the objects in it.
fn of_object(value: &Value, name: Option<&str>) -> Credential {
    let mut credential = Credential { name: name.map(|name| text(name.as_bytes())), ..Credential::default() };
    let mut waiting = vec![(value, 0)];
    while let Some((value, depth)) = waiting.pop() {
        for (key, value) in value.as_object().into_iter().flatten().take(ROWS_MAX) {
            let lower = key.to_ascii_lowercase();
            match value {
                Value::String(text_of) => match lower.as_str() {
                    "name" if depth == 0 => credential.name = Some(text(text_of.as_bytes())),
                    "name" | "userid" | "home_account_id" | "type" if depth > 0 || lower != "type" => {
                        credential.identity.get_or_insert_with(|| text(text_of.as_bytes()));
                    }
                    "id" | "tenantid" | "url" | "environment" => {
                        credential.host.get_or_insert_with(|| text(text_of.as_bytes()));
                    }
                    "accesskeyid" => credential.key_id = Some(text(text_of.as_bytes())),
                    "secretaccesskey" | "accesstoken" | "refreshtoken" | "clientsecret" => credential.has_secret = true,
                    key => put(&mut credential, key, text_of),
                },
                Value::Object(_) if depth < 3 => waiting.push((value, depth + 1)),
                _ => {}
            }
        }
    }
    credential
}

/// `auths`, `credHelpers`, `credsStore` of docker's and podman's files.
fn registries(document: &Value, credentials: &mut Vec<Credential>) {
    let auths = document.get("auths").or(Some(document)).and_then(Value::as_object);
    for (registry, entry) in auths.into_iter().flatten().take(ROWS_MAX).filter(|(_, entry)| entry.is_object()) {
        let auth = entry.get("auth").and_then(Value::as_str).unwrap_or_default();
        let decoded = BASE64_STANDARD.decode(auth).unwrap_or_default();
        let user =
            decoded.split(|byte| *byte == b':').next().filter(|user| !user.is_empty() && decoded.contains(&b':'));
        let is_token = ["identitytoken", "registrytoken", "password"].iter().any(|key| entry.get(key).is_some());
        credentials.push(Credential {
            host: Some(text(registry.as_bytes())),
            identity: user.map(text),
            has_secret: !auth.is_empty() || is_token,
            ..Credential::default()
        });
    }
    for (registry, helper) in
        document.get("credHelpers").and_then(Value::as_object).into_iter().flatten().take(ROWS_MAX)
    {
        credentials.push(Credential {
            host: Some(text(registry.as_bytes())),
            command: helper.as_str().map(|helper| format!("docker-credential-{helper}")),
            ..Credential::default()
        });
    }
    if let Some(helper) = document.get("credsStore").and_then(Value::as_str) {
        let command = Some(format!("docker-credential-{}", text(helper.as_bytes())));
        credentials.push(Credential { command, ..Credential::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(content: &str, tool: &str) -> Credential {
        let all = parse(content.as_bytes(), b"/x", tool);
        assert!(!format!("{all:?}").contains("SECRET"), "{all:?}");
        all.into_iter().next().unwrap()
    }

    #[test]
    fn who_and_which_key_but_never_the_secret() {
        let aws = one(
            "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = SECRET\naws_session_token=SECRET\n",
            "aws",
        );
        assert_eq!((aws.name.as_deref(), aws.key_id.as_deref()), (Some("default"), Some("AKIAEXAMPLE")));
        assert!(aws.has_secret && aws.is_temporary);
        let process =
            one("[profile x]\ncredential_process = /opt/get --now\nrole_arn = arn:aws:iam::1:role/r\n", "aws");
        assert_eq!(process.command.as_deref(), Some("/opt/get --now"));
        assert!(!process.has_secret && process.identity.as_deref() == Some("arn:aws:iam::1:role/r"));
        let docker = one(r#"{"auths":{"ghcr.io":{"auth":"YW5uOlNFQ1JFVA=="}},"credsStore":"pass"}"#, "docker");
        assert_eq!((docker.host.as_deref(), docker.identity.as_deref()), (Some("ghcr.io"), Some("ann")));
        let netrc = one("machine h.example login ann password SECRET\n", "netrc");
        assert_eq!((netrc.host.as_deref(), netrc.has_secret), (Some("h.example"), true));
        let pg = one("db:5432:app:ann:SECRET\n", "postgresql");
        assert_eq!((pg.name.as_deref(), pg.identity.as_deref()), (Some("app"), Some("ann")));
        let git = one("https://ann:SECRET@git.example/x\n", "git");
        assert_eq!((git.host.as_deref(), git.has_secret), (Some("git.example/x"), true));
        let npm = one("//registry.npmjs.org/:_authToken=SECRET\n", "npm");
        assert_eq!((npm.host.as_deref(), npm.has_secret), (Some("//registry.npmjs.org/"), true));
        let adc = one(
            r#"{"type":"service_account","private_key_id":"k1","private_key":"SECRET","client_email":"a@b"}"#,
            "gcloud",
        );
        assert_eq!((adc.key_id.as_deref(), adc.identity.as_deref(), adc.has_secret), (Some("k1"), Some("a@b"), true));
        let azure =
            one(r#"{"subscriptions":[{"id":"sub","name":"Prod","user":{"name":"a@b","type":"user"}}]}"#, "azure");
        assert_eq!((azure.name.as_deref(), azure.host.as_deref()), (Some("Prod"), Some("sub")));
        assert_eq!(azure.identity.as_deref(), Some("a@b"));
        let kube = one(
            "clusters:\n- cluster:\n    server: https://k:6443\n  name: c\nusers:\n- name: u\n  user:\n    token: SECRET\n",
            "kubernetes",
        );
        assert_eq!((kube.host.as_deref(), kube.name.as_deref()), (Some("https://k:6443"), Some("c")));
        let cached = one(
            r#"{"Credentials":{"AccessKeyId":"ASIA1","SecretAccessKey":"SECRET","SessionToken":"SECRET","Expiration":"2026"}}"#,
            "aws",
        );
        assert_eq!(
            (cached.key_id.as_deref(), cached.is_temporary, cached.expires.as_deref()),
            (Some("ASIA1"), true, Some("2026"))
        );
        assert!(one("SECRET\n", "vault").has_secret);
    }

    #[test]
    fn hostile_files_are_no_panic() {
        for tool in ["aws", "docker", "netrc", "postgresql", "git", "npm", "kubernetes", "azure", "vault", "none"] {
            for content in [&b"\xff\xff:\xff=\n[\xff"[..], b"machine", b"{\"auths\":3}", b"[[[[", b"", b"://@:", b"{}"]
            {
                let _ = parse(content, b"/", tool);
            }
            let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
            let _ = parse(deep.as_bytes(), b"/", tool);
        }
    }
}
