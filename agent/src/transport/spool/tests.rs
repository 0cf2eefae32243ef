use std::io::Read as _;

use age::secrecy::ExposeSecret as _;
use wire::BundleId;
use wire::agent_api::CHUNK_BYTES_MAX;

use super::*;
use crate::transport::upload::Subject;

const MARKER: &[u8] = b"the-planted-marker-of-the-evidence";

fn about(n: u64) -> About {
    let bundle = BundleId::new(n, [1; 10]);
    let subject = Subject {
        belongs_to: None,
        bundle,
        continues: None,
        name: "x.evidence.zip".into(),
        order: None,
        signer: "ssh-ed25519 A".into(),
    };
    let now = Moment { time: wire::Instant(i128::from(n)), ..Moment::now() };
    About::new(&subject, "the server is away".into(), now)
}

fn chunk(offset: u64, content: &[u8]) -> Entry {
    Entry { offset, kind: Kind::Chunk { length: content.len() as u64 } }
}

fn line(offset: u64) -> Entry {
    Entry { offset, kind: Kind::Line }
}

struct Lab {
    state: tempfile::TempDir,
    server: age::x25519::Identity,
}

impl Lab {
    fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap(), server: age::x25519::Identity::generate() }
    }

    fn spool(&self, bytes_max: Option<u64>) -> Spool {
        Spool::new(self.state.path(), &self.server.to_public().to_string(), bytes_max).unwrap()
    }
}

#[test]
fn pieces_wait_in_the_order_of_the_stream_until_a_receipt_covers_them() {
    let lab = Lab::new();
    let (spool, about) = (lab.spool(None), about(1));
    let long = vec![7; CHUNK_BYTES_MAX];
    for (entry, content) in [
        (chunk(9, &long), &long[..]),
        (line(9), b"first\n"),
        (chunk(0, b"123456789"), b"123456789"),
        (line(chunk(9, &long).end()), b"second\n"),
    ] {
        spool.put(&about, entry, content).unwrap();
    }
    let [waiting] = <[Waiting; 1]>::try_from(waiting_in(lab.state.path())).unwrap();
    assert_eq!(waiting.about, about);
    let end = 9 + CHUNK_BYTES_MAX as u64;
    assert_eq!(waiting.entries().unwrap(), [chunk(0, b"123456789"), line(9), chunk(9, &long), line(end)]);
    assert_eq!(waiting.bytes(), end);
    assert_eq!(waiting.read(line(9)).unwrap(), b"first\n");
    let file = waiting.read(chunk(9, &long)).unwrap();
    assert!(file.len() <= SPOOLED_BYTES_MAX_OF_A_FILE);
    assert_eq!(age::decrypt(&lab.server, &file).unwrap(), long);
    waiting.covered(8).unwrap();
    assert_eq!(waiting.entries().unwrap().len(), 4);
    waiting.covered(9).unwrap();
    assert_eq!(waiting.entries().unwrap(), [chunk(9, &long), line(end)]);
    waiting.covered(end).unwrap();
    assert_eq!((waiting.entries().unwrap().len(), waiting.bytes()), (0, 0));
    waiting.remove().unwrap();
    waiting.remove().unwrap();
    assert!(waiting_in(lab.state.path()).is_empty());
}

const SPOOLED_BYTES_MAX_OF_A_FILE: usize = wire::agent_api::SPOOLED_BYTES_MAX;

#[test]
fn the_host_cannot_read_back_what_waits() {
    let lab = Lab::new();
    let content = MARKER.repeat(1000);
    lab.spool(None).put(&about(1), chunk(0, &content), &content).unwrap();
    let mut secrets = 0;
    let mut folders = vec![lab.state.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let mut bytes = Vec::new();
            fs::File::open(entry.path()).unwrap().read_to_end(&mut bytes).unwrap();
            assert!(!bytes.windows(MARKER.len()).any(|window| window == MARKER), "{entry:?}");
            secrets += usize::from(String::from_utf8_lossy(&bytes).contains("AGE-SECRET-KEY"));
        }
    }
    assert_eq!(secrets, 0);
    let file = waiting_in(lab.state.path())[0].read(chunk(0, &content)).unwrap();
    assert!(age::decrypt(&age::x25519::Identity::generate(), &file).is_err());
    assert!(lab.server.to_string().expose_secret().starts_with("AGE-SECRET-KEY"));
}

#[test]
fn a_full_spool_keeps_what_it_has_and_takes_no_more() {
    let lab = Lab::new();
    let spool = lab.spool(Some(10_000));
    spool.put(&about(1), chunk(0, &[1; 3000]), &[1; 3000]).unwrap();
    spool.put(&about(1), line(3000), &[b'x'; 1200]).unwrap();
    let refused = spool.put(&about(2), chunk(0, &[2; 4000]), &[2; 4000]);
    assert!(matches!(refused, Err(NoRoom::Full { max: ByteSize(10_000), .. })), "{refused:?}");
    let waiting = waiting_in(lab.state.path());
    assert_eq!(waiting.iter().map(Waiting::bytes).collect::<Vec<_>>(), [3000, 0]);
    // A checkpoint is let in whatever is there: without it the bytes before it are worth less.
    spool.put(&about(1), line(3001), &[b'x'; 8000]).unwrap();
    assert!(spool.put(&about(1), chunk(3000, b"x"), b"x").is_err());
    waiting[0].covered(3001).unwrap();
    spool.put(&about(2), chunk(0, &[2; 4000]), &[2; 4000]).unwrap();
}

#[test]
fn what_a_crash_left_half_written_is_no_piece() {
    let lab = Lab::new();
    let spool = lab.spool(None);
    spool.put(&about(1), chunk(0, b"one"), b"one").unwrap();
    let folder = lab.state.path().join("spool").join(about(1).bundle.to_string());
    for torn in ["0000000000000003-00000003.age.4711", "0000000000000003.age", "3-3.age", "about.json.4711"] {
        fs::write(folder.join(torn), b"torn").unwrap();
    }
    fs::create_dir(lab.state.path().join("spool/no-bundle")).unwrap();
    let waiting = waiting_in(lab.state.path());
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].entries().unwrap(), [chunk(0, b"one")]);
    fs::write(folder.join(chunk(0, b"one").name()), vec![0; SPOOLED_BYTES_MAX_OF_A_FILE + 1]).unwrap();
    assert_eq!(waiting[0].read(chunk(0, b"one")).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    fs::write(folder.join("about.json"), b"{").unwrap();
    assert!(waiting_in(lab.state.path()).is_empty());
}

#[test]
fn a_clock_that_is_set_does_not_age_what_waits() {
    let about = about(0);
    let now = Moment::now();
    let year = 365 * 24 * 3600;
    let jumped = Moment { time: wire::Instant(now.time.0 + i128::from(year) * 1_000_000_000), ..now.clone() };
    assert!(!about.is_over(60, &jumped));
    let later = Moment { boottime_ns: now.boottime_ns + 61_000_000_000, ..now.clone() };
    assert!(about.is_over(60, &later) && !about.is_over(62, &later));
    // After a reboot there is only the wall clock.
    assert!(about.is_over(60, &Moment { boot: Some("another".into()), ..now }));
    assert!(Spool::new(Path::new("/"), "age1qqqq", None).is_err());
}
