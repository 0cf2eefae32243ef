//! Packages that lie in folders of their own: pip, npm, gem, cargo, snap and flatpak, for the host or for a user.

use std::collections::{BTreeMap, HashSet};

use bundle::item::{Nanos, shown};
use serde_json::Value;

use super::PackageRow;
use crate::files::contents::{each_object, read};
use crate::host::meta::{Type, inode_of, nanoseconds};
use crate::host::packages::{Manager, Package};
use crate::host::walk::Entry;
use crate::run::session::{Session, Stopped};

/// The longest file about one package that is read.
const TEXT_BYTES_MAX: u64 = 8 << 20;
/// The longest `state.json` of snapd.
const SNAPD_BYTES_MAX: u64 = 64 << 20;

/// Where each manager leaves what it knows of a package. The tests parse them.
pub(super) const PLACES: [(Manager, &str); 16] = [
    (
        Manager::Pip,
        "/{usr,usr/local}/{lib,lib64}/python3*/{site,dist}-packages/*.{dist-info,egg-info}/{METADATA,PKG-INFO}",
    ),
    (Manager::Pip, "/usr/{lib,local/lib}/python2.7/{site,dist}-packages/*.{dist-info,egg-info}/{METADATA,PKG-INFO}"),
    (Manager::Pip, "~/.local/{lib,share/pipx/venvs/*/lib}/python3*/site-packages/*.dist-info/METADATA"),
    (Manager::Pip, "/{opt,srv,usr/local}/{*,*/*}/{lib,lib64}/python3*/site-packages/*.dist-info/METADATA"),
    (Manager::Pip, "~/{venv,.venv,env}/lib/python3*/site-packages/*.dist-info/METADATA"),
    (Manager::Npm, "/usr/{lib,local/lib,share}/{node_modules,nodejs}/{*,@*/*}/package.json"),
    (Manager::Npm, "~/{.npm-global,.local,.npm-packages}/lib/node_modules/{*,@*/*}/package.json"),
    (Manager::Npm, "~/.nvm/versions/node/*/lib/node_modules/{*,@*/*}/package.json"),
    (
        Manager::Gem,
        "/{var/lib/gems,usr/local/lib/ruby/gems,usr/lib/ruby/gems,usr/lib64/ruby/gems}/*/specifications/*.gemspec",
    ),
    (Manager::Gem, "/usr/{share,lib}/{gems,rubygems-integration/*}/specifications/*.gemspec"),
    (Manager::Gem, "~/{.gem/ruby/*,.local/share/gem/ruby/*}/specifications/*.gemspec"),
    (Manager::Cargo, "~/.cargo/.crates.toml"),
    (Manager::Cargo, "/{usr/local,usr/local/cargo,opt/cargo}/.crates.toml"),
    (Manager::Snap, "/var/lib/snapd/state.json"),
    (Manager::Flatpak, "/var/lib/flatpak/{app,runtime}/*/*/*/active/deploy"),
    (Manager::Flatpak, "~/.local/share/flatpak/{app,runtime}/*/*/*/active/deploy"),
];

/// A package, and what only managers of languages know.
#[derive(Debug)]
struct Found {
    package: Package,
    install_scripts: Option<Vec<String>>,
}

impl Found {
    fn of(manager: Manager) -> Self {
        Self { package: Package::of(manager), install_scripts: None }
    }
}

/// Writes a row for each package in the usual places.
pub(super) fn collect(session: &mut Session) -> Result<(), Stopped> {
    let globs = PLACES.map(|(_, glob)| glob);
    // Two globs, or a glob and a link, may lead to one file.
    let mut seen = HashSet::new();
    each_object(session, &globs, |session, entry, number| {
        let Some((manager, _)) = PLACES.get(number) else { return Ok(()) };
        if entry.file_type() != Type::File || !seen.insert(inode_of(entry.stat)) {
            return Ok(());
        }
        let bytes_max = if *manager == Manager::Snap { SNAPD_BYTES_MAX } else { TEXT_BYTES_MAX };
        let Some(text) = read(session, entry, bytes_max)? else { return Ok(()) };
        let found = match manager {
            Manager::Pip => pip(&text),
            Manager::Npm => npm(&text),
            Manager::Gem => gem(entry.path, &text),
            Manager::Cargo => cargo(&text),
            Manager::Snap => snaps(&text),
            Manager::Flatpak => flatpak(entry.path, &text),
            _ => Vec::new(),
        };
        for mut found in found {
            let written = Nanos(nanoseconds(entry.stat.stx_mtime));
            // A list of all packages has the time of the last change of any.
            if !matches!(manager, Manager::Cargo | Manager::Snap) {
                found.package.installed_at.get_or_insert(written);
            }
            let installer = if *manager == Manager::Pip { pip_beside(session, entry, &mut found)? } else { None };
            let (path, path_b64) = shown(folder(entry.path));
            session.row(&PackageRow {
                install_scripts: found.install_scripts,
                installer,
                path: Some(path),
                path_b64,
                ..PackageRow::of(&found.package)
            })?;
        }
        Ok(())
    })
}

/// `INSTALLER` and `direct_url.json` beside a `METADATA` (PyPA, "Recording installed projects").
fn pip_beside(session: &mut Session, entry: &Entry<'_>, found: &mut Found) -> Result<Option<String>, Stopped> {
    session.go_on()?;
    let host = std::sync::Arc::clone(session.host());
    let beside = |name: &[u8]| host.read_file(&[folder(entry.path), b"/", name].concat(), 64 << 10).ok();
    if let Some(url) = beside(b"direct_url.json").and_then(|text| serde_json::from_slice::<Value>(&text).ok()) {
        found.package.source = url.get("url").and_then(Value::as_str).map(str::to_owned);
    }
    Ok(beside(b"INSTALLER").map(|text| String::from_utf8_lossy(text.trim_ascii()).into_owned()))
}

/// The header fields of core metadata.
fn pip(text: &[u8]) -> Vec<Found> {
    let text = String::from_utf8_lossy(text);
    let mut fields = BTreeMap::new();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(": ") {
            fields.entry(name.to_ascii_lowercase()).or_insert_with(|| value.trim().to_owned());
        }
    }
    let mut found = Found::of(Manager::Pip);
    let Some(name) = fields.remove("name") else { return Vec::new() };
    found.package.name = name;
    found.package.version = fields.remove("version").unwrap_or_default();
    found.package.maintainer = ["author-email", "author", "maintainer"].iter().find_map(|name| fields.remove(*name));
    found.package.source = fields.remove("home-page").filter(|url| url != "UNKNOWN");
    vec![found]
}

/// `package.json`; the scripts are those that npm runs when it installs the package.
fn npm(text: &[u8]) -> Vec<Found> {
    let Ok(json) = serde_json::from_slice::<Value>(text) else { return Vec::new() };
    let word = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut found = Found::of(Manager::Npm);
    let Some(name) = word("name") else { return Vec::new() };
    found.package.name = name;
    found.package.version = word("version").unwrap_or_default();
    found.package.source = word("_resolved");
    let author = json.get("author");
    found.package.maintainer = author
        .and_then(|author| author.as_str().or_else(|| author.get("name").and_then(Value::as_str)).map(str::to_owned));
    let scripts = ["preinstall", "install", "postinstall"].iter().filter_map(|name| {
        let command = json.get("scripts")?.get(*name)?.as_str()?;
        Some(format!("{name}: {command}"))
    });
    found.install_scripts = Some(scripts.collect()).filter(|scripts: &Vec<_>| !scripts.is_empty());
    vec![found]
}

/// A gemspec is Ruby: only its plain assignments are understood.
fn gem(path: &[u8], text: &[u8]) -> Vec<Found> {
    let text = String::from_utf8_lossy(text);
    let assigned = |name: &str| {
        text.lines().find_map(|line| {
            let value = line.trim_start().strip_prefix("s.")?.strip_prefix(name)?.trim_start().strip_prefix('=')?;
            let value = value.trim_start();
            let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
            value[1..].split(quote).next().map(str::to_owned)
        })
    };
    let mut found = Found::of(Manager::Gem);
    let stem = String::from_utf8_lossy(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()).into_owned();
    let stem = stem.trim_end_matches(".gemspec");
    let (by_name, by_version) = stem.rsplit_once('-').unwrap_or((stem, ""));
    found.package.name = assigned("name").unwrap_or_else(|| by_name.to_owned());
    found.package.version = assigned("version").unwrap_or_else(|| by_version.to_owned());
    found.package.source = assigned("homepage");
    vec![found]
}

/// `.crates.toml`: `"name 1.2.3 (source)" = ["program"]`.
fn cargo(text: &[u8]) -> Vec<Found> {
    let parsed = str::from_utf8(text).ok().and_then(|text| text.parse::<toml::Table>().ok());
    let Some(crates) = parsed.as_ref().and_then(|table| table.get("v1")).and_then(toml::Value::as_table) else {
        return Vec::new();
    };
    let found = crates.keys().filter_map(|key| {
        let (name, rest) = key.split_once(' ')?;
        let (version, source) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut found = Found::of(Manager::Cargo);
        name.clone_into(&mut found.package.name);
        version.clone_into(&mut found.package.version);
        found.package.source = Some(source.trim_matches(['(', ')']).to_owned()).filter(|source| !source.is_empty());
        Some(found)
    });
    found.collect()
}

/// snapd's `state.json`: `data.snaps.NAME`, with a sequence of revisions of which one is current.
fn snaps(text: &[u8]) -> Vec<Found> {
    let Ok(state) = serde_json::from_slice::<Value>(text) else { return Vec::new() };
    let snaps = state.pointer("/data/snaps").and_then(Value::as_object);
    let found = snaps.into_iter().flatten().map(|(name, snap)| {
        let text = |at: &str| snap.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let current = snap.get("current");
        let mut sequence = snap.get("sequence").and_then(Value::as_array).into_iter().flatten();
        let revision = sequence.rfind(|entry| entry.get("revision") == current);
        let mut found = Found::of(Manager::Snap);
        found.package.name.clone_from(name);
        found.package.version =
            current.map(|number| number.to_string().trim_matches('"').to_owned()).unwrap_or_default();
        found.package.source = text("/channel");
        found.package.state = snap
            .get("active")
            .map(|active| if active == &Value::Bool(true) { "active".to_owned() } else { "inactive".to_owned() });
        found.package.vendor = revision
            .and_then(|entry| entry.get("publisher-id").or_else(|| entry.get("snap-id"))?.as_str())
            .map(str::to_owned);
        let refreshed = text("/last-refresh-time").and_then(|time| time.parse::<jiff::Timestamp>().ok());
        found.package.installed_at = refreshed.map(|time| Nanos(time.as_nanosecond()));
        // A revision that was sideloaded has a number below zero or an `x`, and no id of the store.
        found.package.is_signed =
            revision.map(|entry| entry.get("snap-id").and_then(Value::as_str).is_some_and(|id| !id.is_empty()));
        found
    });
    found.collect()
}

/// `…/NAME/ARCH/BRANCH/active/deploy`: the path says it all, but for the remote, with which the file begins.
fn flatpak(path: &[u8], text: &[u8]) -> Vec<Found> {
    let names: Vec<String> =
        path.rsplit(|byte| *byte == b'/').map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    // The link `active` leads to the folder of the commit.
    let [_, commit, branch, arch, name, kind, ..] = names.as_slice() else { return Vec::new() };
    let mut found = Found::of(Manager::Flatpak);
    found.package.name.clone_from(name);
    found.package.version = format!("{branch} {commit}");
    found.package.arch = Some(arch.clone());
    found.package.state = Some(kind.clone());
    let remote = text.split(|byte| *byte == 0).next().unwrap_or_default();
    found.package.source = str::from_utf8(remote).ok().filter(|remote| !remote.is_empty()).map(str::to_owned);
    vec![found]
}

fn folder(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(path, |at| &path[..at])
}
