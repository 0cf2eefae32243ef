//! The Merkle tree over the item lines (RFC 6962, section 2.1): one item can be proven without showing the rest.

use sha2::{Digest as _, Sha256 as Hasher};
use wire::Sha256;

/// A tree that grows by one leaf at a time and keeps only the roots of its complete subtrees.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    size: u64,
    /// Roots of complete subtrees, the largest first: one for each 1 bit of `size`.
    subtrees: Vec<[u8; 32]>,
}

impl Tree {
    /// Adds a leaf: an item line without its LF.
    pub fn push(&mut self, line: &[u8]) {
        let mut hash: [u8; 32] = Hasher::new().chain_update([0]).chain_update(line).finalize().into();
        let mut size = self.size;
        while size & 1 == 1 {
            if let Some(left) = self.subtrees.pop() {
                hash = node(&left, &hash);
            }
            size >>= 1;
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root; of the empty tree, the digest of nothing.
    pub fn root(&self) -> Sha256 {
        let mut smallest_first = self.subtrees.iter().rev();
        let Some(first) = smallest_first.next() else { return Sha256::of(b"") };
        Sha256(smallest_first.fold(*first, |right, left| node(left, &right)))
    }
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Hasher::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, written down as it stands there.
    fn mth(leaves: &[Vec<u8>]) -> [u8; 32] {
        match leaves {
            [] => Sha256::of(b"").0,
            [leaf] => Sha256::of(&[&[0], &leaf[..]].concat()).0,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                node(&mth(&leaves[..k]), &mth(&leaves[k..]))
            }
        }
    }

    #[test]
    fn grows_as_the_rfc_defines() {
        let mut tree = Tree::default();
        let mut leaves = Vec::new();
        for n in 0..130u32 {
            assert_eq!(tree.root().0, mth(&leaves), "{n} leaves");
            let leaf = n.to_string().into_bytes();
            tree.push(&leaf);
            leaves.push(leaf);
        }
        assert_eq!(tree.size(), 130);
    }
}
