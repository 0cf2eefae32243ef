//! AWS GuardDuty: a finding as EventBridge sends it (in `detail`) or as GetFindings returns it, in either key case.
//!
//! Format: docs.aws.amazon.com/guardduty/latest/APIReference/API_Finding.html and
//! …/ug/guardduty_findings_eventbridge.html. Each new occurrence updates the finding under the same ARN, which is
//! therefore the reference for deduplication.

use serde_json::Value;
use wire::assessment::HostRole;

use super::Normaliser;
use crate::Alert;
use crate::alert::{HostIdKind, Level, Marker, VendorSeverity};
use crate::fields::Field;
use crate::mapping::technique_ids;

/// See the module.
pub struct GuardDuty;

impl Normaliser for GuardDuty {
    fn read(&self, record: &Value) -> Option<Alert> {
        let record = Field::of(record);
        let is_event = record.key("source").text().is_some_and(|source| source == "aws.guardduty");
        let finding = if is_event { record.key("detail") } else { record };
        let kind = finding.key("type").text().filter(|kind| is_finding_type(kind))?;
        if !is_event && !finding.at(&["service", "detectorId"]).holds() && !is_guardduty(finding) {
            return None;
        }
        let mut alert = Alert::empty("guardduty");
        alert.event = kind;
        alert.title = finding.key("title").text().unwrap_or_else(|| alert.event.clone());
        alert.source_ref = finding.any(&["arn", "id"]).text();
        alert.words(finding.key("title").text_or_empty());
        let description = finding.key("description").text_or_empty();
        // An attack sequence lists its techniques there.
        technique_ids(&description).for_each(|id| alert.technique(id));
        alert.words(description);
        alert.set("cloud.account", finding.key("accountId").text_or_empty());
        alert.vendor_severity = severity(finding);
        let service = finding.key("service");
        alert.first_seen = service.key("eventFirstSeen").time();
        alert.last_seen = service.key("eventLastSeen").time();
        alert.occurred_at = alert.last_seen.or_else(|| finding.any(&["updatedAt", "createdAt"]).time());
        markers(&mut alert, finding);
        resource(&mut alert, finding);
        action(&mut alert, service.key("action"));
        runtime(&mut alert, service.key("runtimeDetails"));
        malware_scan(&mut alert, service.key("ebsVolumeScanDetails"));
        sequence(&mut alert, service.at(&["detection", "sequence"]));
        Some(alert)
    }
}

/// `ThreatPurpose:ResourceType/ThreatFamily…`
fn is_finding_type(kind: &str) -> bool {
    kind.split_once(':').is_some_and(|(purpose, rest)| {
        !purpose.is_empty() && purpose.bytes().all(|byte| byte.is_ascii_alphanumeric()) && rest.contains('/')
    })
}

fn is_guardduty(finding: Field) -> bool {
    finding.at(&["service", "serviceName"]).text().is_some_and(|name| name.eq_ignore_ascii_case("guardduty"))
}

/// 1 to 10; 9 and over is critical, and so are all attack sequences.
fn severity(finding: Field) -> Option<VendorSeverity> {
    let number = finding.key("severity").number()?;
    let level = match number {
        9.0.. => Level::Critical,
        7.0.. => Level::High,
        4.0.. => Level::Medium,
        _ => Level::Low,
    };
    Some(VendorSeverity { level, scale: "guardduty 1-10".to_owned(), value: number.to_string() })
}

/// Only what GuardDuty itself writes counts: a tag or a name that says "GeneratedFinding" may be the intruder's.
fn markers(alert: &mut Alert, finding: Field) {
    let additional = finding.at(&["service", "additionalInfo"]);
    let in_text = additional
        .key("value")
        .value()
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .is_some_and(|value| Field::of(&value).key("sample").is_true());
    let generated = finding.at(&["resource", "accessKeyDetails", "accessKeyId"]).text();
    let is_titled = alert.title.starts_with("[SAMPLE]");
    if additional.key("sample").is_true()
        || in_text
        || is_titled
        || generated.as_deref() == Some("GeneratedFindingAccessKeyId")
    {
        alert.markers.insert(Marker::Sample);
    }
    if finding.at(&["service", "archived"]).is_true() {
        alert.markers.insert(Marker::ClosedUpstream);
    }
    if alert.event.starts_with("AttackSequence:") {
        alert.markers.insert(Marker::VendorConfirmed);
    }
}

fn resource(alert: &mut Alert, finding: Field) {
    let resource = finding.key("resource");
    let kind = resource.key("resourceType").text_or_empty();
    let key = resource.key("accessKeyDetails");
    let users = [
        key.key("userName"),
        resource.at(&["kubernetesDetails", "kubernetesUserDetails", "username"]),
        resource.at(&["rdsDbUserDetails", "user"]),
    ];
    for user in users {
        if let Some(user) = user.text() {
            alert.set("actor.user", user.clone());
            alert.account(user);
        }
    }
    // The credentials of a role that an instance holds carry its id as the session's name.
    let session =
        key.key("principalId").text().and_then(|id| id.split_once(':').map(|(_, session)| session.to_owned()));
    let instance = resource.key("instanceDetails");
    let id = instance.key("instanceId").text();
    // On findings about keys and buckets the instance is noise, unless it is the one whose credentials were used. What
    // Runtime Monitoring saw in a container, it saw on this instance.
    let is_seen_there = kind.eq_ignore_ascii_case("Instance") || alert.event.contains(":Runtime/");
    if is_seen_there || (id.is_some() && id == session) {
        machine(alert, instance);
    } else if let Some(id) = session.filter(|session| session.starts_with("i-")) {
        alert.host(id.clone(), HostRole::Victim);
        alert.id(HostIdKind::InstanceId, id);
    }
    for (details, prefix, name) in [
        ("containerDetails", "container", "id"),
        ("rdsDbInstanceDetails", "rds", "dbInstanceIdentifier"),
        ("lambdaDetails", "lambda", "functionName"),
        ("eksClusterDetails", "eks", "name"),
        ("ecsClusterDetails", "ecs", "name"),
    ] {
        if let Some(name) = resource.at(&[details, name]).text() {
            alert.host(format!("{prefix}:{name}"), HostRole::Victim);
        }
    }
    let workload = resource.at(&["kubernetesDetails", "kubernetesWorkloadDetails"]);
    if let Some(name) = workload.key("name").text().filter(|_| is_pod(workload)) {
        let namespace = workload.key("namespace").text().unwrap_or_else(|| "default".to_owned());
        alert.host(format!("pod:{namespace}/{name}"), HostRole::Victim);
    }
    if kind.eq_ignore_ascii_case("S3Bucket") || kind.eq_ignore_ascii_case("S3Object") {
        // The bucket that the call was about; else all that the finding lists.
        let affected = finding.at(&["service", "action", "awsApiCallAction", "affectedResources", "AWS::S3::Bucket"]);
        let listed = resource.key("s3BucketDetails").entries().filter_map(|bucket| bucket.key("name").text());
        for name in affected.text().map_or_else(|| listed.collect(), |name| vec![name]) {
            alert.host(format!("s3:{name}"), HostRole::Victim);
        }
    }
}

fn is_pod(workload: Field) -> bool {
    workload.key("type").text().is_some_and(|kind| kind.eq_ignore_ascii_case("pods"))
}

/// The instance goes by its id; the Name tag and the private DNS name are its other names.
fn machine(alert: &mut Alert, instance: Field) {
    let Some(id) = instance.key("instanceId").text() else { return };
    alert.host(id.clone(), HostRole::Victim);
    alert.id(HostIdKind::InstanceId, id.clone());
    alert.set("host.name", id.clone());
    for tag in instance.key("tags").entries() {
        if tag.key("key").text().as_deref() == Some("Name")
            && let Some(name) = tag.key("value").text()
        {
            alert.alias(name, &id);
        }
    }
    for interface in instance.key("networkInterfaces").entries() {
        if let Some(name) = interface.key("privateDnsName").text() {
            alert.alias(name.clone(), &id);
            alert.id(HostIdKind::Fqdn, name);
        }
    }
}

fn action(alert: &mut Alert, action: Field) {
    let connection = action.key("networkConnectionAction");
    alert.set("action.direction", connection.key("connectionDirection").text_or_empty());
    for one in [connection, action.key("dnsRequestAction"), action.key("portProbeAction")] {
        if one.key("blocked").is_true() {
            alert.markers.insert(Marker::Prevented);
        }
    }
    let api = action.key("awsApiCallAction");
    alert.set("action.api", api.key("api").text_or_empty());
    let kubernetes = action.key("kubernetesApiCallAction");
    // The API server refused it.
    if kubernetes.key("statusCode").number().is_some_and(|code| (400.0..500.0).contains(&code)) {
        alert.markers.insert(Marker::Prevented);
    }
    let probes = action.at(&["portProbeAction", "portProbeDetails"]).entries();
    for from in [connection, api, kubernetes, action.key("rdsLoginAttemptAction")].into_iter().chain(probes) {
        if let Some(address) = from.key("remoteIpDetails").any(&["ipAddressV4", "ipAddressV6"]).text() {
            alert.set("source.ip", address.clone());
            alert.indicator("ip", address);
        }
    }
    alert.indicator("domain", action.at(&["dnsRequestAction", "domain"]).text_or_empty());
}

fn runtime(alert: &mut Alert, runtime: Field) {
    let process = runtime.key("process");
    alert.set("process.name", process.key("name").text_or_empty());
    alert.set("process.path", process.key("executablePath").text_or_empty());
    alert.indicator("path", process.key("executablePath").text_or_empty());
    alert.indicator("sha256", process.key("executableSha256").text_or_empty());
    alert.account(process.key("user").text_or_empty());
}

fn malware_scan(alert: &mut Alert, scan: Field) {
    let threats = scan.at(&["scanDetections", "threatDetectedByName", "threatNames"]);
    let is_eicar = |threat: Field| threat.key("name").text().is_some_and(|name| name.starts_with("EICAR"));
    if threats.holds() && threats.entries().all(is_eicar) {
        alert.markers.insert(Marker::Test);
    }
    for threat in threats.entries() {
        alert.words(threat.key("name").text_or_empty());
        for file in threat.key("filePaths").entries() {
            alert.indicator("path", file.key("filePath").text_or_empty());
            if let Some(hash) = file.key("hash").text().filter(|hash| hash.len() == 64) {
                alert.indicator("sha256", hash);
            }
        }
    }
}

/// An attack sequence names its actors and endpoints apart; older ones name the user in the title only.
fn sequence(alert: &mut Alert, sequence: Field) {
    for resource in sequence.key("resources").entries() {
        let name = resource.any(&["name", "uid"]).text_or_empty();
        match resource.key("resourceType").text_or_empty().as_str() {
            "EC2_INSTANCE" => {
                let uid = resource.key("uid").text_or_empty();
                let id = uid.rsplit('/').next().unwrap_or_default().to_owned();
                alert.id(HostIdKind::InstanceId, id.clone());
                alert.host(id, HostRole::Victim);
            }
            "S3_BUCKET" => alert.host(format!("s3:{name}"), HostRole::Victim),
            "EKS_CLUSTER" => alert.host(format!("eks:{name}"), HostRole::Victim),
            "ECS_CLUSTER" => alert.host(format!("ecs:{name}"), HostRole::Victim),
            "CONTAINER" => alert.host(format!("container:{name}"), HostRole::Victim),
            _ => {}
        }
    }
    for actor in sequence.key("actors").entries() {
        alert.account(actor.at(&["user", "name"]).text_or_empty());
    }
    for endpoint in sequence.key("endpoints").entries() {
        alert.indicator("ip", endpoint.key("ip").text_or_empty());
        alert.indicator("domain", endpoint.key("domain").text_or_empty());
    }
    if alert.accounts.is_empty()
        && let Some((_, rest)) = alert.title.split_once("IAMUser/")
    {
        let name: String = rest.chars().take_while(|c| !c.is_whitespace()).collect();
        alert.account(name.trim_end_matches(['.', ',']).to_owned());
    }
}
