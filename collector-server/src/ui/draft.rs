//! A text about an incident for somebody outside the work on it.

use maud::{Markup, html};
use wire::IncidentId;
use wire::api::Draft;
use wire::response::Audience;

use super::text::{lines, words};
use super::{Frame, Here};

/// The page.
pub fn page(frame: Frame<'_>, incident: &IncidentId, draft: &Draft) -> Markup {
    let main = html! {
        div.heading {
            h1 { "Draft for " (words(draft.audience.name())) }
            p.quiet { a href={ "/incidents/" (incident) } { (incident) } }
        }
        p {
            "Filled from the incident as it stands now. What nobody has entered stands in brackets. Read it, mend it, and "
            "have it approved before it goes out."
        }
        section aria-label="The draft" { pre.draft tabindex="0" { (lines(&draft.text)) } }
        nav.pager aria-label="Other drafts" {
            @for other in Audience::ALL.into_iter().filter(|other| *other != draft.audience) {
                a href={ "/incidents/" (incident) "/drafts/" (other.name()) } { "for " (words(other.name())) }
            }
        }
    };
    super::page(frame, Here::Incidents, &format!("Draft for {}: {incident}", draft.audience.name()), &main)
}
