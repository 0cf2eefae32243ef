//! Who asks.

use wire::AgentId;

/// The client certificate of a connection, put into each request's extensions by whoever accepts connections. The TLS
/// layer has checked it against the server's CA; whether the host is still welcome is checked with each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its common name.
    pub agent: AgentId,
    /// Its serial number, lower-case hex.
    pub serial: String,
}
