//! What the run cost the host, said in the bundle: `data/footprint.json`.

use std::time::{Duration, Instant as Monotonic};

use serde_json::{Map, Value, json};
use wire::Tier;

use super::limits::cpu_time;
use crate::host::Host;

/// Taken at the start of a run, added to at the end of each tier.
pub struct Footprint {
    started: Monotonic,
    cpu: Duration,
    cached: Option<u64>,
    tiers: Map<String, Value>,
}

impl Footprint {
    /// Begins to measure.
    pub fn begin(host: &Host) -> Self {
        Self { started: Monotonic::now(), cpu: cpu_time(), cached: page_cache(host), tiers: Map::new() }
    }

    /// A tier was completed in this time.
    pub fn tier(&mut self, tier: Tier, took: Duration) {
        self.tiers.insert(tier.name().into(), json!(took.as_millis()));
    }

    /// The statement: times in milliseconds, sizes in bytes; `changes` is what steps did to the host. What a tree that stands for a host cannot have is null.
    pub fn end(&self, host: &Host, changes: &[String]) -> Value {
        let live = host.is_live();
        let io = field_reader(live.then_some("/proc/self/io"));
        let status = field_reader(live.then_some("/proc/self/status"));
        let cpu = cpu_time().saturating_sub(self.cpu).as_millis();
        json!({
            "bytes_read_from_disk": io("read_bytes:"),
            "bytes_read_in_all": io("rchar:"),
            "bytes_written_in_all": io("wchar:"),
            "bytes_written_to_disk": io("write_bytes:"),
            "confinement": live.then(crate::protection::report),
            "cpu_ms": live.then_some(cpu),
            "host_changes": changes,
            "memory_peak_bytes": status("VmHWM:").map(|kib| kib * 1024),
            "page_cache_after_bytes": page_cache(host),
            "page_cache_before_bytes": self.cached,
            "tiers_wall_ms": live.then_some(&self.tiers),
            "type": "evidence-footprint",
            "v": 1,
            "views": host.views_report(),
            "wall_ms": live.then(|| self.started.elapsed().as_millis()),
        })
    }
}

/// Reads numbers by their label from a file of `LABEL NUMBER` lines of this process.
fn field_reader(path: Option<&str>) -> impl Fn(&str) -> Option<u64> {
    let text = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    move |label| number_after(&text, label)
}

fn number_after(text: &str, label: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(label))?.split_whitespace().next()?.parse().ok()
}

/// `Cached` of proc_meminfo(5): of the whole host, so other work moves it too.
fn page_cache(host: &Host) -> Option<u64> {
    let text = host.read_text("/proc/meminfo", 64 << 10).ok()?;
    number_after(&text, "Cached:").map(|kib| kib * 1024)
}
