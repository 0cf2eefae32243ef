//! Bundles that are encrypted to analysts: what leaves age when, and what can be had of a file that was cut.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod common;

use std::io::Read as _;

use bundle::checkpoint::{CHUNK_BYTES, Layer, StreamCheckpoint, StreamLine};
use bundle::encryption::{BLOCK_BYTES, Recipient};
use bundle::header::{Encryption, Header};
use bundle::write::Writer;
use common::{NOW, file, header, key, world};
use wire::{Sha256, Tier};

/// The key of an analyst, as age-keygen makes it.
fn analyst() -> age::x25519::Identity {
    "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33".parse().unwrap()
}

/// A bundle of about so many bytes, encrypted.
fn encrypted(bytes: usize) -> (Vec<u8>, Vec<StreamCheckpoint>) {
    let recipient: Recipient = analyst().to_public().to_string().parse().unwrap();
    let header = Header { encryption: Encryption::to(&[recipient]), ..header(&key()) };
    let mut writer = Writer::start(Vec::new(), Vec::new(), header, world(key())).unwrap();
    for (number, tier) in [Tier::Volatile, Tier::System, Tier::Files].into_iter().enumerate() {
        writer.begin_step(tier, "files", NOW);
        for n in 0..bytes / 3 / 50_000 {
            // Nothing that shrinks.
            let content: Vec<u8> = (0..1_563_u64)
                .flat_map(|k| Sha256::of(&(k + ((n as u64 + number as u64 * 1_000_000) << 32)).to_le_bytes()).0)
                .collect();
            writer.whole(file(format!("/srv/{number}/{n:05}").as_bytes(), "0100644", 50_016), content).unwrap();
        }
        writer.end_step(bundle::coverage::Outcome::Completed, None).unwrap();
        writer.tier_end(tier).unwrap();
    }
    let (sealed, out, sidecar) = writer.seal(&serde_json::json!({}), b"").unwrap();
    assert_eq!((sealed.bytes, sealed.sha256), (out.len() as u64, Sha256::of(&out)));
    let lines = sidecar.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    (out, lines.map(|line| serde_json::from_slice::<StreamLine>(line).unwrap().checkpoint).collect())
}

/// All that age gives of a file that may be cut.
fn decrypted(ciphertext: &[u8]) -> Vec<u8> {
    let identity = analyst();
    let decryptor = age::Decryptor::new_buffered(ciphertext).unwrap();
    let mut plain = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).unwrap();
    let (mut out, mut piece) = (Vec::new(), [0; 1_000]);
    while let Ok(count @ 1..) = plain.read(&mut piece) {
        out.extend(&piece[..count]);
    }
    out
}

#[test]
fn what_a_transport_checkpoint_says_can_be_had_of_the_bytes_before_it() {
    for bytes in [0, 400_000, 9_000_000] {
        let (out, checkpoints) = encrypted(bytes);
        let whole = decrypted(&out);
        let (mut boundaries, mut before) = (0, 0);
        for checkpoint in &checkpoints {
            assert_eq!(checkpoint.layer, Layer::Age);
            let held = &out[..usize::try_from(checkpoint.offset).unwrap()];
            assert_eq!(Sha256::of(held), checkpoint.sha256);
            let zip_offset = usize::try_from(checkpoint.zip_offset.unwrap()).unwrap();
            let had = decrypted(held);
            assert!(zip_offset >= before && had.len() >= zip_offset, "{zip_offset} of {checkpoint:?}");
            assert_eq!(Sha256::of(&whole[..zip_offset]), checkpoint.zip_sha256.unwrap());
            if checkpoint.zip_boundary {
                boundaries += 1;
                zip::ZipArchive::new(std::io::Cursor::new(&had[..zip_offset])).unwrap();
            } else {
                assert_eq!((checkpoint.offset % CHUNK_BYTES, zip_offset as u64 % BLOCK_BYTES), (0, 0));
            }
            before = zip_offset;
        }
        let complete = checkpoints.iter().filter(|checkpoint| checkpoint.phase_complete).count();
        assert_eq!(complete, 4, "three tiers and the seal");
        assert!(boundaries >= complete);
        let last = checkpoints.last().unwrap();
        assert!(last.is_final && last.offset == out.len() as u64 && last.zip_offset == Some(whole.len() as u64));
        assert!(bytes < 9_000_000 || checkpoints.iter().any(|checkpoint| !checkpoint.zip_boundary));
        assert!(!out.windows(9).any(|window| window == b"bagit.txt"));
    }
}

#[test]
fn a_pad_is_never_longer_than_a_block_and_ends_just_beyond_one() {
    let (out, checkpoints) = encrypted(3_000_000);
    let whole = decrypted(&out);
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&whole)).unwrap();
    let mut pads = 0;
    for n in 0..archive.len() {
        let mut entry = archive.by_index(n).unwrap();
        if entry.name().unwrap().ends_with("/pad") {
            pads += 1;
            let (mut content, end) = (Vec::new(), entry.data_start().unwrap() + entry.size());
            entry.read_to_end(&mut content).unwrap();
            assert!(content.iter().all(|byte| *byte == 0) && content.len() < 65_536);
            assert!(end % BLOCK_BYTES == 1 || content.is_empty(), "{end}");
        }
    }
    assert_eq!(pads, checkpoints.iter().filter(|checkpoint| checkpoint.phase_complete && !checkpoint.is_final).count());
}
