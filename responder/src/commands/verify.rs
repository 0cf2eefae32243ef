//! `holdfast verify`: was this bundle changed, how far does it go, and who sealed it?
//!
//! Exit codes: 0 sealed and trusted; 1 tampered with; 3 partial, its signer trusted; 4 consistent, but nobody here
//! vouches for the signer; 64 usage; 65 no bundle, encrypted, or nothing in it is signed; 74 reading or writing failed.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bundle::sign::AllowedSigners;
use bundle::verify::{Against, NotVerified, Report, Sidecar, State, Trust, Verified, check};

use wire::Sha256;

use super::{Failure, INPUT, IO, USAGE};
use crate::extract::extract;
use crate::last_receipt::LastReceipt;
use crate::server_key::server_key;
use receipts::{Held, Marked, Receipts};

mod receipts;
mod show;

/// Check that nobody changed an evidence bundle, and who sealed it.
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 sealed and trusted, 1 tampered with, 3 partial and trusted, 4 consistent but \
    signer unknown, 64 usage, 65 no bundle or nothing verifiable, 74 input or output failed.")]
pub struct Verify {
    /// The bundle, or `-` for standard input.
    bundle: PathBuf,
    /// Keys that you trust: an OpenSSH allowed_signers file. The one that lies beside a bundle is never taken by itself.
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
    /// The transport checkpoints; by default BUNDLE.stream.jsonl, where it exists.
    #[arg(long, value_name = "FILE")]
    stream: Option<PathBuf>,
    /// The server's receipts; by default BUNDLE.receipts.jsonl, where it exists and the server's key is known.
    #[arg(long, value_name = "FILE")]
    receipts: Option<PathBuf>,
    /// The server's key, or a file that holds it; by default that of your login.
    #[arg(long, value_name = "KEY")]
    server_key: Option<String>,
    /// Write the verified entries here; the folder must be empty or not there.
    #[arg(long, value_name = "DIR")]
    extract: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is printed: the facts, and where the trust comes from.
struct Outcome<'a> {
    report: &'a Report,
    verdict: &'static str,
    signers: Option<&'a Path>,
    sidecar: Option<&'a Path>,
    extracted: Option<(u64, &'a Path)>,
    held: Option<&'a Held>,
    last_receipt: Option<LastReceipt>,
}

impl Verify {
    /// Verifies what was just downloaded, with what came with it.
    pub fn of_download(bundle: PathBuf, signers: PathBuf, json: bool) -> Self {
        Self { bundle, signers: Some(signers), stream: None, receipts: None, server_key: None, extract: None, json }
    }

    /// Verifies, extracts where that was asked for, prints. Returns the exit code.
    pub fn run(&self) -> Result<u8, Failure> {
        let is_stdin = self.bundle.as_os_str() == "-";
        if is_stdin && self.extract.is_some() {
            return Err(Failure::new(USAGE, anyhow!("--extract reads the bundle twice, which standard input cannot"))
                .hint("save it to a file first"));
        }
        let signers = self.signers.as_deref().map(read_signers).transpose()?;
        let beside = self.stream.clone().or_else(|| beside(&self.bundle).filter(|path| !is_stdin && path.exists()));
        let sidecar = beside.as_deref().map(read_sidecar).transpose()?;
        let against = Against { signers: signers.as_ref(), sidecar: sidecar.as_ref() };
        let receipts = self.receipts(is_stdin)?;
        let marks = receipts.as_ref().map(Receipts::marks).unwrap_or_default();
        let (checked, found) = if is_stdin {
            check_marked(io::stdin().lock(), marks, against)
        } else {
            check_marked(self.open()?, marks, against)
        };
        let held = |report: &Report| match &receipts {
            Some(receipts) => receipts.judge(report.header.as_ref().map(|header| header.bundle), report.bytes, &found),
            None => Ok(None),
        };
        let server = server_key(self.server_key.as_deref())?;
        let last = |report: &Report| LastReceipt::of(report.header.as_ref()?, server.as_ref());
        let outcome = |report, verdict, extracted, held| Outcome {
            last_receipt: last(report),
            report,
            verdict,
            signers: self.signers.as_deref(),
            sidecar: beside.as_deref(),
            extracted,
            held,
        };
        let contradicted = |held: &Option<Held>| held.as_ref().is_some_and(|held| held.finding.is_some());
        match checked {
            Ok(verified) => {
                let held = held(verified.report())?;
                let (verdict, code) = if contradicted(&held) { ("tampered", 1) } else { verdict(&verified) };
                let extracted = match &self.extract {
                    Some(dir) if code != 1 => Some((extract(&verified, self.open()?, dir)?, dir.as_path())),
                    _ => None,
                };
                self.show(&outcome(verified.report(), verdict, extracted, held.as_ref()), code)
            }
            Err(NotVerified::Rejected(report)) => {
                let held = held(&report)?;
                self.show(&outcome(&report, "tampered", None, held.as_ref()), 1)
            }
            Err(NotVerified::Unverified(report)) => {
                let held = held(&report)?;
                let (verdict, code) = if contradicted(&held) { ("tampered", 1) } else { ("unverified", INPUT) };
                self.show(&outcome(&report, verdict, None, held.as_ref()), code)
            }
            Err(other) => Err(self.refused(other)),
        }
    }

    /// The receipts that were given, or those beside the bundle, when the server's key is known.
    fn receipts(&self, is_stdin: bool) -> Result<Option<Receipts>, Failure> {
        let key = server_key(self.server_key.as_deref())?;
        match (&self.receipts, key) {
            (Some(path), Some(key)) => Receipts::read(path, &key).map(Some),
            (Some(_), None) => Err(Failure::new(USAGE, anyhow!("receipts are worth what the server's key is"))
                .hint("give it with --server-key KEY, or log in to the server")),
            (None, Some(key)) if !is_stdin => {
                let path = with_suffix(&self.bundle, ".receipts.jsonl").filter(|path| path.exists());
                // An empty one says that there was none.
                let path = path.filter(|path| path.metadata().is_ok_and(|file| file.len() > 0));
                path.map(|path| Receipts::read(&path, &key)).transpose()
            }
            (None, _) => Ok(None),
        }
    }

    fn show(&self, outcome: &Outcome, code: u8) -> Result<u8, Failure> {
        let mut stdout = io::stdout().lock();
        let shown = if self.json { show::json(&mut stdout, outcome) } else { show::text(&mut stdout, outcome) };
        // A reader that has seen enough (`| head`) does not change the verdict.
        match shown {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(IO, error)),
            _ => Ok(code),
        }
    }

    fn open(&self) -> Result<impl Read + use<>, Failure> {
        open(&self.bundle)
    }

    fn refused(&self, error: NotVerified) -> Failure {
        refused(&self.bundle, error)
    }
}

/// Why there is nothing to verify, and what to do.
pub fn refused(bundle: &Path, error: NotVerified) -> Failure {
    let name = bundle.display().to_string();
    let (code, hint) = match &error {
        NotVerified::Encrypted => (INPUT, "decrypt it first: age -d -i KEY BUNDLE.age > BUNDLE, then verify BUNDLE"),
        NotVerified::Unsupported(_) => (INPUT, "verify it with the version of holdfast that knows it"),
        NotVerified::Io(_) => (IO, "copy it to a medium that can be read, and verify the copy"),
        _ => (INPUT, "give the .evidence.zip as it came from the agent or the server"),
    };
    Failure { code, error: anyhow::Error::new(error).context(name), hint: Some(hint.to_owned()) }
}

fn verdict(verified: &Verified) -> (&'static str, u8) {
    match (verified.state(), verified.trust()) {
        (State::Sealed, Trust::Trusted { .. }) => ("sealed", 0),
        (State::Sealed, Trust::Unknown) => ("sealed", 4),
        (_, Trust::Trusted { .. }) => ("partial", 3),
        (_, Trust::Unknown) => ("partial", 4),
    }
}

/// Verifies, and takes the digests at the marks on the way.
fn check_marked(
    source: impl Read,
    marks: VecDeque<u64>,
    against: Against,
) -> (Result<Verified, NotVerified>, Vec<(u64, Sha256)>) {
    let mut marked = Marked::new(source, marks);
    let checked = check(&mut marked, against);
    (checked, marked.found().to_vec())
}

/// `<bundle>.stream.jsonl`.
pub fn beside(bundle: &Path) -> Option<PathBuf> {
    with_suffix(bundle, ".stream.jsonl")
}

fn with_suffix(bundle: &Path, suffix: &str) -> Option<PathBuf> {
    let mut name = OsString::from(bundle.file_name()?);
    name.push(suffix);
    Some(bundle.with_file_name(name))
}

/// The file, or why it cannot be read.
pub fn open(path: &Path) -> Result<File, Failure> {
    File::open(path)
        .with_context(|| format!("{} cannot be opened", path.display()))
        .map_err(|error| Failure::new(IO, error))
}

/// The keys that somebody trusts.
pub fn read_signers(path: &Path) -> Result<AllowedSigners, Failure> {
    /// More keys than any fleet has.
    const BYTES_MAX: u64 = 16 << 20;
    let mut text = String::new();
    open(path)?
        .take(BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("{} cannot be read", path.display()))
        .map_err(|error| Failure::new(IO, error))?;
    AllowedSigners::parse(&text).map_err(|error| {
        let error = anyhow::Error::new(error).context(path.display().to_string());
        Failure::new(INPUT, error)
            .hint("each line: PRINCIPALS [OPTIONS] ssh-ed25519 KEY; see ALLOWED SIGNERS in ssh-keygen(1)")
    })
}

/// The transport checkpoints.
pub fn read_sidecar(path: &Path) -> Result<Sidecar, Failure> {
    Sidecar::read(open(path)?)
        .with_context(|| format!("{} cannot be read", path.display()))
        .map_err(|error| Failure::new(IO, error))
}
