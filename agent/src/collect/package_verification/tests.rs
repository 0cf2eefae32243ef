use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use bundle::time::Instant;
use serde_json::Value;

use super::{Class, PackageVerification, is_below};
use crate::host::{FixedClock, Host};
use crate::run::testing::{assert_keys_sorted, collect, items, rows};

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn mode(root: &Path, path: &str, mode: u32) {
    std::fs::set_permissions(root.join(path), PermissionsExt::from_mode(mode)).unwrap();
}

fn verify(root: &Path) -> Vec<Value> {
    let messages = collect(&PackageVerification::default(), Arc::new(Host::at(root, FixedClock(Instant(0)))));
    assert_keys_sorted(&messages);
    rows(&messages)
}

/// `path: what differs` of every file that differs.
fn differing(rows: &[Value]) -> Vec<String> {
    let files = rows.iter().filter(|row| row["record"] == "package_file");
    files
        .map(|row| {
            let differs: Vec<_> =
                row["differs"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
            format!("{}: {}", row["path"].as_str().unwrap(), differs.join(" "))
        })
        .collect()
}

fn paths(rows: &[Value], record: &str) -> Vec<String> {
    let rows = rows.iter().filter(|row| row["record"] == record);
    rows.map(|row| row["path"].as_str().unwrap().to_owned()).collect()
}

fn summary<'a>(rows: &'a [Value], manager: &str) -> &'a Value {
    rows.iter().find(|row| row["record"] == "verification_summary" && row["manager"] == manager).unwrap()
}

/// A merged `/usr`, a diversion, alternatives, what dpkg was told to leave out: none of it is a difference. A changed
/// program, a changed configuration, a missing library, a link in a program's place: all of them are.
#[test]
fn files_of_dpkg_that_differ() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    let sum = "d41d8cd98f00b204e9800998ecf8427e";
    for folder in ["usr/bin", "usr/lib", "etc", "etc/alternatives", "var/lib/dpkg/info"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("usr/bin/awk", "/etc/alternatives/awk")] {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    write(
        root,
        "var/lib/dpkg/status",
        format!(
            "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nConffiles:\n /etc/a.conf {sum}\n \
             /etc/gone.conf {sum}\n /etc/never newconffile\n\nPackage: dash\nStatus: install ok installed\n\
             Architecture: amd64\nVersion: 2\n\nPackage: left\nStatus: deinstall ok config-files\nVersion: 1\n\
             Conffiles:\n /etc/left {sum}\n"
        ),
    );
    write(root, "var/lib/dpkg/diversions", "/bin/sh\n/bin/sh.distrib\ndash\n");
    write(root, "etc/dpkg/dpkg.cfg.d/x", "path-exclude=/usr/share/doc/*\n");
    let sums =
        ["bin/sh", "bin/ps", "bin/good", "bin/moved", "bin/nowhere", "lib/gone.so", "usr/share/doc/a/x", "usr/share/y"];
    let text = sums.map(|path| format!("{sum}  {path}\n")).concat();
    write(root, "var/lib/dpkg/info/a.md5sums", text);
    let list = "/.\n/bin\n/bin/sh\n/bin/ps\n/bin/good\n/bin/moved\n/bin/nowhere\n/lib/gone.so\n/lib/script\n/usr/share/pam/common-auth\n";
    write(root, "var/lib/dpkg/info/a.list", list);
    write(root, "var/lib/dpkg/info/dash.md5sums", format!("{sum}  bin/sh\n"));
    write(root, "var/lib/dpkg/info/dash.list", "/bin/sh\n");
    for path in ["usr/bin/sh", "usr/bin/sh.distrib", "usr/bin/good", "usr/share/y", "opt/moved"] {
        write(root, path, "");
    }
    std::os::unix::fs::symlink("/opt/moved", root.join("usr/bin/moved")).unwrap();
    std::os::unix::fs::symlink("/not/there", root.join("usr/bin/nowhere")).unwrap();
    write(root, "usr/bin/ps", "#!/bin/sh\nexec /usr/bin/.ps\n");
    write(root, "etc/a.conf", "changed");
    write(root, "etc/ucf.conf", "changed");
    write(root, "var/lib/ucf/hashfile", format!("{sum}  /etc/ucf.conf\n{sum}  /etc/nobody.conf\n"));
    write(root, "var/lib/ucf/registry", "dash \t /etc/ucf.conf\nunknown \t /etc/nobody.conf\n");
    write(root, "usr/share/pam/common-auth", "# as it was\n");
    write(root, "etc/pam.d/common-auth", "# as it was\nauth optional pam_exec.so\n");
    write(root, "usr/bin/.ps", "\x7fELF rest");
    write(root, "usr/lib/security/pam_x.so", "\x7fELF rest");
    write(root, "usr/lib/script", "#!/bin/sh\n");
    write(root, "usr/lib/notes.txt", "text");
    mode(root, "usr/lib/script", 0o755);
    std::os::unix::fs::symlink("/tmp/x", root.join("usr/bin/backdoor")).unwrap();

    let rows = verify(root);
    assert_eq!(
        differing(&rows),
        [
            "/bin/ps: content",
            "/bin/moved: type",
            "/bin/nowhere: type",
            "/lib/gone.so: missing",
            "/etc/pam.d/common-auth: content",
            "/etc/a.conf: content",
            "/etc/ucf.conf: content",
            "/etc/gone.conf: missing"
        ]
    );
    let row = |path: &str| rows.iter().find(|row| row["path"] == path).unwrap();
    let ps = row("/bin/ps");
    assert_eq!((&ps["package"], &ps["expected_digest"]), (&"a".into(), &format!("md5:{sum}").into()));
    assert!(ps["sha256"].is_string() && ps["found_digest"].as_str().unwrap().starts_with("md5:"));
    assert_eq!(
        (&row("/etc/a.conf")["is_config"], &row("/bin/nowhere")["target"]),
        (&true.into(), &"/not/there".into())
    );
    let unowned = ["/usr/bin/.ps", "/usr/bin/backdoor", "/usr/lib/security/pam_x.so"];
    assert_eq!(paths(&rows, "unowned_executable"), unowned);
    let summary = summary(&rows, "dpkg");
    let counts = ["packages", "differed", "missing", "excluded", "differed_config", "unreadable"];
    assert_eq!(counts.map(|name| summary[name].as_u64().unwrap()), [3, 6, 2, 1, 4, 0]);
}

#[test]
fn files_of_rpm_apk_and_pacman_that_differ() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    write(root, "var/lib/rpm/rpmdb.sqlite", include_bytes!("../../host/packages/rpm/rpmdb.sqlite"));
    write(root, "etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    write(root, "etc/group", "root:x:0:\n");
    // fx-tool as it is delivered, but for its mode; of fx-big one file, which is right.
    write(root, "usr/bin/fx", "#!/bin/sh\n");
    mode(root, "usr/bin/fx", 0o755);
    std::os::unix::fs::symlink("elsewhere", root.join("usr/bin/fx-link")).unwrap();
    write(root, "etc/fx/fx.conf", "a=1\n");
    mode(root, "etc/fx/fx.conf", 0o644);
    mode(root, "etc/fx", 0o755);
    write(root, "usr/share/doc/fx/README", "other\n");
    // apk: an empty file that is right, and a link whose text is not what it was.
    let empty = "Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=";
    write(
        root,
        "lib/apk/db/installed",
        format!("P:m\nV:1\nF:opt\nR:empty\nZ:{empty}\nR:link\na:0:0:777\nZ:{empty}\n\n"),
    );
    write(root, "opt/empty", "");
    mode(root, "opt/empty", 0o644);
    std::os::unix::fs::symlink("x", root.join("opt/link")).unwrap();
    // pacman, with an mtree that gzip packed.
    write(root, "var/lib/pacman/local/p-1/desc", "%NAME%\np\n\n%VERSION%\n1\n");
    write(root, "var/lib/pacman/local/p-1/files", "%FILES%\nsrv/\nsrv/x\n");
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let mtree = format!(
        "#mtree\n/set type=file mode=600\n./srv/x size=0 sha256digest={digest}\n./srv/gone mode=755 type=dir\n"
    );
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, mtree.as_bytes()).unwrap();
    write(root, "var/lib/pacman/local/p-1/mtree", packed.finish().unwrap());
    write(root, "srv/x", "");
    mode(root, "srv/x", 0o600);

    let rows = verify(root);
    let found = differing(&rows);
    let is_root = rustix::process::geteuid().is_root();
    let has = |line: &str| found.iter().any(|found| found == line);
    assert!(has("/opt/link: type") && has("/srv/gone: missing"), "{found:?}");
    assert_eq!(found.iter().filter(|line| line.starts_with("/usr/share/fx/")).count(), 60);
    if is_root {
        assert!(has("/usr/bin/fx: mode") && has("/usr/bin/fx-link: link"), "{found:?}");
        assert!(has("/usr/share/doc/fx/README: content"), "{found:?}");
        assert!(
            !found
                .iter()
                .any(|line| line.contains("fx.conf") || line.contains("/opt/empty") || line.contains("/srv/x"))
        );
    }
    let row = rows.iter().find(|row| row["path"] == "/usr/bin/fx").unwrap();
    assert_eq!((&row["expected_mode"], &row["mode"]), (&"4755".into(), &"0100755".into()));
    assert_eq!(summary(&rows, "pacman")["missing"], 1);
}

#[test]
fn without_a_database_nothing_is_said_to_be_unowned() {
    let tree = tempfile::tempdir().unwrap();
    write(tree.path(), "usr/bin/x", "#!/bin/sh\n");
    let messages = collect(&PackageVerification::default(), Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
    assert!(rows(&messages).is_empty());
    let items = items(&messages);
    assert!(items.iter().any(|item| item.reason.as_deref().is_some_and(|why| why.contains("no database"))));
}

#[test]
fn programs_come_first() {
    let class = |path: &str| Class::of(path.as_bytes());
    assert_eq!(["/bin/x", "/usr/sbin/x", "/usr/local/bin/x"].map(class), [Class::Program; 3]);
    assert_eq!(["/lib64/x", "/usr/lib/x", "/usr/libexec/x"].map(class), [Class::Library; 3]);
    assert_eq!((class("/etc/x"), class("/usr/share/x"), class("/")), (Class::Configuration, Class::Rest, Class::Rest));
    assert!(is_below(b"/a/b", b"/a") && is_below(b"/a", b"/a") && is_below(b"/a", b"/") && !is_below(b"/ab", b"/a"));
}
