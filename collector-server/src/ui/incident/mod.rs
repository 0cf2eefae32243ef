//! An incident: what it is in one glance, what to do next, and what was done.

mod act;
mod alerts;
mod case;
mod checklist;
mod containment;
mod due;
mod hosts;
mod orders;
mod response;
mod timeline;
pub mod told;
mod why;

pub use containment::lease;
use maud::{Markup, html};
use wire::api::{EvidenceView, IncidentView};
use wire::case::{ActionReply, TimelineEntry};
use wire::response::Audience;

use super::evidence::level_tone;
use super::parts::{age, badge, bytes, count, evidence_state, grouped, severity, severity_word, time, tone, trust};
use super::text::{clipped, shown, words};
use super::{Frame, Here};

/// A title may be this long before it folds.
const TITLE_CHARS_MAX: usize = 160;

/// The page. `entries` are the last of its timeline.
pub fn page(frame: Frame<'_>, view: &IncidentView, entries: &[TimelineEntry]) -> Markup {
    let incident = &view.summary.incident;
    let main = html! {
        div data-live={ "/api/v1/incidents/" (incident) "/events" } {
            (glance(frame, view))
            (why::section(&view.assessment))
            div.columns {
                div {
                    (hosts::section(frame, view))
                    (containment::section(frame, view))
                    (orders::section(view))
                    (evidence(frame, &view.evidence))
                    (checklist::section(frame, view))
                    (alerts::section(frame, view))
                    (timeline::section(frame, view, entries))
                }
                div {
                    (case::section(frame, view))
                    (due::timers(&view.timers))
                    (response::sections(&view.assessment))
                    (told::section(frame, &view.pages))
                    (due::clocks(frame, view))
                    (drafts(view))
                    (response::seen(&view.assessment))
                }
            }
            p.unseen-label #live-status role="status" {}
        }
    };
    let title = format!("{} {incident}: {}", view.summary.severity, view.summary.title);
    super::page(frame, Here::Incidents, &title, &main)
}

/// The page after an action that was done and leaves something to know.
pub fn done(frame: Frame<'_>, reply: &ActionReply) -> Markup {
    let main = html! {
        div.narrow.section {
            h1 { "Done, and to be known" }
            ul { @for warning in &reply.warnings { li { (shown(warning)) } } }
            p { a.button href={ "/incidents/" (reply.incident) } { "Back to " (reply.incident) } }
        }
    };
    super::page(frame, Here::Incidents, "Done, and to be known", &main)
}

fn drafts(view: &IncidentView) -> Markup {
    html! {
        section #drafts aria-labelledby="h-drafts" {
            h2 #h-drafts { "Drafts" }
            p.quiet { "Filled from this incident; read and mend them before they go out." }
            ul.plain {
                @for audience in Audience::ALL {
                    li { a href={ "/incidents/" (view.summary.incident) "/drafts/" (audience.name()) } { "for " (words(audience.name())) } }
                }
            }
        }
    }
}

fn glance(frame: Frame<'_>, view: &IncidentView) -> Markup {
    let (summary, assessment) = (&view.summary, &view.assessment);
    html! {
        section #glance class={ "glance edge-" (summary.severity.name()) } aria-labelledby="title" {
            p.over {
                (severity(summary.severity)) " " (severity_word(summary.severity)) " · "
                (words(&summary.incident_type)) " · " span.id { (summary.incident) }
            }
            h1 #title { (clipped(&summary.title, TITLE_CHARS_MAX)) }
            p.next { strong { "Next: " } (shown(&assessment.recommended_action)) }
            dl.strip {
                @if !summary.hosts.is_empty() {
                    div { dt { "Victims" } dd { strong { (super::board::hosts(&summary.hosts)) } } }
                }
                div {
                    dt { "Opened" } dd { (time(summary.opened)) " " span.quiet { (age(summary.opened, frame.now)) } }
                }
                div { dt { "Updated" } dd { (age(summary.updated, frame.now)) } }
                div { dt { "Phase" } dd { (words(summary.phase.name())) } }
                div {
                    dt { "Disposition" }
                    dd {
                        @match summary.closed {
                            Some(closed) => { (badge("good", "closed")) " " (words(closed.name())) },
                            None => (words(&assessment.disposition)),
                        }
                    }
                }
                div { dt { "Certainty of the type" } dd { (percent(assessment.classification_confidence)) } }
                @if let Some(hours) = assessment.dwell_hours {
                    div { dt { "Dwell" } dd { (format!("{hours:.1} h")) } }
                }
                div { dt { "Alerts" } dd { (grouped(summary.alerts)) } }
                div { dt { "Evidence" } dd { (count(summary.evidence, "bundle")) } }
            }
        }
    }
}

/// A share of one, held to its bounds: it came from outside.
fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).clamp(0.0, 100.0))
}

fn evidence(frame: Frame<'_>, evidence: &[EvidenceView]) -> Markup {
    html! {
        section #evidence aria-labelledby="h-evidence" {
            h2 #h-evidence { "Evidence" }
            @if evidence.is_empty() {
                p { "Nothing has arrived yet." }
            } @else {
                ul.entries {
                    @for bundle in evidence {
                        li {
                            div.line {
                                (evidence_state(bundle.state)) " "
                                a.title href={ "/evidence/" (bundle.bundle) } {
                                    (shown(&bundle.host)) " · "
                                    @let unknown = if bundle.encrypted { "encrypted" } else { "profile not known yet" };
                                    (shown(bundle.profile.as_deref().unwrap_or(unknown)))
                                }
                                span.push.quiet { (age(bundle.received, frame.now)) }
                            }
                            div.quiet {
                                @if super::evidence::doubt(bundle).is_some() {
                                    (badge("warn", trust(bundle.trust))) " "
                                }
                                (bytes(bundle.bytes)) " · " (count(bundle.items.values().sum(), "item")) " · "
                                (count(bundle.receipts.len() as u64, "receipt")) " · " (trust(bundle.trust)) " · "
                                span.id { (bundle.bundle.short()) }
                            }
                            @if let Some(found) = bundle.found.as_ref().filter(|found| !found.levels.is_empty()) {
                                div.line {
                                    @for (level, number) in found.levels.iter().rev() {
                                        (badge(level_tone(*level), &format!("{number} {}", level.name()))) " "
                                    }
                                    a href={ "/evidence/" (bundle.bundle) "#findings" } { "findings" }
                                }
                            }
                            @if let Some(warning) = super::evidence::warning(bundle.state) {
                                p class={ "alarm " (tone(bundle.state)) } { (warning) }
                            }
                        }
                    }
                }
            }
        }
    }
}
