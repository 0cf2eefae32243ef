//! Synthetic hosts: trees that stand for the disks of a kind of machine, written down in `tests/hosts/*.tree`.
//!
//! A line is a path, then in any order its mode (four octal digits), `-> TARGET` for a symbolic link, and the groups of
//! evidence that it belongs to; a path that ends in `/` is a folder. Lines indented by four blanks are its content.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// A file of a synthetic host.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its path on the host.
    pub path: String,
    /// The groups of evidence that it belongs to.
    pub groups: Vec<String>,
    mode: Option<u32>,
    target: Option<String>,
    content: String,
}

/// A synthetic host.
pub struct SyntheticHost {
    /// `debian`, `rhel`, `alpine` or `kubernetes`.
    pub name: &'static str,
    /// What lies on its disks.
    pub files: Vec<Planned>,
}

const HOSTS: [(&str, &str); 4] = [
    ("debian", include_str!("../hosts/debian.tree")),
    ("rhel", include_str!("../hosts/rhel.tree")),
    ("alpine", include_str!("../hosts/alpine.tree")),
    ("kubernetes", include_str!("../hosts/kubernetes.tree")),
];

/// All synthetic hosts.
pub fn synthetic_hosts() -> Vec<SyntheticHost> {
    HOSTS.iter().map(|(name, text)| SyntheticHost { name, files: read(name, text) }).collect()
}

fn read(name: &str, text: &str) -> Vec<Planned> {
    let mut files: Vec<Planned> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        if let Some(content) = line.strip_prefix("    ") {
            let file = files.last_mut().unwrap_or_else(|| panic!("{name}:{}: content of nothing", number + 1));
            file.content.push_str(content);
            file.content.push('\n');
            continue;
        }
        let mut words = line.split_whitespace();
        let Some(path) = words.next() else { continue };
        assert!(path.starts_with('/'), "{name}:{}: {path} is no path", number + 1);
        let mut file =
            Planned { path: path.to_owned(), groups: Vec::new(), mode: None, target: None, content: String::new() };
        while let Some(word) = words.next() {
            match word {
                "->" => file.target = words.next().map(str::to_owned),
                mode if mode.len() == 4 && mode.bytes().all(|digit| digit.is_ascii_digit()) => {
                    file.mode = Some(u32::from_str_radix(mode, 8).unwrap());
                }
                group => file.groups.push(group.to_owned()),
            }
        }
        files.push(file);
    }
    files
}

impl SyntheticHost {
    /// Makes its tree below `root`.
    pub fn plant(&self, root: &Path) {
        for file in &self.files {
            let path = root.join(file.path.trim_start_matches('/'));
            if file.path.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
                continue;
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match &file.target {
                Some(target) => symlink(target, &path).unwrap(),
                None => fs::write(&path, &file.content).unwrap(),
            }
            if let Some(mode) = file.mode {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    }
}
