//! Evidence: read once from the first byte to the last, and held against everything that was said of it.

use std::collections::BTreeMap;
use std::io::{self, Read};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::checkpoint::{StreamCheckpoint, StreamLine};
use bundle::sign::open_by_anybody;
use bundle::verify::{Against, Announced, Findings, NotVerified, Sidecar, State, check, check_transport};
use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use sha2::Digest as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wire::api::EvidenceState;
use wire::receipt::Receipt;
use wire::signed::namespace;
use wire::{BundleId, Sha256};

use super::{Work, in_words};
use crate::objects::Segment;
use crate::store::{CheckpointRecord, EvidenceRecord, StoreError};

/// Pieces that wait for the verifier.
const PIECES_MAX: usize = 4;

/// What the bytes of a bundle turned out to be.
struct Content {
    /// The digests of the bytes before each place where a checkpoint stands.
    before: BTreeMap<u64, Sha256>,
    /// The digest of all of them; none when some are lost.
    whole: Option<Sha256>,
}

impl Work<'_> {
    pub(super) async fn bundle(&mut self, record: &EvidenceRecord) -> Result<(), StoreError> {
        let bundle = record.view.bundle;
        self.report.checked.bundles += 1;
        // While it comes, what came after the record was read is for the next time.
        let mut checkpoints = self.scrub.store.checkpoints(bundle).await?;
        checkpoints.retain(|checkpoint| checkpoint.receipt.offset <= record.offset);
        let mut segments = self.scrub.store.segments(bundle).await?;
        segments.retain(|segment| segment.offset < record.offset);
        self.contiguous(record, &segments);
        let is_sealed = record.view.state == EvidenceState::Sealed;
        let (verifier, verified) = if is_sealed { verifier(record, &checkpoints) } else { (None, None) };
        let content = self.read(bundle, &segments, &checkpoints, verifier).await;
        for checkpoint in &checkpoints {
            if let Err(what) = self.receipt(checkpoint, &content) {
                self.report.wrong(format!("receipt {} of bundle {bundle}", checkpoint.receipt.seq), what);
            }
        }
        let Some(whole) = content.whole else { return Ok(()) };
        let is_of_these_bytes = record.view.state != EvidenceState::Receiving && record.view.bytes == record.offset;
        if is_of_these_bytes && record.view.sha256.is_some_and(|wanted| wanted != whole) {
            let what = "its bytes do not have the digest that was recorded when it was verified";
            self.report.wrong(format!("bundle {bundle}"), what);
        }
        if let Some(verified) = verified {
            let outcome = verified.await.unwrap_or_else(|panic| Err(format!("the verifier fell over it: {panic}")));
            if let Err(what) = outcome {
                self.report.wrong(format!("bundle {bundle}"), what);
            }
        }
        Ok(())
    }

    /// The segments must hold each byte that was acknowledged.
    fn contiguous(&mut self, record: &EvidenceRecord, segments: &[Segment]) {
        let (bundle, mut end) = (record.view.bundle, 0);
        for segment in segments {
            if segment.offset != end {
                self.report.wrong(format!("bundle {bundle}"), format!("no segment holds byte {end}"));
            }
            end = segment.offset + segment.bytes;
        }
        if end != record.offset {
            let what = format!("{} bytes were acknowledged, and its segments hold {end}", record.offset);
            self.report.wrong(format!("bundle {bundle}"), what);
        }
    }

    /// Reads all segments. The verifier gets the bytes as long as none is lost.
    async fn read(
        &mut self,
        bundle: BundleId,
        segments: &[Segment],
        checkpoints: &[CheckpointRecord],
        mut verifier: Option<mpsc::Sender<Bytes>>,
    ) -> Content {
        let mut marks: Vec<u64> = checkpoints.iter().map(|checkpoint| checkpoint.receipt.offset).collect();
        marks.sort_unstable();
        marks.reverse();
        let (mut hasher, mut at, mut before) = (sha2::Sha256::new(), 0, BTreeMap::new());
        let mut is_whole = true;
        for segment in segments {
            let path = segment.path(bundle);
            self.name(&path);
            self.report.checked.segments += 1;
            let mut own = sha2::Sha256::new();
            let range = segment.offset..segment.offset + segment.bytes;
            let mut pieces = std::pin::pin!(self.scrub.objects.stream_range(bundle, vec![*segment], range));
            let mut lost = None;
            while let Some(piece) = pieces.next().await {
                let mut piece = match piece {
                    Ok(piece) => piece,
                    Err(error) => {
                        lost = Some(in_words(&error));
                        break;
                    }
                };
                self.pace.read(piece.len() as u64).await;
                own.update(&piece);
                if let Some(sender) = verifier.as_ref().filter(|_| is_whole)
                    && sender.send(piece.clone()).await.is_err()
                {
                    // It has seen enough.
                    verifier = None;
                }
                while let Some(mark) = marks.last().copied().filter(|mark| *mark <= at + piece.len() as u64) {
                    let part = piece.split_to(usize::try_from(mark.saturating_sub(at)).unwrap_or(0));
                    hasher.update(&part);
                    at += part.len() as u64;
                    before.insert(mark, Sha256(hasher.clone().finalize().into()));
                    marks.pop();
                }
                hasher.update(&piece);
                at += piece.len() as u64;
            }
            if lost.is_none() {
                lost = self.is_other(segment, &path, Sha256(own.finalize().into())).await;
            }
            if let Some(what) = lost {
                self.report.wrong(path, what);
                is_whole = false;
                // Digests over more than one segment say nothing now.
                marks.clear();
                verifier = None;
            }
        }
        drop(verifier);
        Content { before, whole: is_whole.then(|| Sha256(hasher.finalize().into())) }
    }

    /// In what an object is not the segment, although all bytes of it were read.
    async fn is_other(&self, segment: &Segment, path: &str, sha256: Sha256) -> Option<String> {
        if segment.sha256.is_some_and(|wanted| wanted != sha256) {
            return Some("its digest is another: its bytes were changed".to_owned());
        }
        match self.scrub.objects.length(path).await {
            Ok(Some(bytes)) if bytes != segment.bytes => {
                Some(format!("it has {bytes} bytes, and {} were acknowledged", segment.bytes))
            }
            Ok(_) => None,
            Err(error) => Some(in_words(&error)),
        }
    }

    fn receipt(&mut self, checkpoint: &CheckpointRecord, content: &Content) -> Result<(), &'static str> {
        let receipt = &checkpoint.receipt;
        self.report.checked.receipts += 1;
        let signed = open_by_anybody(&checkpoint.envelope, namespace::RECEIPT);
        let (message, key) = signed.map_err(|_| "its signature does not fit it")?;
        if key.key_data() != self.scrub.signer.key_data() {
            return Err("it was signed with another key than this server's");
        }
        if serde_json::from_slice::<Receipt>(&message).ok().as_ref() != Some(receipt) {
            return Err("what was signed is not what the records say");
        }
        let whose = format!("receipt {} of bundle {}", receipt.seq, receipt.bundle);
        self.points.entry(receipt.custody.size).or_default().push((receipt.custody.root, whose));
        let line: Option<StreamLine> = serde_json::from_str(&checkpoint.line).ok();
        let line = line.and_then(|line| BASE64_STANDARD.decode(line.signed_b64).ok());
        let claimed: Option<StreamCheckpoint> = line.and_then(|line| serde_json::from_slice(&line).ok());
        let is_for_it = claimed.is_some_and(|claimed| {
            (claimed.seq, claimed.offset, claimed.sha256) == (receipt.seq, receipt.offset, receipt.sha256)
        });
        if !is_for_it {
            return Err("it is not for the transport checkpoint beside it");
        }
        match content.before.get(&receipt.offset) {
            Some(sha256) if *sha256 != receipt.sha256 => Err("the bytes before it are not those that it acknowledged"),
            _ => Ok(()),
        }
    }
}

type Outcome = JoinHandle<Result<(), String>>;

/// A verifier on a thread of its own, and the way to it. Of what is encrypted, it sees the bytes as they came.
fn verifier(
    record: &EvidenceRecord,
    checkpoints: &[CheckpointRecord],
) -> (Option<mpsc::Sender<Bytes>>, Option<Outcome>) {
    let sidecar: String = checkpoints.iter().flat_map(|checkpoint| [checkpoint.line.as_str(), "\n"]).collect();
    let (with_sidecar, is_encrypted) = (!checkpoints.is_empty(), record.view.encrypted);
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let verified = tokio::task::spawn_blocking(move || {
        let sidecar = Sidecar::read(sidecar.as_bytes()).map_err(|error| error.to_string())?;
        let pieces = Pieces { piece: Bytes::new(), pieces };
        if is_encrypted {
            let checked = check_transport(pieces, &sidecar, Announced::default(), None);
            return still_sealed(checked.map(|verified| verified.state()), |report| &report.findings);
        }
        let against = Against { signers: None, sidecar: with_sidecar.then_some(&sidecar) };
        still_sealed(check(pieces, against).map(|verified| verified.state()), |report| &report.findings)
    });
    (Some(sender), Some(verified))
}

fn still_sealed<R: std::fmt::Debug>(
    checked: Result<State, NotVerified<R>>,
    findings: impl Fn(&R) -> &Findings,
) -> Result<(), String> {
    match checked {
        Ok(State::Sealed) => Ok(()),
        Ok(_) => Err("it was sealed, and now it ends before its seal".to_owned()),
        Err(NotVerified::Rejected(report)) => {
            let first = findings(&report).kept().first();
            let first = first.map(|finding| format!(": {}: {}", finding.subject.escape_debug(), finding.message));
            Err(format!("it was sealed, and now it does not verify{}", first.unwrap_or_default()))
        }
        Err(error) => Err(format!("it was sealed, and now it does not verify: {error}")),
    }
}

/// What comes over the channel, for plain blocking code.
struct Pieces {
    piece: Bytes,
    pieces: mpsc::Receiver<Bytes>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !buffer.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let bytes = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(buffer.get_mut(..bytes).unwrap_or_default());
        Ok(bytes)
    }
}
