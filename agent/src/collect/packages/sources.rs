//! Where packages come from: the repositories that the managers are configured with.

use bundle::item::shown;
use schemars::JsonSchema;
use serde::Serialize;

use crate::files::contents::{each_object, read};
use crate::host::packages::dpkg::paragraphs;
use crate::run::session::{Session, Stopped};

/// The longest configuration that is read.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// Globs, and how what they name is read.
pub(super) const PLACES: [(&str, Format); 8] = [
    ("/etc/apt/sources.list", Format::AptLines),
    ("/etc/apt/sources.list.d/*.list", Format::AptLines),
    ("/etc/apt/sources.list.d/*.sources", Format::AptParagraphs),
    ("/etc/{yum.repos.d,zypp/repos.d,distro.repos.d}/*.repo", Format::Ini("rpm")),
    ("/etc/{yum.conf,dnf/dnf.conf}", Format::Ini("rpm")),
    ("/etc/pacman.conf", Format::Ini("pacman")),
    ("/etc/pacman.d/mirrorlist", Format::Lines("pacman")),
    ("/etc/apk/repositories", Format::Lines("apk")),
];

#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    /// `deb [options] url suite components`, sources.list(5).
    AptLines,
    /// deb822 paragraphs, sources.list(5).
    AptParagraphs,
    /// Sections with `key=value`.
    Ini(&'static str),
    /// One address a line, or `Server = address`.
    Lines(&'static str),
}

/// A repository that a manager is configured with.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct SourceRow<'a> {
    /// False when the configuration asks not to check signatures (`trusted=yes`, `gpgcheck=0`, `SigLevel = Never`);
    /// absent when it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checks_signatures: Option<bool>,
    /// False for one that is switched off.
    pub(super) is_enabled: bool,
    /// False when its address is plain `http:` or `ftp:`; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_encrypted: Option<bool>,
    /// apk, dpkg, pacman, rpm.
    pub(super) manager: &'a str,
    /// The name of the section, or the suite and components.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// The file that says so.
    pub(super) path: &'a str,
    /// `package_source`.
    pub(super) record: &'static str,
    /// The key that its signatures must be of (`signed-by`, `gpgkey`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signed_by: Option<String>,
    /// Its address, without the password that may stand in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
}

/// Writes a row for each repository.
pub(super) fn collect(session: &mut Session) -> Result<(), Stopped> {
    let globs = PLACES.map(|(glob, _)| glob);
    each_object(session, &globs, |session, entry, number| {
        let Some((_, format)) = PLACES.get(number) else { return Ok(()) };
        let Some(text) = read(session, entry, TEXT_BYTES_MAX)? else { return Ok(()) };
        let path = shown(entry.path).0;
        for mut row in parse(*format, &text) {
            row.path = &path;
            session.row(&row)?;
        }
        Ok(())
    })
}

pub(super) fn parse(format: Format, text: &[u8]) -> Vec<SourceRow<'static>> {
    let lossy = String::from_utf8_lossy(text);
    match format {
        Format::AptLines => lossy.lines().filter_map(apt_line).collect(),
        Format::AptParagraphs => apt_paragraphs(text),
        Format::Ini(manager) => ini(manager, &lossy),
        Format::Lines(manager) => lossy.lines().filter_map(|line| address(manager, line)).collect(),
    }
}

fn row(manager: &'static str, url: Option<&str>) -> SourceRow<'static> {
    SourceRow {
        is_enabled: true,
        is_encrypted: url.map(|url| !url.starts_with("http:") && !url.starts_with("ftp:")),
        manager,
        record: "package_source",
        url: url.map(without_password),
        ..SourceRow::default()
    }
}

/// An address without what stands between `//` and `@`, which is a name and a password.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => url.to_owned(),
    }
}

fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "1" | "on")
}

fn apt_line(line: &str) -> Option<SourceRow<'static>> {
    let line = line.split('#').next()?.trim();
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    if !matches!(kind, "deb" | "deb-src") {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let mut row = row("dpkg", words.next());
    row.name = Some([&[kind], words.collect::<Vec<_>>().as_slice()].concat().join(" "));
    for option in options.split_whitespace() {
        match option.split_once('=') {
            Some(("trusted", value)) => row.checks_signatures = Some(!is_yes(value)),
            Some(("signed-by", value)) => row.signed_by = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(row)
}

fn apt_paragraphs(text: &[u8]) -> Vec<SourceRow<'static>> {
    // Lines that begin with `#` are comments, also between the lines of a field.
    let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"));
    let text = lines.collect::<Vec<_>>().concat();
    let mut rows = Vec::new();
    for paragraph in paragraphs(&text) {
        let field = |name: &str| paragraph.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let Some(urls) = field("URIs") else { continue };
        let name = ["Types", "Suites", "Components"].map(|name| field(name).unwrap_or_default()).join(" ");
        for url in urls.split_whitespace() {
            rows.push(SourceRow {
                checks_signatures: field("Trusted").map(|value| !is_yes(&value)),
                is_enabled: field("Enabled").is_none_or(|value| is_yes(&value)),
                name: Some(name.trim().to_owned()),
                // A key may stand there itself, in as many lines as it has.
                signed_by: field("Signed-By").map(|key| key.lines().next().unwrap_or_default().to_owned()),
                ..row("dpkg", Some(url))
            });
        }
    }
    rows
}

fn ini(manager: &'static str, text: &str) -> Vec<SourceRow<'static>> {
    let mut rows: Vec<SourceRow<'static>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            rows.push(SourceRow { name: Some(name.to_owned()), ..row(manager, None) });
            continue;
        }
        let (Some(at), Some((key, value))) = (rows.last_mut(), line.split_once('=')) else { continue };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "baseurl" | "mirrorlist" | "metalink" | "server" | "include" if at.url.is_none() => {
                let with = row(manager, Some(value));
                (at.url, at.is_encrypted) = (with.url, with.is_encrypted);
            }
            "enabled" => at.is_enabled = is_yes(value),
            "gpgcheck" | "repo_gpgcheck" if !is_yes(value) && at.checks_signatures.is_none() => {
                at.checks_signatures = Some(false);
            }
            "gpgcheck" => at.checks_signatures = Some(is_yes(value)),
            "siglevel" => at.checks_signatures = Some(!value.contains("Never") && !value.contains("TrustAll")),
            "gpgkey" => at.signed_by = Some(value.to_owned()),
            _ => {}
        }
    }
    rows
}

fn address(manager: &'static str, line: &str) -> Option<SourceRow<'static>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let url = line.split_once('=').filter(|(key, _)| key.trim() == "Server").map_or(line, |(_, url)| url.trim());
    // apk: `@tag address`.
    let (name, url) = match url.strip_prefix('@').and_then(|rest| rest.split_once(' ')) {
        Some((tag, url)) => (Some(format!("@{tag}")), url.trim()),
        None => (None, url),
    };
    Some(SourceRow { name, ..row(manager, Some(url)) })
}
