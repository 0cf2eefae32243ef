//! Leaves in words: one line for each kind of event. What it does not know is told by its name and its details, so that
//! nothing is left out of a timeline.

use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::ByteSize;
use wire::containment::Directive;
use wire::custody::Leaf;
use wire::order::OrderEvent;

/// A detail of an unknown event is shown up to so many characters.
const DETAIL_CHARS_MAX: usize = 200;

/// What happened, in a sentence or more. Texts of people and hosts stand in it as they are: whoever shows it escapes.
pub fn of(leaf: &Leaf) -> String {
    let told = Told(leaf);
    told.alert()
        .or_else(|| told.case())
        .or_else(|| told.escalation())
        .or_else(|| told.order())
        .or_else(|| told.containment())
        .or_else(|| told.evidence())
        .unwrap_or_else(|| told.any())
}

/// A leaf whose details are looked up by name.
struct Told<'a>(&'a Leaf);

impl Told<'_> {
    fn alert(&self) -> Option<String> {
        Some(match self.0.event.as_str() {
            "alert_received" if self.is("auto_close") => {
                format!("Alert of {} received, and closed by itself.", self.get("source"))
            }
            "alert_received" => format!("Alert of {} received.", self.get("source")),
            "alert_correlated" => format!("The alert belongs to {}: {}.", self.get("into"), self.get("reason")),
            "incident_opened" => format!("Incident opened: {}, {}.", self.get("incident_type"), self.get("severity")),
            "severity_changed" => format!("Severity {} → {}.", self.get("from"), self.get("to")),
            _ => return None,
        })
    }

    fn case(&self) -> Option<String> {
        let because = self.because("reason");
        Some(match self.0.event.as_str() {
            "incident_acknowledged" => "Acknowledged.".to_owned(),
            "note_added" if self.is("update") => format!("Update: {}", self.get("text")),
            "note_added" => self.get("text"),
            "severity_overridden" => match (self.has("severity"), self.has("incident_type")) {
                (true, true) => {
                    format!("Set to {} and {} by hand{because}", self.get("incident_type"), self.get("severity"))
                }
                (true, false) => format!("Severity set to {} by hand{because}", self.get("severity")),
                _ => format!("Type set to {} by hand{because}", self.get("incident_type")),
            },
            "override_withdrawn" => format!("What was set by hand is taken back: the rules decide again{because}"),
            "override_outranked" => format!(
                "{} is raised to {} against what was set by hand: {}.",
                self.get("from"),
                self.get("to"),
                self.get("triggers")
            ),
            "phase_changed" => format!("Phase {} → {}{because}", self.words("from"), self.words("to")),
            "step_done" => format!("Step {} is done{}", self.get("step"), self.because("note")),
            "step_waived" => format!("Step {} is not needed{}", self.get("step"), self.because("note")),
            "step_reopened" => format!("Step {} is open again{}", self.get("step"), self.because("note")),
            "role_assigned" => format!("{} is {}.", self.words("role"), self.get("person")),
            "role_vacated" => format!("{} is no more {}.", self.words("role"), self.get("person")),
            "anchor_set" => format!("{}: {}{because}", self.words("anchor"), self.get("at")),
            "clock_decided" if self.is("applies") => format!("{} applies{because}", self.get("clock")),
            "clock_decided" => format!("{} does not apply{because}", self.get("clock")),
            "notification_submitted" => format!(
                "Notification {} of {} sent at {}; receipt: {}",
                self.get("stage"),
                self.get("clock"),
                self.get("at"),
                self.get("receipt")
            ),
            "incidents_merged" => {
                format!("{} was merged into {}: {}", self.get("from"), self.get("to"), self.get("reason"))
            }
            "incidents_related" => format!("{} may have to do with it: {}.", self.get("other"), self.get("reason")),
            "alerts_split" | "alerts_moved" => format!(
                "{} alerts went from {} to {}: {}",
                self.get("count"),
                self.get("from"),
                self.get("to"),
                self.get("reason")
            ),
            "edit_undone" => format!(
                "The {} of {} alerts from {} to {} is undone: {}",
                self.get("kind"),
                self.get("count"),
                self.get("from"),
                self.get("to"),
                self.get("reason")
            ),
            "incident_closed" => format!("Closed as {}{because}", self.words("disposition")),
            "incident_reopened" => format!("Opened again{because}"),
            _ => return None,
        })
    }

    fn escalation(&self) -> Option<String> {
        let whom = || format!("{} ({}) by {}", self.get("contact"), self.get("role"), self.get("channel"));
        let about = || match self.get("purpose").as_str() {
            "escalation" => String::new(),
            purpose => format!(", about {}", purpose.replace([':', '_'], " ")),
        };
        Some(match self.0.event.as_str() {
            "page_queued" => format!("To be told: {}{}{}", whom(), about(), self.because("why")),
            "page_sent" => format!("Told: {}{}.", whom(), about()),
            "page_failed" => format!("Not reached: {}{}{}", whom(), about(), self.because("why")),
            "page_dropped" => format!("No longer told: {}{}{}", whom(), about(), self.because("why")),
            "role_vacant" => format!("Nobody stands for {}: the next in line is told.", self.get("role")),
            "escalation_exhausted" => "Everybody was told as often as the rules say, and nobody answered.".to_owned(),
            "acknowledgement_lapsed" => {
                format!(
                    "{} → {}: it wants a new answer; {} had answered.",
                    self.get("from"),
                    self.get("to"),
                    self.get("by")
                )
            }
            "timer_warned" => format!("Due at {}: {}.", self.get("due_at"), self.get("what")),
            "timer_overdue" => format!("Overdue since {}: {}.", self.get("due_at"), self.get("what")),
            "clock_warned" if self.has("due_at") => {
                format!("{}: {} is due at {}.", self.get("clock"), self.words("stage"), self.get("due_at"))
            }
            "clock_warned" => format!("{}: {} is due at once.", self.get("clock"), self.words("stage")),
            "clock_overdue" => {
                format!("{}: {} is overdue since {}.", self.get("clock"), self.words("stage"), self.get("due_at"))
            }
            _ => return None,
        })
    }

    fn order(&self) -> Option<String> {
        let told = |name: &str| self.0.details.get("told").and_then(|told| told.get(name)).map(text);
        Some(match self.0.event.as_str() {
            "order_issued" => format!("Order issued: {}.", self.details()),
            "order_released" => format!("The order of a hunt is let go to {}.", self.get("agent")),
            "order_cancelled" => format!("The order to {} was ended before its agent had it.", self.get("agent")),
            "hunt_begun" => format!("A hunt began: {}.", self.get("profile")),
            "hunt_started" => "All orders of the hunt are there.".to_owned(),
            "hunt_cancelled" => format!("The hunt was ended: {}.", self.get("reason")),
            "hunt_expired" => "The time of the hunt is over.".to_owned(),
            "hunt_done" => "The hunt is through.".to_owned(),
            "order_delivered" => format!("Order handed to {}.", self.get("agent")),
            "order_accepted" => "The agent took the order.".to_owned(),
            "order_refused" => format!("The agent refused the order: {}.", told("message").unwrap_or_default()),
            "order_started" => format!("The collection began: bundle {}.", told("bundle").unwrap_or_default()),
            "order_spooled" if told("full").as_deref() == Some("true") => format!(
                "The host's spool was full, and what came after that was not kept: {}.",
                told("reason").unwrap_or_default()
            ),
            "order_spooled" => {
                format!("Evidence waited on the host, encrypted: {}.", told("reason").unwrap_or_default())
            }
            "order_completed" => "The collection is complete.".to_owned(),
            "order_interrupted" if told("by_silence").as_deref() == Some("true") => {
                "The server gave the order up: nothing came any more.".to_owned()
            }
            "order_interrupted" => "The collection was interrupted.".to_owned(),
            "order_failed" => format!("The collection failed: {}.", told("message").unwrap_or_default()),
            "host_silent" => format!("{} has gone silent: last heard {}.", self.get("agent"), self.get("last_seen")),
            "host_back" => format!("{} is heard again.", self.get("agent")),
            "host_went_back" => format!(
                "The count of {} went back: its disk was set back, or somebody else has its keys.",
                self.get("agent")
            ),
            "host_removed" => format!("The agent of {} tells that it is removed.", self.get("agent")),
            "order_expired" => "No agent took the order in its time.".to_owned(),
            _ => return None,
        })
    }

    fn containment(&self) -> Option<String> {
        let name = self.0.event.strip_prefix("containment_")?;
        match name {
            "ordered" => {
                let directive: Directive = self.read("directive")?;
                let approvers = self.0.details.get("approvers").and_then(Value::as_u64).unwrap_or(1);
                let agree = match self.get("because").as_str() {
                    _ if approvers < 2 => String::new(),
                    "" => format!(" ({approvers} persons must agree)"),
                    because => format!(" ({approvers} persons must agree: {because})"),
                };
                let reason = self.because("reason");
                Some(format!("Containment ordered at {}: {directive}{agree}{reason}", self.get("agent")))
            }
            "approved" => {
                let (persons, approvers) = (self.get("persons"), self.get("approvers"));
                Some(format!("{} approved the containment: {persons} of {approvers} persons.", self.get("principal")))
            }
            _ => {
                let OrderEvent::Containment { told, rehearsed } = self.read("told")? else { return None };
                let what = if rehearsed { "Rehearsal of containment" } else { "Containment" };
                Some(format!("{what} {name}: {told}."))
            }
        }
    }

    fn evidence(&self) -> Option<String> {
        let bytes = |name: &str| {
            let count = self.0.details.get(name).and_then(Value::as_u64);
            count.map_or_else(|| "some bytes".to_owned(), |count| ByteSize(count).to_string())
        };
        Some(match self.0.event.as_str() {
            "ticket_made" => format!("Ticket made: {}.", self.details()),
            "upload_begun" => format!("Upload begun: {}.", self.get("name")),
            "upload_ended" => format!("Upload ended by its owner after {}.", bytes("bytes")),
            "receipted" => format!("Receipt {} for {}, {}.", self.get("seq"), bytes("offset"), self.words("phase")),
            "evidence_sealed" => format!("Bundle sealed and verified: {}.", bytes("bytes")),
            "evidence_partial" => format!("Bundle ends early; {} of it verify.", bytes("verified_to")),
            "evidence_unverified" => format!("Bundle not verified: {}.", self.get("findings")),
            "evidence_rejected" => format!("Bundle rejected: {}.", self.get("findings")),
            "evidence_receiving" => "More of the bundle comes.".to_owned(),
            "evidence_mismatch" => format!("The bundle is not as announced: {}.", self.get("what")),
            "evidence_downloaded" => format!("Downloaded: {}.", bytes("bytes")),
            "findings_evaluated" => format!("Rules applied to the bundle: {}.", self.levels()),
            "equivocation" => format!(
                "The signer said two things under one number: checkpoint {} was signed again, for other bytes. Both are \
                 kept.",
                self.get("seq")
            ),
            "checkpoint_mismatch" => {
                format!("Checkpoint {} does not match the bytes that came.", self.get("seq"))
            }
            _ => return None,
        })
    }

    /// An event without a line of its own.
    fn any(&self) -> String {
        let name = self.0.event.replace('_', " ");
        let details = self.details();
        if details.is_empty() { format!("{name}.") } else { format!("{name}: {details}.") }
    }

    fn details(&self) -> String {
        let told = self.0.details.iter().filter(|(_, value)| !value.is_null());
        let shown = told.map(|(key, value)| {
            let value: String = text(value).chars().take(DETAIL_CHARS_MAX).collect();
            format!("{} {value}", key.replace('_', " "))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// A detail of a shape that this version knows.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_value(self.0.details.get(name)?.clone()).ok()
    }

    fn get(&self, name: &str) -> String {
        self.0.details.get(name).map(text).unwrap_or_default()
    }

    /// A name of ours, as words.
    fn words(&self, name: &str) -> String {
        self.get(name).replace('_', " ")
    }

    /// How many findings there are of each level, the worst first.
    fn levels(&self) -> String {
        let count = |level: &str| Some(format!("{} {level}", self.0.details.get("levels")?.get(level)?.as_u64()?));
        let levels = ["critical", "high", "medium", "low", "informational"];
        let found: Vec<String> = levels.into_iter().filter_map(count).collect();
        if found.is_empty() { "nothing was found".to_owned() } else { found.join(", ") }
    }

    fn is(&self, name: &str) -> bool {
        self.0.details.get(name) == Some(&Value::Bool(true))
    }

    fn has(&self, name: &str) -> bool {
        self.0.details.get(name).is_some_and(|value| !value.is_null())
    }

    /// The end of a sentence: the reason, where one was given.
    fn because(&self, name: &str) -> String {
        match self.get(name).as_str() {
            "" => ".".to_owned(),
            reason => format!(": {reason}"),
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wire::Instant;

    use super::*;

    fn told(event: &str, details: &Value) -> String {
        let details = details.as_object().cloned().unwrap_or_default();
        let (actor, subject) = ("user:zoe".to_owned(), "incident:INC-1".to_owned());
        of(&Leaf { actor, details, event: event.into(), incident: None, seq: 0, subject, time: Instant(0), v: 1 })
    }

    #[test]
    fn each_kind_has_its_sentence_and_an_unknown_one_loses_nothing() {
        for (event, details, wanted) in [
            ("alert_received", json!({"source": "falco", "auto_close": false}), "Alert of falco received."),
            ("severity_changed", json!({"from": "SEV3", "to": "SEV1"}), "Severity SEV3 → SEV1."),
            ("note_added", json!({"text": "db-1 too", "update": true}), "Update: db-1 too"),
            (
                "phase_changed",
                json!({"from": "containment", "reason": "", "to": "post_incident"}),
                "Phase containment → post incident.",
            ),
            ("step_waived", json!({"note": "no backups", "step": "x.y"}), "Step x.y is not needed: no backups"),
            (
                "clock_decided",
                json!({"applies": false, "clock": "gdpr_art_33", "reason": "no data"}),
                "gdpr_art_33 does not apply: no data",
            ),
            (
                "findings_evaluated",
                json!({"levels": {"critical": 1, "informational": 2, "medium": 3}}),
                "Rules applied to the bundle: 1 critical, 3 medium, 2 informational.",
            ),
            ("findings_evaluated", json!({"levels": {}}), "Rules applied to the bundle: nothing was found."),
            ("order_refused", json!({"told": {"message": "seen before"}}), "The agent refused the order: seen before."),
            (
                "order_spooled",
                json!({"told": {"full": false, "reason": "the server was away"}}),
                "Evidence waited on the host, encrypted: the server was away.",
            ),
            (
                "order_spooled",
                json!({"told": {"full": true, "reason": "the server was away"}}),
                "The host's spool was full, and what came after that was not kept: the server was away.",
            ),
            ("evidence_sealed", json!({"bytes": 2048}), "Bundle sealed and verified: 2.0 KiB."),
            (
                "page_failed",
                json!({"channel": "smtp", "contact": "zoe", "purpose": "timer:respond", "role": "CISO", "why": "no relay"}),
                "Not reached: zoe (CISO) by smtp, about timer respond: no relay",
            ),
            ("clock_warned", json!({"clock": "x", "due_at": null, "stage": "to_all"}), "x: to all is due at once."),
            (
                "containment_ordered",
                json!({
                    "agent": "db-1-aa", "approvers": 2, "because": ["the host is protected"], "reason": "beacon",
                    "directive": {"directive": "apply", "lease_secs": 300, "action": {"action": "block_egress", "to": ["203.0.113.7"]}},
                }),
                "Containment ordered at db-1-aa: block_egress 203.0.113.7 for 5 min (2 persons must agree: the host is \
                 protected): beacon",
            ),
            (
                "containment_approved",
                json!({"approvers": 2, "persons": 2, "principal": "ada"}),
                "ada approved the containment: 2 of 2 persons.",
            ),
            (
                "containment_planned",
                json!({"told": {
                    "containment": "planned", "event": "containment", "preview": {"peers": ["x"]}, "rehearsed": true,
                    "steps": ["a", "b"],
                }}),
                "Rehearsal of containment planned: 2 steps; it touches 1 peer, 0 services, 0 sessions.",
            ),
            ("brewed", json!({"contact": "zoe", "step": 1, "error": null}), "brewed: contact zoe, step 1."),
            ("pinged", json!({}), "pinged."),
        ] {
            assert_eq!(told(event, &details), wanted);
        }
    }
}
