//! What a person saw becomes an alert like any other, of the product `human_report`.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use wire::api::AlertsReply;
use wire::case::{HumanReport, LINE_BYTES_MAX};

use super::cases::{known_type, line, said};
use super::{Actor, App, Problem, ProblemKind};

/// The product of all reports.
pub const PRODUCT: &str = "human_report";

impl App {
    /// Takes a report in. The same report with the same time is a duplicate.
    ///
    /// # Errors
    /// [`ProblemKind::Input`] for a text that is missing, too long or hostile, a time to come, a type that is none.
    pub async fn report(self: &Arc<Self>, by: &Actor, report: HumanReport) -> Result<AlertsReply, Problem> {
        let now = self.now();
        let seen_at = report.seen_at.unwrap_or(now);
        if seen_at > now || seen_at.0 < 0 {
            return Err(Problem::new(ProblemKind::Input, format!("{seen_at} is no time that has been"))
                .hint("leave the time out when it is now"));
        }
        let rules = self.site.rules()?;
        let declared = match &report.incident_type {
            None => "security_alert",
            Some(word) => known_type(&rules, word)?,
        };
        let mut alert = Map::new();
        let mut tell = |key: &str, value: Value| alert.insert(key.to_owned(), value);
        tell("event_type", json!(declared));
        tell("source", json!(PRODUCT));
        tell("title", json!(line("the title", &report.title, LINE_BYTES_MAX)?));
        tell("details", json!(said("what was seen", &report.what)?));
        tell("timestamp", json!(seen_at));
        tell("reported_by", json!(by.to_string()));
        for (key, value) in [("contact", &report.contact), ("host", &report.host), ("user", &report.user)] {
            if let Some(value) = value {
                tell(key, json!(line(&format!("the {key}"), value, LINE_BYTES_MAX)?));
            }
        }
        self.receive_alerts(by, None, Value::Object(alert).to_string().into()).await
    }
}
