//! A bundle into a file, a folder or standard output, with its transport checkpoints beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bundle::name::of_part;
use bundle::write::{Output, PartLimits};
use wire::BundleId;

use crate::run::parts::Outputs;

/// Writes to the medium are at least this long, but for the end of a tier.
const BUFFER_BYTES: usize = 256 << 10;

/// An `allowed_signers` file is read up to here for the line that is to be added.
const SIGNERS_BYTES_MAX: u64 = 1 << 20;

/// Where a person asked for the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file of this name.
    File(PathBuf),
    /// A file in this folder, named after host, time and id.
    Folder(PathBuf),
    /// Standard output.
    Stdout,
}

impl Target {
    /// `-` is standard output; a name that ends in `.zip` or `.zip.age` a file; anything else a folder.
    pub fn parse(text: &str) -> Self {
        match text {
            "-" => Self::Stdout,
            file if file.ends_with(".zip") || file.ends_with(".zip.age") => Self::File(file.into()),
            folder => Self::Folder(folder.into()),
        }
    }

    /// A file's name says whether it is encrypted: every tool goes by it.
    ///
    /// # Errors
    /// What is wrong with the name, in a sentence.
    pub fn fits(&self, is_encrypted: bool) -> Result<(), &'static str> {
        let Self::File(path) = self else { return Ok(()) };
        match (path.extension().is_some_and(|end| end == "age"), is_encrypted) {
            (false, true) => Err("the bundle is encrypted: give it a name that ends in .evidence.zip.age, or a folder"),
            (true, false) => Err("nobody is named to encrypt the bundle to: add --recipient KEY, or leave out .age"),
            _ => Ok(()),
        }
    }
}

/// An output that was opened: nothing of another bundle is ever overwritten.
pub struct Opened {
    /// Takes the bundle.
    pub out: Out,
    /// Takes the transport checkpoints.
    pub sidecar: Box<dyn Write + Send>,
    /// The bundle's file, unless it is standard output.
    pub path: Option<PathBuf>,
    /// The transport checkpoints' file.
    pub stream_path: Option<PathBuf>,
}

/// An output that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be created", path.display())]
pub struct OpenError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl Target {
    /// Where the bundle beside this one goes: into the same folder, or a file that is called after this one's.
    #[must_use]
    pub fn beside(&self) -> Self {
        match self {
            Self::File(path) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let age = if name.ends_with(".age") { ".age" } else { "" };
                let stem = name.trim_end_matches(".age").trim_end_matches(".zip").trim_end_matches(".evidence");
                Self::File(path.with_file_name(format!("{stem}.memory.evidence.zip{age}")))
            }
            other => other.clone(),
        }
    }

    /// The parts of a run after its first, which is called `name`.
    #[must_use]
    pub fn parts(&self, name: &str, limits: PartLimits) -> Parts {
        let limits = (*self != Self::Stdout).then_some(limits);
        Parts { target: self.clone(), name: name.to_owned(), limits, paths: Vec::new() }
    }

    /// Opens the output. `name` is the bundle's name in a folder; `stream` overrides where the transport checkpoints go.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, name: &str, stream: Option<&Path>) -> Result<Opened, OpenError> {
        let path = match self {
            Self::Stdout => None,
            Self::File(path) => Some(path.clone()),
            Self::Folder(folder) => {
                fs::create_dir_all(folder).map_err(|source| OpenError { path: folder.clone(), source })?;
                Some(folder.join(name))
            }
        };
        let beside = path.as_ref().map(|path| {
            let mut beside = path.clone().into_os_string();
            beside.push(".stream.jsonl");
            PathBuf::from(beside)
        });
        let stream_path = stream.map(Path::to_owned).or(beside);
        let sidecar: Box<dyn Write + Send> = match &stream_path {
            Some(path) => Box::new(create(path)?),
            None => Box::new(io::sink()),
        };
        let out = match &path {
            Some(path) => Out::File(BufWriter::with_capacity(BUFFER_BYTES, create(path)?)),
            None => Out::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout())),
        };
        Ok(Opened { out, sidecar, path, stream_path })
    }
}

/// Where the parts of a run go: beside the first one. Standard output takes one bundle.
#[derive(Debug)]
pub struct Parts {
    target: Target,
    name: String,
    limits: Option<PartLimits>,
    /// The files of the parts that were begun.
    pub paths: Vec<PathBuf>,
}

impl Outputs<Out, Box<dyn Write + Send>> for Parts {
    fn limits(&self) -> Option<PartLimits> {
        self.limits
    }

    fn open(&mut self, part: u32, _: BundleId, _: BundleId) -> io::Result<(Out, Box<dyn Write + Send>)> {
        let target = match &self.target {
            Target::File(path) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let age = if name.ends_with(".age") { ".age" } else { "" };
                let stem = name.trim_end_matches(".age").trim_end_matches(".zip").trim_end_matches(".evidence");
                Target::File(path.with_file_name(of_part(&format!("{stem}.evidence.zip{age}"), part)))
            }
            other => other.clone(),
        };
        let opened = target.open(&of_part(&self.name, part), None);
        let opened = opened.map_err(|error| io::Error::new(error.source.kind(), crate::causes::with_causes(&error)))?;
        self.paths.extend(opened.path);
        Ok((opened.out, opened.sidecar))
    }
}

fn create(path: &Path) -> Result<File, OpenError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| OpenError { path: path.to_owned(), source })
}

/// Leaves the line of the agent's own key in `allowed_signers` beside the bundle: it says which key sealed, and is
/// evidence for nobody but those who got it another way.
///
/// # Errors
/// As the file system has them.
pub fn leave_signer(bundle: &Path, line: &str) -> io::Result<PathBuf> {
    let path = bundle.with_file_name("allowed_signers");
    // In a folder that others can write, a link or a FIFO of this name may lie in wait for root.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o644).custom_flags(flags).open(&path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("allowed_signers is no regular file"));
    }
    let mut there = String::new();
    (&file).take(SIGNERS_BYTES_MAX).read_to_string(&mut there)?;
    if !there.lines().any(|known| known == line) {
        writeln!(file, "{line}")?;
    }
    Ok(path)
}

/// The bundle's bytes on their way to the medium.
pub enum Out {
    /// A regular file.
    File(BufWriter<File>),
    /// Standard output.
    Stdout(BufWriter<io::Stdout>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout(stdout) => stdout.write(bytes),
        }
    }

    /// A transport checkpoint follows. Were it on the medium before the bytes that it is signed for, a power cut in
    /// between would look like a bundle that somebody cut back.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => {
                file.flush()?;
                file.get_ref().sync_data()
            }
            Self::Stdout(stdout) => stdout.flush(),
        }
    }
}

impl Output for Out {
    fn make_durable(&mut self) -> io::Result<()> {
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::Folder(folder.path().join("new"));
        let mut opened = target.open("a.evidence.zip", None).unwrap();
        opened.out.write_all(b"x").unwrap();
        opened.out.make_durable().unwrap();
        assert_eq!(fs::read(opened.path.unwrap()).unwrap(), b"x");
        assert!(opened.stream_path.unwrap().ends_with("a.evidence.zip.stream.jsonl"));
        let again = target.open("a.evidence.zip", None);
        assert_eq!(again.err().unwrap().source.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_target_is_told_by_its_name() {
        assert_eq!(Target::parse("-"), Target::Stdout);
        assert_eq!(Target::parse("x.evidence.zip"), Target::File("x.evidence.zip".into()));
        assert_eq!(Target::parse("out"), Target::Folder("out".into()));
        for name in ["a/x.evidence.zip", "a/x.zip"] {
            assert_eq!(Target::parse(name).beside(), Target::File("a/x.memory.evidence.zip".into()));
        }
        assert_eq!(Target::parse("out").beside(), Target::Folder("out".into()));
        let encrypted = Target::parse("a/x.evidence.zip.age");
        assert_eq!(encrypted.beside(), Target::File("a/x.memory.evidence.zip.age".into()));
        assert!(encrypted.fits(true).is_ok() && encrypted.fits(false).is_err());
        assert!(Target::parse("x.zip").fits(true).is_err() && Target::parse("out").fits(true).is_ok());
    }

    #[test]
    fn the_signer_is_left_once() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("a.zip");
        leave_signer(&bundle, "agent:a k1").unwrap();
        leave_signer(&bundle, "agent:a k1").unwrap();
        let path = leave_signer(&bundle, "agent:b k2").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "agent:a k1\nagent:b k2\n");
    }

    #[test]
    fn a_link_or_a_fifo_in_the_signers_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (bundle, place) = (folder.path().join("a.zip"), folder.path().join("allowed_signers"));
        let other = folder.path().join("other");
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, &place).unwrap();
        assert!(leave_signer(&bundle, "agent:a k1").is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
        fs::remove_file(&place).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &place, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(leave_signer(&bundle, "agent:a k1").is_err());
    }
}
