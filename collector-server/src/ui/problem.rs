//! The page for a request that failed: what is wrong, and the next step.

use maud::{Markup, html};

use super::text::shown;
use super::{Frame, Here};
use crate::app::{Problem, ProblemKind};

/// The page.
pub fn page(frame: Frame<'_>, problem: &Problem) -> Markup {
    let heading = match problem.kind {
        ProblemKind::NotFound => "Not found",
        ProblemKind::Forbidden => "Not allowed",
        ProblemKind::Credentials => "Sign in first",
        ProblemKind::Conflict => "Something changed meanwhile",
        ProblemKind::Unavailable => "Not available now",
        ProblemKind::Internal => "The server failed",
        _ => "The request cannot be answered",
    };
    let main = html! {
        section.narrow {
            h1 { (heading) }
            p { (shown(&problem.message)) "." }
            @if let Some(hint) = &problem.hint {
                p { strong { "Next: " } (shown(hint)) "." }
            }
            p { a href="/" { "To the incidents" } }
        }
    };
    super::page(frame, Here::Elsewhere, heading, &main)
}
