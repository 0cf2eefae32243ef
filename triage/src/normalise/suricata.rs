//! Suricata: one line of its EVE log, alerts above all.
//!
//! Format: docs.suricata.io/en/latest/output/eve/eve-json-format.html; the metadata of ET rules: the tech-brief
//! "Emerging Threats metadata". A mapping cannot say which end of a connection is the victim: see [`ends`].

use std::net::IpAddr;

use serde_json::Value;
use wire::assessment::HostRole;

use super::Normaliser;
use crate::Alert;
use crate::alert::{Level, Marker, VendorSeverity};
use crate::fields::Field;

/// See the module.
pub struct Suricata;

/// Classes of rules that look at what is sent to a server. All others look at what a client does.
const AT_SERVERS: &[&str] = &[
    "SCAN",
    "EXPLOIT",
    "WEB_SERVER",
    "WEB_SPECIFIC_APPS",
    "SQL",
    "DOS",
    "SHELLCODE",
    "RPC",
    "NETBIOS",
    "FTP",
    "TELNET",
    "IMAP",
    "POP3",
    "SMTP",
    "SNMP",
    "TFTP",
    "VOIP",
    "SCADA",
    "ICS",
    "DROP",
    "CINS",
    "COMPROMISED",
    "3CORESEC",
];
/// Where clients of a proxy connect to.
const PROXY_PORTS: &[u16] = &[3128, 8080, 8888];
/// From here on a port is one that a client was given.
const EPHEMERAL_PORT_MIN: u16 = 32768;

impl Normaliser for Suricata {
    fn read(&self, record: &Value) -> Option<Alert> {
        let record = Field::of(record);
        let kind = record.key("event_type").text()?;
        if !record.key("flow_id").holds() && !record.at(&["alert", "signature_id"]).holds() {
            return None;
        }
        let rule = record.key("alert");
        let mut alert = Alert::empty("suricata");
        alert.event = rule.key("signature").text().unwrap_or_else(|| format!("EVE {kind}"));
        alert.title.clone_from(&alert.event);
        alert.occurred_at = record.key("timestamp").time();
        alert.source_ref = reference(record);
        alert.vendor_severity = severity(rule);
        let action = rule.key("action").text().or_else(|| record.at(&["verdict", "action"]).text());
        if action.is_some_and(|action| ["blocked", "drop", "reject"].contains(&action.to_ascii_lowercase().as_str())) {
            alert.markers.insert(Marker::Prevented);
        }
        labels(&mut alert, record);
        request(&mut alert, record);
        hosts(&mut alert, record);
        Some(alert)
    }
}

/// EVE has no id. A flow, a rule, a transaction and a time name one alert.
fn reference(record: Field) -> Option<String> {
    let parts = [
        record.key("host"),
        record.key("flow_id"),
        record.at(&["alert", "signature_id"]),
        record.key("tx_id"),
        record.key("timestamp"),
    ];
    record.key("timestamp").holds().then(|| parts.map(Field::text_or_empty).join("/"))
}

/// The rule's own word where its author gave one (ET rules do); else the class's number, of which 1 is the worst.
fn severity(rule: Field) -> Option<VendorSeverity> {
    let word = rule.at(&["metadata", "signature_severity"]).entries().find_map(Field::text);
    let (value, scale) = match word {
        Some(word) => (word, "signature_severity words"),
        None => (rule.key("severity").text()?, "suricata 1-4, 1 is worst"),
    };
    let level = match value.to_ascii_lowercase().as_str() {
        "critical" => Level::Critical,
        "major" | "1" => Level::High,
        "2" => Level::Medium,
        "minor" | "3" => Level::Low,
        "informational" | "4" => Level::Informational,
        _ => return None,
    };
    Some(VendorSeverity { level, scale: scale.to_owned(), value })
}

fn labels(alert: &mut Alert, record: Field) {
    let rule = record.key("alert");
    alert.set("rule.category", rule.key("category").text_or_empty());
    alert.set("rule.id", rule.key("signature_id").text_or_empty());
    let worth = rule.at(&["metadata", "signature_severity"]).entries().find_map(Field::text);
    alert.set("rule.severity", worth.unwrap_or_else(|| "unrated".to_owned()).to_lowercase());
    let metadata = rule.key("metadata");
    for (kind, list) in [
        ("flowbit", record.at(&["metadata", "flowbits"])),
        ("attack_target", metadata.key("attack_target")),
        ("malware_family", metadata.key("malware_family")),
        ("tag", metadata.key("tag")),
        ("cve", metadata.key("cve")),
    ] {
        for value in list.entries().filter_map(Field::text) {
            if alert.labels.len() < Alert::LIST_MAX {
                alert.labels.insert(format!("{kind}:{value}"));
            }
        }
    }
    for id in metadata.key("mitre_technique_id").entries().filter_map(Field::text) {
        alert.technique(id);
    }
}

/// What was asked for, in the protocols that Suricata reads.
fn request(alert: &mut Alert, record: Field) {
    let http = record.key("http");
    alert.set("network.protocol", record.any(&["app_proto", "proto"]).text_or_empty().to_lowercase());
    alert.set("url.host", http.key("hostname").text_or_empty());
    alert.set("http.method", http.key("http_method").text_or_empty());
    alert.set("http.status", http.key("status").text_or_empty());
    alert.set("http.user_agent", http.key("http_user_agent").text_or_empty());
    alert.set("url.path", http.key("url").text_or_empty());
    alert.indicator(
        "domain",
        http.key("hostname").text().filter(|name| name.parse::<IpAddr>().is_err()).unwrap_or_default(),
    );
    alert.indicator("url_path", http.key("url").text().filter(|path| path.len() > 1).unwrap_or_default());
    let dns = record.key("dns");
    let asked = dns.any(&["queries", "query"]).entries().map(|query| query.key("rrname")).chain([dns.key("rrname")]);
    for name in asked.filter_map(Field::text) {
        alert.set("dns.question", name.clone());
        alert.indicator("domain", name);
    }
    alert.indicator("domain", record.at(&["tls", "sni"]).text_or_empty());
    alert.indicator("ja3", record.at(&["tls", "ja3", "hash"]).text_or_empty());
    for file in record.key("files").entries().chain([record.key("fileinfo")]) {
        alert.indicator("sha256", file.key("sha256").text_or_empty());
        alert.set("file.path", file.key("filename").text_or_empty());
    }
}

/// One end of a connection.
#[derive(Clone, Copy, PartialEq)]
struct End {
    address: IpAddr,
    port: u16,
}

fn end(field: Field, address: &str, port: &str) -> Option<End> {
    let address = field.key(address).text()?.parse().ok()?;
    Some(End { address, port: field.key(port).text().and_then(|port| port.parse().ok()).unwrap_or(0) })
}

/// Client and server. The packet that fired may go either way: the flow's own ends say who began, else the packet's
/// direction, else the ports.
fn ends(record: Field) -> Option<(End, End)> {
    let packet = (end(record, "src_ip", "src_port")?, end(record, "dest_ip", "dest_port")?);
    let flow = record.key("flow");
    if let Some(client) = end(flow, "src_ip", "src_port") {
        return Some(if client.address == packet.1.address { (packet.1, packet.0) } else { packet });
    }
    let is_answer = match record.key("direction").text().as_deref() {
        Some("to_client") => true,
        Some("to_server") => false,
        _ => packet.0.port < EPHEMERAL_PORT_MIN && packet.0.port > 0 && packet.1.port > packet.0.port,
    };
    Some(if is_answer { (packet.1, packet.0) } else { packet })
}

/// The victim is what the rule calls its target; else the only end that is ours (a private address); between two of the
/// same kind the server for rules about attacks on servers, else the client. The far end of a connection that a victim
/// opened is no host of ours and stays an indicator; resolvers and proxies only pass on.
fn hosts(alert: &mut Alert, record: Field) {
    let sensor = record.key("host").text_or_empty();
    alert.host(sensor, HostRole::Reporter);
    let Some((client, server)) = ends(record) else { return };
    for one in [client, server] {
        if !is_ours(one.address) {
            alert.indicator("ip", one.address.to_string());
        }
    }
    alert.set("source.ip", client.address.to_string());
    alert.set("destination.ip", server.address.to_string());
    alert.set("destination.port", server.port.to_string());
    let direction = match (is_ours(client.address), is_ours(server.address)) {
        (true, true) => "internal",
        (true, false) => "outbound",
        (false, true) => "inbound",
        (false, false) => "external",
    };
    alert.set("action.direction", direction);
    let rule = record.key("alert");
    let target = end(rule.key("target"), "ip", "port").map(|end| end.address);
    let is_at_server = is_at_server(alert, rule);
    let is_server_victim = match (target, direction) {
        (Some(target), _) => target == server.address,
        (None, "inbound") => true,
        (None, "outbound") => false,
        (None, _) => is_at_server,
    };
    let is_passed_on = server.port == 53 || (direction == "internal" && PROXY_PORTS.contains(&server.port));
    let (victim, other) = if is_server_victim { (server, client) } else { (client, server) };
    if !is_everyone(victim.address) {
        alert.host(victim.address.to_string(), HostRole::Victim);
        alert.set("host.name", victim.address.to_string());
    }
    // A reverse proxy in front of the victim: who asked stands in the header.
    let behind = record.key("xff").text().filter(|_| is_server_victim);
    if let Some(asked) = &behind {
        alert.host(other.address.to_string(), HostRole::Intermediary);
        alert.host(asked.clone(), HostRole::Source);
        alert.indicator("ip", asked.clone());
    } else if is_server_victim {
        alert.host(other.address.to_string(), HostRole::Source);
    } else if is_passed_on && !is_everyone(other.address) {
        alert.host(other.address.to_string(), HostRole::Intermediary);
    }
}

/// A private address: what Suricata calls its home network, unless it was told otherwise.
pub(crate) fn is_ours(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let shared = matches!(address.octets(), [100, 64..=127, ..]);
            address.is_private() || address.is_loopback() || address.is_link_local() || shared
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// Multicast and broadcast are nobody's own address.
fn is_everyone(address: IpAddr) -> bool {
    address.is_multicast() || address.is_unspecified() || address == IpAddr::from([255, 255, 255, 255])
}

/// By what the rule's author says it is aimed at, else by the class in its name: `ET SCAN …`, `GPL SQL …`.
fn is_at_server(alert: &Alert, rule: Field) -> bool {
    let aimed = rule.at(&["metadata", "attack_target"]).entries().filter_map(Field::text).collect::<Vec<_>>();
    if let Some(aimed) = aimed.first() {
        return ["server", "networking", "iot", "sql", "web"]
            .iter()
            .any(|word| aimed.to_ascii_lowercase().contains(word));
    }
    alert.event.split_whitespace().nth(1).is_some_and(|class| AT_SERVERS.contains(&class))
}
