//! A time-stamping authority on loopback: `openssl ts -reply` behind the few lines of HTTP that it takes.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

/// See the module. It ends with the test's process.
pub struct Tsa {
    address: SocketAddr,
    folder: Arc<TempDir>,
    lies: Arc<AtomicBool>,
}

const CONFIG: &str = "\
[tsa]
default_tsa = one
[one]
serial = FOLDER/serial
signer_cert = FOLDER/tsa.pem
certs = FOLDER/ca.pem
signer_key = FOLDER/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
[extensions]
extendedKeyUsage = critical,timeStamping
";

impl Default for Tsa {
    fn default() -> Self {
        Self::new()
    }
}

impl Tsa {
    /// An authority with a certificate of its own CA.
    pub fn new() -> Self {
        let folder = Arc::new(tempfile::Builder::new().prefix("holdfast-tsa-").tempdir().unwrap());
        let path = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
        fs::write(path("config"), CONFIG.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
        fs::write(path("serial"), "01\n").unwrap();
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let (ca, ca_key, tsa_key) = (path("ca.pem"), path("ca.key"), path("tsa.key"));
        openssl(
            &[
                &["req", "-x509", "-subj", "/CN=Test CA", "-days", "2"],
                &new_key[..],
                &["-keyout", &ca_key, "-out", &ca],
            ]
            .concat(),
        );
        openssl(
            &[&["req", "-subj", "/CN=Test TSA"], &new_key[..], &["-keyout", &tsa_key, "-out", &path("tsa.csr")]]
                .concat(),
        );
        let (csr, config, certificate) = (path("tsa.csr"), path("config"), path("tsa.pem"));
        let signed = ["x509", "-req", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "2"];
        openssl(&[&signed[..], &["-extfile", &config, "-extensions", "extensions", "-out", &certificate]].concat());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lies = Arc::new(AtomicBool::new(false));
        let (serving, lying) = (Arc::clone(&folder), Arc::clone(&lies));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that goes away is its own matter.
                let _ = serve(client, serving.path(), lying.load(Ordering::SeqCst));
            }
        });
        Self { address, folder, lies }
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("http://{}/tsr", self.address)
    }

    /// The certificate by which it is believed.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// From now on it stamps another digest than it was asked to, or no longer does.
    pub fn lie(&self, lies: bool) {
        self.lies.store(lies, Ordering::SeqCst);
    }
}

fn serve(client: TcpStream, folder: &Path, lies: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut query = vec![0; length];
    reader.read_exact(&mut query)?;
    if lies {
        // The imprint begins behind the OCTET STRING of 32 bytes.
        let at = query.windows(2).position(|two| two == [4, 32]).unwrap() + 2;
        query[at] ^= 1;
    }
    let (asked, answer) = (folder.join("query"), folder.join("reply"));
    fs::write(&asked, query)?;
    let config = folder.join("config");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    openssl(&["ts", "-reply", "-config", &text(&config), "-queryfile", &text(&asked), "-out", &text(&answer)]);
    let body = fs::read(answer)?;
    let mut client = client;
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    client.write_all(&body)
}

fn openssl(words: &[&str]) {
    let done = Command::new("openssl").args(words).output().unwrap();
    assert!(done.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&done.stderr));
}
