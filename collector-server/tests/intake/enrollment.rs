//! Enrolment: one ticket, one host, both keys proven.

use bundle::sign::SigningKey;
use rcgen::KeyPair;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use server::store::{Change, TicketRecord};
use wire::agent_api::{EnrollReply, EnrollRequest, RenewReply};
use wire::signed::namespace;
use wire::ticket::TicketKind;
use wire::{AgentId, Instant, Sha256};

use super::site::{Host, Site, client, enroll_request, now, read};

async fn enroll(site: &Site, request: &EnrollRequest) -> Response {
    let post = site.people.post(site.url("/agent/v1/enroll")).header("content-type", "application/json");
    post.body(serde_json::to_vec(request).unwrap()).send().await.unwrap()
}

async fn refused(site: &Site, request: &EnrollRequest) -> (StatusCode, String) {
    let response = enroll(site, request).await;
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_host_is_let_in_once_and_known_by_its_certificate() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let key = SigningKey::from_seed(&[1; 32]);
    assert_eq!(host.agent, AgentId::of_host("web-1", Sha256::of(key.public_line().as_bytes())));
    assert!(host.orders(&site, 0).await.orders.is_empty());
    let without = site.people.get(site.url("/agent/v1/orders?wait_secs=0")).send().await.unwrap();
    assert_eq!(without.status(), StatusCode::UNAUTHORIZED);
    let with_token = site.person(Method::GET, "/agent/v1/orders?wait_secs=0").send().await.unwrap();
    assert_eq!(with_token.status(), StatusCode::FORBIDDEN);
    let people_only = host.request(&site, Method::GET, "/api/v1/incidents").send().await.unwrap();
    assert_eq!(people_only.status(), StatusCode::FORBIDDEN);
    let facts = json!({"agent_version": "1", "arch": "x86_64", "kernel": "6.2", "name": "web-2", "profiles": ["a"]});
    let put = |facts: String| {
        host.request(&site, Method::PUT, "/agent/v1/host").header("content-type", "application/json").body(facts)
    };
    assert_eq!(put(facts.to_string()).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(site.server.app.store.host(&host.agent).await.unwrap().unwrap().facts.kernel, "6.2");
    let long = json!({"agent_version": "1", "arch": "", "kernel": "", "name": "x".repeat(257), "profiles": []});
    assert_eq!(put(long.to_string()).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(site.custody("host_enrolled").await.len(), 1);
    let late = json!({"agent_version": "1", "arch": "", "clock_offset_ns": 720_000_000_000_i64, "kernel": "", "name": "", "profiles": []});
    assert_eq!(put(late.to_string()).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let facts = site.server.app.store.host(&host.agent).await.unwrap().unwrap().facts;
    assert_eq!((facts.clock().as_deref(), facts.is_clock_wrong()), (Some("12 min behind"), true));
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_nonce_comes_back_in_the_answer() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let ask = |query: &str| host.request(&site, Method::GET, &format!("/agent/v1/orders?wait_secs=0{query}")).send();
    let (before, nonce) = (site.server.app.now(), "00112233445566778899aabbccddeeff");
    let reply: Value =
        serde_json::from_str(&ask(&format!("&nonce={nonce}")).await.unwrap().text().await.unwrap()).unwrap();
    let told: Instant = serde_json::from_value(reply["server_time"].clone()).unwrap();
    assert!(reply["nonce"] == nonce && told >= before, "{reply}");
    let without: Value = serde_json::from_str(&ask("").await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(without.get("nonce"), None);
    for bad in ["xyz".to_owned(), "0".repeat(65)] {
        assert_eq!(ask(&format!("&nonce={bad}")).await.unwrap().status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_secret_is_good_once_and_in_its_time() {
    let site = Site::start().await;
    let (key, tls) = (SigningKey::from_seed(&[2; 32]), KeyPair::generate().unwrap());
    let secret = site.enrollment_secret().await;
    let (status, text) = refused(&site, &enroll_request("not it", &key, &tls)).await;
    assert!(status == StatusCode::UNAUTHORIZED && text.contains("no enrolment ticket"), "{text}");
    let requests = [&key, &SigningKey::from_seed(&[3; 32])].map(|key| enroll_request(&secret, key, &tls));
    let both = tokio::join!(enroll(&site, &requests[0]), enroll(&site, &requests[1]));
    let let_in = [both.0.status(), both.1.status()].into_iter().filter(StatusCode::is_success).count();
    assert_eq!(let_in, 1, "{both:?}");
    let (status, text) = refused(&site, &enroll_request(&secret, &key, &tls)).await;
    assert!(status == StatusCode::UNAUTHORIZED && text.contains("used already"), "{text}");
    let late = TicketRecord {
        created_by: "user:ada".into(),
        expires: Instant(now().0 - 1),
        host: None,
        incident: None,
        kind: TicketKind::Enroll,
        ticket: Sha256::of(b"late"),
        used_by: None,
    };
    site.server.app.store.commit(vec![Change::AddTicket(Box::new(late))], Vec::new()).await.unwrap();
    let (status, text) = refused(&site, &enroll_request("late", &key, &tls)).await;
    assert!(status == StatusCode::UNAUTHORIZED && text.contains("has ended"), "{text}");
    let incident = site.incident().await;
    let upload = site.upload_secret(&incident).await;
    assert_eq!(refused(&site, &enroll_request(&upload, &key, &tls)).await.0, StatusCode::UNAUTHORIZED);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn who_does_not_hold_both_keys_is_refused_and_the_ticket_stays_good() {
    let site = Site::start().await;
    let (key, other) = (SigningKey::from_seed(&[4; 32]), SigningKey::from_seed(&[5; 32]));
    let tls = KeyPair::generate().unwrap();
    let secret = site.enrollment_secret().await;
    let good = enroll_request(&secret, &key, &tls);
    let by_other = other.sign(namespace::ENROLL, good.csr_pem.as_bytes()).unwrap();
    let for_bundles = key.sign(namespace::BUNDLE, good.csr_pem.as_bytes()).unwrap();
    for bad in [
        EnrollRequest { proof_ssh: by_other, ..good.clone() },
        EnrollRequest { proof_ssh: for_bundles, ..good.clone() },
        EnrollRequest { signer: format!("{} comment", key.public_line()), ..good.clone() },
        EnrollRequest { signer: "ssh-rsa AAAA".into(), ..good.clone() },
    ] {
        assert_eq!(refused(&site, &bad).await.0, StatusCode::BAD_REQUEST);
    }
    let not_its_own = enroll_request("x", &key, &KeyPair::generate().unwrap()).csr_pem.replace('A', "B");
    let proof_ssh = key.sign(namespace::ENROLL, not_its_own.as_bytes()).unwrap();
    let broken = EnrollRequest { csr_pem: not_its_own, proof_ssh, ..good.clone() };
    assert_eq!(refused(&site, &broken).await.0, StatusCode::BAD_REQUEST);
    let reply: EnrollReply = read(enroll(&site, &good).await).await;
    assert!(reply.certificate_pem.contains("BEGIN CERTIFICATE"));
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn certificates_are_renewed_and_end_when_the_host_is_enrolled_again_or_shut_out() {
    let site = Site::start().await;
    let first = Host::enroll(&site, 6).await;
    let tls = KeyPair::generate().unwrap();
    let csr_pem = enroll_request("", &first.key, &tls).csr_pem;
    let renew = first.request(&site, Method::POST, "/agent/v1/renew").header("content-type", "application/json");
    let reply: RenewReply = read(renew.body(json!({"csr_pem": csr_pem}).to_string()).send().await.unwrap()).await;
    let identity = format!("{}{}", reply.certificate_pem, tls.serialize_pem());
    let renewed = Host { client: client(&site.server, Some(&identity)), ..Host::enroll(&site, 7).await };
    assert!(renewed.orders(&site, 0).await.orders.is_empty());
    assert!(first.orders(&site, 0).await.orders.is_empty(), "the one in use stays good");
    let again = Host::enroll(&site, 6).await;
    assert_eq!(again.agent, first.agent);
    for old in [&first, &renewed] {
        let refused = old.request(&site, Method::GET, "/agent/v1/orders?wait_secs=0").send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
    let mut host = site.server.app.store.host(&again.agent).await.unwrap().unwrap();
    (host.revoked, host.version) = (Some(now()), host.version + 1);
    site.server.app.store.commit(vec![Change::PutHost(Box::new(host))], Vec::new()).await.unwrap();
    let refused_now = again.request(&site, Method::GET, "/agent/v1/orders?wait_secs=0").send().await.unwrap();
    assert_eq!(refused_now.status(), StatusCode::UNAUTHORIZED);
    let request = enroll_request(&site.enrollment_secret().await, &again.key, &tls);
    assert_eq!(refused(&site, &request).await.0, StatusCode::FORBIDDEN);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn another_authoritys_certificates_are_refused_in_the_handshake() {
    let (site, elsewhere) = (Site::start().await, Site::start().await);
    let stranger = Host::enroll(&elsewhere, 8).await;
    let client = client(&site.server, Some(&stranger.identity));
    assert!(client.get(site.url("/healthz")).send().await.is_err());
    assert!(stranger.client.get(site.url("/healthz")).send().await.is_err(), "it knows another CA");
    let ca = site.people.get(site.url("/ca.pem")).send().await.unwrap().text().await.unwrap();
    assert_eq!(server::authority::Authority::digest_of(&ca), Some(site.server.ca_sha256()));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(site.people.get(site.url(path)).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(site.people.get(site.url("/metrics")).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let metrics = site.person(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(metrics.status(), StatusCode::OK);
    site.server.stop().await.unwrap();
    elsewhere.server.stop().await.unwrap();
}
