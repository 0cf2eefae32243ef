//! One host: what people have set about it, what it says of itself, and how it is heard.

use maud::{Markup, html};
use wire::api::HostView;
use wire::host::{Criticality, HostMarks};

use super::hosts::{clock, connection};
use super::parts::{age, badge, command, key, time};
use super::text::shown;
use super::{Frame, Here};

/// The page.
pub fn page(frame: Frame<'_>, host: &HostView) -> Markup {
    let name = &host.facts.name;
    let main = html! {
        div.heading {
            h1 { (shown(name)) }
            p { (standing(frame, host)) " " (marks(&host.marks)) }
            p.quiet.id { (host.agent) }
        }
        section aria-labelledby="h-set" {
            h2 #h-set { "What people have set" }
            (set(frame, host))
            details {
                summary { "Change it" }
                (command(&format!(
                    "holdfast host label {0} KEY=VALUE\nholdfast host criticality {0} high\n\
                     holdfast host protect {0} --because 'WHY'", host.agent
                )))
            }
        }
        section aria-labelledby="h-heard" {
            h2 #h-heard { "How it is heard" }
            (heard(frame, host))
        }
        section aria-labelledby="h-says" {
            h2 #h-says { "What it says of itself" }
            p.quiet { "Nothing of it is proven." }
            (facts(host))
        }
    };
    super::page(frame, Here::Hosts, name, &main)
}

/// Whether the agent is there, and whether it may be.
pub fn standing(frame: Frame<'_>, host: &HostView) -> Markup {
    html! {
        @if let Some(at) = host.revoked { (badge("bad", "shut out")) " " span.quiet { (age(at, frame.now)) } }
        @else if let Some(at) = host.gone { (badge("idle", "agent removed")) " " span.quiet { (age(at, frame.now)) } }
        @else { (connection(frame, host)) }
    }
}

/// What people have set, in short.
pub fn marks(marks: &HostMarks) -> Markup {
    html! {
        @match marks.criticality {
            Some(level @ (Criticality::High | Criticality::Critical)) => { (badge("bad", level.name())) " " },
            Some(level) => { (badge("idle", level.name())) " " },
            None => {},
        }
        @if marks.protected.is_some() { (badge("busy", "never isolated")) " " }
        @for (key, value) in &marks.labels { span.quiet { (shown(&format!("{key}={value}"))) } " " }
    }
}

fn set(frame: Frame<'_>, host: &HostView) -> Markup {
    let HostMarks { criticality, labels, protected } = &host.marks;
    html! {
        dl.facts {
            dt { "Criticality" }
            dd { (criticality.map_or("not said", Criticality::name)) }
            dt { "Labels" }
            dd {
                @if labels.is_empty() { "none" }
                @for (key, value) in labels { code { (shown(&format!("{key}={value}"))) } " " }
            }
            dt { "Isolation" }
            dd {
                @match protected {
                    Some(said) => {
                        "never by automation, and by people only where two agree: " (shown(&said.because))
                        " " span.quiet { "(" (shown(&said.by)) ", " (age(said.since, frame.now)) ")" }
                    },
                    None => "as the rules say",
                }
            }
        }
    }
}

fn heard(frame: Frame<'_>, host: &HostView) -> Markup {
    html! {
        dl.facts {
            dt { "Last heard" }
            dd { @match host.last_seen { Some(at) => (age(at, frame.now)), None => "never" } }
            @if let Some(at) = host.silent {
                dt { "Silent" }
                dd { (badge("bad", "gone silent")) " found " (age(at, frame.now)) }
            }
            @if let Some(at) = host.went_back {
                dt { "Count of questions" }
                dd {
                    (badge("bad", "went back")) " " (age(at, frame.now))
                    ": its disk was set back, or somebody else has its keys"
                }
            }
            dt { "Enrolled" }
            dd { (age(host.enrolled, frame.now)) }
            dt { "Certificate until" }
            dd {
                (time(host.certificate_expires))
                @if host.certificate_expires <= frame.now { " " (badge("bad", "ended")) }
            }
            dt { "Signing key" }
            dd { (key(&host.signer)) }
        }
    }
}

fn facts(host: &HostView) -> Markup {
    let facts = &host.facts;
    let or_unknown = |text: &Option<String>| shown(text.as_deref().unwrap_or("unknown"));
    html! {
        dl.facts {
            dt { "System" }
            dd { (or_unknown(&facts.os_id)) }
            dt { "Kernel" }
            dd { (shown(&facts.kernel)) " " (shown(&facts.arch)) }
            @if facts.clock_offset_ns.is_some() { dt { "Clock" } dd { (clock(host)) } }
            dt { "Agent" }
            dd { "version " (shown(&facts.agent_version)) }
            dt { "machine-id" }
            dd { code { (or_unknown(&facts.machine_id)) } }
            dt { "Boot" }
            dd { code { (or_unknown(&facts.boot_id)) } }
            dt { "Profiles" }
            dd { @for profile in &facts.profiles { (shown(profile)) " " } }
        }
    }
}
