//! Any bytes as an order: as the envelope that a server delivers, and as what an allowed signer signed. The agent takes it
//! or says in a sentence why not. The first byte says which.
#![no_main]

use std::sync::LazyLock;

use agent::orders::check::containment::check_containment;
use agent::orders::check::{Context, MESSAGE_CHARS_MAX, check};
use agent::orders::seen::Seen;
use agent::policy::Policy;
use bundle::sign::{AllowedSigners, SigningKey};
use libfuzzer_sys::fuzz_target;
use wire::signed::namespace;
use wire::{AgentId, Instant, OrderId};

const PRINCIPAL: &str = "ada@example.org";
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[7; 32]));
static SIGNERS: LazyLock<AllowedSigners> = LazyLock::new(|| {
    AllowedSigners::parse(&format!("{PRINCIPAL} {}\n", KEY.public_line())).expect("a line as people write it")
});

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    let envelope = if which % 2 == 0 {
        serde_json::from_slice(bytes).ok()
    } else {
        let namespace = if which % 4 == 1 { namespace::COLLECT } else { namespace::CONTAIN };
        KEY.envelope(PRINCIPAL, namespace, bytes).ok()
    };
    let Some(envelope) = envelope else { return };
    let agent: AgentId = "web-1".parse().expect("a plain id");
    let context = Context {
        agent: &agent,
        delivered_as: OrderId::new(1, [2; 10]),
        now: Instant(1_795_283_148_000_000_000),
        own_profile: &|_| None,
        policy: &Policy::default(),
        seen: &Seen::default(),
        is_offset_fresh: which % 3 == 0,
        server_offset_ns: i128::from(which / 2) * 1_000_000_000,
        server_signer: "",
        signers: &SIGNERS,
    };
    let refused = [check(&envelope, &context).err(), check_containment(&envelope, &[], &context).err()];
    for refusal in refused.into_iter().flatten() {
        assert!(refusal.message.chars().count() <= MESSAGE_CHARS_MAX);
        assert!(!refusal.message.chars().any(char::is_control));
    }
});
