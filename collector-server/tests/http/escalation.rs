//! People are told of incidents: over real connections, to listeners that check what they get.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use server::site::Site;
use server::store::Store as _;

use super::harness::{NOW, Server, With};
use super::peers::{Got, Peer, Reply};

const STATUS: &str = "/api/v1/escalation";
const TEST: &str = "/api/v1/escalation/test";
const KEY: [u8; 32] = [7; 32];
const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

/// A site's folder, with secrets and an address for each kind of peer.
pub struct SiteFolder(tempfile::TempDir);

impl SiteFolder {
    pub fn new(contacts: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.secret("webhook.secret", &format!("whsec_{}", BASE64_STANDARD.encode(KEY)));
        folder.secret("pagerduty.key", ROUTING_KEY);
        std::fs::write(folder.path().join("contacts.yaml"), contacts).unwrap();
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Puts it in force.
    pub fn serve(&self, server: &Server) {
        server.app.site.load(self.path()).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// The mistakes in it.
    fn mistakes(&self) -> String {
        format!("{:#}", Site::default().load(self.path()).unwrap_err())
    }
}

/// All kinds of channels, each to a peer of its own.
struct Peers {
    mail: Peer,
    pagerduty: Peer,
    slack: Peer,
    webhook: Peer,
}

impl Peers {
    async fn new() -> Self {
        let (mail, pagerduty) = (Peer::smtp().await, Peer::http().await);
        Self { mail, pagerduty, slack: Peer::http().await, webhook: Peer::http().await }
    }

    fn channels(&self) -> [String; 4] {
        [
            format!("webhook: {{url: \"{}\", secret_file: webhook.secret}}", self.webhook.url("/hook")),
            "smtp: {to: Mara <mara@example.org>}".to_owned(),
            "slack: {url_file: slack.url}".to_owned(),
            format!("pagerduty: {{routing_key_file: pagerduty.key, url: \"{}\"}}", self.pagerduty.url("/v2/enqueue")),
        ]
    }

    /// Mara has all channels in this order.
    fn folder(&self, order: &[usize]) -> SiteFolder {
        let channels = self.channels();
        let listed: Vec<_> = order.iter().map(|n| format!("      - {}\n", channels[*n])).collect();
        let port = self.mail.address.port();
        let folder = SiteFolder::new(&format!(
            "smtp: {{host: 127.0.0.1, port: {port}, from: holdfast@example.org, tls: none-on-loopback-only}}\n\
             limits: {{answer_seconds: 1}}\n\
             contacts:\n  - name: Mara Lind\n    roles: [SOC lead]\n    channels:\n{}",
            listed.concat()
        ));
        folder.secret("slack.url", &self.slack.url("/services/T0/B0/slack-secret"));
        folder
    }
}

/// The page of this channel, as the status has it.
async fn page(server: &Server, channel: &str) -> Value {
    let status = server.get(STATUS).await.is(200).json();
    let pages = status["pages"].as_array().unwrap();
    pages.iter().find(|page| page["channel"] == channel).unwrap_or_else(|| panic!("no {channel} in {status}")).clone()
}

async fn test_mara(server: &Server) -> Value {
    let reply = server.post(TEST, &server.responder, &json!({ "contact": "Mara Lind" })).await.is(200).json();
    server.app.deliver_due().await.unwrap();
    reply
}

/// What a receiver does that follows the specification.
pub fn verified(got: &Got) -> Value {
    let header = |name: &str| got.headers[name].as_str();
    let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), got.body);
    let signature = header("webhook-signature").strip_prefix("v1,").unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&KEY).unwrap();
    mac.update(signed.as_bytes());
    mac.verify_slice(&BASE64_STANDARD.decode(signature).unwrap()).unwrap();
    assert_eq!(header("content-type"), "application/json");
    got.json()
}

#[tokio::test]
async fn each_channel_of_a_contact_is_tried_out() {
    let (server, peers) = (Server::start().await, Peers::new().await);
    let folder = peers.folder(&[0, 1, 2, 3]);
    folder.serve(&server);
    let reply = test_mara(&server).await;
    assert_eq!(reply["pages"].as_array().unwrap().len(), 4);
    for channel in ["webhook", "smtp", "slack", "pagerduty"] {
        let page = page(&server, channel).await;
        assert_eq!((&page["state"], &page["purpose"], &page["attempts"]), (&json!("sent"), &json!("test"), &json!(1)));
    }
    let [hook] = peers.webhook.got().try_into().unwrap();
    let told = verified(&hook);
    assert_eq!((&told["type"], &told["data"]["contact"]), (&json!("page.test"), &json!("Mara Lind")));
    assert_eq!(told["data"]["page"], page(&server, "webhook").await["page"]);
    assert_eq!(hook.headers["webhook-id"], told["data"]["page"].as_str().unwrap());
    let [mail] = peers.mail.got().try_into().unwrap();
    assert_eq!(mail.headers["rcpt"], "TO:<mara@example.org>");
    assert!(mail.body.contains("Subject: Test page for Mara Lind: there is no incident\r\n"), "{}", mail.body);
    let [slack] = peers.slack.got().try_into().unwrap();
    assert_eq!(slack.json()["text"], "Test page for Mara Lind: there is no incident");
    let [event] = peers.pagerduty.got().try_into().unwrap();
    assert_eq!((&event.json()["event_action"], &event.json()["routing_key"]), (&json!("trigger"), &json!(ROUTING_KEY)));
    // What people, logs and custody see holds no secret and no address.
    let seen =
        format!("{}{:?}", server.get(STATUS).await.is(200).text(), server.store.leaves(None, 0, 100).await.unwrap());
    for secret in ["whsec_", ROUTING_KEY, "slack-secret", "mara@example.org", "127.0.0.1"] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
    let leaves = server.store.leaves(None, 0, 100).await.unwrap();
    let events: Vec<_> = leaves.iter().map(|stored| (stored.leaf.event.as_str(), stored.leaf.actor.as_str())).collect();
    assert_eq!(events.iter().filter(|event| **event == ("page_queued", "user:zoe")).count(), 4);
    assert_eq!(events.iter().filter(|event| **event == ("page_sent", "server")).count(), 4);
}

#[tokio::test]
async fn only_responders_try_out_and_only_who_is_there() {
    let (server, peers) = (Server::start().await, Peers::new().await);
    let nobody = server.post(TEST, &server.responder, &json!({ "contact": "Mara Lind" })).await.is(404).json();
    assert!(nobody["hint"].as_str().unwrap().contains("contacts.yaml"), "{nobody}");
    let folder = peers.folder(&[0]);
    folder.serve(&server);
    let typo = server.post(TEST, &server.responder, &json!({ "contact": "Mara" })).await.is(404).json();
    assert!(typo["hint"].as_str().unwrap().contains("Mara Lind"), "{typo}");
    server.post(TEST, &server.analyst, &json!({ "contact": "Mara Lind" })).await.is(403);
    server.send("GET", STATUS, &server.source, &[], vec![]).await.is(403);
    server.send("GET", STATUS, &With::Nothing, &[], vec![]).await.is(401);
    let status = server.get(STATUS).await.is(200).json();
    assert_eq!(status["contacts"], json!([{ "channels": ["webhook"], "contact": "Mara Lind", "roles": ["SOC lead"] }]));
    assert_eq!(status["vacant"].as_array().unwrap().iter().filter(|role| **role == json!("SOC lead")).count(), 0);
    assert!(status["vacant"].as_array().unwrap().contains(&json!("CISO")), "{status}");
    // One contact is not flooded by tests either.
    for _ in 0..20 {
        server.post(TEST, &server.responder, &json!({ "contact": "Mara Lind" })).await.is(200);
    }
    server.post(TEST, &server.responder, &json!({ "contact": "Mara Lind" })).await.is(429);
    server.clock.pass(3601);
    server.post(TEST, &server.responder, &json!({ "contact": "Mara Lind" })).await.is(200);
}

#[tokio::test]
async fn what_fails_says_why_and_nobody_is_sent_elsewhere() {
    let (server, peers) = (Server::start().await, Peers::new().await);
    peers.folder(&[0, 1, 2, 3]).serve(&server);
    let elsewhere = Peer::http().await;
    peers.webhook.answers([Reply::Elsewhere(elsewhere.url("/"))]);
    peers.mail.answers([Reply::Says(550, "no such person: <mara@example.org>")]);
    peers.slack.answers([Reply::Says(404, "no /services/T0/B0/slack-secret\r\n\u{1b}[31mhere")]);
    peers.pagerduty.answers([Reply::Nothing]);
    test_mara(&server).await;
    for (channel, why) in [
        ("webhook", "302"),
        ("smtp", "no such person: <***>"),
        ("slack", "it answered 404 Not Found: no ***   [31mhere"),
        ("pagerduty", "no answer within 1 seconds"),
    ] {
        let page = page(&server, channel).await;
        assert_eq!((&page["state"], &page["attempts"]), (&json!("failed"), &json!(1)), "{page}");
        assert!(page["error"].as_str().unwrap().contains(why), "{page}");
    }
    assert!(elsewhere.got().is_empty());
    let leaves = server.store.leaves(None, 0, 100).await.unwrap();
    assert_eq!(leaves.iter().filter(|stored| stored.leaf.event == "page_failed").count(), 4);
    assert_eq!(leaves[0].leaf.time, NOW);
}

#[tokio::test]
async fn the_running_server_sends_by_itself_and_stops_in_time() {
    let (server, peers) = (Server::start().await, Peers::new().await);
    peers.folder(&[0]).serve(&server);
    let outbox = tokio::spawn(std::sync::Arc::clone(&server.app).run_outbox());
    server.post(TEST, &server.responder, &json!({ "contact": "Mara Lind" })).await.is(200);
    super::peers::until(async || (page(&server, "webhook").await["state"] == "sent").then_some(())).await;
    server.app.stop.cancel();
    outbox.await.unwrap();
    assert_eq!(peers.webhook.got().len(), 1);
}

#[test]
fn mistakes_in_the_contacts_are_told_with_their_line_and_no_secret() {
    let good = "contacts:\n  - name: Mara\n    roles: [CISO]\n    channels:\n      - webhook: {url: \"https://hooks.example/x\", secret_file: webhook.secret}\n";
    Site::default().load(SiteFolder::new(good).path()).unwrap();
    for (from, to, line, wanted) in [
        ("webhook:", "webhok:", 5, "did you mean `webhook`?"),
        ("secret_file:", "secret:", 5, "unknown field `secret`"),
        ("https://hooks.example", "http://hooks.example", 5, "only https"),
        ("https://hooks", "https://user:pw@hooks", 5, "without a password"),
        ("webhook.secret}", "nothing.secret}", 5, "cannot be read"),
        ("webhook.secret}", "pagerduty.key}", 5, "holds no webhook secret"),
        ("- name: Mara", "- nam: Mara", 2, "unknown field `nam`"),
        ("name: Mara", "name: \"\"", 2, "no name"),
        (
            "- webhook: {url: \"https://hooks.example/x\", secret_file: webhook.secret}",
            "- smtp: {to: x@y.org}",
            5,
            "no relay",
        ),
        ("contacts:", "limits: {digest_minutes: 0}\ncontacts:", 1, "digest_minutes cannot be 0"),
        (
            "contacts:",
            "smtp: {host: mail.example.org, from: x@y.org, tls: none-on-loopback-only}\ncontacts:",
            1,
            "this host only",
        ),
        ("contacts:", "smtp: {host: localhost, from: nobody, tls: required}\ncontacts:", 1, "no mail address"),
    ] {
        let text = SiteFolder::new(&good.replacen(from, to, 1)).mistakes();
        let place = format!("contacts.yaml:{line}: ");
        assert!(text.contains(&place) && text.contains(wanted), "{to}: {text}");
        assert!(!text.contains(ROUTING_KEY), "{text}");
    }
    let exposed = SiteFolder::new(good);
    let secret = exposed.path().join("webhook.secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(exposed.mistakes().contains("mode 640"));
    std::fs::remove_file(&secret).unwrap();
    std::os::unix::fs::symlink(exposed.path().join("pagerduty.key"), &secret).unwrap();
    assert!(exposed.mistakes().contains("webhook.secret"));
}

#[test]
fn the_example_has_no_mistake() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/site/contacts.yaml");
    let folder = SiteFolder::new(&std::fs::read_to_string(example).unwrap());
    folder.secret("smtp.password", "correct horse");
    folder.secret("slack-mara.url", "https://hooks.slack.example/services/T0/B0/x");
    folder.secret("counsel.secret", &format!("whsec_{}", BASE64_STANDARD.encode(KEY)));
    let site = Site::default();
    site.load(folder.path()).unwrap();
    let contacts = site.contacts();
    let views: Vec<_> = contacts.contacts.iter().map(|contact| contact.view().channels.join(" ")).collect();
    assert_eq!(views, ["pagerduty smtp", "slack smtp", "webhook"]);
}
