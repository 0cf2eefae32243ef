//! A site's triage rules: a folder of files like those that are shipped, which override them entry by entry.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::anyhow;
use triage::{Mistakes, Rules, SiteFile};
use wire::profile::Text;

use crate::commands::{Failure, INPUT, IO};

/// The most files of a folder.
const FILES_MAX: usize = 64;
/// The most bytes of all of them.
const BYTES_MAX: u64 = 1 << 20;

/// The shipped rules, with those of the folder over them where one is given.
pub fn of(folder: Option<&Path>) -> Result<Cow<'static, Rules>, Failure> {
    match folder {
        None => Rules::shipped().map(Cow::Borrowed).map_err(|mistakes| failure(mistakes, None)),
        Some(folder) => {
            let rules = Rules::with_site(&files(folder)?);
            rules.map(Cow::Owned).map_err(|mistakes| failure(&mistakes, Some(folder)))
        }
    }
}

/// All mistakes in one line: what fails here is another command.
fn failure(Mistakes(mistakes): &Mistakes, folder: Option<&Path>) -> Failure {
    let texts: Vec<String> = mistakes.iter().map(|mistake| mistake.to_string().replace("\n  hint: ", " — ")).collect();
    let failure = Failure::new(INPUT, anyhow!("{}", texts.join("; ")));
    match folder {
        Some(folder) => failure.hint(format!("holdfast triage rules check {} lists them", folder.display())),
        None => failure,
    }
}

/// The YAML files of the folder and of the folders in it, by name. Hidden ones are passed over.
pub fn files(folder: &Path) -> Result<Vec<SiteFile>, Failure> {
    let too_much = |what: String| {
        Failure::new(INPUT, anyhow!("{}: {what}", folder.display()))
            .hint("leave in it what differs from the shipped rules")
    };
    let mut names = Vec::new();
    for name in entries(folder)? {
        if folder.join(&name).is_dir() {
            names.extend(entries(&folder.join(&name))?.into_iter().map(|below| format!("{name}/{below}")));
        } else {
            names.push(name);
        }
    }
    names.retain(|name| Path::new(name).extension().is_some_and(|end| end == "yaml" || end == "yml"));
    if names.len() > FILES_MAX {
        return Err(too_much(format!("{} files, of which {FILES_MAX} are read", names.len())));
    }
    let (mut files, mut left) = (Vec::new(), BYTES_MAX);
    for name in names {
        let path = folder.join(&name);
        let mut yaml = String::new();
        let read = File::open(&path).and_then(|file| file.take(left + 1).read_to_string(&mut yaml));
        let read = read.map_err(|error| unreadable(&path, error))? as u64;
        left = left.checked_sub(read).ok_or_else(|| too_much(format!("more than {BYTES_MAX} bytes")))?;
        files.push(SiteFile { name, text: Text { file: path.display().to_string(), yaml } });
    }
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))?.take(FILES_MAX * 4) {
        let name = entry.map_err(|error| unreadable(folder, error))?.file_name();
        let name = name.into_string().map_err(|name| {
            Failure::new(INPUT, anyhow!("{}: {} is no name of a file of rules", folder.display(), name.display()))
        })?;
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    let error = anyhow::Error::new(error).context(format!("{} cannot be read", path.display()));
    Failure::new(IO, error).hint("give the folder of your site's rules")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_overrides_what_is_shipped() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sources/acme.yaml", "version: '1'\nsource: acme\ndetect: [{ has: [acme] }]\n");
        put("README.md", "not read");
        put(".hidden/x.yaml", "not: read");
        let rules = of(Some(folder.path())).unwrap();
        assert_eq!(rules.sources[0].source, "acme");
        put("taxonomie.yaml", "a: 1");
        let failure = of(Some(folder.path())).unwrap_err();
        assert_eq!(failure.code, INPUT);
        let told = failure.error.to_string();
        assert!(told.contains("taxonomie.yaml") && told.contains("did you mean `taxonomy.yaml`"), "{told}");
    }

    #[test]
    fn the_bounds_hold() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of(Some(&folder.path().join("nowhere"))).unwrap_err().code, IO);
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("taxonomy.yaml", &"#".repeat(1 << 20));
        assert!(files(folder.path()).is_ok());
        put("signals.yaml", "#");
        assert!(files(folder.path()).unwrap_err().error.to_string().contains("bytes"));
        put("taxonomy.yaml", "");
        (0..=FILES_MAX).for_each(|n| put(&format!("x{n}.yaml"), ""));
        assert!(files(folder.path()).unwrap_err().error.to_string().contains("files"));
    }
}
