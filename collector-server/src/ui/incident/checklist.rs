//! What there is to do, phase by phase.

use maud::{Markup, html};
use wire::api::IncidentView;
use wire::case::StepOutcome;
use wire::response::{ChecklistStep, Phase};

use super::act::{may, perhaps};
use super::case::why;
use crate::ui::Frame;
use crate::ui::parts::badge;
use crate::ui::text::{shown, words};

/// The checklist: the present phase is open, the others fold.
pub fn section(frame: Frame<'_>, view: &IncidentView) -> Markup {
    let done = view.checklist.iter().filter(|step| view.case.steps.contains_key(&step.id)).count();
    html! {
        @if !view.checklist.is_empty() {
            section #checklist aria-labelledby="h-checklist" {
                h2 #h-checklist { "Checklist " span.quiet { (done) " of " (view.checklist.len()) " done" } }
                @for phase in Phase::ALL {
                    @let steps: Vec<&ChecklistStep> = view.checklist.iter().filter(|step| step.phase == phase).collect();
                    @if !steps.is_empty() {
                        @let ticked = steps.iter().filter(|step| view.case.steps.contains_key(&step.id)).count();
                        details open[phase == view.case.phase] {
                            summary { (words(phase.name())) " · " (ticked) " of " (steps.len()) }
                            ul.checks { @for step in steps { (entry(frame, view, step)) } }
                        }
                    }
                }
            }
        }
    }
}

fn entry(frame: Frame<'_>, view: &IncidentView, step: &ChecklistStep) -> Markup {
    let state = view.case.steps.get(&step.id);
    html! {
        li {
            div {
                @match state.map(|state| state.outcome) {
                    Some(StepOutcome::Done) => { (badge("good", "done")) " " },
                    Some(StepOutcome::Waived) => { (badge("idle", "waived")) " " },
                    Some(StepOutcome::Open) | None => {},
                }
                (shown(&step.text))
            }
            div.quiet {
                (words(&step.owner))
                @if let Some(minutes) = step.within_minutes { " · within " (within(minutes)) }
                @if let Some(state) = state { " · " (why(frame, &state.stamp)) }
            }
            @if state.is_none() && may(frame) {
                form.act method="post" action={ "/incidents/" (view.summary.incident) "/actions" } {
                    input type="hidden" name="do" value="step";
                    input type="hidden" name="step" value=(step.id);
                    (perhaps("note", "Note", "needed when it is waived"))
                    button type="submit" name="outcome" value="done" { "Done" }
                    button.second type="submit" name="outcome" value="waived" { "Not needed" }
                }
            }
        }
    }
}

fn within(minutes: u32) -> String {
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}
