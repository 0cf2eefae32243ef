//! What waited on a host while the server was away: opened, appended once, and worth no more than its checkpoints say.

use reqwest::{Method, StatusCode};
use wire::Sha256;
use wire::api::EvidenceState;

use super::site::{Host, Site, Upload, agent_upload};

fn encrypted(site: &Site, content: &[u8]) -> Vec<u8> {
    let recipient: age::x25519::Recipient = site.server.app.spool.as_ref().unwrap().recipient().parse().unwrap();
    age::encrypt(&recipient, content).unwrap()
}

async fn bring(upload: &Upload, offset: usize, file: Vec<u8>) -> u16 {
    upload.spooled(offset, file).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn it_is_appended_once_and_receipted() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let made = host.collect(&order, bundle);
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    upload.bring(&made, 0, 0..1).await;
    let first = made.offset(0);
    for line in 1..made.lines.len() {
        let (from, to) = (made.offset(line - 1), made.offset(line));
        let file = encrypted(&site, &made.bytes[from..to]);
        let mut flipped = file.clone();
        flipped[file.len() / 2] ^= 1;
        assert_eq!(bring(&upload, from, flipped).await, 400);
        assert_eq!(bring(&upload, from + 1, file.clone()).await, 409, "a byte is missing before it");
        assert_eq!(upload.offset().await, from, "none of these was kept");
        // Its answer may have been lost: it comes again, and changes nothing.
        assert_eq!(bring(&upload, from, file.clone()).await, 204);
        assert_eq!(bring(&upload, from, file).await, 204);
        assert_eq!(upload.offset().await, to);
        assert_eq!(upload.vouch(&made.lines[line]).await.status(), StatusCode::OK);
    }
    // From before what came in the clear on: nothing of it is new.
    assert_eq!(bring(&upload, first - 1, encrypted(&site, &made.bytes[first - 1..=first])).await, 204);
    let view = site.verified(bundle).await;
    assert_eq!(
        (view.state, view.sha256),
        (EvidenceState::Sealed, Some(Sha256::of(&made.bytes))),
        "{:?}",
        view.findings
    );
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_there_is_not_appended_again_and_the_rest_is() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let (order, bundle) = host.running(&site, &incident).await;
    let upload = agent_upload(&site, &host, &order, bundle).await.unwrap();
    upload.put(0, b"first").await;
    assert_eq!(bring(&upload, 0, encrypted(&site, b"firstsecond")).await, 204);
    assert_eq!(upload.offset().await, 11);
    assert_eq!(bring(&upload, 11, encrypted(&site, b"")).await, 204);
    assert_eq!(bring(&upload, 11, b"no age file".to_vec()).await, 400);
    assert_eq!(bring(&upload, 11, vec![0; wire::agent_api::SPOOLED_BYTES_MAX + 1]).await, 413);
    let stranger = age::x25519::Identity::generate().to_public();
    assert_eq!(bring(&upload, 11, age::encrypt(&stranger, b"x").unwrap()).await, 400);
    assert_eq!(site.evidence(bundle).await.bytes, 11);

    let other = Host::enroll(&site, 2).await;
    let path = format!("{}/spooled", upload.location);
    let theirs =
        other.request(&site, Method::PATCH, &path).header("tus-resumable", "1.0.0").header("upload-offset", 11);
    let theirs = theirs.header("content-type", "application/octet-stream").body(encrypted(&site, b"x"));
    assert_eq!(theirs.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(site.person(Method::PATCH, &path).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn agents_that_were_enrolled_before_learn_the_recipient_with_their_orders() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let recipient = site.server.app.spool.as_ref().unwrap().recipient();
    assert_eq!(host.orders(&site, 0).await.spool_recipient.as_deref(), Some(recipient.as_str()));
    let site = site.restarted().await;
    assert_eq!(site.server.app.spool.as_ref().unwrap().recipient(), recipient);
    site.server.stop().await.unwrap();
}
