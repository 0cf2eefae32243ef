//! Where the work on an incident stands, who does it, and how it ends.

use maud::{Markup, html};
use wire::api::IncidentView;
use wire::assessment::Severity;
use wire::case::{Case, Disposition, Stamp};
use wire::response::Phase;

use super::act::{choice, folded, form, line, may, perhaps, words};
use crate::ui::Frame;
use crate::ui::parts::{age, badge, severity};
use crate::ui::text::{self, shown};

const SEVERITIES: [Severity; 4] = [Severity::Sev1, Severity::Sev2, Severity::Sev3, Severity::Sev4];

/// The section.
pub fn section(frame: Frame<'_>, view: &IncidentView) -> Markup {
    let (case, incident) = (&view.case, &view.summary.incident);
    html! {
        section #case aria-labelledby="h-case" {
            h2 #h-case { "Response" }
            (standing(frame, case))
            dl.facts {
                dt { "Phase" } dd { (text::words(case.phase.name())) }
                @for (role, person) in &case.roles { dt { (text::words(role)) } dd { (shown(person)) } }
                @if let Some(over) = &case.overridden {
                    dt { "Overridden" }
                    dd {
                        @if let Some(kind) = &over.incident_type { (text::words(kind)) " " }
                        @if let Some(to) = over.severity { (severity(to)) " " }
                        (why(frame, &over.stamp))
                    }
                }
                @for (other, reason) in &case.related {
                    dt { "Related" } dd { a href={ "/incidents/" (other) } { (other) } " " span.quiet { (shown(reason)) } }
                }
                @for other in &view.absorbed {
                    dt { "Holds" } dd { a href={ "/incidents/" (other) } { (other) } span.quiet { ", merged into this one" } }
                }
            }
            @if may(frame) && case.merged_into.is_none() {
                @if case.acknowledged.is_none() && case.closed.is_none() {
                    (form(incident, "acknowledge", &html! {}, "I have it"))
                }
                (phase(view))
                (folded(incident, "assign", "Give somebody a role", &html! {
                    (choice("role", "Role", ROLES.iter().map(|role| (*role, words(role)))))
                    (perhaps("person", "Person", "empty takes it back"))
                }, "Assign"))
                (folded(incident, "override", "Contradict the rules", &html! {
                    (choice("severity", "Severity", none("as the rules say").chain(SEVERITIES.iter().map(|one| (one.name(), one.name().to_owned())))))
                    (perhaps("incident_type", "Type", "as the rules say"))
                    (line("reason", "Why", "needed; it stands in custody"))
                }, "Override"))
                @match &case.closed {
                    None => (folded(incident, "close", "Close it", &html! {
                        (choice("disposition", "It was a", Disposition::ALL.iter().map(|one| (one.name(), words(one.name())))))
                        (line("reason", "Why", "what shows it"))
                    }, "Close")),
                    Some(_) => (folded(incident, "reopen", "Open it again", &line("reason", "Why", "what is new"), "Open again")),
                }
            }
        }
    }
}

/// The roles that the form offers; a site's own are given on the command line.
const ROLES: [&str; 5] = ["incident_commander", "technical_lead", "communications", "scribe", "legal"];

fn none(words: &str) -> impl Iterator<Item = (&'static str, String)> {
    std::iter::once(("", words.to_owned()))
}

fn standing(frame: Frame<'_>, case: &Case) -> Markup {
    html! {
        @if let Some(other) = &case.merged_into {
            p.alarm.busy { "Its alerts went into " a href={ "/incidents/" (other) } { (other) } ". Work goes on there." }
        } @else if let Some(closing) = &case.closed {
            p { (badge("good", "closed")) " as " strong { (text::words(closing.disposition.name())) } ". " (why(frame, &closing.stamp)) }
        } @else if let Some(stamp) = &case.acknowledged {
            p { (badge("good", "acknowledged")) " " (why(frame, stamp)) }
        } @else {
            p { (badge("warn", "nobody has it yet")) }
        }
    }
}

/// Who, when and why.
pub fn why(frame: Frame<'_>, stamp: &Stamp) -> Markup {
    html! {
        span.quiet {
            "by " (shown(&stamp.by)) ", " (age(stamp.time, frame.now))
            @if !stamp.reason.is_empty() { ": " (shown(&stamp.reason)) }
        }
    }
}

fn phase(view: &IncidentView) -> Markup {
    let (case, incident) = (&view.case, &view.summary.incident);
    let is_ticked = |id: &String| case.steps.contains_key(id);
    let open = view.checklist.iter().filter(|step| step.phase == case.phase && !is_ticked(&step.id)).count();
    let others = Phase::ALL.into_iter().filter(|phase| *phase != case.phase);
    folded(
        incident,
        "phase",
        "Go to another phase",
        &html! {
            (choice("phase", "Phase", others.map(|phase| (phase.name(), words(phase.name())))))
            @if open > 0 { p.quiet { (open) " steps of this phase are open." } }
            (perhaps("reason", "Why", if open > 0 { "why the open steps can wait" } else { "" }))
        },
        "Go on",
    )
}
