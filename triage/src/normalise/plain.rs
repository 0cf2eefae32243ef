//! The plain form: `{event_type, host, user, source_ip, timestamp, raw_payload | details, …}` with the usual aliases.

use std::net::IpAddr;

use serde_json::Value;
use wire::assessment::HostRole;

use super::Normaliser;
use crate::Alert;
use crate::alert::{HostIdKind, Level, Marker, VendorSeverity};
use crate::fields::Field;

/// See the module.
pub struct Plain;

const EVENT_TYPE: &[&str] = &["event_type", "incident_type", "alert_type"];
const HOST: &[&str] = &[
    "host",
    "hostname",
    "host_name",
    "device",
    "device_name",
    "computer_name",
    "computer",
    "target_host",
    "dest_host",
];
const SOURCE_HOST: &[&str] = &["source_host", "src_host"];
const USER: &[&str] = &["user", "username", "user_name", "actor", "identity", "account"];
const SOURCE_IP: &[&str] = &["source_ip", "src_ip", "client_ip", "remote_ip"];
const DESTINATION_IP: &[&str] = &["dst_ip", "dest_ip", "destination_ip"];
const TIME: &[&str] = &["timestamp", "@timestamp", "time", "event_time", "detected_at"];
const WORDS: &[&str] =
    &["title", "name", "summary", "message", "description", "details", "raw_payload", "reason", "output"];
const PROCESS: &[&str] = &["process", "executable", "image"];
const ID: &[&str] = &["alert_id", "event_id", "uuid", "id"];
/// How deep objects in `details` are read.
const DEPTH_MAX: usize = 6;

impl Normaliser for Plain {
    fn read(&self, record: &Value) -> Option<Alert> {
        let fields = Field::of(record);
        let declared = fields.any(EVENT_TYPE).text()?;
        let mut alert = Alert::empty("plain");
        read_into(&mut alert, fields);
        // Only here: in a record of an unknown kind, `status: closed` may be a connection's.
        markers(&mut alert, fields);
        alert.product = fields.any(&["source", "product", "vendor"]).text().map_or(alert.product, |p| p.to_lowercase());
        alert.title = fields.any(&["title", "name", "summary"]).text().unwrap_or_else(|| declared.replace('_', " "));
        alert.event.clone_from(&declared);
        alert.type_declared = Some(declared);
        Some(alert)
    }
}

/// Reads everything under its usual names. The generic normaliser does the same with records of any kind.
pub(super) fn read_into(alert: &mut Alert, record: Field) {
    alert.source_ref = record.any(ID).text();
    alert.occurred_at = record.any(TIME).time();
    alert.first_seen = record.key("first_seen").time();
    alert.last_seen = record.key("last_seen").time();
    alert.dwell_hours = record.key("dwell_hours").number().filter(|hours| *hours >= 0.0);
    alert.vendor_severity = record.any(&["severity", "priority", "level"]).text().and_then(severity);
    for key in WORDS {
        words(alert, record.key(key), DEPTH_MAX);
    }
    hosts(alert, record);
    actors(alert, record);
    indicators(alert, record);
    for trigger in record.key("escalation_triggers").entries().filter_map(Field::text) {
        if alert.triggers.len() < Alert::LIST_MAX {
            alert.triggers.push(trigger);
        }
    }
    for key in ["techniques", "technique", "mitre_techniques", "mitre"] {
        record.key(key).entries().filter_map(Field::text).for_each(|id| alert.technique(id));
    }
    for tag in record.any(&["tags", "labels"]).entries().filter_map(Field::text) {
        if alert.labels.len() < Alert::LIST_MAX {
            alert.labels.insert(tag);
        }
    }
    for (name, keys) in [
        ("data.records", &["records_affected", "records", "record_count"][..]),
        ("data.bytes", &["bytes_out", "bytes_transferred", "bytes_sent"]),
        ("data.class", &["data_classification", "data_class", "data_type"]),
        ("process.command_line", &["command_line", "cmdline", "command"]),
        ("process.parent", &["parent_process", "parent_image"]),
    ] {
        alert.set(name, record.any(keys).text_or_empty());
    }
}

/// All texts below, each on its own: rules look for phrases within one.
fn words(alert: &mut Alert, field: Field, depth: usize) {
    if let Some(text) = field.text() {
        alert.words(text);
    } else if depth > 0 {
        match field.value() {
            Some(Value::Array(_)) => field.entries().for_each(|entry| words(alert, entry, depth - 1)),
            Some(Value::Object(map)) => {
                for (key, value) in map.iter().take(Alert::LIST_MAX) {
                    match Field::of(value).text() {
                        Some(text) => alert.words(format!("{}: {text}", crate::fields::capped(key))),
                        None => words(alert, Field::of(value), depth - 1),
                    }
                }
            }
            _ => {}
        }
    }
}

fn hosts(alert: &mut Alert, record: Field) {
    // `host` and `target_asset` may be an object as well: {name, instance_id, criticality}.
    let target = record.key("target_asset");
    let names = ["name", "hostname", "host", "fqdn"];
    for field in [record.any(HOST), target] {
        let Some(name) = field.text().or_else(|| field.any(&names).text()) else { continue };
        alert.set("host.name", name.clone());
        if name.contains('.') && name.parse::<IpAddr>().is_err() {
            alert.id(HostIdKind::Fqdn, name.clone());
        }
        alert.host(name, HostRole::Victim);
    }
    for name in record.key("hosts").entries().filter_map(|host| host.text().or_else(|| host.any(&names).text())) {
        alert.host(name, HostRole::Victim);
    }
    alert.host(record.any(SOURCE_HOST).text_or_empty(), HostRole::Source);
    for part in [record, record.key("host"), target] {
        alert.id(HostIdKind::InstanceId, part.key("instance_id").text_or_empty());
        alert.id(HostIdKind::AgentId, part.key("agent_id").text_or_empty());
        alert.set("asset.criticality", part.any(&["criticality", "asset_criticality"]).text_or_empty());
    }
}

fn actors(alert: &mut Alert, record: Field) {
    for key in USER {
        let field = record.key(key);
        if let Some(name) = field.text().or_else(|| field.any(&["user", "username", "name", "id"]).text()) {
            alert.set("actor.user", name.clone());
            alert.account(name);
        }
    }
    record.key("accounts").entries().filter_map(Field::text).for_each(|name| alert.account(name));
}

fn indicators(alert: &mut Alert, record: Field) {
    for (name, keys) in [("source.ip", SOURCE_IP), ("destination.ip", DESTINATION_IP)] {
        if let Some(address) = record.any(keys).text() {
            alert.set(name, address.clone());
            alert.indicator("ip", address);
        }
    }
    let process = record.any(PROCESS);
    if let Some(process) = process.text().or_else(|| process.any(&["path", "executable", "name"]).text()) {
        let (kind, name) =
            if process.starts_with('/') { ("path", "process.path") } else { ("process", "process.name") };
        alert.set(name, process.clone());
        alert.indicator(kind, process);
    }
    for (key, kind) in
        [("file_path", "path"), ("domain", "domain"), ("url", "url"), ("sha256", "sha256"), ("md5", "md5")]
    {
        alert.indicator(kind, record.key(key).text_or_empty());
    }
    for entry in record.any(&["iocs", "indicators"]).entries() {
        if let Some(text) = entry.text() {
            alert.indicator(kind_of(&text), text);
        } else if let (Some(kind), Some(value)) = (entry.any(&["type", "kind"]).text(), entry.key("value").text()) {
            alert.indicator(&kind.to_lowercase(), value);
        }
    }
}

/// What an indicator without a type looks like.
pub(crate) fn kind_of(text: &str) -> &'static str {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.len() {
        64 if is_hex => "sha256",
        40 if is_hex => "sha1",
        32 if is_hex => "md5",
        _ if text.parse::<IpAddr>().is_ok() => "ip",
        _ if text.contains("://") => "url",
        _ if text.starts_with('/') => "path",
        _ if text.contains('@') => "email",
        _ if text.contains('.') && !text.contains(' ') => "domain",
        _ => "text",
    }
}

fn markers(alert: &mut Alert, record: Field) {
    for key in ["action", "status", "outcome", "disposition", "verdict"] {
        let word = record.key(key).text_or_empty().to_lowercase().replace(' ', "_");
        let marker = match word.as_str() {
            "blocked" | "prevented" | "denied" | "quarantined" | "remediated" => Marker::Prevented,
            "closed" | "resolved" | "false_positive" => Marker::ClosedUpstream,
            "test" => Marker::Test,
            "confirmed" | "true_positive" => Marker::VendorConfirmed,
            _ => continue,
        };
        alert.markers.insert(marker);
    }
    for (key, marker) in [("prevented", Marker::Prevented), ("blocked", Marker::Prevented), ("test", Marker::Test)] {
        if record.key(key).is_true() {
            alert.markers.insert(marker);
        }
    }
}

/// Words only: without knowing the product, a number may stand for anything, and on some scales 1 is the worst.
fn severity(value: String) -> Option<VendorSeverity> {
    let level = match value.to_ascii_lowercase().as_str() {
        "critical" | "fatal" | "emergency" | "sev1" => Level::Critical,
        "high" | "error" | "sev2" => Level::High,
        "medium" | "moderate" | "warning" | "sev3" => Level::Medium,
        "low" | "notice" | "sev4" => Level::Low,
        "info" | "informational" | "debug" => Level::Informational,
        _ => return None,
    };
    Some(VendorSeverity { level, scale: "words".to_owned(), value })
}
