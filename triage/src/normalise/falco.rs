//! Falco: its JSON output as it is, and as falcosidekick forwards it (`hostname`, `uuid`, `tags`).
//!
//! Format: falco.org/docs/concepts/outputs/formatting and falcosidekick's types/types.go. Talon writes `Rule`.

use std::net::IpAddr;

use serde_json::Value;
use wire::assessment::HostRole;

use super::Normaliser;
use crate::Alert;
use crate::alert::{HostIdKind, Level, Marker, VendorSeverity};
use crate::fields::Field;

/// See the module.
pub struct Falco;

/// Falco's field, and the name by which rules know it.
const FIELDS: &[(&str, &str)] = &[
    ("container.image.repository", "container.image"),
    ("fd.name", "file.path"),
    ("ka.uri.param[command]", "process.command_line"),
    ("proc.cmdline", "process.command_line"),
    ("proc.exe_flags", "process.flags"),
    ("evt.arg.flags", "process.flags"),
    ("proc.exepath", "process.path"),
    ("proc.name", "process.name"),
    ("proc.pname", "process.parent"),
    ("proc.tty", "process.tty"),
];

impl Normaliser for Falco {
    fn read(&self, record: &Value) -> Option<Alert> {
        let record = Field::of(record);
        let (rule, output) = (record.key("rule").text()?, record.key("output").text()?);
        let priority = record.key("priority").text()?;
        let mut alert = Alert::empty("falco");
        alert.source_ref = record.key("uuid").text();
        alert.occurred_at = record.key("time").time();
        alert.vendor_severity = severity(priority);
        for tag in record.key("tags").entries().filter_map(Field::text) {
            if is_technique(&tag) {
                alert.technique(tag.clone());
            }
            alert.labels.insert(tag);
        }
        if is_test(&rule, &output, &alert) {
            alert.markers.insert(Marker::Test);
        }
        let fields = record.key("output_fields");
        for (theirs, ours) in FIELDS {
            if let Some(value) = known(fields, theirs) {
                alert.set(ours, value);
            }
        }
        hosts(&mut alert, record, fields);
        for account in ["user.name", "user.loginname", "ka.user.name"] {
            if let Some(account) = known(fields, account) {
                alert.set("actor.user", account.clone());
                alert.account(account);
            }
        }
        indicators(&mut alert, fields);
        alert.words(output);
        alert.words(known(fields, "proc.cmdline").unwrap_or_default());
        alert.title.clone_from(&rule);
        alert.event = rule;
        Some(alert)
    }
}

/// A field of the event; Falco writes `<NA>` where it knows nothing.
fn known(fields: Field, name: &str) -> Option<String> {
    fields.key(name).text().filter(|value| value != "<NA>" && value != "N/A")
}

fn severity(priority: String) -> Option<VendorSeverity> {
    let level = match priority.to_ascii_lowercase().as_str() {
        "emergency" | "alert" | "critical" => Level::Critical,
        "error" => Level::High,
        "warning" => Level::Medium,
        "notice" => Level::Low,
        "informational" | "info" | "debug" => Level::Informational,
        _ => return None,
    };
    Some(VendorSeverity { level, scale: "falco words".to_owned(), value: priority })
}

/// `T1620`, `T1548.003`.
fn is_technique(tag: &str) -> bool {
    tag.strip_prefix('T')
        .is_some_and(|rest| rest.len() >= 4 && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// The test button of falcosidekick, and rules that call themselves a test in their first word *and* their output or
/// tags. "test" elsewhere (a host, a command line) is no verdict.
fn is_test(rule: &str, output: &str, alert: &Alert) -> bool {
    let first = rule.split_whitespace().next().unwrap_or_default();
    first.eq_ignore_ascii_case("test")
        && (alert.labels.contains("test")
            || output.eq_ignore_ascii_case("test")
            || output == "This is a test from falcosidekick")
}

/// A system call happened on the host that reports it. An audit event was only read there: the pod is the victim. So it
/// is in a cluster where Falco's own pod gives its name instead of the node's.
fn hosts(alert: &mut Alert, record: Field, fields: Field) {
    let pod = known(fields, "k8s.pod.name").or_else(|| {
        known(fields, "ka.target.name")
            .filter(|_| known(fields, "ka.target.resource").is_none_or(|resource| resource == "pods"))
    });
    let namespace = known(fields, "k8s.ns.name").or_else(|| known(fields, "ka.target.namespace"));
    if let Some(pod) = &pod {
        let name = format!("pod:{}/{pod}", namespace.as_deref().unwrap_or("default"));
        alert.set("kubernetes.pod", name.clone());
        alert.host(name, HostRole::Victim);
    }
    alert.set("kubernetes.namespace", namespace.unwrap_or_default());
    if let Some(container) = known(fields, "container.id").filter(|id| id != "host") {
        alert.set("container.id", container.clone());
        alert.host(format!("container:{container}"), HostRole::Victim);
    }
    let Some(name) = record.key("hostname").text().or_else(|| known(fields, "evt.hostname")) else { return };
    let source = record.key("source").text().unwrap_or_else(|| "syscall".to_owned());
    let is_system_call = source.starts_with("syscall");
    let is_falcos_pod = pod.is_some() && name.starts_with("falco-");
    if !is_system_call || is_falcos_pod {
        alert.host(name, HostRole::Reporter);
        return;
    }
    alert.set("host.name", name.clone());
    if name.contains('.') && name.parse::<IpAddr>().is_err() {
        alert.id(HostIdKind::Fqdn, name.clone());
    }
    alert.host(name, HostRole::Victim);
}

fn indicators(alert: &mut Alert, fields: Field) {
    // `10.0.3.17:41022->203.0.113.77:443`: the far end of a connection.
    let far = known(fields, "fd.name")
        .and_then(|name| name.split_once("->").map(|(_, far)| far.to_owned()))
        .and_then(|far| far.rsplit_once(':').map(|(address, _)| address.to_owned()));
    for address in [known(fields, "fd.rip"), far].into_iter().flatten() {
        if address.parse::<IpAddr>().is_ok() {
            alert.set("destination.ip", address.clone());
            alert.indicator("ip", address);
        }
    }
    for name in ["proc.exepath", "fd.name"] {
        if let Some(path) = known(fields, name).filter(|path| path.starts_with('/')) {
            alert.indicator("path", path);
        }
    }
    alert.indicator("process", known(fields, "proc.name").unwrap_or_default());
}
