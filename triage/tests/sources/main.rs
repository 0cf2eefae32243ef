//! What the shipped rules make of each source's records, through the doors: bytes in, assessment out. One file for each
//! source; the fixtures are in the vendors' documented formats.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its fixtures as well")]

use std::path::PathBuf;

use triage::{Alert, Context, assess, normalise};
use wire::Instant;
use wire::assessment::{Assessment, HostRole, Severity};

mod cef;
mod crowdstrike;
mod defender;
mod elastic;
mod osquery;
mod qradar;
mod scc;
mod sigma;
mod splunk;
mod suricata;
mod wazuh;

/// 2026-11-21T17:52:00Z
const RECEIVED: Instant = Instant(1_795_283_520_000_000_000);

const VICTIM: HostRole = HostRole::Victim;
const SOURCE: HostRole = HostRole::Source;
const REPORTER: HostRole = HostRole::Reporter;
const INTERMEDIARY: HostRole = HostRole::Intermediary;

/// The JSON of a fixture.
fn fixture(name: &str) -> serde_json::Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let raw = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&raw).unwrap()
}

/// The one alert in a record.
fn alert(record: &serde_json::Value) -> Alert {
    let mut taken = normalise(record.to_string().as_bytes(), RECEIVED, Context::shipped().unwrap().rules).unwrap();
    assert_eq!(taken.len(), 1, "{record}");
    taken.remove(0).alert
}

/// What one record comes to.
fn triaged(record: &serde_json::Value) -> Assessment {
    assess(&[&alert(record)], &Context::shipped().unwrap())
}

/// Type, severity, hosts with their parts, and the rule that decided.
#[track_caller]
fn check(name: &str, incident_type: &str, severity: Severity, hosts: &[(&str, HostRole)], rule: &str) -> Assessment {
    let got = triaged(&fixture(name));
    let found: Vec<_> = got.hosts.iter().map(|host| (host.name.as_str(), host.role)).collect();
    let why: Vec<_> =
        got.severity_explanation.iter().map(|effect| (&effect.rule, &effect.input, &effect.effect)).collect();
    assert_eq!((got.incident_type.as_str(), got.severity), (incident_type, severity), "{name}: {why:#?}");
    assert_eq!(found, hosts, "{name}");
    assert!(got.severity_explanation.iter().any(|effect| effect.rule == rule), "{name}: {rule} is not in {why:#?}");
    got
}

/// The ids of its techniques.
fn techniques(assessment: &Assessment) -> Vec<&str> {
    assessment.techniques.iter().map(|technique| technique.id.as_str()).collect()
}
