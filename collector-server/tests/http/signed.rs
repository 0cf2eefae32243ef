//! Sources that sign their requests. The signatures are made here, by the schemes' own descriptions.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use server::app::{Actor, tokens};
use server::store::{SharedKey, SourceSignature, Store as _};

use super::harness::{Answer, NOW, Server, With};

const KEY: &[u8] = b"a key of the source, 32 bytes...";
const ALERT: &[u8] = br#"{"event_type":"ransomware","host":"web-1"}"#;

async fn source(server: &Server, scheme: &str) -> (String, String) {
    let signature = SourceSignature { key: SharedKey(KEY.to_vec()), scheme: scheme.to_owned() };
    let made = tokens::add_signing(&*server.store, NOW, &Actor::Server, "hub", None, signature).await.unwrap();
    (format!("/api/v1/sources/{}/alerts", made.token), made.token)
}

fn mac(message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    wire::Sha256(bytes.try_into().unwrap()).to_string()
}

async fn send(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    server.send("POST", path, &With::Nothing, headers, body.to_vec()).await
}

fn seconds(off: i64) -> String {
    (i64::try_from(NOW.0 / 1_000_000_000).unwrap() + off).to_string()
}

#[tokio::test]
async fn a_body_is_believed_under_its_signature_and_no_other() {
    let server = Server::start().await;
    for (scheme, header) in [("github", "x-hub-signature-256"), ("hex:X-Sig", "x-sig")] {
        let (path, token) = source(&server, scheme).await;
        let good = format!("sha256={}", hex(&mac(ALERT)));
        let size = server.store.head().await.unwrap().size;
        let refused = [
            send(&server, &path, &[], ALERT).await,
            send(&server, &path, &[(header, "sha256=00")], ALERT).await,
            send(&server, &path, &[(header, &hex(&mac(b"other")))], ALERT).await,
            send(&server, &path, &[(header, &good)], b"{\"event_type\":\"other\"}").await,
            send(&server, &path, &[(header, &good), (header, &good)], ALERT).await,
            send(&server, "/api/v1/sources/0000000000000000/alerts", &[(header, &good)], ALERT).await,
            send(&server, "/api/v1/sources/x/alerts", &[(header, &good)], ALERT).await,
        ];
        let mut said: Vec<String> = refused.into_iter().map(|answer| answer.is(401).text()).collect();
        said.dedup();
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(server.store.head().await.unwrap().size, size);
        let taken = send(&server, &path, &[(header, &good)], ALERT).await.is(200).json();
        let alert: wire::AlertId = taken["alerts"][0]["alert"].as_str().unwrap().parse().unwrap();
        let record = server.store.alert(alert).await.unwrap().unwrap();
        assert_eq!(record.sent_by, "source:hub");
        // The second source sends what the first has sent.
        if scheme == "github" {
            assert_eq!(record.normalised["ingest_token"], token.as_str());
        }
        // Its id is no token.
        let as_token = With::Token(format!("hf_{token}_{}", "x".repeat(43)));
        server.send("GET", "/api/v1/me", &as_token, &[], vec![]).await.is(401);
        tokens::revoke(&*server.store, NOW, &Actor::Server, &token).await.unwrap();
        send(&server, &path, &[(header, &good)], ALERT).await.is(401);
    }
}

#[tokio::test]
async fn a_signed_time_makes_a_request_good_once_and_not_for_long() {
    let server = Server::start().await;
    let (path, _) = source(&server, "slack").await;
    let slack = async |at: &str| {
        let signature = format!("v0={}", hex(&mac(format!("v0:{at}:{}", String::from_utf8_lossy(ALERT)).as_bytes())));
        let headers = [("x-slack-request-timestamp", at), ("x-slack-signature", &signature)];
        send(&server, &path, &headers, ALERT).await
    };
    slack(&seconds(-301)).await.is(401);
    slack(&seconds(301)).await.is(401);
    slack("now").await.is(401);
    slack(&seconds(-300)).await.is(200);
    slack(&seconds(-300)).await.is(409);
    // Signed anew it is another request, and the same alert.
    assert_eq!(slack(&seconds(300)).await.is(200).json()["alerts"][0]["duplicate"], true);

    let (path, _) = source(&server, "standard-webhooks").await;
    let webhook = async |id: &str, at: &str, more: &str| {
        let signed = [id.as_bytes(), b".", at.as_bytes(), b".", ALERT].concat();
        let signature = format!("{more}v1,{}", BASE64_STANDARD.encode(mac(&signed)));
        let headers = [("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", &signature)];
        send(&server, &path, &headers, ALERT).await
    };
    webhook("msg_1", &seconds(0), "").await.is(200);
    webhook("msg_1", &seconds(0), "").await.is(409);
    webhook("msg_2", &seconds(0), "v1,AAAA v1a,zzz ").await.is(200);
    webhook("msg_3", &seconds(0), "v1,AAAA v1,AAAA v1,AAAA v1,AAAA ").await.is(401);
    webhook("msg_1", &seconds(-400), "").await.is(401);
}

#[tokio::test]
async fn a_signed_request_that_was_not_taken_in_may_come_again() {
    let server = Server::start().await;
    let (path, _) = source(&server, "slack").await;
    let body = b" \n ";
    let at = seconds(0);
    let signature = format!("v0={}", hex(&mac(&[b"v0:", at.as_bytes(), b":", body].concat())));
    let headers = [("x-slack-request-timestamp", at.as_str()), ("x-slack-signature", &signature)];
    send(&server, &path, &headers, body).await.is(400);
    send(&server, &path, &headers, body).await.is(400);
}
