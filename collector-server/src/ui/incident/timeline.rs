//! What happened, the newest first: the custody log of the incident in words.

use maud::{Markup, html};
use wire::api::IncidentView;
use wire::case::TimelineEntry;

use super::act::{form, may};
use crate::ui::Frame;
use crate::ui::parts::time;
use crate::ui::text::{clipped, query, shown};

/// A text may be this long before it folds.
const TEXT_CHARS_MAX: usize = 400;

/// The section. `entries` are the last ones, the oldest first.
pub fn section(frame: Frame<'_>, view: &IncidentView, entries: &[TimelineEntry]) -> Markup {
    let incident = &view.summary.incident;
    html! {
        section #timeline aria-labelledby="h-timeline" {
            h2 #h-timeline { "Timeline" }
            @if may(frame) && view.case.merged_into.is_none() {
                (form(incident, "note", &html! {
                    label.wide { "Note " textarea name="text" rows="2" required maxlength="16000" {} }
                    label { input type="checkbox" name="update" value="true"; " It tells people where we stand" }
                }, "Add"))
            }
            @if entries.is_empty() { p.quiet { "Nothing yet." } }
            ol.timeline reversed {
                @for entry in entries.iter().rev() {
                    li class={ "is-" (kind(&entry.event)) } {
                        div.quiet { (time(entry.time)) " · " (shown(&entry.actor)) " · leaf " (entry.seq) }
                        div { (clipped(&entry.text, TEXT_CHARS_MAX)) }
                    }
                }
            }
            p {
                a href={ "/custody" (query(&[("incident", incident.as_str())])) } { "All custody entries of this incident" }
            }
        }
    }
}

/// What people wrote stands out among what the server did.
fn kind(event: &str) -> &'static str {
    match event {
        "note_added" => "note",
        "alert_received" | "incident_opened" => "alert",
        _ => "other",
    }
}
