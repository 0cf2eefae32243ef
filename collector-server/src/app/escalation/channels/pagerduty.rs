//! PagerDuty's Events API v2, or whatever understands it (<https://developer.pagerduty.com/docs/send-alert-event>).
//!
//! One alert there for each incident here, by its `dedup_key`; what is overdue in an incident is an alert of its own,
//! because PagerDuty wakes nobody for news of one that is acknowledged.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use wire::assessment::Severity;

use super::super::contacts::Reader;
use super::super::message::{ACKNOWLEDGED, ESCALATION, Message, RESOLVED};
use super::super::outgoing::Outgoing;
use super::super::secret::Secret;
use super::{Channel, Kind, NotSent};

const ADDRESS: &str = "https://events.pagerduty.com/v2/enqueue";
/// Of the API.
const SUMMARY_CHARS_MAX: usize = 1024;

/// See the module.
pub const KIND: Kind = Kind { name: "pagerduty", read, hears_the_end: true };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[serde(default)]
    insecure: bool,
    routing_key_file: PathBuf,
    url: Option<String>,
}

struct PagerDuty {
    outgoing: Arc<Outgoing>,
    routing_key: Secret,
    url: Url,
}

fn read(value: Value, at: &str, reader: &mut Reader<'_>) -> Option<Box<dyn Channel>> {
    let source: Source = reader.parsed(value, at)?;
    let routing_key = reader.secret(&source.routing_key_file, &format!("{at}.routing_key_file"));
    let url = reader.url(source.url.as_deref().unwrap_or(ADDRESS), source.insecure, &format!("{at}.url"));
    Some(Box::new(PagerDuty { outgoing: reader.outgoing()?, routing_key: routing_key?, url: url? }))
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Sev1 => "critical",
        Severity::Sev2 => "error",
        Severity::Sev3 => "warning",
        Severity::Sev4 => "info",
    }
}

/// What becomes of the alert, and which alert it is.
fn action_and_key(message: &Message) -> (&'static str, String) {
    let purpose = &message.purpose;
    let (action, about) = match (purpose.strip_prefix(ACKNOWLEDGED), purpose.strip_prefix(RESOLVED)) {
        (Some(about), _) => ("acknowledge", about),
        (None, Some(about)) => ("resolve", about),
        (None, None) => ("trigger", purpose.as_str()),
    };
    let key = match message.incident() {
        Some(brief) if about == ESCALATION => brief.incident.to_string(),
        Some(brief) => format!("{}/{about}", brief.incident),
        None => format!("page/{}", message.page),
    };
    (action, key)
}

fn event(message: &Message, routing_key: &str) -> Value {
    let (action, key) = action_and_key(message);
    let mut event = json!({ "routing_key": routing_key, "event_action": action, "dedup_key": key });
    if action != "trigger" {
        return event;
    }
    let first = message.incidents.first();
    let source = first.and_then(|brief| brief.victims.first()).map_or("holdfast", String::as_str);
    let mut details = json!({ "page": message.page, "reason": message.reason() });
    for brief in message.named() {
        let facts: Vec<String> = brief.facts().iter().map(|(name, text)| format!("{name}: {text}")).collect();
        details[brief.incident.as_str()] = json!(facts);
    }
    event["payload"] = json!({
        "summary": message.headline().chars().take(SUMMARY_CHARS_MAX).collect::<String>(),
        "severity": severity(message.severity()),
        "source": source,
        "timestamp": message.now,
        "class": first.map_or("test", |brief| &brief.incident_type),
        "custom_details": details,
    });
    event["client"] = json!("Holdfast");
    event["links"] =
        message.named().iter().map(|brief| json!({ "href": brief.link, "text": brief.incident })).collect();
    event
}

#[async_trait]
impl Channel for PagerDuty {
    async fn send(&self, message: &Message) -> Result<(), NotSent> {
        let key = self.routing_key.reveal();
        self.outgoing.post(&self.url, HeaderMap::new(), event(message, key).to_string().into_bytes(), key).await
    }
}
