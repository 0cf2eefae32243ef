//! Who is told of incidents, and how that went lately.

use maud::{Markup, html};
use wire::api::{EscalationStatus, Role};

use super::incident::told;
use super::parts::badge;
use super::text::{shown, words};
use super::{Frame, Here};

/// The page.
pub fn page(frame: Frame<'_>, status: &EscalationStatus) -> Markup {
    let may_test = frame.me.is_some_and(|me| me.role == Role::Responder);
    let main = html! {
        div.heading { h1 { "Escalation" } p.quiet { "Whom the server tells of incidents, in the order of each incident's path." } }
        @if !status.vacant.is_empty() {
            p.alarm.warn {
                "Nobody is named for: "
                @for (at, role) in status.vacant.iter().enumerate() { @if at > 0 { ", " } (words(role)) }
                ". The site's contacts.yaml says who is; until then the next in line is told."
            }
        }
        section aria-labelledby="h-contacts" {
            h2 #h-contacts { "Contacts" }
            @if status.contacts.is_empty() {
                p { "There are none: the server tells nobody. Incidents say whom one should call." }
            }
            ul.entries {
                @for contact in &status.contacts {
                    li {
                        div.line {
                            strong { (shown(&contact.contact)) }
                            @for role in &contact.roles { " " (badge("idle", role)) }
                        }
                        div.quiet {
                            "by "
                            @for (at, channel) in contact.channels.iter().enumerate() { @if at > 0 { ", then " } (shown(channel)) }
                        }
                        @if may_test {
                            form.act method="post" action="/escalation/test" {
                                input type="hidden" name="contact" value=(contact.contact);
                                button.second type="submit" { "Send a test" }
                            }
                        }
                    }
                }
            }
        }
        section aria-labelledby="h-last" {
            h2 #h-last { "Told lately" }
            @if status.pages.is_empty() { p.quiet { "Nobody yet." } }
            ul.plain { @for page in &status.pages { (told::entry(frame, page)) } }
        }
    };
    super::page(frame, Here::Escalation, "Escalation", &main)
}
