//! What is wrong with a bundle, collected: a responder needs to know everything that was touched, not only the first.

use std::collections::BTreeMap;

use super::limits::{FINDINGS_MAX, FINDINGS_PER_CODE_MAX, NON_CANONICAL_MAX};

/// The codes of findings. They are a promise: `verify.py` and the vectors use the same words.
pub mod code {
    /// A byte of the container that the format does not write so: another program wrote or changed the file.
    pub const NON_CANONICAL: &str = "non_canonical";
    /// The bytes at this place are no entry: what follows cannot be read.
    pub const DAMAGED: &str = "damaged";
    /// An entry's content is not what its CRC or its manifest says.
    pub const CONTENT_CHANGED: &str = "content_changed";
    /// A manifest names an entry that is not there.
    pub const ENTRY_MISSING: &str = "entry_missing";
    /// An entry that no manifest names, or that comes after the seal.
    pub const ENTRY_ADDED: &str = "entry_added";
    /// Two entries with one name.
    pub const DUPLICATE_NAME: &str = "duplicate_name";
    /// A name that may not stand at its place, or that an extractor could not bear.
    pub const NAME_FORBIDDEN: &str = "name_forbidden";
    /// An entry whose folder has no earlier entry of its own.
    pub const PARENT_MISSING: &str = "parent_missing";
    /// An entry that stands at the wrong place of the stream.
    pub const OUT_OF_ORDER: &str = "out_of_order";
    /// A number is left out in the sequence of checkpoints, or a checkpoint lacks a part.
    pub const CHECKPOINT_MISSING: &str = "checkpoint_missing";
    /// A checkpoint that does not follow from the one before it, or that is of another bundle.
    pub const CHECKPOINT_CHAIN: &str = "checkpoint_chain";
    /// The container's bytes before a checkpoint are not those that were signed.
    pub const STREAM_MISMATCH: &str = "stream_mismatch";
    /// A signature that does not verify.
    pub const SIGNATURE_BAD: &str = "signature_bad";
    /// A good signature by another key than bundle.json's signer.
    pub const SIGNER_CHANGED: &str = "signer_changed";
    /// A manifest that is not the one that was signed, or not in the form of the format.
    pub const MANIFEST_MISMATCH: &str = "manifest_mismatch";
    /// The Merkle tree over the items is not the one that was signed.
    pub const MERKLE_MISMATCH: &str = "merkle_mismatch";
    /// An item record that contradicts its entry, or is not in the form of the format.
    pub const ITEM_MISMATCH: &str = "item_mismatch";
    /// Item ids that are not 1, 2, 3 …
    pub const ITEM_GAP: &str = "item_gap";
    /// The hash chain of the custody log is broken.
    pub const CUSTODY_CHAIN: &str = "custody_chain";
    /// The seal is missing or wrong.
    pub const SEAL_BAD: &str = "seal_bad";
    /// Bytes after the end.
    pub const TRAILING_BYTES: &str = "trailing_bytes";
    /// The signer reached further than the bytes that are here.
    pub const TRUNCATED: &str = "truncated";
    /// The transport checkpoints are of another bundle, or not in the form of the format.
    pub const SIDECAR_MISMATCH: &str = "sidecar_mismatch";
    /// The bytes are not those that a transport checkpoint was signed for.
    pub const TRANSPORT_MISMATCH: &str = "transport_mismatch";
    /// A block of an encrypted file does not authenticate, or its header does not.
    pub const DECRYPTION_FAILED: &str = "decryption_failed";
    /// A part of a run is not there.
    pub const PART_MISSING: &str = "part_missing";
    /// A part that does not follow from the one before it, or is of another run.
    pub const PART_CHAIN: &str = "part_chain";
    /// A limit of the verifier was met.
    pub const LIMIT: &str = "limit";
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// One of [`code`].
    pub code: &'static str,
    /// The entry, checkpoint or sidecar line; from the bundle, so not fit for a screen as it is.
    pub subject: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong with it, without the subject; holds nothing from the bundle that is not escaped.
    pub message: String,
}

/// All findings: the first ones in words, all of them counted.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<&'static str, u64>,
}

impl Findings {
    /// Notes a finding, once for each code and subject.
    pub(super) fn add(&mut self, code: &'static str, subject: &str, offset: u64, message: impl Into<String>) {
        let same_code = || self.kept.iter().filter(|finding| finding.code == code);
        if same_code().any(|finding| finding.subject == subject) {
            return;
        }
        let of_code_max = if code == code::NON_CANONICAL { NON_CANONICAL_MAX } else { FINDINGS_PER_CODE_MAX };
        let room = self.kept.len() < FINDINGS_MAX && same_code().count() < of_code_max;
        *self.counts.entry(code).or_default() += 1;
        if room {
            self.kept.push(Finding { code, subject: subject.to_owned(), offset, message: message.into() });
        }
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The findings that are kept in words, in the order in which they were met.
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How often each code was met, those that are not kept included.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// True when a finding has this code.
    pub fn has(&self, code: &str) -> bool {
        self.counts.contains_key(code)
    }

    /// True when this subject has a finding of this code.
    pub(super) fn names(&self, code: &str, subject: &str) -> bool {
        self.kept.iter().any(|finding| finding.code == code && finding.subject == subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_a_repetition_is_not() {
        let mut findings = Findings::default();
        for entry in 0..1_000 {
            findings.add(code::NON_CANONICAL, &entry.to_string(), 0, "");
            findings.add(code::CONTENT_CHANGED, "one", 0, "");
        }
        assert_eq!(findings.counts()[code::NON_CANONICAL], 1_000);
        assert_eq!(findings.counts()[code::CONTENT_CHANGED], 1);
        assert_eq!(findings.kept().len(), NON_CANONICAL_MAX + 1);
    }
}
