//! The server's custody log, checked without the server: every leaf, the tree over all of them, and the head that the
//! server signed.
//!
//! What it proves: these are the leaves that the holder of this key signed, none changed, left out or added. With a
//! head that was seen before, from a receipt or another export: nothing up to there was rewritten since. It does not
//! prove that the server wrote down all that it did; the heads that others keep are what binds it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _};

use ssh_key::PublicKey;
use wire::Sha256;
use wire::api::CustodyLine;
use wire::custody::{HEAD_TYPE, Head, HeadPoint, LEAF_BYTES_MAX, Leaf};
use wire::signed::{Signed, namespace};

use crate::merkle::Tree;
use crate::sign::{NotSigned, SignError, SigningKey, open_by_anybody};
use crate::time::Instant;

/// As whom the server signs.
pub const SERVER_PRINCIPAL: &str = "server";
/// One line of an export, without its LF: a leaf's text is escaped once more in it.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Leaves of an export: what a busy server writes in decades.
pub const LEAVES_MAX: u64 = 100_000_000;

const _: () = assert!(LEAF_BYTES_MAX * 2 < LINE_BYTES_MAX);

/// What is wrong with an export. Lines count from 1, leaves from 0.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// It could not be read to its end.
    #[error("the custody log could not be read")]
    Read(#[source] io::Error),
    /// A line is longer than any that the server writes.
    #[error("line {0} is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong(u64),
    /// It has more leaves than this version takes.
    #[error("it has more than {LEAVES_MAX} leaves")]
    TooManyLeaves,
    /// A line is neither a leaf nor a head.
    #[error("line {0} is no line of a custody log")]
    LineBad(u64, #[source] serde_json::Error),
    /// The text of a leaf is none.
    #[error("line {0}: its leaf cannot be read")]
    LeafBad(u64, #[source] serde_json::Error),
    /// A leaf or a head is of a version that is not known here.
    #[error("line {line}: version {version} is not known here\n  hint: a newer holdfast may read it")]
    VersionUnknown {
        /// Where.
        line: u64,
        /// What it says.
        version: u32,
    },
    /// A leaf is missing, doubled, or at another place.
    #[error("line {line}: leaf {wanted} should stand here, and it is leaf {found}: a leaf was removed, added or moved")]
    OutOfSequence {
        /// Where.
        line: u64,
        /// The number that belongs there.
        wanted: u64,
        /// The number that stands there.
        found: u64,
    },
    /// Something stands behind the head.
    #[error("line {0} stands after the signed head, which ends the log")]
    AfterHead(u64),
    /// The log has no head: nobody signed it.
    #[error("it ends without a signed head\n  hint: was the download cut off?")]
    HeadMissing,
    /// The head is not signed as it should be.
    #[error("the head's signature does not hold")]
    HeadNotSigned(#[source] NotSigned),
    /// The head is signed by another key than the server's.
    #[error("the head is signed by another key than the server's")]
    HeadByAnother,
    /// What is signed is no head.
    #[error("what is signed is no head of a custody log")]
    HeadBad(#[source] Option<serde_json::Error>),
    /// There are more or fewer leaves than were signed.
    #[error("the head is of {signed} leaves, and {found} are here: leaves were removed or added")]
    SizeDiffers {
        /// As signed.
        signed: u64,
        /// As read.
        found: u64,
    },
    /// The leaves are not those that were signed.
    #[error("the leaves are not those that the head was signed for: at least one was changed")]
    RootDiffers,
    /// The log had more leaves before.
    #[error("it had {before} leaves before, and has {now}: leaves were removed from its end")]
    Shortened {
        /// As seen before.
        before: u64,
        /// Now.
        now: u64,
    },
    /// The leaves that were there before are others now.
    #[error("its first {0} leaves are not those that it had before: the log was rewritten, and signed again")]
    Rewritten(u64),
}

/// A log that holds. Only [`verify_export`] makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifiedLog {
    /// The farthest step back of the server's clock between two neighbours. Commits overtake each other by
    /// milliseconds, and clocks are set; more than that is a question to the operator, not a proof.
    pub clock_back: Option<ClockBack>,
    /// When the first leaf was written.
    pub first: Option<Instant>,
    /// What the server signed.
    pub head: Head,
    /// When the last leaf was written.
    pub last: Option<Instant>,
    /// The roots that it had at the sizes that were asked for.
    roots: BTreeMap<u64, Sha256>,
    /// The key that signed.
    pub signer: PublicKey,
}

impl VerifiedLog {
    /// Whether this state, whose size was asked for, is on the way to this log: nothing that was there then was changed
    /// or removed.
    ///
    /// # Errors
    /// [`CustodyError::Shortened`], [`CustodyError::Rewritten`].
    pub fn continues(&self, earlier: &HeadPoint) -> Result<(), CustodyError> {
        let now = self.head.point.size;
        if earlier.size > now {
            return Err(CustodyError::Shortened { before: earlier.size, now });
        }
        if self.roots.get(&earlier.size) != Some(&earlier.root) {
            return Err(CustodyError::Rewritten(earlier.size));
        }
        Ok(())
    }
}

/// See [`VerifiedLog::clock_back`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockBack {
    /// By how much, in nanoseconds.
    pub by_ns: u64,
    /// The leaf that is older than the one before it.
    pub seq: u64,
}

/// Signs the state of the log.
///
/// # Errors
/// [`SignError`].
pub fn sign_head(key: &SigningKey, point: HeadPoint, time: Instant) -> Result<Signed, SignError> {
    let head = Head { point, time, kind: HEAD_TYPE.to_owned(), v: 1 };
    // By way of a value, whose keys are sorted: the flattened point stands first in the struct.
    let message = serde_json::to_value(&head).map(|head| head.to_string()).unwrap_or_default();
    key.envelope(SERVER_PRINCIPAL, namespace::CUSTODY, message.as_bytes())
}

/// Checks an export: one [`CustodyLine`] a line, all leaves from the first, then one head. It is read once, a line at a
/// time; nothing of it is kept but its roots at these sizes, against which states that were seen before are held:
/// [`VerifiedLog::continues`]. One pass serves for all of them.
///
/// Without `server_key` any key may have signed: whoever asks looks at [`VerifiedLog::signer`].
///
/// # Errors
/// [`CustodyError`], the first in the order of the lines.
pub fn verify_export(
    mut reader: impl BufRead,
    server_key: Option<&PublicKey>,
    sizes: impl IntoIterator<Item = u64>,
) -> Result<VerifiedLog, CustodyError> {
    let mut leaves = Leaves::new(sizes);
    let mut head = None;
    let mut line = Vec::new();
    let mut number = 0;
    while read_line(&mut reader, &mut line, number + 1)? {
        number += 1;
        if head.is_some() {
            return Err(CustodyError::AfterHead(number));
        }
        match serde_json::from_slice(&line).map_err(|error| CustodyError::LineBad(number, error))? {
            CustodyLine::Leaf(text) => leaves.push(number, &text)?,
            CustodyLine::Head(envelope) => head = Some(open_head(&envelope, server_key, number)?),
        }
    }
    let (head, signer) = head.ok_or(CustodyError::HeadMissing)?;
    let found = leaves.tree.size();
    if head.point.size != found {
        return Err(CustodyError::SizeDiffers { signed: head.point.size, found });
    }
    if head.point.root != leaves.tree.root() {
        return Err(CustodyError::RootDiffers);
    }
    let roots = leaves.roots.into_iter().filter_map(|(size, root)| Some((size, root?))).collect();
    Ok(VerifiedLog { clock_back: leaves.clock_back, first: leaves.first, head, last: leaves.last, roots, signer })
}

/// The next line without its LF; false at the end.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, number: u64) -> Result<bool, CustodyError> {
    line.clear();
    let bytes = reader.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line).map_err(CustodyError::Read)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > LINE_BYTES_MAX {
        return Err(CustodyError::LineTooLong(number));
    }
    Ok(bytes > 0)
}

fn open_head(envelope: &Signed, server_key: Option<&PublicKey>, line: u64) -> Result<(Head, PublicKey), CustodyError> {
    let (message, signer) = open_by_anybody(envelope, namespace::CUSTODY).map_err(CustodyError::HeadNotSigned)?;
    let by_server = server_key.is_none_or(|key| key.key_data() == signer.key_data());
    if !by_server || envelope.principal != SERVER_PRINCIPAL {
        return Err(CustodyError::HeadByAnother);
    }
    let head: Head = serde_json::from_slice(&message).map_err(|error| CustodyError::HeadBad(Some(error)))?;
    if head.kind != HEAD_TYPE {
        return Err(CustodyError::HeadBad(None));
    }
    if head.v != 1 {
        return Err(CustodyError::VersionUnknown { line, version: head.v });
    }
    Ok((head, signer))
}

/// The leaves so far.
struct Leaves {
    clock_back: Option<ClockBack>,
    first: Option<Instant>,
    last: Option<Instant>,
    /// The sizes that were asked for, and the root at those that were reached.
    roots: BTreeMap<u64, Option<Sha256>>,
    tree: Tree,
}

impl Leaves {
    fn new(sizes: impl IntoIterator<Item = u64>) -> Self {
        let roots = sizes.into_iter().map(|size| (size, None)).collect();
        let mut leaves = Self { clock_back: None, first: None, last: None, roots, tree: Tree::default() };
        leaves.note_root();
        leaves
    }

    fn push(&mut self, line: u64, text: &str) -> Result<(), CustodyError> {
        let leaf: Leaf = serde_json::from_str(text).map_err(|error| CustodyError::LeafBad(line, error))?;
        if leaf.v != 1 {
            return Err(CustodyError::VersionUnknown { line, version: leaf.v });
        }
        let wanted = self.tree.size();
        if leaf.seq != wanted {
            return Err(CustodyError::OutOfSequence { line, wanted, found: leaf.seq });
        }
        if wanted >= LEAVES_MAX {
            return Err(CustodyError::TooManyLeaves);
        }
        self.tree.push(text.as_bytes());
        self.note_time(leaf.seq, leaf.time);
        self.note_root();
        Ok(())
    }

    fn note_time(&mut self, seq: u64, time: Instant) {
        let back = self.last.map_or(0, |last| last.0.saturating_sub(time.0));
        let by_ns = u64::try_from(back.max(0)).unwrap_or(u64::MAX);
        if by_ns > self.clock_back.map_or(0, |back| back.by_ns) {
            self.clock_back = Some(ClockBack { by_ns, seq });
        }
        self.first = self.first.or(Some(time));
        self.last = Some(time);
    }

    fn note_root(&mut self) {
        if let Some(root) = self.roots.get_mut(&self.tree.size()) {
            *root = Some(self.tree.root());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[9; 32])
    }

    fn leaf(seq: u64, secs: i128) -> String {
        let details = json!({"note": "a \"quoted\" \u{1b}\u{0} text"});
        let leaf = Leaf {
            actor: "user:mara".into(),
            details: details.as_object().cloned().unwrap_or_else(Map::new),
            event: "alert_received".into(),
            incident: "INC-2026-0001".parse().ok(),
            seq,
            subject: format!("alert:{seq}"),
            time: Instant(secs * 1_000_000_000),
            v: 1,
        };
        serde_json::to_string(&leaf).unwrap()
    }

    fn leaves(count: u64) -> Vec<String> {
        (0..count).map(|seq| leaf(seq, i128::from(seq))).collect()
    }

    fn point(leaves: &[String]) -> HeadPoint {
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.push(leaf.as_bytes());
        }
        HeadPoint { root: tree.root(), size: tree.size() }
    }

    fn line(line: &CustodyLine) -> String {
        serde_json::to_string(line).unwrap()
    }

    fn signed(point: HeadPoint) -> String {
        line(&CustodyLine::Head(sign_head(&key(), point, Instant(5)).unwrap()))
    }

    /// The lines of the leaves under a head.
    fn lines(leaves: &[String], head: HeadPoint) -> Vec<String> {
        let leaves = leaves.iter().map(|leaf| line(&CustodyLine::Leaf(leaf.clone())));
        leaves.chain([signed(head)]).collect()
    }

    fn verify(lines: &[String], earlier: Option<&HeadPoint>) -> Result<VerifiedLog, CustodyError> {
        let sizes = earlier.map(|earlier| earlier.size);
        let verified = verify_export(lines.join("\n").as_bytes(), Some(&key().public()), sizes)?;
        earlier.map_or(Ok(()), |earlier| verified.continues(earlier)).map(|()| verified)
    }

    #[test]
    fn a_log_of_any_length_holds_and_so_does_each_state_that_it_had() {
        for count in 0..20 {
            let leaves = leaves(count);
            let head = point(&leaves);
            for before in 0..=leaves.len() {
                let verified = verify(&lines(&leaves, head), Some(&point(&leaves[..before]))).unwrap();
                assert_eq!((verified.head.point, verified.clock_back), (head, None));
                assert_eq!(verified.signer.key_data(), key().public().key_data());
            }
        }
        let unknown_key = verify_export(&*lines(&leaves(2), point(&leaves(2))).join("\n").into_bytes(), None, []);
        assert_eq!(unknown_key.unwrap().last, Some(Instant(1_000_000_000)));
    }

    #[test]
    fn whatever_is_changed_is_named() {
        use CustodyError as E;
        let (all, head) = (leaves(9), point(&leaves(9)));
        let good = lines(&all, head);
        let changed = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = good.clone();
            change(&mut lines);
            verify(&lines, None).unwrap_err()
        };
        assert!(matches!(changed(&|lines| lines[4] = lines[4].replace("mara", "maro")), E::RootDiffers));
        assert!(matches!(changed(&|lines| lines[4] = lines[4].replace("INC-2026", "INC 2026")), E::LeafBad(5, _)));
        assert!(matches!(changed(&|lines| lines[4] = "{}".into()), E::LineBad(5, _)));
        assert!(matches!(changed(&|lines| lines[4] = String::new()), E::LineBad(5, _)));
        let out = changed(&|lines| drop(lines.remove(4)));
        assert!(matches!(out, E::OutOfSequence { line: 5, wanted: 4, found: 5 }), "{out}");
        let out = changed(&|lines| lines.swap(4, 5));
        assert!(matches!(out, E::OutOfSequence { line: 5, wanted: 4, found: 5 }), "{out}");
        let out = changed(&|lines| lines.insert(4, lines[3].clone()));
        assert!(matches!(out, E::OutOfSequence { line: 5, wanted: 4, found: 3 }), "{out}");
        let out = changed(&|lines| drop(lines.remove(8)));
        assert!(matches!(out, E::SizeDiffers { signed: 9, found: 8 }), "{out}");
        assert!(matches!(changed(&|lines| drop(lines.pop())), E::HeadMissing));
        assert!(matches!(changed(&|lines| lines.push(lines[9].clone())), E::AfterHead(11)));
        assert!(matches!(changed(&|lines| lines[9] = signed(point(&all[..8]))), E::SizeDiffers { .. }));
        let v2 = |lines: &mut Vec<String>| lines[4] = lines[4].replace("\\\"v\\\":1", "\\\"v\\\":2");
        assert!(matches!(changed(&v2), E::VersionUnknown { line: 5, version: 2 }));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let good = lines(&leaves(3), point(&leaves(3))).join("\n");
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            let outcome = verify_export(&*bytes, Some(&key().public()), []);
            assert!(outcome.is_err(), "byte {at}: {:?}", &good[at..(at + 10).min(good.len())]);
        }
    }

    #[test]
    fn a_log_that_was_rewritten_and_signed_again_is_told_by_an_earlier_head() {
        let before = point(&leaves(5));
        let mut rewritten = leaves(9);
        rewritten[3] = rewritten[3].replace("mara", "maro");
        let log = lines(&rewritten, point(&rewritten));
        assert!(verify(&log, None).is_ok());
        assert!(matches!(verify(&log, Some(&before)), Err(CustodyError::Rewritten(5))));
        assert!(verify(&log, Some(&point(&leaves(3)))).is_ok(), "up to there it is the same");
        let short = lines(&leaves(4), point(&leaves(4)));
        let out = verify(&short, Some(&before));
        assert!(matches!(out, Err(CustodyError::Shortened { before: 5, now: 4 })));
    }

    #[test]
    fn only_the_servers_key_in_its_own_namespace_signs_a_head() {
        use CustodyError as E;
        let head = Head { point: point(&[]), time: Instant(0), kind: HEAD_TYPE.into(), v: 1 };
        let verify_signed = |key: &SigningKey, principal, namespace, head: &Head| {
            let message = serde_json::to_vec(head).unwrap();
            let envelope = key.envelope(principal, namespace, &message).unwrap();
            verify(&[line(&CustodyLine::Head(envelope))], None).map(|_| ())
        };
        let other = SigningKey::from_seed(&[8; 32]);
        assert!(verify_signed(&key(), "server", namespace::CUSTODY, &head).is_ok());
        assert!(matches!(verify_signed(&other, "server", namespace::CUSTODY, &head), Err(E::HeadByAnother)));
        assert!(matches!(verify_signed(&key(), "mara", namespace::CUSTODY, &head), Err(E::HeadByAnother)));
        assert!(matches!(verify_signed(&key(), "server", namespace::RECEIPT, &head), Err(E::HeadNotSigned(_))));
        let newer = Head { v: 2, ..head.clone() };
        let verified = verify_signed(&key(), "server", namespace::CUSTODY, &newer);
        assert!(matches!(verified, Err(E::VersionUnknown { version: 2, .. })));
        let receipt = Head { kind: "holdfast-receipt".into(), ..head };
        assert!(matches!(verify_signed(&key(), "server", namespace::CUSTODY, &receipt), Err(E::HeadBad(None))));
        assert!(matches!(verify(&[], None), Err(E::HeadMissing)));
    }

    #[test]
    fn a_clock_that_went_back_is_noted() {
        let leaves = [leaf(0, 10), leaf(1, 9), leaf(2, 12), leaf(3, 5), leaf(4, 6)];
        let verified = verify(&lines(&leaves, point(&leaves)), None).unwrap();
        assert_eq!(verified.clock_back, Some(ClockBack { by_ns: 7_000_000_000, seq: 3 }));
        assert_eq!((verified.first, verified.last), (Some(Instant(10_000_000_000)), Some(Instant(6_000_000_000))));
    }

    #[test]
    fn a_line_is_bounded() {
        let line_of = |bytes: usize| format!("{}\n", "1".repeat(bytes)).into_bytes();
        let verify = |text: Vec<u8>| verify_export(&*text, None, []).unwrap_err();
        assert!(matches!(verify(line_of(LINE_BYTES_MAX)), CustodyError::LineBad(1, _)));
        assert!(matches!(verify(line_of(LINE_BYTES_MAX + 1)), CustodyError::LineTooLong(1)));
        // The longest leaf that the server takes, all of it to be escaped.
        let mut long = leaf(0, 0);
        let room = LEAF_BYTES_MAX - long.len() - 1;
        long = long.replace("mara", &"\\\"".repeat(room / 2));
        assert!(long.len() <= LEAF_BYTES_MAX && long.len() > LEAF_BYTES_MAX - 8);
        let log = lines(&[long.clone()], point(&[long]));
        assert!(log[0].len() > LEAF_BYTES_MAX * 19 / 10);
        assert!(self::verify(&log, None).is_ok());
    }
}
