//! The site's rules of triage: the files in `triage/` of its folder, of the same names as the shipped ones
//! (`severity.yaml`, `recognise/ours.yaml`, `sources/acme.yaml`), which go over those entry by entry.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use triage::SiteFile;
use wire::profile::Text;

/// The folder within the site's.
pub const FOLDER: &str = "triage";
/// The folder with the site's own rules for bundles: Sigma rules, which go over the shipped ones by name.
pub const FINDINGS: &str = "findings";
/// The most files.
pub const FILES_MAX: usize = 64;
/// The most that they hold together.
pub const BYTES_MAX: u64 = 1 << 20;
/// The folders in it.
const FOLDERS: [&str; 2] = ["recognise", "sources"];

/// The files in this folder, in the order of their names; none when it is not there. What begins with a dot is an
/// editor's.
///
/// # Errors
/// What cannot be read, and what is too much.
pub fn read(folder: &Path) -> anyhow::Result<Vec<SiteFile>> {
    let mut names = names(folder, "")?;
    for below in FOLDERS {
        names.extend(self::names(&folder.join(below), &format!("{below}/"))?);
    }
    names.retain(|name| !FOLDERS.contains(&name.as_str()));
    if names.len() > FILES_MAX {
        bail!("{} holds {} files, of which {FILES_MAX} are read", folder.display(), names.len());
    }
    names.sort();
    let (mut files, mut left) = (Vec::with_capacity(names.len()), BYTES_MAX);
    for name in names {
        let path = folder.join(&name);
        let shown = || path.display().to_string();
        let mut yaml = String::new();
        let file = File::open(&path).with_context(shown)?;
        let bytes = file.take(left + 1).read_to_string(&mut yaml).with_context(shown)? as u64;
        left = left
            .checked_sub(bytes)
            .with_context(|| format!("{} holds more than {BYTES_MAX} bytes", folder.display()))?;
        files.push(SiteFile { text: Text { file: format!("{FOLDER}/{name}"), yaml }, name });
    }
    Ok(files)
}

fn names(folder: &Path, prefix: &str) -> anyhow::Result<Vec<String>> {
    let shown = || folder.display().to_string();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(shown)?,
    };
    let mut names = Vec::new();
    for entry in entries.take(4 * FILES_MAX) {
        let name = entry.with_context(shown)?.file_name();
        let name = name.to_str().with_context(|| format!("{} holds a name that is no text", folder.display()))?;
        if !name.starts_with('.') {
            names.push(format!("{prefix}{name}"));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_site_are_read_in_order_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("none")).unwrap().len(), 0);
        fs::create_dir(folder.path().join("recognise")).unwrap();
        for name in ["severity.yaml", "recognise/b.yaml", "recognise/a.yaml", ".severity.yaml.swp"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let files = read(folder.path()).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["recognise/a.yaml", "recognise/b.yaml", "severity.yaml"]);
        assert_eq!(files[0].text.file, "triage/recognise/a.yaml");
        fs::write(folder.path().join("clocks.yaml"), vec![b' '; 1 << 20]).unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("more than 1048576 bytes"));
        fs::remove_file(folder.path().join("clocks.yaml")).unwrap();
        for n in 0..FILES_MAX {
            fs::write(folder.path().join(format!("sources-{n}.yaml")), "").unwrap();
        }
        assert!(read(folder.path()).unwrap_err().to_string().contains("67 files"));
    }
}
