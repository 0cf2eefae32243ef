//! The corpus: made here, entry by entry, from the beginning of a good bundle, which a trusted key has signed.

use std::fs::{self, File};
use std::io::{BufWriter, Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bundle::zip::{Entry, Method, Stamp, descriptor, local};
use harness::root;

/// What a bomb unfolds to.
const BOMB_BYTES: u64 = 512 << 20;
/// What has no end on a disk that has no room for it: a hole.
const HOLE_BYTES: u64 = 2 << 30;
/// Entries without content.
const ENTRIES: usize = 1_000_000;
const ENTRIES_FOR_PYTHON: usize = 50_000;
/// Nested far deeper than any reader's stack is.
const DEEP: usize = 200_000;

/// One of them.
pub struct Broken {
    /// What is wrong with it.
    pub what: &'static str,
    pub path: PathBuf,
    /// Transport checkpoints, where they are the broken part.
    pub stream: Option<PathBuf>,
    /// What the verifiers end with, and what they must say.
    pub code: i32,
    pub named: &'static str,
    /// Small enough for a verifier in Python, and for an upload.
    pub is_for_python: bool,
    pub is_for_upload: bool,
    /// It does not even say which bundle it would be.
    pub is_no_bundle: bool,
}

impl Broken {
    /// Takes its files away again.
    pub fn remove(&self) {
        for path in [Some(&self.path), self.stream.as_ref()].into_iter().flatten() {
            let _ = fs::remove_file(path);
        }
    }
}

struct Maker<'a> {
    folder: &'a Path,
    good: Vec<u8>,
    /// Where the first checkpoint ends: up to here everything verifies.
    checkpoint: usize,
    made: Vec<Broken>,
}

/// Makes all of them in this folder.
pub fn corpus(folder: &Path) -> Vec<Broken> {
    let vectors = root().join("bundle/vectors");
    let good = fs::read(vectors.join("good.evidence.zip")).unwrap();
    let stream = fs::read_to_string(vectors.join("good.stream.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(stream.lines().next().unwrap()).unwrap();
    let checkpoint = usize::try_from(first["offset"].as_u64().unwrap()).unwrap();
    let mut maker = Maker { folder, good, checkpoint, made: Vec::new() };
    maker.bombs();
    maker.names();
    maker.lies();
    maker.depths();
    maker.masses();
    maker.holes();
    maker.made
}

fn entry(name: &str, method: Method, streamed: bool) -> Entry {
    // What stands for a file of the host has its times and owner.
    let stamp = name.starts_with("[root]").then(|| Stamp::new(1_700_000_000, 0, 0));
    Entry { name: name.to_owned(), method, streamed, stamp }
}

fn stored(out: &mut Vec<u8>, name: &str, content: &[u8]) {
    local(out, &entry(name, Method::Stored, false), crc32(content), content.len() as u64, content.len() as u64);
    out.extend(content);
}

fn crc32(bytes: &[u8]) -> u32 {
    libdeflater::crc32(bytes)
}

/// What every bomb holds, deflated to a thousandth of it, and its CRC-32.
fn fuse() -> &'static (Vec<u8>, u32) {
    static FUSE: LazyLock<(Vec<u8>, u32)> = LazyLock::new(|| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file("bomb", zip::write::SimpleFileOptions::default()).unwrap();
        let (piece, mut crc) = (vec![b'x'; 1 << 20], libdeflater::Crc::new());
        for _ in 0..BOMB_BYTES / piece.len() as u64 {
            archive.write_all(&piece).unwrap();
            crc.update(&piece);
        }
        let mut archive = zip::ZipArchive::new(archive.finish().unwrap()).unwrap();
        let mut deflated = Vec::new();
        archive.by_index_raw(0).unwrap().read_to_end(&mut deflated).unwrap();
        (deflated, crc.sum())
    });
    &FUSE
}

fn bomb(out: &mut Vec<u8>, name: &str) {
    let (deflated, crc) = fuse();
    local(out, &entry(name, Method::Deflate, true), 0, 0, 0);
    out.extend(deflated);
    descriptor(out, *crc, deflated.len() as u64, BOMB_BYTES);
}

impl Maker<'_> {
    /// What was signed first, and after it whatever follows.
    fn after_checkpoint(&self, follows: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = self.good[..self.checkpoint].to_vec();
        follows(&mut bytes);
        bytes
    }

    /// The bundle up to its `bundle.json`, and another one in its place.
    fn other_header(&self, follows: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let name = self.good.windows(11).position(|name| name == b"bundle.json").unwrap();
        // A local header has thirty bytes before the name.
        let mut bytes = self.good[..name - 30].to_vec();
        follows(&mut bytes);
        bytes
    }

    fn add(&mut self, what: &'static str, bytes: &[u8], code: i32, named: &'static str) -> &mut Broken {
        let path = self.folder.join(format!("{what}.evidence.zip"));
        fs::write(&path, bytes).unwrap();
        self.made.push(Broken {
            what,
            path,
            stream: None,
            code,
            named,
            is_for_python: true,
            is_for_upload: true,
            is_no_bundle: false,
        });
        self.made.last_mut().unwrap()
    }

    fn bombs(&mut self) {
        let bytes = self.after_checkpoint(|out| bomb(out, "[root]/etc/bomb"));
        self.add("bomb-file", &bytes, 3, "partial");
        let bytes = self.after_checkpoint(|out| bomb(out, "data/items/000002.jsonl"));
        self.add("bomb-in-one-line", &bytes, 1, "data/items/000002.jsonl");
        let bytes = self.after_checkpoint(|out| bomb(out, "manifest-sha256.txt"));
        self.add("bomb-manifest", &bytes, 1, "manifest-sha256.txt");
        let bytes = self.other_header(|out| bomb(out, "bundle.json"));
        self.add("bomb-header", &bytes, 1, "bundle.json").is_no_bundle = true;
    }

    fn names(&mut self) {
        for (what, name) in [
            ("name-leads-out", "[root]/../../../etc/cron.d/x"),
            ("name-from-the-top", "/etc/cron.d/x"),
            ("name-with-a-drive", "C:\\Windows\\x"),
            ("name-with-an-escape", "[root]/\u{1b}[2Jx"),
        ] {
            let bytes = self.after_checkpoint(|out| stored(out, name, b"x"));
            self.add(what, &bytes, 1, "name");
        }
        let long = format!("[root]/{}", "n".repeat(65_000));
        let bytes = self.after_checkpoint(|out| stored(out, &long, b"x"));
        self.add("name-of-65000-bytes", &bytes, 1, "name");
    }

    fn lies(&mut self) {
        // The directory of the good one, in which two entries lie at one place.
        let mut bytes = self.good.clone();
        let places: Vec<usize> =
            bytes.windows(4).enumerate().filter(|(_, four)| four == b"PK\x01\x02").map(|(at, _)| at).collect();
        let last = places[places.len() - 1];
        let first = bytes[places[places.len() - 2] + 42..][..4].to_vec();
        bytes[last + 42..last + 46].copy_from_slice(&first);
        self.add("overlapping", &bytes, 1, "directory");
        // Longer than the file, and longer than any file.
        for (what, size) in [("longer-than-the-file", 0x7fff_ffff_u64), ("longer-than-any-file", 0xffff_ffff)] {
            let bytes = self.after_checkpoint(|out| {
                local(out, &entry("[root]/etc/x", Method::Stored, false), 0, size, size);
                out.extend(b"short");
            });
            self.add(what, &bytes, 1, "[root]/etc/x");
        }
        let bytes = self.after_checkpoint(|out| {
            local(out, &entry("[root]/etc/x", Method::Deflate, true), 0, 0, 0);
            out.extend([1, 0, 0, 0xff, 0xff]);
            descriptor(out, 0, u64::MAX, u64::MAX);
        });
        self.add("descriptor-lies", &bytes, 1, "[root]/etc/x");
    }

    fn depths(&mut self) {
        let deep = "[".repeat(DEEP);
        let bytes = self.other_header(|out| stored(out, "bundle.json", deep.as_bytes()));
        self.add("deep-header", &bytes, 65, "bundle").is_no_bundle = true;
        let line = format!("{}\n", &deep[..60_000]);
        let bytes = self.after_checkpoint(|out| stored(out, "data/items/000002.jsonl", line.as_bytes()));
        self.add("deep-item", &bytes, 1, "data/items/000002.jsonl");
        let bytes = self.after_checkpoint(|out| stored(out, "data/custody/000002.jsonl", line.as_bytes()));
        self.add("deep-custody", &bytes, 1, "data/custody/000002.jsonl");
        let bytes = self.good.clone();
        let stream = self.folder.join("deep.stream.jsonl");
        fs::write(&stream, format!("{}\n", &deep[..16_000])).unwrap();
        let broken = self.add("deep-sidecar", &bytes, 1, "sidecar");
        (broken.stream, broken.is_for_upload) = (Some(stream), false);
    }

    fn masses(&mut self) {
        for (what, count) in [("million-entries", ENTRIES), ("many-entries", ENTRIES_FOR_PYTHON)] {
            let path = self.folder.join(format!("{what}.evidence.zip"));
            let mut file = BufWriter::new(File::create(&path).unwrap());
            file.write_all(&self.good[..self.checkpoint]).unwrap();
            let mut header = Vec::new();
            for number in 0..count {
                header.clear();
                stored(&mut header, &format!("[root]/{number}"), b"");
                file.write_all(&header).unwrap();
            }
            file.flush().unwrap();
            let broken = Broken {
                what,
                path,
                stream: None,
                code: 3,
                named: "partial",
                is_for_python: count < ENTRIES,
                is_for_upload: count < ENTRIES,
                is_no_bundle: false,
            };
            self.made.push(broken);
        }
    }

    fn holes(&mut self) {
        let hole = |path: &Path, before: &[u8]| {
            let mut file = File::create(path).unwrap();
            file.write_all(before).unwrap();
            file.set_len(HOLE_BYTES).unwrap();
        };
        let good = self.good.clone();
        let prefix = good[..self.checkpoint].to_vec();
        let broken = self.add("endless-zeros", &prefix, 1, "the file");
        broken.is_for_upload = false;
        hole(&broken.path.clone(), &prefix);
        let stream = self.folder.join("endless.stream.jsonl");
        hole(&stream, b"{");
        let broken = self.add("endless-sidecar", &good, 1, "transport checkpoints");
        (broken.stream, broken.is_for_upload) = (Some(stream), false);
        let mut beginning = [0; 4];
        File::open(&self.made[0].path).unwrap().read_exact(&mut beginning).unwrap();
        assert_eq!(&beginning, b"PK\x03\x04", "the corpus is made of ZIP files");
    }
}
