//! Merkle trees in the shape of RFC 6962, over BLAKE3.
//!
//! The tree over n leaves splits at the largest power of two below n. Leaves and nodes are hashed
//! with different first bytes, so that no node passes for a leaf:
//!
//! ```text
//! empty tree   BLAKE3("")
//! salted leaf  BLAKE3(0x00 ‖ salt ‖ leaf)
//! plain leaf   BLAKE3(0x00 ‖ bytes)
//! node         BLAKE3(0x01 ‖ left ‖ right)
//! ```
//!
//! A salt keeps a proof from showing its neighbours: their hashes cannot be tested with guesses.
//! One tree has leaves of one sort; a plain leaf of 32 and more bytes could be read as a salted
//! one, and no tree mixes them.

/// The hash of a leaf that must not be guessable.
pub fn leaf_hash(salt: &[u8; 32], leaf: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(&[0]).update(salt).update(leaf).finalize().as_bytes()
}

/// The hash of a leaf that is no secret.
pub fn plain_leaf(bytes: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(&[0]).update(bytes).finalize().as_bytes()
}

/// The hash over two subtrees.
pub fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    *blake3::Hasher::new().update(&[1]).update(left).update(right).finalize().as_bytes()
}

/// The right edge of a tree: enough to append leaves and to know the root, in logarithmic room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    len: u64,
    peaks: Vec<[u8; 32]>,
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `len` leaves with these peaks; `None` where their number is not the one that
    /// `len` needs.
    pub fn from_parts(len: u64, peaks: Vec<[u8; 32]>) -> Option<Self> {
        (peaks.len() == len.count_ones() as usize).then_some(Self { len, peaks })
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: [u8; 32]) {
        let mut hash = leaf;
        // Each one bit at the end of the length is a full subtree that the leaf completes.
        for _ in 0..self.len.trailing_ones() {
            let left = self.peaks.pop().expect("one peak for each one bit of the length");
            hash = node(&left, &hash);
        }
        self.peaks.push(hash);
        self.len += 1;
    }

    /// Number of leaves.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no leaf.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The roots of the full subtrees, the largest and leftmost first; one for each one bit of
    /// the number of leaves.
    pub fn peaks(&self) -> &[[u8; 32]] {
        &self.peaks
    }

    /// The root of the whole tree.
    pub fn root(&self) -> [u8; 32] {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => *blake3::hash(b"").as_bytes(),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }

    /// Whether appending `added` to this tree gives exactly `newer`: nothing was taken out,
    /// changed or put in between.
    pub fn grows_into(&self, added: impl IntoIterator<Item = [u8; 32]>, newer: &Frontier) -> bool {
        let mut replayed = self.clone();
        added.into_iter().for_each(|leaf| replayed.push(leaf));
        replayed == *newer
    }
}

impl Extend<[u8; 32]> for Frontier {
    fn extend<I: IntoIterator<Item = [u8; 32]>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| self.push(leaf));
    }
}

impl FromIterator<[u8; 32]> for Frontier {
    fn from_iter<I: IntoIterator<Item = [u8; 32]>>(leaves: I) -> Self {
        let mut frontier = Self::new();
        frontier.extend(leaves);
        frontier
    }
}

/// The root of the tree over `leaves`, given by their hashes.
pub fn root_of(leaves: impl IntoIterator<Item = [u8; 32]>) -> [u8; 32] {
    leaves.into_iter().collect::<Frontier>().root()
}

/// The siblings from leaf `index` (from 0) up to the root, lowest first; `None` where there is no
/// such leaf.
pub fn prove(leaves: &[[u8; 32]], index: usize) -> Option<Vec<[u8; 32]>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut tree, mut at) = (leaves, index);
    let mut proof = Vec::new();
    while tree.len() > 1 {
        let (left, right) = tree.split_at(tree.len().next_power_of_two() / 2);
        let sibling;
        (tree, at, sibling) =
            if at < left.len() { (left, at, right) } else { (right, at - left.len(), left) };
        proof.push(root_of(sibling.iter().copied()));
    }
    proof.reverse();
    Some(proof)
}

/// One step up a tree: the sibling, and on which side of the node it stands.
///
/// A path of steps leads to one root only: neither the number of a leaf nor that of all leaves,
/// which no root tells, has to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The sibling stands to the left.
    Left([u8; 32]),
    /// The sibling stands to the right.
    Right([u8; 32]),
}

/// The steps from leaf `index` (from 0) up to the root, lowest first; `None` where there is no
/// such leaf.
pub fn steps(leaves: &[[u8; 32]], index: usize) -> Option<Vec<Step>> {
    let siblings = prove(leaves, index)?;
    let (mut at, mut last) = (index, leaves.len() - 1);
    let mut steps = Vec::with_capacity(siblings.len());
    for sibling in siblings {
        // At the right edge, levels without a sibling are skipped.
        while at & 1 == 0 && at == last {
            at >>= 1;
            last >>= 1;
        }
        steps.push(if at & 1 == 1 { Step::Left(sibling) } else { Step::Right(sibling) });
        at >>= 1;
        last >>= 1;
    }
    Some(steps)
}

/// The root that `steps` lead to from `leaf` (a hash).
pub fn climb(leaf: [u8; 32], steps: &[Step]) -> [u8; 32] {
    steps.iter().fold(leaf, |hash, step| match step {
        Step::Left(sibling) => node(sibling, &hash),
        Step::Right(sibling) => node(&hash, sibling),
    })
}

/// Whether `leaf` (a hash) is leaf `index` of the tree of `len` leaves with `root`
/// (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(
    leaf: &[u8; 32],
    index: u64,
    len: u64,
    proof: &[[u8; 32]],
    root: &[u8; 32],
) -> bool {
    if index >= len {
        return false;
    }
    let (mut at, mut last) = (index, len - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            // At the right edge, levels without a sibling are skipped.
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, as RFC 6962 writes it.
    fn naive(leaves: &[[u8; 32]]) -> [u8; 32] {
        match leaves {
            [] => *blake3::hash(b"").as_bytes(),
            [leaf] => *leaf,
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                node(&naive(&leaves[..k]), &naive(&leaves[k..]))
            }
        }
    }

    fn leaves(n: usize) -> Vec<[u8; 32]> {
        (0..n).map(|i| plain_leaf(&i.to_le_bytes())).collect()
    }

    #[test]
    fn roots_are_those_of_the_definition() {
        for n in 0..=70 {
            assert_eq!(root_of(leaves(n)), naive(&leaves(n)), "{n} leaves");
        }
    }

    #[test]
    fn every_leaf_is_proven_and_nothing_else() {
        for n in 1..=33 {
            let all = leaves(n);
            let root = naive(&all);
            for (index, leaf) in all.iter().enumerate() {
                let proof = prove(&all, index).expect("the leaf is there");
                let check = |leaf: &_, index: usize, n: usize, proof: &[_]| {
                    verify_inclusion(leaf, index as u64, n as u64, proof, &root)
                };
                assert!(check(leaf, index, n, &proof), "leaf {index} of {n}");
                let climbed = steps(&all, index).expect("the leaf is there");
                assert_eq!(climb(*leaf, &climbed), root, "leaf {index} of {n}");
                for other in (0..=n).filter(|other| *other != index) {
                    assert!(!check(leaf, other, n, &proof), "leaf {index} of {n} as {other}");
                }
                assert!(!check(&plain_leaf(b"other"), index, n, &proof));
                let mut longer = proof.clone();
                longer.push([0; 32]);
                assert!(!check(leaf, index, n, &longer));
                if let Some((_, shorter)) = proof.split_last() {
                    assert!(!check(leaf, index, n, shorter));
                }
            }
            assert_eq!(prove(&all, n), None);
        }
        assert!(!verify_inclusion(&[0; 32], 0, 0, &[], &root_of([])));
    }

    #[test]
    fn a_node_does_not_pass_for_a_leaf() {
        let [a, b] = [plain_leaf(b"a"), plain_leaf(b"b")];
        assert_ne!(node(&a, &b), plain_leaf(&[a, b].concat()));
        assert_ne!(leaf_hash(&[0; 32], b"a"), leaf_hash(&[1; 32], b"a"));
    }

    #[test]
    fn a_frontier_needs_its_number_of_peaks() {
        let whole: Frontier = leaves(6).into_iter().collect();
        assert_eq!(Frontier::from_parts(6, whole.peaks().to_vec()), Some(whole.clone()));
        assert_eq!(Frontier::from_parts(7, whole.peaks().to_vec()), None);
        assert_eq!(Frontier::from_parts(0, Vec::new()), Some(Frontier::new()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_tree_grows_only_by_what_was_added(old in 0usize..40, new in 0usize..40, at in any::<prop::sample::Index>()) {
            let all = leaves(old + new);
            let before: Frontier = all[..old].iter().copied().collect();
            let after: Frontier = all.iter().copied().collect();
            prop_assert!(before.grows_into(all[old..].iter().copied(), &after));
            prop_assert_eq!(after.root(), naive(&all));
            if new > 0 {
                let mut forged = all[old..].to_vec();
                forged[at.index(new)][0] ^= 1;
                prop_assert!(!before.grows_into(forged, &after));
                prop_assert!(!before.grows_into(all[old + 1..].iter().copied(), &after));
            }
        }
    }
}
