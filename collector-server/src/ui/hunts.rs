//! Hunts: one profile over many hosts, and where each order stands. Everything is counted.

use maud::{Markup, html};
use wire::api::Page;
use wire::hunt::{HuntHost, HuntState, HuntView};

use super::parts::{age, badge, command, count, order_state, time};
use super::text::shown;
use super::{Frame, Here};

/// The list.
pub fn list(frame: Frame<'_>, hunts: &Page<HuntView>) -> Markup {
    let main = html! {
        div.heading {
            h1 { "Hunts" }
            p.quiet { "One profile over many hosts. Each order is signed by a responder, and waits here for its turn." }
        }
        @if hunts.items.is_empty() { p { "Nobody has hunted yet." } } @else { (table(frame, &hunts.items)) }
        section {
            h2 { "Begin one" }
            (command("holdfast hunt PROFILE --label KEY=VALUE --incident INCIDENT"))
        }
    };
    super::page(frame, Here::Hosts, "Hunts", &main)
}

fn table(frame: Frame<'_>, hunts: &[HuntView]) -> Markup {
    html! {
        table.cards {
            caption.unseen-label { "Hunts" }
            thead {
                tr {
                    th scope="col" { "Profile" }
                    th scope="col" { "State" }
                    th scope="col" { "Orders" }
                    th scope="col" { "Incident" }
                    th scope="col" { "Begun" }
                }
            }
            tbody {
                @for hunt in hunts {
                    tr {
                        th scope="row" { a href={ "/hunts/" (hunt.hunt) } { (shown(&hunt.profile)) } }
                        td data-label="State" { (state(hunt.state)) }
                        td data-label="Orders" { (orders(hunt)) }
                        td data-label="Incident" { a href={ "/incidents/" (hunt.incident) } { (hunt.incident) } }
                        td data-label="Begun" { (age(hunt.created, frame.now)) " by " (shown(&hunt.created_by)) }
                    }
                }
            }
        }
    }
}

/// One of them.
pub fn page(frame: Frame<'_>, hunt: &HuntView) -> Markup {
    let main = html! {
        div.heading {
            h1 { "Hunt: " (shown(&hunt.profile)) }
            p { (state(hunt.state)) " " (orders(hunt)) }
            p.quiet.id { (hunt.hunt) }
        }
        section aria-labelledby="h-terms" {
            h2 #h-terms { "Its terms" }
            dl.facts {
                dt { "Incident" }
                dd { a href={ "/incidents/" (hunt.incident) } { (hunt.incident) } }
                @if let Some(purpose) = &hunt.purpose { dt { "Purpose" } dd { (shown(purpose)) } }
                dt { "Labels" }
                dd {
                    @if hunt.labels.is_empty() { "none: its hosts were named" }
                    @for label in &hunt.labels { code { (shown(&label.to_string())) } " " }
                }
                dt { "Begun" }
                dd { (age(hunt.created, frame.now)) " by " (shown(&hunt.created_by)) }
                dt { "Ends" }
                dd { (time(hunt.expires)) }
                dt { "Let go" }
                dd { (hunt.rate_per_min) " a minute, " (hunt.concurrency) " under way at a time" }
                dt { "Findings" }
                dd {
                    @if hunt.findings.is_empty() { "none so far" }
                    @for (at, (level, found)) in hunt.findings.iter().rev().enumerate() {
                        @if at > 0 { ", " } (found) " " (level.name())
                    }
                }
            }
            @if hunt.state.is_open() { (command(&format!("holdfast hunt cancel {} --reason 'WHY'", hunt.hunt))) }
        }
        section aria-labelledby="h-of" {
            h2 #h-of { (count(hunt.hosts.len() as u64, "host")) }
            (hosts(&hunt.hosts))
        }
    };
    super::page(frame, Here::Hosts, "Hunt", &main)
}

fn hosts(hosts: &[HuntHost]) -> Markup {
    html! {
        table #hosts .cards {
            caption.unseen-label { "Hosts of the hunt" }
            thead {
                tr { th scope="col" { "Host" } th scope="col" { "What is gone first" } th scope="col" { "The rest" } }
            }
            tbody {
                @for host in hosts {
                    tr {
                        th scope="row" { a.host href={ "/hosts/" (host.agent) } { (shown(&host.host)) } }
                        @for (wave, label) in [(1, "What is gone first"), (2, "The rest")] {
                            td data-label=(label) {
                                @for order in host.orders.iter().filter(|order| order.wave == wave) {
                                    @if order.released.is_none() && !order.state.is_final() { (badge("idle", "waits")) }
                                    @else { (order_state(order.state)) }
                                    @if let Some(bundle) = order.bundle { " " a href={ "/evidence/" (bundle) } { "bundle" } }
                                    @if let Some(found) = order.findings { " " (count(found, "finding")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn state(state: HuntState) -> Markup {
    let tone = match state {
        HuntState::Gathering | HuntState::Running => "busy",
        HuntState::Done => "good",
        HuntState::Expired => "warn",
        HuntState::Cancelled => "idle",
    };
    badge(tone, state.name())
}

fn orders(hunt: &HuntView) -> Markup {
    html! {
        (count(hunt.orders.values().sum(), "order")) ": "
        @for (at, (state, orders)) in hunt.orders.iter().enumerate() {
            @if at > 0 { ", " } (orders) " " (state.replace('_', " "))
        }
        @if hunt.held > 0 { " (" (hunt.held) " wait for their turn)" }
    }
}
