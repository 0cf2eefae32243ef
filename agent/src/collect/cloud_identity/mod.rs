//! What ties the host to a cloud, and the credentials of clouds, registries and databases that lie on it. No metadata
//! service is asked: what is here is on the disks, in the firmware's tables and in the environments of processes.
//!
//! Rows:
//! - `cloud_platform`: what the firmware says of the vendor;
//! - `cloud_fact`: what cloud-init left: instance id, region, data source, its own results;
//! - `cloud_user_data`: each script and document that the cloud gave the host to run, by its first line and digest;
//! - `cloud_credential`: one per profile, account, registry or machine of a credential file: who and which key, never the
//!   secret;
//! - `cloud_agent`: agents of providers that take orders: their files, state and logs;
//! - `environment_credential`: processes that carry a credential in their environment: the variable's name, and a key's
//!   id where it is none of the secret.
//!
//! Files that hold secrets are handed over as metadata and digest unless their class is approved.
//!
//! Known limits: databases (gcloud's `credentials.db`) are not opened; YAML is looked through line by line.

mod credentials;

use std::os::fd::AsFd as _;

use bundle::item::{Kind, Nanos, Status, shown};
use rustix::fs::{Statx, StatxFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{Sha256, Tier};

use super::per_process::every_process;
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::inspect::{Found, Keep, inspect};
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::meta::nanoseconds;
use crate::host::proc::Hands;
use crate::host::text::List;
use crate::run::session::{Session, Stopped};

/// The longest environment that is looked through.
const ENVIRON_BYTES_MAX: usize = 1 << 20;
/// The most facts of one file.
const FACTS_MAX: usize = 200;

/// Arguments of `collect: cloud_identity`: none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudIdentity {}

/// What the firmware says of the platform (`/sys/class/dmi/id`).
#[derive(Default, Serialize, JsonSchema)]
struct PlatformRow {
    /// Vendor of the firmware.
    #[serde(skip_serializing_if = "Option::is_none")]
    bios_vendor: Option<String>,
    /// Asset tag of the chassis: Azure and Oracle have one of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    chassis_asset_tag: Option<String>,
    /// Name of the product.
    #[serde(skip_serializing_if = "Option::is_none")]
    product_name: Option<String>,
    /// The provider that this stands for: aws, azure, gcp …; absent when it stands for none that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'static str>,
    /// `cloud_platform`.
    record: &'static str,
    /// Vendor of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    sys_vendor: Option<String>,
}

/// A fact that cloud-init left behind.
#[derive(Serialize, JsonSchema)]
struct FactRow {
    /// What it is: the file's name, or the key in a JSON document.
    name: String,
    /// The file.
    path: String,
    /// `cloud_fact`.
    record: &'static str,
    /// The value.
    value: String,
}

/// A document that the cloud gave the host, or a script made from it.
#[derive(Serialize, JsonSchema)]
struct UserDataRow {
    /// First line: `#cloud-config`, `#!/bin/sh`, a MIME header. Absent when the file is withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_line: Option<String>,
    /// `cloud_config`, `script`, `include`, `boothook`, `mime`, `gzip`, `empty` or `other`.
    kind: &'static str,
    /// `st_mode` as seven octal digits.
    mode: String,
    /// Last change of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// The file.
    path: String,
    /// `cloud_user_data`.
    record: &'static str,
    /// Digest of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Length of it.
    size_bytes: u64,
    /// Owner.
    uid: u32,
}

/// A file of a provider's agent.
#[derive(Serialize, JsonSchema)]
struct AgentRow {
    /// `file`, `symlink`, `socket` …
    file_type: String,
    /// `st_mode` as seven octal digits.
    mode: String,
    /// Last change of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// The agent: amazon_ssm, azure_waagent, google_guest_agent …
    name: &'static str,
    /// The file.
    path: String,
    /// `cloud_agent`.
    record: &'static str,
    /// Digest of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Length of it.
    size_bytes: u64,
}

/// A process that carries a credential in its environment.
#[derive(Serialize, JsonSchema)]
struct EnvironmentRow {
    /// Name of the program (`/proc/PID/comm`).
    comm: String,
    /// The value where it names a key, a profile or an account and is no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// Length of a value that is withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    length_bytes: Option<u64>,
    /// The variable.
    name: String,
    /// The process.
    pid: u32,
    /// `environment_credential`.
    record: &'static str,
}

/// What a glob's files are.
#[derive(Clone, Copy)]
enum Sort {
    Fact,
    UserData,
    Credential(&'static str),
    Agent(&'static str),
}

const PLACES: &[(&str, Sort)] = &[
    ("/run/cloud-init/{instance-data.json,cloud-id,status.json,result.json,ds-identify.log}", Sort::Fact),
    (
        "/var/lib/cloud/data/{instance-id,previous-instance-id,previous-hostname,previous-datasource,status.json,result.json}",
        Sort::Fact,
    ),
    ("/var/lib/cloud/instance/{datasource,boot-finished,cloud-id}", Sort::Fact),
    ("/var/lib/cloud/instances/*/{user-data.txt*,vendor-data.txt*,vendor-data2.txt*,cloud-config.txt}", Sort::UserData),
    ("/var/lib/cloud/instances/*/{scripts,handlers}/*", Sort::UserData),
    ("/var/lib/cloud/{scripts/*/*,seed/**,handlers/*}", Sort::UserData),
    ("/var/lib/{waagent,cloud}/{ovf-env.xml,CustomData,custom-script/**}", Sort::UserData),
    ("~/.aws/{credentials,config,cli/cache/*,sso/cache/*}", Sort::Credential("aws")),
    ("/etc/{boto.cfg,aws/credentials}", Sort::Credential("aws")),
    (
        "~/.azure/{azureProfile.json,accessTokens.json,msal_token_cache.json,msal_token_cache.bin,service_principal_entries.json,clouds.config,config}",
        Sort::Credential("azure"),
    ),
    (
        "~/.config/gcloud/{active_config,configurations/*,application_default_credentials.json,credentials.db,access_tokens.db,legacy_credentials/*/*}",
        Sort::Credential("gcloud"),
    ),
    ("~/.kube/{config,*.conf,*.yaml}", Sort::Credential("kubernetes")),
    ("~/.docker/config.json", Sort::Credential("docker")),
    ("~/.dockercfg", Sort::Credential("docker")),
    ("/run/containers/*/auth.json", Sort::Credential("docker")),
    ("/run/user/*/containers/auth.json", Sort::Credential("docker")),
    ("~/.config/{containers/auth.json,helm/registry/config.json}", Sort::Credential("docker")),
    ("/var/lib/kubelet/config.json", Sort::Credential("docker")),
    ("{~/.config/rclone/rclone.conf,~/.rclone.conf,/etc/rclone.conf}", Sort::Credential("rclone")),
    ("~/{.netrc,_netrc}", Sort::Credential("netrc")),
    ("~/.pgpass", Sort::Credential("postgresql")),
    ("~/{.my.cnf,.mylogin.cnf}", Sort::Credential("mysql")),
    ("/etc/mysql/debian.cnf", Sort::Credential("mysql")),
    ("~/{.git-credentials,.config/git/credentials}", Sort::Credential("git")),
    ("~/.config/{gh/hosts.yml,glab-cli/config.yml,hub}", Sort::Credential("git_hosting")),
    ("~/.npmrc", Sort::Credential("npm")),
    ("~/.pypirc", Sort::Credential("pypi")),
    ("~/.cargo/{credentials,credentials.toml}", Sort::Credential("cargo")),
    ("~/{.s3cfg,.boto,.passwd-s3fs,.mc/config.json}", Sort::Credential("s3")),
    ("{/etc/passwd-s3fs,~/.passwd-s3fs}", Sort::Credential("s3")),
    ("~/.terraform.d/credentials.tfrc.json", Sort::Credential("terraform")),
    ("~/.vault-token", Sort::Credential("vault")),
    (
        "~/.config/{doctl/config.yaml,hcloud/cli.toml,linode-cli,openstack/clouds.yaml,scw/config.yaml}",
        Sort::Credential("other_cloud"),
    ),
    (
        "{~/.oci/config,~/.aliyun/config.json,~/.bluemix/config.json,/etc/openstack/clouds.yaml}",
        Sort::Credential("other_cloud"),
    ),
    ("/etc/amazon/{ssm/*,amazon-cloudwatch-agent/**}", Sort::Agent("amazon_ssm")),
    (
        "/var/lib/amazon/ssm/{Vault/**,ipc/**,*/document/orchestration/**,*/document/state/*/*,update/*}",
        Sort::Agent("amazon_ssm"),
    ),
    ("/var/log/amazon/ssm/**", Sort::Agent("amazon_ssm")),
    ("/var/snap/amazon-ssm-agent/common/**", Sort::Agent("amazon_ssm")),
    ("/etc/waagent.conf", Sort::Agent("azure_waagent")),
    (
        "/var/lib/waagent/{*.xml,*.json,run-command/download/**,custom-script/download/**,*/config/*.settings,*/status/*.status,history/*}",
        Sort::Agent("azure_waagent"),
    ),
    ("/var/log/{waagent.log*,azure/**}", Sort::Agent("azure_waagent")),
    ("/etc/{default/instance_configs.cfg,google-cloud-ops-agent/**,osconfig/*}", Sort::Agent("google_guest_agent")),
    ("/var/lib/google/**", Sort::Agent("google_guest_agent")),
    ("/etc/{oracle-cloud-agent/**,qcloud-agent/**,aliyun-assist/**}", Sort::Agent("other_agent")),
    ("/var/log/cloud-init*.log", Sort::Agent("cloud_init")),
];

impl Collect for CloudIdentity {
    const NAME: &'static str = "cloud_identity";
    const TIER: Tier = Tier::System;
    const SUMMARY: &'static str =
        "cloud-init's state, user data, providers' agents, and credential files by profile and key id, secrets never.";
    const NEEDS: &'static [&'static str] = &["root", "CAP_SYS_PTRACE"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = std::sync::Arc::clone(session.host());
        if host.is_image() {
            let item = session.item(Kind::Record, "/sys/class/dmi/id", "read", Status::Skipped);
            session.note(item.because("only on a live host: firmware and environments of processes"))?;
        } else {
            platform(session, &host)?;
        }
        let (homes, error) = host.homes();
        if let Some(error) = error {
            let item = session.item(Kind::File, "/etc/passwd", "read", Status::Error);
            session.note(item.failed(&error).because("homes other than /root are not known"))?;
        }
        let (globs, sorts): (Vec<Glob>, Vec<Sort>) =
            PLACES.iter().filter_map(|(glob, sort)| Some((Glob::parse(glob).ok()?, *sort))).unzip();
        let mut found = inspect(session, &globs, &homes, Keep::FilesAndParseSecrets)?;
        found.sort_by(|a, b| (&a.path, a.asked).cmp(&(&b.path, b.asked)));
        found.dedup_by(|b, a| a.path == b.path);
        for file in &found {
            session.go_on()?;
            match sorts.get(file.asked) {
                Some(Sort::Fact) => facts(session, file)?,
                Some(Sort::UserData) => user_data(session, file)?,
                Some(Sort::Credential(tool)) => credentials::rows(session, file, tool)?,
                Some(Sort::Agent(name)) => agent(session, file, name)?,
                None => {}
            }
        }
        if host.is_image() { Ok(()) } else { environments(session) }
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<PlatformRow>("cloud_platform", "/sys/class/dmi/id"),
            RowType::of::<FactRow>("cloud_fact", "cloud-init: instance-data.json, /var/lib/cloud/data"),
            RowType::of::<UserDataRow>("cloud_user_data", "cloud-init: user-data formats"),
            RowType::of::<credentials::Row>("cloud_credential", "the manual of each tool"),
            RowType::of::<AgentRow>("cloud_agent", "the manual of each agent"),
            RowType::of::<EnvironmentRow>("environment_credential", "proc_pid_environ(5)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let more = ["/sys/class/dmi/id", "/proc/PID/environ"];
        let reads = PLACES.iter().map(|(glob, _)| *glob).chain(more).map(ToOwned::to_owned);
        Plan { reads: reads.collect(), ..Plan::default() }
    }
}

fn mtime(stat: &Statx) -> Option<Nanos> {
    (stat.stx_mask & StatxFlags::MTIME.bits() != 0).then(|| Nanos(nanoseconds(stat.stx_mtime)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..1024).unwrap_or(bytes)).into_owned()
}

fn platform(session: &mut Session, host: &Host) -> Result<(), Stopped> {
    let read =
        |name: &str| host.read_text(format!("/sys/class/dmi/id/{name}"), 4096).ok().filter(|text| !text.is_empty());
    let mut row = PlatformRow {
        bios_vendor: read("bios_vendor"),
        chassis_asset_tag: read("chassis_asset_tag"),
        product_name: read("product_name"),
        provider: None,
        record: "cloud_platform",
        sys_vendor: read("sys_vendor"),
    };
    row.provider = provider(&row);
    if row.sys_vendor.is_none() && row.product_name.is_none() && row.bios_vendor.is_none() {
        let item = session.item(Kind::Record, "/sys/class/dmi/id", "read", Status::Skipped);
        return session.note(item.because("this machine has no DMI tables"));
    }
    session.row(&row)
}

/// Which provider these texts stand for, as the detection of systemd-detect-virt(1) and cloud-init's ds-identify take
/// them.
fn provider(row: &PlatformRow) -> Option<&'static str> {
    const SIGNS: [(&str, &str); 16] = [
        ("7783-7084-3265-9085-8269-3286-77", "azure"),
        ("Amazon EC2", "aws"),
        ("amazon", "aws"),
        ("Google", "gcp"),
        ("OracleCloud.com", "oracle"),
        ("DigitalOcean", "digitalocean"),
        ("Hetzner", "hetzner"),
        ("Alibaba Cloud", "alibaba"),
        ("Tencent Cloud", "tencent"),
        ("Huawei Cloud", "huawei"),
        ("OpenStack", "openstack"),
        ("Scaleway", "scaleway"),
        ("Vultr", "vultr"),
        ("Exoscale", "exoscale"),
        ("UpCloud", "upcloud"),
        ("Linode", "akamai"),
    ];
    let texts = [&row.chassis_asset_tag, &row.sys_vendor, &row.product_name, &row.bios_vendor];
    let texts: Vec<&str> = texts.into_iter().flatten().map(String::as_str).collect();
    SIGNS.iter().find(|(sign, _)| texts.iter().any(|text| text.contains(sign))).map(|(_, provider)| *provider)
}

fn facts(session: &mut Session, found: &Found) -> Result<(), Stopped> {
    let content = found.content.as_deref().unwrap_or_default();
    let path = shown(&found.path).0;
    let mut tell =
        |name: String, value: String| session.row(&FactRow { name, path: path.clone(), record: "cloud_fact", value });
    if found.name().ends_with(b".json") {
        let Ok(document) = serde_json::from_slice::<Value>(content) else { return Ok(()) };
        // `v1` is what cloud-init promises to keep; the rest differs between clouds and may hold secrets.
        let of = document.get("v1").unwrap_or(&document);
        for (name, value) in of.as_object().into_iter().flatten().take(FACTS_MAX) {
            match value {
                Value::String(value) => tell(name.clone(), text(value.as_bytes()))?,
                Value::Number(_) | Value::Bool(_) => tell(name.clone(), value.to_string())?,
                _ => {}
            }
        }
        return Ok(());
    }
    if found.name().ends_with(b".log") {
        return Ok(());
    }
    tell(text(found.name()), text(content.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii()))
}

fn user_data(session: &mut Session, found: &Found) -> Result<(), Stopped> {
    let content = found.content.as_deref().unwrap_or_default();
    let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    let kind = match first {
        b"" if content.is_empty() => "empty",
        first if first.starts_with(b"#cloud-config") => "cloud_config",
        first if first.starts_with(b"#cloud-boothook") => "boothook",
        first if first.starts_with(b"#include") => "include",
        first if first.starts_with(b"#!") => "script",
        first if first.starts_with(b"Content-Type:") || first.starts_with(b"MIME-Version:") => "mime",
        [0x1f, 0x8b, ..] => "gzip",
        _ => "other",
    };
    // Only what is a mark of the format is shown: another first line may be the secret itself.
    let is_mark = first.starts_with(b"#") || kind == "mime";
    session.row(&UserDataRow {
        first_line: is_mark.then(|| text(first)),
        kind,
        mode: format!("{:07o}", found.stat.stx_mode),
        mtime_ns: mtime(&found.stat),
        path: shown(&found.path).0,
        record: "cloud_user_data",
        sha256: found.sha256,
        size_bytes: found.stat.stx_size,
        uid: found.stat.stx_uid,
    })
}

fn agent(session: &mut Session, found: &Found, name: &'static str) -> Result<(), Stopped> {
    session.row(&AgentRow {
        file_type: found.file_type().name().to_owned(),
        mode: format!("{:07o}", found.stat.stx_mode),
        mtime_ns: mtime(&found.stat),
        name,
        path: shown(&found.path).0,
        record: "cloud_agent",
        sha256: found.sha256,
        size_bytes: found.stat.stx_size,
    })
}

/// Variables that name a key, a profile or an account: their values are no secrets.
const IDENTITIES: [&str; 19] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_TENANT_ID",
    "ARM_CLIENT_ID",
    "ARM_TENANT_ID",
    "CLOUDSDK_CORE_ACCOUNT",
    "CLOUDSDK_CORE_PROJECT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "KUBECONFIG",
    "OS_USERNAME",
    "VAULT_ADDR",
];
/// Variables that hold a secret, by documentation of their tools.
const SECRETS: [&str; 32] = [
    "ALICLOUD_SECRET_KEY",
    "ARM_CLIENT_SECRET",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_KEY",
    "CI_JOB_TOKEN",
    "CLOUDFLARE_API_TOKEN",
    "CONSUL_HTTP_TOKEN",
    "DATABASE_URL",
    "DIGITALOCEAN_ACCESS_TOKEN",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_PASSWORD",
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GITLAB_TOKEN",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
    "HCLOUD_TOKEN",
    "HEROKU_API_KEY",
    "LINODE_TOKEN",
    "MYSQL_PWD",
    "NPM_TOKEN",
    "OPENAI_API_KEY",
    "OS_PASSWORD",
    "PGPASSWORD",
    "RCLONE_CONFIG_PASS",
    "SLACK_TOKEN",
    "STRIPE_API_KEY",
    "TF_TOKEN",
    "VAULT_TOKEN",
];

fn environments(session: &mut Session) -> Result<(), Failure> {
    let mut rows = Vec::new();
    every_process(session, |session, walk, pid, process| {
        let at = (pid, process.dir.as_fd());
        // A thread of the kernel has no environment.
        walk.bare = true;
        let Some(environ) = walk.read(session, at, c"environ", Hands::InPieces, ENVIRON_BYTES_MAX)? else {
            return Ok(());
        };
        let found = carried(walk.pages.get(environ));
        if found.is_empty() {
            return Ok(());
        }
        let comm = walk.read(session, at, c"comm", Hands::InPieces, 4096)?;
        let comm = comm.map(|comm| text(walk.pages.get(comm).trim_ascii())).unwrap_or_default();
        for (name, identity, length_bytes) in found {
            let comm = comm.clone();
            rows.push(EnvironmentRow { comm, identity, length_bytes, name, pid, record: "environment_credential" });
        }
        Ok(())
    })?;
    for row in rows {
        session.row(&row)?;
    }
    Ok(())
}

/// The variables of an environment that are credentials: name, what identifies them, length of what is withheld.
fn carried(environ: &[u8]) -> Vec<(String, Option<String>, Option<u64>)> {
    let mut found = Vec::new();
    for variable in List::zero_ended(environ).parts() {
        let Some(equals) = variable.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (&variable[..equals], &variable[equals + 1..]);
        let Ok(name) = str::from_utf8(name) else { continue };
        if IDENTITIES.contains(&name) {
            found.push((name.to_owned(), Some(text(value)), None));
        } else if SECRETS.contains(&name) || name.starts_with("TF_TOKEN_") {
            found.push((name.to_owned(), None, Some(value.len() as u64)));
        }
    }
    found
}

#[cfg(test)]
mod tests;
