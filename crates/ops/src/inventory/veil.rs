//! Paths as a report shows them: as they are, or as codes where they may not be shown.
//!
//! A path can be patients' data. Where paths are hidden each component is a code: the same name is
//! the same code within a report, so that it can be seen what lies together. The key of the codes
//! is drawn for each inventory and kept by nobody, so that names cannot be tried against them.

use drover_report::PathText;
use drover_types::RelativePath;

/// How paths are shown.
#[derive(Clone, Debug)]
pub struct Veil(Option<[u8; 32]>);

impl Veil {
    /// Paths as they are, or hidden with this key.
    pub fn new(key: Option<[u8; 32]>) -> Self {
        Self(key)
    }

    /// Whether paths are hidden.
    pub fn hides(&self) -> bool {
        self.0.is_some()
    }

    /// The path, or the code in its place.
    pub fn cover(&self, path: &RelativePath) -> RelativePath {
        let Some(key) = &self.0 else { return path.clone() };
        let code = |name: &[u8]| format!("~{}", &blake3::keyed_hash(key, name).to_hex()[..10]);
        let codes: Vec<_> = path.components().map(code).collect();
        // A code has eleven bytes, so that a very long path of very short names can be too long.
        RelativePath::new(codes.join("/").into_bytes()).unwrap_or_default()
    }

    /// As reports have it.
    pub fn path(&self, path: &RelativePath) -> PathText {
        PathText::from(&self.cover(path))
    }

    /// Several of them.
    pub fn paths<'p>(&self, paths: impl IntoIterator<Item = &'p RelativePath>) -> Vec<PathText> {
        paths.into_iter().map(|path| self.path(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_what_lies_together_and_no_name() {
        let path = |text: &str| RelativePath::new(text.as_bytes()).unwrap();
        let veil = Veil::new(Some([1; 32]));
        let (a, b) = (veil.cover(&path("Doe, Jane/ct.dcm")), veil.cover(&path("Doe, Jane/mr.dcm")));
        assert_eq!(a.parent(), b.parent());
        assert_ne!(a, b);
        assert!(!a.to_string().contains("Doe"));
        assert_eq!(a.components().count(), 2);
        assert_ne!(Veil::new(Some([2; 32])).cover(&path("Doe, Jane/ct.dcm")), a);
        assert_eq!(Veil::new(None).cover(&path("a/b")), path("a/b"));
        assert!(veil.cover(&RelativePath::root()).is_root());
    }
}
