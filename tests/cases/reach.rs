//! A host that cannot dial out reaches the server through a proxy or through another host's agent. Neither opens its TLS.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use harness::{Ended, Lab, Opened, Running, Setup, Site, until};
use rustix::process::Signal;
use serde_json::Value;
use wire::ticket::Ticket;

use super::path_broken::{SOON, end, get, in_the_files_tier, incident, slow, verified};

const REPLY_WITHIN: Duration = Duration::from_secs(30);
const SECRET: &str = "a-password-of-a-proxy";

/// A port of ours that nobody listens on.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The status line that a request is answered with.
fn ask(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(REPLY_WITHIN)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap().lines().next().unwrap_or_default().to_owned()
}

/// A ticket for one upload, over the cable.
fn ticket(site: &Site, incident: &str) -> String {
    let text = site.holdfast(&["ticket", incident, "--host", "db-2", "--profile", "triage"]).expect_code(0).stdout;
    let mut ticket: Ticket = text.parse().unwrap();
    ticket.servers = vec![format!("https://{}", site.cable.address())];
    site.write("upload.ticket", ticket.to_text()).into_os_string().into_string().unwrap()
}

/// Sealed, whatever this machine did not let it read.
#[track_caller]
fn collected(ended: &Ended) {
    assert!(matches!(ended.code(), Some(0 | 3)), "{}", ended.said());
}

#[test]
fn an_agent_enrols_and_collects_through_the_relay_of_another() {
    let site = Site::new();
    let (near, at) = (site.enroll("near-1"), free());
    let relay: Running = near.start(&["relay", "--listen", &at.to_string()]);
    until("the relay listens", SOON, || TcpStream::connect(at).ok());
    let via = format!("http://{at}");

    let far = site.enroll_with("far-1", &["--proxy", &via]);
    // A proxy that the environment names is nobody's business: there is none at this address.
    let variables = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"].map(|name| format!("{name}=http://127.0.0.1:1"));
    let prefix = [&["env".to_owned()], &variables[..]].concat();
    let daemon = far.daemon_behind(&prefix);
    let incident = incident(&site);
    let order = far.dispatch(&site, &incident, "triage");
    site.await_order(&order, "completed", SOON);
    assert_eq!(verified(&site, &incident)["state"], "sealed");
    let unenrolled = site.host("unenrolled");
    let collect = |ticket: &str| unenrolled.run(&["collect", "--ticket", ticket, "--proxy", &via]);
    collected(&collect(&ticket(&site, &incident)));

    // The relay is nobody's way to anywhere else, whatever listens there.
    let elsewhere = site.address();
    let refused = ask(at, &format!("CONNECT {elsewhere} HTTP/1.1\r\nHost: {}\r\n\r\n", site.cable.address()));
    assert_eq!(refused, "HTTP/1.1 403 Forbidden");

    // Without the relay there is no way: it was the only one.
    relay.signal(Signal::TERM);
    let said = relay.wait(SOON).expect_code(0).said();
    until("nothing goes over the cable", SOON, || (site.cable.open() == 0).then_some(()));
    until("the agent says that the server is away", SOON, || {
        let status: Value = serde_json::from_str(&far.run(&["status", "--json"]).stdout).unwrap();
        status["error"].as_str().filter(|error| error.contains("cannot be reached")).map(|_| ())
    });
    collect(&ticket(&site, &incident)).expect_code(69);
    let target = site.cable.address();
    assert!(said.contains("let through peer=127.0.0.1:") && said.contains(&format!("target={target}")), "{said}");
    assert!(said.contains(&format!("it asked for {elsewhere}, which is no server")), "{said}");
    end(daemon);
}

/// A proxy that wants to know who asks: answers 407 to others, and says what it was asked for.
fn strict_proxy() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let expected = format!("Proxy-Authorization: Basic {}", BASE64_STANDARD.encode(format!("ada:{SECRET}")));
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|length| length == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let Some(target) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else { continue };
            if !head.lines().any(|line| line.eq_ignore_ascii_case(&expected)) {
                let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
                continue;
            }
            let server = TcpStream::connect(target).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    at
}

#[test]
fn a_proxy_is_told_who_asks_and_nobody_else_is() {
    let site = Site::new();
    let via = format!("http://{}", strict_proxy());
    let credentials = |content: &str, mode: u32| {
        let path = site.write("credentials", content);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let incident = incident(&site);
    let upload = ticket(&site, &incident);
    let host = site.host("db-2");
    let collect = |more: &[&str]| host.run(&[&["collect", "--ticket", &upload, "--proxy", &via], more].concat());

    let said = collect(&[]).expect_code(69).stderr;
    assert!(said.contains("proxy authorization required"), "{said}");
    let file = credentials(&format!("ada:{SECRET}-not"), 0o600);
    let said = collect(&["--proxy-credentials", &file]).expect_code(69).stderr;
    assert!(said.contains("proxy authorization required") && !said.contains(SECRET), "{said}");
    let file = credentials(&format!("ada:{SECRET}\n"), 0o644);
    let said = collect(&["--proxy-credentials", &file]).expect_code(77).stderr;
    assert!(said.contains("others may read or change it") && !said.contains(SECRET), "{said}");
    let inline = format!("http://ada:{SECRET}@127.0.0.1:1");
    let said = host.run(&["collect", "--ticket", &upload, "--proxy", &inline]).expect_code(64).said();
    assert!(said.contains("--proxy-credentials") && !said.contains(SECRET), "{said}");

    let file = credentials(&format!("ada:{SECRET}\n"), 0o600);
    let ended = collect(&["--proxy-credentials", &file]);
    collected(&ended);
    let said = ended.said();
    assert!(!said.contains(SECRET), "{said}");
    // Kept with the enrolment, where only the agent reads it, and shown nowhere.
    let host = site.enroll_with("db-3", &["--proxy", &via, "--proxy-credentials", &file]);
    std::fs::remove_file(&file).unwrap();
    let mode = std::fs::metadata(host.state().join("enrolment.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let told = host.run(&["status", "--json"]).expect_code(0).stdout;
    assert!(told.contains(&via) && !told.contains(SECRET), "{told}");
    let daemon = host.daemon();
    let order = host.dispatch(&site, &incident, "triage");
    site.await_order(&order, "completed", SOON);
    daemon.signal(Signal::TERM);
    let said = daemon.wait(SOON).expect_code(0).said();
    assert!(!said.contains(SECRET) && !said.contains(&BASE64_STANDARD.encode(format!("ada:{SECRET}"))), "{said}");
}

/// The incident's first bundle, as this server has it.
fn evidence_at(site: &Site, url: &str, incident: &str) -> Value {
    site.api_at(url, &format!("evidence?incident={incident}"))["items"][0].clone()
}

#[test]
fn the_second_server_takes_over_and_nothing_acknowledged_goes_again() {
    let Some(mut site) = Site::on_postgres() else { return };
    let (replica, lab) = (site.replica(), Lab::new());
    // At the first address somebody answers with a certificate of another CA.
    let (other, url) = (Site::new(), replica.url());
    let mut ticket: Ticket = site.holdfast(&["host", "enroll-ticket"]).expect_code(0).stdout.parse().unwrap();
    ticket.servers = vec![other.url(), site.url(), url.clone()];
    let token = site.write("three.ticket", ticket.to_text()).into_os_string().into_string().unwrap();
    let host = site.host("web-1");
    let said = host.run(&["enroll", "--token", &token, "--signers", &site.text("signers")]).expect_code(0).stderr;
    assert!(said.contains("passed over") && said.contains("somebody may stand in between"), "{said}");

    let daemon = host.daemon();
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &slow(&lab, 40, "4MiB"));
    in_the_files_tier(&site, &incident, 9 << 20);
    let told: Value = serde_json::from_str(&host.run(&["status", "--json"]).expect_code(0).stdout).unwrap();
    assert!(told["passed_over"][other.url()].as_str().is_some_and(|why| why.contains("UnknownIssuer")), "{told}");
    site.kill_server();
    let before = evidence_at(&site, &url, &incident)["bytes"].as_u64().unwrap();
    until("the order has ended at the other server", SOON, || {
        (site.api_at(&url, &format!("orders/{order}"))["state"] == "completed").then_some(())
    });
    let bundle = until("the bundle is verified", SOON, || {
        Some(evidence_at(&site, &url, &incident)).filter(|bundle| bundle["state"] != "receiving")
    });
    assert_eq!(bundle["state"], "sealed", "{bundle}");
    let metrics = site.client().get(format!("{url}/metrics")).bearer_auth(site.responder_token()).send().unwrap();
    let metrics = metrics.text().unwrap();
    let taken = metrics.lines().find_map(|line| line.strip_prefix("holdfast_evidence_bytes_total ")).unwrap();
    assert_eq!(taken.parse::<u64>().unwrap() + before, bundle["bytes"].as_u64().unwrap(), "{metrics}");

    // The long poll has moved as well.
    let login = ["login", &url, "--ca-sha256", &site.ca_sha256(), "--token", &site.text("responder.token")];
    site.holdfast(&login).expect_code(0);
    let order = host.dispatch(&site, &incident, "triage");
    until("an order of the other server is taken", SOON, || {
        (site.api_at(&url, &format!("orders/{order}"))["state"] == "completed").then_some(())
    });
    let told: Value = serde_json::from_str(&host.run(&["status", "--json"]).expect_code(0).stdout).unwrap();
    assert!(told["passed_over"][site.url()].is_string() && told["error"].is_null(), "{told}");
    daemon.signal(Signal::TERM);
    let said = daemon.wait(SOON).expect_code(0).said();
    for passed_over in [other.url(), site.url()] {
        let lines = said
            .lines()
            .filter(|line| line.contains("passed over") && line.contains(&format!("server=\"{passed_over}\"")));
        assert!(lines.count() >= 1, "{passed_over}: {said}");
    }
}

/// What makes a program of this machine believe in another time: the clock of the machine is everybody's.
const LATE: &str = "
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *at) {
    long answered = syscall(SYS_clock_gettime, clock, at);
    if (answered == 0 && clock == CLOCK_REALTIME) at->tv_sec += 600;
    return (int) answered;
}
";

#[test]
fn a_host_whose_clock_is_wrong_asks_anew_and_says_by_how_much() {
    let lab = Lab::new();
    let (source, shim) = (lab.path("late.c"), lab.path("late.so"));
    std::fs::write(&source, LATE).unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source);
    Running::start(&mut compile).wait(SOON).expect_code(0);
    // To the server it is ten minutes later than it is to the host.
    let variables = vec![("LD_PRELOAD".to_owned(), shim.into_os_string().into_string().unwrap())];
    let site = Site::with(Setup { variables, ..Setup::default() });
    let host = site.enroll("web-1");
    let daemon = host.daemon();
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, "triage");
    site.await_order(&order, "completed", SOON);
    let bundle = verified(&site, &incident);
    let facts = site.api("hosts")["items"][0]["facts"].clone();
    let offset = facts["clock_offset_ns"].as_i64().unwrap();
    assert!((590_000_000_000..610_000_000_000).contains(&offset), "{facts}");
    let listed = site.holdfast(&["host", "list"]).expect_code(0).stdout;
    assert!(listed.contains("10 min behind"), "{listed}");
    let file = get(&site, &bundle, 0);
    let mut opened = Opened::at(&file);
    let header: i64 = opened.json("bundle.json")["clock"]["server_offset_ns"].as_str().unwrap().parse().unwrap();
    assert!((590_000_000_000..610_000_000_000).contains(&header), "{header}");
    daemon.signal(Signal::TERM);
    let said = daemon.wait(SOON).expect_code(0).said();
    assert_eq!(said.matches("one of them is wrong").count(), 1, "{said}");
    assert!(said.contains("the order goes by the server's"), "{said}");
}
