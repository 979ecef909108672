//! From the path of a file to the key of an object, and back (`docs/landing.md`, "Keys").
//!
//! A key is the path, with `%` and two digits (upper-case hexadecimal) for each byte that some
//! store or program would take otherwise:
//!
//! - `%` itself, and `\`, which some programs take for `/`;
//! - control characters, the two characters that XML cannot hold, and whatever is not UTF-8;
//! - a dot at the end of a component, which Azure drops; `.` and `..` are among these;
//! - the first dot of a first component `.drover`, which is where the landing keeps its notes.
//!
//! Everything else stands as it is. Each path has one key and each key of this form one path.

use drover_types::RelativePath;

/// The component below which a landing keeps its notes.
pub const NOTES: &str = ".drover";

/// The longest key that every store takes, in bytes, the prefix included.
pub const LONGEST: usize = 1024;

/// The key of a path.
pub fn of_path(path: &RelativePath) -> String {
    let mut key = String::with_capacity(path.as_bytes().len());
    for (number, component) in path.components().enumerate() {
        if number > 0 {
            key.push('/');
        }
        if number == 0 && component == NOTES.as_bytes() {
            escape(b'.', &mut key);
            push(&component[1..], &mut key);
        } else {
            push(component, &mut key);
        }
    }
    key
}

fn push(component: &[u8], key: &mut String) {
    let (rest, dot) = match component.split_last() {
        Some((b'.', rest)) => (rest, true),
        _ => (component, false),
    };
    for chunk in rest.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '%' | '\\' | '\u{fffe}' | '\u{ffff}' => escape_character(character, key),
                character if character.is_control() => escape_character(character, key),
                character => key.push(character),
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(*byte, key));
    }
    if dot {
        escape(b'.', key);
    }
}

fn escape_character(character: char, key: &mut String) {
    character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escape(byte, key));
}

fn escape(byte: u8, key: &mut String) {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0').to_ascii_uppercase();
    key.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}

/// The path of a key; `None` where it is the key of none.
pub fn to_path(key: &str) -> Option<RelativePath> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (high, low) = (digit(*tail.first()?)?, digit(*tail.get(1)?)?);
            bytes.push(high << 4 | low);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    let path = RelativePath::new(bytes).ok()?;
    (!path.is_root() && of_path(&path) == key).then_some(path)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(path: &[u8]) -> String {
        of_path(&RelativePath::new(path).unwrap())
    }

    #[test]
    fn what_is_escaped_and_what_is_not() {
        for (path, expected) in [
            (&b"studies/2019/a b.dcm"[..], "studies/2019/a b.dcm"),
            ("Müller/é".as_bytes(), "Müller/é"),
            (b"100%/a\\b", "100%25/a%5Cb"),
            (b"a./.../b..c", "a%2E/..%2E/b..c"),
            (b"line\nbreak/\x7f", "line%0Abreak/%7F"),
            (b"\xff\xc3/x", "%FF%C3/x"),
            ("\u{85}\u{fffe}\u{ffff}".as_bytes(), "%C2%85%EF%BF%BE%EF%BF%BF"),
            (b".drover/x", "%2Edrover/x"),
            (b"a/.drover", "a/.drover"),
            (b".drover.", ".drover%2E"),
        ] {
            assert_eq!(key(path), expected);
        }
        for none in ["", "/a", "a//b", "a%", "a%2", "a%2f", "%41", ".", "a/..", ".drover/x", "a."] {
            assert_eq!(to_path(none), None, "{none:?}");
        }
    }

    /// Components of what makes a difference.
    fn component() -> impl Strategy<Value = Vec<u8>> {
        let special =
            prop::sample::select(b".%\\/\n\x00\x7f\xc2\x85\xef\xbf\xbe\xff2E dro".to_vec());
        prop_oneof![
            prop::collection::vec(special, 1..12),
            prop::collection::vec(any::<u8>(), 1..40),
            Just(b".drover".to_vec()),
            any::<String>().prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn every_path_has_a_key_of_its_own(components in prop::collection::vec(component(), 1..5)) {
            let Ok(path) = RelativePath::new(components.join(&b'/')) else { return Ok(()) };
            prop_assume!(!path.is_root());
            let key = of_path(&path);
            prop_assert_eq!(to_path(&key), Some(path));
            prop_assert!(!key.contains('\\') && !key.chars().any(char::is_control));
            for component in key.split('/') {
                prop_assert!(!component.is_empty() && !component.ends_with('.'));
            }
            prop_assert!(key != NOTES && !key.starts_with(".drover/"));
        }

        #[test]
        fn every_key_has_at_most_one_path(key in "[a-c%2E5F.\\\\/]{0,12}") {
            if let Some(path) = to_path(&key) {
                prop_assert_eq!(of_path(&path), key);
            }
        }
    }
}
