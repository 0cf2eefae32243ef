//! Which files hold secrets, whatever a profile says: by where they lie, and by what they begin with.
//!
//! Where they lie is looked at from the end of the path, so that the `/etc/shadow` of a container's root, of a backup or
//! of a mounted disk is one as well. Known limit: a copy under another name is not recognised.

use wire::profile::Sensitive;

/// How much of a file is looked at for the words of a private key.
pub(super) const HEAD_BYTES: usize = 4096;

/// The class of a file by its path.
pub(super) fn by_path(path: &[u8]) -> Option<Sensitive> {
    let mut names = path.rsplit(|byte| *byte == b'/');
    let name = names.next()?;
    let folder = names.next().unwrap_or_default();
    if is_shadow(folder, name) || name.ends_with(b"htpasswd") {
        return Some(Sensitive::PasswordHashes);
    }
    let is_user_key = folder == b".ssh" && name.starts_with(b"id_") && !name.ends_with(b".pub");
    let is_host_key = folder == b"ssh" && name.starts_with(b"ssh_host_") && name.ends_with(b"_key");
    let is_tls_key = contains(path, b"/etc/ssl/private/");
    // The configuration of a WireGuard interface begins with its private key (wg-quick(8)).
    let is_wireguard = folder == b"wireguard" && name.ends_with(b".conf");
    let is_keytab = name.ends_with(b".keytab");
    if is_user_key || is_host_key || is_tls_key || is_wireguard || is_keytab {
        return Some(Sensitive::PrivateKeys);
    }
    let is_credential =
        is_of_browser(path, name) || is_of_cluster(path, folder, name) || is_credential(path, folder, name);
    is_credential.then_some(Sensitive::Credentials)
}

/// Where clients of clouds, registries, databases and mail keep their tokens and passwords, by their own documentation.
fn is_credential(path: &[u8], folder: &[u8], name: &[u8]) -> bool {
    const NAMES: [&[u8]; 18] = [
        b".boto",
        b".dockercfg",
        b".git-credentials",
        b".my.cnf",
        b".mylogin.cnf",
        b".netrc",
        b".npmrc",
        b".pgpass",
        b".pypirc",
        b".s3cfg",
        b".vault-token",
        b"_netrc",
        b"application_default_credentials.json",
        b"credentials.tfrc.json",
        b"instance-data-sensitive.json",
        b"msal_token_cache.json",
        b"rclone.conf",
        b"user-data.txt",
    ];
    const IN_FOLDERS: [(&[u8], &[u8]); 14] = [
        (b".aws", b"credentials"),
        (b".azure", b"accessTokens.json"),
        (b".azure", b"azureProfile.json"),
        (b".azure", b"msal_token_cache.bin"),
        (b".azure", b"service_principal_entries.json"),
        (b".cargo", b"credentials"),
        (b".cargo", b"credentials.toml"),
        (b".oci", b"config"),
        (b"doctl", b"config.yaml"),
        (b"gcloud", b"access_tokens.db"),
        (b"gcloud", b"credentials.db"),
        (b"gh", b"hosts.yml"),
        (b"hcloud", b"cli.toml"),
        (b"helm", b"config.json"),
    ];
    const BELOW: [&[u8]; 5] =
        [b"/.aws/sso/cache/", b"/.aws/cli/cache/", b"/gcloud/legacy_credentials/", b"/.aliyun/", b"/.config/op/"];
    // What a cloud gave the machine to run, and what was made from it.
    let is_user_data =
        ["user-data", "vendor-data", "cloud-config.txt", "obj.pkl"].iter().any(|n| name.starts_with(n.as_bytes()));
    let is_of_cloud_init = contains(path, b"/var/lib/cloud/") && is_user_data
        || contains(path, b"/var/lib/cloud/instances/") && folder == b"scripts"
        || folder == b"waagent" && matches!(name, b"ovf-env.xml" | b"CustomData");
    NAMES.contains(&name)
        || IN_FOLDERS.iter().any(|(in_folder, wanted)| folder == *in_folder && name == *wanted)
        || BELOW.iter().any(|below| contains(path, below))
        || is_of_cloud_init
}

/// Credentials of containers and of Kubernetes: configurations with client keys, tokens and secrets of pods as the
/// kubelet lays them out, the database that holds all secrets of a cluster, logins to registries.
fn is_of_cluster(path: &[u8], folder: &[u8], name: &[u8]) -> bool {
    let is_client = folder == b"kubernetes" && name.ends_with(b".conf")
        || folder == b".kube" && name == b"config"
        || folder == b"k3s" && name == b"k3s.yaml"
        || name.ends_with(b"kubeconfig");
    let is_secret = contains(path, b"/volumes/kubernetes.io~secret/")
        || contains(path, b"/volumes/kubernetes.io~projected/")
        || contains(path, b"/secrets/kubernetes.io/serviceaccount/");
    let is_store = contains(path, b"/etcd/member/")
        || contains(path, b"/k3s/server/db/")
        || contains(path, b"/k3s/server/cred/")
        || folder == b"server" && matches!(name, b"token" | b"node-token" | b"agent-token");
    let is_login = folder == b".docker" && name == b"config.json" || folder == b"containers" && name == b"auth.json";
    is_client || is_secret || is_store || is_login
}

/// Cookies and passwords of browsers: whoever has them is logged in as their owner.
fn is_of_browser(path: &[u8], name: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"Cookies",
        b"Login Data",
        b"Login Data For Account",
        b"cookies.sqlite",
        b"key3.db",
        b"key4.db",
        b"logins.json",
        b"signons.sqlite",
    ];
    let is_below = |folder: &[u8]| contains(path, folder);
    NAMES.contains(&name)
        && (is_below(b"/.config/") || is_below(b"/.mozilla/") || is_below(b"/snap/") || is_below(b"/.var/app/"))
}

/// `/etc/shadow`, `/etc/gshadow`, what shadow(5), passwd(1) and editors leave beside them (`shadow-`, `shadow.bak`,
/// `.shadow.swp`), Debian's `/var/backups/shadow.bak`, and the old passwords of pam_unix(8).
fn is_shadow(folder: &[u8], name: &[u8]) -> bool {
    if folder == b"security" && name.starts_with(b"opasswd") {
        return true;
    }
    if folder != b"etc" && folder != b"backups" {
        return false;
    }
    let name = name.trim_prefix_bytes(b"#").trim_prefix_bytes(b".");
    let rest = name.strip_prefix(b"shadow").or_else(|| name.strip_prefix(b"gshadow"));
    rest.is_some_and(|rest| rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
}

trait TrimPrefix {
    fn trim_prefix_bytes(&self, prefix: &[u8]) -> &[u8];
}

impl TrimPrefix for [u8] {
    fn trim_prefix_bytes(&self, prefix: &[u8]) -> &[u8] {
        self.strip_prefix(prefix).unwrap_or(self)
    }
}

/// True when the content has to be looked at to tell.
pub(super) fn needs_head(path: &[u8]) -> bool {
    path.ends_with(b".pem") || path.ends_with(b".key") || contains(path, b"/.ssh/") || contains(path, b"/.aws/")
}

/// The class of a file by its first bytes: `-----BEGIN … PRIVATE KEY-----` (RFC 7468, and OpenSSH's own).
pub(super) fn by_head(head: &[u8]) -> Option<Sensitive> {
    if contains(head, b"aws_secret_access_key") {
        return Some(Sensitive::Credentials);
    }
    contains(head, b"PRIVATE KEY").then_some(Sensitive::PrivateKeys)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_where_they_lie() {
        for path in [
            "/etc/shadow",
            "/etc/shadow-",
            "/etc/gshadow.bak",
            "/etc/.shadow.swp",
            "/etc/#shadow#",
            "/var/backups/shadow.bak",
            "/var/lib/docker/overlay2/x/diff/etc/shadow",
            "/etc/security/opasswd",
            "/var/www/html/.htpasswd",
        ] {
            assert_eq!(by_path(path.as_bytes()), Some(Sensitive::PasswordHashes), "{path}");
        }
        for path in [
            "/root/.ssh/id_ed25519",
            "/home/a/.ssh/id_rsa.old",
            "/etc/ssh/ssh_host_rsa_key",
            "/etc/ssl/private/deep/x",
            "/etc/wireguard/wg0.conf",
        ] {
            assert_eq!(by_path(path.as_bytes()), Some(Sensitive::PrivateKeys), "{path}");
        }
        for path in ["/home/a/.config/chromium/Default/Cookies", "/home/a/.mozilla/firefox/x.default/key4.db"] {
            assert_eq!(by_path(path.as_bytes()), Some(Sensitive::Credentials), "{path}");
        }
        for path in [
            "/etc/kubernetes/admin.conf",
            "/root/.kube/config",
            "/var/lib/kubelet/pods/1/volumes/kubernetes.io~projected/kube-api-access-x/..data/token",
            "/var/lib/etcd/member/snap/db",
            "/home/a/.docker/config.json",
        ] {
            assert_eq!(by_path(path.as_bytes()), Some(Sensitive::Credentials), "{path}");
        }
        for path in [
            "/srv/Cookies",
            "/etc/passwd",
            "/etc/kubernetes/manifests/etcd.yaml",
            "/var/lib/kubelet/config.yaml",
            "/etc/shadowsocks/config",
            "/etc/shadowsocks.json",
            "/root/.ssh/id_rsa.pub",
            "/etc/ssh/ssh_host_rsa_key.pub",
            "/root/.ssh/authorized_keys",
            "/usr/share/shadow",
            "",
        ] {
            assert_eq!(by_path(path.as_bytes()), None, "{path}");
        }
        for path in [
            "/root/.aws/credentials",
            "/home/a/.kube/config",
            "/home/a/.netrc",
            "/root/.docker/config.json",
            "/var/lib/cloud/instances/i-1/user-data.txt.i",
            "/home/a/.config/gcloud/application_default_credentials.json",
        ] {
            assert_eq!(by_path(path.as_bytes()), Some(Sensitive::Credentials), "{path}");
        }
        assert_eq!(by_path(b"/home/a/.aws/config"), None);
        assert_eq!(by_head(b"[x]\naws_secret_access_key = y"), Some(Sensitive::Credentials));
        assert!(needs_head(b"/x/a.pem") && needs_head(b"/root/.ssh/work") && !needs_head(b"/etc/passwd"));
        assert!(by_head(b"x\n-----BEGIN OPENSSH PRIVATE KEY-----\n").is_some());
        assert!(by_head(b"-----BEGIN CERTIFICATE-----").is_none());
    }
}
