//! Names of objects, checked before they reach a store or leave a listing.

use crate::StoreError;

/// Bytes of a name below the store's prefix. Stores allow 1,024 for prefix and name.
const NAME: usize = 512;

/// Whether drover makes such names: components of lower-case letters, digits, `-` and `.`, none
/// of them empty or only dots.
pub(crate) fn is_valid(name: &str) -> bool {
    name.len() <= NAME
        && name.split('/').all(|component| {
            component.bytes().any(|b| b != b'.')
                && component.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        })
}

/// Refuses a name that [`is_valid`] does.
pub(crate) fn check(name: &str) -> Result<(), StoreError> {
    if is_valid(name) { Ok(()) } else { Err(StoreError::BadName { object: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_drover_makes_is_a_name() {
        for good in ["config", "packs/0f/0f1e", "snapshots/ab/12-cd", "keys/a.b"] {
            assert!(is_valid(good), "{good}");
        }
        let long = "a".repeat(513);
        for bad in [
            "", "/", "a/", "/a", "a//b", "..", "a/../b", "a/.", "A", "a b", "a#1", "ä", "a\0",
            &long,
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }
}
