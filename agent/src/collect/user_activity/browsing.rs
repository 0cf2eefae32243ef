//! Pages that were visited and files that were downloaded, from the databases of browsers: Chromium's `History` (its
//! `history_database.cc` and `download_database.cc`; times in microseconds since 1601) and Firefox's `places.sqlite`
//! (its `nsPlacesTables.h`; times in microseconds since 1970).

use std::collections::HashMap;

use bundle::time::Instant;

use super::desktop::percent_decoded;
use crate::host::sqlite::{Database, Error, Table, Value};

/// Pages and downloads of one profile: the latest.
const PAGES_MAX: usize = 20_000;
/// Rows of one table that are looked at.
const ROWS_MAX: u32 = 1_000_000;
/// The longest text that is kept.
const TEXT_CHARS_MAX: usize = 4096;
/// From 1601 to 1970.
const CHROMIUM_EPOCH_US: i128 = 11_644_473_600_000_000;

/// A page.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Its address.
    pub url: String,
    /// Its title.
    pub title: Option<String>,
    /// How often it was visited.
    pub visits: u64,
    /// When it was visited last.
    pub at: Option<Instant>,
}

/// A download.
#[derive(Debug, PartialEq, Eq)]
pub struct Download {
    /// Where it came from: the page, or the file itself.
    pub url: String,
    /// Where it was put.
    pub target: Vec<u8>,
    /// How long it is.
    pub bytes: Option<u64>,
    /// When it began.
    pub at: Option<Instant>,
}

/// What a database holds; after a damaged page what came before it, and the error.
#[derive(Debug, Default)]
pub struct Browsing {
    /// Pages, the latest first.
    pub pages: Vec<Page>,
    /// Downloads, the latest first.
    pub downloads: Vec<Download>,
    /// What was wrong.
    pub error: Option<Error>,
}

/// Reads a database of the Chromium family (`History`), or of Firefox (`places.sqlite`).
pub fn read(database: &Database, is_firefox: bool) -> Browsing {
    let mut browsing = Browsing::default();
    let outcome = if is_firefox { firefox(database, &mut browsing) } else { chromium(database, &mut browsing) };
    browsing.error = outcome.err();
    browsing.pages.sort_by_key(|page| std::cmp::Reverse(page.at));
    browsing.pages.truncate(PAGES_MAX);
    browsing.downloads.sort_by_key(|download| std::cmp::Reverse(download.at));
    browsing.downloads.truncate(PAGES_MAX);
    browsing
}

fn chromium(database: &Database, browsing: &mut Browsing) -> Result<(), Error> {
    let time = |value: Option<&Value>| moment(value, CHROMIUM_EPOCH_US);
    each(database, "urls", |_, row| {
        browsing.page(Page {
            url: text(row.get("url")),
            title: title(row.get("title")),
            visits: number(row.get("visit_count")).unwrap_or(0),
            at: time(row.get("last_visit_time")),
        });
    })?;
    each(database, "downloads", |_, row| {
        if browsing.downloads.len() < 2 * PAGES_MAX {
            let url = text(row.get("tab_url"));
            browsing.downloads.push(Download {
                url: if url.is_empty() { text(row.get("referrer")) } else { url },
                target: row.get("target_path").and_then(Value::bytes).unwrap_or_default().to_vec(),
                bytes: number(row.get("received_bytes")),
                at: time(row.get("start_time")),
            });
        }
    })
}

fn firefox(database: &Database, browsing: &mut Browsing) -> Result<(), Error> {
    let mut attribute = None;
    each(database, "moz_anno_attributes", |id, row| {
        if text(row.get("name")) == "downloads/destinationFileURI" {
            attribute = Some(id);
        }
    })?;
    let mut downloads: HashMap<i64, Download> = HashMap::new();
    each(database, "moz_annos", |_, row| {
        let is_download = row.get("anno_attribute_id").and_then(Value::integer) == attribute && attribute.is_some();
        if let Some(place) = row.get("place_id").and_then(Value::integer).filter(|_| is_download)
            && downloads.len() < 2 * PAGES_MAX
        {
            let target = row.get("content").and_then(Value::bytes).unwrap_or_default();
            let target = percent_decoded(target.strip_prefix(b"file://").unwrap_or(target));
            let at = moment(row.get("dateAdded"), 0);
            downloads.insert(place, Download { url: String::new(), target, bytes: None, at });
        }
    })?;
    each(database, "moz_places", |id, row| {
        if let Some(download) = downloads.get_mut(&id) {
            download.url = text(row.get("url"));
        }
        browsing.page(Page {
            url: text(row.get("url")),
            title: title(row.get("title")),
            visits: number(row.get("visit_count")).unwrap_or(0),
            at: moment(row.get("last_visit_date"), 0),
        });
    })?;
    browsing.downloads.extend(downloads.into_values());
    Ok(())
}

impl Browsing {
    /// Keeps a page that was visited: the latest of them, when there are too many.
    fn page(&mut self, page: Page) {
        if page.visits == 0 && page.at.is_none() {
            return;
        }
        if self.pages.len() >= 2 * PAGES_MAX {
            self.pages.sort_by_key(|page| std::cmp::Reverse(page.at));
            self.pages.truncate(PAGES_MAX);
        }
        self.pages.push(page);
    }
}

/// A row whose columns are asked for by name.
struct Row<'a> {
    table: &'a Table,
    values: &'a [Value],
}

impl<'a> Row<'a> {
    fn get(&self, column: &str) -> Option<&'a Value> {
        self.table.get(self.values, column)
    }
}

/// Calls `take` with the id and the values of each row of a table.
fn each(database: &Database, name: &str, mut take: impl FnMut(i64, &Row<'_>)) -> Result<(), Error> {
    let table = database.table(name)?;
    let mut left = ROWS_MAX;
    database.rows(&table, |id, values| {
        take(id, &Row { table: &table, values: &values });
        left -= 1;
        left > 0
    })
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::text).unwrap_or_default().chars().take(TEXT_CHARS_MAX).collect()
}

fn title(value: Option<&Value>) -> Option<String> {
    Some(text(value)).filter(|title| !title.is_empty())
}

fn number(value: Option<&Value>) -> Option<u64> {
    u64::try_from(value?.integer()?).ok()
}

fn moment(value: Option<&Value>, epoch_us: i128) -> Option<Instant> {
    let us = value?.integer().filter(|us| *us > 0)?;
    Some(Instant((i128::from(us) - epoch_us) * 1000))
}
