//! What is inside a verified bundle: its item records, its coverage, its footprint.
//!
//! Read from the bytes that were verified when they came; they lie where nobody overwrites them. Still each number and
//! text in them is a host's, and bounded.

mod items;
mod seek;

use std::io::{self, Read as _, Seek as _, SeekFrom};

use bundle::coverage::Coverage;
use serde_json::Value;
use tokio::sync::Semaphore;
use wire::BundleId;
use zip::ZipArchive;
use zip::result::ZipError;

pub use items::{ITEMS_MAX, ItemsAsked};
use seek::SeekReader;

use super::{App, Problem, ProblemKind};

/// Bundles that are looked into at a time.
const AT_A_TIME: usize = 4;
/// `data/coverage.json` and `data/footprint.json`.
const SUMMARY_BYTES_MAX: u64 = 1 << 20;
/// The end of central directory record (APPNOTE 4.3.16), without a comment.
const END_BYTES: usize = 22;

/// How many look into bundles now.
#[derive(Debug)]
pub struct Looks(Semaphore);

impl Default for Looks {
    fn default() -> Self {
        Self(Semaphore::new(AT_A_TIME))
    }
}

/// What a bundle says of its own run.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What was asked, got and refused; not in a partial bundle.
    pub coverage: Option<Coverage>,
    /// What the run cost the host; not in a partial bundle.
    pub footprint: Option<Value>,
}

impl App {
    /// What a verified bundle says of its own run.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] when nothing of it is verified; [`ProblemKind::TooLarge`].
    pub async fn evidence_summary(&self, bundle: BundleId) -> Result<Summary, Problem> {
        self.look_into(bundle, |archive| {
            let coverage = summary(archive, "data/coverage.json")?;
            let coverage = coverage.and_then(|coverage| serde_json::from_value(coverage).ok());
            Ok(Summary { coverage, footprint: summary(archive, "data/footprint.json")? })
        })
        .await
    }

    /// Opens the verified part of a bundle on a thread that may block.
    async fn look_into<T: Send + 'static>(
        &self,
        bundle: BundleId,
        look: impl FnOnce(&mut Archive) -> Result<T, LookError> + Send + 'static,
    ) -> Result<T, Problem> {
        let record = self.evidence_record(bundle).await?;
        let verified = self.bounded(&record).await?;
        let segments = self.store.segments(bundle).await?;
        let busy = |closed: &dyn std::fmt::Display| {
            Problem::new(ProblemKind::Unavailable, "the server cannot look into the bundle now").cause(closed)
        };
        let _one_of_few = self.looks.0.acquire().await.map_err(|closed| busy(&closed))?;
        let reader = SeekReader::new(self.objects.clone(), bundle, segments, verified.bytes);
        let looked = tokio::task::spawn_blocking(move || look(&mut open(reader)?));
        looked.await.map_err(|ended| busy(&ended))?.map_err(|error| error.problem(bundle))
    }
}

type Archive = ZipArchive<SeekReader>;

/// Why a bundle could not be looked into.
#[derive(Debug)]
enum LookError {
    TooLarge,
    Zip(ZipError),
}

impl LookError {
    fn problem(self, bundle: BundleId) -> Problem {
        match self {
            Self::TooLarge => {
                Problem::new(ProblemKind::TooLarge, format!("the bundle {bundle} is too large to be shown here"))
                    .hint("download it: holdfast evidence get")
            }
            Self::Zip(error) => {
                Problem::new(ProblemKind::Internal, format!("the bundle {bundle} could not be read again"))
                    .hint("the operator finds the cause in the server's log")
                    .cause(format!("{error:?}"))
            }
        }
    }
}

impl From<ZipError> for LookError {
    fn from(error: ZipError) -> Self {
        Self::Zip(error)
    }
}

impl From<io::Error> for LookError {
    fn from(error: io::Error) -> Self {
        Self::Zip(ZipError::Io(error))
    }
}

/// The directory comes into memory as a whole. A part of a bundle has at most 50,000 entries; one that needs the 64-bit
/// records for more than 65,534 was not made by an agent of ours.
fn open(mut reader: SeekReader) -> Result<Archive, LookError> {
    let mut end = [0; END_BYTES];
    reader.seek(SeekFrom::End(-i64::try_from(END_BYTES).unwrap_or(i64::MAX)))?;
    reader.read_exact(&mut end)?;
    let is_many = end.get(10..12) == Some(&[0xff, 0xff]);
    if is_many { Err(LookError::TooLarge) } else { Ok(ZipArchive::new(reader)?) }
}

fn summary(archive: &mut Archive, name: &str) -> Result<Option<Value>, LookError> {
    let mut text = Vec::new();
    match archive.by_name(name) {
        Ok(entry) => entry.take(SUMMARY_BYTES_MAX).read_to_end(&mut text)?,
        Err(ZipError::FileNotFound) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(serde_json::from_slice(&text).ok())
}
