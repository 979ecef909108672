//! Where data is: a directory or a cloud prefix.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use drover_types::path::escape;
use url::Url;

/// A place that a plan names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
    /// `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix`, as it was written.
    Cloud(String),
}

/// Why a place is refused. What was written is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing, or a NUL byte.
    #[error("a path or URL is not empty and holds no NUL character")]
    Empty,
    /// A scheme that drover does not know.
    #[error("the scheme of a URL is one of file, s3, az, gs")]
    Scheme,
    /// A `file` URL without an absolute path of this machine.
    #[error("a file URL has three slashes and an absolute path: file:///srv/files")]
    File,
    /// User name or password in the URL of a bucket.
    #[error(
        "credentials do not belong in a URL: they come from the provider's environment variables"
    )]
    Credentials,
    /// No bucket.
    #[error("after the scheme comes the bucket or container: s3://bucket/prefix")]
    Bucket,
    /// Files on another server.
    #[error("sftp is not supported: run drover on the server itself, or mount its files here")]
    Sftp,
    /// A bucket where a directory is needed.
    #[error("a {0} must be a directory, not a bucket")]
    NotADirectory(&'static str),
}

impl Location {
    /// Parses a path or a URL. A relative path is taken from `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, LocationError> {
        if text.is_empty() || text.contains('\0') {
            return Err(LocationError::Empty);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text.split_once(':') {
                Some(("file", _)) => Err(LocationError::File),
                Some(("s3" | "az" | "gs", _)) => Err(LocationError::Bucket),
                Some(("sftp", _)) => Err(LocationError::Sftp),
                _ => Ok(Self::Directory(base.join(text))),
            };
        };
        match scheme {
            "file" => {
                let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                path.map(Self::Directory).ok_or(LocationError::File)
            }
            "s3" | "az" | "gs" => {
                let bucket = rest.split('/').next().unwrap_or_default();
                if bucket.contains('@') {
                    Err(LocationError::Credentials)
                } else if bucket.is_empty() {
                    Err(LocationError::Bucket)
                } else {
                    Ok(Self::Cloud(text.to_owned()))
                }
            }
            "sftp" => Err(LocationError::Sftp),
            _ => Err(LocationError::Scheme),
        }
    }

    /// Whether `self` is `other` or lies below it, going by the names alone: links are not
    /// followed.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(inner), Self::Directory(outer)) => {
                plain(inner).starts_with(plain(outer))
            }
            _ => false,
        }
    }
}

/// `path` without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            // The root is its own parent.
            Component::ParentDir if plain.has_root() => {}
            other => plain.push(other),
        }
    }
    plain
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => f.write_str(&escape(path.as_os_str().as_encoded_bytes())),
            Self::Cloud(url) => f.write_str(&escape(url.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, LocationError> {
        Location::parse(text, Path::new("/plans"))
    }

    #[test]
    fn paths_and_urls() {
        let directory = |path: &str| Ok(Location::Directory(path.into()));
        assert_eq!(parse("/srv/a b"), directory("/srv/a b"));
        assert_eq!(parse("files"), directory("/plans/files"));
        assert_eq!(parse("c:files"), directory("/plans/c:files"));
        assert_eq!(parse("file:///srv/a%20b"), directory("/srv/a b"));
        assert_eq!(parse("s3://bucket/prefix"), Ok(Location::Cloud("s3://bucket/prefix".into())));
        for (text, error) in [
            ("", LocationError::Empty),
            ("a\0b", LocationError::Empty),
            ("file://srv/files", LocationError::File),
            ("file:/srv", LocationError::File),
            ("s3:bucket", LocationError::Bucket),
            ("s3:///prefix", LocationError::Bucket),
            ("az://key:secret@container/p", LocationError::Credentials),
            ("sftp://user@host/srv", LocationError::Sftp),
            ("http://host/x", LocationError::Scheme),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn within_goes_by_names() {
        let at = |text: &str| parse(text).expect("a location");
        assert!(at("/srv/a/b").is_within(&at("/srv/a")));
        assert!(at("/srv/a").is_within(&at("/srv/a/")));
        assert!(at("/srv/x/../a/./b").is_within(&at("/srv/a")));
        assert!(at("/../srv/a").is_within(&at("/srv")));
        assert!(!at("/srv/ab").is_within(&at("/srv/a")));
        assert!(!at("/srv/a/../b").is_within(&at("/srv/a")));
        assert!(!at("s3://b/p").is_within(&at("/")));
    }
}
