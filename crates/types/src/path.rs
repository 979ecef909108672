//! Paths relative to a source's root: bytes, never text.
//!
//! One total order rules every stream of entries: component by component, raw bytes, which is the
//! order of the whole byte strings with `/` taken as `0x00`. A directory comes right before what
//! is in it, and a subtree is one run.

use std::{cmp::Ordering, fmt};

use data_encoding::BASE64;

use crate::limits;

/// A path relative to a source's root. Components are joined by `/`; there is no leading and no
/// trailing `/`. The empty path is the root itself.
///
/// Every value satisfies: no component is empty, `.` or `..`, none is longer than
/// [`limits::COMPONENT`] bytes, none holds NUL, and the whole is at most [`limits::PATH`] bytes.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RelativePath(Box<[u8]>);

/// Why bytes are not a path that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// An empty component: a leading, trailing or double `/`.
    #[error("a component is empty")]
    Empty,
    /// A component `.` or `..`.
    #[error("a component is `.` or `..`")]
    Dots,
    /// A NUL byte.
    #[error("it holds a NUL byte")]
    Nul,
    /// A component that holds `/` where one name was expected.
    #[error("a name holds `/`")]
    Slash,
    /// A component over [`limits::COMPONENT`] bytes.
    #[error("a component is longer than {} bytes", limits::COMPONENT)]
    LongComponent,
    /// A path over [`limits::PATH`] bytes.
    #[error("it is longer than {} bytes", limits::PATH)]
    LongPath,
}

fn check_component(name: &[u8]) -> Result<(), PathError> {
    match name {
        b"" => return Err(PathError::Empty),
        b"." | b".." => return Err(PathError::Dots),
        _ => {}
    }
    if name.len() > limits::COMPONENT {
        return Err(PathError::LongComponent);
    }
    if name.contains(&0) {
        return Err(PathError::Nul);
    }
    if name.contains(&b'/') {
        return Err(PathError::Slash);
    }
    Ok(())
}

impl RelativePath {
    /// The root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks every component.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Ok(Self(bytes));
        }
        if bytes.len() > limits::PATH {
            return Err(PathError::LongPath);
        }
        for component in bytes.split(|&b| b == b'/') {
            check_component(component)?;
        }
        Ok(Self(bytes))
    }

    /// The path of `name` in the directory `self`.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        check_component(name)?;
        let len = self.0.len() + usize::from(!self.is_root()) + name.len();
        if len > limits::PATH {
            return Err(PathError::LongPath);
        }
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(&self.0);
        if !self.is_root() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Ok(Self(bytes.into_boxed_slice()))
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, components joined by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components, outermost first; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|c| !c.is_empty())
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        match self.0.iter().rposition(|&b| b == b'/') {
            Some(slash) => &self.0[slash + 1..],
            None => &self.0,
        }
    }

    /// The directory that holds it; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// Whether `self` is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || (self.0.starts_with(&ancestor.0)
                && matches!(self.0.get(ancestor.0.len()), None | Some(b'/')))
    }

    /// The rest of `self` below `ancestor`; `None` where it is not within it.
    pub fn strip_prefix(&self, ancestor: &Self) -> Option<Self> {
        if !self.is_within(ancestor) {
            return None;
        }
        let start = match ancestor.0.len() {
            0 => 0,
            n if n == self.0.len() => n,
            n => n + 1,
        };
        Some(Self(self.0[start..].into()))
    }

    /// Base64 of the bytes where [`fmt::Display`] had to escape something; `None` where the
    /// escaped form is the path.
    pub fn base64_if_escaped(&self) -> Option<String> {
        needs_escape(&self.0).then(|| BASE64.encode(&self.0))
    }
}

impl Ord for RelativePath {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for RelativePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of entries on raw path bytes: `/` counts as `0x00`.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let key = |byte: u8| if byte == b'/' { 0 } else { byte };
    match a.iter().zip(b).position(|(x, y)| x != y) {
        Some(at) => key(a[at]).cmp(&key(b[at])),
        None => a.len().cmp(&b.len()),
    }
}

/// Characters that would let a name change how the text around it is read: bidirectional
/// controls, zero-width characters, line and paragraph separators, the byte order mark.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}'
        | '\u{061C}' | '\u{180E}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

fn needs_escape(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().any(|c| c.is_control() || c == '\\' || is_deceptive(c)),
        Err(_) => true,
    }
}

/// Bytes as people read them: printable UTF-8 as it is, everything else (invalid bytes, control,
/// bidirectional and invisible characters, and the backslash itself) as `\xNN` for each byte.
pub fn escape(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut out = String::with_capacity(bytes.len());
    let hex = |out: &mut String, bytes: &[u8]| {
        for b in bytes {
            let _ = write!(out, "\\x{b:02x}");
        }
    };
    for part in bytes.utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() || c == '\\' || is_deceptive(c) {
                let mut buffer = [0; 4];
                hex(&mut out, c.encode_utf8(&mut buffer).as_bytes());
            } else {
                out.push(c);
            }
        }
        hex(&mut out, part.invalid());
    }
    out
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", escape(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> RelativePath {
        RelativePath::new(text.as_bytes()).expect("a valid path")
    }

    #[test]
    fn a_subtree_is_one_run() {
        let mut paths = ["a.txt", "a", "a/b", "a-b", "a/b/c", "a0", "b"].map(path);
        paths.sort();
        let sorted: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["a", "a/b", "a/b/c", "a-b", "a.txt", "a0", "b"]);
    }

    #[test]
    fn components_that_escape_are_refused() {
        for bad in ["/", "a//b", "a/", "/a", ".", "..", "a/../b", "a/./b", "a\0b"] {
            assert!(RelativePath::new(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(path("a").join(b"b/c").is_err());
        assert!(RelativePath::new(vec![b'x'; 256]).is_err());
        assert!(RelativePath::new(vec![b'x'; 255]).is_ok());
    }

    #[test]
    fn within_is_by_component() {
        assert!(path("a/b").is_within(&path("a")));
        assert!(!path("ab").is_within(&path("a")));
        assert_eq!(path("a/b/c").strip_prefix(&path("a")), Some(path("b/c")));
        assert_eq!(path("a").strip_prefix(&path("a")), Some(RelativePath::root()));
        assert_eq!(path("a").parent(), Some(RelativePath::root()));
    }

    #[test]
    fn what_could_deceive_a_reader_is_escaped() {
        assert_eq!(escape(b"plain \xc3\xa9"), "plain é");
        assert_eq!(escape(b"a\nb\x1b[2J"), "a\\x0ab\\x1b[2J");
        assert_eq!(escape("x\u{202e}txt".as_bytes()), "x\\xe2\\x80\\xaetxt");
        assert_eq!(escape(b"\xff\\"), "\\xff\\x5c");
    }

    proptest! {
        #[test]
        fn order_is_by_component(a in "[ab/\\-]{0,6}", b in "[ab/\\-]{0,6}") {
            if let (Ok(a), Ok(b)) = (RelativePath::new(a.as_bytes()), RelativePath::new(b.as_bytes())) {
                prop_assert_eq!(a.cmp(&b), a.components().cmp(b.components()));
            }
        }
    }
}
