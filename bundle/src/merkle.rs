//! The Merkle tree over lines (RFC 6962, section 2.1): over the items of a bundle, and over the server's custody log.
//! One line can be proven without showing the rest.

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

    /// The roots of its complete subtrees, 32 bytes each, the largest first: with the size, all that it takes to go on.
    pub fn frontier(&self) -> Vec<u8> {
        self.subtrees.concat()
    }

    /// Adds a leaf: a line without its LF.
    pub fn push(&mut self, line: &[u8]) {
        self.push_hash(leaf_hash(line).0);
    }

    fn push_hash(&mut self, mut hash: [u8; 32]) {
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

/// The audit path of the leaf at `index` (RFC 6962, section 2.1.1): the hashes that lead from it to the root, the
/// nearest first. None when there is no such leaf.
pub fn inclusion_proof(leaf_hashes: &[Sha256], index: usize) -> Option<Vec<Sha256>> {
    if index >= leaf_hashes.len() {
        return None;
    }
    let (mut leaves, mut index, mut path) = (leaf_hashes, index, Vec::new());
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let other = if index < left.len() {
            leaves = left;
            right
        } else {
            index -= left.len();
            leaves = right;
            left
        };
        path.push(subtree_root(other));
    }
    path.reverse();
    Some(path)
}

/// True when `proof` leads from the leaf at `index` to the root of a tree of `size` leaves (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(leaf_hash: Sha256, index: u64, size: u64, proof: &[Sha256], root: Sha256) -> bool {
    if index >= size {
        return false;
    }
    let (mut index, mut last, mut hash) = (index, size - 1, leaf_hash.0);
    for other in proof {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            hash = node(&other.0, &hash);
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, &other.0);
        }
        index >>= 1;
        last >>= 1;
    }
    last == 0 && hash == root.0
}

fn subtree_root(leaf_hashes: &[Sha256]) -> Sha256 {
    let mut tree = Tree::default();
    for hash in leaf_hashes {
        tree.push_hash(hash.0);
    }
    tree.root()
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

    /// The leaves and roots of the reference implementation of Certificate Transparency (merkle_tree_test.cc).
    #[test]
    fn has_the_roots_of_certificate_transparency() {
        const VECTORS: [(&[u8], &str); 8] = [
            (b"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (b"\x00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (b"\x10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (b" !", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
            (b"01", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
            (b"@ABC", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
            (b"PQRSTUVW", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
            (b"`abcdefghijklmno", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ];
        let mut tree = Tree::default();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(tree.root().to_string(), empty);
        for (leaf, root) in VECTORS {
            tree.push(leaf);
            assert_eq!(tree.root().to_string(), root);
        }
        let hashes = VECTORS.map(|(leaf, _)| leaf_hash(leaf));
        let path = inclusion_proof(&hashes, 5).unwrap();
        let wanted = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert!(path.iter().map(Sha256::to_string).eq(wanted));
    }

    #[test]
    fn a_leaf_is_proven_at_its_place_and_nowhere_else() {
        let hashes: Vec<Sha256> = (0..40_u8).map(|n| leaf_hash(&[n])).collect();
        for size in 1..=hashes.len() {
            let root = subtree_root(&hashes[..size]);
            for index in 0..size {
                let proof = inclusion_proof(&hashes[..size], index).unwrap();
                let holds = |hash: usize, index: usize, size: usize, proof: &[Sha256]| {
                    verify_inclusion(hashes[hash], index as u64, size as u64, proof, root)
                };
                assert!(holds(index, index, size, &proof), "{index} of {size}");
                assert!(!holds((index + 1) % 40, index, size, &proof), "{index} of {size}");
                assert!(!holds(index, index + 1, size, &proof), "{index} of {size}");
                assert!(!holds(index, index, size, &[&proof[..], &[root]].concat()), "{index} of {size}");
                assert!(proof.is_empty() || !holds(index, index, size, &proof[1..]), "{index} of {size}");
            }
            assert_eq!(inclusion_proof(&hashes[..size], size), None);
        }
        assert!(!verify_inclusion(hashes[0], 0, 0, &[], hashes[0]));
    }
}
