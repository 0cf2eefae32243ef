//! The alerts that an incident is a view over, and the changes of which they are.

use maud::{Markup, html};
use wire::api::{AlertView, IncidentView};
use wire::case::{Edit, EditKind};

use super::act::{form, line, may};
use super::case::why;
use crate::ui::Frame;
use crate::ui::parts::{badge, count, severity, short_digest, time};
use crate::ui::text::{clipped, shown};

const TITLE_CHARS_MAX: usize = 200;

/// The alerts, the oldest first.
pub fn section(frame: Frame<'_>, view: &IncidentView) -> Markup {
    let incident = &view.summary.incident;
    let may_edit = may(frame) && view.case.merged_into.is_none();
    html! {
        section #alerts aria-labelledby="h-alerts" {
            h2 #h-alerts { "Alerts" }
            @if view.alerts.is_empty() { p.quiet { "None." } }
            @if may_edit && view.alerts.len() > 1 {
                form.act method="post" action={ "/incidents/" (incident) "/actions" } {
                    ul.entries { @for alert in &view.alerts { (entry(alert, true)) } }
                    details.act {
                        summary { "Take the chosen alerts out" }
                        (line("reason", "Why", "why they do not belong here"))
                        button type="submit" name="do" value="split" { "Into an incident of their own" }
                        label { "Another incident " input name="to" placeholder="INC-2026-0007" pattern="[A-Za-z0-9._-]{1,64}" autocomplete="off"; }
                        button.second type="submit" name="do" value="move" { "Into that one" }
                    }
                }
            } @else {
                ul.entries { @for alert in &view.alerts { (entry(alert, false)) } }
            }
            @if may_edit {
                details.act {
                    summary { "Take over another incident" }
                    (form(incident, "merge", &html! {
                        label { "Incident " input name="other" required placeholder="INC-2026-0007" pattern="[A-Za-z0-9._-]{1,64}" autocomplete="off"; }
                        (line("reason", "Why", "what ties the two together"))
                    }, "Merge"))
                }
            }
            @if !view.edits.is_empty() {
                h3 { "Changes of which alerts it has" }
                ul.plain { @for edit in &view.edits { (change(frame, view, edit)) } }
            }
        }
    }
}

fn entry(alert: &AlertView, can_be_chosen: bool) -> Markup {
    html! {
        li {
            div.line {
                @if can_be_chosen { input type="checkbox" name="alerts" value=(alert.alert) aria-label="Choose this alert"; " " }
                (severity(alert.assessment.severity)) " "
                strong { (shown(&alert.assessment.source)) }
                span.push.quiet { "happened " (time(alert.assessment.timestamp_utc)) }
            }
            div { (clipped(&alert.title, TITLE_CHARS_MAX)) }
            div.quiet {
                @match &alert.correlated {
                    Some(reason) => { "Here because: " (shown(reason)) },
                    None => "Opened this incident",
                }
            }
            div.quiet {
                "Received " (time(alert.received)) " from " (shown(&alert.sent_by)) " · "
                a href={ "/api/v1/alerts/" (alert.alert) "/raw" } { "raw" } " " (short_digest(alert.raw_sha256))
            }
        }
    }
}

fn change(frame: Frame<'_>, view: &IncidentView, edit: &Edit) -> Markup {
    let kind = match edit.kind {
        EditKind::Merge => "merged",
        EditKind::Move => "moved",
        EditKind::Split => "split off",
    };
    html! {
        li {
            (badge("idle", kind)) " " (count(edit.alerts.len() as u64, "alert")) ", "
            a href={ "/incidents/" (edit.from) } { (edit.from) } " → " a href={ "/incidents/" (edit.to) } { (edit.to) }
            div { (why(frame, &edit.stamp)) }
            @match &edit.undone {
                Some(stamp) => div { (badge("warn", "undone")) " " (why(frame, stamp)) },
                None => @if may(frame) {
                    details.act {
                        summary { "Undo" }
                        (form(&view.summary.incident, "undo", &html! {
                            input type="hidden" name="edit" value=(edit.edit);
                            (line("reason", "Why", "why they belong where they were"))
                        }, "Undo"))
                    }
                },
            }
        }
    }
}
