//! What each page must hold, and what must not break out of it.

use super::samples::{HOSTILE, frame, me, now};
use maud::Markup;
use wire::api::{ErrorBody, EvidenceState, EvidenceView, Page, SignerTrust};

use super::evidence::{Search, Shown};
use super::{
    SCRIPT, STYLE, board, custody, draft, escalation, evidence, host, hosts, hunts, incident, problem, report, samples,
    sign_in,
};

fn evidence_page(state: EvidenceState) -> String {
    page_of_evidence(&samples::evidence(state))
}

fn page_of_evidence(evidence: &EvidenceView) -> String {
    let complete = evidence.state == EvidenceState::Sealed;
    let (coverage, footprint) = (samples::coverage(), samples::footprint());
    let shown = Shown {
        coverage: complete.then_some(&coverage),
        evidence,
        findings: None,
        footprint: complete.then_some(&footprint),
        unread: 0,
        items: &samples::items(),
        search: &Search { q: "a&\"b".into(), ..Search::default() },
    };
    evidence::page(frame(&me()), &shown).into_string()
}

#[test]
fn of_what_is_encrypted_nothing_is_claimed() {
    let mut sealed = samples::evidence(EvidenceState::Sealed);
    (sealed.encrypted, sealed.name) = (true, "db-1_20261121T030000Z_0a1b2c3d.evidence.zip.age".into());
    let page = page_of_evidence(&sealed);
    let name = "db-1_20261121T030000Z_0a1b2c3d.evidence.zip";
    holds(
        &page,
        &[
            "This server has none of them",
            "no rules were applied",
            &format!("holdfast evidence open {name}.age --identity KEY"),
            &format!("age -d -i KEY {name}.age &gt; {name}"),
            &format!("unzip -q {name} -d D"),
            "Held by this server since",
        ],
    );
    for absent in ["id=\"coverage\"", "id=\"items\"", "id=\"findings\"", "nothing in it was changed"] {
        assert!(!page.contains(absent), "{absent}");
    }
    sealed.state = EvidenceState::Partial;
    let page = page_of_evidence(&sealed);
    assert!(page.contains("head -c $(jq .zip_offset sc.json)") && !page.contains("Bounded view"));
}

fn incident_page() -> String {
    incident::page(frame(&me()), &samples::incident(), &samples::timeline()).into_string()
}

fn holds(page: &str, wanted: &[&str]) {
    for text in wanted {
        assert!(page.contains(text), "{text:?} is not in {page}");
    }
}

fn all_pages() -> Vec<(&'static str, String)> {
    let (me, text) = (me(), Markup::into_string);
    let frame = frame(&me);
    let nothing = Page { items: Vec::new(), next: None };
    let nowhere = ErrorBody {
        code: "not_found".into(),
        hint: Some("look at the board".into()),
        message: format!("there is no incident {HOSTILE}"),
    };
    let connected = Page { items: vec![samples::host("db-1", true), samples::host("web-1", false)], next: None };
    let nothing_there = Page { items: Vec::new(), next: Some("web-1".into()) };
    let marked = samples::marked_host();
    let leaves = Page { items: samples::leaves(), next: Some("133".into()) };
    let id = "INC-2026-0007".parse().unwrap();
    vec![
        ("sign-in", text(sign_in::page(now(), "/incidents/INC-2026-0007", Some("this token lets nobody in")))),
        ("board", text(board::page(frame, &samples::board(), &samples::contained(), "https://ir.example:8443", false))),
        (
            "board-empty",
            text(board::page(frame, &nothing, &board::Contained::default(), "https://ir.example:8443", false)),
        ),
        ("incident", incident_page()),
        ("hosts", text(hosts::page(frame, &connected, "", false))),
        ("hosts-narrowed", text(hosts::page(frame, &nothing_there, "env=prod", true))),
        ("host", text(host::page(frame, &marked))),
        ("hunts", text(hunts::list(frame, &Page { items: vec![samples::hunt()], next: None }))),
        ("hunts-none", text(hunts::list(frame, &Page { items: Vec::new(), next: None }))),
        ("hunt", text(hunts::page(frame, &samples::hunt()))),
        ("custody", text(custody::page(frame, &leaves, samples::head(), Some(&id), true))),
        ("escalation", text(escalation::page(frame, &samples::escalation()))),
        ("report", text(report::page(frame, &["ransomware", "phishing_attempt"]))),
        ("draft", text(draft::page(frame, &id, &samples::draft()))),
        ("not-found", text(problem::page(frame, &nowhere))),
        ("evidence-sealed", evidence_page(EvidenceState::Sealed)),
        ("evidence-receiving", evidence_page(EvidenceState::Receiving)),
        ("evidence-partial", evidence_page(EvidenceState::Partial)),
        ("evidence-unverified", evidence_page(EvidenceState::Unverified)),
        ("evidence-rejected", evidence_page(EvidenceState::Rejected)),
    ]
}

#[test]
fn nothing_hostile_breaks_out_and_nothing_is_inline() {
    for (name, page) in all_pages() {
        assert_eq!(page.matches("<script").count(), 1, "{name}: one script, ours");
        for never in ["alert(1)<", " onload=\"", " onclick", " style=", "<style", "javascript:", "\u{1b}", "\u{202e}"] {
            assert!(!page.contains(never), "{name}: {never:?} in {page}");
        }
    }
    let board =
        board::page(frame(&me()), &samples::board(), &samples::contained(), "https://ir.example", false).into_string();
    holds(
        &board,
        &["&lt;script&gt;alert(1)", "<span class=\"unseen\">\\u{202e}</span>", "mail<span class=\"unseen\">"],
    );
}

#[test]
fn pages_have_landmarks_labels_and_one_heading() {
    for (name, page) in all_pages() {
        holds(&page, &["<html lang=\"en\">", "<main id=\"main\"", "href=\"#main\"", "<title>", "<header", "<footer>"]);
        assert_eq!(page.matches("<h1").count(), 1, "{name}");
        assert_eq!(
            page.matches("<th").count(),
            page.matches("scope=\"").count() + page.matches("<thead").count(),
            "{name}"
        );
        let labels = page.matches("<label").count() + page.matches("aria-label=\"Choose").count();
        let fields: usize = ["<input", "<select", "<textarea"].map(|field| page.matches(field).count()).iter().sum();
        let inputs = fields - page.matches("type=\"hidden\"").count();
        assert_eq!(labels, inputs, "{name}: each field has a label");
    }
}

#[test]
fn the_incident_says_what_it_is_why_and_what_to_do() {
    holds(
        &incident_page(),
        &[
            "SEV1",
            "critical",
            "trigger ransom note",
            "README_RESTORE.txt",
            "provisional SEV1",
            "platform team",
            "holdfast dispatch INC-2026-0007 --host db-1 --profile ransomware --follow",
            "holdfast ticket INC-2026-0007 --host app-3.example.com &gt; ticket",
            "Guidance, not legal advice",
            "Containment that triage proposes",
            "board chair",
            "15 minutes",
            "the same host db-1 within 24 h",
            "/raw\"",
            "data-step=\"memory\" class=\"is-running\"",
            "1,842",
            "the policy of this host allows only",
            "The agent died in the run",
            "A bundle of db-1 was sealed.",
        ],
    );
    let address = "<a class=\"title\" href=\"/evidence/";
    assert_eq!(incident_page().matches(address).count(), 4);
}

#[test]
fn a_responder_may_act_and_an_analyst_reads() {
    let page = incident_page();
    for action in ["acknowledge", "phase", "assign", "override", "close", "anchor", "decide", "submit", "note", "merge"]
    {
        holds(&page, &[&format!("name=\"do\" value=\"{action}\"")]);
    }
    holds(&page, &["value=\"split\"", "name=\"edit\" value=\"019c0000-0000-7000-8000-0000000000e1\"", "2 min late"]);
    let mut analyst = me();
    analyst.role = wire::api::Role::Analyst;
    let page = incident::page(frame(&analyst), &samples::incident(), &[]).into_string();
    assert!(!page.contains("/actions") && page.contains("Checklist"), "{page}");
    let mut merged = samples::incident();
    merged.case.merged_into = Some("INC-2026-0001".parse().unwrap());
    let page = incident::page(frame(&me()), &merged, &[]).into_string();
    assert!(page.contains("href=\"/incidents/INC-2026-0001\"") && !page.contains("value=\"note\""), "{page}");
}

#[test]
fn a_hostile_host_gets_into_no_command() {
    let mut view = samples::incident();
    view.assessment.hosts = samples::from(serde_json::json!([{"name": "$(reboot)", "role": "victim"}]));
    view.assessment.evidence_plan.profile = "x; reboot".into();
    let page = incident::page(frame(&me()), &view, &[]).into_string();
    let commands: String = page.split("<pre").skip(1).filter_map(|rest| rest.split("</pre>").next()).collect();
    assert!(!commands.contains("reboot"), "{commands}");
    holds(&commands, &["holdfast ticket INC-2026-0007 &gt; ticket", "--host db-1 --profile triage"]);
}

#[test]
fn evidence_says_how_far_it_is_proven() {
    let sealed = evidence_page(EvidenceState::Sealed);
    holds(
        &sealed,
        &[
            "Nothing",
            "SHA256:",
            "enrolled agent",
            "Held by this server since",
            "receipt for",
            "412,316,860",
            "That the kernel told the truth.",
            "bytes_max of 64 MiB",
            "timed out",
            "Peak memory",
            "ssh-keygen -Y verify",
            "a&amp;&quot;b",
            "?q=a%26%22b&amp;after=7#items",
            "allowed_signers",
        ]
        .map(|text| if text == "Nothing" { "nothing in it was changed after it was signed" } else { text }),
    );
    assert!(!sealed.contains("Bounded view") && !sealed.contains("proves nothing"));

    let partial = evidence_page(EvidenceState::Partial);
    holds(
        &partial,
        &["edge-partial", "<strong>Partial.</strong>", "proves nothing", "Not sealed.", "Bounded view", "16,777,216"],
    );
    let rejected = evidence_page(EvidenceState::Rejected);
    holds(
        &rejected,
        &[
            "edge-rejected",
            "<strong>Rejected.</strong>",
            "is no evidence",
            "digest_mismatch",
            "refuted",
            "anybody may have made it",
        ],
    );
    let unverified = evidence_page(EvidenceState::Unverified);
    holds(
        &unverified,
        &["<strong>Unverified.</strong>", "Nothing in it is proven", "It names no key.", "without a receipt"],
    );
    for page in [partial, rejected, unverified] {
        assert!(!page.contains("nothing in it was changed"));
    }
}

#[test]
fn a_seal_by_a_key_that_nobody_knows_is_said_aloud() {
    let mut view = samples::incident();
    let mut bundle = samples::evidence(EvidenceState::Sealed);
    bundle.trust = Some(SignerTrust::Unenrolled);
    view.evidence = vec![bundle.clone()];
    let incident = incident::page(frame(&me()), &view, &[]).into_string();
    holds(&incident, &["<span class=\"badge warn\">unenrolled host's key</span>"]);
    bundle.trust = Some(SignerTrust::Unknown);
    let (items, search) = (samples::items(), Search::default());
    let shown = Shown {
        coverage: None,
        evidence: &bundle,
        findings: None,
        footprint: None,
        items: &items,
        search: &search,
        unread: 2,
    };
    let page = evidence::page(frame(&me()), &shown).into_string();
    holds(&page, &["anybody could have made it", "2 more records"]);
}

#[test]
fn the_first_alert_is_explained_where_there_is_none() {
    let nothing = Page { items: Vec::new(), next: None };
    let page = board::page(frame(&me()), &nothing, &board::Contained::default(), "https://ir.example:8443", false)
        .into_string();
    holds(&page, &["No incidents yet", "holdfast alert send", "https://ir.example:8443/api/v1/alerts?source=falco"]);
}

#[test]
fn custody_shows_its_head_and_where_it_goes_on() {
    let leaves = Page { items: samples::leaves(), next: Some("133".into()) };
    let id = "INC-2026-0007".parse().unwrap();
    let page = custody::page(frame(&me()), &leaves, samples::head(), Some(&id), false).into_string();
    holds(
        &page,
        &["134", &"f".repeat(64), "alert received", "/custody?incident=INC-2026-0007&amp;after=133", "custody/export"],
    );
}

/// Writes the pages with their style beside them, for a browser: `HOLDFAST_PAGES=DIR cargo test -p holdfast-server
/// pages_to_look_at -- --ignored`.
#[test]
#[ignore = "writes files to look at"]
fn pages_to_look_at() {
    let Some(folder) = std::env::var_os("HOLDFAST_PAGES").map(std::path::PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("style.css"), STYLE.body).unwrap();
    std::fs::write(folder.join("live.js"), SCRIPT.body).unwrap();
    for (name, page) in all_pages() {
        let page = page.replace(&STYLE.path, "style.css").replace(&SCRIPT.path, "live.js");
        std::fs::write(folder.join(format!("{name}.html")), page).unwrap();
    }
}
