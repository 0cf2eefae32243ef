//! What must hold after a round: everything that was acknowledged is there, everything verifies as far as its last
//! receipt, the custody log goes on from what was seen of it, and each state says what is.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use harness::{Courier, Parcel, until};
use reqwest::blocking::Client;
use serde_json::Value;
use wire::Sha256;

use crate::ground::{Ground, PATIENCE};

const LOOK_EVERY: Duration = Duration::from_millis(40);
const SOON: Duration = Duration::from_mins(1);
const NAMES: [&str; 4] = ["completed", "interrupted", "failed", "refused"];

/// What was seen of a bundle while everything failed.
#[derive(Default)]
pub struct Told {
    /// Bytes that the server said it holds.
    bytes: u64,
    /// Offset and digest of each receipt, whoever saw it.
    receipts: BTreeMap<u64, String>,
    /// How the order ended.
    pub state: String,
}

/// Watches an order: the server's answers, and the receipt that the agent keeps.
pub struct Watch {
    client: Client,
    url: String,
    token: String,
    receipt: PathBuf,
}

impl Watch {
    /// Of the orders on this ground.
    pub fn new(ground: &Ground) -> Self {
        let site = &ground.site;
        let (client, receipt) = (site.client(), ground.host.state().join("receipt.json"));
        Self { client, url: format!("{}/api/v1", site.url()), token: site.responder_token(), receipt }
    }

    fn get(&self, path: &str) -> Option<Value> {
        let request = self.client.get(format!("{}/{path}", self.url)).timeout(SOON).bearer_auth(&self.token);
        let answer = request.send().ok()?.error_for_status().ok()?;
        serde_json::from_str(&answer.text().ok()?).ok()
    }

    /// Looks on until it is over. What it sees was acknowledged.
    pub fn until(&self, order: &str, over: &AtomicBool) -> Told {
        let mut told = Told::default();
        while !over.load(Ordering::SeqCst) {
            let bundle =
                self.get(&format!("orders/{order}")).and_then(|order| Some(order["bundle"].as_str()?.to_owned()));
            if let Some(bundle) = bundle {
                if let Some(evidence) = self.get(&format!("evidence/{bundle}")) {
                    let bytes = evidence["bytes"].as_u64().unwrap();
                    assert!(bytes >= told.bytes, "the server held {} bytes of {bundle}, and now {bytes}", told.bytes);
                    told.bytes = bytes;
                    evidence["receipts"].as_array().unwrap().iter().for_each(|receipt| told.saw(receipt));
                }
                if let Some(receipt) = self.kept(&bundle) {
                    told.saw(&receipt);
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
        told
    }

    /// The receipt that the agent keeps, when it is one for this bundle.
    fn kept(&self, bundle: &str) -> Option<Value> {
        let kept: Value = serde_json::from_str(&fs::read_to_string(&self.receipt).ok()?).ok()?;
        (kept["bundle"] == bundle).then(|| opened(&kept["receipt"]))
    }
}

/// What the server signed.
fn opened(signed: &Value) -> Value {
    let message = BASE64_STANDARD.decode(signed["signed_b64"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&message).unwrap()
}

impl Told {
    fn saw(&mut self, receipt: &Value) {
        let (offset, digest) = (receipt["offset"].as_u64().unwrap(), receipt["sha256"].as_str().unwrap());
        let before = self.receipts.insert(offset, digest.to_owned());
        assert!(before.is_none_or(|before| before == digest), "two receipts for the same {offset} bytes");
    }

    /// Every receipt is one for the bytes that are there.
    fn holds_in(&self, bytes: &[u8], what: &str) {
        let held = bytes.len() as u64;
        assert!(held >= self.bytes, "{what}: {} bytes were acknowledged, {held} are there", self.bytes);
        for (offset, digest) in &self.receipts {
            let there = usize::try_from(*offset).ok().and_then(|offset| bytes.get(..offset));
            let there = there.unwrap_or_else(|| panic!("{what}: a receipt for {offset} bytes, {held} are there"));
            assert_eq!(Sha256::of(there).to_string(), *digest, "{what}: the first {offset} bytes are others");
        }
    }
}

impl Ground {
    /// Waits for the end of the order, whatever it is.
    pub fn settled(&self, order: &str) -> String {
        let mut last = Value::Null;
        until(&format!("order {order} has ended ({last})"), PATIENCE, || {
            last = self.site.api(&format!("orders/{order}"));
            let state = last["state"].as_str().unwrap().to_owned();
            NAMES.contains(&state.as_str()).then_some(state)
        })
    }

    /// Holds everything against what was told.
    pub fn judge(&mut self, order: &str, told: &Told, parcel: &Parcel, courier: &Courier) -> String {
        let state = told.state.clone();
        self.custody(None);
        let shown = self.site.api(&format!("orders/{order}"));
        let last = shown["events"].as_array().unwrap().last().unwrap();
        if state == "failed" || state == "refused" {
            assert!(last["message"].as_str().is_some_and(|why| !why.is_empty()), "it does not say why: {shown}");
        }
        let evidence = match shown["bundle"].as_str() {
            Some(bundle) => self.bundle_of_order(bundle, told, &state),
            None => "no bundle".to_owned(),
        };
        self.parcel_arrived(parcel, courier);
        self.agent_is_plain();
        format!("{state}, {evidence}, {} receipts", told.receipts.len())
    }

    /// The order's bundle is what its state says, and holds what was told of it.
    fn bundle_of_order(&mut self, bundle: &str, told: &Told, order_state: &str) -> String {
        let there = self.site.api(&format!("evidence?incident={}", self.incident));
        let is_there = there["items"].as_array().unwrap().iter().any(|evidence| evidence["bundle"] == bundle);
        if !is_there {
            assert!(told.receipts.is_empty() && told.bytes == 0, "the bundle {bundle} is gone");
            assert_ne!(order_state, "completed", "there is no bundle {bundle}");
            return "nothing arrived".to_owned();
        }
        let evidence = self.verified(bundle);
        let state = evidence["state"].as_str().unwrap().to_owned();
        let codes: &[i32] = match state.as_str() {
            "sealed" => &[0],
            "partial" => &[3],
            // Nobody signed for how long it is; what came may go as far as a checkpoint within it all the same.
            "unverified" => {
                assert!(told.receipts.is_empty(), "there were receipts: {evidence}");
                assert!(!evidence["findings"].as_array().unwrap().is_empty(), "it does not say why: {evidence}");
                &[65, 3]
            }
            other => panic!("the bundle {bundle} is {other}: {evidence}"),
        };
        assert!(order_state != "completed" || state == "sealed", "completed, and {state}: {evidence}");
        let bytes = self.take_home(&evidence, codes);
        told.holds_in(&bytes, bundle);
        let verified_to = evidence["verified_to"].as_u64().unwrap();
        let last = told.receipts.last_key_value().map_or(0, |(offset, _)| *offset);
        assert!(verified_to >= last, "it verifies up to {verified_to}, and there is a receipt for {last}: {evidence}");
        if state != "unverified" {
            self.earlier = Some(bundle.to_owned());
        }
        format!("{state} ({} bytes)", bytes.len())
    }

    /// The bundle, once the server has verified what it has.
    fn verified(&self, bundle: &str) -> Value {
        until(&format!("bundle {bundle} is verified"), PATIENCE, || {
            let evidence = self.site.api(&format!("evidence/{bundle}"));
            (evidence["state"] != "receiving").then_some(evidence)
        })
    }

    /// Downloads the bundle, lets `holdfast verify` judge it with its receipts, and the custody log with the last.
    fn take_home(&self, evidence: &Value, codes: &[i32]) -> Vec<u8> {
        let (bundle, folder) = (evidence["bundle"].as_str().unwrap(), self.site.path("home"));
        let text = |name: &str| folder.join(name).into_os_string().into_string().unwrap();
        let got = self.site.holdfast(&["evidence", "get", bundle, "--output", &text("")]);
        let code = got.code().filter(|code| codes.contains(code));
        let code = code.unwrap_or_else(|| panic!("{:?}, not {codes:?}: {}", got.code(), got.said()));
        let name = evidence["name"].as_str().unwrap();
        let Ok(bytes) = fs::read(folder.join(name)) else {
            assert!(evidence["bytes"] == 0, "nothing was downloaded: {}", got.said());
            return Vec::new();
        };
        let receipts = text(&format!("{name}.receipts.jsonl"));
        if fs::metadata(&receipts).unwrap().len() > 0 {
            let words = ["verify", &text(name), "--signers", &text("allowed_signers"), "--receipts", &receipts];
            let said = self.site.holdfast(&words).expect_code(code).stdout;
            assert!(said.contains("held by:     server"), "{said}");
            self.custody(Some(&receipts));
        }
        fs::remove_dir_all(&folder).unwrap();
        bytes
    }

    /// What the courier brought is there, byte for byte: it did not give up.
    fn parcel_arrived(&self, parcel: &Parcel, courier: &Courier) {
        let evidence = self.verified(&parcel.bundle);
        assert_eq!(evidence["state"], "sealed", "{evidence}");
        // Nobody enrolled the key of the lab.
        let bytes = self.take_home(&evidence, &[4]);
        assert!(bytes == parcel.bytes, "the bundle {} is another one", parcel.bundle);
        assert_eq!(courier.acknowledged, bytes.len() as u64);
        let mut told = Told::default();
        courier.receipts.iter().for_each(|signed| told.saw(&opened(signed)));
        assert_eq!(told.receipts.len(), parcel.lines.len(), "one for each transport checkpoint");
        told.holds_in(&bytes, &parcel.bundle);
    }

    /// The custody log is consistent, with what this machine saw of it before, and with what a receipt names.
    fn custody(&self, head: Option<&str>) {
        let words: Vec<&str> =
            ["custody", "verify"].into_iter().chain(head.iter().flat_map(|head| ["--head", head])).collect();
        let told = self.site.ask(&words);
        let unchanged = told["unchanged_since"].as_array().unwrap().len();
        assert!(unchanged > 0 || (self.rounds == 0 && head.is_none()), "{told}");
    }

    /// The agent says that it is up, and that nothing runs.
    fn agent_is_plain(&self) {
        until("the agent is at rest", SOON, || {
            let said = self.host.run(&["status", "--json"]).expect_code(0).stdout;
            let status: Value = serde_json::from_str(&said).unwrap();
            let is_at_rest = status["up"] == true && status["running"].is_null() && status["error"].is_null();
            is_at_rest.then_some(())
        });
    }
}
