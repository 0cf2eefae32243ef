//! `holdfast evidence get`: takes a bundle home, with all that verifies it, and verifies it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256 as Hasher};
use wire::api::{EvidenceState, EvidenceView};
use wire::{BundleId, Sha256};

use crate::api::{self, Api};
use crate::commands::verify::Verify;
use crate::commands::{Failure, INPUT, IO, UNAVAILABLE, USAGE};
use crate::config::write_whole;
use crate::show::{self, remark};

/// Attempts in a row that bring nothing.
const ATTEMPTS_MAX: u32 = 4;
/// The first line of an `allowed_signers` that may be replaced: it came from here.
const SIGNERS_MARK: &str = "# Written by holdfast evidence get, from ";

/// Downloads, then verifies. Returns the exit code of the verification.
pub fn get(api: &Api, bundle: BundleId, dir: &Path, json: bool) -> Result<u8, Failure> {
    let view: EvidenceView = api::read(api.server(), api.get(&format!("/api/v1/evidence/{bundle}"))?)?;
    if view.state == EvidenceState::Receiving {
        return Err(Failure::new(INPUT, anyhow!("the bundle {bundle} is still coming"))
            .hint("holdfast follow shows how far it is"));
    }
    let Some(sha256) = view.sha256 else {
        return Err(Failure::new(INPUT, anyhow!("the server holds nothing of the bundle {bundle}")));
    };
    fs::create_dir_all(dir).map_err(|error| cannot("be made", dir, error))?;
    let path = dir.join(file_name(&view));
    let signers = dir.join("allowed_signers");
    may_replace(&signers)?;
    if path.exists() {
        check_present(&path, sha256)?;
    } else {
        download(api, &view, sha256, &path)?;
    }
    let beside = |suffix: &str| {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    for (what, target) in [("stream", beside(".stream.jsonl")), ("receipts", beside(".receipts.jsonl"))] {
        let text = api.text(&format!("/api/v1/evidence/{bundle}/{what}"))?;
        write_whole(&target, text.as_bytes(), 0o600).map_err(|error| cannot("be written", &target, error))?;
    }
    let lines = api.text("/api/v1/signers")?;
    let lines = format!("{SIGNERS_MARK}{}: those of the enrolled agents, and the server's.\n{lines}", api.server());
    write_whole(&signers, lines.as_bytes(), 0o600).map_err(|error| cannot("be written", &signers, error))?;
    if !json {
        show::print(&format!("{}\n", path.display()))?;
        remark(&format!("whom to trust is from {}; pin the keys of your hosts to rely on nobody", api.server()));
    }
    Verify::of_download(path, signers, json).run()
}

/// The name under which the bundle was uploaded, where it is a plain one: it comes from a host.
fn file_name(view: &EvidenceView) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let end = if view.encrypted { ".evidence.zip.age" } else { ".evidence.zip" };
    if view.name.ends_with(end)
        && view.name.len() <= 200
        && view.name.bytes().all(plain)
        && !view.name.starts_with(['.', '-'])
    {
        view.name.clone()
    } else {
        format!("{}{end}", view.bundle)
    }
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Failure {
    Failure::new(IO, anyhow::Error::new(error).context(format!("{} cannot {what}", path.display())))
}

/// An `allowed_signers` that somebody else put there says whom *they* trust: it stays.
fn may_replace(signers: &Path) -> Result<(), Failure> {
    let mut first = String::new();
    match File::open(signers).and_then(|file| BufReader::new(file.take(4_096)).read_line(&mut first)) {
        Ok(_) if first.starts_with(SIGNERS_MARK) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(Failure::new(USAGE, anyhow!("{} is there already, and not from here", signers.display()))
            .hint("give --output a folder without one: nobody's trust is overwritten")),
    }
}

/// A bundle that is there already serves, when it is the same.
fn check_present(path: &Path, sha256: Sha256) -> Result<(), Failure> {
    let mut hasher = Hasher::new();
    File::open(path).and_then(|file| hash(file, &mut hasher)).map_err(|error| cannot("be read", path, error))?;
    if Sha256::so_far(&hasher) == sha256 {
        remark(&format!("{} is there already, and complete", path.display()));
        return Ok(());
    }
    Err(Failure::new(INPUT, anyhow!("{} is there already, and is not what the server holds", path.display()))
        .hint("give --output another folder: nothing is ever overwritten"))
}

/// Downloads into `<path>.part`, from where it ended the last time, and gives it its name once its digest is right.
fn download(api: &Api, view: &EvidenceView, sha256: Sha256, path: &Path) -> Result<(), Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    // O_NOFOLLOW: a link that somebody put there must not choose what is written to.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(&part)
        .map_err(|error| cannot("be written", &part, error))?;
    let mut hasher = Hasher::new();
    let mut offset = hash(&file, &mut hasher).map_err(|error| cannot("be read", &part, error))?;
    let mut attempts = 0;
    while offset < view.bytes {
        let before = offset;
        let broken = match piece(api, view, &mut file, &mut hasher, &mut offset) {
            Ok(()) => None,
            Err(failure) if failure.code == UNAVAILABLE => Some(failure),
            Err(failure) => return Err(failure),
        };
        attempts = if offset > before { 0 } else { attempts + 1 };
        if attempts >= ATTEMPTS_MAX {
            let failure = broken.unwrap_or_else(|| Failure::new(UNAVAILABLE, anyhow!("the download does not go on")));
            return Err(failure.hint(format!(
                "{offset} of {} bytes are in {}; the same command goes on",
                view.bytes,
                part.display()
            )));
        }
    }
    if offset != view.bytes || Sha256::so_far(&hasher) != sha256 {
        let _ = fs::remove_file(&part);
        return Err(Failure::new(IO, anyhow!("what came of {} is not what the server holds", view.bundle))
            .hint("it was removed: get it again"));
    }
    file.sync_all().and_then(|()| fs::rename(&part, path)).map_err(|error| cannot("be written", path, error))
}

/// One request for all that is missing. What came before a break stays.
fn piece(
    api: &Api,
    view: &EvidenceView,
    file: &mut File,
    hasher: &mut Hasher,
    offset: &mut u64,
) -> Result<(), Failure> {
    let mut request = api.request(Method::GET, &format!("/api/v1/evidence/{}/content", view.bundle));
    if *offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
    }
    let mut response = api.send(request)?;
    let begins = match response.status() {
        StatusCode::PARTIAL_CONTENT => response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|range| range.to_str().ok()?.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()),
        _ => Some(0_u64),
    };
    match begins {
        Some(begins) if begins == *offset => {}
        // The server takes no ranges: from the beginning.
        Some(0) => {
            *hasher = Hasher::new();
            *offset = 0;
            file.set_len(0).context("the download cannot begin again").map_err(|error| Failure::new(IO, error))?;
        }
        _ => return Err(api::not_understood(api.server(), "another range than was asked for")),
    }
    file.seek(SeekFrom::Start(*offset)).map_err(|error| Failure::new(IO, error))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = match response.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Failure::new(UNAVAILABLE, anyhow::Error::new(error).context("the download broke off")));
            }
        };
        // A server that sends without end does not fill the disk.
        if *offset + count as u64 > view.bytes {
            return Err(api::not_understood(api.server(), "more bytes than the bundle has"));
        }
        file.write_all(&buffer[..count])
            .context("the bundle cannot be written")
            .map_err(|error| Failure::new(IO, error).hint("is the disk full?"))?;
        hasher.update(&buffer[..count]);
        *offset += count as u64;
    }
}

/// Hashes all that is there; returns how much.
fn hash(mut source: impl Read, hasher: &mut Hasher) -> io::Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake::{Answer, Fake, Request};

    fn view(bytes: &[u8]) -> EvidenceView {
        let mut view: EvidenceView = serde_json::from_str(include_str!("../../../tests/evidence.json")).unwrap();
        view.bytes = bytes.len() as u64;
        view.sha256 = Some(Sha256::of(bytes));
        view
    }

    fn ranged(request: &Request, bytes: &[u8], missing: usize) -> Answer {
        let from: Option<usize> = request
            .header("range")
            .map(|range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap());
        let (status, from) = (if from.is_some() { 206 } else { 200 }, from.unwrap_or(0));
        let end = bytes.len() - missing.min(bytes.len() - from);
        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        Answer { missing: bytes.len() - end, ..Answer::new(status, &[("content-range", &range)], &bytes[from..end]) }
    }

    #[test]
    fn a_download_goes_on_where_it_broke_off() {
        let bytes: Vec<u8> = (0..600_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let served = bytes.clone();
        let mut missing = [400_000, 100_000, 0].into_iter();
        let fake = Fake::serve(move |request| ranged(request, &served, missing.next().unwrap()));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.evidence.zip");
        fs::write(dir.path().join("b.evidence.zip.part"), &bytes[..1_000]).unwrap();
        download(&Api::of_test(&fake.url), &view(&bytes), Sha256::of(&bytes), &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no part is left over");
        let asked: Vec<_> = fake.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect();
        let wanted = ["bytes=1000-", "bytes=200000-", "bytes=500000-"].map(|range| Some(range.to_owned()));
        assert_eq!(asked, wanted);
    }

    #[test]
    fn other_bytes_get_no_name() {
        let fake = Fake::serve(|_| Answer::new(200, &[], "other bytes"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.evidence.zip");
        let api = Api::of_test(&fake.url);
        let failure = download(&api, &view(b"these bytes"), Sha256::of(b"these bytes"), &path).unwrap_err();
        assert_eq!((failure.code, failure.hint.as_deref()), (IO, Some("it was removed: get it again")));
        let failure = download(&api, &view(b"few"), Sha256::of(b"few"), &path).unwrap_err();
        assert!(failure.error.to_string().ends_with("more bytes than the bundle has"));
        assert!(!path.exists());
    }

    #[test]
    fn what_somebody_put_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let signers = dir.path().join("allowed_signers");
        may_replace(&signers).unwrap();
        fs::write(&signers, format!("{SIGNERS_MARK}https://h\n")).unwrap();
        may_replace(&signers).unwrap();
        fs::write(&signers, "agent:x ssh-ed25519 AAAA\n").unwrap();
        assert_eq!(may_replace(&signers).unwrap_err().code, USAGE);
        assert_eq!(check_present(&signers, Sha256::of(b"")).unwrap_err().code, INPUT);
    }

    #[test]
    fn a_hostile_name_is_not_used() {
        let mut view = view(b"");
        assert_eq!(file_name(&view), "web-1_20261121T174548Z_0a1b2c3d.evidence.zip");
        for bad in ["../x.evidence.zip", ".evidence.zip", "a/b.evidence.zip", "allowed_signers", "a\n.evidence.zip"] {
            view.name = bad.into();
            assert_eq!(file_name(&view), format!("{}.evidence.zip", view.bundle), "{bad:?}");
        }
    }
}
