//! What triage says is to be done: whom to wake, what to collect, what to contain; and what it saw.

use maud::{Markup, html};
use wire::assessment::{Assessment, Containment, EscalationPath, EvidencePlan};

use crate::ui::parts::badge;
use crate::ui::text::{clipped, shown, words};

const INDICATORS_SHOWN_MAX: usize = 30;
const INDICATOR_CHARS_MAX: usize = 120;

/// The sections, in the order in which they are needed.
pub fn sections(assessment: &Assessment) -> Markup {
    html! {
        (escalation(&assessment.escalation_path))
        (containment(&assessment.containment))
        (plan(&assessment.evidence_plan))
    }
}

fn escalation(path: &EscalationPath) -> Markup {
    html! {
        section aria-labelledby="h-escalation" {
            h2 #h-escalation { "Whom to call" }
            @if path.escalate_to.is_empty() {
                p.quiet { "Nobody." }
            } @else {
                ol.path { @for role in &path.escalate_to { li { (words(role)) } } }
                p { "An answer is due within " strong { (path.respond_within_minutes) " minutes" } "." }
            }
            @if path.war_room || path.bridge_call {
                p {
                    @if path.war_room { (badge("idle", "war room")) " " }
                    @if path.bridge_call { (badge("idle", "bridge call")) }
                }
            }
        }
    }
}

fn containment(actions: &[Containment]) -> Markup {
    html! {
        section aria-labelledby="h-proposed" {
            h2 #h-proposed { "Containment that triage proposes" }
            @if actions.is_empty() { p.quiet { "None." } } @else {
                p.quiet { "What was ordered and done stands under Containment." }
            }
            ul.plain {
                @for action in actions {
                    li {
                        strong { (words(&action.action)) } " "
                        @if action.automatic { (badge("idle", "may be automated")) } @else {
                            (badge("idle", "needs a person"))
                        }
                        @if !action.conditions.is_empty() {
                            ul { @for condition in &action.conditions { li { (shown(condition)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn plan(plan: &EvidencePlan) -> Markup {
    html! {
        section aria-labelledby="h-plan" {
            h2 #h-plan { "Evidence plan" }
            dl.facts {
                dt { "Profile" } dd { (shown(&plan.profile)) }
                dt { "Tiers" } dd { @for (at, tier) in plan.tiers.iter().enumerate() { @if at > 0 { " → " } (tier) } }
                dt { "Takes about" } dd { (duration(plan.estimated_seconds)) }
            }
            @if !plan.order.is_empty() {
                details { summary { "Order of taking" } ol { @for kind in &plan.order { li { (words(kind)) } } } }
            }
        }
    }
}

fn duration(seconds: u32) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}

/// Techniques, accounts and indicators.
pub fn seen(assessment: &Assessment) -> Markup {
    let more = assessment.indicators.len().saturating_sub(INDICATORS_SHOWN_MAX);
    html! {
        @if !assessment.techniques.is_empty() {
            section aria-labelledby="h-techniques" {
                h2 #h-techniques { "Techniques" }
                ul.plain {
                    @for technique in &assessment.techniques {
                        li {
                            span.id { (shown(&technique.id)) } " " (shown(&technique.name))
                            div.quiet {
                                (words(&technique.tactic))
                                @if let Some(retired) = &technique.retired_id { " · arrived as " (shown(retired)) }
                            }
                        }
                    }
                }
            }
        }
        @if !assessment.accounts.is_empty() || !assessment.indicators.is_empty() {
            section aria-labelledby="h-indicators" {
                h2 #h-indicators { "Accounts and indicators" }
                dl.facts {
                    @for account in assessment.accounts.iter().take(INDICATORS_SHOWN_MAX) {
                        dt { "account" } dd { code.break { (clipped(account, INDICATOR_CHARS_MAX)) } }
                    }
                    @for indicator in assessment.indicators.iter().take(INDICATORS_SHOWN_MAX) {
                        dt { (shown(&indicator.kind)) }
                        dd { code.break { (clipped(&indicator.value, INDICATOR_CHARS_MAX)) } }
                    }
                }
                @if more > 0 { p.quiet { "and " (more) " more" } }
            }
        }
    }
}
