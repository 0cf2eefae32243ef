//! A client that sends bytes as it likes, over TLS as it should be: whatever is wrong is wrong behind it.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Site;

const TIMEOUT: Duration = Duration::from_secs(90);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// See the module.
pub struct Raw(StreamOwned<ClientConnection, TcpStream>);

impl Raw {
    /// Connects; nothing is sent yet, not even of the handshake.
    pub fn connect(site: &Site) -> io::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(site.data().join("ca.pem")).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into());
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = tcp(site.address())?;
        Ok(Self(StreamOwned::new(connection, stream)))
    }

    /// Shakes hands.
    pub fn shake_hands(&mut self) -> io::Result<()> {
        while self.0.conn.is_handshaking() {
            self.0.conn.complete_io(&mut self.0.sock)?;
        }
        Ok(())
    }

    /// Sends these bytes, after the handshake.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// The status of the answer and all of its text; `None` when the connection ended without one.
    pub fn answer(&mut self) -> Option<(u16, String)> {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        let whole = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let (head, body) = text.split_once("\r\n\r\n")?;
            let lower = head.to_ascii_lowercase();
            let length =
                lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            let is_whole = lower.contains(" 204") || length.is_some_and(|length| body.len() >= length);
            is_whole.then_some(())
        };
        while whole(&bytes).is_none() && bytes.len() < ANSWER_BYTES_MAX {
            match self.0.read(&mut piece) {
                Ok(length @ 1..) => bytes.extend_from_slice(&piece[..length]),
                _ => break,
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some((status, text))
    }
}

/// A bare connection.
pub fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}
