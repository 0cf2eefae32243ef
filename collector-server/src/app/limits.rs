//! How much the server takes, where the operator may say otherwise.

/// See the module.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of requests with alerts that are taken in at a time, whoever sends them.
    pub alert_bytes_max: usize,
    /// Requests with alerts that are taken in at a time, whoever sends them.
    pub alert_requests_max: usize,
    /// Requests with alerts in a second that one source may send for long. Ten seconds' worth may come at once.
    pub alert_requests_of_source_per_sec: u32,
    /// Connections that one address may have at a time; `None` is half of all that the server takes. A whole fleet may
    /// come from one address, and no address may keep all others out.
    pub connections_of_address_max: Option<usize>,
    /// The longest bundle.
    pub bundle_bytes_max: u64,
    /// Seconds for which an agent's certificate is good; the agent renews it when a third of them is left.
    pub certificate_secs: u64,
    /// No upload is begun or continued when less than this is free where the objects lie.
    pub free_bytes_min: u64,
    /// An upload of which nothing came for so long is verified as far as it goes. It may still be continued.
    pub idle_secs: u64,
    /// A host that was not heard for so long has gone silent. Longer than a long poll, in which nothing is heard.
    pub silent_secs: u64,
    /// Uploads that one agent or one person may have open.
    pub uploads_of_owner_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            alert_bytes_max: 32 << 20,
            alert_requests_max: 1024,
            alert_requests_of_source_per_sec: 200,
            bundle_bytes_max: 64 << 30,
            connections_of_address_max: None,
            certificate_secs: 30 * 24 * 3600,
            free_bytes_min: 1 << 30,
            idle_secs: 300,
            silent_secs: 600,
            uploads_of_owner_max: 16,
        }
    }
}
