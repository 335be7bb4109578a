use super::*;
use crate::hash::hex;
use proptest::prelude::*;

/// The tree head definition of RFC 6962 section 2.1, word for word: slow and plainly right.
fn oracle(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            node_hash(&oracle(&leaves[..k]), &oracle(&leaves[k..]))
        }
    }
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|at| leaf_hash(&at.to_be_bytes())).collect()
}

/// The inputs and roots of the reference implementation of RFC 6962 (certificate-transparency's
/// `merkletree` tests).
#[test]
fn the_roots_are_those_of_rfc_6962() {
    let inputs: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut tree = Tree::default();
    assert_eq!(hex(&tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (input, root) in inputs.iter().zip(roots) {
        tree.append(input);
        assert_eq!(hex(&tree.root()), root, "size {}", tree.size());
    }
}

#[test]
fn every_leaf_of_every_small_tree_is_proved_and_no_other_is() {
    for size in 1..70_usize {
        let leaves = leaves(size);
        let root = oracle(&leaves);
        for index in 0..size {
            let path = inclusion(&leaves, index).unwrap();
            let proved =
                |at: usize, path: &[Hash]| inclusion_root(leaves[at], index as u64, size as u64, path);
            assert_eq!(proved(index, &path), Some(root), "{index} of {size}");
            assert_ne!(
                proved((index + 1) % size, &path),
                Some(root).filter(|_| size > 1),
                "{index} of {size}"
            );
            assert_eq!(
                inclusion_root(
                    leaves[index],
                    index as u64,
                    size as u64,
                    &[path.as_slice(), &[root]].concat()
                ),
                None
            );
        }
    }
}

#[test]
fn every_beginning_of_every_small_tree_is_proved_and_no_other_is() {
    for size in 1..70_usize {
        let leaves = leaves(size);
        let root = oracle(&leaves);
        for first in 1..=size {
            let path = consistency(&leaves, first).unwrap();
            let old = oracle(&leaves[..first]);
            let proves = |old: &Hash, new: &Hash| consistent((first as u64, old), (size as u64, new), &path);
            assert!(proves(&old, &root), "{first} of {size}");
            assert!(!proves(&[0; 32], &root), "{first} of {size}");
            assert!(!proves(&old, &[0; 32]), "{first} of {size}");
        }
    }
}

proptest! {
    #[test]
    fn growing_gives_the_root_of_the_definition(count in 0_usize..600) {
        let leaves = leaves(count);
        prop_assert_eq!(root_of(&leaves), oracle(&leaves));
    }

    #[test]
    fn a_path_of_noise_proves_nothing(index in 0_u64..100, size in 1_u64..100, path in prop::collection::vec(any::<[u8; 32]>(), 0..8)) {
        prop_assume!(size > 1);
        let root = root_of(&leaves(usize::try_from(size).unwrap()));
        prop_assert_ne!(inclusion_root([7; 32], index, size, &path), Some(root));
    }
}
