//! "The examined host is disturbed as little as is possible": no access time moves.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use harness::{Lab, is_root};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

/// 2001-09-09: before anything else, so that every kind of atime mount would move it.
const LONG_AGO: i64 = 1_000_000_000;

fn set_long_ago(path: &Path) {
    let ago = Timespec { tv_sec: LONG_AGO, tv_nsec: 0 };
    let times = Timestamps { last_access: ago, last_modification: Timespec { tv_sec: LONG_AGO + 9, tv_nsec: 0 } };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn accessed(path: &Path) -> i64 {
    fs::symlink_metadata(path).unwrap().atime()
}

#[test]
fn of_files_links_and_folders() {
    let lab = Lab::new();
    let tree = lab.tree();
    let file = lab.plant("folder/file", "content");
    let long = lab.plant("folder/long", vec![7; 2 << 20]);
    let link = tree.join("folder/link");
    std::os::unix::fs::symlink("file", &link).unwrap();
    let empty = tree.join("empty");
    fs::create_dir(&empty).unwrap();
    let control = [lab.plant("../control/file", "content"), lab.path("control/link"), lab.path("control")];
    std::os::unix::fs::symlink("file", &control[1]).unwrap();
    let mut watched: Vec<PathBuf> = vec![file, long];
    // Without the right to clone mounts O_NOATIME is all there is, and it does not reach links and folders.
    if is_root() {
        watched.extend([link, empty, tree.join("folder"), tree]);
    } else {
        harness::is_root_or_skipped("access times of links and folders");
    }
    for path in watched.iter().chain(&control) {
        set_long_ago(path);
    }
    // What an ordinary reader does to them: if nothing moves here, nothing is proven there.
    fs::read(&control[0]).unwrap();
    fs::read_link(&control[1]).unwrap();
    fs::read_dir(&control[2]).unwrap().count();
    for path in &control {
        assert_ne!(accessed(path), LONG_AGO, "the file system of {} keeps no access times", path.display());
    }
    let sealed = lab.collect(lab.tree_profile("")).sealed();
    let got = sealed.told["coverage"][0]["got"].as_u64().unwrap();
    assert!(got >= 5, "too little was read to prove anything: {}", sealed.told);
    for path in &watched {
        assert_eq!(accessed(path), LONG_AGO, "the access time of {} moved", path.display());
    }
}
