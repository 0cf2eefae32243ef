//! The pages through the router, over a real store.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use bundle::sign::SigningKey;
use tower::ServiceExt as _;
use wire::api::{EvidenceState, Role};
use wire::{Sha256, UploadId};

use super::browser::POLICY;
use crate::app::{Actor, App, Reach, tokens};
use crate::objects::Objects;
use crate::store::{Change, EvidenceRecord, IncidentRecord, sql::Database};
use crate::ui::{STYLE, samples};

/// It is always the hour of the samples.
struct StoppedClock;

impl bundle::time::Clock for StoppedClock {
    fn realtime(&self) -> wire::Instant {
        samples::now()
    }

    fn boottime_ns(&self) -> u64 {
        1
    }
}

struct Server {
    router: Router,
    responder: String,
    token: String,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Database::in_file(&folder.path().join("holdfast.db")).await.unwrap());
        let objects = Objects::in_folder(&folder.path().join("objects")).unwrap();
        let reach = Reach { ca_sha256: Sha256::of(b"ca"), servers: vec!["https://ir.example:8443".into()] };
        let clock = Box::new(StoppedClock);
        let app = Arc::new(App::new(clock, objects, reach, SigningKey::from_seed(&[7; 32]), store));
        let add = async |name, role| tokens::add(&*app.store, app.now(), &Actor::Server, name, role, None).await;
        let token = add("ada", Role::Analyst).await.unwrap().text;
        let responder = add("bob", Role::Responder).await.unwrap().text;
        let view = samples::incident();
        let record = IncidentRecord {
            assessment: view.assessment,
            case: wire::case::Case::default(),
            incident: view.summary.incident,
            opened: view.summary.opened,
            title: samples::HOSTILE.into(),
            updated: view.summary.updated,
            version: 1,
        };
        let evidence = EvidenceRecord {
            certificate_serial: None,
            last_seen: app.now(),
            length: None,
            offset: 0,
            signer: None,
            upload: UploadId::new(1, [1; 10]),
            view: samples::evidence(EvidenceState::Rejected),
        };
        let changes = vec![Change::AddIncident(Box::new(record)), Change::AddEvidence(Box::new(evidence))];
        app.store.commit(changes, Vec::new()).await.unwrap();
        Self { router: crate::http::router(&app), responder, token, _folder: folder }
    }

    /// As a browser asks, unless the headers say otherwise.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "ir.example:8443");
        if !headers.iter().any(|(name, _)| *name == "accept") {
            request = request.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().into()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask("GET", path, &[("cookie", cookie)], "").await
    }

    /// Signs in; returns the answer.
    async fn sign_in(&self, token: &str, back: &str) -> Answer {
        let headers = [("origin", "https://ir.example:8443"), ("content-type", "application/x-www-form-urlencoded")];
        let back = crate::ui::text::query(&[("back", back), ("token", token)]);
        self.ask("POST", "/sign-in?back=%2Fhosts", &headers, back.trim_start_matches('?')).await
    }

    async fn cookie(&self) -> String {
        let answer = self.sign_in(&self.token, "/").await;
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}

const PAGES: [&str; 8] = [
    "/",
    "/hosts",
    "/custody",
    "/incidents/INC-2026-0007",
    "/evidence/019c0000-1111-7000-a000-00000000abc4",
    "/escalation",
    "/report",
    "/incidents/INC-2026-0007/drafts/executive",
];

#[tokio::test]
async fn pages_need_a_session_and_lead_to_the_sign_in() {
    let server = Server::start().await;
    for path in PAGES {
        let answer = server.get(path, "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(answer.header("location"), format!("/sign-in{}", crate::ui::text::query(&[("back", path)])));
        assert!(!answer.text.contains("INC-2026-0007</span>"));
    }
    let form = server.get("/sign-in?back=%2Fhosts", "").await;
    assert_eq!(form.status, StatusCode::OK);
    assert!(form.text.contains("name=\"back\" value=\"/hosts\""));
    let elsewhere = server.get("/sign-in?back=%2F%2Fevil.example", "").await;
    assert!(elsewhere.text.contains("name=\"back\" value=\"/\"") && !elsewhere.text.contains("evil"));
}

#[tokio::test]
async fn signed_in_all_pages_are_there_with_the_policy() {
    let server = Server::start().await;
    let cookie = server.cookie().await;
    for path in PAGES {
        let answer = server.get(path, &cookie).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        assert_eq!(answer.header("content-security-policy"), POLICY);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.text.contains("<script>"), "{path}");
    }
    assert!(server.get("/", &cookie).await.text.contains("&lt;script&gt;"));
    let style = server.get(&STYLE.path, "").await;
    assert_eq!((style.header("content-type"), style.text.as_str()), ("text/css", STYLE.body));
    assert!(style.header("cache-control").contains("immutable"));
    let again = server.get("/sign-in?back=%2Fhosts", &cookie).await;
    assert_eq!((again.status, again.header("location")), (StatusCode::SEE_OTHER, "/hosts"));
}

#[tokio::test]
async fn forms_act_and_lead_back() {
    let server = Server::start().await;
    let signed_in = server.sign_in(&server.responder, "/").await;
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let own = ("origin", "https://ir.example:8443");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let act = async |cookie: &str, origin, body: &str| {
        let headers = [origin, form, ("cookie", cookie), ("accept", "text/html")];
        server.ask("POST", "/incidents/INC-2026-0007/actions", &headers, body).await
    };
    let noted = act(&cookie, own, "do=note&text=the+owner+%3Cdoes+not%3E+know+it&update=true").await;
    assert_eq!((noted.status, noted.header("location")), (StatusCode::SEE_OTHER, "/incidents/INC-2026-0007"));
    let page = server.get("/incidents/INC-2026-0007", &cookie).await.text;
    assert!(page.contains("the owner &lt;does not&gt; know it"), "{page}");
    let unfilled = act(&cookie, own, "do=close&reason=x").await;
    assert_eq!(unfilled.status, StatusCode::BAD_REQUEST, "{}", unfilled.text);
    assert!(unfilled.text.contains("disposition") && unfilled.text.contains("<h1"), "{}", unfilled.text);
    for (cookie, origin) in [(&cookie, ("origin", "https://evil.example")), (&server.cookie().await, own)] {
        let refused = act(cookie, origin, "do=acknowledge").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
    }
    let headers = [own, form, ("cookie", cookie.as_str())];
    let report = "title=A+note+lies+on+the+desktop&what=it+asks+for+money&host=web-9&user=&seen_at=2026-03-14T03%3A00";
    let reported = server.ask("POST", "/report", &headers, report).await;
    assert_eq!(reported.status, StatusCode::SEE_OTHER, "{}", reported.text);
    let page = server.get(reported.header("location"), &cookie).await.text;
    assert!(page.contains("A note lies on the desktop") && page.contains("web-9"), "{page}");
}

#[tokio::test]
async fn a_rejected_bundle_shows_nothing_of_what_is_inside() {
    let server = Server::start().await;
    let page = server.get(PAGES[4], &server.cookie().await).await.text;
    assert!(page.contains("<strong>Rejected.</strong>") && page.contains("No item record is verified."));
}

#[tokio::test]
async fn a_wrong_token_is_told_on_the_form_and_a_right_one_leads_back_to_this_server_only() {
    let server = Server::start().await;
    let wrong = server.sign_in("hf_no", "/hosts").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text.contains("role=\"alert\"") && wrong.text.contains("value=\"/hosts\""), "{}", wrong.text);
    let right = server.sign_in(&server.token, "/custody").await;
    assert_eq!((right.status, right.header("location")), (StatusCode::SEE_OTHER, "/custody"));
    let elsewhere = server.sign_in(&server.token, "//evil.example/").await;
    assert_eq!(elsewhere.header("location"), "/");
}

#[tokio::test]
async fn what_is_not_there_is_a_page_for_browsers_and_json_for_programs() {
    let server = Server::start().await;
    let cookie = server.cookie().await;
    for (path, status) in [("/incidents/INC-1", 404), ("/nowhere", 404), ("/evidence/x", 400), ("/?after=a%20b", 400)] {
        let answer = server.get(path, &cookie).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text.contains("<h1") && answer.text.contains("Sign out"), "{path}: {}", answer.text);
        assert_eq!(answer.header("content-security-policy"), POLICY);
    }
    for path in ["/api/v1/incidents", "/"] {
        let program = server.ask("GET", path, &[("accept", "*/*")], "").await;
        assert_eq!((program.status, program.header("content-type")), (StatusCode::UNAUTHORIZED, "application/json"));
    }
}

#[tokio::test]
async fn a_link_from_elsewhere_takes_one_step_more() {
    let server = Server::start().await;
    let from_a_chat = [("sec-fetch-site", "cross-site")];
    let answer = server.ask("GET", "/incidents/INC-2026-0007", &from_a_chat, "").await;
    assert!(answer.text.contains("content=\"0; url=/incidents/INC-2026-0007\""), "{}", answer.text);
    let download = server.ask("GET", "/api/v1/custody/export", &from_a_chat, "").await;
    assert_eq!(download.status, StatusCode::SEE_OTHER);
}
