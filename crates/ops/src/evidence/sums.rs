//! Lists of BLAKE3 sums as `b3sum` writes and checks them: hash, two blanks, name.

use drover_types::{FileHash, path::escape};

use super::{INCLUDED, Piece};

/// The list of `pieces`, by name.
pub fn text(pieces: &[Piece]) -> String {
    let mut lines: Vec<String> = pieces
        .iter()
        .map(|piece| format!("{}  {}\n", FileHash(piece.blake3).to_hex(), piece.name))
        .collect();
    lines.sort_by(|one, other| one[66..].cmp(&other[66..]));
    lines.concat()
}

/// The names in a list that [`text`] could have written; `None` for any other text.
pub fn names(text: &str) -> Option<Vec<String>> {
    let name = |line: &str| {
        let (hash, name) = line.split_once("  ")?;
        FileHash::from_hex(hash)?;
        let last = name.strip_prefix(INCLUDED).and_then(|rest| rest.strip_prefix('/'));
        is_plain(last.unwrap_or(name)).then(|| name.to_owned())
    };
    text.strip_suffix('\n')?.split('\n').map(name).collect()
}

/// Whether a name can stand in a list as it is, and names a file right in its folder.
pub fn is_plain(name: &str) -> bool {
    let hidden = name.starts_with('.') || name.starts_with('-');
    !name.is_empty() && !hidden && !name.contains('/') && escape(name.as_bytes()) == name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_names_within_the_folder_are_read() {
        let hash = "ab".repeat(32);
        let read = |name: &str| names(&format!("{hash}  {name}\n"));
        assert_eq!(read("README.txt"), Some(vec!["README.txt".to_owned()]));
        assert_eq!(read("included/scan.pdf"), Some(vec!["included/scan.pdf".to_owned()]));
        for bad in
            ["", "..", "../x", "/etc/passwd", "included/../x", "included/", "a/b", ".x", "a\\n"]
        {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(names("x  README.txt\n"), None);
        assert_eq!(names(""), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(some in prop::collection::btree_set("[a-z]{1,8}(\\.txt)?", 1..6)) {
            let piece = |name: &String| Piece { name: name.clone(), what: "", bytes: 0, blake3: [3; 32] };
            let pieces: Vec<Piece> = some.iter().map(piece).collect();
            prop_assert_eq!(names(&text(&pieces)), Some(some.into_iter().collect()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\n]{0,200}") {
            if let Some(names) = names(&text) {
                let plain = |name: &String| is_plain(name.trim_start_matches("included/"));
                prop_assert!(names.iter().all(plain));
            }
        }
    }
}
