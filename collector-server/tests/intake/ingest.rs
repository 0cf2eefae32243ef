//! What the server makes of what came.

use reqwest::StatusCode;
use server::app::limits::Limits;
use wire::api::{EvidenceState, SignerTrust};
use wire::finding::{FindingsReport, Level};
use wire::order::{OrderEvent, OrderState};
use wire::{Sha256, Tier};

use super::site::{Host, Made, Site, agent_upload, bearer_upload, make_bundle, new_bundle_id};

#[tokio::test]
async fn a_whole_bundle_of_an_order_is_sealed() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let made = host.collect(&order, bundle);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    upload.bring(&made, 0, 0..made.lines.len()).await;
    let view = site.verified(bundle).await;
    assert_eq!((view.state, view.trust), (EvidenceState::Sealed, Some(SignerTrust::Enrolled)), "{:?}", view.findings);
    assert!(view.findings.is_empty(), "{:?}", view.findings);
    assert_eq!((view.sha256, view.verified_to), (Some(Sha256::of(&made.bytes)), made.bytes.len() as u64));
    assert_eq!((view.tiers, view.host.as_str()), (vec![Tier::Volatile, Tier::Files], "web-1"));
    assert_eq!((view.order, view.signer), (Some(order.order), Some(host.key.public_line())));
    assert_eq!(view.items.get("ok"), Some(&2));
    assert_eq!(site.custody("evidence_sealed").await.len(), 1);
    assert!(site.custody("evidence_mismatch").await.is_empty());
    let more = upload.patch(made.bytes.len(), b"more").send().await.unwrap();
    assert_eq!(more.status(), StatusCode::PAYLOAD_TOO_LARGE, "nothing comes after the seal");
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn rules_are_applied_to_what_was_verified_and_again_when_somebody_asks() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let made = host.collect(&order, bundle);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    upload.bring(&made, 0, 0..made.lines.len()).await;
    let before = site.findings(bundle).await;
    assert!(before.findings.is_empty() && !before.partial, "{before:?}");
    assert!(site.evidence(bundle).await.found.unwrap().levels.is_empty());
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("findings")).unwrap();
    let rule = "title: It runs\nname: ours\nlogsource: { product: holdfast, service: processes }\n\
        detection:\n  s: { comm: init }\n  condition: s\nlevel: high\nfields: [pid]\n";
    std::fs::write(folder.path().join("findings/ours.yml"), rule).unwrap();
    site.server.app.site.load(folder.path()).unwrap();
    let path = format!("/api/v1/evidence/{bundle}/findings");
    let after: FindingsReport = site.post(&path, &serde_json::json!({})).await;
    assert_ne!(after.rules_sha256, before.rules_sha256);
    let [finding] = after.findings.as_slice() else { panic!("{after:?}") };
    assert_eq!((finding.rule.as_str(), finding.level, finding.count), ("ours", Level::High, 1));
    assert_eq!((finding.rows[0].file.as_str(), finding.rows[0].line), ("data/volatile/processes.jsonl", 1));
    assert_eq!(finding.rows[0].columns["pid"], 1);
    assert_eq!(site.findings(bundle).await, after);
    assert_eq!(site.evidence(bundle).await.found.unwrap().levels, [(Level::High, 1)].into());
    let leaves = site.custody("findings_evaluated").await;
    assert_eq!(leaves.len(), 2);
    assert_eq!(leaves[1]["details"]["rules_sha256"], after.rules_sha256.to_string());
    assert_eq!(leaves[1]["details"]["levels"]["high"], 1);
    std::fs::write(folder.path().join("findings/ours.yml"), "title: x\n").unwrap();
    let mistake = format!("{:#}", site.server.app.site.load(folder.path()).unwrap_err());
    assert!(mistake.contains("findings/ours.yml:1"), "{mistake}");
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn what_an_interrupted_run_left_is_partial_at_once() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let made = host.collect(&order, bundle);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    upload.bring(&made, 0, 0..1).await;
    let tier = made.offset(0);
    upload.put(tier, &made.bytes[tier..tier + 1000]).await;
    let interrupted = OrderEvent::Interrupted { bundle: Some(bundle), by_silence: false, receipted: Some(tier as u64) };
    assert_eq!(host.tell(&site, order.order, &interrupted).await.status(), StatusCode::NO_CONTENT);
    let view = site.verified(bundle).await;
    assert_eq!((view.state, view.verified_to), (EvidenceState::Partial, tier as u64), "{:?}", view.findings);
    assert_eq!((view.tiers, view.bytes), (vec![Tier::Volatile], tier as u64 + 1000));
    let closed = upload.patch(tier + 1000, b"x").send().await.unwrap();
    assert_eq!(closed.status(), StatusCode::CONFLICT);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn silence_ends_an_upload_for_now_and_it_can_be_continued() {
    let site = Site::start_with(Limits { idle_secs: 1, free_bytes_min: 0, ..Limits::default() }).await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let made = host.collect(&order, bundle);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    upload.bring(&made, 0, 0..1).await;
    let view = site.verified(bundle).await;
    assert_eq!(view.state, EvidenceState::Partial, "{:?}", view.findings);
    let ended = site.order(order.order).await;
    let receipted = Some(made.offset(0) as u64);
    let given_up = OrderEvent::Interrupted { bundle: Some(bundle), by_silence: true, receipted };
    assert_eq!((ended.state, &ended.events.last().unwrap().event), (OrderState::Interrupted, &given_up));
    assert_eq!(site.custody("order_interrupted").await.len(), 1);
    upload.bring(&made, made.offset(0), 1..made.lines.len()).await;
    assert_eq!(site.order(order.order).await.state, OrderState::Running, "its agent is back");
    let view = site.verified(bundle).await;
    assert_eq!(view.state, EvidenceState::Sealed, "{:?}", view.findings);
    let (bytes, sha256) = (made.bytes.len() as u64, Sha256::of(&made.bytes));
    let completed = OrderEvent::Completed { bytes, exit: 0, items: 2, sha256 };
    assert_eq!(host.tell(&site, order.order, &completed).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(site.order(order.order).await.state, OrderState::Completed);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn an_order_that_was_given_up_is_corrected_by_its_agent() {
    let site = Site::start_with(Limits { idle_secs: 1, free_bytes_min: 0, ..Limits::default() }).await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let made = host.collect(&order, bundle);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    upload.bring(&made, 0, 0..1).await;
    site.verified(bundle).await;
    assert_eq!(site.order(order.order).await.state, OrderState::Interrupted);
    let receipted = Some(made.offset(0) as u64);
    // Whoever claims to be the server is taken for the agent that it is.
    let told = OrderEvent::Interrupted { bundle: Some(bundle), by_silence: true, receipted };
    assert_eq!(host.tell(&site, order.order, &told).await.status(), StatusCode::NO_CONTENT);
    let last = site.order(order.order).await.events.pop().unwrap().event;
    assert_eq!(last, OrderEvent::Interrupted { bundle: Some(bundle), by_silence: false, receipted });
    let failed = OrderEvent::Failed { message: "late".into() };
    assert_eq!(host.tell(&site, order.order, &failed).await.status(), StatusCode::CONFLICT, "it has said how it ended");
    assert_eq!(upload.patch(made.offset(0), b"x").send().await.unwrap().status(), StatusCode::CONFLICT);
    site.server.stop().await.unwrap();
}

/// A bundle that a person brings, with some checkpoints or none.
async fn brought(
    site: &Site,
    host: &Host,
    made: &Made,
    bundle: wire::BundleId,
    lines: usize,
) -> wire::api::EvidenceView {
    let (incident, id) = (site.incident().await.to_string(), bundle.to_string());
    let signer = host.key.public_line();
    let metadata = [("bundle", id.as_str()), ("incident", &incident), ("signer", &signer)];
    let upload = bearer_upload(site, &site.token, &metadata, made.bytes.len()).await.unwrap();
    upload.bring(made, 0, 0..lines).await;
    let from = lines.checked_sub(1).map_or(0, |line| made.offset(line));
    for at in (from..made.bytes.len()).step_by(8 << 20) {
        upload.put(at, &made.bytes[at..made.bytes.len().min(at + (8 << 20))]).await;
    }
    site.verified(bundle).await
}

#[tokio::test]
async fn without_transport_checkpoints_a_bundle_is_unverified_until_they_come() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let bundle = new_bundle_id();
    let made = make_bundle(&host.key, &host.agent, bundle, Some(incident.clone()), None);
    let view = brought(&site, &host, &made, bundle, 0).await;
    assert_eq!((view.state, view.trust), (EvidenceState::Unverified, Some(SignerTrust::Enrolled)));
    assert!(view.findings[0].contains("no transport checkpoint"), "{:?}", view.findings);
    assert_eq!(view.verified_to, made.bytes.len() as u64);
    // Another one, whose checkpoints come when it was verified already.
    let bundle = new_bundle_id();
    let made = make_bundle(&host.key, &host.agent, bundle, Some(incident.clone()), None);
    let (id, to, signer) = (bundle.to_string(), incident.to_string(), host.key.public_line());
    let metadata = [("bundle", id.as_str()), ("incident", &to), ("signer", &signer)];
    let upload = bearer_upload(&site, &site.token, &metadata, made.bytes.len()).await.unwrap();
    let mut offset = 0;
    for end in (0..made.lines.len()).map(|line| made.offset(line)) {
        upload.put(offset, &made.bytes[offset..end]).await;
        offset = end;
    }
    assert_eq!(site.verified(bundle).await.state, EvidenceState::Unverified);
    assert_eq!(upload.vouch(&made.lines.join("\n")).await.status(), StatusCode::OK);
    let view = site.verified(bundle).await;
    assert_eq!(view.state, EvidenceState::Sealed, "{:?}", view.findings);
    assert_eq!(view.receipts.len(), made.lines.len());
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_changed_byte_is_found_and_named() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let bundle = new_bundle_id();
    let mut made = make_bundle(&host.key, &host.agent, bundle, Some(incident), None);
    let at = made.bytes.len() / 2;
    made.bytes[at] ^= 1;
    let view = brought(&site, &host, &made, bundle, 1).await;
    assert_eq!(view.state, EvidenceState::Rejected);
    assert!(view.findings.iter().any(|finding| finding.contains("srv/noise")), "{:?}", view.findings);
    assert_eq!(site.custody("evidence_rejected").await.len(), 1);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn evidence_that_is_not_what_was_ordered_says_so() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let other = "INC-1999-0001".parse().unwrap();
    let made = make_bundle(&host.key, &host.agent, bundle, Some(other), Some(Sha256::of(b"another order")));
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    upload.bring(&made, 0, 0..made.lines.len()).await;
    let view = site.verified(bundle).await;
    assert_eq!((view.state, view.findings.len()), (EvidenceState::Sealed, 2), "{:?}", view.findings);
    let mismatches = site.custody("evidence_mismatch").await;
    assert_eq!(mismatches[0]["details"]["what"].as_array().unwrap().len(), 2);
    site.server.stop().await.unwrap();
}
