//! The vectors of encrypted bundles. What age makes is another file each time, so that the one that is there stays as
//! long as it holds the bundle that is wanted; its transport checkpoints are made of it anew.

use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::{Value, json};
use wire::Sha256;

use super::vectors::{Age, Vector, ZEROS, set, vector};
use super::{BUNDLE, Composer, TIME, composed, key, line_of};

/// The file in `bundle/vectors/`.
pub const FILE: &str = "age-good.evidence.zip.age";
/// The file with the key that opens it.
pub const KEY_FILE: &str = "age-key.txt";
/// The key. It is public: encrypt nothing to it.
pub const KEY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

/// One block, with what authenticates it.
const SEALED_BLOCK_BYTES: usize = (64 << 10) + 16;

/// All of them; `clear` is a bundle that is not encrypted.
pub fn all(clear: &[u8]) -> Vec<Vector> {
    let identity: age::x25519::Identity = KEY.parse().unwrap();
    let zip = composed(true, Some(identity.to_public().to_string()), &[]);
    let file = kept(&identity, &zip.out);
    let tier = begins(&file) + SEALED_BLOCK_BYTES;
    let lines = [line(&zip, &file[..tier], 1, |_| ()), line(&zip, &file, 2, |_| ())];
    let first = lines[0].clone();
    let both = lines.concat();
    let other_zip = [line(&zip, &file[..tier], 1, |signed| set(signed, "/zip_sha256", json!(ZEROS))), lines[1].clone()];
    let in_block = begins(&file) + 30_000;
    let make =
        |name, shows, made: (Option<usize>, Option<usize>), sidecar: Option<Vec<u8>>, said: Said, opened: Said| {
            let (cut, flip) = made;
            let mut bytes = file[..cut.unwrap_or(file.len())].to_vec();
            if let Some(at) = flip {
                bytes[at] ^= 1;
            }
            let age = Some(Age { cut, flip, opened: Some(opened) });
            Vector { age, ..vector(name, shows, bytes, sidecar, said.0, said.1, said.2) }
        };
    let sealed: Said = (0, "sealed", &[]);
    let partial: Said = (3, "partial", &[]);
    let unread: Said = (65, "error", &[]);
    let tampered = |findings| -> Said { (1, "tampered", findings) };
    let truncated = tampered(&["truncated"]);
    let mismatch = tampered(&["sidecar_mismatch"]);
    vec![
        make("age-good", "a sealed bundle, encrypted", (None, None), Some(both.clone()), sealed, sealed),
        make("age-alone", "without transport checkpoints it takes the key", (None, None), None, unread, sealed),
        make(
            "age-cut",
            "cut at a tier's end, with the transport checkpoints up to there",
            (Some(tier), None),
            Some(first),
            partial,
            partial,
        ),
        make("age-cut-in-a-block", "cut within its last block", (Some(file.len() - 9), None), None, unread, partial),
        make(
            "age-cut-in-its-first-block",
            "nothing of it can be decrypted",
            (Some(in_block), None),
            None,
            unread,
            unread,
        ),
        make(
            "age-truncated",
            "cut back after it was sealed",
            (Some(tier), None),
            Some(both.clone()),
            truncated,
            truncated,
        ),
        make(
            "age-block-changed",
            "a bit of a block",
            (None, Some(in_block)),
            Some(both.clone()),
            tampered(&["transport_mismatch"]),
            tampered(&["decryption_failed"]),
        ),
        make(
            "age-last-block-changed",
            "a bit of the last block: by itself it looks cut",
            (None, Some(file.len() - 1)),
            Some(both.clone()),
            tampered(&["transport_mismatch"]),
            tampered(&["transport_mismatch"]),
        ),
        make(
            "age-stream-of-the-zip",
            "transport checkpoints of the bundle inside",
            (None, None),
            Some(zip.sidecar.clone()),
            mismatch,
            mismatch,
        ),
        make(
            "age-stream-other-zip",
            "a transport checkpoint for another bundle inside",
            (None, None),
            Some(other_zip.concat()),
            sealed,
            tampered(&["transport_mismatch"]),
        ),
        vector(
            "stream-of-the-age-file",
            "transport checkpoints of the encrypted file",
            clear.to_vec(),
            Some(both),
            1,
            "tampered",
            &["sidecar_mismatch"],
        ),
    ]
}

type Said = (u8, &'static str, &'static [&'static str]);

/// The file that is there, or a new one.
fn kept(identity: &age::x25519::Identity, zip: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(FILE);
    if let Ok(there) = std::fs::read(path) {
        let mut plain = Vec::new();
        let opened = age::Decryptor::new_buffered(&there[..])
            .and_then(|decryptor| decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)));
        if opened.is_ok_and(|mut opened| opened.read_to_end(&mut plain).is_ok()) && plain == zip {
            return there;
        }
    }
    let recipient = identity.to_public();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut writer = encryptor.wrap_output(Vec::new()).unwrap();
    writer.write_all(zip).unwrap();
    writer.finish().unwrap()
}

/// Where the blocks begin: behind the header, whose last line begins with `---`, and the nonce of 16 bytes.
fn begins(file: &[u8]) -> usize {
    let mac = file.windows(5).position(|window| window == b"\n--- ").unwrap() + 1;
    mac + file[mac..].iter().position(|byte| *byte == b'\n').unwrap() + 1 + 16
}

/// A transport checkpoint for so much of the file.
fn line(zip: &Composer, held: &[u8], seq: u64, change: fn(&mut Vec<u8>)) -> Vec<u8> {
    let is_final = seq == 2;
    let inside = if is_final { &zip.out[..] } else { &zip.out[..zip.boundary] };
    let checkpoint: Value = json!({"bundle": BUNDLE, "final": is_final, "layer": "age", "offset": held.len(),
        "phase": if is_final { "final" } else { "volatile" }, "phase_complete": true, "seq": seq,
        "sha256": Sha256::of(held), "time": TIME, "type": "evidence-stream-checkpoint", "v": 1, "zip_boundary": true,
        "zip_offset": inside.len(), "zip_sha256": Sha256::of(inside)});
    let mut signed = checkpoint.to_string().into_bytes();
    change(&mut signed);
    line_of(&key(), &signed)
}
