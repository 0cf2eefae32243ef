//! What the configuration of web servers says: their sites, the folders that they serve, and the logs that they write.
//! Apache httpd, nginx, lighttpd and Caddy, includes followed.
//!
//! Known limits: what a configuration computes (`<If>`, maps, templates of Caddy, `include_shell`) is not evaluated; a
//! variable in a path stands as `*`.

mod apache;
mod nginx;
mod simple;

use super::Host;
use super::glob::Glob;

/// Configuration files that are read together.
const FILES_MAX: usize = 4000;
/// How deep includes may lie.
const DEPTH_MAX: usize = 16;
/// The longest configuration file.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Sites of one host.
const SITES_MAX: usize = 20_000;

/// A site, or what a server does where no site says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// `apache`, `nginx`, `lighttpd`, `caddy`.
    pub server: &'static str,
    /// The file in which it begins.
    pub config: String,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Names that it answers to.
    pub names: Vec<String>,
    /// Folders that it serves.
    pub roots: Vec<String>,
    /// Logs of requests.
    pub access_logs: Vec<String>,
    /// Logs of errors.
    pub error_logs: Vec<String>,
}

/// What was read.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// The sites, in the order of the files.
    pub sites: Vec<Site>,
    /// The configuration files that were read.
    pub files: Vec<String>,
    /// Includes that could not be read: path and reason.
    pub missed: Vec<(String, String)>,
}

impl WebConfig {
    /// The configuration of every web server of the host.
    pub fn read(host: &Host) -> Self {
        let mut config = Self::default();
        apache::read(host, &mut config);
        nginx::read(host, &mut config);
        simple::read(host, &mut config);
        config
    }

    /// The text of a file; `None`, and noted, when it cannot be read.
    fn file(&mut self, host: &Host, path: &str, depth: usize) -> Option<String> {
        let refused = if depth > DEPTH_MAX {
            format!("included more than {DEPTH_MAX} deep")
        } else if self.files.len() >= FILES_MAX {
            format!("more than {FILES_MAX} configuration files")
        } else {
            match host.read_file(path.as_bytes(), FILE_BYTES_MAX) {
                Ok(bytes) => {
                    self.files.push(path.to_owned());
                    return Some(String::from_utf8_lossy(&bytes).into_owned());
                }
                Err(error) => error.to_string(),
            }
        };
        if self.missed.len() < FILES_MAX {
            self.missed.push((path.to_owned(), refused));
        }
        None
    }

    /// The files that an include names.
    fn included(&mut self, host: &Host, pattern: &str) -> Vec<String> {
        if !pattern.contains(['*', '?', '[']) {
            return vec![pattern.to_owned()];
        }
        match Glob::parse(&pattern.replace('{', "\\{").replace('}', "\\}")) {
            Ok(glob) => {
                host.files_at(&glob, FILES_MAX).into_iter().filter_map(|path| String::from_utf8(path).ok()).collect()
            }
            Err(error) => {
                self.missed.push((pattern.to_owned(), error.to_string()));
                Vec::new()
            }
        }
    }

    fn add(&mut self, site: Site) {
        let says = !site.roots.is_empty() || !site.access_logs.is_empty() || !site.error_logs.is_empty();
        if (says || !site.names.is_empty()) && self.sites.len() < SITES_MAX {
            self.sites.push(site);
        }
    }
}

/// A path of a configuration as a glob: below `base` when it is relative; variables, and strftime's `%`, stand as `*`.
fn located(base: &str, path: &str) -> Option<String> {
    let path = path.trim_matches(['"', '\'']);
    if path.is_empty() || path.len() > 2048 {
        return None;
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    let mut located = String::with_capacity(path.len());
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '$' | '%' => {
                if characters.peek() == Some(&'{') {
                    characters.by_ref().find(|character| *character == '}');
                } else {
                    while characters
                        .next_if(|character| character.is_ascii_alphanumeric() || *character == '_')
                        .is_some()
                    {}
                }
                if !located.ends_with('*') {
                    located.push('*');
                }
            }
            '*' | '?' | '[' | ']' | '{' | '}' | '\\' => {
                located.push('\\');
                located.push(character);
            }
            _ => located.push(character),
        }
    }
    let is_plain = !located.split('/').any(|name| name == "..");
    is_plain.then_some(located)
}

fn push(list: &mut Vec<String>, value: Option<String>) {
    if let Some(value) = value
        && list.len() < 256
        && !list.contains(&value)
    {
        list.push(value);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::host::FixedClock;

    fn put(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn read(root: &Path) -> WebConfig {
        WebConfig::read(&Host::at(root, FixedClock(bundle::time::Instant(0))))
    }

    #[test]
    fn a_site_that_is_enabled_by_a_link_is_read() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "etc/nginx/nginx.conf", "http { include /etc/nginx/sites-enabled/*; }\n");
        put(root.path(), "etc/nginx/sites-available/shop", "server { server_name shop; root /srv/shop; }\n");
        std::fs::create_dir_all(root.path().join("etc/nginx/sites-enabled")).unwrap();
        let link = root.path().join("etc/nginx/sites-enabled/shop");
        std::os::unix::fs::symlink("/etc/nginx/sites-available/shop", link).unwrap();
        let config = read(root.path());
        assert!(config.sites.iter().any(|site| site.roots == ["/srv/shop"]), "{config:?}");
    }

    #[test]
    fn apache_is_read_through_includes_and_variables() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "etc/apache2/envvars", "export APACHE_LOG_DIR=/var/log/apache2$SUFFIX\n");
        put(
            root.path(),
            "etc/apache2/apache2.conf",
            "# ServerRoot\nErrorLog ${APACHE_LOG_DIR}/error.log\nIncludeOptional sites-enabled/*.conf\nInclude missing.conf\n",
        );
        put(
            root.path(),
            "etc/apache2/sites-enabled/a.conf",
            "Define site shop\n<VirtualHost *:80>\n ServerName ${site}.example\n ServerAlias www.example \\\n  other.example\n DocumentRoot \"/srv/shop/public\"\n CustomLog ${APACHE_LOG_DIR}/shop.log combined\n customlog \"|/usr/bin/rotatelogs /var/log/shop.%Y%m 86400\" common\n</VirtualHost>\n",
        );
        let config = read(root.path());
        let shop = config.sites.iter().find(|site| !site.names.is_empty()).unwrap();
        assert_eq!(shop.names, ["shop.example", "www.example", "other.example"]);
        assert_eq!((shop.config.as_str(), shop.line), ("/etc/apache2/sites-enabled/a.conf", 2));
        assert_eq!(shop.roots, ["/srv/shop/public"]);
        assert_eq!(shop.access_logs, ["/var/log/apache2/shop.log", "/var/log/shop.*"]);
        assert!(config.sites.iter().any(|site| site.error_logs == ["/var/log/apache2/error.log"]));
        assert_eq!(
            config.missed.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(),
            ["/etc/apache2/missing.conf"]
        );
    }

    #[test]
    fn nginx_is_read_by_its_blocks() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            "etc/nginx/nginx.conf",
            "http { access_log /var/log/nginx/access.log; log_format x '{;'; include conf.d/*.conf;\n}",
        );
        put(
            root.path(),
            "etc/nginx/conf.d/a.conf",
            "# server {\nserver {\n  server_name a.example b.example;\n  root /srv/a;\n  error_log logs/e.log warn;\n  access_log off;\n  location /x { alias \"/srv/x\"; access_log /var/log/nginx/$host.log main; }\n}\n",
        );
        let config = read(root.path());
        let site = config.sites.iter().find(|site| !site.names.is_empty()).unwrap();
        assert_eq!((site.names.clone(), site.line), (vec!["a.example".to_owned(), "b.example".to_owned()], 2));
        assert_eq!(site.roots, ["/srv/a", "/srv/x"]);
        assert_eq!(site.access_logs, ["/var/log/nginx/*.log"]);
        assert_eq!(site.error_logs, ["/etc/nginx/logs/e.log"]);
        assert!(config.sites.iter().any(|site| site.access_logs == ["/var/log/nginx/access.log"]));
    }

    #[test]
    fn lighttpd_and_caddy_are_read() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            "etc/lighttpd/lighttpd.conf",
            "server.document-root = \"/srv/l\"\naccesslog.filename = \"/var/log/lighttpd/access.log\"\n",
        );
        put(
            root.path(),
            "etc/caddy/Caddyfile",
            "c.example, d.example {\n\troot * /srv/c\n\tlog {\n\t\toutput file /var/log/caddy/c.log {\n\t\t}\n\t}\n}\n",
        );
        let config = read(root.path());
        let of = |server: &str| config.sites.iter().find(|site| site.server == server).unwrap().clone();
        assert_eq!(of("lighttpd").roots, ["/srv/l"]);
        assert_eq!(of("lighttpd").access_logs, ["/var/log/lighttpd/access.log"]);
        assert_eq!(
            (of("caddy").names, of("caddy").roots),
            (vec!["c.example".to_owned(), "d.example".to_owned()], vec!["/srv/c".to_owned()])
        );
        assert_eq!(of("caddy").access_logs, ["/var/log/caddy/c.log"]);
    }

    #[test]
    fn a_configuration_that_includes_itself_ends() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "etc/nginx/nginx.conf", "include nginx.conf; server { root /a; } } } {{{ \"");
        put(root.path(), "etc/apache2/apache2.conf", "Include *.conf\n<VirtualHost\nDocumentRoot\n</VirtualHost>\n");
        let config = read(root.path());
        assert!(config.missed.iter().any(|(_, why)| why.contains("deep")));
        assert_eq!(located("/etc", "../../x"), None);
        assert_eq!(located("/etc/nginx", "logs/$host-{1}.log").unwrap(), "/etc/nginx/logs/*-\\{1\\}.log");
    }
}
