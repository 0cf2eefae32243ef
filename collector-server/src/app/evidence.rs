//! Evidence as people list it and take it away. Each download is a leaf of the custody log before its first byte goes.

use std::ops::Range;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::checkpoint::{StreamCheckpoint, StreamLine};
use bytes::Bytes;
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Map, json};
use wire::api::{EvidenceState, EvidenceView, Page};
use wire::{BundleId, IncidentId};

use super::{Actor, App, Problem, ProblemKind, page_of};
use crate::objects::ObjectError;
use crate::store::{CheckpointRecord, EvidenceRecord, NewLeaf};

/// Which bytes of a bundle are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// All that came.
    #[default]
    Raw,
    /// The verified part, which is an ordinary ZIP file.
    Bounded,
}

/// Bytes that can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// How many there are.
    pub bytes: u64,
    /// The name for the file that holds them.
    pub file_name: String,
}

impl App {
    /// Bundles, the newest first, of one incident or of all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn evidence_list(
        &self,
        incident: Option<&IncidentId>,
        after: Option<BundleId>,
        limit: u32,
    ) -> Result<Page<EvidenceView>, Problem> {
        let records = self.store.evidence_list(incident, after, limit + 1).await?;
        let page = page_of(records, limit, |record| record.view.bundle.to_string());
        let mut items = Vec::with_capacity(page.items.len());
        for record in page.items {
            items.push(self.evidence_view(record).await?);
        }
        Ok(Page { items, next: page.next })
    }

    /// A bundle.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn evidence(&self, bundle: BundleId) -> Result<EvidenceView, Problem> {
        let record = self.evidence_record(bundle).await?;
        self.evidence_view(record).await
    }

    pub(super) async fn evidence_record(&self, bundle: BundleId) -> Result<EvidenceRecord, Problem> {
        let record = self.store.evidence(bundle).await?;
        record.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no evidence {bundle}"))
                .hint("what there is stands in: holdfast evidence list")
        })
    }

    async fn evidence_view(&self, record: EvidenceRecord) -> Result<EvidenceView, Problem> {
        let checkpoints = self.store.checkpoints(record.view.bundle).await?;
        let receipts = checkpoints.into_iter().map(|checkpoint| checkpoint.receipt).collect();
        let found = self.store.found(record.view.bundle).await?;
        // While it comes, the view may be older than the last segment.
        let bytes = record.view.bytes.max(record.offset);
        Ok(EvidenceView { bytes, found, receipts, ..record.view })
    }

    /// How much of a bundle can be had, and under which name.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] where nothing is verified that is a ZIP file of its own, or
    /// where it is encrypted.
    pub async fn content(&self, bundle: BundleId, which: Content) -> Result<Available, Problem> {
        let record = self.evidence_record(bundle).await?;
        match which {
            Content::Raw => Ok(Available { bytes: record.offset, file_name: file_name(&record.view) }),
            Content::Bounded => self.bounded(&record).await,
        }
    }

    /// The longest verified prefix that is a ZIP file: all of a sealed bundle; of a partial one, up to the last transport
    /// checkpoint that stands at such a place within the verified bytes.
    pub(super) async fn bounded(&self, record: &EvidenceRecord) -> Result<Available, Problem> {
        let bundle = record.view.bundle;
        if record.view.encrypted {
            return Err(sealed(bundle));
        }
        let name = file_name(&record.view);
        let bytes = match record.view.state {
            EvidenceState::Sealed => record.offset,
            EvidenceState::Partial => {
                let checkpoints = self.store.checkpoints(bundle).await?;
                last_boundary(&checkpoints, record.view.verified_to.min(record.offset))
            }
            _ => 0,
        };
        if bytes == 0 {
            let state = record.view.state.name();
            return Err(Problem::new(
                ProblemKind::Conflict,
                format!("nothing of bundle {bundle} is verified: it is {state}"),
            )
            .hint("while it is being received, wait for its end; all that came is at /content without ?view=bounded"));
        }
        let file_name = match name.strip_suffix(".evidence.zip") {
            Some(stem) if bytes < record.offset => format!("{stem}.partial.evidence.zip"),
            _ => name,
        };
        Ok(Available { bytes, file_name })
    }

    /// Writes into custody who takes which bytes, then gives them.
    ///
    /// # Errors
    /// Before the first byte; an error after it breaks the stream off.
    pub async fn download(
        &self,
        by: &Actor,
        bundle: BundleId,
        range: Range<u64>,
        which: Content,
    ) -> Result<impl Stream<Item = Result<Bytes, ObjectError>> + Send + 'static, Problem> {
        let record = self.evidence_record(bundle).await?;
        let segments = self.store.segments(bundle).await?;
        let mut details = Map::new();
        details.insert("bytes".to_owned(), json!(range.end - range.start));
        details.insert("from".to_owned(), json!(range.start));
        details.insert("to".to_owned(), json!(range.end));
        details.insert("view".to_owned(), json!(if which == Content::Raw { "raw" } else { "bounded" }));
        self.tell_custody(by, &record, "evidence_downloaded", details).await?;
        Ok(self.objects.stream_range(bundle, segments, range))
    }

    /// The transport checkpoints as they lie beside a bundle: the file's name and its lines.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn stream_file(&self, bundle: BundleId) -> Result<(String, String), Problem> {
        let record = self.evidence_record(bundle).await?;
        let lines =
            self.store.checkpoints(bundle).await?.into_iter().map(|checkpoint| checkpoint.line + "\n").collect();
        Ok((format!("{}.stream.jsonl", file_name(&record.view)), lines))
    }

    /// The signed receipts: the file's name and one JSON object a line.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn receipts_file(&self, bundle: BundleId) -> Result<(String, String), Problem> {
        let record = self.evidence_record(bundle).await?;
        let lines = self
            .store
            .checkpoints(bundle)
            .await?
            .into_iter()
            .map(|checkpoint| format!("{}\n", json!(checkpoint.envelope)));
        Ok((format!("{}.receipts.jsonl", file_name(&record.view)), lines.collect()))
    }

    pub(super) async fn tell_custody(
        &self,
        by: &Actor,
        record: &EvidenceRecord,
        event: &'static str,
        details: Map<String, serde_json::Value>,
    ) -> Result<(), Problem> {
        let leaf = NewLeaf {
            actor: by.to_string(),
            details,
            event,
            incident: Some(record.view.incident.clone()),
            subject: format!("bundle:{}", record.view.bundle),
            time: self.now(),
        };
        self.store.commit(Vec::new(), vec![leaf]).await?;
        Ok(())
    }
}

fn last_boundary(checkpoints: &[CheckpointRecord], verified_to: u64) -> u64 {
    // What was signed counts, not what stands beside it for people.
    let signed = |checkpoint: &CheckpointRecord| {
        let line: StreamLine = serde_json::from_str(&checkpoint.line).ok()?;
        serde_json::from_slice::<StreamCheckpoint>(&BASE64_STANDARD.decode(line.signed_b64).ok()?).ok()
    };
    let places = checkpoints.iter().filter_map(signed);
    places
        .filter(|place| place.zip_boundary && place.offset <= verified_to)
        .map(|place| place.offset)
        .max()
        .unwrap_or(0)
}

/// What the server says when it is asked to look into what it cannot read.
pub(super) fn sealed(bundle: BundleId) -> Problem {
    Problem::new(ProblemKind::Conflict, format!("bundle {bundle} is encrypted: the server holds it and cannot read it"))
        .hint(format!(
            "take it home and open it: holdfast evidence get {bundle}, then holdfast evidence open FILE --identity KEY"
        ))
}

/// A name that is one on every system: it came from the host that the evidence is about.
fn file_name(view: &EvidenceView) -> String {
    let end = if view.encrypted { ".evidence.zip.age" } else { ".evidence.zip" };
    let plain: String = view
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .take(200)
        .collect();
    let plain = plain.trim_start_matches(['.', '-']);
    if plain.ends_with(end) && plain.len() > end.len() { plain.to_owned() } else { format!("{}{end}", view.bundle) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_from_a_host_is_made_plain() {
        let mut view = crate::ui::samples::evidence(EvidenceState::Sealed);
        let own = format!("{}.evidence.zip", view.bundle);
        let mut of = |name: &str, encrypted: bool| {
            view.name = name.to_owned();
            view.encrypted = encrypted;
            file_name(&view)
        };
        let good = "web-1_20261121T174548Z_0a1b2c3d.evidence.zip";
        assert_eq!(of(good, false), good);
        assert_eq!(of(&format!("{good}.age"), true), format!("{good}.age"));
        assert_eq!(of(good, true), format!("{own}.age"));
        assert_eq!(of("../../x\"\r\n.evidence.zip", false), "_.._x___.evidence.zip");
        for bad in ["", ".evidence.zip", "x.exe", &"x".repeat(300)] {
            assert_eq!(of(bad, false), own);
        }
    }
}
