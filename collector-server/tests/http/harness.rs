//! The real router over a real SQLite store in a temporary folder, with a clock that a test can set.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bundle::sign::SigningKey;
use bundle::time::Clock;
use serde_json::Value;
use server::app::{Actor, App, Reach, tokens};
use server::http::credential::ClientCertificate;
use server::objects::Objects;
use server::store::sql::Database;
use server::store::{Change, HostRecord, Store};
use tower::ServiceExt as _;
use wire::agent_api::HostFacts;
use wire::api::Role;
use wire::host::HostMarks;
use wire::{AgentId, Instant, Sha256};

pub const NOW: Instant = Instant(1_795_283_148_000_000_000);

/// Seconds after [`NOW`].
#[derive(Clone, Default)]
pub struct Seconds(Arc<AtomicU64>);

impl Seconds {
    pub fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for Seconds {
    fn realtime(&self) -> Instant {
        Instant(NOW.0 + i128::from(self.0.load(Ordering::Relaxed)) * 1_000_000_000)
    }
    fn boottime_ns(&self) -> u64 {
        (77 + self.0.load(Ordering::Relaxed)) * 1_000_000_000
    }
}

/// What a request brings.
#[derive(Clone)]
pub enum With {
    Nothing,
    Token(String),
    Cookie(String),
    Certificate(ClientCertificate),
}

pub struct Server {
    pub analyst: With,
    pub app: Arc<App>,
    pub clock: Seconds,
    pub folder: Arc<tempfile::TempDir>,
    pub responder: With,
    router: Router,
    pub source: With,
    pub store: Arc<Database>,
}

pub struct Answer {
    pub body: Vec<u8>,
    pub headers: HeaderMap,
    pub status: StatusCode,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: {}", self.status, self.text()))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    /// The answer, when it has this status; its text otherwise.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Seconds::default();
        let (app, store) = open(folder.path(), &clock).await;
        let router = server::http::router(&app);
        let [source, analyst, responder] = [("falco", Role::Source), ("ada", Role::Analyst), ("zoe", Role::Responder)]
            .map(|(name, role)| (name.to_owned(), role));
        let (source, analyst, responder) =
            (token(&store, source).await, token(&store, analyst).await, token(&store, responder).await);
        Self { analyst, app, clock, folder: Arc::new(folder), responder, router, source, store }
    }

    /// Another server on the same records.
    pub async fn beside(&self) -> Self {
        let (app, store) = open(self.folder.path(), &self.clock).await;
        Self {
            analyst: self.analyst.clone(),
            router: server::http::router(&app),
            app,
            clock: self.clock.clone(),
            folder: Arc::clone(&self.folder),
            responder: self.responder.clone(),
            source: self.source.clone(),
            store,
        }
    }

    /// Another source of alerts.
    pub async fn another_source(&self) -> With {
        token(&self.store, ("guardduty".to_owned(), Role::Source)).await
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("holdfast.db")
    }

    /// Another process changes the records, behind the server's back.
    pub async fn sql(&self, sql: &str) {
        use sqlx::ConnectOptions as _;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database());
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    }

    /// Enrols a host; the certificate that it would connect with.
    pub async fn enrol(&self, name: &str, seed: u8) -> (AgentId, With) {
        let key = SigningKey::from_seed(&[seed; 32]);
        let agent = AgentId::of_host(name, Sha256::of(key.public_line().as_bytes()));
        let serial = format!("0{seed:x}");
        let record = HostRecord {
            agent: agent.clone(),
            beat: None,
            certificate_expires: Instant(NOW.0 + 30 * 86_400_000_000_000),
            certificate_serials: vec![serial.clone()],
            enrolled: NOW,
            facts: HostFacts { name: name.into(), ..HostFacts::default() },
            gone: None,
            last_seen: None,
            marks: HostMarks::default(),
            revoked: None,
            signer: key.public_line(),
            silent: None,
            version: 1,
            went_back: None,
        };
        self.store.commit(vec![Change::AddHost(Box::new(record))], vec![]).await.unwrap();
        (agent.clone(), With::Certificate(ClientCertificate { agent, serial }))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &self.analyst, &[], vec![]).await
    }

    pub async fn post(&self, path: &str, with: &With, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.send("POST", path, with, &json, serde_json::to_vec(body).unwrap()).await
    }

    pub async fn send(&self, method: &str, path: &str, with: &With, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let response = self.open(method, path, with, headers, body).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 64 << 20).await.unwrap().to_vec();
        Answer { body, headers: parts.headers, status: parts.status }
    }

    /// The response whose body is still to come.
    pub async fn open(
        &self,
        method: &str,
        path: &str,
        with: &With,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> axum::response::Response {
        let mut request = Request::builder().method(method).uri(path).header("host", "server:8443");
        if !body.is_empty() {
            request = request.header("content-length", body.len());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match with {
            With::Nothing => {}
            With::Token(token) => request = request.header("authorization", format!("Bearer {token}")),
            With::Cookie(cookie) => request = request.header("cookie", cookie),
            With::Certificate(certificate) => request = request.extension(certificate.clone()),
        }
        self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()
    }
}

async fn open(folder: &Path, clock: &Seconds) -> (Arc<App>, Arc<Database>) {
    let store = Arc::new(Database::in_file(&folder.join("holdfast.db")).await.unwrap());
    let app = App::new(
        Box::new(clock.clone()),
        Objects::in_folder(&folder.join("objects")).unwrap(),
        Reach { ca_sha256: Sha256::of(b"ca"), servers: vec!["https://127.0.0.1:8443".into()] },
        SigningKey::from_seed(&[3; 32]),
        Arc::clone(&store) as Arc<dyn Store>,
    );
    (Arc::new(app), store)
}

async fn token(store: &Database, (name, role): (String, Role)) -> With {
    With::Token(tokens::add(store, NOW, &Actor::Server, &name, role, None).await.unwrap().text)
}
