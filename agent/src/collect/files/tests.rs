//! What the walk, the views and the copying must get past, tried through the collector.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bundle::item::{NewItem, Status};
use bundle::time::Instant;
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps};
use rustix::mount::{MountFlags, MountPropagationFlags};
use serde_json::json;

use super::*;
use crate::files::content::GROWTH_BYTES_MAX;
use crate::files::copy::Copier;
use crate::host::FixedClock;
use crate::host::views::Method;
use crate::host::walk::{Asked, Entry, Missed, Visitor, walk};
use crate::run::limits::{Limiter, Rates};
use crate::run::session::{Allowed, Current, Ended, Message, Seen, Stopped};
use crate::run::testing::{collect, items};

const LONG_AGO: i64 = 86_400 * 365;

fn files(arguments: serde_json::Value) -> Files {
    wire::profile::arguments(arguments).unwrap()
}

fn at(tree: &Path) -> Arc<Host> {
    Arc::new(Host::at(tree, FixedClock(Instant(0))))
}

fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Content by path, as the bundle would get it; `None` for an item without.
fn contents(messages: &[Message]) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let mut contents = BTreeMap::new();
    let mut begun = Vec::new();
    for message in messages {
        match message {
            Message::Item(item) => drop(contents.insert(item.path.clone(), None)),
            Message::Whole(item, content) => drop(contents.insert(item.path.clone(), Some(content.clone()))),
            Message::Begin(item) => {
                begun = item.path.clone();
                contents.insert(begun.clone(), Some(Vec::new()));
            }
            Message::Chunk(chunk) => contents.get_mut(&begun).unwrap().as_mut().unwrap().extend(chunk),
            _ => {}
        }
    }
    contents
}

fn item(messages: &[Message], path: &[u8]) -> NewItem {
    let found = items(messages).into_iter().find(|item| item.path == path);
    found.unwrap_or_else(|| panic!("no item at {}", String::from_utf8_lossy(path)))
}

fn ended(messages: &[Message]) -> &Ended {
    let ends: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            Message::End(ended) => Some(ended),
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), 1);
    ends[0]
}

/// A session with limits of its own; `met` sees each message before the collector can hand over the next one.
fn collect_with(
    host: Arc<Host>,
    content_bytes_max: u64,
    run: impl FnOnce(&mut Session) + Send,
    mut met: impl FnMut(&Message),
) -> Vec<Message> {
    let (sender, receiver) = mpsc::sync_channel(0);
    let limiter = Limiter::new(Rates::default(), content_bytes_max, Arc::new(AtomicU64::new(0)), u64::MAX);
    let stop = Arc::new(AtomicBool::new(false));
    let mut session = Session::new(host, sender, Arc::new(Seen::default()), limiter, stop, Duration::from_mins(5));
    std::thread::scope(|scope| {
        scope.spawn(move || run(&mut session));
        receiver.iter().inspect(|message| met(message)).collect()
    })
}

fn access_times(folder: &Path) -> BTreeMap<PathBuf, i64> {
    let mut times = BTreeMap::from([(folder.to_owned(), folder.symlink_metadata().unwrap().atime())]);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            times.extend(access_times(&path));
        } else {
            times.insert(path, meta.atime());
        }
    }
    times
}

fn age(paths: impl Iterator<Item = PathBuf>) {
    let old = Timespec { tv_sec: LONG_AGO, tv_nsec: 0 };
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let times = Timestamps { last_access: old, last_modification: now };
    for path in paths {
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// A tree with a file, a large file, a folder in a folder and links, on a file system that does keep access times.
fn aged_tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    write(tree.path().join("deep/er/small"), "x");
    write(tree.path().join("large"), vec![7; 3 << 20]);
    symlink("deep/er", tree.path().join("link")).unwrap();
    symlink("nowhere", tree.path().join("dangling")).unwrap();
    age(access_times(tree.path()).into_keys());
    tree
}

#[test]
fn no_access_time_moves_through_a_clone() {
    let tree = aged_tree();
    let host = Arc::new(Host::live());
    let text = tree.path().to_str().unwrap();
    let step = files(json!({ "paths": [format!("{text}/**"), format!("{text}/link/*")] }));
    let messages = collect(&step, Arc::clone(&host));
    assert_eq!(contents(&messages)[tree.path().join("large").as_os_str().as_bytes()].as_ref().unwrap().len(), 3 << 20);
    let report = host.views_report();
    if report.iter().any(|view| view.method == Method::Plain) {
        assert!(report.iter().all(|view| view.reason.is_some() == (view.method == Method::Plain)));
        return;
    }
    // The listing by this test comes after it and moves those of the folders: each is looked at before it is listed.
    let moved: Vec<_> = access_times(tree.path()).into_iter().filter(|(_, at)| *at != LONG_AGO).collect();
    assert_eq!(moved, []);
    // The file system does move them, or nothing was shown.
    std::fs::read(tree.path().join("deep/er/small")).unwrap();
    assert_ne!(tree.path().join("deep/er/small").metadata().unwrap().atime(), LONG_AGO);
}

#[test]
fn without_a_clone_only_those_of_links_move_and_that_is_said() {
    let tree = aged_tree();
    let host = at(tree.path());
    collect(&files(json!({ "paths": ["/**"] })), Arc::clone(&host));
    let links = [tree.path().join("dangling"), tree.path().join("link")];
    let moved = access_times(tree.path()).into_iter().filter(|(_, at)| *at != LONG_AGO).map(|(path, _)| path);
    assert_eq!(moved.collect::<Vec<_>>(), links);
    let report = &host.views_report()[0];
    assert_eq!((report.method, report.atime_may_move, report.links_read), (Method::Plain, true, 2));
    assert_eq!(report.opened_with_atime, 0);
}

#[test]
fn odd_names_come_as_bytes_and_nothing_loops() {
    let tree = tempfile::tempdir().unwrap();
    let names: [&[u8]; 7] =
        [b"bad\xffutf8", b"new\nline", b" trailing ", b"-rf", b"esc\x1b[31mred", b".. /in", b"...\t"];
    for name in names {
        write(tree.path().join(std::ffi::OsStr::from_bytes(name)), name);
    }
    symlink(".", tree.path().join("loop")).unwrap();
    symlink("../../../../../../etc/shadow", tree.path().join("traverse")).unwrap();
    let messages = collect(&files(json!({ "paths": ["/**"] })), at(tree.path()));
    let contents = contents(&messages);
    for name in names {
        assert_eq!(contents[&[b"/", name].concat()].as_deref(), Some(name));
    }
    assert_eq!(contents.len(), names.len() + 3, "the folder `.. ` and two links, not followed");
    let traverse = item(&messages, b"/traverse");
    assert_eq!(traverse.meta.unwrap().target.as_deref(), Some("../../../../../../etc/shadow"));
}

#[test]
fn a_path_longer_than_path_max_is_walked_and_129_folders_are_not() {
    let tree = tempfile::tempdir().unwrap();
    let deepen = |name: &str, times: usize| {
        let mut folder = OwnedFd::from(std::fs::File::open(tree.path()).unwrap());
        for _ in 0..times {
            rustix::fs::mkdirat(&folder, name, Mode::RWXU).unwrap();
            folder = rustix::fs::openat(&folder, name, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        rustix::fs::openat(&folder, "leaf", flags, Mode::RWXU).unwrap();
    };
    // The root is one of the open folders.
    deepen(&"n".repeat(250), 40);
    deepen("d", 127);
    deepen("e", 128);
    let messages = collect(&files(json!({ "paths": ["/**/leaf"] })), at(tree.path()));
    let lengths: Vec<_> = items(&messages).iter().map(|item| (item.path.len(), item.status)).collect();
    assert_eq!(lengths, [(259, Status::Ok), (256, Status::Skipped), (40 * 251 + 5, Status::Ok)]);
    let reason = items(&messages)[1].reason.clone().unwrap();
    assert_eq!(reason, "deeper than 128 folders");
    remove_deep(tree.path());
}

/// remove_dir_all works by descriptors on Linux, but the temporary folder's own drop is by path.
fn remove_deep(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_no_regular_file_is_never_opened() {
    let tree = tempfile::tempdir().unwrap();
    rustix::fs::mkfifoat(CWD, tree.path().join("fifo"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    std::fs::create_dir(tree.path().join("folder")).unwrap();
    let messages = collect(&files(json!({ "paths": ["/*"] })), at(tree.path()));
    for (path, file_type) in [("/fifo", "fifo"), ("/socket", "socket"), ("/folder", "dir")] {
        let item = item(&messages, path.as_bytes());
        assert_eq!((item.status, item.meta.unwrap().file_type.as_str()), (Status::MetaOnly, file_type));
    }
    let only = collect(&files(json!({ "paths": ["/*"], "types": ["socket"] })), at(tree.path()));
    assert_eq!(items(&only).len(), 1);
}

#[test]
fn of_a_long_sparse_file_only_the_data_is_read() {
    let tree = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(tree.path().join("sparse")).unwrap();
    let size = 1 << 40;
    rustix::fs::ftruncate(&file, size).unwrap();
    rustix::io::pwrite(&file, &[1; 4096], 1 << 30).unwrap();
    rustix::io::pwrite(&file, b"end", size - 3).unwrap();
    drop(file);
    let messages = collect(&files(json!({ "paths": ["/sparse"] })), at(tree.path()));
    let meta = item(&messages, b"/sparse").meta.unwrap();
    assert_eq!((meta.size, meta.sparse), (size, true));
    let extents = meta.extents.unwrap();
    assert_eq!(extents.len(), 2);
    let content = contents(&messages)[b"/sparse".as_slice()].clone().unwrap();
    assert_eq!(content.len() as u64, extents.iter().map(|(_, length)| length).sum::<u64>());
    assert!(content.starts_with(&[1; 4096]) && content.ends_with(b"end"));
    assert_eq!(ended(&messages).status, Status::Ok);
}

#[test]
fn a_growing_file_ends_16_mib_past_its_size() {
    for (grows, status, taken) in [
        (100, Status::Grew, 100),
        (GROWTH_BYTES_MAX, Status::Grew, GROWTH_BYTES_MAX),
        (GROWTH_BYTES_MAX + 1, Status::Grew, GROWTH_BYTES_MAX),
    ] {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().join("log");
        write(&path, vec![1; 2 << 20]);
        let run = |session: &mut Session| files(json!({ "paths": ["/log"] })).collect(session).unwrap();
        let messages = collect_with(at(tree.path()), u64::MAX, run, |message| {
            if matches!(message, Message::Begin(_)) {
                let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
                std::io::Write::write_all(&mut file, &vec![2; usize::try_from(grows).unwrap()]).unwrap();
            }
        });
        let ended = ended(&messages);
        assert_eq!(ended.status, status);
        assert_eq!(ended.meta_after.as_ref().unwrap().size, (2 << 20) + grows);
        assert_eq!(contents(&messages)[b"/log".as_slice()].as_ref().unwrap().len() as u64, (2 << 20) + taken);
    }
}

#[test]
fn a_file_that_is_cut_short_under_the_reading_says_so() {
    let tree = tempfile::tempdir().unwrap();
    let path = tree.path().join("log");
    write(&path, vec![1; 2 << 20]);
    let run = |session: &mut Session| files(json!({ "paths": ["/log"] })).collect(session).unwrap();
    let messages = collect_with(at(tree.path()), u64::MAX, run, |message| {
        if matches!(message, Message::Begin(_)) {
            std::fs::File::options().write(true).open(&path).unwrap().set_len((1 << 20) + 10).unwrap();
        }
    });
    assert_eq!(ended(&messages).status, Status::Shrank);
    assert_eq!(contents(&messages)[b"/log".as_slice()].as_ref().unwrap().len(), (1 << 20) + 10);
}

#[test]
fn hard_links_and_repeated_paths_are_read_once() {
    let tree = tempfile::tempdir().unwrap();
    write(tree.path().join("a"), "content");
    std::fs::hard_link(tree.path().join("a"), tree.path().join("b")).unwrap();
    let messages = collect(&files(json!({ "paths": ["/a", "/*", "/{a,b}"] })), at(tree.path()));
    let contents = contents(&messages);
    assert_eq!(items(&messages).len(), 2);
    assert_eq!(contents[b"/a".as_slice()].as_deref(), Some(b"content".as_slice()));
    assert_eq!(contents[b"/b".as_slice()], None);
    let (a, b) = (item(&messages, b"/a"), item(&messages, b"/b"));
    assert!(a.inode.is_some() && a.inode == b.inode && b.status == Status::Ok);
}

#[test]
fn what_this_process_writes_is_not_taken() {
    let tree = tempfile::tempdir().unwrap();
    let mut bundle = std::fs::File::create(tree.path().join("bundle.zip")).unwrap();
    std::io::Write::write_all(&mut bundle, b"so far").unwrap();
    let read_only = std::fs::File::open("/etc/passwd").unwrap();
    write(tree.path().join("other"), "x");
    let messages = collect(&files(json!({ "paths": ["/*"] })), at(tree.path()));
    drop(read_only);
    let own = item(&messages, b"/bundle.zip");
    assert_eq!((own.status, own.reason.as_deref()), (Status::Skipped, Some("this run writes it")));
    assert_eq!(contents(&messages)[b"/other".as_slice()].as_deref(), Some(b"x".as_slice()));
}

#[test]
fn asked_paths_go_through_links_within_the_host() {
    let tree = tempfile::tempdir().unwrap();
    let etc = tree.path().join("etc");
    write(tree.path().join("run/x.pid"), "1");
    write(etc.join("rc.d/rc3.d/S01x"), "rc");
    write(tree.path().join("usr/lib/os-release"), "ID=x");
    std::fs::create_dir(tree.path().join("var")).unwrap();
    symlink("/run", tree.path().join("var/run")).unwrap();
    symlink("rc.d/rc3.d", etc.join("rc3.d")).unwrap();
    symlink("../usr/./lib/../lib/os-release", etc.join("os-release")).unwrap();
    symlink("loop-b", etc.join("loop-a")).unwrap();
    symlink("/etc/loop-a", etc.join("loop-b")).unwrap();
    symlink("/../../..", etc.join("up")).unwrap();
    let paths = ["/var/run/*", "/etc/rc?.d/*", "/etc/os-release", "/etc/loop-a/x", "/etc/up/usr/lib/*", "/no/such"];
    let messages = collect(&files(json!({ "paths": paths })), at(tree.path()));
    let contents = contents(&messages);
    assert_eq!(contents[b"/run/x.pid".as_slice()].as_deref(), Some(b"1".as_slice()));
    assert_eq!(contents[b"/etc/rc.d/rc3.d/S01x".as_slice()].as_deref(), Some(b"rc".as_slice()));
    assert_eq!(contents[b"/usr/lib/os-release".as_slice()].as_deref(), Some(b"ID=x".as_slice()));
    for link in ["/var/run", "/etc/rc3.d", "/etc/os-release", "/etc/loop-a", "/etc/loop-b", "/etc/up"] {
        assert!(item(&messages, link.as_bytes()).meta.unwrap().target.is_some(), "{link}");
    }
    let missing = item(&messages, b"/no/such");
    assert_eq!((missing.status, missing.reason.as_deref()), (Status::Skipped, Some("nothing matches")));
    let looped = item(&messages, b"/etc/loop-a/x");
    assert_eq!(looped.reason.as_deref(), Some("nothing matches"));
}

#[test]
fn forty_links_are_followed_and_41_are_not() {
    let tree = tempfile::tempdir().unwrap();
    write(tree.path().join("l0"), "end");
    for n in 0..41 {
        symlink(format!("l{n}"), tree.path().join(format!("l{}", n + 1))).unwrap();
    }
    let follow = |path: &str| contents(&collect(&files(json!({ "paths": [path] })), at(tree.path())));
    assert_eq!(follow("/l40")[b"/l0".as_slice()].as_deref(), Some(b"end".as_slice()));
    assert!(!follow("/l41").contains_key(b"/l0".as_slice()));
}

#[test]
fn secrets_come_as_digests() {
    let tree = tempfile::tempdir().unwrap();
    write(tree.path().join("etc/shadow"), "root:$6$x:1::::::\n");
    write(tree.path().join("etc/passwd"), "a:x:1:1::/home/a:/bin/sh\n");
    write(tree.path().join("home/a/.ssh/id_rsa"), "key");
    write(tree.path().join("home/a/.ssh/id_rsa.pub"), "pub");
    write(tree.path().join("srv/tls.pem"), "-----BEGIN RSA PRIVATE KEY-----");
    write(tree.path().join("srv/cert.pem"), "-----BEGIN CERTIFICATE-----");
    std::fs::hard_link(tree.path().join("etc/shadow"), tree.path().join("srv/notes.txt")).unwrap();
    let step = files(json!({ "paths": ["/etc/*", "/srv/*", "~/.ssh/*"] }));
    let messages = collect(&step, at(tree.path()));
    let contents = contents(&messages);
    for (path, class) in [
        ("/etc/shadow", "password_hashes"),
        ("/srv/notes.txt", "password_hashes"),
        ("/home/a/.ssh/id_rsa", "private_keys"),
        ("/srv/tls.pem", "private_keys"),
    ] {
        let item = item(&messages, path.as_bytes());
        assert_eq!(item.status, Status::Redacted, "{path}");
        assert_eq!(item.reason.unwrap(), format!("sensitive: {class}"));
        let bytes = std::fs::read(tree.path().join(&path[1..])).unwrap();
        assert_eq!((item.sha256, item.size), (Some(wire::Sha256::of(&bytes)), Some(bytes.len() as u64)));
        assert_eq!(contents[path.as_bytes()], None);
    }
    assert!(contents[b"/home/a/.ssh/id_rsa.pub".as_slice()].is_some());
    assert!(contents[b"/srv/cert.pem".as_slice()].is_some() && contents[b"/etc/passwd".as_slice()].is_some());
}

#[test]
fn approved_content_is_taken_and_no_other() {
    use wire::profile::{Limits, Sensitive};
    let tree = tempfile::tempdir().unwrap();
    write(tree.path().join("etc/shadow"), "root:*:");
    write(tree.path().join("etc/ssl/private/x.key"), "secret");
    let under = |of_step| {
        let run = move |session: &mut Session| {
            session.bind(&Limits::default(), of_step, Current::default());
            let allowed = Allowed { sensitive: vec![Sensitive::PasswordHashes], environment: None };
            session.allow(allowed.into());
            files(json!({ "paths": ["/etc/**"] })).collect(session).unwrap();
        };
        collect_with(at(tree.path()), u64::MAX, run, |_| {})
    };
    let approved = under(None);
    assert_eq!(contents(&approved)[b"/etc/shadow".as_slice()].as_deref(), Some(b"root:*:".as_slice()));
    let reason = item(&approved, b"/etc/shadow").reason;
    assert_eq!(reason.as_deref(), Some("sensitive: password_hashes, approved by the order"));
    assert_eq!(item(&approved, b"/etc/ssl/private/x.key").status, Status::Redacted);
    // A file of two classes needs both approved.
    let of_two = under(Some(Sensitive::Personal));
    assert_eq!(item(&of_two, b"/etc/shadow").reason.as_deref(), Some("sensitive: personal"));
}

#[test]
fn what_the_profile_says_of_a_step_holds() {
    use wire::profile::{Limits, Sensitive};
    let tree = tempfile::tempdir().unwrap();
    write(tree.path().join("a"), "dea");
    write(tree.path().join("b"), "dear");
    let under = |sensitive| {
        let run = move |session: &mut Session| {
            let limits = Limits { file_bytes_max: Some(ByteSize(3)), ..Limits::default() };
            session.bind(&limits, sensitive, Current::default());
            files(json!({ "paths": ["/*"] })).collect(session).unwrap();
        };
        collect_with(at(tree.path()), u64::MAX, run, |_| {})
    };
    let strict = under(Some(Sensitive::Personal));
    assert_eq!(item(&strict, b"/a").reason.as_deref(), Some("sensitive: personal"));
    let b = item(&strict, b"/b");
    assert_eq!(b.reason.as_deref(), Some("sensitive: personal; longer than file_bytes_max, so not hashed"));
    assert!(contents(&strict).values().all(Option::is_none));
    let open = under(None);
    assert_eq!((item(&open, b"/a").status, item(&open, b"/b").status), (Status::Ok, Status::Truncated));
    assert_eq!(contents(&open)[b"/b".as_slice()].as_deref(), Some(b"dea".as_slice()));
}

#[test]
fn limits_cut_and_skip_and_say_so() {
    let tree = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        write(tree.path().join(name), vec![0; 2 << 20]);
    }
    write(tree.path().join("empty"), "");
    let run = |session: &mut Session| files(json!({ "paths": ["/*"] })).collect(session).unwrap();
    let messages = collect_with(at(tree.path()), 3 << 20, run, |_| {});
    let contents = contents(&messages);
    let length = |path: &str| contents[path.as_bytes()].as_ref().map(Vec::len);
    assert_eq!(
        [length("/a"), length("/b"), length("/c"), length("/empty")],
        [Some(2 << 20), Some(1 << 20), None, Some(0)]
    );
    assert_eq!(item(&messages, b"/c").status, Status::Skipped);
    let limited = messages.iter().filter(|message| matches!(message, Message::Limited(_)));
    assert_eq!(limited.count(), 1, "said once");
    let at_bound = files(json!({ "paths": ["/a"], "file_bytes_max": 2 << 20 }));
    assert_eq!(ended(&collect(&at_bound, at(tree.path()))).status, Status::Ok);
    let past = files(json!({ "paths": ["/a"], "file_bytes_max": (2 << 20) - 1 }));
    let messages = collect(&past, at(tree.path()));
    assert_eq!(ended(&messages).status, Status::Truncated);
    assert_eq!(ended(&messages).reason.as_deref(), Some("longer than file_bytes_max of 1.9 MiB"));
}

#[test]
fn excluded_and_unchanged_are_left_out() {
    let tree = tempfile::tempdir().unwrap();
    write(tree.path().join("log/new"), "n");
    write(tree.path().join("log/journal/x"), "j");
    write(tree.path().join("log/old.gz"), "o");
    let exclude = json!({ "paths": ["/log/**"], "exclude": ["/log/journal/**", "/log/*.gz"] });
    let messages = collect(&files(exclude), at(tree.path()));
    let paths: Vec<_> = items(&messages).into_iter().map(|item| (item.path, item.status)).collect();
    let journal = b"/log/journal".to_vec();
    let wanted = [(journal.clone(), Status::MetaOnly), (journal, Status::Skipped), (b"/log/new".to_vec(), Status::Ok)];
    assert_eq!(paths, wanted);
    let since = json!({ "paths": ["/log/*"], "changed_since": "2999-01-01" });
    let messages = collect(&files(since), at(tree.path()));
    let only = items(&messages);
    assert_eq!(only.len(), 1);
    assert_eq!(only[0].reason.as_deref(), Some("3 match, none changed since 2999-01-01T00:00:00.000000000Z"));
    let plan = Collect::plan(&files(json!({ "paths": ["/log/**"] })), &at(tree.path()));
    assert_eq!((plan.files, plan.bytes), (Some(3), Some(3)));
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    for (arguments, path, why) in [
        (json!({ "paths": ["/ok", "/etc/[a"] }), "paths[1]", "`[` without `]`"),
        (json!({ "paths": ["etc"] }), "paths[0]", "is not absolute"),
        (json!({ "paths": [], "changed_since": "soon" }), "changed_since", "is no moment"),
        (json!({ "path": [] }), "", "unknown field"),
    ] {
        let error = wire::profile::arguments::<Files>(arguments).unwrap_err();
        assert!(error.message.contains(why), "{error:?}");
        assert!(path.is_empty() || error.path == path, "{error:?}");
    }
}

/// Does something to each object that is found, before the walk or the copying goes on.
struct Meddler<'a, F> {
    session: &'a mut Session,
    copier: Copier,
    meddle: F,
    missed: Vec<(Vec<u8>, Missed)>,
}

impl<F: FnMut(&Entry<'_>)> Visitor for Meddler<'_, F> {
    type Stop = Stopped;
    fn go_on(&mut self, _path: &[u8]) -> Result<(), Stopped> {
        Ok(())
    }
    fn entry(&mut self, entry: &Entry<'_>, _asked: &[u32]) -> Result<(), Stopped> {
        (self.meddle)(entry);
        self.copier.hand_over(self.session, entry)
    }
    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        self.missed.push((path.to_vec(), why));
        Ok(())
    }
}

#[test]
fn what_is_swapped_after_it_was_found_is_not_followed() {
    let tree = tempfile::tempdir().unwrap();
    write(tree.path().join("secret/inside"), "secret");
    write(tree.path().join("in/file"), "f");
    write(tree.path().join("in/folder/x"), "x");
    write(tree.path().join("in/pipe"), "p");
    let host = at(tree.path());
    let inside = tree.path().join("in");
    let run = |session: &mut Session| {
        let copier = Copier::new(session, None);
        let meddle = |entry: &Entry<'_>| match entry.path {
            b"/in/file" => {
                std::fs::remove_file(inside.join("file")).unwrap();
                symlink("../secret/inside", inside.join("file")).unwrap();
            }
            b"/in/folder" => {
                std::fs::remove_dir_all(inside.join("folder")).unwrap();
                symlink("../secret", inside.join("folder")).unwrap();
            }
            b"/in/pipe" => {
                std::fs::remove_file(inside.join("pipe")).unwrap();
                rustix::fs::mkfifoat(CWD, inside.join("pipe"), Mode::RWXU).unwrap();
            }
            _ => {}
        };
        let glob = Glob::parse("/in/**").unwrap();
        let asked = Asked { paths: vec![(0, glob.below(&[]).remove(0))], ..Asked::default() };
        let mut meddler = Meddler { session, copier, meddle, missed: Vec::new() };
        let host = at(tree.path());
        walk(&host, &asked, &mut meddler).unwrap();
        assert_eq!(meddler.missed.len(), 1);
        assert_eq!(meddler.missed[0].0, b"/in/folder");
    };
    let messages = collect_with(host, u64::MAX, run, |_| {});
    assert!(contents(&messages).values().all(|content| content.as_deref() != Some(b"secret")));
    assert_eq!(item(&messages, b"/in/file").errno, Some(rustix::io::Errno::LOOP.raw_os_error()));
    assert_eq!(item(&messages, b"/in/pipe").status, Status::Vanished);
}

/// A mount namespace for this thread alone; `None` without the privilege.
fn unshare() -> Option<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).ok()?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).ok()
}

#[test]
fn mounts_are_crossed_by_the_table_and_what_they_hide_is_seen() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path().to_owned();
    let worker = std::thread::spawn(move || {
        let Some(()) = unshare() else { return };
        let none = MountFlags::empty();
        write(root.join("m/under"), "under");
        write(root.join("plain"), "plain");
        write(root.join("over"), "over");
        rustix::mount::mount("fx", root.join("m"), "tmpfs", none, c"").unwrap();
        write(root.join("m/first"), "first");
        rustix::mount::mount("fx2", root.join("m"), "tmpfs", none, c"").unwrap();
        write(root.join("m/on"), "on");
        std::fs::create_dir(root.join("m/proc")).unwrap();
        rustix::mount::mount("p", root.join("m/proc"), "proc", none, c"").unwrap();
        rustix::mount::mount_bind(root.join("over"), root.join("plain")).unwrap();
        std::fs::create_dir(root.join("hung")).unwrap();
        let fuse = hang(&root.join("hung"));
        let host = Arc::new(Host::live());
        let text = root.to_str().unwrap();
        let messages = collect(&files(json!({ "paths": [format!("{text}/**")] })), Arc::clone(&host));
        let at = |name: &str| root.join(name).into_os_string().into_encoded_bytes();
        let contents = contents(&messages);
        assert_eq!(contents[&at("m/on")].as_deref(), Some(b"on".as_slice()));
        assert_eq!(contents[&at("m/under")].as_deref(), Some(b"under".as_slice()));
        assert_eq!(item(&messages, &at("m/under")).reason.as_deref(), Some("hidden under a mount"));
        assert!(!contents.contains_key(&at("m/first")), "two deep, no way leads there");
        assert!(!contents.contains_key(&at("m/proc/version")));
        let reasons: Vec<_> = items(&messages).into_iter().map(|item| (item.path, item.reason)).collect();
        let proc = "proc is an interface of the kernel, not files".to_owned();
        assert!(reasons.contains(&(at("m/proc"), Some(proc))));
        let plain: Vec<_> = messages
            .iter()
            .filter_map(|message| match message {
                Message::Whole(item, content) if item.path == at("plain") => Some(content.as_slice()),
                _ => None,
            })
            .collect();
        assert_eq!(plain, [b"plain", b"over".as_slice()], "the hidden file, then the one that hides it");
        if fuse.is_some() {
            let hung = "fuse mount is not entered unless named".to_owned();
            assert!(reasons.contains(&(at("hung"), Some(hung))));
        }
        assert!(host.views_report().iter().all(|view| view.method == Method::Clone));
    });
    worker.join().unwrap();
}

/// A FUSE mount whose server never answers, if this machine has FUSE. It lives as long as the descriptor.
fn hang(point: &Path) -> Option<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let device = rustix::fs::open("/dev/fuse", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC, Mode::empty());
    let device = device.ok()?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let options = std::ffi::CString::new(options).unwrap();
    rustix::mount::mount("fxhung", point, "fuse", MountFlags::empty(), options.as_c_str()).ok()?;
    Some(device)
}
