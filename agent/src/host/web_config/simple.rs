//! lighttpd (`key = "value"`) and Caddy's Caddyfile, as far as lines tell.

use super::{Site, WebConfig, located, push};
use crate::host::Host;

const LIGHTTPD: &str = "/etc/lighttpd/lighttpd.conf";
const CADDY: [&str; 2] = ["/etc/caddy/Caddyfile", "/usr/local/etc/caddy/Caddyfile"];

pub(super) fn read(host: &Host, config: &mut WebConfig) {
    if host.read_file(LIGHTTPD.as_bytes(), super::FILE_BYTES_MAX).is_ok() {
        let mut site = Site { server: "lighttpd", config: LIGHTTPD.to_owned(), line: 1, ..Site::default() };
        lighttpd(host, config, LIGHTTPD, &mut site, 0);
        config.add(site);
    }
    for path in CADDY {
        if host.read_file(path.as_bytes(), super::FILE_BYTES_MAX).is_ok() {
            caddy(host, config, path, 0);
        }
    }
}

fn lighttpd(host: &Host, config: &mut WebConfig, path: &str, site: &mut Site, depth: usize) {
    let Some(text) = config.file(host, path, depth) else { return };
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let quoted = || line.split('"').nth(1);
        if let Some(rest) = line.strip_prefix("include ") {
            let pattern = rest.trim().trim_matches('"');
            let pattern =
                if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/lighttpd/{pattern}") };
            for file in config.included(host, &pattern) {
                lighttpd(host, config, &file, site, depth + 1);
            }
        } else if line.starts_with("server.document-root") {
            push(&mut site.roots, quoted().and_then(|value| located("/", value)));
        } else if line.starts_with("accesslog.filename") {
            push(&mut site.access_logs, quoted().and_then(|value| located("/", value)));
        } else if line.starts_with("server.errorlog") {
            push(&mut site.error_logs, quoted().and_then(|value| located("/", value)));
        } else if line.starts_with("server.name") {
            push(&mut site.names, quoted().map(str::to_owned));
        }
    }
}

fn caddy(host: &Host, config: &mut WebConfig, path: &str, depth: usize) {
    let Some(text) = config.file(host, path, depth) else { return };
    let mut open = 0_u32;
    let mut site = Site { server: "caddy", config: path.to_owned(), line: 1, ..Site::default() };
    for (number, line) in (1_u64..).zip(text.lines()) {
        let line = line.trim();
        let words: Vec<&str> = line.split_whitespace().take(64).collect();
        if line.starts_with('#') || words.is_empty() {
            continue;
        }
        match words.as_slice() {
            ["import", pattern, ..] => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let pattern =
                    if pattern.starts_with('/') { (*pattern).to_owned() } else { format!("{folder}/{pattern}") };
                // Without a path it may be a snippet's name.
                if pattern.contains('*') || pattern.contains('.') {
                    for file in config.included(host, &pattern) {
                        caddy(host, config, &file, depth + 1);
                    }
                }
            }
            ["root", "*", root, ..] | ["root", root] => push(&mut site.roots, located("/", root)),
            ["output", "file", log, ..] => push(&mut site.access_logs, located("/", log)),
            _ if open == 0 && !words.starts_with(&["{"]) => {
                config.add(std::mem::take(&mut site));
                site = Site { server: "caddy", config: path.to_owned(), line: number, ..Site::default() };
                let names = words.iter().map(|word| word.trim_matches([',', '{'])).filter(|word| !word.is_empty());
                for name in names {
                    push(&mut site.names, Some(name.to_owned()));
                }
            }
            _ => {}
        }
        // A brace that is a block's stands alone or at the end of a line.
        open = open.saturating_add(u32::from(words.last() == Some(&"{")));
        open = open.saturating_sub(u32::from(words.first() == Some(&"}")));
    }
    config.add(site);
}
