//! The items of a bundle as a table that is searched on the server, page by page.

use maud::{Markup, html};

use super::Shown;

use crate::ui::parts::{badge, count, grouped, scroll, short_bytes, short_digest, time};
use crate::ui::text::{clipped, query, shown};

pub use bundle::item::Item;
use bundle::item::Status;

const PATH_CHARS_MAX: usize = 200;
const WHY_CHARS_MAX: usize = 120;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct Search {
    /// The last item of the page before.
    pub after: String,
    /// A part of the path or the collector.
    pub q: String,
    /// One status, by its name; all when empty.
    pub status: String,
}

/// The form and the table.
pub fn section(bundle: &Shown<'_>) -> Markup {
    let Shown { evidence, items, search, unread, .. } = *bundle;
    let here = format!("/evidence/{}", evidence.bundle);
    let more = |after: &str| {
        format!("{here}{}#items", query(&[("q", &search.q), ("status", &search.status), ("after", after)]))
    };
    html! {
        section #items aria-labelledby="h-items" {
            h2 #h-items { "Items" }
            form.search method="get" action={ (here) "#items" } role="search" data-swap="items" {
                label { "Path or collector " input type="search" name="q" value=(search.q) maxlength="200"; }
                label { "Status "
                    select name="status" {
                        option value="" selected[search.status.is_empty()] {
                            "all (" (grouped(evidence.items.values().sum())) ")"
                        }
                        @for (status, number) in &evidence.items {
                            option value=(status) selected[*status == search.status] {
                                (status.replace('_', " ")) " (" (grouped(*number)) ")"
                            }
                        }
                    }
                }
                button type="submit" { "Search" }
            }
            @if items.items.is_empty() {
                p { @if search == &Search::default() { "No item record is verified." } @else { "No item matches." } }
            } @else {
                (scroll("Items", &table(&items.items)))
            }
            @if unread > 0 {
                p.alarm.warn { (unread) " more records are here, of a form that this version cannot show." }
            }
            nav.pager aria-label="Pages of items" {
                span.quiet { (count(items.items.len() as u64, "item")) " on this page" }
                @if !search.after.is_empty() { a href=(more("")) { "To the first page" } }
                @if let Some(next) = &items.next { a rel="next" href=(more(next)) { "More items" } }
            }
        }
    }
}

fn table(items: &[Item]) -> Markup {
    html! {
        table.dense.items.stacks {
            caption.unseen-label { "Items, in the order in which they were taken" }
            thead { tr {
                th.right scope="col" { "No." } th scope="col" { "Status" } th scope="col" { "Path" }
                th scope="col" { "Collector" } th.right scope="col" { "Size" } th scope="col" { "Taken" }
                th scope="col" { "SHA-256" }
            } }
            tbody { @for item in items { (row(item)) } }
        }
    }
}

fn row(item: &Item) -> Markup {
    html! {
        tr {
            td.right { (item.id) }
            td { (status(item.status)) }
            th.path.whole scope="row" {
                (clipped(&item.path, PATH_CHARS_MAX))
                @if let Some(target) = item.meta.as_ref().and_then(|meta| meta.target.as_deref()) {
                    span.quiet { " → " (clipped(target, PATH_CHARS_MAX)) }
                }
                @for why in [&item.reason, &item.error].into_iter().flatten() {
                    div.quiet { (clipped(why, WHY_CHARS_MAX)) }
                }
            }
            td { (shown(&item.collector)) div.quiet { (item.tier) } }
            td.right.nowrap { @if let Some(size) = item.size { (short_bytes(size)) } }
            td.nowrap { (time(item.collected)) }
            td { @if let Some(sha256) = item.sha256 { (short_digest(sha256)) } }
        }
    }
}

fn status(status: Status) -> Markup {
    let (tone, word) = match status {
        Status::Ok => ("good", "ok"),
        Status::Grew => ("good", "grew"),
        Status::MetaOnly => ("idle", "meta only"),
        Status::Skipped => ("idle", "skipped"),
        Status::Redacted => ("idle", "redacted"),
        Status::Shrank => ("warn", "shrank"),
        Status::Changed => ("warn", "changed"),
        Status::Truncated => ("warn", "truncated"),
        Status::Vanished => ("warn", "vanished"),
        Status::TimedOut => ("warn", "timed out"),
        Status::Denied => ("bad", "denied"),
        Status::Error => ("bad", "error"),
    };
    badge(tone, word)
}
