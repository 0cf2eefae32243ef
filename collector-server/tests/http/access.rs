//! Who may do what: an empty request to every endpoint with every credential, on a server that holds nothing. 401 and 403
//! are refusals; everything else was let in. `HOLDFAST_WRITE_GOLDEN=1` writes the table anew.

use std::fmt::Write as _;
use std::path::Path;

use server::http::credential::Who;
use server::http::endpoints::ENDPOINTS;

use super::harness::{Server, With};

const UUID: &str = "01980000-0000-7000-8000-000000000000";

#[tokio::test]
async fn endpoints_by_credentials_are_as_they_were() {
    let server = Server::start().await;
    let (_, agent) = server.enrol("web-1", 1).await;
    let with = [
        ("nothing", With::Nothing),
        ("bad token", With::Token(format!("hf_0123456789abcdef_{}", "x".repeat(43)))),
        ("source", server.source.clone()),
        ("analyst", server.analyst.clone()),
        ("responder", server.responder.clone()),
        ("agent", agent),
    ];
    let mut table = format!("{:<55}", "request");
    for (name, _) in &with {
        write!(table, " {name:>9}").unwrap();
    }
    table.push('\n');
    for endpoint in ENDPOINTS {
        let path = endpoint
            .path
            .replace("{incident}", "INC-2026-0001")
            .replace("{agent}", "web-1")
            .replace("{audience}", "legal");
        let path = endpoint.path_parameters().fold(path, |path, name| path.replace(&format!("{{{name}}}"), UUID));
        write!(table, "{:<55}", format!("{} {}", endpoint.verb.name(), endpoint.path)).unwrap();
        for (name, with) in &with {
            // No order waits: the long poll is told not to either.
            let path = if path == "/agent/v1/orders" { "/agent/v1/orders?wait_secs=0" } else { &path };
            let status = server.send(endpoint.verb.name(), path, with, &[], vec![]).await.status;
            assert!(!status.is_server_error(), "{path} {name}: {status}");
            write!(table, " {:>9}", status.as_str()).unwrap();
        }
        table.push('\n');
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/access.txt");
    if std::env::var_os("HOLDFAST_WRITE_GOLDEN").is_some() {
        std::fs::write(&golden, &table).unwrap();
    }
    assert_eq!(table, std::fs::read_to_string(&golden).unwrap());
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let server = Server::start().await;
    let nothing = server.send("GET", "/api/v1/nothing", &With::Nothing, &[], vec![]).await.is(404).json();
    assert_eq!(nothing["code"], "not_found");
    assert!(nothing["hint"].as_str().unwrap().contains("openapi"));
    let other = server.send("DELETE", "/api/v1/me", &With::Nothing, &[], vec![]).await.is(405);
    assert_eq!(other.header("allow"), "GET,HEAD");
    assert_eq!(other.json()["code"], "method_not_allowed");
    let bad_id = server.get("/api/v1/alerts/7").await.is(400).json();
    assert!(bad_id["message"].as_str().unwrap().contains("\"7\" is no alert id"), "{bad_id}");
    let typo = server.get("/api/v1/incidents?limt=3").await.is(400).json();
    assert!(typo["hint"].as_str().unwrap().contains("limt"), "{typo}");
    server.get("/api/v1/incidents?limit=0").await.is(400);
    server.get("/api/v1/incidents?limit=501").await.is(400);
    server.get("/api/v1/incidents?limit=500").await.is(200);
}

#[tokio::test]
async fn bodies_have_a_type_and_an_end() {
    let server = Server::start().await;
    let post = async |headers: &[(&str, &str)], body: Vec<u8>| {
        server.send("POST", "/api/v1/hosts/tickets", &server.responder, headers, body).await
    };
    let json = [("content-type", "application/json; charset=utf-8")];
    post(&[], b"{}".to_vec()).await.is(415);
    post(&json, b"{".to_vec()).await.is(400);
    let unknown = post(&json, b"{\"hots\":\"web-1\"}".to_vec()).await.is(400).json();
    assert!(unknown["hint"].as_str().unwrap().contains("hots"), "{unknown}");
    post(&json, vec![b' '; 16 << 10]).await.is(400);
    let long = post(&json, vec![b' '; (16 << 10) + 1]).await.is(413).json();
    assert_eq!(long["code"], "too_large");
    post(&json, b"{}".to_vec()).await.is(200);
}

#[tokio::test]
async fn the_document_names_every_endpoint_and_resolves() {
    let document = server::http::openapi::document();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.who != Who::Browser) {
        let operation = &document["paths"][endpoint.path][endpoint.verb.name().to_lowercase()];
        assert!(operation["responses"].is_object(), "{}", endpoint.path);
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    let server = Server::start().await;
    let served = server.send("GET", "/api/v1/openapi.json", &With::Nothing, &[], vec![]).await.is(200);
    assert_eq!(served.json(), document);
}
