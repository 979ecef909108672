//! Two sorted streams of entries in lock step.
//!
//! sync is a walk merged with the last manifest, verify a tree with a manifest, restore a
//! manifest with a target, diff a manifest with a manifest. All of them are this.

use std::{cmp::Ordering, iter::Peekable};

use drover_types::RelativePath;

/// Something that has a place in the order of entries.
pub trait Ordered {
    /// Its place.
    fn path(&self) -> &RelativePath;
}

impl Ordered for drover_types::Entry {
    fn path(&self) -> &RelativePath {
        &self.path
    }
}

/// What one step of a merge finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Merged<L, R> {
    /// Only the left stream has it.
    Left(L),
    /// Only the right stream has it.
    Right(R),
    /// Both have it.
    Both(L, R),
}

/// Two streams in lock step. Each must be in order; an error comes out where it stands.
pub struct Merge<L: Iterator, R: Iterator> {
    left: Peekable<L>,
    right: Peekable<R>,
}

/// Merges `left` and `right`.
pub fn merge<L, R, A, B, E>(left: L, right: R) -> Merge<L::IntoIter, R::IntoIter>
where
    L: IntoIterator<Item = Result<A, E>>,
    R: IntoIterator<Item = Result<B, E>>,
{
    Merge { left: left.into_iter().peekable(), right: right.into_iter().peekable() }
}

impl<L, R, A, B, E> Iterator for Merge<L, R>
where
    L: Iterator<Item = Result<A, E>>,
    R: Iterator<Item = Result<B, E>>,
    A: Ordered,
    B: Ordered,
{
    type Item = Result<Merged<A, B>, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let order = match (self.left.peek(), self.right.peek()) {
            (None, None) => return None,
            (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
            (_, Some(Err(_))) | (None, Some(_)) => Ordering::Greater,
            (Some(Ok(left)), Some(Ok(right))) => left.path().cmp(right.path()),
        };
        Some(match order {
            Ordering::Less => self.left.next()?.map(Merged::Left),
            Ordering::Greater => self.right.next()?.map(Merged::Right),
            Ordering::Equal => match (self.left.next()?, self.right.next()?) {
                (Ok(left), Ok(right)) => Ok(Merged::Both(left, right)),
                (Err(e), _) | (_, Err(e)) => Err(e),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Named(RelativePath);

    impl Ordered for Named {
        fn path(&self) -> &RelativePath {
            &self.0
        }
    }

    proptest! {
        #[test]
        fn every_path_comes_once_and_on_its_sides(
            a in proptest::collection::btree_set("[a-c]{1,2}(/[a-c]{1,2}){0,2}", 0..20),
            b in proptest::collection::btree_set("[a-c]{1,2}(/[a-c]{1,2}){0,2}", 0..20),
        ) {
            let set = |texts: &BTreeSet<String>| -> BTreeSet<RelativePath> {
                texts.iter().filter_map(|t| RelativePath::new(t.as_bytes()).ok()).collect()
            };
            let (a, b) = (set(&a), set(&b));
            let stream = |s: &BTreeSet<RelativePath>| -> Vec<Result<Named, ()>> {
                s.iter().cloned().map(|p| Ok(Named(p))).collect()
            };
            let mut seen = Vec::new();
            for step in merge(stream(&a), stream(&b)) {
                let (path, left, right) = match step.unwrap() {
                    Merged::Left(l) => (l.0, true, false),
                    Merged::Right(r) => (r.0, false, true),
                    Merged::Both(l, r) => {
                        prop_assert_eq!(&l, &r);
                        (l.0, true, true)
                    }
                };
                prop_assert_eq!(a.contains(&path), left);
                prop_assert_eq!(b.contains(&path), right);
                seen.push(path);
            }
            let all: Vec<_> = a.union(&b).cloned().collect();
            prop_assert_eq!(seen, all);
        }
    }
}
