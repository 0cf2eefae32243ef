//! Uploads: what was acknowledged is there, whatever happens, and nothing else is.

use bundle::sign::{AllowedSigners, open};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use server::objects::Segment;
use wire::agent_api::CheckpointsReply;
use wire::api::EvidenceState;
use wire::receipt::Receipt;
use wire::signed::namespace;
use wire::{BundleId, Sha256};

use super::site::{Host, Site, agent_upload, bearer_upload, make_bundle, new_bundle_id, now, read};

#[tokio::test]
async fn chunks_are_checked_and_go_where_the_upload_stands() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    let again = agent_upload(&site, &host, &order, bundle).await.unwrap();
    assert_eq!(upload.location, again.location, "the same bundle is the same upload");
    upload.put(0, b"first").await;
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(upload.patch(0, b"first")).await, 409);
    assert_eq!(status(upload.patch(6, b"x")).await, 409);
    let changed = upload.patch(5, b"second").body("Second");
    assert_eq!(status(changed).await, 460);
    let other_version = [("tus-resumable".parse().unwrap(), "0.2.2".parse().unwrap())];
    assert_eq!(status(upload.patch(5, b"x").headers(other_version.into_iter().collect())).await, 412);
    assert_eq!(status(upload.request(Method::PATCH).header("upload-offset", 5)).await, 415);
    assert_eq!(status(upload.patch(5, &vec![0; (16 << 20) + 1])).await, 413);
    assert_eq!(upload.offset().await, 5, "none of these was kept");
    upload.put(5, b"second").await;
    assert_eq!(status(upload.patch(11, b"").header("upload-length", 11)).await, 204);
    assert_eq!(status(upload.patch(11, b"x")).await, 413);
    assert_eq!(status(upload.patch(11, b"").header("upload-length", 12)).await, 409);
    assert_eq!((upload.offset().await, site.evidence(bundle).await.bytes), (11, 11));
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn only_the_owner_brings_its_own_bundle() {
    let site = Site::start().await;
    let (host, other) = (Host::enroll(&site, 1).await, Host::enroll(&site, 2).await);
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let begin = async |host: &Host, bundle: BundleId| {
        agent_upload(&site, host, &order, bundle).await.err().map(|refused| refused.status())
    };
    assert_eq!(begin(&other, bundle).await, Some(StatusCode::FORBIDDEN), "another's order");
    assert_eq!(begin(&host, new_bundle_id()).await, Some(StatusCode::CONFLICT), "not the bundle that was told");
    let queued = site.dispatch(&incident, &host.agent).await;
    let too_early = agent_upload(&site, &host, &queued, new_bundle_id()).await.err().unwrap();
    assert_eq!(too_early.status(), StatusCode::CONFLICT);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    let theirs = other.request(&site, Method::PATCH, &upload.location).header("tus-resumable", "1.0.0");
    let theirs = theirs.header("content-type", "application/offset+octet-stream").header("upload-offset", 0);
    assert_eq!(theirs.body("x").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let metadata = [("bundle", bundle.to_string()), ("incident", incident.to_string())];
    let metadata: Vec<(&str, &str)> = metadata.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let taken = bearer_upload(&site, &site.token, &metadata, 1).await.err().unwrap();
    assert_eq!(taken.status(), StatusCode::CONFLICT);
    let nobody = site.people.post(site.url("/api/v1/uploads")).header("tus-resumable", "1.0.0").send().await.unwrap();
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_ticket_lets_one_bundle_in() {
    let site = Site::start().await;
    let incident = site.incident().await;
    let secret = site.upload_secret(&incident).await;
    let (first, second) = (new_bundle_id().to_string(), new_bundle_id().to_string());
    let upload = bearer_upload(&site, &secret, &[("bundle", &first)], 4).await.unwrap();
    upload.put(0, b"ab").await;
    let again = bearer_upload(&site, &secret, &[("bundle", &first)], 4).await.unwrap();
    assert_eq!(again.location, upload.location);
    again.put(2, b"cd").await;
    let refused = bearer_upload(&site, &secret, &[("bundle", &second)], 4).await.err().unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let view = site.verified(first.parse().unwrap()).await;
    assert_eq!((view.state, view.incident), (EvidenceState::Unverified, incident));
    assert!(view.brought_by.starts_with("ticket:") && !view.findings.is_empty());
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_checksum_what_came_is_kept_when_the_connection_drops() {
    let site = Site::start().await;
    let incident = site.incident().await;
    let bundle = new_bundle_id();
    let (id, to) = (bundle.to_string(), incident.to_string());
    let length = 20 << 20;
    let upload = bearer_upload(&site, &site.token, &[("bundle", &id), ("incident", &to)], length).await.unwrap();
    let bytes = Bytes::from(vec![7_u8; 9 << 20]);
    let pieces = [Ok(bytes.clone()), Err(std::io::Error::other("cut"))];
    let cut = upload.request(Method::PATCH).header("content-type", "application/offset+octet-stream");
    let cut = cut.header("upload-offset", 0).body(reqwest::Body::wrap_stream(stream::iter(pieces)));
    assert!(cut.send().await.is_err());
    // The server may still be writing; the next writer waits for it, and then the offset is the last word.
    let mut offset = upload.offset().await;
    while upload.patch(offset, b"").send().await.unwrap().status() != StatusCode::NO_CONTENT {
        offset = upload.offset().await;
    }
    assert!((8 << 20..=9 << 20).contains(&offset), "{offset}");
    let rest = vec![7_u8; length - offset];
    let patch = upload.request(Method::PATCH).header("content-type", "application/offset+octet-stream");
    let response = patch.header("upload-offset", offset).body(rest).send().await.unwrap();
    assert_eq!(response.headers()["upload-offset"], length.to_string().as_str());
    let view = site.verified(bundle).await;
    assert_eq!(view.sha256, Some(Sha256::of(&vec![7_u8; length])));
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_dead_connection_does_not_keep_its_owner_waiting() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    let (sent, was_sent) = tokio::sync::oneshot::channel();
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![7_u8; 1 << 20]))]);
    let never_ends = begun.chain(stream::once(async move {
        let _ = sent.send(());
        std::future::pending().await
    }));
    let silent = upload.request(Method::PATCH).header("content-type", "application/offset+octet-stream");
    let silent = silent.header("upload-offset", 0).body(reqwest::Body::wrap_stream(never_ends));
    let silent = tokio::spawn(silent.send());
    was_sent.await.unwrap();
    let started = std::time::Instant::now();
    let mut offset = upload.offset().await;
    while upload.patch(offset, b"next").send().await.unwrap().status() != StatusCode::NO_CONTENT {
        offset = upload.offset().await;
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    assert!(offset <= 1 << 20, "what came of the first one is kept");
    assert_eq!(upload.offset().await, offset + 4);
    silent.abort();
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_started_again_goes_on_where_it_was() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let made = host.collect(&order, bundle);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    upload.bring(&made, 0, 0..1).await;
    let offset = made.offset(0);
    // What a server leaves that dies between the put and the commit: bytes of which nobody was told.
    let unacknowledged = Bytes::from(made.bytes[offset..offset + 100].to_vec());
    let (new, old) =
        (Segment::of(offset as u64, &unacknowledged), Segment { bytes: 100, offset: offset as u64, sha256: None });
    for segment in [new, old] {
        site.server.app.objects.put_new(&segment.path(bundle), unacknowledged.clone()).await.unwrap();
    }
    let site = site.restarted().await;
    let host = host.again(&site);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    assert_eq!(upload.offset().await, offset);
    upload.bring(&made, offset, 1..made.lines.len()).await;
    let view = site.verified(bundle).await;
    assert_eq!((view.state, view.bytes), (EvidenceState::Sealed, made.bytes.len() as u64), "{:?}", view.findings);
    assert_eq!(view.sha256, Some(Sha256::of(&made.bytes)));
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn each_tier_is_answered_with_a_receipt_that_verifies() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let made = host.collect(&order, bundle);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    let end = made.offset(0);
    upload.put(0, &made.bytes[..end]).await;
    let reply: CheckpointsReply = read(upload.vouch(&made.lines[0]).await).await;
    let again: CheckpointsReply = read(upload.vouch(&made.lines[0]).await).await;
    assert_eq!(reply, again, "a line that was there has the receipt that it was given");
    let signer = site.server.app.signer.public_line();
    let signers = AllowedSigners::parse(&format!("server namespaces=\"{}\" {signer}\n", namespace::RECEIPT)).unwrap();
    let receipt = open(&reply.receipts[0], &signers, namespace::RECEIPT, now()).unwrap();
    let receipt: Receipt = serde_json::from_slice(&receipt).unwrap();
    assert_eq!((receipt.offset, receipt.sha256), (end as u64, Sha256::of(&made.bytes[..end])));
    assert_eq!((receipt.phase_complete, receipt.agent_certificate_serial.clone()), (true, Some(host.serial.clone())));
    let view = site.evidence(bundle).await;
    assert_eq!((view.tiers.len(), view.receipts, view.state), (1, vec![receipt], EvidenceState::Receiving));
    assert_eq!(site.custody("receipted").await.len(), 1);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn checkpoints_that_do_not_hold_get_no_receipt() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let made = host.collect(&order, bundle);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    let refused = async |lines: &str| {
        let response = upload.vouch(lines).await;
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(refused(&made.lines[0]).await.0, 409, "the bytes have not come");
    let end = made.offset(0);
    upload.put(0, &made.bytes[..end - 1]).await;
    upload.put(end - 1, &made.bytes[end - 1..end]).await;
    assert_eq!(refused("{}").await.0, 400);
    assert_eq!(refused(&made.lines[0].replace("\"zip\"", "\"age\"")).await.0, 400);
    let (_, text) = refused(&made.lines[1]).await;
    assert!(text.contains("does not follow"), "{text}");
    let foreign = make_bundle(&host.key, &host.agent, new_bundle_id(), None, None);
    assert_eq!(refused(&foreign.lines[0]).await.0, 400, "another bundle's");
    let other_key = bundle::sign::SigningKey::from_seed(&[77; 32]);
    let forged = make_bundle(&other_key, &host.agent, bundle, Some(incident.clone()), Some(order.sha256));
    assert_eq!(refused(&forged.lines[0]).await.0, 400, "another signer's");
    // The same key, the same number, other bytes: first as the first word, then as a second one.
    let second = make_bundle(&host.key, &host.agent, bundle, None, None);
    let (status, text) = refused(&second.lines[0]).await;
    assert!(status == 409, "{text}");
    assert_eq!(refused(&made.lines[0]).await.0, 200);
    assert_eq!(refused(&second.lines[0]).await.0, 409);
    let equivocations = site.custody("equivocation").await;
    assert_eq!(equivocations.len(), 1);
    let line: Value = serde_json::from_str(equivocations[0]["details"]["line"].as_str().unwrap()).unwrap();
    assert_eq!(line, serde_json::from_str::<Value>(&second.lines[0]).unwrap());
    let view = site.evidence(bundle).await;
    assert_eq!(view.receipts.len(), 1);
    let said: Vec<&str> = view.contradictions.iter().map(|there| there.what.as_str()).collect();
    assert_eq!(said, ["equivocation"]);
    assert_eq!(refused(&second.lines[0]).await.0, 409, "said again, it is kept once");
    assert_eq!(site.evidence(bundle).await.contradictions, view.contradictions);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_bundle_that_is_sealed_again_with_the_hosts_own_key_is_raised() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let made = host.collect(&order, bundle);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    upload.bring(&made, 0, 0..made.lines.len()).await;
    assert_eq!(site.verified(bundle).await.state, EvidenceState::Sealed);
    // Root on the host has the key: the whole bundle again, with other content and as many checkpoints or more.
    let again = make_bundle(&host.key, &host.agent, bundle, Some(incident.clone()), Some(order.sha256));
    assert_eq!(again.lines.len(), made.lines.len());
    let last = again.lines.last().unwrap();
    assert_eq!(upload.vouch(last).await.status().as_u16(), 409);
    let mut after: bundle::checkpoint::StreamCheckpoint = serde_json::from_str(last).unwrap();
    after.seq += 1;
    let line = bundle::checkpoint::to_sorted_json(&host.sign(&after));
    assert_eq!(upload.vouch(&line).await.status().as_u16(), 409, "another final behind the final");
    let view = site.evidence(bundle).await;
    assert_eq!(view.state, EvidenceState::Sealed, "what came first stays what it is");
    let said: Vec<_> = view.contradictions.iter().map(|there| (there.what.as_str(), there.seq)).collect();
    assert_eq!(said, [("equivocation", after.seq - 1), ("equivocation", after.seq)]);
    assert_eq!(view.contradictions[0].ours_sha256, Sha256::of(&made.bytes));
    let path = format!("/api/v1/incidents/{incident}/timeline?limit=500");
    let timeline: wire::api::Page<wire::case::TimelineEntry> = site.get(&path).await;
    let told = serde_json::to_string(&timeline).unwrap();
    assert_eq!(told.matches("The signer said two things under one number").count(), 2, "{told}");
    site.server.stop().await.unwrap();
}
