//! A courier: somebody who brings a bundle over tus 1.0 and holds the server to what it said. Never in a hurry, never
//! giving up before its patience ends, and it remembers each acknowledgement.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::Value;
use wire::Sha256;

use crate::lab::Collected;
use crate::{Opened, Site};

const PAUSE: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(40);
/// As the programs cut them.
const PIECE_BYTES: usize = 8 << 20;

/// What is brought.
pub struct Parcel {
    /// The bundle's id.
    pub bundle: String,
    /// The key that sealed it.
    pub signer: String,
    /// The name of its file.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its transport checkpoints: the offset of each, and its line.
    pub lines: Vec<(u64, String)>,
}

impl Parcel {
    /// A sealed bundle.
    pub fn of(sealed: &Collected) -> Self {
        let header = Opened::at(&sealed.path).json("bundle.json");
        let text = |key: &str| header[key].as_str().unwrap().to_owned();
        let lines = std::fs::read_to_string(&sealed.stream).unwrap();
        let offset = |line: &str| serde_json::from_str::<Value>(line).unwrap()["offset"].as_u64().unwrap();
        Self {
            bundle: text("bundle"),
            signer: text("signer"),
            name: sealed.path.file_name().unwrap().to_str().unwrap().to_owned(),
            bytes: sealed.bytes(),
            lines: lines.lines().map(|line| (offset(line), line.to_owned())).collect(),
        }
    }
}

/// What came back.
pub struct Answered {
    /// The status.
    pub status: u16,
    /// `Upload-Offset`.
    pub offset: Option<u64>,
    /// `Location`.
    pub location: Option<String>,
    /// The body.
    pub body: String,
}

/// See the module.
pub struct Courier {
    client: Client,
    url: String,
    token: String,
    upload: String,
    /// Bytes of which the server said that it has them.
    pub acknowledged: u64,
    /// The receipts, as the server signed them.
    pub receipts: Vec<Value>,
}

impl Courier {
    /// Goes to the server of the site, over its cable, as the responder.
    pub fn over_cable(site: &Site) -> Self {
        Self::to(format!("https://{}", site.cable.address()), site.responder_token())
    }

    /// Goes to this address with this token.
    pub fn to(url: String, token: String) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().tls_danger_accept_invalid_certs(true).timeout(TIMEOUT).build().unwrap();
        Self { client, url, token, upload: String::new(), acknowledged: 0, receipts: Vec::new() }
    }

    /// Brings all of it. Fails the test when it is not there in time, or when the server forgets what it acknowledged.
    #[track_caller]
    pub fn bring(&mut self, parcel: &Parcel, incident: &str, patience: Duration) {
        let started = Instant::now();
        let mut last = String::new();
        let mut told = 0;
        while self.acknowledged < parcel.bytes.len() as u64 || told < parcel.lines.len() {
            assert!(started.elapsed() < patience, "the bundle {} was not taken in time: {last}", parcel.bundle);
            if let Err(why) = self.step(parcel, incident, &mut told) {
                last = why;
                // Whoever was told no, or nothing, waits a moment as programs do.
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn step(&mut self, parcel: &Parcel, incident: &str, told: &mut usize) -> Result<(), String> {
        if self.upload.is_empty() {
            return self.begin(parcel, incident);
        }
        let next = parcel.lines.get(*told);
        if let Some((_, line)) = next.filter(|(offset, _)| *offset <= self.acknowledged) {
            // A line whose answer was lost is answered with the same receipt.
            self.checkpoint(line)?;
            *told += 1;
            return Ok(());
        }
        let start = usize::try_from(self.acknowledged).unwrap();
        let mark = next.map_or(parcel.bytes.len(), |(offset, _)| usize::try_from(*offset).unwrap());
        let end = mark.min(start + PIECE_BYTES);
        let answered = self.patch(self.acknowledged, parcel.bytes[start..end].to_vec());
        if let Ok(Answered { status: 204, offset: Some(offset), .. }) = answered {
            self.acknowledged = offset;
            return Ok(());
        }
        let why = match answered {
            Ok(answered) => format!("{}: {}", answered.status, answered.body),
            Err(error) => error.to_string(),
        };
        let held = self.head()?;
        assert!(held >= self.acknowledged, "{} bytes were acknowledged, and {held} are held", self.acknowledged);
        self.acknowledged = held;
        Err(why)
    }

    /// Begins the upload, or finds it again.
    ///
    /// # Errors
    /// What the server said instead, or that it said nothing.
    pub fn begin(&mut self, parcel: &Parcel, incident: &str) -> Result<(), String> {
        let pairs = [
            ("bundle", parcel.bundle.as_str()),
            ("incident", incident),
            ("name", &parcel.name),
            ("signer", &parcel.signer),
        ];
        let metadata = pairs.map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).join(",");
        let request = self.request(Method::POST, "/api/v1/uploads").header("Upload-Length", parcel.bytes.len());
        let answered = send(request.header("Upload-Metadata", metadata)).map_err(|error| error.to_string())?;
        let location = answered.location.filter(|_| answered.status == 201);
        self.upload = location.ok_or(format!("{}: {}", answered.status, answered.body))?;
        self.acknowledged = answered.offset.unwrap_or(0);
        Ok(())
    }

    /// The path of the upload.
    pub fn upload(&self) -> &str {
        &self.upload
    }

    /// Sends bytes with their checksum.
    ///
    /// # Errors
    /// When nothing was answered.
    pub fn patch(&self, offset: u64, bytes: Vec<u8>) -> Result<Answered, reqwest::Error> {
        let checksum = Self::checksum(&bytes);
        self.patch_with(offset, bytes, &checksum)
    }

    /// What stands in `Upload-Checksum` for these bytes.
    pub fn checksum(bytes: &[u8]) -> String {
        format!("sha256 {}", BASE64_STANDARD.encode(Sha256::of(bytes).0))
    }

    /// Sends bytes with this checksum.
    ///
    /// # Errors
    /// When nothing was answered.
    pub fn patch_with(&self, offset: u64, bytes: Vec<u8>, checksum: &str) -> Result<Answered, reqwest::Error> {
        let request = self.request(Method::PATCH, &self.upload);
        let request = request.header("Upload-Offset", offset).header("Upload-Checksum", checksum);
        send(request.header("Content-Type", "application/offset+octet-stream").body(bytes))
    }

    /// How far the upload is.
    ///
    /// # Errors
    /// What the server said instead, or that it said nothing.
    pub fn head(&self) -> Result<u64, String> {
        let answered = send(self.request(Method::HEAD, &self.upload)).map_err(|error| error.to_string())?;
        answered.offset.ok_or_else(|| format!("HEAD: {}", answered.status))
    }

    /// Sends a transport checkpoint, and keeps the receipts that come back.
    ///
    /// # Errors
    /// What the server said instead, or that it said nothing.
    pub fn checkpoint(&mut self, line: &str) -> Result<(), String> {
        let path = format!("{}/checkpoints", self.upload);
        let request = self.request(Method::POST, &path).header("Content-Type", "application/x-ndjson");
        let answered = send(request.body(format!("{line}\n"))).map_err(|error| error.to_string())?;
        if answered.status != 200 {
            return Err(format!("{}: {}", answered.status, answered.body));
        }
        let told: Value = serde_json::from_str(&answered.body).unwrap();
        self.receipts.extend(told["receipts"].as_array().unwrap().iter().cloned());
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        request.bearer_auth(&self.token).header("Tus-Resumable", "1.0.0")
    }
}

fn send(request: RequestBuilder) -> Result<Answered, reqwest::Error> {
    let answer = request.send()?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (status, offset, location) = (answer.status().as_u16(), header("upload-offset"), header("location"));
    let offset = offset.and_then(|offset| offset.parse().ok());
    Ok(Answered { status, offset, location, body: answer.text()? })
}
