//! Pages: pure functions from the answers of `app/` to markup. They work without the script, which only adds what
//! moves: live progress, filters as one types, local times, copying.
//!
//! Architecture invariant: nothing here reads the store, and no text gets into a page but through maud's escaping;
//! texts from outside go through [`text`].

pub mod board;
pub mod custody;
pub mod draft;
pub mod escalation;
pub mod evidence;
pub mod host;
pub mod hosts;
pub mod hunts;
pub mod incident;
pub mod parts;
pub mod problem;
pub mod report;
pub mod sign_in;
pub mod text;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use maud::{DOCTYPE, Markup, html};
use wire::api::Me;
use wire::{Instant, Sha256};

use text::{plain, shown};

/// A file that pages load.
pub struct Asset {
    /// Its content.
    pub body: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// Where it is served. The name changes with the content, so that it may be cached for ever.
    pub path: String,
}

/// How pages look.
pub static STYLE: LazyLock<Asset> = LazyLock::new(|| asset("style", "css", "text/css", include_str!("style.css")));
/// What moves in them.
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| asset("live", "js", "text/javascript", include_str!("live.js")));

fn asset(name: &str, extension: &str, media_type: &'static str, body: &'static str) -> Asset {
    let digest = Sha256::of(body.as_bytes()).to_string();
    Asset { body, media_type, path: format!("/assets/{name}-{}.{extension}", digest.get(..12).unwrap_or_default()) }
}

/// A hold: two posts and the rail that they keep.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
    %3Crect width='16' height='16' rx='3' fill='%231f4e79'/%3E\
    %3Cpath d='M5 3v10M11 3v10M5 8h6' stroke='%23fff' stroke-width='2'/%3E%3C/svg%3E";

/// What every page knows.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// Who looks; none before signing in.
    pub me: Option<&'a Me>,
    /// The server's clock.
    pub now: Instant,
}

/// The part of the site that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// The board, incidents and their evidence.
    Incidents,
    /// Hosts.
    Hosts,
    /// The custody log.
    Custody,
    /// Who is told of incidents.
    Escalation,
    /// The form of a report.
    Report,
    /// None of them.
    Elsewhere,
}

/// A whole page around `main`.
pub fn page(frame: Frame<'_>, here: Here, title: &str, main: &Markup) -> Markup {
    page_with(frame, here, title, &html! {}, main)
}

/// The same, with more in its head.
fn page_with(frame: Frame<'_>, here: Here, title: &str, head: &Markup, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (plain(title)) " · Holdfast" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href=(STYLE.path);
                script src=(SCRIPT.path) defer {}
                (head)
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (top(frame, here))
                main #main tabindex="-1" { (main) }
                footer {
                    "Server time " (parts::time(frame.now)) ". All times are UTC."
                }
            }
        }
    }
}

fn top(frame: Frame<'_>, here: Here) -> Markup {
    let link = |to: Here, href: &str, name: &str| {
        html! { li { a href=(href) aria-current=[(to == here).then_some("true")] { (name) } } }
    };
    html! {
        header.top {
            a.brand href="/" { "Holdfast" }
            @if let Some(me) = frame.me {
                nav aria-label="Main" {
                    ul {
                        (link(Here::Incidents, "/", "Incidents"))
                        (link(Here::Hosts, "/hosts", "Hosts"))
                        (link(Here::Escalation, "/escalation", "Escalation"))
                        (link(Here::Custody, "/custody", "Custody"))
                        (link(Here::Report, "/report", "Report something"))
                    }
                }
                form.who method="post" action="/sign-out" {
                    span { (shown(&me.name)) " " span.quiet { (role(me)) } }
                    button.plain type="submit" { "Sign out" }
                }
            }
        }
    }
}

const fn role(me: &Me) -> &'static str {
    match me.role {
        wire::api::Role::Source => "source",
        wire::api::Role::Analyst => "analyst",
        wire::api::Role::Responder => "responder",
    }
}
