//! Apache httpd (httpd.apache.org/docs/2.4/mod/core.html, mod_log_config).

use std::collections::BTreeMap;

use super::{Site, WebConfig, located, push};
use crate::host::Host;

/// Main files, and the ServerRoot of those that name none.
const MAIN: [(&str, &str); 6] = [
    ("/etc/apache2/apache2.conf", "/etc/apache2"),
    ("/etc/httpd/conf/httpd.conf", "/etc/httpd"),
    ("/etc/apache2/httpd.conf", "/var/www"),
    ("/usr/local/apache2/conf/httpd.conf", "/usr/local/apache2"),
    ("/usr/local/apache/conf/httpd.conf", "/usr/local/apache"),
    ("/opt/lampp/etc/httpd.conf", "/opt/lampp"),
];
const ENVVARS: &str = "/etc/apache2/envvars";

struct Reading<'a> {
    host: &'a Host,
    config: &'a mut WebConfig,
    server_root: String,
    variables: BTreeMap<String, String>,
    /// The server itself, and the virtual host that is open.
    sites: Vec<Site>,
}

pub(super) fn read(host: &Host, config: &mut WebConfig) {
    for (path, server_root) in MAIN {
        let Ok(_) = host.read_file(path.as_bytes(), super::FILE_BYTES_MAX) else { continue };
        let server = Site { server: "apache", config: path.to_owned(), line: 1, ..Site::default() };
        let mut reading = Reading {
            variables: variables(host),
            host,
            config: &mut *config,
            server_root: server_root.to_owned(),
            sites: vec![server],
        };
        reading.file(path, 0);
        let sites = std::mem::take(&mut reading.sites);
        for site in sites {
            config.add(site);
        }
    }
}

/// What Debian's envvars sets: `export NAME=value$SUFFIX`.
fn variables(host: &Host) -> BTreeMap<String, String> {
    let text = host.read_file(ENVVARS.as_bytes(), super::FILE_BYTES_MAX).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let assigned = text.lines().filter_map(|line| line.trim().trim_start_matches("export ").split_once('='));
    let plain = |value: &str| value.replace("$SUFFIX", "").trim_matches(['"', '\'']).to_owned();
    assigned.map(|(name, value)| (name.trim().to_owned(), plain(value))).collect()
}

impl Reading<'_> {
    fn file(&mut self, path: &str, depth: usize) {
        let Some(text) = self.config.file(self.host, path, depth) else { return };
        let mut joined = String::new();
        let mut begun = 0;
        for (number, line) in (1_u64..).zip(text.lines()) {
            if joined.is_empty() {
                begun = number;
            }
            match line.strip_suffix('\\') {
                Some(line) => joined.push_str(line),
                None => {
                    joined.push_str(line);
                    let line = std::mem::take(&mut joined);
                    self.directive(path, begun, line.trim(), depth);
                }
            }
        }
    }

    fn directive(&mut self, path: &str, line: u64, text: &str, depth: usize) {
        if text.starts_with('#') {
            return;
        }
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let arguments: Vec<String> = arguments(rest).iter().map(|argument| self.substituted(argument)).collect();
        let first = arguments.first().map_or("", String::as_str);
        let root = self.server_root.clone();
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is("Include") || is("IncludeOptional") {
            let pattern = if first.starts_with('/') { first.to_owned() } else { format!("{root}/{first}") };
            for file in self.config.included(self.host, &pattern) {
                self.file(&file, depth + 1);
            }
        } else if is("ServerRoot") && first.starts_with('/') {
            first.trim_end_matches('/').clone_into(&mut self.server_root);
        } else if is("Define") && arguments.len() >= 2 && self.variables.len() < 1000 {
            self.variables.insert(first.to_owned(), arguments.get(1).cloned().unwrap_or_default());
        } else if is("<VirtualHost") || is("<VirtualHost>") {
            self.sites.push(Site { server: "apache", config: path.to_owned(), line, ..Site::default() });
        } else if is("</VirtualHost>") {
            if self.sites.len() > 1
                && let Some(site) = self.sites.pop()
            {
                self.config.add(site);
            }
        } else if let Some(site) = self.sites.last_mut() {
            if is("ServerName") || is("ServerAlias") {
                for argument in &arguments {
                    push(&mut site.names, Some(argument.clone()));
                }
            } else if is("DocumentRoot") {
                push(&mut site.roots, located(&root, first));
            } else if is("CustomLog") || is("TransferLog") {
                push(&mut site.access_logs, log(&root, first));
            } else if is("ErrorLog") {
                push(&mut site.error_logs, log(&root, first));
            }
        }
    }

    /// `${NAME}` by its value, where it is known.
    fn substituted(&self, argument: &str) -> String {
        let mut text = argument.to_owned();
        for (name, value) in &self.variables {
            let wanted = format!("${{{name}}}");
            if text.contains(&wanted) {
                text = text.replace(&wanted, value).chars().take(4096).collect();
            }
        }
        text
    }
}

/// A log: a file, or what a program behind `|` is given as one; syslog is none.
fn log(root: &str, argument: &str) -> Option<String> {
    if argument.starts_with("syslog") || argument == "/dev/null" {
        return None;
    }
    match argument.strip_prefix('|') {
        Some(command) => {
            let path = command.split_whitespace().skip(1).find(|word| word.starts_with('/'))?;
            located(root, path)
        }
        None => located(root, argument),
    }
}

/// Words; one in quotes is one word.
fn arguments(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() && words.len() < 64 {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.trim_end_matches('>').to_owned());
        rest = after.trim_start();
    }
    words
}
