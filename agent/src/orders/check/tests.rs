//! Each reason to refuse, by real signatures.

use super::*;
use bundle::sign::SigningKey;
use serde_json::json;
use wire::ByteSize;
use wire::order::{ORDER_TYPE, VALID_SECS_MAX};
use wire::profile::{Profile, Sensitive, Step};
use wire::signed::namespace;

/// When all of it happens.
pub(in crate::orders) const NOW: Instant = Instant(1_795_000_000_000_000_000);
pub(in crate::orders) const SECOND: i128 = 1_000_000_000;

fn step(collector: &str) -> Step {
    serde_json::from_value(json!({ "collect": collector })).unwrap()
}

/// An order that is taken.
pub(in crate::orders) fn order() -> Order {
    Order {
        agent: "web-1".parse().unwrap(),
        approved_sensitive: Vec::new(),
        expires: Instant(NOW.0 + 3600 * SECOND),
        incident: "INC-2026-0001".parse().unwrap(),
        issued: Instant(NOW.0 - SECOND),
        legal_basis: None,
        nonce: "0123456789abcdef0123456789abcdef".into(),
        order: OrderId::new(1, [1; 10]),
        profile: Profile {
            name: "intrusion".into(),
            summary: String::new(),
            incident_types: Vec::new(),
            limits: Limits::default(),
            tiers: std::collections::BTreeMap::new(),
            collect: vec![step("processes"), step("sockets")],
            contain: Vec::new(),
        },
        profile_version: "0.1.0".into(),
        purpose: None,
        supersedes: None,
        kind: ORDER_TYPE.into(),
        v: 1,
        values: wire::profile::Values::default(),
    }
}

/// A world in which [`order`] is taken, and what a case changes of it.
struct Case {
    agent: AgentId,
    key: SigningKey,
    namespace: &'static str,
    now: Instant,
    order: Order,
    own: Profile,
    policy: Policy,
    principal: &'static str,
    seen: Seen,
    is_offset_fresh: bool,
    server_offset_ns: i128,
    signers: String,
}

fn case() -> Case {
    let key = SigningKey::from_seed(&[1; 32]);
    let signers = format!("ada namespaces=\"holdfast-collect\",valid-before=\"20300101Z\" {}\n", key.public_line());
    Case {
        agent: "web-1".parse().unwrap(),
        key,
        namespace: namespace::COLLECT,
        now: NOW,
        order: order(),
        own: order().profile,
        policy: Policy::default(),
        principal: "ada",
        seen: Seen::default(),
        is_offset_fresh: true,
        server_offset_ns: 0,
        signers,
    }
}

impl Case {
    fn envelope(&self) -> Signed {
        self.key.envelope(self.principal, self.namespace, &serde_json::to_vec(&self.order).unwrap()).unwrap()
    }

    fn check_envelope(&self, envelope: &Signed) -> Result<Checked, Refusal> {
        let signers = AllowedSigners::parse(&self.signers).unwrap();
        let context = Context {
            agent: &self.agent,
            delivered_as: OrderId::new(1, [1; 10]),
            now: self.now,
            own_profile: &|name| (name == "intrusion").then(|| self.own.clone()),
            policy: &self.policy,
            seen: &self.seen,
            is_offset_fresh: self.is_offset_fresh,
            server_offset_ns: self.server_offset_ns,
            server_signer: "",
            signers: &signers,
        };
        check(envelope, &context)
    }

    fn check(&self) -> Result<Checked, Refusal> {
        self.check_envelope(&self.envelope())
    }

    /// The same, with memory in the host's own profile and in the order's.
    fn check_with_memory(&self) -> Result<Checked, Refusal> {
        let mut profile = self.own.clone();
        profile.collect.push(step("process_memory"));
        let (order, policy) = (Order { profile: profile.clone(), ..self.order.clone() }, self.policy.clone());
        let (key, signers, seen) = (self.key.clone(), self.signers.clone(), self.seen.clone());
        Case { agent: self.agent.clone(), key, order, own: profile, policy, seen, signers, ..*self }.check()
    }
}

#[test]
fn a_good_order_is_taken() {
    let case = case();
    let checked = case.check().unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert_eq!(checked.order, case.order);
    assert_eq!((checked.principal.as_str(), checked.steps.len(), checked.is_skewed), ("ada", 2, false));
    assert_eq!(checked.order_sha256, case.envelope().sha256().unwrap());
}

#[test]
fn each_reason_to_refuse() {
    use RefusalReason as R;
    type Change = fn(&mut Case);
    let cases: &[(R, &str, Change)] = &[
        (R::SignatureBad, "another namespace", |c| c.namespace = namespace::BUNDLE),
        (R::SignerUnknown, "another key", |c| c.key = SigningKey::from_seed(&[2; 32])),
        (R::SignerUnknown, "another name", |c| c.principal = "eve"),
        (R::SignerUnknown, "nobody is allowed", |c| c.signers.clear()),
        (R::SignerUnknown, "a key that is over", |c| c.signers = c.signers.replace("20300101Z", "20200101Z")),
        (R::SignerUnknown, "a key that ended after it was signed", |c| {
            c.signers = c.signers.replace("20300101Z", "20261118110640Z");
        }),
        (R::SignerUnknown, "a key that was not valid yet when it was issued", |c| {
            c.signers = c.signers.replace("valid-before=\"20300101Z\"", "valid-after=\"20261118110640Z\"");
        }),
        (R::SignerUnknown, "a key for another purpose", |c| c.signers = c.signers.replace("-collect", "-contain")),
        (R::Malformed, "another type", |c| c.order.kind = "holdfast-containment".into()),
        (R::Malformed, "another version", |c| c.order.v = 2),
        (R::Malformed, "delivered under another id", |c| c.order.order = OrderId::new(2, [2; 10])),
        (R::Malformed, "a short nonce", |c| c.order.nonce = "0123".into()),
        (R::Malformed, "a nonce that is not hex", |c| c.order.nonce = "x".repeat(32)),
        (R::Malformed, "expiry before issue", |c| c.order.expires = c.order.issued),
        (R::Malformed, "valid for more than a week", |c| {
            c.order.expires = Instant(c.order.issued.0 + i128::from(VALID_SECS_MAX) * SECOND + 1);
        }),
        (R::OtherAgent, "another agent", |c| c.order.agent = "db-1".parse().unwrap()),
        (R::Expired, "at its expiry", |c| c.now = c.order.expires),
        (R::Expired, "expired, by a server's clock that agrees", |c| {
            (c.now, c.server_offset_ns) = (Instant(c.order.expires.0 + SECOND), -299 * SECOND);
        }),
        (R::NotYetValid, "from the future", |c| c.order.issued = Instant(NOW.0 + 301 * SECOND)),
        (R::Expired, "expired by the server's clock, the host's being far behind", |c| {
            c.server_offset_ns = 3601 * SECOND;
        }),
        (R::Policy, "clocks far apart by an answer that may be old", |c| {
            (c.server_offset_ns, c.is_offset_fresh) = (301 * SECOND, false);
        }),
        (R::Policy, "a profile that is not listed", |c| c.policy.collect.profiles = vec!["triage".into()]),
        (R::Policy, "a denied collector", |c| c.policy.collect.collectors_denied = vec!["sockets".into()]),
        (R::Policy, "a class that may not be approved", |c| {
            c.policy.collect.sensitive = vec![Sensitive::Personal];
            c.order.approved_sensitive = vec![Sensitive::PrivateKeys];
        }),
        (R::Policy, "more time than the ceiling", |c| {
            c.policy.collect.wall_secs_max = Some(60);
            c.order.profile.limits.wall_secs_max = Some(61);
        }),
        (R::Policy, "more bytes than the ceiling", |c| {
            c.policy.collect.bytes_max = Some(ByteSize(1));
            c.order.profile.limits.bytes_max = Some(ByteSize(2));
        }),
        (R::Policy, "valid for longer than the policy allows", |c| c.policy.orders.valid_secs_max = 60),
        (R::Profile, "an unknown collector", |c| c.order.profile.collect = vec![step("proceses")]),
        (R::Profile, "an unknown argument", |c| {
            c.order.profile.collect[0].with.insert("command".into(), json!("id"));
        }),
        (R::Profile, "no step", |c| c.order.profile.collect.clear()),
        (R::Profile, "too many steps", |c| c.order.profile.collect = vec![step("clock"); STEPS_MAX + 1]),
        (R::Profile, "a profile of more than 64 KiB", |c| c.order.profile.summary = "x".repeat(PROFILE_BYTES_MAX)),
    ];
    for (reason, what, change) in cases {
        let mut case = case();
        change(&mut case);
        let refusal = case.check().err().unwrap_or_else(|| panic!("{what} was taken"));
        assert_eq!(refusal.reason, *reason, "{what}: {}", refusal.message);
    }
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    let case = case();
    let good = case.envelope();
    let reason = |envelope: &Signed| case.check_envelope(envelope).err().map(|refusal| refusal.reason);
    assert_eq!(reason(&Signed { sig_ssh: String::new(), ..good.clone() }), Some(RefusalReason::Unsigned));
    let mut message = good.message().unwrap();
    let at = message.len() / 2;
    message[at] ^= 1;
    assert_eq!(reason(&Signed::new("ada", &message, good.sig_ssh.clone())), Some(RefusalReason::SignatureBad));
    assert_eq!(reason(&Signed { signed_b64: "=".into(), ..good }), Some(RefusalReason::SignatureBad));
}

#[test]
fn an_order_is_signed_as_a_whole_and_understood_as_a_whole() {
    let case = case();
    let mut order = serde_json::to_value(&case.order).unwrap();
    order["profile"]["collect"][0]["then"] = json!("\u{1b}[2J");
    let envelope = case.key.envelope("ada", namespace::COLLECT, &serde_json::to_vec(&order).unwrap()).unwrap();
    let refusal = case.check_envelope(&envelope).err().unwrap();
    assert_eq!(refusal.reason, RefusalReason::Malformed);
    assert!(refusal.message.contains("unknown field `then`"), "{}", refusal.message);
    order = json!("x\u{1b}".repeat(1000));
    let envelope = case.key.envelope("ada", namespace::COLLECT, &serde_json::to_vec(&order).unwrap()).unwrap();
    let refusal = case.check_envelope(&envelope).err().unwrap();
    assert_eq!(refusal.message.chars().count(), MESSAGE_CHARS_MAX);
    assert!(!refusal.message.contains('\u{1b}'));
}

#[test]
fn an_order_is_taken_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = super::super::journal::Journal::open(folder.path()).unwrap();
    let (mut case, mut again) = (case(), case());
    journal.begin(&case.order, wire::BundleId::new(1, [0; 10]), NOW).unwrap();
    case.seen = journal.seen().clone();
    assert_eq!(case.check().err().unwrap().reason, RefusalReason::Replayed);
    case.order.nonce = "ff".repeat(16);
    assert_eq!(case.check().err().unwrap().reason, RefusalReason::Replayed, "the same id");
    again.order.nonce = again.order.nonce.to_uppercase();
    again.seen = case.seen;
    assert_eq!(again.check().err().unwrap().reason, RefusalReason::Replayed, "the same nonce in capitals");
}

#[test]
fn a_host_with_a_wrong_clock_goes_by_the_servers() {
    let mut case = case();
    case.now = Instant(NOW.0 - 400 * 24 * 3600 * SECOND);
    assert_eq!(case.check().err().unwrap().reason, RefusalReason::NotYetValid);
    case.server_offset_ns = NOW.0 - case.now.0;
    assert!(case.check().unwrap_or_else(|refusal| panic!("{refusal:?}")).is_skewed);
    // Clocks that agree need no question of their own.
    (case.now, case.server_offset_ns, case.is_offset_fresh) = (NOW, 300 * SECOND, false);
    assert!(!case.check().unwrap_or_else(|refusal| panic!("{refusal:?}")).is_skewed);
}

#[test]
fn a_profile_without_limits_is_given_the_ceilings() {
    let mut case = case();
    case.policy.collect.wall_secs_max = Some(60);
    case.policy.collect.bytes_max = Some(ByteSize(1 << 30));
    case.policy.collect.sensitive = vec![Sensitive::Personal];
    case.order.approved_sensitive = vec![Sensitive::Personal];
    let limits = case.check().unwrap_or_else(|refusal| panic!("{refusal:?}")).limits;
    assert_eq!((limits.wall_secs_max, limits.bytes_max), (Some(60), Some(ByteSize(1 << 30))));
}

/// The same order, signed by the server's own key.
fn automatic_case() -> Case {
    let mut case = case();
    case.principal = "automation";
    case.signers = case.signers.replace("ada ", "automation ");
    case.policy.automation.principals = vec!["automation".into()];
    case.policy.automation.profiles = vec!["intr*".into()];
    case
}

#[test]
fn automation_collects_what_this_host_lists_and_nothing_else() {
    type Change = fn(&mut Case);
    let cases: &[(&str, Change)] = &[
        ("may order nothing", |c| c.policy.automation.principals.clear()),
        ("not among those that automation may order", |c| c.policy.automation.profiles = vec!["triage".into()]),
        ("this host has no profile `intrusion2`", |c| c.order.profile.name = "intrusion2".into()),
        ("the step `files` is not one of", |c| c.order.profile.collect.push(step("files"))),
        ("the step `processes` is not one of", |c| {
            c.order.profile.collect[0].sensitive = Some(Sensitive::PrivateKeys);
        }),
        ("may not approve content", |c| {
            c.policy.collect.sensitive = vec![Sensitive::PrivateKeys];
            c.order.approved_sensitive = vec![Sensitive::PrivateKeys];
        }),
    ];
    for (wanted, change) in cases {
        let mut case = automatic_case();
        change(&mut case);
        let refusal = case.check().err().unwrap_or_else(|| panic!("taken, and not: {wanted}"));
        assert_eq!(refusal.reason, RefusalReason::Policy, "{}", refusal.message);
        assert!(refusal.message.contains(wanted), "{}", refusal.message);
    }
    let mut case = automatic_case();
    case.order.profile.collect.pop();
    case.check().unwrap_or_else(|refusal| panic!("fewer steps: {refusal:?}"));
}

#[test]
fn automation_takes_values_of_variables_from_the_list_or_sealed_to_somebody_whom_this_host_chose() {
    let taken = |case: &Case| case.check_with_memory().unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let mut case = automatic_case();
    let open = taken(&case);
    assert!(open.environment.unwrap().iter().any(|name| name == "LD_*"));
    let left_out: Vec<_> = open.left_out.iter().map(|(step, _)| step.collector.name).collect();
    assert_eq!((left_out, open.steps.len()), (vec!["process_memory"], 2));
    let team = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    case.policy.encryption = Policy::parse(&format!("[encryption]\nrecipients = [\"{team}\"]\n")).unwrap().encryption;
    let sealed = taken(&case);
    assert!(sealed.environment.is_none() && sealed.left_out.is_empty());
    case.policy.encryption = Policy::default().encryption;
    case.principal = "ada";
    case.signers = case.signers.replace("automation ", "ada ");
    let by_a_person = taken(&case);
    assert!(by_a_person.environment.is_none() && by_a_person.left_out.is_empty());
}
