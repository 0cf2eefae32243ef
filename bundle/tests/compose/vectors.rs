//! The named vectors: the good bundle, cut or with one rule broken, and what a verifier must say of it.

use bundle::checkpoint::to_sorted_json;
use serde_json::{Value, json};

use super::{Change, Composer, compose, other_key};

/// A vector, and what it shows.
pub struct Vector {
    pub name: &'static str,
    pub shows: &'static str,
    pub bundle: Vec<u8>,
    pub sidecar: Option<Vec<u8>>,
    /// Exit code when the vectors' key is trusted.
    pub exit: u8,
    pub state: &'static str,
    pub findings: &'static [&'static str],
    /// Of an encrypted bundle.
    pub age: Option<Age>,
}

/// How an encrypted bundle is made of the one that is there, and what shows when it is opened.
pub struct Age {
    /// Its first bytes only.
    pub cut: Option<usize>,
    /// The byte whose lowest bit is flipped.
    pub flip: Option<usize>,
    /// Exit code, state and findings of whoever has the key; `None` where nobody is asked.
    pub opened: Option<(u8, &'static str, &'static [&'static str])>,
}

/// A rule, broken: the vector's name, what it shows, the changes, the codes that must be found.
type Broken =
    (&'static str, &'static str, &'static [(&'static str, fn(&mut Composer, &mut Vec<u8>))], &'static [&'static str]);

const CHECKPOINT_2: &str = "checkpoint 2";

pub fn edit(bytes: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text:?}");
    *bytes = text.replacen(from, to, 1).into_bytes();
}

/// Sets a field of a JSON object, whether or not a line ends it.
pub fn set(bytes: &mut Vec<u8>, pointer: &str, value: Value) {
    let ends = bytes.ends_with(b"\n");
    let mut object: Value = serde_json::from_slice(bytes).unwrap();
    *object.pointer_mut(pointer).unwrap() = value;
    *bytes = to_sorted_json(&object).into_bytes();
    if ends {
        bytes.push(b'\n');
    }
}

pub const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[rustfmt::skip]
const BROKEN: &[Broken] = &[
    ("non-canonical-local-header", "a bit of a local header that the format fixes", &[("local uac.log", |_, b| b[4] = 10)], &["non_canonical"]),
    ("non-canonical-dos-time", "the two times of an entry differ", &[("local [root]/etc/passwd", |_, b| b[10] ^= 1)], &["non_canonical"]),
    ("non-canonical-descriptor", "a descriptor that does not fit the content", &[("descriptor [root]/etc/su", |_, b| b[4] ^= 1)], &["content_changed"]),
    ("non-canonical-directory-mode", "a mode in the central directory that is not the item's", &[("central [root]/etc/su", |_, b| b[40] ^= 1)], &["non_canonical"]),
    ("non-canonical-bundle-json", "bundle.json with a space", &[("content bundle.json", |_, b| edit(b, ",", ", "))], &["non_canonical"]),
    ("crc-wrong", "a CRC-32 that is not the content's", &[("local [root]/etc/passwd", |_, b| b[14] ^= 1)], &["content_changed", "non_canonical"]),
    ("deflate-damaged", "deflated data that cannot be read", &[("data data/volatile/processes.jsonl", |_, b| b[0] = 0xff)], &["content_changed", "item_mismatch"]),
    ("bag-declaration-changed", "bagit.txt is not the declaration", &[("content bagit.txt", |_, b| edit(b, "1.0", "0.9"))], &["content_changed"]),
    ("name-at-the-top", "a name that selects another loader", &[("before data/", |c, _| c.folder("uploads/"))], &["name_forbidden"]),
    ("name-in-checkpoints", "an unknown name under a checkpoint", &[("before [root]/etc/passwd", |c, _| c.file("checkpoints/000001/added", b"x"))], &["name_forbidden"]),
    ("name-traversal", "a name that leads out of the folder", &[("before data/agent.log", |c, _| c.file("data/../../evil", b"x"))], &["name_forbidden", "parent_missing"]),
    ("name-control-character", "a name with an escape sequence", &[("before data/agent.log", |c, _| c.file("data/\u{1b}[31m", b"x"))], &["name_forbidden"]),
    ("duplicate-name", "two entries with one name", &[("before bag-info.txt", |c, _| c.file("data/agent.log", b"sealing
"))], &["duplicate_name"]),
    ("file-and-folder", "a file and a folder with one name", &[("before data/agent.log", |c, _| c.file("data/volatile", b"x"))], &["duplicate_name"]),
    ("parent-missing", "an entry without its folder", &[("skip data/volatile/", |_, _| ())], &["parent_missing"]),
    ("opening-order", "uac.log is not the second entry", &[("before uac.log", |c, _| c.folder("memory/"))], &["out_of_order"]),
    ("data-after-bag-manifest", "evidence after the bag's manifest", &[("before checkpoints/000002/", |c, _| c.file("data/late.txt", b"x"))], &["entry_added", "out_of_order"]),
    ("entry-not-listed", "a manifest that leaves out an entry", &[("content checkpoints/000002/manifest-sha256.txt", |_, b| *b = b.splitn(2, |x| *x == b'\n').nth(1).unwrap().to_vec())], &["entry_added"]),
    ("entry-missing", "a manifest that lists what is not there", &[("content checkpoints/000002/manifest-sha256.txt", |_, b| b.extend(format!("{ZEROS}  data/gone\n").bytes()))], &["entry_missing"]),
    ("content-changed", "a manifest with another digest", &[("content checkpoints/000002/manifest-sha256.txt", |_, b| *b = [ZEROS.as_bytes(), &b[64..]].concat())], &["content_changed"]),
    ("manifest-form", "a manifest with one space", &[("content checkpoints/000002/manifest-sha256.txt", |_, b| edit(b, "  ", " "))], &["entry_added", "manifest_mismatch"]),
    ("payload-manifest-short", "the bag's manifest leaves out an entry", &[("content manifest-sha256.txt", |_, b| *b = b.splitn(2, |x| *x == b'\n').nth(1).unwrap().to_vec())], &["entry_added"]),
    ("tag-manifest-short", "the tag manifest leaves out an entry", &[("content tagmanifest-sha256.txt", |_, b| *b = b.splitn(2, |x| *x == b'\n').nth(1).unwrap().to_vec())], &["entry_added"]),
    ("checkpoint-missing", "checkpoint 2 is left out", &[("before data/agent.log", |c, _| c.checkpoint("files", false)), ("skip checkpoint 2", |_, _| ())], &["checkpoint_missing"]),
    ("checkpoint-chain", "a checkpoint does not follow from the one before", &[(CHECKPOINT_2, |_, b| set(b, "/prev_sha256", json!(ZEROS)))], &["checkpoint_chain"]),
    ("checkpoint-of-another-bundle", "a checkpoint of another bundle", &[(CHECKPOINT_2, |_, b| set(b, "/bundle", json!("019aa781-d4e0-7707-8707-070707070708")))], &["checkpoint_chain"]),
    ("checkpoint-seq", "a checkpoint's number is not its folder's", &[(CHECKPOINT_2, |_, b| set(b, "/seq", json!(3)))], &["checkpoint_chain"]),
    ("checkpoint-phase", "the phase goes back", &[(CHECKPOINT_2, |_, b| set(b, "/phase", json!("start")))], &["checkpoint_chain"]),
    ("checkpoint-manifest-digest", "a checkpoint signs another manifest", &[(CHECKPOINT_2, |_, b| set(b, "/manifest/sha256", json!(ZEROS)))], &["manifest_mismatch"]),
    ("checkpoint-items", "a checkpoint signs another number of items", &[(CHECKPOINT_2, |_, b| set(b, "/items", json!(7)))], &["item_gap"]),
    ("checkpoint-not-canonical", "a checkpoint with a space", &[(CHECKPOINT_2, |_, b| edit(b, ",", ", "))], &["checkpoint_chain"]),
    ("stream-digest", "the signed digest of the stream is another", &[(CHECKPOINT_2, |_, b| set(b, "/stream/sha256", json!(ZEROS)))], &["stream_mismatch"]),
    ("stream-offset", "the signed offset is another", &[(CHECKPOINT_2, |_, b| set(b, "/stream/offset", json!(1)))], &["stream_mismatch"]),
    ("merkle-root", "the signed root is another", &[(CHECKPOINT_2, |_, b| set(b, "/merkle/root", json!(ZEROS)))], &["merkle_mismatch"]),
    ("merkle-size", "the signed size is another", &[(CHECKPOINT_2, |_, b| set(b, "/merkle/size", json!(9)))], &["merkle_mismatch"]),
    ("custody-head", "the signed custody head is another", &[(CHECKPOINT_2, |_, b| set(b, "/custody_sha256", json!(ZEROS)))], &["custody_chain"]),
    ("custody-chain", "a custody line does not name the one before", &[("custody 2", |_, b| set(b, "/prev_sha256", json!(ZEROS)))], &["custody_chain"]),
    ("custody-seq", "a custody line's number is another", &[("custody 2", |_, b| set(b, "/seq", json!(5)))], &["custody_chain"]),
    ("custody-not-sealing", "the custody log does not end with sealing", &[("custody 3", |_, b| set(b, "/event", json!("collected")))], &["seal_bad"]),
    ("item-gap", "item ids leave out a number", &[("item 2", |_, b| set(b, "/id", json!(9)))], &["item_gap"]),
    ("item-digest", "an item's digest is not its entry's", &[("item 1", |_, b| set(b, "/sha256", json!(ZEROS)))], &["item_mismatch"]),
    ("item-size", "an item's size is not its entry's", &[("item 1", |_, b| set(b, "/size", json!(1)))], &["item_mismatch"]),
    ("item-entry-missing", "an item names what is not there", &[("item 1", |_, b| set(b, "/stored", json!("data/gone")))], &["item_mismatch"]),
    ("item-not-canonical", "an item with a space", &[("item 2", |_, b| edit(b, ",", ", "))], &["item_gap", "item_mismatch"]),
    ("item-hardlink", "a hard link to a later item", &[("item 5", |_, b| set(b, "/hardlink_of", json!(6)))], &["item_mismatch"]),
    ("item-twice", "two items describe one entry", &[("item 5", |_, b| twice(b))], &["item_mismatch"]),
    ("root-without-item", "a file of the host without an item", &[("before data/agent.log", |c, _| c.file("[root]/etc/odd", b"x"))], &["item_mismatch"]),
    ("checkpoint-signature-damaged", "a signature that does not verify", &[("signature checkpoints/000002/checkpoint.json.sig", |_, b| b[90] ^= 1)], &["signature_bad"]),
    ("checkpoint-signature-line-breaks", "a good signature in another armour", &[("signature checkpoints/000002/checkpoint.json.sig", |_, b| b.push(b'\n'))], &["signature_bad"]),
    ("signer-changed", "a checkpoint signed by another key", &[(CHECKPOINT_2, |c, _| c.key = other_key()), ("content tagmanifest-sha256.txt", |c, _| c.key = super::key())], &["signer_changed"]),
    ("seal-signature-damaged", "the seal's signature does not verify", &[("signature tagmanifest-sha256.txt.sig", |_, b| b[90] ^= 1)], &["seal_bad", "signature_bad"]),
    ("added-after-the-seal", "an entry after the seal", &[("directory", |c, b| { let directory = std::mem::take(b); c.file("data/added", b"x"); *b = directory; })], &["entry_added", "non_canonical"]),
    ("pad-in-the-clear", "a pad in a bundle that is not encrypted", &[("before [root]/etc/passwd", |c, _| c.file("checkpoints/000001/pad", &[0; 9]))], &["non_canonical"]),
    ("trailing-bytes", "bytes after the end", &[("after the end", |_, b| b.extend(b"x"))], &["trailing_bytes"]),
];

fn twice(bytes: &mut Vec<u8>) {
    let mut object: Value = serde_json::from_slice(bytes).unwrap();
    let fields = object.as_object_mut().unwrap();
    fields.remove("hardlink_of");
    fields.insert("stored".into(), json!("[root]/etc/passwd"));
    fields.insert("size".into(), json!(30));
    fields.insert("sha256".into(), json!(wire::Sha256::of(b"root:x:0:0:root:/root:/bin/sh\n")));
    *bytes = object.to_string().into_bytes();
}

/// All vectors, in the order of the file that lists them.
pub fn all() -> Vec<Vector> {
    let (good, sidecar) = compose(true, &[]);
    let mut vectors = vec![vector("good", "a sealed bundle", good.clone(), Some(sidecar.clone()), 0, "sealed", &[])];
    vectors.extend(cuts(&good));
    vectors.extend(transport(&good, &sidecar));
    vectors.extend(siblings());
    vectors.extend(super::encrypted::all(&good));
    for (name, shows, sites, findings) in BROKEN {
        let changes: Vec<Change> = sites.iter().map(|(site, change)| Change { site, change: *change }).collect();
        let (bundle, _) = compose(false, &changes);
        vectors.push(vector(name, shows, bundle, None, 1, "tampered", findings));
    }
    vectors
}

pub fn vector(
    name: &'static str,
    shows: &'static str,
    bundle: Vec<u8>,
    sidecar: Option<Vec<u8>>,
    exit: u8,
    state: &'static str,
    findings: &'static [&'static str],
) -> Vector {
    Vector { name, shows, bundle, sidecar, exit, state, findings, age: None }
}

/// Bundles that stand beside another one.
fn siblings() -> [Vector; 2] {
    let beside = Change {
        site: "content bundle.json",
        change: |_, b| edit(b, "{", "{\"belongs_to\":\"019aa781-d4e0-7707-8707-070707070708\","),
    };
    let memory = Change {
        site: "before data/agent.log",
        change: |c, _| {
            c.folder("memory/");
            c.file("memory/web-1.lime", b"a range of physical memory");
            c.item(json!({"kind": "memory", "path": "/proc/kcore"}), Some("memory/web-1.lime"));
        },
    };
    let itself = Change {
        site: "content bundle.json",
        change: |_, b| {
            let header: Value = serde_json::from_slice(b).unwrap();
            let own = header["bundle"].as_str().unwrap();
            edit(b, "{", &format!("{{\"belongs_to\":\"{own}\","));
        },
    };
    let sealed = compose(true, &[beside, memory]).0;
    let (alone, _) = compose(true, &[itself]);
    [
        vector("sibling", "physical memory, beside the bundle of its run", sealed, None, 0, "sealed", &[]),
        vector("sibling-of-itself", "a bundle that says it belongs to itself", alone, None, 65, "error", &[]),
    ]
}

/// Where the second checkpoint's index ends, and where the first checkpoint does.
fn cuts(good: &[u8]) -> Vec<Vector> {
    let find =
        |needle: &[u8], from: usize| from + good[from..].windows(needle.len()).position(|w| w == needle).unwrap();
    let first_json = find(b"checkpoints/000001/checkpoint.json", 0);
    let boundary = find(b"PK\x05\x06", 0) + 22;
    let su = find(b"[root]/etc/su", boundary) + 60;
    let directory = good.len() - 500;
    let torn = |name, shows, from: usize, exit, state| {
        vector(name, shows, zeros_from(good, from, 1_000), None, exit, state, &[])
    };
    let cut = |name, shows, end: usize, exit, state| vector(name, shows, good[..end].to_vec(), None, exit, state, &[]);
    vec![
        cut("cut-before-first-checkpoint", "nothing is signed yet", first_json, 65, "unverified"),
        cut("cut-at-boundary", "the data ends with an index: an ordinary ZIP", boundary, 3, "partial"),
        cut("cut-mid-header", "the data ends inside a local header", boundary + 20, 3, "partial"),
        cut("cut-mid-entry", "the data ends inside an entry", su, 3, "partial"),
        cut("cut-mid-directory", "the data ends inside the central directory", directory, 3, "partial"),
        torn("zeros-after-boundary", "after an index a power cut left zeros", boundary, 3, "partial"),
        torn("zeros-mid-header", "zeros from the middle of a local header", boundary + 20, 3, "partial"),
        torn("zeros-mid-entry", "zeros from the middle of an entry", su, 3, "partial"),
        torn("zeros-mid-directory", "zeros from the middle of the central directory", directory, 3, "partial"),
        torn("zeros-before-first-checkpoint", "zeros before anything is signed", first_json, 65, "unverified"),
        vector("not-a-bundle", "another file", b"hello, this is text\n".to_vec(), None, 65, "error", &[]),
        vector("encrypted", "an age file", b"age-encryption.org/v1\n-> X25519 x\n".to_vec(), None, 65, "error", &[]),
    ]
}

/// The first bytes, and zeros after them.
fn zeros_from(bytes: &[u8], from: usize, zeros: usize) -> Vec<u8> {
    [&bytes[..from], &vec![0; zeros][..]].concat()
}

/// What the transport checkpoints show that the bundle alone cannot.
fn transport(good: &[u8], sidecar: &[u8]) -> Vec<Vector> {
    let boundary = good.windows(4).position(|w| w == b"PK\x05\x06").unwrap() + 22;
    let first = sidecar.iter().position(|b| *b == b'\n').unwrap() + 1;
    let changed = |site, change| compose(true, &[Change { site, change }]).1;
    let mut one_bit = sidecar.to_vec();
    one_bit[first + 30] ^= 1;
    let with = |name, shows, bundle: &[u8], sidecar: Vec<u8>, exit, state, findings| {
        vector(name, shows, bundle.to_vec(), Some(sidecar), exit, state, findings)
    };
    vec![
        with(
            "stream-partial",
            "a cut bundle with the transport checkpoints up to there",
            &good[..boundary],
            sidecar[..first].to_vec(),
            3,
            "partial",
            &[],
        ),
        with("stream-cut-in-line", "a sidecar that was cut", good, sidecar[..first + 100].to_vec(), 0, "sealed", &[]),
        with(
            "stream-torn-in-line",
            "a sidecar whose last line a power cut left half written",
            &good[..boundary],
            zeros_from(sidecar, first + 100, 300),
            3,
            "partial",
            &[],
        ),
        with(
            "stream-zeros",
            "a power cut left zeros in both files, beyond the last transport checkpoint",
            &zeros_from(good, boundary + 20, 1_000),
            zeros_from(sidecar, first, 300),
            3,
            "partial",
            &[],
        ),
        with(
            "stream-torn-before-the-end",
            "zeros in a line that others follow",
            good,
            [&zeros_from(sidecar, first - 100, 99)[..], &sidecar[first - 1..]].concat(),
            1,
            "tampered",
            &["sidecar_mismatch"],
        ),
        with(
            "stream-zeros-were-signed",
            "zeros where a transport checkpoint was signed for other bytes",
            &zeros_from(good, boundary - 300, 300),
            sidecar[..first].to_vec(),
            1,
            "tampered",
            &["transport_mismatch"],
        ),
        with(
            "stream-truncated",
            "cut back after it was sealed",
            &good[..boundary],
            sidecar.to_vec(),
            1,
            "tampered",
            &["truncated"],
        ),
        with(
            "stream-other-bundle",
            "transport checkpoints of another bundle",
            good,
            changed("sidecar 2", |_, b| set(b, "/bundle", json!("019aa781-d4e0-7707-8707-070707070708"))),
            1,
            "tampered",
            &["sidecar_mismatch"],
        ),
        with(
            "stream-order",
            "an offset that does not increase",
            good,
            changed("sidecar 2", |_, b| set(b, "/seq", json!(1))),
            1,
            "tampered",
            &["sidecar_mismatch"],
        ),
        with(
            "stream-other-digest",
            "a transport checkpoint for other bytes",
            good,
            changed("sidecar 1", |_, b| set(b, "/sha256", json!(ZEROS))),
            1,
            "tampered",
            &["transport_mismatch"],
        ),
        with(
            "stream-other-signer",
            "a transport checkpoint by another key",
            good,
            changed("sidecar 2", |c, _| c.key = other_key()),
            1,
            "tampered",
            &["signer_changed"],
        ),
        with(
            "stream-line-changed",
            "a line shows what it does not sign",
            good,
            one_bit,
            1,
            "tampered",
            &["sidecar_mismatch"],
        ),
        with(
            "stream-trailing-bytes",
            "bytes after the signer's last word",
            &[good, b"x"].concat(),
            sidecar.to_vec(),
            1,
            "tampered",
            &["trailing_bytes"],
        ),
    ]
}
