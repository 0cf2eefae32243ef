//! Web servers: their sites, from their own configuration, and the logs that they write there or in the usual places.
//!
//! Rows: `web_site` (one for each site of Apache, nginx, lighttpd and Caddy, with its folders and logs) and `web_request`
//! (requests of a window, as they stand in the logs of requests). Configuration and logs go into the bundle.
//!
//! Known limits: a log in a format of the site's own is taken and not read into rows; the rows of a log come from its
//! last part when it is longer than what may still become rows.

use bundle::item::{Kind, Nanos, Status, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::copy::Copier;
use crate::files::gather::Request as Files;
use crate::files::since::Since;
use crate::files::text_log;
use crate::files::window::Window;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::lines::Line;
use crate::host::meta::Type;
use crate::host::text::{Exact, Text};
use crate::host::walk::Entry;
use crate::host::web_config::{Site, WebConfig};
use crate::host::web_request::Request;
use crate::run::session::{Session, Stopped};

/// Where logs of requests lie when no configuration says so.
const ACCESS: [&str; 6] = [
    "/var/log/{apache2,httpd,nginx,lighttpd,caddy}/**/*access*",
    "/var/log/{apache2,httpd,nginx}/**/*{_log,request_log}*",
    "/{var/log,opt,usr/share,var/lib}/tomcat*{,/logs}/*access_log*",
    "/usr/local/{apache,apache2,nginx}/logs/*access*",
    "/usr/local/apache/domlogs/**",
    "/opt/lampp/logs/*access*",
];
/// Other logs of web servers.
const OTHER: [&str; 6] = [
    "/var/log/{apache2,httpd,nginx,lighttpd,caddy}/**",
    "/var/log/{tomcat*,php*,jetty*}/**",
    "/var/log/php*",
    "/{opt,usr/share,var/lib}/tomcat*/logs/**",
    "/usr/local/{apache,apache2,nginx}/logs/**",
    "/usr/local/cpanel/logs/**",
];
/// Configuration beside what was followed.
const CONFIGURATION: [&str; 3] = [
    "/etc/{apache2,httpd,nginx,lighttpd,caddy,tomcat*,php*}/**",
    "/{opt,usr/share}/tomcat*/conf/*",
    "/usr/local/{apache,apache2,nginx}/conf/**",
];
/// Days that are read when nothing is said.
const DAYS: u64 = 14;
/// Requests when nothing is said.
const REQUESTS_MAX: u64 = 300_000;
/// Of a log at most this much is read, and no more than what may still become rows, by [`LINE_BYTES`].
const FILE_BYTES_MAX: u64 = 256 << 20;
const LINE_BYTES: u64 = 512;
/// The longest value of a row.
const VALUE_BYTES_MAX: usize = 4096;

/// Arguments of `collect: web_logs`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebLogs {
    /// Requests from this moment on, and files that changed since: the last 14 days when nothing is said.
    #[serde(default)]
    since: Option<Since>,
    /// Requests up to this moment.
    #[serde(default)]
    until: Option<Since>,
    /// The most requests that become rows: 300,000 when nothing is said; 0 for files only.
    #[serde(default)]
    requests_max: Option<u64>,
    /// The most bytes of one file: 1 GiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
}

/// A site of a web server.
#[derive(Serialize, JsonSchema)]
struct SiteRow<'a> {
    /// Logs of requests; variables stand as `*`.
    access_logs: &'a [String],
    /// Logs of errors.
    error_logs: &'a [String],
    /// The line on which it begins.
    line: u64,
    /// Names that it answers to; none for what the server does where no site says otherwise.
    names: &'a [String],
    /// The configuration file.
    path: &'a str,
    /// `web_site`.
    record: &'static str,
    /// Folders that it serves.
    roots: &'a [String],
    /// `apache`, `nginx`, `lighttpd`, `caddy`.
    server: &'static str,
}

/// A request.
#[derive(Serialize, JsonSchema)]
struct RequestRow<'a> {
    /// Who asked.
    address: Text<'a>,
    /// Host that was asked, where the log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Text<'a>>,
    /// The line of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// Method; absent when what was sent is no request.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Text<'a>>,
    /// The log.
    path: &'a str,
    /// Version of the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<Text<'a>>,
    /// `web_request`.
    record: &'static str,
    /// Where the client says that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Text<'a>>,
    /// Length of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    response_bytes: Option<u64>,
    /// Status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u64>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<Nanos>,
    /// What was asked for, with its query.
    uri: Text<'a>,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    uri_b64: Option<Exact<'a>>,
    /// User who was logged in, as HTTP knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Text<'a>>,
    /// What the client says that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Text<'a>>,
}

/// What is asked for: the first `access` globs name logs of requests, the last `configuration` ones configuration.
struct Globs {
    all: Vec<Glob>,
    access: usize,
    configuration_from: usize,
}

impl Globs {
    fn new(sites: &[Site]) -> Self {
        let parse = |text: &str| Glob::parse(text).ok();
        // Rotated logs lie beside the log: access.log.1, access.log-20251130.gz.
        let rotated = |log: &String| parse(&format!("{log}*"));
        let mut all: Vec<Glob> = sites.iter().flat_map(|site| &site.access_logs).filter_map(rotated).collect();
        all.sort_by(|a, b| a.text().cmp(b.text()));
        all.dedup_by(|a, b| a.text() == b.text());
        all.extend(ACCESS.iter().filter_map(|text| parse(text)));
        let access = all.len();
        let mut errors: Vec<Glob> = sites.iter().flat_map(|site| &site.error_logs).filter_map(rotated).collect();
        errors.sort_by(|a, b| a.text().cmp(b.text()));
        errors.dedup_by(|a, b| a.text() == b.text());
        all.append(&mut errors);
        all.extend(OTHER.iter().filter_map(|text| parse(text)));
        let configuration_from = all.len();
        all.extend(CONFIGURATION.iter().filter_map(|text| parse(text)));
        Self { all, access, configuration_from }
    }
}

impl WebLogs {
    fn request<'a>(&self, paths: &'a [Glob], is_log: bool) -> Files<'a> {
        let since = self.since.unwrap_or(Since::Ago(DAYS * 86_400));
        Files {
            changed_since: is_log.then_some(since),
            file_bytes_max: self.file_bytes_max.map(|size| size.0),
            ..Files::of(paths)
        }
    }
}

impl Collect for WebLogs {
    const NAME: &'static str = "web_logs";
    const TIER: Tier = Tier::Logs;
    const SUMMARY: &'static str =
        "Sites of web servers from their configuration, their logs, and requests of a window.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let config = WebConfig::read(session.host());
        for (path, why) in &config.missed {
            let item = session.item(Kind::File, path.as_bytes(), "read", Status::Skipped);
            session.note(item.because(format!("included by a web server's configuration: {why}")))?;
        }
        for site in &config.sites {
            session.row(&SiteRow {
                access_logs: &site.access_logs,
                error_logs: &site.error_logs,
                line: site.line,
                names: &site.names,
                path: &site.config,
                record: "web_site",
                roots: &site.roots,
                server: site.server,
            })?;
        }
        let globs = Globs::new(&config.sites);
        let (logs, configuration) = globs.all.split_at(globs.configuration_from);
        let mut copier = Copier::new(session, self.file_bytes_max.map(|size| size.0));
        let mut reading = Reading {
            window: Window::new(self.since, self.until, DAYS, session.now()),
            left: self.requests_max.unwrap_or(REQUESTS_MAX),
            is_limit_told: false,
        };
        self.request(logs, true).each(session, |session, entry, asked| {
            let is_access =
                asked.iter().any(|number| usize::try_from(*number).is_ok_and(|number| number < globs.access));
            let is_error = entry.path.windows(5).any(|name| name == b"error");
            if entry.file_type() == Type::File && is_access && !is_error && self.requests_max != Some(0) {
                reading.read(session, entry)?;
            }
            copier.hand_over(session, entry)
        })?;
        self.request(configuration, false).each(session, |session, entry, _| copier.hand_over(session, entry))
    }

    fn rows() -> Vec<RowType> {
        let source = "httpd's mod_log_config and core, nginx's ngx_http_log_module, lighttpd, Caddyfile";
        vec![
            RowType::of::<RequestRow<'static>>("web_request", source),
            RowType::of::<SiteRow<'static>>("web_site", source),
        ]
    }

    fn plan(&self, host: &Host) -> Plan {
        let globs = Globs::new(&WebConfig::read(host).sites);
        self.request(&globs.all, true).plan(host)
    }
}

struct Reading {
    window: Window,
    left: u64,
    is_limit_told: bool,
}

impl Reading {
    fn read(&mut self, session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
        if self.left == 0 {
            return self.tell_limit(session);
        }
        let (path, _) = shown(entry.path);
        let bytes_max = FILE_BYTES_MAX.min(self.left.saturating_mul(LINE_BYTES).max(1 << 20));
        text_log::read(session, entry, bytes_max, |session, line| {
            let Some(request) = Request::parse(line.bytes) else { return Ok(true) };
            if request.at.is_some_and(|at| !self.window.holds(at)) {
                return Ok(true);
            }
            if self.left == 0 {
                self.tell_limit(session)?;
                return Ok(false);
            }
            self.left -= 1;
            hand_over(session, &path, line, &request)?;
            Ok(true)
        })
    }

    fn tell_limit(&mut self, session: &mut Session) -> Result<(), Stopped> {
        if !std::mem::replace(&mut self.is_limit_told, true) {
            session.limited("requests_max is reached: further requests are only in the files")?;
        }
        Ok(())
    }
}

fn hand_over(session: &mut Session, path: &str, line: Line<'_>, request: &Request) -> Result<(), Stopped> {
    fn cut(value: &[u8]) -> &[u8] {
        value.get(..VALUE_BYTES_MAX).unwrap_or(value)
    }
    let text = |value: &'_ Option<Vec<u8>>| value.as_deref().map(cut).map(<[u8]>::to_vec);
    let [host, method, protocol, referer, user, user_agent] = [
        text(&request.host),
        text(&request.method),
        text(&request.protocol),
        text(&request.referer),
        text(&request.user),
        text(&request.user_agent),
    ];
    let uri = cut(&request.uri);
    session.row(&RequestRow {
        address: Text(cut(&request.address)),
        host: host.as_deref().map(Text),
        line: line.number,
        method: method.as_deref().map(Text),
        path,
        protocol: protocol.as_deref().map(Text),
        record: "web_request",
        referer: referer.as_deref().map(Text),
        response_bytes: request.response_bytes,
        status: request.status,
        time_ns: request.at.map(|at| Nanos(at.0)),
        uri: Text(uri),
        uri_b64: Exact::of(uri),
        user: user.as_deref().map(Text),
        user_agent: user_agent.as_deref().map(Text),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, rows};

    fn put(root: &Path, path: &str, content: &[u8]) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            "etc/nginx/nginx.conf",
            b"http { server { server_name a.example; root /srv/a; access_log /srv/logs/a.access.log; error_log /srv/logs/a.error.log; } include gone.conf; }",
        );
        let line =
            b"192.0.2.7 - - [30/Nov/2025:10:53:20 +0000] \"POST /up\xff.php HTTP/1.1\" 200 512 \"-\" \"curl/8\"\n";
        let old = b"192.0.2.7 - - [30/Oct/2025:10:53:20 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\n";
        put(root.path(), "srv/logs/a.access.log", &[&old[..], line, b"no request\n"].concat());
        put(root.path(), "srv/logs/a.access.log.1", line);
        put(root.path(), "srv/logs/a.error.log", b"2025/11/30 10:53:20 [error] x\n");
        put(
            root.path(),
            "var/log/apache2/other_vhosts_access.log",
            b"www:80 192.0.2.8 - - [30/Nov/2025:10:53:21 +0000] \"GET /x HTTP/1.1\" 404 0 \"-\" \"-\"\n",
        );
        root
    }

    fn run(root: &Path, step: &WebLogs) -> Vec<Message> {
        let now: jiff::Timestamp = "2025-12-01T00:00:00Z".parse().unwrap();
        collect(step, Arc::new(Host::at(root, FixedClock(Instant(now.as_nanosecond())))))
    }

    #[test]
    fn sites_and_requests_become_rows_and_logs_are_taken_from_where_they_are() {
        let root = tree();
        let messages = run(root.path(), &WebLogs::default());
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let site = rows.iter().find(|row| row["record"] == "web_site").unwrap();
        assert_eq!(
            (&site["names"], &site["roots"]),
            (&serde_json::json!(["a.example"]), &serde_json::json!(["/srv/a"]))
        );
        let requests: Vec<_> = rows.iter().filter(|row| row["record"] == "web_request").collect();
        assert_eq!(requests.len(), 3);
        let post = requests.iter().find(|row| row["path"] == "/srv/logs/a.access.log").unwrap();
        assert_eq!((&post["method"], &post["status"], &post["line"]), (&"POST".into(), &200.into(), &2.into()));
        assert!(post["uri_b64"].is_string() && post["time_ns"] == "1764500000000000000");
        assert!(requests.iter().any(|row| row["host"] == "www:80"));
        let taken: Vec<_> = messages
            .iter()
            .filter_map(|message| match message {
                Message::Whole(item, _) => Some(String::from_utf8_lossy(&item.path).into_owned()),
                _ => None,
            })
            .collect();
        for path in
            ["/srv/logs/a.access.log", "/srv/logs/a.access.log.1", "/srv/logs/a.error.log", "/etc/nginx/nginx.conf"]
        {
            assert!(taken.iter().any(|taken| taken == path), "{path} in {taken:?}");
        }
    }

    #[test]
    fn the_limit_of_requests_is_told() {
        let root = tree();
        let cut = run(root.path(), &WebLogs { requests_max: Some(1), ..WebLogs::default() });
        assert_eq!(rows(&cut).iter().filter(|row| row["record"] == "web_request").count(), 1);
        assert_eq!(cut.iter().filter(|message| matches!(message, Message::Limited(_))).count(), 1);
        let none = run(root.path(), &WebLogs { requests_max: Some(0), ..WebLogs::default() });
        assert_eq!(rows(&none).iter().filter(|row| row["record"] == "web_request").count(), 0);
    }
}
