//! nginx (nginx.org/en/docs/, ngx_http_core_module, ngx_http_log_module).

use super::{Site, WebConfig, located, push};
use crate::host::Host;

const MAIN: [&str; 5] = [
    "/etc/nginx/nginx.conf",
    "/usr/local/nginx/conf/nginx.conf",
    "/opt/nginx/conf/nginx.conf",
    "/usr/local/openresty/nginx/conf/nginx.conf",
    "/etc/openresty/nginx.conf",
];

pub(super) fn read(host: &Host, config: &mut WebConfig) {
    for path in MAIN {
        if host.read_file(path.as_bytes(), super::FILE_BYTES_MAX).is_err() {
            continue;
        }
        let prefix = path.rsplit_once('/').map_or("/", |(folder, _)| folder).to_owned();
        let server = Site { server: "nginx", config: path.to_owned(), line: 1, ..Site::default() };
        let mut reading = Reading { host, config: &mut *config, prefix, blocks: vec![], sites: vec![server] };
        reading.file(path, 0);
        let sites = std::mem::take(&mut reading.sites);
        for site in sites {
            config.add(site);
        }
    }
}

struct Reading<'a> {
    host: &'a Host,
    config: &'a mut WebConfig,
    prefix: String,
    /// The open blocks: true for those of a `server`.
    blocks: Vec<bool>,
    sites: Vec<Site>,
}

impl Reading<'_> {
    fn file(&mut self, path: &str, depth: usize) {
        let Some(text) = self.config.file(self.host, path, depth) else { return };
        let mut words: Vec<(String, u64)> = Vec::new();
        for (word, line) in words_of(&text) {
            match word.as_str() {
                ";" => self.directive(&std::mem::take(&mut words), depth),
                "{" => {
                    let is_server = words.first().is_some_and(|(word, _)| word == "server") && words.len() == 1;
                    if is_server {
                        let line = words.first().map_or(line, |(_, line)| *line);
                        self.sites.push(Site { server: "nginx", config: path.to_owned(), line, ..Site::default() });
                    }
                    words.clear();
                    if self.blocks.len() < 4096 {
                        self.blocks.push(is_server);
                    }
                }
                "}" => {
                    words.clear();
                    if self.blocks.pop() == Some(true)
                        && let Some(site) = self.sites.pop()
                    {
                        self.config.add(site);
                    }
                }
                _ if words.len() < 256 => words.push((word, line)),
                _ => {}
            }
        }
    }

    fn directive(&mut self, words: &[(String, u64)], depth: usize) {
        let mut words = words.iter().map(|(word, _)| word.as_str());
        let (Some(name), prefix) = (words.next(), self.prefix.clone()) else { return };
        let arguments: Vec<&str> = words.collect();
        let first = arguments.first().copied().unwrap_or_default();
        if name == "include" {
            let pattern = if first.starts_with('/') { first.to_owned() } else { format!("{prefix}/{first}") };
            for file in self.config.included(self.host, &pattern) {
                self.file(&file, depth + 1);
            }
            return;
        }
        let is_file =
            first != "off" && first != "stderr" && !first.starts_with("syslog:") && !first.starts_with("memory:");
        let Some(site) = self.sites.last_mut() else { return };
        match name {
            "server_name" => {
                for name in &arguments {
                    push(&mut site.names, Some((*name).to_owned()));
                }
            }
            "root" | "alias" => push(&mut site.roots, located(&prefix, first)),
            "access_log" if is_file => push(&mut site.access_logs, located(&prefix, first)),
            "error_log" if is_file => push(&mut site.error_logs, located(&prefix, first)),
            _ => {}
        }
    }
}

/// Words with their lines; `;`, `{` and `}` are words of their own, what is in quotes is one.
fn words_of(text: &str) -> Vec<(String, u64)> {
    let mut words: Vec<(String, u64)> = Vec::new();
    let mut word = String::new();
    let mut line = 1_u64;
    let mut quote = None;
    let mut is_comment = false;
    let mut is_escaped = false;
    for character in text.chars() {
        if character == '\n' {
            line += 1;
            is_comment = false;
        }
        if is_comment {
            continue;
        }
        if is_escaped {
            word.push(character);
            is_escaped = false;
            continue;
        }
        match (quote, character) {
            (_, '\\') => is_escaped = true,
            (Some(end), _) if character == end => {
                quote = None;
                words.push((format!("{}\u{0}", std::mem::take(&mut word)), line));
            }
            (None, '#') if word.is_empty() => is_comment = true,
            (None, '"' | '\'') if word.is_empty() => quote = Some(character),
            (None, ';' | '}') => {
                flush(&mut words, &mut word, line);
                words.push((character.to_string(), line));
            }
            // `${name}` is a part of a word.
            (None, '{') if !word.ends_with('$') => {
                flush(&mut words, &mut word, line);
                words.push((character.to_string(), line));
            }
            (None, _) if character.is_whitespace() => flush(&mut words, &mut word, line),
            (Some(_) | None, _) => word.push(character),
        }
    }
    // A word in quotes carries a mark until here, so that `"{"` is no block.
    words
        .into_iter()
        .map(|(word, line)| match word.strip_suffix('\u{0}') {
            Some(";" | "{" | "}") => (String::new(), line),
            Some(quoted) => (quoted.to_owned(), line),
            None => (word, line),
        })
        .collect()
}

fn flush(words: &mut Vec<(String, u64)>, word: &mut String, line: u64) {
    if !word.is_empty() {
        words.push((std::mem::take(word), line));
    }
}
