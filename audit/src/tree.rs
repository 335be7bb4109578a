//! The Merkle tree of RFC 6962 section 2.1, growing at its right edge.
//!
//! Only the right edge is kept: one hash per set bit of the size, so a log of any length needs 2 KiB here.
use crate::hash::{Hash, leaf_hash, node_hash, sha256};

/// The right edge of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Roots of the perfect subtrees that make up the tree, the largest first.
    edge: Vec<Hash>,
}

impl Tree {
    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The right edge: the roots of the perfect subtrees, the largest first.
    pub fn edge(&self) -> &[Hash] {
        &self.edge
    }

    /// A tree of `size` leaves by its right edge; `None` when the edge has not one hash for each bit set in
    /// `size`. Nothing vouches for it but the root that is signed for a size not below this one.
    pub fn from_edge(size: u64, edge: Vec<Hash>) -> Option<Self> {
        (edge.len() == size.count_ones() as usize).then_some(Self { size, edge })
    }

    /// Appends a record by its exact bytes and gives its leaf hash.
    pub fn append(&mut self, record: &[u8]) -> Hash {
        let leaf = leaf_hash(record);
        self.append_hash(leaf);
        leaf
    }

    /// Appends a leaf whose hash is known.
    pub fn append_hash(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut bits = self.size;
        while bits & 1 == 1 {
            let Some(left) = self.edge.pop() else { break };
            hash = node_hash(&left, &hash);
            bits >>= 1;
        }
        self.edge.push(hash);
        self.size += 1;
    }

    /// The root over all leaves; of an empty tree the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut edge = self.edge.iter().rev();
        match edge.next() {
            None => sha256(&[]),
            Some(last) => edge.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// The root over `leaves`.
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.append_hash(*leaf));
    tree.root()
}

/// The inclusion proof of the leaf at `index`: the siblings from the leaf up (RFC 6962 section 2.1.1). `None`
/// when there is no such leaf.
pub fn inclusion(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut rest, mut at) = (leaves, index);
    // From the root down; RFC 6962 lists from the leaf up.
    while rest.len() > 1 {
        let (left, right) = rest.split_at_checked(split(rest.len()))?;
        if at < left.len() {
            path.push(root_of(right));
            rest = left;
        } else {
            path.push(root_of(left));
            at -= left.len();
            rest = right;
        }
    }
    path.reverse();
    Some(path)
}

/// The consistency proof from the tree over the first `first` leaves to the tree over all (RFC 6962 section
/// 2.1.2). `None` when `first` is 0 or more than there are.
pub fn consistency(leaves: &[Hash], first: usize) -> Option<Vec<Hash>> {
    if first == 0 || first > leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut rest, mut old, mut whole_subtree) = (leaves, first, true);
    while old < rest.len() {
        let (left, right) = rest.split_at_checked(split(rest.len()))?;
        if old <= left.len() {
            path.push(root_of(right));
            rest = left;
        } else {
            path.push(root_of(left));
            old -= left.len();
            rest = right;
            whole_subtree = false;
        }
    }
    if !whole_subtree {
        path.push(root_of(rest));
    }
    path.reverse();
    Some(path)
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: usize) -> usize {
    1 << (length - 1).ilog2()
}

/// The root that `path` proves for the leaf at `index` of a tree of `size` leaves (RFC 9162 section 2.1.3.2).
/// `None` when the path has the wrong length or the index is outside.
pub fn inclusion_root(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Whether `path` proves that the tree of `first` leaves is the beginning of the tree of `second` leaves (RFC
/// 9162 section 2.1.4.2).
pub fn consistent(first: (u64, &Hash), second: (u64, &Hash), path: &[Hash]) -> bool {
    let ((first_size, first_root), (second_size, second_root)) = (first, second);
    if first_size == second_size {
        return path.is_empty() && first_root == second_root;
    }
    if first_size == 0 || first_size > second_size {
        return false;
    }
    let (seed, rest) = if first_size.is_power_of_two() {
        (first_root, path)
    } else {
        let Some((seed, rest)) = path.split_first() else { return false };
        (seed, rest)
    };
    let (mut at, mut last) = (first_size - 1, second_size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (*seed, *seed);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, hash);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old == *first_root && new == *second_root
}

#[cfg(test)]
mod tests;
