//! `holdfast evidence add`: brings a bundle that came on a stick, by the same way and through the same verification as
//! one that an agent sends.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::checkpoint::{Layer, StreamLine};
use bundle::verify::{Against, Announced, Identity, NotVerified, check, check_transport, layer_of};
use reqwest::Method;
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use ssh_key::PublicKey;
use wire::agent_api::CHUNK_BYTES_MAX;
use wire::api::{EvidenceState, EvidenceView, SignerTrust};
use wire::{BundleId, IncidentId, Sha256};

use crate::api::{self, Api};
use crate::commands::verify::{beside, read_sidecar};
use crate::commands::{Failure, INPUT, IO, UNAVAILABLE};
use crate::show::{print, remark};

/// More than any bundle's transport checkpoints.
const STREAM_BYTES_MAX: u64 = 64 << 20;
/// How long the server may take to verify it.
const INGEST_WAIT: Duration = Duration::from_mins(2);
/// Attempts in a row that bring nothing.
const ATTEMPTS_MAX: u32 = 4;

/// Uploads, and says what the server makes of it.
pub fn add(api: &Api, incident: &IncidentId, path: &Path, stream: Option<PathBuf>, json: bool) -> Result<u8, Failure> {
    let stream = stream.or_else(|| beside(path).filter(|path| path.exists()));
    let header = named(path, stream.as_deref())?;
    is_free(api, incident, header.bundle)?;
    let lines = match &stream {
        Some(stream) => lines(stream)?,
        None => {
            remark("there are no transport checkpoints beside it: give --stream FILE, where you have them");
            Vec::new()
        }
    };
    let mut file = File::open(path).map_err(|error| cannot(path, error))?;
    let length = file.metadata().map_err(|error| cannot(path, error))?.len();
    let (upload, offset) = create(api, incident, &header, path, length)?;
    send(api, &upload, &mut file, offset..length, &lines).map_err(|failure| match failure.code {
        UNAVAILABLE => failure.hint("the server keeps what came: the same command goes on there"),
        _ => failure,
    })?;
    let (view, value) = ingested(api, header.bundle)?;
    belongs(&view, incident)?;
    if json {
        print(&format!("{value}\n"))?;
    } else {
        print(&crate::commands::follow::evidence(&view))?;
    }
    if view.trust == Some(SignerTrust::Unknown) {
        remark("the server does not know the key that signed it: nobody vouches for whose it is");
    }
    Ok(u8::from(view.state == EvidenceState::Rejected))
}

/// The incident is there, and the bundle is in no other. The server knows a bundle by its id alone: for one that it has
/// it would go on with that upload, wherever it belongs.
fn is_free(api: &Api, incident: &IncidentId, bundle: BundleId) -> Result<(), Failure> {
    api.get(&format!("/api/v1/incidents/{incident}")).map_err(|failure| match failure.code {
        INPUT => failure.hint("holdfast incident list shows what there is; holdfast alert send opens one"),
        _ => failure,
    })?;
    match api.get(&format!("/api/v1/evidence/{bundle}")) {
        Ok(value) => belongs(&api::read(api.server(), value)?, incident),
        Err(failure) if failure.code == INPUT => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn belongs(view: &EvidenceView, incident: &IncidentId) -> Result<(), Failure> {
    if view.incident == *incident {
        return Ok(());
    }
    let other = &view.incident;
    Err(Failure::new(INPUT, anyhow!("this bundle belongs to {other} already, so it was not attached to {incident}"))
        .hint(format!("holdfast evidence list {other}")))
}

/// Which bundle it is, and whose.
struct Named {
    bundle: BundleId,
    signer: PublicKey,
}

/// Who made the bundle. One that was changed is brought all the same: the server keeps it, with its findings. An
/// encrypted one says it in its transport checkpoints only.
fn named(path: &Path, stream: Option<&Path>) -> Result<Named, Failure> {
    let mut file = BufReader::new(File::open(path).map_err(|error| cannot(path, error))?);
    if layer_of(file.fill_buf().map_err(|error| cannot(path, error))?) == Layer::Age {
        return named_outside(path, file, stream);
    }
    let report = match check(file, Against::default()) {
        Ok(verified) => return Ok(named_by(verified.header())),
        Err(NotVerified::Rejected(report) | NotVerified::Unverified(report)) => report,
        Err(error) => {
            let error = anyhow::Error::new(error).context(path.display().to_string());
            return Err(Failure::new(INPUT, error).hint("holdfast verify says more"));
        }
    };
    report.header.as_ref().map(named_by).ok_or_else(|| {
        Failure::new(INPUT, anyhow!("{} does not say which bundle it is", path.display()))
            .hint("holdfast verify says more")
    })
}

fn named_by(header: &Identity) -> Named {
    Named { bundle: header.bundle, signer: header.signer.clone() }
}

fn named_outside(path: &Path, file: impl Read, stream: Option<&Path>) -> Result<Named, Failure> {
    let unknown = || {
        Failure::new(
            INPUT,
            anyhow!("{} is encrypted: which bundle it is stands in its transport checkpoints", path.display()),
        )
        .hint("give --stream FILE, the .stream.jsonl that lay beside it")
    };
    let sidecar = read_sidecar(stream.ok_or_else(unknown)?)?;
    let (bundle, signer) = match check_transport(file, &sidecar, Announced::default(), None) {
        Ok(verified) => (verified.report().bundle, verified.report().signer.clone()),
        Err(NotVerified::Rejected(report) | NotVerified::Unverified(report)) => (report.bundle, report.signer.clone()),
        Err(NotVerified::Io(error)) => return Err(cannot(path, error)),
        Err(_) => return Err(unknown()),
    };
    bundle.zip(signer).map(|(bundle, signer)| Named { bundle, signer }).ok_or_else(unknown)
}

/// The transport checkpoints: the offset of each, and its line. Whether they hold is for the server to say.
fn lines(path: &Path) -> Result<Vec<(u64, String)>, Failure> {
    let file = File::open(path).map_err(|error| cannot(path, error))?;
    let mut lines = Vec::new();
    for (n, line) in BufReader::new(file.take(STREAM_BYTES_MAX)).lines().enumerate() {
        let line = line.map_err(|error| cannot(path, error))?;
        let Ok(read) = serde_json::from_str::<StreamLine>(&line) else {
            return Err(Failure::new(
                INPUT,
                anyhow!("line {} of {} is no transport checkpoint", n + 1, path.display()),
            )
            .hint("give the .stream.jsonl as it lay beside the bundle"));
        };
        lines.push((read.checkpoint.offset, line));
    }
    lines.sort_by_key(|(offset, _)| *offset);
    Ok(lines)
}

/// Makes the upload (tus 1.0), or finds the one that was begun; returns its path, and how far it is.
fn create(
    api: &Api,
    incident: &IncidentId,
    header: &Named,
    path: &Path,
    length: u64,
) -> Result<(String, u64), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut signer = header.signer.clone();
    signer.set_comment("");
    let signer = signer.to_openssh().unwrap_or_default();
    let (bundle, incident) = (header.bundle.to_string(), incident.to_string());
    let metadata: Vec<String> = [("bundle", &bundle), ("incident", &incident), ("name", &name), ("signer", &signer)]
        .into_iter()
        .map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value.trim_end())))
        .collect();
    let request = tus(api, Method::POST, "/api/v1/uploads")
        .header("Upload-Length", length)
        .header("Upload-Metadata", metadata.join(","));
    let response = api.send(request)?;
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or("");
    // Only the path counts: the token goes to the server of the login and nowhere else.
    let upload = location.strip_prefix(api.server()).unwrap_or(location);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte);
    if upload.starts_with("/api/v1/uploads/") && upload.bytes().all(plain) {
        Ok((upload.to_owned(), reached(&response).unwrap_or(0)))
    } else {
        Err(api::not_understood(api.server(), "an upload without a place"))
    }
}

/// Sends the bytes in pieces that end where a checkpoint does, and each checkpoint after its bytes.
fn send(
    api: &Api,
    upload: &str,
    file: &mut File,
    Range { start, end: length }: Range<u64>,
    lines: &[(u64, String)],
) -> Result<(), Failure> {
    let mut offset = start;
    let mut attempts = 0;
    let mut lines = lines.iter().peekable();
    loop {
        while let Some((_, line)) = lines.next_if(|(at, _)| *at <= offset || offset >= length) {
            match checkpoint(api, upload, line) {
                Ok(()) => {}
                // One that does not hold is a finding, not a reason to leave the rest behind. Those after it would not
                // follow from it.
                Err(failure) if failure.code == INPUT => {
                    let why = crate::escape::shown(&failure.error.to_string());
                    remark(&format!("a transport checkpoint was not taken, nor are those after it: {why}"));
                    lines = [].iter().peekable();
                }
                Err(failure) => return Err(failure),
            }
        }
        if offset >= length {
            return Ok(());
        }
        let next_mark = lines.peek().map_or(length, |(at, _)| (*at).min(length));
        let end = next_mark.min(offset + CHUNK_BYTES_MAX as u64);
        match patch(api, upload, file, offset, end) {
            Ok(reached) if reached > offset && reached <= end => {
                offset = reached;
                attempts = 0;
            }
            Ok(_) => return Err(api::not_understood(api.server(), "an offset that cannot be")),
            Err(failure) if failure.code == UNAVAILABLE && attempts < ATTEMPTS_MAX => {
                attempts += 1;
                offset = reached(&api.send(tus(api, Method::HEAD, upload))?).unwrap_or(offset);
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn patch(api: &Api, upload: &str, file: &mut File, offset: u64, end: u64) -> Result<u64, Failure> {
    let broken = |error: io::Error| Failure::new(IO, anyhow::Error::new(error).context("the bundle cannot be read"));
    let mut chunk = Vec::new();
    file.seek(SeekFrom::Start(offset)).map_err(broken)?;
    Read::by_ref(file).take(end - offset).read_to_end(&mut chunk).map_err(broken)?;
    if chunk.is_empty() {
        return Err(Failure::new(IO, anyhow!("the bundle became shorter while it was read")));
    }
    let request = tus(api, Method::PATCH, upload)
        .header("Upload-Offset", offset)
        .header("Upload-Checksum", format!("sha256 {}", BASE64_STANDARD.encode(Sha256::of(&chunk).0)))
        .header(CONTENT_TYPE, "application/offset+octet-stream")
        .body(chunk);
    let response = api.send(request)?;
    reached(&response).ok_or_else(|| api::not_understood(api.server(), "an upload without an offset"))
}

fn checkpoint(api: &Api, upload: &str, line: &str) -> Result<(), Failure> {
    let body = format!("{line}\n").into_bytes();
    api.post(&format!("{upload}/checkpoints"), "application/x-ndjson", body).map(|_| ())
}

fn tus(api: &Api, method: Method, path: &str) -> reqwest::blocking::RequestBuilder {
    api.request(method, path).header("Tus-Resumable", "1.0.0")
}

fn reached(response: &Response) -> Option<u64> {
    response.headers().get("Upload-Offset")?.to_str().ok()?.parse().ok()
}

/// The server's view of the bundle, once it has verified it.
fn ingested(api: &Api, bundle: BundleId) -> Result<(EvidenceView, serde_json::Value), Failure> {
    let deadline = Instant::now() + INGEST_WAIT;
    loop {
        let value = api.get(&format!("/api/v1/evidence/{bundle}"))?;
        let view: EvidenceView = api::read(api.server(), value.clone())?;
        if view.state != EvidenceState::Receiving {
            return Ok((view, value));
        }
        if Instant::now() > deadline {
            remark("the server is still verifying it: holdfast evidence list");
            return Ok((view, value));
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn cannot(path: &Path, error: io::Error) -> Failure {
    Failure::new(IO, anyhow::Error::new(error).context(format!("{} cannot be read", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake::{Answer, Fake};

    fn vector(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundle/vectors").join(name)
    }

    #[test]
    fn each_checkpoint_follows_its_bytes() {
        let fake = Fake::serve(|request| match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/api/v1/uploads") => Answer::new(201, &[("location", "/api/v1/uploads/u1")], ""),
            ("PATCH", _) => {
                let offset: usize = request.header("upload-offset").unwrap().parse().unwrap();
                Answer::new(204, &[("upload-offset", &(offset + request.body.len()).to_string())], "")
            }
            ("POST", _) => Answer::json(r#"{"receipts":[]}"#),
            _ => Answer::json(include_str!("../../../tests/evidence.json")),
        });
        let api = Api::of_test(&fake.url);
        let incident = "INC-2026-0007".parse().unwrap();
        let path = vector("good.evidence.zip");
        assert_eq!(add(&api, &incident, &path, Some(vector("good.stream.jsonl")), true).unwrap(), 0);
        let bytes = std::fs::read(&path).unwrap();
        let (mut sent, mut told) = (Vec::<u8>::new(), 0);
        let requests = fake.requests();
        let begun = requests.iter().find(|request| request.path == "/api/v1/uploads").unwrap();
        for request in &requests {
            if request.method == "PATCH" {
                assert_eq!(request.header("upload-offset"), Some(sent.len().to_string().as_str()));
                let digest = BASE64_STANDARD.encode(Sha256::of(&request.body).0);
                assert_eq!(request.header("upload-checksum"), Some(format!("sha256 {digest}").as_str()));
                sent.extend(&request.body);
            } else if request.path.ends_with("/checkpoints") {
                let line: StreamLine = serde_json::from_slice(&request.body).unwrap();
                assert_eq!(line.checkpoint.offset, sent.len() as u64, "it speaks of what was just acknowledged");
                told += 1;
            }
        }
        assert!(sent == bytes);
        let lines = std::fs::read_to_string(vector("good.stream.jsonl")).unwrap();
        assert_eq!(told, lines.lines().count());
        assert_eq!(begun.header("upload-length"), Some(bytes.len().to_string().as_str()));
        let metadata = begun.header("upload-metadata").unwrap();
        assert!(metadata.contains(&format!("incident {}", BASE64_STANDARD.encode("INC-2026-0007"))));
    }

    #[test]
    fn a_bundle_goes_to_one_incident_that_is_there() {
        let fake = Fake::serve(|request| match request.path.as_str() {
            "/api/v1/incidents/INC-2026-0404" => Answer::error(404, r#"{"code":"","hint":null,"message":"no such"}"#),
            _ => Answer::json(include_str!("../../../tests/evidence.json")),
        });
        let api = Api::of_test(&fake.url);
        let refused = |incident: &str| {
            let failure = add(&api, &incident.parse().unwrap(), &vector("good.evidence.zip"), None, true).unwrap_err();
            (failure.code, failure.error.to_string())
        };
        assert_eq!(refused("INC-2026-0404"), (INPUT, "no such".into()));
        let other = "this bundle belongs to INC-2026-0007 already, so it was not attached to INC-2026-0001";
        assert_eq!(refused("INC-2026-0001"), (INPUT, other.into()));
        assert!(fake.requests().iter().all(|request| request.method == "GET"), "nothing was sent");
    }

    #[test]
    fn the_token_goes_nowhere_else() {
        let fake = Fake::serve(|_| Answer::new(201, &[("location", "https://elsewhere.example/api/v1/uploads/u")], ""));
        let header = named(&vector("good.evidence.zip"), None).unwrap();
        let incident = "INC-1".parse().unwrap();
        let failure = create(&Api::of_test(&fake.url), &incident, &header, Path::new("x"), 1).unwrap_err();
        assert!(failure.error.to_string().ends_with("an upload without a place"));
    }
}
