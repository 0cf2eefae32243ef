//! Everything that the server answers to: one line each. The router, the OpenAPI document and the test of who may do what
//! are made of this list.

use axum::routing::on;
use serde_json::Value;
use wire::agent_api::{
    CheckpointsReply, EnrollReply, EnrollRequest, HostFacts, OrderReport, OrdersReply, RenewReply, RenewRequest,
    SPOOLED_BYTES_MAX,
};
use wire::api::{
    AlertView, AlertsReply, CancelRequest, DeadLetter, Draft, EscalationStatus, EscalationTest, EscalationTestReply,
    EvidenceView, HostView, IncidentSummary, IncidentView, Me, OrderView, Page, ReplayReply, ReplayRequest,
    RevokeRequest, TicketReply, TicketRequest,
};
use wire::assessment::{Assessment, ForensicsPlan};
use wire::case::{Action, ActionReply, HumanReport, TimelineEntry};
use wire::containment::{Approval, ConsoleReport};
use wire::custody::Leaf;
use wire::finding::FindingsReport;
use wire::host::HostMark;
use wire::hunt::{HuntRequest, HuntView};
use wire::signed::Signed;

use super::api::{
    alerts, cases, custody, escalation, events, evidence, hosts, hunts, incidents, letters, orders, triage,
};
use super::credential::Who;
use super::endpoint::Verb::{Delete, Get, Head, Options, Patch, Post, Put};
use super::endpoint::{Answer, Body, Endpoint, Header, json, properties};
use super::pages::actions;
use super::{agent, health, openapi, session, uploads};
use crate::app::alerts::ALERTS_BYTES_MAX;

/// What an alert may be sent as: each product has its own ideas.
const ANY_TEXT: &[&str] = &["application/json", "application/x-ndjson", "text/plain"];
/// An envelope around an order: the longest signed message in base64, and its signature.
const ENVELOPE_BYTES_MAX: usize = 512 << 10;
/// A mebibyte of YAML, with what JSON makes of its line ends and quotes.
const RULES_BYTES_MAX: usize = 2 << 20;
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// The preview of a containment: its lists are full, and each entry is a long one.
const REPORT_BYTES_MAX: usize = 128 << 10;
/// The longest text, with each of its characters escaped, or the ids of all alerts that are moved at once.
const ACTION_BYTES_MAX: usize = 128 << 10;
/// Facts of a host with a hundred profiles, a signing request and a proof.
const ENROLL_BYTES_MAX: usize = 64 << 10;

const RANGE: Header = Header {
    description: "One range of bytes, e.g. bytes=0-1023.",
    name: "Range",
    pattern: "^bytes=[0-9]{0,19}-[0-9]{0,19}$",
    required: false,
};
const TUS: Header = Header {
    description: "The version of the tus protocol.",
    name: "Tus-Resumable",
    pattern: r"^1\.0\.0$",
    required: true,
};
const UPLOAD_CHECKSUM: Header = Header {
    description: "sha256 and the digest of the body in base64.",
    name: "Upload-Checksum",
    pattern: "^sha256 [A-Za-z0-9+/]{43}=$",
    required: false,
};
const UPLOAD_LENGTH: Header = Header {
    description: "The length of the whole upload, once it is known.",
    name: "Upload-Length",
    pattern: "^[0-9]{1,15}$",
    required: false,
};
const UPLOAD_METADATA: Header = Header {
    description: "Keys and base64 values: bundle, incident, name, order, signer.",
    name: "Upload-Metadata",
    pattern: "^[a-z]+ [A-Za-z0-9+/=]+(,[a-z]+ [A-Za-z0-9+/=]+)*$",
    required: true,
};
const UPLOAD_OFFSET: Header = Header {
    description: "Where the body begins: what HEAD has told.",
    name: "Upload-Offset",
    pattern: "^[0-9]{1,15}$",
    required: true,
};
/// Another version, a checksum that does not match, an upload that has ended.
const TUS_ERRORS: &[u16] = &[410, 412, 460];

/// See the module.
pub static ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(Get, "/api/v1/me", Who::Person, |verb| on(verb, incidents::me), "Who the token belongs to.")
        .answers(Answer::Json(json::<Me>)),
    Endpoint::new(Post, "/api/v1/alerts", Who::Source, |verb| on(verb, alerts::receive), "Send alerts as their product made them.")
        .query(properties::<alerts::From>)
        .takes(Body::Text(ANY_TEXT), ALERTS_BYTES_MAX)
        .answers(Answer::Json(json::<AlertsReply>)),
    Endpoint::new(Get, "/api/v1/alerts", Who::Analyst, |verb| on(verb, alerts::list), "Alerts, the newest first.")
        .query(properties::<alerts::Alerts>)
        .answers(Answer::Json(json::<Page<AlertView>>)),
    Endpoint::new(Post, "/api/v1/sources/{token}/alerts", Who::Signature, |verb| on(verb, alerts::receive_signed), "Send alerts under the signature of their source.")
        .query(properties::<alerts::From>)
        .takes(Body::Text(ANY_TEXT), ALERTS_BYTES_MAX)
        .answers(Answer::Json(json::<AlertsReply>)),
    Endpoint::new(Post, "/api/v1/triage", Who::Person, |verb| on(verb, triage::assess), "What each alert is, how bad, and what to do about it. Nothing is kept.")
        .takes(Body::Text(ANY_TEXT), ALERTS_BYTES_MAX)
        .answers(Answer::Json(json::<Vec<Assessment>>)),
    Endpoint::new(Get, "/api/v1/triage/plan", Who::Person, |verb| on(verb, triage::plan), "What to collect for an incident of a type.")
        .query(properties::<triage::Plan>)
        .answers(Answer::Json(json::<ForensicsPlan>)),
    Endpoint::new(Post, "/api/v1/triage/replay", Who::Responder, |verb| on(verb, triage::replay), "What changed rules would make of past incidents. Nothing is changed.")
        .takes(Body::Json(json::<ReplayRequest>), RULES_BYTES_MAX)
        .answers(Answer::Json(json::<ReplayReply>)),
    Endpoint::new(Get, "/api/v1/dead-letters", Who::Responder, |verb| on(verb, letters::list), "Requests whose alerts could not be taken in, the newest first.")
        .query(properties::<letters::Letters>)
        .answers(Answer::Json(json::<Page<DeadLetter>>)),
    Endpoint::new(Post, "/api/v1/dead-letters/{letter}/replay", Who::Responder, |verb| on(verb, letters::replay), "Take the alerts of a dead letter in.")
        .answers(Answer::Json(json::<AlertsReply>)),
    Endpoint::new(Post, "/api/v1/reports", Who::Analyst, |verb| on(verb, alerts::report), "Report what you saw: it becomes an alert like any other.")
        .takes(Body::Json(json::<HumanReport>), ACTION_BYTES_MAX)
        .answers(Answer::Json(json::<AlertsReply>)),
    Endpoint::new(Get, "/api/v1/alerts/{alert}", Who::Analyst, |verb| on(verb, alerts::show), "An alert.")
        .answers(Answer::Json(json::<AlertView>)),
    Endpoint::new(Get, "/api/v1/alerts/{alert}/raw", Who::Analyst, |verb| on(verb, alerts::raw), "An alert's bytes as they came.")
        .answers(Answer::Bytes("application/octet-stream")),
    Endpoint::new(Get, "/api/v1/incidents", Who::Analyst, |verb| on(verb, incidents::list), "Incidents, the worst and last updated first.")
        .query(properties::<incidents::Incidents>)
        .answers(Answer::Json(json::<Page<IncidentSummary>>)),
    Endpoint::new(Get, "/api/v1/incidents/{incident}", Who::Analyst, |verb| on(verb, incidents::show), "An incident with all that belongs to it.")
        .answers(Answer::Json(json::<IncidentView>)),
    Endpoint::new(Get, "/api/v1/incidents/{incident}/events", Who::Analyst, |verb| on(verb, events::follow), "What happens in an incident, as it happens: each event's data is a LiveEvent; `reload` asks to read the incident again.")
        .answers(Answer::Bytes("text/event-stream")),
    Endpoint::new(Get, "/api/v1/incidents/{incident}/timeline", Who::Analyst, |verb| on(verb, cases::timeline), "What happened in an incident, in words, the oldest first.")
        .query(properties::<cases::Entries>)
        .answers(Answer::Json(json::<Page<TimelineEntry>>)),
    Endpoint::new(Get, "/api/v1/incidents/{incident}/drafts/{audience}", Who::Analyst, |verb| on(verb, cases::draft), "A text about an incident for somebody, to be read and mended before it is sent.")
        .answers(Answer::Json(json::<Draft>)),
    Endpoint::new(Post, "/api/v1/incidents/{incident}/actions", Who::Responder, |verb| on(verb, cases::act), "Do something to an incident: acknowledge, note, override, close, merge …")
        .takes(Body::Json(json::<Action>), ACTION_BYTES_MAX)
        .answers(Answer::Json(json::<ActionReply>)),
    Endpoint::new(Get, "/api/v1/escalation", Who::Analyst, |verb| on(verb, escalation::status), "Who can be told of incidents, and the last pages.")
        .answers(Answer::Json(json::<EscalationStatus>)),
    Endpoint::new(Post, "/api/v1/escalation/test", Who::Responder, |verb| on(verb, escalation::test), "A page over each channel of a contact, to try them out.")
        .takes(Body::Json(json::<EscalationTest>), REQUEST_BYTES_MAX)
        .answers(Answer::Json(json::<EscalationTestReply>)),
    Endpoint::new(Post, "/api/v1/incidents/{incident}/tickets", Who::Responder, |verb| on(verb, incidents::make_ticket), "A ticket for one upload of a host without an agent.")
        .takes(Body::Json(json::<TicketRequest>), REQUEST_BYTES_MAX)
        .answers(Answer::Json(json::<TicketReply>)),
    Endpoint::new(Get, "/api/v1/hosts", Who::Analyst, |verb| on(verb, hosts::list), "Hosts with an agent, in the order of their agents' ids.")
        .query(properties::<hosts::Hosts>)
        .answers(Answer::Json(json::<Page<HostView>>)),
    Endpoint::new(Post, "/api/v1/hosts/tickets", Who::Responder, |verb| on(verb, hosts::make_ticket), "A ticket for one enrolment.")
        .takes(Body::Json(json::<TicketRequest>), REQUEST_BYTES_MAX)
        .answers(Answer::Json(json::<TicketReply>)),
    Endpoint::new(Get, "/api/v1/hosts/{agent}", Who::Analyst, |verb| on(verb, hosts::show), "A host with an agent, or one that had.")
        .answers(Answer::Json(json::<HostView>)),
    Endpoint::new(Post, "/api/v1/hosts/{agent}/marks", Who::Responder, |verb| on(verb, hosts::mark), "Set something about a host: labels, how much hangs on it, that it is never isolated.")
        .takes(Body::Json(json::<HostMark>), REQUEST_BYTES_MAX)
        .answers(Answer::Json(json::<HostView>)),
    Endpoint::new(Post, "/api/v1/hosts/{agent}/revoke", Who::Responder, |verb| on(verb, hosts::revoke), "Shut a host out: its certificates count no more, and its key vouches for nothing from now on.")
        .takes(Body::Json(json::<RevokeRequest>), REQUEST_BYTES_MAX)
        .answers(Answer::Json(json::<HostView>)),
    Endpoint::new(Post, "/api/v1/tickets/{ticket}/revoke", Who::Responder, |verb| on(verb, incidents::revoke_ticket), "End a ticket before its time. What came with it stays.")
        .takes(Body::Json(json::<RevokeRequest>), REQUEST_BYTES_MAX),
    Endpoint::new(Post, "/api/v1/orders", Who::Responder, |verb| on(verb, orders::dispatch), "Dispatch a signed order to its agent: a collection, or a containment.")
        .takes(Body::Json(json::<Signed>), ENVELOPE_BYTES_MAX)
        .answers(Answer::Json(json::<OrderView>)),
    Endpoint::new(Post, "/api/v1/hunts", Who::Responder, |verb| on(verb, hunts::begin), "Begin a hunt: one profile over many hosts. Its orders follow.")
        .takes(Body::Json(json::<HuntRequest>), REQUEST_BYTES_MAX)
        .answers(Answer::Json(json::<HuntView>)),
    Endpoint::new(Get, "/api/v1/hunts", Who::Analyst, |verb| on(verb, hunts::list), "The last hunts, the newest first.")
        .query(properties::<hunts::Hunts>)
        .answers(Answer::Json(json::<Page<HuntView>>)),
    Endpoint::new(Get, "/api/v1/hunts/{hunt}", Who::Analyst, |verb| on(verb, hunts::show), "A hunt, its hosts, and where each order stands.")
        .answers(Answer::Json(json::<HuntView>)),
    Endpoint::new(Post, "/api/v1/hunts/{hunt}/orders", Who::Responder, |verb| on(verb, hunts::add_order), "A signed order of a hunt, which waits for its turn.")
        .query(properties::<hunts::Wave>)
        .takes(Body::Json(json::<Signed>), ENVELOPE_BYTES_MAX)
        .answers(Answer::Json(json::<OrderView>)),
    Endpoint::new(Post, "/api/v1/hunts/{hunt}/start", Who::Responder, |verb| on(verb, hunts::start), "All orders of the hunt are there.")
        .answers(Answer::Json(json::<HuntView>)),
    Endpoint::new(Post, "/api/v1/hunts/{hunt}/cancel", Who::Responder, |verb| on(verb, hunts::cancel), "End a hunt: what no agent has yet, none gets.")
        .takes(Body::Json(json::<RevokeRequest>), REQUEST_BYTES_MAX)
        .answers(Answer::Json(json::<HuntView>)),
    Endpoint::new(Get, "/api/v1/orders/{order}", Who::Analyst, |verb| on(verb, orders::show), "An order and what became of it.")
        .answers(Answer::Json(json::<OrderView>)),
    Endpoint::new(Get, "/api/v1/orders/{order}/signed", Who::Analyst, |verb| on(verb, orders::signed), "An order under its signature: the exact bytes that an approval signs.")
        .answers(Answer::Json(json::<Signed>)),
    Endpoint::new(Post, "/api/v1/orders/{order}/approvals", Who::Responder, |verb| on(verb, orders::approve), "Approve a containment order: one more signature over its bytes, in the namespace holdfast-contain.")
        .takes(Body::Json(json::<Approval>), REQUEST_BYTES_MAX)
        .answers(Answer::Json(json::<OrderView>)),
    Endpoint::new(Post, "/api/v1/orders/{order}/cancel", Who::Responder, |verb| on(verb, orders::cancel), "Take an order back before an agent has it.")
        .takes(Body::Json(json::<CancelRequest>), REQUEST_BYTES_MAX)
        .answers(Answer::Json(json::<OrderView>)),
    Endpoint::new(Get, "/api/v1/evidence", Who::Analyst, |verb| on(verb, evidence::list), "Bundles, the newest first.")
        .query(properties::<evidence::Bundles>)
        .answers(Answer::Json(json::<Page<EvidenceView>>)),
    Endpoint::new(Get, "/api/v1/evidence/{bundle}", Who::Analyst, |verb| on(verb, evidence::show), "A bundle.")
        .answers(Answer::Json(json::<EvidenceView>)),
    Endpoint::new(Get, "/api/v1/evidence/{bundle}/content", Who::Analyst, |verb| on(verb, evidence::content), "A bundle's bytes. Each download is in custody.")
        .query(properties::<evidence::View>)
        .headers(&[RANGE], &[416])
        .answers(Answer::Ranges(&["application/zip", "application/octet-stream"])),
    Endpoint::new(Get, "/api/v1/evidence/{bundle}/stream", Who::Analyst, |verb| on(verb, evidence::stream), "The transport checkpoints that lie beside a bundle, one a line.")
        .answers(Answer::Bytes("application/x-ndjson")),
    Endpoint::new(Get, "/api/v1/evidence/{bundle}/receipts", Who::Analyst, |verb| on(verb, evidence::receipts), "The signed receipts of a bundle, one a line.")
        .answers(Answer::Bytes("application/x-ndjson")),
    Endpoint::new(Get, "/api/v1/evidence/{bundle}/items", Who::Analyst, |verb| on(verb, evidence::items), "Item records of a verified bundle, in the order of their ids.")
        .query(properties::<evidence::Items>)
        .answers(Answer::Json(json::<Page<Value>>)),
    Endpoint::new(Get, "/api/v1/evidence/{bundle}/findings", Who::Analyst, |verb| on(verb, evidence::findings), "What the rules made of a verified bundle, the worst first.")
        .answers(Answer::Json(json::<FindingsReport>)),
    Endpoint::new(Post, "/api/v1/evidence/{bundle}/findings", Who::Analyst, |verb| on(verb, evidence::apply_rules), "Apply the rules to a verified bundle once more, as they are now.")
        .answers(Answer::Json(json::<FindingsReport>)),
    Endpoint::new(Get, "/api/v1/signers", Who::Analyst, |verb| on(verb, custody::signers), "The allowed_signers lines of the server and of all agents.")
        .answers(Answer::Bytes("text/plain")),
    Endpoint::new(Get, "/api/v1/custody", Who::Analyst, |verb| on(verb, custody::list), "Leaves of the custody log, the oldest first.")
        .query(properties::<custody::Leaves>)
        .answers(Answer::Json(json::<Page<Leaf>>)),
    Endpoint::new(Get, "/api/v1/custody/export", Who::Analyst, |verb| on(verb, custody::export), "All leaves of the custody log and its signed head, one CustodyLine a line.")
        .answers(Answer::Bytes("application/x-ndjson")),
    Endpoint::new(Get, "/api/v1/openapi.json", Who::Open, |verb| on(verb, openapi::show), "This document.")
        .answers(Answer::Json(json::<Value>)),
    Endpoint::new(Post, "/sign-in", Who::Browser, |verb| on(verb, session::sign_in), "A browser signs in.")
        .takes(Body::Form(json::<session::SignIn>), REQUEST_BYTES_MAX)
        .answers(Answer::Nothing(303)),
    Endpoint::new(Post, "/sign-out", Who::Browser, |verb| on(verb, session::sign_out), "A browser signs out.")
        .answers(Answer::Nothing(303)),
    Endpoint::new(Post, "/incidents/{incident}/actions", Who::Responder, |verb| on(verb, actions::act), "A browser's form: an Action, and back to the incident.")
        .takes(Body::Form(json::<Action>), ACTION_BYTES_MAX)
        .answers(Answer::Nothing(303)),
    Endpoint::new(Post, "/report", Who::Analyst, |verb| on(verb, actions::report), "A browser's form: a HumanReport, and on to its incident.")
        .takes(Body::Form(json::<HumanReport>), ACTION_BYTES_MAX)
        .answers(Answer::Nothing(303)),
    Endpoint::new(Post, "/escalation/test", Who::Responder, |verb| on(verb, actions::test), "A browser's form: an EscalationTest, and back to the page.")
        .takes(Body::Form(json::<EscalationTest>), REQUEST_BYTES_MAX)
        .answers(Answer::Nothing(303)),
    Endpoint::new(Options, "/api/v1/uploads", Who::Open, |verb| on(verb, uploads::options), "What of tus 1.0.0 the server understands."),
    Endpoint::new(Post, "/api/v1/uploads", Who::Upload, |verb| on(verb, uploads::create), "Begin an upload (tus creation), or find the one that is there for this bundle.")
        .query(properties::<uploads::To>)
        .headers(&[TUS, UPLOAD_LENGTH, UPLOAD_METADATA], TUS_ERRORS)
        .answers(Answer::Nothing(201)),
    Endpoint::new(Head, "/api/v1/uploads/{upload}", Who::Upload, |verb| on(verb, uploads::status), "How far an upload is.")
        .headers(&[TUS], TUS_ERRORS)
        .answers(Answer::Nothing(200)),
    Endpoint::new(Options, "/api/v1/uploads/{upload}", Who::Open, |verb| on(verb, uploads::options_of), "What of tus 1.0.0 the server understands."),
    Endpoint::new(Patch, "/api/v1/uploads/{upload}", Who::Upload, |verb| on(verb, uploads::append), "The next bytes of an upload.")
        .takes(Body::Bytes("application/offset+octet-stream"), uploads::PATCH_BYTES_MAX)
        .headers(&[TUS, UPLOAD_OFFSET, UPLOAD_LENGTH, UPLOAD_CHECKSUM], TUS_ERRORS),
    Endpoint::new(Patch, "/api/v1/uploads/{upload}/spooled", Who::Agent, |verb| on(verb, uploads::append_spooled), "Bytes of an upload that waited on their host: an age file to the server's spool recipient.")
        .takes(Body::Bytes("application/octet-stream"), SPOOLED_BYTES_MAX)
        .headers(&[TUS, UPLOAD_OFFSET], TUS_ERRORS),
    Endpoint::new(Delete, "/api/v1/uploads/{upload}", Who::Upload, |verb| on(verb, uploads::end), "End an upload before its length. What came is kept.")
        .headers(&[TUS], TUS_ERRORS),
    Endpoint::new(Post, "/api/v1/uploads/{upload}/checkpoints", Who::Upload, |verb| on(verb, uploads::add_checkpoints), "Transport checkpoints, one a line, each answered with a signed receipt.")
        .takes(Body::Text(&["application/x-ndjson"]), uploads::CHECKPOINTS_BYTES_MAX)
        .answers(Answer::Json(json::<CheckpointsReply>)),
    Endpoint::new(Post, "/agent/v1/enroll", Who::Open, |verb| on(verb, agent::enroll), "Enrol a host, with a ticket.")
        .takes(Body::Json(json::<EnrollRequest>), ENROLL_BYTES_MAX)
        .answers(Answer::Json(json::<EnrollReply>)),
    Endpoint::new(Post, "/agent/v1/renew", Who::Agent, |verb| on(verb, agent::renew), "A new certificate for a running agent.")
        .takes(Body::Json(json::<RenewRequest>), REQUEST_BYTES_MAX)
        .answers(Answer::Json(json::<RenewReply>)),
    Endpoint::new(Put, "/agent/v1/host", Who::Agent, |verb| on(verb, agent::put_facts), "What a host says of itself.")
        .takes(Body::Json(json::<HostFacts>), ENROLL_BYTES_MAX),
    Endpoint::new(Get, "/agent/v1/orders", Who::Agent, |verb| on(verb, agent::orders), "The orders that wait for the agent, those of containment first; a long poll.")
        .query(properties::<agent::Question>)
        .answers(Answer::Json(json::<OrdersReply>)),
    Endpoint::new(Post, "/agent/v1/orders/{order}/events", Who::Agent, |verb| on(verb, agent::report), "What became of an order.")
        .takes(Body::Json(json::<OrderReport>), REPORT_BYTES_MAX),
    Endpoint::new(Post, "/agent/v1/containments", Who::Agent, |verb| on(verb, agent::report_console), "What root did at the host's console, without an order.")
        .takes(Body::Json(json::<ConsoleReport>), REPORT_BYTES_MAX),
    Endpoint::new(Post, "/agent/v1/leave", Who::Agent, |verb| on(verb, agent::leave), "The agent is removed from its host: its certificates end, and a new ticket lets it in again."),
    Endpoint::new(Get, "/ca.pem", Who::Open, |verb| on(verb, health::ca), "The CA's certificate; its digest stands in each ticket.")
        .answers(Answer::Bytes("application/x-pem-file")),
    Endpoint::new(Get, "/healthz", Who::Open, |verb| on(verb, health::alive), "The process answers."),
    Endpoint::new(Get, "/readyz", Who::Open, |verb| on(verb, health::ready), "The records and the objects answer."),
    Endpoint::new(Get, "/metrics", Who::Person, |verb| on(verb, health::metrics), "Counters in Prometheus's text format.")
        .answers(Answer::Bytes("text/plain")),
];
