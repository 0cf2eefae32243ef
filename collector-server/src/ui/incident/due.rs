//! By when something is to be done: the response's own timers, and the clocks of the law.

use maud::{Markup, html};
use wire::api::IncidentView;
use wire::response::{Anchor, ClockState, StageState, StageStatus, TimerState, TimerStatus};

use super::act::{choice, folded, form, line, may, moment, words};
use crate::ui::Frame;
use crate::ui::parts::{badge, time};
use crate::ui::text::{self, shown};

/// Timers that are met are folded.
pub fn timers(timers: &[TimerState]) -> Markup {
    let is_met = |timer: &&TimerState| timer.met_at.is_some();
    let (met, open): (Vec<_>, Vec<_>) = timers.iter().partition(is_met);
    html! {
        @if !timers.is_empty() {
            section #timers aria-labelledby="h-timers" {
                h2 #h-timers { "Due" }
                @if open.is_empty() { p { "Nothing is open." } }
                ul.plain { @for one in open { (timer(one)) } }
                @if !met.is_empty() {
                    details { summary { (met.len()) " met" } ul.plain { @for one in met { (timer(one)) } } }
                }
            }
        }
    }
}

fn timer(timer: &TimerState) -> Markup {
    let (tone, word) = match timer.state {
        TimerStatus::Ok => ("idle", "due"),
        TimerStatus::Warn => ("warn", "due soon"),
        TimerStatus::Overdue => ("bad", "overdue"),
        TimerStatus::Met => ("good", "met"),
        TimerStatus::MetLate => ("warn", "met late"),
    };
    html! {
        li {
            (badge(tone, word)) " "
            @if let Some(seconds) = timer.remaining_seconds { strong { (left(seconds)) } " " }
            (shown(&timer.what))
            div.quiet { (text::words(&timer.owner)) " · " (time(timer.due_at)) }
        }
    }
}

/// The notification clocks, with the facts that start them.
pub fn clocks(frame: Frame<'_>, view: &IncidentView) -> Markup {
    let incident = &view.summary.incident;
    html! {
        section #clocks aria-labelledby="h-clocks" {
            h2 #h-clocks { "Notification clocks" }
            p.quiet { "Guidance, not legal advice. Each clock starts at its own fact." }
            @if view.clocks.is_empty() { p { "None known to apply." } }
            ul.plain { @for clock in &view.clocks { (entry(frame, view, clock)) } }
            h3 { "Facts that start them" }
            dl.facts {
                @for (anchor, set) in &view.case.anchors {
                    dt { (text::words(anchor.name())) } dd { (time(set.at)) " " (super::case::why(frame, &set.stamp)) }
                }
            }
            @if may(frame) && view.case.merged_into.is_none() {
                (folded(incident, "anchor", "Enter a fact", &html! {
                    (choice("anchor", "Fact", Anchor::ALL.iter().map(|one| (one.name(), words(one.name())))))
                    (moment("at", "When"))
                    (line("reason", "How it is known", "who found out what"))
                }, "Enter"))
            }
        }
    }
}

fn entry(frame: Frame<'_>, view: &IncidentView, clock: &ClockState) -> Markup {
    let incident = &view.summary.incident;
    html! {
        li {
            strong { (shown(&clock.regime)) } " "
            @match &clock.decision {
                Some(decision) if !decision.applies => (badge("idle", "does not apply")),
                Some(_) => (badge("busy", "applies")),
                None => (badge("warn", "undecided")),
            }
            div.quiet { (shown(&clock.applies_to)) }
            @if let Some(decision) = &clock.decision {
                div.quiet { (shown(&decision.by)) ": " (shown(&decision.why)) }
            }
            ul.plain { @for one in &clock.stages { (stage(one)) } }
            @if may(frame) && view.case.merged_into.is_none() {
                details.act {
                    summary { "Decide, or enter a submission" }
                    form.act method="post" action={ "/incidents/" (incident) "/actions" } {
                        input type="hidden" name="do" value="decide";
                        input type="hidden" name="clock" value=(clock.clock);
                        (line("reason", "Why", "who decided, and on what grounds"))
                        button type="submit" name="applies" value="true" { "It applies" }
                        button.second type="submit" name="applies" value="false" { "It does not" }
                    }
                    (form(incident, "submit", &html! {
                        input type="hidden" name="clock" value=(clock.clock);
                        (choice("stage", "Sent", clock.stages.iter().map(|one| (one.stage.as_str(), words(&one.stage)))))
                        (moment("at", "When"))
                        (line("receipt", "Receipt", "number or link"))
                    }, "Enter"))
                }
            }
        }
    }
}

fn stage(stage: &StageState) -> Markup {
    let (tone, word) = match stage.state {
        StageStatus::NotApplicable => ("idle", "not applicable"),
        StageStatus::NotStarted => ("idle", "not started"),
        StageStatus::Running => ("busy", "running"),
        StageStatus::Warned => ("warn", "due soon"),
        StageStatus::Overdue => ("bad", "overdue"),
        StageStatus::Submitted => ("good", "submitted"),
        StageStatus::SubmittedLate => ("warn", "submitted late"),
    };
    html! {
        li.quiet {
            (badge(tone, word)) " " (text::words(&stage.stage)) " to " (shown(&stage.to)) ": " (shown(&stage.deadline))
            @if let Some(due) = stage.due_at {
                " · " (time(due))
                @if let Some(seconds) = stage.remaining_seconds { " (" (left(seconds)) ")" }
            }
            @if !stage.waits_for.is_empty() && stage.due_at.is_none() {
                " · waits for "
                @for (at, fact) in stage.waits_for.iter().enumerate() { @if at > 0 { ", " } (text::words(fact)) }
            }
            @if let Some(receipt) = stage.submission.as_ref().and_then(|sent| sent.receipt.as_ref()) {
                " · receipt " (shown(receipt))
            }
        }
    }
}

/// `in 3 h 10 min`, `2 days late`.
pub fn left(seconds: i64) -> String {
    let (amount, minutes) = (seconds.unsigned_abs(), seconds.unsigned_abs() / 60);
    let words = match amount {
        0..120 => format!("{amount} s"),
        120..7200 => format!("{minutes} min"),
        7200..172_800 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} days", minutes / 1440),
    };
    if seconds < 0 { format!("{words} late") } else { format!("in {words}") }
}

#[cfg(test)]
mod tests {
    use super::left;

    #[test]
    fn what_is_left_reads_well() {
        assert_eq!(
            [0, 119, 120, 7199, 7200, 11_460, 172_800, -3600].map(left),
            [
                "in 0 s",
                "in 119 s",
                "in 2 min",
                "in 119 min",
                "in 2 h 0 min",
                "in 3 h 11 min",
                "in 2 days",
                "60 min late"
            ]
        );
    }
}
