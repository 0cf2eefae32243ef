//! The custody log: each leaf has the hash that was written down with it, and the tree over all of them has every root
//! that somebody signed on the way.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};

use bundle::merkle::{Tree, leaf_hash};
use bundle::sign::{NotSigned, open_by_anybody};
use wire::custody::Head;

use wire::signed::{Signed, namespace};

use super::Work;
use crate::store::{StoreError, StoredLeaf};

/// Leaves that are asked for at a time.
const PAGE: u32 = 1000;
/// A line with a signed head is shorter.
const LINE_BYTES_MAX: u64 = 64 << 10;

impl Work<'_> {
    pub(super) async fn custody(&mut self) -> Result<(), StoreError> {
        // First the heads: the log only grows, and has all of them in it when it is read after them.
        self.heads();
        let state = self.scrub.store.head().await?;
        let mut tree = Tree::default();
        self.signed_at(&tree);
        while tree.size() < state.size {
            let leaves = match self.scrub.store.leaves(None, tree.size(), PAGE).await {
                Ok(leaves) => leaves,
                // One of them cannot be read: which?
                Err(_) => match self.scrub.store.leaves(None, tree.size(), 1).await {
                    Ok(leaf) => leaf,
                    Err(error) => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                        let what = format!("it cannot be read, and nothing after it was looked at: {cause}");
                        self.report.wrong(format!("custody leaf {}", tree.size()), what);
                        return Ok(());
                    }
                },
            };
            if leaves.is_empty() {
                self.report.wrong(format!("custody leaf {}", tree.size()), "it is missing");
                return Ok(());
            }
            for leaf in leaves {
                if tree.size() == state.size {
                    break;
                }
                self.leaf(&leaf, &mut tree);
                self.signed_at(&tree);
            }
        }
        if tree.root() != state.root {
            let what = format!("its {} leaves do not have the root that the records go on from", state.size);
            self.report.wrong("custody log", what);
        }
        for (size, signed) in std::mem::take(&mut self.points) {
            for (_, whose) in signed {
                self.report.wrong(whose, format!("it was signed over {size} leaves, and the log has {}", state.size));
            }
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: &StoredLeaf, tree: &mut Tree) {
        let seq = tree.size();
        self.report.checked.leaves += 1;
        if leaf.leaf.seq != seq {
            self.report.wrong(format!("custody leaf {seq}"), format!("there is leaf {} in its place", leaf.leaf.seq));
        }
        if leaf_hash(leaf.text.as_bytes()) != leaf.hash {
            self.report.wrong(format!("custody leaf {seq}"), "its text is not the one whose hash was written down");
        }
        tree.push(leaf.text.as_bytes());
    }

    /// Compares the tree as it is with what was signed when it had this size.
    fn signed_at(&mut self, tree: &Tree) {
        for (root, whose) in self.points.remove(&tree.size()).unwrap_or_default() {
            if root != tree.root() {
                let what = format!("the first {} leaves are not those over which it was signed", tree.size());
                self.report.wrong(whose, what);
            }
        }
    }

    fn heads(&mut self) {
        let name = self.scrub.heads.display().to_string();
        let lines = match File::open(self.scrub.heads) {
            // A server that was never started wrote none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.report.wrong(name, error.to_string()),
            Ok(file) => file,
        };
        let (mut lines, mut number) = (BufReader::new(lines), 0_u64);
        loop {
            let mut line = Vec::new();
            match (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                // The last line may be one that is being written.
                Ok(_) if line.last() != Some(&b'\n') => return,
                Ok(_) => {}
                Err(error) => return self.report.wrong(name, error.to_string()),
            }
            number += 1;
            self.report.checked.heads += 1;
            match self.head(&line) {
                Ok(head) => {
                    let whose = format!("custody head {number} in {name}");
                    self.points.entry(head.point.size).or_default().push((head.point.root, whose));
                }
                Err(what) => self.report.wrong(format!("custody head {number} in {name}"), what),
            }
        }
    }

    fn head(&self, line: &[u8]) -> Result<Head, &'static str> {
        let envelope: Signed = serde_json::from_slice(line).map_err(|_| "it is no signed message")?;
        let signed = open_by_anybody(&envelope, namespace::CUSTODY);
        let (message, key) = signed.map_err(|_: NotSigned| "its signature does not fit it")?;
        if key.key_data() != self.scrub.signer.key_data() {
            return Err("it was signed with another key than this server's");
        }
        serde_json::from_slice(&message).map_err(|_| "it is no custody head")
    }
}
