//! Which alerts belong together, and why: the reason is shown to people.
//!
//! An alert has keys: for its hosts, their exact ids, its accounts and its indicators. Two alerts correlate when a key
//! under which one is stored is among those that the other seeks, within [`WINDOW_SECS`]. A store can therefore index
//! the stored keys and look the others up, and finds exactly what [`correlates`] says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use wire::Sha256;
use wire::assessment::HostRole;

use crate::Alert;
use crate::alert::{HostIdKind, Marker};

/// How far apart two alerts of one incident may lie.
pub const WINDOW_SECS: i64 = 24 * 3600;
/// The most keys of one alert, of either kind.
pub const KEYS_MAX: usize = 64;
/// A key that is longer ends in the digest of the whole: whoever keeps keys in order has bounds of its own.
const KEY_BYTES_MAX: usize = 512;

/// Names that every host has, and that tie nothing to anything.
const COMMON: &[&str] = &[
    "-",
    "0.0.0.0",
    "127.0.0.1",
    "::",
    "::1",
    "admin",
    "administrator",
    "anonymous",
    "apache",
    "daemon",
    "default",
    "guest",
    "ip6-localhost",
    "kubernetes-admin",
    "local service",
    "localhost",
    "localhost.localdomain",
    "mysql",
    "n/a",
    "network service",
    "nginx",
    "nobody",
    "none",
    "nt authority\\local service",
    "nt authority\\network service",
    "nt authority\\system",
    "null",
    "postgres",
    "root",
    "s-1-5-18",
    "s-1-5-19",
    "s-1-5-20",
    "system",
    "system:anonymous",
    "system:unauthenticated",
    "ubuntu",
    "ec2-user",
    "unknown",
    "user",
    "www-data",
    "broadcasthost",
    "(null)",
    "<na>",
    "undefined",
    "cluster-admin",
];

/// Indicators that alerts of all kinds carry: resolvers that everybody asks, and the digests of nothing.
const COMMON_SIGNS: &[&str] = &[
    "1.0.0.1",
    "1.1.1.1",
    "8.8.4.4",
    "8.8.8.8",
    "9.9.9.9",
    "2001:4860:4860::8844",
    "2001:4860:4860::8888",
    "2606:4700:4700::1001",
    "2606:4700:4700::1111",
    "d41d8cd98f00b204e9800998ecf8427e",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];

/// Kinds of indicators that tell one intrusion from another. A path or a process name is on every host. An alert group is
/// what a product itself puts together.
const TELLING: &[&str] = &["alert_group", "ip", "domain", "url", "sha256", "sha1", "md5", "email"];

/// What ties an alert to others. Each list is sorted and at most [`KEYS_MAX`] long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Under which it is found.
    pub stored: BTreeSet<String>,
    /// Under which it finds others.
    pub sought: BTreeSet<String>,
}

impl Keys {
    /// Adds both lists, or neither where one would grow too long: else one alert would find the other and not be found.
    fn add(&mut self, part: Self) {
        if self.stored.len() + part.stored.len() <= KEYS_MAX && self.sought.len() + part.sought.len() <= KEYS_MAX {
            self.stored.extend(part.stored.into_iter().map(bounded));
            self.sought.extend(part.sought.into_iter().map(bounded));
        }
    }

    pub(crate) fn same(key: String) -> Self {
        Self { stored: BTreeSet::from([key.clone()]), sought: BTreeSet::from([key]) }
    }

    /// A full name is found under its first label by those who know only that; two full names only when they are equal.
    pub(crate) fn of_host(name: &str) -> Self {
        let name = name.trim_end_matches('.').to_lowercase();
        if !is_telling(&name) {
            return Self::default();
        }
        let mut keys = Self::same(format!("host:{name}"));
        let is_plain = name.parse::<IpAddr>().is_err() && !name.contains([':', '/']);
        match name.split_once('.') {
            Some((first, _)) if is_plain && is_telling(first) => {
                keys.stored.insert(format!("short:{first}"));
                keys.sought.insert(format!("host:{first}"));
            }
            None if is_plain => {
                keys.sought.insert(format!("short:{name}"));
            }
            _ => {}
        }
        keys
    }

    /// The key that ties the two, the same whichever way round they come.
    fn tie<'a>(&'a self, other: &'a Self) -> Option<&'a str> {
        let there = self.sought.iter().filter(|key| other.stored.contains(*key));
        let here = other.sought.iter().filter(|key| self.stored.contains(*key));
        there.chain(here).map(String::as_str).min_by_key(|key| (rank(key), *key))
    }
}

/// The keys of an alert: of its victims and sources with all their names, exact ids, accounts and telling indicators.
///
/// What every host has (`root`, `localhost`), an address of our own and a public resolver give no key. What a product
/// made up has keys of its own, so that it never meets what happened.
pub fn keys(alert: &Alert) -> Keys {
    let mut keys = Keys::default();
    for id in &alert.ids {
        keys.add(Keys::same(format!("{}:{}", kind(id.kind), id.value.to_lowercase())));
    }
    let part = |role| matches!(role, HostRole::Victim | HostRole::Source);
    for name in alert.hosts.iter().filter(|host| part(host.role)).flat_map(|host| alert.names(host)) {
        keys.add(Keys::of_host(name));
    }
    for account in alert.accounts.iter().map(|account| account.to_lowercase()).filter(|account| is_telling(account)) {
        keys.add(Keys::same(format!("account:{account}")));
    }
    for sign in alert.indicators.iter().filter(|sign| TELLING.contains(&sign.kind.as_str())) {
        let value = sign.value.to_lowercase();
        if is_telling(&value) && !is_internal(&value) && !COMMON_SIGNS.contains(&value.as_str()) {
            keys.add(Keys::same(format!("{}:{value}", sign.kind)));
        }
    }
    if alert.markers.contains(&Marker::Sample) {
        let marked = |keys: BTreeSet<String>| keys.into_iter().map(|key| format!("{SAMPLE}{key}")).collect();
        keys = Keys { stored: marked(keys.stored), sought: marked(keys.sought) };
    }
    keys
}

const SAMPLE: &str = "sample:";

/// The key, or what stands for one that is too long: the same for the same.
fn bounded(key: String) -> String {
    if key.len() <= KEY_BYTES_MAX {
        return key;
    }
    let digest = Sha256::of(key.as_bytes()).to_string();
    let kept = key.floor_char_boundary(KEY_BYTES_MAX - digest.len() - 1);
    format!("{} {digest}", key.get(..kept).unwrap_or_default())
}

/// Why two alerts with this key in common belong together, for people.
pub fn reason(key: &str, apart_secs: u64) -> String {
    let key = key.strip_prefix(SAMPLE).unwrap_or(key);
    let (kind, value) = key.split_once(':').unwrap_or(("key", key));
    let kind = if matches!(kind, "short" | "fqdn") { "host" } else { kind };
    format!("same {} {value}, {} min apart", kind.replace('_', " "), apart_secs / 60)
}

/// How sure a key is; the least is the surest, and is the one that is shown.
pub fn rank(key: &str) -> usize {
    const ORDER: &[&str] = &["agent", "instance", "host", "short", "fqdn", "account"];
    let kind = key.strip_prefix(SAMPLE).unwrap_or(key).split(':').next().unwrap_or_default();
    ORDER.iter().position(|one| *one == kind).unwrap_or(ORDER.len())
}

/// Why `b` belongs to the incident of `a`, in words; `None` when it does not. The order of the two does not matter.
pub fn correlates(a: &Alert, b: &Alert) -> Option<String> {
    tied((a, &keys(a)), (b, &keys(b)))
}

/// The same, for alerts whose keys are at hand.
pub(crate) fn tied((a, a_keys): (&Alert, &Keys), (b, b_keys): (&Alert, &Keys)) -> Option<String> {
    let apart = a.at().unix_seconds().abs_diff(b.at().unix_seconds());
    let is_near = apart <= WINDOW_SECS.unsigned_abs();
    is_near.then(|| a_keys.tie(b_keys)).flatten().map(|key| reason(key, apart))
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

const fn kind(kind: HostIdKind) -> &'static str {
    match kind {
        HostIdKind::AgentId => "agent",
        HostIdKind::Fqdn => "fqdn",
        HostIdKind::InstanceId => "instance",
    }
}

/// A resolver or a proxy of our own would tie everything to everything.
fn is_internal(value: &str) -> bool {
    match value.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            let is_carrier_grade = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 0x40;
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast()
                || is_carrier_grade
        }
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified()
                || address.is_multicast()
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
    use wire::Instant;

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
    fn names_are_found_in_full_and_in_short_and_both_ways() {
        let names = [
            "web-1",
            "web-1.corp.example",
            "web-1.lab.example",
            "WEB-1.corp.example.",
            "web-10",
            "10.0.0.1",
            "10.0.0.2",
            "pod:shop/web-1",
            "s3:web-1.logs",
            "localhost",
            "localhost.localdomain",
            "::1",
            "fd00::1",
            "",
        ];
        let ties = |a: &str, b: &str| correlates(&alert("falco", a, 0), &alert("guardduty", b, 0)).is_some();
        for a in names {
            for b in names {
                assert_eq!(ties(a, b), ties(b, a), "{a} {b}");
            }
        }
        for (a, b) in [("web-1", names[1]), ("web-1", names[2]), (names[1], names[3]), ("10.0.0.1", "10.0.0.1")] {
            assert!(ties(a, b), "{a} {b}");
        }
        for (a, b) in
            [(names[1], names[2]), ("10.0.0.1", "10.0.0.2"), ("s3:web-1", "s3:web-1.logs"), ("localhost", "localhost")]
        {
            assert!(!ties(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_resolver_an_address_of_ours_and_a_sample_tie_nothing() {
        let (mut a, mut b) = (alert("falco", "web-1", 0), alert("falco", "db-1", 1));
        for (kind, value) in [
            ("ip", "8.8.8.8"),
            ("ip", "10.0.0.53"),
            ("ip", "100.64.1.1"),
            ("ip", "0.0.0.0"),
            ("md5", "D41D8CD98F00B204E9800998ECF8427E"),
            ("process", "curl"),
        ] {
            a.indicator(kind, value);
            b.indicator(kind, value);
        }
        assert_eq!(correlates(&a, &b), None);
        a.indicator("domain", "C2.example");
        b.indicator("domain", "c2.example");
        assert_eq!(correlates(&a, &b).as_deref(), Some("same domain c2.example, 0 min apart"));
        a.markers.insert(Marker::Sample);
        assert_eq!(correlates(&a, &b), None);
        b.markers.insert(Marker::Sample);
        assert_eq!(correlates(&a, &b).as_deref(), Some("same domain c2.example, 0 min apart"));
    }

    /// Of an alert with more names than there is room for, each name is found and finds, or neither.
    #[test]
    fn keys_are_bounded_and_stay_symmetric() {
        let mut many = alert("falco", "h-0", 0);
        for n in 1..200 {
            many.host(format!("h-{n}.corp.example"), HostRole::Victim);
            many.account(format!("account-{n}"));
        }
        let all = keys(&many);
        assert!(all.stored.len() <= KEYS_MAX && all.sought.len() <= KEYS_MAX && all.stored.len() > 32);
        for n in 0..70 {
            for name in [format!("h-{n}"), format!("h-{n}.corp.example")] {
                let other = alert("guardduty", &name, 0);
                assert_eq!(correlates(&many, &other), correlates(&other, &many), "{name}");
            }
        }
    }

    #[test]
    fn a_long_key_is_bounded_and_still_its_own() {
        let of = |name: &str| {
            let mut alert = alert("falco", "h-0", 0);
            alert.account(name);
            keys(&alert).stored.into_iter().find(|key| key.starts_with("account:")).unwrap()
        };
        let long = "é".repeat(1000);
        assert!(of(&long).len() <= KEY_BYTES_MAX && of(&long) == of(&long));
        assert_ne!(of(&long), of(&format!("{long}x")));
        let longest = "a".repeat(KEY_BYTES_MAX - "account:".len());
        assert_eq!(of(&longest), format!("account:{longest}"));
        assert_ne!(of(&format!("{longest}a")), format!("account:{longest}a"));
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
