use std::path::Path;
use std::sync::Arc;

use bundle::time::Instant;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::changes::{LOGS, Log, Row, parse};
use super::sources::{Format, PLACES as SOURCES, parse as sources};
use super::{FILES, Packages, languages};
use crate::host::glob::Glob;
use crate::host::{FixedClock, Host};
use crate::run::testing::{assert_keys_sorted, collect, items, rows};

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn of(rows: &[Value], record: &str) -> Vec<Value> {
    rows.iter().filter(|row| row["record"] == record).cloned().collect()
}

#[test]
fn every_manager_of_a_tree_is_read() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    write(root, "etc/passwd", "root:x:0:0::/root:/bin/sh\na:x:1:1::/home/a:/bin/sh\n");
    write(
        root,
        "var/lib/dpkg/status",
        "Package: dash\nStatus: install ok installed\nVersion: 0.5\nArchitecture: amd64\n",
    );
    write(root, "var/lib/dpkg/info/dash.list", "/.\n/bin/dash\n");
    write(root, "var/lib/rpm/rpmdb.sqlite", include_bytes!("../../host/packages/rpm/rpmdb.sqlite"));
    write(root, "lib/apk/db/installed", "P:musl\nV:1.2\nA:x86_64\n\n");
    write(root, "var/lib/pacman/local/bash-5-1/desc", "%NAME%\nbash\n\n%VERSION%\n5-1\n");
    let pip = "usr/lib/python3/dist-packages/evil-1.0.dist-info";
    write(root, &format!("{pip}/METADATA"), "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n\nName: body\n");
    write(root, &format!("{pip}/INSTALLER"), "pip\n");
    write(root, &format!("{pip}/direct_url.json"), r#"{"url": "https://example.org/evil.whl"}"#);
    let npm = r#"{"name": "@x/y", "version": "2", "author": {"name": "A"}, "scripts": {"postinstall": "node x", "test": "y"}}"#;
    write(root, "usr/lib/node_modules/@x/y/package.json", npm);
    write(
        root,
        "var/lib/gems/3.1.0/specifications/rake-13.0.gemspec",
        "Gem::Specification.new do |s|\n  s.name = \"rake\".freeze\n  s.version = \"13.0\"\n",
    );
    write(root, "home/a/.cargo/.crates.toml", "[v1]\n\"ripgrep 14.1.0 (registry+https://x)\" = [\"rg\"]\n");
    let snap = r#"{"data": {"snaps": {"core": {"current": "x1", "active": true, "channel": "stable",
        "sequence": [{"revision": "x1"}], "last-refresh-time": "2026-01-01T00:00:00Z"}}}}"#;
    write(root, "var/lib/snapd/state.json", snap);
    let deployed = "var/lib/flatpak/app/org.x.Y/x86_64/stable";
    write(root, &format!("{deployed}/abc/deploy"), "flathub\0rest");
    std::os::unix::fs::symlink("abc", root.join(deployed).join("active")).unwrap();
    write(root, "etc/apt/sources.list", "deb [trusted=yes] http://user:secret@example.org/debian stable main\n");

    let messages = collect(&Packages::default(), Arc::new(Host::at(root, FixedClock(Instant(0)))));
    assert_keys_sorted(&messages);
    let rows = rows(&messages);
    let packages = of(&rows, "package");
    let shown: Vec<String> = packages
        .iter()
        .map(|row| format!("{} {} {}", row["manager"], row["name"], row["version"]).replace('"', ""))
        .collect();
    assert_eq!(
        shown,
        [
            "dpkg dash 0.5",
            "rpm fx-tool 2:1.4-3",
            "rpm fx-big 1-1",
            "apk musl 1.2",
            "pacman bash 5-1",
            "cargo ripgrep 14.1.0",
            "npm @x/y 2",
            "pip evil 1.0",
            "gem rake 13.0",
            "snap core x1",
            "flatpak org.x.Y stable abc"
        ]
    );
    let named = |name: &str| packages.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(named("evil")["installer"], "pip");
    assert_eq!(named("evil")["source"], "https://example.org/evil.whl");
    assert_eq!(named("@x/y")["install_scripts"], serde_json::json!(["postinstall: node x"]));
    assert_eq!(
        (&named("core")["is_signed"], &named("core")["installed_at_ns"]),
        (&false.into(), &"1767225600000000000".into())
    );
    assert_eq!(named("org.x.Y")["source"], "flathub");
    assert!(named("dash")["installed_at_ns"].is_string());
    let source = &of(&rows, "package_source")[0];
    assert_eq!((&source["checks_signatures"], &source["is_encrypted"]), (&false.into(), &false.into()));
    assert_eq!(source["url"], "http://…@example.org/debian");
    assert!(items(&messages).iter().any(|item| item.path == b"/etc/apt/sources.list" && item.meta.is_some()));
}

#[test]
fn logs_tell_what_was_done() {
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let one = |log, line: &str| match parse(log, line.as_bytes(), &zone).pop() {
        Some(Row::Change(row)) => row,
        other => panic!("{line}: {other:?}"),
    };
    let row = one(Log::Dpkg, "2026-01-02 03:04:05 upgrade bash:amd64 5.1 5.2");
    assert_eq!(
        (row.name.as_str(), row.old_version.as_deref(), row.version.as_deref()),
        ("bash", Some("5.1"), Some("5.2"))
    );
    assert_eq!(row.at_ns.unwrap().0, 1_767_315_845_000_000_000);
    let row = one(Log::Dpkg, "2026-01-02 03:04:05 remove bash:amd64 5.1 <none>");
    assert_eq!((row.old_version, row.version.as_deref()), (None, Some("5.1")));
    let row = one(Log::Dnf, "2026-01-02T03:04:05+0200 SUBDEBUG Installed: python3-libs-3.9.1-2.el9.x86_64");
    assert_eq!(
        (row.name.as_str(), row.version.as_deref(), row.arch.as_deref()),
        ("python3-libs", Some("3.9.1-2.el9"), Some("x86_64"))
    );
    assert_eq!(row.at_ns.unwrap().0, 1_767_315_845_000_000_000);
    let row = one(Log::Pacman, "[2026-01-02T03:04:05+0200] [ALPM] upgraded bash (5.1-1 -> 5.2-1)");
    assert_eq!((row.action.as_str(), row.version.as_deref(), row.at_ns.is_some()), ("upgraded", Some("5.2-1"), true));
    let row = one(Log::Zypp, "2026-01-02 03:04:05|install|vim|9.1-1|x86_64|root@h|repo|abc|");
    assert_eq!((row.name.as_str(), row.arch.as_deref()), ("vim", Some("x86_64")));
    let apt = "\nStart-Date: 2026-01-02  03:04:05\nCommandline: apt install x\nRequested-By: pat (1000)\n\
        Install: x:amd64 (1.0), y:amd64 (2.0, automatic)\nRemove: z:all (3)\nEnd-Date: x\n";
    let rows = parse(Log::Apt, apt.as_bytes(), &zone);
    let [Row::Transaction(row)] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row.packages, ["Install x:amd64 (1.0)", "Install y:amd64 (2.0, automatic)", "Remove z:all (3)"]);
    assert_eq!((row.user.as_deref(), row.at_ns.is_some()), (Some("pat (1000)"), true));
    for log in [Log::Apt, Log::Dnf, Log::Dpkg, Log::Pacman, Log::Zypp] {
        let odd = "\u{fffd}\n2026\n2026-01-02 03:04:05 \n[\n[x] [ALPM] installed a ()\n||||\nx: y\nÄÄÄÄÄÄÄÄÄÄ upgrade a b c\n: : :\n";
        assert!(parse(log, odd.as_bytes(), &zone).len() <= 1, "{log:?}");
    }
}

#[test]
fn sources_of_all_formats() {
    let apt = "Types: deb\nURIs: https://a http://b\n# comment\nSuites: s1 s2\nComponents: main\nSigned-By: /k.gpg\nEnabled: no\n";
    let rows = sources(Format::AptParagraphs, apt.as_bytes());
    assert_eq!((rows.len(), rows[0].is_enabled, rows[1].is_encrypted), (2, false, Some(false)));
    assert_eq!((rows[0].name.as_deref(), rows[0].signed_by.as_deref()), (Some("deb s1 s2 main"), Some("/k.gpg")));
    let repo =
        "[base]\nname=x\nbaseurl=https://a/\ngpgcheck=0\nenabled=1\n[off]\nmetalink=http://b\nenabled=0\ngpgcheck=1\n";
    let rows = sources(Format::Ini("rpm"), repo.as_bytes());
    assert_eq!((rows[0].checks_signatures, rows[0].is_enabled), (Some(false), true));
    assert_eq!((rows[1].checks_signatures, rows[1].is_enabled), (Some(true), false));
    let apk = sources(Format::Lines("apk"), b"# x\nhttps://dl/main\n@edge http://dl/edge\n");
    assert_eq!((apk[1].name.as_deref(), apk[1].url.as_deref()), (Some("@edge"), Some("http://dl/edge")));
    assert_eq!(sources(Format::AptLines, b"debx\ndeb\ndeb [a=b\n#deb x y\n"), []);
}

#[test]
fn every_glob_of_ours_is_one() {
    let places = languages::PLACES.iter().map(|(_, glob)| *glob);
    let globs =
        places.chain(LOGS.iter().map(|(glob, _)| *glob)).chain(SOURCES.iter().map(|(glob, _)| *glob)).chain(FILES);
    for glob in globs {
        Glob::parse(glob).unwrap();
    }
}

#[test]
fn this_host_has_packages_or_none_of_the_databases() {
    let messages = collect(&Packages { files: false, ..Packages::default() }, Arc::new(Host::live()));
    let rows = rows(&messages);
    let has_database = Path::new("/var/lib/dpkg/status").exists() || Path::new("/usr/lib/sysimage/rpm").exists();
    assert_eq!(
        of(&rows, "package").iter().any(|row| row["manager"] == "dpkg" || row["manager"] == "rpm"),
        has_database
    );
    assert_keys_sorted(&messages);
}
