//! Which alerts belong together, and why: the reason is shown to people.

use std::net::IpAddr;

use wire::assessment::{Host, HostRole};

use crate::Alert;
use crate::alert::{HostIdKind, Marker};

/// How far apart two alerts of one incident may lie.
pub const WINDOW_SECS: i64 = 24 * 3600;

/// Names that every host has, and that tie nothing to anything.
const COMMON: &[&str] = &["localhost", "127.0.0.1", "::1", "0.0.0.0", "unknown", "root", "system", "nobody", "-"];

/// Why `b` belongs to the incident of `a`, in words; `None` when it does not. The order of the two does not matter.
///
/// The same exact id, victim, account or indicator within [`WINDOW_SECS`]. An account that every host has (`root`) ties
/// nothing, nor does an alert that its product made up.
pub fn correlates(a: &Alert, b: &Alert) -> Option<String> {
    let apart = a.at().unix_seconds().abs_diff(b.at().unix_seconds());
    if apart > WINDOW_SECS.unsigned_abs() || is_sample(a) != is_sample(b) {
        return None;
    }
    let reason =
        same_id(a, b).or_else(|| same_host(a, b)).or_else(|| same_account(a, b)).or_else(|| same_sign(a, b))?;
    Some(format!("{reason}, {} min apart", apart / 60))
}

/// True when they are the same alert: the same record of the same product, or the same bytes.
pub fn is_duplicate(a: &Alert, b: &Alert) -> bool {
    a.raw_sha256 == b.raw_sha256 || (a.product == b.product && a.source_ref.is_some() && a.source_ref == b.source_ref)
}

/// True when neither can be the other's echo: another product, another ingest token, another record. Tokens that nobody
/// noted (a file on the command line) are not held against them.
pub fn are_independent(a: &Alert, b: &Alert) -> bool {
    let tokens_differ = match (&a.ingest_token, &b.ingest_token) {
        (Some(a), Some(b)) => a != b,
        _ => true,
    };
    a.product != b.product && tokens_differ && !is_duplicate(a, b)
}

fn is_sample(alert: &Alert) -> bool {
    alert.markers.contains(&Marker::Sample)
}

fn same_id(a: &Alert, b: &Alert) -> Option<String> {
    let id = a.ids.iter().find(|id| b.ids.contains(id))?;
    Some(format!("same {} {}", kind(id.kind), id.value))
}

const fn kind(kind: HostIdKind) -> &'static str {
    match kind {
        HostIdKind::AgentId => "agent",
        HostIdKind::Fqdn => "host",
        HostIdKind::InstanceId => "instance",
    }
}

fn same_host(a: &Alert, b: &Alert) -> Option<String> {
    let part = |host: &&Host| matches!(host.role, HostRole::Victim | HostRole::Source);
    a.hosts.iter().filter(part).find_map(|one| {
        b.hosts.iter().filter(part).find_map(|other| {
            let name = shared_name(a.names(one), &b.names(other))?;
            Some(match (one.role, other.role) {
                (HostRole::Victim, HostRole::Victim) => format!("same host {name}"),
                _ => format!("{name} is the victim of one and the source of the other"),
            })
        })
    })
}

/// The name that two hosts have in common, in its shorter form.
pub(crate) fn shared_name<'a>(
    one: impl Iterator<Item = &'a str>,
    other: &(impl Iterator<Item = &'a str> + Clone),
) -> Option<&'a str> {
    one.filter(|name| is_telling(name)).find_map(|name| {
        let same = other.clone().find(|other| is_same_name(name, other))?;
        // The same text whichever way round they come.
        Some(std::cmp::min_by_key(name, same, |name| (name.len(), *name)))
    })
}

/// A short name and a full one are the same host; two full names only when they are equal.
fn is_same_name(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_end_matches('.').to_ascii_lowercase(), b.trim_end_matches('.').to_ascii_lowercase());
    let is_address = |name: &str| name.parse::<IpAddr>().is_ok();
    let is_short_of = |short: &str, full: &str| {
        !short.contains('.') && !is_address(full) && full.split_once('.').is_some_and(|(first, _)| first == short)
    };
    a == b || is_short_of(&a, &b) || is_short_of(&b, &a)
}

fn same_account(a: &Alert, b: &Alert) -> Option<String> {
    let account = a
        .accounts
        .iter()
        .filter(|name| is_telling(name))
        .find(|one| b.accounts.iter().any(|other| other.eq_ignore_ascii_case(one)))?;
    Some(format!("same account {}", account.to_lowercase()))
}

fn same_sign(a: &Alert, b: &Alert) -> Option<String> {
    // A path or a process name is on every host; these are not.
    let telling = ["ip", "domain", "url", "sha256", "sha1", "md5", "email"];
    let sign = a.indicators.iter().find(|one| {
        telling.contains(&one.kind.as_str())
            && is_telling(&one.value)
            && !is_internal(&one.value)
            && b.indicators.contains(one)
    })?;
    Some(format!("same {} {}", sign.kind, sign.value))
}

/// A resolver or a proxy of our own would tie everything to everything.
fn is_internal(value: &str) -> bool {
    match value.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_private() || address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => false,
    }
}

fn is_telling(name: &str) -> bool {
    !name.is_empty() && !COMMON.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Instant, Sha256};

    fn alert(product: &str, host: &str, at_secs: i64) -> Alert {
        let mut alert = Alert::empty(product);
        alert.host(host, HostRole::Victim);
        alert.occurred_at = Some(Instant(i128::from(at_secs) * 1_000_000_000));
        alert.raw_sha256 = Sha256::of(format!("{product}{host}{at_secs}").as_bytes());
        alert
    }

    #[test]
    fn the_same_host_ties_within_the_window_and_says_so() {
        let (a, b) = (alert("falco", "web-1", 0), alert("guardduty", "WEB-1.eu-west-1.compute.internal", 600));
        assert_eq!(correlates(&a, &b).as_deref(), Some("same host web-1, 10 min apart"));
        assert_eq!(correlates(&a, &b), correlates(&b, &a));
        assert!(correlates(&a, &alert("guardduty", "web-1", WINDOW_SECS)).is_some());
        assert!(correlates(&a, &alert("guardduty", "web-1", WINDOW_SECS + 1)).is_none());
        assert!(correlates(&a, &alert("guardduty", "web-10", 600)).is_none());
    }

    #[test]
    fn what_every_host_has_ties_nothing() {
        let (mut a, mut b) = (alert("falco", "web-1", 0), alert("falco", "db-1", 1));
        a.account("root");
        b.account("root");
        a.indicator("path", "/usr/bin/sh");
        b.indicator("path", "/usr/bin/sh");
        assert_eq!(correlates(&a, &b), None);
        b.account("svc_backup");
        a.account("SVC_BACKUP");
        assert_eq!(correlates(&a, &b).as_deref(), Some("same account svc_backup, 0 min apart"));
    }

    #[test]
    fn an_echo_is_not_independent() {
        let (mut a, mut b) = (alert("falco", "web-1", 0), alert("guardduty", "web-1", 1));
        assert!(are_independent(&a, &b));
        (a.ingest_token, b.ingest_token) = (Some("t1".into()), Some("t1".into()));
        assert!(!are_independent(&a, &b));
        b.ingest_token = Some("t2".into());
        assert!(are_independent(&a, &b));
        b.product = "falco".into();
        assert!(!are_independent(&a, &b));
        (a.source_ref, b.source_ref) = (Some("1".into()), Some("1".into()));
        assert!(is_duplicate(&a, &b));
    }
}
