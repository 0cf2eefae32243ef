//! Each reason to refuse a containment, by real signatures.

use super::super::tests::{NOW, SECOND};
use super::*;
use crate::contain::journal::Otherwise;
use crate::orders::seen::Seen;
use crate::policy::Policy;
use bundle::sign::{AllowedSigners, SigningKey};
use wire::containment::{CONTAINMENT_TYPE, EvidenceBasis, ProcessRef};
use wire::custody::HeadPoint;
use wire::order::Order;
use wire::receipt::{RECEIPT_TYPE, Receipt};
use wire::{BundleId, OrderId, Phase};

const BUNDLE: u64 = 7;
const POLICY: &str = "[contain]\nactions = [\"isolate_network\", \"freeze_process\", \"kill_process\", \"block_egress\"]\n\
    allow = [\"10.0.0.0/24\"]\nresolvers = [\"10.0.0.53\"]\nlease_secs_max = 7200\n\
    [automation]\nprincipals = [\"automation\"]\nactions = [\"isolate_network\", \"freeze_process\", \"kill_process\", \"block_egress\"]\n";

/// A world in which an isolation is taken, and what a case changes of it.
struct Case {
    approvals: Vec<(&'static str, u8)>,
    delivered_as: OrderId,
    key: u8,
    namespace: &'static str,
    order: ContainmentOrder,
    policy: Policy,
    principal: &'static str,
    receipt_by: u8,
    seen: Seen,
    server_offset_ns: i128,
    signers: String,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn isolate(allow: &[&str], resolvers: &[&str]) -> Action {
    Action::IsolateNetwork {
        allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
        resolvers: resolvers.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn kill() -> Action {
    Action::KillProcess { process: ProcessRef { pid: 7, start_ticks: 1 } }
}

fn freeze() -> Action {
    Action::FreezeProcess { process: ProcessRef { pid: 7, start_ticks: 1 } }
}

fn apply(action: Action) -> Directive {
    Directive::Apply { action, lease_secs: 3600 }
}

fn case() -> Case {
    let line = |name: &str, seed: u8| format!("{name} namespaces=\"holdfast-contain\" {}\n", key(seed).public_line());
    Case {
        approvals: Vec::new(),
        delivered_as: OrderId::new(1, [1; 10]),
        key: 1,
        namespace: namespace::CONTAIN,
        order: ContainmentOrder {
            agent: "web-1".parse().unwrap(),
            directive: apply(isolate(&[], &[])),
            evidence: None,
            expires: Instant(NOW.0 + 3600 * SECOND),
            incident: "INC-2026-0001".parse().unwrap(),
            issued: Instant(NOW.0 - SECOND),
            nonce: "0123456789abcdef0123456789abcdef".into(),
            order: OrderId::new(1, [1; 10]),
            reason: None,
            kind: CONTAINMENT_TYPE.into(),
            v: 1,
        },
        policy: Policy::parse(POLICY).unwrap(),
        principal: "ada",
        receipt_by: 9,
        seen: Seen::default(),
        server_offset_ns: 0,
        signers: [line("ada", 1), line("bob", 2), line("cyd", 2), line("automation", 3), line("automation:2", 4)]
            .concat(),
    }
}

/// The same, ordered by automation alone, with the evidence on the server.
fn automatic() -> Case {
    let mut case = case();
    (case.key, case.principal) = (3, "automation");
    case.receipted(Phase::Volatile, true);
    let order = Order { order: OrderId::new(2, [2; 10]), nonce: "f".repeat(32), ..super::super::tests::order() };
    case.seen.add(&order.common(), Some(BundleId::new(BUNDLE, [1; 10])), Instant(NOW.0 - 10 * SECOND));
    case
}

impl Case {
    fn receipted(&mut self, phase: Phase, phase_complete: bool) {
        let bundle = BundleId::new(BUNDLE, [1; 10]);
        let receipt = Receipt {
            agent_certificate_serial: None,
            bundle,
            custody: HeadPoint { root: Sha256([0; 32]), size: 0 },
            offset: 1,
            phase,
            phase_complete,
            received_at: NOW,
            seq: 1,
            sha256: Sha256([0; 32]),
            kind: RECEIPT_TYPE.into(),
            v: 1,
        };
        let bytes = serde_json::to_vec(&receipt).unwrap();
        let receipt = key(self.receipt_by).envelope("server", namespace::RECEIPT, &bytes).unwrap();
        self.order.evidence = Some(EvidenceBasis::Receipted { bundle, receipt });
    }

    fn check(&self) -> Result<CheckedContainment, Refusal> {
        let bytes = serde_json::to_vec(&self.order).unwrap();
        let envelope = key(self.key).envelope(self.principal, self.namespace, &bytes).unwrap();
        let approval = |(principal, seed): &(&str, u8)| Approval {
            principal: (*principal).to_owned(),
            sig_ssh: key(*seed).sign(namespace::CONTAIN, &bytes).unwrap(),
        };
        let approvals: Vec<Approval> = self.approvals.iter().map(approval).collect();
        let signers = AllowedSigners::parse(&self.signers).unwrap();
        let server = key(9).public_line();
        let context = Context {
            agent: &"web-1".parse().unwrap(),
            delivered_as: self.delivered_as,
            now: NOW,
            own_profile: &|_| None,
            policy: &self.policy,
            seen: &self.seen,
            is_offset_fresh: true,
            server_offset_ns: self.server_offset_ns,
            server_signer: &server,
            signers: &signers,
        };
        check_containment(&envelope, &approvals, &context)
    }

    fn taken(&self) -> CheckedContainment {
        self.check().unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }
}

type Change = fn(&mut Case);

#[track_caller]
fn refused(make: fn() -> Case, cases: &[(RefusalReason, &str, Change)]) {
    for (reason, wanted, change) in cases {
        let mut case = make();
        change(&mut case);
        let refusal = case.check().err().unwrap_or_else(|| panic!("taken, and not: {wanted}"));
        assert_eq!(refusal.reason, *reason, "{wanted}: {}", refusal.message);
        assert!(refusal.message.contains(wanted), "{}", refusal.message);
    }
}

#[test]
fn a_good_order_is_taken() {
    let checked = case().taken();
    assert_eq!((checked.approvers, checked.automatic), (vec!["ada".to_owned()], None));
    let mut within = case();
    within.order.directive = apply(isolate(&["10.0.0.7:443"], &["10.0.0.53"]));
    within.taken();
}

#[test]
fn each_reason_to_refuse_a_person() {
    use RefusalReason as R;
    refused(
        case,
        &[
            (R::SignatureBad, "not of these bytes", |c| c.namespace = namespace::COLLECT),
            (R::SignerUnknown, "signer", |c| c.key = 5),
            (R::SignerUnknown, "signer", |c| c.signers = c.signers.replace("-contain", "-collect")),
            (R::Malformed, "no holdfast-containment", |c| c.order.kind = "holdfast-order".into()),
            (R::Malformed, "was delivered as", |c| c.delivered_as = OrderId::new(9, [9; 10])),
            (R::Malformed, "longer than 86400 s", |c| c.order.expires = Instant(NOW.0 + 2 * 86_400 * SECOND)),
            (R::OtherAgent, "it is for db-1", |c| c.order.agent = "db-1".parse().unwrap()),
            (R::Expired, "it expired", |c| c.order.expires = NOW),
            (R::NotYetValid, "was issued at", |c| c.order.issued = Instant(NOW.0 + 301 * SECOND)),
            (R::Replayed, "was taken before", |c| {
                let order = c.order.clone();
                c.seen.add(&order.common(), None, NOW);
            }),
            (R::Policy, "301 s from the server's", |c| c.server_offset_ns = 301 * SECOND),
            (R::Policy, "no containment may be ordered", |c| c.policy = Policy::default()),
            (R::Policy, "not among those that may be ordered", |c| {
                c.order.directive = apply(Action::BlockMetadataService {});
            }),
            (R::Policy, "not among those that may be ordered", |c| {
                c.order.directive = Directive::Rehearse { action: Action::BlockMetadataService {} };
            }),
            (R::Policy, "the exception 10.0.0.0/23 is wider", |c| {
                c.order.directive = apply(isolate(&["10.0.0.0/23"], &[]));
            }),
            (R::Policy, "the resolver 10.0.0.54", |c| c.order.directive = apply(isolate(&[], &["10.0.0.54"]))),
            (R::Policy, "beyond the ceiling of 7200", |c| {
                c.order.directive = Directive::Apply { action: freeze(), lease_secs: 7201 };
            }),
            (R::Policy, "beyond the ceiling of 7200", |c| {
                c.order.directive = Directive::Renew { contains: OrderId::new(5, [5; 10]), lease_secs: 7201 };
            }),
            (R::Policy, "of which 60 are allowed", |c| c.policy.orders.valid_secs_max = 60),
            (R::Malformed, "lease of 0 s", |c| {
                c.order.directive = Directive::Apply { action: freeze(), lease_secs: 0 };
            }),
            (R::Malformed, "lease of 14401 s", |c| {
                c.order.directive = Directive::Apply { action: freeze(), lease_secs: 14_401 };
            }),
            (R::Malformed, "nowhere", |c| c.order.directive = apply(Action::BlockEgress { to: Vec::new() })),
            (R::Malformed, "it names 65", |c| c.order.directive = apply(isolate(&["10.0.0.1"; 65], &[]))),
            (R::Malformed, "it has 9 approvals", |c| c.approvals = vec![("bob", 2); 9]),
            (R::Approvals, "1 people have signed it, of which 2", |c| c.order.directive = apply(kill())),
            (R::Approvals, "1 people have signed it, of which 2", |c| c.policy.contain.protected = true),
        ],
    );
}

#[test]
fn people_are_counted_once_by_name_and_by_key_and_automation_is_none() {
    use RefusalReason::Approvals;
    fn killing() -> Case {
        let mut case = case();
        case.order.directive = apply(kill());
        case
    }
    refused(
        killing,
        &[
            (Approvals, "twice", |c| c.approvals = vec![("ada", 1)]),
            (Approvals, "`automation` is automation", |c| c.approvals = vec![("automation", 3)]),
            (Approvals, "`automation:2` is automation", |c| c.approvals = vec![("automation:2", 4)]),
            (Approvals, "does not count", |c| c.approvals = vec![("bob", 1)]),
            (Approvals, "does not count", |c| c.approvals = vec![("eve", 6)]),
            (Approvals, "does not count: its signer is not", |c| {
                c.approvals = vec![("bob", 2)];
                c.signers = c.signers.replace("bob namespaces", "bob valid-before=\"20200101Z\",namespaces");
            }),
            (Approvals, "not allowed yet", |c| {
                c.approvals = vec![("bob", 2)];
                // Between issue and now.
                c.order.issued = Instant(NOW.0 - 100 * SECOND);
                c.signers = c.signers.replace("bob namespaces", "bob valid-after=\"20261118110630Z\",namespaces");
            }),
            (Approvals, "two names with one key", |c| {
                c.policy.contain.approvals.insert("kill_process".into(), 3);
                c.approvals = vec![("bob", 2), ("cyd", 2)];
            }),
        ],
    );
    let mut case = killing();
    case.approvals = vec![("eve", 6), ("bob", 2)];
    assert_eq!(case.taken().approvers, ["ada", "bob"], "what does not count does no harm");
}

#[test]
fn each_bound_of_automation() {
    use RefusalReason as R;
    refused(
        automatic,
        &[
            (R::Policy, "may order nothing", |c| (c.key, c.principal) = (4, "automation:2")),
            (R::Policy, "not among those that automation may order", |c| c.policy.automation.actions.clear()),
            (R::Policy, "this host is protected", |c| c.policy.contain.protected = true),
            (R::Policy, "cannot be taken back", |c| c.order.directive = apply(kill())),
            (R::Policy, "is wider", |c| c.order.directive = apply(isolate(&["10.0.1.1"], &[]))),
            (R::Policy, "never by automation", |c| {
                c.order.directive = Directive::Renew { contains: OrderId::new(5, [5; 10]), lease_secs: 60 };
            }),
            (R::Policy, "only what it has applied itself", |c| {
                c.order.directive = Directive::Release { contains: OrderId::new(5, [5; 10]) };
            }),
            (R::Policy, "stays closed", |c| {
                c.policy.contain.on_invalid = Otherwise::StayClosed;
                c.order.directive = Directive::DoesNotHold { contains: OrderId::new(5, [5; 10]) };
            }),
            (R::Policy, "this host is protected", |c| {
                c.policy.contain.protected = true;
                c.order.directive = Directive::DoesNotHold { contains: OrderId::new(5, [5; 10]) };
            }),
            (R::Policy, "may order nothing", |c| {
                (c.key, c.principal) = (4, "automation:2");
                c.order.directive = Directive::DoesNotHold { contains: OrderId::new(5, [5; 10]) };
            }),
            (R::Policy, "a person releases it", |c| {
                (c.key, c.principal) = (1, "ada");
                c.order.directive = Directive::DoesNotHold { contains: OrderId::new(5, [5; 10]) };
            }),
            (R::Policy, "it names no evidence", |c| c.order.evidence = None),
            (R::Policy, "only a person", |c| {
                c.order.evidence = Some(EvidenceBasis::Waived { because: String::new() });
            }),
            (R::Policy, "no order of the last hour began here", |c| c.seen = Seen::default()),
            (R::Policy, "not for the end of the volatile tier", |c| c.receipted(Phase::Volatile, false)),
            (R::Policy, "not for the end of the volatile tier", |c| c.receipted(Phase::Start, true)),
            (R::Policy, "the receipt for its evidence is none", |c| {
                c.receipt_by = 8;
                c.receipted(Phase::Volatile, true);
            }),
            (R::Policy, "was not taken here", |c| {
                let capture = OrderId::new(5, [5; 10]);
                c.order.evidence = Some(EvidenceBasis::BudgetSpent { capture, lost: String::new() });
            }),
            (R::Policy, "isolated this host 1 times within 24 hours", |c| c.isolated(3600)),
            (R::Policy, "isolated this host 1 times within 24 hours", |c| {
                c.isolated(-60);
                c.order.directive = apply(Action::BlockEgress { to: vec!["0.0.0.0/1".parse().unwrap()] });
            }),
            (R::Approvals, "0 people have signed it, of which 2", |c| {
                c.policy.contain.approvals.insert("isolate_network".into(), 2);
            }),
        ],
    );
}

impl Case {
    /// Automation has isolated this host so many seconds ago.
    fn isolated(&mut self, secs: i128) {
        let at = Instant(NOW.0 - secs * SECOND);
        self.seen.add_automatic(Automatic { at, isolates: true, order: OrderId::new(5, [5; 10]) });
    }
}

#[test]
fn automation_does_what_it_may_and_a_person_makes_an_order_a_persons() {
    let automatic_one = automatic().taken();
    assert_eq!(automatic_one.approvers, ["automation"]);
    assert!(automatic_one.automatic.is_some_and(|one| one.isolates && one.order == OrderId::new(1, [1; 10])));
    let mut later = automatic();
    later.isolated(25 * 3600);
    later.taken();
    let mut freezes = automatic();
    freezes.isolated(60);
    (freezes.order.directive, freezes.order.evidence) = (apply(freeze()), None);
    assert!(!freezes.taken().automatic.unwrap().isolates);
    let mut spent = automatic();
    spent.order.evidence =
        Some(EvidenceBasis::BudgetSpent { capture: OrderId::new(2, [2; 10]), lost: "all of it".into() });
    spent.taken();
    let mut own = automatic();
    own.isolated(60);
    own.order.directive = Directive::Release { contains: OrderId::new(5, [5; 10]) };
    own.taken();
    let mut invalid = automatic();
    invalid.order.directive = Directive::DoesNotHold { contains: OrderId::new(6, [6; 10]) };
    assert_eq!(invalid.taken().automatic, None, "a person's as well, and nothing that counts");
    let mut approved = automatic();
    approved.isolated(60);
    approved.order.evidence = None;
    approved.approvals = vec![("bob", 2)];
    let approved = approved.taken();
    assert_eq!((approved.approvers, approved.automatic), (vec!["bob".to_owned()], None));
}
