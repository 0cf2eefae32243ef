//! The Merkle tree over lines (RFC 6962, section 2.1): over the items of a bundle, and over the server's custody log. One
//! line can be proven without showing the rest.

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
    /// The tree of which [`Tree::frontier`] gave these bytes; none when they cannot be those of so many leaves.
    pub fn from_frontier(size: u64, frontier: &[u8]) -> Option<Self> {
        let (subtrees, rest) = frontier.as_chunks::<32>();
        let fits = rest.is_empty() && subtrees.len() == usize::try_from(size.count_ones()).ok()?;
        fits.then(|| Self { size, subtrees: subtrees.to_vec() })
    }

    /// The roots of its complete subtrees, 32 bytes each, the largest first: with the size, all that is needed to go on.
    pub fn frontier(&self) -> Vec<u8> {
        self.subtrees.concat()
    }

    /// Adds a leaf: a line without its LF.
    pub fn push(&mut self, line: &[u8]) {
        let mut hash = leaf_hash(line).0;
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

/// The hash of a leaf: a line without its LF.
pub fn leaf_hash(line: &[u8]) -> Sha256 {
    Sha256(Hasher::new().chain_update([0]).chain_update(line).finalize().into())
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
            tree = Tree::from_frontier(tree.size(), &tree.frontier()).unwrap();
            let leaf = n.to_string().into_bytes();
            tree.push(&leaf);
            leaves.push(leaf);
        }
        assert_eq!(tree.size(), 130);
        assert!(Tree::from_frontier(129, &tree.frontier()).is_some(), "as many subtrees");
        assert!(Tree::from_frontier(131, &tree.frontier()).is_none());
        assert!(Tree::from_frontier(130, &tree.frontier()[1..]).is_none());
    }
}
