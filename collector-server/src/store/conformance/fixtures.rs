//! Records for the cases: each whole, with nothing left at its default that a backend could lose.

use serde_json::json;
use wire::agent_api::HostFacts;
use wire::api::{
    ConsoleView, DeadLetter, EvidenceState, EvidenceView, PageState, PageView, Role, SignerTrust, ToldEvent,
};
use wire::assessment::{
    Assessment, Effect, EscalationPath, EvidencePlan, Host, HostRole, Indicator, Severity, Technique,
};
use wire::containment::{Action, Approval, ContainmentEvent, Directive};
use wire::custody::HeadPoint;
use wire::finding::{Finding, FindingsReport, Level};
use wire::host::{Beat, HostMarks};
use wire::hunt::HuntState;
use wire::order::OrderState;
use wire::receipt::{RECEIPT_TYPE, Receipt};
use wire::signed::Signed;
use wire::ticket::TicketKind;
use wire::{
    AgentId, AlertId, BundleId, HuntId, IncidentId, Instant, LetterId, OrderId, PageId, Phase, Sha256, Tier, UploadId,
};

use crate::store::{
    AlertRecord, ApprovalRecord, AutomationRecord, CheckpointRecord, ConsoleRecord, EvidenceRecord, FindingsRecord,
    HostRecord, HuntRecord, IncidentRecord, LetterRecord, NewLeaf, OrderRecord, PageRecord, SessionRecord,
    TicketRecord, TokenRecord,
};

/// 2026-11-21, with nanoseconds.
pub const T0: i128 = 1_795_283_148_123_456_789;
/// Texts as a host may send them.
pub const HOSTILE: &str = "<b>\u{1b}[31m'; DROP TABLE alerts; --\0\n\u{202e}é\u{10ffff}\"\\";

/// So many seconds after [`T0`].
pub fn at(secs: i128) -> Instant {
    Instant(T0 + secs * 1_000_000_000)
}

pub fn random(n: u64) -> [u8; 10] {
    let mut random = [7; 10];
    random[..8].copy_from_slice(&n.to_be_bytes());
    random
}

pub fn leaf(incident: Option<&IncidentId>, n: u64) -> NewLeaf {
    let details = json!({"z": n, "a": {"y": null, "b": [1.5, HOSTILE]}});
    NewLeaf {
        actor: "user:mara".into(),
        details: details.as_object().cloned().unwrap_or_default(),
        event: "alert_received",
        incident: incident.cloned(),
        subject: format!("alert:{n}"),
        time: at(i128::from(n)),
    }
}

pub fn assessment(severity: Severity) -> Assessment {
    Assessment {
        accounts: vec!["root".into(), HOSTILE.into()],
        auto_close: false,
        classification_confidence: 0.75,
        containment: vec![],
        disposition: "true_positive".into(),
        dwell_hours: Some(2.5),
        escalation_path: EscalationPath { respond_within_minutes: 15, ..EscalationPath::default() },
        escalation_triggers_fired: vec!["ransom_note".into()],
        evidence_plan: EvidencePlan { tiers: vec![Tier::Volatile], ..EvidencePlan::default() },
        false_positive_indicators: vec![],
        hosts: vec![Host { name: "web-1".into(), role: HostRole::Victim }],
        incident_type: "ransomware".into(),
        indicators: vec![Indicator { kind: "ip".into(), value: "198.51.100.7".into() }],
        notification_clocks: vec![],
        raw_sha256: Sha256::of(b"alert"),
        recommended_action: "collect".into(),
        severity,
        severity_explanation: vec![Effect {
            effect: "SEV3 → SEV1".into(),
            input: HOSTILE.into(),
            rule: "ransom_note".into(),
            version: "1".into(),
        }],
        source: "falco".into(),
        techniques: vec![Technique {
            id: "T1486".into(),
            name: "Data Encrypted for Impact".into(),
            retired_id: None,
            tactic: "impact".into(),
        }],
        timestamp_utc: at(-1),
        would_change_it: vec![],
    }
}

pub fn incident(id: &str, severity: Severity, updated: i128) -> IncidentRecord {
    IncidentRecord {
        assessment: assessment(severity),
        case: wire::case::Case::default(),
        incident: id.parse().unwrap(),
        opened: at(0),
        title: HOSTILE.into(),
        updated: at(updated),
        version: 1,
    }
}

pub fn alert(n: u64, incident: Option<&IncidentId>) -> AlertRecord {
    AlertRecord {
        alert: AlertId::new(1_795_283_148_123, random(n)),
        assessment: assessment(Severity::Sev2),
        correlated: Some(HOSTILE.into()),
        happened_secs: at(i128::from(n)).unix_seconds(),
        incident: incident.cloned(),
        keys: [format!("host:h-{n}"), format!("account:{HOSTILE}-{n}")].into(),
        normalised: json!({"fields": {"fd.name": HOSTILE}, "n": u64::MAX}),
        raw_sha256: Sha256::of(&n.to_be_bytes()),
        received: at(i128::from(n)),
        sent_by: "source:falco".into(),
        source_ref: format!("falco:{n}{HOSTILE}"),
        title: HOSTILE.into(),
    }
}

pub fn host(agent: &str) -> HostRecord {
    HostRecord {
        agent: agent.parse().unwrap(),
        beat: Some(Beat { boot_id: Some(HOSTILE.into()), count: 7 }),
        certificate_expires: at(30 * 86_400),
        certificate_serials: vec!["0a".into(), "0b".into()],
        enrolled: at(0),
        facts: HostFacts { name: HOSTILE.into(), profiles: vec!["intrusion".into()], ..HostFacts::default() },
        gone: None,
        last_seen: None,
        marks: HostMarks::default(),
        revoked: None,
        signer: "ssh-ed25519 AAAA".into(),
        silent: None,
        version: 1,
        went_back: None,
    }
}

pub fn order(n: u64, agent: &str, incident: &IncidentId) -> OrderRecord {
    OrderRecord {
        agent: agent.parse().unwrap(),
        approvals: vec![],
        approvers: 1,
        bundle: None,
        directive: None,
        envelope: Signed::new("mara", HOSTILE.as_bytes(), "-----BEGIN SSH SIGNATURE-----".into()),
        events: vec![],
        expires: at(3600),
        incident: incident.clone(),
        issued: at(i128::from(n)),
        nonce: format!("{n:032x}"),
        order: OrderId::new(1_795_283_148_123, random(n)),
        profile: "intrusion".into(),
        sha256: Sha256::of(&n.to_be_bytes()),
        state: OrderState::Queued,
        supersedes: Some(OrderId::new(1, random(n))),
    }
}

/// An order that waits for two more to approve it.
pub fn containment(n: u64, agent: &str, incident: &IncidentId) -> OrderRecord {
    let action = Action::LockAccount { account: HOSTILE.into() };
    OrderRecord {
        approvers: 3,
        directive: Some(Directive::Apply { action, lease_secs: 60 }),
        profile: "lock_account".into(),
        state: OrderState::AwaitingApproval,
        ..order(n, agent, incident)
    }
}

pub fn approval(n: u64) -> ApprovalRecord {
    let approval = Approval { principal: HOSTILE.into(), sig_ssh: "-----BEGIN SSH SIGNATURE-----".into() };
    ApprovalRecord { approval, by: "user:mara".into(), key: format!("SHA256:{n}"), time: at(i128::from(n)) }
}

pub fn automation(agent: &str, incident: &IncidentId, due: Option<i128>) -> AutomationRecord {
    let stands = json!({"stage": "capturing", "why": HOSTILE});
    AutomationRecord { agent: agent.parse().unwrap(), due: due.map(at), incident: incident.clone(), stands, version: 1 }
}

pub fn console(n: u64, agent: &str) -> ConsoleRecord {
    let (agent, id): (AgentId, _) = (agent.parse().unwrap(), OrderId::new(1_795_283_148_123, random(n)));
    let told = ContainmentEvent::Tampered { message: HOSTILE.into(), restored: true };
    let time = at(i128::from(n));
    let view = ConsoleView {
        action: Action::StopUnit { unit: HOSTILE.into() },
        agent: agent.clone(),
        events: vec![ToldEvent { agent_time: at(0), told, time }],
        id,
        is_in_force: true,
        rehearsed: false,
    };
    ConsoleRecord { agent, id, is_in_force: true, told: time, version: 1, view }
}

pub fn hunt(n: u64, incident: &IncidentId) -> HuntRecord {
    HuntRecord {
        concurrency: 5,
        created: at(i128::from(n)),
        created_by: "user:mara".into(),
        expires: at(3600),
        hunt: HuntId::new(1_795_283_148_123, random(n)),
        incident: incident.clone(),
        labels: vec!["env=prod".parse().unwrap()],
        profile: HOSTILE.into(),
        purpose: Some(HOSTILE.into()),
        rate_per_min: 60,
        state: HuntState::Gathering,
        version: 1,
    }
}

pub fn evidence(n: u64, incident: &IncidentId) -> EvidenceRecord {
    EvidenceRecord {
        certificate_serial: Some("0b".into()),
        last_seen: at(i128::from(n)),
        length: None,
        offset: 0,
        signer: Some("ssh-ed25519 AAAA".into()),
        upload: UploadId::new(1_795_283_148_123, random(n)),
        view: EvidenceView {
            brought_by: "agent:web-1".into(),
            bundle: BundleId::new(1_795_283_148_123, random(n)),
            bytes: 0,
            contradictions: Vec::new(),
            encrypted: false,
            findings: vec![HOSTILE.into()],
            found: None,
            host: HOSTILE.into(),
            incident: incident.clone(),
            items: [("ok".to_owned(), 3), ("denied".to_owned(), 1)].into(),
            name: "web-1.evidence.zip".into(),
            order: None,
            part: None,
            profile: Some("intrusion".into()),
            receipts: vec![],
            received: at(i128::from(n)),
            sha256: Some(Sha256::of(b"bytes")),
            signer: None,
            signer_principal: None,
            state: EvidenceState::Receiving,
            tiers: vec![Tier::Volatile],
            trust: Some(SignerTrust::Enrolled),
            verified_to: 0,
        },
    }
}

pub fn findings(bundle: BundleId, offset: u64) -> FindingsRecord {
    let finding = Finding {
        count: 1,
        description: "What it means.".into(),
        false_positives: vec![],
        level: Level::High,
        rows: vec![],
        rule: "a-rule".into(),
        techniques: vec![],
        title: HOSTILE.into(),
    };
    let report = FindingsReport {
        bundle,
        findings: vec![finding],
        left_out: vec![],
        partial: false,
        rows: 7,
        rules: 1,
        rules_sha256: Sha256::of(b"rules"),
        v: 1,
    };
    FindingsRecord { evaluated: at(61), offset, report }
}

pub fn checkpoint(bundle: BundleId, seq: u64) -> CheckpointRecord {
    CheckpointRecord {
        bundle,
        envelope: Signed::new("server", HOSTILE.as_bytes(), "-----BEGIN SSH SIGNATURE-----".into()),
        line: format!("{{\"seq\":{seq},\"x\":{HOSTILE:?}}}"),
        receipt: Receipt {
            agent_certificate_serial: Some("0b".into()),
            bundle,
            custody: HeadPoint { root: Sha256::of(b"root"), size: 9 },
            offset: 8 * seq,
            phase: Phase::Start,
            phase_complete: true,
            received_at: at(2),
            seq,
            sha256: Sha256::of(b"bytes"),
            kind: RECEIPT_TYPE.into(),
            v: 1,
        },
    }
}

pub fn ticket(n: u64, kind: TicketKind, incident: Option<&IncidentId>) -> TicketRecord {
    TicketRecord {
        created_by: "user:mara".into(),
        expires: at(100),
        host: Some(HOSTILE.into()),
        incident: incident.cloned(),
        kind,
        ticket: Sha256::of(&n.to_be_bytes()),
        used_by: None,
    }
}

pub fn token(id: &str, name: &str) -> TokenRecord {
    TokenRecord {
        created: at(0),
        expires: Some(at(100)),
        hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into(),
        name: name.into(),
        revoked: None,
        role: Role::Responder,
        signature: None,
        token: id.into(),
    }
}

pub fn letter(n: u64) -> LetterRecord {
    LetterRecord {
        ingest_token: Some("00000000000000aa".into()),
        view: DeadLetter {
            bytes: n,
            letter: LetterId::new(1_795_283_148_123, random(n)),
            reason: HOSTILE.into(),
            received: at(i128::from(n / 2)),
            replayed: None,
            sent_by: "source:falco".into(),
            sha256: Sha256::of(&n.to_be_bytes()),
            source: Some("falco".into()),
        },
    }
}

pub fn session(n: u64, token: &str) -> SessionRecord {
    SessionRecord { expires: at(50), session: Sha256::of(&n.to_be_bytes()), token: token.into() }
}

pub fn page(n: u64, incident: Option<&IncidentId>) -> PageRecord {
    PageRecord {
        channel: 1,
        due: at(i128::from(n)),
        is_held: true,
        severity: incident.map(|_| Severity::Sev1),
        version: 1,
        view: PageView {
            attempts: 1,
            channel: "smtp".into(),
            contact: HOSTILE.into(),
            created: at(i128::from(n)),
            error: Some(HOSTILE.into()),
            incident: incident.cloned(),
            page: PageId::new(1_795_283_148_123, random(n)),
            purpose: "escalation".into(),
            role: "CISO".into(),
            sent: None,
            state: PageState::Queued,
            step: 1,
        },
    }
}
