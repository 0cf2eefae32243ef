//! The custody log: every decision, in the order in which it was recorded.

use maud::{Markup, html};
use serde_json::{Map, Value};
use wire::IncidentId;
use wire::api::Page;
use wire::custody::{HeadPoint, Leaf};

use super::parts::{command, digest, grouped, scroll, time};
use super::text::{clipped, query, shown, words};
use super::{Frame, Here};

/// Details of a leaf that are shown before they fold.
const DETAILS_CHARS_MAX: usize = 120;

/// The page. `incident` is the one to which the leaves are narrowed.
pub fn page(
    frame: Frame<'_>,
    leaves: &Page<Leaf>,
    head: HeadPoint,
    incident: Option<&IncidentId>,
    later: bool,
) -> Markup {
    let of = incident.map(ToString::to_string).unwrap_or_default();
    let main = html! {
        div.heading {
            h1 { "Custody log" @if let Some(incident) = incident { " of " (incident) } }
            p.quiet { "Append-only: each entry is a leaf of one Merkle tree (RFC 6962)." }
        }
        section.panel aria-labelledby="head" {
            h2 #head { "State of the tree" }
            dl.facts {
                dt { "Leaves" } dd { (grouped(head.size)) }
                dt { "Root" } dd { (digest(head.root)) }
            }
            p { "Whoever kept an earlier root can prove that nothing before it was changed:" }
            (command("holdfast custody verify --head EARLIER"))
            p { a href="/api/v1/custody/export" download { "Download the log with its newest signed head" } }
        }
        @if incident.is_some() { p { a href="/custody" { "All incidents" } } }
        @if leaves.items.is_empty() { p { "There are no entries here." } } @else { (table(&leaves.items, incident)) }
        nav.pager aria-label="Pages" {
            @if later { a href={ "/custody" (query(&[("incident", &of)])) } { "To the beginning" } }
            @if let Some(next) = &leaves.next {
                a rel="next" href={ "/custody" (query(&[("incident", &of), ("after", next)])) } { "Later entries" }
            }
        }
    };
    super::page(frame, Here::Custody, "Custody log", &main)
}

/// Leaves as a table; each links to its incident, but for those of the one whose page it is.
pub fn table(leaves: &[Leaf], here: Option<&IncidentId>) -> Markup {
    scroll(
        "Custody entries",
        &html! {
            table.dense.stacks {
                caption.unseen-label { "Custody entries, the oldest first" }
                thead {
                    tr {
                        th.right scope="col" { "No." }
                        th scope="col" { "Time" }
                        th scope="col" { "Event" }
                        th scope="col" { "By" }
                        th scope="col" { "To" }
                        th scope="col" { "Details" }
                    }
                }
                tbody {
                    @for leaf in leaves {
                        tr {
                            td.right { (leaf.seq) }
                            td.nowrap { (time(leaf.time)) }
                            th scope="row" { (words(&leaf.event)) }
                            td.break { (shown(&leaf.actor)) }
                            td.break {
                                (shown(&leaf.subject))
                                @if let Some(incident) = leaf.incident.as_ref().filter(|incident| Some(*incident) != here) {
                                    div { a href={ "/incidents/" (incident) } { (incident) } }
                                }
                            }
                            td.break.quiet.whole { (clipped(&details(&leaf.details), DETAILS_CHARS_MAX)) }
                        }
                    }
                }
            }
        },
    )
}

/// `key: value` of each detail; objects and lists stay JSON.
fn details(details: &Map<String, Value>) -> String {
    let pairs = details.iter().map(|(key, value)| match value {
        Value::String(text) => format!("{key}: {text}"),
        other => format!("{key}: {other}"),
    });
    pairs.collect::<Vec<_>>().join(" · ")
}
