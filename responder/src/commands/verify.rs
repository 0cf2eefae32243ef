//! `holdfast verify`: was this bundle changed, how far does it go, and who sealed it?
//!
//! Exit codes: 0 sealed and trusted; 1 tampered with; 3 partial, its signer trusted; 4 consistent, but nobody here
//! vouches for the signer; 64 usage; 65 no bundle, or nothing in it is signed; 74 reading or writing failed.
//!
//! Of an encrypted bundle the transport checkpoints are verified without a key, over the file as it is. With a key, both
//! that and what is inside, in one pass.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bundle::checkpoint::Layer;
use bundle::encryption::Keys;
use bundle::sign::AllowedSigners;
use bundle::verify::{
    Against, Announced, NotVerified, Report, Sidecar, State, TransportReport, Trust, Verified, check, check_encrypted,
    check_transport, layer_of,
};
use ssh_key::PublicKey;
use wire::{BundleId, Sha256};

use super::{Failure, INPUT, IO, USAGE};
use crate::extract::extract;
use crate::last_receipt::LastReceipt;
use crate::server_key::server_key;
use opened::Plain;
use receipts::{Held, Marked, Receipts};

mod opened;
mod parts;
mod receipts;
mod show;

/// Check that nobody changed an evidence bundle, and who sealed it.
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 sealed and trusted, 1 tampered with, 3 partial and trusted, 4 consistent but \
    signer unknown, 64 usage, 65 no bundle or nothing verifiable, 74 input or output failed.")]
pub struct Verify {
    /// The bundle, or `-` for standard input.
    bundle: PathBuf,
    /// The other parts of its run, in any order: each is verified, and that they follow from one another.
    #[arg(value_name = "PART", conflicts_with_all = ["stream", "receipts", "extract"])]
    parts: Vec<PathBuf>,
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
    /// What opens an encrypted bundle (again for more): a key file of age, or an OpenSSH private key (Ed25519). Without
    /// one, its transport checkpoints alone are verified.
    #[arg(long, value_name = "KEYFILE")]
    identity: Vec<PathBuf>,
    /// Write the verified entries here; the folder must be empty or not there.
    #[arg(long, value_name = "DIR")]
    extract: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The file for what is decrypted.
    #[arg(skip)]
    output: Option<PathBuf>,
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
    /// The file that was decrypted, and how much of it is there.
    opened: Option<(&'a Path, u64)>,
}

/// The same of a file that nobody looked into.
struct Sealed<'a> {
    report: &'a TransportReport,
    verdict: &'static str,
    bundle: &'a Path,
    signers: Option<&'a Path>,
    sidecar: Option<&'a Path>,
    held: Option<&'a Held>,
}

/// What was read of the command line before the bundle.
struct Asked {
    signers: Option<AllowedSigners>,
    beside: Option<PathBuf>,
    sidecar: Option<Sidecar>,
    receipts: Option<Receipts>,
    /// The key that receipts must be by.
    server: Option<PublicKey>,
}

impl Asked {
    fn against(&self) -> Against<'_> {
        Against { signers: self.signers.as_ref(), sidecar: self.sidecar.as_ref() }
    }

    fn held(&self, bundle: Option<BundleId>, bytes: u64, found: &[(u64, Sha256)]) -> Result<Option<Held>, Failure> {
        self.receipts.as_ref().map_or(Ok(None), |receipts| receipts.judge(bundle, bytes, found))
    }
}

fn is_contradicted(held: Option<&Held>) -> bool {
    held.is_some_and(|held| held.finding.is_some())
}

impl Verify {
    /// Verifies what was just downloaded, with what came with it.
    pub fn of_download(bundle: PathBuf, signers: PathBuf, json: bool) -> Self {
        Self {
            bundle,
            parts: Vec::new(),
            signers: Some(signers),
            stream: None,
            receipts: None,
            server_key: None,
            identity: Vec::new(),
            extract: None,
            json,
            output: None,
        }
    }

    /// Verifies an encrypted bundle, and leaves what is in it in `output`.
    pub fn opening(mut self, output: Option<PathBuf>) -> Result<Self, Failure> {
        if self.identity.is_empty() {
            return Err(Failure::new(USAGE, anyhow!("nothing to open it with"))
                .hint("give --identity KEYFILE: a key file of age, or an OpenSSH private key (Ed25519)"));
        }
        self.output = output;
        Ok(self)
    }

    /// Verifies, extracts where that was asked for, prints. Returns the exit code.
    pub fn run(&self) -> Result<u8, Failure> {
        if !self.parts.is_empty() {
            return self.run_parts();
        }
        self.run_one().map(|(code, _)| code)
    }

    /// One bundle by itself. Returns the exit code, and the bundle where it is consistent.
    fn run_one(&self) -> Result<(u8, Option<Verified>), Failure> {
        let is_stdin = self.bundle.as_os_str() == "-";
        if is_stdin && self.extract.is_some() {
            return Err(Failure::new(USAGE, anyhow!("--extract reads the bundle twice, which standard input cannot"))
                .hint("save it to a file first"));
        }
        let beside = self.stream.clone().or_else(|| beside(&self.bundle).filter(|path| !is_stdin && path.exists()));
        let asked = Asked {
            signers: self.signers.as_deref().map(read_signers).transpose()?,
            sidecar: beside.as_deref().map(read_sidecar).transpose()?,
            beside,
            receipts: self.receipts(is_stdin)?,
            server: server_key(self.server_key.as_deref())?,
        };
        let keys = opened::keys(&self.identity)?;
        let marks = asked.receipts.as_ref().map(Receipts::marks).unwrap_or_default();
        let raw: Box<dyn Read> = if is_stdin { Box::new(io::stdin().lock()) } else { Box::new(self.open()?) };
        let mut source = BufReader::new(Marked::new(raw, marks));
        let beginning = source.fill_buf().map_err(|error| self.refused(NotVerified::Io(error)))?;
        let mut plain = Plain::create(None)?;
        let layer = layer_of(beginning);
        let checked = match (layer, &keys) {
            (Layer::Age, None) => return Ok((self.transport(&mut source, &asked, None)?, None)),
            (Layer::Age, Some(keys)) => {
                plain = Plain::create(self.output.as_deref())?;
                check_encrypted(&mut source, keys, asked.against(), &mut plain)
            }
            (Layer::Zip, _) if self.output.is_some() => {
                return Err(Failure::new(INPUT, anyhow!("{} is not encrypted", self.bundle.display()))
                    .hint("holdfast verify checks it as it is"));
            }
            (Layer::Zip, _) => check(&mut source, asked.against()),
        };
        let found = source.get_ref().found();
        match checked {
            Ok(verified) => {
                let code = self.verified(&verified, &asked, found, plain, keys.as_ref())?;
                Ok((code, Some(verified).filter(|_| code != 1)))
            }
            Err(NotVerified::Rejected(report)) => {
                Ok((self.not_verified(&report, &asked, found, ("tampered", 1))?, None))
            }
            Err(NotVerified::Unverified(report)) => {
                Ok((self.not_verified(&report, &asked, found, ("unverified", INPUT))?, None))
            }
            // Somebody may have changed the very line that the key opens.
            Err(other) if layer == Layer::Age && asked.sidecar.is_some() && !is_stdin => {
                let mut again = BufReader::new(Marked::new(Box::new(self.open()?) as Box<dyn Read>, [].into()));
                Ok((self.transport(&mut again, &asked, Some(other))?, None))
            }
            Err(other) => Err(self.refused(other)),
        }
    }

    fn verified(
        &self,
        verified: &Verified,
        asked: &Asked,
        found: &[(u64, Sha256)],
        plain: Plain,
        keys: Option<&Keys>,
    ) -> Result<u8, Failure> {
        let report = verified.report();
        let held = asked.held(Some(verified.header().bundle), report.file_bytes(), found)?;
        if is_contradicted(held.as_ref()) {
            return self.show(&self.outcome(report, "tampered", asked, held.as_ref()), 1);
        }
        let (verdict, code) = verdict(verified.state(), verified.trust());
        let extracted = match (&self.extract, keys.filter(|_| report.envelope.is_some())) {
            (Some(dir), Some(keys)) => {
                Some((extract(verified, opened::plaintext(&self.bundle, keys)?, dir)?, dir.as_path()))
            }
            (Some(dir), None) => Some((extract(verified, self.open()?, dir)?, dir.as_path())),
            (None, _) => None,
        };
        let opened = plain.keep(report)?;
        let opened = opened.as_ref().map(|(path, bytes)| (path.as_path(), *bytes));
        self.show(&Outcome { extracted, opened, ..self.outcome(report, verdict, asked, held.as_ref()) }, code)
    }

    fn not_verified(
        &self,
        report: &Report,
        asked: &Asked,
        found: &[(u64, Sha256)],
        (verdict, code): (&'static str, u8),
    ) -> Result<u8, Failure> {
        let held = asked.held(report.header.as_ref().map(|header| header.bundle), report.file_bytes(), found)?;
        let (verdict, code) = if is_contradicted(held.as_ref()) { ("tampered", 1) } else { (verdict, code) };
        self.show(&self.outcome(report, verdict, asked, held.as_ref()), code)
    }

    fn outcome<'a>(
        &'a self,
        report: &'a Report,
        verdict: &'static str,
        asked: &'a Asked,
        held: Option<&'a Held>,
    ) -> Outcome<'a> {
        let (signers, sidecar) = (self.signers.as_deref(), asked.beside.as_deref());
        let last_receipt = report.header.as_ref().and_then(|header| LastReceipt::of(header, asked.server.as_ref()));
        Outcome { report, verdict, signers, sidecar, extracted: None, held, last_receipt, opened: None }
    }

    /// Verifies an encrypted bundle as far as that takes no key. Where it could not be opened, and its bytes are the
    /// signer's, that is what is wrong.
    fn transport(
        &self,
        source: &mut BufReader<Marked<Box<dyn Read>>>,
        asked: &Asked,
        not_opened: Option<NotVerified>,
    ) -> Result<u8, Failure> {
        let Some(sidecar) = &asked.sidecar else { return Err(self.refused(NotVerified::Encrypted)) };
        if self.extract.is_some() {
            return Err(Failure::new(USAGE, anyhow!("{} is encrypted", self.bundle.display()))
                .hint("give --identity KEYFILE to extract what is in it"));
        }
        let checked = check_transport(&mut *source, sidecar, Announced::default(), asked.signers.as_ref());
        let (report, verdict, code) = match &checked {
            Ok(verified) => {
                let (verdict, code) = verdict(verified.state(), verified.trust());
                (verified.report(), verdict, code)
            }
            Err(NotVerified::Rejected(report)) => (&**report, "tampered", 1),
            Err(NotVerified::Unverified(report)) => (&**report, "unverified", INPUT),
            Err(NotVerified::Io(error)) => {
                let error = io::Error::new(error.kind(), error.to_string());
                return Err(self.refused(NotVerified::Io(error)));
            }
            Err(_) => return Err(self.refused(NotVerified::Encrypted)),
        };
        let held = asked.held(report.bundle, report.bytes, source.get_ref().found())?;
        let (verdict, code) = if is_contradicted(held.as_ref()) { ("tampered", 1) } else { (verdict, code) };
        if let Some(error) = not_opened.filter(|_| code != 1) {
            return Err(self.refused(error));
        }
        let sealed = Sealed {
            report,
            verdict,
            bundle: &self.bundle,
            signers: self.signers.as_deref(),
            sidecar: asked.beside.as_deref(),
            held: held.as_ref(),
        };
        let mut stdout = io::stdout().lock();
        shown(
            if self.json { show::json_sealed(&mut stdout, &sealed) } else { show::text_sealed(&mut stdout, &sealed) },
            code,
        )
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
        shown(if self.json { show::json(&mut stdout, outcome) } else { show::text(&mut stdout, outcome) }, code)
    }

    fn open(&self) -> Result<impl Read + use<>, Failure> {
        open(&self.bundle)
    }

    fn refused(&self, error: NotVerified) -> Failure {
        refused(&self.bundle, error)
    }
}

/// A reader that has seen enough (`| head`) does not change the verdict.
fn shown(shown: io::Result<()>, code: u8) -> Result<u8, Failure> {
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(IO, error)),
        _ => Ok(code),
    }
}

/// Why there is nothing to verify, and what to do.
pub fn refused(bundle: &Path, error: NotVerified) -> Failure {
    let name = bundle.display().to_string();
    let (code, hint) = match &error {
        NotVerified::Encrypted => (
            INPUT,
            "open it with a key: holdfast evidence open FILE --identity KEYFILE; without one, give its transport checkpoints",
        ),
        NotVerified::NoKey => {
            (INPUT, "it is open to those whom its host's policy named: ask for the key of one of them")
        }
        NotVerified::Unsupported(_) => (INPUT, "verify it with the version of holdfast that knows it"),
        NotVerified::Io(_) => (IO, "copy it to a medium that can be read, and verify the copy"),
        _ => (INPUT, "give the .evidence.zip as it came from the agent or the server"),
    };
    Failure { code, error: anyhow::Error::new(error).context(name), hint: Some(hint.to_owned()) }
}

fn verdict(state: State, trust: &Trust) -> (&'static str, u8) {
    match (state, trust) {
        (State::Sealed, Trust::Trusted { .. }) => ("sealed", 0),
        (State::Sealed, Trust::Unknown) => ("sealed", 4),
        (_, Trust::Trusted { .. }) => ("partial", 3),
        (_, Trust::Unknown) => ("partial", 4),
    }
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
