//! Who was told of an incident, and how that went.

use maud::{Markup, html};
use wire::api::{PageState, PageView};

use crate::ui::Frame;
use crate::ui::parts::{age, badge};
use crate::ui::text::{shown, words};

/// The section; nothing when nobody was told.
pub fn section(frame: Frame<'_>, pages: &[PageView]) -> Markup {
    html! {
        @if !pages.is_empty() {
            section #told aria-labelledby="h-told" {
                h2 #h-told { "Who was told" }
                ul.plain { @for page in pages { (entry(frame, page)) } }
            }
        }
    }
}

/// One page of a person.
pub fn entry(frame: Frame<'_>, page: &PageView) -> Markup {
    let tone = match page.state {
        PageState::Queued => "busy",
        PageState::Sent => "good",
        PageState::Failed => "bad",
        PageState::Dropped => "idle",
    };
    html! {
        li {
            (badge(tone, page.state.name())) " " strong { (shown(&page.contact)) } " "
            @if !page.role.is_empty() { "as " (words(&page.role)) " " }
            "by " (shown(&page.channel)) ", " (words(&page.purpose))
            div.quiet {
                (age(page.sent.unwrap_or(page.created), frame.now))
                @if page.attempts > 1 { " · " (page.attempts) " tries" }
                @if let Some(error) = &page.error { " · " (shown(error)) }
                @if let Some(incident) = &page.incident { " · " a href={ "/incidents/" (incident) } { (incident) } }
            }
        }
    }
}
