//! An incident as it stands at three in the morning, for tests and for looking at.

use bundle::coverage::Coverage;
use serde_json::{Value, json};
use wire::Instant;
use wire::api::{
    AutomationView, Draft, EscalationStatus, EvidenceState, EvidenceView, HostView, IncidentSummary, IncidentView, Me,
    OrderView, Page, PageView, SignerTrust,
};
use wire::case::{Case, Edit, TimelineEntry};
use wire::custody::{HeadPoint, Leaf};
use wire::order::OrderState;
use wire::response::{ChecklistStep, ClockState, TimerState};

use crate::ui::Frame;
use crate::ui::board::Contained;
use crate::ui::evidence::Item;

/// Markup, a handler, a line break, an escape sequence and a turn of direction in one title.
pub const HOSTILE: &str = "<script>alert(1)</script>\" onload=\"x\n\u{1b}[2J\u{202e}gpj.exe";

pub const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";

pub fn now() -> Instant {
    at("03:12:40")
}

fn at(clock: &str) -> Instant {
    from(json!(format!("2026-03-14T{clock}.123456789Z")))
}

pub fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub fn me() -> Me {
    from(json!({"name": "ada", "role": "responder", "server_signer": KEY, "server_time": at("03:12:40")}))
}

pub fn frame(me: &Me) -> Frame<'_> {
    Frame { me: Some(me), now: now() }
}

fn sha(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn assessment(severity: &str, source: &str) -> Value {
    json!({
        "accounts": ["postgres"], "auto_close": false, "classification_confidence": 0.93,
        "containment": [
            {"action": "freeze_process", "automatic": true, "conditions": ["the order names the process id and its start time"]},
            {"action": "isolate_network", "automatic": true, "conditions": ["a second independent signal agrees", "the volatile tier of db-1 is on the server", "db-1 is not on the never-isolate list"]},
            {"action": "manual_task", "automatic": false, "conditions": ["the owner of the backups confirms that they are offline"]},
        ],
        "disposition": "true_positive", "dwell_hours": 2.5,
        "escalation_path": {"bridge_call": true, "escalate_to": ["SOC lead", "CISO", "CEO", "board chair"], "respond_within_minutes": 15, "war_room": true},
        "escalation_triggers_fired": ["ransom_note"],
        "evidence_plan": {"estimated_seconds": 240, "order": ["memory", "processes", "connections", "sessions", "disk"], "profile": "ransomware", "tiers": ["volatile", "memory", "system", "logs", "files"]},
        "false_positive_indicators": [{"field": "process.path", "owner": "platform team", "rule": "scheduled_backup", "value": "/usr/bin/pg_dump"}],
        "hosts": [{"name": "db-1", "role": "victim"}, {"name": "app-3.example.com", "role": "victim"}, {"name": "10.20.0.53", "role": "intermediary"}],
        "incident_type": "ransomware",
        "indicators": [{"type": "ip", "value": "198.51.100.23"}, {"type": "sha256", "value": sha('e')}, {"type": "path", "value": "/srv/data/README_RESTORE.txt"}],
        "notification_clocks": [
            {"anchor": "aware_at", "deadline": "72 h to the authority", "regime": "GDPR Art. 33"},
            {"anchor": "aware_at", "deadline": "24 h early warning, 72 h notification, final after 1 month", "regime": "NIS2 Art. 23"},
        ],
        "raw_sha256": sha('a'),
        "recommended_action": "Take the volatile evidence of db-1 now, then decide on isolating it.",
        "severity": severity,
        "severity_explanation": [
            {"effect": "starts at SEV1", "input": "incident_type = ransomware", "rule": "type_default", "version": "2026.1"},
            {"effect": "SEV1 stays SEV1", "input": "details.ransom_note = README_RESTORE.txt", "rule": "trigger_ransom_note", "version": "2026.1"},
            {"effect": "no longer provisional", "input": "sources = falco, guardduty", "rule": "two_independent_sources", "version": "2026.1"},
        ],
        "source": source,
        "techniques": [
            {"id": "T1486", "name": "Data Encrypted for Impact", "retired_id": null, "tactic": "impact"},
            {"id": "T1562.001", "name": "Disable or Modify Tools", "retired_id": "T1089", "tactic": "defense-evasion"},
        ],
        "timestamp_utc": at("03:01:07"),
        "would_change_it": ["One source only: provisional SEV1, and containment waits for an approver.", "A verdict of the owner that the encryption is their own job: SEV4."],
    })
}

pub fn summary(number: u32, severity: &str, kind: &str, title: &str, hosts: &[&str], evidence: u64) -> IncidentSummary {
    from(json!({
        "alerts": number + 1, "evidence": evidence, "hosts": hosts, "incident": format!("INC-2026-{number:04}"),
        "incident_type": kind, "opened": at(&format!("0{}:01:12", number % 3)), "severity": severity, "title": title,
        "updated": at("03:11:58"),
    }))
}

pub fn board() -> Page<IncidentSummary> {
    let items = vec![
        summary(
            7,
            "SEV1",
            "ransomware",
            "Files under /srv/data are being encrypted on db-1",
            &["db-1", "app-3.example.com"],
            2,
        ),
        summary(
            5,
            "SEV2",
            "lateral_movement",
            "SSH with a stolen key from build-2 to eleven hosts",
            &["build-2", "web-1", "web-2", "web-3", "cache-1", "queue-1"],
            0,
        ),
        summary(6, "SEV3", "unauthorized_access", HOSTILE, &["mail\u{202e}1"], 1),
        summary(4, "SEV4", "vulnerability_discovered", "OpenSSL 3.0.2 on a jump host", &[], 0),
    ];
    Page { items, next: Some("INC-2026-0004".into()) }
}

pub fn host(name: &str, connected: bool) -> HostView {
    let agent = if name == HOSTILE { "web-1" } else { name };
    from(json!({
        "agent": format!("{agent}-0a1b2c3d"), "certificate_expires": "2026-04-12T00:00:00.000000000Z", "connected": connected,
        "enrolled": "2026-02-20T09:00:00.000000000Z",
        "facts": {"agent_version": "0.1.0", "arch": "x86_64", "boot_id": null, "kernel": "6.1.0-31-amd64", "machine_id": null, "name": name, "os_id": "debian 12", "profiles": ["triage"]},
        "last_seen": at("02:58:00"), "signer": KEY,
    }))
}

/// A hunt under way.
pub fn hunt() -> wire::hunt::HuntView {
    let order = |number: u32, wave: u32, released: Value, state: &str, findings: Value| {
        json!({
            "bundle": if findings.is_null() { Value::Null } else { json!(bundle_id(EvidenceState::Sealed)) }, "findings": findings,
            "order": format!("019c0000-0000-7000-9000-00000000000{number}"), "released": released, "state": state, "wave": wave,
        })
    };
    let orders =
        [order(1, 1, json!(at("03:00:00")), "completed", json!(3)), order(2, 2, Value::Null, "queued", Value::Null)];
    from(json!({
        "concurrency": 50, "created": at("02:59:00"), "created_by": HOSTILE, "expires": at("05:00:00"),
        "findings": {"high": 3}, "held": 1, "hosts": [{"agent": "db-1-0a1b2c3d", "host": HOSTILE, "orders": orders}],
        "hunt": "019c0000-0000-7000-9000-0000000000aa", "incident": "INC-2026-0007", "labels": ["env=prod"],
        "orders": {"completed": 1, "queued": 1}, "profile": HOSTILE, "purpose": HOSTILE, "rate_per_min": 120, "state": "running",
    }))
}

/// A host about which everything is said.
pub fn marked_host() -> HostView {
    let mut host = host(HOSTILE, false);
    host.marks = from(json!({
        "criticality": "critical", "labels": {"env": "prod", "team": HOSTILE},
        "protected": {"because": HOSTILE, "by": "user:ada", "since": at("02:00:00")},
    }));
    (host.silent, host.went_back) = (Some(from(json!(at("03:00:00")))), Some(from(json!(at("03:01:00")))));
    host
}

fn alert(number: u32, source: &str, title: &str, correlated: Option<&str>) -> Value {
    json!({
        "alert": format!("019c0000-0000-7000-8000-00000000000{number}"), "assessment": assessment("SEV1", source),
        "correlated": correlated, "incident": "INC-2026-0007", "raw_sha256": sha('b'),
        "received": at("03:01:12"), "sent_by": format!("source:{source}"), "title": title,
    })
}

fn order(number: u32, state: &str, bundle: Option<&str>, events: &Value) -> OrderView {
    from(json!({
        "agent": "db-1-0a1b2c3d", "bundle": bundle, "events": events, "expires": at("09:00:00"), "host": "db-1",
        "incident": "INC-2026-0007", "issued": at("03:10:00"), "order": format!("019c0000-0000-7000-9000-00000000000{number}"),
        "profile": "ransomware", "sha256": sha('c'), "signed_by": "ada@example.com", "state": state, "supersedes": null,
    }))
}

pub fn orders() -> Vec<OrderView> {
    let running = json!([
        {"event": "accepted", "time": at("03:11:00")},
        {"event": "started", "bundle": bundle_id(EvidenceState::Receiving), "time": at("03:11:01")},
        {"event": "progress", "bytes": 73_400_320, "collector": "process_images", "items": 1842, "tier": "memory", "time": at("03:12:39")},
    ]);
    let done = json!([{"event": "completed", "bytes": 412_316_860, "exit": 3, "items": 18_211, "sha256": sha('d'), "time": at("03:08:00")}]);
    let refused = json!([{"event": "refused", "message": "the policy of this host allows only the profile triage", "reason": "policy", "time": at("03:02:00")}]);
    let interrupted = json!([{"event": "interrupted", "bundle": bundle_id(EvidenceState::Partial), "receipted": 20_971_520, "time": at("03:05:00")}]);
    vec![
        order(4, "running", Some(&bundle_id(EvidenceState::Receiving)), &running),
        order(3, "completed", Some(&bundle_id(EvidenceState::Sealed)), &done),
        order(2, "interrupted", Some(&bundle_id(EvidenceState::Partial)), &interrupted),
        order(1, "refused", None, &refused),
    ]
}

fn bundle_id(state: EvidenceState) -> String {
    format!("019c0000-1111-7000-a000-{:012x}", 0xabc0 + state as u64)
}

fn receipt(seq: u64, phase: &str, offset: u64, clock: &str) -> Value {
    json!({
        "agent_certificate_serial": "0f", "bundle": bundle_id(EvidenceState::Sealed), "custody": {"root": sha('f'), "size": 128 + seq},
        "offset": offset, "phase": phase, "phase_complete": true, "received_at": at(clock), "seq": seq, "sha256": sha('9'),
        "type": "holdfast-receipt", "v": 1,
    })
}

pub fn evidence(state: EvidenceState) -> EvidenceView {
    let all = [
        receipt(3, "volatile", 4_194_304, "03:10:02"),
        receipt(9, "memory", 73_400_320, "03:10:31"),
        receipt(12, "system", 81_788_928, "03:10:40"),
        receipt(17, "logs", 125_829_120, "03:11:02"),
        receipt(52, "files", 412_000_000, "03:12:20"),
        receipt(53, "final", 412_316_860, "03:12:21"),
    ];
    let tiers = ["volatile", "memory", "system", "logs", "files"];
    let (phases, bytes, verified) = match state {
        EvidenceState::Sealed => (6, 412_316_860, 412_316_860),
        EvidenceState::Receiving => (1, 8_388_608, 4_194_304),
        EvidenceState::Partial => (2, 90_177_536, 73_400_320),
        EvidenceState::Unverified => (0, 90_177_536, 0),
        EvidenceState::Rejected => (6, 412_316_860, 125_829_120),
    };
    let findings: &[&str] = match state {
        EvidenceState::Rejected => &[
            "digest_mismatch: [root]/var/log/auth.log is not what the manifest says",
            "checkpoint_mismatch: checkpoint 18 does not continue checkpoint 17",
        ],
        _ => &[],
    };
    let trust = match state {
        EvidenceState::Unverified => None,
        EvidenceState::Rejected => Some(SignerTrust::Unknown),
        _ => Some(SignerTrust::Enrolled),
    };
    from(json!({
        "brought_by": "agent:db-1-0a1b2c3d", "bundle": bundle_id(state), "bytes": bytes, "findings": findings, "host": "db-1",
        "incident": "INC-2026-0007", "items": {"denied": 3, "meta_only": 211, "ok": 17_985, "vanished": 12},
        "name": "db-1_20260314T031001Z_019c0000.evidence.zip", "order": null, "profile": "ransomware",
        "receipts": all.get(..phases), "received": at("03:10:01"),
        "sha256": sha('d'), "signer": (state != EvidenceState::Unverified).then_some(KEY), "signer_principal": (state != EvidenceState::Unverified).then_some("agent:db-1-0a1b2c3d"),
        "state": state, "tiers": tiers.get(..phases.min(5)), "trust": trust, "verified_to": verified,
    }))
}

/// Two hosts, of which one waits.
fn automation() -> Vec<AutomationView> {
    from(json!([
        {"agent": "db-1-0a1b2c3d", "host": "db-1", "capture": null, "deadline": null,
         "order": "019c0000-0000-7000-9000-000000000005", "since": at("03:10:00"), "stage": "holding",
         "why": ["it holds, seen from the host and from the server"]},
        {"agent": "web-1-0a1b2c3e", "host": "web-1", "capture": null, "deadline": at("04:10:00"),
         "order": "019c0000-0000-7000-9000-000000000006", "since": at("03:10:00"), "stage": "waiting",
         "why": ["one signal so far: two independent ones about this host are what confirmed means"]},
    ]))
}

/// Orders of containment: one that holds, and one that waits for an approval.
fn containments() -> Vec<OrderView> {
    let order = |number: u32, state: &str, signed_by: &str, directive: Value, events: Value| {
        let mut order = serde_json::to_value(order(number, state, None, &events)).unwrap();
        order["signed_by"] = json!(signed_by);
        order["directive"] = directive;
        order["approvers"] = json!(2);
        from(order)
    };
    let preview = json!({
        "addresses": ["10.0.0.7"], "listening": ["tcp 0.0.0.0:5432 postgres", "tcp 0.0.0.0:22 sshd"],
        "peers": ["in tcp 10.0.0.9:50122 postgres", "out tcp 203.0.113.7:443 crypt0r"],
        "protected_roles": ["database"], "sessions": ["ada pts/0 10.0.0.9"], "more": 3,
    });
    let check = |side: &str, what: &str, holds: bool| json!({"side": side, "what": what, "holds": holds});
    let held = json!([
        {"event": "accepted", "time": at("03:09:50")},
        {"event": "containment", "containment": "planned", "preview": preview, "steps": ["cut"], "time": at("03:09:51")},
        {"event": "containment", "containment": "applied", "until": at("07:10:00"), "time": at("03:10:00")},
        {"event": "containment", "containment": "validated", "holds": true, "time": at("03:10:01"),
         "checks": [check("host", "192.0.2.1:443 does not answer", true)]},
        {"event": "containment", "containment": "validated", "holds": false, "time": at("03:10:02"),
         "checks": [check("server", "tcp 10.0.0.7:22 takes a connection from the server", false)]},
        {"event": "containment", "containment": "tampered", "message": "the table was flushed by <pid 7>", "restored": true,
         "time": at("03:12:00")},
    ]);
    let isolate = json!({"directive": "apply", "action": {"action": "isolate_network"}, "lease_secs": 14_400});
    let kill = json!({"action": "kill_process", "process": {"pid": 4711, "start_ticks": 99}});
    let kill = json!({"directive": "apply", "action": kill, "lease_secs": 60});
    vec![
        order(6, "awaiting_approval", "ada@example.com", kill, json!([])),
        order(5, "holding", "automation", isolate, held),
    ]
}

/// What is in force: by an order, and by root at a console.
pub fn contained() -> Contained {
    let orders = containments().into_iter().filter(|order| order.state == OrderState::Holding).collect();
    let console = json!({
        "action": {"action": "stop_unit", "unit": "x.service"}, "agent": "web-1-0a1b2c3e", "events": [],
        "id": "019c0000-0000-7000-9000-000000000007", "is_in_force": true,
    });
    Contained { consoles: vec![from(console)], orders }
}

pub fn incident() -> IncidentView {
    IncidentView {
        absorbed: vec!["INC-2026-0009".parse().unwrap()],
        automation: automation(),
        automation_is_on: true,
        case: case(),
        checklist: checklist(),
        clocks: clocks(),
        edits: edits(),
        pages: pages(),
        timers: timers(),
        alerts: vec![
            from(alert(
                1,
                "falco",
                "Ransom note written by an unknown process below /srv/data (user=postgres proc=crypt0r)",
                None,
            )),
            from(alert(
                2,
                "guardduty",
                "Impact:Runtime/CryptoMinerExecuted",
                Some("the same host db-1 within 24 h, from another product"),
            )),
        ],
        assessment: from(assessment("SEV1", "falco")),
        evidence: [EvidenceState::Receiving, EvidenceState::Sealed, EvidenceState::Partial, EvidenceState::Rejected]
            .map(evidence)
            .into(),
        hosts: vec![host("db-1", true)],
        orders: [containments(), orders()].concat(),
        summary: summary(
            7,
            "SEV1",
            "ransomware",
            "Files under /srv/data are being encrypted on db-1",
            &["db-1", "app-3.example.com"],
            4,
        ),
    }
}

fn stamp(clock: &str, by: &str, reason: &str) -> Value {
    json!({"by": by, "reason": reason, "time": at(clock)})
}

fn case() -> Case {
    from(json!({
        "anchors": {"aware_at": {"at": at("03:05:00"), "stamp": stamp("03:05:30", "user:ada", "the note was read")}},
        "overridden": {"incident_type": null, "severity": "SEV1", "stamp": stamp("03:06:00", "user:ada", HOSTILE), "triggers_then": []},
        "phase": "containment",
        "related": {"INC-2026-0005": "the same account svc_backup"},
        "roles": {"incident_commander": "Ada", "scribe": HOSTILE},
        "steps": {"ransomware.scope": {"outcome": "done", "stamp": stamp("03:08:00", "user:ada", "two hosts")}},
    }))
}

fn checklist() -> Vec<ChecklistStep> {
    let step = |id: &str, phase: &str, text: &str, within: Option<u32>| json!({"evidence": [], "id": id, "owner": "technical_lead", "phase": phase, "required": true, "text": text, "within_minutes": within});
    from(json!([
        step(
            "ransomware.scope",
            "detection_and_analysis",
            "List every host that the encrypting account can write to.",
            Some(30)
        ),
        step(
            "ransomware.backups",
            "containment",
            "Take the backups off the network, and look whether they can be restored.",
            Some(45)
        ),
        step("ransomware.isolate", "containment", "Isolate db-1 once its volatile tier is in.", Some(45)),
        step("ransomware.rebuild", "recovery", "Rebuild from a known good image, never from the encrypted one.", None),
    ]))
}

fn clocks() -> Vec<ClockState> {
    let stage = |name: &str, state: &str, due: Option<Instant>, left: Option<i64>| json!({"deadline": "72 h after awareness", "due_at": due, "reckoning": [], "remaining_seconds": left, "stage": name, "state": state, "submission": null, "to": "the supervisory authority", "waits_for": if due.is_some() { vec![] } else { vec!["aware_at"] }});
    from(json!([
        {"applies_to": "controllers of personal data in the EU and the UK", "clock": "gdpr_art_33", "decision": {"applies": true, "at": at("03:06:00"), "by": "user:ada", "clock": "gdpr_art_33", "why": "customer table"}, "guidance": "guidance, not legal advice", "regime": "GDPR Art. 33 (EU, UK)", "source": "Regulation (EU) 2016/679", "stages": [stage("notification", "running", Some(at("23:05:00")), Some(259_000))], "version": "2026.11"},
        {"applies_to": "essential and important entities", "clock": "nis2_art_23", "decision": null, "guidance": "guidance, not legal advice", "regime": "NIS2 Art. 23", "source": "Directive (EU) 2022/2555", "stages": [stage("early_warning", "warned", Some(at("23:05:00")), Some(3000)), stage("final_report", "not_started", None, None)], "version": "2026.11"},
    ]))
}

fn edits() -> Vec<Edit> {
    let edit = |undone: Option<Value>| json!({"alerts": ["019c0000-0000-7000-8000-000000000001"], "edit": "019c0000-0000-7000-8000-0000000000e1", "from": "INC-2026-0009", "kind": "merge", "stamp": stamp("03:04:00", "server", "same host db-1, 3 min apart"), "to": "INC-2026-0007", "undone": undone});
    from(json!([edit(None), edit(Some(stamp("03:09:00", "user:ada", "two machines of one name")))]))
}

pub fn pages() -> Vec<PageView> {
    let page = |n: u32, role: &str, state: &str, error: Option<&str>| json!({"attempts": n, "channel": "webhook", "contact": "Night shift", "created": at("03:01:13"), "error": error, "incident": "INC-2026-0007", "page": format!("019c0000-0000-7000-8000-0000000000f{n}"), "purpose": "escalation", "role": role, "sent": null, "state": state, "step": n});
    from(json!([page(2, "CISO", "failed", Some("the other side answered 503")), page(1, "SOC lead", "sent", None)]))
}

fn timers() -> Vec<TimerState> {
    let timer = |name: &str, what: &str, state: &str, left: Option<i64>| json!({"due_at": at("03:16:12"), "met_at": left.is_none().then(|| at("03:05:00")), "owner": "incident_commander", "remaining_seconds": left, "state": state, "timer": name, "what": what});
    from(json!([
        timer("respond", "Somebody answers", "met", None),
        timer("update", "Tell people where it stands", "overdue", Some(-130)),
        timer("sev1_evidence", "The volatile evidence is in, and containment is assessed", "warn", Some(212)),
    ]))
}

pub fn timeline() -> Vec<TimelineEntry> {
    let entry = |seq: u64, clock: &str, actor: &str, event: &str, text: &str| json!({"actor": actor, "event": event, "incident": "INC-2026-0007", "seq": seq, "subject": "incident:INC-2026-0007", "text": text, "time": at(clock)});
    from(json!([
        entry(118, "03:01:12", "source:falco", "alert_received", "An alert of falco came."),
        entry(119, "03:01:12", "server", "incident_opened", "Opened as ransomware, SEV1."),
        entry(127, "03:10:00", "user:ada", "note_added", HOSTILE),
        entry(133, "03:12:21", "agent:db-1-0a1b2c3d", "evidence_sealed", "A bundle of db-1 was sealed."),
    ]))
}

pub fn escalation() -> EscalationStatus {
    from(json!({
        "contacts": [{"channels": ["webhook", "smtp"], "contact": "Night shift", "roles": ["SOC lead"]}, {"channels": ["pagerduty"], "contact": "Duty officer <security>", "roles": ["CISO"]}],
        "pages": pages(), "vacant": ["CEO"],
    }))
}

pub fn draft() -> Draft {
    from(json!({"audience": "executive", "text": format!("# What we know\n\n{HOSTILE}\n\n[not known yet: cause]\n")}))
}

pub fn leaves() -> Vec<Leaf> {
    let leaf = |seq: u64, clock: &str, actor: &str, event: &str, subject: &str, details: Value| {
        from(
            json!({"actor": actor, "details": details, "event": event, "incident": "INC-2026-0007", "seq": seq, "subject": subject, "time": at(clock), "v": 1}),
        )
    };
    vec![
        leaf(
            118,
            "03:01:12",
            "source:falco",
            "alert_received",
            "alert:019c0000-0000-7000-8000-000000000001",
            json!({"sha256": sha('b')}),
        ),
        leaf(119, "03:01:12", "server", "incident_opened", "incident:INC-2026-0007", json!({"severity": "SEV1"})),
        leaf(
            127,
            "03:10:00",
            "user:ada",
            "order_issued",
            "order:019c0000-0000-7000-9000-000000000004",
            json!({"profile": "ransomware", "host": "db-1"}),
        ),
        leaf(
            133,
            "03:12:21",
            "agent:db-1-0a1b2c3d",
            "evidence_sealed",
            &format!("bundle:{}", bundle_id(EvidenceState::Sealed)),
            json!({"bytes": 412_316_860, "sha256": sha('d')}),
        ),
    ]
}

pub fn head() -> HeadPoint {
    from(json!({"root": sha('f'), "size": 134}))
}

pub fn coverage() -> Coverage {
    let step = |collector: &str, tier: &str, outcome: &str, reason: Option<&str>, counts: [u64; 5], ms: i128| {
        let [asked, denied, vanished, timed_out, bytes] = counts;
        json!({
            "asked": asked, "by_status": {}, "bytes": bytes, "collector": collector, "denied": denied, "ended": Instant(at("03:10:01").0 + ms * 1_000_000),
            "got": asked - denied - vanished - timed_out, "outcome": outcome, "reason": reason, "rows": 0, "started": at("03:10:01"),
            "tier": tier, "timed_out": timed_out, "vanished": vanished,
        })
    };
    from(json!({"collectors": [
        step("processes", "volatile", "completed", None, [312, 0, 2, 0, 402_113], 38),
        step("sockets", "volatile", "completed", None, [204, 0, 0, 0, 88_120], 12),
        step("process_images", "memory", "limited", Some("bytes_max of 64 MiB was reached"), [311, 3, 9, 0, 67_108_864], 28_400),
        step("login_records", "logs", "completed", None, [12, 0, 0, 0, 1_440_112], 240),
        step("files", "files", "timed_out", Some("wall_secs_max of 60 s was reached"), [17_400, 0, 1, 4, 301_440_112], 60_000),
    ], "type": "evidence-coverage", "v": 1}))
}

pub fn footprint() -> Value {
    json!({
        "bytes_read_from_disk": 398_112_320, "bytes_read_in_all": 612_112_320, "bytes_written_to_disk": 0, "cpu_ms": 8123, "memory_peak_bytes": 31_457_280,
        "page_cache_after_bytes": 2_147_483_648_u64, "page_cache_before_bytes": 2_140_000_000_u64,
        "tiers_wall_ms": {"files": 60_000, "logs": 240, "memory": 28_400, "system": 900, "volatile": 71}, "type": "evidence-footprint", "v": 1, "wall_ms": 91_204,
    })
}

pub fn items() -> Page<Item> {
    let item = |id: u64,
                path: &str,
                status: &str,
                collector: &str,
                tier: &str,
                size: Option<u64>,
                why: Option<&str>| {
        from(json!({
            "collected": at("03:10:02"), "collected_end": at("03:10:02"), "collector": collector, "id": id, "kind": "file", "method": "read",
            "path": path, "reason": why, "salt": "", "sha256": size.map(|_| sha('7')), "size": size, "status": status, "tier": tier, "v": 1,
        }))
    };
    let items = vec![
        item(1, "/proc", "ok", "processes", "volatile", Some(402_113), None),
        item(2, "/proc/4411/exe", "ok", "process_images", "memory", Some(1_204_224), None),
        item(3, "/srv/data/README_RESTORE.txt", "ok", "files", "files", Some(1204), None),
        item(4, "/root/.ssh/id_ed25519", "redacted", "files", "files", None, Some("sensitive: private_keys")),
        item(5, "/var/lib/secret", "denied", "files", "files", None, Some("Permission denied (os error 13)")),
        item(6, &format!("/tmp/{HOSTILE}"), "vanished", "files", "files", None, None),
        item(7, &format!("/srv/{}", "very-long-folder-name/".repeat(20)), "meta_only", "files", "files", None, None),
    ];
    Page { items, next: Some("7".into()) }
}
