//! States that the log had before, as others kept them: a signed head, a witness's file of heads, an export, the receipts
//! of a bundle, or the receipt that an agent had named in a bundle's header.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bundle::sign::open_by_anybody;
use bundle::timestamp::Response;
use bundle::verify::{Against, NotVerified, check};
use ssh_key::PublicKey;
use wire::api::CustodyLine;
use wire::custody::{Head, HeadPoint};
use wire::receipt::Receipt;
use wire::signed::{Signed, namespace};
use wire::{Instant, Sha256};

use crate::commands::verify::refused;
use crate::commands::{Failure, INPUT, IO};
use crate::last_receipt::LastReceipt;
use crate::show::time;

/// The file of heads in a witness's folder.
const HEADS_FILE: &str = "custody-heads.jsonl";
/// Heads of one witness: two years of one a minute.
const HEADS_MAX: usize = 1_000_000;
/// The longest line of a file of heads.
const HEAD_LINE_BYTES_MAX: u64 = 64 << 10;
/// Time stamps of one witness: one a day.
const STAMPS_MAX: usize = 100_000;
/// The longest head or token beside it.
const STAMP_BYTES_MAX: u64 = 256 << 10;

/// What the log is held against, beside its own signature.
#[derive(Clone, Debug)]
pub struct Before {
    /// The state.
    pub point: HeadPoint,
    /// When that was signed.
    pub signed: Instant,
    /// Where it is from, as in "the first 12, ...".
    pub what: String,
    /// True for the one that this machine keeps of its own.
    pub is_seen_here: bool,
}

/// The heads that a witness kept.
pub struct Witness {
    /// Where.
    pub path: PathBuf,
    /// All of them, as they stand there.
    pub heads: Vec<Before>,
    /// Time stamps of some of them.
    pub stamps: Vec<Stamp>,
}

/// A time-stamping authority's word for a head. Its signature is for `openssl ts -verify` to check: whom to believe is
/// not for this program to say.
pub struct Stamp {
    /// When it was given, as the token says (RFC 3161, `genTime`).
    pub at: String,
    /// The file of the token.
    pub token: PathBuf,
}

pub fn open(path: &Path) -> Result<File, Failure> {
    File::open(path)
        .with_context(|| format!("{} cannot be opened", path.display()))
        .map_err(|error| Failure::new(IO, error))
}

/// The latest state of the log that the last line of a file tells of: a signed head, an export's last line, a receipt.
pub fn last_of(path: &Path, key: Option<&PublicKey>) -> Result<Before, Failure> {
    let wrong = |what: &str| {
        Failure::new(INPUT, anyhow!("{}: {what}", path.display()))
            .hint("a signed head, an earlier export, or a bundle's .receipts.jsonl is wanted")
    };
    let mut last = String::new();
    each_line(path, bundle::custody_log::LINE_BYTES_MAX as u64 + 1, |line| {
        str::from_utf8(line).map_err(|_| wrong("it is no text"))?.clone_into(&mut last);
        Ok(())
    })?;
    let signed = match serde_json::from_str(&last) {
        Ok(CustodyLine::Head(signed)) => signed,
        _ => serde_json::from_str::<Signed>(&last)
            .map_err(|_| wrong("its last line is nothing that the server signed"))?,
    };
    if let Some(head) = head(&signed, key) {
        return Ok(head);
    }
    if let Ok((message, by)) = open_by_anybody(&signed, namespace::RECEIPT)
        && key.is_none_or(|key| key.key_data() == by.key_data())
        && let Ok(receipt) = serde_json::from_slice::<Receipt>(&message)
    {
        return Ok(of_receipt(&receipt));
    }
    Err(wrong("its last line is not signed by the server"))
}

fn of_receipt(receipt: &Receipt) -> Before {
    let what = format!("as the receipt of {} names them", time(receipt.received_at));
    Before { point: receipt.custody, signed: receipt.received_at, what, is_seen_here: false }
}

fn head(signed: &Signed, key: Option<&PublicKey>) -> Option<Before> {
    let (message, by) = open_by_anybody(signed, namespace::CUSTODY).ok()?;
    let head = serde_json::from_slice::<Head>(&message).ok()?;
    let what = format!("as signed on {}", time(head.time));
    let before = Before { point: head.point, signed: head.time, what, is_seen_here: false };
    key.is_none_or(|key| key.key_data() == by.key_data()).then_some(before)
}

/// The state that an agent had a receipt for when it began this bundle. The bundle itself need not be whole.
pub fn of_bundle(path: &Path, key: Option<&PublicKey>) -> Result<Before, Failure> {
    let name = path.display();
    let header = match check(BufReader::new(open(path)?), Against::default()) {
        Ok(verified) => verified.report().header.clone(),
        Err(NotVerified::Rejected(report) | NotVerified::Unverified(report)) => report.header,
        Err(other) => return Err(refused(path, other)),
    };
    let last = header.as_ref().and_then(|header| LastReceipt::of(header, key)).ok_or_else(|| {
        Failure::new(INPUT, anyhow!("{name} names no receipt"))
            .hint("the agent had none yet, or is older; give another bundle of the host")
    })?;
    if key.is_some() && !last.is_by_server {
        return Err(Failure::new(INPUT, anyhow!("the receipt that {name} names is not signed by the server")));
    }
    let mut before = of_receipt(&last.receipt);
    before.what = format!("{}, in {name}", before.what);
    Ok(before)
}

impl Witness {
    /// Reads what a witness kept: a file of signed heads, or the folder that `serve --heads-to` writes.
    pub fn read(path: &Path, key: Option<&PublicKey>) -> Result<Self, Failure> {
        let (file, stamps) =
            if path.is_dir() { (path.join(HEADS_FILE), stamps(path)?) } else { (path.to_owned(), Vec::new()) };
        let mut heads = Vec::new();
        let mut number = 0_u64;
        each_line(&file, HEAD_LINE_BYTES_MAX, |line| {
            number += 1;
            let wrong = |what: &str| Failure::new(INPUT, anyhow!("line {number} of {}: {what}", file.display()));
            // What a power cut left of a line.
            let Ok(signed) = serde_json::from_slice::<Signed>(line) else { return Ok(()) };
            if heads.len() >= HEADS_MAX {
                return Err(wrong("there are more heads than are taken"));
            }
            heads.push(head(&signed, key).ok_or_else(|| wrong("it is no head that the server signed"))?);
            Ok(())
        })?;
        if heads.is_empty() {
            return Err(Failure::new(INPUT, anyhow!("{} holds no signed head", file.display()))
                .hint("the server writes them: holdfast-server serve --heads-to"));
        }
        Ok(Self { path: path.to_owned(), heads, stamps })
    }

    /// The head with the most entries.
    pub fn farthest(&self) -> Option<&Before> {
        self.heads.iter().max_by_key(|head| head.point.size)
    }
}

/// The time stamps in a witness's folder. Each must be of the head that it lies beside.
fn stamps(folder: &Path) -> Result<Vec<Stamp>, Failure> {
    let cannot = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| {
            Failure::new(IO, anyhow::Error::new(error).context(format!("{path} cannot be read")))
        }
    };
    let mut tokens: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(cannot(folder))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "tsr"))
        .take(STAMPS_MAX)
        .collect();
    tokens.sort();
    let read = |path: &Path| {
        let mut bytes = Vec::new();
        open(path)?.take(STAMP_BYTES_MAX).read_to_end(&mut bytes).map_err(cannot(path))?;
        Ok::<_, Failure>(bytes)
    };
    let mut stamps = Vec::new();
    for token in tokens {
        let wrong =
            |what: &str| Failure::new(1, anyhow!("{}: {what}", token.display())).hint("keep it: it is evidence itself");
        let given = Response::parse(&read(&token)?).and_then(Response::granted);
        let given = given.map_err(|bad| wrong(&bad.to_string()))?;
        if given.imprint != Sha256::of(&read(&token.with_extension("json"))?) {
            return Err(wrong("it is the time stamp of another head than the one that it lies beside"));
        }
        stamps.push(Stamp { at: given.time, token });
    }
    Ok(stamps)
}

/// Each line that is not empty, bounded.
fn each_line(path: &Path, bytes_max: u64, mut take: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut lines = BufReader::new(open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = Read::by_ref(&mut lines).take(bytes_max).read_until(b'\n', &mut line).map_err(|error| {
            Failure::new(IO, anyhow::Error::new(error).context(format!("{} cannot be read", path.display())))
        })?;
        if count == 0 {
            return Ok(());
        }
        if !line.trim_ascii().is_empty() {
            take(line.trim_ascii())?;
        }
    }
}
