//! Everything that the server counts, in one list: `/metrics` says what each means, and so does docs/operating.md.

/// How it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}
use Kind::{Counter, Gauge, Histogram};

/// Name, kind and meaning.
const COUNTERS: [(&str, Kind, &str); 25] = [
    ("holdfast_agents_connected", Gauge, "agents that wait for orders at this server"),
    ("holdfast_alert_requests_refused_total", Counter, "requests with alerts that were too much, by `why`"),
    (
        "holdfast_automation_steps_total",
        Counter,
        "steps of automation at hosts of SEV1 incidents, by where they led `to`",
    ),
    ("holdfast_bundles_total", Counter, "bundles that were verified, by the `state` that came of it"),
    (
        "holdfast_connections_refused_total",
        Counter,
        "connections that were closed at once, by `why`: `all` is beyond what the limit of open files allows, `address` beyond `--connections-of-address-max`",
    ),
    (
        "holdfast_connections_unused_total",
        Counter,
        "connections that ended before their first request, by the `step` and `why`",
    ),
    ("holdfast_contradictions_total", Counter, "bundles of which two histories were signed, by `what` contradicts"),
    (
        "holdfast_custody_heads_failed_total",
        Counter,
        "custody heads that could not be written down or stamped, by where they were `to` go",
    ),
    ("holdfast_custody_heads_failing", Gauge, "1 while custody heads do not leave `to` this place"),
    ("holdfast_custody_heads_total", Counter, "custody heads that left, by where `to`"),
    ("holdfast_dead_letters_total", Counter, "requests that were kept because their alerts could not be taken in"),
    ("holdfast_deadlines_total", Counter, "deadlines of incidents that were told of or missed, by `event`"),
    ("holdfast_evidence_bytes_total", Counter, "bytes of evidence that were acknowledged"),
    ("holdfast_findings_seconds", Histogram, "how long the rules took for a bundle"),
    ("holdfast_hosts_heard_of_total", Counter, "hosts that fell silent, came back, were set back or left, by `what`"),
    ("holdfast_hosts_isolated", Gauge, "hosts that orders isolate now, at the server that leads"),
    ("holdfast_ingest_seconds", Histogram, "how long a bundle took to be verified"),
    ("holdfast_leads", Gauge, "1 at the server that does what only one should"),
    ("holdfast_objects_free_bytes", Gauge, "bytes that are free where the objects lie; absent with `--objects s3://…`"),
    ("holdfast_pages_total", Counter, "people who were told, by `channel` and `outcome`"),
    ("holdfast_probes_total", Counter, "isolated hosts that were tried from the server, by whether it `holds`"),
    (
        "holdfast_request_seconds",
        Histogram,
        "how long requests took, by `method` and `route`; long polls wait on purpose",
    ),
    ("holdfast_requests_total", Counter, "requests, by `method`, `route` and `status`"),
    (
        "holdfast_signatures_refused_total",
        Counter,
        "requests of signing sources that were not signed by them, by `why`",
    ),
    ("holdfast_spooled_files_total", Counter, "files from hosts' spools, by `outcome`"),
];

/// Says what each means, to whoever counts for this process.
pub(super) fn describe() {
    for (name, kind, meaning) in COUNTERS {
        match kind {
            Counter => metrics::describe_counter!(name, meaning),
            Gauge => metrics::describe_gauge!(name, meaning),
            Histogram => metrics::describe_histogram!(name, metrics::Unit::Seconds, meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The names in `counter!("…` and its kin, of all sources below a folder.
    fn counted(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                counted(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for kind in ["counter", "gauge", "histogram"] {
                    for after in text.split(&format!("metrics::{kind}!(")).skip(1) {
                        found.extend(after.split('"').nth(1).map(str::to_owned));
                    }
                }
            }
        }
    }

    #[test]
    fn whatever_is_counted_is_in_the_list_and_in_the_operators_page() {
        let mut found = BTreeSet::new();
        counted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let listed: BTreeSet<String> = COUNTERS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(found, listed);
        let page = include_str!("../../../docs/operating.md");
        for (name, kind, meaning) in COUNTERS {
            let row = format!("| `{name}` | {} | {meaning} |", format!("{kind:?}").to_lowercase());
            assert!(page.contains(&row), "docs/operating.md: {row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `holdfast_")).count();
        assert_eq!(rows, COUNTERS.len(), "docs/operating.md has a metric that there is not");
    }
}
