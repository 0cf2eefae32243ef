//! A server, its responder, and hosts that bring real bundles.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::coverage::Outcome;
use bundle::header::{Authority, FORMAT, Header, HostIdentity};
use bundle::item::{Kind, Meta, NewItem, Status};
use bundle::sign::SigningKey;
use bundle::time::Clock;
use bundle::write::{World, Writer};
use rcgen::KeyPair;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use server::app::limits::Limits;
use server::app::{Actor, tokens};
use server::process::{Config, Server, SystemClock};
use server::witness::To;
use tempfile::TempDir;
use wire::agent_api::{EnrollReply, EnrollRequest, HostFacts, OrdersReply};
use wire::api::{AlertsReply, EvidenceState, EvidenceView, LiveEvent, OrderView, Role, TicketReply};
use wire::finding::FindingsReport;
use wire::order::{ORDER_TYPE, Order, OrderEvent};
use wire::signed::namespace;
use wire::ticket::Ticket;
use wire::{AgentId, BundleId, IncidentId, Instant, OrderId, Sha256, Tier};

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A server and somebody who may dispatch.
pub struct Site {
    pub people: Client,
    pub server: Server,
    pub token: String,
    folder: TempDir,
    limits: Limits,
}

pub fn now() -> Instant {
    SystemClock.realtime()
}

/// Ids differ from one another; nothing else about them matters.
fn unique() -> [u8; 10] {
    server::app::random().unwrap()
}

pub fn new_bundle_id() -> BundleId {
    BundleId::new(u64::try_from(now().0 / 1_000_000).unwrap(), unique())
}

async fn start(folder: &TempDir, limits: &Limits) -> Server {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let data = folder.path().join("data");
    let (database, heads, names, objects) = (None, To::default(), Vec::new(), None);
    let site = Some(folder.path().join("site")).filter(|folder| folder.is_dir());
    Server::start(Config { data, database, heads, limits: limits.clone(), listen, names, objects, site }).await.unwrap()
}

impl Site {
    pub async fn start() -> Self {
        Self::start_with(Limits { free_bytes_min: 0, ..Limits::default() }).await
    }

    pub async fn start_with(limits: Limits) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), limits).await
    }

    /// A server whose site has these files.
    pub async fn start_with_files(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("site")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join("site").join(name), text).unwrap();
        }
        Self::start_in(folder, Limits { free_bytes_min: 0, ..Limits::default() }).await
    }

    async fn start_in(folder: TempDir, limits: Limits) -> Self {
        // An error says that another test did it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = start(&folder, &limits).await;
        let store = &*server.app.store;
        let token = tokens::add(store, now(), &Actor::Server, "ada", Role::Responder, None).await.unwrap().text;
        let people = client(&server, None);
        Self { people, server, token, folder, limits }
    }

    /// Stops the server and starts it again over the same directory, on another port.
    pub async fn restarted(self) -> Self {
        let Self { server, token, folder, limits, .. } = self;
        server.stop().await.unwrap();
        let server = start(&folder, &limits).await;
        Self { people: client(&server, None), server, token, folder, limits }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.server.address.port())
    }

    /// A request of the responder.
    pub fn person(&self, method: Method, path: &str) -> RequestBuilder {
        self.people.request(method, self.url(path)).bearer_auth(&self.token)
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        read(self.person(Method::GET, path).send().await.unwrap()).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> T {
        let request = self.person(Method::POST, path).header("content-type", "application/json");
        read(request.body(serde_json::to_vec(body).unwrap()).send().await.unwrap()).await
    }

    /// An incident, opened by an alert.
    pub async fn incident(&self) -> IncidentId {
        let alert = json!({"event_type": "ransomware", "host": "web-1", "details": {"note": "README_DECRYPT.txt"}});
        let reply: AlertsReply = self.post("/api/v1/alerts", &alert).await;
        reply.alerts[0].incident.clone().unwrap()
    }

    pub async fn enrollment_secret(&self) -> String {
        let reply: TicketReply = self.post("/api/v1/hosts/tickets", &json!({})).await;
        let ticket: Ticket = reply.ticket.parse().unwrap();
        assert_eq!(ticket.ca_sha256, self.server.ca_sha256());
        ticket.secret
    }

    pub async fn upload_secret(&self, incident: &IncidentId) -> String {
        let path = format!("/api/v1/incidents/{incident}/tickets");
        let reply: TicketReply = self.post(&path, &json!({"host": "db-1"})).await;
        reply.ticket.parse::<Ticket>().unwrap().secret
    }

    pub async fn dispatch(&self, incident: &IncidentId, agent: &AgentId) -> OrderView {
        self.dispatch_until(incident, agent, Instant(now().0 + 3_600_000_000_000)).await
    }

    pub async fn dispatch_until(&self, incident: &IncidentId, agent: &AgentId, expires: Instant) -> OrderView {
        let profile = json!({"name": "test", "summary": "A test.", "incident_types": [], "limits": {}, "collect": [], "contain": []});
        let order = Order {
            agent: agent.clone(),
            approved_sensitive: Vec::new(),
            expires,
            incident: incident.clone(),
            issued: now(),
            legal_basis: None,
            nonce: Sha256::of(&unique()).to_string()[..32].to_owned(),
            order: OrderId::new(u64::try_from(now().0 / 1_000_000).unwrap(), unique()),
            profile: serde_json::from_value(profile).unwrap(),
            profile_version: "0.1.0".into(),
            purpose: None,
            supersedes: None,
            kind: ORDER_TYPE.into(),
            v: 1,
            values: wire::profile::Values::default(),
        };
        let message = serde_json::to_vec(&order).unwrap();
        let envelope = SigningKey::from_seed(&[9; 32]).envelope("ada", namespace::COLLECT, &message).unwrap();
        self.post("/api/v1/orders", &envelope).await
    }

    pub async fn order(&self, order: OrderId) -> OrderView {
        self.get(&format!("/api/v1/orders/{order}")).await
    }

    pub async fn evidence(&self, bundle: BundleId) -> EvidenceView {
        self.get(&format!("/api/v1/evidence/{bundle}")).await
    }

    /// The bundle, once it is not being received any more.
    pub async fn verified(&self, bundle: BundleId) -> EvidenceView {
        let mut listener = self.server.app.live.listen().unwrap();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let view = self.evidence(bundle).await;
                if view.state != EvidenceState::Receiving {
                    return view;
                }
                while !matches!(listener.receiver.recv().await, Ok((_, LiveEvent::Evidence { .. })) | Err(_)) {}
            }
        });
        waited.await.unwrap()
    }

    /// What the rules made of the bundle, once they were applied.
    pub async fn findings(&self, bundle: BundleId) -> FindingsReport {
        let path = format!("/api/v1/evidence/{bundle}/findings");
        let mut listener = self.server.app.live.listen().unwrap();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let answer = self.person(Method::GET, &path).send().await.unwrap();
                if answer.status() != StatusCode::CONFLICT {
                    return read(answer).await;
                }
                while !matches!(listener.receiver.recv().await, Ok((_, LiveEvent::Evidence { .. })) | Err(_)) {}
            }
        });
        waited.await.unwrap()
    }

    /// The events of the custody log with this name.
    pub async fn custody(&self, event: &str) -> Vec<Value> {
        let leaves = self.server.app.store.leaves(None, 0, 10_000).await.unwrap();
        let leaves = leaves.into_iter().filter(|stored| stored.leaf.event == event);
        leaves.map(|stored| serde_json::to_value(stored.leaf).unwrap()).collect()
    }
}

/// A client that knows the server by its CA alone; with a certificate where it has one.
pub fn client(server: &Server, identity: Option<&str>) -> Client {
    let ca = reqwest::Certificate::from_pem(server.app.authorities.get().unwrap().issuing.pem().as_bytes()).unwrap();
    // HTTP/2 takes back what it has not sent when a body breaks; agents and the plain tools speak HTTP/1.
    let mut builder = Client::builder().http1_only().tls_certs_only([ca]).timeout(PATIENCE);
    if let Some(pem) = identity {
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

pub async fn read<T: DeserializeOwned>(response: Response) -> T {
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// A host with an agent.
pub struct Host {
    pub agent: AgentId,
    pub client: Client,
    pub key: SigningKey,
    pub identity: String,
    pub serial: String,
}

pub fn enroll_request(secret: &str, key: &SigningKey, tls: &KeyPair) -> EnrollRequest {
    let csr_pem = rcgen::CertificateParams::default().serialize_request(tls).unwrap().pem().unwrap();
    let facts = HostFacts { name: "web-1".into(), kernel: "6.1".into(), ..HostFacts::default() };
    let proof_ssh = key.sign(namespace::ENROLL, csr_pem.as_bytes()).unwrap();
    EnrollRequest { csr_pem, host: facts, proof_ssh, secret: secret.to_owned(), signer: key.public_line() }
}

impl Host {
    pub async fn enroll(site: &Site, seed: u8) -> Self {
        let secret = site.enrollment_secret().await;
        let (key, tls) = (SigningKey::from_seed(&[seed; 32]), KeyPair::generate().unwrap());
        let request = enroll_request(&secret, &key, &tls);
        let request = site
            .people
            .post(site.url("/agent/v1/enroll"))
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&request).unwrap());
        let reply: EnrollReply = read(request.send().await.unwrap()).await;
        assert_eq!(reply.server_signer, site.server.app.signer.public_line());
        assert_eq!(reply.spool_recipient, site.server.app.spool.as_ref().map(server::spool_key::SpoolKey::recipient));
        let identity = format!("{}{}", reply.certificate_pem, tls.serialize_pem());
        let host = site.server.app.store.host(&reply.agent).await.unwrap().unwrap();
        let serial = host.certificate_serials.last().unwrap().clone();
        Self { agent: reply.agent, client: client(&site.server, Some(&identity)), key, identity, serial }
    }

    /// A transport checkpoint under the host's key, as the agent writes it.
    pub fn sign(&self, checkpoint: &bundle::checkpoint::StreamCheckpoint) -> bundle::checkpoint::StreamLine {
        let signed = bundle::checkpoint::to_sorted_json(checkpoint);
        bundle::checkpoint::StreamLine {
            checkpoint: checkpoint.clone(),
            sig_ssh: self.key.sign(namespace::BUNDLE, signed.as_bytes()).unwrap(),
            signed_b64: BASE64_STANDARD.encode(signed),
        }
    }

    /// The same host, before a server that was started again.
    pub fn again(self, site: &Site) -> Self {
        Self { client: client(&site.server, Some(&self.identity)), ..self }
    }

    pub fn request(&self, site: &Site, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, site.url(path))
    }

    pub async fn orders(&self, site: &Site, wait_secs: u64) -> OrdersReply {
        let path = format!("/agent/v1/orders?wait_secs={wait_secs}");
        read(self.request(site, Method::GET, &path).send().await.unwrap()).await
    }

    pub async fn tell(&self, site: &Site, order: OrderId, event: &OrderEvent) -> Response {
        let mut body = serde_json::to_value(event).unwrap();
        body["time"] = json!(now());
        let path = format!("/agent/v1/orders/{order}/events");
        let request = self.request(site, Method::POST, &path).header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    }

    /// An order that runs, and the id of its bundle.
    pub async fn running(&self, site: &Site, incident: &IncidentId) -> (OrderView, BundleId) {
        let (order, bundle) = (site.dispatch(incident, &self.agent).await, new_bundle_id());
        for event in [OrderEvent::Accepted, OrderEvent::Started { bundle }] {
            assert_eq!(self.tell(site, order.order, &event).await.status(), StatusCode::NO_CONTENT);
        }
        (order, bundle)
    }

    /// The bundle that answers an order.
    pub fn collect(&self, order: &OrderView, bundle: BundleId) -> Made {
        make_bundle(&self.key, &self.agent, bundle, Some(order.incident.clone()), Some(order.sha256))
    }
}

/// A bundle and its transport checkpoints.
pub struct Made {
    pub bytes: Vec<u8>,
    pub lines: Vec<String>,
}

impl Made {
    /// The offset that a line speaks of.
    pub fn offset(&self, line: usize) -> usize {
        let line: Value = serde_json::from_str(&self.lines[line]).unwrap();
        usize::try_from(line["offset"].as_u64().unwrap()).unwrap()
    }
}

struct Ticking;

impl Clock for Ticking {
    fn realtime(&self) -> Instant {
        now()
    }

    fn boottime_ns(&self) -> u64 {
        SystemClock.boottime_ns()
    }
}

/// Two tiers; the second holds a file of some megabytes that does not compress.
pub fn make_bundle(
    key: &SigningKey,
    agent: &AgentId,
    bundle: BundleId,
    incident: Option<IncidentId>,
    order_sha256: Option<Sha256>,
) -> Made {
    let header = Header {
        agent: bundle::header::Agent { name: "holdfast-agent".into(), ..Default::default() },
        authority: Some(Authority::default()),
        belongs_to: None,
        bundle,
        clock: bundle::header::ClockState::default(),
        continues: None,
        encryption: None,
        format: FORMAT.into(),
        hash: "sha256".into(),
        host: HostIdentity { name: "web-1".into(), arch: "x86_64".into(), ..Default::default() },
        incident,
        last_receipt: None,
        limits: wire::profile::Limits::default(),
        order_sha256,
        part: 1,
        profile: bundle::header::ProfileIdentity { name: "test".into(), ..Default::default() },
        signature: "sshsig namespace=holdfast-bundle".into(),
        signer: key.public_line(),
        signer_principal: agent.principal(),
        started: now(),
        kind: "evidence-bundle".into(),
        v: 1,
        values: wire::profile::Values::default(),
    };
    let random = Box::new(|buffer: &mut [u8]| buffer.fill(7));
    let world = World { key: key.clone(), clock: Box::new(Ticking), random };
    let mut writer = Writer::start(Vec::new(), Vec::new(), header, world).unwrap();
    writer.begin_step(Tier::Volatile, "processes", now());
    writer.rows(b"{\"comm\":\"init\",\"pid\":1}\n").unwrap();
    writer.end_step(Outcome::Completed, None).unwrap();
    writer.tier_end(Tier::Volatile).unwrap();
    writer.begin_step(Tier::Files, "files", now());
    let content = noise(10 << 20);
    let meta = Meta { mode: "0100644".into(), file_type: "file".into(), size: content.len() as u64, ..Meta::default() };
    let item = NewItem::new(Kind::File, b"/srv/noise".as_slice(), "read", Status::Ok, now()).with_meta(meta);
    writer.whole(item, content).unwrap();
    writer.end_step(Outcome::Completed, None).unwrap();
    writer.tier_end(Tier::Files).unwrap();
    let (_, bytes, sidecar) = writer.seal(&json!({"v": 1}), b"started\n").unwrap();
    let lines = String::from_utf8(sidecar).unwrap().lines().map(str::to_owned).collect();
    Made { bytes, lines }
}

/// Bytes that no compressor makes shorter (xorshift64).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(|_| next()).collect()
}

/// Makes somebody's requests.
type Requests = Arc<dyn Fn(Method, &str) -> RequestBuilder + Send + Sync>;

/// A tus client: whose requests, and which upload.
pub struct Upload {
    pub location: String,
    send: Requests,
}

impl Upload {
    /// Begins an upload with the requests that `send` makes.
    pub async fn begin(
        send: impl Fn(Method, &str) -> RequestBuilder + Send + Sync + 'static,
        length: Option<usize>,
        metadata: &[(&str, &str)],
    ) -> Result<Self, Response> {
        let request = tus(send(Method::POST, "/api/v1/uploads"));
        let request = match length {
            Some(length) => request.header("upload-length", length),
            None => request.header("upload-defer-length", 1),
        };
        let pairs: Vec<String> =
            metadata.iter().map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).collect();
        let response = request.header("upload-metadata", pairs.join(",")).send().await.unwrap();
        if response.status() != StatusCode::CREATED {
            return Err(response);
        }
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        Ok(Self { location, send: Arc::new(send) })
    }

    pub fn request(&self, method: Method) -> RequestBuilder {
        tus((self.send)(method, &self.location))
    }

    pub async fn offset(&self) -> usize {
        let response = self.request(Method::HEAD).send().await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["tus-resumable"]),
            (StatusCode::OK, &"1.0.0".parse().unwrap())
        );
        response.headers()["upload-offset"].to_str().unwrap().parse().unwrap()
    }

    pub fn patch(&self, offset: usize, bytes: &[u8]) -> RequestBuilder {
        let request = self.request(Method::PATCH).header("content-type", "application/offset+octet-stream");
        let checksum = format!("sha256 {}", BASE64_STANDARD.encode(Sha256::of(bytes).0));
        request.header("upload-offset", offset).header("upload-checksum", checksum).body(bytes.to_vec())
    }

    pub async fn put(&self, offset: usize, bytes: &[u8]) {
        let response = self.patch(offset, bytes).send().await.unwrap();
        let status = response.status();
        assert_eq!(status, StatusCode::NO_CONTENT, "{}", response.text().await.unwrap());
    }

    /// An age file with the bytes from `offset` on.
    pub fn spooled(&self, offset: usize, file: Vec<u8>) -> RequestBuilder {
        let request = tus((self.send)(Method::PATCH, &format!("{}/spooled", self.location)));
        request.header("content-type", "application/octet-stream").header("upload-offset", offset).body(file)
    }

    pub async fn vouch(&self, lines: &str) -> Response {
        let request = (self.send)(Method::POST, &format!("{}/checkpoints", self.location));
        request.header("content-type", "application/x-ndjson").body(lines.to_owned()).send().await.unwrap()
    }

    /// All bytes from `from` on, with a checkpoint wherever there is one, as an agent does it.
    pub async fn bring(&self, made: &Made, from: usize, lines: std::ops::Range<usize>) {
        let mut offset = from;
        for line in lines {
            let end = made.offset(line);
            self.put(offset, &made.bytes[offset..end]).await;
            offset = end;
            let response = self.vouch(&made.lines[line]).await;
            let status = response.status();
            assert_eq!(status, StatusCode::OK, "{}", response.text().await.unwrap());
        }
    }
}

fn tus(request: RequestBuilder) -> RequestBuilder {
    request.header("tus-resumable", "1.0.0")
}

/// An upload of the bundle that answers an order.
pub async fn agent_upload(site: &Site, host: &Host, order: &OrderView, bundle: BundleId) -> Result<Upload, Response> {
    let (client, base) = (host.client.clone(), site.url(""));
    let send = move |method: Method, path: &str| client.request(method, format!("{base}{path}"));
    let (order, bundle, signer) = (order.order.to_string(), bundle.to_string(), host.key.public_line());
    let metadata =
        [("bundle", bundle.as_str()), ("name", "web-1.evidence.zip"), ("order", &order), ("signer", &signer)];
    Upload::begin(send, None, &metadata).await
}

/// An upload of somebody with a secret: a token or an upload ticket.
pub async fn bearer_upload(
    site: &Site,
    secret: &str,
    metadata: &[(&str, &str)],
    length: usize,
) -> Result<Upload, Response> {
    let (client, base, secret) = (site.people.clone(), site.url(""), secret.to_owned());
    let send = move |method: Method, path: &str| client.request(method, format!("{base}{path}")).bearer_auth(&secret);
    Upload::begin(send, Some(length), metadata).await
}
