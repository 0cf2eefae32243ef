//! Products that pass on what another one saw: Wazuh as a collector, Splunk as a search.
//!
//! The alert is the other product's: its source, its id, its severity. Otherwise one finding that comes straight and
//! through a relay would look like two sources that agree.

use serde_json::{Map, Value};
use wire::assessment::HostRole;

use super::{direct, splunk};
use crate::alert::Alert;
use crate::fields::Field;
use crate::rules::Rules;

/// What the record that `record` relays says; `None` when it relays none that something here knows.
pub(super) fn read(record: &Value, rules: &Rules) -> Option<Alert> {
    let record = Field::of(record);
    if record.at(&["rule", "level"]).holds() && record.key("manager").holds() {
        return wazuh(record, rules);
    }
    let row = splunk::row(record)?;
    let raw = row.key("_raw").text().filter(|raw| raw.starts_with('{'))?;
    let mut alert = direct(&serde_json::from_str(&raw).ok()?, rules)?;
    alert.host(row.key("splunk_server").text_or_empty(), HostRole::Reporter);
    Some(alert)
}

fn wazuh(record: Field, rules: &Rules) -> Option<Alert> {
    let data = record.key("data");
    // What runs on the agent's host speaks of it; what a cloud tells the agent does not.
    let places = [
        (data, true),
        (data.key("osquery"), true),
        (data.key("aws"), false),
        (data.key("ms-graph"), false),
        (data.key("gcp"), false),
    ];
    let (mut alert, is_local) = places.into_iter().find_map(|(place, is_local)| {
        let inner = place.value().filter(|value| value.is_object())?;
        Some((direct(&with_flat_fields(inner), rules)?, is_local))
    })?;
    if alert.labels.len() < Alert::LIST_MAX {
        alert.labels.insert(format!("wazuh:{}", record.at(&["rule", "id"]).text_or_empty()));
    }
    alert.host(record.at(&["manager", "name"]).text_or_empty(), HostRole::Reporter);
    let agent = record.key("agent");
    let (Some(name), address) = (agent.key("name").text(), agent.key("ip").text_or_empty()) else { return Some(alert) };
    let is_manager = agent.key("id").text().as_deref() == Some("000");
    if alert.hosts.iter().any(|host| host.name == name) {
        return Some(alert);
    }
    if let Some(host) = alert.hosts.iter_mut().find(|host| is_local && host.name == address) {
        host.name.clone_from(&name);
        alert.alias(address, &name);
        return Some(alert);
    }
    let has_victim = alert.hosts.iter().any(|host| host.role == HostRole::Victim);
    alert.host(name, if is_local && !is_manager && !has_victim { HostRole::Victim } else { HostRole::Reporter });
    Some(alert)
}

/// Wazuh makes an object of each dot in a key. Falco's `output_fields` have theirs again.
fn with_flat_fields(record: &Value) -> Value {
    let mut record = record.clone();
    if let Some(fields) = record.get_mut("output_fields") {
        let mut flat = Map::new();
        flatten("", fields, &mut flat);
        *fields = Value::Object(flat);
    }
    record
}

fn flatten(above: &str, value: &Value, flat: &mut Map<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, below) in map {
                let name = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
                flatten(&name, below, flat);
            }
        }
        _ if flat.len() < Alert::LIST_MAX => {
            flat.insert(above.to_owned(), value.clone());
        }
        _ => {}
    }
}
