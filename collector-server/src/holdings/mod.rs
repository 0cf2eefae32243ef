//! What the server holds, as a whole: copied away, brought back, moved to another place, read through.
//!
//! The records name every object that counts. An object that no record names was never acknowledged: it is neither
//! copied nor removed.

pub mod backup;
pub mod manifest;
pub mod restore;
pub mod scrub;
pub mod transfer;

use wire::{AlertId, BundleId, LetterId, Sha256};

use crate::objects::{Segment, alert_path, letter_path};
use crate::store::{Store, StoreError};

/// Records that are asked for at a time.
const PAGE: u32 = 500;

/// An object that the records name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Its length, where the records have it.
    pub bytes: Option<u64>,
    /// True when it may be taken away: a dead letter that was replayed.
    pub may_go: bool,
    /// Its path.
    pub path: String,
    /// Its digest, where the records have it.
    pub sha256: Option<Sha256>,
}

impl Holding {
    /// A segment of a bundle.
    pub fn of_segment(bundle: BundleId, segment: &Segment) -> Self {
        Self { bytes: Some(segment.bytes), may_go: false, path: segment.path(bundle), sha256: segment.sha256 }
    }
}

/// Goes through all of them: evidence, then alerts, then dead letters, each from the newest on.
#[derive(Debug, Default)]
pub struct Holdings {
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Evidence(Option<BundleId>),
    Alerts(Option<AlertId>),
    Letters(Option<LetterId>),
    End,
}

impl Default for Place {
    fn default() -> Self {
        Self::Evidence(None)
    }
}

impl Holdings {
    /// Alerts and dead letters only.
    pub fn of_small_ones() -> Self {
        Self { place: Place::Alerts(None) }
    }

    /// The next of them, in no order that means anything; none at the end.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next(&mut self, store: &dyn Store) -> Result<Option<Vec<Holding>>, StoreError> {
        let mut found = Vec::new();
        self.place = match self.place {
            Place::Evidence(after) => {
                let records = store.evidence_list(None, after, PAGE).await?;
                for record in &records {
                    let bundle = record.view.bundle;
                    // Those that came since the record was read are for the next time.
                    let segments = store.segments(bundle).await?;
                    let known = segments.iter().filter(|segment| segment.offset < record.offset);
                    found.extend(known.map(|segment| Holding::of_segment(bundle, segment)));
                }
                records.last().map_or(Place::Alerts(None), |last| Place::Evidence(Some(last.view.bundle)))
            }
            Place::Alerts(after) => {
                let alerts = store.alerts(after, PAGE).await?;
                found.extend(alerts.iter().map(|alert| Holding {
                    bytes: None,
                    may_go: false,
                    path: alert_path(alert.alert),
                    sha256: Some(alert.raw_sha256),
                }));
                alerts.last().map_or(Place::Letters(None), |last| Place::Alerts(Some(last.alert)))
            }
            Place::Letters(after) => {
                let letters = store.letters(after, PAGE).await?;
                found.extend(letters.iter().map(|letter| Holding {
                    bytes: Some(letter.view.bytes),
                    may_go: letter.view.replayed.is_some(),
                    path: letter_path(letter.view.letter),
                    sha256: Some(letter.view.sha256),
                }));
                letters.last().map_or(Place::End, |last| Place::Letters(Some(last.view.letter)))
            }
            Place::End => return Ok(None),
        };
        Ok(Some(found))
    }
}
