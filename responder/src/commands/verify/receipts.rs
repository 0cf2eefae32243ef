//! What the server signed for, held against the bytes that are here: what root on a host cannot change is what already
//! lies elsewhere.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use bundle::sign::{fingerprint, open_by_anybody};
use bundle::verify::{Finding, code};
use sha2::{Digest as _, Sha256 as Hasher};
use ssh_key::PublicKey;
use wire::receipt::{RECEIPT_TYPE, Receipt};
use wire::signed::{Signed, namespace};
use wire::{BundleId, Sha256};

use crate::commands::{Failure, INPUT, IO};

/// The longest receipt, as a line.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// More than any bundle has.
const RECEIPTS_MAX: usize = 200_000;

/// The bytes are not those that the server gave a receipt for.
const RECEIPT_MISMATCH: &str = "receipt_mismatch";

/// Receipts that the server signed, by offset.
pub struct Receipts {
    receipts: Vec<Receipt>,
    server: String,
}

/// What the receipts say about a bundle.
pub struct Held {
    /// The receipt for the most bytes.
    pub highest: Receipt,
    /// The receipts that hold.
    pub count: u64,
    /// Fingerprint of the server's key.
    pub server: String,
    /// What is wrong: another server's bytes, or fewer than it holds.
    pub finding: Option<Finding>,
}

impl Receipts {
    /// Reads them: one [`Signed`] a line, each by this key.
    pub fn read(path: &Path, server_key: &PublicKey) -> Result<Self, Failure> {
        let cannot = |error: io::Error| {
            Failure::new(IO, anyhow::Error::new(error).context(format!("{} cannot be read", path.display())))
        };
        let mut lines = BufReader::new(File::open(path).map_err(cannot)?);
        let mut receipts = Vec::new();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let count = Read::by_ref(&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(cannot)?;
            if count == 0 {
                break;
            }
            if number > RECEIPTS_MAX {
                return Err(Failure::new(INPUT, anyhow!("{} holds more receipts than any bundle", path.display())));
            }
            let receipt = parse(&line, server_key)
                .with_context(|| format!("line {number} of {}", path.display()))
                .map_err(|error| {
                    Failure::new(INPUT, error)
                        .hint("give the .receipts.jsonl as the server gave it, and that server's key: --server-key")
                })?;
            receipts.push(receipt);
        }
        if receipts.is_empty() {
            return Err(Failure::new(INPUT, anyhow!("{} holds no receipt", path.display()))
                .hint("the server gives one for each tier; holdfast evidence get brings them"));
        }
        receipts.sort_by_key(|receipt| (receipt.offset, receipt.seq));
        Ok(Self { receipts, server: fingerprint(server_key) })
    }

    /// The offsets at which the digest is wanted, increasing.
    pub fn marks(&self) -> VecDeque<u64> {
        let mut marks: Vec<u64> = self.receipts.iter().map(|receipt| receipt.offset).collect();
        marks.dedup();
        marks.into()
    }

    /// Holds the receipts against the digests that were found, for a bundle of this many bytes.
    pub fn judge(
        &self,
        bundle: Option<BundleId>,
        bytes: u64,
        found: &[(u64, Sha256)],
    ) -> Result<Option<Held>, Failure> {
        if let Some(bundle) = bundle
            && let Some(other) = self.receipts.iter().find(|receipt| receipt.bundle != bundle)
        {
            return Err(Failure::new(
                INPUT,
                anyhow!("the receipts are for the bundle {}, and this is {bundle}", other.bundle),
            )
            .hint("give the receipts that belong to it, or none"));
        }
        let Some(highest) = self.receipts.last().cloned() else { return Ok(None) };
        let digest_at = |offset| found.iter().find(|(at, _)| *at == offset).map(|(_, digest)| *digest);
        let differs =
            self.receipts.iter().find(|receipt| digest_at(receipt.offset).is_some_and(|it| it != receipt.sha256));
        let finding = match differs {
            Some(receipt) => Some(Finding {
                code: RECEIPT_MISMATCH,
                subject: format!("receipt {}", receipt.seq),
                offset: receipt.offset,
                message: format!(
                    "another version was receipted: the server held other bytes up to here on {}",
                    receipt.received_at
                ),
            }),
            None if highest.offset > bytes => Some(Finding {
                code: code::TRUNCATED,
                subject: format!("receipt {}", highest.seq),
                offset: bytes,
                message: format!(
                    "the signer reached offset {} (receipt {}, {}), you hold {bytes}",
                    highest.offset, highest.seq, highest.received_at
                ),
            }),
            None => None,
        };
        let holds = |receipt: &&Receipt| digest_at(receipt.offset) == Some(receipt.sha256);
        let count = self.receipts.iter().filter(holds).count() as u64;
        Ok(Some(Held { highest, count, server: self.server.clone(), finding }))
    }
}

fn parse(line: &[u8], server_key: &PublicKey) -> anyhow::Result<Receipt> {
    let signed: Signed = serde_json::from_slice(line).map_err(|_| anyhow!("it is no signed receipt"))?;
    let (message, signer) = open_by_anybody(&signed, namespace::RECEIPT)?;
    anyhow::ensure!(
        signer.key_data() == server_key.key_data(),
        "it is signed by {}, not by the server",
        fingerprint(&signer)
    );
    let receipt: Receipt = serde_json::from_slice(&message).map_err(|_| anyhow!("what is signed is no receipt"))?;
    anyhow::ensure!(
        receipt.kind == RECEIPT_TYPE && receipt.v == 1,
        "it is of a kind or version that is not known here"
    );
    Ok(receipt)
}

/// Passes bytes on, and takes their digest at each mark.
pub struct Marked<R> {
    source: R,
    hasher: Hasher,
    position: u64,
    marks: VecDeque<u64>,
    found: Vec<(u64, Sha256)>,
}

impl<R: Read> Marked<R> {
    /// Without marks nothing is hashed.
    pub fn new(source: R, marks: VecDeque<u64>) -> Self {
        let mut marked = Self { source, hasher: Hasher::new(), position: 0, marks, found: Vec::new() };
        marked.note();
        marked
    }

    /// The marks that were reached, with the digest of all bytes before each.
    pub fn found(&self) -> &[(u64, Sha256)] {
        &self.found
    }

    fn note(&mut self) {
        while self.marks.front() == Some(&self.position) {
            self.marks.pop_front();
            self.found.push((self.position, Sha256::so_far(&self.hasher)));
        }
    }
}

impl<R: Read> Read for Marked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        let mut rest = &buffer[..count];
        while let Some(mark) = self.marks.front()
            && !rest.is_empty()
        {
            let step = usize::try_from(mark - self.position).unwrap_or(rest.len()).min(rest.len());
            let (now, after) = rest.split_at(step);
            self.hasher.update(now);
            self.position += step as u64;
            rest = after;
            self.note();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use bundle::sign::SigningKey;
    use serde_json::json;

    use super::*;

    const BUNDLE: &str = "01934f2e-7c00-7abc-8def-00000a1b2c3d";

    fn receipt(offset: u64, bytes: &[u8]) -> String {
        let receipt = json!({
            "agent_certificate_serial": null, "bundle": BUNDLE, "custody": {"root": "0".repeat(64), "size": 1},
            "offset": offset, "phase": "volatile", "phase_complete": true, "received_at": "2026-11-21T17:00:02Z",
            "seq": 1, "sha256": Sha256::of(bytes), "type": "holdfast-receipt", "v": 1,
        });
        let key = SigningKey::from_seed(&[5; 32]);
        let signed = key.envelope("server", namespace::RECEIPT, receipt.to_string().as_bytes()).unwrap();
        serde_json::to_string(&signed).unwrap() + "\n"
    }

    fn read(text: &str) -> Result<Receipts, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        std::fs::write(&path, text).unwrap();
        Receipts::read(&path, &SigningKey::from_seed(&[5; 32]).public())
    }

    fn judge(receipts: &Receipts, bytes: &[u8]) -> Held {
        let mut marked = Marked::new(bytes, receipts.marks());
        let length = io::copy(&mut marked, &mut io::sink()).unwrap();
        receipts.judge(BUNDLE.parse().ok(), length, marked.found()).unwrap().unwrap()
    }

    #[test]
    fn the_bytes_must_be_those_that_the_server_holds() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let receipts = read(&(receipt(70_000, &bytes[..70_000]) + &receipt(9, &bytes[..9]))).unwrap();
        let held = judge(&receipts, &bytes);
        assert!(held.finding.is_none());
        assert_eq!((held.count, held.highest.offset), (2, 70_000));
        let held = judge(&receipts, &bytes[..69_999]);
        let finding = held.finding.unwrap();
        let message = "the signer reached offset 70000 (receipt 1, 2026-11-21T17:00:02.000000000Z), you hold 69999";
        assert_eq!((finding.code, finding.message.as_str(), held.count), ("truncated", message, 1));
        let mut other = bytes.clone();
        other[69_999] ^= 1;
        let finding = judge(&receipts, &other).finding.unwrap();
        assert_eq!(finding.code, RECEIPT_MISMATCH);
        assert!(finding.message.starts_with("another version was receipted"), "{}", finding.message);
        let elsewhere = receipts.judge("01934f2e-7c00-7abc-8def-000000000000".parse().ok(), 9, &[]);
        assert_eq!(elsewhere.err().unwrap().code, INPUT);
    }

    #[test]
    fn only_the_servers_receipts_count() {
        let good = receipt(1, b"x");
        let other = Receipts::read(Path::new("/nowhere"), &SigningKey::from_seed(&[5; 32]).public());
        assert_eq!(other.err().unwrap().code, IO);
        for bad in ["", "\n", "{}\n", &good.replace("eyJ", "eyK"), &good[..good.len() / 2]] {
            assert_eq!(read(bad).err().unwrap().code, INPUT, "{bad:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        std::fs::write(&path, good).unwrap();
        let failure = Receipts::read(&path, &SigningKey::from_seed(&[6; 32]).public()).err().unwrap();
        assert!(failure.error.chain().any(|cause| cause.to_string().ends_with("not by the server")));
    }
}
