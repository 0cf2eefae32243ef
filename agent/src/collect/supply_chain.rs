//! What a supply-chain intrusion goes through on a host that builds or serves: which commands packages of projects run
//! when they are installed, which versions their lock files pin, and whose continuous integration works here.
//!
//! Rows: `install_script`, one for each script that npm runs when it installs a package of a project; `lock_file`, one
//! for each lock file, with its digest; `ci_runner`, one for each runner or agent that is set up here. Projects are
//! looked for in the usual places of servers and below every home, three folders deep, not in the whole tree.
//!
//! Configuration of runners holds their tokens: what is read of it is what stands in the rows, and no file is taken.
//! Known limits: an agent of Jenkins leaves no configuration of its own; it is known by its `remoting` folder.

use std::collections::HashSet;
use std::os::fd::AsFd as _;

use bundle::item::{Nanos, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{Sha256, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::contents::{each_object, read};
use crate::files::copy::note_missed;
use crate::files::digest::digest;
use crate::host::meta::{Type, inode_of, nanoseconds};
use crate::host::walk::{Entry, Missed};
use crate::run::session::{Session, Stopped};

/// The longest `package.json`, configuration or lock file that is read.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// What a glob names.
#[derive(Clone, Copy, Debug)]
enum What {
    /// A package of a project, or the project.
    Npm,
    /// A lock file.
    Lock,
    /// A runner, by its kind.
    Runner(RunnerKind),
}

/// Kinds of runners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RunnerKind {
    /// Buildkite's agent.
    Buildkite,
    /// GitHub's runner.
    GithubActions,
    /// GitLab's runner.
    GitlabRunner,
    /// An agent of Jenkins.
    JenkinsAgent,
    /// Jenkins itself, and what it knows of its agents.
    JenkinsController,
}

const PLACES: [(What, &str); 14] = [
    (What::Npm, "/{srv,opt,var/www,usr/share/nginx}/{*,*/*,*/*/*}/package.json"),
    (What::Npm, "/{srv,opt,var/www}/{*,*/*}/node_modules/{*,@*/*}/package.json"),
    (What::Npm, "~/{*,*/*}/node_modules/{*,@*/*}/package.json"),
    (What::Npm, "~/{*,*/*}/package.json"),
    (What::Lock, "/{srv,opt,var/www}/{*,*/*,*/*/*}/{package-lock.json,npm-shrinkwrap.json,yarn.lock,pnpm-lock.yaml}"),
    (
        What::Lock,
        "/{srv,opt,var/www}/{*,*/*,*/*/*}/{poetry.lock,Pipfile.lock,uv.lock,Gemfile.lock,Cargo.lock,go.sum,composer.lock}",
    ),
    (What::Lock, "~/{*,*/*,*/*/*}/{package-lock.json,npm-shrinkwrap.json,yarn.lock,pnpm-lock.yaml}"),
    (What::Lock, "~/{*,*/*,*/*/*}/{poetry.lock,Pipfile.lock,uv.lock,Gemfile.lock,Cargo.lock,go.sum,composer.lock}"),
    (What::Runner(RunnerKind::GitlabRunner), "{/etc/gitlab-runner,~/.gitlab-runner}/config.toml"),
    (What::Runner(RunnerKind::GithubActions), "{/opt/*,/srv/*,~/*,~}/.runner"),
    (What::Runner(RunnerKind::Buildkite), "/etc/buildkite-agent/buildkite-agent.cfg"),
    (What::Runner(RunnerKind::JenkinsController), "/var/lib/jenkins/config.xml"),
    (What::Runner(RunnerKind::JenkinsController), "/var/lib/jenkins/nodes/*/config.xml"),
    (What::Runner(RunnerKind::JenkinsAgent), "{/opt/*,/srv/*,/var/lib/*,~/*,~}/remoting/jarCache"),
];

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SupplyChain {}

/// A script that npm runs when it installs a package of a project.
#[derive(Debug, Serialize, JsonSchema)]
struct ScriptRow<'a> {
    /// What it runs.
    command: &'a str,
    /// Last change of `package.json`.
    mtime_ns: Nanos,
    /// The package.
    name: &'a str,
    /// The `package.json`.
    path: &'a str,
    /// `install_script`.
    record: &'static str,
    /// preinstall, install or postinstall.
    script: &'a str,
    /// The version of the package.
    version: &'a str,
}

/// A file that pins versions.
#[derive(Debug, Serialize, JsonSchema)]
struct LockRow<'a> {
    /// Last change of its inode.
    ctime_ns: Nanos,
    /// Last change of its content.
    mtime_ns: Nanos,
    /// Its path.
    path: &'a str,
    /// `lock_file`.
    record: &'static str,
    /// Its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Its size in bytes.
    size: u64,
    /// Its user.
    uid: u32,
}

/// A runner of continuous integration.
#[derive(Debug, Serialize, JsonSchema)]
struct RunnerRow<'a> {
    /// How jobs run: `shell`, `docker` … (GitLab).
    #[serde(skip_serializing_if = "Option::is_none")]
    executor: Option<String>,
    /// True when jobs run in privileged containers (GitLab).
    #[serde(skip_serializing_if = "Option::is_none")]
    is_privileged: Option<bool>,
    /// Whose runner it is.
    kind: RunnerKind,
    /// Last change of what says so.
    mtime_ns: Nanos,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What says so.
    path: &'a str,
    /// `ci_runner`.
    record: &'static str,
    /// The user that the file belongs to.
    uid: u32,
    /// The address that it takes its jobs from.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// What a configuration says of one runner.
#[derive(Debug, Default, PartialEq, Eq)]
struct Runner {
    executor: Option<String>,
    is_privileged: Option<bool>,
    name: Option<String>,
    url: Option<String>,
}

impl Collect for SupplyChain {
    const NAME: &'static str = "supply_chain";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str =
        "Scripts that packages of projects run, lock files, and runners of continuous integration.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let globs = PLACES.map(|(_, glob)| glob);
        let mut seen = HashSet::new();
        each_object(session, &globs, |session, entry, number| {
            let Some((what, _)) = PLACES.get(number) else { return Ok(()) };
            // Two globs may name one file, and a home may lie in another.
            if entry.file_type() == Type::Link || !seen.insert(inode_of(entry.stat)) {
                return Ok(());
            }
            match what {
                What::Npm => scripts(session, entry),
                What::Lock => lock(session, entry),
                What::Runner(kind) => runner(session, entry, *kind),
            }
        })?;
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<RunnerRow<'static>>("ci_runner", "the configuration of each runner"),
            RowType::of::<ScriptRow<'static>>("install_script", "package.json (npm, \"scripts\")"),
            RowType::of::<LockRow<'static>>("lock_file", "statx(2)"),
        ]
    }

    fn plan(&self, _host: &crate::host::Host) -> Plan {
        Plan { reads: PLACES.iter().map(|(_, glob)| (*glob).to_owned()).collect(), ..Plan::default() }
    }
}

fn mtime(entry: &Entry<'_>) -> Nanos {
    Nanos(nanoseconds(entry.stat.stx_mtime))
}

fn scripts(session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
    let Some(text) = read(session, entry, TEXT_BYTES_MAX)? else { return Ok(()) };
    let Ok(json) = serde_json::from_slice::<Value>(&text) else { return Ok(()) };
    let word = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
    let path = shown(entry.path).0;
    for script in ["preinstall", "install", "postinstall"] {
        let command = json.get("scripts").and_then(|scripts| scripts.get(script)).and_then(Value::as_str);
        let Some(command) = command else { continue };
        let (name, version) = (word("name"), word("version"));
        let mtime_ns = mtime(entry);
        session.row(&ScriptRow { command, mtime_ns, name, path: &path, record: "install_script", script, version })?;
    }
    Ok(())
}

fn lock(session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
    if entry.file_type() != Type::File {
        return Ok(());
    }
    let sha256 = match entry.open_regular() {
        Ok((file, stat)) => digest(session, file.as_fd(), stat.stx_size, TEXT_BYTES_MAX)?.sha256,
        Err(error) => return note_missed(session, entry.path, Missed::Error(error)),
    };
    session.row(&LockRow {
        ctime_ns: Nanos(nanoseconds(entry.stat.stx_ctime)),
        mtime_ns: mtime(entry),
        path: &shown(entry.path).0,
        record: "lock_file",
        sha256,
        size: entry.stat.stx_size,
        uid: entry.stat.stx_uid,
    })
}

fn runner(session: &mut Session, entry: &Entry<'_>, kind: RunnerKind) -> Result<(), Stopped> {
    let text = match kind {
        RunnerKind::JenkinsAgent => Vec::new(),
        _ => read(session, entry, TEXT_BYTES_MAX)?.unwrap_or_default(),
    };
    let runners = match kind {
        RunnerKind::GitlabRunner => gitlab(&text),
        RunnerKind::GithubActions => github(&text),
        RunnerKind::Buildkite => buildkite(&text),
        RunnerKind::JenkinsAgent | RunnerKind::JenkinsController => vec![Runner::default()],
    };
    let path = shown(entry.path).0;
    for runner in runners {
        session.row(&RunnerRow {
            executor: runner.executor,
            is_privileged: runner.is_privileged,
            kind,
            mtime_ns: mtime(entry),
            name: runner.name,
            path: &path,
            record: "ci_runner",
            uid: entry.stat.stx_uid,
            url: runner.url,
        })?;
    }
    Ok(())
}

/// `[[runners]]` of `config.toml`.
fn gitlab(text: &[u8]) -> Vec<Runner> {
    let table = str::from_utf8(text).ok().and_then(|text| text.parse::<toml::Table>().ok()).unwrap_or_default();
    let runners = table.get("runners").and_then(toml::Value::as_array).into_iter().flatten();
    let runners = runners.map(|runner| {
        let word = |name: &str| runner.get(name).and_then(toml::Value::as_str).map(str::to_owned);
        let docker = runner.get("docker").and_then(|docker| docker.get("privileged"));
        Runner {
            executor: word("executor"),
            is_privileged: docker.and_then(toml::Value::as_bool),
            name: word("name"),
            url: word("url"),
        }
    });
    runners.collect()
}

/// The JSON of `.runner`, which a mark of the byte order may precede.
fn github(text: &[u8]) -> Vec<Runner> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let Ok(json) = serde_json::from_slice::<Value>(text) else { return Vec::new() };
    let word = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    vec![Runner { name: word("agentName"), url: word("gitHubUrl").or_else(|| word("serverUrl")), ..Runner::default() }]
}

/// `name="…"` of `buildkite-agent.cfg`.
fn buildkite(text: &[u8]) -> Vec<Runner> {
    let text = String::from_utf8_lossy(text);
    let name =
        text.lines().find_map(|line| line.trim().strip_prefix("name=").map(|name| name.trim_matches('"').to_owned()));
    vec![Runner { name, ..Runner::default() }]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::glob::Glob;
    use crate::host::{FixedClock, Host};
    use crate::run::testing::{assert_keys_sorted, collect, rows};

    #[test]
    fn scripts_locks_and_runners_without_their_tokens() {
        let tree = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        write("etc/passwd", "a:x:1:1::/home/a:/bin/sh\n");
        let package = r#"{"name": "evil", "version": "1", "scripts": {"postinstall": "node x.js", "test": "y"}}"#;
        write("var/www/site/node_modules/evil/package.json", package);
        write("var/www/site/package.json", "no json");
        write("var/www/site/package-lock.json", "{}");
        let gitlab = "[[runners]]\nname = \"r\"\nurl = \"https://g\"\ntoken = \"SECRET\"\nexecutor = \"docker\"\n[runners.docker]\nprivileged = true\n";
        write("etc/gitlab-runner/config.toml", gitlab);
        write("home/a/actions-runner/.runner", "\u{feff}{\"agentName\": \"h\", \"gitHubUrl\": \"https://h\"}");
        write("etc/buildkite-agent/buildkite-agent.cfg", "token=\"SECRET\"\nname=\"b\"\n");
        write("home/a/remoting/jarCache/x", "");
        let messages = collect(&SupplyChain {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        assert_keys_sorted(&messages);
        assert!(!format!("{messages:?}").contains("SECRET"));
        let rows = rows(&messages);
        let of = |record: &str| rows.iter().filter(|row| row["record"] == record).collect::<Vec<_>>();
        let scripts = of("install_script");
        assert_eq!((scripts.len(), &scripts[0]["command"]), (1, &"node x.js".into()));
        assert_eq!(of("lock_file")[0]["sha256"], Sha256::of(b"{}").to_string());
        let runners = of("ci_runner");
        let kinds: Vec<_> = runners.iter().map(|row| row["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["buildkite", "gitlab_runner", "github_actions", "jenkins_agent"]);
        assert_eq!((&runners[1]["is_privileged"], &runners[1]["executor"]), (&true.into(), &"docker".into()));
        assert_eq!(runners[2]["url"], "https://h");
    }

    #[test]
    fn every_glob_of_ours_is_one() {
        for (_, glob) in PLACES {
            Glob::parse(glob).unwrap();
        }
    }
}
