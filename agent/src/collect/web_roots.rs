//! What web servers serve: scripts in the folders that their configuration names, and in the usual ones.
//!
//! Rows: `web_file`, one for each script (by its ending, or because it begins like one whatever its ending says), each
//! `.htaccess`, `.user.ini` and `web.config`, with digest, owner, times, and which telling words it holds. What changed
//! in the window, what is short and holds such words, and what sets how the server behaves goes into the bundle as well.

use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::{ByteSize, Tier};

use super::rows::RowType;
use super::temp_files::Rows;
use super::{Collect, Failure, Plan};
use crate::files::copy::Copier;
use crate::files::file_row::{FileRow, Look};
use crate::files::gather::Request;
use crate::files::since::{Since, is_changed_since};
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::meta::Type;
use crate::host::web_config::WebConfig;
use crate::run::session::Session;

/// Where sites lie when no configuration says so.
const USUAL: [&str; 9] = [
    "/var/www",
    "/srv/{www,http,ftp}",
    "/usr/share/nginx/html",
    "/usr/local/{www,apache2/htdocs,nginx/html}",
    "/opt/lampp/htdocs",
    "/{opt,usr/share,var/lib}/tomcat*/webapps",
    "/usr/local/cpanel/base",
    "~/{public_html,www,htdocs}",
    "/usr/lib/cgi-bin",
];
/// Endings of what a web server runs.
const SCRIPTS: [&str; 26] = [
    "asa", "ascx", "ashx", "asmx", "asp", "aspx", "cfm", "cgi", "inc", "jsp", "jspf", "jspx", "jsw", "phar", "php",
    "php3", "php4", "php5", "php7", "pht", "phtml", "phps", "pl", "py", "shtml", "war",
];
/// Endings of what is a script below a folder of CGI programs only.
const CGI_ONLY: [&str; 4] = ["js", "sh", "rb", "lua"];
/// Files that say how the server behaves.
const SETTINGS: [&[u8]; 4] = [b".htaccess", b".htpasswd", b".user.ini", b"web.config"];
/// Days that count as recent when nothing is said.
const DAYS: u64 = 30;
const FILES_MAX: u64 = 200_000;
/// Of what changed in the window.
const CONTENT_BYTES_MAX: u64 = 4 << 20;
/// Of what holds telling words.
const SMALL_BYTES_MAX: u64 = 64 << 10;
const DIGEST_BYTES_MAX: u64 = 64 << 20;

/// Arguments of `collect: web_roots`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebRoots {
    /// Further folders to look at, with all below them.
    #[serde(default)]
    paths: Vec<Glob>,
    /// What to leave out, with all below it.
    #[serde(default)]
    exclude: Vec<Glob>,
    /// What changed since goes into the bundle: the last 30 days when nothing is said.
    #[serde(default)]
    since: Option<Since>,
    /// Of what changed, files of at most this many bytes: 4 MiB when nothing is said.
    #[serde(default)]
    content_bytes_max: Option<ByteSize>,
    /// The most rows: 200,000 when nothing is said.
    #[serde(default)]
    files_max: Option<u64>,
}

impl WebRoots {
    fn globs(&self, host: &Host, session: Option<&mut Session>) -> Result<Vec<Glob>, Failure> {
        let config = WebConfig::read(host);
        let mut texts: Vec<String> = config.sites.into_iter().flat_map(|site| site.roots).collect();
        texts.extend(USUAL.iter().map(|text| (*text).to_owned()));
        texts.extend(self.paths.iter().map(|glob| glob.text().to_owned()));
        texts.sort();
        texts.dedup();
        let is_all = |text: &String| text.trim_matches(['/', '*']).is_empty();
        if texts.iter().any(is_all)
            && let Some(session) = session
        {
            let item = session.item(Kind::File, "/", "walk", Status::Skipped);
            session.note(item.because("a site serves the whole host: its folder is left out here"))?;
        }
        let below = |text: String| Glob::parse(&format!("{}/**", text.trim_end_matches('/'))).ok();
        Ok(texts.into_iter().filter(|text| !is_all(text)).filter_map(below).collect())
    }

    fn request<'a>(&'a self, paths: &'a [Glob]) -> Request<'a> {
        Request { exclude: &self.exclude, types: &[Type::File], ..Request::of(paths) }
    }
}

impl Collect for WebRoots {
    const NAME: &'static str = "web_roots";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str = "Scripts that web servers serve: facts, digests, telling words, and what changed.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = std::sync::Arc::clone(session.host());
        let globs = self.globs(&host, Some(session))?;
        let since = self.since.unwrap_or(Since::Ago(DAYS * 86_400)).moment(session.now());
        let content_bytes_max = self.content_bytes_max.map_or(CONTENT_BYTES_MAX, |size| size.0);
        let mut copier = Copier::new(session, None);
        let mut rows = Rows { left: self.files_max.unwrap_or(FILES_MAX), is_limit_told: false };
        self.request(&globs).each(session, |session, entry, asked| {
            if asked.is_empty() || entry.file_type() != Type::File {
                return Ok(());
            }
            let mut row = FileRow::of("web_file", entry);
            let is_setting = SETTINGS.contains(&entry.name.to_bytes());
            let is_recent = is_changed_since(entry.stat, since);
            let is_script = is_script(row.extension.as_deref(), entry.path) || row.is_executable;
            // A picture that begins as a script does is one: looked at when it is new, for every file would be the site.
            if !is_script && !is_setting && !is_recent {
                return Ok(());
            }
            row.look(
                session,
                entry,
                Look { digest_bytes_max: DIGEST_BYTES_MAX, is_text_searched: is_script || is_setting },
            )?;
            let is_disguised = !is_script && row.is_program();
            if !(is_script || is_setting || is_disguised) || !rows.take(session)? {
                return Ok(());
            }
            session.row(&row)?;
            let has_words = row.tokens.as_ref().is_some_and(|tokens| !tokens.is_empty());
            let is_short = row.size_bytes <= SMALL_BYTES_MAX && (has_words || is_setting);
            let is_wanted = is_short || (is_recent && row.size_bytes <= content_bytes_max);
            if is_wanted { copier.hand_over(session, entry) } else { Ok(()) }
        })
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<FileRow>("web_file", "statx(2); the web servers' own configuration")]
    }

    fn plan(&self, host: &Host) -> Plan {
        let globs = self.globs(host, None).unwrap_or_default();
        let plan = self.request(&globs).plan(host);
        // Only scripts are read: how much that is, is not known before.
        Plan { bytes: None, ..plan }
    }
}

fn is_script(extension: Option<&str>, path: &[u8]) -> bool {
    let is_cgi = path.windows(3).any(|name| name == b"cgi");
    extension.is_some_and(|extension| SCRIPTS.contains(&extension) || (is_cgi && CGI_ONLY.contains(&extension)))
        // `shell.php.jpg` and `shell.php5.bak`: servers run those by any of their endings when they are told to.
        || path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| {
            let name = name.to_ascii_lowercase();
            [&b".php."[..], b".phtml.", b".jsp.", b".asp.", b".aspx."].iter().any(|middle| name.windows(middle.len()).any(|at| at == *middle))
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

    const NOW: Instant = Instant(1_764_500_000 * 1_000_000_000);

    fn put(root: &Path, path: &str, content: &[u8], is_new: bool) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        std::fs::write(path, content).unwrap();
        let days = if is_new { 1 } else { 400 };
        let at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_764_500_000 - days * 86_400);
        file.set_modified(at).unwrap();
    }

    #[test]
    fn scripts_are_found_where_the_configuration_says() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path();
        put(at, "etc/apache2/apache2.conf", b"<VirtualHost *:80>\nDocumentRoot /srv/shop\n</VirtualHost>\n<VirtualHost *:81>\nDocumentRoot /\n</VirtualHost>\n", true);
        put(at, "srv/shop/up/shell.php", b"<?php @eval(base64_decode($_POST['x']));", true);
        put(at, "srv/shop/page.php", b"<?php echo 1;", false);
        put(at, "srv/shop/logo.png", b"<?php system($_GET[1]);", true);
        put(at, "srv/shop/real.png", b"\x89PNG", true);
        put(at, "srv/shop/.htaccess", b"php_value auto_prepend_file x.php\n", false);
        put(
            at,
            "var/www/html/index.jsp",
            b"<%@ page %><% Runtime.getRuntime().exec(request.getParameter(\"c\")); %>",
            false,
        );
        put(at, "etc/x.php", b"<?php eval(1);", true);
        let messages = collect(&WebRoots::default(), Arc::new(Host::at(at, FixedClock(NOW))));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let tokens = |path: &str| {
            rows.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("{path}"))["tokens"].clone()
        };
        assert_eq!(tokens("/srv/shop/up/shell.php"), serde_json::json!(["base64_decode", "eval", "$_POST"]));
        assert_eq!(tokens("/srv/shop/page.php"), serde_json::json!([]));
        assert_eq!(tokens("/srv/shop/logo.png"), serde_json::json!(["system", "$_GET"]));
        assert_eq!(tokens("/srv/shop/.htaccess"), serde_json::json!(["auto_prepend_file"]));
        assert_eq!(
            tokens("/var/www/html/index.jsp"),
            serde_json::json!(["exec", "getParameter", "Runtime.getRuntime"])
        );
        assert_eq!(rows.len(), 5, "neither the real picture nor what no site serves");
        let taken = messages.iter().filter(|message| matches!(message, Message::Whole(..))).count();
        assert!(taken >= 4, "{taken}");
        let is_told = messages.iter().any(|message| matches!(message, Message::Item(item) if item.path == b"/"));
        assert!(is_told, "the site that serves everything");
    }

    #[test]
    fn endings_tell_scripts() {
        assert!(is_script(Some("php"), b"/a.php") && is_script(Some("jpg"), b"/x/shell.php.jpg"));
        assert!(is_script(Some("sh"), b"/usr/lib/cgi-bin/x.sh") && !is_script(Some("sh"), b"/var/www/x.sh"));
        assert!(!is_script(Some("txt"), b"/a.txt") && !is_script(None, b"/a"));
    }
}
