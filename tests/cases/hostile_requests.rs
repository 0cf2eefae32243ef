//! Hostile callers: requests that are none, and connections that never come to one. Each is refused by name or ended in
//! time, counted, and nobody else has to wait for it.

use std::io::Read as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use harness::{Courier, Raw, Setup, Site, tcp, until};
use serde_json::json;

const SOON: Duration = Duration::from_mins(1);
/// A busy machine is slow, and still everybody is served.
const PROMPT: Duration = Duration::from_secs(10);

/// A request, its head line by line.
fn request(first: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let head: String =
        [first, "Host: 127.0.0.1", "Connection: close"].iter().chain(headers).flat_map(|line| [line, "\r\n"]).collect();
    [head.as_bytes(), b"\r\n", body].concat()
}

/// What the server answers on a connection of its own; `None` when it just ends it.
fn ask(site: &Site, bytes: &[u8]) -> Option<(u16, String)> {
    let mut raw = Raw::connect(site).unwrap();
    // A server that has seen enough closes while we still send.
    let _ = raw.send(bytes);
    raw.answer()
}

fn metric(site: &Site, parts: &[&str], client: &reqwest::blocking::Client) -> u64 {
    let answer = client.get(format!("{}/metrics", site.url())).bearer_auth(site.responder_token()).send().unwrap();
    let text = answer.text().unwrap();
    let lines = text.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// From another address of loopback than everybody else.
fn neighbour() -> reqwest::blocking::Client {
    let builder = reqwest::blocking::Client::builder().tls_danger_accept_invalid_certs(true).timeout(SOON);
    builder.local_address(IpAddr::from([127, 0, 0, 2])).pool_max_idle_per_host(0).build().unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn every_malformed_upload_is_refused_by_name_and_changes_nothing() {
    let site = Site::new();
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    let lab = harness::Lab::new();
    let parcel = harness::Parcel::of(&lab.sealed());
    let mut courier = Courier::to(site.url(), site.responder_token());
    courier.begin(&parcel, &incident).unwrap();
    let first = courier.patch(0, parcel.bytes[..1000].to_vec()).unwrap();
    assert_eq!((first.status, first.offset), (204, Some(1000)));

    let token = format!("Authorization: Bearer {}", site.responder_token());
    let (tus, kind) = ("Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream");
    let upload = format!("PATCH {} HTTP/1.1", courier.upload());
    let pairs = |bundle: &str| {
        format!(
            "Upload-Metadata: bundle {},incident {}",
            BASE64_STANDARD.encode(bundle),
            BASE64_STANDARD.encode(&incident)
        )
    };
    let metadata = pairs("019abcde-0000-7000-8000-000000000001");
    let twice = format!("{metadata},bundle {}", BASE64_STANDARD.encode("019abcde-0000-7000-8000-000000000002"));
    let (long, no_id) = (format!("Upload-Metadata: bundle {}", "QUFB".repeat(2000)), pairs("not-an-id"));
    let begin = |headers: &[&str]| {
        request("POST /api/v1/uploads HTTP/1.1", &[&[token.as_str()], headers, &["Content-Length: 0"]].concat(), b"")
    };
    let append = |headers: &[&str], body: &[u8]| request(&upload, &[&[token.as_str()], headers].concat(), body);
    let (digest, good) = (Courier::checksum(b"abc"), Courier::checksum(b"abd"));
    let checksum = |text: &str| format!("Upload-Checksum: {text}");
    let (of_others, wrong, md5) = (checksum(&digest), checksum(&good), checksum("md5 kAFQmDzST7DWlj99KOF/cg=="));
    let chunked = "Transfer-Encoding: chunked";
    let at = "Upload-Offset: 1000";
    let huge_header = format!("X-Long: {}", "a".repeat(2 << 20));

    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("no version", begin(&["Upload-Length: 7", &metadata]), &[412]),
        ("another version", begin(&["Tus-Resumable: 0.2.2", "Upload-Length: 7", &metadata]), &[412]),
        ("two versions", begin(&[tus, "Tus-Resumable: 0.2.2", "Upload-Length: 7", &metadata]), &[400]),
        ("no length", begin(&[tus, &metadata]), &[400]),
        (
            "a length that is known and deferred",
            begin(&[tus, "Upload-Length: 7", "Upload-Defer-Length: 1", &metadata]),
            &[400],
        ),
        ("a negative length", begin(&[tus, "Upload-Length: -7", &metadata]), &[400]),
        ("a length with a sign", begin(&[tus, "Upload-Length: +7", &metadata]), &[400]),
        ("a length of 2^64", begin(&[tus, "Upload-Length: 18446744073709551616", &metadata]), &[400]),
        ("a length beyond the bound", begin(&[tus, "Upload-Length: 18446744073709551615", &metadata]), &[413]),
        ("two lengths", begin(&[tus, "Upload-Length: 7", "Upload-Length: 8", &metadata]), &[400]),
        ("no metadata", begin(&[tus, "Upload-Length: 7"]), &[400]),
        ("metadata that is no base64", begin(&[tus, "Upload-Length: 7", "Upload-Metadata: bundle %%%"]), &[400]),
        ("metadata without end", begin(&[tus, "Upload-Length: 7", &long]), &[400]),
        ("a bundle that is no id", begin(&[tus, "Upload-Length: 7", &no_id]), &[400]),
        ("two bundles", begin(&[tus, "Upload-Length: 7", &twice]), &[400]),
        (
            "another method by header",
            request(
                &upload.replace("PATCH", "POST"),
                &[&token, tus, at, kind, "X-HTTP-Method-Override: PATCH", "Content-Length: 3"],
                b"abc",
            ),
            &[405],
        ),
        ("no offset", append(&[tus, kind, "Content-Length: 3"], b"abc"), &[400]),
        ("an offset in words", append(&[tus, kind, "Upload-Offset: end", "Content-Length: 3"], b"abc"), &[400]),
        (
            "an offset of 2^64",
            append(&[tus, kind, "Upload-Offset: 18446744073709551616", "Content-Length: 3"], b"abc"),
            &[400],
        ),
        ("an offset before the end", append(&[tus, kind, "Upload-Offset: 999", "Content-Length: 3"], b"abc"), &[409]),
        ("an offset after the end", append(&[tus, kind, "Upload-Offset: 1001", "Content-Length: 3"], b"abc"), &[409]),
        ("two offsets", append(&[tus, kind, at, "Upload-Offset: 0", "Content-Length: 3"], b"abc"), &[400]),
        ("another media type", append(&[tus, at, "Content-Type: text/plain", "Content-Length: 3"], b"abc"), &[415]),
        ("another checksum", append(&[tus, kind, at, &md5, "Content-Length: 3"], b"abc"), &[400]),
        ("a checksum of other bytes", append(&[tus, kind, at, &wrong, "Content-Length: 3"], b"abc"), &[460]),
        ("two checksums", append(&[tus, kind, at, &of_others, &wrong, "Content-Length: 3"], b"abc"), &[400]),
        (
            "another length than declared",
            append(&[tus, kind, at, "Upload-Length: 7", "Content-Length: 3"], b"abc"),
            &[409],
        ),
        ("two content lengths", append(&[tus, kind, at, "Content-Length: 3", "Content-Length: 4"], b"abcd"), &[400]),
        (
            "a chunk of 2^68 bytes",
            append(&[tus, kind, at, &of_others, chunked], b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
            &[400, 423],
        ),
        (
            "a chunk without a length",
            append(&[tus, kind, at, &of_others, chunked], b"zz\r\nabc\r\n0\r\n\r\n"),
            &[400, 423],
        ),
        (
            "a checksum that comes in a trailer",
            append(
                &[tus, kind, at, &wrong, chunked, "Trailer: Upload-Checksum"],
                format!("3\r\nabc\r\n0\r\n{of_others}\r\n\r\n").as_bytes(),
            ),
            &[460],
        ),
        ("a head without end", append(&[tus, kind, at, &huge_header], b""), &[400, 431]),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00".repeat(64), &[400]),
        (
            "somebody else's upload",
            request("HEAD /api/v1/uploads/019abcde-0000-7000-8000-000000000001 HTTP/1.1", &[&token, tus], b""),
            &[404],
        ),
        (
            "an upload that is no id",
            request("HEAD /api/v1/uploads/..%2f..%2fetc HTTP/1.1", &[&token, tus], b""),
            &[400, 404],
        ),
        ("no credential", request(&upload, &[tus, kind, at, "Content-Length: 3"], b"abc"), &[401]),
    ];
    for (what, bytes, statuses) in cases {
        let begun = Instant::now();
        let answered = ask(&site, &bytes);
        // A connection that is just ended is a refusal too, where what came is no HTTP.
        let status = answered.as_ref().map_or(400, |(status, _)| *status);
        assert!(statuses.contains(&status), "{what}: {answered:?}");
        if let Some((_, text)) = answered.filter(|(status, text)| *status != 431 && text.contains("{\"code\"")) {
            assert!(text.contains("\"message\""), "{what}: {text}");
        }
        assert!(begun.elapsed() < SOON, "{what}");
        assert_eq!(courier.head(), Ok(1000), "{what}: something was kept");
    }
    // Longer than what is held in memory for a checksum, and longer than any other endpoint takes.
    let long = vec![0; 20 << 20];
    let sent = courier.patch(1000, long.clone());
    assert!(sent.is_err() || sent.is_ok_and(|answered| answered.status == 413));
    for path in ["/api/v1/alerts", &format!("{}/checkpoints", courier.upload()), "/api/v1/triage"] {
        let post = site.client().post(format!("{}{path}", site.url())).bearer_auth(site.responder_token());
        let answered = post.header("Content-Type", "application/json").body(long.clone()).send();
        // What is closed in the middle of sending is no answer; both are a refusal.
        assert!(answered.is_err() || answered.is_ok_and(|answered| answered.status() == 413), "{path}");
    }
    let deep = "[".repeat(1 << 18);
    let post = site.client().post(format!("{}/api/v1/triage", site.url())).bearer_auth(site.responder_token());
    let status = post.header("Content-Type", "application/json").body(deep).send().unwrap().status();
    assert!(status.is_success() || status.is_client_error(), "deep JSON: {status}");

    courier.acknowledged = courier.head().unwrap();
    courier.bring(&parcel, &incident, SOON);
    let evidence = until("the bundle is verified", SOON, || {
        let evidence = site.api(&format!("evidence/{}", parcel.bundle));
        (evidence["state"] != "receiving").then_some(evidence)
    });
    assert_eq!(evidence["state"], "sealed", "{evidence}");
}

#[test]
fn those_who_let_connections_stand_keep_nobody_out() {
    const PLACES: usize = 48;
    let serve = ["--connections-of-address-max", "48"].map(str::to_owned).to_vec();
    let mut site = Site::with(Setup { serve, ..Setup::default() });
    let client = neighbour();
    let token = format!("Authorization: Bearer {}", site.responder_token());
    // The site's own connections have ended: their clients are gone.
    let (mut silent, mut open) = (Vec::new(), Vec::new());
    while silent.len() + open.len() < PLACES {
        match (silent.len() + open.len()) % 4 {
            0 => silent.push(tcp(site.address()).unwrap()),
            n => {
                let mut raw = Raw::connect(&site).unwrap();
                raw.shake_hands().unwrap();
                match n {
                    // Nothing follows.
                    1 => {}
                    // A head without an end, and a body without one.
                    2 => raw.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-S").unwrap(),
                    _ => {
                        let length = "Content-Length: 1000";
                        raw.send(&request(
                            "POST /api/v1/alerts HTTP/1.1",
                            &[&token, "Content-Type: application/json", length],
                            b"[",
                        ))
                        .unwrap();
                    }
                }
                open.push(raw);
            }
        }
    }
    // One more from there is one too many.
    let refused = || metric(&site, &["holdfast_connections_refused_total", "why=\"address\""], &client);
    until("more from this address are refused", SOON, || {
        let mut more = tcp(site.address()).ok()?;
        more.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        (more.read(&mut [0]).is_ok_and(|bytes| bytes == 0) && refused() > 0).then_some(())
    });
    for _ in 0..20 {
        let begun = Instant::now();
        let ready = client.get(format!("{}/readyz", site.url())).send().unwrap();
        assert!(ready.status().is_success() && begun.elapsed() < PROMPT, "others wait: {:?}", begun.elapsed());
    }
    // All of them are ended by the server.
    for mut stream in silent {
        let ended = stream.read(&mut [0; 16]);
        assert!(
            ended.as_ref().is_ok_and(|bytes| *bytes == 0)
                || ended.is_err_and(|error| error.raw_os_error() == Some(104))
        );
    }
    for mut raw in open {
        if let Some((status, text)) = raw.answer() {
            assert!(status == 400 || status == 408, "{text}");
        }
    }
    let late = metric(&site, &["holdfast_connections_unused_total", "why=\"late\""], &client);
    assert!(late >= PLACES as u64 / 2, "{late} connections were counted as late");
    until("the address is served again", SOON, || {
        site.client().get(format!("{}/readyz", site.url())).send().ok().filter(|ready| ready.status().is_success())
    });
    let said = site.stop_server().said();
    assert_eq!(said.matches("too many connections from one address").count(), 1, "{said}");
}
