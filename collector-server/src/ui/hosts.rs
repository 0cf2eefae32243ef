//! The hosts that are enrolled, and how to enrol one.

use maud::{Markup, html};
use wire::api::{HostView, Page};

use super::parts::{age, badge, command, key, time};
use super::text::{query, shown};
use super::{Frame, Here};

/// The page. `label` is what was asked for; `later` says that it is not the first one.
pub fn page(frame: Frame<'_>, hosts: &Page<HostView>, label: &str, later: bool) -> Markup {
    let (is_narrowed, asked) = (!label.is_empty(), ("label", label));
    let main = html! {
        div.heading {
            h1 { "Hosts" }
            p { a href="/hunts" { "Hunts" } ": one profile over many of them." }
            p.quiet { "Hosts with an enrolled agent. What a host says of itself is not proven." }
        }
        @if is_narrowed {
            p { "Only those with " code { (shown(label)) } ". " a href="/hosts" { "All hosts" } }
        }
        @if hosts.items.is_empty() {
            @if later { p { "There are no more." } }
            @else if is_narrowed { p { "No host has these labels." } }
            @else { p { "No host is enrolled yet." } }
        } @else {
            label.filter hidden { "Filter " input type="search" data-filter="hosts" placeholder="name, system, agent"; }
            (table(frame, &hosts.items))
        }
        nav.pager aria-label="Pages" {
            @if later { a href={ "/hosts" (query(&[asked])) } { "To the first page" } }
            @if let Some(next) = &hosts.next {
                a rel="next" href={ "/hosts" (query(&[asked, ("after", next)])) } { "More hosts" }
            }
        }
        (enrol(hosts.items.is_empty() && !later && !is_narrowed))
    };
    super::page(frame, Here::Hosts, "Hosts", &main)
}

/// Whether the agent is there, in a colour and in words.
pub fn connection(frame: Frame<'_>, host: &HostView) -> Markup {
    html! {
        @if host.connected { (badge("good", "connected")) }
        @else if host.silent.is_some() { (badge("bad", "gone silent")) }
        @else { (badge("warn", "not connected")) }
        @match host.last_seen {
            Some(at) if !host.connected => { " " span.quiet { "last heard " (age(at, frame.now)) } },
            None => { " " span.quiet { "never heard" } },
            Some(_) => {},
        }
    }
}

/// How its clock goes, where that is known: a wrong one stands in each line that it wrote.
pub fn clock(host: &HostView) -> Markup {
    html! {
        @if let Some(clock) = host.facts.clock() {
            div.quiet {
                "clock " (clock)
                @if host.facts.is_clock_wrong() { " " (badge("warn", "wrong clock")) }
            }
        }
    }
}

fn table(frame: Frame<'_>, hosts: &[HostView]) -> Markup {
    html! {
        table #hosts .cards {
            caption.unseen-label { "Enrolled hosts" }
            thead {
                tr {
                    th scope="col" { "Host" }
                    th scope="col" { "Agent" }
                    th scope="col" { "System" }
                    th scope="col" { "Enrolled" }
                    th scope="col" { "Certificate until" }
                    th scope="col" { "Signing key" }
                }
            }
            tbody {
                @for host in hosts {
                    tr {
                        th scope="row" {
                            a.host href={ "/hosts/" (host.agent) } { (shown(&host.facts.name)) }
                            div.quiet.id { (host.agent) }
                            @if !host.marks.is_empty() { div { (super::host::marks(&host.marks)) } }
                        }
                        td data-label="Agent" {
                            (connection(frame, host)) div.quiet { "version " (shown(&host.facts.agent_version)) }
                        }
                        td data-label="System" {
                            (shown(host.facts.os_id.as_deref().unwrap_or("unknown system")))
                            div.quiet { (shown(&host.facts.kernel)) " " (shown(&host.facts.arch)) }
                            (clock(host))
                        }
                        td data-label="Enrolled" { (age(host.enrolled, frame.now)) }
                        td data-label="Certificate until" {
                            (time(host.certificate_expires))
                            @if host.certificate_expires <= frame.now { " " (badge("bad", "ended")) }
                        }
                        td data-label="Signing key" { (key(&host.signer)) }
                    }
                }
            }
        }
    }
}

fn enrol(open: bool) -> Markup {
    html! {
        details.section open[open] {
            summary { "Enrol a host" }
            p { "A responder makes a ticket, which lets in one host once:" }
            (command("holdfast host enroll-ticket --host NAME > ticket"))
            p { "On the host, with the keys of the responders whose orders it shall take, and its own policy:" }
            (command(
                "holdfast-agent enroll --ticket ticket --signers allowed_signers --policy policy.toml\n\
                 holdfast-agent run"
            ))
            p.quiet { "The ticket is a secret: take it to the host in a file." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_shown_and_a_right_one_is_no_warning() {
        let mut host = crate::ui::samples::host("db-1", true);
        let mut shown = |secs: Option<i64>| {
            host.facts.clock_offset_ns = secs.map(|secs| secs * 1_000_000_000);
            clock(&host).into_string()
        };
        assert_eq!(shown(None), "");
        assert!(!shown(Some(0)).contains("wrong clock"));
        let late = shown(Some(600));
        assert!(late.contains("clock 10 min behind") && late.contains("wrong clock"), "{late}");
    }
}
