//! The alerts that an incident is a view over.

use maud::{Markup, html};
use wire::api::AlertView;

use crate::ui::parts::{severity, short_digest, time};
use crate::ui::text::{clipped, shown};

const TITLE_CHARS_MAX: usize = 200;

/// The alerts, the oldest first.
pub fn section(alerts: &[AlertView]) -> Markup {
    html! {
        section #alerts aria-labelledby="h-alerts" {
            h2 #h-alerts { "Alerts" }
            @if alerts.is_empty() { p.quiet { "None." } }
            ul.entries { @for alert in alerts { (entry(alert)) } }
        }
    }
}

fn entry(alert: &AlertView) -> Markup {
    html! {
        li {
            div.line {
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
