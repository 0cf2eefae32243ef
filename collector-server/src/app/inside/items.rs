//! The item records of a verified bundle, searched and a page at a time.

use std::borrow::Cow;
use std::io::{BufRead as _, BufReader, Read as _};

use bundle::item::Status;
use bundle::verify::limits::LINE_BYTES_MAX;
use serde::Deserialize;
use serde_json::Value;
use wire::BundleId;
use wire::api::Page;

use super::{Archive, LookError};
use crate::app::{App, Problem};

/// Records in one answer.
pub const ITEMS_MAX: u32 = 500;
/// Records that one request looks at, after which it answers with what it has: the next page goes on from there.
const LOOKED_AT_MAX: u64 = 200_000;
/// Bytes of records that one request unpacks.
const UNPACKED_BYTES_MAX: u64 = 2 << 30;

/// Which records are wanted.
#[derive(Clone, Debug, Default)]
pub struct ItemsAsked {
    /// Those with a greater id.
    pub after: u64,
    /// At most so many.
    pub limit: u32,
    /// Those in whose texts this stands, in any case.
    pub q: Option<String>,
    /// Those with this status.
    pub status: Option<Status>,
}

/// What is searched.
#[derive(Deserialize)]
struct Searched<'a> {
    #[serde(borrow)]
    collector: Cow<'a, str>,
    #[serde(borrow, default)]
    error: Option<Cow<'a, str>>,
    id: u64,
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    sha256: Option<Cow<'a, str>>,
    status: Status,
}

impl Searched<'_> {
    /// `q` is in lower case.
    fn holds(&self, q: &str) -> bool {
        let texts =
            [Some(&self.collector), self.error.as_ref(), Some(&self.path), self.reason.as_ref(), self.sha256.as_ref()];
        texts.into_iter().flatten().any(|text| text.to_lowercase().contains(q))
    }
}

impl App {
    /// Item records of a verified bundle, in the order of their ids. `next` may stand after a page that is not full: so
    /// far this request looked.
    ///
    /// # Errors
    /// As [`App::evidence_summary`].
    pub async fn items(&self, bundle: BundleId, asked: ItemsAsked) -> Result<Page<Value>, Problem> {
        self.look_into(bundle, move |archive| find(archive, &asked)).await
    }
}

fn find(archive: &mut Archive, asked: &ItemsAsked) -> Result<Page<Value>, LookError> {
    let q = asked.q.as_ref().map(|q| q.to_lowercase());
    let is_set = |name: &String| name.starts_with("data/items/") && name.ends_with(".jsonl");
    let names = archive.file_names().filter_map(Result::ok).map(Cow::into_owned);
    let mut sets: Vec<String> = names.filter(is_set).collect();
    sets.sort_unstable();
    let mut found = Page { items: Vec::new(), next: None };
    let (mut looked_at, mut unpacked) = (0, 0);
    let mut line = Vec::new();
    for set in sets {
        let mut set = BufReader::new(archive.by_name(&set)?);
        loop {
            line.clear();
            let bytes = (&mut set).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)? as u64;
            unpacked += bytes;
            if unpacked > UNPACKED_BYTES_MAX {
                return Err(LookError::TooLarge);
            }
            if bytes == 0 {
                break;
            }
            // What was verified parses; a record that does not is no reason to hide the others.
            let Ok(record) = serde_json::from_slice::<Searched<'_>>(&line) else { continue };
            if record.id <= asked.after {
                continue;
            }
            looked_at += 1;
            let is_wanted =
                asked.status.is_none_or(|status| status == record.status) && q.as_ref().is_none_or(|q| record.holds(q));
            if is_wanted {
                if found.items.len() >= asked.limit as usize {
                    return Ok(found);
                }
                found.items.extend(serde_json::from_slice(&line).ok());
                // Only said when there is more: see the end.
                found.next = Some(record.id.to_string());
            }
            if looked_at >= LOOKED_AT_MAX {
                found.next = Some(record.id.to_string());
                return Ok(found);
            }
        }
    }
    Ok(Page { next: None, ..found })
}
