//! The page for a request that failed: what is wrong, and the next step.

use maud::{Markup, html};
use wire::api::ErrorBody;

use super::text::shown;
use super::{Frame, Here};

/// The page.
pub fn page(frame: Frame<'_>, error: &ErrorBody) -> Markup {
    let heading = match error.code.as_str() {
        "not_found" => "Not found",
        "forbidden" => "Not allowed",
        "unauthorized" => "Not signed in",
        "conflict" => "Not as it stands",
        "unavailable" => "Not available now",
        "internal" => "The server failed",
        _ => "The request cannot be answered",
    };
    let main = html! {
        section.narrow {
            h1 { (heading) }
            p { (shown(&error.message)) "." }
            @if let Some(hint) = &error.hint { p { strong { "Next: " } (shown(hint)) "." } }
            p { a href="/" { "To the incidents" } }
        }
    };
    super::page(frame, Here::Elsewhere, heading, &main)
}

/// For a request that another site caused: browsers leave the cookie of the session out of it, but send it when this
/// page asks for the same address again.
pub fn pass_on(frame: Frame<'_>, to: &str) -> Markup {
    let main = html! {
        section.narrow {
            h1 { "One moment" }
            p { a href=(to) { "Go on to this server" } }
        }
    };
    super::page_with(
        frame,
        Here::Elsewhere,
        "One moment",
        &html! { meta http-equiv="refresh" content={ "0; url=" (to) }; },
        &main,
    )
}
