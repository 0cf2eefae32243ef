//! Why the severity is what it is, and what would change it.

use maud::{Markup, html};
use wire::assessment::{Assessment, Effect};

use crate::ui::parts::severity;
use crate::ui::text::{clipped, shown, words};

const INPUT_CHARS_MAX: usize = 160;

/// The explanation, with the signs that the alert may be none.
pub fn section(assessment: &Assessment) -> Markup {
    html! {
        section #why .panel aria-labelledby="h-why" {
            h2 #h-why { "Why " (severity(assessment.severity)) }
            div.halves {
                div {
                    @if assessment.severity_explanation.is_empty() { p { "Triage gave no reasons." } }
                    ol.rules { @for effect in &assessment.severity_explanation { (rule(effect)) } }
                    @if !assessment.escalation_triggers_fired.is_empty() {
                        p {
                            strong { "Triggers that raised it: " }
                            @for (at, trigger) in assessment.escalation_triggers_fired.iter().enumerate() {
                                @if at > 0 { ", " } (words(trigger))
                            }
                        }
                    }
                }
                div {
                    h3 { "What would change it" }
                    @if assessment.would_change_it.is_empty() { p.quiet { "Nothing that triage knows of." } }
                    ul { @for change in &assessment.would_change_it { li { (shown(change)) } } }
                    h3 { "Signs that it may be a false positive" }
                    (false_positives(assessment))
                }
            }
        }
    }
}

fn rule(effect: &Effect) -> Markup {
    html! {
        li {
            span.rule { (words(&effect.rule)) } ": " span.effect { (shown(&effect.effect)) }
            div.quiet.break {
                (clipped(&effect.input, INPUT_CHARS_MAX)) " "
                span.version title="version of the rules" { (shown(&effect.version)) }
            }
        }
    }
}

fn false_positives(assessment: &Assessment) -> Markup {
    html! {
        @if assessment.false_positive_indicators.is_empty() {
            p.quiet { "None." }
        } @else {
            ul {
                @for sign in &assessment.false_positive_indicators {
                    li {
                        (words(&sign.rule)) ": " code.break { (shown(&sign.field)) " = " (shown(&sign.value)) }
                        " – ask " strong { (shown(&sign.owner)) }
                    }
                }
            }
            p.quiet { "A sign closes nothing by itself." }
        }
    }
}
